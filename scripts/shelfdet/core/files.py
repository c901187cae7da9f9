"""Writes files and folders completely or not at all: beside the target, then moved over it."""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import time
from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

from shelfdet import UserError
from shelfdet.core import command_line

PathLike = Union[str, pathlib.Path]

SHA256_BLOCK = 1 << 20  # bytes read at a time, so that a large graph is not held in memory
SHOWN_CHARACTERS = 40  # before and after the one that cannot be encoded
LOCK_SECONDS = 5.0  # to wait for another program: a small file is written long before
LOCK_PAUSE_SECONDS = 0.05
# What other programs print when they cannot write, as a regular expression
DISK_FULL = r"No space left on device|File too large|Disk quota exceeded"
# Of Linux's renameat2
AT_FDCWD = -100  # paths are relative to the working directory
RENAME_EXCHANGE = 2

# Targets that this process is writing: POSIX locks do not exclude threads of one process.
_held = set()


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[pathlib.Path]:
    """Replaces a file or folder by what is written to the path that this context manager yields.

    On success the new file or folder is moved to ``path``; on any failure it is removed. A program
    that is killed leaves the old one or the new one, whole. It may also leave dot files that end in
    ``.partial`` and ``.lock``; the next run of the same step removes them.

    Args:
      path: the target; a folder is replaced as a whole. Missing parent folders are created.

    Yields:
      path of the partial file, beside ``path``. It does not exist yet.

    Raises:
      UserError: the folder cannot be written, the disk is full, a folder is where the file should
        be, or the reverse, or another program is writing ``path``.
    """
    with _partial_of(path) as partial:
        yield partial
        _save_to_disk(partial)
        _move_into_place(partial, pathlib.Path(path))


@contextlib.contextmanager
def _partial_of(path):
    """Yields the partial file of ``path`` and removes it at the end, if it has not been moved."""
    path = pathlib.Path(path)
    if not path.name:
        raise UserError(f"{path}: is not a file name; expected the path of what to write.")
    partial = _partial_path(path)
    try:
        # As root, /dev/null would be replaced by a file.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "is a device or a pipe")
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            restore_interrupted(path)
            _remove(partial)  # of a run that was killed
            try:
                yield partial
            finally:
                # Where the partial file could not be created, it may be impossible to look for it.
                with contextlib.suppress(OSError), command_line.interrupts_delayed():
                    _remove(partial)
    except OSError as error:
        raise UserError(writing_failed(path, error)) from error


def _partial_path(path):
    # In the same folder, because a move is atomic only within one file system.
    return path.with_name(f".{path.name}.partial")


def _lock_path(path):
    return path.parent.resolve() / f".{path.name}.lock"


def remove_leftovers(path: pathlib.Path) -> None:
    """Removes what a program that was killed left beside ``path``, as ``replacing`` does first.

    For a step that finds nothing to replace.

    Raises:
      UserError: they cannot be removed, or another program is writing ``path``.
    """
    if os.path.lexists(str(_partial_path(path))) or os.path.lexists(str(_lock_path(path))):
        with _partial_of(path):
            pass


@contextlib.contextmanager
def locked(path: PathLike) -> Iterator[None]:
    """Excludes other programs that write ``path`` through this context manager.

    Two programs would write to one partial file, and one would move what the other has half
    written. The lock is a dot file beside ``path`` and belongs to this process: it ends with the
    process, even if that is killed, and worker processes do not inherit it.

    Args:
      path: a file or folder in a folder that exists.

    Raises:
      OSError: the folder cannot be written.
      UserError: another program still holds the lock after LOCK_SECONDS.
    """
    path = pathlib.Path(path)
    lock = _lock_path(path)
    deadline = time.monotonic() + LOCK_SECONDS
    descriptor = _try_to_lock(lock)
    while descriptor is None:
        if time.monotonic() > deadline:
            raise UserError(
                f"{_written_path(path)}: another program is writing it{_holder(lock)}; expected "
                "one at a time. Wait for its end, or choose another path for one of the two."
            )
        time.sleep(LOCK_PAUSE_SECONDS)
        descriptor = _try_to_lock(lock)
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        # Removed before it is unlocked: a process that opened it in between sees that it is gone.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _try_to_lock(lock):
    """The open descriptor of the lock file, or None where another process holds it."""
    if lock in _held:
        return None
    descriptor = os.open(str(lock), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        current = os.stat(str(lock))
        if os.path.samestat(os.fstat(descriptor), current):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode("ascii"))
            return descriptor
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # held by another process, or removed by it just now
    except OSError as error:
        # A file system without locks, as some network ones, must not prevent writing.
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return descriptor
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return descriptor  # locked; only the number of the process could not be written
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _holder(lock):
    """Which process holds a lock, for a message."""
    # Closing the file, even if it was opened only to be read, would end a lock of this process.
    if lock in _held:
        return ""
    try:
        number = lock.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {number})" if number.isdigit() else ""


@contextlib.contextmanager
def replacing_together(
    targets: Sequence[pathlib.Path], before_moves: Optional[Callable[[], None]] = None
) -> Iterator[List[pathlib.Path]]:
    """``replacing`` for several files or folders that belong together.

    None is moved into place before all are written to the disk. They are then moved one directly
    after another, and Ctrl-C waits for the last.

    Args:
      targets: as for ``replacing``; there may be none.
      before_moves: called when all are written, directly before the first is moved. It moves and
        removes other files that belong to them.

    Yields:
      list of the partial files, one for each target.

    Raises:
      UserError: as ``replacing``.
    """
    with contextlib.ExitStack() as stack:
        partials = [stack.enter_context(_partial_of(target)) for target in targets]
        yield partials
        for target, partial in zip(targets, partials):
            _check_movable(partial, target)
            _save_to_disk(partial)
        with command_line.interrupts_delayed():
            if before_moves is not None:
                before_moves()
            for target, partial in zip(targets, partials):
                _move_into_place(partial, target)


def _check_movable(partial, target):
    """Raises what moving ``partial`` would raise, while none of several files has been moved."""
    if not partial.exists():
        raise FileNotFoundError(f"{partial} was not written")
    if target.exists() and target.is_dir() != partial.is_dir():
        number = errno.EISDIR if target.is_dir() else errno.ENOTDIR
        raise UserError(writing_failed(target, OSError(number, os.strerror(number))))


def restore_interrupted(path: pathlib.Path) -> pathlib.Path:
    """Undoes a replacement of the folder ``path`` that was killed between its two moves.

    Only file systems that cannot swap two folders need two moves (``_replace_folder``). Between
    them the old folder has another name. Only a program that writes ``path`` may call this;
    those that read it call ``readable_folder``.

    Returns:
      ``path``.
    """
    old = _old_folder(path)
    if old.is_dir() and not path.exists():
        os.replace(str(old), str(path))
    return path


def readable_folder(path: pathlib.Path) -> pathlib.Path:
    """Where to read the folder ``path`` while another program may be replacing it.

    Returns:
      ``path``, or the name that the old folder has between the two moves of a replacement.
    """
    if path.exists() or not _old_folder(path).is_dir():
        return path
    return _old_folder(path)


def writing_failed(path: PathLike, error: OSError) -> str:
    """The message for an OSError raised while writing ``path``.

    Args:
      path: the target, or the partial file that ``replacing`` gave for it.
      error: what was raised.
    """
    path = _written_path(path)
    return (
        f"{path}: cannot be written ({error.strerror or error}). Expected a folder with write "
        "permission on a disk with free space; what was there before is unchanged. Free some "
        "space, correct the permissions or choose another path, then run the step again."
    )


def _written_path(path):
    """The path for messages: of a partial file, that of its target."""
    path = pathlib.Path(path)
    # A loop: ``write_text`` to a partial file makes a partial file of the partial file.
    while path.name.startswith(".") and path.name.endswith(".partial"):
        path = path.with_name(path.name[1 : -len(".partial")])
    return path


def write_text(path: PathLike, text: str) -> None:
    """Writes ``text`` as UTF-8 to ``path``, completely or not at all."""
    data = encoded(text, path)
    with replacing(path) as partial:
        partial.write_bytes(data)


def encoded(text: str, path: PathLike) -> bytes:
    """``text`` as UTF-8.

    Args:
      text: a file's content, or a part of it.
      path: the file, for the message.

    Raises:
      UserError: it holds a file name whose bytes are not UTF-8.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        excerpt = text[max(0, error.start - SHOWN_CHARACTERS) : error.end + SHOWN_CHARACTERS]
        raise UserError(
            f"{path}: cannot hold {excerpt!a}; expected text. Rename the file of that name."
        ) from error


def read_json(path: PathLike) -> Any:
    """The content of the JSON file at ``path``.

    Raises:
      UserError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); expected JSON as this workspace "
            "writes it. Run the step that writes it again; if it is one of the repository's own "
            "files, download that again."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: is not complete JSON ({error}); expected it as this workspace writes it. "
            "Run the step that writes it again."
        ) from error


def sha256(path: PathLike) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(SHA256_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _save_to_disk(partial):
    """Has the content of a file or folder written to the disk, not only to the system's memory.

    Otherwise a power cut may leave empty files under the new name.
    """
    inside = partial.rglob("*") if partial.is_dir() else [partial]
    for path in inside:
        if path.is_file() and not path.is_symlink():
            with open(str(path), "rb") as file:
                os.fsync(file.fileno())


def _move_into_place(partial, path):
    if partial.is_dir() and path.is_dir():
        _replace_folder(partial, path)
    else:
        os.replace(str(partial), str(path))


def _replace_folder(partial, path):
    """A folder cannot be moved over one that is not empty: the two swap their names."""
    if _exchange(partial, path):
        return  # ``partial`` is the old folder now, which is removed as any partial one
    # Two moves, for file systems that cannot swap names: see ``restore_interrupted``.
    old = _old_folder(path)
    _remove(old)
    os.replace(str(path), str(old))
    try:
        os.replace(str(partial), str(path))
    except OSError:
        os.replace(str(old), str(path))
        raise
    _remove(old)


def _exchange(one, other):
    """Swaps the names of two folders at once; returns False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux; glibc 2.28 and later
    if renameat2 is None:
        return False
    status = renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return status == 0


def _old_folder(path):
    return path.with_name(f".{path.name}.old")


def _remove(path):
    if path.is_dir() and not path.is_symlink():  # rmtree refuses links
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()
