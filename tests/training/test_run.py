"""Step 06 and its launcher: what they say, keep and refuse. tests/test_walkthrough.py trains for real."""

import argparse
import json
import re

import numpy as np
import pytest

from conftest import ROOT, load_script
from shelfdet import UserError

CONFIG = ROOT / "workspace" / "training_demo" / "training" / "ssd_inception_v2_shelf.config"
STEPS = int(re.search(r"num_steps: (\d+)", CONFIG.read_text()).group(1))


@pytest.fixture(scope="module")
def train():
    return load_script("06_train")


@pytest.fixture(scope="module")
def launcher():
    return load_script("launcher")


def checkpoint(run, step):
    run.mkdir(exist_ok=True)
    for suffix in ("index", "data-00000-of-00001", "meta"):
        (run / f"model.ckpt-{step}.{suffix}").write_text(f"weights of {step}")
    (run / "checkpoint").write_text(
        f'model_checkpoint_path: "model.ckpt-{step}"\nall_model_checkpoint_paths: "model.ckpt-7"\n'
        f'all_model_checkpoint_paths: "model.ckpt-{step}"\n'
    )
    return run


@pytest.mark.parametrize(
    "text, step",
    [
        (
            'model_checkpoint_path: "model.ckpt-2300"\nall_model_checkpoint_paths: "model.ckpt-0"\n',
            2300,
        ),
        ('model_checkpoint_path: "/some/where/model.ckpt-12"\n', 12),
        ("", None),
    ],
)
def test_newest_step_is_the_one_tensorflow_resumes_from(train, tmp_path, text, step):
    (tmp_path / "checkpoint").write_text(text)
    assert train.newest_step(tmp_path) == step


def test_a_run_that_is_at_its_last_step_says_so(train, tmp_path, capsys):
    assert (
        train.main(["--config", str(CONFIG), "--run-dir", str(checkpoint(tmp_path / "run", STEPS))])
        == 0
    )
    assert f"already at step {STEPS} of {STEPS}" in capsys.readouterr().out


def test_checkpoints_of_another_network_are_not_trained_on(train, tmp_path):
    run = checkpoint(tmp_path / "run", 10)
    (run / "pipeline.config").write_text(
        CONFIG.read_text().replace("depth_multiplier: 0.5", "depth_multiplier: 0.25")
    )
    with pytest.raises(UserError, match="trained with another `model`"):
        train.main(["--config", str(CONFIG), "--run-dir", str(run)])


def test_checkpoints_of_another_split_are_not_trained_on(train, tmp_path):
    run = checkpoint(tmp_path / "run", 10)
    (tmp_path / "a.config").write_text(
        re.sub(r'"[^"]*/(\w+\.record)"', rf'"{tmp_path}/\1"', CONFIG.read_text())
    )
    for split in ("train", "val"):
        (tmp_path / f"{split}_labels.csv").write_text(
            f"filename,width,height,class,xmin,ymin,xmax,ymax\n{split}.JPG,9,9,product,1,1,5,5\n"
        )
    config, _ = train.read_config(tmp_path / "a.config")
    assert train.pictures(config) == {"train": ["train.JPG"], "val": ["val.JPG"]}
    (run / "trained_on.json").write_text('{"train": ["other.JPG"], "val": ["val.JPG"]}')
    with pytest.raises(UserError, match="trained on another split: train images differ"):
        train.main(["--config", str(tmp_path / "a.config"), "--run-dir", str(run)])


def test_images_that_the_first_weights_had_seen_are_noted_and_kept(train, tmp_path):
    start, run = tmp_path / "graph", tmp_path / "run"
    start.mkdir(), run.mkdir()
    (start / "model.ckpt.index").write_text("")
    (start / "trained_on.json").write_text(
        '{"train": ["b.JPG"], "val": ["a.JPG"], "before": ["c.JPG"]}'
    )
    config, _ = train.read_config(CONFIG, start)
    assert config.train_config.fine_tune_checkpoint == str(start / "model.ckpt")
    assert train.all_images(config, run, False)["before"] == ["a.JPG", "b.JPG", "c.JPG"]
    (run / "trained_on.json").write_text('{"before": ["a.JPG"]}')
    assert train.all_images(train.read_config(CONFIG)[0], run, True)["before"] == [
        "a.JPG"
    ]  # it goes on without --start-from
    assert "before" not in train.all_images(
        train.read_config(CONFIG)[0], run, False
    )  # no checkpoint: it begins anew
    assert "before" not in train.all_images(train.read_config(CONFIG)[0], tmp_path, True)
    (start / "best").mkdir()
    (start / "best" / "model.ckpt-7.index").write_text("")  # of a run: the note is one folder up
    config, _ = train.read_config(CONFIG, start / "best" / "model.ckpt-7")
    assert train.all_images(config, run, False)["before"] == ["a.JPG", "b.JPG", "c.JPG"]


def test_a_run_that_goes_on_keeps_what_its_first_weights_were(train, tmp_path):
    (tmp_path / "graph").mkdir(), (tmp_path / "run").mkdir()
    (tmp_path / "graph" / "model.ckpt.index").write_text("")
    args = argparse.Namespace(config=CONFIG)
    config, _ = train.read_config(CONFIG)
    begun, _ = train.read_config(CONFIG, tmp_path / "graph")
    assert train.as_text(args, train.going_on(config, tmp_path / "run")) == CONFIG.read_text(), (
        "no config there yet"
    )
    (tmp_path / "run" / "pipeline.config").write_text(train.as_text(args, begun))
    assert train.going_on(config, tmp_path / "run") == begun
    (tmp_path / "graph" / "model.ckpt.index").unlink()
    assert train.going_on(config, tmp_path / "run") == config, "model_main.py would look for it"
    (tmp_path / "run" / "pipeline.config").write_text(CONFIG.read_text())
    assert train.going_on(begun, tmp_path / "run") == begun


def test_a_config_with_a_byte_order_mark_is_kept_without(train, tmp_path):
    (tmp_path / "a.config").write_bytes(b"\xef\xbb\xbf" + CONFIG.read_bytes())
    assert (
        train.as_text(
            argparse.Namespace(config=tmp_path / "a.config"),
            train.read_config(tmp_path / "a.config")[0],
        )
        == CONFIG.read_text()
    )


def test_a_log_that_cannot_be_written_is_told(train, tmp_path):
    (tmp_path / "train.log").mkdir()
    with pytest.raises(UserError, match="train.log: cannot be written"):
        train.train(train.parse([]), tmp_path, 0, 10)


def test_other_first_weights_are_refused_for_a_run_that_goes_on(train, tmp_path):
    run, start = checkpoint(tmp_path / "run", 10), tmp_path / "graph"
    start.mkdir()
    (start / "model.ckpt.index").write_text("")
    (run / "pipeline.config").write_text(CONFIG.read_text())
    with pytest.raises(
        UserError,
        match="--start-from .*graph: the run in .*run began with weights drawn at random; expected the same",
    ):
        train.main(["--config", str(CONFIG), "--run-dir", str(run), "--start-from", str(start)])
    assert "fine_tune" not in (run / "pipeline.config").read_text()


def test_two_trainings_in_one_folder_are_refused(train, tmp_path):
    with train.lock(tmp_path / "run"):
        with pytest.raises(UserError, match="another training is under way"):
            train.lock(tmp_path / "run")
    train.lock(tmp_path / "run")


def test_no_num_steps_is_refused(train, tmp_path):
    (tmp_path / "a.config").write_text(CONFIG.read_text().replace(f"num_steps: {STEPS}", ""))
    with pytest.raises(
        UserError, match=r"a.config: train_config.num_steps: found 0, expected at least 1"
    ):
        train.main(["--config", str(tmp_path / "a.config")])


def test_a_run_folder_that_is_a_file(train, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="run: is a file; expected a folder for the run"):
        train.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / "run")])


def test_a_crash_shows_its_first_traceback(train):
    crash = train.Crash()
    for line in [
        "INFO:tensorflow:loss = 3.1, step = 1\n",
        "Traceback (most recent call last):\n",
        '  File "a.py", line 1\n',
        "InvalidArgumentError: the cause\n",
        "\n",
        "During handling of the above exception, another exception occurred:\n",
        "Traceback (most recent call last):\n",
        "ValueError: the noise\n",
    ]:
        crash.read(line)
    message = train.failure(1, crash, "train.log")
    assert (
        "InvalidArgumentError: the cause" in message
        and "noise" not in message
        and "status 1" in message
    )


@pytest.mark.parametrize(
    "line, advice",
    [
        (
            "tensorflow.python.training.basic_session_run_hooks.NanLossDuringTrainingError: NaN loss during training.",
            "learning rate",
        ),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "ResourceExhaustedError: OOM when allocating tensor with shape[8,64,256,256]",
            "batch_size",
        ),
        ("InvalidArgumentError: Assign requires shapes of both tensors to match.", "--run-dir"),
        ("tensorflow.python.framework.errors_impl.DataLossError: corrupted record at 0", "step 04"),
    ],
)
def test_a_known_crash_comes_with_advice(train, line, advice):
    crash = train.Crash()
    crash.read("Traceback (most recent call last):\n")
    crash.read(line + "\n")
    assert advice in train.failure(1, crash, "train.log")


def test_a_kill_from_outside_suspects_memory(train):
    assert "memory ran out" in train.failure(-9, train.Crash(), "train.log")


def test_progress_tells_loss_rate_time_left_and_validation(train, capsys, monkeypatch):
    clock = iter(range(0, 10000, 100))
    monkeypatch.setattr(train.time, "time", lambda: next(clock))
    progress = train.Progress(0, 110)
    progress.read("INFO:tensorflow:loss = 12.5, step = 1\n")
    progress.read("INFO:tensorflow:loss = 2.5, step = 11 (20.1 sec)\n")
    progress.read(
        "INFO:tensorflow:Saving dict for global step 11: DetectionBoxes_Precision/mAP = 0.25, "
        "DetectionBoxes_Precision/mAP@.50IOU = 0.5, global_step = 11\n"
    )
    last = capsys.readouterr().out.splitlines()[-1]
    assert (
        "step 11 of 110" in last
        and "loss 2.50" in last
        and "left" in last
        and "validation AP 0.250 at step 11" in last
    )


def evaluated(step, ap):
    return {
        "global_step": step,
        "DetectionBoxes_Precision/mAP": ap,
        "DetectionBoxes_Precision/mAP@.50IOU": ap,
        "DetectionBoxes_Precision/mAP@.75IOU": ap,
    }


def test_the_best_checkpoint_is_kept_and_a_worse_one_is_not(launcher, tmp_path):
    for step, ap in ((10, 0.2), (20, 0.5), (30, 0.4)):
        checkpoint(tmp_path, step)
        launcher.keep_best(tmp_path, tmp_path / f"model.ckpt-{step}", evaluated(step, ap))
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "checkpoint",
        "evaluation.json",
        "model.ckpt-20.data-00000-of-00001",
        "model.ckpt-20.index",
        "model.ckpt-20.meta",
    ]
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text()) == {
        "step": 20,
        "AP": 0.5,
        "AP50": 0.5,
        "AP75": 0.5,
    }
    assert [
        json.loads(line)["step"]
        for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()
    ] == [10, 20, 30]


def test_a_kill_between_the_two_moves_of_a_swap_loses_no_best_checkpoint(launcher, tmp_path):
    checkpoint(tmp_path, 10)
    launcher.keep_best(tmp_path, tmp_path / "model.ckpt-10", evaluated(10, 0.5))
    (tmp_path / "best").rename(tmp_path / ".best.old")
    checkpoint(tmp_path, 20)
    launcher.keep_best(tmp_path, tmp_path / "model.ckpt-20", evaluated(20, 0.4))
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["step"] == 10


def test_no_coco_metrics_is_said(launcher, tmp_path):
    with pytest.raises(SystemExit, match="metrics_set: gave no COCO AP"):
        launcher.keep_best(
            tmp_path,
            tmp_path / "model.ckpt-10",
            {"global_step": 10, "PascalBoxes_Precision/mAP@0.5IOU": 0.5},
        )


@pytest.mark.parametrize("name", [".", "", "..", "a/b", ".hidden"])
def test_step_07_takes_plain_names_only(tmp_path, name):
    (tmp_path / "precious").write_text("")
    with pytest.raises(UserError, match="--name .*expected the plain name of a folder"):
        load_script("07_export_inference_graph").main(["--name", name, "--output", str(tmp_path)])


def test_step_07_removes_no_folder_of_other_things(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.JPG").write_text("")
    with pytest.raises(
        UserError, match="photos: holds precious.JPG, which is no part of an exported graph"
    ):
        load_script("07_export_inference_graph").main(
            ["--name", "photos", "--output", str(tmp_path)]
        )


def test_step_07_proves_a_graph_that_finds_nothing_but_not_one_without_finite_numbers(monkeypatch):
    """A score_threshold in the config may leave no box in an image of noise."""
    from shelfdet.inference import detector

    export, nothing = (
        load_script("07_export_inference_graph"),
        [np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)],
    )
    found, anchors = nothing, [np.zeros((5, 4)), np.full((5, 2), 0.1)]
    monkeypatch.setattr(
        detector, "Detector", lambda path: argparse.Namespace(detect=lambda pixels: found)
    )
    monkeypatch.setattr(detector, "all_anchors", lambda path, pixels: anchors)
    export.prove(CONFIG)
    for found in (
        [np.full((1, 4), np.nan), np.zeros(1), np.ones(1, int)],
        [np.zeros((1, 4)), np.full(1, np.inf), np.ones(1, int)],
    ):
        with pytest.raises(
            UserError,
            match="gives 1 boxes, 1 scores and 1 classes; expected as many of each, all finite",
        ):
            export.prove(CONFIG)
    found, anchors = (
        nothing,
        [np.zeros((5, 4)), np.full((5, 2), np.nan)],
    )  # suppression drops NaN, and leaves nothing
    with pytest.raises(
        UserError,
        match="gives 0 boxes, 0 scores and 0 classes; expected as many of each, all finite",
    ):
        export.prove(CONFIG)


def test_step_07_reads_the_best_checkpoint_between_the_moves_of_a_swap_without_moving_it(
    tmp_path, capsys
):
    (tmp_path / ".best.old").mkdir()
    (tmp_path / ".best.old" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    (tmp_path / ".best.old" / "model.ckpt-7.index").write_text("")
    (tmp_path / ".best.old" / "evaluation.json").write_text('{"AP": 0.5}')
    (tmp_path / "pipeline.config").write_text("")
    prefix, _ = load_script("07_export_inference_graph").find(
        argparse.Namespace(run_dir=tmp_path, checkpoint="best")
    )
    assert (
        prefix == tmp_path / ".best.old" / "model.ckpt-7"
        and prefix.with_name("model.ckpt-7.index").is_file()
    )


def test_step_07_exports_with_another_nms_but_not_with_other_anchors(tmp_path):
    export = load_script("07_export_inference_graph")
    text = CONFIG.read_text()
    other = re.sub(r"(batch_non_max_suppression \{[^}]*iou_threshold): [\d.]+", r"\1: 0.3", text)
    assert other != text
    (tmp_path / "nms.config").write_text(re.sub(r"num_steps: \d+", "num_steps: 7", other))
    export.check_config(tmp_path / "nms.config", CONFIG)
    (tmp_path / "anchors.config").write_text(text.replace("scales: 0.098", "scales: 0.2"))
    with pytest.raises(
        UserError,
        match="--config .*anchors.config: its `model` differs .* in more than post_processing",
    ):
        export.check_config(tmp_path / "anchors.config", CONFIG)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--run-dir", "{}/none"], "holds no best checkpoint. Train first"),
        (["--run-dir", "{}/run"], "No evaluation has ended yet: take --checkpoint newest"),
        (
            ["--run-dir", "{}/run", "--checkpoint", "{}/run/model.ckpt-99"],
            r"model.ckpt-99.index: no such file; expected best, newest, or the prefix",
        ),
        (["--run-dir", "{}/run", "--checkpoint", "newest"], "holds no pipeline.config"),
    ],
)
def test_step_07_says_what_it_cannot_find(tmp_path, argv, message):
    checkpoint(tmp_path / "run", 10)
    with pytest.raises(UserError, match=message):
        load_script("07_export_inference_graph").main(
            [word.format(tmp_path) for word in argv] + ["--output", str(tmp_path)]
        )
