"""What `make compare` tries: a base recipe, and choices that differ from it in one thing.

A choice's config is the base's with some blocks changed (pipeline.changed), on the records of the comparison, for the steps asked
for, with the anchors that step 03 would advise for its input and feature maps; one anchor per cell is asserted.
"""

import collections
import hashlib

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, search
from shelfdet.config import pipeline
from shelfdet.core import paths
from shelfdet.data import labels

WARM_UP = 0.1  # share of the steps; the base's own 100 steps are most of a short run
RESIZER = "model.ssd.image_resizer.fixed_shape_resizer"
EXTRACTOR = "model.ssd.feature_extractor"
GENERATOR = "model.ssd.anchor_generator"
LOSS = "model.ssd.loss"
MATCHER = "model.ssd.matcher.argmax_matcher"
RATE = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
# Places in the base's list of data_augmentation_options
SATURATION, CROP = (
    "train_config.data_augmentation_options[3]",
    "train_config.data_augmentation_options[4]",
)
PLACES = {3: "random_adjust_saturation", 4: "ssd_random_crop"}
ZOO_ANCHORS = (
    "ssd_anchor_generator { num_layers: 2 scales: 0.2 scales: 0.95 aspect_ratios: 1.0 "
    "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0.0 }"
)
CROPS = (
    "ssd_random_crop {{ operations {{ min_object_covered: 0.5 overlap_thresh: 0.5 min_aspect_ratio: 0.6 max_aspect_ratio: 1.7 "
    "min_area: {} max_area: 1.0 clip_boxes: true random_coef: {} }} }}"
)  # random_coef: how often the whole image

NMS = "model.ssd.post_processing.batch_non_max_suppression"
# The recipe that the comparison began with, as changes to the config that ships, which took over what proved worth it.
FIRST_RECIPE = [
    ("train_config", "batch_size: 8"),
    (EXTRACTOR + ".conv_hyperparams", "activation: RELU_6"),
    (NMS, "iou_threshold: 0.6"),
    (CROP, CROPS.format(0.25, 0.25)),
]

BASE, SIZE, NETWORK, RECIPE = "base", "size", "network", "recipe"
Choice = collections.namedtuple("Choice", "what kind changes seed steps_times weights_of")
Choice.__new__.__defaults__ = ((), 0, 1, None)
Choice.__doc__ = """what: how it differs from the base, as a person reads it. kind: one of BASE, SIZE, NETWORK, RECIPE. changes: as
pipeline.changed takes them. seed: of the training. steps_times: how many times the steps it has, where its batch is smaller. weights_of: a
choice whose weights it has, because it differs in what follows the network."""

CHOICES = collections.OrderedDict(
    [
        ("base", Choice("512 x 512, depth 0.5, two feature maps", BASE)),
        ("base_again", Choice("the base with another seed", BASE, seed=1)),
        ("wide_640x480", Choice("input 640 x 480", SIZE, [(RESIZER, "width: 640 height: 480")])),
        (
            "near_l1",
            Choice(
                "smooth L1 with delta 0.2, weight 5",
                RECIPE,
                [
                    (
                        LOSS,
                        "localization_loss { weighted_smooth_l1 { delta: 0.2 } } localization_weight: 5",
                    )
                ],
            ),
        ),
        (
            "box_scales",
            Choice(
                "box coder's height and width scale 10",
                RECIPE,
                [("model.ssd.box_coder.faster_rcnn_box_coder", "height_scale: 10 width_scale: 10")],
            ),
        ),
        (
            "batch_4",
            Choice(
                "batch of 4, twice the steps",
                RECIPE,
                [("train_config", "batch_size: 4")],
                steps_times=2,
            ),
        ),
        (
            "batch_2",
            Choice(
                "batch of 2, four times the steps",
                RECIPE,
                [("train_config", "batch_size: 2")],
                steps_times=4,
            ),
        ),
        (
            "nms_045",
            Choice(
                "boxes that overlap by 0.45 are one (0.6)",
                RECIPE,
                [(NMS, "iou_threshold: 0.45")],
                weights_of="base",
            ),
        ),
        (
            "relu",
            Choice(
                "RELU for RELU_6", RECIPE, [(EXTRACTOR + ".conv_hyperparams", "activation: RELU")]
            ),
        ),
        (
            "depth_100",
            Choice("depth multiplier 1.0", NETWORK, [(EXTRACTOR, "depth_multiplier: 1.0")]),
        ),
        (
            "crops_mild",
            Choice("crops of at least 0.6 of the image", RECIPE, [(CROP, CROPS.format(0.6, 0.25))]),
        ),
        ("rate_2", Choice("learning rate 0.002", RECIPE, [(RATE, "learning_rate_base: 0.002")])),
        (
            "matched_04",
            Choice(
                "an anchor learns a box from IoU 0.4 on",
                RECIPE,
                [(MATCHER, "matched_threshold: 0.4 unmatched_threshold: 0.4")],
            ),
        ),
        ("square_640", Choice("input 640 x 640", SIZE, [(RESIZER, "width: 640 height: 640")])),
        ("crops_none", Choice("no crops", RECIPE, [(CROP, CROPS.format(0.25, 1.0))])),
        ("crops_zoo", Choice("the zoo's crops", RECIPE, [(CROP, "ssd_random_crop { }")])),
        ("one_map", Choice("one feature map", NETWORK, [(EXTRACTOR, "num_layers: 1")])),
        ("square_400", Choice("input 400 x 400", SIZE, [(RESIZER, "width: 400 height: 400")])),
        ("square_300", Choice("input 300 x 300", SIZE, [(RESIZER, "width: 300 height: 300")])),
        (
            "depth_025",
            Choice("depth multiplier 0.25", NETWORK, [(EXTRACTOR, "depth_multiplier: 0.25")]),
        ),
        (
            "small",
            Choice(
                "400 x 400, depth 0.25",
                NETWORK,
                [(RESIZER, "width: 400 height: 400"), (EXTRACTOR, "depth_multiplier: 0.25")],
            ),
        ),
        ("zoo_anchors", Choice("the zoo's scales and ratio 1", RECIPE, [(GENERATOR, ZOO_ANCHORS)])),
        (
            "colour",
            Choice(
                "stronger colour changes",
                RECIPE,
                [(SATURATION, "random_distort_color { color_ordering: 0 }")],
            ),
        ),
        ("base_third", Choice("the base with a third seed", BASE, seed=2)),
    ]
)


def config(name, shipped, steps, records):
    """A choice's config, but for its anchors.

    Args:
      name: a key of CHOICES.
      shipped: the config that ships, as pipeline.read gives it.
      steps: of the base's training.
      records: folder of train.record and val.record.

    Raises:
      UserError: its augmentations are not those that the choices replace.
    """
    kinds = [
        step.WhichOneof("preprocessing_step")
        for step in shipped.train_config.data_augmentation_options
    ]
    for place, kind in PLACES.items():
        if kinds[place : place + 1] != [kind]:
            raise UserError(
                f"train_config.data_augmentation_options[{place}]: found {(kinds + [None] * 9)[place]}; expected {kind}, in whose place the choices put others. Put the augmentations back in their order."
            )
    steps *= CHOICES[name].steps_times
    shared = [
        ("train_config", f"num_steps: {steps}"),
        (RATE, f"total_steps: {steps} warmup_steps: {int(steps * WARM_UP)}"),
    ]
    return pipeline.changed(
        shipped, FIRST_RECIPE + list(CHOICES[name].changes) + shared + pipeline.reading(records)
    )


def recipe_sha256(name, shipped, steps, records):
    """What tells whether a choice was trained as it stands here, in 64 hex digits; the records' place does not count."""
    bare = config(name, shipped, steps, records)
    bare.ClearField("train_input_reader")
    bare.ClearField("eval_input_reader")
    return hashlib.sha256(f"{bare!r} seed {CHOICES[name].seed}".encode()).hexdigest()


def with_anchors(name, built, train_labels):
    """Lays one anchor per cell.

    Args:
      name: a key of CHOICES.
      built: its ``config``.
      train_labels: the label file that the anchors are sought on.

    Returns:
      (the config with its anchors, pipeline.Network, share of the train boxes that meet an anchor at IoU 0.5).

    Raises:
      UserError: a choice's own anchors are not one per cell.
    """
    image_wh, network = pipeline.input_size(built), pipeline.network(built)
    boxes_xyxy = np.concatenate(anchors.resized(labels.read_labels(train_labels), image_wh))
    if not any(path == GENERATOR for path, _ in CHOICES[name].changes):
        advice = search.ssd(boxes_xyxy, network.grids_wh, image_wh)
        built = pipeline.changed(built, [("model.ssd", "\n".join(search.generator_lines(advice)))])
    anchors_xyxy, layer, per_cell = pipeline.anchors(built, image_wh, network.grids_wh)
    if set(per_cell) != {1}:
        raise UserError(
            f"{name}: {per_cell} anchors per cell; expected one. Mend its changes in {paths.shown(__file__)}."
        )
    met = (
        anchors.best_iou(boxes_xyxy, pipeline.layers(anchors_xyxy, layer, network))[0]
        >= search.THRESHOLD
    )
    return built, network, float(met.mean())
