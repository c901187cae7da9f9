"""CSV files, whose columns are found by their names in a header, in any order and case.

The separator is a comma, a semicolon (spreadsheets write it in countries with a decimal comma), a
tab or "|". Columns that nothing asks for, as the index of pandas, are ignored.
"""

import csv
import pathlib
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, check_text, counted, listed, parse_number, shown

SEPARATORS = ",;\t|"  # the first of several that fit equally well is taken

# Column to the names that files have for it, without case, spaces and "_"; the first one that is
# there is taken. "x", "y", "w" and "h" are missing, because a width may be that of the box.
NAMES = {
    "filename": ("filename", "file", "imagename", "image", "imagepath", "imgpath", "path"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
    "class": ("class", "classname", "label", "labelname", "category", "categoryname"),
    "brand": ("brand",),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "score": ("score", "confidence", "conf"),
    # JSON, of the VGG Image Annotator.
    "shape": ("regionshapeattributes",),
    "attributes": ("regionattributes",),
}
TEXT_COLUMNS = ("filename", "class", "brand", "shape", "attributes")

_SEPARATOR_LINE = re.compile(r"sep=([,;\t|])\r?\n")  # Excel's own, before the header
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*$", re.ASCII)
_THREE_DECIMALS = re.compile(r"\s*[+-]?\d{1,3},\d{3}\s*$", re.ASCII)


class Table(NamedTuple):
    """A CSV file.

    path: for messages.
    separator: of its fields.
    first_line: of the header, or of the first row where there is no header.
    first: the fields of that line.
    columns: column (a key of NAMES) to its index; None where there is no header.
    """

    path: PathLike
    separator: str
    first_line: int
    first: List[str]
    columns: Optional[Dict[str, int]]


def open_table(path: PathLike) -> Table:
    """Checks that a CSV file is text, and finds its separator and its columns.

    Raises:
      UserError: the file is missing, a folder, a pipe, empty or not UTF-8 text; two columns have
        one name.
    """
    _refuse_pipe(path)
    check_text(path, "a CSV file")
    candidates = _named_separator(path) or SEPARATORS
    firsts = [(separator, _first_row(path, separator)) for separator in candidates]
    # max takes the first of equals. A header is recognised by its names, a row by its columns.
    separator, (line, first) = max(
        firsts, key=lambda found: (len(_columns(found[1][1])), len(found[1][1]))
    )
    if not any(line.strip(SEPARATORS + '"' + " \r\n") for line in _lines(path)):
        raise UserError(
            f"{path}: the file is empty; expected rows of separated values. Check the path."
        )
    columns = _columns(first)
    if len(columns) < 2:  # one name may be a class, in a row
        return Table(path, separator, line, first, None)
    _refuse_equal_names(path, line, first)
    return Table(path, separator, line, first, columns)


def rows(
    table: Table, columns: Dict[str, int], problems: Problems
) -> Iterator[Tuple[str, Dict[str, str]]]:
    """Yields (place, values by column) of every row that is not blank and has all its fields.

    Args:
      table: what ``open_table`` returned.
      columns: column to index.
      problems: collects the rows with more or fewer fields than the first line; one problem where
        that is so for all.

    Raises:
      UserError: an open quote.
    """
    count = len(table.first)
    wrong: List[Tuple[str, List[str]]] = []
    is_any_right = False
    for line, fields in _fields(table.path, table.separator):
        if line < table.first_line or (line == table.first_line and table.columns is not None):
            continue
        place = f"line {line}"
        # Some tools end every row with a separator.
        if len(fields) < count or any(field.strip() for field in fields[count:]):
            wrong.append((place, fields))
            continue
        is_any_right = True
        yield place, {name: _value(name, fields[index], table) for name, index in columns.items()}
    if wrong and not is_any_right:
        problems.add(wrong[0][0], f"as in every row, {_wrong_count(wrong[0][1], table)}")
        return
    for place, fields in wrong:
        problems.add(place, _wrong_count(fields, table))


def looks_like_header(table: Table) -> bool:
    """Whether the first line has several fields, of which none is a number."""
    return len(table.first) > 1 and all(parse_number(field) is None for field in table.first)


def is_name_of(name: str, column: str) -> bool:
    """Whether a file may call a column so."""
    return _key(name) in NAMES[column]


def found_names(table: Table) -> str:
    """The fields of the first line, for a message."""
    return listed(shown(field.strip(), 30) for field in table.first)


def _value(name: str, field: str, table: Table) -> str:
    """A field, with a decimal point in place of a decimal comma."""
    if "," not in field or name in TEXT_COLUMNS or not _DECIMAL_COMMA.match(field):
        return field
    # 1,234 is 1234 in some countries and 1.234 in others. Only in the latter are semicolons usual.
    if table.separator != ";" and _THREE_DECIMALS.match(field):
        return field
    return field.replace(",", ".")


def _wrong_count(fields: Sequence[str], table: Table) -> str:
    separator = {"\t": "tab"}.get(table.separator, f"'{table.separator}'")
    return (
        f"found {counted(len(fields), 'column')} ({shown(table.separator.join(fields))}); expected "
        f"{len(table.first)}, as in line {table.first_line}, separated by {separator}. Correct the "
        "row: a value that contains the separator, as a decimal comma does, has to be in quotes."
    )


def _key(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name).casefold()


def _columns(fields: Sequence[str]) -> Dict[str, int]:
    """Column to index, of those whose name is among the fields."""
    keys = [_key(field) for field in fields]
    found = {}
    for column, names in NAMES.items():
        present = [name for name in names if name in keys]
        if present:
            found[column] = keys.index(present[0])
    return found


def _refuse_pipe(path: PathLike) -> None:
    """A pipe can be read once, and a table is read line by line several times."""
    file = pathlib.Path(path)
    if file.exists() and not file.is_file() and not file.is_dir():
        raise UserError(
            f"{path}: is a pipe or a device; expected a CSV file, which is read more than once. "
            "Write it to a file first."
        )


def _refuse_equal_names(path: PathLike, line: int, fields: Sequence[str]) -> None:
    known = {name for names in NAMES.values() for name in names}
    keys = [_key(field) for field in fields]
    for index, key in enumerate(keys):
        first = keys.index(key)
        if key in known and first != index:
            raise UserError(
                f"{path}: line {line}: the columns {first + 1} and {index + 1} are both named "
                f"{shown(fields[index].strip())}; expected each name once. Rename the one that is "
                "not meant."
            )


def _first_row(path: PathLike, separator: str) -> Tuple[int, List[str]]:
    """(line, fields) of the first row that is not blank; an open quote is found by ``rows``."""
    try:
        return next(_fields(path, separator), (1, []))
    except UserError:
        return 1, [next(_lines(path)).rstrip("\r\n")]


def _fields(path: PathLike, separator: str) -> Iterator[Tuple[int, List[str]]]:
    """Yields (line, fields) of every row that is not blank; the line on which it starts, from 1."""
    lines = _lines(path)
    line = 1
    if _named_separator(path):
        next(lines)
        line = 2
    first_line = line
    # strict makes an open quote an error, not a field that extends to the end of the file.
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = first_line + reader.line_num  # a quoted field may have spanned several lines
    except csv.Error as error:
        raise UserError(
            f"{path}: line {line}: not a valid CSV row ({error}); expected separated values and a "
            "closing quote for every opening quote. Correct the row."
        ) from error


def _named_separator(path: PathLike) -> Optional[str]:
    """The separator that the file names before its header, if it does."""
    named = _SEPARATOR_LINE.match(next(_lines(path), ""))
    return named.group(1) if named else None


def _lines(path: PathLike) -> Iterator[str]:
    """The lines of a file with their ends, which a field in quotes may contain."""
    with open(str(path), encoding="utf-8-sig", newline="") as file:
        yield from file
