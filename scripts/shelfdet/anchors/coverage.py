"""Anchor coverage: which ground-truth boxes the anchors overlap, and which anchors learn them.

Arithmetic only; no TensorFlow. Boxes and anchors are in the *resized* frame: pixels of the
network's input.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.anchors.anchors import Layer
from shelfdet.core import boxes

# IoU from which a box counts as covered: the threshold of SSD's matcher, from which an anchor
# learns a box.
COVERED_IOU = 0.5
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # at which coverage is reported

# object_detection's argmax_matcher gives these numbers to anchors without a box.
BACKGROUND = -1
IGNORED = -2


class Matcher(NamedTuple):
    """The fields of object_detection's argmax_matcher that decide on matches.

    matched: IoU from which an anchor matches a box; None for any. unmatched: IoU under which it is
    background. force: every box is matched to its best anchor. negatives_lower: False swaps what is
    ignored and what is background below ``matched``.
    """

    matched: Optional[float] = COVERED_IOU
    unmatched: Optional[float] = COVERED_IOU
    force: bool = True
    negatives_lower: bool = True


DEFAULT_MATCHER = Matcher()


class Coverage(NamedTuple):
    """How the anchors serve N boxes, in the order of the images' boxes. All arrays are (N,).

    best_iou: IoU of the best anchor. layer: the feature map of that anchor. image_index: the image
    of the box. forced_only: no anchor reaches the matcher's threshold, and the box is learned by
    its best anchor through the forced match alone. collided: its best anchor is matched to another
    box. unmatched: no anchor learns the box. positives: number of anchors that learn it.

    A box that is forced_only is neither collided nor unmatched.
    """

    best_iou: np.ndarray
    layer: np.ndarray
    image_index: np.ndarray
    forced_only: np.ndarray
    collided: np.ndarray
    unmatched: np.ndarray
    positives: np.ndarray


def best_iou(boxes_xyxy: np.ndarray, layers: Sequence[Layer]) -> Tuple[np.ndarray, np.ndarray]:
    """IoU of each box with its best anchor, without generating the anchors.

    On a grid of equal anchors the shared width depends on the column alone and the shared height on
    the row alone, and neither grows with the distance. So the best anchor of a layer is the one
    whose centre is nearest.

    Args:
      boxes_xyxy: (N, 4), resized.
      layers: the anchors.

    Returns:
      (iou, layer): float64 (N,); int (N,), the first layer where two are equally good.
    """
    if not layers:
        return np.zeros(len(boxes_xyxy)), np.zeros(len(boxes_xyxy), dtype=int)
    by_layer = [iou_at(nearest_cell(boxes_xyxy, layer), layer.anchor_wh) for layer in layers]
    ious = np.stack(by_layer)  # (layers, N)
    return ious.max(axis=0), ious.argmax(axis=0)


def nearest_cell(boxes_xyxy: np.ndarray, layer: Layer) -> np.ndarray:
    """Sizes of the boxes and their distances to the nearest cell's centre.

    This is the part of ``best_iou`` that does not depend on the anchor's size: the search for the
    best size computes it once.

    Returns:
      float64 (4, N): width, height, horizontal distance, vertical distance.
    """
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    sizes_wh = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    centres = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) / 2
    stride = np.asarray(layer.stride_wh, dtype=np.float64)
    first_centre = np.asarray(layer.offset_wh, dtype=np.float64)
    cells = np.divide(centres - first_centre, stride, out=np.zeros_like(centres), where=stride > 0)
    cells = np.clip(np.round(cells), 0, np.asarray(layer.grid_wh) - 1)
    distances = np.abs(centres - (cells * stride + first_centre))
    return np.concatenate([sizes_wh, distances], axis=1).T.copy()  # contiguous rows are faster


def iou_at(cell: np.ndarray, anchor_wh: Tuple[float, float]) -> np.ndarray:
    """IoU (N,) of boxes with the anchor of the nearest cell.

    Args:
      cell: (4, N), or (4, ...) of any shape, as ``nearest_cell`` returns it.
      anchor_wh: size of the anchor.
    """
    width, height, horizontal, vertical = cell
    anchor_width, anchor_height = anchor_wh
    # Two intervals share at most the shorter one, and less when one ends inside the other.
    shared_width = np.minimum(
        np.minimum(width, anchor_width), (width + anchor_width) / 2 - horizontal
    )
    shared_height = np.minimum(
        np.minimum(height, anchor_height), (height + anchor_height) / 2 - vertical
    )
    shared = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    union = width * height + anchor_width * anchor_height - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def shares(best_ious: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> List[float]:
    """Share of the boxes whose best anchor reaches each threshold; nan where there are no boxes."""
    best_ious = np.asarray(best_ious)
    if not len(best_ious):
        return [float("nan")] * len(thresholds)
    return [float(np.mean(best_ious >= threshold)) for threshold in thresholds]


def similarity(
    boxes_xyxy: np.ndarray, anchors_xyxy: np.ndarray, image_wh: Tuple[int, int]
) -> np.ndarray:
    """IoU (N, M) in float32, in object_detection's order of operations so that ties are the same.

    As core/box_list_ops.py: normalised boxes, and IoU 0 where nothing is shared.
    """
    rows = boxes.to_normalised_yxyx(boxes_xyxy, image_wh).astype(np.float32)[:, None, :]
    columns = boxes.to_normalised_yxyx(anchors_xyxy, image_wh).astype(np.float32)[None, :, :]
    shared_height = np.minimum(rows[..., 2], columns[..., 2]) - np.maximum(
        rows[..., 0], columns[..., 0]
    )
    shared_width = np.minimum(rows[..., 3], columns[..., 3]) - np.maximum(
        rows[..., 1], columns[..., 1]
    )
    shared = np.maximum(0, shared_height) * np.maximum(0, shared_width)  # (N, M)
    union = _normalised_areas(rows) + _normalised_areas(columns) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared != 0)


def _normalised_areas(boxes_yxyx):
    return (boxes_yxyx[..., 2] - boxes_yxyx[..., 0]) * (boxes_yxyx[..., 3] - boxes_yxyx[..., 1])


def match(iou: np.ndarray, matcher: Matcher = DEFAULT_MATCHER) -> np.ndarray:
    """Which box each anchor learns, as object_detection/matchers/argmax_matcher.py decides it.

    Every anchor is matched to its best box if their IoU reaches the threshold. Then every box is
    matched to its best anchor by force, even if that anchor had another match. Where two boxes have
    the same best anchor, the FIRST ROW gets it, not the higher IoU.

    Args:
      iou: (N, M) of boxes and anchors.
      matcher: the thresholds.

    Returns:
      int (M,): a box's row, BACKGROUND or IGNORED.
    """
    box_count, anchor_count = iou.shape
    if not box_count:
        return np.full(anchor_count, BACKGROUND)
    matches = iou.argmax(axis=0)
    if matcher.matched is not None:  # without thresholds every anchor learns its best box
        best = iou.max(axis=0)
        below_unmatched, between = BACKGROUND, IGNORED
        if not matcher.negatives_lower:
            below_unmatched, between = IGNORED, BACKGROUND
        matches[(best >= matcher.unmatched) & (best < matcher.matched)] = between
        matches[best < matcher.unmatched] = below_unmatched
    if matcher.force and anchor_count:
        best_anchors = iou.argmax(axis=1)
        # NumPy keeps the last value written to an index: in reverse order, that is the first row's.
        matches[best_anchors[::-1]] = np.arange(box_count)[::-1]
    return matches


def measure(
    boxes_by_image: Sequence[np.ndarray],
    anchors_xyxy: np.ndarray,
    anchor_layers: np.ndarray,
    image_wh: Tuple[int, int],
    matcher: Matcher = DEFAULT_MATCHER,
) -> Coverage:
    """Matches boxes and anchors image by image, as training does.

    Args:
      boxes_by_image: (N, 4) for each image, resized.
      anchors_xyxy: (M, 4) in pixels of the network's input.
      anchor_layers: (M,) the feature map of each anchor.
      image_wh: size of the network's input.
      matcher: the config's.
    """
    parts = [
        _measure_image(index, boxes_xyxy, anchors_xyxy, anchor_layers, image_wh, matcher)
        for index, boxes_xyxy in enumerate(boxes_by_image)
        if len(boxes_xyxy)
    ]
    if not parts:
        no_number = np.zeros(0, dtype=int)
        no_flag = np.zeros(0, dtype=bool)
        return Coverage(np.zeros(0), no_number, no_number, no_flag, no_flag, no_flag, no_number)
    return Coverage(*(np.concatenate(arrays) for arrays in zip(*parts)))


def _measure_image(image_index, boxes_xyxy, anchors_xyxy, anchor_layers, image_wh, matcher):
    """Coverage of the N boxes of one image."""
    rows = np.arange(len(boxes_xyxy))
    iou = similarity(boxes_xyxy, anchors_xyxy, image_wh)  # (N, M)
    matches = match(iou, matcher)  # (M,)
    best_anchor = iou.argmax(axis=1)
    best = iou[rows, best_anchor]
    box_of_best_anchor = matches[best_anchor]
    has_its_best_anchor = box_of_best_anchor == rows
    # BACKGROUND and IGNORED are negative.
    positives = np.bincount(matches[matches >= 0], minlength=len(rows))
    threshold = 0.0 if matcher.matched is None else matcher.matched
    return Coverage(
        best_iou=best,
        layer=anchor_layers[best_anchor],
        image_index=np.full(len(rows), image_index),
        forced_only=(best < threshold) & has_its_best_anchor & matcher.force,
        collided=~has_its_best_anchor & (box_of_best_anchor >= 0),
        unmatched=positives == 0,
        positives=positives,
    )
