"""Pascal VOC XML, as LabelImg writes it: a folder with one .xml file an image.

The encoding is the one that the XML declares. Detections have a <score> in each <object>.
"""

import collections
import pathlib
import xml.etree.ElementTree
from typing import Dict, Iterable, List, Optional

from shelfdet.core.text import PathLike, Problems, parse_number, read_number
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImagesByName,
    add_image,
    base_name,
    files_in,
    names_by_stem,
    read_name,
    read_stated_size,
)

Element = xml.etree.ElementTree.Element


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the .xml files of a folder; see ``formats.read``.

    A file without <filename>, or whose <filename> is none of ``image_names``, belongs to the image
    that is named like the file but for the suffix.
    """
    known = set(image_names)
    by_stem = names_by_stem(known)
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".xml", "Pascal VOC XML"):
        root = _read_xml(file, problems)
        if root is None:
            continue
        name = read_name(_image_name(root, file, known, by_stem), file.name, problems)
        if name is None:
            continue
        width = root.findtext("size/width")
        height = root.findtext("size/height")
        size_wh = read_stated_size(width, height, file.name, problems)
        if add_image(images, name, file.name, size_wh, problems):
            images[name].rows.extend(_read_objects(root, file.name, scored, problems))
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
            f"the outermost element is <{root.tag}>; expected <annotation> of Pascal VOC XML. "
            "Delete the file or export it again.",
        )
        return None
    return root


def _image_name(
    root: Element, file: pathlib.Path, known: Iterable[str], by_stem: Dict[str, List[str]]
) -> str:
    name = base_name(root.findtext("filename") or "") or file.stem
    named_like_file = by_stem.get(file.stem, ())
    if name not in known and len(named_like_file) == 1:
        # LabelImg keeps the old <filename> where an image and its XML are renamed together.
        return named_like_file[0]
    return name


def _read_objects(
    root: Element, file_name: str, scored: bool, problems: Problems
) -> Iterable[BoxRow]:
    for number, element in enumerate(root.findall("object"), start=1):
        place = f"{file_name}: object {number}"
        sides = [element.findtext(f"bndbox/{side}") for side in BOX_COLUMNS]
        if None in sides:
            missing = BOX_COLUMNS[sides.index(None)]
            problems.add(
                place,
                f"no <bndbox> with <{missing}>; expected a box. Correct or delete the object.",
            )
            continue
        values = [
            read_number(value, f"<{side}>", place, problems)
            for side, value in zip(BOX_COLUMNS, sides)
        ]
        score = None
        if scored:
            score = read_number(element.findtext("score"), "<score>", place, problems)
            values.append(score)
        if None not in values:
            label = (element.findtext("name") or "").strip()
            difficult = parse_number(element.findtext("difficult")) == 1
            yield BoxRow(place, label, tuple(values[:4]), score, difficult=difficult)
