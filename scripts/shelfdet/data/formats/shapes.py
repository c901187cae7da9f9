"""The boxes of shapes that are no upright rectangles: the smallest upright box around each."""

import math
from typing import Iterable, Sequence, Tuple

Box = Tuple[float, float, float, float]  # xmin, ymin, xmax, ymax
Point = Tuple[float, float]  # x, y


def around(points: Iterable[Point]) -> Box:
    """The box around points, of which there is at least one."""
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def around_rotated(box_xyxy: Sequence[float], degrees: float, pivot: Point) -> Box:
    """The box around a rectangle that was rotated.

    Args:
      box_xyxy: the rectangle before it is rotated.
      degrees: clockwise, as it is seen: y points down.
      pivot: the point that it is rotated about.
    """
    xmin, ymin, xmax, ymax = box_xyxy
    # Exactly, without the rounding of a sine. An inverted box is one for the checks to refuse.
    if degrees == 0 or xmax < xmin or ymax < ymin:
        return xmin, ymin, xmax, ymax
    cosine = math.cos(math.radians(degrees))
    sine = math.sin(math.radians(degrees))
    turned = []
    for x, y in ((xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)):
        right, down = x - pivot[0], y - pivot[1]
        turned.append(
            (pivot[0] + right * cosine - down * sine, pivot[1] + right * sine + down * cosine)
        )
    return around(turned)


def around_ellipse(centre: Point, radii: Point, degrees: float) -> Box:
    """The box around an ellipse with radii along x and y that was rotated about its centre.

    With a negative radius it is inverted, so that the checks refuse it.
    """
    x, y = centre
    if min(radii) < 0:
        return x - radii[0], y - radii[1], x + radii[0], y + radii[1]
    cosine = math.cos(math.radians(degrees))
    sine = math.sin(math.radians(degrees))
    half_width = math.hypot(radii[0] * cosine, radii[1] * sine)
    half_height = math.hypot(radii[0] * sine, radii[1] * cosine)
    return x - half_width, y - half_height, x + half_width, y + half_height
