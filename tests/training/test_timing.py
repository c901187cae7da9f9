"""The time of a step, read from a log as TensorFlow writes it."""

import pytest

from shelfdet.training import timing


def log(tmp_path, seconds):
    path = tmp_path / "train.log"
    lines = [
        f"INFO:tensorflow:loss = 4.25, step = {number} ({value:.3f} sec)\nglobal_step/sec: 1.2"
        for number, value in enumerate(seconds, start=2)
    ]
    path.write_text("INFO:tensorflow:loss = 9.1, step = 1\n" + "\n".join(lines))
    return path


def test_the_median_without_the_first_steps(tmp_path):
    seconds = [30.0, 9.0, 5.0, 1.0, 1.1, 7.0]
    assert timing.seconds_per_step(log(tmp_path, seconds)) == pytest.approx(1.1)


def test_a_log_without_steps(tmp_path):
    assert timing.seconds_per_step(log(tmp_path, [])) is None
    assert timing.seconds_per_step(log(tmp_path, [1.0] * timing.STEPS_BEFORE)) is None


def test_the_steps_of_other_processes_count(tmp_path):
    path = tmp_path / "train.log"
    steps = range(1, 15, 2)  # the chief's, 3 seconds each: 1.5 for a step
    lines = [f"INFO:tensorflow:loss = 4, step = {step} (3.000 sec)" for step in steps]
    path.write_text("\n".join(lines))
    assert timing.seconds_per_step(path) == pytest.approx(1.5)
