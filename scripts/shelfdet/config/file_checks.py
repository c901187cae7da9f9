"""Checks of the files that a training config names: label map, label files and TFRecords."""

import collections
import glob
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.config.findings import Findings
from shelfdet.core import paths, tensorflow1
from shelfdet.core.files import PathLike
from shelfdet.data import label_map as label_map_file
from shelfdet.data import labels

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"  # in the zoo's config files
TRAIN_READER = "train_input_reader"
EVAL_READER = "eval_input_reader"

LABEL_MAP_LINE = f'label_map_path: "{paths.shown(paths.LABEL_MAP)}"'
LABEL_MAP_ITEM = "item {\n  id: 1\n  name: 'product'\n}"
RECORD_LINES = {
    split: f'input_path: "{paths.shown(paths.record(split))}"' for split in ("train", "val")
}
STEP_04 = "scripts/preprocessing/04_generate_tfrecords.py"
RUN_STEP_04 = f"run `make data`, or only {STEP_04} if the label files are right"

SHOWN_CLASSES = 5  # unknown classes that a finding names

LabelMap = Optional[Dict[str, int]]


class Reader(NamedTuple):
    """An input reader of a config.

    key: in the config. fields: its proto message. split: "train" or "val".
    """

    key: str
    fields: Any
    split: str

    @property
    def path_key(self) -> str:
        """The key of its records' paths."""
        return self.key + ".tf_record_input_reader.input_path"


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


def check_placeholders(findings: Findings) -> None:
    """Reports lines that still have the ``PATH_TO_BE_CONFIGURED`` of a zoo file."""
    for number, line in enumerate(findings.text.splitlines(), start=1):
        if PLACEHOLDER in line.split("#")[0]:
            key = re.match(r"\s*(\w*)", line).group(1)
            findings.error(
                key or PLACEHOLDER,
                found=f"line {number}: {line.strip()}",
                expected="a path, relative to the repository root",
                write="the path of your own file",
            )


def readers(config: pipeline.Config) -> List[Reader]:
    """The input readers of the config."""
    found = [Reader(TRAIN_READER, config.train_input_reader, "train")]
    several = len(config.eval_input_reader) > 1
    for number, fields in enumerate(config.eval_input_reader):
        key = f"{EVAL_READER}[{number}]" if several else EVAL_READER
        found.append(Reader(key, fields, "val"))
    return found


# --- label maps ---


def check_label_maps(config: pipeline.Config, root: PathLike, findings: Findings) -> LabelMap:
    """Checks the readers' label maps against each other and against ``num_classes``.

    Returns:
      The ids of the classes by name, or None if no label map can be read.
    """
    maps = []
    for reader in readers(config):
        key = reader.key + ".label_map_path"
        label_map = _read_label_map(key, reader.fields.label_map_path, root, findings)
        if label_map is not None:
            maps.append((key, label_map))
    if not maps:
        return None
    first_key, first_map = maps[0]
    for key, label_map in maps[1:]:
        if label_map != first_map:
            findings.error(
                key,
                found=f"another map than {first_key}'s",
                expected="one label map for all readers",
                write=LABEL_MAP_LINE,
            )
    _check_class_count(first_key, first_map, config.model.ssd.num_classes, findings)
    return first_map


def _read_label_map(key: str, written: str, root: PathLike, findings: Findings) -> LabelMap:
    path = os.path.join(str(root), written)
    if PLACEHOLDER in written:
        return None  # already reported
    if not written or not os.path.isfile(path):
        findings.error(
            key,
            found=f"{written}: {_why_missing(path)}" if written else "nothing",
            expected=f"the label map; paths are relative to {root}",
            write=LABEL_MAP_LINE,
        )
        return None
    try:
        return label_map_file.read_label_map(path)
    except UserError as error:
        findings.error(
            key, found=str(error), expected="a label map", write=LABEL_MAP_ITEM, path=path
        )
        return None


def _check_class_count(
    key: str, label_map: Dict[str, int], num_classes: int, findings: Findings
) -> None:
    count = len(label_map)
    if count != num_classes:
        findings.error(
            "model.ssd.num_classes",
            found=f"{num_classes}, but {key} has {count} ({', '.join(sorted(label_map))})",
            expected="as many as the label map has",
            write=f"num_classes: {count}",
        )
    ids = set(label_map.values())
    expected_ids = set(range(1, count + 1))
    if ids != expected_ids:
        findings.error(
            key,
            found=f"ids {sorted(label_map.values())}",
            expected=f"1 to {count} without a gap",
            write=f"id: {min(expected_ids - ids)}",
        )


# --- label files and records ---


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
                found=f"{pattern}: {_why_missing(path)}",
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


def _why_missing(path: str) -> str:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return "is a folder"
    if os.path.isdir(folder):
        return "no such file"
    return f"no such file, and no folder {folder}"


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
