"""Options of several scripts about a training: its config, its folder, and how it runs."""

import argparse
import pathlib
from typing import Optional

from shelfdet.core import command_line, paths


def add_config(parser: argparse.ArgumentParser) -> None:
    """The training config."""
    parser.add_argument(
        "--config",
        **command_line.FILE,
        default=paths.DEFAULT_CONFIG,
        help="of the training (default: %(default)s)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What step 06 trains, where, and from which weights; step 05 checks the same."""
    add_config(parser)
    parser.add_argument(
        "--run-dir",
        **command_line.FOLDER,
        help="checkpoints and logs of the training (default: "
        f"{paths.shown(paths.TRAINING)}/NAME-OF-THE-CONFIG)",
    )
    parser.add_argument(
        "--start-from",
        **command_line.PATH,
        help="start with the weights of a graph's folder (step 07) or of a checkpoint's prefix, in "
        "place of those that the config names",
    )


def run_folder(run_dir: Optional[pathlib.Path], config: pathlib.Path) -> pathlib.Path:
    """The absolute folder of the options --run-dir and --config."""
    return (run_dir or paths.TRAINING / config.stem).resolve()


def add_launcher_options(parser: argparse.ArgumentParser) -> None:
    """What step 06 passes on to launcher.py."""
    command_line.add_positive(
        parser,
        "--save-seconds",
        300,
        "between checkpoints: as much work is lost if the process is killed",
        unit="S",
    )
    command_line.add_positive(
        parser,
        "--eval-seconds",
        600,
        "at least, between evaluations on validation; with several processes every checkpoint is "
        "evaluated",
        unit="S",
    )
    command_line.add_seed(
        parser,
        "of initial weights and augmentation; two runs still differ a little, because threads "
        "finish in any order",
    )
