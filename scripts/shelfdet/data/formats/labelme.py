"""labelme's JSON: a folder with one .json file an image, of shapes with points in pixels.

A rectangle is two opposite corners, a circle its centre and a point on it; polygons and masks are
read as the box around them. Lines and points have no box: they are counted and left out. The image
itself, which the file may hold in "imageData", is not read.

See https://github.com/wkentaro/labelme (labelme/label_file.py).
"""

import collections
import json
import math
import pathlib
from typing import Any, Dict, Iterable, Optional, Tuple

from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, read_number, shown
from shelfdet.data.formats import image_json, shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    NamesOfFiles,
    ScoresInGroundTruth,
    add_image,
    files_in,
    place_of,
    read_stated_size,
)

# Shape to how many points it has at least.
BOX_SHAPES = {
    "rectangle": 2,
    "polygon": 3,
    "circle": 2,
    "mask": 2,
    "oriented_rectangle": 4,
    "rotation": 4,  # of X-AnyLabeling, which writes the same format
}
# Shapes that are no products' boxes, by what they are called in the plural.
LEFT_OUT = {"line": "lines", "linestrip": "lines", "point": "points", "points": "points"}
# What a version writes that labelme's own reader still accepts.
VERSION = "5.0.1"


def is_of(content: Any) -> bool:
    """Whether JSON is of one image labelled in labelme."""
    return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the .json files of a folder; see ``formats.read``.

    A file without "imagePath", or whose "imagePath" is none of ``image_names``, belongs to the
    image that is named like the file but for the suffix. Where both are there, the file is refused.
    """
    names = NamesOfFiles(image_names)
    scores = ScoresInGroundTruth(problems)
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".json", "labelme JSON"):
        place = place_of(file, problems)
        content = image_json.read_object(file, place, "labelme JSON", "shapes", problems)
        if content is None:
            names.note_unread(file.stem, place)
            continue
        name = names.choose(file.stem, content.get("imagePath"), place, problems)
        if name is None:
            continue
        size = (content.get("imageWidth"), content.get("imageHeight"))
        size_wh = read_stated_size(*size, f"{place}: imageWidth, imageHeight", problems)
        if not add_image(images, name, place, size_wh, problems):
            continue
        for index, shape in enumerate(content["shapes"]):
            row = _read_shape(shape, f"{place}: shapes[{index}]", scored, scores, problems)
            if row is not None:
                images[name].rows.append(row)
    names.finish("imagePath", problems)
    names.add_unread(images)
    scores.finish()
    return images


def write(images: Iterable[ImageBoxes], folder: PathLike, image_folder: str = "") -> None:
    """Writes a .json file an image, which labelme opens.

    Args:
      images: with sizes and boxes in pixels; their names have to differ without their suffix.
      folder: each file in it is written completely or not at all; others stay.
      image_folder: of the images, relative to ``folder``; empty where they are in it.
    """
    for image in images:
        name = pathlib.PurePath(image.filename).stem + ".json"
        files.write_text(pathlib.Path(folder) / name, text_of(image, image_folder))


def text_of(image: ImageBoxes, image_folder: str = "") -> str:
    """The file of an image.

    Args:
      image: with a size and boxes in pixels; rows that are no boxes are left out. Scores are kept
        as "score", which labelme passes on.
      image_folder: as in ``write``.
    """
    width, height = image.size_wh
    content = {
        "version": VERSION,
        "flags": {},
        "shapes": [_shape(row) for row in image.rows if not row.left_out],
        "imagePath": f"{image_folder}/{image.filename}" if image_folder else image.filename,
        "imageData": None,
        "imageHeight": int(height),
        "imageWidth": int(width),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _shape(row: BoxRow) -> Dict[str, Any]:
    xmin, ymin, xmax, ymax = (float(side) for side in row.box_xyxy)
    shape = {
        "label": row.label,
        "points": [[xmin, ymin], [xmax, ymax]],
        "group_id": None,
        "shape_type": "rectangle",
        "flags": {},
    }
    if row.score is not None:
        shape["score"] = float(row.score)
    return shape


def _read_shape(
    shape: Any, place: str, scored: bool, scores: ScoresInGroundTruth, problems: Problems
) -> Optional[BoxRow]:
    """The box around one shape; None after noting a problem."""
    if not isinstance(shape, dict):
        problems.add(place, f"is {shown(shape)}; expected an object of labelme JSON.")
        return None
    # labelme before 3.0 had polygons alone, and stated no type.
    kind = shape.get("shape_type") or "polygon"
    label = shape.get("label")
    if label is not None and not isinstance(label, str):
        problems.add(place, f"label is {shown(label)}; expected the name of a class. Correct it.")
        return None
    points = image_json.read_points(shape.get("points"), "points", place, problems)
    if points is None:
        return None
    score = None
    if scored:
        score = read_number(shape.get("score"), "score", place, problems)
    else:
        scores.note(shape.get("score"), place)
    found = _box(kind, points, place, problems)
    if found is None or (scored and score is None):
        return None
    box_xyxy, left_out = found
    # Those of a rectangle are the numbers of its box, perhaps in another order.
    stated = "" if kind == "rectangle" else f"{kind} {shown(shape['points'])}"
    return BoxRow(place, (label or "").strip(), box_xyxy, score, left_out=left_out, stated=stated)


def _box(
    kind: Any, points: "list", place: str, problems: Problems
) -> Optional[Tuple[shapes.Box, str]]:
    """The box of a shape, and why it is left out, if it is; None after noting a problem."""
    if kind in LEFT_OUT:
        return shapes.around(points), LEFT_OUT[kind]
    if kind not in BOX_SHAPES:
        problems.add(
            place,
            f"shape_type is {shown(kind)}; expected rectangle, polygon or circle (or line or "
            "point, which are left out). Draw a rectangle.",
        )
        return None
    if not image_json.has_points(points, BOX_SHAPES[kind], kind, place, problems):
        return None
    if kind == "circle":
        (x, y), edge = points[:2]
        radius = math.hypot(edge[0] - x, edge[1] - y)
        return (x - radius, y - radius, x + radius, y + radius), ""
    return shapes.around(points), ""
