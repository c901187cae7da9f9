"""Runs a frozen graph: pixels in, boxes, scores and classes out. The only module that does; it imports TensorFlow."""

import concurrent.futures
import os
import pathlib
import statistics
import time

import numpy as np

os.environ.setdefault(
    "TF_CPP_MIN_LOG_LEVEL", "2"
)  # TensorFlow tells of the processor's instructions otherwise
import tensorflow as tf
from google.protobuf.message import DecodeError

from shelfdet import UserError
from shelfdet.core import parallel, paths

# The names that object_detection/exporter.py gives to a detection graph's input and outputs.
INPUT = "image_tensor:0"
OUTPUTS = ("detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0")
RAW_OUTPUTS = ("raw_detection_boxes:0", "raw_detection_scores:0")
ROUNDS, WARM_IMAGES = 5, 4  # of a measurement of speed
REMEDY = f"Name a {paths.GRAPH_FILE} as step 07 writes it, or write it anew with `make export`."


class Detector:
    """A frozen detection graph, loaded once.

    ``detect`` may be called from several threads at a time: the session runs each call's operations on its caller's
    share of the cores, which for a small network is faster than splitting every operation over all of them.
    """

    def __init__(self, graph_path, callers=1):
        """Loads the graph.

        Args:
          graph_path: a frozen_inference_graph.pb with the inputs and outputs of object_detection's exporter.
          callers: how many threads will call ``detect`` at a time: one per core is fastest. With 1 a call gets all.

        Raises:
          UserError: missing, truncated, no graph, or a graph that does not detect.
        """
        self.path = pathlib.Path(graph_path)
        graph = _import(self.path, _read(self.path))
        # Variables are constants in a frozen graph, so the session starts without any initialisation.
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=max(1, parallel.workers() // callers),
            inter_op_parallelism_threads=callers,
        )
        config.gpu_options.allow_growth = True  # TF 1 otherwise takes the whole card
        session = tf.compat.v1.Session(graph=graph, config=config)
        self._run = session.make_callable(
            [graph.get_tensor_by_name(name) for name in OUTPUTS],
            feed_list=[graph.get_tensor_by_name(INPUT)],
        )

    def detect(self, pixels):
        """Everything the network finds in one image, whatever the score.

        Args:
          pixels: uint8 RGB of shape (height, width, 3), any size; the graph resizes it itself.

        Returns:
          (boxes_yxyx, scores, class_ids): float64 (N, 4) of ymin, xmin, ymax, xmax in 0 to 1 of the image, float64
          (N,) falling, int64 (N,) as in the label map.

        Raises:
          UserError: the graph cannot run on the image.
        """
        try:
            boxes_yxyx, scores, class_ids, count = self._run(
                pixels[None]
            )  # each with a leading batch axis of 1
        except (tf.errors.OpError, ValueError) as error:
            raise UserError(
                f"{self.path}: fails on an image of {pixels.shape[1]} x {pixels.shape[0]} pixels: {_first_line(error)}. Expected a graph that takes uint8 images of any size. {REMEDY}"
            ) from error
        count = int(count[0])  # the rest is padding up to max_total_detections
        order = np.argsort(-scores[0, :count], kind="stable")
        return (
            boxes_yxyx[0, order].astype(np.float64),
            scores[0, order].astype(np.float64),
            class_ids[0, order].astype(np.int64),
        )


def images_per_second(graph_paths, pixels):
    """How fast graphs are on decoded images, several at a time on all cores. They take turns, and the median of ROUNDS counts, so that a
    busy minute spoils no single one.

    Args:
      graph_paths: list of frozen graphs.
      pixels: list of images as ``Detector.detect`` takes them.

    Returns:
      list of images/s, one for each graph.
    """
    rates = [[] for _ in graph_paths]
    for number in list(range(len(graph_paths))) * ROUNDS:
        detector = Detector(graph_paths[number], parallel.workers())
        with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
            list(pool.map(detector.detect, pixels[:WARM_IMAGES]))
            began = time.time()
            list(pool.map(detector.detect, pixels))
            rates[number].append(len(pixels) / (time.time() - began))
    return [statistics.median(one) for one in rates]


def all_anchors(graph_path, pixels):
    """What a graph says of every anchor in one image, before any box is dropped for overlapping another.

    Args:
      graph_path, pixels: as ``Detector`` and its ``detect`` take them.

    Returns:
      (boxes_yxyx, scores): float32 (A, 4) in 0 to 1 of the image, float32 (A, 1 + classes), the background's first; A is the number
      of anchors.

    Raises:
      UserError: as ``Detector``, or the graph has no such outputs.
    """
    path = pathlib.Path(graph_path)
    graph = _import(path, _read(path), OUTPUTS + RAW_OUTPUTS)
    with tf.compat.v1.Session(graph=graph) as session:
        boxes_yxyx, scores = session.run(RAW_OUTPUTS, {INPUT: pixels[None]})
    return boxes_yxyx[0], scores[0]


def _read(path):
    """The GraphDef in the file at ``path``."""
    if not path.is_file():
        there = sorted(graph.parent.name for graph in paths.GRAPHS.glob("*/" + paths.GRAPH_FILE))
        raise UserError(
            f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a frozen graph. {REMEDY} In {paths.shown(paths.GRAPHS)} there are: {', '.join(there) or 'none'}."
        )
    data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise UserError(
            f"{path}: is a Git LFS pointer of {len(data)} bytes, not the graph itself. Run `git lfs pull`."
        )
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(data)
    except DecodeError as error:
        raise UserError(
            f"{path}: {len(data)} bytes that are no TensorFlow graph, or only part of one; expected a frozen graph. {REMEDY}"
        ) from error
    if not definition.node:
        raise UserError(
            f"{path}: {len(data)} bytes, a graph without any operation; expected a frozen graph. {REMEDY}"
        )
    return definition


def _import(path, definition, outputs=OUTPUTS):
    """The tf.Graph of ``definition``, which has a detector's input and these outputs."""
    names = {node.name for node in definition.node}
    missing = [name for name in (INPUT,) + outputs if name.split(":")[0] not in names]
    if missing:
        raise UserError(
            f"{path}: a graph of {len(names)} operations without {', '.join(missing)}; expected object_detection's frozen detection graph, or this file was cut off. {REMEDY}"
        )
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except ValueError as error:
        raise UserError(
            f"{path}: a graph that TensorFlow {tf.__version__} cannot build: {_first_line(error)}. {REMEDY}"
        ) from error
    return graph


def _first_line(error):
    return str(getattr(error, "message", None) or error).strip().split("\n")[0]
