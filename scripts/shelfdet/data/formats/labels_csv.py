"""A CSV of labelled boxes: ``filename,width,height,class,xmin,ymin,xmax,ymax``, one row a box.

Columns are found by their names (see ``table``), so that other tools' files are read, too; width
and height may be missing. Ground truth may have no header and the columns of keras-retinanet,
``path,x1,y1,x2,y2,class``. Detections have a column ``score``. An image without boxes is one row
whose class and box fields are empty. UTF-8, with or without a byte order mark, any line ends.
"""

import collections
import csv
import io
import sys
from typing import Dict, Iterable, Iterator, Optional, Set

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import (
    PathLike,
    Problems,
    name_problem,
    parse_number,
    read_number,
    read_size,
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
    base_name,
    joined,
    number_text,
    read_stated_size,
)

SIZE_COLUMNS = ("width", "height")
IMAGE_COLUMNS = ("filename",) + SIZE_COLUMNS
LABEL_COLUMNS = IMAGE_COLUMNS + ("class",) + BOX_COLUMNS
DETECTION_COLUMNS = LABEL_COLUMNS + ("score",)
# Of files without a header. Source: https://github.com/fizyr/keras-retinanet#annotations-format
COLUMNS_WITHOUT_HEADER = ("filename",) + BOX_COLUMNS + ("class",)


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    needs_sizes: bool = False,
) -> ImagesByName:
    """Reads the CSV; see ``formats.read``.

    Args:
      needs_sizes: the columns width and height must be there, too.

    Raises:
      UserError: the file cannot be read, or a column is missing.
    """
    return joined(stream(path, problems, scored, image_names, needs_sizes))


def stream(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    needs_sizes: bool = False,
) -> Iterator[ImageBoxes]:
    """``read`` image by image; see ``formats.stream``."""
    table = tables.open_table(path)
    if not scored and not needs_sizes and is_without_header(table):
        columns = {name: index for index, name in enumerate(COLUMNS_WITHOUT_HEADER)}
        return _stream_rows(table, columns, problems)
    _check_columns(table, scored, needs_sizes)
    columns = {name: table.columns[name] for name in DETECTION_COLUMNS if name in table.columns}
    return _stream_rows(table, columns, problems, scored, needs_sizes)


def is_without_header(table: tables.Table) -> bool:
    """Whether the first row of a file is one of COLUMNS_WITHOUT_HEADER, with or without a box."""
    if table.columns is not None or len(table.first) != len(COLUMNS_WITHOUT_HEADER):
        return False
    values = table.first[1:]
    has_no_box = not any(value.strip() for value in values)
    return has_no_box or all(parse_number(value) is not None for value in values[:4])


def read_rows(
    table: tables.Table,
    columns: Dict[str, int],
    problems: Problems,
    scored: bool = False,
    needs_sizes: bool = False,
) -> ImagesByName:
    """Reads the rows of a CSV, each a box of an image.

    Args:
      table: what ``tables.open_table`` returned.
      columns: a name of DETECTION_COLUMNS to its index in a row; those of the sizes may be missing.
      problems, scored, needs_sizes: as in ``read``.
    """
    return joined(_stream_rows(table, columns, problems, scored, needs_sizes))


def _stream_rows(
    table: tables.Table,
    columns: Dict[str, int],
    problems: Problems,
    scored: bool = False,
    needs_sizes: bool = False,
) -> Iterator[ImageBoxes]:
    """``read_rows`` image by image: an image is complete where rows of another one follow."""
    images: ImagesByName = collections.OrderedDict()  # without rows, but that of the last row
    with_boxes: Set[str] = set()
    last = None
    empty_rows: Dict[str, str] = {}  # image without boxes -> place of the row that states it
    names = RowNames(problems)
    scores = ScoresInGroundTruth(problems)
    for place, row in tables.rows(table, columns, problems):
        if not scored:
            scores.note(row.pop("score", None), place)
        image = _read_image(row, place, images, names, needs_sizes, problems)
        if image is None:
            # An image of a wrong row would be reported as one without a box, which it is not. In a
            # label file, which needs sizes, nothing follows from it.
            if not needs_sizes and not name_problem(base_name(row["filename"])):
                yield ImageBoxes(base_name(row["filename"]), place, None, [])
            continue
        if last is not None and last is not image:
            yield last._replace(rows=last.rows[:])
            last.rows.clear()
        last = image
        _read_row(row, place, image, with_boxes, empty_rows, scored, problems)
    if last is not None:
        yield last
    scores.finish()


def write(images: Iterable[ImageBoxes], path: PathLike) -> None:
    """Writes a label file, without scores; whole numbers are written without a point."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    for image in images:
        head = [image.filename, image.size_wh[0], image.size_wh[1]]
        for row in image.rows:
            writer.writerow(head + [row.label] + [number_text(side) for side in row.box_xyxy])
        if not image.rows:
            # Without this row the image would not be learned as background.
            writer.writerow(head + [""] * 5)
    files.write_text(path, content.getvalue())


def _check_columns(table: tables.Table, scored: bool, needs_sizes: bool) -> None:
    """Refuses a file without a header, or without one of the columns."""
    columns = DETECTION_COLUMNS if scored else LABEL_COLUMNS
    if table.columns is None:
        raise UserError(
            f"{table.path}: line {table.first_line}: found "
            f"{shown(table.separator.join(table.first))}; expected the header {','.join(columns)}. "
            f"{_header_advice(table)}"
        )
    needed = [name for name in columns if needs_sizes or name not in SIZE_COLUMNS]
    missing = [name for name in needed if name not in table.columns]
    if not missing:
        return
    advice = "Name the columns so, or add them."
    if missing == ["score"]:
        advice = "These are labels without scores, not detections. Check the path."
    raise UserError(
        f"{table.path}: line {table.first_line}: no column {', '.join(missing)}, but "
        f"{tables.found_names(table)}; expected the columns {','.join(needed)}, in any order. "
        f"{advice}"
    )


def _header_advice(table: tables.Table) -> str:
    if len(table.first) == 6:
        return (
            "It looks like the Grocery Dataset's annotations.csv: step 02 makes the label files "
            "from it."
        )
    return "Write a header above the first row that names its columns, in their order."


def _read_image(
    row: Dict[str, str],
    place: str,
    images: ImagesByName,
    names: RowNames,
    needs_sizes: bool,
    problems: Problems,
) -> Optional[ImageBoxes]:
    """The image that a row belongs to; None after noting a problem with its name or size."""
    name = names.read(row["filename"], place)
    noted = len(problems)
    read = read_size if needs_sizes else read_stated_size
    size_wh = read(row.get("width"), row.get("height"), place, problems)
    if name is None or len(problems) > noted:
        return None
    image = images.setdefault(name, ImageBoxes(name, place, size_wh, []))
    if image.size_wh != size_wh:
        sizes = [f"{wh[0]} x {wh[1]}" if wh else "no size" for wh in (size_wh, image.size_wh)]
        problems.add(
            place,
            f"{shown(name)} is {sizes[0]}; expected {sizes[1]} as in {image.place}. Correct the "
            "row.",
        )
    return image


def _read_row(
    row: Dict[str, str],
    place: str,
    image: ImageBoxes,
    with_boxes: Set[str],
    empty_rows: Dict[str, str],
    scored: bool,
    problems: Problems,
) -> None:
    """Adds the box of one row to its image, or notes that the image has none."""
    is_empty = not any(row[column].strip() for column in row if column not in IMAGE_COLUMNS)
    _check_empty_rows(image, is_empty, place, with_boxes, empty_rows, problems)
    if is_empty:
        empty_rows.setdefault(image.filename, place)
        return
    # All values are read before any is used, so that one run reports every mistake of the row.
    columns = BOX_COLUMNS + (("score",) if scored else ())
    values = [read_number(row[column], column, place, problems) for column in columns]
    label = sys.intern(row["class"].strip())  # one text in memory for millions of boxes
    if not label:
        problems.add(
            place,
            "the class is empty; expected a class name (or empty class and box, for an image "
            "without products).",
        )
    if label and None not in values:
        score = values[4] if scored else None
        image.rows.append(BoxRow(place, label, tuple(values[:4]), score))
        with_boxes.add(image.filename)


def _check_empty_rows(
    image: ImageBoxes,
    is_empty: bool,
    place: str,
    with_boxes: Set[str],
    empty_rows: Dict[str, str],
    problems: Problems,
) -> None:
    """Notes a row that states that an image has no boxes, beside rows with boxes."""
    first_place = empty_rows.get(image.filename)
    if (is_empty and image.filename in with_boxes) or (not is_empty and first_place is not None):
        problems.add(
            place,
            f"{shown(image.filename)} has rows with boxes and one without "
            f"({first_place or place}); expected either. Correct the row without a box.",
        )
