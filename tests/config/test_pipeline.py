"""pipeline.py: reading configs, and its anchors, matches and crops against object_detection's own."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.anchors import anchors, search
from shelfdet.config import pipeline
from shelfdet.config.network import (
    _multiply_adds,
    augmented_boxes,
    build_network,
    build_networks,
    generate_anchors,
)
from shelfdet.core import boxes, paths, tensorflow1
from shelfdet.data import labels

CONFIGS = sorted(paths.TRAINING.glob("*.config"))
TEXT = paths.SHIPPED_CONFIG.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def networks():
    """Networks by config and input size, each built once."""
    built = {}

    def get(config, image_wh=None):
        layers = config.model.ssd.feature_extractor.num_layers
        key = pipeline.with_input_size(
            config, image_wh or pipeline.input_size(config), layers
        ).model.SerializeToString()
        if key not in built:
            built[key] = build_network(config, image_wh)
        return built[key]

    return get


def with_generator(lines, image_wh=(512, 512)):
    """The default config with another anchor_generator block."""
    config = pipeline.parse(TEXT, "default")
    config.model.ssd.ClearField("anchor_generator")
    fixed = config.model.ssd.image_resizer.fixed_shape_resizer
    fixed.width, fixed.height = image_wh
    from google.protobuf import text_format

    text_format.Merge("\n".join(lines), config.model.ssd)
    return config


def numpy_layers(config, network):
    """The config's anchors in numpy, from the fields alone."""
    generator = config.model.ssd.anchor_generator
    if generator.WhichOneof("anchor_generator_oneof") == "ssd_anchor_generator":
        fields = generator.ssd_anchor_generator
        return anchors.ssd_layers(
            network.grids_wh, network.image_wh, list(fields.scales), fields.aspect_ratios[0]
        )
    grids = generator.flexible_grid_anchor_generator.anchor_grid
    return anchors.flexible_layers(
        network.grids_wh,
        network.image_wh,
        [grid.base_sizes[0] for grid in grids],
        [grid.aspect_ratios[0] for grid in grids],
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_numpy_anchors_equal_object_detections_for_every_config(path, networks):
    config = pipeline.read(path)
    network = networks(config)
    laid, layer, per_cell = generate_anchors(config, grids_wh=network.grids_wh)
    tiled, index = anchors.tile(numpy_layers(config, network))
    assert per_cell == [1] * len(network.grids_wh)
    assert index.tolist() == layer.tolist()
    normalised = np.array(network.image_wh * 2, dtype=float)
    assert np.abs(laid - tiled).max() <= 1e-6 * normalised.max()
    assert np.abs(laid / normalised - tiled / normalised).max() <= 1e-6


@pytest.mark.parametrize(
    "image_wh, grids_wh",
    [((640, 480), [(40, 30), (20, 15)]), ((300, 300), [(19, 19), (10, 10)]), ((96, 64), [(6, 4)])],
)
def test_numpy_anchors_equal_object_detections_at_other_sizes(image_wh, grids_wh):
    scales = [0.11, 0.23][: len(grids_wh)]
    config = with_generator(
        [
            "anchor_generator { ssd_anchor_generator { num_layers: %d aspect_ratios: 0.7"
            % len(grids_wh)
        ]
        + [f"scales: {scale:g}" for scale in scales]
        + ["reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0 } }"],
        image_wh,
    )
    laid, _, per_cell = generate_anchors(config, image_wh, grids_wh)
    assert per_cell == [1] * len(grids_wh)
    assert np.abs(
        laid - anchors.tile(anchors.ssd_layers(grids_wh, image_wh, scales, 0.7))[0]
    ).max() <= 1e-6 * max(image_wh)


def test_flexible_anchors_and_pasted_lines_are_the_advice(networks):
    image_wh, grids_wh = (512, 384), [(32, 24), (16, 12)]
    random = np.random.RandomState(3)
    low = random.uniform(0, 300, (60, 2))
    boxes_xyxy = np.hstack([low, low + random.uniform(25, 90, (60, 2))])
    for seek in (search.ssd, search.flexible):
        advice = seek(boxes_xyxy, grids_wh, image_wh)
        config = with_generator([line for line in search.generator_lines(advice)], image_wh)
        laid, layer, per_cell = generate_anchors(config, image_wh, grids_wh)
        assert per_cell == [1, 1]
        assert np.abs(laid - anchors.tile(advice.layers)[0]).max() <= 1e-6 * max(image_wh)
        assert anchors.coverage([boxes_xyxy], laid, layer, image_wh).best_iou == pytest.approx(
            advice.best_iou, abs=1e-5
        )


def test_the_pasted_lines_parse_as_they_stand():
    advice = search.flexible(np.array([[10.0, 10, 40, 70]]), [(16, 16)], (256, 256))
    config = pipeline.parse(
        "model { ssd { feature_extractor { num_layers: 1 } "
        + "\n".join(search.config_lines(advice))
        + "\n} }",
        "lines",
    )
    assert pipeline.input_size(config) == (256, 256)
    (grid,) = config.model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid
    assert (grid.width_stride, grid.height_stride, grid.width_offset, grid.height_offset) == (
        16,
        16,
        8,
        8,
    )


def test_the_network_of_the_default_config(networks):
    network = networks(pipeline.parse(TEXT, "default"))
    assert network.grids_wh == [(network.image_wh[0] // 16,) * 2, (network.image_wh[0] // 32,) * 2]
    assert "FeatureExtractor/InceptionV2/Conv2d_1a_7x7/depthwise_weights" in network.variables
    if network.image_wh == (512, 512):
        assert network.multiply_adds == pytest.approx(2.63e9, rel=0.01)


def test_networks_of_fewer_layers_are_those_of_the_network_itself(networks):
    config = pipeline.parse(TEXT, "default")
    one, two = build_networks(config, [1, 2], (96, 64))
    assert (one.grids_wh, two.grids_wh) == ([(6, 4)], [(6, 4), (3, 2)])
    config.model.ssd.feature_extractor.num_layers = 1
    assert networks(config, (96, 64)).multiply_adds == one.multiply_adds < two.multiply_adds


def test_multiply_adds_of_one_convolution_by_hand():
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default():
        result = tf.nn.conv2d(
            tf.zeros([1, 8, 6, 3]), tf.zeros([3, 3, 3, 5]), strides=2, padding="SAME"
        )
        assert _multiply_adds(result.op) == 4 * 3 * (3 * 3 * 3 * 5)


def test_matches_equal_object_detections_target_assigner():
    """Crowded boxes, ties and forced matches, through object_detection's own target assigner and its own matcher."""
    config = pipeline.parse(TEXT, "default")
    tf = tensorflow1.load()
    from object_detection.box_coders import faster_rcnn_box_coder
    from object_detection.builders import matcher_builder
    from object_detection.core import box_list, region_similarity_calculator, target_assigner

    image_wh = (64, 64)
    tiled, index = anchors.tile(anchors.ssd_layers([(4, 4), (2, 2)], image_wh, [0.25, 0.5], 1.0))
    random = np.random.RandomState(0)
    cases = [
        np.array([[0, 0, 16, 12], [0, 0, 16, 16.0]]),  # two products, one cell
        np.array([[4, 4, 12, 12], [2, 2, 10, 14], [60, 60, 64, 64.0]]),
        np.array([[8, 8, 24, 24.0]]),  # a tie of four cells
        np.array([[20, 20, 20, 40], [0, 0, 64, 64.0]]),
    ]  # no area; the whole image
    for _ in range(20):
        low = random.randint(0, 50, (random.randint(1, 9), 2))
        cases.append(np.hstack([low, low + random.randint(0, 30, low.shape)]).astype(float))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        assigner = target_assigner.TargetAssigner(
            region_similarity_calculator.IouSimilarity(),
            matcher_builder.build(config.model.ssd.matcher),
            faster_rcnn_box_coder.FasterRcnnBoxCoder(),
        )
        truth = tf.compat.v1.placeholder(tf.float32, [None, 4])
        anchor_list = box_list.BoxList(
            tf.constant(boxes.to_normalised_yxyx(tiled, image_wh), tf.float32)
        )
        outputs = (
            assigner.assign(anchor_list, box_list.BoxList(truth))[4],
            region_similarity_calculator.IouSimilarity().compare(
                box_list.BoxList(truth), anchor_list
            ),
        )
        for case in cases:
            expected, iou = session.run(outputs, {truth: boxes.to_normalised_yxyx(case, image_wh)})
            found = anchors.match(
                anchors.similarity(case, tiled, image_wh), pipeline.matcher(config)
            )
            assert found.tolist() == expected.tolist(), case
            covered = anchors.coverage([case], tiled, index, image_wh, pipeline.matcher(config))
            assert covered.positives.tolist() == [
                (expected == row).sum() for row in range(len(case))
            ]
            for row, values in enumerate(iou):
                best, taker = values.max(), expected[values.argmax()]
                assert covered.unserved[row] == (row not in expected)
                assert covered.lost[row] == (taker >= 0 and taker != row)
                assert covered.forced[row] == (
                    best < config.model.ssd.matcher.argmax_matcher.matched_threshold
                    and taker == row
                )


def labelled(boxes_xyxy, size_wh=(200, 100), name="a.jpg"):
    return labels.LabelledImage(
        name, size_wh, np.array(boxes_xyxy, dtype=float), ("product",) * len(boxes_xyxy)
    )


def test_augmented_flips_only_mirror_the_boxes():
    config = pipeline.parse(TEXT, "default")
    del config.train_config.data_augmentation_options[:]
    config.train_config.data_augmentation_options.add().random_horizontal_flip.SetInParent()
    width, height = pipeline.input_size(config)
    seen = augmented_boxes(config, [labelled([[20, 10, 60, 50]])], repeats=12, seed=1)
    plain, mirrored = (
        [0.1 * width, 0.1 * height, 0.3 * width, 0.5 * height],
        [0.7 * width, 0.1 * height, 0.9 * width, 0.5 * height],
    )
    kinds = {
        min((0, 1), key=lambda kind: np.abs(one[0] - (plain, mirrored)[kind]).max()) for one in seen
    }
    assert kinds == {0, 1}
    for one in seen:
        assert min(np.abs(one[0] - plain).max(), np.abs(one[0] - mirrored).max()) < 1e-3


def test_augmented_crops_are_the_same_for_a_seed_and_differ_for_another():
    config = pipeline.parse(TEXT, "default")
    images = [labelled([[20 + x, 10, 40 + x, 50] for x in range(0, 150, 25)])] * 8
    first, again, other = (augmented_boxes(config, images, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other))
    assert any(
        len(one) < 6 or np.ptp(one[:, 2] - one[:, 0]) > 1 for one in first
    )  # crops drop and cut boxes


@pytest.mark.parametrize(
    "step, changes",
    [
        (
            "drop_label_probabilistically { label: 1 drop_probability: 0.5 }",
            lambda one: len(one) < 2,
        ),
        (
            "autoaugment_image { policy_name: 'v0' }",
            lambda one: (
                np.abs(one - [[51.2, 51.2, 153.6, 256], [179.2, 51.2, 256, 307.2]]).max() > 1
            ),
        ),
    ],
)
def test_augmented_runs_the_steps_that_drop_or_warp_boxes(step, changes):
    config = pipeline.parse(TEXT, "default")
    config.model.ssd.image_resizer.fixed_shape_resizer.width = 512
    config.model.ssd.image_resizer.fixed_shape_resizer.height = 512
    config.train_config.CopyFrom(
        pipeline.parse(
            "model { } train_config { data_augmentation_options { %s } }" % step, "step"
        ).train_config
    )
    seen = augmented_boxes(config, [labelled([[20, 10, 60, 50], [70, 10, 100, 60]])], repeats=12)
    assert any(changes(one) for one in seen) and not all(changes(one) for one in seen)


def test_augmented_takes_images_without_boxes():
    config = pipeline.parse(TEXT, "default")
    assert augmented_boxes(config, [labelled(np.zeros((0, 4)))])[0].shape == (0, 4)


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "no model"),
        ("train_config { num_steps: 5 }", "no model"),
        ("model {\n  ssd {\n    num_clases: 1\n  }\n}", "line 3, column 5"),
        ("model {\n  ssd {\n    num_clases: 1\n  }\n}", "Did you mean num_classes? Correct this line"),
        (
            "model {\n  ssd {\n    zzz: 1\n  }\n}",
            "Ssd has add_background_class, anchor_generator, ",
        ),
        (
            "model {\n  ssd {\n  }\ntrain_config {\n}",
            "train_config belongs to the outermost level: a closing brace is missing above",
        ),
        (
            "model {\n  ssd {\n  }\n}\n}\ntrain_config {\n}",
            "or a missing or extra brace above it",
        ),
        ("model {\n  ssd {\n    num_classes: one\n  }\n}", "line 3"),
        ("model {\n  ssd {\n", "line"),
        ("\x7fELF", "line 1"),
    ],
)
def test_a_syntax_error_is_told_with_line_and_column(tmp_path, text, told):
    path = tmp_path / "a.config"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        pipeline.read(path)
    assert told in str(error.value) and str(path) in str(error.value)


def test_a_missing_config_is_told(tmp_path):
    with pytest.raises(UserError, match="no.config"):
        pipeline.read(tmp_path / "no.config")


def test_a_resizer_that_fixes_no_size_is_refused():
    config = pipeline.parse(TEXT, "default")
    config.model.ssd.image_resizer.keep_aspect_ratio_resizer.min_dimension = 300
    with pytest.raises(UserError, match="fixed_shape_resizer"):
        pipeline.input_size(config)


def test_an_unknown_feature_extractor_is_told_in_object_detections_words():
    config = pipeline.parse(TEXT, "default")
    config.model.ssd.feature_extractor.type = "ssd_inception_v9"
    with pytest.raises(UserError, match="ssd_inception_v9"):
        build_network(config)


def real_train_boxes(folder):
    """LabelledImages of the dataset's train images, read without the workspace's own reader."""
    names = {name: {} for name in os.listdir(str(folder / "ShelfImages" / "train"))}
    rows = {}
    with open(str(folder / "annotations.csv"), newline="") as file:
        for row in csv.reader(file):
            if row[0] in names:
                rows.setdefault(row[0], []).append([float(value) for value in row[1:5]])
    return [
        labelled(found, Image.open(str(folder / "ShelfImages" / "train" / name)).size, name)
        for name, found in rows.items()
    ]


@pytest.mark.parametrize("name", ["ssd_inception_v2_shelf.config", "ssd_inception_v2_coco.config"])
def test_the_coverage_in_a_configs_comment_is_that_of_the_real_train_boxes(
    name, shelf_data, networks
):
    path = paths.TRAINING / name
    stated = search.stated_coverage(path.read_text(encoding="utf-8"))
    assert stated, f"no comment of the form {search.COMMENT!r}"
    config = pipeline.read(path)
    network = networks(config)
    laid, layer, _ = generate_anchors(config, grids_wh=network.grids_wh)
    covered = anchors.coverage(
        anchors.resized(real_train_boxes(shelf_data), network.image_wh),
        laid,
        layer,
        network.image_wh,
    )
    for share, threshold in stated:
        assert anchors.shares(covered.best_iou, [threshold])[0] == pytest.approx(share, abs=0.006)


def test_published_anchors_on_the_real_train_boxes(shelf_data):
    """The values that others published, one anchor on each of 19 x 19 and 10 x 10 cells at 300 px."""
    image_wh, grids_wh = (300, 300), [(19, 19), (10, 10)]
    boxes_xyxy = np.concatenate(anchors.resized(real_train_boxes(shelf_data), image_wh))
    assert len(boxes_xyxy) == 10536

    def met(scales, ratio):
        return anchors.shares(
            anchors.best_iou(boxes_xyxy, anchors.ssd_layers(grids_wh, image_wh, scales, ratio))[0],
            [0.5],
        )[0]

    assert met([0.2, 0.95], 1.0) == pytest.approx(0.02, abs=0.005)
    assert met([0.03, 0.058], [1.0, 0.76]) == pytest.approx(0.009, abs=0.001)
    assert met([0.03, 0.58], [1.0, 0.76]) == pytest.approx(0.0, abs=0.001)


def test_the_coverage_in_the_demo_configs_comment_is_that_of_the_drawn_train_boxes(
    script, tmp_path, networks
):
    script("00_make_demo_shelves").main(["--out", str(tmp_path / "drawn")])
    script("02_split_annotations").main(
        ["--images", str(tmp_path / "drawn"), "--out", str(tmp_path)]
    )
    text = (paths.TRAINING / "demo.config").read_text(encoding="utf-8")
    config = pipeline.parse(text, "demo.config")
    network = networks(config)
    laid, layer, _ = generate_anchors(config, grids_wh=network.grids_wh)
    by_image = anchors.resized(labels.read_labels(tmp_path / "train_labels.csv"), network.image_wh)
    covered = anchors.coverage(by_image, laid, layer, network.image_wh)
    ((share, threshold),) = search.stated_coverage(text)
    assert anchors.shares(covered.best_iou, [threshold])[0] == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize(
    "text, stated",
    [
        ("# coverage: 0.89 of the train boxes meet an anchor at IoU >= 0.5", [(0.89, 0.5)]),
        (
            "a: 1   # (step 03): 89 % of them meet an anchor at IoU 0.5. The zoo's: 2 %.",
            [(0.89, 0.5)],
        ),
        ("# at 300 px only 62 % of them\n# would meet an anchor", []),
    ],
)
def test_a_stated_coverage_is_found(text, stated):
    assert search.stated_coverage(text) == stated


# --- a config with other values --------------------------------------------------------------------------------------


def test_changed_replaces_what_it_names_and_nothing_else():
    config = pipeline.parse(TEXT, "default")
    other = pipeline.with_changes(
        config,
        [
            ("model.ssd.image_resizer.fixed_shape_resizer", "width: 640 height: 480"),
            (
                "model.ssd.anchor_generator.ssd_anchor_generator",
                "scales: 0.25 scales: 0.5",
            ),  # a list is replaced whole
            (
                "train_config.data_augmentation_options[4]",
                "random_rotation90 { }",
            ),  # one of several
            ("", "eval_config { num_visualizations: 3 }"),
        ],
    )
    assert pipeline.input_size(other) == (640, 480)
    generator = other.model.ssd.anchor_generator.ssd_anchor_generator
    assert list(generator.scales) == [0.25, 0.5] and generator.num_layers == 2
    kinds = [
        step.WhichOneof("preprocessing_step")
        for step in other.train_config.data_augmentation_options
    ]
    assert (
        kinds[4] == "random_rotation90" and len(kinds) == 5 and kinds[0] == "random_horizontal_flip"
    )
    assert other.eval_config.num_visualizations == 3 and not other.eval_config.metrics_set
    assert config == pipeline.parse(TEXT, "default"), "the config that was given stays as it is"


@pytest.mark.parametrize(
    "path, lines, told",
    [
        ("model.ssd.los", "localization_weight: 2", "los"),
        ("model.ssd.loss", "localisation_weight: 2", "localisation_weight"),
        ("train_config.data_augmentation_options[9]", "random_rotation90 { }", "index"),
        ("model.ssd.loss", "localization_weight: many", "many"),
    ],
)
def test_a_change_that_fits_nowhere_is_refused(path, lines, told):
    with pytest.raises(UserError, match=rf"change of .*{told}.*expected a block of the config"):
        pipeline.with_changes(pipeline.parse(TEXT, "default"), [(path, lines)])


def test_reading_names_the_records_of_a_folder(tmp_path):
    folder = tmp_path / 'a "b" \\ jos\u00e9 \u5e97'
    config = pipeline.with_changes(pipeline.parse(TEXT, "default"), pipeline.record_changes(folder))
    for reader, name in (
        (config.train_input_reader, "train"),
        (config.eval_input_reader[0], "val"),
    ):
        assert list(reader.tf_record_input_reader.input_path) == [str(folder / name) + ".record"]
        assert reader.max_number_of_boxes == 200 and reader.label_map_path, (
            "the rest of the reader stays"
        )


def test_starting_from_takes_a_graphs_folder_or_a_prefix(tmp_path):
    config = pipeline.parse(TEXT, "default")
    (tmp_path / "model.ckpt.index").write_text("")
    for start in (tmp_path, tmp_path / "model.ckpt"):
        train = pipeline.starting_from(config, start).train_config
        assert train.fine_tune_checkpoint == str(tmp_path / "model.ckpt")
        assert (train.fine_tune_checkpoint_type, train.load_all_detection_checkpoint_vars) == (
            "detection",
            True,
        )
        assert train.num_steps == config.train_config.num_steps
    for start in (tmp_path / "none", tmp_path / "model.ckpt.index"):
        with pytest.raises(
            UserError, match=r"--start-from .*\.index does not exist; expected a graph's folder"
        ):
            pipeline.starting_from(config, start)
