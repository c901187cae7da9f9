"""Annotations as people have them: the Grocery Dataset's CSV, Pascal VOC XML, COCO JSON, this workspace's label file.

Each reader takes (path, known, problems, label_map) and gives the same plain form, an OrderedDict of file name to
``Image``, not yet checked against the images (``intake`` does that, once for all formats). known: dict with the
names of the images that are there. problems: a reading.Problems that collects what is wrong. label_map: dict
of class name to id.

Coordinates are taken as they stand: no "- 1" for Pascal VOC, whose tool of today (LabelImg) counts from 0.
"""

import collections
import contextlib
import json
import pathlib
import re
import xml.etree.ElementTree

from shelfdet import UserError
from shelfdet.core.text import check_columns, name_problem, read_csv, read_number, read_text, shown
from shelfdet.data import labels

GROCERY_COLUMNS = ("filename", "xmin", "ymin", "xmax", "ymax", "brand")

Picture = collections.namedtuple("Image", "where stated_wh rows")
Picture.__doc__ = """What the annotations say of one image.

where: its place in the file. stated_wh: its size as the file has it, or None. rows: list of (where, class, box), the
box four finite numbers, xyxy, or None where it marks a crowd instead of one product."""


def _read_grocery(path, known, problems, label_map):
    found = collections.OrderedDict()
    for number, (line, fields) in enumerate(read_csv(path)):
        where = f"line {line}"
        if number == 0 and _is_header(fields):
            problems.add(
                where,
                f"found a header ({shown(','.join(fields))}); expected no header but rows of {','.join(GROCERY_COLUMNS)}. {'It is a label file of this workspace: read it with --format labels.' if _is_label_header(fields) else 'Delete the line.'}",
            )
            problems.refuse()
        if not check_columns(fields, GROCERY_COLUMNS, where, problems):
            continue
        name = fields[0]
        if not _name_is_good(name, where, problems):
            continue
        box = tuple(
            read_number(value, column, where, problems)
            for column, value in zip(GROCERY_COLUMNS[1:5], fields[1:5])
        )
        picture = found.setdefault(name, Picture(where, None, []))
        if None not in box:
            cls = fields[5].strip() if len(label_map) > 1 else next(iter(label_map))
            picture.rows.append((where, cls, box))
    return found


def _read_labels(path, known, problems, label_map):
    return collections.OrderedDict(
        (
            image.filename,
            Picture(
                shown(image.filename),
                image.size_wh,
                [
                    (f"{shown(image.filename)} box {number}", cls, tuple(box))
                    for number, (cls, box) in enumerate(zip(image.classes, image.boxes_xyxy), 1)
                ],
            ),
        )
        for image in labels.read_labels(path)
    )


def _read_voc(path, known, problems, label_map):
    path = pathlib.Path(path)
    if not path.is_dir():
        raise UserError(
            f"{path}: {'is a file' if path.exists() else 'no such folder'}; expected a folder of Pascal VOC XML files. Check the path."
        )
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() == ".xml" and not file.name.startswith(".")
    )
    if not files:
        raise UserError(
            f"{path}: holds no .xml file; expected Pascal VOC XML, one file an image. Check the path."
        )
    stems = collections.defaultdict(list)
    for name in known:
        stems[pathlib.PurePath(name).stem].append(name)
    found = collections.OrderedDict()
    for file in files:
        try:
            root = xml.etree.ElementTree.fromstring(file.read_bytes())
        except (
            OSError,
            SyntaxError,
            ValueError,
            LookupError,
        ) as error:  # ParseError; an encoding that is not known
            problems.add(
                file.name, f"is no whole XML ({error}); expected Pascal VOC XML. Save it anew."
            )
            continue
        if root.tag != "annotation":
            problems.add(
                file.name, f"the outermost element is <{root.tag}>; expected <annotation>."
            )
            continue
        name = _base_name((root.findtext("filename") or "").strip()) or file.stem
        if name not in known and len(stems[file.stem]) == 1:
            name = stems[file.stem][
                0
            ]  # LabelImg keeps the old <filename> when files are renamed together
        if not _name_is_good(name, file.name, problems):
            continue
        if name in found:
            problems.add(
                file.name,
                f"is of the same image as {found[name].where} ({shown(name)}); expected one file an image.",
            )
            continue
        found[name] = Picture(
            file.name, _voc_size(root, file.name, problems), _voc_rows(root, file.name, problems)
        )
    return found


def _voc_size(root, where, problems):
    sides = [root.findtext("size/" + side) for side in ("width", "height")]
    if None in sides:
        return None
    size = [read_number(side, "<size>", where, problems) for side in sides]
    if None in size or size == [0, 0]:  # some tools write 0 for "not known"
        return None
    return tuple(int(side) if side == int(side) else side for side in size)


def _voc_rows(root, file_name, problems):
    rows = []
    for number, element in enumerate(root.findall("object"), 1):
        where = f"{file_name}: object {number}"
        sides = [element.findtext("bndbox/" + side) for side in labels.BOX_COLUMNS]
        if None in sides:
            problems.add(
                where,
                f"no <bndbox> with <{labels.BOX_COLUMNS[sides.index(None)]}>; expected a box.",
            )
            continue
        box = tuple(
            read_number(value, f"<{side}>", where, problems)
            for side, value in zip(labels.BOX_COLUMNS, sides)
        )
        if None not in box:
            rows.append((where, (element.findtext("name") or "").strip(), box))
    return rows


def _read_coco(path, known, problems, label_map):
    try:
        data = json.loads(read_text(path, "COCO JSON"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: is no whole JSON ({error}); expected COCO JSON. Export it anew."
        ) from error
    lists = {
        key: data.get(key) if isinstance(data, dict) else None
        for key in ("images", "annotations", "categories")
    }
    for key, entries in lists.items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problems.add(
                key,
                "no list of objects; expected COCO JSON with images, annotations and categories.",
            )
    problems.refuse()
    categories = _by_id(lists["categories"], "categories", problems)
    by_id = _by_id(lists["images"], "images", problems)
    found, names = collections.OrderedDict(), {}
    for image_id, (where, entry) in by_id.items():
        name = _base_name(entry.get("file_name"))
        if not _name_is_good(name, where, problems):
            continue
        if name in found:
            problems.add(
                where,
                f"file_name {shown(name)} stands in {found[name].where}, too; expected it once.",
            )
            continue
        names[image_id] = name
        size = tuple(entry.get(side) for side in ("width", "height"))
        found[name] = Picture(where, None if None in size else size, [])
    for index, entry in enumerate(lists["annotations"]):
        where = f"annotations[{index}] (id {entry.get('id')})"
        if _hashable(entry.get("image_id")) not in by_id:
            problems.add(
                where, f"image_id {shown(entry.get('image_id'))} stands in no entry of images."
            )
        elif _hashable(entry.get("category_id")) not in categories:
            problems.add(
                where,
                f"category_id {shown(entry.get('category_id'))} stands in no entry of categories.",
            )
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
        where = f"{key}[{index}]"
        entry_id = entry.get("id")
        if not isinstance(entry_id, (int, str)):
            problems.add(where, f"id {shown(entry_id)}; expected a whole number.")
        elif entry_id in result:
            problems.add(
                where, f"id {entry_id} stands in {result[entry_id][0]}, too; expected it once."
            )
        else:
            result[entry_id] = (where, entry)
    return result


def _coco_box(entry, where, problems):
    """xyxy of an entry's ``bbox`` [x, y, width, height]; None after noting a problem."""
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        problems.add(where, f"bbox {shown(box)}; expected [x, y, width, height].")
        return None
    box = [read_number(value, f"bbox[{index}]", where, problems) for index, value in enumerate(box)]
    if None in box:
        return None
    x, y, width, height = box
    return (x, y, x + width, y + height)


READERS = {"grocery": _read_grocery, "labels": _read_labels, "voc": _read_voc, "coco": _read_coco}
TITLES = {
    "grocery": "Grocery Dataset CSV",
    "labels": "label CSV of this workspace",
    "voc": "Pascal VOC XML",
    "coco": "COCO JSON",
}


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
        raise UserError(
            f"{path}: a {path.suffix or 'nameless kind of'} file; expected .csv, .json or a folder of XML. Name what it is with --format."
        )
    _, fields = next(read_csv(path))
    return "labels" if _is_label_header(fields) else "grocery"


def _is_label_header(fields):
    return tuple(field.strip() for field in fields) == labels.LABEL_COLUMNS


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
