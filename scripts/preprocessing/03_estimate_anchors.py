#!/usr/bin/env python
"""Step 03: measures how well a config's anchors cover the products, and finds the best anchors.

Reads   workspace/training_demo/annotations/train_labels.csv (step 02), a training config, and the
        images, to draw the least covered ones.
Writes  workspace/training_demo/evaluation/results/anchors.png, one page of plots, and anchors.json,
        all printed figures and the config lines for every row of the table.

Prints the anchor coverage (share of the boxes that some anchor overlaps by an IoU), for the boxes
as labelled and after the config's own random flips and crops; a table of the coverage that other
input sizes and numbers of feature maps reach, and of their compute; one of training in tiles; and
the lines to write into the config. Feature maps, anchors, crops and multiply-adds are
object_detection's own. The same seed gives the same result.

    python scripts/preprocessing/03_estimate_anchors.py
    python scripts/preprocessing/03_estimate_anchors.py --input 640x480 --layers 1
    python scripts/preprocessing/03_estimate_anchors.py --tiles 2     # for records of 2 x 2 tiles
    python scripts/preprocessing/03_estimate_anchors.py --no-table    # this config only: seconds
"""

import argparse
import json
import pathlib
import re
import sys
from typing import List, Optional, Tuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet import UserError
from shelfdet.core import command_line, files, next_step, paths
from shelfdet.core.text import counted
from shelfdet.data import options as data_options
from shelfdet.training import options

# object_detection's SSD Inception V2 feature extractor refuses smaller ones.
SMALLEST_INPUT = 33


def parse(argv: Optional[List[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    add_files(parser)
    add_search_options(parser)
    args = parser.parse_args(argv)
    args.labels = args.labels or paths.labels("train", args.dataset)
    args.images = args.images or paths.dataset_images(args.dataset) / paths.SHELF_IMAGES.name
    return args


def add_files(parser: argparse.ArgumentParser) -> None:
    """What is read and written, and what the page shows."""
    parser.add_argument(
        "--labels",
        **command_line.FILE,
        help=f"the boxes of the training images (default: {paths.labels('train')}, or those of "
        "--dataset)",
    )
    data_options.add_dataset(parser)
    options.add_config(parser)
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        help="training images for the last row of the page; where one cannot be read, its boxes "
        f"are drawn on blank paper, and the reason is printed (default: {paths.SHELF_IMAGES}, or "
        "those of --dataset)",
    )
    data_options.add_exif(parser, "as for step 02: boxes are in pixels of the upright image")
    parser.add_argument(
        "--no-photographs",
        action="store_true",
        help="draw the boxes of the least covered images on blank paper",
    )
    parser.add_argument(
        "--output",
        **command_line.FOLDER,
        default=paths.RESULTS,
        help="of anchors.png and anchors.json (default: %(default)s)",
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Which anchors are searched, for which input size, and on which boxes."""
    parser.add_argument(
        "--input",
        type=size,
        metavar="WxH",
        help="input size to print config lines for (default: the config's)",
    )
    parser.add_argument(
        "--layers",
        type=command_line.positive,
        choices=range(1, 7),
        metavar="N",
        help="number of feature maps to print config lines for (default: the config's)",
    )
    parser.add_argument(
        "--search-on",
        choices=("labels", "augmented"),
        default="labels",
        help="search the best anchors for the boxes as labelled (default), or for those that "
        "training sees after random flips and crops",
    )
    command_line.add_positive(
        parser, "--tiles", 1, "measure and search for training in N x N tiles of each image"
    )
    parser.add_argument(
        "--no-table", action="store_true", help="leave out the other input sizes and tiles"
    )
    command_line.add_positive(parser, "--repeats", 4, "random crops of each image")
    command_line.add_seed(parser, "of the search and the crops")


def size(text: str) -> Tuple[int, int]:
    """(width, height) from "512x512"."""
    found = re.match(r"(\d+)x(\d+)$", text)
    if not found or min(int(side) for side in found.groups()) < SMALLEST_INPUT:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected WIDTHxHEIGHT, at least {SMALLEST_INPUT} pixels each "
            "(512x512)"
        )
    return int(found.group(1)), int(found.group(2))


def main(argv: Optional[List[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.anchors import figure
    from shelfdet.config import anchor_advice, pipeline, tile_advice
    from shelfdet.config.network import anchor_layers
    from shelfdet.data import examples, labels

    images = [image for image in labels.read_labels(args.labels) if len(image.boxes_xyxy)]
    if not images:
        raise UserError(
            f"--labels {args.labels}: has no boxes; expected at least one product. "
            "Run step 02 again."
        )
    config = pipeline.read(args.config)
    whole_images = images
    if args.tiles > 1:
        images = tile_advice.divided(images, examples.Tiling((args.tiles,)))
        print(f"of {counted(len(images), 'tile')}, {args.tiles} x {args.tiles} of each image:")
    measurement = anchor_advice.measure(config, images, args.repeats, args.seed)
    network = measurement.network
    # Flushed, because the search below takes a minute.
    print("\n".join(anchor_advice.summary_lines(measurement, images)), flush=True)

    found = anchor_advice.candidates(
        config,
        measurement,
        args.input or network.image_wh,
        args.layers or len(network.grids_wh),
        table_wh=() if args.no_table else anchor_advice.table_inputs(images),
        search_augmented=args.search_on == "augmented",
        seed=args.seed,
    )
    best = found[0]
    if not args.no_table:
        print("\n".join(anchor_advice.table_lines(found, network.multiply_adds)))
        tile_rows = tile_advice.tile_rows(config, measurement, whole_images, args.seed)
        print("\n".join(tile_advice.table_lines(tile_rows)))
    print("\n".join(anchor_advice.advice_lines(best)))

    content = anchor_advice.as_json(
        args.config, args.labels, measurement, found, args.search_on, args.seed
    )
    if not args.no_table:
        content["tiles"] = tile_advice.as_json(tile_rows)
    json_path = args.output / "anchors.json"
    width, height = best.network.image_wh
    page = figure.Page(
        title=f"Anchor boxes of {args.config.name}",
        image_wh=network.image_wh,
        images=images,
        layers=anchor_layers(measurement.anchors.anchors_xyxy, measurement.anchors.layer, network),
        coverage=measurement.coverage,
        boxes_by_image=measurement.boxes_by_image,
        curves=[
            ("this config", measurement.coverage.best_iou),
            (f"best found for {width} x {height} px", best.advice.best_iou),
        ],
    )
    photographs, unread = {}, []
    if not args.no_photographs and args.tiles == 1:  # of tiles there are no files
        photographs, unread = figure.read_photographs(page, args.images, args.exif)
    page_path = args.output / "anchors.png"
    with files.replacing_together([json_path, page_path]) as (json_file, page_file):
        files.write_text(json_file, json.dumps(content, indent=1) + "\n")
        figure.draw(page, page_file, photographs)
    for reason in unread:
        print(f"\nnot drawn, only its boxes: {reason}")
    print(f"\nwritten: {paths.shown(page_path)}, {paths.shown(json_path)}")
    dropped = ["EXIF", "TILES", "SEED", "--input", "--layers", "--search-on", "--no-table"]
    dropped += ["--no-photographs", "--repeats"]
    next_step.show(next_command(argv, args, dropped))


def next_command(
    argv: Optional[List[str]], args: argparse.Namespace, dropped: List[str]
) -> Optional[str]:
    """The `make` command after this step; ``dropped``: options that do not matter to it."""
    if args.config != paths.DEFAULT_CONFIG or args.dataset == paths.DEFAULT_DATASET:
        return next_step.after(argv, "train", dropped + ["NAME"])
    # The default config trains on the dataset without a name.
    if next_step.lacks_config(args.dataset):
        return next_step.after(argv, "config", dropped + ["CONFIG"])
    return next_step.after(argv, "train", dropped + ["CONFIG", "NAME"], CONFIG=args.dataset)


if __name__ == "__main__":
    command_line.run(main)
