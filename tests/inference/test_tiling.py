"""Where tiles are, which boxes a tile's border cuts, and how the detections of tiles are merged."""

import numpy as np
import pytest
import scipy.ndimage

from shelfdet.core import boxes
from shelfdet.core import tiles as tiles_module
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
    _, rows = tiling.merge(boxes_xyxy, scores, np.ones(300), nms_iou)
    np.testing.assert_array_equal(scores[rows], expected.get_field("scores"))


def test_boxes_of_different_classes_are_not_merged():
    boxes_xyxy = np.array([[0, 0, 10, 10]] * 3, dtype=float)
    _, rows = tiling.merge(boxes_xyxy, np.ones(3), np.arange(3), NMS_IOU)
    assert rows.tolist() == [0, 1, 2]


def test_no_boxes_are_merged_to_none():
    merged_xyxy, rows = tiling.merge(np.zeros((0, 4)), np.zeros(0), np.zeros(0), NMS_IOU)
    assert (merged_xyxy.shape, rows.tolist()) == ((0, 4), [])


def test_a_kept_box_is_the_mean_of_those_it_replaces_by_score_and_iou():
    # The second shares 80 of 120 px with the first, IoU 2/3, the third 60 of 140, IoU 3/7.
    boxes_xyxy = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]], dtype=float)
    scores = np.array([0.9, 0.6, 0.3])
    merged_xyxy, rows = tiling.merge(boxes_xyxy, scores, np.ones(3), NMS_IOU)
    shift = 0.6 * 2 / 3 * 2 / (0.9 + 0.6 * 2 / 3)
    np.testing.assert_allclose(merged_xyxy, [[shift, 0, 10 + shift, 10], [4, 0, 14, 10]])
    assert rows.tolist() == [0, 2]
    merged_xyxy, _ = tiling.merge(boxes_xyxy, scores, np.array([1, 2, 1]), NMS_IOU)
    np.testing.assert_array_equal(merged_xyxy, boxes_xyxy, "of different classes: as they are")


def test_boxes_without_area_or_score_are_merged():
    boxes_xyxy = np.array([[5, 5, 5, 5], [0, 0, 10, 10], [0, 0, 10, 10]], dtype=float)
    merged_xyxy, rows = tiling.merge(boxes_xyxy, np.array([0.9, 0, 0]), np.ones(3), NMS_IOU)
    np.testing.assert_array_equal(merged_xyxy, [[5, 5, 5, 5], [0, 0, 10, 10]])
    assert rows.tolist() == [0, 1]


def test_a_box_across_two_better_ones_is_dropped():
    left, right = [0, 0, 40, 80], [40, 0, 80, 80]
    across, lower = [20, 0, 60, 80], [0, 70, 40, 150]
    boxes_xyxy = np.array([across, left, right, lower], dtype=float)
    one_class = np.ones(4)

    def merge(scores, class_ids):
        return tiling.merge(boxes_xyxy, np.array(scores), class_ids, NMS_IOU)[1].tolist()

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


class SizedDetector:
    """``detect_bright_parts`` that is certain of products of one width in pixels of its input."""

    def __init__(self, wanted_px):
        self.wanted_px = wanted_px
        self.runs = 0

    def __call__(self, pixels):
        self.runs += 1
        boxes_yxyx, _, class_ids = detect_bright_parts(pixels)
        widths = (boxes_yxyx[:, 3] - boxes_yxyx[:, 1]) * 100  # of an input of 100 px
        scores = np.minimum(widths, self.wanted_px) / np.maximum(widths, self.wanted_px)
        return boxes_yxyx, scores, class_ids


def shelf(product_wh, gap=40):
    """An image of 900 x 600 px with rows of products, and their boxes."""
    width, height = product_wh
    pixels = np.zeros((600, 900, 3), dtype=np.uint8)
    products = [
        (x, y, x + width, y + height)
        for x in range(gap, 900 - width - gap, width + gap)
        for y in range(gap, 600 - height - gap, height + gap)
    ]
    for xmin, ymin, xmax, ymax in products:
        pixels[ymin:ymax, xmin:xmax] = 255
    return pixels, products


@pytest.mark.parametrize(
    "width, count, runs",
    [
        (90, 1, 1 + 4),  # 10 of 100 px of the whole image: tiles find fewer
        (50, 2, 1 + 4 + 9),  # 10 px in 2 x 2 tiles, 14 in 3 x 3
        (24, 4, 1 + 4 + 9 + 16 + 25),  # 9 px in 4 x 4 tiles, 11 in 5 x 5
        # 3 px in the whole image and still only 9 in 8 x 8 tiles, which are the most
        (13, tiles_module.MOST_TILES, sum(n**2 for n in range(1, tiles_module.MOST_TILES + 1))),
    ],
)
def test_the_number_of_tiles_is_that_of_the_most_products(width, count, runs):
    pixels, products = shelf((width, width))
    network = SizedDetector(10)
    found, best = tiling.detect_in_best_tiles(network, pixels, network(pixels), NMS_IOU)
    assert (best, network.runs) == (count, runs)
    found_xyxy = boxes.from_normalised_yxyx(found[0], (900, 600)).round().astype(int)
    assert sorted(map(tuple, found_xyxy.tolist())) == sorted(products)


def test_products_that_only_one_more_tile_finds_are_found_too():
    pixels, products = shelf((50, 50))
    pixels[500:] = 0
    small = [(x, 520, x + 30, 560) for x in range(20, 860, 50)]
    for xmin, ymin, xmax, ymax in small:
        pixels[ymin:ymax, xmin:xmax] = 255

    def run_network(tile):
        boxes_yxyx, scores, class_ids = SizedDetector(10)(tile)
        kept = scores > 0.65  # 30 px are 6 of 100 in 2 x 2 tiles, 9 in 3 x 3
        return boxes_yxyx[kept], scores[kept], class_ids[kept]

    found, best = tiling.detect_in_best_tiles(run_network, pixels, run_network(pixels), NMS_IOU)
    assert best == 2
    found_xyxy = boxes.from_normalised_yxyx(found[0], (900, 600)).round().astype(int)
    assert set(small) <= set(map(tuple, found_xyxy.tolist()))


def test_where_nothing_is_found_the_whole_image_stays():
    network = SizedDetector(10)
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    found, best = tiling.detect_in_best_tiles(network, pixels, network(pixels), NMS_IOU)
    assert (len(found[1]), best, network.runs) == (0, 1, 1 + 4)
