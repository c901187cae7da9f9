"""The names of the classes of YOLO's label files, which hold numbers alone.

They are in data.yaml (https://docs.ultralytics.com/datasets/detect/), which also names the folders
of the images, or one a line in classes.txt (LabelImg, Label Studio), obj.names (darknet, CVAT) or
_darknet.labels (Roboflow).
"""

import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import yaml

from shelfdet import UserError
from shelfdet.core.text import PathLike, listed, parse_number, read_text, shown

# By these names a file is data.yaml whatever is in it; the others have to name classes.
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
YAML_SUFFIXES = (".yaml", ".yml")
LIST_NAMES = ("classes.txt", "obj.names", "_darknet.labels")
LIST_SUFFIX = ".names"
MAX_YAML_BYTES = 1 << 20  # a larger one names no classes
LABELS = "labels"  # what tools call the folder of label files, or the one that holds these
# Keys of data.yaml; other tools than Ultralytics' own accept the longer names.
SPLIT_KEYS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class ClassNames(NamedTuple):
    """What a file states of the label files that belong to it.

    path: the file.
    names: number of a class -> its name.
    keypoints: how many numbers follow each box, from ``kpt_shape``.
    image_folders: split -> the folders of its images, as they are written.
    root: the folder to which these are relative, as it is written; "" for the file's own.
    """

    path: pathlib.Path
    names: Dict[int, str]
    keypoints: int = 0
    image_folders: Dict[str, List[str]] = {}
    root: str = ""


def find(folder: PathLike) -> Optional[pathlib.Path]:
    """The file with the class names of a folder of label files; None where there is none.

    It is in the folder or, for train/labels/ and labels/train/, in one above. A data.yaml comes
    before a list, since LabelImg writes a classes.txt beside whatever it opens.

    Raises:
      UserError: several files, of which only the user knows the right one.
    """
    folders = _enclosing(pathlib.Path(folder))
    for find_in in (find_yaml, _find_list):
        for candidate in folders:
            found = find_in(candidate)
            if found is not None:
                return found
    return None


def find_yaml(folder: pathlib.Path) -> Optional[pathlib.Path]:
    """The data.yaml of a folder, by this name or another; None where there is none.

    Raises:
      UserError: several files of other names that name classes.
    """
    files = _files(folder, YAML_SUFFIXES)
    named = [path for name in YAML_NAMES for path in files if path.name.lower() == name]
    if named:
        return named[0]
    return _only_one([path for path in files if _names_classes(path)])


def read(path: PathLike) -> ClassNames:
    """Reads a data.yaml or a list of class names, which its suffix tells apart.

    Raises:
      UserError: the file cannot be read, is no YAML, names no classes, or contradicts itself.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _read_yaml(path)
    lines = read_text(path, "class names, one a line").splitlines()
    # A blank line between two names counts, the last ones do not.
    names = "\n".join(line.strip() for line in lines).rstrip("\n").split("\n")
    return ClassNames(path, dict(enumerate(names)) if names != [""] else {})


def is_list(path: pathlib.Path) -> bool:
    """Whether a file is a list of class names, by its name."""
    return path.name.lower() in LIST_NAMES or path.suffix.lower() == LIST_SUFFIX


def _enclosing(folder: pathlib.Path) -> List[pathlib.Path]:
    """A folder of label files, and those above it that may hold the names of its classes.

    These are up to two above a folder called labels: of train/labels/ and of labels/train/ the one
    that holds both. Of a folder of another name there are none.
    """
    folder = folder.absolute()  # the parent of "." is "."
    if LABELS in (folder.name.lower(), folder.parent.name.lower()):
        return [folder, folder.parent, folder.parent.parent]
    return [folder]


def _files(folder: pathlib.Path, suffixes: Tuple[str, ...]) -> List[pathlib.Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        )
    except OSError:  # an enclosing folder need not be readable
        return []


def _find_list(folder: pathlib.Path) -> Optional[pathlib.Path]:
    files = [path for path in _files(folder, (".txt", LIST_SUFFIX, ".labels")) if is_list(path)]
    named = [path for name in LIST_NAMES for path in files if path.name.lower() == name]
    return named[0] if named else _only_one(files)


def _only_one(files: List[pathlib.Path]) -> Optional[pathlib.Path]:
    if len(files) > 1:
        raise UserError(
            f"{files[0].parent}: holds several files with class names: "
            f"{listed(path.name for path in files)}; expected one. Name the right one data.yaml."
        )
    return files[0] if files else None


def _names_classes(path: pathlib.Path) -> bool:
    """Whether YAML of any name is a data.yaml; not where it cannot be read."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            return False
        content = _load(path)
    except (OSError, UserError):
        return False
    return isinstance(content, dict) and "names" in content and "train" in content


def _load(path: pathlib.Path) -> Any:
    """The content of YAML, with every scalar as text: a class may be called "no" or 1."""
    content = read_text(path, "YAML with the names of the classes")
    try:
        return yaml.load(content, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or error
        raise UserError(
            f"{path}: {place}is no YAML ({reason}); expected the names of the classes, as "
            "`names: [product]`. Correct it."
        ) from error


def _read_yaml(path: pathlib.Path) -> ClassNames:
    content = _load(path)
    if not isinstance(content, dict) or not {"names", "nc"} & set(content):
        found = shown(content) if content else "nothing"
        if isinstance(content, dict) and content:
            found = f"the keys {listed(content)}"
        raise UserError(
            f"{path}: holds {found}; expected `names:` with the classes, as YOLO's data.yaml has. "
            "Write them."
        )
    image_folders = {}
    for key, value in content.items():
        split = SPLIT_KEYS.get(key.lower()) if isinstance(key, str) else None
        values = value if isinstance(value, list) else [value]
        written = [item for item in values if isinstance(item, str) and item.strip()]
        if split and written and split not in image_folders:
            image_folders[split] = written
    root = content.get("path")
    return ClassNames(
        path,
        _read_names(path, content),
        _read_keypoints(path, content.get("kpt_shape")),
        image_folders,
        root.strip() if isinstance(root, str) else "",
    )


def _read_names(path: pathlib.Path, content: Dict[str, Any]) -> Dict[int, str]:
    """Number to name; the numbers alone where the file has only their count."""
    names = content.get("names")
    count = content.get("nc")
    if names is None:
        number = _whole(count)
        if number is None:
            raise UserError(
                f"{path}: nc is {shown(count)}; expected how many classes there are, or `names:` "
                "with them. Correct it."
            )
        return {index: str(index) for index in range(number)}
    items = list(enumerate(names)) if isinstance(names, list) else None
    if isinstance(names, dict):
        items = [(_whole(key), name) for key, name in names.items()]
    if items is None or any(key is None or not isinstance(name, str) for key, name in items):
        raise UserError(
            f"{path}: names is {shown(names)}; expected a list of the classes, or their numbers "
            "from 0 and names. Correct it."
        )
    if count is not None and _whole(count) != len(items):
        raise UserError(
            f"{path}: nc is {shown(count)}, and names has {len(items)} classes: "
            f"{listed(name for _, name in items)}; expected the same number. Correct one."
        )
    return {key: name.strip() for key, name in items}


def _read_keypoints(path: pathlib.Path, shape: Any) -> int:
    if shape is None:
        return 0
    sides = [_whole(side) for side in shape] if isinstance(shape, list) else []
    if len(sides) != 2 or None in sides:
        raise UserError(
            f"{path}: kpt_shape is {shown(shape)}; expected two whole numbers, how many keypoints "
            "a box has and how many numbers a keypoint has. Correct it."
        )
    return sides[0] * sides[1]


def _whole(value: Any) -> Optional[int]:
    """A whole number from 0; None where it is none."""
    number = parse_number(value)
    return None if number is None or number < 0 or number != int(number) else int(number)
