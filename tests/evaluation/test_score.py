"""Step 09 as a person runs it: figures, files, and refusals."""

import hashlib
import json

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import detections, labels
from shelfdet.data.detections import Detections
from shelfdet.evaluation import bootstrap

INFO = {
    "graph": "nets/one/frozen_inference_graph.pb",
    "graph_sha256": "a" * 64,
    "config_sha256": "b" * 64,
    "max_side": 1024,
    "exif": "ignore",
}
BOX, FAR, FALSE_ALARM = (0, 0, 10, 10), (40, 40, 50, 50), (20, 0, 30, 10)


@pytest.fixture
def score(script):
    module = script("09_score")
    return lambda *args: module.main([str(arg) for arg in args] + ["--resamples", "20"])


@pytest.fixture
def shelf(tmp_path):
    """A folder with labels and detections of two test and two validation images, in the workspace's formats."""
    write(
        tmp_path,
        "test",
        [
            ("C1_P01_N1_S2_1.JPG", [BOX, FAR], [(0.9, BOX), (0.6, FALSE_ALARM), (0.3, FAR)]),
            ("C2_P01_N1_S2_1.JPG", [BOX], [(0.8, BOX)]),
        ],
    )
    # F1 is best from 0.5 on: 2 hits of 2, no false alarm. On the test images alone it would be best from 0.3 on.
    write(
        tmp_path,
        "val",
        [
            ("C1_P02_N1_S2_1.JPG", [BOX], [(0.7, BOX), (0.4, FALSE_ALARM)]),
            ("C1_P02_N1_S2_2.JPG", [FAR], [(0.5, FAR)]),
        ],
    )
    return tmp_path


def write(folder, split, pictures, info=INFO):
    size_wh = (64, 60)
    labels.write_labels(
        [
            labels.LabelledImage(
                name, size_wh, np.array(truth, dtype=float), ("product",) * len(truth)
            )
            for name, truth, _ in pictures
        ],
        folder / f"{split}_labels.csv",
    )
    found = [
        Detections(
            name,
            size_wh,
            np.array([box for _, box in boxes], dtype=float),
            np.array([s for s, _ in boxes]),
            ("product",) * len(boxes),
        )
        for name, _, boxes in pictures
    ]
    detections.write_detections(found, folder / f"{split}_detections.json", info)


def in_workspace_formats(folder, *more):
    return (
        "--ground-truth",
        folder / "test_labels.csv",
        "--detections",
        folder / "test_detections.json",
        "--val-ground-truth",
        folder / "val_labels.csv",
    ) + more


def with_validation(folder, *more):
    return in_workspace_formats(
        folder,
        "--val-detections",
        folder / "val_detections.json",
        "--output",
        folder / "metrics.json",
        *more,
    )


def test_figures_at_the_threshold_that_validation_chose(score, shelf, capsys):
    score(*with_validation(shelf, "--counts-output", shelf / "counts.json"))
    figures = json.loads((shelf / "metrics.json").read_text())
    assert (
        figures["threshold"] == 0.5 and "val_detections.json, 2 images" in figures["threshold_from"]
    )
    assert (figures["TP"], figures["FP"], figures["FN"]) == (2, 1, 1)
    assert figures["precision"] == figures["recall"] == figures["f1"] == round(2 / 3, 6)
    assert figures["mAP"] == round(1 / 3 + 1 / 3 + 1 / 3 * 3 / 4, 6)  # hit, hit, false alarm, hit
    assert figures["mean_absolute_count_error"] == 0
    assert (figures["images"], figures["boxes"], figures["detections"]) == (2, 3, 4)
    assert figures["labelled_twice"] == 0
    assert figures["shorter_side_px"] == [60, 60]
    assert figures["graph_sha256"] == "a" * 64 and figures["config_sha256"] == "b" * 64
    assert (
        figures["labels_sha256"]
        == hashlib.sha256((shelf / "test_labels.csv").read_bytes()).hexdigest()
    )
    assert sorted(figures["by_camera"]) == ["C1", "C2"] and list(figures["by_planogram"]) == ["P01"]
    assert (
        figures["errors"]["background"]["number"] == 1
        and figures["errors"]["missed"]["number"] == 1
    )
    assert figures["validation"]["f1"] == 1
    assert json.loads((shelf / "counts.json").read_text()) == {
        "C1_P01_N1_S2_1.JPG": 2,
        "C2_P01_N1_S2_1.JPG": 1,
    }
    assert "2 hits, 1 false alarms, 1 missed" in capsys.readouterr().out


def test_products_that_were_labelled_twice_are_counted(score, shelf, capsys):
    near = [BOX[0], BOX[1], BOX[2], BOX[3] + 1]
    write(shelf, "test", [("C1_P01_N1_S2_1.JPG", [BOX, near], [(0.7, BOX)])])
    score(*in_workspace_formats(shelf, "--threshold", "0.5", "--output", shelf / "metrics.json"))
    figures = json.loads((shelf / "metrics.json").read_text())
    assert (figures["labelled_twice"], figures["TP"], figures["FN"]) == (1, 1, 1)
    assert (
        "1 of the products lie on another (IoU over 0.6), as if labelled twice"
        in capsys.readouterr().out
    )


def test_the_same_input_gives_the_same_bytes(score, shelf):
    score(*with_validation(shelf))
    first = (shelf / "metrics.json").read_bytes()
    score(*with_validation(shelf))
    assert (shelf / "metrics.json").read_bytes() == first
    assert str(shelf).encode() not in first  # figures do not tell where they were read


def test_the_threshold_never_comes_from_the_test_images(score, shelf, capsys):
    score(*in_workspace_formats(shelf, "--output", shelf / "metrics.json"))
    figures = json.loads((shelf / "metrics.json").read_text())
    assert figures["mAP"] > 0.9 and figures["AP75"] is not None
    undefined = ("threshold", "precision", "recall", "f1", "TP", "FP", "FN", "mean_count_error")
    assert all(figures[name] is None for name in undefined)
    assert "test images never choose it" in figures["threshold_from"]
    assert "--val-detections, or --threshold" in capsys.readouterr().out
    with pytest.raises(UserError, match="counting needs a threshold"):
        score(*in_workspace_formats(shelf, "--counts-output", shelf / "counts.json"))
    assert not (shelf / "counts.json").exists()


def test_validation_images_that_are_scored_too_are_refused(score, shelf):
    write(
        shelf,
        "val",
        [("C1_P01_N1_S2_1.JPG", [BOX], [(0.7, BOX)]), ("C1_P02_N1_S2_1.JPG", [BOX], [(0.7, BOX)])],
    )
    message = r"val_detections\.json: 1 of its images are scored, too \(C1_P01_N1_S2_1\.JPG\)"
    with pytest.raises(UserError, match=message):
        score(*with_validation(shelf))
    assert not (shelf / "metrics.json").exists()
    twice = [shelf / "test_detections.json"] * 2
    with pytest.raises(UserError, match=message):
        score(
            "--ground-truth",
            shelf / "test_labels.csv",
            "--val-ground-truth",
            shelf / "val_labels.csv",
            "--compare",
            *twice,
            "--val-detections",
            shelf / "val_detections.json",
            shelf / "val_detections.json",
        )


def note_seen(folder, split, **names):
    path = folder / f"{split}_detections.json"
    content = json.loads(path.read_text())
    content["info"]["seen_in_training"] = names
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "split, used, message",
    [
        (
            "test",
            "train",
            r"test_detections\.json: 1 of its images .* \(C1_P01_N1_S2_1\.JPG\).*make train RUN_DIR=",
        ),
        (
            "test",
            "val",
            r"test_detections\.json: 1 of its images .* or to choose its checkpoint \(C1_P01_N1_S2_1\.JPG\)",
        ),
        (
            "test",
            "before",
            r"test_detections\.json: 1 of its images .* \(C1_P01_N1_S2_1\.JPG\).*make train RUN_DIR=",
        ),
        (
            "val",
            "train",
            r"val_detections\.json: 1 of its images were used to train the graph \(C1_P01_N1_S2_1\.JPG\)",
        ),
        (
            "val",
            "before",
            r"val_detections\.json: 1 of its images were used to train the graph \(C1_P01_N1_S2_1\.JPG\)",
        ),
    ],
)
def test_images_that_training_has_seen_are_refused(score, shelf, split, used, message):
    note_seen(shelf, split, **{used: ["C1_P01_N1_S2_1.JPG"]})
    with pytest.raises(UserError, match=message):
        score(*with_validation(shelf))
    assert not (shelf / "metrics.json").exists()
    score(*with_validation(shelf, "--allow-seen"))
    figures = json.loads((shelf / "metrics.json").read_text())
    told = figures if split == "test" else figures["validation"]
    assert told["seen_in_training"] == 1
    if split == "test":
        twice = (
            "--compare",
            shelf / "test_detections.json",
            shelf / "test_detections.json",
            "--threshold",
            "0.5",
        )
        with pytest.raises(UserError, match=message):
            score("--ground-truth", shelf / "test_labels.csv", *twice)
        score(
            "--ground-truth",
            shelf / "test_labels.csv",
            "--allow-seen",
            "--output",
            shelf / "c.json",
            *twice,
        )
        assert json.loads((shelf / "c.json").read_text())["seen_in_training"] == [1, 1]


def test_images_that_chose_the_checkpoint_may_choose_the_threshold(score, shelf):
    note_seen(shelf, "val", train=[], val=["C1_P02_N1_S2_1.JPG", "C1_P02_N1_S2_2.JPG"])
    note_seen(shelf, "test", train=[], val=[])
    score(*with_validation(shelf))
    figures = json.loads((shelf / "metrics.json").read_text())
    assert "seen_in_training" not in figures and "seen_in_training" not in figures["validation"]


def test_a_given_threshold(score, shelf):
    score(*in_workspace_formats(shelf, "--threshold", "0.3", "--output", shelf / "metrics.json"))
    figures = json.loads((shelf / "metrics.json").read_text())
    assert (figures["threshold"], figures["threshold_from"]) == (0.3, "given")
    assert (figures["TP"], figures["FP"], figures["FN"]) == (
        3,
        1,
        0,
    )  # a score of exactly 0.3 counts


def test_nothing_is_written_for_other_detections_unless_it_is_asked_for(score, shelf, monkeypatch):
    monkeypatch.setattr(paths, "METRICS", shelf / "root_metrics.json")
    monkeypatch.setattr(paths, "IMAGE_TO_PRODUCTS", shelf / "root_counts.json")
    score(*in_workspace_formats(shelf, "--threshold", "0.5"))
    assert not list(shelf.glob("root_*"))


@pytest.fixture
def workspace(shelf, monkeypatch):
    monkeypatch.setattr(paths, "labels", lambda split: shelf / f"{split}_labels.csv")
    monkeypatch.setattr(paths, "RESULTS", shelf)
    monkeypatch.setattr(paths, "METRICS", shelf / "root_metrics.json")
    monkeypatch.setattr(paths, "IMAGE_TO_PRODUCTS", shelf / "root_counts.json")
    return shelf


def test_defaults_are_the_workspace_s_own_files(score, workspace):
    score()
    assert json.loads((workspace / "root_metrics.json").read_text())["threshold"] == 0.5
    assert json.loads((workspace / "root_counts.json").read_text())["C2_P01_N1_S2_1.JPG"] == 1


def test_one_of_the_workspace_s_two_files_is_never_written_without_the_other(score, workspace):
    (workspace / "root_metrics.json").write_text("old")
    (workspace / "root_counts.json").mkdir()
    with pytest.raises(UserError, match="root_counts.json: cannot be written"):
        score()
    assert (workspace / "root_metrics.json").read_text() == "old"
    (workspace / "root_counts.json").rmdir()
    score("--output", workspace / "m.json")
    assert (
        not (workspace / "root_counts.json").exists()
        and (workspace / "root_metrics.json").read_text() == "old"
    )


def test_without_validation_detections_the_workspace_s_figures_stay(score, workspace):
    (workspace / "root_metrics.json").write_text("old")
    (workspace / "val_detections.json").unlink()
    with pytest.raises(
        UserError, match=r"no such file; .* Run step 08 with --labels .*val_labels.csv, or give"
    ):
        score()
    assert (workspace / "root_metrics.json").read_text() == "old" and not (
        workspace / "root_counts.json"
    ).exists()
    score("--threshold", "0.5")
    assert json.loads((workspace / "root_metrics.json").read_text())["threshold_from"] == "given"


def test_other_tools_text_files(score, tmp_path):
    for folder, line in (("truth", "product 0 0 10 10"), ("found", "product 0.9 0 0 10 10")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(line)
        (tmp_path / folder / "b.txt").write_text("")
    score(
        "--ground-truth",
        tmp_path / "truth",
        "--detections",
        tmp_path / "found",
        "--format",
        "text",
        "--threshold",
        "0.5",
        "--output",
        tmp_path / "m.json",
    )
    figures = json.loads((tmp_path / "m.json").read_text())
    assert (figures["mAP"], figures["images"], figures["by_camera"]["other"]["images"]) == (1, 2, 2)


def test_text_on_both_sides_still_tells_the_camera(score, tmp_path):
    for folder, line in (("truth", "product 0 0 10 10"), ("found", "product 0.9 0 0 10 10")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "C1_P03_N1_S2_1.txt").write_text(line)
    score(
        "--ground-truth",
        tmp_path / "truth",
        "--detections",
        tmp_path / "found",
        "--format",
        "text",
        "--threshold",
        "0.5",
        "--output",
        tmp_path / "m.json",
    )
    figures = json.loads((tmp_path / "m.json").read_text())
    assert list(figures["by_camera"]) == ["C1"] and list(figures["by_planogram"]) == ["P03"]


def test_resamples_as_many_as_asked_or_it_is_said(script, shelf, capsys, monkeypatch):
    args = [str(arg) for arg in with_validation(shelf, "--resamples", "1100")]
    script("09_score").main(args)
    assert json.loads((shelf / "metrics.json").read_text())["bootstrap"]["resamples"] == 1100
    assert "in place of" not in capsys.readouterr().out
    monkeypatch.setattr(bootstrap, "MOST_WORK", 1)
    script("09_score").main(args)
    assert json.loads((shelf / "metrics.json").read_text())["bootstrap"]["resamples"] == 200
    assert "200 resamples in place of 1100" in capsys.readouterr().out


def test_compare_tells_which_detector_is_wrong(score, shelf):
    write(shelf, "less", [("C1_P01_N1_S2_1.JPG", [BOX], [(0.9, BOX)])])
    with pytest.raises(
        UserError, match=r"less_detections\.json: ground truth and detections are not of the same"
    ):
        score(
            "--ground-truth",
            shelf / "test_labels.csv",
            "--threshold",
            "0.5",
            "--compare",
            shelf / "test_detections.json",
            shelf / "less_detections.json",
        )


def test_ground_truth_and_detections_in_different_formats(score, shelf):
    (shelf / "text").mkdir()
    (shelf / "text" / "C1_P01_N1_S2_1.txt").write_text("product 0 0 10 10\nproduct 40 40 50 50\n")
    (shelf / "text" / "C2_P01_N1_S2_1.txt").write_text("product 0 0 10 10\n")
    score(
        "--ground-truth",
        shelf / "text",
        "--ground-truth-format",
        "text",
        "--detections",
        shelf / "test_detections.json",
        "--threshold",
        "0.5",
        "--output",
        shelf / "m.json",
    )
    assert json.loads((shelf / "m.json").read_text())["TP"] == 2


def test_compare(score, shelf, capsys):
    write(
        shelf,
        "better",
        [
            ("C1_P01_N1_S2_1.JPG", [BOX, FAR], [(0.9, BOX), (0.8, FAR)]),
            ("C2_P01_N1_S2_1.JPG", [BOX], [(0.8, BOX)]),
        ],
    )
    score(
        "--ground-truth",
        shelf / "test_labels.csv",
        "--compare",
        shelf / "test_detections.json",
        shelf / "better_detections.json",
        "--threshold",
        "0.5",
        "--output",
        shelf / "c.json",
    )
    content = json.loads((shelf / "c.json").read_text())
    recall = content["figures"]["recall"]
    assert (recall["A"], recall["B"], recall["difference"]) == (round(2 / 3, 6), 1, round(1 / 3, 6))
    assert recall["interval_95"][0] >= 0
    assert "B - A" in capsys.readouterr().out


def test_compare_with_a_threshold_of_each_detector(score, shelf):
    score(
        "--ground-truth",
        shelf / "test_labels.csv",
        "--val-ground-truth",
        shelf / "val_labels.csv",
        "--compare",
        shelf / "test_detections.json",
        shelf / "test_detections.json",
        "--val-detections",
        shelf / "val_detections.json",
        shelf / "val_detections.json",
        "--output",
        shelf / "c.json",
    )
    content = json.loads((shelf / "c.json").read_text())
    assert [one["threshold"] for one in content["thresholds"]] == [0.5, 0.5]
    assert content["figures"]["precision"]["difference"] == 0


def test_compare_takes_validation_detections_of_the_same_graphs_in_the_same_order(score, shelf):
    infos = [dict(INFO, graph_sha256=one * 64) for one in "ab"]
    for one, info in zip("ab", infos):
        write(
            shelf,
            "test_" + one,
            [
                ("C1_P01_N1_S2_1.JPG", [BOX, FAR], [(0.9, BOX)]),
                ("C2_P01_N1_S2_1.JPG", [BOX], [(0.8, BOX)]),
            ],
            info,
        )
        write(shelf, "val_" + one, [("C1_P02_N1_S2_1.JPG", [BOX], [(0.7, BOX)])], info)
    found = {
        name: shelf / (name + "_detections.json") for name in ("test_a", "test_b", "val_a", "val_b")
    }
    options = [
        "--ground-truth",
        shelf / "test_a_labels.csv",
        "--val-ground-truth",
        shelf / "val_a_labels.csv",
        "--compare",
        found["test_a"],
        found["test_b"],
        "--val-detections",
    ]
    score(*options, found["val_a"], found["val_b"])
    with pytest.raises(
        UserError,
        match="val_b_detections.json: graph_sha256 is 'bb.*expected 'aa.*test_a_detections.*both in one order",
    ):
        score(*options, found["val_b"], found["val_a"])


def test_the_graph_must_be_the_one_that_detected(score, shelf):
    graph = shelf / "graph"
    graph.mkdir()
    with pytest.raises(UserError, match="no such file; expected the graph"):
        score(*with_validation(shelf, "--graph-dir", graph))
    (graph / "frozen_inference_graph.pb").write_bytes(b"graph")
    (graph / "pipeline.config").write_bytes(b"config")
    with pytest.raises(UserError, match="has the sha256 .*; expected " + "a" * 64):
        score(*with_validation(shelf, "--graph-dir", graph))
    assert not (shelf / "metrics.json").exists()


def test_validation_must_be_of_the_same_graph(score, shelf):
    write(
        shelf,
        "val",
        [("C1_P02_N1_S2_1.JPG", [BOX], [(0.7, BOX)])],
        dict(INFO, graph_sha256="c" * 64),
    )
    with pytest.raises(UserError, match=r"val_detections\.json: graph_sha256 is 'ccc"):
        score(*with_validation(shelf))


def test_other_images_are_refused_and_listed(score, shelf):
    with pytest.raises(
        UserError,
        match=r"labelled but not looked at by the detector \(C1_P02_N1_S2_1.JPG, C1_P02_N1_S2_2.JPG\)",
    ):
        score(
            "--ground-truth",
            shelf / "val_labels.csv",
            "--detections",
            shelf / "test_detections.json",
        )


def test_no_hit_on_validation(score, shelf):
    write(shelf, "val", [("C1_P02_N1_S2_1.JPG", [BOX], [(0.7, FAR)])])
    with pytest.raises(UserError, match="no detection hits a ground truth"):
        score(*with_validation(shelf))


def test_a_broken_file_leaves_the_old_figures(score, shelf):
    (shelf / "metrics.json").write_text("old")
    whole = (shelf / "test_detections.json").read_text()
    (shelf / "test_detections.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no whole JSON"):
        score(*with_validation(shelf))
    assert (shelf / "metrics.json").read_text() == "old"


@pytest.mark.parametrize(
    "args, message",
    [
        (["--compare", "a", "b", "--detections", "c"], "takes the place of"),
        (["--threshold", "nan"], "expected a finite number"),
        (["--threshold", "0.5", "--val-detections", "a"], "expected one of them"),
        (["--val-detections", "a", "b"], "expected one file"),
        (["--output", "a", "--counts-output", "a"], "expected two files"),
        (["--resamples", "-1"], "expected 0 or more"),
        (["--form", "csv"], "unrecognized arguments"),
        (["--format", "yolo"], "invalid choice"),
    ],
)
def test_options_that_cannot_be(script, capsys, args, message):
    with pytest.raises(SystemExit):
        script("09_score").main(args)
    assert message in capsys.readouterr().err
