"""All checks of a training config: its values, the files it names, its network and anchors.

The checks of each subject are in a module of their own; ``check_config`` runs them in order.
"""

import pathlib
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import coverage as anchor_coverage
from shelfdet.config import (
    anchor_checks,
    augmentation_checks,
    checkpoint_checks,
    content_checks,
    file_checks,
    input_checks,
    pipeline,
    record_checks,
    training_checks,
)
from shelfdet.config.findings import Findings
from shelfdet.config.network import Network, build_network
from shelfdet.config.record_checks import SplitSummary
from shelfdet.core import paths, tensorflow1
from shelfdet.core.files import PathLike
from shelfdet.core.make_variables import both


class CheckedConfig(NamedTuple):
    """The result of ``check_config``.

    findings: what is wrong. config: as ``pipeline.read`` returns it. network: None if it cannot be
    built. coverage: of the training boxes by the anchors; None without training boxes or if the
    anchors are not one per cell. best_iou_by_record: of several training records, the part of
    coverage.best_iou that is of each.
    """

    findings: Findings
    config: pipeline.Config
    network: Optional[Network]
    coverage: Optional[anchor_coverage.Coverage]
    best_iou_by_record: Dict[str, np.ndarray]


def check_config(
    config_path: PathLike,
    label_files: Dict[str, Sequence[PathLike]],
    root: Optional[PathLike] = None,
    start_from: Optional[PathLike] = None,
    run: Optional[PathLike] = None,
) -> CheckedConfig:
    """Checks a training config and everything it refers to; a finding never ends the checks.

    Args:
      config_path: the config.
      label_files: label files of each split that there are some of; one for each dataset.
      root: the folder that paths in the config are relative to; None is the repository.
      start_from: the weights that training will start from, as for ``pipeline.starting_from``.
      run: the folder that training will write.

    Raises:
      UserError: the config is missing or has a syntax error, or a label file is wrong.
    """
    root = paths.ROOT if root is None else root
    content = pipeline.read_content(config_path)
    config = pipeline.parse(content, config_path)
    if start_from:
        config = pipeline.starting_from(config, start_from)
    findings = Findings(config_path, content)

    if run is not None:
        file_checks.check_no_pattern(f"run folder {both('--run-dir')}", run, findings)
    network = _check_fields(config, findings)
    checkpoint_checks.check(config, network, root, findings)
    # Classes of label files and records are checked against the label map, so it comes first.
    label_map = file_checks.check_label_maps(config, root, findings)
    label_data = {
        split: [record_checks.read_label_file(path, label_map, findings)[0] for path in split_paths]
        for split, split_paths in label_files.items()
    }
    records = record_checks.read_records(config, root, label_map, findings)
    content_checks.check(records, label_data, findings)
    together = {key: record_checks.joined(parts) for key, parts in records.items()}
    input_checks.check_limits(config, label_data, together, findings)
    if file_checks.TRAIN_READER in records:
        input_size = network.image_wh if network else None
        train = together[file_checks.TRAIN_READER]
        input_checks.check_training_input(config, input_size, train, findings)
        input_checks.check_mixing(config, records[file_checks.TRAIN_READER], findings)
    # The boxes as training reads them: in tiles, where the records hold tiles.
    train_data = records.get(file_checks.TRAIN_READER) or label_data.get("train", [])
    coverage = _check_anchors(config, network, train_data, findings)
    return CheckedConfig(
        findings, config, network, coverage, _coverage_of_each(coverage, train_data)
    )


def _check_fields(config: pipeline.Config, findings: Findings) -> Optional[Network]:
    """The checks that need no other file; returns the network if it can be built."""
    file_checks.check_placeholders(findings)
    input_checks.check_counts(config, findings)
    network = _build(config, findings)
    if config.model.WhichOneof("model") == "ssd":
        training_checks.check(config, findings)
        augmentation_checks.check(config, findings)
        anchor_checks.check_fields(config, findings)
    return network


def _build(config: pipeline.Config, findings: Findings) -> Optional[Network]:
    """The network as object_detection builds it; None, with a finding, if it cannot be built."""
    try:
        pipeline.input_size(config)
    except UserError as error:
        # The message starts with the key, which here is a field of the finding.
        key, _, reason = str(error).partition(": ")
        findings.error(
            key,
            found=reason,
            expected="an SSD with a fixed_shape_resizer",
            write="image_resizer { fixed_shape_resizer { height: 512 width: 512 } }",
        )
        return None
    tensorflow1.load()  # outside of the try: a broken installation is no mistake of the config
    try:
        return build_network(config)
    except UserError as error:
        findings.error(
            "model",
            found=str(error),
            expected="a model that object_detection can build",
            write="correct what the message names; "
            f"{paths.shown(paths.SHIPPED_CONFIG)} has a model block that works",
        )
        return None


def _check_anchors(
    config: pipeline.Config,
    network: Optional[Network],
    train_data: List[SplitSummary],
    findings: Findings,
) -> Optional[anchor_coverage.Coverage]:
    """Builds the anchors and checks their coverage of the training boxes."""
    if network is None:
        return None
    generated = anchor_checks.check_generated(config, network, findings)
    if generated is None or not train_data:
        return None
    images = record_checks.labelled_images(record_checks.joined(train_data))
    is_divided = any(summary.is_divided for summary in train_data)
    return anchor_checks.check_coverage(config, network, generated, images, findings, is_divided)


def _coverage_of_each(
    coverage: Optional[anchor_coverage.Coverage], train_data: List[SplitSummary]
) -> Dict[str, np.ndarray]:
    """The best IoU of the boxes of each record, once each, by its name; empty for one record."""
    if coverage is None or len(train_data) < 2:
        return {}
    found = {}
    first = 0
    for part in train_data:
        end = first + len(part.names)
        of_part = coverage.image_index >= first
        of_part &= coverage.image_index < first + len(part.names) // part.times
        found[paths.shown(part.path)] = coverage.best_iou[of_part]
        first = end
    return found


def find_label_files(
    named: Dict[str, Optional[pathlib.Path]], config_path: PathLike
) -> Dict[str, List[pathlib.Path]]:
    """The label files to check a config against.

    Args:
      named: for each split the file that the user named, or None for the ones beside the config's
        records or, if there are none, that of the workspace.
      config_path: the config.

    Returns:
      The files by split; a file that the user did not name and that does not exist is left out.

    Raises:
      UserError: a file that the user named does not exist, or the config cannot be read.
    """
    beside = _label_files_beside(pipeline.read(config_path))
    found = {}
    for split, path in named.items():
        if path is not None and not path.is_file():
            raise UserError(
                f"--{split}-labels {path}: no such file; "
                "expected a label file as step 02 writes it."
            )
        candidates = [path] if path else beside.get(split) or [paths.labels(split)]
        files = [candidate for candidate in candidates if candidate.is_file()]
        if files:
            found[split] = files
    return found


def _label_files_beside(config: pipeline.Config) -> Dict[str, List[pathlib.Path]]:
    """The label files from which step 04 made the config's records, as far as they are there."""
    found: Dict[str, List[pathlib.Path]] = {split: [] for split in paths.SPLITS}
    for reader in file_checks.readers(config):
        for record in reader.fields.tf_record_input_reader.input_path:
            path = paths.labels_beside(paths.ROOT / record)
            found[reader.split].append(path)
            found["test"].append(path.with_name(paths.labels("test").name))
    return {
        split: [path for path in dict.fromkeys(split_paths) if path.is_file()]
        for split, split_paths in found.items()
    }
