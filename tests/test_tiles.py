"""tiles.py: where tiles lie, which boxes a border cuts, and what many tiles find together."""

import numpy as np
import pytest

from shelfdet import boxes, tiles


@pytest.mark.parametrize("count, size_wh", [(1, (100, 80)), (2, (901, 640)), (3, (640, 853)), (4, (5, 3))])
def test_tiles_are_of_one_size_cover_the_picture_and_overlap(count, size_wh):
    pixels = np.arange(size_wh[0] * size_wh[1] * 3, dtype=np.int64).reshape(size_wh[1], size_wh[0], 3)
    found = tiles.cut(pixels, count)
    assert len(found) == count ** 2 and len({tile.pixels.shape for tile in found}) == 1
    seen = np.zeros(pixels.shape[:2], dtype=int)
    for tile in found:
        left, top, right, bottom = tile.box_xyxy
        np.testing.assert_array_equal(tile.pixels, pixels[top:bottom, left:right])
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    if count == 2 and min(size_wh) > 100:          # by hand: 2 x tile - 0.2 x tile is the side
        assert found[0].pixels.shape[:2] == (int(np.ceil(640 / 1.8)), int(np.ceil(901 / 1.8)))
        assert found[0].box_xyxy[2] - found[1].box_xyxy[0] == pytest.approx(0.2 * 501, abs=2)


def test_a_box_that_an_inner_border_cuts_is_left_out_and_one_at_the_pictures_own_border_stays():
    tile = tiles.Tile(None, (0, 50, 100, 150))                      # of a picture of 200 x 150: its left and lower borders are the picture's
    given = np.array([[0, 60, 20, 90], [30, 50, 50, 90], [80, 60, 100, 90], [30, 120, 50, 150], [30, 60, 50, 90]], dtype=float)
    assert tiles.whole(given, tile, (200, 150)).tolist() == [True, False, False, True, True]


def test_merging_is_object_detections_own_suppression():
    from object_detection.utils import np_box_list, np_box_list_ops
    random = np.random.RandomState(0)
    corners = random.uniform(0, 90, (300, 2))
    given = np.hstack([corners, corners + random.uniform(5, 30, (300, 2))])
    scores = random.permutation(300) / 300.0
    listed = np_box_list.BoxList(given[:, [1, 0, 3, 2]])
    listed.add_field("scores", scores)
    expected = np_box_list_ops.non_max_suppression(listed, max_output_size=300, iou_threshold=tiles.SAME)
    np.testing.assert_array_equal(scores[tiles.merged(given, scores, np.ones(300))], expected.get_field("scores"))
    assert len(tiles.merged(given, scores, np.arange(300))) == 300, "boxes of different classes are different things"
    assert tiles.merged(np.zeros((0, 4)), np.zeros(0), np.zeros(0)).tolist() == []


def bright(pixels):
    """Stands in for a network: one box around each bright run of pixels along the middle row, as far as this tile shows it."""
    row = np.flatnonzero(np.diff(np.concatenate([[0], pixels[len(pixels) // 2, :, 0] > 128, [0]]).astype(int)))
    runs = [(start, stop) for start, stop in zip(row[::2], row[1::2])]
    found_xyxy = np.array([[start, 0, stop, pixels.shape[0]] for start, stop in runs], dtype=float).reshape(-1, 4)
    return boxes.to_normalised_yxyx(found_xyxy, pixels.shape[1::-1]), np.full(len(runs), 0.5), np.ones(len(runs), dtype=int)


def test_products_come_back_once_each_and_whole_in_the_whole_pictures_frame():
    pixels = np.zeros((90, 1000, 3), dtype=np.uint8)
    spans = [(start, start + 60) for start in range(20, 900, 90)]
    for start, stop in spans:
        pixels[:, start:stop] = 255
    boxes_yxyx, scores, class_ids = tiles.detect(bright, pixels, 2)
    found = boxes.from_normalised_yxyx(boxes_yxyx, (1000, 90))
    # Each run is as high as a tile, and so an inner border above or below cuts it: none stays. Given their own rows, all do.
    assert len(found) == len(scores) == len(class_ids) == 0
    boxes_yxyx, scores, class_ids = tiles.detect(lambda tile: narrowed(bright(tile)), pixels, 2)
    found = boxes.from_normalised_yxyx(boxes_yxyx, (1000, 90))
    assert sorted({(round(xmin), round(xmax)) for xmin, _, xmax, _ in found}) == spans
    assert scores.tolist() == [0.5] * len(found) and set(class_ids.tolist()) == {1}


def narrowed(found):
    boxes_yxyx, scores, class_ids = found
    return np.clip(boxes_yxyx, [0.4, 0, 0, 0], [1, 1, 0.6, 1]), scores, class_ids
