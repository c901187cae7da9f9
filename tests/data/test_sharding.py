"""Records in shards: what object_detection reads, restarts after a kill, no mixture of two runs."""

import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

import tiny_training
from shelfdet import UserError
from shelfdet.core import files, paths, shards, tensorflow1
from shelfdet.data import examples, labels, record_writing, sharding

NAMES = [f"image {number:02}.jpg" for number in range(12)]
SHARDS = 3  # few, because reading one back takes a second
LABEL_MAP = 'item {\n  id: 1\n  name: "product"\n}\n'


@pytest.fixture(autouse=True)
def quick_start(monkeypatch):
    """Reading a small shard back takes half as long."""
    for name, value in tiny_training.QUICK_START.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def annotated(tmp_path):
    """A folder with labels of twelve images; the first has twelve boxes, the last one."""
    (tmp_path / "label_map.pbtxt").write_text(LABEL_MAP)
    labelled = []
    for number, name in enumerate(NAMES):
        pixels = np.full((30, 40, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(str(tmp_path / name))
        boxes_xyxy = np.array([[row, row, row + 9, row + 5] for row in range(12 - number)], float)
        labelled.append(
            labels.LabelledImage(name, (40, 30), boxes_xyxy, ("product",) * len(boxes_xyxy))
        )
    labels.write_labels(labelled, tmp_path / "train_labels.csv")
    return tmp_path


def write(folder, shard_count=0, **more):
    (written,) = record_writing.write_records(
        folder, folder, ["train"], folder / "label_map.pbtxt", shard_count=shard_count, **more
    )
    return written


def record_names(folder):
    """The files of the record in a folder, with those that a run leaves after a kill."""
    return sorted(path.name for path in folder.glob("*train.record*"))


def names_in(folder, pattern="train.record*"):
    """The names of the images that object_detection reads by an input_path."""
    import tensorflow as tf
    from object_detection.builders import dataset_builder
    from object_detection.protos import input_reader_pb2

    reader = input_reader_pb2.InputReader()
    text_format.Merge(
        f'label_map_path: "{folder}/label_map.pbtxt" num_epochs: 1 shuffle: false '
        f'tf_record_input_reader {{ input_path: "{folder}/{pattern}" }}',
        reader,
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        iterator = dataset_builder.make_initializable_iterator(dataset_builder.build(reader))
        next_image = iterator.get_next()
        session.run([iterator.initializer, tf.compat.v1.tables_initializer()])
        names = []
        while True:
            try:
                names.append(session.run(next_image)["filename"].decode())
            except tf.errors.OutOfRangeError:
                return names


def test_object_detection_reads_every_image_of_the_shards_once(annotated):
    written = write(annotated, 5)
    assert record_names(annotated) == [f"train.record-{number:05}-of-00005" for number in range(5)]
    assert written.path == annotated / "train.record-?????-of-?????"
    assert (written.images, written.shards, written.kept_shards) == (12, 5, 0)
    assert written.stored.boxes == 78 and written.stored.most_boxes == 12  # 12 + 11 + ... + 1
    for pattern in ("train.record-?????-of-?????", "train.record-?????-of-00005"):
        assert sorted(names_in(annotated, pattern)) == NAMES


def test_images_are_dealt_evenly_and_not_in_the_order_of_the_label_file(annotated):
    dealt = sharding.dealt(NAMES, 5)
    assert sorted(map(len, dealt)) == [2, 2, 2, 3, 3]
    assert sorted(name for names in dealt for name in names) == NAMES
    assert dealt == sharding.dealt(reversed(NAMES), 5)
    many = [f"shop {number // 100} image {number % 100}" for number in range(1000)]
    for names in sharding.dealt(many, 10):
        # Of each of ten shops about ten images: by chance at least 2 and at most 22.
        counts = [sum(name.startswith(f"shop {shop} ") for name in names) for shop in range(10)]
        assert min(counts) >= 2 and max(counts) <= 22
        assert names != sorted(names)


@pytest.mark.parametrize("examples_of_record, count", [(1, 1), (10000, 1), (10001, 6), (10**5, 50)])
def test_the_number_of_examples_decides_on_the_number_of_shards(examples_of_record, count):
    assert sharding.count_for(examples_of_record) == count


def test_a_large_record_is_divided_without_an_option(annotated, monkeypatch):
    monkeypatch.setattr(sharding, "LARGEST_RECORD", 11)
    monkeypatch.setattr(sharding, "EXAMPLES_OF_A_SHARD", 5)
    assert write(annotated).shards == 3
    assert sorted(names_in(annotated)) == NAMES


@pytest.mark.parametrize("counts", [(1, 4), (4, 1), (4, 3)])
def test_a_new_record_replaces_all_files_of_the_old_one(annotated, counts):
    for count in counts:
        write(annotated, count)
    expected = ["train.record"]
    if counts[1] > 1:
        expected = [f"train.record-{number:05}-of-{counts[1]:05}" for number in range(counts[1])]
    assert record_names(annotated) == expected
    assert sorted(names_in(annotated)) == NAMES
    assert not list(annotated.glob(".*"))


def test_tiles_of_an_image_are_in_one_shard(annotated):
    written = write(annotated, 3, tiling=examples.Tiling((1, 2)))
    assert written.stored.tiles and written.images == 12
    found = [set(names_in(annotated, f"train.record-{n:05}-of-00003")) for n in range(3)]
    assert sum(map(len, found)) == 12 and set.union(*found) == set(NAMES)


def test_more_shards_than_images_are_refused(annotated):
    with pytest.raises(
        UserError, match=r"--shards 13: .*train_labels.csv has 12 images .* --splits"
    ):
        write(annotated, 13)
    assert record_names(annotated) == []


# --- restarts ------------------------------------------------------------------------------------


def waiting(folder):
    return sorted(path for path in folder.glob(".train.record.shards/train*"))


def break_image(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:300])


def interrupted(folder, count=SHARDS):
    """Has a run fail at the last image of the last shard; returns its name and its bytes."""
    write(folder, 1)
    name = sharding.dealt(NAMES, count)[-1][-1]
    content = (folder / name).read_bytes()
    break_image(folder, name)
    with pytest.raises(UserError, match=f"{name}: is no image that can be read"):
        write(folder, count)
    return name, content


@pytest.fixture
def one_worker():
    """One shard after another, so that a failure of the last one finds the others complete."""
    tensorflow1.load()  # then this process writes the shards


def test_complete_shards_are_not_written_again(annotated, one_worker):
    name, content = interrupted(annotated)
    assert [path.name for path in annotated.glob("train.record*")] == ["train.record"]
    before = {path: path.stat().st_ino for path in waiting(annotated)}
    assert len(before) == SHARDS - 1
    (annotated / name).write_bytes(content)
    written = write(annotated, SHARDS)
    assert written.kept_shards == SHARDS - 1 and written.stored.boxes == 78
    after = {path.stat().st_ino for path in annotated.glob("train.record-*")}
    assert len(after) == SHARDS and set(before.values()) <= after
    assert sorted(names_in(annotated)) == NAMES and not list(annotated.glob(".*"))


def test_a_complete_shard_of_other_inputs_is_written_again(annotated, one_worker):
    name, content = interrupted(annotated)
    (annotated / name).write_bytes(content)
    changed = sharding.dealt(NAMES, SHARDS)[0][0]
    Image.new("RGB", (40, 30), "red").save(str(annotated / changed))
    assert write(annotated, SHARDS).kept_shards == SHARDS - 2

    interrupted(annotated)
    (annotated / name).write_bytes(content)
    assert write(annotated, SHARDS, max_side=20).kept_shards == 0


def without_the_last_example(data):
    """A TFRecord cut between two examples: each has 8 bytes of its length, 4, the length, and 4."""
    ends = [0]
    while ends[-1] < len(data):
        (length,) = struct.unpack_from("<Q", data, ends[-1])
        ends.append(ends[-1] + length + 16)
    return data[: ends[-2]]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], without_the_last_example])
def test_a_complete_shard_that_was_damaged_is_written_again(annotated, one_worker, damage):
    name, content = interrupted(annotated)
    (annotated / name).write_bytes(content)
    first = waiting(annotated)[0]
    first.write_bytes(damage(first.read_bytes()))
    assert write(annotated, SHARDS).kept_shards == SHARDS - 2
    assert sorted(names_in(annotated)) == NAMES


def test_what_waits_for_another_number_of_shards_is_removed(annotated, one_worker):
    name, content = interrupted(annotated)
    (annotated / name).write_bytes(content)
    assert write(annotated, SHARDS - 1).kept_shards == 0
    assert not list(annotated.glob(".*"))
    interrupted(annotated)
    (annotated / name).write_bytes(content)
    write(annotated, 1)
    assert record_names(annotated) == ["train.record"] and not list(annotated.glob(".*"))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_kill_while_shards_are_moved_leaves_no_mixture(annotated, monkeypatch, count):
    """Stops before each of two removals and two moves: old and new are never there together."""
    write(annotated, 2)
    for path in annotated.glob("train.record-*"):
        path.write_bytes(b"old")
    calls = []

    def stopping(function):
        def call(*args):
            calls.append(args)
            if len(calls) == count:
                raise KeyboardInterrupt
            return function(*args)

        return call

    monkeypatch.setattr(sharding, "_unlink", stopping(sharding._unlink))
    monkeypatch.setattr(sharding, "_move", stopping(sharding._move))
    with pytest.raises(KeyboardInterrupt):
        write(annotated, 2)
    there = list(annotated.glob("train.record*"))
    assert len({path.read_bytes() == b"old" for path in there}) <= 1
    assert count == 1 or not there or shards.problem(there)
    monkeypatch.undo()
    assert write(annotated, 2).kept_shards == min(2, 5 - count)
    assert not list(annotated.glob(".*"))


def test_a_run_that_is_killed_continues(annotated):
    """SIGKILL of the first process: its workers end with it, and what is complete stays."""
    command = [
        sys.executable,
        str(paths.ROOT / "scripts" / "preprocessing" / "04_generate_tfrecords.py"),
        *("--annotations", str(annotated), "--images", str(annotated), "--splits", "train"),
        *("--label-map", str(annotated / "label_map.pbtxt"), "--shards", "12"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and len(waiting(annotated)) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(annotated.glob("train.record*")) == []
    kept = {path.name for path in waiting(annotated)}
    written = write(annotated, 12)
    assert written.kept_shards >= 3 and len(kept) >= 3
    assert sorted(names_in(annotated)) == NAMES and not list(annotated.glob(".*"))


def test_two_at_once_in_one_folder(annotated, monkeypatch):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0)
    with files.replacing(annotated / "train.record") as partial:
        partial.write_text("another program's")
        with pytest.raises(UserError, match="train.record: another program is writing it"):
            write(annotated, 4)
    assert record_names(annotated) == ["train.record"]


def test_step_04_says_what_the_config_has_to_name(annotated, script, capsys):
    options = ["--annotations", annotated, "--images", annotated, "--splits", "train"]
    options += ["--label-map", annotated / "label_map.pbtxt", "--shards", 3]
    script("04_generate_tfrecords").main(list(map(str, options)))
    printed = capsys.readouterr().out
    assert "12 images, 78 boxes, at most 12 an image; read back and equal; 3 shards\n" in printed
    line = f'for the config: input_path: "{annotated}/train.record-?????-of-?????"'
    assert line in printed
