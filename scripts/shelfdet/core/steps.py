"""The numbered scripts as another program calls them: each in a process of its own, as a user would start it."""

import contextlib
import os
import subprocess
import sys
import threading

from shelfdet import UserError
from shelfdet.core import paths

_PREPROCESSING, _TRAINING = (
    paths.ROOT / "scripts" / "preprocessing",
    paths.ROOT / "scripts" / "training",
)
SCRIPTS = {
    "split": _PREPROCESSING / "02_split_annotations.py",
    "records": _PREPROCESSING / "04_generate_tfrecords.py",
    "check": _TRAINING / "05_check_config.py",
    "train": _TRAINING / "06_train.py",
    "export": _TRAINING / "07_export_inference_graph.py",
    "detect": paths.EVALUATION / "08_detect.py",
    "score": paths.EVALUATION / "09_score.py",
}
LINES_SHOWN = 12
_running = set()  # processes under way, of all threads
_stopped = threading.Event()
_starting = (
    threading.Lock()
)  # a step either starts before ``stop``, which then ends it, or not at all


class Stopped(UserError):
    """A step did not run, or not to its end, because of ``stop``."""


def run(step, options, log=None, core=None):
    """Runs a step to its end.

    Args:
      step: a key of SCRIPTS.
      options: its command line; any values, which are turned to text.
      log: file to add what it prints to; None lets it print.
      core: the number of the one core that it may use, at low priority; None leaves it all.

    Returns:
      seconds of CPU time that it and its children took.

    Raises:
      Stopped: ``stop`` was called before or while it ran.
      UserError: it failed; with a log, the message holds the end of that.
    """
    _refuse_when_stopped(step)
    line = [sys.executable, str(SCRIPTS[step])] + [str(option) for option in options]
    if core is not None:
        line = ["nice", "taskset", "-c", str(core)] + line
    if log is None:
        status, seconds = _wait(_start(step, line))
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(str(log), "a") as file:
            print("$ " + " ".join(line), file=file, flush=True)
            status, seconds = _wait(_start(step, line, stdout=file, stderr=subprocess.STDOUT))
    if status and _stopped.is_set():
        raise Stopped(f"{SCRIPTS[step].name}: stopped")
    if status:
        told = (
            "its message is above"
            if log is None
            else "the end of {}:\n{}".format(
                log, "\n".join(log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])
            )
        )
        raise UserError(f"{SCRIPTS[step].name} ended with status {status}; {told}")
    return seconds


def stop():
    """Ends all steps under way, in whichever thread, and lets none start; step 06 says from where its training goes on."""
    with _starting:
        _stopped.set()
        for process in list(_running):
            with contextlib.suppress(ProcessLookupError):  # it may end at any moment
                process.terminate()


def _start(step, line, **outputs):
    with _starting:
        _refuse_when_stopped(step)
        process = subprocess.Popen(line, **outputs)
        _running.add(process)
    return process


def _refuse_when_stopped(step):
    if _stopped.is_set():
        raise Stopped(f"{SCRIPTS[step].name}: not started")


def _wait(process):
    """(status, seconds of CPU time of the process and of the children that it waited for)."""
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:  # Ctrl-C above all
        process.terminate()
        process.wait()
        raise
    finally:
        _running.discard(process)
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return process.returncode, used.ru_utime + used.ru_stime
