"""Makes the folder deploy/ of a frozen graph, and compares each target in it with the graph.

A target is put in place only if its accuracy on the validation images is that of the graph.
"""

import io
import pathlib
import shutil
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import boxes, files, parallel, text
from shelfdet.data import images, labels
from shelfdet.data.detections import Detections
from shelfdet.evaluation import matching, metrics
from shelfdet.inference import TENSORFLOW, predict, runtimes
from shelfdet.inference.deployment import description, onnx_model, openvino_model, saved_model
from shelfdet.inference.input_images import InputImage

# Figures of metrics.summary, what they are called in messages, and by how much a target's may be
# worse. One product more or less changes the count MAE of 29 images by 0.03, and int8 moves a few
# scores over the threshold.
LIMITS = {
    "mAP": ("AP50", 0.005),
    "AP75": ("AP75", 0.005),
    "AP": ("AP", 0.005),
    "mean_absolute_count_error": ("count MAE", 0.2),
}
LOWER_IS_BETTER = "mean_absolute_count_error"
# A float32 target's products have the graph's boxes but for rounding: largest difference of a
# score, or of a side in shares of the image.
ROUNDING = 1e-3
SERVED_BATCH = 4  # images of a request to the SavedModel


class Source(NamedTuple):
    """What deploy/ is made of.

    graph, config: the frozen graph and its pipeline.config.
    class_names: of its label map.
    threshold: the lowest score of a product.
    max_side: longer images are shrunk to this side.
    calibration: training images, for int8.
    validation_labels: the label file of ``validation``, the images on which targets are compared.
    """

    graph: pathlib.Path
    config: pathlib.Path
    class_names: predict.ClassNames
    threshold: float
    max_side: int
    calibration: Sequence[InputImage]
    validation_labels: pathlib.Path
    validation: Sequence[InputImage]


class Comparison(NamedTuple):
    """A target beside the frozen graph, on the validation images.

    target: name of its file or folder in deploy/.
    precision: float32 or int8.
    figures: of the target, by the keys of LIMITS.
    differences: the target's figures less those of the graph.
    products: number of the graph's products whose boxes were compared; 0 for int8.
    rounding: the largest difference of a box or score among them.
    """

    target: str
    precision: str
    figures: Dict[str, float]
    differences: Dict[str, float]
    products: int = 0
    rounding: float = 0.0


class _Reference(NamedTuple):
    """The graph's detections by file name, the ground truth, and the figures of both."""

    found: Dict[str, Detections]
    truth: List[labels.LabelledImage]
    figures: Dict[str, float]
    threshold: float


def calibration_images(training: Sequence[InputImage]) -> List[InputImage]:
    """CALIBRATION_IMAGES of the training images, or all if there are fewer, evenly spaced."""
    count = min(len(training), openvino_model.CALIBRATION_IMAGES)
    return [training[index * len(training) // count] for index in range(count)]


def deploy(source: Source, folder: pathlib.Path) -> Iterator[Comparison]:
    """Makes deploy/, and replaces an older one after the last target.

    Args:
      source: the graph and the images.
      folder: deploy/ beside the graph.

    Yields:
      Comparison of each target, when it is made.

    Raises:
      UserError: a target cannot be made, or finds other boxes; the older folder is unchanged then.
    """
    network = runtimes.load(TENSORFLOW, source.graph, parallel.workers())
    reference = _reference(source, network.detect)
    with files.replacing(folder) as partial:
        partial.mkdir()
        description.write(
            partial / description.DESCRIPTION,
            files.sha256(source.graph),
            source.class_names.by_id,
            source.threshold,
            source.max_side,
        )
        shutil.copy2(str(description.PROGRAM_SOURCE), str(partial / description.PROGRAM))
        yield _onnx(source, reference, partial)
        yield _served(source, reference, partial)
        yield _openvino(source, reference, partial)


def _onnx(source: Source, reference: _Reference, partial: pathlib.Path) -> Comparison:
    path = partial / description.ONNX
    onnx_model.write(source.graph, source.config, path)
    network = runtimes.OnnxDetector(path, parallel.workers())
    found = _detections(source, network.detect)
    return compare(description.ONNX, network.precision, reference, found)


def _served(source: Source, reference: _Reference, partial: pathlib.Path) -> Comparison:
    path = partial / description.SAVED_MODEL
    saved_model.write(source.graph, source.config, path, source.max_side)
    network = saved_model.ServedDetector(path)
    found = []
    inputs = list(source.validation)
    for start in range(0, len(inputs), SERVED_BATCH):
        batch = inputs[start : start + SERVED_BATCH]
        detected = network.detect([_jpeg_or_png(image.path) for image in batch])
        for image, (boxes_yxyx, scores, class_ids) in zip(batch, detected):
            boxes_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, image.labelled_wh)
            names = tuple(source.class_names.by_id[class_id] for class_id in class_ids)
            found.append(
                Detections(
                    image.name,
                    image.labelled_wh,
                    boxes.clip(boxes_xyxy, image.labelled_wh),
                    scores,
                    names,
                )
            )
    # Large images are shrunk by another implementation.
    exact = {image.name for image in inputs if max(image.labelled_wh) <= source.max_side}
    target = description.SAVED_MODEL.parts[0]
    return compare(target, network.precision, reference, found, exact)


def _openvino(source: Source, reference: _Reference, partial: pathlib.Path) -> Comparison:
    path = partial / description.OPENVINO
    pixels = (images.load(image.path, source.max_side).pixels for image in source.calibration)
    openvino_model.write(partial / description.ONNX, path, pixels)
    network = runtimes.OpenvinoDetector(path, parallel.workers())
    found = _detections(source, network.detect)
    return compare(description.OPENVINO.parts[0], network.precision, reference, found)


def _jpeg_or_png(path: pathlib.Path) -> bytes:
    """The content of an image file, as PNG if it is neither."""
    if images.inspect(path).format in ("JPEG", "PNG"):
        return path.read_bytes()
    content = io.BytesIO()
    Image.fromarray(images.load(path).pixels).save(content, "PNG")
    return content.getvalue()


def _reference(source: Source, run_network: Callable[[np.ndarray], Any]) -> _Reference:
    truth = labels.read_labels(source.validation_labels)
    found = _detections(source, run_network)
    figures = metrics.summary(matching.match(truth, found), source.threshold)
    return _Reference(
        {image.filename: image for image in found},
        truth,
        {key: figures[key] for key in LIMITS},
        source.threshold,
    )


def _detections(source: Source, run_network: Callable[[np.ndarray], Any]) -> List[Detections]:
    results = predict.detect_images(
        list(source.validation), run_network, source.class_names, predict.Settings()
    )
    return [result.detections for result in results]


def compare(
    target: str,
    precision: str,
    reference: _Reference,
    found: Sequence[Detections],
    exact: Any = None,
) -> Comparison:
    """Compares a target's detections with the graph's.

    Args:
      target, precision: as in Comparison.
      reference: of the graph.
      found: the target's detections, in all validation images.
      exact: names of the images in which a float32 target must find the graph's products; None for
        all.

    Raises:
      UserError: a figure is worse than LIMITS allow, or the boxes of a float32 target are others.
    """
    figures = metrics.summary(matching.match(reference.truth, found), reference.threshold)
    figures = {key: figures[key] for key in LIMITS}
    differences = {key: figures[key] - reference.figures[key] for key in LIMITS}
    _check_figures(target, reference.figures, figures)
    compared = Comparison(target, precision, figures, differences)
    if precision != "float32":
        return compared
    products, rounding = 0, 0.0
    for image in found:
        if exact is not None and image.filename not in exact:
            continue
        expected = reference.found[image.filename]
        count = int((expected.scores >= reference.threshold).sum())
        products += count
        rounding = max(rounding, largest_difference(expected, image, count))
    if not rounding <= ROUNDING:
        raise UserError(
            f"{target}: finds products whose score, or a side of the box in shares of the image, "
            f"differs by up to {rounding:.2g} from the frozen graph's; expected at most "
            f"{ROUNDING:g}. The older files are unchanged."
        )
    return compared._replace(products=products, rounding=rounding)


def _check_figures(target: str, expected: Dict[str, float], found: Dict[str, float]) -> None:
    for key, (name, limit) in LIMITS.items():
        worse = found[key] - expected[key] if key == LOWER_IS_BETTER else expected[key] - found[key]
        if worse > limit:
            raise UserError(
                f"{target}: {name} on the validation images is {found[key]:.4f}; expected "
                f"{expected[key]:.4f} as of the frozen graph, at most {limit:g} worse. The older "
                "files are unchanged."
            )


def largest_difference(expected: Detections, found: Detections, count: int) -> float:
    """By how much a target's detections differ from the first ``count`` of the graph's.

    Each is compared with the target's detection that is the most like it: detections of nearly
    equal scores may change places.

    Returns:
      largest difference of a score or of a side of a box in shares of the image; infinite where the
      target found nothing.
    """
    if not count:
        return 0.0
    if not len(found.scores):
        return float("inf")
    sides = np.tile(expected.size_wh, 2)
    box_differences = np.abs(expected.boxes_xyxy[:count, None] - found.boxes_xyxy[None]) / sides
    score_differences = np.abs(expected.scores[:count, None] - found.scores[None])
    largest = np.maximum(box_differences.max(axis=2), score_differences)  # (count, N)
    return float(largest.min(axis=1).max())


def report(compared: Comparison) -> str:
    """A line for a target: its figures, and how far they are from the graph's."""
    figures = ", ".join(
        f"{name} {compared.figures[key]:.4f} ({compared.differences[key]:+.4f})"
        for key, (name, _) in LIMITS.items()
    )
    same = ""
    if compared.products:
        same = (
            f"; the boxes and scores of {text.counted(compared.products, 'product')} differ by at "
            f"most {compared.rounding:.1e}"
        )
    return f"{compared.target} ({compared.precision}): {figures}{same}"
