"""Writes a frozen graph as a SavedModel for TensorFlow Serving: JPEG files in, detections out.

Images of a request may differ in size. Each is decoded, shrunk as step 08 does, and resized to the
network's input; the network then runs on all of them at a time.
"""

import pathlib
from typing import Any, List, Sequence, Tuple

import numpy as np

from shelfdet.core import tensorflow1
from shelfdet.inference import graph_outputs
from shelfdet.inference.deployment import network

# TensorFlow Serving's REST interface decodes base64 for an input whose name ends in _bytes.
INPUT = "image_bytes"

Detected = Tuple[np.ndarray, np.ndarray, np.ndarray]


def write(graph: pathlib.Path, config: pathlib.Path, target: pathlib.Path, max_side: int) -> None:
    """Writes the folder of a SavedModel with the signature serving_default.

    Args:
      graph: a frozen graph that ``inference.detector.Detector`` accepts.
      config: the pipeline.config that it was exported with.
      target: the folder, which must not exist. Its input is INPUT, strings of shape (batch,), each
        a JPEG file; its outputs have the names and shapes of the graph's.
      max_side: longer images are shrunk to this side.

    Raises:
      UserError: the config does not resize images as this module does, or the graph does not begin
        as object_detection's exporter writes it.
    """
    tf = tensorflow1.load()
    size_hw = network.input_size(config)
    cut = network.read(graph)
    with tf.Graph().as_default() as built:
        jpegs = tf.compat.v1.placeholder(tf.string, [None], INPUT)
        with tf.name_scope("jpegs_to_pixels"):
            pixels = tf.map_fn(
                lambda jpeg: _network_input(tf, jpeg, size_hw, max_side), jpegs, dtype=tf.float32
            )  # (batch, height, width, 3)
        outputs = network.outputs_for(tf, cut, pixels)
        with tf.compat.v1.Session(graph=built) as session:
            tf.compat.v1.saved_model.simple_save(
                session,
                str(target),
                {INPUT: jpegs},
                {output.op.name: output for output in outputs},
            )


def _network_input(tf: Any, jpeg: Any, size_hw: Tuple[int, int], max_side: int) -> Any:
    """One JPEG file (a string tensor) as float32 (height, width, 3) of the network's input."""
    return network.resized(tf, shrunk_pixels(tf, jpeg, max_side)[None], size_hw)[0]


def shrunk_pixels(tf: Any, jpeg: Any, max_side: int) -> Any:
    """The pixels of an image as ``data.images.load`` shrinks them.

    Args:
      tf: TensorFlow, in whose default graph the operations are made.
      jpeg: a JPEG (or PNG) file, a string tensor of shape ().
      max_side: as of ``data.images.load``.

    Returns:
      float32 (height, width, 3), RGB, whole numbers of 0 to 255.
    """
    decoded, sides, ratio = _decoded(tf, jpeg, max_side)
    shrunk_hw = tf.maximum(tf.cast(tf.round(sides * max_side / tf.reduce_max(sides)), tf.int32), 1)

    def shrunk(method):
        return lambda: _resized(tf, decoded, shrunk_hw, method)

    return tf.cond(
        tf.reduce_max(tf.shape(decoded)[:2]) <= max_side,
        lambda: decoded,
        # TensorFlow has no Hamming filter; bicubic is the nearest to it.
        lambda: tf.cond(ratio > 1, shrunk("bicubic"), shrunk("lanczos3")),
    )


def _decoded(tf: Any, jpeg: Any, max_side: int) -> Tuple[Any, Any, Any]:
    """Decodes a large JPEG at the size at which ``data.images.load`` decodes it.

    Returns:
      (pixels, sides, ratio): float32 (height, width, 3), RGB; int32 (2,), height and width of the
      image in the file; int32 (), 1, 2, 4 or 8, the part of its size at which it is decoded.
    """

    def at(ratio):
        # Pillow decodes with this DCT, too; TensorFlow's default is a faster, less accurate one.
        return lambda: tf.io.decode_jpeg(
            jpeg, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
        )

    is_jpeg = tf.image.is_jpeg(jpeg)
    in_file = tf.cond(
        is_jpeg, lambda: tf.image.extract_jpeg_shape(jpeg)[:2], lambda: tf.zeros([2], tf.int32)
    )
    ratio = tf.cond(is_jpeg, lambda: _draft_ratio(tf, in_file, max_side), lambda: 1)
    smaller = [(tf.equal(ratio, known), at(known)) for known in (2, 4, 8)]
    pixels = tf.cast(tf.case(smaller, at(1)), tf.float32)
    sides = tf.where(is_jpeg, in_file, tf.shape(pixels)[:2])
    # The decoder rounds up: the last row or column is beyond the image by more than half.
    height, width = tf.unstack(tf.cast(tf.round(sides / ratio), tf.int32))
    return pixels[:height, :width], sides, ratio


def _draft_ratio(tf: Any, sides: Any, max_side: int) -> Any:
    """1, 2, 4 or 8: the part of its size at which a JPEG is decoded, as by ``images.load``."""
    longest = tf.reduce_max(sides)
    shrunk = tf.cast(tf.round(sides * max_side / longest), tf.int32)
    least = tf.minimum(shrunk, -(-max_side // 2))  # images.least_draft_size
    ratio = tf.reduce_min(sides // tf.maximum(least, 1))
    ratios = tf.constant([1, 2, 4, 8])
    fitting = tf.where(ratios <= ratio, ratios, tf.ones_like(ratios))
    return tf.where(longest <= max_side, 1, tf.reduce_max(fitting))


def _resized(tf: Any, pixels: Any, size_hw: Any, method: str) -> Any:
    resized = tf.compat.v2.image.resize(pixels, size_hw, method=method, antialias=True)
    return tf.clip_by_value(tf.round(resized), 0, 255)  # as uint8 pixels are


class ServedDetector:
    """A SavedModel as TensorFlow Serving runs it."""

    precision = "float32"

    def __init__(self, folder: pathlib.Path) -> None:
        """Loads the SavedModel in ``folder``."""
        tf = tensorflow1.load()
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        signature = loaded.signature_def["serving_default"]
        self._input = signature.inputs[INPUT].name
        self._outputs = [
            signature.outputs[name.split(":")[0]].name for name in graph_outputs.OUTPUTS
        ]

    def detect(self, image_files: Sequence[bytes]) -> List[Detected]:
        """All detections in a batch of images.

        Args:
          image_files: the content of JPEG (or PNG) files.

        Returns:
          for each image what ``inference.detector.Detector.detect`` returns.
        """
        outputs = self._session.run(self._outputs, {self._input: list(image_files)})
        return [
            graph_outputs.of_one_image([output[index : index + 1] for output in outputs])
            for index in range(len(image_files))
        ]
