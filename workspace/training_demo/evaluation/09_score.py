#!/usr/bin/env python
"""Step 09: how good the detections are.

Reads   test_labels.csv (step 02) and results/test_detections.json (step 08); val_labels.csv and
        results/val_detections.json for the score threshold, which is never chosen on the test pictures.
Writes  metrics.json and image2products.json in the repository's root: the figures, and how many products each picture
        shows.

    python workspace/training_demo/evaluation/09_score.py
    python workspace/training_demo/evaluation/09_score.py --format text --ground-truth truth/ --detections found/ \\
        --threshold 0.5
    python workspace/training_demo/evaluation/09_score.py --compare one.json other.json --threshold 0.5

Pictures that the graph has seen in training, as step 08 notes it, are refused, since figures on them say nothing about
new ones. --allow-seen scores them all the same, and the figures tell how many they were.

Any detector's boxes can be scored: --format names what they come in, coco (the workspace's JSON, or COCO's list of
results), csv, voc (a folder of Pascal VOC XML) or text (a folder with one file a picture: "class score x1 y1 x2 y2",
pixels; without the score for ground truth). With --detections or --compare nothing is written but what --output and
--counts-output name.
"""

import argparse
import collections
import functools
import json
import math
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))     # where shelfdet lives
from shelfdet import UserError, command, files, paths

FORMATS = ("coco", "csv", "voc", "text")
GRAPH_FILES = (("graph_sha256", paths.GRAPH_FILE), ("config_sha256", paths.CONFIG_FILE))
# What step 08 notes of itself, and validation and test detections must share.
MADE_WITH = ("graph_sha256", "config_sha256", "max_side", "exif", "pad_strips", "tiles")
DIGITS = 6
FEW_PICTURES = 5         # a threshold chosen on fewer is chance
SHOWN_NAMES = 10
SHOWN = collections.OrderedDict([
    ("mAP", "AP at IoU 0.5 (mAP)"), ("precision", "precision"), ("recall", "recall"), ("f1", "F1"),
    ("AP", "COCO AP, IoU 0.50 to 0.95"), ("AP75", "COCO AP at IoU 0.75"),
    ("mean_absolute_count_error", "mean |count error|"), ("mean_count_error", "mean count error")])


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    path = {"type": pathlib.Path, "metavar": "PATH"}
    parser.add_argument("--ground-truth", **path, help="labels of the pictures (default: {})".format(
        paths.labels("test")))
    parser.add_argument("--detections", **path, help="detections in the same pictures (default: {})".format(
        paths.RESULTS / "test_detections.json"))
    parser.add_argument("--format", choices=FORMATS, help="of the detections, and of a --ground-truth that is named "
                        "(default: coco, and csv for ground truth)")
    parser.add_argument("--ground-truth-format", choices=FORMATS, help="where ground truth and detections differ")
    parser.add_argument("--val-ground-truth", **path, help="labels of the validation pictures, in the format of the "
                        "ground truth (default: {})".format(paths.labels("val")))
    parser.add_argument("--val-detections", nargs="+", **path, help="detections in the validation pictures, which "
                        "choose the threshold; two with --compare (default: {}, unless --detections or --compare is "
                        "given)".format(paths.RESULTS / "val_detections.json"))
    parser.add_argument("--threshold", type=float, metavar="SCORE",
                        help="count detections from this score on, in place of choosing it")
    parser.add_argument("--compare", nargs=2, **path, help="two detectors' detections in the same pictures: the "
                        "difference of their figures, with the interval of a paired bootstrap")
    parser.add_argument("--graph-dir", **path, help="folder of the graph that the detections must be made with")
    parser.add_argument("--allow-seen", action="store_true",
                        help="score pictures that the graph has seen in training, in place of refusing them")
    parser.add_argument("--one-class", action="store_true", help="match boxes whatever their class")
    parser.add_argument("--clip", action="store_true",
                        help="cut boxes that reach outside their picture, in place of refusing them")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N",
                        help="of the bootstrap, 0 for no intervals; fewer where they would take minutes "
                        "(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--output", **path, help="figures (default: {}, unless --detections, --compare or "
                        "--counts-output is given)".format(paths.METRICS))
    parser.add_argument("--counts-output", **path, help="products in each picture (default: {}, unless "
                        "--detections, --compare or --output is given)".format(paths.IMAGE_TO_PRODUCTS))
    args = parser.parse_args(argv)
    check(args, parser)
    return with_defaults(args)


def check(args, parser):
    if args.compare and (args.detections or args.counts_output or args.graph_dir):
        parser.error("--compare takes the place of --detections, --counts-output and --graph-dir")
    if args.threshold is not None and args.val_detections:
        parser.error("--threshold and --val-detections both give the threshold; expected one of them")
    if args.threshold is not None and not math.isfinite(args.threshold):
        parser.error("--threshold {}: expected a finite number".format(args.threshold))
    if args.val_detections and len(args.val_detections) != (2 if args.compare else 1):
        parser.error("--val-detections: expected {}, found {}".format(
            "two files with --compare" if args.compare else "one file", len(args.val_detections)))
    if args.output and args.counts_output and args.output.resolve() == args.counts_output.resolve():
        parser.error("--output and --counts-output are both {}; expected two files".format(args.output))
    if args.resamples < 0:
        parser.error("--resamples {}: expected 0 or more".format(args.resamples))


def with_defaults(args):
    args.ground_truth_format = args.ground_truth_format or (args.format if args.ground_truth and args.format else "csv")
    args.format = args.format or "coco"
    args.ground_truth = args.ground_truth or paths.labels("test")
    args.val_ground_truth = args.val_ground_truth or paths.labels("val")
    if not args.detections and not args.compare:
        args.detections = paths.RESULTS / "test_detections.json"
        if not args.output and not args.counts_output:          # one without the other would leave two that disagree
            args.output, args.counts_output = paths.METRICS, paths.IMAGE_TO_PRODUCTS
        if args.threshold is None and not args.val_detections:
            args.val_detections = [paths.RESULTS / "val_detections.json"]
    return args


def main(argv=None):
    args = parse(argv)
    if args.compare:
        compare(args)
    else:
        score(args)


def score(args):
    from shelfdet import metrics, statistics
    check_threshold(args)
    infos = read_infos(args)
    check_made_with(args, infos)
    (seen,), seen_by_validation = count_seen(args, infos)
    matches = read_matches(args.ground_truth, args.detections, args)
    validation = read_matches(args.val_ground_truth, args.val_detections[0], args) if args.val_detections else None
    threshold, origin = choose(args, matches, validation, 0)
    resamples = resamples_of(args, matches)
    figures = statistics.summary(matches, threshold)
    content = collections.OrderedDict((name, figures[name]) for name in SHOWN)
    content.update(zip(("TP", "FP", "FN"), statistics.tally_sums(matches, threshold)))
    content.update([("threshold", threshold), ("threshold_from", origin), ("rules", metrics.RULES)])
    content.update(read_on(matches, infos[args.detections], args))
    if seen:
        content["seen_in_training"] = seen
    content["intervals_95"] = statistics.bootstrap(matches, threshold, resamples, args.seed, progress(resamples))
    content["bootstrap"] = {"resamples": resamples, "seed": args.seed, "over": "pictures"}
    content["validation"] = statistics.row(validation, threshold) if validation else None
    if any(seen_by_validation):
        content["validation"]["seen_in_training"] = seen_by_validation[0]
    content.update(breakdowns(matches, threshold))
    show(content, args)
    write_json([(args.output, content), (args.counts_output, counts(matches, threshold))])


def compare(args):
    from shelfdet import metrics, statistics
    infos = read_infos(args)
    check_made_with(args, infos)
    seen, _ = count_seen(args, infos)
    both = [read_matches(args.ground_truth, path, args) for path in args.compare]
    validation = [read_matches(args.val_ground_truth, path, args) for path in args.val_detections or ()] or [None, None]
    chosen = [choose(args, both[index], matches, index) for index, matches in enumerate(validation)]
    resamples = resamples_of(args, *both)
    thresholds = [threshold for threshold, _ in chosen]
    rows = statistics.compare(both[0], both[1], thresholds, resamples, args.seed, progress(resamples))
    print("{} pictures; A {}, B {}; B - A with the 95 % interval of a paired bootstrap ({} resamples)\n".format(
        len(both[0]), args.compare[0].name, args.compare[1].name, resamples))
    print("{:28}{:>9}{:>9}{:>10}".format("", "A", "B", "B - A"))
    for name, text in SHOWN.items():
        one, other, difference, interval = rows[name]
        print("{:28}{:>9}{:>9}{:>10}   {}".format(text, number(one), number(other), number(difference), span(interval)))
    keys = ("A", "B", "difference", "interval_95")
    content = {
        "A": args.compare[0].name, "B": args.compare[1].name, "pictures": len(both[0]), "rules": metrics.RULES,
        "thresholds": [{"threshold": threshold, "threshold_from": origin} for threshold, origin in chosen],
        "bootstrap": {"resamples": resamples, "seed": args.seed, "over": "pictures, paired"},
        "figures": collections.OrderedDict(
            (name, collections.OrderedDict(zip(keys, row))) for name, row in rows.items())}
    if any(seen):
        content["seen_in_training"] = seen
    write_json([(args.output, content)])


def read_matches(ground_truth, found, args):
    """The Matches of two files (or folders). Text files, which do not tell their picture's suffix, are read second."""
    from shelfdet import detections, metrics
    read_truth = functools.partial(detections.read_detections, ground_truth, args.ground_truth_format, scored=False)
    read_found = functools.partial(detections.read_detections, found, args.format, clip=args.clip,
                                   coco_ground_truth=ground_truth if args.ground_truth_format == "coco" else None)
    if args.ground_truth_format == "text" and args.format != "text":
        boxes = read_found()
        truth = read_truth(known=boxes)
    else:
        truth = read_truth()
        boxes = read_found(known=truth)
    try:
        return metrics.match(truth, boxes, args.one_class)
    except UserError as error:
        raise UserError("{}: {}".format(found, error)) from error


def resamples_of(args, *detectors):
    """--resamples, or fewer where one of the lists of Matches is so long that these would take minutes."""
    from shelfdet import statistics
    resamples = min(statistics.resamples_for(matches, args.resamples) for matches in detectors)
    if resamples < args.resamples:
        print("{} resamples in place of {}: with so many detections more would take minutes".format(
            resamples, args.resamples))
    return resamples


def check_threshold(args):
    """Refuses what cannot be written without a threshold, before anything is read."""
    if args.threshold is not None or args.val_detections and args.val_detections[0].exists():
        return
    if args.val_detections:
        raise UserError("{}: no such file; expected detections in the validation pictures, which choose the threshold. "
                        "Run step 08 with --labels {}, or give --threshold.".format(
                            args.val_detections[0], paths.shown(args.val_ground_truth)))
    if args.counts_output:
        raise UserError("--counts-output {}: counting needs a threshold, and there is none. Give --val-detections, or "
                        "--threshold.".format(args.counts_output))


def choose(args, scored, validation, index):
    """(threshold or None, where it is from), on the ``index``-th of --val-detections, which share no picture with
    ``scored``."""
    from shelfdet import metrics
    if args.threshold is not None:
        return args.threshold, "given"
    if validation is None:
        return None, "not chosen: there are no validation detections, and test pictures never choose it"
    shared = sorted({image.filename for image in scored} & {image.filename for image in validation})
    if shared:
        raise UserError("{}: {} of its pictures are scored, too ({}); expected others, since scored pictures never "
                        "choose the threshold. Name detections in the validation pictures, or give --threshold.".format(
                            args.val_detections[index], len(shared), some(shared)))
    threshold = metrics.best_threshold(validation)
    if threshold is None:
        raise UserError("{}: no detection hits a ground truth of {}, so no threshold can be chosen. Give one with "
                        "--threshold.".format(args.val_detections[index], args.val_ground_truth))
    if len(validation) < FEW_PICTURES:
        print("warning: the threshold is chosen on {} pictures; expected at least {} for one that holds. Set more "
              "aside for validation (make data VAL_SHARE=0.3).".format(len(validation), FEW_PICTURES), file=sys.stderr)
    return threshold, "highest score that maximises F1 on {}, {} pictures".format(
        args.val_detections[index].name, len(validation))


def read_infos(args):
    """What each file of detections notes of its making: dict of path -> "info", empty where the format has none."""
    from shelfdet import detections
    return {path: detections.read_info(path) if args.format == "coco" else {}
            for path in (args.compare or [args.detections]) + (args.val_detections or [])}


def count_seen(args, infos):
    """How many pictures training has seen, of each scored file and of each validation file: two lists of int.

    The graph was trained on those under "train", and the weights that its training began with on those under "before";
    those under "val" chose its checkpoint, and may choose its threshold, too. Without a note nothing is known, and nothing
    refused.
    """
    scored = [seen_in_training(infos[path], path, ("before", "train", "val"), args) for path in args.compare or [args.detections]]
    return scored, [seen_in_training(infos[path], path, ("before", "train"), args) for path in args.val_detections or ()]


def seen_in_training(info, path, uses, args):
    noted = info.get("seen_in_training")
    listed = [noted.get(use) for use in uses] if isinstance(noted, dict) else []
    names = sorted({str(name) for part in listed if isinstance(part, list) for name in part})
    if names and not args.allow_seen:
        raise UserError("{}: {} of its pictures were used to train the graph{} ({}); expected pictures that are new to "
                        "it. Score pictures of the other split, or train a graph on this split (`make train "
                        "RUN_DIR=folder`); --allow-seen goes on, and notes it in the figures.".format(
                            path, len(names), " or to choose its checkpoint" if "val" in uses else "", some(names)))
    return len(names)


def check_made_with(args, infos):
    """Refuses detections that were not made with the same graph, in the same way, as validation's and --graph-dir's."""
    if args.format != "coco":
        return
    for scored, path in zip(args.compare or [args.detections], args.val_detections or ()):
        for key in MADE_WITH:
            if infos[scored].get(key) != infos[path].get(key):
                raise UserError("{}: {} is {!r}; expected {!r} as in {}. Run step 08 on both sets of pictures with the "
                                "same graph{}.".format(path, key, infos[path].get(key), infos[scored].get(key), scored,
                                                       ", and name both in one order" if args.compare else ""))
    for key, name in GRAPH_FILES if args.graph_dir else ():
        file = args.graph_dir / name
        if not file.is_file():
            raise UserError("{}: no such file; expected the graph that {} was made with.".format(file, args.detections))
        if files.sha256(file) != infos[args.detections].get(key):
            raise UserError("{}: has the sha256 {}; expected {}, with which {} was made. Run step 08 again.".format(
                file, files.sha256(file), infos[args.detections].get(key), args.detections))


def read_on(matches, info, args):
    """What the figures were read on, and with which graph."""
    from shelfdet import metrics
    sides = [min(image.size_wh) for image in matches if image.size_wh]
    return collections.OrderedDict([
        ("pictures", len(matches)), ("boxes", sum(len(image.truth_xyxy) for image in matches)),
        ("labelled_twice", metrics.labelled_twice(matches)),
        ("detections", sum(len(image.scores) for image in matches)),
        ("shorter_side_px", [min(sides), max(sides)] if sides else None), ("graph", info.get("graph")),
        ("graph_sha256", info.get("graph_sha256")), ("config_sha256", info.get("config_sha256")),
        ("labels", args.ground_truth.name),
        ("labels_sha256", files.sha256(args.ground_truth) if args.ground_truth.is_file() else None)])


def breakdowns(matches, threshold):
    from shelfdet import splits, statistics
    # Where both sides are text files, names have no suffix, which the scheme of names has.
    names = [image.filename if pathlib.PurePath(image.filename).suffix else image.filename + ".JPG"
             for image in matches]
    scenes = [splits.scene(name) or ("other", "other") for name in names]
    result = collections.OrderedDict()
    for index, name in enumerate(("by_camera", "by_planogram")):
        result[name] = statistics.by_group(matches, threshold, [scene[index] for scene in scenes])
    result["by_box_size"] = statistics.by_box_size(matches, threshold)
    result["errors"] = collections.OrderedDict()
    for kind, (count, cost) in statistics.error_kinds(matches, threshold).items():
        result["errors"][kind] = collections.OrderedDict([("number", count), ("mAP_cost", cost)])
    return result


def counts(matches, threshold):
    """Products in each picture, dict of name -> number; None without a threshold."""
    if threshold is None:
        return None
    return {image.filename: int((image.scores >= threshold).sum()) for image in matches}


def show(content, args):
    from shelfdet import boxes
    print("{}: {} pictures, {} products, {} detections of any score{}\n".format(
        args.detections.name, content["pictures"], content["boxes"], content["detections"],
        "\n{} of the products lie on another (IoU over {:g}), as if labelled twice: whoever finds each once misses those".format(
            content["labelled_twice"], boxes.DOUBLED_IOU) if content["labelled_twice"] else ""))
    print("{:28}{:>9}   {}".format("", "value", "95 % interval"))
    for name, text in SHOWN.items():
        print("{:28}{:>9}   {}".format(text, number(content[name]), span(content["intervals_95"].get(name))))
    if content["threshold"] is None:
        print("\nthreshold {}. Give --val-detections, or --threshold.".format(content["threshold_from"]))
        return
    print("\nfrom score {:.4f} on ({}): {TP} hits, {FP} false alarms, {FN} missed".format(
        content["threshold"], content["threshold_from"], **{key: content[key] for key in ("TP", "FP", "FN")}))
    print("errors (cost in mAP): " + ", ".join("{} {} ({})".format(error["number"], kind, number(error["mAP_cost"]))
                                               for kind, error in content["errors"].items()))


def number(value):
    return "-" if value is None or math.isnan(value) else "{:.4f}".format(value)


def span(interval):
    return "" if interval is None or math.isnan(interval[0]) else "{:.4f} to {:.4f}".format(*interval)


def progress(total):
    import tqdm
    return functools.partial(tqdm.tqdm, total=total, desc="intervals", unit="draw", delay=2, leave=False, disable=None)


def some(names):
    return ", ".join(names[:SHOWN_NAMES]) + (" ..." if len(names) > SHOWN_NAMES else "")


def write_json(contents):
    """Writes each content whose path is not None, all of them or none, so that figures and counts cannot disagree."""
    contents = [(path, content) for path, content in contents if path]
    with files.replacing_together([path for path, _ in contents]) as partials:
        for partial, (_, content) in zip(partials, contents):
            text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)
            # An interval stands on one line.
            text = re.sub(r"\[\n\s+([^\[\]{}\n]+),\n\s+([^\[\]{}\n]+)\n\s+\]", r"[\1, \2]", text)
            files.write_text(partial, text + "\n")
    for path, _ in contents:
        print("wrote {}".format(paths.shown(path)))


def plain(value, key=None):
    """The same nested value with NaN as None and floats rounded, but for a threshold, which scores are held against."""
    if isinstance(value, dict):
        return collections.OrderedDict((name, plain(part, name)) for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value if key == "threshold" else round(value, DIGITS)
    return value


if __name__ == "__main__":
    command.run(main)
