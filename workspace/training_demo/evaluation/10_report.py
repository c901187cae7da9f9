#!/usr/bin/env python
"""Step 10: one HTML file to look at: figures, curves, and every image with its hits, misses and false alarms.

Reads   results/test_detections.json (step 08), test_labels.csv (step 02), the images, metrics.json (step 09), the
        graph's pipeline.config, and report_template.html beside this script.
Writes  results/report.html: opens from disk, loads nothing.

    python workspace/training_demo/evaluation/10_report.py
    python workspace/training_demo/evaluation/10_report.py --max-images 40 --output small.html

metrics.py decides what each detection is; the page only leaves out those below the score on its slider and counts the
rest. The page holds images of the dataset: mind their licence before you pass it on.
"""

import argparse
import base64
import concurrent.futures
import hashlib
import html
import io
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

TEMPLATE = pathlib.Path(__file__).resolve().with_name("report_template.html")
# (longer side in pixels, JPEG quality), best first: the first under --max-mb is taken.
SIZES = ((1024, 78), (1024, 70), (896, 66), (768, 62), (640, 58), (480, 54), (320, 50))
HEADLINE = (  # key of metrics.json, name, digits, what it means
    ("mAP", "AP at IoU 0.5", 3, "area under the curve of precision against recall"),
    ("AP75", "AP at IoU 0.75", 3, "the same, for boxes that fit tightly"),
    ("AP", "COCO AP", 3, "mean over IoU 0.50 to 0.95"),
    ("precision", "precision", 3, "share of the boxes that are right, at the chosen score"),
    ("recall", "recall", 3, "share of the products that are found, at the chosen score"),
    (
        "mean_absolute_count_error",
        "count off by",
        2,
        "products an image, on average, at the chosen score",
    ),
)
COLUMNS = (
    ("images", "images", 0),
    ("boxes", "products", 0),
    ("mAP", "AP at IoU 0.5", 3),
    ("AP75", "AP at IoU 0.75", 3),
    ("precision", "precision", 3),
    ("recall", "recall", 3),
    ("mean_absolute_count_error", "count off by", 2),
)
BREAKDOWNS = (
    ("by_camera", "By camera", "camera"),
    ("by_planogram", "By planogram", "planogram"),
    ("by_box_size", "By size of the product", "root of its area"),
)
ERRORS_NOTE = (
    "Number at the chosen score. The cost is what AP at IoU 0.5 would gain if that kind alone were mended. "
    "Duplicate: a second box on a product; badly placed: IoU of 0.1 to 0.5 with one."
)
COVERAGE_IOUS = [step / 100.0 for step in range(30, 95, 5)]


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--detections",
        type=pathlib.Path,
        default=paths.RESULTS / "test_detections.json",
        metavar="FILE",
        help="step 08's (default: %(default)s)",
    )
    parser.add_argument(
        "--labels",
        type=pathlib.Path,
        default=paths.labels("test"),
        metavar="FILE",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=paths.SHELF_IMAGES,
        metavar="FOLDER",
        help="images, or a folder with train/ and test/ (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        type=pathlib.Path,
        default=paths.METRICS,
        metavar="FILE",
        help="step 09's, of the same detections (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help=f"for the coverage by anchors (default: the {paths.CONFIG_FILE} beside the graph)",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=paths.RESULTS / "report.html",
        metavar="FILE",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--max-images",
        type=int,
        default=120,
        metavar="N",
        help="show at most this many, those with the most errors (default: %(default)s)",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=20,
        metavar="MB",
        help="size of the file (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if args.max_images < 0:
        parser.error(f"--max-images {args.max_images}: expected 0 or more")
    return args


def main(argv=None):
    args = parse(argv)
    from shelfdet.data import detections, images, labels
    from shelfdet.evaluation import metrics

    if not args.detections.is_file():
        raise UserError(
            f"{args.detections}: no such file; expected detections. Run `make eval` first."
        )
    scored = read_metrics(args.metrics)
    info = detections.read_info(args.detections)
    truth = labels.read_labels(args.labels)
    matches = metrics.match(truth, detections.read_detections(args.detections))
    check_same(scored, info, args, matches)
    split = "test" if args.labels.stem.startswith("test") else "train"
    located = images.locate(args.images, [match.filename for match in matches], split)
    shown = most_errors(matches, scored["threshold"], args.max_images)
    data = describe(matches, shown, scored, info, args)
    data["coverage"] = coverage(config_path(args, info), truth)
    page = fit(
        data,
        [(index, located[index]) for index in shown],
        info.get("exif", "ignore"),
        args.max_mb * 1e6,
    )
    files.write_text(args.output, page)
    print(
        f"{paths.shown(args.output)}: {len(shown)} of {len(matches)} images, {len(page.encode('utf-8')) / 1000000.0:.1f} MB; open it in a browser"
    )


def read_metrics(path):
    """metrics.json as step 09 writes it."""
    try:
        scored = json.loads(path.read_text(encoding="utf-8"))
        if scored["threshold"] is None:
            raise UserError(
                f"{path}: has no threshold ({scored.get('threshold_from')}). Run step 09 with validation detections, or with --threshold."
            )
        scored["threshold"] = float(scored["threshold"])
        return scored
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected step 09's figures. Run `make eval`, or name it with --metrics."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as step 09's figures ({type(error).__name__}: {error}). Run step 09 again."
        ) from error


def check_same(scored, info, args, matches):
    """Refuses figures that were read on other detections, or other labels, than the boxes under them."""
    for found, expected, what in (
        (info.get("graph_sha256"), scored.get("graph_sha256"), "graph"),
        (files.sha256(args.labels), scored.get("labels_sha256"), "label file"),
    ):
        if found and expected and found != expected:
            raise UserError(
                f"{args.metrics}: was made with another {what} (sha256 {expected[:12]}...) than {args.detections if what == 'graph' else args.labels} (sha256 {found[:12]}...). Run steps 08 and 09 again."
            )
    counted = {
        "images": len(matches),
        "boxes": sum(len(match.truth_xyxy) for match in matches),
        "detections": sum(len(match.scores) for match in matches),
    }
    for key, count in counted.items():
        if scored.get(key, count) != count:
            raise UserError(
                f"{args.metrics}: was read on {scored[key]} {key}, {args.labels if key == 'boxes' else args.detections} holds {count}. Run step 09 again."
            )


def most_errors(matches, threshold, most):
    """Places of the ``most`` images with the most errors at ``threshold``, rising."""
    from shelfdet.evaluation import metrics

    tallied = metrics.tally(matches, threshold)
    errors = (tallied.truths - tallied.hits) + (tallied.detected - tallied.hits)
    return sorted(sorted(range(len(matches)), key=lambda index: -errors[index])[:most])


def describe(matches, shown, scored, info, args):
    """All that the page shows but the images' pixels, as a dict for JSON; ``shown``: places of those it embeds."""
    from shelfdet.core import drawing
    from shelfdet.data import splits
    from shelfdet.evaluation import metrics

    scores = [score for match in matches for score in match.scores]
    pictures = []
    for index, match in enumerate(matches):
        picture = {
            "index": index,
            "name": match.filename,
            "embedded": index in shown,
            "camera": (splits.scene(match.filename) or ("other",))[0],
            "width": match.size_wh[0],
            "height": match.size_wh[1],
            "truths": len(match.truth_xyxy),
            "scores": match.scores.tolist(),
            "kinds": match.kinds.tolist(),
        }
        if picture["embedded"]:
            picture.update(
                truthBoxes=rounded(match.truth_xyxy, 1),
                truthScores=truth_scores(match),
                boxes=rounded(match.boxes_xyxy, 1),
                ious=rounded(match.iou, 3),
            )
        pictures.append(picture)
    styles = {"hits": drawing.HIT, "misses": drawing.MISS, "alarms": drawing.FALSE_ALARM}
    name = (
        pathlib.PurePosixPath(info.get("graph") or str(args.detections)).parent.name or "detector"
    )
    return {
        "title": f"{name}: what it finds on shelves",
        "about": f"Read on {len(matches)} images with {sum(picture['truths'] for picture in pictures):,} labelled products, of {args.labels.name}.",
        "threshold": scored["threshold"],
        "range": [min(scores + [0.0]), max(scores + [1.0])],
        "kinds": list(metrics.KINDS),
        "cameras": sorted({picture["camera"] for picture in pictures}),
        "images": pictures,
        "styles": {what: style._asdict() for what, style in styles.items()},
        "headline": headline(scored),
        "tables": tables(scored),
        "made": made(scored, info, args),
    }


def headline(scored):
    """The figures at the top of the page, with what they mean: list of dicts of text."""
    cards = []
    for key, name, digits, note in HEADLINE:
        low, high = (scored.get("intervals_95") or {}).get(key) or (None, None)
        interval = (
            "no interval"
            if low is None
            else f"95 %: {number(low, digits)} to {number(high, digits)}"
        )
        cards.append(
            {
                "name": name,
                "value": number(scored.get(key), digits),
                "interval": interval,
                "note": note,
            }
        )
    return cards


def tables(scored):
    """The breakdowns of metrics.json as tables of text."""
    result = []
    for key, title, first in BREAKDOWNS:
        groups = scored.get(key) or {}
        columns = [column for column in COLUMNS if any(column[0] in row for row in groups.values())]
        rows = [
            [group] + [number(row.get(column), digits) for column, _, digits in columns]
            for group, row in groups.items()
        ]
        if rows:
            names = [first] + [name for _, name, _ in columns]
            result.append({"title": title, "columns": names, "rows": rows, "note": ""})
    errors = scored.get("errors") or {}
    if errors:
        rows = [
            [kind, number(row["number"], 0), number(row["mAP_cost"], 4)]
            for kind, row in errors.items()
        ]
        result.append(
            {
                "title": "Where the errors come from",
                "columns": ["kind", "number", "AP it costs"],
                "rows": rows,
                "note": ERRORS_NOTE,
            }
        )
    return result


def made(scored, info, args):
    """How the figures came about: pairs of text."""
    sides = " to ".join(map(str, sorted(set(scored.get("shorter_side_px") or []))))
    resamples = (scored.get("bootstrap") or {}).get("resamples", "no")
    max_side, seen = info.get("max_side"), scored.get("seen_in_training")
    rows = [
        ("images", args.labels.name + (f", shorter side {sides} px" if sides else "")),
        (
            "seen in training",
            f"{seen} of these images: the figures are not those of new ones" if seen else None,
        ),
        (
            "shown to the network",
            (f"at most {max_side} px a side" if max_side else "at full size")
            + (", strips with margins" if info.get("pad_strips") else "")
            + (", and in {0} x {0} tiles".format(info["tiles"]) if info.get("tiles") else ""),
        ),
        ("EXIF orientation", "applied" if info.get("exif") == "apply" else "ignored: raw pixels"),
        (
            "score chosen",
            f"{scored['threshold']:.4f}: {scored.get('threshold_from', 'as metrics.json says')}",
        ),
        (
            "a hit",
            "the first box, by falling score, whose IoU with the product it overlaps most is at least 0.5 (the "
            "pascal rule)",
        ),
        ("intervals", f"95 %, bootstrap over images, {resamples} resamples"),
        ("graph", info.get("graph")),
        ("sha256 of the graph", scored.get("graph_sha256")),
        ("sha256 of its config", scored.get("config_sha256")),
        ("sha256 of the labels", scored.get("labels_sha256")),
    ]
    return [[name, value] for name, value in rows if value]


def number(value, digits):
    return "\u2013" if value is None else "{:,.{}f}".format(value, digits)


def rounded(values, digits):
    """Nested lists of numbers short enough for a page; scores are never rounded, since the slider compares them."""
    import numpy as np

    return np.round(values, digits).tolist()


def truth_scores(match):
    """The score of the detection that hit each ground truth of a Matches; None where none did."""
    from shelfdet.evaluation import metrics

    scores = [None] * len(match.truth_xyxy)
    for score, kind, truth in zip(match.scores.tolist(), match.kinds, match.truth_index):
        if kind == metrics.HIT:
            scores[truth] = score
    return scores


def config_path(args, info):
    """The training config whose anchors are shown, or None, which is said aloud.

    Raises:
      UserError: --config names a config of another network than the graph that made the detections.
    """
    beside = (
        paths.ROOT.joinpath(info["graph"]).with_name(paths.CONFIG_FILE)
        if info.get("graph")
        else None
    )
    if args.config:
        from shelfdet.config import pipeline

        if (
            beside is not None
            and beside.is_file()
            and pipeline.read(args.config).model != pipeline.read(beside).model
        ):
            raise UserError(
                f"{args.config}: its `model` is not that of {beside}, whose detections are in {args.detections}; expected the same. Run `make eval` with the same GRAPH, CONFIG or RUN_DIR first."
            )
        return args.config
    if beside is not None and beside.is_file():
        return beside
    print(
        f"no coverage by anchors in the report: there is no {paths.CONFIG_FILE} beside the graph; --config names one"
    )
    return None


def coverage(path, truth):
    """Share of the products that some anchor of a config meets at each of COVERAGE_IOUS; None without a config."""
    if path is None:
        return None
    import numpy as np

    from shelfdet.anchors import anchors
    from shelfdet.config import pipeline
    from shelfdet.config.network import generate_anchors
    from shelfdet.core import boxes

    config = pipeline.read(path)
    laid_xyxy, _, per_cell = generate_anchors(config)
    resized = anchors.resized(truth, pipeline.input_size(config))
    best = np.concatenate(
        [boxes.iou(one, laid_xyxy).max(axis=1) for one in resized if len(one)] or [np.zeros(0)]
    )
    if not len(best):
        return None
    share = anchors.shares(best, COVERAGE_IOUS)
    return {
        "iou": COVERAGE_IOUS,
        "share": share,
        "note": f"{len(per_cell)} feature maps, {'/'.join(map(str, sorted(set(per_cell))))} anchor{('' if set(per_cell) == {1} else 's')} a cell, {len(laid_xyxy):,} anchors in all. At IoU 0.5 some anchor covers {share[COVERAGE_IOUS.index(0.5)]:.1%} of these products.",
    }


def fit(data, shown, exif, limit):
    """The whole page, with images as large as ``limit`` bytes allow.

    Args:
      data: as ``describe`` gives it.
      shown: list of (index, path) of the images that are embedded.
      exif: the rule that the detections were made with.
      limit: bytes.
    """
    from shelfdet.core import parallel

    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        for max_side, quality in SIZES:
            encoded = list(pool.map(lambda one: encode(one[1], max_side, quality, exif), shown))
            page = fill(data, [(index, text) for (index, _), text in zip(shown, encoded)])
            size = len(page.encode("utf-8"))
            if size <= limit:
                return page
    raise UserError(
        f"the report would be {size / 1000000.0:.1f} MB with images of {SIZES[-1][0]} pixels; expected at most {limit / 1000000.0:.1f} MB. Show fewer with --max-images, or raise --max-mb."
    )


def encode(path, max_side, quality, exif):
    """The image as a JPEG in base64, in the same orientation as its boxes."""
    from PIL import Image

    from shelfdet.data import images

    pixels, _, _ = images.load(path, max_side, exif)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True, progressive=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def fill(data, encoded):
    """The template with everything in its place.

    What comes from outside goes in as JSON whose "<" are escaped, so that no text can end the element it stands in; the
    page's policy allows its own style and script alone, by their hashes.
    """
    page = TEMPLATE.read_text(encoding="utf-8")
    style, script = (
        re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL).group(1) for tag in ("style", "script")
    )
    policy = f"default-src 'none'; img-src data:; style-src '{source_hash(style)}'; script-src '{source_hash(script)}'; base-uri 'none'; form-action 'none'"
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    values = {
        "POLICY": html.escape(policy, quote=True),
        "TITLE": html.escape(data["title"]),
        "DATA": text.replace("<", "\\u003c"),
        "IMAGES": "\n".join(
            '<script id="image-{}" type="text/plain">{}</script>'.format(*one) for one in encoded
        ),
    }
    return re.sub("@@([A-Z]+)@@", lambda found: values[found.group(1)], page)


def source_hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode(
        "ascii"
    )


def finite(value):
    """The same nested value with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    command_line.run(main)
