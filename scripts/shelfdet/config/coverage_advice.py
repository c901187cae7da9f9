"""What to do where anchors cover few of the training boxes: other inputs or tiles, if they help.

Two things limit the coverage of one anchor per cell. Products that are small have their centres far
from those of the cells, by their own size: a larger input, or tiles, helps. Products of different
shapes are not covered by anchors of one shape, unless the shapes differ from image to image and
step 04 makes tiles by image (--product-aspect-ratio); otherwise nothing helps but a
lower threshold of the matcher. ``search.highest_coverage`` tells the two apart.
"""

from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import anchor_advice, pipeline, tile_advice
from shelfdet.config.network import Network, Size, build_networks
from shelfdet.core.boxes import areas
from shelfdet.core.make_variables import both
from shelfdet.data import examples
from shelfdet.data.labels import LabelledImage

# From this share of covered boxes on, nothing is advised and the matcher's usual threshold is kept.
GOOD_COVERAGE = 0.8
# Coverages that differ by less are taken as equal, and the network of fewer operations is chosen:
# in the same time it trains more steps. On the Grocery Dataset one feature map reached a higher AP
# than two, whose coverage is 0.10 higher (make ablations).
EQUAL_COVERAGE = 0.1
COSTLY = 2  # times the operations: from there on a larger input is named, and not advised


class Reach(NamedTuple):
    """What can be reached.

    highest: coverage where each box lies in the centre of an anchor: no feature map covers more.
    wanted: the coverage from which on nothing is advised.
    network: the first of step 03's inputs with it, from small to large; None if none has it.
    tiles_share: coverage by the config's own feature maps in tiles by image, if it is worth them;
      otherwise None, as where the examples are tiles already.
    """

    highest: float
    wanted: float
    network: Optional[anchor_advice.Candidate]
    tiles_share: Optional[float]


def find(
    config: pipeline.Config,
    network: Network,
    images: Sequence[LabelledImage],
    covered: float,
    is_divided: bool,
) -> Reach:
    """What can be reached for the training images of a config.

    Args:
      config: as ``pipeline.read`` returns it.
      network: of the config.
      images: the examples of the training record.
      covered: the highest coverage on the feature maps of ``network``.
      is_divided: whether the examples are tiles.
    """
    threshold = pipeline.matcher(config).matched or coverage.COVERED_IOU
    layers = max(len(network.grids_wh), *anchor_advice.TABLE_LAYER_COUNTS)
    highest = search.highest_coverage(
        _boxes(images, network.image_wh), network.image_wh, layers, threshold
    )
    wanted = min(GOOD_COVERAGE, highest - EQUAL_COVERAGE)
    larger = None
    if covered < wanted:
        larger = _larger_network(config, network, images, threshold, wanted)
    share = None
    if not is_divided:
        share = share_in_tiles(images, network.image_wh, network.grids_wh, threshold)
    if share is None or share < covered + tile_advice.WORTH_COVERAGE:
        return Reach(highest, wanted, larger, None)
    return Reach(highest, wanted, larger, share)


def share_in_tiles(
    images: Sequence[LabelledImage], image_wh: Size, grids_wh: Sequence[Size], threshold: float
) -> Optional[float]:
    """The share of the products that anchors can cover in tiles by image.

    A product that is in no tile, because it is too large, is not covered. One in several tiles
    counts as often.

    Args:
      images: whole images with their boxes.
      image_wh: the network's input.
      grids_wh: its feature maps, in cells.
      threshold: the IoU from which on a product is covered.

    Returns:
      the share, or None if step 04 cannot make such tiles of these images.
    """
    tiling = tile_advice.tiling_by_image(image_wh)
    # A record that step 04 did not write may hold boxes without an area or without a class.
    if tiling is None or any((areas(image.boxes_xyxy) <= 0).any() for image in images):
        return None
    divided = [examples.of_image(image, tiling) for image in images]
    parts = [one.labelled for found in divided for one in found if one.labelled.classes]
    if not parts:
        return None
    lost = sum(examples.in_no_tile(image, found) for image, found in zip(images, divided))
    kept = 1 - lost / sum(len(image.boxes_xyxy) for image in images)
    return kept * _share(_advice(parts, image_wh, grids_wh, threshold))


def is_advice(reach: Reach, network: Network) -> bool:
    """Whether what can be reached is worth its operations."""
    if reach.tiles_share is not None:
        return True
    return reach.network.network.multiply_adds < COSTLY * network.multiply_adds


def expected_text(reach: Reach, network: Network) -> str:
    """What was expected instead of a coverage that is too low: what can be reached, and how."""
    ways: List[str] = []
    if reach.network is not None:
        (width, height), maps = reach.network.network.image_wh, reach.network.network.grids_wh
        times = reach.network.network.multiply_adds / network.multiply_adds
        layers = "one feature map" if len(maps) == 1 else f"{len(maps)} feature maps"
        ways.append(
            f"{_share(reach.network.advice):.2f}, which {width} x {height} px with {layers} reach, "
            f"at {times:.1f} times the operations"
        )
    if reach.tiles_share is not None:
        tiling = tile_advice.tiling_by_image(network.image_wh)
        ways.append(
            f"{reach.tiles_share:.2f}, which these feature maps reach in tiles by image: make the "
            f"records with {tile_advice.options(tiling)}, check again, and detect with "
            f"{both('--tiles auto')}, which takes more time"
        )
    return "; or ".join(ways)


def reason_text(reach: Reach, covered: float, threshold: float, is_divided: bool) -> str:
    """Why no input of step 03's table and no tiles are advised. Arguments are those of ``find``."""
    if covered >= reach.wanted:
        reason = (
            "nothing to change: the shapes of the products differ, so that one anchor per cell "
            f"covers at most {reach.highest:.2f} of them at IoU >= {threshold:g}, whatever the "
            "input size and the number of tiles"
        )
        if not is_divided:
            return f"{reason}. In tiles by image the coverage is hardly higher"
        return (
            f"{reason}. If they differ from image to image, tiles by image may help: "
            f"{both('--product-scale')} of step 04 with {both('--product-aspect-ratio')}"
        )
    reason = (
        "nothing to change: the products are small, and no input size of step 03's table reaches "
    )
    if is_divided:
        return (
            f"{reason}{reach.wanted:.2f}. More tiles may: a larger {both('--product-scale')} of "
            "step 04"
        )
    return (
        f"{reason}{reach.wanted:.2f}, nor is the coverage much higher in tiles by image. "
        f"More tiles may: {both('--tiles')} of step 03 measures them"
    )


def _larger_network(
    config: pipeline.Config,
    network: Network,
    images: Sequence[LabelledImage],
    threshold: float,
    wanted: float,
) -> Optional[anchor_advice.Candidate]:
    own_pixels = np.prod(network.image_wh)
    for image_wh in sorted(anchor_advice.table_inputs(images), key=np.prod):
        if np.prod(image_wh) < own_pixels:
            continue
        for other in build_networks(config, anchor_advice.TABLE_LAYER_COUNTS, image_wh):
            advice = _advice(images, other.image_wh, other.grids_wh, threshold)
            if _share(advice) >= wanted:
                return anchor_advice.Candidate(other, advice)
    return None


def _advice(
    images: Sequence[LabelledImage], image_wh: Size, grids_wh: Sequence[Size], threshold: float
) -> search.Advice:
    """The best anchors, searched for some of the boxes and measured on all."""
    resized = _boxes(images, image_wh)
    some = search.some_boxes(resized)
    found = search.best_anchors(some, grids_wh, image_wh, threshold)
    best_iou, _ = coverage.best_iou(resized, found.layers)
    return found._replace(best_iou=best_iou)


def _boxes(images: Sequence[LabelledImage], image_wh: Size) -> np.ndarray:
    return np.concatenate(anchors.resized(images, image_wh))


def _share(advice: search.Advice) -> float:
    return coverage.shares(advice.best_iou, [advice.threshold])[0]
