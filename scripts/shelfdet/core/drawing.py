"""Boxes drawn on images: each meaning has its own colour and its own line, so that no reading rests on colour alone.

The colours are those of Okabe and Ito's palette for colour-blind readers (https://jfly.uni-koeln.de/color/); each line
has a rim, so that it stands out on light and on dark goods. Lines and letters grow with the image.
"""

import collections
import importlib.util
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shelfdet.core import boxes

Style = collections.namedtuple("Style", "colour rim dashes meaning")
Style.__doc__ = """How boxes of one meaning look.

colour, rim: "#rrggbb" of the line and of what sets it off. dashes: lengths of dash and gap in line widths, () for a
solid line.
meaning: the legend's word."""

HIT = Style("#56B4E9", "#000000", (), "hits")
MISS = Style("#F0E442", "#000000", (5, 3), "missed")
FALSE_ALARM = Style("#D55E00", "#ffffff", (2, 1.5), "false alarms")
DETECTION = Style("#56B4E9", "#000000", (), "found")
COVERED = Style("#56B4E9", "#000000", (), "covered by an anchor")
UNCOVERED = Style("#E69F00", "#000000", (5, 3), "not covered")

STRIP = "#1b1b1b"  # dark, because yellow and sky blue cannot be told from white
STRIP_TEXT = "#ffffff"


def draw_coverage(pixels, covered_xyxy, uncovered_xyxy, boxes_wh=None, title=""):
    """The image with its ground truth: boxes that some anchor covers, and the others. Arguments as ``draw``."""
    return draw(pixels, [(COVERED, covered_xyxy), (UNCOVERED, uncovered_xyxy)], boxes_wh, title)


def draw_detections(pixels, boxes_xyxy, boxes_wh=None, title=""):
    """The image with what a detector found, right or wrong. Arguments as ``draw``."""
    return draw(pixels, [(DETECTION, boxes_xyxy)], boxes_wh, title)


def draw(pixels, groups, boxes_wh=None, title=""):
    """The image with groups of boxes and a legend strip under it.

    Args:
      pixels: uint8 RGB of shape (height, width, 3).
      groups: list of (Style, boxes_xyxy of shape (N, 4)), drawn in this order.
      boxes_wh: size of the frame that the boxes are in, where ``pixels`` is a shrunk copy; None for the frame of
        ``pixels``.
      title: words before the legend, the image's name for instance.

    Returns:
      PIL.Image, as wide as ``pixels`` and a strip higher; the legend names each meaning with its count.
    """
    image = Image.fromarray(np.asarray(pixels)).convert("RGB")
    brush = ImageDraw.Draw(image)
    width = line_width(image.size)
    rim = max(1, width // 2)
    scaled = [
        (style, box_xyxy)
        for style, boxes_xyxy in groups
        for box_xyxy in boxes.scale(boxes_xyxy, boxes_wh or image.size, image.size)
    ]
    # All rims first: shelves are crowded, and a rim must not hide its neighbour's line.
    for style, box_xyxy in scaled:
        _draw_box(brush, box_xyxy, style.rim, style.dashes, width, width + 2 * rim)
    for style, box_xyxy in scaled:
        _draw_box(brush, box_xyxy, style.colour, style.dashes, width, width)
    return _with_legend(
        image, [(style, len(boxes_xyxy)) for style, boxes_xyxy in groups], title, width
    )


def line_width(size_wh):
    """The width in pixels of a box's line: 1 in a thumbnail, 3 at 1024 pixels, 8 in a photograph of 3264."""
    return max(1, int(round(max(size_wh) / 400.0)))


def _draw_box(brush, box_xyxy, colour, dashes, width, thickness):
    xmin, ymin, xmax, ymax = box_xyxy
    corners = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:]):
        for start, end in _dashes(np.hypot(x1 - x0, y1 - y0), dashes, width):
            longer = (
                thickness if not dashes else thickness - width
            ) / 2.0  # a solid line closes its corners
            _draw_line(brush, (x0, y0), (x1, y1), start - longer, end + longer, colour, thickness)


def _dashes(length, dashes, width):
    """(start, end) of each dash along a side of ``length`` pixels; both its ends are covered, so that corners close."""
    if not dashes or length <= dashes[0] * width:
        return [(0.0, length)]
    dash, period = dashes[0] * width, sum(dashes) * width
    count = max(1, int(round((length - dash) / period)))
    starts = np.linspace(0.0, length - dash, count + 1)
    return [(start, start + dash) for start in starts]


def _draw_line(brush, origin, target, start, end, colour, thickness):
    # All lines are level or upright, so a dash is a rectangle: Pillow's own wide lines lean by a pixel.
    (x0, y0), (x1, y1) = origin, target
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


def _with_legend(image, entries, title, width):
    """``image`` with a strip under it: the title, then a piece of each style's line with its word and its count."""
    size = max(11, int(round(max(image.size) / 60.0)))
    font = _font(size)
    gap, sample, row = size, 3 * size, int(size * 1.8)
    pieces = [(None, title)] if title else []
    pieces += [(style, f"{style.meaning}: {count}") for style, count in entries]
    x, y, placed = gap, 0, []
    for style, text in pieces:
        length = (sample + gap // 2 if style else 0) + font.getlength(text)
        if x > gap and x + length > image.width - gap:
            x, y = gap, y + row
        placed.append((x, y, style, text))
        x += length + 2 * gap
    framed = Image.new("RGB", (image.width, image.height + y + row), STRIP)
    framed.paste(image, (0, 0))
    brush = ImageDraw.Draw(framed)
    for x, y, style, text in placed:
        top = image.height + y
        if style:
            for start, end in _dashes(sample, style.dashes, width):
                _draw_line(
                    brush,
                    (x, top + row / 2),
                    (x + sample, top + row / 2),
                    start,
                    end,
                    style.colour,
                    width,
                )
            x += sample + gap // 2
        brush.text((x, top + row / 2), text, fill=STRIP_TEXT, font=font, anchor="lm")
    return framed


def _font(size):
    # Pillow's own font has one tiny size; matplotlib, one of the pins, brings DejaVu, whose letters reach beyond ASCII.
    matplotlib = pathlib.Path(importlib.util.find_spec("matplotlib").origin).parent
    return ImageFont.truetype(
        str(matplotlib / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )
