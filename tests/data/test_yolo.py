"""YOLO's label files: boxes, polygons, confidences; what is refused; writing."""

import pytest
from annotation_samples import write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data.checks import box_units
from shelfdet.data.formats import recognition, yolo
from shelfdet.data.formats.image_boxes import BoxRow, ImageBoxes


@pytest.fixture
def labels(tmp_path):
    """Writes label files into labels/, which it returns."""

    def write(**contents):
        for stem, content in contents.items():
            write_file(tmp_path / "labels" / f"{stem}.txt", content)
        return tmp_path / "labels"

    return write


def read(folder, **options):
    problems = Problems(folder)
    images = yolo.read(folder, problems, **options)
    problems.refuse()
    return images


def rows_of(folder, **options):
    (image,) = read(folder, **options).values()
    return image.rows


def message_of(folder, **options):
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    return str(caught.value)


def test_a_box_is_a_centre_and_a_size_in_shares(labels):
    folder = labels(a="0 0.5 0.25 0.2 0.1\n")
    (image,) = read(folder, image_names=["a.JPG", "b.jpg"]).values()
    assert (image.filename, image.size_wh, image.in_shares) == ("a.JPG", None, True)
    (row,) = image.rows
    assert row.box_xyxy == pytest.approx((0.4, 0.2, 0.6, 0.3))
    assert (row.label, row.score, row.place) == ("0", None, "a.txt: line 1")
    (row,) = box_units.to_pixels(image, (200, 100)).rows
    assert row.box_xyxy == pytest.approx((80, 20, 120, 30))


def test_a_file_as_ultralytics_and_cvat_write_it(labels):
    """Six digits, so that a box at the edge ends at 1.0000005, and no last line end."""
    content = "\ufeff1 0.500000 0.500000 1.000000 1.000000\r\n\r\n0 0.0987655 0.5 0.1975309 0.25"
    (image,) = read(labels(a=content)).values()
    full, second = box_units.to_pixels(image, (4000, 3000)).rows
    assert full.box_xyxy == (0, 0, 4000, 3000)
    assert second.box_xyxy[0] == 0 and second.place == "a.txt: line 3"


def test_a_polygon_is_the_box_around_it(labels):
    polygon, rotated = rows_of(labels(a="0 .1 .2 .5 .1 .3 .9\n3 .2 .2 .4 .1 .5 .3 .3 .4\n"))
    assert polygon.box_xyxy == (0.1, 0.1, 0.5, 0.9)
    assert rotated.box_xyxy == (0.2, 0.1, 0.5, 0.4) and rotated.label == "3"


def test_keypoints_are_not_read_as_a_polygon(labels):
    folder = labels(a="0 .5 .5 .2 .2 .9 .9 2 .1 .1 1\n")
    write_file(folder / "data.yaml", "names: [product]\nkpt_shape: [2, 3]\n")
    assert rows_of(folder)[0].box_xyxy == pytest.approx((0.4, 0.4, 0.6, 0.6))


def test_the_confidence_of_a_detection_is_the_last_number(labels):
    folder = labels(a="0 .5 .5 .2 .2 0.75\n0 .1 .2 .5 .1 .3 .9 0.5\n")
    assert [row.score for row in rows_of(folder, scored=True)] == [0.75, 0.5]
    assert "2 boxes have scores ('0.75' in a.txt: line 1), so these are detections" in (
        message_of(folder)
    )
    assert "expected 'class x y width height ... confidence'" in (
        message_of(labels(a="0 .5 .5 .2 .2\n"), scored=True)
    )


def test_an_empty_file_is_an_image_without_products(labels):
    folder = labels(a="", b="\n \n", c="0 .5 .5 .2 .2\n")
    found = read(folder, image_names=["a.jpg", "b.png", "c.jpg"])
    assert {name: len(image.rows) for name, image in found.items()} == {
        "a.jpg": 0,
        "b.png": 0,
        "c.jpg": 1,
    }


def test_labels_without_an_image_are_named_after_their_file(labels):
    assert list(read(labels(gone="0 .5 .5 .2 .2\n"), image_names=["a.jpg"])) == ["gone"]


def test_text_files_that_are_no_labels(labels):
    folder = labels(
        a="0 .5 .5 .2 .2\n",
        classes="product\n",
        README="Exported by a tool\n",
        notes="\n\n3 persons drew these boxes, of which 2 agree\n",
        train="data/obj_train_data/a.jpg\n",
    )
    assert list(read(folder, image_names=["a.jpg"])) == ["a.jpg"]


@pytest.mark.parametrize(
    "content, expected",
    [
        (
            "0 0.6 .5 .2 .1\n",
            "yolo",
        ),  # annotation.txt has one number and five for each of 0.6 boxes
        ("0 1 .5 .2 .1 .3 .4\n", "yolo"),
        ("C1_P01_N1_S2_1.JPG 1 10 20 30 40 7\n", "grocery"),
        ("can .5 .5 .2 .1\n", "yolo"),
        ("", None),
        ("Exported 2 of 3\n", None),
    ],
)
def test_text_files_are_recognised(tmp_path, content, expected):
    assert recognition.recognise(write_file(tmp_path / "a.txt", content)) == expected
    assert recognition.recognise(write_file(tmp_path / "classes.txt", content)) is None


def test_the_name_of_a_class(labels):
    folder = labels(a="1 .5 .5 .2 .2\n1.0 .1 .1 .1 .1\n")
    write_file(folder / "classes.txt", "can\nbottle of water\n")
    assert [row.label for row in rows_of(folder)] == ["bottle of water"] * 2
    other = write_file(folder.parent / "other" / "names.yaml", "names: {1: box}\n")
    assert [row.label for row in rows_of(folder, names_file=other)] == ["box"] * 2


def test_a_class_that_is_not_named(labels):
    folder = labels(**{f"i{n}": "2 .5 .5 .2 .2\n" for n in range(5)})
    path = write_file(folder / "data.yaml", "names: [can, bottle]\n")
    message = message_of(folder)
    assert "\n" not in message and "i0.txt: line 1" in message and "and 2 more" in message
    assert f"class is 2, which {path} does not have" in message
    assert "expected one of its 2 classes: 0 (can), 1 (bottle). Add the class there" in message


@pytest.mark.parametrize(
    "line, expected",
    [
        ("0 .5 .5 .2", "is '0 .5 .5 .2'; expected 'class x y width height or class x1 y1"),
        ("0 .5 .5 .2 x", "height is 'x'; expected a finite number"),
        ("0 .5 .5 nan .2", "width is 'nan'; expected a finite number"),
        ("0 .5 .5 .2 .2 .3 1e999", "number 7 is '1e999'; expected a finite number"),
        ("product .5 .5 .2 .2", "class is 'product'; expected the number of a class from 0"),
        ("-1 .5 .5 .2 .2", "class is '-1'; expected the number of a class from 0"),
        ("0.5 .5 .5 .2 .2", "class is '0.5'; expected the number of a class from 0"),
    ],
)
def test_bad_lines(labels, line, expected):
    folder = labels(a=f"0 .5 .5 .2 .2\n{line}\n")
    message = message_of(folder, image_names=["a.jpg"])
    assert "a.txt: line 2: " in message and expected in message and "\n" not in message


def test_a_single_box_in_pixels_is_checked_as_boxes_of_any_format(labels):
    """It is outside its image, which --bad-boxes drop leaves out."""
    found = read(labels(a="0 .5 .5 .2 .2\n0 90 90 10 10\n", b="0 .1 .1 .1 .1\n"))
    assert [len(image.rows) for image in found.values()] == [2, 1]


@pytest.mark.parametrize(
    "content, expected",
    [
        ("0 .5 .5 .2 .2\n".encode("utf-16"), "a.txt: is UTF-16 text"),
        (b"0 .5 .5 .2 .2\n\xe9", "a.txt: line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_encodings_that_are_not_read(labels, content, expected):
    folder = labels(a=content, b="x\n")
    message = message_of(folder, image_names=["a.jpg", "b.jpg"])
    # All files are in one message.
    assert f"\n  {expected}" in message and "b.txt: line 1: is 'x'" in message


def test_two_images_that_differ_in_their_suffix(labels):
    message = message_of(labels(a="0 .5 .5 .2 .2\n"), image_names=["a.jpg", "a.png"])
    assert "a.txt: a.jpg and a.png differ in their suffix alone" in message


def test_a_folder_without_label_files(tmp_path):
    assert "holds no .txt file; expected YOLO's label files" in message_of(tmp_path)


# --- writing ---

SIDE = st.floats(0, 1)


@settings(deadline=None, max_examples=20)
@given(
    size_wh=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    boxes=st.lists(st.tuples(st.sampled_from(["ab", "c"]), SIDE, SIDE, SIDE, SIDE), max_size=5),
)
def test_files_are_read_as_they_were_written(tmp_path_factory, size_wh, boxes):
    folder = tmp_path_factory.mktemp("written")
    width, height = size_wh
    rows = [
        BoxRow("", label, (left * width, top * height, right * width, bottom * height))
        for label, left, top, right, bottom in boxes
    ]
    yolo.write([ImageBoxes("x.jpg", "", size_wh, rows)], folder, ["c", "ab"])
    (image,) = read(folder, image_names=["x.jpg"]).values()
    found = box_units.to_pixels(image, size_wh).rows
    assert [row.label for row in found] == [row.label for row in rows]
    for row, written in zip(found, rows):
        # Eight digits of a share; edges of the image are exact.
        assert row.box_xyxy == pytest.approx(written.box_xyxy, abs=9000 * 2e-6)


def test_a_label_file_as_labelimg_reads_it(tmp_path):
    """LabelImg 1.8 splits a line at single spaces into exactly five fields."""
    rows = [BoxRow("", "can", (10, 20, 30, 60), 0.5), BoxRow("", "box", (0, 0, 100, 80), 0.25)]
    rows.append(BoxRow("", "edge", (1, 2, 3, 4), left_out="lines"))
    image = ImageBoxes("a.b.jpg", "", (100, 80), rows)
    yolo.write([image, ImageBoxes("empty.jpg", "", (9, 9), [])], tmp_path, ["box", "can"])
    assert (tmp_path / "classes.txt").read_text() == "box\ncan\n"
    assert (tmp_path / "a.b.txt").read_text() == (
        "1 0.20000000 0.50000000 0.20000000 0.50000000\n"
        "0 0.50000000 0.50000000 1.00000000 1.00000000\n"
    )
    assert (tmp_path / "empty.txt").read_text() == ""
    assert yolo.text_of(image, ["box", "can"], scored=True).endswith(" 1.00000000 0.250000\n")
