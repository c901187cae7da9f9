"""Step 10: what the report holds, which files it takes, and what it refuses."""

import json

import numpy as np
import pytest
import report_example
from report_example import THRESHOLD, build, page_data

from conftest import load_script
from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.evaluation import advice, matching, metrics, report


@pytest.fixture
def matches(report_folder):
    return report_example.match_files(report_folder)


@pytest.fixture
def data(report_folder):
    return page_data((report_folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def figures(report_folder):
    return json.loads((report_folder / "metrics.json").read_text(encoding="utf-8"))


# ---- the page's data ---------------------------------------------------------------------------


def test_each_match_is_as_matching_decides_it(data, matches):
    for image, match in zip(data["images"], matches):
        assert image["name"] == match.filename
        assert image["scores"] == match.scores.tolist()
        assert image["kinds"] == match.kinds.tolist()
        found = [value for value in image["truthScores"] if value is not None]
        assert len(found) == np.sum(match.kinds == matching.TRUE_POSITIVE)
        for threshold in (0.0, 0.3, THRESHOLD, 1.0):
            missed = [value is None or value < threshold for value in image["truthScores"]]
            assert missed == matching.false_negatives(match, threshold).tolist()


def test_headline_and_tables_are_those_of_metrics_json(data, figures):
    cards = {card["name"]: card for card in data["headline"]}
    low, high = figures["intervals_95"]["recall"]
    assert cards["AP50"]["value"] == f"{figures['mAP']:.3f}"
    assert cards["recall"]["interval"] == f"{low:.3f} to {high:.3f}"
    (by_camera,) = [table for table in data["tables"] if table["title"] == "By camera"]
    assert [row[0] for row in by_camera["rows"]] == list(figures["by_camera"])
    assert (data["dimension"], data["groups"]) == ("Camera", list(figures["by_camera"]))


def test_the_advice_is_that_of_step_09(data, figures, matches):
    lines = advice.advise(matches, figures["threshold"])
    (card,) = [table for table in data["tables"] if table["title"] == "Advice"]
    assert lines
    numbered = [f"{number}. {line}." for number, line in enumerate(lines, 1)]
    assert card["note"].splitlines() == numbered


def test_images_in_several_folders_are_grouped_by_folder(report_folder, monkeypatch):
    def of_labels(label_file, filenames):
        assert label_file == report_folder / "test_labels.csv"
        return {name: f"shop {number % 2}" for number, name in enumerate(filenames)}

    monkeypatch.setattr(report.image_folders, "of_labels", of_labels)
    data = page_data(build(report_folder).page)
    assert (data["dimension"], data["groups"]) == ("Folder", ["shop 0", "shop 1"])
    assert [image["group"] for image in data["images"][:3]] == ["shop 0", "shop 1", "shop 0"]


def test_the_page_names_the_graph(data, report_folder):
    assert build(report_folder).graph == "some"
    assert data["title"] == "Evaluation of some"
    assert ["graph", "graphs/some/x.pb"] in data["provenance"]
    assert ["sha256 of the graph", "a" * 64] in data["provenance"]


def test_images_that_were_used_in_training_are_stated(data, report_folder, figures, tmp_path):
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(dict(figures, seen_in_training=3)))
    provenance = dict(page_data(build(report_folder, metrics=other).page)["provenance"])
    text = "3 of these images: the figures are not those of new images"
    assert provenance["used in training"] == text
    assert "used in training" not in dict(data["provenance"])


def test_only_the_images_with_the_most_errors_are_embedded_if_asked(report_folder, matches):
    built = build(report_folder, max_images=2)
    assert (built.shown, built.images) == (2, len(matches))
    embedded = [image for image in page_data(built.page)["images"] if image["embedded"]]
    tallied = metrics.tally(matches, THRESHOLD)
    errors = tallied.ground_truths + tallied.detections - 2 * tallied.true_positives
    assert sorted(errors[image["index"]] for image in embedded) == sorted(errors)[-2:]


# ---- the command -------------------------------------------------------------------------------


def test_the_script_writes_the_page_and_names_the_graph(report_folder, tmp_path, capsys):
    output = tmp_path / "report.html"
    load_script("10_report").main(
        [
            f"--detections={report_folder / 'test_detections.json'}",
            f"--labels={report_folder / 'test_labels.csv'}",
            f"--images={report_folder / 'images'}",
            f"--metrics={report_folder / 'metrics.json'}",
            f"--output={output}",
        ]
    )
    assert output.read_text(encoding="utf-8") == build(report_folder).page
    printed = capsys.readouterr().out
    assert "graph: some" in printed
    assert "no anchor coverage" in printed
    assert "6 of 6 images" in printed


def test_the_files_of_a_dataset_with_a_name():
    args = load_script("10_report").parse(["--dataset", "mine"])
    assert args.labels == paths.ANNOTATIONS / "mine" / "test_labels.csv"
    assert args.images == paths.IMAGES / "mine" / "ShelfImages"
    assert args.detections == paths.RESULTS / "mine" / "test_detections.json"
    assert args.output == paths.RESULTS / "mine" / "report.html"


# ---- the files it takes ------------------------------------------------------------------------


def test_the_metrics_are_those_of_the_graph_that_made_the_detections(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics.json")
    graph = tmp_path / "graphs" / "one"
    graph.mkdir(parents=True)
    info = {"graph": "graphs/one/frozen_inference_graph.pb", "graph_sha256": "a" * 64}
    assert report.find_metrics(info) == tmp_path / "metrics.json"
    (tmp_path / "metrics.json").write_text(json.dumps({"graph_sha256": "b" * 64}))
    (graph / "metrics.json").write_text(json.dumps({"graph_sha256": "a" * 64}))
    assert report.find_metrics(info) == graph / "metrics.json"
    (tmp_path / "metrics.json").write_text(json.dumps({"graph_sha256": "a" * 64}))
    assert report.find_metrics(info) == tmp_path / "metrics.json"


def test_the_config_is_the_one_beside_the_graph(tmp_path):
    info = {"graph": str(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)}
    beside = paths.SHIPPED_GRAPH / paths.CONFIG_FILE
    assert report.find_config(None, info, tmp_path) == beside
    assert report.find_config(paths.SHIPPED_CONFIG, info, tmp_path) == paths.SHIPPED_CONFIG
    assert report.find_config(None, {}, tmp_path) is None


def test_a_config_of_another_network_than_the_detections_is_refused():
    info = {"graph": str(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)}
    other = paths.TRAINING / "ssd_inception_v2_shelf_fast.config"
    message = (
        "fast.config: its `model` is not that of .*ssd_inception_v2_shelf.*found.json; expected"
    )
    with pytest.raises(UserError, match=message):
        report.find_config(other, info, "found.json")


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, words", [("graph_sha256", "another graph"), ("labels_sha256", "another label file")]
)
def test_figures_of_another_graph_or_label_file_are_refused(report_folder, tmp_path, key, words):
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps({"threshold": 0.5, key: "b" * 64}))
    with pytest.raises(UserError, match=words):
        build(report_folder, metrics=other)


def test_figures_of_several_datasets_are_refused(report_folder, figures, tmp_path):
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(dict(figures, by_dataset={"default": {}, "mine": {}})))
    message = r"holds figures of 2 datasets together \(default, mine\); expected those of one. Run"
    with pytest.raises(UserError, match=message):
        build(report_folder, metrics=other)
    other.write_text(json.dumps(dict(figures, by_dataset={"mine": {}})))
    assert build(report_folder, metrics=other).images


def test_figures_of_other_counts_are_refused(report_folder, figures, tmp_path):
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(dict(figures, detections=figures["detections"] + 1)))
    with pytest.raises(UserError, match="is of [0-9]+ detections"):
        build(report_folder, metrics=other)


def test_figures_of_as_many_other_boxes_are_refused(report_folder, figures, tmp_path):
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(dict(figures, TP=figures["TP"] + 1)))
    with pytest.raises(UserError, match=r"has [0-9]+ TP at the score 0\.4321, .* has [0-9]+\. Run"):
        build(report_folder, metrics=other)


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no such file.*make eval"),
        ("{", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"threshold": null}', "has no threshold"),
        ('{"threshold": NaN}', "threshold is 'nan'; expected a finite number"),
        ('{"threshold": "0.5"}', "threshold is '0.5'; expected a finite number"),
        ('{"threshold": 0.5, "mAP": true}', "mAP is 'True'; expected a finite number"),
    ],
)
def test_a_file_that_holds_no_figures_is_refused(report_folder, tmp_path, content, words):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=words):
        build(report_folder, metrics=path)


def test_missing_detections_are_refused(report_folder, tmp_path):
    with pytest.raises(UserError, match="no such file; expected detections. Run `make eval`"):
        build(report_folder, detections=tmp_path / "none.json")


def test_a_size_that_is_too_small_is_refused(report_folder):
    with pytest.raises(UserError, match="expected at most 0.0 MB. Show fewer with --max-images"):
        build(report_folder, max_bytes=10e3)
