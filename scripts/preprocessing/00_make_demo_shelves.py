#!/usr/bin/env python
"""Step 00: draws a small synthetic shelf dataset, in the layout of the Grocery Dataset.

Reads   nothing
Writes  OUT/ShelfImages/train/*.JPG and OUT/ShelfImages/test/*.JPG, images of shelves with products
        that do not exist
        OUT/annotations.csv, without header: filename,xmin,ymin,xmax,ymax,brand
        OUT/SYNTHETIC.txt, which states that (and lets a second run replace what the first one drew)

Names follow C<camera>_P<planogram>_N<rank>_S<shelves>_<copy>.JPG; the copies of one shelf show the
same products in another photograph. Sizes vary, some images are upright, and one has EXIF
orientation 3 although its pixels are upright, as some of the real ones do. The same options draw
the same images, byte for byte.

    python scripts/preprocessing/00_make_demo_shelves.py --out /tmp/shelves --train 60 --test 16
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.text import counted


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--out",
        **command_line.FOLDER,
        default=paths.WORKSPACE / "demo" / "shelves",
        help="folder to draw into (default: %(default)s)",
    )
    command_line.add_positive(parser, "--train", 60, "number of training images")
    command_line.add_positive(parser, "--test", 16, "number of test images")
    command_line.add_seed(parser, "another seed draws other shelves")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import synthetic

    products = synthetic.write_dataset(args.out, args.train, args.test, args.seed)
    print(
        f"drew {args.train} train and {args.test} test images with "
        f"{counted(products, 'product')} in {paths.shown(args.out)}"
    )
    next_step.show(next_step.command("data", FROM=paths.shown(args.out)))


if __name__ == "__main__":
    command_line.run(main)
