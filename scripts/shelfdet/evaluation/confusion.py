"""Which classes a detector takes for which: the confusion matrix at a score threshold."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes
from shelfdet.data import classes
from shelfdet.evaluation import matching
from shelfdet.evaluation.matching import PASCAL_IOU, Matches


class Confusion(NamedTuple):
    """The confusion matrix of C classes.

    classes: their names.
    counts: int (C, C), [of the ground truth, of the detection]: the diagonal holds the true
      positives.
    missed: int (C,), ground-truth boxes of each class that no detection is left for.
    background: int (C,), detections of each class that no ground-truth box is left for: where no
      product is labelled, poorly localised, or another detection of a product.

    A row of ``counts`` and ``missed`` add up to the ground truth of a class, a column and
    ``background`` to its detections.
    """

    classes: List[str]
    counts: np.ndarray
    missed: np.ndarray
    background: np.ndarray


class Pair(NamedTuple):
    """How many products of one class were detected as another."""

    truth: str
    detected: str
    number: int


def class_names(matches: Sequence[Matches], threshold: Optional[float] = None) -> List[str]:
    """The classes with ground truth or a detection from the threshold on, in their order."""
    names = {name for image in matches for name in image.truth_classes}
    for image in matches:
        names.update(image.classes if threshold is None else image.classes[_kept(image, threshold)])
    return classes.in_order(names)


def confusion_matrix(matches: Sequence[Matches], threshold: float) -> Confusion:
    """The confusion matrix of detections with a score of at least ``threshold``.

    A ground-truth box and a detection belong together in this order: true positives of the pascal
    rule; then each other detection, by falling score, has the free ground-truth box that it
    overlaps most, of another class, if their IoU is at least 0.5.
    """
    names = class_names(matches, threshold)
    place = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=int)
    missed = np.zeros(len(names), dtype=int)
    background = np.zeros(len(names), dtype=int)
    for image in matches:
        truth = np.array([place[name] for name in image.truth_classes], dtype=int)
        kept = _kept(image, threshold)
        found = np.array([place[name] for name in image.classes[kept]], dtype=int)
        truth_of = _pairs(image, kept)
        has_truth = truth_of >= 0
        np.add.at(counts, (truth[truth_of[has_truth]], found[has_truth]), 1)
        np.add.at(background, found[~has_truth], 1)
        is_missed = np.ones(len(truth), dtype=bool)
        is_missed[truth_of[has_truth]] = False
        np.add.at(missed, truth[is_missed], 1)
    return Confusion(names, counts, missed, background)


def as_figures(matrix: Confusion) -> Dict[str, Any]:
    """The matrix as it is in metrics.json."""
    return {
        "classes": matrix.classes,
        "counts": matrix.counts.tolist(),
        "missed": matrix.missed.tolist(),
        "background": matrix.background.tolist(),
    }


def from_figures(figures: Dict[str, Any]) -> Confusion:
    """The matrix that ``as_figures`` returned."""
    counts, missed, background = (
        np.array(figures[key], dtype=int) for key in ("counts", "missed", "background")
    )
    return Confusion(figures["classes"], counts, missed, background)


def most_confused(matrix: Confusion) -> List[Pair]:
    """The pairs of different classes that were confused, the most frequent first."""
    confused = matrix.counts.copy()
    np.fill_diagonal(confused, 0)
    rows, columns = np.nonzero(confused)
    pairs = [
        Pair(matrix.classes[row], matrix.classes[column], int(confused[row, column]))
        for row, column in zip(rows, columns)
    ]
    return sorted(pairs, key=lambda pair: (-pair.number, pair.truth, pair.detected))


def _kept(image: Matches, threshold: float) -> np.ndarray:
    return image.scores >= threshold


def _pairs(image: Matches, kept: np.ndarray) -> np.ndarray:
    """The ground-truth box of each kept detection, int (K,), -1 where it has none."""
    is_true_positive = image.kinds[kept] == matching.TRUE_POSITIVE
    truth_of = np.where(is_true_positive, image.truth_index[kept], -1)
    free, candidates = _free(image, truth_of)
    iou = boxes.iou(image.boxes_xyxy[kept][candidates], image.truth_xyxy[free])
    # One of its own class that the pascal rule does not give it is missed: of two boxes on one
    # product, for example.
    iou[image.classes[kept][candidates][:, None] == image.truth_classes[free]] = 0
    for row, detection in enumerate(candidates):  # by falling score, as in Matches
        if not iou.shape[1]:
            break
        best = int(np.argmax(iou[row]))
        if iou[row, best] >= PASCAL_IOU:
            truth_of[detection] = free[best]
            iou[:, best] = 0
    return truth_of


def _free(image: Matches, truth_of: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Places of the ground-truth boxes without a detection, and of the detections without one."""
    taken = np.zeros(len(image.truth_xyxy), dtype=bool)
    taken[truth_of[truth_of >= 0]] = True
    return np.flatnonzero(~taken), np.flatnonzero(truth_of < 0)
