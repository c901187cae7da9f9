"""The Makefile: its targets, what each runs, and the options it passes on."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


EVERY_VARIABLE = (
    "IMAGES=x CONFIG=x RUN_DIR=x GRAPH=x START=x CHECKPOINT=x FROM=x SPLIT=x FOLD=0 SEED=0 "
    "VAL_SHARE=0.1 TEST_SHARE=0.2 EXIF=x DRAW=x ANNOTATIONS=x FORMAT=x ALLOW_MISSING=1 "
    "EMPTY_IMAGES=keep PAD=1 UNFOLDED=1 TILES=2 THRESHOLD=0.5 SKIP_BAD=1"
).split()


def make(*arguments):
    done = subprocess.run(
        ["make", "--no-print-directory"] + list(arguments),
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def targets():
    text = (ROOT / "Makefile").read_text()
    named = re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE).group(1).split()
    assert sorted(named) == sorted(set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)))
    return named


def test_bare_make_lists_every_target_with_one_line():
    lines = make().splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(targets())
    assert all(re.match(r"  make [a-z-]+ +\S.{5,}", line) and len(line) <= 140 for line in lines)


@pytest.mark.parametrize("target", targets())
def test_every_file_that_make_runs_is_there_and_knows_its_options(target):
    commands = make("--dry-run", target, *EVERY_VARIABLE).replace("\\\n", " ")
    for script, options in re.findall(
        r"^(?:\S*/python|@?.*\bbash) (\S+\.(?:py|sh))(.*)$", commands, re.MULTILINE
    ):
        assert (ROOT / script).is_file()
        text = (ROOT / script).read_text(encoding="utf-8")
        if "options.add" in text:  # those that steps 01 and 02 share
            text += (ROOT / "scripts/shelfdet/data/options.py").read_text(encoding="utf-8")
        for option in re.findall(r"(--[a-z-]+)", options):
            assert f'"{option}"' in text, f"{script} does not know {option}"


@pytest.mark.parametrize(
    "options, graph",
    [
        ([], None),
        (["CONFIG=my configs/mine.config"], "mine"),
        (["RUN_DIR=/data/my runs/first/"], "first"),
        (["CONFIG=mine.config", "RUN_DIR=runs/first"], "first"),
        (["CONFIG=mine.config", "GRAPH=best"], "best"),
    ],
)
def test_a_config_or_run_of_ones_own_leaves_the_shipped_graph_alone(options, graph):
    folder = f"workspace/training_demo/trained-inference-graphs/{graph}"
    exported = make("--dry-run", "export", *options)
    used = "".join(
        make("--dry-run", target, "IMAGES=x", *options) for target in ("eval", "report", "predict")
    )
    if graph is None:
        assert "--name" not in exported and "trained-inference-graphs" not in used
    else:
        assert f'--name "{graph}"' in exported
        assert re.findall(r'--(?:graph|graph-dir|config) "(.*?)"', used) == [
            folder,
            folder,
            folder,
            folder + "/pipeline.config",
            folder,
        ]


@pytest.mark.parametrize(
    "given, file",
    [
        ("mine", "workspace/training_demo/training/mine.config"),
        ("mine.config", "workspace/training_demo/training/mine.config"),
        ("my configs/mine.config", "my configs/mine.config"),
        ("workspace/training_demo/training/demo.config",) * 2,
    ],
)
def test_config_is_a_name_or_a_path(given, file):
    for target in ("anchors", "check", "train"):
        assert f'--config "{file}"' in make("--dry-run", target, f"CONFIG={given}")
    run = f"workspace/training_demo/training/{pathlib.Path(file).stem}"
    assert f'--run-dir "{run}"' in make("--dry-run", "export", f"CONFIG={given}")


def test_without_config_the_scripts_defaults_are_used():
    for target in ("anchors", "check", "train", "export", "eval", "report", "predict"):
        commands = make("--dry-run", target, "IMAGES=x")
        assert not re.search("--(config|run-dir|name|graph|graph-dir) ", commands)


def test_data_passes_its_options_on():
    commands = (
        make(
            "--dry-run",
            "data",
            "FROM=a",
            "ANNOTATIONS=b",
            "FORMAT=coco",
            "EXIF=apply",
            "ALLOW_MISSING=1",
            "EMPTY_IMAGES=keep",
            "SEED=1",
            "TEST_SHARE=0.3",
            "VAL_SHARE=0.2",
            "BAD_BOXES=drop",
        )
        .replace("\\\n", " ")
        .splitlines()
    )
    given = [sorted(re.findall(r"--[a-z-]+", command)) for command in commands if ".py" in command]
    assert given == [
        [
            "--allow-missing",
            "--annotations",
            "--bad-boxes",
            "--empty-images",
            "--exif",
            "--format",
            "--from",
            "--seed",
            "--test-share",
            "--val-share",
        ],
        ["--allow-missing", "--bad-boxes", "--empty-images", "--exif", "--seed", "--val-share"],
        ["--exif"],
    ]


@pytest.mark.parametrize("refuses", ["*/01_*", "*/02_*"])
def test_data_keeps_old_label_files_until_their_step_replaces_them(tmp_path, refuses):
    python = tmp_path / "python"  # stands in for all steps
    python.write_text(f"#!/bin/sh\ncase $1 in {refuses}) exit 1;; esac\n")
    python.chmod(0o755)
    names = [
        split + ending
        for split in ("train", "val", "test")
        for ending in ("_labels.csv", ".record")
    ]
    for name in names + ["mine.csv"]:
        (tmp_path / name).write_text("")
    done = subprocess.run(
        ["make", "data", f"PYTHON_HERE={python}", f"LABELS={tmp_path}"],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode and "04_generate_tfrecords.py" not in done.stdout, done.stdout
    assert (tmp_path / "mine.csv").exists()
    assert all((tmp_path / name).exists() for name in names)


def test_clean_removes_only_what_the_steps_make():
    files = re.findall(r"^rm -f (.*)$", make("--dry-run", "clean"), re.MULTILINE)[0].split()
    assert {pathlib.PurePath(name).name for name in files} == {
        split + ending
        for split in ("train", "val", "test")
        for ending in ("_labels.csv", ".record")
    }
    assert "*" not in make("--dry-run", "clean")


def test_every_target_sets_up_first():
    for target in set(targets()) - {"help", "clean"}:
        assert "scripts/setup.sh" in make("--dry-run", target, "IMAGES=x")
