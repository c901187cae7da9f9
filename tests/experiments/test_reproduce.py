"""reproduce.py: what it trains on, what it refuses, and the difference it prints. The steps themselves are tested elsewhere."""

import json

import pytest

from conftest import load_script
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths, steps

SHIPPED = files.sha256(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)
FIGURES = {
    "mAP": 0.99,
    "AP75": 0.9,
    "AP": 0.7,
    "precision": 0.98,
    "recall": 0.97,
    "mean_absolute_count_error": 0.5,
}


@pytest.fixture
def reproduce():
    return load_script("reproduce")


def figures(**changes):
    """Like metrics.json, with intervals of 0.01 to either side."""
    values = dict(FIGURES, **changes)
    return dict(
        values,
        pictures=71,
        boxes=2648,
        threshold=0.25,
        labels_sha256="0" * 64,
        shorter_side_px=[640, 640],
        graph_sha256=SHIPPED,
        intervals_95={name: [value - 0.01, value + 0.01] for name, value in values.items()},
    )


@pytest.fixture
def called(monkeypatch, tmp_path):
    """The steps that were called, in place of running them; the score step writes figures."""
    calls = []

    def run(step, options, log=None, core=None):
        calls.append((step, [str(option) for option in options]))
        if step == "score":
            if "--output" in options:
                files.write_text(
                    options[options.index("--output") + 1],
                    json.dumps(figures(mAP=0.985, AP75=0.92)),
                )

    monkeypatch.setattr(steps, "run", run)
    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics.json")
    monkeypatch.setattr(paths, "IMAGE_TO_PRODUCTS", tmp_path / "image2products.json")
    monkeypatch.setattr(paths, "TRAINING", tmp_path / "training")
    (tmp_path / "image2products.json").write_text('{"a.JPG": 1}')
    (tmp_path / "metrics.json").write_text(json.dumps(figures()))
    return calls


def test_figures_stand_side_by_side_with_this_runs_interval(reproduce):
    lines = reproduce.side_by_side(figures(), figures(mAP=0.985, AP75=0.92)).splitlines()
    assert lines[1].split() == "AP at IoU 0.5 0.9900 0.9850 0.9750 to 0.9950".split()
    assert lines[2].split() == "COCO AP at IoU 0.75 0.9000 0.9200 0.9100 to 0.9300".split()
    assert lines[-1] == "71 and 71 images, 2648 and 2648 boxes, score thresholds 0.2500 and 0.2500"


def test_a_fold_trains_the_shipped_recipe_on_its_own_records(reproduce, called, tmp_path, capsys):
    run = tmp_path / "run"
    reproduce.main(["--fold", "2", "--run-dir", str(run), "--seed", "5"])
    assert [step for step, _ in called] == [
        "split",
        "records",
        "check",
        "train",
        "export",
        "detect",
        "detect",
        "score",
    ]
    by_step = dict(called)
    assert by_step["split"] == ["--split", "grouped", "--fold", "2", "--out", str(run / "data")]
    assert by_step["train"] == [
        "--config",
        str(run / "fold.config"),
        "--run-dir",
        str(run),
        "--seed",
        "5",
    ]
    shipped, fold = (
        pipeline.read(paths.SHIPPED_GRAPH / "pipeline.config"),
        pipeline.read(run / "fold.config"),
    )
    assert list(fold.train_input_reader.tf_record_input_reader.input_path) == [
        str(run / "data" / "train.record")
    ]
    assert (fold.model, fold.train_config) == (shipped.model, shipped.train_config)
    score = by_step["score"]
    assert score[score.index("--ground-truth") + 1] == str(run / "data" / "test_labels.csv")
    assert "AP at IoU 0.5" in capsys.readouterr().out
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures(), "metrics.json stays"


def test_other_images_than_those_of_metrics_json_are_refused(
    reproduce, called, monkeypatch, tmp_path
):
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / (split + "_labels.csv"))
    with pytest.raises(
        UserError, match=r"train_labels.csv: no such file; expected the data.*Run `make data`"
    ):
        reproduce.main([])
    monkeypatch.setattr(reproduce, "shipped_figures", figures)
    monkeypatch.setattr(paths, "SHIPPED_GRAPH", tmp_path)
    for trained_on, test, words in [
        (
            ["b.JPG"],
            "a.JPG",
            "train_labels.csv: 1 images, which are not the 1 .* had for train; expected the same",
        ),
        (
            ["a.JPG"],
            "b.JPG",
            "test_labels.csv: 1 images, which are not the 1 .* had for test; expected the same",
        ),
    ]:
        (tmp_path / "trained_on.json").write_text(
            json.dumps({"train": trained_on, "val": ["a.JPG"]})
        )
        labels(tmp_path, "a.JPG")
        (tmp_path / "test_labels.csv").write_text(
            (tmp_path / "test_labels.csv").read_text().replace("a.JPG", test)
        )
        with pytest.raises(UserError, match=words):
            reproduce.main([])
    assert not called


def test_figures_of_another_graph_are_refused(reproduce, called, monkeypatch, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(dict(figures(), graph_sha256="of another")))
    with pytest.raises(
        UserError,
        match="metrics.json: was made with another graph than .*; expected .*git checkout metrics.json image2products",
    ):
        reproduce.main(["--fold", "0"])
    assert not called


def labels(folder, *names):
    """Label files of train, val and test with one box in each of the images."""
    for split in ("train", "val", "test"):
        (folder / (split + "_labels.csv")).write_text(
            "filename,width,height,class,xmin,ymin,xmax,ymax\n"
            + "".join(f"{name},9,9,product,1,1,5,5\n" for name in names)
        )


@pytest.mark.parametrize("same", [True, False])
def test_the_official_split_trains_the_config_beside_the_graph_as_it_is(
    reproduce, called, monkeypatch, tmp_path, capsys, same
):
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / (split + "_labels.csv"))
    expected = figures()
    monkeypatch.setattr(reproduce, "shipped_figures", lambda: expected)
    monkeypatch.setattr(paths, "SHIPPED_GRAPH", tmp_path)
    labels(tmp_path, "a.JPG")
    (tmp_path / "trained_on.json").write_text('{"train": ["a.JPG"], "val": ["a.JPG"]}')
    if same:
        expected["labels_sha256"] = files.sha256(tmp_path / "test_labels.csv")
    reproduce.main(["--seed", "1"])
    assert (
        "not the same sizes or boxes: it was read on copies with a shorter side of 640 px"
        in capsys.readouterr().out
    ) != same
    assert [step for step, _ in called] == [
        "check",
        "train",
        "export",
        "detect",
        "detect",
        "score",
        "detect",
        "detect",
        "score",
    ]
    run = tmp_path / "training" / "reproduced_seed1"
    assert called[1][1] == [
        "--config",
        str(tmp_path / "pipeline.config"),
        "--run-dir",
        str(run),
        "--seed",
        "1",
    ]
    assert called[-1][1][:6] == [
        "--compare",
        str(run / "shipped_test_detections.json"),
        str(run / "test_detections.json"),
        "--val-detections",
        str(run / "shipped_val_detections.json"),
        str(run / "val_detections.json"),
    ]
    assert called[6][1][:2] == ["--graph", str(tmp_path)]
