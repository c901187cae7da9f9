"""Matching detections to ground truth, by two rules.

No single rule serves all figures, so every figure names its own:

* ``pascal``: a detection belongs to the ground-truth box that it overlaps most. It is a true
  positive if their IoU is at least 0.5 and no detection with a higher score has taken that box. As
  object_detection's PascalDetectionEvaluator (utils/per_image_evaluation.py), without its
  "difficult" and "group of" boxes.
* ``coco``: a detection takes the best ground-truth box *that is still free* and that it overlaps by
  at least the wanted IoU. As pycocotools (cocoeval.py) with areaRng "all" and without a limit of
  detections an image.

Order, in both: by falling score; equal scores by the image's file name, then by their order in the
file. A match depends on detections with higher scores alone, so applying a score threshold later
changes no match of those kept. Only boxes of the same class match; a detection that would match a
box of another class is a false positive of a kind of its own.
"""

from typing import Dict, Iterable, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, text
from shelfdet.core.make_variables import both
from shelfdet.data.detections import Detections
from shelfdet.data.labels import LabelledImage
from shelfdet.evaluation.match_table import Matches, MatchTable

GroundTruth = Union[LabelledImage, Detections]
SizeWH = Optional[Tuple[int, int]]

PASCAL_IOU = 0.5
# Under this IoU a false positive is background, not a poorly localised box: t_b of TIDE (Bolya et
# al. 2020, ECCV).
BACKGROUND_IOU = 0.1
COCO_IOUS = np.linspace(0.5, 0.95, 10)  # cocoeval.Params.iouThrs
# What a detection can be; the false positives in TIDE's terms, but for its "both", which here is
# "class and localization".
KINDS = (
    "true positive",
    "duplicate",
    "localization",
    "background",
    "classification",
    "class and localization",
)
TRUE_POSITIVE, DUPLICATE, LOCALIZATION, BACKGROUND, CLASSIFICATION, CLASS_AND_LOCALIZATION = range(
    len(KINDS)
)
ANY_CLASS = "any"


def match(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    one_class: bool = False,
) -> MatchTable:
    """Matches detections to ground truth by both rules, image by image.

    Args:
      ground_truth: LabelledImages, or Detections whose scores are None.
      detections: Detections of the same images.
      one_class: match boxes whatever their class; all get the class ANY_CLASS.

    Returns:
      a Matches for each image, sorted by file name.

    Raises:
      UserError: the images are not the same, or one has another size, or no class name is in both.
    """
    truth = _Side(ground_truth)
    found = _Side(detections)
    _check_same_images(truth.places.keys(), found.places.keys())
    _check_same_sizes(truth.sizes_wh, found.sizes_wh)
    if not one_class:
        _check_common_class(truth.classes, found.classes)
    return MatchTable(
        _match_image(ground_truth[truth.places[name]], detections[found.places[name]], one_class)
        for name in sorted(truth.places)
    )


class _Side:
    """What has to be known of the images of one side together; not their boxes.

    places: file name of each -> its place in the sequence.
    sizes_wh: file name of each -> its size, or None.
    classes: the names in use.
    """

    def __init__(self, images: Sequence[GroundTruth]) -> None:
        self.places: Dict[str, int] = {}
        self.sizes_wh: Dict[str, SizeWH] = {}
        self.classes: Set[str] = set()
        for place, image in enumerate(images):
            self.places[image.filename] = place
            self.sizes_wh[image.filename] = image.size_wh
            self.classes.update(image.classes)


def keep(image: Matches, kept_detections: np.ndarray, kept_truths: np.ndarray) -> Matches:
    """A Matches with only some of its boxes; what is kept keeps its match.

    Args:
      image: a Matches of N detections and M ground-truth boxes.
      kept_detections: bool (N,).
      kept_truths: bool (M,).

    Returns:
      Matches whose truth_index is -1 where the ground-truth box is not kept.
    """
    new_index = np.where(kept_truths, np.cumsum(kept_truths) - 1, -1)
    new_index = np.append(new_index, -1)  # so that an index of -1 stays -1
    return image._replace(
        truth_xyxy=image.truth_xyxy[kept_truths],
        truth_classes=image.truth_classes[kept_truths],
        boxes_xyxy=image.boxes_xyxy[kept_detections],
        scores=image.scores[kept_detections],
        classes=image.classes[kept_detections],
        kinds=image.kinds[kept_detections],
        truth_index=new_index[image.truth_index[kept_detections]],
        iou=image.iou[kept_detections],
        coco_true_positives=image.coco_true_positives[:, kept_detections],
    )


def keep_class(image: Matches, name: str) -> Matches:
    """A Matches with the boxes of the class ``name`` alone."""
    return keep(image, image.classes == name, image.truth_classes == name)


def false_negatives(image: Matches, threshold: float) -> np.ndarray:
    """The ground-truth boxes that are false negatives at a threshold, by the pascal rule.

    Args:
      image: a Matches of M ground-truth boxes.
      threshold: detections with at least this score count.

    Returns:
      bool (M,).
    """
    found = np.zeros(len(image.truth_xyxy), dtype=bool)
    counts = (image.kinds == TRUE_POSITIVE) & (image.scores >= threshold)
    found[image.truth_index[counts]] = True
    return ~found


def duplicate_labels(matches: Iterable[Matches]) -> int:
    """The number of ground-truth boxes that duplicate another of their image and class.

    Their IoU with it is over boxes.DUPLICATE_IOU.

    A detector that finds each product once has a false negative for each of them.
    """
    return sum(
        int(boxes.duplicates(image.truth_xyxy, image.truth_classes).sum()) for image in matches
    )


def _match_image(truth: GroundTruth, found: Detections, one_class: bool) -> Matches:
    scores = np.asarray(found.scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy = np.asarray(found.boxes_xyxy, dtype=np.float64).reshape(-1, 4)[order]
    truth_xyxy = np.asarray(truth.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    classes = _class_array(found.classes, one_class)[order]
    truth_classes = _class_array(truth.classes, one_class)
    iou = boxes.iou(boxes_xyxy, truth_xyxy)  # (N, M)
    other_class = classes[:, None] != truth_classes[None, :]
    iou_of_other_class = np.where(other_class, iou, 0)
    iou[other_class] = 0
    matched = _match_pascal(iou)
    if other_class.any():
        matched = _with_class_errors(*matched, iou_of_other_class)
    kinds, truth_index, best_iou = matched
    return Matches(
        filename=truth.filename,
        size_wh=truth.size_wh,
        truth_xyxy=truth_xyxy,
        truth_classes=truth_classes,
        boxes_xyxy=boxes_xyxy,
        scores=scores[order],
        classes=classes,
        kinds=kinds,
        truth_index=truth_index,
        iou=best_iou,
        coco_true_positives=_match_coco(iou),
    )


def _class_array(names: Sequence[str], one_class: bool) -> np.ndarray:
    return np.array([ANY_CLASS] * len(names) if one_class else names, dtype=object)


def _match_pascal(iou: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(kinds, truth_index, iou) of the N detections, by falling score, of an (N, M) matrix."""
    count, truth_count = iou.shape
    if truth_count == 0:
        return np.full(count, BACKGROUND, np.int8), np.full(count, -1), np.zeros(count)
    nearest = np.argmax(iou, axis=1)
    best = iou[np.arange(count), nearest]
    kinds = np.where(best >= BACKGROUND_IOU, LOCALIZATION, BACKGROUND).astype(np.int8)
    overlapping = np.flatnonzero(best >= PASCAL_IOU)
    kinds[overlapping] = DUPLICATE
    # np.unique gives the first place of each value: the detection with the highest score on each
    # ground-truth box.
    first = np.unique(nearest[overlapping], return_index=True)[1]
    kinds[overlapping[first]] = TRUE_POSITIVE
    return kinds, np.where(kinds == BACKGROUND, -1, nearest), best


def _with_class_errors(
    kinds: np.ndarray, truth_index: np.ndarray, iou: np.ndarray, iou_of_other_class: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(kinds, truth_index, iou) of N detections, with the errors of class (TIDE, section 2.2).

    A detection that is where a product of another class is (IoU of at least 0.5) is a
    classification error, even if it also overlaps a neighbour of its own class a little: in dense
    rows of products most do. True positives and duplicates stay what they are.

    Args:
      kinds, truth_index, iou: as ``_match_pascal`` returns them.
      iou_of_other_class: (N, M), 0 where detection and ground truth are of the same class.
    """
    nearest = np.argmax(iou_of_other_class, axis=1)
    best = iou_of_other_class[np.arange(len(kinds)), nearest]
    is_background = kinds == BACKGROUND
    wrong_class = (is_background | (kinds == LOCALIZATION)) & (best >= PASCAL_IOU)
    both = is_background & ~wrong_class & (best >= BACKGROUND_IOU)
    kinds = kinds.copy()
    kinds[wrong_class] = CLASSIFICATION
    kinds[both] = CLASS_AND_LOCALIZATION
    return (
        kinds,
        np.where(wrong_class, nearest, truth_index),
        np.where(wrong_class | both, best, iou),
    )


def _match_coco(iou: np.ndarray) -> np.ndarray:
    """True positives by the coco rule, bool (10, N), at each of COCO_IOUS.

    Args:
      iou: (N, M), of N detections by falling score and M ground-truth boxes.

    pycocotools goes through the detections one by one. Most detections overlap one ground-truth box
    alone, and so do
    their rivals: those are matched together, and only the rest one by one.
    """
    matched = np.zeros((len(COCO_IOUS), len(iou)), dtype=bool)
    overlaps = iou >= COCO_IOUS[0]
    has_choice = overlaps.sum(axis=1) > 1
    contested = overlaps[has_choice].any(axis=0)  # (M,): the ground truth that those can choose

    rows, columns = np.nonzero(overlaps & ~contested)
    # Without a choice the first detection that overlaps enough gets the ground truth, at each IoU.
    iou_index, pairs = np.nonzero(iou[rows, columns] >= COCO_IOUS[:, None])
    first = np.unique(iou_index * iou.shape[1] + columns[pairs], return_index=True)[1]
    matched[iou_index[first], rows[pairs[first]]] = True

    free = np.ones((len(COCO_IOUS), iou.shape[1]), dtype=bool)
    for row in np.flatnonzero((overlaps & contested).any(axis=1)):
        near = np.flatnonzero(overlaps[row])[
            ::-1
        ]  # pycocotools takes the last of equally good ones
        can_take = free[:, near] & (iou[row, near] >= COCO_IOUS[:, None])  # (10, near)
        taken = near[np.argmax(np.where(can_take, iou[row, near], -1), axis=1)]
        has_match = can_take.any(axis=1)
        matched[has_match, row] = True
        free[has_match, taken[has_match]] = False
    return matched


def _check_same_images(labelled: Iterable[str], found: Iterable[str]) -> None:
    labelled = set(labelled)
    found = set(found)
    problems = []
    for names, problem in (
        (labelled - found, "labelled but not in the detections"),
        (found - labelled, "in the detections but not in the ground truth"),
    ):
        if names:
            problems.append(f"{len(names)} {problem} ({text.listed(sorted(names))})")
    if problems:
        raise UserError(
            f"ground truth and detections are not of the same images: {'; '.join(problems)}. "
            f"Expected the same {text.counted(len(labelled), 'image')} in both: detect on exactly "
            "the labelled ones; an image without boxes must be listed too."
        )


def _check_same_sizes(truth: Mapping[str, SizeWH], found: Mapping[str, SizeWH]) -> None:
    other_sizes = []
    turned = 0
    for name in sorted(truth):
        truth_wh = truth[name]
        found_wh = found[name]
        if truth_wh is None or found_wh is None or tuple(truth_wh) == tuple(found_wh):
            continue
        other_sizes.append(
            f"{name}: {truth_wh[0]} x {truth_wh[1]} in the ground truth, "
            f"{found_wh[0]} x {found_wh[1]} in the detections"
        )
        turned += tuple(truth_wh) == tuple(found_wh)[::-1]
    if not other_sizes:
        return
    remedy = "Scale the boxes of one side, or detect in the labelled images."
    if turned == len(other_sizes):
        remedy = (
            "Width and height are swapped, as where one side rotated the images by their "
            f"EXIF orientation: detect in the images as they are labelled, with "
            f"{both('--exif ignore')} "
            f"or {both('--exif apply')}."
        )
    raise UserError(
        f"{len(other_sizes)} of {text.counted(len(truth), 'image')} "
        f"{text.plural(len(other_sizes), 'has', 'have')} another size in the detections than in "
        f"the ground truth ({text.listed(other_sizes, 3)}). Expected boxes in pixels of the same "
        f"image. {remedy}"
    )


def _check_common_class(truth_names: Set[str], found_names: Set[str]) -> None:
    if truth_names and found_names and not truth_names & found_names:
        raise UserError(
            f"the ground truth has the classes {text.listed(sorted(truth_names))}, "
            f"the detections {text.listed(sorted(found_names))}: nothing can match. Give the "
            "classes the same names, or match boxes whatever their class with --one-class."
        )
