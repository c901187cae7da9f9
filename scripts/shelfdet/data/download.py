"""Downloads, complete or not at all, with resuming and retries; unpacks untrusted archives."""

import functools
import http.client
import json
import os
import pathlib
import shutil
import ssl
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib

import tqdm

from shelfdet import UserError
from shelfdet.core import files

# Attempts in a row that bring no byte before giving up; one that brings some starts the count
# again.
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 1.0  # doubled after every failed attempt: 31 s in all before giving up
TIMEOUT_SECONDS = 30.0
BLOCK = 1 << 16  # bytes read and written at a time
# HTTP status codes of a server that is busy or briefly broken, and not of a wrong address.
WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)


class _Interrupted(Exception):
    """The connection ended before the file did; the next attempt resumes from there."""


def is_fetched(url: str, path: pathlib.Path) -> bool:
    """Whether ``fetch_once`` has downloaded this very address to ``path``."""
    note = _address_note(path)
    return path.is_file() and note.is_file() and note.read_text(encoding="utf-8") == url


def fetch_once(url: str, path: pathlib.Path) -> str:
    """As ``fetch``, and notes the address beside ``path``, for ``is_fetched``."""
    digest = fetch(url, path)
    files.write_text(_address_note(path), url)
    return digest


def _address_note(path):
    return path.with_name(f".{path.name}.url")


def fetch(
    url: str,
    path: pathlib.Path,
    pause: float = FIRST_PAUSE_SECONDS,
    timeout: float = TIMEOUT_SECONDS,
) -> str:
    """Downloads ``url`` to ``path`` and shows progress on standard error.

    Bytes are collected in a hidden file beside ``path``, which is kept after a broken connection,
    Ctrl-C or a kill: the same call continues from there (HTTP Range), unless the file on the server
    has changed since (If-Range), and then it starts again. ``path`` itself appears only when all
    bytes are there.

    Args:
      url: http or https address.
      path: target; an older file there is replaced at the end.
      pause: seconds before the second attempt; doubles with every further one.
      timeout: seconds without a byte after which an attempt ends.

    Returns:
      SHA-256 of the file, as 64 hex digits.

    Raises:
      UserError: the server answers with an error, there is no connection, it breaks too often, the
        file cannot be written, or another program is downloading it.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.download")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.locked(path):  # two downloads would append to one partial file
            _attempt_until_complete(url, partial, pause, timeout)
            with open(str(partial), "rb") as file:
                os.fsync(file.fileno())
            digest = files.sha256(partial)
            os.replace(str(partial), str(path))
            _remove(_validator_path(partial))
    except OSError as error:
        raise UserError(files.writing_failed(path, error)) from error
    return digest


def _attempt_until_complete(url, partial, pause, timeout):
    failures = 0
    while True:
        size_before = _size(partial)
        try:
            _attempt(url, partial, timeout)
            return
        except _Interrupted as interruption:
            failures += 1
            if _size(partial) > size_before:
                failures = 1
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: {interruption} after {failures} attempts, {_size(partial)} bytes so "
                    "far. Check the connection and start the same command again (it resumes from "
                    "here), or fetch the file by hand."
                ) from interruption
            time.sleep(pause * 2 ** (failures - 1))


def _attempt(url, partial, timeout):
    """Opens one connection and appends what it brings to ``partial``, or starts that again."""
    have = _size(partial)
    validator = _read_validator(partial)
    if not validator:
        have = 0  # it is unknown whether the server's file is still the same
    try:
        response = _open(url, have, validator, timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # range not satisfiable: all bytes are here, or too many
            if (error.headers.get("Content-Range") or "").endswith(f"/{have}"):
                return
            _remove(partial)
            raise _Interrupted("the part fetched before does not fit") from error
        if error.code in WORTH_RETRYING:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise UserError(
            f"{url}: the server answered {error.code} {error.reason}; expected the file. Check the "
            "address (it may have moved); an option names another."
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError) and "CERTIFICATE" in str(error.reason).upper():
            raise UserError(
                f"{url}: the server's certificate cannot be trusted ({error.reason}). Is there a "
                "proxy in between? Fetch the file by hand."
            ) from error
        raise _Interrupted(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"no connection ({error or type(error).__name__})") from error
    except ValueError as error:
        raise UserError(
            f"{url}: is no address ({error}); expected one that starts with http:// or https://."
        ) from error
    with response:
        start, total = _range_of(response, have)
        _write_validator(partial, response)
        _append(response, partial, start, total, url)


def _open(url, have, validator, timeout):
    request = urllib.request.Request(
        url, headers={"Accept-Encoding": "identity", "User-Agent": "shelfdet"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    return urllib.request.urlopen(request, timeout=timeout)


def _range_of(response, have):
    """Where a response's body belongs in the file.

    Returns:
      (start, total): offset of its first byte; length of the whole file, None if it is not stated.
    """
    length = response.headers.get("Content-Length")
    length = int(length) if length and length.isdigit() else None
    if getattr(response, "status", None) != 206:
        return 0, length
    content_range = response.headers.get("Content-Range", "")  # "bytes 100-199/200"
    start, _, rest = content_range.replace("bytes ", "").partition("-")
    if start != str(have):
        raise _Interrupted(f"the server continued at the wrong place ({content_range!r})")
    total = rest.partition("/")[2]
    if total.isdigit():
        return have, int(total)
    return have, None if length is None else have + length


def _append(response, partial, start, total, url):
    name = url.rsplit("/", 1)[-1]
    have = start
    with open(str(partial), "r+b" if partial.exists() else "wb") as file, tqdm.tqdm(
        total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None
    ) as bar:
        file.truncate(have)
        file.seek(have)
        while True:
            try:
                block = response.read(BLOCK)
            except (http.client.HTTPException, OSError) as error:
                # An OSError of the network, which another attempt may not have; one of
                # ``file.write`` below is not caught here.
                raise _Interrupted(
                    f"the connection broke ({error or type(error).__name__})"
                ) from error
            if not block:
                break
            file.write(block)
            have += len(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise _Interrupted(f"the connection ended at {have} of {total} bytes")


def _validator_path(partial):
    return partial.with_name(partial.name + ".of")


def _read_validator(partial):
    """What identifies this version of the file for If-Range: a strong ETag or a date; or None."""
    try:
        return json.loads(_validator_path(partial).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_validator(partial, response):
    validator = response.headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # a weak ETag does not vouch for every byte
        validator = response.headers.get("Last-Modified")
    _validator_path(partial).write_text(json.dumps(validator), encoding="utf-8")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _remove(path):
    if path.exists():
        path.unlink()


def extract(archive: pathlib.Path, folder: pathlib.Path, strip: int = 0) -> None:
    """Unpacks a tar (any compression) or zip file into ``folder``, completely or not at all.

    The archive is not trusted: if a member has an absolute path or one with ``..``, or is a link or
    a device, nothing is unpacked. Permissions and owners are not restored. A folder that was there
    before is replaced, or left unchanged on failure.

    Args:
      archive: path of the file; its content, not its name, decides what it is.
      folder: where its content goes.
      strip: how many leading folders of each member's path to leave out (as tar's
        --strip-components).

    Raises:
      UserError: such a member; the file is missing, truncated or no archive; the folder cannot be
        written.
    """
    archive = pathlib.Path(archive)
    if not archive.is_file():
        raise UserError(f"{archive}: no such file; expected an archive (.tar.gz or .zip).")
    with files.replacing(folder) as partial:
        partial.mkdir()
        try:
            for name, opener in _members(archive):
                target = partial.joinpath(*_safe_path(name, archive).parts[strip:])
                if target != partial:
                    _write_member(target, opener)
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:
            raise _not_complete(archive, error) from error
        except OSError as error:
            # gzip and zlib report broken data as an OSError without a number; others, as of a full
            # disk, have one.
            if error.errno is None:
                raise _not_complete(archive, error) from error
            raise


def _write_member(target, opener):
    if opener is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opener() as source, open(str(target), "wb") as file:
        shutil.copyfileobj(source, file, BLOCK)


def _not_complete(archive, error):
    return UserError(
        f"{archive}: is not a complete archive ({error}); expected .tar.gz or .zip. Delete it and "
        "fetch it again."
    )


def _members(archive):
    """Yields (name, opener) of every member, opener None of a folder; refuses links, devices."""
    if zipfile.is_zipfile(str(archive)):
        yield from _zip_members(archive)
    else:
        yield from _tar_members(archive)


def _zip_members(archive):
    with zipfile.ZipFile(str(archive)) as unpacked:
        for member in unpacked.infolist():
            file_type = stat.S_IFMT(member.external_attr >> 16)
            if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, member.filename, "a link or a device")
            opener = None if member.is_dir() else functools.partial(unpacked.open, member)
            yield member.filename, opener


def _tar_members(archive):
    with tarfile.open(str(archive), "r:*") as unpacked:
        for member in unpacked:
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "a link or a device")
            opener = None if member.isdir() else functools.partial(unpacked.extractfile, member)
            yield member.name, opener
        # gzip compares its checksum of all data only when its end is read.
        while unpacked.fileobj.read(BLOCK):
            pass


def _safe_path(name, archive):
    """A member's name as a relative path that stays inside the folder it is unpacked to."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or plain[1:2] == ":" or "\0" in plain:
        raise _refused(archive, name, "an absolute path")
    if ".." in plain.split("/"):
        raise _refused(archive, name, "a path that leaves the folder")
    return pathlib.PurePosixPath(plain)


def _refused(archive, name, what):
    return UserError(
        f"{archive}: member {name!r} is {what}; expected plain files and folders inside the "
        "archive. Nothing was unpacked: do not trust this archive."
    )
