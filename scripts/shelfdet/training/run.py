"""Trains in a run's folder: starts the launcher, shows its progress, and says how it ended."""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from typing import Dict, List, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import files, parallel, paths, tensorflow_environment
from shelfdet.inference import checkpoints
from shelfdet.training import cluster, cluster_run, training_log
from shelfdet.training.cluster_run import Member

LAUNCHER = paths.ROOT / "scripts" / "training" / "launcher.py"
MODEL_MAIN = paths.OBJECT_DETECTION / "model_main.py"
LOG_FILE = "train.log"
LOSSES_LOGGED = 20  # at least, over a training, and at most one every LOG_STEPS steps
LOG_STEPS = 10
EVALUATOR_SECONDS = 5  # a separate evaluator evaluates every checkpoint


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


def train(
    run: pathlib.Path, start: int, target: int, settings: Settings, chief: Optional[Member] = None
) -> None:
    """Runs the launcher to its end, showing progress.

    Args:
      run: the run's folder, with its pipeline.config.
      start: step of the checkpoint to resume from, or 0.
      target: the step to end at.
      settings: for the launcher.
      chief: where several processes train, this process's part, which is the chief's.

    Raises:
      UserError: the training failed; the message holds its first traceback. Or the log cannot be
        written, or a parameter server is gone.
    """
    log_path = run / LOG_FILE
    crash = training_log.CrashReport()
    try:
        # Without a buffer: on a full disk, closing the file would fail, too, and hide the cause.
        log = open(str(log_path), "ab", buffering=0)
    except OSError as error:
        raise UserError(files.writing_failed(log_path, error)) from error
    # TensorFlow writes temporary files, which it does not remove when it is stopped.
    scratch = tempfile.TemporaryDirectory()
    with log, scratch, training_log.Progress(start, target) as shown:
        process = subprocess.Popen(
            launcher_command(run, target, settings),
            cwd=str(paths.ROOT),
            env=dict(environment(chief), TMPDIR=scratch.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
        )
        try:
            with cluster_run.watched(process, chief):
                for line in process.stdout:
                    log.write(line.encode("utf-8", "replace"))
                    crash.read(line)
                    shown.read(line)
                    if chief is not None:  # another process evaluates
                        shown.show_evaluation(checkpoints.latest_evaluation(run))
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


def follow(run: pathlib.Path, settings: Settings, member: Member) -> str:
    """Takes the part of a worker, a parameter server or an evaluator; returns how it ended.

    Raises:
      UserError: the chief or a parameter server cannot be reached, the chief was stopped, or the
        process failed.
    """
    address = member.cluster.address(member.task)
    if address:
        cluster.check_port(address)
    cluster_run.wait_for_chief(run, member)
    if member.task.kind == cluster.WORKER:
        # Others would read the same images in the same order.
        settings = settings._replace(seed=settings.seed + 1 + member.task.index)
    if member.task.kind == cluster.EVALUATOR:
        # tf.estimator's sleeps for so long after each evaluation, the last one, too.
        settings = settings._replace(eval_seconds=EVALUATOR_SECONDS)
    target = pipeline.read(run / paths.CONFIG_FILE).train_config.num_steps
    command = launcher_command(run, target, settings)
    return cluster_run.follow(run, member, command, environment(member))


def environment(member: Optional[Member] = None) -> Dict[str, str]:
    """Environment variables of the child process; those of the user have precedence."""
    env = tensorflow_environment.of_child(parallel.workers(), TF_CPP_MIN_LOG_LEVEL="1")
    env["PYTHONUNBUFFERED"] = "1"
    env.pop(cluster.VARIABLE, None)
    if member is not None:
        env.update(member.environment())
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
    if paths.is_shipped(paths.GRAPHS / run.name):
        command += f" GRAPH=my_{run.name}"  # the included graph is not replaced
    return command + newest
