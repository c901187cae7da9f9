"""The folders of images that a YOLO data.yaml names for training, validation and test.

Tools write them for another machine: absolute (/content/shelves/train/images), or relative to where
the dataset once was (../train/images of Roboflow). The last parts of such a path are looked for in
the folder of data.yaml.
"""

import os
import pathlib
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from shelfdet.core.text import listed, shown
from shelfdet.data.formats import class_names


class StatedFolders(NamedTuple):
    """What ``find`` found.

    folders: "train", "val" and "test" to the folders of their images; without those that do not
      exist. Empty where there are none for training.
    notes: sentences on paths that were not taken as they are written.
    """

    folders: Dict[str, List[pathlib.Path]]
    notes: List[str]


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
    moved, missing, repeated = [], [], []
    root, notes = _root(stated)
    for split, written in stated.image_folders.items():
        for text in written:
            resolved = _resolved(text, root, path.parent)
            if resolved is None:
                missing.append(f"{split} {shown(text)}")
            elif any(_is_same(resolved, other) for paths in found.values() for other in paths):
                repeated.append(f"{split} {shown(text)}")
            else:
                found.setdefault(split, []).append(resolved)
                if not _is_same(resolved, root / _slashes(text)):
                    relative = os.path.relpath(str(resolved), str(path.parent))
                    moved.append(f"{split} {shown(text)} as {relative}")
    if moved:
        notes.append(
            f"read by the last parts of its path, since no such folder exists: {listed(moved)}"
        )
    if missing:
        notes.append(f"not used, since no such folder exists: {listed(missing)}")
    if repeated:
        notes.append(f"used once, since another split has the same folder: {listed(repeated)}")
    return StatedFolders(
        found if "train" in found else {}, [f"{path.name}: {note}" for note in notes]
    )


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
