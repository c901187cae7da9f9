"""Tiles of an image, their number for a wanted product size, and what a tile shows of a box."""

import itertools

import numpy as np
import pytest

from shelfdet.core import tiles


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiles_cover_the_image_and_overlap_by_a_fifth(columns, rows):
    grid = tiles.Grid(columns, rows)
    found = tiles.places((1000, 700), grid)
    assert len(found) == columns * rows
    assert found[0][:2] == (0, 0) and found[-1][2:] == (1000, 700)
    sizes = {(right - left, bottom - top) for left, top, right, bottom in found}
    width, height = np.ceil([1000 * tiles.share(columns), 700 * tiles.share(rows)])
    assert sizes == {tiles.size((1000, 700), grid)} == {(width, height)}
    for (left, _, right, _), (next_left, _, _, _) in zip(found[:columns], found[1:columns]):
        assert right - next_left == pytest.approx(0.2 * (right - left), abs=2)
    column = found[::columns]
    for (_, top, _, bottom), (_, next_top, _, _) in zip(column, column[1:]):
        assert bottom - next_top == pytest.approx(0.2 * (bottom - top), abs=2)


def test_tiles_are_listed_row_by_row():
    assert tiles.places((180, 90), tiles.square(2)) == [
        (0, 0, 100, 50),
        (80, 0, 180, 50),
        (0, 40, 100, 90),
        (80, 40, 180, 90),
    ]
    assert tiles.places((180, 90), tiles.Grid(2, 1)) == [(0, 0, 100, 90), (80, 0, 180, 90)]
    assert tiles.places((180, 90), tiles.WHOLE) == [(0, 0, 180, 90)]


def test_a_grid_is_written_as_columns_by_rows():
    assert str(tiles.Grid(columns=3, rows=2)) == "3 x 2"


def test_an_image_smaller_than_its_number_of_tiles_is_covered():
    assert tiles.places((2, 1), tiles.square(3))[0] == (0, 0, 1, 1)


def test_the_scale_of_a_product_is_that_of_an_anchor():
    # 20 x 45 of 100 x 100 is an anchor of scale 0.3 and aspect ratio 4/9: 0.3 * 2/3 and 0.3 * 3/2.
    assert tiles.product_scale([[10, 10, 30, 55]], (100, 100)) == pytest.approx(0.3)
    boxes = [[0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 90, 90]]
    assert tiles.product_scale(boxes, (100, 100)) == pytest.approx(0.2)  # the median


@pytest.mark.parametrize(
    "scale, count",
    [
        (0.1, 1),
        (0.5, 1),  # too large already in the whole image
        (0.0505, 2),  # the median of SKU-110K: 0.091 in 2 x 2 tiles, 0.131 in 3 x 3
        (0.04, 3),  # 0.072 in 2 x 2 tiles, 0.104 in 3 x 3
        (0.0001, tiles.MOST_TILES),
    ],
)
def test_the_number_of_tiles_brings_products_nearest_to_the_wanted_scale(scale, count):
    assert tiles.count_for(scale, 0.1) == count


def test_nearest_is_by_ratio():
    # In 1 and 2 tiles 0.1 is 0.1 and 0.18, which are equally far from their geometric mean.
    mean = np.sqrt(0.1 * 0.18)
    assert tiles.count_for(0.1, mean * 0.999) == 1
    assert tiles.count_for(0.1, mean * 1.001) == 2


def test_columns_and_rows_bring_products_nearest_to_the_wanted_shape():
    # The median product is 100 x 40 px. An anchor of scale 0.1 and aspect ratio 0.64 is 0.08 wide
    # and 0.125 high: 0.1 is nearer to 0.08 than 0.18, and in 3 and 4 rows 0.04 becomes 0.104 and
    # 0.136.
    boxes = [[0, 0, 100, 40], [200, 0, 300, 40], [0, 200, 5, 700]]
    wanted_wh = tiles.anchor_sides(0.1, 0.64)
    assert wanted_wh == pytest.approx((0.08, 0.125))
    product_wh = tiles.median_product(boxes, (1000, 1000))
    assert product_wh == pytest.approx((0.1, 0.04))
    assert tiles.grid_for(product_wh, wanted_wh) == tiles.Grid(columns=1, rows=4)
    # Shares count, not pixels: the network sees a square.
    product_wh = tiles.median_product(boxes, (2000, 1000))
    assert tiles.grid_for(product_wh, wanted_wh) == tiles.Grid(columns=2, rows=4)


@pytest.mark.parametrize("size_wh", [(1000, 700), (317, 1201)])
def test_a_grid_is_known_by_the_size_of_its_tiles(size_wh):
    for columns, rows in itertools.product(range(1, 12), repeat=2):
        grid = tiles.Grid(columns, rows)
        assert tiles.grid_of(size_wh, tiles.size(size_wh, grid)) == grid
    width, height = tiles.size(size_wh, tiles.Grid(3, 2))
    assert tiles.grid_of(size_wh, (width, height + 1)) is None


def test_the_share_of_a_box_that_a_tile_shows():
    boxes = [[0, 0, 10, 10], [5, 0, 15, 10], [8, 8, 12, 12], [20, 0, 30, 10]]
    shares = tiles.visible_shares(np.array(boxes, dtype=float), (0, 0, 10, 10))
    np.testing.assert_allclose(shares, [1, 0.5, 0.25, 0])
