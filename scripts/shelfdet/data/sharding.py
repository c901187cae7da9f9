"""Divides the images of a record among shards, and keeps shards that are complete after a kill.

The images are dealt to the shards in turn, in the order of a hash of their names. So every shard is
a random sample of all images, whatever order the label file has, and photographs of one shelf,
which follow each other there, are not neighbours in it.

Complete shards wait in a hidden folder beside the record until all are there. The name of each has
a digest of all that it was made from, so that a later run takes it only if that is the same.
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
from typing import Any, Dict, Iterable, Iterator, List, Sequence

from shelfdet import UserError
from shelfdet.core import boxes, files, shards, tiles
from shelfdet.core.text import counted
from shelfdet.data import examples, images
from shelfdet.data.labels import LabelledImage

# A record of more examples becomes shards, of as many each: at 1024 px about 300 MB.
LARGEST_RECORD = 10000
EXAMPLES_OF_A_SHARD = 2000

DIGEST_LENGTH = 16  # hexadecimal digits


def count_for(example_count: int) -> int:
    """The number of shards of a record; 1 is a single file."""
    if example_count <= LARGEST_RECORD:
        return 1
    return min(math.ceil(example_count / EXAMPLES_OF_A_SHARD), shards.LARGEST_COUNT)


def check_count(count: int, image_count: int, path: pathlib.Path) -> None:
    """Refuses more shards than there are images: a shard must not be empty.

    Args:
      count: of shards, as the user gave it.
      image_count: images of the record.
      path: of its label file.

    Raises:
      UserError: so.
    """
    if count > image_count:
        raise UserError(
            f"--shards {count}: {path} has {counted(image_count, 'image')} for the record; "
            "expected at least one a shard. Give a smaller number, or name only the other splits "
            "with --splits."
        )


def dealt(names: Iterable[str], count: int) -> List[List[str]]:
    """The names of the images of each shard, in their order there.

    Args:
      names: of all images of the record, in any order.
      count: of shards.
    """
    ordered = sorted(names, key=_hash)
    return [ordered[number::count] for number in range(count)]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def digest(
    labelled: Sequence[LabelledImage],
    image_paths: Sequence[pathlib.Path],
    settings: Dict[str, Any],
    code: Sequence[str],
) -> str:
    """A digest of all that a shard is made from: DIGEST_LENGTH hexadecimal digits.

    Of an image file it takes the size and the times of its content and of its entry in the file
    system, because reading it would take as long as storing it again.

    Args:
      labelled: the images of the shard, with their boxes.
      image_paths: the file of each.
      settings: everything else that decides what is written, for JSON.
      code: the source files that decide it.
    """
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8"))
    for module in (boxes, examples, images, tiles):
        found.update(pathlib.Path(module.__file__).read_bytes())
    for source in code:
        found.update(pathlib.Path(source).read_bytes())
    for image, path in zip(labelled, image_paths):
        status = os.stat(str(path))
        row = [image.filename, list(image.size_wh), list(image.classes), str(path)]
        row += [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        found.update(json.dumps(row).encode("utf-8"))
        found.update(image.boxes_xyxy.tobytes())
    return found.hexdigest()[:DIGEST_LENGTH]


class ShardSet:
    """The shards of one record that are being written. Made by ``writing``."""

    def __init__(self, record: pathlib.Path, digests: Sequence[str]) -> None:
        """record: what they are shards of. digests: of the inputs of each shard."""
        self.record = record
        self._digests = digests
        self._folder = _waiting_folder(record)

    @property
    def waiting(self) -> List[pathlib.Path]:
        """Where each shard is written, and waits until all are complete."""
        count = len(self._digests)
        return [
            self._folder / f"{shards.path(self.record, number, count).name}.{of_inputs}"
            for number, of_inputs in enumerate(self._digests)
        ]

    def prepare(self) -> None:
        """Makes the folder, and removes what is in it of other inputs or half written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = {path.name for path in self.waiting}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def move_into_place(self) -> None:
        """Replaces the old record, one file or shards, by the complete shards.

        The old files are removed first: whenever a kill ends this, too few shards are there, which
        step 05 and training refuse, and never old ones beside new ones.
        """
        try:
            remove(self.record)
            for number, waiting in enumerate(self.waiting):
                place = shards.path(self.record, number, len(self._digests))
                _move(waiting, place)
            shutil.rmtree(str(self._folder))
        except OSError as error:
            raise UserError(
                f"{self.record}: its shards cannot be put in place ({error.strerror or error}). "
                "The old record is gone, and the new one is not complete: run step 04 again."
            ) from error


@contextlib.contextmanager
def writing(record: pathlib.Path, digests: Sequence[str]) -> Iterator[ShardSet]:
    """Prepares the writing of shards, and excludes other programs that write the record.

    Yields:
      a ShardSet; the caller writes what is not in ``waiting`` and calls ``move_into_place``.

    Raises:
      UserError: the folder cannot be written, or another program is writing the record.
    """
    try:
        files.remove_leftovers(record)  # of a run that wrote one file
        with files.locked(record):
            found = ShardSet(record, digests)
            found.prepare()
            yield found
    except OSError as error:
        raise UserError(files.writing_failed(record, error)) from error


def remove(record: pathlib.Path) -> None:
    """Removes a record: its file, and shards of any number."""
    for path in shards.present(record) + [record]:
        if path.is_file() or path.is_symlink():
            _unlink(path)


def remove_shards(record: pathlib.Path) -> None:
    """Removes the shards of a record that is one file now, complete or waiting to be complete."""
    for path in shards.present(record):
        _unlink(path)
    shutil.rmtree(str(_waiting_folder(record)), ignore_errors=True)


# Functions of their own, which a test stops one by one.
def _move(source: pathlib.Path, target: pathlib.Path) -> None:
    os.replace(str(source), str(target))


def _unlink(path: pathlib.Path) -> None:
    path.unlink()


def _waiting_folder(record: pathlib.Path) -> pathlib.Path:
    return record.with_name(f".{record.name}.shards")
