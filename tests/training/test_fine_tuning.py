"""First weights of a training: the zoo's feature extractor, without its predictors.

The zoo's own checkpoint is large and not here. A test writes one with its names and shapes: the
zoo's model (90 classes, six layers, its anchors, depth 1.0), with a value in every weight and
statistic that no initialiser gives. tests/test_walkthrough.py starts from an included graph.
"""

import os
import re
import subprocess
import sys

import numpy as np
import tensorflow as tf

import tiny_training
from shelfdet.core import paths
from shelfdet.data import examples, labels, records

STEP_06 = paths.ROOT / "scripts" / "training" / "06_train.py"
CONFIG = paths.TRAINING / "ssd_inception_v2_coco.config"
ZOO_ANCHORS = """ssd_anchor_generator {
  num_layers: 6
  aspect_ratios: [1.0, 2.0, 0.5, 3.0, 0.3333]
  reduce_boxes_in_lowest_layer: true
}"""
VALUE = 0.0078125  # 2 ** -7, exact in float32
SIDE = 96  # pixels of the network's input, which only has to run


def substitute(text, *replacements):
    for pattern, new in replacements:
        text, count = re.subn(pattern, new, text)
        assert count, pattern
    return text


def write_zoo_checkpoint(prefix):
    """Saves the zoo's model, every variable VALUE; returns {name of a variable: its shape}."""
    from google.protobuf import text_format
    from object_detection.builders import model_builder
    from object_detection.protos import pipeline_pb2

    text = substitute(
        CONFIG.read_text(),
        (r"num_classes: 1\b", "num_classes: 90"),
        (r"num_layers: 2\b", "num_layers: 6"),
        (r"ssd_anchor_generator \{[^}]*\}", ZOO_ANCHORS),
    )
    config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = model_builder.build(config.model, is_training=False)
        pixels, true_shapes = model.preprocess(tf.zeros([1, 300, 300, 3]))
        model.predict(pixels, true_shapes)
        variables = tf.compat.v1.global_variables()
        session.run([variable.assign(tf.fill(variable.shape, VALUE)) for variable in variables])
        tf.compat.v1.train.Saver(variables).save(session, str(prefix))
        return {variable.op.name: variable.shape.as_list() for variable in variables}


def small_config(text, folder):
    """The config with a small input, the record in ``folder``, one step that changes no weight."""
    text = re.sub(r"(num_steps|total_steps): \d+", r"\1: 1", text)
    text = re.sub(r"warmup_steps: \d+", "warmup_steps: 0", text)
    return substitute(
        tiny_training.without_crops(text),
        (r'"[^"]*/label_map.pbtxt"', f'"{folder / "label_map.pbtxt"}"'),
        (r'"[^"]*\.record"', f'"{folder / "a.record"}"'),
        (r"height: 512", f"height: {SIDE}"),
        (r"width: 512", f"width: {SIDE}"),
        (r"batch_size: \d+", "batch_size: 1"),
        (r"(initial_learning_rate|learning_rate_base): [\d.]+", r"\1: 1e-30"),
    )


def write_record(folder):
    """A record with one image, and a label map."""
    from PIL import Image

    (folder / "label_map.pbtxt").write_text('item {\n  id: 1\n  name: "product"\n}\n')
    pixels = np.random.RandomState(0).randint(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(str(folder / "a.jpg"))
    labelled = labels.LabelledImage(
        "a.jpg", (SIDE, SIDE), np.array([[10.0, 10.0, 40.0, 60.0]]), ("product",)
    )
    encoded = (folder / "a.jpg").read_bytes()
    example = records.to_example(examples.whole(labelled), encoded, (SIDE, SIDE), {"product": 1})
    with tf.io.TFRecordWriter(str(folder / "a.record")) as writer:
        writer.write(example.SerializeToString())


def train(config, run):
    """Trains in a separate process; returns a reader of the checkpoint after the only step."""
    command = [sys.executable, str(STEP_06), "--config", str(config), "--run-dir", str(run)]
    environment = dict(os.environ, **tiny_training.QUICK_START)
    subprocess.run(command, check=True, env=environment)
    return tf.compat.v1.train.load_checkpoint(str(run / "model.ckpt-1"))


def test_the_feature_extractor_is_restored_and_the_predictors_are_not(tmp_path):
    shapes = write_zoo_checkpoint(tmp_path / "model.ckpt")
    # Names and shapes as the zoo's ssd_inception_v2_coco_2018_01_28 has them
    mixed = shapes["FeatureExtractor/InceptionV2/Mixed_4c/Branch_0/Conv2d_0a_1x1/weights"]
    assert mixed == [1, 1, 576, 192]
    assert shapes["BoxPredictor_0/ClassPredictor/weights"] == [3, 3, 576, 3 * 91]
    write_record(tmp_path)
    config = tmp_path / "fine_tune.config"
    text = small_config(CONFIG.read_text(), tmp_path)
    config.write_text(substitute(text, (r'"[^"]*/model.ckpt"', f'"{tmp_path / "model.ckpt"}"')))
    checkpoint = train(config, tmp_path / "run")
    trained = [
        name
        for name in checkpoint.get_variable_to_shape_map()
        if name in shapes and "moving_" not in name
    ]
    extractor = [name for name in trained if name.startswith("FeatureExtractor/")]
    assert len(extractor) > 100
    assert all(np.allclose(checkpoint.get_tensor(name), VALUE) for name in extractor)
    predictors = [
        name for name in trained if name.startswith("BoxPredictor_") and name.endswith("/weights")
    ]
    assert len(predictors) == 4
    assert not any(np.allclose(checkpoint.get_tensor(name), VALUE) for name in predictors)
