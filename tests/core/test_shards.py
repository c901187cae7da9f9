"""Names of the files of a record: one file or shards; what is missing, too many or of two runs."""

import pathlib

import pytest

from shelfdet.core import paths, shards

RECORD = pathlib.Path("somewhere/train.record")


def named(*numbers, count=3):
    return [shards.path(RECORD, number, count) for number in numbers]


def test_the_names_are_those_of_tensorflow():
    assert named(0, 2)[1].name == "train.record-00002-of-00003"
    assert shards.parse(named(2)[0]) == (RECORD, 2, 3)
    assert shards.parse(RECORD) is None
    assert shards.parse("train.record-2-of-3") is None


@pytest.mark.parametrize(
    "name",
    [
        "train.record",
        "train.record-00002-of-00003",
        "train.record-?????-of-?????",
        "train.record-?????-of-00003",
        "train.record-*",
        "train.record*",
    ],
)
def test_the_record_and_the_label_file_of_shards_and_patterns(name):
    assert shards.record_of(RECORD.with_name(name)) == RECORD
    assert paths.labels_beside(RECORD.with_name(name)) == RECORD.with_name("train_labels.csv")


def test_shards_in_a_folder_whose_name_is_like_a_pattern(tmp_path):
    record = tmp_path / "a[1]*" / "train.record"
    record.parent.mkdir()
    assert shards.present(record) == [] and shards.input_path(record) == record
    for number in (1, 0):
        shards.path(record, number, 2).touch()
    record.with_name("train.record-notes-of-mine!").touch()
    assert shards.present(record) == [shards.path(record, number, 2) for number in (0, 1)]
    assert shards.input_path(record).name == "train.record-?????-of-?????"
    record.touch()
    assert shards.input_path(record) == record


def test_files_are_put_together_by_record():
    other = RECORD.with_name("val.record")
    files = [*named(0, 1, 2), other]
    assert shards.by_record(files) == {RECORD: named(0, 1, 2), other: [other]}


@pytest.mark.parametrize("files", [[RECORD], named(0, 1, 2), named(2, 0, 1), named(0, count=1)])
def test_complete_records(files):
    assert shards.problem(files) == ""


@pytest.mark.parametrize(
    "files, problem",
    [
        (
            named(0, 2),
            "2 of 3 shards; missing: train.record-00001-of-00003",
        ),
        (
            named(7, count=9),
            "1 of 9 shards; missing: train.record-00000-of-00009, train.record-00001-of-00009, "
            "train.record-00002-of-00009, train.record-00003-of-00009, train.record-00004-of-00009 "
            "and 3 more",
        ),
        (
            named(0, 1, 2, 3),
            "more than the 3 shards of the names: train.record-00003-of-00003",
        ),
        (
            named(0, 1, 2) + named(0, 1, count=2),
            "shards of several runs of step 04: of 2 and of 3",
        ),
        (
            named(0, 1, 2) + [RECORD],
            "train.record and shards of it: one of them is of an earlier run of step 04",
        ),
    ],
)
def test_incomplete_and_mixed_records(files, problem):
    assert shards.problem(files) == problem
