"""What a person changed: corrected annotations compared with those that they replace."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet.core import boxes
from shelfdet.core.text import counted, listed
from shelfdet.data.checks import box_units
from shelfdet.data.formats import ImageBoxes, ImagesByName

# Boxes that overlap by less are two boxes: one was removed, one added.
SAME_BOX_IOU = 0.5
# Labelling tools round corners to whole pixels.
ROUNDING_PX = 1.0

Size = Tuple[int, int]


class Changes(NamedTuple):
    """How many boxes of an image were added, removed, moved, and given another class."""

    added: int = 0
    removed: int = 0
    moved: int = 0
    renamed: int = 0


class _Boxes(NamedTuple):
    """``boxes_xyxy``: (N, 4), in pixels, inside the image. ``classes``: of each."""

    boxes_xyxy: np.ndarray
    classes: List[str]


def report(
    before: ImagesByName,
    corrected: ImagesByName,
    sizes_wh: Mapping[str, Size],
    has_classes: bool,
) -> str:
    """A sentence on how many corrected images differ, and by what.

    Args:
      before: the annotations that the dataset has otherwise; images may be missing.
      corrected: those that replace them.
      sizes_wh: name of each image that is used to its size. Others are not compared.
      has_classes: whether boxes keep their classes.
    """
    changes = {
        name: compare(before.get(name), image, sizes_wh[name], has_classes)
        for name, image in corrected.items()
        if name in sizes_wh
    }
    differing = [name for name, found in changes.items() if any(found)]
    read = f"corrected annotations of {counted(len(corrected), 'image')}"
    if not changes:
        return f"{read}: none of these images is used"
    if not differing:
        return (
            f"warning: {read} have the same boxes as the annotations that they replace. If boxes "
            "were corrected, save them in the labelling tool, or check the path."
        )
    totals = Changes(*(sum(counts) for counts in zip(*changes.values())))
    words = [
        f"{count} {word}"
        for count, word in zip(totals, ("added", "removed", "moved", "of another class"))
        if count or word != "of another class"
    ]
    not_compared = len(corrected) - len(changes)
    others = f", {not_compared} not used" if not_compared else ""
    return (
        f"{read}: {len(differing)} with other boxes ({', '.join(words)}), "
        f"{len(changes) - len(differing)} with the same{others}; changed: {listed(differing)}"
    )


def compare(
    before: Optional[ImageBoxes], corrected: ImageBoxes, size_wh: Size, has_classes: bool = False
) -> Changes:
    """The changes of one image.

    Args:
      before: None where it had no annotations.
      corrected: the image that replaces it.
      size_wh: in pixels.
      has_classes: whether another class is a change.
    """
    old = _boxes_of(before, size_wh)
    new = _boxes_of(corrected, size_wh)
    pairs = _pairs(old.boxes_xyxy, new.boxes_xyxy)
    moved = [
        np.abs(old.boxes_xyxy[first] - new.boxes_xyxy[second]).max() > ROUNDING_PX
        for first, second in pairs
    ]
    renamed = [old.classes[first] != new.classes[second] for first, second in pairs]
    return Changes(
        added=len(new.classes) - len(pairs),
        removed=len(old.classes) - len(pairs),
        moved=sum(map(bool, moved)),
        renamed=sum(renamed) if has_classes else 0,
    )


def _boxes_of(image: Optional[ImageBoxes], size_wh: Size) -> _Boxes:
    """The boxes of products; those that are left out, and what is outside the image, are not."""
    if image is None:
        return _Boxes(np.zeros((0, 4)), [])
    rows = [row for row in box_units.to_pixels(image, size_wh).rows if not row.left_out]
    rows = [row for row in rows if not row.crowd]
    boxes_xyxy = [box_units.clipped(row.box_xyxy, size_wh) for row in rows]
    return _Boxes(
        np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4), [row.label or "" for row in rows]
    )


def _pairs(old_xyxy: np.ndarray, new_xyxy: np.ndarray) -> List[Tuple[int, int]]:
    """Which old box became which new one: the pairs of the largest IoU first, each box once."""
    overlaps = boxes.iou(old_xyxy, new_xyxy)
    candidates = np.argwhere(overlaps >= SAME_BOX_IOU)
    order = np.argsort(-overlaps[tuple(candidates.T)], kind="stable")
    pairs: Dict[int, int] = {}
    for old, new in candidates[order].tolist():
        if old not in pairs and new not in pairs.values():
            pairs[old] = new
    return list(pairs.items())
