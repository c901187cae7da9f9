"""Exports a checkpoint as a frozen graph with export_inference_graph.py, and tests the result."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from shelfdet import UserError
from shelfdet.config import checkpoint_files, network, pipeline
from shelfdet.core import files, parallel, paths, tensorflow1, text
from shelfdet.core.make_variables import both
from shelfdet.inference import checkpoints, folding

EXPORTER = paths.OBJECT_DETECTION / "export_inference_graph.py"
# Of a checkpoint. Its third file, .meta, holds a training graph, which a training that starts from
# it builds itself.
WEIGHT_FILES = (
    f"{paths.CHECKPOINT_PREFIX}.index",
    f"{paths.CHECKPOINT_PREFIX}.data-00000-of-00001",
)
# What is kept of the output of export_inference_graph.py
EXPORTED_FILES = (paths.GRAPH_FILE, paths.CONFIG_FILE) + WEIGHT_FILES
# All that the folder of a graph may hold; step 09 adds metrics.json, step 11 the folder deploy/.
NOTED_FILES = (paths.TRAINED_ON_FILE, paths.LABEL_MAP_FILE)  # of the run, if it has them
GRAPH_FOLDER_FILES = EXPORTED_FILES + NOTED_FILES + (paths.METRICS.name, paths.DEPLOY_FOLDER)
LEFTOVER = r"\..+\.(partial|lock)$"  # of a step that was killed while it wrote one of them
# Folding changes the order of sums. Differences of up to 2.5e-6, as ``rounding`` gives them, were
# measured.
ROUNDING = 1e-5
LOG_LINES = 12  # of export_inference_graph.py's output, shown when it fails
USE_UNFOLDED = f"Export with {both('--unfolded')}"


def check_target(target: pathlib.Path) -> None:
    """Refuses a folder that an exported graph must not replace; it would be replaced as a whole.

    Raises:
      UserError: the folder is that of an included graph, or holds anything but an exported graph.
    """
    target = files.restore_interrupted(target)
    if paths.is_shipped(target):
        raise UserError(
            f"{paths.shown(target)}: holds a graph that is included in this repository, which no "
            "training of yours may replace; expected a folder of your own. Export under another "
            f"name: {both(f'--name my_{target.name}')}."
        )
    if not target.is_dir():
        return
    names = sorted(path.name for path in target.iterdir())
    others = [
        name for name in names if name not in GRAPH_FOLDER_FILES and not re.match(LEFTOVER, name)
    ]
    if others:
        raise UserError(
            f"{target}: holds {text.listed(others, 5)}, which is no part of an exported graph and "
            f"would be removed with the folder. Move it, or choose another {both('--name')}."
        )


def check_name(name: str) -> None:
    """Refuses a name that would lead out of the folder of graphs, or be hidden in it.

    Raises:
      UserError: ``name`` is empty, is a path, or starts with a dot.
    """
    if not name or pathlib.Path(name).name != name or name.startswith("."):
        raise UserError(
            f"{both(f'--name {name}')}: expected the plain name of a folder, such as mine; "
            "--output names the folder that holds it."
        )


def check_config(config: pathlib.Path, trained_with: pathlib.Path) -> None:
    """Refuses a config whose ``model`` differs from the trained one in more than post_processing.

    The weights might fit all the same; but the anchors, for example, would not be those for which
    the boxes were learned.

    Args:
      config: the config to export with.
      trained_with: the config of the checkpoint.

    Raises:
      UserError: they differ, or one cannot be read.
    """
    if config == trained_with:
        return
    found, _ = pipeline.model_differences(pipeline.read(trained_with), pipeline.read(config))
    if found:
        raise UserError(
            f"--config {config}: its `model` differs from that of {trained_with}, with which the "
            f"checkpoint was trained, in more than post_processing: {pipeline.listed(found)}; "
            "expected the same. Undo these changes, or train with it."
        )


def unused_changes(used: pathlib.Path, run_name: str) -> str:
    """What is different in the config that a run was started with, and is not exported.

    Args:
      used: the config to export with.
      run_name: name of the run; its config is that of the same name in training/.

    Returns:
      a line of text; empty if there is no such config or no difference after the network.
    """
    edited = paths.TRAINING / f"{run_name}.config"
    if not edited.is_file():
        return ""
    trained, found = pipeline.model_differences(pipeline.read(used), pipeline.read(edited))
    if trained or not found:
        return ""
    return (
        f"note: {paths.shown(edited)} has other values after the network now, which this export "
        f"does not use: {pipeline.listed(found)}. They need no training: --config "
        f"{paths.shown(edited)} exports with them"
    )


def export(
    checkpoint: checkpoints.Checkpoint,
    config: pathlib.Path,
    target: pathlib.Path,
    folded: bool = True,
) -> None:
    """Writes the folder of a graph: frozen graph, config, weights, training images, label map.

    Args:
      checkpoint: what to export.
      config: the config to export with, as ``check_config`` accepts it.
      target: the folder; an older one is replaced once the new graph has been tested.
      folded: whether batch norms and the first depthwise convolution are folded (module
        ``folding``).

    Raises:
      UserError: the checkpoint cannot be exported, or the graph does not give finite numbers.
    """
    with files.replacing(target) as partial, tempfile.TemporaryDirectory() as scratch:
        exported = pathlib.Path(scratch)
        run_exporter(checkpoint.prefix, config, exported)
        partial.mkdir()
        for name in (paths.GRAPH_FILE, paths.CONFIG_FILE):
            shutil.copy2(str(exported / name), str(partial))
        write_weights(exported, config, partial / paths.CHECKPOINT_PREFIX)
        for name in NOTED_FILES:
            noted = checkpoint.config.with_name(name)
            if noted.is_file():
                shutil.copy2(str(noted), str(partial))
        if folded:
            fold(exported / paths.GRAPH_FILE, partial / paths.GRAPH_FILE)
        check_graph(partial / paths.GRAPH_FILE)


def write_weights(exported: pathlib.Path, config: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the weights as a checkpoint, in which unused layers have initial weights.

    The base network has layers behind the last feature map. No gradient but that of weight decay
    has reached them, which has shrunk their weights to 0: a training that started from them with
    more feature maps could not use these layers.

    Args:
      exported: the folder that export_inference_graph.py wrote. Freezing keeps the name of a
        variable for the constant that holds it.
      config: of the network.
      target: prefix of the new checkpoint.
    """
    graph = tensorflow1.load().compat.v1.GraphDef()
    graph.ParseFromString((exported / paths.GRAPH_FILE).read_bytes())
    used = {node.name for node in graph.node}
    weights = exported / paths.CHECKPOINT_PREFIX
    unused = set(checkpoint_files.variables(weights)) - used
    checkpoint_files.with_values(
        weights, network.initial_values(pipeline.read(config), unused), target
    )


def run_exporter(prefix: pathlib.Path, config: pathlib.Path, folder: pathlib.Path) -> None:
    """Runs export_inference_graph.py into ``folder``, which exists.

    Raises:
      UserError: it failed; the message holds the end of its output.
    """
    # Some editors put a byte order mark before the text, which protobuf does not read.
    plain_config = folder / "read.config"
    files.write_text(plain_config, text.read_text(config, "a training config"))
    command = [
        sys.executable,
        str(EXPORTER),
        "--input_type=image_tensor",
        f"--pipeline_config_path={plain_config}",
        f"--trained_checkpoint_prefix={prefix.resolve()}",
        f"--output_directory={folder}",
    ]
    import_path = [str(paths.RESEARCH), str(paths.RESEARCH / "slim")]
    if os.environ.get("PYTHONPATH"):
        import_path.append(os.environ["PYTHONPATH"])
    process = subprocess.run(
        command,
        cwd=str(paths.ROOT),
        # TensorFlow writes temporary files, which it does not remove when it is stopped.
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(import_path), TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=functools.partial(parallel.end_with_parent, os.getpid()),
    )
    if process.returncode or not all((folder / name).is_file() for name in EXPORTED_FILES):
        raise UserError(_exporter_failed(prefix, config, folder, process))


def _exporter_failed(prefix, config, folder, process):
    """The message for a failure of export_inference_graph.py, which writes into ``folder``."""
    full = re.search(files.DISK_FULL, process.stdout)
    if full:
        return (
            f"{folder.parent}: cannot be written ({full.group()}) by export_inference_graph.py, "
            "which puts its files there before they are moved into place. Expected free space for "
            "about three times the size of the checkpoint. Free some space, or name another folder "
            "with the environment variable TMPDIR, then run the step again."
        )
    # Without the lines of code of tracebacks, which are indented.
    lines = [line for line in process.stdout.splitlines() if line.strip() and line[0] != " "]
    end = "\n".join(lines[-LOG_LINES:])
    return (
        f"{prefix}: cannot be exported with {config} (status {process.returncode}). Was the "
        f"checkpoint trained with this config? export_inference_graph.py printed:\n\n{end}"
    )


def fold(exported: pathlib.Path, target: pathlib.Path) -> None:
    """Folds the graph ``exported`` into ``target``, and compares the two on a noise image.

    Compared are the boxes and scores of all anchors, before NMS.

    Raises:
      UserError: they differ by more than rounding or are not finite, or the graph cannot be folded.
    """
    from shelfdet.inference import detector

    folding.fold_file(exported, target)
    try:
        before = detector.all_anchors(exported, noise_image())
        after = detector.all_anchors(target, noise_image())
    except UserError as error:
        raise UserError(f"{error} {USE_UNFOLDED}, which needs none of these.") from error
    if not all(np.isfinite(values).all() for values in before):
        raise UserError(
            "The checkpoint gives boxes or scores that are not finite numbers. Were the losses in "
            "train.log finite to the end? Export an earlier checkpoint with "
            f"{both('--checkpoint')}."
        )
    difference = np.max([rounding(one, other) for one, other in zip(before, after)])
    if not difference <= ROUNDING:  # written so that NaN is refused, too
        raise UserError(
            f"The folded graph's boxes and scores differ by up to {difference:.2g} from those of "
            "the graph that export_inference_graph.py wrote; expected at most "
            f"{ROUNDING:g}. {USE_UNFOLDED}, which keeps that graph."
        )


def rounding(values: np.ndarray, others: np.ndarray) -> float:
    """The largest difference of two arrays of shape (anchors, N).

    It is a share of the largest value of the anchor in ``values``, or of 1 if that is larger: on a
    noise image boxes may reach as far as 40 image sides, and float32 has 7 digits.
    """
    size = np.maximum(1.0, np.abs(values).max(axis=1, keepdims=True))
    return float((np.abs(values - others) / size).max())


def check_graph(graph: pathlib.Path) -> None:
    """Loads the frozen graph and runs it on a noise image.

    Raises:
      UserError: it does not load or run, or does not give as many finite boxes as scores and
        classes.
    """
    from shelfdet.inference import detector

    boxes_yxyx, scores, class_ids = detector.Detector(graph).detect(noise_image())
    # NMS drops every box whose score is NaN. Where it leaves no box at all, the anchors' own scores
    # show whether they are numbers.
    values = (boxes_yxyx, scores) if len(scores) else detector.all_anchors(graph, noise_image())
    same_length = len(boxes_yxyx) == len(scores) == len(class_ids)
    if not same_length or not all(np.isfinite(value).all() for value in values):
        raise UserError(
            f"{graph.name}: runs, but gives {text.counted(len(boxes_yxyx), 'box')}, "
            f"{text.counted(len(scores), 'score')} and {text.counted(len(class_ids), 'class')}; "
            "expected as many of each, all finite. Were the losses in train.log finite to the end?"
        )


def noise_image() -> np.ndarray:
    """The same uint8 RGB noise in every run, of shape (480, 640, 3)."""
    return np.random.RandomState(0).randint(0, 256, (480, 640, 3)).astype(np.uint8)
