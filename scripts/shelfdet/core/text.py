"""Reads what a user wrote (text, numbers, file names), and collects all its mistakes."""

import codecs
import collections
import functools
import math
import pathlib
import re
import unicodedata
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union

from shelfdet import UserError

PathLike = Union[str, pathlib.Path]

SHOWN_PROBLEMS = 20  # that a message lists before it gives the number of the rest
SHOWN_NAMES = 10
SHOWN_PLACES = 3  # of equal problems
GROUPED_PLACES = 4  # from this many places on, equal problems are one line

UTF16_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
LINE_END = b"\n"
PART_BYTES = 2**20  # of a file that are in memory at a time

# Python's float() also reads "1_0", "nan", "infinity" and the digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", re.ASCII)


class Problems:
    """Collects the mistakes in an input, so that a user sees all of them after one run."""

    def __init__(self, path: PathLike) -> None:
        self.path = path
        self._found: List[Tuple[str, str]] = []  # place, text

    def __len__(self) -> int:
        """How many there are."""
        return len(self._found)

    def add(self, where: str, text: str) -> None:
        """Notes one problem.

        Args:
          where: line, element or entry; may be empty.
          text: what was found, what was expected, what to do.
        """
        self._found.append((where, text))

    def refuse(self) -> None:
        """Raises UserError with the first problems and the number of all, if there are any."""
        if not self._found:
            return
        lines = self._lines()
        if len(lines) == 1:
            raise UserError(f"{self.path}: {lines[0]}")
        more = lines[SHOWN_PROBLEMS:]
        lines = lines[:SHOWN_PROBLEMS]
        if more:
            lines.append(f"... and {len(more)} more")
        raise UserError(f"{self.path}: {len(self._found)} problems\n  " + "\n  ".join(lines))

    def _lines(self) -> List[str]:
        """One line a problem; one line for equal problems in many places, where the first is."""
        places: Dict[str, List[str]] = collections.OrderedDict()
        for where, text in self._found:
            places.setdefault(text, []).append(where)
        grouped = {
            text for text, found in places.items() if len(found) >= GROUPED_PLACES and all(found)
        }
        lines = []
        for where, text in self._found:
            if text not in grouped:
                lines.append(f"{where}: {text}" if where else text)
            elif text in places:
                lines.append(f"{listed(places.pop(text), SHOWN_PLACES)}: {text}")
        return lines


def read_text(path: PathLike, expected: str) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Args:
      path: the file.
      expected: what it should be, for the message ("a CSV file").

    Raises:
      UserError: it cannot be read, or is not UTF-8 text.
    """
    return "".join(_decoded(path, expected))


def check_text(path: PathLike, expected: str) -> None:
    """Raises what ``read_text`` raises, without holding a large file in memory."""
    for _ in _decoded(path, expected):
        pass


def _decoded(path: PathLike, expected: str) -> Iterator[str]:
    """Yields the text of a file part by part, as ``read_text`` returns it."""
    # Spreadsheets write a byte order mark, which would become part of the first value.
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    for data in _parts(path, expected):
        if line == 1 and data[:2] in UTF16_BYTE_ORDER_MARKS:
            raise UserError(
                f'{path}: is UTF-16 text ("Unicode" on Windows); expected {expected} in UTF-8. '
                "Save it again as UTF-8."
            )
        if b"\0" in data:
            raise UserError(
                f"{path}: line {line + data[: data.index(0)].count(LINE_END)}: contains a zero "
                f"byte, so the file is not text, or text in UTF-16; expected {expected} in UTF-8. "
                "Check the path, or save it again as UTF-8."
            )
        try:
            yield decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = line + error.object[: error.start].count(LINE_END)
            raise UserError(
                f"{path}: line {place}: byte 0x{error.object[error.start]:02x} is not UTF-8 (but "
                f"Latin-1 or another encoding); expected {expected} in UTF-8. Save it again as "
                "UTF-8."
            ) from error
        line += data.count(LINE_END)


def _parts(path: PathLike, expected: str) -> Iterator[bytes]:
    """Yields the bytes of a file part by part, and an empty part at its end."""
    try:
        with open(str(path), "rb") as file:
            yield from iter(functools.partial(file.read, PART_BYTES), b"")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); expected {expected}. "
            "Check the path."
        ) from error
    yield b""


def parse_number(value: Any) -> Optional[float]:
    """A finite float from ``value`` (text, or a number from JSON), or None where it is none."""
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has integers of any length
        return None
    return number if math.isfinite(number) else None


# Files of millions of boxes repeat the sizes of images and whole pixels.
@functools.lru_cache(maxsize=10000)
def _parse_text(value: str) -> Optional[float]:
    value = value.strip()
    if not _NUMBER.match(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def read_number(value: Any, name: str, where: str, problems: Problems) -> Optional[float]:
    """A finite float from ``value`` (text, or a number from JSON; None is a missing value).

    Returns:
      the number, or None after adding the problem.
    """
    number = parse_number(value)
    if number is None:
        found = "missing" if value is None else shown(value)
        problems.add(where, f"{name} is {found}; expected a finite number. Correct it.")
    return number


def read_size(width: Any, height: Any, where: str, problems: Problems) -> Optional[Tuple[int, int]]:
    """The size of an image, in pixels: whole numbers from 1 (640 and 640.0, not 640.7).

    Returns:
      (width, height), or None after adding the problem.
    """
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


def name_problem(name: str) -> Optional[str]:
    """Why ``name`` cannot be an image's file name in this workspace, or None."""
    if not name.strip():
        return "the file name is empty; expected an image's name"
    if "/" in name or "\\" in name:
        return f"the file name {shown(name)} contains a folder; expected the image's name alone"
    # Spaces of any kind and joiners are valid (U+202F, U+3000, U+200D): file systems hold them, and
    # so does a CSV in UTF-8. Line ends and bytes that are not UTF-8 would not survive there.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return (
            f"the file name {name!a} contains characters that cannot be printed (control "
            "characters, or bytes that are not UTF-8); rename the image"
        )
    return None


def shown(value: Any, width: int = 80) -> str:
    """``value`` in quotes for a message, cut to ``width`` characters."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > width:
        text = text[: width - 3] + "..."
    return f"'{text}'"


def listed(names: Iterable[str], limit: int = SHOWN_NAMES) -> str:
    """The first ``limit`` names and the number of the rest, for a message: "a, b, c and 7 more"."""
    names = list(names)
    shown_names = ", ".join(names[:limit])
    if len(names) <= limit:
        return shown_names
    return f"{shown_names} and {len(names) - limit} more"


def plural(count: int, one: str, many: Optional[str] = None) -> str:
    """``one`` for a count of 1, else ``many``: by default ``one`` with s or, after s and x, es."""
    if count == 1:
        return one
    if many is not None:
        return many
    return one + ("es" if one.endswith(("s", "x")) else "s")


def counted(count: int, one: str, many: Optional[str] = None) -> str:
    """A count in a sentence: "1 image", "3 images". ``one`` and ``many`` are as in ``plural``."""
    return f"{count} {plural(count, one, many)}"
