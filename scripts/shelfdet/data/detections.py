"""Detections in and out: this workspace's JSON, and the formats that other detectors' boxes come in.

Formats, always named and never guessed. With ``scored=False`` each holds ground truth instead, without the score.

* ``coco``: JSON with "images" (id, file_name, width, height), "categories" (id, name) and "annotations" (image_id,
  category_id, bbox = [x, y, width, height], score). This workspace writes it. COCO's own result files are a bare list
  of such annotations; images and categories are then those of the ground truth's JSON.
* ``csv``: header ``filename,width,height,class,xmin,ymin,xmax,ymax`` and ``score``; an image without boxes is one row
  whose class and box fields are empty.
* ``voc``: a folder of Pascal VOC .xml files; an <object> has <name>, <bndbox> and <score>.
* ``text``: a folder with one .txt file an image, of lines ``class score x1 y1 x2 y2`` (ground truth: ``class x1 y1 x2
  y2``) in pixels; an image without boxes is an empty file.
"""

import collections
import json
import pathlib

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, files
from shelfdet.data import formats_detections_tmp, labels

OUTSIDE_PX = (
    1.0  # other tools round, or count the last pixel as width - 1: that much outside is no mistake
)

Detections = collections.namedtuple("Detections", "filename size_wh boxes_xyxy scores classes")
Detections.__doc__ = """What was detected in one image, or, with scores None, what is labelled there.

filename: base name. size_wh: raw pixels, None where the format does not tell. boxes_xyxy: float64 (N, 4), raw pixels.
scores: float64 (N,), falling, ties in the order of the file. classes: tuple of N str."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_READERS = {
    "coco": formats_detections_tmp.read_coco,
    "csv": formats_detections_tmp.read_csv,
    "voc": formats_detections_tmp.read_voc,
    "text": formats_detections_tmp.read_text,
}


def write_detections(detections, path, info=None):
    """Writes the workspace's JSON (``coco`` above), one annotation a line, whole or not at all.

    Args:
      detections: list of Detections with scores and sizes. An image in which nothing was found is in it too. A box
        without area, which no matching rule counts, is left out.
      path: target file.
      info: dict of what the detections were made with, kept under "info".
    """
    names = sorted({name for image in detections for name in image.classes})
    category_ids = {name: number for number, name in enumerate(names, start=1)}
    images, found = [], []
    for image_id, image in enumerate(detections, start=1):
        images.append(
            _line(
                {
                    "id": image_id,
                    "file_name": image.filename,
                    "width": int(image.size_wh[0]),
                    "height": int(image.size_wh[1]),
                }
            )
        )
        corners = np.asarray(image.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        scores = np.asarray(image.scores, dtype=np.float64)
        order = np.argsort(-scores, kind="stable")
        order = order[boxes.areas(corners[order]) > 0]
        xywh = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        found += [
            _line(
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": category_ids[image.classes[index]],
                    "bbox": xywh[index].tolist(),
                    "score": float(scores[index]),
                }
            )
            for number, index in enumerate(order, start=len(found) + 1)
        ]
    categories = [_line({"id": category_ids[name], "name": name}) for name in names]
    parts = [("images", images), ("categories", categories), ("annotations", found)]
    files.write_text(
        path,
        '{{"info": {},\n{}}}\n'.format(
            _line(info or {}),
            ",\n".join('"{}": [\n{}\n]'.format(key, ",\n".join(lines)) for key, lines in parts),
        ),
    )


def read_info(path):
    """The "info" of a ``coco`` file, a dict; empty where there is none."""
    content = formats_detections_tmp.read_json(path)
    info = content.get("info") if isinstance(content, dict) else None
    return info if isinstance(info, dict) else {}


def read_detections(
    path, format="coco", scored=True, known=None, coco_ground_truth=None, clip=False
):
    """Reads and checks a file or folder of detections, or of ground truth.

    Args:
      path: a file (coco, csv) or a folder (voc, text).
      format: one of those above.
      scored: False reads ground truth, which has no scores.
      known: the images, a list of anything with filename and size_wh. It gives the text files, which are named after
        their images but for the suffix, their image's name and size; without it an image is named as its file
        without ".txt".
      coco_ground_truth: the ground truth's JSON, which a bare list of COCO results needs.
      clip: cut boxes at the image's edge, and leave out what has nothing inside, in place of refusing them.

    Returns:
      list of Detections in the order of the file (of the names, for folders).

    Raises:
      UserError: missing, empty or broken file; no image; a score, box or size that is no number; a box whose corners
        are swapped, that has no area or class, or that is outside its image; an image or class that is not declared,
        or twice. It names the file and the entry.
    """
    assert format in _READERS, format
    path = pathlib.Path(path)
    if format == "csv" and not scored:
        return [
            Detections(*image[:3], scores=None, classes=image.classes)
            for image in labels.read_labels(path)
        ]
    more = {"ground_truth": coco_ground_truth} if format == "coco" else {}
    sizes, rows = _READERS[format](path, scored, known, **more)
    by_image = {name: [] for name in sizes}
    for row in rows:
        box = _checked_box(row, sizes[row.filename], clip)
        if box is not None:
            by_image[row.filename].append((box, row.score, row.label))
    return [_image(name, sizes[name], entries, scored) for name, entries in by_image.items()]


def _image(filename, size_wh, entries, scored):
    corners = np.array([entry[0] for entry in entries], dtype=np.float64).reshape(-1, 4)
    class_names = tuple(entry[2] for entry in entries)
    if not scored:
        return Detections(filename, size_wh, corners, None, class_names)
    scores = np.array([entry[1] for entry in entries], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    return Detections(
        filename,
        size_wh,
        corners[order],
        scores[order],
        tuple(class_names[index] for index in order),
    )


def _checked_box(row, size_wh, clip):
    xmin, ymin, xmax, ymax = row.corners
    if xmax <= xmin or ymax <= ymin:
        raise UserError(
            "{}: the box xmin {:g}, ymin {:g}, xmax {:g}, ymax {:g} has swapped corners or no area; "
            "expected xmin < xmax and ymin < ymax. Check the order of the columns.".format(
                row.place, *row.corners
            )
        )
    width, height = (
        (np.inf, np.inf) if size_wh is None else size_wh
    )  # of unknown size: only 0 is a known edge
    if (
        xmin >= -OUTSIDE_PX
        and ymin >= -OUTSIDE_PX
        and xmax <= width + OUTSIDE_PX
        and ymax <= height + OUTSIDE_PX
    ):
        return row.corners
    if not clip and size_wh is None:
        raise UserError(
            "{}: the box xmin {:g}, ymin {:g}, xmax {:g}, ymax {:g} starts outside its image; expected "
            "pixels of the image on disk, from 0. Correct the boxes, or cut them with --clip.".format(
                row.place, *row.corners
            )
        )
    if not clip:
        raise UserError(
            f"{row.place}: the box xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g} reaches outside its image of {width} x {height} pixels; expected pixels of the image on disk. Scale the boxes, or cut them with --clip."
        )
    inside = tuple(boxes.clip([row.corners], (width, height))[0])
    return inside if inside[2] > inside[0] and inside[3] > inside[1] else None


def _line(value):
    return _ENCODER.encode(value)
