"""NMS IoU, anchor, threshold and training images, as the files beside a graph state them."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import paths
from shelfdet.data import labels, trained_on
from shelfdet.inference import graph_files

NMS_CONFIG = "model { ssd { post_processing { batch_non_max_suppression { %s } } } }"


@pytest.mark.parametrize("line, expected", [("iou_threshold: 0.3", 0.3), ("", 0.6)])
def test_the_nms_iou_of_tiles_is_that_of_the_graphs_config(tmp_path, line, expected):
    # 0.6 is object_detection's own default.
    (tmp_path / "pipeline.config").write_text(NMS_CONFIG % line)
    choice = graph_files.choose_nms_iou(tmp_path / "frozen_inference_graph.pb")
    assert choice.value == expected
    assert choice.source == f"from {tmp_path}/pipeline.config"


def test_without_a_config_the_nms_iou_is_the_shipped_graphs(tmp_path):
    choice = graph_files.choose_nms_iou(tmp_path / "frozen_inference_graph.pb")
    shipped = graph_files.choose_nms_iou(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)
    assert choice.value == shipped.value == 0.45
    assert choice.source == f"the default, because {tmp_path}/pipeline.config does not exist"


RESIZER = "model { ssd { image_resizer { fixed_shape_resizer { height: %d width: %d } } } }"


@pytest.mark.parametrize("width, height", [(512, 512), (640, 480)])
@pytest.mark.parametrize("scales", [[0.1], [0.1, 0.2]])
def test_the_anchors_size_is_that_of_object_detections_generator(tmp_path, width, height, scales):
    from object_detection.builders import anchor_generator_builder

    config = pipeline.read(paths.SHIPPED_GRAPH / paths.CONFIG_FILE)
    fixed = config.model.ssd.image_resizer.fixed_shape_resizer
    fixed.width, fixed.height = width, height
    generator = config.model.ssd.anchor_generator.ssd_anchor_generator
    generator.num_layers = len(scales)
    generator.scales[:] = scales
    (tmp_path / "pipeline.config").write_text(text_format.MessageToString(config))
    built = anchor_generator_builder.build(config.model.ssd.anchor_generator)
    maps = [(4, 4), (2, 2)][: len(scales)]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        layers = built.generate(maps, im_height=height, im_width=width)
        corners = [session.run(layer.get())[0] for layer in layers]
    sides_wh = [(xmax - xmin, ymax - ymin) for ymin, xmin, ymax, xmax in corners]
    expected = np.exp(np.log(sides_wh).mean(axis=0))
    found = graph_files.anchor_wh(tmp_path / "frozen_inference_graph.pb")
    assert found == pytest.approx(tuple(expected), rel=1e-5)


@pytest.mark.parametrize(
    "change", ["aspect_ratios: 2.0", "keep_aspect_ratio_resizer", "no scales", "no config"]
)
def test_without_one_anchor_shape_and_one_input_the_anchors_size_is_unknown(tmp_path, change):
    config = pipeline.read(paths.SHIPPED_GRAPH / paths.CONFIG_FILE)
    generator = config.model.ssd.anchor_generator.ssd_anchor_generator
    if change == "aspect_ratios: 2.0":
        generator.aspect_ratios.append(2.0)
    elif change == "keep_aspect_ratio_resizer":
        config.model.ssd.image_resizer.keep_aspect_ratio_resizer.min_dimension = 512
    elif change == "no scales":
        del generator.scales[:]
    if change != "no config":
        (tmp_path / "pipeline.config").write_text(text_format.MessageToString(config))
    assert graph_files.anchor_wh(tmp_path / "frozen_inference_graph.pb") is None


@pytest.mark.parametrize("size_hw, expected", [((512, 512), 1024), ((480, 640), 1280)])
def test_images_are_shrunk_to_at_least_twice_the_networks_input(tmp_path, size_hw, expected):
    (tmp_path / "pipeline.config").write_text(RESIZER % size_hw)
    graph = tmp_path / "frozen_inference_graph.pb"
    assert graph_files.choose_max_side(None, graph) == expected
    assert graph_files.choose_max_side(0, graph) == 0
    assert graph_files.choose_max_side(700, graph) == 700
    assert graph_files.choose_max_side(None, tmp_path / "elsewhere" / graph.name) == 1024


@pytest.mark.parametrize(
    "metrics, score, words",
    [
        (None, 0.5, "chosen for this graph: .*metrics.json does not exist. Boxes .* score 0.5,"),
        ({"graph_sha256": "another", "threshold": 0.1}, 0.5, "metrics.json is of another graph"),
        ({"graph_sha256": "this", "threshold": 0.1}, 0.1, "from .*metrics.json$"),
        ("no JSON", 0.5, "metrics.json holds no threshold"),
        ({"graph_sha256": "this"}, 0.5, "metrics.json holds no threshold"),
        ({"graph_sha256": "this", "threshold": None}, 0.5, "has the threshold 'None', no number"),
        ({"graph_sha256": "this", "threshold": float("nan")}, 0.5, "threshold 'nan', no number"),
    ],
)
def test_the_threshold_is_that_of_this_graphs_metrics_or_the_default(
    tmp_path, metrics, score, words
):
    path = tmp_path / "metrics.json"
    if metrics is not None:
        path.write_text(metrics if isinstance(metrics, str) else json.dumps(metrics))
    choice = graph_files.choose_threshold(None, [path], "this")
    assert choice.value == score
    assert choice.is_default == (score == 0.5)
    assert re.search(words, choice.source)


@pytest.mark.parametrize(
    "beside, root, words",
    [
        ("this", "this", "from {0}/graph/metrics.json"),
        ("another", "this", "from {0}/metrics.json"),
        (
            "another",
            "another",
            "no threshold was chosen for this graph: {0}/graph/metrics.json is of another graph "
            "and {0}/metrics.json is of another graph. Boxes are drawn and counted from the "
            "default score 0.5, which may be far from the best. Score the graph with `make eval`, "
            "which chooses one, or give --threshold (make: THRESHOLD=)",
        ),
    ],
)
def test_metrics_beside_the_graph_come_before_those_of_the_workspace(tmp_path, beside, root, words):
    metrics_files = [tmp_path / "graph" / "metrics.json", tmp_path / "metrics.json"]
    (tmp_path / "graph").mkdir()
    for path, graph_sha256 in zip(metrics_files, (beside, root)):
        path.write_text(json.dumps({"graph_sha256": graph_sha256, "threshold": 0.1}))
    choice = graph_files.choose_threshold(None, metrics_files, "this")
    assert choice.source == words.format(tmp_path)


def test_a_given_threshold_wins_and_tiles_are_noted(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"graph_sha256": "this", "threshold": 0.1}))
    chosen = graph_files.choose_threshold(0.0, [path], "this")
    assert chosen[:2] == (0.0, "from --threshold (make: THRESHOLD=)")
    source = graph_files.choose_threshold(None, [path], "this", tiles=2).source
    assert source == f"from {path}, chosen without tiles"
    path.write_text(json.dumps({"graph_sha256": "this", "threshold": 0.1, "tiles": 2}))
    assert graph_files.choose_threshold(None, [path], "this", tiles=2).source == f"from {path}"
    source = graph_files.choose_threshold(None, [path], "this").source
    assert source == f"from {path}, chosen with 2 x 2 tiles"


@pytest.mark.parametrize(
    "images, tiles, words",
    [
        (4, 1, " on 4 validation images (too few: expected 5 at least)"),
        (5, 1, " on 5 validation images"),
        (29, "auto", " on 29 validation images without tiles"),
    ],
)
def test_the_number_of_validation_images_is_stated(tmp_path, images, tiles, words):
    path = tmp_path / "metrics.json"
    content = {"graph_sha256": "this", "threshold": 0.1, "validation": {"images": images}}
    path.write_text(json.dumps(content))
    source = graph_files.choose_threshold(None, [path], "this", tiles=tiles).source
    assert source == f"from {path}, chosen{words}"


def test_a_broken_config_is_refused(tmp_path):
    (tmp_path / "pipeline.config").write_text("model {")
    with pytest.raises(UserError, match="pipeline.config: line 1"):
        graph_files.choose_nms_iou(tmp_path / "frozen_inference_graph.pb")


def test_images_seen_in_training_are_those_noted_beside_the_graph(tmp_path):
    graph = tmp_path / "frozen_inference_graph.pb"
    assert graph_files.seen_in_training(graph, {"a.JPG": ""}) == {}
    (tmp_path / "trained_on.json").write_text('{"val": ["c.JPG"], "train": ["b.JPG", "a.JPG"]}')
    seen = graph_files.seen_in_training(graph, {"b.JPG": "", "a.JPG": "", "new.JPG": ""})
    assert seen == {"train": ["a.JPG", "b.JPG"], "val": []}


def test_images_of_equal_names_in_two_datasets_are_two_images(tmp_path):
    graph = tmp_path / "frozen_inference_graph.pb"
    (tmp_path / "trained_on.json").write_text('{"train": ["sku110k/1.jpg", "2.jpg"]}')
    names = ["1.jpg", "2.jpg"]

    def seen(dataset):
        images = {trained_on.named(name, dataset): "" for name in names}
        return graph_files.seen_in_training(graph, images)

    assert seen("sku110k") == {"train": names}
    assert seen("other") == {"train": ["2.jpg"]}
    # Of label files in another folder the dataset is not known.
    assert seen(None) == {"train": names}


def test_images_that_are_read_again_with_another_name_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    boxes = [("product", (left, 0, left + 10, 20)) for left in range(0, 50, 10)]
    label_files = [tmp_path / dataset / "train_labels.csv" for dataset in ("one", "two")]
    for label_file in label_files:
        label_file.parent.mkdir()
        labels.write_labels([labels.labelled("a.jpg", (60, 40), boxes)], label_file)
    noted = trained_on.as_text({"train": trained_on.of_labels(label_files[0])})
    (tmp_path / "trained_on.json").write_text(noted)
    graph = tmp_path / "frozen_inference_graph.pb"
    images = trained_on.of_labels(label_files[1])
    assert list(images) == ["two/a.jpg"]
    assert graph_files.seen_in_training(graph, images) == {"train": ["a.jpg"]}


def test_count_errors_are_those_of_this_graphs_test_images(tmp_path):
    path = tmp_path / "metrics.json"
    one = {"images": 4, "boxes": 50, "mean_absolute_count_error": 1.25}
    path.write_text(json.dumps(dict(one, graph_sha256="this")))
    files = [tmp_path / "none.json", path]
    assert graph_files.count_errors(files, "this") == [("", 4, 12.5, 1.25, 1)]
    assert graph_files.count_errors([path], "another") == []
    both = {"a": one, "b": dict(one, images=5, mean_absolute_count_error=0)}
    path.write_text(json.dumps(dict(one, graph_sha256="this", tiles="auto", by_dataset=both)))
    expected = [("a", 4, 12.5, 1.25, "auto"), ("b", 5, 10.0, 0.0, "auto")]
    assert graph_files.count_errors([path], "this") == expected


@pytest.mark.parametrize(
    "wrong",
    [{"images": 0}, {"boxes": None}, {"mean_absolute_count_error": None}, {"by_dataset": [1]}],
)
def test_metrics_without_count_errors_have_none(tmp_path, wrong):
    content = {"images": 4, "boxes": 50, "mean_absolute_count_error": 1.25, "graph_sha256": "this"}
    (tmp_path / "metrics.json").write_text(json.dumps(dict(content, **wrong)))
    assert graph_files.count_errors([tmp_path / "metrics.json"], "this") == []
