"""All checks of a training config in one go: itself, the files it names, the network it builds, the products."""

import collections
import pathlib

from shelfdet import UserError
from shelfdet.config import (
    anchor_checks,
    file_checks,
    pipeline,
    training_checks,
)
from shelfdet.config import (
    findings as findings_module,
)
from shelfdet.config.network import build_network
from shelfdet.core import paths
from shelfdet.data import labels

SPLITS = ("train", "val", "test")

Checked = collections.namedtuple("Checked", "findings config network coverage")
Checked.__doc__ = """What was found.

findings: findings.Findings. config: pipeline.read's. network: Network, or None if it cannot be built.
coverage: anchors.Coverage of the training boxes, or None."""


def problems(config_path, label_files=None, root=paths.ROOT, start_from=None):
    """Checks the config at ``config_path`` against everything it meets; stops at no problem but a syntax error.

    Args:
      config_path: a training config.
      labels: dict of split to label file; None takes those of the workspace that are there.
      root: what paths in the config are relative to.
      start_from: what training is to begin with, as pipeline.starting_from takes it.

    Returns:
      Checked.

    Raises:
      UserError: the config cannot be read at all, or a label file is missing or wrong.
    """
    config_path = pathlib.Path(config_path)
    text = labels.read_text(config_path, "a training config")
    config = pipeline.parse(text, config_path)
    if start_from:
        config = pipeline.starting_from(config, start_from)
    found = findings_module.Findings(config_path, text)
    if label_files is None:
        label_files = {
            split: paths.labels(split) for split in SPLITS if paths.labels(split).is_file()
        }
    file_checks.placeholders(text, found)
    file_checks.counted(config, found)
    network = _network(config, found)
    if config.model.WhichOneof("model") == "ssd":
        training_checks.settings(config, found)
        anchor_checks.settings(config, found)
    training_checks.fine_tuning(config, network, root, found)
    label_map = file_checks.label_maps(config, root, found)
    by_file = {
        split: file_checks.label_file(path, label_map, found) for split, path in label_files.items()
    }
    records = _records(config, root, label_map, found)
    file_checks.consistency(
        records, {split: pictures for split, (pictures, _) in by_file.items()}, found
    )
    file_checks.limits(config, _by_split(by_file, records), found)
    if "train_input_reader" in records:
        file_checks.feeding(
            config, network and network.image_wh, records["train_input_reader"], found
        )
    return Checked(found, config, network, _coverage(config, network, by_file, found))


def _network(config, found):
    """The network as object_detection builds it, or None with the reason among the findings."""
    try:
        pipeline.input_size(config)
    except UserError as error:
        key, _, reason = str(error).partition(": ")
        found.error(
            key,
            reason,
            "an SSD with a fixed_shape_resizer",
            "image_resizer { fixed_shape_resizer { height: 512 width: 512 } }",
        )
        return None
    try:
        return build_network(config)
    except UserError as error:
        found.error(
            "model",
            str(error),
            "a model that object_detection builds",
            f"mend what it says; the model block of {paths.shown(paths.DEFAULT_CONFIG)} is one that works",
        )
        return None


def _records(config, root, label_map, found):
    read = {
        key: file_checks.record(key, reader, root, label_map, found)
        for key, reader, _ in file_checks.readers(config)
    }
    return {key: pictures for key, pictures in read.items() if pictures is not None}


def _by_split(by_file, records):
    by_split = collections.defaultdict(list)
    for split, (pictures, _) in by_file.items():
        by_split[split].append(pictures)
    for key, pictures in records.items():
        by_split["train" if key == "train_input_reader" else "val"].append(pictures)
    return by_split


def _coverage(config, network, by_file, found):
    if network is None:
        return None
    laid = anchor_checks.built(config, network, found)
    if laid is None or "train" not in by_file:
        return None
    return anchor_checks.coverage(config, network, laid, by_file["train"][1], found)
