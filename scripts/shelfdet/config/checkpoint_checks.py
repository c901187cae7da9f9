"""Checks of the checkpoint that training starts from: whether it exists and fits the network."""

import os
import pathlib
from typing import Any, Optional, Sequence

from shelfdet import UserError
from shelfdet.config import checkpoint_files, file_checks, pipeline
from shelfdet.config.findings import Findings, field_text
from shelfdet.config.network import Network
from shelfdet.core import paths, text
from shelfdet.core.files import PathLike

CHECKPOINT = "train_config.fine_tune_checkpoint"
SHOWN_PREFIXES = 3  # checkpoints that a finding names
CLASS_PREDICTOR = "ClassPredictor"  # in the names of variables whose shape num_classes decides
DEPTH = "model.ssd.feature_extractor.depth_multiplier"
OTHER_WEIGHTS = (
    "or name another checkpoint; or none, to start with random weights: leave out START if it is "
    "given, otherwise delete fine_tune_checkpoint and fine_tune_checkpoint_type"
)


def check(
    config: pipeline.Config, network: Optional[Network], root: PathLike, findings: Findings
) -> None:
    """Checks the fine-tuning fields of train_config and the checkpoint they name.

    Args:
      config: as ``pipeline.read`` returns it.
      network: of the config, or None if it cannot be built.
      root: the folder that the config's paths are relative to.
      findings: for the problems.
    """
    train = config.train_config
    kind = train.fine_tune_checkpoint_type
    if not kind and train.from_detection_checkpoint:
        kind = "detection"
    if not train.fine_tune_checkpoint:
        if kind:
            findings.warning(
                CHECKPOINT,
                found="nothing, though its type is given: training starts from scratch",
                expected="the prefix of a checkpoint, or neither",
                write="delete fine_tune_checkpoint_type and from_detection_checkpoint, "
                "or name a checkpoint",
            )
        return
    if kind not in ("detection", "classification"):
        findings.error(
            CHECKPOINT + "_type",
            found=kind
            or "nothing: object_detection then searches the checkpoint for the variables "
            "of a classifier and restores none of a detector's",
            expected='"detection" for the checkpoint of a detector, "classification" for that of a '
            "classifier",
            write='fine_tune_checkpoint_type: "detection"',
        )
    prefix = os.path.join(str(root), train.fine_tune_checkpoint)
    if checkpoint_files.is_prefix(prefix):
        file_checks.check_no_pattern(CHECKPOINT, train.fine_tune_checkpoint, findings)
    else:
        near = checkpoint_files.nearest(prefix)
        # TensorFlow's first format had a single file of that name and no index.
        if near is not None or not os.path.isfile(prefix):
            _report_missing(train.fine_tune_checkpoint, prefix, near, root, findings)
            return
    if network is not None and kind == "detection":
        _check_variables(prefix, network, config, findings)


def _report_missing(
    written: str, prefix: str, near: Optional[str], root: PathLike, findings: Findings
) -> None:
    """Names the checkpoint that is meant, if there is one.

    Args:
      written: the path as it is in the config.
      prefix: the same, absolute.
      near: the prefix that is most likely meant, or None.
      root: the folder that the config's paths are relative to.
      findings: for the problem.
    """
    if os.path.isdir(prefix):
        found = f"{written}: is a folder"
    elif os.path.isfile(prefix):
        found = f"{written}: is a file, and no checkpoint of that prefix is there"
    else:
        found = f"{written} ({prefix}.index does not exist)"
    write = (
        "the prefix of a checkpoint; or delete fine_tune_checkpoint to train from scratch\n"
        "(`make pretrained` downloads the zoo's checkpoint and prints the line to write)"
    )
    if near is not None:
        available = [
            os.path.basename(path) for path in checkpoint_files.prefixes_in(os.path.dirname(near))
        ]
        shown = near if os.path.isabs(written) else os.path.relpath(near, str(root))
        found += f"; in {os.path.dirname(shown) or '.'}: {text.listed(available, SHOWN_PREFIXES)}"
        write = f'fine_tune_checkpoint: "{shown}"'
    findings.error(
        CHECKPOINT,
        found=found,
        expected="the prefix of a checkpoint: the path of its .index file without .index",
        write=write,
    )


def _check_variables(
    prefix: str, network: Network, config: pipeline.Config, findings: Findings
) -> None:
    """Compares names and shapes of the variables that training restores with the checkpoint's."""
    # Otherwise only the feature extractor's are restored.
    load_all = config.train_config.load_all_detection_checkpoint_vars
    restored = {
        name: shape
        for name, shape in network.variables.items()
        if load_all or name.startswith("FeatureExtractor")
    }
    try:
        stored = checkpoint_files.variables(prefix)
        fitting = [name for name, shape in restored.items() if stored.get(name) == shape]
        zero = checkpoint_files.zero_kernels(prefix, fitting)
    except UserError as error:
        findings.error(
            CHECKPOINT,
            found=str(error),
            expected="a complete checkpoint",
            write=_remedy_of_damage(prefix),
        )
        return
    if zero:
        _report_zero(zero, findings)
    if len(fitting) == len(restored):
        return
    others = sorted(name for name in restored if name in stored and name not in fitting)
    example = ""
    if others:
        example = f"; {others[0]} is {stored[others[0]]} there and {restored[others[0]]} here"
    if len(fitting) + len(others) == len(restored) and all(
        CLASS_PREDICTOR in name for name in others
    ):
        findings.note(
            CHECKPOINT,
            found=f"the checkpoint of a detector with another number of classes{example}: "
            f"{text.counted(len(others), 'variable')} of {len(restored)}, which predict the class, "
            "start untrained",
            expected="that, where the classes are others",
        )
        return
    predicting = {name for name in restored if not name.startswith("FeatureExtractor")}
    if predicting and set(restored).difference(stored) == predicting and not others:
        # The names of these variables depend on whether there is one feature map or several.
        findings.note(
            CHECKPOINT,
            found="the checkpoint of a detector with another number of feature maps: "
            f"{text.counted(len(predicting), 'variable')} of {len(restored)}, which predict boxes "
            "and classes, start untrained, as do layers that its network did not use",
            expected="that, where num_layers differs",
        )
        return
    report = findings.warning if len(fitting) > len(restored) / 2 else findings.error
    extractor = config.model.ssd.feature_extractor
    trained = _extractor_beside(prefix)
    if trained is not None and trained.depth_multiplier != extractor.depth_multiplier:
        report(
            DEPTH,
            found=f"{field_text(extractor, 'depth_multiplier')}; the network of the checkpoint has "
            f"{trained.depth_multiplier:g}{example}",
            expected="the value of the checkpoint's network, or no checkpoint of it",
            write=f"depth_multiplier: {trained.depth_multiplier:g}\n{OTHER_WEIGHTS}",
        )
        return
    part = "network" if load_all else "feature extractor"
    report(
        CHECKPOINT,
        found=f"{len(fitting)} of the {part}'s {text.counted(len(restored), 'variable')} "
        f"{text.plural(len(fitting), 'is', 'are')} in it with this shape{example}",
        expected="a checkpoint of the same network: same type, depth_multiplier and num_layers"
        + (", and num_classes" if load_all else ""),
        write="the model block of the config that the checkpoint was trained with, most often the "
        f"pipeline.config beside it; {OTHER_WEIGHTS}",
    )


def _extractor_beside(prefix: str) -> Optional[Any]:
    """The feature_extractor of the pipeline.config beside a checkpoint.

    None where there is none, it cannot be read, or it is of another detector than an SSD.
    """
    beside = pathlib.Path(prefix).parent / paths.CONFIG_FILE
    if not beside.is_file():
        return None
    try:
        model = pipeline.read(beside).model
    except UserError:  # the finding about the variables says what is wrong without it
        return None
    return model.ssd.feature_extractor if model.HasField("ssd") else None


def _report_zero(kernels: Sequence[str], findings: Findings) -> None:
    """Refuses kernels that are 0: with a ReLU behind them, a training hardly changes them.

    A network with fewer feature maps has layers that its predictions do not depend on. No gradient
    but that of weight decay reaches them, which Adam and RMSProp scale up to full steps.
    """
    findings.error(
        CHECKPOINT,
        found=f"{text.counted(len(kernels), 'kernel')} of this network "
        f"{text.plural(len(kernels), 'is', 'are')} 0 in it, such as {kernels[0]}. Most often the "
        "network that it is of has fewer feature maps and did not use them, so that weight decay "
        "has shrunk them; feature maps behind them would detect nothing",
        expected="trained or initial weights in every layer of this network",
        write="export that run again (step 07 writes initial weights for layers that its network "
        "does not use) and name the new model.ckpt; or write num_layers as in that network",
    )


def _remedy_of_damage(prefix: str) -> str:
    folders = pathlib.Path(os.path.abspath(prefix)).parents
    for folder in (*paths.SHIPPED_GRAPHS, paths.FAST_START):
        if folder in folders:
            return f"restore it: git checkout -- {paths.shown(folder)}"
    if paths.PRETRAINED in folders:
        return "run `make pretrained`, which unpacks or downloads it again"
    return "copy or export the checkpoint again, or name another one"
