"""A user's dataset: where its images and annotations are, and which images train and test.

Images are as in ``layout``: "train", "test" and perhaps "val" to {file name: path}, or "all" to
{file name: path} where they are not divided.
"""

import collections
import pathlib
import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set

from shelfdet import UserError, data
from shelfdet.core.text import Problems, listed
from shelfdet.data import formats, groups, labels, layout, splits, validation
from shelfdet.data.layout import ImagePaths

# The Grocery Dataset (Varol and Kuzu 2014), by its official split.
GROCERY_TRAIN = 283
GROCERY_TEST = 71

# Where step 01 puts annotations, by format, and step 02 finds them: names in the folder of the
# dataset.
ANNOTATION_NAMES = {
    "grocery": "annotations.csv",
    "csv": "annotations.csv",
    "voc": "annotations",
    "coco": "annotations.json",
}


# Names in annotations/ of several CSV or JSON files, which step 01 has put there.
_PART = re.compile(r"part\d+_")


class Annotations(NamedTuple):
    """Where annotations are.

    format: a name of ``formats.ANNOTATION_FORMATS``.
    files: one CSV or JSON file; several, each beside the images of one folder; or all XML files.
    """

    format: str
    files: List[pathlib.Path]

    def places(self) -> List[pathlib.Path]:
        """What a reader of the format takes: the file, or each folder of XML files."""
        if self.format != "voc":
            return self.files
        return list(dict.fromkeys(path.parent for path in self.files))

    def described(self) -> str:
        """What they are and where, for a message."""
        title = formats.FORMATS[self.format].title
        if len(self.files) == 1 and self.format != "voc":
            return f"{self.files[0]} ({title})"
        if self.format != "voc":
            return f"{len(self.files)} files ({title}): {listed(map(str, self.files))}"
        counts = collections.Counter(path.parent for path in self.files)
        places = ", ".join(f"{counts[folder]} in {folder}" for folder in self.places())
        if len(counts) == 1:
            return f"{len(self.files)} files of {title} in {self.files[0].parent}"
        return f"{len(self.files)} files of {title}: {places}"

    def placed_name(self) -> str:
        """Their name in the folder of a dataset that step 01 has put in place."""
        return "annotations" if len(self.files) > 1 else ANNOTATION_NAMES[self.format]

    def placed_files(self, target: pathlib.Path) -> Dict[pathlib.Path, pathlib.Path]:
        """Where step 01 puts each file, to the file; ``target`` has the name ``placed_name``."""
        if self.format == "voc":
            return {target / path.name: path for path in self.files}
        if len(self.files) == 1:
            return {target: self.files[0]}
        placed = {}
        for number, path in enumerate(self.files, start=1):
            name = f"part{number}_{path.parent.name.strip()}_{path.name}"
            placed[target / (path.name if _PART.match(path.name) else name)] = path
        return placed


class Dataset(NamedTuple):
    """A user's dataset: its images and its annotations."""

    layout: layout.Layout
    annotations: Annotations


def find(
    folder: pathlib.Path, annotations_path: Optional[pathlib.Path] = None, format: str = "auto"
) -> Dataset:
    """Finds the images and annotations of a dataset.

    Args:
      folder: the dataset's folder.
      annotations_path: where the annotations are; None finds them in ``folder``.
      format: of ``annotations_path``, as in ``named_annotations``.

    Raises:
      UserError: as ``layout.find``, ``find_annotations`` and ``named_annotations``.
    """
    found = layout.find(folder)
    if annotations_path is None:
        annotations = find_annotations(folder, found)
    else:
        annotations = named_annotations(annotations_path, format)
    return Dataset(found, annotations)


class Checked(NamedTuple):
    """What ``check`` returns.

    labelled: the images that steps 02 and 04 use.
    images: file name to path of the images to put into place: those, and images whose boxes are all
      left out, which step 02 leaves out again.
    """

    labelled: List[labels.LabelledImage]
    images: ImagePaths


def check(
    found: Dataset,
    label_map: Dict[str, int],
    report: Callable[[str], None] = print,
    **options: Any,
) -> Checked:
    """Checks images and annotations as step 02 does.

    Args:
      found: what ``find`` returned.
      label_map: class name to id.
      report: called with a line of text for what was recognised, matched, clipped or left out.
      options: of ``validation.check``.

    Raises:
      UserError: everything that is wrong or incomplete.
    """
    annotations = found.annotations
    image_paths = all_images(found.layout.images)
    places = annotations.places()
    problems = Problems(places[0] if len(places) == 1 else found.layout.root)
    annotated = validation.read(
        places, annotations.format, image_paths, label_map, problems, report
    )
    if is_grocery_dataset(image_paths, annotated):
        problem = grocery_problem(found.layout.images)
        if problem is None:
            report(grocery_note(found.layout.images))
        elif options.get("allow_missing"):
            report(problem)
        else:
            problems.add("", problem)
    result = validation.check(
        annotated,
        image_paths,
        label_map,
        problems,
        not_used=layout.not_used_reasons(found.layout),
        report=report,
        **options,
    )
    used = {image.filename for image in result.labelled}.union(result.without_boxes)
    images = {name: path for name, path in image_paths.items() if name in used}
    return Checked(result.labelled, images)


def all_images(found: Dict[str, ImagePaths]) -> ImagePaths:
    """The images of all folders in one dict of file name to path."""
    return {name: path for folder in found.values() for name, path in folder.items()}


def find_annotations(folder: pathlib.Path, found: layout.Layout) -> Annotations:
    """Finds the one set of annotations in a dataset's folder.

    Args:
      folder: holds a .csv file, a .json file (or annotations/ does) or .xml files (or annotations/
        does).
      found: the dataset's images; .json and .xml files may also be beside them.

    Raises:
      UserError: none, or several between which only the user can choose.
    """
    folder = pathlib.Path(folder)
    homes = [folder]
    # A user may name the folder of the images: its parent then holds the annotations.
    names = layout.HOMES + tuple(name for names in layout.SPLIT_FOLDERS.values() for name in names)
    if folder.name.lower() in [name.lower() for name in names]:
        homes.append(folder.parent)
    subfolders = [home / name for home in homes for name in ("annotations", "Annotations")]
    image_paths = all_images(found.images)
    image_folders = list(dict.fromkeys(path.parent for path in image_paths.values()))
    files = _files_with_suffix(homes, ".csv") + _files_with_suffix(homes + subfolders, ".json")
    xml_files = _files_with_suffix(homes + subfolders + image_folders, ".xml")
    if not files and not xml_files:
        files = _files_with_suffix(image_folders, ".csv")
        files += _files_with_suffix(image_folders, ".json")
    if not xml_files and all(path.suffix.lower() == ".json" for path in files):
        formats.refuse_one_json_an_image(folder, files)
    if len(files) > 1 and not xml_files:
        several = _several_files(files)
        if several is not None:
            return several
    candidates = files + list(dict.fromkeys(path.parent for path in xml_files))[:1]
    if not candidates:
        raise UserError(
            f"{folder}: holds no annotations; expected annotations.csv, annotations.json (COCO), "
            "or .xml files (Pascal VOC) in annotations/ or beside the images. Add them, or name "
            "them with --annotations."
        )
    if len(candidates) > 1:
        raise UserError(
            f"{folder}: several annotations: {listed(str(path) for path in candidates)}. "
            "Expected one, or one of the same format beside the images of each folder; name it "
            "with --annotations."
        )
    if xml_files:
        _refuse_equal_names(folder, xml_files)
        return Annotations("voc", xml_files)
    return Annotations(formats.recognise(files[0]), files)


def _several_files(files: List[pathlib.Path]) -> Optional[Annotations]:
    """Annotations in several files of one format: one a folder (Roboflow's exports), or placed."""
    one_a_folder = len({path.parent for path in files}) == len(files)
    placed = all(_PART.match(path.name) for path in files)
    if not one_a_folder and not placed:
        return None
    kinds = {formats.recognise(path) for path in files}
    return Annotations(kinds.pop(), files) if len(kinds) == 1 else None


def _refuse_equal_names(folder: pathlib.Path, xml_files: Iterable[pathlib.Path]) -> None:
    """Refuses two XML files of one name: step 01 puts them into one folder."""
    problems = Problems(folder)
    first: Dict[str, pathlib.Path] = {}
    for path in xml_files:
        other = first.setdefault(path.name.lower(), path)
        if other is not path:
            problems.add(
                "",
                f"{other} and {path} have the same name; expected each once. Rename "
                "one, together with its image.",
            )
    problems.refuse()


def named_annotations(path: pathlib.Path, format: str = "auto") -> Annotations:
    """The annotations at ``path``, a file or a folder of XML files.

    Args:
      path: what the user named.
      format: a name of ``formats.ANNOTATION_FORMATS``; "auto" recognises it.

    Raises:
      UserError: no such file or folder, or not one of that format.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected annotations. Check the path.")
    parts = _parts(path)
    if parts and format != "voc":
        return Annotations(formats.recognise(parts[0]), parts)
    if format == "auto":
        format = formats.recognise(path)
    if path.is_dir() and format != "voc":
        raise UserError(f"{path}: is a folder; expected a file for --format {format}.")
    if format != "voc":
        return Annotations(format, [path])
    if not path.is_dir():
        raise UserError(f"{path}: is a file; expected a folder of XML files for --format voc.")
    xml_files = _files_with_suffix([path], ".xml")
    if not xml_files:
        raise UserError(
            f"{path}: holds no .xml file; expected Pascal VOC XML, one file an image. Check the "
            "path."
        )
    return Annotations("voc", xml_files)


def _parts(folder: pathlib.Path) -> List[pathlib.Path]:
    """The files of annotations that step 01 has put into ``folder``, where it put several."""
    files = _files_with_suffix([folder], ".csv") + _files_with_suffix([folder], ".json")
    return [path for path in files if _PART.match(path.name)]


def placed_annotations(folder: pathlib.Path, format: str = "auto") -> pathlib.Path:
    """The file or folder of annotations that step 01 put into ``folder``.

    Args:
      folder: the dataset's folder.
      format: take only annotations of this format; "auto" takes any.

    Raises:
      UserError: there are none.
    """
    names = [name for kind, name in ANNOTATION_NAMES.items() if format in (kind, "auto")]
    names.append("annotations")  # several files of any format
    names = list(dict.fromkeys(names))  # two formats share annotations.csv
    for name in names:
        path = folder / name
        # A user's own annotations/ may hold one JSON file, to which annotations.json is a link.
        if path.is_file() or _files_with_suffix([path], ".xml") or _parts(path):
            return path
    raise UserError(
        f"{folder}: holds none of {', '.join(names)}; expected annotations. Run step 01, or give "
        "--annotations."
    )


def _files_with_suffix(folders, suffix):
    found = {}  # keyed by the resolved path: annotations/ and Annotations/ can be the same folder
    for folder in folders:
        try:
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read ({error.strerror}); expected a folder of images or "
                "annotations. Correct its permissions."
            ) from error
        for path in paths:
            if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file():
                found.setdefault(path.resolve(), path)
    return list(found.values())


def is_grocery_dataset(image_names: Iterable[str], annotated_names: Iterable[str]) -> bool:
    """Whether this is the Grocery Dataset: its naming scheme, and 354 images or annotated names."""
    image_names = set(image_names)
    annotated_names = set(annotated_names)
    complete = GROCERY_TRAIN + GROCERY_TEST
    # One count may be lower: with files missing it is still the Grocery Dataset, but incomplete.
    if complete not in (len(image_names), len(annotated_names)):
        return False
    return all(splits.scene(name) for name in image_names | annotated_names)


def grocery_problem(found: Dict[str, ImagePaths]) -> Optional[str]:
    """What is missing of the Grocery Dataset's official split; None if nothing is."""
    if "all" in found:
        return None
    train = len(found["train"])
    test = len(found["test"])
    if (train, test) == (GROCERY_TRAIN, GROCERY_TEST) or "val" in found:
        return None
    return (
        f"{train} train and {test} test images; the Grocery Dataset has {GROCERY_TRAIN} and "
        f"{GROCERY_TEST}. Add what is missing, or give --allow-missing to continue without"
    )


def grocery_note(found: Dict[str, ImagePaths]) -> str:
    """A sentence on which split of the Grocery Dataset the folders give."""
    if "all" in found:
        return (
            "this is the Grocery Dataset without its train/ and test/: the test images will not be "
            f"the official ones, which are in the folders of {data.GROCERY_IMAGES_URL}"
        )
    if "val" in found:
        return "this is the Grocery Dataset with another split than its official one"
    return (
        f"this is the Grocery Dataset with its official split: {GROCERY_TRAIN} train, "
        f"{GROCERY_TEST} test"
    )


def divide(
    found: Dict[str, ImagePaths],
    used: Set[str],
    test_share: float,
    seed: int,
    image_groups: groups.Groups,
) -> Dict[str, ImagePaths]:
    """The train, val and test images to use; images under "all" are divided here.

    Args:
      found: the images, as in ``layout.Layout``.
      used: file names that are used.
      test_share, seed: as in ``splits.hold_out``; used for images under "all".
      image_groups: which images have to stay together.

    Returns:
      "train", "test" and, if ``found`` has it, "val" to {name: path}.

    Raises:
      UserError: one of them would have no images.
    """
    kept = {
        folder: {name: path for name, path in image_paths.items() if name in used}
        for folder, image_paths in found.items()
    }
    if "all" in kept:
        train, test = splits.hold_out(
            list(kept["all"]), test_share, seed, image_groups.key_of.__getitem__
        )
        kept = {
            "train": {name: kept["all"][name] for name in train},
            "test": {name: kept["all"][name] for name in test},
        }
    empty = [folder for folder in kept if not kept[folder]]
    if empty:
        raise UserError(
            f"no image is left in {' and '.join(empty)}; expected some in {' and in '.join(kept)}. "
            "The lines above say which images were left out, and why."
        )
    return kept
