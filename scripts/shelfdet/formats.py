"""Annotations as people have them: the Grocery Dataset's CSV, Pascal VOC XML, COCO JSON, this workspace's label file.

Each reader takes (path, known, problems, label_map) and gives the same plain form, an OrderedDict of file name to
``Picture``, not yet checked against the pictures (``intake`` does that, once for all formats). known: dict with the
names of the pictures that are there. problems: a reading.Problems that collects what is wrong. label_map: dict
of class name to id.

Coordinates are taken as they stand: no "- 1" for Pascal VOC, whose tool of today (LabelImg) counts from 0.
"""

import collections
import contextlib
import json
import pathlib
import re
import xml.etree.ElementTree

from shelfdet import UserError, annotations
from shelfdet.reading import check_columns, name_problem, read_csv, read_number, read_text, shown

GROCERY_COLUMNS = ("filename", "xmin", "ymin", "xmax", "ymax", "brand")

Picture = collections.namedtuple("Picture", "where stated_wh rows")
Picture.__doc__ = """What the annotations say of one picture.

where: its place in the file. stated_wh: its size as the file has it, or None. rows: list of (where, class, box), the
box four finite numbers, xyxy, or None where it marks a crowd instead of one product."""


def _read_grocery(path, known, problems, label_map):
    found = collections.OrderedDict()
    for number, (line, fields) in enumerate(read_csv(path)):
        where = "line {}".format(line)
        if number == 0 and _is_header(fields):
            problems.add(where, "found a header ({}); expected no header but rows of {}. {}".format(
                shown(",".join(fields)), ",".join(GROCERY_COLUMNS),
                "It is a label file of this workspace: read it with --format labels." if _is_label_header(fields)
                else "Delete the line."))
            problems.refuse()
        if not check_columns(fields, GROCERY_COLUMNS, where, problems):
            continue
        name = fields[0]
        if not _name_is_good(name, where, problems):
            continue
        box = tuple(read_number(value, column, where, problems)
                    for column, value in zip(GROCERY_COLUMNS[1:5], fields[1:5]))
        picture = found.setdefault(name, Picture(where, None, []))
        if None not in box:
            cls = fields[5].strip() if len(label_map) > 1 else next(iter(label_map))
            picture.rows.append((where, cls, box))
    return found


def _read_labels(path, known, problems, label_map):
    return collections.OrderedDict(
        (image.filename, Picture(shown(image.filename), image.size_wh,
                                 [("{} box {}".format(shown(image.filename), number), cls, tuple(box))
                                  for number, (cls, box) in enumerate(zip(image.classes, image.boxes_xyxy), 1)]))
        for image in annotations.read_labels(path))


def _read_voc(path, known, problems, label_map):
    path = pathlib.Path(path)
    if not path.is_dir():
        raise UserError("{}: {}; expected a folder of Pascal VOC XML files. Check the path.".format(
            path, "is a file" if path.exists() else "no such folder"))
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".xml" and not file.name.startswith("."))
    if not files:
        raise UserError("{}: holds no .xml file; expected Pascal VOC XML, one file a picture. Check the path.".format(
            path))
    stems = collections.defaultdict(list)
    for name in known:
        stems[pathlib.PurePath(name).stem].append(name)
    found = collections.OrderedDict()
    for file in files:
        try:
            root = xml.etree.ElementTree.fromstring(file.read_bytes())
        except (OSError, SyntaxError, ValueError, LookupError) as error:     # ParseError; an encoding that is not known
            problems.add(file.name, "is no whole XML ({}); expected Pascal VOC XML. Save it anew.".format(error))
            continue
        if root.tag != "annotation":
            problems.add(file.name, "the outermost element is <{}>; expected <annotation>.".format(root.tag))
            continue
        name = _base_name((root.findtext("filename") or "").strip()) or file.stem
        if name not in known and len(stems[file.stem]) == 1:
            name = stems[file.stem][0]               # LabelImg keeps the old <filename> when files are renamed together
        if not _name_is_good(name, file.name, problems):
            continue
        if name in found:
            problems.add(file.name, "is of the same picture as {} ({}); expected one file a picture.".format(
                found[name].where, shown(name)))
            continue
        found[name] = Picture(file.name, _voc_size(root, file.name, problems), _voc_rows(root, file.name, problems))
    return found


def _voc_size(root, where, problems):
    sides = [root.findtext("size/" + side) for side in ("width", "height")]
    if None in sides:
        return None
    size = [read_number(side, "<size>", where, problems) for side in sides]
    if None in size or size == [0, 0]:               # some tools write 0 for "not known"
        return None
    return tuple(int(side) if side == int(side) else side for side in size)


def _voc_rows(root, file_name, problems):
    rows = []
    for number, element in enumerate(root.findall("object"), 1):
        where = "{}: object {}".format(file_name, number)
        sides = [element.findtext("bndbox/" + side) for side in annotations.BOX_COLUMNS]
        if None in sides:
            problems.add(where, "no <bndbox> with <{}>; expected a box.".format(
                annotations.BOX_COLUMNS[sides.index(None)]))
            continue
        box = tuple(read_number(value, "<{}>".format(side), where, problems)
                    for side, value in zip(annotations.BOX_COLUMNS, sides))
        if None not in box:
            rows.append((where, (element.findtext("name") or "").strip(), box))
    return rows


def _read_coco(path, known, problems, label_map):
    try:
        data = json.loads(read_text(path, "COCO JSON"))
    except (ValueError, RecursionError) as error:
        raise UserError("{}: is no whole JSON ({}); expected COCO JSON. Export it anew.".format(path, error)) from error
    lists = {key: data.get(key) if isinstance(data, dict) else None for key in ("images", "annotations", "categories")}
    for key, entries in lists.items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problems.add(key, "no list of objects; expected COCO JSON with images, annotations and categories.")
    problems.refuse()
    categories = _by_id(lists["categories"], "categories", problems)
    by_id = _by_id(lists["images"], "images", problems)
    found, names = collections.OrderedDict(), {}
    for image_id, (where, entry) in by_id.items():
        name = _base_name(entry.get("file_name"))
        if not _name_is_good(name, where, problems):
            continue
        if name in found:
            problems.add(where, "file_name {} stands in {}, too; expected it once.".format(
                shown(name), found[name].where))
            continue
        names[image_id] = name
        size = tuple(entry.get(side) for side in ("width", "height"))
        found[name] = Picture(where, None if None in size else size, [])
    for index, entry in enumerate(lists["annotations"]):
        where = "annotations[{}] (id {})".format(index, entry.get("id"))
        if _hashable(entry.get("image_id")) not in by_id:
            problems.add(where, "image_id {} stands in no entry of images.".format(shown(entry.get("image_id"))))
        elif _hashable(entry.get("category_id")) not in categories:
            problems.add(where, "category_id {} stands in no entry of categories.".format(
                shown(entry.get("category_id"))))
        else:
            category = categories[entry["category_id"]][1].get("name")
            box = _coco_box(entry, where, problems)
            if box is not None and entry["image_id"] in names:
                rows = found[names[entry["image_id"]]].rows
                rows.append((where, str(category), None if entry.get("iscrowd") else box))
    return found


def _by_id(entries, key, problems):
    """{id: (where, entry)} of a COCO list."""
    result = collections.OrderedDict()
    for index, entry in enumerate(entries):
        where = "{}[{}]".format(key, index)
        entry_id = entry.get("id")
        if not isinstance(entry_id, (int, str)):
            problems.add(where, "id {}; expected a whole number.".format(shown(entry_id)))
        elif entry_id in result:
            problems.add(where, "id {} stands in {}, too; expected it once.".format(entry_id, result[entry_id][0]))
        else:
            result[entry_id] = (where, entry)
    return result


def _coco_box(entry, where, problems):
    """xyxy of an entry's ``bbox`` [x, y, width, height]; None after noting a problem."""
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        problems.add(where, "bbox {}; expected [x, y, width, height].".format(shown(box)))
        return None
    box = [read_number(value, "bbox[{}]".format(index), where, problems) for index, value in enumerate(box)]
    if None in box:
        return None
    x, y, width, height = box
    return (x, y, x + width, y + height)


READERS = {"grocery": _read_grocery, "labels": _read_labels, "voc": _read_voc, "coco": _read_coco}
TITLES = {"grocery": "Grocery Dataset CSV", "labels": "label CSV of this workspace", "voc": "Pascal VOC XML",
          "coco": "COCO JSON"}


def recognised(path):
    """Which of READERS reads ``path``: a folder is "voc", a .json "coco", a .csv "labels" by its header or "grocery".

    Raises:
      UserError: another kind of file; a CSV that cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return "voc"
    if path.suffix.lower() == ".json":
        return "coco"
    if path.suffix.lower() != ".csv":
        raise UserError("{}: a {} file; expected .csv, .json or a folder of XML. Name what it is with --format.".format(
            path, path.suffix or "nameless kind of"))
    _, fields = next(read_csv(path))
    return "labels" if _is_label_header(fields) else "grocery"


def _is_label_header(fields):
    return tuple(field.strip() for field in fields) == annotations.LABEL_COLUMNS


def _is_header(fields):
    """True where no field but the first is a number."""
    for field in fields[1:]:
        with contextlib.suppress(ValueError):
            float(field)
            return False
    return len(fields) > 1


def _name_is_good(name, where, problems):
    problem = name_problem(name)
    if problem:
        problems.add(where, problem + ".")
    return not problem


def _base_name(text):
    return re.split(r"[\\/]", text)[-1] if isinstance(text, str) else ""


def _hashable(value):
    return value if isinstance(value, (int, str)) else None
