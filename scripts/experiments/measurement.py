"""Run time, CPU time and memory of scripts in separate processes, and the speed of graphs."""

import concurrent.futures
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import parallel

SAMPLE_SECONDS = 0.05
PROCESSES = pathlib.Path("/proc")
TIMED_ROUNDS = 5
WARM_UP_IMAGES = 4  # the first runs of a session allocate memory and are slower
SHOWN_CHARACTERS = 2000  # of the output of a script that failed


class Usage(NamedTuple):
    """Of a process and its descendants.

    seconds: of the clock.
    cpu_seconds: user and system time.
    peak_mib: the largest sum of their resident memory, MiB.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


class Variant(NamedTuple):
    """One way to do a work.

    name: as in the table.
    command: (images to do, an empty folder) -> a script and its options.
    python: the Python that runs it; None for this one.
    """

    name: str
    command: Callable[[int, pathlib.Path], Sequence[Any]]
    python: Optional[pathlib.Path] = None


class Result(NamedTuple):
    """What a variant needs, without its start-up; medians over the rounds.

    speed_up: CPU seconds of the first variant in the same round over those of this one.
    start_up: CPU seconds of a run with few images.
    peak_mib: the largest of all rounds.
    """

    name: str
    seconds_per_image: float
    cpu_seconds_per_image: float
    speed_up: float
    start_up: float
    peak_mib: float


def compare(variants: Sequence[Variant], few: int, many: int, rounds: int) -> List[Result]:
    """Measures variants of a work in turn, because a machine's speed changes.

    Args:
      variants: the first one is the reference.
      few: images of the run that measures the start-up.
      many: images of the other one; what it needs beyond the first counts.
      rounds: how often everything is measured.
    """
    of_few: Dict[str, List[Usage]] = {variant.name: [] for variant in variants}
    of_many: Dict[str, List[Usage]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            for images, usages in ((few, of_few), (many, of_many)):
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    command = variant.command(images, pathlib.Path(folder))
                    usages[variant.name].append(measure(command, variant.python))

    def per_image(name: str, field: str) -> List[float]:
        pairs = zip(of_few[name], of_many[name])
        return [(getattr(b, field) - getattr(a, field)) / (many - few) for a, b in pairs]

    reference = per_image(variants[0].name, "cpu_seconds")
    results = []
    for name in of_few:
        cpu_seconds = per_image(name, "cpu_seconds")
        results.append(
            Result(
                name,
                statistics.median(per_image(name, "seconds")),
                statistics.median(cpu_seconds),
                statistics.median(a / b for a, b in zip(reference, cpu_seconds)),
                statistics.median(usage.cpu_seconds for usage in of_few[name]),
                max(usage.peak_mib for usage in of_few[name] + of_many[name]),
            )
        )
    return results


def measure(arguments: Sequence[Any], python: Optional[pathlib.Path] = None) -> Usage:
    """Runs a script to its end.

    Args:
      arguments: the script and its options; any values, which are turned to text.
      python: the Python that runs it; None for this one.

    Raises:
      UserError: it failed; the message holds the end of its output, which is not shown otherwise.
    """
    command = [str(python or sys.executable)] + [str(argument) for argument in arguments]
    began = time.time()
    # Descendants that their parents do not wait for are in the samples alone.
    peak, cpu_seconds = 0, 0.0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while True:
            resident, used = sample(process.pid)
            peak, cpu_seconds = max(peak, resident), max(cpu_seconds, used)
            ended, status, total = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(SAMPLE_SECONDS)
        seconds = time.time() - began
        # As subprocess does it: negative for the signal that ended the process
        process.returncode = (
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        )
        if process.returncode:
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
            raise UserError(f"{' '.join(command)} failed:\n{text[-SHOWN_CHARACTERS:]}")
    return Usage(seconds, max(cpu_seconds, total.ru_utime + total.ru_stime), peak / 2**20)


def sample(pid: int) -> Tuple[int, float]:
    """Of a process and all its descendants: (resident bytes, CPU seconds so far).

    Pages that processes share count once in each. The CPU seconds of descendants that have ended
    count once their parents have waited for them.
    """
    waiting: List[str] = [str(pid)]
    pages, ticks = 0, 0
    while waiting:
        folder = PROCESSES / waiting.pop()
        with contextlib.suppress(OSError):  # a process may end at any moment
            pages += int((folder / "statm").read_text().split()[1])
            # After the name in brackets: fields 14 to 17 of proc(5) are user and system ticks, of
            # the process and of the children that it has waited for.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
            for task in (folder / "task").iterdir():
                waiting += (task / "children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")


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
