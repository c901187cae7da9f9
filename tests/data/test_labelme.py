"""labelme's JSON: the box around every kind of shape; what is left out or refused; writing."""

import json

import pytest
from annotation_samples import write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data.formats import labelme, recognition
from shelfdet.data.formats.image_boxes import BoxRow, ImageBoxes


def shape(kind="rectangle", points=((30, 40), (1, 2)), label="product", **more):
    """A shape as labelme 6.3.1 writes it."""
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def content(*shapes, **changes):
    """The file of an image as labelme 6.3.1 writes it."""
    file = {
        "version": "6.3.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.jpg",
        "imageData": "iVBORw0KGgo=",
        "imageHeight": 80,
        "imageWidth": 100,
    }
    file.update(changes)
    return json.dumps(file)


@pytest.fixture
def source(tmp_path):
    """Writes a.json into a folder, which it returns."""

    def write(text):
        return write_file(tmp_path / "source" / "a.json", text).parent

    return write


def read(folder, **options):
    problems = Problems(folder)
    images = labelme.read(folder, problems, **options)
    problems.refuse()
    return images


def rows_of(folder, **options):
    (image,) = read(folder, **options).values()
    return image.rows


def message_of(folder, **options):
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    return str(caught.value)


def test_a_rectangle_by_any_two_corners(source):
    folder = source(content(shape(), shape(points=((1, 40), (30.5, 2)), label=" can ")))
    (image,) = read(folder).values()
    assert (image.filename, image.size_wh, image.in_shares) == ("a.jpg", (100, 80), False)
    first, second = image.rows
    assert (first.box_xyxy, first.label) == ((1, 2, 30, 40), "product")
    assert (second.box_xyxy, second.label) == ((1, 2, 30.5, 40), "can")
    assert second.place == "a.json: shapes[1]"
    assert recognition.recognise(folder / "a.json") == "labelme"


@pytest.mark.parametrize(
    "kind, points, box",
    [
        ("polygon", [(1, 2), (30.5, 3), (7, 40.25)], (1, 2, 30.5, 40.25)),
        ("circle", [(50, 40), (53, 44)], (45, 35, 55, 45)),
        ("mask", [(60, 40), (70, 60)], (60, 40, 70, 60)),
        ("oriented_rectangle", [(5, 1), (9, 5), (5, 9), (1, 5)], (1, 1, 9, 9)),
        (None, [(1, 2), (30, 3), (7, 40)], (1, 2, 30, 40)),  # before labelme 3.0
    ],
)
def test_the_box_around_a_shape(source, kind, points, box):
    (row,) = rows_of(source(content(shape(kind, points))))
    assert row.box_xyxy == pytest.approx(box) and not row.left_out


@pytest.mark.parametrize(
    "kind, points, left_out",
    [
        ("line", [(1, 2), (30, 40)], "lines"),
        ("linestrip", [(1, 2), (30, 40), (2, 2)], "lines"),
        ("point", [(1, 2)], "points"),
        ("points", [(1, 2), (3, 4)], "points"),
    ],
)
def test_shapes_without_a_box_are_left_out(source, kind, points, left_out):
    (row,) = rows_of(source(content(shape(kind, points))))
    assert row.left_out == left_out


@pytest.mark.parametrize(
    "file, expected",
    [
        ('{"shapes": [', "a.json: is no complete JSON (Expecting value: line 1"),
        ("", "a.json: is no complete JSON"),
        ("[]", "a.json: is '[]'; expected labelme JSON, an object with a list shapes"),
        (content(shapes=None), "a.json: shapes is missing; expected labelme JSON"),
        (content(shapes={}), "a.json: shapes is '{}'; expected"),
        (content(3), "a.json: shapes[0]: is '3'; expected an object"),
        (content(shape(label=7)), "shapes[0]: label is '7'; expected the name of a class"),
        (content(shape(points=[])), "shapes[0]: points is '[]'; expected a list of [x, y]"),
        (content(shape(points=[[1], [2, 3]])), "points[0] is '[1]'; expected [x, y], two finite"),
        (content(shape(points=[[1, None], [2, 3]])), "points[0] is '[1, None]'"),
        (content(shape(points=[[1, 2]])), "the rectangle has 1 point; expected 2 or more"),
        (content(shape("polygon")), "the polygon has 2 points; expected 3 or more. Draw it again"),
        (content(shape("star")), "shape_type is 'star'; expected rectangle, polygon or circle"),
        (content(shape(), imageWidth=-100), "width is '-100'; expected a whole number of pixels"),
        (content(shape()).encode("utf-16"), "a.json: is UTF-16 text"),
        (content(shape(score=0.5)), "1 box has a score ('0.5' in a.json: shapes[0])"),
    ],
)
def test_bad_files(source, file, expected):
    message = message_of(source(file))
    assert expected in message and "\n" not in message


@pytest.mark.parametrize(
    "stated, names, expected",
    [
        ("..\\shelves\\b c.jpg", ["b c.jpg"], "b c.jpg"),
        ("../img/b.jpg", ["b.jpg"], "b.jpg"),
        ("old.jpg", ["a.png"], "a.png"),  # renamed together with its file
        ("", ["a.JPG"], "a.JPG"),
        (None, [], "a"),
    ],
)
def test_the_image_of_a_file(source, stated, names, expected):
    assert list(read(source(content(shape(), imagePath=stated)), image_names=names)) == [expected]


def test_a_file_of_two_images(source):
    folder = source(content(shape(), imagePath="b.jpg"))
    message = message_of(folder, image_names=["a.jpg", "b.jpg"])
    assert "named like one image and of another by imagePath, and both exist: a.json is of" in (
        message
    )


def test_two_files_of_one_image(source):
    folder = source(content(shape()))
    write_file(folder / "b.json", content(shape()))
    assert "b.json: image 'a.jpg' is also in a.json; expected each image once" in (
        message_of(folder)
    )


def test_files_that_were_saved_by_other_editors(source):
    (row,) = rows_of(source("\ufeff" + content(shape()).replace(",", ",\r\n")))
    assert row.box_xyxy == (1, 2, 30, 40)
    (row,) = rows_of(source(content(shape(score=0.25))), scored=True)
    assert row.score == 0.25


# --- writing ---


def test_a_file_as_labelme_reads_it(tmp_path):
    """labelme 6.3.1 wants all of these keys, and numbers as points."""
    rows = [
        BoxRow("", "käse 棚", (1, 2, 30.25, 40), 0.5),
        BoxRow("", "edge", (1, 2, 3, 4), left_out="lines"),
    ]
    labelme.write([ImageBoxes("a.b.jpg", "", (100, 80), rows)], tmp_path, "../img")
    assert json.loads((tmp_path / "a.b.json").read_text(encoding="utf-8")) == {
        "version": "5.0.1",
        "flags": {},
        "shapes": [
            {
                "label": "käse 棚",
                "points": [[1.0, 2.0], [30.25, 40.0]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
                "score": 0.5,
            }
        ],
        "imagePath": "../img/a.b.jpg",
        "imageData": None,
        "imageHeight": 80,
        "imageWidth": 100,
    }


@settings(deadline=None, max_examples=20)
@given(
    scored=st.booleans(),
    boxes=st.lists(
        st.tuples(*[st.floats(-1e4, 1e4)] * 4, st.text('aé"\\棚', min_size=1, max_size=9)),
        max_size=5,
    ),
)
def test_files_are_read_as_they_were_written(tmp_path_factory, scored, boxes):
    folder = tmp_path_factory.mktemp("written")
    rows = [
        BoxRow("", label, (min(a, c), min(b, d), max(a, c), max(b, d)), 0.125 if scored else None)
        for a, b, c, d, label in boxes
    ]
    labelme.write([ImageBoxes("x.jpg", "", (50, 60), rows)], folder)
    (image,) = read(folder, scored=scored).values()
    assert (image.filename, image.size_wh) == ("x.jpg", (50, 60))
    assert [row._replace(place="") for row in image.rows] == rows
