"""Trains and scores a detector on more and more labelled images, with and without a start."""

import json
import pathlib
import random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from google.protobuf import text_format

from experiments import reproduction, steps
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths
from shelfdet.core.text import counted
from shelfdet.data import labels, trained_on
from shelfdet.inference import graph_files

Row = Dict[str, Any]

ROWS_FILE = "rows.json"
WITHOUT_START = "-"  # the weights that the config names, or random ones
# No evaluation during training: it costs time and nothing is chosen by it.
EVALUATION_SECONDS = 10**6


class Setting(NamedTuple):
    """What all trainings of a learning curve have in common.

    dataset: its name in the workspace.
    config: of all trainings; its number of steps is theirs.
    start: a graph's folder.
    product_scale: as an option of step 04; None for whole images.
    product_aspect_ratio: as an option of step 04, with product_scale; None for square grids.
    tiles: as an option of step 08.
    seed: of the choice of images and of the trainings.
    """

    dataset: str
    config: pathlib.Path
    start: pathlib.Path
    product_scale: Optional[str]
    product_aspect_ratio: Optional[str]
    tiles: str
    seed: int


def read_rows(folder: pathlib.Path) -> List[Row]:
    """The rows of a learning curve, by number of images; those without a start come first."""
    path = folder / ROWS_FILE
    rows = files.read_json(path) if path.is_file() else []
    return sorted(rows, key=lambda row: (row["images"], row["start"] != WITHOUT_START))


def train_all(folder: pathlib.Path, setting: Setting, numbers: Sequence[int]) -> None:
    """Trains and scores with each number of images, twice; adds each result to the rows.

    Raises:
      UserError: the dataset has too few training images; the rows that are there are of another
        setting; the graph to start with was trained on images to score on; a step failed.
    """
    all_labels = {split: paths.labels(split, setting.dataset) for split in paths.SPLITS}
    for path in all_labels.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected the labels of `make data`.")
    images = labels.read_labels(all_labels["train"])
    if max(numbers) > len(images):
        raise UserError(
            f"{paths.shown(all_labels['train'])}: {counted(len(images), 'training image')}; "
            f"expected the {max(numbers)} of --images. Name smaller numbers."
        )
    _check_start(setting, all_labels)
    _check_setting(folder, setting)
    order = sorted(images, key=lambda image: image.filename)
    random.Random(setting.seed).shuffle(order)
    for number in sorted(numbers):
        for start in (None, setting.start):
            name = f"{number}_{start.name if start else 'no_start'}"
            rows = read_rows(folder)
            shown = start.name if start else WITHOUT_START
            if any((row["images"], row["start"]) == (number, shown) for row in rows):
                continue
            chosen = sorted(order[:number], key=lambda image: image.filename)
            row = _train(folder / name, setting, chosen, start, all_labels)
            row["start"] = shown
            files.write_text(folder / ROWS_FILE, json.dumps(rows + [row], indent=1) + "\n")


def _check_start(setting: Setting, all_labels: Dict[str, pathlib.Path]) -> None:
    """Refuses a start whose weights have seen images of the dataset."""
    noted = setting.start / paths.TRAINED_ON_FILE
    if not noted.is_file():
        raise UserError(
            f"--start {paths.shown(setting.start)}: has no {noted.name}; expected the folder of a "
            "graph as step 07 writes it, which lists the images that its weights were trained on."
        )
    graph = setting.start / paths.GRAPH_FILE
    for split, path in all_labels.items():
        uses = graph_files.seen_in_training(graph, trained_on.of_labels(path))
        seen = sorted({name for of_use in uses.values() for name in of_use})
        if seen:
            raise UserError(
                f"--start {paths.shown(setting.start)}: was trained or validated on "
                f"{counted(len(seen), 'image')} of the {split} labels, {seen[0]} for one; expected "
                "a graph that has seen none, since a learning curve asks what new images add."
            )


def _check_setting(folder: pathlib.Path, setting: Setting) -> None:
    """Stores the setting; refuses rows of another one, which could not be compared."""
    path = folder / "setting.json"
    found = {
        "config_sha256": files.sha256(setting.config),
        "start": setting.start.name,
        "product_scale": setting.product_scale,
        "product_aspect_ratio": setting.product_aspect_ratio,
        "tiles": setting.tiles,
        "seed": setting.seed,
        "labels_sha256": {
            split: files.sha256(paths.labels(split, setting.dataset)) for split in paths.SPLITS
        },
    }
    if not path.is_file():
        files.write_text(path, json.dumps(found, indent=1) + "\n")
        return
    stored = files.read_json(path)
    changed = sorted(key for key in found if found[key] != stored.get(key))
    if changed:
        raise UserError(
            f"{paths.shown(path)}: the rows there are of another {', '.join(changed)}; expected "
            "the same for all rows of one curve. Give the former options, or move the folder away."
        )


def _train(
    folder: pathlib.Path,
    setting: Setting,
    images: Sequence[labels.LabelledImage],
    start: Optional[pathlib.Path],
    all_labels: Dict[str, pathlib.Path],
) -> Row:
    """Makes the records of some images, trains, exports, detects and scores; returns the row."""
    data = folder / "data"
    label_files = {split: paths.labels_in(data, split) for split in paths.SPLITS}
    labels.write_labels(images, label_files["train"])
    for split in ("val", "test"):
        files.write_text(label_files[split], all_labels[split].read_text(encoding="utf-8"))
    of_dataset = ["--images", paths.dataset_images(setting.dataset)]
    tiles = ["--product-scale", setting.product_scale] if setting.product_scale else []
    if setting.product_aspect_ratio:
        tiles += ["--product-aspect-ratio", setting.product_aspect_ratio]
    label_map = paths.dataset_label_map(paths.dataset_annotations(setting.dataset))
    records = ["--annotations", data, "--label-map", label_map, "--splits", "train", "val"]
    steps.run("records", records + of_dataset + tiles)
    config = folder / "training.config"
    built = pipeline.with_changes(pipeline.read(setting.config), pipeline.record_changes(data))
    files.write_text(config, text_format.MessageToString(built))
    run = folder / "run"
    train = ["--config", config, "--run-dir", run, "--seed", setting.seed]
    # One process, whatever the number of steps: all rows are trained alike.
    train += ["--eval-seconds", EVALUATION_SECONDS, "--workers", 1]
    steps.run("train", train + (["--start-from", start] if start else []))
    graph = folder / "graph"
    export = ["--run-dir", run, "--checkpoint", "newest", "--name", graph.name]
    steps.run("export", export + ["--output", folder])
    found = {split: folder / f"{split}_detections.json" for split in ("val", "test")}
    for split, path in found.items():
        detect = ["--graph", graph, "--labels", label_files[split], "--output", path]
        steps.run("detect", detect + of_dataset + ["--tiles", setting.tiles])
    metrics = folder / paths.METRICS.name
    score = ["--graph-dir", graph, "--detections", found["test"], "--val-detections", found["val"]]
    score += reproduction.ground_truth_options(reproduction.Data(label_files, config))
    counts = folder / paths.IMAGE_TO_PRODUCTS.name
    steps.run("score", score + ["--output", metrics, "--counts-output", counts])
    figures = files.read_json(metrics)
    return {
        "images": len(images),
        "products": sum(len(image.boxes_xyxy) for image in images),
        "AP50": figures["mAP"],
        "AP75": figures["AP75"],
        "AP": figures["AP"],
        "count_mae": figures["mean_absolute_count_error"],
        "relative_count_error": (
            figures["mean_absolute_count_error"] * figures["images"] / figures["boxes"]
        ),
    }
