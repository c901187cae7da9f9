"""Detections in every format, and what is said where they are wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.data import detections, labels
from shelfdet.data.detections import Detections

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax,score\n"
VOC = "<annotation><filename>a.jpg</filename><size><width>9</width><height>9</height></size>{}</annotation>"


def made(name="a.jpg", boxes=((1, 2, 11, 22),), scores=(0.5,), classes=None, size_wh=(100, 50)):
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
        assert (
            a.boxes_xyxy == pytest.approx(b.boxes_xyxy, abs=1e-9)
            and a.boxes_xyxy.shape == b.boxes_xyxy.shape
        )
        assert list(a.scores) == list(b.scores)


def coco(**changes):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
        "categories": [{"id": 3, "name": "product"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20], "score": 0.5}],
    }
    content.update(changes)
    return content


def annotation(**changes):
    return [
        dict({"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20], "score": 0.5}, **changes)
    ]


# ------------------------------------------------------------------------------------------------ there and back


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.floats(0, 90),
                st.floats(0, 40),
                st.floats(0.5, 10),
                st.floats(0.5, 10),
                st.floats(0, 1),
            ),
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("written") / "d.json"
    images = []
    for number, rows in enumerate(pictures):
        rows = sorted(rows, key=lambda row: -row[4])
        images.append(
            made(
                f"{number}.jpg",
                [(x, y, x + w, y + h) for x, y, w, h, _ in rows],
                [row[4] for row in rows],
            )
        )
    detections.write_detections(images, path, {"graph": "g"})
    assert_same(detections.read_detections(path), images)
    assert detections.read_info(path) == {"graph": "g"}


def test_written_file_is_coco_and_the_same_each_time(tmp_path):
    images = [
        made("Regal Süd 1.JPG", [(1, 2, 11, 22), (5, 5, 9, 9), (3, 3, 3, 9)], [0.25, 0.75, 0.5]),
        made("empty.jpg", [], []),
    ]
    detections.write_detections(images, tmp_path / "a.json")
    detections.write_detections(images, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["images"] == [
        {"id": 1, "file_name": "Regal Süd 1.JPG", "width": 100, "height": 50},
        {"id": 2, "file_name": "empty.jpg", "width": 100, "height": 50},
    ]
    assert content["categories"] == [{"id": 1, "name": "product"}]
    assert content["annotations"] == [  # by falling score; the box without area is left out
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 4, 4], "score": 0.75},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.25},
    ]


def test_every_format_gives_the_same(tmp_path):
    expected = [
        made("a.jpg", [(1, 2, 11, 22), (5, 5, 9, 9)], [0.75, 0.25], ["big box", "tin"]),
        made("b.jpg", [], []),
    ]
    detections.write_detections(expected, tmp_path / "d.json")
    (tmp_path / "d.csv").write_text(
        HEADER + "a.jpg,100,50,tin,5,5,9,9,0.25\n"
        "a.jpg,100,50,big box,1,2,11,22,0.75\nb.jpg,100,50,,,,,,\n"
    )
    for name in ("voc", "text"):
        (tmp_path / name).mkdir()
    xml = "<annotation><filename>{}</filename><size><width>100</width><height>50</height></size>{}</annotation>"
    box = (
        "<object><name>{}</name><score>{}</score>"
        "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
    )
    (tmp_path / "voc" / "a.xml").write_text(
        xml.format(
            "a.jpg", box.format("tin", 0.25, 5, 5, 9, 9) + box.format("big box", 0.75, 1, 2, 11, 22)
        )
    )
    (tmp_path / "voc" / "b.xml").write_text(xml.format("b.jpg", ""))
    (tmp_path / "text" / "a.txt").write_text("tin 0.25 5 5 9 9\nbig box 0.75 1 2 11 22\n")
    (tmp_path / "text" / "b.txt").write_text("")
    assert_same(detections.read_detections(tmp_path / "d.json"), expected)
    assert_same(detections.read_detections(tmp_path / "d.csv", "csv"), expected)
    assert_same(detections.read_detections(tmp_path / "voc", "voc"), expected)
    assert_same(detections.read_detections(tmp_path / "text", "text", known=expected), expected)


def test_ground_truth_has_no_scores(tmp_path):
    unscored = [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}]
    (tmp_path / "t.json").write_text(json.dumps(coco(annotations=unscored)))
    (tmp_path / "a.txt").write_text("product 1 2 11 22")
    labels.write_labels(
        [labels.LabelledImage("a.jpg", (100, 50), np.array([[1, 2, 11, 22]]), ("product",))],
        tmp_path / "t.csv",
    )
    for path, format in (
        (tmp_path / "t.json", "coco"),
        (tmp_path, "text"),
        (tmp_path / "t.csv", "csv"),
    ):
        (image,) = detections.read_detections(path, format, scored=False)
        assert (
            image.scores is None
            and image.boxes_xyxy.tolist() == [[1, 2, 11, 22]]
            and image.classes == ("product",)
        )


def test_a_bare_list_of_coco_results_needs_the_ground_truth(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps(annotation()))
    (tmp_path / "truth.json").write_text(json.dumps(coco()))
    assert_same(
        detections.read_detections(
            tmp_path / "list.json", coco_ground_truth=tmp_path / "truth.json"
        ),
        [made()],
    )
    with pytest.raises(UserError, match="bare list"):
        detections.read_detections(tmp_path / "list.json")


def test_equal_scores_keep_their_order(tmp_path):
    (tmp_path / "d.csv").write_text(
        HEADER + "".join(f"a.jpg,100,50,{name},1,2,11,22,0.5\n" for name in "cab")
    )
    assert detections.read_detections(tmp_path / "d.csv", "csv")[0].classes == ("c", "a", "b")


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "no whole JSON"),
        ('{"images": [{"id": 1', "no whole JSON"),
        ('{"images": []}', "'annotations' is missing; expected a list"),
        (coco(images=3), "'images' is int; expected a list"),
        (
            coco(images=[{"id": 7, "file_name": "a.jpg", "width": 100}]),
            r"images\[0\]: 'height' is missing",
        ),
        (coco(images=coco()["images"] * 2), r"images\[1\]: the image a.jpg was there already"),
        (
            coco(
                images=coco()["images"]
                + [{"id": 7, "file_name": "b.jpg", "width": 100, "height": 50}]
            ),
            r"images\[1\]: id 7 was there already, of a.jpg",
        ),
        (
            coco(categories=[{"id": 3, "name": "product"}, {"id": 3, "name": "tag"}]),
            r"categories\[1\]: id 3 was there already, of product",
        ),
        (coco(categories=[{"id": 3, "name": " "}]), r"categories\[0\]: the class is empty"),
        (coco(images=[], annotations=[]), "no image in it"),
        (
            coco(images=[{"id": 7, "file_name": "a.jpg", "width": 0, "height": 50}]),
            r"images\[0\]: width is 0; expected pixels, at least 1",
        ),
        (
            coco(annotations=[{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}]),
            r"annotations\[0\]: 'score' is missing",
        ),
        (coco(annotations=["x"]), r"annotations\[0\]: 'bbox' is missing"),
        (
            coco(annotations=annotation(score="high")),
            r"annotations\[0\]: score is 'high'; expected a finite number",
        ),
        (
            coco(annotations=annotation(score=10**400)),
            r"annotations\[0\]: score is 10{199}; expected a finite number",
        ),
        ('{"images": ' + "[" * 100000, "no whole JSON"),
        (coco(annotations=annotation(score=True)), r"annotations\[0\]: score is True"),
        (coco(annotations=annotation(score=float("nan"))), r"annotations\[0\]: score is nan"),
        (
            coco(annotations=annotation(bbox=[1, 2, 10])),
            r"annotations\[0\]: bbox is \[1, 2, 10\]; expected \[x, y, width, height\]",
        ),
        (
            coco(annotations=annotation(bbox=[1, 2, float("inf"), 3])),
            r"annotations\[0\]: bbox is inf",
        ),
        (
            coco(annotations=annotation(bbox=[11, 22, -10, -20])),
            r"annotations\[0\]: the box .* has swapped corners or no area",
        ),
        (coco(annotations=annotation(bbox=[1, 2, 0, 20])), "swapped corners or no area"),
        (
            coco(annotations=annotation(bbox=[95, 2, 10, 20])),
            r"annotations\[0\]: .* reaches outside its image of 100 x 50 pixels",
        ),
        (
            coco(annotations=annotation(image_id=8)),
            r"annotations\[0\]: image_id is 8, which is not in 'images'",
        ),
        (
            coco(annotations=annotation(category_id=8)),
            r"annotations\[0\]: category_id is 8, which is not in 'categories'",
        ),
        (coco(annotations=annotation(image_id=[7])), r"annotations\[0\]: image_id is \[7\]"),
        (coco(annotations=annotation(iscrowd=1)), r"annotations\[0\]: is marked iscrowd"),
    ],
)
def test_bad_coco_is_told_by_file_and_entry(tmp_path, content, message):
    path = tmp_path / "d.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        detections.read_detections(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "empty"),
        (
            "a.jpg,100,50,product,1,2,11,22,0.5\n",
            "line 1: found .*; expected the header filename,width",
        ),
        (HEADER.replace(",score", ""), "line 1: .* expected the header .*,score"),
        (HEADER + "a.jpg,100,50,product,1,2,11,22\n", "line 2: has 8 columns; expected 9"),
        (HEADER + "a.jpg,100,50,product,1,2,11,22,\n", "line 2: score is ''"),
        (HEADER + "a.jpg,100,50,product,1,2,nan,22,0.5\n", "line 2: xmax is 'nan'"),
        (
            HEADER + "a.jpg,100,50,product,1,2,11,22,0.5\na.jpg,50,100,product,1,2,11,22,0.5\n",
            "line 3: a.jpg is 50 x 100 pixels here; expected 100 x 50",
        ),
        (
            HEADER + "a.jpg,100,50,product,11,2,1,22,0.5\n",
            "line 2: the box xmin 11, .* swapped corners",
        ),
        (HEADER, "no image in it"),
        (HEADER + "a.jpg,100,50, ,1,2,11,22,0.5\n", "line 2: the class is empty"),
        (HEADER + "a.jpg,100,-50,,,,,,\n", "line 2: height is '-50'; expected pixels, at least 1"),
        (HEADER + ",100,50,product,1,2,11,22,0.5\n", "line 2: the image's file name is ''"),
        (
            HEADER + "x/a.jpg,100,50,product,1,2,11,22,0.5\ny/a.jpg,100,50,product,1,2,11,22,0.5\n",
            "line 3: the image 'y/a.jpg' was there as 'x/a.jpg'; expected each under one name",
        ),
    ],
)
def test_bad_csv_is_told_by_file_and_line(tmp_path, content, message):
    path = tmp_path / "d.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        detections.read_detections(path, "csv")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "line, message",
    [
        ("product 1 2 11 22", "line 1: is 'product 1 2 11 22'; expected 'class score x1 y1 x2 y2'"),
        ("product x 1 2 11 22", "line 1: score is 'x'"),
        ("product 0.5 1 2 11 nan", "line 1: y2 is 'nan'"),
        ("product 0.5 -2 2 11 22", "line 1: the box xmin -2, .* starts outside its image"),
        (
            "product 0.5 1 -30 11 22",
            "line 1: the box xmin 1, ymin -30, .* starts outside its image",
        ),
    ],
)
def test_bad_text_is_told_by_file_and_line(tmp_path, line, message):
    (tmp_path / "a.txt").write_text(line)
    with pytest.raises(UserError, match=message) as error:
        detections.read_detections(tmp_path, "text")
    assert str(tmp_path / "a.txt") in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ("<annotation><file", "no whole XML"),
        ("<annotation><filename>a.jpg</filename></annotation>", "width is None"),
        (VOC.format("<object><name>x</name></object>"), "object 1: xmin is None"),
        (
            VOC.format(
                "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>"
            ),
            "object 1: score is None",
        ),
        (
            VOC.format(
                "<object><score>0.5</score><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
                "</object>"
            ),
            "object 1: the class is empty",
        ),
        (
            VOC.format("").replace("<width>9", "<width>0"),
            "width is '0'; expected pixels, at least 1",
        ),
        (
            VOC.format("<object><difficult>1</difficult></object>"),
            "object 1: is marked <difficult>",
        ),
    ],
)
def test_bad_voc_is_told_by_file_and_object(tmp_path, content, message):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        detections.read_detections(tmp_path, "voc")
    assert str(tmp_path / "a.xml") in str(error.value)


def test_voc_names_are_stripped(tmp_path):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(
        VOC.replace("a.jpg", "\n  a.jpg\n").format(
            "<object><name> product\n</name><score>0.5</score>" + box + "</object>"
        )
    )
    (image,) = detections.read_detections(tmp_path, "voc")
    assert (image.filename, image.classes) == ("a.jpg", ("product",))


def test_detections_read_as_ground_truth_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("7 1 2 11 22\nbig box 1 2 11 22\n")
    assert detections.read_detections(tmp_path, "text", scored=False)[0].classes == ("7", "big box")
    (tmp_path / "a.txt").write_text("product 0.9 1 2 11 22\n")
    with pytest.raises(
        UserError, match="line 1: the class 'product 0.9' ends in a number"
    ) as error:
        detections.read_detections(tmp_path, "text", scored=False)
    assert str(tmp_path / "a.txt") in str(error.value)


def test_clip_without_a_size_cuts_at_zero(tmp_path):
    (tmp_path / "a.txt").write_text("product 0.5 -5 2 11 22\nproduct 0.4 -9 2 -3 22\n")
    (image,) = detections.read_detections(tmp_path, "text", clip=True)
    assert image.boxes_xyxy.tolist() == [[0, 2, 11, 22]]


@pytest.mark.parametrize("format", ["coco", "csv", "voc", "text"])
def test_missing_input(tmp_path, format):
    with pytest.raises(UserError, match="nowhere"):
        detections.read_detections(tmp_path / "nowhere", format)


@pytest.mark.parametrize("format", ["voc", "text"])
def test_a_file_or_an_empty_folder_where_a_full_one_belongs(tmp_path, format):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, message in (("file", "is no folder"), ("folder", "holds no such file")):
        with pytest.raises(UserError, match=message):
            detections.read_detections(tmp_path / name, format)


def test_images_that_text_files_cannot_tell_apart(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="differ in their suffix alone"):
        detections.read_detections(tmp_path, "text", known=[made("a.jpg"), made("a.png")])


def test_clip_cuts_boxes_and_leaves_out_what_is_outside(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(
        HEADER + "a.jpg,100,50,product,-5,2,11,60,0.5\na.jpg,100,50,product,200,2,211,22,0.4\n"
    )
    (image,) = detections.read_detections(path, "csv", clip=True)
    assert image.boxes_xyxy.tolist() == [[0, 2, 11, 50]] and list(image.scores) == [0.5]


def test_a_pixel_outside_is_rounding_and_no_mistake(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(HEADER + "a.jpg,100,50,product,-1,2,101,22,0.5\n")
    assert detections.read_detections(path, "csv")[0].boxes_xyxy.tolist() == [[-1, 2, 101, 22]]
