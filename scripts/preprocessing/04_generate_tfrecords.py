#!/usr/bin/env python
r"""Step 04: label files and images to TFRecords.

Reads   workspace/training_demo/annotations/{train,val,test}_labels.csv (of step 02)
        the label map: classes.pbtxt beside the label files, if step 02 has kept classes; otherwise
        workspace/training_demo/annotations/label_map.pbtxt, which has one
        workspace/training_demo/images: the images in train/, val/ and test/, in it or in its
        ShelfImages/
Writes  workspace/training_demo/annotations/{train,val,test}.record, which training/*.config name,
        each one file or, of more than 10,000 examples, shards: train.record-00000-of-00010

Images whose longer side is over --max-side are shrunk with a good filter: the network's input is
smaller still, and large ones cost time and memory at every training step. Each record is read back
with object_detection's own decoder and compared, image by image and box by box, before it replaces
the old one.

Products that are small in the whole image can be trained on in overlapping tiles: --tiles 2 writes
2 x 2 tiles of each training and validation image; --product-scale chooses the number of tiles of
each image so that its products have the scale of the config's anchors, and with
--product-aspect-ratio their shape, too. A product that a tile's border cuts is labelled with its
part in the tile if that is at least half of its box; otherwise it is written with weight 0, so that
training takes it neither for a product nor for background. Test images stay whole.

A large record is divided into shards, each with a random part of the images and written by a
process of its own. A run that was killed does not write again what it had completed. Training reads
shards as one record, by the input_path that this step prints.

    python scripts/preprocessing/04_generate_tfrecords.py
    python scripts/preprocessing/04_generate_tfrecords.py --max-side 0        # keep every pixel
    python scripts/preprocessing/04_generate_tfrecords.py --tiles 1,2         # whole, and 2 x 2
    python scripts/preprocessing/04_generate_tfrecords.py --product-scale 0.1 \
        --product-aspect-ratio 0.657                                          # of the anchors
    python scripts/preprocessing/04_generate_tfrecords.py --shards 10         # of each record
"""

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import options

if TYPE_CHECKING:  # it loads NumPy and Pillow
    from shelfdet.data import record_writing

SHOWN_GRIDS = 5  # kinds of grids in the line of a record


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--annotations",
        **command_line.FOLDER,
        help=f"where the label files are and the records go (default: {paths.ANNOTATIONS}, or the "
        "folder of --dataset in it)",
    )
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        help="images, or a folder with train/, test/ and perhaps val/ (default: "
        f"{paths.IMAGES}, or the folder of --dataset in it)",
    )
    options.add_dataset(parser)
    options.add_label_map(parser, f"{paths.CLASSES_FILE} beside the label files")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=paths.SPLITS,
        default=paths.SPLITS,
        metavar="SPLIT",
        help="which to write (default: train val test)",
    )
    options.add_max_side(parser)
    add_tile_options(parser)
    parser.add_argument(
        "--shards",
        type=command_line.positive,
        default=0,
        metavar="N",
        help="divide each record into N files; 1 is a single file (default: by the number of "
        "examples)",
    )
    options.add_exif(
        parser,
        "rotate images as their EXIF orientation says, for labels made in a viewer that does",
    )
    parser.add_argument(
        "--check-options",
        action="store_true",
        help="check the options and end; `make data` does it before step 01 reads all images",
    )
    args = parser.parse_args(argv)
    if args.product_aspect_ratio and not args.product_scale:
        parser.error(f"{both('--product-aspect-ratio')} needs {both('--product-scale')}")
    args.annotations = args.annotations or paths.dataset_annotations(args.dataset)
    args.images = args.images or paths.dataset_images(args.dataset)
    args.label_map = args.label_map or paths.dataset_label_map(args.annotations)
    return args


def add_tile_options(parser: argparse.ArgumentParser) -> None:
    """Whether and how training and validation images are divided."""
    division = parser.add_mutually_exclusive_group()
    division.add_argument(
        "--tiles",
        type=tile_counts,
        default=(1,),
        metavar="N[,N]",
        help="write N x N overlapping tiles of each training and validation image; of several "
        "numbers each, and 1 is the whole image (default: 1)",
    )
    division.add_argument(
        "--product-scale",
        type=command_line.share,
        metavar="SCALE",
        help="give each of these images the number of tiles in which its median product comes "
        "nearest to this scale: the square root of its share of the area, as `scales` of the "
        "config's anchors",
    )
    parser.add_argument(
        "--product-aspect-ratio",
        type=command_line.aspect_ratio,
        metavar="RATIO",
        help="with --product-scale, choose the numbers of columns and rows so that the median "
        "product also comes nearest to this width / height, both as shares of the tile's; in a "
        "network with a square input it is `aspect_ratios` of the config's anchors (default: as "
        "many columns as rows)",
    )
    parser.add_argument(
        "--empty-images",
        choices=("refuse", "leave-out", "keep"),
        default="leave-out",
        help="keep: tiles without a product are examples of background; otherwise they are left "
        "out, since products in them may only lack a label (default: %(default)s)",
    )


def tile_counts(text: str) -> Tuple[int, ...]:
    """Numbers of tiles in a row: (1, 2) from "1,2"."""
    counts = tuple(command_line.positive(part.strip()) for part in text.split(","))
    if len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected each number once")
    return counts


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    if args.check_options:
        return
    from shelfdet.data import examples, record_writing

    written = record_writing.write_records(
        args.annotations,
        args.images,
        args.splits,
        args.label_map,
        args.max_side,
        args.exif,
        examples.Tiling(
            args.tiles,
            args.product_scale,
            args.product_aspect_ratio,
            args.empty_images == "keep",
        ),
        "" if args.dataset == paths.DEFAULT_DATASET else args.dataset,
        args.shards,
    )
    for record in written:
        print(f"{paths.shown(record.path)}: {description(record, args.max_side)}")
    if args.product_scale and not any(record.stored.tiles for record in written):
        print(
            f"{both(f'--product-scale {args.product_scale:g}')}: no image is divided, for products "
            "are nearer to this scale in whole images than in any tiles; a larger scale divides "
            "more"
        )
    for record in written:
        if record.shards > 1 and record.path.name.startswith(("train", "val")):
            print(f'for the config: input_path: "{paths.shown(record.path)}"')
    dropped = ["EMPTY_IMAGES", "PRODUCT_SCALE", "PRODUCT_ASPECT_RATIO"]
    if next_step.lacks_config(args.dataset):
        next_step.show(next_step.after(argv, "config", dropped + ["EXIF", "TILES"]))
        return
    if args.dataset != paths.DEFAULT_DATASET:
        dropped += ["EXIF", "TILES", "NAME"]
        next_step.show(next_step.after(argv, "train", dropped, CONFIG=args.dataset))
        return
    if len(args.tiles) > 1:
        dropped.append("TILES")  # step 03 measures one number of tiles
    next_step.show(next_step.after(argv, "anchors", dropped))


def description(record: "record_writing.Written", max_side: int) -> str:
    """What a record holds, in a line."""
    stored = record.stored
    shrunk = f" ({stored.shrunk} shrunk to at most {max_side} px)" if stored.shrunk else ""
    images = counted(record.images, "image")
    boxes = counted(stored.boxes, "box")
    end = f"read back and equal{sharding(record)}"
    if not stored.tiles:
        return f"{images}{shrunk}, {boxes}, at most {stored.most_boxes} an image; {end}"
    ignored = f"{counted(stored.ignored, 'box')} cut by more than half and ignored"
    lost = ""
    if stored.lost:
        lost = f"; {counted(stored.lost, 'product')} in no tile: larger than what tiles share"
    return (
        f"{counted(stored.examples, 'example')} of {images} ({divided(record)}){shrunk}, {boxes}, "
        f"{ignored}, at most {stored.most_boxes} an example{lost}; {end}"
    )


def divided(record: "record_writing.Written") -> str:
    """How many images are divided into which grids, the most frequent ones first."""
    grids = sorted(record.grids.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{grid} of {images}" for grid, images in grids[:SHOWN_GRIDS]]
    others = len(grids) - len(shown)
    return ", ".join(shown) + (f", and {counted(others, 'other grid')}" if others else "")


def sharding(record: "record_writing.Written") -> str:
    """In how many shards a record is, after a semicolon; empty for a single file."""
    if record.shards == 1:
        return ""
    kept = f", {record.kept_shards} of an earlier run" if record.kept_shards else ""
    return f"; {record.shards} shards{kept}"


if __name__ == "__main__":
    command_line.run(main)
