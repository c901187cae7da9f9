"""Anchor boxes, one for each cell of a feature map. Arithmetic only; no TensorFlow.

Everything is in the *resized* frame: pixels of the network's input, to which
``fixed_shape_resizer`` resizes every image without keeping its aspect ratio. ``config.network``
builds the same anchors through object_detection; a test compares the two.
"""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes, tiles
from shelfdet.data import labels

SizeWH = Tuple[float, float]


class Layer(NamedTuple):
    """One feature map with one anchor in each of its cells, in pixels of the network's input.

    grid_wh: number of columns and rows of cells. stride_wh: distance between the centres of two
    cells. offset_wh: centre of the first cell. anchor_wh: size of the anchor.
    """

    grid_wh: Tuple[int, int]
    stride_wh: SizeWH
    offset_wh: SizeWH
    anchor_wh: SizeWH


def ssd_layers(
    grids_wh: Sequence[Tuple[int, int]],
    image_wh: Tuple[int, int],
    scales: Sequence[float],
    aspect_ratio: float,
) -> List[Layer]:
    """The layers that ``ssd_anchor_generator`` generates with one aspect ratio.

    As object_detection/anchor_generators/multiple_grid_anchor_generator.py: a scale is a share of
    the input's shorter side, and anchors have the centres of the cells.

    Args:
      grids_wh: columns and rows of each feature map.
      image_wh: size of the network's input.
      scales: one for each feature map.
      aspect_ratio: width over height.
    """
    shorter_side = min(image_wh)
    layers = []
    for grid_wh, scale in zip(grids_wh, scales):
        stride_wh = (image_wh[0] / grid_wh[0], image_wh[1] / grid_wh[1])
        offset_wh = (stride_wh[0] / 2, stride_wh[1] / 2)
        width, height = tiles.anchor_sides(scale, aspect_ratio)
        anchor_wh = (width * shorter_side, height * shorter_side)
        layers.append(Layer(tuple(grid_wh), stride_wh, offset_wh, anchor_wh))
    return layers


def tile(layers: Sequence[Layer]) -> Tuple[np.ndarray, np.ndarray]:
    """All anchors, row by row of each feature map, in object_detection's order.

    Returns:
      (anchors_xyxy, layer): float64 (M, 4) in pixels of the network's input; int (M,), the index
      into ``layers`` of each anchor.
    """
    anchors_xyxy = [np.zeros((0, 4))]
    layer_numbers = [np.zeros(0, dtype=int)]
    for number, layer in enumerate(layers):
        x = np.arange(layer.grid_wh[0]) * layer.stride_wh[0] + layer.offset_wh[0]
        y = np.arange(layer.grid_wh[1]) * layer.stride_wh[1] + layer.offset_wh[1]
        centres = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)  # (cells, 2), x fastest
        half_wh = np.asarray(layer.anchor_wh) / 2
        anchors_xyxy.append(np.hstack([centres - half_wh, centres + half_wh]))
        layer_numbers.append(np.full(len(centres), number))
    return np.concatenate(anchors_xyxy), np.concatenate(layer_numbers)


def resized(images: Sequence[labels.LabelledImage], image_wh: Tuple[int, int]) -> List[np.ndarray]:
    """The boxes of ``images`` in the resized frame: float64 (N, 4) for each image."""
    return [boxes.scale(image.boxes_xyxy, image.size_wh, image_wh) for image in images]
