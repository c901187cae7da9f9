"""A file of the images that a run of step 08 has processed, with their detections.

Step 08 appends each image as soon as it is processed and reads them all at the end, so that memory
does not grow with the number of images. With a name, the file also lets a killed run be resumed.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from typing import Any, BinaryIO, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.core.text import listed
from shelfdet.data.detections import Detections

UNFINISHED = ".unfinished"  # after the name of the output, of a run that can be resumed
COLUMNS = 6  # of a box: xmin, ymin, xmax, ymax, score, index of its class in the image's "classes"


class ImageResult(NamedTuple):
    """What became of one image.

    filename: its name, with the folders below the one that was named.
    detections: None where the image was skipped.
    orientation: its EXIF orientation.
    problem: why it was skipped; None where it was not.
    version: by which a resumed run knows that the file is the same: its size and time of change.
    tiles: number of tiles in a row that it was divided into.
    """

    filename: str
    detections: Optional[Detections]
    orientation: int
    problem: Optional[str]
    version: Optional[str] = None
    tiles: int = 1


class ProcessedImages:
    """The images in the file, in the order in which they were added.

    An entry is a line of JSON and then the boxes of the image as float64 (N, COLUMNS).
    """

    def __init__(self, file: BinaryIO) -> None:
        """``file``: open for reading and writing; the entries begin at its current position."""
        self._file = file
        self._start = file.tell()

    def add(self, result: ImageResult) -> None:
        """Appends an image."""
        found = result.detections
        entry = {
            "filename": result.filename,
            "orientation": result.orientation,
            "problem": result.problem,
            "version": result.version,
            "tiles": result.tiles,
        }
        table = np.zeros((0, COLUMNS))
        if found is not None:
            classes = sorted(set(found.classes))
            entry["size_wh"] = list(map(int, found.size_wh))
            entry["classes"] = classes
            table = np.column_stack(
                [found.boxes_xyxy, found.scores, [classes.index(name) for name in found.classes]]
            ).reshape(-1, COLUMNS)
        entry["boxes"] = len(table)
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(entry).encode() + b"\n" + table.tobytes())

    def __iter__(self) -> Iterator[ImageResult]:
        self._file.seek(self._start)
        while True:
            entry, table = _read_entry(self._file)
            if entry is None:
                return
            # The caller may add images before it asks for the next one.
            position = self._file.tell()
            yield _result(entry, table)
            self._file.seek(position)


def _read_entry(file: BinaryIO) -> Tuple[Optional[Dict[str, Any]], np.ndarray]:
    """The next entry and its boxes; None at the end, or where the entry is cut short."""
    nothing = np.zeros((0, COLUMNS))
    line = file.readline()
    if not line.endswith(b"\n"):
        return None, nothing
    try:
        entry = json.loads(line.decode())
    except ValueError:  # a page of a file that never reached the disk before a power cut
        return None, nothing
    size = entry["boxes"] * COLUMNS * nothing.itemsize
    data = file.read(size)
    if len(data) < size:
        return None, nothing
    return entry, np.frombuffer(data).reshape(-1, COLUMNS)


def _result(entry: Dict[str, Any], table: np.ndarray) -> ImageResult:
    found = None
    if "size_wh" in entry:
        classes = tuple(entry["classes"][int(index)] for index in table[:, 5])
        found = Detections(
            entry["filename"], tuple(entry["size_wh"]), table[:, :4], table[:, 4], classes
        )
    return ImageResult(
        entry["filename"],
        found,
        entry["orientation"],
        entry["problem"],
        entry["version"],
        entry["tiles"],
    )


def file_version(path: pathlib.Path) -> Optional[str]:
    """The ``version`` of an ImageResult; None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


@contextlib.contextmanager
def temporary(folder: pathlib.Path) -> Iterator[ProcessedImages]:
    """A file without a name in ``folder``: the disk's space is free again when the program ends."""
    with _written(folder), tempfile.TemporaryFile(dir=str(folder)) as file:
        yield ProcessedImages(file)


@contextlib.contextmanager
def resumable(path: pathlib.Path, run: Dict[str, Any]) -> Iterator[ProcessedImages]:
    """The file at ``path``, with what an earlier run of the same kind has processed.

    It is removed when the block ends, and stays when the block fails or the program is killed.

    Args:
      path: the file, which need not exist.
      run: how the images are processed, values of JSON: a run is resumed only by an equal one.

    Raises:
      UserError: another program is using the file, or it is of a run that differs.
    """
    with _written(path), files.locked(path):
        with open(str(path), "a+b") as file:
            file.seek(0)
            _check_run(path, file, run)
            processed = ProcessedImages(file)
            _cut_incomplete_entry(file)
            yield processed
        path.unlink()


def _check_run(path: pathlib.Path, file: BinaryIO, run: Dict[str, Any]) -> None:
    """Reads the first line, which describes the run, or writes it into an empty file."""
    run = json.loads(json.dumps(run))  # as it is read back: tuples are lists
    line = file.readline()
    if not line.endswith(b"\n"):
        file.truncate(0)
        file.write(json.dumps(run).encode() + b"\n")
        return
    try:
        before = dict(json.loads(line.decode()))
    except (ValueError, TypeError):
        before = {}
    changed = sorted(key for key in set(run) | set(before) if run.get(key) != before.get(key))
    if changed:
        raise UserError(
            f"{paths.shown(path)}: is of a run that differs in {listed(changed)}; expected "
            "the same command and images, to resume it. Give the same options, or delete the file "
            "to begin anew."
        )


def _cut_incomplete_entry(file: BinaryIO) -> None:
    """Removes an entry at the end that a killed run has not written completely."""
    end = file.tell()
    while _read_entry(file)[0] is not None:
        end = file.tell()
    file.truncate(end)


@contextlib.contextmanager
def _written(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(files.writing_failed(path, error)) from error
