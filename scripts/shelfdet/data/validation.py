"""Checks annotations of any format against the images: boxes, classes, sizes, missing images."""

import collections
import pathlib
import unicodedata
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, parallel
from shelfdet.core.progress import progress
from shelfdet.core.text import Problems, listed, shown
from shelfdet.data import formats, images, labels
from shelfdet.data.formats import BoxRow, ImageBoxes, ImagesByName

ONE_CLASS = {"product": 1}  # the label map where none is given
FEW_IMAGES = 8  # decoded in this process; more are worth starting others

Size = Tuple[int, int]
LabelledBox = Tuple[str, Tuple[float, ...]]  # class name, xyxy
Report = Callable[[str], None]


def read_annotations(
    path: pathlib.Path,
    image_paths: Mapping[str, pathlib.Path],
    format: str,
    label_map: Optional[Dict[str, int]] = None,
    out_of_image: str = "clip",
    bad_boxes: str = "refuse",
    allow_missing: bool = False,
    empty_images: str = "refuse",
    exif: str = "ignore",
    report: Report = print,
) -> List[labels.LabelledImage]:
    """Reads annotations and checks them against the images.

    Args:
      path: the CSV or JSON file, or the folder of XML files.
      image_paths: file name -> path of every image that exists.
      format: one of formats.ANNOTATION_FORMATS.
      label_map: class name -> id; None is one class, ``product``. With one class, every box is of
        that class, whatever the annotations call it; with several, they must name one of them
        ("grocery" in its brand column).
      out_of_image: "clip" clips boxes that reach outside the image, "refuse" makes them an error.
      bad_boxes: inverted boxes, boxes without area and boxes wholly outside: "refuse" makes them an
        error, "drop" leaves them out.
      allow_missing: leave out rows whose image does not exist, instead of an error.
      empty_images: images that the annotations do not mention: "refuse", "leave-out", or "keep"
        (they show no product).
      exif: "ignore" measures raw pixels; "apply" the image as its EXIF orientation turns it.
      report: called with a line of text for what was clipped, dropped, left out or renamed.

    Returns:
      list of LabelledImage, sorted by file name; boxes in the order of the file, equal ones once.

    Raises:
      UserError: everything that is wrong, with file and line (or element, or entry).
    """
    label_map = ONE_CLASS if label_map is None else label_map
    problems = Problems(path)
    annotated = _read(path, format, image_paths, label_map, problems)
    _check_missing_images(annotated, image_paths, allow_missing, problems, report)
    kept_empty = _check_empty_images(annotated, image_paths, empty_images, problems, report)
    existing = [name for name in annotated if name in image_paths]
    infos, broken = inspect_all({name: image_paths[name] for name in existing + kept_empty})
    for reason in broken.values():
        problems.add("", reason)
    sizes = _check_sizes(annotated, infos, exif, problems, report)
    checker = _BoxChecker(problems, label_map, out_of_image, bad_boxes)
    result = []
    for name in sorted(sizes):
        rows = annotated[name].rows if name in annotated else []
        result.append(labels.labelled(name, sizes[name], checker.check(rows, sizes[name])))
    checker.note_unknown_classes()
    problems.refuse()
    checker.report_counts(report)
    _report_duplicates(result, report)
    if not result:
        raise UserError(f"{path}: no image is left; expected at least one. Check the path.")
    return result


class InspectedImages(NamedTuple):
    """What ``inspect_all`` returns, both in the order of its argument.

    infos: images.ImageInfo of the images that decode, by name.
    broken: why the others do not, by name.
    """

    infos: Dict[str, images.ImageInfo]
    broken: Dict[str, str]


def inspect_all(image_paths: Mapping[str, pathlib.Path]) -> InspectedImages:
    """Decodes every image to its end, on all cores where there are many.

    Args:
      image_paths: file name -> path.
    """
    tasks = [(path,) for path in image_paths.values()]
    if len(tasks) <= FEW_IMAGES:
        results = [_info_or_reason(path) for (path,) in tasks]
    else:
        with parallel.Workers() as workers:
            mapped = workers.map(_info_or_reason, tasks)
            results = list(progress(mapped, "reading images", total=len(tasks), unit="images"))
    inspected = InspectedImages(collections.OrderedDict(), collections.OrderedDict())
    for name, result in zip(image_paths, results):
        if isinstance(result, str):
            inspected.broken[name] = result
        else:
            inspected.infos[name] = result
    return inspected


def _info_or_reason(path):
    # A worker returns the message: a raised UserError would end the other tasks.
    try:
        return images.inspect(path)
    except UserError as error:
        return str(error)


def _read(
    path: pathlib.Path,
    format: str,
    image_paths: Mapping[str, pathlib.Path],
    label_map: Dict[str, int],
    problems: Problems,
) -> ImagesByName:
    options = {"brand_is_class": len(label_map) > 1} if format == "grocery" else {}
    return formats.read(path, format, problems, image_names=image_paths, **options)


class _BoxChecker:
    """Checks the boxes of one image after another, and counts what it clipped and dropped."""

    def __init__(
        self, problems: Problems, label_map: Dict[str, int], out_of_image: str, bad_boxes: str
    ):
        self._problems = problems
        self._label_map = label_map
        self._only_class = next(iter(label_map)) if len(label_map) == 1 else None
        self._clips = out_of_image == "clip"
        self._drops = bad_boxes == "drop"
        self._furthest_outside_px = 0.0
        self._counts = collections.Counter()
        self._unknown_classes = collections.OrderedDict()  # class -> places
        self._replaced_classes = set()  # what the annotations call the only class

    def check(self, rows: Iterable[BoxRow], size_wh: Size) -> List[LabelledBox]:
        """The valid boxes of one image as (class, box), inside it; notes the others."""
        kept = collections.OrderedDict()
        for row in rows:
            if row.crowd:
                self._counts["crowd"] += 1
                continue
            label = self._class_of(row)
            if label not in self._label_map:
                self._unknown_classes.setdefault(label, []).append(row.place)
                continue
            box = self._inside(row, size_wh)
            if box is None:
                continue
            if (label, box) in kept:
                self._counts["equal"] += 1
            kept[label, box] = None
        return list(kept)

    def note_unknown_classes(self) -> None:
        """Notes the classes that are not in the label map, each as one problem."""
        expected = " or ".join(shown(name) for name in self._label_map)
        for label, places in self._unknown_classes.items():
            others = f" (and {len(places) - 1} more of it)" if len(places) > 1 else ""
            self._problems.add(
                places[0],
                f"class {shown(label)}{others}; expected {expected}. Correct it, or add the class "
                "to the label map.",
            )

    def report_counts(self, report: Report) -> None:
        """Reports what was counted, and which classes became one."""
        replaced = sorted(self._replaced_classes)
        if replaced and replaced != [self._only_class]:
            names = listed(name or "without a name" for name in replaced)
            classes = "1 class" if len(replaced) == 1 else f"{len(replaced)} classes"
            become = "becomes" if len(replaced) == 1 else "become"
            report(
                f"the label map has one class: {classes} of the annotations ({names}) {become} "
                f"{self._only_class}"
            )
        furthest = f"{round(self._furthest_outside_px, 2):g}"
        messages = (
            (
                "clipped",
                f"boxes reached outside their image and were clipped, by at most {furthest} px",
            ),
            (
                "dropped",
                "boxes were dropped: inverted, without area, or wholly outside their image",
            ),
            ("equal", "boxes were dropped: equal to another of the same image"),
            ("crowd", "entries were left out: iscrowd marks a region, not one product"),
        )
        for key, message in messages:
            if self._counts[key]:
                report(f"{self._counts[key]} {message}")

    def _class_of(self, row: BoxRow) -> Optional[str]:
        if self._only_class is None:
            return row.label
        if row.label is not None:
            self._replaced_classes.add(row.label)
        return self._only_class

    def _inside(self, row: BoxRow, size_wh: Size) -> Optional[Tuple[float, ...]]:
        """The part of a row's box inside the image; None where it is dropped or a problem."""
        clipped_xyxy = tuple(boxes.clip(row.box_xyxy, size_wh)[0].tolist())
        defect = _defect(row.box_xyxy, clipped_xyxy)
        if defect is not None:
            self._counts["dropped"] += 1
            if not self._drops:
                self._note_defect(row, defect, size_wh)
            return None
        if clipped_xyxy == row.box_xyxy:
            return clipped_xyxy
        self._counts["clipped"] += 1
        outside_px = float(np.max(np.abs(np.subtract(row.box_xyxy, clipped_xyxy))))
        self._furthest_outside_px = max(self._furthest_outside_px, outside_px)
        if self._clips:
            return clipped_xyxy
        self._problems.add(
            row.place,
            f"{_described(row.box_xyxy)} reaches outside the image, {size_wh[0]} x {size_wh[1]}; "
            "expected it inside. Correct it, or give --out-of-image clip.",
        )
        return None

    def _note_defect(self, row: BoxRow, defect: str, size_wh: Size) -> None:
        of_image = f" the image, {size_wh[0]} x {size_wh[1]}" if defect == "outside" else ""
        self._problems.add(
            row.place,
            f"{_described(row.box_xyxy)} is {defect}{of_image}; expected xmin < xmax and "
            "ymin < ymax, inside the image. Correct or delete it, or give --bad-boxes drop.",
        )


def _defect(box_xyxy: Sequence[float], clipped_xyxy: Sequence[float]) -> Optional[str]:
    """Why a box can be no product: "inverted", "without area", "outside"; None where it can."""
    xmin, ymin, xmax, ymax = box_xyxy
    if xmax < xmin or ymax < ymin:
        return "inverted"
    if xmax == xmin or ymax == ymin:
        return "without area"
    return None if boxes.areas(clipped_xyxy)[0] > 0 else "outside"


def _described(box_xyxy: Sequence[float]) -> str:
    return "box " + ",".join(f"{side:g}" for side in box_xyxy)


def _report_duplicates(labelled: Iterable[labels.LabelledImage], report: Report) -> None:
    """Reports images in which a product seems to have two boxes, which only a person can tell."""
    counts = {
        image.filename: int(boxes.duplicates(image.boxes_xyxy, image.classes).sum())
        for image in labelled
    }
    total = sum(counts.values())
    if total:
        names = listed(f"{name} ({count})" for name, count in counts.items() if count)
        report(
            f"{total} boxes overlap another of their image (IoU over {boxes.DUPLICATE_IOU:g}), "
            f"possibly duplicate labels of one product; they are kept. Check {names}"
        )


def _check_missing_images(
    annotated: ImagesByName,
    image_paths: Mapping[str, pathlib.Path],
    allow_missing: bool,
    problems: Problems,
    report: Report,
) -> None:
    """Notes or reports the annotated images that do not exist."""
    missing = [image for name, image in annotated.items() if name not in image_paths]
    if not missing:
        return
    if allow_missing:
        box_count = sum(len(image.rows) for image in missing)
        report(
            f"{len(missing)} annotated images do not exist; their {box_count} boxes were left out: "
            f"{listed(image.filename for image in missing)}"
        )
        return
    similar = _similar_name(missing, image_paths)
    problems.add(
        "",
        f"{len(missing)} of {len(annotated)} annotated images do not exist: "
        f"{listed(f'{image.filename} ({image.place})' for image in missing)}.{similar} Expected "
        "every image. Add them, or give --allow-missing to leave their rows out.",
    )


def _similar_name(missing: Iterable[ImageBoxes], image_paths: Iterable[str]) -> str:
    """A sentence about the first missing image for which another one differs in case or accents."""
    existing = {_normalised(name): name for name in image_paths}
    for image in missing:
        other = existing.get(_normalised(image.filename))
        if other is not None:
            return f" There is {shown(other)} for {shown(image.filename)}."
    return ""


def _normalised(name: str) -> str:
    """``name`` without what file systems may change: case, and how accents are composed."""
    return unicodedata.normalize("NFC", name).lower()


def _check_empty_images(
    annotated: ImagesByName,
    image_paths: Mapping[str, pathlib.Path],
    empty_images: str,
    problems: Problems,
    report: Report,
) -> List[str]:
    """Notes or reports the images that are not annotated; returns those to keep."""
    empty = sorted(name for name in image_paths if name not in annotated)
    if not empty:
        return []
    if empty_images == "refuse":
        problems.add(
            "",
            f"{len(empty)} of {len(image_paths)} images have no annotations: {listed(empty)}. "
            "Expected some for every image: products without a box would be learned as "
            "background. Annotate them, or give --empty-images leave-out, or --empty-images keep "
            "if they show no product at all.",
        )
        return []
    keep = empty_images == "keep"
    action = "kept, as images without products" if keep else "left out"
    report(f"{len(empty)} images without annotations were {action}: {listed(empty)}")
    return empty if keep else []


def _check_sizes(
    annotated: ImagesByName,
    infos: Dict[str, images.ImageInfo],
    exif: str,
    problems: Problems,
    report: Report,
) -> Dict[str, Size]:
    """(width, height) of every image by name; a stated size that differs is a problem."""
    sizes = {}
    flags = collections.Counter()
    for name, info in infos.items():
        if info.orientation != images.UPRIGHT:
            flags[info.orientation] += 1
        is_turned = exif == "apply" and images.is_sideways(info.orientation)
        sizes[name] = info.size_wh[::-1] if is_turned else info.size_wh
        stated_wh = annotated[name].size_wh if name in annotated else None
        if stated_wh is not None and stated_wh != sizes[name]:
            problems.add(
                annotated[name].place,
                _size_differs(name, stated_wh, sizes[name], info.orientation),
            )
    if flags:
        counts = ", ".join(f"flag {flag}: {flags[flag]}" for flag in sorted(flags))
        pixels = "the turned image"
        if exif != "apply":
            pixels = (
                "the raw pixels (--exif apply if they were drawn in a viewer that turns images)"
            )
        report(
            f"{sum(flags.values())} images have an EXIF orientation ({counts}); boxes are read as "
            f"of {pixels}"
        )
    return sizes


def _size_differs(name: str, stated_wh: Size, size_wh: Size, orientation: int) -> str:
    advice = "Annotate this image, or restore the one that was annotated."
    if stated_wh == size_wh[::-1] and images.is_sideways(orientation):
        advice = (
            "It seems annotated in a viewer that turns images by their EXIF orientation (here "
            f"{orientation}): give --exif apply to steps 02 and 04."
        )
    return (
        f"size {stated_wh[0]} x {stated_wh[1]}; expected {size_wh[0]} x {size_wh[1]}, as "
        f"{shown(name)} decodes. {advice}"
    )
