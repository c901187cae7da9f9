"""reproduce.py: what it trains on, what it refuses, and the difference it prints. The steps themselves are tested elsewhere."""

import json

import pytest

from conftest import ROOT, load_script
from shelfdet import UserError, files, paths, pipeline, steps

FIGURES = {"mAP": 0.99, "AP75": 0.9, "AP": 0.7, "precision": 0.98, "recall": 0.97, "mean_absolute_count_error": 0.5}


@pytest.fixture
def reproduce():
    return load_script("reproduce")


def figures(**changes):
    """Like metrics.json, with intervals of 0.01 to either side."""
    values = dict(FIGURES, **changes)
    return dict(values, pictures=71, boxes=2648, threshold=0.25, labels_sha256="0" * 64,
                intervals_95={name: [value - 0.01, value + 0.01] for name, value in values.items()})


@pytest.fixture
def called(monkeypatch, tmp_path):
    """The steps that were called, in place of running them; the score step writes figures."""
    calls = []

    def run(step, options, log=None, core=None):
        calls.append((step, [str(option) for option in options]))
        if step == "score":
            files.write_text(options[options.index("--output") + 1], json.dumps(figures(mAP=0.985, AP75=0.92)))
    monkeypatch.setattr(steps, "run", run)
    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text(json.dumps(figures()))
    return calls


def test_difference_says_what_lies_outside_the_interval(reproduce):
    lines = reproduce.difference(figures(), figures(mAP=0.985, AP75=0.92)).splitlines()
    assert lines[1].split() == "AP at IoU 0.5 0.9900 0.9850 -0.0050 0.9800 to 1.0000".split()
    assert lines[2].split() == "COCO AP at IoU 0.75 0.9000 0.9200 +0.0200 0.8900 to 0.9100, outside".split()
    assert lines[-1] == "pictures 71 and 71, boxes 2648 and 2648, score thresholds 0.2500 and 0.2500"


def test_a_fold_trains_the_shipped_recipe_on_its_own_records(reproduce, called, tmp_path, capsys):
    run = tmp_path / "run"
    reproduce.main(["--fold", "2", "--run-dir", str(run), "--seed", "5"])
    assert [step for step, _ in called] == ["split", "records", "train", "export", "detect", "detect", "score"]
    by_step = dict(called)
    assert by_step["split"] == ["--split", "grouped", "--fold", "2", "--out", str(run / "data")]
    assert by_step["train"] == ["--config", str(run / "fold.config"), "--run-dir", str(run), "--seed", "5"]
    shipped, fold = pipeline.read(paths.DEFAULT_GRAPH / "pipeline.config"), pipeline.read(run / "fold.config")
    assert list(fold.train_input_reader.tf_record_input_reader.input_path) == [str(run / "data" / "train.record")]
    assert (fold.model, fold.train_config) == (shipped.model, shipped.train_config)
    score = by_step["score"]
    assert score[score.index("--ground-truth") + 1] == str(run / "data" / "test_labels.csv")
    assert "AP at IoU 0.5" in capsys.readouterr().out
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures(), "metrics.json stays"


def test_other_pictures_than_those_of_metrics_json_are_refused(reproduce, called, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / (split + "_labels.csv"))
    with pytest.raises(UserError, match=r"train_labels.csv: no such file; expected the data.*Run `make data`"):
        reproduce.main(["--run-dir", str(tmp_path / "run")])
    for split in ("train", "val", "test"):
        (tmp_path / (split + "_labels.csv")).write_text("filename\n")
    with pytest.raises(UserError, match=r"test_labels.csv: has the sha256 [0-9a-f]{64}; expected 0{64}, of which .*metrics.json speaks"):
        reproduce.main(["--run-dir", str(tmp_path / "run")])
    assert not called


def test_the_official_split_trains_the_config_beside_the_graph_as_it_is(reproduce, called, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / (split + "_labels.csv"))
    for split in ("train", "val", "test"):
        (tmp_path / (split + "_labels.csv")).write_text("filename\n")
    (tmp_path / "metrics.json").write_text(json.dumps(dict(figures(), labels_sha256=files.sha256(tmp_path / "test_labels.csv"))))
    reproduce.main([])
    assert [step for step, _ in called] == ["train", "export", "detect", "detect", "score"]
    assert dict(called)["train"][:2] == ["--config", str(paths.DEFAULT_GRAPH / "pipeline.config")]
    assert dict(called)["train"][3] == str(ROOT / "workspace" / "training_demo" / "training" / "reproduced")
