#!/usr/bin/env python
"""Step 00: draws a small synthetic shelf dataset, in the exact layout of the Grocery Dataset.

Reads   nothing.
Writes  OUT/ShelfImages/train/*.JPG and OUT/ShelfImages/test/*.JPG, photographs of shelves with packs that do not exist
        OUT/annotations.csv, without header: filename,xmin,ymin,xmax,ymax,brand
        OUT/SYNTHETIC.txt, which says so (and lets a second run replace what the first one drew)

Names follow C<camera>_P<planogram>_N<rank>_S<shelves>_<copy>.JPG; the copies of one shelf show the same packs in another
photograph. Sizes vary, some images stand upright, and one carries EXIF orientation 3 over upright pixels, as some of the
real ones do. The same options draw the same images, byte for byte.

    python scripts/preprocessing/00_make_demo_shelves.py --out /tmp/shelves --train 60 --test 16
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

NOTE = "Drawn by scripts/preprocessing/00_make_demo_shelves.py (seed {}): no photographs, no real products.\n"


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.WORKSPACE / "demo" / "shelves",
        help="folder to draw into (default: %(default)s)",
    )
    parser.add_argument(
        "--train", type=int, default=60, help="number of training images (default: %(default)s)"
    )
    parser.add_argument(
        "--test", type=int, default=16, help="number of test images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="another seed draws other shelves (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    for option, count in (("--train", args.train), ("--test", args.test)):
        if count < 1:
            parser.error(f"{option} {count}: expected at least 1 image")
    return args


def main(argv=None):
    args = parse(argv)
    make_room(args.out)
    from tqdm import tqdm

    from shelfdet.data import synthetic

    photos = synthetic.plan(args.train, args.test, args.seed)
    flagged = synthetic.flagged(photos)
    files.write_text(args.out / "SYNTHETIC.txt", NOTE.format(args.seed))
    rows = []
    with files.replacing(args.out / "ShelfImages") as folder:
        for split, photo in tqdm(photos, desc="drawing", unit=" images", disable=None):
            (folder / split).mkdir(parents=True, exist_ok=True)
            image, boxes_xyxy, brands = synthetic.draw(photo, args.seed)
            synthetic.save(image, folder / split / photo.name, upside_down=photo is flagged)
            rows += [
                "{},{},{},{},{},{}".format(photo.name, *box, brand)
                for box, brand in zip(boxes_xyxy.tolist(), brands)
            ]
    files.write_text(args.out / "annotations.csv", "\n".join(rows) + "\n")
    print(
        f"drew {args.train} train and {args.test} test images with {len(rows)} products in {paths.shown(args.out)}"
    )


def make_room(out):
    """Refuses to draw over anything but what an earlier run drew."""
    if out.exists() and not out.is_dir():
        raise UserError(
            f"{out}: is a file; expected a folder to draw into. Name another with --out."
        )
    there = [name for name in ("ShelfImages", "annotations.csv") if (out / name).exists()]
    if there and not (out / "SYNTHETIC.txt").exists():
        raise UserError(
            f"{out}: holds {' and '.join(there)} that this step did not draw (no SYNTHETIC.txt beside it); it is left as it is. Name another folder with --out."
        )


if __name__ == "__main__":
    command_line.run(main)
