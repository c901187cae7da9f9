"""Which images train, validate and test: by shelf, by planogram, and what the sides have in common.

File names of the Grocery Dataset tell what an image shows:
``C<camera>_P<planogram>_N<shelf rank>_S<shelves>_<copy>.JPG``.
"""

import collections
import hashlib
import math
import re

from shelfdet import UserError

NAMES = ("train", "val", "test")
_SCHEME = re.compile(r"^((C\d+)_(P\d+)_N\d+_S\d+)_\d+\.[^.]+$")

# Three of the twelve planograms each, chosen so that the folds hold 86, 88, 91 and 89 of the 354 images and 3117,
# 3424, 3249 and 3394 of the 13184 boxes, and each holds one of the four small planograms that one or two cameras saw
# (P09 to P12).
FOLDS = (("P03", "P07", "P11"), ("P01", "P06", "P09"), ("P02", "P04", "P10"), ("P05", "P08", "P12"))


def shelf(name):
    """What a validation image must not share with a training one: the name without its copy number.

    A name outside the scheme is a shelf of its own.
    """
    match = _SCHEME.match(name)
    return match.group(1) if match else name


def scene(name):
    """(camera, planogram) of a file name, such as ("C1", "P03"); None outside the scheme."""
    match = _SCHEME.match(name)
    return match.group(2, 3) if match else None


def planograms(names):
    """The planograms of images, sorted."""
    return sorted({scene(name)[1] for name in names})


def hold_out(names, share, seed):
    """Divides flat images: at least ``share`` of them, by whole shelves, become test images.

    Args:
      names: file names; one outside the scheme is a shelf of its own.
      share: above 0 and below 1.
      seed: int; which shelves.

    Returns:
      (train, test), two lists of file names.

    Raises:
      UserError: there are too few shelves to have some on either side.
    """
    train, test = _take(names, shelf, share, f"test {seed} ")
    if not train:
        shelves = len({shelf(name) for name in names})
        raise UserError(
            f"{len(names)} images show {shelves} {'shelf' if shelves == 1 else 'shelves'}; expected enough to train on some and test on others. Add images, lower --test-share, or divide them by hand into train/ and test/."
        )
    return train, test


def official(train, test, val_share, seed):
    """Takes validation out of the training images by whole shelves.

    Args:
      train, test: lists of file names.
      val_share: 0 to 1, of the training images; whole shelves are taken until there are at least that many.
      seed: int; which shelves.

    Returns:
      dict of "train", "val", "test" to sorted lists of file names.

    Raises:
      UserError: a side would be without images.
    """
    train, val = _take_validation(train, shelf, val_share, seed, "shelves")
    return _divided(train, val, test)


def grouped(names, fold, val_share, seed):
    """Tests on the planograms of a fold and validates on whole planograms of the rest.

    Args:
      names: list of file names, all within the scheme.
      fold: 0 to 3, an index of FOLDS.
      val_share, seed: as in ``official``, with planograms for shelves.

    Returns:
      as ``official``.

    Raises:
      UserError: names outside the scheme; a side would be without images.
    """
    outside = [name for name in names if scene(name) is None]
    if outside:
        raise UserError(
            f"{len(outside)} of {len(names)} images have names that do not tell their planogram: {', '.join(outside[:10])}{' ...' if len(outside) > 10 else ''}; expected C1_P03_N1_S2_1.JPG (camera, planogram, shelf rank, shelves, copy). Use --split official."
        )
    test = [name for name in names if scene(name)[1] in FOLDS[fold]]
    rest = [name for name in names if scene(name)[1] not in FOLDS[fold]]
    train, val = _take_validation(rest, lambda name: scene(name)[1], val_share, seed, "planograms")
    return _divided(train, val, test)


def shared(divided):
    """How many test images show a shelf, and how many share camera and planogram, with an image of train or val.

    Returns:
      (images sharing the shelf, images sharing camera and planogram, images outside the naming scheme).
    """
    seen = [name for name in divided["train"] + divided["val"] if scene(name)]
    shelves, scenes = {shelf(name) for name in seen}, {scene(name) for name in seen}
    told = [name for name in divided["test"] if scene(name)]
    return (
        sum(shelf(name) in shelves for name in told),
        sum(scene(name) in scenes for name in told),
        len(divided["test"]) - len(told),
    )


def _take(names, group_of, share, salt):
    """(rest, taken): at least ``share`` of the names, by whole groups, in an order that ``salt`` decides."""
    groups = collections.defaultdict(list)
    for name in names:
        groups[group_of(name)].append(name)
    # By hash, not by a generator's shuffle: an image that is added or removed does not move the other groups' order.
    order = sorted(
        groups, key=lambda group: hashlib.sha256((salt + group).encode("utf-8")).hexdigest()
    )
    taken = set()
    for group in order:
        if len(taken) >= math.ceil(share * len(names)):
            break
        taken.update(groups[group])
    return [name for name in names if name not in taken], [name for name in names if name in taken]


def _take_validation(names, group_of, val_share, seed, what):
    train, val = _take(names, group_of, val_share, f"{seed}:")
    if val and not train:
        raise UserError(
            f"the {len(names)} training images show {len({group_of(name) for name in names})} {what}, all of which validation would take; expected some left to train on. Lower --val-share, or add images."
        )
    return train, val


def _divided(train, val, test):
    divided = {"train": sorted(train), "val": sorted(val), "test": sorted(test)}
    empty = [split for split in NAMES if not divided[split]]
    if empty:
        raise UserError(
            f"no image is in {' and '.join(empty)}; expected some in each of train, val and test. Put images in train/ and in test/ (step 01 does that for a flat folder)."
        )
    return divided
