#!/usr/bin/env python
"""Step 08: a frozen graph finds the products in pictures.

Reads   a frozen_inference_graph.pb (step 07) and the label map;
        the pictures of a label file (step 02), searched in workspace/training_demo/images/ShelfImages/{train,test}, or
        all pictures of a folder.
Writes  results/{val,test}_detections.json, or results/predictions.json for a folder without labels: COCO's layout,
        boxes in the pixels of the picture on disk, every score kept;
        with --draw a folder of pictures with their boxes, and counts.csv in it.

    python workspace/training_demo/evaluation/08_detect.py --labels workspace/training_demo/annotations/test_labels.csv
    python workspace/training_demo/evaluation/08_detect.py --images my/photographs --draw my/drawings

Pictures are shrunk by the same function as step 04's. With --exif apply pictures are turned as their EXIF flag says,
and boxes and sizes are those of the turned picture.
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))     # where shelfdet lives
from shelfdet import UserError, command, files, paths

DEFAULT_THRESHOLD = 0.5
JPEG_QUALITY = 88
EXIF_SOFTWARE, DRAWN_BY = 0x0131, "08_detect.py"     # tells a drawing from the pictures that it must not replace
SHOWN_NAMES = 20
COUNTS_FILE, COUNTS_COLUMNS = "counts.csv", ("filename", "products")

Picture = collections.namedtuple("Picture", "path size_wh")                # size_wh: what the labels say, or None
Looked = collections.namedtuple("Looked", "detections orientation problem")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--graph", type=pathlib.Path, default=paths.DEFAULT_GRAPH, metavar="PATH",
                        help="a frozen graph, or the folder of a {} (default: %(default)s)".format(paths.GRAPH_FILE))
    parser.add_argument("--labels", type=pathlib.Path, metavar="FILE", help="look at the pictures of this label file")
    parser.add_argument("--images", type=pathlib.Path, metavar="FOLDER",
                        help="with --labels: where its pictures are, in the folder or its train/ and test/ (default: "
                             "{}); without: look at all pictures of this folder".format(paths.SHELF_IMAGES))
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE",
                        help="(default: in {}, named after the label file)".format(paths.RESULTS))
    parser.add_argument("--label-map", type=pathlib.Path, default=paths.LABEL_MAP, metavar="FILE")
    parser.add_argument("--max-side", type=int, default=1024, metavar="PIXELS",
                        help="shrink longer pictures to this, as step 04 does, with --tiles to as many times this; 0 keeps all "
                             "(default: %(default)s)")
    parser.add_argument("--exif", choices=("ignore", "apply"), default="ignore",
                        help="ignore: raw pixels, as TensorFlow decodes them (default). apply: turn pictures as their EXIF "
                             "flag says")
    parser.add_argument("--pad-strips", action="store_true",
                        help="show the network pictures more than twice as wide as high (or as high as wide) with grey margins, as "
                             "4:3; for graphs trained on pictures of ordinary shape")
    parser.add_argument("--tiles", type=command.positive, default=1, metavar="N",
                        help="show the network N x N overlapping parts of each picture, too, for products smaller than those that "
                             "the graph was trained on (default: %(default)s)")
    parser.add_argument("--draw", type=pathlib.Path, metavar="FOLDER",
                        help="draw the boxes, and count the products in counts.csv")
    parser.add_argument("--threshold", type=float, metavar="SCORE",
                        help="draw and count boxes from this score on (default: the one in --metrics, if that was made with this "
                             "graph, else {})".format(DEFAULT_THRESHOLD))
    parser.add_argument("--metrics", type=pathlib.Path, metavar="FILE",
                        help="where the default threshold is read (default: {} and the {} beside the graph)".format(
                            paths.METRICS, paths.METRICS.name))
    parser.add_argument("--skip-bad", action="store_true",
                        help="leave pictures out that cannot be read, and list them at the end")
    args = parser.parse_args(argv)
    if not args.labels and not args.images:
        parser.error("name --labels FILE, --images FOLDER, or both")
    if args.max_side < 0:
        parser.error("--max-side {}: expected 0 or more pixels".format(args.max_side))
    if args.threshold is not None and not args.draw:
        parser.error("--threshold is for --draw; without it every score is kept")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        parser.error("--threshold {:g}: expected a score from 0 to 1".format(args.threshold))
    if args.graph.is_dir() or not args.graph.suffix:
        args.graph = args.graph / paths.GRAPH_FILE
    if args.output is None:
        name = args.labels.stem.replace("_labels", "") + "_detections.json" if args.labels else "predictions.json"
        args.output = paths.RESULTS / name
    return args


def main(argv=None):
    args = parse(argv)
    pictures = find_pictures(args)
    check_targets(args, pictures)
    class_names = read_class_names(args.label_map)
    from shelfdet import detections, images, inference, parallel
    detector = inference.Detector(args.graph, parallel.workers())
    info = describe(args, [picture.path.name for picture in pictures])
    threshold = choose_threshold(args, info["graph_sha256"]) if args.draw else None
    began = time.time()
    looked = look_at_all(pictures, detector, class_names, args, threshold)
    seconds = time.time() - began
    found = [one.detections for one in looked if one.detections is not None]
    info["exif_flagged"] = {picture.path.name: one.orientation for picture, one in zip(pictures, looked)
                            if one.orientation > 1}
    info["skipped"] = {picture.path.name: one.problem for picture, one in zip(pictures, looked) if one.problem}
    if not found:
        raise UserError("{}: none of its {} can be read; expected one at least. The first: {}".format(
            args.labels or args.images, _pictures(len(pictures)), next(iter(info["skipped"].values()))))
    detections.write_detections(found, args.output, info)
    print("{}: {} boxes of any score in {} pictures, {:.1f} pictures a second".format(
        paths.shown(args.output), sum(len(image.scores) for image in found), len(found),
        len(looked) / max(seconds, 1e-9)))
    if args.draw:
        write_counts(found, threshold, args.draw)
    tell_exif(info["exif_flagged"], args.exif)
    tell_strips([image.filename for image in found if images.is_strip(image.size_wh)], args.pad_strips)
    tell_skipped(info["skipped"])


def find_pictures(args):
    """The pictures to look at, as a list of Picture."""
    from shelfdet import annotations, images
    if args.labels:
        labelled = annotations.read_labels(args.labels)
        split = "test" if args.labels.stem.startswith("test") else "train"
        located = images.locate(args.images or paths.SHELF_IMAGES, [image.filename for image in labelled], split)
        return [Picture(path, image.size_wh) for path, image in zip(located, labelled)]
    listed = images.list_images(args.images)
    if not listed:
        raise UserError("{}: no picture in it; expected files ending in {}. Check the path.".format(
            args.images, ", ".join(images.SUFFIXES)))
    others = sorted(path.name for path in args.images.iterdir() if path not in listed and not path.name.startswith("."))
    if others:
        print("not looked at in {}, for they are no files ending in {}: {}{}".format(
            args.images, ", ".join(images.SUFFIXES), ", ".join(others[:SHOWN_NAMES]), " ..." if len(others) > SHOWN_NAMES else ""))
    return [Picture(path, None) for path in listed]


def check_targets(args, pictures):
    """Refuses at once what could not be written at the end, or would write over the user's pictures."""
    if args.output.is_dir():
        raise UserError("--output {}: is a folder; expected the name of a file to write.".format(args.output))
    for folder in [args.output.parent] + ([args.draw] if args.draw else []):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(files.writing_failed(folder, error)) from error
        if not os.access(str(folder), os.W_OK | os.X_OK):
            raise UserError(files.writing_failed(folder, PermissionError(None, "no permission to write in it")))
    if args.draw:
        check_drawings(args.draw, pictures)


def check_drawings(folder, pictures):
    """Refuses a folder where drawings would lie among the pictures, or take the place of others of the same names."""
    if folder.resolve() in {picture.path.parent.resolve() for picture in pictures}:
        raise UserError("--draw {}: the pictures themselves lie there and would be written over. Name another folder.".format(folder))
    counts = folder / COUNTS_FILE
    if counts.exists() and not (counts.is_file() and counts.read_bytes().startswith(",".join(COUNTS_COLUMNS).encode())):
        raise UserError("--draw {}: {} lies there, which holds no counts of this step, and would be written over. Name another folder.".format(
            folder, counts.name))
    for picture in pictures:
        path = folder / drawing_name(picture.path.name)
        if path.is_symlink() or path.exists() and not is_drawing(path):
            raise UserError("--draw {}: {} lies there, which has not this step's mark of a drawing, and would be written over; expected a "
                            "folder without such pictures. Name another, or remove it if it is an old drawing.".format(folder, path.name))


def read_class_names(path):
    """dict of class id to name."""
    from shelfdet import annotations
    return {class_id: name for name, class_id in annotations.read_label_map(path).items()}


def describe(args, names):
    """What the detections in the pictures ``names`` are made with, for the "info" of the output."""
    config = args.graph.with_name(paths.CONFIG_FILE)
    trained_on = args.graph.with_name(paths.PICTURES_FILE)         # step 07 puts it there
    known = files.read_json(trained_on) if args.labels and trained_on.is_file() else {}
    return collections.OrderedDict([
        ("graph", paths.shown(args.graph)), ("graph_sha256", files.sha256(args.graph)),
        ("config_sha256", files.sha256(config) if config.is_file() else None),
        ("labels", paths.shown(args.labels) if args.labels else None),
        ("labels_sha256", files.sha256(args.labels) if args.labels else None),
        ("max_side", args.max_side), ("exif", args.exif),
        ("seen_in_training", {split: sorted(set(names) & set(known[split])) for split in sorted(known)})] +
        ([("pad_strips", True)] if args.pad_strips else []) + ([("tiles", args.tiles)] if args.tiles > 1 else []))


def choose_threshold(args, graph_sha256):
    """The score from which boxes are drawn and counted; says where it is from."""
    if args.threshold is not None:
        return args.threshold
    reasons = []
    for path in [args.metrics] if args.metrics else [paths.METRICS, args.graph.with_name(paths.METRICS.name)]:
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            if metrics["graph_sha256"] == graph_sha256:
                print("boxes are drawn and counted from score {:.3f} on: the threshold in {}{}".format(
                    metrics["threshold"], paths.shown(path), ", chosen on whole pictures" if args.tiles > 1 else ""))
                return float(metrics["threshold"])
            reason = "was made with another graph"
        except FileNotFoundError:
            reason = "is not there"
        except (OSError, ValueError, KeyError, TypeError):
            reason = "names no threshold and graph"
        reasons.append("{} {}".format(paths.shown(path), reason))
    print("boxes are drawn and counted from score {} on: {}. --threshold (`make predict THRESHOLD=`) sets another{}".format(
        DEFAULT_THRESHOLD, ", ".join(reasons), "; `git checkout {}` brings back that of the detector that ships".format(
            paths.METRICS.name) if args.graph.parent.resolve() == paths.DEFAULT_GRAPH else ""))
    return DEFAULT_THRESHOLD


def look_at_all(pictures, detector, class_names, args, threshold):
    """Looks at every picture, on all cores; returns a list of Looked in the order of ``pictures``.

    Threads do: Pillow and TensorFlow both let go of Python's lock while they work, so one thread's decoding overlaps
    another's network. A thread holds one picture at a time.
    """
    import tqdm
    from shelfdet import parallel
    looked = []
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        futures = [pool.submit(look_at, picture, detector, class_names, args, threshold) for picture in pictures]
        try:
            for future in tqdm.tqdm(futures, desc="detecting", unit=" pictures", leave=False, disable=None):
                looked.append(future.result())
        finally:                                # after an error or Ctrl-C the rest is not waited for
            for future in futures:
                future.cancel()
    return looked


def look_at(picture, detector, class_names, args, threshold):
    """Detects, and draws, one picture: a Looked."""
    from shelfdet import boxes, detections, images, tiles
    try:
        pixels, size_wh, orientation = images.load(picture.path, args.max_side * args.tiles, args.exif)
        framed, left_top = pixels, (0, 0)
        if args.pad_strips and images.is_strip(size_wh):
            framed, left_top = images.with_margins(pixels, picture.path)
    except UserError as error:
        if args.skip_bad:
            return Looked(None, images.UPRIGHT, str(error))
        raise UserError("{} No detections{} were written; --skip-bad goes on without such pictures and lists them.".format(
            error, " and no counts" if args.draw else "")) from error
    if picture.size_wh not in (None, size_wh):
        raise UserError("{}: {} x {} pixels{}; {} says {} x {}. Make the label file anew with step 02 and the same "
                        "--exif.".format(
            picture.path, *size_wh, " once turned" if args.exif == "apply" else "", args.labels, *picture.size_wh))
    boxes_yxyx, scores, class_ids = (
        tiles.detect(detector.detect, framed, args.tiles, args.max_side) if args.tiles > 1 else detector.detect(framed))
    unknown = sorted(set(class_ids.tolist()) - set(class_names))
    if unknown:
        raise UserError("{}: the graph found class {}; expected {}. Name the label map that it was trained with "
                        "(--label-map).".format(args.label_map, unknown[0], ", ".join(map(str, class_names))))
    boxes_xyxy, inside = without_margins(boxes_yxyx, framed.shape[1::-1], left_top, pixels.shape[1::-1], size_wh)
    found = detections.Detections(picture.path.name, size_wh, boxes.clip(boxes_xyxy, size_wh)[inside], scores[inside],
                                  tuple(class_names[class_id] for class_id in class_ids[inside]))
    if args.draw:
        draw(pixels, found, args.draw, threshold)
    return Looked(found, orientation, None)


def without_margins(boxes_yxyx, framed_wh, left_top, within_wh, size_wh):
    """Boxes that were found in a framed picture, in the raw pixels of the picture itself.

    Args:
      boxes_yxyx: (N, 4), in 0 to 1 of the frame.
      framed_wh: the frame's size. left_top: where in it the picture begins, which is within_wh large there and size_wh in raw pixels.

    Returns:
      (boxes_xyxy, inside): float64 (N, 4), and bool (N,), which have their middle in the picture.
    """
    import numpy as np
    from shelfdet import boxes
    boxes_xyxy = boxes.scale(boxes.from_normalised_yxyx(boxes_yxyx, framed_wh) - np.tile(left_top, 2), within_wh, size_wh)
    middles = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return boxes_xyxy, ((middles >= 0) & (middles <= size_wh)).all(axis=1)


def draw(pixels, found, folder, threshold):
    """Writes the picture, shrunk but without margins, with the boxes from ``threshold`` on, as a JPEG."""
    from PIL import Image
    from shelfdet import drawing
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
    """counts.csv: each picture's number of products, which is that of its boxes from ``threshold`` on; tells of drawings that are older."""
    from shelfdet import images
    counts = [(image.filename, int((image.scores >= threshold).sum())) for image in found]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COUNTS_COLUMNS)
    writer.writerows(counts)
    files.write_text(folder / COUNTS_FILE, text.getvalue())
    total = sum(count for _, count in counts)
    print("{}: {} products in {} pictures ({:.1f} a picture); the drawings are beside it".format(
        paths.shown(folder / COUNTS_FILE), total, len(counts), total / max(len(counts), 1)))
    older = len({path.name for path in images.list_images(folder)} - {drawing_name(image.filename) for image in found})
    if older:
        print("  and {} that {} there before, not of these pictures and not counted".format(_pictures(older), "was" if older == 1 else "were"))


def tell_exif(flagged, rule):
    if not flagged:
        print("no picture carries an EXIF orientation")
        return
    names = ["{} ({})".format(name, flag) for name, flag in flagged.items()]
    print("{} with an EXIF orientation: {}{}".format(
        _pictures(len(names)), ", ".join(names[:SHOWN_NAMES]), " ..." if len(names) > SHOWN_NAMES else ""))
    if rule == "ignore":
        print("  not turned: boxes are those of the raw pixels. If drawings lie on a side or stand on their head, use "
              "--exif apply")
    else:
        print("  turned: boxes and sizes are those of the turned pictures")


def tell_strips(names, padded):
    if names and not padded:
        print("{} more than twice as wide as high, or as high as wide: {}{}\n  a graph that was trained on pictures of ordinary shape "
              "finds little there; --pad-strips (`make predict PAD=1`) gives them margins".format(
                  _pictures(len(names)), ", ".join(names[:SHOWN_NAMES]), " ..." if len(names) > SHOWN_NAMES else ""))


def tell_skipped(skipped):
    for message in list(skipped.values())[:SHOWN_NAMES]:
        print("skipped: {}".format(message), file=sys.stderr)
    if skipped:
        print("skipped {}; their names stand in the output's \"info\"".format(_pictures(len(skipped))), file=sys.stderr)


def _pictures(count):
    return "{} picture{}".format(count, "" if count == 1 else "s")


if __name__ == "__main__":
    command.run(main)
