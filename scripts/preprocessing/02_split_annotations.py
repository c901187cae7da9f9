#!/usr/bin/env python
"""Step 02: annotations to train, validation and test label files.

Reads   workspace/training_demo/images: annotations.csv (Grocery Dataset: filename,xmin,ymin,xmax,ymax,brand without a
        header; or, with its header, a label file as this step writes), or annotations/ (Pascal VOC XML, as LabelImg
        writes), or annotations.json (COCO); the images in its ShelfImages/{train,test} or {train,test}, for their sizes
        as TensorFlow decodes them. Where the label map has one class, every box is of it, whatever it is called there.
Writes  workspace/training_demo/annotations/{train,val,test}_labels.csv, with the header
        filename,width,height,class,xmin,ymin,xmax,ymax.

Splits  official  test is the folder test/; validation is taken out of train/ by whole shelves (file name without the
                  copy number), so that no photograph of a validation shelf is trained on.
        grouped   test is every image of three of the twelve planograms (--fold 0 to 3), from both folders; validation
                  is taken out of the rest by whole planograms. For how well it does on shelves of other goods.

    python scripts/preprocessing/02_split_annotations.py
    python scripts/preprocessing/02_split_annotations.py --split grouped --fold 0 --out /tmp/fold0
    python scripts/preprocessing/02_split_annotations.py --images ~/shelves --format voc --annotations ~/shelves/xml
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

FORMATS = ("grocery", "labels", "voc", "coco")
# Without --annotations: the first of these that is there, and which formats it can be of.
USUAL_ANNOTATIONS = (
    ("annotations.csv", ("grocery", "labels")),
    ("annotations", ("voc",)),
    ("annotations.json", ("coco",)),
)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
        help="CSV, JSON or folder of XML (default: annotations.csv, annotations/ or annotations.json "
        "in --images)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS + ("auto",),
        default="auto",
        help="auto: a .csv is labels if it has their header, else grocery; a folder is voc, a .json is coco; "
        "which one is said (default: %(default)s)",
    )
    parser.add_argument(
        "--label-map",
        type=pathlib.Path,
        default=paths.LABEL_MAP,
        metavar="FILE",
        help="the classes; one becomes the class of every box; with several, the sixth column of a grocery "
        "CSV is the class (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.ANNOTATIONS,
        metavar="FOLDER",
        help="where the label files go (default: %(default)s)",
    )
    parser.add_argument(
        "--split",
        choices=("official", "grouped"),
        default="official",
        help="see above (default: %(default)s)",
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(4),
        metavar="0..3",
        help="which planograms --split grouped tests on",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the training images, above 0 and below 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="which shelves or planograms validate (default: %(default)s)",
    )
    parser.add_argument(
        "--out-of-image",
        choices=("clip", "refuse"),
        default="clip",
        help="boxes that stick out of their image (default: %(default)s, and say how many)",
    )
    parser.add_argument(
        "--bad-boxes",
        choices=("refuse", "drop"),
        default="refuse",
        help="boxes that are inverted, without area or wholly outside (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out rows whose image is not there"
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
        help="ignore: boxes are of raw pixels, as TensorFlow decodes them (default). apply: boxes were "
        "drawn in a viewer that turns images by their EXIF flag; give it to step 04, too",
    )
    parser.add_argument(
        "--check-options",
        action="store_true",
        help="do nothing but tell whether the other options are right",
    )
    args = parser.parse_args(argv)
    if not 0 < args.val_share < 1:
        parser.error(
            f"--val-share {args.val_share}: expected above 0 and below 1 (they choose the best checkpoint)"
        )
    if (args.split == "grouped") != (args.fold is not None):
        parser.error("--fold 0..3 belongs to --split grouped, and is needed there")
    return args


def main(argv=None):
    args = parse(argv)
    if args.check_options:
        return
    from shelfdet.data import images, labels, splits, validation

    label_map = labels.read_label_map(args.label_map)
    sides = images.sides(args.images)
    path, kind = find_annotations(args)
    names = {name: file for side in sides.values() for name, file in side.items()}
    if kind == "grocery" and len(label_map) > 1:
        print(
            f"the label map names {len(label_map)} classes: the sixth column is taken for the class"
        )
    labelled = validation.read_annotations(
        path,
        names,
        kind,
        label_map=label_map,
        out_of_image=args.out_of_image,
        bad_boxes=args.bad_boxes,
        allow_missing=args.allow_missing,
        empty_images=args.empty_images,
        exif=args.exif,
    )
    there = [image.filename for image in labelled]
    if args.split == "official":
        divided = splits.official(
            [name for name in there if name in sides["train"]],
            [name for name in there if name in sides["test"]],
            args.val_share,
            args.seed,
        )
    else:
        divided = splits.grouped(there, args.fold, args.val_share, args.seed)
        for split in splits.NAMES:
            print(f"{split}: planograms {', '.join(splits.planograms(divided[split]))}")
    targets = [args.out / f"{split}_labels.csv" for split in splits.NAMES]
    with files.replacing_together(targets) as partials:
        for split, partial in zip(splits.NAMES, partials):
            members = set(divided[split])
            labels.write_labels([image for image in labelled if image.filename in members], partial)
    tell(divided, labelled, targets)


def find_annotations(args):
    """(path, format) of the annotations: as named, or the first of the usual ones; says aloud which."""
    from shelfdet.data import formats_labels_tmp

    path, kind = args.annotations, args.format
    if path is None:
        usual = [
            args.images / name
            for name, kinds in USUAL_ANNOTATIONS
            if kind == "auto" or kind in kinds
        ]
        path = next((path for path in usual if path.exists()), None)
        if path is None:
            raise UserError(
                f"{args.images}: holds none of {', '.join(path.name for path in usual)}; expected annotations. Run step 01, or give --annotations."
            )
    if kind == "auto":
        kind = formats_labels_tmp.recognised(path)
    print(f"reading {paths.shown(path)} as {formats_labels_tmp.TITLES[kind]}")
    return path, kind


def tell(divided, labelled, targets):
    """Prints what each split holds, and how much the test images have in common with those of training."""
    from shelfdet.data import splits

    counts = {image.filename: len(image.classes) for image in labelled}
    for split, target in zip(splits.NAMES, targets):
        boxes = [counts[name] for name in divided[split]]
        print(
            f"{split:5} {len(boxes):4} images, {sum(boxes):6} boxes, at most {max(boxes)} an image: {paths.shown(target)}"
        )
    shelves, scenes, outside = splits.shared(divided)
    total = len(divided["test"])
    print(
        f"of {total} test images, {shelves} show a shelf that train or val shows, too, and {scenes} share camera and planogram with one{(f'; {outside} have names outside the C_P_N_S scheme and count for neither' if outside else '')}"
    )
    if scenes:
        print(
            "so scores on this test split are optimistic for shelves never seen; see --split grouped"
        )


if __name__ == "__main__":
    command_line.run(main)
