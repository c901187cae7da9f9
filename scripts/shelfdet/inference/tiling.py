"""Detection in overlapping tiles, for products that are small in the whole image.

The network runs on the whole image and on each of its tiles, and the detections are merged. A box
that a tile's border cuts is dropped in that tile. Its product is whole in the neighbouring tile if
it is narrower than the overlap less the two margins of BORDER_SHARE; a larger product is large
enough to be found in the whole image.
"""

from typing import Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet.core import boxes, tiles
from shelfdet.data import images

# A box that ends within this share of a tile's side from a border inside the image counts as cut by
# it: a network places the edge of a cut product some pixels beside the border.
BORDER_SHARE = 0.01
# A box with more than this share of its area on boxes of higher scores is dropped. Products that
# are small in the whole image are often detected two at a time there, by one box across both; NMS
# keeps it, because its IoU with either is low.
MAX_COVERED_SHARE = 0.8

# What a detector returns for one image, and takes: see inference.detector.Detector.detect.
RawDetections = Tuple[np.ndarray, np.ndarray, np.ndarray]
DetectFunction = Callable[[np.ndarray], RawDetections]


class Tile(NamedTuple):
    """A part of an image.

    pixels: uint8 RGB of shape (height, width, 3).
    box_xyxy: its place in the image, in pixels.
    """

    pixels: np.ndarray
    box_xyxy: Tuple[int, int, int, int]


def detect(
    run_network: DetectFunction,
    pixels: np.ndarray,
    count: int,
    nms_iou: float,
    max_side: Optional[int] = None,
) -> RawDetections:
    """Detects in an image and in its ``count`` x ``count`` tiles, and merges the detections.

    Args:
      nms_iou: IoU above which two boxes of a class are one detection; that of the graph's config.
      others: as in ``detect_in_tiles``.

    Returns:
      as ``merged``.
    """
    whole = detect_in_tiles(run_network, pixels, 1, max_side)
    parts = detect_in_tiles(run_network, pixels, count, max_side)
    boxes_yxyx, scores, class_ids = (np.concatenate(pair) for pair in zip(whole, parts))
    return merged((boxes_yxyx, scores, class_ids), nms_iou)


def detect_in_tiles(
    run_network: DetectFunction, pixels: np.ndarray, count: int, max_side: Optional[int] = None
) -> RawDetections:
    """Detects in the ``count`` x ``count`` tiles of an image.

    Args:
      run_network: a detector such as ``inference.detector.Detector.detect``.
      pixels: uint8 RGB of shape (height, width, 3).
      count: number of tiles in a row, and of rows.
      max_side: each tile is shrunk to this longer side, as images.load does, before the network
        runs.

    Returns:
      (boxes_yxyx, scores, class_ids) as from ``run_network``: boxes (N, 4) of ymin, xmin, ymax,
      xmax in 0 to 1 of the whole image, but those that a tile's border cuts. Where tiles overlap,
      products are detected several times.
    """
    image_wh = pixels.shape[1::-1]
    parts = []
    for tile in cut_tiles(pixels, count):
        boxes_yxyx, scores, class_ids = run_network(images.shrunk(tile.pixels, max_side))
        tile_wh = tile.pixels.shape[1::-1]
        left_top = tile.box_xyxy[:2]
        boxes_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, tile_wh) + np.tile(left_top, 2)
        kept = not_cut_by_tile(boxes_xyxy, tile, image_wh)
        parts.append(
            (
                boxes.to_normalised_yxyx(boxes_xyxy[kept], image_wh),
                scores[kept],
                class_ids[kept],
            )
        )
    boxes_yxyx, scores, class_ids = (np.concatenate(part) for part in zip(*parts))
    return boxes_yxyx, scores, class_ids


def cut_tiles(pixels: np.ndarray, count: int) -> List[Tile]:
    """Cuts an image into ``count`` x ``count`` tiles of one size.

    Args:
      pixels: uint8 RGB of shape (height, width, 3).
      count: 1 or more; 1 gives the whole image.

    Returns:
      list of Tile, row by row.
    """
    return [
        Tile(pixels[top:bottom, left:right], (left, top, right, bottom))
        for left, top, right, bottom in tiles.grid(pixels.shape[1::-1], count)
    ]


def not_cut_by_tile(boxes_xyxy: np.ndarray, tile: Tile, image_wh: Tuple[int, int]) -> np.ndarray:
    """Which boxes no border of their tile cuts. Borders that are the image's own do not count.

    Args:
      boxes_xyxy: (N, 4) in pixels of the image.
      tile: the tile that they were detected in.
      image_wh: size of the image that the tile was cut from.

    Returns:
      bool (N,).
    """
    left, top, right, bottom = tile.box_xyxy
    margin_x = BORDER_SHARE * (right - left)
    margin_y = BORDER_SHARE * (bottom - top)
    xmin, ymin, xmax, ymax = boxes_xyxy.T
    return (
        ((xmin > left + margin_x) | (left == 0))
        & ((ymin > top + margin_y) | (top == 0))
        & ((xmax < right - margin_x) | (right == image_wh[0]))
        & ((ymax < bottom - margin_y) | (bottom == image_wh[1]))
    )


def merged(detections: RawDetections, nms_iou: float) -> RawDetections:
    """The detections of ``detect_in_tiles`` without duplicates, by falling score."""
    boxes_yxyx, scores, class_ids = detections
    # IoUs and shares of areas are the same in normalised coordinates and in pixels.
    rows = merge(boxes.from_normalised_yxyx(boxes_yxyx, (1, 1)), scores, class_ids, nms_iou)
    return boxes_yxyx[rows], scores[rows], class_ids[rows]


def merge(
    boxes_xyxy: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, nms_iou: float
) -> np.ndarray:
    """Merges the detections of all tiles, class by class.

    NMS drops duplicates; then boxes across several better ones are dropped.

    Args:
      boxes_xyxy: (N, 4).
      scores: (N,).
      class_ids: (N,).
      nms_iou: of two boxes with a higher IoU the one of the lower score is dropped.

    Returns:
      int (M,): the rows that are kept, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best = order[0]
        order = order[1:]
        kept.append(best)
        overlaps = boxes.iou(boxes_xyxy[best : best + 1], boxes_xyxy[order])[0] > nms_iou
        order = order[~(overlaps & (class_ids[order] == class_ids[best]))]
    rows = np.array(kept, dtype=int)
    return rows[_not_covered(boxes_xyxy[rows], class_ids[rows])]


def _not_covered(boxes_xyxy: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Which boxes, given by falling score, no kept boxes before them cover: bool (N,)."""
    shared = boxes.intersections(boxes_xyxy, boxes_xyxy)  # (N, N)
    areas = np.maximum(boxes.areas(boxes_xyxy), 1e-9)  # a box without area: no division by 0
    shares = shared / areas[:, None]
    kept = np.ones(len(boxes_xyxy), dtype=bool)
    for row in range(1, len(boxes_xyxy)):
        better = kept[:row] & (class_ids[:row] == class_ids[row])
        kept[row] = shares[row, :row][better].sum() <= MAX_COVERED_SHARE
    return kept
