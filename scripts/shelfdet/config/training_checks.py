"""Checks of a training config: learning rate, fine-tuning, augmentation, evaluation, and keys that nothing reads."""

import glob
import os

from shelfdet.core import paths, tensorflow1

# Keys of older trainers: neither model_main nor what it calls reads them, so whoever sets one waits for an effect.
DEAD = (
    (
        "train_config.max_number_of_boxes",
        " (what counts is max_number_of_boxes in the two input readers)",
    ),
    ("train_config.batch_queue_capacity", ""),
    ("train_config.num_batch_queue_threads", ""),
    ("train_config.prefetch_queue_capacity", ""),
    ("train_config.startup_delay_steps", ""),
    ("train_config.bias_grad_multiplier", ""),
    ("eval_config.num_examples", " (every image of the record is evaluated)"),
    (
        "eval_config.eval_interval_secs",
        " (the step that starts the training says how often it evaluates)",
    ),
    ("eval_config.max_evals", ""),
    ("eval_config.export_path", ""),
    ("eval_config.visualization_export_dir", ""),
)

# eval_util.EVAL_METRICS_CLASS_DICT of object_detection.
METRICS = (
    "coco_detection_metrics",
    "coco_mask_metrics",
    "oid_challenge_detection_metrics",
    "oid_challenge_segmentation_metrics",
    "pascal_voc_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "precision_at_recall_detection_metrics",
    "pascal_voc_instance_segmentation_metrics",
    "weighted_pascal_voc_instance_segmentation_metrics",
    "oid_V2_detection_metrics",
)

# The share of its starting value that batch norm's moving statistics may still hold after the last step.
STALE_STATISTICS = 0.01
# Rates over these are ten times what detectors are trained with and more: the loss soon is NaN.
HIGH_RATE = {"adam_optimizer": 0.01, "rms_prop_optimizer": 0.05, "momentum_optimizer": 0.5}
# Inception V2's narrow layers have 64 channels; a min_depth above what depth_multiplier makes of them undoes it.
NARROW_DEPTH = 64
# Detections under such a score are missed in AP.
HIGH_SCORE = 0.05
# Fields of a crop with a usual value. Unwritten, object_detection takes them as 0: nothing can be drawn with the first
# four at 0, and slivers of products are kept with the other two.
CROP_FIELDS = (
    ("min_aspect_ratio", 0.6),
    ("max_aspect_ratio", 1.7),
    ("min_area", 0.25),
    ("max_area", 1.0),
)
KEEP_FIELDS = (("min_object_covered", 0.5), ("overlap_thresh", 0.5))


def settings(config, findings):
    """All checks of this module that need the config alone."""
    _dead(config, findings)
    _steps(config.train_config, findings)
    for number, step in enumerate(config.train_config.data_augmentation_options):
        _augmentation(step, f"train_config.data_augmentation_options[{number}]", findings)
    _evaluation(config, findings)
    _batch_norm(config, findings)
    _extractor(config.model.ssd.feature_extractor, findings)
    _scores(config.model.ssd, findings)


def _dead(config, findings):
    for key, instead in DEAD:
        block, _, name = key.partition(".")
        if getattr(config, block).HasField(name):
            findings.warning(
                key,
                found=str(getattr(getattr(config, block), name)),
                expected="nothing: this version of object_detection does not read it" + instead,
                write="delete the line",
            )


def _steps(train, findings):
    kind = train.optimizer.WhichOneof("optimizer")
    if not train.num_steps:
        cosine = (
            getattr(train.optimizer, kind).learning_rate.cosine_decay_learning_rate
            if kind
            else None
        )
        findings.error(
            "train_config.num_steps",
            found="0 (which is also the default): training would never end",
            expected="how many steps to train",
            write=f"num_steps: {cosine.total_steps if cosine and cosine.HasField('total_steps') else 2800}",
        )
    if kind is None:
        findings.error(
            "train_config.optimizer",
            found="nothing",
            expected="one of adam_optimizer, momentum_optimizer, rms_prop_optimizer",
            write="optimizer { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.001 } } } }",
        )
        return
    rate = getattr(train.optimizer, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    key = f"train_config.optimizer.{kind}.learning_rate"
    check = {
        "cosine_decay_learning_rate": _cosine,
        "exponential_decay_learning_rate": _exponential,
        "manual_step_learning_rate": _manual,
    }.get(schedule)
    if schedule is None:
        findings.error(
            key,
            found="nothing",
            expected="a learning rate",
            write="learning_rate { constant_learning_rate { learning_rate: 0.001 } }",
        )
        return
    _rates(getattr(rate, schedule), HIGH_RATE[kind], f"{key}.{schedule}", findings)
    if check is not None:
        check(getattr(rate, schedule), train.num_steps, f"{key}.{schedule}", findings)


def _rates(fields, high, key, findings):
    """The rates themselves, the one that training is to go by above all; a warm-up may begin at 0."""
    for name in ("learning_rate", "learning_rate_base", "initial_learning_rate"):
        if name not in fields.DESCRIPTOR.fields_by_name:
            continue
        value = getattr(fields, name)
        if not 0 < value < float("inf"):
            findings.error(
                f"{key}.{name}",
                found=f"{value:g}",
                expected="a rate above 0",
                write=f"{name}: {high / 10:g}",
            )
        elif value > high:
            findings.warning(
                f"{key}.{name}",
                found=f"{value:g}: with this optimizer the loss most likely becomes NaN",
                expected=f"{high:g} at most, for most networks a tenth of that",
                write=f"{name}: {high / 10:g}",
            )


def _cosine(fields, num_steps, key, findings):
    steps = num_steps or fields.total_steps
    if fields.total_steps != steps:
        effect = (
            "the learning rate is still high when training ends"
            if fields.total_steps > steps
            else f"the learning rate is 0 for the last {steps - fields.total_steps} steps"
        )
        findings.error(
            key + ".total_steps",
            found=f"{fields.total_steps}, but train_config.num_steps is {steps}: {effect}",
            expected="the same number in both",
            write=f"total_steps: {steps}",
        )
    if fields.warmup_steps + fields.hold_base_rate_steps >= steps:
        findings.error(
            key + ".warmup_steps",
            found=f"{fields.warmup_steps}, with hold_base_rate_steps {fields.hold_base_rate_steps}, of {steps} steps: "
            "nothing is left for the decay",
            expected="a small part of the steps",
            write=f"warmup_steps: {max(1, steps // 20)}",
        )
    if fields.warmup_steps and fields.warmup_learning_rate > fields.learning_rate_base > 0:
        findings.error(
            key + ".warmup_learning_rate",
            found=f"{fields.warmup_learning_rate:g}, above learning_rate_base {fields.learning_rate_base:g}",
            expected="less than learning_rate_base",
            write=f"warmup_learning_rate: {fields.learning_rate_base / 10:g}",
        )


def _exponential(fields, num_steps, key, findings):
    if num_steps and fields.decay_steps >= num_steps:
        findings.warning(
            key + ".decay_steps",
            found=f"{fields.decay_steps}, but training ends at step {num_steps}: the decay_factor of "
            f"{fields.decay_factor:g} is never reached{'' if fields.staircase else ' in full'}",
            expected="fewer than num_steps, so that the learning rate falls",
            write=f"decay_steps: {max(1, num_steps // 20)}",
        )


def _manual(fields, num_steps, key, findings):
    two_thirds = max(1, num_steps * 2 // 3)
    late = [step.step for step in fields.schedule if num_steps and step.step >= num_steps]
    if not fields.schedule:
        findings.error(
            key + ".schedule",
            found="nothing",
            expected="at least one step",
            write=f"schedule {{ step: {two_thirds} learning_rate: {fields.initial_learning_rate / 10:g} }}",
        )
    elif late:
        findings.warning(
            key + ".schedule",
            found=f"a change at step {late[0]}, but training ends at {num_steps}",
            expected="changes before num_steps",
            write=f"step: {two_thirds}",
        )


def fine_tuning(config, network, root, findings):
    """The checkpoint that training starts from: whether it is there, and how much of it fits the network.

    Args:
      config: as pipeline.read gives it.
      network: its Network, or None if it cannot be built.
      root: what the config's paths are relative to.
      findings: Findings.
    """
    train, key = config.train_config, "train_config.fine_tune_checkpoint"
    typed = train.fine_tune_checkpoint_type or (
        "detection" if train.from_detection_checkpoint else ""
    )
    if not train.fine_tune_checkpoint:
        if typed:
            findings.warning(
                key,
                found="nothing, though its type is given: training starts from scratch",
                expected="the prefix of a checkpoint, or neither",
                write="delete fine_tune_checkpoint_type and from_detection_checkpoint, or name a checkpoint",
            )
        return
    if typed not in ("detection", "classification"):
        findings.error(
            "train_config.fine_tune_checkpoint_type",
            found=typed
            or "nothing: object_detection then looks for a classifier's variables and restores none of a "
            "detector's",
            expected='"detection" for a detector\'s checkpoint, "classification" for a classifier\'s',
            write='fine_tune_checkpoint_type: "detection"',
        )
    prefix = os.path.join(str(root), train.fine_tune_checkpoint)
    if not os.path.isfile(prefix + ".index") and not os.path.isfile(prefix):
        _missing_prefix(train.fine_tune_checkpoint, prefix, key, findings)
    elif prefix.endswith((".index", ".meta")) or ".data-" in os.path.basename(prefix):
        findings.error(
            key,
            found=train.fine_tune_checkpoint + ", one file of a checkpoint",
            expected="its prefix, without .index, .meta or .data-...",
            write=f'fine_tune_checkpoint: "{train.fine_tune_checkpoint.rsplit(".", 1)[0]}"',
        )
    elif network is not None and typed == "detection":
        _fit(prefix, network, train.load_all_detection_checkpoint_vars, key, findings)


def _missing_prefix(written, prefix, key, findings):
    folder = os.path.dirname(prefix)
    near = sorted(
        os.path.basename(name)[: -len(".index")]
        for name in glob.glob(os.path.join(glob.escape(folder), "*.index"))
    )
    findings.error(
        key,
        found=f"{written} (no {prefix}.index there{'; in that folder: ' + ', '.join(near) if near else ''})",
        expected="the prefix of a checkpoint: the path of its .index file without .index",
        write=(
            f'fine_tune_checkpoint: "{os.path.join(os.path.dirname(written), near[0])}"'
            if near
            else "run `make pretrained`, or delete fine_tune_checkpoint to train from scratch"
        ),
    )


def _fit(prefix, network, whole, key, findings):
    """Compares names and shapes of the feature extractor's variables, or of the ``whole`` network's, with the checkpoint's."""
    tf = tensorflow1.load()
    try:
        stored = {name: tuple(shape) for name, shape in tf.train.list_variables(prefix)}
    except (tf.errors.OpError, ValueError) as error:
        findings.error(
            key,
            found=f"{prefix} cannot be read ({str(error).splitlines()[0]})",
            expected="a whole checkpoint",
            write="run `make pretrained`",
        )
        return
    wanted = {
        name: shape
        for name, shape in network.variables.items()
        if whole or name.startswith("FeatureExtractor")
    }
    fitting = [name for name, shape in wanted.items() if stored.get(name) == shape]
    if len(fitting) == len(wanted):
        return
    misfits = sorted(name for name in set(wanted) & set(stored) if stored[name] != wanted[name])
    example = (
        f"; {misfits[0]} is {stored[misfits[0]]} there and {wanted[misfits[0]]} here"
        if misfits
        else ""
    )
    tell = findings.warning if len(fitting) > len(wanted) / 2 else findings.error
    tell(
        key,
        found=f"{len(fitting)} of the {'network' if whole else 'feature extractor'}'s {len(wanted)} variables are in it with this "
        f"shape{example}",
        expected="a checkpoint of the same network: same type, depth_multiplier and num_layers"
        + (", and num_classes" if whole else ""),
        write="the model block of the config that the checkpoint was trained with, most often the pipeline.config beside it; or name "
        "another checkpoint, or none",
    )


def _augmentation(step, key, findings):
    name = step.WhichOneof("preprocessing_step")
    if name is None:
        findings.error(
            key, found="an empty block", expected="one augmentation step", write="delete the block"
        )
        return
    if not name.startswith("ssd_random_crop"):
        return
    operations = getattr(step, name).operations
    if not operations:
        fields = "".join(f"  {field}: {usual:g}\n" for field, usual in KEEP_FIELDS + CROP_FIELDS)
        findings.warning(
            f"{key}.{name}",
            found="no operations: seven defaults, which ask for an overlap of 0 to 1. At 0 slivers of products stay "
            "as products, at 1 a product cut by one pixel becomes background",
            expected="operations with an overlap_thresh near 0.5",
            write=f"operations {{\n{fields}  clip_boxes: true\n  random_coef: 0.25\n}}",
        )
    for number, operation in enumerate(operations):
        _crop(operation, f"{key}.{name}.operations[{number}]", findings)


def _crop(operation, key, findings):
    known = operation.DESCRIPTOR.fields_by_name
    for name, usual in CROP_FIELDS:
        if name in known and getattr(operation, name) <= 0:
            findings.error(
                f"{key}.{name}",
                found=f"{getattr(operation, name):g} (0 where nothing is written): no crop can be drawn",
                expected="a number above 0",
                write=f"{name}: {usual:g}",
            )
    for name, usual in KEEP_FIELDS:
        if not operation.HasField(name):
            findings.warning(
                f"{key}.{name}",
                found="nothing, which is 0: slivers of products stay as products",
                expected="the share of a product that has to be inside",
                write=f"{name}: {usual:g}",
            )
    if operation.overlap_thresh >= 1:
        findings.warning(
            key + ".overlap_thresh",
            found=f"{operation.overlap_thresh:g}: a product cut by one pixel becomes background",
            expected="less than 1",
            write="overlap_thresh: 0.5",
        )
    for (low, _), (high, usual) in (CROP_FIELDS[:2], CROP_FIELDS[2:]):
        if low in known and 0 < getattr(operation, high) < getattr(operation, low):
            findings.error(
                f"{key}.{high}",
                found=f"{getattr(operation, high):g}, under {low} {getattr(operation, low):g}",
                expected="at least as much",
                write=f"{high}: {usual:g}",
            )


def _evaluation(config, findings):
    if not config.eval_input_reader:
        findings.error(
            "eval_input_reader",
            found="none",
            expected="one, for the validation images",
            write=f'eval_input_reader {{\n  label_map_path: "{paths.shown(paths.LABEL_MAP)}"\n  tf_record_input_reader {{ input_path: "{paths.shown(paths.record("val"))}" }}\n}}',
        )
    chosen = list(config.eval_config.metrics_set)
    unknown = [name for name in chosen if name not in METRICS]
    coco = 'metrics_set: "coco_detection_metrics"'
    if unknown:
        findings.error(
            "eval_config.metrics_set",
            found=unknown[0],
            expected="one of " + ", ".join(METRICS),
            write=coco,
        )
    elif chosen and "coco_detection_metrics" not in chosen:
        findings.error(
            "eval_config.metrics_set",
            found=", ".join(chosen),
            expected="coco_detection_metrics: the best checkpoint is kept by COCO AP",
            write=coco,
        )


def _batch_norm(config, findings):
    hyperparams, num_steps = (
        config.model.ssd.feature_extractor.conv_hyperparams,
        config.train_config.num_steps,
    )
    decay = hyperparams.batch_norm.decay
    if not hyperparams.HasField("batch_norm"):
        return
    if not 0 < decay < 1:
        findings.error(
            "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay",
            found=f"{decay:g}",
            expected="above 0 and below 1: the share of the statistics that each step keeps",
            write="decay: 0.97",
        )
        return
    if config.train_config.fine_tune_checkpoint or not num_steps:
        return
    if decay**num_steps > STALE_STATISTICS:
        findings.warning(
            "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay",
            found=f"{decay:g}: after {num_steps} steps from scratch {decay**num_steps:.0%} of the statistics used in "
            "evaluation are still the starting values",
            expected="less, so that they follow within the steps there are",
            write="decay: 0.97",
        )


def _extractor(extractor, findings):
    if extractor.min_depth > NARROW_DEPTH * extractor.depth_multiplier:
        findings.warning(
            "model.ssd.feature_extractor.min_depth",
            found=f"{extractor.min_depth}, more than depth_multiplier {extractor.depth_multiplier:g} makes of "
            f"layers of {NARROW_DEPTH} channels",
            expected="small enough not to undo depth_multiplier",
            write=f"min_depth: {max(1, min(16, int(NARROW_DEPTH * extractor.depth_multiplier)))}",
        )
    if (
        extractor.type == "ssd_inception_v2"
        and not extractor.override_base_feature_extractor_hyperparams
    ):
        findings.error(
            "model.ssd.feature_extractor.override_base_feature_extractor_hyperparams",
            found="false (the default)",
            expected="true: object_detection refuses to build ssd_inception_v2 without it",
            write="override_base_feature_extractor_hyperparams: true",
        )


def _scores(ssd, findings):
    post, loss = ssd.post_processing, ssd.loss.classification_loss.WhichOneof("classification_loss")
    if (
        loss in ("weighted_sigmoid", "weighted_sigmoid_focal")
        and post.score_converter != post.SIGMOID
    ):
        findings.error(
            "model.ssd.post_processing.score_converter",
            found=post.ScoreConverter.Name(post.score_converter)
            + ": scores would be no probabilities",
            expected="SIGMOID, as the loss is",
            write="score_converter: SIGMOID",
        )
    threshold = post.batch_non_max_suppression.score_threshold
    if threshold > HIGH_SCORE:
        findings.warning(
            "model.ssd.post_processing.batch_non_max_suppression.score_threshold",
            found=f"{threshold:g}: detections under it are lost before AP is computed",
            expected="close to 0; the threshold is chosen later, on validation images",
            write="score_threshold: 1e-8",
        )
