"""Intervals, breakdowns, costs of errors and comparisons, against answers that can be known beforehand."""

import numpy as np
import pytest

from shelfdet.data.detections import Detections
from shelfdet.evaluation import bootstrap, metrics

BOX, FAR, EMPTY = (0, 0, 10, 10), (40, 40, 50, 50), (20, 0, 30, 10)


def picture(name, truth, scored_boxes):
    """A ground truth and detections of one image; ``scored_boxes``: list of (score, box)."""
    boxes = np.array([box for _, box in scored_boxes], dtype=float).reshape(-1, 4)
    return (
        Detections(
            name,
            (64, 64),
            np.array(truth, dtype=float).reshape(-1, 4),
            None,
            ("product",) * len(truth),
        ),
        Detections(
            name,
            (64, 64),
            boxes,
            np.array([score for score, _ in scored_boxes], dtype=float),
            ("product",) * len(boxes),
        ),
    )


def match(*pictures):
    return metrics.match([truth for truth, _ in pictures], [found for _, found in pictures])


def shelf(seed, noise, count=40):
    """Matches of made images of five boxes each, found with an error of ``noise`` pixels."""
    random = np.random.RandomState(seed)
    pictures = []
    for number in range(count):
        low = np.stack([np.arange(5) * 12.0, np.full(5, 10.0)], axis=1)
        truth = np.hstack([low, low + 10])
        keep = random.rand(5) < 0.9
        found = truth[keep] + random.randn(keep.sum(), 4) * noise
        pictures.append(
            picture(f"{number:03}.jpg", truth, list(zip(random.rand(len(found)), found)))
        )
    return match(*pictures)


def test_summary_names_figures_in_order():
    figures = bootstrap.summary(match(picture("a", [BOX], [(0.9, BOX)])), 0.5)
    assert list(figures) == [
        "mAP",
        "AP",
        "AP75",
        "precision",
        "recall",
        "f1",
        "mean_absolute_count_error",
        "mean_count_error",
    ]
    assert list(figures.values()) == pytest.approx([1, 1, 1, 1, 1, 1, 0, 0])


def test_without_a_threshold_only_the_aps_are_defined():
    figures = bootstrap.summary(match(picture("a", [BOX], [(0.9, BOX)])), None)
    assert (
        figures["mAP"] == 1
        and np.isnan(figures["precision"])
        and np.isnan(figures["mean_count_error"])
    )
    assert bootstrap.tally_sums(match(picture("a", [BOX], [(0.9, BOX)])), None) == (
        None,
        None,
        None,
    )


def test_ap75_is_the_ap_at_075():
    assert metrics.COCO_IOUS[bootstrap.AP75] == pytest.approx(0.75)


def test_tally_sums():
    matches = match(picture("a", [BOX, FAR], [(0.9, BOX), (0.8, EMPTY), (0.3, FAR)]))
    assert bootstrap.tally_sums(matches, 0.5) == (1, 1, 1)


def test_bootstrap_repeats_and_holds_the_figure():
    matches = shelf(0, 1.5)
    first, second = (bootstrap.bootstrap(matches, 0.2, resamples=200, seed=3) for _ in range(2))
    assert first == second
    for name, value in bootstrap.summary(matches, 0.2).items():
        low, high = first[name]
        assert low < high
        if name in ("precision", "recall", "f1", "mean_absolute_count_error", "mean_count_error"):
            assert low <= value <= high
    assert bootstrap.bootstrap(matches, 0.2, resamples=200, seed=4) != first


def test_bootstrap_of_recall_is_as_wide_as_theory_says():
    # 400 images with one box each, found with probability 0.8: recall varies by sqrt(0.8 * 0.2 / 400) = 0.02.
    found = np.random.RandomState(0).rand(400) < 0.8
    matches = match(
        *(picture(f"{n:03}", [BOX], [(0.9, BOX)] if hit else []) for n, hit in enumerate(found))
    )
    low, high = bootstrap.bootstrap(matches, 0.5, resamples=1000)["recall"]
    assert (low + high) / 2 == pytest.approx(found.mean(), abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * 0.02, rel=0.15)


def test_bootstrap_of_images_that_are_all_alike_has_no_width():
    matches = match(*(picture(str(n), [BOX, FAR], [(0.9, BOX)]) for n in range(5)))
    intervals = bootstrap.bootstrap(matches, 0.5, resamples=50)
    assert intervals["mAP"] == (0.5, 0.5) and intervals["mean_count_error"] == (-1, -1)


def test_no_resamples_no_intervals():
    assert bootstrap.bootstrap(shelf(0, 1, count=2), 0.5, resamples=0) == {}


def test_fewer_resamples_for_very_many_detections(monkeypatch):
    matches = shelf(0, 1)
    assert bootstrap.resamples_for(matches) == 1000
    monkeypatch.setattr(bootstrap, "MOST_WORK", 300 * sum(len(image.scores) for image in matches))
    assert bootstrap.resamples_for(matches) == 300
    monkeypatch.setattr(bootstrap, "MOST_WORK", 1)
    assert bootstrap.resamples_for(matches) == bootstrap.FEWEST_RESAMPLES
    assert bootstrap.resamples_for(matches, 10) == 10
    monkeypatch.undo()
    assert bootstrap.resamples_for(matches, 5000) == 5000


def test_compare_is_paired():
    tight, loose = shelf(0, 0.3), shelf(0, 1.5)
    rows = bootstrap.compare(loose, tight, [0.2, 0.2], resamples=200)
    first, second, difference, (low, high) = rows["AP"]
    assert difference == second - first and 0 < low < difference < high
    same = bootstrap.compare(tight, tight, [0.2, 0.2], resamples=20)
    assert all(row[2] == 0 and row[3] == (0, 0) for row in same.values())


def test_by_group_is_the_summary_of_the_group():
    matches = match(
        picture("a", [BOX], [(0.9, BOX)]),
        picture("b", [BOX], []),
        picture("c", [BOX], [(0.9, FAR)]),
    )
    rows = bootstrap.by_group(matches, 0.5, ["C2", "C1", "C1"])
    assert list(rows) == ["C1", "C2"]
    assert rows["C2"]["images"] == 1 and rows["C2"]["mAP"] == 1
    assert (
        rows["C1"]["boxes"] == 2
        and rows["C1"]["recall"] == 0
        and rows["C1"]["mean_absolute_count_error"] == 0.5
    )


def test_by_box_size_puts_everything_in_one_third():
    sized = [(0, 0, side, side) for side in (4, 6, 10, 12, 20, 30)]
    pictures = [
        picture(str(box), [box], [(0.9, box), (0.8, tuple(32 + value for value in box))])
        for box in sized
    ]
    matches = match(*pictures)
    rows = bootstrap.by_box_size(matches, 0.5)
    assert list(rows) == ["under 10 px", "10 to 20 px", "20 px and over"]
    assert [row["boxes"] for row in rows.values()] == [2, 2, 2]
    assert all(row["precision"] == 0.5 and row["recall"] == 1 for row in rows.values())
    assert "mean_count_error" not in rows["under 10 px"]


def test_by_box_size_of_nothing():
    assert bootstrap.by_box_size(match(picture("a", [], [])), 0.5) == {}


def test_by_box_size_keeps_false_alarms_of_sizes_without_ground_truth():
    # All ground truths have a side of 10, so "under 10 px" has the small false alarm alone.
    matches = match(picture("a", [BOX, FAR], [(0.9, BOX), (0.8, (20, 20, 24, 24))]))
    rows = bootstrap.by_box_size(matches, 0.5)
    assert [(name, row["boxes"], row["precision"]) for name, row in rows.items()] == [
        ("under 10 px", 0, 0),
        ("10 px and over", 2, 1),
    ]
    assert np.isnan(rows["under 10 px"]["mAP"])


def test_cost_of_missing_everything_is_all_that_was_lost():
    assert bootstrap.error_kinds(match(picture("a", [BOX], [(0.9, FAR)])), 0.5)["missed"] == (1, 1)
    assert bootstrap.error_kinds(match(picture("a", [BOX], [])), 0.5)["missed"] == (1, 1)
    assert np.isnan(bootstrap.error_kinds(match(picture("a", [], [(0.9, FAR)])), 0.5)["missed"][1])


def test_a_badly_placed_box_counts_with_the_box_it_is_placed_around():
    # The detection is large, the ground truth around which it lies is small.
    matches = match(
        picture("a", [(0, 0, 4, 4), (20, 20, 30, 30), (40, 40, 60, 60)], [(0.9, (0, 0, 12, 12))])
    )
    rows = bootstrap.by_box_size(matches, 0.5)
    assert [row["precision"] for row in rows.values()][0] == 0
    assert all(np.isnan(row["precision"]) for row in list(rows.values())[1:])


def test_cost_of_errors_by_hand():
    # Duplicate at rank 2 of hits BOX, FAR: precision 1, 2/3; AP = 1/2 + 1/2 * 2/3 = 5/6; without it 1.
    matches = match(picture("a", [BOX, FAR], [(0.9, BOX), (0.8, BOX), (0.7, FAR)]))
    kinds = bootstrap.error_kinds(matches, 0.5)
    assert list(kinds) == ["missed", "background", "badly placed", "duplicate"]
    assert kinds["duplicate"] == (1, pytest.approx(1 / 6)) and kinds["background"] == (
        0,
        pytest.approx(0),
    )
    # The same with a background detection in its place.
    kinds = bootstrap.error_kinds(
        match(picture("a", [BOX, FAR], [(0.9, BOX), (0.8, EMPTY), (0.7, FAR)])), 0.5
    )
    assert kinds["background"] == (1, pytest.approx(1 / 6)) and kinds["duplicate"] == (
        0,
        pytest.approx(0),
    )
    # A missed one: recall ends at 1/2.
    kinds = bootstrap.error_kinds(match(picture("a", [BOX, FAR], [(0.9, BOX)])), 0.5)
    assert kinds["missed"] == (1, pytest.approx(1 / 2))


def test_a_badly_placed_box_is_no_missed_one_but_becomes_a_hit():
    # IoU of (0, 0, 10, 3) with BOX is 0.3. AP is 0 + 1/2 * 1/2; mended 1.
    matches = match(picture("a", [BOX, FAR], [(0.9, (0, 0, 10, 3)), (0.8, FAR)]))
    kinds = bootstrap.error_kinds(matches, 0.5)
    assert kinds["badly placed"] == (1, pytest.approx(3 / 4))
    assert kinds["missed"] == (
        1,
        pytest.approx(0),
    )  # one is not found, but it is the badly placed one's


def test_mending_a_badly_placed_box_takes_away_the_hit_that_comes_later():
    matches = match(picture("a", [BOX], [(0.9, (0, 0, 10, 3)), (0.8, BOX)]))
    assert bootstrap.error_kinds(matches, 0.5)["badly placed"] == (1, pytest.approx(1 / 2))
    mended = bootstrap._replaced(matches[0])
    assert list(mended.kinds) == [metrics.HIT] and list(mended.scores) == [0.9]


def test_errors_count_from_the_threshold_on():
    matches = match(picture("a", [BOX], [(0.9, BOX), (0.4, BOX), (0.3, EMPTY)]))
    assert [count for count, _ in bootstrap.error_kinds(matches, 0.5).values()] == [0, 0, 0, 0]
    assert [count for count, _ in bootstrap.error_kinds(matches, 0.1).values()] == [0, 1, 0, 1]
    assert [count for count, _ in bootstrap.error_kinds(matches, None).values()] == [None] * 4
