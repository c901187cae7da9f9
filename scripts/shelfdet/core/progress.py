"""The progress bar that all steps show."""

from typing import Iterable, Iterator, Optional, TypeVar

import tqdm

Item = TypeVar("Item")


def progress(
    iterable: Iterable[Item], description: str, total: Optional[int] = None, unit: str = ""
) -> Iterator[Item]:
    """Iterates over ``iterable`` with a progress bar and the time left on standard error.

    Nothing is shown where standard error is not a terminal (a log file, CI). The bar disappears at
    the end.

    Args:
      iterable: what to iterate over.
      description: what is being done, in one or two words ("random crops").
      total: number of items; needed only where ``iterable`` has no length.
      unit: what one item is, in the plural ("images").

    Returns:
      iterator over the items of ``iterable``.
    """
    return iter(
        tqdm.tqdm(
            iterable,
            desc=description,
            total=total,
            unit=f" {unit}" if unit else "it",
            leave=False,
            disable=None,
        )
    )
