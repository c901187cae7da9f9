"""Ground truth and detections of one image, for the tests of matching and metrics."""

import numpy as np

from shelfdet.data.detections import Detections
from shelfdet.evaluation import matching

SIZE_WH = (64, 64)
BOX = (0, 0, 10, 10)
HALF = (0, 0, 10, 5)  # IoU with BOX exactly 1/2
FAR = (40, 40, 50, 50)
EMPTY = (20, 0, 30, 10)  # no ground truth there


def labelled(filename, boxes_xyxy, classes=None):
    """Ground truth of one image."""
    boxes_xyxy = np.array(boxes_xyxy, dtype=float).reshape(-1, 4)
    return Detections(
        filename, SIZE_WH, boxes_xyxy, None, tuple(classes or ["product"] * len(boxes_xyxy))
    )


def found(filename, scored_boxes, classes=None):
    """Detections in one image; ``scored_boxes``: list of (score, xmin, ymin, xmax, ymax)."""
    array = np.array(scored_boxes, dtype=float).reshape(-1, 5)
    return Detections(
        filename, SIZE_WH, array[:, 1:], array[:, 0], tuple(classes or ["product"] * len(array))
    )


def match(*images):
    """Matches of images, each (filename, ground-truth boxes, list of (score, box))."""
    truth = [labelled(filename, boxes) for filename, boxes, _ in images]
    detections = [
        found(filename, [(score,) + tuple(box) for score, box in scored])
        for filename, _, scored in images
    ]
    return matching.match(truth, detections)
