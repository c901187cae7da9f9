"""How detections were made: the "info" of a file of step 08, and what tells the same of step 12."""

import pathlib
from typing import Optional

from shelfdet.core import files, paths
from shelfdet.core.text import Problems
from shelfdet.data import detections, formats, labels, trained_on
from shelfdet.data.formats import spark_tables
from shelfdet.data.formats.image_boxes import ImageBoxes
from shelfdet.evaluation.matched_files import warn
from shelfdet.evaluation.scored_graph import Info
from shelfdet.inference import graph_files, predict

VERSION = "detection_version"


def read(path: pathlib.Path, format: str, graph_dir: Optional[pathlib.Path] = None) -> Info:
    """The "info" of detections; empty where their format has none.

    Args:
      path, format: of the detections.
      graph_dir: where the graph of step 12's tables may be, beside the workspace's own graphs.
    """
    if format == "coco":
        return detections.read_info(path)
    if format == "parquet":
        return _of_tables(path, graph_dir)
    return {}


def with_seen(
    info: Info, path: pathlib.Path, format: str, label_file: pathlib.Path, labels_format: str
) -> Info:
    """The same with the images that training has seen, which step 08 notes and step 12 cannot.

    Args:
      info, path, format: of the detections.
      label_file, labels_format: of the images that are scored.
    """
    if format != "parquet":
        return info
    if not info["graph"]:
        warn(
            f"{path}: no graph in {paths.shown(paths.GRAPHS)} has the sha256 "
            f"{info['graph_sha256']}, with which it was made, so that nothing is known of the "
            "images of its training. Name the folder of that graph with --graph-dir."
        )
        return info
    dataset = paths.dataset_of(label_file.parent)
    images = {
        trained_on.named(image.filename, dataset): _digest(image)
        for image in formats.stream(label_file, labels_format, Problems(label_file))
    }
    seen = graph_files.seen_in_training(paths.ROOT / info["graph"], images)
    return {**info, "seen_in_training": seen}


def _digest(image: ImageBoxes) -> str:
    """As trained_on.json has it; "" of an image whose size or pixels of boxes are not stated."""
    if image.size_wh is None or image.in_shares:
        return ""
    # Each once, as labels.read_labels has them
    rows = dict.fromkeys((row.label, tuple(row.box_xyxy)) for row in image.rows)
    return trained_on.digest(labels.labelled(image.filename, image.size_wh, list(rows)))


def _of_tables(folder: pathlib.Path, graph_dir: Optional[pathlib.Path]) -> Info:
    """What step 08 would note, had it detected with the graph and the options of step 12.

    Step 12 notes no paths, so the graph is found by its SHA-256.
    """
    run = spark_tables.read_run(folder)
    settings = predict.Settings(**{key: run[key] for key in predict.Settings._fields if key in run})
    graph = _graph_of(run["graph_sha256"], graph_dir)
    if graph is not None:
        info = predict.describe(graph, None, settings)
    else:
        described = predict.describe_settings(settings)
        info = {"graph": None, "graph_sha256": run["graph_sha256"], **described}
    if VERSION in info:  # of the tables, not of this program
        info[VERSION] = run.get(VERSION, 1)
    return info


def _graph_of(sha256: str, graph_dir: Optional[pathlib.Path]) -> Optional[pathlib.Path]:
    folders = sorted(paths.GRAPHS.iterdir()) if paths.GRAPHS.is_dir() else []
    for folder in ([graph_dir] if graph_dir else []) + folders:
        graph = folder / paths.GRAPH_FILE
        if graph.is_file() and files.sha256(graph) == sha256:
            return graph
    return None
