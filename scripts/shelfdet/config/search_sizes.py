"""The input sizes that are compared for a dataset."""

from typing import List, Sequence, Tuple

import numpy as np

Size = Tuple[int, int]  # (width, height) in pixels

# In multiples of 32, the stride of the second feature map. The largest takes about 1.6 times as
# many operations as the included detectors, which train in an hour on one CPU core.
SQUARES = ((320, 320), (416, 416), (512, 512), (640, 640))
WIDE = ((512, 384), (640, 480))
# From this ratio of the sides on, an image is not nearly square. The photographs of most cameras
# have 4:3.
OBLONG = 1.15


def for_images(sizes_wh: Sequence[Size]) -> List[Size]:
    """Squares, and 4:3 or 3:4 where most images are wide or high."""
    if 1 / OBLONG < _median_ratio(sizes_wh) < OBLONG:
        return list(SQUARES)
    return list(SQUARES) + turned(WIDE, sizes_wh)


def turned(inputs_wh: Sequence[Size], sizes_wh: Sequence[Size]) -> List[Size]:
    """Input sizes, those that are wide turned upright where most images are higher than wide."""
    if _median_ratio(sizes_wh) > 1 / OBLONG:
        return list(inputs_wh)
    return [(height, width) for width, height in inputs_wh]


def _median_ratio(sizes_wh: Sequence[Size]) -> float:
    """Width by height."""
    return float(np.median([width / height for width, height in sizes_wh]))
