"""Whether boxes that a format states in shares of their image are in pixels or percent instead.

YOLO's label files hold shares of the width and height, from 0 to 1. Converters forget to divide: in
such a file every line is wrong, so that one message names the files and the likely cause.
"""

from typing import Iterable, Iterator, List, Mapping, NamedTuple

import numpy as np

from shelfdet.core.text import Problems, counted, listed, plural
from shelfdet.data.checks import box_units
from shelfdet.data.formats import ImageBoxes
from shelfdet.data.formats.image_boxes import described

# A number above this is no share, however far outside its image a box may be. In a file where more
# than half of the boxes have one, that is the unit of the file; otherwise they are single mistakes.
LARGEST_SHARE = 4.0
MOSTLY = 0.5
# Of boxes read in the right unit, at most this share is wrong for other reasons.
UNEXPLAINED_SHARE = 0.05
LARGEST_PERCENT = 101.0  # 100, and rounding
# In larger images, pixels that are all below 100 would be in one corner.
SMALLEST_SIDE_FOR_PERCENT = 200


class _Unit(NamedTuple):
    """``numbers``: what the numbers seem to be; ``remedy``: how they become shares."""

    numbers: str
    remedy: str


PIXELS = _Unit(
    "pixels",
    "Divide x and width by the width of the image, and y and height by its height",
)
CORNERS = _Unit(
    "pixels of two corners, xmin ymin xmax ymax",
    "Write the centre and the size of each box, x and width divided by the width of the image, y "
    "and height by its height",
)
PERCENT = _Unit("percent", "Divide all four numbers by 100")
OTHER_PIXELS = _Unit(
    "pixels, but of larger images than those on disk",
    "Divide x and width by the width of the image that was labelled, y and height by its height",
)


def checked(
    images: Iterable[ImageBoxes],
    sizes_wh: Mapping[str, box_units.Size],
    problems: Problems,
) -> Iterator[ImageBoxes]:
    """Yields all images; notes one problem where boxes in shares are in another unit.

    Args:
      images: of any format, before ``box_units.to_pixels``.
      sizes_wh: file name -> size in pixels; images may be missing.
      problems: of the annotations.

    Yields:
      images that are in pixels as they come, then those in shares, without boxes where these are in
      another unit.
    """
    in_shares = []
    for image in images:
        if image.in_shares:
            in_shares.append(image)
        else:
            yield image
    wrong = [image for image in in_shares if _is_in_another_unit(image)]
    # A few such boxes are mistakes of their own, each of which is refused or dropped by its line.
    if not box_units.are_many(_count(wrong), _count(in_shares)):
        wrong = []
    if wrong:
        _note(wrong, len([image for image in in_shares if image.rows]), sizes_wh, problems)
    names = {image.filename for image in wrong}
    for image in in_shares:
        yield image._replace(rows=[]) if image.filename in names else image


def _count(images: List[ImageBoxes]) -> int:
    return sum(len(image.rows) for image in images)


def _is_in_another_unit(image: ImageBoxes) -> bool:
    above = sum(max(row.box_xyxy) > LARGEST_SHARE for row in image.rows)
    return above > MOSTLY * len(image.rows)


def _note(
    wrong: List[ImageBoxes],
    count: int,
    sizes_wh: Mapping[str, box_units.Size],
    problems: Problems,
) -> None:
    """Notes the problem of ``wrong`` images, out of ``count`` that have boxes."""
    unit = _unit(wrong, sizes_wh)
    first = wrong[0].rows[0]
    boxes = _count(wrong)
    problems.add(
        "",
        f"{counted(boxes, 'box', 'boxes')} in {len(wrong)} of {counted(count, 'image')} with boxes "
        f"{plural(boxes, 'looks', 'look')} like {unit.numbers} ({first.place}: "
        f"{described(first)}). Expected shares of the width and height of the image: x, y, width "
        f"and height from 0 to 1. {unit.remedy}, or export the labels again. In "
        f"{listed(image.place for image in wrong)}.",
    )


def _unit(images: List[ImageBoxes], sizes_wh: Mapping[str, box_units.Size]) -> _Unit:
    """What the numbers of boxes most likely are."""
    count = _count(images)
    sizes = [sizes_wh.get(image.filename) for image in images]
    as_read = [np.array([row.box_xyxy for row in image.rows]) for image in images]
    known = [size_wh for size_wh in sizes if size_wh is not None]
    largest = max(float(boxes_xyxy.max()) for boxes_xyxy in as_read)
    is_large = bool(known) and min(map(min, known)) >= SMALLEST_SIDE_FOR_PERCENT
    if largest <= LARGEST_PERCENT and is_large:
        return PERCENT
    readings = ((PIXELS, as_read), (CORNERS, [_as_corners(boxes) for boxes in as_read]))
    for unit, boxes in readings:
        wrong = sum(map(box_units.count_wrong, boxes, sizes))
        if wrong <= UNEXPLAINED_SHARE * count:
            return unit
    return OTHER_PIXELS if known else PIXELS


def _as_corners(boxes_xyxy: np.ndarray) -> np.ndarray:
    """The numbers that were read as centre and size, as corners; both are (N, 4)."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.hstack([(low + high) / 2, high - low])
