"""Advice on coverage: it can be reached, and where nothing helps it says why."""

import re

import numpy as np
import pytest

from shelfdet.anchors import search
from shelfdet.config import anchor_advice, coverage_advice, findings, pipeline
from shelfdet.config import network as networks
from shelfdet.config.anchor_checks import check_coverage
from shelfdet.core import paths
from shelfdet.data import labels

INPUT_WH = (128, 128)
IMAGE_WH = (512, 512)


def images(sizes_wh, count=6):
    """Images with a product of each size at random places."""
    random = np.random.RandomState(0)
    found = []
    for number in range(count):
        rows = []
        for width, height in sizes_wh:
            x, y = random.randint(0, 512 - width), random.randint(0, 512 - height)
            rows.append(("product", (x, y, x + width, y + height)))
        found.append(labels.labelled(f"{number}.jpg", IMAGE_WH, rows))
    return found


@pytest.fixture(scope="module")
def config():
    config = pipeline.read(paths.SHIPPED_CONFIG)
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.width, resizer.height = INPUT_WH
    return config


@pytest.fixture(scope="module")
def network(config):
    return networks.build_network(config)


@pytest.fixture(autouse=True)
def small_inputs(monkeypatch):
    monkeypatch.setattr(anchor_advice, "TABLE_INPUTS_WH", ((96, 96), (192, 192), (256, 256)))


def boxes(*sizes_wh):
    return np.array([(5, 5, 5 + width, 5 + height) for width, height in sizes_wh], dtype=float)


@pytest.mark.parametrize("layers", [1, 2])
def test_shapes_limit_the_coverage_wherever_the_boxes_are(layers):
    # A square of 20 px has an IoU of 200 / 600 with either box, and larger or smaller ones less:
    # anchors of one ratio, of one size or two, cover the wide boxes or the high ones.
    mixed = boxes((40, 10), (10, 40))
    assert search.highest_coverage(mixed, INPUT_WH, layers, 0.5) == 0.5
    assert search.highest_coverage(mixed, INPUT_WH, layers, 0.3) == 1
    assert search.highest_coverage(boxes((40, 10), (40, 10)), INPUT_WH, layers, 0.5) == 1


def test_two_sizes_need_two_feature_maps():
    # The side of an anchor that covers both by 0.5 would be at least 20 / 2 ** 0.5 and at most
    # 5 * 2 ** 0.5.
    mixed = boxes((20, 20), (5, 5))
    assert search.highest_coverage(mixed, INPUT_WH, 1, 0.5) == 0.5
    assert search.highest_coverage(mixed, INPUT_WH, 2, 0.5) == 1


def test_small_products_need_a_larger_input_or_tiles(config, network):
    small = images([(80, 80)] * 12)
    reach = coverage_advice.find(config, network, small, covered=0.3, is_divided=False)
    assert (reach.highest, reach.wanted) == (1, coverage_advice.GOOD_COVERAGE)
    share = np.mean(reach.network.advice.best_iou >= 0.5)
    assert share >= reach.wanted
    assert reach.network.network.image_wh != INPUT_WH
    assert reach.tiles_share >= reach.wanted
    text = coverage_advice.expected_text(reach, network)
    assert text.startswith(f"{share:.2f}, which {reach.network.network.image_wh[0]} x ")
    # 50 of the 128 px of the input.
    assert "--product-scale 0.391 (make: PRODUCT_SCALE=0.391)" in text


def test_products_in_no_tile_are_not_covered(network):
    # Ten small products ask for many tiles; the eleventh, of the image's size, is in none of them.
    small = images([(80, 80)] * 10)
    with_large = images([(80, 80)] * 10 + [(511, 511)])
    share = coverage_advice.share_in_tiles(small, network.image_wh, network.grids_wh, 0.5)
    assert (
        coverage_advice.share_in_tiles(with_large, network.image_wh, network.grids_wh, 0.5)
        <= share * 10 / 11 + 0.02
    )


def test_of_boxes_without_area_or_class_no_tiles_are_made(network):
    (image,) = images([(80, 80)] * 3, count=1)
    flat = image._replace(boxes_xyxy=image.boxes_xyxy[:, [0, 1, 0, 3]])
    for odd in (flat, image._replace(classes=())):
        assert (
            coverage_advice.share_in_tiles([odd], network.image_wh, network.grids_wh, 0.5) is None
        )


def test_tiles_are_not_divided_again(config, network):
    small = images([(80, 80)] * 12)
    reach = coverage_advice.find(config, network, small, covered=0.3, is_divided=True)
    assert reach.network is not None and reach.tiles_share is None


def test_an_input_of_many_operations_is_no_advice(config, network):
    small = images([(80, 80)] * 12)
    reach = coverage_advice.find(config, network, small, covered=0.3, is_divided=True)
    for times, expected in ((1.9, True), (2.1, False)):
        other = reach.network.network._replace(multiply_adds=times * network.multiply_adds)
        candidate = reach.network._replace(network=other)
        assert coverage_advice.is_advice(reach._replace(network=candidate), network) == expected
    # With tiles there is another way.
    assert coverage_advice.is_advice(reach._replace(network=None, tiles_share=0.9), network)


def findings_of(config, network, training):
    found = findings.Findings("mine.config", "")
    generated = networks.generate_anchors(config, grids_wh=network.grids_wh)
    check_coverage(config, network, generated, training, found)
    key = "model.ssd.image_resizer.fixed_shape_resizer"
    return [one for one in found if one.key == key]


def test_products_of_different_shapes_are_no_warning_but_a_note_with_the_reason(config, network):
    (note,) = findings_of(config, network, images([(240, 60), (60, 240)] * 3))
    assert note.severity == findings.NOTE
    assert "at best 0.44 at IoU >= 0.5" in note.found
    assert "shapes of the products differ" in note.expected
    assert "at most 0.50 of them" in note.expected
    # Each image has both shapes, so no tiles suit all of its products.
    assert "In tiles by image the coverage is hardly higher" in note.expected


def test_shapes_that_differ_from_image_to_image_need_tiles_by_image(config, network):
    mixed = images([(240, 60)] * 6) + images([(60, 240)] * 6)
    (warning,) = findings_of(config, network, mixed)
    assert warning.severity == findings.WARNING
    stated = re.match(r"(0\.\d\d), which these feature maps reach in tiles", warning.expected)
    assert float(stated.group(1)) > 0.5
    assert "--product-aspect-ratio 0.657 (make: PRODUCT_ASPECT_RATIO=0.657)" in warning.expected


def test_products_too_small_for_every_input_are_a_note(config, network):
    (note,) = findings_of(config, network, images([(1, 1)] * 12))
    assert note.severity == findings.NOTE
    assert "the products are small" in note.expected


def test_upright_images_have_upright_inputs():
    (one,) = images([(10, 10)], count=1)
    assert anchor_advice.table_inputs([one]) == [(96, 96), (192, 192), (256, 256)]
    upright = one._replace(size_wh=(300, 512))
    inputs = [(192, 128), (64, 64)]
    assert anchor_advice.search_sizes.turned(inputs, [upright.size_wh]) == [(128, 192), (64, 64)]
