"""Suspects as marks in the annotations of their images, for a labelling tool.

The labels stay as they are. A mark is a box more, of a class of its own: around the label, or where
the detector sees the product. A person draws or corrects what is wrong and deletes the marks;
`make data` leaves out those that are left.
"""

import collections
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes
from shelfdet.data.classes import PRODUCT
from shelfdet.data.formats import BoxRow, ImageBoxes, marks
from shelfdet.data.label_places import LabelPlaces
from shelfdet.evaluation import suspects
from shelfdet.evaluation.suspects import Suspect

NAMES = {
    suspects.NO_LABEL: marks.MISSING,
    suspects.NO_DETECTION: marks.NOT_DETECTED,
    suspects.BADLY_PLACED: marks.PLACEMENT,
    suspects.OTHER_CLASS: marks.CLASS,
    suspects.DUPLICATE: marks.DUPLICATE,
}
# Marks of these are where the detector sees the product: their box can become the label.
WHERE_DETECTED = (suspects.NO_LABEL, suspects.BADLY_PLACED)
# The others are around the label, wider by this share of each side and these pixels at least, so
# that both lines are seen and each can be clicked.
WIDER = 0.04
WIDER_PX = 3

Size = Tuple[int, int]


def marked_images(
    found: Iterable[Suspect], places: LabelPlaces, sizes_wh: Dict[str, Size]
) -> List[ImageBoxes]:
    """The images that have suspects, with their labels and a mark for each suspect.

    Args:
      found: the suspects.
      places: the annotations.
      sizes_wh: name of each image to its size.

    Returns:
      the images by name; boxes in pixels.
    """
    by_image = collections.defaultdict(list)
    for suspect in found:
        by_image[suspect.filename].append(suspect)
    images = []
    for name in sorted(by_image):
        annotated = places.images.get(name)
        # A region of many products (crowd) would become a product in most formats.
        labels = [
            row._replace(label=row.label or PRODUCT)
            for row in (annotated.rows if annotated else ())
            if not row.left_out and not row.crowd
        ]
        drawn = [_mark(suspect, sizes_wh[name]) for suspect in by_image[name]]
        images.append(ImageBoxes(name, "", sizes_wh[name], labels + drawn))
    return images


def class_list(images: Iterable[ImageBoxes], classes: Sequence[str]) -> List[str]:
    """The classes in their order, and then the marks that the images have."""
    used = {row.label for image in images for row in image.rows}
    return [name for name in classes if name not in marks.ALL] + [
        name for name in marks.ALL if name in used
    ]


def _mark(suspect: Suspect, size_wh: Size) -> BoxRow:
    if suspect.reason in WHERE_DETECTED:
        assert suspect.detection_xyxy is not None
        box_xyxy = np.array(suspect.detection_xyxy)
    else:
        xmin, ymin, xmax, ymax = suspect.box_xyxy
        more_x = max(WIDER_PX, WIDER * (xmax - xmin))
        more_y = max(WIDER_PX, WIDER * (ymax - ymin))
        box_xyxy = np.array([xmin - more_x, ymin - more_y, xmax + more_x, ymax + more_y])
    inside = boxes.clip(np.rint(box_xyxy)[None], size_wh)[0]
    return BoxRow("", NAMES[suspect.reason], tuple(inside.tolist()))
