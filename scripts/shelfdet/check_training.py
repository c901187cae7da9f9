"""Checks of a training config: steps and learning rate, fine-tuning, augmentation, evaluation, and keys that nothing reads."""

import glob
import os

from shelfdet import paths

# Keys of older trainers: neither model_main nor what it calls reads them, so a person who sets one has no effect without knowing.
DEAD = (
    ("train_config.max_number_of_boxes", "the limit that counts is max_number_of_boxes in train_input_reader and eval_input_reader"),
    ("train_config.batch_queue_capacity", ""),
    ("train_config.num_batch_queue_threads", ""),
    ("train_config.prefetch_queue_capacity", ""),
    ("train_config.startup_delay_steps", ""),
    ("train_config.bias_grad_multiplier", ""),
    ("eval_config.num_examples", "every picture of the record is evaluated"),
    ("eval_config.eval_interval_secs", "training evaluates after a checkpoint; the step that starts it says how often"),
    ("eval_config.max_evals", ""),
    ("eval_config.export_path", ""),
    ("eval_config.visualization_export_dir", ""),
)

# eval_util.EVAL_METRICS_CLASS_DICT of object_detection.
METRICS = ("coco_detection_metrics", "coco_mask_metrics", "oid_challenge_detection_metrics", "oid_challenge_segmentation_metrics",
           "pascal_voc_detection_metrics", "weighted_pascal_voc_detection_metrics", "precision_at_recall_detection_metrics",
           "pascal_voc_instance_segmentation_metrics", "weighted_pascal_voc_instance_segmentation_metrics", "oid_V2_detection_metrics")

# The share of its starting value that batch norm's moving statistics may still hold after the last step.
STALE_STATISTICS = 0.01
# Inception V2's narrow layers have 64 channels; a min_depth above what depth_multiplier makes of them undoes the multiplier.
NARROW_DEPTH = 64
# Crops: the fields that object_detection takes as 0 where they are not written, and what it then does.
CROP_FIELDS = (("min_aspect_ratio", 0.6), ("max_aspect_ratio", 1.7), ("min_area", 0.25), ("max_area", 1.0))
KEEP_FIELDS = (("min_object_covered", 0.5), ("overlap_thresh", 0.5))


def settings(config, findings):
    """All checks of this module that need the config alone."""
    _dead(config, findings)
    _steps(config, findings)
    for step in range(len(config.train_config.data_augmentation_options)):
        _augmentation(config, step, findings)
    _evaluation(config, findings)
    _network(config, findings)


def _dead(config, findings):
    for key, instead in DEAD:
        block, _, name = key.partition(".")
        if getattr(config, block).HasField(name):
            findings.warning(key, str(getattr(getattr(config, block), name)),
                             "nothing: this version of object_detection does not read it" + (" ({})".format(instead) if instead else ""),
                             "delete the line")


def _steps(config, findings):
    train = config.train_config
    if not train.num_steps:
        findings.error("train_config.num_steps", "0 (which is also the default): training would never end", "how many steps to train",
                       "num_steps: 2300")
    kind = train.optimizer.WhichOneof("optimizer")
    if kind is None:
        findings.error("train_config.optimizer", "nothing", "one of adam_optimizer, momentum_optimizer, rms_prop_optimizer",
                       "optimizer { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.001 } } } }")
        return
    rate = getattr(train.optimizer, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    key = "train_config.optimizer.{}.learning_rate".format(kind)
    if schedule is None:
        findings.error(key, "nothing", "a learning rate", "learning_rate { constant_learning_rate { learning_rate: 0.001 } }")
    elif schedule == "cosine_decay_learning_rate":
        _cosine(getattr(rate, schedule), train.num_steps, "{}.{}".format(key, schedule), findings)
    elif schedule == "exponential_decay_learning_rate":
        _exponential(getattr(rate, schedule), train.num_steps, "{}.{}".format(key, schedule), findings)
    elif schedule == "manual_step_learning_rate":
        _manual(getattr(rate, schedule), train.num_steps, "{}.{}".format(key, schedule), findings)


def _cosine(fields, num_steps, key, findings):
    if num_steps and fields.total_steps != num_steps:
        findings.error(key + ".total_steps", "{}, but train_config.num_steps is {}: the learning rate {}".format(
            fields.total_steps, num_steps, "is still high when training ends" if fields.total_steps > num_steps
            else "is 0 for the last {} steps".format(num_steps - fields.total_steps)),
                       "the same number in both", "total_steps: {}".format(num_steps))
    if fields.warmup_steps + fields.hold_base_rate_steps >= (num_steps or fields.total_steps):
        findings.error(key + ".warmup_steps", "{}{} of {} steps: nothing is left for the decay".format(
            fields.warmup_steps, " and hold_base_rate_steps {}".format(fields.hold_base_rate_steps) if fields.hold_base_rate_steps else
            "", num_steps or fields.total_steps), "a small part of the steps",
                       "warmup_steps: {}".format(max(1, (num_steps or fields.total_steps) // 20)))
    if fields.warmup_steps and fields.warmup_learning_rate > fields.learning_rate_base:
        findings.error(key + ".warmup_learning_rate", "{:g}, above learning_rate_base {:g}".format(
            fields.warmup_learning_rate, fields.learning_rate_base), "less than learning_rate_base",
                       "warmup_learning_rate: {:g}".format(fields.learning_rate_base / 10))


def _exponential(fields, num_steps, key, findings):
    if num_steps and fields.decay_steps >= num_steps:
        findings.warning(key + ".decay_steps", "{}, but training ends at step {}: the decay_factor of {:g} is never {}".format(
            fields.decay_steps, num_steps, fields.decay_factor, "reached" if fields.staircase else "reached in full"),
                         "fewer than num_steps, so that the learning rate falls", "decay_steps: {}".format(max(1, num_steps // 20)))


def _manual(fields, num_steps, key, findings):
    late = [step.step for step in fields.schedule if num_steps and step.step >= num_steps]
    if not fields.schedule:
        findings.error(key + ".schedule", "nothing", "at least one step", "schedule {{ step: {} learning_rate: {:g} }}".format(
            max(1, num_steps * 2 // 3), fields.initial_learning_rate / 10))
    elif late:
        findings.warning(key + ".schedule", "a change at step {}, but training ends at {}".format(late[0], num_steps),
                         "changes before num_steps", "step: {}".format(num_steps * 2 // 3))


def fine_tuning(config, network, root, findings):
    """The checkpoint that training starts from: whether it is there, and how much of it fits the network.

    Args:
      config: as pipeline.read gives it.
      network: its pipeline.Network, or None if it cannot be built.
      root: what the config's paths are relative to.
      findings: Findings.
    """
    train, key = config.train_config, "train_config.fine_tune_checkpoint"
    if not train.fine_tune_checkpoint:
        if train.fine_tune_checkpoint_type or train.from_detection_checkpoint:
            findings.warning(key, "nothing, though its type is given: training starts from scratch", "the prefix of a checkpoint, or neither",
                             'fine_tune_checkpoint: "workspace/training_demo/pre-trained-model/ssd_inception_v2_coco_2018_01_28/model.ckpt"')
        return
    if not train.fine_tune_checkpoint_type and not train.from_detection_checkpoint:
        findings.error("train_config.fine_tune_checkpoint_type", "nothing: object_detection then looks for a classifier's variables and "
                       "restores none of a detector's", '"detection" for a detector\'s checkpoint, "classification" for a classifier\'s',
                       'fine_tune_checkpoint_type: "detection"')
    elif train.fine_tune_checkpoint_type not in ("", "detection", "classification"):
        findings.error("train_config.fine_tune_checkpoint_type", train.fine_tune_checkpoint_type, '"detection" or "classification"',
                       'fine_tune_checkpoint_type: "detection"')
    prefix = os.path.join(str(root), train.fine_tune_checkpoint)
    if not glob.glob(glob.escape(prefix) + ".index") and not os.path.isfile(prefix):
        _missing_prefix(train.fine_tune_checkpoint, prefix, key, findings)
    elif prefix.endswith((".index", ".meta")) or ".data-" in os.path.basename(prefix):
        plain = train.fine_tune_checkpoint.rsplit(".", 1)[0]
        findings.error(key, train.fine_tune_checkpoint + ", one file of a checkpoint", "its prefix, without .index, .meta or .data-...",
                       'fine_tune_checkpoint: "{}"'.format(plain))
    elif network is not None and (train.from_detection_checkpoint or train.fine_tune_checkpoint_type == "detection"):
        _fit(prefix, network, key, findings)


def _missing_prefix(written, prefix, key, findings):
    near = sorted(name[:-len(".index")] for name in glob.glob(os.path.join(glob.escape(os.path.dirname(prefix)), "*.index")))
    found = "{} (no {}.index there{})".format(
        written, prefix, "; in that folder: " + ", ".join(os.path.basename(name) for name in near) if near else "")
    write = ('fine_tune_checkpoint: "{}"'.format(os.path.join(os.path.dirname(written), os.path.basename(near[0]))) if near else
             "run `make pretrained`, or delete fine_tune_checkpoint to train from scratch")
    findings.error(key, found, "the prefix of a checkpoint: the path of its .index file without .index", write)


def _fit(prefix, network, key, findings):
    import tensorflow as tf
    try:
        stored = dict(tf.train.list_variables(prefix))
    except (tf.errors.OpError, ValueError) as error:
        findings.error(key, "{} cannot be read ({})".format(prefix, str(error).splitlines()[0]), "a whole checkpoint",
                       "run `make pretrained`")
        return
    wanted = {name: shape for name, shape in network.variables.items() if name.startswith("FeatureExtractor")}
    fitting = sum(name in stored and tuple(stored[name]) == shape for name, shape in wanted.items())
    misfits = [name for name, shape in sorted(wanted.items()) if name in stored and tuple(stored[name]) != shape]
    if fitting == len(wanted):
        return
    example = "; {} is {} there and {} here".format(misfits[0], tuple(stored[misfits[0]]), wanted[misfits[0]]) if misfits else ""
    (findings.warning if fitting > len(wanted) / 2 else findings.error)(
        key, "{} of the feature extractor's {} variables are in it with the same shape{}".format(fitting, len(wanted), example),
        "a checkpoint of the same network: same type, depth_multiplier and num_layers",
        "depth_multiplier: 1.0" if misfits else "name another checkpoint, or delete fine_tune_checkpoint")


def _augmentation(config, number, findings):
    step = config.train_config.data_augmentation_options[number]
    name = step.WhichOneof("preprocessing_step")
    key = "train_config.data_augmentation_options[{}]".format(number)
    if name is None:
        findings.error(key, "an empty block", "one augmentation step", "delete the block")
        return
    if not name.startswith("ssd_random_crop"):
        return
    operations = getattr(step, name).operations
    if not operations:
        findings.warning("{}.{}".format(key, name), "no operations: seven defaults, which ask for an overlap of 0 to 1. At 0 slivers of "
                         "products stay as products, at 1 a product cut by one pixel becomes background",
                         "operations with an overlap_thresh near 0.5",
                         "operations {\n" + "".join("  {}: {:g}\n".format(*field) for field in KEEP_FIELDS + CROP_FIELDS) +
                         "  clip_boxes: true\n  random_coef: 0.25\n}")
    for index, operation in enumerate(operations):
        _crop(operation, "{}.{}.operations[{}]".format(key, name, index), findings)


def _crop(operation, key, findings):
    for name, usual in CROP_FIELDS:
        if name in operation.DESCRIPTOR.fields_by_name and getattr(operation, name) <= 0:
            findings.error("{}.{}".format(key, name), "{} (0 where nothing is written): no crop can be drawn".format(
                "{:g}".format(getattr(operation, name))), "a number above 0", "{}: {:g}".format(name, usual))
    for name, usual in KEEP_FIELDS:
        if not operation.HasField(name):
            findings.warning("{}.{}".format(key, name), "nothing, which is 0: slivers of products stay as products",
                             "the share of a product that has to be inside", "{}: {:g}".format(name, usual))
    if operation.overlap_thresh >= 1:
        findings.warning(key + ".overlap_thresh", "{:g}: a product cut by one pixel becomes background".format(operation.overlap_thresh),
                         "less than 1", "overlap_thresh: 0.5")
    for low, high in (("min_aspect_ratio", "max_aspect_ratio"), ("min_area", "max_area")):
        if low in operation.DESCRIPTOR.fields_by_name and 0 < getattr(operation, high) < getattr(operation, low):
            findings.error("{}.{}".format(key, high), "{:g}, under {} {:g}".format(getattr(operation, high), low, getattr(operation, low)),
                           "at least as much", "{}: {:g}".format(high, dict(CROP_FIELDS)[high]))


def _evaluation(config, findings):
    if not config.eval_input_reader:
        findings.error("eval_input_reader", "none", "one, for the validation pictures",
                       'eval_input_reader {{ label_map_path: "{}" tf_record_input_reader {{ input_path: "{}" }} }}'.format(
                           paths.shown(paths.LABEL_MAP), paths.shown(paths.record("val"))))
    chosen = list(config.eval_config.metrics_set)
    unknown = [name for name in chosen if name not in METRICS]
    if unknown:
        findings.error("eval_config.metrics_set", unknown[0], "one of " + ", ".join(METRICS), 'metrics_set: "coco_detection_metrics"')
    elif chosen and "coco_detection_metrics" not in chosen:
        findings.warning("eval_config.metrics_set", ", ".join(chosen), "coco_detection_metrics: the best checkpoint is kept by COCO AP",
                         'metrics_set: "coco_detection_metrics"')
    suppression = "model.ssd.post_processing.batch_non_max_suppression.score_threshold"
    if config.model.ssd.post_processing.batch_non_max_suppression.score_threshold > 0.05:
        findings.warning(suppression, "{:g}: detections under it are lost before AP is computed".format(
            config.model.ssd.post_processing.batch_non_max_suppression.score_threshold), "close to 0; the threshold is chosen later, on "
                         "validation pictures", "score_threshold: 1e-8")


def _network(config, findings):
    ssd, train = config.model.ssd, config.train_config
    extractor = ssd.feature_extractor
    decay = extractor.conv_hyperparams.batch_norm.decay
    scratch = not train.fine_tune_checkpoint
    if scratch and train.num_steps and extractor.conv_hyperparams.HasField("batch_norm") and decay ** train.num_steps > STALE_STATISTICS:
        findings.warning("model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay",
                         "{:g}: after {} steps from scratch {:.0%} of the statistics used in evaluation are still the starting values"
                         .format(decay, train.num_steps, decay ** train.num_steps), "less, so that they follow within the steps there are",
                         "decay: 0.97")
    if extractor.min_depth > NARROW_DEPTH * extractor.depth_multiplier:
        findings.warning("model.ssd.feature_extractor.min_depth", "{}, more than depth_multiplier {:g} makes of the layers of {} channels"
                         .format(extractor.min_depth, extractor.depth_multiplier, NARROW_DEPTH), "small enough not to undo depth_multiplier",
                         "min_depth: 16")
    if extractor.type == "ssd_inception_v2" and not extractor.override_base_feature_extractor_hyperparams:
        findings.error("model.ssd.feature_extractor.override_base_feature_extractor_hyperparams", "false (the default)",
                       "true: object_detection refuses to build ssd_inception_v2 without it",
                       "override_base_feature_extractor_hyperparams: true")
    if (ssd.loss.classification_loss.WhichOneof("classification_loss") in ("weighted_sigmoid", "weighted_sigmoid_focal") and
            ssd.post_processing.score_converter != ssd.post_processing.SIGMOID):
        findings.error("model.ssd.post_processing.score_converter", ssd.post_processing.ScoreConverter.Name(
            ssd.post_processing.score_converter) + ": scores would be no probabilities", "SIGMOID, as the loss is", "score_converter: SIGMOID")
