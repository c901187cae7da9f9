"""One function over many files, on all cores, in order, with a bounded number under way."""

import collections
import concurrent.futures
import os
import signal


def workers():
    """How many processes this machine runs at once (the cores this process may use)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Worker processes that are forked at once, before TensorFlow, whose threads do not survive a fork, is imported.

    Use as a context manager; ``map`` streams, so that memory does not grow with the number of items.
    """

    def __init__(self):
        self._count = workers()
        self._pool = concurrent.futures.ProcessPoolExecutor(
            self._count, initializer=_ignore_interrupt
        )
        # The pool forks on its first task: give it one for each worker now.
        concurrent.futures.wait([self._pool.submit(os.getpid) for _ in range(self._count)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown()

    def map(self, function, items):
        """Yields ``function(*item)`` for each tuple of ``items``, in order; at most four results a worker wait.

        Args:
          function: a function of a module (it is sent to the workers by name).
          items: iterable of tuples of arguments.

        Raises:
          whatever ``function`` raised first, at its place in the order.
        """
        pending = collections.deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, *item))
                if len(pending) >= 4 * self._count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _ignore_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
