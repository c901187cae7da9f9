"""Images with their boxes as a file states them: what readers return and writers take.

Numbers are finite and file names are valid, but nothing is compared with the images, and boxes may
be inverted or reach outside. ``data.validation`` and ``data.detections`` check that.
"""

import collections
import json
import pathlib
import re
import unicodedata
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.text import (
    PathLike,
    Problems,
    counted,
    listed,
    name_problem,
    parse_number,
    read_size,
    read_text,
    shown,
)

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")

# What a flag may be, without case. "Unspecified" is what VOC's own tools write for the unknown.
TRUE_VALUES = ("1", "true", "yes")
FALSE_VALUES = ("", "0", "false", "no", "none", "null", "unspecified")


class BoxRow(NamedTuple):
    """One labelled product or one detection.

    place: line, element or entry in the file, for messages.
    label: class name, stripped; "" where it is empty, None where the format has no classes.
    box_xyxy: xmin, ymin, xmax, ymax in pixels, as the file states them. Nothing is subtracted for
      Pascal VOC, whose labelling tools (LabelImg) count from 0.
    score: confidence; None in ground truth.
    difficult: marked by Pascal VOC's <difficult>.
    crowd: marked by COCO's iscrowd: a region of many products instead of one product.
    bbox_xywh: the four numbers as COCO states them; None in other formats.
    left_out: what the file has here in place of a box, in the plural, where it is never a product's
      box ("lines"). It is counted and named, and the box means nothing.
    stated: the box as the file states it, for messages, where that is other numbers than those of
      box_xyxy or bbox_xywh; see ``described``.
    """

    place: str
    label: Optional[str]
    box_xyxy: Tuple[float, float, float, float]
    score: Optional[float] = None
    difficult: bool = False
    crowd: bool = False
    bbox_xywh: Optional[Tuple[float, float, float, float]] = None
    left_out: str = ""
    stated: str = ""


class ImageBoxes(NamedTuple):
    """One image of a file of annotations or detections.

    filename: base name, unique in the file.
    place: line, element or entry that names the image first, for messages.
    size_wh: (width, height) in pixels as the file states it, or None.
    rows: the image's boxes in the order of the file.
    in_shares: whether the boxes are in shares of the image's width and height, as in YOLO's files,
      instead of in pixels. ``box_units.to_pixels`` converts them.
    split: "train", "val" or "test", where the file states it; None where it does not.
    """

    filename: str
    place: str
    size_wh: Optional[Tuple[int, int]]
    rows: List[BoxRow]
    in_shares: bool = False
    split: Optional[str] = None


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


def joined(parts: Iterable[ImageBoxes]) -> ImagesByName:
    """The images of a stream, which may give an image in several parts (see ``formats.stream``)."""
    images: ImagesByName = collections.OrderedDict()
    for part in parts:
        image = images.setdefault(part.filename, part)
        if image is not part:
            image.rows.extend(part.rows)
    return images


def add_image(
    images: ImagesByName,
    filename: str,
    place: str,
    size_wh: Optional[Tuple[int, int]],
    problems: Problems,
    in_shares: bool = False,
) -> bool:
    """Adds an image without rows to ``images``; False after noting that it already has it."""
    if filename in images:
        problems.add(
            place,
            f"image {shown(filename)} is also in {images[filename].place}; expected each image "
            "once (images in different folders need different names). Rename one.",
        )
        return False
    images[filename] = ImageBoxes(filename, place, size_wh, [], in_shares)
    return True


def read_json(path: PathLike, expected: str) -> Any:
    """The content of a JSON file.

    Args:
      path: the file.
      expected: what it should be, for the message ("COCO's JSON").

    Raises:
      UserError: it cannot be read, or is no complete JSON.
    """
    content = read_text(path, expected)
    if not content.strip():
        raise UserError(f"{path}: the file is empty; expected {expected}. Export it again.")
    try:
        return parse_json(content)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: is no complete JSON ({error}); expected {expected}. Export it again."
        ) from error


def parse_json(content: str) -> Any:
    """The content of JSON.

    Raises:
      ValueError: it is no JSON, or an object has a key twice, of which Python keeps the last.
      RecursionError: it is nested too deeply.
    """
    return json.loads(content, object_pairs_hook=_once_each)


def _once_each(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = collections.Counter(key for key, _ in pairs)
        key, count = keys.most_common(1)[0]
        raise ValueError(f"{shown(key)} is {count} times in one object; expected once")
    return found


def read_flag(value: Any, name: str, place: str, problems: Problems) -> Optional[bool]:
    """Whether a mark is set; text is read by what it says, since "0" and "false" are not.

    Args:
      value: a bool, a number or text; None is a missing mark, which is not set.
      name: as the file calls it, for the message.
      place, problems: as in ``Problems.add``.

    Returns:
      the mark, or None after noting that it is no known value.
    """
    if value is None:
        return False
    number = parse_number(value)
    text = str(value).strip().casefold()
    if number == 1 or text in TRUE_VALUES:
        return True
    if number == 0 or text in FALSE_VALUES:
        return False
    problems.add(place, f"{name} is {shown(value)}; expected 0 or 1 (or false, true). Correct it.")
    return None


class ScoresInGroundTruth:
    """Collects the scores in a file that is read as ground truth: detections have them."""

    def __init__(self, problems: Problems, more_advice: str = "") -> None:
        self._problems = problems
        self._more_advice = more_advice
        self._places: List[str] = []
        self._first: Any = None

    def note(self, score: Any, place: str) -> None:
        """Notes the score of one box; None, an empty one and 1 may be in ground truth, too."""
        if not _is_blank(score) and parse_number(score) != 1:
            self.add(score, place)

    def add(self, score: Any, place: str) -> None:
        """Notes the score of one box, whatever it is."""
        if not self._places:
            self._first = score
        self._places.append(place)

    def finish(self) -> None:
        """Notes one problem where boxes had scores."""
        if not self._places:
            return
        boxes = counted(len(self._places), "box has a score", "boxes have scores")
        self._problems.add(
            "",
            f"{boxes} ({shown(self._first)} in {self._places[0]}), so these are detections; "
            "expected ground-truth boxes, which have none. Name the annotations; boxes that a "
            "detector drew are ground truth only after a person has corrected them in a labelling "
            f"tool, for which `make prelabel` writes those above a threshold.{self._more_advice}",
        )


class RowNames:
    """File names of a CSV, where an image has one row a box: a name has to be written one way."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._first: Dict[str, Tuple[str, str]] = {}
        self._valid: Dict[str, str] = {}  # as it is written to the name: most rows repeat one

    def read(self, written: str, place: str) -> Optional[str]:
        """The base name; None after noting why it cannot name an image, or names two of them."""
        if written in self._valid:
            return self._valid[written]
        name = read_name(written, place, self._problems)
        if name is None:
            return None
        stripped = written.strip()
        first_written, first_place = self._first.setdefault(name, (stripped, place))
        if stripped == first_written:
            self._valid[written] = name
            return name
        self._problems.add(
            place,
            f"image {shown(stripped)} is {shown(first_written)} in {first_place}; expected each "
            "image under one name (images in different folders need different names). Rename one.",
        )
        return None


def number_text(number: float) -> str:
    """The shortest text that is read as the same float; "7" instead of "7.0"."""
    return str(int(number)) if number == int(number) else repr(float(number))


def described(row: BoxRow) -> str:
    """The box of a row for a message, in the numbers that a person finds in the file."""
    if row.stated:
        return row.stated
    if row.bbox_xywh is not None:
        return f"bbox [{', '.join(map(number_text, row.bbox_xywh))}]"
    return "box " + ",".join(map(number_text, row.box_xyxy))


def read_stated_size(
    width: Any, height: Any, place: str, problems: Problems
) -> Optional[Tuple[int, int]]:
    """The size of an image in a format where it is optional.

    Returns:
      (width, height); None where none is stated (both are missing or empty, or 0, which some tools
      write), or after noting a problem.
    """
    if _is_blank(width) and _is_blank(height):
        return None
    if parse_number(width) == 0 and parse_number(height) == 0:
        return None
    return read_size(width, height, place, problems)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


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


def place_of(file: pathlib.Path, problems: Problems) -> str:
    """A file of one image in a message: its path from that of ``problems``, which a message names.

    Several folders may have files of one name.
    """
    try:
        return file.relative_to(problems.path).as_posix()
    except ValueError:
        return file.name


def note_unreadable(error: UserError, file: pathlib.Path, place: str, problems: Problems) -> None:
    """Notes why a file cannot be read, with ``place`` for the path that the error begins with."""
    text = str(error)
    start = f"{file}: "
    problems.add(place, text[len(start) :] if text.startswith(start) else text)


class NamesOfFiles:
    """Finds the image of a file that belongs to one image and is named like it but for the suffix.

    Of several images of that name, as a.jpg and a.png, none is found.
    """

    def __init__(self, image_names: Iterable[str]) -> None:
        self._known = set(image_names)
        self._contradictions: List[str] = []
        self._unread: Dict[str, str] = {}  # image to the place of its file
        self._by_stem = collections.defaultdict(list)
        self._by_key = collections.defaultdict(list)
        for name in self._known:
            stem = pathlib.PurePath(name).stem
            self._by_stem[stem].append(name)
            self._by_key[_stem_key(stem)].append(name)

    def like(self, stem: str) -> List[str]:
        """The images that are named like a file, sorted."""
        return sorted(self._by_stem.get(stem) or self._by_key.get(_stem_key(stem), ()))

    def choose(self, stem: str, stated: Any, place: str, problems: Problems) -> Optional[str]:
        """The name of the image of a file.

        Labelling tools keep the old name in a file that is renamed together with its image. So the
        image that is there is meant; where both are, one of them would get boxes of the other.

        Args:
          stem: the file's name without its suffix.
          stated: the image's name or path that the file states; may be empty or None.
          place, problems: as in ``Problems.add``.

        Returns:
          the name, or None after noting a problem; that of two images is noted by ``finish``.
        """
        name = base_name(stated)
        like = self.like(stem)
        meant = self._meant(name)
        if like and meant and not set(like) & set(meant):
            self._contradictions.append(f"{place} is of {shown(name)}")
            self.note_unread(stem, place)
            return None
        if name not in self._known and len(like) == 1:
            return like[0]
        return read_name(name or stem, place, problems)

    def note_unread(self, stem: str, place: str) -> None:
        """Notes a file that is not read because of a problem; ``stem`` and ``place`` as above."""
        for name in self.like(stem):
            self._unread.setdefault(name, place)

    def add_unread(self, images: ImagesByName) -> None:
        """Adds the images of files that were not read, without boxes.

        An image without annotations would be reported as one without a box, which it is not.
        """
        for name, place in self._unread.items():
            images.setdefault(name, ImageBoxes(name, place, None, []))

    def _meant(self, name: str) -> List[str]:
        """The images that a stated name can mean: of that name or, if there is none, of that stem.

        Tools leave out the suffix, and images are converted after they were labelled.
        """
        if name in self._known or not name:
            return [name] if name else []
        return self.like(name) or self.like(pathlib.PurePath(name).stem)

    def finish(self, title: str, problems: Problems) -> None:
        """Notes one problem where files are named like one image and state another.

        Args:
          title: of what states the image's name in a file.
          problems: as in ``choose``.
        """
        if self._contradictions:
            files = counted(len(self._contradictions), "file is", "files are")
            problems.add(
                "",
                f"{files} named like one image and of another by {title}, and both exist: "
                f"{listed(self._contradictions)}. Expected the same image in both. Write the right "
                f"one into {title}, or leave it empty where the name of the file is right.",
            )


def _stem_key(stem: str) -> str:
    """``stem`` without case and without the composition of accents, which file systems change."""
    return unicodedata.normalize("NFC", stem).casefold().strip()
