"""Images and their tiles as examples: which products are labelled, cut or ignored in a tile."""

import numpy as np
import pytest

from shelfdet.core import tiles
from shelfdet.data import examples, labels


def image(boxes_xyxy, size_wh=(180, 180), name="a.jpg"):
    return labels.labelled(name, size_wh, [("product", box) for box in boxes_xyxy])


TILE = (0, 0, 100, 100)
WHOLE = (10, 20, 30, 50)
MOSTLY_INSIDE = (80, 40, 120, 60)  # exactly half of it is in the tile
MOSTLY_OUTSIDE = (90, 40, 120, 60)  # a third
OUTSIDE = (120, 40, 140, 60)


def test_a_cut_product_is_labelled_with_its_part_from_half_of_its_area_on():
    example = examples.cut(image([WHOLE, MOSTLY_INSIDE, MOSTLY_OUTSIDE, OUTSIDE]), TILE)
    assert example.labelled.boxes_xyxy.tolist() == [[10, 20, 30, 50], [80, 40, 100, 60]]
    assert example.labelled.classes == ("product",) * 2
    assert example.labelled.size_wh == (100, 100)


def test_a_product_mostly_outside_is_ignored_and_not_cut_at_the_border():
    example = examples.cut(image([WHOLE, (95, 40, 107, 60), MOSTLY_OUTSIDE, OUTSIDE]), TILE)
    # The second reaches 20 px outside: as far as an evaluator accepts.
    assert example.ignored.boxes_xyxy.tolist() == [[95, 40, 107, 60], [90, 40, 109, 60]]
    assert example.ignored.classes == ("product",) * 2


def test_boxes_are_in_the_tiles_pixels():
    example = examples.cut(image([(90, 100, 120, 140)]), (80, 80, 180, 180))
    assert example.labelled.boxes_xyxy.tolist() == [[10, 20, 40, 60]]


def test_classes_stay_with_their_boxes():
    two = labels.labelled("a.jpg", (180, 180), [("milk", MOSTLY_OUTSIDE), ("tea", WHOLE)])
    example = examples.cut(two, TILE)
    assert example.labelled.classes == ("tea",) and example.ignored.classes == ("milk",)


def test_every_example_has_an_id_of_its_own_that_states_image_and_tile():
    found = examples.of_image(image([WHOLE, OUTSIDE]), examples.Tiling((1, 2), keep_empty=True))
    assert [example.source_id for example in found] == [
        "a.jpg",
        "a.jpg [0,0,100,100]",
        "a.jpg [80,0,180,100]",
        "a.jpg [0,80,100,180]",
        "a.jpg [80,80,180,180]",
    ]
    for example in found:
        assert examples.tile_of(example.source_id) == example.tile_xyxy
        assert examples.image_of(example.source_id) == "a.jpg"
    assert examples.whole(image([WHOLE]), "sku110k").source_id == "sku110k/a.jpg"


def test_tiles_without_a_product_are_left_out_unless_they_are_wanted():
    # The product is labelled in the first tile of four alone, and ignored in the second.
    one = image([(40, 10, 90, 30)])
    assert len(examples.of_image(one, examples.Tiling((2,)))) == 1
    assert len(examples.of_image(one, examples.Tiling((2,), keep_empty=True))) == 4
    assert len(examples.of_image(image([]), examples.Tiling((2,)))) == 0
    # An image that is not divided stays, since step 02 was told to keep it.
    assert len(examples.of_image(image([]), examples.WHOLE_IMAGES)) == 1


def test_each_image_is_divided_so_that_its_products_have_the_wanted_scale():
    tiling = examples.Tiling(product_scale=0.1)
    small = image([(85, 85, 94, 94)])  # scale 0.05: 0.09 in 2 x 2 tiles
    assert {example.labelled.size_wh for example in examples.of_image(small, tiling)} == {
        (100, 100)
    }
    large = image([(10, 10, 40, 40)])  # scale 0.17
    assert [example.tile_xyxy for example in examples.of_image(large, tiling)] == [None]


def test_each_image_is_divided_so_that_its_products_have_the_wanted_shape():
    tiling = examples.Tiling(product_scale=0.1, product_aspect_ratio=1)
    low = image([(85, 85, 103, 94)])  # 0.1 wide and 0.05 high: 0.09 in two rows
    found = examples.of_image(low, tiling)
    assert [example.tile_xyxy for example in found] == [(0, 0, 180, 100), (0, 80, 180, 180)]
    narrow = image([(85, 85, 94, 103)])
    found = examples.of_image(narrow, tiling)
    assert [example.tile_xyxy for example in found] == [(0, 0, 100, 180), (80, 0, 180, 180)]
    assert examples.grids_of(image([]), tiling) == [tiles.WHOLE]


def test_products_too_large_for_any_tile_are_counted():
    # Over a corner where four tiles meet, a product of 120 x 120 shows at most 0.34 of itself.
    huge = image([(30, 30, 150, 150), WHOLE])
    assert examples.in_no_tile(huge, examples.of_image(huge, examples.Tiling((2,)))) == 1
    assert examples.in_no_tile(huge, examples.of_image(huge, examples.Tiling((1, 2)))) == 0


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_product_not_larger_than_the_overlap_is_whole_in_some_tile(count):
    random = np.random.RandomState(0)
    overlap = tiles.OVERLAP_SHARE * tiles.share(count) * 1000 - 2  # rounding of the tiles' places
    corners = random.uniform(0, 1000 - overlap, (100, 2))
    products = image(np.hstack([corners, corners + overlap]), (1000, 1000))
    found = examples.of_image(products, examples.Tiling((count,)))
    whole = [
        box
        for example in found
        for box in example.labelled.boxes_xyxy
        if np.allclose(box[2:] - box[:2], overlap)
    ]
    assert len(whole) >= 100
    assert examples.in_no_tile(products, found) == 0


def test_boxes_that_end_at_a_border_do_not_depend_on_rounding():
    # The tile begins where the first box ends, and cuts the second in half.
    boxes_xyxy = np.array([(40.0, 10, 80, 50), (60, 90, 100, 120)])
    size_wh = (181, 181)
    for factor in (1, 1 - 1e-12, 1 + 1e-12):
        example = examples.cut(image(boxes_xyxy * factor, size_wh), (80, 0, 181, 181))
        assert len(example.labelled.classes) == 1 and len(example.ignored.classes) == 0
