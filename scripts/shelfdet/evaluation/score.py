"""Scores the detections of one detector, or of two to compare (step 09)."""

import functools
import json
import math
import pathlib
import re
from typing import Any, Dict, List, Mapping, Match, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import files
from shelfdet.core.progress import progress
from shelfdet.evaluation import (
    advice,
    bootstrap,
    breakdowns,
    confusion,
    dimensions,
    image_folders,
    matching,
    metrics,
)
from shelfdet.evaluation.matching import Matches
from shelfdet.evaluation.score_inputs import (
    STATED_OPTIONS,
    Detector,
    Inputs,
    read_datasets,
    read_detectors,
)
from shelfdet.inference import confidence

DIGITS = 6  # of the figures in metrics.json


class ImageCount(NamedTuple):
    """How far the count of one image is off: detections from the threshold on, less products."""

    filename: str
    error: int
    products: int


class CountsByConfidence(NamedTuple):
    """The count MAE of images from a confidence on (certain) and below it (uncertain).

    low_confidence: that of the validation images, as ``confidence.read`` returns it.
    """

    low_confidence: float
    certain_images: int
    certain_mae: float
    uncertain_images: int
    uncertain_mae: float


class Evaluation(NamedTuple):
    """What an evaluation found.

    figures: the content of metrics.json.
    counts: products in each image, file name -> number; None without a threshold.
    far_off: as the function ``far_off`` returns it.
    by_confidence: as ``counts_by_confidence`` returns it.
    advice: what to change, in sentences; may be empty.
    """

    figures: Dict[str, Any]
    counts: Optional[Dict[str, int]]
    far_off: List[ImageCount]
    by_confidence: Optional[CountsByConfidence]
    advice: List[str]


def evaluate(inputs: Inputs, resamples: int = bootstrap.RESAMPLES, seed: int = 0) -> Evaluation:
    """Scores one detector.

    Args:
      inputs: with one file of detections, and one or none of validation detections.
      resamples: of the bootstrap; 0 for no intervals.
      seed: of the bootstrap.

    Raises:
      UserError: a file that cannot be read, images used in training, validation detections of
        another graph or of scored images.
    """
    (detector,) = read_detectors(inputs)
    names = [image.filename for image in detector.matches]
    folders = image_folders.of_labels(inputs.ground_truth, names)
    return _evaluated(detector, _describe_labels(inputs), resamples, seed, folders)


def evaluate_datasets(
    by_dataset: Dict[str, Inputs], resamples: int = bootstrap.RESAMPLES, seed: int = 0
) -> Evaluation:
    """Scores one detector in the images of several datasets, together and apart.

    Args:
      by_dataset: name of each dataset to its Inputs, with one file of detections, and one or none
        of validation detections.
      resamples, seed: as in ``evaluate``.

    Returns:
      the Evaluation of all images together, with the one threshold that is the best on all
      validation images. Under "by_dataset", its figures have those of each dataset.

    Raises:
      UserError: as ``evaluate``; detections of different graphs.
    """
    together, apart = read_datasets(by_dataset)
    no_labels = dict.fromkeys(("labels", "labels_sha256"))
    evaluation = _evaluated(together, no_labels, resamples, seed)
    evaluation.figures["by_dataset"] = {
        name: dict(
            metrics.summary(detector.matches, detector.threshold.value),
            **metrics.totals(detector.matches, detector.threshold.value),
            **_describe_images(detector),
            **_describe_labels(by_dataset[name]),
            **_describe_run(detector),
            validation=_validation_figures(detector),
        )
        for name, detector in apart.items()
    }
    return evaluation


def _evaluated(
    detector: Detector,
    described_labels: Dict[str, Any],
    resamples: int,
    seed: int,
    folders: Optional[Mapping[str, str]] = None,
) -> Evaluation:
    matches = detector.matches
    threshold = detector.threshold
    resamples = _affordable_resamples(resamples, [detector])
    summary = metrics.summary(matches, threshold.value)
    # The figures that users ask for first, mAP, precision and recall, come first in the file.
    figures: Dict[str, Any] = {name: summary[name] for name in ("mAP", "precision", "recall", "f1")}
    figures.update(summary)
    figures.update(metrics.totals(matches, threshold.value))
    figures["threshold"] = threshold.value
    figures["threshold_from"] = threshold.origin
    figures["rules"] = metrics.RULES
    figures.update(_describe_images(detector))
    figures.update(_describe_graph(detector))
    figures.update(described_labels)
    figures.update(_describe_run(detector))
    figures["intervals_95"] = bootstrap.intervals(
        matches, threshold.value, resamples, seed, _bootstrap_progress(resamples)
    )
    figures["bootstrap"] = {"resamples": resamples, "seed": seed, "over": "images"}
    # Beside the test figures, to show whether the threshold suits both sets of images.
    figures["validation"] = _validation_figures(detector)
    figures.update(_breakdowns(matches, threshold.value, folders))
    return Evaluation(
        figures,
        count_products(matches, threshold.value),
        far_off(matches, threshold.value),
        counts_by_confidence(matches, threshold.value, confidence.read(figures["validation"])),
        advice.advise(matches, threshold.value, detector.info.get("tiles")),
    )


def compare(inputs: Inputs, resamples: int = bootstrap.RESAMPLES, seed: int = 0) -> Dict[str, Any]:
    """Scores two detectors on the same images, with intervals of their differences.

    Args:
      inputs: with two files of detections, and two or none of validation detections.
      resamples, seed: as in ``evaluate``.

    Returns:
      dict for JSON: "A" and "B" (file names), "thresholds" and, under "figures", each figure's "A",
      "B", "difference" and "interval_95".

    Raises:
      UserError: as ``evaluate``.
    """
    first, second = read_detectors(inputs)
    resamples = _affordable_resamples(resamples, [first, second])
    compared = bootstrap.compare(
        first.matches,
        second.matches,
        [first.threshold.value, second.threshold.value],
        resamples,
        seed,
        _bootstrap_progress(resamples),
    )
    content = {
        "A": inputs.detections[0].name,
        "B": inputs.detections[1].name,
        "images": len(first.matches),
        "rules": metrics.RULES,
        "thresholds": [
            {"threshold": detector.threshold.value, "threshold_from": detector.threshold.origin}
            for detector in (first, second)
        ],
        "bootstrap": {"resamples": resamples, "seed": seed, "over": "images, paired"},
        "figures": {
            name: {
                "A": figure.first,
                "B": figure.second,
                "difference": figure.difference,
                "interval_95": figure.interval,
            }
            for name, figure in compared.items()
        },
    }
    if first.seen or second.seen:
        content["seen_in_training"] = [first.seen, second.seen]
    return content


def count_products(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Optional[Dict[str, int]]:
    """The number of products detected in each image, by file name; None without a threshold."""
    if threshold is None:
        return None
    return {image.filename: int((image.scores >= threshold).sum()) for image in matches}


def far_off(matches: Sequence[Matches], threshold: Optional[float]) -> List[ImageCount]:
    """The images with the largest count errors, the largest first, that have half of the sum.

    Empty without a threshold or an error.
    """
    if threshold is None:
        return []
    images = [
        ImageCount(image.filename, _count_error(image, threshold), len(image.truth_xyxy))
        for image in matches
    ]
    images.sort(key=lambda image: -abs(image.error))
    remaining = sum(abs(image.error) for image in images) / 2
    found = []
    for image in images:
        if remaining <= 0:
            break
        found.append(image)
        remaining -= abs(image.error)
    return found


def counts_by_confidence(
    matches: Sequence[Matches],
    threshold: Optional[float],
    validated: Optional[confidence.Validated],
) -> Optional[CountsByConfidence]:
    """How far counts are off in images that `make predict` calls unreliable, and in the others.

    Args:
      matches: of the scored images.
      threshold: the lowest score of a product; None where there is none.
      validated: of the validation images; None where there are none.

    Returns:
      None without a threshold or validation images, and where all images are of one kind.
    """
    if threshold is None or validated is None:
        return None
    certain, uncertain = [], []
    for image in matches:
        is_certain = confidence.confidence(image.scores) >= validated.low_confidence
        (certain if is_certain else uncertain).append(abs(_count_error(image, threshold)))
    if not certain or not uncertain:
        return None
    return CountsByConfidence(
        validated.low_confidence,
        len(certain),
        float(np.mean(certain)),
        len(uncertain),
        float(np.mean(uncertain)),
    )


def _count_error(image: Matches, threshold: float) -> int:
    """Detections from the threshold on, less products."""
    return int((image.scores >= threshold).sum()) - len(image.truth_xyxy)


# ---- writing -----------------------------------------------------------------------------------


def write_together(contents: Sequence[Tuple[pathlib.Path, Any]]) -> None:
    """Writes each (path, content) as JSON, all or none, so that figures and counts agree."""
    with files.replacing_together([path for path, _ in contents]) as partials:
        for partial, (_, content) in zip(partials, contents):
            lines = json.dumps(rounded(content), indent=2, ensure_ascii=False, allow_nan=False)
            # A list of two, such as an interval, takes one line.
            lines = re.sub(r"\[\n\s+([^\[\]{}\n]+),\n\s+([^\[\]{}\n]+)\n\s+\]", r"[\1, \2]", lines)
            # So does a list of whole numbers, such as a row of the confusion matrix.
            lines = re.sub(r"\[\s+\d+(?:,\s+\d+)*\s+\]", _in_one_line, lines)
            files.write_text(partial, lines + "\n")


def _in_one_line(found: Match[str]) -> str:
    return re.sub(r"\s+", " ", found.group()).replace("[ ", "[").replace(" ]", "]")


def rounded(value: Any, key: Optional[str] = None) -> Any:
    """The same nested value with NaN as None and floats of DIGITS digits.

    The value of the key "threshold" keeps all its digits, because scores are compared with it.
    """
    if isinstance(value, dict):
        return {name: rounded(part, name) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    if not isinstance(value, float) or key == "threshold":
        return value
    return None if math.isnan(value) else round(value, DIGITS)


# ---- parts of metrics.json ---------------------------------------------------------------------


def _describe_images(detector: Detector) -> Dict[str, Any]:
    """How many images, products and detections the figures are of."""
    matches = detector.matches
    sides = [min(image.size_wh) for image in matches if image.size_wh]
    return {
        "images": len(matches),
        "boxes": sum(len(image.truth_xyxy) for image in matches),
        "duplicate_labels": matching.duplicate_labels(matches),
        "detections": sum(len(image.scores) for image in matches),
        "shorter_side_px": [min(sides), max(sides)] if sides else None,
    }


def _describe_graph(detector: Detector) -> Dict[str, Any]:
    return {key: detector.info.get(key) for key in ("graph", "graph_sha256", "config_sha256")}


def _describe_labels(inputs: Inputs) -> Dict[str, Any]:
    truth = inputs.ground_truth
    return {
        "labels": truth.name,
        "labels_sha256": files.sha256(truth) if truth.is_file() else None,
    }


def _describe_run(detector: Detector) -> Dict[str, Any]:
    """Options of step 08, which it writes where they differ from its defaults; seen images."""
    info = detector.info
    description = {key: info[key] for key in STATED_OPTIONS if info.get(key)}
    if detector.seen:
        description["seen_in_training"] = detector.seen
    return description


def _validation_figures(detector: Detector) -> Optional[Dict[str, Any]]:
    if not detector.validation:
        return None
    figures = metrics.summary_with_sizes(detector.validation, detector.threshold.value)
    # What step 08 compares other images with, to say where it is unusually uncertain.
    figures.update(confidence.describe(detector.validation, detector.threshold.value))
    if detector.val_seen:
        figures["seen_in_training"] = detector.val_seen
    return figures


def _breakdowns(
    matches: Sequence[Matches],
    threshold: Optional[float],
    folders: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    kinds = breakdowns.error_kinds(matches, threshold)
    return {
        **_class_figures(matches, threshold),
        **{
            key: breakdowns.by_group(matches, threshold, groups)
            for key, groups in dimensions.of_images(matches, folders).items()
        },
        "by_box_size": breakdowns.by_box_size(matches, threshold),
        "by_box_shape": breakdowns.by_box_shape(matches, threshold),
        "errors": {
            kind.replace(" ", "_"): {"number": errors.number, "mAP_cost": errors.mAP_cost}
            for kind, errors in kinds.items()
        },
    }


def _class_figures(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, Any]:
    """The figures of each class and, with a threshold, the confusion matrix; {} of one class."""
    if len(confusion.class_names(matches)) < 2:
        return {}
    figures: Dict[str, Any] = {"by_class": breakdowns.by_class(matches, threshold)}
    if threshold is not None:
        matrix = confusion.confusion_matrix(matches, threshold)
        figures["confusion_matrix"] = confusion.as_figures(matrix)
    return figures


def _affordable_resamples(wanted: int, detectors: Sequence[Detector]) -> int:
    """``wanted`` resamples, or fewer where these would take minutes for one of the detectors."""
    resamples = min(bootstrap.resamples_for(detector.matches, wanted) for detector in detectors)
    if resamples < wanted:
        print(
            f"{resamples} resamples in place of {wanted}: with so many detections more would take "
            "minutes"
        )
    return resamples


def _bootstrap_progress(total: int) -> bootstrap.Progress:
    return functools.partial(progress, description="bootstrap", total=total, unit="resamples")
