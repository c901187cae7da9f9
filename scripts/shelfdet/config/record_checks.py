"""Checks of the label files and TFRecords that a training config uses; reads them to their ends."""

import collections
import glob
import os
import pathlib
import shlex
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from shelfdet.config import file_checks, pipeline
from shelfdet.config.file_checks import PLACEHOLDER, LabelMap, Reader, readers, why_missing
from shelfdet.config.findings import Findings
from shelfdet.core import boxes, paths, shards, tensorflow1, text
from shelfdet.core.files import PathLike
from shelfdet.data import examples, labels

RECORD_LINES = {
    split: f'input_path: "{paths.shown(paths.record(split))}"' for split in ("train", "val")
}
STEP_04 = "scripts/preprocessing/04_generate_tfrecords.py"

SIDES = ("ymin", "xmin", "ymax", "xmax")
SHOWN_CLASSES = 5  # unknown classes that a finding names


class SplitSummary(NamedTuple):
    """What a label file, a record (one file or shards) or the records of a reader hold.

    An image is one example of a record, which may be a tile of an image (see ``data.examples``).

    path: the file, of shards the pattern for them, of several records the first. names: the
    source_id of each image, in a label file its file name. boxes_yxyx: boxes of each image, (N, 4),
    normalised, as object_detection has them. ignored_yxyx: the same of its ignored boxes.
    classes_by_image: names of the classes of the boxes, without ignored ones. class_ids: empty for
    a label file. sizes_wh: of the images as stored. record_bytes: size of the records, 0 for a
    label file. filenames: file name of each image. files: the file that each image is in, by which
    shards are told apart; empty for a label file. times: how often the record is listed; its images
    are here as often.
    """

    path: PathLike
    names: List[str]
    boxes_yxyx: List[np.ndarray]
    classes_by_image: List[Tuple[str, ...]]
    class_ids: Set[int]
    sizes_wh: List[Tuple[int, int]]
    record_bytes: int
    ignored_yxyx: List[np.ndarray]
    filenames: List[str]
    files: List[PathLike]
    times: int = 1

    @property
    def product_counts(self) -> List[int]:
        """Number of products in each image."""
        return [len(boxes_yxyx) for boxes_yxyx in self.boxes_yxyx]

    @property
    def box_counts(self) -> List[int]:
        """Number of boxes in each image, with ignored ones."""
        return [
            len(boxes_yxyx) + len(ignored)
            for boxes_yxyx, ignored in zip(self.boxes_yxyx, self.ignored_yxyx)
        ]

    @property
    def is_divided(self) -> bool:
        """Whether any of the images is a tile."""
        return any(examples.tile_of(name) for name in self.names)

    @property
    def classes(self) -> Set[str]:
        """Names of all classes that occur."""
        return {name for names in self.classes_by_image for name in names}

    def files_of(self, name: str) -> List[PathLike]:
        """The files that hold an image, by its source_id."""
        places = [place for other, place in zip(self.names, self.files) if other == name]
        return list(dict.fromkeys(places))


def remake(record: PathLike) -> str:
    """How to write a record again: the command for its folder, as the line of a finding.

    Step 04 alone where the label file is there: step 02 would replace it, with any correction made
    by hand.
    """
    folder = os.path.dirname(os.path.abspath(str(record)))
    dataset = paths.dataset_of(pathlib.Path(folder))
    has_labels = paths.labels_beside(record).is_file()
    if dataset == paths.DEFAULT_DATASET:
        return f"run {STEP_04}" if has_labels else "run `make data`"
    if dataset is not None:
        if has_labels:
            return f"run {STEP_04} --dataset {dataset}"
        return f"run `make data NAME={dataset}`"
    step_02 = "" if has_labels else f"step 02 with --out {shlex.quote(folder)}, then "
    return (
        f"run {step_02}{STEP_04} --annotations {shlex.quote(folder)} --images FOLDER-OF-THE-IMAGES"
    )


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
        boxes_yxyx=[boxes.to_normalised_yxyx(image.boxes_xyxy, image.size_wh) for image in images],
        classes_by_image=[tuple(image.classes) for image in images],
        class_ids=set(),
        sizes_wh=[image.size_wh for image in images],
        record_bytes=0,
        ignored_yxyx=[np.zeros((0, 4))] * len(images),
        filenames=[image.filename for image in images],
        files=[],
    )
    _check_classes(summary, label_map, findings)
    return summary, images


def read_records(
    config: pipeline.Config, root: PathLike, label_map: LabelMap, findings: Findings
) -> Dict[str, List[SplitSummary]]:
    """Reads the records of all readers to their ends and checks them.

    Returns:
      A summary of each record by the key of the reader; a reader whose records cannot be read is
      left out.
    """
    summaries = {}
    for reader in readers(config):
        parts = _read_reader(reader, root, label_map, findings)
        if parts:
            summaries[reader.key] = parts
    return summaries


def _read_reader(
    reader: Reader, root: PathLike, label_map: LabelMap, findings: Findings
) -> List[SplitSummary]:
    parts = []
    for listed_files in find_records(reader, root, findings):
        record_files = list(dict.fromkeys(listed_files))
        part = read_record(record_files, reader.path_key, findings)
        if part is not None:
            parts.append(part._replace(times=len(listed_files) // len(record_files)))
    for part in parts:
        _check_classes(part, label_map, findings)
        _check_class_ids(part, label_map, findings)
    _check_names(parts, reader, findings)
    listed = [joined([part] * part.times)._replace(times=part.times) for part in parts]
    _check_times(listed, reader, findings)
    return listed


def _check_names(parts: List[SplitSummary], reader: Reader, findings: Findings) -> None:
    """Reports images that occur twice in the records of a reader."""
    counts = collections.Counter(name for part in parts for name in part.names)
    repeated = [name for name, count in counts.items() if count > 1]
    if not repeated:
        return
    places = [place for part in parts for place in part.files_of(repeated[0])]
    write = remake(places[0])
    if sum(repeated[0] in part.names for part in parts) > 1:
        write = (
            "one of the records, if it is there twice; if they are of two datasets, the records of "
            "one again with a name of its own: make data FROM=folder NAME=name"
        )
    expected = "each image/source_id once: evaluation skips or refuses the others"
    if reader.split == "train":
        expected = "each image/source_id once; a record is read more often by lines that are equal"
    findings.error(
        reader.path_key,
        found=f"{text.counted(len(repeated), 'image')} more than once, such as {repeated[0]} in "
        f"{text.listed(map(paths.shown, places))}",
        expected=expected,
        write=write,
    )


def _check_times(parts: List[SplitSummary], reader: Reader, findings: Findings) -> None:
    """Notes the share of each record that is listed several times; all of them are a mistake."""
    fewest = min((part.times for part in parts), default=1)
    if fewest > 1:
        findings.error(
            reader.path_key,
            found=f"each record {fewest} times or more, such as {paths.shown(parts[0].path)}: that "
            "gives none of them more weight",
            expected="each record once, and again only one that should have more weight",
            write="one line for each record; was another dataset meant?",
        )
        return
    total = sum(len(part.names) for part in parts)
    for part in parts:
        if part.times > 1:
            findings.note(
                reader.path_key,
                found=f"{paths.shown(part.path)} {part.times} times: {len(part.names)} of "
                f"{text.counted(total, 'example')} are of it, or {len(part.names) / total:.0%}",
                expected="no change, if this dataset should have more weight than by its size",
            )


def joined(parts: List[SplitSummary]) -> SplitSummary:
    """What several records hold together."""
    return SplitSummary(
        path=parts[0].path,
        names=[name for part in parts for name in part.names],
        boxes_yxyx=[boxes_yxyx for part in parts for boxes_yxyx in part.boxes_yxyx],
        classes_by_image=[names for part in parts for names in part.classes_by_image],
        class_ids=set().union(*(part.class_ids for part in parts)),
        sizes_wh=[size_wh for part in parts for size_wh in part.sizes_wh],
        record_bytes=sum(part.record_bytes for part in parts),
        ignored_yxyx=[ignored for part in parts for ignored in part.ignored_yxyx],
        filenames=[name for part in parts for name in part.filenames],
        files=[place for part in parts for place in part.files],
    )


def labelled_images(summary: SplitSummary) -> List[labels.LabelledImage]:
    """The images of a summary, with boxes in the pixels of the images as stored."""
    return [
        labels.LabelledImage(
            filename, size_wh, boxes.from_normalised_yxyx(boxes_yxyx, size_wh), classes
        )
        for filename, size_wh, boxes_yxyx, classes in zip(
            summary.filenames, summary.sizes_wh, summary.boxes_yxyx, summary.classes_by_image
        )
    ]


def find_records(reader: Reader, root: PathLike, findings: Findings) -> List[List[str]]:
    """The files of each record that the input_path lines of a reader name; several are shards.

    * and ? in the lines are as TensorFlow has them. Shards that are not all of one record are
    reported and left out: training would read them without a message. A record that is listed
    several times has its files as often: training reads it as often.
    """
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
        path = os.path.normpath(os.path.join(str(root), pattern))
        if os.path.isfile(path):
            matching = [path]
            file_checks.check_no_pattern(reader.path_key, pattern, findings)
        else:
            in_root = os.path.join(glob.escape(str(root)), pattern)
            matching = sorted(filter(os.path.isfile, glob.glob(in_root)))
        if not matching and PLACEHOLDER not in pattern:
            findings.error(
                reader.path_key,
                found=f"{pattern}: {why_missing(path)}",
                expected=f"a record; paths are relative to {root}",
                write=_present_line(path, root) or _missing_advice(path, pattern, line),
            )
        found += matching
    return [
        list(map(str, files))
        for files in shards.by_record(found).values()
        if _is_complete(files, reader.path_key, findings)
        and _may_be_listed(list(map(str, files)), reader, findings)
    ]


def _present_line(path: str, root: PathLike) -> str:
    """The line for the record at ``path`` as it is: one file or shards; empty if it is neither."""
    there = shards.input_path(shards.record_of(path))
    if not there.is_file() and not shards.present(shards.record_of(path)):
        return ""
    return f'input_path: "{os.path.relpath(str(there), str(root))}"'


def _missing_advice(path: str, pattern: str, line: str) -> str:
    other = "" if f'"{pattern}"' in line else f"{line}\nor "
    return f"{other}{remake(path)}, which writes it"


def _is_complete(files: List[pathlib.Path], key: str, findings: Findings) -> bool:
    """Whether files of a record are it or all of its shards; reports others."""
    problem = shards.problem(files)
    if problem:
        findings.error(
            key,
            found=f"{paths.shown(files[0].parent)}: {problem}",
            expected="all shards of one record, and no other file of it: an interrupted run of "
            "step 04 or a copy by hand leaves others",
            write=remake(files[0]),
            path=files[0],
        )
    return not problem


def _may_be_listed(files: List[str], reader: Reader, findings: Findings) -> bool:
    """Whether files of a record are there as often as they may be; reports others."""
    counts = collections.Counter(files)
    file, count = counts.most_common(1)[0]
    is_training = reader.split == "train"
    if count == 1 or (is_training and len(set(counts.values())) == 1):
        return True
    expected = "once: evaluation skips or refuses an image that it has seen"
    if is_training:
        expected = "each shard as often as the others of its record"
    findings.error(
        reader.path_key,
        found=f"{paths.shown(file)}, which the lines name {count} times",
        expected=expected,
        write="each record in one line, by its name or by a pattern",
    )
    return False


def find_written(record: pathlib.Path, key: str, findings: Findings) -> List[str]:
    """The files of a record that step 04 wrote: itself, or its shards.

    Returns:
      nothing where it is not there or, after adding a finding, where shards are missing.
    """
    files = shards.present(record)
    if record.is_file():
        files.insert(0, record)
    return list(map(str, files)) if files and _is_complete(files, key, findings) else []


def read_record(files: Sequence[str], key: str, findings: Findings) -> Optional[SplitSummary]:
    """Reads a record, one file or its shards.

    Returns:
      what it holds; None after adding a finding for each file that cannot be read or is empty.
    """
    parts = [_read_file(path, key, findings) for path in files]
    if None in parts:
        return None
    summary = joined(parts)
    shard = shards.parse(files[0])
    return summary if shard is None else summary._replace(path=shards.pattern_of(shard.record))


def _read_file(path: str, key: str, findings: Findings) -> Optional[SplitSummary]:
    """Reads one file; None after adding a finding if it cannot be read or is empty."""
    tf = tensorflow1.load()
    from google.protobuf import message

    summary = SplitSummary(path, [], [], [], set(), [], os.path.getsize(path), [], [], [])
    try:
        for data in tf.compat.v1.io.tf_record_iterator(path):
            _add_example(tf.train.Example.FromString(data), summary)
            summary.files.append(path)
    except (tf.errors.OpError, message.DecodeError, IndexError, ValueError) as error:
        reason = str(getattr(error, "message", error)).splitlines()
        findings.error(
            key,
            found=f"{paths.shown(path)}: fails after "
            f"{text.counted(len(summary.sizes_wh), 'image')} "
            f"({reason[0] if reason else 'no tf.Example'})",
            expected="a complete record of tf.Examples",
            write=remake(path),
            path=path,
        )
        return None
    if not summary.names:
        findings.error(
            key,
            found=f"{paths.shown(path)}: no images in it",
            expected="at least one",
            write=remake(path),
            path=path,
        )
        return None
    return summary


def _add_example(example: Any, summary: SplitSummary) -> None:
    """Adds an image of a record to its summary.

    Raises:
      IndexError: a feature that every image has is missing.
      ValueError: the four sides of the boxes are of different numbers.
    """
    features = example.features.feature
    name = features["image/source_id"].bytes_list.value[0]
    width = features["image/width"].int64_list.value[0]
    height = features["image/height"].int64_list.value[0]
    filename = features["image/filename"].bytes_list.value or [name]
    summary.names.append(name.decode("utf-8", "replace"))
    summary.filenames.append(filename[0].decode("utf-8", "replace"))
    sides = [features[f"image/object/bbox/{side}"].float_list.value for side in SIDES]
    boxes_yxyx = np.array(sides, dtype=np.float64).T
    weights = np.array(features["image/object/weight"].float_list.value or [1] * len(boxes_yxyx))
    counted = weights > 0
    summary.boxes_yxyx.append(boxes_yxyx[counted])
    summary.ignored_yxyx.append(boxes_yxyx[~counted])
    class_names = [
        name.decode("utf-8", "replace")
        for name in features["image/object/class/text"].bytes_list.value
    ]
    if len(class_names) == len(counted):  # a record of another program may have ids alone
        class_names = [name for name, counts in zip(class_names, counted) if counts]
    summary.classes_by_image.append(tuple(class_names))
    summary.class_ids.update(features["image/object/class/label"].int64_list.value)
    summary.sizes_wh.append((width, height))


def _check_classes(summary: SplitSummary, label_map: LabelMap, findings: Findings) -> None:
    if label_map is None:
        return
    unknown = sorted(summary.classes - set(label_map))
    if not unknown:
        return
    dataset = paths.dataset_of(pathlib.Path(summary.path).parent)
    of_dataset = "" if dataset in (None, paths.DEFAULT_DATASET) else f" NAME={dataset}"
    findings.error(
        "class",
        found=f"{_quoted(unknown[:SHOWN_CLASSES])} in {paths.shown(summary.path)}",
        expected=f"a class of the label map: {text.listed(map(repr, sorted(label_map)))}",
        write=f"`make data{of_dataset} CLASSES=keep`, which writes a label map of all classes; or "
        "correct the classes in the label file. Then "
        f"{remake(record_of(summary.path))}",
        path=summary.path,
    )


def record_of(path: PathLike) -> pathlib.Path:
    """The record at ``path``, or the one that step 04 makes of the label file at ``path``."""
    path = pathlib.Path(path)
    return paths.record_beside(path) or path


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
            write=remake(summary.path),
            path=summary.path,
        )
