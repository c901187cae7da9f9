"""Marks: boxes that `make suspects` adds to annotations where a person should take a second look.

Their names stand in place of a class, because a class is the only thing that every labelling tool
shows. They are no labels: ``formats.read`` leaves them out of ground truth.
"""

import collections

from shelfdet.data.formats.image_boxes import ImageBoxes, ImagesByName

MISSING = "suspect_missing"  # a product may lack its label
NOT_DETECTED = "suspect_not_detected"  # nothing was detected at a label
PLACEMENT = "suspect_placement"  # a detection lies elsewhere than the label
CLASS = "suspect_class"  # the label may be of another class
DUPLICATE = "suspect_duplicate"  # one of two labels of one product
ALL = (MISSING, NOT_DETECTED, PLACEMENT, CLASS, DUPLICATE)

LEFT_OUT = "marks of `make suspects`"


def left_out(images: ImagesByName) -> ImagesByName:
    """Images of ground truth, with their marks as what they are: no boxes of products."""
    return collections.OrderedDict((name, left_out_of(image)) for name, image in images.items())


def left_out_of(image: ImageBoxes) -> ImageBoxes:
    """The same of one image."""
    if not any(row.label in ALL for row in image.rows):
        return image
    return image._replace(
        rows=[row._replace(left_out=LEFT_OUT) if row.label in ALL else row for row in image.rows]
    )
