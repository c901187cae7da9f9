"""Arithmetic of boxes, with answers worked out by hand."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet.core import boxes

NUMBER = st.floats(-1e4, 1e4, width=32)
BOXES = st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=5)
SIZE = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


def test_areas():
    np.testing.assert_array_equal(
        boxes.areas([[0, 0, 2, 3], [1, 1, 1, 5], [4, 0, 2, 3], [4, 4, 2, 2]]), [6, 0, 0, 0]
    )


def test_no_boxes():
    assert boxes.areas([]).shape == (0,)
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.iou([[0, 0, 1, 1]], []).shape == (1, 0)
    assert boxes.clip([], (3, 4)).shape == (0, 4)
    assert boxes.scale([], (3, 4), (6, 8)).shape == (0, 4)
    assert boxes.to_normalised_yxyx([], (3, 4)).shape == (0, 4)
    assert boxes.from_normalised_yxyx([], (3, 4)).shape == (0, 4)


def test_iou_by_hand():
    a = [[0, 0, 4, 4], [0, 0, 2, 2]]
    b = [[2, 2, 6, 6], [0, 0, 4, 4], [4, 0, 8, 4], [1, 1, 1, 1], [3, 3, 1, 1]]
    np.testing.assert_allclose(
        boxes.iou(a, b), [[4 / 28, 1, 0, 0, 0], [0, 4 / 16, 0, 0, 0]], rtol=0, atol=1e-15
    )


def test_iou_of_boxes_without_area_is_0():
    np.testing.assert_array_equal(boxes.iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]), [[0]])


@settings(deadline=None, max_examples=50)
@given(a=BOXES, b=BOXES)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    iou = boxes.iou(a, b)
    np.testing.assert_array_equal(iou, boxes.iou(b, a).T)
    assert np.all((iou >= 0) & (iou <= 1))


@settings(deadline=None, max_examples=50)
@given(a=BOXES, b=BOXES)
def test_iou_is_that_of_object_detection(a, b):
    from object_detection.utils import np_box_ops

    a = with_area(a)
    b = with_area(b)
    np.testing.assert_allclose(boxes.iou(a, b), np_box_ops.iou(a, b), atol=1e-12)


def test_overlaps_by_hand():
    touching, wide, inside, apart = [4, 0, 6, 4], [0, 0, 4, 4], [1, 1, 2, 3], [20, 20, 30, 30]
    inverted, without_area = [3, 3, 1, 1], [2, 2, 2, 4]
    found = boxes.overlaps([touching, wide, inside, apart, inverted, without_area, wide])
    assert found.first.tolist() == [1, 1, 2]
    assert found.second.tolist() == [2, 6, 6]
    assert found.shared.tolist() == [2, 16, 2]
    assert [len(values) for values in boxes.overlaps([])] == [0, 0, 0]


@pytest.mark.parametrize("pairs_at_a_time", [1, 7, 10**6])
@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(*[st.integers(-9, 9)] * 4), max_size=12))
def test_overlaps_are_the_intersections_that_are_not_0(pairs_at_a_time, rows):
    all_shared = np.triu(boxes.intersections(rows, rows), k=1)
    expected = np.nonzero(all_shared)
    with mock.patch.object(boxes, "PAIRS_AT_A_TIME", pairs_at_a_time):
        first, second, shared = boxes.overlaps(rows)
    np.testing.assert_array_equal([first, second], expected)
    np.testing.assert_array_equal(shared, all_shared[expected])


def with_area(rows):
    kept = [box for box in rows if box[0] + 0.01 < box[2] and box[1] + 0.01 < box[3]]
    return np.array(kept).reshape(-1, 4)


def test_clip():
    np.testing.assert_array_equal(
        boxes.clip([[-1, 2, 30, 9.5], [40, 50, 60, 70]], (20, 9)), [[0, 2, 20, 9], [20, 9, 20, 9]]
    )


def test_arguments_are_not_changed():
    box = np.array([[-1.0, 2, 30, 9.5]])
    boxes.clip(box, (20, 9))
    boxes.scale(box, (1, 2), (3, 4))
    boxes.to_normalised_yxyx(box, (3, 4))
    np.testing.assert_array_equal(box, [[-1, 2, 30, 9.5]])


def test_scale_and_normalised_by_hand():
    np.testing.assert_array_equal(boxes.scale([[1, 2, 3, 4]], (10, 20), (20, 10)), [[2, 1, 6, 2]])
    np.testing.assert_array_equal(
        boxes.to_normalised_yxyx([[2, 5, 4, 15]], (8, 20)), [[0.25, 0.25, 0.75, 0.5]]
    )
    np.testing.assert_array_equal(
        boxes.from_normalised_yxyx([[0.25, 0.25, 0.75, 0.5]], (8, 20)), [[2, 5, 4, 15]]
    )


@settings(deadline=None, max_examples=50)
@given(size=SIZE, to=SIZE)
def test_a_box_that_ends_at_the_images_edge_still_does_after_scaling(size, to):
    np.testing.assert_array_equal(boxes.scale([[0, 0, *size]], size, to), [[0, 0, *to]])
    np.testing.assert_array_equal(boxes.to_normalised_yxyx([[0, 0, *size]], size), [[0, 0, 1, 1]])


@settings(deadline=None, max_examples=50)
@given(a=BOXES, size=SIZE)
def test_normalised_and_back(a, size):
    back = boxes.from_normalised_yxyx(boxes.to_normalised_yxyx(a, size), size)
    np.testing.assert_allclose(back, np.reshape(a, (-1, 4)), rtol=1e-12, atol=1e-12)


def test_duplicates_are_boxes_that_overlap_an_earlier_one_of_their_class():
    # 10 px wide. Moved by 2 px: IoU 8 / 12 = 0.67, over 0.6; by 2.5 px: 7.5 / 12.5 = 0.6, not over.
    base = [0.0, 0.0, 10.0, 10.0]
    moved_2 = [2.0, 0.0, 12.0, 10.0]
    moved_2_5 = [2.5, 0.0, 12.5, 10.0]
    elsewhere = [50.0, 0.0, 60.0, 10.0]
    assert boxes.duplicates([base, moved_2], ("a", "a")).tolist() == [False, True]
    assert boxes.duplicates([base, moved_2_5], ("a", "a")).tolist() == [False, False]
    assert boxes.duplicates([base, moved_2], ("a", "b")).tolist() == [False, False]
    several = boxes.duplicates([base, elsewhere, base, moved_2], ("a",) * 4)
    assert several.tolist() == [False, False, True, True]
    assert boxes.duplicates(np.zeros((0, 4)), ()).tolist() == []
