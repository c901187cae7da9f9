"""Checks of the label files and TFRecords that a training config uses; reads them to their ends."""

import collections
import glob
import os
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from shelfdet.config import pipeline
from shelfdet.config.file_checks import PLACEHOLDER, LabelMap, Reader, readers, why_missing
from shelfdet.config.findings import Findings
from shelfdet.core import paths, tensorflow1
from shelfdet.core.files import PathLike
from shelfdet.data import labels

RECORD_LINES = {
    split: f'input_path: "{paths.shown(paths.record(split))}"' for split in ("train", "val")
}
STEP_04 = "scripts/preprocessing/04_generate_tfrecords.py"
RUN_STEP_04 = f"run `make data`, or only {STEP_04} if the label files are right"

SHOWN_CLASSES = 5  # unknown classes that a finding names


class SplitSummary(NamedTuple):
    """What a label file or the records of a reader hold.

    path: the file, of several records the first. names: of the images. product_counts: number of
    products in each image. classes: names. class_ids: empty for a label file. sizes_wh: of the
    images as stored. record_bytes: size of the records, 0 for a label file.
    """

    path: PathLike
    names: List[str]
    product_counts: List[int]
    classes: Set[str]
    class_ids: Set[int]
    sizes_wh: List[Tuple[int, int]]
    record_bytes: int


def read_label_file(
    path: PathLike, label_map: LabelMap, findings: Findings
) -> Tuple[SplitSummary, List[labels.LabelledImage]]:
    """Reads a label file and checks its classes against the label map.

    Raises:
      UserError: the file is missing or wrong.
    """
    images = labels.read_labels(path)
    summary = SplitSummary(
        path=path,
        names=[image.filename for image in images],
        product_counts=[len(image.classes) for image in images],
        classes={name for image in images for name in image.classes},
        class_ids=set(),
        sizes_wh=[image.size_wh for image in images],
        record_bytes=0,
    )
    _check_classes(summary, label_map, findings)
    return summary, images


def read_records(
    config: pipeline.Config, root: PathLike, label_map: LabelMap, findings: Findings
) -> Dict[str, SplitSummary]:
    """Reads the records of all readers to their ends and checks them.

    Returns:
      Summaries by the keys of the readers; a reader whose records cannot be read is left out.
    """
    summaries = {}
    for reader in readers(config):
        summary = _read_reader(reader, root, label_map, findings)
        if summary is not None:
            summaries[reader.key] = summary
    return summaries


def _read_reader(
    reader: Reader, root: PathLike, label_map: LabelMap, findings: Findings
) -> Optional[SplitSummary]:
    parts = []
    for path in _record_files(reader, root, findings):
        part = _read_record(path, reader.path_key, findings)
        if part is not None:
            parts.append(part)
    if not parts:
        return None
    summary = _joined(parts)
    _check_classes(summary, label_map, findings)
    _check_class_ids(summary, label_map, findings)
    repeated = [name for name, count in collections.Counter(summary.names).items() if count > 1]
    if repeated:
        findings.error(
            reader.path_key,
            found=f"{len(repeated)} images that occur more than once, such as {repeated[0]}",
            expected="each image/source_id once: evaluation skips or refuses the others",
            write=RUN_STEP_04,
        )
    return summary


def _joined(parts: List[SplitSummary]) -> SplitSummary:
    return SplitSummary(
        path=parts[0].path,
        names=[name for part in parts for name in part.names],
        product_counts=[count for part in parts for count in part.product_counts],
        classes=set().union(*(part.classes for part in parts)),
        class_ids=set().union(*(part.class_ids for part in parts)),
        sizes_wh=[size_wh for part in parts for size_wh in part.sizes_wh],
        record_bytes=sum(part.record_bytes for part in parts),
    )


def _record_files(reader: Reader, root: PathLike, findings: Findings) -> List[str]:
    """The files that the input_path lines of a reader name, with * and ? as TensorFlow has them."""
    patterns = reader.fields.tf_record_input_reader.input_path
    line = RECORD_LINES[reader.split]
    if not patterns:
        findings.error(
            reader.path_key,
            found="nothing",
            expected="the records to read",
            write=f"tf_record_input_reader {{\n  {line}\n}}",
        )
    found = []
    for pattern in patterns:
        path = os.path.join(str(root), pattern)
        if os.path.isfile(path):
            matching = [path]
        else:
            matching = sorted(filter(os.path.isfile, glob.glob(path)))
        if not matching and PLACEHOLDER not in pattern:
            findings.error(
                reader.path_key,
                found=f"{pattern}: {why_missing(path)}",
                expected=f"a record; paths are relative to {root}",
                write=f"{line}\nor {RUN_STEP_04}, which writes it",
            )
        found += matching
    return found


def _read_record(path: str, key: str, findings: Findings) -> Optional[SplitSummary]:
    """Reads one record file; None after adding a finding if it cannot be read or is empty."""
    tf = tensorflow1.load()
    from google.protobuf import message

    summary = SplitSummary(path, [], [], set(), set(), [], os.path.getsize(path))
    try:
        for data in tf.compat.v1.io.tf_record_iterator(path):
            _add_example(tf.train.Example.FromString(data), summary)
    except (tf.errors.OpError, message.DecodeError, IndexError) as error:
        reason = str(getattr(error, "message", error)).splitlines()
        findings.error(
            key,
            found=f"{paths.shown(path)}: fails after {len(summary.sizes_wh)} images "
            f"({reason[0] if reason else 'no tf.Example'})",
            expected="a complete record of tf.Examples",
            write=RUN_STEP_04,
            path=path,
        )
        return None
    if not summary.names:
        findings.error(
            key,
            found=f"{paths.shown(path)}: no images in it",
            expected="at least one",
            write=RUN_STEP_04,
            path=path,
        )
        return None
    return summary


def _add_example(example: Any, summary: SplitSummary) -> None:
    """Adds an image of a record to its summary.

    Raises:
      IndexError: a feature that every image has is missing.
    """
    features = example.features.feature
    name = features["image/source_id"].bytes_list.value[0]
    width = features["image/width"].int64_list.value[0]
    height = features["image/height"].int64_list.value[0]
    summary.names.append(name.decode("utf-8", "replace"))
    summary.product_counts.append(len(features["image/object/bbox/xmin"].float_list.value))
    for class_name in features["image/object/class/text"].bytes_list.value:
        summary.classes.add(class_name.decode("utf-8", "replace"))
    summary.class_ids.update(features["image/object/class/label"].int64_list.value)
    summary.sizes_wh.append((width, height))


def _check_classes(summary: SplitSummary, label_map: LabelMap, findings: Findings) -> None:
    if label_map is None:
        return
    unknown = sorted(summary.classes - set(label_map))
    if not unknown:
        return
    count = len(label_map)
    findings.error(
        "class",
        found=f"{_quoted(unknown[:SHOWN_CLASSES])} in {paths.shown(summary.path)}",
        expected=f"a class of the label map: {_quoted(sorted(label_map))}",
        write=f"item {{\n  id: {count + 1}\n  name: '{unknown[0]}'\n}}\n"
        f"in the label map, and num_classes: {count + len(unknown)}; "
        f"or correct the labels, then {RUN_STEP_04}",
        path=summary.path,
    )


def _quoted(names: List[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _check_class_ids(summary: SplitSummary, label_map: LabelMap, findings: Findings) -> None:
    if label_map is None:
        return
    unknown = sorted(summary.class_ids - set(label_map.values()))
    if unknown:
        findings.error(
            "image/object/class/label",
            found=f"id {unknown[0]} in {paths.shown(summary.path)}",
            expected=f"an id of the label map: {sorted(label_map.values())}",
            write=RUN_STEP_04,
            path=summary.path,
        )
