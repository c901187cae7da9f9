#!/usr/bin/env python
"""Runs a graph alone on images that are decoded before, for the benchmarks.

Reads   a frozen graph (step 07), for other runtimes what step 11 made of it, and a folder of images
Writes  nothing

    python scripts/experiments/graph_speed.py my/graph images --count 100 --runtime openvino
"""

import argparse
import concurrent.futures
import itertools
import pathlib
import sys
from typing import Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet.core import command_line, parallel, paths
from shelfdet.inference import RUNTIMES, TENSORFLOW


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument("graph", type=pathlib.Path, help="folder of a frozen graph")
    parser.add_argument("images", type=pathlib.Path, help="folder of images")
    command_line.add_positive(parser, "--count", 100, "times that the graph runs, on each in turn")
    parser.add_argument("--runtime", choices=RUNTIMES, default=TENSORFLOW)
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import images
    from shelfdet.inference import runtimes

    found = images.list_images(args.images)
    pixels = [images.load(path, images.MAX_SIDE).pixels for path in found]
    detector = runtimes.load(args.runtime, args.graph / paths.GRAPH_FILE, parallel.workers())
    turns = itertools.islice(itertools.cycle(pixels), args.count)
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        for _ in pool.map(detector.detect, turns):
            pass


if __name__ == "__main__":
    command_line.run(main)
