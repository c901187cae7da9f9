"""What step 06 starts, resumes or refuses. tests/test_walkthrough.py trains for real."""

import re

import pytest
from runs import (
    CONFIG,
    STEPS,
    config_of_random_weights,
    make_run,
    make_weights,
    take_checkpoints_as_whole,
)

from conftest import load_script
from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.training import plan, run_notes, workers

NMS = "model.ssd.post_processing.batch_non_max_suppression.iou_threshold was 0.6 and is 0.45"


@pytest.fixture(scope="module")
def step_06():
    return load_script("06_train")


@pytest.fixture(autouse=True)
def whole_checkpoints(monkeypatch):
    take_checkpoints_as_whole(monkeypatch)


def test_a_run_at_its_last_step_is_finished(step_06, tmp_path, capsys):
    folder = make_run(tmp_path / "run", STEPS)
    assert not step_06.main(["--config", str(CONFIG), "--run-dir", str(folder)])
    printed = capsys.readouterr().out
    assert f"already at step {STEPS} of {STEPS}" in printed
    assert f"\nnext: make export RUN_DIR={folder}" in printed


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
    resumed = plan.make_plan(CONFIG, folder)
    assert resumed.start == 10
    assert plan.changes(resumed) == f"changed, and used from now on: {NMS}"
    assert not plan.changes(plan.make_plan(CONFIG, tmp_path / "new"))
    (folder / "pipeline.config").write_text(CONFIG.read_text())
    assert not plan.changes(plan.make_plan(CONFIG, folder))


def test_what_follows_the_network_needs_no_training(step_06, tmp_path, capsys):
    folder = make_run_with_another_nms(tmp_path / "run", STEPS)
    step_06.main(["--config", str(CONFIG), "--run-dir", str(folder)])
    printed = capsys.readouterr().out
    assert f"changed since then, and in need of no training: {NMS}. To export it so: " in printed
    assert f"07_export_inference_graph.py --run-dir {folder} --config " in printed


def test_other_first_weights_in_the_config_have_no_effect_on_a_run(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    text = config_of_random_weights(tmp_path).read_text()
    (folder / "pipeline.config").write_text(text)
    config_path = tmp_path / "a.config"
    config_path.write_text(re.sub(r"(num_steps: \d+)", r'\1 fine_tune_checkpoint: "zoo/m"', text))
    assert plan.changes(plan.make_plan(config_path, folder)) == (
        "changed, without effect on a run that resumes: train_config.fine_tune_checkpoint was "
        "nothing and is zoo/m"
    )


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


def test_a_resumed_run_keeps_its_first_weights(tmp_path):
    start = make_weights(tmp_path / "graph")
    folder = make_run(tmp_path / "run", 10)
    own_config = folder / "pipeline.config"
    config_path = config_of_random_weights(tmp_path)
    config = plan.read_config(config_path)
    started = plan.read_config(config_path, start)
    assert plan.with_first_weights_of_run(config, folder) == config, "no config there yet"
    own_config.write_text(run_notes.config_text(config_path, started))
    assert "--start-from" in own_config.read_text().splitlines()[0]
    assert plan.with_first_weights_of_run(config, folder) == started
    (start / "model.ckpt.index").unlink()
    assert plan.with_first_weights_of_run(config, folder) == config, "model_main.py would open it"
    own_config.write_text(config_path.read_text())
    assert plan.with_first_weights_of_run(started, folder) == started


def test_a_config_without_num_steps_is_refused(tmp_path):
    (tmp_path / "a.config").write_text(CONFIG.read_text().replace(f"num_steps: {STEPS}", ""))
    expected = r"a.config: train_config.num_steps: found 0, expected at least 1"
    with pytest.raises(UserError, match=expected):
        plan.read_config(tmp_path / "a.config")


def test_images_that_are_left(tmp_path):
    batch = 4
    text = re.sub(r"batch_size: \d+", f"batch_size: {batch}", CONFIG.read_text(), count=1)
    config_path = tmp_path / "a.config"
    config_path.write_text(text)
    folder = make_run(tmp_path / "run", 10)
    (folder / "pipeline.config").write_text(text)
    assert plan.images_left(plan.make_plan(config_path, folder)) == (STEPS - 10) * batch
    assert plan.images_left(plan.make_plan(config_path, tmp_path / "new")) == STEPS * batch


@pytest.mark.parametrize("options, processes", [([], 2), (["--workers", "1"], 1)])
def test_processes_are_chosen_where_the_user_does_not(
    step_06, tmp_path, monkeypatch, capsys, options, processes
):
    def stop(args, folder, chief):
        raise UserError(f"{args.workers} processes")

    monkeypatch.setattr(plan, "check_files", lambda planned: None)
    monkeypatch.setattr(workers, "choose", lambda images: 2)
    monkeypatch.setattr(step_06, "processes", stop)
    with pytest.raises(UserError, match=f"^{processes} processes$"):
        step_06.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / "run"), *options])
    said = "2 processes train side by side, which is faster here; --workers 1 (make: WORKERS=1)"
    assert (said in capsys.readouterr().out) == (not options)
