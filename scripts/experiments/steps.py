"""Runs the numbered scripts from another program, each in a separate process."""

import contextlib
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any, Iterable, Optional

from shelfdet import UserError
from shelfdet.core import paths

_PREPROCESSING = paths.ROOT / "scripts" / "preprocessing"
_TRAINING = paths.ROOT / "scripts" / "training"
SCRIPTS = {
    "split": _PREPROCESSING / "02_split_annotations.py",
    "records": _PREPROCESSING / "04_generate_tfrecords.py",
    "check": _TRAINING / "05_check_config.py",
    "train": _TRAINING / "06_train.py",
    "export": _TRAINING / "07_export_inference_graph.py",
    "detect": paths.EVALUATION / "08_detect.py",
    "score": paths.EVALUATION / "09_score.py",
}
LOG_LINES_SHOWN = 12  # of a failed step's log, in the message

_running = set()  # the running processes of all threads
_stopped = threading.Event()
# Without the lock, ``stop`` could miss a process that another thread is just starting.
_starting = threading.Lock()


class Stopped(UserError):
    """A step was not started, or was ended early, because ``stop`` was called."""


def run(
    step: str,
    options: Iterable[Any],
    log: Optional[pathlib.Path] = None,
    core: Optional[int] = None,
) -> float:
    """Runs a step and waits for its end.

    Args:
      step: a key of SCRIPTS.
      options: its command line; any values, which are converted to text.
      log: file to which its output is appended; None leaves it on the terminal.
      core: the number of the one CPU core that it may use, at low priority; None allows all.

    Returns:
      seconds of CPU time that it and its child processes used.

    Raises:
      Stopped: ``stop`` was called before or during the run.
      UserError: it failed; with a log, the message contains the end of the log.
    """
    _raise_if_stopped(step)
    command = [sys.executable, str(SCRIPTS[step])] + [str(option) for option in options]
    if core is not None:
        # Steps side by side must not share cores, nor slow down what the user does meanwhile.
        command = ["nice", "taskset", "-c", str(core)] + command
    if log is None:
        status, seconds = _wait(_start(step, command))
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(str(log), "a") as file:
            print("$ " + " ".join(command), file=file, flush=True)
            process = _start(step, command, stdout=file, stderr=subprocess.STDOUT)
            status, seconds = _wait(process)
    name = SCRIPTS[step].name
    if status and _stopped.is_set():
        raise Stopped(f"{name}: stopped")
    if status:
        raise UserError(f"{name} ended with status {status}; {_reason(log)}")
    return seconds


def stop() -> None:
    """Ends all running steps of all threads, and prevents any other from starting.

    Step 06 prints how to resume its training.
    """
    with _starting:
        _stopped.set()
        for process in list(_running):
            with contextlib.suppress(ProcessLookupError):  # it may end by itself at any moment
                process.terminate()


def _reason(log):
    if log is None:
        return "its message is above"
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return f"the end of {log}:\n" + "\n".join(lines)


def _start(step, command, **outputs):
    with _starting:
        _raise_if_stopped(step)
        process = subprocess.Popen(command, **outputs)
        _running.add(process)
    return process


def _raise_if_stopped(step):
    if _stopped.is_set():
        raise Stopped(f"{SCRIPTS[step].name}: not started")


def _wait(process):
    """Waits for the end of a process.

    Returns:
      (status, seconds of CPU time of the process and of its children).
    """
    try:
        # wait4 and not Popen.wait, because it also reports the CPU time.
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:  # KeyboardInterrupt above all
        process.terminate()
        process.wait()
        raise
    finally:
        _running.discard(process)
    # As subprocess does it: negative for the signal that ended the process.
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return process.returncode, used.ru_utime + used.ru_stime
