#!/usr/bin/env python
"""Benchmark of steps 02, 04, 08 and 09 on many small images: how CPU time and memory grow.

Reads   nothing: it makes different JPEGs of 64 x 64 px, four of five in train/, with 50 boxes each,
        and a frozen graph that computes nothing: it gives the same 300 boxes for every image, 50 of
        them with scores over 0.5, 40 of these on ground-truth boxes
Writes  nothing that stays; prints a table. 100,000 images take 6 GB of disk while it runs.

    python scripts/experiments/many_images.py --counts 1000 10000 100000

The images are small and the graph computes nothing, so that what is measured is the work on files
and boxes, not the decoding of photographs or the network, which ``benchmarks.py`` measures. Step 08
runs with every score kept, and with those from 0.05 on, which step 09 then scores. CPU seconds are
those of all processes of a step, and memory is the largest sum of theirs.
"""

import argparse
import csv
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence

# scripts/ holds shelfdet and experiments
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from experiments import steps
from shelfdet.core import command_line, paths

if TYPE_CHECKING:  # --help loads nothing large
    import numpy as np

SIDE = 64  # of an image, in pixels
PATTERN_SIDE = 8  # squares of random colour in a row: no two images are near-duplicates
BOXES = 50  # ground-truth boxes, at the same places in every image
BOX_WH = (2, 3)
DETECTIONS = 300  # that the graph gives, as many as object_detection's configs allow at most
CERTAIN = 50  # of them, with scores from SCORE on; the others' are below MIN_SCORE
CORRECT = 40  # of the certain ones, on a ground-truth box
SCORE = 0.5
MIN_SCORE = 0.05
TEST_EVERY = 5  # the others are for training
COLUMNS = ("step", "images", "CPU s", "CPU ms an image", "peak memory, MiB")


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--counts",
        type=command_line.positive,
        nargs="+",
        default=[1000, 10000, 100000],
        metavar="N",
        help="numbers of images (default: 1000 10000 100000)",
    )
    args = parser.parse_args(argv)
    if min(args.counts) < 2 * TEST_EVERY:
        parser.error(f"--counts {min(args.counts)}: expected at least {2 * TEST_EVERY}")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from experiments import machine, measurement

    print(machine.described())
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for count in args.counts:
        with tempfile.TemporaryDirectory(prefix="many-images-") as name:
            folder = pathlib.Path(name)
            make_dataset(folder, count)
            make_graph(folder)
            for step, command in commands(folder).items():
                usage = measurement.measure(command)
                cells = [step, f"{count:,}", f"{usage.cpu_seconds:.0f}"]
                cells += [f"{1000 * usage.cpu_seconds / count:.1f}", f"{usage.peak_mib:.0f}"]
                print("| " + " | ".join(cells) + " |", flush=True)


def commands(folder: pathlib.Path) -> Dict[str, List[str]]:
    """The steps on the images in ``folder``, in their sequence; all that they write is there, too.

    Returns:
      the name of a row -> a script and its options.
    """
    labels = str(folder / "annotations.csv")
    found = str(folder / "detections.json")
    images = ["--images", str(folder)]
    label_map = ["--label-map", str(paths.LABEL_MAP)]
    split = [str(steps.SCRIPTS["split"]), "--out", str(folder)] + images
    records = [str(steps.SCRIPTS["records"]), "--annotations", str(folder)] + images + label_map
    detect = [str(steps.SCRIPTS["detect"]), "--labels", labels, "--output", found]
    detect += ["--graph", str(folder / paths.GRAPH_FILE)] + images + label_map
    score = [str(steps.SCRIPTS["score"]), "--detections", found, "--threshold", str(SCORE)]
    score += ["--ground-truth", labels, "--ground-truth-format", "csv", "--resamples", "0"]
    score += ["--output", str(folder / "metrics.json")]
    score += ["--counts-output", str(folder / "counts.json")]
    return {
        "02 label files": split,
        "04 records": records,
        "08 detections, every score": detect,
        f"08 detections, --min-score {MIN_SCORE:g}": detect + ["--min-score", str(MIN_SCORE)],
        f"09 scores, --threshold {SCORE:g} --resamples 0": score,
    }


def make_dataset(folder: pathlib.Path, count: int) -> None:
    """Makes train/, test/ and annotations.csv in ``folder``."""
    import numpy as np
    from PIL import Image

    from shelfdet.data.formats import labels_csv

    random = np.random.RandomState(0)
    boxes_xyxy = made_boxes()[:BOXES].tolist()
    for split in ("train", "test"):
        (folder / split).mkdir()
    with open(str(folder / "annotations.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(labels_csv.LABEL_COLUMNS)
        for number in range(count):
            name = f"{number:07}.jpg"
            split = "train" if (number + 1) % TEST_EVERY else "test"
            pattern = random.randint(0, 256, (PATTERN_SIDE, PATTERN_SIDE, 3)).astype(np.uint8)
            image = Image.fromarray(pattern).resize((SIDE, SIDE), Image.NEAREST)
            image.save(str(folder / split / name), quality=80)
            for box in boxes_xyxy:
                writer.writerow([name, SIDE, SIDE, "product"] + box)


def make_graph(folder: pathlib.Path) -> None:
    """Writes a frozen graph into ``folder`` that gives DETECTIONS boxes, whatever the image is."""
    import numpy as np

    from shelfdet.core import tensorflow1

    tf = tensorflow1.load()
    missed = np.arange(CORRECT, BOXES)  # ground-truth boxes without a detection
    boxes_xyxy = np.delete(made_boxes(), missed, axis=0)  # (DETECTIONS, 4)
    uncertain = DETECTIONS - CERTAIN
    scores = np.concatenate(
        [np.linspace(0.99, SCORE, CERTAIN), np.linspace(MIN_SCORE / 2, 0.001, uncertain)]
    )
    with tf.Graph().as_default() as graph:
        tf.compat.v1.placeholder(tf.uint8, (1, None, None, 3), name="image_tensor")
        boxes_yxyx = boxes_xyxy[None, :, [1, 0, 3, 2]] / SIDE  # (1, DETECTIONS, 4) in 0 to 1
        tf.constant(boxes_yxyx, tf.float32, name="detection_boxes")
        tf.constant(scores[None], tf.float32, name="detection_scores")
        tf.constant(np.ones((1, DETECTIONS)), tf.float32, name="detection_classes")
        tf.constant([DETECTIONS], tf.float32, name="num_detections")
    (folder / paths.GRAPH_FILE).write_bytes(graph.as_graph_def().SerializeToString())


def made_boxes() -> "np.ndarray":
    """Boxes of BOX_WH, none of which overlaps another: those of each image, and then others.

    Returns:
      int64 (DETECTIONS + BOXES - CORRECT, 4) of xmin, ymin, xmax, ymax in pixels.
    """
    import numpy as np

    columns, rows = SIDE // BOX_WH[0], SIDE // BOX_WH[1]
    number = DETECTIONS + BOXES - CORRECT
    cells = np.random.RandomState(0).choice(columns * rows, number, replace=False)
    left, top = cells % columns * BOX_WH[0], cells // columns * BOX_WH[1]
    return np.column_stack([left, top, left + BOX_WH[0], top + BOX_WH[1]])


if __name__ == "__main__":
    command_line.run(main)
