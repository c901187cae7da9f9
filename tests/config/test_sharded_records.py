"""Step 05 on records in shards: read as one, and refused where they are not all of one record."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from object_detection.protos import input_reader_pb2

from shelfdet import UserError
from shelfdet.config import content_checks, findings, pipeline, record_checks, writing
from shelfdet.config.file_checks import TRAIN_READER, Reader
from shelfdet.core import paths, shards
from shelfdet.data import examples, labels, records, sharding

LABEL_MAP = {"product": 1}
KEY = "train_input_reader.tf_record_input_reader.input_path"
NAMES = [f"{number}.jpg" for number in range(7)]
PATTERN = "train.record-?????-of-?????"


def image(name):
    return labels.LabelledImage(name, (40, 30), np.array([[1.0, 2, 9, 8]]), ("product",))


def write_file(path, names):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in names:
            proto = records.to_example(examples.whole(image(name)), b"", (40, 30), LABEL_MAP)
            writer.write(proto.SerializeToString())


def write_shards(folder, count, split="train"):
    record = paths.record_in(folder, split)
    for number, names in enumerate(sharding.dealt(NAMES, count)):
        write_file(shards.path(record, number, count), names)


def shard(folder, number, count=3):
    return shards.path(folder / "train.record", number, count)


@pytest.fixture
def folder(tmp_path):
    """A label file, and its record in three shards."""
    labels.write_labels(map(image, NAMES), tmp_path / "train_labels.csv")
    write_shards(tmp_path, 3)
    return tmp_path


def check(folder, pattern=PATTERN):
    """(summaries of the training records, findings) of a config with this input_path."""
    found = findings.Findings(folder / "a.config", "")
    fields = input_reader_pb2.InputReader()
    text_format.Merge(f'tf_record_input_reader {{ input_path: "{pattern}" }}', fields)
    reader = Reader(TRAIN_READER, fields, "train")
    parts = record_checks._read_reader(reader, folder, LABEL_MAP, found)
    label_file, _ = record_checks.read_label_file(folder / "train_labels.csv", LABEL_MAP, found)
    if parts:
        content_checks.check({TRAIN_READER: parts}, {"train": [label_file]}, found)
    return parts, list(found)


def only(found):
    assert len(found) == 1, [findings.as_text(one) for one in found]
    assert (found[0].severity, found[0].key) == (findings.ERROR, KEY)
    return found[0]


@pytest.mark.parametrize("pattern", [PATTERN, "train.record-?????-of-00003", "train.record*"])
def test_shards_are_one_record(folder, pattern):
    (part,), found = check(folder, pattern)
    assert not found
    assert sorted(part.names) == NAMES and part.path == folder / PATTERN
    assert part.record_bytes == sum(path.stat().st_size for path in folder.glob("train.record*"))


def test_a_missing_shard(folder):
    shard(folder, 1).unlink()
    parts, found = check(folder)
    assert not parts
    assert f"{folder}: 2 of 3 shards; missing: train.record-00001-of-00003" in only(found).found
    assert only(found).write.endswith(f"--annotations {folder} --images FOLDER-OF-THE-IMAGES")


def test_a_shard_too_many(folder):
    shutil.copy(str(shard(folder, 1)), str(shard(folder, 3)))
    assert (
        "more than the 3 shards of the names: train.record-00003-of" in only(check(folder)[1]).found
    )


def test_shards_of_two_runs(folder):
    write_shards(folder, 2)
    assert "shards of several runs of step 04: of 2 and of 3" in only(check(folder)[1]).found


def test_a_single_file_beside_its_shards(folder):
    write_file(folder / "train.record", NAMES)
    found = only(check(folder, "train.record*")[1]).found
    assert "train.record and shards of it: one of them is of an earlier run" in found


def test_exchanged_shards(folder):
    one, other, between = shard(folder, 0), shard(folder, 2), folder / "between"
    for source, target in ((one, between), (other, one), (between, other)):
        source.rename(target)
    found = only(check(folder)[1])
    assert f"{one}: holds " in found.found
    assert found.found.endswith("which step 04 puts into train.record-00002-of-00003")


def test_one_shard_in_place_of_another_is_named(folder):
    shutil.copy(str(shard(folder, 0)), str(shard(folder, 1)))
    texts = [one.found for one in check(folder)[1]]
    twice = next(text for text in texts if "more than once" in text)
    assert f"in {shard(folder, 0)}, {shard(folder, 1)}" in twice


def test_a_damaged_shard_is_named(folder):
    shard(folder, 2).write_bytes(shard(folder, 2).read_bytes()[:-5])
    parts, found = check(folder)
    assert not parts and f"{shard(folder, 2)}: fails after 1 image" in only(found).found


def test_an_empty_shard_is_named(folder):
    write_file(shard(folder, 1), [])
    assert f"{shard(folder, 1)}: no images in it" in only(check(folder)[1]).found


def test_the_shard_of_an_image_whose_boxes_differ_is_named(folder):
    name = sharding.dealt(NAMES, 3)[2][0]
    moved = [image(each) for each in NAMES]
    moved[NAMES.index(name)] = image(name)._replace(boxes_xyxy=np.array([[1.0, 2, 9, 9]]))
    labels.write_labels(moved, folder / "train_labels.csv")
    assert f"{shard(folder, 2)}: 1 image ({name}) with other boxes" in only(check(folder)[1]).found


def test_the_line_for_shards_where_the_config_names_one_file_and_the_other_way_round(folder):
    found = only(check(folder, "train.record")[1])
    assert found.found == "train.record: no such file"
    assert found.write == f'input_path: "{PATTERN}"'
    for path in folder.glob("train.record-*"):
        path.unlink()
    write_file(folder / "train.record", NAMES)
    for pattern in (PATTERN, "train.record-?????-of-00003"):
        assert only(check(folder, pattern)[1]).write == 'input_path: "train.record"'


def test_an_incomplete_test_record_is_reported(folder):
    labels.write_labels(map(image, NAMES), folder / "test_labels.csv")
    write_shards(folder, 3, "test")
    found = findings.Findings(folder / "a.config", "")
    test, _ = record_checks.read_label_file(folder / "test_labels.csv", LABEL_MAP, found)
    content_checks.check({}, {"test": [test]}, found)
    assert not list(found)
    shards.path(folder / "test.record", 0, 3).unlink()
    content_checks.check({}, {"test": [test]}, found)
    assert "2 of 3 shards" in next(iter(found)).found


def test_experiments_train_on_shards_where_there_are_some(folder):
    write_file(folder / "val.record", NAMES)
    changes = pipeline.record_changes(folder)
    assert f'"{folder}/{PATTERN}"' in changes[0][1] and f'"{folder}/val.record"' in changes[1][1]


@pytest.fixture
def dataset(folder, monkeypatch):
    """The records in shards as those of the dataset "mine"."""
    monkeypatch.setattr(paths, "ANNOTATIONS", folder.parent)
    labels.write_labels(map(image, NAMES), folder / "val_labels.csv")
    write_shards(folder, 2, "val")
    (folder / paths.CLASSES_FILE).write_text("item {\n  id: 1\n  name: 'product'\n}\n")
    return folder.name


def test_make_config_reads_shards(dataset, folder):
    read = writing.read_dataset(dataset)
    assert len(read.images) == 7 and read.fullest == 1
    shard(folder, 0).unlink()
    with pytest.raises(UserError, match=r"train.record: .*2 of 3 shards; .* Run `make data`"):
        writing.read_dataset(dataset)
