#!/usr/bin/env python
"""Step 03: how well do a config's anchors meet the products, and which would be best?

Reads   workspace/training_demo/annotations/train_labels.csv (step 02), a training config, and the pictures, to draw the worst ones.
Writes  workspace/training_demo/evaluation/results/anchors.png, one page of plots, and anchors.json, all that is printed and the
        lines for every row of the table.

Prints what share of the products the config's anchors meet, as labelled and as training sees them after the config's own random
flips and crops; a table of what other input sizes and numbers of feature maps reach at what compute; and the lines to paste into
the config. Feature maps, anchors, crops and multiply-adds are those of object_detection itself; the same seed gives the same result.

    python scripts/preprocessing/03_estimate_anchors.py
    python scripts/preprocessing/03_estimate_anchors.py --input 640x480 --layers 1       # lines for another network
    python scripts/preprocessing/03_estimate_anchors.py --no-table                       # only this config, in seconds
"""

import argparse
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, files, paths

# Squares, and 4:3 as photographs are, in multiples of 32 (the coarser feature map's stride) but for SSD's classic 300.
INPUTS = ((300, 300), (416, 416), (512, 512), (640, 640), (800, 800),
          (384, 288), (512, 384), (640, 480), (768, 576), (1024, 768))
LAYERS = (1, 2)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--labels", type=pathlib.Path, default=paths.labels("train"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--config", type=pathlib.Path, default=paths.DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--images", type=pathlib.Path, default=paths.SHELF_IMAGES, metavar="FOLDER",
                        help="pictures for the last row of the page; without them it draws boxes alone (default: %(default)s)")
    parser.add_argument("--no-photographs", action="store_true", help="draw the worst pictures as boxes on blank paper")
    parser.add_argument("--output", type=pathlib.Path, default=paths.RESULTS, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--input", type=size, metavar="WxH", help="input size to print lines for (default: the config's)")
    parser.add_argument("--layers", type=int, choices=range(1, 7), metavar="N", help="feature maps to print lines for (default: the config's)")
    parser.add_argument("--search-on", choices=("labels", "seen"), default="labels",
                        help="seek the best anchors for the boxes as labelled (default), or as training sees them after random crops")
    parser.add_argument("--no-table", action="store_true", help="leave out the other input sizes")
    parser.add_argument("--repeats", type=positive, default=4, metavar="N", help="random crops of each picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the search and of the crops (default: %(default)s)")
    return parser.parse_args(argv)


def size(text):
    """(width, height) from "512x512"."""
    found = re.match(r"(\d+)x(\d+)$", text)
    if not found or min(int(side) for side in found.groups()) < 33:
        raise argparse.ArgumentTypeError("found {!r}, expected WIDTHxHEIGHT, at least 33 pixels each (512x512)".format(text))
    return int(found.group(1)), int(found.group(2))


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("found {!r}, expected a whole number of at least 1".format(text))
    return int(text)


def main(argv=None):
    args = parse(argv)
    import json
    import numpy as np
    from shelfdet import annotations, boxes, pipeline
    images = [image for image in annotations.read_labels(args.labels) if len(image.boxes_xyxy)]
    if not images:
        raise UserError("{}: {} holds no boxes; expected at least one product. Run step 02 again.".format("--labels", args.labels))
    config = pipeline.read(args.config)
    measured = measure(args, config, images)
    print("\n".join(as_lines(measured)), flush=True)
    wanted_wh, layers = args.input or measured.network.image_wh, args.layers or len(measured.network.grids_wh)
    normalised = boxes.scale(np.concatenate(measured.seen_boxes if args.search_on == "seen" else measured.boxes),
                             measured.network.image_wh, (1, 1))
    inputs = [(wanted_wh, [layers])]
    if not args.no_table:
        inputs += [(image_wh, [count for count in LAYERS if (image_wh, count) != (wanted_wh, layers)]) for image_wh in INPUTS]
    rows = sum(progress(inputs, lambda size: advise(*size, config, normalised, args.seed), "sizes"), [])
    if not args.no_table:
        print("\n".join(table(rows, measured.network.multiply_adds)))
    print("\n".join(pasting(rows[0])))
    files.write_text(args.output / "anchors.json", json.dumps(as_json(args, measured, rows), indent=1) + "\n")
    with files.replacing(args.output / "anchors.png") as partial:
        draw(args, partial, images, measured, rows[0])
    print("\nwritten: {}, {}".format(paths.shown(args.output / "anchors.png"), paths.shown(args.output / "anchors.json")))


def measure(args, config, images):
    """What the config's own anchors do for the boxes, as labelled and as training sees them."""
    import collections
    from shelfdet import anchors, pipeline
    network = pipeline.network(config)
    anchors_xyxy, layer, per_cell = pipeline.anchors(config, grids_wh=network.grids_wh)
    matcher = pipeline.matcher(config)
    labelled = anchors.resized(images, network.image_wh)
    seen = [boxes_xyxy for boxes_xyxy in pipeline.augmented(
        config, images, args.repeats, args.seed, lambda pictures: progress(pictures, lambda picture: picture, "random crops"))]
    fields = "network anchors layer per_cell matcher images boxes coverage seen_boxes seen"
    return collections.namedtuple("Measured", fields)(
        network, anchors_xyxy, layer, per_cell, matcher, images, labelled,
        anchors.coverage(labelled, anchors_xyxy, layer, network.image_wh, matcher), seen,
        anchors.coverage(seen, anchors_xyxy, layer, network.image_wh, matcher))


def as_lines(measured):
    """The first part of what is printed: the boxes, the config's anchors, and what these do."""
    import numpy as np
    from shelfdet import anchors
    width, height = (np.concatenate(measured.boxes)[:, 2:] - np.concatenate(measured.boxes)[:, :2]).T
    network = measured.network
    lines = ["{:,} boxes in {} pictures, squashed to {} x {} px: median {:.0f} x {:.0f} px, width/height {:.2f} (5-95 %: {:.2f}-{:.2f})".format(
        len(width), len(measured.images), *network.image_wh, np.median(width), np.median(height), *np.percentile(width / height, [50, 5, 95]))]
    for number, (grid_wh, count) in enumerate(zip(network.grids_wh, measured.per_cell)):
        first = measured.anchors[measured.layer == number][0]
        lines.append("feature map {} x {}: {} anchor{} per cell, {:.0f} x {:.0f} px".format(
            *grid_wh, count, "" if count == 1 else "s", first[2] - first[0], first[3] - first[1]))
    if set(measured.per_cell) != {1}:
        lines.append("WARNING: more than one anchor per cell. scripts/training/05_check_config.py says which key causes it.")
    lines += ["", "{:52}{:>13}{:>16}".format("share of the boxes", "as labelled", "as trained on"),
              "{:52}{:>13,}{:>16,}".format("boxes (after random flips and crops: several draws)", len(measured.coverage.best_iou),
                                           len(measured.seen.best_iou))]
    both = (measured.coverage, measured.seen)
    for number, threshold in enumerate(anchors.THRESHOLDS):
        lines.append(_row("meet some anchor at IoU >= {:g}".format(threshold), [anchors.shares(one.best_iou)[number] for one in both]))
    lines.append(_row("reached by the forced match alone", [_mean(one.forced) for one in both]))
    lines.append(_row("lose their best anchor to another box", [_mean(one.lost) for one in both]))
    lines.append(_row("learned by no anchor at all", [_mean(one.unserved) for one in both]))
    for number, grid_wh in enumerate(network.grids_wh):
        lines.append(_row("have their best anchor on {} x {}".format(*grid_wh), [_mean(one.layer == number) for one in both]))
    return lines + [_row("anchors that learn a box, mean", [_mean(one.positives) for one in both])]


def _row(name, values):
    return "  {:50}{:>13.4f}{:>16.4f}".format(name, *values)


def _mean(values):
    return float(sum(values)) / len(values) if len(values) else float("nan")


def advise(image_wh, layer_counts, config, normalised, seed):
    """The best anchors for one input size: list of (Network, Advice for ssd, Advice for flexible or None), one for each count."""
    from shelfdet import boxes, pipeline, search
    threshold = pipeline.matcher(config).matched or search.THRESHOLD
    resized = boxes.scale(normalised, (1, 1), image_wh)
    return [(network, search.ssd(resized, network.grids_wh, image_wh, threshold, seed),
             search.flexible(resized, network.grids_wh, image_wh, threshold, seed))
            for network in pipeline.networks(config, layer_counts, image_wh)]


def table(rows, own_multiply_adds):
    """Coverage against compute, one line for each input size and number of feature maps."""
    lines = ["", "What resolution buys: the best one anchor per cell, share of the boxes met",
             "{:12}{:18}{:>14}{:>9}  {:>22}  {:>22}".format("", "", "multiply-adds", "times", "ssd_anchor_generator", "flexible_grid"),
             "{:12}{:18}{:>14}{:>9}  {:>12}{:>10}  {:>12}{:>10}".format("input", "feature maps", "G a picture", "config's", "IoU >= 0.5", "0.7",
                                                                     "IoU >= 0.5", "0.7")]
    for network, ssd, flexible in sorted(rows, key=lambda row: (row[0].image_wh[0] != row[0].image_wh[1], row[0].image_wh, len(row[0].grids_wh))):
        cells = []
        for advice in (ssd, flexible):
            cells += ["{:.3f}".format(_mean(advice.best_iou >= threshold)) if advice else "-" for threshold in (0.5, 0.7)]
        lines.append("{:12}{:18}{:>14.2f}{:>9.2f}  {:>12}{:>10}  {:>12}{:>10}".format(
            "{} x {}".format(*network.image_wh), " + ".join("{}x{}".format(*grid_wh) for grid_wh in network.grids_wh),
            network.multiply_adds / 1e9, network.multiply_adds / own_multiply_adds, *cells))
    return lines + ["(-: strides of this size are no even number of pixels, which flexible_grid_anchor_generator needs)"]


def pasting(row):
    """The lines for the config, for either generator."""
    from shelfdet import search
    network, ssd, flexible = row
    lines = ["", "To paste into model {{ ssd {{ ... }} }} for {} x {} px and {} feature map{}, in place of the blocks that are there:".format(
        *network.image_wh, len(network.grids_wh), "" if len(network.grids_wh) == 1 else "s")]
    for advice in (ssd, flexible):
        if advice is not None:
            lines += [""] + search.config_lines(advice)
    return lines


def as_json(args, measured, rows):
    """All figures, for other programs and for `anchors.json`'s reader."""
    from shelfdet import anchors, search

    def shares(coverage):
        return {"boxes": len(coverage.best_iou), "met": dict(zip(map(str, anchors.THRESHOLDS), anchors.shares(coverage.best_iou))),
                "forced_only": _mean(coverage.forced), "best_anchor_lost": _mean(coverage.lost), "learned_by_none": _mean(coverage.unserved)}
    return {"config": paths.shown(args.config), "labels": paths.shown(args.labels), "input_wh": measured.network.image_wh, "seed": args.seed,
            "as_labelled": shares(measured.coverage), "as_trained_on": shares(measured.seen), "searched_on": args.search_on,
            "advice": [{"input_wh": network.image_wh, "feature_maps_wh": network.grids_wh, "multiply_adds": network.multiply_adds,
                        "generator": advice.generator, "sizes": advice.sizes, "ratios": advice.ratios,
                        "met": dict(zip(map(str, anchors.THRESHOLDS), anchors.shares(advice.best_iou))),
                        "lines": search.config_lines(advice)}
                       for network, ssd, flexible in rows for advice in (ssd, flexible) if advice is not None]}


def draw(args, path, images, measured, advised):
    """The page of plots."""
    from shelfdet import anchor_figure, images as pictures_module, pipeline
    network, by_config = measured.network, pipeline.layers(measured.anchors, measured.layer, measured.network)
    curves = [("this config", measured.coverage.best_iou),
              ("the advice for {} x {} px".format(*advised[0].image_wh), advised[1].best_iou)] + reference_curves(images)
    page = anchor_figure.Page("Anchor boxes of {}".format(args.config.name), network.image_wh, images, by_config, measured.coverage,
                              measured.boxes, curves)

    def load(name):
        try:
            located, = pictures_module.locate(args.images, [name], "train")
        except UserError:
            return None
        return pictures_module.load(located, max_side=anchor_figure.PICTURE_SIDE)[0]
    anchor_figure.draw(page, path, anchor_figure.worst_pictures(page, None if args.no_photographs else load))


def reference_curves(images):
    """Best IoUs with anchors that others published, each turned into one anchor on each of a 300 px input's first two feature maps."""
    import numpy as np
    from shelfdet import anchors
    image_wh, grids_wh = (300, 300), [(19, 19), (10, 10)]
    boxes_xyxy = np.concatenate(anchors.resized(images, image_wh))
    return [(name, anchors.best_iou(boxes_xyxy, anchors.ssd_layers(grids_wh, image_wh, scales, ratio))[0]) for name, scales, ratio in (
        ("the zoo's default, 300 px, scales 0.2-0.95", (0.2, 0.95), 1.0),
        ("the original's values, read as 0.03-0.058", (0.03, 0.058), (1.0, 0.76)),
        ("the original's values, read as 0.03-0.58", (0.03, 0.58), (1.0, 0.76)))]


def progress(items, work, text):
    """Works through ``items`` behind a progress bar with the time left; a generator."""
    import tqdm
    for item in tqdm.tqdm(list(items), desc=text, leave=False, disable=None):
        yield work(item)


if __name__ == "__main__":
    command.run(main)
