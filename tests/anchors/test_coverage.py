"""coverage.py against a slow, obvious reference and against cases worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet.anchors import anchors, coverage
from shelfdet.core import boxes

IMAGE_WH = (64, 64)
GRIDS_WH = [(4, 4), (2, 2)]
# 16 x 16 px in 16 px cells, 32 x 32 px in 32 px cells
LAYERS = anchors.ssd_layers(GRIDS_WH, IMAGE_WH, [0.25, 0.5], 1.0)


def slow_iou(box, anchor):
    """IoU of two boxes, one number at a time."""
    shared = max(0, min(box[2], anchor[2]) - max(box[0], anchor[0])) * max(
        0, min(box[3], anchor[3]) - max(box[1], anchor[1])
    )
    union = (
        (box[2] - box[0]) * (box[3] - box[1])
        + (anchor[2] - anchor[0]) * (anchor[3] - anchor[1])
        - shared
    )
    return shared / union if union > 0 else 0.0


def slow_match(iou, matched, unmatched, force):
    """argmax_matcher in loops: iou is a list of rows (boxes) of columns (anchors)."""
    columns = len(iou[0])
    result = []
    for column in range(columns):
        best = max(range(len(iou)), key=lambda row: (iou[row][column], -row))
        if iou[best][column] >= matched:
            result.append(best)
        elif iou[best][column] >= unmatched:
            result.append(coverage.IGNORED)
        else:
            result.append(coverage.BACKGROUND)
    if force:
        for row in reversed(range(len(iou))):
            result[max(range(columns), key=lambda column: (iou[row][column], -column))] = row
    return result


def test_without_layers_the_best_iou_is_0():
    best_iou, _ = coverage.best_iou([[0, 0, 1, 1]], [])
    assert best_iou.tolist() == [0]


@pytest.mark.parametrize(
    "box, iou, layer",
    [
        ([0, 0, 16, 16], 1, 0),  # a cell of the first layer
        ([0, 0, 32, 32], 1, 1),  # a cell of the second
        # on a corner: 64 / 448 with the first layer, wholly inside one of the second
        ([8, 8, 24, 24], Fraction(256, 1024), 1),
        ([0, 0, 16, 8], Fraction(1, 2), 0),  # half a cell
        ([-100, -100, 164, 164], Fraction(32 * 32, 264 * 264), 1),  # larger than the image
        ([5, 5, 5, 5], 0, 0),  # no area
        ([70, 70, 80, 80], 0, 0),  # outside
    ],
)
def test_best_iou_worked_out_by_hand(box, iou, layer):
    found, index = coverage.best_iou([box], LAYERS)
    assert found[0] == pytest.approx(float(iou), abs=1e-12)
    assert index[0] == layer


coordinate = st.floats(-20, 90, allow_nan=False, width=32)


@given(
    st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6),
    st.floats(0.02, 1.5),
    st.floats(0.1, 5),
)
@settings(max_examples=60, deadline=None)
def test_best_iou_equals_the_slow_reference(corners, scale, ratio):
    # degenerate ones too
    boxes_xyxy = [
        (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in corners
    ]
    layers = anchors.ssd_layers([(4, 3), (2, 1)], (64, 48), [scale, 0.3], ratio)
    tiled, _ = anchors.tile(layers)
    expected = [max(slow_iou(box, anchor) for anchor in tiled.tolist()) for box in boxes_xyxy]
    assert coverage.best_iou(np.array(boxes_xyxy).reshape(-1, 4), layers)[0] == pytest.approx(
        expected, abs=1e-9
    )


@given(st.integers(0, 5), st.integers(1, 6), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_match_equals_the_slow_reference_ties_included(rows, columns, force, random):
    iou = np.array(
        [
            [random.choice([0.0, 0.3, 0.4, 0.5, 0.5, 0.9]) for _ in range(columns)]
            for _ in range(rows)
        ]
    ).reshape(rows, columns)
    matcher = coverage.Matcher(0.5, 0.4, force, True)
    if rows:
        expected = slow_match(iou.tolist(), 0.5, 0.4, force)
    else:
        expected = [coverage.BACKGROUND] * columns
    assert coverage.match(iou, matcher).tolist() == expected


def test_of_two_boxes_with_the_same_best_anchor_the_first_row_gets_it_not_the_higher_iou():
    iou = np.array([[0.55, 0.1], [0.8, 0.2]])
    # Row 1 has the higher IoU with column 0, and its IoU with column 1 is under the threshold: no
    # anchor learns row 1.
    assert coverage.match(iou).tolist() == [0, coverage.BACKGROUND]


def test_a_forced_match_overrides_a_threshold_match():
    # Column 1 reaches the threshold with row 0, but it is the best anchor of row 1.
    iou = np.array([[0.9, 0.6], [0.0, 0.1]])
    assert coverage.match(iou).tolist() == [0, 1]


def test_matcher_fields():
    iou = np.array([[0.45, 0.6, 0.1]])
    usual = coverage.Matcher(0.5, 0.4, force=False)
    swapped = coverage.Matcher(0.5, 0.4, force=False, negatives_lower=False)
    without_threshold = coverage.Matcher(None, None, force=False)
    ignored, background = coverage.IGNORED, coverage.BACKGROUND
    assert coverage.match(iou, usual).tolist() == [ignored, 0, background]
    assert coverage.match(iou, swapped).tolist() == [background, 0, ignored]
    assert coverage.match(iou, without_threshold).tolist() == [0, 0, 0]


def test_coverage_of_two_products_in_one_cell():
    tiled, index = anchors.tile(LAYERS)
    # The anchor of the first cell is the best of both (IoU 3/4 and 1) and goes to row 0; no other
    # anchor reaches 0.5 with row 1.
    covered = coverage.measure([np.array([[0, 0, 16, 12], [0, 0, 16, 16]])], tiled, index, IMAGE_WH)
    assert covered.best_iou == pytest.approx([0.75, 1])
    assert covered.collided.tolist() == [False, True]
    assert covered.unmatched.tolist() == [False, True]
    assert covered.positives.tolist() == [1, 0]
    assert covered.forced_only.tolist() == [False, False]


def test_coverage_counts_boxes_that_only_the_forced_match_serves_and_names_their_image():
    tiled, index = anchors.tile(LAYERS)
    covered = coverage.measure(
        [np.zeros((0, 4)), np.array([[0, 0, 4, 4], [32, 32, 64, 64]])], tiled, index, IMAGE_WH
    )
    assert covered.image_index.tolist() == [1, 1]
    assert covered.best_iou == pytest.approx([16 / 256, 1])
    assert covered.layer.tolist() == [0, 1]
    assert covered.forced_only.tolist() == [True, False]
    assert covered.positives.tolist() == [1, 1]


def test_of_two_small_products_in_one_cell_one_is_forced_and_the_other_unmatched():
    tiled, index = anchors.tile(LAYERS)
    # Each shares 4 x 4 of the first cell's 16 x 16 pixels; the forced match can give the anchor of
    # that cell to only one of them.
    boxes_by_image = [np.array([[0, 0, 4, 4], [4, 4, 8, 8]])]
    covered = coverage.measure(boxes_by_image, tiled, index, IMAGE_WH)
    assert covered.best_iou == pytest.approx([16 / 256, 16 / 256])
    assert covered.forced_only.tolist() == [True, False]
    assert covered.collided.tolist() == covered.unmatched.tolist() == [False, True]
    assert covered.positives.tolist() == [1, 0]
    unforced = coverage.measure(
        boxes_by_image, tiled, index, IMAGE_WH, coverage.Matcher(force=False)
    )
    assert not unforced.forced_only.any()
    assert not unforced.collided.any()
    assert unforced.unmatched.all()


pixel = st.integers(-4, 68)


@given(
    st.lists(
        st.tuples(pixel, pixel, st.integers(0, 24), st.integers(0, 24)), min_size=1, max_size=12
    ),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_coverage_of_crowded_and_degenerate_boxes_equals_the_slow_reference(corners, force):
    boxes_xyxy = np.array(
        [(x, y, x + width, y + height) for x, y, width, height in corners], dtype=float
    )
    tiled, index = anchors.tile(LAYERS)
    covered = coverage.measure([boxes_xyxy], tiled, index, IMAGE_WH, coverage.Matcher(force=force))
    iou = coverage.similarity(boxes_xyxy, tiled, IMAGE_WH).tolist()
    matches = slow_match(iou, 0.5, 0.5, force)
    for row, values in enumerate(iou):
        best = max(range(len(values)), key=lambda column: (values[column], -column))
        assert covered.positives[row] == matches.count(row)
        assert covered.unmatched[row] == (row not in matches)
        assert covered.collided[row] == (matches[best] not in (row, coverage.BACKGROUND))
        assert covered.forced_only[row] == (force and values[best] < 0.5 and matches[best] == row)
    assert not (
        covered.forced_only & (covered.collided | covered.unmatched | (covered.best_iou >= 0.5))
    ).any()


@pytest.mark.parametrize("boxes_by_image", [[], [np.zeros((0, 4))]])
def test_coverage_without_boxes(boxes_by_image):
    covered = coverage.measure(boxes_by_image, *anchors.tile(LAYERS), IMAGE_WH)
    assert all(len(values) == 0 for values in covered)
    assert np.isnan(coverage.shares(covered.best_iou)).all()


def test_a_box_without_area_is_forced_to_the_first_anchor_as_in_object_detection():
    tiled, index = anchors.tile(LAYERS)
    covered = coverage.measure([np.array([[20, 20, 20, 40]])], tiled, index, IMAGE_WH)
    assert covered.best_iou.tolist() == [0]
    assert covered.forced_only.tolist() == [True]
    assert covered.positives.tolist() == [1]


def test_similarity_equals_boxes_iou():
    random = np.random.RandomState(0)
    low = random.uniform(0, 50, (30, 2))
    boxes_xyxy = np.hstack([low, low + random.uniform(0, 30, (30, 2))])
    tiled, _ = anchors.tile(LAYERS)
    assert coverage.similarity(boxes_xyxy, tiled, IMAGE_WH) == pytest.approx(
        boxes.iou(boxes_xyxy, tiled), abs=1e-6
    )
