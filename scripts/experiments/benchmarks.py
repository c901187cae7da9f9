#!/usr/bin/env python
"""Benchmark: how fast steps 04, 08 and 09 are, how much memory they take, and how fast the graphs alone are. `make bench` runs it.

Reads   the images of SHELF_DATA (copies with a shorter side of 640 px) and of SHELF_DATA_ORIGINAL (full size),
        folders in the dataset's layout, where these are set; else synthetic images of the same sizes;
        frozen graphs (step 07): those that ship, unless others are named.
Writes  nothing that stays; prints a table.

Each step runs as its own process, as a user runs it. Its start-up is the time it takes for one image; the rate is
that of all the further ones. The memory is that of the step's whole process tree: the resident memory of all its
processes is summed every 50 ms while it runs (from Linux's /proc; pages that processes share count once in each), and
the largest sum is shown. A graph alone is timed in this process, on images that were decoded and shrunk as step 08 does.

    python scripts/experiments/benchmarks.py
    python scripts/experiments/benchmarks.py --only score
    python scripts/experiments/benchmarks.py --only graph --graphs workspace/training_demo/trained-inference-graphs/mine
"""

import argparse
import collections
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, paths

RECORDS = paths.ROOT / "scripts" / "preprocessing" / "04_generate_tfrecords.py"
DETECT = paths.EVALUATION / "08_detect.py"
SCORE = paths.EVALUATION / "09_score.py"
PARTS = ("records", "detect", "graph", "score")
SOURCES = (("640 px", "SHELF_DATA", (853, 640)), ("full size", "SHELF_DATA_ORIGINAL", (3264, 2448)))
BOXES_A_IMAGE = 37  # the Grocery Dataset's mean
SCORED_BOXES = 50
SCORED_WH = (1000, 1000)
SAMPLE_SECONDS = 0.05
PROCESSES = pathlib.Path("/proc")
MAX_SIDE = 1024  # as steps 04 and 08 shrink images
GRAPH_IMAGES = 40
SYNTHETIC = 8  # different synthetic images of each size; more would only take longer to make

Run = collections.namedtuple("Run", "seconds peak_mb")
Row = collections.namedtuple("Row", "step source count seconds start_up rate peak_mb")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--graphs",
        type=pathlib.Path,
        nargs="+",
        default=[paths.SHIPPED_GRAPH, paths.SHIPPED_FAST_GRAPH],
        metavar="FOLDER",
        help="of frozen graphs (default: the two that ship)",
    )
    parser.add_argument(
        "--count", type=int, default=300, metavar="N", help="images a run (default: %(default)s)"
    )
    parser.add_argument(
        "--scored",
        type=command_line.positive,
        default=10000,
        metavar="N",
        help="images to score, with 50 boxes each (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help="of " + ", ".join(PARTS),
    )
    args = parser.parse_args(argv)
    if args.count < 2:
        parser.error(f"--count {args.count}: expected at least 2")
    return args


def main(argv=None):
    args = parse(argv)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = pathlib.Path(folder)
        for source, variable, size_wh in SOURCES:
            if set(args.only) - {"score"}:
                rows += bench_source(
                    args, folder / source.replace(" ", "-"), source, variable, size_wh
                )
        if "score" in args.only:
            rows.append(bench_score(args, folder / "score"))
    from shelfdet.core import machine

    print(machine.described())
    print_table(rows)


def bench_source(args, folder, source, variable, size_wh):
    """Steps 04 and 08 on images of one size: a list of Row; ``folder`` is there for what they read and write."""
    data = os.environ.get(variable)
    pictures = (
        real_images(pathlib.Path(data)) if data else synthetic_images(folder / "made", size_wh)
    )
    source += "" if data else ", synthetic"
    all_of_them, one = (
        lay_out(folder / name, pictures, count) for name, count in (("all", args.count), ("one", 1))
    )
    rows = []
    if "records" in args.only:
        rows.append(
            timed(
                "04 records",
                source,
                args.count,
                *(
                    [RECORDS, "--annotations", place, "--images", place, "--splits", "test"]
                    for place in (all_of_them, one)
                ),
            )
        )
    for graph in args.graphs if "detect" in args.only else ():
        rows.append(
            timed(
                f"08 detect, {graph.name}",
                source,
                args.count,
                *(
                    [
                        DETECT,
                        "--graph",
                        graph,
                        "--labels",
                        place / "test_labels.csv",
                        "--images",
                        place,
                        "--output",
                        place / "test_detections.json",
                    ]
                    for place in (all_of_them, one)
                ),
            )
        )
    return rows + (bench_graphs(args, source, pictures) if "graph" in args.only else [])


def bench_graphs(args, source, pictures):
    """The graphs alone: a list of Row."""
    from shelfdet.data import images
    from shelfdet.inference import detector

    pixels = [images.load(path, MAX_SIDE)[0] for path in pictures[:GRAPH_IMAGES]]
    rates = detector.images_per_second([graph / paths.GRAPH_FILE for graph in args.graphs], pixels)
    return [
        Row(f"the graph alone, {graph.name}", source, len(pixels), None, None, f"{rate:.1f}", None)
        for graph, rate in zip(args.graphs, rates)
    ]


def bench_score(args, folder):
    """Step 09 on made-up boxes: a Row."""
    for name, count in (("all", args.scored), ("one", 1)):
        make_scored(folder / name, count)
    commands = [
        [
            SCORE,
            "--ground-truth",
            place / "labels.csv",
            "--ground-truth-format",
            "csv",
            "--threshold",
            "0.5",
            "--detections",
            place / "found.json",
            "--output",
            place / "metrics.json",
        ]
        for place in (folder / "all", folder / "one")
    ]
    source = f"{SCORED_BOXES} boxes and {SCORED_BOXES} detections each"
    return timed("09 score", source, args.scored, *commands)


def make_scored(folder, count):
    """labels.csv and found.json of ``count`` images with SCORED_BOXES boxes each, most of them near a product."""
    import numpy as np

    from shelfdet.core import boxes
    from shelfdet.data import detections, labels

    random = np.random.RandomState(0)
    truth, found = [], []
    for number in range(count):
        corners = random.uniform(0, 900, (SCORED_BOXES, 2))
        boxes_xyxy = np.hstack([corners, corners + random.uniform(30, 90, (SCORED_BOXES, 2))])
        shifted = np.where(
            random.uniform(size=(SCORED_BOXES, 1)) < 0.9,
            random.normal(0, 4, (SCORED_BOXES, 4)),
            200,
        )
        name, classes = f"{number:06d}.jpg", ("product",) * SCORED_BOXES
        truth.append(labels.LabelledImage(name, SCORED_WH, boxes_xyxy, classes))
        found.append(
            detections.Detections(
                name,
                SCORED_WH,
                boxes.clip(boxes_xyxy + shifted, SCORED_WH),
                random.uniform(size=SCORED_BOXES),
                classes,
            )
        )
    labels.write_labels(truth, folder / "labels.csv")
    detections.write_detections(found, folder / "found.json")


def timed(step, source, count, command_all, command_one):
    """A Row from a run over ``count`` images and one over a single image."""
    start_up = measure(command_one)
    full = measure(command_all)
    further = full.seconds - start_up.seconds
    rate = f"{(count - 1) / further:.1f}" if further > 0 else "too few to tell"
    return Row(step, source, count, full.seconds, start_up.seconds, rate, full.peak_mb)


def real_images(folder):
    """The images of a folder in the dataset's layout, test first."""
    from shelfdet.data import images

    found = [
        path
        for split in ("test", "train")
        for path in images.list_images(folder / "ShelfImages" / split)
    ]
    if not found:
        raise UserError(f"{folder}: no images in ShelfImages/{{train,test}}. Check the variable.")
    return found


def synthetic_images(folder, size_wh):
    """Makes JPEGs that compress like photographs: soft shapes under a little noise."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for number in range(SYNTHETIC):
        coarse = Image.fromarray(random.randint(0, 256, (24, 32, 3)).astype(np.uint8)).resize(
            size_wh, Image.BICUBIC
        )
        noisy = np.asarray(coarse, dtype=np.int16) + random.randint(
            -12, 13, (size_wh[1], size_wh[0], 1)
        )
        Image.fromarray(np.uint8(np.clip(noisy, 0, 255))).save(
            str(folder / f"{number}.jpg"), quality=92
        )
    return sorted(folder.iterdir())


def lay_out(folder, pictures, count):
    """A folder with ``count`` links to the images, in turn, and a test_labels.csv of boxes in a grid."""
    import numpy as np

    from shelfdet.data import images, labels

    folder.mkdir(parents=True)
    labelled = []
    sizes = {}
    for number in range(count):
        path = pictures[number % len(pictures)].resolve()
        if path not in sizes:
            sizes[path] = images.inspect(path).size_wh
        link = folder / f"{number:05d}{path.suffix}"
        link.symlink_to(path)
        width, height = sizes[path]
        lefts = np.linspace(0, width * 0.97, BOXES_A_IMAGE)
        rows = [
            ("product", (left, height * 0.4, left + width * 0.02, height * 0.5)) for left in lefts
        ]
        labelled.append(labels.labelled(link.name, sizes[path], rows))
    labels.write_labels(labelled, folder / "test_labels.csv")
    return folder


def measure(arguments):
    """Runs a script to its end: a Run. Its output is shown only if it fails."""
    arguments = [sys.executable] + [str(argument) for argument in arguments]
    began, peak = time.time(), 0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        while process.returncode is None:
            peak = max(peak, resident_bytes(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
        seconds = time.time() - began
        if process.returncode:
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
            raise UserError(f"{' '.join(arguments)} failed:\n{said[-2000:]}")
    return Run(seconds, peak / 2.0**20)


def resident_bytes(pid):
    """Resident memory of a process and of all that descend from it, summed."""
    waiting, pages = [str(pid)], 0
    while waiting:
        folder = PROCESSES / waiting.pop()
        with contextlib.suppress(OSError):  # it may end at any moment
            pages += int((folder / "statm").read_text().split()[1])
            for task in (folder / "task").iterdir():
                waiting += (task / "children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE")


def print_table(rows):
    print(
        "\n| step | images | number | seconds | of these start-up | images/s | peak memory of all its "
        "processes together, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            "| {} | {} | {} | {} | {} | {} | {} |".format(
                *row[:3],
                *(
                    "-" if value is None else "{:.{}f}".format(value, digits)
                    for value, digits in ((row.seconds, 1), (row.start_up, 1))
                ),
                row.rate,
                "-" if row.peak_mb is None else round(row.peak_mb),
            )
        )


if __name__ == "__main__":
    command_line.run(main)
