"""Checks of what the splits hold: some boxes, no image twice, records as their label files say."""

import pathlib
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional

import numpy as np

from shelfdet.config.file_checks import TRAIN_READER
from shelfdet.config.findings import Findings
from shelfdet.config.record_checks import (
    RECORD_LINES,
    SplitSummary,
    labels_beside,
    read_record,
    record_of,
    remake,
)
from shelfdet.core import boxes, paths, text
from shelfdet.data.records import COORDINATE_TOLERANCE

SHOWN_NAMES = 3  # images that a finding names


class LabelledBoxes(NamedTuple):
    """The boxes of one image, as they are compared.

    boxes_yxyx: (N, 4), normalised. classes: their names; empty where a record has none. size_wh: of
    the image.
    """

    boxes_yxyx: np.ndarray
    classes: List[str]
    size_wh: List[int]


def check(
    records: Dict[str, SplitSummary], label_files: Dict[str, SplitSummary], findings: Findings
) -> None:
    """Checks the records against each other and against the label files they were made from.

    Args:
      records: by key of the reader.
      label_files: by split.
      findings: for the problems.
    """
    _check_not_empty(records, label_files, findings)
    train = records.get(TRAIN_READER)
    test = label_files.get("test")
    for key, summary in records.items():
        path_key = key + ".tf_record_input_reader.input_path"
        if key == TRAIN_READER:
            _check_same_contents(path_key, summary, label_files.get("train"), findings)
            continue
        if train is not None:
            _check_no_train_images(path_key, summary, train, findings)
        if test is not None and set(summary.names) & set(test.names):
            findings.warning(
                path_key,
                found="test images: the best checkpoint would be chosen on them",
                expected="validation images",
                write=RECORD_LINES["val"],
            )
        else:
            _check_same_contents(path_key, summary, label_files.get("val"), findings)
    if test is not None:
        _check_test_record(test, findings)


def _check_not_empty(
    records: Dict[str, SplitSummary], label_files: Dict[str, SplitSummary], findings: Findings
) -> None:
    """Reports images without any box: nothing is learned from them, and AP is not defined."""
    for key, summary in records.items():
        if not sum(summary.product_counts):
            effect = "nothing can be learned" if key == TRAIN_READER else "AP is not defined"
            _report_empty(
                key + ".tf_record_input_reader.input_path", summary, effect, findings.error
            )
    checked = {labels_beside(summary.path) for summary in records.values()}
    for split, summary in label_files.items():
        if not sum(summary.product_counts) and pathlib.Path(summary.path) not in checked:
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
    shared = set(train.names) & set(summary.names)
    if shared:
        findings.error(
            key,
            found=f"{len(shared)} of its {len(summary.names)} images are in the training record, "
            f"too, such as {min(shared)}",
            expected="images that training does not use",
            write=RECORD_LINES["val"],
        )


def _check_same_contents(
    key: str, record: SplitSummary, label_file: Optional[SplitSummary], findings: Findings
) -> None:
    """Reports a record that does not hold what its label file says.

    It is an error where the label file lies beside the record, which was then made from it. Another
    label file may belong to another dataset.
    """
    difference = "" if label_file is None else _difference(record, label_file)
    if not difference:
        return
    beside = labels_beside(record.path).resolve() == pathlib.Path(label_file.path).resolve()
    report = findings.error if beside else findings.warning
    report(
        key,
        found=f"{difference}. {paths.shown(label_file.path)} was changed after the record was "
        "made, or belongs to another"
        if beside
        else difference,
        expected=f"the images and boxes of {paths.shown(label_file.path)}",
        write=remake(record.path),
    )


def _check_test_record(test: SplitSummary, findings: Findings) -> None:
    """Training does not read the record of the test images, so that this is a warning."""
    path = record_of(test.path)
    if path == pathlib.Path(test.path) or not path.is_file():
        return
    key = "test record"
    record = read_record(str(path), key, findings)
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
    in_labels = _by_name(label_file)
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
    return f"{where}: {_images(changed)} with other boxes or classes; {example}"


def _images(names: List[str]) -> str:
    plural = "" if len(names) == 1 else "s"
    return f"{len(names)} image{plural} ({text.listed(names, SHOWN_NAMES)})"


def _by_name(summary: SplitSummary) -> Dict[str, LabelledBoxes]:
    images = zip(summary.boxes_yxyx, summary.classes_by_image, summary.sizes_wh)
    return dict(zip(summary.names, (LabelledBoxes(*image) for image in images)))


def _boxes_differ(record: LabelledBoxes, labelled: LabelledBoxes) -> str:
    """The first difference between the boxes of an image in a record and in its label file.

    The order of the boxes does not matter.

    Returns:
      in words, in pixels of the label file's image; empty where they are the same.
    """
    if len(record.boxes_yxyx) != len(labelled.boxes_yxyx):
        return (
            f"{len(record.boxes_yxyx)} boxes in the record and {len(labelled.boxes_yxyx)} in the "
            "label file"
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
