"""Reproduction: what is trained on, what is refused, and the comparison that is printed.

The steps are tested elsewhere; here they are replaced by a function that records their options.
"""

import json
import pathlib

import pytest
from recorded_steps import record, value_of

from experiments import reproduce, reproduction
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, paths

FIGURES = {
    "mAP": 0.99,
    "AP75": 0.9,
    "AP": 0.7,
    "precision": 0.98,
    "recall": 0.97,
    "mean_absolute_count_error": 0.5,
}


def figures(images=71, **changes):
    """Like metrics.json, with intervals of 0.01 to either side."""
    values = dict(FIGURES, **changes)
    return dict(
        values,
        images=images,
        boxes=2648,
        threshold=0.25,
        labels_sha256="0" * 64,
        shorter_side_px=[640, 640],
        intervals_95={name: [value - 0.01, value + 0.01] for name, value in values.items()},
    )


@pytest.fixture
def called(monkeypatch, tmp_path):
    """The steps called, as (step, options); they are not run, and the score step writes figures."""

    def act(step, options):
        if step == "export":
            config = pathlib.Path(value_of(options, "--run-dir"), "fold.config")
            if config.is_file():
                graph_config = pathlib.Path(value_of(options, "--output"), "graph/pipeline.config")
                files.write_text(graph_config, config.read_text())
        if step == "score" and "--output" in options:
            scored = figures(mAP=0.985, AP75=0.92)
            graph_config = pathlib.Path(value_of(options, "--graph-dir"), "pipeline.config")
            if graph_config.is_file():
                scored["config_sha256"] = files.sha256(graph_config)
            files.write_text(value_of(options, "--output"), json.dumps(scored))

    monkeypatch.setattr(paths, "TRAINING", tmp_path / "training")
    return record(monkeypatch, act)


@pytest.fixture
def small_data(monkeypatch, tmp_path):
    """Label files and an included graph's folder of one image a split, in a temporary folder."""
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / f"{split}_labels.csv")
    monkeypatch.setattr(paths, "SHIPPED_GRAPH", tmp_path)
    monkeypatch.setattr(reproduction, "shipped_figures", lambda: figures(images=1))
    for split in paths.SPLITS:
        write_labels(tmp_path, split, "a.JPG")
    (tmp_path / "trained_on.json").write_text('{"train": ["a.JPG"], "val": ["a.JPG"]}')
    return tmp_path


def write_labels(folder, split, *names):
    """A label file with one box in each of the images."""
    rows = "".join(f"{name},9,9,product,1,1,5,5\n" for name in names)
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    (folder / f"{split}_labels.csv").write_text(header + rows)


def test_figures_are_printed_beside_the_runs_with_its_interval():
    lines = reproduction.comparison(figures(), figures(mAP=0.985, AP75=0.92)).splitlines()
    assert lines[1].split() == "AP at IoU 0.5 0.9900 0.9850 0.9750 to 0.9950".split()
    assert lines[2].split() == "COCO AP at IoU 0.75 0.9000 0.9200 0.9100 to 0.9300".split()
    assert lines[-1] == "71 and 71 images, 2648 and 2648 boxes, score thresholds 0.2500 and 0.2500"


def test_a_fold_trains_the_shipped_recipe_on_its_own_records(called, tmp_path, capsys):
    run = tmp_path / "run"
    before = paths.METRICS.read_text()
    reproduce.main(["--fold", "2", "--run-dir", str(run), "--seed", "5"])
    expected_steps = "split records check train export detect detect score".split()
    assert [step for step, _ in called] == expected_steps
    by_step = dict(called)
    data = run / "data"
    assert by_step["split"] == ["--split", "grouped", "--fold", "2", "--out", str(data)]
    config = run / "fold.config"
    assert by_step["train"] == f"--config {config} --run-dir {run} --seed 5 --workers 1".split()
    shipped = pipeline.read(paths.SHIPPED_GRAPH / "pipeline.config")
    fold = pipeline.read(config)
    records = fold.train_input_reader.tf_record_input_reader.input_path
    assert list(records) == [str(data / "train.record")]
    assert fold.model == shipped.model
    assert fold.train_config == shipped.train_config
    assert value_of(by_step["score"], "--ground-truth") == str(data / "test_labels.csv")
    assert "AP at IoU 0.5" in capsys.readouterr().out
    assert paths.METRICS.read_text() == before


def test_the_mean_over_folds_is_by_hand():
    maes = (0.4, 1.0, 0.7, 0.5)
    found = [figures(mean_absolute_count_error=mae, mAP=0.9 + mae / 10) for mae in maes]
    lines = [line.split() for line in reproduction.mean_of_folds(found).splitlines()]
    assert lines[0][:4] == ["mean", "of", "4", "folds"]
    # Mean .65, standard deviation sqrt(.21 / 3) = .26458; half of it, times 3.1824 (a printed table
    # of Student's t, three degrees of freedom), is .4210.
    assert lines[-1] == "count MAE 0.6500 0.4000 1.0000 0.2290 to 1.0710".split()
    # A tenth of that: .965 + .0421 is cut at 1.
    assert lines[1] == "AP at IoU 0.5 0.9650 0.9400 1.0000 0.9229 to 1.0000".split()
    assert lines[2] == "COCO AP at IoU 0.75 0.9000 0.9000 0.9000 0.9000 to 0.9000".split()


def test_the_mean_is_printed_when_the_last_fold_of_the_recipe_is_trained(called, tmp_path, capsys):
    for fold in (0, 1, 3):
        reproduce.main(["--fold", str(fold)])
    assert "mean of" not in capsys.readouterr().out
    reproduce.main(["--fold", "2", "--seed", "1"])  # a run of its own
    assert "mean of" not in capsys.readouterr().out
    reproduce.main(["--fold", "2"])
    assert "mean of 4 folds" in capsys.readouterr().out
    fold_3 = tmp_path / "training" / "reproduced_fold3"
    graph_config = fold_3 / "graph" / "pipeline.config"
    text = graph_config.read_text()
    assert "num_steps: 2400" in text
    graph_config.write_text(text + "\n")  # exported again, and not yet scored
    reproduce.main(["--fold", "2"])
    assert "mean of" not in capsys.readouterr().out
    graph_config.write_text(text.replace("num_steps: 2400", "num_steps: 1200"))  # another recipe
    scored = dict(figures(), config_sha256=files.sha256(graph_config))
    (fold_3 / "metrics.json").write_text(json.dumps(scored))
    reproduce.main(["--fold", "2"])
    assert "mean of" not in capsys.readouterr().out


def test_missing_data_is_refused(called, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "labels", lambda split: tmp_path / f"{split}_labels.csv")
    with pytest.raises(
        UserError, match=r"train_labels.csv: no such file; expected the data.*Run `make data`"
    ):
        reproduce.main([])
    assert not called


@pytest.mark.parametrize(
    "split, names, message",
    [
        ("train", ["b.JPG"], "1 image, not the 1 that .* had for train"),
        ("val", ["b.JPG"], "1 image, not the 1 that .* had for val"),
        ("test", ["a.JPG", "b.JPG"], "2 images, not the 1 that .* had for test"),
    ],
)
def test_other_images_than_the_shipped_graphs_are_refused(
    called, small_data, split, names, message
):
    write_labels(small_data, split, *names)
    with pytest.raises(UserError, match=f"{split}_labels.csv: {message}; expected the same. Run"):
        reproduce.main([])
    assert not called


def test_figures_of_another_graph_are_refused(called, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "SHIPPED_GRAPH", tmp_path)
    (tmp_path / "metrics.json").write_text('{"graph_sha256": "of another"}')
    (tmp_path / "frozen_inference_graph.pb").write_bytes(b"graph")
    with pytest.raises(
        UserError,
        match="metrics.json: was made with another graph than .*; expected .* Restore both files",
    ):
        reproduce.main(["--fold", "0"])
    assert not called


def test_the_shipped_figures_are_of_the_shipped_graph():
    assert reproduction.shipped_figures()["images"] == 71


@pytest.mark.parametrize("same_labels", [True, False])
def test_the_official_split_trains_the_config_beside_the_graph_as_it_is(
    called, monkeypatch, small_data, capsys, same_labels
):
    expected = figures(images=1)
    if same_labels:
        expected["labels_sha256"] = files.sha256(small_data / "test_labels.csv")
    monkeypatch.setattr(reproduction, "shipped_figures", lambda: expected)
    reproduce.main(["--seed", "1"])
    note = "not the same sizes or boxes as those that the included graph's figures were measured on"
    assert (note in capsys.readouterr().out) != same_labels
    expected_steps = "check train export detect detect score detect detect score".split()
    assert [step for step, _ in called] == expected_steps
    run = small_data / "training" / "reproduced_seed1"
    config = small_data / "pipeline.config"
    assert called[1][1] == f"--config {config} --run-dir {run} --seed 1 --workers 1".split()
    assert called[6][1][:2] == ["--graph", str(small_data)]
    assert called[-1][1][:6] == [
        "--compare",
        str(run / "shipped_test_detections.json"),
        str(run / "test_detections.json"),
        "--val-detections",
        str(run / "shipped_val_detections.json"),
        str(run / "val_detections.json"),
    ]
