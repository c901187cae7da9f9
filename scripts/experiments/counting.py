"""Counts of the products in an image by four ways that are fitted to other images."""

from typing import List, Sequence, Tuple

import numpy as np

from shelfdet.evaluation import matching, metrics
from shelfdet.evaluation.match_table import Matches

NAMES = ("F1", "count MAE", "averaged", "calibrated")  # as count_choices.py describes them


def errors_of(image: Matches, others: Sequence[Matches]) -> List[float]:
    """Counts of an image minus its labels, by each of NAMES, fitted to the other images."""
    scores, shares = calibration(others)
    # Scores between two steps take the lower one's share.
    places = np.searchsorted(scores, image.scores, side="right") - 1
    thresholds = (
        metrics.best_threshold(others),
        metrics.count_threshold(others, half_width=0),
        metrics.count_threshold(others),
    )
    counts = [0 if one is None else (image.scores >= one).sum() for one in thresholds]
    counts.append(shares[np.maximum(places, 0)].sum())
    return [float(count - len(image.truth_xyxy)) for count in counts]


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
