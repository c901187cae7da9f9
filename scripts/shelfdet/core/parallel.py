"""Applies one function to many files on all cores, in order, with a bounded number in memory."""

import collections
import concurrent.futures
import ctypes
import mmap
import os
import signal
import sys
from typing import Any, Callable, Iterable, Iterator, Optional, Tuple, Type

from shelfdet.core import command_line

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends
PENDING_PER_WORKER = 4  # enough to keep every worker busy while the caller handles a result


def workers() -> int:
    """The number of worker processes to use: the cores that this process may use."""
    # os.cpu_count also counts cores that taskset or a container withholds from this process.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# In a worker process: a byte that is 1 when its results are no longer needed
_stopping: Optional[mmap.mmap] = None


class Stopped(Exception):
    """Raised in a worker whose results are no longer needed."""


class Workers:
    """Worker processes that are forked at once.

    TensorFlow has to be imported after that, because its threads do not survive a fork. Use as a
    context manager. ``map`` streams, so that memory does not grow with the number of items.
    """

    def __init__(self) -> None:
        self._count = workers()
        # Memory that the forked workers share. multiprocessing's would need a file, or a lock,
        # which a worker that is killed would hold for ever.
        self._stopping = mmap.mmap(-1, 1)
        self._pool = concurrent.futures.ProcessPoolExecutor(
            self._count, initializer=_start_worker, initargs=(os.getpid(), self._stopping)
        )
        # Delayed, because a worker that is just being forked would print a traceback on Ctrl-C.
        with command_line.interrupts_delayed():
            # The pool forks on its first task: give it one for each worker now.
            concurrent.futures.wait([self._pool.submit(os.getpid) for _ in range(self._count)])

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: Any) -> None:
        if kind is not None:
            # Workers are not killed: a result that is half written would block the pool for ever.
            self._stopping[0] = 1
        self._pool.shutdown()

    def map(self, function: Callable, items: Iterable[Tuple]) -> Iterator[Any]:
        """Yields ``function(*item)`` for each tuple of ``items``, in order.

        At most PENDING_PER_WORKER results for each worker wait in memory.

        Args:
          function: a function of a module (it is sent to the workers by name).
          items: iterable of tuples of arguments.

        Raises:
          the exception that ``function`` raised first, at its place in the order.
        """
        pending = collections.deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, *item))
                if len(pending) >= PENDING_PER_WORKER * self._count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # After an error, the rest of the queue would be worked off before the program ends.
            for future in pending:
                future.cancel()


def raise_if_stopped() -> None:
    """Ends a task, in a worker, after an error in the process that started it, or Ctrl-C there.

    Tasks that take more than a few seconds call it again and again. In other processes it does
    nothing.

    Raises:
      Stopped: so.
    """
    if _stopping is not None and _stopping[0]:
        raise Stopped


def _start_worker(parent: int, stopping: mmap.mmap) -> None:
    global _stopping
    _stopping = stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """Has Linux end this process when ``parent``, the process that started it, is killed.

    It would otherwise wait for work, or work, for ever.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before prctl took effect
            os._exit(1)
