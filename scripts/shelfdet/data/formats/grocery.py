"""The Grocery Dataset's annotations.csv: rows of ``filename,xmin,ymin,xmax,ymax,brand``.

One row a box, no image size, no scores; an image without boxes cannot be in it. The dataset's own
file has no header; with one, columns are found by their names. The same boxes are in the dataset's
annotation.txt, a line an image: ``filename n x1 y1 w1 h1 brand1 x2 ...``, of n boxes.
Source: Varol and Kuzu, "Toward Retail Product Recognition on Grocery Shelves", ICIVC 2014.
"""

import collections
import pathlib
from typing import Dict, Iterable, List

from shelfdet import UserError
from shelfdet.core.text import (
    PathLike,
    Problems,
    counted,
    parse_number,
    read_number,
    read_text,
    shown,
)
from shelfdet.data.formats import table as tables
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImageBoxes,
    ImagesByName,
    RowNames,
    ScoresInGroundTruth,
    add_image,
    read_name,
)

COLUMNS = ("filename",) + BOX_COLUMNS + ("brand",)
FIELDS_OF_A_BOX = 5  # in annotation.txt: x, y, width, height, brand
HEADER_NAMES = (
    "filename, class, xmin, ymin, xmax, ymax, and width and height where they are there (other "
    "columns may have any name)"
)


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    brand_is_class: bool = False,
) -> ImagesByName:
    """Reads the CSV, or the text file; see ``formats.read``.

    Args:
      path: the CSV file, or one with the suffix .txt as annotation.txt.
      problems: collects what is wrong, by line.
      scored: must be False: the format has no scores.
      image_names: unused.
      brand_is_class: the last column names the class. In the dataset itself it is the number of a
        brand, 0 for most, and no class is read (``label`` is None).
    """
    assert not scored, "the Grocery Dataset's CSV has no scores"
    if pathlib.Path(path).suffix.lower() == ".txt":
        return _read_lines(path, problems, brand_is_class)
    images: ImagesByName = collections.OrderedDict()
    names = RowNames(problems)
    scores = ScoresInGroundTruth(problems)
    table = tables.open_table(path)
    columns = _columns(table)
    for place, row in tables.rows(table, columns, problems):
        scores.note(row.pop("score", None), place)
        if list(row.values()) == [str(index) for index in range(len(COLUMNS))]:
            continue  # pandas numbers the columns of a file that it read without a header
        name = names.read(row["filename"], place)
        if name is None:
            continue
        if not any(row[column].strip() for column in COLUMNS[1:]):
            images.setdefault(name, ImageBoxes(name, place, None, []))
            continue  # states an image without boxes, as CSV files of other tools do
        box = tuple(read_number(row[column], column, place, problems) for column in BOX_COLUMNS)
        # An image whose boxes are all wrong is annotated nevertheless, so it is not reported twice.
        image = images.setdefault(name, ImageBoxes(name, place, None, []))
        if None not in box:
            label = row["brand"].strip() if brand_is_class else None
            image.rows.append(BoxRow(place, label, box))
    scores.finish()
    return images


def is_line(line: str) -> bool:
    """Whether a line is one of annotation.txt."""
    fields = line.split()
    counts = [parse_number(field) for field in fields[1:]]
    return bool(counts) and None not in counts and len(counts) == 1 + FIELDS_OF_A_BOX * counts[0]


def _read_lines(path: PathLike, problems: Problems, brand_is_class: bool) -> ImagesByName:
    """Reads annotation.txt."""
    images: ImagesByName = collections.OrderedDict()
    content = read_text(path, "the Grocery Dataset's annotation.txt")
    for number, line in enumerate(content.splitlines(), start=1):
        place = f"line {number}"
        fields = line.split()
        if not fields:
            continue
        if not is_line(line):
            problems.add(
                place,
                f"is {shown(line)}; expected a file name, the number of boxes, and "
                f"{FIELDS_OF_A_BOX} numbers for each: x y width height brand. Correct it.",
            )
            continue
        name = read_name(fields[0], place, problems)
        if name is None or not add_image(images, name, place, None, problems):
            continue
        for start in range(2, len(fields), FIELDS_OF_A_BOX):
            box = fields[start : start + FIELDS_OF_A_BOX]
            images[name].rows.append(_row_of_line(box, place, brand_is_class))
    return images


def _row_of_line(fields: List[str], place: str, brand_is_class: bool) -> BoxRow:
    """The row of x, y, width, height and brand."""
    x, y, width, height = map(float, fields[:4])
    label = fields[4] if brand_is_class else None
    box_xyxy = (x, y, x + width, y + height)
    return BoxRow(place, label, box_xyxy, stated=shown(" ".join(fields)))


def is_of(table: tables.Table) -> bool:
    """Whether a CSV without a header has the number of a brand where others have a class."""
    return len(table.first) == len(COLUMNS) and table.first[-1].strip().isdigit()


def _columns(table: tables.Table) -> Dict[str, int]:
    """Column to index.

    Raises:
      UserError: a header without one of the columns, or no header and another number of columns.
    """
    if table.columns is None:
        if len(table.first) == len(COLUMNS):
            return {name: index for index, name in enumerate(COLUMNS)}
        if tables.looks_like_header(table):
            raise UserError(
                f"{table.path}: line {table.first_line}: found the names "
                f"{tables.found_names(table)}; expected {HEADER_NAMES}. Name the columns so."
            )
        raise UserError(
            f"{table.path}: line {table.first_line}: found {counted(len(table.first), 'column')} "
            f"({shown(table.separator.join(table.first))}) and no header that names them; expected "
            f"{len(COLUMNS)} without a header: {','.join(COLUMNS)}. Write a header above the first "
            f"row that names its columns, in their order, with the names {HEADER_NAMES}."
        )
    columns = dict(table.columns)
    columns.setdefault("brand", columns.get("class"))
    missing = [name for name in COLUMNS if columns.get(name) is None]
    if missing:
        raise UserError(
            f"{table.path}: line {table.first_line}: no column {', '.join(missing)}, but "
            f"{tables.found_names(table)}; expected the columns {','.join(COLUMNS)}, in any order. "
            "Name the columns so, or add them."
        )
    return {name: columns[name] for name in COLUMNS + ("score",) if name in columns}
