"""Trains, scores and times the ablations; each choice's figures are one row of ablations.json."""

import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import threading
import time
from typing import Any, Deque, Dict, Iterable, List, Optional, Tuple

import numpy as np
from google.protobuf import text_format

from experiments import ablation_choices, machine, measurement, steps
from experiments.ablation_choices import CHOICES, Choice
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths
from shelfdet.data import detections, images, labels, layout
from shelfdet.evaluation import matching, metrics

Row = Dict[str, Any]

FOLDER = paths.TRAINING / "ablations"
ROWS_FILE = FOLDER / "ablations.json"
# The tracked rows of docs/ablations.md. Only --publish writes them.
PUBLISHED_ROWS = pathlib.Path(__file__).with_name("ablations.json")
FOLD = 0  # of the grouped split
# No evaluation during training: it costs time and nothing is chosen by it. Every first checkpoint
# brings one all the same, so it is due only after most trainings have ended.
EVALUATION_SECONDS = 10**6
CHECKPOINT_SECONDS = 1200
BYTES_PER_TRAINING = 4e9  # approximate peak memory


def data_folder() -> pathlib.Path:
    """Where the labels and records of the ablations are."""
    return FOLDER / "data"


def scored_labels() -> pathlib.Path:
    """The label file of the images that choices are scored on."""
    return data_folder() / "ranked_labels.csv"


def graph_folder(name: str) -> pathlib.Path:
    """Where the exported graph of a choice is."""
    return FOLDER / "graphs" / name


def read_rows() -> Dict[str, Row]:
    """The rows by choice, in the order of CHOICES: this machine's, or else the published ones."""
    source = next((path for path in (ROWS_FILE, PUBLISHED_ROWS) if path.is_file()), None)
    stored = files.read_json(source) if source else {}
    return collections.OrderedDict((name, stored[name]) for name in CHOICES if name in stored)


def update_row(name: str, values: Row) -> None:
    """Adds ``values`` to the row of a choice; what the row holds besides stays."""
    rows = read_rows()
    row = rows.get(name, collections.OrderedDict())
    row.update(values)
    rows[name] = row
    _write_rows(rows)


def remove_row(name: str) -> None:
    """Removes the row of a choice, if there is one."""
    rows = read_rows()
    rows.pop(name, None)
    _write_rows(rows)


def publish_rows() -> None:
    """Writes the rows into the tracked file."""
    _write_rows(read_rows(), PUBLISHED_ROWS)


def _write_rows(rows: Dict[str, Row], path: Optional[pathlib.Path] = None) -> None:
    ordered = collections.OrderedDict((name, rows[name]) for name in CHOICES if name in rows)
    files.write_text(path or ROWS_FILE, json.dumps(ordered, indent=1) + "\n")


def prepare_data() -> None:
    """Makes the labels and records of the grouped split, and the labels that choices are scored on.

    Those are the fold's validation images without the ones that the official split tests on.
    """
    log = FOLDER / "data.log"
    steps.run("split", ["--split", "grouped", "--fold", FOLD, "--out", data_folder()], log)
    steps.run("records", ["--annotations", data_folder(), "--splits", "train", "val"], log)
    official_test = layout.find_divided(paths.IMAGES).images["test"]
    kept = [
        image
        for image in labels.read_labels(paths.labels_in(data_folder(), "val"))
        if image.filename not in official_test
    ]
    labels.write_labels(kept, scored_labels())


def labels_sha256() -> List[str]:
    """Hashes of the labels that choices are trained on, and of those that they are scored on."""
    return [files.sha256(paths.labels_in(data_folder(), "train")), files.sha256(scored_labels())]


def base_config() -> pipeline.Config:
    """The included config, which all choices are made from."""
    return pipeline.read(paths.SHIPPED_CONFIG)


def select(names: Iterable[str], step_count: int, retrain: bool) -> List[str]:
    """The choices to train.

    Args:
      names: the choices asked for.
      step_count: steps of the base's training.
      retrain: train again what has a row; the old row, run and graph are removed.

    Raises:
      UserError: a row that stays is of other labels, or of another recipe (other steps, or an
        edited base config).
    """
    names = list(names)
    rows = read_rows()
    removed = _rows_to_remove(names, rows) if retrain else []
    for name, row in rows.items():
        if name not in removed:
            _check_row(name, row, step_count)
    for name in removed:
        remove_row(name)
        for folder in (FOLDER / name, graph_folder(name)):
            shutil.rmtree(str(folder), ignore_errors=True)
    return [name for name in CHOICES if name in removed or (name in names and name not in rows)]


def _rows_to_remove(names: List[str], rows: Dict[str, Row]) -> List[str]:
    """The named choices, and those with a row that use the weights of a named one."""
    return [
        name
        for name, choice in CHOICES.items()
        if name in names or (name in rows and choice.weights_of in names)
    ]


def _check_row(name: str, row: Row, step_count: int) -> None:
    rows_file = paths.shown(ROWS_FILE)
    if row.get("labels_sha256") != labels_sha256():
        raise UserError(
            f"{rows_file}: the row of {name} is of other images or labels than those in "
            f"{paths.shown(data_folder())}; expected rows of one dataset. Train all again with "
            "--again."
        )
    expected = ablation_choices.recipe_sha256(name, base_config(), step_count, data_folder())
    if row["recipe_sha256"] != expected:
        raise UserError(
            f"{rows_file}: the row of {name} is of another recipe ({row['steps']} steps, or of "
            f"another {paths.shown(paths.SHIPPED_CONFIG)}); expected rows of one base. Give the "
            "--steps of that row, restore the config, or train all again with --again."
        )


def train_all(names: List[str], step_count: int, jobs: Optional[int] = None) -> List[str]:
    """Trains, exports and scores choices; a choice that fails is reported, and the others continue.

    Args:
      names: the choices, as ``select`` returns them.
      step_count: steps of the base's training.
      jobs: trainings at a time, each on one core; None for as many as cores and memory allow.

    Returns:
      The choices that failed.
    """
    on_all_cores = [name for name in names if CHOICES[name].workers > 1]
    dependent = [name for name in names if CHOICES[name].weights_of is not None]
    queue: Deque[str] = collections.deque(
        name for name in names if name not in on_all_cores + dependent
    )
    failed: List[str] = []
    lock = threading.Lock()

    def work(core: Optional[int]) -> None:
        while queue:
            name = queue.popleft()
            if not _run_one(name, step_count, core, lock):
                failed.append(name)

    cores = _cores(jobs)
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        futures = [pool.submit(work, core) for core in cores]
        try:
            for future in futures:
                future.result()
        except BaseException:
            # Mostly Ctrl-C. The trainings stop, and resume when the same command is started again.
            queue.clear()
            steps.stop()
            raise
    queue.extend(dependent)
    work(cores[0])
    queue.extend(on_all_cores)
    work(None)
    return failed


def _cores(jobs: Optional[int]) -> List[int]:
    """Numbers of the cores that get a training each."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = jobs or max(1, int(memory / BYTES_PER_TRAINING))
    return sorted(os.sched_getaffinity(0))[:limit]


def _run_one(name: str, step_count: int, core: Optional[int], lock: threading.Lock) -> bool:
    """Trains, exports and scores one choice, and reports its figures; whether it did not fail."""
    try:
        with lock:  # the TensorFlow graphs of two choices would mix
            config_path, row = write_config(name, step_count)
        row = train_choice(name, config_path, row, core)
        with lock:
            update_row(name, row)
    except steps.Stopped:
        return True
    except (UserError, KeyError, ValueError, OSError) as error:
        print(f"{time.strftime('%H:%M')} {name} failed: {error}", file=sys.stderr, flush=True)
        return False
    shown = ", ".join(f"{key} {row[key]:.4f}" for key in ("AP50", "AP75", "AP", "F1"))
    print(f"{time.strftime('%H:%M')} {name}: {shown}", flush=True)
    return True


def write_config(name: str, step_count: int) -> Tuple[pathlib.Path, Row]:
    """Writes the config of a choice.

    Returns:
      (its path, the part of the row that is known before training).
    """
    choice = CHOICES[name]
    built, network, coverage = ablation_choices.with_anchors(
        name,
        ablation_choices.config(name, base_config(), step_count, data_folder()),
        paths.labels_in(data_folder(), "train"),
    )
    path = FOLDER / f"{name}.config"
    files.write_text(
        path,
        f"# {name}: {choice.description}. Made by scripts/experiments/ablations.py.\n"
        f"{text_format.MessageToString(built)}",
    )
    recipe = ablation_choices.recipe_sha256(name, base_config(), step_count, data_folder())
    return path, collections.OrderedDict(
        [
            ("description", choice.description),
            ("steps", built.train_config.num_steps),
            ("batch", built.train_config.batch_size),
            ("seed", choice.seed),
            ("input_wh", list(network.image_wh)),
            ("feature_maps", len(network.grids_wh)),
            ("anchor_coverage", round(coverage, 4)),
            ("macs", network.multiply_adds),
            ("recipe_sha256", recipe),
            ("labels_sha256", labels_sha256()),
        ]
    )


def train_choice(name: str, config: pathlib.Path, row: Row, core: Optional[int]) -> Row:
    """Trains, exports and scores one choice on one core, or on all; returns its completed row.

    Raises:
      UserError: a step failed, or the weights that the choice uses are missing.
    """
    log = FOLDER / f"{name}.log"
    weights_of = CHOICES[name].weights_of
    run = FOLDER / (weights_of or name)
    if weights_of is None:
        row["cpu_seconds"] = _train(run, config, CHOICES[name], log, core)
    else:
        row["cpu_seconds"] = _training_seconds(name, weights_of, run)
    graphs = graph_folder(name).parent
    export = ["--run-dir", run, "--checkpoint", "newest", "--config", config]
    steps.run("export", export + ["--name", name, "--output", graphs], log, core)
    found = FOLDER / f"{name}_val.json"
    detect = ["--graph", graph_folder(name), "--labels", scored_labels(), "--output", found]
    steps.run("detect", detect, log, core)
    row.update(score(found))
    return row


def _train(
    run: pathlib.Path, config: pathlib.Path, choice: Choice, log: pathlib.Path, core: Optional[int]
) -> Optional[int]:
    """Trains to the end; returns CPU seconds, or None if part of the training was done before."""
    used = run / paths.CONFIG_FILE
    if used.is_file() and used.read_text(encoding="utf-8") != config.read_text(encoding="utf-8"):
        raise UserError(
            f"{paths.shown(run)}: was trained with another config than {paths.shown(config)}; "
            "expected the same. Train it again with --again."
        )
    resumed = (run / "checkpoint").is_file()
    options = ["--config", config, "--run-dir", run, "--seed", choice.seed]
    if choice.workers > 1:
        options += ["--workers", choice.workers]
    options += ["--save-seconds", CHECKPOINT_SECONDS, "--eval-seconds", EVALUATION_SECONDS]
    seconds = steps.run("train", options, log, core)
    return None if resumed else round(seconds)


def _training_seconds(name: str, weights_of: str, run: pathlib.Path) -> Optional[int]:
    """CPU seconds of the training whose weights a choice uses."""
    rows = read_rows()
    if weights_of not in rows or not (run / "checkpoint").is_file():
        raise UserError(
            f"{name} uses the weights of {weights_of}, which are missing; expected a run in "
            f"{paths.shown(run)}. Train both: --only {weights_of} {name} --again."
        )
    return rows[weights_of]["cpu_seconds"]


def score(found: pathlib.Path) -> Row:
    """The figures of the detections in a file.

    F1 and count MAE are at the threshold that is best for F1 on these same images, so they serve to
    compare choices and predict nothing.
    """
    truth = labels.read_labels(scored_labels())
    names = {image.filename for image in truth}
    detected = [image for image in detections.read_detections(found) if image.filename in names]
    matches = matching.match(truth, detected)
    (pool,) = metrics.pools(matches)  # one class
    by_iou = metrics.coco_average_precisions(pool)
    threshold = metrics.best_threshold(matches)
    if threshold is None:  # no true positive: keep nothing below the highest possible score
        threshold = 1.0
    best = metrics.figures(metrics.tally(matches, threshold))
    values = [
        ("AP50", metrics.average_precision(pool)),
        ("AP75", by_iou[metrics.AP75_INDEX]),
        ("AP", np.mean(by_iou)),
        ("F1", best["f1"]),
        ("count_mae", best["mean_absolute_count_error"]),
    ]
    return collections.OrderedDict((key, round(float(value), 5)) for key, value in values)


def time_graphs(names: List[str]) -> None:
    """Times frozen graphs on the scored images, which are decoded before.

    The rows get images/s, the size of the graph and the machine.

    Raises:
      UserError: a graph is missing. Speeds are comparable only if measured on one machine.
    """
    graphs = [graph_folder(name) / paths.GRAPH_FILE for name in names]
    missing = sorted(graph.parent.name for graph in graphs if not graph.is_file())
    if missing:
        raise UserError(
            f"{', '.join(missing)}: their graphs are not in {paths.shown(FOLDER / 'graphs')}; "
            "expected all, to measure speeds on one machine. Train them here with --again, or name "
            "those that are there with --only."
        )
    filenames = [image.filename for image in labels.read_labels(scored_labels())]
    located = layout.locate(paths.SHELF_IMAGES, filenames, "train")
    pixels = [images.load(path, images.MAX_SIDE).pixels for path in located]
    rates = measurement.images_per_second(graphs, pixels)
    for name, graph, rate in zip(names, graphs, rates):
        update_row(
            name,
            collections.OrderedDict(
                [
                    ("images_per_second", round(rate, 2)),
                    ("megabytes", round(graph.stat().st_size / 1e6, 2)),
                    ("timed_on", machine.described()),
                ]
            ),
        )
