"""How the launcher runs model_main.py; here one of a few lines stands in for object_detection's."""

import logging
import sys

import pytest
import tensorflow as tf

from shelfdet.core import paths

# A condition on a tensor, which AutoGraph alone can turn into operations.
MODEL_MAIN = """
import tensorflow as tf

def magnitude(value):
    if value < 0:
        return -value
    return value

tf.data.Dataset.range(3).map(magnitude)
"""


def test_the_source_of_object_detection_is_not_converted_by_autograph(
    script, tmp_path, monkeypatch
):
    # What the launcher changes in its process, pytest restores.
    logger = logging.getLogger("tensorflow")
    monkeypatch.setattr(logger, "propagate", logger.propagate)
    monkeypatch.setattr(tf.compat.v1.logging, "set_verbosity", lambda level: None)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(tf.estimator, "RunConfig", tf.estimator.RunConfig)
    monkeypatch.setattr(tf.estimator, "EvalSpec", tf.estimator.EvalSpec)
    monkeypatch.setattr(paths, "OBJECT_DETECTION", tmp_path)
    (tmp_path / "model_main.py").write_text(MODEL_MAIN)
    with pytest.raises(TypeError, match="AutoGraph is disabled"):
        script("launcher").main(["--", f"--model_dir={tmp_path}"])
