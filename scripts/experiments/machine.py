"""The machine and the software versions on which a speed was measured, in one line."""

import os
import platform

import importlib_metadata
import numpy
import PIL

from shelfdet.core import parallel
from shelfdet.core.text import counted

CPU_INFO = "/proc/cpuinfo"
TENSORFLOW_BUILDS = ("tensorflow", "intel-tensorflow")


def described() -> str:
    """Such as "AMD EPYC 7B13, 2 cores; Python 3.7.16, tensorflow 1.15.5, NumPy 1.18.5, ..."."""
    return (
        f"{_processor()}, {counted(parallel.workers(), 'core')}; Python "
        f"{platform.python_version()}, {_tensorflow()}, NumPy {numpy.__version__}, Pillow "
        f"{PIL.__version__}"
    )


def _processor():
    if os.path.exists(CPU_INFO):
        with open(CPU_INFO) as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _tensorflow():
    # A wheel's metadata may spell its name with "-" or "_".
    versions = {
        found.metadata["Name"].replace("_", "-"): found.version
        for found in importlib_metadata.distributions()
    }
    installed = [f"{build} {versions[build]}" for build in TENSORFLOW_BUILDS if build in versions]
    return " ".join(installed) or "no TensorFlow"
