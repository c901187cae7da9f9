"""config/network.py against NumPy and object_detection: anchors, matches, augmented boxes."""

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage, search
from shelfdet.config import pipeline
from shelfdet.config.network import (
    _multiply_adds,
    augmented_boxes,
    build_network,
    build_networks,
    generate_anchors,
    training_variables,
)
from shelfdet.core import boxes, paths, tensorflow1
from shelfdet.data import labels

# The configs of this repository; not the one that a user edits
CONFIGS = [
    "demo.config",
    "ssd_inception_v2_coco.config",
    "ssd_inception_v2_shelf.config",
    "ssd_inception_v2_shelf_fast.config",
]


@pytest.fixture
def config():
    return pipeline.read(paths.SHIPPED_CONFIG)


# --- the network ---


def test_the_network_of_the_shipped_config(config):
    network = build_network(config)
    assert network.image_wh == (512, 512)
    assert network.grids_wh == [(32, 32), (16, 16)]
    assert network.multiply_adds == pytest.approx(2.63e9, rel=0.01)
    assert "FeatureExtractor/InceptionV2/Conv2d_1a_7x7/depthwise_weights" in network.variables


@pytest.mark.parametrize(
    "optimizer, slots",
    [
        ("adam_optimizer", ["Adam", "Adam_1"]),
        ("momentum_optimizer", ["Momentum"]),
        ("rms_prop_optimizer", ["RMSProp", "RMSProp_1"]),
    ],
)
@pytest.mark.parametrize("average", ["false", "true"])
def test_the_variables_that_a_training_resumes_from(config, optimizer, slots, average):
    rate = "learning_rate { constant_learning_rate { learning_rate: 0.001 } }"
    small = pipeline.with_input_size(config, (96, 96), 2)
    changed = pipeline.with_changes(
        small,
        [
            (
                "train_config",
                f"optimizer {{ {optimizer} {{ {rate} }} use_moving_average: {average} }} "
                "freeze_variables: 'FeatureExtractor'",
            )
        ],
    )
    variables = training_variables(changed)
    weights = "BoxPredictor_0/ClassPredictor/weights"
    if average == "true":
        slots = slots + ["ExponentialMovingAverage"]
    added = [name for name in variables if name.startswith(weights + "/")]
    assert sorted(added) == sorted(f"{weights}/{slot}" for slot in slots)
    assert all(variables[name] == variables[weights] for name in added)
    assert variables["global_step"] == ()
    frozen = "FeatureExtractor/InceptionV2/Conv2d_1a_7x7/pointwise_weights"
    assert not any(name.startswith(frozen + "/") for name in variables)


def test_networks_with_fewer_layers_equal_networks_built_so(config):
    one, two = build_networks(config, [1, 2], (96, 64))
    assert one.grids_wh == [(6, 4)]
    assert two.grids_wh == [(6, 4), (3, 2)]
    config.model.ssd.feature_extractor.num_layers = 1
    assert build_network(config, (96, 64)).multiply_adds == one.multiply_adds < two.multiply_adds


@pytest.mark.parametrize(
    "field, first_grid_wh",
    [
        # By hand: a stride of 16, with padding
        ("", (27, 19)),
        ("use_depthwise: true", (27, 19)),
        ("pad_to_multiple: 32", (448 // 16, 320 // 16)),
    ],
)
def test_a_network_of_another_size_equals_one_built_for_it(
    config, monkeypatch, field, first_grid_wh
):
    changed = pipeline.with_changes(config, [("model.ssd.feature_extractor", field)])
    size_wh = (417, 300)
    build_network(changed)
    (found,) = build_networks(changed, [2], size_wh)
    monkeypatch.setattr("shelfdet.config.network.LEAST_SIDE", np.inf)  # none is then shared
    (built,) = build_networks(changed, [2], size_wh)
    assert found == built
    assert found.grids_wh[0] == first_grid_wh


def test_an_input_that_the_feature_extractor_refuses_is_a_users_error(config):
    with pytest.raises(UserError, match="cannot build it: image size must be >= 33"):
        build_network(config, (64, 32))


def test_multiply_adds_of_one_convolution_by_hand():
    tf = tensorflow1.load()
    with tf.Graph().as_default():
        image = tf.zeros([1, 8, 6, 3])
        kernel = tf.zeros([3, 3, 3, 5])
        result = tf.nn.conv2d(image, kernel, strides=2, padding="SAME")
        assert _multiply_adds(result.op) == 4 * 3 * (3 * 3 * 3 * 5)


def test_the_builders_message_names_an_unknown_feature_extractor(config):
    config.model.ssd.feature_extractor.type = "ssd_inception_v9"
    with pytest.raises(UserError, match="ssd_inception_v9"):
        build_network(config)


# --- anchors ---


def with_generator(config, lines, image_wh):
    """The config with another anchor_generator block and input size."""
    config.model.ssd.ClearField("anchor_generator")
    width, height = image_wh
    size = ("model.ssd.image_resizer.fixed_shape_resizer", f"width: {width} height: {height}")
    return pipeline.with_changes(config, [size, ("model.ssd", "\n".join(lines))])


@pytest.mark.parametrize("name", CONFIGS)
def test_numpy_anchors_equal_object_detections_for_every_config(name):
    config = pipeline.read(paths.TRAINING / name)
    network = build_network(config)
    generated = generate_anchors(config, grids_wh=network.grids_wh)
    fields = config.model.ssd.anchor_generator.ssd_anchor_generator
    layers = anchors.ssd_layers(
        network.grids_wh, network.image_wh, list(fields.scales), fields.aspect_ratios[0]
    )
    expected_xyxy, expected_layer = anchors.tile(layers)
    assert generated.per_cell == [1] * len(network.grids_wh)
    assert generated.layer.tolist() == expected_layer.tolist()
    difference = np.abs(generated.anchors_xyxy - expected_xyxy)
    assert difference.max() <= 1e-6 * max(network.image_wh)
    assert (difference / np.array(network.image_wh * 2)).max() <= 1e-6


@pytest.mark.parametrize(
    "image_wh, grids_wh",
    [((640, 480), [(40, 30), (20, 15)]), ((300, 300), [(19, 19), (10, 10)]), ((96, 64), [(6, 4)])],
)
def test_numpy_anchors_equal_object_detections_at_other_sizes(config, image_wh, grids_wh):
    count = len(grids_wh)
    scales = [0.11, 0.23][:count]
    lines = [
        f"anchor_generator {{ ssd_anchor_generator {{ num_layers: {count} aspect_ratios: 0.7",
        *(f"scales: {scale:g}" for scale in scales),
        "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0 } }",
    ]
    config = with_generator(config, lines, image_wh)
    generated = generate_anchors(config, image_wh, grids_wh)
    expected_xyxy, _ = anchors.tile(anchors.ssd_layers(grids_wh, image_wh, scales, 0.7))
    assert generated.per_cell == [1] * count
    assert np.abs(generated.anchors_xyxy - expected_xyxy).max() <= 1e-6 * max(image_wh)


def test_the_advised_lines_generate_the_advised_anchors(config):
    image_wh = (512, 384)
    grids_wh = [(32, 24), (16, 12)]
    random = np.random.RandomState(3)
    low = random.uniform(0, 300, (60, 2))
    boxes_xyxy = np.hstack([low, low + random.uniform(25, 90, (60, 2))])
    advice = search.best_anchors(boxes_xyxy, grids_wh, image_wh)
    config = with_generator(config, search.generator_lines(advice), image_wh)
    anchors_xyxy, layer, per_cell = generate_anchors(config, image_wh, grids_wh)
    assert per_cell == [1, 1]
    assert np.abs(anchors_xyxy - anchors.tile(advice.layers)[0]).max() <= 1e-6 * max(image_wh)
    measured = coverage.measure([boxes_xyxy], anchors_xyxy, layer, image_wh)
    assert measured.best_iou == pytest.approx(advice.best_iou, abs=1e-5)


def test_the_advised_lines_parse_without_changes():
    advice = search.best_anchors(np.array([[10.0, 10, 40, 70]]), [(16, 16)], (256, 256))
    lines = "\n".join(search.config_lines(advice))
    text = f"model {{ ssd {{ feature_extractor {{ num_layers: 1 }}\n{lines}\n}} }}"
    config = pipeline.parse(text, "lines")
    assert pipeline.input_size(config) == (256, 256)
    generator = config.model.ssd.anchor_generator.ssd_anchor_generator
    assert list(generator.scales) == pytest.approx(advice.scales)
    assert list(generator.aspect_ratios) == pytest.approx([advice.aspect_ratio])


# --- matches ---


def box_lists():
    """Ground-truth boxes: crowded, with ties, without area, and random ones; (N, 4) each."""
    cases = [
        np.array([[0, 0, 16, 12], [0, 0, 16, 16.0]]),  # two products in one cell
        np.array([[4, 4, 12, 12], [2, 2, 10, 14], [60, 60, 64, 64.0]]),
        np.array([[8, 8, 24, 24.0]]),  # a tie of four cells
        np.array([[20, 20, 20, 40], [0, 0, 64, 64.0]]),  # no area; the whole image
    ]
    random = np.random.RandomState(0)
    for _ in range(20):
        low = random.randint(0, 50, (random.randint(1, 9), 2))
        cases.append(np.hstack([low, low + random.randint(0, 30, low.shape)]).astype(float))
    return cases


def target_assigner_outputs(config, anchors_xyxy, image_wh):
    """A feed of normalised boxes, and object_detection's matches (M,) and IoU (N, M) for it."""
    tf = tensorflow1.load()
    from object_detection.box_coders import faster_rcnn_box_coder
    from object_detection.builders import matcher_builder
    from object_detection.core import box_list, region_similarity_calculator, target_assigner

    similarity = region_similarity_calculator.IouSimilarity()
    assigner = target_assigner.TargetAssigner(
        similarity,
        matcher_builder.build(config.model.ssd.matcher),
        faster_rcnn_box_coder.FasterRcnnBoxCoder(),
    )
    feed = tf.compat.v1.placeholder(tf.float32, [None, 4])
    truth = box_list.BoxList(feed)
    normalised_anchors = boxes.to_normalised_yxyx(anchors_xyxy, image_wh)
    anchor_list = box_list.BoxList(tf.constant(normalised_anchors, tf.float32))
    matches = assigner.assign(anchor_list, truth)[4]
    return feed, (matches, similarity.compare(truth, anchor_list))


def test_matches_equal_those_of_object_detections_target_assigner(config):
    tf = tensorflow1.load()
    image_wh = (64, 64)
    matcher = pipeline.matcher(config)
    layers = anchors.ssd_layers([(4, 4), (2, 2)], image_wh, [0.25, 0.5], 1.0)
    anchors_xyxy, layer = anchors.tile(layers)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        feed, outputs = target_assigner_outputs(config, anchors_xyxy, image_wh)
        for boxes_xyxy in box_lists():
            normalised = boxes.to_normalised_yxyx(boxes_xyxy, image_wh)
            expected, iou = session.run(outputs, {feed: normalised})
            similarity = coverage.similarity(boxes_xyxy, anchors_xyxy, image_wh)
            assert coverage.match(similarity, matcher).tolist() == expected.tolist(), boxes_xyxy
            measured = coverage.measure([boxes_xyxy], anchors_xyxy, layer, image_wh, matcher)
            check_coverage(measured, expected, iou, matcher.matched)


def check_coverage(measured, matches, iou, threshold):
    """Compares a Coverage with matches (M,) and IoU (N, M) of object_detection."""
    for row, values in enumerate(iou):
        box_of_best_anchor = matches[values.argmax()]
        has_its_best_anchor = box_of_best_anchor == row
        assert measured.positives[row] == (matches == row).sum()
        assert measured.unmatched[row] == (row not in matches)
        assert measured.collided[row] == (box_of_best_anchor >= 0 and not has_its_best_anchor)
        assert measured.forced_only[row] == (values.max() < threshold and has_its_best_anchor)


# --- augmentation ---


def labelled(boxes_xyxy):
    """An image of 200 x 100 px."""
    boxes_xyxy = np.array(boxes_xyxy, dtype=float)
    return labels.LabelledImage("a.jpg", (200, 100), boxes_xyxy, ("product",) * len(boxes_xyxy))


def with_augmentation(config, steps):
    """The config with only these augmentation steps."""
    config.train_config.ClearField("data_augmentation_options")
    return pipeline.with_changes(
        config, [("train_config", f"data_augmentation_options {{ {steps} }}")]
    )


def test_flips_mirror_the_boxes(config):
    config = with_augmentation(config, "random_horizontal_flip { }")
    width, height = pipeline.input_size(config)
    original = np.array([0.1 * width, 0.1 * height, 0.3 * width, 0.5 * height])
    mirrored = np.array([0.7 * width, 0.1 * height, 0.9 * width, 0.5 * height])
    augmented = augmented_boxes(config, [labelled([[20, 10, 60, 50]])], repeats=12, seed=1)
    is_original = [np.abs(found[0] - original).max() < 1e-3 for found in augmented]
    is_mirrored = [np.abs(found[0] - mirrored).max() < 1e-3 for found in augmented]
    assert any(is_original)
    assert any(is_mirrored)
    assert all(np.logical_xor(is_original, is_mirrored))


def test_crops_are_the_same_for_a_seed_and_differ_for_another(config):
    row = [[20 + x, 10, 40 + x, 50] for x in range(0, 150, 25)]
    images = [labelled(row)] * 8
    first = augmented_boxes(config, images, seed=3)
    again = augmented_boxes(config, images, seed=3)
    other = augmented_boxes(config, images, seed=4)
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other))
    # Crops drop boxes or cut them, so that widths are no longer equal.
    assert any(len(one) < len(row) or np.ptp(one[:, 2] - one[:, 0]) > 1 for one in first)


@pytest.mark.parametrize(
    "step",
    [
        "drop_label_probabilistically { label: 1 drop_probability: 0.5 }",
        "autoaugment_image { policy_name: 'v0' }",
    ],
)
def test_steps_that_drop_or_warp_boxes_are_run(config, step):
    config = with_augmentation(config, step)
    unchanged = np.array([[51.2, 51.2, 153.6, 256], [179.2, 51.2, 256, 307.2]])
    images = [labelled([[20, 10, 60, 50], [70, 10, 100, 60]])]
    augmented = augmented_boxes(config, images, repeats=12)
    changes = [len(one) < 2 or np.abs(one - unchanged).max() > 1 for one in augmented]
    assert any(changes)
    assert not all(changes)


def test_images_without_boxes_are_augmented(config):
    assert augmented_boxes(config, [labelled(np.zeros((0, 4)))])[0].shape == (0, 4)


# --- coverage of the real and the synthetic train boxes ---


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "demo.config"])
def test_the_stated_coverage_is_that_of_the_real_train_boxes(name, real_train_images):
    path = paths.TRAINING / name
    stated = search.stated_coverage(path.read_text(encoding="utf-8"))
    assert stated, f"no comment of the form {search.COMMENT!r}"
    config = pipeline.read(path)
    network = build_network(config)
    generated = generate_anchors(config, grids_wh=network.grids_wh)
    measured = coverage.measure(
        anchors.resized(real_train_images, network.image_wh),
        generated.anchors_xyxy,
        generated.layer,
        network.image_wh,
    )
    for share, threshold in stated:
        assert coverage.shares(measured.best_iou, [threshold])[0] == pytest.approx(share, abs=0.006)


def test_published_anchors_on_the_real_train_boxes(real_train_images):
    """Values that others published, one anchor on each of 19 x 19 and 10 x 10 cells at 300 px."""
    image_wh = (300, 300)
    boxes_xyxy = np.concatenate(anchors.resized(real_train_images, image_wh))
    assert len(boxes_xyxy) == 10536

    def share_covered(scales, aspect_ratios):
        layers = []
        for grid_wh, scale, ratio in zip([(19, 19), (10, 10)], scales, aspect_ratios):
            layers += anchors.ssd_layers([grid_wh], image_wh, [scale], ratio)
        best_iou, _ = coverage.best_iou(boxes_xyxy, layers)
        return coverage.shares(best_iou, [0.5])[0]

    assert share_covered([0.2, 0.95], [1.0, 1.0]) == pytest.approx(0.02, abs=0.005)
    assert share_covered([0.03, 0.058], [1.0, 0.76]) == pytest.approx(0.009, abs=0.001)
    assert share_covered([0.03, 0.58], [1.0, 0.76]) == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize(
    "text, stated",
    [
        ("# anchor coverage: 0.89 of the train boxes at IoU >= 0.5", [(0.89, 0.5)]),
        (
            "a: 1  # anchor coverage: 1.00 of the train boxes at IoU >= 0.3 (others: 0.02)",
            [(1.0, 0.3)],
        ),
        ("# at 300 px, anchor coverage\n# of the train boxes is 0.61 at IoU >= 0.5", []),
    ],
)
def test_the_coverage_that_a_comment_states_is_found(text, stated):
    assert search.stated_coverage(text) == stated
