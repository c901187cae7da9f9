#!/usr/bin/env python
"""Step 04: label files and images to TFRecords.

Reads   workspace/training_demo/annotations/{train,val,test}_labels.csv and label_map.pbtxt (step 02),
        the images in workspace/training_demo/images/ShelfImages/{train,test}.
Writes  workspace/training_demo/annotations/{train,val,test}.record, which training/*.config name.

Images whose longer side is over --max-side are shrunk with a good filter: the network's input is smaller still, and large
ones cost time and memory at every step. Each record is read back through object_detection's own decoder and compared, image
by image and box by box, before it replaces the old one.

    python scripts/preprocessing/04_generate_tfrecords.py
    python scripts/preprocessing/04_generate_tfrecords.py --max-side 0        # keep every pixel
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

SPLITS = ("train", "val", "test")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--annotations",
        type=pathlib.Path,
        default=paths.ANNOTATIONS,
        metavar="FOLDER",
        help="where the label files are and the records go (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=paths.SHELF_IMAGES,
        metavar="FOLDER",
        help="images, or a folder with train/ and test/ (default: %(default)s)",
    )
    parser.add_argument("--label-map", type=pathlib.Path, default=paths.LABEL_MAP, metavar="FILE")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=SPLITS,
        default=SPLITS,
        metavar="SPLIT",
        help="which to write (default: train val test)",
    )
    parser.add_argument(
        "--max-side",
        type=int,
        default=1024,
        metavar="PIXELS",
        help="shrink longer images to this; 0 keeps all (default: %(default)s)",
    )
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: raw pixels, as TensorFlow decodes them (default). apply: turn images as their EXIF flag says; "
        "for labels made in a viewer that does",
    )
    args = parser.parse_args(argv)
    if args.max_side < 0:
        parser.error(f"--max-side {args.max_side}: expected 0 or more pixels")
    return args


def main(argv=None):
    args = parse(argv)
    from shelfdet.core import parallel
    from shelfdet.data import images, labels, records

    label_map = labels.read_label_map(args.label_map)
    label_files = {
        split: labels.read_labels(args.annotations / f"{split}_labels.csv") for split in args.splits
    }
    located = {
        split: images.locate(
            args.images, [labelled.filename for labelled in label_files[split]], split
        )
        for split in args.splits
    }
    targets = [args.annotations / f"{split}.record" for split in args.splits]
    told = []
    with parallel.Workers() as workers, files.replacing_together(
        targets
    ) as partials:  # workers before TensorFlow
        for split, target, partial in zip(args.splits, targets, partials):
            tasks = [
                (path, labelled.size_wh, args.max_side, args.exif)
                for path, labelled in zip(located[split], label_files[split])
            ]
            stored_sizes = write(
                partial,
                split,
                label_files[split],
                workers.map(records.encode_image, tasks),
                label_map,
            )
            counts = list(
                progress(
                    records.check(
                        partial, label_files[split], stored_sizes, label_map, args.label_map
                    ),
                    f"{split} read back",
                    len(label_files[split]),
                )
            )
            shrunk = sum(
                stored != labelled.size_wh
                for stored, labelled in zip(stored_sizes, label_files[split])
            )
            told.append(
                f"{paths.shown(target)}: {len(counts)} images{(f' ({shrunk} shrunk to {args.max_side} px)' if shrunk else '')}, {sum(counts)} boxes, at most {max(counts)} an image; read back and equal"
            )
    print("\n".join(told))


def write(partial, split, labelled_images, encoded, label_map):
    """Writes one record, image by image.

    Args:
      partial: the file to write.
      split: its name, for the progress bar.
      labelled_images: list of labels.LabelledImage.
      encoded: iterable of (bytes, stored_wh), in the same order.
      label_map: dict of class name to id.

    Returns:
      list of (width, height), the size of each image as stored.
    """
    from shelfdet.core import tensorflow1
    from shelfdet.data import records

    tf = tensorflow1.load()
    stored_sizes = []
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for labelled, (data, stored_wh) in progress(
                zip(labelled_images, encoded), split, len(labelled_images)
            ):
                writer.write(
                    records.to_example(labelled, data, stored_wh, label_map).SerializeToString()
                )
                stored_sizes.append(stored_wh)
    except tf.errors.OpError as error:  # a full disk, here
        raise UserError(files.writing_failed(partial, OSError(None, error.message))) from error
    return stored_sizes


def progress(iterable, text, total):
    import tqdm

    return tqdm.tqdm(iterable, desc=text, total=total, unit=" images", leave=False, disable=None)


if __name__ == "__main__":
    command_line.run(main)
