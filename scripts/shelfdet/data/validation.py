"""Checks annotations of any format against the images: boxes, classes, sizes, missing images."""

import collections
import pathlib
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.core import parallel
from shelfdet.core.progress import progress
from shelfdet.core.text import Problems, listed, shown
from shelfdet.data import box_units, formats, images, labels, names
from shelfdet.data.box_checks import BoxChecker, Report, Size, report_duplicates
from shelfdet.data.formats import ImageBoxes, ImagesByName

ONE_CLASS = {"product": 1}  # the label map where none is given
FEW_IMAGES = 8  # decoded in this process; more are worth starting others


def read_annotations(
    path: pathlib.Path,
    image_paths: Mapping[str, pathlib.Path],
    format: str,
    label_map: Optional[Dict[str, int]] = None,
    report: Report = print,
    **options: str,
) -> List[labels.LabelledImage]:
    """Reads annotations and checks them against the images: ``read``, then ``check``.

    Args:
      path: the CSV or JSON file, or the folder of XML files.
      image_paths, format, label_map, report, options: as in the two.

    Raises:
      UserError: as the two.
    """
    label_map = ONE_CLASS if label_map is None else label_map
    problems = Problems(path)
    annotated = read([path], format, image_paths, label_map, problems, report)
    return check(annotated, image_paths, label_map, problems, report=report, **options).labelled


class CheckedImages(NamedTuple):
    """What ``check`` returns.

    labelled: the images to use, sorted by file name; boxes in the order of the file, equal ones
      once.
    without_boxes: images that were left out because all their boxes were.
    """

    labelled: List[labels.LabelledImage]
    without_boxes: List[str]


def read(
    places: Iterable[pathlib.Path],
    format: str,
    image_paths: Mapping[str, pathlib.Path],
    label_map: Dict[str, int],
    problems: Problems,
    report: Report = print,
    splits: Optional[Mapping[pathlib.Path, str]] = None,
) -> ImagesByName:
    """Reads annotations, and matches the names in them with those of the images.

    Args:
      places: the CSV or JSON file, or folders of XML files.
      format: one of formats.ANNOTATION_FORMATS.
      image_paths: file name -> path of every image that exists.
      label_map: class name -> id.
      problems: collects everything that is wrong with single lines, elements or entries.
      report: called with a line of text for names that were matched.
      splits: place to the split of its images, where it has one.

    Raises:
      UserError: a file or folder cannot be read, or is of another format.
    """
    options = {"brand_is_class": len(label_map) > 1} if format == "grocery" else {}
    annotated: ImagesByName = collections.OrderedDict()
    places = list(places)
    for place in places:
        # Places in one of several files have to name it; those of XML files do.
        is_part = len(places) > 1 and place.is_file()
        own_problems = Problems(place) if is_part else problems
        found = formats.read(place, format, own_problems, image_names=image_paths, **options)
        if is_part:
            own_problems.refuse()
        for name, image in found.items():
            if splits and place in splits:
                image = image._replace(split=splits[place])
            if is_part:
                image = _with_file(image, place)
            if name in annotated:
                problems.add(
                    str(place),
                    f"{image.place} is of image {shown(name)}, which {annotated[name].place} of "
                    "another folder is of, too; expected each image once. Correct one of them.",
                )
            annotated.setdefault(name, image)
    if not annotated:
        problems.refuse()  # without what follows from it: that no image has a box
    matched = names.match(annotated, image_paths)
    if matched.renamed:
        report(names.renamed_report(matched.renamed))
    return matched.annotated


def _with_file(image: ImageBoxes, file: pathlib.Path) -> ImageBoxes:
    """``image`` with the file's name in its places."""
    rows = [row._replace(place=f"{file.name}: {row.place}") for row in image.rows]
    return image._replace(place=f"{file.name}: {image.place}", rows=rows)


def check(
    annotated: ImagesByName,
    image_paths: Mapping[str, pathlib.Path],
    label_map: Dict[str, int],
    problems: Problems,
    out_of_image: str = "clip",
    bad_boxes: str = "refuse",
    allow_missing: bool = False,
    empty_images: str = "refuse",
    exif: str = "ignore",
    not_used: Optional[Mapping[str, str]] = None,
    report: Report = print,
) -> CheckedImages:
    """Checks annotations against the images.

    Args:
      annotated: what ``read`` returned. An image without rows is the same as one that is not there.
      image_paths: file name -> path of every image that exists.
      label_map: class name -> id. With one class, every box is of that class, whatever the
        annotations call it; with several, they must name one of them ("grocery" in its brand
        column).
      problems: what is wrong already; everything else is added, and raised.
      out_of_image: "clip" clips boxes that reach outside the image, "refuse" makes them an error.
      bad_boxes: inverted boxes, boxes without area and boxes wholly outside: "refuse" makes them an
        error, "drop" leaves them out.
      allow_missing: leave out images that do not exist, are broken or have no box, instead of an
        error.
      empty_images: images without a box, annotated or not: "refuse", "leave-out", or "keep" (they
        show no product).
      exif: "ignore" measures raw pixels; "apply" the image as its EXIF orientation turns it.
      not_used: why a file is not among ``image_paths``, as in ``names.not_used_reasons``.
      report: called with a line of text for what was clipped, dropped or left out.

    Raises:
      UserError: everything that is wrong, with file and line (or element, or entry).
    """
    if allow_missing and empty_images == "refuse":
        empty_images = "leave-out"
    # An image whose rows are wrong is not without any.
    wrong_rows = {name for name, image in annotated.items() if len(problems) and not image.rows}
    _check_missing_images(annotated, image_paths, allow_missing, not_used or {}, problems, report)
    # An image that is left out anyway need not be decoded.
    read_names = [
        name
        for name in image_paths
        if empty_images != "leave-out" or (name in annotated and annotated[name].rows)
    ]
    infos, broken = inspect_all({name: image_paths[name] for name in read_names})
    _check_broken_images(broken, allow_missing, problems, report)
    sizes = _check_sizes(annotated, infos, exif, problems, report)
    sized = [
        box_units.ImageRows(name, size_wh, annotated[name].rows if name in annotated else [])
        for name, size_wh in sizes.items()
    ]
    box_units.check_units(sized, problems)
    checker = BoxChecker(problems, label_map, out_of_image, bad_boxes)
    result = []
    for name in sorted(sizes):
        rows = annotated[name].rows if name in annotated else []
        result.append(labels.labelled(name, sizes[name], checker.check(rows, sizes[name])))
    empty = set(image_paths).difference(read_names)
    empty.update(
        image.filename
        for image in result
        if not image.classes and _has_no_product(annotated.get(image.filename), bad_boxes)
    )
    empty -= wrong_rows
    _check_empty_images(sorted(empty), len(image_paths), empty_images, problems, report)
    without_boxes: List[str] = []
    if empty_images == "leave-out":
        without_boxes = [image.filename for image in result if image.filename in empty]
        result = [image for image in result if image.filename not in empty]
    checker.note_unknown_classes()
    problems.refuse()
    checker.report_counts(report)
    box_units.report_small_extent(sized, report)
    report_duplicates(result, report)
    if not result:
        raise UserError(
            f"{problems.path}: no image is left; expected at least one. Check the path."
        )
    return CheckedImages(result, without_boxes)


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


def _check_missing_images(
    annotated: ImagesByName,
    image_paths: Mapping[str, pathlib.Path],
    allow_missing: bool,
    not_used: Mapping[str, str],
    problems: Problems,
    report: Report,
) -> None:
    """Notes or reports the annotated images that do not exist."""
    absent = [image for name, image in annotated.items() if name not in image_paths]
    missing = [image for image in absent if image.rows]
    without_rows = [image.filename for image in absent if not image.rows]
    if without_rows:
        report(
            f"{len(without_rows)} images are listed without a box and do not exist (or step 01 "
            f"left them out); they are ignored: {listed(without_rows)}"
        )
    if not missing:
        return
    if allow_missing:
        box_count = sum(len(image.rows) for image in missing)
        report(
            f"{len(missing)} annotated images do not exist; their {box_count} boxes were left out: "
            f"{listed(image.filename for image in missing)}"
        )
        return
    unusable = names.not_used_reasons((image.filename for image in missing), not_used)
    if unusable:
        problems.add(
            "",
            f"{len(unusable)} of {len(annotated)} annotated images are there but cannot be used: "
            f"{listed(unusable.values())}. Or give --allow-missing to leave their rows out.",
        )
    missing = [image for image in missing if image.filename not in unusable]
    if not missing:
        return
    similar = names.similar([image.filename for image in missing], image_paths)
    problems.add(
        "",
        f"{len(missing)} of {len(annotated)} annotated images do not exist: "
        f"{listed(f'{image.filename} ({image.place})' for image in missing)}.{similar} Expected "
        "every image. Add them, or give --allow-missing to leave their rows out.",
    )


def _check_broken_images(
    broken: Dict[str, str], allow_missing: bool, problems: Problems, report: Report
) -> None:
    """Notes or reports the images that cannot be decoded."""
    if broken and allow_missing:
        report(f"{len(broken)} images are broken and were left out: {listed(broken)}")
    # Broken images are collected like bad rows, so that one run reports both.
    for reason in broken.values():
        if allow_missing:
            report(f"  {reason}")
        else:
            problems.add("", f"{reason} Or give --allow-missing to continue without it.")


def _has_no_product(image: Optional[ImageBoxes], bad_boxes: str) -> bool:
    """Whether an image has no box that is noted as a problem: none at all, or all left out."""
    if image is None:
        return True
    return bad_boxes == "drop" or all(row.crowd for row in image.rows)


def _check_empty_images(
    empty: List[str], total: int, empty_images: str, problems: Problems, report: Report
) -> None:
    """Notes or reports the images without a box."""
    if not empty:
        return
    if empty_images == "refuse":
        problems.add(
            "",
            f"{len(empty)} of {total} images have no box: {listed(empty)}. Expected at least one "
            "on every image: products without a box would be learned as background. Annotate them, "
            "or give --empty-images leave-out, or --empty-images keep if they show no product at "
            "all.",
        )
        return
    action = "left out"
    if empty_images == "keep":
        action = "kept, as images without products"
    report(f"{len(empty)} images without a box were {action}: {listed(empty)}")


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
