"""Images in overlapping tiles, for products that are small in the whole image: the network is shown the image and each tile.

A product that a tile's border cuts is left out there. It is whole in the tile beside it if it is small enough for the overlap, less the two
borders of BORDER; if it is not, it is large enough to be found in the whole image.
"""

import collections

import numpy as np

from shelfdet.core import boxes
from shelfdet.data import images

OVERLAP = 0.2  # of a tile's side, with the tile beside it
BORDER = 0.01  # of a tile's side: a box that ends so near to a border inside the image is taken for a cut one
SAME = 0.45  # IoU from which two boxes are one, as in the configs' batch_non_max_suppression
COVERED = 0.8  # share of a box on others of higher scores from which it lies across those: products that look small in the
# whole image are often found two at a time there

Tile = collections.namedtuple("Tile", "pixels box_xyxy")
Tile.__doc__ = """pixels: uint8 RGB of shape (height, width, 3). box_xyxy: where in the image it lies, in its pixels."""


def detect(network, pixels, count, max_side=None):
    """What a network finds in an image and in its ``count`` x ``count`` tiles together, each product once.

    Args:
      network: such as inference.Detector.detect; what it takes and gives, this takes and gives.
      pixels: uint8 RGB of shape (height, width, 3).
      max_side: image and tiles are shrunk to this, as images.load does, before the network is shown them.

    Returns:
      (boxes_yxyx, scores, class_ids), the boxes in 0 to 1 of the image.
    """
    image_wh, found = pixels.shape[1::-1], []
    for tile in cut(pixels, 1) + cut(pixels, count):
        boxes_yxyx, scores, class_ids = network(images.shrunk(tile.pixels, max_side))
        boxes_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, tile.pixels.shape[1::-1]) + np.tile(
            tile.box_xyxy[:2], 2
        )
        kept = whole(boxes_xyxy, tile, image_wh)
        found.append((boxes_xyxy[kept], scores[kept], class_ids[kept]))
    boxes_xyxy, scores, class_ids = (np.concatenate(part) for part in zip(*found))
    rows = merged(boxes_xyxy, scores, class_ids)
    return boxes.to_normalised_yxyx(boxes_xyxy[rows], image_wh), scores[rows], class_ids[rows]


def cut(pixels, count):
    """Cuts an image into ``count`` x ``count`` tiles of one size.

    Args:
      pixels: uint8 RGB of shape (height, width, 3).
      count: 1 or more.

    Returns:
      list of Tile, row by row.
    """
    (tops, height), (lefts, width) = (_spans(side, count) for side in pixels.shape[:2])
    return [
        Tile(
            pixels[top : top + height, left : left + width], (left, top, left + width, top + height)
        )
        for top in tops
        for left in lefts
    ]


def whole(boxes_xyxy, tile, image_wh):
    """Which boxes no border of their tile cuts; the image's own borders do not count.

    Args:
      boxes_xyxy: (N, 4) in pixels of the image.
      tile: Tile.
      image_wh: of the pixels that it was cut from.

    Returns:
      bool (N,).
    """
    left, top, right, bottom = tile.box_xyxy
    across, down = BORDER * (right - left), BORDER * (bottom - top)
    xmin, ymin, xmax, ymax = boxes_xyxy.T
    return (
        ((xmin > left + across) | (left == 0))
        & ((ymin > top + down) | (top == 0))
        & ((xmax < right - across) | (right == image_wh[0]))
        & ((ymax < bottom - down) | (bottom == image_wh[1]))
    )


def merged(boxes_xyxy, scores, class_ids):
    """Non-maximum suppression over the boxes of all tiles, class by class; then boxes that lie across others of higher scores go.

    Args:
      boxes_xyxy: (N, 4). scores: (N,). class_ids: (N,).

    Returns:
      int (M,): the rows that stay, the highest score first.
    """
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        same = (boxes.iou(boxes_xyxy[best : best + 1], boxes_xyxy[order])[0] > SAME) & (
            class_ids[order] == class_ids[best]
        )
        order = order[~same]
    rows = np.array(kept, dtype=int)
    return rows[_not_across(boxes_xyxy[rows], class_ids[rows])]


def _not_across(boxes_xyxy, class_ids):
    """Which boxes, the highest score first, are not covered by those before them; bool (N,)."""
    shares = (
        boxes.intersections(boxes_xyxy, boxes_xyxy)
        / np.maximum(boxes.areas(boxes_xyxy), 1e-9)[:, None]
    )
    stays = np.ones(len(boxes_xyxy), dtype=bool)
    for row in range(1, len(boxes_xyxy)):
        others = stays[:row] & (class_ids[:row] == class_ids[row])
        stays[row] = shares[row, :row][others].sum() <= COVERED
    return stays


def _spans(side, count):
    """(where the tiles begin, how long they are) along a side of so many pixels."""
    length = min(side, int(np.ceil(side / (count - (count - 1) * OVERLAP))))
    return np.linspace(0, side - length, count).round().astype(int).tolist(), length
