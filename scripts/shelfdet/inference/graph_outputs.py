"""What object_detection's detection graphs have in common, in whatever runtime runs them."""

import pathlib
from typing import Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import workspace_names
from shelfdet.core.make_variables import both

# The names that object_detection/exporter.py gives to the input and outputs of a detection graph.
INPUT = "image_tensor:0"
OUTPUTS = ("detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0")


def check_file(graph: pathlib.Path) -> None:
    """Refuses a frozen graph that is not there, with the names of those that are.

    Raises:
      UserError: there is no such file, or it is an ONNX model.
    """
    if not graph.is_file():
        found = "is a folder" if graph.is_dir() else "no such file"
        raise UserError(
            f"{graph}: {found}; expected a frozen graph. "
            f"{workspace_names.no_graph(graph.parent.name)}"
        )
    if graph.suffix.lower() == ".onnx":
        raise UserError(
            f"{graph}: is an ONNX model; expected a frozen graph (.pb). Name the folder of the "
            f"graph that it was made of, with {both('--runtime onnxruntime')}."
        )


def of_one_image(outputs: Sequence[np.ndarray]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The detections of the only image of a batch, without padding.

    Args:
      outputs: the values of OUTPUTS: (1, M, 4), (1, M), (1, M), (1,).

    Returns:
      (boxes_yxyx, scores, class_ids): float64 (N, 4) of ymin, xmin, ymax, xmax in 0 to 1 of the
        image, float64 (N,) falling, int64 (N,) as in the label map.
    """
    boxes_yxyx, scores, class_ids, count = outputs
    valid = int(count[0])  # the rest is padding up to the config's max_total_detections
    order = np.argsort(-scores[0, :valid], kind="stable")
    return (
        boxes_yxyx[0, order].astype(np.float64),
        scores[0, order].astype(np.float64),
        class_ids[0, order].astype(np.int64),
    )


def first_line(error: Exception) -> str:
    """The first line of a runtime's message; the rest is a trace of the graph's construction."""
    message = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # OpenVINO begins with places in its source.
    stated = [line for line in lines if not line.startswith("Exception from ")]
    return (stated or lines or [type(error).__name__])[0]
