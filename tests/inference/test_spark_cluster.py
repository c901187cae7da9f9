"""Step 12 on a standalone cluster of Spark: a master and two workers on the loopback interface."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from shelfdet import UserError
from shelfdet.inference.spark import java

try:
    java.check()
except UserError as missing:
    pytest.skip(str(missing), allow_module_level=True)

import pyspark
import spark_runs

import toy_graph

LOOPBACK = "127.0.0.1"
COUNT = 24  # images, each of which is a task
SECONDS = 600  # for anything that the cluster does, on a machine that is busy


class Cluster:
    """A master and two workers, each in a process group of its own, with the programs it starts."""

    def __init__(self, folder, stack):
        self._folder = folder
        self._stack = stack
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        self.master = f"spark://{LOOPBACK}:{port}"
        self._start("master", "--port", str(port))
        wait_until(lambda: answers(port))
        self.workers = [
            self._start("worker", "--cores", "1", "--memory", "1g", self.master, name=f"worker{n}")
            for n in (1, 2)
        ]

    def _start(self, kind, *options, name="master"):
        program = pathlib.Path(pyspark.__file__).parent / "bin" / "spark-class"
        main = f"org.apache.spark.deploy.{kind}.{kind.capitalize()}"
        words = [str(program), main, "--host", LOOPBACK, "--webui-port", "0"]
        environment = dict(
            os.environ,
            SPARK_LOCAL_IP=LOOPBACK,
            SPARK_WORKER_DIR=str(self._folder / name),
            SPARK_NO_DAEMONIZE="1",
        )
        log = self._stack.enter_context(open(str(self._folder / f"{name}.log"), "wb"))
        process = subprocess.Popen(
            words + list(options), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        self._stack.callback(process.wait)
        self._stack.callback(kill, process)
        return process


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port)):
        return True


def wait_until(condition, process=None):
    """Waits until ``condition()`` is true; fails when ``process`` ends before, or after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Cluster(tmp_path, stack)


def test_every_image_is_there_once_when_a_worker_is_killed(cluster, script, tmp_path):
    graph = toy_graph.write(tmp_path / "graph" / "frozen_inference_graph.pb")
    graph.with_name("label_map.pbtxt").write_text("item { id: 1 name: 'product' }\n")
    for number in range(COUNT):
        box_xyxy = (400 + 10 * number, 300, 1600, 1200)
        spark_runs.save_image(tmp_path / "in" / f"{number}.png", (2400, 1800), box_xyxy)
    target = tmp_path / "tables"
    common = ["--graph", str(graph), "--threshold", "0.5", "--tiles", "2"]
    paths = ["--images", str(tmp_path / "in"), "--output", str(target)]
    # More tasks than Spark would make of so few images. In a process of its own: once Spark has
    # been started in this one, by another test, it takes no other options.
    options = f"--conf spark.sql.files.minPartitionNum={COUNT} --conf spark.executor.memory=600m"
    process = subprocess.Popen(
        [sys.executable, script("12_predict_spark").__file__]
        + paths
        + common
        + ["--master", cluster.master],
        env=dict(
            os.environ,
            PYSPARK_SUBMIT_ARGS=f"{options} pyspark-shell",
            SPARK_LOCAL_IP=LOOPBACK,
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A task that is complete has a folder here until all are.
    tasks = target / "_results" / "_temporary" / "0"
    wait_until(lambda: len(list(tasks.glob("task_*"))) >= COUNT // 4, process)
    kill(cluster.workers[0])
    committed = len(list(tasks.glob("task_*")))
    assert committed < COUNT, "it was killed half way"
    printed, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert f"{COUNT} products of score 0.500 or more in {COUNT} images" in printed

    rows = spark_runs.table(target, "images")
    names = [os.path.basename(row["image"]) for row in rows]
    assert sorted(names) == sorted(f"{number}.png" for number in range(COUNT))
    script("08_detect").main(
        common[:2] + paths[:2] + ["--tiles", "2", "--output", str(target) + "8"]
    )
    from shelfdet.data import detections

    expected = {image.filename: image for image in detections.read_detections(str(target) + "8")}
    found = spark_runs.boxes_by_image(spark_runs.table(target, "detections"))
    for name, image in expected.items():
        assert [box[1] for box in found[name]] == image.scores.tolist()
        corners = [box[2:] for box in found[name]]
        assert corners == [pytest.approx(box, abs=1e-9) for box in image.boxes_xyxy.tolist()]
