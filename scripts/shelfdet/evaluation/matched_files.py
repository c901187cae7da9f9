"""Reads ground truth and detections, matches them, and refuses boxes in other coordinates."""

import functools
import pathlib
import sys
from typing import NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import disk_list, text
from shelfdet.data import detections
from shelfdet.data.detections import Detections
from shelfdet.evaluation import coordinates, matching
from shelfdet.evaluation.coordinates import Explanation
from shelfdet.evaluation.match_table import Matches, MatchTable

# Boxes in other coordinates are refused if they are this share of all, and else reported: a few
# images that are rotated by their EXIF orientation are no reason to withhold the other figures.
MOST_MISREAD = 0.5


class Sides(NamedTuple):
    """Ground truth and detections of the same images.

    truth, found: files or folders.
    truth_format, found_format: as detections.read_detections names them.
    clip: clip boxes of detections that reach outside their image.
    one_class: match boxes whatever their class.
    """

    truth: pathlib.Path
    found: pathlib.Path
    truth_format: str
    found_format: str
    clip: bool = False
    one_class: bool = False


def read(sides: Sides) -> MatchTable:
    """The Matches of ground truth and detections.

    Raises:
      UserError: a file cannot be read, there is no ground-truth box, or the boxes of one side are
        in other coordinates than those of the other.
    """
    try:
        truth, found = _read_both(sides)
        _check_truth(sides, truth)
        matches = _match(sides, truth, found)
    except UserError as error:
        # Where all boxes are wrong for one reason, that reason replaces the list of them.
        reason = _reason_of_refusal(sides)
        if reason is None:
            raise
        lines = str(error).splitlines()
        raise UserError(f"{reason}\nAs they are read: {' '.join(lines[:2])}") from error
    _check_matches(sides, matches)
    return matches


def warn(message: str) -> None:
    """Prints a warning, which does not end the command."""
    print(f"warning: {message}", file=sys.stderr)


def _read_both(
    sides: Sides, check_boxes: bool = True
) -> Tuple[Sequence[Detections], Sequence[Detections]]:
    """(ground truth, detections)."""
    read_truth = functools.partial(
        detections.read_detections,
        sides.truth,
        sides.truth_format,
        scored=False,
        check_boxes=check_boxes,
    )
    read_found = functools.partial(
        detections.read_detections,
        sides.found,
        sides.found_format,
        clip=sides.clip and check_boxes,
        check_boxes=check_boxes,
        coco_ground_truth=sides.truth if sides.truth_format == "coco" else None,
    )
    # Text files hold neither the suffix nor the size of their image: they are read second, with the
    # other side's.
    if sides.truth_format == "text" and sides.found_format != "text":
        found = read_found()
        return read_truth(known=found), found
    truth = read_truth()
    return truth, read_found(known=truth)


def _check_truth(sides: Sides, truth: Sequence[Detections]) -> None:
    if not any(len(image.boxes_xyxy) for image in truth):
        raise UserError(
            f"{sides.truth}: no box in its {text.counted(len(truth), 'image')}; expected "
            "ground-truth boxes, without which precision, recall and AP are not defined. Check the "
            "path, or the annotations from which the file was made."
        )


def _match(sides: Sides, truth: Sequence[Detections], found: Sequence[Detections]) -> MatchTable:
    try:
        return matching.match(truth, found, sides.one_class)
    except UserError as error:
        raise UserError(f"{sides.found}: {error}") from error


def _check_matches(sides: Sides, matches: Sequence[Matches]) -> None:
    """Refuses or reports matches that are so few that one side seems to be in other coordinates."""
    pairs = disk_list.Mapped(_pair, matches)
    # What clipping left of boxes does not show how they were meant.
    stated = _read_as_stated(sides) if sides.clip else None
    explanation = coordinates.explain(stated or pairs, sides.truth_format, sides.found_format)
    if explanation is not None:
        message = _text(sides, explanation)
        if explanation.share >= MOST_MISREAD:
            raise UserError(message)
        filenames = explanation.filenames
        warn(f"in {text.counted(len(filenames), 'image')} ({text.listed(filenames)}): {message}")
        return
    count = sum(len(image.scores) for image in matches)
    if not count:
        warn(
            f"{sides.found}: holds no detection in its {text.counted(len(matches), 'image')}, so "
            "that every ground-truth box is a false negative."
        )
    elif coordinates.matched_share(pairs) < coordinates.NEARLY_NONE:
        warn(
            f"{sides.found}: nearly none of its {text.counted(count, 'detection')} of any score "
            f"matches a ground-truth box of {sides.truth}; expected more of a trained detector. "
            "Swapped axes, other units, and resized or rotated images do not explain it: check "
            "that both are of the same images, and draw some of the boxes."
        )


def _pair(image: Matches) -> coordinates.Pair:
    return coordinates.Pair(image.filename, image.size_wh, image.truth_xyxy, image.boxes_xyxy)


def _reason_of_refusal(sides: Sides) -> Optional[str]:
    """Why the boxes may be refused: their coordinates; None where these are no reason."""
    pairs = _read_as_stated(sides)
    if pairs is None:
        return None
    explanation = coordinates.explain(pairs, sides.truth_format, sides.found_format)
    return None if explanation is None else _text(sides, explanation)


def _read_as_stated(sides: Sides) -> Optional[Sequence[coordinates.Pair]]:
    """The boxes as the files state them, neither checked nor clipped; None where they cannot be."""
    try:
        return coordinates.pairs(*_read_both(sides, check_boxes=False))
    except UserError:
        return None


def _text(sides: Sides, explanation: Explanation) -> str:
    path, other = sides.found, sides.truth
    if explanation.in_truth:
        path, other = other, path
    return f"{path}: {explanation.text} (If its boxes are right, those of {other} are not.)"
