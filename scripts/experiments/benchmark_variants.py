"""The variants of each step that the benchmarks compare."""

import pathlib
from typing import List, Optional, Sequence, Tuple

from google.protobuf import text_format

from experiments import benchmark_inputs, machine, steps
from experiments.measurement import Variant
from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import deploy_packages, files, parallel, paths
from shelfdet.inference import ONNXRUNTIME, OPENVINO, TENSORFLOW
from shelfdet.inference.deployment import description

GRAPH_SPEED = pathlib.Path(__file__).with_name("graph_speed.py")
TRAINED = paths.TRAINING / f"{paths.SHIPPED_GRAPH.name}.config"
# Runtimes other than TensorFlow: their package, and the file of step 11 that they run
DEPLOYED = {
    ONNXRUNTIME: ("onnxruntime", description.ONNX),
    OPENVINO: ("openvino.runtime", description.OPENVINO),
}


class Data:
    """Images of one size, as a folder with labels for each number of images."""

    def __init__(
        self, folder: pathlib.Path, dataset: Optional[str], size_wh: Tuple[int, int]
    ) -> None:
        """Finds the images of ``dataset``, or else makes synthetic ones.

        Args:
          folder: does not exist yet.
          dataset: a folder in the Grocery Dataset's layout; None for synthetic images.
          size_wh: of the synthetic images.

        Raises:
          UserError: the dataset has no images.
        """
        folder.mkdir()
        self._folder = folder
        if dataset:
            self._paths = benchmark_inputs.real_images(pathlib.Path(dataset))
        else:
            self._paths = benchmark_inputs.synthetic_images(folder / "synthetic", size_wh)

    def images(self, count: int) -> pathlib.Path:
        """A folder with ``count`` images and test_labels.csv."""
        folder = self._folder / str(count)
        if not folder.is_dir():
            benchmark_inputs.link_images(folder, self._paths, count)
        return folder


class Variants:
    """The variants of each step.

    Attributes:
      batch_size: images of a training step.
      not_measured: why a runtime is left out, a line for each.
    """

    def __init__(self, graphs: Sequence[pathlib.Path], reference: Optional[pathlib.Path]) -> None:
        """Looks for what can be measured.

        Args:
          graphs: folders of frozen graphs.
          reference: another Python, whose TensorFlow comes first.
        """
        self._pythons = [(machine.tensorflow(), None)]
        if reference:
            self._pythons.insert(0, (machine.tensorflow_of(reference), reference))
        self.batch_size = pipeline.read(TRAINED).train_config.batch_size
        self.not_measured: List[str] = []
        self._runtimes = {graph: self._find_runtimes(graph) for graph in graphs}

    def _find_runtimes(self, graph: pathlib.Path) -> List[str]:
        found = []
        for runtime, (package, file) in DEPLOYED.items():
            try:
                description.find(graph / paths.GRAPH_FILE, file)
                deploy_packages.load(package)
                found.append(runtime)
            except UserError as error:
                self.not_measured.append(f"{graph.name} in {runtime}: {error}")
        return found

    def records(self, data: Data) -> Variant:
        def command(count: int, folder: pathlib.Path) -> Sequence:
            return [steps.SCRIPTS["records"]] + _record_options(data.images(count))

        return Variant("-", command)

    def train(self, data: Data, images: int) -> List[Variant]:
        """One process in each build of TensorFlow, and two processes that share the cores."""
        record_folder = data.images(images)
        steps.run("records", _record_options(record_folder), log=record_folder / "records.log")
        record = paths.record_in(record_folder, "test")
        for split in ("train", "val"):
            paths.record_in(record_folder, split).symlink_to(record)

        def training(workers: int):
            def command(count: int, folder: pathlib.Path) -> Sequence:
                changes = pipeline.record_changes(record_folder)
                config = pipeline.with_changes(pipeline.read(TRAINED), changes)
                config.train_config.num_steps = count // self.batch_size
                path = folder / "benchmark.config"
                files.write_text(path, text_format.MessageToString(config))
                options = ["--config", path, "--run-dir", folder / "run", "--workers", workers]
                return [steps.SCRIPTS["train"]] + options + ["--eval-seconds", 10**6]

            return command

        variants = [Variant(name, training(1), python) for name, python in self._pythons]
        if parallel.workers() > 1:
            name, python = self._pythons[-1]
            variants.append(Variant(f"{name}, WORKERS=2", training(2), python))
        return variants

    def graph_alone(self, data: Data, graph: pathlib.Path) -> List[Variant]:
        def running(runtime: str):
            def command(count: int, folder: pathlib.Path) -> Sequence:
                return [GRAPH_SPEED, graph, data.images(8), "--count", count, "--runtime", runtime]

            return command

        return self._in_each_runtime(graph, running)

    def detect(self, data: Data, graph: pathlib.Path) -> List[Variant]:
        def running(runtime: str):
            def command(count: int, folder: pathlib.Path) -> Sequence:
                images = data.images(count)
                options = ["--graph", graph, "--labels", images / "test_labels.csv"]
                options += ["--images", images, "--runtime", runtime]
                return [steps.SCRIPTS["detect"]] + options + ["--output", folder / "found.json"]

            return command

        return self._in_each_runtime(graph, running)

    def score(self, folder: pathlib.Path) -> Variant:
        def command(count: int, run: pathlib.Path) -> Sequence:
            inputs = folder / f"score-{count}"
            if not inputs.is_dir():
                benchmark_inputs.write_scored(inputs, count)
            truth = ["--ground-truth", inputs / "labels.csv", "--ground-truth-format", "csv"]
            found = ["--detections", inputs / "detections.json", "--threshold", "0.5"]
            return [steps.SCRIPTS["score"]] + truth + found + ["--output", run / "metrics.json"]

        return Variant("-", command)

    def _in_each_runtime(self, graph: pathlib.Path, running) -> List[Variant]:
        variants = [Variant(name, running(TENSORFLOW), python) for name, python in self._pythons]
        return variants + [Variant(name, running(name)) for name in self._runtimes[graph]]


def _record_options(images: pathlib.Path) -> List:
    return ["--annotations", images, "--images", images, "--splits", "test"]
