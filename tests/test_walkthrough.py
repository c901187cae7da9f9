"""The pipeline steps in their order on a tiny synthetic dataset, in a copy of the repository.

Each test continues where the one before it ended: run the whole file. Steps are started through
`make` as a user starts them, or as scripts from another folder. At the end git shows which tracked
files a user's training changes.
"""

import collections
import csv
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tiny_training
from shelfdet.core import paths

FIRST_STEPS = 6
ALL_STEPS = 9
SIDE = 128  # pixels of the network's input: feature maps of 8 x 8 and 4 x 4 cells
NAME = paths.DEFAULT_CONFIG.stem
# For folders that are given to make: neither make nor a shell may interpret anything in it.
ODD_NAME = "a \"b\" 'c' $d `touch executed` $(shell touch executed) \\e; (f)"
SECONDS = 900  # after which a step is taken to hang


class Workspace:
    """A copy of the repository in which `make setup` has been run, and how to start steps in it."""

    def __init__(self, folder):
        self.elsewhere = folder
        self.root = folder / "a repository"
        self.training_demo = self.root / paths.WORKSPACE.relative_to(paths.ROOT)
        self.config = self.root / paths.DEFAULT_CONFIG.relative_to(paths.ROOT)
        self.run_folder = self.training_demo / "training" / NAME
        self.graph = self.training_demo / "trained-inference-graphs" / NAME
        self.images = self.training_demo / "images" / "ShelfImages"

    def copy_repository(self):
        """Copies the files that are, or would be, committed, and commits them in the copy."""
        for name in tracked_files():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(paths.ROOT / name), str(self.root / name))
        (self.root / "scripts" / "setup.sh").write_text("exit 0\n")
        (self.root / "models" / "research").symlink_to(paths.RESEARCH)
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a", "commit", "--quiet", "--message", "a")

    def git(self, *options):
        done = subprocess.run(
            ["git"] + list(options), cwd=str(self.root), stdout=subprocess.PIPE, check=True
        )
        return done.stdout.decode()

    def changed_files(self):
        """What `git status --porcelain` lists, without the two columns of the status."""
        return {line[3:] for line in self.git("status", "--porcelain").splitlines()}

    def make(self, *arguments, status=0):
        """Runs a target to its end and returns what it printed, both streams."""
        command = ["make", "--no-print-directory", f"PYTHON_HERE={sys.executable}"]
        return run(command + list(arguments), self.root, status)

    def script(self, name, *options, status=0):
        """Runs a script, from a folder outside the repository."""
        (path,) = self.root.glob(f"*/**/{name}.py")
        return run([sys.executable, str(path)] + list(map(str, options)), self.elsewhere, status)

    def edit_config(self, *replacements):
        """Edits the user's config as by hand: each regular expression must be there."""
        text = self.config.read_text()
        for pattern, new in replacements:
            text, count = re.subn(pattern, new, text)
            assert count, pattern
        self.config.write_text(text)

    def boxes_per_image(self, split):
        """Counter of image to the number of its boxes in a label file."""
        path = self.training_demo / "annotations" / f"{split}_labels.csv"
        with open(str(path), newline="") as file:
            return collections.Counter(row["filename"] for row in csv.DictReader(file))


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=str(paths.ROOT),
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("no git repository: this test cannot know which files are tracked")
    names = listed.stdout.decode().split("\0")
    return [name for name in names if name and (paths.ROOT / name).is_file()]


def run(command, folder, status):
    process = subprocess.run(
        command,
        cwd=str(folder),
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", **tiny_training.QUICK_START),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert bool(process.returncode) == bool(status), process.stdout
    assert "Traceback" not in process.stdout, process.stdout
    return process.stdout


def next_commands(printed):
    """The commands with which steps end."""
    return re.findall(r"^next: (.*)$", printed, re.MULTILINE)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    copy = Workspace(tmp_path_factory.mktemp("walkthrough"))
    copy.copy_repository()
    return copy


def test_00_draws_shelves(workspace):
    printed = workspace.script("00_make_demo_shelves", "--out", ODD_NAME, "--train", 6, "--test", 2)
    assert "drew 6 train and 2 test images" in printed


def test_01_02_and_04_make_the_data(workspace):
    printed = workspace.make("data", f"FROM={workspace.elsewhere / ODD_NAME}", "VAL_SHARE=0.3")
    assert "found 6 train and 2 test images" in printed
    assert next_commands(printed) == ["make anchors"], "of step 04 alone"
    assert len(list(workspace.images.rglob("*.JPG"))) == 8
    train, val, test = map(workspace.boxes_per_image, ("train", "val", "test"))
    assert len(train) + len(val) == 6
    assert len(val) >= 2
    assert len(test) == 2
    with open(str(workspace.elsewhere / ODD_NAME / "annotations.csv"), newline="") as file:
        assert train + val + test == collections.Counter(row[0] for row in csv.reader(file))
    assert printed.count("read back and equal") == 3
    for split in ("train", "val", "test"):
        record = workspace.training_demo / "annotations" / f"{split}.record"
        assert record.stat().st_size > 10000


def test_03_proposes_anchors(workspace):
    printed = workspace.script(
        "03_estimate_anchors", "--output", "results", "--no-table", "--repeats", 1
    )
    assert "scales:" in printed
    assert "aspect_ratios:" in printed
    assert (workspace.elsewhere / "results" / "anchors.png").stat().st_size > 10000


def test_08_predicts_with_the_shipped_graph_until_there_is_another(workspace):
    printed = workspace.make("predict", f"IMAGES={workspace.images / 'test'}")
    assert f"graph: {paths.SHIPPED_GRAPH.name} " in printed
    assert f"trained-inference-graphs/{NAME}/ does not exist until `make export`" in printed
    assert not workspace.changed_files()


def test_05_refuses_a_second_anchor(workspace):
    key = "reduce_boxes_in_lowest_layer"
    workspace.edit_config((f"{key}: false", f"{key}: true"))
    assert key in workspace.make("check", status=1)
    workspace.edit_config((f"{key}: true", f"{key}: false"))


def logged_steps(workspace):
    """The steps at which the run was evaluated."""
    lines = (workspace.run_folder / "evaluations.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_06_trains_with_the_edited_config(workspace):
    workspace.edit_config(
        (r"height: \d+", f"height: {SIDE}"),
        (r"width: \d+", f"width: {SIDE}"),
        (r"batch_size: \d+", "batch_size: 2"),
        (r"(num_steps|total_steps): \d+", rf"\1: {FIRST_STEPS}"),
        (r"warmup_steps: \d+", "warmup_steps: 0"),
        (r"learning_rate_base: [\d.]+", "learning_rate_base: 1e-30"),  # changes no weight
    )
    printed = workspace.make("train")
    assert f"training from step 0 to {FIRST_STEPS} in " in printed
    assert f"done: step {FIRST_STEPS} in workspace/training_demo/training/{NAME};" in printed
    assert next_commands(printed) == ["make export"], "of step 06 alone"
    assert logged_steps(workspace) == [FIRST_STEPS]


def test_06_reports_that_a_run_is_finished(workspace):
    printed = workspace.script("06_train")
    assert f"already at step {FIRST_STEPS} of {FIRST_STEPS}" in printed
    assert logged_steps(workspace) == [FIRST_STEPS]


def test_06_resumes_up_to_a_higher_step(workspace):
    workspace.edit_config((r"(num_steps|total_steps): \d+", rf"\1: {ALL_STEPS}"))
    workspace.config.write_text(tiny_training.without_crops(workspace.config.read_text()))
    printed = workspace.script("06_train")
    assert f"resuming from step {FIRST_STEPS} to {ALL_STEPS}" in printed
    assert f"done: step {ALL_STEPS}" in printed
    assert logged_steps(workspace)[-1] == ALL_STEPS
    assert (workspace.run_folder / "best" / "evaluation.json").exists()


def test_06_trains_with_two_processes(workspace):
    run_folder = workspace.elsewhere / "two"
    options = ("--run-dir", run_folder, "--workers", 2, "--start-from", paths.SHIPPED_GRAPH)
    printed = workspace.script("06_train", *options)
    (step,) = re.findall(r"done: step (\d+) in", printed)
    # Updates are asynchronous: steps that had begun when the last was counted are counted, too.
    assert int(step) >= ALL_STEPS
    # A worker that starts late may find all steps of so short a training done: no loss is asked.
    for name in ("worker_0", "ps_0", "evaluator"):
        last_line = (run_folder / f"{name}.log").read_text().splitlines()[-1]
        assert last_line == f"{name}: done; the training has ended"
    assert (run_folder / "best" / "evaluation.json").exists()


def test_06_has_started_with_all_weights_of_the_graph(workspace):
    import tensorflow as tf

    run_folder = workspace.elsewhere / "two"
    trained = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run_folder)))
    shipped = tf.train.load_checkpoint(str(paths.SHIPPED_GRAPH / paths.CHECKPOINT_PREFIX))
    stored = shipped.get_variable_to_shape_map()
    names = [name for name in stored if "moving_" not in name and name != "global_step"]
    assert len(names) > 200
    assert "BoxPredictor_0/BoxEncodingPredictor/weights" in names
    for name in names:
        np.testing.assert_allclose(
            trained.get_tensor(name), shipped.get_tensor(name), rtol=1e-5, atol=1e-7, err_msg=name
        )
    assert not any("Adam" in name for name in stored), "the optimizer's variables are not included"
    seen = json.loads((run_folder / "trained_on.json").read_text())["before"]
    of_sku110k = [name for name in seen if name.startswith("sku")]
    assert len(seen) - len(of_sku110k) == 283  # the official training images, validation included
    assert "C1_P01_N1_S2_1.JPG" in seen
    # Its own training started with the weights of a detector of SKU-110K.
    assert {"sku110k/train_1014.jpg", "sku110k/val_98.jpg"} <= set(of_sku110k)


def operations(graph):
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((graph / "frozen_inference_graph.pb").read_bytes())
    return {node.op for node in definition.node}


def test_07_exports_the_run(workspace):
    printed = workspace.make("export")
    assert f"trained-inference-graphs/{NAME}/frozen_inference_graph.pb: " in printed
    assert next_commands(printed) == ["make eval"]
    assert {path.name for path in workspace.graph.iterdir()} == {
        "frozen_inference_graph.pb",
        "pipeline.config",
        "trained_on.json",
        "label_map.pbtxt",
        "model.ckpt.index",
        "model.ckpt.data-00000-of-00001",
    }
    assert not {"DepthwiseConv2dNative", "FusedBatchNormV3"} & operations(workspace.graph)


def test_08_and_09_score_the_exported_graph(workspace):
    # So few steps find nothing; the figures only have to be there.
    printed = workspace.make("eval")
    assert printed.count(f"graph: {NAME}") == 3, "two of step 08, one of step 09"
    assert next_commands(printed) == ["make report"], "of step 09 alone"
    results = workspace.training_demo / "evaluation" / "results"
    for split in ("val", "test"):
        found = json.loads((results / f"{split}_detections.json").read_text())
        names = {image["file_name"] for image in found["images"]}
        assert names == set(workspace.boxes_per_image(split))
    test = workspace.boxes_per_image("test")
    metrics = json.loads((workspace.root / "metrics.json").read_text())
    assert 0 <= metrics["mAP"] <= 1
    assert metrics["TP"] + metrics["FN"] == sum(test.values())
    assert json.loads((workspace.graph / "metrics.json").read_text()) == metrics
    counts = json.loads((workspace.root / "image2products.json").read_text())
    assert set(counts) == set(test)


def test_10_reports_on_the_exported_graph(workspace):
    printed = workspace.make("report")
    assert f"graph: {NAME}" in printed
    assert next_commands(printed) == ["make predict IMAGES=folder"]
    report = workspace.training_demo / "evaluation" / "results" / "report.html"
    assert NAME in report.read_text()


def test_08_draws_the_boxes_of_the_exported_graph(workspace):
    drawn = workspace.elsewhere / "drawn" / ODD_NAME
    images = workspace.elsewhere / "images" / ODD_NAME
    shutil.copytree(str(workspace.images / "test"), str(images))
    printed = workspace.make("predict", f"IMAGES={images}", f"DRAW={drawn}")
    assert f"graph: {NAME}" in printed
    assert len(list(drawn.glob("*.[jJ][pP][gG]"))) == 2
    assert not (workspace.root / "executed").exists()


def test_only_the_config_and_the_latest_evaluation_are_changed(workspace):
    config = str(workspace.config.relative_to(workspace.root))
    assert workspace.changed_files() == {config, "metrics.json", "image2products.json"}


def demo_commands():
    """[script, option, ...] of every step of scripts/demo.sh."""
    text = (paths.ROOT / "scripts" / "demo.sh").read_text()
    text = text.replace("\\\n", " ").replace("$evaluation", "workspace/training_demo/evaluation")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("step ") and ".py" in line]


@pytest.mark.parametrize(
    "command", demo_commands(), ids=lambda command: pathlib.Path(command[0]).stem
)
def test_the_demo_uses_options_that_its_scripts_have(command, tmp_path):
    """Each option in demo.sh is one of its script, and each file is in the demo's own folder."""
    help_text = run([sys.executable, str(paths.ROOT / command[0]), "--help"], tmp_path, status=0)
    for option in command[1:]:
        if option.startswith("--"):
            assert re.search(rf"{option}\b", help_text), option
        elif "/" in option:
            assert re.match(r"\$(demo|images|labels|results)\b", option), option


def test_the_demo_runs_every_step():
    steps = [pathlib.Path(command[0]).name[:2] for command in demo_commands()]
    assert " ".join(steps) == "00 01 02 03 04 05 06 07 08 09 08 10"
