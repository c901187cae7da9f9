"""What the command lines of the scripts share: how they end, and the numbers they take."""

import argparse
import os
import signal
import sys

from shelfdet import UserError


def run(main):
    """Runs ``main()`` and exits as a well-behaved command: 0, 1 with a one-paragraph message, or 130 after Ctrl-C.

    Args:
      main: callable without arguments that may return an exit status (None is 0).
    """
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)


def end_once():
    """Makes `kill` end the program as Ctrl-C does, by KeyboardInterrupt, and only once: Ctrl-C reaches a program and what it runs
    alike, and the one then ends the other, too. That second signal must not cut short what the first made it tidy up and say.
    """

    def interrupt(*_):
        for number in caught:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    caught = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    for number in caught:
        signal.signal(number, interrupt)


def positive(text):
    """A whole number of at least 1, as the ``type`` of an argparse option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)
