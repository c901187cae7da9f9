#!/usr/bin/env python
"""Step 08: a frozen graph finds the products in images.

Reads   a frozen_inference_graph.pb (step 07) and the label map;
        the images of a label file (step 02), searched in workspace/training_demo/images/ShelfImages/{train,test}, or
        all images of a folder.
Writes  results/{val,test}_detections.json, or results/predictions.json for a folder without labels: COCO's layout,
        boxes in the pixels of the image on disk, every score kept;
        with --draw a folder of images with their boxes, and counts.csv in it.

    python workspace/training_demo/evaluation/08_detect.py --labels workspace/training_demo/annotations/test_labels.csv
    python workspace/training_demo/evaluation/08_detect.py --images my/photographs --draw my/drawings

Images are shrunk by the same function as step 04's. With --exif apply images are turned as their EXIF flag says,
and boxes and sizes are those of the turned image.
"""

import argparse
import collections
import concurrent.futures
import csv
import io
import json
import os
import pathlib
import sys
import time

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts")
)  # where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

DEFAULT_THRESHOLD = 0.5
JPEG_QUALITY = 88
EXIF_SOFTWARE, DRAWN_BY = (
    0x0131,
    "08_detect.py",
)  # tells a drawing from the images that it must not replace
SHOWN_NAMES = 20
COUNTS_FILE, COUNTS_COLUMNS = "counts.csv", ("filename", "products")

Picture = collections.namedtuple("Image", "path size_wh")  # size_wh: what the labels say, or None
Looked = collections.namedtuple("Looked", "detections orientation problem")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--graph",
        type=pathlib.Path,
        default=paths.SHIPPED_GRAPH,
        metavar="PATH",
        help=f"a frozen graph, or the folder of a {paths.GRAPH_FILE} (default: %(default)s)",
    )
    parser.add_argument(
        "--labels", type=pathlib.Path, metavar="FILE", help="look at the images of this label file"
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        metavar="FOLDER",
        help=f"with --labels: where its images are, in the folder or its train/ and test/ (default: {paths.SHELF_IMAGES}); without: look at all images of this folder",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        metavar="FILE",
        help=f"(default: in {paths.RESULTS}, named after the label file)",
    )
    parser.add_argument("--label-map", type=pathlib.Path, default=paths.LABEL_MAP, metavar="FILE")
    parser.add_argument(
        "--max-side",
        type=int,
        default=1024,
        metavar="PIXELS",
        help="shrink longer images to this, as step 04 does, with --tiles to as many times this; 0 keeps all "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--exif",
        choices=("ignore", "apply"),
        default="ignore",
        help="ignore: raw pixels, as TensorFlow decodes them (default). apply: turn images as their EXIF "
        "flag says",
    )
    parser.add_argument(
        "--pad-strips",
        action="store_true",
        help="show the network images more than twice as wide as high (or as high as wide) with grey margins, as "
        "4:3; for graphs trained on images of ordinary shape",
    )
    parser.add_argument(
        "--tiles",
        type=command_line.positive,
        default=1,
        metavar="N",
        help="show the network N x N overlapping parts of each image, too, for products smaller than those that "
        "the graph was trained on (default: %(default)s)",
    )
    parser.add_argument(
        "--draw",
        type=pathlib.Path,
        metavar="FOLDER",
        help="draw the boxes, and count the products in counts.csv",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help=f"draw and count boxes from this score on (default: the one in --metrics, if that was made with this graph, else {DEFAULT_THRESHOLD})",
    )
    parser.add_argument(
        "--metrics",
        type=pathlib.Path,
        metavar="FILE",
        help=f"where the default threshold is read (default: {paths.METRICS} and the {paths.METRICS.name} beside the graph)",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave images out that cannot be read, and list them at the end",
    )
    args = parser.parse_args(argv)
    if not args.labels and not args.images:
        parser.error("name --labels FILE, --images FOLDER, or both")
    if args.max_side < 0:
        parser.error(f"--max-side {args.max_side}: expected 0 or more pixels")
    if args.threshold is not None and not args.draw:
        parser.error("--threshold is for --draw; without it every score is kept")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        parser.error(f"--threshold {args.threshold:g}: expected a score from 0 to 1")
    if args.graph.is_dir() or not args.graph.suffix:
        args.graph = args.graph / paths.GRAPH_FILE
    if args.output is None:
        name = (
            args.labels.stem.replace("_labels", "") + "_detections.json"
            if args.labels
            else "predictions.json"
        )
        args.output = paths.RESULTS / name
    return args


def main(argv=None):
    args = parse(argv)
    pictures = find_images(args)
    check_targets(args, pictures)
    class_names = read_class_names(args.label_map)
    from shelfdet.core import parallel
    from shelfdet.data import detections, images
    from shelfdet.inference import detector

    network = detector.Detector(args.graph, parallel.workers())
    info = describe(args, [picture.path.name for picture in pictures])
    threshold = choose_threshold(args, info["graph_sha256"]) if args.draw else None
    began = time.time()
    looked = look_at_all(pictures, network, class_names, args, threshold)
    seconds = time.time() - began
    found = [one.detections for one in looked if one.detections is not None]
    info["exif_flagged"] = {
        picture.path.name: one.orientation
        for picture, one in zip(pictures, looked)
        if one.orientation > 1
    }
    info["skipped"] = {
        picture.path.name: one.problem for picture, one in zip(pictures, looked) if one.problem
    }
    if not found:
        raise UserError(
            f"{args.labels or args.images}: none of its {_images(len(pictures))} can be read; expected one at least. The first: {next(iter(info['skipped'].values()))}"
        )
    detections.write_detections(found, args.output, info)
    print(
        f"{paths.shown(args.output)}: {sum(len(image.scores) for image in found)} boxes of any score in {len(found)} images, {len(looked) / max(seconds, 1e-09):.1f} images/s"
    )
    if args.draw:
        write_counts(found, threshold, args.draw)
    tell_exif(info["exif_flagged"], args.exif)
    tell_strips(
        [image.filename for image in found if images.is_strip(image.size_wh)], args.pad_strips
    )
    tell_skipped(info["skipped"])


def find_images(args):
    """The images to look at, as a list of Image."""
    from shelfdet.data import images, labels

    if args.labels:
        labelled = labels.read_labels(args.labels)
        split = "test" if args.labels.stem.startswith("test") else "train"
        located = images.locate(
            args.images or paths.SHELF_IMAGES, [image.filename for image in labelled], split
        )
        return [Picture(path, image.size_wh) for path, image in zip(located, labelled)]
    listed = images.list_images(args.images)
    if not listed:
        raise UserError(
            f"{args.images}: no image in it; expected files ending in {', '.join(images.SUFFIXES)}. Check the path."
        )
    others = sorted(
        path.name
        for path in args.images.iterdir()
        if path not in listed and not path.name.startswith(".")
    )
    if others:
        print(
            f"not looked at in {args.images}, for they are no files ending in {', '.join(images.SUFFIXES)}: {', '.join(others[:SHOWN_NAMES])}{' ...' if len(others) > SHOWN_NAMES else ''}"
        )
    return [Picture(path, None) for path in listed]


def check_targets(args, pictures):
    """Refuses at once what could not be written at the end, or would write over the user's images."""
    if args.output.is_dir():
        raise UserError(
            f"--output {args.output}: is a folder; expected the name of a file to write."
        )
    for folder in [args.output.parent] + ([args.draw] if args.draw else []):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(files.writing_failed(folder, error)) from error
        if not os.access(str(folder), os.W_OK | os.X_OK):
            raise UserError(
                files.writing_failed(folder, PermissionError(None, "no permission to write in it"))
            )
    if args.draw:
        check_drawings(args.draw, pictures)


def check_drawings(folder, pictures):
    """Refuses a folder where drawings would lie among the images, or take the place of others of the same names."""
    if folder.resolve() in {picture.path.parent.resolve() for picture in pictures}:
        raise UserError(
            f"--draw {folder}: the images themselves lie there and would be written over. Name another folder."
        )
    counts = folder / COUNTS_FILE
    if counts.exists() and not (
        counts.is_file() and counts.read_bytes().startswith(",".join(COUNTS_COLUMNS).encode())
    ):
        raise UserError(
            f"--draw {folder}: {counts.name} lies there, which holds no counts of this step, and would be written over. Name another folder."
        )
    for picture in pictures:
        path = folder / drawing_name(picture.path.name)
        if path.is_symlink() or path.exists() and not is_drawing(path):
            raise UserError(
                f"--draw {folder}: {path.name} lies there, which has not this step's mark of a drawing, and would be written over; expected a folder without such images. Name another, or remove it if it is an old drawing."
            )


def read_class_names(path):
    """dict of class id to name."""
    from shelfdet.data import labels

    return {class_id: name for name, class_id in labels.read_label_map(path).items()}


def describe(args, names):
    """What the detections in the images ``names`` are made with, for the "info" of the output."""
    config = args.graph.with_name(paths.CONFIG_FILE)
    trained_on = args.graph.with_name(paths.TRAINED_ON_FILE)  # step 07 puts it there
    known = files.read_json(trained_on) if args.labels and trained_on.is_file() else {}
    return collections.OrderedDict(
        [
            ("graph", paths.shown(args.graph)),
            ("graph_sha256", files.sha256(args.graph)),
            ("config_sha256", files.sha256(config) if config.is_file() else None),
            ("labels", paths.shown(args.labels) if args.labels else None),
            ("labels_sha256", files.sha256(args.labels) if args.labels else None),
            ("max_side", args.max_side),
            ("exif", args.exif),
            (
                "seen_in_training",
                {split: sorted(set(names) & set(known[split])) for split in sorted(known)},
            ),
        ]
        + ([("pad_strips", True)] if args.pad_strips else [])
        + ([("tiles", args.tiles)] if args.tiles > 1 else [])
    )


def choose_threshold(args, graph_sha256):
    """The score from which boxes are drawn and counted; says where it is from."""
    if args.threshold is not None:
        return args.threshold
    reasons = []
    for path in (
        [args.metrics]
        if args.metrics
        else [paths.METRICS, args.graph.with_name(paths.METRICS.name)]
    ):
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            if metrics["graph_sha256"] == graph_sha256:
                print(
                    f"boxes are drawn and counted from score {metrics['threshold']:.3f} on: the threshold in {paths.shown(path)}{', chosen on whole images' if args.tiles > 1 else ''}"
                )
                return float(metrics["threshold"])
            reason = "was made with another graph"
        except FileNotFoundError:
            reason = "is not there"
        except (OSError, ValueError, KeyError, TypeError):
            reason = "names no threshold and graph"
        reasons.append(f"{paths.shown(path)} {reason}")
    print(
        f"boxes are drawn and counted from score {DEFAULT_THRESHOLD} on: {', '.join(reasons)}. --threshold (`make predict THRESHOLD=`) sets another{(f'; `git checkout {paths.METRICS.name}` brings back that of the detector that ships' if args.graph.parent.resolve() == paths.SHIPPED_GRAPH else '')}"
    )
    return DEFAULT_THRESHOLD


def look_at_all(pictures, network, class_names, args, threshold):
    """Looks at every image, on all cores; returns a list of Looked in the order of ``images``.

    Threads do: Pillow and TensorFlow both let go of Python's lock while they work, so one thread's decoding overlaps
    another's network. A thread holds one image at a time.
    """
    import tqdm

    from shelfdet.core import parallel

    looked = []
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        futures = [
            pool.submit(look_at, picture, network, class_names, args, threshold)
            for picture in pictures
        ]
        try:
            for future in tqdm.tqdm(
                futures, desc="detecting", unit=" images", leave=False, disable=None
            ):
                looked.append(future.result())
        finally:  # after an error or Ctrl-C the rest is not waited for
            for future in futures:
                future.cancel()
    return looked


def look_at(picture, network, class_names, args, threshold):
    """Detects, and draws, one image: a Looked."""
    from shelfdet.core import boxes
    from shelfdet.data import detections, images
    from shelfdet.inference import tiling

    try:
        pixels, size_wh, orientation = images.load(
            picture.path, args.max_side * args.tiles, args.exif
        )
        framed, left_top = pixels, (0, 0)
        if args.pad_strips and images.is_strip(size_wh):
            framed, left_top = images.with_margins(pixels, picture.path)
    except UserError as error:
        if args.skip_bad:
            return Looked(None, images.UPRIGHT, str(error))
        raise UserError(
            f"{error} No detections{' and no counts' if args.draw else ''} were written; --skip-bad goes on without such images and lists them."
        ) from error
    if picture.size_wh not in (None, size_wh):
        raise UserError(
            "{}: {} x {} pixels{}; {} says {} x {}. Make the label file anew with step 02 and the same "
            "--exif.".format(
                picture.path,
                *size_wh,
                " once turned" if args.exif == "apply" else "",
                args.labels,
                *picture.size_wh,
            )
        )
    boxes_yxyx, scores, class_ids = (
        tiling.detect(network.detect, framed, args.tiles, args.max_side)
        if args.tiles > 1
        else network.detect(framed)
    )
    unknown = sorted(set(class_ids.tolist()) - set(class_names))
    if unknown:
        raise UserError(
            f"{args.label_map}: the graph found class {unknown[0]}; expected {', '.join(map(str, class_names))}. Name the label map that it was trained with (--label-map)."
        )
    boxes_xyxy, inside = without_margins(
        boxes_yxyx, framed.shape[1::-1], left_top, pixels.shape[1::-1], size_wh
    )
    found = detections.Detections(
        picture.path.name,
        size_wh,
        boxes.clip(boxes_xyxy, size_wh)[inside],
        scores[inside],
        tuple(class_names[class_id] for class_id in class_ids[inside]),
    )
    if args.draw:
        draw(pixels, found, args.draw, threshold)
    return Looked(found, orientation, None)


def without_margins(boxes_yxyx, framed_wh, left_top, within_wh, size_wh):
    """Boxes that were found in a framed image, in the raw pixels of the image itself.

    Args:
      boxes_yxyx: (N, 4), in 0 to 1 of the frame.
      framed_wh: the frame's size. left_top: where in it the image begins, which is within_wh large there and size_wh in raw pixels.

    Returns:
      (boxes_xyxy, inside): float64 (N, 4), and bool (N,), which have their middle in the image.
    """
    import numpy as np

    from shelfdet.core import boxes

    boxes_xyxy = boxes.scale(
        boxes.from_normalised_yxyx(boxes_yxyx, framed_wh) - np.tile(left_top, 2), within_wh, size_wh
    )
    middles = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return boxes_xyxy, ((middles >= 0) & (middles <= size_wh)).all(axis=1)


def draw(pixels, found, folder, threshold):
    """Writes the image, shrunk but without margins, with the boxes from ``threshold`` on, as a JPEG."""
    from PIL import Image

    from shelfdet.core import drawing

    kept = found.boxes_xyxy[found.scores >= threshold]
    with files.replacing(folder / drawing_name(found.filename)) as partial:
        drawn = drawing.draw_detections(pixels, kept, found.size_wh, found.filename)
        exif = Image.Exif()
        exif[EXIF_SOFTWARE] = DRAWN_BY
        drawn.save(str(partial), "JPEG", quality=JPEG_QUALITY, exif=exif)


def drawing_name(filename):
    return filename if filename.lower().endswith((".jpg", ".jpeg")) else filename + ".jpg"


def is_drawing(path):
    """Whether ``draw`` made the file."""
    from PIL import Image

    try:
        with Image.open(str(path)) as image:
            return image.getexif().get(EXIF_SOFTWARE) == DRAWN_BY
    except (OSError, ValueError):
        return False


def write_counts(found, threshold, folder):
    """counts.csv: each image's number of products, which is that of its boxes from ``threshold`` on; tells of drawings that are older."""
    from shelfdet.data import images

    counts = [(image.filename, int((image.scores >= threshold).sum())) for image in found]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COUNTS_COLUMNS)
    writer.writerows(counts)
    files.write_text(folder / COUNTS_FILE, text.getvalue())
    total = sum(count for _, count in counts)
    print(
        f"{paths.shown(folder / COUNTS_FILE)}: {total} products in {len(counts)} images ({total / max(len(counts), 1):.1f} an image); the drawings are beside it"
    )
    older = len(
        {path.name for path in images.list_images(folder)}
        - {drawing_name(image.filename) for image in found}
    )
    if older:
        print(
            f"  and {_images(older)} that {'was' if older == 1 else 'were'} there before, not of these images and not counted"
        )


def tell_exif(flagged, rule):
    if not flagged:
        print("no image carries an EXIF orientation")
        return
    names = [f"{name} ({flag})" for name, flag in flagged.items()]
    print(
        f"{_images(len(names))} with an EXIF orientation: {', '.join(names[:SHOWN_NAMES])}{' ...' if len(names) > SHOWN_NAMES else ''}"
    )
    if rule == "ignore":
        print(
            "  not turned: boxes are those of the raw pixels. If drawings lie on a side or stand on their head, use "
            "--exif apply"
        )
    else:
        print("  turned: boxes and sizes are those of the turned images")


def tell_strips(names, padded):
    if names and not padded:
        print(
            f"{_images(len(names))} more than twice as wide as high, or as high as wide: {', '.join(names[:SHOWN_NAMES])}{' ...' if len(names) > SHOWN_NAMES else ''}\n  a graph that was trained on images of ordinary shape finds little there; --pad-strips (`make predict PAD=1`) gives them margins"
        )


def tell_skipped(skipped):
    for message in list(skipped.values())[:SHOWN_NAMES]:
        print(f"skipped: {message}", file=sys.stderr)
    if skipped:
        print(
            f'skipped {_images(len(skipped))}; their names stand in the output\'s "info"',
            file=sys.stderr,
        )


def _images(count):
    return f"{count} image{'' if count == 1 else 's'}"


if __name__ == "__main__":
    command_line.run(main)
