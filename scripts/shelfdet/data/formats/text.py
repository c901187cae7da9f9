"""Text files: a folder with one .txt file an image, of lines ``class score x1 y1 x2 y2`` in pixels.

Ground truth has no score: ``class x1 y1 x2 y2``. An image without boxes is an empty file. A file is
named as its image but for the suffix, and no size is stated. A class may have several words. A line
of ground truth may end in ``difficult``.
"""

import collections
import pathlib
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, read_text, shown
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImagesByName,
    NamesOfFiles,
    ScoresInGroundTruth,
    add_image,
    files_in,
    note_unreadable,
    place_of,
)

BOX_FIELDS = ("x1", "y1", "x2", "y2")
DIFFICULT = "difficult"


class _Line(NamedTuple):
    """A line that is not blank: where it is, and its text without spaces at the ends."""

    place: str
    text: str


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the .txt files of a folder; see ``formats.read``.

    ``image_names`` gives a file its image's name; without it the image is named as its file without
    ".txt".

    Raises:
      UserError: no folder with .txt files, or ``image_names`` that differ in their suffix alone.
    """
    image_names = list(image_names)
    names = NamesOfFiles(image_names)
    for name in image_names:
        like = names.like(pathlib.PurePath(name).stem)
        if len(like) > 1:
            raise UserError(
                f"{path}: {like[0]} and {like[1]} differ in their suffix alone, so text files "
                "cannot tell them apart; expected different names without it. Rename one, or use "
                "another format."
            )
    images: ImagesByName = collections.OrderedDict()
    scores = ScoresInGroundTruth(
        problems, " (If they are these: a class of several words cannot end in a number.)"
    )
    unreadable: List[_Line] = []
    is_any_read = False
    for file in files_in(path, ".txt", "text files of boxes"):
        place = place_of(file, problems)
        name = names.choose(file.stem, None, place, problems)
        if name is None or not add_image(images, name, place, None, problems):
            continue
        try:
            content = read_text(file, "lines of boxes")
        except UserError as error:
            note_unreadable(error, file, place, problems)
            continue
        for number, written in enumerate(content.splitlines(), start=1):
            line = _Line(f"{place}: line {number}", written.strip())
            if not line.text:
                continue
            fields = _fields(line.text, scored)
            if fields is None:
                unreadable.append(line)
                continue
            is_any_read = True
            row = _read_line(line, fields, scored, scores, problems)
            if row is not None:
                images[name].rows.append(row)
    _note_unreadable(unreadable, is_any_read, scored, problems)
    scores.finish()
    return images


def _columns(scored: bool) -> Tuple[str, ...]:
    """The names of the fields after the class."""
    return (("score",) if scored else ()) + BOX_FIELDS


def _fields(text: str, scored: bool) -> Optional[List[str]]:
    """The class and the other fields of a line; None where there are too few."""
    columns = _columns(scored)
    # From the right: a class may have spaces.
    fields = text.rsplit(None, len(columns))
    if not scored and fields[-1].casefold() == DIFFICULT:
        fields = text.rsplit(None, len(columns) + 1)
    return fields if len(fields) > len(columns) else None


def _note_unreadable(
    lines: Sequence[_Line], is_any_read: bool, scored: bool, problems: Problems
) -> None:
    """Notes the lines with too few fields; one problem where that is so for all."""
    layout = " ".join(("class",) + _columns(scored))
    for line in lines if is_any_read else lines[:1]:
        every = "" if is_any_read or len(lines) == 1 else ", and no line has all fields"
        problems.add(
            line.place, f"is {shown(line.text)}{every}; expected '{layout}'. Correct the line."
        )


def _read_line(
    line: _Line,
    fields: Sequence[str],
    scored: bool,
    scores: ScoresInGroundTruth,
    problems: Problems,
) -> Optional[BoxRow]:
    """The box of a line, or None after noting a problem."""
    columns = _columns(scored)
    label = fields[0].strip()
    values = [
        read_number(value, column, line.place, problems)
        for value, column in zip(fields[1:], columns)
    ]
    # Read as ground truth, the line of a detection has its score as the last word of the class.
    words = label.split()
    if not scored and len(words) > 1 and parse_number(words[-1]) is not None:
        scores.add(words[-1], line.place)
        return None
    if None in values:
        return None
    is_difficult = len(fields) > len(columns) + 1
    score = values[0] if scored else None
    return BoxRow(line.place, label, tuple(values[-4:]), score, difficult=is_difficult)
