"""Intervals and comparisons, against answers that can be known beforehand."""

import numpy as np
import pytest
from scored_images import BOX, FAR, match

from shelfdet.evaluation import bootstrap, metrics


def random_matches(seed, noise, count=40):
    """Random images of five boxes, nine in ten found with an error of ``noise`` pixels."""
    random = np.random.RandomState(seed)
    images = []
    for number in range(count):
        corners = np.stack([np.arange(5) * 12.0, np.full(5, 10.0)], axis=1)
        truth = np.hstack([corners, corners + 10])
        is_found = random.rand(5) < 0.9
        boxes = truth[is_found] + random.randn(is_found.sum(), 4) * noise
        images.append((f"{number:03}.jpg", truth, list(zip(random.rand(len(boxes)), boxes))))
    return match(*images)


def test_intervals_repeat_with_the_seed_and_hold_the_figure():
    matches = random_matches(0, 1.5)
    first = bootstrap.intervals(matches, 0.2, resamples=200, seed=3)
    assert bootstrap.intervals(matches, 0.2, resamples=200, seed=3) == first
    assert bootstrap.intervals(matches, 0.2, resamples=200, seed=4) != first
    for name, value in metrics.summary(matches, 0.2).items():
        low, high = first[name]
        assert low < high
        if not name.endswith(("AP", "AP75")):
            assert low <= value <= high


def test_the_interval_of_recall_is_as_wide_as_theory_says():
    # 400 images with one box each, found with probability 0.8: the standard error of recall is
    # sqrt(0.8 * 0.2 / 400) = 0.02.
    is_found = np.random.RandomState(0).rand(400) < 0.8
    matches = match(
        *((f"{n:03}", [BOX], [(0.9, BOX)] if one else []) for n, one in enumerate(is_found))
    )
    low, high = bootstrap.intervals(matches, 0.5, resamples=1000)["recall"]
    assert (low + high) / 2 == pytest.approx(is_found.mean(), abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * 0.02, rel=0.15)


def test_intervals_of_equal_images_have_no_width():
    matches = match(*((str(n), [BOX, FAR], [(0.9, BOX)]) for n in range(5)))
    intervals = bootstrap.intervals(matches, 0.5, resamples=50)
    assert intervals["mAP"] == (0.5, 0.5)
    assert intervals["mean_count_error"] == (-1, -1)


def test_no_resamples_no_intervals():
    assert bootstrap.intervals(random_matches(0, 1, count=2), 0.5, resamples=0) == {}


def test_fewer_resamples_for_very_many_detections(monkeypatch):
    matches = random_matches(0, 1)
    detections = sum(len(image.scores) for image in matches)
    assert bootstrap.resamples_for(matches) == 1000
    assert bootstrap.resamples_for(matches, 5000) == 5000
    monkeypatch.setattr(bootstrap, "MOST_WORK", 300 * detections)
    assert bootstrap.resamples_for(matches) == 300
    monkeypatch.setattr(bootstrap, "MOST_WORK", 1)
    assert bootstrap.resamples_for(matches) == bootstrap.FEWEST_RESAMPLES
    assert bootstrap.resamples_for(matches, 10) == 10


def test_compare_is_paired():
    tight = random_matches(0, 0.3)
    loose = random_matches(0, 1.5)
    figure = bootstrap.compare(loose, tight, [0.2, 0.2], resamples=200)["AP"]
    low, high = figure.interval
    assert figure.difference == figure.second - figure.first
    assert 0 < low < figure.difference < high
    for figure in bootstrap.compare(tight, tight, [0.2, 0.2], resamples=20).values():
        assert figure.difference == 0
        assert figure.interval == (0, 0)
