"""The VGG Image Annotator's (VIA 1 and 2) CSV and JSON: regions with attributes as JSON.

Polygons, circles and ellipses are read as the upright box around them; points and lines are left
out and counted. The class is the region's attribute that is named as one, or its only attribute.
See https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

import collections
import json
import math
import pathlib
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, read_number, shown
from shelfdet.data.formats import shapes
from shelfdet.data.formats import table as tables
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    RowNames,
    ScoresInGroundTruth,
    read_json,
)

Entry = Dict[str, Any]

COLUMNS = ("filename", "shape", "attributes")
POINTS = ("all_points_x", "all_points_y")
LEFT_OUT = {"point": "points", "polyline": "lines"}
FEWEST_POINTS = 3  # of a polygon


class _Region(NamedTuple):
    """A region: where it is, its image's name, and its shape and attributes; empty for none."""

    place: str
    filename: str
    shape: Any
    attributes: Any


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the CSV or JSON; see ``formats.read``. ``scored`` must be False.

    Raises:
      UserError: the file cannot be read, or is of another kind.
    """
    assert not scored, "VIA's files have no scores"
    is_json = pathlib.Path(path).suffix.lower() == ".json"
    regions = _of_json(path, problems) if is_json else _of_table(path, problems)
    names = RowNames(problems)
    scores = ScoresInGroundTruth(problems)
    images: ImagesByName = collections.OrderedDict()
    for region in regions:
        name = names.read(region.filename, region.place)
        if name is None:
            continue
        image = images.setdefault(name, ImageBoxes(name, region.place, None, []))
        if not region.shape:
            continue  # states an image without regions
        attributes = region.attributes if isinstance(region.attributes, dict) else {}
        scores.note(_named(attributes, "score"), region.place)
        row = _read_region(region, _label(attributes), problems)
        if row is not None:
            image.rows.append(row)
    scores.finish()
    return images


def is_table(table: tables.Table) -> bool:
    """Whether a CSV has VIA's columns."""
    return table.columns is not None and set(COLUMNS) <= set(table.columns)


def is_json(content: Any) -> bool:
    """Whether JSON is VIA's: a project, or the export of its annotations."""
    if not isinstance(content, dict):
        return False
    if "_via_img_metadata" in content:
        return True
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and "filename" in first and "regions" in first


def _of_table(path: PathLike, problems: Problems) -> Iterator[_Region]:
    table = tables.open_table(path)
    if not is_table(table):
        raise UserError(
            f"{path}: line {table.first_line}: found {tables.found_names(table)}; expected the "
            "columns filename, region_shape_attributes and region_attributes of VIA. Name another "
            "format."
        )
    columns = {name: table.columns[name] for name in COLUMNS}
    for place, row in tables.rows(table, columns, problems):
        values = []
        for name in COLUMNS[1:]:
            try:
                values.append(json.loads(row[name] or "{}"))
            except (ValueError, RecursionError) as error:
                problems.add(
                    place, f"{shown(row[name])} is no JSON ({error}); expected VIA's attributes."
                )
        if len(values) == 2:
            yield _Region(place, row["filename"], *values)


def _of_json(path: PathLike, problems: Problems) -> Iterator[_Region]:
    content = read_json(path, "VIA's JSON")
    if not is_json(content):
        raise UserError(
            f"{path}: is no export of VIA; expected images with filename and regions. Name another "
            "format."
        )
    for key, entry in content.get("_via_img_metadata", content).items():
        if not isinstance(entry, dict):
            problems.add(shown(key), f"is {shown(entry)}; expected an image of VIA. Delete it.")
            continue
        regions = entry.get("regions")
        if isinstance(regions, dict):  # VIA 1 numbers them
            regions = list(regions.values())
        name = entry.get("filename") if isinstance(entry.get("filename"), str) else ""
        yield _Region(shown(key), name, {}, {})
        if regions is not None and not isinstance(regions, list):
            problems.add(
                shown(key), f"regions is {shown(regions)}; expected a list. Export it again."
            )
            continue
        for number, region in enumerate(regions or [], start=1):
            region = region if isinstance(region, dict) else {}
            place = f"{shown(key)}: region {number}"
            shape = region.get("shape_attributes") or {"name": None}
            yield _Region(place, name, shape, region.get("region_attributes"))


def _named(attributes: Entry, column: str) -> Any:
    """The attribute that is named as a column of a CSV may be."""
    for name, value in attributes.items():
        if tables.is_name_of(name, column):
            return value
    return None


def _label(attributes: Entry) -> str:
    value = _named(attributes, "class")
    if value is None and len(attributes) == 1:
        (value,) = attributes.values()
    if isinstance(value, dict):  # of a list of check boxes
        return ", ".join(name for name, is_checked in value.items() if is_checked)
    return "" if value is None else str(value).strip()


def _read_region(region: _Region, label: str, problems: Problems) -> Optional[BoxRow]:
    """The row of one region; None after noting a problem."""
    shape = region.shape if isinstance(region.shape, dict) else {}
    kind = str(shape.get("name"))
    if kind in LEFT_OUT:
        return BoxRow(region.place, label, (0, 0, 0, 0), left_out=LEFT_OUT[kind])
    if kind == "polygon":
        box_xyxy = _polygon(shape, region.place, problems)
    elif kind in ("rect", "circle", "ellipse"):
        box_xyxy = _box(kind, shape, region.place, problems)
    else:
        problems.add(
            region.place,
            f"the shape is {shown(kind)}; expected rect, polygon, circle or ellipse. Correct it.",
        )
        return None
    if box_xyxy is None:
        return None
    return BoxRow(region.place, label, box_xyxy, stated=shown(json.dumps(shape)))


def _box(kind: str, shape: Entry, place: str, problems: Problems) -> Optional[shapes.Box]:
    names = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }[kind]
    values = [read_number(shape.get(name), name, place, problems) for name in names]
    radians = read_number(shape.get("theta") or 0, "theta", place, problems)
    if None in values or radians is None:
        return None
    x, y, width, height = values
    if kind == "rect":
        return x, y, x + width, y + height
    return shapes.around_ellipse((x, y), (width, height), math.degrees(radians))


def _polygon(shape: Entry, place: str, problems: Problems) -> Optional[shapes.Box]:
    sides: Tuple[list, ...] = tuple(
        shape.get(name) if isinstance(shape.get(name), list) else [] for name in POINTS
    )
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < FEWEST_POINTS:
        problems.add(
            place,
            f"the polygon has {len(sides[0])} values of x and {len(sides[1])} of y; expected at "
            f"least {FEWEST_POINTS} points. Correct or delete it.",
        )
        return None
    points = [
        tuple(read_number(side, name, place, problems) for side, name in zip(pair, POINTS))
        for pair in zip(*sides)
    ]
    return None if any(None in point for point in points) else shapes.around(points)
