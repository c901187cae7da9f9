"""The launcher keeps the checkpoint with the highest COCO AP on validation."""

import json

import pytest

from shelfdet import UserError
from shelfdet.training import best_checkpoint


def make_checkpoint(folder, step):
    """Files of a checkpoint at ``step`` in ``folder``; returns their prefix."""
    for suffix in ("index", "data-00000-of-00001", "meta"):
        (folder / f"model.ckpt-{step}.{suffix}").write_text(f"weights of {step}")
    return folder / f"model.ckpt-{step}"


def evaluation(step, average_precision):
    """The estimator's result of an evaluation."""
    return {
        "global_step": step,
        "DetectionBoxes_Precision/mAP": average_precision,
        "DetectionBoxes_Precision/mAP@.50IOU": average_precision,
        "DetectionBoxes_Precision/mAP@.75IOU": average_precision,
    }


def test_the_best_checkpoint_is_kept_and_a_worse_one_is_not(tmp_path):
    for step, average_precision in ((10, 0.2), (20, 0.5), (30, 0.4)):
        prefix = make_checkpoint(tmp_path, step)
        best_checkpoint.keep_best(tmp_path, prefix, evaluation(step, average_precision))
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
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20, 30]


def test_the_later_of_two_with_the_same_ap_is_kept(tmp_path):
    for step in (10, 20, 30):
        prefix = make_checkpoint(tmp_path, step)
        best_checkpoint.keep_best(tmp_path, prefix, evaluation(step, 0.5))
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["step"] == 30
    assert (tmp_path / "best" / "model.ckpt-30.index").is_file()


@pytest.mark.parametrize("average_precision", [-1.0, float("nan")])
def test_an_ap_that_was_not_measured_is_never_the_best(tmp_path, average_precision):
    """COCO's evaluation gives -1 where there is no ground-truth box."""
    for step in (10, 20):
        prefix = make_checkpoint(tmp_path, step)
        best_checkpoint.keep_best(tmp_path, prefix, evaluation(step, average_precision))
    assert not (tmp_path / "best").exists()
    assert len((tmp_path / "evaluations.jsonl").read_text().splitlines()) == 2
    best_checkpoint.keep_best(tmp_path, make_checkpoint(tmp_path, 30), evaluation(30, 0.0))
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["step"] == 30


def test_a_kill_while_the_best_checkpoint_is_replaced_loses_none(tmp_path):
    best_checkpoint.keep_best(tmp_path, make_checkpoint(tmp_path, 10), evaluation(10, 0.5))
    # Where a file system cannot swap two folders, the old one is moved away first and has this name
    # until the new one is in its place.
    (tmp_path / "best").rename(tmp_path / ".best.old")
    best_checkpoint.keep_best(tmp_path, make_checkpoint(tmp_path, 20), evaluation(20, 0.4))
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["step"] == 10


def test_an_evaluation_without_coco_metrics_is_refused(tmp_path):
    result = {"global_step": 10, "PascalBoxes_Precision/mAP@0.5IOU": 0.5}
    with pytest.raises(UserError, match="metrics_set: gave no COCO AP"):
        best_checkpoint.keep_best(tmp_path, tmp_path / "model.ckpt-10", result)
