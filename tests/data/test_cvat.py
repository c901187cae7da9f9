"""CVAT's XML for images: what its shapes become, what is refused, and what is written."""

import re
import xml.etree.ElementTree

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import formats
from shelfdet.data.formats import BoxRow, ImageBoxes, cvat

# As CVAT exports a project with two subsets, but for what describes persons, jobs and dates.
EXPORTED = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <project>
      <name>shelves</name>
      <tasks><task><name>a</name><subset>Train</subset></task></tasks>
      <labels><label><name>cola</name><attributes/></label></labels>
      <subsets>Train
Validation</subsets>
    </project>
  </meta>
  <image id="0" name="shop/a.jpg" subset="Train" task_id="1" width="100" height="80">
    <box label="cola" source="manual" occluded="0" xtl="1.50" ytl="2.00" xbr="30.00" ybr="40.25"
      z_order="0"><attribute name="note">upper row</attribute></box>
    <polygon label="fanta" source="auto" occluded="1" points="10.0,5.0;20.0,30.5;4.25,20.0"
      z_order="1"></polygon>
    <tag label="blurred" source="manual"></tag>
  </image>
  <image id="1" name="b.jpg" subset="Validation" task_id="1" width="100" height="80">
  </image>
  <image id="2" name="c.jpg" subset="default" task_id="1" width="100" height="80">
    {shapes}
  </image>
</annotations>
"""


def with_shapes(shapes=""):
    return EXPORTED.replace("{shapes}", shapes)


@pytest.fixture
def read(tmp_path):
    """Reads XML; returns the images, or raises with its problems."""

    def read_content(content):
        path = write_file(tmp_path / "annotations.xml", content)
        problems = Problems(path)
        images = formats.read(path, "cvat", problems)
        problems.refuse()
        return list(images.values())

    return read_content


def test_an_export_with_subsets(read, tmp_path):
    first, second, third = read(with_shapes())
    assert [image.filename for image in (first, second, third)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [image.split for image in (first, second, third)] == ["train", "val", None]
    assert first.size_wh == (100, 80) and second.rows == []
    assert [(row.label, row.box_xyxy) for row in first.rows] == [
        ("cola", (1.5, 2, 30, 40.25)),
        ("fanta", (4.25, 5, 20, 30.5)),
    ]
    assert first.rows[1].place == "image 'a.jpg': polygon 1"
    assert formats.recognise(tmp_path / "annotations.xml") == "cvat"


def test_tags_are_read_in_any_case(read):
    content = with_shapes()
    for tag in ("image", "box"):
        content = re.sub(f"(</?){tag}(?=[ >])", rf"\g<1>{tag.title()}", content)
    assert "<Box " in content and "<Image " in content
    assert [row.label for row in read(content)[0].rows] == ["cola", "fanta"]


@pytest.mark.parametrize(
    "shape, box_xyxy",
    [
        # 20 x 10 about (30, 20): rotated by a quarter, 10 x 20 about the same centre.
        ('<box label="a" xtl="20" ytl="15" xbr="40" ybr="25" rotation="90"/>', (25, 10, 35, 30)),
        ('<box label="a" xtl="20" ytl="15" xbr="40" ybr="25" rotation="180"/>', (20, 15, 40, 25)),
        ('<ellipse label="a" cx="30" cy="20" rx="10" ry="5"/>', (20, 15, 40, 25)),
        ('<ellipse label="a" cx="30" cy="20" rx="10" ry="5" rotation="90"/>', (25, 10, 35, 30)),
        ('<mask label="a" rle="3, 4" left="5" top="6" width="7" height="8"/>', (5, 6, 12, 14)),
    ],
)
def test_other_shapes_are_the_upright_box_around_them(read, shape, box_xyxy):
    (row,) = read(with_shapes(shape))[2].rows
    assert row.box_xyxy == pytest.approx(box_xyxy) and not row.left_out


@pytest.mark.parametrize(
    "shape, left_out",
    [
        ('<polyline label="a" points="1,2;3,4"/>', "lines"),
        ('<points label="a" points="1,2"/>', "points"),
        ('<cuboid label="a"/>', "cuboids"),
        ('<star label="a" x="3"/>', "<star> elements"),  # of a later version
        ('<skeleton label="a"><points label="b" points="1,2"/></skeleton>', "skeletons"),
        (
            '<box label="a" outside="1" xtl="1" ytl="2" xbr="3" ybr="4"/>',
            "shapes marked outside",
        ),
    ],
)
def test_shapes_without_a_products_box_are_left_out_and_counted(read, shape, left_out):
    assert [row.left_out for row in read(with_shapes(shape))[2].rows] == [left_out]


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "is no complete XML"),
        (with_shapes()[:400], "is no complete XML"),
        ("<annotation/>", "the outermost element is <annotation>; expected <annotations>"),
        (
            '<annotations><track id="0"><box frame="0"/></track></annotations>',
            "is CVAT's XML for videos, with <track>; expected that for images",
        ),
        (with_shapes().replace('name="b.jpg"', ""), "image 2: the file name is empty"),
        (with_shapes().replace("b.jpg", "x/a.jpg"), "image 'a.jpg' is also in image 'a.jpg'"),
        (with_shapes().replace('width="100"', 'width="w"'), "image 'a.jpg': width is 'w'"),
        (with_shapes('<box xtl="1"/>'), "image 'c.jpg': box 1: ytl is missing"),
        (with_shapes('<box xtl="nan"/>'), "box 1: xtl is 'nan'; expected a finite number"),
        (with_shapes('<box outside="maybe"/>'), "box 1: outside is 'maybe'"),
        (
            with_shapes('<polygon points="1,2;3,4"/>'),
            "polygon 1: points is '1,2;3,4'; expected at least 3 points",
        ),
        (with_shapes('<polygon points="1,2;3;4,5"/>'), "polygon 1: points has '3'; expected x,y"),
        (with_shapes("<polygon/>"), "points is ''; expected at least 3 points"),
        (with_shapes('<mask left="1" top="2"/>'), "mask 1: width is missing"),
    ],
)
def test_bad_xml(read, content, expected):
    with pytest.raises(UserError) as refused:
        read(content)
    assert expected in str(refused.value) and "annotations.xml" in str(refused.value)


IMAGES = [
    ImageBoxes(
        "a & b.jpg",
        "",
        (640, 481),
        [
            BoxRow("", 'l<i>me "1"', (1.25, 2, 30, 40.123456789), 0.5),
            BoxRow("", "käse", (0, 0, 640, 481)),
            BoxRow("", "cola", (0, 0, 0, 0), left_out="lines"),
        ],
    ),
    ImageBoxes("c.jpg", "", (100, 80), []),
]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "annotations.xml"
    cvat.write(IMAGES, path)
    problems = Problems(path)
    first, second = formats.read(path, "cvat", problems).values()
    assert (first.filename, first.size_wh) == ("a & b.jpg", (640, 481))
    assert [(row.label, row.box_xyxy) for row in first.rows] == [
        (row.label, row.box_xyxy) for row in IMAGES[0].rows[:2]
    ]
    assert (second.filename, second.size_wh, second.rows) == ("c.jpg", (100, 80), [])


def test_written_xml_has_what_cvat_needs(tmp_path):
    """What CVAT's and datumaro's importers look up: the labels, and these attributes of a box."""
    path = tmp_path / "annotations.xml"
    cvat.write(IMAGES, path)
    root = xml.etree.ElementTree.parse(str(path)).getroot()
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    labels = [label.text for label in root.findall("meta/task/labels/label/name")]
    assert labels == ["käse", 'l<i>me "1"']
    assert root.find("image").attrib == {
        "id": "0",
        "name": "a & b.jpg",
        "width": "640",
        "height": "481",
    }
    assert root.find("image/box").attrib == {
        "label": 'l<i>me "1"',
        "source": "auto",
        "occluded": "0",
        "xtl": "1.25",
        "ytl": "2.0",
        "xbr": "30.0",
        "ybr": "40.123456789",
        "z_order": "0",
    }
    cvat.write(IMAGES, path, by_hand=True)
    assert 'source="manual"' in path.read_text(encoding="utf-8")
