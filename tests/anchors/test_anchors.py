"""anchors.py against a slow, obvious reference and cases worked out by hand; search.py against a planted optimum."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet.anchors import anchors, search
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
        value = iou[best][column]
        result.append(
            best
            if value >= matched
            else anchors.IGNORED
            if value >= unmatched
            else anchors.BACKGROUND
        )
    if force:
        for row in reversed(range(len(iou))):
            result[max(range(columns), key=lambda column: (iou[row][column], -column))] = row
    return result


def test_ssd_layers_are_cells_and_sizes_worked_out_by_hand():
    (layer,) = anchors.ssd_layers([(4, 2)], (64, 32), [0.25], 4.0)
    # The scale is of the shorter side, 32: area 8 x 8, ratio 4 makes it 16 x 4.
    assert layer == anchors.Layer((4, 2), (16, 16), (8, 8), (16, 4))
    tiled, index = anchors.tile([layer])
    assert tiled[:2].tolist() == [[0, 6, 16, 10], [16, 6, 32, 10]]  # x fastest
    assert tiled[4].tolist() == [0, 22, 16, 26]
    assert index.tolist() == [0] * 8


def test_tile_orders_layers_one_after_the_other():
    tiled, index = anchors.tile(LAYERS)
    assert len(tiled) == 16 + 4
    assert index.tolist() == [0] * 16 + [1] * 4
    assert tiled[16].tolist() == [0, 0, 32, 32]


def test_no_layers_lay_no_anchors():
    tiled, index = anchors.tile([])
    assert tiled.shape == (0, 4) and index.shape == (0,)
    assert anchors.best_iou([[0, 0, 1, 1]], [])[0].tolist() == [0]


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
    found, index = anchors.best_iou([box], LAYERS)
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
    assert anchors.best_iou(np.array(boxes_xyxy).reshape(-1, 4), layers)[0] == pytest.approx(
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
    matcher = anchors.Matcher(0.5, 0.4, force, True)
    expected = slow_match(iou.tolist(), 0.5, 0.4, force) if rows else [anchors.BACKGROUND] * columns
    assert anchors.match(iou, matcher).tolist() == expected


def test_two_boxes_that_force_one_anchor_the_lower_row_wins_not_the_higher_iou():
    iou = np.array([[0.55, 0.1], [0.8, 0.2]])
    # Row 1 has the better IoU with column 0, and column 1 is under the threshold: row 1 is left with nothing.
    assert anchors.match(iou).tolist() == [0, anchors.BACKGROUND]


def test_a_forced_match_overrides_a_threshold_match():
    iou = np.array([[0.9, 0.6], [0.0, 0.1]])
    assert anchors.match(iou).tolist() == [
        0,
        1,
    ]  # column 1 met row 0 at 0.6, but row 1 has no better one


def test_matcher_fields():
    iou = np.array([[0.45, 0.6, 0.1]])
    assert anchors.match(iou, anchors.Matcher(0.5, 0.4, False, True)).tolist() == [
        anchors.IGNORED,
        0,
        anchors.BACKGROUND,
    ]
    assert anchors.match(iou, anchors.Matcher(0.5, 0.4, False, False)).tolist() == [
        anchors.BACKGROUND,
        0,
        anchors.IGNORED,
    ]
    assert anchors.match(iou, anchors.Matcher(None, None, False, True)).tolist() == [0, 0, 0]


def test_coverage_of_two_products_in_one_cell():
    tiled, index = anchors.tile(LAYERS)
    # Both fit the first cell best (IoU 3/4 and 1); nothing else reaches 0.5 for the second one, which is the lower
    # row's victim.
    covered = anchors.coverage([np.array([[0, 0, 16, 12], [0, 0, 16, 16]])], tiled, index, IMAGE_WH)
    assert covered.best_iou == pytest.approx([0.75, 1])
    assert covered.lost.tolist() == [False, True]
    assert covered.unserved.tolist() == [False, True]
    assert covered.positives.tolist() == [1, 0]
    assert covered.forced.tolist() == [False, False]


def test_coverage_counts_what_only_the_forced_match_reaches_and_names_its_image():
    tiled, index = anchors.tile(LAYERS)
    covered = anchors.coverage(
        [np.zeros((0, 4)), np.array([[0, 0, 4, 4], [32, 32, 64, 64]])], tiled, index, IMAGE_WH
    )
    assert covered.images.tolist() == [1, 1]
    assert covered.best_iou == pytest.approx([16 / 256, 1])
    assert covered.layer.tolist() == [0, 1]
    assert covered.forced.tolist() == [True, False]
    assert covered.positives.tolist() == [1, 1]


def test_coverage_of_two_small_products_in_one_cell_forces_one_and_leaves_the_other():
    tiled, index = anchors.tile(LAYERS)
    # Each shares 4 x 4 of the first cell's 16 x 16 pixels; the forced match can give that cell to one alone.
    pictures = [np.array([[0, 0, 4, 4], [4, 4, 8, 8]])]
    covered = anchors.coverage(pictures, tiled, index, IMAGE_WH)
    assert covered.best_iou == pytest.approx([16 / 256, 16 / 256])
    assert covered.forced.tolist() == [True, False]
    assert covered.lost.tolist() == covered.unserved.tolist() == [False, True]
    assert covered.positives.tolist() == [1, 0]
    unforced = anchors.coverage(pictures, tiled, index, IMAGE_WH, anchors.Matcher(force=False))
    assert not unforced.forced.any() and not unforced.lost.any() and unforced.unserved.all()


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
    covered = anchors.coverage([boxes_xyxy], tiled, index, IMAGE_WH, anchors.Matcher(force=force))
    iou = anchors.similarity(boxes_xyxy, tiled, IMAGE_WH).tolist()
    matches = slow_match(iou, 0.5, 0.5, force)
    for row, values in enumerate(iou):
        best = max(range(len(values)), key=lambda column: (values[column], -column))
        assert covered.positives[row] == matches.count(row)
        assert covered.unserved[row] == (row not in matches)
        assert covered.lost[row] == (matches[best] not in (row, anchors.BACKGROUND))
        assert covered.forced[row] == (force and values[best] < 0.5 and matches[best] == row)
    assert not (
        covered.forced & (covered.lost | covered.unserved | (covered.best_iou >= 0.5))
    ).any()


@pytest.mark.parametrize("images", [[], [np.zeros((0, 4))]])
def test_coverage_of_nothing(pictures):
    covered = anchors.coverage(pictures, *anchors.tile(LAYERS), IMAGE_WH)
    assert all(len(column) == 0 for column in covered)
    assert np.isnan(anchors.shares(covered.best_iou)).all()


def test_a_box_without_area_is_forced_on_the_first_anchor_as_in_object_detection():
    tiled, index = anchors.tile(LAYERS)
    covered = anchors.coverage([np.array([[20, 20, 20, 40]])], tiled, index, IMAGE_WH)
    assert (
        covered.best_iou.tolist() == [0]
        and covered.forced.tolist() == [True]
        and covered.positives.tolist() == [1]
    )


def test_similarity_equals_boxes_iou():
    random = np.random.RandomState(0)
    low = random.uniform(0, 50, (30, 2))
    boxes_xyxy = np.hstack([low, low + random.uniform(0, 30, (30, 2))])
    tiled, _ = anchors.tile(LAYERS)
    assert anchors.similarity(boxes_xyxy, tiled, IMAGE_WH) == pytest.approx(
        boxes.iou(boxes_xyxy, tiled), abs=1e-6
    )


def planted(sizes, image_wh=(256, 256), grids_wh=((16, 16), (8, 8))):
    """Boxes of the given sizes (one for each layer) in the middle of every third cell of its layer."""
    layers = [
        anchors.Layer(
            grid_wh,
            *[(side / grid_wh[0] / part,) * 2 for part, side in ((1, 256), (2, 256))],
            anchor_wh,
        )
        for grid_wh, anchor_wh in zip(grids_wh, sizes)
    ]
    return np.concatenate([anchors.tile([layer])[0][::3] for layer in layers])


def test_the_search_finds_a_planted_optimum_for_ssd():
    ratio = 0.5
    boxes_xyxy = planted([(size * ratio**0.5, size / ratio**0.5) for size in (20, 60)])
    advice = search.ssd(boxes_xyxy, [(16, 16), (8, 8)], (256, 256))
    assert advice.sizes == pytest.approx([20 / 256, 60 / 256], rel=0.02)
    assert advice.ratios == pytest.approx([ratio, ratio], rel=0.02)
    assert advice.best_iou.min() > 0.95


def test_the_search_finds_a_planted_optimum_for_the_flexible_grid():
    boxes_xyxy = planted([(30, 15), (40, 90)])
    advice = search.flexible(boxes_xyxy, [(16, 16), (8, 8)], (256, 256))
    assert advice.sizes == pytest.approx([(30 * 15) ** 0.5, (40 * 90) ** 0.5], rel=0.03)
    assert advice.ratios == pytest.approx([2, 4 / 9], rel=0.03)


def test_the_search_on_one_layer_beats_every_point_of_a_grid():
    random = np.random.RandomState(1)
    low = random.uniform(0, 200, (150, 2))
    boxes_xyxy = np.hstack([low, low + random.lognormal(3.4, 0.3, (150, 2))])
    advice = search.ssd(boxes_xyxy, [(16, 16)], (256, 256))
    reached = anchors.shares(advice.best_iou, [0.5])[0]
    tried = [
        anchors.shares(
            anchors.best_iou(
                boxes_xyxy, anchors.ssd_layers([(16, 16)], (256, 256), [scale], ratio)
            )[0],
            [0.5],
        )[0]
        for scale, ratio in itertools.product(
            np.geomspace(0.05, 0.4, 25), np.geomspace(0.4, 2.5, 15)
        )
    ]
    assert reached >= max(tried) - 0.01


def test_the_search_is_the_same_for_the_same_seed():
    boxes_xyxy = planted([(20, 30), (50, 60)])
    first, second = (
        search.ssd(boxes_xyxy, [(16, 16), (8, 8)], (256, 256), seed=7) for _ in range(2)
    )
    assert first.sizes == second.sizes and first.ratios == second.ratios


@pytest.mark.parametrize("boxes_xyxy", [np.zeros((0, 4)), np.array([[3.0, 3, 3, 9]])])
def test_the_search_has_an_answer_without_boxes(boxes_xyxy):
    advice = search.ssd(boxes_xyxy, [(16, 16)], (256, 256))
    assert advice.sizes == [0.1] and advice.ratios == [1]


def test_the_search_works_for_a_single_box():
    advice = search.flexible(np.array([[10.0, 10, 40, 70]]), [(16, 16)], (256, 256))
    assert advice.best_iou[0] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_flexible_grid_is_never_advised_below_ssd(seed):
    random = np.random.RandomState(seed)
    low = random.uniform(0, 200, (60, 2))
    boxes_xyxy = np.hstack([low, low + random.lognormal(3.2, 0.4, (60, 2))])
    ssd = search.ssd(boxes_xyxy, [(16, 16), (8, 8)], (256, 256))
    flexible = search.flexible(boxes_xyxy, [(16, 16), (8, 8)], (256, 256), shared=ssd)
    assert anchors.shares(flexible.best_iou, [0.5]) >= anchors.shares(ssd.best_iou, [0.5])


def test_the_flexible_grid_takes_the_shared_advice_where_its_own_search_ends_lower(monkeypatch):
    boxes_xyxy = planted([(20, 40), (45, 90)])
    grids_wh, image_wh = [(16, 16), (8, 8)], (256, 256)
    ssd = search.ssd(boxes_xyxy, grids_wh, image_wh)
    monkeypatch.setattr(search, "_search", lambda *arguments: [1.0, 1.0, 1.0, 1.0])
    flexible = search.flexible(boxes_xyxy, grids_wh, image_wh, shared=ssd)
    assert flexible.sizes == pytest.approx([scale * 256 for scale in ssd.sizes], abs=0.005)
    assert flexible.ratios == ssd.ratios


def test_no_flexible_grid_where_strides_are_no_even_number_of_pixels():
    assert search.flexible(np.array([[10.0, 10, 40, 70]]), [(19, 19)], (300, 300)) is None
