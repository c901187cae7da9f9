"""Writes XML with one element a line."""

import xml.etree.ElementTree
from typing import Optional

Element = xml.etree.ElementTree.Element

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'


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
