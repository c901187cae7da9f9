#!/usr/bin/env python
"""Benchmarks: run time and memory of steps 04, 08 and 09, and images/s of the graphs alone.

`make bench` runs it.

Reads   the images of SHELF_DATA (copies with a shorter side of 640 px) and of SHELF_DATA_ORIGINAL
        (full size), folders in the Grocery Dataset's layout, where these environment variables are
        set; otherwise synthetic images of the same sizes;
        frozen graphs (step 07): the included ones, unless others are named.
Writes  nothing that stays; prints a table.

Each step runs as a separate process, as a user runs it. Its start-up is the time for one image;
images/s is the rate for all further ones. Memory is the resident memory of the whole process tree,
sampled every 50 ms (from Linux's /proc; pages that processes share count once in each); the largest
sum is printed. A graph alone is timed on images that are decoded and shrunk before, as step 08 does
it.

    python scripts/experiments/benchmarks.py
    python scripts/experiments/benchmarks.py --only score
    python scripts/experiments/benchmarks.py --only graph --graphs my/graph
"""

import argparse
import os
import pathlib
import sys
import tempfile
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet.core import command_line, paths

RECORDS = paths.ROOT / "scripts" / "preprocessing" / "04_generate_tfrecords.py"
DETECT = paths.EVALUATION / "08_detect.py"
SCORE = paths.EVALUATION / "09_score.py"
PARTS = ("records", "detect", "graph", "score")
# (name, environment variable of the dataset, size of the synthetic images)
SOURCES = (("640 px", "SHELF_DATA", (853, 640)), ("full size", "SHELF_DATA_ORIGINAL", (3264, 2448)))
GRAPH_IMAGES = 40
COLUMNS = (
    "step",
    "images",
    "number",
    "seconds",
    "start-up seconds",
    "images/s",
    "peak memory, MiB",
)


class Row(NamedTuple):
    """One line of the table; None where something is not measured."""

    step: str
    images: str
    number: int
    seconds: Optional[float]
    start_up_seconds: Optional[float]
    images_per_second: Optional[float]
    peak_mib: Optional[float]


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--graphs",
        **command_line.FOLDER,
        nargs="+",
        default=list(paths.SHIPPED_GRAPHS),
        help="of frozen graphs (default: the included ones)",
    )
    command_line.add_positive(parser, "--count", 300, "images of a run")
    command_line.add_positive(parser, "--scored", 10000, "images to score, with 50 boxes each")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"of {', '.join(PARTS)}",
    )
    args = parser.parse_args(argv)
    if args.count < 2:
        parser.error(f"--count {args.count}: expected at least 2, since the first is start-up")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import machine

    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        if set(args.only) - {"score"}:
            for source, variable, size_wh in SOURCES:
                source_folder = folder / source.replace(" ", "-")
                source_folder.mkdir()
                dataset = os.environ.get(variable)
                rows += bench_source(args, source_folder, source, dataset, size_wh)
        if "score" in args.only:
            rows.append(bench_score(folder / "score", args.scored))
    print(machine.described())
    print_table(rows)


def bench_source(
    args: argparse.Namespace,
    folder: pathlib.Path,
    source: str,
    dataset: Optional[str],
    size_wh: Tuple[int, int],
) -> List[Row]:
    """The rows of steps 04 and 08 and of the graphs, on images of one size.

    Args:
      args: the command line's options.
      folder: an empty folder for what the steps read and write.
      source: name of the images.
      dataset: folder of the images; None for synthetic ones.
      size_wh: size of the synthetic images.
    """
    from experiments import benchmark_inputs

    if dataset:
        image_paths = benchmark_inputs.real_images(pathlib.Path(dataset))
    else:
        image_paths = benchmark_inputs.synthetic_images(folder / "synthetic", size_wh)
        source += ", synthetic"
    every = benchmark_inputs.link_images(folder / "all", image_paths, args.count)
    one = benchmark_inputs.link_images(folder / "one", image_paths, 1)
    rows = []
    if "records" in args.only:
        commands = [records_command(images) for images in (every, one)]
        rows.append(bench_step("04 records", source, args.count, *commands))
    if "detect" in args.only:
        for graph in args.graphs:
            commands = [detect_command(graph, images) for images in (every, one)]
            rows.append(bench_step(f"08 detect, {graph.name}", source, args.count, *commands))
    if "graph" in args.only:
        rows += bench_graphs(args.graphs, source, image_paths)
    return rows


def records_command(images: pathlib.Path) -> List[Any]:
    return [RECORDS, "--annotations", images, "--images", images, "--splits", "test"]


def detect_command(graph: pathlib.Path, images: pathlib.Path) -> List[Any]:
    options = ["--graph", graph, "--labels", images / "test_labels.csv", "--images", images]
    return [DETECT] + options + ["--output", images / "test_detections.json"]


def bench_graphs(
    graphs: Sequence[pathlib.Path], source: str, image_paths: Sequence[pathlib.Path]
) -> List[Row]:
    """The rows of the graphs alone."""
    from experiments import measurement
    from shelfdet.data import images

    pixels = [images.load(path, images.MAX_SIDE).pixels for path in image_paths[:GRAPH_IMAGES]]
    rates = measurement.images_per_second([graph / paths.GRAPH_FILE for graph in graphs], pixels)
    return [
        Row(f"graph alone, {graph.name}", source, len(pixels), None, None, rate, None)
        for graph, rate in zip(graphs, rates)
    ]


def bench_score(folder: pathlib.Path, count: int) -> Row:
    """The row of step 09, on synthetic boxes."""
    from experiments import benchmark_inputs

    every = benchmark_inputs.write_scored(folder / "all", count)
    one = benchmark_inputs.write_scored(folder / "one", 1)
    boxes = benchmark_inputs.SCORED_BOXES_PER_IMAGE
    source = f"{boxes} boxes and {boxes} detections each"
    return bench_step("09 score", source, count, score_command(every), score_command(one))


def score_command(folder: pathlib.Path) -> List[Any]:
    truth = ["--ground-truth", folder / "labels.csv", "--ground-truth-format", "csv"]
    found = ["--detections", folder / "detections.json", "--threshold", "0.5"]
    return [SCORE] + truth + found + ["--output", folder / "metrics.json"]


def bench_step(
    step: str, source: str, count: int, command_all: List[Any], command_one: List[Any]
) -> Row:
    """The row of a step, from a run over ``count`` images and one over a single image."""
    from experiments import measurement

    start_up = measurement.measure(command_one)
    full = measurement.measure(command_all)
    further_seconds = full.seconds - start_up.seconds
    rate = (count - 1) / further_seconds if further_seconds > 0 else None
    return Row(step, source, count, full.seconds, start_up.seconds, rate, full.peak_mib)


def print_table(rows: Sequence[Row]) -> None:
    print("\n| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for row in rows:
        cells = [row.step, row.images, str(row.number)]
        for value in (row.seconds, row.start_up_seconds, row.images_per_second):
            cells.append("-" if value is None else f"{value:.1f}")
        cells.append("-" if row.peak_mib is None else f"{row.peak_mib:.0f}")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    command_line.run(main)
