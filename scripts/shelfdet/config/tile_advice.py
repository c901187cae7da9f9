"""What tiles would do for a config (step 03): size of the products, anchor coverage and cost."""

import argparse
import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import anchor_advice, pipeline
from shelfdet.config import network as networks
from shelfdet.core import command_line
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.data import examples, labels

TABLE_TILES = (1, 2, 3)  # in a row
# What tiles must cover more than whole images to be worth their time in detection
WORTH_COVERAGE = 0.05
# The anchor of ssd_inception_v2_products, whose weights `make train START=` begins with, in pixels
# of the input: 3 cells of the first feature map. Of products of one such size most are covered.
PRODUCT_SIDE, PRODUCT_ASPECT_RATIO = 50, 0.657


class TileRow(NamedTuple):
    """The training images in tiles.

    tiling: how they are divided. images: number of tiles with a product. median_wh: of the
    products, in pixels of the network's input. scale: the median scale (see ``core.tiles``).
    config_coverage: share of the products that the config's anchors cover; None if they are not one
    per cell. best: the best anchors for these products on the config's feature maps. runs: how
    often step 08 runs the network for an image with --tiles N; None where --tiles auto, which tries
    several numbers, makes such tiles.
    """

    tiling: examples.Tiling
    images: int
    median_wh: Tuple[float, float]
    scale: float
    config_coverage: Optional[float]
    best: search.Advice
    runs: Optional[int]


def tiling_by_image(image_wh: Tuple[int, int]) -> Optional[examples.Tiling]:
    """Tiles by image, for a network with this input (width, height); None if step 04 refuses them.

    In them the median product of each image comes nearest to one size and shape, PRODUCT_SIDE and
    PRODUCT_ASPECT_RATIO: a width of side * sqrt(ratio) and a height of side / sqrt(ratio) pixels of
    the input. Sizes and shapes that differ from image to image are made alike.
    """
    width, height = image_wh
    try:
        # As step 04 reads its options.
        scale = command_line.share(f"{PRODUCT_SIDE / math.sqrt(width * height):.3g}")
        # A Tiling's ratio is that of the shares of the tile's sides.
        ratio = command_line.aspect_ratio(f"{PRODUCT_ASPECT_RATIO * height / width:.3g}")
    except argparse.ArgumentTypeError:
        return None
    return examples.Tiling(product_scale=scale, product_aspect_ratio=ratio)


def options(tiling: examples.Tiling) -> str:
    """The options of step 04 for what ``tiling_by_image`` returned."""
    scale = both(f"--product-scale {tiling.product_scale:g}")
    return f"{scale} and {both(f'--product-aspect-ratio {tiling.product_aspect_ratio:g}')}"


def divided(
    images: Sequence[labels.LabelledImage], tiling: examples.Tiling
) -> List[labels.LabelledImage]:
    """The tiles of images that have a product, labelled as step 04 does."""
    return [
        example.labelled
        for image in images
        for example in examples.of_image(image, tiling)
        if example.labelled.classes
    ]


def tile_rows(
    config: pipeline.Config,
    measurement: anchor_advice.Measurement,
    images: Sequence[labels.LabelledImage],
    seed: int = 0,
) -> List[TileRow]:
    """A TileRow for each of TABLE_TILES, and one for tiles by image.

    Left out are tiles that step 04 refuses, and those in which no product would be labelled.

    Args:
      config: as ``pipeline.read`` returns it.
      measurement: what ``anchor_advice.measure`` returned for it.
      images: the training images, not divided.
      seed: of the search.
    """
    network = measurement.network
    threshold = pipeline.matcher(config).matched or coverage.COVERED_IOU
    own_layers = None
    if set(measurement.anchors.per_cell) == {1}:
        own_layers = networks.anchor_layers(
            measurement.anchors.anchors_xyxy, measurement.anchors.layer, network
        )
    by_image = tiling_by_image(network.image_wh)
    tilings = [examples.Tiling((count,)) for count in TABLE_TILES]
    rows = []
    for tiling in progress(tilings + ([by_image] if by_image else []), "tiles"):
        parts = divided(images, tiling)
        if not parts:
            continue
        boxes_xyxy = np.concatenate(anchors.resized(parts, network.image_wh))
        sizes_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        scales = np.sqrt(sizes_wh.prod(axis=1) / np.prod(network.image_wh))
        own_coverage = None
        if own_layers is not None:
            best_iou, _ = coverage.best_iou(boxes_xyxy, own_layers)
            own_coverage = coverage.shares(best_iou, [threshold])[0]
        rows.append(
            TileRow(
                tiling=tiling,
                images=len(parts),
                median_wh=tuple(np.median(sizes_wh, axis=0).tolist()),
                scale=float(np.median(scales)),
                config_coverage=own_coverage,
                best=search.best_anchors(
                    boxes_xyxy, network.grids_wh, network.image_wh, threshold, seed
                ),
                runs=None if tiling is by_image else _runs(*tiling.counts),
            )
        )
    return rows


def _runs(count: int) -> int:
    # Step 08 detects in the whole image, too.
    return 1 if count == 1 else count**2 + 1


def table_lines(rows: Sequence[TileRow]) -> List[str]:
    """The table, one line for each way to divide the images, and how to use it."""
    threshold = rows[0].best.threshold
    lines = [
        "",
        f"Training in tiles with step 04's {both('--tiles N')}: products at the input, anchor "
        f"coverage at IoU {threshold:g}, cost",
        f"{'tiles':10}{'images':>8}{'median product':>18}{'scale':>9}{'this config':>13}"
        f"{'best':>8}  {'best scales, ratio':24}{'runs of the network':>20}",
    ]
    for row in rows:
        width, height = row.median_wh
        own = "-" if row.config_coverage is None else f"{row.config_coverage:.3f}"
        best_share = coverage.shares(row.best.best_iou, [threshold])[0]
        scales = ", ".join(f"{scale:.3g}" for scale in row.best.scales)
        shape = f"{scales}; {row.best.aspect_ratio:.2f}"
        runs = "-" if row.runs is None else row.runs
        lines.append(
            f"{_name(row.tiling):10}{row.images:>8}{f'{width:.0f} x {height:.0f} px':>18}"
            f"{row.scale:>9.3f}{own:>13}{best_share:>8.3f}  {shape:24}{runs:>20}"
        )
    last = rows[-1].tiling
    if last.product_scale is not None:
        lines.append(
            f"by image: as many columns and rows for each image as its products need, with "
            f"{options(last)}; detect with {both('--tiles auto')}"
        )
    return lines


def _name(tiling: examples.Tiling) -> str:
    if tiling.product_scale is not None:
        return "by image"
    (count,) = tiling.counts
    return f"{count} x {count}"


def as_json(rows: Sequence[TileRow]) -> List[Dict[str, Any]]:
    """The rows for anchors.json."""
    return [
        {
            "tiles": None if row.tiling.product_scale else row.tiling.counts[0],
            "product_scale": row.tiling.product_scale,
            "product_aspect_ratio": row.tiling.product_aspect_ratio,
            "images": row.images,
            "median_wh": row.median_wh,
            "scale": row.scale,
            "config_coverage": row.config_coverage,
            "best_coverage": coverage.shares(row.best.best_iou, [row.best.threshold])[0],
            "scales": row.best.scales,
            "aspect_ratio": row.best.aspect_ratio,
            "runs": row.runs,
            "lines": search.config_lines(row.best),
        }
        for row in rows
    ]
