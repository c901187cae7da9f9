"""The frozen graph that object_detection's exporter writes, with neighbouring linear operations made one: the same boxes in less time.

* A batch norm after a convolution becomes part of that convolution's weights and a bias, by TensorFlow's own fold_batch_norms.
* A depthwise convolution and the 1 x 1 convolution behind it, as Inception V2 begins, become one convolution. With no bias and no
  activation between the two, its weights are w[h, w, c, o] = sum over m of depthwise[h, w, c, m] * pointwise[c * M + m, o]. On CPUs
  TensorFlow's depthwise kernel is so slow that the more numerous multiply-adds of the one take a fraction of the time.
"""

import collections

import numpy as np

from shelfdet.core import tensorflow1

NEXT_TO = {
    "Conv2D": ("DepthwiseConv2dNative",),
    "FusedBatchNormV3": ("Conv2D", "DepthwiseConv2dNative"),
}  # what may fold into what


def fold_file(source, target):
    """Writes the frozen graph in the file ``source`` to the file ``target``, folded."""
    definition = tensorflow1.load().compat.v1.GraphDef()
    definition.ParseFromString(source.read_bytes())
    target.write_bytes(folded(definition).SerializeToString())


def folded(definition):
    """The graph with all of these folded that it has; what does not fit the pattern stays as it is.

    Args:
      definition: tf.GraphDef of a frozen graph: all its weights are constants. It stays as it is.

    Returns:
      tf.GraphDef with the same inputs and outputs (operations that no other one reads), and the same values there but for rounding.
    """
    tf = tensorflow1.load()
    from tensorflow.python.tools import optimize_for_inference_lib

    users = _users(definition)
    outputs = [node.name for node in definition.node if not users[node.name]]
    # Without the Identity operations that the variables were read through, which hide the constants
    bare = tf.compat.v1.graph_util.remove_training_nodes(definition, protected_nodes=outputs)
    nodes, users = {node.name: node for node in bare.node}, _users(bare)
    for node in list(bare.node):
        before = nodes.get(node.input[0]) if node.op in NEXT_TO else None
        if (
            before is None
            or before.op not in NEXT_TO[node.op]
            or users[before.name] != 1
            or not all(
                _is_own_constant(tf, nodes, users, name)
                for name in list(before.input[1:]) + list(node.input[1:])
            )
        ):
            continue
        if node.op == "Conv2D":
            if _join(tf, before, node, nodes):
                bare.node.remove(nodes[before.input[1]])
                bare.node.remove(before)
        elif not node.attr["is_training"].b and not any(
            users[node.name + f":{output}"] for output in range(1, 6)
        ):
            node.op = "FusedBatchNorm"  # the only name that fold_batch_norms knows; V3 has one attribute more
            del node.attr["U"]
    return optimize_for_inference_lib.fold_batch_norms(bare)


def _users(definition):
    """Counter of how many inputs read an operation, by its name "a", and one of its outputs but the first, by "a:1"."""
    read = [name.lstrip("^") for node in definition.node for name in node.input]
    return collections.Counter(
        [name.split(":")[0] for name in read] + [name for name in read if ":" in name]
    )


def _is_own_constant(tf, nodes, users, name):
    return (
        name in nodes
        and nodes[name].op == "Const"
        and users[name] == 1
        and nodes[name].attr["dtype"].type == tf.float32.as_datatype_enum
    )


def _join(tf, depthwise, pointwise, nodes):
    """Makes ``pointwise`` do the work of both; returns whether it can, being a convolution that only mixes channels."""
    by_channel, mixing = (
        tf.make_ndarray(nodes[node.input[1]].attr["value"].tensor).astype(np.float64)
        for node in (depthwise, pointwise)
    )
    if (
        mixing.shape[:2] != (1, 1)
        or list(pointwise.attr["strides"].list.i) != [1, 1, 1, 1]
        or not (_is_plain(depthwise) and _is_plain(pointwise))
    ):
        return False
    channels, multiplier = by_channel.shape[2:]
    weights = np.einsum("hwcm,cmo->hwco", by_channel, mixing.reshape(channels, multiplier, -1))
    nodes[pointwise.input[1]].attr["value"].tensor.CopyFrom(
        tf.make_tensor_proto(weights.astype(np.float32))
    )
    pointwise.input[0] = depthwise.input[0]
    for name in ("strides", "padding"):
        pointwise.attr[name].CopyFrom(depthwise.attr[name])
    return True


def _is_plain(convolution):
    """Whether it has its channels last, no dilation, and padding of the two usual kinds."""
    return (
        convolution.attr["data_format"].s in (b"", b"NHWC")
        and list(convolution.attr["dilations"].list.i) in ([], [1, 1, 1, 1])
        and convolution.attr["padding"].s in (b"SAME", b"VALID")
    )
