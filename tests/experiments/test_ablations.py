"""compare.py and ablation_choices.py: what the choices change, what is written, and what one's failure does to others. Nothing is trained here."""

import collections
import json
import threading

import numpy as np
import pytest

from conftest import load_script
from experiments import ablation_choices
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.config.network import Network, generate_anchors
from shelfdet.core import paths, steps
from shelfdet.data import detections, images, labels

ROW = {
    "what": "a choice",
    "steps": 250,
    "input_wh": [512, 384],
    "met": 0.875,
    "multiply_adds": 1970000000,
    "cpu_seconds": 90,
    "seed": 0,
    "labels_sha256": ["0" * 64] * 2,
    "AP50": 0.99,
    "AP75": 0.5,
    "AP": 0.55,
    "F1": 0.9,
    "count_error": 1.5,
}
TRUTH_XYXY = np.array(
    [[10.0, 10.0, 70.0, 110.0], [80.0, 10.0, 140.0, 110.0], [150.0, 10.0, 215.0, 120.0]]
)
# Hit at IoU 1, missed, hit at IoU 0.8
FOUND_XYXY = np.array(
    [[10.0, 10.0, 70.0, 110.0], [400.0, 400.0, 460.0, 500.0], [150.0, 10.0, 215.0, 98.0]]
)


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """The script, writing below a temporary folder, with labels to train on and to rank by."""
    module = load_script("ablations")
    for name, place in (("FOLDER", "runs"), ("FIGURES", "ablations.json"), ("PLOT", "plot.png")):
        monkeypatch.setattr(module, name, tmp_path / place)
    (tmp_path / "runs" / "data").mkdir(parents=True)
    for split, names in (("train", "a"), ("val", "bc"), ("ranked", "b")):
        labels.write_labels(
            [
                labels.LabelledImage(name + ".jpg", (853, 640), TRUTH_XYXY, ("product",) * 3)
                for name in names
            ],
            module.data() / (split + "_labels.csv"),
        )
    return module


@pytest.fixture
def called(compare, monkeypatch):
    """The steps that compare.py calls, in place of running them; what is named relu cannot be trained."""
    calls = []

    def run(step, options, log=None, core=None):
        options = [str(option) for option in options]
        calls.append((step, options))
        if step == "train":
            if "relu" in " ".join(options):
                raise UserError("06_train.py ended with status 1")
            folder = compare.FOLDER / options[options.index("--run-dir") + 1]
            folder.mkdir(exist_ok=True)
            (folder / "checkpoint").write_text("")
        if step == "detect":
            found = [
                detections.Detections(
                    name + ".jpg",
                    (853, 640),
                    FOUND_XYXY,
                    np.array([0.9, 0.8, 0.7]),
                    ("product",) * 3,
                )
                for name in "bc"
            ]
            detections.write_detections(found, options[options.index("--output") + 1])
        return 100.0

    monkeypatch.setattr(steps, "run", run)
    monkeypatch.setattr(steps, "_stopped", threading.Event())
    monkeypatch.setattr(
        ablation_choices,
        "with_anchors",
        lambda name, built, label_files: (
            built,
            Network((512, 512), [(32, 32)], 7, {}),
            0.5,
        ),
    )
    monkeypatch.setattr(
        images, "sides", lambda folder: {"train": {"b.jpg": None}, "test": {"c.jpg": None}}
    )
    return calls


# --- the choices -----------------------------------------------------------------------------------------------------


def configs():
    shipped = pipeline.read(paths.SHIPPED_CONFIG)
    return {
        name: ablation_choices.config(name, shipped, 100, paths.ANNOTATIONS)
        for name in ablation_choices.CHOICES
    }


def test_every_choice_changes_something():
    made = configs()
    repeated = {
        name
        for name, choice in ablation_choices.CHOICES.items()
        if choice.kind == ablation_choices.BASE
    }
    assert all(made[name] == made["base"] for name in repeated)
    assert len({ablation_choices.CHOICES[name].seed for name in repeated}) == len(repeated) >= 2
    different = [made[name].SerializeToString() for name in made if name not in repeated] + [
        made["base"].SerializeToString()
    ]
    assert len(set(different)) == len(different)


def test_the_base_is_the_recipe_that_the_comparison_began_with():
    base = configs()["base"]
    assert (
        base.train_config.batch_size,
        base.model.ssd.post_processing.batch_non_max_suppression.iou_threshold,
    ) == (8, pytest.approx(0.6))
    (crop,) = base.train_config.data_augmentation_options[4].ssd_random_crop.operations
    assert (crop.min_area, crop.random_coef) == (0.25, 0.25)


def test_every_choice_sees_as_many_images():
    for config in configs().values():
        train = config.train_config
        assert train.num_steps * train.batch_size == 800
        schedule = train.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
        assert (
            schedule.total_steps == train.num_steps
            and schedule.warmup_steps == train.num_steps // 10
        )


def test_a_choice_that_follows_the_network_differs_from_its_base_there_alone():
    made = configs()
    for name, choice in ablation_choices.CHOICES.items():
        if choice.weights_of:
            changed = type(made[name])()
            changed.CopyFrom(made[name])
            changed.model.ssd.post_processing.CopyFrom(
                made[choice.weights_of].model.ssd.post_processing
            )
            assert changed == made[choice.weights_of] and changed != made[name]


@pytest.mark.parametrize(
    "name, grids, scales",
    [
        ("one_map", [(32, 32)], None),
        ("zoo_anchors", [(32, 32), (16, 16)], [0.2, 0.95]),
        ("wide_640x480", [(40, 30), (20, 15)], None),
    ],
)
def test_a_choice_has_one_anchor_per_cell(compare, name, grids, scales):
    config, network, met = ablation_choices.with_anchors(
        name,
        ablation_choices.config(name, compare.shipped(), 40, compare.data()),
        compare.data() / "train_labels.csv",
    )
    assert network.grids_wh == grids and 0 <= met <= 1
    assert generate_anchors(config, grids_wh=network.grids_wh)[2] == [1] * len(grids)
    if scales:
        np.testing.assert_allclose(
            config.model.ssd.anchor_generator.ssd_anchor_generator.scales, scales
        )


def test_a_base_with_its_augmentations_in_another_order_is_refused():
    base = pipeline.read(paths.SHIPPED_CONFIG)
    del base.train_config.data_augmentation_options[0]
    with pytest.raises(
        UserError,
        match=r"data_augmentation_options\[3\]: found ssd_random_crop; expected random_adjust_saturation",
    ):
        ablation_choices.config("base", base, 40, paths.ANNOTATIONS)


def test_a_recipe_is_told_by_what_is_trained_not_by_where(tmp_path):
    base = pipeline.read(paths.SHIPPED_CONFIG)
    first = ablation_choices.recipe_sha256("base", base, 40, tmp_path)
    assert first == ablation_choices.recipe_sha256("base", base, 40, tmp_path / "other")
    assert (
        len(
            {
                first,
                ablation_choices.recipe_sha256("base", base, 50, tmp_path),
                ablation_choices.recipe_sha256("base_again", base, 40, tmp_path),
                ablation_choices.recipe_sha256(
                    "base",
                    pipeline.with_changes(base, [(ablation_choices.LOSS, "localization_weight: 3")]),
                    40,
                    tmp_path,
                ),
            }
        )
        == 4
    )


# --- compare.py ------------------------------------------------------------------------------------------------------


def test_rows_are_kept_in_the_order_of_the_choices(compare):
    compare.write_row("relu", {"AP": 0.5})
    compare.write_row("base", {"AP": 0.25})
    compare.write_row("relu", {"megabytes": 10})
    assert json.loads(compare.FIGURES.read_text()) == {
        "base": {"AP": 0.25},
        "relu": {"AP": 0.5, "megabytes": 10},
    }
    assert list(compare.read_rows()) == ["base", "relu"]
    compare.write_row("base", None)
    assert list(compare.read_rows()) == ["relu"]


def test_official_test_images_are_not_ranked_by(compare, called):
    compare.prepare_data()
    assert [step for step, _ in called] == ["split", "records"]
    assert [
        image.filename for image in labels.read_labels(compare.data() / "ranked_labels.csv")
    ] == ["b.jpg"]


def test_a_choice_that_fails_is_told_and_the_others_are_trained(compare, called, capsys):
    with pytest.raises(UserError, match="1 of 4 choices failed: relu. Mend what is told above"):
        compare.main(["--only", "nms_045", "base", "relu", "one_map", "--steps", "40"])
    assert list(compare.read_rows()) == ["base", "nms_045", "one_map"]
    # Precision 1 up to a recall of 1/3 and 2/3 up to 2/3: AP50 5/9. At the score of 0.7 two of three are hit: F1 2/3. COCO: 101 recalls,
    # 34 of them up to 1/3 and 33 more up to 2/3; at seven IoUs (0.50 to 0.80) as AP50, at three the first alone.
    row, coco = compare.read_rows()["base"], (34 + 33 * 2 / 3) / 101
    assert [
        row[key] for key in ("cpu_seconds", "AP50", "AP75", "AP", "F1", "count_error")
    ] == pytest.approx([100, 5 / 9, coco, (7 * coco + 3 * 34 / 101) / 10, 2 / 3, 0], abs=1e-5)
    said = capsys.readouterr()
    assert (
        "relu failed: 06_train.py ended with status 1" in said.err
        and "base: AP50 0.5556" in said.out
    )
    exports = {
        options[options.index("--name") + 1]: options
        for step, options in called
        if step == "export"
    }
    assert all(
        options[options.index("--checkpoint") + 1] == "newest" for options in exports.values()
    )
    assert [
        options[options.index("--run-dir") + 1] for options in (exports["nms_045"], exports["base"])
    ] == [str(compare.FOLDER / "base")] * 2
    assert all(
        options[options.index("--labels") + 1] == str(compare.data() / "ranked_labels.csv")
        for step, options in called
        if step == "detect"
    )


def trained(called):
    return collections.Counter(
        options[options.index("--run-dir") + 1].rsplit("/", 1)[-1]
        for step, options in called
        if step == "train"
    )


def test_what_has_a_row_is_not_trained_again_unless_asked_for(compare, called):
    compare.main(["--only", "base", "--steps", "40"])
    compare.main(["--only", "base", "one_map", "--steps", "40"])
    assert trained(called) == {"base": 1, "one_map": 1}
    assert compare.read_rows()["base"]["cpu_seconds"] == 100
    with pytest.raises(
        UserError,
        match=r"the row of base is of another recipe \(40 steps; .*expected rows of one base.*--again",
    ):
        compare.main(["--only", "base", "--steps", "50"])
    with pytest.raises(
        UserError, match="the row of one_map is of another recipe"
    ):  # though base alone is asked for
        compare.main(["--only", "base", "--steps", "50", "--again"])
    compare.main(["--only", "base", "base", "one_map", "--steps", "50", "--again"])
    assert (
        trained(called) == {"base": 2, "one_map": 2} and compare.read_rows()["base"]["steps"] == 50
    )


def test_what_has_the_weights_of_a_choice_falls_with_its_row(compare, called):
    compare.main(["--only", "base", "nms_045", "--steps", "40"])
    compare.main(["--only", "base", "--steps", "40", "--again"])
    assert [
        options[options.index("--name") + 1] for step, options in called if step == "export"
    ] == ["base", "nms_045"] * 2


def test_rows_of_other_images_are_refused(compare, called):
    compare.main(["--only", "base", "--steps", "40"])
    assert [step for step, _ in called].count("records") == 1
    labels.write_labels(
        [labels.LabelledImage("other.jpg", (853, 640), TRUTH_XYXY, ("product",) * 3)],
        compare.data() / "train_labels.csv",
    )
    with pytest.raises(
        UserError,
        match="the row of base is of other images or labels than .*expected rows of one data set.*--again",
    ):
        compare.main(["--only", "one_map", "--steps", "40"])
    assert [step for step, _ in called].count("records") == 2, "records follow the labels"


def test_a_run_that_goes_on_has_no_cpu_time_and_one_of_another_recipe_is_refused(
    compare, called, capsys
):
    (compare.FOLDER / "base").mkdir()
    (compare.FOLDER / "base" / "checkpoint").write_text("")
    compare.main(["--only", "base", "--steps", "40"])
    assert compare.read_rows()["base"]["cpu_seconds"] is None
    (compare.FOLDER / "one_map").mkdir()
    (compare.FOLDER / "one_map" / "pipeline.config").write_text("model { }")
    with pytest.raises(UserError, match="1 of 1 choices failed: one_map"):
        compare.main(["--only", "one_map", "--steps", "40"])
    assert "was trained with another config than" in capsys.readouterr().err


def test_a_choice_without_the_weights_it_needs_says_so(compare, called, capsys):
    with pytest.raises(UserError, match="1 of 1 choices failed: nms_045"):
        compare.main(["--only", "nms_045", "--steps", "40"])
    assert "nms_045 has the weights of base, which are not here" in capsys.readouterr().err


def test_the_table_and_the_figure(compare, capsys):
    for name, row in (
        ("base", dict(ROW, images_per_second=12.5, megabytes=10.87, timed_on="a machine")),
        ("one_map", dict(ROW, what="one map", cpu_seconds=None)),
        ("relu", dict(ROW, what="a recipe")),
    ):
        compare.write_row(name, row)
    compare.main(["--table"])
    said = capsys.readouterr().out
    assert (
        "| a choice | 512 x 384 | 0.88 | 0.990 | 0.500 | 0.550 | 0.900 | 1.50 | 1.97 | 12.5 | 10.87 | 2 |"
        in said
    )
    assert (
        "| one map | 512 x 384 | 0.88 | 0.990 | 0.500 | 0.550 | 0.900 | 1.50 | 1.97 | - | - | - |"
        in said
    )
    assert "images/s on a machine" in said
    assert compare.PLOT.read_bytes().startswith(b"\x89PNG")


def test_graphs_that_are_not_here_are_not_timed(compare):
    compare.write_row("base", ROW)
    with pytest.raises(
        UserError, match="base: their graphs are not in .*; expected all, for speeds of one machine"
    ):
        compare.main(["--speed"])


def test_an_unknown_choice_is_refused(compare):
    with pytest.raises(
        UserError, match="--only bse: no such choice; expected some of base, base_again"
    ):
        compare.main(["--only", "bse"])


def test_the_committed_rows_can_be_shown():
    module = load_script("ablations")
    rows = module.read_rows()
    assert set(json.loads(module.FIGURES.read_text())) == set(rows)
    assert all(
        {"AP", "F1", "count_error", "recipe_sha256", "labels_sha256"} <= set(row)
        for row in rows.values()
    )
