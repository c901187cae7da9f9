"""Writes the records of step 04: label files and images to TFRecords, each one file or shards.

A small record is one file: its images are encoded on all cores, written and read back. A large one
is divided into shards (see ``sharding``), each of which one process encodes, writes and reads back.
"""

import collections
import contextlib
import itertools
import pathlib
import sys
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import files, parallel, paths, shards, tiles
from shelfdet.core.progress import progress
from shelfdet.core.text import counted
from shelfdet.data import examples, images, labels, layout, records, sharding
from shelfdet.data.label_map import read_label_map


class Stored(NamedTuple):
    """What a record or a shard holds.

    examples: number of examples: images, or tiles of them.
    tiles: number of examples that are tiles.
    shrunk: number of examples that were stored smaller than they are.
    boxes: number of boxes of all examples, without ignored ones.
    most_boxes: number of boxes, with ignored ones, in the example with most of them.
    ignored: number of ignored boxes.
    lost: number of products that are in no tile with enough of their box to be labelled there.
    """

    examples: int
    tiles: int
    shrunk: int
    boxes: int
    most_boxes: int
    ignored: int
    lost: int


class Written(NamedTuple):
    """One record that was written.

    path: the TFRecord, or the pattern for its shards.
    images: number of images.
    grids: number of images by the grid of tiles that they were divided into.
    stored: what it holds.
    shards: number of shards; 1 is a single file.
    kept_shards: number of shards that an earlier run of the same inputs had completed.
    """

    path: pathlib.Path
    images: int
    grids: Dict[tiles.Grid, int]
    stored: Stored
    shards: int = 1
    kept_shards: int = 0


class Settings(NamedTuple):
    """How images become examples; as in the arguments of ``write_records``."""

    label_map: Dict[str, int]
    label_map_path: pathlib.Path
    max_side: int
    exif: str
    tiling: examples.Tiling
    dataset: str


class _Split(NamedTuple):
    """What one record will hold: images with examples, the path of each, and how to divide them.

    record: the TFRecord. without_examples: the images that have none: no tile of theirs has a
    product. lost: products of these. example_count: examples of all. shards: number of shards.
    """

    record: pathlib.Path
    labelled: List[labels.LabelledImage]
    paths: List[pathlib.Path]
    settings: Settings
    without_examples: List[labels.LabelledImage]
    example_count: int
    shards: int


def write_records(
    annotations: pathlib.Path,
    images_folder: pathlib.Path,
    splits: Sequence[str],
    label_map_path: pathlib.Path,
    max_side: int = images.MAX_SIDE,
    exif: str = "ignore",
    tiling: examples.Tiling = examples.WHOLE_IMAGES,
    dataset: str = "",
    shard_count: int = 0,
) -> List[Written]:
    """Writes the records of splits and reads them back.

    All old records are replaced or none, except that shards replace a record one by one: see
    ``sharding.ShardSet.move_into_place``.

    Args:
      annotations: folder with SPLIT_labels.csv, where SPLIT.record or its shards go.
      images_folder: images, or a dataset's folder (see ``layout``).
      splits: some of "train", "val", "test".
      label_map_path: the label map (.pbtxt).
      max_side: shrink images, or tiles, whose longer side is over this many pixels; 0 keeps all.
      exif: "ignore" or "apply", as in ``images.load``.
      tiling: how the images of "train" and "val" are divided. Those of "test" never are: step 08
        detects in the images themselves.
      dataset: as in ``examples.of_image``.
      shard_count: of each record; 1 is a single file, 0 decides by the number of examples.

    Returns:
      a Written for each split.

    Raises:
      UserError: labels, label map or images with mistakes; a split without any box; more shards
        than images; a disk that is full; a record that reads back differently, or that another
        program is writing.
    """
    # Everything that can be wrong in small files is read before the first image is encoded.
    label_map = read_label_map(label_map_path)
    planned = []
    for split in splits:
        of_split = examples.WHOLE_IMAGES if split == "test" else tiling
        settings = Settings(label_map, label_map_path, max_side, exif, of_split, dataset)
        planned.append(_read_split(annotations, images_folder, split, settings, shard_count))
    sharded = [split for split in planned if split.shards > 1]
    single = [split for split in planned if split.shards == 1]
    written = {}
    # The workers are forked first: TensorFlow's threads, once imported, would not survive a fork.
    with parallel.Workers() as workers, contextlib.ExitStack() as stack:
        shard_sets = []
        for split in sharded:
            tasks = _shard_tasks(split)
            shard_sets.append(
                stack.enter_context(sharding.writing(split.record, list(map(_digest, tasks))))
            )
            written[split.record] = _write_shards(split, tasks, shard_sets[-1], workers)

        def replace_shards() -> None:
            for split in single:
                sharding.remove_shards(split.record)
            for shard_set in shard_sets:
                shard_set.move_into_place()

        targets = [split.record for split in single]
        partials = stack.enter_context(files.replacing_together(targets, replace_shards))
        for split, partial in zip(single, partials):
            written[split.record] = _write_single(split, partial, workers)
    return [written[split.record] for split in planned]


def _read_split(
    annotations: pathlib.Path,
    images_folder: pathlib.Path,
    split: str,
    settings: Settings,
    shard_count: int,
) -> _Split:
    path = paths.labels_in(annotations, split)
    labelled = labels.read_labels(path)
    if not any(image.classes for image in labelled):
        raise UserError(
            f"{path}: {counted(len(labelled), 'image')} without any box; expected at least one "
            "ground-truth box, because nothing can be learned from such a split, nor measured on "
            "it. Annotate products in these images, or choose others, then run steps 01 and 02 "
            "again."
        )
    located = layout.locate(images_folder, [image.filename for image in labelled], split)
    example_counts = [
        len(examples.of_image(image, settings.tiling, settings.dataset)) for image in labelled
    ]
    used = [
        (image, image_path)
        for image, image_path, count in zip(labelled, located, example_counts)
        if count
    ]
    sharding.check_count(shard_count, len(used), path)
    return _Split(
        paths.record_in(annotations, split),
        [image for image, _ in used],
        [image_path for _, image_path in used],
        settings,
        [image for image, count in zip(labelled, example_counts) if not count],
        sum(example_counts),
        shard_count or sharding.count_for(sum(example_counts)),
    )


class _Part(NamedTuple):
    """The images of one file: of a record, or of a shard."""

    labelled: Sequence[labels.LabelledImage]
    paths: Sequence[pathlib.Path]
    settings: Settings

    def examples_by_image(self) -> List[List[examples.Example]]:
        tiling, dataset = self.settings.tiling, self.settings.dataset
        return [examples.of_image(image, tiling, dataset) for image in self.labelled]


def _write_single(split: _Split, partial: pathlib.Path, workers: parallel.Workers) -> Written:
    """Writes a record that is one file; images are encoded on all cores."""
    part = _Part(split.labelled, split.paths, split.settings)
    by_image = part.examples_by_image()
    tasks = _encoding_tasks(part, by_image)
    encoded = progress(
        workers.map(records.encode_parts, tasks), split.record.stem, len(part.paths), "images"
    )
    stored_sizes = _store(partial, part, by_image, encoded)
    checked = _check(partial, part, by_image, stored_sizes)
    count = len(stored_sizes)
    box_counts = progress(checked, f"{split.record.stem} read back", count, "examples")
    return _written(split, split.record, [_stored(part, by_image, stored_sizes, box_counts)])


def _write_shards(
    split: _Split, parts: Sequence[_Part], shard_set: sharding.ShardSet, workers: parallel.Workers
) -> Written:
    """Writes the shards of a record that are not complete yet, one a process."""
    # TensorFlow's threads do not survive a fork: where this process has it, it writes the shards.
    run = itertools.starmap if "tensorflow" in sys.modules else workers.map
    results = run(_write_shard, zip(shard_set.waiting, parts))
    done = list(progress(results, split.record.stem, len(parts), "shards"))
    pattern = shards.pattern_of(split.record)
    written = _written(split, pattern, [stored for stored, _ in done])
    return written._replace(shards=len(parts), kept_shards=sum(kept for _, kept in done))


def _write_shard(path: pathlib.Path, part: _Part) -> Tuple[Stored, bool]:
    """Writes one shard and reads it back, unless an earlier run has; worker processes run it.

    Returns:
      what it holds, and whether it is of an earlier run.

    Raises:
      UserError: as ``write_records``.
    """
    by_image = part.examples_by_image()
    if path.is_file():
        with contextlib.suppress(UserError):  # damaged since it was completed
            box_counts = [_box_count(example) for example in _flat(by_image)]
            stored_sizes = records.stored_sizes(path)
            if len(stored_sizes) == len(box_counts):  # else it was cut short
                return _stored(part, by_image, stored_sizes, box_counts), True
    with files.replacing(path) as partial:
        tasks = _while_needed(_encoding_tasks(part, by_image))
        encoded = (records.encode_parts(*task) for task in tasks)
        stored_sizes = _store(partial, part, by_image, encoded)
        # One thread, because every core has a process of its own.
        box_counts = _check(partial, part, by_image, stored_sizes, threads=1)
        return _stored(part, by_image, stored_sizes, _while_needed(box_counts)), False


def _while_needed(items: Iterable[Any]) -> Iterator[Any]:
    """The items, as long as the process that started this worker waits for its result."""
    for item in items:
        parallel.raise_if_stopped()
        yield item


def _shard_tasks(split: _Split) -> List[_Part]:
    """The images of each shard."""
    row_of = {image.filename: row for row, image in enumerate(split.labelled)}
    parts = []
    for names in sharding.dealt(row_of, split.shards):
        rows = [row_of[name] for name in names]
        labelled = [split.labelled[row] for row in rows]
        parts.append(_Part(labelled, [split.paths[row] for row in rows], split.settings))
    return parts


def _digest(part: _Part) -> str:
    settings = part.settings._asdict()
    settings["label_map_path"] = str(part.settings.label_map_path)
    return sharding.digest(part.labelled, part.paths, settings, [__file__, records.__file__])


def _encoding_tasks(
    part: _Part, by_image: Sequence[Sequence[examples.Example]]
) -> Iterator[Tuple[Any, ...]]:
    """The arguments of ``records.encode_parts`` for each image."""
    max_side, exif = part.settings.max_side, part.settings.exif
    for path, image, found in zip(part.paths, part.labelled, by_image):
        yield path, image.size_wh, [example.tile_xyxy for example in found], max_side, exif


def _store(
    path: pathlib.Path,
    part: _Part,
    by_image: Sequence[Sequence[examples.Example]],
    encoded: Iterable[List[Tuple[bytes, records.Size]]],
) -> List[records.Size]:
    """Writes one file; returns the size of each example as stored."""
    data = (stored for of_image in encoded for stored in of_image)
    return records.write(path, _flat(by_image), data, part.settings.label_map)


def _check(
    path: pathlib.Path,
    part: _Part,
    by_image: Sequence[Sequence[examples.Example]],
    stored_sizes: Sequence[records.Size],
    threads: int = 0,
) -> Iterator[int]:
    label_map, label_map_path = part.settings.label_map, part.settings.label_map_path
    return records.check(path, _flat(by_image), stored_sizes, label_map, label_map_path, threads)


def _stored(
    part: _Part,
    by_image: Sequence[Sequence[examples.Example]],
    stored_sizes: Sequence[records.Size],
    box_counts: Iterable[int],
) -> Stored:
    """What a file holds; goes through ``box_counts``, which may still be checking it."""
    found = _flat(by_image)
    counts = list(box_counts)
    ignored = sum(len(example.ignored.classes) for example in found if example.ignored is not None)
    return Stored(
        examples=len(found),
        tiles=sum(example.tile_xyxy is not None for example in found),
        shrunk=sum(
            tuple(stored_wh) != tuple(example.labelled.size_wh)
            for stored_wh, example in zip(stored_sizes, found)
        ),
        boxes=sum(counts) - ignored,
        most_boxes=max(counts),
        ignored=ignored,
        lost=sum(map(examples.in_no_tile, part.labelled, by_image)),
    )


def _box_count(example: examples.Example) -> int:
    ignored = 0 if example.ignored is None else len(example.ignored.classes)
    return len(example.labelled.classes) + ignored


def _flat(by_image: Sequence[Sequence[examples.Example]]) -> List[examples.Example]:
    return [example for of_image in by_image for example in of_image]


def _written(split: _Split, path: pathlib.Path, parts: Sequence[Stored]) -> Written:
    """The sum of what the files of a record hold."""
    images_of_split = split.labelled + split.without_examples
    lost = sum(len(image.classes) for image in split.without_examples)
    stored = Stored(
        examples=sum(part.examples for part in parts),
        tiles=sum(part.tiles for part in parts),
        shrunk=sum(part.shrunk for part in parts),
        boxes=sum(part.boxes for part in parts),
        most_boxes=max(part.most_boxes for part in parts),
        ignored=sum(part.ignored for part in parts),
        lost=lost + sum(part.lost for part in parts),
    )
    grids = collections.Counter(
        grid
        for image in images_of_split
        for grid in examples.grids_of(image, split.settings.tiling)
    )
    return Written(path, len(images_of_split), grids, stored)
