"""Labelled images to TFRecords, which are read back with object_detection's own decoder."""

import hashlib
import io
import pathlib
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import boxes, files, parallel, tensorflow1
from shelfdet.core.progress import progress
from shelfdet.data import images, labels, layout
from shelfdet.data.label_map import read_label_map

JPEG_QUALITY = 95
# A normalised coordinate is stored as float32: the error of that is below this.
COORDINATE_TOLERANCE = 1e-6

Size = Tuple[int, int]


class Written(NamedTuple):
    """One record that was written.

    path: the TFRecord.
    images: number of images.
    shrunk: number of images that were stored smaller than they are.
    boxes: number of boxes.
    most_boxes: number of boxes in the image with most of them.
    """

    path: pathlib.Path
    images: int
    shrunk: int
    boxes: int
    most_boxes: int


def write_records(
    annotations: pathlib.Path,
    images_folder: pathlib.Path,
    splits: Sequence[str],
    label_map_path: pathlib.Path,
    max_side: int = images.MAX_SIDE,
    exif: str = "ignore",
) -> List[Written]:
    """Writes the records of splits and reads them back; replaces all old records or none.

    Args:
      annotations: folder with SPLIT_labels.csv, where SPLIT.record goes.
      images_folder: images, or a dataset's folder (see ``layout``).
      splits: some of "train", "val", "test".
      label_map_path: the label map (.pbtxt).
      max_side: shrink images whose longer side is over this many pixels; 0 keeps all.
      exif: "ignore" or "apply", as in ``images.load``.

    Returns:
      a Written for each split.

    Raises:
      UserError: labels, label map or images with mistakes; a split without any box; a disk that is
        full; a record that reads back differently, or that another program is writing.
    """
    # Everything that can be wrong in small files is read before the first image is encoded.
    label_map = read_label_map(label_map_path)
    labelled = {split: _read_split(annotations / f"{split}_labels.csv") for split in splits}
    image_paths = {
        split: layout.locate(images_folder, [image.filename for image in labelled[split]], split)
        for split in splits
    }
    targets = [annotations / f"{split}.record" for split in splits]
    results = []
    # The workers are forked first: TensorFlow's threads, once imported, would not survive a fork.
    with parallel.Workers() as workers, files.replacing_together(targets) as partials:
        for split, target, partial in zip(splits, targets, partials):
            tasks = [
                (path, image.size_wh, max_side, exif)
                for path, image in zip(image_paths[split], labelled[split])
            ]
            encoded = progress(workers.map(encode_image, tasks), split, len(tasks), "images")
            stored_sizes = write(partial, labelled[split], encoded, label_map)
            checked = check(partial, labelled[split], stored_sizes, label_map, label_map_path)
            box_counts = list(progress(checked, f"{split} read back", len(tasks), "images"))
            shrunk = sum(
                stored_wh != image.size_wh
                for stored_wh, image in zip(stored_sizes, labelled[split])
            )
            results.append(
                Written(target, len(box_counts), shrunk, sum(box_counts), max(box_counts))
            )
    return results


def _read_split(path: pathlib.Path) -> List[labels.LabelledImage]:
    labelled = labels.read_labels(path)
    if not any(image.classes for image in labelled):
        raise UserError(
            f"{path}: {len(labelled)} images without any box; expected at least one ground-truth "
            "box, because nothing can be learned from such a split, nor measured on it. Annotate "
            "products in these images, or choose others, then run steps 01 and 02 again."
        )
    return labelled


def write(
    path: pathlib.Path,
    labelled: Iterable[labels.LabelledImage],
    encoded: Iterable[Tuple[bytes, Size]],
    label_map: Dict[str, int],
) -> List[Size]:
    """Writes one record, image by image.

    Args:
      path: the file to write.
      labelled: the images with their boxes.
      encoded: (bytes, stored_wh) of each, as ``encode_image`` returns them, in the same order.
      label_map: class name to id.

    Returns:
      (width, height) of each image as stored.

    Raises:
      UserError: a class that the label map does not have, or a disk that is full.
    """
    tf = tensorflow1.load()
    stored_sizes = []
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for image, (data, stored_wh) in zip(labelled, encoded):
                example = to_example(image, data, stored_wh, label_map)
                # Otherwise the order of the features, and so the file, differs from run to run.
                writer.write(example.SerializeToString(deterministic=True))
                stored_sizes.append(stored_wh)
    except tf.errors.OpError as error:
        # TensorFlow's own error for a disk that is full.
        raise UserError(files.writing_failed(path, OSError(None, error.message))) from error
    return stored_sizes


def encode_image(path: pathlib.Path, size_wh: Size, max_side: int, exif: str) -> Tuple[bytes, Size]:
    """The bytes to store for one image; without TensorFlow, because worker processes run it.

    A JPEG that TensorFlow decodes unchanged (RGB or grey, small enough, not to be rotated) is
    stored byte for byte. Any other image is decoded, shrunk and stored as RGB JPEG.

    Args:
      path: the image file.
      size_wh: its (width, height) as the label file states it.
      max_side: longest side to store, in pixels; 0 for no limit.
      exif: "ignore" or "apply", as in ``images.load``.

    Returns:
      (bytes, (width, height) of the stored image).

    Raises:
      UserError: it cannot be decoded, or is not of the stated size.
    """
    info = images.inspect(path)
    rotated = exif == "apply" and info.orientation != images.UPRIGHT
    found_wh = info.size_wh
    if rotated and images.is_sideways(info.orientation):
        found_wh = found_wh[::-1]
    if tuple(found_wh) != tuple(size_wh):
        raise UserError(_size_differs(path, found_wh, size_wh, info.orientation))
    stored_wh = images.shrunk_size(found_wh, max_side)
    # Encoding a JPEG a second time would lose quality.
    as_it_is = stored_wh == tuple(found_wh) and not rotated
    if as_it_is and info.format == "JPEG" and info.mode in ("RGB", "L"):
        with open(str(path), "rb") as file:
            return file.read(), stored_wh
    loaded = images.load(path, max_side=max_side, exif=exif)
    buffer = io.BytesIO()
    # Without chroma subsampling, which would halve the resolution of colours.
    Image.fromarray(loaded.pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue(), stored_wh


def _size_differs(path, found_wh, stated_wh, orientation):
    remedy = "Run step 02 again if the image was replaced or resized."
    if tuple(found_wh[::-1]) == tuple(stated_wh):
        remedy = (
            "It seems to be annotated in a viewer that applies the EXIF orientation (here "
            f"{orientation}): run steps 02 and 04 with --exif apply."
        )
    return (
        f"{path}: {found_wh[0]} x {found_wh[1]} pixels as TensorFlow decodes it; expected "
        f"{stated_wh[0]} x {stated_wh[1]}, as its label rows say. {remedy}"
    )


def to_example(
    labelled: labels.LabelledImage, encoded: bytes, stored_wh: Size, label_map: Dict[str, int]
) -> Any:
    """The tf.train.Example of one image, with the features that TfExampleDecoder reads.

    Args:
      labelled: the image's name, size and boxes.
      encoded: JPEG bytes.
      stored_wh: (width, height) of the encoded image.
      label_map: class name to id, 1 and up.

    Raises:
      UserError: a class that the label map does not have.
    """
    tf = tensorflow1.load()
    unknown = sorted(set(labelled.classes) - set(label_map))
    if unknown:
        raise UserError(
            f"{labelled.filename}: class {unknown[0]!r}; expected one of the label map's: "
            f"{', '.join(sorted(label_map))}. Correct the label file or the label map."
        )
    ymin, xmin, ymax, xmax = boxes.to_normalised_yxyx(labelled.boxes_xyxy, labelled.size_wh).T
    name = labelled.filename.encode("utf-8")
    digest = hashlib.sha256(encoded).hexdigest()

    def bytes_feature(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def int_feature(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def float_feature(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    feature = {
        "image/encoded": bytes_feature([encoded]),
        "image/format": bytes_feature([b"jpeg"]),
        "image/width": int_feature([stored_wh[0]]),
        "image/height": int_feature([stored_wh[1]]),
        "image/filename": bytes_feature([name]),
        # Must be unique: the evaluator ignores a second image of the same id.
        "image/source_id": bytes_feature([name]),
        "image/key/sha256": bytes_feature([digest.encode("ascii")]),
        "image/object/bbox/xmin": float_feature(xmin),
        "image/object/bbox/ymin": float_feature(ymin),
        "image/object/bbox/xmax": float_feature(xmax),
        "image/object/bbox/ymax": float_feature(ymax),
        "image/object/class/text": bytes_feature([cls.encode("utf-8") for cls in labelled.classes]),
        "image/object/class/label": int_feature([label_map[cls] for cls in labelled.classes]),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def check(
    path: pathlib.Path,
    labelled: Sequence[labels.LabelledImage],
    stored_sizes: Sequence[Size],
    label_map: Dict[str, int],
    label_map_path: pathlib.Path,
) -> Iterator[int]:
    """Reads a record back with TfExampleDecoder and compares every image and box with the labels.

    Args:
      path: the TFRecord.
      labelled: the images with their boxes, in the record's order.
      stored_sizes: (width, height) of each image as stored.
      label_map: class name to id.
      label_map_path: the file that it came from; the decoder reads it itself.

    Yields:
      The number of boxes of each image, once it agrees.

    Raises:
      UserError: the first image that differs, or a record with more or fewer images.
    """
    tf = tensorflow1.load()
    from object_detection.data_decoders import tf_example_decoder

    expected_errors = (
        tf.errors.OutOfRangeError,
        tf.errors.InvalidArgumentError,
        tf.errors.DataLossError,
    )
    with tf.Graph().as_default():
        decoder = tf_example_decoder.TfExampleDecoder(label_map_proto_file=str(label_map_path))
        dataset = tf.data.TFRecordDataset(str(path)).map(decoder.decode)
        iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
        decoded = iterator.get_next()
        with tf.compat.v1.Session() as session:
            session.run([iterator.initializer, tf.compat.v1.tables_initializer()])
            for image, stored_wh in zip(labelled, stored_sizes):
                try:
                    example = session.run(decoded)
                except expected_errors as error:
                    raise _not_decoded(path, image.filename, len(labelled), error) from error
                _compare(path, image, stored_wh, label_map, example)
                yield len(image.boxes_xyxy)
            # One more read has to fail: the record would hold more images than the labels.
            try:
                session.run(decoded)
            except tf.errors.OutOfRangeError:
                return
            raise UserError(f"{path}: holds more than the expected {len(labelled)} images.")


def _not_decoded(path, filename, count, error):
    """The UserError for a TensorFlow error while the image ``filename`` is read back."""
    tf = tensorflow1.load()
    if isinstance(error, tf.errors.OutOfRangeError):
        return UserError(
            f"{path}: ends before {filename}; expected {count} images. Is the disk full?"
        )
    if isinstance(error, tf.errors.InvalidArgumentError):
        reason = error.message.split("\n")[0]
        return UserError(
            f"{path}: {filename} cannot be decoded by TensorFlow ({reason}). Save the image again "
            "as JPEG."
        )
    return UserError(
        f"{path}: is damaged before {filename} ({error.message}). Check the disk, then run step 04 "
        "again."
    )


def _compare(path, labelled, stored_wh, label_map, example):
    expected = boxes.to_normalised_yxyx(labelled.boxes_xyxy, labelled.size_wh)
    expected_ids = [label_map[cls] for cls in labelled.classes]
    expected_shape = (stored_wh[1], stored_wh[0], 3)
    found = example["groundtruth_boxes"]
    found_ids = example["groundtruth_classes"].tolist()
    found_name = example["source_id"].decode("utf-8")
    differences = []
    if found_name != labelled.filename:
        differences.append(f"name {found_name!r}")
    if example["image"].shape != expected_shape:
        differences.append(f"pixels of shape {example['image'].shape}, expected {expected_shape}")
    if len(found) != len(expected):
        differences.append(f"{len(found)} boxes, expected {len(expected)}")
    elif not np.allclose(found, expected, rtol=0, atol=COORDINATE_TOLERANCE):
        distance = np.abs(found - expected).max()
        differences.append(f"boxes off by up to {distance:.2g} of the image")
    if found_ids != expected_ids:
        differences.append(f"classes {sorted(set(found_ids))}")
    if differences:
        raise UserError(
            f"{path}: {labelled.filename} reads back with {'; '.join(differences)}. This is an "
            "error of step 04 or of the disk: run it again, and report it if it persists."
        )
