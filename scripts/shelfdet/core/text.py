"""Reading what a person wrote: text, CSV rows, numbers, file names; and telling all that is wrong in one go."""

import csv
import io
import math
import pathlib
import re
from typing import Any, Iterable, Optional, Tuple

from shelfdet import UserError

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 10  # that a message lists before it counts

# Python's float() also reads "1_0", "nan", "infinity" and the digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", re.ASCII)


class Problems:
    """Collects what is wrong with an input, so that a person sees all of it in one go and not one mistake a run."""

    def __init__(self, path):
        self._path = path
        self._lines = []

    def add(self, where, text):
        """Notes one problem: ``where`` is a line, element or entry (or empty), ``text`` says found, expected, to do."""
        self._lines.append(f"{where}: {text}" if where else text)

    def refuse(self):
        """Raises UserError with the first problems and the count of all, if there are any."""
        if not self._lines:
            return
        if len(self._lines) == 1:
            raise UserError(f"{self._path}: {self._lines[0]}")
        shown = self._lines[:SHOWN_PROBLEMS]
        if len(self._lines) > len(shown):
            shown.append(f"... and {len(self._lines) - len(shown)} more")
        raise UserError(
            "{}: {} problems\n  {}".format(self._path, len(self._lines), "\n  ".join(shown))
        )


def read_csv(path):
    """Yields (line, fields) of every row of a CSV file that is not blank; the line is the one on which the row starts.

    Raises:
      UserError: missing, a folder, empty, not UTF-8 text, separated by something else than commas, a quote left open.
    """
    text = read_text(path, "a CSV file")
    first = (text.lstrip().splitlines() or [""])[0]
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark in first and "," not in first:
            raise UserError(
                f"{path}: line 1: the values are separated by {name} ({shown(first)}); expected commas. Save it anew as comma-separated CSV."
            )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, empty = 1, True
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
                empty = False
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}: line {line}: is no CSV row ({error}); expected values with commas, and a second quote for every quote."
        ) from error
    if empty:  # or of blank values alone
        raise UserError(
            f"{path}: the file is empty; expected rows of values with commas. Check the path."
        )


def read_text(path, expected):
    """The text of a UTF-8 file, without a byte order mark; ``expected`` names what it should be ("a CSV file")."""
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); expected {expected}. Check the path."
        ) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(
            f"{path}: is UTF-16 text; expected {expected} in UTF-8. Save it anew as UTF-8."
        )
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line}: holds a zero byte, so it is no text; expected {expected}. Check the path."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8; expected {expected} in UTF-8. Save it anew as UTF-8."
        ) from error


def check_columns(fields, columns, where, problems):
    """True where a row has as many fields as ``columns``; else notes the problem."""
    if len(fields) == len(columns):
        return True
    problems.add(
        where,
        f"found {len(fields)} column{'' if len(fields) == 1 else 's'} ({shown(','.join(fields))}); expected {len(columns)}: {','.join(columns)}. Mend or delete the row.",
    )
    return False


def parse_number(value: Any) -> Optional[float]:
    """A finite float from ``value`` (text, or a number out of JSON), or None where it is none."""
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.match(value):
            return None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has integers of any length
        return None
    return number if math.isfinite(number) else None


def read_number(value: Any, name: str, where: str, problems: Problems) -> Optional[float]:
    """As ``parse_number``, and notes a problem where it is none; a value of None is a missing one."""
    number = parse_number(value)
    if number is None:
        found = "missing" if value is None else shown(value)
        problems.add(
            where, f"{name} is {found}; expected a finite number. Correct or delete the entry."
        )
    return number


def read_size(width: Any, height: Any, where: str, problems: Problems) -> Optional[Tuple[int, int]]:
    """(width, height) in pixels, whole numbers from 1; else None, after noting a problem."""
    sides = []
    for name, value in (("width", width), ("height", height)):
        side = parse_number(value)
        if side is None or side < 1 or side != int(side):
            found = "missing" if value is None else shown(value)
            problems.add(
                where, f"{name} is {found}; expected a whole number of pixels from 1. Correct it."
            )
        else:
            sides.append(int(side))
    return (sides[0], sides[1]) if len(sides) == 2 else None


def name_problem(name):
    """Why ``name`` cannot stand for an image in this workspace, or None."""
    if not name.strip():
        return "the file name is empty; expected an image's name"
    if "/" in name or "\\" in name:
        return f"the file name {shown(name)} holds a folder; expected the image's name alone"
    if not name.isprintable():  # line ends and undecodable bytes do not survive a CSV in UTF-8
        return f"the file name {name!a} holds characters that cannot be printed; rename the image"
    return None


def shown(value, width=80):
    """``value`` quoted for a message, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return f"'{text if len(text) <= width else text[: width - 3] + '...'}'"


def listed(names: Iterable[str], limit: int = SHOWN_NAMES) -> str:
    """The first ``limit`` names and the count of the rest, for a message: "a, b, c and 7 more"."""
    names = list(names)
    shown_names = ", ".join(names[:limit])
    if len(names) <= limit:
        return shown_names
    return f"{shown_names} and {len(names) - limit} more"
