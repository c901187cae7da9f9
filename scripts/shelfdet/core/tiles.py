"""Where the overlapping tiles of an image are, for records (step 04) and for detection (step 08).

An image is divided into N x N tiles of one size and of its own aspect ratio. The network's input
has one size, so a product is N or a little less times as large in a tile as in the whole image.

A product's scale is the square root of its share of the image's area, which is what ``scales`` of
an ssd_anchor_generator are of an anchor if the network's input is square: an anchor of scale s and
aspect ratio r is s * sqrt(r) of the image's width and s / sqrt(r) of its height.
"""

import math
from typing import List, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes

OVERLAP_SHARE = 0.2  # of a tile's side, shared with the neighbouring tile
# Tiles in a row. At 8 a photograph of 4000 px is divided into tiles of 600 px.
MOST_TILES = 8

Size = Tuple[int, int]  # (width, height) in pixels
Tile = Tuple[int, int, int, int]  # xyxy in pixels of the image


def share(count: int) -> float:
    """Side of a tile as a share of the image's, for ``count`` tiles in a row: 1, 0.56, 0.38 ..."""
    return 1 / _lengths_of_side(count)


def grid(size_wh: Size, count: int) -> List[Tile]:
    """The ``count`` x ``count`` tiles of an image, row by row; 1 gives the whole image."""
    width, height = size(size_wh, count)
    lefts = _starts(size_wh[0], width, count)
    tops = _starts(size_wh[1], height, count)
    return [(left, top, left + width, top + height) for top in tops for left in lefts]


def size(size_wh: Size, count: int) -> Size:
    """(width, height) of each of the ``count`` x ``count`` tiles of an image."""
    width, height = (min(side, int(np.ceil(side / _lengths_of_side(count)))) for side in size_wh)
    return width, height


def product_scale(boxes_xyxy: np.ndarray, size_wh: Size) -> float:
    """The median scale of the products in an image: of (N, 4) boxes, N at least 1."""
    return float(np.median(np.sqrt(boxes.areas(boxes_xyxy) / (size_wh[0] * size_wh[1]))))


def count_for(scale: float, wanted_scale: float) -> int:
    """The number of tiles in a row in which products come nearest to a wanted scale.

    In a tile, a product of ``scale`` in the whole image has the scale ``scale / share(count)``.
    Nearest is by ratio: half the wanted scale is as far from it as its double. Products that are
    too large in the whole image give 1.

    Args:
      scale: of the products in the whole image, above 0.
      wanted_scale: above 0, such as ``scales`` of the config's anchors.

    Returns:
      1 to MOST_TILES.
    """

    def distance(count: int) -> float:
        return abs(math.log(scale / share(count) / wanted_scale))

    return min(range(1, MOST_TILES + 1), key=distance)


def visible_shares(boxes_xyxy: np.ndarray, tile: Sequence[float]) -> np.ndarray:
    """Share of each box's area inside a tile: (N, 4) to (N,). The boxes have areas above 0."""
    return boxes.intersections(boxes_xyxy, [tile])[:, 0] / boxes.areas(boxes_xyxy)


def _starts(side: int, length: int, count: int) -> List[int]:
    """Where the tiles of a length start along an image's side, all in pixels."""
    return np.linspace(0, side - length, count).round().astype(int).tolist()


def _lengths_of_side(count: int) -> float:
    """How many times as long as a tile an image is: ``count`` tiles less the overlaps."""
    return count - (count - 1) * OVERLAP_SHARE
