"""The names of configs, runs, graphs and datasets, and what to do where one is not there."""

import difflib
import os
import pathlib
import shlex
from typing import Iterable, List, Optional

from shelfdet import UserError
from shelfdet.core import paths, text


def configs() -> List[str]:
    """The names of the configs in training/."""
    return sorted(path.stem for path in paths.TRAINING.glob("*.config"))


def runs() -> List[str]:
    """The names of the runs in training/."""
    return sorted(path.parent.name for path in paths.TRAINING.glob(f"*/{paths.CONFIG_FILE}"))


def graphs() -> List[str]:
    """The names of the graphs in trained-inference-graphs/."""
    return sorted(path.parent.name for path in paths.GRAPHS.glob(f"*/{paths.GRAPH_FILE}"))


def datasets() -> List[str]:
    """The names of the datasets that have label files."""
    return sorted(path.parent.name for path in paths.ANNOTATIONS.glob("*/train_labels.csv"))


def make_command(target: str, name: str) -> str:
    """The `make` command that does ``target`` with the config ``name``."""
    if name == paths.DEFAULT_CONFIG.stem:
        return f"`make {target}`"
    return f"`make {target} CONFIG={shlex.quote(name)}`"


def no_config(path: pathlib.Path) -> Optional[str]:
    """The message for a config that is not there; None where only its path can be wrong."""
    path = pathlib.Path(os.path.abspath(str(path)))
    if path.name == paths.CONFIG_FILE and path.parent.parent == paths.GRAPHS:
        name = path.parent.name
        return f"{paths.shown(path)}: no such file. {no_graph(name)}"
    if path.parent == paths.TRAINING:
        return (
            f"{paths.shown(path)}: no such file; expected a training config. "
            f"{_those_there('Configs', configs(), paths.TRAINING, path.stem)}"
        )
    return None


def no_graph(name: str) -> str:
    """What to do about a graph in trained-inference-graphs/ that is not there."""
    if name in runs() or name in configs():
        return (
            f"There is no graph {name} yet: {make_command('export', name)} writes it from the "
            f"training, then {make_command('eval', name)} scores it."
        )
    return _those_there("Graphs", graphs(), paths.GRAPHS, name)


def no_run(run: pathlib.Path) -> Optional[str]:
    """The message for a run that is not there; None for one that is, or is outside training/."""
    if run.resolve().parent != paths.TRAINING.resolve() or run.exists():
        return None
    if run.name in configs():
        return (
            f"{paths.shown(run)}: no such run; the config {run.name} was not trained yet. "
            f"Train first: {make_command('train', run.name)}."
        )
    there = sorted(set(runs()) | set(configs()))
    return (
        f"{paths.shown(run)}: no such run, and no config of that name. "
        f"{_those_there('Configs and runs', there, paths.TRAINING, run.name)}"
    )


def no_dataset(folder: pathlib.Path) -> Optional[str]:
    """What to do about the folder of a dataset that is not there; None for any other folder."""
    folder = pathlib.Path(os.path.abspath(str(folder)))
    if folder.parent != paths.ANNOTATIONS or folder.exists():
        return None
    return _those_there("Datasets", datasets(), paths.ANNOTATIONS, folder.name)


def require_dataset(name: Optional[str]) -> None:
    """Refuses the name of a dataset that was not made; None is the one that has no name.

    Raises:
      UserError: names the datasets that are there.
    """
    if name is None or name == paths.DEFAULT_DATASET:
        return
    folder = paths.dataset_annotations(name)
    there = no_dataset(folder)
    if there:
        raise UserError(
            f"{paths.shown(folder)}: no such dataset; expected one that `make data NAME={name}` "
            f"has written. Correct the name, or run that. {there}"
        )


def _those_there(what: str, names: Iterable[str], folder: pathlib.Path, wanted: str) -> str:
    names = list(names)
    similar = difflib.get_close_matches(wanted, names, 1)
    meant = f" Did you mean {similar[0]}?" if similar else ""
    return f"{what} in {paths.shown(folder)}: {text.listed(names) or 'none'}.{meant}"
