"""Files from the network, whole or not at all: resumed, retried, and unpacked without trusting the archive."""

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

from shelfdet import UserError
from shelfdet.core import files

ATTEMPTS = 6  # in a row that bring no byte; one that brings some starts the count anew
FIRST_PAUSE_SECONDS = 1.0  # doubled after every fruitless attempt: 31 s in all before giving up
TIMEOUT_SECONDS = 30.0
BLOCK = 1 << 16
WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)


class _Broken(Exception):
    """The connection ended before the file did; the next attempt goes on from there."""


def fetch(url, path, pause=FIRST_PAUSE_SECONDS, timeout=TIMEOUT_SECONDS):
    """Downloads ``url`` to ``path`` and returns the SHA-256 of what came; shows progress on stderr.

    Bytes gather in a dot file beside ``path`` that outlives a break, a Ctrl-C or a kill: the same call goes on from there
    (HTTP Range), unless the server says that the file has changed since (If-Range), and then starts anew. ``path`` itself
    appears only when every byte is there.

    Args:
      url: http or https address.
      path: where the file belongs; an older file there is replaced at the end.
      pause: seconds before the second attempt; doubles with every further one.
      timeout: seconds without a byte after which an attempt is broken off.

    Raises:
      UserError: the address answers with an error, there is no network, the server gives up half-way too often, or the
        file cannot be written.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.download")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fruitless = 0
        while True:
            before = _size(partial)
            try:
                _attempt(url, partial, timeout)
                break
            except _Broken as broken:
                fruitless = fruitless + 1 if _size(partial) <= before else 1
                if fruitless >= ATTEMPTS:
                    raise UserError(
                        f"{url}: {broken} after {fruitless} attempts, {_size(partial)} bytes so far. Look after the network and start the same command again (it goes on from here), or fetch the file by hand."
                    ) from broken
                time.sleep(pause * 2 ** (fruitless - 1))
        with open(str(partial), "rb") as file:
            os.fsync(file.fileno())
        digest = files.sha256(partial)
        os.replace(str(partial), str(path))
        _forget(_validator_path(partial))
    except OSError as error:
        raise UserError(files.writing_failed(path, error)) from error
    return digest


def _attempt(url, partial, timeout):
    # One connection: appends to ``partial``, or starts it anew where the server does not continue it.
    have = _size(partial)
    validator = _read_validator(partial)
    if have and not validator:
        have = 0  # cannot know that it is the same file: start anew
    try:
        request = urllib.request.Request(
            url, headers={"Accept-Encoding": "identity", "User-Agent": "shelfdet"}
        )
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", validator)
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing after ``have``: all of it came before, or it does not fit
            if (error.headers.get("Content-Range") or "").endswith(f"/{have}"):
                return
            _forget(partial)
            raise _Broken("the part that was there does not fit") from error
        if error.code in WORTH_RETRYING:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        raise UserError(
            f"{url}: the server answered {error.code} {error.reason}; expected the file. Check the address (it may have moved); an option names another."
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError) and "CERTIFICATE" in str(error.reason).upper():
            raise UserError(
                f"{url}: the server's certificate cannot be trusted ({error.reason}). Is there a proxy between? Fetch the file by hand."
            ) from error
        raise _Broken(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Broken(f"no connection ({error or type(error).__name__})") from error
    except ValueError as error:
        raise UserError(
            f"{url}: is no address ({error}); expected one that starts with http:// or https://."
        ) from error
    with response:
        have, total = _place_of(response, have)
        _write_validator(partial, response)
        _append(response, partial, have, total, url)


def _place_of(response, have):
    # (offset at which this body starts, length of the whole file or None where the server does not say)
    length = response.headers.get("Content-Length")
    length = int(length) if length and length.isdigit() else None
    if getattr(response, "status", None) == 206:
        span = response.headers.get("Content-Range", "")  # bytes 100-199/200
        start, _, rest = span.replace("bytes ", "").partition("-")
        if start != str(have):
            raise _Broken(f"the server continued at the wrong place ({span!r})")
        total = rest.partition("/")[2]
        return have, int(total) if total.isdigit() else (None if length is None else have + length)
    return 0, length


def _append(response, partial, have, total, url):
    from tqdm import tqdm

    name = url.rsplit("/", 1)[-1]
    with open(str(partial), "r+b" if partial.exists() else "wb") as file, tqdm(
        total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None
    ) as bar:
        file.truncate(have)
        file.seek(have)
        while True:
            try:
                block = response.read(BLOCK)
            except (
                http.client.HTTPException,
                OSError,
            ) as error:  # reading the network, not writing the file
                raise _Broken(f"the connection broke ({error or type(error).__name__})") from error
            if not block:
                break
            file.write(block)
            have += len(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise _Broken(f"the connection ended at {have} of {total} bytes")


def _validator_path(partial):
    return partial.with_name(partial.name + ".of")


def _read_validator(partial):
    # What tells this version of the file from another: its ETag (a strong one) or its date, as If-Range wants it.
    try:
        return json.loads(_validator_path(partial).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_validator(partial, response):
    etag = response.headers.get("ETag", "")
    validator = (
        etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    )
    _validator_path(partial).write_text(json.dumps(validator), encoding="utf-8")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _forget(path):
    if path.exists():
        path.unlink()


def extract(archive, folder, strip=0):
    """Unpacks a tar (any compression) or zip file into ``folder``, which is replaced whole or left as it was.

    The archive is not trusted: a member with an absolute path, with ``..``, or that is a link or a device is refused, and
    then nothing is unpacked. Permissions and owners are not taken over.

    Args:
      archive: path of the file; what it is is told by its content, not by its name.
      folder: where its content goes.
      strip: how many leading folders of each member's path to leave out (as tar's --strip-components).

    Raises:
      UserError: such a member; the file is missing, cut short or no archive; the folder cannot be written.
    """
    archive = pathlib.Path(archive)
    if not archive.is_file():
        raise UserError(f"{archive}: no such file; expected an archive (.tar.gz or .zip).")
    with files.replacing(folder) as partial:
        partial.mkdir()
        try:
            for name, opened in _members(archive):
                target = partial.joinpath(*_safe(name, archive).parts[strip:])
                if target == partial:
                    continue
                if opened is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened() as source, open(str(target), "wb") as file:
                    shutil.copyfileobj(source, file, BLOCK)
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:
            raise _not_whole(archive, error) from error
        except OSError as error:
            if (
                error.errno is None
            ):  # gzip and zlib report broken data as an OSError without a number
                raise _not_whole(archive, error) from error
            raise


def _not_whole(archive, error):
    return UserError(
        f"{archive}: is not a whole archive ({error}); expected .tar.gz or .zip. Delete it and fetch it again."
    )


def _members(archive):
    """Yields (name, function that opens the content, or None for a folder) of every member; refuses links and devices."""
    if zipfile.is_zipfile(str(archive)):
        with zipfile.ZipFile(str(archive)) as unpacked:
            for member in unpacked.infolist():
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _refused(archive, member.filename, "a link or a device")
                yield (
                    member.filename,
                    None if member.is_dir() else lambda member=member: unpacked.open(member),
                )
        return
    with tarfile.open(str(archive), "r:*") as unpacked:
        for member in unpacked:
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "a link or a device")
            yield (
                member.name,
                None if member.isdir() else lambda member=member: unpacked.extractfile(member),
            )
        while unpacked.fileobj.read(BLOCK):
            pass  # to the end, which is where gzip's checksum of all of it stands


def _safe(name, archive):
    # ``name`` as a relative path that stays where it is unpacked.
    plain = name.replace("\\", "/")
    if plain.startswith("/") or plain[1:2] == ":" or "\0" in plain:
        raise _refused(archive, name, "an absolute path")
    if ".." in plain.split("/"):
        raise _refused(archive, name, "a path that leaves the folder")
    return pathlib.PurePosixPath(plain)


def _refused(archive, name, what):
    return UserError(
        f"{archive}: member {name!r} is {what}; expected plain files and folders inside the archive. Nothing was unpacked: do not trust this archive."
    )
