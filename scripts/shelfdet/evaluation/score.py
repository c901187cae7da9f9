"""Scoring the detections of one detector, or of two to compare (step 09).

The score threshold is chosen on validation images, never on the scored ones, and the detections of
both have to be made by the same graph in the same way.
"""

import functools
import json
import math
import pathlib
import re
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files, paths, text
from shelfdet.core.progress import progress
from shelfdet.data import detections, splits
from shelfdet.evaluation import bootstrap, breakdowns, matching, metrics
from shelfdet.evaluation.matching import Matches

# The keys of a detection file's "info" that validation and test detections must share.
MADE_WITH = ("graph_sha256", "config_sha256", "max_side", "exif", "pad_strips", "tiles")
GRAPH_FILES = {"graph_sha256": paths.GRAPH_FILE, "config_sha256": paths.CONFIG_FILE}
FEW_IMAGES = 5  # a threshold chosen on fewer is chance
DIGITS = 6  # of the figures in metrics.json

Info = Dict[str, Any]  # what step 08 records about its run in a file of detections


class Inputs(NamedTuple):
    """The files that are scored, and how they are read and matched.

    ground_truth, detections: files or folders of the scored images; one file of detections for
      each detector.
    val_ground_truth, val_detections: the same of the validation images; without val_detections, or
      with a threshold, no threshold is chosen.
    format, ground_truth_format: of detections and ground truth, as detections.read_detections
      names them.
    threshold: given by the user in place of choosing one.
    one_class: match boxes whatever their class.
    clip: clip boxes that reach outside their image in place of refusing them.
    allow_seen: score images that were used in training in place of refusing them.
    """

    ground_truth: pathlib.Path
    detections: Tuple[pathlib.Path, ...]
    val_ground_truth: pathlib.Path
    val_detections: Tuple[pathlib.Path, ...] = ()
    format: str = "coco"
    ground_truth_format: str = "csv"
    threshold: Optional[float] = None
    one_class: bool = False
    clip: bool = False
    allow_seen: bool = False


class Threshold(NamedTuple):
    """A score threshold and where it comes from; ``value`` is None where none was chosen."""

    value: Optional[float]
    origin: str


class Evaluation(NamedTuple):
    """What an evaluation found.

    figures: the content of metrics.json.
    counts: products in each image, file name -> number; None without a threshold.
    """

    figures: Dict[str, Any]
    counts: Optional[Dict[str, int]]


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
    (path,) = inputs.detections
    infos = _read_infos(inputs)
    _check_same_settings(inputs, infos)
    seen = _count_seen(inputs, infos[path], path, ("before", "train", "val"))
    seen_by_validation = [
        _count_seen(inputs, infos[val_path], val_path, ("before", "train"))
        for val_path in inputs.val_detections
    ]
    matches = read_matches(inputs, inputs.ground_truth, path)
    validation = None
    if inputs.val_detections:
        validation = read_matches(inputs, inputs.val_ground_truth, inputs.val_detections[0])
    threshold = _choose_threshold(inputs, matches, validation, 0)
    resamples = _affordable_resamples(resamples, matches)

    summary = metrics.summary(matches, threshold.value)
    # The user's own figures, mAP, precision and recall, come first in the file.
    figures: Dict[str, Any] = {name: summary[name] for name in ("mAP", "precision", "recall", "f1")}
    figures.update(summary)
    figures.update(metrics.totals(matches, threshold.value))
    figures["threshold"] = threshold.value
    figures["threshold_from"] = threshold.origin
    figures["rules"] = metrics.RULES
    figures.update(_describe_inputs(inputs, infos[path], matches))
    if seen:
        figures["seen_in_training"] = seen
    figures["intervals_95"] = bootstrap.intervals(
        matches, threshold.value, resamples, seed, _bootstrap_progress(resamples)
    )
    figures["bootstrap"] = {"resamples": resamples, "seed": seed, "over": "images"}
    figures["validation"] = None
    if validation:
        figures["validation"] = metrics.summary_with_sizes(validation, threshold.value)
        if seen_by_validation[0]:
            figures["validation"]["seen_in_training"] = seen_by_validation[0]
    figures.update(_breakdowns(matches, threshold.value))
    return Evaluation(figures, count_products(matches, threshold.value))


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
    infos = _read_infos(inputs)
    _check_same_settings(inputs, infos)
    seen = [
        _count_seen(inputs, infos[path], path, ("before", "train", "val"))
        for path in inputs.detections
    ]
    for val_path in inputs.val_detections:
        _count_seen(inputs, infos[val_path], val_path, ("before", "train"))
    first, second = (read_matches(inputs, inputs.ground_truth, path) for path in inputs.detections)
    thresholds = []
    for index, matches in enumerate((first, second)):
        validation = None
        if inputs.val_detections:
            validation = read_matches(inputs, inputs.val_ground_truth, inputs.val_detections[index])
        thresholds.append(_choose_threshold(inputs, matches, validation, index))
    resamples = _affordable_resamples(resamples, first, second)
    compared = bootstrap.compare(
        first,
        second,
        [threshold.value for threshold in thresholds],
        resamples,
        seed,
        _bootstrap_progress(resamples),
    )
    content = {
        "A": inputs.detections[0].name,
        "B": inputs.detections[1].name,
        "images": len(first),
        "rules": metrics.RULES,
        "thresholds": [
            {"threshold": threshold.value, "threshold_from": threshold.origin}
            for threshold in thresholds
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
    if any(seen):
        content["seen_in_training"] = seen
    return content


def read_matches(
    inputs: Inputs, ground_truth: pathlib.Path, detected: pathlib.Path
) -> List[Matches]:
    """The Matches of ground truth and detections, files or folders in the formats of ``inputs``."""
    read_truth = functools.partial(
        detections.read_detections, ground_truth, inputs.ground_truth_format, scored=False
    )
    read_found = functools.partial(
        detections.read_detections,
        detected,
        inputs.format,
        clip=inputs.clip,
        coco_ground_truth=ground_truth if inputs.ground_truth_format == "coco" else None,
    )
    # Text files hold neither the suffix nor the size of their image: they are read second, with the
    # other side's.
    if inputs.ground_truth_format == "text" and inputs.format != "text":
        found = read_found()
        truth = read_truth(known=found)
    else:
        truth = read_truth()
        found = read_found(known=truth)
    try:
        return matching.match(truth, found, inputs.one_class)
    except UserError as error:
        raise UserError(f"{detected}: {error}") from error


def count_products(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Optional[Dict[str, int]]:
    """The number of products detected in each image, by file name; None without a threshold."""
    if threshold is None:
        return None
    return {image.filename: int((image.scores >= threshold).sum()) for image in matches}


# ---- the graph ---------------------------------------------------------------------------------


def graph_folder(info: Info) -> Optional[pathlib.Path]:
    """The folder of the graph that made detections, from their "info"; None where it is not
    recorded."""
    if not info.get("graph"):
        return None
    # Step 08 records a path from the repository's root where the graph is inside.
    return paths.ROOT.joinpath(info["graph"]).parent


def graph_name(info: Info) -> Optional[str]:
    """The name of the folder of ``graph_folder``."""
    folder = graph_folder(info)
    return None if folder is None else folder.name


def check_graph(folder: pathlib.Path, detected: pathlib.Path, info: Info) -> None:
    """Refuses a graph's folder that is not of the graph that made the detections.

    Raises:
      UserError: a file of the graph is missing, or has another sha256.
    """
    for key, name in GRAPH_FILES.items():
        file = folder / name
        expected = info.get(key)
        if name == paths.CONFIG_FILE and expected is None:
            continue  # step 08 found no config beside the graph
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; expected the graph that {detected} was made with."
            )
        found = files.sha256(file)
        if found != expected:
            raise UserError(
                f"{file}: has the sha256 {found}; expected {expected}, with which {detected} was "
                "made. Run step 08 again."
            )


def metrics_beside_graph(info: Info) -> Optional[pathlib.Path]:
    """The metrics.json in the folder of the graph that made detections, for their figures.

    Returns:
      path; None for a shipped graph, whose metrics.json is tracked and stays, and where that graph
      is not there.
    """
    folder = graph_folder(info)
    if folder is None or not (folder / paths.GRAPH_FILE).is_file():
        return None
    if folder.resolve() in [shipped.resolve() for shipped in paths.SHIPPED_GRAPHS]:
        return None
    return folder / paths.METRICS.name


# ---- writing -----------------------------------------------------------------------------------


def write_together(contents: Sequence[Tuple[pathlib.Path, Any]]) -> None:
    """Writes each (path, content) as JSON, all or none, so that figures and counts agree."""
    with files.replacing_together([path for path, _ in contents]) as partials:
        for partial, (_, content) in zip(partials, contents):
            lines = json.dumps(rounded(content), indent=2, ensure_ascii=False, allow_nan=False)
            # A list of two, such as an interval, takes one line.
            lines = re.sub(r"\[\n\s+([^\[\]{}\n]+),\n\s+([^\[\]{}\n]+)\n\s+\]", r"[\1, \2]", lines)
            files.write_text(partial, lines + "\n")


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


# ---- checks ------------------------------------------------------------------------------------


def _read_infos(inputs: Inputs) -> Dict[pathlib.Path, Info]:
    """The "info" of each file of detections; empty where its format has none."""
    every_path = inputs.detections + inputs.val_detections
    if inputs.format != "coco":
        return {path: {} for path in every_path}
    return {path: detections.read_info(path) for path in every_path}


def _check_same_settings(inputs: Inputs, infos: Dict[pathlib.Path, Info]) -> None:
    """Refuses validation detections of another graph or other settings than the scored ones."""
    for scored, path in zip(inputs.detections, inputs.val_detections):
        for key in MADE_WITH:
            expected = infos[scored].get(key)
            found = infos[path].get(key)
            if found == expected:
                continue
            in_order = ""
            if len(inputs.detections) > 1:
                in_order = ", and name both in the same order"
            raise UserError(
                f"{path}: {key} is {found!r}; expected {expected!r} as in {scored}. "
                f"Run step 08 on both sets of images with the same graph{in_order}."
            )


def _count_seen(inputs: Inputs, info: Info, path: pathlib.Path, uses: Sequence[str]) -> int:
    """How many of a file's images were used in training, which is refused unless inputs.allow_seen.

    Args:
      uses: which of the lists in info["seen_in_training"] count: "train" (the graph was trained on
        them), "before" (the weights that its training started from were), "val" (they chose its
        checkpoint; they may choose its threshold too). Without such a record nothing is known and
        nothing refused.
    """
    recorded = info.get("seen_in_training")
    if not isinstance(recorded, dict):
        return 0
    names = set()
    for use in uses:
        if isinstance(recorded.get(use), list):
            names.update(str(name) for name in recorded[use])
    if names and not inputs.allow_seen:
        purpose = "to train the graph"
        if "val" in uses:
            purpose += " or to choose its checkpoint"
        raise UserError(
            f"{path}: {len(names)} of its images were used {purpose} "
            f"({text.listed(sorted(names))}); expected images that are new to it. Score images of "
            "the other split, or train a graph on this split (`make train RUN_DIR=folder`); "
            "--allow-seen scores them and records their number in the figures."
        )
    return len(names)


def _choose_threshold(
    inputs: Inputs,
    scored: Sequence[Matches],
    validation: Optional[Sequence[Matches]],
    index: int,
) -> Threshold:
    """The user's threshold, or the best one on the ``index``-th of inputs.val_detections."""
    if inputs.threshold is not None:
        return Threshold(inputs.threshold, "given")
    if validation is None:
        return Threshold(
            None, "not chosen: there are no validation detections, and test images never choose it"
        )
    path = inputs.val_detections[index]
    shared = {image.filename for image in scored} & {image.filename for image in validation}
    if shared:
        raise UserError(
            f"{path}: {len(shared)} of its images are also scored "
            f"({text.listed(sorted(shared))}); expected others, since scored images never choose "
            "the threshold. Name detections in the validation images, or give --threshold."
        )
    threshold = metrics.best_threshold(validation)
    if threshold is None:
        raise UserError(
            f"{path}: there is no true positive on {inputs.val_ground_truth}, so no threshold can "
            "be chosen. Give one with --threshold."
        )
    if len(validation) < FEW_IMAGES:
        print(
            f"warning: the threshold is chosen on {len(validation)} images; expected at least "
            f"{FEW_IMAGES} for one that is reliable. Set more aside for validation "
            "(make data VAL_SHARE=0.3).",
            file=sys.stderr,
        )
    return Threshold(
        threshold,
        f"highest score that maximises F1 on {path.name}, {len(validation)} images",
    )


# ---- parts of metrics.json ---------------------------------------------------------------------


def _describe_inputs(inputs: Inputs, info: Info, matches: Sequence[Matches]) -> Dict[str, Any]:
    """What the figures are of: sizes, graph and labels."""
    sides = [min(image.size_wh) for image in matches if image.size_wh]
    labels_sha256 = None
    if inputs.ground_truth.is_file():
        labels_sha256 = files.sha256(inputs.ground_truth)
    return {
        "images": len(matches),
        "boxes": sum(len(image.truth_xyxy) for image in matches),
        "duplicate_labels": matching.duplicate_labels(matches),
        "detections": sum(len(image.scores) for image in matches),
        "shorter_side_px": [min(sides), max(sides)] if sides else None,
        "graph": info.get("graph"),
        "graph_sha256": info.get("graph_sha256"),
        "config_sha256": info.get("config_sha256"),
        "labels": inputs.ground_truth.name,
        "labels_sha256": labels_sha256,
    }


def _breakdowns(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, Any]:
    scenes = [_scene(image.filename) for image in matches]
    kinds = breakdowns.error_kinds(matches, threshold)
    return {
        "by_camera": breakdowns.by_group(matches, threshold, [camera for camera, _ in scenes]),
        "by_planogram": breakdowns.by_group(
            matches, threshold, [planogram for _, planogram in scenes]
        ),
        "by_box_size": breakdowns.by_box_size(matches, threshold),
        "errors": {
            kind: {"number": errors.number, "mAP_cost": errors.mAP_cost}
            for kind, errors in kinds.items()
        },
    }


def _scene(filename: str) -> Tuple[str, str]:
    """(camera, planogram) of an image's name; ("other", "other") where the name does not state
    them."""
    if not pathlib.PurePath(filename).suffix:
        # Where both sides are text files, names have no suffix; the scheme of names expects one.
        filename += ".JPG"
    return splits.scene(filename) or ("other", "other")


def _affordable_resamples(wanted: int, *detectors: Sequence[Matches]) -> int:
    """``wanted`` resamples, or fewer where these would take minutes for one of the detectors."""
    resamples = min(bootstrap.resamples_for(matches, wanted) for matches in detectors)
    if resamples < wanted:
        print(
            f"{resamples} resamples in place of {wanted}: with so many detections more would take "
            "minutes"
        )
    return resamples


def _bootstrap_progress(total: int) -> bootstrap.Progress:
    return functools.partial(progress, description="bootstrap", total=total, unit="resamples")
