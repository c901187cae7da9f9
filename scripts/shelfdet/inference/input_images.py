"""The images that step 08 detects in: those of a label file, a file, a folder or a pattern."""

import glob
import os
import pathlib
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple

from shelfdet import UserError
from shelfdet.core import text
from shelfdet.data import images, labels, layout
from shelfdet.data.splitting.split_names import split_of_label_file

Size = Tuple[int, int]  # (width, height) in pixels


class InputImage(NamedTuple):
    """An image to detect in.

    path: its file; where ``content`` holds the bytes, only for messages, and perhaps a URI.
    name: what the output calls it: the file's name, with the folders below the one that was named.
    labelled_wh: its size in the label file; None where it comes from elsewhere.
    label_file: the label file that names it, for messages; None where it comes from elsewhere.
    content: the bytes of the file, where they have been read already.
    """

    path: text.PathLike
    name: str
    labelled_wh: Optional[Size] = None
    label_file: Optional[pathlib.Path] = None
    content: Optional[bytes] = None


class Found(NamedTuple):
    """What a file, folder or pattern names.

    inputs: the images, sorted by name. skipped: names of the other files.
    """

    inputs: List[InputImage]
    skipped: List[str]


def labelled_images(label_file: pathlib.Path, folder: pathlib.Path) -> List[InputImage]:
    """The images of a label file, in its order.

    Args:
      label_file: as step 02 writes it. The folder of the split in its name is searched first, and
        train/ where it names none.
      folder: holds the images, or train/, val/ and test/ with them.

    Raises:
      UserError: the label file is wrong, or images of it are not there.
    """
    labelled = labels.read_labels(label_file)
    split = split_of_label_file(label_file)
    located = layout.locate(folder, [image.filename for image in labelled], split)
    return [
        InputImage(path, image.filename, image.size_wh, label_file)
        for path, image in zip(located, labelled)
    ]


def find(source: pathlib.Path, without: Optional[pathlib.Path] = None) -> Found:
    """The images that ``source`` names.

    Args:
      source: an image, a folder, which is searched with its subfolders, or a pattern with the
        wildcards of a shell (``photos/*.jpg``, ``photos/**/front*.png``).
      without: a folder to leave out, such as that of the drawings; None for none.

    Raises:
      UserError: there is no such file or folder, or no image in it.
    """
    if source.is_dir():
        root, paths_found = source, files_below(source)
    elif source.exists():
        root, paths_found = source.parent, iter([source])
    else:
        root, paths_found = _files_of_pattern(source)
    left_out = without.resolve() if without else None
    found, skipped = [], []
    for path in sorted(paths_found):
        name = path.relative_to(root).as_posix()
        if left_out and left_out in path.resolve().parents:
            continue
        if images.has_image_suffix(path):
            found.append(InputImage(path, name))
        else:
            skipped.append(name)
    if not found:
        raise UserError(
            f"{source}: no image in it; expected files ending in {', '.join(images.SUFFIXES)}. "
            "Check the path."
        )
    return Found(found, skipped)


def files_below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """All files of a folder and of its subfolders, also linked ones, but no hidden ones."""
    visited: Set[str] = set()
    # Links to folders are followed, because photographs are often kept elsewhere; a folder that is
    # reached a second time, as by a link to its parent, is not searched again.
    for place, subfolders, names in os.walk(str(folder), followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in visited:
            subfolders[:] = []
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                yield pathlib.Path(place, name)


def _refuse(error: OSError) -> None:
    raise UserError(
        f"{error.filename}: cannot be read ({error.strerror}); expected a folder of images. "
        "Correct its permissions."
    ) from error


def _files_of_pattern(pattern: pathlib.Path) -> Tuple[pathlib.Path, Iterator[pathlib.Path]]:
    """The folder before the first wildcard, and the files that match."""
    if not glob.has_magic(str(pattern)):
        raise UserError(
            f"{pattern}: does not exist; expected an image, a folder of images, or a pattern such "
            f"as {pattern.parent / '*.jpg'}. Check the path."
        )
    matches = [pathlib.Path(match) for match in glob.glob(str(pattern), recursive=True)]
    matches = [path for path in matches if path.is_file()]
    if not matches:
        raise UserError(
            f"{pattern}: matches no file; expected images. Check the pattern: * stands for any "
            "part of a name, ** for any folders."
        )
    fixed = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return pathlib.Path(*fixed), iter(matches)


def skipped_report(source: pathlib.Path, skipped: List[str]) -> str:
    """Which files of ``source`` are no images by their names; empty where there are none."""
    if not skipped:
        return ""
    return (
        f"skipped in {source}, because they are not files ending in {', '.join(images.SUFFIXES)}: "
        f"{text.listed(skipped)}"
    )
