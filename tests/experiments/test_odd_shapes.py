"""Rotated images and strips, on a small synthetic shelf, and the calls of steps 08 and 09."""

import json

import numpy as np
import pytest
from PIL import Image
from recorded_steps import record, value_of

from experiments import odd_shape_images, odd_shapes
from shelfdet import UserError
from shelfdet.core import files
from shelfdet.data import labels

SIZE_WH = (60, 50)
# Two rows, not in the order of the rows; the boxes are 10 high.
BOXES_XYXY = np.array(
    [[5.0, 30.0, 15.0, 40.0], [5.0, 6.0, 15.0, 16.0], [25.0, 8.0, 35.0, 18.0]],
)


def shelf(name="a.jpg"):
    """A labelled image and its pixels: each box is filled with another colour."""
    labelled = labels.LabelledImage(name, SIZE_WH, BOXES_XYXY, ("one", "two", "three"))
    width, height = SIZE_WH
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for number, (xmin, ymin, xmax, ymax) in enumerate(BOXES_XYXY.astype(int)):
        pixels[ymin:ymax, xmin:xmax] = 80 * (number + 1)
    return labelled, pixels


def colour_in(pixels, box_xyxy):
    """The one colour inside a box, which must fill it exactly."""
    xmin, ymin, xmax, ymax = box_xyxy.astype(int)
    inside = pixels[ymin:ymax, xmin:xmax]
    assert inside.size
    assert inside.min() == inside.max()
    around = pixels[ymin - 1 : ymax + 1, xmin - 1 : xmax + 1]
    assert np.sum(around == inside[0, 0, 0]) == inside.size
    return int(inside[0, 0, 0])


def test_boxes_are_turned_with_the_image():
    labelled, pixels = odd_shape_images.turned(*shelf())
    assert pixels.shape == (60, 50, 3)
    assert labelled.size_wh == (50, 60)
    assert labelled.classes == ("one", "two", "three")
    # 5 to 15 from the left becomes 5 to 15 from the bottom: 45 to 55 from the top.
    np.testing.assert_array_equal(labelled.boxes_xyxy[0], [30, 45, 40, 55])
    assert [colour_in(pixels, box) for box in labelled.boxes_xyxy] == [80, 160, 240]


def test_every_row_becomes_a_strip_with_its_boxes():
    (upper, upper_pixels), (lower, lower_pixels) = odd_shape_images.strips(*shelf())
    # From 6 - 2 to 18 + 2, and from 30 - 2 to 40 + 2: the margin is a fifth of the height of 10.
    assert (upper.filename, upper.size_wh) == ("strip0_a.jpg", (60, 16))
    assert (lower.filename, lower.size_wh) == ("strip1_a.jpg", (60, 14))
    assert upper_pixels.shape == (16, 60, 3)
    assert upper.classes == ("two", "three")
    assert [colour_in(upper_pixels, box) for box in upper.boxes_xyxy] == [160, 240]
    assert lower.classes == ("one",)
    assert [colour_in(lower_pixels, box) for box in lower.boxes_xyxy] == [80]


def test_a_strip_ends_at_the_edge_of_the_image():
    labelled, pixels = shelf()
    at_edges = labelled._replace(
        boxes_xyxy=np.array([[5.0, 0.0, 15.0, 10.0], [5.0, 40.0, 15.0, 50.0]]),
        classes=("product", "product"),
    )
    (upper, _), (lower, _) = odd_shape_images.strips(at_edges, pixels)
    assert upper.size_wh == lower.size_wh == (60, 12)
    np.testing.assert_array_equal(upper.boxes_xyxy, [[5, 0, 15, 10]])
    np.testing.assert_array_equal(lower.boxes_xyxy, [[5, 2, 15, 12]])


def test_an_image_without_boxes_has_no_strips():
    labelled, pixels = shelf()
    empty = labelled._replace(boxes_xyxy=np.zeros((0, 4)), classes=())
    assert odd_shape_images.strips(empty, pixels) == []


@pytest.fixture
def dataset(tmp_path):
    """A label file, one photograph and a graph's folder."""
    labelled, pixels = shelf("a.png")
    labels.write_labels([labelled], tmp_path / "val_labels.csv")
    Image.fromarray(pixels).save(str(tmp_path / "a.png"))
    (tmp_path / "metrics.json").write_text('{"threshold": 0.25}')
    return tmp_path


def arguments(folder):
    return [
        *("--labels", str(folder / "val_labels.csv"), "--images", str(folder)),
        *("--graph", str(folder), "--output", str(folder / "out")),
    ]


def test_each_kind_of_image_is_detected_in_and_scored(dataset, monkeypatch, capsys):
    def act(step, options):
        if step == "score":
            figures = {"mAP": 0.5, "precision": 0.25, "recall": 0.75}
            files.write_text(value_of(options, "--output"), json.dumps(figures))

    calls = record(monkeypatch, act)
    odd_shapes.main(arguments(dataset))
    output = capsys.readouterr().out
    assert "1 image rotated, 2 strips" in output
    assert "| strips, --pad-strips | 0.500 | 0.250 | 0.750 |" in output
    assert "at score 0.2500" in output
    assert [step for step, _ in calls] == ["detect", "score"] * 3
    padded = [options for step, options in calls if "--pad-strips" in options]
    assert len(padded) == 1
    strips = labels.read_labels(dataset / "out" / "strips_labels.csv")
    assert [image.filename for image in strips] == ["strip0_a.png", "strip1_a.png"]
    for image in strips:
        with Image.open(str(dataset / "out" / "strips" / image.filename)) as written:
            assert written.size == image.size_wh


def test_a_graph_without_figures_needs_a_threshold(dataset):
    (dataset / "metrics.json").unlink()
    with pytest.raises(UserError, match="metrics.json: no such file; expected .* or give --thresh"):
        odd_shapes.main(arguments(dataset))
