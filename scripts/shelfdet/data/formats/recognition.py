"""Recognises the format of a file of annotations by its content, not by its name.

A folder of a dataset also holds other files (a list of classes, a README, results): these are none.
"""

import pathlib
import xml.etree.ElementTree
from typing import Any, Callable, Dict, Optional

from shelfdet import UserError
from shelfdet.core.text import PathLike, read_text
from shelfdet.data.formats import (
    class_names,
    coco,
    cvat,
    datumaro,
    grocery,
    json_kinds,
    labelme,
    labels_csv,
    labelstudio,
    sku110k,
    supervisely,
    via,
    yolo,
)
from shelfdet.data.formats import table as tables
from shelfdet.data.formats.image_boxes import read_json


def recognise(path: PathLike) -> Optional[str]:
    """The format of a file, a key of ``formats.FORMATS``; None where it is no annotations.

    Raises:
      UserError: the file cannot be read, or is annotations of a kind that is not read.
    """
    by_content = BY_SUFFIX.get(pathlib.Path(path).suffix.lower())
    return by_content(path) if by_content else None


# Format to whether the content of a JSON file is of it.
JSON_KINDS: Dict[str, Callable[[Any], bool]] = {
    "coco": coco.is_of,
    "labelstudio": labelstudio.is_of,
    "datumaro": datumaro.is_of,
    "via": via.is_json,
    "labelme": labelme.is_of,
    "supervisely": supervisely.is_of,
}


def may_be_of(path: PathLike, format: str) -> bool:
    """Whether a file may be one of a format with one file an image, beside others that are.

    It is not read to its end: it may be broken, or of an image without products.
    """
    if format == "yolo":
        return yolo.may_be_labels(pathlib.Path(path))
    return format != "supervisely" or pathlib.Path(path).name.lower() != supervisely.META


def _of_table(path: PathLike) -> Optional[str]:
    """The format of a CSV: by the names of its header or, without one, by its first row."""
    table = tables.open_table(path)
    if table.columns is None:
        if sku110k.is_of(table):
            return "sku110k"
        if labels_csv.is_without_header(table):
            return "grocery" if grocery.is_of(table) else "csv"
        return None
    if via.is_table(table):
        return "via"
    if not set(labels_csv.BOX_COLUMNS) < set(table.columns):
        return None
    return "grocery" if "brand" in table.columns and "class" not in table.columns else "csv"


def _of_json(path: PathLike) -> Optional[str]:
    content = read_json(path, "JSON")
    for format, is_of in JSON_KINDS.items():
        if is_of(content):
            return format
    kind = json_kinds.recognise(content)
    if kind is not None:
        raise UserError(f"{path}: is {kind.title}, which is not read. {kind.advice}")
    return None


def _of_xml(path: PathLike) -> Optional[str]:
    """The format of XML, by its outermost element."""
    try:
        _, root = next(xml.etree.ElementTree.iterparse(str(path), events=("start",)))
    except (OSError, SyntaxError, ValueError, LookupError, StopIteration) as error:
        raise UserError(
            f"{path}: is no XML ({error}); expected Pascal VOC XML. Save it again."
        ) from error
    return {"annotation": "voc", cvat.ROOT: "cvat"}.get(root.tag.lower())


def _of_text(path: PathLike) -> Optional[str]:
    """The format of a text file, by its first line.

    Other text files are lists of classes, and empty label files of images without products.
    """
    path = pathlib.Path(path)
    if class_names.is_list(path):
        return None
    if yolo.has_boxes(path):
        return "yolo"
    if grocery.is_line(yolo.first_line(path)):
        return "grocery"
    if yolo.has_boxes(path, by_name=True):
        return "yolo"
    read_text(path, "text")  # raises where it is in an encoding that is not read
    return None


# Suffix in lower case to the function that looks into files of that suffix. A new format is one
# more answer of such a function, or one more suffix.
BY_SUFFIX: Dict[str, Callable[[PathLike], Optional[str]]] = {
    ".csv": _of_table,
    ".tsv": _of_table,
    ".json": _of_json,
    ".xml": _of_xml,
    ".txt": _of_text,
}
