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
        ("fnished/model.ckpt", "finished/best/model.ckpt-7"),  # misspelt
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


def write_checkpoint(prefix, values):
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix))


def test_a_checkpoint_with_other_values(tmp_path):
    import tensorflow as tf

    values = {
        "a/weights": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
        "b/weights": np.zeros((1, 1, 2, 2), dtype=np.float32),
        "global_step": np.int64(7),
    }
    write_checkpoint(tmp_path / "model.ckpt", values)
    new = {"b/weights": np.full((1, 1, 2, 2), 0.25, dtype=np.float32)}
    (tmp_path / "new").mkdir()
    checkpoint_files.with_values(tmp_path / "model.ckpt", new, tmp_path / "new" / "model.ckpt")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["model.ckpt.data-00000-of-00001", "model.ckpt.index"]
    reader = tf.train.load_checkpoint(str(tmp_path / "new" / "model.ckpt"))
    assert set(reader.get_variable_to_shape_map()) == set(values)
    for name, value in {**values, **new}.items():
        found = reader.get_tensor(name)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)


def test_a_full_disk_ends_with_a_message(tmp_path, monkeypatch):
    import tensorflow as tf

    def save(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "model.ckpt; No space left on device")

    write_checkpoint(tmp_path / "model.ckpt", {"a/weights": np.ones(2, dtype=np.float32)})
    monkeypatch.setattr(tf.compat.v1.train.Saver, "save", save)
    with pytest.raises(UserError, match="new.ckpt: cannot be written .*No space left.*Free some"):
        checkpoint_files.with_values(tmp_path / "model.ckpt", {}, tmp_path / "new.ckpt")


def test_kernels_that_are_0(tmp_path):
    values = {
        "trained/weights": np.full((3, 3, 2, 2), -0.02, dtype=np.float32),
        "shrunk/weights": np.full((3, 3, 2, 2), -1e-9, dtype=np.float32),
        "shrunk/BatchNorm/beta": np.zeros(2, dtype=np.float32),  # no kernel: trained from 0
        "not_asked_for/weights": np.zeros((1, 1, 2, 2), dtype=np.float32),
    }
    write_checkpoint(tmp_path / "model.ckpt", values)
    names = set(values) - {"not_asked_for/weights"}
    assert checkpoint_files.zero_kernels(tmp_path / "model.ckpt", names) == ["shrunk/weights"]
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(UserError, match="model.ckpt cannot be read"):
        checkpoint_files.zero_kernels(tmp_path / "model.ckpt", names)
