"""trained_on.json: the images that a network was trained and validated on.

It lists them under TRAIN and VAL, and those that its first weights have seen under BEFORE: the name
of each image, DATASET/FILE or, of the dataset without a name, FILE, with a digest of its labels. By
the digest an image is known again in a dataset of another name. Earlier versions wrote lists of
names alone.
"""

import hashlib
import json
import pathlib
from typing import Any, Dict, Iterable, NamedTuple, Optional, Sequence, Set

from shelfdet.core import files, paths
from shelfdet.data import labels

TRAIN = "train"
VAL = "val"
BEFORE = "before"
DIGEST_LENGTH = 16
# Two photographs can have the same size and few boxes at the same places: one box that is the whole
# image, for example.
LEAST_BOXES = 5

Images = Dict[str, str]  # name with dataset -> digest, "" where it is not known


def read(path: pathlib.Path) -> Dict[str, Images]:
    """The content of a trained_on.json; the digests are "" in a file of an earlier version."""
    return {
        use: names if isinstance(names, dict) else dict.fromkeys(names, "")
        for use, names in files.read_json(path).items()
    }


def as_text(seen: Dict[str, Images]) -> str:
    """The text of a trained_on.json."""
    return json.dumps(seen, indent=0, sort_keys=True) + "\n"


def of_labels(label_file: pathlib.Path) -> Images:
    """The images of a label file, by their names with the dataset of its folder."""
    dataset = paths.dataset_of(label_file.parent)
    images = labels.read_labels(label_file)
    return {named(image.filename, dataset): digest(image) for image in images}


def named(filename: str, dataset: Optional[str]) -> str:
    """The name of an image with its dataset, which may be None or the one without a name."""
    return filename if dataset in (None, paths.DEFAULT_DATASET) else f"{dataset}/{filename}"


def digest(image: labels.LabelledImage) -> str:
    """A digest of an image's size, boxes and classes, one of its size and boxes, and their number.

    They have hyphens between them.
    """
    # Neither the order of the boxes nor how a number is written matters.
    boxes_xyxy = image.boxes_xyxy.tolist()
    with_classes = _hashed(image.size_wh, zip(image.classes, boxes_xyxy))
    return f"{with_classes}-{_hashed(image.size_wh, boxes_xyxy)}-{len(boxes_xyxy)}"


def joined(*parts: Images) -> Images:
    """The images of all, with the digest of the last part that has one."""
    images: Images = {}
    for part in parts:
        for name, digest_of_part in part.items():
            images[name] = digest_of_part or images.get(name, "")
    return images


def relabelled(before: Images, now: Images) -> Set[str]:
    """The images that are in both and have other boxes, classes or sizes now."""
    return {
        name
        for name, digest_now in now.items()
        if before.get(name) and _parsed(before[name]).labels != _parsed(digest_now).labels
    }


def same(images: Images, others: Images) -> Set[str]:
    """The names of those of ``images`` that are one of ``others``.

    They are if they have one name. The same photographs can also be read once without a name of the
    dataset and once with one, for example to keep their classes, or with two names. Then their
    sizes and boxes are equal, of LEAST_BOXES or more. If there are fewer, or a digest is not known,
    the names of the files are equal, too, and one of the two has no dataset.
    """
    known = [_parsed(digest_of_other) for digest_of_other in others.values()]
    telling = {other.boxes for other in known if other.count >= LEAST_BOXES}
    # The digests of the boxes by the names of files, without and with a dataset
    alone: Dict[str, Set[str]] = {}
    in_dataset: Dict[str, Set[str]] = {}
    for name, digest_of_other in others.items():
        by_file = in_dataset if "/" in name else alone
        by_file.setdefault(name.rpartition("/")[2], set()).add(_parsed(digest_of_other).boxes)
    found = set()
    for name, digest_of_image in images.items():
        boxes = _parsed(digest_of_image).boxes
        of_name = alone.get(name.rpartition("/")[2], set())
        if "/" not in name:
            of_name = of_name | in_dataset.get(name, set())
        by_name = of_name and (not boxes or boxes in of_name or "" in of_name)
        if name in others or boxes in telling or by_name:
            found.add(name)
    return found


class _Digest(NamedTuple):
    """The parts of a digest; "", "" and 0 of one that is not known."""

    labels: str
    boxes: str
    count: int


def _parsed(text: str) -> _Digest:
    parts = text.split("-")
    if len(parts) != len(_Digest._fields):
        return _Digest("", "", 0)
    with_classes, boxes, count = parts
    return _Digest(with_classes, boxes, int(count))


def _hashed(size_wh: Sequence[int], boxes: Iterable[Any]) -> str:
    content = json.dumps([list(size_wh), sorted(boxes)])
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:DIGEST_LENGTH]
