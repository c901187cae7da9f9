"""make_variables.py: the table is what the Makefile does, and messages use it."""

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
