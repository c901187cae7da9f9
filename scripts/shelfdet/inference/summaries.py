"""What step 08 keeps of each image when its boxes are written, and reports at the end."""

import collections
import pathlib
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from shelfdet import UserError
from shelfdet.core import text, tiles
from shelfdet.core.make_variables import both
from shelfdet.data import images
from shelfdet.inference import confidence
from shelfdet.inference.graph_files import CountError
from shelfdet.inference.processed_images import ImageResult

UNCERTAIN = "uncertain"
SMALL = "small products"
STRIP = "strip"
NOT_READ = "not read"
SHORTEST = 2  # lines of a report on confidence without any remedy


class Summary(NamedTuple):
    """One image.

    filename: its name in the output.
    size_wh: (width, height) in pixels; None where the image was skipped.
    boxes: number of boxes of any score. products: those from the threshold on.
    by_class: the number of products of each class, by its name.
    confidence: as ``inference.confidence`` defines it.
    scale: median of the products'; None without any.
    orientation: its EXIF orientation.
    problem: why it was skipped; None where it was not.
    grid: how it was divided.
    """

    filename: str
    size_wh: Optional[Tuple[int, int]]
    boxes: int
    products: int
    confidence: float
    scale: Optional[float]
    orientation: int
    problem: Optional[str]
    grid: tiles.Grid
    by_class: Mapping[str, int] = {}


def summarise(result: ImageResult, threshold: float) -> Summary:
    """The summary of one image; ``threshold``: the lowest score of a product."""
    found = result.detections
    if found is None:
        return Summary(
            result.filename, None, 0, 0, 0.0, None, result.orientation, result.problem, tiles.WHOLE
        )
    is_product = found.scores >= threshold
    return Summary(
        result.filename,
        found.size_wh,
        len(found.scores),
        int(is_product.sum()),
        confidence.confidence(found.scores),
        confidence.median_scale(found.boxes_xyxy[is_product], found.size_wh),
        result.orientation,
        None,
        result.grid,
        collections.Counter(found.classes[index] for index in np.flatnonzero(is_product)),
    )


def check_any(summaries: Sequence[Summary], source: pathlib.Path) -> None:
    """Refuses a result without any image.

    Raises:
      UserError: all images of ``source``, a label file, file, folder or pattern, were skipped.
    """
    if all(image.size_wh is None for image in summaries):
        raise UserError(
            f"{source}: none of its {text.counted(len(summaries), 'image')} can be read; expected "
            f"one at least. The first: {summaries[0].problem}"
        )


def outcomes(summaries: Sequence[Summary]) -> Dict[str, Any]:
    """The single images that the "info" of the output names.

    "exif_flagged": those with an EXIF orientation, applied or not; "skipped": those that could not
    be read, and why.
    """
    return {
        "exif_flagged": {
            image.filename: image.orientation
            for image in summaries
            if image.orientation > images.UPRIGHT
        },
        "skipped": {image.filename: image.problem for image in summaries if image.problem},
    }


def exif_report(summaries: Sequence[Summary], exif: str) -> str:
    """Which images have an EXIF orientation, and whether it was applied; empty where none has."""
    flagged = [
        f"{image.filename} ({image.orientation})"
        for image in summaries
        if image.orientation > images.UPRIGHT
    ]
    if not flagged:
        return ""
    if exif == "apply":
        effect = "rotated: boxes and sizes are those of the rotated images"
    else:
        effect = (
            "not rotated: boxes are those of the raw pixels. If drawings are sideways or upside "
            f"down, use {both('--exif apply')}"
        )
    count = text.counted(len(flagged), "image")
    return f"{count} with an EXIF orientation: {text.listed(flagged)}\n  {effect}"


def strip_report(summaries: Sequence[Summary]) -> str:
    """Which images are strips, and the remedy; empty where none is."""
    strips = [
        image.filename
        for image in summaries
        if image.size_wh is not None and images.is_strip(image.size_wh)
    ]
    if not strips:
        return ""
    return (
        f"{text.counted(len(strips), 'image')} more than twice as wide as high, or as high as "
        f"wide: {text.listed(strips)}\n"
        f"  a graph that was trained on images of ordinary shape finds little there; "
        f"{both('--pad-strips')} adds margins"
    )


def note(image: Summary, validated: Optional[confidence.Validated]) -> str:
    """Why an image's count is missing or may be far off, for counts.csv; "" otherwise.

    Args:
      image: any.
      validated: the detector's validation images; None where nothing is known of them.
    """
    if image.size_wh is None:
        return NOT_READ
    if validated is None or image.confidence >= validated.low_confidence:
        return ""
    if images.is_strip(image.size_wh):
        return f"{UNCERTAIN}: {STRIP}"
    if image.scale is not None and image.scale < validated.scales[0]:
        return f"{UNCERTAIN}: {SMALL}"
    return UNCERTAIN


def confidence_report(
    summaries: Sequence[Summary],
    validated: Optional[confidence.Validated],
    padded: bool = False,
    tiled: bool = False,
    other_graph: Optional[str] = None,
) -> str:
    """How many images the detector is unusually uncertain of, and what to do; empty for none.

    Args:
      summaries: of all images.
      validated: the detector's validation images; None where nothing is known of them.
      padded, tiled: whether strips had margins, and tiles were tried; neither is advised then.
      other_graph: a graph that knows more kinds of products, or the command that takes it; None if
        there is none.
    """
    readable = [image for image in summaries if image.size_wh is not None]
    notes = [note(image, validated) for image in readable]
    uncertain = [image for image, reason in zip(readable, notes) if reason]
    if not uncertain:
        return ""
    median = float(np.median([image.confidence for image in uncertain]))
    lines = [
        f"counts are unreliable in {len(uncertain)} of {text.counted(len(readable), 'image')}: "
        f"confidence {median:.2f} (median), expected at least {validated.low_confidence:.2f} "
        "as in most validation images of this graph",
        f"  they are: {text.listed(image.filename for image in uncertain)}",
    ]
    strips = sum(reason.endswith(STRIP) for reason in notes)
    small = sum(reason.endswith(SMALL) for reason in notes)
    if strips:
        tried = "margins were added" if padded else both("--pad-strips")
        lines.append(f"  {text.counted(strips, 'image')} of one shelf row: {tried}")
    if small:
        tried = "tiles were tried" if tiled else both("--tiles auto")
        lines.append(
            f"  products are smaller than in validation in {text.counted(small, 'image')}: {tried}"
        )
    if other_graph:
        lines.append(f"  a graph that was trained on more kinds of products: {other_graph}")
    begin = "where that does not help, these are" if len(lines) > SHORTEST else "these may be"
    lines.append(
        f"  {begin} other products or other photographs than the graph knows: label some of them "
        "and train on them (docs/data.md)"
    )
    return "\n".join(lines)


def count_error_report(errors: Sequence[CountError], tiles: Union[int, str] = 1) -> str:
    """The count MAE of the graph's test images; empty where nothing is known.

    Args:
      errors: of each dataset.
      tiles: of these detections, as in Settings; the report says if others were used there.
    """
    if not errors:
        return ""
    evaluated = errors[0].tiles
    how = "" if evaluated == tiles else f", which used {both(f'--tiles {evaluated}')}"
    parts = [
        f"{error.mae:.1f} of {error.products:.0f} products an image "
        f"({text.counted(error.images, 'test image')}"
        + (f" of {error.dataset})" if error.dataset else ")")
        for error in errors
    ]
    return f"count MAE of this graph in its evaluation{how}: {', '.join(parts)}"


def tiles_report(summaries: Sequence[Summary]) -> str:
    """Into which tiles images were divided where that was chosen for each."""
    counts = collections.Counter(image.grid for image in summaries if image.size_wh is not None)
    parts = [
        f"{text.counted(number, 'image')} "
        + ("whole" if grid == tiles.WHOLE else f"in {grid} tiles")
        for grid, number in sorted(counts.items())
    ]
    return f"tiles: {', '.join(parts)}"


def skipped_report(summaries: Sequence[Summary]) -> str:
    """Which images were skipped and why; empty where none was."""
    problems = [image.problem for image in summaries if image.problem]
    if not problems:
        return ""
    lines = [f"skipped: {problem}" for problem in problems[: text.SHOWN_PROBLEMS]]
    count = text.counted(len(problems), "image")
    lines.append(f'skipped {count}; all are listed in the output\'s "info"')
    return "\n".join(lines)
