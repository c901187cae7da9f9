"""Checks annotations of any format against the images: boxes, classes, sizes, missing images."""

import collections
import pathlib
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set

from shelfdet import UserError
from shelfdet.core.text import Problems, shown
from shelfdet.data import classes, formats, labels
from shelfdet.data.checks import box_units, image_checks, names, share_units
from shelfdet.data.checks.box_checks import BoxChecker, Report, report_duplicates
from shelfdet.data.classes import ClassChoice
from shelfdet.data.formats import BoxRow, ImageBoxes, ImagesByName
from shelfdet.data.formats.image_boxes import place_of


class CheckedImages(NamedTuple):
    """What ``check`` returns.

    labelled: the images to use, sorted by file name; boxes in the order of the file, equal ones
      once.
    without_boxes: images that were left out because all their boxes were.
    label_map: class name -> id, of the classes that the labels have.
    """

    labelled: List[labels.LabelledImage]
    without_boxes: List[str]
    label_map: Dict[str, int]


def read(
    places: Iterable[pathlib.Path],
    format: str,
    image_paths: Mapping[str, pathlib.Path],
    choice: ClassChoice,
    problems: Problems,
    report: Report = print,
    splits: Optional[Mapping[pathlib.Path, str]] = None,
    names_file: Optional[pathlib.Path] = None,
) -> ImagesByName:
    """Reads annotations, and matches the names in them with those of the images.

    Args:
      places: the CSV or JSON file, or folders of XML files.
      format: one of formats.ANNOTATION_FORMATS.
      image_paths: file name -> path of every image that exists.
      choice: which classes boxes get.
      problems: of the file or folder, or of one that holds all places, from which messages name a
        file; collects everything that is wrong with single lines, elements or entries.
      report: called with a line of text for names that were matched.
      splits: place to the split of its images, where it has one.
      names_file: with the class names of "yolo"; None looks for it in the places.

    Raises:
      UserError: a file or folder cannot be read, or is of another format.
    """
    options = {
        "grocery": {"brand_is_class": choice.kept},
        "yolo": {"names_file": names_file},
    }.get(format, {})
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
                image = _with_file(image, place_of(place, problems))
            if name in annotated:
                problems.add(
                    image.place,
                    f"is of image {shown(name)}, of which {annotated[name].place} is, too; "
                    "expected each image once. Correct one of them.",
                )
            annotated.setdefault(name, image)
    if not annotated:
        problems.refuse()  # without what follows from it: that no image has a box
    matched = names.match(annotated, image_paths)
    if matched.renamed:
        report(names.renamed_report(matched.renamed))
    return matched.annotated


def _with_file(image: ImageBoxes, file: str) -> ImageBoxes:
    """``image`` with the file's name in its places."""
    rows = [row._replace(place=f"{file}: {row.place}") for row in image.rows]
    return image._replace(place=f"{file}: {image.place}", rows=rows)


def check(
    annotated: ImagesByName,
    image_paths: Mapping[str, pathlib.Path],
    choice: ClassChoice,
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
      choice: which classes boxes get.
      problems: what is wrong already; everything else is added, and raised.
      out_of_image: "clip" clips boxes that reach outside the image, "refuse" makes them an error.
      bad_boxes: boxes that are inverted, without area, wholly outside or too far outside to be
        clipped: "refuse" makes them an error, "drop" leaves them out.
      allow_missing: leave out images that do not exist, are broken or have no box, instead of an
        error.
      empty_images: images without a box, annotated or not: "refuse", "leave-out", or "keep" (they
        show no product).
      exif: "ignore" measures raw pixels; "apply" the image as its EXIF orientation rotates it.
      not_used: why a file is not among ``image_paths``, as in ``names.not_used_reasons``.
      report: called with a line of text for what was clipped, dropped or left out.

    Raises:
      UserError: everything that is wrong, with file and line (or element, or entry).
    """
    if allow_missing and empty_images == "refuse":
        empty_images = "leave-out"
    # An image whose rows are wrong is not without any.
    wrong_rows = {name for name, image in annotated.items() if len(problems) and not image.rows}
    image_checks.check_missing(
        annotated, image_paths, allow_missing, not_used or {}, problems, report
    )
    # An image that is left out anyway need not be decoded.
    decoded_names = [
        name for name in image_paths if empty_images != "leave-out" or _rows(annotated, name)
    ]
    infos, broken = image_checks.inspect_all({name: image_paths[name] for name in decoded_names})
    called = names.in_folders(image_paths, pathlib.Path(problems.path))
    broken = {called[name]: reason for name, reason in broken.items()}
    image_checks.check_broken(broken, allow_missing, problems, report)
    sizes = image_checks.check_sizes(annotated, infos, exif, problems, report)
    with_rows = {name for name, image in annotated.items() if image.rows}
    annotated = {
        image.filename: image for image in share_units.checked(annotated.values(), sizes, problems)
    }
    wrong_rows |= {name for name in with_rows if not annotated[name].rows}
    annotated = {
        name: box_units.to_pixels(image, sizes[name]) if name in sizes else image
        for name, image in annotated.items()
    }
    sized = [
        box_units.ImageRows(name, size_wh, _rows(annotated, name))
        for name, size_wh in sizes.items()
    ]
    box_units.check_units(sized, problems)
    checker = BoxChecker(problems, choice, out_of_image, bad_boxes)
    labelled = [
        labels.labelled(image.filename, image.size_wh, checker.check(image))
        for image in sorted(sized, key=lambda image: image.filename)
    ]
    empty = _without_box(labelled, annotated, bad_boxes, checker)
    empty |= set(image_paths).difference(decoded_names)
    empty -= wrong_rows
    image_checks.check_empty(
        [called[name] for name in sorted(empty)],
        [called[name] for name in sorted(empty) if name not in annotated],
        len(image_paths),
        empty_images,
        problems,
        report,
    )
    checker.note_classes()
    # Before a refusal: what was left out may be why an image has no box.
    checker.report_counts(report, called)
    problems.refuse()
    left_out = empty if empty_images == "leave-out" else set()
    result = CheckedImages(
        [image for image in labelled if image.filename not in left_out],
        [image.filename for image in labelled if image.filename in left_out],
        classes.label_map(choice, checker.found_classes),
    )
    box_units.report_small_extent(sized, report)
    report_duplicates(result.labelled, called, report)
    if not result.labelled:
        raise UserError(
            f"{problems.path}: no image is left; expected at least one. Check the path."
        )
    return result


def _rows(annotated: ImagesByName, name: str) -> Sequence[BoxRow]:
    """The rows of an image; none where it is not annotated."""
    return annotated[name].rows if name in annotated else []


def _without_box(
    labelled: Iterable[labels.LabelledImage],
    annotated: ImagesByName,
    bad_boxes: str,
    checker: BoxChecker,
) -> Set[str]:
    """The names of the images that are left without a box, none of theirs being a problem."""
    names = set()
    for image in labelled:
        rows = _rows(annotated, image.filename)
        is_without_problem = bad_boxes == "drop" or all(map(checker.leaves_out, rows))
        if not image.classes and is_without_problem:
            names.add(image.filename)
    return names
