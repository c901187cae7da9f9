"""Suspects: each kind of wrong label is found, the worst first; right ones are not."""

import json

import pytest
from scored_images import BOX, EMPTY, FAR, HALF, SIZE_WH, found, labelled, match

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import detections, labels
from shelfdet.evaluation import matching, suspects

THRESHOLD = 0.5


def reasons(*images):
    return [
        (suspect.filename, suspect.reason, pytest.approx(suspect.suspicion))
        for suspect in suspects.find(match(*images), THRESHOLD)
    ]


def test_labels_that_the_detector_confirms_are_no_suspects():
    assert reasons(("a", [BOX, FAR], [(0.9, BOX), (0.5, FAR)])) == []


def test_a_detection_without_a_label():
    (suspect,) = suspects.find(match(("a", [BOX], [(0.9, BOX), (0.8, EMPTY)])), THRESHOLD)
    assert suspect == ("a", suspects.NO_LABEL, 0.8, None, None, EMPTY, "product", 0.8)
    assert suspect.box_xyxy == EMPTY


def test_a_second_detection_of_a_labelled_product_is_no_fault_of_the_labels():
    assert reasons(("a", [BOX], [(0.9, BOX), (0.8, HALF)])) == []


def test_detections_below_the_threshold_do_not_count():
    assert reasons(("a", [BOX], [(0.9, BOX), (0.49, EMPTY)])) == []


def test_a_label_without_a_detection_and_how_near_one_was():
    assert reasons(("a", [BOX, FAR], [(0.3, BOX)])) == [
        ("a", suspects.NO_DETECTION, 1),
        ("a", suspects.NO_DETECTION, 0.7),
    ]


def test_a_badly_placed_label():
    (suspect,) = suspects.find(match(("a", [HALF], [(0.9, BOX)])), THRESHOLD)
    assert suspect[:3] == ("a", suspects.BADLY_PLACED, pytest.approx(0.45))  # 0.9 (1 - 0.5)
    assert (suspect.label_xyxy, suspect.detection_xyxy) == (HALF, BOX)


def test_neighbours_that_overlap_are_not_taken_for_one_another():
    # The label of the right one is missing; its detection overlaps the left label by 2 / 18.
    right = (8, 0, 18, 10)
    assert reasons(("a", [BOX], [(0.95, right), (0.9, BOX)])) == [("a", suspects.NO_LABEL, 0.95)]


def test_a_duplicate_label():
    nearly = (0, 0, 10, 9.5)
    assert reasons(("a", [BOX, nearly], [(0.9, BOX)])) == [("a", suspects.DUPLICATE, 0.95)]


def test_another_class():
    truth = [labelled("a", [BOX, FAR], ["tea", "cola"])]
    detected = [found("a", [(0.9, *BOX), (0.8, *FAR)], ["tea", "tea"])]
    (suspect,) = suspects.find(matching.match(truth, detected), THRESHOLD)
    assert suspect[:3] == ("a", suspects.OTHER_CLASS, 0.8)
    assert (suspect.label, suspect.detection) == ("cola", "tea")


def test_the_worst_of_all_images_comes_first():
    found_in_all = reasons(
        ("a", [BOX, FAR], [(0.9, BOX), (0.3, FAR)]),
        ("b", [BOX], [(0.9, BOX), (0.99, EMPTY)]),
        ("c", [BOX], []),
    )
    assert [reason[0] for reason in found_in_all] == ["c", "b", "a"]


def test_json_leaves_out_what_there_is_not():
    (entry,) = suspects.as_json(suspects.find(match(("a", [BOX], [])), THRESHOLD))
    assert entry == {
        "filename": "a",
        "reason": suspects.NO_DETECTION,
        "suspicion": 1.0,
        "label_xyxy": BOX,
        "label": "product",
    }


# --- suspects.py ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Labels of one image a split, and the folder of their detections."""
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    for split in paths.SPLITS:
        image = labels.labelled(f"{split}.jpg", SIZE_WH, [("product", BOX), ("product", FAR)])
        labels.write_labels([image], paths.labels(split))
    return tmp_path / "results" / "suspects"


def write_detections(folder, split, scored, graph="one", **info):
    info = dict(graph=f"{graph}/frozen_inference_graph.pb", graph_sha256=graph, **info)
    path = folder / f"{split}_detections.json"
    detections.write_detections([found(f"{split}.jpg", scored)], path, info)


def test_the_step_lists_and_writes_all(script, folder, capsys):
    for split in ("train", "val"):
        write_detections(folder, split, [(0.9, *BOX), (0.8, *FAR)])
    seen = {"train": ["test.jpg"]}
    write_detections(folder, "test", [(0.95, *BOX), (0.75, *EMPTY)], seen_in_training=seen)
    script("suspects").main(["--threshold=0.5", "--shown=1"])
    out = capsys.readouterr().out
    assert "2 suspects in 3 images with 6 labels" in out
    assert "       1  no label\n       1  no detection\n" in out
    assert "  1.00  no detection     test.jpg  40 40 50 50\n" in out
    assert "0.75" not in out
    assert "1 of 3 images trained this graph" in out
    content = json.loads((folder / "suspects.json").read_text())
    assert (content["graph_sha256"], content["threshold"]) == ("one", 0.5)
    assert [entry["suspicion"] for entry in content["suspects"]] == [1, 0.75]


def test_without_detections_the_step_names_the_command(script, folder):
    with pytest.raises(UserError, match="train_detections.json: no such file.*`make suspects`"):
        script("suspects").main(["--threshold=0.5"])


def test_detections_of_two_graphs_are_refused(script, folder):
    for split, graph in zip(paths.SPLITS, ("one", "one", "two")):
        write_detections(folder, split, [(0.9, *BOX)], graph)
    with pytest.raises(UserError, match="test_detections.json: is of the graph two"):
        script("suspects").main(["--threshold=0.5"])
