"""A config written for a dataset: object_detection parses it, and it agrees with the dataset."""

import re

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import coverage_advice, pipeline, search_sizes, writing
from shelfdet.config import network as networks
from shelfdet.core import paths
from shelfdet.data import labels


def image(name, sides_wh, size_wh=(200, 200), count=6):
    """An image of ``count`` products of one size, side by side."""
    width, height = sides_wh
    boxes = [(x, 20, x + width, 20 + height) for x in range(5, 5 + count * width, width)]
    return labels.labelled(name, size_wh, [("product", box) for box in boxes])


def dataset(images, **fields):
    described = writing.Dataset("mine", images, 6, 70, False, paths.LABEL_MAP, 1)
    return described._replace(**fields)


@pytest.fixture(scope="module")
def equal_products():
    return dataset([image(f"{number}.jpg", (60, 90), count=3) for number in range(4)])


@pytest.fixture(scope="module")
def network(equal_products):
    """The choice among two small inputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_sizes, "for_images", lambda sizes_wh: [(96, 96), (128, 128)])
        return writing.choose_network(equal_products)


def test_of_networks_that_cover_nearly_as_much_the_cheapest_is_chosen(equal_products, network):
    assert network.matched == 0.5
    share = coverage.shares(network.advice.best_iou, [0.5])[0]
    assert share >= coverage_advice.GOOD_COVERAGE
    config = pipeline.read(paths.SHIPPED_CONFIG)
    covered = {}
    layers = {}
    for image_wh in ((96, 96), (128, 128)):
        resized = np.concatenate(anchors.resized(equal_products.images, image_wh))
        for other in networks.build_networks(config, (1, 2), image_wh):
            best_iou = search.best_anchors(resized, other.grids_wh, image_wh).best_iou
            covered[other.multiply_adds] = np.mean(best_iou >= 0.5)
            layers[other.multiply_adds] = len(other.grids_wh)
    limit = max(covered.values()) - coverage_advice.EQUAL_COVERAGE
    assert covered[network.operations] == share >= limit
    # As many feature maps as the graph has that training should start from
    assert len(network.advice.scales) == 1
    assert all(
        other < limit
        for operations, other in covered.items()
        if operations < network.operations and layers[operations] == 1
    )


def test_the_feature_maps_are_those_of_the_graph_to_start_from(equal_products, monkeypatch):
    monkeypatch.setattr(search_sizes, "for_images", lambda sizes_wh: [(96, 96), (128, 128)])
    monkeypatch.setattr(writing, "START", paths.SHIPPED_GRAPH)  # of two feature maps
    chosen = writing.choose_network(equal_products)
    assert len(chosen.advice.scales) == 2


def test_the_config_is_parsed_by_object_detection_and_has_one_anchor_per_cell(
    network, equal_products
):
    text = writing.config_text("mine", equal_products, network, 400, "An hour.", "some_graph")
    config = pipeline.parse(text, "mine.config")
    ssd = config.model.ssd
    image_wh = network.advice.image_wh
    assert pipeline.input_size(config) == image_wh
    assert ssd.num_classes == 1
    assert ssd.feature_extractor.num_layers == ssd.anchor_generator.ssd_anchor_generator.num_layers
    generated = networks.generate_anchors(config)
    assert set(generated.per_cell) == {1}
    # object_detection's own anchors cover what the comment in the config states.
    resized = anchors.resized(equal_products.images, image_wh)
    measured = coverage.measure(resized, generated.anchors_xyxy, generated.layer, image_wh)
    share = np.mean(measured.best_iou >= 0.5)
    assert f"# anchor coverage: {share:.2f} of the train boxes at IoU >= 0.5" in text
    # 70 products in the fullest whole image and a quarter more, in whole fifties.
    assert ssd.post_processing.batch_non_max_suppression.max_total_detections == 100
    assert config.train_input_reader.max_number_of_boxes == 100
    assert config.eval_config.max_num_boxes_to_visualize == 100
    train = config.train_config
    rate = train.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    assert train.batch_size == 4
    assert train.num_steps == rate.total_steps == 400 and rate.warmup_steps == 40
    assert ssd.feature_extractor.conv_hyperparams.batch_norm.decay == pytest.approx(0.97)
    assert config.train_input_reader.tf_record_input_reader.input_path == [
        "workspace/training_demo/annotations/mine/train.record"
    ]
    assert "make train CONFIG=mine START=some_graph" in text
    assert "make eval CONFIG=mine NAME=mine\n" in text
    assert "An hour." in text and "$" not in text


def test_a_batch_is_not_larger_than_the_dataset(equal_products, network):
    two = equal_products._replace(images=equal_products.images[:2])
    text = writing.config_text("mine", two, network, 400)
    assert pipeline.parse(text, "mine.config").train_config.batch_size == 2
    assert "There are 2 training images" in text and "batches of" not in text


def test_products_of_different_shapes_lower_the_matchers_threshold():
    # Wide, square and high ones of different sizes: no single anchor covers four fifths.
    shapes = [(60, 12), (12, 60), (30, 30), (8, 8), (90, 90), (20, 70)]
    images = [image(f"{number}.jpg", shape, count=2) for number, shape in enumerate(shapes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_sizes, "for_images", lambda sizes_wh: [(96, 96)])
        chosen = writing.choose_network(dataset(images))
    assert chosen.matched == writing.LOW_MATCH
    text = writing.config_text("mine", dataset(images, is_divided=True), chosen, 3000)
    matcher = pipeline.matcher(pipeline.parse(text, "mine.config"))
    assert (matcher.matched, matcher.unmatched) == pytest.approx((0.4, 0.4))
    assert "their shapes differ" in text
    assert "make eval CONFIG=mine NAME=mine TILES=auto\n" in text


def test_tiles_are_advised_where_products_are_small_in_whole_images(monkeypatch):
    monkeypatch.setattr(search_sizes, "for_images", lambda sizes_wh: [(96, 96)])
    small = dataset([image(f"{number}.jpg", (12, 18), count=6) for number in range(4)])
    network = writing.choose_network(small)  # products of 6 x 9 px, cells of 16 px
    whole = np.mean(network.advice.best_iou >= network.matched)
    line = writing.tiles_line(small, network)
    found = re.match(
        r"  The products are small .* by image (\d\.\d\d) would be covered at IoU 0", line
    )
    assert float(found.group(1)) >= whole + 0.05
    # 50 of the 96 px of the input: as `make check` with that config says.
    command = "make data NAME=mine PRODUCT_SCALE=0.521 PRODUCT_ASPECT_RATIO=0.657"
    assert f"Run `{command}` with the other options as before" in line
    assert writing.tiles_line(small._replace(is_divided=True), network) is None


def test_no_tiles_are_advised_where_whole_images_do(equal_products, network):
    assert writing.tiles_line(equal_products, network) is None


@pytest.mark.parametrize(
    "sizes_wh, expected",
    [
        ([(640, 480)] * 3 + [(480, 640)], (640, 480)),
        ([(480, 640)] * 3 + [(640, 480)], (480, 640)),
        ([(640, 600)], None),
    ],
)
def test_input_sizes_have_the_shape_of_most_images(sizes_wh, expected):
    oblong = [size for size in search_sizes.for_images(sizes_wh) if size[0] != size[1]]
    assert (expected in oblong) if expected else not oblong


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "ssd_inception_v2_shelf"])
def test_names_that_cannot_be_used_are_refused(name):
    with pytest.raises(UserError, match="--config .*: (expected letters|is an included detector)"):
        writing.check_name(name)


def test_without_records_the_command_that_makes_them_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    with pytest.raises(UserError, match="no such dataset; expected one that `make data NAME=mine`"):
        writing.read_dataset("mine")
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="train.record: no such file; .* Run `make data NAME=mine`"):
        writing.read_dataset("mine")


@pytest.mark.parametrize("steps, warmup", [(5, 1), (1000, 100), (5000, 200)])
def test_a_short_training_has_a_short_warm_up(network, equal_products, steps, warmup):
    config = pipeline.parse(writing.config_text("mine", equal_products, network, steps), "a.config")
    optimizer = config.train_config.optimizer.adam_optimizer
    assert optimizer.learning_rate.cosine_decay_learning_rate.warmup_steps == warmup
