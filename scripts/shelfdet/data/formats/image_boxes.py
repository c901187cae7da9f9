"""Images with their boxes as a file states them: what readers return and writers take.

Numbers are finite and file names are valid, but nothing is compared with the images, and boxes may
be inverted or reach outside. ``data.validation`` and ``data.detections`` check that.
"""

import collections
import pathlib
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.text import (
    PathLike,
    Problems,
    name_problem,
    parse_number,
    read_size,
    shown,
)

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


class BoxRow(NamedTuple):
    """One labelled product or one detection.

    place: line, element or entry in the file, for messages.
    label: class name, stripped; "" where it is empty, None where the format has no classes.
    box_xyxy: xmin, ymin, xmax, ymax in pixels, as the file states them. Nothing is subtracted for
      Pascal VOC, whose labelling tools (LabelImg) count from 0.
    score: confidence; None in ground truth.
    difficult: marked by Pascal VOC's <difficult>.
    crowd: marked by COCO's iscrowd: a region of many products instead of one product.
    """

    place: str
    label: Optional[str]
    box_xyxy: Tuple[float, float, float, float]
    score: Optional[float] = None
    difficult: bool = False
    crowd: bool = False


class ImageBoxes(NamedTuple):
    """One image of a file of annotations or detections.

    filename: base name, unique in the file.
    place: line, element or entry that names the image first, for messages.
    size_wh: (width, height) in pixels as the file states it, or None.
    rows: the image's boxes in the order of the file.
    """

    filename: str
    place: str
    size_wh: Optional[Tuple[int, int]]
    rows: List[BoxRow]


# File name -> image, in the order in which the images first appear in the file.
ImagesByName = Dict[str, ImageBoxes]


def base_name(written: Any) -> str:
    """The last part of a path with "/" or "\\", stripped; "" of what is no text."""
    # Annotations made on Windows have "\" also where they are read elsewhere.
    return re.split(r"[\\/]", written.strip())[-1] if isinstance(written, str) else ""


def read_name(written: Any, place: str, problems: Problems) -> Optional[str]:
    """The base name of an image's path; None after noting why it cannot name an image."""
    name = base_name(written)
    problem = name_problem(name)
    if problem:
        problems.add(place, f"{problem}.")
        return None
    return name


def add_image(
    images: ImagesByName,
    filename: str,
    place: str,
    size_wh: Optional[Tuple[int, int]],
    problems: Problems,
) -> bool:
    """Adds an image without rows to ``images``; False after noting that it already has it."""
    if filename in images:
        problems.add(
            place,
            f"image {shown(filename)} is also in {images[filename].place}; expected each image "
            "once (images in different folders need different names). Rename or delete one.",
        )
        return False
    images[filename] = ImageBoxes(filename, place, size_wh, [])
    return True


class RowNames:
    """File names of a CSV, where an image has one row a box: a name has to be written one way."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._first: Dict[str, Tuple[str, str]] = {}

    def read(self, written: str, place: str) -> Optional[str]:
        """The base name; None after noting why it cannot name an image, or names two of them."""
        name = read_name(written, place, self._problems)
        if name is None:
            return None
        written = written.strip()
        first_written, first_place = self._first.setdefault(name, (written, place))
        if written == first_written:
            return name
        self._problems.add(
            place,
            f"image {shown(written)} is {shown(first_written)} in {first_place}; expected each "
            "image under one name (images in different folders need different names). Rename one.",
        )
        return None


def read_stated_size(
    width: Any, height: Any, place: str, problems: Problems
) -> Optional[Tuple[int, int]]:
    """The size of an image in a format where it is optional.

    Returns:
      (width, height); None where none is stated (both are None, or 0, which some tools write), or
      after noting a problem.
    """
    if width is None and height is None:
        return None
    if parse_number(width) == 0 and parse_number(height) == 0:
        return None
    return read_size(width, height, place, problems)


def files_in(folder: PathLike, suffix: str, title: str) -> List[pathlib.Path]:
    """The files in ``folder`` with a suffix (in any case), sorted by name; without dot files.

    Raises:
      UserError: no such folder, it cannot be read, or it holds no such file.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "no such folder"
        raise UserError(
            f"{folder}: {state}; expected a folder with {title}, one {suffix} file an image. "
            "Check the path."
        )
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            # Dot files are what macOS adds to folders on other file systems ("._a.xml").
            if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror or error}); expected a folder with "
            f"{title}. Correct its permissions."
        ) from error
    if not found:
        raise UserError(
            f"{folder}: holds no {suffix} file; expected {title}, one file an image. "
            "Check the path."
        )
    return found


def names_by_stem(image_names: Iterable[str]) -> Dict[str, List[str]]:
    """File name without suffix -> the images of that name."""
    by_stem = collections.defaultdict(list)
    for name in image_names:
        by_stem[pathlib.PurePath(name).stem].append(name)
    return by_stem
