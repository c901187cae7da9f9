"""Checks of training: steps, learning rate, evaluation, batch norm, scores, deprecated keys."""

import math
from typing import Any, Callable, Dict, List

from shelfdet.config import pipeline
from shelfdet.config.findings import DELETE_LINE, Findings
from shelfdet.config.record_checks import RECORD_LINES
from shelfdet.core.text import counted

EXTRACTOR = "model.ssd.feature_extractor"
POST_PROCESSING = "model.ssd.post_processing"
BATCH_NORM_DECAY = EXTRACTOR + ".conv_hyperparams.batch_norm.decay"

# Keys of older trainers that neither model_main nor what it calls reads, with what is used instead.
DEPRECATED_KEYS = {
    "train_config.max_number_of_boxes": " (max_number_of_boxes of the two input readers is read)",
    "train_config.batch_queue_capacity": "",
    "train_config.num_batch_queue_threads": "",
    "train_config.prefetch_queue_capacity": "",
    "train_config.startup_delay_steps": "",
    "train_config.bias_grad_multiplier": "",
    "eval_config.num_examples": " (every image of the record is evaluated)",
    "eval_config.eval_interval_secs": " (step 06 decides how often to evaluate)",
    "eval_config.max_evals": "",
    "eval_config.export_path": "",
    "eval_config.visualization_export_dir": "",
}

# eval_util.EVAL_METRICS_CLASS_DICT of object_detection
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

USUAL_STEPS = 2800  # enough from random weights
# Shares of the steps in which the learning rate may rise to its base
USUAL_WARMUP = 0.05
LONG_WARMUP = 0.25
USUAL_RATE_LINE = "learning_rate { constant_learning_rate { learning_rate: 0.001 } }"

# Share of their initial values that batch norm's moving statistics may contain after the last step
STALE_STATISTICS = 0.01
USUAL_DECAY = 0.97
# Ten times the usual rates of detectors and more; above it the loss soon becomes NaN.
HIGH_RATE = {"adam_optimizer": 0.01, "rms_prop_optimizer": 0.05, "momentum_optimizer": 0.5}
# Channels of the narrowest layers of Inception V2. A min_depth above depth_multiplier times this
# undoes the depth_multiplier.
NARROW_DEPTH = 64
# Detections below such a score_threshold are missing in AP.
HIGH_SCORE = 0.05


def check(config: pipeline.Config, findings: Findings) -> None:
    """All checks of this module; the model must be an SSD."""
    _check_deprecated_keys(config, findings)
    _check_steps(config.train_config, findings)
    _check_learning_rate(config.train_config, findings)
    _check_evaluation(config, findings)
    _check_batch_norm(config, findings)
    _check_extractor(config.model.ssd.feature_extractor, findings)
    _check_scores(config.model.ssd, findings)


def _check_deprecated_keys(config: pipeline.Config, findings: Findings) -> None:
    for key, instead in DEPRECATED_KEYS.items():
        block_name, _, name = key.partition(".")
        block = getattr(config, block_name)
        if block.HasField(name):
            findings.warning(
                key,
                found=str(getattr(block, name)),
                expected=f"nothing: this version of object_detection does not read it{instead}",
                write=DELETE_LINE,
            )


def _check_steps(train: Any, findings: Findings) -> None:
    if train.num_steps:
        return
    steps = USUAL_STEPS
    optimizer = train.optimizer.WhichOneof("optimizer")
    if optimizer:
        cosine = getattr(train.optimizer, optimizer).learning_rate.cosine_decay_learning_rate
        if cosine.HasField("total_steps") and cosine.total_steps:
            steps = cosine.total_steps
    findings.error(
        "train_config.num_steps",
        found="0 (which is also the default): training would never end",
        expected="how many steps to train",
        write=f"num_steps: {steps}",
    )


# --- learning rate ---


def _check_learning_rate(train: Any, findings: Findings) -> None:
    optimizer = train.optimizer.WhichOneof("optimizer")
    if optimizer is None:
        findings.error(
            "train_config.optimizer",
            found="nothing",
            expected="one of adam_optimizer, momentum_optimizer, rms_prop_optimizer",
            write=f"optimizer {{ adam_optimizer {{ {USUAL_RATE_LINE} }} }}",
        )
        return
    rate = getattr(train.optimizer, optimizer).learning_rate
    key = f"train_config.optimizer.{optimizer}.learning_rate"
    schedule = rate.WhichOneof("learning_rate")
    if schedule is None:
        findings.error(key, found="nothing", expected="a learning rate", write=USUAL_RATE_LINE)
        return
    fields = getattr(rate, schedule)
    schedule_key = f"{key}.{schedule}"
    _check_rates(fields, HIGH_RATE[optimizer], schedule_key, findings)
    if schedule in SCHEDULE_CHECKS:
        SCHEDULE_CHECKS[schedule](fields, train.num_steps, schedule_key, findings)


def _check_rates(fields: Any, high: float, key: str, findings: Findings) -> None:
    """The main rate of a schedule; the rate of a warm-up may be 0 and is not checked here."""
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


def _check_cosine(fields: Any, num_steps: int, key: str, findings: Findings) -> None:
    steps = num_steps or fields.total_steps
    if fields.total_steps > steps:
        effect = "the learning rate is still high when training ends"
    else:
        last = counted(steps - fields.total_steps, "step")
        effect = f"the learning rate is 0 for the last {last}"
    if fields.total_steps != steps:
        findings.error(
            key + ".total_steps",
            found=f"{fields.total_steps}, but train_config.num_steps is {steps}: {effect}",
            expected="the same number in both",
            write=f"total_steps: {steps}",
        )
    _check_warmup(fields, steps, key, findings)
    if fields.warmup_steps and fields.warmup_learning_rate > fields.learning_rate_base > 0:
        findings.error(
            key + ".warmup_learning_rate",
            found=f"{fields.warmup_learning_rate:g}, above learning_rate_base "
            f"{fields.learning_rate_base:g}",
            expected="less than learning_rate_base",
            write=f"warmup_learning_rate: {fields.learning_rate_base / 10:g}",
        )


def _check_warmup(fields: Any, steps: int, key: str, findings: Findings) -> None:
    """The steps of a cosine schedule before the decay begins."""
    usual = int(steps * USUAL_WARMUP)
    write = f"warmup_steps: {usual}"
    if fields.warmup_steps + fields.hold_base_rate_steps >= steps:
        if usual + fields.hold_base_rate_steps >= steps:
            write += "\nhold_base_rate_steps: 0"
        findings.error(
            key + ".warmup_steps",
            found=f"{fields.warmup_steps}, with hold_base_rate_steps "
            f"{fields.hold_base_rate_steps}, of {counted(steps, 'step')}: none are left for the "
            "decay",
            expected="a small part of the steps",
            write=write,
        )
    else:
        _check_warmup_share(f"{key}.warmup_steps", fields.warmup_steps, steps, findings)


def _check_warmup_share(key: str, warmup_steps: int, steps: int, findings: Findings) -> None:
    """Warns of a warm-up that takes too many of the steps; ``key`` is its full key."""
    if warmup_steps > steps * LONG_WARMUP:
        findings.warning(
            key,
            found=f"{warmup_steps} of {counted(steps, 'step')}, {warmup_steps / steps:.0%}, in "
            "which the learning rate has not reached its base",
            expected=f"at most {LONG_WARMUP:.0%} of the steps, usually {USUAL_WARMUP:.0%}",
            write=f"{key.rpartition('.')[2]}: {int(steps * USUAL_WARMUP)}",
        )


def _check_exponential(fields: Any, num_steps: int, key: str, findings: Findings) -> None:
    if num_steps:
        _check_warmup_share(f"{key}.burnin_steps", fields.burnin_steps, num_steps, findings)
    if num_steps > 1 and fields.decay_steps >= num_steps:
        # Without staircase the rate decays continuously, by part of the factor.
        extent = "" if fields.staircase else " in full"
        findings.warning(
            key + ".decay_steps",
            found=f"{fields.decay_steps}, but training ends at step {num_steps}: the decay_factor "
            f"of {fields.decay_factor:g} is never reached{extent}",
            expected="fewer than num_steps, so that the learning rate falls",
            write=f"decay_steps: {max(1, num_steps // 20)}",
        )


def _check_manual(fields: Any, num_steps: int, key: str, findings: Findings) -> None:
    two_thirds = max(1, num_steps * 2 // 3)
    late = [step.step for step in fields.schedule if step.step >= num_steps > 1]
    if not fields.schedule:
        rate = fields.initial_learning_rate / 10
        findings.error(
            key + ".schedule",
            found="nothing",
            expected="at least one step",
            write=f"schedule {{ step: {two_thirds} learning_rate: {rate:g} }}",
        )
    elif late:
        findings.warning(
            key + ".schedule",
            found=f"a change at step {late[0]}, but training ends at {num_steps}",
            expected="changes before num_steps",
            write="\n".join(_earlier_schedule(fields.schedule, num_steps)),
        )


def _earlier_schedule(schedule: Any, num_steps: int) -> List[str]:
    """The lines of a schedule with its steps in proportion, the last at two thirds of num_steps."""
    factor = num_steps * 2 / 3 / max(step.step for step in schedule)
    return [
        f"schedule {{ step: {max(1, int(step.step * factor))} learning_rate: "
        f"{step.learning_rate:g} }}"
        for step in schedule
    ]


SCHEDULE_CHECKS: Dict[str, Callable[[Any, int, str, Findings], None]] = {
    "cosine_decay_learning_rate": _check_cosine,
    "exponential_decay_learning_rate": _check_exponential,
    "manual_step_learning_rate": _check_manual,
}


# --- evaluation and network ---


def _check_evaluation(config: pipeline.Config, findings: Findings) -> None:
    if not config.eval_input_reader:
        findings.error(
            "eval_input_reader",
            found="none",
            expected="one, for the validation images",
            write="eval_input_reader {\n"
            f'  label_map_path: "{config.train_input_reader.label_map_path}"\n'
            f"  tf_record_input_reader {{ {RECORD_LINES['val']} }}\n}}",
        )
    if len(config.eval_input_reader) > 1:
        findings.warning(
            "eval_input_reader",
            found=f"{len(config.eval_input_reader)} of them: training uses the first alone",
            expected="one, with an input_path line for the validation record of each dataset",
            write="one eval_input_reader with the input_path lines of all",
        )
    metrics = list(config.eval_config.metrics_set)
    unknown = [name for name in metrics if name not in METRICS]
    coco_line = 'metrics_set: "coco_detection_metrics"'
    if unknown:
        findings.error(
            "eval_config.metrics_set",
            found=unknown[0],
            expected=f"one of {', '.join(METRICS)}",
            write=coco_line,
        )
    elif metrics and "coco_detection_metrics" not in metrics:
        findings.error(
            "eval_config.metrics_set",
            found=", ".join(metrics),
            expected="coco_detection_metrics: the best checkpoint is selected by COCO AP",
            write=coco_line,
        )


def _check_batch_norm(config: pipeline.Config, findings: Findings) -> None:
    hyperparams = config.model.ssd.feature_extractor.conv_hyperparams
    if not hyperparams.HasField("batch_norm"):
        return
    decay = hyperparams.batch_norm.decay
    num_steps = config.train_config.num_steps
    from_scratch = num_steps and not config.train_config.fine_tune_checkpoint
    # A checkpoint's statistics are a good start.
    highest = _highest_decay(num_steps) if from_scratch else USUAL_DECAY
    if not 0 < decay < 1:
        findings.error(
            BATCH_NORM_DECAY,
            found=f"{decay:g}",
            expected="above 0 and below 1: the share of the statistics that each step keeps",
            write=f"decay: {min(USUAL_DECAY, highest):g}",
        )
    elif from_scratch and decay**num_steps > STALE_STATISTICS:
        findings.warning(
            BATCH_NORM_DECAY,
            found=f"{decay:g}: after {counted(num_steps, 'step')} from scratch "
            f"{decay**num_steps:.0%} of the statistics used in evaluation are still the initial "
            "values",
            expected=f"at most {highest:g}, so that after {counted(num_steps, 'step')} less than "
            f"{STALE_STATISTICS:.0%} are; or more steps",
            write=f"decay: {min(USUAL_DECAY, highest):g}",
        )


def _highest_decay(num_steps: int) -> float:
    """The highest decay with which STALE_STATISTICS of the initial values are left at the end.

    Rounded down, to two digits that are not 9.
    """
    highest = STALE_STATISTICS ** (1 / num_steps)
    digits = 2 - int(math.floor(math.log10(1 - highest)))  # 0.9984 needs more digits than 0.63
    return math.floor(highest * 10**digits) / 10**digits


def _check_extractor(extractor: Any, findings: Findings) -> None:
    narrowest = NARROW_DEPTH * extractor.depth_multiplier
    if extractor.min_depth > max(1, narrowest):
        findings.warning(
            EXTRACTOR + ".min_depth",
            found=f"{extractor.min_depth}, more than depth_multiplier "
            f"{extractor.depth_multiplier:g} makes of layers of {NARROW_DEPTH} channels",
            expected="small enough not to undo depth_multiplier",
            write=f"min_depth: {max(1, min(16, int(narrowest)))}",
        )
    overrides = extractor.override_base_feature_extractor_hyperparams
    if extractor.type == "ssd_inception_v2" and not overrides:
        findings.error(
            EXTRACTOR + ".override_base_feature_extractor_hyperparams",
            found="false (the default)",
            expected="true: object_detection refuses to build ssd_inception_v2 without it",
            write="override_base_feature_extractor_hyperparams: true",
        )


def _check_scores(ssd: Any, findings: Findings) -> None:
    post = ssd.post_processing
    loss = ssd.loss.classification_loss.WhichOneof("classification_loss")
    is_sigmoid = loss in ("weighted_sigmoid", "weighted_sigmoid_focal")
    if is_sigmoid and post.score_converter != post.SIGMOID:
        name = post.ScoreConverter.Name(post.score_converter)
        findings.error(
            POST_PROCESSING + ".score_converter",
            found=f"{name}: scores would not be probabilities",
            expected="SIGMOID, as in the loss",
            write="score_converter: SIGMOID",
        )
    threshold = post.batch_non_max_suppression.score_threshold
    if threshold > HIGH_SCORE:
        findings.warning(
            POST_PROCESSING + ".batch_non_max_suppression.score_threshold",
            found=f"{threshold:g}: detections below it are lost before AP is computed",
            expected="close to 0; the threshold is chosen later, on validation images",
            write="score_threshold: 1e-8",
        )
