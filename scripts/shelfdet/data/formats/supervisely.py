"""Supervisely's JSON: a folder with one .json file an image, named like it (a.jpg.json).

A project holds datasets, each with its images in img/ and these files in ann/, and a meta.json that
lists the classes. In "objects", a rectangle is two opposite corners in pixels; polygons and bitmaps
(masks) are read as the box around them. Lines, points and other shapes have no box: they are
counted and left out.

See https://developer.supervisely.com/getting-started/supervisely-annotation-format/objects
"""

import base64
import binascii
import collections
import pathlib
import struct
import zlib
from typing import Any, Dict, Iterable, Optional, Tuple

from shelfdet.core.text import PathLike, Problems, shown
from shelfdet.data.formats import image_json, shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImagesByName,
    NamesOfFiles,
    add_image,
    files_in,
    place_of,
    read_stated_size,
)

BOX_SHAPES = {"rectangle": 2, "polygon": 3}  # to how many points it has at least
# Shapes that are no products' boxes, by what they are called in the plural.
LEFT_OUT = {
    "line": "lines",
    "polyline": "lines",
    "point": "points",
    "graph": "key points",
    "cuboid": "cuboids",
    "cuboid_2d": "cuboids",
    "alpha_mask": "alpha masks",
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SIZE = slice(16, 24)  # width and height in the first chunk, of 4 bytes each
META = "meta.json"  # of a project, which is no file of an image

Found = Optional[Tuple[shapes.Box, str]]  # a box, and why it is left out, if it is


def is_of(content: Any) -> bool:
    """Whether JSON is of one image labelled in Supervisely."""
    return isinstance(content, dict) and {"size", "objects"} <= set(content)


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the .json files of a folder; see ``formats.read``.

    A file belongs to the image that it is named after: a.jpg.json, in old projects a.json.
    """
    assert not scored, "Supervisely's annotations have no scores"
    names = NamesOfFiles(image_names)
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".json", "Supervisely JSON"):
        if file.name.lower() == META:
            continue
        place = place_of(file, problems)
        content = image_json.read_object(file, place, "Supervisely JSON", "objects", problems)
        stem = pathlib.PurePath(file.stem).stem
        if content is None:
            names.note_unread(stem, place)
            continue
        # Of a.jpg.json the image is a.jpg, also where a.png exists.
        name = names.choose(stem, file.stem, place, problems)
        if name is None:
            continue
        size_wh = _read_size(content.get("size"), f"{place}: size", problems)
        if not add_image(images, name, place, size_wh, problems):
            continue
        for index, written in enumerate(content["objects"]):
            row = _read_object(written, f"{place}: objects[{index}]", problems)
            if row is not None:
                images[name].rows.append(row)
    names.finish("the suffix in the name of the file", problems)
    names.add_unread(images)
    return images


def _read_size(size: Any, place: str, problems: Problems) -> Optional[Tuple[int, int]]:
    if not isinstance(size, dict):
        problems.add(
            place, f"is {shown(size)}; expected an object with width and height. Correct it."
        )
        return None
    return read_stated_size(size.get("width"), size.get("height"), place, problems)


def _read_object(written: Any, place: str, problems: Problems) -> Optional[BoxRow]:
    """The box around one object; None after noting a problem."""
    if not isinstance(written, dict):
        problems.add(place, f"is {shown(written)}; expected an object of Supervisely JSON.")
        return None
    label = written.get("classTitle")
    if not isinstance(label, str):
        found = "missing" if label is None else shown(label)
        problems.add(place, f"classTitle is {found}; expected the name of a class. Write it.")
        return None
    found = _box(written, place, problems)
    if found is None:
        return None
    box_xyxy, left_out = found
    points = written.get("points")
    stated = f"points {shown(points.get('exterior'))}" if isinstance(points, dict) else ""
    return BoxRow(place, label.strip(), box_xyxy, left_out=left_out, stated=stated)


def _box(written: Dict[str, Any], place: str, problems: Problems) -> Found:
    kind = written.get("geometryType") or written.get("shape") or _kind_without_name(written)
    if kind == "bitmap":
        box_xyxy = _around_bitmap(written.get("bitmap"), place, problems)
        return None if box_xyxy is None else (box_xyxy, "")
    if kind in LEFT_OUT:
        return (0, 0, 0, 0), LEFT_OUT[kind]
    if kind not in BOX_SHAPES:
        problems.add(
            place,
            f"geometryType is {shown(kind)}; expected rectangle, polygon or bitmap (or line or "
            "point, which are left out). Draw a rectangle.",
        )
        return None
    points = written.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    corners = image_json.read_points(exterior, "points.exterior", place, problems)
    if corners is None:
        return None
    if not image_json.has_points(corners, BOX_SHAPES[kind], kind, place, problems):
        return None
    return shapes.around(corners), ""


def _kind_without_name(written: Dict[str, Any]) -> str:
    """The kind of an object in an old project, which meta.json alone names."""
    if written.get("bitmap"):
        return "bitmap"
    points = written.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    is_pair = isinstance(exterior, list) and len(exterior) == 2
    return "rectangle" if is_pair else "polygon"


def _around_bitmap(bitmap: Any, place: str, problems: Problems) -> Optional[shapes.Box]:
    """The box of a mask, from its origin and the size of its image; None after noting a problem.

    The image is a PNG, compressed by zlib and written in base64. Supervisely cuts it to the pixels
    of the object, so that its size is that of the box.
    """
    fields = bitmap if isinstance(bitmap, dict) else {}
    origins = image_json.read_points([fields.get("origin")], "bitmap.origin", place, problems)
    if origins is None:
        return None
    try:
        image = zlib.decompress(base64.b64decode(fields.get("data"), validate=True))
        if not image.startswith(PNG_SIGNATURE):
            raise ValueError("no PNG")
        width, height = struct.unpack(">II", image[PNG_SIZE])
    except (TypeError, ValueError, binascii.Error, zlib.error, struct.error) as error:
        problems.add(
            place,
            f"bitmap.data is no mask ({error}); expected a PNG, compressed by zlib, in base64. "
            "Export the project again.",
        )
        return None
    ((x, y),) = origins
    return (x, y, x + width, y + height)
