#!/usr/bin/env python
"""What each choice of the recipe is worth in a short training: experiments/ablation_choices.py says which there are. `make compare` runs it.

Reads   the photographs that step 01 put in place, and training/ssd_inception_v2_shelf.config, from which all configs are made.
Writes  training/ablations/ (git-ignored): the grouped split's labels and records, and for each choice its config, run, graph and
        detections; training/ablations.json: the figures, a row as soon as it is there; evaluation/figures/ablations.png.

Each choice is trained from nothing on fold 0 of the grouped split, for as many images as the others; its newest checkpoint is
exported (none is chosen), and that graph is scored on the fold's validation planograms, without those of their images that the
official split tests on. One training has one core, and several run side by side. What stands in ablations.json is not trained
again (--again does), and a training that was stopped goes on. How many images/s a graph finds is timed with --speed,
one after the other, on all cores.

    python scripts/experiments/ablations.py
    python scripts/experiments/ablations.py --only base wide_640x480 --again
    python scripts/experiments/ablations.py --speed
    python scripts/experiments/ablations.py --table
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import threading
import time

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths, steps

FOLDER = paths.TRAINING / "ablations"
FIGURES = pathlib.Path(__file__).with_name("ablations.json")
PLOT = paths.EVALUATION / "figures" / "ablations.png"
FOLD = 0
STEPS = 250
NEVER_SECONDS = (
    10**6
)  # no evaluation on the way: it costs time and chooses nothing; but the first checkpoint brings one,
SAVE_SECONDS = 1200  # so most trainings end before it is due
BYTES_A_TRAINING = 4e9  # what one takes at most, about
MAX_SIDE = 1024  # as steps 04 and 08 shrink images
AP75 = 5  # its place among the ten IoUs of COCO's AP


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", nargs="+", metavar="CHOICE", help="these alone (default: all)")
    parser.add_argument(
        "--steps",
        type=command_line.positive,
        default=STEPS,
        metavar="N",
        dest="count",
        help="of the base's training (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=command_line.positive,
        metavar="N",
        help="trainings side by side (default: one a core, but no more than memory holds)",
    )
    parser.add_argument("--again", action="store_true", help="train anew what was trained before")
    only_look = parser.add_mutually_exclusive_group()
    only_look.add_argument(
        "--speed", action="store_true", help="train nothing: time the graphs that are there"
    )
    only_look.add_argument(
        "--table", action="store_true", help="train nothing: print the table and draw the figure"
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    command_line.end_once()
    from experiments import ablation_choices

    unknown = sorted(set(args.only or ()) - set(ablation_choices.CHOICES))
    if unknown:
        raise UserError(
            f"--only {unknown[0]}: no such choice; expected some of {', '.join(ablation_choices.CHOICES)}."
        )
    names = args.only or list(ablation_choices.CHOICES)
    failed = []
    if args.speed:
        time_graphs([name for name in names if name in read_rows()])
    elif not args.table:
        prepare_data()
        failed = train_all(to_train(names, args), args)
    tell(read_rows())
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} choices failed: {', '.join(failed)}. Mend what is told above; the same command trains those alone."
        )


def read_rows():
    """dict of choice to its row, in the order of ablation_choices.CHOICES."""
    from experiments import ablation_choices

    found = files.read_json(FIGURES) if FIGURES.is_file() else {}
    return collections.OrderedDict(
        (name, found[name]) for name in ablation_choices.CHOICES if name in found
    )


def write_row(name, values):
    """Puts ``values`` into the row of a choice, beside what stands there; None takes the row away."""
    from experiments import ablation_choices

    rows = read_rows()
    row = rows.pop(name, collections.OrderedDict())
    if values is not None:
        row.update(values)
        rows[name] = row
    ordered = collections.OrderedDict(
        (known, rows[known]) for known in ablation_choices.CHOICES if known in rows
    )
    files.write_text(FIGURES, json.dumps(ordered, indent=1) + "\n")


def data():
    return FOLDER / "data"


def prepare_data():
    """The grouped split's labels and records, and ranked_labels.csv: what the choices are scored on."""
    from shelfdet.data import images, labels

    steps.run("split", ["--split", "grouped", "--fold", FOLD, "--out", data()], FOLDER / "data.log")
    steps.run("records", ["--annotations", data(), "--splits", "train", "val"], FOLDER / "data.log")
    official_test = images.sides(paths.IMAGES)["test"]
    kept = [
        image
        for image in labels.read_labels(data() / "val_labels.csv")
        if image.filename not in official_test
    ]
    labels.write_labels(kept, data() / "ranked_labels.csv")


def shipped():
    from shelfdet.config import pipeline

    return pipeline.read(paths.SHIPPED_CONFIG)


def to_train(names, args):
    """The choices that are not in ablations.json yet.

    Raises:
      UserError: a row there is of another recipe than the one here, of other steps, say, or of an edited base; or of other images.
    """
    from experiments import ablation_choices

    rows, label_files = read_rows(), labels_sha256()
    # What has another's weights falls with them
    anew = [
        name
        for name, choice in ablation_choices.CHOICES.items()
        if args.again and (name in names or name in rows and choice.weights_of in names)
    ]
    for name, row in rows.items():
        if name in anew:
            continue
        if row.get("labels_sha256") != label_files:
            raise UserError(
                f"{paths.shown(FIGURES)}: the row of {name} is of other images or labels than those in {paths.shown(data())}; expected rows of one data set. Train all anew with --again."
            )
        if row["recipe_sha256"] != ablation_choices.recipe_sha256(
            name, shipped(), args.count, data()
        ):
            raise UserError(
                f"{paths.shown(FIGURES)}: the row of {name} is of another recipe ({row['steps']} steps; or of another config); expected rows of one base. Give --steps as it was, put {paths.shown(paths.SHIPPED_CONFIG)} back, or train all anew with --again."
            )
    for name in anew:
        write_row(name, None)
        for made in (FOLDER / name, FOLDER / "graphs" / name):
            shutil.rmtree(str(made), ignore_errors=True)
    return [
        name
        for name in ablation_choices.CHOICES
        if name in anew or name in names and name not in rows
    ]


def labels_sha256():
    """Of the labels that are trained on and those that are ranked by."""
    return [files.sha256(data() / f"{split}_labels.csv") for split in ("train", "ranked")]


def train_all(names, args):
    """Trains, exports and scores the choices, each on a core of its own; one that fails is told and left out.

    Returns:
      list of those that failed.
    """
    from experiments import ablation_choices

    alone = [name for name in names if ablation_choices.CHOICES[name].weights_of is None]
    waiting, lock, failed = collections.deque(alone), threading.Lock(), []

    def one(name, core):
        try:
            with lock:  # TensorFlow's graphs of two choices would mix
                made, known = make_config(name, args.count)
            row = train_one(name, made, known, core)
            with lock:
                write_row(name, row)
            print(
                "{} {}: AP50 {AP50:.4f}, AP75 {AP75:.4f}, AP {AP:.4f}, F1 {F1:.4f}".format(
                    time.strftime("%H:%M"), name, **row
                ),
                flush=True,
            )
        except steps.Stopped:
            pass
        except (UserError, KeyError, ValueError, OSError) as error:
            failed.append(name)
            print(f"{time.strftime('%H:%M')} {name} failed: {error}", file=sys.stderr, flush=True)

    def work(core):
        while waiting:
            one(waiting.popleft(), core)

    cores = sorted(os.sched_getaffinity(0))
    by_memory = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / BYTES_A_TRAINING)
    cores = cores[: args.jobs or max(1, by_memory)]
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        try:
            for future in [pool.submit(work, core) for core in cores]:
                future.result()
        except (
            BaseException
        ):  # Ctrl-C above all: the trainings stop, and go on when the same is started again
            waiting.clear()
            steps.stop()
            raise
    for name in names:
        if name not in alone:  # these need another's weights
            one(name, cores[0])
    return failed


def make_config(name, count):
    """Writes the choice's config; returns its path, and what is known of it before it is trained: a dict for its row."""
    from google.protobuf import text_format

    from experiments import ablation_choices

    choice = ablation_choices.CHOICES[name]
    built, network, met = ablation_choices.with_anchors(
        name, ablation_choices.config(name, shipped(), count, data()), data() / "train_labels.csv"
    )
    path = FOLDER / (name + ".config")
    files.write_text(
        path,
        f"# {name}: {choice.what}. Made by scripts/experiments/ablations.py.\n{text_format.MessageToString(built)}",
    )
    return path, collections.OrderedDict(
        [
            ("what", choice.what),
            ("steps", built.train_config.num_steps),
            ("batch", built.train_config.batch_size),
            ("seed", choice.seed),
            ("input_wh", list(network.image_wh)),
            ("feature_maps", len(network.grids_wh)),
            ("met", round(met, 4)),
            ("multiply_adds", network.multiply_adds),
            ("recipe_sha256", ablation_choices.recipe_sha256(name, shipped(), count, data())),
            ("labels_sha256", labels_sha256()),
        ]
    )


def train_one(name, config, row, core):
    """Trains, exports, detects and scores one choice; returns its whole row."""
    from experiments import ablation_choices

    log, found, weights_of = (
        FOLDER / (name + ".log"),
        FOLDER / (name + "_val.json"),
        ablation_choices.CHOICES[name].weights_of,
    )
    run = FOLDER / (weights_of or name)
    if weights_of:
        if weights_of not in read_rows() or not (run / "checkpoint").is_file():
            raise UserError(
                f"{name} has the weights of {weights_of}, which are not here; expected a run in {paths.shown(run)}. Train both: --only {weights_of} {name} --again."
            )
        row["cpu_seconds"] = read_rows()[weights_of]["cpu_seconds"]
    else:
        row["cpu_seconds"] = train(run, config, row["seed"], log, core)
    steps.run(
        "export",
        [
            "--run-dir",
            run,
            "--checkpoint",
            "newest",
            "--config",
            config,
            "--name",
            name,
            "--output",
            FOLDER / "graphs",
        ],
        log,
        core,
    )
    steps.run(
        "detect",
        [
            "--graph",
            FOLDER / "graphs" / name,
            "--labels",
            data() / "ranked_labels.csv",
            "--output",
            found,
        ],
        log,
        core,
    )
    row.update(figures(found))
    return row


def train(run, config, seed, log, core):
    """Trains to the end; returns the seconds of CPU time, None if part of the training was done before."""
    kept = run / paths.CONFIG_FILE
    if kept.is_file() and kept.read_text(encoding="utf-8") != config.read_text(encoding="utf-8"):
        raise UserError(
            f"{paths.shown(run)}: was trained with another config than {paths.shown(config)}; expected the same. --again trains it anew."
        )
    goes_on = (run / "checkpoint").is_file()
    seconds = steps.run(
        "train",
        [
            "--config",
            config,
            "--run-dir",
            run,
            "--seed",
            seed,
            "--save-seconds",
            SAVE_SECONDS,
            "--eval-seconds",
            NEVER_SECONDS,
        ],
        log,
        core,
    )
    return None if goes_on else round(seconds)


def figures(found):
    """The figures of the detections in the file ``found``; F1 and the count error at the threshold that is best for F1 on these same
    images, so they serve to compare choices alone."""
    import numpy as np

    from shelfdet.data import detections, labels
    from shelfdet.evaluation import metrics

    truth = labels.read_labels(data() / "ranked_labels.csv")
    names = {image.filename for image in truth}
    matches = metrics.match(
        truth, [image for image in detections.read_detections(found) if image.filename in names]
    )
    (pool,) = metrics.pools(matches)
    by_iou = metrics.coco_average_precisions(pool)
    threshold = metrics.best_threshold(matches)
    best = metrics.figures(metrics.tally(matches, 1.0 if threshold is None else threshold))
    values = [
        ("AP50", metrics.average_precision(pool)),
        ("AP75", by_iou[AP75]),
        ("AP", np.mean(by_iou)),
        ("F1", best["f1"]),
        ("count_error", best["mean_absolute_count_error"]),
    ]
    return collections.OrderedDict((name, round(float(value), 5)) for name, value in values)


def time_graphs(names):
    """Times the frozen graphs on the ranked images, decoded beforehand: their rows get images_per_second and what it was read on."""
    from shelfdet.core import machine
    from shelfdet.data import images, labels
    from shelfdet.inference import detector

    graphs = [FOLDER / "graphs" / name / paths.GRAPH_FILE for name in names]
    missing = [graph.parent.name for graph in graphs if not graph.is_file()]
    if missing:
        raise UserError(
            f"{', '.join(sorted(missing))}: their graphs are not in {paths.shown(FOLDER / 'graphs')}; expected all, for speeds of one machine. Train them there with --again, or name those that are with --only."
        )
    listed = [image.filename for image in labels.read_labels(data() / "ranked_labels.csv")]
    pixels = [
        images.load(path, MAX_SIDE)[0]
        for path in images.locate(paths.SHELF_IMAGES, listed, "train")
    ]
    for name, graph, rate in zip(names, graphs, detector.images_per_second(graphs, pixels)):
        write_row(
            name,
            [
                ("images_per_second", round(rate, 2)),
                ("megabytes", round(graph.stat().st_size / 1e6, 2)),
                ("timed_on", machine.described()),
            ],
        )


def tell(rows):
    """Prints the table, and draws the figure."""
    from experiments import ablation_choices, ablation_figure

    if not rows:
        print(f"{paths.shown(FIGURES)}: holds no row yet")
        return
    print(
        "| choice | input | anchors meet | AP50 | AP75 | AP | F1 | count error | GMACs | images/s | MB | CPU minutes |"
    )
    print("|" + "---|" * 12)
    for row in rows.values():
        print(
            "| {what} | {0} x {1} | {met:.2f} | {AP50:.3f} | {AP75:.3f} | {AP:.3f} | {F1:.3f} | {count_error:.2f} | {2:.2f} | {3} | {4} | "
            "{5} |".format(
                *row["input_wh"],
                row["multiply_adds"] / 1e9,
                row.get("images_per_second", "-"),
                row.get("megabytes", "-"),
                "-" if row["cpu_seconds"] is None else round(row["cpu_seconds"] / 60),
                **row,
            )
        )
    for one in sorted({row["timed_on"] for row in rows.values() if "timed_on" in row}):
        print(f"\nimages/s on {one}")
    points = [
        ablation_figure.Point(
            row["what"],
            ablation_choices.CHOICES[name].kind,
            row.get("images_per_second"),
            row["AP"],
            row["F1"],
        )
        for name, row in rows.items()
    ]
    with files.replacing(PLOT) as partial:
        ablation_figure.draw(
            points,
            partial,
            f"What each choice is worth after {min(row['steps'] for row in rows.values())} steps of 8 images",
            "Trained from nothing, and scored on images of two planograms that were not trained on.",
        )
    print(f"\nwritten: {paths.shown(PLOT)}")


if __name__ == "__main__":
    command_line.run(main)
