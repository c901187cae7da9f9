"""Arithmetic of boxes: area, IoU, clipping, and coordinate systems.

Boxes are xyxy in pixels, as the docstring of ``shelfdet`` defines them. Every function accepts
anything that NumPy turns into an array of shape (N, 4), and never changes its arguments.
"""

from typing import NamedTuple, Sequence, Tuple

import numpy as np

SizeWH = Tuple[float, float]

# Two labels of one product overlap by more than this, two products by less: in the Grocery Dataset
# no two boxes of an image have an IoU between 0.2 and 0.79.
DUPLICATE_IOU = 0.6

# Pairs that ``overlaps`` compares at a time, in a few arrays of 8 MB.
PAIRS_AT_A_TIME = 1_000_000


class Overlaps(NamedTuple):
    """The P pairs of boxes, of N, that share an area; by ``first``, then by ``second``.

    first, second: int (P,), indices of the boxes, first < second. shared: float64 (P,), the areas.
    """

    first: np.ndarray
    second: np.ndarray
    shared: np.ndarray


def areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Areas of (N, 4) boxes, shape (N,); 0 where a box is inverted."""
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    return np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0), axis=1)


def intersections(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Areas that each of N boxes shares with each of M, shape (N, M)."""
    a_xyxy = np.asarray(a_xyxy, dtype=np.float64).reshape(-1, 1, 4)
    b_xyxy = np.asarray(b_xyxy, dtype=np.float64).reshape(1, -1, 4)
    top_left = np.maximum(a_xyxy[..., :2], b_xyxy[..., :2])  # (N, M, 2)
    bottom_right = np.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])  # (N, M, 2)
    # The difference is negative where two boxes do not overlap.
    return np.prod(np.maximum(bottom_right - top_left, 0), axis=2)


def overlaps(boxes_xyxy: np.ndarray) -> Overlaps:
    """Which of (N, 4) boxes overlap each other, without the N * N pairs of ``intersections``.

    The boxes are put in the order of their left edges. Those that can overlap a box then follow it
    in one piece: all that begin left of its right edge. Memory grows with the pairs that overlap.
    """
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    order = np.argsort(boxes_xyxy[:, 0], kind="stable")
    xmin, ymin, xmax, ymax = boxes_xyxy[order].T
    rows = np.arange(len(order))
    counts = np.maximum(np.searchsorted(xmin, xmax, side="left") - rows - 1, 0)
    ends = np.cumsum(counts)
    parts = [Overlaps(rows[:0], rows[:0], xmin[:0])]
    start = 0
    while start < len(rows):
        before = ends[start] - counts[start]
        stop = max(start + 1, np.searchsorted(ends, before + PAIRS_AT_A_TIME, side="right"))
        a = np.repeat(rows[start:stop], counts[start:stop])
        b = a + 1 + np.arange(len(a)) - (ends - counts)[a] + before
        heights = np.minimum(ymax[a], ymax[b]) - np.maximum(ymin[a], ymin[b])
        a, b, heights = (values[heights > 0] for values in (a, b, heights))
        shared = (np.minimum(xmax[a], xmax[b]) - xmin[b]) * heights
        a, b, shared = (values[shared > 0] for values in (order[a], order[b], shared))
        parts.append(Overlaps(np.minimum(a, b), np.maximum(a, b), shared))
        start = stop
    first, second, shared = (np.concatenate(part) for part in zip(*parts))
    by_index = np.lexsort((second, first))
    return Overlaps(first[by_index], second[by_index], shared[by_index])


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of each of N boxes with each of M, shape (N, M).

    Computed without the "+ 1 pixel" of older tools. Two boxes without area have IoU 0.
    """
    shared = intersections(a_xyxy, b_xyxy)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def duplicates(boxes_xyxy: np.ndarray, classes: Sequence) -> np.ndarray:
    """Which of N boxes are most likely a second label of a product that an earlier box labels.

    Such a box overlaps an earlier one of its class by an IoU over DUPLICATE_IOU.

    Returns:
      bool (N,).
    """
    classes = np.asarray(classes)
    is_earlier = np.tri(len(classes), k=-1, dtype=bool)  # (N, N): the column before the row
    same_class = classes[:, None] == classes[None]
    same_product = iou(boxes_xyxy, boxes_xyxy) > DUPLICATE_IOU
    return (is_earlier & same_class & same_product).any(axis=1)


def clip(boxes_xyxy: np.ndarray, size_wh: SizeWH) -> np.ndarray:
    """The parts of (N, 4) boxes inside an image of ``size_wh``; no area where a box is outside."""
    width, height = size_wh
    limit = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4), 0, limit)


def scale(boxes_xyxy: np.ndarray, from_wh: SizeWH, to_wh: SizeWH) -> np.ndarray:
    """Boxes of an image of size ``from_wh`` after the image is resized to ``to_wh``, (N, 4)."""
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    from_whwh = np.tile(np.asarray(from_wh, dtype=np.float64), 2)
    to_whwh = np.tile(np.asarray(to_wh, dtype=np.float64), 2)
    # Multiplied before it is divided, so that a box that ends at the image's edge ends there still:
    # 49 * (300 / 49) is above 300 in floating point.
    return boxes_xyxy * to_whwh / from_whwh


def to_normalised_yxyx(boxes_xyxy: np.ndarray, size_wh: SizeWH) -> np.ndarray:
    """Pixel boxes in object_detection's form: (N, 4) of ymin, xmin, ymax, xmax in 0 to 1."""
    return scale(boxes_xyxy, size_wh, (1, 1))[:, [1, 0, 3, 2]]


def from_normalised_yxyx(boxes_yxyx: np.ndarray, size_wh: SizeWH) -> np.ndarray:
    """The inverse of ``to_normalised_yxyx``: (N, 4) pixel boxes, xyxy."""
    boxes_yxyx = np.asarray(boxes_yxyx, dtype=np.float64).reshape(-1, 4)
    return scale(boxes_yxyx[:, [1, 0, 3, 2]], (1, 1), size_wh)
