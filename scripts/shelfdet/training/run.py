"""Trains in a run's folder: what may be resumed there, with which weights, on which images."""

import fcntl
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from google.protobuf import text_format

from shelfdet import UserError
from shelfdet.config import file_checks, findings, network, pipeline, record_checks
from shelfdet.core import files, parallel, paths, text
from shelfdet.data import labels
from shelfdet.inference import checkpoints
from shelfdet.training import progress, resume_point

LAUNCHER = paths.ROOT / "scripts" / "training" / "launcher.py"
EXPORT = LAUNCHER.with_name("07_export_inference_graph.py")
MODEL_MAIN = paths.OBJECT_DETECTION / "model_main.py"
LOG_FILE = "train.log"
LOCK_FILE = ".lock"
LOSSES_LOGGED = 20  # at least, over a training, and at most one every LOG_STEPS steps
LOG_STEPS = 10
# Keys of trained_on.json. BEFORE: the images that the run's first weights were trained on.
TRAIN = "train"
VAL = "val"
BEFORE = "before"
NEW_RUN = (
    "Start a new run: save the config under another name and use that (`make train CONFIG=name`), "
    "or name another folder (`make train RUN_DIR=folder`, --run-dir)"
)


# Keys of train_config on which the variables of a training depend, beside the model's
VARIABLE_FIELDS = ("optimizer", "freeze_variables", "update_trainable_variables")
SHOWN_VARIABLES = 3  # that a message names


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


# Where to resume, the variables of the training, and those in the checkpoint
Inspection = Tuple[Optional[resume_point.ResumePoint], network.Variables, network.Variables]


class Settings(NamedTuple):
    """What the launcher sets and model_main.py has no flag for.

    Attributes:
      save_seconds: between checkpoints.
      eval_seconds: at least, between evaluations on validation.
      seed: of initial weights and augmentation.
    """

    save_seconds: int = 300
    eval_seconds: int = 600
    seed: int = 0


class RunLock:
    """A context manager that allows one training at a time in a folder.

    The kernel releases the lock when the process that holds it ends, however it ends.
    """

    def __init__(self, run: pathlib.Path) -> None:
        """Makes the folder if needed and locks it.

        Raises:
          UserError: ``run`` is a file, cannot be written, or is locked by another process.
        """
        if run.is_file():
            raise UserError(
                f"{run}: is a file; expected a folder for the run. Name another with --run-dir."
            )
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._file = open(str(run / LOCK_FILE), "w")
        except OSError as error:
            raise UserError(files.writing_failed(run, error)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{run}: another training is running in this folder. Wait for it or stop it, or "
                "name another folder with --run-dir."
            ) from None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
    file_checks.refuse_pattern(run, "--run-dir (`make train RUN_DIR=folder`)")
    point, needed, stored = _inspect_apart(config, run)
    if point is not None:
        check_same_model(config_path, config, run)
        check_same_variables(config_path, config, point.prefix, needed, stored)
        check_same_images(config, run)
        check_same_first_weights(config, run, start_from)
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
            "model_main.py never stops: write num_steps: 2300."
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
    return point, network.training_variables(config), checkpoints.variables(point.prefix)


def check_files(plan: Plan) -> None:
    """Refuses a config whose label maps or records object_detection would not find or not read.

    Raises:
      UserError: names all of them, as step 05 does.
    """
    content = config_text(plan.config_path, plan.config)
    found = findings.Findings(plan.config_path, content)
    file_checks.check_label_maps(plan.config, paths.ROOT, found)
    for reader in file_checks.readers(plan.config):
        record_checks.record_files(reader, paths.ROOT, found)
    checkpoint = plan.config.train_config.fine_tune_checkpoint
    file_checks.check_no_pattern("train_config.fine_tune_checkpoint", checkpoint, found)
    if found.count(findings.ERROR):
        listed = "\n\n".join(map(findings.as_text, found))
        raise UserError(f"{plan.config_path}: cannot be trained. Correct this first:\n\n{listed}")


def check_same_model(config_path: pathlib.Path, config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume with another ``model`` than that of the run.

    What follows the network has no weights and no part in training: it may change.

    Raises:
      UserError: another value in the ``model`` of the run's own config; names the first ones.
    """
    own = _own_config(run)
    if own is None:
        return
    found, _ = pipeline.model_differences(own, config)
    if found:
        raise UserError(
            f"{run}: its checkpoints were trained with another `model` than {config_path} "
            f"describes now: {pipeline.listed(found)}. {NEW_RUN}, or undo the change of the config."
        )


def check_same_variables(
    config_path: pathlib.Path,
    config: pipeline.Config,
    prefix: pathlib.Path,
    needed: network.Variables,
    stored: network.Variables,
) -> None:
    """Refuses to resume from a checkpoint without all the variables of this training.

    They depend on the network, on the optimizer and its moving averages, and on which variables are
    trained.

    Args:
      config_path: of the config.
      config: as ``read_config`` returns it.
      prefix: of the checkpoint.
      needed: the variables of the training.
      stored: those in the checkpoint.

    Raises:
      UserError: variables are missing in the checkpoint or have another shape there.
    """
    missing = sorted(name for name, shape in needed.items() if stored.get(name) != shape)
    if not missing:
        return
    own = _own_config(prefix.parent)
    changed = [] if own is None else pipeline.differences(own.train_config, config.train_config)
    changed = [
        difference._replace(key=f"train_config.{difference.key}")
        for difference in changed
        if difference.key.startswith(VARIABLE_FIELDS) and ".learning_rate" not in difference.key
    ]
    reason = f" ({pipeline.listed(changed)})" if changed else ""
    raise UserError(
        f"{prefix}: holds {len(needed) - len(missing)} of the {len(needed)} variables of the "
        f"training that {config_path} describes now{reason}; not there, or of another shape, are "
        f"{text.listed(missing, SHOWN_VARIABLES)}. Expected all: the same network and the same "
        f"optimizer. {NEW_RUN}, or undo the change of the config."
    )


def changes(plan: Plan) -> str:
    """What a resumed run does differently from now on, as lines of text; empty if nothing."""
    own = _own_config(plan.run) if plan.start is not None else None
    if own is None:
        return ""
    used, unused = [], []
    for difference in pipeline.differences(own, plan.config):
        field = difference.key.rpartition(".")[2]
        (unused if field in pipeline.FINE_TUNE_FIELDS else used).append(difference)
    lines = []
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
    own = _own_config(plan.run)
    found = [] if own is None else pipeline.model_differences(own, plan.config)[1]
    if not found:
        return ""
    words = ["--run-dir", paths.shown(plan.run), "--config", paths.shown(plan.config_path)]
    return (
        f"changed since then, and in need of no training: {pipeline.listed(found)}. To export it "
        f"so: {paths.shown(EXPORT)} {' '.join(map(shlex.quote, words))}"
    )


def check_same_images(config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume from checkpoints that were trained or validated on other images.

    Raises:
      UserError: the images that the run's trained_on.json lists differ.
    """
    noted = run / paths.TRAINED_ON_FILE
    before = files.read_json(noted) if noted.exists() else {}
    now = dataset_images(config)
    changed = [split for split in now if split in before and now[split] != before[split]]
    if changed:
        raise UserError(
            f"{run}: its checkpoints were trained on another split: {' and '.join(changed)} images "
            f"differ from those of the label files beside the records ({noted}). {NEW_RUN}, or "
            "make that split again with step 02."
        )


def check_same_first_weights(
    config: pipeline.Config, run: pathlib.Path, start_from: Optional[pathlib.Path]
) -> None:
    """Refuses --start-from for a run that started from other weights.

    Such a run would resume from its newest checkpoint and ignore the option.

    Raises:
      UserError: the run's own config names other first weights, or none.
    """
    own = _own_config(run)
    first = own.train_config.fine_tune_checkpoint if own is not None else ""
    if start_from and first != config.train_config.fine_tune_checkpoint:
        raise UserError(
            f"--start-from {start_from}: the run in {run} started from "
            f"{first or 'random weights'}; expected the same. {NEW_RUN}, or leave out --start-from "
            "to resume this one."
        )


def with_first_weights_of_run(config: pipeline.Config, run: pathlib.Path) -> pipeline.Config:
    """The config with the first weights of the run that it resumes, if it names none itself.

    They are left out where their files are gone, because model_main.py opens them although it no
    longer needs them.
    """
    own = _own_config(run)
    if own is None or config.train_config.fine_tune_checkpoint:
        return config
    checkpoint = own.train_config.fine_tune_checkpoint
    if not checkpoint or not (paths.ROOT / f"{checkpoint}.index").is_file():
        return config
    changed = type(config)()
    changed.CopyFrom(config)
    for field in pipeline.FINE_TUNE_FIELDS:
        if own.train_config.HasField(field):
            setattr(changed.train_config, field, getattr(own.train_config, field))
    return changed


def _own_config(run: pathlib.Path) -> Optional[pipeline.Config]:
    path = run / paths.CONFIG_FILE
    return pipeline.read(path) if path.exists() else None


def dataset_images(config: pipeline.Config) -> Dict[str, List[str]]:
    """The sorted file names of the images trained on and validated on, under "train" and "val".

    They are read from the label file that step 02 writes beside each record; a split without one is
    left out.
    """
    readers = {TRAIN: config.train_input_reader}
    if config.eval_input_reader:
        readers[VAL] = config.eval_input_reader[0]
    names = {}
    for split, reader in readers.items():
        for record in reader.tf_record_input_reader.input_path[:1]:
            record_path = paths.ROOT / record
            label_file = record_path.with_name(f"{record_path.stem}_labels.csv")
            if label_file.is_file():
                names[split] = sorted(image.filename for image in labels.read_labels(label_file))
    return names


def images_seen(config: pipeline.Config, run: pathlib.Path, resumes: bool) -> Dict[str, List[str]]:
    """The content of the run's trained_on.json: every image that its weights have been trained on.

    Args:
      config: the training config.
      run: the run's folder.
      resumes: whether the training resumes from a checkpoint there.

    Returns:
      ``dataset_images``, and under "before" the images that the first weights were trained on, as
      far as a trained_on.json beside these weights, or in the folder of a resumed run, lists them.
    """
    seen = dataset_images(config)
    before: Set[str] = set()
    own = run / paths.TRAINED_ON_FILE
    if resumes and own.is_file():
        before.update(files.read_json(own).get(BEFORE, ()))
    noted = _trained_on_file_of(config.train_config.fine_tune_checkpoint)
    if noted is not None:
        for names in files.read_json(noted).values():
            before.update(names)
    if before:
        seen[BEFORE] = sorted(before)
    return seen


def _trained_on_file_of(checkpoint: str) -> Optional[pathlib.Path]:
    """The trained_on.json of a checkpoint: beside it, or one folder up for the best/ of a run."""
    if not checkpoint:
        return None
    prefix = paths.ROOT / checkpoint
    for folder in (prefix.parent, prefix.parent.parent):
        if (folder / paths.TRAINED_ON_FILE).is_file():
            return folder / paths.TRAINED_ON_FILE
    return None


def config_text(path: pathlib.Path, config: pipeline.Config) -> str:
    """The config as text for the run's folder.

    It is the file's own text, with its comments, unless ``config`` differs from the file.
    """
    if pipeline.read(path) == config:
        return text.read_text(path, "a training config")
    first_weights = paths.shown(paths.ROOT / config.train_config.fine_tune_checkpoint)
    return (
        f"# {paths.shown(path)}, started with --start-from {first_weights}\n"
        + text_format.MessageToString(config)
    )


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


def write_notes(plan: Plan) -> None:
    """Writes pipeline.config and trained_on.json into the run's folder, both or none."""
    seen = images_seen(plan.config, plan.run, plan.start is not None)
    contents = {
        plan.run / paths.CONFIG_FILE: config_text(plan.config_path, plan.config),
        plan.run / paths.TRAINED_ON_FILE: json.dumps(seen, indent=0) + "\n",
    }
    with files.replacing_together(list(contents)) as partials:
        for partial, content in zip(partials, contents.values()):
            files.write_text(partial, content)


def model_main_flags(run: pathlib.Path) -> List[str]:
    """The flags of model_main.py."""
    return [f"--model_dir={run}", f"--pipeline_config_path={run / paths.CONFIG_FILE}"]


def launcher_command(run: pathlib.Path, target: int, settings: Settings) -> List[str]:
    """The command that trains in the folder ``run`` up to the step ``target``."""
    log_steps = max(1, min(LOG_STEPS, target // LOSSES_LOGGED))
    options = {
        "--save-seconds": settings.save_seconds,
        "--eval-seconds": settings.eval_seconds,
        "--log-steps": log_steps,
        "--seed": settings.seed,
        "--parent": os.getpid(),
    }
    command = [sys.executable, str(LAUNCHER)]
    for option, value in options.items():
        command += [option, str(value)]
    return command + ["--"] + model_main_flags(run)


def train(run: pathlib.Path, start: int, target: int, settings: Settings) -> None:
    """Runs the launcher to its end, showing progress.

    Args:
      run: the run's folder, with its pipeline.config.
      start: step of the checkpoint to resume from, or 0.
      target: the step to end at.
      settings: for the launcher.

    Raises:
      UserError: the training failed; the message holds its first traceback. Or the log cannot be
        written.
    """
    log_path = run / LOG_FILE
    crash = progress.CrashReport()
    try:
        # Without a buffer: on a full disk, closing the file would fail, too, and hide the cause.
        log = open(str(log_path), "ab", buffering=0)
    except OSError as error:
        raise UserError(files.writing_failed(log_path, error)) from error
    # TensorFlow writes temporary files, which it does not remove when it is stopped.
    scratch = tempfile.TemporaryDirectory()
    with log, scratch, progress.Progress(start, target) as shown:
        process = subprocess.Popen(
            launcher_command(run, target, settings),
            cwd=str(paths.ROOT),
            env=dict(_environment(), TMPDIR=scratch.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
        )
        try:
            for line in process.stdout:
                log.write(line.encode("utf-8", "replace"))
                crash.read(line)
                shown.read(line)
            status = process.wait()
        except BaseException as error:  # mostly Ctrl-C: the child must not train on alone
            process.kill()
            process.wait()
            shown.close()
            if isinstance(error, OSError):  # the log cannot be written any more
                raise UserError(files.writing_failed(log_path, error)) from error
            print(f"\nstopped; {_kept(run)}")
            raise
    if status:
        kept = _kept(run)
        raise UserError(crash.message(status, log_path, f"{kept[0].upper()}{kept[1:]}."))


def _environment() -> Dict[str, str]:
    """Environment variables of the child process; those of the user have precedence."""
    env = {
        # Intel's build needs as many OpenMP threads as cores, and that these do not spin while they
        # wait. The stock build ignores these variables.
        "OMP_NUM_THREADS": str(parallel.workers()),
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "1",
    }
    env.update(os.environ)
    env["PYTHONUNBUFFERED"] = "1"
    return env


def _kept(run: pathlib.Path) -> str:
    """What a run has kept when it stops, and what the same command does then."""
    step = checkpoints.newest_step(run)
    if step is None:
        return "no checkpoint was saved yet; the same command starts again"
    return f"the newest checkpoint is at step {step}; the same command resumes from it"


def result(run: pathlib.Path) -> str:
    """How a training ended, as lines of text."""
    lines = [
        f"done: step {checkpoints.newest_step(run)} in {paths.shown(run)}; the complete log is "
        f"{paths.shown(run / LOG_FILE)}"
    ]
    evaluation = checkpoints.evaluation(run / checkpoints.BEST_FOLDER)
    if evaluation:
        lines.append(evaluation)
    elif checkpoints.has_no_ap(run):
        lines.append(
            "no checkpoint is the best: the validation images have no ground-truth box, so that no "
            "AP could be measured"
        )
    return "\n".join(lines)


def export_command(run: pathlib.Path) -> str:
    """The `make` command that exports the run."""
    newest = " CHECKPOINT=newest" if checkpoints.has_no_ap(run) else ""  # none is the best
    if run.parent != paths.TRAINING:
        return f"make export RUN_DIR={shlex.quote(paths.shown(run))}{newest}"
    if run == paths.TRAINING / paths.DEFAULT_CONFIG.stem:
        return f"make export{newest}"
    command = f"make export CONFIG={shlex.quote(run.name)}"
    if paths.GRAPHS / run.name in paths.SHIPPED_GRAPHS:
        command += f" GRAPH=my_{run.name}"  # the shipped graph is not replaced
    return command + newest
