"""What Spark raises, as one message that says what to do."""

import contextlib
import re
from typing import Iterator

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from shelfdet import UserError
from shelfdet.core.make_variables import both
from shelfdet.inference.spark import storage

RESUME = (
    "Batches that were complete are kept: correct the cause, then run the command again, and it "
    "continues from there."
)


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns exceptions of Spark into UserError. ``uri``: of the images, for the message."""
    try:
        yield
    except Py4JJavaError as error:
        raise UserError(message(uri, str(error), storage.reason_of(error))) from error
    except (PySparkException, Py4JError) as error:
        text = str(error)
        raise UserError(message(uri, text, text.strip().split("\n")[0])) from error
    except ConnectionError as error:
        raise UserError(f"Spark ended before the step ({error}). {RESUME}") from error


def message(uri: str, text: str, first_line: str) -> str:
    """The message for an exception.

    Args:
      uri: of the images.
      text: all of it, with the traceback of a worker where there is one.
      first_line: what Spark calls it.
    """
    if "PATH_NOT_FOUND" in text:
        path = re.search(r"Path does not exist: (.*?)\.?\s*(?:\n|$)", text)
        return (
            f"{both(f'--images {uri}')}: {path.group(1) if path else 'it'} does not exist; "
            "expected images that stay there until the step ends. Check the path."
        )
    versions = re.search(r"different version (\S+) than that in driver (\S+),", text)
    if versions:
        return (
            f"the workers' Python is {versions.group(1)}, that of the driver {versions.group(2)}; "
            f"expected the same. Give them this environment: {both('--archive')}. {RESUME}"
        )
    missing = re.search(r"No module named '?([\w.]+)'?", text)
    if missing or "Cannot run program" in text:
        what = f"no module {missing.group(1)}" if missing else "no Python at the driver's path"
        return (
            f"the workers have {what}; expected an environment as of `make setup`. Give them this "
            f"one: {both('--archive')}. {RESUME}"
        )
    raised = re.findall(
        r"^\s*(?:[a-z]\w*\.)*([A-Z]\w*(?:Error|Exception): .*)$", text, re.MULTILINE
    )
    return f"Spark's job failed: {raised[-1] if raised else first_line} {RESUME}"
