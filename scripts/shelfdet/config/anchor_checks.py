"""Checks of the anchors: exactly one per feature-map cell, in its centre, with enough coverage."""

from typing import Any, List, Optional, Sequence

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, search
from shelfdet.anchors import coverage as anchor_coverage
from shelfdet.config import coverage_advice, pipeline
from shelfdet.config.findings import DELETE_LINE, Findings, field_text
from shelfdet.config.network import GeneratedAnchors, Network, generate_anchors
from shelfdet.core.text import counted
from shelfdet.data.labels import LabelledImage

GENERATOR = "model.ssd.anchor_generator"
SSD = GENERATOR + ".ssd_anchor_generator"
FLEXIBLE = GENERATOR + ".flexible_grid_anchor_generator"
EXTRACTOR_LAYERS = "model.ssd.feature_extractor.num_layers"
STEP_03 = "scripts/preprocessing/03_estimate_anchors.py"
RUN_STEP_03 = f"run {STEP_03} for the lines"

USUAL_ASPECT_RATIO = 0.55  # of the included config; what to write where there is no other hint
USUAL_SCALE = 0.1
USUAL_BASE_SIZE = 50  # pixels

# Largest accepted distance in pixels between an anchor's centre and its cell's. The flexible
# generator has whole offsets, half a pixel off for an odd stride; the rest is for rounding.
CENTRE_TOLERANCE = 0.51

# Coverage is poor if other anchors on the same feature maps would reach this much more.
POOR_GAP = 0.02
# A comment states the coverage of one train split; another validation set changes it by less.
COMMENT_TOLERANCE = 0.02


def check_fields(config: pipeline.Config, findings: Findings) -> None:
    """Checks the values of the anchor generator, without building it."""
    generator = config.model.ssd.anchor_generator
    num_layers = config.model.ssd.feature_extractor.num_layers
    kind = generator.WhichOneof("anchor_generator_oneof")
    if kind == "ssd_anchor_generator":
        _check_ssd(config, findings)
    elif kind == "flexible_grid_anchor_generator":
        _check_flexible(generator.flexible_grid_anchor_generator, num_layers, findings)
    else:
        findings.error(
            GENERATOR,
            found=kind or "no generator",
            expected="ssd_anchor_generator or flexible_grid_anchor_generator: only these can make "
            "one anchor per cell with a size for each layer",
            write=RUN_STEP_03,
        )


def _check_ssd(config: pipeline.Config, findings: Findings) -> None:
    extractor = config.model.ssd.feature_extractor
    fields = config.model.ssd.anchor_generator.ssd_anchor_generator
    num_layers = extractor.num_layers
    if fields.num_layers == len(fields.scales) != num_layers:
        # The lines of step 03 were copied, but not its num_layers: the extractor has to follow.
        findings.error(
            EXTRACTOR_LAYERS,
            found=f"{field_text(extractor, 'num_layers')}, but {SSD} has "
            f"num_layers: {fields.num_layers} and as many scales",
            expected="the same number in both",
            write=f"num_layers: {fields.num_layers}",
        )
        num_layers = fields.num_layers
    elif fields.num_layers != num_layers:
        findings.error(
            SSD + ".num_layers",
            found=f"{field_text(fields, 'num_layers')}, but {EXTRACTOR_LAYERS} is {num_layers}",
            expected="the same number in both",
            write=f"num_layers: {num_layers}",
        )
    _check_one_per_cell(fields, findings)
    _check_no_strides(fields, findings)
    _check_scales(fields, num_layers, findings)


def _check_one_per_cell(fields: Any, findings: Findings) -> None:
    """The three fields with which ssd_anchor_generator makes more than one anchor per cell."""
    if fields.reduce_boxes_in_lowest_layer:
        value = field_text(fields, "reduce_boxes_in_lowest_layer")
        findings.error(
            SSD + ".reduce_boxes_in_lowest_layer",
            found=f"{value}: three anchors per cell on the lowest layer, whatever aspect_ratios is",
            expected="false: one anchor per cell",
            write="reduce_boxes_in_lowest_layer: false",
        )
    if fields.interpolated_scale_aspect_ratio > 0:
        value = field_text(fields, "interpolated_scale_aspect_ratio")
        findings.error(
            SSD + ".interpolated_scale_aspect_ratio",
            found=f"{value}: one more anchor per cell on every layer",
            expected="0.0",
            write="interpolated_scale_aspect_ratio: 0.0",
        )
    if len(fields.aspect_ratios) != 1 or fields.aspect_ratios[0] <= 0:
        ratio = _first_positive(fields.aspect_ratios, USUAL_ASPECT_RATIO)
        findings.error(
            SSD + ".aspect_ratios",
            found=_values_text(fields.aspect_ratios),
            expected="one aspect ratio above 0: one anchor per cell",
            write=f"aspect_ratios: {ratio:g}\n({STEP_03} prints the value that fits)",
        )


def _check_no_strides(fields: Any, findings: Findings) -> None:
    for name in ("height_stride", "width_stride", "height_offset", "width_offset"):
        values = getattr(fields, name)
        if values:
            findings.error(
                f"{SSD}.{name}",
                found=_values_text(values),
                expected="none: object_detection's builder fails on it in Python 3, and without it "
                "anchors are in the centres of the cells",
                write=DELETE_LINE,
            )


def _check_scales(fields: Any, num_layers: int, findings: Findings) -> None:
    """One scale for each of ``num_layers`` feature maps."""
    scales = [f"{scale:g}" for scale in fields.scales]
    if scales and len(scales) != num_layers:
        surplus = len(scales) > num_layers
        ignored = "; object_detection ignores the last without a message" if surplus else ""
        kept = _positive_scales(fields.scales, num_layers)
        findings.error(
            SSD + ".scales",
            found=f"{counted(len(scales), 'scale')} ({', '.join(scales)}) for "
            f"{counted(num_layers, 'layer')}{ignored}",
            expected="one for each layer",
            write="\n".join(f"scales: {scale:g}" for scale in kept),
        )
    elif not scales and fields.num_layers == 1:
        findings.error(
            SSD + ".scales",
            found="none, with num_layers: 1, which is a division by zero",
            expected="one scale, a share of the input's shorter side",
            write=f"scales: {USUAL_SCALE:g}",
        )
    elif any(scale <= 0 for scale in fields.scales):
        kept = _positive_scales(fields.scales, num_layers)
        findings.error(
            SSD + ".scales",
            found=", ".join(scales),
            expected="scales above 0",
            write="\n".join(f"scales: {scale:g}" for scale in kept),
        )


def _positive_scales(scales: Sequence[float], count: int) -> List[float]:
    """``count`` scales: the given ones, the nearest one before it for one that is missing or 0."""
    kept: List[float] = []
    previous = _first_positive(scales, USUAL_SCALE)
    for number in range(count):
        if number < len(scales) and scales[number] > 0:
            previous = scales[number]
        kept.append(previous)
    return kept


def _check_flexible(fields: Any, num_layers: int, findings: Findings) -> None:
    grids = len(fields.anchor_grid)
    if grids != num_layers:
        findings.error(
            FLEXIBLE + ".anchor_grid",
            found=f"{grids} grids, but {EXTRACTOR_LAYERS} is {num_layers}",
            expected="one anchor_grid for each layer",
            write="add or delete an anchor_grid, "
            f"or set feature_extractor {{ num_layers: {grids} }}",
        )
    if not fields.normalize_coordinates:
        findings.error(
            FLEXIBLE + ".normalize_coordinates",
            found="false: anchors in pixels, which SSD interprets as shares of the image",
            expected="true",
            write="normalize_coordinates: true",
        )
    usual_values = (("base_sizes", USUAL_BASE_SIZE), ("aspect_ratios", USUAL_ASPECT_RATIO))
    for number, grid in enumerate(fields.anchor_grid):
        for name, usual in usual_values:
            values = getattr(grid, name)
            if len(values) != 1 or values[0] <= 0:
                findings.error(
                    f"{FLEXIBLE}.anchor_grid[{number}].{name}",
                    found=_values_text(values),
                    expected="one value above 0: one anchor per cell",
                    write=f"{name}: {_first_positive(values, usual):g}",
                )


def check_generated(
    config: pipeline.Config, network: Network, findings: Findings
) -> Optional[GeneratedAnchors]:
    """Builds the anchors with object_detection; counts those in each cell and checks their centres.

    Returns:
      The anchors, or None if they are not one per cell in its centre.
    """
    # A reported mistake of the fields would only be found here again.
    if findings.has(GENERATOR) or findings.has(EXTRACTOR_LAYERS):
        return None
    try:
        generated = generate_anchors(config, grids_wh=network.grids_wh)
    except UserError as error:
        findings.error(
            GENERATOR,
            found=str(error),
            expected="a generator that object_detection can build",
            write=RUN_STEP_03,
        )
        return None
    one_per_cell = [1] * len(network.grids_wh)
    if generated.per_cell != one_per_cell:
        findings.error(
            GENERATOR,
            found=f"{generated.per_cell} anchors per cell",
            expected=f"{one_per_cell}: one on every layer",
            write=RUN_STEP_03,
        )
        return None
    _check_centres(config, network, generated, findings)
    return None if findings.has(GENERATOR) else generated


def _check_centres(
    config: pipeline.Config, network: Network, generated: GeneratedAnchors, findings: Findings
) -> None:
    any_scales = [0.1] * len(network.grids_wh)  # only the centres of these anchors are used
    cells_xyxy, _ = anchors.tile(
        anchors.ssd_layers(network.grids_wh, network.image_wh, any_scales, 1.0)
    )
    distance = np.abs(_centres(generated.anchors_xyxy) - _centres(cells_xyxy)).max(axis=1)
    for number in range(len(network.grids_wh)):
        largest = distance[generated.layer == number].max()
        if largest > CENTRE_TOLERANCE:
            _report_centres(config, network, number, largest, findings)


def _centres(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4) to (N, 2)."""
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


def _report_centres(
    config: pipeline.Config, network: Network, number: int, largest: float, findings: Findings
) -> None:
    """Only flexible_grid_anchor_generator can have anchors off the centres of their cells."""
    generator = config.model.ssd.anchor_generator.flexible_grid_anchor_generator
    grid = generator.anchor_grid[number]
    columns, rows = network.grids_wh[number]
    stride_x = network.image_wh[0] / columns
    stride_y = network.image_wh[1] / rows
    if stride_x % 2 or stride_y % 2:
        expected = (
            "the cells' centres, which no whole number of pixels gives "
            f"for {columns} x {rows} cells"
        )
        write = "an image_resizer with sides that are multiples of 32, or ssd_anchor_generator"
    else:
        expected = f"the centres of its {columns} x {rows} cells"
        write = (
            f"height_stride: {stride_y:.0f}\nwidth_stride: {stride_x:.0f}\n"
            f"height_offset: {stride_y / 2:.0f}\nwidth_offset: {stride_x / 2:.0f}"
        )
    findings.error(
        f"{FLEXIBLE}.anchor_grid[{number}]",
        found=f"stride {grid.width_stride} x {grid.height_stride}, "
        f"offset {grid.width_offset} x {grid.height_offset} (width x height): "
        f"anchors up to {largest:.0f} px off the centres of their cells",
        expected=expected,
        write=write,
    )


def check_coverage(
    config: pipeline.Config,
    network: Network,
    generated: GeneratedAnchors,
    images: Sequence[LabelledImage],
    findings: Findings,
    is_divided: bool = False,
) -> anchor_coverage.Coverage:
    """Warns if the anchors cover fewer of the training boxes than they could, with better lines.

    Args:
      config: as ``pipeline.read`` returns it.
      network: of the config.
      generated: the anchors of the config, one per cell.
      images: the training images with their boxes.
      findings: for the warnings.
      is_divided: whether the images are tiles.
    """
    boxes_by_image = anchors.resized(images, network.image_wh)
    matcher = pipeline.matcher(config)
    threshold = anchor_coverage.COVERED_IOU if matcher.matched is None else matcher.matched
    coverage = anchor_coverage.measure(
        boxes_by_image, generated.anchors_xyxy, generated.layer, network.image_wh, matcher
    )
    if not len(coverage.best_iou):
        return coverage
    best = search.best_anchors(
        np.concatenate(boxes_by_image), network.grids_wh, network.image_wh, threshold
    )
    share = _share(coverage.best_iou, threshold)
    best_share = _share(best.best_iou, threshold)
    if share < best_share - POOR_GAP:
        findings.warning(
            GENERATOR,
            found=f"anchor coverage {share:.2f} of {counted(len(coverage.best_iou), 'train box')} "
            f"at IoU >= {threshold:g}; {coverage.forced_only.mean():.2f} of the boxes are matched "
            f"only by force_match_for_each_row, {coverage.unmatched.mean():.2f} to no anchor",
            expected=f"{best_share:.2f}, which one anchor per cell reaches on these feature maps",
            write="\n".join(search.generator_lines(best)),
        )
    else:  # these lines would replace the comment, too
        _check_comment(coverage.best_iou, findings)
    if best_share < coverage_advice.GOOD_COVERAGE:
        reach = coverage_advice.find(config, network, images, best_share, is_divided)
        _report_reach(network, best_share, threshold, reach, is_divided, findings)
    return coverage


def _report_reach(
    network: Network,
    best_share: float,
    threshold: float,
    reach: coverage_advice.Reach,
    is_divided: bool,
    findings: Findings,
) -> None:
    """Reports what covers more boxes than any anchors on the network's feature maps, or why nothing
    does."""
    width, height = network.image_wh
    key = "model.ssd.image_resizer.fixed_shape_resizer"
    found = (
        f"{width} x {height}: anchor coverage of the train boxes is at best {best_share:.2f} at "
        f"IoU >= {threshold:g}"
    )
    if reach.network is None and reach.tiles_share is None:
        reason = coverage_advice.reason_text(reach, best_share, threshold, is_divided)
        findings.note(key, found=found, expected=reason)
        return
    expected = coverage_advice.expected_text(reach, network)
    if not coverage_advice.is_advice(reach, network):
        findings.note(key, found=found, expected=f"no change, only note: {expected}")
        return
    lines = [] if reach.network is None else search.config_lines(reach.network.advice)
    findings.warning(key, found=found, expected=expected, write="\n".join(lines))


def _share(iou: np.ndarray, threshold: float) -> float:
    return anchor_coverage.shares(iou, [threshold])[0]


def _check_comment(best_iou: np.ndarray, findings: Findings) -> None:
    """A coverage stated in a comment of the config must be that of the current train boxes."""
    for stated, threshold in search.stated_coverage(findings.text):
        share = _share(best_iou, threshold)
        if abs(share - stated) > COMMENT_TOLERANCE:
            findings.warning(
                GENERATOR,
                found=f"a comment that states an anchor coverage of {stated} at IoU >= {threshold}",
                expected=f"{share:.2f}, the coverage of the current train boxes",
                write=search.COMMENT.format(share, threshold),
            )


def _values_text(values: Sequence[float]) -> str:
    """A repeated field for a finding: "2 values: 0.5, 1"."""
    if not values:
        return "none"
    return f"{counted(len(values), 'value')}: {', '.join(f'{value:g}' for value in values)}"


def _first_positive(values: Sequence[float], default: float) -> float:
    positive: List[float] = [value for value in values if value > 0]
    return positive[0] if positive else default
