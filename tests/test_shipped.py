"""The detectors that ship are those that their metrics.json speaks of: scored again on the real photographs."""

import json

import pytest

from conftest import ROOT

GRAPHS = ROOT / "workspace" / "training_demo" / "trained-inference-graphs"
METRICS = {
    "ssd_inception_v2_shelf": ROOT / "metrics.json",
    "ssd_inception_v2_shelf_fast": GRAPHS / "ssd_inception_v2_shelf_fast" / "metrics.json",
}
# TensorFlow's builds and processors differ in the last digits of a score; by how much each figure may, then.
SHARES = dict.fromkeys(("mAP", "precision", "recall", "f1", "AP", "AP75", "threshold"), 0.002)
NUMBERS = dict.fromkeys(("TP", "FP", "FN"), 5)
COUNTS_OFF = 5  # products more or fewer, over all images


def committed(name):
    return json.loads((ROOT / name).read_text())


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_are_of_the_shipped_graph_and_config(name):
    from shelfdet.core import files

    metrics = json.loads(METRICS[name].read_text())
    assert metrics["graph_sha256"] == files.sha256(GRAPHS / name / "frozen_inference_graph.pb")
    assert metrics["config_sha256"] == files.sha256(GRAPHS / name / "pipeline.config")
    assert (metrics["images"], metrics["boxes"], metrics["labels_sha256"]) == (
        71,
        2648,
        committed("metrics.json")["labels_sha256"],
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_the_shipped_graph_is_folded(name):
    tf = pytest.importorskip("tensorflow")
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((GRAPHS / name / "frozen_inference_graph.pb").read_bytes())
    assert not {"DepthwiseConv2dNative", "FusedBatchNorm", "FusedBatchNormV3"} & {
        node.op for node in definition.node
    }


ROWS = (
    ("AP at IoU 0.5", "mAP", 4),
    ("precision", "precision", 4),
    ("recall", "recall", 4),
    ("COCO AP (IoU 0.50", "AP", 4),
    ("COCO AP at IoU 0.75", "AP75", 4),
    ("mean absolute error of the count", "mean_absolute_count_error", 2),
)


@pytest.mark.parametrize("text, key, digits", ROWS)
def test_readmes_table_says_what_metrics_json_says(text, key, digits):
    official = (ROOT / "README.md").read_text().split("*Planograms never seen.*")[0]
    (row,) = [line for line in official.splitlines() if line.startswith("| " + text)]
    metrics = committed("metrics.json")
    value, interval = [cell.strip() for cell in row.split("|")[2:4]]
    assert value == "{:.{}f}".format(metrics[key], digits)
    assert interval == "{:.{digits}f} to {:.{digits}f}".format(
        *metrics["intervals_95"][key], digits=digits
    )


def test_readme_and_the_model_card_quote_the_threshold_and_the_errors():
    metrics = committed("metrics.json")
    readme, card = ((path / "README.md").read_text() for path in (ROOT, GRAPHS))
    threshold = f"{metrics['threshold']:.4f}"
    assert "score " + threshold in readme and "score " + threshold in card
    assert (
        "{TP:,} products are hit and {FN} missed; of the {FP} false alarms".format(**metrics)
        in readme
    )


def test_every_test_image_has_its_count():
    assert len(committed("image2products.json")) == committed("metrics.json")["images"] == 71


@pytest.mark.parametrize("name", sorted(METRICS))
def test_scored_again_the_figures_hold(name, shelf_data, script, tmp_path):
    pytest.importorskip("tensorflow")
    script("02_split_annotations").main(["--images", str(shelf_data), "--out", str(tmp_path)])
    for split in ("val", "test"):
        script("08_detect").main(
            [
                "--graph",
                str(GRAPHS / name),
                "--labels",
                str(tmp_path / f"{split}_labels.csv"),
                "--images",
                str(shelf_data / "ShelfImages"),
                "--output",
                str(tmp_path / f"{split}.json"),
            ]
        )
    script("09_score").main(
        [
            "--ground-truth",
            str(tmp_path / "test_labels.csv"),
            "--ground-truth-format",
            "csv",
            "--detections",
            str(tmp_path / "test.json"),
            "--val-ground-truth",
            str(tmp_path / "val_labels.csv"),
            "--val-detections",
            str(tmp_path / "val.json"),
            "--graph-dir",
            str(GRAPHS / name),
            "--resamples",
            "0",
            "--output",
            str(tmp_path / "metrics.json"),
            "--counts-output",
            str(tmp_path / "counts.json"),
        ]
    )
    found, expected = (
        json.loads((tmp_path / "metrics.json").read_text()),
        json.loads(METRICS[name].read_text()),
    )
    for figure, tolerance in dict(SHARES, mean_absolute_count_error=0.05, **NUMBERS).items():
        assert found[figure] == pytest.approx(expected[figure], abs=tolerance), figure
    assert (found["images"], found["boxes"], found["labels_sha256"]) == (
        71,
        2648,
        expected["labels_sha256"],
    )
    if name == "ssd_inception_v2_shelf":
        counts, expected_counts = (
            json.loads((tmp_path / "counts.json").read_text()),
            committed("image2products.json"),
        )
        assert sorted(counts) == sorted(expected_counts)
        assert (
            sum(abs(counts[picture] - expected_counts[picture]) for picture in counts) <= COUNTS_OFF
        )
