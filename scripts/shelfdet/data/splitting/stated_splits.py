"""Splits that annotations state where no folders do: one file a split, a mark, a list of images.

Lists are Pascal VOC's ImageSets/Main/{train,val,trainval,test}.txt, one name without suffix a line.
"""

import collections
import pathlib
import re
from typing import Callable, Dict, Iterable, List, Mapping

from shelfdet import UserError
from shelfdet.core import text
from shelfdet.core.text import listed, shown
from shelfdet.data.formats import ImagesByName
from shelfdet.data.layout import ImagePaths
from shelfdet.data.splitting import split_names

Report = Callable[[str], None]  # called with a line of text

_LISTS = pathlib.Path("ImageSets", "Main")
_TRAINVAL = "trainval"  # train and val together, where they are not apart
_OF_A_CLASS = re.compile(r"\s+-?[01]$")  # 1: the image shows the class, -1: it does not


def read_image_sets(annotation_folders: Iterable[pathlib.Path]) -> Dict[str, List[str]]:
    """Reads the lists of a dataset in Pascal VOC's layout.

    Args:
      annotation_folders: the folders of its XML files: Annotations/, or folders in it.

    Returns:
      "train", "val" or "test" to names of images without their suffix, in the order of the file;
      empty where there are no lists, or none for training.

    Raises:
      UserError: a list is not text, or two of them name one image.
    """
    found: Dict[str, List[str]] = {}
    for path in _list_files(annotation_folders):
        stem = path.stem.lower()
        split = split_names.split_of_name(stem) if stem != _TRAINVAL else _TRAINVAL
        content = text.read_text(path, "a list of images")
        lines = [_OF_A_CLASS.sub("", line.strip()) for line in content.splitlines()]
        names = [pathlib.PurePath(line.replace("\\", "/")).name for line in lines if line]
        if split is not None and names:
            found[split] = names
    if _TRAINVAL in found and "train" not in found:
        found["train"] = found[_TRAINVAL]
    found.pop(_TRAINVAL, None)
    _refuse_names_in_two_lists(found, annotation_folders)
    return found if "train" in found else {}


def _list_files(annotation_folders: Iterable[pathlib.Path]) -> List[pathlib.Path]:
    """The files of lists: plain ones, not those of a class (bottle_train.txt)."""
    names = [name for names in split_names.SPLIT_NAMES.values() for name in names] + [_TRAINVAL]
    homes = [home for folder in annotation_folders for home in list(folder.parents)[:2]]
    for home in dict.fromkeys(homes):
        folder = home / _LISTS
        if folder.is_dir():
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt")
            return [path for path in paths if path.stem.lower() in names]
    return []


def _refuse_names_in_two_lists(
    found: Mapping[str, List[str]], annotation_folders: Iterable[pathlib.Path]
) -> None:
    first: Dict[str, str] = {}
    doubled = []
    for split, names in found.items():
        for name in names:
            if first.setdefault(name, split) != split:
                doubled.append(f"{name} ({first[name]} and {split})")
    if doubled:
        folder = next(iter(annotation_folders)).parent / _LISTS
        raise UserError(
            f"{folder}: {text.counted(len(doubled), 'image is', 'images are')} in two lists: "
            f"{listed(doubled)}. Expected each in one: a detector is scored on images that it was "
            "not trained on. Correct the lists."
        )


def by_lists(
    image_paths: ImagePaths, image_sets: Mapping[str, Iterable[str]], report: Report
) -> Dict[str, ImagePaths]:
    """Divides images as lists state it; the others, and lists without images, are reported.

    Args:
      image_paths: all images, by name.
      image_sets: what ``read_image_sets`` returned.
      report: called with what was done.

    Returns:
      as ``layout.Layout.images``.

    Raises:
      UserError: no image of the list for training exists.
    """
    split_of = {name: split for split, names in image_sets.items() for name in names}
    by_split: Dict[str, ImagePaths] = {split: {} for split in split_names.SPLIT_NAMES}
    unlisted = []
    for name, path in image_paths.items():
        split = split_of.get(name) or split_of.get(pathlib.PurePath(name).stem)
        if split is None:
            unlisted.append(name)
        else:
            by_split[split][name] = path
    lists = ", ".join(f"{len(by_split[split])} {split}" for split in by_split if by_split[split])
    if not by_split["train"]:
        raise UserError(
            f"{_LISTS}: lists {text.counted(len(set(split_of)), 'image')} for "
            f"{', '.join(image_sets)}, as {shown(next(iter(split_of)))}, of which none for "
            "training exists; expected names of images without their suffix. Correct the lists, or "
            "remove ImageSets/."
        )
    report(f"divided by the lists in {_LISTS}/: {lists}")
    for split, names in image_sets.items():
        there = {pathlib.PurePath(name).stem for name in by_split[split]}.union(by_split[split])
        missing = [name for name in dict.fromkeys(names) if name not in there]
        if missing:
            listed_names = text.counted(len(set(names)), "name")
            has = text.plural(len(missing), "has", "have")
            report(
                f"{len(missing)} of {listed_names} in the list {split} {has} no image: "
                f"{listed(missing)}"
            )
    if unlisted:
        number = text.counted(len(unlisted), "image is", "images are")
        report(f"{number} in no list and not used: {listed(unlisted)}")
    return {split: paths for split, paths in by_split.items() if paths}


def without_unlisted(
    annotated: ImagesByName, all_paths: ImagePaths, used: ImagePaths
) -> ImagesByName:
    """The annotated images without those that exist and are not used, as lists have it."""
    return collections.OrderedDict(
        (name, image) for name, image in annotated.items() if name in used or name not in all_paths
    )


def by_annotations(
    image_paths: ImagePaths, annotated: ImagesByName, report: Report
) -> Dict[str, ImagePaths]:
    """Divides images as ``ImageBoxes.split`` states it; "all" of them where none is for training.

    Images without a split are for training, and reported: they are not annotated.
    """
    split_of = {name: image.split for name, image in annotated.items() if image.split}
    if not split_of:
        return {"all": image_paths}
    if "train" not in split_of.values():
        stated = ", ".join(sorted(set(split_of.values())))
        report(f"the annotations put images into {stated} and none into train: they are divided")
        return {"all": image_paths}
    by_split: Dict[str, ImagePaths] = {split: {} for split in split_names.SPLIT_NAMES}
    for name, path in image_paths.items():
        by_split[split_of.get(name, "train")][name] = path
    by_split = {split: paths for split, paths in by_split.items() if paths}
    counts = ", ".join(f"{len(paths)} {split}" for split, paths in by_split.items())
    report(f"divided as the annotations state it: {counts}")
    unknown = [name for name in image_paths if name not in split_of]
    if unknown:
        report(
            f"{text.counted(len(unknown), 'image is', 'images are')} in no split of the "
            f"annotations, so used for training: {listed(unknown)}"
        )
    return by_split


def report_other_splits(
    by_split: Mapping[str, ImagePaths], annotated: ImagesByName, report: Report
) -> None:
    """Reports images whose annotations state another split than their folder, which decides."""
    others = [
        f"{name} ({annotated[name].split})"
        for split, paths in by_split.items()
        for name in paths
        if name in annotated and annotated[name].split not in (None, split)
    ]
    if others:
        report(
            f"{text.counted(len(others), 'image is', 'images are')} of another split in the "
            f"annotations than by folder: {listed(others)}. The folder decides."
        )
