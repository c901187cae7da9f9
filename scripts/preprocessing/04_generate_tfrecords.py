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
from shelfdet.core import command_line, paths
from shelfdet.data import options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--annotations",
        **command_line.FOLDER,
        default=paths.ANNOTATIONS,
        help="where the label files are and the records go (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        default=paths.IMAGES,
        help="images, or a folder with train/, test/ and perhaps val/ (default: %(default)s)",
    )
    options.add_label_map(parser)
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=paths.SPLITS,
        default=paths.SPLITS,
        metavar="SPLIT",
        help="which to write (default: train val test)",
    )
    options.add_max_side(parser)
    options.add_exif(
        parser,
        "rotate images as their EXIF orientation says, for labels made in a viewer that does",
    )
    return parser.parse_args(argv)


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
