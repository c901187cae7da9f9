#!/usr/bin/env python
"""What each choice of the recipe is worth: short trainings that differ from a base in one thing. `make compare` runs it.

Reads   the photographs that step 01 put in place, and training/ssd_inception_v2_scratch.config, which is the base.
Writes  training/comparison/ (git-ignored): the grouped split's labels and records, and for each choice its config, run, graph and
        detections; training/comparison.json: the figures, a row as soon as it is there; evaluation/figures/accuracy_speed.png.

Each choice is trained from nothing for the same number of steps at the same batch, on the grouped split's fold 0, its newest
checkpoint is exported (none is chosen), and that graph is scored on the VALIDATION planograms; test pictures are not looked at.
Every choice has the anchors that step 03 would advise for its input and feature maps. One training has one core, as many run
side by side as there are cores; what is in comparison.json already is not trained again, and a training that was
stopped goes on. How many pictures a second a graph finds is timed afterwards, one after the other, on all cores.

    python scripts/compare.py
    python scripts/compare.py --only base wide_640x480 --steps 300
    python scripts/compare.py --speed
    python scripts/compare.py --table
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))     # scripts/, where shelfdet lives
from shelfdet import UserError, command, files, parallel, paths, steps

FOLDER = paths.TRAINING / "comparison"
FIGURES = paths.TRAINING / "comparison.json"
PLOT = paths.EVALUATION / "figures" / "accuracy_speed.png"
LOG = FOLDER / "data.log"
FOLD = 0
WARM_UP = 0.1               # share of the steps; the base's own 100 steps are most of a short run
NEVER_SECONDS = 10 ** 6     # no evaluation on the way: it costs time and chooses nothing; but the first checkpoint brings one,
SAVE_SECONDS = 1200         # so most trainings end before it is due

RESIZER = "model.ssd.image_resizer.fixed_shape_resizer"
EXTRACTOR = "model.ssd.feature_extractor"
GENERATOR = "model.ssd.anchor_generator"
LOSS = "model.ssd.loss"
RATE = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
MATCHER = "model.ssd.matcher.argmax_matcher"
AUGMENTATION = "train_config.data_augmentation_options[{}]"
SATURATION, CROP = 3, 4     # places in the base's list of data_augmentation_options
ZOO_ANCHORS = ("ssd_anchor_generator { num_layers: 2 scales: 0.2 scales: 0.95 aspect_ratios: 1.0 "
               "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0.0 }")
WHOLE_PICTURES = ("ssd_random_crop { operations { min_object_covered: 0.5 overlap_thresh: 0.5 min_aspect_ratio: 0.6 "
                  "max_aspect_ratio: 1.7 min_area: 0.25 max_area: 1.0 clip_boxes: true random_coef: 1.0 } }")
MILD_CROPS = WHOLE_PICTURES.replace("min_area: 0.25", "min_area: 0.6").replace("random_coef: 1.0", "random_coef: 0.25")

# name -> (what differs from the base, the changes as pipeline.changed takes them)
CHOICES = collections.OrderedDict([
    ("base", ("512 x 512, depth 0.5, two feature maps", [])),
    ("base_again", ("the base with another seed: the noise", [])),
    ("wide_640x480", ("input 640 x 480", [(RESIZER, "width: 640 height: 480")])),
    ("near_l1", ("smooth L1 with delta 0.2, weight 5", [
        (LOSS, "localization_loss { weighted_smooth_l1 { delta: 0.2 } } localization_weight: 5")])),
    ("box_scales", ("box coder's height and width scale 10", [
        ("model.ssd.box_coder.faster_rcnn_box_coder", "height_scale: 10 width_scale: 10")])),
    ("batch_4", ("batch of 4, twice the steps", [("train_config", "batch_size: 4")])),
    ("batch_2", ("batch of 2, four times the steps", [("train_config", "batch_size: 2")])),
    ("nms_045", ("boxes that overlap by 0.45 are one (0.6)", [
        ("model.ssd.post_processing.batch_non_max_suppression", "iou_threshold: 0.45")])),
    ("relu", ("RELU for RELU_6", [(EXTRACTOR + ".conv_hyperparams", "activation: RELU")])),
    ("depth_100", ("depth multiplier 1.0", [(EXTRACTOR, "depth_multiplier: 1.0")])),
    ("crops_mild", ("crops of at least 0.6 of the picture", [(AUGMENTATION.format(CROP), MILD_CROPS)])),
    ("rate_2", ("learning rate 0.002", [(RATE, "learning_rate_base: 0.002")])),
    ("matched_04", ("an anchor learns a box from IoU 0.4 on", [
        (MATCHER, "matched_threshold: 0.4 unmatched_threshold: 0.4")])),
    ("square_640", ("input 640 x 640", [(RESIZER, "width: 640 height: 640")])),
    ("crops_none", ("no crops", [(AUGMENTATION.format(CROP), WHOLE_PICTURES)])),
    ("crops_zoo", ("the zoo's crops", [(AUGMENTATION.format(CROP), "ssd_random_crop { }")])),
    ("one_map", ("one feature map", [(EXTRACTOR, "num_layers: 1")])),
    ("square_400", ("input 400 x 400", [(RESIZER, "width: 400 height: 400")])),
    ("square_300", ("input 300 x 300", [(RESIZER, "width: 300 height: 300")])),
    ("depth_025", ("depth multiplier 0.25", [(EXTRACTOR, "depth_multiplier: 0.25")])),
    ("small", ("400 x 400, depth 0.25", [(RESIZER, "width: 400 height: 400"), (EXTRACTOR, "depth_multiplier: 0.25")])),
    ("zoo_anchors", ("the zoo's scales and ratio 1", [(GENERATOR, ZOO_ANCHORS)])),
    ("colour", ("stronger colour changes", [
        (AUGMENTATION.format(SATURATION), "random_distort_color { color_ordering: 0 }")])),
])
SEEDS = {"base_again": 1}
WEIGHTS_OF = {"nms_045": "base"}        # what differs follows the network, and is no part of the training
STEPS_TIMES = {"batch_4": 2, "batch_2": 4}      # as many pictures as the others
# How the plot marks a choice; the others change the recipe alone.
KINDS = {"base": "base", "base_again": "base", "wide_640x480": "size", "square_640": "size", "square_400": "size",
         "square_300": "size", "depth_100": "network", "depth_025": "network", "one_map": "network", "small": "network"}
MAX_SIDE = 1024             # as steps 04 and 08 shrink pictures
ROUNDS, WARM_PICTURES = 5, 4
AP75 = 5                    # its place among the ten IoUs of COCO's AP


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), metavar="CHOICE",
                        help="of {} (default: all)".format(", ".join(CHOICES)))
    parser.add_argument("--steps", type=command.positive, default=250, metavar="N", dest="count", help="of each training (default: %(default)s)")
    parser.add_argument("--speed", action="store_true", help="only time the graphs that are there")
    parser.add_argument("--table", action="store_true", help="only print the table and draw the plot")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)     # `kill` ends it as Ctrl-C does
    names = args.only or list(CHOICES)
    if not args.table:
        if not args.speed:
            prepare_data()
            train_all([name for name in names if name not in read_rows()], args.count)
        time_graphs([name for name in names if name in read_rows()])
    tell(read_rows())


def read_rows():
    """dict of choice to its row, in the order of CHOICES."""
    found = files.read_json(FIGURES) if FIGURES.is_file() else {}
    return collections.OrderedDict((name, found[name]) for name in CHOICES if name in found)


def write_row(name, values):
    """Puts ``values`` into the row of a choice, beside what stands there."""
    rows = read_rows()
    rows.setdefault(name, collections.OrderedDict()).update(values)
    ordered = collections.OrderedDict((known, rows[known]) for known in CHOICES if known in rows)
    files.write_text(FIGURES, json.dumps(ordered, indent=1) + "\n")


def labels(split):
    return FOLDER / "data" / "{}_labels.csv".format(split)


def prepare_data():
    """The grouped split's labels and records."""
    data = FOLDER / "data"
    if not (data / "val.record").is_file():
        steps.run("split", ["--split", "grouped", "--fold", FOLD, "--out", data], LOG)
        steps.run("records", ["--annotations", data, "--splits", "train", "val"], LOG)


def train_all(names, count):
    """Trains, exports and scores the choices, one on each core at a time; one that fails is told and left out.

    Raises:
      UserError: at the end, if any failed.
    """
    waiting, lock, failed = collections.deque(names), threading.Lock(), []

    def work(core):
        while waiting:
            name = waiting.popleft()
            try:
                with lock:
                    made = make_config(name, count)
                row = train_one(name, made, core)
                with lock:
                    write_row(name, row)
                print("{} {}: AP50 {AP50:.4f}, AP75 {AP75:.4f}, AP {AP:.4f}, {cpu_seconds:.0f} CPU seconds".format(
                    time.strftime("%H:%M"), name, **row), flush=True)
            except UserError as error:
                failed.append(name)
                print("{} {} failed: {}".format(time.strftime("%H:%M"), name, error), file=sys.stderr, flush=True)
    cores = sorted(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        try:
            for future in [pool.submit(work, core) for core in cores]:
                future.result()
        except BaseException:            # Ctrl-C above all: the trainings stop, and go on when the same is started again
            waiting.clear()
            steps.stop()
            raise
    if failed:
        raise UserError("{} of {} choices failed: {}. Mend what is told above; the same command trains those alone.".format(
            len(failed), len(names), ", ".join(failed)))


def make_config(name, count):
    """Writes the choice's config, and returns what it costs and meets: a dict for its row."""
    import numpy as np
    from google.protobuf import text_format
    from shelfdet import anchors, annotations, boxes, pipeline, search
    what, changes = CHOICES[name]
    count *= STEPS_TIMES.get(name, 1)
    config = pipeline.changed(pipeline.read(paths.DEFAULT_CONFIG), changes + data_and_steps(count))
    image_wh, network = pipeline.input_size(config), pipeline.network(config)
    boxes_xyxy = np.concatenate(anchors.resized(annotations.read_labels(labels("train")), image_wh))
    if not any(path == GENERATOR for path, _ in changes):
        advice = search.ssd(boxes_xyxy, network.grids_wh, image_wh)
        config = pipeline.changed(config, [("model.ssd", "\n".join(search.generator_lines(advice)))])
    anchors_xyxy, layer, per_cell = pipeline.anchors(config, image_wh, network.grids_wh)
    if set(per_cell) != {1}:
        raise UserError("{}: {} anchors per cell; expected one.".format(name, per_cell))
    met = anchors.best_iou(boxes_xyxy, pipeline.layers(anchors_xyxy, layer, network))[0] >= search.THRESHOLD
    files.write_text(FOLDER / (name + ".config"), "# {}: {}. Made by scripts/compare.py.\n{}".format(
        name, what, text_format.MessageToString(config)))
    return collections.OrderedDict([
        ("what", what), ("steps", count), ("batch", config.train_config.batch_size), ("seed", SEEDS.get(name, 0)),
        ("input_wh", list(image_wh)), ("feature_maps", len(network.grids_wh)), ("met", round(float(met.mean()), 4)),
        ("multiply_adds", network.multiply_adds)])


def data_and_steps(count):
    """The changes that every choice shares."""
    from shelfdet import pipeline
    return [
        ("train_config", "num_steps: {}".format(count)),
        (RATE, "total_steps: {} warmup_steps: {}".format(count, int(count * WARM_UP)))] + pipeline.reading(FOLDER / "data")


def train_one(name, row, core):
    """Trains, exports, detects and scores one choice; returns its whole row."""
    log, found = FOLDER / (name + ".log"), FOLDER / (name + "_val.json")
    config, trained = FOLDER / (name + ".config"), FOLDER / WEIGHTS_OF.get(name, name)
    if name in WEIGHTS_OF:
        row["cpu_seconds"] = read_rows()[WEIGHTS_OF[name]]["cpu_seconds"]
    else:
        row["cpu_seconds"] = round(steps.run("train", ["--config", config, "--run-dir", trained, "--seed", row["seed"], "--save-seconds",
                                                       SAVE_SECONDS, "--eval-seconds", NEVER_SECONDS], log, core))
    steps.run("export", ["--run-dir", trained, "--checkpoint", "newest", "--config", config, "--name", name, "--output",
                         FOLDER / "graphs"], log, core)
    steps.run("detect", ["--graph", FOLDER / "graphs" / name, "--labels", labels("val"), "--output", found], log, core)
    row.update(figures(found))
    return row


def figures(found):
    """The figures of the detections in the file ``found``, on validation; F1 and the count error at the threshold that is best for
    F1 on these same pictures, so they serve to compare choices alone."""
    import numpy as np
    from shelfdet import annotations, detections, metrics
    matches = metrics.match(annotations.read_labels(labels("val")), detections.read_detections(found))
    pool, = metrics.pools(matches)
    by_iou = metrics.coco_average_precisions(pool)
    threshold = metrics.best_threshold(matches)
    best = metrics.figures(metrics.tally(matches, 1.0 if threshold is None else threshold))
    values = [("AP50", metrics.average_precision(pool)), ("AP75", by_iou[AP75]), ("AP", np.mean(by_iou)), ("F1", best["f1"]),
              ("count_error", best["mean_absolute_count_error"])]
    return collections.OrderedDict((name, round(float(value), 5)) for name, value in values)


def time_graphs(names):
    """Times the frozen graphs on the validation pictures, decoded beforehand: their rows get pictures_per_second and what it was
    read on. The graphs take turns, and the median of the rounds counts, so that a busy minute spoils no single one."""
    import statistics
    from shelfdet import annotations, images, inference, machine
    graphs = [name for name in names if (FOLDER / "graphs" / name / paths.GRAPH_FILE).is_file()]
    missing = sorted(set(names) - set(graphs))
    if missing:
        print("not timed, for their graphs are not here: {}".format(", ".join(missing)), file=sys.stderr)
    if not graphs:
        return
    listed = [image.filename for image in annotations.read_labels(labels("val"))]
    pixels = [images.load(path, MAX_SIDE)[0] for path in images.locate(paths.SHELF_IMAGES, listed, "train")]
    seconds = collections.defaultdict(list)
    for name in graphs * ROUNDS:
        detector = inference.Detector(FOLDER / "graphs" / name / paths.GRAPH_FILE, parallel.workers())
        with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
            list(pool.map(detector.detect, pixels[:WARM_PICTURES]))
            began = time.time()
            list(pool.map(detector.detect, pixels))
            seconds[name].append(time.time() - began)
    for name in graphs:
        graph = FOLDER / "graphs" / name / paths.GRAPH_FILE
        write_row(name, [("pictures_per_second", round(len(pixels) / statistics.median(seconds[name]), 2)),
                         ("megabytes", round(graph.stat().st_size / 1e6, 2)), ("timed_on", machine.described())])


def tell(rows):
    """Prints the table, and draws the figure."""
    from shelfdet import tradeoff_figure
    print("| choice | input | anchors meet | AP50 | AP75 | AP | F1 | count error | G multiply-adds | pictures a second | MB | CPU minutes |")
    print("|" + "---|" * 12)
    for row in rows.values():
        print("| {what} | {0} x {1} | {met:.2f} | {AP50:.3f} | {AP75:.3f} | {AP:.3f} | {F1:.3f} | {count_error:.2f} | {2:.2f} | {3} | {4} | {5:.0f} |".format(
            *row["input_wh"], row["multiply_adds"] / 1e9, row.get("pictures_per_second", "-"), row.get("megabytes", "-"),
            row["cpu_seconds"] / 60, **row))
    if not rows:
        return
    for one in sorted({row["timed_on"] for row in rows.values() if "timed_on" in row}):
        print("\npictures a second on {}".format(one))
    points = [tradeoff_figure.Point(row["what"], KINDS.get(name, tradeoff_figure.RECIPE), row.get("pictures_per_second"), row["AP"], row["F1"])
              for name, row in rows.items()]
    counts = sorted({row["steps"] for name, row in rows.items() if name not in STEPS_TIMES})
    with files.replacing(PLOT) as partial:
        tradeoff_figure.draw(points, partial, "What each choice is worth", (
            "Each trained from nothing for {} steps of 8 pictures and scored on validation planograms that it has not "
            "seen.".format(" or ".join(map(str, counts)))))
    print("\nwritten: {}".format(paths.shown(PLOT)))


if __name__ == "__main__":
    command.run(main)
