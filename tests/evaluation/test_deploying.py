"""What step 11 compares, with answers by hand, and which targets it refuses."""

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.data.detections import Detections
from shelfdet.data.labels import LabelledImage
from shelfdet.evaluation import deploying, matching, metrics
from shelfdet.inference.deployment import openvino_model

SIZE_WH = (200, 100)
BOXES = np.array([[10.0, 10.0, 50.0, 60.0], [60.0, 10.0, 100.0, 60.0], [110.0, 10.0, 150.0, 60.0]])
SCORES = np.array([0.9, 0.8, 0.1])
THRESHOLD = 0.5


def found_in(name, boxes_xyxy=BOXES, scores=SCORES):
    return Detections(name, SIZE_WH, boxes_xyxy, scores, ("product",) * len(scores))


@pytest.fixture
def reference():
    """A graph that finds both products of two images, and a third box of a low score."""
    names = ("a.jpg", "b.jpg")
    found = [found_in(name) for name in names]
    truth = [LabelledImage(name, SIZE_WH, BOXES[:2], ("product",) * 2) for name in names]
    figures = metrics.summary(matching.match(truth, found), THRESHOLD)
    return deploying._Reference(
        {image.filename: image for image in found},
        truth,
        {key: figures[key] for key in deploying.LIMITS},
        THRESHOLD,
    )


def compare(reference, a, precision="float32", exact=None):
    return deploying.compare("target", precision, reference, [a, found_in("b.jpg")], exact)


def test_equal_detections_differ_by_nothing(reference):
    compared = compare(reference, found_in("a.jpg"))
    assert compared.figures["mAP"] == 1 and set(compared.differences.values()) == {0}
    assert (compared.products, compared.rounding) == (4, 0)
    assert deploying.report(compared) == (
        "target (float32): AP50 1.0000 (+0.0000), AP75 1.0000 (+0.0000), AP 1.0000 (+0.0000), "
        "count MAE 0.0000 (+0.0000); the boxes and scores of 4 products differ by at most 0.0e+00"
    )


def test_products_of_equal_scores_may_change_places(reference):
    order = [1, 0, 2]
    swapped = found_in("a.jpg", BOXES[order], np.array([0.9, 0.8, 0.1]))
    # Each box has the other's score: the nearest detection differs by 0.1 in its score.
    assert deploying.largest_difference(found_in("a.jpg"), swapped, 2) == pytest.approx(0.1)
    swapped = swapped._replace(scores=np.array([0.85, 0.85, 0.1]))
    assert deploying.largest_difference(found_in("a.jpg"), swapped, 2) == pytest.approx(0.05)


def test_a_difference_is_a_share_of_the_image(reference):
    moved = BOXES.copy()
    moved[0, 2] += 1  # 1 of 200 px
    moved[1, 3] += 2  # 2 of 100 px
    moved[2] += 50  # its score is below the threshold
    assert deploying.largest_difference(
        found_in("a.jpg"), found_in("a.jpg", moved), 2
    ) == pytest.approx(0.02)
    with pytest.raises(UserError, match=r"differs by up to 0.02 .*expected at most 0.001"):
        compare(reference, found_in("a.jpg", moved))
    assert compare(reference, found_in("a.jpg", moved), exact={"b.jpg"}).products == 2
    assert compare(reference, found_in("a.jpg", moved), precision="int8").products == 0


def test_nothing_found_is_refused(reference):
    nothing = found_in("a.jpg", BOXES[:0], SCORES[:0])
    assert deploying.largest_difference(found_in("a.jpg"), nothing, 2) == float("inf")
    with pytest.raises(UserError, match="AP50 on the validation images is 0.5.*expected 1.0000"):
        compare(reference, nothing)


def test_a_worse_count_is_refused(reference):
    scores = np.array([0.9, 0.4, 0.1])  # one of two products is below the threshold
    with pytest.raises(UserError, match="count MAE on the validation images is 0.5000; expected 0"):
        compare(reference, found_in("a.jpg", BOXES, scores), precision="int8")


def test_calibration_images_are_evenly_spaced():
    chosen = deploying.calibration_images(range(100))
    assert len(chosen) == openvino_model.CALIBRATION_IMAGES == 32
    assert chosen[:3] == [0, 3, 6] and chosen[-1] == 96
    assert deploying.calibration_images([7]) == [7]
