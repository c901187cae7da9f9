"""Detections, and the files of any format that hold them.

A format is always named, never guessed; ``formats`` describes them. With ``scored=False`` a file
holds ground truth, which has no scores. This workspace writes COCO's JSON.
"""

from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, disk_list
from shelfdet.core.text import PathLike, Problems, listed, shown
from shelfdet.data import formats
from shelfdet.data.checks import box_units, share_units
from shelfdet.data.formats import BoxRow, ImageBoxes, coco
from shelfdet.data.formats.image_boxes import described

# With --clip: share of the boxes that may be more than half outside their image. Detectors that do
# not clip have some such boxes at the edges; more are boxes in other coordinates. A few boxes of a
# small file are no evidence.
MOST_CLIPPED = 0.2
FEW_CLIPPED = 5
# Boxes in shares of their image have no corner beyond this, in whatever order their numbers are.
MOST_OF_SHARES = 2 * box_units.SHARES[1]


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
) -> Sequence[Detections]:
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
      Detections in the order of the file (of the names, for folders), kept on disk where they are
      many.

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

    def stream(problems: Problems) -> Iterable[ImageBoxes]:
        """The images with their boxes in pixels; none is kept, a file may hold millions."""
        images = formats.stream(path, format, problems, scored, known_sizes, **options)
        for image in share_units.checked(images, known_sizes, problems):
            size_wh = image.size_wh or known_sizes.get(image.filename)
            yield _in_pixels(image._replace(size_wh=size_wh), problems)

    problems = Problems(path)
    checks = _BoxChecks(scored, clip, problems) if check_boxes else None
    found = _ImagesByName(scored)
    for image in stream(problems):
        if checks is not None:
            image = checks.checked(image)
        found.add(image)
    if checks is not None:
        checks.finish(lambda: _refuse_other_units(path, stream, scored))
    problems.refuse()
    images = found.images()
    if not images:
        raise UserError(
            f"{path}: no image in it; expected every image that was processed, also those without "
            "boxes. Check the path."
        )
    return images


class _BoxChecks:
    """Checks the boxes of a file, image by image."""

    def __init__(self, scored: bool, clip: bool, problems: Problems) -> None:
        """Arguments as in ``read_detections``; problems collects the boxes that are not valid."""
        self._scored = scored
        self._clip = clip
        self._problems = problems
        self._clipping = _Clipping()
        self._boxes = 0
        self._wrong = 0  # boxes that may be in another order
        self._with_boxes = 0  # images
        self._tiny = 0  # images whose boxes may be shares of it

    def checked(self, image: ImageBoxes) -> ImageBoxes:
        """The image with the boxes that are valid, or clipped; notes the others as problems."""
        if not image.rows:
            return image
        boxes_xyxy = np.array([row.box_xyxy for row in image.rows], dtype=np.float64)
        self._boxes += len(image.rows)
        self._with_boxes += 1
        self._tiny += bool(boxes_xyxy.max() <= MOST_OF_SHARES)
        sides = np.tile(image.size_wh or (np.inf, np.inf), 2)
        is_inside = (boxes_xyxy >= 0).all() and (boxes_xyxy <= sides).all()
        has_area = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all()
        if is_inside and has_area and not any(map(_is_special, image.rows)):
            self._clipping.add_inside(len(image.rows))
            return image  # as nearly all are; one by one takes much longer
        self._wrong += box_units.count_wrong(boxes_xyxy, image.size_wh)
        self._clipping.add(image.rows, image.size_wh)
        rows = [
            _checked_row(row, image.size_wh, self._scored, self._clip, self._problems)
            for row in image.rows
        ]
        return image._replace(rows=[row for row in rows if row is not None])

    def finish(self, refuse_other_units: Callable[[], None]) -> None:
        """Checks all boxes of the file together.

        Args:
          refuse_other_units: reads the file once more, and raises UserError where its boxes are no
            pixels, or in another order. Called only where that may be.
        """
        all_tiny = self._tiny == self._with_boxes
        if (self._tiny and (all_tiny or not self._scored)) or box_units.are_many(
            self._wrong, self._boxes
        ):
            refuse_other_units()
        if self._clip:
            self._clipping.check(self._problems)


def _is_special(row: BoxRow) -> bool:
    """Whether a row is marked, or has no class."""
    return bool(row.left_out or row.difficult or row.crowd or not row.label)


def _refuse_other_units(
    path: PathLike, stream: Callable[[Problems], Iterable[ImageBoxes]], scored: bool
) -> None:
    problems = Problems(path)
    images = formats.joined(stream(problems))
    box_units.check_units(images.values(), problems, scored)


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
        boxes_xyxy = np.array([row.box_xyxy for row in rows], dtype=np.float64)
        inside_xyxy = boxes.clip(boxes_xyxy, size_wh or (np.inf, np.inf))
        is_outside = boxes.areas(inside_xyxy) < boxes.areas(boxes_xyxy) / 2
        self._boxes += len(rows)
        self._mostly_outside += [rows[index].place for index in np.flatnonzero(is_outside)]

    def add_inside(self, count: int) -> None:
        """Counts boxes that are inside their image."""
        self._boxes += count

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


class _ImagesByName:
    """Collects the Detections of a file, whose images may come in several parts."""

    def __init__(self, scored: bool) -> None:
        self._scored = scored
        # Each part, with the place of the part of the same image before it (None: it is the first).
        # Parts are joined once, at the end: a CSV sorted by score has as many parts as rows.
        self._parts = disk_list.DiskList()
        self._last_places: Dict[str, int] = {}  # of each image; a dict keeps their order

    def add(self, image: ImageBoxes) -> None:
        """Adds the boxes of an image, or of a part of it."""
        before = self._last_places.get(image.filename)
        if before is not None and not image.rows:
            return
        boxes_xyxy = np.array([row.box_xyxy for row in image.rows], dtype=np.float64).reshape(-1, 4)
        scores = np.array([row.score for row in image.rows], dtype=np.float64)
        part = Detections(
            image.filename,
            image.size_wh,
            boxes_xyxy,
            scores if self._scored else None,
            tuple(row.label for row in image.rows),
        )
        self._last_places[image.filename] = len(self._parts)
        self._parts.append((self._finished(part), before))

    def images(self) -> Sequence[Detections]:
        """All images, in the order in which their first parts were added."""
        images = disk_list.Mapped(self._whole, list(self._last_places.values()))
        if len(images) == len(self._parts):
            return images
        return disk_list.DiskList(images)

    def _whole(self, last_place: int) -> Detections:
        """The image whose last part is at ``last_place``."""
        parts = []
        place: Optional[int] = last_place
        while place is not None:
            part, place = self._parts[place]
            parts.append(part)
        return parts[0] if len(parts) == 1 else self._finished(_joined(parts[::-1]))

    def _finished(self, image: Detections) -> Detections:
        return _by_score(image) if self._scored else _without_equals(image)


def _joined(parts: Sequence[Detections]) -> Detections:
    """An image of its parts, in their order."""
    scores = None
    if parts[0].scores is not None:
        scores = np.concatenate([part.scores for part in parts])
    return parts[0]._replace(
        boxes_xyxy=np.concatenate([part.boxes_xyxy for part in parts]),
        scores=scores,
        classes=tuple(label for part in parts for label in part.classes),
    )


def _by_score(image: Detections) -> Detections:
    """The same by falling score."""
    order = np.argsort(-image.scores, kind="stable")  # stable: equal scores keep their order
    return image._replace(
        boxes_xyxy=image.boxes_xyxy[order],
        scores=image.scores[order],
        classes=tuple(image.classes[index] for index in order),
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
    box_text = described(row)
    if xmax <= xmin or ymax <= ymin:
        problems.add(
            row.place,
            f"{box_text} has swapped corners or no area; expected a width and height above 0 "
            "(xmin < xmax, ymin < ymax). Check the order of the columns.",
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


def _without_equals(image: Detections) -> Detections:
    """Ground truth with the boxes of one class and place once, as step 02 reads them."""
    kept: Dict[Tuple[Any, ...], int] = {}
    for index, box in enumerate(zip(image.classes, map(tuple, image.boxes_xyxy.tolist()))):
        kept.setdefault(box, index)
    if len(kept) == len(image.classes):
        return image
    indices = list(kept.values())
    return image._replace(
        boxes_xyxy=image.boxes_xyxy[indices],
        classes=tuple(image.classes[index] for index in indices),
    )
