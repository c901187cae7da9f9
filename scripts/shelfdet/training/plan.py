"""Decides what a training does: start or resume, from which checkpoint and first weights."""

import pathlib
import shlex
import sys
from typing import NamedTuple, Optional, Tuple

from shelfdet import UserError
from shelfdet.config import (
    checkpoint_files,
    file_checks,
    findings,
    network,
    pipeline,
    record_checks,
    training_checks,
)
from shelfdet.core import parallel, paths, text
from shelfdet.core.make_variables import both
from shelfdet.data import trained_on
from shelfdet.training import resume_checks, resume_point, run_notes
from shelfdet.training.run_lock import RunLock

EXPORT = paths.ROOT / "scripts" / "training" / "07_export_inference_graph.py"

# Where to resume, the variables of the training, and those in the checkpoint
Inspection = Tuple[Optional[resume_point.ResumePoint], network.Variables, network.Variables]


class Plan(NamedTuple):
    """A training to start or resume.

    Attributes:
      config_path: the config as the user wrote it.
      config: what to train with; its first weights may be others than the file's.
      run: the run's folder.
      start: step of the checkpoint to resume from, or None.
      target: the step to end at, num_steps.
      point: the checkpoint to resume from, or None.
    """

    config_path: pathlib.Path
    config: pipeline.Config
    run: pathlib.Path
    start: Optional[int]
    target: int
    point: Optional[resume_point.ResumePoint] = None


def images_left(planned: Plan) -> int:
    """How many images the training will see, each counted every time."""
    steps = planned.target - (planned.start or 0)
    return steps * planned.config.train_config.batch_size


def make_plan(
    config_path: pathlib.Path, run: pathlib.Path, start_from: Optional[pathlib.Path] = None
) -> Plan:
    """Reads the config and decides whether the run starts or resumes.

    Args:
      config_path: a training config.
      run: the run's folder; it need not exist.
      start_from: folder of a graph, or prefix of a checkpoint, whose weights replace those that the
        config names.

    Raises:
      UserError: the config cannot be trained, or not in this folder.
    """
    config = read_config(config_path, start_from)
    file_checks.refuse_pattern(run, both("--run-dir"))
    point, needed, stored = _inspect_apart(config, run)
    if point is not None:
        resume_checks.check_same_model(config_path, config, run)
        resume_checks.check_same_variables(config_path, config, point.prefix, needed, stored)
        resume_checks.check_same_images(config, run)
        resume_checks.check_same_classes(config, run)
        resume_checks.check_same_val_boxes(config, run)
        resume_checks.check_same_first_weights(config, run, start_from)
        config = with_first_weights_of_run(config, run)
    start = None if point is None else point.step
    return Plan(config_path, config, run, start, config.train_config.num_steps, point)


def read_config(path: pathlib.Path, start_from: Optional[pathlib.Path] = None) -> pipeline.Config:
    """The parsed config, with the weights at ``start_from`` as its first weights if that is given.

    Raises:
      UserError: the config cannot be read, has no num_steps, or there are no weights at
        ``start_from``.
    """
    config = pipeline.read(path)
    if start_from:
        config = pipeline.starting_from(config, start_from)
    num_steps = config.train_config.num_steps
    if num_steps < 1:
        raise UserError(
            f"{path}: train_config.num_steps: found {num_steps}, expected at least 1. Without it "
            f"model_main.py never stops: write num_steps: {training_checks.USUAL_STEPS}."
        )
    return config


def _inspect_apart(config: pipeline.Config, run: pathlib.Path) -> Inspection:
    """``_inspect`` in a process of its own, whose end frees the memory that TensorFlow takes."""
    if not resume_point.has_checkpoints(run):
        return None, {}, {}
    if "tensorflow" in sys.modules:  # its threads do not survive a fork
        return _inspect(config, run)
    with parallel.Workers() as workers:
        (inspection,) = workers.map(_inspect, [(config, run)])
    return inspection


def _inspect(config: pipeline.Config, run: pathlib.Path) -> Inspection:
    """The checkpoint to resume from, the variables that the training needs, and those it holds.

    Raises:
      UserError: no checkpoint is whole, or the training cannot be built.
    """
    point = resume_point.find(run)
    if point is None:
        return None, {}, {}
    return point, network.training_variables(config), checkpoint_files.variables(point.prefix)


def with_first_weights_of_run(config: pipeline.Config, run: pathlib.Path) -> pipeline.Config:
    """The config with the first weights of the run that it resumes, if it names none itself.

    They are left out where their files are gone, because model_main.py opens them although it no
    longer needs them.
    """
    own = run_notes.own_config(run)
    if own is None or config.train_config.fine_tune_checkpoint:
        return config
    checkpoint = own.train_config.fine_tune_checkpoint
    if not checkpoint or not checkpoint_files.is_prefix(paths.ROOT / checkpoint):
        return config
    changed = type(config)()
    changed.CopyFrom(config)
    for field in pipeline.FINE_TUNE_FIELDS:
        if own.train_config.HasField(field):
            setattr(changed.train_config, field, getattr(own.train_config, field))
    return changed


def check_files(plan: Plan) -> None:
    """Refuses a config whose label maps or records object_detection would not find or not read.

    Raises:
      UserError: names all of them, as step 05 does.
    """
    content = run_notes.config_text(plan.config_path, plan.config)
    found = findings.Findings(plan.config_path, content)
    file_checks.check_label_maps(plan.config, paths.ROOT, found)
    for reader in file_checks.readers(plan.config):
        record_checks.find_records(reader, paths.ROOT, found)
    checkpoint = plan.config.train_config.fine_tune_checkpoint
    file_checks.check_no_pattern("train_config.fine_tune_checkpoint", checkpoint, found)
    if found.count(findings.ERROR):
        listed = "\n\n".join(map(findings.as_text, found))
        raise UserError(f"{plan.config_path}: cannot be trained. Correct this first:\n\n{listed}")


def repair(plan: Plan) -> str:
    """Has TensorFlow resume from the checkpoint of the plan, if it would from a damaged one.

    Returns:
      what was damaged, as a line of text; empty where nothing was.

    Raises:
      UserError: another training is running in the folder, or it cannot be written.
    """
    if plan.point is None or plan.point.noted:
        return ""
    with RunLock(plan.run):
        resume_point.note(plan.run, plan.point)
    return resume_point.report(plan.point)


def changes(plan: Plan) -> str:
    """What a resumed run does differently from now on, as lines of text; empty if nothing."""
    own = run_notes.own_config(plan.run) if plan.start is not None else None
    if own is None:
        return ""
    used, unused = [], []
    for difference in pipeline.differences(own, plan.config):
        field = difference.key.rpartition(".")[2]
        (unused if field in pipeline.FINE_TUNE_FIELDS else used).append(difference)
    lines = []
    relabelled = run_notes.relabelled(plan.config, plan.run).get(trained_on.TRAIN)
    if relabelled:
        lines.append(
            "changed, and used from now on: the boxes of "
            f"{text.counted(len(relabelled), 'training image')} "
            f"({text.listed(relabelled, resume_checks.SHOWN_IMAGES)}); until now this run was "
            "trained on others"
        )
    if used:
        lines.append(f"changed, and used from now on: {pipeline.listed(used)}")
    if unused:
        lines.append(f"changed, without effect on a run that resumes: {pipeline.listed(unused)}")
    return "\n".join(lines)


def changes_after_training(plan: Plan) -> str:
    """What a finished run would detect differently with the config as it is now; empty if nothing.

    Returns:
      a line of text with the command that exports it so.
    """
    own = run_notes.own_config(plan.run)
    found = [] if own is None else pipeline.model_differences(own, plan.config)[1]
    if not found:
        return ""
    words = ["--run-dir", paths.shown(plan.run), "--config", paths.shown(plan.config_path)]
    return (
        f"changed since then, and in need of no training: {pipeline.listed(found)}. To export it "
        f"so: {paths.shown(EXPORT)} {' '.join(map(shlex.quote, words))}"
    )
