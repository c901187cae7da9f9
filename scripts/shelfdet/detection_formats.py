"""The formats that boxes of any detector come in: each reader gives the pictures and one row a box, numbers checked.

A reader takes (path, scored, known): path, a file or a folder; scored, whether boxes have scores (detections) or not
(ground truth); known, the pictures where they are known, or None. It returns (sizes, rows): an OrderedDict of file name
-> (width, height), None where the format does not tell; Rows in the order of the file. ``detections`` describes the
formats and checks the boxes.
"""

import collections
import json
import math
import pathlib
import xml.etree.ElementTree

from shelfdet import UserError, annotations, reading

Row = collections.namedtuple("Row", "place filename label corners score")
Row.__doc__ = """One box. place: file and entry, for messages. filename: its picture's. label: its class. corners: xyxy,
four finite floats. score: finite, or None."""


def read_coco(path, scored, known, ground_truth=None):
    """COCO's JSON; ``ground_truth`` names the JSON with the images and categories of a bare list of results."""
    content = read_json(path)
    declared, declared_path = content, path
    if isinstance(content, list):
        if ground_truth is None:
            raise UserError("{}: is a bare list of COCO results; expected \"images\" and \"categories\" too, or a "
                            "ground truth in COCO's JSON that has them.".format(path))
        declared, declared_path = read_json(ground_truth), ground_truth
        entries, prefix = content, "entry "
    else:
        entries, prefix = _list_of(content, "annotations", path), "annotations"
    names, sizes = {}, collections.OrderedDict()
    for index, entry in enumerate(_list_of(declared, "images", declared_path)):
        place = "{}: images[{}]".format(declared_path, index)
        size_wh = tuple(_side(_key(entry, side, place), side, place) for side in ("width", "height"))
        filename = _new_image(sizes, _key(entry, "file_name", place), size_wh, place)
        names[_new_identity(names, entry, place)] = filename
    _refuse_empty(sizes, declared_path)
    labels = {}
    for index, entry in enumerate(_list_of(declared, "categories", declared_path)):
        place = "{}: categories[{}]".format(declared_path, index)
        labels[_new_identity(labels, entry, place)] = _label(_key(entry, "name", place), place)

    def rows():
        for index, entry in enumerate(entries):
            place = "{}: {}[{}]".format(path, prefix, index)
            _refuse_ignored(isinstance(entry, dict) and entry.get("iscrowd"), "iscrowd", place)
            corners = _key(entry, "bbox", place)
            if not isinstance(corners, list) or len(corners) != 4:
                raise UserError("{}: bbox is {!r}; expected [x, y, width, height].".format(place, corners))
            x, y, width, height = (_number(value, "bbox", place) for value in corners)
            filename = _declared(names, _identity(entry, "image_id", place), "image_id", "images", place)
            label = _declared(labels, _identity(entry, "category_id", place), "category_id", "categories", place)
            score = _number(_key(entry, "score", place), "score", place) if scored else None
            yield Row(place, filename, label, (x, y, x + width, y + height), score)
    return sizes, rows()


def read_csv(path, scored, known):
    """The workspace's label columns, and a score."""
    columns = annotations.LABEL_COLUMNS + (("score",) if scored else ())
    lines = reading.read_csv(path)
    number, header = next(lines)
    if tuple(header) != columns:
        raise UserError("{}: line {}: found {}; expected the header {}. Write it above the first row.".format(
            path, number, reading.shown(",".join(header)), ",".join(columns)))
    sizes, written, rows = collections.OrderedDict(), {}, []
    for number, fields in lines:
        place = "{}: line {}".format(path, number)
        if len(fields) != len(columns):
            raise UserError("{}: has {} columns; expected {}: {}.".format(
                place, len(fields), len(columns), ",".join(columns)))
        size_wh = tuple(_side(value, side, place) for value, side in zip(fields[1:3], columns[1:3]))
        filename = _base_name(fields[0], place)
        if written.setdefault(filename, fields[0].strip()) != fields[0].strip():
            raise UserError("{}: the picture {!r} was there as {!r}; expected each under one name (folders do not tell names apart).".format(
                place, fields[0].strip(), written[filename]))
        if sizes.setdefault(filename, size_wh) != size_wh:
            raise UserError("{}: {} is {} x {} pixels here; expected {} x {} as in its first row.".format(
                place, filename, *(size_wh + sizes[filename])))
        if any(field.strip() for field in fields[3:]):
            values = [_number(value, column, place) for value, column in zip(fields[4:], columns[4:])]
            rows.append(Row(place, filename, _label(fields[3], place), tuple(values[:4]),
                            values[4] if scored else None))
    _refuse_empty(sizes, path)
    return sizes, rows


def read_voc(path, scored, known):
    """A folder of Pascal VOC XML."""
    sizes, rows = collections.OrderedDict(), []
    for file in _files_in(path, ".xml"):
        try:
            root = xml.etree.ElementTree.fromstring(file.read_bytes())
        except (OSError, SyntaxError, ValueError, LookupError) as error:      # also an encoding that is not known
            raise UserError("{}: is no whole XML ({}); expected Pascal VOC XML.".format(file, error)) from error
        size_wh = tuple(_side(root.findtext("size/" + side), side, file) for side in ("width", "height"))
        filename = _new_image(sizes, (root.findtext("filename") or "").strip(), size_wh, file)
        for index, element in enumerate(root.findall("object")):
            place = "{}: object {}".format(file, index + 1)
            _refuse_ignored(element.findtext("difficult") == "1", "<difficult>", place)
            corners = tuple(_number(element.findtext("bndbox/" + side), side, place)
                            for side in annotations.BOX_COLUMNS)
            score = _number(element.findtext("score"), "score", place) if scored else None
            rows.append(Row(place, filename, _label(element.findtext("name"), place), corners, score))
    return sizes, rows


def read_text(path, scored, known):
    """A folder with one file of lines a picture."""
    by_stem = {pathlib.PurePath(image.filename).stem: image for image in known or ()}
    if len(by_stem) < len(known or ()):
        raise UserError("{}: pictures that differ in their suffix alone cannot be told apart by text files; expected "
                        "names without it to differ. Rename them, or use another format.".format(path))
    layout = "class score x1 y1 x2 y2" if scored else "class x1 y1 x2 y2"
    columns = layout.split()[1:]
    sizes, rows = collections.OrderedDict(), []
    for file in _files_in(path, ".txt"):
        image = by_stem.get(file.stem)
        filename = _new_image(sizes, image.filename if image else file.stem, image.size_wh if image else None, file)
        for number, line in enumerate(reading.read_text(file, "lines of boxes").splitlines(), start=1):
            place = "{}: line {}".format(file, number)
            fields = line.rsplit(None, len(columns))
            if not fields:
                continue
            if len(fields) != len(columns) + 1:
                raise UserError("{}: is {!r}; expected {!r}.".format(place, line, layout))
            values = [_number(value, column, place) for value, column in zip(fields[1:], columns)]
            if not scored:
                _refuse_score(fields[0], place)
            rows.append(Row(place, filename, fields[0].strip(), tuple(values[-4:]), values[0] if scored else None))
    return sizes, rows


def read_json(path):
    """Whatever a JSON file holds; UserError where it is no whole JSON."""
    try:
        return json.loads(reading.read_text(path, "detections in COCO's JSON"))
    except (ValueError, RecursionError) as error:
        raise UserError("{}: is no whole JSON ({}). Make the file anew.".format(path, error)) from error


def _files_in(folder, suffix):
    found = sorted(file for file in folder.glob("*" + suffix) if file.is_file()) if folder.is_dir() else []
    if not found:
        raise UserError("{}: {}; expected a folder with one {} file a picture.".format(
            folder, "holds no such file" if folder.is_dir() else "is no folder", suffix))
    return found


def _number(value, name, place):
    # json gives numbers, csv and XML text; a bool is an int to Python but no score.
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):         # json reads integers of any length
        number = math.nan
    if not math.isfinite(number):
        raise UserError("{}: {} is {!r:.200}; expected a finite number.".format(place, name, value))
    return number


def _side(value, name, place):
    side = int(_number(value, name, place))
    if side < 1:
        raise UserError("{}: {} is {!r}; expected pixels, at least 1.".format(place, name, value))
    return side


def _label(value, place):
    label = str(value or "").strip()
    if not label:
        raise UserError("{}: the class is empty; expected the name of one.".format(place))
    return label


def _refuse_score(label, place):
    """A detection read as ground truth would have its score as the last word of its class."""
    try:
        float((label.split()[1:] or [""])[-1])
    except ValueError:
        return
    raise UserError("{}: the class {!r} ends in a number, as if this were a detection with its score; expected ground "
                    "truth, 'class x1 y1 x2 y2'. Name the folder of the ground truth, or write the class as one "
                    "word.".format(place, label.strip()))


def _refuse_empty(sizes, path):
    if not sizes:
        raise UserError("{}: no picture in it; expected every picture that was looked at, those without boxes "
                        "too.".format(path))


def _refuse_ignored(flag, name, place):
    if flag:
        raise UserError("{}: is marked {}; expected boxes that all count, since both matching rules here count every "
                        "one. Delete the box, or unset the mark.".format(place, name))


def _list_of(content, key, path):
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
        raise UserError("{}: {!r} is {}; expected a list, as in COCO's JSON.".format(
            path, key, "missing" if value is None else type(value).__name__))
    return value


def _key(entry, key, place):
    if not isinstance(entry, dict) or entry.get(key) is None:
        raise UserError("{}: {!r} is missing in {:.200}. Every entry needs it.".format(place, key, repr(entry)))
    return entry[key]


def _identity(entry, key, place):
    value = _key(entry, key, place)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UserError("{}: {} is {!r}; expected a number or a text.".format(place, key, value))
    return value


def _new_identity(table, entry, place):
    value = _identity(entry, "id", place)
    if value in table:
        raise UserError("{}: id {!r} was there already, of {}; expected each once. Give every entry its own.".format(
            place, value, table[value]))
    return value


def _declared(table, key, name, section, place):
    if key not in table:
        raise UserError("{}: {} is {!r}, which is not in {!r}. Add it there or correct the entry.".format(
            place, name, key, section))
    return table[key]


def _base_name(filename, place):
    name = pathlib.PurePosixPath(str(filename or "").replace("\\", "/")).name
    if not name:
        raise UserError("{}: the picture's file name is {!r}; expected a name.".format(place, filename))
    return name


def _new_image(sizes, filename, size_wh, place):
    name = _base_name(filename, place)
    if name in sizes:
        raise UserError("{}: the picture {} was there already; expected each once (folders do not tell names "
                        "apart).".format(place, name))
    sizes[name] = size_wh
    return name
