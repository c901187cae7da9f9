"""Run time and memory of a script that runs in a separate process, and the speed of graphs."""

import concurrent.futures
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, List, NamedTuple, Sequence

from shelfdet import UserError
from shelfdet.core import parallel

SAMPLE_SECONDS = 0.05
PROCESSES = pathlib.Path("/proc")
TIMED_ROUNDS = 5
WARM_UP_IMAGES = 4  # the first runs of a session allocate memory and are slower
SHOWN_CHARACTERS = 2000  # of the output of a script that failed


class Usage(NamedTuple):
    """Wall-clock seconds, and the largest resident memory of the process tree in MiB."""

    seconds: float
    peak_mib: float


def measure(arguments: Sequence[Any]) -> Usage:
    """Runs a script to its end with this Python.

    Args:
      arguments: the script and its options; any values, which are turned to text.

    Raises:
      UserError: it failed; the message holds the end of its output, which is not shown otherwise.
    """
    command = [sys.executable] + [str(argument) for argument in arguments]
    began = time.time()
    peak = 0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.returncode is None:
            peak = max(peak, resident_bytes(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
        seconds = time.time() - began
        if process.returncode:
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
            raise UserError(f"{' '.join(command)} failed:\n{text[-SHOWN_CHARACTERS:]}")
    return Usage(seconds, peak / 2**20)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants, summed.

    Pages that processes share count once in each.
    """
    waiting: List[str] = [str(pid)]
    pages = 0
    while waiting:
        folder = PROCESSES / waiting.pop()
        with contextlib.suppress(OSError):  # a process may end at any moment
            pages += int((folder / "statm").read_text().split()[1])
            for task in (folder / "task").iterdir():
                waiting += (task / "children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE")


def images_per_second(graph_paths: Sequence[pathlib.Path], pixels: Sequence[Any]) -> List[float]:
    """The speed of graphs on decoded images, several at a time on all cores.

    The graphs run alternately, and each one's median of TIMED_ROUNDS counts, so that other work of
    the machine does not distort the speed of a single graph.

    Args:
      graph_paths: frozen graphs.
      pixels: images as ``Detector.detect`` takes them.

    Returns:
      images/s of each graph.
    """
    # Imports TensorFlow, which scripts that run in separate processes load for themselves.
    from shelfdet.inference.detector import Detector

    rates: List[List[float]] = [[] for _ in graph_paths]
    for _ in range(TIMED_ROUNDS):
        for graph_path, rates_of_graph in zip(graph_paths, rates):
            detector = Detector(graph_path, parallel.workers())
            with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
                list(pool.map(detector.detect, pixels[:WARM_UP_IMAGES]))
                began = time.time()
                list(pool.map(detector.detect, pixels))
                rates_of_graph.append(len(pixels) / (time.time() - began))
    return [statistics.median(rates_of_graph) for rates_of_graph in rates]
