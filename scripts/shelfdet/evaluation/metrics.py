"""Which detections are right, by two named rules, and the figures that follow.

The rules cannot be one, so every figure names its own:

* ``pascal``: a detection belongs to the ground truth that it overlaps most, and is a hit if their IoU is at least 0.5
  and no detection before it hit that one. AP is the area under the precision envelope. As object_detection's
  PascalDetectionEvaluator (utils/per_image_evaluation.py, utils/metrics.py; without its "difficult" and "group of"
  boxes).
* ``coco``: a detection takes the best ground truth *that is still free* and that it overlaps at least by the IoU
  wanted. AP is the mean of the precision envelope at 101 recalls. As pycocotools (cocoeval.py) with areaRng "all" and
  without a limit of detections an image. COCO's AP is the mean over the IoUs 0.50, 0.55 ... 0.95; AP75 the one at
  0.75.

Order, in both: by falling score; equal scores by the image's file name, then as they stood in the file. A detection's
match depends on those before it alone, so a score threshold drops detections and changes the match of none that stays.
Only boxes of the same class match. AP of several classes is the mean over the classes that have ground truth.
"""

import collections

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes

PASCAL_IOU = 0.5
BACKGROUND_IOU = (
    0.1  # below it a false alarm is no badly placed box: TIDE (Bolya et al. 2020, ECCV), t_b
)
COCO_IOUS = np.linspace(0.5, 0.95, 10)  # cocoeval.Params.iouThrs
COCO_RECALLS = np.linspace(0.0, 1.0, 101)  # cocoeval.Params.recThrs
KINDS = ("hit", "duplicate", "badly placed", "background")
HIT, DUPLICATE, BADLY_PLACED, BACKGROUND = range(len(KINDS))
ANY_CLASS = "any"
RULES = collections.OrderedDict(
    [
        ("mAP", "pascal, IoU 0.5, as object_detection's PascalDetectionEvaluator"),
        (
            "precision, recall, f1, TP, FP, FN, count errors",
            "pascal, IoU 0.5, detections from the threshold on",
        ),
        (
            "AP",
            "coco, mean over IoU 0.50 to 0.95, as pycocotools without a limit of detections an image",
        ),
        ("AP75", "coco, IoU 0.75"),
        ("order", "score falling, then file name, then order in the file"),
    ]
)
NAMES_SHOWN = 10

Matches = collections.namedtuple(
    "Matches",
    "filename size_wh truth_xyxy truth_classes boxes_xyxy scores classes kinds truth_index iou coco_hits",
)
Matches.__doc__ = """The detections of one image, by falling score, and the M ground truths they were matched to.

truth_xyxy: float64 (M, 4). truth_classes: str array (M,). boxes_xyxy: float64 (N, 4). scores: float64 (N,). classes:
str array (N,). By the pascal rule: kinds: int8 (N,), index into KINDS; truth_index: int (N,), the ground truth that the
detection hit, hit again or is badly placed around, -1 for background; iou: float64 (N,), with the best ground truth of
its class. By the coco rule: coco_hits: bool (10, N), hit at each of COCO_IOUS."""

Pool = collections.namedtuple("Pool", "image hits coco_hits truths")
Pool.__doc__ = """The detections of all P images in one row, by falling score.

image: int (N,), the image's place in the list. hits: int (H,), places of the hits in the row, rising, by the pascal
rule. coco_hits: list of the same at each of COCO_IOUS, by the coco rule. truths: float64 (P,), number of ground truths
in each image."""

Tally = collections.namedtuple("Tally", "hits detected truths")
Tally.__doc__ = """Numbers in each of P images at one score threshold: float64 (P,) each."""


def match(truth, detections, one_class=False):
    """Matches detections to ground truth by both rules, image by image.

    Args:
      truth: list of LabelledImage, or of Detections whose scores are None.
      detections: list of Detections of the same images.
      one_class: let boxes match whatever their class; all get the class ANY_CLASS.

    Returns:
      list of Matches, sorted by file name.

    Raises:
      UserError: the images are not the same, or one has another size, or no class name is in both.
    """
    return [
        _match(labelled, found, one_class)
        for labelled, found in _pairs(truth, detections, one_class)
    ]


def pool(matches, label=None):
    """The Pool of a list of Matches; of the class ``label`` alone, if given."""
    if label is not None:
        matches = [
            keep(image, image.classes == label, image.truth_classes == label) for image in matches
        ]
    scores = np.concatenate([image.scores for image in matches] or [np.zeros(0)])
    order = np.argsort(-scores, kind="stable")
    image_index = np.repeat(np.arange(len(matches)), [len(image.scores) for image in matches])
    hits = np.concatenate([image.kinds == HIT for image in matches] or [np.zeros(0, bool)])
    coco_hits = np.concatenate(
        [image.coco_hits for image in matches] or [np.zeros((len(COCO_IOUS), 0), bool)], axis=1
    )
    truths = np.array([len(image.truth_xyxy) for image in matches], dtype=np.float64)
    return Pool(
        image_index[order],
        np.flatnonzero(hits[order]),
        [np.flatnonzero(row) for row in coco_hits[:, order]],
        truths,
    )


def pools(matches):
    """A Pool for each class that has ground truth."""
    labels = {label for image in matches for label in image.truth_classes}
    others = {label for image in matches for label in image.classes} - labels
    if len(labels) == 1 and not others:
        return [pool(matches)]
    return [pool(matches, label) for label in sorted(labels)]


def average_precision(pooled, weights=None):
    """AP by the pascal rule: the area under the precision envelope, summed where recall rises.

    Args:
      pooled: a Pool.
      weights: float (P,), how often each image counts; None for once each.

    Returns:
      0 to 1; 0 without detections; NaN without ground truth.
    """
    weights, total = _weighted(pooled, weights)
    if total == 0:
        return np.nan
    seen = np.cumsum(weights)[
        pooled.hits
    ]  # (H,): detections so far, at the hits; the envelope's corners are there
    weights = weights[pooled.hits]
    hit = np.cumsum(weights)
    precision = np.divide(hit, seen, out=np.zeros_like(hit), where=seen > 0)
    return float(np.sum(weights * np.maximum.accumulate(precision[::-1])[::-1]) / total)


def coco_average_precisions(pooled, weights=None):
    """AP by the coco rule at each of COCO_IOUS, float64 (10,); arguments and special cases as ``average_precision``."""
    weights, total = _weighted(pooled, weights)
    if total == 0:
        return np.full(len(COCO_IOUS), np.nan)
    seen = np.cumsum(weights)
    precisions = np.zeros(len(COCO_IOUS))
    for index, hits in enumerate(pooled.coco_hits):
        hit = np.cumsum(weights[hits])
        precision = np.divide(hit, seen[hits], out=np.zeros_like(hit), where=hit > 0)
        # The first place where a recall is reached lies on a hit; for recall 0 the envelope is the same there.
        places = np.searchsorted(hit / total, COCO_RECALLS)
        places = places[places < len(hit)]
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        precisions[index] = np.sum(envelope[places]) / len(COCO_RECALLS)
    return precisions


def tally(matches, threshold):
    """The Tally of a list of Matches, of detections with a score of at least ``threshold``."""
    kept = [image.scores >= threshold for image in matches]
    return Tally(
        np.array(
            [np.sum(image.kinds[keep_] == HIT) for image, keep_ in zip(matches, kept)],
            dtype=np.float64,
        ),
        np.array([np.sum(keep_) for keep_ in kept], dtype=np.float64),
        np.array([len(image.truth_xyxy) for image in matches], dtype=np.float64),
    )


def figures(tallied, weights=None):
    """What a Tally says, by the pascal rule.

    precision = TP / (TP + FP), recall = TP / ground truths, f1 their harmonic mean 2 TP / (TP + FP + ground truths);
    the counts' errors are means over images of |detected - labelled| and of detected - labelled.

    Args:
      tallied: a Tally.
      weights: float (..., P), how often each image counts; None for once each.

    Returns:
      dict of float arrays of shape (...,); NaN where a figure is not defined (precision without detections, ...).
    """
    weights = np.ones(len(tallied.hits)) if weights is None else weights
    hits, detected, truths = (weights @ column for column in tallied)
    error = tallied.detected - tallied.truths
    pictures = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": hits / detected,
            "recall": hits / truths,
            "f1": 2 * hits / (detected + truths),
            "mean_absolute_count_error": weights @ np.abs(error) / pictures,
            "mean_count_error": weights @ error / pictures,
        }


def best_threshold(matches):
    """The highest score that maximises F1 (pascal rule, all classes together) if detections from it on are kept.

    Returns:
      A score of one of the detections, or None where there is no hit.
    """
    pooled = pool(matches)
    if not len(pooled.hits):
        return None
    scores = -np.sort(-np.concatenate([image.scores for image in matches]))
    seen = np.arange(1, len(scores) + 1)
    f1 = 2 * np.searchsorted(pooled.hits, seen) / (seen + pooled.truths.sum())
    last_of_equal = np.append(
        scores[1:] < scores[:-1], True
    )  # a threshold keeps equal scores together
    return float(scores[last_of_equal][np.argmax(f1[last_of_equal])])


def labelled_twice(matches):
    """How many ground truths lie on another of their image and class (boxes.doubled): at most a second detection of the same product
    hits such a one."""
    return sum(int(boxes.doubled(image.truth_xyxy, image.truth_classes).sum()) for image in matches)


def missed(image, threshold):
    """Which ground truths of a Matches no detection with a score of at least ``threshold`` hit, bool (M,)."""
    found = np.zeros(len(image.truth_xyxy), dtype=bool)
    found[image.truth_index[(image.kinds == HIT) & (image.scores >= threshold)]] = True
    return ~found


def keep(image, detections, truths):
    """A Matches with only those detections (bool (N,)) and ground truths (bool (M,)); what stays keeps its match.

    truth_index becomes -1 where the ground truth is left out.
    """
    # The new place of each ground truth, and of none:
    places = np.append(np.where(truths, np.cumsum(truths) - 1, -1), -1)
    return image._replace(
        truth_xyxy=image.truth_xyxy[truths],
        truth_classes=image.truth_classes[truths],
        boxes_xyxy=image.boxes_xyxy[detections],
        scores=image.scores[detections],
        classes=image.classes[detections],
        kinds=image.kinds[detections],
        truth_index=places[image.truth_index[detections]],
        iou=image.iou[detections],
        coco_hits=image.coco_hits[:, detections],
    )


def _weighted(pooled, weights):
    if weights is None:
        return np.ones(len(pooled.image)), pooled.truths.sum()
    return weights[pooled.image], weights @ pooled.truths


def _match(truth, found, one_class):
    scores = np.asarray(found.scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy = np.asarray(found.boxes_xyxy, dtype=np.float64).reshape(-1, 4)[order]
    truth_xyxy = np.asarray(truth.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    classes, truth_classes = (
        np.array([ANY_CLASS] * len(names) if one_class else names, dtype=object)
        for names in (found.classes, truth.classes)
    )
    classes = classes[order]
    iou = boxes.iou(boxes_xyxy, truth_xyxy)  # (N, M)
    iou[classes[:, None] != truth_classes[None, :]] = 0
    kinds, truth_index, best_iou = _pascal(iou)
    return Matches(
        truth.filename,
        truth.size_wh,
        truth_xyxy,
        truth_classes,
        boxes_xyxy,
        scores[order],
        classes,
        kinds,
        truth_index,
        best_iou,
        _coco(iou),
    )


def _pascal(iou):
    """(kinds, truth_index, iou) of the N detections, by falling score, of an (N, M) matrix."""
    count = len(iou)
    if iou.shape[1] == 0:
        return np.full(count, BACKGROUND, np.int8), np.full(count, -1), np.zeros(count)
    nearest = np.argmax(iou, axis=1)
    best = iou[np.arange(count), nearest]
    over = np.flatnonzero(best >= PASCAL_IOU)
    kinds = np.where(best >= BACKGROUND_IOU, BADLY_PLACED, BACKGROUND).astype(np.int8)
    kinds[over] = DUPLICATE
    kinds[over[np.unique(nearest[over], return_index=True)[1]]] = (
        HIT  # the first on each ground truth
    )
    return kinds, np.where(kinds == BACKGROUND, -1, nearest), best


def _coco(iou):
    """Hits of the N detections, by falling score, of an (N, M) matrix at each of COCO_IOUS, bool (10, N)."""
    hits = np.zeros((len(COCO_IOUS), len(iou)), dtype=bool)
    over = iou >= COCO_IOUS[0]
    choosers = over.sum(axis=1) > 1  # detections with a choice,
    contested = over[choosers].any(axis=0)  # and the ground truths they choose from
    rows, columns = np.nonzero(over & ~contested)
    # Without a choice the first detection that overlaps enough gets the ground truth, at each IoU: all at once.
    ious, pairs = np.nonzero(iou[rows, columns] >= COCO_IOUS[:, None])
    first = np.unique(ious * iou.shape[1] + columns[pairs], return_index=True)[1]
    hits[ious[first], rows[pairs[first]]] = True
    free = np.ones((len(COCO_IOUS), iou.shape[1]), dtype=bool)
    for row in np.flatnonzero((over & contested).any(axis=1)):
        near = np.flatnonzero(over[row])[::-1]  # pycocotools takes the last of equally good ones
        able = free[:, near] & (iou[row, near] >= COCO_IOUS[:, None])  # (10, near)
        taken = near[np.argmax(np.where(able, iou[row, near], -1), axis=1)]
        hit = able.any(axis=1)
        hits[hit, row] = True
        free[hit, taken[hit]] = False
    return hits


def _pairs(truth, detections, one_class):
    """(ground truth, detections) of each image, by file name, after checking that they belong together."""
    labelled, found = (
        {image.filename: image for image in images} for images in (truth, detections)
    )
    problems = []
    for names, text in (
        (labelled.keys() - found.keys(), "labelled but not looked at by the detector"),
        (found.keys() - labelled.keys(), "in the detections but not in the ground truth"),
    ):
        if names:
            problems.append(
                f"{len(names)} {text} ({', '.join(sorted(names)[:NAMES_SHOWN])}{', ...' if len(names) > NAMES_SHOWN else ''})"
            )
    if problems:
        raise UserError(
            f"ground truth and detections are not of the same images: {'; '.join(problems)}. Expected the same {len(labelled)} images in both: detect on exactly the labelled ones; an image without boxes must be listed too."
        )
    for name, image in labelled.items():
        sizes = (image.size_wh, found[name].size_wh)
        if None not in sizes and tuple(sizes[0]) != tuple(sizes[1]):
            raise UserError(
                "{}: {} x {} pixels in the ground truth, {} x {} in the detections. Expected boxes in "
                "pixels of the same image; scale one of them.".format(
                    name, *(tuple(sizes[0]) + tuple(sizes[1]))
                )
            )
    classes = [
        {label for image in images for label in image.classes} for images in (truth, detections)
    ]
    if all(classes) and not one_class and not classes[0] & classes[1]:
        raise UserError(
            "the ground truth has the classes {}, the detections {}: nothing can match. Give the classes "
            "the same names, or match whatever the class with --one-class.".format(
                *(", ".join(sorted(names)[:NAMES_SHOWN]) for names in classes)
            )
        )
    return [(labelled[name], found[name]) for name in sorted(labelled)]
