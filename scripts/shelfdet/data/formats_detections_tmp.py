"""The formats that boxes of any detector come in: each reader gives the images and one row a box, numbers checked.

A reader takes (path, scored, known): path, a file or a folder; scored, whether boxes have scores (detections) or not
(ground truth); known, the images where they are known, or None. It returns (sizes, rows): an OrderedDict of file name
-> (width, height), None where the format does not tell; Rows in the order of the file. ``detections`` describes the
formats and checks the boxes.
"""

import collections
import json
import math
import pathlib
import xml.etree.ElementTree

from shelfdet import UserError
from shelfdet.core import text
from shelfdet.data import labels

Row = collections.namedtuple("Row", "place filename label corners score")
Row.__doc__ = """One box. place: file and entry, for messages. filename: its image's. label: its class. corners: xyxy,
four finite floats. score: finite, or None."""


def read_coco(path, scored, known, ground_truth=None):
    """COCO's JSON; ``ground_truth`` names the JSON with the images and categories of a bare list of results."""
    content = read_json(path)
    declared, declared_path = content, path
    if isinstance(content, list):
        if ground_truth is None:
            raise UserError(
                f'{path}: is a bare list of COCO results; expected "images" and "categories" too, or a ground truth in COCO\'s JSON that has them.'
            )
        declared, declared_path = read_json(ground_truth), ground_truth
        entries, prefix = content, "entry "
    else:
        entries, prefix = _list_of(content, "annotations", path), "annotations"
    names, sizes = {}, collections.OrderedDict()
    for index, entry in enumerate(_list_of(declared, "images", declared_path)):
        place = f"{declared_path}: images[{index}]"
        size_wh = tuple(
            _side(_key(entry, side, place), side, place) for side in ("width", "height")
        )
        filename = _new_image(sizes, _key(entry, "file_name", place), size_wh, place)
        names[_new_identity(names, entry, place)] = filename
    _refuse_empty(sizes, declared_path)
    class_names = {}
    for index, entry in enumerate(_list_of(declared, "categories", declared_path)):
        place = f"{declared_path}: categories[{index}]"
        class_names[_new_identity(class_names, entry, place)] = _label(
            _key(entry, "name", place), place
        )

    def rows():
        for index, entry in enumerate(entries):
            place = f"{path}: {prefix}[{index}]"
            _refuse_ignored(isinstance(entry, dict) and entry.get("iscrowd"), "iscrowd", place)
            corners = _key(entry, "bbox", place)
            if not isinstance(corners, list) or len(corners) != 4:
                raise UserError(f"{place}: bbox is {corners!r}; expected [x, y, width, height].")
            x, y, width, height = (_number(value, "bbox", place) for value in corners)
            filename = _declared(
                names, _identity(entry, "image_id", place), "image_id", "images", place
            )
            label = _declared(
                class_names,
                _identity(entry, "category_id", place),
                "category_id",
                "categories",
                place,
            )
            score = _number(_key(entry, "score", place), "score", place) if scored else None
            yield Row(place, filename, label, (x, y, x + width, y + height), score)

    return sizes, rows()


def read_csv(path, scored, known):
    """The workspace's label columns, and a score."""
    columns = labels.LABEL_COLUMNS + (("score",) if scored else ())
    lines = text.read_csv(path)
    number, header = next(lines)
    if tuple(header) != columns:
        raise UserError(
            f"{path}: line {number}: found {text.shown(','.join(header))}; expected the header {','.join(columns)}. Write it above the first row."
        )
    sizes, written, rows = collections.OrderedDict(), {}, []
    for number, fields in lines:
        place = f"{path}: line {number}"
        if len(fields) != len(columns):
            raise UserError(
                f"{place}: has {len(fields)} columns; expected {len(columns)}: {','.join(columns)}."
            )
        size_wh = tuple(_side(value, side, place) for value, side in zip(fields[1:3], columns[1:3]))
        filename = _base_name(fields[0], place)
        if written.setdefault(filename, fields[0].strip()) != fields[0].strip():
            raise UserError(
                f"{place}: the image {fields[0].strip()!r} was there as {written[filename]!r}; expected each under one name (folders do not tell names apart)."
            )
        if sizes.setdefault(filename, size_wh) != size_wh:
            raise UserError(
                "{}: {} is {} x {} pixels here; expected {} x {} as in its first row.".format(
                    place, filename, *(size_wh + sizes[filename])
                )
            )
        if any(field.strip() for field in fields[3:]):
            values = [
                _number(value, column, place) for value, column in zip(fields[4:], columns[4:])
            ]
            rows.append(
                Row(
                    place,
                    filename,
                    _label(fields[3], place),
                    tuple(values[:4]),
                    values[4] if scored else None,
                )
            )
    _refuse_empty(sizes, path)
    return sizes, rows


def read_voc(path, scored, known):
    """A folder of Pascal VOC XML."""
    sizes, rows = collections.OrderedDict(), []
    for file in _files_in(path, ".xml"):
        try:
            root = xml.etree.ElementTree.fromstring(file.read_bytes())
        except (
            OSError,
            SyntaxError,
            ValueError,
            LookupError,
        ) as error:  # also an encoding that is not known
            raise UserError(
                f"{file}: is no whole XML ({error}); expected Pascal VOC XML."
            ) from error
        size_wh = tuple(
            _side(root.findtext("size/" + side), side, file) for side in ("width", "height")
        )
        filename = _new_image(sizes, (root.findtext("filename") or "").strip(), size_wh, file)
        for index, element in enumerate(root.findall("object")):
            place = f"{file}: object {index + 1}"
            _refuse_ignored(element.findtext("difficult") == "1", "<difficult>", place)
            corners = tuple(
                _number(element.findtext("bndbox/" + side), side, place)
                for side in labels.BOX_COLUMNS
            )
            score = _number(element.findtext("score"), "score", place) if scored else None
            rows.append(
                Row(place, filename, _label(element.findtext("name"), place), corners, score)
            )
    return sizes, rows


def read_text(path, scored, known):
    """A folder with one file of lines an image."""
    by_stem = {pathlib.PurePath(image.filename).stem: image for image in known or ()}
    if len(by_stem) < len(known or ()):
        raise UserError(
            f"{path}: images that differ in their suffix alone cannot be told apart by text files; expected names without it to differ. Rename them, or use another format."
        )
    layout = "class score x1 y1 x2 y2" if scored else "class x1 y1 x2 y2"
    columns = layout.split()[1:]
    sizes, rows = collections.OrderedDict(), []
    for file in _files_in(path, ".txt"):
        image = by_stem.get(file.stem)
        filename = _new_image(
            sizes, image.filename if image else file.stem, image.size_wh if image else None, file
        )
        for number, line in enumerate(text.read_text(file, "lines of boxes").splitlines(), start=1):
            place = f"{file}: line {number}"
            fields = line.rsplit(None, len(columns))
            if not fields:
                continue
            if len(fields) != len(columns) + 1:
                raise UserError(f"{place}: is {line!r}; expected {layout!r}.")
            values = [_number(value, column, place) for value, column in zip(fields[1:], columns)]
            if not scored:
                _refuse_score(fields[0], place)
            rows.append(
                Row(
                    place,
                    filename,
                    fields[0].strip(),
                    tuple(values[-4:]),
                    values[0] if scored else None,
                )
            )
    return sizes, rows


def read_json(path):
    """Whatever a JSON file holds; UserError where it is no whole JSON."""
    try:
        return json.loads(text.read_text(path, "detections in COCO's JSON"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no whole JSON ({error}). Make the file anew.") from error


def _files_in(folder, suffix):
    found = (
        sorted(file for file in folder.glob("*" + suffix) if file.is_file())
        if folder.is_dir()
        else []
    )
    if not found:
        raise UserError(
            f"{folder}: {'holds no such file' if folder.is_dir() else 'is no folder'}; expected a folder with one {suffix} file an image."
        )
    return found


def _number(value, name, place):
    # json gives numbers, csv and XML text; a bool is an int to Python but no score.
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):  # json reads integers of any length
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{place}: {name} is {value!r:.200}; expected a finite number.")
    return number


def _side(value, name, place):
    side = int(_number(value, name, place))
    if side < 1:
        raise UserError(f"{place}: {name} is {value!r}; expected pixels, at least 1.")
    return side


def _label(value, place):
    label = str(value or "").strip()
    if not label:
        raise UserError(f"{place}: the class is empty; expected the name of one.")
    return label


def _refuse_score(label, place):
    """A detection read as ground truth would have its score as the last word of its class."""
    try:
        float((label.split()[1:] or [""])[-1])
    except ValueError:
        return
    raise UserError(
        f"{place}: the class {label.strip()!r} ends in a number, as if this were a detection with its score; expected ground truth, 'class x1 y1 x2 y2'. Name the folder of the ground truth, or write the class as one word."
    )


def _refuse_empty(sizes, path):
    if not sizes:
        raise UserError(
            f"{path}: no image in it; expected every image that was looked at, those without boxes too."
        )


def _refuse_ignored(flag, name, place):
    if flag:
        raise UserError(
            f"{place}: is marked {name}; expected boxes that all count, since both matching rules here count every one. Delete the box, or unset the mark."
        )


def _list_of(content, key, path):
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
        raise UserError(
            f"{path}: {key!r} is {'missing' if value is None else type(value).__name__}; expected a list, as in COCO's JSON."
        )
    return value


def _key(entry, key, place):
    if not isinstance(entry, dict) or entry.get(key) is None:
        raise UserError(f"{place}: {key!r} is missing in {repr(entry):.200}. Every entry needs it.")
    return entry[key]


def _identity(entry, key, place):
    value = _key(entry, key, place)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UserError(f"{place}: {key} is {value!r}; expected a number or a text.")
    return value


def _new_identity(table, entry, place):
    value = _identity(entry, "id", place)
    if value in table:
        raise UserError(
            f"{place}: id {value!r} was there already, of {table[value]}; expected each once. Give every entry its own."
        )
    return value


def _declared(table, key, name, section, place):
    if key not in table:
        raise UserError(
            f"{place}: {name} is {key!r}, which is not in {section!r}. Add it there or correct the entry."
        )
    return table[key]


def _base_name(filename, place):
    name = pathlib.PurePosixPath(str(filename or "").replace("\\", "/")).name
    if not name:
        raise UserError(f"{place}: the image's file name is {filename!r}; expected a name.")
    return name


def _new_image(sizes, filename, size_wh, place):
    name = _base_name(filename, place)
    if name in sizes:
        raise UserError(
            f"{place}: the image {name} was there already; expected each once (folders do not tell names apart)."
        )
    sizes[name] = size_wh
    return name
