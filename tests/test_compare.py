"""compare.py: what its choices change, what it writes, and that one choice's failure spoils no other. It trains nothing here."""

import json

import numpy as np
import pytest

from conftest import load_script
from shelfdet import UserError, annotations, detections, paths, pipeline, steps

ROW = {"what": "a choice", "steps": 250, "input_wh": [512, 384], "met": 0.875, "multiply_adds": 1970000000, "cpu_seconds": 90,
       "AP50": 0.99, "AP75": 0.5, "AP": 0.55, "F1": 0.9, "count_error": 1.5}
FOUND_XYXY = np.array([[10., 10., 70., 110.], [400., 400., 460., 500.], [150., 10., 215., 98.]])


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """The script, writing below a temporary folder, with labels to train on."""
    module = load_script("compare")
    for name, place in (("FOLDER", "runs"), ("FIGURES", "comparison.json"), ("PLOT", "plot.png")):
        monkeypatch.setattr(module, name, tmp_path / place)
    (tmp_path / "runs" / "data").mkdir(parents=True)
    boxes_xyxy = np.array([[10., 10., 70., 110.], [80., 10., 140., 110.], [150., 10., 215., 120.]])
    for split, name in (("train", "a.jpg"), ("val", "b.jpg")):
        annotations.write_labels([annotations.LabelledImage(name, (853, 640), boxes_xyxy, ("product",) * 3)], module.labels(split))
    return module


def test_the_base_changes_nothing_and_every_other_choice_something(compare):
    base = pipeline.read(paths.DEFAULT_CONFIG)
    made = {name: pipeline.changed(base, changes) for name, (_, changes) in compare.CHOICES.items()}
    assert made["base"] == base and made["base_again"] == base
    different = [config.SerializeToString() for name, config in made.items() if name != "base_again"]
    assert len(set(different)) == len(different)
    assert all(config.train_config.num_steps == base.train_config.num_steps for config in made.values())
    assert set(compare.KINDS) | set(compare.SEEDS) | set(compare.STEPS_TIMES) <= set(compare.CHOICES)


@pytest.mark.parametrize("name, grids, cost, scales", [
    ("one_map", [(32, 32)], 1, None), ("zoo_anchors", [(32, 32), (16, 16)], 1, [0.2, 0.95]),
    ("batch_4", [(32, 32), (16, 16)], 2, None), ("wide_640x480", [(40, 30), (20, 15)], 1, None)])
def test_a_choices_config_has_one_anchor_per_cell_and_the_steps_asked_for(compare, name, grids, cost, scales):
    row = compare.make_config(name, 40)
    config = pipeline.read(compare.FOLDER / (name + ".config"))
    network = pipeline.network(config)
    assert network.grids_wh == grids and row["multiply_adds"] == network.multiply_adds
    assert pipeline.anchors(config, grids_wh=network.grids_wh)[2] == [1] * len(grids)
    schedule = config.train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    assert config.train_config.num_steps == schedule.total_steps == row["steps"] == 40 * cost and schedule.warmup_steps == 4 * cost
    assert list(config.train_input_reader.tf_record_input_reader.input_path) == [str(compare.FOLDER / "data" / "train.record")]
    assert 0 <= row["met"] <= 1
    if scales:
        np.testing.assert_allclose(config.model.ssd.anchor_generator.ssd_anchor_generator.scales, scales)


def test_rows_are_kept_in_the_order_of_the_choices(compare):
    compare.write_row("relu", {"AP": 0.5})
    compare.write_row("base", {"AP": 0.25})
    compare.write_row("relu", {"megabytes": 10})
    assert json.loads(compare.FIGURES.read_text()) == {"base": {"AP": 0.25}, "relu": {"AP": 0.5, "megabytes": 10}}
    assert list(compare.read_rows()) == ["base", "relu"]


def test_a_choice_that_fails_is_told_and_the_others_are_trained(compare, monkeypatch, capsys):
    def run(step, options, log, core):
        options = [str(option) for option in options]
        if "relu" in " ".join(options):
            raise UserError("06_train.py ended with status 1")
        if step == "detect":
            assert options[options.index("--labels") + 1] == str(compare.labels("val")), "test pictures are not looked at"
            found = detections.Detections("b.jpg", (853, 640), FOUND_XYXY, np.array([0.9, 0.8, 0.7]), ("product",) * 3)
            detections.write_detections([found], options[options.index("--output") + 1])
        if step == "export":
            assert options[options.index("--checkpoint") + 1] == "newest"
        return 100.0
    monkeypatch.setattr(steps, "run", run)
    monkeypatch.setattr(compare, "make_config", lambda name, count: dict(ROW, what=name, steps=count, seed=0))
    with pytest.raises(UserError, match="1 of 3 choices failed: relu. Mend what is told above"):
        compare.train_all(["base", "relu", "one_map"], 40)
    assert list(compare.read_rows()) == ["base", "one_map"]
    # Hit at IoU 1, missed, hit at IoU 0.8: precision 1 up to a recall of 1/3 and 2/3 up to 2/3 (AP50 5/9). At the score of 0.7 two of
    # three are hit: F1 2/3. COCO: 101 recalls, 34 of them up to 1/3 and 67 up to 2/3; at seven IoUs (0.50 to 0.80) as AP50, at three
    # the first alone.
    row = compare.read_rows()["base"]
    coco = (34 + 33 * 2 / 3) / 101
    assert [row[key] for key in ("cpu_seconds", "AP50", "AP75", "AP", "F1", "count_error")] == pytest.approx(
        [100, 5 / 9, coco, (7 * coco + 3 * 34 / 101) / 10, 2 / 3, 0], abs=1e-5)
    said = capsys.readouterr()
    assert "relu failed: 06_train.py ended with status 1" in said.err and "base: AP50 0.5556" in said.out


def test_the_table_and_the_plot(compare, capsys):
    rows = {"base": dict(ROW, pictures_per_second=12.5, megabytes=10.87, timed_on="a machine"), "one_map": dict(ROW, what="one map")}
    compare.tell(rows)
    said = capsys.readouterr().out
    assert "| a choice | 512 x 384 | 0.88 | 0.990 | 0.500 | 0.550 | 0.900 | 1.50 | 1.97 | 12.5 | 10.87 | 2 |" in said
    assert "| one map | 512 x 384 | 0.88 | 0.990 | 0.500 | 0.550 | 0.900 | 1.50 | 1.97 | - | - | 2 |" in said
    assert "pictures a second on a machine" in said
    assert compare.PLOT.read_bytes().startswith(b"\x89PNG")
