"""search.py: the search against planted optima and a grid; the comment that states a coverage."""

import itertools

import numpy as np
import pytest

from shelfdet.anchors import anchors, coverage, search

IMAGE_WH = (256, 256)
GRIDS_WH = [(16, 16), (8, 8)]


def planted(sizes_wh):
    """Boxes of the given size (one for each grid) in the centre of every third cell."""
    boxes_xyxy = []
    for grid_wh, size_wh in zip(GRIDS_WH, sizes_wh):
        stride = IMAGE_WH[0] / grid_wh[0]
        layer = anchors.Layer(grid_wh, (stride, stride), (stride / 2, stride / 2), size_wh)
        all_xyxy, _ = anchors.tile([layer])
        boxes_xyxy.append(all_xyxy[::3])
    return np.concatenate(boxes_xyxy)


def share_covered(boxes_xyxy, scale, aspect_ratio):
    layers = anchors.ssd_layers(GRIDS_WH[:1], IMAGE_WH, [scale], aspect_ratio)
    best_iou, _ = coverage.best_iou(boxes_xyxy, layers)
    return coverage.shares(best_iou, [0.5])[0]


def test_the_search_finds_a_planted_optimum():
    ratio = 0.5
    boxes_xyxy = planted([(size * ratio**0.5, size / ratio**0.5) for size in (20, 60)])
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH, IMAGE_WH)
    assert advice.scales == pytest.approx([20 / 256, 60 / 256], rel=0.02)
    assert advice.aspect_ratio == pytest.approx(ratio, rel=0.02)
    assert advice.best_iou.min() > 0.95


def test_the_search_on_one_layer_beats_every_point_of_a_grid():
    random = np.random.RandomState(1)
    low = random.uniform(0, 200, (150, 2))
    boxes_xyxy = np.hstack([low, low + random.lognormal(3.4, 0.3, (150, 2))])
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH[:1], IMAGE_WH)
    grid = itertools.product(np.geomspace(0.05, 0.4, 25), np.geomspace(0.4, 2.5, 15))
    best_of_grid = max(share_covered(boxes_xyxy, scale, ratio) for scale, ratio in grid)
    assert coverage.shares(advice.best_iou, [0.5])[0] >= best_of_grid


def test_a_higher_mean_iou_never_outweighs_a_covered_box():
    # Boxes of two sizes, which one anchor cannot fit both. An anchor of the size of the many small
    # ones has the higher mean IoU; one between covers all.
    layer = anchors.ssd_layers(GRIDS_WH[:1], IMAGE_WH, [0.1], 1.0)[0]
    many, _ = anchors.tile([layer._replace(anchor_wh=(30, 30))])
    few, _ = anchors.tile([layer._replace(anchor_wh=(58, 58))])
    boxes_xyxy = np.concatenate([many[:140], few[100:102]])
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH[:1], IMAGE_WH)
    assert advice.best_iou.min() >= 0.5


def test_known_anchors_are_kept_where_the_search_finds_no_better(monkeypatch):
    boxes_xyxy = planted([(20, 20), (60, 60)])
    monkeypatch.setattr(search, "_search", lambda *_: search.Shape([0.04, 0.1], 1.0))
    known = search.Shape([20 / 256, 60 / 256], 1.0)
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH, IMAGE_WH, known=known)
    assert (advice.scales, advice.aspect_ratio) == known
    assert advice.best_iou.min() == pytest.approx(1)


def test_better_anchors_replace_the_known_ones():
    boxes_xyxy = planted([(20, 20), (60, 60)])
    known = search.Shape([0.05, 0.1], 1.0)
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH, IMAGE_WH, known=known)
    assert advice.scales == pytest.approx([20 / 256, 60 / 256], rel=0.02)


def test_the_shape_of_anchors_is_what_a_config_states():
    layers = anchors.ssd_layers(GRIDS_WH, (256, 192), [0.0912, 0.12345], 0.55)
    assert search.shape_of(layers, (256, 192)) == search.Shape([0.0912, 0.12345], 0.55)
    other = layers[1]._replace(anchor_wh=(30, 30))
    assert search.shape_of([layers[0], other], (256, 192)) is None


def test_the_same_seed_gives_the_same_anchors():
    boxes_xyxy = planted([(20, 30), (50, 60)])
    first = search.best_anchors(boxes_xyxy, GRIDS_WH, IMAGE_WH, seed=7)
    second = search.best_anchors(boxes_xyxy, GRIDS_WH, IMAGE_WH, seed=7)
    assert first.scales == second.scales
    assert first.aspect_ratio == second.aspect_ratio


@pytest.mark.parametrize("boxes_xyxy", [np.zeros((0, 4)), np.array([[3.0, 3, 3, 9]])])
def test_the_search_has_an_answer_without_boxes(boxes_xyxy):
    advice = search.best_anchors(boxes_xyxy, GRIDS_WH[:1], IMAGE_WH)
    assert advice.scales == [0.1]
    assert advice.aspect_ratio == 1


def test_the_search_works_for_a_single_box():
    advice = search.best_anchors(np.array([[10.0, 10, 40, 70]]), GRIDS_WH[:1], IMAGE_WH)
    assert advice.best_iou[0] > 0.5


def test_the_lines_state_the_coverage_that_they_reach():
    advice = search.best_anchors(planted([(20, 30), (50, 60)]), GRIDS_WH, IMAGE_WH)
    text = "\n".join(search.config_lines(advice))
    share = coverage.shares(advice.best_iou, [0.5])[0]
    assert search.stated_coverage(text) == [(round(share, 2), 0.5)]


@pytest.mark.parametrize(
    "text, stated",
    [
        ("# anchor coverage: 0.89 of the train boxes at IoU >= 0.5", [(0.89, 0.5)]),
        ("a: 1   # step 03. anchor coverage: 1.00 of the train boxes at IoU >= 0.4.", [(1.0, 0.4)]),
        ("# at 300 px the coverage is 0.62 at best", []),
    ],
)
def test_a_stated_coverage_is_found(text, stated):
    assert search.stated_coverage(text) == stated
