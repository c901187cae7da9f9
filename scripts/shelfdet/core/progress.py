"""The progress that all steps show: a bar on a terminal, lines in a log."""

import sys
import time
from typing import Iterable, Iterator, Optional, TypeVar

import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15  # where standard error is no terminal


def progress(
    iterable: Iterable[Item], description: str, total: Optional[int] = None, unit: str = ""
) -> Iterator[Item]:
    """Iterates over ``iterable`` and shows progress and the time left on standard error.

    On a terminal it is a bar, which disappears at the end. Elsewhere (a log file, CI) it is a line
    every SECONDS_BETWEEN_LINES; what takes less time prints none.

    Args:
      iterable: what to iterate over.
      description: what is being done, in one or two words ("random crops").
      total: number of items; needed only where ``iterable`` has no length.
      unit: what one item is, in the plural ("images").

    Returns:
      iterator over the items of ``iterable``.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    if not sys.stderr.isatty():
        return _with_lines(iterable, description, total, unit)
    return iter(
        tqdm.tqdm(
            iterable,
            desc=description,
            total=total,
            unit=f" {unit}" if unit else "it",
            leave=False,
        )
    )


def _with_lines(
    iterable: Iterable[Item], description: str, total: Optional[int], unit: str
) -> Iterator[Item]:
    began = printed = time.monotonic()
    for done, item in enumerate(iterable):
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES:
            printed = now
            line = f"{description}: {done}"
            if total is not None:
                line += f" of {total}"
            if unit:
                line += f" {unit}"
            if total is not None and done:
                line += f", {duration((now - began) / done * (total - done))} left"
            print(f"  {line}", file=sys.stderr, flush=True)
        yield item


def duration(seconds: float) -> str:
    """A time in hours, minutes and seconds: "1:02:03"."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
