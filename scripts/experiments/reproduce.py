#!/usr/bin/env python
"""Trains the included detector once more and compares the figures of both.

`make reproduce` runs it.

Reads   the label files and records of `make data`, the images, and the included graph's folder.
Writes  training/reproduced/: the run, with its graph/, detections and metrics.json. Started again,
        the training resumes. The included graph and the metrics.json and image2products.json in the
        repository's root stay as they are.

Both graphs are scored on the same test images; the interval of the difference is that of a paired
bootstrap. This scores on the official test images: choose nothing by it.

With --fold the same recipe is trained and tested on a fold of the grouped split, whose test
planograms are held out from training; the run is training/reproduced_fold0/ and so on. Its figures
are printed beside those of the included graph, and are of other images. When all folds have been
trained, their mean is printed, too.

    python scripts/experiments/reproduce.py
    python scripts/experiments/reproduce.py --seed 1
    python scripts/experiments/reproduce.py --fold 0
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from experiments import steps
from shelfdet.core import command_line, files, paths
from shelfdet.data import options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_fold(parser, "train and test on a fold of the grouped split")
    parser.add_argument(
        "--config",
        **command_line.FILE,
        default=paths.SHIPPED_GRAPH / paths.CONFIG_FILE,
        help="(default: that of the included graph)",
    )
    parser.add_argument(
        "--run-dir",
        **command_line.FOLDER,
        help=f"(default: {paths.shown(paths.TRAINING)}/reproduced, reproduced_seed1, "
        "reproduced_fold0, ...)",
    )
    command_line.add_seed(parser, "of the training")
    args = parser.parse_args(argv)
    if args.run_dir is None:
        args.run_dir = default_run(args.fold, args.seed)
    args.run_dir = args.run_dir.resolve()
    return args


def default_run(fold: Optional[int], seed: int) -> pathlib.Path:
    name = "reproduced"
    if fold is not None:
        name += f"_fold{fold}"
    if seed:
        name += f"_seed{seed}"
    return paths.TRAINING / name


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from experiments import reproduction
    from shelfdet.data.splitting.splits import FOLDS

    expected = reproduction.shipped_figures()
    if args.fold is None:
        data = reproduction.official_data(args.config, expected)
    else:
        data = reproduction.fold_data(args.run_dir, args.fold, args.config)
    run = args.run_dir
    graph = run / reproduction.GRAPH_NAME
    metrics = run / paths.METRICS.name
    truth = reproduction.ground_truth_options(data)
    steps.run("check", reproduction.check_options(data))
    # One process, as the included detectors were trained.
    options = ["--config", data.config, "--run-dir", run, "--seed", args.seed, "--workers", 1]
    steps.run("train", options)
    steps.run("export", ["--run-dir", run, "--name", reproduction.GRAPH_NAME, "--output", run])
    found = reproduction.detect(graph, data, run)
    detections = ["--detections", found["test"], "--val-detections", found["val"]]
    outputs = ["--output", metrics, "--counts-output", run / paths.IMAGE_TO_PRODUCTS.name]
    steps.run("score", ["--graph-dir", graph] + truth + detections + outputs)
    print(f"\n{reproduction.comparison(expected, files.read_json(metrics))}")
    if args.fold is None:
        shipped = reproduction.detect(paths.SHIPPED_GRAPH, data, run, "shipped_")
        print("\nA is the included graph, B the one of this run, each at its own threshold:")
        compared = ["--compare", shipped["test"], found["test"]]
        compared += ["--val-detections", shipped["val"], found["val"]]
        steps.run("score", compared + truth)
    elif run == default_run(args.fold, args.seed).resolve():
        runs = [default_run(fold, args.seed) for fold in range(len(FOLDS))]
        of_folds = reproduction.same_recipe_figures(runs, args.config)
        if len(of_folds) == len(FOLDS):
            print(f"\n{reproduction.mean_of_folds(of_folds)}")


if __name__ == "__main__":
    command_line.run(main)
