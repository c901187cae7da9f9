"""Checks of a training config against the files it names: label map, records, and how many products an image holds."""

import collections
import glob
import os
import re

from shelfdet import UserError
from shelfdet.core import paths, tensorflow1
from shelfdet.data import labels

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
COCO_MAX_DETECTIONS = 100  # pycocotools' largest maxDets, which validation during training uses
LABEL_MAP_LINE = f'label_map_path: "{paths.shown(paths.LABEL_MAP)}"'
LABEL_MAP_ITEM = "item {\n  id: 1\n  name: 'product'\n}"
RECORD_LINES = {
    split: f'input_path: "{paths.shown(paths.record(split))}"' for split in ("train", "val")
}
STEP_04 = "run `make data`, or scripts/preprocessing/04_generate_tfrecords.py alone where the label files are right"
# Fields of train_config and of the input readers that have to count something: at 0 TensorFlow fails while it builds the input.
COUNTED = {
    "batch_size": 4,
    "shuffle_buffer_size": 256,
    "num_readers": 1,
    "num_parallel_batches": 1,
    "read_block_length": 32,
}
SUPPRESSION = "model.ssd.post_processing.batch_non_max_suppression"

# Shuffled records wait in memory, whole: over this the buffer is worth a word.
LARGE_BUFFER = 512 << 20
# Images larger than this many times the network's input cost decoding time at every step, and bring nothing.
LARGE_IMAGE = 3

Pictures = collections.namedtuple("Images", "path names counts classes ids sizes_wh record_bytes")
Pictures.__doc__ = """What a label file or a record holds.

path: the file. names: of the images. counts: products of each. classes: set of class names. ids: set of class ids
(records only). sizes_wh: of the images as stored. record_bytes: of the whole record, 0 for a label file."""


def placeholders(text, findings):
    """Tells lines in which a zoo file's ``PATH_TO_BE_CONFIGURED`` was left."""
    for number, line in enumerate(text.splitlines(), start=1):
        if PLACEHOLDER in line.split("#")[0]:
            key = re.match(r"\s*(\w*)", line).group(1)
            findings.error(
                key or PLACEHOLDER,
                found=f"line {number}: {line.strip()}",
                expected="a path, relative to the repository root",
                write="the path of your own file",
            )


def readers(config):
    """[(key, reader, split)] of the config's input readers."""
    several = len(config.eval_input_reader) > 1
    return [("train_input_reader", config.train_input_reader, "train")] + [
        (f"eval_input_reader[{number}]" if several else "eval_input_reader", reader, "val")
        for number, reader in enumerate(config.eval_input_reader)
    ]


def counted(config, findings):
    """Tells what feeds the network by 0 images at a time, or fewer."""
    for key, block in [("train_config", config.train_config)] + [
        (key, reader) for key, reader, _ in readers(config)
    ]:
        for name in set(COUNTED) & set(block.DESCRIPTOR.fields_by_name):
            usual, unused = COUNTED[name], name == "shuffle_buffer_size" and not block.shuffle
            if getattr(block, name) < 1 and not unused:
                findings.error(
                    f"{key}.{name}",
                    found=str(getattr(block, name)),
                    expected="at least 1",
                    write=f"{name}: {usual}",
                )


def label_maps(config, root, findings):
    """Checks each reader's label map against ``num_classes`` and against each other.

    Returns:
      dict of class name to id of the training reader, or None.
    """
    maps = []
    for key, reader, _ in readers(config):
        label_map = _label_map(key + ".label_map_path", reader.label_map_path, root, findings)
        if label_map is not None:
            maps.append((key + ".label_map_path", label_map))
    for key, label_map in maps[1:]:
        if label_map != maps[0][1]:
            findings.error(
                key,
                found=f"another map than {maps[0][0]}'s",
                expected="one label map for all readers",
                write=LABEL_MAP_LINE,
            )
    if not maps:
        return None
    _count_classes(*maps[0], config.model.ssd.num_classes, findings)
    return maps[0][1]


def _label_map(key, written, root, findings):
    """dict of class name to id, or None where it cannot be read."""
    path = os.path.join(str(root), written)
    if PLACEHOLDER in written:
        return None
    if not written or not os.path.isfile(path):
        findings.error(
            key,
            found=f"{written}: {_absence(path)}" if written else "nothing",
            expected=f"the label map; paths are relative to {root}",
            write=LABEL_MAP_LINE,
        )
        return None
    try:
        return labels.read_label_map(path)
    except UserError as error:
        findings.error(
            key, found=str(error), expected="a label map", write=LABEL_MAP_ITEM, path=path
        )
        return None


def _count_classes(key, label_map, num_classes, findings):
    if len(label_map) != num_classes:
        findings.error(
            "model.ssd.num_classes",
            found=f"{num_classes}, but {key} has {len(label_map)} ({', '.join(sorted(label_map))})",
            expected="as many as the label map has",
            write=f"num_classes: {len(label_map)}",
        )
    ids, wanted = set(label_map.values()), set(range(1, len(label_map) + 1))
    if ids != wanted:
        findings.error(
            key,
            found=f"ids {sorted(label_map.values())}",
            expected=f"1 to {len(label_map)} without a gap",
            write=f"id: {min(wanted - ids)}",
        )


def label_file(path, label_map, findings):
    """What a label file holds, its classes checked against the label map.

    Returns:
      (Images, list of labels.LabelledImage).

    Raises:
      UserError: the file is not there or wrong.
    """
    images = labels.read_labels(path)
    pictures = Pictures(
        path,
        [image.filename for image in images],
        [len(image.classes) for image in images],
        {name for image in images for name in image.classes},
        set(),
        [image.size_wh for image in images],
        0,
    )
    _classes(pictures, label_map, findings)
    return pictures, images


def record(key, reader, root, label_map, findings):
    """Reads the records of one reader through to their ends.

    Returns:
      Images, or None where there is nothing that can be read.
    """
    split = "train" if key.startswith("train") else "val"
    key += ".tf_record_input_reader.input_path"
    parts = []
    for path in _record_files(key, reader.tf_record_input_reader.input_path, root, split, findings):
        part = _read_record(path, key, findings)
        parts += [] if part is None else [part]
    if not parts:
        return None
    pictures = parts[0]
    for part in parts[1:]:
        pictures = Pictures(
            pictures.path,
            pictures.names + part.names,
            pictures.counts + part.counts,
            pictures.classes | part.classes,
            pictures.ids | part.ids,
            pictures.sizes_wh + part.sizes_wh,
            pictures.record_bytes + part.record_bytes,
        )
    _classes(pictures, label_map, findings)
    _ids(pictures, label_map, findings)
    repeated = [name for name, times in collections.Counter(pictures.names).items() if times > 1]
    if repeated:
        findings.error(
            key,
            found=f"{len(repeated)} images are in it more than once, {repeated[0]} among them",
            expected="each image/source_id once: evaluation skips or refuses the others",
            write=STEP_04,
        )
    return pictures


def _record_files(key, written, root, split, findings):
    """The files that a reader's input_path lines name; patterns with * and ? as TensorFlow's own."""
    if not written:
        findings.error(
            key,
            found="nothing",
            expected="the records to read",
            write=f"tf_record_input_reader {{\n  {RECORD_LINES[split]}\n}}",
        )
    found = []
    for pattern in written:
        path = os.path.join(str(root), pattern)
        matching = (
            [path] if os.path.isfile(path) else sorted(filter(os.path.isfile, glob.glob(path)))
        )
        if not matching and PLACEHOLDER not in pattern:
            findings.error(
                key,
                found=f"{pattern}: {_absence(path)}",
                expected=f"a record; paths are relative to {root}",
                write=f"{RECORD_LINES[split]}\nor {STEP_04}, which writes it",
            )
        found += matching
    return found


def _read_record(path, key, findings):
    """Images of one record file, or None."""
    tf = tensorflow1.load()
    from google.protobuf import message

    names, counts, classes, ids, sizes = [], [], set(), set(), []
    try:
        for data in tf.compat.v1.io.tf_record_iterator(path):
            features = tf.train.Example.FromString(data).features.feature
            names.append(features["image/source_id"].bytes_list.value[0].decode("utf-8", "replace"))
            counts.append(len(features["image/object/bbox/xmin"].float_list.value))
            classes.update(
                name.decode("utf-8", "replace")
                for name in features["image/object/class/text"].bytes_list.value
            )
            ids.update(features["image/object/class/label"].int64_list.value)
            sizes.append(
                tuple(
                    features[side].int64_list.value[0] for side in ("image/width", "image/height")
                )
            )
    except (tf.errors.OpError, message.DecodeError, IndexError) as error:
        reason = str(getattr(error, "message", error)).splitlines()
        findings.error(
            key,
            found=f"{paths.shown(path)}: fails after {len(counts)} images "
            f"({reason[0] if reason else 'no tf.Example'})",
            expected="a whole record of tf.Examples",
            write=STEP_04,
            path=path,
        )
        return None
    if not names:
        findings.error(
            key,
            found=f"{paths.shown(path)}: no images in it",
            expected="at least one",
            write=STEP_04,
            path=path,
        )
        return None
    return Pictures(path, names, counts, classes, ids, sizes, os.path.getsize(path))


def _absence(path):
    folder = os.path.dirname(path)
    return (
        "a folder stands there"
        if os.path.isdir(path)
        else "no such file"
        if os.path.isdir(folder)
        else f"no such file, and no folder {folder}"
    )


def _classes(pictures, label_map, findings):
    unknown = sorted(pictures.classes - set(label_map)) if label_map else []
    if unknown:
        findings.error(
            "class",
            found=f"{', '.join(map(repr, unknown[:5]))} in {paths.shown(pictures.path)}",
            expected=f"a class of the label map: {', '.join(map(repr, sorted(label_map)))}",
            write=f"item {{\n  id: {len(label_map) + 1}\n  name: '{unknown[0]}'\n}}\nin the label map, and "
            f"num_classes: {len(label_map) + len(unknown)}; or mend the labels, then {STEP_04}",
            path=pictures.path,
        )


def _ids(pictures, label_map, findings):
    wrong = sorted(pictures.ids - set(label_map.values())) if label_map else []
    if wrong:
        findings.error(
            "image/object/class/label",
            found=f"id {wrong[0]} in {paths.shown(pictures.path)}",
            expected=f"an id of the label map: {sorted(label_map.values())}",
            write=STEP_04,
            path=pictures.path,
        )


def consistency(records, label_files, findings):
    """The records against each other and against the label files that they were made from.

    Args:
      records: dict of reader key to Images.
      labels: dict of split to Images.
      findings: Findings.
    """
    train = records.get("train_input_reader")
    for key, pictures in records.items():
        path_key = key + ".tf_record_input_reader.input_path"
        split = "train" if key == "train_input_reader" else "val"
        shared = set(train.names) & set(pictures.names) if train and split == "val" else ()
        if shared:
            findings.error(
                path_key,
                found=f"{len(shared)} of its {len(pictures.names)} images are in the training record too, "
                f"{min(shared)} among them",
                expected="images that training does not see",
                write=RECORD_LINES["val"],
            )
        if (
            split == "val"
            and "test" in label_files
            and set(pictures.names) & set(label_files["test"].names)
        ):
            findings.warning(
                path_key,
                found="test images: the best checkpoint would be chosen on them",
                expected="validation images",
                write=RECORD_LINES["val"],
            )
        elif split in label_files and _contents(pictures) != _contents(label_files[split]):
            of = label_files[split]
            findings.warning(
                path_key,
                found=f"{len(pictures.names)} images with {sum(pictures.counts)} products, but "
                f"{paths.shown(of.path)} has {len(of.names)} with {sum(of.counts)}, or others",
                expected="the same images and products in both",
                write=STEP_04,
            )


def _contents(pictures):
    return sorted(zip(pictures.names, pictures.counts))


def limits(config, by_split, findings):
    """The limits of readers and detections against the most products in one image.

    Args:
      config: as pipeline.read gives it.
      by_split: dict of "train", "val", "test" to a list of Images.
      findings: Findings.
    """
    fullest = {
        split: max((count, name) for one in pictures for count, name in zip(one.counts, one.names))
        for split, pictures in by_split.items()
    }
    for key, reader, split in readers(config):
        if split in fullest and reader.max_number_of_boxes < fullest[split][0]:
            most, name = fullest[split]
            findings.error(
                key + ".max_number_of_boxes",
                found=_limit(reader, "max_number_of_boxes"),
                expected=f"at least {most}, the products in {name}: those past it are dropped and become background",
                write=f"max_number_of_boxes: {_room(most, 1.1)}",
            )
    if not fullest:
        return
    most, name = max(fullest.values())
    suppression = config.model.ssd.post_processing.batch_non_max_suppression
    for field in ("max_detections_per_class", "max_total_detections"):
        if getattr(suppression, field) < most:
            findings.error(
                f"{SUPPRESSION}.{field}",
                found=_limit(suppression, field),
                expected=f"more than the {most} products in {name}",
                write=f"{field}: {_room(most, 1.5)}",
            )
    if "val" in fullest:
        _validation_limits(config.eval_config, *fullest["val"], findings)


def _validation_limits(eval_config, most, name, findings):
    if eval_config.max_num_boxes_to_visualize < most:
        findings.warning(
            "eval_config.max_num_boxes_to_visualize",
            found=_limit(eval_config, "max_num_boxes_to_visualize"),
            expected=f"at least {most}, the products in {name}: TensorBoard's images leave the others out",
            write=f"max_num_boxes_to_visualize: {_room(most, 1.1)}",
        )
    if most > COCO_MAX_DETECTIONS:
        findings.note(
            "eval_config.metrics_set",
            found=f"{most} products in {name}",
            expected=f"to know: COCO's AP during training counts the {COCO_MAX_DETECTIONS} best detections of a "
            "image; step 09 counts all",
        )


def _limit(fields, name):
    return f"{getattr(fields, name)}{'' if fields.HasField(name) else ' (the default where nothing is written)'}"


def _room(count, factor):
    """``count`` and some more, in fifties."""
    return -(-int(count * factor) // 50) * 50


def feeding(config, image_wh, train, findings):
    """How training reads its record: batch, epochs, buffer, size of the images.

    Args:
      config: as pipeline.read gives it.
      image_wh: the network's input, or None.
      train: Images of the training record.
      findings: Findings.
    """
    reader, batch_size, pictures = (
        config.train_input_reader,
        config.train_config.batch_size,
        len(train.names),
    )
    if batch_size > pictures:
        findings.warning(
            "train_config.batch_size",
            found=f"{batch_size}, more than the {pictures} images",
            expected="fewer than there are images",
            write=f"batch_size: {max(1, pictures // 4)}",
        )
    if reader.num_epochs:
        steps = reader.num_epochs * pictures // max(1, batch_size)
        findings.warning(
            "train_input_reader.num_epochs",
            found=f"{reader.num_epochs}: training ends after {steps} steps, whatever num_steps says",
            expected="nothing: num_steps ends the training",
            write="delete the line",
        )
    if reader.sample_1_of_n_examples > 1:
        findings.warning(
            "train_input_reader.sample_1_of_n_examples",
            found=f"{reader.sample_1_of_n_examples}: the other images are never seen",
            expected="1",
            write="delete the line",
        )
    waiting = train.record_bytes * min(1.0, reader.shuffle_buffer_size / pictures)
    if reader.shuffle and waiting > LARGE_BUFFER:
        fitting = int(min(reader.shuffle_buffer_size, pictures) * LARGE_BUFFER / waiting)
        findings.warning(
            "train_input_reader.shuffle_buffer_size",
            found=f"{reader.shuffle_buffer_size}: {waiting / 2**30:.1f} GB of records wait in memory",
            expected="a buffer that fits, or smaller images (step 04, --max-side)",
            write=f"shuffle_buffer_size: {max(8, fitting)}",
        )
    widest = max(train.sizes_wh, key=max)
    if image_wh and max(widest) > LARGE_IMAGE * max(image_wh):
        findings.warning(
            "train_input_reader.tf_record_input_reader.input_path",
            found=f"images of up to {widest[0]} x {widest[1]} px for an input of {image_wh[0]} x {image_wh[1]}",
            expected=f"images at most {LARGE_IMAGE} times as large: decoding costs time and memory at every step",
            write="run scripts/preprocessing/04_generate_tfrecords.py --max-side 1024",
        )
