"""Boxes that are upside down or mirrored are named by the edges in their images."""

import re

import numpy as np
import pytest
from made_shelves import shelf
from PIL import Image, ImageDraw

from shelfdet.data import labels
from shelfdet.data.checks import box_edges

WIDTH, HEIGHT = 480, 360


def dataset(folder, count, change, make=shelf):
    """Images in ``folder`` with their boxes, which ``change`` has changed: (labelled, paths)."""
    labelled, paths = [], {}
    for number in range(count):
        image, boxes_xyxy = make(number)
        name = f"{number}.png"
        paths[name] = folder / name
        image.save(str(paths[name]))
        changed = np.array([change(*box) for box in boxes_xyxy])
        classes = ("product",) * len(changed)
        labelled.append(labels.LabelledImage(name, image.size, changed, classes))
    return labelled, paths


def as_drawn(*box):
    return box


def from_below(x1, y1, x2, y2):
    return x1, HEIGHT - y2, x2, HEIGHT - y1


def from_the_right(x1, y1, x2, y2):
    return WIDTH - x2, y1, WIDTH - x1, y2


def upside_down(*box):
    return from_the_right(*from_below(*box))


@pytest.mark.parametrize(
    "change, words",
    [
        (from_below, "fit better upside down: .* y seems to be measured from the lower border"),
        (from_the_right, "fit better mirrored: .* x seems to be measured from the right border"),
        (upside_down, "fit better rotated by 180 degrees: .* EXIF"),
    ],
)
def test_boxes_in_another_orientation_are_named(tmp_path, change, words):
    (line,) = box_edges.report(*dataset(tmp_path, 6, change))
    assert line.startswith("warning: in 6 of 6 images the boxes ")
    assert re.search(words, line)
    assert "Expected pixels from the upper left corner, x to the right and y down." in line


@pytest.mark.parametrize(
    "change",
    [
        as_drawn,
        lambda x1, y1, x2, y2: (x1 - 2, y1 - 2, x2 + 2, y2 + 2),  # loose ones
        lambda x1, y1, x2, y2: (x1 + 2, y1 + 2, x2 + 2, y2 + 2),  # shifted ones
    ],
)
def test_boxes_as_they_should_be_are_not(tmp_path, change):
    assert box_edges.report(*dataset(tmp_path, 6, change)) == []


def grid(_):
    """The same upside down and mirrored: here nothing can be known."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    boxes_xyxy = [(x, y, x + 60, y + 40) for x in range(30, 450, 120) for y in range(40, 320, 80)]
    for box in boxes_xyxy:
        ImageDraw.Draw(image).rectangle(box, fill="white")
    return image, np.array(boxes_xyxy, dtype=np.float64)


def test_where_nothing_can_be_known_nothing_is_said(tmp_path):
    assert box_edges.report(*dataset(tmp_path, 6, from_below, grid)) == []
    blank = dataset(tmp_path, 6, from_below, lambda n: (Image.new("L", (480, 360)), shelf(n)[1]))
    assert box_edges.report(*blank) == []
    assert box_edges.report(*dataset(tmp_path, 4, from_below)) == []
    without = [labels.labelled(f"{n}.png", (480, 360), []) for n in range(6)]
    assert box_edges.report(without, {}) == []


def test_boxes_that_were_drawn_upright_on_turned_photographs(tmp_path):
    """Read without their EXIF orientation, they are rotated by 180 degrees; with it they fit."""
    labelled, paths = dataset(tmp_path, 6, as_drawn)
    for name, path in list(paths.items()):
        turned = Image.open(str(path)).transpose(Image.ROTATE_180)
        exif = Image.Exif()
        exif[0x0112] = 3
        paths[name] = path.with_suffix(".jpg")
        turned.save(str(paths[name]), quality=95, exif=exif)
    (line,) = box_edges.report(labelled, paths, "ignore")
    assert "rotated by 180 degrees" in line
    assert box_edges.report(labelled, paths, "apply") == []
