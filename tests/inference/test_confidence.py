"""Confidence: worked out by hand, and written and read back through metrics.json's layout."""

import json

import numpy as np
import pytest

from shelfdet.data.detections import Detections
from shelfdet.inference import confidence, graph_files
from shelfdet.inference.confidence import Validated


def image(scores, sides=(10, 20, 40, 80)):
    """An image of 200 x 200 px with square boxes of these sides."""
    boxes_xyxy = np.array([[0, 0, side, side] for side in sides[: len(scores)]], dtype=float)
    classes = ("product",) * len(scores)
    return Detections("a.jpg", (200, 200), boxes_xyxy.reshape(-1, 4), np.array(scores), classes)


@pytest.mark.parametrize(
    "scores, expected",
    [
        ([], 0.0),
        ([0.0, 0.0], 0.0),
        ([0.8], 0.8),
        ([0.9, 0.6, 0.3], (0.81 + 0.36 + 0.09) / 1.8),
        # 300 boxes of 0.001 hardly change it: (0.81 + 0.0003) / (0.9 + 0.3)
        ([0.9] + [0.001] * 300, 0.8103 / 1.2),
    ],
)
def test_confidence(scores, expected):
    assert confidence.confidence(np.array(scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "scores, expected",
    [
        ([], 0.0),
        ([1.0] * 7, 7.0),
        ([0.9, 0.6, 0.3], (0.81 + 0.36 + 0.09) ** 2 / 1.8),
        # Four times as many boxes of half the score are half as many products.
        ([0.5] * 40, 0.25 * 40 * 0.5),
    ],
)
def test_certain_products(scores, expected):
    assert confidence.certain_products(np.array(scores)) == pytest.approx(expected)


def test_what_validation_images_have_in_common_is_written_and_read():
    # Scales are sides / 200; only scores from 0.5 on are products: 0.05, 0.075, 0.1.
    validation = [
        image([0.9, 0.1]),
        image([0.9, 0.8]),
        image([0.9, 0.8, 0.7]),
        image([0.2]),
    ]
    described = confidence.describe(validation, 0.5)
    # The lowest two confidences are 0.2 and 1.94 / 2.4: a tenth is 0.3 of the way between them.
    assert described["low_confidence"] == pytest.approx(0.2 + 0.3 * (1.94 / 2.4 - 0.2))
    assert described["product_scales"] == pytest.approx(
        list(np.percentile([0.05, 0.075, 0.1], [5, 95]))
    )
    low, high = described["product_scales"]
    least = described["low_confidence"] - confidence.ROUNDING
    assert confidence.read(json.loads(json.dumps(described))) == Validated(least, (low, high))


@pytest.mark.parametrize("threshold", [None, 0.95])
def test_without_products_nothing_is_written(threshold):
    assert confidence.describe([image([0.9])], threshold) == {}


@pytest.mark.parametrize(
    "validation",
    [
        None,
        {},
        [],
        {"low_confidence": 0.5},
        {"low_confidence": None, "product_scales": [1, 2]},
        {"low_confidence": 0.5, "product_scales": [1]},
        {"product_scales": [1, 2]},
    ],
)
def test_files_of_earlier_versions_state_nothing(validation):
    assert confidence.read(validation) is None


def test_the_metrics_of_the_graph_count(tmp_path):
    stated = {"lowest_confidence": 0.5, "product_scales": [0.1, 0.2]}
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"graph_sha256": "b", "validation": None}))
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"graph_sha256": "a", "validation": stated}))
    files = [tmp_path / "missing.json", other, mine]
    assert graph_files.validated(files, "a") == Validated(0.5 - 1e-6, (0.1, 0.2))
    assert graph_files.validated(files, "b") is None
    assert graph_files.validated(files, "c") is None


def test_a_certain_image_is_never_below_those_of_validation():
    stated = {"low_confidence": 0.97, "product_scales": [0.1, 0.2]}
    assert confidence.read(stated).low_confidence == confidence.CERTAIN == 0.85


def test_a_single_validation_image_that_is_not_certain_does_not_count():
    images = [image([score]) for score in [0.1] + [0.7] * 10 + [0.8] * 10]
    # Of 21 images the tenth percentile is the third.
    assert confidence.describe(images, 0.5)["low_confidence"] == pytest.approx(0.7)


def test_the_lowest_confidence_of_earlier_versions_is_read():
    stated = {"lowest_confidence": 0.6, "product_scales": [0.1, 0.2]}
    assert confidence.read(stated).low_confidence == pytest.approx(0.6, abs=1e-5)
    stated["low_confidence"] = 0.7
    assert confidence.read(stated).low_confidence == pytest.approx(0.7, abs=1e-5)
