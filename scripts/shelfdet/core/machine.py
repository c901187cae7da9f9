"""The machine and the software that a figure of speed was read on, in one line."""

import os
import platform

from shelfdet.core import parallel


def described():
    """Such as "AMD EPYC 7B13, 2 cores; Python 3.7.16, tensorflow 1.15.5, NumPy 1.18.5, Pillow 9.5.0"."""
    import importlib_metadata
    import numpy
    import PIL

    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            name = next(
                (line.split(":", 1)[1].strip() for line in file if line.startswith("model name")),
                name,
            )
    # A wheel's metadata may spell its name with either sign.
    versions = {
        found.metadata["Name"].replace("_", "-"): found.version
        for found in importlib_metadata.distributions()
    }
    tensorflow = " ".join(
        f"{build} {versions[build]}"
        for build in ("tensorflow", "intel-tensorflow")
        if build in versions
    )
    tensorflow = tensorflow or "no TensorFlow"
    return f"{name}, {parallel.workers()} cores; Python {platform.python_version()}, {tensorflow}, NumPy {numpy.__version__}, Pillow {PIL.__version__}"
