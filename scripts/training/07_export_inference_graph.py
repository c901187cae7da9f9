#!/usr/bin/env python
"""Step 07: a run's best checkpoint to a frozen graph, by object_detection's own export_inference_graph.py.

Reads   a run's folder (step 06): its pipeline.config and best/, or the newest or any named checkpoint.
Writes  trained-inference-graphs/NAME/frozen_inference_graph.pb, the pipeline.config it was made with, model.ckpt.* (the same weights
        without the optimizer's, which another training can start from), and trained_on.json, the names of the images it was
        trained on, so that step 09 can tell when it is scored on them. Made in a temporary folder, loaded and run once on a
        image of noise, then moved into place; the graph that stood there before goes only then, and with it the metrics.json that
        may lie beside it.

Batch norms and the depthwise convolution that the network begins with are folded into the convolutions they stand beside: the graph
finds the same boxes in less time. That it says the same of every anchor as export_inference_graph.py's own is checked on that image.
--unfolded keeps that one, for converters that expect its operations.

    python scripts/training/07_export_inference_graph.py
    python scripts/training/07_export_inference_graph.py --run-dir /data/runs/mine --checkpoint newest --name mine
    python scripts/training/07_export_inference_graph.py --checkpoint /data/runs/mine/model.ckpt-1200 --name early
    python scripts/training/07_export_inference_graph.py --config mine_with_another_nms.config --name mine

What follows the network (batch_non_max_suppression: iou_threshold, score_threshold, the numbers of detections) is no part of
the training: --config exports the same weights with a config that has other values there.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

# Of a checkpoint; its .meta holds a graph, which whoever starts a training from it builds anew.
WEIGHTS = tuple(paths.CHECKPOINT_PREFIX + suffix for suffix in (".index", ".data-00000-of-00001"))
MADE = (
    paths.GRAPH_FILE,
    paths.CONFIG_FILE,
) + WEIGHTS  # what is kept of export_inference_graph.py's output
ROUNDING = (
    1e-5  # of a score, or of the image's side: what sums in another order may change; 1e-6 was seen
)
PARTS = MADE + (paths.TRAINED_ON_FILE, paths.METRICS.name)  # of an exported graph


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run-dir",
        type=pathlib.Path,
        default=paths.TRAINING / paths.DEFAULT_CONFIG.stem,
        metavar="FOLDER",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best (highest COCO AP on validation), newest, or a prefix such as RUN/model.ckpt-1200 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--config", type=pathlib.Path, metavar="FILE", help="(default: the run's own)"
    )
    parser.add_argument(
        "--name",
        default=paths.SHIPPED_GRAPH.name,
        help="folder under --output (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=paths.GRAPHS,
        metavar="FOLDER",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--unfolded", action="store_true", help="keep export_inference_graph.py's graph as it is"
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    check_target(args)
    prefix, trained_with = find(args)
    config = args.config or trained_with
    check_config(config, trained_with)
    print(f"exporting {paths.shown(prefix)} with {paths.shown(config)}")
    target = args.output / args.name
    replaced = target.exists()
    with files.replacing(target) as partial, tempfile.TemporaryDirectory() as scratch:
        exported = pathlib.Path(scratch)
        export(prefix, config, exported)
        partial.mkdir()
        for name in MADE:
            shutil.copy2(str(exported / name), str(partial))
        if (trained_with.parent / paths.TRAINED_ON_FILE).is_file():
            shutil.copy2(str(trained_with.parent / paths.TRAINED_ON_FILE), str(partial))
        if not args.unfolded:
            fold(exported / paths.GRAPH_FILE, partial / paths.GRAPH_FILE)
        prove(partial / paths.GRAPH_FILE)
    graph = target / paths.GRAPH_FILE
    print(
        f"{paths.shown(graph)}: {graph.stat().st_size / 1000000.0:.1f} MB, sha256 {files.sha256(graph)}; {'not folded' if args.unfolded else 'folded'}, loaded, and run once{'; it took the place of the one that was there' if replaced else ''}"
    )


def check_target(args):
    """Refuses a name that is no plain one, and a folder that holds anything but an exported graph: it would be replaced whole."""
    if not args.name or pathlib.Path(args.name).name != args.name or args.name.startswith("."):
        raise UserError(
            f"--name {args.name!r}: expected the plain name of a folder, such as mine; --output says where it goes."
        )
    target = files.settled(args.output / args.name)
    others = (
        sorted(path.name for path in target.iterdir() if path.name not in PARTS)
        if target.is_dir()
        else []
    )
    if others:
        raise UserError(
            f"{target}: holds {', '.join(others[:5]) + (' ...' if len(others) > 5 else '')}, which is no part of an exported graph and would be removed with the folder. Move it, or choose another --name."
        )


def find(args):
    """The checkpoint prefix and the config that ``args`` name.

    Raises:
      UserError: no such run, checkpoint or config; says which there are.
    """
    run = args.run_dir
    if args.checkpoint in ("best", "newest"):
        folder = files.standing(run / "best") if args.checkpoint == "best" else run
        state = folder / "checkpoint"
        found = state.is_file() and re.search(
            r'^model_checkpoint_path: "(.*)"', state.read_text(), re.MULTILINE
        )
        if not found:
            raise UserError(
                f"{run}: holds no {args.checkpoint} checkpoint. {'No evaluation has ended yet: take --checkpoint newest.' if any(run.glob('model.ckpt-*.index')) else 'Train first (step 06), or name the run with --run-dir.'}"
            )
        prefix = folder / pathlib.Path(found.group(1)).name
        if args.checkpoint == "best":
            print(f"best on validation: {files.read_json(folder / 'evaluation.json')}")
    else:
        prefix = pathlib.Path(args.checkpoint)
        run = (
            run
            if (run / paths.CONFIG_FILE).is_file() and prefix.parent.resolve() == run.resolve()
            else prefix.parent
        )
    if not pathlib.Path(str(prefix) + ".index").is_file():
        raise UserError(
            f"{prefix}.index: no such file; expected best, newest, or the prefix of a checkpoint, such as {args.run_dir}/model.ckpt-1200, without .index, .meta or .data."
        )
    config = next(
        (
            folder / paths.CONFIG_FILE
            for folder in (run, prefix.parent.parent)
            if (folder / paths.CONFIG_FILE).is_file()
        ),
        None,
    )
    if config is None:
        raise UserError(
            f"{run}: holds no {paths.CONFIG_FILE}; expected the config that the checkpoint was trained with, which step 06 puts there. Copy it there."
        )
    return prefix, config


def check_config(config, trained_with):
    """Refuses a config whose ``model`` differs from the trained one's in more than ``post_processing``: the weights may fit all
    the same, but anchors, say, would be others than those that the boxes were learned from.

    Raises:
      UserError: it does, or cannot be read.
    """
    if config == trained_with:
        return
    from shelfdet.config import pipeline

    models = []
    for path in (config, trained_with):
        model = pipeline.read(path).model
        model.ssd.ClearField("post_processing")
        models.append(model)
    if models[0] != models[1]:
        raise UserError(
            f"--config {config}: its `model` differs from that of {trained_with}, with which the checkpoint was trained, in more than post_processing; expected the same. Put the rest back, or train with it."
        )


def export(prefix, config, folder):
    """Runs export_inference_graph.py into ``folder``.

    Raises:
      UserError: it failed; the message holds the end of what it printed.
    """
    from shelfdet.data import labels

    script = paths.OBJECT_DETECTION / "export_inference_graph.py"
    read = folder / "read.config"  # without the mark that some editors put before it
    files.write_text(read, labels.read_text(config, "a training config"))
    env = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(
            [str(paths.RESEARCH), str(paths.RESEARCH / "slim")]
            + os.environ.get("PYTHONPATH", "").split(os.pathsep)
        ).rstrip(os.pathsep),
    )
    process = subprocess.run(
        [
            sys.executable,
            str(script),
            "--input_type=image_tensor",
            f"--pipeline_config_path={read}",
            f"--trained_checkpoint_prefix={prefix.resolve()}",
            f"--output_directory={folder}",
        ],
        cwd=str(paths.ROOT),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode or not all((folder / name).is_file() for name in MADE):
        raise UserError(
            "{}: cannot be exported with {} (status {}). Was the checkpoint trained with this config? "
            "export_inference_graph.py said:\n\n{}".format(
                prefix, config, process.returncode, "\n".join(process.stdout.splitlines()[-12:])
            )
        )


def fold(exported, target):
    """Folds the graph that export_inference_graph.py wrote, and compares what both say of every anchor in an image of noise.

    Raises:
      UserError: they differ, are no finite numbers, or it cannot be done.
    """
    import numpy as np

    from shelfdet.inference import detector, folding

    folding.fold_file(exported, target)
    try:
        before, after = (detector.all_anchors(graph, noise()) for graph in (exported, target))
    except UserError as error:
        raise UserError(f"{error} Or export with --unfolded (`make export UNFOLDED=1`).") from error
    if not all(np.isfinite(values).all() for values in before):
        raise UserError(
            "the checkpoint gives boxes or scores that are no finite numbers. Were the losses in train.log finite to the end? "
            "Export an earlier checkpoint (--checkpoint)."
        )
    differences = [np.abs(one - other).max() for one, other in zip(before, after)]
    if not np.max(differences) <= ROUNDING:  # NaN is not, either
        raise UserError(
            f"the folded graph's boxes and scores differ by up to {np.max(differences):.2g} from those of the graph that export_inference_graph.py wrote; expected {ROUNDING:g} at most. Export with --unfolded (`make export UNFOLDED=1`), which keeps that one."
        )


def prove(graph):
    """Loads the frozen graph and runs it on an image of noise.

    Raises:
      UserError: it does not load or run, or gives no finite numbers.
    """
    import numpy as np

    from shelfdet.inference import detector

    boxes_yxyx, scores, classes = detector.Detector(graph).detect(noise())
    # Suppression leaves out what is no number, so where no box is left the anchors are asked
    numbers = (boxes_yxyx, scores) if len(scores) else detector.all_anchors(graph, noise())
    if not len(boxes_yxyx) == len(scores) == len(classes) or not all(
        np.isfinite(values).all() for values in numbers
    ):
        raise UserError(
            f"{graph.name}: runs, but gives {len(boxes_yxyx)} boxes, {len(scores)} scores and {len(classes)} classes; expected as many of each, all finite. Were the losses in train.log finite to the end?"
        )


def noise():
    import numpy as np

    return np.random.RandomState(0).randint(0, 256, (480, 640, 3)).astype(np.uint8)


if __name__ == "__main__":
    command_line.run(main)
