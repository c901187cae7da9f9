"""CVAT's XML for images ("CVAT for images 1.1"): one file with all images and their shapes.

An <image> has its name, size and perhaps the subset of its task, which is its split. Polygons,
ellipses, masks and rotated boxes are read as the upright box around them; other shapes, and what is
marked as outside, are left out and counted. The format has no scores. See
https://docs.cvat.ai/docs/other/xml_format.
"""

import collections
import pathlib
import xml.etree.ElementTree
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, shown
from shelfdet.data.formats import shapes
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    add_image,
    read_flag,
    read_name,
    read_stated_size,
)
from shelfdet.data.formats.xml_elements import add_element, lower_tags, xml_text
from shelfdet.data.splitting.split_names import split_of_name

Element = xml.etree.ElementTree.Element

ROOT = "annotations"
SIDES = ("xtl", "ytl", "xbr", "ybr")
# Shapes that are no products' boxes, by what they are called in the plural.
LEFT_OUT = {
    "polyline": "lines",
    "points": "points",
    "cuboid": "cuboids",
    "skeleton": "skeletons",
}
# Attributes that state where a shape is.
PLACE_ATTRIBUTES = SIDES + (
    "rotation",
    "points",
    "cx",
    "cy",
    "rx",
    "ry",
    "left",
    "top",
    "width",
    "height",
)
WITHOUT_PLACE = ("tag", "attribute")  # of the whole image
OUTSIDE = "shapes marked outside"
FEWEST_POINTS = 3  # of a polygon


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the XML; see ``formats.read``. ``scored`` must be False: the format has no scores.

    Raises:
      UserError: no XML, XML of another kind, or CVAT's XML for videos.
    """
    assert not scored, "CVAT's XML has no scores"
    images: ImagesByName = collections.OrderedDict()
    root = _read_root(path)
    if root.find("track") is not None and root.find("image") is None:
        raise UserError(
            f"{path}: is CVAT's XML for videos, with <track>; expected that for images, with "
            "<image>. Export the task as CVAT for images 1.1."
        )
    for number, element in enumerate(root.iter("image"), start=1):
        _read_image(element, f"image {number}", images, problems)
    return images


def write(images: Iterable[ImageBoxes], path: PathLike, by_hand: bool = False) -> None:
    """Writes images with sizes and their boxes, as CVAT exports and imports them.

    Args:
      images: what to write; scores, splits and rows that are no boxes are left out. A subset is
        the project's in CVAT, not that of a task.
      path: target file, written completely or not at all.
      by_hand: whether a person drew the boxes, which CVAT shows.
    """
    images = list(images)
    root = xml.etree.ElementTree.Element(ROOT)
    add_element(root, "version", text="1.1")
    _write_meta(root, images)
    for number, image in enumerate(images):
        width, height = image.size_wh
        element = add_element(
            root,
            "image",
            id=str(number),
            name=image.filename,
            width=str(int(width)),
            height=str(int(height)),
        )
        for row in image.rows:
            if not row.left_out:
                _write_box(element, row, "manual" if by_hand else "auto")
    files.write_text(path, xml_text(root))


def _read_root(path: PathLike) -> Element:
    try:
        root = xml.etree.ElementTree.fromstring(pathlib.Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, LookupError) as error:
        # ParseError is a SyntaxError; an unknown encoding raises LookupError or ValueError.
        raise UserError(
            f"{path}: is no complete XML ({error}); expected CVAT's XML. Export it again."
        ) from error
    lower_tags(root)
    if root.tag != ROOT:
        raise UserError(
            f"{path}: the outermost element is <{root.tag}>; expected <{ROOT}> of CVAT's XML. "
            "Export the task as CVAT for images 1.1."
        )
    return root


def _read_image(element: Element, place: str, images: ImagesByName, problems: Problems) -> None:
    """Adds one <image> with its shapes, or notes a problem."""
    name = read_name(element.get("name"), place, problems)
    if name is None:
        return
    place = f"image {shown(name)}"
    size_wh = read_stated_size(element.get("width"), element.get("height"), place, problems)
    if not add_image(images, name, place, size_wh, problems):
        return
    split = split_of_name(element.get("subset") or "")
    images[name] = images[name]._replace(split=split)
    counts = collections.Counter()
    for shape in element:
        if shape.tag in WITHOUT_PLACE:
            continue
        counts[shape.tag] += 1
        row = _read_shape(shape, f"{place}: {shape.tag} {counts[shape.tag]}", problems)
        if row is not None:
            images[name].rows.append(row)


def _read_shape(shape: Element, place: str, problems: Problems) -> Optional[BoxRow]:
    """The row of one shape; None after noting a problem."""
    label = (shape.get("label") or "").strip()
    left_out = LEFT_OUT.get(shape.tag, "")
    if not left_out and shape.tag not in BOXES_OF_SHAPES:
        left_out = f"<{shape.tag}> elements"  # of a later version
    outside = read_flag(shape.get("outside"), "outside", place, problems)
    if outside is None:
        return None
    if left_out or outside:
        return BoxRow(place, label, (0, 0, 0, 0), left_out=left_out or OUTSIDE)
    box_xyxy = BOXES_OF_SHAPES[shape.tag](shape, place, problems)
    return None if box_xyxy is None else BoxRow(place, label, box_xyxy, stated=_stated(shape))


def _stated(shape: Element) -> str:
    """The place of a shape as the file states it; empty where these are the corners of its box."""
    if shape.tag == "box" and shape.get("rotation") is None:
        return ""
    names = [name for name in shape.keys() if name in PLACE_ATTRIBUTES]
    return f"{shape.tag} {shown(' '.join(f'{name}={shape.get(name)}' for name in names))}"


def _numbers(
    shape: Element, names: Iterable[str], place: str, problems: Problems
) -> Optional[List[float]]:
    values = [read_number(shape.get(name), name, place, problems) for name in names]
    return None if None in values else values


def _rotation(shape: Element, place: str, problems: Problems) -> Optional[float]:
    """In degrees, clockwise, about the centre; 0 where it is not there."""
    if shape.get("rotation") is None:
        return 0.0
    return read_number(shape.get("rotation"), "rotation", place, problems)


def _box(shape: Element, place: str, problems: Problems) -> Optional[shapes.Box]:
    box_xyxy = _numbers(shape, SIDES, place, problems)
    degrees = _rotation(shape, place, problems)
    if box_xyxy is None or degrees is None:
        return None
    xmin, ymin, xmax, ymax = box_xyxy
    return shapes.around_rotated(box_xyxy, degrees, ((xmin + xmax) / 2, (ymin + ymax) / 2))


def _polygon(shape: Element, place: str, problems: Problems) -> Optional[shapes.Box]:
    written = shape.get("points") or ""
    points = []
    for pair in filter(None, written.split(";")):
        numbers = [parse_number(side) for side in pair.split(",")]
        if len(numbers) != 2 or None in numbers:
            problems.add(
                place, f"points has {shown(pair)}; expected x,y of finite numbers. Correct it."
            )
            return None
        points.append(tuple(numbers))
    if len(points) < FEWEST_POINTS:
        problems.add(
            place,
            f"points is {shown(written)}; expected at least {FEWEST_POINTS} points, as x,y;x,y;x,y."
            " Correct or delete the polygon.",
        )
        return None
    return shapes.around(points)


def _ellipse(shape: Element, place: str, problems: Problems) -> Optional[shapes.Box]:
    values = _numbers(shape, ("cx", "cy", "rx", "ry"), place, problems)
    degrees = _rotation(shape, place, problems)
    if values is None or degrees is None:
        return None
    return shapes.around_ellipse(tuple(values[:2]), tuple(values[2:]), degrees)


def _mask(shape: Element, place: str, problems: Problems) -> Optional[shapes.Box]:
    """The box of a mask, which states it beside its run lengths."""
    values = _numbers(shape, ("left", "top", "width", "height"), place, problems)
    if values is None:
        return None
    left, top, width, height = values
    return left, top, left + width, top + height


BOXES_OF_SHAPES: Dict[str, Callable[..., Optional[shapes.Box]]] = {
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "mask": _mask,
}


def _write_meta(root: Element, images: List[ImageBoxes]) -> None:
    """The task with its labels, which readers need before the images."""
    task = add_element(add_element(root, "meta"), "task")
    add_element(task, "size", text=str(len(images)))
    add_element(task, "mode", text="annotation")
    labels = add_element(task, "labels")
    names = {row.label for image in images for row in image.rows if not row.left_out}
    for name in sorted(names):
        label = add_element(labels, "label")
        add_element(label, "name", text=name)
        add_element(label, "attributes", text="")


def _write_box(element: Element, row: BoxRow, source: str) -> None:
    sides: Tuple[Tuple[str, float], ...] = tuple(zip(SIDES, row.box_xyxy))
    add_element(
        element,
        "box",
        label=row.label,
        source=source,
        occluded="0",
        **{name: repr(float(side)) for name, side in sides},
        z_order="0",
    )
