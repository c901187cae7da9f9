"""Which images train, validate and test: images that belong together stay in one split.

Together are photographs of one shelf (or planogram), versions of one image, and files that are
identical or nearly so.

File names of the Grocery Dataset state what an image shows:
``C<camera>_P<planogram>_N<shelf rank>_S<shelves>_<copy>.JPG``.
"""

import collections
import hashlib
import math
import pathlib
import re
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files, paths, text
from shelfdet.core.make_variables import both
from shelfdet.data import label_map as label_map_file
from shelfdet.data import labels
from shelfdet.data.splitting import groups

# The Grocery Dataset's names: camera, planogram, rank of the top shelf, number of shelves, copy.
# Group 1, all but the copy, is the shelf.
_SCHEME = re.compile(r"^((C\d+)_(P\d+)_N\d+_S\d+)_\d+\.[^.]+$")

# Three of the twelve planograms each, chosen so that the folds have 86, 88, 91 and 89 of the 354
# images and 3117, 3424, 3249 and 3394 of the 13184 boxes, and so that each fold has one of the four
# small planograms, which one or two cameras photographed (P09 to P12).
FOLDS = (("P03", "P07", "P11"), ("P01", "P06", "P09"), ("P02", "P04", "P10"), ("P05", "P08", "P12"))

# A group of more images than this times the wanted number is taken only after all others.
LARGEST_OF_WANTED = 3

_COUNTED_ONCE = "Versions of one image and (nearly) identical ones count as one."
_PLURALS = {"shelf": "shelves", "planogram": "planograms"}

# Split name ("train", "val", "test") to sorted file names.
Split = Dict[str, List[str]]


class Overlap(NamedTuple):
    """How many test images resemble images of train or val.

    shelves: test images of a shelf that train or val shows too.
    scenes: test images that share camera and planogram with one of train or val.
    outside_scheme: test images whose name states neither; they count in no other field.
    """

    shelves: int
    scenes: int
    outside_scheme: int


class Counts(NamedTuple):
    """Size of one split: its images, its boxes, and the most boxes in one of its images."""

    images: int
    boxes: int
    most_boxes: int


def shelf(name: str) -> str:
    """The shelf that an image shows: its file name without the copy number.

    A name outside the scheme is a shelf of its own.
    """
    match = _SCHEME.match(name)
    return match.group(1) if match else name


def image_groups(image_paths: Mapping[str, pathlib.Path]) -> groups.Groups:
    """The images that have to stay in one split: of one shelf, versions, (nearly) identical ones.

    Args:
      image_paths: file name to path.
    """
    return groups.find(image_paths, lambda name: shelf(name) if scene(name) else None)


def scene(name: str) -> Optional[Tuple[str, str]]:
    """(camera, planogram) of a name, such as ("C1", "P03"); None if it is outside the scheme."""
    match = _SCHEME.match(name)
    return match.group(2, 3) if match else None


def planogram(name: str) -> str:
    """The planogram of a file name within the scheme, such as "P03"."""
    _, found = scene(name)
    return found


def planograms(names: Iterable[str]) -> List[str]:
    """The planograms of file names within the scheme, sorted, each once."""
    return sorted({planogram(name) for name in names})


def hold_out(
    names: Sequence[str], share: float, seed: int, group_of: Callable[[str], str] = shelf
) -> Tuple[List[str], List[str]]:
    """Takes test images, at least ``share`` of all, by whole groups; for images without folders.

    Args:
      names: file names.
      share: above 0 and below 1.
      seed: selects which groups.
      group_of: file name to the key of its group; by default the shelf that the name states (one
        outside the scheme is a shelf of its own).

    Returns:
      (train, test), two lists of file names.

    Raises:
      UserError: there are too few groups for train and test to have some.
    """
    train, test = _take_groups(names, group_of, share, f"test {seed} ")
    if not train:
        shelves = text.counted(len({group_of(name) for name in names}), "shelf", "shelves")
        shown = text.counted(len(names), "image shows", "images show")
        raise UserError(
            f"{shown} {shelves}; expected enough shelves to train on some and "
            f"test on others. {_COUNTED_ONCE} Add images, lower {both('--test-share')}, or divide "
            "the images "
            "by hand into train/ and test/."
        )
    return train, test


def official(
    train: Sequence[str],
    test: Sequence[str],
    val_share: float,
    seed: int,
    group_of: Callable[[str], str] = shelf,
) -> Split:
    """Takes validation images out of the training images by whole groups.

    Args:
      train, test: file names in the folders train/ and test/.
      val_share: share of the training images, above 0 and below 1; whole groups are taken until
        there are at least that many images.
      seed: selects which groups.
      group_of: as in ``hold_out``.

    Returns:
      dict of "train", "val", "test" to sorted lists of file names.

    Raises:
      UserError: a split would have no images.
    """
    train, val = _take_validation(train, group_of, val_share, seed, "shelf")
    return _checked_split(train, val, test)


def choose(
    found: Mapping[str, Iterable[str]],
    labelled: Sequence[labels.LabelledImage],
    image_groups: groups.Groups,
    kind: str = "official",
    fold: Optional[int] = None,
    val_share: float = 0.1,
    seed: int = 0,
) -> Split:
    """The split of a dataset, as steps 01 and 02 choose it.

    Args:
      found: "train", "test" and perhaps "val" to the names of the images in that folder.
      labelled: the images to use.
      image_groups: which images have to stay in one split.
      kind: "official" (by folder; without "val", validation images are taken out of "train") or
        "grouped" (by planogram).
      fold, val_share, seed: as in ``official`` and ``grouped``.

    Raises:
      UserError: as ``official``, ``by_folder``, ``grouped`` and ``refuse_without_boxes``.
    """
    names = [image.filename for image in labelled]
    train, val, test = (
        [name for name in names if name in found.get(folder, ())] for folder in paths.SPLITS
    )
    if kind == "grouped":
        split = grouped(names, fold, val_share, seed)
    elif "val" in found:
        split = by_folder(train, val, test)
    else:
        split = official(train, test, val_share, seed, image_groups.key_of.__getitem__)
    refuse_without_boxes(split, labelled, chosen="val" not in found)
    return split


def by_folder(train: Sequence[str], val: Sequence[str], test: Sequence[str]) -> Split:
    """The split that folders give; ``val`` are the images in val/.

    Raises:
      UserError: a split would have no images.
    """
    return _checked_split(train, val, test)


def grouped(names: Sequence[str], fold: int, val_share: float, seed: int) -> Split:
    """Tests on the planograms of a fold and validates on whole planograms of the rest.

    Args:
      names: file names, all within the scheme.
      fold: 0 to 3, an index of FOLDS.
      val_share, seed: as in ``official``, with planograms instead of shelves.

    Returns:
      as ``official``.

    Raises:
      UserError: names outside the scheme; a split would have no images.
    """
    outside = [name for name in names if scene(name) is None]
    if outside:
        raise UserError(
            f"{len(outside)} of {text.counted(len(names), 'image')} "
            f"{text.plural(len(outside), 'has a name that does', 'have names that do')} not state "
            "the planogram: "
            f"{text.listed(outside)}; expected names such as C1_P03_N1_S2_1.JPG (camera, "
            f"planogram, shelf rank, shelves, copy). Use {both('--split official')}."
        )
    test = [name for name in names if planogram(name) in FOLDS[fold]]
    rest = [name for name in names if planogram(name) not in FOLDS[fold]]
    train, val = _take_validation(rest, planogram, val_share, seed, "planogram")
    return _checked_split(train, val, test)


def overlap(split: Split) -> Overlap:
    """Counts the test images that resemble images of train or val."""
    seen = [name for name in split["train"] + split["val"] if scene(name)]
    seen_shelves = {shelf(name) for name in seen}
    seen_scenes = {scene(name) for name in seen}
    tested = [name for name in split["test"] if scene(name)]
    return Overlap(
        shelves=sum(shelf(name) in seen_shelves for name in tested),
        scenes=sum(scene(name) in seen_scenes for name in tested),
        outside_scheme=len(split["test"]) - len(tested),
    )


def refuse_without_boxes(
    split: Split, labelled: Iterable[labels.LabelledImage], chosen: bool
) -> None:
    """Refuses a split of images without products: nothing can be learned from it, nor measured.

    Args:
      split: names of the images of each split.
      labelled: the labelled images.
      chosen: whether validation images were taken out of the training images.

    Raises:
      UserError: train, val or test has no box.
    """
    boxes_of = {image.filename: len(image.classes) for image in labelled}
    uses = {
        "train": "train on",
        "val": "choose the best checkpoint with",
        "test": "measure AP on",
    }
    for name, names in split.items():
        if any(boxes_of[image] for image in names):
            continue
        remedy = f"put images with products into {name}/"
        if name == "val" and chosen:
            remedy = (
                f"give another {both('--seed')} or a larger {both('--val-share')}, which choose "
                "other images"
            )
        raise UserError(
            f"{name}: {text.counted(len(names), 'image')} without any box ({text.listed(names)}); "
            f"expected at least one ground-truth box to {uses[name]}. Annotate products in them, "
            f"or {remedy}."
        )


def shared_report(split: Split, image_groups: groups.Groups) -> List[str]:
    """Sentences on versions and (nearly) identical images that are in two splits.

    Where the folders give the split, or planograms, such images are not kept together. Of the test
    images the number is stated even if it is 0.
    """
    lines = []
    for name, others in (("test", "train and val"), ("val", "train")):
        seen = split["train"] + (split["val"] if name == "test" else [])
        related = groups.related(split[name], seen, image_groups)
        if not related and name != "test":
            continue
        line = (
            f"of {text.counted(len(split[name]), f'{name} image')}, {len(related)} "
            f"{text.plural(len(related), 'is a version', 'are versions')} of an image in {others}, "
            "or (nearly) identical to one"
        )
        if related:
            pairs = text.listed((f"{image} (of {other})" for image, other in related.items()), 3)
            line += f": {pairs}. Scores on such images are too high: put them into one split."
        lines.append(line)
    return lines


def counts(names: Iterable[str], labelled: Iterable[labels.LabelledImage]) -> Counts:
    """Counts the images and boxes of one split.

    Args:
      names: file names of the split, at least one.
      labelled: labelled images, those of other splits too.
    """
    boxes_of = {image.filename: len(image.classes) for image in labelled}
    boxes = [boxes_of[name] for name in names]
    return Counts(len(boxes), sum(boxes), max(boxes))


def class_counts(names: Iterable[str], labelled: Iterable[labels.LabelledImage]) -> Dict[str, int]:
    """The number of boxes of each class in one split; 0 for a class that it has no box of.

    Arguments as in ``counts``.
    """
    classes_of = {image.filename: image.classes for image in labelled}
    return collections.Counter(label for name in names for label in classes_of[name])


def write(
    split: Split,
    labelled: Sequence[labels.LabelledImage],
    folder: pathlib.Path,
    label_map: Optional[Dict[str, int]] = None,
) -> Dict[str, pathlib.Path]:
    """Writes the three label files, and their label map, into ``folder``: all or on failure none.

    Args:
      split: what ``official`` or ``grouped`` returned.
      labelled: the labelled images of all splits; a label file keeps their order.
      folder: where train_labels.csv, val_labels.csv and test_labels.csv go.
      label_map: class name to id of labels that keep their classes, for paths.CLASSES_FILE, which
        keeps the display names that an earlier one has; None removes an earlier one, which would be
        taken for the label map of the new labels.

    Returns:
      dict of "train", "val", "test" to the label file.

    Raises:
      UserError: a file cannot be written.
    """
    targets = {name: paths.labels_in(folder, name) for name in paths.SPLITS}
    classes_file = folder / paths.CLASSES_FILE
    with files.replacing_together(
        [*targets.values()] + ([classes_file] if label_map else [])
    ) as partials:
        if label_map:
            label_map_file.write_label_map(
                label_map, partials[-1], label_map_file.display_names_in(classes_file)
            )
        for name, partial in zip(targets, partials):
            members = set(split[name])
            labels.write_labels([image for image in labelled if image.filename in members], partial)
    if not label_map and classes_file.exists():
        classes_file.unlink()
    return targets


def _take_groups(
    names: Sequence[str], group_of: Callable[[str], str], share: float, salt: str
) -> Tuple[List[str], List[str]]:
    """Takes whole groups, in an order that depends on ``salt``, until at least ``share`` are taken.

    Returns:
      (rest, taken), both in the order of ``names``.
    """
    members = collections.defaultdict(list)
    for name in names:
        members[group_of(name)].append(name)

    wanted = math.ceil(share * len(names))

    # Ordered by hash and not by a random shuffle: a group that is added or removed does not change
    # the others' order. A group that would take far more than is wanted, such as a hundred versions
    # of one image, comes last.
    def order(group: str) -> Tuple[bool, str]:
        digest = hashlib.sha256((salt + group).encode("utf-8")).hexdigest()
        return len(members[group]) > LARGEST_OF_WANTED * wanted, digest

    taken = set()
    # Whole groups: photographs of one shelf are too similar to train on one and test on another.
    for group in sorted(members, key=order):
        if len(taken) >= wanted:
            break
        taken.update(members[group])
    rest = [name for name in names if name not in taken]
    return rest, [name for name in names if name in taken]


def _take_validation(names, group_of, val_share, seed, group_name):
    train, val = _take_groups(names, group_of, val_share, f"{seed}:")
    if val and not train:
        found = text.counted(
            len({group_of(name) for name in names}), group_name, _PLURALS[group_name]
        )
        raise UserError(
            f"the {text.counted(len(names), 'training image shows', 'training images show')} "
            f"{found}, and validation would take them all; expected some to remain for training. "
            f"{_COUNTED_ONCE} Lower {both('--val-share')}, add images, or put validation "
            "images into val/."
        )
    return train, val


def _checked_split(train, val, test):
    split = {"train": sorted(train), "val": sorted(val), "test": sorted(test)}
    empty = [name for name in paths.SPLITS if not split[name]]
    if empty:
        raise UserError(
            f"no image is in {' and '.join(empty)}; expected images in each of train, val and "
            "test. Put images into train/ and test/ (step 01 does that for a folder without the "
            "two), and annotate them."
        )
    return split
