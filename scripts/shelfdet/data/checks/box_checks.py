"""Checks annotated boxes against the size of their image, and gives them their classes.

``validation`` decides with it which boxes become labels.
"""

import collections
import pathlib
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from shelfdet.core import boxes
from shelfdet.core.make_variables import both
from shelfdet.core.text import SHOWN_NAMES, Problems, counted, listed, plural, shown
from shelfdet.data import labels
from shelfdet.data.checks import box_units
from shelfdet.data.classes import KEEP_ALL, PRODUCT, ClassChoice
from shelfdet.data.formats import BoxRow
from shelfdet.data.formats.image_boxes import described

Size = Tuple[int, int]
LabelledBox = Tuple[str, Tuple[float, ...]]  # class name, xyxy
SHOWN_CHANGES = 5  # places of boxes that were clipped or dropped
# What happens to boxes: its key, what a report says of one box and of several, and the rest of it.
CHANGES = (
    (
        "clipped",
        ("box reached outside its image and was", "boxes reached outside their image and were"),
        "clipped, the furthest first",
    ),
    (
        "dropped",
        ("box was", "boxes were"),
        "dropped as inverted, without area or outside the image",
    ),
    (
        "too far",
        ("box was", "boxes were"),
        "dropped because too large a part is outside the image",
    ),
    ("equal", ("box was", "boxes were"), "dropped as equal to another of the same image"),
    ("crowd", ("entry was", "entries were"), "left out: iscrowd marks a region, not one product"),
)

Report = Callable[[str], None]  # called with a line of text


class BoxChecker:
    """Checks the boxes of one image after another, and counts what it clipped and dropped."""

    def __init__(
        self, problems: Problems, classes: ClassChoice, out_of_image: str, bad_boxes: str
    ) -> None:
        """See ``validation.check`` for the arguments; ``problems`` collects errors."""
        # The one file of all annotations, whose name places in it lack.
        self._file = pathlib.Path(problems.path)
        self._problems = problems
        self._classes = classes
        self._clips = out_of_image == "clip"
        self._drops = bad_boxes == "drop"
        # Kind of change to (pixels outside the image, place) of each box.
        self._changed: Dict[str, List[Tuple[float, str]]] = {}
        self._without_class: List[str] = []  # places of boxes whose class is to be kept
        self._other_classes = collections.Counter()  # class that was not chosen -> boxes
        self._found_classes: Set[str] = set()  # of kept boxes
        # What it is in place of a box -> image and place of each.
        self._left_out: Dict[str, List[Tuple[str, str]]] = collections.OrderedDict()
        self._replaced_classes = set()  # what the annotations call the only class

    def check(self, image: box_units.ImageRows) -> List[LabelledBox]:
        """The valid boxes of one image as (class, box), inside it; notes the others."""
        kept = collections.OrderedDict()
        for row in image.rows:
            # Training would take a region of many products for one large product.
            if row.crowd:
                self._note_changed("crowd", row)
                continue
            if row.left_out:
                self._left_out.setdefault(row.left_out, []).append((image.filename, row.place))
                continue
            label = self._class_of(row)
            if label is None:
                continue
            box = self._inside(row, image.size_wh)
            if box is None:
                continue
            self._found_classes.add(label)
            if (label, box) in kept:
                self._note_changed("equal", row)
            kept[label, box] = None
        return list(kept)

    @property
    def found_classes(self) -> Set[str]:
        """The classes of the boxes that were kept."""
        return self._found_classes

    def note_classes(self) -> None:
        """Notes boxes without a class where classes are kept, and chosen classes without a box."""
        if self._without_class:
            count = counted(len(self._without_class), "box has", "boxes have")
            self._problems.add(
                self._without_class[0],
                f"no class ({count} none); expected one for each box, since the classes are kept. "
                f"Name it in the annotations, or leave out {both('--classes')}: all are {PRODUCT}.",
            )
        others = [shown(name) for name in sorted(self._other_classes)]
        for name in self._classes.names:
            if name not in self._found_classes:
                self._problems.add(
                    "",
                    f"class {shown(name)} was chosen and has no box; the annotations have, besides "
                    f"those chosen, {listed(others) or 'no other class'}. Correct the name in "
                    f"{both('--classes')}, or leave it out.",
                )

    def report_counts(self, report: Report, called: Mapping[str, str]) -> None:
        """Reports what was counted, which classes became one, and which were left out.

        Args:
          report: called with a line of text.
          called: name of an image to what the report calls it.
        """
        replaced = sorted(self._replaced_classes)
        if replaced and replaced != [PRODUCT]:
            names = listed(name or "without a name" for name in replaced)
            report(
                f"one class: {counted(len(replaced), 'class')} of the annotations ({names}) "
                f"{plural(len(replaced), 'becomes', 'become')} {PRODUCT}; "
                f"{both(f'--classes {KEEP_ALL}')} keeps them"
            )
        if self._other_classes:
            count = counted(sum(self._other_classes.values()), "box was", "boxes were")
            names = listed(
                f"{name or 'without a name'} ({number})"
                for name, number in self._other_classes.most_common()
            )
            report(f"{count} left out, of classes that were not chosen: {names}")
        for kind, words, effect in CHANGES:
            if kind in self._changed:
                count = counted(len(self._changed[kind]), *words)
                report(f"{count} {effect}: {self._places_of_changed(kind)}")
        for kind, places in self._left_out.items():
            count = f"{kind} were left out, which are no boxes ({len(places)})"
            if len(places) <= SHOWN_NAMES:
                report(f"{count}: {listed(self._in_file(place) for _, place in places)}")
                continue
            of_images = collections.Counter(called[filename] for filename, _ in places)
            names = listed(f"{name} ({number})" for name, number in of_images.most_common())
            report(f"{count} in {counted(len(of_images), 'image')}: {names}")

    def _note_changed(self, kind: str, row: BoxRow, outside_px: float = 0.0) -> None:
        self._changed.setdefault(kind, []).append((round(outside_px, 2), row.place))

    def _places_of_changed(self, kind: str) -> str:
        """The first places of boxes of a kind, those furthest outside their image first."""
        places = []
        for outside_px, place in sorted(self._changed[kind], key=lambda changed: -changed[0]):
            amount = f" ({outside_px:g} px)" if outside_px else ""
            places.append(self._in_file(place) + amount)
        return listed(places, SHOWN_CHANGES)

    def _in_file(self, place: str) -> str:
        """A place for a report; those in the one file of all annotations do not name it."""
        return f"{self._file.name}: {place}" if self._file.is_file() else place

    def leaves_out(self, row: BoxRow) -> bool:
        """Whether a row is left out whatever its box is: no product, or of another class."""
        return (
            row.crowd
            or bool(row.left_out)
            or (self._classes.kept and self._classes.is_left_out(row.label or ""))
        )

    def _class_of(self, row: BoxRow) -> Optional[str]:
        """The class that a row gets; None where it is left out or a problem."""
        if not self._classes.kept:
            if row.label is not None:
                self._replaced_classes.add(row.label)
            return PRODUCT
        label = row.label or ""
        if self._classes.is_left_out(label):
            self._other_classes[label] += 1
            return None
        if not label:
            self._without_class.append(row.place)
            return None
        return label

    def _inside(self, row: BoxRow, size_wh: Size) -> Optional[Tuple[float, ...]]:
        """The part of a row's box inside the image; None where it is dropped or a problem."""
        defect = _defect(row.box_xyxy, size_wh)
        too_far = "" if defect else _too_far_outside(row.box_xyxy, size_wh)
        if defect or too_far:
            outside_px = box_units.outside_px(row.box_xyxy, size_wh)
            self._note_changed("dropped" if defect else "too far", row, outside_px)
            if not self._drops:
                self._problems.add(
                    row.place,
                    f"{described(row)} {defect or too_far}. Correct it, or "
                    f"give {both('--bad-boxes drop')}.",
                )
            return None
        clipped_xyxy = box_units.clipped(row.box_xyxy, size_wh)
        if clipped_xyxy == row.box_xyxy:
            return clipped_xyxy
        self._note_changed("clipped", row, box_units.outside_px(row.box_xyxy, size_wh))
        if self._clips:
            return clipped_xyxy
        self._problems.add(
            row.place,
            f"{described(row)} reaches outside the image, {size_wh[0]} x {size_wh[1]}; "
            f"expected it inside. Correct it, or give {both('--out-of-image clip')}.",
        )
        return None


def _defect(box_xyxy: Sequence[float], size_wh: Size) -> str:
    """Why a box can be no product, and what was expected; empty where it can."""
    xmin, ymin, xmax, ymax = box_xyxy
    of_image = f"the image, {size_wh[0]} x {size_wh[1]}"
    corners = f"expected a width and height above 0 (xmin < xmax, ymin < ymax), inside {of_image}"
    if xmax < xmin or ymax < ymin:
        return f"is inverted; {corners}"
    if box_units.area(box_xyxy) == 0:
        return f"is without area; {corners}"
    if box_units.area(box_units.clipped(box_xyxy, size_wh)) == 0:
        return f"is outside {of_image}; expected it inside"
    return ""


def _too_far_outside(box_xyxy: Sequence[float], size_wh: Size) -> str:
    """Why a box may not be clipped, and what was expected; empty where it may."""
    problem = box_units.too_far_outside(box_xyxy, size_wh)
    return f"{problem} of the image, {size_wh[0]} x {size_wh[1]}" if problem else ""


def report_duplicates(
    labelled: Iterable[labels.LabelledImage], called: Mapping[str, str], report: Report
) -> None:
    """Reports images in which a product seems to have two boxes, which only a person can decide.

    Args:
      labelled: the images.
      called: name of an image to what the report calls it.
      report: called with a line of text.
    """
    counts = {
        called[image.filename]: int(boxes.duplicates(image.boxes_xyxy, image.classes).sum())
        for image in labelled
    }
    total = sum(counts.values())
    if total:
        names = listed(f"{name} ({count})" for name, count in counts.items() if count)
        report(
            f"{counted(total, 'box overlaps another of its', 'boxes overlap another of their')} "
            f"image (IoU over {boxes.DUPLICATE_IOU:g}), possibly duplicate labels of one product, "
            f"and {plural(total, 'is', 'are')} kept. Check {names}"
        )
