#!/usr/bin/env python
"""Benchmark of steps 02 and 04 on many small images: how CPU time and memory grow with the number.

Reads   nothing: it makes different JPEGs of 64 x 64 px, four of five in train/, with 50 boxes each
Writes  nothing that stays; prints a table. 100,000 images take 1 GB of disk while it runs.

    python scripts/experiments/many_images.py --counts 1000 10000 100000

The images are small so that what is measured is the work on files and boxes, not the decoding of
photographs, which ``benchmarks.py`` measures. CPU seconds are those of all processes of a step, and
memory is the largest sum of theirs.
"""

import argparse
import csv
import pathlib
import sys
import tempfile
from typing import Dict, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet.core import command_line, paths

PREPROCESSING = paths.ROOT / "scripts" / "preprocessing"
SIDE = 64  # of an image, in pixels
PATTERN_SIDE = 8  # squares of random colour in a row: no two images are near-duplicates
BOXES = 50  # on each image
BOX_WH = (2, 3)
TEST_EVERY = 5  # the others are for training
COLUMNS = ("step", "images", "CPU s", "CPU ms an image", "peak memory, MiB")


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--counts",
        type=command_line.positive,
        nargs="+",
        default=[1000, 10000, 100000],
        metavar="N",
        help="numbers of images (default: 1000 10000 100000)",
    )
    args = parser.parse_args(argv)
    if min(args.counts) < 2 * TEST_EVERY:
        parser.error(f"--counts {min(args.counts)}: expected at least {2 * TEST_EVERY}")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import machine, measurement

    print(machine.described())
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for count in args.counts:
        with tempfile.TemporaryDirectory(prefix="many-images-") as name:
            folder = pathlib.Path(name)
            make_dataset(folder, count)
            for step, command in commands(folder).items():
                usage = measurement.measure(command)
                cells = [step, f"{count:,}", f"{usage.cpu_seconds:.0f}"]
                cells += [f"{1000 * usage.cpu_seconds / count:.1f}", f"{usage.peak_mib:.0f}"]
                print("| " + " | ".join(cells) + " |", flush=True)


def commands(folder: pathlib.Path) -> Dict[str, List[str]]:
    """Steps 02 and 04 on the images in ``folder``, with label files and records there, too."""
    images = ["--images", str(folder)]
    split = [str(PREPROCESSING / "02_split_annotations.py"), "--out", str(folder)]
    records = [str(PREPROCESSING / "04_generate_tfrecords.py"), "--annotations", str(folder)]
    return {
        "02 label files": split + images,
        "04 records": records + images + ["--label-map", str(paths.LABEL_MAP)],
    }


def make_dataset(folder: pathlib.Path, count: int) -> None:
    """Makes train/, test/ and annotations.csv in ``folder``."""
    import numpy as np
    from PIL import Image

    from shelfdet.data.formats import labels_csv

    random = np.random.RandomState(0)
    for split in ("train", "test"):
        (folder / split).mkdir()
    with open(str(folder / "annotations.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(labels_csv.LABEL_COLUMNS)
        for number in range(count):
            name = f"{number:07}.jpg"
            split = "train" if (number + 1) % TEST_EVERY else "test"
            pattern = random.randint(0, 256, (PATTERN_SIDE, PATTERN_SIDE, 3)).astype(np.uint8)
            image = Image.fromarray(pattern).resize((SIDE, SIDE), Image.NEAREST)
            image.save(str(folder / split / name), quality=80)
            free = SIDE - max(BOX_WH)
            # Different places, because equal boxes are read once.
            for place in random.choice(free * free, BOXES, replace=False):
                left, top = place % free, place // free
                box = [left, top, left + BOX_WH[0], top + BOX_WH[1]]
                writer.writerow([name, SIDE, SIDE, "product"] + box)


if __name__ == "__main__":
    command_line.run(main)
