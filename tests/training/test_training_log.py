"""What a training shows: progress, and what to do when it fails."""

import io
import re

import pytest

from shelfdet.training import training_log

CRASH_LOG = """INFO:tensorflow:loss = 3.1, step = 1
Traceback (most recent call last):
  File "a.py", line 1
InvalidArgumentError: the cause

During handling of the above exception, another exception occurred:
Traceback (most recent call last):
ValueError: a follow-up error
"""


def crash_message(log, status=1):
    crash = training_log.CrashReport()
    for line in log.splitlines(keepends=True):
        crash.read(line)
    return crash.message(status, "train.log", "No checkpoint was saved yet.")


def test_a_crash_shows_its_first_traceback():
    message = crash_message(CRASH_LOG)
    assert "InvalidArgumentError: the cause" in message
    assert "follow-up" not in message
    assert "train.log: model_main.py ended with status 1" in message


def test_a_crash_without_a_traceback_shows_the_end_of_the_log():
    message = crash_message("first\n" + "line\n" * training_log.LINES_KEPT + "last\n")
    assert "last" in message
    assert "first" not in message


@pytest.mark.parametrize(
    "line, advice",
    [
        (
            "tensorflow.python.training.basic_session_run_hooks.NanLossDuringTrainingError: "
            "NaN loss during training.",
            "learning rate",
        ),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "ResourceExhaustedError: OOM when allocating tensor with shape[8,64,256,256]",
            "batch_size",
        ),
        ("InvalidArgumentError: Assign requires shapes of both tensors to match.", "--run-dir"),
        ("tensorflow.python.framework.errors_impl.DataLossError: corrupted record at 0", "step 04"),
        ("ValueError: unknown", "Step 05 finds the common mistakes"),
    ],
)
def test_a_known_crash_comes_with_advice(line, advice):
    assert advice in crash_message(f"Traceback (most recent call last):\n{line}\n")


def test_a_known_crash_is_shown_without_its_lines_of_code():
    message = crash_message(
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in save\n'
        "    save()\n"
        "OSError: [Errno 28] No space left on device\n"
        "\t [[node save]]\n"
    )
    assert "\nOSError: [Errno 28] No space left on device\n\t [[node save]]\n" in message
    assert "Traceback" not in message and "a.py" not in message


def test_a_killed_training_suspects_memory():
    assert "memory ran out" in crash_message("", status=-9)


def test_progress_shows_loss_rate_time_left_and_validation(capsys, monkeypatch):
    clock = iter(range(0, 10000, 100))
    monkeypatch.setattr(training_log.time, "time", lambda: next(clock))
    shown = training_log.Progress(0, 110)
    shown.read("INFO:tensorflow:loss = 12.5, step = 1\n")
    shown.read("INFO:tensorflow:loss = 2.5, step = 11 (20.1 sec)\n")
    shown.read(
        "INFO:tensorflow:Saving dict for global step 11: DetectionBoxes_Precision/mAP = 0.25, "
        "DetectionBoxes_Precision/mAP@.50IOU = 0.5, global_step = 11\n"
    )
    last = capsys.readouterr().out.splitlines()[-1]
    assert "training: step 11 of 110, loss 2.50, " in last
    assert " steps/s, " in last
    assert " left, validation AP 0.250 at step 11" in last


def test_the_time_of_evaluations_is_not_in_the_rate(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training_log.time, "time", lambda: now[0])
    shown = training_log.Progress(0, 111)

    def read(seconds, line):
        """``line``, that many seconds later; what was printed last."""
        now[0] += seconds
        shown.read(f"INFO:tensorflow:{line}\n")
        lines = capsys.readouterr().out.splitlines()
        return lines[-1] if lines else ""

    read(500, "Calling model_fn.")  # before the first loss: it is training's own
    read(500, "loss = 9.5, step = 1")
    assert "0.10 steps/s, 0:16:40 left" in read(100, "loss = 2.5, step = 11 (100 sec)")
    read(0, "Calling model_fn.")
    assert "evaluating: step 11 of 111, loss 2.50, 0.10 steps/s, 0:16:40 left" in read(
        70, "Starting evaluation at 2020-01-01"
    )
    last = read(9000, "Saving dict for global step 11: DetectionBoxes_Precision/mAP = 0.25")
    assert "0.10 steps/s, 0:16:40 left" in last
    assert "0.10 steps/s, 0:15:00 left" in read(100, "loss = 2.5, step = 21 (100 sec)")


def test_a_terminal_gets_a_bar_with_the_rate_and_the_loss(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    now = [0.0]
    monkeypatch.setattr(training_log.time, "time", lambda: now[0])
    shown = training_log.Progress(0, 111)
    shown.read("INFO:tensorflow:loss = 9.5, step = 1\n")
    now[0] = 100
    shown.read("INFO:tensorflow:loss = 2.5, step = 11 (100 sec)\n")
    shown.close()
    assert re.search(
        r"\rtraining: +10%\|.*\| 11/111 \[\S+, 0.10 steps/s, 0:16:40 left, loss 2.50\]",
        terminal.getvalue(),
    )


def test_lines_without_progress_are_not_shown(capsys):
    shown = training_log.Progress(5, 10)
    assert "building the graph: step 5 of 10" in capsys.readouterr().out
    shown.read("INFO:tensorflow:Graph was finalized.\n")
    assert not capsys.readouterr().out
