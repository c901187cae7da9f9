"""Step 07: what it exports, tests and refuses. tests/test_walkthrough.py exports for real."""

import pathlib
import re
import subprocess
import types

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

import toy_graph
from conftest import load_script
from shelfdet import UserError
from shelfdet.config import network, pipeline
from shelfdet.core import paths
from shelfdet.inference import export, folding

GRAPH = paths.SHIPPED_GRAPH / paths.GRAPH_FILE
CONFIG = paths.SHIPPED_GRAPH / paths.CONFIG_FILE
FOLDED_OPERATIONS = {"DepthwiseConv2dNative", "FusedBatchNormV3"}  # not in a folded graph


@pytest.fixture(scope="module")
def step_07():
    return load_script("07_export_inference_graph")


@pytest.mark.parametrize("name", [".", "", "..", "a/b", ".hidden"])
def test_only_plain_names_are_accepted(step_07, tmp_path, name):
    (tmp_path / "precious").write_text("")
    with pytest.raises(UserError, match="--name .*expected the plain name of a folder"):
        step_07.main(["--name", name, "--output", str(tmp_path)])


def test_a_folder_of_other_files_is_not_replaced(step_07, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.JPG").write_text("")
    expected = "photos: holds precious.JPG, which is no part of an exported graph"
    with pytest.raises(UserError, match=expected):
        step_07.main(["--name", "photos", "--output", str(tmp_path)])


def test_what_the_steps_write_into_a_graphs_folder_is_replaced_with_it(tmp_path):
    for name in ("frozen_inference_graph.pb", "metrics.json", ".deploy.lock"):
        (tmp_path / name).write_text("")
    for name in ("deploy", ".deploy.partial"):  # the second is of a step 11 that was killed
        (tmp_path / name).mkdir()
    export.check_target(tmp_path)


@pytest.mark.parametrize("graph", paths.SHIPPED_GRAPHS, ids=lambda graph: graph.name)
def test_a_shipped_graph_is_not_replaced(step_07, graph):
    run = paths.TRAINING / graph.name  # the run of `make train CONFIG=...` with an included config
    expected = (
        f"{graph.name}: holds a graph that is included in this repository, .* "
        rf"--name my_{graph.name} \(make: GRAPH=my_{graph.name}\)"
    )
    for options in (["--run-dir", str(run)], ["--name", graph.name]):
        with pytest.raises(UserError, match=expected):
            step_07.main(options)


def test_the_name_of_a_shipped_graph_is_free_in_another_folder(tmp_path):
    export.check_target(tmp_path / paths.SHIPPED_GRAPH.name)


def test_another_nms_is_exported_but_not_other_anchors(tmp_path):
    text = CONFIG.read_text()
    nms = re.sub(r"(batch_non_max_suppression \{[^}]*iou_threshold): [\d.]+", r"\1: 0.3", text)
    assert nms != text
    (tmp_path / "nms.config").write_text(re.sub(r"num_steps: \d+", "num_steps: 7", nms))
    export.check_config(tmp_path / "nms.config", CONFIG)
    (tmp_path / "anchors.config").write_text(text.replace("scales: 0.098", "scales: 0.2"))
    expected = "--config .*anchors.config: its `model` differs .* in more than post_processing"
    with pytest.raises(UserError, match=expected):
        export.check_config(tmp_path / "anchors.config", CONFIG)


def replace_detector(monkeypatch, detections, anchors):
    """Has every graph find ``detections``, and give ``anchors`` before NMS."""
    from shelfdet.inference import detector

    fake = types.SimpleNamespace(detect=lambda pixels: detections)
    monkeypatch.setattr(detector, "Detector", lambda path: fake)
    monkeypatch.setattr(detector, "all_anchors", lambda path, pixels: anchors)


NO_DETECTION = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
FINITE_ANCHORS = (np.zeros((5, 4)), np.full((5, 2), 0.1))
ONE_OF_EACH = "1 box, 1 score and 1 class"
NAN_ANCHORS = (np.zeros((5, 4)), np.full((5, 2), np.nan))


def test_a_graph_that_finds_nothing_in_noise_is_accepted(monkeypatch):
    """A score_threshold in the config may leave no box in a noise image."""
    replace_detector(monkeypatch, NO_DETECTION, FINITE_ANCHORS)
    export.check_graph(GRAPH)


@pytest.mark.parametrize(
    "detections, anchors, counts",
    [
        ((np.full((1, 4), np.nan), np.zeros(1), np.ones(1, int)), FINITE_ANCHORS, ONE_OF_EACH),
        ((np.zeros((1, 4)), np.full(1, np.inf), np.ones(1, int)), FINITE_ANCHORS, ONE_OF_EACH),
        # NMS drops NaN, and no box is left.
        (NO_DETECTION, NAN_ANCHORS, "0 boxes, 0 scores and 0 classes"),
    ],
)
def test_a_graph_without_finite_numbers_is_refused(monkeypatch, detections, anchors, counts):
    replace_detector(monkeypatch, detections, anchors)
    expected = f"gives {counts}; expected as many of each, all finite"
    with pytest.raises(UserError, match=expected):
        export.check_graph(GRAPH)


def write_changed_graph(path, value):
    """Writes the included graph with ``value`` added to the scores of its first feature map."""
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(GRAPH.read_bytes())
    nodes = {node.name: node for node in definition.node}
    bias = nodes["BoxPredictor_0/ClassPredictor/biases"].attr["value"].tensor
    changed = tf.make_ndarray(bias) + np.float32([0, value])
    bias.CopyFrom(tf.make_tensor_proto(changed))
    path.write_bytes(definition.SerializeToString())
    return path


@pytest.mark.parametrize(
    "value, difference", [(0.05, r"[\d.e-]+"), (float("nan"), "nan")], ids=["score", "nan"]
)
def test_a_folded_graph_that_differs_is_refused(tmp_path, monkeypatch, value, difference):
    monkeypatch.setattr(
        folding, "fold_file", lambda source, target: write_changed_graph(target, value)
    )
    expected = (
        rf"differ by up to {difference} from .*; expected at most 1e-05. "
        r"Export with --unfolded \(make: UNFOLDED=1\)"
    )
    with pytest.raises(UserError, match=expected):
        export.fold(GRAPH, tmp_path / "other.pb")


def test_rounding_is_a_share_of_the_largest_value_of_an_anchor():
    """Of a box 40 image sides away 4e-5 is as little as 1e-6 of one inside the image."""
    values = np.array([[-40, 0, 2, 3], [0.1, 0.2, 0.3, 0.4]])
    others = values + [[4e-5, 0, 0, 0], [0, 1e-6, 0, 0]]
    assert export.rounding(values, others) == pytest.approx(1e-6)
    assert export.rounding(values, values + [[0, 4e-5, 0, 0], [0, 0, 0, 2e-6]]) > 1.9e-6
    assert export.rounding(values, values + 0.05) == pytest.approx(0.05)
    assert np.isnan(export.rounding(values, values * np.nan))


def test_the_shipped_graph_folds_to_the_same_outputs(tmp_path):
    export.fold(GRAPH, tmp_path / "same.pb")
    assert (tmp_path / "same.pb").is_file()


def test_the_newest_checkpoint_is_exported_unfolded_with_initial_weights_where_unused(
    step_07, tmp_path
):
    """Of a network with one feature map, as weight decay leaves it after a training."""
    config = pipeline.read(CONFIG)
    generator = config.model.ssd.anchor_generator.ssd_anchor_generator
    for part in (config.model.ssd.feature_extractor, generator):
        part.num_layers = 1
    del generator.scales[1:]
    run = tmp_path / "run"
    run.mkdir()
    (run / "pipeline.config").write_text(text_format.MessageToString(config))
    values = network.initial_values(config, network.training_variables(config))
    used = network.build_network(config).variables
    trained = {
        name: value * 2 if name in used else np.zeros_like(value) for name, value in values.items()
    }
    trained["global_step"] = np.int64(1200)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in trained.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(run / "model.ckpt"), global_step=1200)
    options = ("--checkpoint", "newest", "--name", "graph", "--unfolded")
    step_07.main(["--run-dir", str(run), "--output", str(tmp_path), *options])
    exported = tmp_path / "graph"
    graph = tf.compat.v1.GraphDef.FromString((exported / paths.GRAPH_FILE).read_bytes())
    assert FOLDED_OPERATIONS <= {node.op for node in graph.node}
    reader = tf.train.load_checkpoint(str(exported / "model.ckpt"))
    assert set(reader.get_variable_to_shape_map()) == set(trained)
    for name, value in trained.items():
        expected = value if name in used or name == "global_step" else values[name]
        np.testing.assert_array_equal(reader.get_tensor(name), expected)
    layer = "FeatureExtractor/InceptionV2/Mixed_5c/Branch_0/Conv2d_0a_1x1"
    kernel = reader.get_tensor(f"{layer}/weights")
    assert kernel.std() == pytest.approx(0.03 * 0.88, rel=0.02), (
        "truncated normal, as in the config"
    )


def test_a_graph_without_raw_outputs_is_refused_with_a_remedy(tmp_path):
    graph = toy_graph.write(tmp_path / "toy.pb")
    expected = "without raw_detection_boxes:0, raw_detection_scores:0; .* Export with --unfolded"
    with pytest.raises(UserError, match=expected):
        export.fold(graph, tmp_path / "folded.pb")


def test_a_checkpoint_of_nan_is_refused(tmp_path):
    graph = write_changed_graph(tmp_path / "nan.pb", float("nan"))
    expected = "gives boxes or scores that are not finite numbers. Were the losses"
    with pytest.raises(UserError, match=expected):
        export.fold(graph, tmp_path / "folded.pb")


@pytest.mark.parametrize(
    "printed, expected",
    [
        ("NotFoundError: Key w\n  File a.py\n    restore()\n", "printed:\n\nNotFoundError: Key w"),
        ("OSError: No space left on device\n", "/t: cannot be written (No space left on device)"),
    ],
)
def test_the_message_names_the_cause_of_a_failed_export(tmp_path, monkeypatch, printed, expected):
    failed = subprocess.CompletedProcess([], 1, stdout=printed)
    monkeypatch.setattr(export.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(export.files, "write_text", lambda *_: None)
    config = tmp_path / "a.config"
    config.write_text("")
    with pytest.raises(UserError) as caught:
        export.run_exporter(tmp_path / "model.ckpt", config, pathlib.Path("/t/scratch"))
    assert expected in str(caught.value)
    assert "restore()" not in str(caught.value)
