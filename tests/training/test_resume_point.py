"""Step 06 resumes from the newest checkpoint that is whole, and reports those that are not."""

import pytest

from shelfdet import UserError
from shelfdet.core import tensorflow1
from shelfdet.inference import checkpoints
from shelfdet.training import resume_point


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with real checkpoints of steps 0, 9 and 20."""
    tf = tensorflow1.load()
    folder = tmp_path_factory.mktemp("saved")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("weights", initializer=tf.range(1000))
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        for step in (0, 9, 20):
            saver.save(session, str(folder / "model.ckpt"), global_step=step)
    return folder


@pytest.fixture
def run(saved, tmp_path):
    """A run's folder with copies of them."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def cut(path, size=None):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 if size is None else size])


def data_file(run, step):
    return run / f"model.ckpt-{step}.data-00000-of-00001"


def latest(run):
    """The name of the checkpoint that TensorFlow itself resumes from."""
    return tensorflow1.load().train.latest_checkpoint(str(run)).rpartition("/")[2]


def test_no_checkpoint(tmp_path):
    assert resume_point.find(tmp_path / "missing") is None
    assert resume_point.find(tmp_path) is None


def test_the_newest_is_whole(run):
    point = resume_point.find(run)
    assert (point.step, point.damaged, point.noted) == (20, [], True)


def test_an_older_one_that_the_note_names_is_taken(run):
    (run / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-9"\n')
    point = resume_point.find(run)
    assert (point.step, point.noted) == (9, True)


@pytest.mark.parametrize("damage", ["half", "empty", "index", "missing data", "missing index"])
def test_a_damaged_one_is_passed_over(run, damage):
    index = run / "model.ckpt-20.index"
    if damage == "half":
        cut(data_file(run, 20))
    elif damage == "empty":
        cut(data_file(run, 20), size=0)
    elif damage == "index":
        cut(index)
    elif damage == "missing data":
        data_file(run, 20).unlink()
    else:
        index.unlink()
    point = resume_point.find(run)
    assert (point.step, point.noted) == (9, False)
    resume_point.note(run, point)
    assert latest(run) == "model.ckpt-9"
    assert checkpoints.newest_step(run) == 9
    report = resume_point.report(point)
    assert report.startswith(f"{run}: model.ckpt-20 cannot be read to the end, as after a power")
    assert report.endswith("; the newest whole checkpoint is at step 9")


def test_bytes_that_have_changed(run):
    data = bytearray(data_file(run, 20).read_bytes())
    data[len(data) // 2] ^= 255
    data_file(run, 20).write_bytes(data)
    assert resume_point.find(run).step == 9


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe", None])
def test_a_note_that_is_damaged(run, content):
    (run / "checkpoint").unlink()
    if content is not None:
        (run / "checkpoint").write_bytes(content)
    point = resume_point.find(run)
    assert (point.step, point.damaged, point.noted) == (20, [], False)
    resume_point.note(run, point)
    assert latest(run) == "model.ckpt-20"
    assert "did not say which checkpoint is the newest" in resume_point.report(point)


def test_none_is_whole(run):
    for step in (0, 9, 20):
        cut(data_file(run, step))
    with pytest.raises(UserError) as caught:
        resume_point.find(run)
    assert "(model.ckpt-20, model.ckpt-9, model.ckpt-0); expected at least one" in str(caught.value)
    assert "--start-from" not in str(caught.value)


def test_none_but_the_best_is_whole(run, saved):
    (run / "best").mkdir()
    for path in saved.glob("model.ckpt-9.*"):
        (run / "best" / path.name).write_bytes(path.read_bytes())
    (run / "best" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-9"\n')
    for step in (0, 9, 20):
        cut(data_file(run, step))
    with pytest.raises(UserError, match=r"--start-from .*/best/model.ckpt-9\."):
        resume_point.find(run)
