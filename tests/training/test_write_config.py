"""The script that writes a config: names, steps for the time there is, and no edit is lost."""

import pytest

from shelfdet import UserError
from shelfdet.config import writing
from shelfdet.core import paths
from shelfdet.training import workers


@pytest.fixture
def step(script, tmp_path, monkeypatch):
    """The script with a training folder of its own, without reading or searching anything."""
    monkeypatch.setattr(paths, "TRAINING", tmp_path)
    monkeypatch.setattr(writing, "read_dataset", lambda name: name)
    monkeypatch.setattr(writing, "choose_network", lambda dataset, seed: "network")
    monkeypatch.setattr(writing, "summary_lines", lambda *_: ["summary"])
    monkeypatch.setattr(writing, "tiles_line", lambda *_: None)
    monkeypatch.setattr(writing, "config_text", lambda *values: f"{values}")
    return script("write_config")


def test_the_config_has_the_name_of_the_dataset_or_its_own(step, tmp_path):
    step.main(["--dataset", "sku", "--steps", "300"])
    assert (tmp_path / "sku.config").read_text().startswith("('sku', 'sku', 'network', 300, ''")
    step.main(["--config", "mine", "--dataset", "sku", "--steps", "300"])
    assert (tmp_path / "mine.config").read_text().startswith("('mine', 'sku', 'network', 300, ''")
    step.main(["--config", "own", "--steps", "300"])
    assert (tmp_path / "own.config").read_text().startswith("('own', 'default', 'network'")


def test_a_config_that_is_there_is_kept(step, tmp_path):
    (tmp_path / "mine.config").write_text("edited")
    with pytest.raises(UserError, match="mine.config: is already there; .* OVERWRITE=1"):
        step.main(["--config", "mine", "--steps", "300"])
    assert (tmp_path / "mine.config").read_text() == "edited"
    step.main(["--config", "mine", "--steps", "300", "--overwrite"])
    assert (tmp_path / "mine.config").read_text() != "edited"


def test_a_config_needs_a_name(step, capsys):
    with pytest.raises(SystemExit):
        step.main([])
    assert "name the config with --config" in capsys.readouterr().err


@pytest.mark.parametrize(
    # By hand: 60 minutes less 1 are 3540 s, of which nine tenths are for 3186 steps of 1 s.
    "minutes, seconds, steps, expected_minutes",
    [(60, 1.0, 3180, 59.9), (60, 0.5, 6370, 60), (1, 1.0, 100, 2.85)],
)
def test_as_many_steps_as_there_is_time_for(step, minutes, seconds, steps, expected_minutes):
    timed = step.Timed(seconds, start_up=60.0, images=4)
    assert step.steps_for(minutes, timed) == steps
    assert step.minutes_for(steps, timed) == pytest.approx(expected_minutes, abs=0.05)


def test_the_included_detector_is_named_for_comparison(step, capsys):
    step.main(["--dataset", "sku", "--steps", "300"])
    command = f"make eval GRAPH={writing.START.name} NAME=sku TILES=auto\n"
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    # By hand: of 30 minutes 1566 s are for steps of 4 images, 6 or 1 of these a second.
    "minutes, seconds, timed_with",
    [(30, 4 / 6, [2]), (30, 4.0, [2, 1]), (10, 4 / 6, [1])],
)
def test_steps_are_timed_with_the_processes_of_the_training(
    step, monkeypatch, minutes, seconds, timed_with
):
    processes = []

    def time_steps(name, dataset, network, writing, number):
        processes.append(number)
        return step.Timed(seconds * 2 / number, 60.0, images=4)

    monkeypatch.setattr(step, "time_steps", time_steps)
    monkeypatch.setattr(workers, "choose", lambda images: 2 if images >= 5000 else 1)
    timed = step.time_training("sku", "dataset", "network", writing, minutes)
    assert processes == timed_with
    assert timed.step == seconds * 2 / timed_with[-1]
