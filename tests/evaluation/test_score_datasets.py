"""Scores of several datasets: together and each, at the threshold of all validation images."""

import json

import numpy as np
import pytest
from scored_images import BOX, FAR

from conftest import load_script
from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import detections, labels
from shelfdet.data.detections import Detections

SIZE_WH = (64, 60)
FALSE_POSITIVE = (20, 0, 30, 10)
INFO = {"graph_sha256": "a" * 64, "config_sha256": "b" * 64, "max_side": 1024, "exif": "ignore"}


def write_split(dataset, split, images, info=INFO):
    """Labels and detections of a dataset: (name, boxes, list of (score, box)) of each image."""
    truth = [
        labels.labelled(name, SIZE_WH, [("product", box) for box in boxes])
        for name, boxes, _ in images
    ]
    paths.dataset_annotations(dataset).mkdir(parents=True, exist_ok=True)
    paths.dataset_results(dataset).mkdir(parents=True, exist_ok=True)
    labels.write_labels(truth, paths.labels(split, dataset))
    found = [
        Detections(
            name,
            SIZE_WH,
            np.array([box for _, box in scored], dtype=float).reshape(-1, 4),
            np.array([score for score, _ in scored]),
            ("product",) * len(scored),
        )
        for name, _, scored in images
    ]
    path = paths.dataset_results(dataset) / f"{split}_detections.json"
    detections.write_detections(found, path, info)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Two datasets with images of the same names; in the second, products have lower scores."""
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path / "annotations")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics.json")
    monkeypatch.setattr(paths, "IMAGE_TO_PRODUCTS", tmp_path / "image2products.json")
    write_split("default", "val", [("v.jpg", [BOX], [(0.9, BOX)])])
    write_split("default", "test", [("a.jpg", [BOX, FAR], [(0.9, BOX), (0.8, FAR)])])
    # Alone, the first would choose 0.9 and the second 0.5.
    write_split("second", "val", [("v.jpg", [BOX, FAR], [(0.6, BOX), (0.5, FAR)])])
    write_split(
        "second", "test", [("a.jpg", [BOX, FAR], [(0.7, BOX), (0.55, FALSE_POSITIVE), (0.3, FAR)])]
    )
    return tmp_path


def score(*options):
    load_script("09_score").main(["--resamples=0", *options])


def test_each_dataset_and_all_together(workspace, capsys):
    score("--dataset=default,second")
    figures = json.loads((workspace / "metrics.json").read_text())
    assert figures["threshold"] == 0.5
    assert figures["images"] == 2 and figures["boxes"] == 4
    assert (figures["TP"], figures["FP"], figures["FN"]) == (3, 1, 1)
    parts = figures["by_dataset"]
    assert [(part["TP"], part["FP"], part["FN"]) for part in parts.values()] == [
        (2, 0, 0),
        (1, 1, 1),
    ]
    assert parts["default"]["mAP"] == 1
    # By hand: true, false, true positive of two products; the envelope is 1 up to recall 0.5, 2/3.
    assert parts["second"]["mAP"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert len(parts["second"]["labels_sha256"]) == 64
    counts = json.loads((workspace / "image2products.json").read_text())
    assert counts == {"a.jpg": 2, "second/a.jpg": 2}
    output = capsys.readouterr().out
    assert "second/val_detections.json, 2 images" in output.replace("\n", " ")
    assert [line.split()[:2] for line in output.splitlines() if line.startswith("second ")] == [
        ["second", "1"]
    ]
    assert "next:" not in output


def test_the_commands_for_the_report_of_one_of_several_datasets(workspace, capsys):
    for dataset in ("default", "second"):
        for split in ("val", "test"):
            path = paths.dataset_results(dataset) / f"{split}_detections.json"
            content = json.loads(path.read_text())
            content["info"].update(tiles="auto", exif="apply", pad_strips=True)
            path.write_text(json.dumps(content))
    score("--dataset=second,default")
    assert (
        "a report is of one dataset. For second: `make eval NAME=second EXIF=apply PAD=1 "
        "TILES=auto`, whose figures replace these, then `make report NAME=second`\n"
    ) in capsys.readouterr().out


def test_the_report_of_one_dataset_is_named_with_it(workspace, capsys):
    for dataset in ("default", "second"):
        (paths.dataset_results(dataset) / "report.html").touch()
    score("--dataset=second")
    output = capsys.readouterr().out
    assert "results/second/report.html is of an earlier evaluation; `make report NAME=sec" in output
    assert output.count("report.html") == 1 and output.endswith("next: make report NAME=second\n")


def test_one_dataset_alone_has_the_figures_that_its_files_have(workspace):
    score("--dataset=second")
    alone = json.loads((workspace / "metrics.json").read_text())
    results, annotations = workspace / "results" / "second", workspace / "annotations" / "second"
    score(
        f"--detections={results / 'test_detections.json'}",
        f"--ground-truth={annotations / 'test_labels.csv'}",
        f"--val-detections={results / 'val_detections.json'}",
        f"--val-ground-truth={annotations / 'val_labels.csv'}",
        f"--output={workspace / 'files.json'}",
    )
    of_files = json.loads((workspace / "files.json").read_text())
    for key in ("mAP", "AP", "AP75", "precision", "recall", "threshold", "TP", "validation"):
        assert alone[key] == of_files[key], key


def test_datasets_have_to_be_detected_by_the_same_graph(workspace):
    other = dict(INFO, graph_sha256="c" * 64)
    for split in ("val", "test"):
        write_split("second", split, [("v.jpg", [BOX], [(0.6, BOX)])], other)
    with pytest.raises(UserError, match=r"second/test_detections.json: graph_sha256 is 'ccc"):
        score("--dataset=default,second")
    assert not (workspace / "metrics.json").exists()


def test_a_dataset_without_detections_is_named(workspace):
    (workspace / "results" / "second" / "val_detections.json").unlink()
    with pytest.raises(UserError, match="second/val_detections.json"):
        score("--dataset=default,second")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--dataset=a,a"], "expected each dataset once"),
        (["--dataset=a b"], "expected a name"),
        (["--dataset=a", "--detections=x"], "--dataset excludes"),
        (["--dataset=a", "--compare", "x", "y"], "--dataset excludes"),
    ],
)
def test_wrong_options_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        load_script("09_score").parse(options)
    assert message in capsys.readouterr().err


def test_step_08_finds_images_and_writes_results_of_a_dataset(workspace, monkeypatch):
    monkeypatch.setattr(paths, "IMAGES", workspace / "images")
    step_08 = load_script("08_detect")
    label_file = paths.labels("val", "second")
    assert step_08.default_images(label_file) == workspace / "images" / "second"
    results = workspace / "results"
    assert step_08.default_output(label_file) == results / "second" / "val_detections.json"
    assert step_08.default_output(paths.labels("val")) == results / "val_detections.json"
    # A label file outside the workspace, of whatever dataset
    assert step_08.default_output(workspace / "test_labels.csv") == results / "test_detections.json"


def test_datasets_of_the_training_that_are_not_scored_are_named(workspace, monkeypatch, capsys):
    monkeypatch.setattr(paths, "ROOT", workspace)
    graph = workspace / "nets" / "one"
    graph.mkdir(parents=True)
    info = {"graph": "nets/one/frozen_inference_graph.pb"}
    for key, name in (("graph_sha256", paths.GRAPH_FILE), ("config_sha256", paths.CONFIG_FILE)):
        (graph / name).write_bytes(b"any")
        info[key] = files.sha256(graph / name)
    used = {"train": ["t.jpg", "second/t.jpg"], "val": ["v.jpg", "second/v.jpg"]}
    (graph / "trained_on.json").write_text(json.dumps(used))
    for dataset in ("default", "second"):
        write_split(dataset, "val", [("v.jpg", [BOX], [(0.9, BOX)])], dict(INFO, **info))
        write_split(dataset, "test", [("a.jpg", [BOX], [(0.9, BOX)])], dict(INFO, **info))
    score()
    note = "it was trained on second, too; `make eval NAME=default,second` scores all"
    assert note in capsys.readouterr().out
    score("--dataset=default,second")
    assert "trained on" not in capsys.readouterr().out
    paths.labels("test", "second").unlink()  # trained elsewhere
    score()
    assert "trained on" not in capsys.readouterr().out
