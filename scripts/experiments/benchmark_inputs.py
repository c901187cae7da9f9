"""Inputs of the benchmarks: real or synthetic images with labels, and boxes to score."""

import pathlib
from typing import Dict, List, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet import UserError
from shelfdet.core import boxes, paths
from shelfdet.data import images, labels
from shelfdet.data.detections import Detections, write_detections
from shelfdet.data.labels import LabelledImage

BOXES_PER_IMAGE = 37  # the Grocery Dataset's mean
SCORED_BOXES_PER_IMAGE = 50
SCORED_SIZE_WH = (1000, 1000)
DETECTED_SHARE = 0.9  # of the scored boxes; the others have a detection far away
SYNTHETIC_IMAGES = 8  # different ones of each size; more would only take longer to make


def real_images(dataset: pathlib.Path) -> List[pathlib.Path]:
    """The images of a folder in the Grocery Dataset's layout, test images first."""
    found = []
    for side in ("test", "train"):
        found += images.list_images(dataset / paths.SHELF_IMAGES_NAME / side)
    if not found:
        raise UserError(
            f"{dataset}: no images in ShelfImages/train and ShelfImages/test; expected the Grocery "
            "Dataset's layout. Check the environment variable."
        )
    return found


def synthetic_images(folder: pathlib.Path, size_wh: Tuple[int, int]) -> List[pathlib.Path]:
    """Writes JPEGs that compress like photographs: smooth colours with a little noise."""
    width, height = size_wh
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for number in range(SYNTHETIC_IMAGES):
        coarse = random.randint(0, 256, (24, 32, 3)).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size_wh, Image.BICUBIC), dtype=np.int16)
        noise = random.randint(-12, 13, (height, width, 1))
        pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(str(folder / f"{number}.jpg"), quality=92)
    return sorted(folder.iterdir())


def link_images(folder: pathlib.Path, sources: Sequence[pathlib.Path], count: int) -> pathlib.Path:
    """Makes a folder with ``count`` links to the images, in turn, and a test_labels.csv.

    Every image gets BOXES_PER_IMAGE boxes in one row.
    """
    folder.mkdir(parents=True)
    sizes: Dict[pathlib.Path, Tuple[int, int]] = {}
    labelled = []
    for number in range(count):
        source = sources[number % len(sources)].resolve()
        if source not in sizes:
            sizes[source] = images.inspect(source).size_wh
        link = folder / f"{number:05d}{source.suffix}"
        link.symlink_to(source)
        boxes_xyxy = _row_of_boxes(sizes[source])
        classes = ("product",) * len(boxes_xyxy)
        labelled.append(LabelledImage(link.name, sizes[source], boxes_xyxy, classes))
    labels.write_labels(labelled, folder / "test_labels.csv")
    return folder


def _row_of_boxes(size_wh: Tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    left = np.linspace(0, width * 0.97, BOXES_PER_IMAGE)
    top = np.full(BOXES_PER_IMAGE, height * 0.4)
    return np.stack([left, top, left + width * 0.02, top + height * 0.1], axis=1)


def write_scored(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Writes labels.csv and detections.json of ``count`` images, SCORED_BOXES_PER_IMAGE in each.

    Most detections are near a label: its box with normal noise of 4 pixels on each side.
    """
    random = np.random.RandomState(0)
    number_of_boxes = SCORED_BOXES_PER_IMAGE
    classes = ("product",) * number_of_boxes
    truth = []
    found = []
    for number in range(count):
        corners = random.uniform(0, 900, (number_of_boxes, 2))
        sides = random.uniform(30, 90, (number_of_boxes, 2))
        boxes_xyxy = np.hstack([corners, corners + sides])
        is_detected = random.uniform(size=(number_of_boxes, 1)) < DETECTED_SHARE
        shift = np.where(is_detected, random.normal(0, 4, (number_of_boxes, 4)), 200)
        name = f"{number:06d}.jpg"
        truth.append(LabelledImage(name, SCORED_SIZE_WH, boxes_xyxy, classes))
        found.append(
            Detections(
                name,
                SCORED_SIZE_WH,
                boxes.clip(boxes_xyxy + shift, SCORED_SIZE_WH),
                random.uniform(size=number_of_boxes),
                classes,
            )
        )
    labels.write_labels(truth, folder / "labels.csv")
    write_detections(found, folder / "detections.json")
    return folder
