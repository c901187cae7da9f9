"""Allows one training at a time in a run's folder."""

import fcntl
import pathlib

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.make_variables import both

LOCK_FILE = ".lock"


class RunLock:
    """A context manager that allows one training at a time in a folder.

    The kernel releases the lock when the process that holds it ends, however it ends.
    """

    def __init__(self, run: pathlib.Path) -> None:
        """Makes the folder if needed and locks it.

        Raises:
          UserError: ``run`` is a file, cannot be written, or is locked by another process.
        """
        if run.is_file():
            raise UserError(
                f"{run}: is a file; expected a folder for the run. Name another with "
                f"{both('--run-dir')}."
            )
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._file = open(str(run / LOCK_FILE), "w")
        except OSError as error:
            raise UserError(files.writing_failed(run, error)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{run}: another training is running in this folder. Wait for it or stop it, or "
                f"name another folder with {both('--run-dir')}."
            ) from None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
