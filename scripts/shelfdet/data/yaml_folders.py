"""The folders of images that a YOLO data.yaml names for training, validation and test.

Tools write them for another machine: absolute (/content/shelves/train/images), or relative to where
the dataset once was (../train/images of Roboflow). The last parts of such a path are looked for in
the folder of data.yaml.
"""

import os
import pathlib
import re
from typing import Dict, List, NamedTuple, Optional

from shelfdet.core.text import shown
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
    notes: List[str] = []
    for split, written in stated.image_folders.items():
        for text in written:
            resolved = _resolved(text, stated)
            place = f"{path.name}: {split} is {shown(text)}"
            if resolved is None:
                notes.append(f"{place}, which does not exist here")
                continue
            if any(_is_same(resolved, other) for folders in found.values() for other in folders):
                notes.append(f"{place}, which it names for other images, too; it counts once")
                continue
            if not _is_same(resolved, _as_written(text, stated)):
                relative = os.path.relpath(str(resolved), str(path.parent))
                notes.append(f"{place}, which does not exist here; {relative} in its folder does")
            found.setdefault(split, []).append(resolved)
    return StatedFolders(found if "train" in found else {}, notes)


def _as_written(text: str, stated: class_names.ClassNames) -> pathlib.Path:
    root = pathlib.Path(_slashes(stated.root) or ".")
    return stated.path.parent / root / _slashes(text)


def _resolved(text: str, stated: class_names.ClassNames) -> Optional[pathlib.Path]:
    """The folder that a path means; None where there is none.

    Inside the folder of data.yaml the path as it is written comes first; outside, where it could be
    of another dataset, the last parts of it come first.
    """
    home = stated.path.parent
    written = _as_written(text, stated)
    candidates = [written, home / _slashes(text)]
    parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..")]
    # The name images alone would be the same folder for every split.
    suffixes = [parts[first:] for first in range(len(parts))]
    candidates += [
        home.joinpath(*suffix)
        for suffix in suffixes
        if len(suffix) > 1 or suffix[0].lower() != "images" or len(parts) == 1
    ]
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
