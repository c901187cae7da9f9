"""Labelled images to tf.Examples in a TFRecord, and back through object_detection's own decoder."""

import hashlib
import io

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import boxes, tensorflow1
from shelfdet.data import images

JPEG_QUALITY = 95
# A normalised coordinate is a float32: within this of the truth after the round trip.
COORDINATE_TOLERANCE = 1e-6


def encode_image(path, size_wh, max_side, exif):
    """The bytes to store for one image; free of TensorFlow, so that worker processes can run it.

    A JPEG that TensorFlow decodes as it stands (RGB or grey, small enough, not to be turned) is stored byte for byte;
    anything else is decoded, shrunk and stored as RGB JPEG.

    Args:
      path: the image file.
      size_wh: its size as the label file states it.
      max_side: longest side to store, in pixels; 0 for any.
      exif: "ignore" or "apply", as in ``images.load``.

    Returns:
      (bytes, (width, height) of the stored image).

    Raises:
      UserError: unreadable, or not of the stated size.
    """
    info = images.inspect(path)
    turned = exif == "apply" and info.orientation != images.UPRIGHT
    found_wh = info.size_wh[::-1] if turned and info.orientation >= 5 else info.size_wh
    if tuple(found_wh) != tuple(size_wh):
        swapped = tuple(found_wh[::-1]) == tuple(size_wh)
        raise UserError(
            f"{path}: {found_wh[0]} x {found_wh[1]} pixels as TensorFlow decodes it; expected {size_wh[0]} x {size_wh[1]}, as its label rows say. {(f'It looks labelled in a viewer that turns images by their EXIF flag (here {info.orientation}): run steps 02 and 04 with --exif apply.' if swapped else 'Run step 02 again if the image was replaced or resized.')}"
        )
    stored_wh = images.shrunk_size(found_wh, max_side)
    if (
        info.format == "JPEG"
        and info.mode in ("RGB", "L")
        and stored_wh == tuple(found_wh)
        and not turned
    ):
        with open(str(path), "rb") as file:
            return file.read(), stored_wh
    pixels, _, _ = images.load(path, max_side=max_side, exif=exif)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue(), stored_wh


def to_example(labelled, encoded, stored_wh, label_map):
    """The tf.Example of one image, with the features that object_detection's TfExampleDecoder reads.

    Args:
      labelled: annotations.LabelledImage.
      encoded: JPEG bytes.
      stored_wh: (width, height) of the encoded image.
      label_map: dict of class name to id, 1 and up.

    Raises:
      UserError: a class that the label map does not have.
    """
    tf = tensorflow1.load()
    unknown = sorted(set(labelled.classes) - set(label_map))
    if unknown:
        raise UserError(
            f"{labelled.filename}: class {unknown[0]!r}; expected one of the label map's: {', '.join(sorted(label_map))}. Mend the label file or the label map."
        )
    ymin, xmin, ymax, xmax = boxes.to_normalised_yxyx(labelled.boxes_xyxy, labelled.size_wh).T
    name = labelled.filename.encode("utf-8")

    def text(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def integer(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def number(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/encoded": text(encoded),
                "image/format": text(b"jpeg"),
                "image/width": integer(stored_wh[0]),
                "image/height": integer(stored_wh[1]),
                "image/filename": text(name),
                "image/source_id": text(
                    name
                ),  # unique: the evaluator counts a second image of the same id as seen
                "image/key/sha256": text(hashlib.sha256(encoded).hexdigest().encode("ascii")),
                "image/object/bbox/xmin": number(xmin),
                "image/object/bbox/ymin": number(ymin),
                "image/object/bbox/xmax": number(xmax),
                "image/object/bbox/ymax": number(ymax),
                "image/object/class/text": text(*[cls.encode("utf-8") for cls in labelled.classes]),
                "image/object/class/label": integer(*[label_map[cls] for cls in labelled.classes]),
            }
        )
    )


def check(path, labelled_images, stored_sizes, label_map, label_map_path):
    """Reads a record back through object_detection's own decoder and compares every image and box with the labels.

    Args:
      path: the TFRecord.
      labelled_images: list of annotations.LabelledImage, in the record's order.
      stored_sizes: (width, height) of each image as stored.
      label_map: dict of class name to id.
      label_map_path: the file that it came from; the decoder reads it itself.

    Yields:
      The number of boxes of each image that agreed.

    Raises:
      UserError: the first image that differs, or a record with more or fewer of them.
    """
    tf = tensorflow1.load()
    from object_detection.data_decoders import tf_example_decoder

    with tf.Graph().as_default():
        decoder = tf_example_decoder.TfExampleDecoder(label_map_proto_file=str(label_map_path))
        dataset = tf.data.TFRecordDataset(str(path)).map(decoder.decode)
        iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
        decoded = iterator.get_next()
        with tf.compat.v1.Session() as session:
            session.run([iterator.initializer, tf.compat.v1.tables_initializer()])
            for labelled, stored_wh in zip(labelled_images, stored_sizes):
                try:
                    example = session.run(decoded)
                except tf.errors.DataLossError as error:
                    raise UserError(
                        f"{path}: is damaged before {labelled.filename} ({error.message}). Is the disk failing? Run step 04 again."
                    ) from error
                except tf.errors.InvalidArgumentError as error:
                    raise UserError(
                        "{}: {} cannot be decoded by TensorFlow ({}). Save the image anew as JPEG.".format(
                            path, labelled.filename, error.message.split("\n")[0]
                        )
                    ) from error
                except tf.errors.OutOfRangeError:
                    raise UserError(
                        f"{path}: ends before {labelled.filename}; expected {len(labelled_images)} images. Is the disk full?"
                    )
                _compare(path, labelled, stored_wh, label_map, example)
                yield len(labelled.boxes_xyxy)
            try:
                session.run(decoded)
            except tf.errors.OutOfRangeError:
                return
            raise UserError(f"{path}: holds more than the expected {len(labelled_images)} images.")


def _compare(path, labelled, stored_wh, label_map, example):
    expected = boxes.to_normalised_yxyx(labelled.boxes_xyxy, labelled.size_wh)
    found = example["groundtruth_boxes"]
    differences = []
    if example["source_id"].decode("utf-8") != labelled.filename:
        differences.append(f"name {example['source_id'].decode('utf-8')!r}")
    if example["image"].shape != (stored_wh[1], stored_wh[0], 3):
        differences.append(
            f"pixels of shape {example['image'].shape}, stated {(stored_wh[1], stored_wh[0], 3)}"
        )
    if len(found) != len(expected):
        differences.append(f"{len(found)} boxes, expected {len(expected)}")
    elif not np.allclose(found, expected, rtol=0, atol=COORDINATE_TOLERANCE):
        differences.append(f"boxes off by up to {np.abs(found - expected).max():.2g} of the image")
    if example["groundtruth_classes"].tolist() != [label_map[cls] for cls in labelled.classes]:
        differences.append(f"classes {sorted(set(example['groundtruth_classes'].tolist()))}")
    if differences:
        raise UserError(
            f"{path}: {labelled.filename} reads back with {'; '.join(differences)}. This is a fault of step 04 or of the disk: run it again, and report it if it stays."
        )
