"""Counts of the products in an image by three ways that are fitted to other images."""

from typing import List, Sequence, Tuple

import numpy as np

from shelfdet.evaluation import matching, metrics
from shelfdet.evaluation.match_table import Matches

NAMES = ("F1", "count MAE", "calibrated")  # as count_choices.py describes them


def errors_of(image: Matches, others: Sequence[Matches]) -> List[float]:
    """Counts of an image minus its labels, by each of NAMES, fitted to the other images."""
    at_f1 = metrics.best_threshold(others)
    at_count = best_count_threshold(others)
    scores, shares = calibration(others)
    # Scores between two steps take the lower one's share.
    places = np.searchsorted(scores, image.scores, side="right") - 1
    counts = [
        (image.scores >= at_f1).sum() if at_f1 is not None else 0,
        (image.scores >= at_count).sum(),
        shares[np.maximum(places, 0)].sum(),
    ]
    return [float(count - len(image.truth_xyxy)) for count in counts]


def best_count_threshold(matches: Sequence[Matches]) -> float:
    """The highest score threshold with the smallest mean absolute error of the images' counts."""
    scores = np.unique(np.concatenate([image.scores for image in matches]))
    if not len(scores):
        return np.inf
    errors = np.zeros(len(scores))
    for image in matches:
        found = len(image.scores) - np.searchsorted(np.sort(image.scores), scores)
        errors += np.abs(found - len(image.truth_xyxy))
    return float(scores[len(scores) - 1 - np.argmin(errors[::-1])])


def calibration(matches: Sequence[Matches]) -> Tuple[np.ndarray, np.ndarray]:
    """(scores, shares): from each score on, the share of true positives; both do not fall.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955).
    """
    all_scores = np.concatenate([image.scores for image in matches])
    is_true = np.concatenate([image.kinds == matching.TRUE_POSITIVE for image in matches])
    if not len(all_scores):
        return np.zeros(1), np.zeros(1)
    # Equal scores share a block, whatever their order.
    scores, places, counts = np.unique(all_scores, return_inverse=True, return_counts=True)
    shares = np.bincount(places, is_true, len(scores)) / counts
    blocks: List[List[float]] = []  # lowest score, number of detections, share of true positives
    for block in zip(scores, counts, shares):
        blocks.append(list(block))
        while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:
            _, count, share = blocks.pop()
            last = blocks[-1]
            last[2] = (last[1] * last[2] + count * share) / (last[1] + count)
            last[1] += count
    table = np.array(blocks)
    return table[:, 0], table[:, 2]
