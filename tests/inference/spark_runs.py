"""What the tests of step 12 share: made images, its tables, and whether Spark can run here."""

import os

import numpy as np
import pyarrow.parquet
from PIL import Image

ORIENTATION = 0x0112  # EXIF's tag
BOX = (40, 30, 120, 150)


def save_image(path, size_wh=(400, 300), box_xyxy=BOX, orientation=None):
    """Saves a black image with one white box, which the toy graph detects."""
    pixels = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    xmin, ymin, xmax, ymax = box_xyxy
    pixels[ymin:ymax, xmin:xmax] = 255
    exif = Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if path.suffix == ".png" else {"quality": 95, "exif": exif}
    Image.fromarray(pixels).save(str(path), **options)


def table(output, name):
    """The rows of a table as dictionaries, read without Spark."""
    return pyarrow.parquet.read_table(str(output / name)).to_pylist()


def boxes_by_image(rows):
    """Image to its boxes by falling score: (class, score, xmin, ymin, xmax, ymax)."""
    found = {}
    for row in rows:
        values = [row[key] for key in ("class", "score", "xmin", "ymin", "xmax", "ymax")]
        found.setdefault(os.path.basename(row["image"]), []).append(tuple(values))
    return {name: sorted(boxes, key=lambda box: -box[1]) for name, boxes in found.items()}
