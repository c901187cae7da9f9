"""parallel.py: worker processes end with the process that started them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from shelfdet.core import parallel

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
SECONDS = 10  # that workers get to end


def test_map_keeps_the_order():
    with parallel.Workers() as workers:
        assert list(workers.map(pow, [(2, 3), (3, 2), (1, 5)])) == [8, 9, 1]


def wait_until_stopped(folder):
    (folder / "running").touch()
    while True:
        parallel.raise_if_stopped()
        time.sleep(0.01)


def test_an_error_ends_the_tasks_that_are_running(tmp_path):
    with pytest.raises(ValueError):
        with parallel.Workers() as workers:
            task = workers._pool.submit(wait_until_stopped, tmp_path)
            while not (tmp_path / "running").exists():
                time.sleep(0.01)
            raise ValueError
    with pytest.raises(parallel.Stopped):
        task.result(SECONDS)
    parallel.raise_if_stopped()  # outside of workers it does nothing


def test_an_error_while_workers_send_large_results_does_not_block():
    for _ in range(20):
        with pytest.raises(ValueError):
            with parallel.Workers() as workers:
                for _ in workers.map(bytes, [(5_000_000,)] * 8):
                    raise ValueError


def test_workers_do_not_outlive_a_process_that_is_killed():
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import parallel
with parallel.Workers() as workers:
    print(*workers._pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # The workers hold the pipe open, too: one that stays would be noticed as a timeout.
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=SECONDS, check=False
    )
    assert done.returncode == -signal.SIGKILL
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == parallel.workers()
    deadline = time.monotonic() + SECONDS
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # ended, but its status has not been read yet


def test_a_process_whose_parent_has_ended_ends_at_once():
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import parallel
parallel.end_with_parent({os.getpid() + 1})
"""
    assert subprocess.call([sys.executable, "-c", code]) == 1
