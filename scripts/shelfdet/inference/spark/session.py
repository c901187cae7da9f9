"""Starts Spark on this machine or on a cluster, or refuses within a minute where it cannot."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import time
from typing import Any, Iterator, List, Optional, Tuple

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.core.make_variables import both
from shelfdet.inference.spark import ENVIRONMENT

NAME = "shelfdet step 12"
MASTERS = re.compile(
    r"local(\[(\*|\d+)(,\s*\d+)?\])?$|spark://[^,]+:\d+(,[^,]+:\d+)*$|yarn$|k8s://"
)
EXAMPLES = "local[4], spark://host:7077, yarn, or k8s://https://host:6443"
CONNECT_SECONDS = 5.0
WORKER_SECONDS = 50.0  # for the first executor of a standalone cluster
PAUSE_SECONDS = 0.5

IMAGES_OF_AN_ARROW_BATCH = 16  # that a task holds at a time, beside the one that it works on
# A task gets images of about this many bytes: some seconds of work at full size, half a minute of
# small copies. Spark's default, 128 MiB, would leave cores without work at the end of a batch.
PARTITION_BYTES = 32 * 2**20
# Added to each file's size when tasks are made. Spark's default, 4 MiB, is meant for tables, and
# would count small images many times.
OPEN_COST_BYTES = 2**16


@contextlib.contextmanager
def started(master: Optional[str], archive: Optional[str]) -> Iterator[Any]:
    """A SparkSession, which is stopped at the end.

    Args:
      master: as Spark takes it; None for what spark-submit or PYSPARK_SUBMIT_ARGS says, else all
        cores of this machine.
      archive: URI of the environment for the workers, as ``environment.pack`` writes it; None where
        they have one.

    Raises:
      UserError: no Spark at ``master``, no worker there, or Spark does not start.
    """
    check_master(master)
    _choose_python(archive)
    try:
        session = _start(master, archive)
    except (Py4JError, RuntimeError, OSError) as error:
        raise UserError(
            f"Spark cannot start ({_first_line(error)}); the lines above are Spark's own. Check "
            f"{both('--master')}, or leave it out to use this machine."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Of a lost worker Spark prints pages at level ERROR; it is replaced without them.
            session.sparkContext.setLogLevel("FATAL")
            _wait_for_workers(session.sparkContext)
            # What is shuffled are names of images: Spark's default, 200 partitions, would be slow.
            partitions = session.sparkContext.defaultParallelism
            session.conf.set("spark.sql.shuffle.partitions", str(partitions))
            session.sparkContext.addPyFile(_zipped_package(folder))
            yield session
        finally:
            session.stop()


def check_master(master: Optional[str]) -> None:
    """Refuses an address of a master that cannot be one, or where nothing listens.

    Spark itself would try for more than a minute, and print pages.
    """
    if master is None:
        return
    if not MASTERS.match(master):
        raise UserError(
            f"{both(f'--master {master}')}: is no address of a Spark master; expected "
            f"{EXAMPLES}. Correct it."
        )
    places = _places(master)
    if places and not any(_is_listening(*place) for place in places):
        raise UserError(
            f"{both(f'--master {master}')}: nothing answers there within {CONNECT_SECONDS:g} "
            "seconds; expected a Spark master. Start it, or check the address and the firewall."
        )


def _places(master: str) -> List[Tuple[str, int]]:
    """Host and port of each master; empty where the address names none."""
    if master.startswith("spark://"):
        found = [place.rpartition(":") for place in master[len("spark://") :].split(",")]
        return [(host, int(port)) for host, _, port in found]
    address = re.match(r"k8s://(?:(https?)://)?([^:/]+)(?::(\d+))?", master)
    if address is None:
        return []
    protocol, host, port = address.groups()
    return [(host, int(port) if port else 80 if protocol == "http" else 443)]


def _is_listening(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _choose_python(archive: Optional[str]) -> None:
    """Which Python the workers start; without an archive, the one of the driver."""
    if archive is not None:
        os.environ["PYSPARK_PYTHON"] = f"./{ENVIRONMENT}/bin/python"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark would start the driver's Python, too, by the name of the workers'.
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)


def _start(master: Optional[str], archive: Optional[str]) -> Any:
    builder = SparkSession.builder.appName(NAME)
    if master is not None:
        builder = builder.master(master)
    if archive is not None:
        builder = builder.config("spark.archives", f"{archive}#{ENVIRONMENT}")
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": IMAGES_OF_AN_ARROW_BATCH,
        "spark.sql.files.maxPartitionBytes": PARTITION_BYTES,
        "spark.sql.files.openCostInBytes": OPEN_COST_BYTES,
        # Times are UTC, wherever the driver is.
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.showConsoleProgress": "false",  # the step has its own
    }
    for name, value in settings.items():
        builder = builder.config(name, str(value))
    return builder.getOrCreate()


def _wait_for_workers(context: Any) -> None:
    """Waits for the first executor of a standalone cluster.

    Without any worker, Spark would wait for ever. YARN and Kubernetes may have to start machines,
    and say themselves what they are waiting for.
    """
    if not context.master.startswith("spark://"):
        return
    deadline = time.monotonic() + WORKER_SECONDS
    # The driver is in the list, too.
    while context._jsc.sc().getExecutorMemoryStatus().size() < 2:
        if time.monotonic() > deadline:
            raise UserError(
                f"{both(f'--master {context.master}')}: no worker has offered a core and 1 GiB of "
                f"memory within {WORKER_SECONDS:g} seconds; expected one at least. Start workers, "
                "or wait until other applications of the cluster end."
            )
        time.sleep(PAUSE_SECONDS)


def _zipped_package(folder: str) -> str:
    """The package shelfdet as a file in ``folder``, for the workers, who fetch it until the end."""
    copy = pathlib.Path(folder) / "package"
    shutil.copytree(
        str(paths.ROOT / "scripts" / "shelfdet"),
        str(copy / "shelfdet"),
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return shutil.make_archive(str(pathlib.Path(folder) / "shelfdet"), "zip", str(copy))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
