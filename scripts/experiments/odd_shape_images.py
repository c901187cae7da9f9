"""Images of shapes that training does not show: turned photographs and single rows of products."""

import pathlib
from typing import Iterable, List, Tuple

import numpy as np
from PIL import Image

from shelfdet.data import images
from shelfdet.data.labels import LabelledImage

# A row is boxes whose vertical centres are less than this share of the median height apart.
ROW_DISTANCE = 0.5
# Above and below its boxes a strip holds this share of the median height.
STRIP_MARGIN = 0.2

# A labelled image and its pixels, uint8 RGB (height, width, 3).
Part = Tuple[LabelledImage, np.ndarray]


def turned(labelled: LabelledImage, pixels: np.ndarray) -> Part:
    """An image turned counter-clockwise by 90 degrees, with its boxes; the name stays."""
    width, height = labelled.size_wh
    xmin, ymin, xmax, ymax = labelled.boxes_xyxy.T
    boxes_xyxy = np.stack([ymin, width - xmax, ymax, width - xmin], axis=1)
    turned_labels = labelled._replace(size_wh=(height, width), boxes_xyxy=boxes_xyxy)
    return turned_labels, np.rot90(pixels)


def strips(labelled: LabelledImage, pixels: np.ndarray) -> List[Part]:
    """One strip over the whole width for each row of products, from top to bottom.

    A strip has the name of its image with strip0_, strip1_ ... before it, and the row's boxes.
    """
    width, height = labelled.size_wh
    boxes_xyxy = labelled.boxes_xyxy
    if not len(boxes_xyxy):
        return []
    box_height = float(np.median(boxes_xyxy[:, 3] - boxes_xyxy[:, 1]))
    parts = []
    for number, row in enumerate(_rows(boxes_xyxy, box_height)):
        row_xyxy = boxes_xyxy[row]
        top = max(0, int(row_xyxy[:, 1].min() - STRIP_MARGIN * box_height))
        bottom = min(height, int(row_xyxy[:, 3].max() + STRIP_MARGIN * box_height))
        strip = LabelledImage(
            f"strip{number}_{labelled.filename}",
            (width, bottom - top),
            row_xyxy - (0, top, 0, top),
            tuple(labelled.classes[index] for index in row),
        )
        parts.append((strip, pixels[top:bottom]))
    return parts


def _rows(boxes_xyxy: np.ndarray, box_height: float) -> List[List[int]]:
    """Indices of the boxes of each row, from top to bottom."""
    middle = (boxes_xyxy[:, 1] + boxes_xyxy[:, 3]) / 2
    rows: List[List[int]] = []
    for index in np.argsort(middle, kind="stable"):
        is_new_row = not rows or middle[index] - middle[rows[-1][-1]] >= ROW_DISTANCE * box_height
        if is_new_row:
            rows.append([])
        rows[-1].append(int(index))
    return rows


def write_all(
    labelled_images: Iterable[LabelledImage],
    image_paths: Iterable[pathlib.Path],
    turned_folder: pathlib.Path,
    strips_folder: pathlib.Path,
) -> Tuple[List[LabelledImage], List[LabelledImage]]:
    """Writes every image turned and as strips, as JPEGs.

    Args:
      labelled_images: the images' labels.
      image_paths: their files, in the same order.
      turned_folder: where the rotated images are written.
      strips_folder: where the strips are written.

    Returns:
      (labels of the rotated images, labels of the strips).
    """
    all_turned = []
    all_strips = []
    for folder in (turned_folder, strips_folder):
        folder.mkdir(parents=True, exist_ok=True)
    for labelled, path in zip(labelled_images, image_paths):
        pixels = images.load(path).pixels
        turned_part = turned(labelled, pixels)
        _save(turned_part, turned_folder)
        all_turned.append(turned_part[0])
        for part in strips(labelled, pixels):
            _save(part, strips_folder)
            all_strips.append(part[0])
    return all_turned, all_strips


def _save(part: Part, folder: pathlib.Path) -> None:
    labelled, pixels = part
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        str(folder / labelled.filename), quality=images.JPEG_QUALITY
    )
