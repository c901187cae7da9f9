"""command_line.py: exit statuses and messages. tests/core/test_steps.py covers interrupt_once."""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from shelfdet import UserError
from shelfdet.core import command_line

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


def exit_status(main):
    with pytest.raises(SystemExit) as ended:
        command_line.run(main)
    return ended.value.code


def raises(error):
    def main():
        raise error

    return main


def test_a_command_exits_with_the_status_of_main():
    assert exit_status(lambda: None) is None
    assert exit_status(lambda: 3) == 3


def test_a_user_error_is_one_message_without_a_traceback():
    assert exit_status(raises(UserError("a.csv: line 2: found x"))) == (
        "error: a.csv: line 2: found x"
    )


def test_ctrl_c_exits_with_130(capsys):
    assert exit_status(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nstopped by Ctrl-C\n"


def test_ctrl_c_while_a_script_imports_its_modules():
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import command_line
raise KeyboardInterrupt
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (130, "\nstopped by Ctrl-C\n")


@pytest.mark.parametrize("first_line", ["", "command_line.interrupt_once()"])
@pytest.mark.parametrize("last_line", ["Key()", "weak[Key()] = Key()"])
def test_ctrl_c_where_python_ignores_exceptions(first_line, last_line):
    """In a destructor, and where a dictionary of weak references removes an object that is gone."""
    code = f"""
import os, signal, sys, time, weakref
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import command_line

class Key:
    hashed = 0
    def __hash__(self):
        Key.hashed += 1
        if Key.hashed == 2:  # once to add it, once to remove it
            os.kill(os.getpid(), signal.SIGINT)
        return 1
    __del__ = lambda self: Key.hashed or os.kill(os.getpid(), signal.SIGINT)

def main():
    {first_line}
    weak = weakref.WeakValueDictionary()
    {last_line}
    time.sleep(10)

command_line.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (130, "\nstopped by Ctrl-C\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_a_short_block(number):
    events = []

    def interrupt(*_):
        events.append("interrupted")

    before = signal.signal(number, interrupt)
    try:
        with command_line.interrupts_delayed():
            os.kill(os.getpid(), number)
            events.append("block")
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert events == ["block", "interrupted"]


NUMBER = "expected a whole number of at least"
SHARE = "expected a number above 0 and below 1"
SEED = "expected a whole number from 0 to 4294967295"
SCORE = "expected a score from 0 to 1"
NO_NUMBER = ["nan", "inf", "half", ""]


@pytest.mark.parametrize(
    "convert, refused, expected",
    [
        (command_line.positive, ["0", "-1", "1.5", "two", "", "²", "٣"], f"{NUMBER} 1"),
        (command_line.not_negative, ["-1", "1.5", "two", ""], f"{NUMBER} 0"),
        (command_line.seed, ["-1", "4294967296", "1.5", "two", ""], SEED),
        (command_line.finite, NO_NUMBER, "expected a finite number"),
        (command_line.above_zero, ["0", "-0.5"] + NO_NUMBER, "expected a number above 0"),
        (command_line.score, ["-0.1", "1.1"] + NO_NUMBER, SCORE),
        (command_line.share, ["0", "1", "-0.5"] + NO_NUMBER, SHARE),
    ],
)
def test_types_of_options_refuse_other_values(convert, refused, expected):
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError) as error:
            convert(text)
        assert str(error.value) == f"found {text!r}, {expected}"


def test_types_of_options_return_the_number():
    assert command_line.positive("12") == 12
    assert command_line.not_negative("0") == 0
    assert command_line.share("0.25") == 0.25
    assert command_line.seed("4294967295") == 2**32 - 1
    assert command_line.finite("-2.5") == -2.5
    assert command_line.above_zero("0.5") == 0.5
    assert (command_line.score("0"), command_line.score("1")) == (0, 1)


def test_a_parser_shows_the_docstring_and_takes_options_by_their_whole_names(capsys):
    parser = command_line.make_parser("First line.\n\n    an indented line")
    parser.add_argument("--run-dir", **command_line.FOLDER)
    command_line.add_seed(parser, "of the search")
    command_line.add_positive(parser, "--wait-seconds", 3, "before the next try", unit="S")
    assert parser.parse_args(["--run-dir", "a"]).run_dir == pathlib.Path("a")
    assert (parser.parse_args([]).seed, parser.parse_args([]).wait_seconds) == (0, 3)
    assert "First line.\n\n    an indented line\n" in parser.format_help()
    assert "--run-dir FOLDER" in parser.format_help()
    assert "of the search (default: 0)" in parser.format_help()
    assert re.search(r"--wait-seconds S +before the next try \(default: 3\)", parser.format_help())
    for options, message in (
        (["--run", "a"], "unrecognized arguments: --run a"),
        (["--seed", "-1"], f"--seed: found '-1', {SEED}"),
        (["--wait-seconds", "0"], f"--wait-seconds: found '0', {NUMBER} 1"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(options)
        assert message in capsys.readouterr().err


@pytest.fixture
def parser():
    parser = command_line.make_parser("A script.")
    parser.add_argument("--threshold", type=command_line.score)
    parser.add_argument("--save-seconds", type=command_line.positive)
    parser.add_argument("--bad-boxes", choices=("refuse", "drop"))
    parser.add_argument("--fold", type=command_line.not_negative, choices=range(4))
    return parser


@pytest.mark.parametrize(
    "options, by_script, by_make",
    [
        (
            ["--threshold=abc"],
            f"--threshold: found 'abc', {SCORE}",
            f"--threshold (make: THRESHOLD=): found 'abc', {SCORE}",
        ),
        (
            ["--bad-boxes=drp"],
            "--bad-boxes: found drp, expected refuse or drop; did you mean drop?",
            "--bad-boxes (make: BAD_BOXES=): found drp, expected refuse or drop; did you mean "
            "drop?",
        ),
        (
            ["--fold=9"],
            "--fold: found 9, expected 0, 1, 2 or 3",
            "--fold (make: FOLD=): found 9, expected 0, 1, 2 or 3",
        ),
        (["--save-seconds=no"], f"--save-seconds: found 'no', {NUMBER} 1", None),
    ],
)
def test_a_wrong_option_is_one_line_in_the_users_form(
    parser, capsys, monkeypatch, options, by_script, by_make
):
    for level, expected in ((None, by_script), ("1", by_make or by_script)):
        monkeypatch.delenv("MAKELEVEL", raising=False)
        if level:
            monkeypatch.setenv("MAKELEVEL", level)
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(options)
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: {expected}\n"


def test_an_unknown_option_names_the_help(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--treshold=0.5"])
    err = capsys.readouterr().err
    assert err.startswith("error: unrecognized arguments: --treshold=0.5 (")
    assert err.endswith(" --help lists the options)\n")
