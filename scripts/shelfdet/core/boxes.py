"""Arithmetic of boxes: area, IoU, clipping, and the two coordinate systems. Boxes are xyxy: see __init__.py."""

import numpy as np

# Two labels of one product overlap by more than this, two products by less: in the Grocery Dataset no two boxes of an image have an
# IoU between 0.2 and 0.79.
DOUBLED_IOU = 0.6


def areas(boxes_xyxy):
    """Areas of (N, 4) boxes, shape (N,); 0 where a box is inverted."""
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    return np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0), axis=1)


def intersections(a_xyxy, b_xyxy):
    """Areas that each of N boxes shares with each of M, shape (N, M)."""
    a_xyxy = np.asarray(a_xyxy, dtype=np.float64).reshape(-1, 1, 4)
    b_xyxy = np.asarray(b_xyxy, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = np.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def iou(a_xyxy, b_xyxy):
    """Intersection over union of each of N boxes with each of M, shape (N, M), without the "+ 1 pixel" of older tools.

    Two boxes of no area have IoU 0.
    """
    shared = intersections(a_xyxy, b_xyxy)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def doubled(boxes_xyxy, classes):
    """Which of N boxes lie on an earlier one of their class by an IoU over DOUBLED_IOU, most likely the same product labelled
    twice: bool (N,)."""
    classes = np.asarray(classes)
    earlier = np.tri(len(classes), k=-1, dtype=bool) & (
        classes[:, None] == classes[None]
    )  # (N, N): row after column
    return (earlier & (iou(boxes_xyxy, boxes_xyxy) > DOUBLED_IOU)).any(axis=1)


def clip(boxes_xyxy, size_wh):
    """The parts of (N, 4) boxes inside an image of ``size_wh``, shape (N, 4); a box wholly outside gets no area."""
    width, height = size_wh
    limit = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4), 0, limit)


def scale(boxes_xyxy, from_wh, to_wh):
    """Boxes of an image of size ``from_wh`` in the frame of the same image resized to ``to_wh``, shape (N, 4)."""
    # Multiplied before it is divided, so that the image's edge stays exactly the edge: 49 * (300 / 49) is above 300.
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    from_whwh, to_whwh = (
        np.tile(np.asarray(size_wh, dtype=np.float64), 2) for size_wh in (from_wh, to_wh)
    )
    return boxes_xyxy * to_whwh / from_whwh


def to_normalised_yxyx(boxes_xyxy, size_wh):
    """Pixel boxes in object_detection's own form: (N, 4) of ymin, xmin, ymax, xmax in 0 to 1."""
    return scale(boxes_xyxy, size_wh, (1, 1))[:, [1, 0, 3, 2]]


def from_normalised_yxyx(boxes_yxyx, size_wh):
    """The inverse of ``to_normalised_yxyx``: (N, 4) pixel boxes, xyxy."""
    boxes_yxyx = np.asarray(boxes_yxyx, dtype=np.float64).reshape(-1, 4)
    return scale(boxes_yxyx[:, [1, 0, 3, 2]], (1, 1), size_wh)
