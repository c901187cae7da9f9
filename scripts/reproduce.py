#!/usr/bin/env python
"""Trains the detector that ships once more, from nothing, and says how far its figures are from metrics.json. `make reproduce` runs it.

Reads   the label files and records of `make data`, the pictures, and the pipeline.config beside the graph that ships.
Writes  training/reproduced/ (the run; started again it goes on) and its graph/, detections and metrics.json in it. The graph that
        ships, metrics.json and image2products.json stay as they are.

With --fold the same recipe is trained and tested on a fold of the grouped split, whose test planograms it has never seen; the
run is training/reproduced_fold0/ and so on, and the difference is what the official split flatters.

    python scripts/reproduce.py
    python scripts/reproduce.py --seed 1 --run-dir workspace/training_demo/training/reproduced_again
    python scripts/reproduce.py --fold 0
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, files, paths, steps

SHOWN = (("mAP", "AP at IoU 0.5"), ("AP75", "COCO AP at IoU 0.75"), ("AP", "COCO AP"), ("precision", "precision"),
         ("recall", "recall"), ("mean_absolute_count_error", "mean |count error|"))
GRAPH = "graph"


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--fold", type=int, choices=range(4), metavar="0..3", help="train and test on a fold of the grouped split")
    parser.add_argument("--config", type=pathlib.Path, default=paths.DEFAULT_GRAPH / paths.CONFIG_FILE, metavar="FILE",
                        help="(default: %(default)s)")
    parser.add_argument("--run-dir", type=pathlib.Path, metavar="FOLDER",
                        help="(default: {}/reproduced, with --fold reproduced_fold0 to 3)".format(paths.shown(paths.TRAINING)))
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.run_dir is None:
        args.run_dir = paths.TRAINING / ("reproduced" if args.fold is None else "reproduced_fold{}".format(args.fold))
    args.run_dir = args.run_dir.resolve()
    return args


def main(argv=None):
    args = parse(argv)
    expected = files.read_json(paths.METRICS)
    labels, config = (official(args, expected) if args.fold is None else grouped(args))
    run, graph = args.run_dir, args.run_dir / GRAPH
    steps.run("train", ["--config", config, "--run-dir", run, "--seed", args.seed])
    steps.run("export", ["--run-dir", run, "--name", GRAPH, "--output", run])
    found = {split: run / "{}_detections.json".format(split) for split in ("val", "test")}
    for split, path in found.items():
        steps.run("detect", ["--graph", graph, "--labels", labels[split], "--output", path])
    steps.run("score", ["--graph-dir", graph, "--ground-truth", labels["test"], "--ground-truth-format", "csv",
                        "--detections", found["test"], "--val-ground-truth", labels["val"], "--val-detections", found["val"],
                        "--output", run / paths.METRICS.name, "--counts-output", run / paths.IMAGE_TO_PRODUCTS.name])
    print("\n" + difference(expected, files.read_json(run / paths.METRICS.name)))


def official(args, expected):
    """(dict of split to label file, config) of the workspace's own data.

    Raises:
      UserError: the data is not that of metrics.json, so that a difference would tell nothing of the recipe.
    """
    labels = {split: paths.labels(split) for split in ("train", "val", "test")}
    missing = [path for path in labels.values() if not path.is_file()]
    if missing:
        raise UserError("{}: no such file; expected the data to train and test on. Run `make data`.".format(missing[0]))
    found = files.sha256(labels["test"])
    if found != expected["labels_sha256"]:
        raise UserError("{}: has the sha256 {}; expected {}, of which {} speaks. It is made by `make data FROM=folder` from copies of the "
                        "photographs with a shorter side of 640 px; or name a fold with --fold.".format(
                            labels["test"], found, expected["labels_sha256"], paths.shown(paths.METRICS)))
    return labels, args.config


def grouped(args):
    """(dict of split to label file, config) of a fold, made here; its records lie beside the label files."""
    from google.protobuf import text_format
    from shelfdet import pipeline
    data = args.run_dir / "data"
    labels = {split: data / "{}_labels.csv".format(split) for split in ("train", "val", "test")}
    if not (data / "val.record").is_file():
        steps.run("split", ["--split", "grouped", "--fold", args.fold, "--out", data])
        steps.run("records", ["--annotations", data, "--splits", "train", "val"])
    config = pipeline.changed(pipeline.read(args.config), pipeline.reading(data))
    path = args.run_dir / "fold.config"
    files.write_text(path, text_format.MessageToString(config))
    return labels, path


def difference(expected, found):
    """The figures side by side, as lines of text."""
    lines = ["{:24}{:>14}{:>10}{:>12}   {}".format("", "metrics.json", "this run", "difference", "95 % interval of metrics.json")]
    for key, name in SHOWN:
        low, high = expected["intervals_95"][key]
        inside = "" if low <= found[key] <= high else ", outside"
        lines.append("{:24}{:14.4f}{:10.4f}{:+12.4f}   {:.4f} to {:.4f}{}".format(
            name, expected[key], found[key], found[key] - expected[key], low, high, inside))
    return "\n".join(lines + ["pictures {} and {}, boxes {} and {}, score thresholds {:.4f} and {:.4f}".format(
        *(one[key] for key in ("pictures", "boxes", "threshold") for one in (expected, found)))])


if __name__ == "__main__":
    command.run(main)
