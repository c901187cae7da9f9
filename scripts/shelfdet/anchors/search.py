"""The search for the anchors that cover the most boxes, and their lines in a config."""

import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import scipy.optimize

from shelfdet.anchors import anchors, coverage

# The aim is the number of boxes covered at the threshold. The mean IoU decides between equals: at
# the weight of half a box it never outweighs one, because it is between 0 and 1.
MEAN_IOU_WEIGHT = 0.5
MEAN_IOU_TOLERANCE = 2e-4  # the search ends where all its candidates are this close

MOST_BOXES = 5000  # of which a share is within 0.015 of that of all, in 95 of 100 cases

# Values are written to a config with this many decimals, and measured as written.
SCALE_DECIMALS = 4
RATIO_DECIMALS = 3

# The comment that states a config's coverage. Step 05 and a test compute it again and compare.
COMMENT = "# anchor coverage: {:.2f} of the train boxes at IoU >= {:g}"
COMMENT_PATTERN = re.compile(
    r"anchor coverage: (0\.\d+|1\.0+) of the train boxes at IoU >= (0\.\d+)"
)

# Without boxes there is nothing to search on; the answer is then a square of a tenth of the input.
SCALE_WITHOUT_BOXES = 0.1


class Shape(NamedTuple):
    """Of the anchors of ``ssd_anchor_generator``: ``scales`` and ``aspect_ratio`` as in Advice."""

    scales: List[float]
    aspect_ratio: float


class Advice(NamedTuple):
    """The best anchors for ``ssd_anchor_generator`` with one anchor per cell.

    image_wh: size of the network's input. grids_wh: columns and rows of each feature map.
    scales: one for each feature map, a share of the input's shorter side. aspect_ratio: width over
    height, the same for all. layers: the anchors. threshold: the IoU that counted in the search.
    best_iou: (N,) of the boxes of the search.
    """

    image_wh: Tuple[int, int]
    grids_wh: List[Tuple[int, int]]
    scales: List[float]
    aspect_ratio: float
    layers: List[anchors.Layer]
    threshold: float
    best_iou: np.ndarray


def best_anchors(
    boxes_xyxy: np.ndarray,
    grids_wh: Sequence[Tuple[int, int]],
    image_wh: Tuple[int, int],
    threshold: float = coverage.COVERED_IOU,
    seed: int = 0,
    known: Optional[Shape] = None,
) -> Advice:
    """The ``scales`` and the ``aspect_ratios`` with which the most boxes are covered.

    The search is random: it finds the best or nearly the best.

    Args:
      boxes_xyxy: (N, 4), resized.
      grids_wh: columns and rows of each feature map.
      image_wh: size of the network's input.
      threshold: the IoU from which a box is covered; the matcher's.
      seed: of the search; the same seed gives the same result.
      known: what the config has now for the same feature maps. It is returned where the search
        finds nothing that covers more boxes, or as many with a higher mean IoU.
    """
    shapes = [_search(boxes_xyxy, grids_wh, image_wh, threshold, seed)]
    if known is not None:
        shapes.append(known)
    found = []
    for scales, aspect_ratio in shapes:
        layers = anchors.ssd_layers(grids_wh, image_wh, scales, aspect_ratio)
        best_iou, _ = coverage.best_iou(boxes_xyxy, layers)
        found.append(
            Advice(
                tuple(image_wh), list(grids_wh), scales, aspect_ratio, layers, threshold, best_iou
            )
        )
    return max(found, key=_quality)


def highest_coverage(
    boxes_xyxy: np.ndarray,
    image_wh: Tuple[int, int],
    layer_count: int,
    threshold: float = coverage.COVERED_IOU,
    seed: int = 0,
) -> float:
    """The share of boxes that anchors cover where each lies in the centre of an anchor.

    No feature map covers more with as many anchors, however fine it is: what is missing of 1 is
    due to the shapes and sizes of the boxes. Nor do other input sizes, which scale all boxes alike.

    Args:
      boxes_xyxy: (N, 4), resized; of many, ``some_boxes`` are measured.
      image_wh: size of the network's input.
      layer_count: number of feature maps, each with anchors of one size.
      threshold, seed: as in ``best_anchors``.

    Returns:
      the share; nan without boxes.
    """
    boxes_xyxy = some_boxes(_with_area(boxes_xyxy))
    if not len(boxes_xyxy):
        return float("nan")
    sizes_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    cell = np.concatenate([sizes_wh, np.zeros_like(sizes_wh)], axis=1).T.copy()
    cells = [cell] * layer_count
    shape = _search_cells(cells, min(image_wh), threshold, seed)
    return coverage.shares(_best_iou_at(cells, shape, min(image_wh)), [threshold])[0]


def some_boxes(boxes_xyxy: np.ndarray) -> np.ndarray:
    """At most MOST_BOXES of the boxes (N, 4), chosen by chance: enough for a share of them."""
    if len(boxes_xyxy) <= MOST_BOXES:
        return boxes_xyxy
    return boxes_xyxy[np.random.RandomState(0).permutation(len(boxes_xyxy))[:MOST_BOXES]]


def shape_of(layers: Sequence[anchors.Layer], image_wh: Tuple[int, int]) -> Optional[Shape]:
    """The scales and the aspect ratio of anchors, as a config has them; None if ratios differ."""
    widths, heights = np.array([layer.anchor_wh for layer in layers], dtype=np.float64).T
    ratios = widths / heights
    if not np.allclose(ratios, ratios[0], rtol=1e-4):
        return None
    scales = np.sqrt(widths * heights) / min(image_wh)
    return Shape([_as_written(scale) for scale in scales], _as_written(ratios[0]))


def _as_written(value):
    """A number as ``generator_lines`` writes it: object_detection computes in float32."""
    return float(f"{value:g}")


def _quality(advice):
    """(number of covered boxes, mean IoU), which are compared in this order."""
    if not len(advice.best_iou):
        return 0, 0.0
    return int(np.sum(advice.best_iou >= advice.threshold)), float(np.mean(advice.best_iou))


def _search(boxes_xyxy, grids_wh, image_wh, threshold, seed):
    """Differential evolution over the logarithms of one scale per layer and one aspect ratio.

    The share of covered boxes is a step function, so a gradient does not help. An evaluation takes
    a fraction of a millisecond because the distances to the nearest centres are computed once.

    Returns:
      the Shape.
    """
    boxes_xyxy = _with_area(boxes_xyxy)
    layer_count = len(grids_wh)
    if not len(boxes_xyxy):
        return Shape([SCALE_WITHOUT_BOXES] * layer_count, 1.0)
    # Only the grids of these layers matter; their anchors' size is what is searched.
    grids = anchors.ssd_layers(grids_wh, image_wh, [SCALE_WITHOUT_BOXES] * layer_count, 1.0)
    cells = [coverage.nearest_cell(boxes_xyxy, layer) for layer in grids]
    return _search_cells(cells, min(image_wh), threshold, seed)


def _with_area(boxes_xyxy):
    """The boxes (N, 4) that have an area, as float64.

    The others have no logarithm of their size, and no anchor can cover them.
    """
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    return boxes_xyxy[(boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)]


def _search_cells(cells, side, threshold, seed):
    """The Shape for boxes in cells of each feature map.

    Args:
      cells: of each feature map what ``coverage.nearest_cell`` returned; some boxes.
      side: the input's shorter side, of which scales are shares.
      threshold, seed: as in ``best_anchors``.
    """
    width, height = cells[0][:2]
    weight = MEAN_IOU_WEIGHT / len(width)

    # Logarithms, because sizes and ratios differ by factors.
    def loss(logarithms: np.ndarray) -> float:
        best = _best_iou_at(cells, _shape(logarithms), side)
        return -np.mean(best >= threshold) - weight * np.mean(best)

    sizes = np.sqrt(width * height) / side
    bounds = [_bounds(sizes)] * len(cells) + [_bounds(width / height)]
    # No final polishing: it follows the gradient, which is 0 almost everywhere.
    tolerance = weight * MEAN_IOU_TOLERANCE
    found = scipy.optimize.differential_evolution(
        loss, bounds, seed=seed, popsize=15, tol=tolerance, maxiter=80, polish=False
    )
    return _shape(found.x)


def _best_iou_at(cells, shape, side):
    """IoU (N,) of boxes in cells with the best of the anchors of a Shape, one a feature map."""
    root = shape.aspect_ratio**0.5
    sizes = [scale * side for scale in shape.scales]
    ious = [coverage.iou_at(cell, (size * root, size / root)) for cell, size in zip(cells, sizes)]
    return np.max(ious, axis=0)


def _shape(logarithms):
    """The Shape of a point of the search, rounded: measured are the values as they are written."""
    *scales, ratio = (float(value) for value in np.exp(logarithms))
    # At least one in the last decimal: a scale or ratio of 0 is none.
    scales = [max(round(scale, SCALE_DECIMALS), 10**-SCALE_DECIMALS) for scale in scales]
    return Shape(scales, max(round(ratio, RATIO_DECIMALS), 10**-RATIO_DECIMALS))


def _bounds(values):
    """Bounds for the logarithm of an anchor's size or ratio: the range of nearly all boxes."""
    low, high = np.log(np.percentile(values, [1, 99]))
    return low - 0.1, high + 0.1  # 10 % more on both sides, for the case of equal boxes


def stated_coverage(text: str) -> List[Tuple[float, float]]:
    """The coverages that the comments of a config state: (share, IoU threshold) of each."""
    return [(float(share), float(threshold)) for share, threshold in COMMENT_PATTERN.findall(text)]


def config_lines(advice: Advice) -> List[str]:
    """The lines of a ``.config`` for these anchors.

    They are two blocks of ``model.ssd``, which replace those of the same names, and a comment on
    the third value to change.
    """
    width, height = advice.image_wh
    return [
        f"# in model {{ ssd {{ feature_extractor {{ ... }} }} }}: num_layers: {len(advice.layers)}",
        "image_resizer {",
        "  fixed_shape_resizer {",
        f"    height: {height}",
        f"    width: {width}",
        "  }",
        "}",
        *generator_lines(advice),
    ]


def generator_lines(advice: Advice) -> List[str]:
    """The ``anchor_generator`` block of ``config_lines`` alone."""
    share = coverage.shares(advice.best_iou, [advice.threshold])[0]
    return [
        "anchor_generator {",
        "  " + COMMENT.format(share, advice.threshold),
        "  ssd_anchor_generator {",
        f"    num_layers: {len(advice.layers)}",
        *(f"    scales: {scale:g}" for scale in advice.scales),
        f"    aspect_ratios: {advice.aspect_ratio:g}",
        "    reduce_boxes_in_lowest_layer: false",
        "    interpolated_scale_aspect_ratio: 0.0",
        "  }",
        "}",
    ]
