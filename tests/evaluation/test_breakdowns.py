"""Figures of parts of the images and boxes, and errors by kind, against answers by hand."""

import numpy as np
import pytest
from scored_images import BOX, EMPTY, FAR, match

from shelfdet.evaluation import breakdowns, matching

POORLY_LOCALISED = (0, 0, 10, 3)  # IoU 0.3 with BOX


def test_by_group_gives_the_figures_of_each_group():
    matches = match(
        ("a", [BOX], [(0.9, BOX)]),
        ("b", [BOX], []),
        ("c", [BOX], [(0.9, FAR)]),
    )
    rows = breakdowns.by_group(matches, 0.5, ["C2", "C1", "C1"])
    assert list(rows) == ["C1", "C2"]
    assert rows["C2"]["images"] == 1
    assert rows["C2"]["mAP"] == 1
    assert rows["C1"]["boxes"] == 2
    assert rows["C1"]["recall"] == 0
    assert rows["C1"]["mean_absolute_count_error"] == 0.5


def test_by_box_size_puts_every_box_in_one_third():
    images = []
    for side in (4, 6, 10, 12, 20, 30):
        box = (0, 0, side, side)
        elsewhere = (32, 32, 32 + side, 32 + side)
        images.append((f"{side:02}", [box], [(0.9, box), (0.8, elsewhere)]))
    rows = breakdowns.by_box_size(match(*images), 0.5)
    assert list(rows) == ["under 10 px", "10 to 20 px", "20 px and over"]
    for row in rows.values():
        assert (row["boxes"], row["precision"], row["recall"]) == (2, 0.5, 1)
        assert "mean_count_error" not in row


def test_by_box_shape_puts_every_box_in_one_fifth():
    images = []
    for width in (4, 8, 10, 12, 20):
        box = (0, 0, width, 10)
        images.append((f"{width:02}", [box], [(0.9, box)] if width < 20 else []))
    rows = breakdowns.by_box_shape(match(*images), 0.5)
    names = ["under 0.80", "0.80 to 1.00", "1.00 to 1.20", "1.20 to 2.00", "2.00 and over"]
    assert list(rows) == names
    assert [(row["boxes"], row["recall"]) for row in rows.values()] == [(1, 1)] * 4 + [(1, 0)]


def test_by_box_shape_of_boxes_of_one_shape_has_one_group_of_them():
    without_height = (30, 30, 40, 30)
    matches = match(("a", [BOX, FAR], [(0.9, BOX), (0.8, FAR), (0.7, without_height)]))
    rows = breakdowns.by_box_shape(matches, 0.5)
    (row,) = rows.values()
    assert list(rows) == ["1.00 and over"]
    assert (row["boxes"], row["recall"], row["precision"]) == (2, 1, pytest.approx(2 / 3))


def test_by_box_size_of_nothing():
    assert breakdowns.by_box_size(match(("a", [], [])), 0.5) == {}


def test_by_box_size_keeps_false_positives_of_sizes_without_ground_truth():
    # All ground-truth boxes have a side of 10, so "under 10 px" has the small false positive alone.
    matches = match(("a", [BOX, FAR], [(0.9, BOX), (0.8, (20, 20, 24, 24))]))
    rows = breakdowns.by_box_size(matches, 0.5)
    assert [(name, row["boxes"], row["precision"]) for name, row in rows.items()] == [
        ("under 10 px", 0, 0),
        ("10 px and over", 2, 1),
    ]
    assert np.isnan(rows["under 10 px"]["mAP"])


def test_a_poorly_localised_box_has_the_size_of_the_product_that_it_overlaps():
    # The detection is large, the ground-truth box that it overlaps is small.
    truth = [(0, 0, 4, 4), (20, 20, 30, 30), (40, 40, 60, 60)]
    rows = breakdowns.by_box_size(match(("a", truth, [(0.9, (0, 0, 12, 12))])), 0.5)
    precisions = [row["precision"] for row in rows.values()]
    assert precisions[0] == 0
    assert np.isnan(precisions[1:]).all()


def test_the_cost_of_missing_everything_is_all_of_map():
    with_background = match(("a", [BOX], [(0.9, FAR)]))
    assert breakdowns.error_kinds(with_background, 0.5)["missed"] == (1, 1)
    without_detections = match(("a", [BOX], []))
    assert breakdowns.error_kinds(without_detections, 0.5)["missed"] == (1, 1)
    without_truth = match(("a", [], [(0.9, FAR)]))
    assert np.isnan(breakdowns.error_kinds(without_truth, 0.5)["missed"].mAP_cost)


def test_cost_of_a_duplicate():
    # Rank 2 of BOX and FAR: precision 1 and 2/3, AP = 1/2 + 1/2 * 2/3 = 5/6; without it 1.
    matches = match(("a", [BOX, FAR], [(0.9, BOX), (0.8, BOX), (0.7, FAR)]))
    kinds = breakdowns.error_kinds(matches, 0.5)
    assert list(kinds) == ["missed", "background", "localization", "duplicate"]
    assert kinds["duplicate"] == (1, pytest.approx(1 / 6))
    assert kinds["background"] == (0, pytest.approx(0))


def test_cost_of_a_background_detection():
    matches = match(("a", [BOX, FAR], [(0.9, BOX), (0.8, EMPTY), (0.7, FAR)]))
    kinds = breakdowns.error_kinds(matches, 0.5)
    assert kinds["background"] == (1, pytest.approx(1 / 6))
    assert kinds["duplicate"] == (0, pytest.approx(0))


def test_cost_of_a_missed_product():
    # Recall ends at 1/2.
    kinds = breakdowns.error_kinds(match(("a", [BOX, FAR], [(0.9, BOX)])), 0.5)
    assert kinds["missed"] == (1, pytest.approx(1 / 2))


def test_a_poorly_localised_box_costs_as_localization_and_not_as_missed():
    # AP is 0 + 1/2 * 1/2; corrected 1.
    matches = match(("a", [BOX, FAR], [(0.9, POORLY_LOCALISED), (0.8, FAR)]))
    kinds = breakdowns.error_kinds(matches, 0.5)
    assert kinds["localization"] == (1, pytest.approx(3 / 4))
    # One false negative, but a detection overlaps it.
    assert kinds["missed"] == (1, pytest.approx(0))


def test_correcting_a_poorly_localised_box_removes_the_true_positive_after_it():
    matches = match(("a", [BOX], [(0.9, POORLY_LOCALISED), (0.8, BOX)]))
    kinds = breakdowns.error_kinds(matches, 0.5)
    assert kinds["localization"] == (1, pytest.approx(1 / 2))
    corrected = breakdowns._relocalized(matches[0])
    assert list(corrected.kinds) == [matching.TRUE_POSITIVE]
    assert list(corrected.scores) == [0.9]


def test_errors_count_from_the_threshold_on():
    matches = match(("a", [BOX], [(0.9, BOX), (0.4, BOX), (0.3, EMPTY)]))

    def numbers(threshold):
        kinds = breakdowns.error_kinds(matches, threshold)
        return [errors.number for errors in kinds.values()]

    assert numbers(0.5) == [0, 0, 0, 0]
    assert numbers(0.1) == [0, 1, 0, 1]
    assert numbers(None) == [None] * 4
