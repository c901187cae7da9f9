"""Checks of a training config: exactly one anchor per cell on every feature map, in the middle of the cell, and of use."""

import re

import numpy as np

from shelfdet import UserError, anchors, pipeline, search

GENERATOR = "model.ssd.anchor_generator"
SSD = GENERATOR + ".ssd_anchor_generator"
FLEXIBLE = GENERATOR + ".flexible_grid_anchor_generator"
EXTRACTOR_LAYERS = "model.ssd.feature_extractor.num_layers"

# An anchor may be this many pixels off the middle of its cell, for strides that are whole numbers; more is a mistake.
CENTRE_TOLERANCE = 1.0

# Coverage is called poor under this share of the boxes, or this much under what other values would reach at the same input size.
POOR_SHARE = 0.8
POOR_GAP = 0.02
# A comment was written for one train split; another draw of validation pictures moves the share by less than this.
COMMENT_TOLERANCE = 0.02


def settings(config, findings):
    """What the fields alone tell, with the key that is to blame."""
    generator = config.model.ssd.anchor_generator
    kind = generator.WhichOneof("anchor_generator_oneof")
    if kind == "ssd_anchor_generator":
        _ssd(generator.ssd_anchor_generator, config.model.ssd.feature_extractor.num_layers, findings)
    elif kind == "flexible_grid_anchor_generator":
        _flexible(generator.flexible_grid_anchor_generator, config.model.ssd.feature_extractor.num_layers, findings)
    else:
        findings.error(GENERATOR, kind or "no generator", "ssd_anchor_generator or flexible_grid_anchor_generator: only these can lay "
                       "one anchor per cell with a size for each layer", "run scripts/preprocessing/03_estimate_anchors.py for the lines")


def _ssd(fields, extractor_layers, findings):
    if fields.num_layers != extractor_layers:
        findings.error(SSD + ".num_layers", "{}, but {} is {}".format(_value(fields, "num_layers"), EXTRACTOR_LAYERS, extractor_layers),
                       "the same number in both", "num_layers: {}".format(extractor_layers))
    if fields.reduce_boxes_in_lowest_layer:
        findings.error(SSD + ".reduce_boxes_in_lowest_layer", _value(fields, "reduce_boxes_in_lowest_layer") +
                       ": three anchors per cell on the lowest layer, whatever aspect_ratios says",
                       "false: one anchor per cell", "reduce_boxes_in_lowest_layer: false")
    if fields.interpolated_scale_aspect_ratio > 0:
        findings.error(SSD + ".interpolated_scale_aspect_ratio", _value(fields, "interpolated_scale_aspect_ratio") +
                       ": one more anchor per cell on every layer", "0.0", "interpolated_scale_aspect_ratio: 0.0")
    if len(fields.aspect_ratios) != 1 or fields.aspect_ratios[0] <= 0:
        findings.error(SSD + ".aspect_ratios", _several(fields.aspect_ratios), "one aspect ratio above 0: one anchor per cell",
                       "aspect_ratios: {:g}".format(_middle(fields.aspect_ratios, 0.55)))
    for name in ("height_stride", "width_stride", "height_offset", "width_offset"):
        if len(getattr(fields, name)):
            findings.error("{}.{}".format(SSD, name), _several(getattr(fields, name)), "none: object_detection's builder breaks on it in "
                           "Python 3, and without it anchors sit in the middle of the cells", "delete the line")
    _scales(fields, findings)


def _scales(fields, findings):
    scales = ["{:g}".format(scale) for scale in fields.scales]
    if fields.scales and len(fields.scales) != fields.num_layers:
        kept = (scales + [scales[-1]] * fields.num_layers)[:fields.num_layers]
        findings.error(SSD + ".scales", "{} scales ({}) for {} layers{}".format(
            len(scales), ", ".join(scales), fields.num_layers,
            "; the last would be cut off without a word" if len(scales) > fields.num_layers else ""),
            "one for each layer", "\n".join("scales: " + scale for scale in kept))
    elif not fields.scales and fields.num_layers == 1:
        findings.error(SSD + ".scales", "none, with num_layers: 1, which divides by zero",
                       "one scale, a share of the input's shorter side", "scales: 0.1")
    if any(scale <= 0 for scale in fields.scales):
        findings.error(SSD + ".scales", ", ".join(scales), "scales above 0", "scales: 0.1")


def _flexible(fields, extractor_layers, findings):
    if len(fields.anchor_grid) != extractor_layers:
        findings.error(FLEXIBLE + ".anchor_grid", "{} grids, but {} is {}".format(
            len(fields.anchor_grid), EXTRACTOR_LAYERS, extractor_layers), "one anchor_grid for each layer",
            "add or delete an anchor_grid, or set feature_extractor {{ num_layers: {} }}".format(len(fields.anchor_grid)))
    if not fields.normalize_coordinates:
        findings.error(FLEXIBLE + ".normalize_coordinates", "false: anchors in pixels, which SSD takes for shares of the picture", "true",
                       "normalize_coordinates: true")
    for number, grid in enumerate(fields.anchor_grid):
        key = "{}.anchor_grid[{}]".format(FLEXIBLE, number)
        for name, usual in (("base_sizes", 50), ("aspect_ratios", 0.55)):
            values = getattr(grid, name)
            if len(values) != 1 or values[0] <= 0:
                findings.error("{}.{}".format(key, name), _several(values), "one value above 0: one anchor per cell",
                               "{}: {:g}".format(name, _middle(values, usual)))


def built(config, network, findings):
    """What only the generator itself can tell: builds it, counts anchors per cell and compares centres with the cells'.

    Returns:
      (anchors_xyxy, layer) as pipeline.anchors, or None where the anchors are not one per cell in its middle.
    """
    if findings.about(GENERATOR):
        return None
    try:
        laid, layer, per_cell = pipeline.anchors(config, grids_wh=network.grids_wh)
    except UserError as error:
        findings.error(GENERATOR, str(error), "a generator that can be built",
                       "run scripts/preprocessing/03_estimate_anchors.py for the lines")
        return None
    if per_cell != [1] * len(network.grids_wh):
        findings.error(GENERATOR, "{} anchors per cell".format(per_cell), "{}: one on every layer".format([1] * len(network.grids_wh)),
                       "run scripts/preprocessing/03_estimate_anchors.py for the lines")
        return None
    cells, _ = anchors.tile(anchors.ssd_layers(network.grids_wh, network.image_wh, [0.1] * len(network.grids_wh), 1.0))
    off = np.abs((laid[:, :2] + laid[:, 2:]) / 2 - (cells[:, :2] + cells[:, 2:]) / 2).max(axis=1)
    for number, grid_wh in enumerate(network.grids_wh):
        worst = off[layer == number].max()
        if worst > CENTRE_TOLERANCE:
            _off_centre(config, network, number, grid_wh, worst, findings)
    return None if findings.about(GENERATOR) else (laid, layer)


def _off_centre(config, network, number, grid_wh, worst, findings):
    grid = config.model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[number]
    strides = [side / cells for side, cells in zip(network.image_wh, grid_wh)]
    found = "stride {} x {}, offset {} x {} (width x height): anchors up to {:.0f} px off the middle of their cells".format(
        grid.width_stride, grid.height_stride, grid.width_offset, grid.height_offset, worst)
    if any(stride % 2 for stride in strides):
        findings.error("{}.anchor_grid[{}]".format(FLEXIBLE, number), found, "the cells' centres, which no whole number of pixels gives "
                       "for {} cells on {} px".format(grid_wh, network.image_wh),
                       "an image_resizer with sides that are multiples of 32, or ssd_anchor_generator")
        return
    findings.error("{}.anchor_grid[{}]".format(FLEXIBLE, number), found, "the centres of its {} x {} cells".format(*grid_wh),
                   "height_stride: {1:.0f}\nwidth_stride: {0:.0f}\nheight_offset: {3:.0f}\nwidth_offset: {2:.0f}".format(
                       *strides, *(stride / 2 for stride in strides)))


def coverage(config, network, laid, images, findings):
    """Warns where the anchors meet few of the boxes, in numbers, with the lines that mend it.

    Args:
      config: as pipeline.read gives it.
      network: its pipeline.Network.
      laid: (anchors_xyxy, layer).
      images: list of annotations.LabelledImage, the training pictures.
      findings: Findings.

    Returns:
      anchors.Coverage.
    """
    by_picture = anchors.resized(images, network.image_wh)
    matcher = pipeline.matcher(config)
    threshold = search.THRESHOLD if matcher.matched is None else matcher.matched
    covered = anchors.coverage(by_picture, laid[0], laid[1], network.image_wh, matcher)
    if not len(covered.best_iou):
        return covered
    share = float(np.mean(covered.best_iou >= threshold))
    advice = search.ssd(np.concatenate(by_picture), network.grids_wh, network.image_wh, threshold)
    reach = float(np.mean(advice.best_iou >= threshold))
    numbers = "{:.2f} of {} train boxes meet an anchor at IoU >= {:g}, {:.2f} are learned by the forced match alone, {} by no anchor".format(
        share, len(covered.best_iou), threshold, float(np.mean(covered.forced)), int(covered.unserved.sum()))
    _comment(findings, covered.best_iou)
    if share < reach - POOR_GAP:
        findings.warning(GENERATOR, numbers, "{:.2f}, which one anchor per cell reaches on these feature maps".format(reach),
                         "\n".join(search.generator_lines(advice)))
    if reach < POOR_SHARE:
        findings.warning("model.ssd.image_resizer.fixed_shape_resizer", "{} x {}: at best {:.2f} of the train boxes can meet an anchor at "
                         "IoU >= {:g}".format(network.image_wh[0], network.image_wh[1], reach, threshold),
                         "a larger input, with finer feature maps: at least {:g}".format(POOR_SHARE),
                         "run scripts/preprocessing/03_estimate_anchors.py: its table says what each size reaches and costs")
    return covered


def _comment(findings, best_iou):
    """The coverage that a comment of the config states has to be that of the boxes there are."""
    for stated, threshold in re.findall(search.COMMENT_PATTERN, findings.text):
        share = anchors.shares(best_iou, [float(threshold)])[0]
        if abs(share - float(stated)) > COMMENT_TOLERANCE:
            findings.warning(GENERATOR, "a comment that states a coverage of {} at IoU >= {}".format(stated, threshold),
                             "{:.2f}, which the train boxes there are give".format(share), search.COMMENT.format(share, float(threshold)))


def _value(fields, name):
    """A field as a finding shows it: "3", or "true (the default, nothing is written)"."""
    value = getattr(fields, name)
    text = str(value).lower() if isinstance(value, bool) else "{:g}".format(value)
    return text if fields.HasField(name) else text + " (the default where nothing is written)"


def _several(values):
    return "none" if not values else "{} values: {}".format(len(values), ", ".join("{:g}".format(value) for value in values))


def _middle(values, otherwise):
    positive = sorted(value for value in values if value > 0)
    return positive[len(positive) // 2] if positive else otherwise
