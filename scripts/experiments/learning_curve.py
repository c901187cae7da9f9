#!/usr/bin/env python
"""Learning curve: how accurate a detector becomes with 5, 10, 20, ... labelled images.

Reads   the label files, label map and images of a dataset (`make data`), a config for it
        (`make config`), and the graph whose weights half of the trainings start with
Writes  training/learning_curve_DATASET/ (git-ignored): for each training its labels, records,
        config, run, graph, detections and metrics.json; rows.json there, with one row as soon as a
        training is scored; evaluation/results/learning_curve_DATASET.png

The images are a random choice of the training images; each number includes those of the smaller
numbers. Each is trained on twice for as many steps: from the weights of --start, and from the
weights that the config names or random ones. The newest checkpoint is scored on the test images at
the score threshold that is best for counts on the validation images. A training that has a row is
not repeated; one that was stopped resumes.

    python scripts/experiments/learning_curve.py --dataset mine --config mine.config
    python scripts/experiments/learning_curve.py --dataset mine --config mine.config --table
"""

import argparse
import pathlib
import sys
from typing import Any, Dict, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, paths
from shelfdet.data import options

IMAGES = (5, 10, 20, 40, 80, 160)
COLUMNS = ("images", "products", "start", "AP50", "AP75", "AP", "count MAE", "relative count error")


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_dataset(parser)
    parser.add_argument(
        "--config", **command_line.FILE, required=True, help="of all trainings, with their steps"
    )
    parser.add_argument(
        "--start",
        **command_line.FOLDER,
        default=paths.SHIPPED_GRAPH,
        help="graph whose weights half of the trainings start with; it must not have been trained "
        f"on these images (default: {paths.shown(paths.SHIPPED_GRAPH)})",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        type=command_line.positive,
        default=IMAGES,
        metavar="N",
        help=f"numbers of training images (default: {' '.join(map(str, IMAGES))})",
    )
    parser.add_argument(
        "--product-scale",
        metavar="SCALE",
        help="as --product-scale of step 04, for records",
    )
    parser.add_argument(
        "--product-aspect-ratio",
        metavar="RATIO",
        help="as --product-aspect-ratio of step 04, for records",
    )
    parser.add_argument(
        "--tiles",
        metavar="N|auto",
        help="as --tiles of step 08; a weak detector is slow with auto (default: auto with "
        "--product-scale, else 1)",
    )
    command_line.add_seed(parser, "of the choice of images and of the trainings")
    parser.add_argument(
        "--table", action="store_true", help="train nothing: print the table and draw the figure"
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from experiments import learning_curve_figure, learning_curve_runs

    name = args.dataset or "default"
    folder = paths.TRAINING / f"learning_curve_{name}"
    if not args.table:
        learning_curve_runs.train_all(
            folder,
            learning_curve_runs.Setting(
                args.dataset,
                args.config,
                args.start,
                args.product_scale,
                args.product_aspect_ratio,
                args.tiles or ("auto" if args.product_scale else "1"),
                args.seed,
            ),
            args.images,
        )
    rows = learning_curve_runs.read_rows(folder)
    if not rows:
        raise UserError(
            f"{paths.shown(folder)}: no training was scored; expected rows. Start without --table."
        )
    print_table(rows)
    figure = paths.RESULTS / f"learning_curve_{name}.png"
    learning_curve_figure.draw(rows, figure)
    print(f"written: {paths.shown(figure)}")


def print_table(rows: List[Dict[str, Any]]) -> None:
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for row in rows:
        cells = [
            str(row["images"]),
            str(row["products"]),
            row["start"],
            f"{row['AP50']:.3f}",
            f"{row['AP75']:.3f}",
            f"{row['AP']:.3f}",
            f"{row['count_mae']:.1f}",
            f"{row['relative_count_error']:.0%}",
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    command_line.run(main)
