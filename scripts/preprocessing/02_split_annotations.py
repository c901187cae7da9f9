#!/usr/bin/env python
"""Step 02: annotations to train, validation and test label files.

Reads   workspace/training_demo/images: the images in train/, test/ and perhaps val/, in it or in
        its ShelfImages/, for their sizes as TensorFlow decodes them; and the annotations, one of
        annotations.csv, .tsv, .json, .xml or .txt  in one file
        annotations/                                in several files, one an image or a split
        in any format of docs/data.md, which is recognised by the content; corrected/, annotations
        that replace those of the same images.
Writes  workspace/training_demo/annotations/{train,val,test}_labels.csv, with the header
        filename,width,height,class,xmin,ymin,xmax,ymax;
        with --classes, classes.pbtxt beside them, the label map of these classes. Without, every
        box is of the class product, whatever the annotations call it.

Splits  official  by folder: test is test/, validation is val/ (also named valid/ or validation/).
                  Without val/, validation is taken out of train/ by whole groups: photographs of
                  one shelf (file name without the copy number), versions of one image (NAME_aug_1,
                  NAME_jpg.rf.HASH) and images that are identical or nearly so stay together.
        grouped   test is every image of three of the twelve planograms (--fold 0 to 3), from all
                  folders; validation is taken out of the rest by whole planograms. It measures how
                  well the detector does on held-out planograms.

    python scripts/preprocessing/02_split_annotations.py
    python scripts/preprocessing/02_split_annotations.py --split grouped --fold 0 --out /tmp/fold0
    python scripts/preprocessing/02_split_annotations.py --format voc --annotations ~/shelves/xml
"""

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, listed, plural
from shelfdet.data import options

if TYPE_CHECKING:  # it loads NumPy and Pillow
    from shelfdet.data import labels
    from shelfdet.data.splitting import splits


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    add_inputs_and_outputs(parser)
    options.add_split_options(parser)
    options.add_checking_options(parser)
    args = parser.parse_args(argv)
    args.images = args.images or paths.dataset_images(args.dataset)
    args.out = args.out or paths.dataset_annotations(args.dataset)
    options.check_split_options(parser, args)
    return args


def add_inputs_and_outputs(parser: argparse.ArgumentParser) -> None:
    """Which images and annotations to read, and where the label files go."""
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        help="folder with train/, test/ and perhaps val/, in it or in its ShelfImages/ (default: "
        f"{paths.IMAGES}, or the folder of --dataset in it)",
    )
    options.add_dataset(parser)
    options.add_annotation_options(
        parser, "annotations.csv, annotations/ or annotations.json in --images"
    )
    parser.add_argument(
        "--out",
        **command_line.FOLDER,
        help=f"where the label files go (default: {paths.ANNOTATIONS}, or the folder of --dataset "
        "in it)",
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import dataset, layout
    from shelfdet.data.checks import box_edges
    from shelfdet.data.splitting import groups, splits

    found = dataset.find_placed(args.images, args.annotations, args.format)
    for line in layout.unused_report(found.layout):
        print(line)
    annotations = found.annotations
    print(f"annotations: {annotations.described()}")
    if found.corrected is not None:
        print(f"corrected: {found.corrected.described()}")
    if annotations.format == "grocery" and args.classes.kept:
        print("the class of a box is its brand, in the sixth column")
    checked = dataset.check(found, args.classes, **options.checking(args))
    labelled = checked.labelled
    for line in box_edges.report(labelled, checked.images, args.exif):
        print(line)
    image_groups = splits.image_groups(checked.images)
    for line in groups.described(image_groups):
        print(line)
    split = splits.choose(
        checked.by_split,
        labelled,
        image_groups,
        args.split,
        args.fold,
        args.val_share,
        args.seed,
    )
    label_map = checked.label_map if args.classes.kept else None
    written = splits.write(split, labelled, args.out, label_map)
    print_split(args, checked.by_split, split, labelled, written)
    if label_map:
        print_classes(label_map, split, labelled, args.out / paths.CLASSES_FILE)
    print_overlap(len(split["test"]), splits.overlap(split))
    for line in splits.shared_report(split, image_groups):
        print(line)
    next_step.show(next_step.after(argv, "data"))


def print_split(
    args: argparse.Namespace,
    folders: Dict[str, Dict[str, pathlib.Path]],
    split: "splits.Split",
    labelled: "List[labels.LabelledImage]",
    written: Dict[str, pathlib.Path],
) -> None:
    """Prints where each split comes from, and its size."""
    from shelfdet.data.splitting import splits

    if args.split == "grouped":
        for name in paths.SPLITS:
            print(f"{name}: planograms {', '.join(splits.planograms(split[name]))}")
    elif "val" in folders:
        print("validation images are those of the validation folder; none is taken out of train/")
    for name in paths.SPLITS:
        count = splits.counts(split[name], labelled)
        print(
            f"{name:5} {count.images:4} {plural(count.images, 'image')}, {count.boxes:6} "
            f"{plural(count.boxes, 'box')}, at most {count.most_boxes} "
            f"an image: {paths.shown(written[name])}"
        )


def print_classes(
    label_map: Dict[str, int],
    split: "splits.Split",
    labelled: "List[labels.LabelledImage]",
    path: pathlib.Path,
) -> None:
    """Prints the number of boxes of each class in each split, and what a config has to state."""
    from shelfdet.data.splitting import splits

    counts = [splits.class_counts(split[name], labelled) for name in paths.SPLITS]
    width = max(map(len, label_map)) + 2
    print(f"{'class':{width}}" + "".join(f"{name:>8}" for name in paths.SPLITS))
    for name in label_map:
        print(f"{name:{width}}" + "".join(f"{count[name]:8}" for count in counts))
    effects = {
        "train": "training cannot learn them",
        "val": "they have no part in the choice of checkpoint and threshold",
        "test": "they will have no AP and no recall",
    }
    for split_name, count in zip(paths.SPLITS, counts):
        missing = [name for name in label_map if not count[name]]
        if missing:
            print(f"no box in {split_name} of {listed(missing)}: {effects[split_name]}")
    print(
        f"{counted(len(label_map), 'class')}: {paths.shown(path)}. The config has to "
        "name it as label_map_path of both input readers, and to have num_classes: "
        f"{len(label_map)}; `make check` prints the lines"
    )


def print_overlap(test_images: int, overlap: "splits.Overlap") -> None:
    """Prints how many test images resemble images of train or val."""
    in_scheme = test_images - overlap.outside_scheme
    if in_scheme:
        print(
            f"of {counted(in_scheme, 'test image')}, {overlap.shelves} "
            f"{plural(overlap.shelves, 'shows', 'show')} a shelf that train or val shows, too, and "
            f"{overlap.scenes} {plural(overlap.scenes, 'shares', 'share')} camera and planogram "
            "with one"
        )
    if overlap.outside_scheme:
        print(
            f"{counted(overlap.outside_scheme, 'test image has a name', 'test images have names')} "
            f"that {plural(overlap.outside_scheme, 'does', 'do')} not state what the image shows: "
            "another photograph of the same shelf, in train or val, is recognised only if it is "
            "nearly identical"
        )
    if overlap.scenes:
        print(
            f"so scores on this test split are optimistic for held-out planograms; see "
            f"{both('--split grouped')}"
        )


if __name__ == "__main__":
    command_line.run(main)
