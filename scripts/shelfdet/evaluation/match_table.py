"""The matched boxes of many images in little memory.

A million images may be scored, and the arrays of one image take kilobytes beside their content. The
table holds the boxes of IMAGES_OF_A_CHUNK images in one array each, 59 bytes a detection, on disk
where they are many, and makes the Matches of an image when it is asked for.
"""

import collections.abc
import itertools
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import disk_list

IMAGES_OF_A_CHUNK = 1000


class Matches(NamedTuple):
    """The N detections of one image, by falling score, matched to its M ground-truth boxes."""

    filename: str
    size_wh: Optional[Tuple[int, int]]  # raw pixels; None where the format does not hold it
    truth_xyxy: np.ndarray  # float64 (M, 4)
    truth_classes: np.ndarray  # str (M,)
    boxes_xyxy: np.ndarray  # float64 (N, 4)
    scores: np.ndarray  # float64 (N,)
    classes: np.ndarray  # str (N,)
    # By the pascal rule.
    kinds: np.ndarray  # int8 (N,), index into KINDS
    # int (N,), the ground-truth box that the kind is of (for CLASSIFICATION of another class); -1
    # for BACKGROUND and CLASS_AND_LOCALIZATION
    truth_index: np.ndarray
    # float64 (N,), with the ground-truth box that it overlaps most: for CLASSIFICATION and
    # CLASS_AND_LOCALIZATION of those of another class, otherwise of its own
    iou: np.ndarray
    # By the coco rule.
    coco_true_positives: np.ndarray  # bool (10, N), at each of COCO_IOUS


class MatchTable(collections.abc.Sequence):
    """A sequence of Matches, whose arrays cannot be changed.

    Keep no Matches of many images: each holds the arrays of IMAGES_OF_A_CHUNK.
    """

    def __init__(self, images: Iterable[Matches] = ()) -> None:
        self.filenames: List[str] = []
        self._sizes_wh: List[Optional[Tuple[int, int]]] = []
        self._chunks = disk_list.DiskList()
        self._read: Tuple[int, Optional[_Chunk]] = (-1, None)  # the last one, with its place
        names = _Names()
        sizes: Dict[Optional[Tuple[int, int]], Optional[Tuple[int, int]]] = {}
        pending: List[Matches] = []
        for image in images:
            self.filenames.append(image.filename)
            # Most images share their size, and one tuple for it.
            self._sizes_wh.append(sizes.setdefault(image.size_wh, image.size_wh))
            pending.append(image)
            if len(pending) == IMAGES_OF_A_CHUNK:
                self._chunks.append(_chunk(pending, names))
                pending = []
        if pending:
            self._chunks.append(_chunk(pending, names))
        self._names = names.array()

    def __len__(self) -> int:
        return len(self.filenames)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._image(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return self._image(place)

    def __iter__(self) -> Iterator[Matches]:
        return map(self._image, range(len(self)))

    def _image(self, place: int) -> Matches:
        chunk = self._chunk(place // IMAGES_OF_A_CHUNK)
        row = place % IMAGES_OF_A_CHUNK
        truth = slice(*chunk.truth_ends[row : row + 2])
        found = slice(*chunk.found_ends[row : row + 2])
        return Matches(
            self.filenames[place],
            self._sizes_wh[place],
            chunk.truth_xyxy[truth],
            self._names[chunk.truth_classes[truth]],
            chunk.boxes_xyxy[found],
            chunk.scores[found],
            self._names[chunk.classes[found]],
            chunk.kinds[found],
            chunk.truth_index[found],
            chunk.iou[found],
            _unpacked(chunk.coco_bits[found]),
        )

    def _chunk(self, place: int) -> "_Chunk":
        last_place, chunk = self._read  # once: another thread may replace it
        if chunk is None or last_place != place:
            chunk = self._chunks[place]
            for column in chunk[2:]:
                column.flags.writeable = False
            self._read = (place, chunk)
        return chunk


class _Chunk(NamedTuple):
    """The arrays of Matches of some images, one after another.

    truth_ends, found_ends: P + 1 places, where the boxes of each of P images begin and end.
    truth_classes, classes: int32, places among the names. coco_bits: uint16 (N,), bit i is row i of
    coco_true_positives. The others are as in Matches.
    """

    truth_ends: List[int]
    found_ends: List[int]
    truth_xyxy: np.ndarray
    truth_classes: np.ndarray
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    truth_index: np.ndarray
    iou: np.ndarray
    coco_bits: np.ndarray


class _Names:
    """Numbers the names of classes."""

    def __init__(self) -> None:
        self._places: Dict[str, int] = {}

    def places(self, names: Sequence[str]) -> List[int]:
        return [self._places.setdefault(name, len(self._places)) for name in names]

    def array(self) -> np.ndarray:
        return np.array(list(self._places), dtype=object)


def _chunk(images: Sequence[Matches], names: _Names) -> _Chunk:
    truth_classes = [names.places(image.truth_classes) for image in images]
    classes = [names.places(image.classes) for image in images]
    columns = {
        field: np.concatenate([getattr(image, field) for image in images])
        for field in ("truth_xyxy", "boxes_xyxy", "scores", "kinds", "truth_index", "iou")
    }
    columns["truth_index"] = columns["truth_index"].astype(np.int32)
    coco = np.concatenate([image.coco_true_positives for image in images], axis=1)
    return _Chunk(
        truth_ends=_ends(truth_classes),
        found_ends=_ends(classes),
        truth_classes=np.concatenate(truth_classes).astype(np.int32),
        classes=np.concatenate(classes).astype(np.int32),
        coco_bits=_packed(coco),
        **columns,
    )


def _ends(parts: Sequence[Sequence[int]]) -> List[int]:
    return [0] + list(itertools.accumulate(len(part) for part in parts))


def _packed(rows: np.ndarray) -> np.ndarray:
    """bool (R, N), R at most 16, as the bits of uint16 (N,)."""
    bits = np.zeros(rows.shape[1], np.uint16)
    for number, row in enumerate(rows):
        bits |= row.astype(np.uint16) << np.uint16(number)
    return bits


def _unpacked(bits: np.ndarray) -> np.ndarray:
    """bool (10, N) of uint16 (N,)."""
    return (bits & _COCO_BITS) != 0


_COCO_BITS = (np.uint16(1) << np.arange(10, dtype=np.uint16))[:, None]  # a row each of COCO_IOUS
