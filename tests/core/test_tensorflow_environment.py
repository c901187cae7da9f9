"""tensorflow_environment.py: the settings that TensorFlow reads when it is imported."""

import os
import pathlib
import subprocess
import sys

import pytest

from shelfdet.core import parallel, tensorflow_environment

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
NAMES = ("OMP_NUM_THREADS", "KMP_BLOCKTIME")


@pytest.fixture
def prepare(monkeypatch):
    """``prepare`` in an environment where the user has set OMP_NUM_THREADS, and no other."""
    for name in [tensorflow_environment.MADE, *tensorflow_environment.variables(1)]:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    return tensorflow_environment.prepare


def test_what_the_user_has_set_is_kept(prepare):
    prepare(threads=2)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["KMP_BLOCKTIME"]) == ("7", "1")
    child = tensorflow_environment.of_child(threads=3, TF_CPP_MIN_LOG_LEVEL="1")
    assert (child["OMP_NUM_THREADS"], child["TF_CPP_MIN_LOG_LEVEL"]) == ("7", "1")


def test_the_first_one_to_prepare_a_process_decides(prepare, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    prepare(threads=1)
    prepare(threads=2)
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_process_does_not_take_the_threads_of_the_one_that_started_it(prepare, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    prepare(threads=2)
    assert tensorflow_environment.of_child(threads=3)["OMP_NUM_THREADS"] == "3"
    code = f"""
import os, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import tensorflow_environment
tensorflow_environment.prepare(threads=1)
print(os.environ["OMP_NUM_THREADS"])
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["1"]


@pytest.mark.parametrize("callers", [1, parallel.workers()])
def test_the_callers_of_a_detector_share_the_cores(tmp_path, callers):
    code = f"""
import os, pathlib, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet import UserError
from shelfdet.inference import runtimes
try:
    runtimes.load("tensorflow", pathlib.Path("no graph"), {callers})
except UserError:
    print(os.environ["OMP_NUM_THREADS"], "tensorflow" in sys.modules)
"""
    environment = {key: value for key, value in os.environ.items() if key not in NAMES}
    out = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert out.split() == [str(parallel.workers() // callers), "True"]
