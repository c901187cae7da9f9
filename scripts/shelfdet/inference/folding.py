"""Folds batch norms and the first depthwise convolution of a frozen graph into convolutions.

The folded graph finds the same boxes in less time.

* A batch norm after a convolution becomes part of that convolution's weights and a bias, by
  TensorFlow's own fold_batch_norms.
* A depthwise convolution and the 1 x 1 convolution after it, with which Inception V2 starts, become
  one convolution. With no bias and no activation between the two, its weights are w[h, w, c, o] =
  sum over m of depthwise[h, w, c, m] * pointwise[c * M + m, o], where M is the number of outputs
  that depthwise has for each channel. It needs more multiply-adds; but TensorFlow's depthwise
  kernel is so slow on CPUs that it takes a fraction of the time.
"""

import collections
import pathlib
from typing import Any, Counter, Dict

import numpy as np

from shelfdet.core import tensorflow1

# TensorFlow's classes are imported when they are first needed.
GraphDef = Any
NodeDef = Any
Nodes = Dict[str, NodeDef]

# Operation -> the operations before it into which it may be folded
FOLDS_INTO = {
    "Conv2D": ("DepthwiseConv2dNative",),
    "FusedBatchNormV3": ("Conv2D", "DepthwiseConv2dNative"),
}
# A FusedBatchNormV3 has 6 outputs: the normalised features, and 5 statistics.
STATISTICS_OUTPUTS = range(1, 6)


def fold_file(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the frozen graph in the file ``source`` to the file ``target``, folded."""
    definition = tensorflow1.load().compat.v1.GraphDef()
    definition.ParseFromString(source.read_bytes())
    # Otherwise the order of attributes, and so the file, differs from run to run.
    target.write_bytes(fold(definition).SerializeToString(deterministic=True))


def fold(definition: GraphDef) -> GraphDef:
    """A folded copy of a graph; what does not fit one of the two patterns is kept.

    Args:
      definition: tf.GraphDef of a frozen graph, in which all weights are constants. It is not
        changed.

    Returns:
      tf.GraphDef with the same inputs and outputs (operations that no other operation reads), and
      the same values at the outputs, except for rounding.
    """
    tf = tensorflow1.load()
    from tensorflow.python.tools import optimize_for_inference_lib

    readers = _count_readers(definition)
    outputs = [node.name for node in definition.node if not readers[node.name]]
    # Variables were read through Identity operations, which hide the constants; this removes them.
    graph = tf.compat.v1.graph_util.remove_training_nodes(definition, protected_nodes=outputs)
    nodes = {node.name: node for node in graph.node}
    readers = _count_readers(graph)
    for node in list(graph.node):
        if not _can_fold(tf, node, nodes, readers):
            continue
        before = nodes[node.input[0]]
        if node.op == "Conv2D":
            if _is_mixing(tf, node, nodes) and _is_plain(before) and _is_plain(node):
                _merge_depthwise(tf, before, node, nodes)
                graph.node.remove(nodes[before.input[1]])
                graph.node.remove(before)
        elif _is_fixed_norm(node, readers):
            # fold_batch_norms finds only this name. V3 differs from it by one attribute.
            node.op = "FusedBatchNorm"
            del node.attr["U"]
    return optimize_for_inference_lib.fold_batch_norms(graph)


def _count_readers(definition: GraphDef) -> Counter[str]:
    """How many inputs read an operation, under "name", and its n-th further output, "name:n"."""
    inputs = [name.lstrip("^") for node in definition.node for name in node.input]
    readers = collections.Counter(name.split(":")[0] for name in inputs)
    readers.update(name for name in inputs if ":" in name)
    return readers


def _can_fold(tf: Any, node: NodeDef, nodes: Nodes, readers: Counter[str]) -> bool:
    """Whether ``node`` may be folded into the operation before it, which no other one reads."""
    if node.op not in FOLDS_INTO:
        return False
    before = nodes.get(node.input[0])
    if before is None or before.op not in FOLDS_INTO[node.op] or readers[before.name] != 1:
        return False
    weights = list(before.input[1:]) + list(node.input[1:])
    return all(_is_own_constant(tf, name, nodes, readers) for name in weights)


def _is_own_constant(tf: Any, name: str, nodes: Nodes, readers: Counter[str]) -> bool:
    """Whether ``name`` is a constant of floats that a single operation reads."""
    node = nodes.get(name)
    if node is None or node.op != "Const" or readers[name] != 1:
        return False
    return node.attr["dtype"].type == tf.float32.as_datatype_enum


def _is_fixed_norm(node: NodeDef, readers: Counter[str]) -> bool:
    """Whether a batch norm uses constant statistics, and nothing reads its own."""
    if node.attr["is_training"].b:
        return False
    return not any(readers[f"{node.name}:{output}"] for output in STATISTICS_OUTPUTS)


def _is_mixing(tf: Any, convolution: NodeDef, nodes: Nodes) -> bool:
    """Whether a convolution only mixes the channels of each pixel: 1 x 1, with a stride of 1."""
    weights = tf.make_ndarray(nodes[convolution.input[1]].attr["value"].tensor)
    strides = list(convolution.attr["strides"].list.i)
    return weights.shape[:2] == (1, 1) and strides == [1, 1, 1, 1]


def _is_plain(convolution: NodeDef) -> bool:
    """Whether its channels are last, without dilation, and its padding is SAME or VALID."""
    return (
        convolution.attr["data_format"].s in (b"", b"NHWC")
        and list(convolution.attr["dilations"].list.i) in ([], [1, 1, 1, 1])
        and convolution.attr["padding"].s in (b"SAME", b"VALID")
    )


def _merge_depthwise(tf: Any, depthwise: NodeDef, pointwise: NodeDef, nodes: Nodes) -> None:
    """Makes ``pointwise`` compute both, by the formula in the module's docstring."""
    depthwise_tensor = nodes[depthwise.input[1]].attr["value"].tensor
    pointwise_tensor = nodes[pointwise.input[1]].attr["value"].tensor
    by_channel = tf.make_ndarray(depthwise_tensor).astype(np.float64)  # (h, w, c, m)
    mixing = tf.make_ndarray(pointwise_tensor).astype(np.float64)  # (1, 1, c * m, o)
    channels, multiplier = by_channel.shape[2:]
    mixing = mixing.reshape(channels, multiplier, -1)  # (c, m, o)
    weights = np.einsum("hwcm,cmo->hwco", by_channel, mixing)
    pointwise_tensor.CopyFrom(tf.make_tensor_proto(weights.astype(np.float32)))
    pointwise.input[0] = depthwise.input[0]
    for name in ("strides", "padding"):
        pointwise.attr[name].CopyFrom(depthwise.attr[name])
