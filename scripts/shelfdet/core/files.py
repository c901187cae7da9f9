"""Files are put in place whole or not at all: written beside the target, then moved over it."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil

from shelfdet import UserError


@contextlib.contextmanager
def replacing(path):
    """Gives a path beside ``path`` to write a file or folder at; on success moves it there, on any failure removes it.

    A step that is killed leaves the old file, or none. What a kill leaves behind is a dot file that ends in
    ``.partial``; the next run of the same step writes over it.

    Args:
      path: the target; a folder is replaced whole. Missing parent folders are made.

    Yields:
      pathlib.Path of the partial file. Nothing is there yet.

    Raises:
      UserError: the folder cannot be written, the disk is full, a folder stands where the file belongs or the reverse.
    """
    path = pathlib.Path(path)
    if not path.name:
        raise UserError(f"{path}: is no file name; expected the path of what to write.")
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.exists() and not (
            path.is_file() or path.is_dir()
        ):  # /dev/null would be replaced, as root
            raise OSError(errno.EINVAL, "is a device or a pipe")
        settled(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if partial.is_dir():
            if path.is_dir():
                _swap_folder(partial, path)
            else:
                os.replace(str(partial), str(path))
        else:
            with open(str(partial), "rb") as file:
                os.fsync(file.fileno())
            os.replace(str(partial), str(path))
    except OSError as error:
        raise UserError(writing_failed(path, error)) from error
    finally:
        with contextlib.suppress(
            OSError
        ):  # where it could not be made, it cannot be looked for either
            _remove(partial)


@contextlib.contextmanager
def replacing_together(targets):
    """``replacing`` for several files that belong together: none is moved into place before all are written.

    Yields:
      list of pathlib.Path, one to write each target at.

    Raises:
      UserError: as ``replacing``; also a folder that stands where a file belongs.
    """
    with contextlib.ExitStack() as stack:
        partials = [stack.enter_context(replacing(target)) for target in targets]
        yield partials
        for target, partial in zip(targets, partials):
            if not partial.is_file():
                raise FileNotFoundError(f"{partial} was not written")
            if target.is_dir():
                raise UserError(
                    writing_failed(
                        target, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                    )
                )


def settled(path):
    """``path``, once a swap of folders that a kill cut short is undone: between its two moves the old folder has another name."""
    old = _aside(path)
    if old.is_dir() and not path.exists():
        os.replace(str(old), str(path))
    return path


def standing(path):
    """``path``, or where its folder lies between the two moves of a swap: for readers, who must not take part in it."""
    return path if path.exists() or not _aside(path).is_dir() else _aside(path)


def writing_failed(path, error):
    """The message for an OSError met while writing ``path``, which may be the partial file that ``replacing`` gave."""
    path = pathlib.Path(path)
    while path.name.startswith(".") and path.name.endswith(".partial"):
        path = path.with_name(path.name[1 : -len(".partial")])
    return f"{path}: cannot be written ({error.strerror or error}). Expected a folder that can be written with room on its disk; whatever stood there before is unchanged. Free some space, mend the permissions or name another place, then run the step again."


def write_text(path, text):
    """Writes ``text`` as UTF-8 to ``path``, whole or not at all."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:  # a file name that is not UTF-8 on disk
        raise UserError(
            f"{path}: cannot hold {text[max(0, error.start - 40) : error.end + 40]!a}; expected text. Rename the file of that name."
        ) from error
    with replacing(path) as partial:
        partial.write_bytes(data)


def read_json(path):
    """What the JSON file at ``path`` holds.

    Raises:
      UserError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); expected JSON as this workspace wrote it. Make it anew, or take it back with `git checkout` if it came with the workspace."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: is no whole JSON ({error}); expected it as this workspace wrote it. Make it anew."
        ) from error


def sha256(path):
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _swap_folder(partial, path):
    # A folder cannot be moved over one that is not empty: the old one steps aside first.
    old = _aside(path)
    _remove(old)
    os.replace(str(path), str(old))
    try:
        os.replace(str(partial), str(path))
    except OSError:
        os.replace(str(old), str(path))
        raise
    _remove(old)


def _aside(path):
    return path.with_name(f".{path.name}.old")


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()
