"""Writes an ONNX model as OpenVINO's intermediate representation, quantised to int8 by NNCF.

The ranges of the activations are those in calibration images. These must be training images:
images of the validation or test split would make their scores too good.
"""

import logging
import os
import pathlib
import tempfile
import warnings
from typing import Iterable

import numpy as np

from shelfdet.core import deploy_packages

CALIBRATION_IMAGES = 32
# Operations by name: decoding boxes from the network's outputs in int8 would make them inexact.
UNQUANTISED = ["Postprocessor.*"]


def write(onnx_model: pathlib.Path, target: pathlib.Path, images: Iterable[np.ndarray]) -> None:
    """Quantises a model.

    Args:
      onnx_model: as ``onnx_model.write`` writes it.
      target: the .xml file to write; the weights go into the .bin file beside it. Its input and
        outputs are those of the ONNX model.
      images: training images, uint8 RGB of shape (height, width, 3).

    Raises:
      UserError: OpenVINO or NNCF is not installed.
    """
    openvino = deploy_packages.load("openvino.runtime")
    nncf = _load_nncf()
    batches = [pixels[None] for pixels in images]
    core = openvino.Core()
    model = core.read_model(str(onnx_model))
    # Computes the shapes of biases, which NNCF then recognises and corrects.
    passes = deploy_packages.load("openvino.runtime.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    with tempfile.TemporaryDirectory() as scratch:
        # Operations of which no output depends are gone afterwards; NNCF fails on them.
        plain = os.path.join(scratch, "plain.xml")
        openvino.serialize(model, plain)
        quantised = nncf.quantize(
            core.read_model(plain),
            nncf.Dataset(batches),
            ignored_scope=nncf.IgnoredScope(patterns=UNQUANTISED),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    openvino.serialize(quantised, str(target))


def _load_nncf():
    """NNCF without its messages, and without the telemetry that it sends outside of CI."""
    os.environ.setdefault("NNCF_CI", "1")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nncf = deploy_packages.load("nncf")
    nncf.set_log_level(logging.ERROR)
    return nncf
