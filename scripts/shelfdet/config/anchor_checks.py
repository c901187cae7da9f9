"""Checks of a training config: exactly one anchor per cell on every feature map, in its middle, and of use."""

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, search
from shelfdet.config import pipeline
from shelfdet.config.network import generate_anchors

GENERATOR = "model.ssd.anchor_generator"
SSD = GENERATOR + ".ssd_anchor_generator"
FLEXIBLE = GENERATOR + ".flexible_grid_anchor_generator"
EXTRACTOR_LAYERS = "model.ssd.feature_extractor.num_layers"
ADVISER = "run scripts/preprocessing/03_estimate_anchors.py for the lines"

# Half a pixel, the most that the whole offsets of an odd stride need, and room for rounding; an anchor further off the
# middle of its cell is a mistake.
CENTRE_TOLERANCE = 0.51

# Coverage is called poor under this share of the boxes, or this much under what other values would reach at the same
# input size.
POOR_SHARE = 0.8
POOR_GAP = 0.02
# A comment was written for one train split; another draw of validation images moves the share by less than this.
COMMENT_TOLERANCE = 0.02


def settings(config, findings):
    """What the fields alone tell, with the key that is to blame."""
    generator = config.model.ssd.anchor_generator
    kind = generator.WhichOneof("anchor_generator_oneof")
    extractor = config.model.ssd.feature_extractor
    layers = extractor.num_layers
    if kind == "ssd_anchor_generator":
        fields = generator.ssd_anchor_generator
        if fields.num_layers == len(fields.scales) != layers:
            # A generator that agrees with itself, as step 03 writes it: the network has to follow.
            findings.error(
                EXTRACTOR_LAYERS,
                found=f"{_value(extractor, 'num_layers')}, but {SSD} has num_layers: {fields.num_layers} and as many "
                "scales",
                expected="the same number in both",
                write=f"num_layers: {fields.num_layers}",
            )
            layers = fields.num_layers
        _ssd(fields, layers, findings)
        _scales(fields, layers, findings)
    elif kind == "flexible_grid_anchor_generator":
        _flexible(generator.flexible_grid_anchor_generator, layers, findings)
    else:
        findings.error(
            GENERATOR,
            found=kind or "no generator",
            expected="ssd_anchor_generator or flexible_grid_anchor_generator: only these can lay one anchor per cell "
            "with a size for each layer",
            write=ADVISER,
        )


def _ssd(fields, extractor_layers, findings):
    if fields.num_layers != extractor_layers:
        findings.error(
            SSD + ".num_layers",
            found=f"{_value(fields, 'num_layers')}, but {EXTRACTOR_LAYERS} is {extractor_layers}",
            expected="the same number in both",
            write=f"num_layers: {extractor_layers}",
        )
    if fields.reduce_boxes_in_lowest_layer:
        findings.error(
            SSD + ".reduce_boxes_in_lowest_layer",
            found=_value(fields, "reduce_boxes_in_lowest_layer")
            + ": three anchors per cell on the lowest layer, "
            "whatever aspect_ratios says",
            expected="false: one anchor per cell",
            write="reduce_boxes_in_lowest_layer: false",
        )
    if fields.interpolated_scale_aspect_ratio > 0:
        findings.error(
            SSD + ".interpolated_scale_aspect_ratio",
            found=_value(fields, "interpolated_scale_aspect_ratio")
            + ": one more anchor per cell on every layer",
            expected="0.0",
            write="interpolated_scale_aspect_ratio: 0.0",
        )
    if len(fields.aspect_ratios) != 1 or fields.aspect_ratios[0] <= 0:
        findings.error(
            SSD + ".aspect_ratios",
            found=_several(fields.aspect_ratios),
            expected="one aspect ratio above 0: one anchor per cell",
            write=f"aspect_ratios: {_first(fields.aspect_ratios, 0.55):g}\n"
            "(scripts/preprocessing/03_estimate_anchors.py says which value fits)",
        )
    for name in ("height_stride", "width_stride", "height_offset", "width_offset"):
        if len(getattr(fields, name)):
            findings.error(
                f"{SSD}.{name}",
                found=_several(getattr(fields, name)),
                expected="none: object_detection's builder breaks on it in Python 3, and without it anchors sit in the "
                "middle of the cells",
                write="delete the line",
            )


def _scales(fields, layers, findings):
    """layers: the feature extractor's, which the generator's num_layers has to become where the two disagree."""
    scales = [f"{scale:g}" for scale in fields.scales]
    if scales and len(scales) != layers:
        cut = "; the last would be cut off without a word" if len(scales) > layers else ""
        kept = (scales + [scales[-1]] * layers)[:layers]
        findings.error(
            SSD + ".scales",
            found=f"{len(scales)} scales ({', '.join(scales)}) for {layers} layers{cut}",
            expected="one for each layer",
            write="\n".join("scales: " + scale for scale in kept),
        )
    elif not scales and fields.num_layers == 1:
        findings.error(
            SSD + ".scales",
            found="none, with num_layers: 1, which divides by zero",
            expected="one scale, a share of the input's shorter side",
            write="scales: 0.1",
        )
    if any(scale <= 0 for scale in fields.scales):
        findings.error(
            SSD + ".scales", found=", ".join(scales), expected="scales above 0", write="scales: 0.1"
        )


def _flexible(fields, extractor_layers, findings):
    grids = len(fields.anchor_grid)
    if grids != extractor_layers:
        findings.error(
            FLEXIBLE + ".anchor_grid",
            found=f"{grids} grids, but {EXTRACTOR_LAYERS} is {extractor_layers}",
            expected="one anchor_grid for each layer",
            write=f"add or delete an anchor_grid, or set feature_extractor {{ num_layers: {grids} }}",
        )
    if not fields.normalize_coordinates:
        findings.error(
            FLEXIBLE + ".normalize_coordinates",
            found="false: anchors in pixels, which SSD takes for shares of the image",
            expected="true",
            write="normalize_coordinates: true",
        )
    for number, grid in enumerate(fields.anchor_grid):
        for name, usual in (("base_sizes", 50), ("aspect_ratios", 0.55)):
            values = getattr(grid, name)
            if len(values) != 1 or values[0] <= 0:
                findings.error(
                    f"{FLEXIBLE}.anchor_grid[{number}].{name}",
                    found=_several(values),
                    expected="one value above 0: one anchor per cell",
                    write=f"{name}: {_first(values, usual):g}",
                )


def built(config, network, findings):
    """What only the generator itself can tell: builds it, counts anchors per cell and compares centres with the cells'.

    Returns:
      (anchors_xyxy, layer) as pipeline.anchors, or None where the anchors are not one per cell in its middle.
    """
    if findings.about(GENERATOR) or findings.about(EXTRACTOR_LAYERS):
        return None
    one = [1] * len(network.grids_wh)
    try:
        laid, layer, per_cell = generate_anchors(config, grids_wh=network.grids_wh)
    except UserError as error:
        findings.error(
            GENERATOR, found=str(error), expected="a generator that can be built", write=ADVISER
        )
        return None
    if per_cell != one:
        findings.error(
            GENERATOR,
            found=f"{per_cell} anchors per cell",
            expected=f"{one}: one on every layer",
            write=ADVISER,
        )
        return None
    cells, _ = anchors.tile(
        anchors.ssd_layers(network.grids_wh, network.image_wh, [0.1] * len(one), 1.0)
    )
    off = np.abs((laid[:, :2] + laid[:, 2:]) / 2 - (cells[:, :2] + cells[:, 2:]) / 2).max(axis=1)
    for number in range(len(one)):
        worst = off[layer == number].max()
        if worst > CENTRE_TOLERANCE:
            _off_centre(config, network, number, worst, findings)
    return None if findings.about(GENERATOR) else (laid, layer)


def _off_centre(config, network, number, worst, findings):
    grid = config.model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[number]
    columns, rows = network.grids_wh[number]
    across, down = network.image_wh[0] / columns, network.image_wh[1] / rows
    if across % 2 or down % 2:
        expected = f"the cells' centres, which no whole number of pixels gives for {columns} x {rows} cells"
        write = "an image_resizer with sides that are multiples of 32, or ssd_anchor_generator"
    else:
        expected = f"the centres of its {columns} x {rows} cells"
        write = (
            f"height_stride: {down:.0f}\nwidth_stride: {across:.0f}\n"
            f"height_offset: {down / 2:.0f}\nwidth_offset: {across / 2:.0f}"
        )
    findings.error(
        f"{FLEXIBLE}.anchor_grid[{number}]",
        found=f"stride {grid.width_stride} x {grid.height_stride}, offset {grid.width_offset} x {grid.height_offset} "
        f"(width x height): anchors up to {worst:.0f} px off the middle of their cells",
        expected=expected,
        write=write,
    )


def coverage(config, network, laid, images, findings):
    """Warns where the anchors meet few of the boxes, in numbers, with the lines that mend it.

    Args:
      config: as pipeline.read gives it.
      network: its Network.
      laid: (anchors_xyxy, layer).
      images: list of annotations.LabelledImage, the training images.
      findings: Findings.

    Returns:
      anchors.Coverage.
    """
    by_image = anchors.resized(images, network.image_wh)
    matcher = pipeline.matcher(config)
    threshold = search.THRESHOLD if matcher.matched is None else matcher.matched
    covered = anchors.coverage(by_image, laid[0], laid[1], network.image_wh, matcher)
    if not len(covered.best_iou):
        return covered
    _comment(findings, covered.best_iou)
    advice = search.ssd(np.concatenate(by_image), network.grids_wh, network.image_wh, threshold)
    share, reach = (
        anchors.shares(iou, [threshold])[0] for iou in (covered.best_iou, advice.best_iou)
    )
    if share < reach - POOR_GAP:
        findings.warning(
            GENERATOR,
            found=f"{share:.2f} of {len(covered.best_iou)} train boxes meet an anchor at IoU >= {threshold:g}; "
            f"{covered.forced.mean():.2f} are learned by the forced match alone, "
            f"{covered.unserved.mean():.2f} by no anchor at all",
            expected=f"{reach:.2f}, which one anchor per cell reaches on these feature maps",
            write="\n".join(search.generator_lines(advice)),
        )
    if reach < POOR_SHARE:
        findings.warning(
            "model.ssd.image_resizer.fixed_shape_resizer",
            found=f"{network.image_wh[0]} x {network.image_wh[1]}: at best {reach:.2f} of the train boxes can meet an "
            f"anchor at IoU >= {threshold:g}",
            expected=f"a larger input, with finer feature maps, and at least {POOR_SHARE:g}",
            write="run scripts/preprocessing/03_estimate_anchors.py: its table says what each size reaches and costs",
        )
    return covered


def _comment(findings, best_iou):
    """The coverage that a comment of the config states has to be that of the boxes there are."""
    for stated, threshold in search.stated_coverage(findings.text):
        share = anchors.shares(best_iou, [threshold])[0]
        if abs(share - stated) > COMMENT_TOLERANCE:
            findings.warning(
                GENERATOR,
                found=f"a comment that states a coverage of {stated} at IoU >= {threshold}",
                expected=f"{share:.2f}, which the train boxes there are give",
                write=search.COMMENT.format(share, threshold),
            )


def _value(fields, name):
    """A field as a finding shows it: "3", or "true (the default where nothing is written)"."""
    value = getattr(fields, name)
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}"
    return text if fields.HasField(name) else text + " (the default where nothing is written)"


def _several(values):
    return (
        f"{len(values)} values: {', '.join(f'{value:g}' for value in values)}" if values else "none"
    )


def _first(values, otherwise):
    return next((value for value in values if value > 0), otherwise)
