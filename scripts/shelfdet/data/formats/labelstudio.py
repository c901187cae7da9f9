"""Label Studio's JSON: a list of tasks, one an image, with annotations and predictions.

Boxes are in percent of the image: x and y of the corner, width, height, and a rotation about that
corner. Polygons, ellipses and rotated boxes are read as the upright box around them; masks, lines
and points are left out and counted. Read are the full export (JSON) and the short one (JSON-MIN).
What a person has submitted is ground truth, also where Label Studio keeps the score of the
prediction that the person started from. See https://labelstud.io/guide/task_format and https://labelstud.io/guide/predictions.
"""

import collections
import json
import pathlib
import re
import urllib.parse
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, listed, read_number, shown
from shelfdet.data.formats import shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    ScoresInGroundTruth,
    add_image,
    base_name,
    read_json,
    read_name,
    read_stated_size,
)

Entry = Dict[str, Any]

# Names in the labelling interface that ``label_config`` describes.
FROM_NAME = "label"
TO_NAME = "image"
# What Label Studio serves files under, from the folder LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
LOCAL_FILES = "/data/local-files/?d="

# Results that are no products' boxes, by what they are called in the plural.
LEFT_OUT = {
    "brushlabels": "masks",
    "brush": "masks",
    "bitmasklabels": "masks",
    "keypointlabels": "key points",
    "keypoint": "key points",
    "vectorlabels": "lines",
    "vector": "lines",
}
BOXES = ("rectanglelabels", "rectangle")
POLYGONS = ("polygonlabels", "polygon")
ELLIPSES = ("ellipselabels", "ellipse")
LABELS_ONLY = "labels"  # the class of a rectangle that was drawn with another tag
# What is said of another result, in whose place it is, too.
WITHOUT_BOX = (LABELS_ONLY, "choices", "textarea", "rating", "number", "taxonomy", "datetime")
FEWEST_POINTS = 3  # of a polygon
# Pixels are rounded to this: percent of an image have as many digits as a double.
DIGITS = 6
# Keys of a result's value that state where it is.
PLACE_KEYS = ("x", "y", "width", "height", "radiusX", "radiusY", "rotation", "points")

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # that Label Studio puts before an uploaded name
_LOCAL = re.compile(r"(?:^|&)d=([^&]*)")  # the path in the query of a local file
_NOT_IN_UPLOADS = re.compile(r"[^-\w.]")  # what it removes from such a name

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class _Task(NamedTuple):
    """One image: where it is in the file, its address, and the results of one annotation.

    results: None where nobody has annotated it.
    """

    place: str
    address: str
    results: Optional[List[Any]]


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the JSON; see ``formats.read``.

    ``scored`` reads the predictions of a model, otherwise the annotations of persons. Of an image
    with annotations of several, the one that is marked as ground truth is taken. A task that was
    skipped, or not annotated, is an image without boxes.

    Raises:
      UserError: no JSON, or another kind of it.
    """
    content = read_json(path, "Label Studio's JSON")
    if not is_of(content):
        raise UserError(
            f"{path}: is no list of tasks with data and annotations; expected Label Studio's JSON. "
            "Export the project as JSON."
        )
    known = _KnownNames(image_names)
    images: ImagesByName = collections.OrderedDict()
    scores = ScoresInGroundTruth(problems)
    tasks = list(_tasks(content, scored, problems))
    if not scored and all(task.results is None for task in tasks):
        _note_predictions(content, scores)
    for task in tasks:
        name = read_name(known.meant(task.address), task.place, problems)
        if name is not None and add_image(images, name, task.place, None, problems):
            _read_results(task, name, images, scored, problems)
    scores.finish()
    return images


def is_of(content: Any) -> bool:
    """Whether JSON is Label Studio's: a full export, or the short one."""
    task = content[0] if isinstance(content, list) and content else None
    if not isinstance(task, dict):
        return False
    is_full = isinstance(task.get("data"), dict) and bool(
        {"annotations", "completions", "predictions"} & set(task)
    )
    return is_full or ("annotation_id" in task and "annotator" in task)


def write(
    images: Iterable[ImageBoxes],
    path: PathLike,
    predictions: bool = False,
    address: str = LOCAL_FILES,
) -> None:
    """Writes tasks as Label Studio imports them, one a line.

    Args:
      images: what to write, with sizes. Rows that are no boxes are left out.
      path: target file, written completely or not at all.
      predictions: True writes predictions of a model, with the scores of the rows: an annotator
        starts from them. False writes finished annotations, without scores.
      address: what is put before the quoted name of an image.
    """
    key = "predictions" if predictions else "annotations"
    tasks = []
    for image in images:
        rows = [row for row in image.rows if not row.left_out]
        results = [
            _result(row, f"{image.filename}-{number}", image.size_wh, predictions)
            for number, row in enumerate(rows, start=1)
        ]
        entry: Entry = {"result": results}
        if predictions:
            entry["model_version"] = "shelfdet"
        data = {TO_NAME: address + urllib.parse.quote(image.filename)}
        tasks.append({"id": len(tasks) + 1, "data": data, key: [entry]})
    lines = ",\n".join(_ENCODER.encode(task) for task in tasks)
    files.write_text(path, f"[\n{lines}\n]\n")


def label_config(labels: Iterable[str]) -> str:
    """The labelling interface of a project that shows what ``write`` writes, with these classes."""
    values = "".join(
        f'    <Label value="{label}"/>\n' for label in map(_escaped, dict.fromkeys(labels))
    )
    return (
        f'<View>\n  <Image name="{TO_NAME}" value="${TO_NAME}"/>\n'
        f'  <RectangleLabels name="{FROM_NAME}" toName="{TO_NAME}">\n{values}'
        "  </RectangleLabels>\n</View>\n"
    )


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


class _KnownNames:
    """Finds the image of an address: Label Studio changes the names of uploaded files."""

    def __init__(self, image_names: Iterable[str]) -> None:
        self._names = set(image_names)
        self._by_upload: Dict[str, List[str]] = collections.defaultdict(list)
        for name in sorted(self._names):
            self._by_upload[_upload_key(name)].append(name)

    def meant(self, address: str) -> str:
        """The name of the image that exists, or the most likely one where none is known."""
        name = _name_in(address)
        original = _UPLOADED.sub("", name)
        if name in self._names or original in self._names:
            return name if name in self._names else original
        changed = self._by_upload.get(original, ())
        if original != name and len(changed) == 1:
            return changed[0]
        return original


def _upload_key(name: str) -> str:
    return _NOT_IN_UPLOADS.sub("", name.strip().replace(" ", "_"))


def _name_in(address: str) -> str:
    """The file name in an address: of a path, a URL, or the ?d= of local files."""
    parts = urllib.parse.urlsplit(address)
    local = _LOCAL.search(parts.query)
    if local:
        return base_name(urllib.parse.unquote(local.group(1)))
    if parts.scheme or address.startswith("/data/"):
        return base_name(urllib.parse.unquote(parts.path))
    return base_name(address)


def _tasks(content: List[Any], scored: bool, problems: Problems) -> Iterator[_Task]:
    """The tasks of either export; notes those that are no tasks."""
    for index, entry in enumerate(content):
        place = f"[{index}]"
        if isinstance(entry, dict) and "id" in entry:
            place += f" (id {entry['id']})"
        is_short = isinstance(entry, dict) and "annotation_id" in entry
        data = entry if is_short else entry.get("data") if isinstance(entry, dict) else None
        address = _address(data)
        if address is None:
            problems.add(
                place,
                f"is {shown(entry)}, without the address of an image; expected a task of Label "
                "Studio. Export the project as JSON.",
            )
        elif is_short:
            yield _Task(place, address, [] if scored else _short_results(entry))
        else:
            yield _Task(place, address, _chosen_results(entry, place, scored, problems))


def _address(data: Any) -> Optional[str]:
    """The image's address: under "image", or the only text that names a file."""
    if not isinstance(data, dict):
        return None
    if isinstance(data.get(TO_NAME), str):
        return data[TO_NAME]
    texts = [
        value
        for value in data.values()
        if isinstance(value, str) and pathlib.PurePath(_name_in(value)).suffix
    ]
    return texts[0] if len(texts) == 1 else None


def _short_results(entry: Entry) -> List[Any]:
    """The results of a task of the short export: its shapes stand under the tag's name."""
    results = []
    for value in entry.values():
        for shape in value if isinstance(value, list) else []:
            kinds = [key for key in shape if key.endswith("labels")] if _is(shape) else []
            if kinds:
                sizes = {key: shape.get(key) for key in ("original_width", "original_height")}
                results.append({"type": kinds[0], "value": shape, **sizes})
    return results


def _is(value: Any) -> bool:
    return isinstance(value, dict)


def _chosen_results(
    entry: Entry, place: str, scored: bool, problems: Problems
) -> Optional[List[Any]]:
    """The results of one annotation of a task; None where there is none."""
    written = entry.get("predictions" if scored else "annotations")
    if written is None and not scored:
        written = entry.get("completions")  # before version 1.0
    done = [
        annotation
        for annotation in (written if isinstance(written, list) else [])
        if _is(annotation) and not annotation.get("was_cancelled") and not annotation.get("skipped")
    ]
    if len(done) > 1:
        marked = [annotation for annotation in done if annotation.get("ground_truth")]
        if len(marked) != 1:
            persons = listed(shown(annotation.get("completed_by")) for annotation in done)
            problems.add(
                place,
                f"has {len(done)} annotations (by {persons}), of which {len(marked)} are marked as "
                "ground truth; expected one. Mark the right one in Label Studio, or delete the "
                "others.",
            )
            return []
        done = marked
    if not done:
        return None
    results = done[0].get("result")
    return results if isinstance(results, list) else []


def _note_predictions(content: Iterable[Any], scores: ScoresInGroundTruth) -> None:
    """Notes the predictions of tasks that nobody has annotated."""
    for index, entry in enumerate(content):
        predictions = entry.get("predictions") if _is(entry) else None
        for prediction in predictions if isinstance(predictions, list) else []:
            results = prediction.get("result") if _is(prediction) else None
            for result in results if isinstance(results, list) else []:
                score = result.get("score") if _is(result) else None
                scores.add("none" if score is None else score, f"[{index}]: predictions")


def _read_results(
    task: _Task,
    name: str,
    images: ImagesByName,
    scored: bool,
    problems: Problems,
) -> None:
    """Adds the boxes of a task to its image, with the size that its results state."""
    labels = _labels_by_id(task.results or ())
    image = images[name]
    for number, result in enumerate(task.results or (), start=1):
        place = f"{task.place}: result {number}"
        if not _is(result):
            problems.add(place, f"is {shown(result)}; expected an object.")
            continue
        kind = _kind(result)
        if kind not in BOXES + POLYGONS + ELLIPSES + tuple(LEFT_OUT):
            value = result.get("value")
            if kind not in WITHOUT_BOX and _is(value) and {"x", "y", "width"} <= set(value):
                problems.add(
                    place,
                    f"type is {shown(result.get('type'))}; expected "
                    f"{', '.join(BOXES + POLYGONS + ELLIPSES)}. Correct or delete it.",
                )
            continue
        size_wh = read_stated_size(
            result.get("original_width"), result.get("original_height"), place, problems
        )
        if image.size_wh is None:
            image = image._replace(size_wh=size_wh, in_shares=size_wh is None)
        row = _read_result(result, labels, place, image.size_wh, scored, problems)
        if row is not None:
            image.rows.append(row)
    images[name] = image


def _kind(result: Entry) -> str:
    """The type of a result; converters write the name of its tag, such as RectangleLabels."""
    return str(result.get("type")).lower()


def _labels_by_id(results: Iterable[Any]) -> Dict[Any, Any]:
    """Id of a result to the classes that another result of that id states."""
    return {
        result.get("id"): result["value"].get("labels")
        for result in results
        if _is(result) and _kind(result) == LABELS_ONLY and _is(result.get("value"))
    }


def _read_result(
    result: Entry,
    labels: Dict[Any, Any],
    place: str,
    size_wh: Optional[Tuple[int, int]],
    scored: bool,
    problems: Problems,
) -> Optional[BoxRow]:
    """The row of one shape; None after noting a problem."""
    kind = _kind(result)
    value = result.get("value")
    if not _is(value):
        problems.add(place, f"value is {shown(value)}; expected an object. Export it again.")
        return None
    written = value.get(kind) or value.get(result["type"])
    label = _label(written or labels.get(result.get("id")))
    if kind in LEFT_OUT:
        return BoxRow(place, label, (0, 0, 0, 0), left_out=LEFT_OUT[kind])
    if result.get("image_rotation"):
        problems.add(
            place,
            f"image_rotation is {shown(result['image_rotation'])}: the image was rotated in Label "
            "Studio; expected 0. Rotate it back and draw the boxes again, or rotate the file.",
        )
        return None
    score = read_number(result.get("score"), "score", place, problems) if scored else None
    # Shapes are rotated in pixels: percent of width and height are not of one length.
    box_xyxy = _box(kind, value, size_wh or (1, 1), place, problems)
    if box_xyxy is None or (scored and score is None):
        return None
    box_xyxy = tuple(round(side, DIGITS) for side in box_xyxy)
    numbers = {name: value[name] for name in PLACE_KEYS if name in value}
    return BoxRow(place, label, box_xyxy, score, stated=f"value {shown(json.dumps(numbers))}")


def _label(written: Any) -> str:
    """The class; several of one shape are joined, and then no class of a label map."""
    names = written if isinstance(written, list) else []
    return ", ".join(name.strip() for name in names if isinstance(name, str))


def _box(
    kind: str, value: Entry, size_wh: Tuple[int, int], place: str, problems: Problems
) -> Optional[shapes.Box]:
    """The box of a shape in pixels, or in shares of the image where ``size_wh`` is (1, 1)."""
    width, height = size_wh
    if kind in POLYGONS:
        return _polygon(value.get("points"), size_wh, place, problems)
    names = ("x", "y", "width", "height")
    if kind in ELLIPSES:
        names = ("x", "y", "radiusX", "radiusY")
    numbers = [read_number(value.get(name), name, place, problems) for name in names]
    degrees = read_number(value.get("rotation") or 0, "rotation", place, problems)
    if None in numbers or degrees is None:
        return None
    if degrees and size_wh == (1, 1):
        problems.add(
            place,
            "is rotated, and states no original_width and original_height; expected them, because "
            "the box around it depends on them. Export the project again.",
        )
        return None
    sides = [share * side / 100 for share, side in zip(numbers, (width, height) * 2)]
    if kind in ELLIPSES:
        return shapes.around_ellipse(tuple(sides[:2]), tuple(sides[2:]), degrees)
    x, y, box_width, box_height = sides
    return shapes.around_rotated((x, y, x + box_width, y + box_height), degrees, (x, y))


def _polygon(
    points: Any, size_wh: Tuple[int, int], place: str, problems: Problems
) -> Optional[shapes.Box]:
    written = points if isinstance(points, list) else []
    found = []
    for index, point in enumerate(written):
        pair = point if isinstance(point, list) and len(point) == 2 else [None, None]
        numbers = [read_number(share, f"points[{index}]", place, problems) for share in pair]
        if None in numbers:
            return None
        found.append(tuple(share * side / 100 for share, side in zip(numbers, size_wh)))
    if len(found) < FEWEST_POINTS:
        problems.add(
            place,
            f"points is {shown(points)}; expected at least {FEWEST_POINTS} points. Correct or "
            "delete the polygon.",
        )
        return None
    return shapes.around(found)


def _result(row: BoxRow, identity: str, size_wh: Tuple[int, int], predictions: bool) -> Entry:
    width, height = (int(side) for side in size_wh)
    xmin, ymin, xmax, ymax = (float(side) for side in row.box_xyxy)
    result: Entry = {
        "id": identity,
        "type": "rectanglelabels",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * xmin / width,
            "y": 100 * ymin / height,
            "width": 100 * (xmax - xmin) / width,
            "height": 100 * (ymax - ymin) / height,
            "rotation": 0,
            "rectanglelabels": [row.label],
        },
    }
    if predictions and row.score is not None:
        result["score"] = float(row.score)
    return result
