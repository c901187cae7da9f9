"""The label map (.pbtxt): class names and their ids, as ``item { id: 1 name: 'product' }``.

Read with protobuf's text parser and object_detection's message, as object_detection itself does.
The message does not need TensorFlow. Both are imported where they are used: the workers of a Spark
cluster import this module, and need no object_detection.
"""

import collections
import pathlib
from typing import Any, Dict, Mapping

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, read_text, shown

EXAMPLE = "item { id: 1 name: 'product' }"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_label_map(path: PathLike) -> Dict[str, int]:
    """Reads a label map.

    Returns:
      OrderedDict of class name -> id, in the order of the file.

    Raises:
      UserError: no such file, not a label map (with the line), an item without id or name, an id
        below 1 (TensorFlow keeps 0 for the background), an id or a name that is in it twice.
    """
    items = _parse(path).item
    if not items:
        raise UserError(f"{path}: no item; expected {EXAMPLE}. Write one for each class.")
    problems = Problems(path)
    names: Dict[int, str] = {}  # id -> class name
    ids: Dict[str, int] = collections.OrderedDict()
    for number, item in enumerate(items, start=1):
        place = f"item {number}"
        if not _check_item(item, place, problems):
            continue
        if item.id in names:
            problems.add(
                place,
                f"id {item.id} is also the id of {shown(names[item.id])}; expected each id once. "
                f"Give {shown(item.name)} another.",
            )
        if item.name in ids:
            problems.add(
                place,
                f"class {shown(item.name)} also has id {ids[item.name]}; expected each name once. "
                "Rename one of them.",
            )
        names.setdefault(item.id, item.name)
        ids.setdefault(item.name, item.id)
    for number, item in enumerate(items, start=1):
        # object_detection searches both, and would take a box of the one class for the other.
        if ids.get(item.display_name, item.id) != item.id:
            problems.add(
                f"item {number}",
                f"display_name {shown(item.display_name)} is the name of class "
                f"{ids[item.display_name]}; expected one that no other class has. Change it.",
            )
    problems.refuse()
    return ids


def read_display_names(path: PathLike) -> Dict[str, str]:
    """The names to show to people: class name -> display_name, of the items that have one.

    Raises:
      UserError: no such file, or not a label map.
    """
    return {item.name: item.display_name for item in _parse(path).item if item.display_name}


def display_names_in(path: PathLike) -> Dict[str, str]:
    """``read_display_names`` of a label map that is to be replaced; empty where it has none."""
    try:
        return read_display_names(path)
    except UserError:
        return {}


def write_label_map(
    ids: Mapping[str, int], path: PathLike, display_names: Mapping[str, str]
) -> None:
    """Writes a label map.

    Args:
      ids: class name -> id.
      path: target file, written completely or not at all.
      display_names: class name -> name to show to people; other names than those of ``ids`` are
        left out.
    """
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    message = string_int_label_map_pb2.StringIntLabelMap()
    for name, class_id in ids.items():
        item = message.item.add(id=class_id, name=name)
        if name in display_names:
            item.display_name = display_names[name]
    files.write_text(pathlib.Path(path), text_format.MessageToString(message, as_utf8=True))


def _parse(path: PathLike) -> Any:
    """The StringIntLabelMap in the file at ``path``."""
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    content = read_text(path, "a label map")
    if pathlib.Path(path).read_bytes().startswith(BYTE_ORDER_MARK):
        # object_detection, which reads the file in training, cannot.
        raise UserError(
            f"{path}: line 1: starts with a byte order mark, which object_detection cannot read; "
            "expected UTF-8 without it. Save it again as UTF-8 without a byte order mark."
        )
    try:
        return text_format.Parse(content, string_int_label_map_pb2.StringIntLabelMap())
    except text_format.ParseError as error:
        reason = str(error).split(" : ", 1)[-1].rstrip(".")
        raise UserError(
            f"{path}: line {error.GetLine()}: {reason}; expected {EXAMPLE}. Correct this line, or "
            "a brace above it."
        ) from error


def _check_item(item: Any, place: str, problems: Problems) -> bool:
    """Whether an item has a valid id and name; notes what is wrong otherwise."""
    missing = [key for key in ("id", "name") if not item.HasField(key)]
    if missing:
        problems.add(
            place, f"without {' and '.join(missing)}; expected {EXAMPLE}. Write the missing key."
        )
        return False
    if item.id < 1:
        problems.add(
            place,
            f"id {item.id} of {shown(item.name)}; expected a whole number from 1 (TensorFlow "
            "keeps 0 for the background). Number the classes from 1.",
        )
    if not item.name.strip():
        problems.add(place, "with an empty name; expected a class name. Write one.")
    return item.id >= 1 and bool(item.name.strip())
