"""Finds checkpoints in a run's folder: the newest, the best on validation, or one that is named.

A checkpoint is several files with a common prefix, such as model.ckpt-2300.index; a prefix is how
TensorFlow, and everything here, names one.
"""

import json
import pathlib
import re
from typing import Any, Dict, List, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.config import checkpoint_files
from shelfdet.core import files, paths, tensorflow1, workspace_names
from shelfdet.core.make_variables import both

STATE_FILE = "checkpoint"  # TensorFlow's note of which checkpoint is the newest
BEST_FOLDER = "best"  # in a run's folder
EVALUATIONS_FILE = "evaluations.jsonl"  # in a run's folder: a line for each evaluation
EVALUATION_FILE = "evaluation.json"  # in BEST_FOLDER: step, AP, AP50, AP75 on validation
BEST = "best"
NEWEST = "newest"
AVERAGE = "average"  # module averaging writes it
LOW_AP50 = 0.1  # on validation; training from scratch passes it within its first part
_NO_BOXES = (
    "The validation images had no ground-truth box. Annotate products in them, run `make data` and "
    f"train again; or export the newest checkpoint: {both('--checkpoint newest')}."
)


class Checkpoint(NamedTuple):
    """A checkpoint to export.

    Attributes:
      prefix: of the checkpoint's files.
      config: the pipeline.config it was trained with.
    """

    prefix: pathlib.Path
    config: pathlib.Path


def newest(folder: pathlib.Path) -> Optional[pathlib.Path]:
    """Prefix of the checkpoint in ``folder`` from which TensorFlow would resume, or None.

    The state file may name another folder, where the run was before it was moved; only the name
    counts here.
    """
    state = folder / STATE_FILE
    if not state.is_file():
        return None
    found = re.search(
        r'^model_checkpoint_path: "(.*)"', state.read_text(errors="replace"), re.MULTILINE
    )
    return folder / pathlib.Path(found.group(1)).name if found else None


def newest_step(run: pathlib.Path) -> Optional[int]:
    """The step of the newest checkpoint in ``run``, or None."""
    prefix = newest(run)
    return None if prefix is None else checkpoint_files.step_of(prefix)


def find(run: pathlib.Path, which: str) -> Checkpoint:
    """The checkpoint that ``which`` names, and the config it was trained with.

    Args:
      run: the run's folder (step 06).
      which: "best", "newest", or the prefix of a checkpoint in any folder.

    Raises:
      UserError: there is no such run, checkpoint or config; the message names those there are.
    """
    prefix = _listed_in_run(run, which) if which in (BEST, NEWEST) else pathlib.Path(which)
    if not checkpoint_files.is_prefix(prefix):
        raise UserError(
            f"{prefix}.index: no such file; expected best, newest, average, or the prefix of a "
            f"checkpoint, such as {run}/model.ckpt-1200, without .index, .meta or .data."
        )
    # The config is in the run's folder: beside the checkpoint, or one folder up for one in best/.
    for folder in (prefix.parent, prefix.parent.parent):
        if (folder / paths.CONFIG_FILE).is_file():
            return Checkpoint(prefix, folder / paths.CONFIG_FILE)
    raise UserError(
        f"{prefix.parent}: holds no {paths.CONFIG_FILE}; expected the config that the checkpoint "
        "was trained with, which step 06 puts there. Copy it there."
    )


def evaluation(folder: pathlib.Path) -> Optional[str]:
    """What the best/ of a run scored on validation, as a line of text; None for another folder."""
    path = folder / EVALUATION_FILE
    if not path.is_file():
        return None
    best = files.read_json(path)
    return (
        f"best on validation: step {best['step']}, COCO AP {best['AP']:.3f}, "
        f"AP50 {best['AP50']:.3f}, AP75 {best['AP75']:.3f}"
    )


def latest_evaluation(run: pathlib.Path) -> Optional[Dict[str, Any]]:
    """The last line of the run's evaluations.jsonl: step, AP, AP50 and AP75; None without one."""
    path = run / EVALUATIONS_FILE
    # A line that is being written has no end yet.
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return json.loads(lines[-1]) if lines else None


def export_warnings(checkpoint: Checkpoint, num_steps: int) -> List[str]:
    """Why a checkpoint is no finished detector yet, as lines of text; empty where nothing says so.

    Args:
      checkpoint: the one to export.
      num_steps: of its config, at which the training ends.
    """
    folder = checkpoint.prefix.parent
    run = checkpoint.config.parent
    lines = []
    evaluated = folder / EVALUATION_FILE
    if evaluated.is_file():
        best = files.read_json(evaluated)
        if best["AP50"] < LOW_AP50:
            lines.append(
                f"warning: AP50 on validation is {best['AP50']:.3f}: this detector finds hardly "
                "any product. Train longer, or run `make check`."
            )
    newest_in_run = newest_step(run)
    if newest_in_run is not None and newest_in_run < num_steps:
        lines.append(
            f"warning: the training in {paths.shown(run)} is not finished: its newest checkpoint "
            f"is step {newest_in_run} of {num_steps}. The same `make train` resumes it."
        )
    steps = _evaluated_steps(run)
    if folder.name == BEST_FOLDER and newest_in_run and steps and max(steps) < newest_in_run:
        lines.append(
            f"warning: the newest checkpoint, step {newest_in_run}, was not validated and may be "
            f"better than step {max(steps)}; {both('--checkpoint newest')} exports it."
        )
    return lines


def _evaluated_steps(run: pathlib.Path) -> List[int]:
    log = run / EVALUATIONS_FILE
    content = log.read_text() if log.is_file() else ""
    return [int(step) for step in re.findall(r'"step": (\d+)', content)]


def check_whole(prefix: pathlib.Path) -> None:
    """Refuses a checkpoint that was cut short.

    Raises:
      UserError: TensorFlow cannot read it to its end.
    """
    if not is_whole(prefix):
        raise UserError(
            f"{prefix}: this checkpoint cannot be read to its end, as after a power cut or a full "
            f"disk; expected one that is whole. Export another: {both('--checkpoint newest')} "
            "takes the newest whole one of the run."
        )


def is_whole(prefix: pathlib.Path) -> bool:
    """Whether TensorFlow can read every tensor of a checkpoint, and its checksums are right."""
    tf = tensorflow1.load()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    # Which ones depends on what is damaged; TensorFlow's own C++ errors are no OpError everywhere.
    except (tf.errors.OpError, ValueError, RuntimeError, OSError):
        return False
    return True


def _listed_in_run(run: pathlib.Path, which: str) -> pathlib.Path:
    folder = files.readable_folder(run / BEST_FOLDER) if which == BEST else run
    prefix = newest(folder)
    if prefix is not None:
        if which == BEST:
            _check_measured(folder)
        return prefix
    missing = workspace_names.no_run(run)
    if missing:
        raise UserError(missing)
    remedy = f"Train first (`make train`, step 06), or name the run with {both('--run-dir')}."
    if which == BEST and has_no_ap(run):
        remedy = f"No evaluation measured an AP. {_NO_BOXES}"
    elif any(run.glob("model.ckpt-*.index")):
        remedy = f"No evaluation has ended yet. Use {both('--checkpoint newest')}."
    raise UserError(f"{run}: holds no {which} checkpoint. {remedy}")


def has_no_ap(run: pathlib.Path) -> bool:
    """Whether there were evaluations in a run, and none had a ground-truth box to measure AP on."""
    log = run / EVALUATIONS_FILE
    values = re.findall(r'"AP": ([^,}]+)', log.read_text()) if log.is_file() else []
    return bool(values) and not any(float(value) >= 0 for value in values)


def _check_measured(best: pathlib.Path) -> None:
    """Refuses a best checkpoint that was chosen without an AP, by an older version of step 06."""
    path = best / EVALUATION_FILE
    if path.is_file() and not files.read_json(path)["AP"] >= 0:
        raise UserError(
            f"{path}: found AP {files.read_json(path)['AP']:g}, expected an AP from 0 to 1: this "
            f"checkpoint is not the best, only the first. {_NO_BOXES}"
        )


def run_of(which: str, default: pathlib.Path) -> pathlib.Path:
    """The run's folder that --checkpoint implies: ``default``, or that of a checkpoint's prefix."""
    if which in (BEST, NEWEST, AVERAGE):
        return default
    folder = pathlib.Path(which).resolve().parent
    return folder.parent if folder.name == BEST_FOLDER else folder
