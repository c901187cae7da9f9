"""Counts of the products in images by four ways that are fitted to other images."""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from shelfdet.evaluation import matching, metrics
from shelfdet.evaluation.match_table import Matches

NAMES = ("F1", "count MAE", "averaged", "calibrated")  # as count_choices.py describes them


def errors_of(images: Sequence[Matches], others: Sequence[Matches]) -> np.ndarray:
    """Counts of images minus their labels, fitted to other images: float (images, NAMES)."""
    scores, shares = calibration(others)
    thresholds = (
        metrics.best_threshold(others),
        smallest_count_error(others),
        metrics.count_threshold(others),
    )
    errors = []
    for image in images:
        counts = [0 if one is None else (image.scores >= one).sum() for one in thresholds]
        # Scores between two steps take the lower one's share.
        places = np.searchsorted(scores, image.scores, side="right") - 1
        counts.append(shares[np.maximum(places, 0)].sum())
        errors.append([float(count - len(image.truth_xyxy)) for count in counts])
    return np.array(errors)


def smallest_count_error(matches: Sequence[Matches]) -> Optional[float]:
    """The highest score with the smallest count MAE; None where there is no detection."""
    scores = np.unique(np.concatenate([image.scores for image in matches]))
    if not len(scores):
        return None
    counts = [
        len(image.scores) - np.searchsorted(np.sort(image.scores), scores) for image in matches
    ]
    labelled = [[len(image.truth_xyxy)] for image in matches]
    errors = np.abs(np.array(counts) - labelled).sum(axis=0)  # of each score
    return float(scores[np.flatnonzero(errors == errors.min())[-1]])


def errors_left_out(matches: Sequence[Matches]) -> np.ndarray:
    """Errors of each image, fitted to all the others: float (images, NAMES)."""
    matches = list(matches)
    each = [
        errors_of([image], matches[:place] + matches[place + 1 :])
        for place, image in enumerate(matches)
    ]
    return np.concatenate(each)


def errors_of_halves(matches: Sequence[Matches], repeats: int, seed: int) -> np.ndarray:
    """Errors of random halves, fitted to the other half: float (repeats * images / 2, NAMES)."""
    random = np.random.RandomState(seed)
    half = len(matches) // 2
    found = []
    for _ in range(repeats):
        order = random.permutation(len(matches))
        fitted, tried = (
            [matches[place] for place in part] for part in (order[:half], order[half:])
        )
        found.append(errors_of(tried, fitted))
    return np.concatenate(found)


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
