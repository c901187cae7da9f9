"""Reading what a person wrote: text, CSV rows, numbers, file names; and telling all that is wrong in one go."""

import csv
import io
import math
import pathlib

from shelfdet import UserError

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 10                      # that a message lists before it counts


class Problems:
    """Collects what is wrong with an input, so that a person sees all of it in one go and not one mistake a run."""

    def __init__(self, path):
        self._path = path
        self._lines = []

    def add(self, where, text):
        """Notes one problem: ``where`` is a line, element or entry (or empty), ``text`` says found, expected, to do."""
        self._lines.append("{}: {}".format(where, text) if where else text)

    def refuse(self):
        """Raises UserError with the first problems and the count of all, if there are any."""
        if not self._lines:
            return
        if len(self._lines) == 1:
            raise UserError("{}: {}".format(self._path, self._lines[0]))
        shown = self._lines[:SHOWN_PROBLEMS]
        if len(self._lines) > len(shown):
            shown.append("... and {} more".format(len(self._lines) - len(shown)))
        raise UserError("{}: {} problems\n  {}".format(self._path, len(self._lines), "\n  ".join(shown)))


def read_csv(path):
    """Yields (line, fields) of every row of a CSV file that is not blank; the line is the one on which the row starts.

    Raises:
      UserError: missing, a folder, empty, not UTF-8 text, separated by something else than commas, a quote left open.
    """
    text = read_text(path, "a CSV file")
    first = (text.lstrip().splitlines() or [""])[0]
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark in first and "," not in first:
            raise UserError("{}: line 1: the values are separated by {} ({}); expected commas. Save it anew as "
                            "comma-separated CSV.".format(path, name, shown(first)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, empty = 1, True
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
                empty = False
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError("{}: line {}: is no CSV row ({}); expected values with commas, and a second quote for every "
                        "quote.".format(path, line, error)) from error
    if empty:                        # or of blank values alone
        raise UserError("{}: the file is empty; expected rows of values with commas. Check the path.".format(path))


def read_text(path, expected):
    """The text of a UTF-8 file, without a byte order mark; ``expected`` names what it should be ("a CSV file")."""
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError("{}: cannot be read ({}); expected {}. Check the path.".format(
            path, error.strerror or error, expected)) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError("{}: is UTF-16 text; expected {} in UTF-8. Save it anew as UTF-8.".format(path, expected))
    if b"\0" in data:
        line = data[:data.index(b"\0")].count(b"\n") + 1
        raise UserError("{}: line {}: holds a zero byte, so it is no text; expected {}. Check the path.".format(
            path, line, expected))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise UserError("{}: line {}: byte 0x{:02x} is not UTF-8; expected {} in UTF-8. Save it anew as UTF-8.".format(
            path, line, data[error.start], expected)) from error


def check_columns(fields, columns, where, problems):
    """True where a row has as many fields as ``columns``; else notes the problem."""
    if len(fields) == len(columns):
        return True
    problems.add(where, "found {} column{} ({}); expected {}: {}. Mend or delete the row.".format(
        len(fields), "" if len(fields) == 1 else "s", shown(",".join(fields)), len(columns), ",".join(columns)))
    return False


def read_number(value, name, where, problems):
    """A finite float from ``value`` (text, or a number out of JSON), or None after noting the problem."""
    try:
        if isinstance(value, bool) or "_" in str(value):     # Python would read True as 1 and 1_0 as 10
            raise ValueError(value)
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return number
    problems.add(where, "{} is {}; expected a finite number. Mend or delete it.".format(name, shown(value)))
    return None


def name_problem(name):
    """Why ``name`` cannot stand for a picture in this workspace, or None."""
    if not name.strip():
        return "the file name is empty; expected a picture's name"
    if "/" in name or "\\" in name:
        return "the file name {} holds a folder; expected the picture's name alone".format(shown(name))
    if not name.isprintable():        # line ends and undecodable bytes do not survive a CSV in UTF-8
        return "the file name {!a} holds characters that cannot be printed; rename the picture".format(name)
    return None


def shown(value, width=80):
    """``value`` quoted for a message, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return "'{}'".format(text if len(text) <= width else text[:width - 3] + "...")


def listed(names):
    """The first names and the count of the rest, for a message."""
    names = list(names)
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (" ... and {} more".format(rest) if rest > 0 else "")
