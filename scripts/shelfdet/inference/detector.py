"""Runs a frozen detection graph: pixels in, boxes, scores and classes out.

Importing this module loads TensorFlow.
"""

import pathlib
from typing import Optional, Tuple, Union

import numpy as np

from shelfdet.core import parallel, tensorflow_environment

tensorflow_environment.prepare(parallel.workers())  # TensorFlow reads it when it is imported
import tensorflow as tf
from google.protobuf.message import DecodeError

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.inference.graph_outputs import (
    INPUT,
    OUTPUTS,
    check_file,
    first_line,
    of_one_image,
)

RAW_OUTPUTS = ("raw_detection_boxes:0", "raw_detection_scores:0")

REMEDY = f"Name a {paths.GRAPH_FILE} as step 07 writes it, or write it again with `make export`."


class Detector:
    """A frozen detection graph, loaded once.

    ``detect`` may be called from several threads at a time. The session runs each call's operations
    on its caller's share of the cores, which for a small network is faster than splitting every
    operation over all of them.
    """

    runtime = "tensorflow"
    precision = "float32"

    def __init__(
        self,
        graph_path: Union[str, pathlib.Path],
        callers: int = 1,
        threads: Optional[int] = None,
        content: Optional[bytes] = None,
    ) -> None:
        """Loads the graph.

        Args:
          graph_path: a frozen_inference_graph.pb with the inputs and outputs of object_detection's
            exporter.
          callers: number of threads that will call ``detect`` at a time: one per core is fastest.
            With 1 a call uses all cores.
          threads: number of threads that compute an operation; None for the share of a caller.
          content: the bytes of the file, where they have been read already; ``graph_path`` is then
            only for messages.

        Raises:
          UserError: the file is missing, truncated or no TensorFlow graph, or the graph is not a
            detector.
        """
        self.path = pathlib.Path(graph_path)
        graph = _import(self.path, _read(self.path, content))
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads or max(1, parallel.workers() // callers),
            inter_op_parallelism_threads=callers,
        )
        config.gpu_options.allow_growth = True  # by default TF 1 reserves all memory of the GPU
        # The variables of a frozen graph are constants, so the session needs no initialisation.
        session = tf.compat.v1.Session(graph=graph, config=config)
        self._run = session.make_callable(
            [graph.get_tensor_by_name(name) for name in OUTPUTS],
            feed_list=[graph.get_tensor_by_name(INPUT)],
        )

    def detect(self, pixels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All detections in one image, of any score.

        Args:
          pixels: uint8 RGB of shape (height, width, 3), any size; the graph resizes it itself.

        Returns:
          (boxes_yxyx, scores, class_ids): float64 (N, 4) of ymin, xmin, ymax, xmax in 0 to 1 of the
            image, float64 (N,) falling, int64 (N,) as in the label map.

        Raises:
          UserError: the graph cannot run on the image.
        """
        batch = pixels[None]  # (1, height, width, 3)
        try:
            return of_one_image(self._run(batch))
        except (tf.errors.OpError, ValueError) as error:
            height, width = pixels.shape[:2]
            raise UserError(
                f"{self.path}: fails on an image of {width} x {height} pixels: "
                f"{first_line(error)}. Expected a graph that takes uint8 images of any size. "
                f"{REMEDY}"
            ) from error


def all_anchors(
    graph_path: Union[str, pathlib.Path], pixels: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """A graph's box and scores for every anchor in one image, before NMS.

    Args:
      graph_path: as ``Detector`` takes it.
      pixels: as ``Detector.detect`` takes them.

    Returns:
      (boxes_yxyx, scores): float32 (A, 4) of ymin, xmin, ymax, xmax in 0 to 1 of the image, and
        float32
      (A, 1 + classes) with the background's score first; A is the number of anchors.

    Raises:
      UserError: as ``Detector``, or the graph has no such outputs.
    """
    path = pathlib.Path(graph_path)
    graph = _import(path, _read(path), OUTPUTS + RAW_OUTPUTS)
    with tf.compat.v1.Session(graph=graph) as session:
        boxes_yxyx, scores = session.run(RAW_OUTPUTS, {INPUT: pixels[None]})  # (1, A, ...)
    return boxes_yxyx[0], scores[0]


def _read(path: pathlib.Path, data: Optional[bytes] = None) -> tf.compat.v1.GraphDef:
    """The GraphDef in the file at ``path``, whose bytes may have been read already."""
    if data is None:
        check_file(path)
        data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise UserError(
            f"{path}: is a Git LFS pointer of {len(data)} bytes, not the graph itself. "
            "Run `git lfs pull`."
        )
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(data)
    except DecodeError as error:
        raise UserError(
            f"{path}: {len(data)} bytes that are no TensorFlow graph, or only part of one; "
            f"expected a frozen graph. {REMEDY}"
        ) from error
    if not definition.node:
        raise UserError(
            f"{path}: {len(data)} bytes, a graph without any operation; expected a frozen graph. "
            f"{REMEDY}"
        )
    return definition


def _import(
    path: pathlib.Path,
    definition: tf.compat.v1.GraphDef,
    outputs: Tuple[str, ...] = OUTPUTS,
) -> tf.Graph:
    """The tf.Graph of ``definition``, checked to have a detector's input and these outputs."""
    names = {node.name for node in definition.node}
    missing = [tensor for tensor in (INPUT,) + outputs if tensor.split(":")[0] not in names]
    if missing:
        raise UserError(
            f"{path}: a graph of {len(names)} operations without {', '.join(missing)}; expected "
            f"object_detection's frozen detection graph, or this file was cut off. {REMEDY}"
        )
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except ValueError as error:
        raise UserError(
            f"{path}: a graph that TensorFlow {tf.__version__} cannot build: {first_line(error)}. "
            f"{REMEDY}"
        ) from error
    return graph
