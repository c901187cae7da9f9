"""What the command lines of all scripts share: exit codes, signals, the parser, and options."""

import argparse
import contextlib
import difflib
import os
import pathlib
import re
import signal
import sys
import threading
from typing import Any, Callable, Iterator, NoReturn, Optional

from shelfdet import UserError
from shelfdet.core.make_variables import both_if_known
from shelfdet.core.text import parse_number

# For add_argument: the option's value is the path of a file, of a folder, or of either.
FILE = {"type": pathlib.Path, "metavar": "FILE"}
FOLDER = {"type": pathlib.Path, "metavar": "FOLDER"}
PATH = {"type": pathlib.Path, "metavar": "PATH"}

EXIT_INTERRUPTED = 130  # 128 + SIGINT, which shells expect of a program that Ctrl-C ended
POSTPONED_SECONDS = 0.01  # a signal that arrives where Python ignores exceptions
LARGEST_SEED = 2**32 - 1  # of numpy.random.RandomState
WEAKREF_MODULES = ("weakref.py", "_weakrefset.py")  # called when an object is gone
STOPPED = "\nstopped by Ctrl-C"


def run(main: Callable[[], Optional[int]]) -> None:
    """Runs ``main()`` and exits: 0, 1 with a one-paragraph message, or 130 after Ctrl-C.

    Args:
      main: callable without arguments that may return an exit status (None is 0).
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise_interrupt)
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


def _raise_interrupt(number, frame):
    """Raises KeyboardInterrupt, as Python's own handler of SIGINT does, but where it has effect."""
    if not _postponed(number, frame):
        raise KeyboardInterrupt


def _postponed(number, frame):
    """Sends the signal once more a moment later if Python would ignore an exception in ``frame``.

    It prints and ignores exceptions in a ``__del__``, and in what it calls when an object is gone:
    the program would not stop.
    """
    while frame is not None:
        module = os.path.basename(frame.f_code.co_filename)
        if module in WEAKREF_MODULES or _is_destructor(frame):
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
            signal.setitimer(signal.ITIMER_REAL, POSTPONED_SECONDS)
            return True
        frame = frame.f_back
    return False


def _is_destructor(frame):
    """Whether a frame runs the ``__del__`` of its first argument."""
    # By its code and not its name: TensorFlow's bindings have `__del__ = lambda self: None`.
    code = frame.f_code
    if not code.co_argcount:
        return False
    owner = frame.f_locals.get(code.co_varnames[0])
    return getattr(getattr(type(owner), "__del__", None), "__code__", None) is code


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

    def interrupt(number, frame):
        if _postponed(number, frame):
            return
        for later in handled:
            # Not SIG_IGN: child processes would inherit it and could no longer be ended.
            signal.signal(later, lambda *_: None)
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
            # To this thread: sent to the process, it may reach another one, and act later.
            signal.pthread_kill(threading.get_ident(), number)


def make_parser(docstring: Optional[str]) -> argparse.ArgumentParser:
    """A parser without options. Its --help begins with the script's docstring, lines as they are.

    Options cannot be abbreviated: each new option could make an abbreviation ambiguous.
    """
    return _Parser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line, which names the variable of `make` where that runs it."""

    def error(self, message: str) -> NoReturn:
        is_from_make = "MAKELEVEL" in os.environ  # make sets it for the programs that it runs
        shown = both_if_known if is_from_make else str
        message = re.sub(r"argument (--[\w-]+)", lambda found: shown(found.group(1)), message)
        if "unrecognized arguments" in message or "are required" in message:
            message += f" ({self.prog} --help lists the options)"
        self.exit(2, f"error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            *others, last = map(str, action.choices)
            expected = f"{', '.join(others)} or {last}" if others else last
            similar = difflib.get_close_matches(str(value), others + [last], 1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            raise argparse.ArgumentError(action, f"found {value}, expected {expected}{meant}")


def add_seed(parser: argparse.ArgumentParser, use: str) -> None:
    """Adds --seed, by default 0. ``use``: what is random."""
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help=f"{use} (default: %(default)s)"
    )


def add_positive(
    parser: argparse.ArgumentParser, option: str, default: int, use: str, unit: str = "N"
) -> None:
    """Adds an option for a whole number of at least 1. ``unit``: of the number, in the help."""
    parser.add_argument(
        option, type=positive, default=default, metavar=unit, help=f"{use} (default: %(default)s)"
    )


def positive(text: str) -> int:
    """A whole number of at least 1, as the ``type`` of an argparse option."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A whole number of at least 0, as the ``type`` of an argparse option."""
    return _at_least(0, text)


def seed(text: str) -> int:
    """A seed that NumPy takes, as the ``type`` of an argparse option."""
    if not _is_whole(text) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a whole number from 0 to {LARGEST_SEED}"
        )
    return int(text)


def _at_least(least: int, text: str) -> int:
    if not _is_whole(text) or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a whole number of at least {least}"
        )
    return int(text)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def finite(text: str) -> float:
    """A finite number, as the ``type`` of an argparse option: float() also takes nan and inf."""
    return _number(text, lambda number: True, "a finite number")


def above_zero(text: str) -> float:
    """A number above 0, as the ``type`` of an argparse option."""
    return _number(text, lambda number: number > 0, "a number above 0")


def score(text: str) -> float:
    """A number from 0 to 1, as the ``type`` of an argparse option."""
    return _number(text, lambda number: 0 <= number <= 1, "a score from 0 to 1")


def share(text: str) -> float:
    """A number above 0 and below 1, as the ``type`` of an argparse option."""
    return _number(text, lambda number: 0 < number < 1, "a number above 0 and below 1")


def aspect_ratio(text: str) -> float:
    """A width divided by a height, as the ``type`` of an argparse option."""
    return _number(text, lambda number: 0.05 <= number <= 20, "a number from 0.05 to 20")


def _number(text: str, is_valid: Callable[[float], bool], expected: str) -> float:
    number = parse_number(text)
    if number is None or not is_valid(number):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")
    return number
