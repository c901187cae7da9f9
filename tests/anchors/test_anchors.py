"""anchors.py: layers, anchors and resized boxes, worked out by hand."""

import numpy as np
import pytest

from shelfdet.anchors import anchors
from shelfdet.data import labels


def test_ssd_layers_worked_out_by_hand():
    (layer,) = anchors.ssd_layers([(4, 2)], (64, 32), [0.25], 4.0)
    # The scale is of the shorter side, 32: area 8 x 8, aspect ratio 4 makes it 16 x 4.
    assert layer == anchors.Layer((4, 2), (16, 16), (8, 8), (16, 4))
    anchors_xyxy, layer_numbers = anchors.tile([layer])
    assert anchors_xyxy[:2].tolist() == [[0, 6, 16, 10], [16, 6, 32, 10]]  # x fastest
    assert anchors_xyxy[4].tolist() == [0, 22, 16, 26]
    assert layer_numbers.tolist() == [0] * 8


def test_tile_orders_anchors_by_layer():
    layers = anchors.ssd_layers([(4, 4), (2, 2)], (64, 64), [0.25, 0.5], 1.0)
    anchors_xyxy, layer_numbers = anchors.tile(layers)
    assert len(anchors_xyxy) == 16 + 4
    assert layer_numbers.tolist() == [0] * 16 + [1] * 4
    assert anchors_xyxy[16].tolist() == [0, 0, 32, 32]


def test_without_layers_there_are_no_anchors():
    anchors_xyxy, layer_numbers = anchors.tile([])
    assert anchors_xyxy.shape == (0, 4)
    assert layer_numbers.shape == (0,)


def test_resized_boxes_worked_out_by_hand():
    image = labels.LabelledImage("a.jpg", (200, 100), np.array([[20.0, 10, 40, 50]]), ("product",))
    (boxes_xyxy,) = anchors.resized([image], (100, 100))
    assert boxes_xyxy[0].tolist() == pytest.approx([10, 10, 20, 50])
