"""A frozen graph is run; files that are no detection graph are refused with a reason."""

import concurrent.futures

import numpy as np
import pytest

import toy_graph
from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.inference import detector


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return toy_graph.write(tmp_path_factory.mktemp("graph") / "frozen_inference_graph.pb")


def image_with(box_xyxy=(10, 20, 30, 60), size_wh=(100, 80)):
    """Black pixels with one white box, which the toy graph detects."""
    pixels = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    xmin, ymin, xmax, ymax = box_xyxy
    pixels[ymin:ymax, xmin:xmax] = 255
    return pixels


def test_detect_returns_normalised_boxes_by_falling_score_without_padding(graph):
    boxes_yxyx, scores, class_ids = detector.Detector(graph).detect(image_with())
    expected = [[20 / 80, 10 / 100, 60 / 80, 30 / 100], [0, 0, 1, 1]]
    np.testing.assert_allclose(boxes_yxyx, expected, atol=1e-6)
    assert scores.tolist() == [0.75, 0.25]
    assert class_ids.tolist() == [1, 1]
    assert (boxes_yxyx.dtype, scores.dtype, class_ids.dtype) == (np.float64, np.float64, np.int64)


def test_images_of_different_sizes_in_several_threads_do_not_mix(graph):
    boxes_xyxy = [(x, x + 1, x + 7, x + 9) for x in range(1, 40)]
    network = detector.Detector(graph, callers=3)

    def detect_best(box_xyxy):
        width = 60 + box_xyxy[0]
        return network.detect(image_with(box_xyxy, (width, 90)))[0][0]

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found_yxyx = list(pool.map(detect_best, boxes_xyxy))
    for box_xyxy, (ymin, xmin, ymax, xmax) in zip(boxes_xyxy, found_yxyx):
        width = 60 + box_xyxy[0]
        found_xyxy = [xmin * width, ymin * 90, xmax * width, ymax * 90]
        np.testing.assert_allclose(found_xyxy, box_xyxy, atol=1e-3)


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no such file"),
        (b"", "without any operation"),
        (b"not a graph at all", "no TensorFlow graph"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path, content, words):
    path = tmp_path / "frozen_inference_graph.pb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        detector.Detector(path)
    assert str(path) in str(error.value)


def test_the_message_for_a_missing_graph_lists_those_that_are_there(tmp_path, monkeypatch):
    for name in ("mine", "another", "empty"):
        (tmp_path / name).mkdir()
    toy_graph.write(tmp_path / "mine" / "frozen_inference_graph.pb")
    toy_graph.write(tmp_path / "another" / "frozen_inference_graph.pb")
    monkeypatch.setattr(paths, "GRAPHS", tmp_path)
    with pytest.raises(UserError, match=f"Graphs in {tmp_path}: another, mine[.]$"):
        detector.Detector(tmp_path / "typo" / "frozen_inference_graph.pb")
    with pytest.raises(UserError, match="another, mine[.] Did you mean another[?]$"):
        detector.Detector(tmp_path / "anothr" / "frozen_inference_graph.pb")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder; expected a frozen graph"):
        detector.Detector(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truncated_graph_is_refused(graph, tmp_path, share):
    content = graph.read_bytes()
    path = tmp_path / "cut.pb"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="cut.pb"):
        detector.Detector(path)


def test_a_graph_that_lacks_outputs_is_refused_with_their_names(tmp_path):
    path = toy_graph.write(tmp_path / "other.pb", output_suffix="_of_another_exporter")
    words = "without detection_boxes:0; expected object_detection's frozen detection graph"
    with pytest.raises(UserError, match=words):
        detector.Detector(path)


def test_a_graph_that_cannot_run_is_refused(graph, tmp_path):
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(graph.read_bytes())
    (image_tensor,) = [node for node in definition.node if node.name == "image_tensor"]
    image_tensor.attr["shape"].shape.dim[0].size = 2  # a batch of two, where detect gives one
    path = tmp_path / "two.pb"
    path.write_bytes(definition.SerializeToString())
    network = detector.Detector(path)
    with pytest.raises(UserError, match="two.pb: fails on an image of 100 x 80 pixels"):
        network.detect(image_with())
