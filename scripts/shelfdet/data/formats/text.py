"""Text files: a folder with one .txt file an image, of lines ``class score x1 y1 x2 y2`` in pixels.

Ground truth has no score: ``class x1 y1 x2 y2``. An image without boxes is an empty file. A file is
named as its image but for the suffix, and no size is stated. A class may have several words.
"""

import collections
from typing import Iterable, Optional

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, read_text, shown
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImagesByName,
    add_image,
    files_in,
    names_by_stem,
    read_name,
)

BOX_FIELDS = ("x1", "y1", "x2", "y2")


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
    by_stem = names_by_stem(image_names)
    ambiguous = next((names for names in by_stem.values() if len(names) > 1), None)
    if ambiguous:
        raise UserError(
            f"{path}: {ambiguous[0]} and {ambiguous[1]} differ in their suffix alone, so text "
            "files cannot tell them apart; expected different names without it. Rename one, or "
            "use another format."
        )
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".txt", "text files of boxes"):
        names = by_stem.get(file.stem, [file.stem])
        name = read_name(names[0], file.name, problems)
        if name is None or not add_image(images, name, file.name, None, problems):
            continue
        content = read_text(file, "lines of boxes")
        for number, line in enumerate(content.splitlines(), start=1):
            if line.strip():
                place = f"{file.name}: line {number}"
                row = _read_line(line, place, scored, problems)
                if row is not None:
                    images[name].rows.append(row)
    return images


def _read_line(line: str, place: str, scored: bool, problems: Problems) -> Optional[BoxRow]:
    """The box of a line, or None after noting a problem."""
    columns = (("score",) if scored else ()) + BOX_FIELDS
    layout = " ".join(("class",) + columns)
    fields = line.strip().rsplit(None, len(columns))  # from the right: a class may have spaces
    if len(fields) != len(columns) + 1:
        problems.add(
            place, f"is {shown(line.strip())}; expected '{layout}'. Correct or delete the line."
        )
        return None
    label = fields[0].strip()
    values = [
        read_number(value, column, place, problems) for value, column in zip(fields[1:], columns)
    ]
    # Read as ground truth, the line of a detection has its score as the last word of the class.
    if not scored and _ends_in_number(label):
        problems.add(
            place,
            f"the class {shown(label)} ends in a number, as if this were a detection with its "
            f"score; expected ground truth, '{layout}'. Name the folder of the ground truth, or "
            "write the class as one word.",
        )
        return None
    if None in values:
        return None
    return BoxRow(place, label, tuple(values[-4:]), values[0] if scored else None)


def _ends_in_number(label: str) -> bool:
    """Whether a class of several words ends in a number; "7" alone is a class."""
    words = label.split()
    return len(words) > 1 and parse_number(words[-1]) is not None
