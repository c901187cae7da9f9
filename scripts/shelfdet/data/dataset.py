"""A user's dataset: where its images and annotations are, and what is missing.

Images are a dict: "train" and "test" to {file name: path}, or "all" to {file name: path} where they
are not divided into the two folders.
"""

import pathlib
from typing import Dict, Iterable, List, NamedTuple, Optional, Set

from shelfdet import UserError, data
from shelfdet.core.text import SHOWN_NAMES, Problems, listed, name_problem
from shelfdet.data import formats, images, splits, validation

ImagePaths = Dict[str, pathlib.Path]

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


class Annotations(NamedTuple):
    """Where annotations are.

    format: a name of ``formats.ANNOTATION_FORMATS``.
    files: one CSV or JSON file, or all XML files.
    """

    format: str
    files: List[pathlib.Path]


class Findings(NamedTuple):
    """What ``verify`` found.

    infos: the images that can be decoded.
    broken: file name to reason, of those that cannot.
    without_image: annotated names that have no image.
    without_annotations: images that the annotations do not name.
    boxes: file name to number of annotated boxes.
    """

    infos: Dict[str, images.ImageInfo]
    broken: Dict[str, str]
    without_image: List[str]
    without_annotations: List[str]
    boxes: Dict[str, int]


class Dataset(NamedTuple):
    """A user's dataset: its images (see above), its annotations, and how they agree."""

    images: Dict[str, ImagePaths]
    annotations: Annotations
    findings: Findings


class Selection(NamedTuple):
    """Which images of a dataset to use.

    left_out: names of the images that cannot be used.
    notes: sentences about what was recognised.
    problems: sentences about what is incomplete; empty if nothing is.
    unannotated: whether images without annotations are among the problems.
    """

    left_out: Set[str]
    notes: List[str]
    problems: List[str]
    unannotated: bool


def read(
    folder: pathlib.Path, annotations_path: Optional[pathlib.Path] = None, format: str = "auto"
) -> Dataset:
    """Finds the images and annotations of a dataset and verifies them.

    Args:
      folder: the dataset's folder.
      annotations_path: where the annotations are; None finds them in ``folder``.
      format: of ``annotations_path``, as in ``named_annotations``.

    Raises:
      UserError: as ``find_images``, ``find_annotations``, ``named_annotations`` and ``verify``.
    """
    found = find_images(folder)
    image_paths = all_images(found)
    if annotations_path is None:
        annotations = find_annotations(folder, image_paths)
    else:
        annotations = named_annotations(annotations_path, format)
    return Dataset(found, annotations, verify(image_paths, annotations))


def find_images(folder: pathlib.Path) -> Dict[str, ImagePaths]:
    """Finds the images of a dataset, in ``folder`` or in its ShelfImages/ or images/.

    Returns:
      {"train": {name: path}, "test": {name: path}}, or {"all": {name: path}} if there are no such
      folders.

    Raises:
      UserError: no such folder, no images, train/ or test/ without images, names that no label file
        can hold.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise UserError(
            f"{folder}: {found}; expected a folder with images and annotations. Check the path."
        )
    places = (folder, folder / "ShelfImages", folder / "images")
    for place in places:
        if (place / "train").is_dir() or (place / "test").is_dir():
            return _find_divided(place)
    for place in places:
        found = _images_by_name(place) if place.is_dir() else {}
        if found:
            return {"all": found}
    raise UserError(
        f"{folder}: holds no images; expected train/ and test/ with JPEG, PNG, BMP or GIF files "
        "(in it, in ShelfImages/ or in images/), or such files themselves. Check the path."
    )


def _find_divided(place):
    found = {name: _images_by_name(place / name) for name in ("train", "test")}
    for name in found:
        if not found[name]:
            raise UserError(
                f"{place / name}: holds no image; expected JPEG, PNG, BMP or GIF files in train/ "
                "and in test/. Add some, or give a folder without train/ and test/, which step 01 "
                "divides."
            )
    images.train_and_test(place)  # refuses a file name that is in both folders
    return found


def _images_by_name(folder):
    found = {}
    problems = Problems(folder)
    for path in images.list_images(folder):
        problem = name_problem(path.name)
        if problem:
            problems.add("", f"{problem}.")
        found[path.name] = path
    problems.refuse()
    return found


def all_images(found: Dict[str, ImagePaths]) -> ImagePaths:
    """The images of all folders in one dict of file name to path."""
    return {name: path for folder in found.values() for name, path in folder.items()}


def find_annotations(folder: pathlib.Path, image_paths: ImagePaths) -> Annotations:
    """Finds the one set of annotations in a dataset's folder.

    Args:
      folder: holds a .csv file, a .json file (or annotations/ does) or .xml files (or annotations/
        does).
      image_paths: the dataset's images; .xml files may also be beside them.

    Raises:
      UserError: none, or several between which only the user can choose.
    """
    folder = pathlib.Path(folder)
    homes = [folder]
    # A user may name the folder of the images: its parent then holds the annotations.
    if folder.name == "ShelfImages":
        homes.append(folder.parent)
    subfolders = [home / name for home in homes for name in ("annotations", "Annotations")]
    image_folders = list(dict.fromkeys(path.parent for path in image_paths.values()))
    files = _files_with_suffix(homes, ".csv") + _files_with_suffix(homes + subfolders, ".json")
    xml_files = _files_with_suffix(homes + subfolders + image_folders, ".xml")
    candidates = files + [path.parent for path in xml_files[:1]]
    if not candidates:
        raise UserError(
            f"{folder}: holds no annotations; expected annotations.csv, annotations.json (COCO), "
            "or .xml files (Pascal VOC) in annotations/ or beside the images. Add them, or name "
            "them with --annotations."
        )
    if len(candidates) > 1:
        raise UserError(
            f"{folder}: several annotations: {', '.join(str(path) for path in candidates)}. "
            "Expected one; name it with --annotations."
        )
    if xml_files:
        return Annotations("voc", xml_files)
    return Annotations(formats.recognise(files[0]), files)


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


def placed_annotations(folder: pathlib.Path, format: str = "auto") -> pathlib.Path:
    """The file or folder of annotations that step 01 put into ``folder``.

    Args:
      folder: the dataset's folder.
      format: take only annotations of this format; "auto" takes any.

    Raises:
      UserError: there are none.
    """
    names = [name for kind, name in ANNOTATION_NAMES.items() if format in (kind, "auto")]
    names = list(dict.fromkeys(names))  # two formats share annotations.csv
    for name in names:
        if (folder / name).exists():
            return folder / name
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


def verify(image_paths: ImagePaths, annotations: Annotations) -> Findings:
    """Decodes every image, on all cores, and compares the file names with the annotations.

    Raises:
      UserError: annotations that cannot be read, by line.
    """
    boxes = _count_boxes(annotations, image_paths)
    # To the end of each file: a truncated image opens without an error and would stop a training.
    infos, broken = validation.inspect_all(image_paths)
    return Findings(
        infos=infos,
        broken=broken,
        without_image=[name for name in boxes if name not in image_paths],
        without_annotations=[name for name in image_paths if name not in boxes],
        boxes=boxes,
    )


def _count_boxes(annotations, image_paths):
    places = annotations.files
    if annotations.format == "voc":
        # A VOC reader takes a folder, and XML files may be in several: train/ and test/ for
        # example.
        places = list(dict.fromkeys(path.parent for path in places))
    boxes = {}
    for place in places:
        problems = Problems(place)
        found = formats.read(place, annotations.format, problems, image_names=image_paths)
        problems.refuse()
        boxes.update((name, len(annotated.rows)) for name, annotated in found.items())
    return boxes


def select(dataset: Dataset, empty_images: str = "refuse") -> Selection:
    """Decides which images to use, and lists what is missing, broken or unexpected.

    Args:
      dataset: what ``read`` returned.
      empty_images: images without annotations: "refuse", "leave-out", or "keep" (they show no
        product).
    """
    findings = dataset.findings
    notes = []
    problems = []
    if is_grocery_dataset(all_images(dataset.images), findings.boxes):
        problem = _grocery_problem(dataset.images)
        if problem:
            problems.append(problem)
        else:
            notes.append(_grocery_note(dataset.images))
    empty = [name for name in findings.without_annotations if name not in findings.broken]
    left_out = set(findings.broken)
    if empty_images != "keep":
        left_out.update(empty)
    if empty and empty_images != "refuse":
        action = "left out"
        if empty_images == "keep":
            action = "kept, as images without products (give --empty-images keep to step 02, too)"
        notes.append(f"{len(empty)} images without annotations are {action}: {listed(empty)}")
        empty = []  # no problem: the user decided
    # Broken images are counted: they exist.
    total = len(findings.infos) + len(findings.broken)
    problems += _missing("annotated but do not exist", findings.without_image, len(findings.boxes))
    problems += _missing("not annotated", empty, total)
    problems += _missing("broken", list(findings.broken), total)
    problems += [f"  {reason}" for reason in list(findings.broken.values())[:SHOWN_NAMES]]
    return Selection(left_out, notes, problems, unannotated=bool(empty))


def _missing(what, names, total):
    return [f"{len(names)} of {total} images are {what}: {listed(names)}"] if names else []


def is_grocery_dataset(image_names: Iterable[str], annotated_names: Iterable[str]) -> bool:
    """Whether this is the Grocery Dataset: its naming scheme, and 354 images or annotated names."""
    image_names = set(image_names)
    annotated_names = set(annotated_names)
    complete = GROCERY_TRAIN + GROCERY_TEST
    # One count may be lower: with files missing it is still the Grocery Dataset, but incomplete.
    if complete not in (len(image_names), len(annotated_names)):
        return False
    return all(splits.scene(name) for name in image_names | annotated_names)


def _grocery_problem(found) -> Optional[str]:
    if "all" in found:
        return None
    train = len(found["train"])
    test = len(found["test"])
    if (train, test) == (GROCERY_TRAIN, GROCERY_TEST):
        return None
    return (
        f"{train} train and {test} test images; the Grocery Dataset has {GROCERY_TRAIN} and "
        f"{GROCERY_TEST}"
    )


def _grocery_note(found):
    if "all" in found:
        return (
            "this is the Grocery Dataset without its train/ and test/: the test images will not be "
            f"the official ones, which are in the folders of {data.GROCERY_IMAGES_URL}"
        )
    return (
        f"this is the Grocery Dataset with its official split: {GROCERY_TRAIN} train, "
        f"{GROCERY_TEST} test"
    )


def divide(
    found: Dict[str, ImagePaths], left_out: Set[str], test_share: float, seed: int
) -> Dict[str, ImagePaths]:
    """The train and test images to use; images under "all" are divided here.

    Args:
      found: what ``find_images`` returned.
      left_out: file names that are not used.
      test_share, seed: as in ``splits.hold_out``; used for images under "all".

    Returns:
      {"train": {name: path}, "test": {name: path}}.

    Raises:
      UserError: train or test would have no images.
    """
    kept = {
        folder: {name: path for name, path in image_paths.items() if name not in left_out}
        for folder, image_paths in found.items()
    }
    if "all" in kept:
        train, test = splits.hold_out(list(kept["all"]), test_share, seed)
        kept = {
            "train": {name: kept["all"][name] for name in train},
            "test": {name: kept["all"][name] for name in test},
        }
    empty = [folder for folder in kept if not kept[folder]]
    if empty:
        raise UserError(
            f"no image is left in {' and '.join(empty)}; expected some in train and in test."
        )
    return kept
