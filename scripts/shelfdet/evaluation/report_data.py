"""What the page of the evaluation report shows: a dict for JSON, with all text ready to print."""

import pathlib
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from shelfdet.anchors import anchors, coverage
from shelfdet.config import network, pipeline
from shelfdet.core import boxes, drawing
from shelfdet.core.text import counted, plural
from shelfdet.data.labels import LabelledImage
from shelfdet.evaluation import (
    advice,
    confusion,
    dimensions,
    matching,
    report_classes,
    scored_graph,
)
from shelfdet.evaluation.matching import Matches
from shelfdet.evaluation.report_table import Column, Table, number
from shelfdet.inference import AUTO_TILES

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
    ("by_folder", "By folder", "folder"),
    ("by_camera", "By camera", "camera"),
    ("by_planogram", "By planogram", "planogram"),
    ("by_image_size", "By image size", "image size"),
    ("by_box_size", "By product size", "root of its area"),
    ("by_box_shape", "By product shape", "width / height"),
)
DIMENSION_NAMES = {key: name for key, _, name in BREAKDOWNS}
ERRORS_NOTE = (
    "Number at the chosen score threshold. The cost is what AP50 would gain if errors of that kind "
    "alone were corrected. Missed: no detection. Background: a detection where no product is "
    "labelled. Localization: a poorly localised detection, IoU 0.1 to 0.5 with a product. "
    "Duplicate: a second detection of a product."
)
CLASS_ERRORS_NOTE = (
    " Classification: a detection of another class than the product's, IoU of at least 0.5 with "
    "it. Class and localization: the same at IoU 0.1 to 0.5."
)
COVERAGE_IOUS = [step / 100.0 for step in range(30, 95, 5)]


def page_data(
    matches: Sequence[Matches],
    shown: Sequence[int],
    scored: Dict[str, Any],
    info: scored_graph.Info,
    label_file: pathlib.Path,
    groups: Mapping[str, List[str]],
) -> Dict[str, Any]:
    """All that the page shows but the images' pixels and the anchor coverage, a dict for JSON.

    Args:
      matches: of all images.
      shown: places in ``matches`` of the images whose pixels the page holds.
      scored: the content of metrics.json.
      info: of the detections.
      label_file: for its name.
      groups: as ``dimensions.of_images``; the page can show the images of one group of the first
        dimension.
    """
    class_names = confusion.class_names(matches)
    if len(class_names) == 1:
        class_names = []  # the page need not say what each box is
    dimension = next(iter(groups), None)
    image_data = [
        dict(
            _image_data(index, match, class_names, embedded=index in shown),
            group=groups[dimension][index] if dimension else dimensions.NOT_STATED,
        )
        for index, match in enumerate(matches)
    ]
    scores = [value for match in matches for value in match.scores]
    products = sum(len(match.truth_xyxy) for match in matches)
    name = scored_graph.graph_name(info) or "detector"
    styles = {
        "tp": drawing.TRUE_POSITIVE,
        "fn": drawing.FALSE_NEGATIVE,
        "fp": drawing.FALSE_POSITIVE,
    }
    return {
        "title": f"Evaluation of {name}",
        "about": (
            f"{counted(len(matches), 'image')} with {products:,} "
            f"{plural(products, 'labelled product')} ({label_file.name})"
        ),
        "threshold": scored["threshold"],
        "thresholdOrigin": (
            "given" if scored.get("threshold_from") == "given" else "chosen on validation images"
        ),
        # Of the slider: scores are 0 to 1, but those of other detectors may not be.
        "range": [min(scores + [0.0]), max(scores + [1.0])],
        "kinds": list(matching.KINDS),
        "classes": class_names,
        "dimension": DIMENSION_NAMES.get(dimension, "").capitalize(),
        "groups": sorted({image["group"] for image in image_data}),
        "images": image_data,
        "styles": {key: style._asdict() for key, style in styles.items()},
        "headline": headline(scored),
        "tables": tables(scored) + _advice_card(matches, scored, info),
        "provenance": provenance(scored, info, label_file),
    }


def _image_data(
    index: int, match: Matches, class_names: List[str], embedded: bool
) -> Dict[str, Any]:
    """One image; its boxes only if its pixels are embedded. Scores are not rounded: the page
    compares them."""
    data = {
        "index": index,
        "name": match.filename,
        "embedded": embedded,
        "width": match.size_wh[0],
        "height": match.size_wh[1],
        "truths": len(match.truth_xyxy),
        "scores": match.scores.tolist(),
        "kinds": match.kinds.tolist(),
    }
    # Boxes are most of the page's data, and only images that are shown need them.
    if embedded:
        data["boxes"] = np.round(match.boxes_xyxy, 1).tolist()
        data["ious"] = np.round(match.iou, 3).tolist()
        data["truthBoxes"] = np.round(match.truth_xyxy, 1).tolist()
        data["truthScores"] = _truth_scores(match)
        if class_names:
            data["classes"] = [class_names.index(name) for name in match.classes]
            data["truthClasses"] = [class_names.index(name) for name in match.truth_classes]
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
            low_text = number(low, column.digits)
            interval = f"{low_text} to {number(high, column.digits)}"
        cards.append(
            {
                "name": column.name,
                "value": number(scored.get(column.key), column.digits),
                "interval": interval,
                "note": column.note,
            }
        )
    return cards


def tables(scored: Dict[str, Any]) -> List[Table]:
    """The breakdowns of metrics.json; those that it does not hold are left out."""
    result = report_classes.tables(scored)
    for key, title, first in BREAKDOWNS:
        groups = scored.get(key)
        if not groups:
            continue
        columns = [
            column for column in COLUMNS if any(column.key in row for row in groups.values())
        ]
        rows = [
            [name] + [number(row.get(column.key), column.digits) for column in columns]
            for name, row in groups.items()
        ]
        header = [first] + [column.name for column in columns]
        result.append({"title": title, "columns": header, "rows": rows, "note": ""})
    errors = scored.get("errors")
    if errors:
        rows = [
            [kind.replace("_", " "), number(row["number"], 0), number(row["mAP_cost"], 4)]
            for kind, row in errors.items()
        ]
        result.append(
            {
                "title": "Errors by kind",
                "columns": ["kind", "number", "cost in AP50"],
                "rows": rows,
                "note": ERRORS_NOTE + (CLASS_ERRORS_NOTE if "classification" in errors else ""),
            }
        )
    return result


def _advice_card(
    matches: Sequence[Matches], scored: Dict[str, Any], info: scored_graph.Info
) -> List[Table]:
    """What to change, as a table of a note alone; none if there is no ground for any advice."""
    lines = advice.advise(matches, scored["threshold"], info.get("tiles"))
    if not lines:
        return []
    note = "\n".join(f"{number}. {line}." for number, line in enumerate(lines, 1))
    return [{"title": "Advice", "columns": [], "rows": [], "note": note}]


def provenance(
    scored: Dict[str, Any], info: scored_graph.Info, label_file: pathlib.Path
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


def _network_input(info: scored_graph.Info) -> str:
    parts = ["images at full size"]
    if info.get("max_side"):
        parts = [f"images of at most {info['max_side']} px a side"]
    if info.get("pad_strips"):
        parts.append("strips with margins")
    if info.get("tiles") == AUTO_TILES:
        parts.append("in as many tiles as suit each image")
    elif info.get("tiles"):
        parts.append(f"also in {info['tiles']} x {info['tiles']} tiles")
    return ", ".join(parts)


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
    # The same measure as step 03 prints, at more IoUs for a smooth curve.
    share = coverage.shares(np.concatenate(best), COVERAGE_IOUS)
    per_cell = sorted(set(generated.per_cell))
    anchor_word = "anchor" if per_cell == [1] else "anchors"
    at_half = share[COVERAGE_IOUS.index(0.5)]
    note = (
        f"{counted(len(generated.per_cell), 'feature map')}, {'/'.join(map(str, per_cell))} "
        f"{anchor_word} a cell, {len(generated.anchors_xyxy):,} anchors in all. At IoU 0.5 the "
        f"anchors cover {at_half:.1%} of these products."
    )
    return {"iou": COVERAGE_IOUS, "share": share, "note": note}
