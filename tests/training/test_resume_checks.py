"""What a run refuses to be resumed with."""

import re

import pytest
from runs import CONFIG, make_run, make_weights, take_checkpoints_as_whole

from conftest import load_script
from shelfdet import UserError
from shelfdet.config import network
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
    assert run_notes.dataset_images(config) == {"train": ["train.JPG"], "val": ["val.JPG"]}
    (folder / "trained_on.json").write_text('{"train": ["other.JPG"], "val": ["val.JPG"]}')
    with pytest.raises(UserError, match="trained on another split: train images differ"):
        plan.make_plan(config_path, folder)


def test_other_first_weights_are_refused_when_a_run_resumes(step_06, tmp_path):
    folder = make_run(tmp_path / "run", 10)
    start = make_weights(tmp_path / "graph")
    (folder / "pipeline.config").write_text(CONFIG.read_text())
    options = ["--config", str(CONFIG), "--run-dir", str(folder), "--start-from", str(start)]
    expected = (
        "--start-from .*graph: the run in .*run started from random weights; expected the same"
    )
    with pytest.raises(UserError, match=expected):
        step_06.main(options)
    assert "fine_tune" not in (folder / "pipeline.config").read_text()
