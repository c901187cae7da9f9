"""The tables of step 12, and how one image becomes rows of them.

A task gives one row for each image, with its boxes in a list, so that an image is in both tables or
in none. The driver makes the two tables of these rows.
"""

from typing import Any, Dict, List, Optional

import pyarrow

from shelfdet.data import detections, images
from shelfdet.inference import confidence, summaries
from shelfdet.inference.processed_images import ImageResult

BOX = pyarrow.struct(
    [
        ("class", pyarrow.string()),
        ("score", pyarrow.float64()),
        ("xmin", pyarrow.float64()),
        ("ymin", pyarrow.float64()),
        ("xmax", pyarrow.float64()),
        ("ymax", pyarrow.float64()),
    ]
)
# image, bytes and modified are what Spark lists of a file: its URI, size and time of change.
# width, height: pixels before shrinking. products: boxes from the threshold on. confidence, note:
# see inference.confidence and summaries.note. exif_orientation: 1 to 8, 1 is upright.
# error: why there are no boxes; null where the image was read.
RESULT = pyarrow.schema(
    [
        ("image", pyarrow.string()),
        ("bytes", pyarrow.int64()),
        ("modified", pyarrow.timestamp("us", "UTC")),
        ("width", pyarrow.int32()),
        ("height", pyarrow.int32()),
        ("products", pyarrow.int32()),
        ("confidence", pyarrow.float64()),
        ("note", pyarrow.string()),
        ("tiles", pyarrow.string()),
        ("exif_orientation", pyarrow.int32()),
        ("error", pyarrow.string()),
        ("boxes", pyarrow.list_(BOX)),
    ]
)
RESULT_DDL = (
    "image string, bytes bigint, modified timestamp, width int, height int, products int, "
    "confidence double, note string, tiles string, exif_orientation int, error string, "
    "boxes array<struct<class:string,score:double,xmin:double,ymin:double,xmax:double,ymax:double>>"
)
# What the driver lists; the same names as in RESULT
LISTED_DDL = "image string, bytes bigint, modified timestamp"


def row_of(
    result: ImageResult, threshold: float, validated: Optional[confidence.Validated]
) -> Dict[str, Any]:
    """The columns of RESULT of an image, but those that Spark lists.

    Args:
      result: of ``predict.detect_image``.
      threshold: the lowest score of a product.
      validated: the detector's validation images; None where nothing is known of them.
    """
    if result.detections is None:
        return failed(result.problem, result.orientation)
    summary = summaries.summarise(result, threshold)
    width, height = summary.size_wh
    return {
        "width": int(width),
        "height": int(height),
        "products": summary.products,
        "confidence": summary.confidence,
        "note": summaries.note(summary, validated) or None,
        "tiles": str(summary.grid),
        "exif_orientation": summary.orientation,
        "error": None,
        "boxes": _boxes(result),
    }


def failed(problem: str, orientation: int = images.UPRIGHT) -> Dict[str, Any]:
    """The same of an image that could not be processed."""
    row = dict.fromkeys(("width", "height", "products", "confidence", "note", "tiles"))
    return {**row, "exif_orientation": orientation, "error": problem, "boxes": []}


def _boxes(result: ImageResult) -> List[Dict[str, Any]]:
    """The boxes that step 08 writes, in its order: by falling score, without those of no area."""
    found = []
    for box in detections.image_boxes(result.detections).rows:
        xmin, ymin, xmax, ymax = box.box_xyxy
        found.append(
            {
                "class": box.label,
                "score": box.score,
                "xmin": xmin,
                "ymin": ymin,
                "xmax": xmax,
                "ymax": ymax,
            }
        )
    return found
