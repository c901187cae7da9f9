"""What the formats of XML have in common: tags in any case, and writing one element a line."""

import xml.etree.ElementTree
from typing import Iterable, Optional

from shelfdet.core.text import Problems

Element = xml.etree.ElementTree.Element

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'


def lower_tags(root: Element) -> None:
    """Makes all tags lower case: one of another case would be read as if it were not there."""
    for element in root.iter():
        element.tag = element.tag.lower()


def note_repeated(element: Element, paths: Iterable[str], place: str, problems: Problems) -> bool:
    """Whether some part of an element is there several times, where its reader takes one.

    Args:
      element: the element.
      paths: of its parts, as ``Element.findall`` takes them.
      place, problems: as in ``Problems.add``; each such part is noted.
    """
    repeated = [path for path in paths if len(element.findall(path)) > 1]
    for path in repeated:
        tag = path.split("/")[-1]
        problems.add(
            place,
            f"{len(element.findall(path))} <{tag}> in one <{element.tag}>; expected one. Give each "
            f"box an <object> of its own, or delete what is too much.",
        )
    return bool(repeated)


def add_element(
    parent: Element, tag: str, text: Optional[str] = None, **attributes: str
) -> Element:
    """Adds an element with text and attributes to another, and returns it."""
    element = xml.etree.ElementTree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def xml_text(root: Element, declaration: bool = True) -> str:
    """The text of XML, to be written as UTF-8; ``declaration`` states that at its start."""
    _indent(root)
    content = xml.etree.ElementTree.tostring(root, encoding="unicode")
    return f"{DECLARATION if declaration else ''}{content}\n"


def _indent(element: Element, depth: int = 0) -> None:
    """Puts every element on a line of its own; Python 3.7 has no ElementTree.indent."""
    children = list(element)
    if children:
        element.text = "\n" + "  " * (depth + 1)
    for child in children:
        _indent(child, depth + 1)
        child.tail = "\n" + "  " * (depth + 1 if child is not children[-1] else depth)
