"""The environment of the workers of a Spark cluster, in one file that each of them unpacks.

A .venv alone is of no use on another machine: its Python is a link to one outside. The archive has
that Python, too, and can be unpacked anywhere on Linux with the same or a newer glibc.
"""

import io
import os
import pathlib
import sys
import sysconfig
import tarfile
from typing import Iterator, Optional, Tuple

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.progress import progress

VERSION = "python3.7"
# pyspark is on every worker, and these parts of Python's library need a display or test Python
LEFT_OUT_OF_PACKAGES = ("pyspark", "__pycache__")
LEFT_OUT_OF_LIBRARY = ("site-packages", "test", "idlelib", "tkinter", "turtledemo", "__pycache__")
# Python finds its library beside itself; the loader has to be told where libpython is.
START = """#!/bin/sh
bin=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH="$bin/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$bin/%s" "$@"
"""
COMPRESSION = 1  # of gzip, 1 to 9: a higher one takes minutes and saves a tenth

Member = Tuple[pathlib.Path, str]  # a file, and its name in the archive


def pack(
    target: pathlib.Path,
    base: pathlib.Path = pathlib.Path(sys.base_prefix),
    packages: Optional[pathlib.Path] = None,
) -> int:
    """Writes the archive, completely or not at all.

    Args:
      target: its file, ending in .tar.gz, by which Spark knows how to unpack it.
      base: the folder of a Python, with bin/ and lib/.
      packages: the site-packages to add; None for those of this environment.

    Returns:
      its size in bytes.

    Raises:
      UserError: another ending, no such Python, or ``target`` cannot be written.
    """
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise UserError(
            f"{target}: does not end in .tar.gz; expected that, because Spark unpacks an archive "
            "by its ending. Rename it."
        )
    program = base / "bin" / VERSION
    if not program.is_file():
        raise UserError(
            f"{program}: no such file; expected the Python that .venv was made with. Make .venv "
            "again: delete it, then run `make setup`."
        )
    if packages is None:
        packages = pathlib.Path(sysconfig.get_paths()["purelib"])
    with files.replacing(target) as partial:
        with tarfile.open(str(partial), "w:gz", compresslevel=COMPRESSION) as archive:
            _add_start(archive)
            for path, name in progress(members(base, packages), "packing", unit="files"):
                archive.add(str(path), name)
    return target.stat().st_size


def members(base: pathlib.Path, packages: pathlib.Path) -> Iterator[Member]:
    """The files of the archive, but the script that starts Python."""
    # The real file: the name in bin/ may be a link.
    yield (base / "bin" / VERSION).resolve(), f"bin/{VERSION}"
    for path in sorted((base / "lib").glob("libpython3*.so*")):
        yield path, f"lib/{path.name}"
    library = base / "lib" / VERSION
    yield from _below(library, f"lib/{VERSION}", LEFT_OUT_OF_LIBRARY)
    yield from _below(packages, f"lib/{VERSION}/site-packages", LEFT_OUT_OF_PACKAGES)


def _below(folder: pathlib.Path, name: str, left_out: Tuple[str, ...]) -> Iterator[Member]:
    for place, folders, names in os.walk(str(folder)):
        folders[:] = sorted(each for each in folders if each not in left_out)
        inside = pathlib.Path(place).relative_to(folder)
        for each in sorted(names):
            # .pth files name folders of this machine.
            if not each.endswith((".pyc", ".pth")):
                yield (
                    pathlib.Path(place, each),
                    (pathlib.PurePosixPath(name) / inside / each).as_posix(),
                )


def _add_start(archive: tarfile.TarFile) -> None:
    """Adds bin/python, the script that starts Python."""
    data = (START % VERSION).encode("ascii")
    entry = tarfile.TarInfo("bin/python")
    entry.size = len(data)
    entry.mode = 0o755
    archive.addfile(entry, io.BytesIO(data))
