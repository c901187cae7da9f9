"""The files beside a frozen graph: its config, its metrics and what lists its training images."""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from shelfdet.anchors import anchors
from shelfdet.config import pipeline
from shelfdet.core import paths, text
from shelfdet.core.make_variables import both
from shelfdet.data import MAX_SIDE, trained_on
from shelfdet.inference import AUTO_TILES, DEFAULT_THRESHOLD, confidence

# NMS IoU of tiles for a graph without a pipeline.config beside it; the included graphs' value.
DEFAULT_NMS_IOU = 0.45
FEW_IMAGES = 5  # a threshold chosen on fewer validation images is chance


class Choice(NamedTuple):
    """A number, and where it comes from, for a message.

    is_default: no file of the graph states it.
    """

    value: float
    source: str
    is_default: bool = False


def choose_nms_iou(graph: pathlib.Path) -> Choice:
    """The NMS IoU in the pipeline.config beside a graph; DEFAULT_NMS_IOU where there is none.

    Raises:
      UserError: the config cannot be read.
    """
    config = graph.with_name(paths.CONFIG_FILE)
    if not config.is_file():
        return Choice(DEFAULT_NMS_IOU, f"the default, because {paths.shown(config)} does not exist")
    post_processing = pipeline.read(config).model.ssd.post_processing
    # The field is a float32, which holds 0.45 as 0.449999988: back to the number in the file.
    value = round(post_processing.batch_non_max_suppression.iou_threshold, 6)
    return Choice(value, f"from {paths.shown(config)}")


def anchor_wh(graph: pathlib.Path) -> Optional[Tuple[float, float]]:
    """Width and height of a graph's anchor as shares of its input, by the config beside it.

    Of several feature maps it is the geometric mean of their anchors.

    Returns:
      None where there is no config, its generator states no ``scales`` and one of ``aspect_ratios``
      (all above 0), or it has another resizer than fixed_shape_resizer.

    Raises:
      UserError: the config cannot be read.
    """
    config = graph.with_name(paths.CONFIG_FILE)
    if not config.is_file():
        return None
    ssd = pipeline.read(config).model.ssd
    generator = ssd.anchor_generator.ssd_anchor_generator
    ratios = generator.aspect_ratios
    if len(ratios) != 1 or not generator.scales or min(*generator.scales, *ratios) <= 0:
        return None
    if not ssd.image_resizer.HasField("fixed_shape_resizer"):
        return None
    fixed = ssd.image_resizer.fixed_shape_resizer
    input_wh = (fixed.width, fixed.height)
    grids_wh = [(1, 1)] * len(generator.scales)  # an anchor has one size in all cells of a map
    layers = anchors.ssd_layers(grids_wh, input_wh, generator.scales, ratios[0])
    sides = np.array([layer.anchor_wh for layer in layers]) / input_wh
    return tuple(np.exp(np.log(sides).mean(axis=0)).tolist())


def choose_max_side(given: Optional[int], graph: pathlib.Path) -> int:
    """To which longer side a graph's images are shrunk.

    It is data.MAX_SIDE, or twice the network's input where that is more: ``images.load`` keeps at
    least half of it, so that the network enlarges no large photograph.

    Args:
      given: what the user asked for, which wins; 0 keeps all images as they are.
      graph: the graph's file; without a pipeline.config beside it nothing is known of its input.

    Raises:
      UserError: the config cannot be read.
    """
    config = graph.with_name(paths.CONFIG_FILE)
    if given is not None or not config.is_file():
        return MAX_SIDE if given is None else given
    fixed = pipeline.read(config).model.ssd.image_resizer.fixed_shape_resizer
    return max(MAX_SIDE, 2 * max(fixed.width, fixed.height))


def choose_threshold(
    given: Optional[float],
    metrics_files: List[pathlib.Path],
    graph_sha256: str,
    tiles: Union[int, str] = 1,
) -> Choice:
    """The score from which boxes are drawn and counted.

    Args:
      given: what the user asked for, which wins; or None.
      metrics_files: as step 09 writes them. The first that is of the graph counts.
      graph_sha256: of the graph's file.
      tiles: as in Settings; where step 09 chose its threshold with others, the source says so.
    """
    if given is not None:
        return Choice(given, f"from {both('--threshold')}")
    reasons = []
    for path in metrics_files:
        metrics, reason = _read_metrics(path, graph_sha256)
        if "threshold" in metrics:
            threshold = text.parse_number(metrics["threshold"])
            if threshold is not None:
                how = _how_chosen(metrics, tiles)
                return Choice(threshold, f"from {paths.shown(path)}{how}")
            reason = f"has the threshold {text.shown(metrics['threshold'])}, no number"
        reasons.append(f"{paths.shown(path)} {reason}")
    return Choice(
        DEFAULT_THRESHOLD,
        f"no threshold was chosen for this graph: {' and '.join(reasons)}. Boxes are drawn and "
        f"counted from the default score {DEFAULT_THRESHOLD:g}, which may be far from the best. "
        f"Score the graph with `make eval`, which chooses one, or give "
        f"{both('--threshold')}",
        is_default=True,
    )


def validated(
    metrics_files: List[pathlib.Path], graph_sha256: str
) -> Optional[confidence.Validated]:
    """What is known of a graph's validation images; None where no file of the graph states it.

    Args:
      metrics_files: as step 09 writes them. The first that is of the graph counts.
      graph_sha256: of the graph's file.
    """
    try:
        return confidence.read(_metrics_of(metrics_files, graph_sha256)["validation"])
    except (ValueError, KeyError, TypeError):
        return None


class CountError(NamedTuple):
    """How far a graph's counts were off in test images.

    dataset: theirs; "" of images of one dataset.
    images: their number.
    products: by their labels, an image.
    mae: mean absolute error of the count of an image, in products.
    tiles: as in Settings.
    """

    dataset: str
    images: int
    products: float
    mae: float
    tiles: Union[int, str] = 1


def count_errors(metrics_files: List[pathlib.Path], graph_sha256: str) -> List[CountError]:
    """The count errors that step 09 has measured, of each dataset; empty where there are none.

    Args:
      metrics_files: as step 09 writes them. The first that is of the graph counts.
      graph_sha256: of the graph's file.
    """
    metrics = _metrics_of(metrics_files, graph_sha256)
    try:
        return [
            CountError(
                dataset,
                int(scored["images"]),
                float(scored["boxes"] / scored["images"]),
                float(scored["mean_absolute_count_error"]),
                metrics.get("tiles", 1),
            )
            for dataset, scored in (metrics.get("by_dataset") or {"": metrics}).items()
        ]
    except (ArithmeticError, AttributeError, ValueError, KeyError, TypeError):
        return []


def _metrics_of(metrics_files: List[pathlib.Path], graph_sha256: str) -> Dict[str, Any]:
    """The first of step 09's figures that are of a graph; empty where none are."""
    found = (_read_metrics(path, graph_sha256)[0] for path in metrics_files)
    return next(filter(None, found), {})


def _read_metrics(path: pathlib.Path, graph_sha256: str) -> Tuple[Dict[str, Any], str]:
    """Step 09's figures in a file, empty if not of the graph; why they give no threshold."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if metrics["graph_sha256"] == graph_sha256:
            return metrics, "holds no threshold"
        return {}, "is of another graph"
    except FileNotFoundError:
        return {}, "does not exist"
    except (OSError, ValueError, KeyError, TypeError):
        return {}, "holds no threshold and graph_sha256"


def _how_chosen(metrics: Dict[str, Any], tiles: Union[int, str]) -> str:
    """On how many images step 09 chose its threshold, and with which tiles if others are used."""
    words = ""
    validation = metrics.get("validation")
    if isinstance(validation, dict) and isinstance(validation.get("images"), int):
        words += f" on {text.counted(validation['images'], 'validation image')}"
        if validation["images"] < FEW_IMAGES:
            words += f" (too few: expected {FEW_IMAGES} at least)"
    scored = metrics.get("tiles", 1)
    if scored != tiles:
        words += {1: " without tiles", AUTO_TILES: f" with {both('--tiles auto')}"}.get(
            scored, f" with {scored} x {scored} tiles"
        )
    return words and f", chosen{words}"


def seen_in_training(graph: pathlib.Path, images: trained_on.Images) -> Dict[str, List[str]]:
    """Which images the graph was trained or validated on, where step 07 wrote that beside it.

    Args:
      graph: the graph's file.
      images: by their names with the dataset.

    Returns:
      the names of their files by use, such as "train" and "val"; empty where nothing is known.
    """
    noted = graph.with_name(paths.TRAINED_ON_FILE)
    if not noted.is_file():
        return {}
    return {
        use: sorted(name.rpartition("/")[2] for name in trained_on.same(images, used))
        for use, used in sorted(trained_on.read(noted).items())
    }
