"""Labelled images: the workspace's own label CSV in and out, the label map, and how their mistakes are told.

Annotations of other makes (the Grocery Dataset's CSV, Pascal VOC, COCO) are read by ``formats``.
"""

import collections
import csv
import io
import pathlib
import re

import numpy as np

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import (
    Problems,
    check_columns,
    name_problem,
    read_csv,
    read_number,
    read_text,
    shown,
)

LABEL_COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
BOX_COLUMNS = LABEL_COLUMNS[4:]

LabelledImage = collections.namedtuple("LabelledImage", "filename size_wh boxes_xyxy classes")
LabelledImage.__doc__ = """An image and its products.

filename: base name, unique in a label file. size_wh: (int, int), raw pixels. boxes_xyxy: float64 (N, 4), inside the
image, each with an area. classes: tuple of N class names."""


def read_labels(path):
    """Reads a label file of this workspace: CSV with the header ``filename,width,height,class,xmin,ymin,xmax,ymax``.

    An image without products is one row whose class and box fields are empty.

    Args:
      path: the CSV; UTF-8, with or without a byte order mark, any line ends.

    Returns:
      list of LabelledImage in the order in which the images first appear; boxes in the order of their rows.

    Raises:
      UserError: every row that is wrong, by line, with what was found and what was expected.
    """
    if not pathlib.Path(path).exists():
        raise UserError(
            f"{path}: no such file; expected a label file. `make data` makes train_labels.csv, val_labels.csv and test_labels.csv; or check the path."
        )
    problems = Problems(path)
    rows = read_csv(path)
    line, header = next(rows)
    if tuple(field.strip() for field in header) != LABEL_COLUMNS:
        raise UserError(
            f"{path}: line {line}: found {shown(','.join(header))}; expected the header {','.join(LABEL_COLUMNS)}.{_header_advice(header)}"
        )
    pictures = (
        collections.OrderedDict()
    )  # name -> (size_wh, line, {(class, box): line} in row order)
    for line, fields in rows:
        where = f"line {line}"
        if check_columns(fields, LABEL_COLUMNS, where, problems):
            _read_label_row(fields, where, pictures, problems)
    if not pictures:
        problems.add(
            "",
            "holds a header and no rows; expected at least one image. Make it anew with step 02.",
        )
    problems.refuse()
    return [
        labelled(name, size_wh, [(cls, box) for cls, box in found if cls])
        for name, (size_wh, _, found) in pictures.items()
    ]


def write_labels(images, path):
    """Writes LabelledImages as a label file, whole or not at all; whole numbers are written without a point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    for image in images:
        head = [image.filename, image.size_wh[0], image.size_wh[1]]
        for cls, box in zip(image.classes, image.boxes_xyxy):
            writer.writerow(head + [cls] + [_number(side) for side in box])
        if not image.classes:
            writer.writerow(head + [""] * 5)
    files.write_text(path, text.getvalue())


def labelled(filename, size_wh, rows):
    """A LabelledImage from ``rows``, a sequence of (class, box of four numbers)."""
    boxes_xyxy = np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4)
    return LabelledImage(filename, tuple(size_wh), boxes_xyxy, tuple(cls for cls, _ in rows))


def read_label_map(path):
    """Reads a label map (``item { id: 1 name: 'product' }`` ...) without TensorFlow.

    Returns:
      collections.OrderedDict of class name -> id, in the order of the file.

    Raises:
      UserError: no such file, not a label map, an item without id or name, id 0 (which TensorFlow keeps for the
      background) or below, an id or a name that stands twice.
    """
    ids = collections.OrderedDict()
    for line, item in _label_map_items(path, read_text(path, "a label map")):
        place = f"{path}: line {line}"
        if "id" not in item or "name" not in item:
            raise UserError(
                f"{place}: an item without {'id' if 'id' not in item else 'name'}; expected item {{ id: 1 name: 'product' }}."
            )
        name = item["name"]
        if not re.match(r"^-?\d+$", item["id"]) or int(item["id"]) < 1:
            raise UserError(
                f"{place}: id {item['id']} of {shown(name)}; expected a whole number from 1 (TensorFlow keeps 0 for the background). Number the classes from 1."
            )
        if not name.strip():
            raise UserError(f"{place}: an item with an empty name; expected a class name.")
        if name in ids or int(item["id"]) in ids.values():
            raise UserError(
                f"{place}: {'class ' + shown(name) if name in ids else 'id ' + item['id']} stands twice; expected each id and each name once."
            )
        ids[name] = int(item["id"])
    if not ids:
        raise UserError(f"{path}: no item; expected item {{ id: 1 name: 'product' }}.")
    return ids


def _read_label_row(fields, where, pictures, problems):
    row = dict(zip(LABEL_COLUMNS, fields))
    name = row["filename"]
    size_wh = tuple(_read_side(row[side], side, where, problems) for side in ("width", "height"))
    problem = name_problem(name)
    if problem:
        problems.add(where, problem + ".")
    if problem or None in size_wh:
        return
    first_wh, first_where, found = pictures.setdefault(name, (size_wh, where, {}))
    if first_wh != size_wh:
        problems.add(
            where,
            "{} is {} x {}; expected {} x {} as in {}.".format(
                shown(name), *size_wh + first_wh + (first_where,)
            ),
        )
    key = (row["class"].strip(), None)
    if any(row[side].strip() for side in ("class",) + BOX_COLUMNS):
        box = _read_label_box(row, first_wh, where, problems)
        if not key[0]:
            problems.add(
                where,
                "the class is empty; expected a class name (or empty class and box, for an image "
                "without products).",
            )
        if box is None or not key[0]:
            return
        key = (key[0], box)
    if key in found:
        problems.add(
            where,
            f"the same image, class and box as {found[key]}; expected each once. Delete one of them.",
        )
    elif found and ("", None) in (key, *found):
        problems.add(where, f"{shown(name)} has rows with boxes and one without; expected either.")
    found.setdefault(key, where)


def _read_label_box(row, size_wh, where, problems):
    box = tuple(read_number(row[side], side, where, problems) for side in BOX_COLUMNS)
    if None in box:
        return None
    xmin, ymin, xmax, ymax = box
    if 0 <= xmin < xmax <= size_wh[0] and 0 <= ymin < ymax <= size_wh[1]:
        return box
    problems.add(
        where,
        "box {}; expected 0 <= xmin < xmax <= {} and 0 <= ymin < ymax <= {}, inside the image. Make "
        "the file anew with step 02, which clips.".format(
            ",".join(_number(side) for side in box), *size_wh
        ),
    )
    return None


def _read_side(text, name, where, problems):
    if re.match(r"^[1-9][0-9]*$", text.strip()):
        return int(text)
    problems.add(where, f"{name} is {shown(text)}; expected a whole number of pixels from 1.")
    return None


def _header_advice(header):
    if len(header) == 6:
        return " It looks like the Grocery Dataset's annotations.csv: step 02 makes the label files from it."
    if len(header) == len(LABEL_COLUMNS) and header[1].strip().isdigit():
        return " Write the header above the first row."
    return " Make the file anew with step 02."


def _number(value):
    return str(int(value)) if value == int(value) else repr(float(value))


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<word>[-\w.]+)|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
                        |(?P<open>:?\s*[{<])|(?P<close>[}>])|(?P<mark>[:,;])""",
    re.VERBOSE,
)


def _label_map_items(path, text):
    """Yields (line, {field: value}) of each ``item``; fields nested deeper are passed over."""
    at, depth, field, item = 0, 0, None, {}
    while at < len(text):
        token = _TOKEN.match(text, at)
        line = text.count("\n", 0, at) + 1
        kind = token.lastgroup if token else None
        value = token.group() if token else text[at]
        nested = depth + (kind == "open") - (kind == "close")
        if (
            kind is None
            or nested < 0
            or (depth == 0 and kind in ("word", "open") and (field or value) != "item")
        ):
            raise UserError(
                f"{path}: line {line}: found {shown(value)}; expected item {{ id: 1 name: 'product' }}. A label map holds nothing else."
            )
        if kind == "open" and depth == 0:
            start, item = line, {}
        elif kind == "close" and depth == 1:
            yield start, item
        elif depth == 1 and field and kind in ("word", "text"):
            item[field] = _unquoted(value, path, line)
            value = None
        if kind not in ("space", "mark"):
            field = value if kind == "word" else None
        at, depth = token.end(), nested
    if depth:
        raise UserError(f"{path}: ends inside an item; expected a closing brace.")


def _unquoted(value, path, line):
    if value[0] not in "'\"":
        return value
    inner = value[1:-1]
    if re.search(r"\\[^'\"\\]", inner):
        raise UserError(
            f"{path}: line {line}: found the escape in {value}; expected the letter itself, in UTF-8."
        )
    return re.sub(r"\\(.)", r"\1", inner)
