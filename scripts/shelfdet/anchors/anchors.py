"""Anchor boxes, one per feature-map cell, and how well they meet the products. Arithmetic only; no TensorFlow.

Everything is in the *resized* frame: pixels of the network's input, to which ``fixed_shape_resizer`` squashes every
image. ``pipeline`` builds the same anchors through object_detection; a test holds the two equal.
"""

import collections

import numpy as np

from shelfdet.core import boxes

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# object_detection's argmax_matcher marks anchors that stand for no box.
BACKGROUND = -1
IGNORED = -2

Layer = collections.namedtuple("Layer", "grid_wh stride_wh offset_wh anchor_wh")
Layer.__doc__ = """One feature map with one anchor in each of its cells, all in pixels of the network's input.

grid_wh: cells across and down. stride_wh: from one centre to the next. offset_wh: the first centre. anchor_wh: the
box."""

Matcher = collections.namedtuple("Matcher", "matched unmatched force negatives_lower")
Matcher.__doc__ = """The fields of object_detection's argmax_matcher that decide.

matched: IoU from which an anchor takes a box; None for any. unmatched: IoU under which it is background. force: every
box gets its best anchor. negatives_lower: False swaps what is ignored and what is background below ``matched``."""
Matcher.__new__.__defaults__ = (0.5, 0.5, True, True)

Coverage = collections.namedtuple(
    "Coverage", "best_iou layer images forced lost unserved positives"
)
Coverage.__doc__ = """What the anchors do for N boxes, in the order of the images' boxes.

best_iou: (N,) IoU of the best anchor. layer: (N,) the feature map it is on. images: (N,) index of the image.
forced: (N,) True where no anchor reaches the matcher's threshold and the forced match alone gave the box its best one.
lost: (N,) True where another box took its best anchor. unserved: (N,) True where no anchor at all is left to learn it.
positives: (N,) anchors that learn it. No box is forced and lost, or forced and unserved."""


def ssd_layers(grids_wh, image_wh, scales, ratio):
    """The layers that ``ssd_anchor_generator`` makes with one aspect ratio.

    As object_detection/anchor_generators/multiple_grid_anchor_generator.py: a scale is a share of the input's shorter
    side, the ratio is width over height, and centres are those of the cells.

    Args:
      grids_wh: cells across and down of each feature map.
      image_wh: the network's input.
      scales: one for each feature map.
      ratio: one for all, or one for each.

    Returns:
      list of Layer.
    """
    roots = np.sqrt(np.broadcast_to(np.asarray(ratio, dtype=np.float64), (len(grids_wh),)))
    shorter = min(image_wh)
    return [
        _cells(grid_wh, image_wh, (scale * root * shorter, scale / root * shorter))
        for grid_wh, scale, root in zip(grids_wh, scales, roots)
    ]


def flexible_layers(grids_wh, image_wh, base_sizes, ratios):
    """The layers that ``flexible_grid_anchor_generator`` makes with the cells' strides and offsets; sizes in pixels."""
    return [
        _cells(grid_wh, image_wh, (size * ratio**0.5, size / ratio**0.5))
        for grid_wh, size, ratio in zip(grids_wh, base_sizes, ratios)
    ]


def _cells(grid_wh, image_wh, anchor_wh):
    stride_wh = tuple(side / cells for side, cells in zip(image_wh, grid_wh))
    return Layer(tuple(grid_wh), stride_wh, tuple(side / 2 for side in stride_wh), tuple(anchor_wh))


def tile(layers):
    """All anchors, row by row of each feature map as object_detection orders them.

    Returns:
      (anchors_xyxy, layer): float64 (M, 4) in pixels of the network's input, int (M,).
    """
    tiled, index = [np.zeros((0, 4))], [np.zeros(0, dtype=int)]
    for number, layer in enumerate(layers):
        x, y = (
            np.arange(cells) * stride + offset
            for cells, stride, offset in zip(layer.grid_wh, layer.stride_wh, layer.offset_wh)
        )
        centres = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)  # (cells, 2), x fastest
        half = np.asarray(layer.anchor_wh) / 2
        tiled.append(np.hstack([centres - half, centres + half]))
        index.append(np.full(len(centres), number))
    return np.concatenate(tiled), np.concatenate(index)


def resized(images, image_wh):
    """The boxes of LabelledImages in the resized frame: list of float64 (N, 4), one for each image."""
    return [boxes.scale(image.boxes_xyxy, image.size_wh, image_wh) for image in images]


def best_iou(boxes_xyxy, layers):
    """IoU of each box with the best anchor, and that anchor's layer, without laying the anchors out.

    On a grid of equal boxes the shared width depends on the column alone and the shared height on the row alone, and
    neither grows with the distance: the best anchor of a layer is the one whose centre is nearest.

    Args:
      boxes_xyxy: (N, 4), resized.
      layers: list of Layer.

    Returns:
      (iou, layer): float64 (N,), int (N,); the first layer where two are equal.
    """
    if not layers:
        return np.zeros(len(boxes_xyxy)), np.zeros(len(boxes_xyxy), dtype=int)
    ious = np.stack(
        [iou_at(offsets(boxes_xyxy, layer), layer.anchor_wh) for layer in layers]
    )  # (layers, N)
    return ious.max(axis=0), ious.argmax(axis=0)


def offsets(boxes_xyxy, layer):
    """What an anchor's size does not change: (4, N) of width, height, distance across and down to the next centre."""
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    centres = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) / 2
    stride, first = (
        np.asarray(layer.stride_wh, dtype=np.float64),
        np.asarray(layer.offset_wh, dtype=np.float64),
    )
    steps = np.divide(centres - first, stride, out=np.zeros_like(centres), where=stride > 0)
    nearest = np.clip(np.round(steps), 0, np.asarray(layer.grid_wh) - 1) * stride + first
    return np.concatenate([sides, np.abs(centres - nearest)], axis=1).T.copy()


def iou_at(offset, anchor_wh):
    """IoU of N boxes with an anchor of size ``anchor_wh`` at the nearest centre; ``offset`` as ``offsets`` gives it."""
    width, height, across, down = offset
    shared_width = np.minimum(np.minimum(width, anchor_wh[0]), (width + anchor_wh[0]) / 2 - across)
    shared_height = np.minimum(np.minimum(height, anchor_wh[1]), (height + anchor_wh[1]) / 2 - down)
    shared = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    union = width * height + anchor_wh[0] * anchor_wh[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def shares(iou, thresholds=THRESHOLDS):
    """Share of the boxes whose best anchor reaches each threshold; nan where there are no boxes."""
    iou = np.asarray(iou)
    return [
        float(np.mean(iou >= threshold)) if len(iou) else float("nan") for threshold in thresholds
    ]


def similarity(boxes_xyxy, anchors_xyxy, image_wh):
    """IoU (N, M) in float32 with object_detection's own order of operations, so that its ties are ties here too.

    As core/box_list_ops.py: normalised boxes, ``iou`` of 0 where nothing is shared.
    """
    rows = boxes.to_normalised_yxyx(boxes_xyxy, image_wh).astype(np.float32)[:, None, :]
    columns = boxes.to_normalised_yxyx(anchors_xyxy, image_wh).astype(np.float32)[None, :, :]
    shared = np.maximum(
        0, np.minimum(rows[..., 2], columns[..., 2]) - np.maximum(rows[..., 0], columns[..., 0])
    )
    shared *= np.maximum(
        0, np.minimum(rows[..., 3], columns[..., 3]) - np.maximum(rows[..., 1], columns[..., 1])
    )
    row_areas, column_areas = (
        (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (rows, columns)
    )
    return np.divide(
        shared, row_areas + column_areas - shared, out=np.zeros_like(shared), where=shared != 0
    )


def match(iou, matcher=Matcher()):
    """Which box each anchor has to learn, as object_detection/matchers/argmax_matcher.py decides it.

    Every anchor takes its best box if the IoU reaches the threshold. Then every box takes its best anchor by force,
    whatever that anchor had; where two boxes force the same anchor the first ROW has it, not the higher IoU.

    Args:
      iou: (N, M) of boxes and anchors.
      matcher: a Matcher.

    Returns:
      int (M,): a box's row, BACKGROUND or IGNORED.
    """
    rows, columns = iou.shape
    if not rows:
        return np.full(columns, BACKGROUND)
    matches = iou.argmax(axis=0)
    if matcher.matched is not None:
        best = iou.max(axis=0)
        low, middle = (BACKGROUND, IGNORED) if matcher.negatives_lower else (IGNORED, BACKGROUND)
        matches[(best >= matcher.unmatched) & (best < matcher.matched)] = middle
        matches[best < matcher.unmatched] = low
    if matcher.force and columns:
        forced = iou.argmax(axis=1)
        matches[forced[::-1]] = np.arange(rows)[::-1]  # the first row is written last
    return matches


def coverage(boxes_by_image, anchors_xyxy, anchor_layers, image_wh, matcher=Matcher()):
    """What training makes of the boxes: matches them image by image and counts.

    Args:
      boxes_by_image: list of (N, 4), resized.
      anchors_xyxy: (M, 4) in pixels of the network's input.
      anchor_layers: (M,) the feature map of each.
      image_wh: the network's input.
      matcher: a Matcher.

    Returns:
      Coverage.
    """
    parts = []
    threshold = 0.0 if matcher.matched is None else matcher.matched
    for picture, boxes_xyxy in enumerate(boxes_by_image):
        count = len(boxes_xyxy)
        if not count:
            continue
        iou = similarity(boxes_xyxy, anchors_xyxy, image_wh)
        matches = match(iou, matcher)
        best = iou.argmax(axis=1)
        positives = np.bincount(matches[matches >= 0], minlength=count)
        best_values = iou[np.arange(count), best]
        taken = matches[best]
        own = taken == np.arange(count)
        parts.append(
            (
                best_values,
                anchor_layers[best],
                np.full(count, picture),
                (best_values < threshold) & own & matcher.force,
                ~own & (taken >= 0),
                positives == 0,
                positives,
            )
        )
    if not parts:
        nothing, never = np.zeros(0, dtype=int), np.zeros(0, dtype=bool)
        return Coverage(np.zeros(0), nothing, nothing, never, never, never, nothing)
    return Coverage(*(np.concatenate(column) for column in zip(*parts)))
