"""Finds the checkpoint to resume from: the newest that is whole.

A power cut, or a disk that is full, may cut the newest one short, or leave an empty file in place
of TensorFlow's note of which is the newest.
"""

import pathlib
from typing import List, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.config import checkpoint_files
from shelfdet.core import files, paths, text
from shelfdet.core.make_variables import both
from shelfdet.inference import checkpoints

LISTED = 3  # damaged checkpoints in a message


class ResumePoint(NamedTuple):
    """Where to resume.

    prefix: of the checkpoint's files.
    step: its step.
    damaged: prefixes of the newer checkpoints, which cannot be read.
    noted: whether TensorFlow's own note names this checkpoint.
    """

    prefix: pathlib.Path
    step: int
    damaged: List[pathlib.Path]
    noted: bool


def has_checkpoints(run: pathlib.Path) -> bool:
    """Whether there is any checkpoint in a run's folder, whole or not."""
    return checkpoints.newest(run) is not None or bool(_all(run))


def find(run: pathlib.Path) -> Optional[ResumePoint]:
    """The newest whole checkpoint of a run's folder; None where it holds no checkpoint.

    Args:
      run: the run's folder; it need not exist. Nothing in it is changed.

    Raises:
      UserError: there are checkpoints, but none is whole.
    """
    newest = checkpoints.newest(run)
    candidates = _all(run)
    if newest is not None:
        # What TensorFlow would resume from comes first, even if a user has set it to an older one.
        candidates = [newest] + [prefix for prefix in candidates if prefix != newest]
    damaged = []
    for prefix in candidates:
        if checkpoints.is_whole(prefix):
            return ResumePoint(prefix, _step(prefix), damaged, prefix == newest)
        damaged.append(prefix)
    if not damaged:
        return None
    best = checkpoints.newest(files.readable_folder(run / checkpoints.BEST_FOLDER))
    remedy = f"Start a new run in another folder with {both('--run-dir')}"
    if best is not None and checkpoints.is_whole(best):
        remedy += f", with the best weights of this one: --start-from {paths.shown(best)}"
    raise UserError(
        f"{run}: none of its checkpoints can be read ({_listed(damaged)}); expected at least one "
        f"that is whole. {remedy}."
    )


def note(run: pathlib.Path, point: ResumePoint) -> None:
    """Writes TensorFlow's note of the newest checkpoint, so that it resumes from ``point``."""
    older = [prefix for prefix in reversed(_all(run)) if _step(prefix) < point.step]
    lines = [f'model_checkpoint_path: "{point.prefix.name}"']
    for prefix in older + [point.prefix]:
        lines.append(f'all_model_checkpoint_paths: "{prefix.name}"')
    files.write_text(run / checkpoints.STATE_FILE, "\n".join(lines) + "\n")


def report(point: ResumePoint) -> str:
    """Why TensorFlow's note had to be written, as a line of text."""
    folder = point.prefix.parent
    if point.damaged:
        return (
            f"{paths.shown(folder)}: {_listed(point.damaged)} cannot be read to the end, as after "
            f"a power cut or a full disk; the newest whole checkpoint is at step {point.step}"
        )
    return (
        f"{paths.shown(folder / checkpoints.STATE_FILE)}: did not say which checkpoint is the "
        f"newest; it is the one at step {point.step}"
    )


def _all(run: pathlib.Path) -> List[pathlib.Path]:
    """Prefixes of all checkpoints in ``run``, the newest first."""
    found = map(pathlib.Path, checkpoint_files.prefixes_in(run))
    return [prefix for prefix in found if _step(prefix) >= 0]


def _step(prefix: pathlib.Path) -> int:
    """The step in the name of a checkpoint; -1 where there is none."""
    step = checkpoint_files.step_of(prefix)
    return -1 if step is None else step


def _listed(prefixes):
    return text.listed([prefix.name for prefix in prefixes], LISTED)
