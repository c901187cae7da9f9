"""What the tests share: scripts as modules, and the real photographs where there are any.

Fixtures:
  script: loads a script by name, for tests of its options and output. Tests of logic import
    shelfdet instead.
  shelf_data, shelf_data_original: the Grocery Dataset; tests that need it are skipped without it.
  real_train_images: its training images as LabelledImages.
  report_folder: made images, their labels, detections and figures, and the report on them.
  browser: Chromium, driven by Selenium; tests that need it are skipped without it.
"""

import csv
import importlib.util
import inspect
import os
import pathlib
import signal
import sys

import hypothesis
import pytest

# Random cases differ from run to run, so that a new one may find an old mistake. In CI they are
# always the same. Some CI systems set CI to their name.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI", "").lower() not in ("", "0", "no", "false", "off"):
    hypothesis.settings.load_profile("ci")

# A shell starts programs in the background with SIGINT ignored, and their own programs inherit it.
# The tests of Ctrl-C need the handler of Python.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests run on all cores already. With more threads each, Intel's build of TensorFlow takes
# about a fifth more CPU time, which its threads spend waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# make sets it for the programs that it runs, such as these tests; messages depend on it.
os.environ.pop("MAKELEVEL", None)

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


# Files that take long for their number of tests. `pytest --dist loadfile` begins with the files of
# the most tests, and would end with these on one worker while the others have nothing to do.
LONG_FILES = (
    "tests/test_walkthrough.py",
    "tests/training/test_fine_tuning.py",
    "tests/inference/test_spark_cluster.py",
    "tests/config/test_anchor_advice.py",
    "tests/inference/test_export.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The scheduler of `--dist loadfile` with LONG_FILES first, in their order."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    assert all((ROOT / file).is_file() for file in LONG_FILES)

    class LongFilesFirst(LoadFileScheduling):
        def _assign_work_unit(self, node):
            waiting = [file for file in LONG_FILES if file in self.workqueue]
            if waiting:
                self.workqueue.move_to_end(waiting[0], last=False)
            super()._assign_work_unit(node)

    return LongFilesFirst(config, log)


# What a test does that gives the project wrong input and checks the message.
REFUSALS = ("pytest.raises(UserError", "pytest.raises(SystemExit", "refused(")


def pytest_collection_modifyitems(items):
    """Marks the tests of wrong input, which docs/troubleshooting.md counts."""
    for item in items:
        source = inspect.getsource(item.function)
        if any(refusal in source for refusal in REFUSALS):
            item.add_marker("wrong_input")


def load_script(name):
    """The script ``name`` (without .py) as a module: most names start with a digit.

    A fixture of module scope cannot use the fixture ``script`` and calls this.
    """
    (path,) = list(ROOT.glob(f"scripts/*/{name}.py")) + list(
        ROOT.glob(f"workspace/*/evaluation/{name}.py")
    )
    spec = importlib.util.spec_from_file_location("script_" + name, str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script():
    return load_script


def _folder_from_environment(variable):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set: this test needs the real photographs")
    return pathlib.Path(folder).resolve()


@pytest.fixture
def shelf_data():
    """Folder with annotations.csv and ShelfImages/{train,test}, shorter side 640 px."""
    return _folder_from_environment("SHELF_DATA")


@pytest.fixture
def shelf_data_original():
    """The same at full size, where only some of the annotated images are there."""
    return _folder_from_environment("SHELF_DATA_ORIGINAL")


@pytest.fixture
def real_train_images(shelf_data):
    """LabelledImages of the dataset's training images, read without the workspace's own reader."""
    import numpy as np
    from PIL import Image

    from shelfdet.data import labels

    folder = shelf_data / "ShelfImages" / "train"
    boxes_by_name = {}
    with open(str(shelf_data / "annotations.csv"), newline="") as file:
        for row in csv.reader(file):
            if (folder / row[0]).is_file():
                boxes_by_name.setdefault(row[0], []).append([float(value) for value in row[1:5]])
    images = []
    for name, rows in boxes_by_name.items():
        with Image.open(str(folder / name)) as image:
            size_wh = image.size
        images.append(labels.LabelledImage(name, size_wh, np.array(rows), ("product",) * len(rows)))
    return images


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory):
    """Folder with the files of tests/evaluation/report_example.py, for the tests of that folder."""
    import report_example

    folder = tmp_path_factory.mktemp("report")
    report_example.make_files(folder)
    return folder


@pytest.fixture(scope="session")
def browser():
    """Chromium of tests/evaluation/browsing.py, for the tests of that folder."""
    import browsing

    yield from browsing.started()
