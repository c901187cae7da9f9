"""The network of a frozen graph without its own resizing, for inputs of another kind.

object_detection's exporter resizes the images of a batch one at a time, in a loop. Converters see
no shape behind it, and cannot tell the bias of a convolution from another addition.
"""

import pathlib
from typing import Any, List, Tuple

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import tensorflow1
from shelfdet.inference import graph_outputs

# Outputs of the loop: the resized images, float32 (batch, height, width, 3), and their size in it,
# int32 (batch, 3) of height, width, 3.
RESIZED = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3"
TRUE_SHAPES = "Preprocessor/map/TensorArrayStack_1/TensorArrayGatherV3"


def read(graph: pathlib.Path) -> Any:
    """The GraphDef of a frozen graph, with placeholders in place of the loop.

    Args:
      graph: a frozen graph that ``inference.detector.Detector`` accepts.

    Raises:
      UserError: it does not begin as object_detection's exporter writes it.
    """
    tf = tensorflow1.load()
    definition = tf.compat.v1.GraphDef.FromString(graph.read_bytes())
    nodes = {node.name: node for node in definition.node}
    for name, kind in ((RESIZED, tf.float32), (TRUE_SHAPES, tf.int32)):
        if name not in nodes:
            raise _other_graph(graph, f"has no {name}")
        nodes[name].Clear()
        nodes[name].name = name
        nodes[name].op = "Placeholder"
        nodes[name].attr["dtype"].type = kind.as_datatype_enum
    outputs = [name.split(":")[0] for name in graph_outputs.OUTPUTS]
    cut = tf.compat.v1.graph_util.extract_sub_graph(definition, outputs)
    if any(node.name == graph_outputs.INPUT.split(":")[0] for node in cut.node):
        raise _other_graph(graph, f"uses {graph_outputs.INPUT} not only in its preprocessing")
    return cut


def outputs_for(tf: Any, cut: Any, resized: Any) -> List[Any]:
    """Imports the network into the current tf.Graph.

    Args:
      tf: tensorflow.
      cut: as ``read`` returns it.
      resized: float32 tensor (batch, height, width, 3) of the network's input size, 0 to 255.

    Returns:
      the tensors of graph_outputs.OUTPUTS.
    """
    shape = [int(side) for side in resized.shape[1:]]
    true_shapes = tf.tile(tf.constant([shape], tf.int32), [tf.shape(resized)[0], 1])
    return tf.import_graph_def(
        cut,
        {f"{RESIZED}:0": resized, f"{TRUE_SHAPES}:0": true_shapes},
        list(graph_outputs.OUTPUTS),
        name="",
    )


def resized(tf: Any, pixels: Any, size_hw: Tuple[int, int]) -> Any:
    """Resizes images, (batch, height, width, 3), as object_detection's preprocessor does."""
    floats = tf.cast(pixels, tf.float32)
    return tf.compat.v1.image.resize_images(floats, size_hw, align_corners=False)


def input_size(config: pathlib.Path) -> Tuple[int, int]:
    """The (height, width) to which a network of a pipeline.config resizes its input.

    Raises:
      UserError: the size depends on the image, or the filter is not bilinear.
    """
    resizer = pipeline.read(config).model.ssd.image_resizer
    fixed = resizer.fixed_shape_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind != "fixed_shape_resizer" or fixed.resize_method != 0 or fixed.convert_to_grayscale:
        raise UserError(
            f"{config}: image_resizer is {kind or 'not set'} with other values than a size; "
            "expected a fixed_shape_resizer with height and width alone, because all images of a "
            "batch must have one size. Train with that."
        )
    return fixed.height, fixed.width


def _other_graph(graph: pathlib.Path, found: str) -> UserError:
    return UserError(
        f"{graph}: {found}; expected a graph that begins as object_detection's exporter writes it. "
        "Export it again with `make export`."
    )
