"""Where tiles are, which boxes a tile's border cuts, and how the detections of tiles are merged."""

import numpy as np
import pytest
import scipy.ndimage

from shelfdet.core import boxes
from shelfdet.inference import tiling

NMS_IOU = 0.45


@pytest.mark.parametrize(
    "count, size_wh", [(1, (100, 80)), (2, (901, 640)), (3, (640, 853)), (4, (5, 3))]
)
def test_tiles_are_of_one_size_and_cover_the_image(count, size_wh):
    width, height = size_wh
    pixels = np.arange(width * height * 3, dtype=np.int64).reshape(height, width, 3)
    tiles = tiling.cut_tiles(pixels, count)
    assert len(tiles) == count**2
    assert len({tile.pixels.shape for tile in tiles}) == 1
    times_covered = np.zeros((height, width), dtype=int)
    for tile in tiles:
        left, top, right, bottom = tile.box_xyxy
        np.testing.assert_array_equal(tile.pixels, pixels[top:bottom, left:right])
        times_covered[top:bottom, left:right] += 1
    assert times_covered.min() >= 1


def test_neighbouring_tiles_overlap_by_a_fifth():
    tiles = tiling.cut_tiles(np.zeros((640, 901, 3), dtype=np.uint8), 2)
    # By hand: two tiles less the overlap of a fifth of one make up the side of 901.
    assert tiles[0].pixels.shape[:2] == (int(np.ceil(640 / 1.8)), int(np.ceil(901 / 1.8)))
    overlap = tiles[0].box_xyxy[2] - tiles[1].box_xyxy[0]
    assert overlap == pytest.approx(0.2 * 501, abs=2)


def test_boxes_cut_by_an_inner_border_are_dropped_and_those_at_the_images_border_are_kept():
    # The tile's left and lower borders are those of the image of 200 x 150.
    tile = tiling.Tile(None, (0, 50, 100, 150))
    at_left_border = [0, 60, 20, 90]
    cut_at_top = [30, 50, 50, 90]
    cut_at_right = [80, 60, 100, 90]
    at_lower_border = [30, 120, 50, 150]
    inside = [30, 60, 50, 90]
    boxes_xyxy = np.array(
        [at_left_border, cut_at_top, cut_at_right, at_lower_border, inside], dtype=float
    )
    kept = tiling.not_cut_by_tile(boxes_xyxy, tile, (200, 150))
    assert kept.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("nms_iou", [0.3, NMS_IOU])
def test_merging_equals_object_detections_nms(monkeypatch, nms_iou):
    from object_detection.utils import np_box_list, np_box_list_ops

    random = np.random.RandomState(0)
    corners = random.uniform(0, 90, (300, 2))
    boxes_xyxy = np.hstack([corners, corners + random.uniform(5, 30, (300, 2))])
    scores = random.permutation(300) / 300.0
    box_list = np_box_list.BoxList(boxes_xyxy[:, [1, 0, 3, 2]])
    box_list.add_field("scores", scores)
    expected = np_box_list_ops.non_max_suppression(
        box_list, max_output_size=300, iou_threshold=nms_iou
    )
    monkeypatch.setattr(tiling, "MAX_COVERED_SHARE", np.inf)  # NMS alone
    rows = tiling.merge(boxes_xyxy, scores, np.ones(300), nms_iou)
    np.testing.assert_array_equal(scores[rows], expected.get_field("scores"))


def test_boxes_of_different_classes_are_not_merged():
    boxes_xyxy = np.array([[0, 0, 10, 10]] * 3, dtype=float)
    assert tiling.merge(boxes_xyxy, np.ones(3), np.arange(3), NMS_IOU).tolist() == [0, 1, 2]


def test_no_boxes_are_merged_to_none():
    assert tiling.merge(np.zeros((0, 4)), np.zeros(0), np.zeros(0), NMS_IOU).tolist() == []


def test_a_box_across_two_better_ones_is_dropped():
    left, right = [0, 0, 40, 80], [40, 0, 80, 80]
    across, lower = [20, 0, 60, 80], [0, 70, 40, 150]
    boxes_xyxy = np.array([across, left, right, lower], dtype=float)
    one_class = np.ones(4)

    def merge(scores, class_ids):
        return tiling.merge(boxes_xyxy, np.array(scores), class_ids, NMS_IOU).tolist()

    assert merge([0.6, 0.9, 0.8, 0.7], one_class) == [1, 2, 3]
    half_covered = merge([0.6, 0.9, 0.5, 0.7], one_class)
    assert half_covered == [1, 3, 0, 2], "half of the box is on a better one: not enough"
    assert len(merge([0.6, 0.9, 0.8, 0.7], np.array([2, 1, 1, 1]))) == 4, "of another class"


def detect_bright_parts(pixels):
    """A detector for tests: the bounding boxes of the bright parts of what it runs on."""
    parts = scipy.ndimage.find_objects(scipy.ndimage.label(pixels[:, :, 0] > 128)[0])
    corners = [[columns.start, rows.start, columns.stop, rows.stop] for rows, columns in parts]
    found_xyxy = np.array(corners, dtype=float).reshape(-1, 4)
    boxes_yxyx = boxes.to_normalised_yxyx(found_xyxy, pixels.shape[1::-1])
    return boxes_yxyx, np.full(len(parts), 0.5), np.ones(len(parts), dtype=int)


@pytest.mark.parametrize("count", [2, 3])
def test_every_product_is_detected_once_and_whole_also_one_larger_than_the_overlap(count):
    pixels = np.zeros((600, 900, 3), dtype=np.uint8)
    small = [(x, y, x + 30, y + 40) for x in range(10, 860, 41) for y in range(5, 500, 53)]
    large = (100, 535, 700, 590)
    products = small + [large]
    for xmin, ymin, xmax, ymax in products:
        pixels[ymin:ymax, xmin:xmax] = 255
    boxes_yxyx, scores, class_ids = tiling.detect(detect_bright_parts, pixels, count, NMS_IOU)
    found = boxes.from_normalised_yxyx(boxes_yxyx, (900, 600)).round().astype(int)
    assert sorted(map(tuple, found.tolist())) == sorted(products)
    assert scores.tolist() == [0.5] * len(products)
    assert class_ids.tolist() == [1] * len(products)
