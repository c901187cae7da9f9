#!/usr/bin/env python
"""Step 07: export a run's best checkpoint as a frozen graph, with export_inference_graph.py.

Reads   a run's folder (step 06): its pipeline.config and best/, or its newest or any named
        checkpoint, or the last five, to average their weights.
Writes  trained-inference-graphs/NAME/frozen_inference_graph.pb, the pipeline.config it was made
        with, model.ckpt.* (the weights of the graph, and initial weights for layers that it does
        not use, from which another training can start), trained_on.json (the images that it
        was trained on, so that step 09 notices when it is scored on them), and label_map.pbtxt
        (its classes). NAME is that of the run. The folder is written elsewhere, tested on a noise
        image, and then moved into place; only then is an older graph of that name removed, with its
        metrics.json. The included graphs are never replaced.

Batch norms, and the depthwise convolution with which the network starts, are folded into the
neighbouring convolutions: the graph finds the same boxes in less time. The test compares all
anchors' boxes and scores with those of export_inference_graph.py's graph. --unfolded keeps that
graph, for converters that expect its operations.

    python scripts/training/07_export_inference_graph.py
    python scripts/training/07_export_inference_graph.py --run-dir /data/runs/mine \\
        --checkpoint newest --name mine
    python scripts/training/07_export_inference_graph.py --name early \\
        --checkpoint /data/runs/mine/model.ckpt-1200
    python scripts/training/07_export_inference_graph.py --name mine \\
        --config mine_with_another_nms.config

Post-processing (batch_non_max_suppression: iou_threshold, score_threshold, the numbers of
detections) has no trained weights: --config exports the same checkpoint with a config that has
other values there.
"""

import argparse
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, files, next_step, paths
from shelfdet.core.make_variables import both

if TYPE_CHECKING:  # it loads NumPy
    from shelfdet.inference import checkpoints


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--run-dir",
        **command_line.FOLDER,
        default=paths.TRAINING / paths.DEFAULT_CONFIG.stem,
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best (highest COCO AP on validation), newest, average (the mean of the weights of "
        "its last checkpoints, at most five and of the second half of the steps; for a training "
        "whose learning rate does not fall), or a prefix such as RUN/model.ckpt-1200 (default: "
        "%(default)s)",
    )
    parser.add_argument("--config", **command_line.FILE, help="(default: the run's own)")
    parser.add_argument("--name", help="folder under --output (default: the name of the run)")
    parser.add_argument(
        "--output", **command_line.FOLDER, default=paths.GRAPHS, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--unfolded", action="store_true", help="keep export_inference_graph.py's graph unchanged"
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.config import file_checks
    from shelfdet.inference import checkpoints, export

    name = args.name
    if name is None:
        name = checkpoints.run_of(args.checkpoint, args.run_dir).resolve().name
    export.check_name(name)
    target = args.output / name
    file_checks.refuse_pattern(target.resolve(), f"--output and {both('--name')}")
    export.check_target(target)
    with tempfile.TemporaryDirectory() as scratch:
        found = find_checkpoint(args, pathlib.Path(scratch))
        export_checkpoint(args, *found, target)


def find_checkpoint(
    args: argparse.Namespace, scratch: pathlib.Path
) -> Tuple["checkpoints.Checkpoint", str]:
    """The checkpoint to export, and what it is; ``scratch``: a folder for an average."""
    from shelfdet.inference import averaging, checkpoints

    if args.checkpoint != checkpoints.AVERAGE:
        found = checkpoints.find(args.run_dir, newest_whole(args.run_dir, args.checkpoint))
        return found, paths.shown(found.prefix)
    newest = checkpoints.find(args.run_dir, newest_whole(args.run_dir, checkpoints.NEWEST))
    average = averaging.write(newest.prefix, scratch)
    steps = ", ".join(map(str, average.steps))
    run = paths.shown(args.run_dir)
    described = f"the mean of the weights of {run} at steps {steps}, which was not validated,"
    return newest._replace(prefix=average.prefix), described


def export_checkpoint(
    args: argparse.Namespace,
    checkpoint: "checkpoints.Checkpoint",
    described: str,
    target: pathlib.Path,
) -> None:
    """Exports into ``target``, and prints what there is to know of the checkpoint."""
    from shelfdet.config import file_checks, pipeline
    from shelfdet.inference import checkpoints, export

    config = args.config or checkpoint.config
    if not args.config:
        run_name = checkpoints.run_of(args.checkpoint, args.run_dir).resolve().name
        unused = export.unused_changes(config, run_name)
        if unused:
            print(unused)
    export.check_config(config, checkpoint.config)
    file_checks.refuse_pattern(
        checkpoint.prefix.resolve(), f"{both('--run-dir')} or {both('--checkpoint')}"
    )
    checkpoints.check_whole(checkpoint.prefix)
    evaluation = checkpoints.evaluation(checkpoint.prefix.parent)
    if evaluation:
        print(evaluation)
    num_steps = pipeline.read(checkpoint.config).train_config.num_steps
    for warning in checkpoints.export_warnings(checkpoint, num_steps):
        print(warning, file=sys.stderr)
    print(f"exporting {described} with {paths.shown(config)}")
    replaced = target.exists()
    export.export(checkpoint, config, target, folded=not args.unfolded)
    print_graph(target / paths.GRAPH_FILE, args.unfolded, replaced)


def newest_whole(run_dir: pathlib.Path, which: str) -> str:
    """The prefix of the newest whole checkpoint where ``which`` is newest, otherwise ``which``."""
    from shelfdet.inference import checkpoints
    from shelfdet.training import resume_point

    point = resume_point.find(run_dir) if which == checkpoints.NEWEST else None
    if point is None:
        return which
    if not point.noted:
        print(resume_point.report(point))
    return str(point.prefix)


def print_graph(graph: pathlib.Path, unfolded: bool, replaced: bool) -> None:
    from shelfdet.data import records
    from shelfdet.evaluation import scored_graph

    megabytes = graph.stat().st_size / 1e6
    kind = "not folded" if unfolded else "folded"
    note = "; it replaced an older graph" if replaced else ""
    print(
        f"{paths.shown(graph)}: {megabytes:.1f} MB, sha256 {files.sha256(graph)}; "
        f"{kind}, and tested on a noise image{note}"
    )
    of_graph = next_step.of_graph(graph.parent)
    if of_graph:
        names = scored_graph.datasets(graph.parent)
        trained = names or [paths.DEFAULT_DATASET]
        in_tiles = any(records.holds_tiles(paths.record("val", name)) for name in trained)
        options = {"NAME": ",".join(names) or None, "TILES": "auto" if in_tiles else None}
        next_step.show(next_step.command("eval", **of_graph, **options))


if __name__ == "__main__":
    command_line.run(main)
