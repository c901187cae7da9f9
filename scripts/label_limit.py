#!/usr/bin/env python
"""How far the labels agree with themselves, and so what AP they allow. `make ceiling` runs it.

Reads   annotations/{train,val,test}_labels.csv (step 02). Neither pictures nor a detector.
Writes  nothing; prints.

Many shelves were photographed twice or more and labelled each time. Carried over by one projective map a picture, a pack's two
labels should coincide. How far they do not is the labels' own noise, which no detector can foresee. Two figures follow:

  labels against labels      the first picture's labels taken as detections in the second: what a second person's labels would
                             score. Both have noise in them.
  a perfect detector         the same with the differences divided by the square root of 2, which leaves the noise of one set
                             of labels, if both are equally noisy and independently so.

The map's own error counts as noise here, so the true limit lies somewhat higher; and noise that the labels of both pictures share (always
too wide, say) does not show, since a detector can learn that.

    python scripts/label_limit.py
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, paths

SPLITS = ("train", "val", "test")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--labels", type=pathlib.Path, nargs="+", metavar="FILE", default=[paths.labels(split) for split in SPLITS],
                        help="label files (default: those of train, val and test in {})".format(paths.shown(paths.ANNOTATIONS)))
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    from shelfdet import annotations, copies
    images = [image for path in args.labels for image in annotations.read_labels(path)]
    pairs, all_pairs = copies.pairs(images)
    if not pairs:
        raise UserError("{}: no two pictures of one shelf that can be laid on each other; expected names that differ in the copy number "
                        "alone, C1_P01_N1_S2_1.JPG and C1_P01_N1_S2_2.JPG.".format(", ".join(map(str, args.labels))))
    print("{} pairs of pictures of one shelf; {} of them have the same number of boxes and can be laid on each other: {:,} packs "
          "labelled twice".format(all_pairs, len(pairs), sum(len(pair.labelled_xyxy) for pair in pairs)))
    print("\n".join(differences(pairs)))
    print("\n{:28}{:>10}{:>10}{:>10}{:>10}".format("", "COCO AP", "AP50", "AP75", "AP90"))
    for name, share in (("labels against labels", 1), ("a perfect detector", 0.5 ** 0.5)):
        print("{:28}{:10.3f}{:10.3f}{:10.3f}{:10.3f}".format(name, *precisions(pairs, share)))


def differences(pairs):
    """How far the two labels of a pack lie apart, as lines of text."""
    import numpy as np
    from shelfdet import boxes
    mapped, labelled = (np.concatenate([getattr(pair, name) for pair in pairs]) for name in ("mapped_xyxy", "labelled_xyxy"))
    sides = labelled[:, 2:] - labelled[:, :2]
    off = (mapped - labelled) / np.hstack([sides, sides])                              # (N, 4) shares of the box's side
    overlap = np.concatenate([np.diag(boxes.iou(pair.mapped_xyxy, pair.labelled_xyxy)) for pair in pairs])
    spread = [values.std() for values in (off[:, 2] - off[:, 0], off[:, 3] - off[:, 1], (off[:, 0] + off[:, 2]) / 2,
                                          (off[:, 1] + off[:, 3]) / 2)]
    return ["the two labels of a pack overlap by an IoU of {:.3f} (mean; median {:.3f})".format(overlap.mean(), np.median(overlap)),
            "standard deviation of their difference: width {:.1%}, height {:.1%} of the box; centre {:.1%} of the width across, {:.1%} of "
            "the height down".format(*spread)]


def precisions(pairs, share):
    """(COCO AP, AP50, AP75, AP90) of the first pictures' labels, moved to ``share`` of their difference, in the second."""
    import numpy as np
    from shelfdet import annotations, detections, metrics
    truth, found = [], []
    for number, pair in enumerate(pairs):
        name, classes = "{:04d}".format(number), ("product",) * len(pair.labelled_xyxy)
        moved = pair.labelled_xyxy + (pair.mapped_xyxy - pair.labelled_xyxy) * share
        truth.append(annotations.LabelledImage(name, pair.second.size_wh, pair.labelled_xyxy, classes))
        # Which box comes first decides nothing here: none is a false alarm at a low IoU and its order is chance at a high one.
        scores = np.random.RandomState(number).uniform(size=len(classes))
        found.append(detections.Detections(name, pair.second.size_wh, moved, scores, classes))
    pool, = metrics.pools(metrics.match(truth, found))
    by_iou = metrics.coco_average_precisions(pool)
    at = {round(float(iou), 2): value for iou, value in zip(metrics.COCO_IOUS, by_iou)}
    return float(np.mean(by_iou)), at[0.5], at[0.75], at[0.9]


if __name__ == "__main__":
    command.run(main)
