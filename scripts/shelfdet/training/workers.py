"""How many processes a training gets where the user does not say.

With Intel's build two processes of half of the cores each train 1.6 times as many images a second
as one process of all cores, to the same accuracy (docs/scaling.md). Nothing else was measured.
"""

import contextlib
import os
import pathlib

from shelfdet.core import parallel, tensorflow_environment
from shelfdet.training import cluster

WORKERS = 2
LEAST_IMAGES = 5000  # fewer are trained on before the further processes pay for their start
LEAST_MEMORY = 12 * 10**9  # bytes of the machine: the processes took 5 GB, and one alone 2 GB
# A container's limit in bytes, by version 2 and 1 of Linux's cgroups. Without a limit the file has
# the word "max", a number above every machine's memory, or is not there.
MEMORY_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def choose(images: int) -> int:
    """The number of processes for a training on so many images, counted each time they are seen."""
    pays = (
        images >= LEAST_IMAGES
        and parallel.workers() >= WORKERS
        and _memory() >= LEAST_MEMORY
        and cluster.from_environment() is None
        and tensorflow_environment.INTEL in tensorflow_environment.versions()
    )
    return WORKERS if pays else 1


def _memory() -> int:
    """Bytes of memory: the machine's, or the smaller limit of a container."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in MEMORY_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(path.read_text()))
    return min(sizes)
