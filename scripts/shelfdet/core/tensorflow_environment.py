"""The installed build of TensorFlow, and the environment variables that it reads at its import.

A value that the user has set is kept. What is set here for one process is not for those that it
starts, which may have fewer cores: MADE lets them tell the two apart.
"""

import os
from typing import Dict, Set

import importlib_metadata

INTEL = "intel-tensorflow"
BUILDS = ("tensorflow", INTEL)
MADE = "SHELFDET_MADE"  # names what ``prepare`` has set, after the number of the process: "12:A,B"


def versions() -> Dict[str, str]:
    """The builds of TensorFlow that are installed, name to version; usually one."""
    # A wheel's metadata may spell its name with "-" or "_".
    found = {
        one.metadata["Name"].replace("_", "-"): one.version
        for one in importlib_metadata.distributions()
    }
    return {build: found[build] for build in BUILDS if build in found}


def variables(threads: int) -> Dict[str, str]:
    """The environment variables.

    Intel's build has threads of its own, which the stock build has not: the session's settings do
    not hold for them, and by default each spins for 200 ms after an operation.

    Args:
      threads: that compute one operation; the number of cores, over the operations at a time.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def prepare(threads: int) -> None:
    """Sets ``variables`` in this process, before TensorFlow is imported, unless that is done."""
    process, _, _ = os.environ.get(MADE, "").partition(":")
    if process == str(os.getpid()):
        return
    users = _of_the_user()
    made = {name: value for name, value in variables(threads).items() if name not in users}
    os.environ.update(made)
    os.environ[MADE] = f"{os.getpid()}:{','.join(made)}"


def of_child(threads: int, **other: str) -> Dict[str, str]:
    """The environment of a process that imports TensorFlow.

    Args:
      threads: as in ``variables``.
      other: values in place of theirs, which the user's precede, too.
    """
    return {**variables(threads), **other, **_of_the_user()}


def _of_the_user() -> Dict[str, str]:
    """The environment without what ``prepare`` has set, in this process or one that started it."""
    _, _, names = os.environ.get(MADE, "").partition(":")
    made: Set[str] = {MADE, *names.split(",")}
    return {name: value for name, value in os.environ.items() if name not in made}
