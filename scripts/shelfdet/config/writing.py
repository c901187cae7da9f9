"""Writes a training config for a dataset: network, anchors, limits and schedule that suit it."""

import math
import pathlib
import re
import string
from typing import List, NamedTuple, Optional

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import coverage_advice, pipeline, record_checks, search_sizes, tile_advice
from shelfdet.config import network as networks
from shelfdet.config.findings import ERROR, Findings
from shelfdet.core import paths, shards, workspace_names
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.core.text import counted
from shelfdet.data import labels
from shelfdet.data.label_map import read_label_map

# The graph whose weights the training of a config should start from.
START = paths.SHIPPED_PRODUCTS_GRAPH
TEMPLATE = pathlib.Path(__file__).with_name("template.config")

USUAL_MATCH, LOW_MATCH = 0.5, 0.4
# Limits on boxes: by how much they exceed the fullest image, and in what steps they are written.
ROOM, LIMIT_STEP = 1.25, 50
LEAST_LIMIT = 100  # object_detection's default
BATCH_SIZE = 4  # images of a step, where there are so many
# A warm-up longer than a tenth of the training would leave little of it.
USUAL_WARMUP, WARMUP_SHARE = 200, 0.1
USUAL_DECAY = 0.97
STEPS_OF_DECAY = 10  # how many times as long as the statistics' memory 1 / (1 - decay) training is


class Dataset(NamedTuple):
    """What a config is written for.

    name: paths.DEFAULT_DATASET, or that of ``make data NAME=``.
    images: the examples of the training record, whole images or tiles, that have a product.
    fullest: the largest number of products in an example of the records.
    fullest_whole: the same in a whole image of the label files.
    is_divided: whether the examples are tiles.
    label_map: its file. num_classes: of it.
    """

    name: str
    images: List[labels.LabelledImage]
    fullest: int
    fullest_whole: int
    is_divided: bool
    label_map: pathlib.Path
    num_classes: int


class Network(NamedTuple):
    """A network and its best anchors.

    advice: as the search of step 03 returns it, for the matcher's threshold ``matched``.
    operations: multiply-adds for an image.
    highest: the coverage at USUAL_MATCH that no feature map exceeds.
    """

    advice: search.Advice
    matched: float
    operations: int
    highest: float = 1.0


def read_dataset(name: str) -> Dataset:
    """Reads the records and label files of a dataset.

    Raises:
      UserError: they are not there, cannot be read, or hold no products.
    """
    workspace_names.require_dataset(name)
    summaries = []
    fullest_whole = 0
    for split in ("train", "val"):
        record = paths.record(split, name)
        findings = Findings(record, "")
        files = record_checks.find_written(record, split, findings)
        if not files and not findings.count(ERROR):
            option = "" if name == paths.DEFAULT_DATASET else f" NAME={name}"
            raise UserError(
                f"{paths.shown(record)}: no such file; expected the records of the dataset. Run "
                f"`make data{option}`, or name another dataset with {both('--dataset')}; without "
                "one it is the dataset that has no name."
            )
        summary = record_checks.read_record(files, split, findings) if files else None
        for finding in findings:
            raise UserError(f"{paths.shown(record)}: {finding.found}. Run `make data`.")
        summaries.append(summary)
        labelled = labels.read_labels(paths.labels(split, name))
        fullest_whole = max([fullest_whole] + [len(image.boxes_xyxy) for image in labelled])
    images = [
        image for image in record_checks.labelled_images(summaries[0]) if len(image.boxes_xyxy)
    ]
    if not images:
        raise UserError(
            f"{paths.shown(summaries[0].path)}: no product in it; expected some. Run `make data` "
            "with annotated images."
        )
    label_map = paths.dataset_label_map(paths.dataset_annotations(name))
    return Dataset(
        name,
        images,
        max(len(boxes) for summary in summaries for boxes in summary.boxes_yxyx),
        fullest_whole,
        any(summary.is_divided for summary in summaries),
        label_map,
        len(read_label_map(label_map)),
    )


def choose_network(dataset: Dataset, seed: int = 0) -> Network:
    """The network of fewest operations among those whose anchors cover the most products.

    All have one anchor per cell. Compared are the input sizes of ``search_sizes`` with one and two
    feature maps. Those with as many as START has come first: all its weights fit them, while with
    another number those that predict boxes and classes would be untrained.

    Args:
      dataset: with its images.
      seed: of the search for anchors.
    """
    config = pipeline.read(paths.SHIPPED_CONFIG)
    found = []
    sizes = search_sizes.for_images([image.size_wh for image in dataset.images])
    for image_wh in progress(sizes, "input sizes"):
        resized = np.concatenate(anchors.resized(dataset.images, image_wh))
        for network in networks.build_networks(config, (1, 2), image_wh):
            advice = search.best_anchors(resized, network.grids_wh, image_wh, seed=seed)
            found.append(Network(advice, USUAL_MATCH, network.multiply_adds))
    best = max(_covered(network) for network in found)
    least = best - coverage_advice.EQUAL_COVERAGE
    if best >= coverage_advice.GOOD_COVERAGE:
        least = max(least, coverage_advice.GOOD_COVERAGE)  # what step 05 expects
    equal = [network for network in found if _covered(network) >= least]
    start_layers = pipeline.read(START / paths.CONFIG_FILE).model.ssd.feature_extractor.num_layers
    fitting = [network for network in equal if len(network.advice.scales) == start_layers]
    chosen = min(fitting or equal, key=lambda network: network.operations)
    if best >= coverage_advice.GOOD_COVERAGE:
        return chosen
    # A lower threshold lets anchors learn more of the products.
    resized = np.concatenate(anchors.resized(dataset.images, chosen.advice.image_wh))
    highest = search.highest_coverage(resized, chosen.advice.image_wh, 2, USUAL_MATCH, seed)
    advice = search.best_anchors(
        resized, chosen.advice.grids_wh, chosen.advice.image_wh, LOW_MATCH, seed
    )
    return Network(advice, LOW_MATCH, chosen.operations, highest)


def config_text(
    name: str,
    dataset: Dataset,
    network: Network,
    num_steps: int,
    duration: str = "",
    start: Optional[str] = None,
) -> str:
    """The text of a config.

    Args:
      name: of the config, without .config.
      dataset: the data to train on.
      network: what to train.
      num_steps: length of the training.
      duration: a comment on it.
      start: name of the graph whose weights the training should start from, for the commands in
        the first lines.
    """
    advice = network.advice
    width, height = advice.image_wh
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    is_default = dataset.name == paths.DEFAULT_DATASET
    return template.substitute(
        title=f"For {_described(dataset)}. `make config` wrote it.",
        name=name,
        start=f" START={start}" if start else "",
        evaluation=_evaluation_options(dataset, is_default),
        num_classes=dataset.num_classes,
        matching=_matching_reason(network),
        matched=network.matched,
        layers=_layers_reason(network),
        num_layers=len(advice.scales),
        coverage=search.COMMENT.format(_covered(network), network.matched),
        scales="\n".join(f"        scales: {scale:g}" for scale in advice.scales),
        aspect_ratio=f"{advice.aspect_ratio:g}",
        input=_input_reason(dataset, network),
        height=height,
        width=width,
        decay=f"{_decay(num_steps):g}",
        fullest=dataset.fullest_whole,
        max_detections=_limit(dataset.fullest_whole),
        batch_reason=_batch_reason(len(dataset.images)),
        batch_size=min(BATCH_SIZE, len(dataset.images)),
        num_steps=num_steps,
        duration=duration,
        warmup_steps=_warmup(num_steps),
        max_boxes=_limit(dataset.fullest),
        label_map=paths.shown(dataset.label_map),
        train_record=paths.shown(shards.input_path(paths.record("train", dataset.name))),
        val_record=paths.shown(shards.input_path(paths.record("val", dataset.name))),
    )


def check_name(name: str) -> None:
    """Refuses a name that cannot be that of a config, or is of an included detector.

    Raises:
      UserError: so.
    """
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]*$", name):
        raise UserError(
            f"{both(f'--config {name}')}: expected letters, digits, _, - and . (it becomes "
            f"NAME.config in {paths.shown(paths.TRAINING)})"
        )
    if name in {folder.name for folder in paths.SHIPPED_GRAPHS}:
        raise UserError(
            f"{both(f'--config {name}')}: is an included detector; expected a name of your own"
        )


def summary_lines(dataset: Dataset, network: Network) -> List[str]:
    """What was chosen, and why, for the terminal."""
    width, height = network.advice.image_wh
    return [
        f"{_described(dataset)}: {counted(len(dataset.images), _unit(dataset))} with "
        f"{counted(sum(len(image.boxes_xyxy) for image in dataset.images), 'product')}",
        f"input {width} x {height} px, {counted(len(network.advice.scales), 'feature map')}, one "
        f"anchor per cell: {_covered(network):.2f} of the products covered at IoU "
        f"{network.matched:g}",
        f"  {_matching_reason(network)}",
    ]


def tiles_line(dataset: Dataset, network: Network) -> Optional[str]:
    """Advice to train in tiles; None where whole images do, or tiles cover hardly more.

    Args:
      dataset: with its images.
      network: as ``choose_network`` returns it.
    """
    covered = _covered(network)
    if dataset.is_divided or covered >= coverage_advice.GOOD_COVERAGE:
        return None
    advice = network.advice
    tiling = tile_advice.tiling_by_image(advice.image_wh)
    share = coverage_advice.share_in_tiles(
        dataset.images, advice.image_wh, advice.grids_wh, network.matched
    )
    if share is None or share < covered + tile_advice.WORTH_COVERAGE:
        return None
    name = "" if dataset.name == paths.DEFAULT_DATASET else f" NAME={dataset.name}"
    return (
        "  The products are small or of different shapes in whole images: in tiles by image "
        f"{share:.2f} would be covered at IoU {network.matched:g}. Run `make data{name} "
        f"PRODUCT_SCALE={tiling.product_scale:g} "
        f"PRODUCT_ASPECT_RATIO={tiling.product_aspect_ratio:g}` with the other options as before, "
        f"then this command again with {both('--overwrite')}. Detection in tiles takes more time."
    )


def _covered(network: Network) -> float:
    return coverage.shares(network.advice.best_iou, [network.matched])[0]


def _described(dataset: Dataset) -> str:
    kind = "in tiles" if dataset.is_divided else "in whole images"
    if dataset.name == paths.DEFAULT_DATASET:
        return f"the dataset of `make data`, {kind}"
    return f"the dataset {dataset.name}, {kind}"


def _unit(dataset: Dataset) -> str:
    return "tile" if dataset.is_divided else "image"


def _evaluation_options(dataset: Dataset, is_default: bool) -> str:
    name = "" if is_default else f" NAME={dataset.name}"
    # A network trained in tiles expects products of the size that they have there.
    return name + (" TILES=auto" if dataset.is_divided else "")


def _matching_reason(network: Network) -> str:
    if network.matched == USUAL_MATCH:
        return "An anchor learns the products that it overlaps by this IoU."
    at_usual = coverage.shares(network.advice.best_iou, [USUAL_MATCH])[0]
    reason = "their shapes differ"
    if network.highest >= coverage_advice.GOOD_COVERAGE:
        reason = "they are small here"
    return f"Only {at_usual:.2f} of the products are covered at IoU {USUAL_MATCH:g}: {reason}."


def _layers_reason(network: Network) -> str:
    count = len(network.advice.scales)
    return "A second one covers hardly more." if count == 1 else "One alone covers fewer products."


def _batch_reason(images: int) -> str:
    if images < BATCH_SIZE:
        return f"  # zoo: 24. There are {images} training images with a product."
    return (
        f"  # zoo: 24. With the same number of images, batches of {BATCH_SIZE} for twice the steps "
        "detect more products\n  # than batches of 8 (make ablations)."
    )


def _input_reason(dataset: Dataset, network: Network) -> str:
    resized = np.concatenate(anchors.resized(dataset.images, network.advice.image_wh))
    width, height = np.median(resized[:, 2:] - resized[:, :2], axis=0)
    return f"The median product is {width:.0f} x {height:.0f} px here."


def _limit(fullest: int) -> int:
    return max(LEAST_LIMIT, LIMIT_STEP * math.ceil(ROOM * fullest / LIMIT_STEP))


def _warmup(num_steps: int) -> int:
    return max(1, min(USUAL_WARMUP, int(WARMUP_SHARE * num_steps)))


def _decay(num_steps: int) -> float:
    """The batch norms' decay: their statistics are a mean over about 1 / (1 - decay) steps."""
    longest = max(2.0, num_steps / STEPS_OF_DECAY)
    return min(USUAL_DECAY, math.floor(100 * (1 - 1 / longest)) / 100)
