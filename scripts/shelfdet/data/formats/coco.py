"""COCO's JSON: "images" (id, file_name, width, height), "categories" (id, name) and "annotations"
(image_id, category_id, bbox = [x, y, width, height]; detections have a score, too).

COCO's own result files are a bare list of such annotations; images and categories are then those of
the ground truth's JSON. See https://cocodataset.org/#format-data and #format-results.
"""

import collections
import contextlib
import json
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, shown
from shelfdet.data.formats import json_kinds, shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    ScoresInGroundTruth,
    add_image,
    parse_json,
    read_flag,
    read_json,
    read_name,
    read_stated_size,
)

Entry = Dict[str, Any]

SECTIONS = ("images", "annotations", "categories")

# How ``write`` lays a file out: each of these on lines of its own, and each annotation on one.
FIRST_LINE_START = b'{"info": '
ANNOTATIONS_LINE = b'"annotations": ['
ANNOTATIONS_END = b"],"
# NaN is no JSON: other readers would refuse the file.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class _Declared(NamedTuple):
    """What annotations refer to by id.

    images: by file name. names: image id -> file name, None of an image with a problem.
    labels: category id -> class name, None of a category with a problem.
    """

    images: ImagesByName
    names: Dict[str, Optional[str]]
    labels: Dict[str, Optional[str]]


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    ground_truth: Optional[PathLike] = None,
) -> ImagesByName:
    """Reads a JSON file; see ``formats.read``.

    Args:
      path: the JSON file.
      problems: collects what is wrong, by entry.
      scored: whether annotations have scores.
      image_names: unused.
      ground_truth: JSON file with the images and categories of a bare list of results.

    Raises:
      UserError: no JSON, another kind of JSON, a section is missing, or a bare list without
        ``ground_truth``.
    """
    content = read_json(path, "COCO's JSON")
    _refuse_other_kinds(path, content)
    if isinstance(content, list):
        declared = _read_ground_truth(path, ground_truth)
        section = "results"
        entries = content
    else:
        # All three sections are checked before any entry refers to another.
        entries = _section(content, "annotations", problems)
        declared = _read_declared(content, problems)
        section = "annotations"
    scores = ScoresInGroundTruth(problems)
    for place, entry in _objects(entries, section, problems):
        if not scored:
            scores.note(entry.get("score"), place)
        _read_annotation(entry, place, declared, scored, problems)
    scores.finish()
    return declared.images


def stream(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    ground_truth: Optional[PathLike] = None,
) -> Iterator[ImageBoxes]:
    """``read`` image by image; see ``formats.stream``.

    A file with another layout than that of ``write`` is read whole.
    """
    rest = _read_rest(path)
    if rest is None:
        yield from read(path, problems, scored, image_names, ground_truth).values()
        return
    declared = _read_declared(rest, problems)
    # All images first, in their order: those without boxes have no annotation.
    yield from (image._replace(rows=[]) for image in declared.images.values())
    scores = ScoresInGroundTruth(problems)
    last = None
    for place, entry in _objects(_annotations(path), "annotations", problems):
        if not scored:
            scores.note(entry.get("score"), place)
        name = _read_annotation(entry, place, declared, scored, problems)
        if last is not None and name is not None and name != last:
            yield _taken(declared.images[last])
        last = name or last
    if last is not None:
        yield _taken(declared.images[last])
    scores.finish()


def _taken(image: ImageBoxes) -> ImageBoxes:
    """The image with its rows, which it no longer holds itself."""
    taken = image._replace(rows=image.rows[:])
    image.rows.clear()
    return taken


def _read_rest(path: PathLike) -> Optional[Entry]:
    """The object of "categories" and "images" after the annotations of a file of ``write``.

    Returns:
      None of another layout, of no complete JSON, and where there is no such file.
    """
    if _read_first_line(path) is None:
        return None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with open(str(path), "rb") as file:
            file.readline()
            file.readline()
            before = b"},"
            for line in file:
                line = line.strip()
                if line == ANNOTATIONS_END:
                    return parse_json("{" + file.read().decode("utf-8"))
                # One object a line, with a comma after each but the last
                if line[:1] != b"{" or line.count(b"{") > 1 or not before.endswith(b"},"):
                    return None
                before = line
    return None


def _read_first_line(path: PathLike) -> Optional[Entry]:
    """The object of "info" before the annotations of a file of ``write``; else as _read_rest."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with open(str(path), "rb") as file:
            line = file.readline().rstrip()
            if line.startswith(FIRST_LINE_START) and file.readline().rstrip() == ANNOTATIONS_LINE:
                return parse_json(line.decode("utf-8").rstrip(",") + "}")
    return None


def _annotations(path: PathLike) -> Iterator[Any]:
    """The annotations of a file as ``write`` lays it out, one by one.

    Raises:
      UserError: one is no JSON.
    """
    with open(str(path), "rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            if line == ANNOTATIONS_END:
                return
            if number <= 2:
                continue
            try:
                yield parse_json(line.decode("utf-8").rstrip(","))
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{path}: line {number}: is no annotation ({error}); expected one a line, as "
                    "step 08 writes them. Run it again."
                ) from error


def is_of(content: Any) -> bool:
    """Whether JSON is COCO's: an object with two of the three sections, or a list of results."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and "image_id" in content[0]
    return isinstance(content, dict) and sum(key in content for key in SECTIONS) >= 2


def read_info(path: PathLike) -> Dict[str, Any]:
    """The "info" of a file; empty where there is none."""
    content = _read_first_line(path)
    if content is None:
        content = read_json(path, "COCO's JSON")
    info = content.get("info") if isinstance(content, dict) else None
    return info if isinstance(info, dict) else {}


def write(
    images: Iterable[ImageBoxes],
    path: PathLike,
    info: Optional[Dict[str, Any]] = None,
    label_map: Optional[Mapping[str, int]] = None,
) -> None:
    """Writes images with sizes and their boxes, one entry a line.

    With a label map, boxes are written as the images come and not kept, so that memory hardly
    depends on the number of images.

    Args:
      images: what to write. Rows may have scores; rows that are no boxes are left out.
      path: target file, written completely or not at all.
      info: kept under "info".
      label_map: class name to id, which become the categories, also those without a box. Classes
        that it does not have get the ids after its last, in the order of their first boxes.
        Without a label map, classes have ids by name.
    """
    if label_map is None:
        images = list(images)
        labels = sorted({row.label for image in images for row in image.rows if not row.left_out})
        label_map = {label: number for number, label in enumerate(labels, start=1)}
    category_ids = dict(label_map)
    image_lines = []
    with files.replacing(path) as partial, open(str(partial), "wb") as file:
        file.write(b'{"info": ' + _line(info or {}, path) + b',\n"annotations": [')
        written = 0
        for image_id, image in enumerate(images, start=1):
            image_lines.append(_line(_image_entry(image, image_id), path))
            for row in image.rows:
                if row.left_out:
                    continue
                following = max(category_ids.values(), default=0) + 1
                category_id = category_ids.setdefault(row.label, following)
                written += 1
                entry = _annotation(row, written, image_id, category_id)
                file.write((b",\n" if written > 1 else b"\n") + _line(entry, path))
        category_lines = [
            _line({"id": category_id, "name": label}, path)
            for label, category_id in sorted(category_ids.items(), key=lambda item: item[1])
        ]
        for key, lines in (("categories", category_lines), ("images", image_lines)):
            file.write(b'\n],\n"' + key.encode() + b'": [\n' + b",\n".join(lines))
        file.write(b"\n]}\n")


def _line(entry: Entry, path: PathLike) -> bytes:
    return files.encoded(_ENCODER.encode(entry), path)


def _image_entry(image: ImageBoxes, image_id: int) -> Entry:
    width, height = image.size_wh
    return {
        "id": image_id,
        "file_name": image.filename,
        "width": int(width),
        "height": int(height),
    }


def _annotation(row: BoxRow, annotation_id: int, image_id: int, category_id: int) -> Entry:
    xmin, ymin, xmax, ymax = (float(side) for side in row.box_xyxy)
    entry = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
    }
    if row.score is not None:
        entry["score"] = float(row.score)
    else:
        # pycocotools and Datumaro, which CVAT imports by, need these of ground truth.
        entry.update(area=(xmax - xmin) * (ymax - ymin), iscrowd=int(row.crowd), segmentation=[])
    return entry


def _refuse_other_kinds(path: PathLike, content: Any) -> None:
    """Refuses JSON of another tool, and an object with none of COCO's sections, by one message."""
    kind = json_kinds.recognise(content)
    if kind is not None:
        raise UserError(f"{path}: is {kind.title}; expected COCO's. {kind.advice}")
    if isinstance(content, dict) and not set(content) & set(SECTIONS):
        raise UserError(
            f"{path}: is {json_kinds.described(content)}; expected COCO's JSON with images, "
            "annotations and categories. Export the annotations as COCO."
        )


def _section(content: Any, key: str, problems: Problems) -> List[Any]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        problems.add(
            key,
            f"is {_found(entries)}; expected a list, as in COCO's JSON with images, annotations "
            "and categories. Export the file again.",
        )
        return []
    return entries


def _objects(
    entries: Iterable[Any], section: str, problems: Problems
) -> Iterator[Tuple[str, Entry]]:
    """(place, entry) of the entries that are objects; notes the others as problems."""
    for index, entry in enumerate(entries):
        place = f"{section}[{index}]"
        if not isinstance(entry, dict):
            problems.add(place, f"is {shown(entry)}; expected an object of COCO's JSON.")
            continue
        if section == "annotations" and "id" in entry:
            place += f" (id {entry['id']})"
        yield place, entry


def _read_ground_truth(path: PathLike, ground_truth: Optional[PathLike]) -> _Declared:
    """What the bare list of results at ``path`` refers to."""
    if ground_truth is None:
        raise UserError(
            f'{path}: is a bare list of COCO results; expected an object with "images", '
            '"categories" and "annotations" (or, for detections, ground truth in COCO\'s JSON '
            "that has the first two)."
        )
    problems = Problems(ground_truth)
    declared = _read_declared(read_json(ground_truth, "COCO's JSON"), problems)
    problems.refuse()
    return declared


def _read_declared(content: Any, problems: Problems) -> _Declared:
    image_entries = _section(content, "images", problems)
    category_entries = _section(content, "categories", problems)
    problems.refuse()
    declared = _Declared(collections.OrderedDict(), {}, {})
    for place, entry, image_id in _identified(image_entries, "images", problems):
        declared.names[image_id] = None
        name = read_name(entry.get("file_name"), place, problems)
        if name is None:
            continue  # its id is known nevertheless, so that its annotations are no problems
        size_wh = read_stated_size(entry.get("width"), entry.get("height"), place, problems)
        if add_image(declared.images, name, place, size_wh, problems):
            declared.names[image_id] = name
    for place, entry, category_id in _identified(category_entries, "categories", problems):
        declared.labels[category_id] = _read_label(entry, place, problems)
    return declared


def _identified(
    entries: List[Any], section: str, problems: Problems
) -> Iterator[Tuple[str, Entry, str]]:
    """(place, entry, id) of the entries that have an id of their own."""
    places: Dict[str, str] = {}
    for place, entry in _objects(entries, section, problems):
        # Text is accepted, since some tools write names of files as ids.
        entry_id = _id(entry.get("id"))
        if entry_id is None:
            problems.add(
                place,
                f"id is {_found(entry.get('id'))}; expected a whole number. Give the entry one.",
            )
        elif entry_id in places:
            problems.add(
                place,
                f"id {entry_id} is also in {places[entry_id]}; expected each once. "
                "Give every entry its own.",
            )
        else:
            places[entry_id] = place
            yield place, entry, entry_id


def _found(value: Any) -> str:
    return "missing" if value is None else shown(value)


def _id(value: Any) -> Optional[str]:
    """An id as text, since tools write 5, 5.0 or "5" for one id; None where it can be none."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return value.strip() or None
    number = parse_number(value)
    return None if number is None or number != int(number) else str(int(value))


def _read_label(entry: Entry, place: str, problems: Problems) -> Optional[str]:
    label = entry.get("name")
    if isinstance(label, str) and label.strip():
        return label.strip()
    problems.add(
        place,
        f"name is {_found(label)}; expected the name of a class. Give the category one.",
    )
    return None


def _read_annotation(
    entry: Entry, place: str, declared: _Declared, scored: bool, problems: Problems
) -> Optional[str]:
    """Adds the box of one annotation to its image.

    Returns:
      the file name of the image; None after noting a problem.
    """
    references = (
        ("image_id", declared.names, "images"),
        ("category_id", declared.labels, "categories"),
    )
    known = []
    for key, ids, section in references:
        value = _id(entry.get(key))
        if value in ids:
            known.append(ids[value])
        else:
            problems.add(
                place,
                f"{key} is {_found(entry.get(key))}, which no entry of {section} has; "
                f"expected the id of one. Add it to {section}, or correct the annotation.",
            )
    bbox_xywh, left_out = _read_bbox(entry, place, problems)
    is_around_polygons = not entry.get("bbox") and not left_out
    score = read_number(entry.get("score"), "score", place, problems) if scored else None
    crowd = read_flag(entry.get("iscrowd"), "iscrowd", place, problems)
    if len(known) < 2 or None in known or None in (bbox_xywh, crowd) or (scored and score is None):
        return None
    name, label = known
    x, y, width, height = bbox_xywh
    row = BoxRow(
        place,
        label,
        (x, y, x + width, y + height),
        score,
        crowd=crowd,
        bbox_xywh=bbox_xywh,
        left_out=left_out,
        stated=f"segmentation {shown(entry['segmentation'])}" if is_around_polygons else "",
    )
    declared.images[name].rows.append(row)
    return name


def _read_bbox(
    entry: Entry, place: str, problems: Problems
) -> Tuple[Optional[Tuple[float, float, float, float]], str]:
    """The bbox [x, y, width, height] of an annotation, or that of its polygons.

    Returns:
      (bbox, left_out): bbox is None after noting a problem; left_out is as in ``BoxRow``.
    """
    bbox = entry.get("bbox")
    segmentation = entry.get("segmentation")
    if not bbox and isinstance(segmentation, dict):
        return (0, 0, 0, 0), "masks without a bbox (RLE)"
    if not bbox and segmentation:
        return _around_polygons(segmentation, place, problems), ""
    if not isinstance(bbox, list) or len(bbox) != 4:
        problems.add(
            place,
            f"bbox is {_found(bbox)}; expected [x, y, width, height]. Correct the annotation.",
        )
        return None, ""
    values = [
        read_number(value, f"bbox[{index}]", place, problems) for index, value in enumerate(bbox)
    ]
    return None if None in values else tuple(values), ""


def _around_polygons(
    segmentation: Any, place: str, problems: Problems
) -> Optional[Tuple[float, float, float, float]]:
    """The bbox around polygons [x1, y1, x2, y2, ...]; None after noting a problem."""
    polygons = segmentation if isinstance(segmentation, list) else [None]
    points = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            problems.add(
                place,
                f"there is no bbox, and segmentation has {shown(polygon)}; expected polygons of "
                "at least 3 points, x and y of each. Correct the annotation.",
            )
            return None
        values = [read_number(value, "segmentation", place, problems) for value in polygon]
        if None in values:
            return None
        points += zip(values[::2], values[1::2])
    xmin, ymin, xmax, ymax = shapes.around(points)
    return xmin, ymin, xmax - xmin, ymax - ymin
