"""Label Studio's JSON: both exports, several annotators, addresses of images, what is written."""

import json

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import formats
from shelfdet.data.formats import BoxRow, ImageBoxes, labelstudio


def result(kind="rectanglelabels", value=None, **changes):
    """One shape as Label Studio exports it: by default 10,16,30,40 in an image of 100 x 80."""
    if value is None:
        value = {"x": 10, "y": 20.0, "width": 20, "height": 30, "rotation": 0}
        value["rectanglelabels"] = ["cola"]
    shape = {
        "original_width": 100,
        "original_height": 80,
        "image_rotation": 0,
        "value": value,
        "id": "x1",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
    }
    shape.update(changes)
    return shape


def annotation(results, **changes):
    entry = {
        "id": 7,
        "completed_by": 1,
        "result": results,
        "was_cancelled": False,
        "ground_truth": False,
    }
    entry.update(changes)
    return entry


def task(annotations, address="/data/upload/1/0a1b2c3d-a.jpg", number=1, **changes):
    entry = {
        "id": number,
        "annotations": annotations,
        "file_upload": "0a1b2c3d-a.jpg",
        "drafts": [],
        "predictions": [],
        "data": {"image": address},
        "meta": {},
    }
    entry.update(changes)
    return entry


@pytest.fixture
def read(tmp_path):
    """Reads JSON; returns the images, or raises with its problems."""

    def read_content(content, **options):
        text = content if isinstance(content, str) else json.dumps(content)
        path = write_file(tmp_path / "project-1.json", text)
        problems = Problems(path)
        images = formats.read(path, "labelstudio", problems, **options)
        problems.refuse()
        return list(images.values())

    return read_content


def message_of(read, content, **options):
    with pytest.raises(UserError) as refused:
        read(content, **options)
    assert "project-1.json" in str(refused.value)
    return str(refused.value)


def test_an_export_is_read_in_pixels(read, tmp_path):
    (image,) = read([task([annotation([result()])])])
    assert (image.filename, image.size_wh, image.in_shares) == ("a.jpg", (100, 80), False)
    (row,) = image.rows
    assert (row.label, row.box_xyxy, row.score) == ("cola", (10, 16, 30, 40), None)
    assert row.place == "[0] (id 1): result 1"
    assert formats.recognise(tmp_path / "project-1.json") == "labelstudio"


def test_the_short_export(read, tmp_path):
    shape = dict(result()["value"], original_width=100, original_height=80)
    entry = {
        "image": "/data/upload/1/0a1b2c3d-a.jpg",
        "id": 1,
        "label": [shape],
        "annotator": 1,
        "annotation_id": 1,
        "created_at": "2026-01-01T00:00:00Z",
    }
    (image,) = read([entry])
    assert image.rows[0].box_xyxy == (10, 16, 30, 40) and image.rows[0].label == "cola"
    assert formats.recognise(tmp_path / "project-1.json") == "labelstudio"


def test_results_without_a_size_are_shares_of_the_image(read):
    without = {"original_width": None, "original_height": None}
    (image,) = read([task([annotation([result(**without)])])])
    assert image.in_shares and image.size_wh is None
    assert image.rows[0].box_xyxy == pytest.approx((0.1, 0.2, 0.3, 0.5))
    value = dict(result()["value"], rotation=5)
    message = message_of(read, [task([annotation([result(value=value, **without)])])])
    assert "is rotated, and states no original_width" in message


@pytest.mark.parametrize(
    "kind, value, box_xyxy",
    [
        # 20 x 8 px at 50,40, rotated clockwise by a quarter about that corner: it goes to the left.
        (
            "rectanglelabels",
            {"x": 50, "y": 50, "width": 20, "height": 10, "rotation": 90},
            (42, 40, 50, 60),
        ),
        (
            "polygonlabels",
            {"points": [[10, 10], [20, 50], [5, 25]]},
            (5, 8, 20, 40),
        ),
        (
            "ellipselabels",
            {"x": 50, "y": 50, "radiusX": 10, "radiusY": 25, "rotation": 0},
            (40, 20, 60, 60),
        ),
    ],
)
def test_other_shapes_are_the_upright_box_around_them(read, kind, value, box_xyxy):
    value = dict(value, **{kind: ["fanta"]})
    (image,) = read([task([annotation([result(kind, value)])])])
    assert image.rows[0].box_xyxy == pytest.approx(box_xyxy)
    assert image.rows[0].label == "fanta"


def test_a_rectangle_with_its_class_in_another_result(read):
    plain = result("rectangle", {"x": 10, "y": 20, "width": 20, "height": 30, "rotation": 0})
    labels = result("labels", dict(plain["value"], labels=["cola", "large"]))
    (image,) = read([task([annotation([plain, labels])])])
    assert [row.label for row in image.rows] == ["cola, large"]


def test_what_is_no_box_is_left_out_or_ignored(read):
    results = [
        result("brushlabels", {"rle": [1, 2], "format": "rle", "brushlabels": ["cola"]}),
        result("keypointlabels", {"x": 1, "y": 2, "width": 1, "keypointlabels": ["cola"]}),
        {"type": "choices", "value": {"choices": ["sharp"]}},
        {"type": "relation", "from_id": "a", "to_id": "b"},
        result(),
    ]
    (image,) = read([task([annotation(results)])])
    assert [row.left_out for row in image.rows] == ["masks", "key points", ""]


@pytest.mark.parametrize(
    "address, image_names, expected",
    [
        ("/data/upload/1/0a1b2c3d-a.jpg", (), "a.jpg"),
        ("/data/upload/0a1b2c3d-a.jpg", ["0a1b2c3d-a.jpg"], "0a1b2c3d-a.jpg"),
        ("/data/upload/1/0a1b2c3d-milk_1_2.jpg", ["milk 1 (2).jpg"], "milk 1 (2).jpg"),
        ("/data/upload/1/0a1b2c3d-milk_1.jpg", ["milk (1).jpg", "milk 1.jpg"], "milk_1.jpg"),
        ("/data/local-files/?d=shelves/a%20b.jpg", (), "a b.jpg"),
        ("/data/local-files/?d=shelves%5Ca.jpg", (), "a.jpg"),
        ("/data/local-files/?d=a+b%26c.jpg", (), "a+b&c.jpg"),
        ("s3://bucket/folder/a.jpg", (), "a.jpg"),
        ("https://x.org/b/a%20b.jpg?token=1", (), "a b.jpg"),
        ("shelves/50%25.jpg", (), "50%25.jpg"),
        ("C:\\shelves\\a.jpg", (), "a.jpg"),
    ],
)
def test_the_image_of_an_address(read, address, image_names, expected):
    (image,) = read([task([annotation([result()])], address)], image_names=image_names)
    assert image.filename == expected


def test_the_image_may_have_another_name_in_the_data(read):
    tasks = [task([annotation([result()])], data={"photo": "/data/upload/1/a.jpg", "shop": "x"})]
    assert read(tasks)[0].filename == "a.jpg"


def test_skipped_and_open_tasks_are_images_without_boxes(read):
    tasks = [
        task([annotation([result()], was_cancelled=True)], "a.jpg", 1),
        task([], "b.jpg", 2),
        task([annotation([])], "c.jpg", 3),
        task([annotation([result()])], "d.jpg", 4),
    ]
    assert [len(image.rows) for image in read(tasks)] == [0, 0, 0, 1]


def test_several_annotators_need_a_ground_truth(read):
    first, second = annotation([result()]), annotation([], completed_by={"email": "b"})
    message = message_of(read, [task([first, second])])
    assert "[0] (id 1): has 2 annotations (by '1', '{'email': 'b'}'), of which 0 are" in message
    (image,) = read([task([second, dict(first, ground_truth=True)])])
    assert len(image.rows) == 1
    (image,) = read([task([first, dict(second, was_cancelled=True)])])
    assert len(image.rows) == 1


def test_predictions_alone_are_no_ground_truth(read):
    predicted = {"model_version": "m", "result": [result(score=0.25), result(score=0.75)]}
    open_task = task([], predictions=[predicted])
    message = message_of(read, [open_task])
    assert "2 boxes have scores ('0.25' in [0]: predictions), so these are detections" in message
    (image,) = read([open_task], scored=True)
    assert [row.score for row in image.rows] == [0.25, 0.75]
    # A person has submitted what the model predicted; the score may stay in the result.
    done = annotation([result(score=0.25, origin="prediction")])
    assert len(read([task([done], predictions=[predicted])])[0].rows) == 1


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "the file is empty; expected Label Studio's JSON"),
        (json.dumps([task([annotation([result()])])])[:-30], "is no complete JSON"),
        ({"a": 1}, "is no list of tasks with data and annotations"),
        ([], "is no list of tasks"),
        ([task([]), 3], "[1]: is '3', without the address of an image"),
        ([task([]), task([], data={"text": "x"})], "[1] (id 1): is "),
        ([task([annotation(["x"])])], "[0] (id 1): result 1: is 'x'; expected an object"),
        ([task([annotation([result(value=3)])])], "value is '3'; expected an object"),
        (
            [task([annotation([result("box", {"x": 1, "y": 2, "width": 3, "height": 4})])])],
            "result 1: type is 'box'; expected rectanglelabels, rectangle",
        ),
        ([task([annotation([result(image_rotation=90)])])], "image_rotation is '90': the image"),
        ([task([annotation([result(original_width=0.5)])])], "width is '0.5'; expected a whole"),
        (
            [task([annotation([result(value={"x": 1, "y": None, "width": 1, "height": 1})])])],
            "result 1: y is missing; expected a finite number",
        ),
        (
            [task([annotation([result("polygonlabels", {"points": [[1, 2], [3, 4]]})])])],
            "points is '[[1, 2], [3, 4]]'; expected at least 3 points",
        ),
        (
            [task([annotation([result("polygon", {"points": [[1, 2], [3]]})])])],
            "points[1] is missing; expected a finite number",
        ),
        ([task([]), task([])], "[1] (id 1): image 'a.jpg' is also in [0] (id 1)"),
    ],
)
def test_bad_json(read, content, expected):
    assert expected in message_of(read, content)


IMAGES = [
    ImageBoxes(
        "käse 1.jpg",
        "",
        (641, 479),
        [
            BoxRow("", "cola", (1.25, 2, 30, 40.125), 0.5),
            BoxRow("", "fanta", (0, 0, 641, 479), 0.25),
            BoxRow("", "cola", (0, 0, 0, 0), left_out="lines"),
        ],
    ),
    ImageBoxes("c.jpg", "", (100, 80), []),
]


@pytest.mark.parametrize("predictions", [False, True])
def test_what_is_written_is_read_again(tmp_path, predictions):
    path = tmp_path / "tasks.json"
    labelstudio.write(IMAGES, path, predictions=predictions)
    problems = Problems(path)
    first, second = formats.read(path, "labelstudio", problems, scored=predictions).values()
    problems.refuse()
    assert (first.filename, first.size_wh) == ("käse 1.jpg", (641, 479))
    assert [row[1:4] for row in first.rows] == [
        (row.label, row.box_xyxy, row.score if predictions else None) for row in IMAGES[0].rows[:2]
    ]
    assert (second.filename, second.rows) == ("c.jpg", [])


def test_written_tasks_are_what_label_studio_imports(tmp_path):
    path = tmp_path / "tasks.json"
    labelstudio.write(IMAGES, path, predictions=True)
    first, second = json.loads(path.read_text(encoding="utf-8"))
    assert first["data"] == {"image": "/data/local-files/?d=k%C3%A4se%201.jpg"}
    assert first["predictions"][0]["result"][1] == {
        "id": "käse 1.jpg-2",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 641,
        "original_height": 479,
        "image_rotation": 0,
        "value": {
            "x": 0,
            "y": 0,
            "width": 100,
            "height": 100,
            "rotation": 0,
            "rectanglelabels": ["fanta"],
        },
        "score": 0.25,
    }
    assert "annotations" not in first and second["predictions"][0]["result"] == []
    labelstudio.write(IMAGES, path)
    assert "score" not in path.read_text(encoding="utf-8")


def test_the_labelling_interface_names_what_is_written():
    assert labelstudio.label_config(["cola", "a<b", "cola"]) == (
        '<View>\n  <Image name="image" value="$image"/>\n'
        '  <RectangleLabels name="label" toName="image">\n'
        '    <Label value="cola"/>\n    <Label value="a&lt;b"/>\n'
        "  </RectangleLabels>\n</View>\n"
    )
