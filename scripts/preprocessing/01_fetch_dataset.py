#!/usr/bin/env python
"""Step 01: puts images and annotations where the next steps read them, and verifies them.

Reads   --from FOLDER, a dataset that is already on this machine; without it, what an earlier run
        put into place; if there is nothing, it downloads the Grocery Dataset: ShelfImages.tar.gz
        and annotations.csv.
Writes  OUT/ShelfImages/{train,test}/ (and val/), links to the images (copies with --copy)
        OUT/annotations.csv (or .tsv, .json, .xml, .txt), links to the annotations; a folder
        OUT/annotations/ where they are several files; OUT/corrected/, links to corrected ones
        OUT/download/, only if something was downloaded

Your own images may be in folders train/ and test/, and validation images in val/ (also valid/ or
validation/). Where folders do not divide them, annotations may: one file a split, as SKU-110K has,
lists of Pascal VOC, subsets of CVAT. Without test images, a share of the training images (or of
all), chosen by --seed, becomes them. Photographs of one shelf (if file names state it), versions of
one image (NAME_aug_1, NAME_jpg.rf.HASH) and identical files stay together. The formats of
annotations are in docs/data.md.

Everything that steps 01 and 02 can refuse is checked before anything is put into place: every image
is decoded to its end, every annotated image must exist, and every image must have a box. What is
missing is named.

    python scripts/preprocessing/01_fetch_dataset.py
    python scripts/preprocessing/01_fetch_dataset.py --from ~/GroceryDataset
    python scripts/preprocessing/01_fetch_dataset.py --from ~/shelves --annotations ~/shelves.json
"""

import argparse
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet import UserError, data
from shelfdet.core import command_line, files, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, plural
from shelfdet.data import options

if TYPE_CHECKING:  # it loads NumPy and Pillow
    from shelfdet.data import dataset
    from shelfdet.data.splitting import groups


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    add_dataset_options(parser)
    options.add_checking_options(parser)
    options.add_split_options(parser)
    parser.add_argument(
        "--test-share",
        type=command_line.share,
        default=0.2,
        metavar="SHARE",
        help="share of test images, if there is no train/ and test/; above 0, below 1 (default: "
        "%(default)s)",
    )
    for option, url in (
        ("--images-url", data.GROCERY_IMAGES_URL),
        ("--annotations-url", data.GROCERY_ANNOTATIONS_URL),
    ):
        parser.add_argument(option, default=url, metavar="URL", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    if args.format != "auto" and args.annotations is None:
        parser.error(f"{both('--format')} is the format of {both('--annotations')}; give both")
    args.out = args.out or paths.dataset_images(args.dataset)
    options.check_split_options(parser, args)
    return args


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Where the dataset is and where it goes."""
    parser.add_argument(
        "--from",
        dest="source",
        **command_line.FOLDER,
        help="a dataset that is already on this machine",
    )
    options.add_annotation_options(parser, "the only one in the dataset's folder")
    parser.add_argument(
        "--corrected",
        **command_line.PATH,
        help="annotations, of any format, that replace those of the same images: what a person "
        "corrected after suspects.py --marked",
    )
    parser.add_argument(
        "--out",
        **command_line.FOLDER,
        help=f"where the next steps read (default: {paths.IMAGES}, or the folder of --dataset in "
        "it)",
    )
    options.add_dataset(parser)
    parser.add_argument(
        "--copy", action="store_true", help="copy images and annotations instead of linking to them"
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import annotation_files, dataset, layout, placement
    from shelfdet.data.splitting import splits

    # os.path, because pathlib raises PermissionError where a folder cannot be entered.
    if os.path.isfile(str(args.out)):
        raise UserError(
            f"{args.out}: is a file; expected a folder to put the dataset into. Name another with "
            "--out."
        )
    source = args.source
    annotations_path = args.annotations
    corrected_path = args.corrected
    placed_corrections = args.out / annotation_files.CORRECTED_NAME
    if source is None and layout.has_images(args.out):
        source = args.out
        if corrected_path is None and placed_corrections.is_dir():
            corrected_path = placed_corrections
        print(
            f"verifying what is in {paths.shown(source)}; "
            f"{both('--from FOLDER')} puts another dataset there"
        )
    elif source is None and args.dataset != paths.DEFAULT_DATASET:
        raise UserError(
            f"{paths.shown(args.out)}: has no images; expected those of the dataset "
            f"{args.dataset}. Name the folder that it is in with {both('--from')}."
        )
    elif source is None:
        source = fetch_images(args.images_url, args.out / layout.DOWNLOAD)
        if annotations_path is None:
            annotations_path = args.out / layout.DOWNLOAD / "annotations.csv"
            fetch(args.annotations_url, annotations_path)
    found = dataset.find(source, annotations_path, args.format, corrected_path)
    print_images(found)
    if found.corrected is None and placed_corrections.is_dir():
        print(
            f"the corrected annotations of an earlier run are not used: {both('--corrected')} "
            "names them"
        )
    try:
        checked = check(found, args)
        image_groups = splits.image_groups(checked.images)
        images = checked.by_split
        if "all" in images:  # otherwise step 02 prints them
            print_groups(image_groups)
        divided = dataset.divide(
            images, set(checked.images), args.test_share, args.seed, image_groups
        )
        if "test" not in images:
            of = "" if "all" in images else "there are no test images, so the training images are "
            print(
                f"{of}divided into {len(divided['train'])} train and {len(divided['test'])} test "
                f"images (seed {args.seed})"
            )
        # Step 02 chooses the same split, and would refuse it later.
        splits.choose(
            divided,
            checked.labelled,
            image_groups,
            args.split,
            args.fold,
            args.val_share,
            args.seed,
        )
    except UserError as error:
        raise UserError(f"{error}\nNothing was put into place.") from error
    changed = placement.place(divided, found.annotations, args.out, args.copy, found.corrected)
    if changed:
        action = "copied" if args.copy else "linked"
        names = ", ".join(path.name for path in changed)
        print(f"{action} into {paths.shown(args.out)}: {names}")
    else:
        print(f"all in place in {paths.shown(args.out)}")
    next_step.show(next_step.after(argv, "data"))


def fetch_images(url: str, folder: pathlib.Path) -> pathlib.Path:
    """Fetches and unpacks the archive of images into ``folder``; returns where the images are."""
    from shelfdet.data import download

    archive = folder / "ShelfImages.tar.gz"
    unpacked = folder / "unpacked"
    # An earlier run may have been stopped between downloading and unpacking.
    if fetch(url, archive) or not unpacked.is_dir():
        print(f"unpacking {paths.shown(archive)}")
        download.extract(archive, unpacked)
    return unpacked


def fetch(url: str, path: pathlib.Path) -> bool:
    """Downloads ``url`` to ``path`` unless that was done before; returns whether it was now."""
    from shelfdet.data import download

    if download.is_fetched(url, path):
        print(f"already here: {paths.shown(path)}, sha256 {files.sha256(path)}")
        return False
    print(f"fetching {url}")
    digest = download.fetch_once(url, path)
    print(f"fetched {paths.shown(path)}, {path.stat().st_size} bytes, sha256 {digest}")
    return True


def print_images(found: "dataset.Dataset") -> None:
    """Prints how many images there are, and which are not used."""
    from shelfdet.data import layout, prelabels

    images = found.layout.images
    if "all" in images:
        folders = {path.parent for path in images["all"].values()}
        places = "one folder" if len(folders) == 1 else f"{len(folders)} folders"
        print(f"found {counted(len(images['all']), 'image')} in {places}")
    else:
        counts = [f"{len(images[split])} {split}" for split in paths.SPLITS if split in images]
        print(f"found {' and '.join(filter(None, [', '.join(counts[:-1]), counts[-1]]))} images")
    for line in layout.unused_report(found.layout):
        print(line)
    annotations = found.annotations
    digest = ""
    if len(annotations.files) == 1 and not annotations.is_one_file_an_image():
        digest = f", sha256 {files.sha256(annotations.files[0])}"
    print(f"annotations: {annotations.described()}{digest}")
    if found.corrected is not None:
        print(f"corrected: {found.corrected.described()}")
    warning = prelabels.unchanged_report(annotations.files)
    if warning:
        print(warning, file=sys.stderr)


def check(found: "dataset.Dataset", args: argparse.Namespace) -> "dataset.Checked":
    """Checks images and annotations as step 02 does, and prints what there is.

    Raises:
      UserError: everything that is wrong or incomplete.
    """
    from shelfdet.data import dataset

    checked = dataset.check(found, args.classes, **options.checking(args))
    boxes = sum(len(image.classes) for image in checked.labelled)
    print(
        f"{counted(len(checked.images), 'image')} can be decoded to the end; "
        f"{len(checked.labelled)} of them {plural(len(checked.labelled), 'is', 'are')} used, with "
        f"{counted(boxes, 'box')}"
    )
    return checked


def print_groups(image_groups: "groups.Groups") -> None:
    from shelfdet.data.splitting import groups

    for line in groups.described(image_groups):
        print(line)


if __name__ == "__main__":
    command_line.run(main)
