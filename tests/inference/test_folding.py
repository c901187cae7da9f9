"""A folded graph says what the one it was made from says, as TensorFlow runs both; what does not fit the pattern stays."""

import collections

import numpy as np
import pytest

import toy_graph
from conftest import ROOT, load_script
from shelfdet import UserError
from shelfdet.inference import folding

tf = pytest.importorskip("tensorflow")
GRAPH = (
    ROOT
    / "workspace"
    / "training_demo"
    / "trained-inference-graphs"
    / "ssd_inception_v2_shelf"
    / "frozen_inference_graph.pb"
)
RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.rand(1, 21, 30, 3).astype(
    np.float32
)  # an even side: a stride of 2 pads its two ends differently


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


def as_inception_begins(pixels):
    features = tf.nn.relu(batch_norm(conv(depthwise(pixels), 1, 6)))
    return tf.nn.relu6(batch_norm(conv(features, 3, 4)))


def strided_mixing(pixels):
    return conv(depthwise(pixels, stride=1), 1, 6, stride=2)


def wide_mixing(pixels):
    return conv(depthwise(pixels), 3, 6)


def dilated(pixels):
    native = tf.compat.v1.nn.depthwise_conv2d_native
    return conv(
        native(pixels, weights(5, 5, 3, 8), [1, 1, 1, 1], "SAME", dilations=[1, 2, 2, 1]), 1, 6
    )


def padded_mixing(pixels):
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


def built(network):
    with tf.Graph().as_default() as graph:
        tf.identity(
            network(tf.compat.v1.placeholder(tf.float32, (1, None, None, 3), name="pixels")),
            name="output",
        )
    return graph.as_graph_def()


def operations(definition):
    return collections.Counter(node.op for node in definition.node)


def test_what_inception_begins_with_becomes_two_convolutions():
    definition = built(as_inception_begins)
    before = definition.SerializeToString()
    folded = folding.folded(definition)
    assert definition.SerializeToString() == before
    found = operations(folded)
    assert (found["Conv2D"], found["BiasAdd"], found["Relu"], found["Relu6"]) == (2, 2, 1, 1)
    assert not {"DepthwiseConv2dNative", "FusedBatchNorm", "FusedBatchNormV3"} & set(found)
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "network, kept",
    [
        (dilated, "DepthwiseConv2dNative"),
        (padded_mixing, "DepthwiseConv2dNative"),
        (strided_mixing, "DepthwiseConv2dNative"),
        (wide_mixing, "DepthwiseConv2dNative"),
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
def test_what_does_not_fit_stays_and_says_the_same(network, kept):
    definition = built(network)
    folded = folding.folded(definition)
    assert operations(folded)[kept] == operations(definition)[kept] >= 1
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


def test_a_batch_norm_behind_a_depthwise_convolution_is_folded():
    definition = built(lambda pixels: batch_norm(depthwise(pixels)))
    folded = folding.folded(definition)
    assert operations(folded)["FusedBatchNormV3"] == operations(folded)["FusedBatchNorm"] == 0
    np.testing.assert_allclose(run(folded), run(definition), rtol=1e-4, atol=1e-4)


def unread(definition):
    read = {name.split(":")[0] for node in definition.node for name in node.input}
    return {node.name for node in definition.node if node.name not in read}


def test_no_weights_are_left_that_nothing_reads():
    definition = built(as_inception_begins)
    assert unread(folding.folded(definition)) == unread(definition)


def disturbed(path, value):
    """The shipped graph with ``value`` added to the scores of its first feature map, written to ``path``."""
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(GRAPH.read_bytes())
    bias = next(
        node for node in definition.node if node.name == "BoxPredictor_0/ClassPredictor/biases"
    )
    bias.attr["value"].tensor.CopyFrom(
        tf.make_tensor_proto(tf.make_ndarray(bias.attr["value"].tensor) + np.float32([0, value]))
    )
    path.write_bytes(definition.SerializeToString())
    return path


@pytest.mark.parametrize(
    "value, words",
    [(0.05, r"differ by up to [\d.e-]+ from"), (float("nan"), "differ by up to nan from")],
)
def test_step_07_refuses_a_folded_graph_that_says_something_else(
    tmp_path, monkeypatch, value, words
):
    step_07 = load_script("07_export_inference_graph")
    step_07.fold(GRAPH, tmp_path / "same.pb")
    monkeypatch.setattr(folding, "fold_file", lambda source, target: disturbed(target, value))
    with pytest.raises(
        UserError,
        match=words
        + r".*; expected 1e-05 at most. Export with --unfolded \(`make export UNFOLDED=1`\)",
    ):
        step_07.fold(GRAPH, tmp_path / "other.pb")


def test_step_07_says_how_to_go_on_with_a_graph_of_fewer_outputs(tmp_path):
    toy = toy_graph.write(tmp_path / "toy.pb")
    with pytest.raises(
        UserError,
        match="without raw_detection_boxes:0, raw_detection_scores:0; .* Or export with --unfolded",
    ):
        load_script("07_export_inference_graph").fold(toy, tmp_path / "folded.pb")


def test_step_07_refuses_a_checkpoint_of_nan(tmp_path):
    with pytest.raises(
        UserError, match="gives boxes or scores that are no finite numbers. Were the losses"
    ):
        load_script("07_export_inference_graph").fold(
            disturbed(tmp_path / "nan.pb", float("nan")), tmp_path / "folded.pb"
        )
