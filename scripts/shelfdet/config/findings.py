"""Findings about a training config, each with line, key, found, expected and line to write."""

import collections
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from shelfdet.core import paths
from shelfdet.core.files import PathLike

ERROR = "error"  # training would fail, or train something else than the config's author intends
WARNING = "warning"  # training works, with a worse result than possible
NOTE = "note"  # nothing to change
SEVERITIES = (ERROR, WARNING, NOTE)

DELETE_LINE = "delete the line"

# What a text proto consists of: comments, strings, names, brackets and separators, line ends, other
# values such as numbers. Comments and strings come first because they may contain all the others.
_TOKEN = re.compile(
    r"\#[^\n]*"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|[A-Za-z_][\w.]*"
    r"|[{}<>:;,\[\]]"
    r"|\n"
    r"|[^\s{}<>:;,\[\]]+"
)


class Finding(NamedTuple):
    """One problem of a config.

    severity: ERROR, WARNING or NOTE. path: the file, as shown to a user. line: of the key, or of
    the innermost block that should hold it; None if the file has no such line. key: the full key,
    such as "train_config.num_steps". found, expected: in words. write: the line or lines to write,
    or the command to run; may be empty.
    """

    severity: str
    path: str
    line: Optional[int]
    key: str
    found: str
    expected: str
    write: str


class Findings:
    """Collects the findings about one config; iterates over them, errors first."""

    def __init__(self, path: PathLike, text: str) -> None:
        """path: of the config. text: its content, in which the lines of keys are looked up."""
        self.path = path
        self.text = text
        self._lines = key_lines(text)
        self._items: List[Finding] = []

    def error(
        self, key: str, found: str, expected: str, write: str = "", path: Optional[PathLike] = None
    ) -> None:
        """Adds an error; ``path`` names another file than the config."""
        self._add(ERROR, key, found, expected, write, path)

    def warning(
        self, key: str, found: str, expected: str, write: str = "", path: Optional[PathLike] = None
    ) -> None:
        """Adds a warning; ``path`` names another file than the config."""
        self._add(WARNING, key, found, expected, write, path)

    def note(self, key: str, found: str, expected: str) -> None:
        """Adds a note."""
        self._add(NOTE, key, found, expected, "", None)

    def __iter__(self) -> Iterator[Finding]:
        return iter(sorted(self._items, key=lambda item: SEVERITIES.index(item.severity)))

    def has(self, key: str) -> bool:
        """True if there is a finding at ``key`` or below it."""
        return any((item.key + ".").startswith(key + ".") for item in self._items)

    def count(self, severity: str) -> int:
        """Number of findings of this severity."""
        return sum(item.severity == severity for item in self._items)

    def _add(self, severity, key, found, expected, write, path):
        line = None if path else self._line(key)
        shown_path = paths.shown(path or self.path)
        self._items.append(Finding(severity, shown_path, line, key, found, expected, write))

    def _line(self, key):
        """The line of ``key``, or of the innermost enclosing block that the file has."""
        parts = [part if part.endswith("]") else part + "[0]" for part in key.split(".")]
        while parts:
            line = self._lines.get(".".join(parts))
            if line is not None:
                return line
            parts.pop()
        return None


def key_lines(text: str) -> Dict[str, int]:
    """The line of each key of a text proto.

    Every part of a key has its index, because blocks may be repeated:
    {"train_config[0].num_steps[0]": 12}.
    """
    lines = {}
    counts = collections.Counter()
    blocks = []  # full keys of the blocks that are open
    line = 1
    key = ""
    value_follows = False
    for token in _TOKEN.findall(text):
        if token == "\n":
            line += 1
        elif token.startswith("#") or token in ";,[]":
            continue
        elif token == ":":
            value_follows = True
        elif token in "{<":
            blocks.append(key)
            value_follows = False
        elif token in "}>":
            blocks = blocks[:-1]  # also right for a brace too many
        elif value_follows:
            value_follows = False
        else:
            name = ".".join(blocks[-1:] + [token])
            key = f"{name}[{counts[name]}]"
            counts[name] += 1
            lines[key] = line
    return lines


def as_text(finding: Finding) -> str:
    """A finding as step 05 prints it."""
    place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
    rows = [
        f"{finding.severity} {place}",
        f"  key       {finding.key}",
        f"  found     {finding.found}",
        f"  expected  {finding.expected}",
    ]
    label = "  write     "
    for written in finding.write.splitlines():
        rows.append(label + written)
        label = " " * len(label)
    return "\n".join(rows)


def field_text(message: Any, name: str) -> str:
    """A field of a message for a finding, such as "3" or "true (the default, not written)"."""
    value = getattr(message, name)
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}"
    if message.HasField(name):
        return text
    return f"{text} (the default, not written)"
