"""Images with detected boxes drawn on them, and counts.csv, the number of products in each.

Drawings have a mark in their EXIF block. A later run replaces only images that have it, and does
not take them for photographs.
"""

import csv
import io
import pathlib
from typing import List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import drawing, files, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, listed
from shelfdet.data import images
from shelfdet.data.detections import Detections
from shelfdet.inference import input_images
from shelfdet.inference.input_images import InputImage

DRAWING_QUALITY = 88  # for people to view; the pixels are not processed again
EXIF_SOFTWARE = 0x0131  # EXIF 2.32: the name of the program that made the image
MARK = "08_detect.py"
COUNTS_FILE = "counts.csv"
COUNTS_COLUMNS = ("filename", "products")  # then one for each of several classes, and "note"


class Counts(NamedTuple):
    """What ``write_counts`` wrote.

    path: the file.
    products: the total over all images.
    images: the number of images that were read.
    other_drawings: the number of images in the folder that are not of these detections.
    """

    path: pathlib.Path
    products: int
    images: int
    other_drawings: int


def check_folder(folder: pathlib.Path, inputs: Sequence[InputImage]) -> None:
    """Checks that drawings and counts in ``folder`` overwrite nothing but those of an earlier run.

    Args:
      folder: of the drawings; it need not exist.
      inputs: the images that will be drawn.

    Raises:
      UserError: the folder holds the images themselves, a counts.csv of another origin, or files
        with the names of drawings that are not marked as such.
    """
    if folder.resolve() in {image.path.parent.resolve() for image in inputs}:
        raise UserError(
            f"{both(f'--draw {folder}')}: is the folder of the images themselves, which would be "
            "overwritten. "
            "Name another folder."
        )
    counts = folder / COUNTS_FILE
    if counts.exists() and not _is_counts_file(counts):
        raise UserError(
            f"{both(f'--draw {folder}')}: holds a {COUNTS_FILE} that this step did not write, "
            "which would be "
            f"overwritten; expected the columns {','.join(COUNTS_COLUMNS)}. Name another folder."
        )
    for image in inputs:
        name = drawing_name(image.name)
        path = folder / name
        # A symbolic link may lead to a photograph of the user, whatever it shows.
        if path.is_symlink() or (path.exists() and not _is_drawing(path)):
            raise UserError(
                f"{both(f'--draw {folder}')}: holds {name}, which is not marked as a drawing "
                "of this step and would be overwritten; expected a folder without such images. "
                "Name another folder, or remove the file if it is an old drawing."
            )


def without_drawings(
    source: pathlib.Path, inputs: Sequence[InputImage]
) -> Tuple[List[InputImage], List[str]]:
    """Divides images into photographs and drawings, whose products would be counted again.

    Args:
      source: what the user named, for messages.
      inputs: the images found there.

    Returns:
      (photographs, names of drawings).

    Raises:
      UserError: all are drawings.
    """
    photographs, names = [], []
    for image in inputs:
        if _is_drawing(image.path):
            names.append(image.name)
        else:
            photographs.append(image)
    if not photographs:
        raise UserError(
            f"{source}: holds no photograph but drawings of an earlier run ({listed(names)}); "
            "expected photographs. Name their folder."
        )
    return photographs, names


def left_out_report(source: pathlib.Path, names: List[str]) -> str:
    """Which images of ``source`` are drawings; empty where none are."""
    if not names:
        return ""
    return f"left out of {source}, because they are drawings of an earlier run: {listed(names)}"


class CountedImage(NamedTuple):
    """A row of counts.csv.

    filename: name of the image.
    products: their number; None where the image could not be read.
    by_class: the same of each class, by its name.
    note: why the number is missing or may be far off; "" where nothing says so.
    """

    filename: str
    products: Optional[int]
    by_class: Mapping[str, int]
    note: str


def draw(
    pixels: np.ndarray,
    found: Detections,
    folder: pathlib.Path,
    threshold: float,
    shown_names: Mapping[str, str],
    note: str = "",
) -> None:
    """Draws the boxes with at least the score ``threshold`` and writes the image as a JPEG.

    Args:
      pixels: uint8 RGB of shape (height, width, 3); the image, which may be shrunk.
      found: its detections, in pixels of an image of size ``found.size_wh``.
      folder: where to write ``drawing_name(found.filename)``.
      threshold: the lowest score that is drawn.
      shown_names: class to the name that is written into its boxes; empty for none.
      note: as ``CountedImage`` has it, for the legend.
    """
    kept = found.scores >= threshold
    names = []
    if shown_names:
        names = [shown_names[found.classes[index]] for index in np.flatnonzero(kept)]
    drawn = drawing.draw_detections(
        pixels, found.boxes_xyxy[kept], found.size_wh, found.filename, names, note
    )
    exif = Image.Exif()
    exif[EXIF_SOFTWARE] = MARK
    with files.replacing(folder / drawing_name(found.filename)) as partial:
        drawn.save(str(partial), "JPEG", quality=DRAWING_QUALITY, exif=exif)


def drawing_name(filename: str) -> str:
    """The file name of an image's drawing, which is a JPEG whatever the image is."""
    if filename.lower().endswith((".jpg", ".jpeg")):
        return filename
    return filename + ".jpg"


def remove_counts(folder: pathlib.Path) -> None:
    """Removes an earlier run's counts.csv: beside new drawings it would be taken for theirs."""
    counts = folder / COUNTS_FILE
    if counts.exists():
        counts.unlink()


def write_counts(
    counted_images: Sequence[CountedImage], folder: pathlib.Path, shown_names: Mapping[str, str]
) -> Counts:
    """Writes counts.csv.

    Args:
      counted_images: its rows.
      folder: of the drawings.
      shown_names: class to the title of its column; empty for no columns of classes.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*COUNTS_COLUMNS, *shown_names.values(), "note"])
    for image in counted_images:
        read = image.products is not None
        of_classes = [image.by_class.get(name, 0) if read else None for name in shown_names]
        writer.writerow([image.filename, image.products, *of_classes, image.note])
    path = folder / COUNTS_FILE
    files.write_text(path, lines.getvalue())
    # Drawings of an earlier run, of other images, are not in counts.csv: the report states them.
    read_images = [image for image in counted_images if image.products is not None]
    drawn = {drawing_name(image.filename) for image in read_images}
    there = {
        path.relative_to(folder).as_posix()
        for path in input_images.files_below(folder)
        if images.has_image_suffix(path)
    }
    total = sum(image.products for image in read_images)
    return Counts(path, total, len(read_images), len(there - drawn))


def counts_report(counts: Counts) -> str:
    """The total, the average, and whether the folder holds other images."""
    average = counts.products / counts.images
    report = (
        f"{paths.shown(counts.path)}: {counted(counts.products, 'product')} in "
        f"{counted(counts.images, 'image')} "
        f"({average:.1f} an image); the drawings are beside it"
    )
    if counts.other_drawings:
        report += (
            "\n  other images in that folder, from before this run and not counted: "
            f"{counts.other_drawings}"
        )
    return report


def _is_counts_file(path: pathlib.Path) -> bool:
    header = ",".join(COUNTS_COLUMNS).encode("utf-8")
    return path.is_file() and path.read_bytes().startswith(header)


def _is_drawing(path: pathlib.Path) -> bool:
    """Whether ``draw`` wrote the file."""
    try:
        # Drawings are JPEG; for PNG, Pillow may read all pixels to find a block.
        with Image.open(str(path), formats=("JPEG",)) as image:
            return image.getexif().get(EXIF_SOFTWARE) == MARK
    except (OSError, SyntaxError, ValueError, TypeError):  # no JPEG, or a broken EXIF block
        return False
