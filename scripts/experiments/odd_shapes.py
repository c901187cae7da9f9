#!/usr/bin/env python
"""How a graph does on image shapes that it was not trained on: turned photographs, single rows.

Reads   annotations/val_labels.csv (step 02) and its images, and a graph (step 07) with the
        metrics.json beside it, whose score threshold is used.
Writes  results/odd_shapes/: turned/ and strips/ (the images), their label files, detections and
        figures; prints a table.

Every image is rotated by a quarter, and cut into strips: one row of products over the whole width,
with a fifth of the median box height above and below. A row is boxes whose centres are less than
half the median box height apart. The strips are scored twice, the second time with step 08's
--pad-strips. Images that the graph has seen in training are scored too, since the question is what
the shape does.

    python scripts/experiments/odd_shapes.py
"""

import argparse
import pathlib
import sys
from typing import Any, Dict, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from experiments import steps
from shelfdet import UserError
from shelfdet.core import command_line, files, paths
from shelfdet.core.text import counted

# (name of the files, how it is printed, images, further options of step 08)
CASES = (
    ("turned", "rotated by a quarter", "turned", []),
    ("strips", "strips", "strips", []),
    ("padded_strips", "strips, --pad-strips", "strips", ["--pad-strips"]),
)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--labels",
        **command_line.FILE,
        default=paths.labels("val"),
        help=f"the images to use (default: {paths.shown(paths.labels('val'))})",
    )
    parser.add_argument(
        "--images",
        **command_line.FOLDER,
        default=paths.SHELF_IMAGES,
        help="where they are, in the folder itself or its train/ and test/ (default: "
        f"{paths.shown(paths.SHELF_IMAGES)})",
    )
    parser.add_argument(
        "--graph",
        **command_line.FOLDER,
        default=paths.SHIPPED_GRAPH,
        help="of the graph (default: the included one)",
    )
    parser.add_argument(
        "--threshold",
        type=command_line.score,
        metavar="SCORE",
        help="for precision and recall (default: that of the metrics.json beside the graph)",
    )
    parser.add_argument(
        "--output",
        **command_line.FOLDER,
        default=paths.RESULTS / "odd_shapes",
        help=f"(default: {paths.shown(paths.RESULTS / 'odd_shapes')})",
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    command_line.interrupt_once()
    from experiments import odd_shape_images
    from shelfdet.data import labels, layout

    threshold = args.threshold
    if threshold is None:
        threshold = stored_threshold(args.graph)
    labelled = labels.read_labels(args.labels)
    image_paths = layout.locate(args.images, [image.filename for image in labelled], "val")
    turned, strips = odd_shape_images.write_all(
        labelled, image_paths, args.output / "turned", args.output / "strips"
    )
    labels.write_labels(turned, args.output / "turned_labels.csv")
    labels.write_labels(strips, args.output / "strips_labels.csv")
    counts = f"{counted(len(turned), 'image')} rotated, {counted(len(strips), 'strip')}"
    print(f"{counts}: {paths.shown(args.output)}\n")
    print("| images | AP at IoU 0.5 | precision | recall |")
    print("|---|---|---|---|")
    for name, description, source, options in CASES:
        figures = score(args.output, name, source, args.graph, threshold, options)
        shown = " | ".join(f"{figures[key]:.3f}" for key in ("mAP", "precision", "recall"))
        print(f"| {description} | {shown} |", flush=True)
    print(f"\nprecision and recall at score {threshold:.4f}")


def stored_threshold(graph: pathlib.Path) -> float:
    """The score threshold in the metrics.json beside the graph."""
    path = graph / paths.METRICS.name
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; expected the graph's figures, whose score threshold is used. "
            "Score the graph with `make eval`, or give --threshold."
        )
    return files.read_json(path)["threshold"]


def score(
    folder: pathlib.Path,
    name: str,
    source: str,
    graph: pathlib.Path,
    threshold: float,
    options: List[str],
) -> Dict[str, Any]:
    """Detects in the images of ``source`` and scores; returns the figures that step 09 writes."""
    log = folder / f"{name}.log"
    labels = folder / f"{source}_labels.csv"
    found = folder / f"{name}_detections.json"
    output = folder / f"{name}_metrics.json"
    detect = ["--graph", graph, "--labels", labels, "--images", folder / source, "--output", found]
    steps.run("detect", detect + options, log)
    truth = ["--ground-truth", labels, "--ground-truth-format", "csv", "--detections", found]
    score_options = truth + ["--threshold", threshold, "--allow-seen", "--output", output]
    steps.run("score", score_options, log)
    return files.read_json(output)


if __name__ == "__main__":
    command_line.run(main)
