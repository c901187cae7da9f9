#!/usr/bin/env python
"""Step 06: train with object_detection's own model_main.py, and show progress.

Reads   a training/*.config, and what it names: the records and the label map (paths from the
        repository root).
Writes  the run's folder (default: training/NAME-OF-THE-CONFIG/): checkpoints, event files for
        TensorBoard, pipeline.config (a copy of the config), trained_on.json (names of the images),
        train.log (all that model_main.py printed), evaluations.jsonl (COCO AP on validation) and
        best/ (the checkpoint with the highest).

The same command resumes from the last checkpoint, however the training ended. Shown are the loss,
steps/s, the time left and the latest validation AP; train.log holds the rest. Step 05, which `make
train` runs first, checks the config.

    python scripts/training/06_train.py
    python scripts/training/06_train.py --config mine.config --run-dir /data/runs/mine
    python scripts/training/06_train.py --config mine.config \\
        --start-from workspace/training_demo/trained-inference-graphs/ssd_inception_v2_shelf
"""

import argparse
import pathlib
import shlex
import sys
from typing import Any, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.training import options


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_run_options(parser)
    options.add_launcher_options(parser)
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from shelfdet.training import plan, run, run_lock, run_notes

    folder = options.run_folder(args.run_dir, args.config)
    settings = run.Settings(args.save_seconds, args.eval_seconds, args.seed)
    planned = plan.make_plan(args.config, folder, args.start_from)
    finished = planned.start is not None and planned.start >= planned.target
    if not finished:
        plan.check_files(planned)
    repaired = plan.repair(planned)
    if repaired:
        print(repaired)
    if finished:
        print_finished(planned)
        changes = plan.changes_after_training(planned)
        if changes:
            print(changes)
        next_step.show(run.export_command(folder))
        return
    changes = plan.changes(planned)
    if changes:
        print(changes)
    with run_lock.RunLock(folder):
        run_notes.write(folder, args.config, planned.config, planned.start is not None)
        print_start(planned, run.launcher_command(folder, planned.target, settings), run)
        run.train(folder, planned.start or 0, planned.target, settings)
    print(run.result(folder))
    next_step.show(run.export_command(folder))


def print_finished(planned: Any) -> None:
    """planned: a plan.Plan."""
    print(
        f"{paths.shown(planned.run)}: the newest checkpoint of this run is already at step "
        f"{planned.start} of {planned.target} (num_steps of {paths.shown(planned.config_path)}): "
        "nothing is left to train.\n"
        "To continue training, raise num_steps (and total_steps of a cosine schedule). To start "
        f"again, name another folder with {both('--run-dir')}."
    )


def print_start(planned: Any, command: Sequence[str], run: Any) -> None:
    """planned: a plan.Plan. run: the module, which is imported in ``main``."""
    verb = "training" if planned.start is None else "resuming"
    print(
        f"{verb} from step {planned.start or 0} to {planned.target} in {paths.shown(planned.run)}, "
        f"with {paths.shown(planned.config_path)}"
    )
    plain = ["python", paths.shown(run.MODEL_MAIN)] + run.model_main_flags(planned.run)
    print(f"  {' '.join(shlex.quote(word) for word in command)}")
    print(f"  (without the launcher: {' '.join(shlex.quote(word) for word in plain)})")


if __name__ == "__main__":
    command_line.run(main)
