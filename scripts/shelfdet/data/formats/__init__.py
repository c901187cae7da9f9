"""File formats of annotations and detections, one module each, with one reader for both.

A new format is a module with ``read`` (and ``write`` where something writes it), one entry in
FORMATS, and its name in ANNOTATION_FORMATS, DETECTION_FORMATS or both. Nothing here loads NumPy,
so that options can list the formats.
"""

import collections
import pathlib
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.make_variables import both
from shelfdet.core.text import PathLike, Problems, listed
from shelfdet.data.formats import (
    coco,
    cvat,
    datumaro,
    grocery,
    json_kinds,
    labelme,
    labels_csv,
    labelstudio,
    marks,
    recognition,
    sku110k,
    spark_tables,
    supervisely,
    text,
    via,
    voc,
    yolo,
)
from shelfdet.data.formats.image_boxes import (
    BoxRow,
    ImageBoxes,
    ImagesByName,
    joined,
    read_json,
)

__all__ = [
    "ANNOTATION_FORMATS",
    "DETECTION_FORMATS",
    "FORMATS",
    "GROUND_TRUTH_FORMATS",
    "BoxRow",
    "Format",
    "ImageBoxes",
    "ImagesByName",
    "joined",
    "most_likely",
    "read",
    "recognise",
    "refuse_one_json_an_image",
    "stream",
]


class Format(NamedTuple):
    """One entry of FORMATS.

    title: for messages. read: the reader, called as ``read`` below calls it.
    suffixes: of its files, in lower case.
    is_one_file_an_image: the reader takes a folder of files, one an image, instead of one file.
    stream: the same as read, image by image, where files of millions of boxes are read.
    """

    title: str
    read: Callable[..., ImagesByName]
    suffixes: Tuple[str, ...]
    is_one_file_an_image: bool = False
    stream: Optional[Callable[..., Iterator[ImageBoxes]]] = None


FORMATS = collections.OrderedDict(
    [
        ("grocery", Format("Grocery Dataset", grocery.read, (".csv", ".txt"))),
        ("sku110k", Format("SKU-110K CSV", sku110k.read, (".csv",))),
        (
            "csv",
            Format(
                "CSV of labelled boxes", labels_csv.read, (".csv", ".tsv"), stream=labels_csv.stream
            ),
        ),
        ("voc", Format("Pascal VOC XML", voc.read, (".xml",), is_one_file_an_image=True)),
        ("coco", Format("COCO JSON", coco.read, (".json",), stream=coco.stream)),
        ("cvat", Format("CVAT for images XML", cvat.read, (".xml",))),
        ("labelstudio", Format("Label Studio JSON", labelstudio.read, (".json",))),
        ("datumaro", Format("Datumaro JSON", datumaro.read, (".json",))),
        ("via", Format("VGG Image Annotator (VIA)", via.read, (".csv", ".json"))),
        ("yolo", Format("YOLO labels", yolo.read, (".txt",), is_one_file_an_image=True)),
        ("labelme", Format("labelme JSON", labelme.read, (".json",), is_one_file_an_image=True)),
        (
            "supervisely",
            Format("Supervisely JSON", supervisely.read, (".json",), is_one_file_an_image=True),
        ),
        ("text", Format("text files of boxes", text.read, (".txt",), is_one_file_an_image=True)),
        (
            "parquet",
            Format("Parquet tables of step 12", spark_tables.read, (), stream=spark_tables.stream),
        ),
    ]
)
# Of steps 01 and 02.
ANNOTATION_FORMATS = (
    "grocery",
    "sku110k",
    "csv",
    "voc",
    "coco",
    "cvat",
    "labelstudio",
    "datumaro",
    "via",
    "yolo",
    "labelme",
    "supervisely",
)
# Of the ground truth of step 09, and of the detections that it scores.
GROUND_TRUTH_FORMATS = ("coco", "csv", "voc", "text", "yolo", "labelme")
DETECTION_FORMATS = GROUND_TRUTH_FORMATS + ("parquet",)


def read(
    path: PathLike,
    format: str,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    **options: Any,
) -> ImagesByName:
    """Reads a file or folder of annotations or detections.

    Args:
      path: the CSV or JSON file, or the folder of XML or text files.
      format: a key of FORMATS.
      problems: collects everything that is wrong with single lines, elements or entries; the caller
        raises it with ``problems.refuse()``.
      scored: True reads detections, which have scores; False reads ground truth, which has none.
      image_names: names of the images that exist. Formats with one file an image use them to find
        the image that a file is named after.
      options: named arguments of one format's reader: ``brand_is_class`` (grocery),
        ``ground_truth`` (coco), ``names_file`` (yolo).

    Returns:
      dict of file name -> ImageBoxes, in the order of the file (sorted by file name for folders).
      In ground truth, marks of `make suspects` are rows to leave out.

    Raises:
      UserError: the file cannot be read or is of another format.
    """
    images = FORMATS[format].read(path, problems, scored=scored, image_names=image_names, **options)
    return images if scored else marks.left_out(images)


def stream(
    path: PathLike,
    format: str,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    **options: Any,
) -> Iterator[ImageBoxes]:
    """``read`` image by image: memory does not grow with the boxes of a large CSV or COCO JSON.

    Yields:
      the images in the order of the file. One whose rows are not together in the file comes in
      several parts, of which the first has its place and size.

    Raises:
      UserError: as ``read``.
    """
    stream_format = FORMATS[format].stream
    if stream_format is None:
        yield from read(path, format, problems, scored, image_names, **options).values()
        return
    for image in stream_format(path, problems, scored, image_names, **options):
        yield image if scored else marks.left_out_of(image)


def refuse_one_json_an_image(folder: PathLike, paths: Iterable[PathLike]) -> None:
    """Refuses JSON files of a tool that writes one beside each image; nothing reads those yet.

    Args:
      folder: for the message.
      paths: the JSON files of a dataset, any number.

    Raises:
      UserError: they are such files, or the first is not JSON.
    """
    paths = list(paths)
    kind = json_kinds.recognise(read_json(paths[0], "JSON")) if paths else None
    if kind is not None and kind.is_one_file_an_image():
        names = listed(pathlib.Path(path).name for path in paths)
        raise UserError(
            f"{folder}: holds {kind.title} ({names}), which is not read; expected COCO, Pascal VOC "
            f"or a CSV. {kind.advice}"
        )


def recognise(path: PathLike) -> str:
    """The format of a file of annotations.

    A file whose content is not known gets the first format of its suffix, whose reader says what is
    wrong with it.

    Raises:
      UserError: a file of another suffix, one that cannot be read, or of a kind that is not read.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    likely = most_likely(suffix)
    if likely is None:
        kind = f"a {path.suffix} file" if path.suffix else "a file without a suffix"
        raise UserError(
            f"{path}: {kind}; expected {', '.join(recognition.BY_SUFFIX)} or a folder of them. "
            f"Name its format with {both('--format')}."
        )
    return recognition.recognise(path) or likely


def most_likely(suffix: str) -> Optional[str]:
    """The format of annotations that files of a suffix first are; None where they are none."""
    of_suffix = (name for name in ANNOTATION_FORMATS if suffix in FORMATS[name].suffixes)
    return next(of_suffix, None)
