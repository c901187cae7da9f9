"""Runs of step 06 for its tests: folders without the files of a training."""

import re

from shelfdet.config import checkpoint_files, network
from shelfdet.core import paths
from shelfdet.inference import checkpoints

CONFIG = paths.SHIPPED_GRAPH / paths.CONFIG_FILE
STEPS = int(re.search(r"num_steps: (\d+)", CONFIG.read_text()).group(1))
VARIABLES = {"weights": (3, 2), "weights/Adam": (3, 2), "global_step": ()}


def take_checkpoints_as_whole(monkeypatch):
    """The runs here have no files of checkpoints: test_resume_point.py reads real ones.

    Nor are there the records that the config names.
    """
    monkeypatch.setattr(checkpoints, "is_whole", lambda prefix: True)
    monkeypatch.setattr(checkpoint_files, "variables", lambda prefix: VARIABLES)
    monkeypatch.setattr(network, "training_variables", lambda config: VARIABLES)


def make_run(folder, step):
    """A run's folder with a checkpoint at ``step``."""
    folder.mkdir()
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
    return folder


def config_of_random_weights(folder):
    """A file of ``CONFIG`` without its first weights."""
    path = folder / "random.config"
    path.write_text(re.sub(r" *fine_tune_checkpoint\w*:.*\n", "", CONFIG.read_text()))
    return path


def make_weights(folder):
    """The folder of a graph, whose checkpoint is empty."""
    folder.mkdir()
    (folder / "model.ckpt.index").write_text("")
    return folder
