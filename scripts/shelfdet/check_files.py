"""Checks of a training config against the files it names: label map, records, and how many products a picture holds."""

import collections
import glob
import os
import re

from shelfdet import UserError, annotations, paths

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
COCO_MAX_DETECTIONS = 100            # pycocotools' largest maxDets, which validation during training uses
READER_KEYS = ("train_input_reader", "eval_input_reader")
LABEL_MAP_REMEDY = 'label_map_path: "{}"'.format(paths.shown(paths.LABEL_MAP))

# Shuffled records wait in memory, whole: over this the buffer is worth a word.
LARGE_BUFFER = 512 << 20
# Pictures larger than this many times the network's input cost decoding time and memory at every step, and bring nothing.
LARGE_PICTURE = 3

Pictures = collections.namedtuple("Pictures", "path names counts classes ids sizes_wh record_bytes")
Pictures.__doc__ = """What a label file or a record holds.

path: the file. names: of the pictures. counts: products of each. classes: set of class names. ids: set of class ids (records only).
sizes_wh: of the pictures as stored. record_bytes: of the whole record, 0 for a label file."""


def placeholders(text, findings):
    """Lines in which a zoo file's ``PATH_TO_BE_CONFIGURED`` was left."""
    for number, line in enumerate(text.splitlines(), start=1):
        if PLACEHOLDER in line.split("#")[0]:
            found = re.match(r"\s*(\w+)", line)
            findings.error(found.group(1) if found else PLACEHOLDER, "line {}: {}".format(number, line.strip()),
                           "a path, relative to the repository root", "the path of your own file")


def readers(config):
    """[(key, reader, split)] of the config's input readers."""
    found = [("train_input_reader", config.train_input_reader, "train")]
    several = len(config.eval_input_reader) > 1
    return found + [("eval_input_reader[{}]".format(number) if several else "eval_input_reader", reader, "val")
                    for number, reader in enumerate(config.eval_input_reader)]


def label_maps(config, root, findings):
    """Checks each reader's label map against ``num_classes`` and against each other.

    Returns:
      dict of class name to id of the training reader, or None.
    """
    maps = []
    for key, reader, _ in readers(config):
        key += ".label_map_path"
        if not reader.label_map_path:
            findings.error(key, "nothing", "the label map", LABEL_MAP_REMEDY)
            continue
        if PLACEHOLDER in reader.label_map_path:
            continue
        path = os.path.join(str(root), reader.label_map_path)
        if not os.path.isfile(path):
            findings.error(key, "{}: {}".format(reader.label_map_path, _absence(path)), "a file; paths are relative to {}".format(root),
                           LABEL_MAP_REMEDY)
            continue
        try:
            maps.append((key, annotations.read_label_map(path)))
        except UserError as error:
            findings.error(key, str(error), "a label map", "item {\n  id: 1\n  name: 'product'\n}", path=path)
    for key, label_map in maps:
        if label_map != maps[0][1]:
            findings.error(key, "another map than {}'s".format(maps[0][0]), "one label map for all readers", LABEL_MAP_REMEDY)
    if not maps:
        return None
    key, label_map = maps[0]
    if len(label_map) != config.model.ssd.num_classes:
        findings.error("model.ssd.num_classes", "{}, but {} has {} ({})".format(
            config.model.ssd.num_classes, key, len(label_map), ", ".join(sorted(label_map))), "as many as the label map has",
                       "num_classes: {}".format(len(label_map)))
    beyond = sorted(number for number in label_map.values() if not 1 <= number <= len(label_map))
    if beyond:
        findings.error(key, "ids {}".format(sorted(label_map.values())), "1 to {} without a gap".format(len(label_map)),
                       "item {{ id: {} ... }}".format(min(set(range(1, len(label_map) + 1)) - set(label_map.values()))))
    return label_map


def label_file(path, label_map, findings):
    """What a label file holds, its classes checked against the label map.

    Returns:
      (Pictures, list of annotations.LabelledImage).

    Raises:
      UserError: the file is not there or wrong.
    """
    images = annotations.read_labels(path)
    pictures = Pictures(path, [image.filename for image in images], [len(image.classes) for image in images],
                        {name for image in images for name in image.classes}, set(), [image.size_wh for image in images], 0)
    _classes(pictures, label_map, findings)
    return pictures, images


def record(key, reader, root, label_map, findings):
    """Reads the records of one reader through to their ends.

    Returns:
      Pictures, or None where there is nothing that can be read.
    """
    key += ".tf_record_input_reader.input_path"
    written = list(reader.tf_record_input_reader.input_path)
    split = "train" if key.startswith("train") else "val"
    remedy = 'input_path: "{}"'.format(paths.shown(paths.record(split)))
    if not written:
        findings.error(key, "nothing", "the records to read", "tf_record_input_reader {{\n  {}\n}}".format(remedy))
        return None
    found = []
    for pattern in written:
        path = os.path.join(str(root), pattern)
        matching = sorted(name for name in glob.glob(path) if os.path.isfile(name)) or ([path] if os.path.isfile(path) else [])
        if not matching and PLACEHOLDER not in pattern:
            findings.error(key, "{}: {}".format(pattern, _absence(path)), "a record; paths are relative to {}".format(root),
                           remedy + "\nor run scripts/preprocessing/04_generate_tfrecords.py, which writes it")
        found += matching
    parts = [part for part in (_read_record(name, key, findings) for name in found) if part is not None]
    if not parts:
        return None
    pictures = Pictures(found[0], *(sum((part[column] for part in parts), []) for column in (0, 1)),
                        *(set().union(*(part[column] for part in parts)) for column in (2, 3)),
                        sum((part[4] for part in parts), []), sum(part[5] for part in parts))
    _classes(pictures, label_map, findings)
    _ids(pictures, label_map, findings)
    repeated = [name for name, times in collections.Counter(pictures.names).items() if times > 1]
    if repeated:
        findings.error(key, "{} pictures are in it more than once, {} among them".format(len(repeated), repeated[0]),
                       "each image/source_id once: evaluation skips or refuses the others", "run scripts/preprocessing/04_generate_tfrecords.py")
    return pictures


def _read_record(path, key, findings):
    """(names, counts, classes, ids, sizes, bytes) of one record file, or None."""
    import tensorflow as tf
    names, counts, classes, ids, sizes = [], [], set(), set(), []
    try:
        for data in tf.compat.v1.io.tf_record_iterator(path):
            features = tf.train.Example.FromString(data).features.feature
            names.append(features["image/source_id"].bytes_list.value[0].decode("utf-8", "replace"))
            counts.append(len(features["image/object/bbox/xmin"].float_list.value))
            classes.update(text.decode("utf-8", "replace") for text in features["image/object/class/text"].bytes_list.value)
            ids.update(features["image/object/class/label"].int64_list.value)
            sizes.append((features["image/width"].int64_list.value[0], features["image/height"].int64_list.value[0]))
    except (tf.errors.OpError, IndexError, ValueError, _decode_error()) as error:
        findings.error(key, "{}: fails after {} pictures ({})".format(
            paths.shown(path), len(counts), str(getattr(error, "message", error) or "no tf.Example").splitlines()[0]),
                       "a whole record of tf.Examples", "run scripts/preprocessing/04_generate_tfrecords.py", path=path)
        return None
    if not names:
        findings.error(key, "{}: no pictures in it".format(paths.shown(path)), "at least one",
                       "run scripts/preprocessing/04_generate_tfrecords.py", path=path)
        return None
    return names, counts, classes, ids, sizes, os.path.getsize(path)


def _decode_error():
    from google.protobuf import message
    return message.DecodeError


def _absence(path):
    if os.path.isdir(path):
        return "a folder stands there"
    folder = os.path.dirname(path)
    return "no such file" if os.path.isdir(folder) else "no such file, and no folder {}".format(folder)


def _classes(pictures, label_map, findings):
    unknown = sorted(pictures.classes - set(label_map)) if label_map else []
    if unknown:
        findings.error("class", "{} in {}".format(", ".join(map(repr, unknown[:5])), paths.shown(pictures.path)),
                       "a class of the label map: {}".format(", ".join(map(repr, sorted(label_map)))),
                       "item {{\n  id: {}\n  name: '{}'\n}}\nin the label map, and num_classes: {}; or mend the labels and run step 04".format(
                           len(label_map) + 1, unknown[0], len(label_map) + len(unknown)), path=pictures.path)


def _ids(pictures, label_map, findings):
    wrong = sorted(pictures.ids - set(label_map.values())) if label_map else []
    if wrong:
        findings.error("image/object/class/label", "id {} in {}".format(wrong[0], paths.shown(pictures.path)),
                       "an id of the label map: {}".format(sorted(label_map.values())),
                       "run scripts/preprocessing/04_generate_tfrecords.py", path=pictures.path)


def consistency(records, labels, findings):
    """The records against each other and against the label files that they were made from.

    Args:
      records: dict of reader key to Pictures.
      labels: dict of split to Pictures.
      findings: Findings.
    """
    train = records.get("train_input_reader")
    for key, pictures in records.items():
        path_key = key + ".tf_record_input_reader.input_path"
        split = "train" if key == "train_input_reader" else "val"
        if pictures is not train and train is not None:
            shared = set(train.names) & set(pictures.names)
            if shared:
                findings.error(path_key, "{} of its {} pictures are in the training record too, {} among them".format(
                    len(shared), len(pictures.names), min(shared)), "pictures that training does not see",
                               'input_path: "{}"'.format(paths.shown(paths.record("val"))))
        if split == "val" and "test" in labels and set(pictures.names) & set(labels["test"].names):
            findings.warning(path_key, "test pictures: the best checkpoint would be chosen on them", "validation pictures",
                             'input_path: "{}"'.format(paths.shown(paths.record("val"))))
        elif split in labels and (sorted(zip(pictures.names, pictures.counts)) !=
                                  sorted(zip(labels[split].names, labels[split].counts))):
            findings.warning(path_key, "{} pictures with {} products, but {} has {} with {}, or others".format(
                len(pictures.names), sum(pictures.counts), paths.shown(labels[split].path), len(labels[split].names),
                sum(labels[split].counts)), "the same pictures and products in both",
                             "run scripts/preprocessing/04_generate_tfrecords.py")


def limits(config, by_split, findings):
    """The limits of readers and detections against the most products in one picture.

    Args:
      config: as pipeline.read gives it.
      by_split: dict of "train", "val", "test" to a list of Pictures.
      findings: Findings.
    """
    fullest = {split: _fullest(pictures) for split, pictures in by_split.items() if any(one.counts for one in pictures)}
    for key, reader, split in readers(config):
        if split in fullest and reader.max_number_of_boxes < fullest[split][0]:
            findings.error(key + ".max_number_of_boxes", "{}{}".format(
                reader.max_number_of_boxes, "" if reader.HasField("max_number_of_boxes") else " (the default where nothing is written)"),
                           "at least {}, the products in {}: those past it are dropped and become background".format(*fullest[split]),
                           "max_number_of_boxes: {}".format(_room(fullest[split][0], 1.1)))
    if not fullest:
        return
    most, name = max(fullest.values())
    suppression = config.model.ssd.post_processing.batch_non_max_suppression
    for field in ("max_detections_per_class", "max_total_detections"):
        if getattr(suppression, field) < most:
            findings.error("model.ssd.post_processing.batch_non_max_suppression." + field, "{}{}".format(
                getattr(suppression, field), "" if suppression.HasField(field) else " (the default where nothing is written)"),
                           "more than the {} products in {}".format(most, name), "{}: {}".format(field, _room(most, 1.5)))
    shown = fullest.get("val", fullest.get("train"))
    if shown and config.eval_config.max_num_boxes_to_visualize < shown[0]:
        findings.warning("eval_config.max_num_boxes_to_visualize", str(config.eval_config.max_num_boxes_to_visualize),
                         "at least {}, the products in {}: TensorBoard's pictures leave the others out".format(*shown),
                         "max_num_boxes_to_visualize: {}".format(_room(shown[0], 1.1)))
    if "val" in fullest and fullest["val"][0] > COCO_MAX_DETECTIONS:
        findings.note("eval_config.metrics_set", "{} products in {}".format(*fullest["val"]),
                      "to know: COCO's AP during training counts the {} best detections of a picture; step 09 counts all".format(
                          COCO_MAX_DETECTIONS))


def _fullest(pictures):
    return max((count, name) for one in pictures for count, name in zip(one.counts, one.names))


def _room(count, factor):
    return -(-int(count * factor) // 50) * 50


def feeding(config, image_wh, train, findings):
    """How training reads its record: batch, epochs, buffer, size of the pictures.

    Args:
      config: as pipeline.read gives it.
      image_wh: the network's input, or None.
      train: Pictures of the training record.
      findings: Findings.
    """
    reader = config.train_input_reader
    if config.train_config.batch_size > len(train.names):
        findings.warning("train_config.batch_size", "{}, more than the {} pictures".format(config.train_config.batch_size, len(train.names)),
                         "fewer than there are pictures", "batch_size: {}".format(max(1, len(train.names) // 4)))
    if reader.num_epochs:
        findings.warning("train_input_reader.num_epochs", "{}: training ends after {} steps, whatever num_steps says".format(
            reader.num_epochs, reader.num_epochs * len(train.names) // max(1, config.train_config.batch_size)),
                         "nothing: num_steps ends the training", "delete the line")
    if reader.sample_1_of_n_examples > 1:
        findings.warning("train_input_reader.sample_1_of_n_examples", "{}: the other pictures are never seen".format(
            reader.sample_1_of_n_examples), "1", "delete the line")
    waiting = train.record_bytes * min(1.0, reader.shuffle_buffer_size / len(train.names))
    if reader.shuffle and waiting > LARGE_BUFFER:
        findings.warning("train_input_reader.shuffle_buffer_size", "{}: {:.1f} GB of records wait in memory".format(
            reader.shuffle_buffer_size, waiting / 2 ** 30), "a buffer that fits, or smaller pictures (step 04, --max-side)",
                         "shuffle_buffer_size: {}".format(max(32, int(reader.shuffle_buffer_size * LARGE_BUFFER / waiting) // 32 * 32)))
    widest = max(train.sizes_wh, key=max)
    if image_wh and max(widest) > LARGE_PICTURE * max(image_wh):
        findings.warning("train_input_reader.tf_record_input_reader.input_path", "pictures of up to {} x {} px for an input of {} x {}".format(
            *widest, *image_wh), "pictures at most {} times as large: decoding them costs time and memory at every step".format(
                LARGE_PICTURE), "run scripts/preprocessing/04_generate_tfrecords.py --max-side 1024")
