"""The logic of step 03: coverage of a config's anchors, and the best anchors for any network.

Feature maps, anchors, crops and multiply-adds come from object_detection itself, through
``config.network``.
"""

import pathlib
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import network as networks
from shelfdet.config import pipeline, search_sizes
from shelfdet.core import boxes, paths
from shelfdet.core.progress import progress
from shelfdet.core.text import counted, plural
from shelfdet.data import labels

SizeWH = Tuple[int, int]

# Squares, and 4:3 as photographs are (3:4 where most are upright). In multiples of 32 (the stride
# of the coarser feature map), except 300, the input size of the original SSD.
TABLE_INPUTS_WH = (
    (300, 300),
    (416, 416),
    (512, 512),
    (640, 640),
    (800, 800),
    (384, 288),
    (512, 384),
    (640, 480),
    (768, 576),
    (1024, 768),
)
TABLE_LAYER_COUNTS = (1, 2)
TABLE_THRESHOLDS = (0.5, 0.7)


class Measurement(NamedTuple):
    """How the config's own anchors cover the boxes.

    network: of the config. anchors: all of them. boxes_by_image: (N, 4) for each image, resized.
    coverage: of these boxes. augmented_boxes_by_image, augmented_coverage: the same after the
    config's random flips and crops.
    """

    network: networks.Network
    anchors: networks.GeneratedAnchors
    boxes_by_image: List[np.ndarray]
    coverage: coverage.Coverage
    augmented_boxes_by_image: List[np.ndarray]
    augmented_coverage: coverage.Coverage


class Candidate(NamedTuple):
    """One network and the best anchors for it.

    advice: its best_iou is of the boxes as labelled, even where the search used augmented ones.
    """

    network: networks.Network
    advice: search.Advice


def measure(
    config: pipeline.Config,
    images: Sequence[labels.LabelledImage],
    repeats: int = 1,
    seed: int = 0,
) -> Measurement:
    """Measures the anchors of a config.

    Args:
      config: as ``pipeline.read`` returns it.
      images: the training images, each with a box.
      repeats: number of random crops of each image.
      seed: of the crops.
    """
    network = networks.build_network(config)
    generated = networks.generate_anchors(config, grids_wh=network.grids_wh)
    labelled = anchors.resized(images, network.image_wh)
    augmented = networks.augmented_boxes(
        config, images, repeats, seed, lambda items: progress(items, "random crops", unit="images")
    )

    def measure_boxes(boxes_by_image: Sequence[np.ndarray]) -> coverage.Coverage:
        return coverage.measure(
            boxes_by_image,
            generated.anchors_xyxy,
            generated.layer,
            network.image_wh,
            pipeline.matcher(config),
        )

    return Measurement(
        network,
        generated,
        labelled,
        measure_boxes(labelled),
        augmented,
        measure_boxes(augmented),
    )


def table_inputs(images: Sequence[labels.LabelledImage]) -> List[SizeWH]:
    """The input sizes of step 03's table for images."""
    return search_sizes.turned(TABLE_INPUTS_WH, [image.size_wh for image in images])


def candidates(
    config: pipeline.Config,
    measurement: Measurement,
    image_wh: SizeWH,
    layer_count: int,
    table_wh: Sequence[SizeWH] = (),
    search_augmented: bool = False,
    seed: int = 0,
) -> List[Candidate]:
    """The best anchors for one network, and for those of the table.

    Args:
      config: as ``pipeline.read`` returns it.
      measurement: what ``measure`` returned for it.
      image_wh: input size of the first network.
      layer_count: its number of feature maps.
      table_wh: further input sizes, each with TABLE_LAYER_COUNTS feature maps.
      search_augmented: search on the augmented boxes instead of those as labelled.
      seed: of the search.

    Returns:
      list of Candidate, first that of ``image_wh`` and ``layer_count``.
    """
    # Normalised, because they are scaled to every input size.
    labelled = _normalised(measurement.boxes_by_image, measurement.network.image_wh)
    searched = labelled
    if search_augmented:
        searched = _normalised(measurement.augmented_boxes_by_image, measurement.network.image_wh)
    sizes = [(image_wh, [layer_count])]
    for size_wh in table_wh:
        # The requested network is already the first.
        counts = [
            count for count in TABLE_LAYER_COUNTS if (size_wh, count) != (image_wh, layer_count)
        ]
        sizes.append((size_wh, counts))
    found = []
    for size_wh, counts in progress(sizes, "input sizes"):
        found += _candidates_of_size(config, measurement, size_wh, counts, searched, labelled, seed)
    return found


def _candidates_of_size(config, measurement, image_wh, layer_counts, searched, labelled, seed):
    """Candidates for one input size; ``searched`` and ``labelled`` are normalised boxes, (N, 4)."""
    threshold = pipeline.matcher(config).matched or coverage.COVERED_IOU
    searched = boxes.scale(searched, (1, 1), image_wh)
    labelled = boxes.scale(labelled, (1, 1), image_wh)
    found = []
    for network in networks.build_networks(config, layer_counts, image_wh):
        known = _own_shape(measurement, network)
        advice = search.best_anchors(searched, network.grids_wh, image_wh, threshold, seed, known)
        # The search may have used augmented boxes; all rows report the boxes as labelled.
        labelled_iou, _ = coverage.best_iou(labelled, advice.layers)
        found.append(Candidate(network, advice._replace(best_iou=labelled_iou)))
    return found


def _own_shape(measurement, network):
    """The config's own anchors, if they are one in a cell and for the feature maps of ``network``.

    Those of several in a cell are no candidates: they may cover more boxes than one can.
    """
    own = measurement.network
    is_same = own.image_wh == network.image_wh and list(own.grids_wh) == list(network.grids_wh)
    if not is_same or set(measurement.anchors.per_cell) != {1}:
        return None
    generated = measurement.anchors
    layers = networks.anchor_layers(generated.anchors_xyxy, generated.layer, own)
    return search.shape_of(layers, own.image_wh)


def _normalised(boxes_by_image, image_wh):
    return boxes.scale(np.concatenate(boxes_by_image), image_wh, (1, 1))


def summary_lines(measurement: Measurement, images: Sequence[labels.LabelledImage]) -> List[str]:
    """What step 03 prints of the boxes, the config's anchors and their coverage."""
    lines = [_boxes_line(measurement, images)]
    for number, grid_wh in enumerate(measurement.network.grids_wh):
        per_cell = measurement.anchors.per_cell[number]
        first_xyxy = measurement.anchors.anchors_xyxy[measurement.anchors.layer == number][0]
        width, height = first_xyxy[2:] - first_xyxy[:2]
        lines.append(
            f"feature map {grid_wh[0]} x {grid_wh[1]}: {per_cell} "
            f"anchor{'' if per_cell == 1 else 's'} per cell, {width:.0f} x {height:.0f} px"
        )
    if set(measurement.anchors.per_cell) != {1}:
        lines.append(
            "WARNING: more than one anchor per cell. scripts/training/05_check_config.py reports "
            "the cause."
        )
    labelled = measurement.coverage
    augmented = measurement.augmented_coverage
    lines += [
        "",
        f"{'share of the boxes':50}{'as labelled':>14}{'after augmentation':>20}",
        f"  {'boxes (after augmentation: of all random draws)':48}"
        f"{len(labelled.best_iou):>14,}{len(augmented.best_iou):>20,}",
    ]
    rows = zip(
        _coverage_rows(labelled, measurement.network),
        _coverage_rows(augmented, measurement.network),
    )
    for (name, share), (_, augmented_share) in rows:
        lines.append(f"  {name:48}{share:>14.4f}{augmented_share:>20.4f}")
    return lines


def _boxes_line(measurement, images):
    width, height = _sizes(np.concatenate(measurement.boxes_by_image)).T
    ratio, low, high = np.percentile(width / height, [50, 5, 95])
    raw_width, raw_height = _sizes(np.concatenate([image.boxes_xyxy for image in images])).T
    input_width, input_height = measurement.network.image_wh
    return (
        f"{len(width):,} {plural(len(width), 'box')} in {counted(len(images), 'image')}, resized "
        f"to {input_width} x {input_height} px: median {np.median(width):.0f} x "
        f"{np.median(height):.0f} px, width/height {ratio:.2f} (5-95 %: {low:.2f}-{high:.2f}; "
        f"before resizing {np.median(raw_width / raw_height):.2f})"
    )


def _sizes(boxes_xyxy):
    return boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]


def _coverage_rows(measured, network):
    """(name, mean) of each row of the summary."""
    rows = [
        (f"covered by an anchor at IoU >= {threshold:g}", measured.best_iou >= threshold)
        for threshold in coverage.THRESHOLDS
    ]
    rows += [
        ("learned by the forced match alone", measured.forced_only),
        ("best anchor matched to another box", measured.collided),
        ("learned by no anchor", measured.unmatched),
    ]
    for number, (columns, lines) in enumerate(network.grids_wh):
        rows.append((f"best anchor on feature map {columns} x {lines}", measured.layer == number))
    rows.append(("mean number of anchors that learn a box", measured.positives))
    return [(name, _mean(values)) for name, values in rows]


def _mean(values):
    return float(values.mean()) if len(values) else float("nan")


def table_lines(found: Sequence[Candidate], config_multiply_adds: int) -> List[str]:
    """Best coverage against compute, one line for each input size and number of feature maps.

    Args:
      found: the candidates.
      config_multiply_adds: those of the config's own network.
    """
    lines = [
        "",
        "Best coverage with one anchor per cell (share of the boxes), and the compute it costs",
        f"{'':12}{'':18}{'':>10}{'times the':>12}{'coverage':>18}",
        f"{'input':12}{'feature maps':18}{'GMACs':>10}{'config':>12}"
        + "".join(f"{f'IoU {threshold:g}':>9}" for threshold in TABLE_THRESHOLDS),
    ]
    for network, advice in sorted(found, key=_table_order):
        width, height = network.image_wh
        maps = " + ".join(f"{columns}x{rows}" for columns, rows in network.grids_wh)
        shares = coverage.shares(advice.best_iou, TABLE_THRESHOLDS)
        lines.append(
            f"{f'{width} x {height}':12}{maps:18}{network.multiply_adds / 1e9:>10.2f}"
            f"{network.multiply_adds / config_multiply_adds:>12.2f}"
            + "".join(f"{share:>9.3f}" for share in shares)
        )
    return lines


def _table_order(candidate):
    """Squares first, then by size, then by number of feature maps."""
    width, height = candidate.network.image_wh
    return width != height, width, len(candidate.network.grids_wh)


def advice_lines(candidate: Candidate) -> List[str]:
    """The lines to write into the config, with a sentence that says where."""
    width, height = candidate.network.image_wh
    maps = counted(len(candidate.network.grids_wh), "feature map")
    return [
        "",
        f"Lines for {width} x {height} px and {maps}. Write "
        "them into model { ssd { ... } } of the config, in place of the blocks of the same names:",
        "",
        *search.config_lines(candidate.advice),
    ]


def as_json(
    config_path: pathlib.Path,
    labels_path: pathlib.Path,
    measurement: Measurement,
    found: Sequence[Candidate],
    search_on: str,
    seed: int,
) -> Dict[str, Any]:
    """All figures and lines, for other programs: the content of anchors.json."""
    return {
        "config": paths.shown(config_path),
        "labels": paths.shown(labels_path),
        "seed": seed,
        "input_wh": measurement.network.image_wh,
        "as_labelled": _coverage_as_json(measurement.coverage),
        "after_augmentation": _coverage_as_json(measurement.augmented_coverage),
        "searched_on": search_on,
        "advice": [
            {
                "input_wh": network.image_wh,
                "feature_maps_wh": network.grids_wh,
                "multiply_adds": network.multiply_adds,
                "scales": advice.scales,
                "aspect_ratio": advice.aspect_ratio,
                "coverage": _shares_as_json(advice.best_iou),
                "lines": search.config_lines(advice),
            }
            for network, advice in found
        ],
    }


def _coverage_as_json(measured):
    return {
        "boxes": len(measured.best_iou),
        "coverage": _shares_as_json(measured.best_iou),
        "forced_match_only": _mean(measured.forced_only),
        "best_anchor_matched_to_another": _mean(measured.collided),
        "learned_by_none": _mean(measured.unmatched),
    }


def _shares_as_json(best_iou):
    return dict(zip(map(str, coverage.THRESHOLDS), coverage.shares(best_iou)))
