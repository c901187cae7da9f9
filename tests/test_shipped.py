"""The detector that ships is the one that metrics.json speaks of: scored again on the real photographs."""

import json

import pytest

from conftest import ROOT

SHIPPED = ROOT / "workspace" / "training_demo" / "trained-inference-graphs" / "ssd_inception_v2_shelf"
# TensorFlow's builds and processors differ in the last digits of a score; by how much each figure may, then.
SHARES = dict.fromkeys(("mAP", "precision", "recall", "f1", "AP", "AP75", "threshold"), 0.002)
NUMBERS = dict.fromkeys(("TP", "FP", "FN"), 5)
COUNTS_OFF = 5          # products more or fewer, over all pictures


def committed(name):
    return json.loads((ROOT / name).read_text())


def test_metrics_are_of_the_shipped_graph_and_config():
    from shelfdet import files
    assert committed("metrics.json")["graph_sha256"] == files.sha256(SHIPPED / "frozen_inference_graph.pb")
    assert committed("metrics.json")["config_sha256"] == files.sha256(SHIPPED / "pipeline.config")


ROWS = (("AP at IoU 0.5", "mAP", 4), ("precision", "precision", 4), ("recall", "recall", 4), ("COCO AP (IoU 0.50", "AP", 4),
        ("COCO AP at IoU 0.75", "AP75", 4), ("mean absolute error of the count", "mean_absolute_count_error", 2))


@pytest.mark.parametrize("text, key, digits", ROWS)
def test_readmes_table_says_what_metrics_json_says(text, key, digits):
    official = (ROOT / "README.md").read_text().split("*Planograms never seen.*")[0]
    row, = [line for line in official.splitlines() if line.startswith("| " + text)]
    metrics = committed("metrics.json")
    value, interval = [cell.strip() for cell in row.split("|")[2:4]]
    assert value == "{:.{}f}".format(metrics[key], digits)
    assert interval == "{:.{digits}f} to {:.{digits}f}".format(*metrics["intervals_95"][key], digits=digits)


def test_readme_and_the_model_card_quote_the_threshold_and_the_errors():
    metrics = committed("metrics.json")
    readme, card = ((path / "README.md").read_text() for path in (ROOT, SHIPPED.parent))
    threshold = "{:.4f}".format(metrics["threshold"])
    assert "score " + threshold in readme and "score " + threshold in card
    assert "{TP:,} products are hit and {FN} missed; of the {FP} false alarms".format(**metrics) in readme


def test_every_test_picture_has_its_count():
    assert len(committed("image2products.json")) == committed("metrics.json")["pictures"] == 71


def test_scored_again_the_figures_hold(shelf_data, script, tmp_path):
    pytest.importorskip("tensorflow")
    script("02_split_annotations").main(["--images", str(shelf_data), "--out", str(tmp_path)])
    for split in ("val", "test"):
        script("08_detect").main(["--labels", str(tmp_path / "{}_labels.csv".format(split)), "--images",
                                  str(shelf_data / "ShelfImages"), "--output", str(tmp_path / "{}.json".format(split))])
    script("09_score").main([
        "--ground-truth", str(tmp_path / "test_labels.csv"), "--ground-truth-format", "csv", "--detections", str(tmp_path / "test.json"),
        "--val-ground-truth", str(tmp_path / "val_labels.csv"), "--val-detections", str(tmp_path / "val.json"), "--graph-dir", str(SHIPPED),
        "--resamples", "0", "--output", str(tmp_path / "metrics.json"), "--counts-output", str(tmp_path / "counts.json")])
    found, expected = json.loads((tmp_path / "metrics.json").read_text()), committed("metrics.json")
    for name, tolerance in dict(SHARES, mean_absolute_count_error=0.05, **NUMBERS).items():
        assert found[name] == pytest.approx(expected[name], abs=tolerance), name
    counts, expected_counts = json.loads((tmp_path / "counts.json").read_text()), committed("image2products.json")
    assert sorted(counts) == sorted(expected_counts)
    assert sum(abs(counts[name] - expected_counts[name]) for name in counts) <= COUNTS_OFF
    assert (found["pictures"], found["boxes"], found["labels_sha256"]) == (71, 2648, expected["labels_sha256"])
