"""The machine and the software versions on which a speed was measured, in one line."""

import os
import pathlib
import platform
import subprocess

import numpy
import PIL

from shelfdet import UserError
from shelfdet.core import parallel, tensorflow_environment
from shelfdet.core.text import counted

CPU_INFO = "/proc/cpuinfo"


def described() -> str:
    """Such as "AMD EPYC 7B13, 2 cores; Python 3.7.16, tensorflow 1.15.5, NumPy 1.18.5, ..."."""
    return (
        f"{_processor()}, {counted(parallel.workers(), 'core')}; Python "
        f"{platform.python_version()}, {tensorflow()}, NumPy {numpy.__version__}, Pillow "
        f"{PIL.__version__}"
    )


def _processor():
    if os.path.exists(CPU_INFO):
        with open(CPU_INFO) as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def tensorflow() -> str:
    """The build of TensorFlow and its version, such as "tensorflow 1.15.5"."""
    installed = tensorflow_environment.versions()
    return " ".join(f"{build} {installed[build]}" for build in installed) or "no TensorFlow"


def tensorflow_of(python: pathlib.Path) -> str:
    """As ``tensorflow``, of another Python.

    Raises:
      UserError: it cannot run this module.
    """
    code = "from experiments import machine; print(machine.tensorflow())"
    scripts = pathlib.Path(__file__).resolve().parents[1]
    try:
        answer = subprocess.run(
            [str(python), "-c", code],
            cwd=str(scripts),
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise UserError(f"{python}: cannot be run ({error.strerror}); expected a Python") from error
    if answer.returncode:
        raise UserError(
            f"{python}: {answer.stderr.strip().splitlines()[-1]}; expected the .venv/bin/python of "
            "a clone in which `make setup` has run"
        )
    return answer.stdout.strip()
