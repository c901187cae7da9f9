"""Step 09: figures, the files that it writes, and what it refuses."""

import hashlib
import json
import re

import numpy as np
import pytest
import scored_images
from scored_images import BOX, FAR

from conftest import load_script
from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import detections, labels
from shelfdet.data.detections import Detections
from shelfdet.evaluation import bootstrap, score
from shelfdet.inference import confidence

INFO = {
    "graph": "nets/one/frozen_inference_graph.pb",
    "graph_sha256": "a" * 64,
    "config_sha256": "b" * 64,
    "max_side": 1024,
    "exif": "ignore",
}
SIZE_WH = (64, 60)
FALSE_POSITIVE = (20, 0, 30, 10)
FIRST, SECOND = "C1_P01_N1_S2_1.JPG", "C2_P01_N1_S2_1.JPG"
VAL_FIRST, VAL_SECOND = "C1_P02_N1_S2_1.JPG", "C1_P02_N1_S2_2.JPG"


def write_split(folder, split, images, info=INFO):
    """Writes labels and detections; ``images``: list of (name, boxes, list of (score, box))."""
    truth = [
        labels.labelled(name, SIZE_WH, [("product", box) for box in boxes])
        for name, boxes, _ in images
    ]
    labels.write_labels(truth, folder / f"{split}_labels.csv")
    found = [
        Detections(
            name,
            SIZE_WH,
            np.array([box for _, box in scored], dtype=float),
            np.array([value for value, _ in scored]),
            ("product",) * len(scored),
        )
        for name, _, scored in images
    ]
    detections.write_detections(found, folder / f"{split}_detections.json", info)


@pytest.fixture
def shelf(tmp_path):
    """A folder with labels and detections of two test and two validation images."""
    write_split(
        tmp_path,
        "test",
        [
            (FIRST, [BOX, FAR], [(0.9, BOX), (0.6, FALSE_POSITIVE), (0.3, FAR)]),
            (SECOND, [BOX], [(0.8, BOX)]),
        ],
    )
    # All counts are right from above 0.4 (logit -0.405) to 0.5 (0); in the middle is 0.4502 (-0.2).
    # On the test images alone a threshold above 0.6 would be chosen.
    write_split(
        tmp_path,
        "val",
        [
            (VAL_FIRST, [BOX], [(0.7, BOX), (0.4, FALSE_POSITIVE)]),
            (VAL_SECOND, [FAR], [(0.5, FAR)]),
        ],
    )
    return tmp_path


def inputs(folder, **changes):
    """Inputs of the folder, with its validation images unless a threshold is given."""
    result = score.Inputs(
        ground_truth=folder / "test_labels.csv",
        detections=(folder / "test_detections.json",),
        val_ground_truth=folder / "val_labels.csv",
        val_detections=() if "threshold" in changes else (folder / "val_detections.json",),
    )
    return result._replace(**changes)


def evaluate(folder, **changes):
    return score.evaluate(inputs(folder, **changes), resamples=20).figures


def run_script(**options):
    """Runs the script with ``--ground-truth value`` for ``ground_truth=value``, True for a flag."""
    arguments = ["--resamples", "20"]
    for name, value in options.items():
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments += [str(one) for one in (value if isinstance(value, list) else [value])]
    load_script("09_score").main(arguments)


def files_of(folder, **more):
    """Options that name the folder's files in place of the workspace's."""
    return dict(
        ground_truth=folder / "test_labels.csv",
        detections=folder / "test_detections.json",
        val_ground_truth=folder / "val_labels.csv",
        **more,
    )


def read(path):
    return json.loads(path.read_text())


# ---- the keys of the files ---------------------------------------------------------------------

# Their keys are names of groups, and of rules.
NAMED = (
    "by_folder",
    "by_camera",
    "by_planogram",
    "by_image_size",
    "by_box_size",
    "by_box_shape",
    "by_class",
    "by_dataset",
    "rules",
    "figures",
)


def keys(content, parent=None):
    """All keys of a nested JSON value, without those that are names of groups."""
    if isinstance(content, list):
        return set().union(*(keys(part) for part in content))
    if not isinstance(content, dict):
        return set()
    own = set() if parent in NAMED else set(content)
    return own.union(*(keys(part, key) for key, part in content.items()))


def test_every_key_is_described_in_the_documentation(shelf):
    for split in ("test", "val"):
        path = shelf / f"{split}_detections.json"
        content = read(path)
        content["info"].update(tiles=2, pad_strips=True, seen_in_training={"train": [FIRST]})
        content["info"].update(detection_version=4, runtime="openvino", runtime_precision="int8")
        path.write_text(json.dumps(content))
    two = inputs(
        shelf,
        detections=(shelf / "test_detections.json",) * 2,
        val_detections=(shelf / "val_detections.json",) * 2,
        allow_seen=True,
    )
    compared = score.compare(two, resamples=20)
    contents = [evaluate(shelf, allow_seen=True), compared, read(paths.METRICS)]
    page = (paths.ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", page))
    for content in contents:
        assert keys(content) <= described, sorted(keys(content) - described)
    recorded = {"tiles", "detection_version", "pad_strips", "runtime", "runtime_precision"}
    assert recorded | {"seen_in_training"} <= keys(contents[0])


# ---- classes -----------------------------------------------------------------------------------


@pytest.fixture
def shelf_of_classes(shelf):
    """The same, in which FAR is milk and all else is tea, and is detected as tea."""
    for split in ("test", "val"):
        images = [
            image._replace(
                classes=tuple("milk" if tuple(box) == FAR else "tea" for box in image[2])
            )
            for image in labels.read_labels(shelf / f"{split}_labels.csv")
        ]
        labels.write_labels(images, shelf / f"{split}_labels.csv")
        path = shelf / f"{split}_detections.json"
        path.write_text(path.read_text().replace('"product"', '"tea"'))
    return shelf


def test_the_figures_of_each_class_and_which_is_taken_for_which(shelf_of_classes, tmp_path, capsys):
    figures = evaluate(shelf_of_classes, threshold=0.3)
    rows = figures["by_class"]
    assert list(rows) == ["milk", "tea"]
    # Of tea by falling score: two true positives, a false positive, and the milk.
    assert [rows["tea"][key] for key in ("boxes", "TP", "FP", "FN", "AP50")] == [2, 2, 2, 0, 1]
    assert [rows["milk"][key] for key in ("boxes", "TP", "FP", "FN", "AP50")] == [1, 0, 0, 1, 0]
    assert np.isnan(rows["milk"]["precision"])
    assert figures["mAP"] == 0.5
    assert figures["confusion_matrix"] == {
        "classes": ["milk", "tea"],
        "counts": [[0, 1], [0, 2]],
        "missed": [0, 0],
        "background": [0, 1],
    }
    assert figures["errors"]["classification"]["number"] == 1
    assert figures["errors"]["background"]["number"] == 1
    described = set(re.findall(r"`(\w+)`", (paths.ROOT / "docs" / "evaluation.md").read_text()))
    assert keys(figures) | keys(rows["milk"]) <= described

    options = dict(files_of(shelf_of_classes, output=tmp_path / "out.json"), threshold=0.3)
    del options["val_ground_truth"]
    run_script(**options)
    assert '"counts": [\n      [0, 1],\n      [0, 2]\n    ],' in (tmp_path / "out.json").read_text()
    printed = capsys.readouterr().out
    assert re.search(r"\nclass +products +AP50 .*\nmilk +1 +0\.0000.*\ntea +2 +1\.0000", printed)
    assert "products detected as another class: 1: milk as tea (1)" in printed


def test_one_class_has_no_figures_of_classes(shelf):
    assert not {"by_class", "confusion_matrix"} & set(evaluate(shelf))
    assert "classification" not in evaluate(shelf)["errors"]


# ---- figures -----------------------------------------------------------------------------------


def test_figures_at_the_threshold_that_validation_chose(shelf):
    figures, counts, *_ = score.evaluate(inputs(shelf), resamples=20)
    figures = score.rounded(figures)
    assert figures["threshold"] == 0.4502
    assert "val_detections.json, 2 images" in figures["threshold_from"]
    assert (figures["TP"], figures["FP"], figures["FN"]) == (2, 1, 1)
    assert figures["precision"] == figures["recall"] == figures["f1"] == round(2 / 3, 6)
    assert figures["mAP"] == round(1 / 3 + 1 / 3 + 1 / 3 * 3 / 4, 6)  # TP, TP, FP, TP
    assert figures["mean_absolute_count_error"] == 0
    assert (figures["images"], figures["boxes"], figures["detections"]) == (2, 3, 4)
    assert figures["duplicate_labels"] == 0
    assert figures["shorter_side_px"] == [60, 60]
    assert figures["graph"] == INFO["graph"]
    assert (figures["graph_sha256"], figures["config_sha256"]) == ("a" * 64, "b" * 64)
    label_bytes = (shelf / "test_labels.csv").read_bytes()
    assert figures["labels_sha256"] == hashlib.sha256(label_bytes).hexdigest()
    assert sorted(figures["by_camera"]) == ["C1", "C2"]
    assert list(figures["by_planogram"]) == ["P01"]
    assert figures["errors"]["background"]["number"] == 1
    assert figures["errors"]["missed"]["number"] == 1
    assert figures["validation"]["f1"] == 1
    assert counts == {FIRST: 2, SECOND: 1}


def test_the_script_prints_the_graph_and_the_figures(shelf, capsys):
    run_script(**files_of(shelf, threshold=0.5))
    printed = capsys.readouterr().out
    assert "graph: one" in printed
    assert "2 true positives (TP), 1 false positive (FP), 1 false negative (FN)" in printed
    assert "duplicate labels" not in printed


def test_the_images_that_have_half_of_the_count_error_are_named(shelf, capsys):
    # One too few, three too many, and one too many
    boxes = [BOX, FAR, FALSE_POSITIVE]
    write_split(
        shelf,
        "test",
        [
            (FIRST, [BOX], []),
            (SECOND, [], [(0.7, box) for box in boxes]),
            ("C3_P01_N1_S2_1.JPG", [BOX], [(0.7, BOX), (0.6, FAR), (0.1, FAR)]),
        ],
    )
    run_script(**files_of(shelf, threshold=0.5))
    printed = capsys.readouterr().out
    assert f"\nhalf of the count error is in 1 of 3 images: {SECOND} (+3 of 0)\n" in printed


@pytest.mark.parametrize(
    "errors, named",
    [
        ([0, 0], []),
        ([-2, 1, -2, 1], [-2, -2]),  # 4 of 6; one is a third
        ([1, 5, -3, 1], [5]),  # exactly a half
    ],
)
def test_no_more_images_are_named_than_have_half_of_the_count_error(errors, named):
    # Images of three products, with three or so detections
    images = [
        (f"{number}.jpg", [BOX, FAR, FALSE_POSITIVE], [(0.9, BOX)] * (3 + error))
        for number, error in enumerate(errors)
    ]
    found = score.far_off(scored_images.match(*images), 0.5)
    assert [image.error for image in found] == named
    assert all(image.products == 3 for image in found)
    assert score.far_off(scored_images.match(*images), None) == []


def test_count_errors_of_certain_and_of_uncertain_images():
    images = [
        ("certain.jpg", [BOX, FAR], [(0.9, BOX)]),  # one too few
        ("right.jpg", [BOX], [(0.9, BOX)]),
        ("uncertain.jpg", [BOX, FAR, FALSE_POSITIVE], [(0.4, BOX)]),  # three too few
    ]
    matches = scored_images.match(*images)
    validated = confidence.Validated(0.8, (0.1, 0.2))
    found = score.counts_by_confidence(matches, 0.5, validated)
    assert found == (0.8, 2, 0.5, 1, 3.0)
    assert score.counts_by_confidence(matches[:2], 0.5, validated) is None
    assert score.counts_by_confidence(matches, None, validated) is None
    assert score.counts_by_confidence(matches, 0.5, None) is None


def test_the_script_prints_the_count_errors_of_uncertain_images(capsys):
    script = load_script("09_score")
    script.print_by_confidence(score.CountsByConfidence(0.721, 48, 13.1, 1, 49.25))
    assert capsys.readouterr().out == (
        "count MAE of 48 images with a confidence of 0.72 or more, as most validation images have: "
        "13.1; of 1 other image, which make predict calls unreliable: 49.2\n"
    )
    script.print_by_confidence(None)
    assert capsys.readouterr().out == ""


def test_duplicate_labels_are_counted(shelf, capsys):
    almost = [BOX[0], BOX[1], BOX[2], BOX[3] + 1]
    write_split(shelf, "test", [(FIRST, [BOX, almost], [(0.7, BOX)])])
    output = shelf / "metrics.json"
    run_script(**files_of(shelf, threshold=0.5, output=output))
    figures = read(output)
    assert (figures["duplicate_labels"], figures["TP"], figures["FN"]) == (1, 1, 1)
    printed = capsys.readouterr().out
    assert "duplicate labels: 1 (boxes that overlap another by an IoU over 0.6)" in printed
    assert "count as false negatives" in printed


def test_the_same_input_gives_the_same_bytes(shelf):
    output = shelf / "metrics.json"
    options = files_of(shelf, val_detections=shelf / "val_detections.json", output=output)
    run_script(**options)
    first = output.read_bytes()
    run_script(**options)
    assert output.read_bytes() == first
    assert str(shelf).encode() not in first  # no path of this machine


def test_a_given_threshold_counts_scores_equal_to_it(shelf):
    figures = evaluate(shelf, threshold=0.3)
    assert (figures["threshold"], figures["threshold_from"]) == (0.3, "given")
    assert (figures["TP"], figures["FP"], figures["FN"]) == (3, 1, 0)


def test_resamples_are_those_asked_for_or_a_message_states_it(shelf, capsys, monkeypatch):
    figures = score.evaluate(inputs(shelf), resamples=1100).figures
    assert figures["bootstrap"]["resamples"] == 1100
    assert "in place of" not in capsys.readouterr().out
    monkeypatch.setattr(bootstrap, "MOST_WORK", 1)
    figures = score.evaluate(inputs(shelf), resamples=1100).figures
    assert figures["bootstrap"]["resamples"] == 200
    assert "200 resamples in place of 1100" in capsys.readouterr().out


# ---- the threshold -----------------------------------------------------------------------------


def test_the_threshold_never_comes_from_the_test_images(shelf, capsys):
    run_script(**files_of(shelf, output=shelf / "metrics.json"))
    figures = read(shelf / "metrics.json")
    assert figures["mAP"] > 0.9
    assert figures["AP75"] is not None
    for name in ("threshold", "precision", "recall", "f1", "TP", "FP", "FN", "mean_count_error"):
        assert figures[name] is None
    assert "test images never choose it" in figures["threshold_from"]
    assert "--val-detections, or --threshold" in capsys.readouterr().out
    with pytest.raises(UserError, match="counting needs a threshold"):
        run_script(**files_of(shelf, counts_output=shelf / "counts.json"))
    assert not (shelf / "counts.json").exists()


def test_validation_images_that_are_also_scored_are_refused(shelf):
    write_split(shelf, "val", [(FIRST, [BOX], [(0.7, BOX)]), (VAL_FIRST, [BOX], [(0.7, BOX)])])
    message = r"val_detections\.json: 1 of its images are also scored \(C1_P01_N1_S2_1\.JPG\)"
    with pytest.raises(UserError, match=message):
        evaluate(shelf)
    one = inputs(shelf)
    two = one._replace(detections=one.detections * 2, val_detections=one.val_detections * 2)
    with pytest.raises(UserError, match=message):
        score.compare(two, resamples=20)


def test_no_true_positive_on_validation(shelf):
    write_split(shelf, "val", [(VAL_FIRST, [BOX], [(0.7, FAR)])])
    with pytest.raises(UserError, match="there is no true positive on .*val_labels.csv"):
        evaluate(shelf)


@pytest.mark.parametrize("split", ["test", "val"])
def test_ground_truth_without_any_box_is_refused(shelf, split):
    write_split(shelf, split, [(f"{split}.JPG", [], [(0.7, BOX)])])
    message = rf"{split}_labels\.csv: no box in its 1 image; expected ground-truth boxes"
    with pytest.raises(UserError, match=message):
        evaluate(shelf)


def test_detections_without_any_box_give_an_ap_of_0_and_a_warning(shelf, capsys):
    write_split(shelf, "test", [(FIRST, [BOX], [])])
    figures = evaluate(shelf, threshold=0.5)
    assert (figures["mAP"], figures["FN"]) == (0, 1)
    assert "holds no detection in its 1 image" in capsys.readouterr().err


def test_a_threshold_of_few_images_gives_a_warning(shelf, capsys):
    evaluate(shelf)
    assert "chosen on 2 images; expected at least 5" in capsys.readouterr().err


# ---- images that were used in training ---------------------------------------------------------


def record_seen(folder, split, **names):
    path = folder / f"{split}_detections.json"
    content = read(path)
    content["info"]["seen_in_training"] = names
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "split, used, message",
    [
        ("test", "train", r"\(C1_P01_N1_S2_1\.JPG\).*make train RUN_DIR="),
        ("test", "val", r"or to choose its checkpoint \(C1_P01_N1_S2_1\.JPG\)"),
        ("test", "before", r"\(C1_P01_N1_S2_1\.JPG\).*make train RUN_DIR="),
        ("val", "train", r"were used to train the graph \(C1_P01_N1_S2_1\.JPG\)"),
        ("val", "before", r"were used to train the graph \(C1_P01_N1_S2_1\.JPG\)"),
    ],
)
def test_images_that_were_used_in_training_are_refused(shelf, split, used, message):
    record_seen(shelf, split, **{used: [FIRST]})
    message = rf"{split}_detections\.json: 1 of its images .*{message}"
    with pytest.raises(UserError, match=message):
        evaluate(shelf)
    figures = evaluate(shelf, allow_seen=True)
    recorded = figures if split == "test" else figures["validation"]
    assert recorded["seen_in_training"] == 1


def test_compare_refuses_images_that_were_used_in_training(shelf):
    record_seen(shelf, "test", train=[FIRST])
    two = inputs(shelf, threshold=0.5, detections=(shelf / "test_detections.json",) * 2)
    with pytest.raises(UserError, match=r"test_detections\.json: 1 of its images"):
        score.compare(two, resamples=20)
    content = score.compare(two._replace(allow_seen=True), resamples=20)
    assert content["seen_in_training"] == [1, 1]


def test_images_that_chose_the_checkpoint_may_choose_the_threshold(shelf):
    record_seen(shelf, "val", train=[], val=[VAL_FIRST, VAL_SECOND])
    record_seen(shelf, "test", train=[], val=[])
    figures = evaluate(shelf)
    assert "seen_in_training" not in figures
    assert "seen_in_training" not in figures["validation"]


# ---- the workspace's latest evaluation ---------------------------------------------------------


@pytest.fixture
def workspace(shelf, monkeypatch):
    """A workspace whose results are those of ``shelf``, made by a graph of the user's own."""
    monkeypatch.setattr(paths, "ROOT", shelf)
    monkeypatch.setattr(paths, "labels", lambda split: shelf / f"{split}_labels.csv")
    monkeypatch.setattr(paths, "RESULTS", shelf)
    monkeypatch.setattr(paths, "REPORT", shelf / "report.html")
    monkeypatch.setattr(paths, "METRICS", shelf / "metrics.json")
    monkeypatch.setattr(paths, "IMAGE_TO_PRODUCTS", shelf / "counts.json")
    return shelf


def make_graph(workspace):
    """Writes the graph that the detections of ``workspace`` name, and returns its folder."""
    folder = workspace / "nets" / "one"
    folder.mkdir(parents=True)
    (folder / paths.GRAPH_FILE).write_bytes(b"graph")
    (folder / paths.CONFIG_FILE).write_bytes(b"config")
    sums = {
        "graph_sha256": files.sha256(folder / paths.GRAPH_FILE),
        "config_sha256": files.sha256(folder / paths.CONFIG_FILE),
    }
    for split in ("test", "val"):
        path = workspace / f"{split}_detections.json"
        content = read(path)
        content["info"].update(sums)
        path.write_text(json.dumps(content))
    return folder


def test_the_latest_evaluation_is_written_at_the_root_and_beside_the_graph(workspace, capsys):
    graph = make_graph(workspace)
    run_script()
    figures = read(workspace / "metrics.json")
    assert figures["threshold"] == 0.4502
    assert figures["graph"] == "nets/one/frozen_inference_graph.pb"
    assert read(graph / "metrics.json") == figures
    assert read(workspace / "counts.json") == {FIRST: 2, SECOND: 1}
    printed = capsys.readouterr().out
    assert "graph: one" in printed
    assert "nets/one/metrics.json" in printed
    assert "next: make report\n" in printed


def test_a_report_of_an_earlier_evaluation_is_named(workspace, capsys):
    make_graph(workspace)
    (workspace / "report.html").touch()
    run_script()
    expected = "report.html is of an earlier evaluation; `make report` updates it\n"
    assert f"{expected}next: make report\n" in capsys.readouterr().out


def test_the_metrics_beside_a_shipped_graph_stay(workspace, monkeypatch):
    graph = make_graph(workspace)
    monkeypatch.setattr(paths, "SHIPPED_GRAPHS", (graph,))
    (graph / "metrics.json").write_text("tracked")
    run_script()
    assert (graph / "metrics.json").read_text() == "tracked"
    assert read(workspace / "metrics.json")["threshold"] == 0.4502


def test_a_note_marks_detections_of_another_graph_than_the_default_one(
    workspace, monkeypatch, capsys
):
    graph = make_graph(workspace)
    monkeypatch.setattr(paths, "default_graph", lambda: workspace / "nets" / "two")
    run_script()
    assert "the default graph is two" in capsys.readouterr().out
    monkeypatch.setattr(paths, "default_graph", lambda: graph)
    run_script()
    assert "default graph" not in capsys.readouterr().out


def test_a_graph_that_changed_after_its_detections_is_refused(workspace):
    graph = make_graph(workspace)
    (graph / paths.GRAPH_FILE).write_bytes(b"trained again")
    with pytest.raises(UserError, match="has the sha256 .*Run step 08 again"):
        run_script()
    assert not (workspace / "metrics.json").exists()


def test_a_graph_that_is_no_longer_there_gets_no_figures_beside_it(workspace):
    run_script()
    assert read(workspace / "metrics.json")["graph_sha256"] == "a" * 64
    assert not (workspace / "nets").exists()


def test_nothing_is_written_for_other_detections_by_default(workspace):
    run_script(**files_of(workspace, threshold=0.5))
    assert not (workspace / "metrics.json").exists()
    assert not (workspace / "counts.json").exists()


def test_figures_and_counts_of_the_workspace_are_written_together_or_not_at_all(workspace):
    (workspace / "metrics.json").write_text("old")
    (workspace / "counts.json").mkdir()
    with pytest.raises(UserError, match="counts.json: cannot be written"):
        run_script()
    assert (workspace / "metrics.json").read_text() == "old"
    (workspace / "counts.json").rmdir()
    run_script(output=workspace / "other.json")
    assert not (workspace / "counts.json").exists()
    assert (workspace / "metrics.json").read_text() == "old"


def test_without_validation_detections_the_figures_of_the_workspace_stay(workspace):
    (workspace / "metrics.json").write_text("old")
    (workspace / "val_detections.json").unlink()
    message = r"no such file; .* Run step 08 with --labels .*val_labels.csv, or give"
    with pytest.raises(UserError, match=message):
        run_script()
    assert (workspace / "metrics.json").read_text() == "old"
    assert not (workspace / "counts.json").exists()
    run_script(threshold=0.5)
    assert read(workspace / "metrics.json")["threshold_from"] == "given"


def test_a_broken_file_leaves_the_old_figures(workspace):
    (workspace / "metrics.json").write_text("old")
    whole = (workspace / "test_detections.json").read_text()
    (workspace / "test_detections.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no complete JSON"):
        run_script()
    assert (workspace / "metrics.json").read_text() == "old"


# ---- formats of other tools --------------------------------------------------------------------


def write_text_files(folder, name):
    for side, line in (("truth", "product 0 0 10 10"), ("found", "product 0.9 0 0 10 10")):
        (folder / side).mkdir()
        (folder / side / f"{name}.txt").write_text(line)
        (folder / side / "empty.txt").write_text("")


def evaluate_text_files(folder):
    return evaluate(
        folder,
        ground_truth=folder / "truth",
        detections=(folder / "found",),
        format="text",
        ground_truth_format="text",
        threshold=0.5,
    )


def test_text_files_of_other_tools(tmp_path):
    write_text_files(tmp_path, "a")
    figures = evaluate_text_files(tmp_path)
    assert (figures["mAP"], figures["images"]) == (1, 2)
    assert not {"by_camera", "by_planogram", "by_image_size"} & set(figures)


def test_text_on_both_sides_still_states_the_camera(tmp_path):
    write_text_files(tmp_path, "C1_P03_N1_S2_1")
    figures = evaluate_text_files(tmp_path)
    assert figures["by_camera"]["C1"]["images"] == 1
    assert figures["by_planogram"]["P03"]["images"] == 1


def test_ground_truth_and_detections_in_different_formats(shelf):
    (shelf / "text").mkdir()
    (shelf / "text" / "C1_P01_N1_S2_1.txt").write_text("product 0 0 10 10\nproduct 40 40 50 50\n")
    (shelf / "text" / "C2_P01_N1_S2_1.txt").write_text("product 0 0 10 10\n")
    figures = evaluate(
        shelf, ground_truth=shelf / "text", ground_truth_format="text", threshold=0.5
    )
    assert figures["TP"] == 2


def test_the_format_holds_for_a_ground_truth_that_is_named(tmp_path):
    write_text_files(tmp_path, "a")
    output = tmp_path / "m.json"
    options = {"ground_truth": tmp_path / "truth", "detections": tmp_path / "found"}
    run_script(format="text", threshold=0.5, output=output, **options)
    assert read(output)["TP"] == 1


# ---- comparing two detectors -------------------------------------------------------------------


def test_compare(shelf, capsys):
    write_split(
        shelf,
        "better",
        [(FIRST, [BOX, FAR], [(0.9, BOX), (0.8, FAR)]), (SECOND, [BOX], [(0.8, BOX)])],
    )
    both = [shelf / "test_detections.json", shelf / "better_detections.json"]
    output = shelf / "c.json"
    run_script(ground_truth=shelf / "test_labels.csv", compare=both, threshold=0.5, output=output)
    recall = read(output)["figures"]["recall"]
    assert (recall["A"], recall["B"], recall["difference"]) == (round(2 / 3, 6), 1, round(1 / 3, 6))
    assert recall["interval_95"][0] >= 0
    assert "B - A" in capsys.readouterr().out


def test_compare_with_a_threshold_of_each_detector(shelf):
    one = inputs(shelf)
    two = one._replace(detections=one.detections * 2, val_detections=one.val_detections * 2)
    content = score.compare(two, resamples=20)
    assert [threshold["threshold"] for threshold in content["thresholds"]] == [0.4502] * 2
    assert content["figures"]["precision"]["difference"] == 0


def test_compare_names_the_detector_that_is_wrong(shelf):
    write_split(shelf, "less", [(FIRST, [BOX], [(0.9, BOX)])])
    both = (shelf / "test_detections.json", shelf / "less_detections.json")
    message = r"less_detections\.json: ground truth and detections are not of the same"
    with pytest.raises(UserError, match=message):
        score.compare(inputs(shelf, detections=both, threshold=0.5), resamples=20)


def test_compare_takes_validation_detections_of_the_same_graphs_in_the_same_order(shelf):
    for one in "ab":
        info = dict(INFO, graph_sha256=one * 64)
        images = [(FIRST, [BOX, FAR], [(0.9, BOX)]), (SECOND, [BOX], [(0.8, BOX)])]
        write_split(shelf, f"test_{one}", images, info)
        write_split(shelf, f"val_{one}", [(VAL_FIRST, [BOX], [(0.7, BOX)])], info)
    scored = tuple(shelf / f"test_{one}_detections.json" for one in "ab")
    validation = tuple(shelf / f"val_{one}_detections.json" for one in "ab")
    both = inputs(
        shelf,
        detections=scored,
        val_ground_truth=shelf / "val_a_labels.csv",
        val_detections=validation,
    )
    score.compare(both, resamples=20)
    message = (
        "val_b_detections.json: graph_sha256 is 'bb.*expected 'aa.*test_a_detections.*same order"
    )
    with pytest.raises(UserError, match=message):
        score.compare(both._replace(val_detections=validation[::-1]), resamples=20)


# ---- refusals ----------------------------------------------------------------------------------


def test_the_graph_must_be_the_one_that_made_the_detections(shelf):
    graph = shelf / "graph"
    graph.mkdir()
    options = files_of(shelf, threshold=0.5, graph_dir=graph, output=shelf / "metrics.json")
    with pytest.raises(UserError, match="no such file; expected the graph"):
        run_script(**options)
    (graph / "frozen_inference_graph.pb").write_bytes(b"graph")
    (graph / "pipeline.config").write_bytes(b"config")
    with pytest.raises(UserError, match="has the sha256 .*; expected " + "a" * 64):
        run_script(**options)
    assert not (shelf / "metrics.json").exists()


def test_validation_must_be_of_the_same_graph(shelf):
    other = dict(INFO, graph_sha256="c" * 64)
    write_split(shelf, "val", [(VAL_FIRST, [BOX], [(0.7, BOX)])], other)
    with pytest.raises(UserError, match=r"val_detections\.json: graph_sha256 is 'ccc"):
        evaluate(shelf)


def test_validation_must_be_of_the_same_version(shelf):
    tiled = dict(INFO, tiles="auto", detection_version=2)
    write_split(shelf, "test", [(FIRST, [BOX], [(0.7, BOX)])], tiled)
    del tiled["detection_version"]
    write_split(shelf, "val", [(VAL_FIRST, [BOX], [(0.7, BOX)])], tiled)
    with pytest.raises(UserError, match=r"detection_version is None; expected 2 as in .*step 08"):
        evaluate(shelf)


def test_labels_that_changed_after_the_detections_give_a_warning(shelf, capsys):
    labels_sha256 = files.sha256(shelf / "test_labels.csv")
    path = shelf / "test_detections.json"
    content = read(path)
    content["info"].update(labels="some/test_labels.csv", labels_sha256=labels_sha256)
    path.write_text(json.dumps(content))
    evaluate(shelf, threshold=0.5)
    assert "has changed" not in capsys.readouterr().err
    with open(str(shelf / "test_labels.csv"), "a") as file:
        file.write(f"{SECOND},64,60,product,30,30,38,38\n")
    evaluate(shelf, threshold=0.5)
    printed = capsys.readouterr().err
    assert "test_labels.csv: has changed since step 08" in printed
    assert "if images were replaced, run step 08 again" in printed


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.9"x', "null"])
def test_a_score_that_is_no_number_is_refused(shelf, value):
    path = shelf / "test_detections.json"
    path.write_text(path.read_text().replace('"score": 0.6', f'"score": {value}'))
    with pytest.raises(UserError, match=r"test_detections\.json: .*(score is|is no annotation)"):
        evaluate(shelf, threshold=0.5)


def test_other_images_are_refused_and_listed(shelf):
    message = rf"labelled but not in the detections \({VAL_FIRST}, {VAL_SECOND}\)"
    with pytest.raises(UserError, match=message):
        evaluate(shelf, ground_truth=shelf / "val_labels.csv", threshold=0.5)


@pytest.mark.parametrize(
    "args, message",
    [
        (["--compare", "a", "b", "--detections", "c"], "--compare excludes --detections"),
        (["--threshold", "nan"], "expected a finite number"),
        (["--threshold", "0.5", "--val-detections", "a"], "expected one of them"),
        (["--val-detections", "a", "b"], "expected one file"),
        (["--output", "a", "--counts-output", "a"], "expected two files"),
        (["--resamples", "-1"], "expected a whole number of at least 0"),
        (["--form", "csv"], "unrecognized arguments"),
        (["--format", "tfrecord"], "found tfrecord, expected "),
    ],
)
def test_options_that_exclude_each_other_or_have_wrong_values(capsys, args, message):
    with pytest.raises(SystemExit):
        load_script("09_score").main(args)
    assert message in capsys.readouterr().err
