"""Checks annotations of any format against the images: boxes, classes, sizes, missing images."""

import collections
import pathlib
import unicodedata
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.core import parallel
from shelfdet.core.progress import progress
from shelfdet.core.text import Problems, listed, shown
from shelfdet.data import formats, images, labels
from shelfdet.data.box_checks import BoxChecker, Report, Size, report_duplicates
from shelfdet.data.formats import ImageBoxes, ImagesByName

ONE_CLASS = {"product": 1}  # the label map where none is given
FEW_IMAGES = 8  # decoded in this process; more are worth starting others


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
    checker = BoxChecker(problems, label_map, out_of_image, bad_boxes)
    result = []
    for name in sorted(sizes):
        rows = annotated[name].rows if name in annotated else []
        result.append(labels.labelled(name, sizes[name], checker.check(rows, sizes[name])))
    checker.note_unknown_classes()
    problems.refuse()
    checker.report_counts(report)
    report_duplicates(result, report)
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
