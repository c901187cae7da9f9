"""The line that names the next command: its variables are those of the run, and of the target."""

import os
import subprocess

import pytest

from shelfdet.core import next_step, paths

ROOT = paths.ROOT


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, "make eval"),
        ({"CONFIG": "mine", "NAME": None}, "make eval CONFIG=mine"),
        ({"CONFIG": paths.DEFAULT_CONFIG.stem, "NAME": paths.DEFAULT_DATASET}, "make eval"),
        ({"GRAPH": "my graphs/a$b"}, "make eval GRAPH='my graphs/a$b'"),
    ],
)
def test_command(values, expected):
    assert next_step.command("eval", **values) == expected


@pytest.mark.parametrize(
    "argv, expected",
    [
        ([], "make eval"),
        (["--dataset=mine", "--tiles", "2"], "make eval NAME=mine TILES=2"),
        (["--tiles=2", "--skip-bad", "--pad-strips"], "make eval TILES=2 PAD=1"),
        (["--config", str(paths.TRAINING / "mine.config")], "make eval CONFIG=mine"),
        (["--config=elsewhere/mine.config"], "make eval CONFIG=elsewhere/mine.config"),
        (["--graph", str(paths.GRAPHS / "one" / paths.GRAPH_FILE)], "make eval GRAPH=one"),
        (["--graph", str(paths.GRAPHS / "v1.5")], "make eval GRAPH=v1.5"),
        (["--quick", "--dataset=mine"], "make eval NAME=mine"),
        # Its results are not where the target reads.
        (["--out=elsewhere", "--dataset=mine"], None),
    ],
)
def test_the_variables_are_those_of_the_run(argv, expected):
    assert next_step.after(argv, "eval", ["SKIP_BAD", "--quick"]) == expected


def test_further_variables():
    assert next_step.after([], "eval", NAME="mine") == "make eval NAME=mine"


def test_options_of_this_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["02_split.py", "--dataset", "mine"])
    assert next_step.after(None, "data") == "make data NAME=mine"


def test_a_dataset_with_a_name_has_a_config_of_this_name(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "TRAINING", tmp_path)
    (tmp_path / "mine.config").write_text("")
    names = ("mine", "other", paths.DEFAULT_DATASET)
    assert [next_step.lacks_config(name) for name in names] == [False, True, False]
    assert next_step.after(["--dataset=other"], "config") == "make config NAME=other"


@pytest.mark.parametrize(
    "options, expected",
    [
        ([], "make train"),
        (["--dataset=other", "--tiles=2"], "make config NAME=other"),
        (["--dataset=mine"], "make train CONFIG=mine"),
        ([f"--config={paths.DEFAULT_CONFIG}", "--dataset=mine"], "make train CONFIG=mine"),
        (
            [f"--config={paths.SHIPPED_CONFIG}", "--dataset=mine"],
            f"make train CONFIG={paths.SHIPPED_CONFIG.stem}",
        ),
    ],
)
def test_step_03_names_the_config_of_its_dataset(script, tmp_path, monkeypatch, options, expected):
    monkeypatch.setattr(paths, "TRAINING", tmp_path)
    (tmp_path / "mine.config").write_text("")
    step = script("03_estimate_anchors")
    assert step.next_command(options, step.parse(options), ["TILES"]) == expected


def test_a_graph_is_named_as_its_config(tmp_path):
    assert next_step.of_graph(paths.SHIPPED_GRAPH) == {"CONFIG": paths.SHIPPED_GRAPH.name}
    assert next_step.of_graph(paths.GRAPHS / "early") == {"GRAPH": "early"}
    assert next_step.of_graph(tmp_path / "early") == {}
    assert next_step.of_graph(None) == {}


def test_the_line_is_left_out_where_make_runs_the_target_anyway(monkeypatch, capsys):
    monkeypatch.setenv(next_step.GOALS, "data train")
    for command in ("make train CONFIG=mine", "make export", None):
        next_step.show(command)
    assert capsys.readouterr().out == "next: make export\n"


def test_make_exports_its_goals(tmp_path):
    replaced = tmp_path / "replaced.mk"  # of two recipes for a target, make takes the second
    replaced.write_text(f"help:\n\t@echo goals $${next_step.GOALS}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    printed = subprocess.check_output(
        ["make", "-f", "Makefile", "-f", str(replaced), "help"],
        cwd=str(ROOT),
        env=environment,
        text=True,
    )
    assert printed == "goals help\n"


def test_the_targets_use_the_variables():
    used = subprocess.check_output(
        ["awk", "-f", "scripts/variables.awk", "Makefile"], cwd=str(ROOT), text=True
    ).split()
    for target, variables in next_step.TAKEN.items():
        assert {f"{target}:{variable}" for variable in variables} <= set(used)


def test_a_variable_that_the_target_does_not_take_is_a_mistake_of_the_program():
    with pytest.raises(AssertionError):
        next_step.command("report", TILES="2")


@pytest.mark.parametrize(
    "target, given", [("predict", {"IMAGES": "x"}), ("prelabel", {"FORMAT": "voc", "IMAGES": "x"})]
)
def test_what_a_target_takes_by_default_is_left_out_and_is_the_makefiles(target, given):
    def commands(variables):
        words = [f"{name}={value}" for name, value in variables.items()]
        environment = {key: value for key, value in os.environ.items() if key[:4] != "MAKE"}
        return subprocess.check_output(
            ["make", "-n", target, *words], cwd=str(ROOT), env=environment, text=True
        )

    defaults = next_step._DEFAULTS_OF[target]
    assert next_step.command(target, **given, **defaults) == next_step.command(target, **given)
    assert commands(dict(given, **defaults)) == commands(given)


def test_the_settings_of_detections_are_those_that_differ_from_the_steps_defaults(script):
    assert next_step.command("eval", **next_step.detection_settings({})) == "make eval"
    args = script("08_detect").parse(["--labels=a_labels.csv", f"--graph={paths.SHIPPED_GRAPH}"])
    usual = {"exif": args.exif, "tiles": args.tiles, "pad_strips": args.pad_strips}
    assert next_step.command("eval", **next_step.detection_settings(usual)) == "make eval"
    other = {"exif": "apply", "tiles": 2, "pad_strips": True, "runtime": "openvino"}
    assert next_step.command("eval", **next_step.detection_settings(other)) == (
        "make eval EXIF=apply PAD=1 RUNTIME=openvino TILES=2"
    )
