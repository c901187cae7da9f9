#!/usr/bin/env python
"""Runs models/research/object_detection/model_main.py unchanged, with what it has no flag for. Step 06 starts it.

model_main.py saves every 600 s, evaluates at most every 600 s, logs every 100 steps and keeps no best checkpoint, and none of
this can be set from outside. Here tf.estimator's RunConfig and EvalSpec are replaced by ones with other defaults, and then
model_main.py runs as it stands. Started by hand, it resumes and is resumed by plain model_main.py on the same folder.

    python scripts/training/launcher.py --save-seconds 300 -- --model_dir=RUN --pipeline_config_path=CONFIG

In RUN it adds evaluations.jsonl, one line an evaluation, and best/, the checkpoint with the highest COCO AP on validation.
"""

import argparse
import ctypes
import functools
import json
import logging
import os
import pathlib
import runpy
import shutil
import signal
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet.core import files, paths

METRICS = {
    "AP": "DetectionBoxes_Precision/mAP",
    "AP50": "DetectionBoxes_Precision/mAP@.50IOU",
    "AP75": "DetectionBoxes_Precision/mAP@.75IOU",
}


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--save-seconds", type=int, default=300, help="between checkpoints (default: %(default)s)"
    )
    parser.add_argument(
        "--eval-seconds",
        type=int,
        default=600,
        help="at least, between evaluations on validation (default: %(default)s)",
    )
    parser.add_argument(
        "--log-steps",
        type=int,
        default=10,
        help="between lines with the loss (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of initial weights and augmentation (default: %(default)s)",
    )
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="end with this process, which must be the one that starts this one",
    )
    parser.add_argument("model_main", nargs="+", metavar="-- FLAG", help="flags for model_main.py")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.parent:
        end_with(args.parent)
    sys.path[:0] = [str(paths.RESEARCH), str(paths.RESEARCH / "slim")]
    import tensorflow as tf

    logging.getLogger("tensorflow").propagate = False  # else absl prints every line a second time
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    tf.estimator.RunConfig = functools.partial(
        tf.estimator.RunConfig,
        save_checkpoints_secs=args.save_seconds,
        save_summary_steps=max(10, args.log_steps),
        log_step_count_steps=args.log_steps,
        tf_random_seed=args.seed,
    )
    tf.estimator.EvalSpec = with_best_checkpoint(tf, tf.estimator.EvalSpec, args.eval_seconds)
    sys.argv = ["model_main.py"] + args.model_main
    runpy.run_path(str(paths.OBJECT_DETECTION / "model_main.py"), run_name="__main__")


def with_best_checkpoint(tf, eval_spec, eval_seconds):
    """tf.estimator.EvalSpec, evaluating as often as asked and keeping the best checkpoint in place of a SavedModel."""

    class BestCheckpoint(tf.estimator.Exporter):
        """Called by the estimator after each evaluation, while the checkpoint is surely there."""

        name = "best"

        def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
            keep_best(pathlib.Path(estimator.model_dir), pathlib.Path(checkpoint_path), eval_result)

    def make(*args, **kwargs):
        kwargs.update(exporters=BestCheckpoint(), throttle_secs=eval_seconds, start_delay_secs=0)
        return eval_spec(*args, **kwargs)

    return make


def keep_best(run, checkpoint, eval_result):
    """Logs one evaluation, and copies its checkpoint to ``run``/best if none had as high an AP.

    Args:
      run: the run's folder.
      checkpoint: prefix of the checkpoint's files, .../model.ckpt-STEP.
      eval_result: dict of metric name to value, from the estimator.
    """
    if METRICS["AP"] not in eval_result:
        sys.exit(
            "eval_config.metrics_set: gave no COCO AP; expected coco_detection_metrics, by which the best checkpoint is chosen. "
            'Write metrics_set: "coco_detection_metrics".'
        )
    result = {"step": int(eval_result["global_step"])}
    result.update((name, round(float(eval_result[key]), 5)) for name, key in METRICS.items())
    with open(str(run / "evaluations.jsonl"), "a") as file:
        file.write(json.dumps(result) + "\n")
    best = files.settled(run / "best")
    kept = best / "evaluation.json"
    if kept.exists() and json.loads(kept.read_text())["AP"] >= result["AP"]:
        return
    with files.replacing(best) as partial:
        partial.mkdir()
        for path in checkpoint.parent.glob(checkpoint.name + ".*"):
            shutil.copy2(str(path), str(partial))
        (partial / "checkpoint").write_text(f'model_checkpoint_path: "{checkpoint.name}"\n')
        (partial / "evaluation.json").write_text(json.dumps(result) + "\n")


def end_with(parent):
    """Has the kernel end this process when step 06 is killed: two trainings in one folder would spoil each other."""
    if sys.platform.startswith("linux"):
        parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            sys.exit("the starting process is gone")


if __name__ == "__main__":
    main()
