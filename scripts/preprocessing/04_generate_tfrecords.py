#!/usr/bin/env python
"""Step 04: label files and pictures to TFRecords.

Reads   workspace/training_demo/annotations/{train,val,test}_labels.csv and label_map.pbtxt (step 02),
        the pictures in workspace/training_demo/images/ShelfImages/{train,test}.
Writes  workspace/training_demo/annotations/{train,val,test}.record, which training/*.config name.

Pictures whose longer side is over --max-side are shrunk with a good filter: the network's input is smaller still, and large
ones cost time and memory at every step. Each record is read back through object_detection's own decoder and compared, picture
by picture and box by box, before it replaces the old one.

    python scripts/preprocessing/04_generate_tfrecords.py
    python scripts/preprocessing/04_generate_tfrecords.py --max-side 0        # keep every pixel
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, files, paths

SPLITS = ("train", "val", "test")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--annotations", type=pathlib.Path, default=paths.ANNOTATIONS, metavar="FOLDER",
                        help="where the label files are and the records go (default: %(default)s)")
    parser.add_argument("--images", type=pathlib.Path, default=paths.SHELF_IMAGES, metavar="FOLDER",
                        help="pictures, or a folder with train/ and test/ (default: %(default)s)")
    parser.add_argument("--label-map", type=pathlib.Path, default=paths.LABEL_MAP, metavar="FILE")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, metavar="SPLIT",
                        help="which to write (default: train val test)")
    parser.add_argument("--max-side", type=int, default=1024, metavar="PIXELS",
                        help="shrink longer pictures to this; 0 keeps all (default: %(default)s)")
    parser.add_argument("--exif", choices=("ignore", "apply"), default="ignore",
                        help="ignore: raw pixels, as TensorFlow decodes them (default). apply: turn pictures as their EXIF flag says; "
                             "for labels made in a viewer that does")
    args = parser.parse_args(argv)
    if args.max_side < 0:
        parser.error("--max-side {}: expected 0 or more pixels".format(args.max_side))
    return args


def main(argv=None):
    args = parse(argv)
    from shelfdet import annotations, images, parallel, records
    label_map = annotations.read_label_map(args.label_map)
    labels = {split: annotations.read_labels(args.annotations / "{}_labels.csv".format(split)) for split in args.splits}
    located = {split: images.locate(args.images, [labelled.filename for labelled in labels[split]], split)
               for split in args.splits}
    targets = [args.annotations / "{}.record".format(split) for split in args.splits]
    told = []
    with parallel.Workers() as workers, files.replacing_together(targets) as partials:        # workers before TensorFlow
        for split, target, partial in zip(args.splits, targets, partials):
            tasks = [(path, labelled.size_wh, args.max_side, args.exif) for path, labelled in zip(located[split], labels[split])]
            stored_sizes = write(partial, split, labels[split], workers.map(records.encode_picture, tasks), label_map)
            counts = list(progress(records.check(partial, labels[split], stored_sizes, label_map, args.label_map),
                                   "{} read back".format(split), len(labels[split])))
            shrunk = sum(stored != labelled.size_wh for stored, labelled in zip(stored_sizes, labels[split]))
            told.append("{}: {} pictures{}, {} boxes, at most {} a picture; read back and equal".format(
                paths.shown(target), len(counts), " ({} shrunk to {} px)".format(shrunk, args.max_side) if shrunk else "", sum(counts),
                max(counts)))
    print("\n".join(told))


def write(partial, split, labelled_images, encoded, label_map):
    """Writes one record, picture by picture.

    Args:
      partial: the file to write.
      split: its name, for the progress bar.
      labelled_images: list of annotations.LabelledImage.
      encoded: iterable of (bytes, stored_wh), in the same order.
      label_map: dict of class name to id.

    Returns:
      list of (width, height), the size of each picture as stored.
    """
    from shelfdet import records, tensorflow1
    tf = tensorflow1.load()
    stored_sizes = []
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for labelled, (data, stored_wh) in progress(zip(labelled_images, encoded), split, len(labelled_images)):
                writer.write(records.to_example(labelled, data, stored_wh, label_map).SerializeToString())
                stored_sizes.append(stored_wh)
    except tf.errors.OpError as error:          # a full disk, here
        raise UserError(files.writing_failed(partial, OSError(None, error.message))) from error
    return stored_sizes


def progress(iterable, text, total):
    import tqdm
    return tqdm.tqdm(iterable, desc=text, total=total, unit=" pictures", leave=False, disable=None)


if __name__ == "__main__":
    command.run(main)
