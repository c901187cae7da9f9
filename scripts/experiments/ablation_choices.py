"""The ablations: a base recipe, and choices that each differ from it in one thing.

The config of a choice is the included config with some blocks changed (``pipeline.with_changes``):
first to the recipe that the ablations started from, then by the choice itself. It reads the
ablations' own records, trains for the requested number of steps, and has the anchors that step 03
advises for its input size and feature maps: exactly one per cell.
"""

import collections
import hashlib
import pathlib
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import pipeline
from shelfdet.config.network import Network, anchor_layers, build_network, generate_anchors
from shelfdet.core import paths
from shelfdet.data import labels

# Share of the steps in which the learning rate rises. The included config's 100 steps would be most
# of a short run.
WARM_UP_SHARE = 0.1

# Paths of the blocks that the choices change.
RESIZER = "model.ssd.image_resizer.fixed_shape_resizer"
EXTRACTOR = "model.ssd.feature_extractor"
ANCHOR_GENERATOR = "model.ssd.anchor_generator"
LOSS = "model.ssd.loss"
BOX_CODER = "model.ssd.box_coder.faster_rcnn_box_coder"
NMS = "model.ssd.post_processing.batch_non_max_suppression"
LEARNING_RATE = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
CROP_INDEX = 4  # of the crops among the included config's data_augmentation_options
CROP = f"train_config.data_augmentation_options[{CROP_INDEX}]"

ZOO_ANCHORS = (
    "ssd_anchor_generator { num_layers: 2 scales: 0.2 scales: 0.95 aspect_ratios: 1.0 "
    "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0.0 }"
)


def _crops(min_area: float) -> str:
    """Crops of at least this share of the image; random_coef leaves one image in four whole."""
    return (
        "ssd_random_crop { operations { min_object_covered: 0.5 overlap_thresh: 0.5 "
        f"min_aspect_ratio: 0.6 max_aspect_ratio: 1.7 min_area: {min_area} max_area: 1.0 "
        "clip_boxes: true random_coef: 0.25 } }"
    )


# The recipe that the ablations started from, as changes to the included config. The included config
# adopted what proved better.
BASE_RECIPE = [
    ("train_config", "batch_size: 8"),
    (f"{EXTRACTOR}.conv_hyperparams", "activation: RELU_6"),
    (NMS, "iou_threshold: 0.6"),
    (CROP, _crops(0.25)),
]

# The kinds of choices, which the figure draws apart.
BASE = "base"
INPUT_SIZE = "input size"
NETWORK = "network"
RECIPE = "recipe"


class Choice(NamedTuple):
    """One row of the ablations.

    Attributes:
      description: how it differs from the base, as the table prints it.
      kind: BASE, INPUT_SIZE, NETWORK or RECIPE.
      changes: to the base's config.
      seed: of the training.
      steps_factor: how many times the base's steps, where the batch is smaller by the same factor.
      weights_of: a choice whose weights are used, because only what follows the network differs.
      workers: processes that train together (WORKERS), each on its share of all cores.
    """

    description: str
    kind: str
    changes: Sequence[pipeline.Change] = ()
    seed: int = 0
    steps_factor: int = 1
    weights_of: Optional[str] = None
    workers: int = 1


def _batch_of_4(description: str, **values: int) -> Choice:
    changes = [("train_config", "batch_size: 4")]
    return Choice(description, RECIPE, changes, steps_factor=2, **values)


def _resized(width: int, height: int) -> Choice:
    return Choice(
        f"input {width} x {height}", INPUT_SIZE, [(RESIZER, f"width: {width} height: {height}")]
    )


CHOICES: Dict[str, Choice] = collections.OrderedDict(
    [
        ("base", Choice("512 x 512, depth 0.5, two feature maps", BASE)),
        ("base_again", Choice("the base with another seed", BASE, seed=1)),
        ("wide_640x480", _resized(640, 480)),
        (
            "near_l1",
            Choice(
                "smooth L1 with delta 0.2, weight 5",
                RECIPE,
                [
                    (
                        LOSS,
                        "localization_loss { weighted_smooth_l1 { delta: 0.2 } } "
                        "localization_weight: 5",
                    )
                ],
            ),
        ),
        (
            "box_scales",
            Choice(
                "box coder's height and width scale 10",
                RECIPE,
                [(BOX_CODER, "height_scale: 10 width_scale: 10")],
            ),
        ),
        ("batch_4", _batch_of_4("batch of 4, twice the steps")),
        ("batch_4_again", _batch_of_4("batch of 4 with another seed", seed=1)),
        ("workers_2", _batch_of_4("batch of 4, WORKERS=2", workers=2)),
        ("workers_2_again", _batch_of_4("WORKERS=2 with another seed", seed=1, workers=2)),
        (
            "nms_045",
            Choice(
                "NMS IoU 0.45 (base: 0.6)",
                RECIPE,
                [(NMS, "iou_threshold: 0.45")],
                weights_of="base",
            ),
        ),
        (
            "relu",
            Choice(
                "RELU instead of RELU_6",
                RECIPE,
                [(f"{EXTRACTOR}.conv_hyperparams", "activation: RELU")],
            ),
        ),
        (
            "depth_100",
            Choice("depth multiplier 1.0", NETWORK, [(EXTRACTOR, "depth_multiplier: 1.0")]),
        ),
        ("crops_mild", Choice("crops of at least 0.6 of the image", RECIPE, [(CROP, _crops(0.6))])),
        ("square_640", _resized(640, 640)),
        ("crops_zoo", Choice("the zoo's crops", RECIPE, [(CROP, "ssd_random_crop { }")])),
        ("one_map", Choice("one feature map", NETWORK, [(EXTRACTOR, "num_layers: 1")])),
        ("square_400", _resized(400, 400)),
        ("square_300", _resized(300, 300)),
        (
            "depth_025",
            Choice("depth multiplier 0.25", NETWORK, [(EXTRACTOR, "depth_multiplier: 0.25")]),
        ),
        (
            "small",
            Choice(
                "input 400 x 400, depth 0.25",
                NETWORK,
                [(RESIZER, "width: 400 height: 400"), (EXTRACTOR, "depth_multiplier: 0.25")],
            ),
        ),
        (
            "zoo_anchors",
            Choice("the zoo's scales and ratio 1", RECIPE, [(ANCHOR_GENERATOR, ZOO_ANCHORS)]),
        ),
    ]
)


def config(
    name: str, shipped: pipeline.Config, steps: int, records: pathlib.Path
) -> pipeline.Config:
    """The config of a choice, with the included config's anchors (``with_anchors`` replaces them).

    Args:
      name: a key of CHOICES.
      shipped: the included config, as ``pipeline.read`` returns it.
      steps: of the base's training.
      records: folder of train.record and val.record.

    Raises:
      UserError: the included config does not have its crops where the choices replace them.
    """
    options = shipped.train_config.data_augmentation_options
    kinds = [option.WhichOneof("preprocessing_step") for option in options]
    if kinds[CROP_INDEX : CROP_INDEX + 1] != ["ssd_random_crop_pad"]:
        found = kinds[CROP_INDEX] if len(kinds) > CROP_INDEX else "nothing"
        raise UserError(
            f"{CROP}: found {found}; expected ssd_random_crop_pad, which the choices replace by "
            "other crops. Restore the order of the augmentations."
        )
    choice = CHOICES[name]
    steps *= choice.steps_factor
    warm_up = int(steps * WARM_UP_SHARE)
    schedule = [
        ("train_config", f"num_steps: {steps}"),
        (LEARNING_RATE, f"total_steps: {steps} warmup_steps: {warm_up}"),
    ]
    built = pipeline.with_changes(
        shipped, BASE_RECIPE + list(choice.changes) + schedule + pipeline.record_changes(records)
    )
    for field in pipeline.FINE_TUNE_FIELDS:  # all start from random weights
        built.train_config.ClearField(field)
    return built


def recipe_sha256(name: str, shipped: pipeline.Config, steps: int, records: pathlib.Path) -> str:
    """Identifies what a choice trains, as 64 hex digits; where its records are does not count.

    The anchors do not count either: they follow from the config and the labels, which have hashes
    of their own.
    """
    bare = config(name, shipped, steps, records)
    bare.ClearField("train_input_reader")
    bare.ClearField("eval_input_reader")
    choice = CHOICES[name]
    workers = f" workers {choice.workers}" if choice.workers > 1 else ""
    return hashlib.sha256(f"{bare!r} seed {choice.seed}{workers}".encode()).hexdigest()


def with_anchors(
    name: str, built: pipeline.Config, train_labels: pathlib.Path
) -> Tuple[pipeline.Config, Network, float]:
    """Gives a choice's config one anchor per cell.

    Args:
      name: a key of CHOICES.
      built: its ``config``.
      train_labels: the label file whose boxes the anchors are searched for.

    Returns:
      (the config with its anchors, its network, its anchor coverage: the share of the train boxes
      that some anchor overlaps by IoU 0.5).

    Raises:
      UserError: a choice's own anchors are not one per cell.
    """
    image_wh = pipeline.input_size(built)
    network = build_network(built)
    images = labels.read_labels(train_labels)
    boxes_xyxy = np.concatenate(anchors.resized(images, image_wh))  # (N, 4)
    has_own_anchors = any(path == ANCHOR_GENERATOR for path, _ in CHOICES[name].changes)
    if not has_own_anchors:
        advice = search.best_anchors(boxes_xyxy, network.grids_wh, image_wh)
        lines = "\n".join(search.generator_lines(advice))
        built = pipeline.with_changes(built, [("model.ssd", lines)])
    anchors_xyxy, layer, per_cell = generate_anchors(built, image_wh, network.grids_wh)
    if set(per_cell) != {1}:
        raise UserError(
            f"{name}: {per_cell} anchors per cell; expected one. Correct its changes in "
            f"{paths.shown(__file__)}."
        )
    best_iou, _ = coverage.best_iou(boxes_xyxy, anchor_layers(anchors_xyxy, layer, network))
    return built, network, float(np.mean(best_iou >= coverage.COVERED_IOU))
