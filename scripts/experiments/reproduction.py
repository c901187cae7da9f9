"""What `make reproduce` trains on, scores on, and compares with the included graph's figures."""

import math
import pathlib
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np
import scipy.stats
from google.protobuf import text_format

from experiments import steps
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths
from shelfdet.core.text import counted
from shelfdet.data import labels, trained_on

Figures = Dict[str, Any]  # what step 09 writes to metrics.json

GRAPH_NAME = "graph"  # of the folder in a run's folder

# (key of metrics.json, how it is printed)
COMPARED = (
    ("mAP", "AP at IoU 0.5"),
    ("AP75", "COCO AP at IoU 0.75"),
    ("AP", "COCO AP"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("mean_absolute_count_error", "count MAE"),
)


class Data(NamedTuple):
    """What a run is trained and scored on: label files by split, config with the records' paths."""

    label_files: Dict[str, pathlib.Path]
    config: pathlib.Path


def shipped_figures() -> Figures:
    """The figures of the included graph, from the metrics.json beside it.

    Raises:
      UserError: the file is of another graph.
    """
    path = paths.SHIPPED_GRAPH / paths.METRICS.name
    graph = paths.SHIPPED_GRAPH / paths.GRAPH_FILE
    figures = files.read_json(path)
    if figures["graph_sha256"] != files.sha256(graph):
        raise UserError(
            f"{path}: was made with another graph than {paths.shown(graph)}; expected the figures "
            "of the graph beside it. Restore both files from the repository, and export your own "
            "graphs under another name."
        )
    return figures


def official_data(config: pathlib.Path, expected: Figures) -> Data:
    """The workspace's own data.

    Args:
      config: the training config.
      expected: the included graph's figures.

    Raises:
      UserError: the images are not those that the included graph was trained and scored on.
    """
    label_files = {split: paths.labels(split) for split in paths.SPLITS}
    for path in label_files.values():
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; expected the data to train and test on. Run `make data`."
            )
    names = {
        split: sorted(image.filename for image in labels.read_labels(path))
        for split, path in label_files.items()
    }
    used = trained_on.read(paths.SHIPPED_GRAPH / paths.TRAINED_ON_FILE)
    for split in ("train", "val"):
        if names[split] != sorted(used[split]):
            raise _other_images(label_files[split], split, len(names[split]), len(used[split]))
    # The names of the test images are not stored beside the graph, so their number is compared.
    # The label file's hash, compared below, shows other differences.
    if len(names["test"]) != expected["images"]:
        raise _other_images(label_files["test"], "test", len(names["test"]), expected["images"])
    if files.sha256(label_files["test"]) != expected["labels_sha256"]:
        print(
            f"{paths.shown(label_files['test'])}: not the same sizes or boxes as those that the "
            "included graph's figures were measured on, which were copies with a shorter side of "
            f"{expected['shorter_side_px'][0]} px. The first table below compares across that "
            "difference; the second, paired one does not."
        )
    return Data(label_files, config)


def _other_images(path: pathlib.Path, split: str, found: int, expected: int) -> UserError:
    return UserError(
        f"{path}: {counted(found, 'image')}, not the {expected} that the included graph had for "
        f"{split}; expected the same. Run `make data` without SEED and VAL_SHARE, or name a fold "
        "with --fold."
    )


def fold_data(run: pathlib.Path, fold: int, config: pathlib.Path) -> Data:
    """Makes the labels, records and config of a fold of the grouped split, in the run's folder."""
    data = run / "data"
    steps.run("split", ["--split", "grouped", "--fold", fold, "--out", data])
    steps.run("records", ["--annotations", data, "--splits", "train", "val"])
    changes = pipeline.record_changes(data)
    fold_config = run / "fold.config"
    built = pipeline.with_changes(pipeline.read(config), changes)
    files.write_text(fold_config, text_format.MessageToString(built))
    label_files = {split: paths.labels_in(data, split) for split in paths.SPLITS}
    return Data(label_files, fold_config)


def check_options(data: Data) -> List[Any]:
    """The options with which step 05 checks a config against its data."""
    options: List[Any] = ["--config", data.config]
    for split, path in data.label_files.items():
        options += [f"--{split}-labels", path]
    return options


def ground_truth_options(data: Data) -> List[Any]:
    """The options that name the ground truth to step 09."""
    return [
        "--ground-truth",
        data.label_files["test"],
        "--ground-truth-format",
        "csv",
        "--val-ground-truth",
        data.label_files["val"],
    ]


def detect(
    graph: pathlib.Path, data: Data, folder: pathlib.Path, prefix: str = ""
) -> Dict[str, pathlib.Path]:
    """Detects in the validation and test images; returns the file of detections by split."""
    found = {split: folder / f"{prefix}{split}_detections.json" for split in ("val", "test")}
    for split, path in found.items():
        options = ["--graph", graph, "--labels", data.label_files[split], "--output", path]
        steps.run("detect", options)
    return found


def comparison(expected: Figures, found: Figures) -> str:
    """The figures of the included graph and of a run with its own intervals, as lines of text."""
    lines = [f"{'':24}{'included':>14}{'this run':>10}   its 95 % interval"]
    for key, name in COMPARED:
        low, high = found["intervals_95"][key]
        lines.append(f"{name:24}{expected[key]:14.4f}{found[key]:10.4f}   {low:.4f} to {high:.4f}")
    lines.append(
        f"{expected['images']} and {found['images']} images, {expected['boxes']} and "
        f"{found['boxes']} boxes, score thresholds {expected['threshold']:.4f} and "
        f"{found['threshold']:.4f}"
    )
    return "\n".join(lines)


def same_recipe_figures(runs: Sequence[pathlib.Path], config: pathlib.Path) -> List[Figures]:
    """The figures of those runs of folds that were trained with ``config``'s recipe.

    Args:
      runs: the runs' folders. One without figures of the graph in it is left out.
      config: the training config whose ``model`` and ``train_config`` a graph must share.
    """
    recipe = pipeline.read(config)
    found = []
    for run in runs:
        metrics, graph_config = run / paths.METRICS.name, run / GRAPH_NAME / paths.CONFIG_FILE
        if not metrics.is_file() or not graph_config.is_file():
            continue
        figures, own = files.read_json(metrics), pipeline.read(graph_config)
        of_graph = figures["config_sha256"] == files.sha256(graph_config)
        if of_graph and own.model == recipe.model and own.train_config == recipe.train_config:
            found.append(figures)
    return found


def mean_of_folds(found: Sequence[Figures]) -> str:
    """The mean of each figure over folds, as lines of text.

    The interval is Student's t of the folds' values, cut at the figure's bounds: planograms, images
    and trainings all differ between folds. It is approximate, because folds share training images.

    Args:
      found: the figures of two or more folds.
    """
    lines = [
        f"{f'mean of {len(found)} folds':24}{'mean':>10}{'lowest':>10}{'highest':>10}"
        "   95 % interval of the mean (approximate)"
    ]
    for key, name in COMPARED:
        values = np.array([figures[key] for figures in found])
        mean = values.mean()
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
        largest = math.inf if key == "mean_absolute_count_error" else 1.0
        lines.append(
            f"{name:24}{mean:10.4f}{values.min():10.4f}{values.max():10.4f}"
            f"   {max(mean - half, 0.0):.4f} to {min(mean + half, largest):.4f}"
        )
    return "\n".join(lines)
