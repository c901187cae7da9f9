"""The figures of parts of the images or of the boxes and of each class; the errors by kind."""

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from shelfdet.data.classes import in_order
from shelfdet.evaluation import confusion, matching, metrics
from shelfdet.evaluation.match_table import Matches, MatchTable

MISSED = "missed"
# Groups of boxes, equal in number
SIZE_GROUPS = 3
SHAPE_GROUPS = 5


class ErrorKind(NamedTuple):
    """The errors of one kind."""

    number: Optional[int]  # at the threshold; None without one
    mAP_cost: float  # what mAP would gain without them


def by_group(
    matches: Sequence[Matches], threshold: Optional[float], groups: Sequence[str]
) -> Dict[str, Dict[str, float]]:
    """The figures of each group of images.

    Args:
      matches, threshold: as in metrics.summary.
      groups: one name for each image.

    Returns:
      dict of group, in the order of the names -> metrics.summary_with_sizes.
    """
    rows = {}
    for group in in_order(groups):
        members = MatchTable(image for image, own in zip(matches, groups) if own == group)
        rows[group] = metrics.summary_with_sizes(members, threshold)
    return rows


def by_box_size(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Dict[str, Dict[str, float]]:
    """The figures of small, middle and large boxes: thirds by side, the root of the area in pixels.

    Returns:
      dict of "under 40 px", ... -> figures, as ``_by_measure``.
    """
    return _by_measure(matches, threshold, _sides, SIZE_GROUPS, 0, " px")


def by_box_shape(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Dict[str, Dict[str, float]]:
    """The figures of upright to wide boxes: fifths by width / height.

    One anchor per cell has one aspect ratio, so products of other shapes are harder to find.

    Returns:
      dict of "under 0.41", ... -> figures, as ``_by_measure``.
    """
    return _by_measure(matches, threshold, _ratios, SHAPE_GROUPS, 2, "")


def _by_measure(
    matches: Sequence[Matches],
    threshold: Optional[float],
    measure: Callable[[np.ndarray], np.ndarray],
    count: int,
    digits: int,
    unit: str,
) -> Dict[str, Dict[str, float]]:
    """The figures of ``count`` groups of the ground truth, equal in number, by a measure of a box.

    A detection belongs to the group of the ground-truth box that it overlaps (Matches.truth_index),
    a background one to that of its own measure. So every detection and every ground-truth box is in
    one group, and TP, FP and FN add up to those of the whole.

    Args:
      measure: of (N, 4) boxes xyxy to (N,).
      digits: to which the limits of groups are rounded, in their names and for their boxes.
      unit: of the measure, in the names.

    Returns:
      dict of name -> figures as in ``by_group``; groups with neither are left out; empty without
      any ground truth. The count errors are left out: an image's count is of all its boxes.
    """
    values = np.sort(np.concatenate([np.zeros(0)] + [measure(each.truth_xyxy) for each in matches]))
    if not len(values):
        return {}
    limits = [round(float(values[len(values) * i // count]), digits) for i in range(1, count)]
    shown = [f"{limit:.{digits}f}" for limit in limits]
    names = [f"under {shown[0]}{unit}"]
    names += [f"{low} to {high}{unit}" for low, high in zip(shown, shown[1:])]
    names += [f"{shown[-1]}{unit} and over"]
    rows = {}
    for name, least, limit in zip(names, [0.0] + limits, limits + [np.inf]):
        part = MatchTable(_keep(image, measure, least, limit) for image in matches)
        figures = metrics.summary_with_sizes(part, threshold)
        if figures["boxes"] or any(len(image.scores) for image in part):
            del figures["mean_absolute_count_error"]
            del figures["mean_count_error"]
            rows[name] = figures
    return rows


def by_class(
    matches: Sequence[Matches], threshold: Optional[float]
) -> Dict[str, Dict[str, Optional[float]]]:
    """The figures of each class that has ground truth, or a detection from the threshold on.

    Returns:
      dict of class, by name -> "images" with a ground-truth box of it, "boxes", AP50 (pascal), AP75
      and AP (coco), precision, recall, f1, TP, FP, FN and the count errors of its products. mAP of
      all is the mean of AP50 over the classes with ground truth, and so are AP75 and AP.
    """
    rows = {}
    for name in confusion.class_names(matches, threshold):
        members = MatchTable(matching.keep_class(image, name) for image in matches)
        figures = metrics.summary(members, threshold)
        rows[name] = {
            "images": sum(len(image.truth_xyxy) > 0 for image in members),
            "boxes": sum(len(image.truth_xyxy) for image in members),
            "AP50": figures.pop("mAP"),
            **figures,
            **metrics.totals(members, threshold),
        }
    return rows


def error_kinds(matches: Sequence[Matches], threshold: Optional[float]) -> Dict[str, ErrorKind]:
    """How many errors of each kind there are at ``threshold``, and how much mAP each kind costs.

    The kinds and their costs follow TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for
    Identifying Object Detection Errors", section 2.2). A cost is what mAP would gain if that kind
    alone were corrected, over detections of all
    scores: duplicate and background detections, and those with errors of both class and
    localization, are removed; a poorly localised one, or one of another class, becomes a true
    positive of the ground-truth box it overlaps most, or is removed if a detection with a higher
    score has that box; ground-truth boxes that no detection overlaps are removed. A class whose
    ground truth is then all gone has no AP: it counts as 1, as if all of it were found. Costs do
    not add up.

    Returns:
      dict of "missed", "background", "localization", "duplicate" -> ErrorKind; of several classes
      also "classification" and "class and localization".
    """
    labels = sorted(metrics.truth_labels(matches))
    several = len(confusion.class_names(matches)) > 1
    before = _map(matches, labels)
    result = {}
    for kind, correct in {**_CORRECTIONS, **(_CLASS_CORRECTIONS if several else {})}.items():
        after = _map(MatchTable(map(correct, matches)), labels)
        number = None
        if threshold is not None:
            number = sum(_count_errors(image, kind, threshold) for image in matches)
        result[kind] = ErrorKind(number, after - before)
    return result


def _sides(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.sqrt(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1))


def _ratios(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Width / height of each box; of one without height a large number."""
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    return width / np.maximum(height, 1e-9)


def _keep(
    image: Matches, measure: Callable[[np.ndarray], np.ndarray], least: float, limit: float
) -> Matches:
    """A Matches with the boxes whose measure is at least ``least`` and less than ``limit``."""
    of_truth = measure(image.truth_xyxy)
    values = measure(image.boxes_xyxy)
    on_truth = image.truth_index >= 0
    values[on_truth] = of_truth[image.truth_index[on_truth]]
    return matching.keep(
        image,
        (values >= least) & (values < limit),
        (of_truth >= least) & (of_truth < limit),
    )


def _count_errors(image: Matches, kind: str, threshold: float) -> int:
    if kind == MISSED:
        return int(matching.false_negatives(image, threshold).sum())
    of_kind = image.kinds == matching.KINDS.index(kind)
    return int(np.sum(of_kind & (image.scores >= threshold)))


def _map(matches: Sequence[Matches], labels: List[str]) -> float:
    """mAP over the classes ``labels``, NaN without any; one without ground truth counts as 1."""
    if not labels:
        return np.nan
    pools = (metrics.pool(matches, label, coco_rule=False) for label in labels)
    precisions = [metrics.average_precision(pooled) for pooled in pools]
    return float(np.mean([1.0 if np.isnan(value) else value for value in precisions]))


def _every_truth(image: Matches) -> np.ndarray:
    return np.ones(len(image.truth_xyxy), dtype=bool)


def _without_missed(image: Matches) -> Matches:
    overlapped = ~_every_truth(image)
    overlapped[image.truth_index[image.truth_index >= 0]] = True
    return matching.keep(image, np.ones(len(image.kinds), dtype=bool), overlapped)


def _without_background(image: Matches) -> Matches:
    return matching.keep(image, image.kinds != matching.BACKGROUND, _every_truth(image))


def _without_duplicates(image: Matches) -> Matches:
    return matching.keep(image, image.kinds != matching.DUPLICATE, _every_truth(image))


def _without_class_and_localization(image: Matches) -> Matches:
    return matching.keep(image, image.kinds != matching.CLASS_AND_LOCALIZATION, _every_truth(image))


def _relocalized(image: Matches) -> Matches:
    """A Matches whose poorly localised detections are where their ground-truth box is."""
    return _with_true_positives(image, matching.LOCALIZATION)


def _reclassified(image: Matches) -> Matches:
    """A Matches whose detections of a wrong class have that of the product where they are."""
    return _with_true_positives(image, matching.CLASSIFICATION)


def _with_true_positives(image: Matches, kind: int) -> Matches:
    """A Matches in which detections of ``kind`` are true positives of their ground-truth box."""
    candidates = np.flatnonzero((image.kinds == matching.TRUE_POSITIVE) | (image.kinds == kind))
    # Detections are sorted by score: the first of each ground-truth box becomes its true positive,
    # the rest go.
    first_of_truth = np.unique(image.truth_index[candidates], return_index=True)[1]
    kinds = image.kinds.copy()
    kept = np.ones(len(image.kinds), dtype=bool)
    kept[candidates] = False
    kept[candidates[first_of_truth]] = True
    chosen = candidates[first_of_truth]
    kinds[chosen] = matching.TRUE_POSITIVE
    classes = image.classes.copy()
    classes[chosen] = image.truth_classes[image.truth_index[chosen]]
    return matching.keep(image._replace(kinds=kinds, classes=classes), kept, _every_truth(image))


_CORRECTIONS: Dict[str, Callable[[Matches], Matches]] = {
    MISSED: _without_missed,
    "background": _without_background,
    "localization": _relocalized,
    "duplicate": _without_duplicates,
}
_CLASS_CORRECTIONS: Dict[str, Callable[[Matches], Matches]] = {
    "classification": _reclassified,
    "class and localization": _without_class_and_localization,
}
