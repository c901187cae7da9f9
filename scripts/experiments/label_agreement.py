"""How far the two label sets of shelves photographed twice differ, and which AP that allows.

The first image's labels, registered onto the second image (``registration``), are scored as if they
were detections.
"""

from typing import List, NamedTuple, Sequence

import numpy as np

from experiments.registration import Pair
from shelfdet.core import boxes
from shelfdet.data.detections import Detections
from shelfdet.data.labels import LabelledImage
from shelfdet.evaluation import matching, metrics

# The noise of one label set, as a share of the difference of two: both are assumed to be equally
# noisy and independent, so their variances add up.
ONE_LABEL_SET = 0.5**0.5
BOTH_LABEL_SETS = 1.0


class Differences(NamedTuple):
    """How two labels of a product differ, over all products of all pairs.

    Attributes:
      mean_iou: mean IoU of the two labels.
      median_iou: median of the same.
      width: standard deviation of the difference of the widths, as a share of the width.
      height: the same of the heights.
      centre_x: standard deviation of the centres' horizontal distance, as a share of the width.
      centre_y: the same of the vertical distance, as a share of the height.
    """

    mean_iou: float
    median_iou: float
    width: float
    height: float
    centre_x: float
    centre_y: float


class Precisions(NamedTuple):
    """COCO AP, and AP at three IoUs by COCO's rule."""

    AP: float
    AP50: float
    AP75: float
    AP90: float


def differences(pairs: Sequence[Pair], field: str) -> Differences:
    """How far the two labels of a product are apart.

    Args:
      pairs: registered pairs of images.
      field: "mapped_xyxy" or "leave_one_out_xyxy" of Registered.
    """
    first_xyxy = np.concatenate([getattr(pair.registered, field) for pair in pairs])
    second_xyxy = np.concatenate([pair.registered.second_xyxy for pair in pairs])
    sides = second_xyxy[:, 2:] - second_xyxy[:, :2]
    # (N, 4): distance of each side of the box, as a share of the box's size
    distance = (first_xyxy - second_xyxy) / np.hstack([sides, sides])
    left, top, right, bottom = distance.T
    iou = np.concatenate(
        [
            np.diag(boxes.iou(getattr(pair.registered, field), pair.registered.second_xyxy))
            for pair in pairs
        ]
    )
    return Differences(
        float(iou.mean()),
        float(np.median(iou)),
        float((right - left).std()),
        float((bottom - top).std()),
        float(((left + right) / 2).std()),
        float(((top + bottom) / 2).std()),
    )


def precisions(pairs: Sequence[Pair], field: str, share: float) -> Precisions:
    """The AP of the first images' labels in the second images.

    Args:
      pairs: registered pairs of images.
      field: "mapped_xyxy" or "leave_one_out_xyxy" of Registered.
      share: the part of the difference of the two labels that is kept: BOTH_LABEL_SETS or
        ONE_LABEL_SET.
    """
    truth: List[LabelledImage] = []
    found: List[Detections] = []
    for number, pair in enumerate(pairs):
        second_xyxy = pair.registered.second_xyxy
        first_xyxy = getattr(pair.registered, field)
        moved_xyxy = second_xyxy + (first_xyxy - second_xyxy) * share
        name = f"{number:04d}"
        size_wh = pair.second.size_wh
        classes = ("product",) * len(second_xyxy)
        truth.append(LabelledImage(name, size_wh, second_xyxy, classes))
        # Random scores: noise cannot be predicted, so no score may depend on the overlap. Another
        # seed changes the third decimal.
        scores = np.random.RandomState(number).uniform(size=len(classes))
        found.append(Detections(name, size_wh, moved_xyxy, scores, classes))
    (pool,) = metrics.pools(matching.match(truth, found))  # one class
    by_iou = metrics.coco_average_precisions(pool)
    at_iou = {round(float(iou), 2): float(ap) for iou, ap in zip(metrics.COCO_IOUS, by_iou)}
    return Precisions(float(np.mean(by_iou)), at_iou[0.5], at_iou[0.75], at_iou[0.9])
