"""Labelled images, and the label files of this workspace that hold them.

Step 02 writes a label file for each split; all later steps read them. The file format itself is in
``formats.labels_csv``. Annotations of any other format become labels in ``validation``.
"""

import collections
import pathlib
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import workspace_names
from shelfdet.core.text import PathLike, Problems
from shelfdet.data.checks import box_units
from shelfdet.data.formats import labels_csv
from shelfdet.data.formats.image_boxes import BoxRow, ImageBoxes, number_text


class LabelledImage(NamedTuple):
    """An image and its products.

    filename: base name, unique in a label file.
    size_wh: (int, int), raw pixels.
    boxes_xyxy: float64 (N, 4), inside the image, each with an area.
    classes: tuple of N class names.
    """

    filename: str
    size_wh: Tuple[int, int]
    boxes_xyxy: np.ndarray
    classes: Tuple[str, ...]


def labelled(
    filename: str,
    size_wh: Sequence[int],
    rows: Sequence[Tuple[str, Sequence[float]]],
) -> LabelledImage:
    """A LabelledImage from ``rows``, a sequence of (class, box of four numbers)."""
    boxes_xyxy = np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4)
    return LabelledImage(filename, tuple(size_wh), boxes_xyxy, tuple(cls for cls, _ in rows))


def read_labels(path: PathLike) -> List[LabelledImage]:
    """Reads a label file: CSV with the header ``filename,width,height,class,xmin,ymin,xmax,ymax``.

    Columns may be in any order; others are ignored. An image without products is one row whose
    class and box fields are empty. Boxes that reach outside by rounding are clipped; equal rows are
    read once.

    Returns:
      list of LabelledImage in the order in which the images first appear; boxes in the order of
      their rows.

    Raises:
      UserError: every row that is wrong, by line, with what was found and what was expected.
    """
    # The reader of the format would not name the command that writes label files.
    if not pathlib.Path(path).exists():
        there = workspace_names.no_dataset(pathlib.Path(path).parent)
        raise UserError(
            f"{path}: no such file; expected a label file. `make data` writes train_labels.csv, "
            f"val_labels.csv and test_labels.csv; or check the path.{f' {there}' if there else ''}"
        )
    plain = _read_plain(path)
    if plain is not None:
        return plain
    problems = Problems(path)
    images = labels_csv.read(path, problems, needs_sizes=True)
    box_units.check_units(images.values(), problems)
    result = [
        labelled(image.filename, image.size_wh, _checked_rows(image, problems))
        for image in images.values()
    ]
    problems.refuse()
    if not result:
        raise UserError(
            f"{path}: holds a header and no rows; expected at least one image. "
            "Write it from the annotations with `make data`."
        )
    return result


def _read_plain(path: PathLike) -> Optional[List[LabelledImage]]:
    """Reads a label file as step 02 writes it, image by image.

    Rows of millions of boxes in memory would take ten times as much as their LabelledImages.

    Returns:
      what ``read_labels`` returns; None where there is anything to report or to correct in it,
      which needs the rows with their lines.
    """
    problems = Problems(path)
    found: Dict[str, LabelledImage] = {}
    for image in labels_csv.stream(path, problems, needs_sizes=True):
        rows = [(row.label, row.box_xyxy) for row in image.rows]
        read = labelled(image.filename, image.size_wh, rows)
        if len(problems) or image.filename in found or not _is_plain(read, rows):
            return None
        found[image.filename] = read
    return list(found.values()) if found and not len(problems) else None


def _is_plain(image: LabelledImage, rows: Sequence[Tuple[str, Sequence[float]]]) -> bool:
    """Whether nothing is wrong with the boxes of an image, and no row is there twice."""
    if not rows:
        return True
    low, high = image.boxes_xyxy[:, :2], image.boxes_xyxy[:, 2:]
    is_inside = (low >= 0).all() and (low < high).all() and (high <= image.size_wh).all()
    return bool(is_inside and high.max() > box_units.SHARES[1] and len(set(rows)) == len(rows))


def write_labels(images: Iterable[LabelledImage], path: PathLike) -> None:
    """Writes a label file, completely or not at all."""
    labels_csv.write([_image_boxes(image) for image in images], path)


def _image_boxes(image: LabelledImage) -> ImageBoxes:
    rows = [
        BoxRow("", cls, tuple(box))
        for cls, box in zip(image.classes, np.asarray(image.boxes_xyxy).tolist())
    ]
    return ImageBoxes(image.filename, "", image.size_wh, rows)


def _checked_rows(image: ImageBoxes, problems: Problems) -> List[Tuple[str, Sequence[float]]]:
    """(class, box) of every row, each once; notes boxes outside the image."""
    kept: Dict[Tuple[str, Sequence[float]], None] = collections.OrderedDict()
    for row in image.rows:
        box_xyxy = box_units.without_rounding(row.box_xyxy, image.size_wh)
        if box_xyxy is not None:
            kept[row.label, box_xyxy] = None
            continue
        problems.add(
            row.place,
            f"box {','.join(number_text(side) for side in row.box_xyxy)}; expected "
            f"0 <= xmin < xmax <= {image.size_wh[0]} and 0 <= ymin < ymax <= {image.size_wh[1]}, "
            "inside the image. Correct the row, or write the file from the annotations with "
            "`make data`, which clips or refuses it.",
        )
    return list(kept)
