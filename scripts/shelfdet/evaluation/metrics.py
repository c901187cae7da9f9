"""The figures of a detector: average precision, precision, recall, F1 and count errors.

Average precision (AP) follows the rule that matched the detections (matching.py):

* ``pascal``: the area under the precision envelope, as object_detection's utils/metrics.py. "mAP"
  is this AP at IoU 0.5, the mean over classes.
* ``coco``: the mean of the precision envelope at 101 recalls, as pycocotools (cocoeval.py). "AP" is
  its mean over the IoUs 0.50, 0.55 ... 0.95, "AP75" the one at 0.75.

AP of several classes is the mean over the classes that have ground truth. The other figures are of
all classes together, by the pascal rule.
"""

from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from shelfdet.evaluation import matching
from shelfdet.evaluation.matching import COCO_IOUS, Matches

COCO_RECALLS = np.linspace(0.0, 1.0, 101)  # cocoeval.Params.recThrs
AP75_INDEX = 5  # COCO_IOUS[5] is 0.75
# Score thresholds to choose from, rising. Their logits, log(p / (1 - p)), are in equal steps, from
# below the lowest score that a graph gives (1e-8) to above 0.9998.
LOGIT_STEP = 0.05
THRESHOLDS = 1 / (1 + np.exp(-LOGIT_STEP * np.arange(-370, 181)))
HALF_WIDTH = 0.5  # in logits, over which the count MAE is averaged; around 0.5 from 0.38 to 0.62
RULES = {
    "mAP": "pascal, IoU 0.5, as object_detection's PascalDetectionEvaluator",
    "precision, recall, f1, TP, FP, FN, count errors": (
        "pascal, IoU 0.5, detections from the threshold on"
    ),
    "AP": "coco, mean over IoU 0.50 to 0.95, as pycocotools without a limit of detections an image",
    "AP75": "coco, IoU 0.75",
    "order": "score falling, then file name, then order in the file",
}

PLACE = np.int32  # of an image or a detection among all: half of int64's memory

Weights = Optional[np.ndarray]  # float (P,): how often each image counts; None for once each


class Pool(NamedTuple):
    """The N detections of all P images in one row, by falling score.

    Without the coco rule, where it was not asked for, coco_true_positives is empty.
    """

    image: np.ndarray  # int (N,), the image's place in the list
    true_positives: np.ndarray  # int, rising: places in the row, by the pascal rule
    coco_true_positives: List[np.ndarray]  # the same at each of COCO_IOUS, by the coco rule
    ground_truths: np.ndarray  # float64 (P,), number of ground-truth boxes in each image


class Tally(NamedTuple):
    """Numbers of boxes in each of P images at one score threshold."""

    true_positives: np.ndarray  # float64 (P,)
    detections: np.ndarray  # float64 (P,)
    ground_truths: np.ndarray  # float64 (P,)


def pool(matches: Iterable[Matches], label: Optional[str] = None, coco_rule: bool = True) -> Pool:
    """The Pool of the Matches of images; of the class ``label`` alone, if given."""
    # Each list starts with an empty array, because np.concatenate refuses a list of none.
    scores = [np.zeros(0)]
    true_positives = [np.zeros(0, bool)]
    coco = [np.zeros((len(COCO_IOUS), 0), bool)]
    ground_truths = []
    for image in matches:
        if label is not None:
            image = matching.keep_class(image, label)
        scores.append(image.scores)
        true_positives.append(image.kinds == matching.TRUE_POSITIVE)
        if coco_rule:
            coco.append(image.coco_true_positives)
        ground_truths.append(len(image.truth_xyxy))
    images = np.arange(len(ground_truths), dtype=PLACE)
    image_index = np.repeat(images, [len(part) for part in scores[1:]])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Pool(
        image=image_index[order],
        true_positives=_places(np.concatenate(true_positives)[order]),
        coco_true_positives=[_places(row[order]) for row in np.concatenate(coco, axis=1)]
        if coco_rule
        else [],
        ground_truths=np.array(ground_truths, dtype=np.float64),
    )


def pools(matches: Sequence[Matches]) -> List[Pool]:
    """A Pool for each class that has ground truth."""
    labels: Set[str] = set()
    found: Set[str] = set()
    for image in matches:
        labels.update(image.truth_classes)
        found.update(image.classes)
    if len(labels) == 1 and labels >= found:
        return [pool(matches)]  # the same, without the time that filtering takes
    return [pool(matches, label) for label in sorted(labels)]


def truth_labels(matches: Iterable[Matches]) -> Set[str]:
    """The classes that have ground truth."""
    return set().union(*(set(image.truth_classes) for image in matches))


def average_precision(pooled: Pool, weights: Weights = None) -> float:
    """AP by the pascal rule: the area under the precision envelope, summed where recall rises.

    Args:
      pooled: a Pool.
      weights: float (P,), how often each image counts; None for once each.

    Returns:
      0 to 1; 0 without detections; NaN without ground truth.
    """
    weights, total = _detection_weights(pooled, weights)
    if total == 0:
        return np.nan
    # Precision has its local maxima at the true positives, so the envelope is needed there alone.
    detections = np.cumsum(weights)[pooled.true_positives]
    weights = weights[pooled.true_positives]
    true_positives = np.cumsum(weights)
    precision = np.divide(
        true_positives, detections, out=np.zeros_like(true_positives), where=detections > 0
    )
    return float(np.sum(weights * _envelope(precision)) / total)


def coco_average_precisions(pooled: Pool, weights: Weights = None) -> np.ndarray:
    """AP by the coco rule at each of COCO_IOUS, float64 (10,).

    Arguments and special cases are those of ``average_precision``.
    """
    weights, total = _detection_weights(pooled, weights)
    if total == 0:
        return np.full(len(COCO_IOUS), np.nan)
    detections = np.cumsum(weights)
    precisions = np.zeros(len(COCO_IOUS))
    for index, places in enumerate(pooled.coco_true_positives):
        true_positives = np.cumsum(weights[places])
        precision = np.divide(
            true_positives,
            detections[places],
            out=np.zeros_like(true_positives),
            where=true_positives > 0,
        )
        # The first place where a recall is reached is a true positive; for recall 0 the envelope is
        # the same there.
        reached = np.searchsorted(true_positives / total, COCO_RECALLS)
        reached = reached[reached < len(true_positives)]
        precisions[index] = np.sum(_envelope(precision)[reached]) / len(COCO_RECALLS)
    return precisions


def tally(matches: Sequence[Matches], threshold: float) -> Tally:
    """The Tally of a list of Matches, of detections with a score of at least ``threshold``."""
    true_positives = []
    detections = []
    for image in matches:
        kept = image.scores >= threshold
        true_positives.append(np.sum(image.kinds[kept] == matching.TRUE_POSITIVE))
        detections.append(np.sum(kept))
    return Tally(
        true_positives=np.array(true_positives, dtype=np.float64),
        detections=np.array(detections, dtype=np.float64),
        ground_truths=np.array([len(image.truth_xyxy) for image in matches], dtype=np.float64),
    )


def totals(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, Optional[int]]:
    """The numbers "TP", "FP" and "FN" by the pascal rule; None each without a threshold."""
    if threshold is None:
        return {"TP": None, "FP": None, "FN": None}
    tallied = tally(matches, threshold)
    true_positives = int(tallied.true_positives.sum())
    return {
        "TP": true_positives,
        "FP": int(tallied.detections.sum()) - true_positives,
        "FN": int(tallied.ground_truths.sum()) - true_positives,
    }


def figures(tallied: Tally, weights: Weights = None) -> Dict[str, np.ndarray]:
    """The figures of a Tally, by the pascal rule.

    precision = TP / (TP + FP), recall = TP / ground truths, f1 their harmonic mean 2 TP / (TP + FP
    + ground truths);
    the count errors are means over images: of |detections - ground truths| (the count MAE) and of
    detections - ground truths.

    Args:
      tallied: a Tally.
      weights: float (..., P), how often each image counts; None for once each.

    Returns:
      dict of float arrays of shape (...,); NaN where a figure is not defined (precision without
      detections, ...).
    """
    if weights is None:
        weights = np.ones(len(tallied.true_positives))
    true_positives, detections, ground_truths = (weights @ column for column in tallied)
    error = tallied.detections - tallied.ground_truths
    images = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": true_positives / detections,
            "recall": true_positives / ground_truths,
            "f1": 2 * true_positives / (detections + ground_truths),
            "mean_absolute_count_error": weights @ np.abs(error) / images,
            "mean_count_error": weights @ error / images,
        }


def best_threshold(matches: Sequence[Matches]) -> Optional[float]:
    """The highest score threshold that maximises F1, by the pascal rule, all classes together.

    Returns:
      A score of one of the detections, or None where there is no true positive.
    """
    pooled = pool(matches, coco_rule=False)
    if not len(pooled.true_positives):
        return None
    scores = -np.sort(-np.concatenate([image.scores for image in matches]))
    detections = np.arange(1, len(scores) + 1)
    true_positives = np.searchsorted(pooled.true_positives, detections)
    # F1 in counts: 2 TP / (TP + FP + TP + FN), after each detection in order of falling score
    f1 = 2 * true_positives / (detections + pooled.ground_truths.sum())
    # A threshold keeps or drops equal scores together.
    last_of_equal = np.append(scores[1:] < scores[:-1], True)
    # Of several maxima argmax takes the first, which has the highest score.
    return float(scores[last_of_equal][np.argmax(f1[last_of_equal])])


def count_threshold(matches: Sequence[Matches]) -> Optional[float]:
    """The score threshold of the smallest count MAE, averaged over thresholds near it.

    The count MAE of a single threshold depends on single products, and other images have scores
    that are a little higher or lower (docs/evaluation.md, "The score threshold"). All classes count
    together.

    Args:
      matches: of validation images.

    Returns:
      One of THRESHOLDS, rounded to four digits: from the last that keeps all detections to the
      highest score. Of several equally good ones it is the one in the middle of those with the
      smallest count MAE of their own. None where there is no true positive.
    """
    if not len(pool(matches, coco_rule=False).true_positives):
        return None
    # In order of falling score each detection of an image brings its count nearer to its number of
    # products by one, and once they are equal takes it further away by one.
    steps = np.concatenate(
        [np.where(np.arange(len(one.scores)) < len(one.truth_xyxy), -1, 1) for one in matches]
    )
    scores = np.concatenate([-np.sort(-image.scores) for image in matches])
    order = np.argsort(-scores, kind="stable")
    errors = np.append(0, np.cumsum(steps[order]))  # with 0, 1, 2 ... detections; only differences
    rising = scores[order][::-1]
    of_each = errors[len(scores) - np.searchsorted(rising, THRESHOLDS)]
    near = int(round(HALF_WIDTH / LOGIT_STEP))
    window = np.ones(2 * near + 1, int)
    averaged = np.convolve(np.pad(of_each, near, mode="edge"), window, mode="valid")
    lowest, highest = np.searchsorted(THRESHOLDS[1:], rising[[0, -1]], side="right")
    best = np.arange(lowest, highest + 1)
    for values in (averaged, of_each):
        best = best[values[best] == values[best].min()]
    return float(f"{THRESHOLDS[best[len(best) // 2]]:.4g}")


def summary(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, float]:
    """The figures of a detector on a list of Matches.

    Args:
      matches: list of Matches.
      threshold: score from which a detection counts for all but the APs; None leaves those figures
        NaN.

    Returns:
      dict of mAP (pascal), AP and AP75 (coco), then the items of ``figures``. NaN where not
      defined.
    """
    return summary_function(matches, threshold)(None)


def summary_with_sizes(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, float]:
    """``summary``, after the numbers of "images" and "boxes" (ground truth) that it is of."""
    sizes = {
        "images": len(matches),
        "boxes": sum(len(image.truth_xyxy) for image in matches),
    }
    return dict(sizes, **summary(matches, threshold))


def summary_function(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Callable[[Weights], Dict[str, float]]:
    """A function of weights (see ``Weights``) that gives ``summary``.

    What does not depend on the weights is computed here, once, for the thousand draws of a
    bootstrap.
    """
    class_pools = pools(matches)
    tallied = tally(matches, np.inf if threshold is None else threshold)

    def summarise(weights: Weights) -> Dict[str, float]:
        pascal = [[average_precision(pooled, weights)] for pooled in class_pools]
        coco = [coco_average_precisions(pooled, weights) for pooled in class_pools]
        coco_means = _mean_over_classes(coco, len(COCO_IOUS))
        result = {
            "mAP": float(_mean_over_classes(pascal, 1)[0]),
            "AP": float(np.mean(coco_means)),
            "AP75": float(coco_means[AP75_INDEX]),
        }
        for name, value in figures(tallied, weights).items():
            result[name] = np.nan if threshold is None else float(value)
        return result

    return summarise


def _places(is_true: np.ndarray) -> np.ndarray:
    return np.flatnonzero(is_true).astype(PLACE)


def _envelope(precision: np.ndarray) -> np.ndarray:
    """The highest precision at the same or any higher recall."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _detection_weights(pooled: Pool, weights: Weights) -> Tuple[np.ndarray, float]:
    """The weight of each detection, (N,), and the weighted number of ground-truth boxes."""
    if weights is None:
        return np.ones(len(pooled.image)), pooled.ground_truths.sum()
    return weights[pooled.image], weights @ pooled.ground_truths


def _mean_over_classes(rows: Sequence[Sequence[float]], width: int) -> np.ndarray:
    """Mean of (classes, width) over the classes with ground truth, (width,); NaN without any."""
    array = np.array(rows, dtype=np.float64).reshape(-1, width)
    array = array[~np.isnan(array).any(axis=1)]
    return array.mean(axis=0) if len(array) else np.full(width, np.nan)
