"""The folder deploy/ beside a frozen graph: its files, and what detector.json says of them."""

import json
import pathlib
from typing import Any, Dict

from shelfdet import UserError
from shelfdet.core import files, paths

FOLDER = paths.DEPLOY_FOLDER
DESCRIPTION = "detector.json"
ONNX = "detector.onnx"
OPENVINO = pathlib.Path("openvino_int8") / "detector.xml"  # its weights are in detector.bin
# TensorFlow Serving takes the folder that holds the versions of a model.
SAVED_MODEL = pathlib.Path("saved_model") / "1"
PROGRAM = "detect.py"
PROGRAM_SOURCE = pathlib.Path(__file__).with_name(PROGRAM)


def write(
    target: pathlib.Path,
    graph_sha256: str,
    class_names: Dict[int, str],
    threshold: float,
    max_side: int,
) -> None:
    """Writes what a program has to know beside the network.

    Args:
      target: the file.
      graph_sha256: of the frozen graph that the other files were made of.
      class_names: the name of each class id.
      threshold: the lowest score of a product.
      max_side: longer images are shrunk to this side before the network runs.
    """
    described = {
        "graph_sha256": graph_sha256,
        "classes": {str(class_id): name for class_id, name in sorted(class_names.items())},
        "threshold": threshold,
        "max_side": max_side,
    }
    files.write_text(target, json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def find(graph: pathlib.Path, name: pathlib.Path) -> pathlib.Path:
    """A file of the folder beside a frozen graph.

    Args:
      graph: the frozen graph.
      name: the file, such as ONNX or OPENVINO.

    Raises:
      UserError: it does not exist, or was made of another graph.
    """
    folder = files.readable_folder(graph.with_name(FOLDER))
    remedy = f"Run `make deploy GRAPH={graph.resolve().parent.name}`."
    file = folder / name
    if not file.is_file():
        raise UserError(
            f"{paths.shown(file)}: no such file; expected it as step 11 makes it of "
            f"{graph.name}. {remedy}"
        )
    described: Any = files.read_json(folder / DESCRIPTION)
    if described.get("graph_sha256") != files.sha256(graph):
        raise UserError(
            f"{paths.shown(folder)}: was made of another graph than {paths.shown(graph)}; expected "
            f"the files of this one. {remedy}"
        )
    return file
