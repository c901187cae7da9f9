"""Step 05: every mistake that a config can hold is told, with its key and a line to write; a good config passes."""

import re

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.config import checks, findings, pipeline
from shelfdet.core import paths
from shelfdet.data import labels

TEXT = paths.SHIPPED_CONFIG.read_text(encoding="utf-8")
LABEL_MAP = "workspace/training_demo/annotations/label_map.pbtxt"
SSD = "model.ssd.anchor_generator.ssd_anchor_generator"
COSINE = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
NMS = "model.ssd.post_processing.batch_non_max_suppression"
NETWORKS = {}


@pytest.fixture(autouse=True)
def cached_networks(monkeypatch):
    """Builds each network once: most mistakes here leave it as it is."""
    build = checks.build_network

    def network(config, image_wh=None):
        ssd = config.model.ssd
        key = (
            ssd.image_resizer.SerializeToString(),
            ssd.feature_extractor.SerializeToString(),
            ssd.num_classes,
        )
        if key not in NETWORKS:
            NETWORKS[key] = build(config, image_wh)
        return NETWORKS[key]

    monkeypatch.setattr(checks, "build_network", network)


def pictures(prefix, count, products=12):
    """Images of 512 x 512 px with rows of products of a tenth of the side, upright."""
    random = np.random.RandomState(len(prefix) + count)
    images = []
    for number in range(count):
        low = random.uniform(0, 440, (products, 2))
        wh = np.array([37.0, 68.0]) * random.uniform(0.9, 1.1, (products, 2))
        images.append(
            labels.LabelledImage(
                f"{prefix}{number}.jpg",
                (512, 512),
                np.hstack([low, low + wh]),
                ("product",) * products,
            )
        )
    return images


def write_record(path, images, label_map):
    import tensorflow as tf

    from shelfdet.data import records

    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in images:
            writer.write(
                records.to_example(
                    image, b"no pixels", image.size_wh, label_map
                ).SerializeToString()
            )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder as the repository root is to a config: label map, label files and records of a small dataset."""
    folder = tmp_path_factory.mktemp("root")
    inside = folder / "workspace" / "training_demo" / "annotations"
    inside.mkdir(parents=True)
    (inside / "label_map.pbtxt").write_text("item {\n  id: 1\n  name: 'product'\n}\n")
    for split, count in (("train", 24), ("val", 4), ("test", 4)):
        labels.write_labels(pictures(split, count), inside / f"{split}_labels.csv")
        write_record(inside / f"{split}.record", pictures(split, count), {"product": 1})
    return folder


def check(root, text, label_files=("train", "val", "test")):
    path = root / "a.config"
    path.write_text(text, encoding="utf-8")
    inside = root / "workspace" / "training_demo" / "annotations"
    return checks.problems(
        path, {split: inside / f"{split}_labels.csv" for split in label_files}, root
    )


def told(checked, key, severity=findings.ERROR):
    """The findings at ``key``; says what there was instead where there are none."""
    found = [one for one in checked.findings if one.key == key and one.severity == severity]
    assert found, f"nothing at {key}: {[findings.as_text(one) for one in checked.findings]}"
    return found


def changed(pattern, replacement, text=TEXT):
    """The default config with one thing changed; fails if the pattern is not there."""
    result, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return result


GENERATOR = r"ssd_anchor_generator \{.*?interpolated_scale_aspect_ratio[^\n]*\n *\}"
FLEXIBLE = (
    "flexible_grid_anchor_generator {{ anchor_grid {{ base_sizes: 50 aspect_ratios: 0.55 height_stride: {0} "
    "width_stride: {0} "
    "height_offset: {1} width_offset: {1} }} anchor_grid {{ base_sizes: 82 aspect_ratios: 0.55 height_stride: "
    "32 width_stride: 32 "
    "height_offset: 16 width_offset: 16 }} {2} }}"
)


def test_the_default_config_passes(root):
    checked = check(root, TEXT)
    assert checked.findings.count(findings.ERROR) == 0, [
        findings.as_text(one) for one in checked.findings
    ]
    assert checked.coverage.best_iou.size == 24 * 12


@pytest.mark.parametrize("name", ["ssd_inception_v2_coco.config", "demo.config"])
def test_the_other_configs_pass_but_for_their_files(root, name):
    path = paths.TRAINING / name
    checked = check(root, path.read_text(encoding="utf-8"))
    errors = [one for one in checked.findings if one.severity == findings.ERROR]
    assert {one.key.split(".")[-1] for one in errors} <= {
        "input_path",
        "label_map_path",
        "fine_tune_checkpoint",
    }, [findings.as_text(one) for one in errors]


@pytest.mark.parametrize(
    "pattern, replacement, key, write",
    [
        # anchors
        (
            r"reduce_boxes_in_lowest_layer: false",
            "reduce_boxes_in_lowest_layer: true",
            SSD + ".reduce_boxes_in_lowest_layer",
            "reduce_boxes_in_lowest_layer: false",
        ),
        (
            r"reduce_boxes_in_lowest_layer: false",
            "",
            SSD + ".reduce_boxes_in_lowest_layer",
            "reduce_boxes_in_lowest_layer: false",
        ),
        (
            r"interpolated_scale_aspect_ratio: 0.0",
            "",
            SSD + ".interpolated_scale_aspect_ratio",
            "interpolated_scale_aspect_ratio: 0.0",
        ),
        (
            r"aspect_ratios: 0.55",
            "aspect_ratios: 0.5 aspect_ratios: 1.0",
            SSD + ".aspect_ratios",
            "aspect_ratios: 0.5",
        ),
        (r"aspect_ratios: 0.55", "", SSD + ".aspect_ratios", "aspect_ratios: 0.55"),
        (r"aspect_ratios: 0.55", "aspect_ratios: 0", SSD + ".aspect_ratios", "aspect_ratios: 0.55"),
        (r"aspect_ratios: 0.55", "scales: 0.3 aspect_ratios: 0.55", SSD + ".scales", "scales: "),
        (r"(aspect_ratios: 0.55)", r"\1 height_stride: 16", SSD + ".height_stride", "delete"),
        (
            r"ssd_anchor_generator \{\s*num_layers: 2",
            "ssd_anchor_generator {\nnum_layers: 3",
            SSD + ".num_layers",
            "num_layers: 2",
        ),
        (
            GENERATOR,
            "ssd_anchor_generator { num_layers: 2 scales: 0.1 aspect_ratios: 1 reduce_boxes_in_lowest_layer: false "
            "interpolated_scale_aspect_ratio: 0 }",
            SSD + ".scales",
            "scales: 0.1\nscales: 0.1",
        ),
        (
            GENERATOR,
            "ssd_anchor_generator { num_layers: 1 aspect_ratios: 1 reduce_boxes_in_lowest_layer: false "
            "interpolated_scale_aspect_ratio: 0 }",
            SSD + ".scales",
            "scales: 0.1",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(0, 0, ""),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[0]",
            "height_stride: 16\nwidth_stride: 16\nheight_offset: 8\nwidth_offset: 8",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 0, ""),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[0]",
            "height_offset: 8",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 7, ""),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[0]",
            "height_offset: 8",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "anchor_grid { base_sizes: 9 aspect_ratios: 1 }"),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid",
            "num_layers: 3",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "normalize_coordinates: false"),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.normalize_coordinates",
            "normalize_coordinates: true",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "").replace("base_sizes: 50", "base_sizes: 50 base_sizes: 60"),
            "model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[0].base_sizes",
            "base_sizes: 50",
        ),
        (
            GENERATOR,
            "grid_anchor_generator { }",
            "model.ssd.anchor_generator",
            "03_estimate_anchors.py",
        ),
        (
            r"fixed_shape_resizer \{.*?\}",
            "keep_aspect_ratio_resizer { }",
            "model.ssd.image_resizer",
            "fixed_shape_resizer",
        ),
        (r'type: "ssd_inception_v2"', 'type: "ssd_inception_v9"', "model", ""),
        # label map, classes, records
        (r"num_classes: 1 ", "num_classes: 2 ", "model.ssd.num_classes", "num_classes: 1"),
        (
            r'(train_input_reader \{\s*label_map_path: )"[^"]*"',
            r'\1"nowhere/map.pbtxt"',
            "train_input_reader.label_map_path",
            LABEL_MAP,
        ),
        (
            r'(eval_input_reader \{\s*)label_map_path: "[^"]*"',
            r"\1",
            "eval_input_reader.label_map_path",
            LABEL_MAP,
        ),
        (
            r"annotations/train.record",
            "annotations/none.record",
            "train_input_reader.tf_record_input_reader.input_path",
            "train.record",
        ),
        (
            r"annotations/val.record",
            "annotations/train.record",
            "eval_input_reader.tf_record_input_reader.input_path",
            "val.record",
        ),
        (
            r"annotations/val.record",
            "annotations/label_map.pbtxt",
            "eval_input_reader.tf_record_input_reader.input_path",
            "04_generate_tfrecords.py",
        ),
        (
            r"workspace/training_demo/annotations/train.record",
            "PATH_TO_BE_CONFIGURED/train.record",
            "input_path",
            "path",
        ),
        # limits
        (
            r"(train_input_reader.*?max_number_of_boxes: )200",
            r"\g<1>11",
            "train_input_reader.max_number_of_boxes",
            "max_number_of_boxes: 50",
        ),
        (
            r"(eval_input_reader.*?max_number_of_boxes: )200",
            r"\g<1>11",
            "eval_input_reader.max_number_of_boxes",
            "max_number_of_boxes: 50",
        ),
        (
            r"max_detections_per_class: 300",
            "max_detections_per_class: 11",
            NMS + ".max_detections_per_class",
            "max_detections_per_class: 50",
        ),
        (
            r"max_total_detections: 300",
            "max_total_detections: 11",
            NMS + ".max_total_detections",
            "max_total_detections: 50",
        ),
        # steps and learning rate
        (r"num_steps: \d+", "", "train_config.num_steps", "num_steps: 2800"),
        (
            r"num_steps: \d+(.*?)cosine_decay_learning_rate \{.*?\}",
            r"\1constant_learning_rate { learning_rate: 0.001 }",
            "train_config.num_steps",
            "num_steps: 2800",
        ),
        (r"total_steps: \d+", "total_steps: 99", COSINE + ".total_steps", "total_steps: "),
        (r"warmup_steps: \d+", "warmup_steps: 99999", COSINE + ".warmup_steps", "warmup_steps: "),
        (
            r"warmup_learning_rate: [\d.e-]+",
            "warmup_learning_rate: 1.0",
            COSINE + ".warmup_learning_rate",
            "warmup_learning_rate: ",
        ),
        (
            r"adam_optimizer \{.*?(use_moving_average)",
            r"\1",
            "train_config.optimizer",
            "adam_optimizer",
        ),
        (
            r"learning_rate_base: [\d.e-]+",
            "learning_rate_base: 0",
            COSINE + ".learning_rate_base",
            "learning_rate_base: 0.001",
        ),
        (
            r"learning_rate_base: [\d.e-]+",
            "learning_rate_base: -0.001",
            COSINE + ".learning_rate_base",
            "learning_rate_base: 0.001",
        ),
        (
            r"learning_rate_base: [\d.e-]+",
            "learning_rate_base: inf",
            COSINE + ".learning_rate_base",
            "learning_rate_base: 0.001",
        ),
        (
            r"decay: 0.97",
            "decay: 97",
            "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay",
            "decay: 0.97",
        ),
        # what feeds the network
        (r"batch_size: 4", "batch_size: 0", "train_config.batch_size", "batch_size: 4"),
        (
            r"(train_input_reader.*?shuffle_buffer_size: )256",
            r"\g<1>0",
            "train_input_reader.shuffle_buffer_size",
            "shuffle_buffer_size: 256",
        ),
        (
            r"(train_input_reader.*?num_readers: )1",
            r"\g<1>0",
            "train_input_reader.num_readers",
            "num_readers: 1",
        ),
        (
            r"(eval_input_reader.*?num_readers: )1",
            r"\g<1>0",
            "eval_input_reader.num_readers",
            "num_readers: 1",
        ),
        # fine-tuning
        (
            r"(num_steps: \d+)",
            r'\1 fine_tune_checkpoint: "nowhere/model.ckpt" fine_tune_checkpoint_type: "detection"',
            "train_config.fine_tune_checkpoint",
            "make pretrained",
        ),
        (
            r"(num_steps: \d+)",
            r'\1 fine_tune_checkpoint: "nowhere/model.ckpt"',
            "train_config.fine_tune_checkpoint_type",
            "detection",
        ),
        (
            r"(num_steps: \d+)",
            r'\1 fine_tune_checkpoint: "a" fine_tune_checkpoint_type: "detect"',
            "train_config.fine_tune_checkpoint_type",
            "detection",
        ),
        # augmentation
        (
            r"max_area: 1.0",
            "",
            "train_config.data_augmentation_options[{crop}].ssd_random_crop.operations[0].max_area",
            "max_area: 1",
        ),
        (
            r"min_aspect_ratio: [\d.]+",
            "",
            "train_config.data_augmentation_options[{crop}].ssd_random_crop.operations[0].min_aspect_ratio",
            "min_aspect_ratio: 0.6",
        ),
        # evaluation and the rest
        (
            r'metrics_set: "coco_detection_metrics"',
            'metrics_set: "coco_metrics"',
            "eval_config.metrics_set",
            "coco_detection_metrics",
        ),
        (
            r'metrics_set: "coco_detection_metrics"',
            'metrics_set: "pascal_voc_detection_metrics"',
            "eval_config.metrics_set",
            "coco",
        ),
        (
            r"score_converter: SIGMOID",
            "",
            "model.ssd.post_processing.score_converter",
            "score_converter: SIGMOID",
        ),
        (
            r"override_base_feature_extractor_hyperparams: true",
            "",
            "model.ssd.feature_extractor.override_base_feature_extractor_hyperparams",
            "override_base_feature_extractor_hyperparams: true",
        ),
    ],
)
def test_an_error_is_told_with_its_key_and_a_line_to_write(root, pattern, replacement, key, write):
    text = changed(pattern, replacement)
    crop = [
        step.WhichOneof("preprocessing_step")
        for step in pipeline.parse(TEXT, "default").train_config.data_augmentation_options
    ].index("ssd_random_crop")
    found = told(check(root, text), key.format(crop=crop))[0]
    assert write in found.write
    assert found.found and found.expected
    assert found.line is None or 1 <= found.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "pattern, replacement, key, write",
    [
        (
            r"(train_config \{)",
            r"\1 max_number_of_boxes: 300",
            "train_config.max_number_of_boxes",
            "delete",
        ),
        (r"(eval_config \{)", r"\1 num_examples: 71", "eval_config.num_examples", "delete"),
        (
            r"(eval_config \{)",
            r"\1 eval_interval_secs: 60",
            "eval_config.eval_interval_secs",
            "delete",
        ),
        (
            r"decay: 0.9\d+",
            "decay: 0.9997",
            "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay",
            "decay: 0.97",
        ),
        (
            r"cosine_decay_learning_rate \{.*?\}",
            "exponential_decay_learning_rate { decay_steps: 800720 decay_factor: 0.95 }",
            "train_config.optimizer.adam_optimizer.learning_rate.exponential_decay_learning_rate.decay_steps",
            "decay_steps: ",
        ),
        (
            r"max_num_boxes_to_visualize: \d+",
            "max_num_boxes_to_visualize: 5",
            "eval_config.max_num_boxes_to_visualize",
            "max_num_boxes_to_visualize: 50",
        ),
        (
            r"ssd_random_crop \{.*?\n    \}\n",
            "ssd_random_crop { }\n",
            "train_config.data_augmentation_options[{crop}].ssd_random_crop",
            "operations {",
        ),
        (r"batch_size: \d+", "batch_size: 64", "train_config.batch_size", "batch_size: 6"),
        (
            r"annotations/val.record",
            "annotations/test.record",
            "eval_input_reader.tf_record_input_reader.input_path",
            "val.record",
        ),
        (
            r"(train_input_reader \{)",
            r"\1 num_epochs: 2",
            "train_input_reader.num_epochs",
            "delete",
        ),
        (
            r"min_depth: 16",
            "min_depth: 64",
            "model.ssd.feature_extractor.min_depth",
            "min_depth: 16",
        ),
        (
            r"depth_multiplier: 0.5",
            "depth_multiplier: 0.1",
            "model.ssd.feature_extractor.min_depth",
            "min_depth: 6",
        ),
        (
            r"learning_rate_base: [\d.e-]+",
            "learning_rate_base: 0.1",
            COSINE + ".learning_rate_base",
            "learning_rate_base: 0.001",
        ),
        (
            r"score_threshold: [\d.e-]+",
            "score_threshold: 0.3",
            NMS + ".score_threshold",
            "score_threshold: 1e-8",
        ),
        # poor coverage
        (r"scales: 0.0\d+", "scales: 0.03", "model.ssd.anchor_generator", "scales: "),
        (
            r"(model \{)",
            r"# coverage: 0.31 of the train boxes meet an anchor at IoU >= 0.5\n\1",
            "model.ssd.anchor_generator",
            "# coverage: ",
        ),
    ],
)
def test_a_warning_is_told_with_its_key_and_a_line_to_write(root, pattern, replacement, key, write):
    crop = [
        step.WhichOneof("preprocessing_step")
        for step in pipeline.parse(TEXT, "default").train_config.data_augmentation_options
    ].index("ssd_random_crop")
    checked = check(root, changed(pattern, replacement))
    assert write in told(checked, key.format(crop=crop), findings.WARNING)[-1].write
    assert checked.findings.count(findings.ERROR) == 0


def test_poor_coverage_is_mended_by_the_lines_that_are_told(root):
    poor = check(root, changed(r"scales: 0.0\d+", "scales: 0.03"))
    lines = told(poor, "model.ssd.anchor_generator", findings.WARNING)[-1].write
    mended = check(root, changed(r"anchor_generator \{.*?\n    \}\n", lines + "\n"))
    assert not [one for one in mended.findings if one.key.startswith("model.ssd.anchor_generator")]
    assert mended.coverage.best_iou.mean() > poor.coverage.best_iou.mean()


@pytest.mark.parametrize("layers", [1, 3])
def test_a_generator_of_another_layer_count_that_agrees_with_itself_is_kept(root, layers):
    text = changed(
        GENERATOR,
        "ssd_anchor_generator { num_layers: %d %s aspect_ratios: 0.55 "
        "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0.0 }"
        % (layers, "scales: 0.1 " * layers),
    )
    checked = check(root, text)
    (found,) = [one for one in checked.findings if one.severity == findings.ERROR]
    assert (
        found.key == "model.ssd.feature_extractor.num_layers"
        and found.write == "num_layers: %d" % layers
    )
    assert not [one for one in checked.findings if one.key.startswith("model.ssd.anchor_generator")]
    mended = check(
        root, changed(r"(feature_extractor \{.*?)num_layers: 2", r"\g<1>" + found.write, text)
    )
    assert mended.findings.count(findings.ERROR) == 0


def test_an_input_too_small_for_the_products_is_told(root):
    checked = check(root, changed(r"height: 512(.*?)width: 512", r"height: 128\1width: 128"))
    assert (
        "03_estimate_anchors"
        in told(checked, "model.ssd.image_resizer.fixed_shape_resizer", findings.WARNING)[0].write
    )


def test_flexible_grids_on_their_cells_centres_pass(root):
    checked = check(root, changed(GENERATOR, FLEXIBLE.format(16, 8, "")))
    assert checked.findings.count(findings.ERROR) == 0


def test_every_problem_is_told_in_one_go(root):
    text = changed("reduce_boxes_in_lowest_layer: false", "")
    text = changed(r"num_classes: 1 ", "num_classes: 3 ", text)
    text = changed(r"total_steps: \d+", "total_steps: 7", text)
    text = changed(r"annotations/train.record", "annotations/none.record", text)
    assert {one.key.split(".")[-1] for one in check(root, text).findings} >= {
        "reduce_boxes_in_lowest_layer",
        "num_classes",
        "total_steps",
        "input_path",
    }


def test_a_checkpoint_file_instead_of_its_prefix(root):
    (root / "model.ckpt.index").write_bytes(b"")
    for written in ("model.ckpt.index", "model.ckp"):
        text = changed(
            r"(num_steps: \d+)",
            rf'\1 fine_tune_checkpoint: "{written}" fine_tune_checkpoint_type: "detection"',
        )
        found = told(check(root, text), "train_config.fine_tune_checkpoint")[0]
        assert found.write == 'fine_tune_checkpoint: "model.ckpt"'


def test_a_checkpoint_of_another_depth_is_told(root):
    import tensorflow as tf

    network = check(root, TEXT).network
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, shape in network.variables.items():
            if name.startswith("FeatureExtractor") and len(shape) == 1:
                tf.compat.v1.get_variable(name, (shape[0] * 2,))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(root / "wide.ckpt"))
    text = changed(
        r"(num_steps: \d+)",
        r'\1 fine_tune_checkpoint: "wide.ckpt" fine_tune_checkpoint_type: "detection"',
    )
    found = told(check(root, text), "train_config.fine_tune_checkpoint")[0]
    assert (
        found.found.startswith("0 of")
        and "depth_multiplier" in found.expected
        and "pipeline.config beside it" in found.write
    )


def test_a_start_from_other_weights_is_checked_whole(root, tmp_path):
    import tensorflow as tf

    path = root / "a.config"
    path.write_text(TEXT)
    network = check(root, TEXT).network
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, shape in network.variables.items():
            tf.compat.v1.get_variable(name, shape)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    assert not [
        one
        for one in checks.problems(path, {}, root, tmp_path).findings
        if "fine_tune_checkpoint" in one.key
    ]
    path.write_text(TEXT.replace("num_classes: 1 ", "num_classes: 3 "))
    found = told(
        checks.problems(path, {}, root, tmp_path),
        "train_config.fine_tune_checkpoint",
        findings.WARNING,
    )[0]
    assert re.match(
        r"350 of the network's 354 variables are in it with this shape; BoxPredictor_0/ClassPredictor/biases is \(2,\) "
        r"there and \(4,\) here",
        found.found,
    )
    assert found.expected.endswith("and num_classes") and "pipeline.config beside it" in found.write


def test_more_products_in_a_test_image_than_detections(root, tmp_path):
    crowded = pictures("crowded", 1, 301)
    labels.write_labels(crowded, tmp_path / "test_labels.csv")
    path = root / "a.config"
    path.write_text(TEXT)
    checked = checks.problems(path, {"test": tmp_path / "test_labels.csv"}, root)
    assert told(checked, NMS + ".max_total_detections")[0].write == "max_total_detections: 500"


def test_a_class_that_the_label_map_lacks(root, tmp_path):
    image = labels.LabelledImage("a.jpg", (512, 512), np.array([[1.0, 1, 40, 60]]), ("milk",))
    labels.write_labels([image], tmp_path / "train_labels.csv")
    path = root / "a.config"
    path.write_text(TEXT)
    checked = checks.problems(path, {"train": tmp_path / "train_labels.csv"}, root)
    assert "milk" in told(checked, "class")[0].found


@pytest.mark.parametrize(
    "spoil, where",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "fails after"),
        (lambda path: path.write_bytes(b""), "no images"),
        (
            lambda path: path.write_bytes(
                b"not a record at all, only text that is long enough to be read as a length"
            ),
            "fails after 0",
        ),
    ],
)
def test_a_spoilt_record_is_told(root, spoil, where):
    path = root / "workspace" / "training_demo" / "annotations" / "spoilt.record"
    write_record(path, pictures("val", 4), {"product": 1})
    spoil(path)
    checked = check(root, TEXT.replace("annotations/val.record", "annotations/spoilt.record"))
    assert where in told(checked, "eval_input_reader.tf_record_input_reader.input_path")[0].found


def test_a_record_that_is_older_than_the_labels_is_told(root):
    path = root / "workspace" / "training_demo" / "annotations" / "old.record"
    write_record(path, pictures("val", 3), {"product": 1})
    checked = check(root, TEXT.replace("annotations/val.record", "annotations/old.record"))
    assert (
        "04_generate"
        in told(checked, "eval_input_reader.tf_record_input_reader.input_path", findings.WARNING)[
            0
        ].write
    )


def test_a_image_twice_in_a_record_is_told(root):
    path = root / "workspace" / "training_demo" / "annotations" / "twice.record"
    write_record(path, pictures("val", 3) * 2, {"product": 1})
    checked = check(root, TEXT.replace("annotations/val.record", "annotations/twice.record"))
    assert (
        "more than once"
        in told(checked, "eval_input_reader.tf_record_input_reader.input_path")[0].found
    )


def test_a_class_id_outside_the_label_map_is_told(root):
    path = root / "workspace" / "training_demo" / "annotations" / "ids.record"
    write_record(path, pictures("val", 4), {"product": 5})
    checked = check(root, TEXT.replace("annotations/val.record", "annotations/ids.record"))
    assert "id 5" in told(checked, "image/object/class/label")[0].found


def test_the_line_of_a_key_is_found_through_comments_strings_and_repeated_blocks():
    text = (
        "# model {\nmodel { ssd {\n  num_classes: 1  # num_classes: 9 {\n} }\ntrain_config {\n  "
        "data_augmentation_options {\n"
        "    random_horizontal_flip { }\n  }\n  data_augmentation_options {\n    ssd_random_crop { operations { "
        "max_area: 1 } }\n  }\n"
        '  fine_tune_checkpoint: "a { b"\n  num_steps: 5\n}\n'
    )
    found = findings.Findings("a.config", text)
    for key in (
        "model.ssd.num_classes",
        "train_config.data_augmentation_options[1].ssd_random_crop.operations[0].max_area",
        "train_config.num_steps",
        "train_config.batch_size",
        "eval_config.metrics_set",
    ):
        found.error(key, "", "")
    assert [one.line for one in found] == [3, 10, 13, 5, None]


def test_the_script_prints_and_ends_with_a_status(root, script, capsys, monkeypatch):
    inside = root / "workspace" / "training_demo" / "annotations"
    monkeypatch.setattr(checks.problems, "__defaults__", (None, root, None))
    good, bad = root / "good.config", root / "bad.config"
    good.write_text(TEXT)
    bad.write_text(changed("reduce_boxes_in_lowest_layer: false", ""))
    named = [
        f"--{split}-labels={inside / f'{split}_labels.csv'}" for split in ("train", "val", "test")
    ]
    main = script("05_check_config").main
    assert main(["--config", str(good)] + named) == 0
    shown = capsys.readouterr().out
    assert "one anchor per cell" in shown and "32 x 32 and 16 x 16" in shown
    assert main(["--config", str(bad)] + named) == 1
    shown = capsys.readouterr().out
    assert (
        "reduce_boxes_in_lowest_layer: false" in shown
        and "1 error" in shown
        and "bad.config:" in shown
    )


def test_the_script_refuses_a_label_file_that_is_not_there(script, tmp_path):
    with pytest.raises(UserError, match="train-labels"):
        script("05_check_config").main(["--train-labels", str(tmp_path / "none.csv")])
