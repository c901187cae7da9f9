"""A user's dataset: where its images and annotations are, and which images train and test.

Images are as in ``layout``: "train", "test" and perhaps "val" to {file name: path}, or "all" to
{file name: path} where they are not divided.
"""

import os
import pathlib
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set

from shelfdet import UserError, data
from shelfdet.core.make_variables import both
from shelfdet.core.text import Problems, plural
from shelfdet.data import annotation_files, corrections, labels, layout, yaml_folders
from shelfdet.data.checks import validation
from shelfdet.data.classes import ClassChoice
from shelfdet.data.formats import ImagesByName
from shelfdet.data.layout import ImagePaths
from shelfdet.data.splitting import groups, splits, stated_splits

# The Grocery Dataset (Varol and Kuzu 2014), by its official split.
GROCERY_TRAIN = 283
GROCERY_TEST = 71


class Dataset(NamedTuple):
    """A user's dataset: its images and its annotations.

    image_sets: "train", "val" or "test" to the names, without suffix, of the images that a list of
      Pascal VOC puts there; empty without such lists.
    is_placed: whether step 01 has put it in place, whose folders are the splits.
    corrected: annotations that replace those of the same images; None where there are none.
    """

    layout: layout.Layout
    annotations: annotation_files.Annotations
    image_sets: Dict[str, List[str]] = {}
    is_placed: bool = False
    corrected: Optional[annotation_files.Annotations] = None


def find(
    folder: pathlib.Path,
    annotations_path: Optional[pathlib.Path] = None,
    format: str = "auto",
    corrected_path: Optional[pathlib.Path] = None,
) -> Dataset:
    """Finds the images and annotations of a dataset.

    Args:
      folder: the dataset's folder, or the data.yaml in it.
      annotations_path: where the annotations are; None finds them in ``folder``.
      format: of ``annotations_path``, as in ``annotation_files.named``.
      corrected_path: where annotations are that replace those of the same images.

    Raises:
      UserError: as ``layout.find``, ``annotation_files.find`` and ``annotation_files.named``.
    """
    folder = yaml_folders.folder_of(folder)
    found = _find_layout(folder)
    if annotations_path is None:
        paths_of_images = all_images(found.images).values()
        image_folders = list(dict.fromkeys(path.parent for path in paths_of_images))
        annotations = annotation_files.find(folder, image_folders)
    else:
        annotations = annotation_files.named(annotations_path, format)
    corrected = annotation_files.named(corrected_path) if corrected_path else None
    image_sets: Dict[str, List[str]] = {}
    if annotations.format == "voc":
        image_sets = stated_splits.read_image_sets(annotations.places())
    return Dataset(found, annotations, image_sets, corrected=corrected)


def _find_layout(folder: pathlib.Path) -> layout.Layout:
    """The images of a dataset, in the folders that its data.yaml names or by names of folders."""
    stated = yaml_folders.find(folder)
    try:
        found = layout.find(folder, stated=stated.folders)
    except UserError as error:
        if not stated.missing:
            raise
        # What data.yaml names may be the reason.
        raise UserError(f"{error} {stated.path} {yaml_folders.missing_text(stated)}.") from error
    return found._replace(notes=stated.notes + yaml_folders.replacements(stated, found.images))


def find_placed(
    folder: pathlib.Path, annotations_path: Optional[pathlib.Path] = None, format: str = "auto"
) -> Dataset:
    """Finds the dataset that step 01, or the user, has put into ``folder``.

    Args:
      folder: holds train/, test/ and perhaps val/, and the annotations.
      annotations_path: other annotations; None takes those in ``folder``.
      format: of the annotations, as in ``annotation_files.named``.

    Raises:
      UserError: as ``layout.find_divided``, ``annotation_files.placed`` and
        ``annotation_files.named``.
    """
    found = layout.find_divided(folder)
    if annotations_path is None:
        annotations_path = annotation_files.placed(folder, format)
    annotations = annotation_files.named(annotations_path, format)
    corrected = annotation_files.placed_corrections(folder)
    return Dataset(found, annotations, is_placed=True, corrected=corrected)


def read_corrections(
    found: Dataset, image_paths: ImagePaths, choice: ClassChoice, report: Callable[[str], None]
) -> ImagesByName:
    """The images of ``found.corrected``; none where that is None.

    Args:
      found: the dataset.
      image_paths: all its images.
      choice, report: as in ``check``.

    Raises:
      UserError: they cannot be read, or something is wrong in them.
    """
    if found.corrected is None:
        return {}
    places = found.corrected.places()
    problems = Problems(found.corrected.root())
    corrected = validation.read(
        places,
        found.corrected.format,
        image_paths,
        choice,
        problems,
        report,
        names_file=found.corrected.names_file,
    )
    problems.refuse()
    return corrected


class Checked(NamedTuple):
    """What ``check`` returns.

    labelled: the images that steps 02 and 04 use.
    images: file name to path of the images to put into place: those, and images whose boxes are all
      left out, which step 02 leaves out again.
    by_split: the dataset's images as in ``layout.Layout``, divided as annotations state it where no
      folders do.
    label_map: class name -> id, of the classes that the labels have.
    """

    labelled: List[labels.LabelledImage]
    images: ImagePaths
    by_split: Dict[str, ImagePaths]
    label_map: Dict[str, int]


def check(
    found: Dataset,
    choice: ClassChoice,
    report: Callable[[str], None] = print,
    **options: Any,
) -> Checked:
    """Checks images and annotations, for steps 01 and 02: both refuse the same.

    Args:
      found: what ``find`` or ``find_placed`` returned.
      choice: which classes boxes get.
      report: called with a line of text for what was recognised, matched, clipped or left out.
      options: of ``validation.check``.

    Raises:
      UserError: everything that is wrong or incomplete.
    """
    annotations = found.annotations
    by_split = found.layout.images
    if found.image_sets and "all" in by_split:
        by_split = stated_splits.by_lists(by_split["all"], found.image_sets, report)
    image_paths = all_images(by_split)
    places = annotations.places()
    problems = Problems(_root(annotations, image_paths))
    annotated = validation.read(
        places,
        annotations.format,
        image_paths,
        choice,
        problems,
        report,
        annotations.splits(),
        annotations.names_file,
    )
    corrected = read_corrections(found, image_paths, choice, report)
    before = {name: annotated[name] for name in corrected if name in annotated}
    for name, image in corrected.items():
        split = before[name].split if name in before else None
        annotated[name] = image._replace(split=split)
    annotated = stated_splits.without_unlisted(
        annotated, all_images(found.layout.images), image_paths
    )
    if "all" in by_split:
        by_split = stated_splits.by_annotations(by_split["all"], annotated, report)
    elif not found.is_placed:
        stated_splits.report_other_splits(by_split, annotated, report)
    if is_grocery_dataset(image_paths, annotated):
        problem = grocery_problem(by_split)
        if problem is None:
            report(grocery_note(by_split))
        elif options.get("allow_missing"):
            report(problem)
        else:
            problems.add("", problem)
    result = validation.check(
        annotated,
        image_paths,
        choice,
        problems,
        not_used=layout.not_used_reasons(found.layout),
        report=report,
        **options,
    )
    if corrected:
        sizes_wh = {image.filename: image.size_wh for image in result.labelled}
        report(corrections.report(before, corrected, sizes_wh, choice.kept))
    used = {image.filename for image in result.labelled}.union(result.without_boxes)
    images = {name: path for name, path in image_paths.items() if name in used}
    return Checked(result.labelled, images, by_split, result.label_map)


def _root(annotations: annotation_files.Annotations, image_paths: ImagePaths) -> pathlib.Path:
    """From where messages name files: the folder of images and annotations, or their one file."""
    own = annotations.root()
    if own in annotations.files:
        return own
    folders = {own}.union(path.parent for path in image_paths.values())
    common = pathlib.Path(os.path.commonpath([str(folder) for folder in folders]))
    return own if common == common.parent else common  # they may have "/" alone in common


def all_images(found: Dict[str, ImagePaths]) -> ImagePaths:
    """The images of all folders in one dict of file name to path."""
    return {name: path for folder in found.values() for name, path in folder.items()}


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
    test = len(found.get("test", ()))
    if (train, test) == (GROCERY_TRAIN, GROCERY_TEST) or "val" in found:
        return None
    return (
        f"{train} train and {test} test {plural(train + test, 'image')}; the Grocery Dataset has "
        f"{GROCERY_TRAIN} and {GROCERY_TEST}. Add what is missing, or "
        f"give {both('--allow-missing')} to "
        "continue without"
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
    """The train, val and test images to use; where there are no test images, they are chosen here.

    Args:
      found: the images, as in ``layout.Layout``: all of them, or those for training, are divided
        where there are none for the test.
      used: file names that are used.
      test_share, seed: as in ``splits.hold_out``.
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
    if "test" not in kept:
        divided = kept.pop("all" if "all" in kept else "train")
        train, test = splits.hold_out(
            list(divided), test_share, seed, image_groups.key_of.__getitem__
        )
        kept["train"] = {name: divided[name] for name in train}
        kept["test"] = {name: divided[name] for name in test}
    empty = [folder for folder in kept if not kept[folder]]
    if empty:
        raise UserError(
            f"no image is left in {' and '.join(empty)}; expected some in {' and in '.join(kept)}. "
            "The lines above say which images were left out, and why."
        )
    return kept
