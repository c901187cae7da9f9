"""YOLO's label files: a folder with one .txt file an image, of lines ``class x y width height``.

x and y are the centre of the box; all four are shares of the image's width and height, from 0 to 1.
A class is a number from 0, which ``class_names`` finds the name of. The line of a polygon (``class
x1 y1 x2 y2 x3 y3 ...``, of segmentation and of rotated boxes) is read as the box around it. A
detection has its confidence as the last number (Ultralytics: ``save_txt=True save_conf=True``). An
image without products is an empty file, or has none.

See https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/
"""

import collections
import pathlib
import re
from typing import Iterable, List, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.text import (
    UTF16_BYTE_ORDER_MARKS,
    PathLike,
    Problems,
    parse_number,
    read_number,
    read_text,
    shown,
)
from shelfdet.data.formats import class_names
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    NamesOfFiles,
    ScoresInGroundTruth,
    add_image,
    files_in,
    note_unreadable,
    place_of,
)

BOX_FIELDS = ("x", "y", "width", "height")
MIN_POLYGON = 6  # numbers of three points
FIRST_BYTES = 1 << 16  # in which a line ends: a polygon has hundreds of numbers

_NUMBERS = r"(\s+[-+.\deE]+){4,}\s*$"
_LINE = re.compile(r"\s*\d+(\.0*)?" + _NUMBERS, re.ASCII)
# Some converters write the name of the class in place of its number, which the reader refuses.
_LINE_WITH_NAME = re.compile(r"\s*\S+" + _NUMBERS, re.ASCII)
_EXPECTED = "class x y width height"


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    names_file: Optional[PathLike] = None,
) -> ImagesByName:
    """Reads the label files of a folder; see ``formats.read``. Boxes are in shares of the image.

    Args:
      path: the folder.
      problems: collects what is wrong, by file and line.
      scored: whether boxes have a confidence.
      image_names: give a file its image's name; without it, or where there is no such image, that
        is the file's without ".txt".
      names_file: the data.yaml or list of class names; None looks for it, and where there is none,
        the number of a class is its name.

    Raises:
      UserError: no folder with label files, or class names that cannot be read.
    """
    image_names = list(image_names)
    names = NamesOfFiles(image_names)
    names_file = names_file or class_names.find(path)
    classes = class_names.read(names_file) if names_file else None
    scores = ScoresInGroundTruth(problems)
    images: ImagesByName = collections.OrderedDict()
    for file in files_in(path, ".txt", "YOLO's label files"):
        if not is_label_file(file, names, scored):
            continue
        place_of_file = place_of(file, problems)
        name = _image_of(file, place_of_file, names, problems)
        if name is None or not add_image(
            images, name, place_of_file, None, problems, in_shares=True
        ):
            continue
        lines = _read_lines(file, place_of_file, problems)
        for number, line in enumerate(lines, start=1):
            place = f"{place_of_file}: line {number}"
            row = _read_line(line.split(), place, scored, classes, scores, problems)
            if row is not None:
                images[name].rows.append(row)
    names.add_unread(images)
    scores.finish()
    return images


def is_label_file(file: pathlib.Path, names: NamesOfFiles, scored: bool = False) -> bool:
    """Whether a .txt file is of one image: named like one, with lines of boxes, or empty.

    The others are class names, lists of images, and a README. Of ``scored`` boxes no empty file is
    one: tools write none for an image in which nothing was detected.
    """
    if class_names.is_list(file):
        return False
    if names.like(file.stem) or has_boxes(file):
        return True
    return not scored and not first_line(file) and file.stat().st_size < FIRST_BYTES


def has_boxes(file: pathlib.Path, by_name: bool = False) -> bool:
    """Whether the first line with text is a box; ``by_name``: also one with the name of a class."""
    return bool((_LINE_WITH_NAME if by_name else _LINE).match(first_line(file)))


def first_line(file: pathlib.Path) -> str:
    """The first line that is not blank, also of a file whose encoding the reader refuses."""
    try:
        with open(str(file), "rb") as content:
            start = content.read(FIRST_BYTES)
    except OSError:
        return ""
    is_utf16 = start[:2] in UTF16_BYTE_ORDER_MARKS
    decoded = start.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    return decoded.lstrip().split("\n", 1)[0]


def may_be_labels(file: pathlib.Path) -> bool:
    """Whether a .txt file beside label files may be one: it is empty, or starts with 3 numbers."""
    if class_names.is_list(file):
        return False
    fields = first_line(file).split()
    return not fields or sum(parse_number(field) is not None for field in fields) > 2


def write(images: Iterable[ImageBoxes], folder: PathLike, labels: Sequence[str]) -> None:
    """Writes a label file an image, and classes.txt, as LabelImg opens them in ``folder``.

    Args:
      images: with sizes and boxes in pixels; their names have to differ without their suffix.
      folder: each file in it is written completely or not at all; others stay.
      labels: the names of the classes in their order; others are not allowed.
    """
    folder = pathlib.Path(folder)
    files.write_text(folder / "classes.txt", "".join(f"{label}\n" for label in labels))
    for image in images:
        name = pathlib.PurePath(image.filename).stem + ".txt"
        files.write_text(folder / name, text_of(image, labels))


def text_of(image: ImageBoxes, labels: Sequence[str], scored: bool = False) -> str:
    """The label file of an image.

    Args:
      image: with a size and boxes in pixels; rows that are no boxes are left out.
      labels: the names of the classes in their order.
      scored: whether to write the scores, which no labelling tool reads.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    width, height = image.size_wh
    lines = []
    for row in image.rows:
        if row.left_out:
            continue
        xmin, ymin, xmax, ymax = row.box_xyxy
        shares = (
            (xmin + xmax) / 2 / width,
            (ymin + ymax) / 2 / height,
            (xmax - xmin) / width,
            (ymax - ymin) / height,
        )
        # With six digits, as many tools write, an image of 10,000 pixels is rounded to 0.01.
        fields = [str(numbers[row.label])] + [f"{share:.8f}" for share in shares]
        lines.append(" ".join(fields + ([f"{row.score:.6f}"] if scored else [])) + "\n")
    return "".join(lines)


def _image_of(
    file: pathlib.Path, place: str, names: NamesOfFiles, problems: Problems
) -> Optional[str]:
    like = names.like(file.stem)
    if len(like) > 1:
        problems.add(
            place,
            f"{like[0]} and {like[1]} differ in their suffix alone, so that this file is of both; "
            "expected one image of this name. Rename the other, with a label file of its own.",
        )
        names.note_unread(file.stem, place)
        return None
    return names.choose(file.stem, None, place, problems)


def _read_lines(file: pathlib.Path, place: str, problems: Problems) -> List[str]:
    """The lines that are not blank at the end; none after noting why the file cannot be read."""
    try:
        content = read_text(file, f"lines '{_EXPECTED}'")
    except UserError as error:
        note_unreadable(error, file, place, problems)
        return []
    return content.rstrip().splitlines()


def _read_line(
    fields: Sequence[str],
    place: str,
    scored: bool,
    classes: Optional[class_names.ClassNames],
    scores: ScoresInGroundTruth,
    problems: Problems,
) -> Optional[BoxRow]:
    """The box of a line; None of a blank one, or after noting a problem."""
    if not fields:
        return None
    keypoints = classes.keypoints if classes else 0
    layout = _layout(len(fields) - 1, keypoints)
    if layout is None or (scored and not layout[1]):
        wanted = _EXPECTED + (" ... confidence" if scored else " or class x1 y1 x2 y2 x3 y3 ...")
        problems.add(place, f"is {shown(' '.join(fields))}; expected '{wanted}'. Correct the line.")
        return None
    count, has_score = layout
    if has_score and not scored:
        scores.note(fields[-1], place)
    label = _label(fields[0], place, classes, problems)
    columns = BOX_FIELDS if count == len(BOX_FIELDS) else [f"number {n + 2}" for n in range(count)]
    numbers = [
        read_number(value, column, place, problems) for value, column in zip(fields[1:], columns)
    ]
    score = read_number(fields[-1], "confidence", place, problems) if scored else None
    if label is None or None in numbers or (scored and score is None):
        return None
    return BoxRow(place, label, _corners(numbers), score, stated=shown(" ".join(fields)))


def _layout(count: int, keypoints: int) -> Optional[Tuple[int, bool]]:
    """How many of the numbers after the class are of the box, and whether a confidence follows.

    None where they can be no box.
    """
    box = len(BOX_FIELDS)
    if keypoints and count in (box + keypoints, box + keypoints + 1):
        return box, count == box + keypoints + 1
    if count in (box, box + 1):
        return box, count == box + 1
    if count >= MIN_POLYGON:
        return count - count % 2, count % 2 == 1
    return None


def _label(
    written: str, place: str, classes: Optional[class_names.ClassNames], problems: Problems
) -> Optional[str]:
    number = parse_number(written)
    if number is None or number < 0 or number != int(number):
        problems.add(
            place, f"class is {shown(written)}; expected the number of a class from 0. Correct it."
        )
        return None
    if classes is None:
        return str(int(number))
    if int(number) not in classes.names:
        known = ", ".join(f"{key} ({name})" for key, name in list(classes.names.items())[:10])
        more = f" and {len(classes.names) - 10} more" if len(classes.names) > 10 else ""
        problems.add(
            place,
            f"class is {int(number)}, which {classes.path} does not have; expected one of its "
            f"{len(classes.names)} classes: {known}{more}. Add the class there, or correct the "
            "line.",
        )
        return None
    return classes.names[int(number)]


def _corners(numbers: Sequence[float]) -> Tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax of a centre and size, or around the points of a polygon."""
    if len(numbers) == len(BOX_FIELDS):
        x, y, width, height = numbers
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
