#!/usr/bin/env python
"""Ablations: trains and scores the base recipe and variants of it, each different in one thing.

`make ablations` runs it; experiments/ablation_choices.py lists the variants ("choices").

Reads   the photographs that step 01 put in place, and training/ssd_inception_v2_shelf.config, from
        which all configs are made.
Writes  training/ablations/ (git-ignored): labels and records of the grouped split, and for each
        choice its config, run, graph and detections; ablations.json there: the figures, one row
        as soon as a choice is scored (it begins with the published rows);
        evaluation/results/ablations.png;
        with --publish the tracked scripts/experiments/ablations.json and
        evaluation/figures/ablations.png, which docs/ablations.md shows.

Each choice is trained from random weights on fold 0 of the grouped split, for as many images as the
others. Its newest checkpoint is exported and scored on the fold's validation planograms, without
those of their images that the official split tests on. Trainings run side by side, one per core. A
choice that has a row in ablations.json is not trained again unless --again is given; a training
that was stopped resumes. --speed measures images/s, one graph after another, on all cores.

    python scripts/experiments/ablations.py
    python scripts/experiments/ablations.py --only base wide_640x480 --again
    python scripts/experiments/ablations.py --speed
    python scripts/experiments/ablations.py --table
"""

import argparse
import pathlib
import sys
from typing import Any, Dict, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

Rows = Dict[str, Dict[str, Any]]  # the rows of ablations.json by choice

FIGURE = paths.RESULTS / "ablations.png"
PUBLISHED_FIGURE = paths.EVALUATION / "figures" / "ablations.png"
# Of 8 images: under a fifth of the images of the included recipe, so that all choices take hours.
STEPS = 250
COLUMNS = (
    "choice",
    "input",
    "anchor coverage",
    "AP50",
    "AP75",
    "AP",
    "F1",
    "count MAE",
    "GMACs",
    "images/s",
    "MB",
    "CPU minutes",
)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="CHOICE", help="only these (default: all)")
    command_line.add_positive(parser, "--steps", STEPS, "of the base's training")
    parser.add_argument(
        "--jobs",
        type=command_line.positive,
        metavar="N",
        help="trainings side by side (default: one per core, as far as memory allows)",
    )
    parser.add_argument("--again", action="store_true", help="train again what has a row")
    without_training = parser.add_mutually_exclusive_group()
    without_training.add_argument(
        "--speed", action="store_true", help="train nothing: time the graphs that are there"
    )
    without_training.add_argument(
        "--table", action="store_true", help="train nothing: print the table and draw the figure"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="also write rows and figure to the tracked files of docs/ablations.md",
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from experiments import ablation_runs
    from experiments.ablation_choices import CHOICES

    unknown = sorted(set(args.only or ()) - set(CHOICES))
    if unknown:
        raise UserError(
            f"--only {unknown[0]}: no such choice; expected some of {', '.join(CHOICES)}."
        )
    names = args.only or list(CHOICES)
    failed = []
    if args.speed:
        with_rows = ablation_runs.read_rows()
        ablation_runs.time_graphs([name for name in names if name in with_rows])
    elif not args.table:
        ablation_runs.prepare_data()
        selected = ablation_runs.select(names, args.steps, args.again)
        failed = ablation_runs.train_all(selected, args.steps, args.jobs)
    rows = ablation_runs.read_rows()
    if rows:
        print_table(rows)
        draw_figure(rows, FIGURE)
        if args.publish:
            ablation_runs.publish_rows()
            draw_figure(rows, PUBLISHED_FIGURE)
    else:
        print(f"{paths.shown(ablation_runs.ROWS_FILE)}: no rows yet")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} choices failed: {', '.join(failed)}. Correct what is "
            "reported above; the same command then trains only those."
        )


def print_table(rows: Rows) -> None:
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for row in rows.values():
        print("| " + " | ".join(table_cells(row)) + " |")
    for machine in sorted({row["timed_on"] for row in rows.values() if "timed_on" in row}):
        print(f"\nimages/s on {machine}")


def table_cells(row: Dict[str, Any]) -> List[str]:
    """The text of one row in each of COLUMNS; "-" where something was not measured."""
    width, height = row["input_wh"]
    minutes = "-" if row["cpu_seconds"] is None else str(round(row["cpu_seconds"] / 60))
    return [
        row["description"],
        f"{width} x {height}",
        f"{row['anchor_coverage']:.2f}",
        f"{row['AP50']:.3f}",
        f"{row['AP75']:.3f}",
        f"{row['AP']:.3f}",
        f"{row['F1']:.3f}",
        f"{row['count_mae']:.2f}",
        f"{row['macs'] / 1e9:.2f}",
        str(row.get("images_per_second", "-")),
        str(row.get("megabytes", "-")),
        minutes,
    ]


def draw_figure(rows: Rows, path: pathlib.Path) -> None:
    from experiments import ablation_figure
    from experiments.ablation_choices import CHOICES

    points = [
        ablation_figure.Point(
            row["description"],
            CHOICES[name].kind,
            row.get("images_per_second"),
            row["AP"],
            row["F1"],
        )
        for name, row in rows.items()
    ]
    fewest = min(row["steps"] for row in rows.values())
    with files.replacing(path) as partial:
        ablation_figure.draw(
            points,
            partial,
            f"Ablations: {fewest} training steps of 8 images",
            "Trained from random weights, scored on images of two planograms that were not "
            "trained on.",
        )
    print(f"\nwritten: {paths.shown(path)}")


if __name__ == "__main__":
    command_line.run(main)
