"""The prefix, step and variables of a checkpoint, and the one that a user meant by a path."""

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.config import checkpoint_files
from shelfdet.core import paths


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folders of checkpoints, whose files are empty."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "WORKSPACE", tmp_path / "workspace")
    names = (
        "zoo/model.ckpt.index",
        "zoo/model.ckpt.meta",
        "zoo/frozen_inference_graph.pb",
        "zoo/saved_model/saved_model.pb",
        "zoo.tar.gz",
        "run/model.ckpt-900.index",
        "run/model.ckpt-1200.index",
        "run/model.ckpt-1200.data-00000-of-00001",
        "run/checkpoint",
        "finished/best/model.ckpt-7.index",
        "finished/pipeline.config",
        "workspace/pre-trained-model/zoo/model.ckpt.index",
        "nothing/readme.txt",
    )
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "named, meant",
    [
        ("zoo", "zoo/model.ckpt"),
        ("zoo/", "zoo/model.ckpt"),
        ("zoo/frozen_inference_graph.pb", "zoo/model.ckpt"),
        ("zoo/saved_model", "zoo/model.ckpt"),
        ("zoo/model.ckpt.index", "zoo/model.ckpt"),
        ("zoo/model.ckpt.meta", "zoo/model.ckpt"),
        ("zoo/model.ckp", "zoo/model.ckpt"),
        ("zoo.tar.gz", "zoo/model.ckpt"),
        ("run", "run/model.ckpt-1200"),  # the newest, not the first of the alphabet
        ("run/model.ckpt", "run/model.ckpt-1200"),
        ("run/checkpoint", "run/model.ckpt-1200"),
        ("run/model.ckpt-1200.data-00000-of-00001", "run/model.ckpt-1200"),
        ("run/model.ckpt-900.index", "run/model.ckpt-900"),
        ("finished", "finished/best/model.ckpt-7"),
        ("pre-trained-model/zoo/model.ckpt", "workspace/pre-trained-model/zoo/model.ckpt"),
        ("pre-trained-model/zoo", "workspace/pre-trained-model/zoo/model.ckpt"),
        ("nothing/readme.txt", None),
        ("nowhere/model.ckpt", None),
    ],
)
def test_the_nearest_prefix(root, named, meant):
    expected = None if meant is None else str(root / meant)
    assert checkpoint_files.nearest(root / named) == expected


def test_folders_with_brackets_in_their_names(root):
    (root / "a[1]").mkdir()
    (root / "a[1]" / "model.ckpt.index").write_text("")
    assert checkpoint_files.nearest(root / "a[1]") == str(root / "a[1]" / "model.ckpt")


@pytest.mark.parametrize(
    "prefix, step",
    [
        ("run/model.ckpt-2300", 2300),
        ("run/model.ckpt-0", 0),
        ("run-7/model.ckpt", None),
        ("run/model.ckpt-2300.index", None),
        ("run/model.ckpt-best", None),
    ],
)
def test_the_step_in_the_name_of_a_checkpoint(prefix, step):
    assert checkpoint_files.step_of(prefix) == step


def test_the_variables_of_a_checkpoint_are_read_with_their_shapes(tmp_path):
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weights = tf.compat.v1.get_variable("a/weights", initializer=np.zeros((3, 2), np.float32))
        session.run(weights.initializer)
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    assert checkpoint_files.is_prefix(tmp_path / "model.ckpt")
    assert checkpoint_files.variables(tmp_path / "model.ckpt") == {"a/weights": (3, 2)}
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    with pytest.raises(UserError, match="model.ckpt cannot be read"):
        checkpoint_files.variables(tmp_path / "model.ckpt")
