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
    ratio = float(np.median([width / height for width, height in sizes_wh]))
    if ratio >= OBLONG:
        return list(SQUARES + WIDE)
    if ratio <= 1 / OBLONG:
        return list(SQUARES) + [(height, width) for width, height in WIDE]
    return list(SQUARES)
