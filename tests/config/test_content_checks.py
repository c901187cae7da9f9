"""Step 05: splits without boxes, and records that differ from their label files."""

import numpy as np
import pytest
import tensorflow as tf

from shelfdet.config import content_checks, findings, record_checks
from shelfdet.config.file_checks import EVAL_READER, TRAIN_READER
from shelfdet.core import paths
from shelfdet.data import examples, labels, records

LABEL_MAP = {"product": 1, "milk": 2}
TRAIN_RECORDS = "train_input_reader.tf_record_input_reader.input_path"
EVAL_RECORDS = "eval_input_reader.tf_record_input_reader.input_path"
BOXES = np.array([[10.0, 20, 50, 90], [60, 20, 100, 90], [120, 20, 160, 90]])
STEP_04 = "scripts/preprocessing/04_generate_tfrecords.py"


def image(name, boxes_xyxy=BOXES, classes=None):
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    classes = classes or ("product",) * len(boxes_xyxy)
    return labels.LabelledImage(name, (320, 240), boxes_xyxy, tuple(classes))


def images_of(split):
    return [image(f"{split}{number}.jpg") for number in range(3)]


def write_record(path, images):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in images:
            proto = records.to_example(examples.whole(one), b"no pixels", one.size_wh, LABEL_MAP)
            writer.write(proto.SerializeToString())


@pytest.fixture
def folder(tmp_path):
    """Label files and records of three splits, which agree."""
    for split in paths.SPLITS:
        labels.write_labels(images_of(split), tmp_path / f"{split}_labels.csv")
        write_record(tmp_path / f"{split}.record", images_of(split))
    return tmp_path


def check(folder):
    found = findings.Findings(folder / "a.config", "")
    label_files = {
        split: [record_checks.read_label_file(folder / f"{split}_labels.csv", LABEL_MAP, found)[0]]
        for split in paths.SPLITS
    }
    readers = {TRAIN_READER: "train", EVAL_READER: "val"}
    content_checks.check(
        {
            key: [record_checks.read_record([str(folder / f"{split}.record")], key, found)]
            for key, split in readers.items()
        },
        label_files,
        found,
    )
    return list(found)


def only(found):
    assert len(found) == 1, [findings.as_text(one) for one in found]
    return found[0]


def test_records_like_their_label_files_pass(folder):
    assert not check(folder)


def test_the_order_of_boxes_and_images_does_not_matter(folder):
    images = [image(f"train{number}.jpg", BOXES[::-1]) for number in (2, 0, 1)]
    write_record(folder / "train.record", images)
    assert not check(folder)


def test_boxes_of_step_04_are_stored_in_single_precision(folder):
    images = [image("train0.jpg", BOXES + 1 / 3)] + images_of("train")[1:]
    labels.write_labels(images, folder / "train_labels.csv")
    write_record(folder / "train.record", images)
    assert not check(folder)


@pytest.mark.parametrize(
    "changed, message",
    [
        (
            image("train1.jpg", BOXES + [[0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]),
            "train1.jpg has the box 62,20,100,90 in the label file, the nearest in the record is "
            "60,20,100,90",
        ),
        (image("train1.jpg", BOXES[:2]), "train1.jpg has 3 boxes in the record and 2 in the label"),
        (
            image("train1.jpg", classes=("product", "milk", "product")),
            "train1.jpg has class 'product' in the record and 'milk' in the label file",
        ),
    ],
    ids=["coordinate", "box", "class"],
)
def test_a_label_file_that_was_changed_after_its_record_is_an_error(folder, changed, message):
    images = images_of("train")
    images[1] = changed
    labels.write_labels(images, folder / "train_labels.csv")
    found = only(check(folder))
    assert (found.severity, found.key) == (findings.ERROR, TRAIN_RECORDS)
    assert "1 image (train1.jpg) with other boxes or classes; " + message in found.found
    assert found.expected == f"the images and boxes of {folder}/train_labels.csv"
    # Step 02 would replace a label file that was corrected by hand.
    assert found.write == f"run {STEP_04} --annotations {folder} --images FOLDER-OF-THE-IMAGES"


def test_every_split_is_compared(folder):
    for split in paths.SPLITS:
        labels.write_labels(
            [image(f"{split}{number}.jpg", BOXES + 1) for number in range(3)],
            folder / f"{split}_labels.csv",
        )
    severities = {one.key: one.severity for one in check(folder)}
    assert severities == {
        TRAIN_RECORDS: findings.ERROR,
        EVAL_RECORDS: findings.ERROR,
        "test record": findings.WARNING,  # training does not read it
    }


def test_images_that_are_in_one_of_the_two_are_named(folder):
    images = images_of("val")[1:] + [image("new.jpg")]
    labels.write_labels(images, folder / "val_labels.csv")
    found = only(check(folder))
    assert (
        "1 image (val0.jpg) in the record alone and 1 image (new.jpg) in the label file alone"
        in (found.found)
    )


def test_the_label_file_of_another_dataset_is_a_warning(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    found = findings.Findings("a.config", "")
    record = record_checks.read_record([str(folder / "train.record")], TRAIN_READER, found)
    labels.write_labels([image("another.jpg")], other / "train_labels.csv")
    label_file, _ = record_checks.read_label_file(other / "train_labels.csv", LABEL_MAP, found)
    content_checks.check({TRAIN_READER: [record]}, {"train": [label_file]}, found)
    assert only(list(found)).severity == findings.WARNING


@pytest.mark.parametrize(
    "split, key, effect",
    [
        ("train", TRAIN_RECORDS, "nothing can be learned"),
        ("val", EVAL_RECORDS, "AP is not defined"),
    ],
)
def test_a_split_without_any_box_is_an_error(folder, split, key, effect):
    images = [image(f"{split}{number}.jpg", []) for number in range(3)]
    labels.write_labels(images, folder / f"{split}_labels.csv")
    write_record(folder / f"{split}.record", images)
    found = only(check(folder))
    assert (found.severity, found.key) == (findings.ERROR, key)
    names = ", ".join(image.filename for image in images)
    assert found.found == (
        f"3 images ({names}) without any ground-truth box in {folder}/{split}.record: {effect}"
    )
    assert found.expected == "at least one box"
    assert found.write.startswith("annotate products in these images")


def test_test_images_without_any_box_are_a_warning(folder):
    images = [image(f"test{number}.jpg", []) for number in range(3)]
    labels.write_labels(images, folder / "test_labels.csv")
    write_record(folder / "test.record", images)
    found = only(check(folder))
    assert (found.severity, found.key) == (findings.WARNING, "test label file")


def test_an_image_without_boxes_among_others_is_accepted(folder):
    images = images_of("val")[1:] + [image("val0.jpg", [])]
    labels.write_labels(images, folder / "val_labels.csv")
    write_record(folder / "val.record", images)
    assert not check(folder)


def divided(images, *counts):
    tiling = examples.Tiling(counts)
    return [example for one in images for example in examples.of_image(one, tiling)]


def write_examples(path, found):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in found:
            proto = records.to_example(one, b"no pixels", one.labelled.size_wh, LABEL_MAP)
            writer.write(proto.SerializeToString())


@pytest.mark.parametrize("counts", [(2,), (1, 3)])
def test_records_of_tiles_are_compared_tile_by_tile(folder, counts):
    images = images_of("train")[:2] + [image("train2.jpg", [])]  # without products: no tile of it
    labels.write_labels(images, folder / "train_labels.csv")
    write_examples(folder / "train.record", divided(images, *counts))
    assert not check(folder)


def test_records_of_grids_of_any_shape_are_compared_tile_by_tile(folder):
    tiling = examples.Tiling(product_scale=0.1, product_aspect_ratio=3)
    images = images_of("train")
    found = [example for one in images for example in examples.of_image(one, tiling)]
    columns, rows = examples.grids_of(images[0], tiling)[0]
    assert columns != rows
    labels.write_labels(images, folder / "train_labels.csv")
    write_examples(folder / "train.record", found)
    assert not check(folder)


def test_a_box_moved_after_the_tiles_were_written_is_found_in_its_tile(folder):
    write_examples(folder / "train.record", divided(images_of("train"), 2))
    moved = image("train1.jpg", BOXES + [[0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    images = images_of("train")
    images[1] = moved
    labels.write_labels(images, folder / "train_labels.csv")
    found = only(check(folder))
    assert "train1.jpg [" in found.found and "with other boxes or classes" in found.found
    assert found.write.endswith(
        "with its --tiles (make: TILES=) or --product-scale (make: PRODUCT_SCALE=), and its "
        "--product-aspect-ratio (make: PRODUCT_ASPECT_RATIO=) if it had one"
    )


def test_a_product_added_where_no_tile_was_written_is_found(folder):
    images = [image(f"train{number}.jpg", [(5, 5, 15, 15)]) for number in range(3)]
    write_examples(folder / "train.record", divided(images, 2))
    images[1] = image("train1.jpg", [(5, 5, 15, 15), (300, 200, 318, 230)])
    labels.write_labels(images, folder / "train_labels.csv")
    assert (
        "1 image (train1.jpg [142,106,320,240]) in the label file alone"
        in only(check(folder)).found
    )


def test_a_tile_of_a_training_image_in_the_validation_record_is_an_error(folder):
    images = images_of("val") + images_of("train")[:1]
    labels.write_labels(images, folder / "val_labels.csv")
    write_examples(folder / "val.record", divided(images, 2))
    found = only(check(folder))
    assert found.found.startswith("1 of its 4 images is in the training record, too")
