"""This workspace's CSV: header ``filename,width,height,class,xmin,ymin,xmax,ymax``, one row a box.

Detections have a ninth column, ``score``. An image without boxes is one row whose class and box
fields are empty. UTF-8, with or without a byte order mark, any line ends.
"""

import collections
import csv
import io
from typing import Dict, Iterable, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files, text
from shelfdet.core.text import PathLike, Problems, read_number, read_size, shown
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImageBoxes,
    ImagesByName,
    RowNames,
)

IMAGE_COLUMNS = ("filename", "width", "height")
LABEL_COLUMNS = IMAGE_COLUMNS + ("class",) + BOX_COLUMNS
DETECTION_COLUMNS = LABEL_COLUMNS + ("score",)


def is_header(fields: Sequence[str]) -> bool:
    """Whether ``fields`` are the header of a label file."""
    return tuple(field.strip() for field in fields) == LABEL_COLUMNS


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the CSV; see ``formats.read``.

    Raises:
      UserError: the file cannot be read, or has another header.
    """
    columns = DETECTION_COLUMNS if scored else LABEL_COLUMNS
    lines = text.read_csv(path)
    _check_header(path, next(lines), columns)
    images: ImagesByName = collections.OrderedDict()
    empty_rows: Dict[str, str] = {}  # image without boxes -> place of the row that states it
    names = RowNames(problems)
    for line, fields in lines:
        place = f"line {line}"
        if not text.check_columns(fields, columns, place, problems):
            continue
        row = dict(zip(columns, fields))
        image = _read_image(row, place, images, names, problems)
        if image is not None:
            _read_row(row, place, image, empty_rows, scored, problems)
    return images


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


def number_text(number: float) -> str:
    """The shortest text that is read as the same float; "7" instead of "7.0"."""
    return str(int(number)) if number == int(number) else repr(float(number))


def _check_header(
    path: PathLike, first_row: Tuple[int, Sequence[str]], columns: Sequence[str]
) -> None:
    line, fields = first_row
    if tuple(field.strip() for field in fields) != columns:
        raise UserError(
            f"{path}: line {line}: found {shown(','.join(fields))}; expected the header "
            f"{','.join(columns)}. {_header_advice(fields, columns)}"
        )


def _header_advice(fields: Sequence[str], columns: Sequence[str]) -> str:
    if len(fields) == 6:
        return (
            "It looks like the Grocery Dataset's annotations.csv: step 02 makes the label files "
            "from it."
        )
    if len(fields) == len(columns) and fields[1].strip().isdigit():
        return "Write the header above the first row."
    if is_header(fields):
        return "These are labels without scores, not detections. Check the path."
    if columns == LABEL_COLUMNS:
        return "Make the file again with step 02."
    return "Correct the first row."


def _read_image(
    row: Dict[str, str], place: str, images: ImagesByName, names: RowNames, problems: Problems
) -> Optional[ImageBoxes]:
    """The image that a row belongs to; None after noting a problem with its name or size."""
    name = names.read(row["filename"], place)
    size_wh = read_size(row["width"], row["height"], place, problems)
    if name is None or size_wh is None:
        return None
    image = images.setdefault(name, ImageBoxes(name, place, size_wh, []))
    if image.size_wh != size_wh:
        problems.add(
            place,
            f"{shown(name)} is {size_wh[0]} x {size_wh[1]}; expected {image.size_wh[0]} x "
            f"{image.size_wh[1]} as in {image.place}. Correct the row.",
        )
    return image


def _read_row(
    row: Dict[str, str],
    place: str,
    image: ImageBoxes,
    empty_rows: Dict[str, str],
    scored: bool,
    problems: Problems,
) -> None:
    """Adds the box of one row to its image, or notes that the image has none."""
    is_empty = not any(row[column].strip() for column in row if column not in IMAGE_COLUMNS)
    _check_empty_rows(image, is_empty, place, empty_rows, problems)
    if is_empty:
        empty_rows.setdefault(image.filename, place)
        return
    # All values are read before any is used, so that one run reports every mistake of the row.
    columns = BOX_COLUMNS + (("score",) if scored else ())
    values = [read_number(row[column], column, place, problems) for column in columns]
    label = row["class"].strip()
    if not label:
        problems.add(
            place,
            "the class is empty; expected a class name (or empty class and box, for an image "
            "without products).",
        )
    if label and None not in values:
        score = values[4] if scored else None
        image.rows.append(BoxRow(place, label, tuple(values[:4]), score))


def _check_empty_rows(
    image: ImageBoxes, is_empty: bool, place: str, empty_rows: Dict[str, str], problems: Problems
) -> None:
    """Notes a second row that states that an image has no boxes, and one beside rows with boxes."""
    first_place = empty_rows.get(image.filename)
    if is_empty and first_place is not None:
        problems.add(
            place,
            f"the same image, without a box, as {first_place}; expected it once. "
            "Delete one of them.",
        )
    elif (is_empty and image.rows) or first_place is not None:
        problems.add(
            place,
            f"{shown(image.filename)} has rows with boxes and one without; expected either. "
            "Delete the row without a box.",
        )
