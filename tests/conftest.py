"""What the tests share: the scripts as modules, and the real photographs where there are any."""

import importlib.util
import os
import pathlib
import sys

import hypothesis
import pytest

# Made-up cases differ from run to run, and a new one may find an old mistake; where CI is set they are always the same.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def load_script(name):
    """The script ``name`` (without .py) as a module: most names start with a digit, so `import` cannot."""
    (path,) = list(ROOT.glob(f"scripts/**/{name}.py")) + list(
        ROOT.glob(f"workspace/*/evaluation/{name}.py")
    )
    spec = importlib.util.spec_from_file_location("script_" + name, str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script():
    return load_script


def _data(variable):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set: this test needs the real photographs")
    return pathlib.Path(folder).resolve()


@pytest.fixture
def shelf_data():
    """Folder with annotations.csv and ShelfImages/{train,test}, shorter side 640 px."""
    return _data("SHELF_DATA")


@pytest.fixture
def shelf_data_original():
    """The same at full size, where only some of the annotated images are there."""
    return _data("SHELF_DATA_ORIGINAL")
