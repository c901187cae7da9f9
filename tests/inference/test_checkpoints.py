"""Which checkpoint of a run is meant."""

import json

import pytest

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.inference import checkpoints


def make_run(folder, step=10):
    folder.mkdir(parents=True)
    (folder / f"model.ckpt-{step}.index").write_text("")
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "model.ckpt-{step}"\n'
        'all_model_checkpoint_paths: "model.ckpt-7"\n'
        f'all_model_checkpoint_paths: "model.ckpt-{step}"\n'
    )
    return folder


@pytest.mark.parametrize(
    "text, step",
    [
        (
            'model_checkpoint_path: "model.ckpt-2300"\n'
            'all_model_checkpoint_paths: "model.ckpt-0"\n',
            2300,
        ),
        ('model_checkpoint_path: "/some/where/model.ckpt-12"\n', 12),
        ("", None),
    ],
)
def test_the_newest_step_is_the_one_from_which_tensorflow_resumes(tmp_path, text, step):
    (tmp_path / "checkpoint").write_text(text)
    assert checkpoints.newest_step(tmp_path) == step


def test_a_run_without_checkpoints_has_no_newest_step(tmp_path):
    assert checkpoints.newest_step(tmp_path) is None


@pytest.mark.parametrize(
    "run, which, message",
    [
        ("none", "best", "holds no best checkpoint. Train first"),
        ("run", "best", "No evaluation has ended yet. Use --checkpoint newest"),
        (
            "run",
            "{}/run/model.ckpt-99",
            r"model.ckpt-99.index: no such file; expected best, newest, average, or the prefix",
        ),
        ("run", "newest", "holds no pipeline.config"),
    ],
)
def test_a_missing_checkpoint_or_config_is_reported(tmp_path, run, which, message):
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        checkpoints.find(tmp_path / run, which.format(tmp_path))


def exported(run, step, ap50, evaluated):
    """The checkpoint ``step`` in the best/ of a run, and what its evaluation and the log say."""
    best = make_run(run / "best", step)
    (run / "pipeline.config").touch()
    (best / "evaluation.json").write_text(json.dumps({"step": step, "AP": 0.0, "AP50": ap50}))
    (run / "evaluations.jsonl").write_text(
        "".join(json.dumps({"step": one, "AP": 0.0}) + "\n" for one in evaluated)
    )
    return checkpoints.find(run, "best")


def test_an_unfinished_training_that_finds_nothing_is_exported_with_warnings(tmp_path):
    run = make_run(tmp_path / "run", 26)
    low, unfinished, unvalidated = checkpoints.export_warnings(exported(run, 11, 0.0, [11]), 60)
    assert low.startswith("warning: AP50 on validation is 0.000: this detector finds hardly any")
    assert f"{run} is not finished: its newest checkpoint is step 26 of 60" in unfinished
    assert "step 26, was not validated and may be better than step 11" in unvalidated
    assert "--checkpoint newest (make: CHECKPOINT=newest)" in unvalidated


def test_a_finished_training_is_exported_without_a_warning(tmp_path):
    run = make_run(tmp_path / "run", 60)
    assert checkpoints.export_warnings(exported(run, 50, 0.9, [50, 60]), 60) == []


def test_a_run_whose_evaluations_had_no_box_has_no_best_checkpoint(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "evaluations.jsonl").write_text('{"step": 2, "AP": -1.0}\n{"step": 10, "AP": NaN}\n')
    expected = "No evaluation measured an AP. The validation images had no ground-truth box"
    with pytest.raises(UserError, match=expected):
        checkpoints.find(run, "best")


def test_a_best_checkpoint_that_was_chosen_from_no_ap_is_refused(tmp_path):
    """Earlier versions of step 06 kept the first checkpoint then."""
    best = make_run(tmp_path / "best")
    (tmp_path / "pipeline.config").write_text("")
    (best / "evaluation.json").write_text('{"step": 10, "AP": -1.0}')
    expected = (
        "best/evaluation.json: found AP -1, expected an AP from 0 to 1: this checkpoint is not the "
        "best, only the first. .* --checkpoint newest"
    )
    with pytest.raises(UserError, match=expected):
        checkpoints.find(tmp_path, "best")
    (best / "evaluation.json").write_text('{"step": 10, "AP": 0.0}')
    assert checkpoints.find(tmp_path, "best").prefix == best / "model.ckpt-10"


def test_a_checkpoint_that_was_cut_short_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    expected = "model.ckpt-10: this checkpoint cannot be read to its end, .* --checkpoint newest"
    with pytest.raises(UserError, match=expected):
        checkpoints.check_whole(run / "model.ckpt-10")
    checkpoints.check_whole(paths.SHIPPED_GRAPH / "model.ckpt")


def test_a_named_checkpoint_comes_with_the_config_of_its_own_run(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "pipeline.config").write_text("")
    found = checkpoints.find(tmp_path / "another run", str(run / "model.ckpt-10"))
    assert found == (run / "model.ckpt-10", run / "pipeline.config")


def test_the_best_checkpoint_is_read_while_it_is_replaced(tmp_path):
    # Replacing a folder moves the old one away first: this is its name until the new one is there.
    old = tmp_path / ".best.old"
    old.mkdir()
    (old / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    (old / "model.ckpt-7.index").write_text("")
    (tmp_path / "pipeline.config").write_text("")
    found = checkpoints.find(tmp_path, "best")
    assert found.prefix == old / "model.ckpt-7"
    assert (old / "model.ckpt-7.index").is_file(), "reading moves nothing"


def test_the_evaluation_of_the_best_checkpoint_is_one_line(tmp_path):
    assert checkpoints.evaluation(tmp_path) is None
    (tmp_path / "evaluation.json").write_text(
        '{"step": 20, "AP": 0.5, "AP50": 0.9, "AP75": 0.6123}'
    )
    expected = "best on validation: step 20, COCO AP 0.500, AP50 0.900, AP75 0.612"
    assert checkpoints.evaluation(tmp_path) == expected


def test_the_run_that_a_checkpoint_belongs_to(tmp_path):
    for which in ("best", "newest", "average"):
        assert checkpoints.run_of(which, tmp_path) == tmp_path
    run = tmp_path / "run"
    assert checkpoints.run_of(str(run / "model.ckpt-7"), tmp_path) == run
    assert checkpoints.run_of(str(run / "best" / "model.ckpt-7"), tmp_path) == run
