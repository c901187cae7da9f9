"""What training begins with: the zoo's feature extractor alone, or with --start-from all of another detector's weights.

The zoo's own file is large and elsewhere; this makes one of its names and shapes: the zoo's model (90 classes, six layers, its anchors,
depth 1.0), every weight and statistic filled with values that no initialiser gives.
"""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from shelfdet.data import labels, records

CONFIG = ROOT / "workspace" / "training_demo" / "training" / "ssd_inception_v2_coco.config"
SHIPPED = (
    ROOT / "workspace" / "training_demo" / "trained-inference-graphs" / "ssd_inception_v2_shelf"
)
ZOO_ANCHORS = "ssd_anchor_generator { num_layers: 6 aspect_ratios: [1.0, 2.0, 0.5, 3.0, 0.3333] reduce_boxes_in_lowest_layer: true }"
MADE = 0.0078125


def substitute(text, *pairs):
    for pattern, new in pairs:
        text, count = re.subn(pattern, new, text)
        assert count, pattern
    return text


def make_zoo_checkpoint(prefix):
    """Saves the zoo's model, every variable MADE, under ``prefix``; returns the names and shapes of its variables."""
    import tensorflow as tf
    from google.protobuf import text_format
    from object_detection.builders import model_builder
    from object_detection.protos import pipeline_pb2

    text = substitute(
        CONFIG.read_text(),
        (r"num_classes: 1\b", "num_classes: 90"),
        (r"num_layers: 2\b", "num_layers: 6"),
        (r"ssd_anchor_generator \{[^}]*\}", ZOO_ANCHORS),
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = model_builder.build(
            text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()).model, is_training=False
        )
        pixels, true_shapes = model.preprocess(tf.zeros([1, 300, 300, 3]))
        model.predict(pixels, true_shapes)
        variables = tf.compat.v1.global_variables()
        session.run([variable.assign(tf.fill(variable.shape, MADE)) for variable in variables])
        tf.compat.v1.train.Saver(variables).save(session, str(prefix))
        return {variable.op.name: variable.shape.as_list() for variable in variables}


def small(text, folder):
    """The config on a made record, at 96 x 96 pixels, for one step that changes no weight."""
    text = re.sub(r"(warmup_steps|num_steps|total_steps): \d+", r"\1: 1", text).replace(
        "warmup_steps: 1\n", "warmup_steps: 0\n"
    )
    return substitute(
        text,
        (r'"[^"]*/label_map.pbtxt"', f'"{folder / "label_map.pbtxt"}"'),
        (r'"[^"]*\.record"', f'"{folder / "a.record"}"'),
        (r"height: 512", "height: 96"),
        (r"width: 512", "width: 96"),
        (r"batch_size: \d+", "batch_size: 1"),
        (r"(initial_learning_rate|learning_rate_base): [\d.]+", r"\1: 1e-30"),
    )


def make_record(folder):
    import tensorflow as tf
    from PIL import Image

    (folder / "label_map.pbtxt").write_text('item {\n  id: 1\n  name: "product"\n}\n')
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (96, 96, 3)).astype(np.uint8)).save(
        str(folder / "a.jpg")
    )
    labelled = labels.LabelledImage(
        "a.jpg", (96, 96), np.array([[10.0, 10.0, 40.0, 60.0]]), ("product",)
    )
    with tf.io.TFRecordWriter(str(folder / "a.record")) as writer:
        writer.write(
            records.to_example(
                labelled, (folder / "a.jpg").read_bytes(), (96, 96), {"product": 1}
            ).SerializeToString()
        )


def test_feature_extractor_is_restored_and_predictors_are_not(tmp_path):
    tf = pytest.importorskip("tensorflow")
    shapes = make_zoo_checkpoint(tmp_path / "model.ckpt")
    # Names and shapes as the zoo's ssd_inception_v2_coco_2018_01_28 has them
    assert shapes["FeatureExtractor/InceptionV2/Mixed_4c/Branch_0/Conv2d_0a_1x1/weights"] == [
        1,
        1,
        576,
        192,
    ]
    assert shapes["BoxPredictor_0/ClassPredictor/weights"] == [3, 3, 576, 3 * 91]
    make_record(tmp_path)
    config = tmp_path / "fine_tune.config"
    config.write_text(
        substitute(
            small(CONFIG.read_text(), tmp_path),
            (r'"[^"]*/model.ckpt"', f'"{tmp_path / "model.ckpt"}"'),
        )
    )
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "training" / "06_train.py"),
            "--config",
            str(config),
            "--run-dir",
            str(tmp_path / "run"),
        ],
        check=True,
    )
    reader = tf.compat.v1.train.load_checkpoint(str(tmp_path / "run" / "model.ckpt-1"))
    trained = [
        name
        for name in reader.get_variable_to_shape_map()
        if name in shapes and "moving_" not in name
    ]
    extractor = [name for name in trained if name.startswith("FeatureExtractor/")]
    assert len(extractor) > 100 and all(
        np.allclose(reader.get_tensor(name), MADE) for name in extractor
    )
    predictor = [
        name for name in trained if name.startswith("BoxPredictor_") and name.endswith("/weights")
    ]
    assert len(predictor) == 4 and not any(
        np.allclose(reader.get_tensor(name), MADE) for name in predictor
    )


def test_start_from_the_graph_that_ships_takes_all_its_weights(tmp_path):
    tf = pytest.importorskip("tensorflow")
    make_record(tmp_path)
    (tmp_path / "a.config").write_text(small((SHIPPED / "pipeline.config").read_text(), tmp_path))
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "training" / "06_train.py"),
            "--config",
            str(tmp_path / "a.config"),
            "--run-dir",
            str(tmp_path / "run"),
            "--start-from",
            str(SHIPPED),
        ],
        check=True,
    )
    stored, trained = (
        tf.compat.v1.train.load_checkpoint(str(prefix))
        for prefix in (SHIPPED / "model.ckpt", tmp_path / "run" / "model.ckpt-1")
    )
    names = [
        name
        for name in stored.get_variable_to_shape_map()
        if "moving_" not in name and name != "global_step"
    ]
    assert len(names) > 200 and "BoxPredictor_0/BoxEncodingPredictor/weights" in names
    assert all(
        np.allclose(stored.get_tensor(name), trained.get_tensor(name), atol=1e-7) for name in names
    )
    assert "Adam" not in " ".join(stored.get_variable_to_shape_map()), (
        "the optimizer's slots are not shipped"
    )
    seen = json.loads((tmp_path / "run" / "trained_on.json").read_text())["before"]
    assert (
        len(seen) == 283 and "C1_P01_N1_S2_1.JPG" in seen
    )  # the official training side, validation included


def test_the_shipped_checkpoint_holds_the_frozen_graphs_weights():
    tf = pytest.importorskip("tensorflow")
    definition = tf.compat.v1.GraphDef.FromString(
        (SHIPPED / "frozen_inference_graph.pb").read_bytes()
    )
    frozen = {
        node.name: node.attr["value"].tensor for node in definition.node if node.op == "Const"
    }
    stored = tf.compat.v1.train.load_checkpoint(str(SHIPPED / "model.ckpt"))
    # Step 07 folds batch norms into the convolutions before them: by hand, weights * gamma / sqrt(variance + 0.001), and the stem's
    # depthwise convolution of 3 channels times 8 into the 1 x 1 one behind it.
    norms = [
        name[: -len("/BatchNorm/gamma")]
        for name in stored.get_variable_to_shape_map()
        if name.endswith("/BatchNorm/gamma")
    ]
    assert len(norms) == 69
    for name in norms:
        stem = stored.has_tensor(name + "/pointwise_weights")
        weights = stored.get_tensor(name + ("/pointwise_weights" if stem else "/weights"))
        if stem:
            weights = np.tensordot(
                stored.get_tensor(name + "/depthwise_weights"),
                weights.reshape(3, 8, -1)[0],
                axes=(3, 0),
            )[:, :, :1]
        gamma, variance = (
            stored.get_tensor(name + "/BatchNorm/" + part) for part in ("gamma", "moving_variance")
        )
        found = tf.make_ndarray(frozen[name + ("/pointwise_weights" if stem else "/weights")])
        expected = weights * (gamma / np.sqrt(variance + 0.001))
        np.testing.assert_allclose(
            found[:, :, :1] if stem else found, expected, rtol=1e-4, atol=1e-6
        )
    heads = [
        name for name in stored.get_variable_to_shape_map() if name.startswith("BoxPredictor_")
    ]
    assert len(heads) == 8
    assert all(
        np.array_equal(stored.get_tensor(name), tf.make_ndarray(frozen[name])) for name in heads
    )
