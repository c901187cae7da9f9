"""Where the annotations of a dataset are: found by content, named by the user, put by step 01."""

import collections
import os
import pathlib
import re
from typing import Dict, Iterable, List, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.core.make_variables import both
from shelfdet.core.paths import SHELF_IMAGES_NAME
from shelfdet.core.text import Problems, counted, listed
from shelfdet.data import formats, layout, yaml_folders
from shelfdet.data.formats import class_names, recognition
from shelfdet.data.splitting import split_names

# What step 01 calls annotations in the folder of a dataset, before the suffix of a single file.
PLACED_NAME = "annotations"

# What it calls the folder of corrected annotations there.
CORRECTED_NAME = "corrected"

# Names of several CSV or JSON files in PLACED_NAME/, which step 01 has put there.
_PART = re.compile(r"part\d+_")

# Folders of annotations, in which those of a split or a class may be.
_FOLDERS = ("annotations", "labels", "ann")

# COCO's folder also holds captions_*.json and others, which are no boxes or the same again.
_COCO_BOXES = "instances_"

# Files of a folder that are looked into.
_FILES_OF_A_FOLDER = 100


class Annotations(NamedTuple):
    """Where annotations are.

    format: a name of ``formats.ANNOTATION_FORMATS``.
    files: one file; several, each of a split or beside the images of one folder; or, in a format
      with one file an image, all of them.
    names_file: with the class names of YOLO's label files; None where there is none.
    """

    format: str
    files: List[pathlib.Path]
    names_file: Optional[pathlib.Path] = None

    def is_one_file_an_image(self) -> bool:
        return formats.FORMATS[self.format].is_one_file_an_image

    def places(self) -> List[pathlib.Path]:
        """What a reader of the format takes: each file, or each folder of one file an image."""
        if not self.is_one_file_an_image():
            return self.files
        return list(dict.fromkeys(path.parent for path in self.files))

    def root(self) -> pathlib.Path:
        """The place, or the folder that holds all places: messages name files from it."""
        places = self.places()
        if len(places) == 1:
            return places[0]
        folders = [place.parent if place in self.files else place for place in places]
        return pathlib.Path(os.path.commonpath([str(folder) for folder in folders]))

    def splits(self) -> Dict[pathlib.Path, str]:
        """Place to its split ("train", "val", "test"), where there is one place a split.

        Of what step 01 has put in place, the folders of the images decide.
        """
        places = self.places()
        if any(_PART.match(path.name) for path in self.files):
            return {}
        found = {place: _split_of(place) for place in places}
        if len(places) < 2 or not all(found.values()) or "train" not in found.values():
            return {}
        return found

    def described(self) -> str:
        """What they are and where, for a message."""
        title = formats.FORMATS[self.format].title
        if not self.is_one_file_an_image():
            if len(self.files) == 1:
                return f"{self.files[0]} ({title})"
            return f"{counted(len(self.files), 'file')} ({title}): {listed(map(str, self.files))}"
        counts = collections.Counter(path.parent for path in self.files)
        names = f", class names of {self.names_file}" if self.names_file else ""
        if len(counts) == 1:
            return f"{counted(len(self.files), 'file')} of {title} in {self.files[0].parent}{names}"
        places = listed(f"{counts[folder]} in {folder}" for folder in self.places())
        return f"{counted(len(self.files), 'file')} of {title}: {places}{names}"

    def placed_name(self) -> str:
        """Their name in the folder of a dataset that step 01 has put in place."""
        if len(self.files) > 1 or self.is_one_file_an_image():
            return PLACED_NAME
        return PLACED_NAME + self.files[0].suffix.lower()

    def placed_files(self, target: pathlib.Path) -> Dict[pathlib.Path, pathlib.Path]:
        """Where step 01 puts each file, to the file; ``target`` has the name ``placed_name``."""
        if self.is_one_file_an_image():
            files = self.files + ([self.names_file] if self.names_file else [])
            return {target / path.name: path for path in files}
        if len(self.files) == 1:
            return {target: self.files[0]}
        return self._parts_in(target)

    def files_in_folder(self, folder: pathlib.Path) -> Dict[pathlib.Path, pathlib.Path]:
        """As ``placed_files``, in a folder also where there is one file."""
        if len(self.files) > 1 or self.is_one_file_an_image():
            return self.placed_files(folder)
        return {folder / self.files[0].name: self.files[0]}

    def _parts_in(self, target: pathlib.Path) -> Dict[pathlib.Path, pathlib.Path]:
        placed = {}
        for number, path in enumerate(self.files, start=1):
            name = f"part{number}_{path.parent.name.strip()}_{path.name}"
            placed[target / (path.name if _PART.match(path.name) else name)] = path
        return placed


def placed_corrections(folder: pathlib.Path) -> Optional[Annotations]:
    """The corrected annotations that step 01 put into ``folder``; None where there are none.

    Raises:
      UserError: as ``named``.
    """
    path = folder / CORRECTED_NAME
    return named(path) if path.is_dir() else None


def find(folder: pathlib.Path, image_folders: Iterable[pathlib.Path] = ()) -> Annotations:
    """Finds the one set of annotations in a dataset's folder, by the content of its files.

    Files in the folder itself or in annotations/ come first, then files beside the images, then any
    below the folder. Formats with one file an image are as likely beside the images.

    Args:
      folder: the dataset's folder.
      image_folders: the folders that hold images of it.

    Raises:
      UserError: none, none that is recognised, or several between which only the user can choose.
    """
    folder = pathlib.Path(folder)
    image_folders = list(image_folders)
    seen = _look_into([folder] + _annotation_folders(folder))
    # A user may name the folder of the images: its parent then holds the annotations.
    if not seen.by_format and layout.is_folder_of_images(folder.name):
        seen.add(_look_into([folder.parent] + _annotation_folders(folder.parent)))
    seen.add(_look_into(image_folders), only_one_file_an_image=True)
    if not seen.by_format:
        seen.add(_look_into(image_folders))
    if not seen.by_format:
        seen.add(_look_into(_all_folders(folder)))
    homes = [folder] + ([folder.parent] if layout.is_folder_of_images(folder.name) else [])
    return _with_class_names(_chosen(folder, seen), homes)


def named(path: pathlib.Path, format: str = "auto") -> Annotations:
    """The annotations at ``path``: a file, or a folder of files of one format.

    Args:
      path: what the user named.
      format: a name of ``formats.ANNOTATION_FORMATS``; "auto" recognises it.

    Raises:
      UserError: no such file or folder, or not one of that format.
    """
    path = yaml_folders.folder_of(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected annotations. Check the path.")
    if path.is_dir() and format == "auto":
        return find(path)
    if format == "auto":
        format = formats.recognise(path)
        if formats.FORMATS[format].is_one_file_an_image:
            raise UserError(
                f"{path}: is one file of {formats.FORMATS[format].title}; expected the folder of "
                "these files, one an image. Name the folder."
            )
        return Annotations(format, [path])
    if not formats.FORMATS[format].is_one_file_an_image:
        if path.is_file():
            return Annotations(format, [path])
        files = parts(path) or _look_into([path]).by_format.get(format, [])
        if len(files) == 1 or _belong_together(files):
            return Annotations(format, files)
        raise UserError(f"{path}: is a folder; expected a file for {both(f'--format {format}')}.")
    if not path.is_dir():
        title = formats.FORMATS[format].title
        raise UserError(f"{path}: is a file; expected a folder of {title}, one file an image.")
    return _with_class_names(Annotations(format, _files_of(path, format)), [path])


def placed(folder: pathlib.Path, format: str = "auto") -> pathlib.Path:
    """The file or folder of annotations that step 01 put into ``folder``.

    Args:
      folder: the dataset's folder.
      format: take only annotations of this format; "auto" takes any.

    Raises:
      UserError: there are none.
    """
    found = []
    for name in placed_names():
        path = folder / name
        # A user's own annotations/ may hold one JSON file, to which annotations.json is a link.
        if path.is_file() or _holds_one_file_an_image(path):
            found.append(path)
        elif parts(path):
            found.append(path)
    wanted = [path for path in found if format == "auto" or _may_be(path, format)]
    if wanted:
        return wanted[0]
    names = ", ".join(placed_names())
    of_format = "" if format == "auto" else f" of {both(f'--format {format}')}"
    raise UserError(
        f"{folder}: holds none of {names}; expected annotations{of_format}. Run step 01, or give "
        f"{both('--annotations')}."
    )


def placed_names() -> List[str]:
    """All names that ``Annotations.placed_name`` can have."""
    return [PLACED_NAME + suffix for suffix in recognition.BY_SUFFIX] + [PLACED_NAME]


def parts(folder: pathlib.Path) -> List[pathlib.Path]:
    """The files of annotations that step 01 has put into ``folder``, where it put several."""
    return [path for path in _files(folder) if _PART.match(path.name)]


class _Seen:
    """The files that were looked into: by format, and those that are no annotations."""

    def __init__(self) -> None:
        self.by_format: Dict[str, List[pathlib.Path]] = collections.OrderedDict()
        self.others: Dict[pathlib.Path, str] = collections.OrderedDict()  # to the reason, or ""
        self._real = set()  # annotations/ and Annotations/ can be the same folder

    def note(self, path: pathlib.Path, format: Optional[str], reason: str = "") -> None:
        real = os.path.realpath(str(path))
        if format is None:
            self.others.setdefault(path, reason)
        elif real not in self._real:
            self._real.add(real)
            self.by_format.setdefault(format, []).append(path)

    def add(self, other: "_Seen", only_one_file_an_image: bool = False) -> None:
        """Adds what was seen elsewhere."""
        for format, files in other.by_format.items():
            if formats.FORMATS[format].is_one_file_an_image or not only_one_file_an_image:
                for path in files:
                    self.note(path, format)
        for path, reason in other.others.items():
            self.others.setdefault(path, reason)


def _look_into(folders: Iterable[pathlib.Path]) -> _Seen:
    """Recognises the files directly in ``folders``."""
    seen = _Seen()
    for folder in dict.fromkeys(folders):
        by_suffix: Dict[str, List[pathlib.Path]] = collections.OrderedDict()
        for path in _files(folder):
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
        for files in by_suffix.values():
            _recognise_all(files, seen)
    return seen


def _recognise_all(files: List[pathlib.Path], seen: _Seen) -> None:
    """Recognises the files of one folder and suffix. One of one file an image stands for all."""
    results = {}
    # Label files of images without products are empty; other empty files are broken.
    with_content = [
        path for path in files if path.suffix.lower() != ".txt" or path.stat().st_size
    ] or files
    for path in with_content[:_FILES_OF_A_FOLDER]:
        try:
            format, reason = recognition.recognise(path), ""
        except UserError as error:
            format, reason = None, str(error)
        if format and formats.FORMATS[format].is_one_file_an_image:
            for path in files:
                if recognition.may_be_of(path, format):
                    seen.note(path, format)
            return
        results[path] = format, reason
    boxes_of_coco = [path for path in results if path.name.startswith(_COCO_BOXES)]
    for path in boxes_of_coco or results:
        seen.note(path, *results[path])


def _chosen(folder: pathlib.Path, seen: _Seen) -> Annotations:
    """The annotations among the files that were seen."""
    if not seen.by_format:
        # Files of text are more often a README than annotations.
        likely = [path for path in seen.others if path.suffix.lower() != ".txt"]
        formats.refuse_one_json_an_image(
            folder, [path for path in likely if path.suffix.lower() == ".json"]
        )
        if len(likely) == 1:  # its reader says what is wrong with it
            return Annotations(formats.recognise(likely[0]), likely)
        raise UserError(_nothing_recognised(folder, seen, likely))
    if len(seen.by_format) == 1:
        ((format, files),) = seen.by_format.items()
        found = Annotations(format, files)
        if found.is_one_file_an_image():
            # Broken files are of it, too, if all in their folder are: its reader names each.
            files += _broken_files(seen, formats.FORMATS[format].suffixes)
            _refuse_equal_names(folder, files)
            return found
        if len(files) == 1 or _belong_together(files):
            _refuse_broken_files(files, seen)
            return found
    candidates = []
    for format, files in seen.by_format.items():
        title = formats.FORMATS[format].title
        candidates += [f"{place} ({title})" for place in Annotations(format, files).places()]
    raise UserError(
        f"{folder}: several annotations: {listed(candidates)}. Expected one, or one of the same "
        "format beside the images of each folder, or one a split with train, val or test in its "
        f"name; name it with {both('--annotations')}."
    )


def _with_class_names(found: Annotations, homes: List[pathlib.Path]) -> Annotations:
    """Annotations with the file of their class names, where their format has one.

    Args:
      found: any annotations.
      homes: folders of the dataset that may hold the file, besides those of the label files.

    Raises:
      UserError: several lists of class names that differ.
    """
    if found.format != "yolo":
        return found
    for home in homes:
        path = class_names.find_yaml(home)
        if path is not None:
            return found._replace(names_file=path)
    candidates = [class_names.find(place) for place in found.places() + homes]
    paths = [path for path in dict.fromkeys(candidates) if path is not None]
    names = [class_names.read(path).names for path in paths]
    for path, other in zip(paths, names):
        if other != names[0]:
            raise UserError(
                f"{path}: names the classes {listed(other.values())}, and {paths[0]} "
                f"{listed(names[0].values())}; expected the same in both, since the label files "
                "hold numbers. Correct one of them."
            )
    return found._replace(names_file=paths[0] if paths else None)


def _refuse_broken_files(files: List[pathlib.Path], seen: _Seen) -> None:
    """Refuses a file that may be one of the annotations and cannot be read.

    Such files are beside the annotations, or have their name in another folder. Without them, the
    images of a broken test.csv beside train.csv would merely lack boxes.
    """
    beside = {(path.parent, path.suffix.lower()) for path in files}
    names = {path.name for path in files}
    for path, reason in seen.others.items():
        if reason and ((path.parent, path.suffix.lower()) in beside or path.name in names):
            raise UserError(f"{reason} Or, if it is none of the annotations, move it away.")


def _broken_files(seen: _Seen, suffixes: Iterable[str]) -> List[pathlib.Path]:
    """The files of some suffixes that cannot be read."""
    return [
        path for path, reason in seen.others.items() if reason and path.suffix.lower() in suffixes
    ]


def _belong_together(files: List[pathlib.Path]) -> bool:
    """Whether files of one format are one a folder (Roboflow's exports), one a split, or placed."""
    if not files:
        return False
    splits = [_split_of(path) for path in files]
    return (
        len({path.parent for path in files}) == len(files)
        or (all(splits) and len(set(splits)) == len(splits))
        or all(_PART.match(path.name) for path in files)
    )


def _split_of(place: pathlib.Path) -> Optional[str]:
    """The split that the name of a file or folder states, or that of the folder it is in."""
    name = place.name if place.is_dir() else place.stem
    found = split_names.split_of_name(name)
    parent = place.parent
    if found is None and parent.name.lower() in _FOLDERS:
        parent = parent.parent
    return found or split_names.split_of_folder(parent.name)


def _nothing_recognised(folder: pathlib.Path, seen: _Seen, likely: List[pathlib.Path]) -> str:
    titles = ", ".join(formats.FORMATS[name].title for name in formats.ANNOTATION_FORMATS)
    expected = f"expected one of: {titles} (docs/data.md lists their files)"
    remedy = f"Add them, or name them with {both('--annotations')}."
    if likely:
        names = listed(os.path.relpath(str(path), str(folder)) for path in likely)
        reasons = [reason for reason in seen.others.values() if reason]
        first = f" The first error: {reasons[0]}" if reasons else ""
        return (
            f"{folder}: holds no annotations that are recognised, but {names}; {expected}. "
            f"{remedy}{first}"
        )
    there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return f"{folder}: holds no annotations, but {listed(there)}; {expected}. {remedy}"


def _refuse_equal_names(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> None:
    """Refuses two files of one name: step 01 puts them into one folder."""
    problems = Problems(folder)
    first: Dict[str, pathlib.Path] = {}
    for path in files:
        other = first.setdefault(path.name.lower(), path)
        if other is not path:
            problems.add(
                "",
                f"{other} and {path} have the same name; expected each once. Rename "
                "one, together with its image.",
            )
    problems.refuse()


def _files_of(folder: pathlib.Path, format: str) -> List[pathlib.Path]:
    """The files of a format with one file an image in a folder or, without any, below it.

    Raises:
      UserError: there are none.
    """
    for folders in ([folder], _all_folders(folder)):
        files = _look_into(folders).by_format.get(format)
        if files:
            _refuse_equal_names(folder, files)
            return files
    # Broken files are those of the format, too: its reader says what is wrong.
    suffixes = formats.FORMATS[format].suffixes
    files = [path for path in _files(folder) if path.suffix.lower() in suffixes]
    if not files:
        kinds = " or ".join(suffixes)
        raise UserError(
            f"{folder}: holds no {kinds} file; expected {formats.FORMATS[format].title}, one file "
            "an image. Check the path."
        )
    return files


def _may_be(path: pathlib.Path, format: str) -> bool:
    """Whether a placed file or folder can be of a format."""
    kind = formats.FORMATS[format]
    if path.is_dir():
        return kind.is_one_file_an_image or bool(parts(path))
    return not kind.is_one_file_an_image and path.suffix.lower() in kind.suffixes


def _holds_one_file_an_image(folder: pathlib.Path) -> bool:
    """Whether a folder holds annotations of one file an image, or broken ones."""
    seen = _look_into([folder])
    others = (formats.most_likely(path.suffix.lower()) for path in seen.others)
    found = list(seen.by_format) or others
    return any(format and formats.FORMATS[format].is_one_file_an_image for format in found)


def _files(folder: pathlib.Path) -> List[pathlib.Path]:
    """The files directly in a folder that may be annotations by their suffix, sorted."""
    return [
        path
        for path in _entries(folder)
        if path.suffix.lower() in recognition.BY_SUFFIX and path.is_file()
    ]


def _annotation_folders(home: pathlib.Path) -> List[pathlib.Path]:
    """The folders of annotations in ``home``, and all below them."""
    found = []
    for path in _entries(home):
        if path.name.lower() in _FOLDERS and path.is_dir():
            found += _all_folders(path)
    return found


def _all_folders(folder: pathlib.Path) -> List[pathlib.Path]:
    """``folder`` and the folders below, without what step 01 downloaded."""
    found = []
    searched = 0
    for place, subfolders, names in os.walk(str(folder)):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if SHELF_IMAGES_NAME in subfolders and pathlib.Path(place) == folder:
            subfolders[:] = [name for name in subfolders if name != layout.DOWNLOAD]
        subfolders[:] = layout.without_datasets(pathlib.Path(place), subfolders)
        found.append(pathlib.Path(place))
        searched += len(names)
        if searched > layout.SEARCHED_FILES:
            break
    return found


def _entries(folder: pathlib.Path) -> List[pathlib.Path]:
    """What is in a folder, sorted, without dot files; nothing where there is no such folder."""
    try:
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images or "
            "annotations. Correct its permissions."
        ) from error
