"""How certain a detector is of an image, compared with the images that it was validated on.

The confidence of an image is the mean of its scores, each weighted by itself. It is near 1 where
the detector is sure of what it found, and low where many boxes have middling scores. The hundreds
of boxes of very low scores, which every image has, hardly count. On products that a detector was
not trained for its counts are far off, and its confidence is below that of most validation images.
"""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes, tiles

# Of the median scales of the validation images: the range that a new image is compared with.
SCALE_PERCENTILES = (5, 95)
# Of the confidences of the validation images. The lowest would be that of a single image, which may
# be counted as badly as the images that are to be found (docs/deployment.md).
LOW_PERCENTILE = 10
# The confidence from which an image needs no tiles and is never called uncertain. All validation
# images of ssd_inception_v2_shelf are above it.
CERTAIN = 0.85
ROUNDING = 1e-6  # of the figures in metrics.json


class Validated(NamedTuple):
    """What a detector's validation images had in common.

    low_confidence: LOW_PERCENTILE of theirs, but at most CERTAIN: of easy images it is high.
    scales: SCALE_PERCENTILES of their median product scales (see ``core.tiles``).
    """

    low_confidence: float
    scales: Tuple[float, float]


def confidence(scores: np.ndarray) -> float:
    """The confidence of an image from the scores (N,) of its boxes; 0 without a box."""
    scores = np.asarray(scores, dtype=np.float64)
    total = scores.sum()
    return float((scores**2).sum() / total) if total else 0.0


def certain_products(scores: np.ndarray) -> float:
    """About how many products an image's boxes of these scores (N,) are for certain.

    The sum of the squared scores times the confidence: 1 for each box of score 1, and little for
    middling scores, however many they are. It says which of two runs on one image was better.
    """
    return confidence(scores) * float((np.asarray(scores, dtype=np.float64) ** 2).sum())


def median_scale(boxes_xyxy: np.ndarray, size_wh: Tuple[int, int]) -> Optional[float]:
    """The median scale of detected products (N, 4) in an image; None without any."""
    boxes_xyxy = boxes_xyxy[boxes.areas(boxes_xyxy) > 0]
    return tiles.product_scale(boxes_xyxy, size_wh) if len(boxes_xyxy) else None


def describe(validation: Sequence[Any], threshold: Optional[float]) -> Dict[str, Any]:
    """The part of metrics.json's "validation" that ``read`` reads.

    Args:
      validation: the validation images, anything with boxes_xyxy (N, 4), scores (N,) and size_wh.
      threshold: the lowest score of a product; None where there is none.

    Returns:
      "low_confidence" and "product_scales"; empty where no product was detected.
    """
    scales = []
    for image in validation:
        if threshold is not None and image.size_wh is not None:
            is_product = image.scores >= threshold
            scales.append(median_scale(image.boxes_xyxy[is_product], image.size_wh))
    known = [scale for scale in scales if scale is not None]
    if not known:
        return {}
    confidences = [confidence(image.scores) for image in validation]
    return {
        "low_confidence": float(np.percentile(confidences, LOW_PERCENTILE)),
        "product_scales": [float(scale) for scale in np.percentile(known, SCALE_PERCENTILES)],
    }


def read(validation: Any) -> Optional[Validated]:
    """What ``describe`` wrote, from the "validation" of a metrics.json; None if it is not there.

    Earlier versions wrote the lowest confidence in place of the low one.
    """
    if not isinstance(validation, Mapping):
        return None
    try:
        low, high = (float(scale) for scale in validation["product_scales"])
        lowest = validation.get("lowest_confidence")
        low_confidence = float(validation.get("low_confidence", lowest))
    except (KeyError, TypeError, ValueError):
        return None
    # metrics.json has rounded it, which must not put an image that it is of below it.
    return Validated(min(low_confidence - ROUNDING, CERTAIN), (low, high))
