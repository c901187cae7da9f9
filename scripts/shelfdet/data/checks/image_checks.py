"""Checks the images that annotations belong to: missing, broken, of another size, without a box.

``validation`` decides with it which images become labelled ones.
"""

import collections
import pathlib
from typing import Dict, Iterable, List, Mapping, NamedTuple, Union

from shelfdet import UserError
from shelfdet.core import parallel
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.core.text import Problems, counted, listed, plural, shown
from shelfdet.data import images
from shelfdet.data.checks import names
from shelfdet.data.checks.box_checks import Report, Size
from shelfdet.data.formats import ImageBoxes, ImagesByName

FEW_IMAGES = 8  # decoded in this process, because starting others would take longer


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


def _info_or_reason(path: pathlib.Path) -> Union[images.ImageInfo, str]:
    # A worker returns the message: a raised UserError would end the other tasks.
    try:
        return images.inspect(path)
    except UserError as error:
        return str(error)


def check_missing(
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
    without_rows = [image for image in absent if not image.rows]
    if without_rows:
        report(
            f"{counted(len(without_rows), 'image is', 'images are')} listed without a box and not "
            f"there (or left out by step 01), and ignored: {_with_places(without_rows)}"
        )
    if not missing:
        return
    if allow_missing:
        box_count = sum(len(image.rows) for image in missing)
        report(
            f"{counted(len(missing), 'annotated image does', 'annotated images do')} not exist; "
            f"{plural(len(missing), 'its', 'their')} {counted(box_count, 'box was', 'boxes were')} "
            "left out: "
            f"{_with_places(missing)}"
        )
        return
    unusable = names.not_used_reasons((image.filename for image in missing), not_used)
    if unusable:
        problems.add(
            "",
            f"{len(unusable)} of {counted(len(annotated), 'annotated image')} "
            f"{plural(len(unusable), 'is', 'are')} there but cannot be used: "
            f"{listed(unusable.values())}. Or give {both('--allow-missing')} to leave "
            "their rows out.",
        )
    missing = [image for image in missing if image.filename not in unusable]
    if not missing:
        return
    similar = names.similar([image.filename for image in missing], image_paths)
    problems.add(
        "",
        f"{len(missing)} of {counted(len(annotated), 'annotated image')} "
        f"{plural(len(missing), 'does', 'do')} not exist: "
        f"{_with_places(missing)}.{similar} Expected "
        f"every image. Add them, or give {both('--allow-missing')} to leave their rows out.",
    )


def _with_places(annotated: Iterable[ImageBoxes]) -> str:
    return listed(f"{image.filename} ({image.place})" for image in annotated)


def check_broken(
    broken: Dict[str, str], allow_missing: bool, problems: Problems, report: Report
) -> None:
    """Notes or reports the images that cannot be decoded."""
    if broken and allow_missing:
        number = counted(len(broken), "image is broken and was", "images are broken and were")
        report(f"{number} left out: {listed(broken)}")
    # Broken images are collected like bad rows, so that one run reports both.
    for reason in broken.values():
        if allow_missing:
            report(f"  {reason}")
        else:
            problems.add("", f"{reason} Or give {both('--allow-missing')} to continue without it.")


def check_empty(
    empty: List[str],
    unannotated: List[str],
    total: int,
    empty_images: str,
    problems: Problems,
    report: Report,
) -> None:
    """Notes or reports the images without a box; ``unannotated`` of them are in no annotations."""
    if not empty:
        return
    names = listed(empty)
    if unannotated and len(unannotated) == len(empty):
        names += " (not in the annotations)"
    elif unannotated:
        names += f" ({len(unannotated)} of them not in the annotations: {listed(unannotated)})"
    if empty_images == "refuse":
        problems.add(
            "",
            f"{len(empty)} of {counted(total, 'image')} {plural(len(empty), 'has', 'have')} no "
            f"box: {names}. Expected at least one on every image: products without a box "
            f"would be learned as background. Annotate them, or give "
            f"{both('--empty-images leave-out')}, or "
            f"{both('--empty-images keep')} if they show no product at all.",
        )
        return
    action = "left out"
    if empty_images == "keep":
        action = "kept, showing no product"
    number = counted(len(empty), "image without a box was", "images without a box were")
    report(f"{number} {action}: {names}")


def check_sizes(
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
        counts = ", ".join(f"orientation {flag}: {flags[flag]}" for flag in sorted(flags))
        pixels = "the rotated image"
        if exif != "apply":
            pixels = (
                f"the raw pixels; give {both('--exif apply')} if they were drawn in a viewer that "
                "rotates images"
            )
        report(
            f"{counted(sum(flags.values()), 'image has', 'images have')} an EXIF orientation "
            f"({counts}); boxes are read as of {pixels}"
        )
    return sizes


def _size_differs(name: str, stated_wh: Size, size_wh: Size, orientation: int) -> str:
    advice = "Annotate this image, or restore the one that was annotated."
    if stated_wh == size_wh[::-1] and images.is_sideways(orientation):
        advice = (
            "It seems annotated in a viewer that rotates images by their EXIF orientation (here "
            f"{orientation}): give {both('--exif apply')} to steps 02 and 04."
        )
    return (
        f"size {stated_wh[0]} x {stated_wh[1]}; expected {size_wh[0]} x {size_wh[1]}, as "
        f"{shown(name)} decodes. {advice}"
    )
