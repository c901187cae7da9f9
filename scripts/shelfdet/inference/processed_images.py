"""A file of the images that a run of step 08 has processed, with their detections.

Step 08 appends each image as soon as it is processed and reads them all at the end, so that memory
does not grow with the number of boxes, and the same command resumes a run that was killed.
"""

import contextlib
import json
import os
import pathlib
import zlib
from typing import (
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from shelfdet import UserError
from shelfdet.core import files, tiles
from shelfdet.data.detections import Detections

UNFINISHED = ".unfinished"  # after the name of the output, of a run that was killed
COLUMNS = 6  # of a box: xmin, ymin, xmax, ymax, score, index of its class in the image's "classes"


class ImageResult(NamedTuple):
    """What became of one image.

    filename: its name, with the folders below the one that was named.
    detections: None where the image was skipped.
    orientation: its EXIF orientation.
    problem: why it was skipped; None where it was not.
    version: by which a resumed run knows that the file is the same; see ``file_version``.
    grid: how it was divided.
    """

    filename: str
    detections: Optional[Detections]
    orientation: int
    problem: Optional[str]
    version: Optional[str] = None
    grid: tiles.Grid = tiles.WHOLE


class ProcessedImages:
    """The images in the file, in the order in which they were added.

    An entry is a line of JSON and then the boxes of the image as float64 (N, COLUMNS).

    differs: in what the run before, whose images were deleted, was another one: names of options;
      empty where it was the same one, or where there was none.
    """

    def __init__(
        self,
        file: BinaryIO,
        is_current: Callable[[ImageResult], bool],
        differs: Sequence[str],
    ) -> None:
        """Reads what a run before has left.

        Args:
          file: open for reading and appending; the entries begin at its current position.
          is_current: whether an image that was processed before is still wanted, and the same file.
          differs: as above.
        """
        self.differs = list(differs)
        self._file = file
        self._start = file.tell()
        self._outdated = set()  # positions of entries
        end = self._start
        for position, entry, table in self._entries():
            end = file.tell()
            if not is_current(_result(entry, table)):
                self._outdated.add(position)
        file.truncate(end)  # an entry that the killed run has not written completely

    def add(self, result: ImageResult) -> None:
        """Appends an image."""
        found = result.detections
        entry = {
            "filename": result.filename,
            "orientation": result.orientation,
            "problem": result.problem,
            "version": result.version,
            "grid": list(result.grid),
        }
        table = np.zeros((0, COLUMNS))
        if found is not None:
            classes = sorted(set(found.classes))
            entry["size_wh"] = list(map(int, found.size_wh))
            entry["classes"] = classes
            table = np.column_stack(
                [found.boxes_xyxy, found.scores, [classes.index(name) for name in found.classes]]
            ).reshape(-1, COLUMNS)
        data = table.tobytes()
        entry["boxes"] = len(table)
        entry["crc32"] = zlib.crc32(data)
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(entry).encode() + b"\n" + data)

    def __iter__(self) -> Iterator[ImageResult]:
        for position, entry, table in self._entries():
            if position not in self._outdated:
                yield _result(entry, table)

    def _entries(self) -> Iterator[Tuple[int, Dict[str, Any], np.ndarray]]:
        """The position in the file, the line of JSON and the boxes of each entry."""
        position = self._start
        while True:
            # The caller may have added images, or read others, since the last one.
            self._file.seek(position)
            entry, table = _read_entry(self._file)
            if entry is None:
                return
            following = self._file.tell()
            yield position, entry, table
            position = following


def _read_entry(file: BinaryIO) -> Tuple[Optional[Dict[str, Any]], np.ndarray]:
    """The next entry and its boxes; None at the end, or where the entry is cut short."""
    nothing = np.zeros((0, COLUMNS))
    line = file.readline()
    if not line.endswith(b"\n"):
        return None, nothing
    # Pages of a file that never reached the disk before a power cut are zeros.
    try:
        entry = json.loads(line.decode())
        data = file.read(entry["boxes"] * COLUMNS * nothing.itemsize)
        is_whole = zlib.crc32(data) == entry["crc32"]
    except (ValueError, TypeError, KeyError):
        return None, nothing
    if not is_whole:
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
        tiles.Grid(*entry["grid"]),
    )


def file_version(path: pathlib.Path) -> Optional[str]:
    """What a file is known by: where it is, which one, its size and the times of its changes.

    None where there is no such file.
    """
    try:
        place = path.resolve()
        status = place.stat()
    except OSError:
        return None
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{place} {status.st_dev} {status.st_ino} {status.st_size} {times}"


@contextlib.contextmanager
def resumable(
    path: pathlib.Path, run: Dict[str, Any], is_current: Callable[[ImageResult], bool]
) -> Iterator[ProcessedImages]:
    """The file at ``path``, with what an earlier run of the same kind has processed.

    It is removed when the block ends, and stays when the block fails or the program is killed.

    Args:
      path: the file, which need not exist.
      run: how the images are processed, values of JSON: what another run has processed is deleted.
      is_current: as in ``ProcessedImages``.

    Raises:
      UserError: another program is using the file.
    """
    with _written(path), files.locked(path):
        with open(str(path), "a+b") as file:
            file.seek(0)
            differs = _begin(file, run)
            yield ProcessedImages(file, is_current, differs)
        path.unlink()


def _begin(file: BinaryIO, run: Dict[str, Any]) -> List[str]:
    """Reads the first line, which describes the run, and begins anew if it is of another.

    Returns:
      in what it was another, names of options; empty if it was not.
    """
    run = json.loads(json.dumps(run))  # as it is read back: tuples are lists
    line = file.readline()
    before = {}
    with contextlib.suppress(ValueError, TypeError):
        before = dict(json.loads(line.decode()))
    if line.endswith(b"\n") and before == run:
        return []
    file.truncate(0)
    file.write(json.dumps(run).encode() + b"\n")
    file.flush()
    if not before:
        return []
    names = set(run) | set(before)
    return sorted(name for name in names if _option(run, name) != _option(before, name))


def _option(run: Dict[str, Any], name: str) -> Tuple[bool, Any]:
    """An option of a run: of an earlier version it may be missing, which is not None."""
    return name in run, run.get(name)


@contextlib.contextmanager
def _written(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(files.writing_failed(path, error)) from error
