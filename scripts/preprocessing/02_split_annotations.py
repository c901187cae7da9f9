#!/usr/bin/env python
"""Step 02: annotations to train, validation and test label files.

Reads   workspace/training_demo/images: the images in ShelfImages/{train,test} or {train,test}, for
their sizes as TensorFlow decodes them, and the annotations, one of annotations.csv   the Grocery
Dataset's: filename,xmin,ymin,xmax,ymax,brand without a header; or, with its header, a label file as
this step writes annotations/      Pascal VOC XML, as LabelImg writes annotations.json  COCO If the
label map has one class, every box is of that class, whatever the annotations call it. Writes
workspace/training_demo/annotations/{train,val,test}_labels.csv, with the header
filename,width,height,class,xmin,ymin,xmax,ymax.

Splits  official  test is the folder test/; validation is taken out of train/ by whole shelves (file
                  name without the copy number), so that no photograph of a validation shelf is
                  trained on.
        grouped   test is every image of three of the twelve planograms (--fold 0 to 3), from both
                  folders; validation is taken out of the rest by whole planograms. It measures how
                  well the detector does on held-out planograms.

    python scripts/preprocessing/02_split_annotations.py
    python scripts/preprocessing/02_split_annotations.py --split grouped --fold 0 --out /tmp/fold0
    python scripts/preprocessing/02_split_annotations.py --format voc --annotations ~/shelves/xml
"""

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Optional, Sequence

# The package shelfdet is in scripts/.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet.core import command_line, paths
from shelfdet.data import formats

if TYPE_CHECKING:  # it loads NumPy and Pillow
    from shelfdet.data import splits


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_inputs_and_outputs(parser)
    add_split_options(parser)
    add_checking_options(parser)
    parser.add_argument(
        "--check-options",
        action="store_true",
        help="only check whether the other options are valid",
    )
    args = parser.parse_args(argv)
    if not 0 < args.val_share < 1:
        parser.error(
            f"--val-share {args.val_share}: expected above 0 and below 1 (validation images choose "
            "the best checkpoint)"
        )
    if (args.split == "grouped") != (args.fold is not None):
        parser.error("--split grouped needs --fold 0..3, and --fold needs --split grouped")
    return args


def add_inputs_and_outputs(parser: argparse.ArgumentParser) -> None:
    """Which images, annotations and classes to read, and where the label files go."""
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=paths.IMAGES,
        metavar="FOLDER",
        help="folder with ShelfImages/{train,test} or {train,test} (default: %(default)s)",
    )
    parser.add_argument(
        "--annotations",
        type=pathlib.Path,
        metavar="PATH",
        help="CSV, JSON or folder of XML (default: annotations.csv, annotations/ or "
        "annotations.json in --images)",
    )
    parser.add_argument(
        "--format",
        choices=formats.ANNOTATION_FORMATS + ("auto",),
        default="auto",
        help="auto: a .csv is csv if it has the header of a label file, else grocery; a folder is "
        "voc, a .json is coco (default: %(default)s)",
    )
    parser.add_argument(
        "--label-map",
        type=pathlib.Path,
        default=paths.LABEL_MAP,
        metavar="FILE",
        help="the classes; a single one becomes the class of every box; with several, the sixth "
        "column of a grocery CSV is the class (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.ANNOTATIONS,
        metavar="FOLDER",
        help="where the label files go (default: %(default)s)",
    )


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Which images train, validate and test."""
    parser.add_argument(
        "--split",
        choices=("official", "grouped"),
        default="official",
        help="see Splits above (default: %(default)s)",
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
        help="share of the training images, above 0 and below 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="which shelves or planograms become validation (default: %(default)s)",
    )


def add_checking_options(parser: argparse.ArgumentParser) -> None:
    """What happens to boxes and images that are wrong or missing."""
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
        help="boxes that are inverted, without area or wholly outside (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out rows whose image does not exist"
    )
    parser.add_argument(
        "--empty-images",
        choices=("refuse", "leave-out", "keep"),
        default="refuse",
        help="images without annotations; keep: they show no product (default: %(default)s)",
    )
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: boxes are in pixels of the raw image, as TensorFlow decodes it (default). "
        "apply: boxes were drawn in a viewer that applies the EXIF orientation; give it to step "
        "04, too",
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    # `make data` asks first, because step 01 may take long and changes what is in place.
    if args.check_options:
        return
    from shelfdet.data import dataset, images, splits, validation
    from shelfdet.data.label_map import read_label_map

    label_map = read_label_map(args.label_map)
    found = images.train_and_test(args.images)
    path = args.annotations
    if path is None:
        path = dataset.placed_annotations(args.images, args.format)
    kind = args.format
    if kind == "auto":
        kind = formats.recognise(path)
    print(f"reading {paths.shown(path)} as {formats.FORMATS[kind].title}")
    if kind == "grocery" and len(label_map) > 1:
        print(
            f"the label map has {len(label_map)} classes: the class of a box is in the sixth column"
        )
    labelled = validation.read_annotations(
        path,
        dataset.all_images(found),
        kind,
        label_map=label_map,
        out_of_image=args.out_of_image,
        bad_boxes=args.bad_boxes,
        allow_missing=args.allow_missing,
        empty_images=args.empty_images,
        exif=args.exif,
    )
    names = [image.filename for image in labelled]
    if args.split == "official":
        train = [name for name in names if name in found["train"]]
        test = [name for name in names if name in found["test"]]
        split = splits.official(train, test, args.val_share, args.seed)
    else:
        split = splits.grouped(names, args.fold, args.val_share, args.seed)
        for name in paths.SPLITS:
            print(f"{name}: planograms {', '.join(splits.planograms(split[name]))}")
    written = splits.write(split, labelled, args.out)
    for name in paths.SPLITS:
        count = splits.counts(split[name], labelled)
        print(
            f"{name:5} {count.images:4} images, {count.boxes:6} boxes, at most {count.most_boxes} "
            f"an image: {paths.shown(written[name])}"
        )
    print_overlap(len(split["test"]), splits.overlap(split))


def print_overlap(test_images: int, overlap: "splits.Overlap") -> None:
    """Prints how many test images resemble images of train or val."""
    outside = ""
    if overlap.outside_scheme:
        outside = (
            f"; {overlap.outside_scheme} have names outside the C_P_N_S scheme and count for "
            "neither"
        )
    print(
        f"of {test_images} test images, {overlap.shelves} show a shelf that train or val shows, "
        f"too, and {overlap.scenes} share camera and planogram with one{outside}"
    )
    if overlap.scenes:
        print(
            "so scores on this test split are optimistic for held-out planograms; see --split "
            "grouped"
        )


if __name__ == "__main__":
    command_line.run(main)
