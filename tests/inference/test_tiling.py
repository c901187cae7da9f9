"""Where tiles are, which boxes a tile's border cuts, and how the detections of tiles are merged."""

import numpy as np
import pytest
import scipy.ndimage

from shelfdet.core import boxes, tiles
from shelfdet.inference import tiling

NMS_IOU = 0.45


@pytest.mark.parametrize(
    "columns, rows, size_wh",
    [(1, 1, (100, 80)), (2, 2, (901, 640)), (3, 2, (640, 853)), (1, 3, (640, 853)), (4, 4, (5, 3))],
)
def test_tiles_are_of_one_size_and_cover_the_image(columns, rows, size_wh):
    width, height = size_wh
    pixels = np.arange(width * height * 3, dtype=np.int64).reshape(height, width, 3)
    found = tiling.cut_tiles(pixels, tiles.Grid(columns, rows))
    assert len(found) == columns * rows
    assert len({tile.pixels.shape for tile in found}) == 1
    times_covered = np.zeros((height, width), dtype=int)
    for tile in found:
        left, top, right, bottom = tile.box_xyxy
        np.testing.assert_array_equal(tile.pixels, pixels[top:bottom, left:right])
        times_covered[top:bottom, left:right] += 1
    assert times_covered.min() >= 1


def test_neighbouring_tiles_overlap_by_a_fifth():
    found = tiling.cut_tiles(np.zeros((640, 901, 3), dtype=np.uint8), tiles.square(2))
    # By hand: two tiles less the overlap of a fifth of one make up the side of 901.
    assert found[0].pixels.shape[:2] == (int(np.ceil(640 / 1.8)), int(np.ceil(901 / 1.8)))
    overlap = found[0].box_xyxy[2] - found[1].box_xyxy[0]
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
    boxes_yxyx, scores, class_ids = tiling.detect(
        detect_bright_parts, pixels, tiles.square(count), NMS_IOU
    )
    found = boxes.from_normalised_yxyx(boxes_yxyx, (900, 600)).round().astype(int)
    assert sorted(map(tuple, found.tolist())) == sorted(products)
    assert scores.tolist() == [0.5] * len(products)
    assert class_ids.tolist() == [1] * len(products)


@pytest.mark.parametrize(
    "max_side, shapes",
    [
        (None, {(600, 500)}),  # 900 / 1.8 wide, and as high as the image
        (900, {(600, 500)}),
        (450, {(300, 450)}),  # the image would have 450 x 300 px
    ],
)
def test_each_side_of_a_tile_is_shrunk_to_that_of_the_image(max_side, shapes):
    seen = set()

    def run_network(pixels):
        seen.add(pixels.shape[:2])
        return detect_bright_parts(pixels)

    pixels = np.zeros((600, 900, 3), dtype=np.uint8)
    pixels[90:120, 30:60] = 255
    found = tiling.detect_in_tiles(run_network, pixels, tiles.Grid(2, 1), max_side)
    assert seen == shapes
    found_xyxy = boxes.from_normalised_yxyx(found[0], (900, 600))
    np.testing.assert_allclose(found_xyxy, [[30, 90, 60, 120]], atol=2)


class SizedDetector:
    """``detect_bright_parts`` that is certain of products of 10 x 10 px of its input of 100 x 100.

    The score falls with the logarithms of the ratios of both sides to 10.
    """

    def __init__(self, lowest_score=0.0):
        self.lowest_score = lowest_score
        self.runs = 0

    def __call__(self, pixels):
        self.runs += 1
        boxes_yxyx, _, class_ids = detect_bright_parts(pixels)
        sides = (boxes_yxyx[:, 2:] - boxes_yxyx[:, :2]) * 100
        scores = np.exp(-(np.log(sides / 10) ** 2).sum(axis=1))
        kept = scores > self.lowest_score
        return boxes_yxyx[kept], scores[kept], class_ids[kept]


def found_products(detections):
    """The boxes of ``shelf`` that were found, in its pixels."""
    found_xyxy = boxes.from_normalised_yxyx(detections[0], (900, 600)).round().astype(int)
    return set(map(tuple, found_xyxy.tolist()))


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
    "product_wh, grid, runs",
    [
        # In parts of 100 of the input, by hand: N tiles in a row make a product N - 0.2 (N - 1)
        # times as large. The last numbers are those of the flipped tiles of the best grids.
        # 10 x 10 in the whole image: tiles find fewer
        ((90, 60), (1, 1), 1 + 4),
        # 14 x 7 in the whole image, 26 x 12 in 2 x 2 tiles: 14 x 12 in 1 x 2 is not tried
        ((128, 40), (1, 1), 1 + 4),
        # 10 x 10 in 2 x 2 tiles, 14 x 14 in 3 x 3, 14 x 10 in 3 x 2
        ((50, 33), (2, 2), 1 + 4 + 9 + 6 + 6 + (4 + 6 + 6 + 9)),
        # Wide: 12 x 6 in 2 x 2 tiles, 17 x 9 in 3 x 3, then 12 x 9, 12 x 11 and 12 x 14
        ((60, 20), (2, 4), 1 + 4 + 9 + 6 + 6 + 8 + 10 + (8 + 6 + 10 + 4)),
        # Narrow: 5 x 17 in 2 x 2 tiles, 7 x 24 in 3 x 3, then 7 x 17, 9 x 17 and 11 x 17
        ((24, 55), (4, 2), 1 + 4 + 9 + 6 + 8 + 10 + 12 + (8 + 10 + 6)),
        # 1 x 1 in the whole image and still only 10 x 10 in 8 x 8 tiles, which are the most
        ((13, 9), (8, 8), sum(n**2 for n in range(1, 9)) + (8**2 + 7**2 + 6**2)),
    ],
)
def test_the_grid_of_tiles_is_that_of_the_most_products(product_wh, grid, runs):
    pixels, products = shelf(product_wh)
    network = SizedDetector()
    found, best = tiling.detect_in_best_tiles(network, pixels, network(pixels), NMS_IOU)
    assert (best, network.runs) == (grid, runs)
    assert found_products(found) == set(products)


@pytest.mark.parametrize(
    "product_wh, anchor_wh, grid, runs",
    [
        # 10 x 10 in the whole image: nearly as large as the anchor, or larger
        ((90, 60), 0.12, (1, 1), 1 + 4),
        # Smaller: 18 x 10 and 10 x 18 are tried, and merged, since they find more than LEAST_SHARE
        ((90, 60), 0.13, (1, 2), 1 + 4 + 2 + 2 + (1 + 2 + 2)),
        # 14 x 7 in the whole image, lower than the anchor: 14 x 12 in 1 x 2 tiles, which fit, then
        # 14 x 17
        ((128, 40), 0.1, (1, 2), 1 + 4 + 2 + 3 + (2 + 3)),
    ],
)
def test_products_smaller_than_the_anchor_are_looked_for_in_other_tiles_than_2_x_2(
    product_wh, anchor_wh, grid, runs
):
    pixels, products = shelf(product_wh)
    network = SizedDetector()
    found, best = tiling.detect_in_best_tiles(
        network, pixels, network(pixels), NMS_IOU, anchor_wh=(anchor_wh, anchor_wh)
    )
    assert (best, network.runs) == (grid, runs)
    assert found_products(found) == set(products)


@pytest.mark.parametrize("anchor_wh, grid", [(None, (2, 2)), ((0.12, 0.12), (1, 6))])
def test_the_size_of_the_found_products_leads_to_a_grid_that_no_neighbour_leads_to(anchor_wh, grid):
    """Of a network that finds parts of wide products in 2 x 2 tiles, and fewer in 2 x 3 or 1 x 2.

    Its products are 0.12 of the image's width and 0.024 of its height: 0.12 of a tile of 6 rows.
    """
    sizes_tried = []

    def run_network(pixels):
        height, width = pixels.shape[:2]
        sizes_tried.append((width, height))
        count = {(1000, 1000): 1, (556, 556): 10, (1000, 200): 20}.get((width, height), 0)
        tops = np.arange(count) / 25 + 0.1
        sides = np.array([24 / height, 120 / width])
        boxes_yxyx = np.stack([tops, tops * 0 + 0.3, tops + sides[0], tops * 0 + 0.3 + sides[1]], 1)
        return boxes_yxyx, np.full(count, 0.9), np.ones(count, int)

    pixels = np.zeros((1000, 1000, 3), dtype=np.uint8)
    _, best = tiling.detect_in_best_tiles(
        run_network, pixels, run_network(pixels), NMS_IOU, anchor_wh=anchor_wh
    )
    assert best == grid
    assert ((1000, 200) in sizes_tried) == (anchor_wh is not None)


def test_detections_without_area_do_not_say_how_large_products_are():
    def run_network(pixels):
        score = {(90, 90): 0.6, (50, 50): 0.7}.get(pixels.shape[:2], 0.1)
        return np.array([[0.5, 0.5, 0.5, 0.5]]), np.array([score]), np.ones(1, int)

    pixels = np.zeros((90, 90, 3), dtype=np.uint8)
    _, best = tiling.detect_in_best_tiles(
        run_network, pixels, run_network(pixels), NMS_IOU, anchor_wh=(0.1, 0.1)
    )
    assert best == (2, 2)


@pytest.mark.parametrize(
    "number, sides, score, grids",
    [
        (1, (0.1, 0.05), 0.9, [(2, 4)]),  # of 20: low; 4 rows make 0.0278 of the image 0.094
        (1, (0.1, 0.07), 0.9, []),  # not low enough
        (1, (0.1, 0.05), 0.4, []),  # not sure enough
        (1, (0.2, 0.1), 0.9, [(1, 2)]),  # wide
        (1, (0.2, 0.05), 0.9, [(1, 4)] * 2),  # low and wide
        (0, (0.1, 0.1), 0.9, []),
    ],
)
def test_products_of_another_size_than_most_have_grids_of_their_own(number, sides, score, grids):
    def found(sides, count, score):
        """Products of these (width, height) as shares of one of 2 x 2 tiles, in the image."""
        width, height = np.array(sides) / 1.8
        boxes_yxyx = np.tile([0.5, 0.5, 0.5 + height, 0.5 + width], (count, 1))
        return boxes_yxyx, np.full(count, score), np.ones(count, dtype=int)

    detections = tiling._together(found((0.1, 0.1), 20 - number, 0.9), found(sides, number, score))
    others = tiling._grids_of_other_sizes(detections, tiles.Grid(2, 2), (0.1, 0.1))
    assert others == grids
    few = tiling._together(detections, found((0.1, 0.1), 1, 0.9))  # less than OTHER_SHARE
    assert tiling._grids_of_other_sizes(few, tiles.Grid(2, 2), (0.1, 0.1)) == []


@pytest.mark.parametrize("other_share, is_merged", [(0.05, True), (2, False)])
def test_grids_of_other_sizes_are_merged(monkeypatch, other_share, is_merged):
    monkeypatch.setattr(tiling, "OTHER_SHARE", other_share)
    monkeypatch.setattr(tiling, "MERGED_GRIDS", 1)
    pixels, _ = shelf((50, 33))
    pixels[470:] = 0
    pixels[500:516, 200:250] = 255  # 10 x 4.8 in 2 x 2 tiles, 10 x 9.1 in 2 x 4
    pixels[500:516, 400:450] = 255
    pixels[500:516, 600:650] = 255
    network = SizedDetector()
    found, best = tiling.detect_in_best_tiles(
        network, pixels, network(pixels), NMS_IOU, anchor_wh=(0.1, 0.1)
    )
    assert best == (2, 2)
    low = found[0][:, 0] > 0.8
    # In 2 x 2 tiles they have exp(-log(4.8 / 10)**2) = 0.58.
    assert low.sum() == 3 and (found[1][low] > 0.7).all() == is_merged


def test_scores_are_multiplied_by_the_weights_of_their_places(monkeypatch):
    def by_place(found):
        weights = np.ones((len(found), 8, 8))
        weights[:, 6, 1] = 0.25  # the seventh row of cells from the top, the second from the left
        return weights

    monkeypatch.setattr(tiling, "_by_place", by_place)
    pixels, _ = shelf((50, 33))
    network = SizedDetector()
    (boxes_yxyx, scores, _), _ = tiling.detect_in_best_tiles(
        network, pixels, network(pixels), NMS_IOU
    )
    lowered = boxes_yxyx[scores < 0.5] * [600, 900, 600, 900]
    assert lowered == pytest.approx(np.array([[478, 130, 511, 180]]), abs=0.5)


def test_no_products_have_no_grids():
    nothing = np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int)
    assert tiling._grids_of_other_sizes(nothing, tiles.Grid(2, 2), (0.1, 0.1)) == []


@pytest.mark.parametrize("merged_grids, is_found", [(1, False), (3, True)])
def test_products_that_only_the_next_best_grids_find_are_found_too(
    monkeypatch, merged_grids, is_found
):
    monkeypatch.setattr(tiling, "MERGED_GRIDS", merged_grids)
    pixels, _ = shelf((50, 33))
    pixels[470:] = 0
    # 6 x 6 in 2 x 2 tiles, 9 x 6 in 3 x 2
    small = {(x, 520, x + 30, 540) for x in range(20, 860, 50)}
    for xmin, ymin, xmax, ymax in small:
        pixels[ymin:ymax, xmin:xmax] = 255
    network = SizedDetector(lowest_score=0.7)
    found, best = tiling.detect_in_best_tiles(network, pixels, network(pixels), NMS_IOU)
    assert best == (2, 2)
    assert found_products(found) & small == (small if is_found else set())


@pytest.mark.parametrize("small, is_found", [(6, False), (10, True)])
def test_tiles_add_products_where_the_whole_image_shows_the_most(small, is_found):
    pixels, products = shelf((90, 60))  # 10 x 10 in the whole image, 18 x 18 in 2 x 2 tiles
    pixels[400:] = 0
    large = {product for product in products if product[3] <= 400}
    # 10 x 10 in 2 x 2 tiles; 10 are more than LEAST_SHARE of the large ones.
    added = {(x, 500, x + 50, 533) for x in range(20, 20 + 60 * small, 60)}
    for xmin, ymin, xmax, ymax in added:
        pixels[ymin:ymax, xmin:xmax] = 255
    network = SizedDetector(lowest_score=0.8)
    found, best = tiling.detect_in_best_tiles(
        network, pixels, network(pixels), NMS_IOU, anchor_wh=(0.13, 0.13)
    )
    assert (best, len(large)) == ((2, 2) if is_found else tiles.WHOLE, 24)
    assert found_products(found) == large | (added if is_found else set())


def test_at_each_place_the_grid_that_finds_most_products_there_counts_most(monkeypatch):
    monkeypatch.setattr(tiling, "CELLS", 8)
    left, right = ([0.5, x, 0.6, x + 0.02] for x in (0.05, 0.9))  # [ymin, xmin, ymax, xmax]
    boxes_yxyx = np.array([left] * 4 + [right] * 4)

    def found(on_the_left, on_the_right):
        scores = np.repeat([on_the_left, on_the_right], 4)
        return boxes_yxyx, scores, np.ones(8, dtype=int)

    weights = tiling._by_place([found(0.9, 0.5), found(0.3, 0.6)])
    assert weights.shape == (2, 8, 8)
    # Four products of score s are 4 s**3 for certain: the weight is sqrt((0.3 / 0.9)**3).
    middle, far_left, far_right = 4, 0, 7  # a row, and columns
    assert weights[:, middle, far_left] == pytest.approx([1, 1 / 3**1.5])
    assert weights[:, middle, far_right] == pytest.approx([(5 / 6) ** 1.5, 1])
    # The cells around those of the boxes, and no others
    assert weights[1, middle - 1, 1] == pytest.approx(1 / 3**1.5)
    assert weights[1, middle, 2] == weights[1, middle + 2, far_left] == 1


def test_boxes_of_a_flipped_image_are_those_of_the_image():
    def run_network(pixels):
        assert pixels[0, :, 0].tolist() == [2, 1, 0]
        boxes_yxyx = np.array([[0.1, 0.0, 0.3, 0.25], [0.5, 0.5, 0.75, 1.0]])
        return boxes_yxyx, np.array([0.9, 0.8]), np.array([1, 2])

    pixels = np.arange(3, dtype=np.uint8).reshape(1, 3, 1)
    boxes_yxyx, scores, class_ids = tiling.flipped(run_network)(pixels)
    assert boxes_yxyx.tolist() == [[0.1, 0.75, 0.3, 1.0], [0.5, 0.0, 0.75, 0.5]]
    assert (scores.tolist(), class_ids.tolist()) == ([0.9, 0.8], [1, 2])


@pytest.mark.parametrize("flip, is_found", [(tiling.flipped, True), (lambda run: run, False)])
def test_products_that_only_flipped_tiles_show_are_found_too(monkeypatch, flip, is_found):
    monkeypatch.setattr(tiling, "flipped", flip)
    detect = SizedDetector()

    def find_on_the_left(pixels):
        found = detect(pixels)
        kept = found[0][:, 3] < 0.5
        return tuple(part[kept] for part in found)

    pixels, products = shelf((50, 33))
    found, _ = tiling.detect_in_best_tiles(
        find_on_the_left, pixels, find_on_the_left(pixels), NMS_IOU
    )
    # The last of 3 columns, the most that are merged, has its middle at 900 * (1 - 0.5 / 2.6).
    rightmost = {product for product in products if product[0] > 727}
    assert rightmost
    assert found_products(found) & rightmost == (rightmost if is_found else set())


def test_where_nothing_is_found_the_whole_image_stays():
    network = SizedDetector()
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    found, best = tiling.detect_in_best_tiles(network, pixels, network(pixels), NMS_IOU)
    assert (len(found[1]), best, network.runs) == (0, tiles.WHOLE, 1 + 4)
