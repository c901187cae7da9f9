"""How a training is started and ends. tests/test_walkthrough.py trains for real."""

import os

import pytest

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.training import run


def test_a_log_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "train.log").mkdir()
    with pytest.raises(UserError, match="train.log: cannot be written"):
        run.train(tmp_path, 0, 10, run.Settings())


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
