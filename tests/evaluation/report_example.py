"""Images, labels, detections and figures for the tests of the report."""

import json
import re

import numpy as np
from PIL import Image

from shelfdet.data import detections, labels
from shelfdet.evaluation import matching, report, score

THRESHOLD = 0.4321
HOSTILE = "<img src=x onerror=document.title='run'>.JPG"
NAMES = (
    "C1_P01_N1_S2_1.JPG",
    "C1_P01_N1_S2_2.JPG",
    "C2_P02_N1_S3_1.JPG",
    "C2_P02_N2_S3_1.JPG",
    "raf ğüş.JPG",
    HOSTILE,
)
SIZE_WH = (480, 360)
INFO = {"graph_sha256": "a" * 64, "graph": "graphs/some/x.pb"}


def make_truth(random):
    """A row of 4 to 9 boxes in each image."""
    images = []
    for name in NAMES:
        lefts = 20.0 + 48 * np.arange(random.randint(4, 10))
        rows = [("product", (left, 100.0, left + 40, 190.0)) for left in lefts]
        images.append(labels.labelled(name, SIZE_WH, rows))
    return images


def make_detections(truth, random):
    """Shifted boxes, a second box on two products, and three boxes on the background."""
    images = []
    for image in truth:
        shifts = random.uniform(-14, 14, (len(image.boxes_xyxy), 1))
        shifted = image.boxes_xyxy + shifts * [1, 0, 1, 0]
        again = image.boxes_xyxy[:2] + 2
        elsewhere = np.array([[x, 250.0, x + 40, 330.0] for x in random.randint(0, 400, 3)])
        boxes_xyxy = np.concatenate([shifted, again, elsewhere])
        scores = np.round(random.uniform(0, 1, len(boxes_xyxy)), 2)  # rounded, for equal scores
        order = np.argsort(-scores, kind="stable")
        classes = ("product",) * len(scores)
        images.append(
            detections.Detections(
                image.filename, SIZE_WH, boxes_xyxy[order], scores[order], classes
            )
        )
    return images


def save_images(folder):
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        noise = np.random.RandomState(number).randint(0, 255, (45, 60, 3)).astype(np.uint8)
        Image.fromarray(noise).resize(SIZE_WH).save(str(folder / name), "JPEG")


def make_files(folder):
    """Writes all that a report is made of, and report.html."""
    random = np.random.RandomState(4)
    save_images(folder / "images")
    truth = make_truth(random)
    found = make_detections(truth, random)
    labels.write_labels(truth, folder / "test_labels.csv")
    detections.write_detections(found, folder / "test_detections.json", INFO)
    scored = score.Inputs(
        ground_truth=folder / "test_labels.csv",
        detections=(folder / "test_detections.json",),
        val_ground_truth=folder / "val_labels.csv",
        threshold=THRESHOLD,
    )
    figures = score.evaluate(scored, resamples=50).figures
    score.write_together([(folder / "metrics.json", figures)])
    (folder / "report.html").write_text(build(folder).page, encoding="utf-8")


def match_files(folder):
    """The Matches of the files of ``make_files``."""
    return matching.match(
        labels.read_labels(folder / "test_labels.csv"),
        detections.read_detections(folder / "test_detections.json"),
    )


def build(folder, max_images=120, max_bytes=20e6, **changes):
    """The Report of the files of ``make_files``; ``changes``: to report.Inputs."""
    inputs = report.Inputs(
        detections=folder / "test_detections.json",
        labels=folder / "test_labels.csv",
        images=folder / "images",
        metrics=folder / "metrics.json",
    )
    return report.build(inputs._replace(**changes), max_images, max_bytes)


def page_data(page):
    """The data that a page holds."""
    return json.loads(re.search('<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL).group(1))
