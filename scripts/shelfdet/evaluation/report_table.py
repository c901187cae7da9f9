"""Tables of the evaluation report, all text."""

from typing import Any, Dict, NamedTuple, Optional

Table = Dict[str, Any]  # title, columns, rows and note
NO_VALUE = "\u2013"  # en dash


class Column(NamedTuple):
    """A figure of metrics.json as the page shows it."""

    key: str
    name: str
    digits: int
    note: str = ""


def number(value: Optional[float], digits: int) -> str:
    """The value with so many digits after the point."""
    return NO_VALUE if value is None else f"{value:,.{digits}f}"
