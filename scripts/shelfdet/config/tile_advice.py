"""What tiles would do for a config (step 03): size of the products, anchor coverage and cost."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import anchor_advice, pipeline
from shelfdet.config import network as networks
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.data import examples, labels

TABLE_TILES = (1, 2, 3)  # in a row
# What tiles must cover more than whole images to be worth their time in detection
WORTH_COVERAGE = 0.05


class TileRow(NamedTuple):
    """The training images in ``count`` x ``count`` tiles each.

    images: number of tiles with a product. median_wh: of the products, in pixels of the network's
    input. scale: the median scale (see ``core.tiles``). config_coverage: share of the products that
    the config's anchors cover; None if they are not one per cell. best: the best anchors for these
    products on the config's feature maps. runs: how often step 08 runs the network for an image.
    """

    count: int
    images: int
    median_wh: Tuple[float, float]
    scale: float
    config_coverage: Optional[float]
    best: search.Advice
    runs: int


def divided(images: Sequence[labels.LabelledImage], count: int) -> List[labels.LabelledImage]:
    """The ``count`` x ``count`` tiles of images that have a product, labelled as step 04 does."""
    tiling = examples.Tiling((count,))
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
    """A TileRow for each of TABLE_TILES.

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
    rows = []
    for count in progress(TABLE_TILES, "tiles"):
        parts = divided(images, count)
        boxes_xyxy = np.concatenate(anchors.resized(parts, network.image_wh))
        sizes_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        scales = np.sqrt(sizes_wh.prod(axis=1) / np.prod(network.image_wh))
        own_coverage = None
        if own_layers is not None:
            best_iou, _ = coverage.best_iou(boxes_xyxy, own_layers)
            own_coverage = coverage.shares(best_iou, [threshold])[0]
        rows.append(
            TileRow(
                count=count,
                images=len(parts),
                median_wh=tuple(np.median(sizes_wh, axis=0).tolist()),
                scale=float(np.median(scales)),
                config_coverage=own_coverage,
                best=search.best_anchors(
                    boxes_xyxy, network.grids_wh, network.image_wh, threshold, seed
                ),
                # Step 08 detects in the whole image, too.
                runs=1 if count == 1 else count**2 + 1,
            )
        )
    return rows


def table_lines(rows: Sequence[TileRow]) -> List[str]:
    """The table, one line for each number of tiles, and how to use it."""
    threshold = rows[0].best.threshold
    lines = [
        "",
        f"Training in N x N tiles with step 04's {both('--tiles N')}: products at the input, "
        f"anchor coverage at IoU {threshold:g}, cost",
        f"{'tiles':8}{'images':>8}{'median product':>18}{'scale':>9}{'this config':>13}"
        f"{'best':>8}  {'best scales, ratio':24}{'runs of the network':>20}",
    ]
    for row in rows:
        width, height = row.median_wh
        own = "-" if row.config_coverage is None else f"{row.config_coverage:.3f}"
        best_share = coverage.shares(row.best.best_iou, [threshold])[0]
        scales = ", ".join(f"{scale:.3g}" for scale in row.best.scales)
        shape = f"{scales}; {row.best.aspect_ratio:.2f}"
        lines.append(
            f"{f'{row.count} x {row.count}':8}{row.images:>8}{f'{width:.0f} x {height:.0f} px':>18}"
            f"{row.scale:>9.3f}{own:>13}{best_share:>8.3f}  {shape:24}{row.runs:>20}"
        )
    return lines


def as_json(rows: Sequence[TileRow]) -> List[Dict[str, Any]]:
    """The rows for anchors.json."""
    return [
        {
            "tiles": row.count,
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
