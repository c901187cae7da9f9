"""Searches for the reason why detections do not match ground truth: other coordinates.

Boxes of other tools may have another order of numbers, another unit, or be of a resized or rotated
image. Each usual confusion is tried on the data: one under which many boxes match is the likely
reason. Classes are ignored here.
"""

from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

import numpy as np

from shelfdet.core import boxes, disk_list
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, plural
from shelfdet.data.checks import box_units
from shelfdet.data.detections import Detections
from shelfdet.evaluation.matching import PASCAL_IOU

# An image is suspicious if fewer of its boxes match. In dense rows of products boxes with swapped
# axes still match by chance, in up to a fifth of the cases.
SUSPICIOUS_SHARE = 0.3
# Of all ground-truth boxes of an evaluation: fewer deserve a warning also without a reason.
NEARLY_NONE = 0.05
# A confusion is the reason if this share of the boxes matches with it, and so many times as many
# as without. With fewer matches than the last, it could be chance: over a hundred are tried.
EXPLAINED_SHARE = 0.3
EXPLAINED_RATIO = 4
EXPLAINED_MATCHES = 5
# A reading has to be better than a simpler one by this factor: scales that differ by 1 % give
# nearly the same boxes.
BETTER = 1.02
MOST_IMAGES = 40  # that each confusion is tried on

SizeWH = Optional[Sequence[int]]


class Frame(NamedTuple):
    """What coordinates are measured in.

    name: for messages, after "the boxes are ...".
    remedy: how to change them to pixels of the image on disk.
    to_pixels: from (N, 4) corners and (width, height) of the image to corners in its pixels.
    needs_size: to_pixels needs that size; the frame is not tried on images of unknown size.
    """

    name: str
    remedy: str
    to_pixels: Callable[[np.ndarray, Sequence[int]], np.ndarray]
    needs_size: bool = True


class Explanation(NamedTuple):
    """A reading of the boxes under which many match.

    in_truth: the ground truth has to be read so, not the detections.
    text: what the boxes seem to be, what was expected, and the remedy.
    filenames: the images in which the boxes seem to be meant so.
    share: of all boxes that could match, the share in those images.
    """

    in_truth: bool
    text: str
    filenames: List[str]
    share: float


# ---- the orders of numbers ---------------------------------------------------------------------

CORNERS = "xmin, ymin, xmax, ymax"
XYWH = "x, y, width, height"


def expected_order(format: str) -> str:
    """The order of the four numbers of a box in a file of ``format``."""
    return XYWH if format == "coco" else CORNERS


def _orders(expected: str) -> Dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What the numbers may be, and how they become corners; what is expected comes first."""
    if expected == XYWH:
        return {XYWH: box_units.XYXY_ORDERS[XYWH], **box_units.XYWH_ORDERS}
    return {CORNERS: box_units.XYWH_ORDERS[CORNERS], **box_units.XYXY_ORDERS}


# ---- the units and orientations ----------------------------------------------------------------


def _resized_to(side: float) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    return lambda xyxy, size_wh: boxes.scale(xyxy, (side, side), size_wh)


def _longer_side(side: float) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    return lambda xyxy, size_wh: xyxy * max(size_wh) / side


def _times(factor: float) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    return lambda xyxy, size_wh: xyxy * factor


def _turned_clockwise(xyxy: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    """From boxes in the image rotated 90 degrees clockwise: there x is height - y, and y is x."""
    height = size_wh[1]
    xmin, ymin, xmax, ymax = xyxy.T
    return np.stack([ymin, height - xmax, ymax, height - xmin], axis=1)


def _turned_counterclockwise(xyxy: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    width = size_wh[0]
    xmin, ymin, xmax, ymax = xyxy.T
    return np.stack([width - ymax, xmin, width - ymin, xmax], axis=1)


def _turned_half(xyxy: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    return np.tile(np.asarray(size_wh, dtype=np.float64), 2) - xyxy[:, [2, 3, 0, 1]]


def _from_lower_edge(xyxy: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    height = size_wh[1]
    xmin, ymin, xmax, ymax = xyxy.T
    return np.stack([xmin, height - ymax, xmax, height - ymin], axis=1)


def _unit_from_lower_edge(xyxy: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    return _from_lower_edge(boxes.scale(xyxy, (1, 1), size_wh), size_wh)


PIXELS = Frame("pixels", "", lambda xyxy, size_wh: xyxy, needs_size=False)
_TURN_REMEDY = (
    f"Detect in and label the images as they are stored with "
    f"{both('--exif ignore')}, or rotate the "
    "boxes back."
)
FRAMES = (
    PIXELS,
    Frame(
        "fractions of the image's width and height (0 to 1)",
        "Multiply x by the width and y by the height of the image.",
        _resized_to(1),
    ),
    Frame(
        "thousandths of the image's width and height (0 to 1000)",
        "Multiply x by width / 1000 and y by height / 1000.",
        _resized_to(1000),
    ),
    Frame(
        "percent of the image's width and height (0 to 100)",
        "Multiply x by width / 100 and y by height / 100.",
        _resized_to(100),
    ),
    *[
        Frame(
            f"pixels of the image at {name} its size",
            f"Multiply them by {factor:g}.",
            _times(factor),
            needs_size=False,
        )
        for name, factor in (("half", 2), ("double", 0.5), ("a quarter of", 4), ("4 times", 0.25))
    ],
    Frame(
        "pixels of the image rotated by 90 degrees clockwise, as EXIF orientation 6 asks",
        _TURN_REMEDY,
        _turned_clockwise,
    ),
    Frame(
        "pixels of the image rotated by 90 degrees counterclockwise, as EXIF orientation 8 asks",
        _TURN_REMEDY,
        _turned_counterclockwise,
    ),
    Frame(
        "pixels of the image rotated by 180 degrees, as EXIF orientation 3 asks",
        _TURN_REMEDY,
        _turned_half,
    ),
    Frame("pixels with y from the lower edge", "Write height - y for y.", _from_lower_edge),
    Frame(
        "fractions of the image's width and height (0 to 1) with y from the lower edge",
        "Multiply x by the width, and 1 - y by the height.",
        _unit_from_lower_edge,
    ),
    # Input sizes of usual detectors.
    *[
        Frame(
            f"pixels of the image resized to about {side} x {side}",
            f"Multiply x by width / {side} and y by height / {side}.",
            _resized_to(side),
        )
        for side in (224, 256, 300, 320, 416, 512, 608, 640, 800, 1024, 1280)
    ],
    *[
        Frame(
            f"pixels of the image resized so that its longer side is about {side}",
            f"Multiply them by the longer side / {side}.",
            _longer_side(side),
        )
        for side in (320, 416, 512, 640, 800, 1024, 1280, 1333, 1600, 2048)
    ],
)


# ---- the search --------------------------------------------------------------------------------


class Pair(NamedTuple):
    """The boxes of both sides in one image; detections by falling score."""

    filename: str
    size_wh: SizeWH
    truth_xyxy: np.ndarray  # float64 (M, 4)
    found_xyxy: np.ndarray  # float64 (N, 4)


def pairs(truth: Sequence[Detections], found: Sequence[Detections]) -> Sequence[Pair]:
    """The images that are in both."""
    places = {image.filename: place for place, image in enumerate(found)}
    in_both = [place for place, image in enumerate(truth) if image.filename in places]

    def pair(place: int) -> Pair:
        labelled = truth[place]
        detected = found[places[labelled.filename]]
        size_wh = labelled.size_wh or detected.size_wh
        return Pair(labelled.filename, size_wh, labelled.boxes_xyxy, detected.boxes_xyxy)

    return disk_list.Mapped(pair, in_both)


def explain(images: Sequence[Pair], truth_format: str, found_format: str) -> Optional[Explanation]:
    """The likely reason why boxes do not match, from the images in which few do.

    Args:
      images: their boxes may be inverted, or outside of the image.
      truth_format, found_format: of their files, which state the order of the numbers.

    Returns:
      The reading under which most boxes match; None where there is none, or nothing to explain.
    """
    # Of the images only places are kept: there may be millions.
    images = disk_list.Mapped(_best_detections, images)
    places = [place for place, image in enumerate(images) if _is_suspicious(image)]
    filenames = [images[place].filename for place in places]
    share = _possible(images[place] for place in places) / max(_possible(images), 1)
    suspicious = [images[place] for place in places[:: -(-len(places) // MOST_IMAGES) or 1]]
    best = _best_reading(suspicious, expected_order(found_format), in_truth=False)
    in_truth = _best_reading(suspicious, expected_order(truth_format), in_truth=True)
    # Most confusions explain as much from either side, and labels have been checked more often.
    if in_truth.matched > BETTER * best.matched:
        best = in_truth
    possible = _possible(suspicious)
    as_read = sum(_count_matches(image) for image in suspicious)
    enough = max(EXPLAINED_MATCHES, EXPLAINED_SHARE * possible, EXPLAINED_RATIO * as_read)
    if best.matched < enough:
        return None
    expected = expected_order(truth_format if best.in_truth else found_format)
    return Explanation(best.in_truth, _text(best, expected, possible, as_read), filenames, share)


def matched_share(images: Sequence[Pair]) -> float:
    """Share of the boxes that could match, min(detections, ground truth), that do, at any score."""
    possible = matched = 0
    for image in images:
        possible += min(len(image.found_xyxy), len(image.truth_xyxy))
        matched += _count_matches(image)
    return matched / max(possible, 1)


class _Reading(NamedTuple):
    """How well boxes match if they are read in one way.

    quality: sum of the IoUs of the ground-truth boxes that match.
    matched: number of those boxes.
    """

    in_truth: bool
    order: str
    frame: Frame
    quality: float
    matched: int


def _best_detections(image: Pair) -> Pair:
    """The same with no more detections than could match."""
    return image._replace(found_xyxy=image.found_xyxy[: len(image.truth_xyxy)])


def _matched(found_xyxy: np.ndarray, truth_xyxy: np.ndarray) -> np.ndarray:
    """For each ground-truth box the IoU with the best detection; 0 under PASCAL_IOU; (M,)."""
    if not len(found_xyxy) or not len(truth_xyxy):
        return np.zeros(len(truth_xyxy))
    best = boxes.iou(found_xyxy, truth_xyxy).max(axis=0)
    return np.where(best >= PASCAL_IOU, best, 0)


def _count_matches(image: Pair) -> int:
    return int(np.count_nonzero(_matched(image.found_xyxy, image.truth_xyxy)))


def _is_suspicious(image: Pair) -> bool:
    return _count_matches(image) < SUSPICIOUS_SHARE * len(image.found_xyxy)


def _possible(images: Iterable[Pair]) -> int:
    """How many boxes could match, where no image has more detections than ground truth."""
    return sum(len(image.found_xyxy) for image in images)


def _best_reading(images: Sequence[Pair], expected: str, in_truth: bool) -> _Reading:
    readings = (
        _try(images, expected, order, frame, in_truth)
        for order in _orders(expected)
        for frame in FRAMES
    )
    best = next(readings)
    for reading in readings:
        if reading.quality > BETTER * best.quality:
            best = reading
    return best


def _try(
    images: Sequence[Pair], expected: str, order: str, frame: Frame, in_truth: bool
) -> _Reading:
    """How well the boxes of one side match, read in ``order`` and ``frame``."""
    to_xyxy = _orders(expected)[order]
    matched = 0
    quality = 0.0
    for image in images:
        if frame.needs_size and image.size_wh is None:
            continue
        xyxy = image.truth_xyxy if in_truth else image.found_xyxy
        # The four numbers as they are in the file.
        numbers = xyxy
        if expected == XYWH:
            numbers = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
        xyxy = frame.to_pixels(to_xyxy(numbers), image.size_wh)
        if in_truth:
            best = _matched(image.found_xyxy, xyxy)
        else:
            best = _matched(xyxy, image.truth_xyxy)
        matched += int(np.count_nonzero(best))
        quality += float(best.sum())
    return _Reading(in_truth, order, frame, quality, matched)


def _text(reading: _Reading, expected: str, possible: int, as_read: int) -> str:
    remedies = [reading.frame.remedy] if reading.frame.remedy else []
    if reading.order != expected:
        remedies.append(f"Write the numbers of a box in the order {expected}.")
    return (
        f"{as_read} of {counted(possible, 'box')} {plural(as_read, 'matches', 'match')} (IoU "
        f"{PASCAL_IOU:g}) as read, and {reading.matched} if they are {reading.order} in "
        f"{reading.frame.name}; expected {expected} in pixels of the image on disk. "
        f"{' '.join(remedies)}"
    )
