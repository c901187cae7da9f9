"""Labelled images to one TFRecord file, read back with object_detection's own decoder.

``record_writing`` writes the records of step 04 with it.
"""

import hashlib
import io
import pathlib
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import boxes, files, shards, tensorflow1, tiles
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import images
from shelfdet.data.examples import Example, tile_of

# A normalised coordinate is stored as float32: the error of that is below this.
COORDINATE_TOLERANCE = 1e-6

Size = Tuple[int, int]


def write(
    path: pathlib.Path,
    found: Iterable[Example],
    encoded: Iterable[Tuple[bytes, Size]],
    label_map: Dict[str, int],
) -> List[Size]:
    """Writes one record, example by example.

    Args:
      path: the file to write.
      found: the examples with their boxes.
      encoded: (bytes, stored_wh) of each, as ``encode_parts`` returns them, in the same order.
      label_map: class name to id.

    Returns:
      (width, height) of each example as stored.

    Raises:
      UserError: a class that the label map does not have, or a disk that is full.
    """
    tf = tensorflow1.load()
    stored_sizes = []
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example, (data, stored_wh) in zip(found, encoded):
                proto = to_example(example, data, stored_wh, label_map)
                # Otherwise the order of the features, and so the file, differs from run to run.
                writer.write(proto.SerializeToString(deterministic=True))
                stored_sizes.append(stored_wh)
    except tf.errors.OpError as error:
        # TensorFlow's own error for a disk that is full.
        raise UserError(files.writing_failed(path, OSError(None, error.message))) from error
    return stored_sizes


def encode_parts(
    path: pathlib.Path,
    size_wh: Size,
    parts: Sequence[Optional[tiles.Tile]],
    max_side: int,
    exif: str,
) -> List[Tuple[bytes, Size]]:
    """The bytes to store for an image or its tiles; without TensorFlow: worker processes run it.

    A JPEG that TensorFlow decodes unchanged (RGB or grey, small enough, not to be rotated) is
    stored byte for byte where it is not divided. Anything else is decoded, cut, shrunk and stored
    as RGB JPEG: tiles are compressed a second time, but at a higher quality than photographs have.

    Args:
      path: the image file.
      size_wh: its (width, height) as the label file states it.
      parts: tiles in its pixels; None stands for the whole image.
      max_side: longest side to store, in pixels; 0 for no limit.
      exif: "ignore" or "apply", as in ``images.load``.

    Returns:
      (bytes, (width, height) as stored) of each of ``parts``.

    Raises:
      UserError: the image cannot be decoded, or is not of the stated size.
    """
    info = images.inspect(path)
    rotated = exif == "apply" and info.orientation != images.UPRIGHT
    found_wh = info.size_wh
    if rotated and images.is_sideways(info.orientation):
        found_wh = found_wh[::-1]
    if tuple(found_wh) != tuple(size_wh):
        raise UserError(_size_differs(path, found_wh, size_wh, info.orientation))
    # Encoding a JPEG a second time would lose quality.
    as_it_is = (
        images.shrunk_size(found_wh, max_side) == tuple(found_wh)
        and not rotated
        and info.format == "JPEG"
        and info.mode in ("RGB", "L")
    )
    pixels = None
    if any(tile is not None for tile in parts):
        pixels = images.load(path, exif=exif).pixels
    encoded = []
    for tile in parts:
        if tile is not None:
            left, top, right, bottom = tile
            encoded.append(_as_jpeg(images.shrunk(pixels[top:bottom, left:right], max_side)))
        elif as_it_is:
            encoded.append((path.read_bytes(), tuple(found_wh)))
        else:
            encoded.append(_as_jpeg(images.load(path, max_side, exif).pixels))
    return encoded


def _as_jpeg(pixels: np.ndarray) -> Tuple[bytes, Size]:
    """(JPEG, (width, height)) of uint8 RGB pixels (height, width, 3)."""
    buffer = io.BytesIO()
    # Without chroma subsampling, which would halve the resolution of colours.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=images.JPEG_QUALITY, subsampling=0)
    return buffer.getvalue(), pixels.shape[1::-1]


def _size_differs(path, found_wh, stated_wh, orientation):
    remedy = "Run step 02 again if the image was replaced or resized."
    if tuple(found_wh[::-1]) == tuple(stated_wh):
        remedy = (
            "It seems to be annotated in a viewer that applies the EXIF orientation (here "
            f"{orientation}): run steps 02 and 04 with {both('--exif apply')}."
        )
    return (
        f"{path}: {found_wh[0]} x {found_wh[1]} pixels as TensorFlow decodes it; expected "
        f"{stated_wh[0]} x {stated_wh[1]}, as its label rows say. {remedy}"
    )


def to_example(example: Example, encoded: bytes, stored_wh: Size, label_map: Dict[str, int]) -> Any:
    """The tf.train.Example of one example, with the features that TfExampleDecoder reads.

    Args:
      example: name, size and boxes.
      encoded: JPEG bytes.
      stored_wh: (width, height) of the encoded image.
      label_map: class name to id, 1 and up.

    Raises:
      UserError: a class that the label map does not have.
    """
    tf = tensorflow1.load()
    labelled = example.labelled
    boxes_yxyx, classes, weights = _all_boxes(example)
    unknown = sorted(set(classes) - set(label_map))
    if unknown:
        raise UserError(
            f"{labelled.filename}: class {unknown[0]!r}; expected one of the label map's: "
            f"{', '.join(sorted(label_map))}. Correct the label file or the label map."
        )
    ymin, xmin, ymax, xmax = boxes_yxyx.T
    digest = hashlib.sha256(encoded).hexdigest()

    def bytes_feature(values: Iterable[bytes]) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def int_feature(values: Iterable[int]) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def float_feature(values: Iterable[float]) -> Any:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    feature = {
        "image/encoded": bytes_feature([encoded]),
        "image/format": bytes_feature([b"jpeg"]),
        "image/width": int_feature([stored_wh[0]]),
        "image/height": int_feature([stored_wh[1]]),
        "image/filename": bytes_feature([labelled.filename.encode("utf-8")]),
        # Must be unique: the evaluator ignores a second image of the same id.
        "image/source_id": bytes_feature([example.source_id.encode("utf-8")]),
        "image/key/sha256": bytes_feature([digest.encode("ascii")]),
        "image/object/bbox/xmin": float_feature(xmin),
        "image/object/bbox/ymin": float_feature(ymin),
        "image/object/bbox/xmax": float_feature(xmax),
        "image/object/bbox/ymax": float_feature(ymax),
        "image/object/class/text": bytes_feature([cls.encode("utf-8") for cls in classes]),
        "image/object/class/label": int_feature([label_map[cls] for cls in classes]),
    }
    if example.ignored is not None:
        feature["image/object/weight"] = float_feature(weights)
        feature["image/object/is_crowd"] = int_feature([int(weight == 0) for weight in weights])
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _all_boxes(example: Example) -> Tuple[np.ndarray, Tuple[str, ...], np.ndarray]:
    """(normalised boxes (N, 4), their classes, their weights): labelled, then ignored ones."""
    parts = [example.labelled] + ([example.ignored] if example.ignored is not None else [])
    boxes_yxyx = [boxes.to_normalised_yxyx(part.boxes_xyxy, part.size_wh) for part in parts]
    counts = [len(part.classes) for part in parts]
    classes = tuple(cls for part in parts for cls in part.classes)
    return np.concatenate(boxes_yxyx), classes, np.repeat([1.0, 0.0][: len(parts)], counts)


def check(
    path: pathlib.Path,
    found: Sequence[Example],
    stored_sizes: Sequence[Size],
    label_map: Dict[str, int],
    label_map_path: pathlib.Path,
    threads: int = 0,
) -> Iterator[int]:
    """Reads a record back with TfExampleDecoder and compares every image and box with the labels.

    Args:
      path: the TFRecord.
      found: the examples, in the record's order.
      stored_sizes: (width, height) of each example as stored.
      label_map: class name to id.
      label_map_path: the file that it came from; the decoder reads it itself.
      threads: that TensorFlow may use; 0 is one a core.

    Yields:
      The number of boxes of each example, with the ignored ones, once it agrees.

    Raises:
      UserError: the first example that differs, or a record with more or fewer of them.
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
        next_decoded = iterator.get_next()
        limits = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        with tf.compat.v1.Session(config=limits) as session:
            session.run([iterator.initializer, tf.compat.v1.tables_initializer()])
            for example, stored_wh in zip(found, stored_sizes):
                try:
                    decoded = session.run(next_decoded)
                except expected_errors as error:
                    raise _not_decoded(path, example.source_id, len(found), error) from error
                _compare(path, example, stored_wh, label_map, decoded)
                yield len(decoded["groundtruth_boxes"])
            # One more read has to fail: the record would hold more images than the labels.
            try:
                session.run(next_decoded)
            except tf.errors.OutOfRangeError:
                return
            raise UserError(f"{path}: holds more than the expected {counted(len(found), 'image')}.")


def stored_sizes(path: pathlib.Path) -> List[Size]:
    """(width, height) of each example of a record that has been checked before.

    Raises:
      UserError: it cannot be read to its end.
    """
    tf = tensorflow1.load()
    from google.protobuf import message

    sizes = []
    try:
        for data in tf.compat.v1.io.tf_record_iterator(str(path)):
            features = tf.train.Example.FromString(data).features.feature
            sides = [features[f"image/{side}"].int64_list.value[0] for side in ("width", "height")]
            sizes.append(tuple(sides))
    except (tf.errors.OpError, message.DecodeError, IndexError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected a record. Run step 04."
        ) from error
    return sizes


def holds_tiles(record: pathlib.Path) -> bool:
    """Whether a record, or its shards, has tiles; False where there is none that can be read."""
    tf = tensorflow1.load()
    from google.protobuf import message

    try:
        for path in [record] if record.is_file() else shards.present(record):
            for data in tf.compat.v1.io.tf_record_iterator(str(path)):
                features = tf.train.Example.FromString(data).features.feature
                (source_id,) = features["image/source_id"].bytes_list.value
                if tile_of(source_id.decode("utf-8", "replace")):
                    return True
    # Step 05 says what is wrong with the record; nothing else depends on it here.
    except (tf.errors.OpError, message.DecodeError, ValueError):
        return False
    return False


def _not_decoded(path, filename, count, error):
    """The UserError for a TensorFlow error while the image ``filename`` is read back."""
    tf = tensorflow1.load()
    if isinstance(error, tf.errors.OutOfRangeError):
        return UserError(
            f"{path}: ends before {filename}; expected {counted(count, 'image')}. Is the disk full?"
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


def _compare(path, example, stored_wh, label_map, decoded):
    expected, classes, weights = _all_boxes(example)
    expected_ids = [label_map[cls] for cls in classes]
    expected_shape = (stored_wh[1], stored_wh[0], 3)
    found = decoded["groundtruth_boxes"]
    found_ids = decoded["groundtruth_classes"].tolist()
    found_name = decoded["source_id"].decode("utf-8")
    differences = []
    if found_name != example.source_id:
        differences.append(f"name {found_name!r}")
    if decoded["image"].shape != expected_shape:
        differences.append(f"pixels of shape {decoded['image'].shape}, expected {expected_shape}")
    if len(found) != len(expected):
        differences.append(f"{counted(len(found), 'box')}, expected {len(expected)}")
    elif not np.allclose(found, expected, rtol=0, atol=COORDINATE_TOLERANCE):
        distance = np.abs(found - expected).max()
        differences.append(f"boxes off by up to {distance:.2g} of the image")
    if found_ids != expected_ids:
        differences.append(f"classes {sorted(set(found_ids))}")
    if decoded["groundtruth_weights"].tolist() != weights.tolist():
        differences.append("other ignored boxes")
    if differences:
        raise UserError(
            f"{path}: {example.source_id} reads back with {'; '.join(differences)}. This is an "
            "error of step 04 or of the disk: run it again, and report it if it persists."
        )
