#!/usr/bin/env python
"""Benchmarks: speed and memory of steps 04, 06, 08 and 09 and of the graphs, in every runtime.

`make bench` runs it.

Reads   the images of SHELF_DATA (copies with a shorter side of 640 px) and of SHELF_DATA_ORIGINAL
        (full size), folders in the Grocery Dataset's layout, where these environment variables are
        set; otherwise synthetic images of the same sizes;
        frozen graphs (step 07): ssd_inception_v2_shelf and the fast one, unless others are named,
        and what step 11 made of them.
Writes  nothing that stays; prints a table.

Each step runs as a separate process, as a user runs it, with few images and with many: what the
second run needs beyond the first is the step's own, the first is its start-up. All variants of a
step run in turn, again in every round. Speed-up compares CPU seconds with those of the first
variant in the same round: it means the same on a machine that does other work, which images/s do
not. Printed are medians over the rounds. Memory is the resident memory of all processes of the
step (from Linux's /proc; pages that processes share count once in each).

    python scripts/experiments/benchmarks.py
    python scripts/experiments/benchmarks.py --only detect --graphs my/graph
    python scripts/experiments/benchmarks.py --reference /another/clone/.venv/bin/python

With --reference, the first variant is TensorFlow as that Python has it: the stock build, after
`make setup CPU=stock` in another clone.
"""

import argparse
import os
import pathlib
import sys
import tempfile
from typing import Any, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet.core import command_line, paths

PARTS = ("records", "train", "graph", "detect", "score")
# (name, environment variable of the dataset, size of the synthetic images)
SOURCES = (("640 px", "SHELF_DATA", (853, 640)), ("full size", "SHELF_DATA_ORIGINAL", (3264, 2448)))
COLUMNS = (
    "step",
    "images",
    "variant",
    "images/s",
    "CPU ms an image",
    "speed-up",
    "start-up, CPU s",
    "peak memory, MiB",
)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--graphs",
        **command_line.FOLDER,
        nargs="+",
        default=[paths.SHIPPED_GRAPH, paths.SHIPPED_FAST_GRAPH],
        help="of frozen graphs (default: ssd_inception_v2_shelf and ssd_inception_v2_shelf_fast)",
    )
    parser.add_argument(
        "--reference",
        **command_line.FILE,
        help="another Python 3.7, whose TensorFlow is the first variant",
    )
    command_line.add_positive(parser, "--count", 120, "images of a run")
    command_line.add_positive(parser, "--steps", 40, "training steps of a run")
    command_line.add_positive(parser, "--scored", 10000, "images to score, with 50 boxes each")
    command_line.add_positive(parser, "--rounds", 3, "in each of which every variant runs once")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"of {', '.join(PARTS)}",
    )
    args = parser.parse_args(argv)
    for option, least in (("count", 2), ("scored", 2), ("steps", 6)):
        if getattr(args, option) < least:
            parser.error(
                f"--{option} {getattr(args, option)}: expected at least {least}, since fewer are "
                "start-up"
            )
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import benchmark_variants, machine

    print(machine.described())
    variants = benchmark_variants.Variants(args.graphs, args.reference)
    for problem in variants.not_measured:
        print(f"not measured: {problem}")
    print("\n| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        if set(args.only) - {"score"}:
            for source, variable, size_wh in SOURCES:
                dataset = os.environ.get(variable)
                data = benchmark_variants.Data(folder / variable, dataset, size_wh)
                bench_images(args, source if dataset else f"{source}, synthetic", data, variants)
        if "score" in args.only:
            shown = "50 boxes, 50 detections"
            bench("09 score", shown, [variants.score(folder)], 1, args.scored, args.rounds)


def bench_images(args: argparse.Namespace, source: str, data: Any, variants: Any) -> None:
    """The rows of the steps that read images of one size.

    Args:
      args: the command line's options.
      source: name of the images.
      data: benchmark_variants.Data, the images.
      variants: benchmark_variants.Variants, what is measured.
    """
    if "records" in args.only:
        bench("04 records", source, [variants.records(data)], 1, args.count, args.rounds)
    if "train" in args.only:
        # Compiling the network and filling the shuffle buffer are start-up.
        few = variants.batch_size * (args.steps // 5)
        many = variants.batch_size * args.steps
        bench("06 train", source, variants.train(data, args.count), few, many, args.rounds)
    for graph in args.graphs:
        name = graph.name.replace("ssd_inception_v2_", "")
        if "graph" in args.only:
            alone = variants.graph_alone(data, graph)
            bench(f"{name} alone", source, alone, 8, args.count, args.rounds)
        if "detect" in args.only:
            bench(f"08, {name}", source, variants.detect(data, graph), 1, args.count, args.rounds)


def bench(step: str, source: str, variants: List[Any], few: int, many: int, rounds: int) -> None:
    """Measures the variants of a step and prints their rows."""
    from experiments import measurement

    for result in measurement.compare(variants, few, many, rounds):
        cells = [step, source, result.name]
        cells.append(f"{1 / result.seconds_per_image:.1f}" if result.seconds_per_image > 0 else "-")
        cells.append(f"{1000 * result.cpu_seconds_per_image:.1f}")
        cells.append(f"{result.speed_up:.2f}")
        cells += [f"{result.start_up:.1f}", f"{result.peak_mib:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    command_line.run(main)
