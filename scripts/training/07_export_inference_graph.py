#!/usr/bin/env python
"""Step 07: a run's best checkpoint to a frozen graph, by object_detection's own export_inference_graph.py.

Reads   a run's folder (step 06): its pipeline.config and best/, or the newest or any named checkpoint.
Writes  trained-inference-graphs/NAME/frozen_inference_graph.pb and the pipeline.config it was made with. Made in a temporary folder,
        loaded and run once on a grey picture, then moved into place; what stood there before goes only then.

    python scripts/training/07_export_inference_graph.py
    python scripts/training/07_export_inference_graph.py --run-dir /data/runs/mine --checkpoint newest --name mine
    python scripts/training/07_export_inference_graph.py --checkpoint /data/runs/mine/model.ckpt-1200 --name early
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, files, paths

GRAPH = "frozen_inference_graph.pb"
CONFIG = "pipeline.config"


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--run-dir", type=pathlib.Path, default=paths.TRAINING / paths.DEFAULT_CONFIG.stem, metavar="FOLDER",
                        help="(default: %(default)s)")
    parser.add_argument("--checkpoint", default="best", metavar="WHICH",
                        help="best (highest COCO AP on validation), newest, or a prefix such as RUN/model.ckpt-1200 "
                             "(default: %(default)s)")
    parser.add_argument("--name", default=paths.DEFAULT_GRAPH.name, help="folder under --output (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, default=paths.GRAPHS, metavar="FOLDER", help="(default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    prefix, config = find(args)
    print("exporting {} with {}".format(paths.shown(prefix), paths.shown(config)))
    target = args.output / args.name
    with files.replacing(target) as partial, tempfile.TemporaryDirectory() as scratch:
        export(prefix, config, pathlib.Path(scratch))
        partial.mkdir()
        for name in (GRAPH, CONFIG):       # not its saved_model and checkpoint: the same weights twice more
            shutil.copy2(str(pathlib.Path(scratch) / name), str(partial))
        prove(partial / GRAPH)
    graph = target / GRAPH
    print("{}: {:.1f} MB, sha256 {}; loaded, and run once".format(
        paths.shown(graph), graph.stat().st_size / 1e6, files.sha256(graph)))


def find(args):
    """The checkpoint prefix and the config that ``args`` name.

    Raises:
      UserError: no such run, checkpoint or config; says which there are.
    """
    run = args.run_dir
    if args.checkpoint in ("best", "newest"):
        folder = run / "best" if args.checkpoint == "best" else run
        state = folder / "checkpoint"
        found = state.is_file() and re.search(r'^model_checkpoint_path: "(.*)"', state.read_text(), re.MULTILINE)
        if not found:
            raise UserError("{}: holds no {} checkpoint. {}".format(
                run, args.checkpoint, "Train first (step 06), or name the run with --run-dir." if newest(run) is None else
                "No evaluation has ended yet: name one with --checkpoint newest."))
        prefix = folder / pathlib.Path(found.group(1)).name
        if args.checkpoint == "best":
            print("best on validation: {}".format(json.loads((folder / "evaluation.json").read_text())))
    else:
        prefix = pathlib.Path(args.checkpoint)
        run = run if (run / CONFIG).is_file() and prefix.parent.resolve() == run.resolve() else prefix.parent
    if not pathlib.Path(str(prefix) + ".index").is_file():
        raise UserError("{}.index: no such file; expected the prefix of a checkpoint, such as {}/model.ckpt-1200, without .index, "
                        ".meta or .data.".format(prefix, run))
    config = next((folder / CONFIG for folder in (run, prefix.parent.parent) if (folder / CONFIG).is_file()), None)
    if config is None:
        raise UserError("{}: holds no {}; expected the config that the checkpoint was trained with, which step 06 puts there. Copy it "
                        "there.".format(run, CONFIG))
    return prefix, config


def newest(run):
    return next(iter(sorted(run.glob("model.ckpt-*.index"))), None)


def export(prefix, config, folder):
    """Runs export_inference_graph.py into ``folder``.

    Raises:
      UserError: it failed; the message holds the end of what it printed.
    """
    script = paths.OBJECT_DETECTION / "export_inference_graph.py"
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(
        [str(paths.RESEARCH), str(paths.RESEARCH / "slim")] + os.environ.get("PYTHONPATH", "").split(os.pathsep)).rstrip(os.pathsep))
    process = subprocess.run(
        [sys.executable, str(script), "--input_type=image_tensor", "--pipeline_config_path={}".format(config.resolve()),
         "--trained_checkpoint_prefix={}".format(prefix.resolve()), "--output_directory={}".format(folder)],
        cwd=str(paths.ROOT), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if process.returncode or not (folder / GRAPH).is_file():
        raise UserError("{}: cannot be exported with {} (status {}). Was the checkpoint trained with this config? "
                        "export_inference_graph.py said:\n\n{}".format(
                            prefix, config, process.returncode, "\n".join(process.stdout.splitlines()[-12:])))


def prove(graph):
    """Loads the frozen graph and runs it on a grey picture.

    Raises:
      UserError: it does not load or run.
    """
    import numpy as np
    from shelfdet import inference
    boxes_yxyx, scores, classes = inference.Detector(graph).detect(np.full((480, 640, 3), 127, dtype=np.uint8))
    if not len(boxes_yxyx) == len(scores) == len(classes) or not np.isfinite(scores).all():
        raise UserError("{}: runs, but gives {} boxes, {} scores and {} classes; expected as many of each, all finite.".format(
            graph, len(boxes_yxyx), len(scores), len(classes)))


if __name__ == "__main__":
    command.run(main)
