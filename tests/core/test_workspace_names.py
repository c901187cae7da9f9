"""workspace_names.py: which names there are, and what to do where one is not."""

import pathlib

import pytest

from shelfdet import UserError
from shelfdet.core import paths, workspace_names
from shelfdet.data import labels


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """Configs mine and other, a run of mine, and a graph other."""
    monkeypatch.setattr(paths, "TRAINING", tmp_path / "training")
    monkeypatch.setattr(paths, "GRAPHS", tmp_path / "graphs")
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path / "annotations")
    for name in (
        "training/mine.config",
        "training/other.config",
        "training/mine/pipeline.config",
        "training/RUNS.md",
        "annotations/milk/train_labels.csv",
        "annotations/test_labels.csv",
        "graphs/other/frozen_inference_graph.pb",
        "graphs/README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_config_that_is_not_there(workspace, monkeypatch):
    message = workspace_names.no_config(paths.TRAINING / "min.config")
    assert message == (
        f"{workspace}/training/min.config: no such file; expected a training config. Configs in "
        f"{workspace}/training: mine, other. Did you mean mine?"
    )
    assert workspace_names.no_config(workspace / "elsewhere" / "min.config") is None
    monkeypatch.chdir(str(workspace))
    assert workspace_names.no_config(pathlib.Path("training", "min.config")) == message


def test_the_config_of_a_graph_that_was_not_exported(workspace):
    message = workspace_names.no_config(paths.GRAPHS / "mine" / "pipeline.config")
    assert message == (
        f"{workspace}/graphs/mine/pipeline.config: no such file. There is no graph mine yet: `make "
        "export CONFIG=mine` writes it from the training, then `make eval CONFIG=mine` scores it."
    )


def test_a_graph_of_no_config(workspace):
    assert workspace_names.no_graph("othr") == (
        f"Graphs in {workspace}/graphs: other. Did you mean other?"
    )
    assert workspace_names.no_graph("xyz") == f"Graphs in {workspace}/graphs: other."


def test_a_run_that_is_not_there(workspace):
    assert workspace_names.no_run(paths.TRAINING / "nosuch") == (
        f"{workspace}/training/nosuch: no such run, and no config of that name. Configs and runs "
        f"in {workspace}/training: mine, other."
    )
    assert workspace_names.no_run(paths.TRAINING / "other") == (
        f"{workspace}/training/other: no such run; the config other was not trained yet. Train "
        "first: `make train CONFIG=other`."
    )
    assert workspace_names.no_run(paths.TRAINING / "mine") is None
    assert workspace_names.no_run(workspace / "nosuch") is None


def test_a_dataset_that_is_not_there(workspace):
    message = f"Datasets in {workspace}/annotations: milk. Did you mean milk?"
    assert workspace_names.no_dataset(paths.ANNOTATIONS / "mlk") == message
    assert workspace_names.no_dataset(paths.ANNOTATIONS / "milk") is None
    assert workspace_names.no_dataset(workspace / "mlk") is None
    with pytest.raises(UserError) as refused:
        labels.read_labels(paths.ANNOTATIONS / "mlk" / "val_labels.csv")
    assert str(refused.value).endswith(message)
    with pytest.raises(UserError) as raised:
        workspace_names.require_dataset("mlk")
    assert str(raised.value) == (
        f"{workspace}/annotations/mlk: no such dataset; expected one that `make data NAME=mlk` has "
        f"written. Correct the name, or run that. {message}"
    )
    for name in (None, paths.DEFAULT_DATASET, "milk"):
        workspace_names.require_dataset(name)


@pytest.mark.parametrize("step", ["09_score", "10_report", "suspects", "write_config"])
def test_steps_refuse_a_dataset_that_is_not_there(step, script):
    with pytest.raises(UserError, match="annotations/nosuch: no such dataset"):
        script(step).main(["--dataset", "nosuch"])


def test_the_command_of_the_default_config_names_none():
    assert workspace_names.make_command("train", paths.DEFAULT_CONFIG.stem) == "`make train`"
    assert workspace_names.make_command("eval", "a b") == "`make eval CONFIG='a b'`"
