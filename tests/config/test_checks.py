"""Step 05: every mistake of a config is reported with its key and the line to write."""

import contextlib
import re
import shutil

import numpy as np
import pytest
from google.protobuf import text_format

from shelfdet import UserError
from shelfdet.config import (
    checks,
    file_checks,
    findings,
    input_checks,
    pipeline,
    record_checks,
)
from shelfdet.core import paths
from shelfdet.data import labels

SHIPPED_TEXT = paths.SHIPPED_CONFIG.read_text(encoding="utf-8")
# From random weights and without comments, for the regular expressions below
TEXT = re.sub(r" *#[^\n]*| *fine_tune_checkpoint\w*:[^\n]*\n", "", SHIPPED_TEXT)
ANNOTATIONS = "workspace/training_demo/annotations"
LABEL_MAP = ANNOTATIONS + "/label_map.pbtxt"
SSD = "model.ssd.anchor_generator.ssd_anchor_generator"
COSINE = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
NMS = "model.ssd.post_processing.batch_non_max_suppression"
NETWORKS = {}


@pytest.fixture(autouse=True)
def cached_networks(monkeypatch):
    """Builds each network once: most changes in these tests do not concern it."""
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


def product_images(prefix, count, products=12):
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

    from shelfdet.data import examples, records

    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in images:
            example = examples.whole(image)
            proto = records.to_example(example, b"no pixels", image.size_wh, label_map)
            writer.write(proto.SerializeToString())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A stand-in for the repository root: label map, label files and records of a small dataset."""
    folder = tmp_path_factory.mktemp("root")
    inside = folder / ANNOTATIONS
    inside.mkdir(parents=True)
    (inside / "label_map.pbtxt").write_text("item {\n  id: 1\n  name: 'product'\n}\n")
    # The training of the included config starts with the weights of a graph.
    (inside.parent / paths.GRAPHS.name).symlink_to(paths.GRAPHS)
    for split, count in (("train", 24), ("val", 4), ("test", 4)):
        labels.write_labels(product_images(split, count), inside / f"{split}_labels.csv")
        write_record(inside / f"{split}.record", product_images(split, count), {"product": 1})
    return folder


def check(root, text):
    path = root / "a.config"
    path.write_text(text, encoding="utf-8")
    label_files = {split: [root / ANNOTATIONS / f"{split}_labels.csv"] for split in paths.SPLITS}
    return checks.check_config(path, label_files, root)


def findings_at(checked, key, severity=findings.ERROR):
    """The findings at ``key``; fails with all findings if there are none."""
    found = [one for one in checked.findings if one.key == key and one.severity == severity]
    assert found, f"nothing at {key}: {[findings.as_text(one) for one in checked.findings]}"
    return found


def changed(pattern, replacement, text=TEXT):
    """The included config with one change; fails if the pattern does not occur."""
    result, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return result


def applied(text, finding):
    """The text of the config after the advice of a finding is followed.

    None where the advice is no line of the config.
    """
    config = pipeline.parse(text, "a.config")
    key = finding.key.replace("eval_input_reader.", "eval_input_reader[0].")
    block, _, name = key.rpartition(".")
    lines = finding.write.split("\n(")[0].split("\nor ")[0]
    if lines == findings.DELETE_LINE:
        pipeline._block(config, block).ClearField(name)
        return text_format.MessageToString(config)
    if not re.match(r"(#[^\n]*\n\s*)*\w+(:| \{)", lines):
        return None
    for path in (block, key):  # some lines belong inside of the block that the key names
        try:
            return text_format.MessageToString(pipeline.with_changes(config, [(path, lines)]))
        except UserError:
            pass
    raise AssertionError(f"{lines!r} can be written neither in {block} nor in {key}")


def assert_advice_helps(root, text, finding):
    """Fails if the finding is still there after its own advice was followed."""
    corrected = applied(text, finding)
    if corrected is None:
        return
    left = [
        findings.as_text(one)
        for one in check(root, corrected).findings
        if (one.key, one.severity) == (finding.key, finding.severity)
    ]
    assert not left, f"{finding.write!r} was written, and then: {left}"


def only_errors(checked):
    return [one for one in checked.findings if one.severity == findings.ERROR]


# The anchor generator of the included config, and one of the other kind with places for values
GENERATOR = r"ssd_anchor_generator \{.*?interpolated_scale_aspect_ratio[^\n]*\n *\}"
FLEXIBLE = """
flexible_grid_anchor_generator {{
  anchor_grid {{
    base_sizes: 50 aspect_ratios: 0.55
    height_stride: {0} width_stride: {0} height_offset: {1} width_offset: {1}
  }}
  anchor_grid {{
    base_sizes: 82 aspect_ratios: 0.55
    height_stride: 32 width_stride: 32 height_offset: 16 width_offset: 16
  }}
  {2}
}}
"""
FLEXIBLE_KEY = "model.ssd.anchor_generator.flexible_grid_anchor_generator"
ONE_PER_CELL = "reduce_boxes_in_lowest_layer: false interpolated_scale_aspect_ratio: 0.0"
TRAIN_RECORDS = "train_input_reader.tf_record_input_reader.input_path"
EVAL_RECORDS = "eval_input_reader.tf_record_input_reader.input_path"
CROP = "train_config.data_augmentation_options[4].ssd_random_crop_pad"
CHECKPOINT = "train_config.fine_tune_checkpoint"
FIRST_GRID = FLEXIBLE_KEY + ".anchor_grid[0]"
REDUCE = "reduce_boxes_in_lowest_layer"
LEARNING_RATE = r"learning_rate_base: [\d.e-]+"
BASE_RATE = COSINE + ".learning_rate_base"
BATCH_NORM_DECAY = "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay"


def test_the_shipped_config_passes(root):
    checked = check(root, SHIPPED_TEXT)
    assert not only_errors(checked)
    assert checked.coverage.best_iou.size == 24 * 12


@pytest.mark.parametrize("name", ["ssd_inception_v2_coco.config", "demo.config"])
def test_the_other_configs_have_no_errors_except_missing_files(root, name):
    path = paths.TRAINING / name
    checked = check(root, path.read_text(encoding="utf-8"))
    missing_files = {"input_path", "label_map_path", "fine_tune_checkpoint"}
    assert {one.key.split(".")[-1] for one in only_errors(checked)} <= missing_files


@pytest.mark.parametrize(
    "pattern, replacement, key, write",
    [
        # anchors
        *[
            (REDUCE + ": false", replacement, f"{SSD}.{REDUCE}", REDUCE + ": false")
            for replacement in (REDUCE + ": true", "")
        ],
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
            f"ssd_anchor_generator {{ num_layers: 2 scales: 0.1 aspect_ratios: 1 {ONE_PER_CELL} }}",
            SSD + ".scales",
            "scales: 0.1\nscales: 0.1",
        ),
        (
            GENERATOR,
            f"ssd_anchor_generator {{ num_layers: 1 aspect_ratios: 1 {ONE_PER_CELL} }}",
            SSD + ".scales",
            "scales: 0.1",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(0, 0, ""),
            FIRST_GRID,
            "height_stride: 16\nwidth_stride: 16\nheight_offset: 8\nwidth_offset: 8",
        ),
        *[
            (GENERATOR, FLEXIBLE.format(16, offset, ""), FIRST_GRID, "height_offset: 8")
            for offset in (0, 7)
        ],
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "anchor_grid { base_sizes: 9 aspect_ratios: 1 }"),
            FLEXIBLE_KEY + ".anchor_grid",
            "num_layers: 3",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "normalize_coordinates: false"),
            FLEXIBLE_KEY + ".normalize_coordinates",
            "normalize_coordinates: true",
        ),
        (
            GENERATOR,
            FLEXIBLE.format(16, 8, "").replace("base_sizes: 50", "base_sizes: 50 base_sizes: 60"),
            FLEXIBLE_KEY + ".anchor_grid[0].base_sizes",
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
        (r"num_classes: 1", "num_classes: 2", "model.ssd.num_classes", "num_classes: 1"),
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
        (r"annotations/train.record", "annotations/none.record", TRAIN_RECORDS, "train.record"),
        (r"annotations/val.record", "annotations/train.record", EVAL_RECORDS, "val.record"),
        (
            r"annotations/val.record",
            "annotations/label_map.pbtxt",
            EVAL_RECORDS,
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
        (r"num_steps: \d+", "", "train_config.num_steps", "num_steps: 2400"),
        (
            r"num_steps: \d+(.*?)cosine_decay_learning_rate \{.*?\}",
            r"\1constant_learning_rate { learning_rate: 0.001 }",
            "train_config.num_steps",
            "num_steps: 2800",
        ),
        (r"total_steps: \d+", "total_steps: 99", COSINE + ".total_steps", "total_steps: "),
        (r"warmup_steps: \d+", "warmup_steps: 99999", COSINE + ".warmup_steps", "warmup_steps: "),
        (
            r"warmup_steps: \d+",
            "warmup_steps: 100 hold_base_rate_steps: 5000",
            COSINE + ".warmup_steps",
            "warmup_steps: 120\nhold_base_rate_steps: 0",
        ),
        (
            r"scales: [\d.]+\s*scales: [\d.]+",
            "scales: 0.2 scales: 0",
            SSD + ".scales",
            "scales: 0.2\nscales: 0.2",
        ),
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
        *[
            (LEARNING_RATE, f"learning_rate_base: {rate}", BASE_RATE, "learning_rate_base: 0.001")
            for rate in ("0", "-0.001", "inf")
        ],
        (r"decay: 0.97", "decay: 97", BATCH_NORM_DECAY, "decay: 0.97"),
        # input of the training
        (r"batch_size: 4", "batch_size: 0", "train_config.batch_size", "batch_size: 4"),
        (
            r"(train_input_reader.*?shuffle_buffer_size: )256",
            r"\g<1>0",
            "train_input_reader.shuffle_buffer_size",
            "shuffle_buffer_size: 256",
        ),
        *[
            (rf"({reader}.*?num_readers: )1", r"\g<1>0", f"{reader}.num_readers", "num_readers: 1")
            for reader in ("train_input_reader", "eval_input_reader")
        ],
        # fine-tuning
        (
            r"(num_steps: \d+)",
            r'\1 fine_tune_checkpoint: "nowhere/model.ckpt" fine_tune_checkpoint_type: "detection"',
            CHECKPOINT,
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
        (r"max_area: 1.0", "", CROP + ".operations[0].max_area", "max_area: 1"),
        (
            r"min_aspect_ratio: [\d.]+",
            "",
            CROP + ".operations[0].min_aspect_ratio",
            "min_aspect_ratio: 0.6",
        ),
        (
            r"min_aspect_ratio: [\d.]+",
            "min_aspect_ratio: 2.5",
            CROP + ".operations[0].max_aspect_ratio",
            "max_aspect_ratio: 2.5",
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
def test_an_error_names_its_key_and_the_line_to_write(root, pattern, replacement, key, write):
    text = changed(pattern, replacement)
    found = findings_at(check(root, text), key)[0]
    assert write in found.write
    assert found.found and found.expected
    assert found.line is None or 1 <= found.line <= text.count("\n") + 1
    assert_advice_helps(root, text, found)


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
        (r"decay: 0.9\d+", "decay: 0.9997", BATCH_NORM_DECAY, "decay: 0.97"),
        (r"warmup_steps: \d+", "warmup_steps: 1400", COSINE + ".warmup_steps", "warmup_steps: 120"),
        (
            r"cosine_decay_learning_rate \{.*?\}",
            "exponential_decay_learning_rate { decay_steps: 500 burnin_steps: 2400 }",
            "train_config.optimizer.adam_optimizer.learning_rate.exponential_decay_learning_rate."
            "burnin_steps",
            "burnin_steps: 120",
        ),
        # The usual decay of batch norm is too high for few steps.
        (
            r"num_steps: \d+(.*?total_steps: )\d+(.*?warmup_steps: )\d+",
            r"num_steps: 100\g<1>100\g<2>5",
            BATCH_NORM_DECAY,
            "decay: 0.954",
        ),
        (
            r"cosine_decay_learning_rate \{.*?\}",
            "manual_step_learning_rate { initial_learning_rate: 0.001 "
            "schedule { step: 5000 learning_rate: 0.0005 } "
            "schedule { step: 9000 learning_rate: 0.0001 } }",
            "train_config.optimizer.adam_optimizer.learning_rate.manual_step_learning_rate.schedule",
            "schedule { step: 888 learning_rate: 0.0005 }\nschedule { step: 1600 ",
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
            r"ssd_random_crop_pad \{.*?\n    \}\n",
            "ssd_random_crop_pad { }\n",
            CROP,
            "operations {",
        ),
        (r"batch_size: \d+", "batch_size: 64", "train_config.batch_size", "batch_size: 6"),
        (r"annotations/val.record", "annotations/test.record", EVAL_RECORDS, "val.record"),
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
        (LEARNING_RATE, "learning_rate_base: 0.1", BASE_RATE, "learning_rate_base: 0.001"),
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
            r"# anchor coverage: 0.31 of the train boxes at IoU >= 0.5\n\1",
            "model.ssd.anchor_generator",
            "# anchor coverage: ",
        ),
    ],
)
def test_a_warning_names_its_key_and_the_line_to_write(root, pattern, replacement, key, write):
    text = changed(pattern, replacement)
    checked = check(root, text)
    found = findings_at(checked, key, findings.WARNING)[-1]
    assert write in found.write
    assert checked.findings.count(findings.ERROR) == 0
    assert_advice_helps(root, text, found)


def test_the_reported_lines_correct_poor_coverage(root):
    generator = "model.ssd.anchor_generator"
    poor = check(root, changed(r"scales: 0.0\d+", "scales: 0.03"))
    lines = findings_at(poor, generator, findings.WARNING)[-1].write
    corrected = check(root, changed(r"anchor_generator \{.*?\n    \}\n", lines + "\n"))
    assert not corrected.findings.has(generator)
    assert corrected.coverage.best_iou.mean() > poor.coverage.best_iou.mean()


@pytest.mark.parametrize("layers", [1, 3])
def test_a_consistent_generator_with_another_layer_count_decides(root, layers):
    scales = "scales: 0.1 " * layers
    generator = (
        f"ssd_anchor_generator {{ num_layers: {layers} {scales} aspect_ratios: 0.55 "
        f"{ONE_PER_CELL} }}"
    )
    text = changed(GENERATOR, generator)
    checked = check(root, text)
    (error,) = only_errors(checked)
    assert error.key == "model.ssd.feature_extractor.num_layers"
    assert error.write == f"num_layers: {layers}"
    assert not checked.findings.has("model.ssd.anchor_generator")
    corrected = check(
        root, changed(r"(feature_extractor \{.*?)num_layers: 2", r"\g<1>" + error.write, text)
    )
    assert not only_errors(corrected)


def test_an_input_too_small_for_the_products_is_reported(root):
    checked = check(root, changed(r"height: 512(.*?)width: 512", r"height: 128\1width: 128"))
    key = "model.ssd.image_resizer.fixed_shape_resizer"
    (warning,) = findings_at(checked, key, findings.WARNING)
    # The advice can be reached: with its lines there is no warning any more.
    (side,) = set(re.findall(r"(?:height|width): (\d+)", warning.write))
    assert int(side) > 128
    lines = warning.write[warning.write.index("anchor_generator") :]
    layers = re.search(r"num_layers: (\d)", lines).group()
    text = changed(r"height: 512(.*?)width: 512", rf"height: {side}\1width: {side}")
    text = changed(r"anchor_generator \{.*?\n    \}\n", lines + "\n", text)
    text = changed(r"(feature_extractor \{.*?)num_layers: 2", r"\g<1>" + layers, text)
    corrected = check(root, text)
    assert not corrected.findings.has(key)
    assert not corrected.findings.has("model.ssd.anchor_generator")


def test_flexible_grids_in_the_centres_of_their_cells_pass(root):
    assert not only_errors(check(root, changed(GENERATOR, FLEXIBLE.format(16, 8, ""))))


def test_all_problems_are_reported_at_once(root):
    text = changed("reduce_boxes_in_lowest_layer: false", "")
    text = changed("num_classes: 1", "num_classes: 3", text)
    text = changed(r"total_steps: \d+", "total_steps: 7", text)
    text = changed(r"annotations/train.record", "annotations/none.record", text)
    keys = {one.key.split(".")[-1] for one in check(root, text).findings}
    assert keys >= {"reduce_boxes_in_lowest_layer", "num_classes", "total_steps", "input_path"}


# --- checkpoints ---


def fine_tuning_from(checkpoint):
    """The included config, fine-tuned from the checkpoint of a detector."""
    lines = f'fine_tune_checkpoint: "{checkpoint}" fine_tune_checkpoint_type: "detection"'
    return changed(r"(num_steps: \d+)", rf"\1 {lines}")


def save_checkpoint(shapes, prefix, zero=()):
    """Writes a checkpoint of variables of random values, or of 0 for the names in ``zero``."""
    import tensorflow as tf

    random = np.random.RandomState(0)
    values = [
        np.zeros(shape, np.float32) if name in zero else random.rand(*shape).astype(np.float32)
        for name, shape in shapes.items()
    ]
    # One operation: a graph of hundreds of variables takes seconds to build.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        session.run(
            tf.raw_ops.SaveV2(
                prefix=str(prefix),
                tensor_names=list(shapes),
                shape_and_slices=[""] * len(shapes),
                tensors=values,
            )
        )


@pytest.mark.parametrize("written", ["model.ckpt.index", "model.ckp"])
def test_a_checkpoint_file_instead_of_its_prefix(root, written):
    (root / "model.ckpt.index").write_bytes(b"")
    found = findings_at(check(root, fine_tuning_from(written)), CHECKPOINT)[0]
    assert found.write == 'fine_tune_checkpoint: "model.ckpt"'


@pytest.mark.parametrize("written", ["zoo", "zoo/frozen_inference_graph.pb", "zoo/model.ckp"])
def test_the_folder_or_the_graph_of_a_checkpoint_instead_of_its_prefix(root, written):
    (root / "zoo").mkdir(exist_ok=True)
    for name in ("model.ckpt.index", "frozen_inference_graph.pb"):
        (root / "zoo" / name).write_bytes(b"")
    found = findings_at(check(root, fine_tuning_from(written)), CHECKPOINT)[0]
    assert found.found.endswith("; in zoo: model.ckpt")
    assert found.write == 'fine_tune_checkpoint: "zoo/model.ckpt"'


@pytest.mark.parametrize(
    "folder, write",
    [
        ("zoo", "run `make pretrained`"),
        ("zoo/included", "restore it: git checkout -- "),
        ("mine", "copy or export the checkpoint again"),
    ],
)
def test_a_damaged_checkpoint_comes_with_a_remedy(root, monkeypatch, folder, write):
    monkeypatch.setattr(paths, "PRETRAINED", root / "zoo")
    monkeypatch.setattr(paths, "FAST_START", root / "zoo" / "included")
    (root / folder / "a").mkdir(parents=True, exist_ok=True)
    (root / folder / "a" / "model.ckpt.index").write_bytes(b"damaged")
    found = findings_at(check(root, fine_tuning_from(f"{folder}/a/model.ckpt")), CHECKPOINT)[0]
    assert "cannot be read" in found.found
    assert found.write.startswith(write)


def test_a_run_folder_or_a_record_that_tensorflow_reads_as_a_pattern(root):
    folder = root / "a[1]"
    folder.mkdir(exist_ok=True)
    write_record(folder / "train.record", product_images("train", 24), {"product": 1})
    path = root / "a.config"
    path.write_text(TEXT.replace(f"{ANNOTATIONS}/train.record", "a[1]/train.record"))
    checked = checks.check_config(path, {}, root, run=folder)
    for key in (TRAIN_RECORDS, "run folder --run-dir (make: RUN_DIR=)"):
        found = findings_at(checked, key)[0]
        assert "'[' in the path; TensorFlow reads it as a pattern" in found.found
        assert found.expected == "a path without any of * ? [ \\"


def test_a_checkpoint_of_another_depth_is_reported(root):
    variables = check(root, TEXT).network.variables
    wider = {
        name: (shape[0] * 2,)
        for name, shape in variables.items()
        if name.startswith("FeatureExtractor") and len(shape) == 1
    }
    save_checkpoint(wider, root / "wide.ckpt")
    found = findings_at(check(root, fine_tuning_from("wide.ckpt")), CHECKPOINT)[0]
    assert found.found.startswith("0 of")
    assert "depth_multiplier" in found.expected
    assert "pipeline.config beside it" in found.write


def test_another_depth_multiplier_than_that_of_the_checkpoints_network_is_named(root, tmp_path):
    save_checkpoint(check(root, TEXT).network.variables, tmp_path / "model.ckpt")
    (tmp_path / "pipeline.config").write_text(TEXT)
    fine_tuned = fine_tuning_from(tmp_path / "model.ckpt")
    assert not check(root, fine_tuned).findings.has(CHECKPOINT)
    wider = changed(r"depth_multiplier: 0\.5", "depth_multiplier: 0.75", fine_tuned)
    key = "model.ssd.feature_extractor.depth_multiplier"
    checked = check(root, wider)
    found = findings_at(checked, key)[0]
    assert found.found == (
        "0.75; the network of the checkpoint has 0.5; "
        "FeatureExtractor/InceptionV2/Conv2d_1a_7x7/BatchNorm/beta is (32,) there and (48,) here"
    )
    assert found.line == 1 + wider[: wider.index("depth_multiplier: 0.75")].count("\n")
    assert not checked.findings.has(CHECKPOINT)
    followed = applied(wider, found)
    assert not check(root, followed).findings.has(key)
    for of_another_kind in ("model {", "model { faster_rcnn { number_of_stages: 1 } }"):
        (tmp_path / "pipeline.config").write_text(of_another_kind)
        checked = check(root, wider)
        assert not checked.findings.has(key)
        assert "pipeline.config beside it" in findings_at(checked, CHECKPOINT)[0].write


def test_start_from_checks_all_variables(root, tmp_path):
    save_checkpoint(check(root, TEXT).network.variables, tmp_path / "model.ckpt")
    path = root / "a.config"
    assert not checks.check_config(path, {}, root, tmp_path).findings.has(CHECKPOINT)
    path.write_text(changed("num_classes: 1", "num_classes: 3"))
    checked = checks.check_config(path, {}, root, tmp_path)
    found = findings_at(checked, CHECKPOINT, findings.NOTE)[0]
    assert found.found == (
        "the checkpoint of a detector with another number of classes; "
        "BoxPredictor_0/ClassPredictor/biases is (2,) there and (4,) here: 4 variables of 354, "
        "which predict the class, start untrained"
    )


def test_start_from_a_network_with_another_number_of_feature_maps(root, tmp_path):
    # With one feature map, object_detection calls them BoxEncodingPredictor/... alone.
    variables = {
        name.replace("BoxPredictor_0/", ""): shape
        for name, shape in check(root, TEXT).network.variables.items()
        if not name.startswith("BoxPredictor_1/")
    }
    save_checkpoint(variables, tmp_path / "model.ckpt")
    (root / "a.config").write_text(TEXT)
    checked = checks.check_config(root / "a.config", {}, root, tmp_path)
    found = findings_at(checked, CHECKPOINT, findings.NOTE)[0]
    assert found.found == (
        "the checkpoint of a detector with another number of feature maps: 8 variables of 354, "
        "which predict boxes and classes, start untrained, as do layers that its network did not "
        "use"
    )


def test_start_from_a_network_whose_unused_layers_have_shrunk_to_0(root, tmp_path):
    # What object_detection saves of a training with one feature map: all layers of the base network
    variables = dict(check(root, TEXT).network.variables)
    one_map = re.sub(r"scales: 0\.16\b", "", TEXT.replace("num_layers: 2", "num_layers: 1"))
    used = check(root, one_map).network.variables
    unused = {name for name in variables if "Predictor" not in name} - set(used)
    save_checkpoint(variables, tmp_path / "model.ckpt", zero=unused)
    fine_tuned = fine_tuning_from(tmp_path / "model.ckpt")
    (root / "start.config").write_text(TEXT)
    started = checks.check_config(root / "start.config", {}, root, tmp_path)
    for checked in (check(root, fine_tuned), started):
        found = findings_at(checked, CHECKPOINT)[0]
        assert found.severity == findings.ERROR
        assert re.match(
            r"\d+ kernels of this network are 0 in it, such as FeatureExtractor/.*/Mixed_4d/",
            found.found,
        )
        assert "step 07 writes initial weights for layers that its network does" in found.write
    fine_tuned = re.sub(
        r"scales: 0\.16\b", "", fine_tuned.replace("num_layers: 2", "num_layers: 1")
    )
    assert not check(root, fine_tuned).findings.has(CHECKPOINT)


def test_start_from_a_network_with_another_box_predictor(root, tmp_path):
    variables = dict(check(root, TEXT).network.variables)
    del variables["BoxPredictor_0/BoxEncodingPredictor/biases"]
    save_checkpoint(variables, tmp_path / "model.ckpt")
    (root / "a.config").write_text(TEXT)
    checked = checks.check_config(root / "a.config", {}, root, tmp_path)
    found = findings_at(checked, CHECKPOINT, findings.WARNING)[0]
    assert found.found == "353 of the network's 354 variables are in it with this shape"
    assert found.expected.endswith("and num_classes")
    assert "pipeline.config beside it" in found.write


# --- label files and records ---


def test_more_products_in_a_test_image_than_detections(root, tmp_path):
    labels.write_labels(product_images("crowded", 1, 301), tmp_path / "test_labels.csv")
    path = root / "a.config"
    path.write_text(TEXT)
    checked = checks.check_config(path, {"test": [tmp_path / "test_labels.csv"]}, root)
    found = findings_at(checked, NMS + ".max_total_detections")[0]
    assert found.write == "max_total_detections: 500"


def test_a_class_that_the_label_map_lacks(root, tmp_path):
    image = labels.LabelledImage("a.jpg", (512, 512), np.array([[1.0, 1, 40, 60]]), ("milk",))
    labels.write_labels([image], tmp_path / "train_labels.csv")
    path = root / "a.config"
    path.write_text(TEXT)
    checked = checks.check_config(path, {"train": [tmp_path / "train_labels.csv"]}, root)
    assert "milk" in findings_at(checked, "class")[0].found


def test_the_label_map_of_classes_that_step_02_kept_comes_with_the_lines_to_write(root, tmp_path):
    folder = tmp_path / "root" / ANNOTATIONS
    shutil.copytree(str(root / ANNOTATIONS), str(folder))
    (folder / "classes.pbtxt").write_text("item { id: 1 name: 'milk' } item { id: 2 name: 'tea' }")
    for split, count in (("train", 24), ("val", 4), ("test", 4)):
        kept = [
            image._replace(
                classes=tuple(["milk", "tea"] * len(image.classes))[: len(image.classes)]
            )
            for image in product_images(split, count)
        ]
        labels.write_labels(kept, folder / f"{split}_labels.csv")
        write_record(folder / f"{split}.record", kept, {"milk": 1, "tea": 2})

    checked = check(tmp_path / "root", TEXT)
    errors = [one for one in checked.findings if one.severity == findings.ERROR]
    line = f'label_map_path: "{ANNOTATIONS}/classes.pbtxt"'
    assert [(one.key, one.write.split("\n(")[0]) for one in errors] == [
        ("train_input_reader.label_map_path", line),
        ("model.ssd.num_classes", "num_classes: 2"),
    ]
    assert "without 2 classes that the records have: milk, tea" in errors[0].found

    text = TEXT.replace(f'label_map_path: "{LABEL_MAP}"', line)
    text = changed("num_classes: 1", "num_classes: 2", text)
    assert not check(tmp_path / "root", text).findings.count(findings.ERROR)


def test_datasets_that_keep_different_classes(root, tmp_path):
    config = pipeline.parse(TEXT, "a.config")
    for name, classes in (("one", ("milk",)), ("two", ("tea",))):
        folder = tmp_path / ANNOTATIONS / name
        folder.mkdir(parents=True)
        items = [f"item {{ id: {n} name: {c!r} }}" for n, c in enumerate(classes, start=1)]
        (folder / "classes.pbtxt").write_text("".join(items))
        config.train_input_reader.tf_record_input_reader.input_path.append(
            f"{ANNOTATIONS}/{name}/train.record"
        )
    for reader in (config.train_input_reader, config.eval_input_reader[0]):
        reader.label_map_path = f"{ANNOTATIONS}/one/classes.pbtxt"
    found = findings.Findings("a.config", "")
    file_checks.check_label_maps(config, tmp_path, found)
    (finding,) = found
    assert finding.found == "without 1 class that the records have: tea"
    assert "the same names for each dataset: CLASSES=name,name" in finding.write


def test_images_much_larger_than_the_input_come_with_a_size_that_helps(root):
    text = changed(r"height: 512(.*?)width: 512", r"height: 96\1width: 96")
    found = findings_at(check(root, text), TRAIN_RECORDS, findings.WARNING)[0]
    assert found.write == f"run {record_checks.STEP_04} --max-side 288 (make: MAX_SIDE=288)"


def test_images_smaller_than_the_input_are_reported(root):
    def at(side):
        return changed(r"height: 512(.*?)width: 512", rf"height: {side}\1width: {side}")

    for side in (512, 544):  # the images of the record have 512 px
        assert not check(root, at(side)).findings.has(TRAIN_RECORDS)
    (found,) = findings_at(check(root, at(576)), TRAIN_RECORDS, findings.WARNING)
    start = "images of 512 x 512 px (the median) for an input of 576 x 576"
    assert found.found.startswith(start)
    remedy = f"run {record_checks.STEP_04} --max-side 1152 (make: MAX_SIDE=1152)"
    assert found.write == remedy + ", if the photographs are larger"


def test_the_label_files_beside_the_records_are_the_ones_to_check(root, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", root)
    path = root / "a.config"
    path.write_text(TEXT)
    (tmp_path / "mine.csv").write_text("")
    named = {"train": None, "val": tmp_path / "mine.csv", "test": None}
    found = checks.find_label_files(named, path)
    assert found == {
        "train": [root / ANNOTATIONS / "train_labels.csv"],
        "val": [tmp_path / "mine.csv"],
        "test": [root / ANNOTATIONS / "test_labels.csv"],
    }


@pytest.fixture
def second_dataset(root):
    """A dataset in a folder of its own, whose images have the names of the first; the config."""
    from shelfdet.data import examples, records

    folder = root / ANNOTATIONS / "second"
    folder.mkdir(exist_ok=True)
    import tensorflow as tf

    for split in paths.SPLITS:
        labels.write_labels(product_images(split, 4), folder / f"{split}_labels.csv")
        with tf.io.TFRecordWriter(str(folder / f"{split}.record")) as writer:
            for image in product_images(split, 4):
                example = examples.whole(image, "second")
                proto = records.to_example(example, b"", image.size_wh, {"product": 1})
                writer.write(proto.SerializeToString())
    path = root / "both.config"
    path.write_text(
        re.sub(
            r'( *)input_path: ".*annotations/(\w+).record"',
            lambda line: (
                f"{line.group()}\n{line.group(1)}input_path: "
                f'"{ANNOTATIONS}/second/{line.group(2)}.record"'
            ),
            TEXT,
        )
    )
    return path


def check_both(root, path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", root)
    label_files = checks.find_label_files(dict.fromkeys(paths.SPLITS), path)
    return label_files, checks.check_config(path, label_files, root)


def test_records_of_two_datasets_are_checked_each_and_together(root, second_dataset, monkeypatch):
    label_files, checked = check_both(root, second_dataset, monkeypatch)
    assert {split: len(found) for split, found in label_files.items()} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    assert not checked.findings.count(findings.ERROR), list(checked.findings)
    first, second = checked.best_iou_by_record.values()
    assert len(first) + len(second) == len(checked.coverage.best_iou)
    # 24 and 4 images of the same boxes
    assert len(first) == 6 * len(second)

    folder = root / ANNOTATIONS / "second"
    labels.write_labels(product_images("val", 3), folder / "val_labels.csv")
    _, checked = check_both(root, second_dataset, monkeypatch)
    (found,) = findings_at(checked, EVAL_RECORDS)
    assert "second/val_labels.csv was changed after the record was made" in found.found


def test_datasets_that_are_read_one_after_another_are_reported(root, second_dataset, monkeypatch):
    text = second_dataset.read_text()
    small = re.sub(r"shuffle_buffer_size: \d+", "shuffle_buffer_size: 10", text)
    second_dataset.write_text(small)
    key = "train_input_reader.shuffle_buffer_size"
    _, checked = check_both(root, second_dataset, monkeypatch)
    (found,) = findings_at(checked, key, findings.WARNING)
    # 24 and 4 images
    assert found.write == "shuffle_buffer_size: 28"
    second_dataset.write_text(re.sub(r"shuffle_buffer_size: \d+", found.write, small))
    _, checked = check_both(root, second_dataset, monkeypatch)
    assert not checked.findings.has(key)

    # Where not all fit in memory, the records have to be read side by side.
    monkeypatch.setattr(input_checks, "LARGE_BUFFER", 20000)
    second_dataset.write_text(small)
    _, checked = check_both(root, second_dataset, monkeypatch)
    found = findings_at(checked, key, findings.WARNING)[-1]
    assert re.fullmatch(r"shuffle_buffer_size: \d\d\nnum_readers: 2", found.write)


def test_two_datasets_whose_images_have_the_same_ids_are_an_error(
    root, second_dataset, monkeypatch
):
    write_record(
        root / ANNOTATIONS / "second" / "val.record", product_images("val", 4), {"product": 1}
    )
    _, checked = check_both(root, second_dataset, monkeypatch)
    (found,) = findings_at(checked, EVAL_RECORDS)
    assert "4 images more than once" in found.found and "second/val.record" in found.found
    assert "NAME=name" in found.write


def listed_again(config, name):
    """Lists a record of a config once more."""
    config.write_text(re.sub(rf'( *input_path: ".*second/{name}"\n)', r"\1\1", config.read_text()))


def test_a_training_record_that_is_listed_again_is_read_as_often(root, second_dataset, monkeypatch):
    listed_again(second_dataset, "train.record")
    _, checked = check_both(root, second_dataset, monkeypatch)
    assert not checked.findings.count(findings.ERROR), list(checked.findings)
    (found,) = findings_at(checked, TRAIN_RECORDS, findings.NOTE)
    # 24 images of the first dataset, 4 of the second
    assert "second/train.record 2 times: 8 of 32 examples are of it, or 25%" in found.found
    first, second = checked.best_iou_by_record.values()
    assert len(first) == 6 * len(second)
    assert len(first) + 2 * len(second) == len(checked.coverage.best_iou)

    import tensorflow as tf
    from object_detection.builders import dataset_builder

    monkeypatch.chdir(root)
    reader = checked.config.train_input_reader
    reader.num_epochs = 1
    read = dataset_builder.read_dataset(
        tf.data.TFRecordDataset, reader.tf_record_input_reader.input_path, reader
    )
    following = tf.compat.v1.data.make_one_shot_iterator(read).get_next()
    count = 0
    with tf.compat.v1.Session() as session, contextlib.suppress(tf.errors.OutOfRangeError):
        while True:
            session.run(following)
            count += 1
    assert count == 32


def test_training_records_that_are_all_listed_again_are_an_error(root):
    checked = check(root, re.sub(r'( *input_path: ".*train.record"\n)', r"\1\1", TEXT))
    (found,) = findings_at(checked, TRAIN_RECORDS)
    assert "each record 2 times or more, such as" in found.found
    assert "was another dataset meant?" in found.write


def test_a_training_record_may_be_spelled_in_two_ways(root, second_dataset, monkeypatch):
    config = second_dataset.read_text()
    line = f'input_path: "{ANNOTATIONS}/second/train.record"'
    assert line in config
    other = line.replace("second/", "./second/")
    second_dataset.write_text(config.replace(line, f"{line}\n    {other}"))
    _, checked = check_both(root, second_dataset, monkeypatch)
    assert (
        "second/train.record 2 times" in findings_at(checked, TRAIN_RECORDS, findings.NOTE)[0].found
    )


def test_a_validation_record_that_is_listed_again_is_an_error(root, second_dataset, monkeypatch):
    listed_again(second_dataset, "val.record")
    _, checked = check_both(root, second_dataset, monkeypatch)
    (found,) = findings_at(checked, EVAL_RECORDS)
    assert "second/val.record, which the lines name 2 times" in found.found
    assert found.expected.startswith("once")


def test_shards_that_are_listed_unequally_are_an_error(root, second_dataset, monkeypatch):
    folder = root / ANNOTATIONS / "second"
    (folder / "train.record").unlink()
    for number in range(2):
        write_record(
            folder / f"train.record-0000{number}-of-00002",
            product_images(f"shard{number}", 2),
            {"product": 1},
        )
    text = second_dataset.read_text()
    pattern = f'input_path: "{ANNOTATIONS}/second/train.record'
    lines = f'{pattern}-?????-of-?????"\n{pattern}-00001-of-00002"'
    second_dataset.write_text(text.replace(f'{pattern}"', lines))
    _, checked = check_both(root, second_dataset, monkeypatch)
    (found,) = findings_at(checked, TRAIN_RECORDS)
    assert "train.record-00001-of-00002, which the lines name 2 times" in found.found
    assert "each shard as often" in found.expected


def test_a_second_validation_reader_is_reported(root):
    block = re.search(r"eval_input_reader \{.*?\n\}", TEXT, re.DOTALL).group()
    checked = check(root, f"{TEXT}\n{block}\n")
    (found,) = findings_at(checked, "eval_input_reader", findings.WARNING)
    assert "training uses the first alone" in found.found


def check_validation_record(root, name):
    """Checks the included config with another validation record."""
    return check(root, TEXT.replace("annotations/val.record", f"annotations/{name}"))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: data[:-9], "fails after"),
        (lambda data: b"", "no images"),
        # long enough that TensorFlow reads its start as the length of an example
        (lambda data: b"text instead of a record, " * 3, "fails after 0"),
    ],
)
def test_a_damaged_record_is_reported(root, damage, message):
    path = root / ANNOTATIONS / "damaged.record"
    write_record(path, product_images("val", 4), {"product": 1})
    path.write_bytes(damage(path.read_bytes()))
    checked = check_validation_record(root, path.name)
    assert message in findings_at(checked, EVAL_RECORDS)[0].found


def test_a_record_older_than_its_labels_is_reported(root):
    path = root / ANNOTATIONS / "old.record"
    write_record(path, product_images("val", 3), {"product": 1})
    checked = check_validation_record(root, path.name)
    found = findings_at(checked, EVAL_RECORDS, findings.WARNING)[0]
    assert "04_generate" in found.write


def test_an_image_twice_in_a_record_is_reported(root):
    path = root / ANNOTATIONS / "twice.record"
    write_record(path, product_images("val", 3) * 2, {"product": 1})
    checked = check_validation_record(root, path.name)
    assert "more than once" in findings_at(checked, EVAL_RECORDS)[0].found


def test_a_class_id_outside_the_label_map_is_reported(root):
    path = root / ANNOTATIONS / "ids.record"
    write_record(path, product_images("val", 4), {"product": 5})
    checked = check_validation_record(root, path.name)
    assert "id 5" in findings_at(checked, "image/object/class/label")[0].found


# --- the script ---


def test_the_script_prints_findings_and_returns_a_status(root, script, capsys, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", root)
    good = root / "good.config"
    bad = root / "bad.config"
    good.write_text(TEXT)
    bad.write_text(changed("reduce_boxes_in_lowest_layer: false", ""))
    label_options = [
        f"--{split}-labels={root / ANNOTATIONS / split}_labels.csv" for split in paths.SPLITS
    ]
    main = script("05_check_config").main
    assert main(["--config", str(good)] + label_options) == 0
    output = capsys.readouterr().out
    assert "one anchor per cell" in output
    assert "32 x 32 and 16 x 16" in output
    assert main(["--config", str(bad)] + label_options) == 1
    output = capsys.readouterr().out
    assert "reduce_boxes_in_lowest_layer: false" in output
    assert "1 error" in output
    assert "bad.config:" in output


def test_the_script_refuses_a_missing_label_file(script, tmp_path):
    with pytest.raises(UserError, match="train-labels"):
        script("05_check_config").main(["--train-labels", str(tmp_path / "none.csv")])
