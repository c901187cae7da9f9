"""Detection in overlapping tiles, for products that are small in the whole image.

The network runs on the whole image and on each of its tiles, and the detections are merged. A box
that a tile's border cuts is dropped in that tile. Its product is whole in the neighbouring tile if
it is narrower than the overlap less the two margins of BORDER_SHARE; a larger product is large
enough to be found in the whole image, or in fewer tiles.
"""

from typing import Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet.core import boxes, tiles
from shelfdet.data import images
from shelfdet.inference import confidence

# A box that ends within this share of a tile's side from a border inside the image counts as cut by
# it: a network places the edge of a cut product some pixels beside the border.
BORDER_SHARE = 0.01
# A box with more than this share of its area on boxes of higher scores is dropped. Products that
# are small in the whole image are often detected two at a time there, by one box across both; NMS
# keeps it, because its IoU with either is low.
MAX_COVERED_SHARE = 0.8
# Boxes whose IoUs are computed at once when detections are merged: faster than one at a time, and
# less memory than all of the thousands that many tiles give.
BLOCK = 256

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
    return merged(_together(whole, parts), nms_iou)


def detect_in_best_tiles(
    run_network: DetectFunction,
    pixels: np.ndarray,
    whole: RawDetections,
    nms_iou: float,
    max_side: Optional[int] = None,
) -> Tuple[RawDetections, int]:
    """Detects in ever more tiles of an image, as long as that finds more products.

    Products get larger for the network with more tiles. It finds most where they have the sizes
    that it was trained on, which ``confidence.certain_products`` tells without labels. The first
    number of tiles that finds fewer ends the search. Its detections are there anyway, and are
    merged with those of the best: the products of one image differ in size.

    Args:
      whole: the detections in the whole image, which are not merged with those of tiles: its boxes
        of products too small for the network are seldom right.
      others: as in ``detect``.

    Returns:
      (detections, count): as ``merged``, and the best number of tiles in a row, at most
      ``core.tiles.MOST_TILES``; ``whole`` and 1 where tiles find no more.
    """
    best, count = whole, 1
    for more in range(2, tiles.MOST_TILES + 1):
        found = merged(detect_in_tiles(run_network, pixels, more, max_side), nms_iou)
        if confidence.certain_products(found[1]) <= confidence.certain_products(best[1]):
            break
        best, count = found, more
    if count == 1:
        return whole, 1
    return merged(_together(best, found), nms_iou), count


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
    return _together(*parts)


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
    boxes_xyxy, rows = merge(
        boxes.from_normalised_yxyx(boxes_yxyx, (1, 1)), scores, class_ids, nms_iou
    )
    return boxes.to_normalised_yxyx(boxes_xyxy, (1, 1)), scores[rows], class_ids[rows]


def merge(
    boxes_xyxy: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, nms_iou: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Merges the detections of all tiles, class by class.

    NMS drops duplicates, and the box that is kept becomes the mean of itself and of those that it
    drops, weighted by score and by IoU with it (box voting, without the IoU: Gidaris and Komodakis,
    ICCV 2015). Then boxes across several better ones are dropped.

    Args:
      boxes_xyxy: (N, 4).
      scores: (N,).
      class_ids: (N,).
      nms_iou: of two boxes with a higher IoU the one of the lower score is dropped.

    Returns:
      (merged_xyxy, rows): (M, 4), and int (M,), the rows of those that are kept, the highest score
      first.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    means_xyxy = []
    while len(order):
        # (at most BLOCK, len(order))
        ious = boxes.iou(boxes_xyxy[order[:BLOCK]], boxes_xyxy[order])
        remaining = np.ones(len(order), dtype=bool)
        for index, best in enumerate(order[:BLOCK]):
            if not remaining[index]:
                continue
            same = remaining & (ious[index] > nms_iou) & (class_ids[order] == class_ids[best])
            same[index] = True  # also a box without area, whose IoU with itself is 0
            kept.append(best)
            weights = scores[order[same]] * ious[index, same]
            means_xyxy.append(_mean(boxes_xyxy[order[same]], weights))
            remaining &= ~same
        order = order[remaining]
    rows = np.array(kept, dtype=int)
    merged_xyxy = np.array(means_xyxy, dtype=np.float64).reshape(-1, 4)
    uncovered = _not_covered(merged_xyxy, class_ids[rows])
    return merged_xyxy[uncovered], rows[uncovered]


def _mean(boxes_xyxy: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of (N, 4) boxes, shape (4,); the first one where all weights are 0."""
    total = weights.sum()
    return (weights / total) @ boxes_xyxy if total else boxes_xyxy[0]


def _together(*parts: RawDetections) -> RawDetections:
    """Detections of several runs of the network as those of one."""
    boxes_yxyx, scores, class_ids = (np.concatenate(part) for part in zip(*parts))
    return boxes_yxyx, scores, class_ids


def _not_covered(boxes_xyxy: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Which boxes, given by falling score, no kept boxes before them cover: bool (N,)."""
    areas = boxes.areas(boxes_xyxy)
    kept = np.ones(len(boxes_xyxy), dtype=bool)
    for row in range(1, len(boxes_xyxy)):
        better = kept[:row] & (class_ids[:row] == class_ids[row])
        shared = boxes.intersections(boxes_xyxy[row], boxes_xyxy[:row][better])
        kept[row] = shared.sum() <= MAX_COVERED_SHARE * areas[row]
    return kept
