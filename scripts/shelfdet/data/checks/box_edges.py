"""Whether boxes fit the edges in their images, or fit them better upside down or mirrored.

Coordinates measured from the lower border are inside the image and have the right order, so that no
rule for boxes finds them. But products have edges where their boxes end: measured on real
photographs of shelves, the borders of boxes are on stronger edges than those of the same boxes
upside down in 99 of 100 images, 1.6 times as strong in the median; mirrored, 1.4 times.
"""

import pathlib
from typing import List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet.core import parallel
from shelfdet.data import images
from shelfdet.data.labels import LabelledImage

MOST_IMAGES = 48  # that are examined
FEWEST_IMAGES = 5  # a report on fewer is chance
MAX_SIDE = 512  # to which images are shrunk
TOLERANCE = 3  # how far from its edge the border of a box may be, in pixels of the shrunk image
LEAST_STRENGTH = 2.0  # grey levels; an image without edges says nothing
# For a report: the share of images in which the boxes fit better, and the median ratio.
LEAST_SHARE = 0.9
LEAST_RATIO = 1.2

Flip = Tuple[bool, bool]  # of x, of y
AS_READ = (False, False)


class Reading(NamedTuple):
    """Another way to read the boxes. ``fits``: how they fit better; ``cause``: the likely one."""

    flip: Flip
    fits: str
    cause: str


READINGS = (
    Reading((False, True), "upside down", "y seems to be measured from the lower border"),
    Reading((True, False), "mirrored", "x seems to be measured from the right border"),
    Reading(
        (True, True),
        "rotated by 180 degrees",
        "they seem to be drawn in a viewer that applies, or ignores, the EXIF orientation (EXIF=)",
    ),
)


def report(
    labelled: Sequence[LabelledImage],
    image_paths: Mapping[str, pathlib.Path],
    exif: str = "ignore",
) -> List[str]:
    """A warning where boxes fit the edges in their images better in another way; else nothing.

    It is a warning and no error, since images of one fixed camera may all have stronger edges where
    there is no product.

    Args:
      labelled: the labelled images; some of them are examined.
      image_paths: file name to path.
      exif: as in ``images.load``.

    Raises:
      UserError: an image cannot be decoded.
    """
    with_boxes = [image for image in labelled if len(image.classes)]
    chosen = with_boxes[:: max(1, -(-len(with_boxes) // MOST_IMAGES))]
    if len(chosen) < FEWEST_IMAGES:
        return []
    with parallel.Workers() as workers:
        tasks = ((image_paths[image.filename], image, exif) for image in chosen)
        strengths = np.array(list(workers.map(edge_strengths, tasks)))
    strengths = strengths[strengths.max(axis=1) >= LEAST_STRENGTH]
    if len(strengths) < FEWEST_IMAGES:
        return []
    ratios = strengths[:, 1:] / np.maximum(strengths[:, :1], LEAST_STRENGTH / 2)
    medians = np.median(ratios, axis=0)
    best = int(medians.argmax())
    better = int((ratios[:, best] > 1).sum())
    if better < LEAST_SHARE * len(ratios) or medians[best] < LEAST_RATIO:
        return []
    reading = READINGS[best]
    return [
        f"warning: in {better} of {len(ratios)} images the boxes fit better {reading.fits}: their "
        f"borders are on edges that are {medians[best]:.1f} times as strong; {reading.cause}. "
        "Expected pixels from the upper left corner, x to the right and y down. Open some images "
        "in the tool that drew the boxes, compare them, and export them again if that is so."
    ]


def edge_strengths(path: pathlib.Path, image: LabelledImage, exif: str) -> np.ndarray:
    """How strong the edges are at the borders of boxes: as read, then by each of READINGS.

    Raises:
      UserError: the image cannot be decoded.
    """
    pixels = images.load(path, MAX_SIDE, exif).pixels
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float32)
    along_y = _widened(np.abs(np.diff(grey, axis=0)))
    along_x = _widened(np.abs(np.diff(grey, axis=1)).T)
    shown_wh = np.array(grey.shape[::-1])
    boxes_xyxy = image.boxes_xyxy * np.tile(shown_wh / np.array(image.size_wh), 2)
    flips = [AS_READ] + [reading.flip for reading in READINGS]
    strengths = []
    for flip in flips:
        flipped = _flipped(boxes_xyxy, shown_wh, flip)
        turned = flipped[:, [1, 0, 3, 2]]
        strengths.append(np.mean([_mean_at(along_y, flipped), _mean_at(along_x, turned)]))
    return np.array(strengths)


def _widened(edges: np.ndarray) -> np.ndarray:
    """The strongest of each value and those up to TOLERANCE rows above and below it."""
    rows = len(edges)
    padded = np.pad(edges, ((TOLERANCE, TOLERANCE), (0, 0)), mode="constant")
    return np.max([padded[shift : shift + rows] for shift in range(2 * TOLERANCE + 1)], axis=0)


def _flipped(boxes_xyxy: np.ndarray, size_wh: np.ndarray, flip: Flip) -> np.ndarray:
    flipped = boxes_xyxy.copy()
    for axis in (0, 1):
        if flip[axis]:
            flipped[:, [axis, axis + 2]] = size_wh[axis] - boxes_xyxy[:, [axis + 2, axis]]
    return flipped


def _mean_at(edges: np.ndarray, boxes_xyxy: np.ndarray) -> float:
    """The mean of ``edges``, those between two rows of pixels, at the upper and lower borders."""
    rows, columns = edges.shape
    means = []
    for left, top, right, bottom in boxes_xyxy:
        first = int(np.clip(left, 0, columns - 1))
        last = int(np.clip(right, first + 1, columns))
        for border in (top, bottom):
            row = int(np.clip(round(border) - 1, 0, rows - 1))
            means.append(edges[row, first:last].mean())
    return float(np.mean(means))
