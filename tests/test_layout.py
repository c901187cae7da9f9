"""Rules of the structure: layers and imports, what every script does, what is tracked."""

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
SCRIPTS = sorted(
    # Beside its scripts, experiments/ has modules that these share.
    [path for path in ROOT.glob("scripts/experiments/*.py") if "def parse(" in path.read_text()]
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
    "11_deploy",
    "12_predict_spark",
}
# Scripts in the folders of steps that are none of the sequence
BESIDE_THE_STEPS = {"pack_environment", "suspects"}

# Data flows down this list: a module imports its own layer and the layers below it.
LAYERS = ("evaluation", "training", "inference", "config", "anchors", "data", "core")

TENSORFLOW = {"tensorflow", "object_detection", "nets", "tf_slim"}
TENSORFLOW_LOADER = "shelfdet.core.tensorflow1"
# The other modules work without TensorFlow.
IMPORT_TENSORFLOW = {
    "core/tensorflow1",
    "data/label_map",
    "data/records",
    "config/checkpoint_files",
    "config/checks",
    "config/network",
    "config/pipeline",
    "config/record_checks",
    "inference/checkpoints",
    "inference/deployment/network",
    "inference/deployment/onnx_model",
    "inference/deployment/saved_model",
    "inference/detector",
    "inference/export",
    "inference/folding",
}
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
    """What ``path`` imports, as dotted names: {"shelfdet.core.boxes", "numpy", ...}.

    Without ``whole`` only the imports at its top level.
    """
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
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip(
            f"no git work tree, so what is tracked is unknown: {listed.stderr.decode().strip()}"
        )
    names = listed.stdout.decode("utf-8").split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


# --- who imports whom --------------------------------------------------------------------------


MODULES = sorted(PACKAGE.glob("*/**/*.py"))


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_modules_import_their_own_layer_and_those_below(path):
    layer = path.relative_to(PACKAGE).parts[0]
    assert layer in LAYERS
    assert layers_of(imports(path)) <= set(LAYERS[LAYERS.index(layer) :])


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_few_modules_import_tensorflow(path):
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    found = imports(path)
    loads_it = any(module.startswith(TENSORFLOW_LOADER) for module in found)
    imports_tensorflow = loads_it or bool(packages(found) & TENSORFLOW)
    assert imports_tensorflow == (name in IMPORT_TENSORFLOW)


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


def test_no_test_is_skipped_where_a_pinned_package_is_missing():
    # A comparison with object_detection has to fail where object_detection cannot be imported.
    skip = "importor" + "skip"
    for path in ROOT.glob("tests/**/*.py"):
        assert skip not in path.read_text(encoding="utf-8"), path


# --- scripts -----------------------------------------------------------------------------------


def test_the_steps_are_there():
    assert STEPS <= {path.stem for path in SCRIPTS}
    assert all(
        re.match(r"\d\d_", path.stem) or path.stem in BESIDE_THE_STEPS
        for path in SCRIPTS
        if path.parent in (EVALUATION, ROOT / "scripts" / "preprocessing")
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=identifier)
def test_help_answers_from_any_folder_and_loads_nothing_heavy(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(path)],
        cwd=str(tmp_path),
        capture_output=True,
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
def test_an_abbreviated_option_is_refused(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path), "--hel"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "error: " in done.stderr and "Traceback" not in done.stderr


# --- what is tracked ---------------------------------------------------------------------------


def test_no_tracked_file_names_a_path_of_somebodys_machine():
    # Written so that this line does not match itself. Only .ci/run knows where its machine keeps
    # the photographs.
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


def test_no_large_file_is_tracked_but_graphs_and_their_checkpoints():
    shipped = "workspace/training_demo/trained-inference-graphs/*/"
    start = "workspace/training_demo/pre-trained-model/ssd_inception_v2_sku110k_fast/"
    allowed = [
        shipped + "frozen_inference_graph.pb",
        shipped + "model.ckpt*",
        start + "model.ckpt*",
    ]
    large = [name for name in tracked() if (ROOT / name).stat().st_size > 2 * MEBIBYTE]
    assert not [
        name for name in large if not any(fnmatch.fnmatch(name, pattern) for pattern in allowed)
    ]


def test_no_photograph_and_no_annotation_is_tracked():
    suffixes = (".jpg", ".jpeg", ".record", ".csv")
    assert not [name for name in tracked() if name.lower().endswith(suffixes)]


def test_test_modules_have_different_names():
    # Their folders are no packages, so pytest imports two modules of one name as one.
    names = [path.name for path in ROOT.glob("tests/**/*.py")]
    assert len(names) == len(set(names))


# --- README ------------------------------------------------------------------------------------


def test_the_folders_that_readme_names_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## Folders\n+```\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
    folders = re.findall(r"(?<!\S)([\w/-]+/)(?=\s)", block)
    assert len(folders) > 8
    tracked_folders = {
        str(parent) + "/" for name in tracked() for parent in pathlib.PurePosixPath(name).parents
    }
    made = {"images/"}  # by step 01
    for folder in set(folders) - made:
        assert any(place.endswith("/" + folder) or place == folder for place in tracked_folders), (
            folder
        )


def test_the_top_level_is_as_ordered():
    top = {name.split("/")[0] for name in tracked() if not name.startswith(".")}
    assert top == {
        "LICENSE",
        "Makefile",
        "README.md",
        "docs",
        "image2products.json",
        "metrics.json",
        "models",
        "requirements.txt",
        "scripts",
        "tests",
        "workspace",
    }
