#!/usr/bin/env python
"""Step 09: scores detections: AP, precision, recall, count errors, with 95 % intervals.

Reads   test_labels.csv (step 02) and results/test_detections.json (step 08); val_labels.csv and
        results/val_detections.json for the score threshold, which is never chosen on test images.
Writes  metrics.json and image2products.json in the repository's root: the figures of the latest
        evaluation with the graph that made the detections, and the number of products in each
        image. Beside that graph the same metrics.json, except beside an included graph.

    python workspace/training_demo/evaluation/09_score.py
    python workspace/training_demo/evaluation/09_score.py --dataset default,sku110k
    python workspace/training_demo/evaluation/09_score.py --format text --ground-truth truth/ \\
        --detections found/ --threshold 0.5
    python workspace/training_demo/evaluation/09_score.py --compare one.json other.json \\
        --threshold 0.5

With --dataset, the images of several datasets are scored together and each, at one threshold, the
best on the validation images of all; label files and detections are then in the folders of these
names in annotations/ and results/.

Images that were used in training the graph, as step 08 records them, are refused, since figures on
them do not hold for new images. --allow-seen scores them and records their number.

Detections of any detector can be scored: --format names what they are in, coco (the workspace's
JSON, or COCO's list of results), csv, parquet (the folder of step 12, of which the labelled images
are scored), or a folder with one file an image: voc (Pascal VOC XML), yolo (with the confidence as
the last number), labelme (JSON) or text ("class score x1 y1 x2 y2", pixels; without the score for
ground truth). With --detections or --compare nothing is written but
what --output and --counts-output name.
"""

import argparse
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet import UserError
from shelfdet.core import command_line, next_step, paths, workspace_names
from shelfdet.core.text import counted, listed
from shelfdet.data import options
from shelfdet.data.formats import DETECTION_FORMATS, GROUND_TRUTH_FORMATS

if TYPE_CHECKING:  # it loads NumPy
    from shelfdet.evaluation import score

SHOWN_CLASSES = 20  # more are in metrics.json and in the report
FIGURE_NAMES = {
    "mAP": "mAP (AP at IoU 0.5)",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "AP": "COCO AP, IoU 0.50 to 0.95",
    "AP75": "COCO AP at IoU 0.75",
    "mean_absolute_count_error": "count MAE",
    "mean_count_error": "mean count error",
}


def parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    add_file_options(parser)
    add_rule_options(parser)
    args = parser.parse_args(argv)
    check(args, parser)
    fill_in_defaults(args)
    return args


def add_file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        type=dataset_names,
        metavar="NAME[,NAME]",
        help="score the images of these datasets of the workspace, together and each "
        f"({paths.DEFAULT_DATASET}: that without a name)",
    )
    parser.add_argument(
        "--ground-truth",
        **command_line.PATH,
        help=f"labels of the images (default: {paths.labels('test')})",
    )
    parser.add_argument(
        "--detections",
        **command_line.PATH,
        help=f"detections in the same images (default: {paths.RESULTS / 'test_detections.json'})",
    )
    parser.add_argument(
        "--format",
        choices=DETECTION_FORMATS,
        help="of the detections, and of a --ground-truth that is named "
        "(default: coco, and csv for ground truth, which parquet never is)",
    )
    parser.add_argument(
        "--ground-truth-format",
        choices=GROUND_TRUTH_FORMATS,
        help="where ground truth and detections have different formats",
    )
    parser.add_argument(
        "--val-ground-truth",
        **command_line.PATH,
        help="labels of the validation images, in the format of the ground truth "
        f"(default: {paths.labels('val')})",
    )
    parser.add_argument(
        "--val-detections",
        nargs="+",
        **command_line.PATH,
        help="detections in the validation images, which choose the threshold; two with --compare "
        f"(default: {paths.RESULTS / 'val_detections.json'}, unless --detections or --compare is "
        "given)",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        **command_line.PATH,
        help="detections of two detectors in the same images: prints the differences of their "
        "figures with the interval of a paired bootstrap",
    )
    parser.add_argument(
        "--graph-dir",
        **command_line.PATH,
        help="folder of the graph that must have made the detections (default: the one that they "
        "name)",
    )
    parser.add_argument(
        "--output",
        **command_line.PATH,
        help=f"figures (default: {paths.METRICS} and {paths.METRICS.name} beside the graph, unless "
        "--detections, --compare or --counts-output is given)",
    )
    parser.add_argument(
        "--counts-output",
        **command_line.PATH,
        help=f"products in each image (default: {paths.IMAGE_TO_PRODUCTS}, unless --detections, "
        "--compare or --output is given)",
    )


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=command_line.finite,
        metavar="SCORE",
        help="count detections from this score on, in place of choosing it",
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="score images that were used in training the graph, in place of refusing them",
    )
    parser.add_argument("--one-class", action="store_true", help="match boxes whatever their class")
    parser.add_argument(
        "--clip",
        action="store_true",
        help="clip boxes that reach outside their image, in place of refusing them",
    )
    parser.add_argument(
        "--resamples",
        type=command_line.not_negative,
        default=1000,
        metavar="N",
        help="of the bootstrap, 0 for no intervals; fewer where they would take minutes "
        "(default: %(default)s)",
    )
    command_line.add_seed(parser, "of the bootstrap")


def dataset_names(text: str) -> List[str]:
    """Names of datasets: ["default", "sku110k"] from "default,sku110k"."""
    names = [options.dataset_name(name.strip()) for name in text.split(",")]
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected each dataset once")
    return names


def check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    named = (args.ground_truth, args.detections, args.val_ground_truth, args.val_detections)
    if args.dataset and (any(named) or args.compare or args.format or args.ground_truth_format):
        parser.error("--dataset excludes options that name files and formats")
    if args.compare and (args.detections or args.counts_output or args.graph_dir):
        parser.error("--compare excludes --detections, --counts-output and --graph-dir")
    if args.threshold is not None and args.val_detections:
        parser.error(
            "--threshold and --val-detections both give the threshold; expected one of them"
        )
    if args.val_detections and len(args.val_detections) != (2 if args.compare else 1):
        expected = "two files with --compare" if args.compare else "one file"
        parser.error(f"--val-detections: expected {expected}, found {len(args.val_detections)}")
    if args.output and args.counts_output and args.output.resolve() == args.counts_output.resolve():
        parser.error(f"--output and --counts-output are both {args.output}; expected two files")


def fill_in_defaults(args: argparse.Namespace) -> None:
    """Sets the options that were not given.

    args.latest: whether this is the workspace's latest evaluation, which is written to its root.
    """
    if not args.ground_truth_format:
        # --format holds for a --ground-truth that is named, and not for the workspace's own file.
        args.ground_truth_format = "csv"
        if args.ground_truth and args.format in GROUND_TRUTH_FORMATS:
            args.ground_truth_format = args.format
    args.format = args.format or "coco"
    args.ground_truth = args.ground_truth or paths.labels("test")
    args.val_ground_truth = args.val_ground_truth or paths.labels("val")
    args.latest = False
    if args.detections or args.compare:
        return
    if args.dataset:
        args.latest = not args.output and not args.counts_output
        return
    args.detections = paths.RESULTS / "test_detections.json"
    # One of the two files without the other would leave two that disagree.
    args.latest = not args.output and not args.counts_output
    if args.threshold is None and not args.val_detections:
        args.val_detections = [paths.RESULTS / "val_detections.json"]


def main(argv: Optional[List[str]] = None) -> None:
    args = parse(argv)
    for name in args.dataset or ():
        workspace_names.require_dataset(name)
    check_threshold_source(args)
    from shelfdet.core import boxes
    from shelfdet.evaluation import detection_info, score, scored_graph

    inputs = score.Inputs(
        ground_truth=args.ground_truth,
        detections=tuple(args.compare or [args.detections]),
        val_ground_truth=args.val_ground_truth,
        val_detections=tuple(args.val_detections or ()),
        format=args.format,
        ground_truth_format=args.ground_truth_format,
        threshold=args.threshold,
        one_class=args.one_class,
        clip=args.clip,
        allow_seen=args.allow_seen,
        graph_dir=args.graph_dir,
    )
    by_dataset = {name: inputs_of(name, inputs) for name in args.dataset or ()}
    if by_dataset:
        args.detections = next(iter(by_dataset.values())).detections[0]
    if args.compare:
        content = score.compare(inputs, args.resamples, args.seed)
        print_comparison(content)
        contents = [(args.output, content)]
    else:
        info = detection_info.read(args.detections, args.format, args.graph_dir)
        beside_graph = scored_graph.metrics_beside_graph(info) if args.latest else None
        if args.graph_dir or beside_graph:
            scored_graph.check_graph(args.graph_dir or beside_graph.parent, args.detections, info)
        print_graph(args, scored_graph.graph_folder(info))
        print_datasets_not_scored(args, scored_graph.graph_folder(info))
        if by_dataset:
            evaluation = score.evaluate_datasets(by_dataset, args.resamples, args.seed)
            print_figures(evaluation.figures, ", ".join(by_dataset), boxes.DUPLICATE_IOU)
            print_datasets(evaluation.figures["by_dataset"])
        else:
            evaluation = score.evaluate(inputs, args.resamples, args.seed)
            print_figures(evaluation.figures, args.detections.name, boxes.DUPLICATE_IOU)
            print_left_out(args, evaluation.figures["images"])
        print_classes(evaluation.figures)
        print_far_off(evaluation.far_off, evaluation.figures["images"])
        print_by_confidence(evaluation.by_confidence)
        for line in evaluation.advice:
            print(f"advice: {line}")
        contents = outputs(args, evaluation, beside_graph)

    contents = [(path, content) for path, content in contents if path]
    score.write_together(contents)
    for path, _ in contents:
        print(f"wrote {paths.shown(path)}")
    if args.latest:
        print_next(info, next(iter(by_dataset), None), len(by_dataset))


def print_next(info: Any, dataset: Optional[str], datasets: int) -> None:
    """Prints the command of the report.

    Args:
      info: of the detections, as detection_info.read returns it.
      dataset: the first that was scored; None of the one without a name.
      datasets: their number.
    """
    from shelfdet.evaluation import scored_graph

    of_graph = next_step.of_graph(scored_graph.graph_folder(info))
    report = next_step.command("report", **of_graph, NAME=dataset)
    if datasets > 1:
        settings = next_step.detection_settings(info)
        again = next_step.command("eval", **of_graph, NAME=dataset, **settings)
        print(
            f"a report is of one dataset. For {dataset}: `{again}`, whose figures replace these, "
            f"then `{report}`"
        )
        return
    page = paths.dataset_results(dataset or paths.DEFAULT_DATASET) / paths.REPORT.name
    if page.is_file():
        print(f"{paths.shown(page)} is of an earlier evaluation; `{report}` updates it")
    next_step.show(report)


def inputs_of(dataset: str, inputs: "score.Inputs") -> "score.Inputs":
    """``inputs`` with the files of a dataset of the workspace."""
    results = paths.dataset_results(dataset)
    chosen = inputs.threshold is None
    return inputs._replace(
        ground_truth=paths.labels("test", dataset),
        detections=(results / "test_detections.json",),
        val_ground_truth=paths.labels("val", dataset),
        val_detections=(results / "val_detections.json",) if chosen else (),
    )


def check_threshold_source(args: argparse.Namespace) -> None:
    """Refuses, before anything is read, what cannot be written without a threshold."""
    if args.compare or args.dataset or args.threshold is not None:
        return
    if args.val_detections and not args.val_detections[0].exists():
        raise UserError(
            f"{args.val_detections[0]}: no such file; expected detections in the validation "
            "images, which choose the threshold. Run step 08 with --labels "
            f"{paths.shown(args.val_ground_truth)}, or give --threshold."
        )
    if args.counts_output and not args.val_detections:
        raise UserError(
            f"--counts-output {args.counts_output}: counting needs a threshold, and there is none. "
            "Give --val-detections, or --threshold."
        )


def outputs(
    args: argparse.Namespace, evaluation: Any, beside_graph: Optional[pathlib.Path]
) -> List[Tuple[Optional[pathlib.Path], Any]]:
    """What to write, (path, content) each; a path of None writes nothing."""
    if not args.latest:
        return [(args.output, evaluation.figures), (args.counts_output, evaluation.counts)]
    return [
        (paths.METRICS, evaluation.figures),
        (paths.IMAGE_TO_PRODUCTS, evaluation.counts),
        (beside_graph, evaluation.figures),
    ]


def print_graph(args: argparse.Namespace, folder: Optional[pathlib.Path]) -> None:
    if folder is None:
        return
    print(f"graph: {folder.name}")
    default = paths.default_graph()
    if args.latest and not args.graph_dir and folder.resolve() != default.resolve():
        print(
            f"  {args.detections.name} was made with it; the default graph is {default.name}, "
            "which `make eval` scores"
        )


def print_datasets_not_scored(args: argparse.Namespace, folder: Optional[pathlib.Path]) -> None:
    """Names the datasets without which the threshold is that of a part of the validation images.

    Only those that are in this workspace: the graph may be trained elsewhere, or with another name.
    """
    from shelfdet.evaluation import scored_graph

    scored = args.dataset or [paths.DEFAULT_DATASET]
    others = scored_graph.datasets_not_scored(folder, scored) if args.latest and folder else []
    others = [name for name in others if paths.labels("test", name).is_file()]
    if others:
        print(
            f"  it was trained on {', '.join(others)}, too; `make eval NAME="
            f"{','.join(scored + others)}` scores all, at the best threshold for all"
        )


def print_figures(figures: Dict[str, Any], name: str, duplicate_iou: float) -> None:
    print(
        f"{name}: {counted(figures['images'], 'image')}, {counted(figures['boxes'], 'product')}, "
        f"{counted(figures['detections'], 'detection')} of any score"
    )
    if figures["duplicate_labels"]:
        print(
            f"duplicate labels: {figures['duplicate_labels']} (boxes that overlap another by an "
            f"IoU over {duplicate_iou:g}); they count as false negatives"
        )
    print(f"\n{'':28}{'value':>9}   95 % interval")
    for key, text in FIGURE_NAMES.items():
        interval = as_interval(figures["intervals_95"].get(key))
        print(f"{text:28}{as_number(figures[key]):>9}   {interval}".rstrip())
    if figures["threshold"] is None:
        print(f"\nthreshold {figures['threshold_from']}. Give --val-detections, or --threshold.")
        return
    print(
        f"\nat the score threshold {figures['threshold']:.4f} ({figures['threshold_from']}):\n"
        f"{counted(figures['TP'], 'true positive')} (TP), "
        f"{counted(figures['FP'], 'false positive')} (FP), "
        f"{counted(figures['FN'], 'false negative')} (FN)"
    )
    kinds = [
        f"{error['number']} {kind.replace('_', ' ')} ({as_number(error['mAP_cost'])})"
        for kind, error in figures["errors"].items()
    ]
    print(f"errors by kind (cost in mAP): {', '.join(kinds)}")


def print_far_off(images: Sequence["score.ImageCount"], scored: int) -> None:
    """The images that have half of the count error."""
    if images:
        parts = [f"{image.filename} ({image.error:+d} of {image.products})" for image in images]
        print(
            f"half of the count error is in {len(images)} of {counted(scored, 'image')}: "
            f"{listed(parts)}"
        )


def print_by_confidence(counts: Optional["score.CountsByConfidence"]) -> None:
    """The count MAE of images that make predict would call unreliable, and of the others."""
    if counts is not None:
        print(
            f"count MAE of {counted(counts.certain_images, 'image')} with a confidence of "
            f"{counts.low_confidence:.2f} or more, as most validation images have: "
            f"{counts.certain_mae:.1f}; of {counted(counts.uncertain_images, 'other image')}, "
            f"which make predict calls unreliable: {counts.uncertain_mae:.1f}"
        )


def print_left_out(args: argparse.Namespace, scored: int) -> None:
    """How many images of the tables of step 12 are not scored, because they have no labels."""
    if args.format != "parquet":
        return
    from shelfdet.data.formats import spark_tables

    unlabelled = spark_tables.count_images(args.detections) - scored
    if unlabelled:
        print(
            f"left out: {counted(unlabelled, 'image')} of {args.detections} without labels in "
            f"{args.ground_truth.name}"
        )


def print_classes(figures: Dict[str, Any]) -> None:
    """The figures of each class, the lowest AP50 first, and the classes that are confused."""
    from shelfdet.evaluation import confusion

    classes = figures.get("by_class")
    if not classes:
        return
    columns = ("AP50", "AP75", "AP", "precision", "recall")
    with_truth = [name for name in classes if classes[name]["boxes"]]
    shown = sorted(with_truth, key=lambda name: classes[name]["AP50"])[:SHOWN_CLASSES]
    width = max(map(len, shown)) + 2
    print(f"\n{'class':{width}}{'products':>9}" + "".join(f"{name:>11}" for name in columns))
    for name in shown:
        values = "".join(f"{as_number(classes[name][column]):>11}" for column in columns)
        print(f"{name:{width}}{classes[name]['boxes']:>9}{values}")
    if len(shown) < len(with_truth):
        print(f"and {len(with_truth) - len(shown)} classes more, of a higher AP50")
    if "confusion_matrix" not in figures:
        return
    pairs = confusion.most_confused(confusion.from_figures(figures["confusion_matrix"]))
    if pairs:
        named = [f"{pair.truth} as {pair.detected} ({pair.number})" for pair in pairs]
        total = sum(pair.number for pair in pairs)
        print(f"products detected as another class: {total}: {listed(named)}")


def print_datasets(figures: Dict[str, Dict[str, Any]]) -> None:
    """The figures of each dataset, at the threshold of all."""
    columns = ("mAP", "AP75", "precision", "recall", "mean_absolute_count_error")
    titles = ("AP50", "AP75", "precision", "recall", "count MAE")
    width = max(map(len, figures)) + 2
    print(f"\n{'dataset':{width}}{'images':>8}" + "".join(f"{title:>11}" for title in titles))
    for name, of_dataset in figures.items():
        values = "".join(f"{as_number(of_dataset[column]):>11}" for column in columns)
        print(f"{name:{width}}{of_dataset['images']:>8}{values}")


def print_comparison(content: Dict[str, Any]) -> None:
    print(
        f"{counted(content['images'], 'image')}; A {content['A']}, B {content['B']}; B - A with "
        f"the 95 % interval of a paired bootstrap ({content['bootstrap']['resamples']} resamples)\n"
    )
    print(f"{'':28}{'A':>9}{'B':>9}{'B - A':>10}")
    for key, text in FIGURE_NAMES.items():
        figure = content["figures"][key]
        difference = as_number(figure["difference"])
        interval = as_interval(figure["interval_95"])
        print(
            f"{text:28}{as_number(figure['A']):>9}{as_number(figure['B']):>9}{difference:>10}"
            f"   {interval}".rstrip()
        )


def as_number(value: Optional[float]) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def as_interval(interval: Optional[Sequence[float]]) -> str:
    if interval is None or math.isnan(interval[0]):
        return ""
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


if __name__ == "__main__":
    command_line.run(main)
