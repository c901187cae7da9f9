"""Detections of every format: what is read, written, clipped and refused."""

import json
import os

import numpy as np
import pytest
from annotation_samples import (
    DETECTIONS,
    HEADER,
    LABELS,
    PRODUCT,
    SCORED_HEADER,
    VOC_OBJECT,
    coco,
    coco_annotation,
    coco_with,
    scored_voc,
    voc,
    write_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.core import disk_list
from shelfdet.data import detections, formats
from shelfdet.data.detections import Detections
from shelfdet.data.formats import labelme


def detected(name="a.jpg", boxes=((1, 2, 11, 22),), scores=(0.5,), classes=None, size_wh=(100, 50)):
    return Detections(
        name,
        size_wh,
        np.array(boxes, dtype=float).reshape(-1, 4),
        np.array(scores, dtype=float),
        tuple(classes or ["product"] * len(scores)),
    )


def assert_same(one, other):
    assert [image.filename for image in one] == [image.filename for image in other]
    for a, b in zip(one, other):
        assert a.size_wh == b.size_wh and a.classes == b.classes
        assert a.boxes_xyxy.shape == b.boxes_xyxy.shape
        assert a.boxes_xyxy == pytest.approx(b.boxes_xyxy, abs=1e-9)
        assert list(a.scores) == list(b.scores)


def message_of(path, format="coco", **options):
    with pytest.raises(UserError) as error:
        detections.read_detections(path, format, **options)
    assert str(path) in str(error.value)
    return str(error.value)


# --- reading and writing ------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.floats(0, 90),
                st.floats(0, 40),
                st.floats(2, 10),
                st.floats(2, 10),
                st.floats(0, 1),
            ),
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_detections_are_read_as_they_were_written(tmp_path_factory, rows_of_images):
    path = tmp_path_factory.mktemp("written") / "d.json"
    images = []
    for number, rows in enumerate(rows_of_images):
        rows = sorted(rows, key=lambda row: -row[4])
        boxes = [(x, y, x + width, y + height) for x, y, width, height, _ in rows]
        images.append(detected(f"{number}.jpg", boxes, [row[4] for row in rows]))
    detections.write_detections(images, path, {"graph": "g"})
    assert_same(detections.read_detections(path), images)
    assert detections.read_info(path) == {"graph": "g"}


def in_any_order(tmp_path):
    """A file as step 08 writes it, with boxes of its images in turn: path, and its images."""
    images = [
        detected("c.jpg", [(1, 2, 11, 22), (5, 5, 9, 9)], [0.75, 0.5], ["tin", "box"]),
        detected("a.jpg", [], []),
        detected("b.jpg", [(3, 3, 9, 9), (1, 1, 8, 8), (0, 0, 7, 7)], [0.9, 0.5, 0.5]),
    ]
    path = tmp_path / "d.json"
    detections.write_detections(images, path, {"graph": "g"})
    lines = path.read_text().splitlines()
    lines[2:7] = [line.rstrip(",") + "," for line in (lines[i] for i in (4, 2, 5, 3, 6))]
    lines[6] = lines[6].rstrip(",")
    path.write_text("\n".join(lines) + "\n")
    return path, images


def test_boxes_of_an_image_need_not_be_together(tmp_path):
    path, images = in_any_order(tmp_path)
    assert_same(detections.read_detections(path), images)
    # In another layout the file is read whole.
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, indent=1))
    assert_same(detections.read_detections(path), images)
    assert detections.read_info(path) == {"graph": "g"}
    rows = ["c.jpg,100,50,tin,1,2,11,22,0.75", "b.jpg,100,50,product,3,3,9,9,0.9"]
    rows += ["a.jpg,100,50,,,,,,", "b.jpg,100,50,product,1,1,8,8,0.5"]
    rows += ["c.jpg,100,50,box,5,5,9,9,0.5", "b.jpg,100,50,product,0,0,7,7,0.5"]
    write_file(tmp_path / "d.csv", SCORED_HEADER + "\n".join(rows))
    found = sorted(detections.read_detections(tmp_path / "d.csv", "csv"), key=lambda one: one[0])
    assert_same(found, sorted(images, key=lambda one: one.filename))


def test_json_in_another_layout_is_read_whole(tmp_path):
    path, images = in_any_order(tmp_path)
    text = path.read_text()
    for other in (
        text.replace('{"id": 1', '\n\n{"id": 1'),
        text.replace('},\n{"id": 1', '},{"id": 1'),
    ):
        assert other != text
        path.write_text(other)
        assert_same(detections.read_detections(path), images)
    # A comma too many is no JSON, in whichever layout
    path.write_text(text.replace('},\n{"id": 1', '},,\n{"id": 1'))
    assert "d.json: is no complete JSON (" in message_of(path)


def test_an_annotation_that_is_no_line_of_json(tmp_path):
    path, _ = in_any_order(tmp_path)
    text = path.read_text()
    second = text.index('{"id": 1')
    path.write_text(text[:second] + text[second + 1 :])
    assert "d.json: is no complete JSON (Expecting ',' delimiter: line 4" in message_of(path)
    path.write_text(text[:-30])
    assert "d.json: is no complete JSON (" in message_of(path)


def test_written_file_is_coco_and_the_same_each_time(tmp_path):
    images = [
        detected(
            "Regal Süd 1.JPG",
            [(1, 2, 11, 22), (5, 5, 9, 9), (3, 3, 3, 9)],
            [0.25, 0.75, 0.5],
        ),
        detected("empty.jpg", [], []),
    ]
    detections.write_detections(images, tmp_path / "a.json")
    detections.write_detections(images, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.count("\n") == 12  # one entry a line
    content = json.loads(text)
    assert content["images"] == [
        {"id": 1, "file_name": "Regal Süd 1.JPG", "width": 100, "height": 50},
        {"id": 2, "file_name": "empty.jpg", "width": 100, "height": 50},
    ]
    assert content["categories"] == [{"id": 1, "name": "product"}]
    assert content["annotations"] == [  # by falling score; the box without area is left out
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 4, 4], "score": 0.75},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.25},
    ]


def test_categories_have_the_ids_of_the_label_map(tmp_path):
    found = [detected("a.jpg", [(1, 2, 11, 22), (5, 5, 9, 9)], [0.75, 0.25], ["10", "2"])]
    detections.write_detections(found, tmp_path / "a.json", label_map={"2": 2, "10": 10})
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["categories"] == [{"id": 2, "name": "2"}, {"id": 10, "name": "10"}]
    assert [entry["category_id"] for entry in content["annotations"]] == [10, 2]


def test_every_format_gives_the_same(tmp_path):
    expected = [
        detected("a.jpg", [(1, 2, 11, 22), (5, 5, 9, 9)], [0.75, 0.25], ["big box", "tin"]),
        detected("b.jpg", [], []),
    ]
    detections.write_detections(expected, tmp_path / "d.json")
    write_file(
        tmp_path / "d.csv",
        SCORED_HEADER + "a.jpg,100,50,tin,5,5,9,9,0.25\n"
        "a.jpg,100,50,big box,1,2,11,22,0.75\nb.jpg,100,50,,,,,,\n",
    )
    box = (
        "<object><name>{}</name><score>{}</score><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
        "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
    )
    objects = box.format("tin", 0.25, 5, 5, 9, 9) + box.format("big box", 0.75, 1, 2, 11, 22)
    write_file(tmp_path / "voc" / "a.xml", voc("a.jpg", size=(100, 50), objects=objects))
    write_file(tmp_path / "voc" / "b.xml", voc("b.jpg", size=(100, 50), objects=""))
    write_file(tmp_path / "text" / "a.txt", "tin 0.25 5 5 9 9\nbig box 0.75 1 2 11 22\n")
    write_file(tmp_path / "text" / "b.txt", "")
    assert_same(detections.read_detections(tmp_path / "d.json"), expected)
    assert_same(detections.read_detections(tmp_path / "d.csv", "csv"), expected)
    assert_same(detections.read_detections(tmp_path / "voc", "voc"), expected)
    assert_same(detections.read_detections(tmp_path / "text", "text", known=expected), expected)
    images = [formats.ImageBoxes("b.jpg", "", (100, 50), [])]
    rows = [
        formats.BoxRow("", "tin", (5, 5, 9, 9), 0.25),
        formats.BoxRow("", "big box", (1, 2, 11, 22), 0.75),
    ]
    images.append(formats.ImageBoxes("a.jpg", "", (100, 50), rows))
    labelme.write(images, tmp_path / "labelme")
    assert_same(detections.read_detections(tmp_path / "labelme", "labelme"), expected)
    write_file(tmp_path / "labels" / "data.yaml", "names: {3: tin, 7: big box}\n")
    write_file(tmp_path / "labels" / "b.txt", "")
    # As Ultralytics writes it with save_txt=True save_conf=True.
    lines = "3 0.07 0.14 0.04 0.08 0.25\n7 0.06 0.24 0.1 0.4 0.75\n"
    write_file(tmp_path / "labels" / "a.txt", lines)
    assert_same(detections.read_detections(tmp_path / "labels", "yolo", known=expected), expected)


def test_yolo_needs_the_size_of_each_image(tmp_path):
    write_file(tmp_path / "labels" / "a.txt", "0 .5 .5 .2 .2 .9\n")
    message = message_of(tmp_path / "labels", "yolo", known=[detected("b.jpg", [], [])])
    assert "a.txt: the boxes are in shares of the image 'a', whose size is not known" in message


def test_shapes_that_are_no_boxes_are_refused_in_ground_truth(tmp_path):
    shape = {"label": "tin", "points": [[1, 2], [3, 4]], "shape_type": "line"}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageWidth": 100, "imageHeight": 50}
    write_file(tmp_path / "truth" / "a.json", json.dumps(content))
    message = message_of(tmp_path / "truth", "labelme", scored=False)
    assert "a.json: shapes[0]: is one of the lines, which are no boxes; expected boxes" in message


def test_ground_truth_has_no_scores(tmp_path):
    path_of = {
        "coco": write_file(tmp_path / "t.json", coco()),
        "csv": write_file(tmp_path / "t.csv", LABELS + "b.jpg,100,80,,,,,\n"),
        "voc": write_file(tmp_path / "voc" / "a.xml", voc()).parent,
        "text": write_file(tmp_path / "text" / "a.txt", "product 1 2 30 40").parent,
    }
    for format, path in path_of.items():
        image = detections.read_detections(path, format, scored=False)[0]
        bottom = 40.5 if format == "coco" else 40
        assert image.scores is None
        assert image.boxes_xyxy.tolist() == [[1, 2, 30, bottom]]
        assert image.classes == ("product",)


def test_equal_boxes_of_ground_truth_count_once(tmp_path):
    box = coco_annotation()
    path_of = {
        "coco": write_file(tmp_path / "t.json", coco(annotations=[box, dict(box, id=2)])),
        "csv": write_file(tmp_path / "t.csv", LABELS + LABELS.splitlines()[1]),
        "voc": write_file(tmp_path / "voc" / "a.xml", voc(objects=PRODUCT * 2)).parent,
        "text": write_file(tmp_path / "text" / "a.txt", "product 1 2 30 40\n" * 2).parent,
    }
    for format, path in path_of.items():
        assert len(detections.read_detections(path, format, scored=False)[0].classes) == 1


def ground_truth_files(folder, box_xyxy):
    """The same ground-truth box of a.jpg, 100 x 80 pixels, in several formats."""
    xmin, ymin, xmax, ymax = box_xyxy
    bbox = [xmin, ymin, xmax - xmin, ymax - ymin]
    row = ",".join(str(side) for side in box_xyxy)
    objects = VOC_OBJECT.format("product", *box_xyxy)
    return {
        "coco": write_file(folder / "t.json", coco_with(bbox=bbox)),
        "csv": write_file(folder / "t.csv", HEADER + f"a.jpg,100,80,product,{row}\n"),
        "voc": write_file(folder / "voc" / "a.xml", voc(objects=objects)).parent,
        "text": write_file(folder / "text" / "a.txt", "product " + row.replace(",", " ")).parent,
    }


def test_ground_truth_of_every_format_is_clipped_where_it_is_outside_by_rounding(tmp_path):
    known = [detected("a.jpg", size_wh=(100, 80))]
    for format, path in ground_truth_files(tmp_path, (-0.5, 2, 30, 81)).items():
        image = detections.read_detections(path, format, scored=False, known=known)[0]
        assert image.boxes_xyxy.tolist() == [[0, 2, 30, 80]], format


@pytest.mark.parametrize("box_xyxy", [(-2, 2, 30, 40), (1, 2, 102, 40), (30, 2, 1, 40)])
def test_ground_truth_of_every_format_is_refused_where_it_is_outside_by_more(tmp_path, box_xyxy):
    known = [detected("a.jpg", size_wh=(100, 80))]
    for format, path in ground_truth_files(tmp_path, box_xyxy).items():
        message = message_of(path, format, scored=False, known=known)
        xmin, ymin, xmax, ymax = box_xyxy
        numbers = f"bbox [{xmin}, {ymin}, {xmax - xmin}, {ymax - ymin}]"
        if format != "coco":
            numbers = f"box {xmin},{ymin},{xmax},{ymax}"
        assert numbers in message
        assert "--clip" not in message  # which is for detections


def test_ground_truth_in_csv_needs_no_sizes(tmp_path):
    content = "filename,class,xmin,ymin,xmax,ymax\na.jpg,product,1,2,30,40\n"
    path = write_file(tmp_path / "t.csv", content)
    (image,) = detections.read_detections(path, "csv", scored=False)
    assert image.size_wh is None and image.boxes_xyxy.tolist() == [[1, 2, 30, 40]]


def test_a_bare_list_of_coco_results_needs_the_ground_truth(tmp_path):
    results = write_file(tmp_path / "list.json", json.dumps([coco_annotation(score=0.5)]))
    truth = write_file(tmp_path / "truth.json", coco())
    first, second = detections.read_detections(results, coco_ground_truth=truth)
    assert_same([first], [detected(boxes=[(1, 2, 30, 40.5)], size_wh=(100, 80))])
    assert second.filename == "b.jpg" and second.classes == ()
    assert "bare list" in message_of(results)


def test_equal_scores_keep_their_order(tmp_path):
    rows = "".join(f"a.jpg,100,50,{name},1,2,11,22,0.5\n" for name in "cab")
    path = write_file(tmp_path / "d.csv", SCORED_HEADER + rows)
    assert detections.read_detections(path, "csv")[0].classes == ("c", "a", "b")


@pytest.mark.parametrize("format, content", [("voc", scored_voc(size=(0, 0))), ("coco", None)])
def test_sizes_that_are_not_stated_are_those_of_the_known_images(tmp_path, format, content):
    known = [detected("a.jpg", size_wh=(25, 80))]
    if format == "voc":
        path = write_file(tmp_path / "a.xml", content).parent
    else:
        image = {"id": 5, "file_name": "a.jpg"}
        annotation = coco_annotation(score=0.5)
        path = write_file(tmp_path / "a", coco(images=[image], annotations=[annotation]))
    assert detections.read_detections(path, format)[0].size_wh is None
    assert "25 x 80 pixels" in message_of(path, format, known=known)
    (image,) = detections.read_detections(path, format, known=known, clip=True)
    assert image.size_wh == (25, 80) and image.boxes_xyxy[0, 2] == 25


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"bbox": [11, 22, -10, -20]}, "bbox [11, 22, -10, -20] has swapped corners"),
        ({"bbox": [1, 2, 0, 20]}, "swapped corners or no area; expected a width and height above"),
        ({"bbox": [95, 2, 10, 20]}, "reaches outside its image of 100 x 80 pixels"),
        ({"iscrowd": 1}, "is marked iscrowd; expected boxes that all count"),
        ({"score": None}, "score is missing"),
    ],
)
def test_bad_boxes_of_coco(tmp_path, changes, expected):
    annotation = dict({"score": 0.5}, **changes)
    path = write_file(tmp_path / "d.json", coco_with(**annotation))
    message = message_of(path)
    assert f"{path}: annotations[0] (id 1): " in message and expected in message


def test_all_bad_boxes_are_in_one_message(tmp_path):
    rows = "a.jpg,100,50,product,11,2,1,22,0.5\na.jpg,100,50,product,1,2,200,22,0.5\n"
    path = write_file(tmp_path / "d.csv", SCORED_HEADER + rows + "a.jpg,100,50,product,x,2,3,4,1\n")
    message = message_of(path, "csv")
    assert "3 problems" in message
    assert "line 2: box 11,2,1,22 has swapped corners" in message
    assert "line 3: box 1,2,200,22 reaches" in message
    assert "line 4: xmin is 'x'" in message


def test_a_file_without_images(tmp_path):
    assert "no image in it" in message_of(write_file(tmp_path / "d.csv", SCORED_HEADER), "csv")
    path = write_file(tmp_path / "d.json", coco(images=[], annotations=[]))
    assert "no image in it" in message_of(path)


@pytest.mark.parametrize(
    "line",
    ["product 0.5 -2 2 11 22", "product 0.5 1 -30 11 22"],
)
def test_boxes_that_start_outside_an_image_of_unknown_size(tmp_path, line):
    write_file(tmp_path / "a.txt", line)
    message = message_of(tmp_path, "text")
    assert "a.txt: line 1: box " in message and "starts outside its image" in message
    assert "--clip" in message


def test_difficult_objects_and_objects_without_a_class_are_refused(tmp_path):
    content = scored_voc().replace("<difficult>0", "<difficult>1")
    write_file(tmp_path / "a.xml", content)
    assert "a.xml: object 1: is marked difficult" in message_of(tmp_path, "voc")
    write_file(tmp_path / "a.xml", scored_voc().replace("<name>product</name>", ""))
    assert "a.xml: object 1: the class is empty" in message_of(tmp_path, "voc")


@pytest.mark.parametrize("format", ["coco", "csv", "voc", "text"])
@pytest.mark.parametrize("scored", [False, True])
def test_missing_input(tmp_path, format, scored):
    message_of(tmp_path / "nowhere", format, scored=scored)


# --- clipping -----------------------------------------------------------------------------------


def test_clipping_drops_what_is_outside(tmp_path):
    rows = "a.jpg,100,50,product,-5,2,11,60,0.5\na.jpg,100,50,product,200,2,211,22,0.4\n"
    path = write_file(tmp_path / "d.csv", SCORED_HEADER + rows)
    (image,) = detections.read_detections(path, "csv", clip=True)
    assert image.boxes_xyxy.tolist() == [[0, 2, 11, 50]] and list(image.scores) == [0.5]


def test_clipping_without_a_size_clips_at_zero(tmp_path):
    write_file(tmp_path / "a.txt", "product 0.5 -5 2 11 22\nproduct 0.4 -9 2 -3 22\n")
    (image,) = detections.read_detections(tmp_path, "text", clip=True)
    assert image.boxes_xyxy.tolist() == [[0, 2, 11, 22]]


def test_a_pixel_outside_is_accepted_as_rounding(tmp_path):
    path = write_file(
        tmp_path / "d.csv", DETECTIONS.replace("1,2,30,40", "-1,2,101,22").replace("80", "50")
    )
    assert detections.read_detections(path, "csv")[0].boxes_xyxy.tolist() == [[-1, 2, 101, 22]]


def test_rows_in_any_order_are_those_of_their_images(tmp_path):
    rows = [
        f"a.jpg,100,50,product,{place},0,{place + 5},10,0.{place % 7 + 1}" for place in range(40)
    ]
    others = [row.replace("a.jpg", "b.jpg") for row in rows]
    grouped = write_file(tmp_path / "grouped.csv", "\n".join([SCORED_HEADER, *rows, *others]))
    mixed = [row for pair in zip(rows, others) for row in pair]
    in_turns = write_file(tmp_path / "in_turns.csv", "\n".join([SCORED_HEADER, *mixed]))
    expected = detections.read_detections(grouped, "csv")
    assert [len(image.scores) for image in expected] == [40, 40]
    assert_same(detections.read_detections(in_turns, "csv"), expected)


def test_rows_in_any_order_take_no_more_of_the_disk_than_their_number(tmp_path, monkeypatch):
    lists = []

    class Counted(disk_list.DiskList):
        def __init__(self, items=()):
            super().__init__(items)
            lists.append(self)

    monkeypatch.setattr(disk_list, "DiskList", Counted)

    def bytes_of(count):
        rows = [f"{name},100,50,product,1,1,9,9,0.5" for name in ("a.jpg", "b.jpg")] * count
        path = write_file(tmp_path / "mixed.csv", "\n".join([SCORED_HEADER, *rows]))
        lists.clear()
        detections.read_detections(path, "csv")
        return sum(kept._ends[-1] for kept in lists)

    assert bytes_of(400) < 5 * bytes_of(100)


def test_a_csv_from_a_pipe_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(str(pipe))
    expected = "is a pipe or a device; expected a CSV file, which is read more than once"
    assert expected in message_of(pipe, "csv")
