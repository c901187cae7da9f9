#!/usr/bin/env python
"""Benchmark of step 12 on Spark against step 08, on the same images and the same cores.

Reads   the images of SHELF_DATA (copies with a shorter side of 640 px), a folder in the Grocery
        Dataset's layout, if this environment variable is set; otherwise synthetic images;
        a frozen graph (step 07): the included one, unless another is named.
Writes  nothing that stays; prints a table.

    SHELF_DATA=folder python scripts/experiments/spark_benchmark.py --count 3000
    python scripts/experiments/spark_benchmark.py --count 200 --cores 1

Each step runs as a separate process, held to its cores; step 12 as local[cores]. The
two alternate, because a machine's speed changes. Seconds are of the clock, CPU seconds those of all
processes of a step, by which steps can be compared on a machine that does other work, too. Start-up
is a run with a few images; the last column is the CPU seconds of all further images, an image.
"""

import argparse
import os
import pathlib
import sys
import tempfile
from typing import Any, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from experiments.measurement import Usage, measure
from shelfdet import UserError
from shelfdet.core import command_line, paths

STEPS = {"08": "08_detect.py", "12": "12_predict_spark.py"}
FEW_IMAGES = 8  # of the run that measures the start-up
SIZE_WH = (853, 640)  # of synthetic images
COLUMNS = ("step", "cores", "images", "seconds", "CPU seconds", "start-up CPU s", "CPU s an image")


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--graph",
        **command_line.FOLDER,
        default=paths.SHIPPED_GRAPH,
        help="of a frozen graph (default: the included one)",
    )
    command_line.add_positive(parser, "--count", 3000, "images of a run")
    parser.add_argument(
        "--cores",
        type=command_line.positive,
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="numbers of cores to try (default: 1 2)",
    )
    args = parser.parse_args(argv)
    if args.count <= FEW_IMAGES:
        parser.error(f"--count {args.count}: expected more than {FEW_IMAGES}")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import benchmark_inputs, machine
    from shelfdet.core import parallel
    from shelfdet.inference.spark import java

    java.check()
    if max(args.cores) > parallel.workers():
        raise UserError(
            f"--cores {max(args.cores)}: this process may use {parallel.workers()}; expected at "
            "most that many."
        )
    print(machine.described())
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        dataset = os.environ.get("SHELF_DATA")
        if dataset:
            sources = benchmark_inputs.real_images(pathlib.Path(dataset))
        else:
            sources = benchmark_inputs.synthetic_images(folder / "synthetic", SIZE_WH)
        few = benchmark_inputs.link_images(folder / "few", sources, FEW_IMAGES)
        many = benchmark_inputs.link_images(folder / "many", sources, args.count)
        for cores in args.cores:
            started = {step: run(step, args.graph, few, cores, folder) for step in STEPS}
            done = {step: run(step, args.graph, many, cores, folder) for step in STEPS}
            for step in STEPS:
                print_row(step, cores, args.count, started[step], done[step])


def print_row(step: str, cores: int, count: int, few: Usage, many: Usage) -> None:
    an_image = (many.cpu_seconds - few.cpu_seconds) / (count - FEW_IMAGES)
    values = (many.seconds, many.cpu_seconds, few.cpu_seconds)
    shown = " | ".join(f"{value:.0f}" for value in values)
    print(f"| {step} | {cores} | {count} | {shown} | {an_image:.4f} |", flush=True)


def run(
    step: str, graph: pathlib.Path, images: pathlib.Path, cores: int, folder: pathlib.Path
) -> Usage:
    """Runs a step on whole images, on the first ``cores`` cores that this process may use."""
    target = folder / f"{step}-{cores}-{images.name}"
    options: List[Any] = ["--graph", graph, "--images", images, "--output", target, "--tiles", 1]
    if step == "12":
        options += ["--master", f"local[{cores}]"]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])  # which the step inherits
    try:
        return measure([paths.EVALUATION / STEPS[step]] + options)
    finally:
        os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    command_line.run(main)
