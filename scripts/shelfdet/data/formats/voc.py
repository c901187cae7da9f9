"""Pascal VOC XML, as LabelImg writes it: a folder with one .xml file an image.

The encoding is the one that the XML declares, and upper and lower case of tags do not matter.
Detections have a <score> in each <object>.
"""

import collections
import pathlib
import xml.etree.ElementTree
from typing import Dict, Iterable, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import PathLike, Problems, counted, read_number
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImageBoxes,
    ImagesByName,
    NamesOfFiles,
    ScoresInGroundTruth,
    add_image,
    files_in,
    number_text,
    place_of,
    read_flag,
    read_stated_size,
)
from shelfdet.data.formats.xml_elements import add_element, lower_tags, note_repeated, xml_text

Element = xml.etree.ElementTree.Element

OTHER_SHAPES = ("polygon", "robndbox", "points")  # that tools write in an <object> without a box
STATED_ONCE = ("name", "bndbox", "difficult", "score")  # in an <object>


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the .xml files of a folder; see ``formats.read``.

    A file without <filename>, or whose <filename> is none of ``image_names``, belongs to the image
    that is named like the file but for the suffix. Where both are there, the file is refused.
    """
    names = NamesOfFiles(image_names)
    scores = ScoresInGroundTruth(problems)
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".xml", "Pascal VOC XML"):
        place_of_file = place_of(file, problems)
        root = _read_xml(file, place_of_file, problems)
        if root is None:
            names.note_unread(file.stem, place_of_file)
            continue
        stated = root.findtext("filename")
        name = names.choose(file.stem, stated, place_of_file, problems)
        if name is None:
            continue
        size_wh = _read_size(root, place_of_file, problems)
        if add_image(images, name, place_of_file, size_wh, problems):
            # Some tools put all into one <objects>.
            elements = list(root.iter("object"))
            _note_boxes_outside(root, elements, place_of_file, problems)
            for number, element in enumerate(elements, start=1):
                place = f"{place_of_file}: object {number}"
                if not scored:
                    scores.note(element.findtext("score"), place)
                row = _read_object(element, place, scored, problems)
                if row is not None:
                    images[name].rows.append(row)
    names.finish("<filename>", problems)
    names.add_unread(images)
    scores.finish()
    return images


def write(images: Iterable[ImageBoxes], folder: PathLike) -> None:
    """Writes images with sizes and their boxes, one .xml file an image, as LabelImg writes them.

    Args:
      images: what to write; rows that are no boxes are left out. Rows with scores get a <score>.
      folder: target, which need not exist. Each file is written completely or not at all.

    Raises:
      UserError: two images differ in their suffix alone, so that their files have one name.
    """
    folder = pathlib.Path(folder)
    images = list(images)
    first: Dict[str, str] = {}
    for image in images:
        stem = pathlib.PurePath(image.filename).stem
        other = first.setdefault(stem.lower(), image.filename)
        if other != image.filename:
            raise UserError(
                f"{folder}: {other} and {image.filename} differ in their suffix alone; expected "
                "different names without it, because each image has one .xml file. Rename one."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        root = xml.etree.ElementTree.Element("annotation")
        add_element(root, "filename", image.filename)
        size = add_element(root, "size")
        for name, side in zip(("width", "height", "depth"), tuple(image.size_wh) + (3,)):
            add_element(size, name, str(int(side)))
        add_element(root, "segmented", "0")
        for row in image.rows:
            if not row.left_out:
                _write_object(root, row)
        stem = pathlib.PurePath(image.filename).stem
        files.write_text(folder / f"{stem}.xml", xml_text(root, declaration=False))


def _write_object(root: Element, row: BoxRow) -> None:
    element = add_element(root, "object")
    add_element(element, "name", row.label)
    if row.score is not None:
        add_element(element, "score", repr(float(row.score)))
    add_element(element, "pose", "Unspecified")
    add_element(element, "truncated", "0")
    add_element(element, "difficult", str(int(row.difficult)))
    box = add_element(element, "bndbox")
    for name, side in zip(BOX_COLUMNS, row.box_xyxy):
        add_element(box, name, number_text(side))


def _read_xml(file: pathlib.Path, place: str, problems: Problems) -> Optional[Element]:
    try:
        root = xml.etree.ElementTree.fromstring(file.read_bytes())
    except (OSError, SyntaxError, ValueError, LookupError) as error:
        # ParseError is a SyntaxError; an unknown encoding raises LookupError or ValueError.
        problems.add(
            place, f"is no complete XML ({error}); expected Pascal VOC XML. Save it again."
        )
        return None
    lower_tags(root)
    if root.tag != "annotation":
        problems.add(
            place,
            f"the outermost element is <{root.tag}>{_kind_of(root)}; expected <annotation> of "
            "Pascal VOC XML. Export it as Pascal VOC.",
        )
        return None
    note_repeated(root, ("filename", "size"), place, problems)
    return root


def _note_boxes_outside(
    root: Element, objects: Sequence[Element], place: str, problems: Problems
) -> None:
    """Notes boxes in elements of another name than <object>, which would be dropped unnamed."""
    inside = sum(len(list(element.iter("bndbox"))) for element in objects)
    outside = len(list(root.iter("bndbox"))) - inside
    if outside:
        problems.add(
            place,
            f"{counted(outside, '<bndbox> is', '<bndbox> are')} in no <object>; expected each in "
            "an <object> of its own. Rename the elements around them.",
        )


def _kind_of(root: Element) -> str:
    """What another kind of XML is, for a message; empty where it is not known."""
    if root.tag == "annotations" and root.find("image") is not None:
        return " (CVAT for images)"
    return ""


def _read_size(root: Element, place: str, problems: Problems) -> Optional[Tuple[int, int]]:
    size = root.find("size")
    if size is None:
        return None
    width, height = size.findtext("width"), size.findtext("height")
    return read_stated_size(width, height, f"{place}: <size>", problems)


def _read_object(
    element: Element, place: str, scored: bool, problems: Problems
) -> Optional[BoxRow]:
    """The box of one <object>, or None after noting a problem."""
    sides_in_box = tuple(f"bndbox/{side}" for side in BOX_COLUMNS)
    if note_repeated(element, STATED_ONCE + sides_in_box, place, problems):
        return None
    sides = [element.findtext(side) for side in sides_in_box]
    if None in sides:
        missing = BOX_COLUMNS[sides.index(None)]
        other = next((tag for tag in OTHER_SHAPES if element.find(tag) is not None), None)
        found = f", but <{other}>" if other else ""
        problems.add(
            place,
            f"no <bndbox> with <{missing}>{found}; expected a box. Write its corners.",
        )
        return None
    values = [
        read_number(value, f"<{side}>", place, problems) for side, value in zip(BOX_COLUMNS, sides)
    ]
    score = None
    if scored:
        score = read_number(element.findtext("score"), "<score>", place, problems)
        values.append(score)
    difficult = read_flag(element.findtext("difficult"), "<difficult>", place, problems)
    values.append(difficult)
    if None in values:
        return None
    label = (element.findtext("name") or "").strip()
    return BoxRow(place, label, tuple(values[:4]), score, difficult=difficult)
