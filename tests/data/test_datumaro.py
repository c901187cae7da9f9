"""Datumaro's JSON: shapes, labels, and what is refused."""

import json

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import formats

BBOX = {
    "id": 0,
    "type": "bbox",
    "attributes": {"occluded": False},
    "group": 0,
    "label_id": 1,
    "z_order": 0,
    "bbox": [1.0, 2.0, 29.0, 38.5],
}


def content_of(*annotations, **changes):
    """One item as datumaro 1.13 writes it."""
    item = {
        "id": "shop/a",
        "annotations": list(annotations),
        "image": {"path": "shop/a.jpg", "size": [80, 100]},
    }
    item.update(changes)
    labels = [{"name": "cola", "parent": ""}, {"name": "fanta", "parent": ""}]
    return {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {"label": {"labels": labels, "attributes": []}},
        "items": [item],
    }


@pytest.fixture
def read(tmp_path):
    def read_content(content):
        path = write_file(tmp_path / "train.json", json.dumps(content))
        problems = Problems(path)
        images = formats.read(path, "datumaro", problems)
        problems.refuse()
        return list(images.values())

    return read_content


def test_an_item(read, tmp_path):
    (image,) = read(content_of(BBOX))
    assert (image.filename, image.size_wh) == ("a.jpg", (100, 80))
    assert [(row.label, row.box_xyxy) for row in image.rows] == [("fanta", (1, 2, 30, 40.5))]
    assert image.rows[0].place == "items[0]: annotations[0]"
    assert formats.recognise(tmp_path / "train.json") == "datumaro"
    assert read(content_of())[0].rows == []


def test_an_item_with_media_and_without_a_size(read):
    (image,) = read(content_of(BBOX, image=None, media={"path": "b.jpg", "size": [1]}))
    assert (image.filename, image.size_wh, len(image.rows)) == ("b.jpg", None, 1)


@pytest.mark.parametrize(
    "shape, box_xyxy",
    [
        ({"type": "polygon", "points": [1, 2, 30, 9, 5, 40.5]}, (1, 2, 30, 40.5)),
        # Centre, width, height and degrees: a rotation by a quarter exchanges width and height.
        ({"type": "rotated_bbox", "bbox": [30, 20, 20, 10, 90]}, (25, 10, 35, 30)),
    ],
)
def test_other_shapes_are_the_box_around_them(read, shape, box_xyxy):
    (image,) = read(content_of(dict(shape, label_id=0)))
    assert image.rows[0].box_xyxy == pytest.approx(box_xyxy)


def test_what_is_no_box_is_left_out_or_ignored(read):
    mask = {"type": "mask", "label_id": 0, "rle": {"counts": "abc", "size": [80, 100]}}
    (image,) = read(content_of(mask, {"type": "label", "label_id": 0}, BBOX))
    assert [row.left_out for row in image.rows] == ["masks", ""]


@pytest.mark.parametrize(
    "content, expected",
    [
        ({"items": []}, "has no list of items and no categories"),
        (content_of(dict(BBOX, label_id=2)), "label_id is '2'; expected 0 to 1, a label"),
        (content_of(dict(BBOX, label_id=None)), "label_id is 'None'"),
        (content_of(dict(BBOX, bbox=[1, 2, 3])), "bbox is '[1, 2, 3]'; expected 4 numbers"),
        (content_of(dict(BBOX, bbox=[1, 2, "x", 3])), "bbox[2] is 'x'; expected a finite"),
        (content_of({"type": "polygon", "label_id": 0, "points": [1, 2, 3, 4]}), "points is"),
        (content_of("x"), "items[0]: annotations[0]: is 'x'"),
        (content_of(dict(BBOX, type="Box")), "type is 'Box'; expected bbox, polygon or rotated"),
        (content_of(annotations={"0": BBOX}), "items[0]: annotations is "),
        (content_of(id=None, image={}), "items[0]: the file name is empty"),
        (content_of(image={"path": "a.jpg", "size": [0.5, 80]}), "height is '0.5'"),
        (
            content_of(dict(BBOX, attributes={"score": 0.25})),
            "1 box has a score ('0.25' in items[0]: annotations[0])",
        ),
    ],
)
def test_bad_items(read, content, expected):
    with pytest.raises(UserError) as refused:
        read(content)
    assert expected in str(refused.value)
