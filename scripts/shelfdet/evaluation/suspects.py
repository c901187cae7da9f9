"""Labels worth a second look: where a detector and the labels of an image disagree.

The detections from a score on are paired with the labels, each with at most one, the pairs of the
highest IoU first. Each disagreement has a suspicion from 0 to 1 by which all are sorted:

* ``no label``: a detection without a label; its score. A second detection of a labelled product is
  the detector's mistake and none of the labels.
* ``no detection``: a label without a detection; 1 less the highest score of those, also below the
  threshold, that overlap it by IoU 0.5.
* ``badly placed``: a pair whose IoU is below 0.6; the score times 1 less the IoU.
* ``other class``: a pair of two classes; the score.
* ``duplicate label``: a label that overlaps an earlier one of its class; their IoU.

Where a detector misses many labels, ``no detection`` says little about them, and comes last.
"""

import collections
from typing import Any, Counter, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes
from shelfdet.evaluation.matching import BACKGROUND_IOU, PASCAL_IOU, Matches

NO_LABEL = "no label"
NO_DETECTION = "no detection"
BADLY_PLACED = "badly placed"
OTHER_CLASS = "other class"
DUPLICATE = "duplicate label"
REASONS = (NO_LABEL, NO_DETECTION, BADLY_PLACED, OTHER_CLASS, DUPLICATE)

# Boxes that two persons draw of one product agree by more.
WELL_PLACED_IOU = 0.6
# Labels are rarely wrong at so large a share: a detector that misses more of them is weak.
MOST_MISSED = 0.25

Box = Tuple[float, float, float, float]


class Suspect(NamedTuple):
    """One disagreement.

    filename: of the image.
    reason: one of REASONS.
    suspicion: 0 to 1.
    label_xyxy, label: box and class of the label; None of NO_LABEL.
    detection_xyxy, detection, score: of the detection; None of NO_DETECTION and DUPLICATE.
    """

    filename: str
    reason: str
    suspicion: float
    label_xyxy: Optional[Box] = None
    label: Optional[str] = None
    detection_xyxy: Optional[Box] = None
    detection: Optional[str] = None
    score: Optional[float] = None

    @property
    def box_xyxy(self) -> Box:
        """Where to look: the label or, where there is none, the detection."""
        box_xyxy = self.label_xyxy or self.detection_xyxy
        assert box_xyxy is not None
        return box_xyxy


def find(images: Sequence[Matches], threshold: float) -> List[Suspect]:
    """The suspects of all images, the worst first, those of NO_DETECTION last if ``misses_many``.

    Suspects of equal suspicion are in turns of all their images: the first of each image, then the
    second of each. Otherwise a list of the worst could be of one image.

    Args:
      images: labels as ground truth, with detections of any score.
      threshold: the lowest score of a detection that is compared with the labels.
    """
    found = [suspect for image in images for suspect in _find_in_image(image, threshold)]
    is_weak = misses_many(found, count_labels(images))
    turns: Counter[Tuple[bool, float, str]] = collections.Counter()
    keys = []
    for suspect in found:
        is_last = is_weak and suspect.reason == NO_DETECTION
        equal = (is_last, -suspect.suspicion, suspect.filename)
        keys.append((is_last, -suspect.suspicion, turns[equal]))
        turns[equal] += 1
    # Stable: within a turn in the order of the images.
    return [found[index] for index in sorted(range(len(found)), key=keys.__getitem__)]


def count_labels(images: Iterable[Matches]) -> int:
    """The number of labels of all images."""
    return sum(len(image.truth_xyxy) for image in images)


def count_missed(found: Iterable[Suspect]) -> int:
    """The number of labels without a detection."""
    return sum(suspect.reason == NO_DETECTION for suspect in found)


def misses_many(found: Iterable[Suspect], label_count: int) -> bool:
    """Whether the detector misses so many labels that it is at fault rather than they."""
    return count_missed(found) > MOST_MISSED * label_count


def as_json(suspects: Iterable[Suspect]) -> List[Dict[str, Any]]:
    """Suspects for a JSON file, without what they lack."""
    return [
        {key: value for key, value in suspect._asdict().items() if value is not None}
        for suspect in suspects
    ]


def _find_in_image(image: Matches, threshold: float) -> List[Suspect]:
    is_counted = image.scores >= threshold
    overlaps = boxes.iou(image.truth_xyxy, image.boxes_xyxy)  # (M labels, N detections)
    pairs = _pairs(np.where(is_counted, overlaps, 0))
    suspects = _duplicates(image)
    is_second = boxes.duplicates(image.truth_xyxy, image.truth_classes)
    for truth in range(len(image.truth_xyxy)):
        if truth in pairs:
            suspects += _disagreement(image, truth, pairs[truth], overlaps[truth, pairs[truth]])
        elif not is_second[truth]:
            scores = image.scores[overlaps[truth] >= PASCAL_IOU]
            suspicion = 1 - float(scores.max()) if len(scores) else 1.0
            suspects.append(_of_label(image, NO_DETECTION, suspicion, truth))
    for row in np.flatnonzero(is_counted):
        is_of_label = row in pairs.values() or (overlaps[:, row] >= PASCAL_IOU).any()
        if not is_of_label:
            score = float(image.scores[row])
            suspects.append(_with_detection(Suspect(image.filename, NO_LABEL, score), image, row))
    return suspects


def _pairs(overlaps: np.ndarray) -> Dict[int, int]:
    """Label to detection, each in one pair, those of the highest IoU first.

    Args:
      overlaps: IoU (M, N) of labels and detections.
    """
    pairs: Dict[int, int] = {}
    rows, columns = np.nonzero(overlaps >= BACKGROUND_IOU)
    for index in np.argsort(-overlaps[rows, columns], kind="stable"):
        truth, found = int(rows[index]), int(columns[index])
        if truth not in pairs and found not in pairs.values():
            pairs[truth] = found
    return pairs


def _disagreement(image: Matches, truth: int, found: int, iou: float) -> List[Suspect]:
    """At most one suspect of a pair."""
    score = float(image.scores[found])
    if iou < WELL_PLACED_IOU:
        suspect = _of_label(image, BADLY_PLACED, score * (1 - float(iou)), truth)
    elif image.truth_classes[truth] != image.classes[found]:
        suspect = _of_label(image, OTHER_CLASS, score, truth)
    else:
        return []
    return [_with_detection(suspect, image, found)]


def _duplicates(image: Matches) -> List[Suspect]:
    is_second = boxes.duplicates(image.truth_xyxy, image.truth_classes)
    found = []
    for truth in np.flatnonzero(is_second):
        same_class = image.truth_classes[:truth] == image.truth_classes[truth]
        earlier = image.truth_xyxy[:truth][same_class]
        iou = float(boxes.iou(image.truth_xyxy[truth : truth + 1], earlier).max())
        found.append(_of_label(image, DUPLICATE, iou, truth))
    return found


def _of_label(image: Matches, reason: str, suspicion: float, truth: int) -> Suspect:
    box_xyxy = tuple(image.truth_xyxy[truth].tolist())
    return Suspect(image.filename, reason, suspicion, box_xyxy, str(image.truth_classes[truth]))


def _with_detection(suspect: Suspect, image: Matches, row: int) -> Suspect:
    return suspect._replace(
        detection_xyxy=tuple(image.boxes_xyxy[row].tolist()),
        detection=str(image.classes[row]),
        score=float(image.scores[row]),
    )
