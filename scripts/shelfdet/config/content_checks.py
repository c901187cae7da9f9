"""Checks of what the splits hold: some boxes, no image twice, records as their label files say."""

import collections
import pathlib
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from shelfdet.config.file_checks import TRAIN_READER
from shelfdet.config.findings import Findings
from shelfdet.config.record_checks import (
    RECORD_LINES,
    SplitSummary,
    find_written,
    joined,
    labelled_images,
    read_record,
    record_of,
    remake,
)
from shelfdet.core import boxes, paths, shards, text
from shelfdet.core.make_variables import both
from shelfdet.data import examples, sharding
from shelfdet.data.records import COORDINATE_TOLERANCE

SHOWN_NAMES = 3  # images that a finding names


class LabelledBoxes(NamedTuple):
    """The boxes of one image, as they are compared.

    boxes_yxyx: (N, 4), normalised. classes: their names; empty where a record has none. size_wh: of
    the image. ignored_yxyx: its ignored boxes (see ``data.examples``).
    """

    boxes_yxyx: np.ndarray
    classes: Sequence[str]
    size_wh: Tuple[int, int]
    ignored_yxyx: np.ndarray


def check(
    records: Dict[str, List[SplitSummary]],
    label_files: Dict[str, List[SplitSummary]],
    findings: Findings,
) -> None:
    """Checks the records against each other and against the label files they were made from.

    Args:
      records: by key of the reader.
      label_files: by split.
      findings: for the problems.
    """
    _check_not_empty(records, label_files, findings)
    train = records.get(TRAIN_READER)
    tests = label_files.get("test", [])
    for key, parts in records.items():
        path_key = key + ".tf_record_input_reader.input_path"
        if key == TRAIN_READER:
            _check_same_contents(path_key, parts, label_files.get("train", []), findings)
            continue
        if train is not None:
            _check_no_train_images(path_key, joined(parts), joined(train), findings)
        if any(_shows_test_images(part, tests) for part in parts):
            findings.warning(
                path_key,
                found="test images: the best checkpoint would be chosen on them",
                expected="validation images",
                write=RECORD_LINES["val"],
            )
        else:
            _check_same_contents(path_key, parts, label_files.get("val", []), findings)
    for test in tests:
        _check_test_record(test, findings)


def _shows_test_images(part: SplitSummary, tests: List[SplitSummary]) -> bool:
    """Whether a record has images of a test label file.

    Images of one name in two datasets are different ones, so that the label file in the folder of
    the record decides, if there is one.
    """
    folder = pathlib.Path(part.path).resolve().parent
    beside = [test for test in tests if pathlib.Path(test.path).resolve().parent == folder]
    return any(set(part.filenames) & set(test.filenames) for test in beside or tests)


def _check_not_empty(
    records: Dict[str, List[SplitSummary]],
    label_files: Dict[str, List[SplitSummary]],
    findings: Findings,
) -> None:
    """Reports images without any box: nothing is learned from them, and AP is not defined."""
    for key, parts in records.items():
        for part in parts:
            if not sum(part.product_counts):
                effect = "nothing can be learned" if key == TRAIN_READER else "AP is not defined"
                _report_empty(
                    key + ".tf_record_input_reader.input_path", part, effect, findings.error
                )
    checked = {paths.labels_beside(part.path) for parts in records.values() for part in parts}
    for split, summaries in label_files.items():
        for summary in summaries:
            if sum(summary.product_counts) or pathlib.Path(summary.path) in checked:
                continue
            # Training does not need the test images.
            report = findings.warning if split == "test" else findings.error
            _report_empty(f"{split} label file", summary, "AP is not defined", report)


def _report_empty(
    key: str, summary: SplitSummary, effect: str, report: Callable[..., None]
) -> None:
    report(
        key,
        found=f"{_images(summary.names)} without any ground-truth box in "
        f"{paths.shown(summary.path)}: {effect}",
        expected="at least one box",
        write="annotate products in these images, or choose others; then run `make data`",
        path=summary.path,
    )


def _check_no_train_images(
    key: str, summary: SplitSummary, train: SplitSummary, findings: Findings
) -> None:
    shared = _images_of(train) & _images_of(summary)
    if shared:
        findings.error(
            key,
            found=f"{len(shared)} of its {text.counted(len(_images_of(summary)), 'image')} "
            f"{text.plural(len(shared), 'is', 'are')} in the training record, too, such as "
            f"{min(shared)}",
            expected="images that training does not use",
            write=RECORD_LINES["val"],
        )


def _images_of(summary: SplitSummary) -> Set[str]:
    """The source_ids of the images, without their tiles."""
    return {examples.image_of(name) for name in summary.names}


def _check_same_contents(
    key: str, parts: List[SplitSummary], label_files: List[SplitSummary], findings: Findings
) -> None:
    """Reports records that do not hold what their label files say.

    It is an error where the label file is beside the record, which was then made from it. Another
    label file may belong to another dataset; it is compared with the other records together.
    """
    by_path = {pathlib.Path(summary.path).resolve(): summary for summary in label_files}
    others = []
    for part in parts:
        beside = by_path.pop(paths.labels_beside(part.path).resolve(), None)
        if beside is None:
            others.append(part)
            continue
        difference = _difference(part, beside)
        if difference:
            findings.error(
                key,
                found=f"{difference}. {paths.shown(beside.path)} was changed after the record was "
                "made, or belongs to another",
                expected=f"the images and boxes of {paths.shown(beside.path)}",
                write=_remake(part),
            )
        else:
            _check_places(key, part, findings)
    if not others or not by_path:
        return
    named = joined(list(by_path.values()))
    difference = _difference(joined(others), named)
    if difference:
        findings.warning(
            key,
            found=difference,
            expected=f"the images and boxes of {paths.shown(named.path)}",
            write=_remake(others[0]),
        )


def _check_places(key: str, record: SplitSummary, findings: Findings) -> None:
    """Reports images that are in another shard than step 04 puts them into: files were renamed."""
    shard_of = {file: shards.parse(file) for file in dict.fromkeys(record.files)}
    if None in shard_of.values():
        return
    count = next(iter(shard_of.values())).count
    dealt = sharding.dealt(set(record.filenames), count)
    number_of = {name: number for number, names in enumerate(dealt) for name in names}
    for name, file in zip(record.filenames, record.files):
        if shard_of[file].number != number_of[name]:
            expected = shards.path(shard_of[file].record, number_of[name], count)
            findings.error(
                key,
                found=f"{paths.shown(file)}: holds {name}, which step 04 puts into {expected.name}",
                expected="each shard under the name that step 04 gave it: files of two runs were "
                "mixed, or renamed",
                write=_remake(record),
                path=file,
            )
            return


def _remake(record: SplitSummary) -> str:
    if record.is_divided:
        options = " or ".join([both("--tiles"), both("--product-scale")])
        ratio = both("--product-aspect-ratio")
        return f"{remake(record.path)}, with its {options}, and its {ratio} if it had one"
    return remake(record.path)


def _check_test_record(test: SplitSummary, findings: Findings) -> None:
    """Training does not read the record of the test images, so that this is a warning."""
    path = record_of(test.path)
    if path == pathlib.Path(test.path):
        return
    key = "test record"
    files = find_written(path, key, findings)
    if not files:
        return
    record = read_record(files, key, findings)
    difference = "" if record is None else _difference(record, test)
    if difference:
        findings.warning(
            key,
            found=difference,
            expected=f"the images and boxes of {paths.shown(test.path)}",
            write=remake(path),
            path=path,
        )


def _difference(record: SplitSummary, label_file: SplitSummary) -> str:
    """How a record differs from its label file, in words; empty where it does not."""
    in_record = _by_name(record)
    in_labels = _expected(record, label_file)
    only_record = sorted(set(in_record) - set(in_labels))
    only_labels = sorted(set(in_labels) - set(in_record))
    where = paths.shown(record.path)
    if only_record or only_labels:
        sides = []
        if only_record:
            sides.append(f"{_images(only_record)} in the record alone")
        if only_labels:
            sides.append(f"{_images(only_labels)} in the label file alone")
        return f"{where}: {' and '.join(sides)}"
    changed = []
    example = ""
    for name, labelled in in_labels.items():
        differs = _boxes_differ(in_record[name], labelled)
        if differs:
            changed.append(name)
            example = example or f"{name} has {differs}"
    if not changed:
        return ""
    files = record.files_of(changed[0])
    where = paths.shown(files[0]) if files else where
    return f"{where}: {_images(changed)} with other boxes or classes; {example}"


def _expected(record: SplitSummary, label_file: SplitSummary) -> Dict[str, LabelledBoxes]:
    """What a record of these images, divided as it is, would hold according to a label file.

    Returns:
      by source_id, or by file name for images that the record does not have.
    """
    ids: Dict[str, List[str]] = collections.defaultdict(list)
    for name, filename in zip(record.names, record.filenames):
        ids[filename].append(name)
    expected = {}
    for image in labelled_images(label_file):
        if image.filename not in ids:
            # Tiles without any product may be left out; whole images without one are there.
            if image.classes or not record.is_divided:
                expected[image.filename] = _labelled_boxes(examples.whole(image))
            continue
        present = ids[image.filename]
        for example in examples.divided_like(image, present):
            # Tiles without any product may be there or not.
            if example.labelled.classes or example.source_id in present:
                expected[example.source_id] = _labelled_boxes(example)
    return expected


def _labelled_boxes(example: examples.Example) -> LabelledBoxes:
    labelled, ignored = example.labelled, example.ignored
    return LabelledBoxes(
        boxes.to_normalised_yxyx(labelled.boxes_xyxy, labelled.size_wh),
        labelled.classes,
        labelled.size_wh,
        boxes.to_normalised_yxyx([] if ignored is None else ignored.boxes_xyxy, labelled.size_wh),
    )


def _images(names: List[str]) -> str:
    return f"{text.counted(len(names), 'image')} ({text.listed(names, SHOWN_NAMES)})"


def _by_name(summary: SplitSummary) -> Dict[str, LabelledBoxes]:
    images = zip(
        summary.boxes_yxyx, summary.classes_by_image, summary.sizes_wh, summary.ignored_yxyx
    )
    return dict(zip(summary.names, (LabelledBoxes(*image) for image in images)))


def _boxes_differ(record: LabelledBoxes, labelled: LabelledBoxes) -> str:
    """The first difference between the boxes of an image in a record and in its label file.

    The order of the boxes does not matter.

    Returns:
      in words, in pixels of the label file's image; empty where they are the same.
    """
    if len(record.boxes_yxyx) != len(labelled.boxes_yxyx):
        return (
            f"{text.counted(len(record.boxes_yxyx), 'box')} in the record and "
            f"{len(labelled.boxes_yxyx)} in the label file"
        )
    if len(record.ignored_yxyx) != len(labelled.ignored_yxyx):
        return (
            f"{text.counted(len(record.ignored_yxyx), 'ignored box')} in the record and "
            f"{len(labelled.ignored_yxyx)} according to the label file"
        )
    distances = np.abs(record.boxes_yxyx[:, None] - labelled.boxes_yxyx[None]).max(axis=2)
    same = distances <= COORDINATE_TOLERANCE  # (boxes of the record, boxes of the label file)
    missing = np.flatnonzero(~same.any(axis=0))
    if len(missing):
        box = labelled.boxes_yxyx[missing[0]]
        nearest = record.boxes_yxyx[distances[:, missing[0]].argmin()]
        return (
            f"the box {_pixels(box, labelled.size_wh)} in the label file, the nearest in the "
            f"record is {_pixels(nearest, labelled.size_wh)}"
        )
    if len(record.classes) != len(record.boxes_yxyx):
        return ""  # a record of another program may have ids alone
    for number, name in enumerate(labelled.classes):
        there = {record.classes[row] for row in np.flatnonzero(same[:, number])}
        if name not in there:
            return f"class {min(there)!r} in the record and {name!r} in the label file"
    return ""


def _pixels(box_yxyx: np.ndarray, size_wh: Iterable[int]) -> str:
    """A normalised box for a message, such as "12,30,70,112" (xmin, ymin, xmax, ymax)."""
    xyxy = boxes.from_normalised_yxyx(box_yxyx[None], tuple(size_wh))[0]
    return ",".join(f"{value:g}" for value in np.round(xyxy, 2))
