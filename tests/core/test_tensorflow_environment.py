"""tensorflow_environment.py: the settings that TensorFlow reads when it is imported."""

import os
import pathlib
import subprocess
import sys

import pytest

from shelfdet.core import parallel, tensorflow_environment

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
NAMES = ("OMP_NUM_THREADS", "KMP_BLOCKTIME")


def test_what_the_user_has_set_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for name in ("KMP_BLOCKTIME", "KMP_SETTINGS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    tensorflow_environment.prepare(threads=2)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["KMP_BLOCKTIME"]) == ("7", "1")


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
