"""Supervisely's JSON: the box around every kind of object; what is left out or refused."""

import base64
import io
import json
import zlib

import pytest
from annotation_samples import write_file
from PIL import Image

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data.formats import recognition, supervisely

# What Supervisely's own library (6.74) writes for a mask of 15 x 20 pixels.
MASK = (
    "eJzrDPBz5+WS4mJgYOD19HAJAtL8QCzCyAwkMzi/BgIptgCfEFcg/f///6U3598FshhLgvyCGRye3UgDcsQ8XRxDKu"
    "Yk//k//yUD8+P//314eJYoMXA/Z3nsv9wxBqiCwdPVz2WdU0ITANz2IFg="
)


def item(kind="rectangle", exterior=((29, 39), (1, 2)), title="can", **more):
    """An object as Supervisely's library writes it."""
    written = {
        "classTitle": title,
        "description": "",
        "tags": [],
        "points": {"exterior": [list(point) for point in exterior], "interior": []},
        "geometryType": kind,
        "shape": kind,
    }
    written.update(more)
    return written


def bitmap(origin=(20, 30), data=MASK):
    return item("bitmap", points=None, bitmap={"origin": list(origin), "data": data})


def content(*items, **changes):
    file = {"description": "", "tags": [], "size": {"height": 80, "width": 100}}
    file.update(objects=list(items), customBigData={}, **changes)
    return json.dumps(file)


@pytest.fixture
def source(tmp_path):
    """Writes ann/a.jpg.json, whose folder it returns."""

    def write(text):
        return write_file(tmp_path / "ann" / "a.jpg.json", text).parent

    return write


def read(folder, **options):
    problems = Problems(folder)
    images = supervisely.read(folder, problems, **options)
    problems.refuse()
    return images


def rows_of(folder):
    (image,) = read(folder).values()
    return image.rows


def message_of(folder, **options):
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    return str(caught.value)


def test_a_rectangle_by_any_two_corners(source):
    folder = source(content(item(), item(exterior=[(1, 39), (29.5, 2)], title=" box ")))
    (image,) = read(folder).values()
    assert (image.filename, image.size_wh) == ("a.jpg", (100, 80))
    first, second = image.rows
    assert (first.box_xyxy, first.label) == ((1, 2, 29, 39), "can")
    assert (second.box_xyxy, second.label) == ((1, 2, 29.5, 39), "box")
    assert second.place == "a.jpg.json: objects[1]"
    assert recognition.recognise(folder / "a.jpg.json") == "supervisely"


def test_a_polygon_and_a_mask(source):
    polygon, mask = rows_of(source(content(item("polygon", [(1, 2), (30, 3), (7, 40)]), bitmap())))
    assert polygon.box_xyxy == (1, 2, 30, 40)
    # The mask covers the pixels 20 to 34 and 30 to 49, so that its right edge is at 35.
    assert mask.box_xyxy == (20, 30, 35, 50)


def test_objects_of_old_projects_without_a_type(source):
    objects = [
        item(exterior=[(1, 2), (3, 4)]),
        item(exterior=[(1, 2), (30, 3), (7, 40)]),
        bitmap(),
    ]
    for written in objects:
        del written["geometryType"], written["shape"]
    boxes = [row.box_xyxy for row in rows_of(source(content(*objects)))]
    assert boxes == [(1, 2, 3, 4), (1, 2, 30, 40), (20, 30, 35, 50)]


@pytest.mark.parametrize(
    "kind, plural",
    [("line", "lines"), ("point", "points"), ("graph", "key points"), ("cuboid", "cuboids")],
)
def test_objects_without_a_box_are_left_out(source, kind, plural):
    written = item(kind)
    if kind == "graph":
        written["nodes"] = written.pop("points")
    (row,) = rows_of(source(content(written)))
    assert row.left_out == plural


def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (3, 3)).save(file, "JPEG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


@pytest.mark.parametrize(
    "file, expected",
    [
        ('{"objects": [', "a.jpg.json: is no complete JSON ("),
        ("3", "a.jpg.json: is '3'; expected Supervisely JSON, an object with a list objects"),
        ('{"size": {}}', "a.jpg.json: objects is missing; expected Supervisely JSON"),
        (content(3), "objects[0]: is '3'; expected an object"),
        (content(item(title=None)), "classTitle is missing; expected the name of a class"),
        (content(item("any")), "geometryType is 'any'; expected rectangle, polygon or bitmap"),
        (content(item(points=None)), "points.exterior is missing; expected a list of [x, y]"),
        (content(item(exterior=[[1, 2]])), "the rectangle has 1 point; expected 2 or more"),
        (content(item("polygon")), "the polygon has 2 points; expected 3 or more"),
        (content(item(exterior=[[1, "x"], [3, 4]])), "points.exterior[0] is '[1, 'x']'; expected"),
        (content(item("bitmap", bitmap=None)), "bitmap.origin[0] is 'None'; expected [x, y]"),
        (content(bitmap(data="eJz")), "bitmap.data is no mask ("),
        (content(bitmap(data=None)), "bitmap.data is no mask ("),
        (content(bitmap(data=jpeg())), "bitmap.data is no mask (no PNG); expected a PNG"),
        (content(item(), size=[80, 100]), "a.jpg.json: size: is '[80, 100]'; expected an object"),
        (content(item(), size={"height": -1, "width": 100}), "height is '-1'; expected a whole"),
        (content(item()).encode("utf-16"), "a.jpg.json: is UTF-16 text"),
    ],
)
def test_bad_files(source, file, expected):
    message = message_of(source(file))
    assert expected in message and "\n" not in message


@pytest.mark.parametrize(
    "file, names, expected",
    [
        ("a.jpg.json", ["a.jpg", "a.png"], "a.jpg"),
        ("a.png.json", ["a.jpg", "a.png"], "a.png"),
        ("a.webp.json", ["a.jpg"], "a.jpg"),  # converted since
        ("a.json", ["a.JPG"], "a.JPG"),  # of an old project
        ("gone.jpg.json", ["a.jpg"], "gone.jpg"),
    ],
)
def test_the_image_of_a_file(tmp_path, file, names, expected):
    write_file(tmp_path / "ann" / file, content(item()))
    write_file(tmp_path / "ann" / "meta.json", '{"classes": [], "tags": []}')
    assert list(read(tmp_path / "ann", image_names=names)) == [expected]
