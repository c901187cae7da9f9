"""tiles.py: where tiles lie, which boxes a border cuts, and what many tiles find together."""

import numpy as np
import pytest
import scipy.ndimage

from shelfdet.core import boxes
from shelfdet.inference import tiling


@pytest.mark.parametrize(
    "count, size_wh", [(1, (100, 80)), (2, (901, 640)), (3, (640, 853)), (4, (5, 3))]
)
def test_tiles_are_of_one_size_cover_the_image_and_overlap(count, size_wh):
    pixels = np.arange(size_wh[0] * size_wh[1] * 3, dtype=np.int64).reshape(
        size_wh[1], size_wh[0], 3
    )
    found = tiling.cut(pixels, count)
    assert len(found) == count**2 and len({tile.pixels.shape for tile in found}) == 1
    seen = np.zeros(pixels.shape[:2], dtype=int)
    for tile in found:
        left, top, right, bottom = tile.box_xyxy
        np.testing.assert_array_equal(tile.pixels, pixels[top:bottom, left:right])
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    if count == 2 and min(size_wh) > 100:  # by hand: 2 x tile - 0.2 x tile is the side
        assert found[0].pixels.shape[:2] == (int(np.ceil(640 / 1.8)), int(np.ceil(901 / 1.8)))
        assert found[0].box_xyxy[2] - found[1].box_xyxy[0] == pytest.approx(0.2 * 501, abs=2)


def test_a_box_that_an_inner_border_cuts_is_left_out_and_one_at_the_images_own_border_stays():
    tile = tiling.Tile(
        None, (0, 50, 100, 150)
    )  # of an image of 200 x 150: its left and lower borders are the image's
    given = np.array(
        [
            [0, 60, 20, 90],
            [30, 50, 50, 90],
            [80, 60, 100, 90],
            [30, 120, 50, 150],
            [30, 60, 50, 90],
        ],
        dtype=float,
    )
    assert tiling.whole(given, tile, (200, 150)).tolist() == [True, False, False, True, True]


def test_merging_is_object_detections_own_suppression(monkeypatch):
    from object_detection.utils import np_box_list, np_box_list_ops

    random = np.random.RandomState(0)
    corners = random.uniform(0, 90, (300, 2))
    given = np.hstack([corners, corners + random.uniform(5, 30, (300, 2))])
    scores = random.permutation(300) / 300.0
    listed = np_box_list.BoxList(given[:, [1, 0, 3, 2]])
    listed.add_field("scores", scores)
    expected = np_box_list_ops.non_max_suppression(
        listed, max_output_size=300, iou_threshold=tiling.SAME
    )
    monkeypatch.setattr(tiling, "COVERED", np.inf)
    np.testing.assert_array_equal(
        scores[tiling.merged(given, scores, np.ones(300))], expected.get_field("scores")
    )
    assert len(tiling.merged(given, scores, np.arange(300))) == 300, (
        "boxes of different classes are different things"
    )
    assert tiling.merged(np.zeros((0, 4)), np.zeros(0), np.zeros(0)).tolist() == []


def test_a_box_across_two_better_ones_goes():
    left, right, across, lower = [0, 0, 40, 80], [40, 0, 80, 80], [20, 0, 60, 80], [0, 70, 40, 150]
    given = np.array([across, left, right, lower], dtype=float)
    assert tiling.merged(given, np.array([0.6, 0.9, 0.8, 0.7]), np.ones(4)).tolist() == [1, 2, 3]
    assert tiling.merged(given, np.array([0.6, 0.9, 0.5, 0.7]), np.ones(4)).tolist() == [
        1,
        3,
        0,
        2,
    ], "half of it is not enough"
    assert len(tiling.merged(given, np.array([0.6, 0.9, 0.8, 0.7]), np.array([2, 1, 1, 1]))) == 4


def bright(pixels):
    """Stands in for a network: the outlines of the bright parts, as far as this tile shows them."""
    parts = scipy.ndimage.find_objects(scipy.ndimage.label(pixels[:, :, 0] > 128)[0])
    found_xyxy = np.array(
        [[across.start, down.start, across.stop, down.stop] for down, across in parts], dtype=float
    ).reshape(-1, 4)
    return (
        boxes.to_normalised_yxyx(found_xyxy, pixels.shape[1::-1]),
        np.full(len(parts), 0.5),
        np.ones(len(parts), dtype=int),
    )


@pytest.mark.parametrize("count", [2, 3])
def test_every_product_comes_back_once_and_whole_be_it_small_or_larger_than_the_overlap(count):
    pixels = np.zeros((600, 900, 3), dtype=np.uint8)
    products = [(x, y, x + 30, y + 40) for x in range(10, 860, 41) for y in range(5, 500, 53)] + [
        (100, 535, 700, 590)
    ]
    for xmin, ymin, xmax, ymax in products:
        pixels[ymin:ymax, xmin:xmax] = 255
    boxes_yxyx, scores, class_ids = tiling.detect(bright, pixels, count)
    found = boxes.from_normalised_yxyx(boxes_yxyx, (900, 600))
    assert sorted(map(tuple, found.round().astype(int).tolist())) == sorted(products)
    assert scores.tolist() == [0.5] * len(products) and class_ids.tolist() == [1] * len(products)
