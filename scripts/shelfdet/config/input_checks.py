"""Checks of a training config against its data: limits, batches, memory, size of the images."""

import collections
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet.config import pipeline
from shelfdet.config.file_checks import TRAIN_READER, readers
from shelfdet.config.findings import DELETE_LINE, Findings, field_text
from shelfdet.config.record_checks import STEP_04, SplitSummary
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import MAX_SIDE, images

NMS = "model.ssd.post_processing.batch_non_max_suppression"
COCO_MAX_DETECTIONS = 100  # pycocotools' largest maxDets, which validation during training uses

# Fields of train_config and of the input readers that must be at least 1, with a usual value. With
# 0 TensorFlow fails while it builds the input.
POSITIVE_FIELDS = {
    "batch_size": 4,
    "shuffle_buffer_size": 256,
    "num_readers": 1,
    "num_parallel_batches": 1,
    "read_block_length": 32,
}

LARGE_BUFFER = 512 << 20  # bytes; the shuffle buffer holds whole records in memory
SMALLEST_BUFFER = 8  # images
# Images larger than this many times the network's input take time to decode without any benefit.
LARGE_IMAGE = 3
# Images that have less than this part of an input's width or height are warned of.
SMALL_IMAGE = 0.9

# What a limit allows beyond the fullest image of the data: some for images to come, more for
# detections because false positives count, too.
BOXES_MARGIN = 1.1
DETECTIONS_MARGIN = 1.5


class FullestImage(NamedTuple):
    """The image with the most products."""

    products: int
    name: str


def check_counts(config: pipeline.Config, findings: Findings) -> None:
    """Reports batch sizes, buffers and numbers of readers below 1."""
    blocks = [("train_config", config.train_config)]
    blocks += [(reader.key, reader.fields) for reader in readers(config)]
    for key, block in blocks:
        for name, usual in POSITIVE_FIELDS.items():
            if name not in block.DESCRIPTOR.fields_by_name:
                continue
            if name == "shuffle_buffer_size" and not block.shuffle:
                continue  # not read then
            value = getattr(block, name)
            if value < 1:
                findings.error(
                    f"{key}.{name}",
                    found=str(value),
                    expected="at least 1",
                    write=f"{name}: {usual}",
                )


def check_limits(
    config: pipeline.Config,
    label_files: Dict[str, List[SplitSummary]],
    records: Dict[str, SplitSummary],
    findings: Findings,
) -> None:
    """Checks the limits of readers and detections against the most products in one image.

    Args:
      config: as ``pipeline.read`` returns it.
      label_files: by split.
      records: by key of the reader, of several records together.
      findings: for the problems.
    """
    fullest = _fullest_images(label_files, records)
    if not fullest:
        return
    for reader in readers(config):
        if reader.split in fullest:
            _check_reader_limit(reader.key, reader.fields, fullest[reader.split], findings)
    suppression = config.model.ssd.post_processing.batch_non_max_suppression
    most = max(fullest.values())
    for name in ("max_detections_per_class", "max_total_detections"):
        if getattr(suppression, name) < most.products:
            findings.error(
                f"{NMS}.{name}",
                found=field_text(suppression, name),
                expected=f"more than the {counted(most.products, 'product')} in {most.name}",
                write=f"{name}: {_with_margin(most.products, DETECTIONS_MARGIN)}",
            )
    if "val" in fullest:
        _check_validation_limits(config.eval_config, fullest["val"], findings)


def _fullest_images(
    label_files: Dict[str, List[SplitSummary]], records: Dict[str, SplitSummary]
) -> Dict[str, FullestImage]:
    """The image with the most products in the label files or the records of each split.

    A tile has fewer products than its image in the label file, but ignored boxes, too.
    """
    by_split = collections.defaultdict(list)
    for key, summary in records.items():
        by_split["train" if key == TRAIN_READER else "val"].append(summary)
    for split, summaries in label_files.items():
        if not any(summary.is_divided for summary in by_split[split]):
            by_split[split] += summaries
    fullest = {}
    for split, summaries in by_split.items():
        fullest[split] = max(
            FullestImage(count, name)
            for summary in summaries
            for count, name in zip(summary.box_counts, summary.names)
        )
    return fullest


def _check_reader_limit(key: str, fields: Any, fullest: FullestImage, findings: Findings) -> None:
    if fields.max_number_of_boxes >= fullest.products:
        return
    findings.error(
        key + ".max_number_of_boxes",
        found=field_text(fields, "max_number_of_boxes"),
        expected=f"at least {fullest.products}, the products in {fullest.name}: "
        "those beyond the limit are dropped and become background",
        write=f"max_number_of_boxes: {_with_margin(fullest.products, BOXES_MARGIN)}",
    )


def _check_validation_limits(eval_config: Any, fullest: FullestImage, findings: Findings) -> None:
    if eval_config.max_num_boxes_to_visualize < fullest.products:
        findings.warning(
            "eval_config.max_num_boxes_to_visualize",
            found=field_text(eval_config, "max_num_boxes_to_visualize"),
            expected=f"at least {fullest.products}, the products in {fullest.name}: "
            "TensorBoard's images omit the others",
            write=f"max_num_boxes_to_visualize: {_with_margin(fullest.products, BOXES_MARGIN)}",
        )
    if fullest.products > COCO_MAX_DETECTIONS:
        findings.note(
            "eval_config.metrics_set",
            found=f"{counted(fullest.products, 'product')} in {fullest.name}",
            expected="no change, only note: COCO's AP during training counts the "
            f"{COCO_MAX_DETECTIONS} best detections of an image; step 09 counts all",
        )


def _with_margin(count: int, factor: float) -> int:
    """``count`` times ``factor``, rounded up to a multiple of 50."""
    return -(-int(count * factor) // 50) * 50


def check_training_input(
    config: pipeline.Config,
    image_wh: Optional[Tuple[int, int]],
    train: SplitSummary,
    findings: Findings,
) -> None:
    """Checks how training reads its record: batch size, epochs, shuffle buffer, size of the images.

    Args:
      config: as ``pipeline.read`` returns it.
      image_wh: the network's input, or None if the network cannot be built.
      train: of the training record.
      findings: for the problems.
    """
    reader = config.train_input_reader
    batch_size = config.train_config.batch_size
    images = len(train.names)
    if batch_size > images:
        findings.warning(
            "train_config.batch_size",
            found=f"{batch_size}, more than the {counted(images, 'image')}",
            expected="fewer than there are images",
            write=f"batch_size: {max(1, images // 4)}",
        )
    if reader.num_epochs:
        steps = reader.num_epochs * images // max(1, batch_size)
        findings.warning(
            TRAIN_READER + ".num_epochs",
            found=f"{reader.num_epochs}: training ends after {counted(steps, 'step')}, whatever "
            "num_steps is",
            expected="nothing: num_steps ends the training",
            write=DELETE_LINE,
        )
    if reader.sample_1_of_n_examples > 1:
        findings.warning(
            TRAIN_READER + ".sample_1_of_n_examples",
            found=f"{reader.sample_1_of_n_examples}: the other images are never used",
            expected="1",
            write=DELETE_LINE,
        )
    _check_shuffle_buffer(reader, train, findings)
    if image_wh is not None:
        _check_image_sizes(image_wh, train, findings)


def _check_shuffle_buffer(reader: Any, train: SplitSummary, findings: Findings) -> None:
    images = len(train.names)
    # The sizes of single images are not known; an image is taken as the mean of the record.
    buffered_images = min(images, reader.shuffle_buffer_size)
    buffered_bytes = train.record_bytes * buffered_images / images
    if not reader.shuffle or buffered_bytes <= LARGE_BUFFER:
        return
    fitting = int(buffered_images * LARGE_BUFFER / buffered_bytes)
    write = f"shuffle_buffer_size: {fitting}"
    if fitting < SMALLEST_BUFFER:
        # Neighbours in the record would get into the same batch.
        longest = max(map(max, train.sizes_wh))
        write = f"run {STEP_04} with less than {both(f'--max-side {longest}')}"
    findings.warning(
        TRAIN_READER + ".shuffle_buffer_size",
        found=f"{reader.shuffle_buffer_size}: {buffered_bytes / 2**30:.1f} GB of records in memory",
        expected=f"at most {LARGE_BUFFER / 2**30:g} GB, by a smaller buffer or smaller images",
        write=write,
    )


def check_mixing(config: pipeline.Config, parts: List[SplitSummary], findings: Findings) -> None:
    """Warns if the records of several datasets are hardly mixed.

    object_detection reads num_readers records at a time, one after another if that is 1, and mixes
    within the shuffle buffer alone: while it reads a record that is longer than the buffer,
    training sees that dataset only.

    Args:
      config: as ``pipeline.read`` returns it.
      parts: the training records, each one file or shards; those of one dataset are in one folder.
      findings: for the warning.
    """
    reader = config.train_input_reader
    if len({os.path.dirname(str(part.path)) for part in parts}) < 2 or not reader.shuffle:
        return
    images = sum(len(part.names) for part in parts)
    fitting = min(images, LARGE_BUFFER * images // sum(part.record_bytes for part in parts))
    lines = []
    files = sum(len(set(part.files)) * part.times for part in parts)
    if reader.shuffle_buffer_size < fitting:
        lines.append(f"shuffle_buffer_size: {fitting}")
    if fitting < images and reader.num_readers < files:
        lines.append(f"num_readers: {files}")
    if lines:
        findings.warning(
            TRAIN_READER + ".shuffle_buffer_size",
            found=f"{reader.shuffle_buffer_size}, for {images} images in records of several "
            f"datasets that are read {reader.num_readers} at a time: for many steps training sees "
            "one dataset alone",
            expected="a buffer of all images, or of as many as fit in memory and all records at a "
            "time",
            write="\n".join(lines),
        )


def _check_image_sizes(image_wh: Tuple[int, int], train: SplitSummary, findings: Findings) -> None:
    width, height = max(train.sizes_wh, key=max)
    if max(width, height) > LARGE_IMAGE * max(image_wh):
        findings.warning(
            TRAIN_READER + ".tf_record_input_reader.input_path",
            found=f"images of up to {width} x {height} px for an input of "
            f"{image_wh[0]} x {image_wh[1]}",
            expected=f"images at most {LARGE_IMAGE} times as large: decoding takes time and memory "
            "at every step",
            write=f"run {STEP_04} {both(f'--max-side {LARGE_IMAGE * max(image_wh)}')}",
        )
    if max(image_wh) <= MAX_SIDE / 2:  # step 04 stores no large photograph smaller than that
        return
    width, height = np.median(train.sizes_wh, axis=0).astype(int)
    if images.is_strip((width, height)):  # its shorter side is smaller whatever step 04 does
        return
    if min(width / image_wh[0], height / image_wh[1]) < SMALL_IMAGE:
        size = 2 * max(image_wh)
        findings.warning(
            TRAIN_READER + ".tf_record_input_reader.input_path",
            found=f"images of {width} x {height} px (the median) for an input of {image_wh[0]} x "
            f"{image_wh[1]}, which shows no more of them than a smaller one",
            expected="images as large as the input. If the photographs are larger, step 04 has "
            "shrunk them. If they are not, a smaller input is as good and faster",
            write=f"run {STEP_04} {both(f'--max-side {size}')}, if the photographs are larger",
        )
