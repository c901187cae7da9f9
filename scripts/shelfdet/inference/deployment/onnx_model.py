"""Writes a frozen graph as an ONNX model, with the same input and outputs."""

import logging
import pathlib

from shelfdet import UserError
from shelfdet.core import deploy_packages, tensorflow1
from shelfdet.inference import graph_outputs
from shelfdet.inference.deployment import network

# The lowest version of ONNX's operations with all that the graph needs: old runtimes know it, too.
OPSET = 13


def write(graph: pathlib.Path, config: pathlib.Path, target: pathlib.Path) -> None:
    """Converts a frozen graph with tf2onnx.

    Args:
      graph: a frozen graph that ``inference.detector.Detector`` accepts.
      config: the pipeline.config that it was exported with.
      target: the file to write. Its input is uint8 RGB of shape (batch, height, width, 3), its
        outputs are those of the graph, all float32.

    Raises:
      UserError: tf2onnx is not installed or cannot convert an operation, the graph does not begin
        as object_detection's exporter writes it, or the config does not give one input size.
    """
    tf = tensorflow1.load()
    tf2onnx = deploy_packages.load("tf2onnx")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    size_hw = network.input_size(config)
    cut = network.read(graph)
    with tf.Graph().as_default() as built:
        pixels = tf.compat.v1.placeholder(
            tf.uint8, [None, None, None, 3], graph_outputs.INPUT.split(":")[0]
        )
        network.outputs_for(tf, cut, network.resized(tf, pixels, size_hw))
    try:
        tf2onnx.convert.from_graph_def(
            built.as_graph_def(),
            input_names=[graph_outputs.INPUT],
            output_names=list(graph_outputs.OUTPUTS),
            opset=OPSET,
            output_path=str(target),
        )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{graph}: tf2onnx cannot convert it to ONNX ({graph_outputs.first_line(error)}); "
            "expected a graph as step 07 exports it. Export it again with `make export`."
        ) from error
