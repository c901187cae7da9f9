#!/usr/bin/env python
"""Step 10: one HTML page with the figures, their curves, and the images with their errors.

Reads   results/test_detections.json (step 08), test_labels.csv (step 02), the images, metrics.json
        (step 09), and the pipeline.config beside the graph that made the detections.
Writes  results/report.html: opens from disk, loads nothing.

    python workspace/training_demo/evaluation/10_report.py
    python workspace/training_demo/evaluation/10_report.py --max-images 40 --output small.html

The page holds images of the dataset: mind their licence before you pass it on.
"""

import argparse
import pathlib
import sys
from typing import List, Optional

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet.core import command_line, files, next_step, paths, workspace_names
from shelfdet.core.text import counted
from shelfdet.data import options


def parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_dataset(parser)
    parser.add_argument(
        "--detections",
        **command_line.FILE,
        help=f"from step 08 (default: test_detections.json in {paths.RESULTS}, or in the folder of "
        "--dataset in it)",
    )
    parser.add_argument(
        "--labels",
        **command_line.FILE,
        help=f"of the images (default: {paths.labels('test')}, or those of --dataset)",
    )
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        help=f"images, or a folder with train/ and test/ (default: {paths.SHELF_IMAGES}, or those "
        "of --dataset)",
    )
    parser.add_argument(
        "--metrics",
        **command_line.FILE,
        help="from step 09, of the same detections "
        f"(default: {paths.METRICS}, or {paths.METRICS.name} beside the graph)",
    )
    parser.add_argument(
        "--config",
        **command_line.FILE,
        help=f"for the anchor coverage (default: the {paths.CONFIG_FILE} beside the graph)",
    )
    parser.add_argument(
        "--output",
        **command_line.FILE,
        help=f"(default: {paths.REPORT}, or {paths.REPORT.name} in the folder of --dataset)",
    )
    parser.add_argument(
        "--max-images",
        type=command_line.not_negative,
        metavar="N",
        default=120,
        help="show at most this many, those with the most errors (default: %(default)s)",
    )
    parser.add_argument(
        "--max-mb",
        type=command_line.above_zero,
        metavar="MB",
        default=20,
        help="size of the file (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    results = paths.dataset_results(args.dataset)
    args.detections = args.detections or results / "test_detections.json"
    args.labels = args.labels or paths.labels("test", args.dataset)
    args.images = args.images or paths.dataset_images(args.dataset) / paths.SHELF_IMAGES_NAME
    args.output = args.output or results / paths.REPORT.name
    return args


def main(argv: Optional[List[str]] = None) -> None:
    args = parse(argv)
    workspace_names.require_dataset(args.dataset)
    from shelfdet.evaluation import report

    inputs = report.Inputs(args.detections, args.labels, args.images, args.metrics, args.config)
    built = report.build(inputs, args.max_images, args.max_mb * 1e6)
    files.write_text(args.output, built.page)
    if built.graph:
        print(f"graph: {built.graph}")
    if not built.has_coverage:
        print(
            f"the report has no anchor coverage: there is no {paths.CONFIG_FILE} beside the graph; "
            "--config names one"
        )
    size = args.output.stat().st_size / 1e6
    print(
        f"{paths.shown(args.output)}: {built.shown} of {counted(built.images, 'image')}, "
        f"{size:.1f} MB; open it in a browser"
    )
    graph = paths.GRAPHS / (built.graph or "")
    if (graph / paths.GRAPH_FILE).is_file():
        of_graph = next_step.of_graph(graph)
        next_step.show(next_step.command("predict", IMAGES="folder", **of_graph))


if __name__ == "__main__":
    command_line.run(main)
