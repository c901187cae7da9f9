#!/usr/bin/env python
"""Packs the environment that the workers of a Spark cluster need for step 12.

Reads   the Python 3.7 and the packages of .venv.
Writes  a .tar.gz file, about 400 MB, that Spark unpacks on each worker.

    python workspace/training_demo/evaluation/pack_environment.py --output environment.tar.gz
    python workspace/training_demo/evaluation/12_predict_spark.py --archive environment.tar.gz \\
        --master yarn --images hdfs:///photographs --output hdfs:///tables
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet.core import command_line, paths


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument("--output", **command_line.FILE, required=True, help="the archive")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.inference.spark import environment

    size = environment.pack(args.output)
    print(f"{paths.shown(args.output)}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    command_line.run(main)
