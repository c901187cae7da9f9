"""The line with which a step ends: the `make` command of what to do next, as `next: make ...`.

It has the variables that this run was given as options: its config, dataset, graph, tiles.
"""

import os
import pathlib
import shlex
import sys
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from shelfdet.core import paths
from shelfdet.core.make_variables import FLAGS, VARIABLES

# The targets that `make` was asked for, with a space between them; the Makefile exports it.
GOALS = "MAKE_GOALS"
# The variables of a target that a step before it may have been given.
# tests/core/test_next_step.py compares them with the Makefile.
TAKEN = {
    "data": (
        "ALLOW_MISSING",
        "ANNOTATIONS",
        "BAD_BOXES",
        "CLASSES",
        "CORRECTED",
        "EMPTY_IMAGES",
        "EXIF",
        "FOLD",
        "FORMAT",
        "FROM",
        "NAME",
        "OUT_OF_IMAGE",
        "SEED",
        "SPLIT",
        "TEST_SHARE",
        "VAL_SHARE",
    ),
    "anchors": ("EXIF", "NAME", "TILES"),
    "config": ("NAME",),
    "train": ("CONFIG", "RUN_DIR", "START"),
    "eval": ("CONFIG", "EXIF", "GRAPH", "NAME", "PAD", "RUNTIME", "TILES"),
    "report": ("CONFIG", "GRAPH", "NAME"),
    "predict": (
        "CONFIG",
        "DRAW",
        "EXIF",
        "GRAPH",
        "IMAGES",
        "PAD",
        "RUNTIME",
        "SKIP_BAD",
        "TILES",
    ),
    "prelabel": ("EXIF", "FORMAT", "GRAPH", "IMAGES", "OUTPUT", "PAD", "SKIP_BAD", "TILES"),
}
# Folders that hold what a variable names: a path in them is shown as the name.
_FOLDERS = {"CONFIG": paths.TRAINING, "GRAPH": paths.GRAPHS, "START": paths.GRAPHS}
# What all targets take where a variable is not given, and what one of them takes
_DEFAULTS = {
    "NAME": paths.DEFAULT_DATASET,
    "CONFIG": paths.DEFAULT_CONFIG.stem,
    "GRAPH": paths.DEFAULT_CONFIG.stem,
    "EXIF": "ignore",
}
_DEFAULTS_OF = {
    "eval": {"TILES": "1"},
    "predict": {"DRAW": paths.shown(paths.RESULTS / "drawn"), "TILES": "auto"},
    "prelabel": {"OUTPUT": paths.shown(paths.WORKSPACE / "prelabels"), "TILES": "auto"},
}


def command(target: str, **values: Optional[str]) -> str:
    """A `make` command.

    Args:
      target: of TAKEN.
      values: variable, which the target takes, to value; those that are None or the target's
        default are left out.
    """
    assert set(values) <= set(TAKEN[target]), (target, sorted(values))
    defaults = dict(_DEFAULTS, **_DEFAULTS_OF.get(target, {}))
    given = {
        name: value for name, value in values.items() if value not in (None, defaults.get(name))
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
    return " ".join(["make", target] + words)


def after(
    argv: Optional[Sequence[str]],
    target: str,
    dropped: Sequence[str] = (),
    **more: Optional[str],
) -> Optional[str]:
    """The `make` command that continues a run of a script.

    Args:
      argv: the options of the run, without the script; None for those of this process.
      target: that comes next. The variables that it takes get the values of this run.
      dropped: variables, and options without one, that do not matter to the target.
      more: values of further variables, as in ``command``.

    Returns:
      the command; None where the run had other options, such as files elsewhere, with which no
      target can continue.
    """
    values: Dict[str, str] = {}
    for option, value in options_given(sys.argv[1:] if argv is None else argv).items():
        variable = VARIABLES.get(option) or FLAGS.get(option) or option
        if variable in dropped:
            continue
        if variable not in TAKEN[target]:
            return None
        values[variable] = named(variable, value) if option in VARIABLES else "1"
    return command(target, **values, **more)


def options_given(argv: Sequence[str]) -> Dict[str, str]:
    """Option to value ("" without one), of a command line that argparse has accepted."""
    given: Dict[str, str] = {}
    option = None
    for word in argv:
        if word.startswith("--"):
            option, _, value = word.partition("=")
            given[option] = value
        elif option is not None and not given[option]:
            given[option] = word
    return given


def named(variable: str, value: Union[str, pathlib.Path]) -> str:
    """The value of a variable: the name of a config or graph where it is in its folder.

    The Makefile makes paths of names before it calls a script.
    """
    folder = _FOLDERS.get(variable)
    if folder is None:
        return str(value)
    path = pathlib.Path(value).resolve()
    if path.name in (paths.GRAPH_FILE, paths.CONFIG_FILE):
        path = path.parent
    if path.parent != folder.resolve():
        return str(value)
    return path.stem if variable == "CONFIG" else path.name


def lacks_config(dataset: str) -> bool:
    """Whether a dataset with a name has no config of this name, which `make config` would write."""
    return dataset != paths.DEFAULT_DATASET and not (paths.TRAINING / f"{dataset}.config").is_file()


def of_graph(folder: Optional[pathlib.Path]) -> Dict[str, str]:
    """The variable that names a graph in trained-inference-graphs/; none of graphs elsewhere.

    It is CONFIG where there is a config of that name, as in the commands before it.
    """
    if folder is None or folder.resolve().parent != paths.GRAPHS.resolve():
        return {}
    has_config = (paths.TRAINING / f"{folder.name}.config").is_file()
    return {"CONFIG" if has_config else "GRAPH": folder.name}


def detection_settings(info: Mapping[str, Any]) -> Dict[str, Optional[str]]:
    """The variables with which step 08 made detections, by their "info"."""
    return {
        "EXIF": info.get("exif"),
        "PAD": "1" if info.get("pad_strips") else None,
        "RUNTIME": info.get("runtime"),
        "TILES": str(info.get("tiles", 1)),
    }


def show(make_command: Optional[str]) -> None:
    """Prints the line.

    Not if there is no command, nor if `make` was asked for its target: that runs anyway.
    """
    if make_command is None or make_command.split()[1] in os.environ.get(GOALS, "").split():
        return
    print(f"next: {make_command}")
