"""A detector in the runtime that the user chooses: TensorFlow, ONNX Runtime or OpenVINO.

TensorFlow runs the frozen graph and is the reference; the others run what step 11 made of it.
"""

import pathlib
import platform
import queue
from typing import Any, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import deploy_packages, parallel, paths, tensorflow_environment
from shelfdet.core.make_variables import both
from shelfdet.inference import ONNXRUNTIME, OPENVINO, TENSORFLOW, graph_outputs
from shelfdet.inference.deployment import description

PROCESSOR_FEATURES = pathlib.Path("/proc/cpuinfo")

Detected = Tuple[np.ndarray, np.ndarray, np.ndarray]


def load(runtime: str, graph: pathlib.Path, callers: int) -> Any:
    """The detector of a frozen graph in a runtime.

    Args:
      runtime: one of inference.RUNTIMES.
      graph: the frozen graph; for other runtimes than TensorFlow, step 11 has made their files
        beside it.
      callers: number of threads that will call ``detect`` at a time.

    Returns:
      an object with the attributes ``runtime`` and ``precision``, and with ``detect``, which is
      that of ``inference.detector.Detector``.

    Raises:
      UserError: the runtime is not installed or does not run on this processor, or the files are
        missing, broken or of another graph.
    """
    if runtime == TENSORFLOW:
        tensorflow_environment.prepare(max(1, parallel.workers() // callers))
        from shelfdet.inference import detector  # loads TensorFlow

        return detector.Detector(graph, callers)
    graph_outputs.check_file(graph)
    if runtime == ONNXRUNTIME:
        return OnnxDetector(description.find(graph, description.ONNX), callers)
    assert runtime == OPENVINO, runtime
    return OpenvinoDetector(description.find(graph, description.OPENVINO), callers)


class OnnxDetector:
    """An ONNX model in ONNX Runtime. ``detect`` may be called from several threads at a time."""

    runtime = ONNXRUNTIME
    precision = "float32"

    def __init__(self, model: pathlib.Path, callers: int = 1) -> None:
        """Loads ``model``; ``callers`` is the number of threads that will call ``detect``."""
        onnxruntime = deploy_packages.load("onnxruntime")
        self.path = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, parallel.workers() // callers)
        options.log_severity_level = 3  # errors alone
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common class
            raise _cannot_be_loaded(model, error) from error

    def detect(self, pixels: np.ndarray) -> Detected:
        """As ``inference.detector.Detector.detect``."""
        try:
            outputs = self._session.run(
                list(graph_outputs.OUTPUTS), {graph_outputs.INPUT: pixels[None]}
            )
        except Exception as error:
            raise _cannot_run(self.path, pixels, error) from error
        return graph_outputs.of_one_image(outputs)


class OpenvinoDetector:
    """A model in OpenVINO's representation. ``detect`` may be called from several threads."""

    runtime = OPENVINO
    precision = "int8"

    def __init__(self, model: pathlib.Path, callers: int = 1) -> None:
        """Loads ``model``; ``callers`` is the number of threads that will call ``detect``."""
        check_processor()
        openvino = deploy_packages.load("openvino.runtime")
        self.path = model
        try:
            compiled = openvino.Core().compile_model(
                str(model),
                "CPU",
                {
                    # With fewer streams than callers, requests wait for each other.
                    "NUM_STREAMS": str(callers),
                    "INFERENCE_NUM_THREADS": str(max(callers, parallel.workers())),
                    # Otherwise what is not int8 is bfloat16 on some processors, and detections
                    # depend on the machine.
                    "INFERENCE_PRECISION_HINT": "f32",
                },
            )
        except RuntimeError as error:
            raise _cannot_be_loaded(model, error) from error
        self._outputs = [compiled.output(name) for name in graph_outputs.OUTPUTS]
        self._idle: queue.Queue = queue.Queue()
        for _ in range(callers):
            self._idle.put(compiled.create_infer_request())

    def detect(self, pixels: np.ndarray) -> Detected:
        """As ``inference.detector.Detector.detect``."""
        request = self._idle.get()
        try:
            request.start_async([pixels[None]])
            request.wait()
            outputs = [np.array(request.get_tensor(output).data) for output in self._outputs]
        except RuntimeError as error:
            raise _cannot_run(self.path, pixels, error) from error
        finally:
            self._idle.put(request)
        return graph_outputs.of_one_image(outputs)


def check_processor() -> None:
    """Refuses a processor without AVX2, which OpenVINO's int8 operations need.

    Raises:
      UserError: it has none. Where the system does not list its features, nothing is checked.
    """
    if platform.machine() not in ("x86_64", "AMD64") or not PROCESSOR_FEATURES.is_file():
        return
    text = PROCESSOR_FEATURES.read_text(errors="replace")
    flags = [line for line in text.splitlines() if line.startswith("flags")]
    if flags and "avx2" not in flags[0].split():
        raise UserError(
            f"{both('--runtime openvino')}: this processor has no AVX2; expected it for int8. Use "
            f"{both('--runtime onnxruntime')}."
        )


def _cannot_be_loaded(model: pathlib.Path, error: Exception) -> UserError:
    return UserError(
        f"{paths.shown(model)}: cannot be loaded ({graph_outputs.first_line(error)}); expected a "
        "model as step 11 writes it. Make it again with `make deploy`."
    )


def _cannot_run(model: pathlib.Path, pixels: np.ndarray, error: Exception) -> UserError:
    height, width = pixels.shape[:2]
    return UserError(
        f"{paths.shown(model)}: fails on an image of {width} x {height} pixels: "
        f"{graph_outputs.first_line(error)}. Expected a model as step 11 writes it. Make it again "
        "with `make deploy`."
    )
