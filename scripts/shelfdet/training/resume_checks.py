"""Refuses to resume a run with a config, images or first weights that do not fit it."""

import pathlib
from typing import Mapping, Optional

from shelfdet import UserError
from shelfdet.config import network, pipeline
from shelfdet.core import paths, text
from shelfdet.core.make_variables import both
from shelfdet.data import label_map, trained_on
from shelfdet.inference import checkpoints
from shelfdet.training import run_notes

# Keys of train_config on which the variables of a training depend, beside the model's
VARIABLE_FIELDS = ("optimizer", "freeze_variables", "update_trainable_variables")
SHOWN_VARIABLES = 3  # that a message names
SHOWN_IMAGES = 3
NEW_RUN = (
    "Start a new run: save the config under another name and use that (`make train CONFIG=name`), "
    f"or name another folder with {both('--run-dir')}"
)


def check_same_model(config_path: pathlib.Path, config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume with another ``model`` than that of the run.

    What follows the network has no weights and no part in training: it may change.

    Raises:
      UserError: another value in the ``model`` of the run's own config; names the first ones.
    """
    own = run_notes.own_config(run)
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
    own = run_notes.own_config(prefix.parent)
    changed = [] if own is None else pipeline.differences(own.train_config, config.train_config)
    changed = [
        difference._replace(key=f"train_config.{difference.key}")
        for difference in changed
        if difference.key.startswith(VARIABLE_FIELDS) and ".learning_rate" not in difference.key
    ]
    reason = f" ({pipeline.listed(changed)})" if changed else ""
    raise UserError(
        f"{prefix}: holds {len(needed) - len(missing)} of the "
        f"{text.counted(len(needed), 'variable')} of the training that {config_path} describes "
        f"now{reason}; not there, or of another shape, are "
        f"{text.listed(missing, SHOWN_VARIABLES)}. Expected all: the same network and the same "
        f"optimizer. {NEW_RUN}, or undo the change of the config."
    )


def check_same_images(config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume from checkpoints that were trained or validated on other images.

    Raises:
      UserError: the images that the run's trained_on.json lists differ.
    """
    noted = run / paths.TRAINED_ON_FILE
    before = trained_on.read(noted) if noted.exists() else {}
    now = run_notes.dataset_images(config)
    changed = [split for split in now if split in before and set(now[split]) != set(before[split])]
    if changed:
        raise UserError(
            f"{run}: its checkpoints were trained on another split: {' and '.join(changed)} images "
            f"differ from those of the label files beside the records ({noted}). {NEW_RUN}, or "
            "make that split again with step 02."
        )


def check_same_classes(config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume with another label map: the network's class ids would mean other classes.

    Raises:
      UserError: the config's label map has other classes or ids than that of the run.
    """
    noted = run / paths.LABEL_MAP_FILE
    path = run_notes.label_map_path(config)
    if not noted.is_file() or not path.is_file():
        return
    before, now = label_map.read_label_map(noted), label_map.read_label_map(path)
    if dict(now) != dict(before):
        raise UserError(
            f"{paths.shown(path)}: has the classes {_numbered(now)}; expected those that the run "
            f"was trained with ({paths.shown(noted)}): {_numbered(before)}. {NEW_RUN}, or make the "
            "data again with those classes (`make data CLASSES=`)."
        )


def _numbered(ids: Mapping[str, int]) -> str:
    return text.listed(f"{class_id} {name}" for name, class_id in ids.items())


def check_same_val_boxes(config: pipeline.Config, run: pathlib.Path) -> None:
    """Refuses to resume with other ground-truth boxes in the validation images.

    Those in training images may be corrected while a run is trained.

    Raises:
      UserError: the boxes of a validation image differ from those that the run was validated on.
    """
    names = run_notes.relabelled(config, run).get(trained_on.VAL)
    if names:
        raise UserError(
            f"{run}: the boxes of {text.counted(len(names), 'validation image')} "
            f"({text.listed(names, SHOWN_IMAGES)}) were changed since this run was last trained; "
            "expected the same, because the best checkpoint is chosen by AP on them, and APs on "
            f"different boxes cannot be compared. {NEW_RUN}, which can begin with the weights of "
            f"this one (--start-from {paths.shown(run / checkpoints.BEST_FOLDER)}/model.ckpt-STEP),"
            " or restore the boxes."
        )


def check_same_first_weights(
    config: pipeline.Config, run: pathlib.Path, start_from: Optional[pathlib.Path]
) -> None:
    """Refuses --start-from for a run that started from other weights.

    Such a run would resume from its newest checkpoint and ignore the option.

    Raises:
      UserError: the run's own config names other first weights, or none.
    """
    own = run_notes.own_config(run)
    first = own.train_config.fine_tune_checkpoint if own is not None else ""
    if start_from and first != config.train_config.fine_tune_checkpoint:
        raise UserError(
            f"--start-from {start_from}: the run in {run} started from "
            f"{first or 'random weights'}; expected the same. {NEW_RUN}, or leave out --start-from "
            "to resume this one."
        )
