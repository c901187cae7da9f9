#!/usr/bin/env python
"""Step 09: how good the detections are.

Reads   test_labels.csv (step 02) and results/test_detections.json (step 08); val_labels.csv and
        results/val_detections.json for the score threshold, which is never chosen on the test images.
Writes  metrics.json and image2products.json in the repository's root: the figures, and how many products each image
        shows.

    python workspace/training_demo/evaluation/09_score.py
    python workspace/training_demo/evaluation/09_score.py --format text --ground-truth truth/ --detections found/ \\
        --threshold 0.5
    python workspace/training_demo/evaluation/09_score.py --compare one.json other.json --threshold 0.5

Images that the graph has seen in training, as step 08 notes it, are refused, since figures on them say nothing about
new ones. --allow-seen scores them all the same, and the figures tell how many they were.

Any detector's boxes can be scored: --format names what they come in, coco (the workspace's JSON, or COCO's list of
results), csv, voc (a folder of Pascal VOC XML) or text (a folder with one file an image: "class score x1 y1 x2 y2",
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

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts")
)  # where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

FORMATS = ("coco", "csv", "voc", "text")
GRAPH_FILES = (("graph_sha256", paths.GRAPH_FILE), ("config_sha256", paths.CONFIG_FILE))
# What step 08 notes of itself, and validation and test detections must share.
MADE_WITH = ("graph_sha256", "config_sha256", "max_side", "exif", "pad_strips", "tiles")
DIGITS = 6
FEW_IMAGES = 5  # a threshold chosen on fewer is chance
SHOWN_NAMES = 10
SHOWN = collections.OrderedDict(
    [
        ("mAP", "AP at IoU 0.5 (mAP)"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("f1", "F1"),
        ("AP", "COCO AP, IoU 0.50 to 0.95"),
        ("AP75", "COCO AP at IoU 0.75"),
        ("mean_absolute_count_error", "mean |count error|"),
        ("mean_count_error", "mean count error"),
    ]
)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    path = {"type": pathlib.Path, "metavar": "PATH"}
    parser.add_argument(
        "--ground-truth", **path, help=f"labels of the images (default: {paths.labels('test')})"
    )
    parser.add_argument(
        "--detections",
        **path,
        help=f"detections in the same images (default: {paths.RESULTS / 'test_detections.json'})",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="of the detections, and of a --ground-truth that is named "
        "(default: coco, and csv for ground truth)",
    )
    parser.add_argument(
        "--ground-truth-format", choices=FORMATS, help="where ground truth and detections differ"
    )
    parser.add_argument(
        "--val-ground-truth",
        **path,
        help=f"labels of the validation images, in the format of the ground truth (default: {paths.labels('val')})",
    )
    parser.add_argument(
        "--val-detections",
        nargs="+",
        **path,
        help=f"detections in the validation images, which choose the threshold; two with --compare (default: {paths.RESULTS / 'val_detections.json'}, unless --detections or --compare is given)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="count detections from this score on, in place of choosing it",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        **path,
        help="two detectors' detections in the same images: the "
        "difference of their figures, with the interval of a paired bootstrap",
    )
    parser.add_argument(
        "--graph-dir", **path, help="folder of the graph that the detections must be made with"
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="score images that the graph has seen in training, in place of refusing them",
    )
    parser.add_argument("--one-class", action="store_true", help="match boxes whatever their class")
    parser.add_argument(
        "--clip",
        action="store_true",
        help="cut boxes that reach outside their image, in place of refusing them",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap, 0 for no intervals; fewer where they would take minutes "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        **path,
        help=f"figures (default: {paths.METRICS}, unless --detections, --compare or --counts-output is given)",
    )
    parser.add_argument(
        "--counts-output",
        **path,
        help=f"products in each image (default: {paths.IMAGE_TO_PRODUCTS}, unless --detections, --compare or --output is given)",
    )
    args = parser.parse_args(argv)
    check(args, parser)
    return with_defaults(args)


def check(args, parser):
    if args.compare and (args.detections or args.counts_output or args.graph_dir):
        parser.error("--compare takes the place of --detections, --counts-output and --graph-dir")
    if args.threshold is not None and args.val_detections:
        parser.error(
            "--threshold and --val-detections both give the threshold; expected one of them"
        )
    if args.threshold is not None and not math.isfinite(args.threshold):
        parser.error(f"--threshold {args.threshold}: expected a finite number")
    if args.val_detections and len(args.val_detections) != (2 if args.compare else 1):
        parser.error(
            f"--val-detections: expected {'two files with --compare' if args.compare else 'one file'}, found {len(args.val_detections)}"
        )
    if args.output and args.counts_output and args.output.resolve() == args.counts_output.resolve():
        parser.error(f"--output and --counts-output are both {args.output}; expected two files")
    if args.resamples < 0:
        parser.error(f"--resamples {args.resamples}: expected 0 or more")


def with_defaults(args):
    args.ground_truth_format = args.ground_truth_format or (
        args.format if args.ground_truth and args.format else "csv"
    )
    args.format = args.format or "coco"
    args.ground_truth = args.ground_truth or paths.labels("test")
    args.val_ground_truth = args.val_ground_truth or paths.labels("val")
    if not args.detections and not args.compare:
        args.detections = paths.RESULTS / "test_detections.json"
        if (
            not args.output and not args.counts_output
        ):  # one without the other would leave two that disagree
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
    from shelfdet.evaluation import bootstrap, metrics

    check_threshold(args)
    infos = read_infos(args)
    check_made_with(args, infos)
    (seen,), seen_by_validation = count_seen(args, infos)
    matches = read_matches(args.ground_truth, args.detections, args)
    validation = (
        read_matches(args.val_ground_truth, args.val_detections[0], args)
        if args.val_detections
        else None
    )
    threshold, origin = choose(args, matches, validation, 0)
    resamples = resamples_of(args, matches)
    figures = bootstrap.summary(matches, threshold)
    content = collections.OrderedDict((name, figures[name]) for name in SHOWN)
    content.update(zip(("TP", "FP", "FN"), bootstrap.tally_sums(matches, threshold)))
    content.update([("threshold", threshold), ("threshold_from", origin), ("rules", metrics.RULES)])
    content.update(read_on(matches, infos[args.detections], args))
    if seen:
        content["seen_in_training"] = seen
    content["intervals_95"] = bootstrap.bootstrap(
        matches, threshold, resamples, args.seed, progress(resamples)
    )
    content["bootstrap"] = {"resamples": resamples, "seed": args.seed, "over": "images"}
    content["validation"] = bootstrap.row(validation, threshold) if validation else None
    if any(seen_by_validation):
        content["validation"]["seen_in_training"] = seen_by_validation[0]
    content.update(breakdowns(matches, threshold))
    show(content, args)
    write_json([(args.output, content), (args.counts_output, counts(matches, threshold))])


def compare(args):
    from shelfdet.evaluation import bootstrap, metrics

    infos = read_infos(args)
    check_made_with(args, infos)
    seen, _ = count_seen(args, infos)
    both = [read_matches(args.ground_truth, path, args) for path in args.compare]
    validation = [
        read_matches(args.val_ground_truth, path, args) for path in args.val_detections or ()
    ] or [None, None]
    chosen = [choose(args, both[index], matches, index) for index, matches in enumerate(validation)]
    resamples = resamples_of(args, *both)
    thresholds = [threshold for threshold, _ in chosen]
    rows = bootstrap.compare(
        both[0], both[1], thresholds, resamples, args.seed, progress(resamples)
    )
    print(
        f"{len(both[0])} images; A {args.compare[0].name}, B {args.compare[1].name}; B - A with the 95 % interval of a paired bootstrap ({resamples} resamples)\n"
    )
    print(f"{'':28}{'A':>9}{'B':>9}{'B - A':>10}")
    for name, text in SHOWN.items():
        one, other, difference, interval = rows[name]
        print(
            f"{text:28}{number(one):>9}{number(other):>9}{number(difference):>10}   {span(interval)}"
        )
    keys = ("A", "B", "difference", "interval_95")
    content = {
        "A": args.compare[0].name,
        "B": args.compare[1].name,
        "images": len(both[0]),
        "rules": metrics.RULES,
        "thresholds": [
            {"threshold": threshold, "threshold_from": origin} for threshold, origin in chosen
        ],
        "bootstrap": {"resamples": resamples, "seed": args.seed, "over": "images, paired"},
        "figures": collections.OrderedDict(
            (name, collections.OrderedDict(zip(keys, row))) for name, row in rows.items()
        ),
    }
    if any(seen):
        content["seen_in_training"] = seen
    write_json([(args.output, content)])


def read_matches(ground_truth, found, args):
    """The Matches of two files (or folders). Text files, which do not tell their image's suffix, are read second."""
    from shelfdet.data import detections
    from shelfdet.evaluation import metrics

    read_truth = functools.partial(
        detections.read_detections, ground_truth, args.ground_truth_format, scored=False
    )
    read_found = functools.partial(
        detections.read_detections,
        found,
        args.format,
        clip=args.clip,
        coco_ground_truth=ground_truth if args.ground_truth_format == "coco" else None,
    )
    if args.ground_truth_format == "text" and args.format != "text":
        box_count = read_found()
        truth = read_truth(known=box_count)
    else:
        truth = read_truth()
        box_count = read_found(known=truth)
    try:
        return metrics.match(truth, box_count, args.one_class)
    except UserError as error:
        raise UserError(f"{found}: {error}") from error


def resamples_of(args, *detectors):
    """--resamples, or fewer where one of the lists of Matches is so long that these would take minutes."""
    from shelfdet.evaluation import bootstrap

    resamples = min(bootstrap.resamples_for(matches, args.resamples) for matches in detectors)
    if resamples < args.resamples:
        print(
            f"{resamples} resamples in place of {args.resamples}: with so many detections more would take minutes"
        )
    return resamples


def check_threshold(args):
    """Refuses what cannot be written without a threshold, before anything is read."""
    if args.threshold is not None or args.val_detections and args.val_detections[0].exists():
        return
    if args.val_detections:
        raise UserError(
            f"{args.val_detections[0]}: no such file; expected detections in the validation images, which choose the threshold. Run step 08 with --labels {paths.shown(args.val_ground_truth)}, or give --threshold."
        )
    if args.counts_output:
        raise UserError(
            f"--counts-output {args.counts_output}: counting needs a threshold, and there is none. Give --val-detections, or --threshold."
        )


def choose(args, scored, validation, index):
    """(threshold or None, where it is from), on the ``index``-th of --val-detections, which share no image with
    ``scored``."""
    from shelfdet.evaluation import metrics

    if args.threshold is not None:
        return args.threshold, "given"
    if validation is None:
        return (
            None,
            "not chosen: there are no validation detections, and test images never choose it",
        )
    shared = sorted({image.filename for image in scored} & {image.filename for image in validation})
    if shared:
        raise UserError(
            f"{args.val_detections[index]}: {len(shared)} of its images are scored, too ({some(shared)}); expected others, since scored images never choose the threshold. Name detections in the validation images, or give --threshold."
        )
    threshold = metrics.best_threshold(validation)
    if threshold is None:
        raise UserError(
            f"{args.val_detections[index]}: no detection hits a ground truth of {args.val_ground_truth}, so no threshold can be chosen. Give one with --threshold."
        )
    if len(validation) < FEW_IMAGES:
        print(
            f"warning: the threshold is chosen on {len(validation)} images; expected at least {FEW_IMAGES} for one that holds. Set more aside for validation (make data VAL_SHARE=0.3).",
            file=sys.stderr,
        )
    return (
        threshold,
        f"highest score that maximises F1 on {args.val_detections[index].name}, {len(validation)} images",
    )


def read_infos(args):
    """What each file of detections notes of its making: dict of path -> "info", empty where the format has none."""
    from shelfdet.data import detections

    return {
        path: detections.read_info(path) if args.format == "coco" else {}
        for path in (args.compare or [args.detections]) + (args.val_detections or [])
    }


def count_seen(args, infos):
    """How many images training has seen, of each scored file and of each validation file: two lists of int.

    The graph was trained on those under "train", and the weights that its training began with on those under "before";
    those under "val" chose its checkpoint, and may choose its threshold, too. Without a note nothing is known, and nothing
    refused.
    """
    scored = [
        seen_in_training(infos[path], path, ("before", "train", "val"), args)
        for path in args.compare or [args.detections]
    ]
    return scored, [
        seen_in_training(infos[path], path, ("before", "train"), args)
        for path in args.val_detections or ()
    ]


def seen_in_training(info, path, uses, args):
    noted = info.get("seen_in_training")
    listed = [noted.get(use) for use in uses] if isinstance(noted, dict) else []
    names = sorted({str(name) for part in listed if isinstance(part, list) for name in part})
    if names and not args.allow_seen:
        raise UserError(
            f"{path}: {len(names)} of its images were used to train the graph{' or to choose its checkpoint' if 'val' in uses else ''} ({some(names)}); expected images that are new to it. Score images of the other split, or train a graph on this split (`make train RUN_DIR=folder`); --allow-seen goes on, and notes it in the figures."
        )
    return len(names)


def check_made_with(args, infos):
    """Refuses detections that were not made with the same graph, in the same way, as validation's and --graph-dir's."""
    if args.format != "coco":
        return
    for scored, path in zip(args.compare or [args.detections], args.val_detections or ()):
        for key in MADE_WITH:
            if infos[scored].get(key) != infos[path].get(key):
                raise UserError(
                    f"{path}: {key} is {infos[path].get(key)!r}; expected {infos[scored].get(key)!r} as in {scored}. Run step 08 on both sets of images with the same graph{', and name both in one order' if args.compare else ''}."
                )
    for key, name in GRAPH_FILES if args.graph_dir else ():
        file = args.graph_dir / name
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; expected the graph that {args.detections} was made with."
            )
        if files.sha256(file) != infos[args.detections].get(key):
            raise UserError(
                f"{file}: has the sha256 {files.sha256(file)}; expected {infos[args.detections].get(key)}, with which {args.detections} was made. Run step 08 again."
            )


def read_on(matches, info, args):
    """What the figures were read on, and with which graph."""
    from shelfdet.evaluation import metrics

    sides = [min(image.size_wh) for image in matches if image.size_wh]
    return collections.OrderedDict(
        [
            ("images", len(matches)),
            ("boxes", sum(len(image.truth_xyxy) for image in matches)),
            ("labelled_twice", metrics.labelled_twice(matches)),
            ("detections", sum(len(image.scores) for image in matches)),
            ("shorter_side_px", [min(sides), max(sides)] if sides else None),
            ("graph", info.get("graph")),
            ("graph_sha256", info.get("graph_sha256")),
            ("config_sha256", info.get("config_sha256")),
            ("labels", args.ground_truth.name),
            (
                "labels_sha256",
                files.sha256(args.ground_truth) if args.ground_truth.is_file() else None,
            ),
        ]
    )


def breakdowns(matches, threshold):
    from shelfdet.data import splits
    from shelfdet.evaluation import bootstrap

    # Where both sides are text files, names have no suffix, which the scheme of names has.
    names = [
        image.filename if pathlib.PurePath(image.filename).suffix else image.filename + ".JPG"
        for image in matches
    ]
    scenes = [splits.scene(name) or ("other", "other") for name in names]
    result = collections.OrderedDict()
    for index, name in enumerate(("by_camera", "by_planogram")):
        result[name] = bootstrap.by_group(matches, threshold, [scene[index] for scene in scenes])
    result["by_box_size"] = bootstrap.by_box_size(matches, threshold)
    result["errors"] = collections.OrderedDict()
    for kind, (count, cost) in bootstrap.error_kinds(matches, threshold).items():
        result["errors"][kind] = collections.OrderedDict([("number", count), ("mAP_cost", cost)])
    return result


def counts(matches, threshold):
    """Products in each image, dict of name -> number; None without a threshold."""
    if threshold is None:
        return None
    return {image.filename: int((image.scores >= threshold).sum()) for image in matches}


def show(content, args):
    from shelfdet.core import boxes

    print(
        "{}: {} images, {} products, {} detections of any score{}\n".format(
            args.detections.name,
            content["images"],
            content["boxes"],
            content["detections"],
            "\n{} of the products lie on another (IoU over {:g}), as if labelled twice: whoever finds each once misses those".format(
                content["labelled_twice"], boxes.DUPLICATE_IOU
            )
            if content["labelled_twice"]
            else "",
        )
    )
    print(f"{'':28}{'value':>9}   95 % interval")
    for name, text in SHOWN.items():
        print(f"{text:28}{number(content[name]):>9}   {span(content['intervals_95'].get(name))}")
    if content["threshold"] is None:
        print(f"\nthreshold {content['threshold_from']}. Give --val-detections, or --threshold.")
        return
    print(
        "\nfrom score {:.4f} on ({}): {TP} hits, {FP} false alarms, {FN} missed".format(
            content["threshold"],
            content["threshold_from"],
            **{key: content[key] for key in ("TP", "FP", "FN")},
        )
    )
    print(
        "errors (cost in mAP): "
        + ", ".join(
            f"{error['number']} {kind} ({number(error['mAP_cost'])})"
            for kind, error in content["errors"].items()
        )
    )


def number(value):
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def span(interval):
    return (
        "" if interval is None or math.isnan(interval[0]) else "{:.4f} to {:.4f}".format(*interval)
    )


def progress(total):
    import tqdm

    return functools.partial(
        tqdm.tqdm, total=total, desc="intervals", unit="draw", delay=2, leave=False, disable=None
    )


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
        print(f"wrote {paths.shown(path)}")


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
    command_line.run(main)
