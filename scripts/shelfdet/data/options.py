"""Options that steps 01 and 02 share: step 01 replaces nothing by what step 02 would refuse."""

import argparse
import pathlib
from typing import Any, Dict

from shelfdet.core import paths


def add_checking_options(parser: argparse.ArgumentParser) -> None:
    """Classes, and what happens to boxes and images that are wrong or missing."""
    parser.add_argument(
        "--label-map",
        type=pathlib.Path,
        default=paths.LABEL_MAP,
        metavar="FILE",
        help="the classes; a single one becomes the class of every box; with several, the sixth "
        "column of a grocery CSV is the class (default: %(default)s)",
    )
    parser.add_argument(
        "--out-of-image",
        choices=("clip", "refuse"),
        default="clip",
        help="boxes that are partly outside their image; prints how many (default: %(default)s)",
    )
    parser.add_argument(
        "--bad-boxes",
        choices=("refuse", "drop"),
        default="refuse",
        help="boxes that are inverted, without area, or too far outside to be clipped (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="continue without images that are missing or broken, and name them",
    )
    parser.add_argument(
        "--empty-images",
        choices=("refuse", "leave-out", "keep"),
        default="refuse",
        help="images without any box, listed in the annotations or not; keep: they show no product "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: boxes are in pixels of the raw image, as TensorFlow decodes it (default). "
        "apply: boxes were drawn in a viewer that applies the EXIF orientation; give it to step "
        "04, too",
    )


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Which images train, validate and test."""
    parser.add_argument(
        "--split",
        choices=("official", "grouped"),
        default="official",
        help="official: by the folders train/, val/ and test/; without val/, validation images are "
        "taken out of train/. grouped: by planograms (default: %(default)s)",
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(4),
        metavar="0..3",
        help="which planograms are the test images of --split grouped",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the training images, above 0 and below 1, where there is no val/ (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="which shelves or planograms become validation, and the test where images are in one "
        "folder (default: %(default)s)",
    )


def check_split_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program where the options of ``add_split_options`` do not agree."""
    if not 0 < args.val_share < 1:
        parser.error(
            f"--val-share {args.val_share}: expected above 0 and below 1 (validation images choose "
            "the best checkpoint)"
        )
    if (args.split == "grouped") != (args.fold is not None):
        parser.error("--split grouped needs --fold 0..3, and --fold needs --split grouped")


def checking(args: argparse.Namespace) -> Dict[str, Any]:
    """The options of ``add_checking_options`` but the label map, as ``validation`` takes them."""
    names = ("out_of_image", "bad_boxes", "allow_missing", "empty_images", "exif")
    return {name: getattr(args, name) for name in names}
