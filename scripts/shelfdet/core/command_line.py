"""What the command lines of all scripts share: exit codes, signals, and types of options."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from typing import Callable, Iterator, Optional

from shelfdet import UserError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, which shells expect of a program that Ctrl-C ended
STOPPED = "\nstopped by Ctrl-C"


def run(main: Callable[[], Optional[int]]) -> None:
    """Runs ``main()`` and exits: 0, 1 with a one-paragraph message, or 130 after Ctrl-C.

    Args:
      main: callable without arguments that may return an exit status (None is 0).
    """
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")  # prints to standard error, and the status is 1
    except BrokenPipeError:
        # `... | head` has closed the pipe. Python flushes standard output once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _report_interrupt(kind, error, traceback):
    """Replaces the traceback of a Ctrl-C that came before ``run``: a script imports modules."""
    if issubclass(kind, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)  # after an exception hook, Python would exit with 1
    sys.__excepthook__(kind, error, traceback)


sys.excepthook = _report_interrupt


def interrupt_once() -> None:
    """Makes the first SIGINT or SIGTERM raise KeyboardInterrupt, and ignores all later ones.

    The terminal sends Ctrl-C to a program and to the programs it has started; the parent then ends
    its children, too. That second signal must not cut short the clean-up that the first began.
    """
    handled = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    ]

    def interrupt(*_):
        for number in handled:
            # Not SIG_IGN: child processes would inherit it and could no longer be ended.
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in handled:
        signal.signal(number, interrupt)


@contextlib.contextmanager
def interrupts_delayed() -> Iterator[None]:
    """Delays SIGINT and SIGTERM to the end of the block, which must be short.

    In other threads than the main one, where Python handles no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = []
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        # None is a handler that was not set by Python, and cannot be set again.
        if signal.getsignal(number) is not None:
            before[number] = signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received[:1]:
            os.kill(os.getpid(), number)


def positive(text: str) -> int:
    """A whole number of at least 1, as the ``type`` of an argparse option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)
