"""Step 07's --checkpoint average: the mean of the weights of late checkpoints."""

import numpy as np
import pytest
import tensorflow as tf

from shelfdet import UserError
from shelfdet.inference import averaging
from shelfdet.inference import export as export_module


def save(run, step, weight):
    """A checkpoint of one weight and the step."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable("weight", initializer=np.float32([weight, -weight])),
            tf.compat.v1.get_variable("global_step", initializer=np.int64(step)),
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables)
        saver.save(session, str(run / "model.ckpt"), global_step=step)


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints at steps 0, 50, 75 and 100."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step, weight in ((0, 1000), (50, 1), (75, 2), (100, 6)):
        save(folder, step, weight)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-100"\n')
    (folder / "pipeline.config").write_text("")
    return folder


def newest(run):
    return run / "model.ckpt-100"


def test_the_weights_of_the_second_half_are_averaged(run, tmp_path):
    average = averaging.write(newest(run), tmp_path)
    assert average == (tmp_path / "model.ckpt-100", [50, 75, 100])
    read = tf.train.load_checkpoint(str(average.prefix))
    assert read.get_tensor("weight").tolist() == [3, -3]  # (1 + 2 + 6) / 3
    assert read.get_tensor("weight").dtype == np.float32
    assert read.get_tensor("global_step") == 100


def test_checkpoints_after_the_newest_that_counts_are_left_out(run, tmp_path):
    # A user has set TensorFlow's note back.
    average = averaging.write(run / "model.ckpt-75", tmp_path)
    assert average == (tmp_path / "model.ckpt-75", [50, 75])
    read = tf.train.load_checkpoint(str(average.prefix))
    assert read.get_tensor("weight").tolist() == [1.5, -1.5]


def test_one_late_checkpoint_is_no_average(run, tmp_path):
    for step in (50, 75):
        (run / f"model.ckpt-{step}.index").unlink()
    with pytest.raises(UserError, match="run: 1 checkpoint in the second half of its steps; expec"):
        averaging.write(newest(run), tmp_path)


def test_a_checkpoint_without_a_step_is_no_average(run, tmp_path):
    with pytest.raises(UserError, match="run: 0 checkpoints in the second half"):
        averaging.write(run / "model.ckpt", tmp_path)


def test_a_checkpoint_that_was_cut_short_is_named(run, tmp_path):
    data = run / "model.ckpt-75.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(UserError, match="model.ckpt-75: this checkpoint cannot be read to its end"):
        averaging.write(newest(run), tmp_path)


def test_step_07_exports_the_average_under_the_name_of_the_run(run, script, capsys, monkeypatch):
    step_07 = script("07_export_inference_graph")
    exported = []

    def export(checkpoint, config, target, folded):
        weight = tf.train.load_checkpoint(str(checkpoint.prefix)).get_tensor("weight")
        exported.append((weight[0], config, target.name))

    monkeypatch.setattr(export_module, "export", export)
    monkeypatch.setattr(step_07, "print_graph", lambda *given: None)
    (run / "checkpoint").write_text("")  # as a power cut leaves it
    (run / "pipeline.config").write_text("model { ssd { } } train_config { num_steps: 100 }")
    output = ["--output", str(run.parent / "graphs")]
    step_07.main(["--run-dir", str(run), "--checkpoint", "average", *output])
    assert exported == [(3, run / "pipeline.config", "run")]
    out = capsys.readouterr().out
    assert f"the mean of the weights of {run} at steps 50, 75, 100, which was not validated" in out
    assert "did not say which checkpoint is the newest" in out
