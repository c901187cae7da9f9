"""Boxes drawn on images, with a legend: each meaning has its own colour and its own line.

The colours are those of Okabe and Ito's palette for colour-blind readers
(https://jfly.uni-koeln.de/color/). Nothing depends on colour alone: solid, dashed and dotted lines
differ too, and classes are told by their names. Each line has a rim, so that it is visible on light
and on dark products. Lines and letters grow with the image.
"""

import collections
import importlib.util
import pathlib
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shelfdet.core import boxes


class Style(NamedTuple):
    """How boxes of one meaning are drawn.

    colour, rim: "#rrggbb" of the line and of the edge around it.
    dashes: lengths of dash and gap in line widths; () is a solid line.
    meaning: the word in the legend.
    """

    colour: str
    rim: str
    dashes: Tuple[float, ...]
    meaning: str


TRUE_POSITIVE = Style("#56B4E9", "#000000", (), "true positives")
FALSE_NEGATIVE = Style("#F0E442", "#000000", (5, 3), "false negatives")
FALSE_POSITIVE = Style("#D55E00", "#ffffff", (2, 1.5), "false positives")
DETECTION = Style("#56B4E9", "#000000", (), "products")
COVERED = Style("#56B4E9", "#000000", (), "covered by an anchor")
UNCOVERED = Style("#E69F00", "#000000", (5, 3), "not covered")

LEGEND_BACKGROUND = "#1b1b1b"  # dark, because yellow and sky blue are hard to see on white
LEGEND_TEXT = "#ffffff"
ELLIPSIS = "\u2026"

Groups = Sequence[Tuple[Style, Sequence[Sequence[float]]]]  # (style, boxes_xyxy (N, 4))
Size = Tuple[int, int]
Point = Tuple[float, float]


class _LegendItem(NamedTuple):
    """A word of the legend; style: whose line is drawn before it, None for the title."""

    style: Optional[Style]
    text: str


def draw_coverage(
    pixels: np.ndarray,
    covered_xyxy: Sequence[Sequence[float]],
    uncovered_xyxy: Sequence[Sequence[float]],
    boxes_wh: Optional[Size] = None,
    title: str = "",
) -> Image.Image:
    """Draws the ground-truth boxes that some anchor covers, and the others.

    Other arguments as in ``draw``.
    """
    return draw(pixels, [(COVERED, covered_xyxy), (UNCOVERED, uncovered_xyxy)], boxes_wh, title)


def draw_detections(
    pixels: np.ndarray,
    boxes_xyxy: Sequence[Sequence[float]],
    boxes_wh: Optional[Size] = None,
    title: str = "",
    names: Sequence[str] = (),
    note: str = "",
) -> Image.Image:
    """Draws detections; ``names``: of the class of each. Other arguments as in ``draw``."""
    return draw(pixels, [(DETECTION, boxes_xyxy)], boxes_wh, title, names, note)


def draw(
    pixels: np.ndarray,
    groups: Groups,
    boxes_wh: Optional[Size] = None,
    title: str = "",
    names: Sequence[str] = (),
    note: str = "",
) -> Image.Image:
    """Draws groups of boxes on an image, with a legend under it.

    Args:
      pixels: uint8 RGB of shape (height, width, 3).
      groups: (Style, boxes_xyxy of shape (N, 4)), drawn in this order.
      boxes_wh: (width, height) of the frame that the boxes are in, where ``pixels`` is a smaller
        copy; None for the frame of ``pixels``.
      title: words before the legend, for instance the image's name.
      names: text for each box of all groups, in their order, for its upper left corner; the legend
        has the number of each. Empty for none.
      note: words at the end of the legend.

    Returns:
      Image as wide as ``pixels`` and higher by the legend, which has the number of boxes of each
      meaning.
    """
    image = Image.fromarray(np.asarray(pixels)).convert("RGB")
    brush = ImageDraw.Draw(image)
    width = line_width(image.size)
    rim = max(1, width // 2)
    scaled = []
    for style, boxes_xyxy in groups:
        for box_xyxy in boxes.scale(boxes_xyxy, boxes_wh or image.size, image.size):
            scaled.append((style, box_xyxy))
    # All rims first: products are close together, and a rim must not hide its neighbour's line.
    for style, box_xyxy in scaled:
        _draw_box(brush, box_xyxy, style.rim, style.dashes, width, width + 2 * rim)
    for style, box_xyxy in scaled:
        _draw_box(brush, box_xyxy, style.colour, style.dashes, width, width)
    font = _font(max(10, int(round(max(image.size) / 75.0))))
    for (_, box_xyxy), name in zip(scaled, names):
        _draw_name(brush, box_xyxy, name, font, width)

    items = [_LegendItem(None, title)] if title else []
    for style, boxes_xyxy in groups:
        items.append(_LegendItem(style, f"{style.meaning}: {len(boxes_xyxy)}"))
    for name, count in collections.Counter(names).most_common():
        items.append(_LegendItem(None, f"{name}: {count}"))
    if note:
        items.append(_LegendItem(None, note))
    return _add_legend(image, items, width)


def line_width(size_wh: Size) -> int:
    """The width in pixels of a box's line: 1 at 400 pixels, 3 at 1024, 8 at 3264."""
    return max(1, int(round(max(size_wh) / 400.0)))


def _draw_box(
    brush: ImageDraw.ImageDraw,
    box_xyxy: Sequence[float],
    colour: str,
    dashes: Sequence[float],
    width: int,
    thickness: int,
) -> None:
    """Draws one box; ``width`` is the unit of ``dashes``, ``thickness`` that of the line drawn."""
    xmin, ymin, xmax, ymax = box_xyxy
    corners = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]
    # A solid line is longer by half its thickness at each end, which closes the corners; a dash is
    # longer by its rim alone, or the gaps would close.
    overhang = (thickness if not dashes else thickness - width) / 2.0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:]):
        for start, end in _dash_spans(np.hypot(x1 - x0, y1 - y0), dashes, width):
            _draw_line(
                brush, (x0, y0), (x1, y1), start - overhang, end + overhang, colour, thickness
            )


def _draw_name(
    brush: ImageDraw.ImageDraw,
    box_xyxy: Sequence[float],
    name: str,
    font: ImageFont.FreeTypeFont,
    width: int,
) -> None:
    """Writes ``name`` inside the upper left corner of a box, on a dark ground.

    It is shortened to the box's width, since a neighbour's name may be beside it.

    Args:
      width: of the box's line, in pixels.
    """
    xmin, ymin, xmax, _ = box_xyxy
    room = xmax - xmin - 3 * width
    shown = name
    while shown and font.getlength(shown) > room:
        shown = shown[:-2] + ELLIPSIS if len(shown) > 2 else ""
    if not shown:
        return
    left, top = int(round(xmin + width)), int(round(ymin + width))
    right, bottom = left + font.getlength(shown) + width, top + sum(font.getmetrics())
    brush.rectangle([left, top, right, bottom], fill=LEGEND_BACKGROUND)
    brush.text((left + width / 2, top), shown, fill=LEGEND_TEXT, font=font, anchor="la")


def _dash_spans(length: float, dashes: Sequence[float], width: int) -> List[Tuple[float, float]]:
    """(start, end) of each dash along a side of ``length`` pixels; the first and last reach its
    ends."""
    if not dashes or length <= dashes[0] * width:
        return [(0.0, length)]
    dash = dashes[0] * width
    period = sum(dashes) * width
    count = max(1, int(round((length - dash) / period)))
    starts = np.linspace(0.0, length - dash, count + 1)
    return [(start, start + dash) for start in starts]


def _draw_line(
    brush: ImageDraw.ImageDraw,
    origin: Point,
    target: Point,
    start: float,
    end: float,
    colour: str,
    thickness: int,
) -> None:
    """Draws the part from ``start`` to ``end`` (pixels) of a horizontal or vertical line.

    As a rectangle, because Pillow's own wide lines are off by a pixel.
    """
    x0, y0 = origin
    x1, y1 = target
    length = max(np.hypot(x1 - x0, y1 - y0), 1e-9)
    xs = sorted(x0 + (x1 - x0) * along / length for along in (start, end))
    ys = sorted(y0 + (y1 - y0) * along / length for along in (start, end))
    half = thickness / 2.0
    if abs(x1 - x0) >= abs(y1 - y0):
        ys = [ys[0] - half, ys[1] + half]
    else:
        xs = [xs[0] - half, xs[1] + half]
    left, top, right, bottom = (int(round(value)) for value in (xs[0], ys[0], xs[1], ys[1]))
    brush.rectangle([left, top, max(left, right - 1), max(top, bottom - 1)], fill=colour)


def _add_legend(image: Image.Image, items: Sequence[_LegendItem], width: int) -> Image.Image:
    """``image`` with a strip under it that holds ``items``, each after a piece of its line."""
    size = max(11, int(round(max(image.size) / 60.0)))
    font = _font(size)
    gap = size
    sample = 3 * size
    row_height = int(size * 1.8)

    x = gap
    y = image.height
    placed = []
    for item in items:
        length = font.getlength(item.text)
        if item.style:
            length += sample + gap // 2
        if x > gap and x + length > image.width - gap:
            x = gap
            y += row_height
        placed.append((x, y + row_height / 2, item))
        x += length + 2 * gap

    framed = Image.new("RGB", (image.width, y + row_height), LEGEND_BACKGROUND)
    framed.paste(image, (0, 0))
    brush = ImageDraw.Draw(framed)
    for x, middle, (style, text) in placed:
        if style:
            for start, end in _dash_spans(sample, style.dashes, width):
                _draw_line(
                    brush, (x, middle), (x + sample, middle), start, end, style.colour, width
                )
            x += sample + gap // 2
        brush.text((x, middle), text, fill=LEGEND_TEXT, font=font, anchor="lm")
    return framed


def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font has one tiny size. matplotlib, which is installed, brings DejaVu, whose
    # letters reach beyond ASCII.
    matplotlib = pathlib.Path(importlib.util.find_spec("matplotlib").origin).parent
    font = matplotlib / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(font), size)
