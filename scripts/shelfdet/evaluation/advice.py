"""What to change after an evaluation: a few sentences, each with the figures that are its ground.

The rules look at errors from the score threshold on. One applies where its errors are many
(LEAST_SHARE of the products); those with the most errors are given. The limits are judgements, not
results of measurements.
"""

from typing import List, NamedTuple, Optional, Sequence, Union

import numpy as np

from shelfdet.core import disk_list
from shelfdet.core.text import counted, plural
from shelfdet.evaluation import confusion, matching
from shelfdet.evaluation.matching import Matches
from shelfdet.inference import AUTO_TILES

MOST_LINES = 3
LEAST_SHARE = 0.03  # errors for each ground-truth box, from which a rule applies
LEAST_ERRORS = 5
# A box of less of its image's width or height is small: what tiles are for (docs/deployment.md).
SMALL = 1 / 20
# How many times as often as others small products are missed where their size is the reason.
OFTEN = 2
# Of the false negatives: at least so many have a detection below the threshold.
UNCERTAIN_SHARE = 0.5

Tiles = Union[int, str, None]


class _Advice(NamedTuple):
    """A sentence, and the number of errors that it is about."""

    errors: int
    text: str


def advise(
    matches: Sequence[Matches], threshold: Optional[float], tiles: Tiles = None
) -> List[str]:
    """What to change, the most frequent kind of error first; empty if there is no ground for any.

    Args:
      matches: of the scored images.
      threshold: the score threshold; without one there is no advice.
      tiles: with which step 08 ran the network, as it records them; None for whole images.

    Returns:
      at most MOST_LINES sentences, without a full stop.
    """
    products = sum(len(image.truth_xyxy) for image in matches)
    if threshold is None or not products:
        return []
    rules = [
        _badly_placed(matches, threshold, tiles),
        _missed_small(matches, threshold, tiles),
        _uncertain(matches, threshold),
        _background(matches, threshold),
        _confused(matches, threshold),
    ]
    least = max(LEAST_ERRORS, LEAST_SHARE * products)
    given = [advice for advice in rules if advice is not None and advice.errors >= least]
    given.sort(key=lambda advice: -advice.errors)
    return [advice.text for advice in given[:MOST_LINES]]


def _badly_placed(matches: Sequence[Matches], threshold: float, tiles: Tiles) -> Optional[_Advice]:
    kind = matching.LOCALIZATION
    overlaps = np.concatenate([image.iou[_of_kind(image, kind, threshold)] for image in matches])
    number = len(overlaps)
    if not number:
        return None
    return _Advice(
        number,
        f"{counted(number, 'detection')} {plural(number, 'is', 'are')} badly placed (IoU under "
        f"{matching.PASCAL_IOU:g} with a product, {np.median(overlaps):.2f} in the median): find "
        f"anchors that fit better (make anchors), train for more steps, or use {_more(tiles)}",
    )


def _missed_small(matches: Sequence[Matches], threshold: float, tiles: Tiles) -> Optional[_Advice]:
    """Small products, if they are missed much more often than the others."""
    known = [place for place, image in enumerate(matches) if image.size_wh is not None]
    if not known:
        return None
    matches = disk_list.Mapped(matches.__getitem__, known)
    small = np.concatenate([_is_small(image) for image in matches])
    missed = np.concatenate([matching.false_negatives(image, threshold) for image in matches])
    number = int(missed[small].sum())
    if not number:
        return None
    share = missed[small].mean()
    compared = ""
    if not small.all():
        share_of_others = missed[~small].mean()
        if share < OFTEN * share_of_others:
            return None
        compared = f", {share_of_others:.0%} of the others"
    return _Advice(
        number,
        f"{number} of {counted(int(small.sum()), 'small product')} (a side under {SMALL:.0%} of "
        f"the image's) {plural(number, 'is', 'are')} missed ({share:.0%}{compared}): use "
        f"{_more(tiles)}, or a larger input (fixed_shape_resizer in the config)",
    )


def _uncertain(matches: Sequence[Matches], threshold: float) -> Optional[_Advice]:
    """False negatives with a detection at the right place whose score is too low."""
    missed = sum(int(matching.false_negatives(image, threshold).sum()) for image in matches)
    kind = matching.TRUE_POSITIVE
    scores = np.concatenate(
        [image.scores[(image.kinds == kind) & (image.scores < threshold)] for image in matches]
    )
    if not len(scores) or len(scores) < UNCERTAIN_SHARE * missed:
        return None
    return _Advice(
        len(scores),
        f"{len(scores)} of {counted(missed, 'missed product')} "
        f"{plural(len(scores), 'has', 'have')} a detection of low confidence (score "
        f"{np.median(scores):.2f} in the median, threshold {threshold:.2f}): train for more steps, "
        "or add training images like these",
    )


def _background(matches: Sequence[Matches], threshold: float) -> Optional[_Advice]:
    number = _count(matches, matching.BACKGROUND, threshold)
    if not number:
        return None
    share = number / sum(int((image.scores >= threshold).sum()) for image in matches)
    found = f"{counted(number, 'detection')} ({share:.0%} of all) {plural(number, 'is', 'are')}"
    right = _count(matches, matching.TRUE_POSITIVE, threshold)
    if number > right:
        return _Advice(
            number,
            f"{found} where no product is labelled, more than are right ({right}): train for more "
            "steps, and check in the report (make report) that the products are labelled",
        )
    return _Advice(
        number,
        f"{found} where no product is labelled; the report shows them (make report): label those "
        "that are products; against the others, add training images without products "
        "(EMPTY_IMAGES=keep)",
    )


def _confused(matches: Sequence[Matches], threshold: float) -> Optional[_Advice]:
    number = _count(matches, matching.CLASSIFICATION, threshold)
    if not number:
        return None
    pairs = confusion.most_confused(confusion.confusion_matrix(matches, threshold))
    if not pairs:  # all are second detections of products that are found
        return None
    first = pairs[0]
    return _Advice(
        number,
        f"{counted(number, 'detection')} {plural(number, 'has', 'have')} the class of another "
        f"product, most often {first.truth} is detected as {first.detected} ({first.number}): "
        "check their labels, add training images of these classes, or train one class for all "
        "(make data without CLASSES=)",
    )


def _of_kind(image: Matches, kind: int, threshold: float) -> np.ndarray:
    """Which detections are of a kind of matching.KINDS and count at the threshold, bool (N,)."""
    return (image.kinds == kind) & (image.scores >= threshold)


def _count(matches: Sequence[Matches], kind: int, threshold: float) -> int:
    return sum(int(_of_kind(image, kind, threshold).sum()) for image in matches)


def _is_small(image: Matches) -> np.ndarray:
    """Which ground-truth boxes are small in their image, bool (M,)."""
    sides_wh = image.truth_xyxy[:, 2:] - image.truth_xyxy[:, :2]
    return (sides_wh / image.size_wh < SMALL).any(axis=1)


def _more(tiles: Tiles) -> str:
    """More tiles than step 08 used."""
    if tiles == AUTO_TILES:
        return "training on tiles (make data TILES=2; unless it was trained so already)"
    return f"tiles (make eval TILES={(tiles or 1) + 1}, with its other variables as before)"
