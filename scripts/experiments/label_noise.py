#!/usr/bin/env python
"""Label noise: how far two label sets of one shelf differ, and which AP that allows a detector.

`make label-noise` runs it.

Reads   annotations/{train,val,test}_labels.csv (step 02). It needs neither images nor a detector.
Writes  nothing; prints.

Many shelves were photographed and labelled twice or more. Once the first image's labels are
registered onto the second image by a homography, the two labels of a product should coincide. Their
difference is the noise of the labels, which no detector can predict. Two limits follow:

  labels against labels   the first image's labels scored as detections in the second image: what a
                          second annotator would score. Both label sets contribute noise.
  perfect detector        the same with the differences divided by the square root of 2, which
                          leaves the noise of one label set, if both are equally noisy, independent
                          and about normally distributed. Scores are random: a detector does not
                          know how well a box will fit.

Each is computed twice. A homography fitted to all boxes follows their noise a little, which is too
optimistic; leave-one-out (each box mapped by a homography fitted to the others) adds error of its
own, which is too pessimistic. The truth is about between the two. It applies to shelves whose two
images have the same number of labels. Noise that both label sets share (boxes that are always too
wide, say) does not show; a detector can learn it.

    python scripts/experiments/label_noise.py
"""

import argparse
import pathlib
import sys
from typing import Any, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, paths
from shelfdet.core.text import counted, plural

# (field of Registered, how it is printed)
FITS = (("mapped_xyxy", "fitted to all boxes"), ("leave_one_out_xyxy", "leave-one-out"))


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--labels",
        **command_line.FILE,
        nargs="+",
        default=[paths.labels(split) for split in paths.SPLITS],
        help="label files (default: those of train, val and test in "
        f"{paths.shown(paths.ANNOTATIONS)})",
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import label_agreement, registration
    from shelfdet.data import labels

    images = [image for path in args.labels for image in labels.read_labels(path)]
    pairs, count = registration.find_pairs(images)
    if not pairs:
        raise UserError(
            f"{', '.join(map(str, args.labels))}: no two images of one shelf whose labels can be "
            "registered; expected file names that differ in the copy number only, such as "
            "C1_P01_N1_S2_1.JPG and C1_P01_N1_S2_2.JPG."
        )
    products = sum(len(pair.registered.second_xyxy) for pair in pairs)
    print(
        f"{counted(count, 'pair')} of images of one shelf; {len(pairs)} of them "
        f"{plural(len(pairs), 'has', 'have')} the same number of boxes and could be registered: "
        f"{products:,} {plural(products, 'product')} with two labels"
    )
    for field, fit in FITS:
        print_differences(label_agreement.differences(pairs, field), fit)
    print(f"\n{'':46}{'COCO AP':>10}{'AP50':>8}{'AP75':>8}{'AP90':>8}")
    for case, share in (
        ("labels against labels", label_agreement.BOTH_LABEL_SETS),
        ("perfect detector", label_agreement.ONE_LABEL_SET),
    ):
        for field, fit in FITS:
            found = label_agreement.precisions(pairs, field, share)
            print(
                f"{case + ', ' + fit:46}{found.AP:10.2f}{found.AP50:8.2f}{found.AP75:8.2f}"
                f"{found.AP90:8.2f}"
            )


def print_differences(found: Any, fit: str) -> None:
    """Prints a label_agreement.Differences, a module that only ``main`` imports: it is heavy."""
    print(
        f"\n{fit}: the two labels of a product have a mean IoU of {found.mean_iou:.3f} "
        f"(median {found.median_iou:.3f})"
    )
    print(
        f"  standard deviation of their difference: width {found.width:.1%} and height "
        f"{found.height:.1%} of the box; centre {found.centre_x:.1%} of the width horizontally, "
        f"{found.centre_y:.1%} of the height vertically"
    )


if __name__ == "__main__":
    command_line.run(main)
