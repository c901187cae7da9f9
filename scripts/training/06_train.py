#!/usr/bin/env python
"""Step 06: train with object_detection's own model_main.py, and show progress.

Reads   a training/*.config, and what it names: the records and the label map (paths from the
        repository root).
Writes  the run's folder (default: training/NAME-OF-THE-CONFIG/): checkpoints, event files for
        TensorBoard, pipeline.config (a copy of the config), trained_on.json (which images),
        train.log (all that model_main.py printed), evaluations.jsonl (COCO AP on validation) and
        best/ (the checkpoint with the highest).

The same command resumes from the last checkpoint, however the training ended. Shown are the loss,
steps/s, the time left and the latest validation AP; train.log holds the rest. Step 05, which `make
train` runs first, checks the config.

Several processes can train together, asynchronously: --workers 2 starts them on this machine, with
a parameter server and an evaluator. On several machines, TF_CONFIG gives each process its part; all
need the repository, the records and the run's folder at the same paths. The logs are worker_0.log
and so on in the run's folder.

    python scripts/training/06_train.py
    python scripts/training/06_train.py --workers 2
    python scripts/training/06_train.py --config mine.config --run-dir /data/runs/mine
    python scripts/training/06_train.py --config mine.config \\
        --start-from workspace/training_demo/trained-inference-graphs/ssd_inception_v2_shelf
"""

import argparse
import contextlib
import pathlib
import shlex
import sys
from typing import Any, Iterator, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet import UserError
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.training import options


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_run_options(parser)
    options.add_launcher_options(parser)
    parser.add_argument(
        "--workers",
        type=command_line.positive,
        metavar="N",
        help="processes that train side by side on this machine, each on its share of the cores "
        "(default: 2 where that was measured to pay, for a long training with Intel's TensorFlow "
        "on two cores or more and 12 GB; otherwise 1)",
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from shelfdet.training import cluster, cluster_run, run

    folder = options.run_folder(args.run_dir, args.config)
    settings = run.Settings(args.save_seconds, args.eval_seconds, args.seed)
    stated = cluster.from_environment()
    if stated is not None and (args.workers or 1) > 1:
        raise UserError(
            f"{both('--workers')}: found {args.workers}, but {cluster.VARIABLE} states a cluster; "
            f"expected one of both. Unset {cluster.VARIABLE}, or leave out {both('--workers')}."
        )
    member = None if stated is None else cluster_run.Member(*stated)
    if member is not None and member.task.kind != cluster.CHIEF:
        print(f"{member.task.name}: waiting for the chief at {member.cluster.chief}", flush=True)
        print(run.follow(folder, settings, member))
        return
    train(args, folder, settings, member)


def train(args: argparse.Namespace, folder: pathlib.Path, settings: Any, chief: Any) -> None:
    """Trains alone, or as the chief of several processes.

    Args:
      args: as ``parse`` returns them.
      folder: of the run.
      settings: a run.Settings.
      chief: a cluster_run.Member of a cluster that TF_CONFIG states, or None.
    """
    from shelfdet.training import plan, run, run_lock, run_notes, workers

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
    if args.workers is None:
        args.workers = workers.choose(plan.images_left(planned))
        if args.workers > 1:
            print(
                f"{args.workers} processes train side by side, which is faster here; "
                f"{both('--workers 1')} trains with one"
            )
    with run_lock.RunLock(folder):
        run_notes.write(folder, args.config, planned.config, planned.start is not None)
        print_start(planned, run.launcher_command(folder, planned.target, settings), run)
        with processes(args, folder, chief) as member:
            run.train(folder, planned.start or 0, planned.target, settings, member)
    print(run.result(folder))
    next_step.show(run.export_command(folder))


@contextlib.contextmanager
def processes(args: argparse.Namespace, folder: pathlib.Path, chief: Any) -> Iterator[Any]:
    """The other processes of the training; yields this process's part, None if it trains alone."""
    from shelfdet.training import cluster, cluster_run

    if chief is None and args.workers == 1:
        yield None
    elif chief is not None:
        with cluster_run.chief(folder, chief):
            yield chief
    else:
        servers = cluster.on_this_machine(args.workers)
        chief = cluster_run.Member(servers, servers.tasks()[0])
        common = ["--config", args.config, "--run-dir", folder, "--seed", args.seed]
        common += ["--save-seconds", args.save_seconds, "--eval-seconds", args.eval_seconds]
        with cluster_run.other_processes(folder, servers, [str(word) for word in common]):
            with cluster_run.chief(folder, chief):
                yield chief


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
