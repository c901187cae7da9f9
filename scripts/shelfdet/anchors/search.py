"""The search for the anchors that meet the most boxes: one per cell, for either of two anchor generators."""

import collections
import re

import numpy as np
import scipy.optimize

from shelfdet.anchors import anchors

THRESHOLD = 0.5

# A box that is met at the threshold is the aim; among equals, and to give the search a slope, the mean IoU counts a
# little.
MEAN_IOU_WEIGHT = 0.05

# Values are written into a .config with so many decimals, and judged as written.
SCALE_DECIMALS = 4
RATIO_DECIMALS = 3
SIZE_DECIMALS = 2

# The comment that states a config's coverage; a test and step 05 work it out again.
COMMENT = "# coverage: {:.2f} of the train boxes meet an anchor at IoU >= {:g}"
COMMENT_PATTERN = re.compile(
    r"(?:coverage: (0\.\d+|1\.0+)|(\d+) %) of (?:the train boxes|them) meet an anchor at IoU (?:>= )?(0\.\d+)"
)

Advice = collections.namedtuple(
    "Advice", "generator image_wh grids_wh sizes ratios layers threshold best_iou"
)
Advice.__doc__ = """One anchor per cell, as good as this generator can.

generator: "ssd_anchor_generator" or "flexible_grid_anchor_generator". sizes: for each layer the scale (share of the
shorter side) or the base size (pixels). ratios: width over height, one for each layer. layers: list of anchors.Layer.
threshold: the IoU that it was sought for. best_iou: (N,) of the boxes that it was sought on."""


def ssd(boxes_xyxy, grids_wh, image_wh, threshold=THRESHOLD, seed=0):
    """The best ``scales`` and the one best ``aspect_ratios`` for ``ssd_anchor_generator``.

    Args:
      boxes_xyxy: (N, 4), resized.
      grids_wh: cells of each feature map.
      image_wh: the network's input.
      threshold: the IoU that counts, the matcher's.
      seed: the result is the same for the same seed.

    Returns:
      Advice.
    """

    def sides(values):
        return [(size * values[-1] ** 0.5, size / values[-1] ** 0.5) for size in values[:-1]]

    sizes, ratio = _split(
        _search(boxes_xyxy, grids_wh, image_wh, sides, 1, threshold, seed), len(grids_wh)
    )
    scales = [round(size / min(image_wh), SCALE_DECIMALS) for size in sizes]
    ratios = [round(ratio[0], RATIO_DECIMALS)] * len(grids_wh)
    layers = anchors.ssd_layers(grids_wh, image_wh, scales, ratios)
    return Advice(
        "ssd_anchor_generator",
        tuple(image_wh),
        list(grids_wh),
        scales,
        ratios,
        layers,
        threshold,
        anchors.best_iou(boxes_xyxy, layers)[0],
    )


def flexible(boxes_xyxy, grids_wh, image_wh, threshold=THRESHOLD, seed=0, shared=None):
    """The best size and ratio of each layer for ``flexible_grid_anchor_generator``; arguments as ``ssd``.

    This generator can lay all that the other can, but the search over more values may end lower: then its advice is
    taken. ``shared`` is the Advice that ``ssd`` gave for the same arguments; without it, it is sought.

    Returns:
      Advice, or None where a feature map's stride is no even number of pixels: strides and offsets (half of a stride)
      are whole there, so anchors could not sit in the middle of the cells.
    """
    if any(side % (2 * cells) for grid_wh in grids_wh for side, cells in zip(image_wh, grid_wh)):
        return None
    count = len(grids_wh)

    def sides(values):
        return [
            (size * ratio**0.5, size / ratio**0.5)
            for size, ratio in zip(values[:count], values[count:])
        ]

    sizes, ratios = _split(
        _search(boxes_xyxy, grids_wh, image_wh, sides, count, threshold, seed), count
    )
    shared = shared or ssd(boxes_xyxy, grids_wh, image_wh, threshold, seed)
    advice = [
        _flexible_advice(boxes_xyxy, grids_wh, image_wh, *values, threshold)
        for values in (
            (sizes, ratios),
            ([scale * min(image_wh) for scale in shared.sizes], shared.ratios),
        )
    ]
    return max(advice, key=lambda one: (np.sum(one.best_iou >= threshold), np.sum(one.best_iou)))


def _flexible_advice(boxes_xyxy, grids_wh, image_wh, sizes, ratios, threshold):
    sizes = [round(size, SIZE_DECIMALS) for size in sizes]
    ratios = [round(ratio, RATIO_DECIMALS) for ratio in ratios]
    layers = anchors.flexible_layers(grids_wh, image_wh, sizes, ratios)
    return Advice(
        "flexible_grid_anchor_generator",
        tuple(image_wh),
        list(grids_wh),
        sizes,
        ratios,
        layers,
        threshold,
        anchors.best_iou(boxes_xyxy, layers)[0],
    )


def _split(values, count):
    return [float(value) for value in values[:count]], [float(value) for value in values[count:]]


def _search(boxes_xyxy, grids_wh, image_wh, sides, ratio_count, threshold, seed):
    """Differential evolution over the logarithms of one size per layer and ``ratio_count`` ratios, inside what the
    boxes span.

    The share of boxes met is a function with steps, so no gradient helps; each evaluation takes a fraction of a
    millisecond because the distance to the nearest centre is worked out once.

    Returns:
      list of sizes in pixels (square root of the area), then ratios, layer by layer.
    """
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    boxes_xyxy = boxes_xyxy[(boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)]
    count = len(grids_wh)
    if not len(boxes_xyxy):  # nothing to go by: a tenth of the input, square
        return [0.1 * min(image_wh)] * count + [1.0] * ratio_count
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    at = [
        anchors.offsets(boxes_xyxy, layer)
        for layer in anchors.ssd_layers(grids_wh, image_wh, [0.1] * count, 1.0)
    ]

    def loss(logarithms):
        best = np.max(
            [anchors.iou_at(offset, wh) for offset, wh in zip(at, sides(np.exp(logarithms)))],
            axis=0,
        )
        return -np.mean(best >= threshold) - MEAN_IOU_WEIGHT * np.mean(best)

    bounds = [_span(np.sqrt(width * height))] * count + [_span(width / height)] * ratio_count
    found = scipy.optimize.differential_evolution(
        loss, bounds, seed=seed, popsize=15, tol=1e-5, maxiter=80, polish=False
    )
    return list(np.exp(found.x))


def _span(values):
    """Bounds for the logarithm of an anchor's size or ratio: what nearly all boxes have, and a little room."""
    low, high = np.log(np.percentile(values, [1, 99]))
    return low - 0.1, high + 0.1


def stated_coverage(text):
    """What the comments of a config say of its coverage: list of (share, IoU threshold)."""
    return [
        (float(share) if share else float(percent) / 100, float(threshold))
        for share, percent, threshold in COMMENT_PATTERN.findall(text)
    ]


def config_lines(advice):
    """The lines of a ``.config`` that make these anchors: two blocks of ``model.ssd``, in place of those there."""
    return [
        f"# in model {{ ssd {{ feature_extractor {{ ... }} }} }}: num_layers: {len(advice.layers)}",
        "image_resizer {",
        "  fixed_shape_resizer {",
        f"    height: {advice.image_wh[1]}",
        f"    width: {advice.image_wh[0]}",
        "  }",
        "}",
    ] + generator_lines(advice)


def generator_lines(advice):
    """The ``anchor_generator`` block of ``config_lines`` alone."""
    inner = (
        _ssd_lines(advice)
        if advice.generator == "ssd_anchor_generator"
        else _flexible_lines(advice)
    )
    share = anchors.shares(advice.best_iou, [advice.threshold])[0]
    return (
        [
            "anchor_generator {",
            "  " + COMMENT.format(share, advice.threshold),
            f"  {advice.generator} {{",
        ]
        + inner
        + ["  }", "}"]
    )


def _ssd_lines(advice):
    return (
        [f"    num_layers: {len(advice.layers)}"]
        + [f"    scales: {scale:g}" for scale in advice.sizes]
        + [
            f"    aspect_ratios: {advice.ratios[0]:g}",
            "    reduce_boxes_in_lowest_layer: false",
            "    interpolated_scale_aspect_ratio: 0.0",
        ]
    )


def _flexible_lines(advice):
    lines = []
    for size, ratio, layer in zip(advice.sizes, advice.ratios, advice.layers):
        lines += [
            "    anchor_grid {",
            f"      base_sizes: {size:g}",
            f"      aspect_ratios: {ratio:g}",
        ]
        for name, (across, down) in (("stride", layer.stride_wh), ("offset", layer.offset_wh)):
            lines += [f"      height_{name}: {down:g}", f"      width_{name}: {across:g}"]
        lines.append("    }")
    return lines
