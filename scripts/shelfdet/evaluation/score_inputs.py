"""Reads what step 09 scores: matches each detector's detections, and chooses its score threshold.

The threshold is chosen on validation images, never on the scored ones, and the detections in both
have to be made by the same graph with the same settings.
"""

import pathlib
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files, paths, text
from shelfdet.evaluation import detection_info, matched_files, metrics
from shelfdet.evaluation.match_table import MatchTable
from shelfdet.evaluation.matched_files import warn
from shelfdet.evaluation.scored_graph import Info
from shelfdet.inference.graph_files import FEW_IMAGES

# The options of step 08 that metrics.json states, by their keys in a detection file's "info"
STATED_OPTIONS = (
    "tiles",
    "detection_version",
    "pad_strips",
    "min_score",
    "runtime",
    "runtime_precision",
)
# The keys that validation and test detections must share
MADE_WITH = ("graph_sha256", "config_sha256", "max_side", "exif") + STATED_OPTIONS


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
    graph_dir: where the graph of step 12's tables may be, beside the workspace's own graphs.
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
    graph_dir: Optional[pathlib.Path] = None


class Threshold(NamedTuple):
    """A score threshold and where it comes from; ``value`` is None where none was chosen."""

    value: Optional[float]
    origin: str


NOT_CHOSEN = Threshold(
    None, "not chosen: there are no validation detections, and test images never choose it"
)


class Detector(NamedTuple):
    """One of the detectors of Inputs.

    info: what step 08 records about its detections.
    matches, validation: in the scored and in the validation images; validation is None without.
    seen, val_seen: how many of those images were used in training.
    """

    info: Info
    matches: MatchTable
    validation: Optional[MatchTable]
    threshold: Threshold
    seen: int
    val_seen: int


def read_detectors(inputs: Inputs) -> List[Detector]:
    """Checks and matches each of inputs.detections, and chooses its threshold."""
    detectors = _read_without_threshold(inputs)
    return [
        _with_threshold(detector, inputs, *inputs.val_detections[index : index + 1])
        for index, detector in enumerate(detectors)
    ]


def read_datasets(by_dataset: Dict[str, Inputs]) -> Tuple[Detector, Dict[str, Detector]]:
    """Reads the detections of one detector in the images of several datasets.

    Args:
      by_dataset: name of each dataset to its Inputs, with one file of detections each.

    Returns:
      (together, apart): in the images of all datasets, and of each. Both have the one threshold
      that is the best on the validation images of all. Image names are DATASET/FILE, but for the
      dataset without a name.

    Raises:
      UserError: as ``read_detectors``; detections of different graphs.
    """
    apart = {}
    for name, inputs in by_dataset.items():
        (detector,) = _read_without_threshold(inputs)
        apart[name] = detector._replace(
            matches=_in_dataset(name, detector.matches),
            validation=detector.validation and _in_dataset(name, detector.validation),
        )
    first_name, first = next(iter(apart.items()))
    for name, detector in apart.items():
        _check_same_graph(by_dataset[name], detector, by_dataset[first_name], first)
    parts = list(apart.values())
    with_validation = all(part.validation is not None for part in parts)
    together = first._replace(
        matches=_together(part.matches for part in parts),
        validation=_together(part.validation for part in parts) if with_validation else None,
        seen=sum(part.seen for part in parts),
        val_seen=sum(part.val_seen for part in parts),
    )
    val_paths = [path for inputs in by_dataset.values() for path in inputs.val_detections]
    together = _with_threshold(together, by_dataset[first_name], *val_paths)
    threshold = together.threshold
    return together, {
        name: detector._replace(threshold=threshold) for name, detector in apart.items()
    }


def _in_dataset(name: str, images: MatchTable) -> MatchTable:
    if name == paths.DEFAULT_DATASET:
        return images
    return MatchTable(image._replace(filename=f"{name}/{image.filename}") for image in images)


def _together(tables: Iterable[MatchTable]) -> MatchTable:
    return MatchTable(image for table in tables for image in table)


def _check_same_graph(
    inputs: Inputs, detector: Detector, first_inputs: Inputs, first: Detector
) -> None:
    for key in ("graph_sha256", "config_sha256"):
        found, expected = detector.info.get(key), first.info.get(key)
        if found != expected:
            raise UserError(
                f"{inputs.detections[0]}: {key} is {found!r}; expected {expected!r} as in "
                f"{first_inputs.detections[0]}. Run step 08 on all datasets with the same graph."
            )


def _read_without_threshold(inputs: Inputs) -> List[Detector]:
    """Checks and matches each of inputs.detections."""
    infos = _read_infos(inputs)
    _check_same_settings(inputs, infos)
    for path in inputs.detections:
        _report_changed_labels(inputs.ground_truth, infos[path], path)
    for path in inputs.val_detections:
        _report_changed_labels(inputs.val_ground_truth, infos[path], path)
    # Images that chose the checkpoint ("val") may choose the threshold too.
    seen = [
        _count_seen(inputs, inputs.ground_truth, infos[path], path, ("before", "train", "val"))
        for path in inputs.detections
    ]
    val_seen = [
        _count_seen(inputs, inputs.val_ground_truth, infos[path], path, ("before", "train"))
        for path in inputs.val_detections
    ]
    detectors = []
    for index, path in enumerate(inputs.detections):
        matches = _read_matches(inputs, inputs.ground_truth, path)
        validation = None
        if inputs.val_detections:
            validation = _read_matches(
                inputs, inputs.val_ground_truth, inputs.val_detections[index]
            )
        detectors.append(
            Detector(
                info=infos[path],
                matches=matches,
                validation=validation,
                threshold=NOT_CHOSEN,
                seen=seen[index],
                val_seen=val_seen[index] if val_seen else 0,
            )
        )
    return detectors


def _read_matches(inputs: Inputs, ground_truth: pathlib.Path, detected: pathlib.Path) -> MatchTable:
    return matched_files.read(
        matched_files.Sides(
            ground_truth,
            detected,
            inputs.ground_truth_format,
            inputs.format,
            inputs.clip,
            inputs.one_class,
        )
    )


def _read_infos(inputs: Inputs) -> Dict[pathlib.Path, Info]:
    """The "info" of each file of detections; empty where its format has none."""
    return {
        path: detection_info.read(path, inputs.format, inputs.graph_dir)
        for path in set(inputs.detections + inputs.val_detections)
    }


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


def _report_changed_labels(ground_truth: pathlib.Path, info: Info, path: pathlib.Path) -> None:
    """Warns of a label file that is no longer the one for whose images step 08 detected.

    Corrected boxes may be scored without detecting again, but other images of the same names
    may not, and a label file does not state which of the two it is.
    """
    expected = info.get("labels_sha256")
    if not expected or not ground_truth.is_file():
        return
    if pathlib.PurePath(str(info.get("labels"))).name != ground_truth.name:
        return
    if files.sha256(ground_truth) != expected:
        warn(
            f"{ground_truth}: has changed since step 08 made {path} for its images. If only boxes "
            "were corrected, the figures are right; if images were replaced, run step 08 again."
        )


def _count_seen(
    inputs: Inputs,
    ground_truth: pathlib.Path,
    info: Info,
    path: pathlib.Path,
    uses: Sequence[str],
) -> int:
    """How many of a file's images were used in training, which is refused unless inputs.allow_seen.

    Args:
      uses: which of the lists in info["seen_in_training"] count: "train" (the graph was trained on
        them), "before" (the weights that its training started from were), "val" (they chose its
        checkpoint; they may choose its threshold too). Without such a record nothing is known and
        nothing refused.
    """
    info = detection_info.with_seen(
        info, path, inputs.format, ground_truth, inputs.ground_truth_format
    )
    recorded = info.get("seen_in_training")
    if not isinstance(recorded, dict):
        return 0
    names = set()
    for use in uses:
        if isinstance(recorded.get(use), list):
            names.update(str(name) for name in recorded[use])
    # Figures on images that the network was trained on do not hold for new ones.
    if names and not inputs.allow_seen:
        purpose = "to train the graph"
        if "val" in uses:
            purpose += " or to choose its checkpoint"
        raise UserError(
            f"{path}: {len(names)} of its images were used {purpose} "
            f"({text.listed(sorted(names))}), by their names or their sizes and boxes; expected "
            "images that are new to it. Score images of the other split, or train a graph on this "
            "split (`make train RUN_DIR=folder`); --allow-seen scores them and records how many in "
            "the figures."
        )
    return len(names)


def _with_threshold(detector: Detector, inputs: Inputs, *val_detections: pathlib.Path) -> Detector:
    """A detector with the user's threshold, or the best one on its validation images.

    Args:
      detector: without a threshold.
      inputs: for the user's threshold, and the labels of the validation images.
      *val_detections: the files that the detections in the validation images are from.
    """
    return detector._replace(
        threshold=_choose_threshold(inputs, detector.matches, detector.validation, val_detections)
    )


def _choose_threshold(
    inputs: Inputs,
    scored: MatchTable,
    validation: Optional[MatchTable],
    val_detections: Sequence[pathlib.Path],
) -> Threshold:
    if inputs.threshold is not None:
        return Threshold(inputs.threshold, "given")
    if validation is None:
        return NOT_CHOSEN
    path = text.listed(map(str, val_detections))
    # A threshold that was chosen on the scored images would make their figures too good.
    shared = set(scored.filenames) & set(validation.filenames)
    if shared:
        raise UserError(
            f"{path}: {len(shared)} of its images are also scored "
            f"({text.listed(sorted(shared))}); expected others, since scored images never choose "
            "the threshold. Name detections in the validation images, or give --threshold."
        )
    threshold = metrics.count_threshold(validation)
    if threshold is None:
        raise UserError(
            f"{path}: there is no true positive on {inputs.val_ground_truth}, so no threshold can "
            "be chosen. Give one with --threshold."
        )
    if len(validation) < FEW_IMAGES:
        warn(
            f"the threshold is chosen on {text.counted(len(validation), 'image')}; expected at "
            f"least {FEW_IMAGES} for one that is reliable. Set more aside for validation "
            "(make data VAL_SHARE=0.3)."
        )
    return Threshold(
        threshold,
        f"smallest count MAE, averaged over scores near it, on {_file_names(val_detections)}, "
        f"{text.counted(len(validation), 'image')}",
    )


def _file_names(val_detections: Sequence[pathlib.Path]) -> str:
    """The files for a sentence: "val_detections.json", of several with their folders."""
    if len(val_detections) == 1:
        return val_detections[0].name
    return text.listed(paths.shown(path) for path in val_detections)
