#!/usr/bin/env python
"""Step 08: a frozen graph detects the products in images.

Reads   a frozen_inference_graph.pb and, beside it, the label map of its training (step 07);
        the images of a label file (step 02), searched for in
        workspace/training_demo/images/ShelfImages/{train,test}, or all images of a folder.
Writes  results/{val,test}_detections.json, or results/predictions.json for a folder without labels:
        COCO's layout, boxes in the pixels of the image on disk, detections of every score;
        with --draw a folder of images with their boxes, and counts.csv in it;
        with --prelabel a folder of links to the images and annotations to correct.

    python workspace/training_demo/evaluation/08_detect.py \\
        --labels workspace/training_demo/annotations/test_labels.csv
    python workspace/training_demo/evaluation/08_detect.py --images my/photographs \\
        --draw my/drawings

A run that was killed leaves what it has done in OUTPUT.unfinished; the same command resumes it.

Images are shrunk by the same function as in step 04. With --exif apply images are rotated by their
EXIF orientation, and boxes and sizes are those of the rotated image.
"""

import argparse
import pathlib
import shlex
import sys
import time
from typing import Any, Dict, Optional, Sequence, TextIO

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, listed
from shelfdet.data import options, prelabels
from shelfdet.inference import AUTO_TILES, RUNTIMES, TENSORFLOW
from shelfdet.inference import options as inference_options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    add_inputs_and_outputs(parser)
    add_detection_options(parser)
    add_drawing_options(parser)
    add_prelabel_options(parser)
    args = parser.parse_args(argv)
    check_options(parser, args)
    args.graph_is_default = args.graph is None
    args.graph = inference_options.graph_file(args.graph or paths.default_graph())
    args.output = args.output or default_output(args.labels)
    args.label_map = args.label_map or inference_options.label_map_of(args.graph)
    args.other_graph = with_graph_of_more_products(args, argv)
    return args


def add_inputs_and_outputs(parser: argparse.ArgumentParser) -> None:
    inference_options.add_graph(parser)
    parser.add_argument(
        "--labels", **command_line.FILE, help="detect in the images of this label file"
    )
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        help="with --labels: where its images are, in the folder or its train/ and test/ "
        f"(default: {paths.SHELF_IMAGES}; of a label file of another dataset, the images of that "
        "dataset); without: detect in all images of this folder",
    )
    parser.add_argument(
        "--output",
        **command_line.FILE,
        help=f"(default: in {paths.RESULTS}, named after the label file and its dataset)",
    )
    options.add_label_map(parser, f"{paths.LABEL_MAP_FILE} beside the graph")


def add_detection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=TENSORFLOW,
        help="what runs the network: TensorFlow the frozen graph, the others what step 11 made of "
        "it, OpenVINO in int8 (default: %(default)s)",
    )
    inference_options.add_detection_options(parser, default_tiles=1)
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="skip images that cannot be read, and list them at the end",
    )


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--draw",
        **command_line.FOLDER,
        help="draw the boxes, and count the products in counts.csv",
    )
    inference_options.add_threshold(
        parser, "draw, count and write as pre-labels the boxes from this score on"
    )


def add_prelabel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prelabel",
        **command_line.FOLDER,
        help="write the boxes as annotations that a person corrects in a labelling tool, beside "
        "links to the images; files that were edited since are kept",
    )
    parser.add_argument("--format", choices=prelabels.FORMATS, help="of the pre-labels")


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not args.labels and not args.images:
        parser.error(f"name --labels FILE, {both('--images FOLDER')}, or both")
    inference_options.check_min_score(parser, args)
    if args.threshold is not None and not args.draw and not args.prelabel:
        parser.error(
            f"{both('--threshold')} is for {both('--draw')} and {both('--prelabel')}; without them "
            "every score is kept"
        )
    if args.prelabel and not args.format:
        parser.error(
            f"name the format of the pre-labels with {both('--format')}: "
            f"{', '.join(prelabels.FORMATS)}"
        )
    if args.format and not args.prelabel:
        parser.error(
            f"{both('--format')} is for {both('--prelabel')}; name a folder for pre-labels"
        )
    if args.prelabel and args.labels:
        parser.error(f"{both('--prelabel')} is for images without labels; leave out --labels")
    if args.prelabel and args.images.resolve() in args.prelabel.resolve().parents:
        parser.error(
            f"{both(f'--prelabel {args.prelabel}')} is in {args.images}; expected a folder "
            "elsewhere, because its links would be read as images, too"
        )


def default_output(label_file: Optional[pathlib.Path]) -> pathlib.Path:
    if label_file is None:
        return paths.RESULTS / "predictions.json"
    folder = paths.dataset_results(dataset_of(label_file))
    return folder / (label_file.stem.replace("_labels", "") + "_detections.json")


def default_images(label_file: pathlib.Path) -> pathlib.Path:
    dataset = dataset_of(label_file)
    return paths.SHELF_IMAGES if dataset == paths.DEFAULT_DATASET else paths.dataset_images(dataset)


def dataset_of(label_file: pathlib.Path) -> str:
    """The dataset of a label file; that without a name for one that is not in the workspace."""
    return paths.dataset_of(label_file.parent) or paths.DEFAULT_DATASET


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.core import parallel
    from shelfdet.inference import (
        drawings,
        graph_files,
        graph_outputs,
        input_images,
        predict,
        processed_images,
        runtimes,
    )

    if args.labels:
        inputs = input_images.labelled_images(
            args.labels, args.images or default_images(args.labels)
        )
    else:
        inputs, skipped = input_images.find(args.images, without=args.draw)
        print_report(input_images.skipped_report(args.images, skipped))
        inputs, drawn = drawings.without_drawings(args.images, inputs)
        print_report(drawings.left_out_report(args.images, drawn))
    class_names = predict.read_class_names(args.label_map)
    planned = None
    if args.prelabel:
        planned = plan_prelabels(args, inputs, class_names)
        remaining = set(planned.images.values())
        inputs = [image for image in inputs if image.path in remaining]
    predict.check_targets(args.output, args.draw, inputs)
    graph_outputs.check_file(args.graph)
    print_graph(args)
    # TensorFlow takes seconds to load: after the checks that need no TensorFlow.
    network = runtimes.load(args.runtime, args.graph, callers=parallel.workers())
    if args.labels and args.tiles == 1 and args.runtime == TENSORFLOW:
        warn_of_tiles(args.labels)
    settings = predict.Settings(
        max_side=graph_files.choose_max_side(args.max_side, args.graph),
        exif=args.exif,
        pad_strips=args.pad_strips,
        tiles=args.tiles,
        min_score=args.min_score,
        skip_bad=args.skip_bad,
        draw_folder=args.draw,
    )
    if args.tiles != 1:
        nms_iou = graph_files.choose_nms_iou(args.graph)
        print(f"tiles: merged with NMS IoU {nms_iou.value:g} ({nms_iou.source})")
        settings = settings._replace(
            nms_iou=nms_iou.value, anchor_wh=graph_files.anchor_wh(args.graph)
        )
    info = predict.describe(args.graph, args.labels, settings, network)
    if args.draw or args.prelabel:
        metrics_files = inference_options.metrics_files(args.metrics, args.graph)
        sha256 = info["graph_sha256"]
        threshold = graph_files.choose_threshold(args.threshold, metrics_files, sha256, args.tiles)
        print_threshold(threshold)
        settings = settings._replace(
            threshold=threshold.value, validated=graph_files.validated(metrics_files, sha256)
        )

    unfinished = args.output.with_name(args.output.name + processed_images.UNFINISHED)
    run = predict.run_key(info, settings, class_names)
    is_current = predict.current(inputs, settings)
    with processed_images.resumable(unfinished, run, is_current) as processed:
        if processed.differs:
            print(
                f"an unfinished run with another {listed(processed.differs)} is not resumed: its "
                "detections are deleted"
            )
        detect_and_write(args, inputs, network, class_names, settings, info, processed)
        if planned:
            write_prelabels(planned, processed, settings.threshold)
    if args.labels:
        dataset = dataset_of(args.labels)
        next_step.show(next_step.after(argv, "eval", ["--labels"], NAME=dataset))


def plan_prelabels(args: argparse.Namespace, inputs: Sequence[Any], class_names: Any) -> Any:
    """The prelabels.Plan of --prelabel; prints which images are skipped."""
    labels = [class_names.by_id[class_id] for class_id in sorted(class_names.by_id)]
    planned = prelabels.plan(args.prelabel, args.format, labels, [image.path for image in inputs])
    print_report(prelabels.kept_report(planned))
    return planned


def write_prelabels(planned: Any, processed: Any, threshold: float) -> None:
    """Writes the pre-labels of all images that were processed, and prints what to do with them."""
    found = (result.detections for result in processed if result.detections is not None)
    written = prelabels.write(planned, found, threshold)
    folder = paths.shown(planned.folder)
    print(
        f"{folder}: {counted(written.boxes, 'box')} as {planned.format} in "
        f"{counted(written.images, 'image')}, for a person to correct in a labelling tool; then: "
        f"make data FROM={shlex.quote(folder)}"
    )


def detect_and_write(
    args: argparse.Namespace,
    inputs: Sequence[Any],
    network: Any,
    class_names: Any,
    settings: Any,
    info: Dict[str, Any],
    processed: Any,
) -> None:
    """Detects in the images that are not yet in ``processed``, and writes and prints everything."""
    from shelfdet.data import detections
    from shelfdet.inference import drawings, graph_files, predict, summaries

    remaining = predict.remaining(inputs, processed)
    if len(remaining) < len(inputs):
        print(f"resuming: {len(inputs) - len(remaining)} of {len(inputs)} images are done")
    if args.draw:
        drawings.remove_counts(args.draw)
    began = time.time()
    for result in predict.detect_images(remaining, network.detect, class_names, settings):
        processed.add(result)
    seconds = max(time.time() - began, 1e-9)

    images = [summaries.summarise(result, settings.threshold) for result in processed]
    summaries.check_any(images, args.labels or args.images)
    info.update(summaries.outcomes(images))
    found = (result.detections for result in processed if result.detections is not None)
    label_map = {name: class_id for class_id, name in class_names.by_id.items()}
    detections.write_detections(found, args.output, info, label_map)
    readable = [image for image in images if image.size_wh is not None]
    print(
        f"{paths.shown(args.output)}: {counted(sum(image.boxes for image in images), 'box')} of "
        f"{score_range(args.min_score)} in {counted(len(readable), 'image')}, "
        f"{len(remaining) / seconds:.2f} images/s"
    )
    if args.draw:
        rows = [
            drawings.CountedImage(
                image.filename,
                image.products if image.size_wh else None,
                image.by_class,
                summaries.note(image, settings.validated),
            )
            for image in images
        ]
        counts = drawings.write_counts(rows, args.draw, class_names.shown)
        print_report(drawings.counts_report(counts))
        if args.threshold is None:
            metrics_files = inference_options.metrics_files(args.metrics, args.graph)
            errors = graph_files.count_errors(metrics_files, info["graph_sha256"])
            print_report(summaries.count_error_report(errors, args.tiles))
    if args.draw or args.prelabel:
        print_report(
            summaries.confidence_report(
                images,
                settings.validated,
                padded=args.pad_strips,
                tiled=args.tiles != 1,
                other_graph=args.other_graph,
            )
        )
    if args.tiles == AUTO_TILES:
        print(summaries.tiles_report(images))
    print_report(summaries.exif_report(images, args.exif))
    if not args.pad_strips:
        print_report(summaries.strip_report(images))
    print_report(summaries.skipped_report(images), file=sys.stderr)


def score_range(min_score: float) -> str:
    return f"scores from {min_score:g}" if min_score else "any score"


def print_threshold(threshold: Any) -> None:
    """Prints a graph_files.Choice: counts depend on it more than on anything else."""
    if threshold.is_default:
        print(f"warning: {threshold.source}.", file=sys.stderr)
    else:
        print(f"threshold: score {threshold.value:.3f} ({threshold.source})")


def warn_of_tiles(label_file: pathlib.Path) -> None:
    """Says that a network which was trained on the records beside a label file needs tiles."""
    from shelfdet.data import records

    record = paths.record_in(label_file.parent, "val")
    if records.holds_tiles(record):
        print(
            f"warning: {paths.shown(record)} holds tiles, and the images are not divided: a "
            "network that was trained on such tiles may miss most products then. Expected "
            f"{both('--tiles auto')} for it.",
            file=sys.stderr,
        )


def print_graph(args: argparse.Namespace) -> None:
    print(f"graph: {args.graph.resolve().parent.name} ({paths.shown(args.graph)})")
    if not args.graph_is_default:
        return
    if args.graph.parent == paths.SHIPPED_GRAPH:
        own = paths.GRAPHS / paths.DEFAULT_CONFIG.stem
        print(
            f"  the included one: {paths.shown(own)}/ does not exist until `make export` writes it"
        )
    else:
        print(f"  your own; the included one: `make predict GRAPH={paths.SHIPPED_GRAPH.name}`")


def with_graph_of_more_products(
    args: argparse.Namespace, argv: Optional[Sequence[str]]
) -> Optional[str]:
    """The command that takes the included graph of the most kinds of products; its name if none.

    Returns:
      None where the graph is that one.
    """
    other = paths.SHIPPED_PRODUCTS_GRAPH
    if args.graph.resolve().parent == other.resolve():
        return None
    target = "prelabel" if args.prelabel else "predict"
    # It has another threshold, and was trained in tiles that suit each image.
    dropped = ["GRAPH", "THRESHOLD", "TILES"]
    command = next_step.after(argv, target, dropped, GRAPH=other.name)
    return f"`{command}`" if command else other.name


def print_report(report: str, file: Optional[TextIO] = None) -> None:
    if report:
        print(report, file=file)


if __name__ == "__main__":
    command_line.run(main)
