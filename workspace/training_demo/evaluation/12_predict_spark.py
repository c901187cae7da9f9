#!/usr/bin/env python
"""Step 12: a frozen graph detects the products in millions of images, on Apache Spark.

Reads   a frozen_inference_graph.pb and, beside it, the label map of its training (step 07);
        all images at a URI that Spark reads (file:, hdfs:, s3a:, gs:), with subfolders.
Writes  a folder of two Parquet tables, at such a URI: detections, one row a box, and images, one
        row an image, with the error of those that could not be read.

    python workspace/training_demo/evaluation/12_predict_spark.py \\
        --images my/photographs --output my/tables
    python workspace/training_demo/evaluation/12_predict_spark.py --master spark://host:7077 \\
        --images s3a://bucket/photographs --output s3a://bucket/tables --min-score 0.05

Boxes are those of step 08. The same command continues a run that was killed, and detects in images
that have come since. Without --master it uses the cores of this machine, or what spark-submit says.
It needs Java 17 and `make setup SPARK=1`; docs/scaling.md describes clusters.
"""

import argparse
import pathlib
import sys
import time
from typing import Any, Optional, Sequence, Tuple

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet import UserError
from shelfdet.core import command_line, files, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import options as data_options
from shelfdet.inference import AUTO_TILES, options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--images", required=True, metavar="URI", help="an image, a folder, or a pattern"
    )
    parser.add_argument("--output", required=True, metavar="URI", help="the folder of the tables")
    parser.add_argument(
        "--master",
        help="local[4], spark://host:7077, yarn or k8s://https://host:6443 (default: what "
        "spark-submit or PYSPARK_SUBMIT_ARGS says, else all cores of this machine)",
    )
    parser.add_argument(
        "--archive",
        metavar="URI",
        help="the environment for the workers, of pack_environment.py (default: they have the "
        "driver's, at the same path)",
    )
    options.add_graph(parser)
    data_options.add_label_map(parser, f"{paths.LABEL_MAP_FILE} beside the graph")
    options.add_detection_options(parser, default_tiles=AUTO_TILES)
    options.add_threshold(parser, "count the boxes of an image from this score on")
    args = parser.parse_args(argv)
    options.check_min_score(parser, args)
    args.graph = options.graph_file(args.graph or paths.default_graph())
    args.label_map = args.label_map or options.label_map_of(args.graph)
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.inference.spark import java

    java.check()
    # They import pyspark.
    from shelfdet.inference.spark import failures, job, session, task

    settings, class_names = prepare(args)
    check_graph(args.graph)
    print(f"graph: {args.graph.resolve().parent.name} ({paths.shown(args.graph)})", flush=True)
    with session.started(args.master, args.archive) as spark, failures.explained(args.images):
        graph = spark.sparkContext.broadcast(args.graph.read_bytes())
        graph_name = paths.shown(args.graph)
        sha256 = files.sha256(args.graph)
        work = task.Work(graph, graph_name, sha256, class_names, settings)
        with job.locked(spark, args.output):
            detect_and_write(args, spark, work)


def prepare(args: argparse.Namespace) -> Tuple[Any, Any]:
    """predict.Settings and predict.ClassNames."""
    from shelfdet.inference import graph_files, predict

    class_names = predict.read_class_names(args.label_map)
    if not args.graph.is_file():
        check_graph(args.graph)
    metrics_files = options.metrics_files(args.metrics, args.graph)
    graph_sha256 = files.sha256(args.graph)
    threshold = graph_files.choose_threshold(
        args.threshold, metrics_files, graph_sha256, args.tiles
    )
    if threshold.is_default:
        print(f"warning: {threshold.source}.", file=sys.stderr)
    else:
        print(f"threshold: score {threshold.value:.3f} ({threshold.source})")
    settings = predict.Settings(
        max_side=graph_files.choose_max_side(args.max_side, args.graph),
        exif=args.exif,
        pad_strips=args.pad_strips,
        tiles=args.tiles,
        min_score=args.min_score,
        nms_iou=graph_files.choose_nms_iou(args.graph).value,
        anchor_wh=graph_files.anchor_wh(args.graph),
        skip_bad=True,
        threshold=threshold.value,
        validated=graph_files.validated(metrics_files, graph_sha256),
    )
    return settings, class_names


def check_graph(graph: pathlib.Path) -> None:
    """Runs the graph once: its errors are clearer here than from a cluster."""
    import numpy as np

    from shelfdet.inference import detector  # loads TensorFlow

    detector.Detector(graph).detect(np.zeros((64, 64, 3), np.uint8))


def detect_and_write(args: argparse.Namespace, spark: Any, work: Any) -> None:
    """Detects in the images that are not in the tables yet, and prints what was found."""
    from shelfdet.inference.spark import job, output

    found = job.find(spark, args.images)
    tables = output.Output(spark, args.output, job.description(work))
    for line in job.left_out(found):
        print(line)
    planned = job.plan(found, tables)
    if planned.count < found.count:
        print(f"{found.count - planned.count} of {counted(found.count, 'image')} are done")
    if planned.changed:
        print(
            f"warning: {counted(planned.changed, 'image')} changed since (such as "
            f"{planned.example}); the tables keep the detections of the file before. For new "
            f"ones, name another folder with {both('--output')}.",
            file=sys.stderr,
        )
    began = time.time()
    totals = job.run(spark, planned, tables, work)
    seconds = max(time.time() - began, 1e-9)
    print(
        f"{args.output}: {counted(totals['products'], 'product')} of score "
        f"{work.settings.threshold:.3f} or more in "
        f"{counted(totals['images'] - totals['errors'], 'image')}, "
        f"{totals['images'] / seconds:.2f} images/s"
    )
    if totals["errors"]:
        print(
            f"{counted(totals['errors'], 'image')} could not be read: the column error of "
            "the table images says why",
            file=sys.stderr,
        )
    if totals["errors"] == totals["images"] > 0:
        raise UserError(f"{args.images}: no image can be read; expected one at least.")


if __name__ == "__main__":
    command_line.run(main)
