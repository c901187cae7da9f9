#!/usr/bin/env python
"""Step 04: label files and images to TFRecords.

Reads   workspace/training_demo/annotations/{train,val,test}_labels.csv (of step 02)
        workspace/training_demo/annotations/label_map.pbtxt
        workspace/training_demo/images: the images in train/, val/ and test/, in it or in its
        ShelfImages/
Writes  workspace/training_demo/annotations/{train,val,test}.record, which training/*.config name

Images whose longer side is over --max-side are shrunk with a good filter: the network's input is
smaller still, and large ones cost time and memory at every training step. Each record is read back
with object_detection's own decoder and compared, image by image and box by box, before it replaces
the old one.

    python scripts/preprocessing/04_generate_tfrecords.py
    python scripts/preprocessing/04_generate_tfrecords.py --max-side 0        # keep every pixel
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

# The package shelfdet is in scripts/.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import data
from shelfdet.core import command_line, paths


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--annotations",
        type=pathlib.Path,
        default=paths.ANNOTATIONS,
        metavar="FOLDER",
        help="where the label files are and the records go (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=paths.IMAGES,
        metavar="FOLDER",
        help="images, or a folder with train/, test/ and perhaps val/ (default: %(default)s)",
    )
    parser.add_argument(
        "--label-map",
        type=pathlib.Path,
        default=paths.LABEL_MAP,
        metavar="FILE",
        help="the classes (default: %(default)s)",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=paths.SPLITS,
        default=paths.SPLITS,
        metavar="SPLIT",
        help="which to write (default: train val test)",
    )
    parser.add_argument(
        "--max-side",
        type=int,
        default=data.MAX_SIDE,
        metavar="PIXELS",
        help="shrink longer images to this; 0 keeps all (default: %(default)s)",
    )
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: raw pixels, as TensorFlow decodes them (default). apply: rotate images as "
        "their EXIF orientation says, for labels made in a viewer that does",
    )
    args = parser.parse_args(argv)
    if args.max_side < 0:
        parser.error(f"--max-side {args.max_side}: expected 0 or more pixels")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import records

    written = records.write_records(
        args.annotations, args.images, args.splits, args.label_map, args.max_side, args.exif
    )
    for record in written:
        shrunk = f" ({record.shrunk} shrunk to {args.max_side} px)" if record.shrunk else ""
        print(
            f"{paths.shown(record.path)}: {record.images} images{shrunk}, {record.boxes} boxes, at "
            f"most {record.most_boxes} an image; read back and equal"
        )


if __name__ == "__main__":
    command_line.run(main)
