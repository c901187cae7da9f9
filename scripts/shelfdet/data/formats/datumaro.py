"""Datumaro's JSON: "items" with annotations, and "categories" whose labels they count.

Polygons and rotated boxes are read as the upright box around them; masks, lines, points and others
are left out and counted. See
https://openvinotoolkit.github.io/datumaro/stable/docs/data-formats/formats/datumaro.html.
"""

import collections
from typing import Any, Dict, Iterable, List, Optional

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, shown
from shelfdet.data.formats import shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImagesByName,
    ScoresInGroundTruth,
    add_image,
    read_json,
    read_name,
    read_stated_size,
)

Entry = Dict[str, Any]

WITHOUT_PLACE = ("label", "caption", "hash_key", "feature_vector")  # of the whole image
LEFT_OUT = {"mask": "masks", "polyline": "lines", "points": "points", "cuboid_3d": "cuboids"}
FEWEST_COORDINATES = 6  # of a polygon: x and y of three points


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the JSON; see ``formats.read``. ``scored`` must be False.

    Raises:
      UserError: no JSON, or another kind of it.
    """
    assert not scored, "Datumaro's JSON is read as ground truth only"
    content = read_json(path, "Datumaro's JSON")
    if not is_of(content):
        raise UserError(
            f"{path}: has no list of items and no categories; expected Datumaro's JSON. Export it "
            "again, or name another format."
        )
    labels = _labels(content["categories"])
    scores = ScoresInGroundTruth(problems)
    images: ImagesByName = collections.OrderedDict()
    for index, item in enumerate(content["items"]):
        place = f"items[{index}]"
        if not isinstance(item, dict):
            problems.add(place, f"is {shown(item)}; expected an object of Datumaro's JSON.")
            continue
        # Items of other media than images have "media".
        image = item.get("image") or item.get("media")
        image = image if isinstance(image, dict) else {}
        name = read_name(image.get("path") or item.get("id"), place, problems)
        size_hw = image.get("size")
        height, width = size_hw if isinstance(size_hw, list) and len(size_hw) == 2 else (None, None)
        size_wh = read_stated_size(width, height, place, problems)
        if name is None or not add_image(images, name, place, size_wh, problems):
            continue
        annotations = item.get("annotations") or []
        if not isinstance(annotations, list):
            problems.add(
                place, f"annotations is {shown(annotations)}; expected a list. Export it again."
            )
            continue
        for number, entry in enumerate(annotations):
            row = _read_annotation(
                entry, f"{place}: annotations[{number}]", labels, scores, problems
            )
            if row is not None:
                images[name].rows.append(row)
    scores.finish()
    return images


def is_of(content: Any) -> bool:
    """Whether JSON is Datumaro's."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("items"), list)
        and isinstance(content.get("categories"), dict)
    )


def _labels(categories: Entry) -> List[Any]:
    label = categories.get("label")
    entries = label.get("labels") if isinstance(label, dict) else None
    return [
        entry.get("name") if isinstance(entry, dict) else entry
        for entry in (entries if isinstance(entries, list) else [])
    ]


def _read_annotation(
    entry: Any, place: str, labels: List[Any], scores: ScoresInGroundTruth, problems: Problems
) -> Optional[BoxRow]:
    """The row of one annotation; None of one without a place, or after noting a problem."""
    if not isinstance(entry, dict):
        problems.add(place, f"is {shown(entry)}; expected an object of Datumaro's JSON.")
        return None
    kind = str(entry.get("type"))
    if kind in LEFT_OUT:
        return BoxRow(place, "", (0, 0, 0, 0), left_out=LEFT_OUT[kind])
    if kind in WITHOUT_PLACE:
        return None
    if kind not in READERS:
        problems.add(
            place,
            f"type is {shown(entry.get('type'))}; expected bbox, polygon or rotated_bbox (or "
            f"{', '.join(LEFT_OUT)}, which are left out). Correct or delete it.",
        )
        return None
    attributes = entry.get("attributes")
    scores.note(attributes.get("score") if isinstance(attributes, dict) else None, place)
    label = _label(entry.get("label_id"), labels, place, problems)
    box_xyxy = READERS[kind](entry, place, problems)
    if label is None or box_xyxy is None:
        return None
    key = "bbox" if entry.get("bbox") is not None else "points"
    return BoxRow(place, label, box_xyxy, stated=f"{key} {shown(entry[key])}")


def _label(written: Any, labels: List[Any], place: str, problems: Problems) -> Optional[str]:
    number = parse_number(written)
    if number is not None and number == int(number) and 0 <= number < len(labels):
        return str(labels[int(number)]).strip()
    problems.add(
        place,
        f"label_id is {shown(written)}; expected 0 to {len(labels) - 1}, a label of the "
        "categories. Correct it.",
    )
    return None


def _numbers(
    written: Any, count: int, place: str, name: str, problems: Problems
) -> Optional[List[float]]:
    """Finite numbers: ``count`` of them, or an even number of at least as many points."""
    is_list = isinstance(written, list)
    if not is_list or len(written) < count or (len(written) - count) % 2:
        problems.add(place, f"{name} is {shown(written)}; expected {count} numbers. Correct it.")
        return None
    values = [
        read_number(value, f"{name}[{index}]", place, problems)
        for index, value in enumerate(written)
    ]
    return None if None in values else values


def _bbox(entry: Entry, place: str, problems: Problems) -> Optional[shapes.Box]:
    values = _numbers(entry.get("bbox"), 4, place, "bbox", problems)
    if values is None:
        return None
    x, y, width, height = values[:4]
    return x, y, x + width, y + height


def _polygon(entry: Entry, place: str, problems: Problems) -> Optional[shapes.Box]:
    values = _numbers(entry.get("points"), FEWEST_COORDINATES, place, "points", problems)
    return None if values is None else shapes.around(zip(values[::2], values[1::2]))


def _rotated_bbox(entry: Entry, place: str, problems: Problems) -> Optional[shapes.Box]:
    """Of cx, cy, width, height and degrees."""
    written = entry.get("points") if entry.get("bbox") is None else entry.get("bbox")
    values = _numbers(written, 5, place, "bbox", problems)
    if values is None:
        return None
    x, y, width, height, degrees = values[:5]
    upright = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return shapes.around_rotated(upright, degrees, (x, y))


READERS = {"bbox": _bbox, "polygon": _polygon, "rotated_bbox": _rotated_bbox}
