"""Pascal VOC XML, as LabelImg writes it: a folder with one .xml file an image.

The encoding is the one that the XML declares. Detections have a <score> in each <object>.
"""

import collections
import pathlib
import xml.etree.ElementTree
from typing import Iterable, Optional, Tuple

from shelfdet.core.text import PathLike, Problems, read_number
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImagesByName,
    NamesOfFiles,
    ScoresInGroundTruth,
    add_image,
    files_in,
    read_flag,
    read_stated_size,
)

Element = xml.etree.ElementTree.Element

OTHER_SHAPES = ("polygon", "robndbox", "points")  # that tools write in an <object> without a box


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
        root = _read_xml(file, problems)
        if root is None:
            continue
        stated = root.findtext("filename")
        name = names.choose(file.stem, stated, file.name, problems)
        if name is None:
            continue
        size_wh = _read_size(root, file.name, problems)
        if add_image(images, name, file.name, size_wh, problems):
            for number, element in enumerate(root.findall("object"), start=1):
                place = f"{file.name}: object {number}"
                if not scored:
                    scores.note(element.findtext("score"), place)
                row = _read_object(element, place, scored, problems)
                if row is not None:
                    images[name].rows.append(row)
    names.finish("<filename>", problems)
    scores.finish()
    return images


def _read_xml(file: pathlib.Path, problems: Problems) -> Optional[Element]:
    try:
        root = xml.etree.ElementTree.fromstring(file.read_bytes())
    except (OSError, SyntaxError, ValueError, LookupError) as error:
        # ParseError is a SyntaxError; an unknown encoding raises LookupError or ValueError.
        problems.add(
            file.name, f"is no complete XML ({error}); expected Pascal VOC XML. Save it again."
        )
        return None
    if root.tag != "annotation":
        problems.add(
            file.name,
            f"the outermost element is <{root.tag}>{_kind_of(root)}; expected <annotation> of "
            "Pascal VOC XML. Export it as Pascal VOC.",
        )
        return None
    return root


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
    sides = [element.findtext(f"bndbox/{side}") for side in BOX_COLUMNS]
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
