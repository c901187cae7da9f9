"""make_variables.py: the table is what the Makefile does, and messages use it."""

import ast
import pathlib
import re

import pytest

from shelfdet.core import make_variables
from shelfdet.core.make_variables import both

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Names of the Makefile's own that are made of a variable's value
MADE_OF = {
    "CONFIG_FILE": "CONFIG",
    "GRAPH_FOLDER": "GRAPH",
    "GRAPH_NAME": "GRAPH",
    "RUN_FOLDER": "RUN_DIR",
    "START_FOLDER": "START",
}
# The config of step 10 is the one beside the graph; TensorBoard is no script of this workspace.
NOT_OF_A_VARIABLE = {("--config", "GRAPH"), ("--logdir", "CURVES")}


def test_the_table_is_what_the_makefile_passes_on():
    passed_on = re.findall(r"call option,(--[a-z-]+),\$\((?:or \$\()?([A-Z_]+)", MAKEFILE)
    found = {(option, MADE_OF.get(name, name)) for option, name in passed_on}
    assert found - NOT_OF_A_VARIABLE == set(make_variables.VARIABLES.items())


def test_the_flags_are_those_of_the_makefile():
    found = {
        option: name for name, option in re.findall(r"\$\(if \$\((\w+)\),(--[\w-]+)", MAKEFILE)
    }
    assert found == make_variables.FLAGS
    variables = (ROOT / "scripts" / "variables.mk").read_text(encoding="utf-8")
    names = re.search("^FLAGS := (.*)$", variables, re.MULTILINE).group(1).split()
    assert sorted(found.values()) == sorted(names)


def test_both_forms_of_an_option():
    assert both("--skip-bad") == "--skip-bad (make: SKIP_BAD=1)"
    assert both("--exif") == "--exif (make: EXIF=)"
    assert both("--exif apply") == "--exif apply (make: EXIF=apply)"
    assert both("--draw my folder") == "--draw my folder (make: DRAW='my folder')"
    with pytest.raises(KeyError):
        both("--unknown")


# Files whose messages name options alone. START, GRAPH and CONFIG of make take names, where these
# name paths; step 09 and 10 have options of these names that make does not pass on; and some
# messages state a command line of a script.
OPTIONS_ALONE = {
    "scripts/shelfdet/config/pipeline.py": {"--start-from"},
    "scripts/shelfdet/config/record_checks.py": {"--annotations", "--dataset", "--images"},
    "scripts/shelfdet/data/images.py": {"--max-side"},  # of step 08
    "scripts/shelfdet/data/layout.py": {"--images"},  # of steps 02 to 04
    "scripts/shelfdet/evaluation/detection_info.py": {"--graph-dir"},
    "scripts/shelfdet/evaluation/report.py": {"--threshold"},
    "scripts/shelfdet/evaluation/score_inputs.py": {"--threshold"},
    "scripts/shelfdet/inference/export.py": {"--config", "--output"},
    "scripts/shelfdet/inference/predict.py": {"--output"},
    "scripts/shelfdet/training/resume_checks.py": {"--start-from"},
    "scripts/shelfdet/training/resume_point.py": {"--start-from"},
    "scripts/shelfdet/training/run_notes.py": {"--start-from"},
    "scripts/training/07_export_inference_graph.py": {"--output"},
    "workspace/training_demo/evaluation/09_score.py": {
        "--dataset",
        "--graph-dir",
        "--output",
        "--threshold",
    },
    "workspace/training_demo/evaluation/10_report.py": {"--config"},
}
SOURCES = [
    path
    for folder in (
        "scripts/shelfdet",
        "scripts/preprocessing",
        "scripts/training",
        "workspace/training_demo/evaluation",
    )
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "make_variables.py"
]


def options_alone(path):
    """The options of the table that strings of a file name without ``both``.

    Docstrings and what defines options are left out.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Str):
            left_out.add(node.value)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "both" or name.startswith("add_"):
                left_out.update(ast.walk(node))
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Str) and node not in left_out:
            found = re.findall(r"--[a-z][a-z-]*", node.s)
            named.update(option for option in found if option != node.s)  # a word of a command
    return named & (set(make_variables.VARIABLES) | set(make_variables.FLAGS))


def test_messages_name_the_variables_of_make_beside_options():
    found = {str(path.relative_to(ROOT)): options_alone(path) for path in SOURCES}
    assert {path: options for path, options in found.items() if options} == OPTIONS_ALONE
