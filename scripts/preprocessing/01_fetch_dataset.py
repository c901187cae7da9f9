#!/usr/bin/env python
"""Step 01: brings the images and their annotations to where the next steps look, and verifies them.

Reads   --from FOLDER, a dataset that is already on this machine; without it, what an earlier run put into place; and where
        there is nothing, the network: the Grocery Dataset's ShelfImages.tar.gz and annotations.csv.
Writes  OUT/ShelfImages/{train,test}/, links to the images (copies with --copy)
        OUT/annotations.csv (Grocery Dataset, or a label file of this workspace), OUT/annotations/ (Pascal VOC XML) or
        OUT/annotations.json (COCO), whichever there is
        OUT/download/, only what was fetched

Your own images are as welcome: in train/ and test/ folders, or flat, and then a seeded share of them (by whole shelves,
where names tell the shelf) becomes the test side. Every image is decoded to its end, every annotated image must be
there, and every image must be annotated; what is missing is named, and nothing is put into place.

    python scripts/preprocessing/01_fetch_dataset.py
    python scripts/preprocessing/01_fetch_dataset.py --from ~/GroceryDataset
    python scripts/preprocessing/01_fetch_dataset.py --from ~/my-shelves --annotations ~/my-shelves/labels.json
"""

import argparse
import collections
import os
import pathlib
import shutil
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

IMAGES_URL = "https://storage.googleapis.com/open_source_datasets/ShelfImages.tar.gz"
ANNOTATIONS_URL = "https://raw.githubusercontent.com/gulvarol/grocerydataset/HEAD/annotations.csv"
FORMATS = ("grocery", "labels", "voc", "coco")
TARGETS = {
    "grocery": "annotations.csv",
    "labels": "annotations.csv",
    "voc": "annotations",
    "coco": "annotations.json",
}


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
        choices=FORMATS + ("auto",),
        default="auto",
        help="of --annotations; auto: a .csv is labels if it has their header, else grocery; a folder is voc, a "
        ".json coco (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.IMAGES,
        metavar="FOLDER",
        help="where the next steps look (default: %(default)s)",
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy images and annotations instead of linking to them"
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on without images that are missing, broken or not annotated, and say which",
    )
    parser.add_argument(
        "--empty-images",
        choices=("refuse", "leave-out", "keep"),
        default="refuse",
        help="images without annotations; keep: they show no product (default: %(default)s)",
    )
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of a flat folder's images, above 0 and below 1 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which of them (default: %(default)s)")
    parser.add_argument(
        "--images-url", default=IMAGES_URL, metavar="URL", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--annotations-url", default=ANNOTATIONS_URL, metavar="URL", help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if not 0 < args.test_share < 1:
        parser.error(f"--test-share {args.test_share}: expected above 0 and below 1")
    if args.format != "auto" and args.annotations is None:
        parser.error("--format says what --annotations is; give both")
    return args


def main(argv=None):
    args = parse(argv)
    from shelfdet.data import dataset

    if os.path.isfile(str(args.out)):
        raise UserError(
            f"{args.out}: is a file; expected a folder to put the dataset into. Name another with --out."
        )
    source, named = args.source, args.annotations
    if source is None and os.path.exists(str(args.out / "ShelfImages")):
        source = args.out
        print(
            f"verifying what is in {paths.shown(source)}; --from FOLDER puts another dataset there"
        )
    elif source is None:
        source, named = download(args)
    sides = dataset.find_images(source)
    pictures = collections.OrderedDict(
        (name, path) for side in sides.values() for name, path in side.items()
    )
    if named is None:
        annotations = dataset.find_annotations(
            source, {path.parent: None for path in pictures.values()}
        )
    else:
        annotations = dataset.named_annotations(named, args.format)
    findings = dataset.verify(pictures, annotations)
    report(sides, annotations, findings)
    left_out = missing(sides, annotations, findings, args)
    sides = divided(sides, left_out, args)
    try:
        put_into_place(sides, annotations, args)
    except OSError as error:
        raise UserError(files.writing_failed(args.out, error)) from error


def download(args):
    """Fetches the archive and the CSV, unpacks the archive; returns (folder of the images, path of the CSV)."""
    from shelfdet.data import download as network

    folder = args.out / "download"
    unpacked = folder / "unpacked"
    archive = folder / "ShelfImages.tar.gz"
    if fetch(network, args.images_url, archive) or not unpacked.is_dir():
        print(f"unpacking {paths.shown(archive)}")
        network.extract(archive, unpacked)
    if args.annotations is not None:
        return unpacked, args.annotations
    fetch(network, args.annotations_url, folder / "annotations.csv")
    return unpacked, folder / "annotations.csv"


def fetch(network, url, path):
    """Downloads unless the same address was fetched to ``path`` before; True where something came. Tells the SHA-256."""
    note = path.with_name("." + path.name + ".url")  # which address the file is from
    if path.is_file() and note.is_file() and note.read_text(encoding="utf-8") == url:
        print(f"already here: {paths.shown(path)}, sha256 {files.sha256(path)}")
        return False
    print(f"fetching {url}")
    digest = network.fetch(url, path)
    files.write_text(note, url)
    print(f"fetched {paths.shown(path)}, {path.stat().st_size} bytes, sha256 {digest}")
    return True


def report(sides, annotations, findings):
    """Prints what is there."""
    print(
        "found {}".format(
            "{} images in one folder".format(len(sides["all"]))
            if "all" in sides
            else "{} train and {} test images".format(len(sides["train"]), len(sides["test"]))
        )
    )
    from shelfdet.data import formats_labels_tmp

    what, title = annotations.files[0], formats_labels_tmp.TITLES[annotations.format]
    if annotations.format == "voc":
        print(f"annotations: {len(annotations.files)} files of {title} in {what.parent}")
    else:
        print(f"annotations: {what} ({title}), sha256 {files.sha256(what)}")
    print(f"they hold {sum(findings.boxes.values())} boxes on {len(findings.boxes)} images")
    print(f"{len(findings.infos)} images decode to their end")
    flags = collections.Counter(
        info.orientation for info in findings.infos.values() if info.orientation != 1
    )
    if flags:
        print(
            f"{sum(flags.values())} carry an EXIF orientation ({', '.join(f'flag {flag}: {flags[flag]}' for flag in sorted(flags))}), which is not applied: boxes belong to the raw pixels. If yours were drawn in a viewer that turns images, give --exif apply to steps 02, 04 and 08."
        )


def missing(sides, annotations, findings, args):
    """Names what is missing, broken or too much, and refuses, or goes on without; returns the names to leave out."""
    from shelfdet.core import text
    from shelfdet.data import dataset

    problems = []
    if dataset.is_grocery_dataset(
        [name for names in sides.values() for name in names], findings.boxes
    ):
        expected = (dataset.GROCERY_TRAIN, dataset.GROCERY_TEST)
        if "all" in sides:
            print(
                f"this is the Grocery Dataset, but flat: the test side will not be the official one, which is in the folders of {IMAGES_URL}"
            )
        elif (len(sides["train"]), len(sides["test"])) != expected:
            problems.append(
                "{} train and {} test images; the Grocery Dataset has {} and {}".format(
                    len(sides["train"]), len(sides["test"]), *expected
                )
            )
        else:
            print(
                "this is the Grocery Dataset with its official split: {} train, {} test".format(
                    *expected
                )
            )
    there = len(findings.infos) + len(findings.broken)
    empty = [name for name in findings.without_rows if name not in findings.broken]
    left_out = set(findings.broken) | set(() if args.empty_images == "keep" else empty)
    if empty and args.empty_images != "refuse":
        print(
            f"{len(empty)} images without annotations are {'kept, as images without products (give --empty-images keep to step 02, too)' if args.empty_images == 'keep' else 'left out'}: {text.listed(empty)}"
        )
        empty = []
    for names, total, what in (
        (findings.without_image, len(findings.boxes), "annotated but not there"),
        (empty, there, "there but not annotated"),
        (findings.broken, there, "broken"),
    ):
        if names:
            problems.append(f"{len(names)} of {total} images are {what}: {text.listed(names)}")
    problems += ["  " + reason for reason in list(findings.broken.values())[: text.SHOWN_NAMES]]
    if not problems:
        return left_out
    if not args.allow_missing:
        raise UserError(
            "{}: not complete\n  {}\nExpected every annotated image, whole, and annotations for every "
            "image; nothing was put into place. Get what is missing, or give --allow-missing to go on "
            "without{}.".format(
                annotations.files[0],
                "\n  ".join(problems),
                ", or --empty-images keep if those without annotations show no product"
                if empty
                else "",
            )
        )
    print("\n".join(problems))
    kept = [name for name in findings.infos if name not in left_out]
    print(
        f"going on without them: {len(kept)} images with {sum(findings.boxes.get(name, 0) for name in kept)} boxes (give --allow-missing to step 02, too)"
    )
    return left_out


def divided(sides, left_out, args):
    """{"train": {name: path}, "test": ...} without ``left_out``; a flat folder is divided here."""
    from shelfdet.data import splits

    sides = {
        side: collections.OrderedDict(
            (name, path) for name, path in names.items() if name not in left_out
        )
        for side, names in sides.items()
    }
    if "all" in sides:
        flat = sides["all"]
        train, test = splits.hold_out(list(flat), args.test_share, args.seed)
        sides = {
            "train": {name: flat[name] for name in train},
            "test": {name: flat[name] for name in test},
        }
        print(
            f"divided into {len(sides['train'])} train and {len(sides['test'])} test images (seed {args.seed})"
        )
    empty = [side for side in sides if not sides[side]]
    if empty:
        raise UserError(f"no image is left in {' and '.join(empty)}; expected some on both sides.")
    return sides


def put_into_place(sides, annotations, args):
    """Links or copies to OUT what is not there yet; refuses to replace anything that is not a link."""
    pictures = {
        args.out / "ShelfImages" / side / name: path
        for side, names in sides.items()
        for name, path in names.items()
    }
    target = args.out / TARGETS[annotations.format]
    if annotations.format == "voc":
        notes = {target / path.name: path for path in annotations.files}
    else:
        notes = {target: annotations.files[0]}
    others = [
        args.out / name for name in sorted(set(TARGETS.values())) if args.out / name != target
    ]
    changes = [
        (root, plan)
        for root, plan in ((args.out / "ShelfImages", pictures), (target, notes))
        if not in_place(root, plan, args.copy)
    ]
    for path in [root for root, _ in changes] + others:
        refuse_to_replace(path)
    for root, plan in changes:
        with files.replacing(root) as partial:
            for final, path in plan.items():
                put(path, partial / final.relative_to(root) if final != root else partial, args)
    for (
        path
    ) in others:  # an earlier dataset's annotations: step 02 must not take them for this one's
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(str(path))
    if changes:
        print(
            f"{'copied' if args.copy else 'linked'} into {paths.shown(args.out)}: {', '.join((root.name for root, _ in changes))}"
        )
    else:
        print(f"all in place in {paths.shown(args.out)}")


def in_place(root, plan, copy):
    """Whether exactly the planned files stand under ``root``: links to them, or copies of the same size."""
    there = {root} if root.is_file() else {path for path in root.rglob("*") if not path.is_dir()}
    if there != set(plan):
        return False
    for final, path in plan.items():
        if final.is_symlink() and (copy or not final.exists() or not final.samefile(path)):
            return False
        if not final.is_symlink() and final.stat().st_size != path.stat().st_size:
            return False
    return True


def refuse_to_replace(path):
    """Raises UserError where something else than links would be lost."""
    found = (
        [path] if path.is_symlink() or path.is_file() else path.rglob("*") if path.is_dir() else []
    )
    for item in found:
        if not item.is_symlink() and not item.is_dir():
            raise UserError(
                f"{item}: stands where this step would put links; expected nothing, or links, which can be replaced without loss. Move {path} away, or name another folder with --out."
            )


def put(source, target, args):
    # A link into OUT itself is relative, so that the workspace can be moved. A copy takes the bytes, not the permissions.
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    if args.copy:
        shutil.copyfile(str(source), str(target))
        return
    inside = args.out.resolve() in source.parents
    target.symlink_to(
        os.path.relpath(str(source), str(target.parent.resolve())) if inside else str(source)
    )


if __name__ == "__main__":
    command_line.run(main)
