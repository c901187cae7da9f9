#!/usr/bin/env python
"""Writes a training config for your dataset, to be edited by hand.

Reads   the records, label files and label map of the dataset (`make data`)
Writes  workspace/training_demo/training/NAME.config

Input size, feature maps and anchors come from the boxes in the training record: of all networks
whose anchors, one per cell, cover the products best, the one of fewest operations. The number of
steps comes from --minutes: a few steps are trained, and timed. Every value has a comment.

    python scripts/training/write_config.py --config mine
    python scripts/training/write_config.py --dataset sku110k --minutes 30
"""

import argparse
import collections
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any, Deque, Iterable, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet import UserError
from shelfdet.core import command_line, files, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import options

TRAIN = pathlib.Path(__file__).with_name("06_train.py")
EVALUATION_SHARE = 0.1  # of the minutes, for evaluations on validation and for checkpoints
LEAST_STEPS = 100
# Shorter trainings see fewer images than several processes need to pay.
MINUTES_OF_SEVERAL = 20
STEPS_FACTOR = 4  # the chief begins alone, and logs its own steps only
LOG_LINES_SHOWN = 12
PROGRESS_LINE = re.compile(r"  (building the graph|training):")  # of step 06


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--config", metavar="NAME", help="name of the new config (default: that of the dataset)"
    )
    options.add_dataset(parser)
    command_line.add_positive(parser, "--minutes", 60, "of the training on this machine")
    parser.add_argument(
        "--steps",
        type=command_line.positive,
        metavar="N",
        help="length of the training, in place of --minutes: nothing is timed",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a config of this name, with your edits"
    )
    command_line.add_seed(parser, "of the search for anchors")
    args = parser.parse_args(argv)
    if args.config is None and args.dataset == paths.DEFAULT_DATASET:
        parser.error(
            f"name the config with {both('--config')}, or a dataset with {both('--dataset')}"
        )
    args.config = args.config or args.dataset
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.config import writing

    writing.check_name(args.config)
    target = paths.TRAINING / f"{args.config}.config"
    if target.exists() and not args.overwrite:
        raise UserError(
            f"{paths.shown(target)}: is already there; expected a new name, so that no edits are "
            f"lost. Give another {both('--config')}, or {both('--overwrite')}."
        )
    dataset = writing.read_dataset(args.dataset)
    network = writing.choose_network(dataset, args.seed)
    print("\n".join(writing.summary_lines(dataset, network)), flush=True)
    tiles_line = writing.tiles_line(dataset, network)
    if tiles_line:
        print(tiles_line, flush=True)
    if args.steps:
        num_steps, duration = args.steps, ""
    else:
        timed = time_training(args.config, dataset, network, writing, args.minutes)
        num_steps = steps_for(args.minutes, timed)
        minutes = counted(math.ceil(minutes_for(num_steps, timed)), "minute")
        duration = f"About {minutes} at {timed.step:.2f} s a step."
        minimum = " (the minimum)" if num_steps == LEAST_STEPS else ""
        print(f"{num_steps} steps{minimum} in about {minutes}: {timed.step:.2f} s a step")
    start = writing.START.name
    text = writing.config_text(args.config, dataset, network, num_steps, duration, start)
    files.write_text(target, text)
    print(f"written: {paths.shown(target)}")
    compared = next_step.command("eval", GRAPH=start, NAME=args.dataset, TILES="auto")
    print(f"how far the included detector gets without training: {compared}")
    next_step.show(next_step.command("train", CONFIG=args.config, START=start))


class Timed(NamedTuple):
    """Seconds of a training: of one step, and of all that comes before the first.

    images: of one step.
    """

    step: float
    start_up: float
    images: int


def time_training(name: str, dataset: Any, network: Any, writing: Any, minutes: int) -> Timed:
    """Times steps with as many processes as step 06 will choose for a training of ``minutes``.

    Args:
      name: of the config.
      dataset, network: as ``writing``, the module, takes them.
      minutes: of the training.
    """
    from shelfdet.training import workers

    is_long = minutes >= MINUTES_OF_SEVERAL
    processes = workers.choose(workers.LEAST_IMAGES) if is_long else 1
    timed = time_steps(name, dataset, network, writing, processes)
    if processes > 1 and workers.choose(steps_for(minutes, timed) * timed.images) == 1:
        print("too few images in this time for several processes to pay; again with one")
        timed = time_steps(name, dataset, network, writing, 1)
    return timed


def time_steps(name: str, dataset: Any, network: Any, writing: Any, processes: int) -> Timed:
    """Trains a few steps in a temporary folder with ``processes``, and times them."""
    from shelfdet.config import pipeline
    from shelfdet.training import run, timing

    steps = timing.STEPS_BEFORE + timing.STEPS_TIMED
    if processes > 1:
        steps *= STEPS_FACTOR
    print(f"timing {steps} steps of training; a minute or two", flush=True)
    with tempfile.TemporaryDirectory(prefix="timing-") as folder:
        config = pathlib.Path(folder) / f"{name}.config"
        config.write_text(writing.config_text(name, dataset, network, steps), encoding="utf-8")
        run_folder = pathlib.Path(folder) / "run"
        command = [sys.executable, str(TRAIN), "--config", str(config)]
        command += ["--workers", str(processes)]
        options = ["--run-dir", str(run_folder), "--eval-seconds", "1000000"]
        began = time.monotonic()
        status, output = run_and_show_progress(command + options)
        elapsed = time.monotonic() - began
        log = run_folder / run.LOG_FILE
        seconds = timing.seconds_per_step(log) if log.is_file() else None
        if status or seconds is None:
            raise UserError(
                f"{TRAIN.name}: failed while its steps were timed, with status {status}. Its "
                "output ended:\n" + "\n".join(output)
            )
        images = pipeline.read(config).train_config.batch_size
    return Timed(seconds, max(0.0, elapsed - steps * seconds), images)


def run_and_show_progress(command: List[str]) -> Tuple[int, Iterable[str]]:
    """Runs step 06, of whose output it prints how far the training is.

    Returns:
      (status, output): the exit status, and the last LOG_LINES_SHOWN lines.
    """
    last: Deque[str] = collections.deque(maxlen=LOG_LINES_SHOWN)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    ) as process:
        for line in process.stdout:
            last.append(line.rstrip("\n"))
            if PROGRESS_LINE.match(line):
                print(line, end="", flush=True)
    return process.returncode, last


def steps_for(minutes: int, timed: Timed) -> int:
    """The number of steps, in whole tens, that a training of ``minutes`` has time for."""
    possible = (minutes * 60 - timed.start_up) * (1 - EVALUATION_SHARE) / timed.step
    return max(LEAST_STEPS, int(possible // 10) * 10)


def minutes_for(steps: int, timed: Timed) -> float:
    """How long a training of so many steps takes, with its evaluations."""
    return (timed.start_up + steps * timed.step / (1 - EVALUATION_SHARE)) / 60


if __name__ == "__main__":
    command_line.run(main)
