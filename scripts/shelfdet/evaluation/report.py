"""The evaluation report (step 10): its files, and the checks that they belong together.

What the page shows is in report_data.py, and how the page is put together in report_page.py.
"""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths, text
from shelfdet.data import detections, labels, layout
from shelfdet.data.splitting.split_names import split_of_label_file
from shelfdet.evaluation import (
    dimensions,
    image_folders,
    matching,
    metrics,
    report_data,
    report_page,
    scored_graph,
)
from shelfdet.evaluation.matching import Matches


class Inputs(NamedTuple):
    """The files that a report is made of.

    metrics: step 09's figures; None takes the workspace's latest or those beside the graph,
      whichever are of the graph that made the detections.
    config: training config whose anchors are shown; None takes the one beside the graph.
    """

    detections: pathlib.Path
    labels: pathlib.Path
    images: pathlib.Path
    metrics: Optional[pathlib.Path] = None
    config: Optional[pathlib.Path] = None


class Report(NamedTuple):
    """A report.

    page: the HTML.
    graph: name of the graph's folder; None where the detections do not record it.
    shown, images: how many images are shown, and how many are scored.
    has_coverage: whether the page shows the anchor coverage, which needs a config.
    """

    page: str
    graph: Optional[str]
    shown: int
    images: int
    has_coverage: bool


def build(inputs: Inputs, max_images: int, max_bytes: float) -> Report:
    """Builds the report.

    Args:
      inputs: the files.
      max_images: how many images to show at most: those with the most errors.
      max_bytes: size of the page; images are made smaller until it fits.

    Raises:
      UserError: a file is missing or cannot be read, the figures are not of these detections and
        labels, or the page is too large with the smallest images.
    """
    if not inputs.detections.is_file():
        raise UserError(
            f"{inputs.detections}: no such file; expected detections. Run `make eval` first."
        )
    info = detections.read_info(inputs.detections)
    metrics_path = inputs.metrics or find_metrics(info)
    scored = read_metrics(metrics_path)
    truth = labels.read_labels(inputs.labels)
    matches = matching.match(truth, detections.read_detections(inputs.detections))
    _check_same_files(scored, info, metrics_path, inputs)
    _check_same_counts(scored, matches, metrics_path, inputs)

    config = find_config(inputs.config, info, inputs.detections)
    shown = most_errors(matches, scored["threshold"], max_images)
    folders = image_folders.of_labels(inputs.labels, [match.filename for match in matches])
    groups = dimensions.of_images(matches, folders)
    data = report_data.page_data(matches, shown, scored, info, inputs.labels, groups)
    data["coverage"] = None if config is None else report_data.anchor_coverage(config, truth)
    split = split_of_label_file(inputs.labels)
    located = layout.locate(inputs.images, [match.filename for match in matches], split)
    page = report_page.render(
        data,
        {index: located[index] for index in shown},
        info.get("exif", "ignore"),
        max_bytes,
    )
    return Report(page, scored_graph.graph_name(info), len(shown), len(matches), config is not None)


# ---- files -------------------------------------------------------------------------------------


def find_metrics(info: scored_graph.Info) -> pathlib.Path:
    """The metrics.json that is of the graph that made the detections.

    Returns:
      The workspace's latest, or the one beside the graph; the workspace's where neither is.
    """
    candidates = [paths.METRICS]
    folder = scored_graph.graph_folder(info)
    if folder is not None:
        candidates.append(folder / paths.METRICS.name)
    for path in candidates:
        try:
            scored = json.loads(path.read_text(encoding="utf-8"))
            if scored["graph_sha256"] == info.get("graph_sha256"):
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue  # read_metrics reports what is wrong with the file that is used
    return paths.METRICS


def read_metrics(path: pathlib.Path) -> Dict[str, Any]:
    """Reads metrics.json as step 09 writes it.

    Raises:
      UserError: it is missing, cannot be read, or has no threshold.
    """
    try:
        scored = json.loads(path.read_text(encoding="utf-8"))
        if scored["threshold"] is None:
            raise UserError(
                f"{path}: has no threshold ({scored.get('threshold_from')}). Run step 09 with "
                "validation detections, or with --threshold."
            )
        for key in ("threshold", *(column.key for column in report_data.HEADLINE)):
            _check_figure(scored.get(key), key, path)
        return scored
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected step 09's figures. Run `make eval`, or name it with "
            "--metrics."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as step 09's figures ({type(error).__name__}: {error}). "
            "Run step 09 again."
        ) from error


def _check_figure(value: Any, key: str, path: pathlib.Path) -> None:
    if value is not None and (isinstance(value, str) or text.parse_number(value) is None):
        raise UserError(
            f"{path}: {key} is {text.shown(value)}; expected a finite number, as step 09 writes "
            "it. Run step 09 again."
        )


def find_config(
    config: Optional[pathlib.Path], info: scored_graph.Info, detected: pathlib.Path
) -> Optional[pathlib.Path]:
    """The training config whose anchors are shown; None where there is none.

    Args:
      config: as the user names it, or None for the one beside the graph.
      info: of the detections.
      detected: the file of detections, for the message.

    Raises:
      UserError: ``config`` is of another network than the graph that made the detections.
    """
    beside = None
    folder = scored_graph.graph_folder(info)
    if folder is not None and (folder / paths.CONFIG_FILE).is_file():
        beside = folder / paths.CONFIG_FILE
    if config is None or beside is None:
        return config or beside
    if pipeline.read(config).model != pipeline.read(beside).model:
        raise UserError(
            f"{config}: its `model` is not that of {beside}, whose detections are in {detected}; "
            "expected the same. Run `make eval` with the same GRAPH, CONFIG or RUN_DIR first."
        )
    return config


def _check_same_files(
    scored: Dict[str, Any], info: scored_graph.Info, metrics_path: pathlib.Path, inputs: Inputs
) -> None:
    """Refuses figures of another graph or of other labels than the boxes on the page."""
    datasets = scored.get("by_dataset", {})
    if len(datasets) > 1:
        raise UserError(
            f"{metrics_path}: holds figures of {len(datasets)} datasets together "
            f"({text.listed(datasets)}); expected those of one. Run `make eval` with the NAME of "
            "one of them, then `make report` with the same."
        )
    found_graph = info.get("graph_sha256")
    found_labels = files.sha256(inputs.labels)
    for what, path, found, expected in (
        ("graph", inputs.detections, found_graph, scored.get("graph_sha256")),
        ("label file", inputs.labels, found_labels, scored.get("labels_sha256")),
    ):
        if found and expected and found != expected:
            raise UserError(
                f"{metrics_path}: was made with another {what} (sha256 {expected[:12]}...) than "
                f"{path} (sha256 {found[:12]}...). Run steps 08 and 09 again."
            )


def _check_same_counts(
    scored: Dict[str, Any],
    matches: Sequence[Matches],
    metrics_path: pathlib.Path,
    inputs: Inputs,
) -> None:
    # Detections can change without their graph, for instance with another --max-side.
    for key, path, found in (
        ("images", inputs.detections, len(matches)),
        ("boxes", inputs.labels, sum(len(match.truth_xyxy) for match in matches)),
        ("detections", inputs.detections, sum(len(match.scores) for match in matches)),
    ):
        if scored.get(key, found) != found:
            raise UserError(
                f"{metrics_path}: is of {scored[key]} {key}, {path} holds {found}. "
                "Run step 09 again."
            )
    # As many boxes as before may be at other places.
    for key, found in metrics.totals(matches, scored["threshold"]).items():
        if scored.get(key, found) != found:
            raise UserError(
                f"{metrics_path}: has {scored[key]} {key} at the score {scored['threshold']:g}, "
                f"{inputs.detections} has {found}. Run step 09 again."
            )


def most_errors(matches: Sequence[Matches], threshold: float, most: int) -> List[int]:
    """Places in the list of the ``most`` images with the most errors at ``threshold``, rising."""
    tallied = metrics.tally(matches, threshold)
    false_negatives = tallied.ground_truths - tallied.true_positives
    false_positives = tallied.detections - tallied.true_positives
    errors = false_negatives + false_positives
    by_errors = sorted(range(len(matches)), key=lambda index: -errors[index])
    return sorted(by_errors[:most])
