"""Registration of two label sets, on shelves that are made up, so that map and noise are known."""

import numpy as np
import pytest

from experiments import registration
from shelfdet.data import labels

# A mild view from the side: parallel lines meet far away.
VIEW = np.array([[1.1, 0.03, 20.0], [-0.02, 0.95, 40.0], [4e-5, -2e-5, 1.0]])


def shelf(rows=3, columns=9):
    """A grid of products of about 60 x 90 pixels with gaps, each of a slightly different size."""
    random = np.random.RandomState(0)
    corners = np.array(
        [(20 + 75 * column, 30 + 140 * row) for row in range(rows) for column in range(columns)],
        dtype=float,
    )
    corners += random.uniform(-6, 6, corners.shape)
    return np.hstack([corners, corners + (60, 90) + random.uniform(-5, 5, corners.shape)])


def shifted(boxes_xyxy, seed):
    """The boxes, each moved by normal noise of 2 pixels."""
    shift = np.random.RandomState(seed).normal(0, 2, (len(boxes_xyxy), 2))
    return boxes_xyxy + np.hstack([shift, shift])


def test_the_fit_finds_the_homography():
    points = np.random.RandomState(1).uniform(0, 800, (12, 2))
    homography = registration.fit_homography(points, registration.map_points(VIEW, points))
    np.testing.assert_allclose(homography / homography[2, 2], VIEW, rtol=1e-6, atol=1e-9)


def test_points_are_mapped_as_worked_out_by_hand():
    # (2, 4) under [[1, 0, 3], [0, 2, 0], [0, 0.25, 1]]: (2 + 3, 8) / (1 + 1)
    homography = np.array([[1, 0, 3], [0, 2, 0], [0, 0.25, 1]])
    mapped = registration.map_points(homography, np.array([[2.0, 4.0]]))
    np.testing.assert_allclose(mapped, [[2.5, 4]])


def test_boxes_are_assigned_to_their_counterparts_in_any_order():
    first = shelf()
    second = registration.map_boxes(VIEW, first)
    order = np.random.RandomState(2).permutation(len(first))
    found = registration.register(first, second[order])
    # The fit uses the boxes' centres, and a homography does not map the centre of a box to exactly
    # the centre of the mapped box.
    assert np.abs(found.mapped_xyxy - found.second_xyxy).max() < 0.5
    assert np.abs(found.leave_one_out_xyxy - found.second_xyxy).max() < 0.7
    assert sorted(map(tuple, found.second_xyxy)) == sorted(map(tuple, second))


@pytest.mark.parametrize(
    "first, second",
    [
        (shelf(), shelf()[:-1]),
        (shelf(1, 9), shelf(1, 9)),
        (shelf(1, 1).repeat(12, axis=0), shelf(3, 4)),
        (shelf(3, 4), shelf(1, 1).repeat(12, axis=0)),
        (np.zeros((0, 4)), np.zeros((0, 4))),
    ],
    ids=["different number", "too few", "first in one place", "second in one place", "none"],
)
def test_boxes_that_do_not_correspond_one_to_one_are_left_out(first, second):
    assert registration.register(first, second) is None


@pytest.mark.parametrize("slope", [0, 0.2])
def test_a_single_row_determines_no_homography_and_is_left_out(slope):
    for seed in range(20):
        first = shelf(1, 14)
        first[:, [1, 3]] += slope * first[:, :1]
        assert registration.register(first, shifted(first, seed)) is None


def test_shelves_with_a_moved_product_are_left_out():
    moved = shelf()
    moved[3] += (500, 300, 500, 300)
    assert registration.register(shelf(), moved) is None


def test_the_noise_is_between_the_two_fits():
    """With noise of 2 pixels, the fit to all is too optimistic and leave-one-out too pessimistic.

    A homography of 8 parameters fitted to N points of 2 coordinates leaves a share of 1 - 8 / 2N of
    their variance; one fitted to the other points adds about as much.
    """
    variances = []
    for seed in range(40):
        second = shifted(shelf(rows=2, columns=8), seed)
        found = registration.register(shelf(rows=2, columns=8), second)
        variances.append(
            [
                np.var((first_xyxy - found.second_xyxy)[:, :2])
                for first_xyxy in (found.mapped_xyxy, found.leave_one_out_xyxy)
            ]
        )
    fitted_to_all, leave_one_out = np.mean(variances, axis=0)
    assert fitted_to_all == pytest.approx(4 * (1 - 8 / 32), rel=0.1)
    assert leave_one_out > 4 * 1.1


def test_pairs_are_of_one_shelf():
    names = (
        "C1_P01_N1_S3_1.JPG",
        "C1_P01_N1_S3_2.JPG",
        "C1_P01_N2_S3_1.JPG",
        "other.JPG",
    )
    images = [labelled(name, shelf()) for name in names]
    images.append(labelled("C1_P01_N1_S3_3.JPG", shelf()[:-2]))
    pairs, count = registration.find_pairs(images)
    assert count == 3
    (pair,) = pairs
    assert pair.first.filename == "C1_P01_N1_S3_1.JPG"
    assert pair.second.filename == "C1_P01_N1_S3_2.JPG"


def labelled(name, boxes_xyxy):
    return labels.LabelledImage(name, (900, 640), boxes_xyxy, ("product",) * len(boxes_xyxy))
