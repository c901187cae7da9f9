"""The CSV and JSON of the VGG Image Annotator: shapes, classes, images without regions."""

import csv
import io
import json

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import formats

HEADER = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes"
)
RECT = {"name": "rect", "x": 1, "y": 2, "width": 29, "height": 38}


def csv_of(*regions, name="a.jpg"):
    """VIA's CSV of regions (shape, attributes), as Python's csv module quotes them."""
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(HEADER.split(","))
    for number, (shape, attributes) in enumerate(regions):
        written = [shape, attributes]
        texts = [part if isinstance(part, str) else json.dumps(part) for part in written]
        writer.writerow([name, 1234, "{}", len(regions), number, *texts])
    return content.getvalue()


def json_of(*regions, name="a.jpg"):
    """VIA's JSON of the same."""
    written = [{"shape_attributes": s, "region_attributes": a} for s, a in regions]
    entry = {"filename": name, "size": 1234, "regions": written, "file_attributes": {}}
    return json.dumps({f"{name}1234": entry})


@pytest.fixture(params=["csv", "json"])
def read(request, tmp_path):
    """Reads regions (shape, attributes) of a.jpg from a CSV and from JSON."""

    def read_regions(*regions):
        text = (csv_of if request.param == "csv" else json_of)(*regions)
        path = write_file(tmp_path / f"via.{request.param}", text)
        assert formats.recognise(path) == "via"
        problems = Problems(path)
        images = formats.read(path, "via", problems)
        problems.refuse()
        return list(images.values())

    return read_regions


@pytest.mark.parametrize(
    "shape, box_xyxy",
    [
        (RECT, (1, 2, 30, 40)),
        (
            {"name": "polygon", "all_points_x": [1, 30, 5], "all_points_y": [2, 9, 40.5]},
            (1, 2, 30, 40.5),
        ),
        ({"name": "circle", "cx": 20, "cy": 30, "r": 5}, (15, 25, 25, 35)),
        ({"name": "ellipse", "cx": 20, "cy": 30, "rx": 5, "ry": 9}, (15, 21, 25, 39)),
    ],
)
def test_shapes_are_the_box_around_them(read, shape, box_xyxy):
    (image,) = read((shape, {"class": "cola"}))
    assert image.filename == "a.jpg" and image.size_wh is None
    assert image.rows[0].box_xyxy == pytest.approx(box_xyxy) and image.rows[0].label == "cola"


@pytest.mark.parametrize(
    "attributes, label",
    [
        ({}, ""),
        ({"brand name": "cola"}, "cola"),
        ({"occluded": "yes", "Label": " cola "}, "cola"),
        ({"occluded": "yes", "size": "large"}, ""),
        ({"type": {"cola": True, "fanta": False, "can": True}}, "cola, can"),
        ({"class": 7}, "7"),
    ],
)
def test_the_class_is_the_attribute_that_is_named_so_or_the_only_one(read, attributes, label):
    assert read((RECT, attributes))[0].rows[0].label == label


def test_points_and_lines_are_left_out(read):
    (image,) = read(
        ({"name": "point", "cx": 1, "cy": 2}, {}),
        ({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}, {}),
        (RECT, {}),
    )
    assert [row.left_out for row in image.rows] == ["points", "lines", ""]


def test_an_image_without_regions(tmp_path):
    path = write_file(tmp_path / "a.csv", f'{HEADER}\na.jpg,1,"{{}}",0,0,"{{}}","{{}}"\n')
    for target in (path, write_file(tmp_path / "a.json", json_of())):
        problems = Problems(target)
        (image,) = formats.read(target, "via", problems).values()
        assert (image.filename, image.rows, len(problems)) == ("a.jpg", [], 0)


def test_a_project_of_via_1_with_numbered_regions(tmp_path):
    region = {"shape_attributes": RECT, "region_attributes": {"class": "cola"}}
    entry = {"filename": "a.jpg", "regions": {"0": region}}
    content = {"_via_settings": {}, "_via_img_metadata": {"a.jpg1": entry}}
    path = write_file(tmp_path / "a.json", json.dumps(content))
    assert formats.recognise(path) == "via"
    (image,) = formats.read(path, "via", Problems(path)).values()
    assert image.rows[0].box_xyxy == (1, 2, 30, 40)
    assert image.rows[0].place == "'a.jpg1': region 1"


@pytest.mark.parametrize(
    "shape, expected",
    [
        ({"name": "rect", "x": 1, "y": 2, "width": "w"}, "width is 'w'; expected a finite"),
        ({"name": "star"}, "the shape is 'star'; expected rect, polygon"),
        ({"name": ["rect"]}, "the shape is '['rect']'; expected rect, polygon"),
        ({"name": "circle", "cx": 1}, "cy is missing"),
        (
            {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]},
            "the polygon has 2 values of x and 2 of y; expected at least 3 points",
        ),
        (
            {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, None, 3]},
            "all_points_y is missing",
        ),
    ],
)
def test_bad_shapes(read, shape, expected):
    with pytest.raises(UserError) as refused:
        read((shape, {}))
    assert expected in str(refused.value)


def test_scores_are_refused(read):
    with pytest.raises(UserError, match="1 box has a score .'0.5' in .*these are detections"):
        read((RECT, {"class": "cola", "score": 0.5}))


def test_what_is_no_json_in_the_csv(tmp_path):
    path = write_file(tmp_path / "a.csv", csv_of(("{rect", {}), (RECT, "x")))
    problems = Problems(path)
    formats.read(path, "via", problems)
    with pytest.raises(UserError, match="line 2: '{rect' is no JSON(.|\n)*line 3: 'x' is no JSON"):
        problems.refuse()
    with pytest.raises(UserError, match="expected the columns filename, region_shape_attributes"):
        formats.read(write_file(path, "filename,x,y\n"), "via", problems)
    with pytest.raises(UserError, match="is no export of VIA"):
        formats.read(write_file(tmp_path / "a.json", "[]"), "via", problems)
