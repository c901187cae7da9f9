"""The evaluation report (step 10): what its page shows, from detections, labels, figures and
images.

The match of each detection is matching.py's; the page only filters by score. How the page is put
together is in report_page.py.
"""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage
from shelfdet.config import network, pipeline
from shelfdet.core import boxes, drawing, files, paths
from shelfdet.data import detections, images, labels, splits
from shelfdet.data.labels import LabelledImage
from shelfdet.evaluation import matching, metrics, report_page, score
from shelfdet.evaluation.matching import Matches

Table = Dict[str, Any]  # title, columns, rows and note, all text


class Column(NamedTuple):
    """A figure of metrics.json as the page shows it."""

    key: str
    name: str
    digits: int
    note: str = ""


HEADLINE = (
    Column("mAP", "AP50", 3, "area under the precision-recall curve at IoU 0.5"),
    Column("AP75", "AP75", 3, "the same at IoU 0.75: only boxes that fit tightly count"),
    Column("AP", "COCO AP", 3, "mean over IoU 0.50 to 0.95"),
    Column("precision", "precision", 3, "share of the detections that are correct"),
    Column("recall", "recall", 3, "share of the products that are found"),
    Column(
        "mean_absolute_count_error",
        "count MAE",
        2,
        "mean absolute error of an image's product count",
    ),
)
COLUMNS = (
    Column("images", "images", 0),
    Column("boxes", "products", 0),
    Column("mAP", "AP50", 3),
    Column("AP75", "AP75", 3),
    Column("precision", "precision", 3),
    Column("recall", "recall", 3),
    Column("mean_absolute_count_error", "count MAE", 2),
)
# (key of metrics.json, title of the table, header of its first column)
BREAKDOWNS = (
    ("by_camera", "By camera", "camera"),
    ("by_planogram", "By planogram", "planogram"),
    ("by_box_size", "By product size", "root of its area"),
)
ERRORS_NOTE = (
    "Number at the chosen score threshold. The cost is what AP50 would gain if errors of that kind "
    "alone were corrected. Missed: no detection. Background: a detection where no product is "
    "labelled. Localization: a poorly localised detection, IoU 0.1 to 0.5 with a product. "
    "Duplicate: a second detection of a product."
)
COVERAGE_IOUS = [step / 100.0 for step in range(30, 95, 5)]
NO_VALUE = "\u2013"  # en dash


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
    data = page_data(matches, shown, scored, info, inputs.labels)
    data["coverage"] = None if config is None else anchor_coverage(config, truth)
    split = "test" if inputs.labels.stem.startswith("test") else "train"
    located = images.locate(inputs.images, [match.filename for match in matches], split)
    page = report_page.render(
        data,
        {index: located[index] for index in shown},
        info.get("exif", "ignore"),
        max_bytes,
    )
    return Report(page, score.graph_name(info), len(shown), len(matches), config is not None)


# ---- files -------------------------------------------------------------------------------------


def find_metrics(info: score.Info) -> pathlib.Path:
    """The metrics.json that is of the graph that made the detections.

    Returns:
      The workspace's latest, or the one beside the graph; the workspace's where neither is.
    """
    candidates = [paths.METRICS]
    folder = score.graph_folder(info)
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
        scored["threshold"] = float(scored["threshold"])
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


def find_config(
    config: Optional[pathlib.Path], info: score.Info, detected: pathlib.Path
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
    folder = score.graph_folder(info)
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
    scored: Dict[str, Any], info: score.Info, metrics_path: pathlib.Path, inputs: Inputs
) -> None:
    """Refuses figures of another graph or of other labels than the boxes on the page."""
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


# ---- what the page shows -----------------------------------------------------------------------


def most_errors(matches: Sequence[Matches], threshold: float, most: int) -> List[int]:
    """Places in the list of the ``most`` images with the most errors at ``threshold``, rising."""
    tallied = metrics.tally(matches, threshold)
    false_negatives = tallied.ground_truths - tallied.true_positives
    false_positives = tallied.detections - tallied.true_positives
    errors = false_negatives + false_positives
    by_errors = sorted(range(len(matches)), key=lambda index: -errors[index])
    return sorted(by_errors[:most])


def page_data(
    matches: Sequence[Matches],
    shown: Sequence[int],
    scored: Dict[str, Any],
    info: score.Info,
    label_file: pathlib.Path,
) -> Dict[str, Any]:
    """All that the page shows but the images' pixels and the anchor coverage, a dict for JSON.

    Args:
      matches: of all images.
      shown: places in ``matches`` of the images whose pixels the page holds.
      scored: the content of metrics.json.
      info: of the detections.
      label_file: for its name.
    """
    image_data = [
        _image_data(index, match, embedded=index in shown) for index, match in enumerate(matches)
    ]
    scores = [value for match in matches for value in match.scores]
    products = sum(len(match.truth_xyxy) for match in matches)
    name = score.graph_name(info) or "detector"
    styles = {
        "tp": drawing.TRUE_POSITIVE,
        "fn": drawing.FALSE_NEGATIVE,
        "fp": drawing.FALSE_POSITIVE,
    }
    return {
        "title": f"Evaluation of {name}",
        "about": f"{len(matches)} images with {products:,} labelled products ({label_file.name})",
        "threshold": scored["threshold"],
        "thresholdOrigin": (
            "given" if scored.get("threshold_from") == "given" else "chosen on validation images"
        ),
        "range": [min(scores + [0.0]), max(scores + [1.0])],
        "kinds": list(matching.KINDS),
        "cameras": sorted({image["camera"] for image in image_data}),
        "images": image_data,
        "styles": {key: style._asdict() for key, style in styles.items()},
        "headline": headline(scored),
        "tables": tables(scored),
        "provenance": provenance(scored, info, label_file),
    }


def _image_data(index: int, match: Matches, embedded: bool) -> Dict[str, Any]:
    """One image; its boxes only if its pixels are embedded. Scores are not rounded: the page
    compares them."""
    scene = splits.scene(match.filename)
    data = {
        "index": index,
        "name": match.filename,
        "embedded": embedded,
        "camera": scene[0] if scene else "other",
        "width": match.size_wh[0],
        "height": match.size_wh[1],
        "truths": len(match.truth_xyxy),
        "scores": match.scores.tolist(),
        "kinds": match.kinds.tolist(),
    }
    if embedded:
        data["boxes"] = np.round(match.boxes_xyxy, 1).tolist()
        data["ious"] = np.round(match.iou, 3).tolist()
        data["truthBoxes"] = np.round(match.truth_xyxy, 1).tolist()
        data["truthScores"] = _truth_scores(match)
    return data


def _truth_scores(match: Matches) -> List[Optional[float]]:
    """The score of the true positive of each ground-truth box; None where there is none."""
    scores: List[Optional[float]] = [None] * len(match.truth_xyxy)
    for place in np.flatnonzero(match.kinds == matching.TRUE_POSITIVE):
        scores[match.truth_index[place]] = float(match.scores[place])
    return scores


def headline(scored: Dict[str, Any]) -> List[Dict[str, str]]:
    """The figures at the top of the page with their intervals and meaning."""
    intervals = scored.get("intervals_95") or {}
    cards = []
    for column in HEADLINE:
        low, high = intervals.get(column.key) or (None, None)
        interval = "no interval"
        if low is not None:
            low_text = _number(low, column.digits)
            interval = f"{low_text} to {_number(high, column.digits)}"
        cards.append(
            {
                "name": column.name,
                "value": _number(scored.get(column.key), column.digits),
                "interval": interval,
                "note": column.note,
            }
        )
    return cards


def tables(scored: Dict[str, Any]) -> List[Table]:
    """The breakdowns of metrics.json; those that it does not hold are left out."""
    result = []
    for key, title, first in BREAKDOWNS:
        groups = scored.get(key)
        if not groups:
            continue
        columns = [
            column for column in COLUMNS if any(column.key in row for row in groups.values())
        ]
        rows = [
            [name] + [_number(row.get(column.key), column.digits) for column in columns]
            for name, row in groups.items()
        ]
        header = [first] + [column.name for column in columns]
        result.append({"title": title, "columns": header, "rows": rows, "note": ""})
    errors = scored.get("errors")
    if errors:
        rows = [
            [kind, _number(row["number"], 0), _number(row["mAP_cost"], 4)]
            for kind, row in errors.items()
        ]
        result.append(
            {
                "title": "Errors by kind",
                "columns": ["kind", "number", "cost in AP50"],
                "rows": rows,
                "note": ERRORS_NOTE,
            }
        )
    return result


def provenance(
    scored: Dict[str, Any], info: score.Info, label_file: pathlib.Path
) -> List[Tuple[str, str]]:
    """How the figures were obtained: pairs of name and value."""
    resamples = (scored.get("bootstrap") or {}).get("resamples", "no")
    seen = scored.get("seen_in_training")
    seen_text = f"{seen} of these images: the figures are not those of new images" if seen else None
    duplicate_labels = scored.get("duplicate_labels")
    if duplicate_labels:
        duplicate_labels = f"{duplicate_labels}; they count as false negatives"
    rows = [
        ("graph", info.get("graph")),
        ("images", _image_set(scored, label_file)),
        ("used in training", seen_text),
        ("network input", _network_input(info)),
        ("EXIF orientation", "applied" if info.get("exif") == "apply" else "ignored: raw pixels"),
        (
            "score threshold",
            f"{scored['threshold']:.4f}: {scored.get('threshold_from', 'as in metrics.json')}",
        ),
        (
            "true positive",
            "the detection with the highest score on a product; its IoU with the product that it "
            "overlaps most is at least 0.5 (PascalDetectionEvaluator's rule)",
        ),
        ("duplicate labels", duplicate_labels),
        ("intervals", f"95 %, bootstrap over images, {resamples} resamples"),
        ("sha256 of the graph", scored.get("graph_sha256")),
        ("sha256 of its config", scored.get("config_sha256")),
        ("sha256 of the labels", scored.get("labels_sha256")),
    ]
    return [(name, value) for name, value in rows if value]


def _image_set(scored: Dict[str, Any], label_file: pathlib.Path) -> str:
    sides = sorted(set(scored.get("shorter_side_px") or []))
    if not sides:
        return label_file.name
    return f"{label_file.name}, shorter side {' to '.join(map(str, sides))} px"


def _network_input(info: score.Info) -> str:
    parts = ["images at full size"]
    if info.get("max_side"):
        parts = [f"images of at most {info['max_side']} px a side"]
    if info.get("pad_strips"):
        parts.append("strips with margins")
    if info.get("tiles"):
        parts.append(f"also in {info['tiles']} x {info['tiles']} tiles")
    return ", ".join(parts)


def _number(value: Optional[float], digits: int) -> str:
    return NO_VALUE if value is None else f"{value:,.{digits}f}"


def anchor_coverage(config_path: pathlib.Path, truth: Sequence[LabelledImage]) -> Optional[Dict]:
    """Anchor coverage: the share of products that some anchor of a config overlaps, by IoU.

    Returns:
      dict of "iou" (COVERAGE_IOUS), "share" (of each) and "note"; None without products.
    """
    config = pipeline.read(config_path)
    generated = network.generate_anchors(config)
    boxes_by_image = anchors.resized(truth, pipeline.input_size(config))
    best = [
        boxes.iou(boxes_xyxy, generated.anchors_xyxy).max(axis=1)
        for boxes_xyxy in boxes_by_image
        if len(boxes_xyxy)
    ]
    if not best:
        return None
    share = coverage.shares(np.concatenate(best), COVERAGE_IOUS)
    per_cell = sorted(set(generated.per_cell))
    plural = "" if per_cell == [1] else "s"
    at_half = share[COVERAGE_IOUS.index(0.5)]
    note = (
        f"{len(generated.per_cell)} feature maps, {'/'.join(map(str, per_cell))} anchor{plural} a "
        f"cell, {len(generated.anchors_xyxy):,} anchors in all. At IoU 0.5 the anchors cover "
        f"{at_half:.1%} of these products."
    )
    return {"iou": COVERAGE_IOUS, "share": share, "note": note}
