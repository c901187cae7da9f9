"""The numbered scripts in sequence on a tiny drawn dataset, each started from elsewhere as a person starts it.

The tests of this file are one walk: each takes the road up where the one before it ended. Run the whole file.
"""

import collections
import csv
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from shelfdet.core import paths

PREPROCESSING = paths.ROOT / "scripts" / "preprocessing"
TRAINING = paths.ROOT / "scripts" / "training"
EVALUATION = paths.EVALUATION
FIRST_STEPS, ALL_STEPS = 6, 9
SLOW = {"DepthwiseConv2dNative", "FusedBatchNormV3"}  # what step 07 folds
SIDE = 128  # pixels of the network's input: 8 x 8 and 4 x 4 cells


class Road:
    """A folder outside the repository, and how to start scripts in it."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "tiny.config"
        self.labels = folder / "annotations"
        self.pictures = folder / "images" / "ShelfImages"

    def run(self, script, *options, status=0):
        """Runs a script to its end and returns what it printed, both streams."""
        process = subprocess.run(
            [sys.executable, str(script)] + [str(option) for option in options],
            cwd=str(self.folder),
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert process.returncode == status, process.stdout
        if status:
            assert "Traceback" not in process.stdout, process.stdout
        return process.stdout

    def write_config(self, steps):
        """demo.config made tiny, with its records in this folder."""
        text = (paths.TRAINING / "demo.config").read_text()
        for pattern, line in (
            (r"height: \d+", f"height: {SIDE}"),
            (r"width: \d+", f"width: {SIDE}"),
            (r"depth_multiplier: [\d.]+", "depth_multiplier: 0.1"),
            (r"batch_size: \d+", "batch_size: 2"),
            (r"num_steps: \d+", f"num_steps: {steps}"),
            (r"total_steps: \d+", f"total_steps: {steps}"),
            (r"warmup_steps: \d+", "warmup_steps: 1"),
            (r"workspace/training_demo/demo/annotations/", str(self.labels) + "/"),
        ):
            text, count = re.subn(pattern, lambda _: line, text)
            assert count, pattern
        self.config.write_text(text)

    def split(self, name):
        """{image: number of its boxes} of a label file."""
        with open(str(self.labels / f"{name}_labels.csv"), newline="") as file:
            return collections.Counter(row["filename"] for row in csv.DictReader(file))


def fingerprints():
    """What no walk in another folder may change."""
    tracked = [paths.METRICS, paths.IMAGE_TO_PRODUCTS] + [
        paths.labels(split) for split in ("train", "val", "test")
    ]
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tracked if path.exists()
    }


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    before = fingerprints()
    yield Road(tmp_path_factory.mktemp("road with spaces"))
    assert fingerprints() == before


def test_00_draws_shelves(road):
    assert "drew 6 train and 2 test images" in road.run(
        PREPROCESSING / "00_make_demo_shelves.py", "--out", "shelves", "--train", 6, "--test", 2
    )


def test_01_adopts_them(road):
    printed = road.run(
        PREPROCESSING / "01_fetch_dataset.py", "--from", "shelves", "--out", "images"
    )
    assert "found 6 train and 2 test images" in printed
    assert len(list(road.pictures.rglob("*.JPG"))) == 8


def test_02_splits_them(road):
    road.run(
        PREPROCESSING / "02_split_annotations.py",
        "--images",
        "images",
        "--out",
        "annotations",
        "--val-share",
        0.3,
    )
    splits = [road.split(name) for name in ("train", "val", "test")]
    assert len(splits[0]) + len(splits[1]) == 6 and len(splits[1]) >= 2 and len(splits[2]) == 2
    with open(str(road.folder / "shelves" / "annotations.csv"), newline="") as file:
        assert sum(splits, collections.Counter()) == collections.Counter(
            row[0] for row in csv.reader(file)
        )


def test_03_advises_on_anchors(road):
    road.write_config(FIRST_STEPS)
    printed = road.run(
        PREPROCESSING / "03_estimate_anchors.py",
        "--labels",
        "annotations/train_labels.csv",
        "--config",
        road.config,
        "--images",
        road.pictures,
        "--output",
        "results",
        "--no-table",
        "--repeats",
        1,
    )
    assert "scales:" in printed and "aspect_ratios:" in printed
    assert (road.folder / "results" / "anchors.png").stat().st_size > 10000


def test_04_writes_records(road):
    printed = road.run(
        PREPROCESSING / "04_generate_tfrecords.py",
        "--annotations",
        "annotations",
        "--images",
        road.pictures,
    )
    assert printed.count("read back and equal") == 3
    assert all(
        (road.labels / (split + ".record")).stat().st_size > 10000
        for split in ("train", "val", "test")
    )


def check(road, status=0):
    return road.run(
        TRAINING / "05_check_config.py",
        "--config",
        road.config,
        *(
            part
            for split in ("train", "val", "test")
            for part in (f"--{split}-labels", f"annotations/{split}_labels.csv")
        ),
        status=status,
    )


def test_05_refuses_a_second_anchor_and_passes_one(road):
    text = road.config.read_text()
    road.config.write_text(
        text.replace("reduce_boxes_in_lowest_layer: false", "reduce_boxes_in_lowest_layer: true")
    )
    assert "reduce_boxes_in_lowest_layer" in check(road, status=1)
    road.config.write_text(text)
    check(road)


def train(road):
    return road.run(TRAINING / "06_train.py", "--config", road.config, "--run-dir", "run")


def evaluations(road):
    return [
        json.loads(line)["step"]
        for line in (road.folder / "run" / "evaluations.jsonl").read_text().splitlines()
    ]


def test_06_trains(road):
    printed = train(road)
    assert f"done: step {FIRST_STEPS}" in printed
    assert evaluations(road) == [FIRST_STEPS]


def test_06_says_that_a_finished_run_is_finished(road):
    printed = train(road)
    assert f"already at step {FIRST_STEPS} of {FIRST_STEPS}" in printed
    assert evaluations(road) == [FIRST_STEPS]


def test_06_goes_on_to_a_higher_step(road):
    road.write_config(ALL_STEPS)
    printed = train(road)
    assert f"going on from step {FIRST_STEPS} to {ALL_STEPS}" in printed
    assert f"done: step {ALL_STEPS}" in printed
    assert evaluations(road)[-1] == ALL_STEPS
    assert (road.folder / "run" / "best" / "evaluation.json").exists()


def operations(graph):
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((graph / "frozen_inference_graph.pb").read_bytes())
    return {node.op for node in definition.node}


def test_07_exports_the_newest_checkpoint(road):
    road.run(
        TRAINING / "07_export_inference_graph.py",
        "--run-dir",
        "run",
        "--checkpoint",
        "newest",
        "--name",
        "tiny",
        "--output",
        "graphs",
    )
    names = {path.name for path in (road.folder / "graphs" / "tiny").iterdir()}
    assert names == {
        "frozen_inference_graph.pb",
        "pipeline.config",
        "trained_on.json",
        "model.ckpt.index",
        "model.ckpt.data-00000-of-00001",
    }
    road.run(
        TRAINING / "07_export_inference_graph.py",
        "--run-dir",
        "run",
        "--checkpoint",
        "newest",
        "--name",
        "unfolded",
        "--output",
        "graphs",
        "--unfolded",
    )
    assert not SLOW & operations(road.folder / "graphs" / "tiny")
    assert SLOW <= operations(road.folder / "graphs" / "unfolded")


def test_08_detects_in_every_image(road):
    for split in ("val", "test"):
        output = road.folder / "results" / f"{split}_detections.json"
        road.run(
            EVALUATION / "08_detect.py",
            "--graph",
            "graphs/tiny",
            "--labels",
            f"annotations/{split}_labels.csv",
            "--images",
            road.pictures,
            "--output",
            output,
        )
        assert {image["file_name"] for image in json.loads(output.read_text())["images"]} == set(
            road.split(split)
        )


def test_09_scores(road):
    # So few steps find nothing on purpose: the threshold is given, and the figures need only be there.
    road.run(
        EVALUATION / "09_score.py",
        "--ground-truth",
        "annotations/test_labels.csv",
        "--detections",
        "results/test_detections.json",
        "--threshold",
        0.5,
        "--graph-dir",
        "graphs/tiny",
        "--output",
        "metrics.json",
        "--counts-output",
        "image2products.json",
    )
    metrics = json.loads((road.folder / "metrics.json").read_text())
    test = road.split("test")
    assert 0 <= metrics["mAP"] <= 1
    assert metrics["TP"] + metrics["FN"] == sum(test.values())
    assert set(json.loads((road.folder / "image2products.json").read_text())) == set(test)


def test_08_draws_boxes_for_a_plain_folder(road):
    road.run(
        EVALUATION / "08_detect.py",
        "--graph",
        "graphs/tiny",
        "--images",
        road.pictures / "test",
        "--draw",
        "drawings",
        "--output",
        "results/predictions.json",
        "--threshold",
        0.5,
    )
    drawn = [
        path
        for path in (road.folder / "drawings").iterdir()
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    assert len(drawn) == 2


def demo_commands():
    """[script, option, ...] of every step of scripts/demo.sh."""
    text = (paths.ROOT / "scripts" / "demo.sh").read_text()
    text = text.replace("\\\n", " ").replace("$evaluation", "workspace/training_demo/evaluation")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("step ") and ".py" in line]


@pytest.mark.parametrize(
    "command", demo_commands(), ids=lambda command: pathlib.Path(command[0]).stem
)
def test_the_demo_knows_its_scripts(road, command):
    """Each option in demo.sh is one that its script has, and each file it names lies in the demo's own folder."""
    printed = road.run(paths.ROOT / command[0], "--help")
    for option in command[1:]:
        if option.startswith("--"):
            assert re.search(rf"{option}\b", printed), option
        elif "/" in option:
            assert re.match(r"\$(demo|images|labels|results)\b", option), option


def test_the_demo_walks_every_step():
    assert [pathlib.Path(command[0]).name[:2] for command in demo_commands()] == [
        "00",
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "08",
        "10",
    ]
