#!/usr/bin/env python
"""Step 01: puts images and annotations where the next steps read them, and verifies them.

Reads   --from FOLDER, a dataset that is already on this machine; without it, what an earlier run
        put into place; if there is nothing, it downloads the Grocery Dataset: ShelfImages.tar.gz
        and annotations.csv.
Writes  OUT/ShelfImages/{train,test}/, links to the images (copies with --copy)
        OUT/annotations.csv (Grocery Dataset, or a label file of this workspace), OUT/annotations/
        (Pascal VOC XML) or OUT/annotations.json (COCO), depending on the format
        OUT/download/, only if something was downloaded

Your own images may be in folders train/ and test/. In one folder they are divided: a share of them,
chosen by --seed (by whole shelves, if file names state the shelf), becomes the test images. Every
image is decoded to its end, every annotated image must exist, and every image must be annotated;
what is missing is named, and nothing is put into place.

    python scripts/preprocessing/01_fetch_dataset.py
    python scripts/preprocessing/01_fetch_dataset.py --from ~/GroceryDataset
    python scripts/preprocessing/01_fetch_dataset.py --from ~/shelves --annotations ~/shelves.json
"""

import argparse
import collections
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Optional, Sequence

# The package shelfdet is in scripts/.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError, data
from shelfdet.core import command_line, files, paths
from shelfdet.data import formats

if TYPE_CHECKING:  # it loads NumPy and Pillow
    from shelfdet.data import dataset


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_dataset_options(parser)
    add_incomplete_options(parser)
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of test images, if there is no train/ and test/; above 0, below 1 (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="which images become test images (default: %(default)s)"
    )
    parser.add_argument(
        "--images-url",
        default=data.GROCERY_IMAGES_URL,
        metavar="URL",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--annotations-url",
        default=data.GROCERY_ANNOTATIONS_URL,
        metavar="URL",
        help="(default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not 0 < args.test_share < 1:
        parser.error(f"--test-share {args.test_share}: expected above 0 and below 1")
    if args.format != "auto" and args.annotations is None:
        parser.error("--format is the format of --annotations; give both")
    return args


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Where the dataset is and where it goes."""
    parser.add_argument(
        "--from",
        dest="source",
        type=pathlib.Path,
        metavar="FOLDER",
        help="a dataset that is already on this machine",
    )
    parser.add_argument(
        "--annotations",
        type=pathlib.Path,
        metavar="PATH",
        help="CSV, JSON or folder of XML (default: the only one in the dataset's folder)",
    )
    parser.add_argument(
        "--format",
        choices=formats.ANNOTATION_FORMATS + ("auto",),
        default="auto",
        help="of --annotations; auto: a .csv is csv if it has the header of a label file, else "
        "grocery; a folder is voc, a .json is coco (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.IMAGES,
        metavar="FOLDER",
        help="where the next steps read (default: %(default)s)",
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy images and annotations instead of linking to them"
    )


def add_incomplete_options(parser: argparse.ArgumentParser) -> None:
    """What happens to images that are missing, broken or not annotated."""
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="continue without images that are missing, broken or not annotated, and name them",
    )
    parser.add_argument(
        "--empty-images",
        choices=("refuse", "leave-out", "keep"),
        default="refuse",
        help="images without annotations; keep: they show no product (default: %(default)s)",
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.data import dataset, placement

    # os.path, because pathlib raises PermissionError where a folder cannot be entered.
    if os.path.isfile(str(args.out)):
        raise UserError(
            f"{args.out}: is a file; expected a folder to put the dataset into. Name another with "
            "--out."
        )
    source = args.source
    annotations_path = args.annotations
    if source is None and os.path.exists(str(args.out / "ShelfImages")):
        source = args.out
        print(
            f"verifying what is in {paths.shown(source)}; --from FOLDER puts another dataset there"
        )
    elif source is None:
        source = fetch_images(args.images_url, args.out / "download")
        if annotations_path is None:
            annotations_path = args.out / "download" / "annotations.csv"
            fetch(args.annotations_url, annotations_path)
    found = dataset.read(source, annotations_path, args.format)
    print_findings(found)
    selection = dataset.select(found, args.empty_images)
    print_selection(found, selection, args.allow_missing)
    used = dataset.divide(found.images, selection.left_out, args.test_share, args.seed)
    if "all" in found.images:
        print(
            f"divided into {len(used['train'])} train and {len(used['test'])} test images "
            f"(seed {args.seed})"
        )
    changed = placement.place(used, found.annotations, args.out, args.copy)
    if changed:
        action = "copied" if args.copy else "linked"
        names = ", ".join(path.name for path in changed)
        print(f"{action} into {paths.shown(args.out)}: {names}")
    else:
        print(f"all in place in {paths.shown(args.out)}")


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


def print_findings(found: "dataset.Dataset") -> None:
    """Prints how many images and boxes there are, and which images have an EXIF orientation."""
    annotations = found.annotations
    findings = found.findings
    if "all" in found.images:
        print(f"found {len(found.images['all'])} images in one folder")
    else:
        train = len(found.images["train"])
        test = len(found.images["test"])
        print(f"found {train} train and {test} test images")
    path = annotations.files[0]
    title = formats.FORMATS[annotations.format].title
    if annotations.format == "voc":
        print(f"annotations: {len(annotations.files)} files of {title} in {path.parent}")
    else:
        print(f"annotations: {path} ({title}), sha256 {files.sha256(path)}")
    print(f"they hold {sum(findings.boxes.values())} boxes on {len(findings.boxes)} images")
    print(f"{len(findings.infos)} images can be decoded to their end")
    orientations = collections.Counter(
        info.orientation for info in findings.infos.values() if info.orientation != 1
    )
    if orientations:
        counts = ", ".join(f"flag {flag}: {orientations[flag]}" for flag in sorted(orientations))
        print(
            f"{sum(orientations.values())} carry an EXIF orientation ({counts}), which is not "
            "applied: boxes are in pixels of the raw image. If yours were drawn in a viewer that "
            "rotates images, give --exif apply to steps 02, 04 and 08."
        )


def print_selection(
    found: "dataset.Dataset", selection: "dataset.Selection", allow_missing: bool
) -> None:
    """Prints what was recognised and what is incomplete; refuses that without --allow-missing."""
    for note in selection.notes:
        print(note)
    if not selection.problems:
        return
    if not allow_missing:
        problems = "\n  ".join(selection.problems)
        remedy = "Add what is missing, or give --allow-missing to continue without"
        if selection.unannotated:
            remedy += ", or --empty-images keep if those without annotations show no product"
        raise UserError(
            f"{found.annotations.files[0]}: not complete\n  {problems}\n"
            "Expected every annotated image, complete, and annotations for every image; nothing "
            f"was put into place. {remedy}."
        )
    print("\n".join(selection.problems))
    kept = [name for name in found.findings.infos if name not in selection.left_out]
    boxes = sum(found.findings.boxes.get(name, 0) for name in kept)
    print(
        f"continuing without them: {len(kept)} images with {boxes} boxes (give --allow-missing to "
        "step 02, too)"
    )


if __name__ == "__main__":
    command_line.run(main)
