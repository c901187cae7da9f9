"""Ablations: what the choices change, which rows are written, what happens when one fails.

Nothing is trained here: the steps are replaced by a function that records their command lines.
"""

import collections
import json
import threading

import numpy as np
import pytest
from recorded_steps import record, value_of

from experiments import ablation_choices, ablation_runs, ablations, steps
from experiments.ablation_choices import CHOICES
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.config.network import Network, generate_anchors
from shelfdet.core import paths
from shelfdet.data import detections, labels, layout

ROW = {
    "description": "a choice",
    "steps": 250,
    "input_wh": [512, 384],
    "anchor_coverage": 0.875,
    "macs": 1970000000,
    "cpu_seconds": 90,
    "seed": 0,
    "labels_sha256": ["0" * 64] * 2,
    "AP50": 0.99,
    "AP75": 0.5,
    "AP": 0.55,
    "F1": 0.9,
    "count_mae": 1.5,
}
TRUTH_XYXY = np.array(
    [[10.0, 10.0, 70.0, 110.0], [80.0, 10.0, 140.0, 110.0], [150.0, 10.0, 215.0, 120.0]]
)
# A true positive of IoU 1, a false positive, a true positive of IoU 0.8.
FOUND_XYXY = np.array(
    [[10.0, 10.0, 70.0, 110.0], [400.0, 400.0, 460.0, 500.0], [150.0, 10.0, 215.0, 98.0]]
)
SIZE_WH = (853, 640)


def labelled(*names):
    return [
        labels.LabelledImage(f"{name}.jpg", SIZE_WH, TRUTH_XYXY, ("product",) * 3) for name in names
    ]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A temporary folder that all is written to, with labels to train on and to score by."""
    monkeypatch.setattr(ablation_runs, "FOLDER", tmp_path / "runs")
    monkeypatch.setattr(ablation_runs, "ROWS_FILE", tmp_path / "ablations.json")
    monkeypatch.setattr(ablation_runs, "PUBLISHED_ROWS", tmp_path / "published.json")
    monkeypatch.setattr(ablations, "FIGURE", tmp_path / "figure.png")
    monkeypatch.setattr(ablations, "PUBLISHED_FIGURE", tmp_path / "published.png")
    data = ablation_runs.data_folder()
    data.mkdir(parents=True)
    labels.write_labels(labelled("a"), data / "train_labels.csv")
    labels.write_labels(labelled("b", "c"), data / "val_labels.csv")
    labels.write_labels(labelled("b"), ablation_runs.scored_labels())
    return tmp_path


def write_detections(path):
    found = [
        detections.Detections(
            name, SIZE_WH, FOUND_XYXY, np.array([0.9, 0.8, 0.7]), ("product",) * 3
        )
        for name in ("b.jpg", "c.jpg")
    ]
    detections.write_detections(found, path)


@pytest.fixture
def called(workspace, monkeypatch):
    """The steps called, as (step, options); they are not run. The training of relu fails."""

    def act(step, options):
        if step == "train":
            if "relu" in " ".join(options):
                raise UserError("06_train.py ended with status 1")
            run_folder = workspace / value_of(options, "--run-dir")
            run_folder.mkdir(exist_ok=True)
            (run_folder / "checkpoint").write_text("")
        if step == "detect":
            write_detections(value_of(options, "--output"))
        return 100.0

    def with_anchors(name, built, train_labels):
        return built, Network((512, 512), [(32, 32)], 7, {}), 0.5

    monkeypatch.setattr(steps, "_stopped", threading.Event())
    monkeypatch.setattr(ablation_choices, "with_anchors", with_anchors)
    placed = layout.Layout(None, {"train": {"b.jpg": None}, "test": {"c.jpg": None}}, {}, {})
    monkeypatch.setattr(layout, "find_divided", lambda folder: placed)
    return record(monkeypatch, act)


def options_of(called, step):
    return [options for name, options in called if name == step]


# --- the choices ----------------------------------------------------------------------------------


def all_configs():
    shipped = pipeline.read(paths.SHIPPED_CONFIG)
    return {
        name: ablation_choices.config(name, shipped, 100, paths.ANNOTATIONS) for name in CHOICES
    }


def test_every_choice_changes_something():
    configs = all_configs()
    base_names = {name for name, choice in CHOICES.items() if choice.kind == ablation_choices.BASE}
    assert all(configs[name] == configs["base"] for name in base_names)
    assert len({CHOICES[name].seed for name in base_names}) == len(base_names) >= 2
    shipped = pipeline.read(paths.SHIPPED_CONFIG)
    recipes = {ablation_choices.recipe_sha256(name, shipped, 40, paths.ROOT) for name in CHOICES}
    assert len(recipes) == len(CHOICES)


def test_the_base_is_the_recipe_that_the_ablations_started_from():
    base = all_configs()["base"]
    assert base.train_config.batch_size == 8
    nms = base.model.ssd.post_processing.batch_non_max_suppression
    assert nms.iou_threshold == pytest.approx(0.6)
    (crop,) = base.train_config.data_augmentation_options[4].ssd_random_crop.operations
    assert (crop.min_area, crop.random_coef) == (0.25, 0.25)


def test_every_choice_is_trained_on_as_many_images():
    for config in all_configs().values():
        train = config.train_config
        assert train.num_steps * train.batch_size == 800
        schedule = train.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
        assert schedule.total_steps == train.num_steps
        assert schedule.warmup_steps == train.num_steps // 10


def test_a_choice_that_uses_other_weights_differs_in_post_processing_only():
    configs = all_configs()
    names = [name for name, choice in CHOICES.items() if choice.weights_of]
    assert names
    for name in names:
        origin = configs[CHOICES[name].weights_of]
        changed = type(origin)()
        changed.CopyFrom(configs[name])
        changed.model.ssd.post_processing.CopyFrom(origin.model.ssd.post_processing)
        assert changed == origin
        assert changed != configs[name]


@pytest.mark.parametrize(
    "name, grids, scales",
    [
        ("one_map", [(32, 32)], None),
        ("zoo_anchors", [(32, 32), (16, 16)], [0.2, 0.95]),
        ("wide_640x480", [(40, 30), (20, 15)], None),
    ],
)
def test_a_choice_has_one_anchor_per_cell(workspace, name, grids, scales):
    data = ablation_runs.data_folder()
    config, network, coverage = ablation_choices.with_anchors(
        name,
        ablation_choices.config(name, ablation_runs.base_config(), 40, data),
        data / "train_labels.csv",
    )
    assert network.grids_wh == grids
    assert 0 <= coverage <= 1
    assert generate_anchors(config, grids_wh=network.grids_wh).per_cell == [1] * len(grids)
    if scales:
        generator = config.model.ssd.anchor_generator.ssd_anchor_generator
        np.testing.assert_allclose(generator.scales, scales)


@pytest.mark.parametrize(
    "removed, found", [(0, "nothing"), (4, "nothing"), (None, "random_horizontal_flip")]
)
def test_a_base_with_its_augmentations_in_another_order_is_refused(removed, found):
    base = pipeline.read(paths.SHIPPED_CONFIG)
    options = base.train_config.data_augmentation_options
    if removed is None:
        options[4].random_horizontal_flip.SetInParent()
    else:
        del options[removed]
    with pytest.raises(
        UserError, match=rf"options\[4\]: found {found}; expected ssd_random_crop_pad, .*Restore"
    ):
        ablation_choices.config("base", base, 40, paths.ANNOTATIONS)


def test_a_recipe_is_identified_by_what_is_trained_and_not_by_where(tmp_path):
    base = pipeline.read(paths.SHIPPED_CONFIG)
    sha256 = ablation_choices.recipe_sha256
    first = sha256("base", base, 40, tmp_path)
    assert first == sha256("base", base, 40, tmp_path / "other")
    other_loss = pipeline.with_changes(base, [(ablation_choices.LOSS, "localization_weight: 3")])
    others = {
        sha256("base", base, 50, tmp_path),
        sha256("base_again", base, 40, tmp_path),
        sha256("base", other_loss, 40, tmp_path),
    }
    assert len(others | {first}) == 4


# --- ablations.json -------------------------------------------------------------------------------


def test_the_committed_rows_are_of_the_recipes_of_today(tmp_path):
    shipped = pipeline.read(paths.SHIPPED_CONFIG)
    rows = json.loads(ablation_runs.PUBLISHED_ROWS.read_text())
    assert list(rows) == list(CHOICES)
    for name, row in rows.items():
        expected = ablation_choices.recipe_sha256(name, shipped, ablations.STEPS, tmp_path)
        assert row["recipe_sha256"] == expected, name
        assert row["description"] == CHOICES[name].description
        assert len(ablations.table_cells(row)) == len(ablations.COLUMNS)
    assert len({tuple(row["labels_sha256"]) for row in rows.values()}) == 1


def test_rows_are_kept_in_the_order_of_the_choices(workspace):
    ablation_runs.update_row("relu", {"AP": 0.5})
    ablation_runs.update_row("base", {"AP": 0.25})
    ablation_runs.update_row("relu", {"megabytes": 10})
    stored = json.loads(ablation_runs.ROWS_FILE.read_text())
    assert stored == {"base": {"AP": 0.25}, "relu": {"AP": 0.5, "megabytes": 10}}
    assert list(ablation_runs.read_rows()) == ["base", "relu"]
    ablation_runs.remove_row("base")
    assert list(ablation_runs.read_rows()) == ["relu"]


# --- training and scoring -------------------------------------------------------------------------


def test_official_test_images_are_not_scored_on(called):
    ablation_runs.prepare_data()
    assert [step for step, _ in called] == ["split", "records"]
    scored = labels.read_labels(ablation_runs.scored_labels())
    assert [image.filename for image in scored] == ["b.jpg"]


def test_a_choice_that_fails_is_reported_and_the_others_are_trained(called, capsys):
    with pytest.raises(
        UserError, match="1 of 4 choices failed: relu. Correct what is reported above"
    ):
        ablations.main(["--only", "nms_045", "base", "relu", "one_map", "--steps", "40"])
    assert list(ablation_runs.read_rows()) == ["base", "nms_045", "one_map"]
    output = capsys.readouterr()
    assert "relu failed: 06_train.py ended with status 1" in output.err
    assert "base: AP50 0.5556" in output.out


def test_the_figures_of_a_choice_as_worked_out_by_hand(called):
    ablations.main(["--only", "base", "--steps", "40"])
    row = ablation_runs.read_rows()["base"]
    # Precision is 1 up to a recall of 1/3, and 2/3 up to 2/3: AP50 is 5/9. From the score 0.7 on
    # two of three are true positives: F1 is 2/3. Of COCO's 101 recalls 34 are up to 1/3, and 33
    # more up to 2/3; at seven IoUs (0.50 to 0.80) as for AP50, at three only the first box counts.
    coco_ap50 = (34 + 33 * 2 / 3) / 101
    coco_ap = (7 * coco_ap50 + 3 * 34 / 101) / 10
    figures = [row[key] for key in ("cpu_seconds", "AP50", "AP75", "AP", "F1", "count_mae")]
    assert figures == pytest.approx([100, 5 / 9, coco_ap50, coco_ap, 2 / 3, 0], abs=1e-5)


def test_the_newest_checkpoint_is_exported_and_detects_in_the_scored_images(called):
    ablations.main(["--only", "nms_045", "base", "--steps", "40"])
    exports = options_of(called, "export")
    assert [value_of(options, "--name") for options in exports] == ["base", "nms_045"]
    for options in exports:
        assert value_of(options, "--checkpoint") == "newest"
        assert value_of(options, "--run-dir") == str(ablation_runs.FOLDER / "base")
    for options in options_of(called, "detect"):
        assert value_of(options, "--labels") == str(ablation_runs.scored_labels())


def times_trained(called):
    return collections.Counter(
        value_of(options, "--run-dir").rsplit("/", 1)[-1] for options in options_of(called, "train")
    )


def test_what_has_a_row_is_not_trained_again_unless_asked_for(called):
    ablations.main(["--only", "base", "--steps", "40"])
    ablations.main(["--only", "base", "one_map", "--steps", "40"])
    assert times_trained(called) == {"base": 1, "one_map": 1}
    assert ablation_runs.read_rows()["base"]["cpu_seconds"] == 100
    with pytest.raises(
        UserError,
        match=r"row of base is of another recipe \(40 steps.*expected rows of one base.*--again",
    ):
        ablations.main(["--only", "base", "--steps", "50"])
    with pytest.raises(UserError, match="the row of one_map is of another recipe"):
        ablations.main(["--only", "base", "--steps", "50", "--again"])  # one_map's row would stay
    ablations.main(["--only", "base", "base", "one_map", "--steps", "50", "--again"])
    assert times_trained(called) == {"base": 2, "one_map": 2}
    assert ablation_runs.read_rows()["base"]["steps"] == 50


def test_training_a_choice_again_repeats_those_that_use_its_weights(called):
    ablations.main(["--only", "base", "nms_045", "--steps", "40"])
    ablations.main(["--only", "base", "--steps", "40", "--again"])
    exported = [value_of(options, "--name") for options in options_of(called, "export")]
    assert exported == ["base", "nms_045"] * 2


def test_a_choice_of_two_workers_trains_on_all_cores_after_the_others(called):
    ablations.main(["--only", "workers_2", "base", "--steps", "40"])
    first, second = options_of(called, "train")
    assert first[first.index("--run-dir") + 1].endswith("base") and "--workers" not in first
    assert value_of(second, "--workers") == "2"


def test_rows_of_other_images_are_refused(called):
    ablations.main(["--only", "base", "--steps", "40"])
    assert len(options_of(called, "records")) == 1
    labels.write_labels(labelled("other"), ablation_runs.data_folder() / "train_labels.csv")
    with pytest.raises(
        UserError,
        match="the row of base is of other images or labels than .*expected rows of one dataset.*"
        "--again",
    ):
        ablations.main(["--only", "one_map", "--steps", "40"])
    assert len(options_of(called, "records")) == 2, "records are made whenever labels are"


def test_a_resumed_run_has_no_cpu_time(called):
    run = ablation_runs.FOLDER / "base"
    run.mkdir()
    (run / "checkpoint").write_text("")
    ablations.main(["--only", "base", "--steps", "40"])
    assert ablation_runs.read_rows()["base"]["cpu_seconds"] is None


def test_a_run_of_another_config_is_refused(called, capsys):
    run = ablation_runs.FOLDER / "one_map"
    run.mkdir()
    (run / "pipeline.config").write_text("model { }")
    with pytest.raises(UserError, match="1 of 1 choices failed: one_map"):
        ablations.main(["--only", "one_map", "--steps", "40"])
    assert "was trained with another config than" in capsys.readouterr().err


def test_a_choice_whose_weights_are_missing_is_reported(called, capsys):
    with pytest.raises(UserError, match="1 of 1 choices failed: nms_045"):
        ablations.main(["--only", "nms_045", "--steps", "40"])
    assert "nms_045 uses the weights of base, which are missing" in capsys.readouterr().err


# --- the command ----------------------------------------------------------------------------------


def test_the_table_and_the_figure(workspace, capsys):
    timed = dict(ROW, images_per_second=12.5, megabytes=10.87, timed_on="a machine")
    ablation_runs.update_row("base", timed)
    ablation_runs.update_row("one_map", dict(ROW, description="one map", cpu_seconds=None))
    ablation_runs.update_row("relu", dict(ROW, description="a recipe"))
    ablations.main(["--table"])
    output = capsys.readouterr().out
    figures = "512 x 384 | 0.88 | 0.990 | 0.500 | 0.550 | 0.900 | 1.50 | 1.97"
    assert f"| a choice | {figures} | 12.5 | 10.87 | 2 |" in output
    assert f"| one map | {figures} | - | - | - |" in output
    assert "images/s on a machine" in output
    assert ablations.FIGURE.read_bytes().startswith(b"\x89PNG")
    assert not ablations.PUBLISHED_FIGURE.exists()


def test_the_tracked_rows_are_read_and_written_only_to_publish(workspace):
    ablation_runs.PUBLISHED_ROWS.write_text(json.dumps({"base": ROW}))
    ablation_runs.update_row("relu", ROW)
    assert list(ablation_runs.read_rows()) == ["base", "relu"]
    assert list(json.loads(ablation_runs.PUBLISHED_ROWS.read_text())) == ["base"]
    ablations.main(["--table", "--publish"])
    assert list(json.loads(ablation_runs.PUBLISHED_ROWS.read_text())) == ["base", "relu"]
    assert ablations.PUBLISHED_FIGURE.exists()


def test_without_rows_there_is_no_table(workspace, capsys):
    ablations.main(["--table"])
    assert "ablations.json: no rows yet" in capsys.readouterr().out
    assert not ablations.FIGURE.exists()


def test_missing_graphs_are_not_timed(workspace):
    ablation_runs.update_row("base", ROW)
    with pytest.raises(
        UserError,
        match="base: their graphs are not in .*; expected all, to measure speeds on one machine",
    ):
        ablations.main(["--speed"])


def test_an_unknown_choice_is_refused(workspace):
    with pytest.raises(
        UserError, match="--only bse: no such choice; expected some of base, base_again"
    ):
        ablations.main(["--only", "bse"])
