"""Writes files and folders completely or not at all: beside the target, then moved over it."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any, Iterator, List, Sequence, Union

from shelfdet import UserError

PathLike = Union[str, pathlib.Path]

SHA256_BLOCK = 1 << 20  # bytes read at a time, so that a large graph is not held in memory
SHOWN_CHARACTERS = 40  # before and after the one that cannot be encoded


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[pathlib.Path]:
    """Replaces a file or folder by what is written to the path that this context manager yields.

    On success the new file or folder is moved to ``path``; on any failure it is removed. A program
    that is killed leaves the old file, or none. It may also leave a dot file that ends in
    ``.partial``; the next run of the same step overwrites that.

    Args:
      path: the target; a folder is replaced as a whole. Missing parent folders are created.

    Yields:
      path of the partial file, beside ``path``. It does not exist yet.

    Raises:
      UserError: the folder cannot be written, the disk is full, or a folder is where the file
        should be, or the reverse.
    """
    path = pathlib.Path(path)
    if not path.name:
        raise UserError(f"{path}: is not a file name; expected the path of what to write.")
    partial = path.with_name(f".{path.name}.partial")
    try:
        # As root, /dev/null would be replaced by a file.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "is a device or a pipe")
        restore_interrupted(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        _move_into_place(partial, path)
    except OSError as error:
        raise UserError(writing_failed(path, error)) from error
    finally:
        # Where the partial file could not be created, it may be impossible to look for it, too.
        with contextlib.suppress(OSError):
            _remove(partial)


@contextlib.contextmanager
def replacing_together(targets: Sequence[pathlib.Path]) -> Iterator[List[pathlib.Path]]:
    """``replacing`` for several files that belong together.

    None is moved into place before all are written.

    Yields:
      list of the partial files, one for each target.

    Raises:
      UserError: as ``replacing``.
    """
    with contextlib.ExitStack() as stack:
        partials = [stack.enter_context(replacing(target)) for target in targets]
        yield partials
        for target, partial in zip(targets, partials):
            if not partial.is_file():
                raise FileNotFoundError(f"{partial} was not written")
            if target.is_dir():
                error = IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                raise UserError(writing_failed(target, error))


def restore_interrupted(path: pathlib.Path) -> pathlib.Path:
    """Undoes a replacement of the folder ``path`` that was killed between its two moves.

    Between them the old folder has another name. Only a program that writes ``path`` may call this;
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
    path = pathlib.Path(path)
    while path.name.startswith(".") and path.name.endswith(".partial"):
        path = path.with_name(path.name[1 : -len(".partial")])
    return (
        f"{path}: cannot be written ({error.strerror or error}). Expected a folder with write "
        "permission on a disk with free space; what was there before is unchanged. Free some "
        "space, correct the permissions or choose another path, then run the step again."
    )


def write_text(path: PathLike, text: str) -> None:
    """Writes ``text`` as UTF-8 to ``path``, completely or not at all."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:  # a file name whose bytes are not UTF-8
        excerpt = text[max(0, error.start - SHOWN_CHARACTERS) : error.end + SHOWN_CHARACTERS]
        raise UserError(
            f"{path}: cannot hold {excerpt!a}; expected text. Rename the file of that name."
        ) from error
    with replacing(path) as partial:
        partial.write_bytes(data)


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


def _move_into_place(partial, path):
    if partial.is_dir():
        if path.is_dir():
            _replace_folder(partial, path)
        else:
            os.replace(str(partial), str(path))
        return
    with open(str(partial), "rb") as file:
        os.fsync(file.fileno())  # otherwise a power cut may leave an empty file under the new name
    os.replace(str(partial), str(path))


def _replace_folder(partial, path):
    # A folder cannot be moved over one that is not empty: the old one is renamed first.
    old = _old_folder(path)
    _remove(old)
    os.replace(str(path), str(old))
    try:
        os.replace(str(partial), str(path))
    except OSError:
        os.replace(str(old), str(path))
        raise
    _remove(old)


def _old_folder(path):
    return path.with_name(f".{path.name}.old")


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()
