#!/usr/bin/env python
"""Which count of products is nearest to the labels: three ways, chosen on other images.

Reads   ground truth and detections of the same images (steps 02 and 08), those of validation by
        default. A graph must not have been trained on them.
Writes  nothing; prints a table.

Each image is left out in turn, and its products are counted in three ways that are fitted to the
other images:

    F1          detections from the score threshold on that gives the best F1, as step 09 chooses it
    count MAE   detections from the score threshold on that gives the smallest mean absolute error
                of the counts
    calibrated  the sum over all detections of the share of true positives among detections of that
                score (isotonic regression)

    python scripts/experiments/count_choices.py --detections results/val_detections.json
"""

import argparse
import pathlib
import sys
from typing import List, Optional, Sequence, Tuple

import numpy as np

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, paths
from shelfdet.evaluation import matched_files, matching, metrics
from shelfdet.evaluation.match_table import Matches

NAMES = ("F1", "count MAE", "calibrated")


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--ground-truth",
        **command_line.FILE,
        default=paths.labels("val"),
        help=f"(default: {paths.shown(paths.labels('val'))})",
    )
    parser.add_argument("--detections", **command_line.FILE, required=True, help="in these images")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    sides = matched_files.Sides(args.ground_truth, args.detections, "csv", "coco")
    matches = list(matched_files.read(sides))
    if len(matches) < 2:
        raise UserError(f"{args.ground_truth}: 1 image; expected at least 2, to leave one out.")
    errors = np.array(
        [
            errors_of(image, matches[:place] + matches[place + 1 :])
            for place, image in enumerate(matches)
        ]
    )
    products = np.mean([len(image.truth_xyxy) for image in matches])
    print(f"{len(matches)} images, {products:.1f} products each\n")
    print(f"{'':12}{'count MAE':>10}{'mean error':>12}")
    for name, column in zip(NAMES, errors.T):
        print(f"{name:12}{np.abs(column).mean():10.3f}{column.mean():12.3f}")


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
    errors = np.zeros(len(scores))
    for image in matches:
        found = len(image.scores) - np.searchsorted(np.sort(image.scores), scores)
        errors += np.abs(found - len(image.truth_xyxy))
    return float(scores[len(scores) - 1 - np.argmin(errors[::-1])])


def calibration(matches: Sequence[Matches]) -> Tuple[np.ndarray, np.ndarray]:
    """(scores, shares): from each score on, the share of true positives; both do not fall.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955).
    """
    scores = np.concatenate([image.scores for image in matches])
    is_true = np.concatenate([image.kinds == matching.TRUE_POSITIVE for image in matches])
    order = np.argsort(scores, kind="stable")
    blocks: List[List[float]] = []  # lowest score, number of detections, share of true positives
    for score, true in zip(scores[order], is_true[order]):
        blocks.append([score, 1, float(true)])
        while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:
            _, count, share = blocks.pop()
            last = blocks[-1]
            last[2] = (last[1] * last[2] + count * share) / (last[1] + count)
            last[1] += count
    table = np.array(blocks)
    return table[:, 0], table[:, 2]


if __name__ == "__main__":
    command_line.run(main)
