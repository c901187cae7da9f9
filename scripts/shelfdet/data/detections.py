"""Detections, and the files of any format that hold them.

A format is always named, never guessed; ``formats`` describes them. With ``scored=False`` a file
holds ground truth, which has no scores. This workspace writes COCO's JSON.
"""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes
from shelfdet.core.text import PathLike, Problems, listed, shown
from shelfdet.data import formats
from shelfdet.data.checks import box_units
from shelfdet.data.formats import BoxRow, ImageBoxes, coco

# With --clip: share of the boxes that may be more than half outside their image. Detectors that do
# not clip have some such boxes at the edges; more are boxes in other coordinates. A few boxes of a
# small file are no evidence.
MOST_CLIPPED = 0.2
FEW_CLIPPED = 5


class Detections(NamedTuple):
    """What was detected in one image or, where ``scores`` is None, what is labelled there.

    filename: base name.
    size_wh: raw pixels, None where it is not known.
    boxes_xyxy: float64 (N, 4), raw pixels.
    scores: float64 (N,), falling, ties in the order of the file.
    classes: tuple of N class names.
    """

    filename: str
    size_wh: Optional[Tuple[int, int]]
    boxes_xyxy: np.ndarray
    scores: Optional[np.ndarray]
    classes: Tuple[str, ...]


def write_detections(
    detections: Iterable[Detections],
    path: PathLike,
    info: Optional[Dict[str, Any]] = None,
    label_map: Optional[Mapping[str, int]] = None,
) -> None:
    """Writes COCO's JSON, one annotation a line, completely or not at all.

    Args:
      detections: Detections with scores and sizes, also of the images in which nothing was found. A
        box without area, which no matching rule counts, is left out.
      path: target file.
      info: how the detections were made; kept under "info".
      label_map: class name to id, which become the categories of the file.
    """
    coco.write((image_boxes(image) for image in detections), path, info, label_map)


def read_info(path: PathLike) -> Dict[str, Any]:
    """The "info" of a file in COCO's JSON; empty where there is none."""
    return coco.read_info(path)


def read_detections(
    path: PathLike,
    format: str = "coco",
    scored: bool = True,
    known: Optional[Sequence[Any]] = None,
    coco_ground_truth: Optional[PathLike] = None,
    clip: bool = False,
    check_boxes: bool = True,
) -> List[Detections]:
    """Reads and checks a file or folder of detections, or of ground truth.

    Args:
      path: a file (coco, csv) or a folder (voc, text).
      format: one of formats.DETECTION_FORMATS.
      scored: False reads ground truth, which has no scores.
      known: the images, anything with filename and size_wh. They give a name to files that are
        named after their images, and a size where the format states none.
      coco_ground_truth: the ground truth's JSON, which a bare list of COCO results needs.
      clip: clip boxes at the image's edge, and drop what is outside, instead of refusing them.
        Without it, those of ground truth are clipped that are outside by rounding.
      check_boxes: False leaves boxes as the file states them, inverted or outside their image, for
        the search of the reason.

    Returns:
      list of Detections in the order of the file (of the names, for folders).

    Raises:
      UserError: with the file and the line or entry of each problem:
        a missing, empty or broken file; no image;
        a score, box or size that is no number; scores in ground truth;
        an image or class that is not declared, or twice;
        boxes that are no pixels, or in another order;
        a box with swapped corners, without area or class, outside its image, or marked difficult
        or iscrowd;
        with ``clip``, too many boxes of which it would remove more than half.
    """
    assert format in formats.DETECTION_FORMATS, format
    known_sizes = {image.filename: image.size_wh for image in known or ()}
    options = {"ground_truth": coco_ground_truth} if format == "coco" else {}
    problems = Problems(path)
    images = formats.read(path, format, problems, scored=scored, image_names=known_sizes, **options)
    sized = [
        _in_pixels(
            image._replace(size_wh=image.size_wh or known_sizes.get(image.filename)), problems
        )
        for image in images.values()
    ]
    if check_boxes:
        sized = _check_boxes(sized, scored, clip, problems)
    problems.refuse()
    if not sized:
        raise UserError(
            f"{path}: no image in it; expected every image that was processed, also those without "
            "boxes. Check the path."
        )
    return [_detections(image, scored) for image in sized]


def _check_boxes(
    images: Sequence[ImageBoxes], scored: bool, clip: bool, problems: Problems
) -> List[ImageBoxes]:
    """The images with the boxes that are valid, or clipped; notes the others as problems.

    Raises:
      UserError: the boxes of the whole file are no pixels, or in another order.
    """
    box_units.check_units(images, problems, scored)
    clipping = _Clipping()
    checked = []
    for image in images:
        clipping.add(image.rows, image.size_wh)
        rows = [_checked_row(row, image.size_wh, scored, clip, problems) for row in image.rows]
        checked.append(image._replace(rows=[row for row in rows if row is not None]))
    if clip:
        clipping.check(problems)
    return checked


def _in_pixels(image: ImageBoxes, problems: Problems) -> ImageBoxes:
    """An image with its boxes in pixels; without boxes after noting that its size is not known."""
    if not image.in_shares or image.size_wh is not None or not image.rows:
        return box_units.to_pixels(image, image.size_wh)
    problems.add(
        image.place,
        f"the boxes are in shares of the image {shown(image.filename)}, whose size is not known; "
        "expected one of the scored images. Give the labels of these images as a format with "
        "sizes (csv, coco), or remove the file.",
    )
    return image._replace(rows=[], in_shares=False)


class _Clipping:
    """Counts the boxes of which clipping removes more than half."""

    def __init__(self) -> None:
        self._boxes = 0
        self._mostly_outside: List[str] = []  # places

    def add(self, rows: Sequence[BoxRow], size_wh: Optional[Tuple[int, int]]) -> None:
        if not rows:
            return
        boxes_xyxy = np.array([row.box_xyxy for row in rows], dtype=np.float64)
        inside_xyxy = boxes.clip(boxes_xyxy, size_wh or (np.inf, np.inf))
        is_outside = boxes.areas(inside_xyxy) < boxes.areas(boxes_xyxy) / 2
        self._boxes += len(rows)
        self._mostly_outside += [rows[index].place for index in np.flatnonzero(is_outside)]

    def check(self, problems: Problems) -> None:
        """Notes a problem if they are too many for boxes in pixels of their images."""
        if len(self._mostly_outside) > max(FEW_CLIPPED, MOST_CLIPPED * self._boxes):
            problems.add(
                "",
                f"{len(self._mostly_outside)} of {self._boxes} boxes are more than half outside "
                f"their image ({listed(self._mostly_outside, 3)}); expected at most "
                f"{MOST_CLIPPED:.0%} for --clip, which is for boxes at the edge. Check the order "
                "and the unit of the coordinates: pixels of the image on disk.",
            )


def image_boxes(image: Detections) -> ImageBoxes:
    """The plain form of one image, by falling score, without boxes of no area."""
    boxes_xyxy = np.asarray(image.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    scores = np.asarray(image.scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")  # stable: equal scores keep their order
    order = order[boxes.areas(boxes_xyxy[order]) > 0]
    rows = [
        BoxRow("", image.classes[index], tuple(boxes_xyxy[index].tolist()), float(scores[index]))
        for index in order
    ]
    return ImageBoxes(image.filename, "", image.size_wh, rows)


def _detections(image: ImageBoxes, scored: bool) -> Detections:
    """The arrays of one image: detections by falling score, or ground truth without equal boxes."""
    rows = image.rows if scored else _without_equals(image.rows)
    boxes_xyxy = np.array([row.box_xyxy for row in rows], dtype=np.float64).reshape(-1, 4)
    classes = tuple(row.label for row in rows)
    if not scored:
        return Detections(image.filename, image.size_wh, boxes_xyxy, None, classes)
    scores = np.array([row.score for row in rows], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")  # stable: equal scores keep their order
    sorted_classes = tuple(classes[index] for index in order)
    return Detections(
        image.filename, image.size_wh, boxes_xyxy[order], scores[order], sorted_classes
    )


def _checked_row(
    row: BoxRow, size_wh: Optional[Tuple[int, int]], scored: bool, clip: bool, problems: Problems
) -> Optional[BoxRow]:
    """The row with its box inside the image; None where it is dropped, or after a problem."""
    if row.left_out:
        problems.add(
            row.place,
            f"is one of the {row.left_out}, which are no boxes; expected boxes, all of which "
            "count. Remove it, or draw a box.",
        )
        return None
    mark = "difficult" if row.difficult else "iscrowd"
    if row.difficult or row.crowd:
        problems.add(
            row.place,
            f"is marked {mark}; expected boxes that all count, since both matching rules here "
            "count every one. Unset the mark, or name ground truth without such boxes.",
        )
        return None
    if not row.label:
        problems.add(row.place, "the class is empty; expected the name of one. Write it.")
        return None
    box_xyxy = _checked_box(row, size_wh, scored, clip, problems)
    return None if box_xyxy is None else row._replace(box_xyxy=box_xyxy)


def _checked_box(
    row: BoxRow, size_wh: Optional[Tuple[int, int]], scored: bool, clip: bool, problems: Problems
) -> Optional[Tuple[float, ...]]:
    """The box of a row, of ground truth the part inside; None as ``_checked_row`` returns it."""
    xmin, ymin, xmax, ymax = row.box_xyxy
    box_text = f"the box xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
    if xmax <= xmin or ymax <= ymin:
        problems.add(
            row.place,
            f"{box_text} has swapped corners or no area; expected xmin < xmax and ymin < ymax. "
            "Check the order of the columns.",
        )
        return None
    # Where the size is not known, only the left and the upper edge are.
    width, height = (np.inf, np.inf) if size_wh is None else size_wh
    is_rounding = box_units.outside_px(row.box_xyxy, (width, height)) <= box_units.ROUNDING_PX
    if scored and is_rounding:
        return row.box_xyxy  # detections are scored as they are
    inside_xyxy = box_units.without_rounding(row.box_xyxy, (width, height))
    if not scored and inside_xyxy is not None:
        return inside_xyxy
    if clip:
        clipped_xyxy = boxes.clip(row.box_xyxy, (width, height))
        has_area = boxes.areas(clipped_xyxy)[0] > 0
        return tuple(clipped_xyxy[0].tolist()) if has_area else None
    how_to_clip = "clip them with --clip"
    if not scored:
        how_to_clip = "write label files from the annotations with `make data`, which clips them"
    if size_wh is None:
        problems.add(
            row.place,
            f"{box_text} starts outside its image; expected pixels of the image on disk, from 0. "
            f"Correct the boxes, or {how_to_clip}.",
        )
    else:
        problems.add(
            row.place,
            f"{box_text} reaches outside its image of {width} x {height} pixels; expected pixels "
            f"of the image on disk. Scale the boxes, or {how_to_clip}.",
        )
    return None


def _without_equals(rows: Sequence[BoxRow]) -> List[BoxRow]:
    """The rows of ground truth, those of one class and box once, as step 02 reads them."""
    kept: Dict[Tuple[Any, ...], BoxRow] = {}
    for row in rows:
        kept.setdefault((row.label, row.box_xyxy), row)
    return list(kept.values())
