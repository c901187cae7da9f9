#!/usr/bin/env python
"""Runs object_detection's model_main.py, unchanged, with settings that it has no flag for.

Step 06 starts it.

Reads   the config and the run's folder that model_main.py's own flags name.
Writes  what model_main.py writes, and in the run's folder evaluations.jsonl, one line an
        evaluation, and best/, the checkpoint with the highest COCO AP on validation.

model_main.py saves every 600 s, evaluates at most every 600 s, logs every 100 steps and keeps no
best checkpoint, and has no flag for any of this. This script replaces tf.estimator's RunConfig and
EvalSpec by ones with other defaults and then runs model_main.py, without AutoGraph. Plain
model_main.py can resume what it started, and the reverse.

    python scripts/training/launcher.py --save-seconds 300 -- \\
        --model_dir=RUN --pipeline_config_path=CONFIG
"""

import argparse
import functools
import logging
import pathlib
import runpy
import sys
from typing import Any, Callable, Dict, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, parallel, paths
from shelfdet.training import best_checkpoint, options


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_launcher_options(parser)
    command_line.add_positive(parser, "--log-steps", 10, "between lines with the loss")
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="end when this process ends; it must be the one that starts this script",
    )
    parser.add_argument("model_main", nargs="+", metavar="-- FLAG", help="flags for model_main.py")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    if args.parent:
        # A second training in the folder would damage the checkpoints of this one.
        parallel.end_with_parent(args.parent)
    sys.path[:0] = [str(paths.RESEARCH), str(paths.RESEARCH / "slim")]
    import tensorflow as tf

    # absl, which TensorFlow imports, would otherwise print every line a second time.
    logging.getLogger("tensorflow").propagate = False
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    tf.estimator.RunConfig = functools.partial(
        tf.estimator.RunConfig,
        save_checkpoints_secs=args.save_seconds,
        save_summary_steps=max(10, args.log_steps),
        log_step_count_steps=args.log_steps,
        tf_random_seed=args.seed,
    )
    tf.estimator.EvalSpec = with_best_checkpoint(tf, args.eval_seconds)
    sys.argv = ["model_main.py"] + args.model_main
    # object_detection builds its conditions and loops with TensorFlow's own operations. AutoGraph
    # would still convert its source at each start, which takes longer than building the graph.
    run = tf.autograph.experimental.do_not_convert(runpy.run_path)
    run(str(paths.OBJECT_DETECTION / "model_main.py"), run_name="__main__")


def with_best_checkpoint(tf: Any, eval_seconds: int) -> Callable[..., Any]:
    """A tf.estimator.EvalSpec with this interval, which keeps the best checkpoint."""
    eval_spec = tf.estimator.EvalSpec

    class BestCheckpoint(tf.estimator.Exporter):
        """The estimator calls it after each evaluation, before it can remove the checkpoint."""

        name = "best"

        def export(
            self,
            estimator: Any,
            export_path: str,
            checkpoint_path: str,
            eval_result: Dict[str, Any],
            is_the_final_export: bool,
        ) -> None:
            best_checkpoint.keep_best(
                pathlib.Path(estimator.model_dir), pathlib.Path(checkpoint_path), eval_result
            )

    def make_eval_spec(*args: Any, **kwargs: Any) -> Any:
        kwargs.update(exporters=BestCheckpoint(), throttle_secs=eval_seconds, start_delay_secs=0)
        return eval_spec(*args, **kwargs)

    return make_eval_spec


if __name__ == "__main__":
    command_line.run(main)
