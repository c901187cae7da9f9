"""A list of objects that takes little memory: it keeps them in a temporary file."""

import collections.abc
import contextlib
import pickle
import tempfile
import threading
from array import array
from typing import Any, Callable, Iterable, Iterator, Sequence

from shelfdet import UserError

MOST_IN_MEMORY = 64 * 2**20  # bytes; what is smaller never reaches the disk


class DiskList(collections.abc.Sequence):
    """Objects that can be pickled, in the order in which they were appended.

    Each access reads the object anew, so changing it changes nothing here. The file is in the
    folder that TMPDIR names (default: /tmp), and is gone when the process ends, however it ends.
    Threads may share a list; processes may not, not even after a fork: they share the file's place.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(MOST_IN_MEMORY)
        self._ends = array("q", [0])
        self._lock = threading.Lock()  # a file has one place at which it is read and written
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """Raises UserError where the folder for temporary files is full, or cannot be written."""
        with self._access():
            self._file.seek(self._ends[-1])
            pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
            self._ends.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        with self._access():  # the end of what was written last may be in a buffer until now
            self._file.seek(self._ends[place])
            content = self._file.read(self._ends[place + 1] - self._ends[place])
        return pickle.loads(content)

    @contextlib.contextmanager
    def _access(self) -> Iterator[None]:
        """Lets one thread use the file, and makes an OSError a UserError with the folder."""
        try:
            with self._lock:
                yield
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()  # or Python would report the same error when the list is gone
            raise UserError(_failed(error, self._ends[-1])) from error


def _failed(error: OSError, size: int) -> str:
    """The message for an OSError of the temporary file after ``size`` bytes."""
    try:
        folder = tempfile.gettempdir()
    except OSError:  # there is none; the error says so
        folder = "TMPDIR"
    return (
        f"{folder}: the folder for temporary files cannot be written after {size / 1e6:.0f} MB "
        f"({error.strerror or error}). Expected free space for boxes that do not fit in memory. "
        "Free some, or name another folder with the environment variable TMPDIR, then run the step "
        "again."
    )


class Mapped(collections.abc.Sequence):
    """``function`` of each of ``items``, computed when it is asked for and not kept."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self._function = function
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._function(self._items[index])
