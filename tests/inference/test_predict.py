"""Step 08: which images, with what settings, and what is detected, reported and refused."""

import csv
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import toy_graph
from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.core.text import Problems
from shelfdet.data import detections, examples, labels, records
from shelfdet.data.formats import voc
from shelfdet.inference import AUTO_TILES, detector, input_images, predict, summaries

BOX = (40.0, 30.0, 120.0, 150.0)
LABEL_MAP = "item { id: 1 name: 'product' }\n"
NMS_CONFIG = "model { ssd { post_processing { batch_non_max_suppression { %s } } } }"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return toy_graph.write(tmp_path_factory.mktemp("graph") / "frozen_inference_graph.pb")


class RecordingNetwork:
    """A detector that also records the shape of every image it runs on."""

    def __init__(self, graph):
        self._detector = detector.Detector(graph)
        self.shapes = []

    def detect(self, pixels):
        self.shapes.append(pixels.shape)
        return self._detector.detect(pixels)


@pytest.fixture(scope="module")
def shared_network(graph):
    return RecordingNetwork(graph)


@pytest.fixture
def network(shared_network):
    del shared_network.shapes[:]
    return shared_network


@pytest.fixture
def class_names(tmp_path):
    path = tmp_path / "label_map.pbtxt"
    path.write_text(LABEL_MAP)
    return predict.read_class_names(path)


@pytest.fixture
def detect(network, class_names):
    """Detects in a folder, or in a list of InputImage: list of ImageResult."""

    def detect(inputs, **settings):
        if not isinstance(inputs, list):
            inputs = input_images.find(inputs).inputs
        return list(
            predict.detect_images(inputs, network.detect, class_names, predict.Settings(**settings))
        )

    return detect


@pytest.fixture
def run_step(script, graph, class_names, tmp_path):
    """Runs the script on the toy graph, with its output in tmp_path/out.json."""

    def run_step(*options):
        arguments = ["--label-map", class_names.label_map, "--output", tmp_path / "out.json"]
        if "--graph" not in options:
            arguments += ["--graph", graph]
        script("08_detect").main([str(argument) for argument in arguments + list(options)])

    return run_step


def save_image(path, size_wh=(400, 300), box_xyxy=BOX, orientation=None):
    """Saves a black JPEG with one white box, which the toy graph detects."""
    pixels = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    xmin, ymin, xmax, ymax = (int(side) for side in box_xyxy)
    pixels[ymin:ymax, xmin:xmax] = 255
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(str(path), "JPEG", quality=95, exif=exif)


def summaries_of(results):
    return [summaries.summarise(result, 0.5) for result in results]


def save_labels(path, names, size_wh=(400, 300)):
    images = [labels.labelled(name, size_wh, [("product", BOX)]) for name in names]
    labels.write_labels(images, path)


# --- what is detected ----------------------------------------------------------------------------


def test_an_image_whose_size_differs_from_the_label_files_is_refused(detect, tmp_path):
    save_image(tmp_path / "in" / "a.JPG", (400, 310))
    save_labels(tmp_path / "test_labels.csv", ["a.JPG"])
    inputs = input_images.labelled_images(tmp_path / "test_labels.csv", tmp_path / "in")
    words = "a.JPG: 400 x 310 pixels; expected 400 x 300 as in .*test_labels.csv"
    with pytest.raises(UserError, match=words):
        detect(inputs)


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        predict.check_targets(tmp_path / "out.json", tmp_path / "file", [])
    with pytest.raises(UserError, match="is a folder; expected the name of a file"):
        predict.check_targets(tmp_path, None, [])


# --- detection -----------------------------------------------------------------------------------


def test_boxes_are_in_the_pixels_of_the_image_on_disk(detect, tmp_path):
    save_image(tmp_path / "in" / "large.JPG", (2000, 1000), (400, 200, 800, 900))
    save_image(tmp_path / "in" / "small.JPG")
    large, small = (result.detections for result in detect(tmp_path / "in", max_side=500))
    assert (large.filename, large.size_wh) == ("large.JPG", (2000, 1000))
    expected = [[400, 200, 800, 900], [0, 0, 2000, 1000]]
    np.testing.assert_allclose(large.boxes_xyxy, expected, atol=8)  # shrunk to a quarter
    np.testing.assert_allclose(small.boxes_xyxy, [BOX, [0, 0, 400, 300]], atol=1.01)
    assert small.scores.tolist() == [0.75, 0.25]  # none is dropped
    assert small.classes == ("product", "product")


def test_exif_is_ignored_unless_asked_and_reported_either_way(detect, tmp_path):
    save_image(tmp_path / "in" / "plain.JPG")
    save_image(tmp_path / "in" / "turned.JPG", orientation=6)
    results = detect(tmp_path / "in")
    turned = results[1].detections
    assert turned.size_wh == (400, 300)
    np.testing.assert_allclose(turned.boxes_xyxy[0], BOX, atol=1.01)
    report = summaries.exif_report(summaries_of(results), "ignore")
    assert "1 image with an EXIF orientation: turned.JPG (6)" in report
    assert "--exif apply" in report

    results = detect(tmp_path / "in", exif="apply")
    turned = results[1].detections
    assert turned.size_wh == (300, 400)
    xmin, ymin, xmax, ymax = BOX
    # With orientation 6 the top left corner of the raw pixels is the top right one once rotated.
    expected = [300 - ymax, xmin, 300 - ymin, xmax]
    np.testing.assert_allclose(turned.boxes_xyxy[0], expected, atol=1.01)
    assert "those of the rotated images" in summaries.exif_report(summaries_of(results), "apply")
    assert summaries.exif_report(summaries_of(results[:1]), "apply") == ""


def test_with_tiles_the_network_runs_on_the_image_and_each_tile(detect, network, tmp_path):
    # The product is whole in each of the four tiles of 445 x 334.
    save_image(tmp_path / "in" / "a.JPG", (800, 600), (370, 280, 430, 320))
    (result,) = detect(tmp_path / "in", tiles=2)
    assert network.shapes == [(600, 800, 3)] + [(334, 445, 3)] * 4
    # The toy graph also detects the whole of what it runs on; a tile's borders cut that box.
    expected = [[370, 280, 430, 320], [0, 0, 800, 600]]
    np.testing.assert_allclose(result.detections.boxes_xyxy, expected, atol=1.5)

    del network.shapes[:]
    detect(tmp_path / "in", tiles=2, max_side=500)
    assert network.shapes == [(375, 500, 3)] + [(334, 445, 3)] * 4, (
        "tiles are cut before shrinking, each at most 500 a side"
    )


class CertainAt:
    """A detector that is the more certain, the nearer a product's width is to a wanted one.

    It finds one product in the middle of what it runs on, as wide as the white part there.
    """

    def __init__(self, wanted_px):
        self.wanted_px = wanted_px
        self.widths = []

    def detect(self, pixels):
        self.widths.append(pixels.shape[1])
        columns = np.flatnonzero((pixels > 128).all(axis=2).any(axis=0))
        rows = np.flatnonzero((pixels > 128).all(axis=2).any(axis=1))
        if not len(columns):
            return np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int)
        height, width = pixels.shape[:2]
        box = [rows[0] / height, columns[0] / width]
        box += [(rows[-1] + 1) / height, (columns[-1] + 1) / width]
        share = (columns[-1] + 1 - columns[0]) / width * 100  # in an input of 100 px
        score = 0.9 * min(share, self.wanted_px) / max(share, self.wanted_px)
        return np.array([box]), np.array([score]), np.ones(1, dtype=int)


@pytest.mark.parametrize(
    "wanted_px, grid, runs",
    [
        (10, (1, 1), 1),  # certain at once: 9.5 of 10 px
        # 9.5 px are 17 in 2 x 2 tiles, and 25 in 3 x 3. The last numbers are flipped tiles.
        (18, (2, 2), 1 + 4 + 9 + 6 + 6 + (4 + 9 + 6 + 6)),
        (26, (3, 3), 1 + 4 + 9 + 16 + 12 + 12 + (9 + 16 + 12 + 12)),  # ... and 32 in 4 x 4
        (4, (1, 1), 1 + 4),  # more tiles only make it less certain
    ],
)
def test_auto_takes_the_tiles_in_which_the_network_is_most_certain_of_products(
    class_names, tmp_path, wanted_px, grid, runs
):
    # In the corner, so that it is whole in one tile of each number of tiles.
    save_image(tmp_path / "a.JPG", (800, 600), (2, 2, 78, 60))
    network = CertainAt(wanted_px)
    image = input_images.InputImage(tmp_path / "a.JPG", "a.JPG")
    settings = predict.Settings(tiles=AUTO_TILES)
    result = predict.detect_image(image, network.detect, class_names, settings)
    assert (result.grid, len(network.widths)) == (grid, runs)
    np.testing.assert_allclose(result.detections.boxes_xyxy, [[2, 2, 78, 60]], atol=2)
    summary = summaries.summarise(result, 0.5)
    shape = {(1, 1): "whole", (2, 2): "in 2 x 2 tiles", (3, 3): "in 3 x 3 tiles"}[grid]
    assert summaries.tiles_report([summary] * 2) == f"tiles: 2 images {shape}"


def test_auto_tiles_are_cut_from_the_large_image(class_names, tmp_path):
    save_image(tmp_path / "a.JPG", (1600, 1200), (2, 2, 150, 120))
    network = CertainAt(18)
    image = input_images.InputImage(tmp_path / "a.JPG", "a.JPG")
    settings = predict.Settings(tiles=AUTO_TILES, max_side=400)
    result = predict.detect_image(image, network.detect, class_names, settings)
    assert result.detections.size_wh == (1600, 1200)
    np.testing.assert_allclose(result.detections.boxes_xyxy, [[2, 2, 150, 120]], atol=5)
    assert set(network.widths) == {400}


def test_auto_is_recorded_and_reported(run_step, tmp_path, capsys):
    save_image(tmp_path / "in" / "a.JPG", box_xyxy=(8, 8, 392, 292))  # some of it in each tile
    run_step("--images", tmp_path / "in", "--tiles", "auto")
    assert files.read_json(tmp_path / "out.json")["info"]["tiles"] == "auto"
    assert "tiles: 1 image " in capsys.readouterr().out


ANCHOR = """model { ssd {
  image_resizer { fixed_shape_resizer { height: 100 width: 100 } }
  anchor_generator { ssd_anchor_generator { scales: 0.2 aspect_ratios: 0.25 } }
} }"""


def test_auto_takes_the_anchor_from_the_config_beside_the_graph(
    run_step, script, tmp_path, monkeypatch
):
    graph = toy_graph.write(tmp_path / "mine" / "frozen_inference_graph.pb")
    (tmp_path / "mine" / "pipeline.config").write_text(ANCHOR)
    given = []

    def search(run_network, pixels, whole, nms_iou, max_side, anchor_wh):
        given.append(anchor_wh)
        return whole, (1, 1)

    monkeypatch.setattr(predict.tiling, "detect_in_best_tiles", search)
    monkeypatch.setattr(predict.confidence, "CERTAIN", 2)
    save_image(tmp_path / "in" / "a.JPG")
    run_step("--graph", graph, "--images", tmp_path / "in", "--tiles", "auto")
    assert given == [pytest.approx((0.1, 0.4))]

    step_12 = script("12_predict_spark")
    arguments = ["--graph", graph, "--images", tmp_path / "in", "--output", tmp_path / "out"]
    settings, _ = step_12.prepare(step_12.parse([str(word) for word in arguments]))
    assert settings.anchor_wh == pytest.approx((0.1, 0.4))


def test_the_nms_iou_of_the_settings_merges_tiles(class_names, tmp_path):
    save_image(tmp_path / "a.JPG", (100, 100), (0, 0, 10, 10))
    two_boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0.4, 0.5, 0.6, 0.7]])  # IoU 1/3

    def run_network(pixels):
        boxes_yxyx = two_boxes if pixels.shape == (100, 100, 3) else np.zeros((0, 4))
        count = len(boxes_yxyx)
        return boxes_yxyx, np.linspace(0.9, 0.8, count), np.ones(count, dtype=int)

    for nms_iou, expected in ((0.3, 1), (0.4, 2)):
        settings = predict.Settings(tiles=2, nms_iou=nms_iou)
        image = input_images.InputImage(tmp_path / "a.JPG", "a.JPG")
        result = predict.detect_image(image, run_network, class_names, settings)
        assert len(result.detections.scores) == expected


def test_strips_are_reported_and_with_margins_their_boxes_are_still_in_the_images_pixels(
    detect, network, tmp_path
):
    products = {
        "wide.JPG": ((1200, 240), (100, 40, 160, 200)),
        "high.JPG": ((150, 600), (30, 100, 90, 220)),
        "plain.JPG": ((400, 300), (40, 30, 100, 200)),
    }
    for name, (size_wh, box_xyxy) in products.items():
        save_image(tmp_path / "in" / name, size_wh, box_xyxy)
    save_image(tmp_path / "plain" / "plain.JPG")
    assert summaries.strip_report(summaries_of(detect(tmp_path / "plain"))) == ""
    del network.shapes[:]
    report = summaries.strip_report(summaries_of(detect(tmp_path / "in", max_side=600)))
    assert report.startswith(
        "2 images more than twice as wide as high, or as high as wide: high.JPG, wide.JPG\n"
    )
    assert "--pad-strips" in report
    assert sorted(network.shapes) == [(120, 600, 3), (300, 400, 3), (600, 150, 3)]

    del network.shapes[:]
    results = detect(tmp_path / "in", max_side=600, pad_strips=True)
    assert sorted(network.shapes) == [(300, 400, 3), (450, 600, 3), (600, 450, 3)]
    for result in results:
        size_wh, box_xyxy = products[result.filename]
        found = result.detections
        assert found.size_wh == size_wh
        np.testing.assert_allclose(found.boxes_xyxy[0], box_xyxy, atol=3)
        # The toy graph's other box is the whole frame, of which the part inside the image is kept.
        np.testing.assert_allclose(found.boxes_xyxy[1], (0, 0) + size_wh, atol=1e-6)


def test_detections_in_the_margins_are_dropped():
    # A strip of 400 x 100, shrunk to 200 x 50, in the middle of a frame of 200 x 150: 50 pixels of
    # margin above and below.
    in_frame_yxyx = [
        [60 / 150, 0.1, 90 / 150, 0.2],
        [5 / 150, 0.1, 45 / 150, 0.2],
        [40 / 150, 0.5, 80 / 150, 0.6],
    ]
    boxes_xyxy, inside = predict.without_margins(
        np.array(in_frame_yxyx), (200, 150), (0, 50), (200, 50), (400, 100)
    )
    assert inside.tolist() == [True, False, True]
    expected = [[40, 20, 80, 80], [40, -90, 80, -10], [200, -20, 240, 60]]
    np.testing.assert_allclose(boxes_xyxy, expected)


def test_a_strip_too_large_for_margins_is_refused_by_name(detect, tmp_path):
    save_image(tmp_path / "in" / "long.JPG", (20000, 20), (0, 0, 10, 20))
    words = (
        "long.JPG: a strip of 20000 x 20 pixels needs a frame of 20000 x 15000; expected at most"
    )
    with pytest.raises(UserError, match=words + " 178 mega"):
        detect(tmp_path / "in", max_side=0, pad_strips=True)


def test_the_label_map_beside_the_graph_names_and_counts_its_classes(
    script, graph, tmp_path, monkeypatch
):
    folder = tmp_path / "graph"
    shutil.copytree(str(graph.parent), str(folder))
    (folder / "label_map.pbtxt").write_text(
        "item { id: 1 name: 'tea' display_name: 'Black tea' } item { id: 2 name: 'milk' }"
    )
    save_image(tmp_path / "in" / "a.JPG")
    arguments = ["--graph", folder, "--images", tmp_path / "in", "--draw", tmp_path / "drawn"]
    arguments += ["--output", tmp_path / "out.json", "--threshold", "0.5"]
    script("08_detect").main([str(argument) for argument in arguments])
    (image,) = detections.read_detections(tmp_path / "out.json")
    assert set(image.classes) == {"tea"}
    counts = (tmp_path / "drawn" / "counts.csv").read_text().splitlines()
    assert counts[0] == "filename,products,Black tea,milk,note"
    assert counts[1].startswith("a.JPG,1,1,0,")
    drawn = np.asarray(Image.open(str(tmp_path / "drawn" / "a.JPG")))
    assert drawn.shape[0] > 300  # the legend below


def test_a_class_that_the_label_map_lacks_is_refused(class_names, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    graph = toy_graph.write(tmp_path / "frozen_inference_graph.pb", class_ids=(1, 4))
    run_network = detector.Detector(graph).detect
    inputs = input_images.find(tmp_path / "in").inputs
    with pytest.raises(UserError, match="label_map.pbtxt: the graph found class 4; expected 1[.]"):
        list(predict.detect_images(inputs, run_network, class_names, predict.Settings()))


# --- images that cannot be read ------------------------------------------------------------------


def test_bad_images_can_be_skipped_and_are_reported(detect, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "empty.JPG").write_bytes(b"")
    (tmp_path / "in" / "text.jpg").write_bytes(b"no image")
    results = detect(tmp_path / "in", skip_bad=True)
    summaries.check_any(summaries_of(results), tmp_path / "in")
    assert [image.filename for image in results if image.detections] == ["a.JPG"]
    assert sorted(summaries.outcomes(summaries_of(results))["skipped"]) == ["empty.JPG", "text.jpg"]
    report = summaries.skipped_report(summaries_of(results))
    assert "empty.JPG: the file is empty" in report
    assert "text.jpg: is no image" in report
    assert "skipped 2 images" in report
    assert summaries.skipped_report(summaries_of(results[:1])) == ""


def test_skipping_every_image_is_refused(detect, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.jpg").write_bytes(b"no image")
    results = detect(tmp_path / "in", skip_bad=True)
    words = (
        "in: none of its 1 image can be read; expected one at least. The first: .*text.jpg: is no"
    )
    with pytest.raises(UserError, match=words):
        summaries.check_any(summaries_of(results), tmp_path / "in")


# --- the script ----------------------------------------------------------------------------------


def test_a_broken_image_ends_the_step_by_name_and_nothing_is_written(run_step, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    broken = tmp_path / "in" / "broken.JPG"
    save_image(broken)
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="broken.JPG: cannot be decoded to its end.*--skip-bad"):
        run_step("--images", tmp_path / "in")
    with pytest.raises(UserError, match="No detections and no counts were written"):
        run_step("--images", tmp_path / "in", "--draw", tmp_path / "drawn")
    assert not (tmp_path / "out.json").exists()
    assert not (tmp_path / "drawn" / "counts.csv").exists()


def test_counts_of_an_earlier_run_do_not_stay_beside_the_drawings_of_one_that_failed(
    run_step, tmp_path
):
    save_image(tmp_path / "in" / "a.JPG")
    options = ["--images", tmp_path / "in", "--draw", tmp_path / "drawn", "--threshold", "0.5"]
    run_step(*options)
    counts = tmp_path / "drawn" / "counts.csv"
    assert counts.read_text() == "filename,products,note\na.JPG,1,\n"
    (tmp_path / "in" / "b.JPG").write_bytes(b"no image")
    with pytest.raises(UserError, match="b.JPG: is no image"):
        run_step(*options)
    assert (tmp_path / "drawn" / "a.JPG").exists() and not counts.exists()
    run_step(*options, "--skip-bad")
    assert counts.read_text() == "filename,products,note\na.JPG,1,\nb.JPG,,not read\n"


def test_the_output_states_how_it_was_made(run_step, tmp_path, capsys):
    graph = toy_graph.write(tmp_path / "mine" / "frozen_inference_graph.pb")
    config = graph.with_name("pipeline.config")
    config.write_text(NMS_CONFIG % "iou_threshold: 0.3")
    graph.with_name("trained_on.json").write_text('{"train": ["a.JPG", "b.JPG"], "val": []}')
    box_xyxy = (180, 136, 220, 164)  # whole in each of four tiles
    save_image(tmp_path / "in" / "a.JPG", box_xyxy=box_xyxy, orientation=3)
    label_file = tmp_path / "test_labels.csv"
    save_labels(label_file, ["a.JPG"])
    options = ("--labels", label_file, "--images", tmp_path / "in", "--graph", graph.parent)
    run_step(*options, "--max-side", 0)
    assert json.loads((tmp_path / "out.json").read_text())["info"] == {
        "graph": str(graph),
        "graph_sha256": files.sha256(graph),
        "config_sha256": files.sha256(config),
        "labels": str(label_file),
        "labels_sha256": files.sha256(label_file),
        "max_side": 0,
        "exif": "ignore",
        "exif_flagged": {"a.JPG": 3},
        "seen_in_training": {"train": ["a.JPG"], "val": []},
        "skipped": {},
    }
    (image,) = detections.read_detections(tmp_path / "out.json")
    np.testing.assert_allclose(image.boxes_xyxy, [box_xyxy, [0, 0, 400, 300]], atol=1.01)
    assert image.scores.tolist() == [0.75, 0.25]
    capsys.readouterr()

    run_step(*options, "--pad-strips", "--tiles", 2)
    info = detections.read_info(tmp_path / "out.json")
    assert (info["pad_strips"], info["tiles"]) == (True, 2)
    printed = capsys.readouterr().out
    assert f"tiles: merged with NMS IoU 0.3 (from {config})" in printed


def test_the_default_graph_is_the_users_once_exported_and_is_named(
    script, class_names, tmp_path, capsys, monkeypatch
):
    shipped = toy_graph.write(tmp_path / "graphs" / "shipped" / paths.GRAPH_FILE)
    monkeypatch.setattr(paths, "GRAPHS", tmp_path / "graphs")
    monkeypatch.setattr(paths, "SHIPPED_GRAPH", shipped.parent)
    save_image(tmp_path / "in" / "a.JPG")
    arguments = ["--images", tmp_path / "in", "--output", tmp_path / "out.json"]
    arguments += ["--label-map", class_names.label_map]
    arguments = [str(argument) for argument in arguments]
    script("08_detect").main(arguments)
    assert f"graph: shipped ({shipped})" in capsys.readouterr().out
    own = paths.GRAPHS / paths.DEFAULT_CONFIG.stem / paths.GRAPH_FILE
    toy_graph.write(own)
    script("08_detect").main(arguments)
    assert (
        f"graph: {paths.DEFAULT_CONFIG.stem} ({own})\n"
        "  your own; the included one: `make predict GRAPH=shipped`\n"
    ) in capsys.readouterr().out


def test_a_graph_that_is_not_there_is_not_announced(run_step, tmp_path, capsys):
    save_image(tmp_path / "in" / "a.JPG")
    with pytest.raises(UserError, match="graph.pb: no such file; expected a frozen graph"):
        run_step("--images", tmp_path / "in", "--graph", tmp_path / "none" / "graph.pb")
    assert "graph:" not in capsys.readouterr().out


def test_boxes_are_counted_from_the_threshold_beside_the_graph(run_step, tmp_path, capsys):
    graph = toy_graph.write(tmp_path / "mine" / "frozen_inference_graph.pb")
    save_image(tmp_path / "in" / "a.JPG")
    for score, count in ((0.1, 2), (0.5, 1), (0.9, 0)):
        metrics = {"graph_sha256": files.sha256(graph), "threshold": score}
        graph.with_name("metrics.json").write_text(json.dumps(metrics))
        run_step("--images", tmp_path / "in", "--graph", graph, "--draw", tmp_path / "drawn")
        lines = (tmp_path / "drawn" / "counts.csv").read_text().splitlines()
        assert lines == ["filename,products,note", f"a.JPG,{count},"]
        printed = capsys.readouterr().out
        assert f"threshold: score {score:.3f} (from {tmp_path}/mine/metrics.json)" in printed


def test_drawings_and_counts(run_step, tmp_path, capsys):
    for name in ("b c.JPG", "a.JPG", "rafğ.jpeg"):
        save_image(tmp_path / "in" / name)
    Image.new("L", (50, 40), 255).save(str(tmp_path / "in" / "grey.png"))
    options = ("--images", tmp_path / "in", "--draw", tmp_path / "drawn", "--threshold", 0.2)
    run_step(*options)
    with open(str(tmp_path / "drawn" / "counts.csv"), encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["filename", "products", "note"],
            ["a.JPG", "2", ""],
            ["b c.JPG", "2", ""],
            ["grey.png", "2", ""],
            ["rafğ.jpeg", "2", ""],
        ]
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["a.JPG", "b c.JPG", "counts.csv", "grey.png.jpg", "rafğ.jpeg"]
    assert Image.open(str(tmp_path / "drawn" / "a.JPG")).width == 400
    printed = capsys.readouterr().out
    assert "threshold: score 0.200 (from --threshold (make: THRESHOLD=))" in printed
    assert "8 products in 4 images" in printed
    assert "before" not in printed

    (tmp_path / "in" / "a.JPG").unlink()
    run_step(*options)
    printed = capsys.readouterr().out
    assert "6 products in 3 images" in printed
    assert "other images in that folder, from before this run and not counted: 1" in printed


def test_drawings_of_an_earlier_run_are_not_counted_as_photographs(run_step, tmp_path, capsys):
    save_image(tmp_path / "in" / "a.JPG")
    for name in ("first", "second"):
        options = ("--draw", tmp_path / "in" / name, "--threshold", 0.2)
        run_step("--images", tmp_path / "in", *options)
    printed = capsys.readouterr().out
    assert printed.count("2 products in 1 image") == 2
    left_out = f"left out of {tmp_path}/in, because they are drawings of an earlier run"
    assert f"{left_out}: first/a.JPG" in printed


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--images", "x", "--thresh", "0.5"),
        ("--images", "x", "--threshold", "5"),
        ("--images", "x", "--max-side", "-1"),
        ("--images", "x", "--min-score", "1"),
        ("--images", "x", "--min-score", "nan"),
    ],
)
def test_wrong_options_are_refused(script, options):
    with pytest.raises(SystemExit) as error:
        script("08_detect").main(list(options))
    assert error.value.code == 2


def test_real_images_of_both_sizes(detect, tmp_path, shelf_data_original):
    results = detect(shelf_data_original / "ShelfImages" / "test", draw_folder=tmp_path)
    flagged = sorted(summaries.outcomes(summaries_of(results))["exif_flagged"])
    assert flagged == ["C1_P03_N1_S2_1.JPG", "C1_P12_N1_S5_1.JPG"]
    assert all(Image.open(str(path)).width <= 1024 for path in tmp_path.glob("*.JPG"))


def test_an_interrupted_run_is_resumed(run_step, network, tmp_path, monkeypatch, capsys):
    for name in ("a.JPG", "b.JPG", "c.JPG"):
        save_image(tmp_path / "in" / name)
    good = (tmp_path / "in" / "c.JPG").read_bytes()
    (tmp_path / "in" / "c.JPG").write_bytes(b"no image")
    options = ["--images", tmp_path / "in"]
    with pytest.raises(UserError, match="c.JPG: is no image"):
        run_step(*options)
    unfinished = tmp_path / "out.json.unfinished"
    assert unfinished.is_file() and not (tmp_path / "out.json").exists()
    (tmp_path / "in" / "c.JPG").write_bytes(good)
    detected = []
    detect_image = predict.detect_image

    def record(image, *others):
        detected.append(image.name)
        return detect_image(image, *others)

    monkeypatch.setattr(predict, "detect_image", record)
    run_step(*options)
    assert detected == ["c.JPG"]
    assert "resuming: 2 of 3 images are done" in capsys.readouterr().out
    assert not unfinished.exists()
    resumed = (tmp_path / "out.json").read_text()
    run_step(*options)
    assert (tmp_path / "out.json").read_text() == resumed


def test_a_run_of_another_version_begins_anew(run_step, tmp_path, capsys, monkeypatch):
    save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "b.JPG").write_bytes(b"no image")
    with pytest.raises(UserError, match="b.JPG: is no image"):
        run_step("--images", tmp_path / "in")
    save_image(tmp_path / "in" / "b.JPG")
    monkeypatch.setattr(predict, "DETECTION_VERSION", predict.DETECTION_VERSION + 1)
    run_step("--images", tmp_path / "in")
    assert (
        "an unfinished run with another detection_version is not resumed" in capsys.readouterr().out
    )


def test_a_run_with_other_options_begins_anew(run_step, tmp_path, capsys):
    save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "b.JPG").write_bytes(b"no image")
    options = ["--images", tmp_path / "in"]
    with pytest.raises(UserError, match="b.JPG: is no image"):
        run_step(*options)
    save_image(tmp_path / "in" / "b.JPG")
    run_step(*options, "--tiles", 2, "--max-side", 300)
    out = capsys.readouterr().out
    assert "an unfinished run with another max_side, tiles is not resumed" in out
    assert "resuming" not in out
    assert len(files.read_json(tmp_path / "out.json")["images"]) == 2


def test_images_of_another_folder_are_not_taken_for_those_of_a_killed_run(
    run_step, tmp_path, capsys
):
    for folder in ("one", "two"):
        save_image(tmp_path / folder / "a.JPG")
        (tmp_path / folder / "b.JPG").write_bytes(b"no image")
        os.utime(str(tmp_path / folder / "a.JPG"), (0, 0))
    for folder in ("one", "two"):
        with pytest.raises(UserError, match="b.JPG: is no image"):
            run_step("--images", tmp_path / folder)
    assert "resuming" not in capsys.readouterr().out


def test_a_bad_image_is_refused_after_a_run_that_skipped_it(run_step, network, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "b.JPG").write_bytes(b"no image")
    (tmp_path / "in" / "c.JPG").write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "remaining", lambda inputs, processed: inputs[:2])
        patch.setattr(pathlib.Path, "unlink", lambda path: None)  # as if killed before the end
        run_step("--images", tmp_path / "in", "--skip-bad")
    with pytest.raises(UserError, match="b.JPG: is no image"):
        run_step("--images", tmp_path / "in")


def test_a_drawing_that_is_gone_is_drawn_again(run_step, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "b.JPG").write_bytes(b"no image")
    options = ["--images", tmp_path / "in", "--draw", tmp_path / "drawn", "--threshold", "0.5"]
    with pytest.raises(UserError, match="b.JPG: is no image"):
        run_step(*options)
    (tmp_path / "drawn" / "a.JPG").unlink()
    save_image(tmp_path / "in" / "b.JPG")
    run_step(*options)
    assert {"a.JPG", "b.JPG"} <= {path.name for path in (tmp_path / "drawn").iterdir()}


def test_images_that_changed_since_a_run_was_killed_are_detected_in_again(
    run_step, tmp_path, capsys
):
    for name in ("a.JPG", "b.JPG", "c.JPG"):
        save_image(tmp_path / "in" / name)
    (tmp_path / "in" / "d.JPG").write_bytes(b"no image")
    options = ["--images", tmp_path / "in"]
    with pytest.raises(UserError, match="d.JPG: is no image"):
        run_step(*options)
    (tmp_path / "in" / "a.JPG").unlink()
    save_image(tmp_path / "in" / "b.JPG", (500, 400))
    with pytest.raises(UserError, match="d.JPG: is no image"):
        run_step(*options)
    assert "resuming: 1 of 3 images are done" in capsys.readouterr().out
    run_step(*options, "--skip-bad")
    assert "resuming: 2 of 3 images are done" in capsys.readouterr().out
    found = {
        image["file_name"]: image for image in files.read_json(tmp_path / "out.json")["images"]
    }
    assert (found["b.JPG"]["width"], set(found)) == (500, {"b.JPG", "c.JPG"})


def test_boxes_of_low_scores_can_be_left_out(run_step, tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    run_step("--images", tmp_path / "in")
    scores = [one["score"] for one in files.read_json(tmp_path / "out.json")["annotations"]]
    assert len(scores) == 2
    run_step("--images", tmp_path / "in", "--min-score", str(max(scores)))
    content = files.read_json(tmp_path / "out.json")
    assert [one["score"] for one in content["annotations"]] == [max(scores)]
    assert content["info"]["min_score"] == max(scores)


def test_pre_labels_are_the_boxes_from_the_threshold_on(run_step, tmp_path, capsys):
    save_image(tmp_path / "in" / "a.jpg")
    save_image(tmp_path / "in" / "store 1" / "b.jpg")
    target = tmp_path / "to correct"
    options = ["--images", tmp_path / "in", "--prelabel", target, "--format", "voc"]
    run_step(*options, "--threshold", "0.5")
    assert sorted(path.name for path in (target / "images").iterdir()) == [
        "a.jpg",
        "a.xml",
        "b.jpg",
        "b.xml",
    ]
    # Of the toy graph's two boxes the whole image has a lower score.
    read = voc.read(target / "images", Problems("x"))
    assert [row.box_xyxy for row in read["b.jpg"].rows] == [pytest.approx(BOX, abs=2)]
    out = capsys.readouterr().out
    assert f"{target}: 2 boxes as voc in 2 images" in out
    assert f"make data FROM='{target}'" in out
    (target / "images" / "a.xml").write_text("edited")
    run_step(*options)
    assert "skipped 1 image whose annotations have been edited" in capsys.readouterr().out
    assert (target / "images" / "a.xml").read_text() == "edited"


def test_images_that_the_graph_does_not_know_are_named(
    run_step, graph, tmp_path, capsys, monkeypatch
):
    save_image(tmp_path / "in" / "a.jpg")
    content = {
        "graph_sha256": files.sha256(graph),
        "threshold": 0.5,
        "validation": {"lowest_confidence": 0.85, "product_scales": [0.1, 0.2]},
    }
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps(content))
    target = tmp_path / "to correct"
    options = ["--prelabel", target, "--format", "voc", "--metrics", metrics]
    run_step("--images", tmp_path / "in", *options)
    out = capsys.readouterr().out
    assert "counts are unreliable in 1 of 1 image" in out
    assert "a graph that was trained on more kinds of products: " in out
    # The same is said under the drawing.
    notes = []
    monkeypatch.setattr(predict.drawings, "draw", lambda *given: notes.append(given[-1]))
    drawn = ["--draw", tmp_path / "drawn", "--metrics", metrics]
    run_step("--images", tmp_path / "in", *drawn)
    (row,) = csv.DictReader((tmp_path / "drawn" / "counts.csv").read_text().splitlines())
    assert notes == [row["note"]] and row["note"].startswith("uncertain")


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--draw={drawn}", "--tiles=auto"], "`make predict IMAGES='my shop' GRAPH={products}`"),
        (
            ["--draw=mine", "--tiles=3", "--skip-bad", "--pad-strips", "--exif=apply"],
            "`make predict IMAGES='my shop' DRAW=mine SKIP_BAD=1 PAD=1 EXIF=apply "
            "GRAPH={products}`",
        ),
        (
            ["--prelabel=mine", "--format=voc", "--threshold=0.4", "--tiles=auto"],
            "`make prelabel IMAGES='my shop' OUTPUT=mine FORMAT=voc GRAPH={products}`",
        ),
        (["--draw=mine", "--labels=a_labels.csv"], "{products}"),  # no target does that
        (["--draw=mine", "--graph={graphs}/{products}"], None),
    ],
)
def test_the_command_for_a_graph_of_more_products_has_the_options_of_the_run(
    script, options, expected
):
    names = {
        "products": paths.SHIPPED_PRODUCTS_GRAPH.name,
        "drawn": paths.shown(paths.RESULTS / "drawn"),  # as make gives it
        "graphs": paths.GRAPHS,
    }
    given = [option.format(**names) for option in options]
    if not any(option.startswith("--graph") for option in given):
        given.append(f"--graph={paths.SHIPPED_GRAPH}")
    args = script("08_detect").parse(["--images", "my shop", *given])
    assert args.other_graph == (expected and expected.format(**names))


@pytest.mark.parametrize("tiles", ["0", "zero"])
def test_other_tiles_are_refused_with_what_is_possible(script, capsys, tiles):
    with pytest.raises(SystemExit):
        script("08_detect").parse(["--images=in", "--tiles", tiles])
    expected = f"found '{tiles}', expected a whole number of at least 1, or auto"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("threshold", [None, 0.4])
def test_the_count_error_of_the_graph_is_printed_with_its_own_threshold(
    run_step, graph, tmp_path, capsys, threshold
):
    save_image(tmp_path / "in" / "a.jpg")
    content = {"graph_sha256": files.sha256(graph), "threshold": 0.5}
    content.update(images=4, boxes=50, mean_absolute_count_error=1.25)
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    options = ["--draw", tmp_path / "drawn", "--metrics", tmp_path / "metrics.json"]
    options += [] if threshold is None else ["--threshold", threshold]
    run_step("--images", tmp_path / "in", *options)
    printed = (
        "count MAE of this graph in its evaluation: 1.2 of 12 products an image (4 test images)"
    )
    assert (printed in capsys.readouterr().out) == (threshold is None)


def test_a_bad_image_is_skipped_in_pre_labels(run_step, tmp_path):
    save_image(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b.jpg").write_text("no image")
    target = tmp_path / "to correct"
    run_step("--images", tmp_path / "in", "--prelabel", target, "--format=coco", "--skip-bad")
    assert [path.name for path in (target / "images").iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--images=x", "--prelabel=y"], "name the format of the pre-labels"),
        (["--images=x", "--format=voc"], "name a folder for pre-labels"),
        (["--labels=x", "--prelabel=y", "--format=voc"], "leave out --labels"),
        (["--images=x", "--prelabel=x/y", "--format=voc"], "expected a folder elsewhere"),
        (["--images=x", "--prelabel=y", "--format=sku110k"], "invalid choice|voc"),
    ],
)
def test_wrong_options_of_pre_labels_are_refused(script, capsys, options, message):
    with pytest.raises(SystemExit):
        script("08_detect").main(options)
    assert re.search(message, capsys.readouterr().err)


def test_images_that_are_not_divided_though_the_records_are_tiles_get_a_warning(
    run_step, tmp_path, capsys
):
    save_image(tmp_path / "in" / "a.JPG")
    save_labels(tmp_path / "test_labels.csv", ["a.JPG"])
    image = labels.labelled("a.JPG", (400, 300), [("product", BOX)])
    tile = examples.cut(image, (0, 0, 400, 300))
    with tf.io.TFRecordWriter(str(tmp_path / "val.record")) as writer:
        example = records.to_example(
            tile, (tmp_path / "in" / "a.JPG").read_bytes(), (400, 300), {"product": 1}
        )
        writer.write(example.SerializeToString())
    given = ["--labels", tmp_path / "test_labels.csv", "--images", tmp_path / "in"]
    run_step(*given)
    warning = "val.record holds tiles, and the images are not divided: .*--tiles auto"
    assert re.search(warning, capsys.readouterr().err)
    run_step(*given, "--tiles", "2")
    assert "holds tiles" not in capsys.readouterr().err
