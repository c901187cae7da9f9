"""Options of several scripts about images and annotations.

Steps 01 and 02 share most of them: step 01 replaces nothing by what step 02 would refuse.
"""

import argparse
import re
from typing import Any, Dict, Optional

from shelfdet.core import command_line, paths
from shelfdet.core.make_variables import both
from shelfdet.data import MAX_SIDE, classes, formats


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The name of the dataset, which decides in which folders of the workspace it is."""
    parser.add_argument(
        "--dataset",
        type=dataset_name,
        default=paths.DEFAULT_DATASET,
        metavar="NAME",
        help="a name, with which the dataset has folders of its own in "
        f"{paths.shown(paths.IMAGES)} and {paths.shown(paths.ANNOTATIONS)}, beside the one without "
        "a name; several can train together",
    )


def dataset_name(text: str) -> str:
    """The name of a dataset, as the ``type`` of an argparse option."""
    from shelfdet.data import annotation_files, layout  # not above: --help must not load NumPy

    taken = (layout.DOWNLOAD, annotation_files.PLACED_NAME, annotation_files.CORRECTED_NAME)
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*$", text):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a name of letters, digits, dots, hyphens and underscores"
        )
    if layout.is_folder_of_images(text) or text.lower() in taken:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, which is the name of a folder inside a dataset; expected another"
        )
    return text


def add_annotation_options(parser: argparse.ArgumentParser, default: str) -> None:
    """The annotations and their format. ``default``: which annotations are read without them."""
    parser.add_argument(
        "--annotations",
        **command_line.PATH,
        help=f"a file, or a folder with one file an image or a split (default: {default})",
    )
    parser.add_argument(
        "--format",
        choices=formats.ANNOTATION_FORMATS + ("auto",),
        default="auto",
        help="of the annotations; auto recognises it by their content (default: %(default)s)",
    )


def add_label_map(parser: argparse.ArgumentParser, beside: str) -> None:
    """The classes and their ids. ``beside``: where its default is, if it is there, for the help."""
    parser.add_argument(
        "--label-map",
        **command_line.FILE,
        help=f"the classes and their ids (default: {beside}; where there is none, "
        f"{paths.LABEL_MAP})",
    )


def class_choice(text: str) -> classes.ClassChoice:
    """Which classes boxes get, as the ``type`` of an argparse option."""
    try:
        return classes.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_exif(parser: argparse.ArgumentParser, apply: str) -> None:
    """What happens to images with an EXIF orientation. ``apply``: help for --exif apply."""
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: boxes are in pixels of the raw image, as TensorFlow decodes it (default). "
        f"apply: {apply}",
    )


def add_max_side(
    parser: argparse.ArgumentParser,
    size: str = "this",
    default: Optional[int] = MAX_SIDE,
    default_text: str = "%(default)s",
) -> None:
    """To which size images are shrunk. ``size``: the same in words, for the help."""
    parser.add_argument(
        "--max-side",
        type=command_line.not_negative,
        default=default,
        metavar="PIXELS",
        help=f"shrink longer images to at most {size}; 0 keeps all (default: {default_text})",
    )


def add_checking_options(parser: argparse.ArgumentParser) -> None:
    """Classes, and what happens to boxes and images that are wrong or missing."""
    parser.add_argument(
        "--classes",
        type=class_choice,
        default=classes.ONE_CLASS,
        metavar="keep|NAME,NAME",
        help="keep: boxes keep the classes of the annotations, in a grocery CSV the brand of its "
        "sixth column; names: so do boxes of these classes, and others are left out (default: "
        f"every box is of the class {classes.PRODUCT})",
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
    add_exif(
        parser,
        "boxes were drawn in a viewer that applies the EXIF orientation; give it to step 04, too",
    )


def checking(args: argparse.Namespace) -> Dict[str, Any]:
    """The options of ``add_checking_options`` but the classes, as ``validation`` takes them."""
    names = ("out_of_image", "bad_boxes", "allow_missing", "empty_images", "exif")
    return {name: getattr(args, name) for name in names}


def add_fold(parser: argparse.ArgumentParser, use: str) -> None:
    """A fold of the grouped split. ``use``: what for."""
    parser.add_argument(
        "--fold", type=command_line.not_negative, choices=range(4), metavar="0..3", help=use
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
    add_fold(parser, "which planograms are the test images of --split grouped")
    parser.add_argument(
        "--val-share",
        type=command_line.share,
        default=0.1,
        metavar="SHARE",
        help="share of the training images that become validation images where there is no val/; "
        "above 0 and below 1, since they choose the best checkpoint (default: %(default)s)",
    )
    command_line.add_seed(
        parser,
        "which shelves or planograms become validation, and the test where images are in one "
        "folder",
    )


def check_split_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program where the options of ``add_split_options`` do not agree."""
    if (args.split == "grouped") != (args.fold is not None):
        parser.error(
            f"{both('--split grouped')} and {both('--fold')} are given together, or neither of them"
        )
