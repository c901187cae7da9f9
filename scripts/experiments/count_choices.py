#!/usr/bin/env python
"""Which count of products is nearest to the labels: four ways, chosen on other images.

Reads   ground truth and detections of the same images (steps 02 and 08), those of validation by
        default. A graph must not have been trained on them.
Writes  nothing; prints a table.

Products are counted in four ways that are fitted to other images: each image with all others, and
100 random halves of the images with the other half:

    F1          detections from the score threshold on that gives the best F1
    count MAE   detections from the score threshold on that gives the smallest mean absolute error
                of the counts
    averaged    the same, the error averaged over thresholds near it, as step 09 chooses it
    calibrated  the sum over all detections of the share of true positives among detections of that
                score (isotonic regression)

    python scripts/experiments/count_choices.py --detections results/val_detections.json
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, paths

HALVES, SEED = 100, 0


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
    import numpy as np

    from experiments import counting
    from shelfdet.evaluation import matched_files

    sides = matched_files.Sides(args.ground_truth, args.detections, "csv", "coco")
    matches = list(matched_files.read(sides))
    if len(matches) < 2:
        raise UserError(f"{args.ground_truth}: 1 image; expected at least 2, to leave one out.")
    products = np.mean([len(image.truth_xyxy) for image in matches])
    print(f"{len(matches)} images, {products:.1f} products each\n")
    left_out = counting.errors_left_out(matches)
    halves = counting.errors_of_halves(matches, HALVES, SEED)
    print(f"{'':12}{'count MAE':>10}{'mean error':>12}{'MAE, halves':>13}")
    for place, name in enumerate(counting.NAMES):
        error = left_out[:, place]
        mae_of_halves = np.abs(halves[:, place]).mean()
        print(f"{name:12}{np.abs(error).mean():10.3f}{error.mean():12.3f}{mae_of_halves:13.3f}")


if __name__ == "__main__":
    command_line.run(main)
