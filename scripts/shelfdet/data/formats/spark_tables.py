"""The tables of step 12: a folder of Parquet with the detections in any number of images.

Step 12 names images by their URI, label files by their file name. Only images whose file names are
asked for are read, since one run may be over millions of images of which some are labelled.
Reading needs pyarrow, but neither Spark nor Java.
"""

import collections
import importlib.util
import pathlib
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, counted, read_number
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImageBoxes,
    ImagesByName,
    base_name,
    joined,
    read_json,
)

# What is in the folder; ``inference.spark.output`` describes and writes it.
RUN = "_run.json"
BATCHES = "_batches"
DETECTIONS = "detections"
IMAGES = "images"

EXPECTED = "a folder that step 12 (`make predict-spark`) has written"
ROWS = 1 << 16  # read at a time


class _Image(NamedTuple):
    """A row of the table of images. uri: of the image. name: its file name. size_wh: in pixels."""

    uri: str
    name: str
    size_wh: Tuple[int, int]


class _Batch(NamedTuple):
    """A complete batch. images, boxes: its number of rows in each table, as step 12 counted."""

    name: str
    images: int
    boxes: int


def read(
    path: PathLike, problems: Problems, scored: bool = True, image_names: Iterable[str] = ()
) -> ImagesByName:
    """Reads the folder; see ``formats.read``. Without ``image_names`` all images are read."""
    return joined(stream(path, problems, scored, image_names))


def stream(
    path: PathLike, problems: Problems, scored: bool = True, image_names: Iterable[str] = ()
) -> Iterator[ImageBoxes]:
    """``read`` image by image; see ``formats.stream``."""
    assert scored, "step 12 writes detections, not ground truth"
    folder = pathlib.Path(path)
    read_run(folder)
    _check_pyarrow(folder)
    wanted = set(image_names)
    places: Dict[str, str] = {}  # file name -> URI
    for batch in _complete_batches(folder):
        images = _read_images(folder, batch, wanted, places, problems)
        yield from (ImageBoxes(image.name, uri, image.size_wh, []) for uri, image in images.items())
        if images:
            yield from _read_boxes(folder, batch, images, problems)


def read_run(path: PathLike) -> Dict[str, Any]:
    """The graph and the options that made the tables, as step 12 notes them.

    Raises:
      UserError: the folder is none of step 12's.
    """
    file = pathlib.Path(path) / RUN
    if not file.is_file():
        raise UserError(
            f"{path}: holds no {RUN}; expected {EXPECTED}, on this machine. Check the path; copy "
            "tables of another storage as they are, with the names that begin with _."
        )
    run = read_json(file, "JSON of step 12")
    if not isinstance(run, dict) or "graph_sha256" not in run:
        raise UserError(f"{file}: states no graph; expected {EXPECTED}. Copy it again.")
    return run


def count_images(path: PathLike) -> int:
    """The number of all images in the tables."""
    return sum(batch.images for batch in _complete_batches(pathlib.Path(path)))


def _check_pyarrow(folder: pathlib.Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"{folder}: reading Parquet needs pyarrow, which is not installed; expected the "
            "packages of scripts/requirements-spark.txt. Run `make setup SPARK=1`."
        )


def _complete_batches(folder: pathlib.Path) -> List[_Batch]:
    """The complete batches; rows of others do not count."""
    found = sorted((folder / BATCHES).glob("*.json"))
    if not found:
        raise UserError(
            f"{folder}: no batch of it is complete; expected {EXPECTED}. Run the same command of "
            "step 12 again, which continues it."
        )
    batches = []
    for file in found:
        counts = read_json(file, "JSON of step 12")
        try:
            batches.append(_Batch(file.stem, int(counts["images"]), int(counts["boxes"])))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{file}: states no number of images and boxes; expected a file of step 12. Copy "
                "it again, or run step 12 again into a new folder."
            ) from error
    return batches


def _read_images(
    folder: pathlib.Path,
    batch: _Batch,
    wanted: Iterable[str],
    places: Dict[str, str],
    problems: Problems,
) -> Dict[str, _Image]:
    """The wanted images of a batch by URI; notes those that step 12 could not read as problems.

    Args:
      wanted: file names; empty for all.
      places: the URI of each name that was found; this adds to them.
    """
    place = folder / IMAGES / f"batch={batch.name}"
    columns = ["image", "width", "height", "error"]
    images: Dict[str, _Image] = collections.OrderedDict()
    rows = 0
    for table in _record_batches(place, columns):
        rows += table.num_rows
        for uri, width, height, error in zip(*_values(table, columns)):
            name = base_name(uri)
            if wanted and name not in wanted:
                continue
            if name in places:
                problems.add(
                    name,
                    f"is {places[name]} and {uri}; expected one image of this file name, by which "
                    "labels name images. Run step 12 on the folder of the labelled images alone.",
                )
                continue
            places[name] = uri
            if error is not None:
                problems.add(
                    uri,
                    f"could not be read in step 12 ({error}); expected detections in every "
                    "labelled image. Replace it and run step 12 into a new folder, or take it out "
                    "of the labels.",
                )
                continue
            images[uri] = _Image(uri, name, (int(width), int(height)))
    _check_rows(place, counted(rows, "image"), rows, batch, batch.images)
    return images


def _check_rows(
    place: pathlib.Path, shown_rows: str, rows: int, batch: _Batch, expected: int
) -> None:
    """Refuses a part of a table that lacks rows, or has some twice."""
    if rows != expected:
        raise UserError(
            f"{place}: holds {shown_rows}; expected {expected}, as {BATCHES}/{batch.name}.json "
            "states. Copy the whole folder again."
        )


def _read_boxes(
    folder: pathlib.Path, batch: _Batch, images: Dict[str, _Image], problems: Problems
) -> Iterator[ImageBoxes]:
    """The boxes of the images of a batch, an image at a time.

    Raises:
      UserError: a file is missing, or there is one too many.
    """
    place = folder / DETECTIONS / f"batch={batch.name}"
    count = 0
    columns = ["image", "class", "score"] + list(BOX_COLUMNS)
    for table in _record_batches(place, columns):
        uris, *values = _values(table, columns)
        count += len(uris)
        for begin, end in _runs(uris):
            image = images.get(uris[begin])
            if image is None:
                continue
            rows = zip(*(column[begin:end] for column in values))
            boxes = (_box(row, image.uri, problems) for row in rows)
            kept = [box for box in boxes if box is not None]
            yield ImageBoxes(image.name, image.uri, image.size_wh, kept)
    _check_rows(place, counted(count, "box", "boxes"), count, batch, batch.boxes)


def _box(row: Tuple[Any, ...], place: str, problems: Problems) -> Optional[BoxRow]:
    label, *numbers = row
    names = ("score",) + BOX_COLUMNS
    values = [read_number(value, name, place, problems) for name, value in zip(names, numbers)]
    if None in values:
        return None
    return BoxRow(place, label or "", tuple(values[1:]), values[0])


def _record_batches(folder: pathlib.Path, columns: List[str]) -> Iterator[Any]:
    """The rows of the Parquet files in a folder, at most ROWS at a time (pyarrow.RecordBatch).

    Raises:
      UserError: a file is broken, or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    for path in sorted(folder.glob("*.parquet")):
        try:
            with pyarrow.parquet.ParquetFile(str(path)) as file:
                missing = sorted(set(columns) - set(file.schema_arrow.names))
                if missing:
                    raise UserError(
                        f"{path}: has no column {', '.join(missing)}; expected a table of step 12."
                    )
                yield from file.iter_batches(ROWS, columns=columns)
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); expected a Parquet file of step 12. Copy the "
                "whole folder again."
            ) from error


def _values(table: Any, columns: List[str]) -> List[List[Any]]:
    """The values of a RecordBatch, a list each column."""
    return [table.column(table.schema.get_field_index(name)).to_pylist() for name in columns]


def _runs(values: List[str]) -> Iterator[Tuple[int, int]]:
    """(begin, end) of each run of equal values; an image's boxes follow each other."""
    begin = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[begin]:
            yield begin, end
            begin = end
