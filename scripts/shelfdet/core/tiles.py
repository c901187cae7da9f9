"""Where the overlapping tiles of an image are, for records (step 04) and for detection (step 08).

An image is divided into a grid of tiles of one size. The network's input has one size, so in a
grid of N x N tiles a product is N or a little less times as large as in the whole image. More
columns than rows make it wider for its height, and more rows narrower.

A product's scale is the square root of its share of the image's area, which is what ``scales`` of
an ssd_anchor_generator are of an anchor if the network's input is square: an anchor of scale s and
aspect ratio r is s * sqrt(r) of the image's width and s / sqrt(r) of its height.
"""

import math
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes

OVERLAP_SHARE = 0.2  # of a tile's side, shared with the neighbouring tile
# Tiles in a row. At 8 a photograph of 4000 px is divided into tiles of 600 px.
MOST_TILES = 8

Size = Tuple[int, int]  # (width, height) in pixels
Tile = Tuple[int, int, int, int]  # xyxy in pixels of the image


class Grid(NamedTuple):
    """How an image is divided: into ``columns`` x ``rows`` tiles. Its text is such as "3 x 2"."""

    columns: int
    rows: int

    def __str__(self) -> str:
        return f"{self.columns} x {self.rows}"


WHOLE = Grid(1, 1)


def square(count: int) -> Grid:
    """The grid of ``count`` x ``count`` tiles, which have the aspect ratio of the image."""
    return Grid(count, count)


def share(count: int) -> float:
    """Side of a tile as a share of the image's, for ``count`` tiles in a row: 1, 0.56, 0.38 ..."""
    return 1 / _lengths_of_side(count)


def places(size_wh: Size, grid: Grid) -> List[Tile]:
    """Where the tiles of an image are, row by row."""
    width, height = size(size_wh, grid)
    lefts = _starts(size_wh[0], width, grid.columns)
    tops = _starts(size_wh[1], height, grid.rows)
    return [(left, top, left + width, top + height) for top in tops for left in lefts]


def size(size_wh: Size, grid: Grid) -> Size:
    """(width, height) of each tile of an image."""
    width, height = (_length(side, count) for side, count in zip(size_wh, grid))
    return width, height


def grid_of(size_wh: Size, tile_wh: Size) -> Optional[Grid]:
    """The grid that divides an image into tiles of this size; None if there is none."""
    counts = []
    for side, length in zip(size_wh, tile_wh):
        found = (count for count in range(1, side + 1) if _length(side, count) <= length)
        counts.append(next(found, side))
    grid = Grid(*counts)
    return grid if size(size_wh, grid) == tuple(tile_wh) else None


def product_scale(boxes_xyxy: np.ndarray, size_wh: Size) -> float:
    """The median scale of the products in an image: of (N, 4) boxes, N at least 1."""
    return float(np.median(np.sqrt(boxes.areas(boxes_xyxy) / (size_wh[0] * size_wh[1]))))


def median_product(boxes_xyxy: np.ndarray, size_wh: Size) -> Tuple[float, float]:
    """The median width and height of products (N, 4), N at least 1, as shares of the image's."""
    xmin, ymin, xmax, ymax = np.asarray(boxes_xyxy, dtype=np.float64).T
    return float(np.median(xmax - xmin)) / size_wh[0], float(np.median(ymax - ymin)) / size_wh[1]


def anchor_sides(scale: float, aspect_ratio: float) -> Tuple[float, float]:
    """Width and height of an anchor as shares of the shorter side of the network's input."""
    return scale * math.sqrt(aspect_ratio), scale / math.sqrt(aspect_ratio)


def grid_for(product_wh: Tuple[float, float], wanted_wh: Tuple[float, float]) -> Grid:
    """The grid in whose tiles a product comes nearest to a wanted size.

    The number of columns follows from its width, and that of rows from its height.

    Args:
      product_wh: width and height as shares of the image's.
      wanted_wh: as shares of a tile's, such as ``anchor_sides``.
    """
    return Grid(*(count_for(side, wanted) for side, wanted in zip(product_wh, wanted_wh)))


def count_for(scale: float, wanted_scale: float) -> int:
    """The number of tiles in a row in which products come nearest to a wanted scale.

    In a tile, a product of ``scale`` in the whole image has the scale ``scale / share(count)``.
    Nearest is by ratio: half the wanted scale is as far from it as its double. Products that are
    too large in the whole image give 1. The same holds for one side: a width or a height as a share
    of the image's.

    Args:
      scale: of the products in the whole image, above 0.
      wanted_scale: above 0.

    Returns:
      1 to MOST_TILES.
    """

    def distance(count: int) -> float:
        return abs(math.log(scale / share(count) / wanted_scale))

    return min(range(1, MOST_TILES + 1), key=distance)


def visible_shares(boxes_xyxy: np.ndarray, tile: Sequence[float]) -> np.ndarray:
    """Share of each box's area inside a tile: (N, 4) to (N,). The boxes have areas above 0."""
    return boxes.intersections(boxes_xyxy, [tile])[:, 0] / boxes.areas(boxes_xyxy)


def _length(side: int, count: int) -> int:
    """Length in pixels of one of ``count`` tiles along an image's side."""
    return min(side, int(np.ceil(side / _lengths_of_side(count))))


def _starts(side: int, length: int, count: int) -> List[int]:
    """Where the tiles of a length start along an image's side, all in pixels."""
    return np.linspace(0, side - length, count).round().astype(int).tolist()


def _lengths_of_side(count: int) -> float:
    """How many times as long as a tile an image is: ``count`` tiles less the overlaps."""
    return count - (count - 1) * OVERLAP_SHARE
