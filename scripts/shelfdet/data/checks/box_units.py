"""Whether the numbers of boxes can be pixels of their images, in the order that a file states.

Files of other tools have boxes in shares of the image, as a corner and a size, or with x and y
swapped. Single numbers look valid; all boxes of a file together do not. The limits of what clipping
may remove are here, too: a box that loses more is wrong, not rounded.
"""

import math
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes
from shelfdet.core.text import Problems, counted, listed, plural, shown
from shelfdet.data.formats import BoxRow, ImageBoxes
from shelfdet.data.formats.image_boxes import described

Size = Tuple[float, float]
Box = Sequence[float]

# Other tools round, or count the last pixel as width - 1: as far outside, a box is as good as
# inside.
ROUNDING_PX = 1.0
# A hand-drawn box at the edge reaches outside by some pixels, by more in a larger image. One that
# reaches further, or loses half of itself, is of another image, or not in pixels.
CLIPPED_PX = 20.0
CLIPPED_SHARE_OF_SIDE = 0.05
CLIPPED_SHARE_OF_BOX = 0.5

# A box of all numbers in here, in pixels, would be smaller than any product. Shares of the image
# are between 0 and 1, but for rounding and products that are cut off.
SHARES = (-0.5, 1.5)
# Tools write shares with six digits: a corner is the sum of two of them.
ROUNDING_SHARE = 2e-6
PIXEL_DIGITS = 4  # after the point: more are noise of the shares
# So many wrong boxes, and so large a share of all, are no single mistakes.
FEW_WRONG = 3
WRONG_SHARE = 0.05
MOSTLY_WRONG_SHARE = 0.5  # is a mistake of the whole file, whatever its reason
# Another order of the numbers explains a file if it leaves at most this share of the wrong boxes.
UNEXPLAINED_SHARE = 0.05
# From so many boxes and images on, products are expected beyond the middle of an image.
FEW_BOXES = 20
FEW_IMAGES = 5
EXPECTED_EXTENT = 0.5

Reorder = Callable[[np.ndarray], np.ndarray]


class ImageRows(NamedTuple):
    """An image's boxes, and its size in pixels, or None where it is not known."""

    filename: str
    size_wh: Optional[Size]
    rows: Sequence[BoxRow]


# These are called for every box of a dataset: in plain numbers they take a tenth of NumPy's time.
def clip_limit(size_wh: Size) -> float:
    """How far a box may reach outside an image, in pixels; a side that is not known is inf."""
    known = [side for side in size_wh if math.isfinite(side)]
    return max([CLIPPED_PX] + [CLIPPED_SHARE_OF_SIDE * side for side in known])


def clipped(box_xyxy: Box, size_wh: Size) -> Tuple[float, ...]:
    """The part of a box inside an image; without area where the box is outside."""
    width, height = size_wh
    limits = (width, height, width, height)
    return tuple(float(min(max(side, 0), limit)) for side, limit in zip(box_xyxy, limits))


def outside_px(box_xyxy: Box, size_wh: Size) -> float:
    """How far a box reaches outside an image, in pixels; 0 where it is inside."""
    inside_xyxy = clipped(box_xyxy, size_wh)
    return max(abs(side - inside) for side, inside in zip(box_xyxy, inside_xyxy))


def area(box_xyxy: Box) -> float:
    """The area of a box; 0 where it is inverted."""
    xmin, ymin, xmax, ymax = box_xyxy
    return max(xmax - xmin, 0) * max(ymax - ymin, 0)


def without_rounding(box_xyxy: Box, size_wh: Size) -> Optional[Tuple[float, ...]]:
    """The part of a box inside its image; None if more than rounding is outside, or all."""
    inside_xyxy = clipped(box_xyxy, size_wh)
    if area(inside_xyxy) == 0 or outside_px(box_xyxy, size_wh) > ROUNDING_PX:
        return None
    return inside_xyxy


def too_far_outside(box_xyxy: Box, size_wh: Size) -> str:
    """Why clipping would change a box with an area too much; empty where it may be clipped."""
    outside = outside_px(box_xyxy, size_wh)
    if outside <= ROUNDING_PX:
        return ""
    limit = clip_limit(size_wh)
    share = 1 - area(clipped(box_xyxy, size_wh)) / area(box_xyxy)
    if outside <= limit and share <= CLIPPED_SHARE_OF_BOX:
        return ""
    return (
        f"reaches {outside:g} px outside, with {share:.0%} of its area; expected at most {limit:g} "
        f"px and {CLIPPED_SHARE_OF_BOX:.0%} outside"
    )


def to_pixels(image: ImageBoxes, size_wh: Size) -> ImageBoxes:
    """An image of any format with its boxes in pixels; ``size_wh`` is its size."""
    if not image.in_shares:
        return image
    rows = [row._replace(box_xyxy=_scaled(row.box_xyxy, size_wh)) for row in image.rows]
    return image._replace(rows=rows, in_shares=False)


def _scaled(box_xyxy: Box, size_wh: Size) -> Tuple[float, ...]:
    """A box in pixels of one in shares; edges of the image that the file rounded are exact."""
    sides = tuple(size_wh) * 2
    return tuple(round(_exact(share) * side, PIXEL_DIGITS) for share, side in zip(box_xyxy, sides))


def _exact(share: float) -> float:
    """0 or 1, where a share differs from it by rounding alone; else the share."""
    nearest = 0.0 if share < 0.5 else 1.0
    return nearest if abs(share - nearest) <= ROUNDING_SHARE else share


def check_units(images: Iterable[ImageRows], problems: Problems, scored: bool = False) -> None:
    """Refuses a file whose boxes cannot be pixels, or only in another order.

    Args:
      images: all images of a file.
      problems: of the file.
      scored: these are detections, which may be tiny in single images.

    Raises:
      UserError: what the boxes seem to be, as one message with what is wrong already.
    """
    images = _with_boxes(images)
    in_shares = [image for image in images if _is_in_shares(image.rows)]
    if scored and len(in_shares) < len(images):
        in_shares = []
    found = _shares_problem(in_shares, len(images)) or _order_problem(images)
    if found:
        problems.add("", found)
        problems.refuse()


def count_wrong(boxes_xyxy: np.ndarray, size_wh: Optional[Size]) -> int:
    """How many of the boxes (N, 4) of an image are inverted, without area, or far outside it."""
    sizes_wh = np.tile(size_wh or (np.inf, np.inf), (len(boxes_xyxy), 1)).astype(np.float64)
    return int(_is_wrong(boxes_xyxy, sizes_wh).sum())


def are_many(wrong: int, count: int) -> bool:
    """Whether so many of ``count`` boxes are wrong that another order may be the reason."""
    return wrong >= FEW_WRONG and wrong >= WRONG_SHARE * count


def report_small_extent(images: Iterable[ImageRows], report: Callable[[str], None]) -> None:
    """Reports a warning where no box of many reaches the middle of its image."""
    images = [image for image in _with_boxes(images) if image.size_wh is not None]
    if len(images) < FEW_IMAGES or sum(len(image.rows) for image in images) < FEW_BOXES:
        return
    boxes_xyxy, sizes_wh = _arrays(images)
    width, height = np.max(boxes_xyxy[:, 2:] / sizes_wh, axis=0)
    if max(width, height) >= EXPECTED_EXTENT:
        return
    report(
        f"warning: of {len(boxes_xyxy)} boxes in {len(images)} images, none reaches beyond "
        f"{width:.0%} of the width or {height:.0%} of the height of its image. Check that they are "
        "in pixels of these images, and not in percent or of smaller copies."
    )


def _with_boxes(images: Iterable[ImageRows]) -> List[ImageRows]:
    """The images that have boxes, without what is left out in place of a box."""
    images = [
        image._replace(rows=[row for row in image.rows if not row.left_out]) for image in images
    ]
    return [image for image in images if image.rows]


def _shares_problem(found: Sequence[ImageRows], count: int) -> str:
    """What to say of images, some of ``count``, whose boxes are all in 0..1; empty without any."""
    if not found:
        return ""
    row = found[0].rows[0]
    order = ""
    if any(row.box_xyxy[0] >= row.box_xyxy[2] for image in found for row in image.rows):
        order = ", and in YOLO's order (centre x, centre y, width, height)"
    return (
        f"{len(found)} of {counted(count, 'image')} with boxes "
        f"{plural(len(found), 'has all its', 'have all their')} boxes between 0 and 1 "
        f"({row.place}: {described(row)}), so these are shares of the width and height{order}: "
        f"{listed(shown(image.filename) for image in found)}. Expected pixels. Multiply x by the "
        "width and y by the height of the image, or export the file in pixels."
    )


def _is_in_shares(rows: Sequence[BoxRow]) -> bool:
    numbers = np.array([row.box_xyxy if row.bbox_xywh is None else row.bbox_xywh for row in rows])
    low, high = SHARES
    return bool(numbers.min() >= low and 0 < numbers.max() <= high)


def _order_problem(images: Sequence[ImageRows]) -> str:
    """What to say of boxes that are wrong as stated and right in another order; else empty."""
    if not images:
        return ""
    boxes_xyxy, sizes_wh = _arrays(images)
    is_wrong = _is_wrong(boxes_xyxy, sizes_wh)
    wrong = int(is_wrong.sum())
    if not are_many(wrong, len(is_wrong)):
        return ""
    rows = [row for image in images for row in image.rows]
    is_xywh = all(row.bbox_xywh is not None for row in rows)
    stated = np.array([row.bbox_xywh for row in rows]) if is_xywh else boxes_xyxy
    orders = XYWH_ORDERS if is_xywh else XYXY_ORDERS
    first = int(np.argmax(is_wrong))
    example = f"{rows[first].place}: {described(rows[first])}"
    for order, to_xyxy in orders.items():
        left = int(_is_wrong(to_xyxy(stated), sizes_wh).sum())
        if left <= UNEXPLAINED_SHARE * wrong:
            expected = "x, y, width, height" if is_xywh else "xmin, ymin, xmax, ymax"
            turned = ""
            # Rotated images have x and y swapped as well.
            if order.startswith("y"):
                turned = (
                    ", or of images that a viewer rotated by their EXIF orientation (EXIF=apply)"
                )
            return (
                f"{wrong} of {len(rows)} boxes are inverted or far outside their image "
                f"({example}), and "
                f"{'none' if left == 0 else 'few'} if the numbers are read as {order}: so they "
                f"seem to be in that order{turned}. Expected {expected}, in pixels. Export the "
                "file in that order."
            )
    if wrong < MOSTLY_WRONG_SHARE * len(rows):
        return ""
    return (
        f"{wrong} of {len(rows)} boxes are inverted or far outside their image ({example}); "
        "expected pixels of these images. Export the boxes for the images on disk, not for larger "
        "copies of them."
    )


def _arrays(images: Sequence[ImageRows]) -> Tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) as xyxy and the size of the image of each, (N, 2), infinite if not known."""
    boxes_xyxy: List[Box] = []
    sizes_wh: List[Size] = []
    for image in images:
        boxes_xyxy.extend(row.box_xyxy for row in image.rows)
        sizes_wh.extend([image.size_wh or (np.inf, np.inf)] * len(image.rows))
    return (
        np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4),
        np.array(sizes_wh, dtype=np.float64).reshape(-1, 2),
    )


def _is_wrong(boxes_xyxy: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Which of N boxes are inverted, without area, or too far outside; bool (N,)."""
    sides = np.tile(sizes_wh, 2)  # (N, 4)
    inside_xyxy = np.clip(boxes_xyxy, 0, sides)
    outside = np.abs(boxes_xyxy - inside_xyxy).max(axis=1)
    areas = boxes.areas(boxes_xyxy)
    known = np.where(np.isfinite(sizes_wh), sizes_wh, 0).max(axis=1)
    limit = np.maximum(CLIPPED_PX, CLIPPED_SHARE_OF_SIDE * known)
    lost = areas - boxes.areas(inside_xyxy)
    is_far = (outside > limit) | (lost > CLIPPED_SHARE_OF_BOX * areas)
    return (areas == 0) | (is_far & (outside > ROUNDING_PX))


def _columns(*indices: int) -> Reorder:
    return lambda numbers: numbers[:, list(indices)]


def _from_corner(numbers: np.ndarray) -> np.ndarray:
    return np.hstack([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]])


def _from_centre(numbers: np.ndarray) -> np.ndarray:
    half = numbers[:, 2:] / 2
    return np.hstack([numbers[:, :2] - half, numbers[:, :2] + half])


# What four numbers may be instead, and how they become xyxy. The more usual mistakes come first.
XYXY_ORDERS: Dict[str, Reorder] = {
    "ymin, xmin, ymax, xmax": _columns(1, 0, 3, 2),
    "xmin, xmax, ymin, ymax": _columns(0, 2, 1, 3),
    "x, y, width, height": _from_corner,
    "centre x, centre y, width, height": _from_centre,
    "xmax, ymax, xmin, ymin": _columns(2, 3, 0, 1),
    "ymin, ymax, xmin, xmax": _columns(2, 0, 3, 1),
}
XYWH_ORDERS: Dict[str, Reorder] = {
    "xmin, ymin, xmax, ymax": _columns(0, 1, 2, 3),
    "y, x, height, width": lambda numbers: _from_corner(numbers[:, [1, 0, 3, 2]]),
    "centre x, centre y, width, height": _from_centre,
    "ymin, xmin, ymax, xmax": _columns(1, 0, 3, 2),
}
