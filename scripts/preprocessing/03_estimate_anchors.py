#!/usr/bin/env python
"""Step 03: how well do a config's anchors meet the products, and which would be best?

Reads   workspace/training_demo/annotations/train_labels.csv (step 02), a training config, and the images, to draw the
worst ones.
Writes  workspace/training_demo/evaluation/results/anchors.png, one page of plots, and anchors.json, all that is printed
        and the lines for every row of the table.

Prints what share of the products the config's anchors meet, as labelled and as training sees them after the config's
own random flips and crops; a table of what other input sizes and numbers of feature maps reach at what compute; and the
lines to paste into the config. Feature maps, anchors, crops and multiply-adds are those of object_detection itself; the
same seed gives the same result.

    python scripts/preprocessing/03_estimate_anchors.py
    python scripts/preprocessing/03_estimate_anchors.py --input 640x480 --layers 1       # lines for another network
    python scripts/preprocessing/03_estimate_anchors.py --no-table                       # only this config, in seconds
"""

import argparse
import pathlib
import re
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

# Squares, and 4:3 as photographs are, in multiples of 32 (the coarser feature map's stride) but for SSD's classic 300.
INPUTS = (
    (300, 300),
    (416, 416),
    (512, 512),
    (640, 640),
    (800, 800),
    (384, 288),
    (512, 384),
    (640, 480),
    (768, 576),
    (1024, 768),
)
LAYERS = (1, 2)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--labels",
        type=pathlib.Path,
        default=paths.labels("train"),
        metavar="FILE",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=paths.DEFAULT_CONFIG,
        metavar="FILE",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=paths.SHELF_IMAGES,
        metavar="FOLDER",
        help="images for the last row of the page; without them it draws boxes alone (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--no-photographs",
        action="store_true",
        help="draw the worst images as boxes on blank paper",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=paths.RESULTS,
        metavar="FOLDER",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--input",
        type=size,
        metavar="WxH",
        help="input size to print lines for (default: the config's)",
    )
    parser.add_argument(
        "--layers",
        type=int,
        choices=range(1, 7),
        metavar="N",
        help="feature maps to print lines for (default: the config's)",
    )
    parser.add_argument(
        "--search-on",
        choices=("labels", "seen"),
        default="labels",
        help="seek the best anchors for the boxes as labelled (default), or as training sees them "
        "after random crops",
    )
    parser.add_argument("--no-table", action="store_true", help="leave out the other input sizes")
    parser.add_argument(
        "--repeats",
        type=command_line.positive,
        default=4,
        metavar="N",
        help="random crops of each image (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the search and of the crops (default: %(default)s)"
    )
    return parser.parse_args(argv)


def size(text):
    """(width, height) from "512x512"."""
    found = re.match(r"(\d+)x(\d+)$", text)
    if not found or min(int(side) for side in found.groups()) < 33:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected WIDTHxHEIGHT, at least 33 pixels each (512x512)"
        )
    return int(found.group(1)), int(found.group(2))


def main(argv=None):
    args = parse(argv)
    import json

    import numpy as np

    from shelfdet.config import pipeline
    from shelfdet.core import boxes
    from shelfdet.data import labels

    images = [image for image in labels.read_labels(args.labels) if len(image.boxes_xyxy)]
    if not images:
        raise UserError(
            f"--labels {args.labels}: holds no boxes; expected at least one product. Run step 02 again."
        )
    config = pipeline.read(args.config)
    measured = measure(args, config, images)
    own = measured.network
    print("\n".join(as_lines(measured, images)), flush=True)
    wanted_wh, layers = args.input or own.image_wh, args.layers or len(own.grids_wh)
    labelled, seen = (
        boxes.scale(np.concatenate(by_image), own.image_wh, (1, 1))
        for by_image in (measured.boxes, measured.seen_boxes)
    )
    sought = seen if args.search_on == "seen" else labelled
    inputs = [(wanted_wh, [layers])]
    if not args.no_table:
        inputs += [
            (image_wh, [count for count in LAYERS if (image_wh, count) != (wanted_wh, layers)])
            for image_wh in INPUTS
        ]
    rows = sum(
        (advise(*size, config, sought, labelled, args.seed) for size in progress(inputs, "sizes")),
        [],
    )
    if not args.no_table:
        print("\n".join(table(rows, own.multiply_adds)))
    print("\n".join(pasting(rows[0])))
    figures, page = args.output / "anchors.json", args.output / "anchors.png"
    files.write_text(figures, json.dumps(as_json(args, measured, rows), indent=1) + "\n")
    with files.replacing(page) as partial:
        draw(args, partial, images, measured, rows[0])
    print(f"\nwritten: {paths.shown(page)}, {paths.shown(figures)}")


def measure(args, config, images):
    """What the config's own anchors do for the boxes, as labelled and as training sees them."""
    import collections

    from shelfdet.anchors import anchors
    from shelfdet.config import pipeline
    from shelfdet.config.network import augmented_boxes, build_network, generate_anchors

    network = build_network(config)
    anchors_xyxy, layer, per_cell = generate_anchors(config, grids_wh=network.grids_wh)
    matcher = pipeline.matcher(config)
    labelled = anchors.resized(images, network.image_wh)
    seen = augmented_boxes(
        config, images, args.repeats, args.seed, lambda all: progress(all, "random crops")
    )
    covered, covered_seen = (
        anchors.coverage(by_image, anchors_xyxy, layer, network.image_wh, matcher)
        for by_image in (labelled, seen)
    )
    Measured = collections.namedtuple(
        "Measured", "network anchors layer per_cell boxes coverage seen_boxes seen"
    )
    return Measured(network, anchors_xyxy, layer, per_cell, labelled, covered, seen, covered_seen)


def as_lines(measured, images):
    """The first part of what is printed: the boxes, the config's anchors, and what these do."""
    import numpy as np

    from shelfdet.anchors import anchors

    everything, (wide, high) = np.concatenate(measured.boxes), measured.network.image_wh
    width, height = (everything[:, 2:] - everything[:, :2]).T
    ratio, low, top = np.percentile(width / height, [50, 5, 95])
    sides = np.concatenate([image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2] for image in images])
    unsquashed = np.median(sides[:, 0] / sides[:, 1])
    lines = [
        f"{len(width):,} boxes in {len(measured.boxes)} images, squashed to {wide} x {high} px: "
        f"median {np.median(width):.0f} x {np.median(height):.0f} px, "
        f"width/height {ratio:.2f} (5-95 %: {low:.2f}-{top:.2f}; in the photographs {unsquashed:.2f})"
    ]
    for number, (grid_wh, count) in enumerate(zip(measured.network.grids_wh, measured.per_cell)):
        first = measured.anchors[measured.layer == number][0]
        lines.append(
            "feature map {} x {}: {} anchor{} per cell, {:.0f} x {:.0f} px".format(
                *grid_wh, count, "" if count == 1 else "s", *(first[2:] - first[:2])
            )
        )
    if set(measured.per_cell) != {1}:
        lines.append(
            "WARNING: more than one anchor per cell. scripts/training/05_check_config.py tells the cause."
        )
    both = (measured.coverage, measured.seen)
    rows = [
        (f"meet some anchor at IoU >= {threshold:g}", [one.best_iou >= threshold for one in both])
        for threshold in anchors.THRESHOLDS
    ]
    rows += [
        ("learned by the forced match alone", [one.forced for one in both]),
        ("lose their best anchor to another box", [one.lost for one in both]),
        ("learned by no anchor at all", [one.unserved for one in both]),
    ]
    rows += [
        (
            "have their best anchor on {} x {}".format(*grid_wh),
            [one.layer == number for one in both],
        )
        for number, grid_wh in enumerate(measured.network.grids_wh)
    ]
    rows += [("anchors that learn a box, mean", [one.positives for one in both])]
    return (
        lines
        + [
            "",
            f"{'share of the boxes':52}{'as labelled':>13}{'as trained on':>16}",
            "{:52}{:>13,}{:>16,}".format(
                "boxes (with random flips and crops: of several draws)",
                *(len(one.best_iou) for one in both),
            ),
        ]
        + ["  {:50}{:>13.4f}{:>16.4f}".format(name, *map(mean, values)) for name, values in rows]
    )


def mean(values):
    return float(values.mean()) if len(values) else float("nan")


def advise(image_wh, layer_counts, config, sought, labelled, seed):
    """The best anchors for one input size, by number of feature maps.

    Args:
      image_wh: the input size.
      layer_counts: numbers of feature maps.
      config: as pipeline.read gives it.
      sought: (N, 4) normalised boxes to seek the best anchors for.
      labelled: (M, 4) normalised boxes as labelled, of which the share met is told.
      seed: of the search.

    Returns:
      list of (Network, Advice for ssd, Advice for flexible or None), one for each count.
    """
    from shelfdet.anchors import anchors, search
    from shelfdet.config import pipeline
    from shelfdet.config.network import build_networks
    from shelfdet.core import boxes

    threshold = pipeline.matcher(config).matched or search.THRESHOLD
    sought, labelled = (
        boxes.scale(normalised, (1, 1), image_wh) for normalised in (sought, labelled)
    )
    rows = []
    for network in build_networks(config, layer_counts, image_wh):
        ssd = search.ssd(sought, network.grids_wh, image_wh, threshold, seed)
        flexible = search.flexible(sought, network.grids_wh, image_wh, threshold, seed, ssd)
        rows.append(
            (
                network,
                *(
                    advice
                    and advice._replace(best_iou=anchors.best_iou(labelled, advice.layers)[0])
                    for advice in (ssd, flexible)
                ),
            )
        )
    return rows


def table(rows, own_multiply_adds):
    """Coverage against compute, one line for each input size and number of feature maps."""
    line = "{:12}{:18}{:>14}{:>10}  {:>12}{:>10}  {:>12}{:>10}".format
    lines = [
        "",
        "What resolution buys: the best one anchor per cell, share of the boxes met",
        line("", "", "G multiply-", "times the", "ssd_anchor_", "", "flexible_", ""),
        line("", "", "adds a", "config's", "generator", "", "grid", ""),
        line("input", "feature maps", "image", "", "IoU >= 0.5", "0.7", "IoU >= 0.5", "0.7"),
    ]

    def order(row):
        (width, height), maps = row[0].image_wh, len(row[0].grids_wh)
        return width != height, width, maps

    for network, ssd, flexible in sorted(rows, key=order):
        shares = [
            f"{mean(advice.best_iou >= threshold):.3f}" if advice else "-"
            for advice in (ssd, flexible)
            for threshold in (0.5, 0.7)
        ]
        maps = " + ".join("{}x{}".format(*grid_wh) for grid_wh in network.grids_wh)
        lines.append(
            line(
                "{} x {}".format(*network.image_wh),
                maps,
                f"{network.multiply_adds / 1e9:.2f}",
                f"{network.multiply_adds / own_multiply_adds:.2f}",
                *shares,
            )
        )
    return lines + [
        "(-: the cells are no even number of pixels wide, as flexible_grid_anchor_generator needs)"
    ]


def pasting(row):
    """The lines for the config, for either generator."""
    from shelfdet.anchors import search

    (width, height), maps = row[0].image_wh, len(row[0].grids_wh)
    found = [advice for advice in row[1:] if advice]
    lines = [
        "",
        f"To paste into model {{ ssd {{ ... }} }} for {width} x {height} px and {maps} feature "
        f"map{'' if maps == 1 else 's'}, in place of the blocks that are there"
        f"{':' if len(found) == 1 else ', either'}",
    ]
    for number, advice in enumerate(found):
        lines += (["", "or"] if number else []) + [""] + search.config_lines(advice)
    return lines


def as_json(args, measured, rows):
    """All figures and lines, for other programs."""
    from shelfdet.anchors import anchors, search

    def met(best_iou):
        return dict(zip(map(str, anchors.THRESHOLDS), anchors.shares(best_iou)))

    def shares(coverage):
        return {
            "boxes": len(coverage.best_iou),
            "met": met(coverage.best_iou),
            "forced_only": mean(coverage.forced),
            "best_anchor_lost": mean(coverage.lost),
            "learned_by_none": mean(coverage.unserved),
        }

    advice = [
        {
            "input_wh": network.image_wh,
            "feature_maps_wh": network.grids_wh,
            "multiply_adds": network.multiply_adds,
            "generator": one.generator,
            "sizes": one.sizes,
            "ratios": one.ratios,
            "met": met(one.best_iou),
            "lines": search.config_lines(one),
        }
        for network, ssd, flexible in rows
        for one in (ssd, flexible)
        if one is not None
    ]
    return {
        "config": paths.shown(args.config),
        "labels": paths.shown(args.labels),
        "seed": args.seed,
        "input_wh": measured.network.image_wh,
        "as_labelled": shares(measured.coverage),
        "as_trained_on": shares(measured.seen),
        "searched_on": args.search_on,
        "advice": advice,
    }


def draw(args, path, images, measured, advised):
    """The page of plots."""
    from shelfdet.anchors import figure
    from shelfdet.config.network import anchor_layers
    from shelfdet.data import images as pictures

    layers = anchor_layers(measured.anchors, measured.layer, measured.network)
    curves = [
        ("this config", measured.coverage.best_iou),
        ("the advice for {} x {} px".format(*advised[0].image_wh), advised[1].best_iou),
    ]
    page = figure.Page(
        f"Anchor boxes of {args.config.name}",
        measured.network.image_wh,
        images,
        layers,
        measured.coverage,
        measured.boxes,
        curves + reference_curves(images),
    )

    def load(name):
        try:
            (located,) = pictures.locate(args.images, [name], "train")
        except UserError:
            return None
        return pictures.load(located, max_side=figure.IMAGE_SIDE)[0]

    figure.draw(page, path, figure.worst_images(page, None if args.no_photographs else load))


def reference_curves(images):
    """Best IoUs with anchors that others published, each made one anchor a cell of a 300 px input's first two maps."""
    import numpy as np

    from shelfdet.anchors import anchors

    image_wh, grids_wh = (300, 300), [(19, 19), (10, 10)]
    boxes_xyxy = np.concatenate(anchors.resized(images, image_wh))
    published = (
        ("the zoo's default (300 px, scales 0.2-0.95)", (0.2, 0.95), 1.0),
        ("the original's (300 px, read as 0.03-0.058)", (0.03, 0.058), (1.0, 0.76)),
        ("the original's (300 px, read as 0.03-0.58)", (0.03, 0.58), (1.0, 0.76)),
    )
    return [
        (
            name,
            anchors.best_iou(boxes_xyxy, anchors.ssd_layers(grids_wh, image_wh, scales, ratio))[0],
        )
        for name, scales, ratio in published
    ]


def progress(items, text):
    """``items`` behind a progress bar with the time left; none where nobody watches."""
    import tqdm

    return tqdm.tqdm(list(items), desc=text, leave=False, disable=None)


if __name__ == "__main__":
    command_line.run(main)
