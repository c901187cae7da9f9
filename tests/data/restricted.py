"""Calls functions where the disk is full or the user lacks permissions."""

import contextlib
import multiprocessing
import os
import pathlib
import resource
import signal
import tempfile

from shelfdet import UserError


def in_child(function, *args):
    """Runs ``function`` in a forked process, because its restriction cannot be undone.

    Returns:
      the message of its UserError, or "no error".
    """

    def run(pipe):
        try:
            function(*args)
            pipe.send("no error")
        except UserError as error:
            pipe.send(str(error))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(theirs,))
    process.start()
    theirs.close()
    message = ours.recv()
    process.join()
    return message


@contextlib.contextmanager
def open_folder():
    """A temporary folder that every user may enter; only their owner may enter pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def with_full_disk(function, *args):
    """Calls ``function`` where no file can become larger than 100,000 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    function(*args)


def as_other_user(function, *args):
    """Calls ``function`` as a user who may not write what root may."""
    if os.geteuid() == 0:
        os.setuid(65534)
    function(*args)
