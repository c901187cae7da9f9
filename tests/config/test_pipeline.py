"""config/pipeline.py: reading configs, their errors, and copies with other values."""

import re

import pytest

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.core import paths

NMS = "model.ssd.post_processing.batch_non_max_suppression"


@pytest.fixture
def config():
    return pipeline.read(paths.SHIPPED_CONFIG)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no model"),
        ("train_config { num_steps: 5 }", "no model"),
        ("model {\n  ssd {\n    num_clases: 1\n  }\n}", "line 3, column 5"),
        (
            "model {\n  ssd {\n    num_clases: 1\n  }\n}",
            "Did you mean num_classes? Correct this line",
        ),
        (
            "model {\n  ssd {\n    zzz: 1\n  }\n}",
            "Ssd has add_background_class, anchor_generator, ",
        ),
        (
            "model {\n  ssd {\n  }\ntrain_config {\n}",
            "train_config belongs to the outermost level: a closing brace is missing above",
        ),
        ("model {\n  ssd {\n  }\n}\n}\ntrain_config {\n}", "or a missing or extra brace above it"),
        ("model {\n  ssd {\n    num_classes: one\n  }\n}", "line 3"),
        ("model {\n  ssd {\n", "line"),
        ("\x7fELF", "line 1"),
    ],
)
def test_a_syntax_error_names_line_and_column(tmp_path, text, message):
    path = tmp_path / "a.config"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        pipeline.read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(UserError, match="no.config"):
        pipeline.read(tmp_path / "no.config")


def test_a_resizer_without_a_fixed_size_is_refused(config):
    config.model.ssd.image_resizer.keep_aspect_ratio_resizer.min_dimension = 300
    with pytest.raises(UserError, match="fixed_shape_resizer"):
        pipeline.input_size(config)


def test_with_changes_replaces_only_the_named_fields(config):
    changed = pipeline.with_changes(
        config,
        [
            ("model.ssd.image_resizer.fixed_shape_resizer", "width: 640 height: 480"),
            # a repeated field is replaced as a whole
            ("model.ssd.anchor_generator.ssd_anchor_generator", "scales: 0.25 scales: 0.5"),
            # one of several blocks
            ("train_config.data_augmentation_options[4]", "random_rotation90 { }"),
            ("", "eval_config { num_visualizations: 3 }"),
        ],
    )
    assert pipeline.input_size(changed) == (640, 480)
    generator = changed.model.ssd.anchor_generator.ssd_anchor_generator
    assert list(generator.scales) == [0.25, 0.5]
    assert generator.num_layers == 2
    options = changed.train_config.data_augmentation_options
    steps = [option.WhichOneof("preprocessing_step") for option in options]
    assert len(steps) == 5
    assert steps[0] == "random_horizontal_flip"
    assert steps[4] == "random_rotation90"
    assert changed.eval_config.num_visualizations == 3
    assert not changed.eval_config.metrics_set
    assert config == pipeline.read(paths.SHIPPED_CONFIG), "the original must not change"


@pytest.mark.parametrize(
    "path, lines, message",
    [
        ("model.ssd.los", "localization_weight: 2", "los"),
        ("model.ssd.loss", "localisation_weight: 2", "localisation_weight"),
        ("train_config.data_augmentation_options[9]", "random_rotation90 { }", "index"),
        ("model.ssd.loss", "localization_weight: many", "many"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(config, path, lines, message):
    with pytest.raises(UserError, match=rf"change of .*{message}.*expected a block of the config"):
        pipeline.with_changes(config, [(path, lines)])


def test_record_changes_name_the_records_of_a_folder(config, tmp_path):
    folder = tmp_path / 'a "b" \\ jos\u00e9 \u5e97'
    changed = pipeline.with_changes(config, pipeline.record_changes(folder))
    readers = {"train": changed.train_input_reader, "val": changed.eval_input_reader[0]}
    for split, reader in readers.items():
        assert list(reader.tf_record_input_reader.input_path) == [f"{folder / split}.record"]
        assert reader.max_number_of_boxes == 200, "other fields of the reader must not change"
        assert reader.label_map_path


@pytest.mark.parametrize("start", ["", "model.ckpt"])
def test_starting_from_a_graphs_folder_or_a_prefix(config, tmp_path, start):
    (tmp_path / "model.ckpt.index").write_text("")
    train = pipeline.starting_from(config, tmp_path / start).train_config
    assert train.fine_tune_checkpoint == str(tmp_path / "model.ckpt")
    assert train.fine_tune_checkpoint_type == "detection"
    assert train.load_all_detection_checkpoint_vars
    assert train.num_steps == config.train_config.num_steps


@pytest.mark.parametrize("start", ["none", "model.ckpt.index"])
def test_starting_from_a_missing_checkpoint_is_refused(config, tmp_path, start):
    (tmp_path / "model.ckpt.index").write_text("")
    message = r"--start-from .*\.index does not exist; expected a graph's folder"
    with pytest.raises(UserError, match=message):
        pipeline.starting_from(config, tmp_path / start)


# --- differences of two configs ---


@pytest.mark.parametrize(
    "block, lines, expected",
    [
        (
            NMS,
            "iou_threshold: 0.25",
            [NMS + ".iou_threshold was 0.45 and is 0.25"],
        ),
        ("train_config", "num_steps: 7", ["train_config.num_steps was {steps} and is 7"]),
        (
            "train_config.optimizer",
            "momentum_optimizer { }",
            ["train_config.optimizer was adam_optimizer and is momentum_optimizer"],
        ),
        (
            "train_config.optimizer",
            "use_moving_average: true",
            ["train_config.optimizer.use_moving_average was false and is true"],
        ),
        (
            "model.ssd.anchor_generator.ssd_anchor_generator",
            "scales: 0.5",
            ["model.ssd.anchor_generator.ssd_anchor_generator.scales was {scales} and is 0.5"],
        ),
        (
            "train_config",
            "freeze_variables: 'Feature'",
            ["train_config.freeze_variables was nothing and is Feature"],
        ),
        ("model.ssd.post_processing", "score_converter: SIGMOID", []),
    ],
)
def test_differences_name_key_and_both_values(config, block, lines, expected):
    changed = pipeline.with_changes(config, [(block, lines)])
    scales = config.model.ssd.anchor_generator.ssd_anchor_generator.scales
    values = {
        "steps": config.train_config.num_steps,
        "scales": ", ".join(f"{scale:g}" for scale in scales),
    }
    expected = [line.format(**values) for line in expected]
    found = pipeline.differences(config, changed)
    assert [pipeline.listed([difference]) for difference in found] == expected


def test_a_default_that_is_not_written_is_no_difference(config):
    changed = pipeline.with_changes(config, [])
    changed.model.ssd.box_predictor.convolutional_box_predictor.ClearField("min_depth")
    assert changed != config
    assert not pipeline.differences(config, changed)


def test_a_block_that_is_gone_is_a_difference(config):
    changed = pipeline.with_changes(config, [])
    changed.model.ssd.feature_extractor.conv_hyperparams.ClearField("batch_norm")
    (found,) = pipeline.differences(config, changed)
    assert found.key.startswith("model.ssd.feature_extractor.conv_hyperparams")
    assert found.after == "nothing"


def test_what_follows_the_network_is_told_from_what_is_trained(config):
    changed = pipeline.with_changes(
        config, [(NMS, "iou_threshold: 0.25"), ("model.ssd", "num_classes: 2")]
    )
    trained, after_network = pipeline.model_differences(config, changed)
    assert [difference.key for difference in trained] == ["model.ssd.num_classes"]
    assert [difference.key for difference in after_network] == [NMS + ".iou_threshold"]


def test_many_differences_are_cut(config):
    other = pipeline.read(paths.TRAINING / "demo.config")
    assert re.search(r" and \d+ more$", pipeline.listed(pipeline.differences(config, other)))


def test_a_graph_to_start_from_that_is_not_there_names_those_that_are():
    start = paths.GRAPHS / "ssd_inception_v2_shel"
    with pytest.raises(UserError) as refused:
        pipeline.starting_from(pipeline.read(paths.SHIPPED_CONFIG), start)
    assert "Graphs in " in str(refused.value)
    assert str(refused.value).endswith("Did you mean ssd_inception_v2_shelf?")


def test_a_config_that_is_not_there_names_those_that_are():
    with pytest.raises(UserError, match="ssd_inception_v2_custom.* Did you mean demo[?]$"):
        pipeline.read(paths.TRAINING / "dem.config")
