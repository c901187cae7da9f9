"""progress.py: the items pass through; a bar on a terminal, and a line now and then in a log."""

import io
import itertools

import pytest

from shelfdet.core import progress as module
from shelfdet.core.progress import duration, progress


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock by which each item takes 10 seconds."""
    times = itertools.count(0, 10)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))


def test_what_takes_no_time_leaves_a_log_clean(capfd):
    assert list(progress(range(3), "counting", unit="images")) == [0, 1, 2]
    assert list(progress(iter("ab"), "counting", total=2)) == ["a", "b"]
    assert capfd.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then_with_the_time_left(capsys, slow_clock):
    assert list(progress("abcdef", "counting", unit="images")) == list("abcdef")
    # Item n has come after 10 n seconds, of which n - 1 items were done.
    assert capsys.readouterr().err.splitlines() == [
        "  counting: 1 of 6 images, 0:01:40 left",
        "  counting: 3 of 6 images, 0:00:40 left",
        "  counting: 5 of 6 images, 0:00:12 left",
    ]


def test_without_a_length_the_line_has_no_time_left(capsys, slow_clock):
    assert list(progress(iter("ab"), "reading")) == ["a", "b"]
    assert capsys.readouterr().err == "  reading: 1\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress("abc", "counting", unit="images")) == list("abc")
    assert "counting" in terminal.getvalue() and "/3" in terminal.getvalue()


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.9, 3723)] == ["0:00:00", "0:00:59", "1:02:03"]
