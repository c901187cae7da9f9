"""The included detectors: their figures are of their graphs, and the documents quote them."""

import json

import pytest

from conftest import ROOT, load_script
from shelfdet.config import checkpoint_files, pipeline
from shelfdet.core import files, paths
from shelfdet.evaluation import scored_graph

# The detectors of the Grocery Dataset, scored on its test images alone
GRAPHS = {graph.name: graph for graph in (paths.SHIPPED_GRAPH, paths.SHIPPED_FAST_GRAPH)}
PRODUCTS = paths.SHIPPED_PRODUCTS_GRAPH
SHIPPED = paths.SHIPPED_GRAPH.name
# Builds of TensorFlow and processors differ in the last digits of a score: tolerances for that.
SHARES = dict.fromkeys(("mAP", "precision", "recall", "f1", "AP", "AP75", "threshold"), 0.002)
NUMBERS = dict.fromkeys(("TP", "FP", "FN"), 5)
TOLERANCES = dict(SHARES, mean_absolute_count_error=0.05, **NUMBERS)
COUNTS_TOLERANCE = 5  # products more or fewer, over all images


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def shipped_metrics(name=SHIPPED):
    return read(GRAPHS[name] / paths.METRICS.name)


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_metrics_are_of_the_shipped_graph_and_config(name):
    figures = shipped_metrics(name)
    assert scored_graph.graph_name(figures) == name
    assert figures["graph_sha256"] == files.sha256(GRAPHS[name] / paths.GRAPH_FILE)
    assert figures["config_sha256"] == files.sha256(GRAPHS[name] / paths.CONFIG_FILE)
    assert (figures["images"], figures["boxes"]) == (71, 2648)
    assert figures["labels_sha256"] == shipped_metrics()["labels_sha256"]


@pytest.mark.parametrize("graph", paths.SHIPPED_GRAPHS, ids=lambda graph: graph.name)
def test_the_shipped_graph_is_folded(graph):
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((graph / paths.GRAPH_FILE).read_bytes())
    operations = {node.op for node in definition.node}
    assert not operations & {"DepthwiseConv2dNative", "FusedBatchNorm", "FusedBatchNormV3"}


@pytest.mark.parametrize(
    "folder", [*paths.SHIPPED_GRAPHS, paths.FAST_START], ids=lambda folder: folder.name
)
def test_the_shipped_weights_can_start_a_network_of_two_feature_maps(folder):
    weights = folder / paths.CHECKPOINT_PREFIX
    assert not checkpoint_files.zero_kernels(weights, checkpoint_files.variables(weights))


def test_metrics_of_the_detector_of_any_products_are_of_its_graph_and_of_both_datasets():
    figures = read(PRODUCTS / paths.METRICS.name)
    assert figures["graph_sha256"] == files.sha256(PRODUCTS / paths.GRAPH_FILE)
    assert figures["config_sha256"] == files.sha256(PRODUCTS / paths.CONFIG_FILE)
    assert figures["tiles"] == "auto"
    apart = figures["by_dataset"]
    assert {name: part["images"] for name, part in apart.items()} == {"default": 71, "sku110k": 57}
    assert apart["default"]["labels_sha256"] == shipped_metrics()["labels_sha256"]


def test_metrics_of_the_detector_of_sku110k_are_of_its_graph():
    folder = paths.SHIPPED_SKU110K_GRAPH
    figures = read(folder / paths.METRICS.name)
    assert figures["graph_sha256"] == files.sha256(folder / paths.GRAPH_FILE)
    assert figures["config_sha256"] == files.sha256(folder / paths.CONFIG_FILE)
    assert (figures["images"], figures["tiles"]) == (57, "auto")


@pytest.mark.parametrize("folder", [paths.SHIPPED_SKU110K_GRAPH, paths.FAST_START])
def test_the_weights_of_sku110k_have_seen_no_other_images(folder):
    names = [name for used in read(folder / paths.TRAINED_ON_FILE).values() for name in used]
    assert names and all(name.startswith("sku") for name in names)  # sku065/train_1014.jpg


@pytest.mark.parametrize(
    "config", [paths.SHIPPED_CONFIG, paths.TRAINING / "ssd_inception_v2_shelf_fast.config"]
)
def test_the_first_weights_of_an_included_config_are_there(config):
    first = pipeline.read(config).train_config.fine_tune_checkpoint
    variables = checkpoint_files.variables(ROOT / first)
    assert any(name.startswith("FeatureExtractor") for name in variables)


# ---- the latest evaluation at the root ---------------------------------------------------------


def test_every_image_of_the_latest_evaluation_has_its_count():
    counts = read(paths.IMAGE_TO_PRODUCTS)
    figures = read(paths.METRICS)
    assert len(counts) == figures["images"]
    if figures["threshold"] is not None:
        assert sum(counts.values()) == figures["TP"] + figures["FP"]


# ---- what the documents quote ------------------------------------------------------------------


def table_row(document, start):
    """The cells of the first table row of a document that begins with ``start``."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    row = [line for line in lines if line.startswith(f"| {start}")][0]
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize(
    "start, key, digits",
    [
        ("AP at IoU 0.5 (`mAP`", "mAP", 4),
        ("precision, at score", "precision", 4),
        ("recall, at score", "recall", 4),
        ("COCO AP (IoU 0.50", "AP", 4),
        ("COCO AP at IoU 0.75", "AP75", 4),
        ("count MAE |", "mean_absolute_count_error", 2),
    ],
)
def test_the_results_table_quotes_the_shipped_metrics(start, key, digits):
    figures = shipped_metrics()
    low, high = figures["intervals_95"][key]
    _, value, interval = table_row("docs/results.md", start)
    assert value == f"{figures[key]:.{digits}f}"
    assert interval == f"{low:.{digits}f} to {high:.{digits}f}"


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_readme_quotes_the_shipped_metrics(name):
    figures = shipped_metrics(name)
    keys = ("mAP", "AP75", "AP", "precision", "recall", "mean_absolute_count_error")
    cells = table_row("README.md", f"`{name}`")[-len(keys) :]
    quoted = [cell.split(" ")[0] for cell in cells]  # without the intervals
    digits = (3, 3, 3, 3, 3, 2)
    assert quoted == [f"{figures[key]:.{places}f}" for key, places in zip(keys, digits)]


def test_the_documents_quote_the_threshold_and_the_errors():
    figures = shipped_metrics()
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    card = (paths.GRAPHS / "README.md").read_text(encoding="utf-8")
    threshold = f"score {figures['threshold']:.4f}"
    assert threshold in results
    assert threshold in card
    assert (
        f"{figures['TP']:,} true positives, {figures['FP']} false positives and "
        f"{figures['FN']} false negatives"
    ) in results


# ---- scoring again -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_scored_again_the_figures_hold(name, shelf_data, tmp_path):
    load_script("02_split_annotations").main([f"--images={shelf_data}", f"--out={tmp_path}"])
    for split in ("val", "test"):
        load_script("08_detect").main(
            [
                f"--graph={GRAPHS[name]}",
                f"--labels={tmp_path / f'{split}_labels.csv'}",
                f"--images={shelf_data / 'ShelfImages'}",
                f"--output={tmp_path / f'{split}.json'}",
            ]
        )
    load_script("09_score").main(
        [
            f"--ground-truth={tmp_path / 'test_labels.csv'}",
            f"--detections={tmp_path / 'test.json'}",
            f"--val-ground-truth={tmp_path / 'val_labels.csv'}",
            f"--val-detections={tmp_path / 'val.json'}",
            f"--graph-dir={GRAPHS[name]}",
            "--resamples=0",
            f"--output={tmp_path / 'metrics.json'}",
            f"--counts-output={tmp_path / 'counts.json'}",
        ]
    )
    found = read(tmp_path / "metrics.json")
    expected = shipped_metrics(name)
    for figure, tolerance in TOLERANCES.items():
        assert found[figure] == pytest.approx(expected[figure], abs=tolerance), figure
    assert (found["images"], found["boxes"]) == (71, 2648)
    assert found["labels_sha256"] == expected["labels_sha256"]
    counts = read(tmp_path / "counts.json")
    assert len(counts) == 71
    if read(paths.METRICS)["graph_sha256"] == found["graph_sha256"]:
        latest = read(paths.IMAGE_TO_PRODUCTS)
        assert sorted(counts) == sorted(latest)
        assert sum(abs(counts[name] - latest[name]) for name in counts) <= COUNTS_TOLERANCE
