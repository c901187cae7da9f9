"""Step 06: what it resumes, notes and refuses. tests/test_walkthrough.py trains for real."""

import os
import re

import pytest

from conftest import load_script
from shelfdet import UserError
from shelfdet.config import network
from shelfdet.core import paths
from shelfdet.inference import checkpoints
from shelfdet.training import run

CONFIG = paths.SHIPPED_GRAPH / paths.CONFIG_FILE
STEPS = int(re.search(r"num_steps: (\d+)", CONFIG.read_text()).group(1))
VARIABLES = {"weights": (3, 2), "weights/Adam": (3, 2), "global_step": ()}


@pytest.fixture(scope="module")
def step_06():
    return load_script("06_train")


@pytest.fixture(autouse=True)
def whole_checkpoints(monkeypatch):
    """The runs here have no files of checkpoints: test_resume_point.py reads real ones.

    Nor are there the records that the config names.
    """
    monkeypatch.setattr(checkpoints, "is_whole", lambda prefix: True)
    monkeypatch.setattr(checkpoints, "variables", lambda prefix: VARIABLES)
    monkeypatch.setattr(network, "training_variables", lambda config: VARIABLES)


def make_run(folder, step):
    """A run's folder with a checkpoint at ``step``."""
    folder.mkdir()
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
    return folder


def make_weights(folder):
    """The folder of a graph, whose checkpoint is empty."""
    folder.mkdir()
    (folder / "model.ckpt.index").write_text("")
    return folder


def test_a_run_at_its_last_step_is_finished(step_06, tmp_path, capsys):
    folder = make_run(tmp_path / "run", STEPS)
    assert not step_06.main(["--config", str(CONFIG), "--run-dir", str(folder)])
    printed = capsys.readouterr().out
    assert f"already at step {STEPS} of {STEPS}" in printed
    assert f"To export it: make export RUN_DIR={folder}" in printed


def test_checkpoints_of_another_network_are_refused(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    other = CONFIG.read_text().replace("depth_multiplier: 0.5", "depth_multiplier: 0.25")
    (folder / "pipeline.config").write_text(other)
    expected = (
        r"trained with another `model` than .* describes now: "
        r"model.ssd.feature_extractor.depth_multiplier was 0.25 and is 0.5. Start a new run"
    )
    with pytest.raises(UserError, match=expected):
        run.make_plan(CONFIG, folder)


NMS = "model.ssd.post_processing.batch_non_max_suppression.iou_threshold was 0.6 and is 0.45"


def make_run_with_another_nms(folder, step):
    make_run(folder, step)
    other = re.sub(
        r"(batch_non_max_suppression \{[^}]*iou_threshold): 0.45", r"\1: 0.6", CONFIG.read_text()
    )
    assert other != CONFIG.read_text()
    (folder / "pipeline.config").write_text(other)
    return folder


def test_what_follows_the_network_may_change_in_a_run(tmp_path):
    folder = make_run_with_another_nms(tmp_path / "run", 10)
    plan = run.make_plan(CONFIG, folder)
    assert plan.start == 10
    assert run.changes(plan) == f"changed, and used from now on: {NMS}"
    assert not run.changes(run.make_plan(CONFIG, tmp_path / "new"))
    (folder / "pipeline.config").write_text(CONFIG.read_text())
    assert not run.changes(run.make_plan(CONFIG, folder))


def test_what_follows_the_network_needs_no_training(step_06, tmp_path, capsys):
    folder = make_run_with_another_nms(tmp_path / "run", STEPS)
    step_06.main(["--config", str(CONFIG), "--run-dir", str(folder)])
    printed = capsys.readouterr().out
    assert f"changed since then, and in need of no training: {NMS}. To export it so: " in printed
    assert f"07_export_inference_graph.py --run-dir {folder} --config " in printed


def test_other_first_weights_in_the_config_have_no_effect_on_a_run(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    (folder / "pipeline.config").write_text(CONFIG.read_text())
    config_path = tmp_path / "a.config"
    config_path.write_text(
        re.sub(r"(num_steps: \d+)", r'\1 fine_tune_checkpoint: "zoo/m"', CONFIG.read_text())
    )
    assert run.changes(run.make_plan(config_path, folder)) == (
        "changed, without effect on a run that resumes: train_config.fine_tune_checkpoint was "
        "nothing and is zoo/m"
    )


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


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "back\\slash"])
def test_a_folder_that_tensorflow_reads_as_a_pattern_is_refused(step_06, tmp_path, name):
    character = next(character for character in name if character in "*?[\\")
    with pytest.raises(UserError) as caught:
        step_06.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / name)])
    assert f"{tmp_path / name}: {character!r} in the path; TensorFlow reads it as a pattern" in str(
        caught.value
    )
    assert "--run-dir" in str(caught.value)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "label_map.pbtxt: no such file"),
        (b"item { id: 1 name: 'product' }", "train.record: no such file"),
        (b"\xef\xbb\xbfitem { id: 1 name: 'product' }", "starts with a byte order mark"),
        (b"item { id: 1 name: product }", "line 1: "),
        (b"item { id: 1 name: 'product' colour: 'red' }", 'has no field named "colour"'),
        (b"item { id: 1 name: 'a' } item { id: 2 name: 'b' }", "num_classes"),
    ],
    ids=["missing", "records", "byte order mark", "quotes", "extra key", "classes"],
)
def test_files_that_object_detection_cannot_read_are_refused(
    step_06, tmp_path, monkeypatch, content, message
):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    if content is not None:
        label_map = tmp_path / "workspace/training_demo/annotations/label_map.pbtxt"
        label_map.parent.mkdir(parents=True)
        label_map.write_bytes(content)
    with pytest.raises(UserError) as caught:
        step_06.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / "run")])
    assert message in str(caught.value)
    assert "cannot be trained. Correct this first:" in str(caught.value)
    assert not (tmp_path / "run").exists()


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
    config = run.read_config(config_path)
    assert run.dataset_images(config) == {"train": ["train.JPG"], "val": ["val.JPG"]}
    (folder / "trained_on.json").write_text('{"train": ["other.JPG"], "val": ["val.JPG"]}')
    with pytest.raises(UserError, match="trained on another split: train images differ"):
        run.make_plan(config_path, folder)


def test_images_of_the_first_weights_are_noted(tmp_path):
    start = make_weights(tmp_path / "graph")
    folder = make_run(tmp_path / "run", 10)
    (start / "trained_on.json").write_text(
        '{"train": ["b.JPG"], "val": ["a.JPG"], "before": ["c.JPG"]}'
    )
    config = run.read_config(CONFIG, start)
    assert config.train_config.fine_tune_checkpoint == str(start / "model.ckpt")
    seen = run.images_seen(config, folder, resumes=False)
    assert seen["before"] == ["a.JPG", "b.JPG", "c.JPG"]


def test_images_of_the_first_weights_stay_noted_when_a_run_resumes(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    (folder / "trained_on.json").write_text('{"before": ["a.JPG"]}')
    config = run.read_config(CONFIG)  # without --start-from
    assert run.images_seen(config, folder, resumes=True)["before"] == ["a.JPG"]
    assert "before" not in run.images_seen(config, folder, resumes=False)
    assert "before" not in run.images_seen(config, tmp_path, resumes=True)


def test_images_of_a_best_checkpoint_are_noted_one_folder_up(tmp_path):
    (tmp_path / "trained_on.json").write_text('{"train": ["b.JPG"], "val": ["a.JPG"]}')
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model.ckpt-7.index").write_text("")
    config = run.read_config(CONFIG, tmp_path / "best" / "model.ckpt-7")
    seen = run.images_seen(config, tmp_path / "run", resumes=False)
    assert seen["before"] == ["a.JPG", "b.JPG"]


def test_a_resumed_run_keeps_its_first_weights(tmp_path):
    start = make_weights(tmp_path / "graph")
    folder = make_run(tmp_path / "run", 10)
    own_config = folder / "pipeline.config"
    config = run.read_config(CONFIG)
    started = run.read_config(CONFIG, start)
    assert run.with_first_weights_of_run(config, folder) == config, "no config there yet"
    own_config.write_text(run.config_text(CONFIG, started))
    assert "--start-from" in own_config.read_text().splitlines()[0]
    assert run.with_first_weights_of_run(config, folder) == started
    (start / "model.ckpt.index").unlink()
    assert run.with_first_weights_of_run(config, folder) == config, "model_main.py would open it"
    own_config.write_text(CONFIG.read_text())
    assert run.with_first_weights_of_run(started, folder) == started


def test_a_byte_order_mark_is_left_out_of_the_copied_config(tmp_path):
    config_path = tmp_path / "a.config"
    config_path.write_bytes(b"\xef\xbb\xbf" + CONFIG.read_bytes())
    assert run.config_text(config_path, run.read_config(config_path)) == CONFIG.read_text()


def test_a_log_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "train.log").mkdir()
    with pytest.raises(UserError, match="train.log: cannot be written"):
        run.train(tmp_path, 0, 10, run.Settings())


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


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    with run.RunLock(tmp_path / "run"):
        with pytest.raises(UserError, match="another training is running in this folder"):
            run.RunLock(tmp_path / "run")
    with run.RunLock(tmp_path / "run"):
        pass


def test_a_config_without_num_steps_is_refused(tmp_path):
    (tmp_path / "a.config").write_text(CONFIG.read_text().replace(f"num_steps: {STEPS}", ""))
    expected = r"a.config: train_config.num_steps: found 0, expected at least 1"
    with pytest.raises(UserError, match=expected):
        run.read_config(tmp_path / "a.config")


def test_a_run_folder_that_is_a_file_is_refused(step_06, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "check_files", lambda plan: None)
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="run: is a file; expected a folder for the run"):
        step_06.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / "run")])


@pytest.mark.parametrize(
    "folder, command",
    [
        (paths.TRAINING / paths.DEFAULT_CONFIG.stem, "make export"),
        (paths.TRAINING / "mine", "make export CONFIG=mine"),
        (
            paths.TRAINING / "ssd_inception_v2_shelf",
            "make export CONFIG=ssd_inception_v2_shelf GRAPH=my_ssd_inception_v2_shelf",
        ),
        (paths.ROOT / "my runs" / "first", "make export RUN_DIR='my runs/first'"),
    ],
)
def test_the_command_that_exports_a_run(folder, command):
    assert run.export_command(folder) == command


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_that_cannot_be_written(tmp_path, monkeypatch):
    """The disk is full: neither closing the log nor anything else hides that."""
    (tmp_path / "train.log").symlink_to("/dev/full")
    monkeypatch.setattr(run, "launcher_command", lambda *_: ["echo", "a line"])
    with pytest.raises(UserError, match=r"train.log: cannot be written \(No space left"):
        run.train(tmp_path, 0, 10, run.Settings())


def test_a_run_without_a_best_checkpoint_is_exported_from_the_newest(tmp_path):
    (tmp_path / "evaluations.jsonl").write_text('{"step": 10, "AP": -1.0}\n')
    assert run.export_command(tmp_path) == f"make export RUN_DIR={tmp_path} CHECKPOINT=newest"
    assert "the validation images have no ground-truth box" in run.result(tmp_path)
