"""The HTML page of suspects: each as a crop around its boxes, the worst first."""

import collections
import concurrent.futures
import pathlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from shelfdet.core import drawing, parallel, paths
from shelfdet.core.text import counted, plural
from shelfdet.data import images
from shelfdet.evaluation import html_page, suspects
from shelfdet.evaluation.matching import Matches
from shelfdet.evaluation.suspects import Suspect

TEMPLATE = paths.EVALUATION / "suspects_template.html"

# A crop shows so many times the width and height of its boxes, so that the shelf around is seen.
SURROUNDINGS = 3.0
CROP_SHAPE = 4 / 3  # width by height, where the image is large enough
LEAST_CROP = 48  # pixels of its height
CROP_SIDE = 560  # larger crops are shrunk to this longer side
CROP_QUALITY = 80  # of the JPEG

# They differ in colour, in lightness and in their line.
STYLES = {
    "other": drawing.Style("#ffffff", "#000000", (1, 2), "other labels"),
    "label": drawing.Style("#F0E442", "#000000", (), "the label"),
    "detection": drawing.Style("#56B4E9", "#000000", (5, 3), "the detection"),
}
# What it is, and what to do, for each reason.
MEANINGS = {
    suspects.NO_LABEL: (
        "A product was detected where none is labelled.",
        "If it is a product, draw its box.",
    ),
    suspects.NO_DETECTION: (
        "Nothing was detected at the label.",
        "If there is no product, delete the box; if there is one, leave it.",
    ),
    suspects.BADLY_PLACED: (
        "Label and detection overlap little.",
        "Move the box if it does not fit the product.",
    ),
    suspects.OTHER_CLASS: (
        "Label and detection are of two classes.",
        "Correct the class if it is wrong.",
    ),
    suspects.DUPLICATE: (
        "The label lies on another one of its class.",
        "Delete one of the two if they are of one product.",
    ),
}


class Content(NamedTuple):
    """What the page is of.

    found: all suspects, the worst first.
    places: the file and line, or another place, of each in the annotations; "" where unknown.
    matches: of all images that were compared.
    splits: name of an image to "train", "val" or "test".
    labels: what the annotations are and where.
    graph: name of the detector.
    threshold: the lowest score that counts.
    exif: how the detections treat the EXIF orientation.
    """

    found: Sequence[Suspect]
    places: Sequence[str]
    matches: Sequence[Matches]
    splits: Mapping[str, str]
    labels: str
    graph: str
    threshold: float
    exif: str


def render(content: Content, image_paths: Mapping[str, pathlib.Path], most: int) -> str:
    """The page.

    Args:
      content: what it shows.
      image_paths: name to file of each image with one of the ``most`` worst suspects.
      most: how many suspects are shown.

    Raises:
      UserError: an image cannot be read.
    """
    shown = content.found[:most]
    sizes_wh = {match.filename: match.size_wh for match in content.matches}
    crops = [crop_around(boxes_of(suspect), sizes_wh[suspect.filename]) for suspect in shown]
    data = page_data(content, crops)
    by_image: Dict[str, List[int]] = {}
    for index, suspect in enumerate(shown):
        by_image.setdefault(suspect.filename, []).append(index)

    def encode(filename: str) -> Dict[int, str]:
        pixels = images.load(image_paths[filename], exif=content.exif).pixels
        return {index: _encode_crop(pixels, crops[index]) for index in by_image[filename]}

    encoded: Dict[int, str] = {}
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        for part in pool.map(encode, by_image):
            encoded.update(part)
    return html_page.fill(TEMPLATE, data, encoded)


def page_data(content: Content, crops: Sequence[Tuple[int, int, int, int]]) -> Dict[str, Any]:
    """All that the page shows but pixels, for JSON; ``crops``: xyxy, of the suspects shown."""
    matches = {match.filename: match for match in content.matches}
    labels = suspects.count_labels(content.matches)
    of_images = len({suspect.filename for suspect in content.found})
    total = len(content.found)
    notes = []
    if suspects.misses_many(content.found, labels):
        missed = suspects.count_missed(content.found)
        notes.append(
            f"The detector misses {missed:,} of {labels:,} labels, so suspects of "
            f'"{suspects.NO_DETECTION}" say more about it than about the labels, and come last.'
        )
    if total > len(crops):
        notes.append(f"The worst {len(crops)} are on this page; suspects.json has all.")
    numbers = collections.Counter(suspect.reason for suspect in content.found)
    return {
        "title": "Labels worth a second look",
        "about": (
            f"{total:,} {plural(total, 'suspect')} in {counted(of_images, 'image')}, of "
            f"{counted(len(content.matches), 'image')} with {labels:,} labels"
        ),
        "note": " ".join(notes),
        "reasons": [
            {
                "name": reason,
                "number": numbers[reason],
                "meaning": " ".join(MEANINGS[reason]),
            }
            for reason in suspects.REASONS
            if numbers[reason]
        ],
        "styles": {key: style._asdict() for key, style in STYLES.items()},
        "splits": sorted(set(content.splits.values()), key=paths.SPLITS.index),
        "suspects": [
            {
                "index": index,
                "name": suspect.filename,
                "split": content.splits[suspect.filename],
                "reason": suspect.reason,
                "suspicion": suspect.suspicion,
                "words": words(suspect),
                "place": _place_text(suspect, place),
                "crop": crop,
                "boxes": _boxes_in(crop, suspect, matches[suspect.filename]),
            }
            for index, (suspect, place, crop) in enumerate(
                zip(content.found, content.places, crops)
            )
        ],
        "provenance": [
            ("labels", content.labels),
            ("detector", content.graph),
            ("score threshold", f"{content.threshold:.3f}"),
            ("EXIF orientation", "applied" if content.exif == "apply" else "ignored: raw pixels"),
        ],
    }


def words(suspect: Suspect) -> str:
    """What is suspected, in a sentence."""
    score = "" if suspect.score is None else f"{suspect.score:.2f}"
    if suspect.reason == suspects.NO_LABEL:
        assert suspect.detection_xyxy is not None
        box = " ".join(f"{side:.0f}" for side in suspect.detection_xyxy)
        return f"Detected with score {score}, and not labelled. Box: {box}"
    if suspect.reason == suspects.NO_DETECTION:
        highest = 1 - suspect.suspicion
        if highest <= 0:
            return "Labelled, and not detected at any score"
        return f"Labelled, and not detected; the highest score there is {highest:.2f}"
    if suspect.reason == suspects.BADLY_PLACED:
        assert suspect.score
        overlap = 1 - suspect.suspicion / suspect.score
        return f"Label and detection (score {score}) overlap by an IoU of {overlap:.2f}"
    if suspect.reason == suspects.OTHER_CLASS:
        return f"Labelled {suspect.label}, detected as {suspect.detection} with score {score}"
    return f"The label overlaps an earlier one of its class by an IoU of {suspect.suspicion:.2f}"


def _place_text(suspect: Suspect, place: str) -> str:
    """What to correct; a missing label has no place of its own, only its image has."""
    return f"add at {place}" if place and suspect.reason == suspects.NO_LABEL else place


def boxes_of(suspect: Suspect) -> np.ndarray:
    """The label and the detection of a suspect, those that it has: xyxy of shape (1 or 2, 4)."""
    both = (suspect.label_xyxy, suspect.detection_xyxy)
    return np.array([box for box in both if box is not None], dtype=float)


def crop_around(boxes_xyxy: np.ndarray, size_wh: Tuple[int, int]) -> Tuple[int, int, int, int]:
    """The part of an image to show, xyxy in whole pixels, inside the image."""
    low, high = boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)
    wanted = SURROUNDINGS * (high - low)
    height = max(wanted[1], wanted[0] / CROP_SHAPE, LEAST_CROP)
    crop_wh = np.minimum(np.rint([height * CROP_SHAPE, height]), size_wh)
    first = np.clip(np.rint((low + high - crop_wh) / 2), 0, np.array(size_wh) - crop_wh)
    xmin, ymin, xmax, ymax = np.concatenate([first, first + crop_wh]).astype(int).tolist()
    return xmin, ymin, xmax, ymax


def _boxes_in(
    crop: Tuple[int, int, int, int], suspect: Suspect, match: Matches
) -> Dict[str, List[List[float]]]:
    """Group of STYLES to its boxes in a crop, xyxy in pixels of the image."""
    label, detection = suspect.label_xyxy, suspect.detection_xyxy
    others = [
        box
        for box in match.truth_xyxy.tolist()
        if _overlaps(box, crop) and (label is None or tuple(box) != tuple(label))
    ]
    groups = {"other": others, "label": _listed(label), "detection": _listed(detection)}
    return {key: np.round(boxes, 1).tolist() for key, boxes in groups.items()}


def _listed(box: Optional[Sequence[float]]) -> List[Sequence[float]]:
    return [] if box is None else [box]


def _overlaps(box: Sequence[float], crop: Sequence[float]) -> bool:
    return box[0] < crop[2] and box[2] > crop[0] and box[1] < crop[3] and box[3] > crop[1]


def _encode_crop(pixels: np.ndarray, crop: Tuple[int, int, int, int]) -> str:
    xmin, ymin, xmax, ymax = crop
    part = pixels[ymin:ymax, xmin:xmax]
    shrunk_wh = images.shrunk_size((xmax - xmin, ymax - ymin), CROP_SIDE)
    if shrunk_wh != (xmax - xmin, ymax - ymin):
        image = Image.fromarray(part).resize(shrunk_wh, images.SHRINKING_FILTER)
        part = np.asarray(image)
    return html_page.encode_jpeg(part, CROP_QUALITY)
