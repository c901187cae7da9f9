"""What a run refuses to be resumed with."""

import json
import re

import pytest
from runs import (
    CONFIG,
    config_of_random_weights,
    make_run,
    make_weights,
    take_checkpoints_as_whole,
)

from conftest import load_script
from shelfdet import UserError
from shelfdet.config import network
from shelfdet.core import paths
from shelfdet.training import plan, run_notes


@pytest.fixture(scope="module")
def step_06():
    return load_script("06_train")


@pytest.fixture(autouse=True)
def whole_checkpoints(monkeypatch):
    take_checkpoints_as_whole(monkeypatch)


def test_checkpoints_of_another_network_are_refused(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    other = CONFIG.read_text().replace("depth_multiplier: 0.5", "depth_multiplier: 0.25")
    (folder / "pipeline.config").write_text(other)
    expected = (
        r"trained with another `model` than .* describes now: "
        r"model.ssd.feature_extractor.depth_multiplier was 0.25 and is 0.5. Start a new run"
    )
    with pytest.raises(UserError, match=expected):
        plan.make_plan(CONFIG, folder)


@pytest.mark.parametrize("has_own_config", [True, False])
def test_another_optimizer_is_refused_before_anything_is_written(
    step_06, tmp_path, monkeypatch, has_own_config
):
    folder = make_run(tmp_path / "run", 10)
    other = CONFIG.read_text().replace("adam_optimizer", "momentum_optimizer")
    (tmp_path / "a.config").write_text(other)
    if has_own_config:
        (folder / "pipeline.config").write_text(CONFIG.read_text())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    needed = {"weights": (3, 2), "weights/Momentum": (3, 2), "global_step": ()}
    monkeypatch.setattr(network, "training_variables", lambda config: needed)
    reason = r" \(train_config.optimizer was adam_optimizer and is momentum_optimizer\)"
    expected = (
        r"model.ckpt-10: holds 2 of the 3 variables of the training that .*a.config describes now"
        + (reason if has_own_config else "")
        + r"; not there, or of another shape, are weights/Momentum. Expected all: the same network "
        "and the same optimizer. Start a new run"
    )
    with pytest.raises(UserError, match=expected):
        step_06.main(["--config", str(tmp_path / "a.config"), "--run-dir", str(folder)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_checkpoints_of_another_split_are_refused(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    config_path = tmp_path / "a.config"
    config_path.write_text(
        re.sub(r'"[^"]*/(\w+\.record)"', rf'"{tmp_path}/\1"', CONFIG.read_text())
    )
    for split in ("train", "val"):
        (tmp_path / f"{split}_labels.csv").write_text(
            f"filename,width,height,class,xmin,ymin,xmax,ymax\n{split}.JPG,9,9,product,1,1,5,5\n"
        )
    config = plan.read_config(config_path)
    images = run_notes.dataset_images(config)
    assert {split: list(names) for split, names in images.items()} == {
        "train": ["train.JPG"],
        "val": ["val.JPG"],
    }
    (folder / "trained_on.json").write_text('{"train": ["other.JPG"], "val": ["val.JPG"]}')
    with pytest.raises(UserError, match="trained on another split: train images differ"):
        plan.make_plan(config_path, folder)


HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def write_labels(folder, split, *rows):
    (folder / f"{split}_labels.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))


@pytest.fixture
def run_of_labels(tmp_path):
    """The path of a config with label files beside its records, and a run of it."""
    config_path = tmp_path / "a.config"
    config_path.write_text(
        re.sub(r'"[^"]*/(\w+\.record)"', rf'"{tmp_path}/\1"', CONFIG.read_text())
    )
    for split in ("train", "val"):
        rows = (
            f"{split}_{n}.JPG,9,9,product,{sides}" for n in "ab" for sides in ("1,1,5,5", "2,2,7,7")
        )
        write_labels(tmp_path, split, *rows)
    folder = make_run(tmp_path / "run", 10)
    run_notes.write(folder, config_path, plan.read_config(config_path), resumes=False)
    return config_path, folder


def test_another_label_map_is_refused(run_of_labels, tmp_path):
    config_path, folder = run_of_labels
    (tmp_path / "classes.pbtxt").write_text("item { id: 1 name: 'tea' }")
    text = config_path.read_text()
    config_path.write_text(re.sub(r'"[^"]*/label_map.pbtxt"', f'"{tmp_path}/classes.pbtxt"', text))
    with pytest.raises(UserError, match="classes 1 tea; expected those that .*: 1 product"):
        plan.make_plan(config_path, folder)
    (tmp_path / "classes.pbtxt").write_text("item { name: 'product' id: 1 display_name: 'A' }")
    plan.make_plan(config_path, folder)


def test_corrected_boxes_of_training_images_are_used_and_named(run_of_labels, tmp_path):
    config_path, folder = run_of_labels
    assert not plan.changes(plan.make_plan(config_path, folder))
    unchanged = ("train_a.JPG,9,9,product,2,2,7,7.0", "train_a.JPG,9,9,product,1,1,5,5")
    write_labels(tmp_path, "train", *unchanged, "train_b.JPG,9,9,product,1,1,5,6")
    resumed = plan.make_plan(config_path, folder)
    assert plan.changes(resumed) == (
        "changed, and used from now on: the boxes of 1 training image (train_b.JPG); until now "
        "this run was trained on others"
    )
    run_notes.write(folder, config_path, resumed.config, resumes=True)
    assert not plan.changes(plan.make_plan(config_path, folder))


@pytest.mark.parametrize(
    "row", ["val_b.JPG,9,9,product,1,1,5,6", "val_b.JPG,9,9,other,1,1,5,5", "val_b.JPG,9,9,,,,,"]
)
def test_other_boxes_in_validation_images_are_refused(run_of_labels, tmp_path, row):
    config_path, folder = run_of_labels
    rows = (f"val_a.JPG,9,9,product,{sides}" for sides in ("1,1,5,5", "2,2,7,7"))
    write_labels(tmp_path, "val", *rows, row)
    expected = (
        r"run: the boxes of 1 validation image \(val_b.JPG\) were changed .* APs on different "
        r"boxes cannot be compared. Start a new run: .*--start-from .*run/best/model.ckpt-STEP.*"
        "restore"
    )
    with pytest.raises(UserError, match=expected):
        plan.make_plan(config_path, folder)
    noted = folder / paths.TRAINED_ON_FILE  # of a run of an earlier version: names alone
    names = {use: list(images) for use, images in json.loads(noted.read_text()).items()}
    noted.write_text(json.dumps(names))
    assert plan.make_plan(config_path, folder).start == 10


def test_other_first_weights_are_refused_when_a_run_resumes(step_06, tmp_path):
    folder = make_run(tmp_path / "run", 10)
    start = make_weights(tmp_path / "graph")
    config_path = config_of_random_weights(tmp_path)
    (folder / "pipeline.config").write_text(config_path.read_text())
    options = ["--config", str(config_path), "--run-dir", str(folder), "--start-from", str(start)]
    expected = (
        "--start-from .*graph: the run in .*run started from random weights; expected the same"
    )
    with pytest.raises(UserError, match=expected):
        step_06.main(options)
    assert "fine_tune" not in (folder / "pipeline.config").read_text()
