#!/usr/bin/env python
"""How far the labels agree with themselves, and so what AP they allow. `make ceiling` runs it.

Reads   annotations/{train,val,test}_labels.csv (step 02). Neither images nor a detector.
Writes  nothing; prints.

Many shelves were photographed twice or more and labelled each time. Carried over by one projective map an image, a pack's two
labels should coincide. How far they do not is the labels' own noise, which no detector can foresee. Two figures follow:

  labels against labels      the first image's labels taken as detections in the second: what a second person's labels would
                             score. Both have noise in them.
  a perfect detector         the same with the differences divided by the square root of 2, which leaves the noise of one set
                             of labels, if both are equally noisy, independently so and about normally distributed; with scores
                             that do not know how well a box will fit.

Each is told twice. A map fitted to all packs follows their noise a little, which flatters; one fitted to the others alone adds its own
error. The truth lies about between. It holds for shelves whose two images have the same number of labels, and noise that both share (always
too wide, say) does not show, since a detector can learn that.

    python scripts/experiments/label_noise.py
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, paths

SPLITS = ("train", "val", "test")
FITTED = (("mapped_xyxy", "map fitted to all packs"), ("foreseen_xyxy", "map fitted to the others"))


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--labels",
        type=pathlib.Path,
        nargs="+",
        metavar="FILE",
        default=[paths.labels(split) for split in SPLITS],
        help=f"label files (default: those of train, val and test in {paths.shown(paths.ANNOTATIONS)})",
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    from experiments import registration
    from shelfdet.data import labels

    images = [image for path in args.labels for image in labels.read_labels(path)]
    pairs, all_pairs = registration.pairs(images)
    if not pairs:
        raise UserError(
            f"{', '.join(map(str, args.labels))}: no two images of one shelf that can be laid on each other; expected names that differ in the copy number alone, C1_P01_N1_S2_1.JPG and C1_P01_N1_S2_2.JPG."
        )
    print(
        f"{all_pairs} pairs of images of one shelf; {len(pairs)} of them have the same number of boxes and can be laid on each other: {sum(len(pair.labelled_xyxy) for pair in pairs):,} packs labelled twice"
    )
    for name, fitted in FITTED:
        print("\n" + "\n".join(differences(pairs, name, fitted)))
    print(f"\n{'':58}{'COCO AP':>10}{'AP50':>8}{'AP75':>8}{'AP90':>8}")
    for what, share in (("labels against labels", 1), ("a perfect detector", 0.5**0.5)):
        for name, fitted in FITTED:
            print(
                "{:58}{:10.2f}{:8.2f}{:8.2f}{:8.2f}".format(
                    what + ", " + fitted, *precisions(pairs, name, share)
                )
            )


def differences(pairs, name, fitted):
    """How far the two labels of a pack lie apart, as lines of text; ``name`` is the field of Pair that holds the carried ones."""
    import numpy as np

    from shelfdet.core import boxes

    carried, labelled = (
        np.concatenate([getattr(pair, field) for pair in pairs])
        for field in (name, "labelled_xyxy")
    )
    sides = labelled[:, 2:] - labelled[:, :2]
    off = (carried - labelled) / np.hstack([sides, sides])  # (N, 4) shares of the box's side
    overlap = np.concatenate(
        [np.diag(boxes.iou(getattr(pair, name), pair.labelled_xyxy)) for pair in pairs]
    )
    spread = [
        values.std()
        for values in (
            off[:, 2] - off[:, 0],
            off[:, 3] - off[:, 1],
            (off[:, 0] + off[:, 2]) / 2,
            (off[:, 1] + off[:, 3]) / 2,
        )
    ]
    return [
        f"{fitted}: the two labels of a pack overlap by an IoU of {overlap.mean():.3f} (mean; median {np.median(overlap):.3f})",
        "  standard deviation of their difference: width {:.1%}, height {:.1%} of the box; centre {:.1%} of the width across, {:.1%} of "
        "the height down".format(*spread),
    ]


def precisions(pairs, name, share):
    """(COCO AP, AP50, AP75, AP90) of the first images' labels, moved to ``share`` of their difference, in the second."""
    import numpy as np

    from shelfdet.data import detections, labels
    from shelfdet.evaluation import metrics

    truth, found = [], []
    for number, pair in enumerate(pairs):
        picture, classes = f"{number:04d}", ("product",) * len(pair.labelled_xyxy)
        moved = pair.labelled_xyxy + (getattr(pair, name) - pair.labelled_xyxy) * share
        truth.append(
            labels.LabelledImage(picture, pair.second.size_wh, pair.labelled_xyxy, classes)
        )
        # In an order that knows nothing of the overlap, for noise cannot be foreseen; with another seed the third decimal differs.
        scores = np.random.RandomState(number).uniform(size=len(classes))
        found.append(detections.Detections(picture, pair.second.size_wh, moved, scores, classes))
    (pool,) = metrics.pools(metrics.match(truth, found))
    by_iou = metrics.coco_average_precisions(pool)
    at = {round(float(iou), 2): value for iou, value in zip(metrics.COCO_IOUS, by_iou)}
    return float(np.mean(by_iou)), at[0.5], at[0.75], at[0.9]


if __name__ == "__main__":
    command_line.run(main)
