"""What tiles would do for a config: sizes, coverage and cost, on products of a known size."""

import json

import numpy as np
import pytest

from conftest import load_script
from shelfdet.config import anchor_advice, pipeline, tile_advice
from shelfdet.core import paths, tiles
from shelfdet.data import labels

SIZE_WH = (900, 720)
COUNT = 40


@pytest.fixture(scope="module")
def shelves():
    """Images of 900 x 720 px with products of 36 x 36 px, 20.5 x 25.6 px of a 512 px input."""
    random = np.random.RandomState(0)
    found = []
    for number in range(3):
        corners = random.uniform(0, 1, (COUNT, 2)) * (np.array(SIZE_WH) - 36)
        rows = [("product", tuple(corner) + tuple(corner + 36)) for corner in corners]
        found.append(labels.labelled(f"{number}.jpg", SIZE_WH, rows))
    return found


@pytest.fixture(scope="module")
def rows(shelves):
    config = pipeline.read(paths.SHIPPED_CONFIG)
    measurement = anchor_advice.measure(config, shelves)
    return tile_advice.tile_rows(config, measurement, shelves)


def test_products_grow_with_the_number_of_tiles(rows):
    assert [row.tiling.counts for row in rows[:3]] == [(1,), (2,), (3,)]
    for count, row in enumerate(rows[:3], 1):
        enlarged = 1 / tiles.share(count)
        whole = 512 * 36 / np.array(SIZE_WH)
        assert row.median_wh == pytest.approx(whole * enlarged, rel=0.02)
        assert row.scale == pytest.approx(np.sqrt(whole.prod()) / 512 * enlarged, rel=0.02)
        assert row.images <= 3 * count**2
        assert row.best.scales[0] > 0


def test_the_network_runs_on_each_tile_and_on_the_whole_image(rows):
    assert [row.runs for row in rows] == [1, 5, 10, None]


def test_tiles_by_image_bring_products_to_the_anchor_of_the_included_graph(rows):
    config = pipeline.read(paths.SHIPPED_PRODUCTS_GRAPH / paths.CONFIG_FILE)
    fields = config.model.ssd.anchor_generator.ssd_anchor_generator
    tiling = tile_advice.tiling_by_image((512, 512))
    assert tiling.product_scale == pytest.approx(fields.scales[0], abs=1e-6)
    assert tiling.product_aspect_ratio == pytest.approx(fields.aspect_ratios[0], abs=1e-6)
    # In an input that is wider than high a product of that shape has another share of its sides.
    wide = tile_advice.tiling_by_image((1024, 512))
    width, height = tiles.anchor_sides(wide.product_scale, wide.product_aspect_ratio)
    assert width * 1024 == pytest.approx(50 * 0.657**0.5, rel=0.01)
    assert height * 512 == pytest.approx(50 / 0.657**0.5, rel=0.01)
    # 2 columns make products 1.8 times as wide, 3 rows 2.6 times as high: 37 x 67 px.
    assert rows[3].median_wh == pytest.approx((20.5 * 1.8, 25.6 * 2.6), rel=0.02)
    assert tile_advice.options(tiling) == (
        "--product-scale 0.0977 (make: PRODUCT_SCALE=0.0977) and "
        "--product-aspect-ratio 0.657 (make: PRODUCT_ASPECT_RATIO=0.657)"
    )


def test_coverage_is_higher_where_products_are_as_large_as_the_anchors(rows):
    # The config's anchors are 35 x 67 px and larger: 4 % of its coverage needs taller products.
    assert rows[0].config_coverage < 0.05 < rows[2].config_coverage
    assert rows[0].config_coverage <= np.mean(rows[0].best.best_iou >= 0.5)


@pytest.mark.parametrize("image_wh", [(48, 48), (2000, 60)])
def test_no_tiles_are_named_that_step_04_refuses(image_wh):
    # A scale of 50 / 48, and a ratio of 0.657 * 60 / 2000 = 0.02, of which 0.05 is the least.
    assert tile_advice.tiling_by_image(image_wh) is None


def test_the_table_has_a_line_for_each(rows):
    lines = tile_advice.table_lines(rows)
    assert [line[:10].rstrip() for line in lines[-5:-1]] == ["1 x 1", "2 x 2", "3 x 3", "by image"]
    assert "20 x 26 px" in lines[-5] and lines[-4].endswith(" 5") and lines[-2].endswith(" -")
    assert "with --product-scale 0.0977 (make: PRODUCT_SCALE=0.0977) and" in lines[-1]
    content = json.loads(json.dumps(tile_advice.as_json(rows)))
    keys = ("tiles", "product_scale", "product_aspect_ratio")
    assert [content[1][key] for key in keys] == [2, None, None]
    assert [content[3][key] for key in keys] == [None, 0.0977, 0.657]


def test_step_03_measures_tiles(shelves, tmp_path, capsys):
    labels.write_labels(shelves, tmp_path / "train_labels.csv")
    load_script("03_estimate_anchors").main(
        [
            f"--labels={tmp_path / 'train_labels.csv'}",
            f"--config={paths.SHIPPED_CONFIG}",
            f"--output={tmp_path}",
            "--tiles=2",
            "--no-table",
            "--repeats=1",
        ]
    )
    printed = capsys.readouterr().out
    assert "of 12 tiles, 2 x 2 of each image:" in printed
    assert "median 37 x 46 px" in printed
