"""A folded graph computes the same as the original; what does not fit the pattern is kept."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from shelfdet.core import paths
from shelfdet.inference import folding

GRAPH = paths.SHIPPED_GRAPH
EPSILON = 0.001  # of its batch norms
RANDOM = np.random.RandomState(0)
# (batch, height, width, channels). With a stride of 2, an even side is padded differently at its
# two ends, an odd one equally.
PIXELS = RANDOM.rand(1, 21, 30, 3).astype(np.float32)


def weights(*shape):
    return tf.constant(RANDOM.normal(size=shape).astype(np.float32))


def batch_norm(features, training=False):
    channels = int(features.shape[3])
    scale, offset, mean, variance = (
        tf.constant(RANDOM.uniform(0.5, 2, channels).astype(np.float32)) for _ in range(4)
    )
    if training:
        mean = variance = None
    return tf.compat.v1.nn.fused_batch_norm(
        features, scale, offset, mean, variance, epsilon=1e-3, is_training=training
    )[0]


def depthwise(features, stride=2, dilation=1, multiplier=8):
    return tf.nn.depthwise_conv2d(
        features,
        weights(5, 5, int(features.shape[3]), multiplier),
        [1, stride, stride, 1],
        "SAME",
        dilations=[dilation, dilation],
    )


def conv(features, width, outputs, stride=1, kernel=None):
    kernel = weights(width, width, int(features.shape[3]), outputs) if kernel is None else kernel
    return tf.nn.conv2d(features, kernel, stride, "SAME")


def inception_start(pixels):
    features = tf.nn.relu(batch_norm(conv(depthwise(pixels), 1, 6)))
    return tf.nn.relu6(batch_norm(conv(features, 3, 4)))


def strided_pointwise(pixels):
    return conv(depthwise(pixels, stride=1), 1, 6, stride=2)


def wide_pointwise(pixels):
    return conv(depthwise(pixels), 3, 6)


def dilated(pixels):
    native = tf.compat.v1.nn.depthwise_conv2d_native
    return conv(
        native(pixels, weights(5, 5, 3, 8), [1, 1, 1, 1], "SAME", dilations=[1, 2, 2, 1]), 1, 6
    )


def padded_pointwise(pixels):
    return tf.compat.v1.nn.conv2d(
        depthwise(pixels), weights(1, 1, 24, 6), [1, 1, 1, 1], [[0, 0], [1, 1], [2, 2], [0, 0]]
    )


def computed_weights(pixels):
    return conv(depthwise(pixels), 1, 6, kernel=weights(1, 1, 24, 6) + tf.reduce_sum(pixels))


def statistics_used(pixels):
    features, mean, _ = tf.compat.v1.nn.fused_batch_norm(
        conv(pixels, 3, 4), *(tf.ones(4) for _ in range(4)), is_training=False
    )
    return features + tf.zeros_like(
        mean
    )  # outside of training TensorFlow leaves its values undefined


def convolution_used_twice(pixels):
    features = conv(pixels, 3, 4)
    return batch_norm(features) + features


def bias_between(pixels):
    return conv(tf.nn.bias_add(depthwise(pixels), weights(24)), 1, 6)


def used_twice(pixels):
    features = depthwise(pixels)
    return conv(features, 1, 6) + features[:, :, :, :6]


def shared_weights(pixels):
    kernel = weights(3, 3, 3, 3)
    return batch_norm(conv(batch_norm(conv(pixels, 3, 3, kernel=kernel)), 3, 3, kernel=kernel))


def norm_of_the_batch(pixels):
    return batch_norm(conv(pixels, 3, 4), training=True)


def norm_without_convolution(pixels):
    return batch_norm(tf.nn.relu(pixels))


def run(definition):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(definition, name="")
        return session.run("output:0", {"pixels:0": PIXELS})


def build(network):
    with tf.Graph().as_default() as graph:
        tf.identity(
            network(tf.compat.v1.placeholder(tf.float32, (1, None, None, 3), name="pixels")),
            name="output",
        )
    return graph.as_graph_def()


def operations(definition):
    return collections.Counter(node.op for node in definition.node)


def test_the_start_of_inception_becomes_two_convolutions():
    definition = build(inception_start)
    before = definition.SerializeToString()
    folded = folding.fold(definition)
    assert definition.SerializeToString() == before
    found = operations(folded)
    assert (found["Conv2D"], found["BiasAdd"], found["Relu"], found["Relu6"]) == (2, 2, 1, 1)
    assert not {"DepthwiseConv2dNative", "FusedBatchNorm", "FusedBatchNormV3"} & set(found)
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "network, kept",
    [
        (dilated, "DepthwiseConv2dNative"),
        (padded_pointwise, "DepthwiseConv2dNative"),
        (strided_pointwise, "DepthwiseConv2dNative"),
        (wide_pointwise, "DepthwiseConv2dNative"),
        (computed_weights, "DepthwiseConv2dNative"),
        (bias_between, "DepthwiseConv2dNative"),
        (used_twice, "DepthwiseConv2dNative"),
        (shared_weights, "FusedBatchNormV3"),
        (convolution_used_twice, "FusedBatchNormV3"),
        (statistics_used, "FusedBatchNormV3"),
        (norm_of_the_batch, "FusedBatchNormV3"),
        (norm_without_convolution, "FusedBatchNormV3"),
    ],
)
def test_what_does_not_fit_is_kept_and_computes_the_same(network, kept):
    definition = build(network)
    folded = folding.fold(definition)
    assert operations(folded)[kept] == operations(definition)[kept] >= 1
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


def test_a_batch_norm_after_a_depthwise_convolution_is_folded():
    definition = build(lambda pixels: batch_norm(depthwise(pixels)))
    folded = folding.fold(definition)
    assert operations(folded)["FusedBatchNormV3"] == operations(folded)["FusedBatchNorm"] == 0
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


def unread(definition):
    read = {name.split(":")[0] for node in definition.node for name in node.input}
    return {node.name for node in definition.node if node.name not in read}


def test_no_unused_weights_are_left():
    definition = build(inception_start)
    assert unread(folding.fold(definition)) == unread(definition)


def frozen_constants(path):
    """{name: array} of all constants in a frozen graph."""
    definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    return {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in definition.node
        if node.op == "Const"
    }


def folded_weights(checkpoint, layer):
    """Weights of a convolution with its batch norm folded in: w * gamma / sqrt(variance + e)."""
    gamma = checkpoint.get_tensor(f"{layer}/BatchNorm/gamma")
    variance = checkpoint.get_tensor(f"{layer}/BatchNorm/moving_variance")
    scale = gamma / np.sqrt(variance + EPSILON)  # (outputs,)
    if not checkpoint.has_tensor(f"{layer}/pointwise_weights"):
        return checkpoint.get_tensor(f"{layer}/weights") * scale
    # The first layer: a depthwise convolution (h, w, 3, 8) and a 1 x 1 one (1, 1, 3 * 8, outputs).
    depthwise = checkpoint.get_tensor(f"{layer}/depthwise_weights")
    pointwise = checkpoint.get_tensor(f"{layer}/pointwise_weights").reshape(3, 8, -1)
    return np.einsum("hwcm,cmo->hwco", depthwise, pointwise) * scale


def test_the_shipped_checkpoint_holds_the_weights_of_the_frozen_graph():
    frozen = frozen_constants(GRAPH / "frozen_inference_graph.pb")
    checkpoint = tf.compat.v1.train.load_checkpoint(str(GRAPH / "model.ckpt"))
    names = checkpoint.get_variable_to_shape_map()
    suffix = "/BatchNorm/gamma"
    layers = [name[: -len(suffix)] for name in names if name.endswith(suffix)]
    assert len(layers) == 69
    for layer in layers:
        separable = checkpoint.has_tensor(f"{layer}/pointwise_weights")
        found = frozen[f"{layer}/pointwise_weights" if separable else f"{layer}/weights"]
        expected = folded_weights(checkpoint, layer)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=layer)
    predictors = [name for name in names if name.startswith("BoxPredictor_")]
    assert len(predictors) == 8
    assert all(np.array_equal(checkpoint.get_tensor(name), frozen[name]) for name in predictors)
