"""The folders of images that a YOLO data.yaml names for training, validation and test.

Tools write them for another machine: absolute (/content/shelves/train/images), or relative to where
the dataset once was (../train/images of Roboflow). The last parts of such a path are looked for in
the folder of data.yaml.
"""

import os
import pathlib
import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.core.text import counted, listed, shown
from shelfdet.data.formats import class_names


class StatedFolders(NamedTuple):
    """What ``find`` found.

    folders: "train", "val" and "test" to the folders of their images; without those that do not
      exist. Empty where there are none for training.
    notes: sentences on paths that were not taken as they are written.
    path: the data.yaml; None without one.
    missing: "train", "val" and "test" to the paths of which no folder exists, for messages.
    """

    folders: Dict[str, List[pathlib.Path]]
    notes: List[str]
    path: Optional[pathlib.Path] = None
    missing: Dict[str, List[str]] = {}


def find(folder: pathlib.Path) -> StatedFolders:
    """The folders that a data.yaml in a dataset's folder names; none without a data.yaml.

    Raises:
      UserError: data.yaml cannot be read, or it is not clear which file it is.
    """
    path = class_names.find_yaml(pathlib.Path(folder))
    if path is None:
        return StatedFolders({}, [])
    stated = class_names.read(path)
    found: Dict[str, List[pathlib.Path]] = {}
    missing: Dict[str, List[str]] = {}
    moved, outside, repeated = [], [], []
    root, notes = _root(stated)
    for split, written in stated.image_folders.items():
        for text in written:
            resolved = _resolved(text, root, path.parent)
            if resolved is None:
                is_file = (root / _slashes(text)).is_file()
                missing.setdefault(split, []).append(
                    shown(text) + (" (a file; expected a folder)" if is_file else "")
                )
            elif any(_is_same(resolved, other) for paths in found.values() for other in paths):
                repeated.append(f"{split} {shown(text)}")
            else:
                found.setdefault(split, []).append(resolved)
                if not _is_inside(resolved, path.parent):
                    outside.append(f"{split} {shown(text)} ({resolved.resolve()})")
                elif not _is_same(resolved, root / _slashes(text)):
                    relative = os.path.relpath(str(resolved), str(path.parent))
                    moved.append(f"{split} {shown(text)} as {relative}")
    if moved:
        notes.append(
            f"read by the last parts of its path, since no such folder exists: {listed(moved)}"
        )
    if outside:
        notes.append(f"read as written, outside of its own folder: {listed(outside)}")
    if repeated:
        notes.append(f"used once, since another split has the same folder: {listed(repeated)}")
    return StatedFolders(
        found if "train" in found else {},
        [f"{path.name}: {note}" for note in notes],
        path,
        missing,
    )


def replacements(
    stated: StatedFolders, images: Mapping[str, Mapping[str, pathlib.Path]]
) -> List[str]:
    """Sentences on what is read in place of folders that do not exist.

    Args:
      stated: what ``find`` returned.
      images: the images that were found, as in ``layout.Layout``.

    Raises:
      UserError: none of the folders for training exists or has a name that states the split, so
        that the images would be divided anew.
    """
    if not stated.missing:
        return []
    if "all" in images:
        raise UserError(
            f"{stated.path}: {missing_text(stated)}, and of the folders that hold images "
            f"({listed(_folders(images['all'], stated.path))}) none is named after a split. "
            "Expected the folders of the images of each split. Correct the paths; or remove "
            "train, val and test there, and all images are divided here."
        )
    return [
        f"{stated.path.name}: no such folder: {split} {listed(written)}; "
        f"{_in_its_place(split, stated, images.get(split, {}))}"
        for split, written in stated.missing.items()
    ]


def missing_text(stated: StatedFolders) -> str:
    """The folders that do not exist, for a message."""
    paths = [f"{split} {path}" for split, written in stated.missing.items() for path in written]
    return f"names folders that do not exist: {listed(paths)}"


def _in_its_place(split: str, stated: StatedFolders, images: Mapping[str, pathlib.Path]) -> str:
    if split in stated.folders:
        return "its other folders are read"
    if not images:
        return f"no folder is read in its place, since none is named after {split}"
    folders = listed(_folders(images, stated.path))
    return f"read in its place, by name: {folders} ({counted(len(images), 'image')})"


def _folders(images: Mapping[str, pathlib.Path], yaml_path: pathlib.Path) -> List[str]:
    """The folders of images, relative to that of data.yaml."""
    folders = dict.fromkeys(path.parent for path in images.values())
    return [os.path.relpath(str(folder), str(yaml_path.parent)) for folder in folders]


def folder_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of a data.yaml that a user names in place of the dataset's; else the path."""
    path = pathlib.Path(path)
    is_yaml = path.suffix.lower() in class_names.YAML_SUFFIXES and path.is_file()
    return path.parent if is_yaml else path


def _root(stated: class_names.ClassNames) -> Tuple[pathlib.Path, List[str]]:
    """The folder to which paths are relative, and what to say where it is another than stated."""
    home = stated.path.parent
    root = home / (_slashes(stated.root) or ".")
    if root.is_dir():
        return root, []
    return home, [f"path {shown(stated.root)} does not exist; its own folder is taken for it"]


def _resolved(text: str, root: pathlib.Path, home: pathlib.Path) -> Optional[pathlib.Path]:
    """The folder that a path means; None where there is none.

    Inside the folder of data.yaml the path as it is written comes first; outside, where it could be
    of another dataset, the last parts of it come first.

    Args:
      text: the path as it is written.
      root: the folder to which it is relative.
      home: the folder of data.yaml.
    """
    written = root / _slashes(text)
    parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..")]
    # The name images alone would be the same folder for every split.
    suffixes = [
        parts[first:]
        for first in range(len(parts))
        if len(parts) == 1 or parts[first:] != parts[-1:] or parts[-1].lower() != "images"
    ]
    candidates = [written] + [home.joinpath(*suffix) for suffix in suffixes]
    inside = [path for path in candidates if path.is_dir() and _is_inside(path, home)]
    if inside:
        return inside[0]
    return written if written.is_dir() else None


def _slashes(text: str) -> str:
    return text.strip().replace("\\", "/")


def _is_inside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return folder.resolve() in path.resolve().parents


def _is_same(one: pathlib.Path, other: pathlib.Path) -> bool:
    return os.path.realpath(str(one)) == os.path.realpath(str(other))
