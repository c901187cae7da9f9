"""The confusion matrix, and errors of class by kind, against answers by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_images import BOX, EMPTY, FAR, HALF, found, labelled
from scored_scenes import scenes

from shelfdet.evaluation import breakdowns, confusion, matching, metrics

POORLY_LOCALISED = (0, 0, 10, 3)  # IoU 0.3 with BOX


def match_classes(truth, detections):
    """Matches of one image, of ground truth (class, box) and detections (score, class, box)."""
    return matching.match(
        [labelled("a.jpg", [box for _, box in truth], [name for name, _ in truth])],
        [
            found(
                "a.jpg",
                [(score, *box) for score, _, box in detections],
                [name for _, name, _ in detections],
            )
        ],
    )


def kinds(matches):
    return [matching.KINDS[kind] for image in matches for kind in image.kinds]


def test_a_detection_where_a_product_of_another_class_is():
    matches = match_classes(
        [("tea", BOX), ("milk", FAR)],
        [
            (0.9, "milk", HALF),  # IoU 0.5 with the tea
            (0.8, "milk", POORLY_LOCALISED),
            (0.7, "tea", EMPTY),
            (0.6, "milk", FAR),
        ],
    )
    assert kinds(matches) == [
        "classification",
        "class and localization",
        "background",
        "true positive",
    ]
    assert list(matches[0].truth_index) == [0, -1, -1, 1]
    assert matches[0].iou == pytest.approx([0.5, 0.3, 0, 1])


def test_a_neighbour_of_the_own_class_does_not_hide_the_wrong_class():
    # The detection of milk is on the tea, and overlaps the milk beside it by an IoU of 0.25.
    (image,) = match_classes(
        [("tea", BOX), ("milk", (6, 0, 16, 10))], [(0.9, "milk", BOX), (0.8, "tea", BOX)]
    )
    assert kinds([image]) == ["classification", "true positive"]


def test_what_errors_of_class_cost():
    matches = match_classes(
        [("tea", BOX), ("milk", FAR)],
        [(0.9, "milk", BOX), (0.8, "milk", POORLY_LOCALISED), (0.7, "milk", FAR)],
    )
    # AP50 of tea is 0; of milk 1/3, its only true positive being the third detection.
    assert metrics.summary(matches, None)["mAP"] == pytest.approx(1 / 6)
    found_kinds = breakdowns.error_kinds(matches, 0.5)
    # With the first as tea: tea 1, milk 1/2. Without the second: tea 0, milk 1/2.
    assert found_kinds["classification"] == (1, pytest.approx(3 / 4 - 1 / 6))
    assert found_kinds["class and localization"] == (1, pytest.approx(1 / 4 - 1 / 6))
    assert found_kinds["background"] == (0, 0)
    # The tea is covered by a classification error, so it is not missed as well.
    assert found_kinds["missed"].mAP_cost == 0


def test_a_wrong_class_on_a_product_that_is_found_too_is_removed_at_its_cost():
    matches = match_classes(
        [("tea", BOX), ("milk", FAR)],
        [(0.9, "milk", BOX), (0.8, "tea", BOX), (0.7, "milk", FAR)],
    )
    # As tea it is the product's first detection; the second then goes, and nothing is lost.
    assert breakdowns.error_kinds(matches, 0.5)["classification"] == (1, pytest.approx(1 / 4))


def test_one_class_has_no_errors_of_class():
    matches = match_classes([("tea", BOX)], [(0.9, "tea", FAR)])
    assert list(breakdowns.error_kinds(matches, 0.5)) == [
        "missed",
        "background",
        "localization",
        "duplicate",
    ]


def test_the_matrix_by_hand():
    shifted = (1, 0, 11, 10)
    matches = match_classes(
        [("tea", BOX), ("milk", FAR), ("milk", EMPTY)],
        [
            (0.9, "cola", shifted),  # on the tea, which its own class has
            (0.8, "tea", BOX),
            (0.7, "tea", FAR),
            (0.6, "cola", FAR),  # the milk there is taken by the tea above
            (0.3, "milk", EMPTY),  # below the threshold
        ],
    )
    matrix = confusion.confusion_matrix(matches, 0.5)
    assert matrix.classes == ["cola", "milk", "tea"]
    assert matrix.counts.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert matrix.missed.tolist() == [0, 1, 0]
    assert matrix.background.tolist() == [2, 0, 0]
    assert confusion.most_confused(matrix) == [("milk", "tea", 1)]
    lower = confusion.confusion_matrix(matches, 0.3)
    assert (lower.counts[1, 1], lower.missed.sum()) == (1, 0)
    restored = confusion.from_figures(confusion.as_figures(matrix))
    assert all(np.array_equal(one, other) for one, other in zip(restored, matrix))


def test_a_product_that_is_labelled_twice_is_a_true_positive_once():
    double = [("tea", (0, 0, 20, 10))] * 2
    # Both detections overlap the first label most, the first by exactly a half.
    matches = match_classes(double, [(0.9, "tea", BOX), (0.8, "tea", (0, 0, 20, 10))])
    matrix = confusion.confusion_matrix(matches, 0.5)
    assert matrix.counts.tolist() == [[1]]
    assert (matrix.missed.tolist(), matrix.background.tolist()) == ([1], [1])


@settings(max_examples=60, deadline=None)
@given(
    scenes(tied=True, labels=st.sampled_from(["product", "price tag", "bag"])),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)
def test_the_matrix_adds_up_to_the_figures_of_each_class(scene, threshold):
    truth, detections = scene
    names = {name for image in truth for name in image.classes}
    if not names & {name for image in detections for name in image.classes}:
        return
    matches = matching.match(truth, detections)
    matrix = confusion.confusion_matrix(matches, threshold)
    rows = breakdowns.by_class(matches, threshold)
    assert list(rows) == matrix.classes
    for place, name in enumerate(matrix.classes):
        row = rows[name]
        assert matrix.counts[place, place] == row["TP"]
        assert matrix.counts[:, place].sum() + matrix.background[place] == row["TP"] + row["FP"]
        assert matrix.counts[place].sum() + matrix.missed[place] == row["boxes"]
