"""What is wrong with a training config: findings, each with file, line, key, found, expected and the line to write."""

import collections
import re

from shelfdet.core import paths

ERROR = "error"  # training would fail, or learn something else than was asked
WARNING = "warning"  # training runs, and gets less than it could
NOTE = "note"  # nothing to mend here, only to know

Finding = collections.namedtuple("Finding", "severity path line key found expected write")
Finding.__doc__ = """One thing to mend.

severity: ERROR, WARNING or NOTE. path: the file. line: of the key or of the block that lacks it; None where a file has
no such line.
key: the full key, "train_config.num_steps". found, expected: in words. write: the line or lines to write, or what to
run; may be empty."""

_TOKEN = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_][\w.]*|[{}<>:;,\[\]]|\n|[^\s{}<>:;,\[\]]+"""
)


class Findings:
    """Collects Findings about the config at ``path`` with this ``text``; iterates over them, errors first."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self._lines = key_lines(text)
        self._items = []

    def error(self, key, found, expected, write="", path=None):
        self._add(ERROR, key, found, expected, write, path)

    def warning(self, key, found, expected, write="", path=None):
        self._add(WARNING, key, found, expected, write, path)

    def note(self, key, found, expected, write="", path=None):
        self._add(NOTE, key, found, expected, write, path)

    def __iter__(self):
        return iter(
            sorted(self._items, key=lambda finding: (ERROR, WARNING, NOTE).index(finding.severity))
        )

    def about(self, key):
        """True if anything was found at ``key`` or under it."""
        return any((finding.key + ".").startswith(key + ".") for finding in self._items)

    def count(self, severity):
        return sum(finding.severity == severity for finding in self._items)

    def _add(self, severity, key, found, expected, write, path):
        line = None if path else self._line(key)
        self._items.append(
            Finding(severity, paths.shown(path or self.path), line, key, found, expected, write)
        )

    def _line(self, key):
        key = ".".join(part if part.endswith("]") else part + "[0]" for part in key.split("."))
        while key and key not in self._lines:
            key = key.rpartition(".")[0]
        return self._lines.get(key)


def key_lines(text):
    """The line of each key of a text proto, every part of it counted: {"train_config[0].num_steps[0]": 12}."""
    lines, seen, stack, line = {}, collections.Counter(), [], 1
    key, value_next = "", False
    for token in _TOKEN.findall(text):
        if token == "\n":
            line += 1
        elif token.startswith("#") or token in ";,[]":
            continue
        elif token == ":":
            value_next = True
        elif token in "{<":
            stack.append(key)
            value_next = False
        elif token in "}>":
            stack = stack[:-1]
        elif value_next:
            value_next = False
        else:
            plain = ".".join(stack[-1:] + [token])
            key = f"{plain}[{seen[plain]}]"
            seen[plain] += 1
            lines[key] = line
    return lines


def as_text(finding):
    """A finding as a person reads it."""
    place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
    rows = [
        f"{finding.severity} {place}",
        f"  key       {finding.key}",
        f"  found     {finding.found}",
        f"  expected  {finding.expected}",
    ]
    if finding.write:
        rows.append("  write     {}".format("\n            ".join(finding.write.splitlines())))
    return "\n".join(rows)
