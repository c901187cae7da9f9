#!/usr/bin/env python
"""Trains the detector that ships once more, from nothing, and says how far apart the two are. `make reproduce` runs it.

Reads   the label files and records of `make data`, the images, and the folder of the graph that ships.
Writes  training/reproduced/ (the run; started again it goes on), with its graph/, detections and metrics.json in it. The graph that
        ships, metrics.json and image2products.json stay as they are.

Both graphs are scored on the same test images, and the interval of the difference is that of a paired bootstrap. This is a look at the
official test images: choose nothing by it.

With --fold the same recipe is trained and tested on a fold of the grouped split, whose test planograms it has never seen; the
run is training/reproduced_fold0/ and so on. Its figures stand beside the official ones, and are of other images.

    python scripts/experiments/reproduce.py
    python scripts/experiments/reproduce.py --seed 1
    python scripts/experiments/reproduce.py --fold 0
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths, steps

SHOWN = (
    ("mAP", "AP at IoU 0.5"),
    ("AP75", "COCO AP at IoU 0.75"),
    ("AP", "COCO AP"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("mean_absolute_count_error", "mean |count error|"),
)
GRAPH = "graph"  # these lie in the run's folder
METRICS, COUNTS = paths.METRICS.name, paths.IMAGE_TO_PRODUCTS.name


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(4),
        metavar="0..3",
        help="train and test on a fold of the grouped split",
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=paths.SHIPPED_GRAPH / paths.CONFIG_FILE,
        metavar="FILE",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--run-dir",
        type=pathlib.Path,
        metavar="FOLDER",
        help=f"(default: {paths.shown(paths.TRAINING)}/reproduced, reproduced_seed1, reproduced_fold0, ...)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the training (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.run_dir is None:
        args.run_dir = paths.TRAINING / (
            "reproduced"
            + ("" if args.fold is None else f"_fold{args.fold}")
            + (f"_seed{args.seed}" if args.seed else "")
        )
    args.run_dir = args.run_dir.resolve()
    return args


def main(argv=None):
    args = parse(argv)
    command_line.interrupt_once()
    expected = shipped_figures()
    label_files, config = official(args, expected) if args.fold is None else grouped(args)
    run, graph = args.run_dir, args.run_dir / GRAPH
    steps.run(
        "check",
        ["--config", config]
        + [word for split in label_files for word in (f"--{split}-labels", label_files[split])],
    )
    steps.run("train", ["--config", config, "--run-dir", run, "--seed", args.seed])
    steps.run("export", ["--run-dir", run, "--name", GRAPH, "--output", run])
    found = detect(graph, label_files, run, "")
    steps.run(
        "score",
        ["--graph-dir", graph]
        + truth(label_files)
        + [
            "--detections",
            found["test"],
            "--val-detections",
            found["val"],
            "--output",
            run / METRICS,
            "--counts-output",
            run / COUNTS,
        ],
    )
    print("\n" + side_by_side(expected, files.read_json(run / METRICS)))
    if args.fold is None:
        shipped = detect(paths.SHIPPED_GRAPH, label_files, run, "shipped_")
        print("\nA is the graph that ships, B the one trained now, each at its own threshold:")
        steps.run(
            "score",
            [
                "--compare",
                shipped["test"],
                found["test"],
                "--val-detections",
                shipped["val"],
                found["val"],
            ]
            + truth(label_files),
        )


def shipped_figures():
    """metrics.json. Raises: UserError: it is of another graph than the one that ships, as after ``make eval`` with one's own."""
    expected, shipped = files.read_json(paths.METRICS), paths.SHIPPED_GRAPH / paths.GRAPH_FILE
    if expected["graph_sha256"] != files.sha256(shipped):
        raise UserError(
            f"{paths.METRICS}: was made with another graph than {paths.shown(shipped)}; expected the figures of the detector that ships. Run `git checkout {paths.METRICS.name} {paths.IMAGE_TO_PRODUCTS.name}`, and the graph's folder too if you exported into it."
        )
    return expected


def detect(graph, label_files, run, prefix):
    """Detects with ``graph`` in the validation and test images: dict of split to the file of detections, in the run's folder."""
    found = {split: run / f"{prefix}{split}_detections.json" for split in ("val", "test")}
    for split, path in found.items():
        steps.run("detect", ["--graph", graph, "--labels", label_files[split], "--output", path])
    return found


def truth(label_files):
    """Step 09's options for the ground truth."""
    return [
        "--ground-truth",
        label_files["test"],
        "--ground-truth-format",
        "csv",
        "--val-ground-truth",
        label_files["val"],
    ]


def official(args, expected):
    """(dict of split to label file, config) of the workspace's own data.

    Raises:
      UserError: the images are not those that the graph that ships was trained and tested on.
    """
    from shelfdet.data import labels

    label_files = {split: paths.labels(split) for split in ("train", "val", "test")}
    missing = [path for path in label_files.values() if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: no such file; expected the data to train and test on. Run `make data`."
        )
    known = files.read_json(paths.SHIPPED_GRAPH / paths.TRAINED_ON_FILE)
    known["test"] = sorted(files.read_json(paths.IMAGE_TO_PRODUCTS))
    for split, path in label_files.items():
        names = sorted(image.filename for image in labels.read_labels(path))
        if names != known[split]:
            raise UserError(
                f"{path}: {len(names)} images, which are not the {len(known[split])} that the graph that ships had for {split}; expected the same. Run `make data` without SEED and VAL_SHARE, or name a fold with --fold."
            )
    if files.sha256(label_files["test"]) != expected["labels_sha256"]:
        print(
            f"{paths.shown(label_files['test'])}: the images that {paths.shown(paths.METRICS)} speaks of, but not the same sizes or boxes: it was read on copies with a shorter side of {expected['shorter_side_px'][0]} px. The first table below compares across that; the second, paired one does not."
        )
    return label_files, args.config


def grouped(args):
    """(dict of split to label file, config) of a fold, made here; its records lie beside the label files."""
    from google.protobuf import text_format

    from shelfdet.config import pipeline

    data = args.run_dir / "data"
    label_files = {split: data / f"{split}_labels.csv" for split in ("train", "val", "test")}
    steps.run("split", ["--split", "grouped", "--fold", args.fold, "--out", data])
    steps.run("records", ["--annotations", data, "--splits", "train", "val"])
    config = pipeline.with_changes(pipeline.read(args.config), pipeline.record_changes(data))
    path = args.run_dir / "fold.config"
    files.write_text(path, text_format.MessageToString(config))
    return label_files, path


def side_by_side(expected, found):
    """The figures of metrics.json and of this run, with its own intervals, as lines of text."""
    lines = [f"{'':24}{'metrics.json':>14}{'this run':>10}   its 95 % interval"]
    lines += [
        "{:24}{:14.4f}{:10.4f}   {:.4f} to {:.4f}".format(
            name, expected[key], found[key], *found["intervals_95"][key]
        )
        for key, name in SHOWN
    ]
    return "\n".join(
        lines
        + [
            "{} and {} images, {} and {} boxes, score thresholds {:.4f} and {:.4f}".format(
                *(one[key] for key in ("images", "boxes", "threshold") for one in (expected, found))
            )
        ]
    )


if __name__ == "__main__":
    command_line.run(main)
