"""The rules of the house: who imports whom, what every script owes, what is tracked, and that README's tree is true."""

import ast
import fnmatch
import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "scripts" / "shelfdet"
EVALUATION = ROOT / "workspace" / "training_demo" / "evaluation"
EXPERIMENTS = {"ablations", "benchmarks", "label_noise", "reproduce"}
SCRIPTS = sorted(
    [path for path in ROOT.glob("scripts/experiments/*.py") if path.stem in EXPERIMENTS]
    + list(ROOT.glob("scripts/preprocessing/*.py"))
    + list(ROOT.glob("scripts/training/*.py"))
    + list(EVALUATION.glob("*.py"))
)
STEPS = {
    "00_make_demo_shelves",
    "01_fetch_dataset",
    "02_split_annotations",
    "03_estimate_anchors",
    "04_generate_tfrecords",
    "05_check_config",
    "06_train",
    "07_export_inference_graph",
    "08_detect",
    "09_score",
    "10_report",
}

# Data flows down this list: a module imports its own layer and the layers below it.
LAYERS = ("evaluation", "training", "inference", "config", "anchors", "data", "core")

TENSORFLOW = {"tensorflow", "object_detection", "nets", "tf_slim"}
# The rest of the package works without TensorFlow; these import it inside functions, or are imported inside functions.
MAY_IMPORT_TENSORFLOW = ("core/tensorflow1", "config/", "data/records", "inference/", "training/")
HEAVY = TENSORFLOW | {"pandas", "matplotlib", "scipy", "PIL", "numpy"}

FIRST_LINES = 'import runpy, sys, json; sys.argv = [sys.argv[1], "--help"]\n'
HELP = (
    FIRST_LINES
    + """
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(json.dumps({"status": end.code, "modules": sorted(sys.modules)}))
"""
)

MEBIBYTE = 2**20


def identifier(path):
    return str(path.relative_to(ROOT))


def imports(path, whole=True):
    """What ``path`` imports, as dotted names: {"shelfdet.boxes", "numpy", ...}; without ``whole`` only at its top level."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(module) if whole else module.body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def layers_of(found):
    """The layers of shelfdet that the dotted names of ``imports`` belong to."""
    return {name.split(".")[1] for name in found if name.startswith("shelfdet.")} - {"UserError"}


def packages(found):
    return {name.split(".")[0] for name in found}


def tracked():
    """The files that are, or would be, committed: paths from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if listed.returncode:
        pytest.skip(
            f"no git work tree here, so nothing says what is tracked: {listed.stderr.decode().strip()}"
        )
    names = listed.stdout.decode("utf-8").split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


# --- who imports whom ------------------------------------------------------------------------------------------------


MODULES = sorted(PACKAGE.glob("*/**/*.py"))


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_modules_import_their_own_layer_and_those_below(path):
    layer = path.relative_to(PACKAGE).parts[0]
    assert layer in LAYERS
    assert layers_of(imports(path)) <= set(LAYERS[LAYERS.index(layer) :])


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_few_modules_import_tensorflow(path):
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    if not name.startswith(MAY_IMPORT_TENSORFLOW):
        assert not packages(imports(path)) & TENSORFLOW


@pytest.mark.parametrize("path", SCRIPTS, ids=identifier)
def test_scripts_import_no_script_and_nothing_heavy_at_the_top(path):
    others = {script.stem for script in SCRIPTS}
    assert not packages(imports(path)) & others
    assert not packages(imports(path, whole=False)) & HEAVY


def test_there_are_no_star_imports_and_no_utils():
    for path in (
        list(ROOT.glob("scripts/**/*.py"))
        + list(ROOT.glob("tests/**/*.py"))
        + list(EVALUATION.glob("*.py"))
    ):
        assert not any(name.endswith(".*") for name in imports(path)), path
        assert path.stem not in ("utils", "util", "helpers", "common"), path


# --- scripts ---------------------------------------------------------------------------------------------------------


def test_the_steps_are_there():
    assert STEPS <= {path.stem for path in SCRIPTS}
    assert all(
        re.match(r"\d\d_", path.stem)
        for path in SCRIPTS
        if path.parent in (EVALUATION, ROOT / "scripts" / "preprocessing")
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=identifier)
def test_help_answers_from_any_folder_and_loads_nothing_heavy(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(path)],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.stdout, done.stderr
    text, _, report = done.stdout.strip().rpartition("\n")
    report = json.loads(report)
    assert not report["status"]
    assert not set(report["modules"]) & HEAVY
    assert text.startswith("usage: " + path.name)
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring.splitlines()[0] in text, "--help shows the script's docstring"
    assert path.name in docstring, "the docstring shows the command line"


@pytest.mark.parametrize("path", SCRIPTS, ids=identifier)
def test_an_unknown_option_is_refused(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path), "--no-such-option"],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "allow_abbrev=False" in path.read_text(encoding="utf-8")


# --- make ------------------------------------------------------------------------------------------------------------


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
    assert sorted(named) == sorted(set(re.findall(r"^([a-z]+):", text, re.MULTILINE)))
    return named


def test_bare_make_lists_every_target_with_one_line():
    lines = make().splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(targets())
    assert all(re.match(r"  make [a-z]+ +\S.{5,}", line) and len(line) <= 140 for line in lines)


@pytest.mark.parametrize("target", targets())
def test_every_file_that_make_runs_is_there_and_knows_its_options(target):
    commands = make(
        "--dry-run",
        target,
        "IMAGES=x",
        "CONFIG=x",
        "RUN_DIR=x",
        "GRAPH=x",
        "START=x",
        "CHECKPOINT=x",
        "FROM=x",
        "SPLIT=x",
        "FOLD=0",
        "SEED=0",
        "VAL_SHARE=0.1",
        "TEST_SHARE=0.2",
        "EXIF=x",
        "DRAW=x",
        "ANNOTATIONS=x",
        "FORMAT=x",
        "ALLOW_MISSING=1",
        "EMPTY_IMAGES=keep",
        "PAD=1",
        "UNFOLDED=1",
        "TILES=2",
        "THRESHOLD=0.5",
        "SKIP_BAD=1",
    ).replace("\\\n", " ")
    for script, options in re.findall(
        r"^(?:\S*/python|@?.*\bbash) (\S+\.(?:py|sh))(.*)$", commands, re.MULTILINE
    ):
        assert (ROOT / script).is_file()
        text = (ROOT / script).read_text(encoding="utf-8")
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
    given = [
        sorted(re.findall(r"--[a-z-]+", command))
        for command in commands
        if ".py" in command and "--check-options" not in command
    ]
    assert given == [
        [
            "--allow-missing",
            "--annotations",
            "--empty-images",
            "--format",
            "--from",
            "--seed",
            "--test-share",
        ],
        ["--allow-missing", "--bad-boxes", "--empty-images", "--exif", "--seed", "--val-share"],
        ["--exif"],
    ]


@pytest.mark.parametrize(
    "refuses, left", [("--check-options", True), ("*/01_*", True), ("*/02_*", False)]
)
def test_data_keeps_old_label_files_until_new_images_are_in_place(tmp_path, refuses, left):
    python = (
        tmp_path / "python"
    )  # stands in for all steps; the last word of 02's first call is --check-options
    python.write_text(
        f"#!/bin/sh\nfor last; do :; done\ncase $last in --check-options) set -- $last;; esac\ncase $1 in {refuses}) exit 1;; esac\n"
    )
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
    assert ("01_fetch" in done.stdout) == (refuses != "--check-options"), (
        "options are looked at before anything is fetched"
    )
    assert (tmp_path / "mine.csv").exists()
    assert {(tmp_path / name).exists() for name in names} == {left}


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


# --- what is tracked -------------------------------------------------------------------------------------------------


def test_no_tracked_file_names_a_path_of_somebodys_machine():
    # Written so that this line does not match itself. Only .ci/run knows where its machine keeps the photographs.
    machine_path = re.compile(
        r"(?<![\w.$}/-])/(?:root|work|home/\w+|Users/\w+)\b(?![\w-])|\.\./shared"
    )
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if name != ".ci/run":
            found += [
                f"{name}: {match.group()}"
                for match in machine_path.finditer(text)
                if name != "tests/test_layout.py"
            ]
    assert not found


def test_no_large_file_is_tracked_but_the_graph_and_its_checkpoint():
    shipped = "workspace/training_demo/trained-inference-graphs/*/"
    allowed = [shipped + "frozen_inference_graph.pb", shipped + "model.ckpt*"]
    large = [name for name in tracked() if (ROOT / name).stat().st_size > 2 * MEBIBYTE]
    assert not [
        name for name in large if not any(fnmatch.fnmatch(name, pattern) for pattern in allowed)
    ]


def test_no_photograph_and_no_annotation_is_tracked():
    suffixes = (".jpg", ".jpeg", ".record", ".csv")
    assert not [name for name in tracked() if name.lower().endswith(suffixes)]


# --- README ----------------------------------------------------------------------------------------------------------


def readme_tree():
    """The entries of the tree in README.md: paths from the root; a folder ends in "/".

    The tree is the fenced block in which a line starts with "Makefile". An entry's place is told by its indentation; its
    description, and the further lines of it, stand at least two blanks after its name.
    """
    blocks = re.findall(
        r"^```\w*\n(.*?)^```",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    trees = [block for block in blocks if re.search(r"^Makefile\b", block, re.MULTILINE)]
    assert len(trees) == 1, "README.md holds one fenced block with the tree"
    entries, folders = [], []  # folders: (indentation, name) of those the line lies in
    for line in trees[0].splitlines():
        indentation = len(line) - len(line.lstrip())
        if not line.strip() or indentation > 8:
            continue
        name = line.split()[0]
        while folders and folders[-1][0] >= indentation:
            folders.pop()
        entries.append("".join(folder for _, folder in folders) + name)
        if name.endswith("/"):
            folders.append((indentation, name))
    return entries


def test_readmes_tree_is_what_is_tracked():
    files = tracked()
    entries = readme_tree()
    top = {name.split("/")[0] for name in files if not name.startswith(".")}
    assert {entry.split("/")[0] for entry in entries if not entry.startswith(".")} == top
    scripts = {
        name
        for name in files
        if name.startswith(("scripts/", "workspace/"))
        and name.endswith((".py", ".sh", ".config", ".html"))
    }
    scripts -= {name for name in files if "trained-inference-graphs" in name}
    assert scripts <= set(entries), "tracked, but not in README's tree"
    for entry in entries:
        if re.search(r"[*{<]", entry):
            continue
        there = entry in files or any(
            name.startswith(entry) for name in files if entry.endswith("/")
        )
        assert there or is_ignored(entry), "in README's tree, but not there: " + entry


def is_ignored(entry):
    """Whether git ignores ``entry``: a folder that the steps make."""
    inside = entry + "anything" if entry.endswith("/") else entry
    return subprocess.run(["git", "check-ignore", "-q", inside], cwd=str(ROOT)).returncode == 0
