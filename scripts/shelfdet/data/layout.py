"""Where the images of a dataset are: all steps find them with the functions of this module.

Images are in folders for training, validation and test, or all in one folder. These are directly in
the dataset's folder or in one of HOMES in it; where there are none, all images below the dataset's
folder are taken. Upper and lower case do not matter.
"""

import os
import pathlib
import shlex
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.core.make_variables import both
from shelfdet.core.paths import SHELF_IMAGES_NAME
from shelfdet.core.text import Problems, counted, listed, name_problem, plural
from shelfdet.data import images
from shelfdet.data.splitting.split_names import SPLIT_NAMES, split_of_folder

# File name (without spaces around it) to path.
ImagePaths = Dict[str, pathlib.Path]

# Where step 01 downloads to: what is in use of it is linked from ShelfImages/.
DOWNLOAD = "download"

# Folders in a dataset's folder that hold its images: of the Grocery Dataset and this workspace, of
# COCO and many tools, of Pascal VOC.
HOMES = (SHELF_IMAGES_NAME, "images", "JPEGImages")

# Folders in the folder of a split: of tools for YOLO, and of Supervisely.
FOLDERS_OF_A_SPLIT = ("images", "img")

# Files in a folder and its subfolders after which the search for unused images ends.
SEARCHED_FILES = 100000

FOLDERS_EXPECTED = "train/ and test/ (and val/, if you have validation images)"


class Layout(NamedTuple):
    """What ``find`` found.

    root: the folder that holds the images, or the folders of the splits.
    images: "train" and, if there are such folders, "val" and "test" to ImagePaths; or "all" to
      ImagePaths where the images are not divided. Sorted by name.
    other_files: file name to path of the files in the same folders that are not read as images.
    unused: images in further folders, which are not used: folder (relative to the dataset's) to
      their names.
    notes: sentences on folders that the dataset states and that were not taken as stated.
    broken_links: links named as images that lead to no file: path (relative to the dataset's
      folder) to what they lead to.
    """

    root: pathlib.Path
    images: Dict[str, ImagePaths]
    other_files: ImagePaths
    unused: Dict[str, List[str]]
    notes: List[str] = []
    broken_links: Dict[str, str] = {}


class _Root(NamedTuple):
    """A folder with images: ``flat`` are directly in it, ``splits`` are the folders of splits.

    is_stated: whether the dataset itself states the folders; there may be several of one split.
    """

    path: pathlib.Path
    flat: List[pathlib.Path]
    splits: Dict[str, List[pathlib.Path]]  # split to the folders that are named after it
    is_stated: bool = False

    def split_images(self, split: str) -> List[pathlib.Path]:
        return [path for folder in self.splits.get(split, ()) for path in _images_in_split(folder)]

    def all_images(self) -> List[pathlib.Path]:
        return self.flat + [path for split in SPLIT_NAMES for path in self.split_images(split)]

    def is_divided(self) -> bool:
        return any(self.split_images(split) for split in self.splits)


def is_folder_of_images(name: str) -> bool:
    """Whether a folder in a dataset's folder is named as one of its images."""
    known = [home.lower() for home in HOMES + FOLDERS_OF_A_SPLIT]
    return name.lower() in known or split_of_folder(name) is not None


def without_datasets(folder: pathlib.Path, subfolders: Sequence[str]) -> List[str]:
    """The subfolders of ``folder`` but those into which step 01 has put a dataset with a name.

    Only the workspace's folder of images has such subfolders, beside the dataset without a name.
    """
    if _real(folder) != _real(paths.IMAGES):
        return list(subfolders)
    return [name for name in subfolders if not (folder / name / SHELF_IMAGES_NAME).is_dir()]


def has_images(folder: pathlib.Path) -> bool:
    """Whether ``folder`` holds a dataset's images, complete or not."""
    return os.path.isdir(str(folder)) and any(root.all_images() for root in _roots(folder))


def find(
    folder: pathlib.Path,
    placed: bool = False,
    stated: Optional[Mapping[str, List[pathlib.Path]]] = None,
) -> Layout:
    """Finds the images of a dataset.

    Args:
      folder: the dataset's folder.
      placed: prefer what step 01 put into ``folder`` to other images in it.
      stated: "train" and perhaps "val" and "test" to folders, where the dataset states them. Splits
        that are missing are found by the names of folders.

    Raises:
      UserError: no such folder, no images, images in several places between which only the user can
        choose, no training images although there are folders for splits (or, with ``placed``, no
        test images); a file name that is there twice (also but for upper and lower case), or that
        no label file can hold.
    """
    folder = pathlib.Path(folder)
    root = _stated_root(folder, stated) if stated else _chosen_root(folder, placed)
    if root is None or not root.all_images():
        raise UserError(_no_images(folder))
    if root.is_divided():
        _refuse_missing_splits(root, needs_test=placed)
        paths = {
            split: root.split_images(split) for split in SPLIT_NAMES if root.split_images(split)
        }
    else:
        paths = {"all": root.flat}
    used = [path for split in paths.values() for path in split]
    problems = Problems(root.path)
    _check_names(root.path, used, problems)
    problems.refuse()
    found = {
        split: {path.name.strip(): path for path in sorted(split_paths, key=_by_name)}
        for split, split_paths in paths.items()
    }
    unused, broken_links = _unused(folder, used)
    return Layout(root.path, found, _other_files(used), unused, broken_links=broken_links)


def find_divided(folder: pathlib.Path) -> Layout:
    """As ``find``, for a folder into which step 01, or the user, has put divided images.

    Raises:
      UserError: as ``find``; the images are in one folder.
    """
    found = find(folder, placed=True)
    if "all" in found.images:
        folder_word = shlex.quote(str(found.root))
        raise UserError(
            f"{found.root}: holds {counted(len(found.images['all']), 'image')}, not divided; "
            f"expected {FOLDERS_EXPECTED}. Run step 01 (make data FROM={folder_word}), which "
            "divides them."
        )
    return found


def locate(folder: pathlib.Path, filenames: Sequence[str], split: str) -> List[pathlib.Path]:
    """Finds the file of each image of a split.

    Args:
      folder: a dataset's folder, or any folder of images.
      filenames: names of the images.
      split: "train", "val" or "test": whose folder is searched first. A split that is not by folder
        (validation images out of train/, planograms) has images from other folders, too.

    Returns:
      paths in the order of ``filenames``.

    Raises:
      UserError: no such folder, or images that have no file, by name.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir() and folder.name == SHELF_IMAGES_NAME and has_images(folder.parent):
        folder = folder.parent  # images that were put there by hand
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; expected images, or {FOLDERS_EXPECTED}. Run step 01, or "
            "check the path."
        )
    root = _chosen_root(folder, placed=True)
    by_name: ImagePaths = {}
    if root is not None:
        others = [name for name in SPLIT_NAMES if name != split]
        candidates = root.split_images(split) + root.flat
        candidates += [path for name in others for path in root.split_images(name)]
        for path in candidates:
            by_name.setdefault(path.name.strip(), path)
    missing = [name for name in filenames if name not in by_name]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {counted(len(filenames), 'image')} "
            f"{plural(len(missing), 'does', 'do')} not exist: {listed(missing)}. Run steps 01 and "
            "02, or check the path."
        )
    return [by_name[name] for name in filenames]


def unused_report(found: Layout) -> List[str]:
    """Sentences on stated folders and on the images that ``find`` did not use; may be empty."""
    lines = list(found.notes)
    if found.unused:
        count = sum(len(names) for names in found.unused.values())
        folders = listed(
            f"{folder} ({len(names)}: {listed(names, 3)})" for folder, names in found.unused.items()
        )
        where = f"into {FOLDERS_EXPECTED} there"
        if "all" in found.images:
            where = "there, too"
        lines.append(
            f"not used: {counted(count, 'image')} in other folders than those that are read in "
            f"{found.root}: {folders}. To use {plural(count, 'it', 'them')}, put "
            f"{plural(count, 'it', 'them')} {where}."
        )
    if found.broken_links:
        count = len(found.broken_links)
        links = listed(f"{path} (to {target})" for path, target in found.broken_links.items())
        lines.append(
            f"not used: {counted(count, 'link')} to {plural(count, 'an image', 'images')} that "
            f"{plural(count, 'is', 'are')} not there: {links}. Put the files back, or link to "
            "where they are."
        )
    kinds = [path for path in found.other_files.values() if images.kind_problem(path)]
    if kinds:
        names = listed(_relative(path, found.root) for path in kinds)
        lines.append(
            f"not used: {counted(len(kinds), 'image')} that TensorFlow does not decode: {names}. "
            "To use such images, convert them to JPEG."
        )
    return lines


def not_used_reasons(found: Layout) -> Dict[str, str]:
    """Names of files that ``find`` did not use, to the reason: see ``names.not_used_reasons``."""
    reasons = {}
    for folder, names in found.unused.items():
        for name in names:
            reasons[name] = f"{name} is in {folder}, which is not one of the folders that are read"
    for link, target in found.broken_links.items():
        reasons[pathlib.PurePath(link).name] = f"{link} is a link to {target}, which is not there"
    for name, path in found.other_files.items():
        place = _relative(path, found.root)
        reasons[name] = images.kind_problem(pathlib.Path(place)) or (
            f"{place} is there, but is not named as an image: rename it if it is one ("
            f"{', '.join(images.SUFFIXES)})"
        )
    return reasons


def _roots(folder: pathlib.Path) -> Iterator[_Root]:
    """``folder`` itself and its HOMES."""
    homes = {name.lower() for name in HOMES}
    subfolders = _subfolders(folder)
    for path in [folder] + [path for path in subfolders if path.name.lower() in homes]:
        splits: Dict[str, List[pathlib.Path]] = {}
        for subfolder in _subfolders(path):
            split = split_of_folder(subfolder.name)
            if split is not None:
                splits.setdefault(split, []).append(subfolder)
        yield _Root(path, images.list_images(path), splits)


def _subfolders(folder: pathlib.Path) -> List[pathlib.Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images. Correct "
            "its permissions."
        ) from error


def _images_in_split(folder: pathlib.Path) -> List[pathlib.Path]:
    """The images in the folder of a split or, where it has none, in its images/, or all below."""
    found = images.list_images(folder)
    for subfolder in _subfolders(folder):
        if not found and subfolder.name.lower() in FOLDERS_OF_A_SPLIT:
            found = images.list_images(subfolder)
    return found or _images_below(folder)


def _images_below(folder: pathlib.Path) -> List[pathlib.Path]:
    """All images in a folder and below, but those that step 01 downloaded."""
    found = []
    for place, subfolders, names in os.walk(str(folder)):
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name != DOWNLOAD
        )
        subfolders[:] = without_datasets(pathlib.Path(place), subfolders)
        if names:
            found += images.list_images(pathlib.Path(place))
    return found


def _chosen_root(folder: pathlib.Path, placed: bool) -> Optional[_Root]:
    """The one place in ``folder`` that holds its images; None if there are none.

    Args:
      folder: the dataset's folder.
      placed: prefer what step 01 put into ``folder``.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {found}; expected a folder with images. Check the path.")
    roots = [root for root in _roots(folder) if root.all_images()]
    if not roots and not placed:
        # One folder a shop or a class, at any depth.
        nested = _Root(folder, _images_below(folder), {})
        return nested if nested.flat else None
    if placed:
        roots = [root for root in roots if root.path.name == SHELF_IMAGES_NAME] or roots
    roots = _without_copies(roots)
    # Images in folders of splits come before undivided ones, which are then named as unused.
    roots = [root for root in roots if root.is_divided()] or roots
    if len(roots) > 1:
        places = ", ".join(
            f"{root.path} ({counted(len(root.all_images()), 'image')})" for root in roots
        )
        raise UserError(
            f"{folder}: holds images in several places, of which only you know the right one: "
            f"{places}. Expected one. Move the others out of {folder}, or name the one to use "
            f"({both('--from')} of step 01, --images of later steps)."
        )
    return roots[0] if roots else None


def _stated_root(folder: pathlib.Path, stated: Mapping[str, List[pathlib.Path]]) -> _Root:
    """The folders of splits that a dataset states, with those of other splits by their names."""
    splits = {split: list(folders) for split, folders in stated.items()}
    used = {_real(path) for folders in splits.values() for path in folders}
    for root in _roots(folder):
        for split, folders in root.splits.items():
            others = [path for path in folders if not _is_or_holds(path, used)]
            if others and split not in stated:
                splits.setdefault(split, []).extend(others)
    return _Root(folder, [], splits, is_stated=True)


def _is_or_holds(folder: pathlib.Path, paths: Iterable[str]) -> bool:
    """Whether a folder is one of ``paths`` or above one."""
    real = _real(folder)
    return any(path == real or path.startswith(real + os.sep) for path in paths)


def _without_copies(roots: List[_Root]) -> List[_Root]:
    """The roots whose images are not all in another one: ShelfImages/ may link to them."""
    files = [{_real(path) for path in root.all_images()} for root in roots]
    return [
        root
        for index, root in enumerate(roots)
        if not any(
            files[index] < other or (files[index] == other and number < index)
            for number, other in enumerate(files)
        )
    ]


def _real(path: pathlib.Path) -> str:
    return os.path.realpath(str(path))


def _by_name(path: pathlib.Path) -> str:
    return path.name.strip()


def _no_images(folder: pathlib.Path) -> str:
    elsewhere, broken_links = _unused(folder, [])
    if broken_links and not elsewhere:
        link, target = next(iter(broken_links.items()))
        return (
            f"{folder}: holds no images, but {counted(len(broken_links), 'link')} to files that "
            f"are not there, the first {link} to {target}; expected {FOLDERS_EXPECTED} with "
            "images. Put the files back, or link to where they are."
        )
    if elsewhere:
        first = folder / next(iter(elsewhere))
        counts = listed(
            f"{name} ({counted(len(names), 'image')})" for name, names in elsewhere.items()
        )
        return (
            f"{folder}: holds no images of its own, but {counts}; expected "
            f"{FOLDERS_EXPECTED}, or all images in one folder. Give that folder with "
            f"{both(f'--from {first}')}, or put the images into one."
        )
    homes = ", ".join(f"{home}/" for home in HOMES)
    there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    found = f", but {listed(there)}" if there else ""
    return (
        f"{folder}: holds no images{found}{_kinds_in([folder])}; expected {FOLDERS_EXPECTED} with "
        "JPEG, PNG, BMP or GIF files, or such files themselves (in the folder, or in "
        f"{homes} in it). Check the path."
    )


def _kinds_in(folders: Sequence[pathlib.Path]) -> str:
    """In brackets, after a space, the images of other kinds in ``folders``; empty without any."""
    others = _other_files([folder / "any" for folder in folders])
    names = [pathlib.Path(name) for name in others]
    kinds = [kind for kind in map(images.kind_problem, names) if kind]
    if not kinds:
        return ""
    more = f", and so with {len(kinds) - 1} more" if len(kinds) > 1 else ""
    return f" ({kinds[0]}{more})"


def _refuse_missing_splits(root: _Root, needs_test: bool) -> None:
    """Refuses folders of splits without images for training or for the test.

    Args:
      root: the folder with the folders of splits.
      needs_test: False where test images can be taken out of those for training.
    """
    for split, folders in root.splits.items():
        several = len([folder for folder in folders if _images_in_split(folder)]) > 1
        if several and not root.is_stated:
            raise UserError(
                f"{root.path}: {' and '.join(f'{folder.name}/' for folder in folders)} both name "
                f"the {split} images; expected one of them. Put the images into one folder."
            )
    for split in ("train", "test"):
        if root.split_images(split):
            continue
        if split == "test" and "test" not in root.splits and not needs_test:
            continue
        there = [name for name in SPLIT_NAMES if root.split_images(name)]
        found = " and ".join(
            f"{root.splits[name][0].name}/ ({counted(len(root.split_images(name)), 'image')})"
            for name in there
        )
        missing = f"no {split}/"
        if split in root.splits:
            folders = root.splits[split]
            missing = f"no image in {folders[0].name}/{_kinds_in(folders)}"
        raise UserError(
            f"{root.path}: holds {found} and {missing}; expected {FOLDERS_EXPECTED}, because a "
            f"detector is scored on images that it was not trained on. {_split_remedy(root, split)}"
        )


def _split_remedy(root: _Root, missing: str) -> str:
    if missing == "test":
        place = shlex.quote(str(root.path))
        return (
            "Add test/ with images; or let step 01 take them out of the training images: remove "
            f"an empty test/, and give {both(f'--from {place}')}."
        )
    return f"Add {missing}/ with images."


def _check_names(root: pathlib.Path, paths: Sequence[pathlib.Path], problems: Problems) -> None:
    first_paths: Dict[str, Tuple[str, pathlib.Path]] = {}  # lower-case name to the first path
    for path in paths:
        name = path.name.strip()
        problem = name_problem(name)
        if problem:
            problems.add(_relative(path.parent, root), f"{problem}.")
        first_name, first = first_paths.setdefault(name.lower(), (name, path))
        if first is not path:
            difference = "" if first_name == name else " except for upper and lower case"
            problems.add(
                "",
                f"{_relative(first, root)} and {_relative(path, root)} have the same "
                f"name{difference}; expected every name once. Rename one, and its annotations.",
            )


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return os.path.relpath(str(path), str(folder))


def _other_files(used: Sequence[pathlib.Path]) -> ImagePaths:
    """The files beside the images ``used`` that are not read as images."""
    others = {}
    for folder in dict.fromkeys(path.parent for path in used):
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and not images.has_image_suffix(path):
                others.setdefault(path.name, path)
    return {name: path for name, path in others.items() if path.is_file()}


def _unused(
    folder: pathlib.Path, used: Sequence[pathlib.Path]
) -> Tuple[Dict[str, List[str]], Dict[str, str]]:
    """Images in ``folder`` and below that are not among ``used``.

    Returns:
      (unused, broken_links): folder relative to ``folder`` to names; and as in ``Layout``.
    """
    used_files = {_real(path) for path in used}
    found: Dict[str, List[str]] = {}
    broken: Dict[str, str] = {}
    searched = 0
    for place, subfolders, names in os.walk(str(folder)):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if pathlib.Path(place) == folder and SHELF_IMAGES_NAME in subfolders:
            subfolders[:] = [name for name in subfolders if name != DOWNLOAD]
        subfolders[:] = without_datasets(pathlib.Path(place), subfolders)
        searched += len(names)
        if searched > SEARCHED_FILES:
            break
        paths_here = [
            pathlib.Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and images.has_image_suffix(pathlib.Path(name))
        ]
        links = [path for path in paths_here if path.is_symlink() and not os.path.exists(str(path))]
        broken.update((_relative(path, folder), os.readlink(str(path))) for path in links)
        unused = [
            path.name for path in paths_here if path not in links and _real(path) not in used_files
        ]
        if unused:
            found[f"{_relative(pathlib.Path(place), folder)}/"] = unused
    return found, broken
