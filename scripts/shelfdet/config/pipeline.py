"""The training config (pipeline.config) as object_detection understands it: its fields, feature maps, anchors,
augmentation.

Reading a config takes object_detection's protos alone; TensorFlow is imported by the functions that build a graph.
``checks`` says what is wrong with a config.
"""

import collections
import difflib
import json
import pathlib
import re

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors as anchor_boxes
from shelfdet.core import boxes, paths, tensorflow1
from shelfdet.data import labels

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")

# Augmentation steps that move or drop boxes; the others change pixels alone and are not run when only boxes are asked
# for.
MOVES_BOXES = (
    "random_horizontal_flip",
    "random_vertical_flip",
    "random_rotation90",
    "random_jitter_boxes",
    "random_crop_image",
    "random_pad_image",
    "random_crop_pad_image",
    "random_crop_to_aspect_ratio",
    "ssd_random_crop",
    "ssd_random_crop_pad",
    "ssd_random_crop_fixed_aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio",
    "random_absolute_pad_image",
    "random_self_concat_image",
    "autoaugment_image",
    "drop_label_probabilistically",
)

Network = collections.namedtuple("Network", "image_wh grids_wh multiply_adds variables")
Network.__doc__ = """What the real feature extractor is at one input size.

image_wh: the input. grids_wh: (cells across, cells down) of each feature map. multiply_adds: of one image with one
anchor per cell, box and class predictors included. variables: dict of name to shape of the model's variables."""


def read(path):
    """Reads the config at ``path`` with object_detection's own proto and protobuf's text parser.

    Returns:
      object_detection.protos.pipeline_pb2.TrainEvalPipelineConfig.

    Raises:
      UserError: no such file, no text, or a syntax error, with line, column and the line itself.
    """
    return parse(labels.read_text(path, "a training config"), path)


def parse(text, path):
    """As ``read``, from the text of the file at ``path``."""
    from google.protobuf import text_format

    try:
        from object_detection.protos import pipeline_pb2
    except ImportError as error:
        raise UserError(
            f"object_detection cannot be imported ({error}); expected it in models/research. Run `make setup`."
        ) from error
    try:
        config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    except text_format.ParseError as error:
        raise UserError(_syntax_error(path, text, error)) from error
    if not config.HasField("model"):
        raise UserError(
            f"{path}: holds no model {{ ... }}; expected a training config. Check the path."
        )
    return config


def _syntax_error(path, text, error):
    reason = str(error).split(" : ", 1)[-1].strip()
    line, column = error.GetLine(), error.GetColumn()
    if not line:
        return f"{path}: {reason}. Expected a training config as object_detection reads it."
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    return (
        f"{path}: line {line}, column {column}: {reason}\n    {shown}\n    {' ' * max(0, column - 1)}^\n"
        f"  {_remedy(reason)}; the parser stops at the first mistake."
    )


def _remedy(reason):
    """What to do about the parser's ``reason``: a key that stands elsewhere or has another spelling can be told."""
    from google.protobuf import descriptor_pool
    from object_detection.protos import pipeline_pb2

    unknown = re.match(r'Message type "([\w.]+)" has no field named "(\w+)"', reason)
    if not unknown:
        return "Mend this line, or a brace above it that is missing or too many"
    block, key = descriptor_pool.Default().FindMessageTypeByName(unknown.group(1)), unknown.group(2)
    if key in pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR.fields_by_name:
        return f"{key} belongs to the outermost level: a closing brace is missing above"
    near = difflib.get_close_matches(key, list(block.fields_by_name), 1)
    return (
        f"Did you mean {near[0]}? Mend this line"
        if near
        else (
            f"{block.name} has {', '.join(sorted(block.fields_by_name))}. Mend this line, or a brace above it that is missing or too many"
        )
    )


def changed(config, changes):
    """A copy of the config with other values in some blocks.

    Args:
      config: as ``read`` gives it.
      changes: list of (path of a block, lines): the lines, as they stand in a .config, take the place of the fields of
        the same names in the block. A path is "model.ssd.loss", or "train_config.data_augmentation_options[4]" for one
        of several; "" is the whole config.

    Raises:
      UserError: no such block, or the lines are none of its.
    """
    from google.protobuf import text_format

    copy = type(config)()
    copy.CopyFrom(config)
    for path, lines in changes:
        block = copy
        try:
            for name, number in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
                block = getattr(block, name)[int(number)] if number else getattr(block, name)
            new = text_format.Parse(lines, type(block)())
        except (AttributeError, IndexError, TypeError, text_format.ParseError) as error:
            raise UserError(
                f"change of {path!r} to {lines!r}: {error}; expected a block of the config, and lines that can stand in it."
            ) from error
        for field, _ in new.ListFields():
            block.ClearField(field.name)
        block.MergeFrom(new)
    return copy


def reading(folder):
    """The ``changes`` that make a config train and validate on the records in ``folder``, which step 04 wrote there."""
    line = "tf_record_input_reader {{ input_path: {} }}"
    return [
        (reader, line.format(_quoted(pathlib.Path(folder).resolve() / name)))
        for reader, name in (
            ("train_input_reader", "train.record"),
            ("eval_input_reader[0]", "val.record"),
        )
    ]


# The fields of train_config that say where the first weights come from
FIRST_WEIGHTS = (
    "fine_tune_checkpoint",
    "fine_tune_checkpoint_type",
    "from_detection_checkpoint",
    "load_all_detection_checkpoint_vars",
)


def starting_from(config, start):
    """A copy of the config whose training begins with the weights of another, predictors and all.

    Args:
      config: as ``read`` gives it.
      start: a graph's folder as step 07 writes it, or the prefix of a checkpoint.

    Raises:
      UserError: there is no checkpoint.
    """
    start = pathlib.Path(start)
    prefix = start / paths.CHECKPOINT_PREFIX if start.is_dir() else start
    if not prefix.with_name(prefix.name + ".index").is_file():
        raise UserError(
            f"--start-from {start}: {prefix}.index is not there; expected a graph's folder as step 07 writes it, or the prefix of a checkpoint, such as RUN/best/model.ckpt-2300."
        )
    return changed(
        config,
        [
            (
                "train_config",
                f'fine_tune_checkpoint: {_quoted(prefix.resolve())} fine_tune_checkpoint_type: "detection" load_all_detection_checkpoint_vars: true',
            )
        ],
    )


def _quoted(path):
    """A path as a string of protobuf's text format."""
    return json.dumps(str(path), ensure_ascii=False)


def input_size(config):
    """(width, height) of the network's input.

    Raises:
      UserError: no SSD, or no ``fixed_shape_resizer``: then neither feature maps nor anchors have one size.
    """
    if config.model.WhichOneof("model") != "ssd":
        raise UserError(f"model: found {config.model.WhichOneof('model')}; expected ssd.")
    resizer = config.model.ssd.image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind != "fixed_shape_resizer":
        raise UserError(
            f"model.ssd.image_resizer: found {kind or 'nothing'}; expected fixed_shape_resizer, with which every feature map has one size. Write: fixed_shape_resizer {{ height: 512 width: 512 }}"
        )
    return resizer.fixed_shape_resizer.width, resizer.fixed_shape_resizer.height


def with_input(config, image_wh, num_layers):
    """A copy of the config for another input size and number of feature maps; its anchors are one per cell."""
    changed = type(config)()
    changed.CopyFrom(config)
    fixed = changed.model.ssd.image_resizer.fixed_shape_resizer
    fixed.width, fixed.height = (int(side) for side in image_wh)
    extractor = changed.model.ssd.feature_extractor
    extractor.num_layers = num_layers
    changed.model.ssd.anchor_generator.Clear()
    generator = changed.model.ssd.anchor_generator.ssd_anchor_generator
    generator.num_layers = extractor.num_layers
    generator.scales.extend([0.1] * extractor.num_layers)
    generator.aspect_ratios.append(1.0)
    generator.reduce_boxes_in_lowest_layer = False
    generator.interpolated_scale_aspect_ratio = 0.0
    return changed


def network(config, image_wh=None):
    """The config's model, built with TensorFlow and measured: its feature maps are those that training will have.

    Args:
      config: as ``read`` gives it.
      image_wh: another input size than the config's.

    Returns:
      Network.

    Raises:
      UserError: what object_detection's builder refuses, in its words.
    """
    return networks(config, [config.model.ssd.feature_extractor.num_layers], image_wh)[0]


def networks(config, layer_counts, image_wh=None):
    """As ``network``, with the first so many feature maps, one Network for each of ``layer_counts``; built once."""
    tf = tensorflow1.load()
    from object_detection.builders import model_builder

    image_wh = tuple(image_wh or input_size(config))
    with tf.Graph().as_default() as graph:
        try:
            model = model_builder.build(
                with_input(config, image_wh, max(layer_counts)).model, is_training=False
            )
            predicted = model.predict(
                tf.zeros([1, image_wh[1], image_wh[0], 3]),
                tf.constant([[image_wh[1], image_wh[0], 3]]),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"model: object_detection cannot build it: {error}") from error
        grids_wh = [
            tuple(feature_map.shape.as_list()[2:0:-1]) for feature_map in predicted["feature_maps"]
        ]
        definition = graph.as_graph_def()
        variables = {
            variable.op.name: tuple(variable.shape.as_list())
            for variable in tf.compat.v1.global_variables()
        }
        found = []
        for count in layer_counts:
            outputs = [
                part.op.name
                for name in ("box_encodings", "class_predictions_with_background")
                for part in _by_feature_map(predicted[name])[:count]
            ]
            used = tf.compat.v1.graph_util.extract_sub_graph(definition, outputs)
            multiply_adds = sum(
                _multiply_adds(graph.get_operation_by_name(node.name))
                for node in used.node
                if node.op in CONVOLUTIONS
            )
            found.append(Network(image_wh, grids_wh[:count], multiply_adds, variables))
    return found


def _by_feature_map(predicted):
    """The tensors, one for each feature map, that ssd_meta_arch joins to ``predicted`` (and then may squeeze)."""
    joined = predicted.op.inputs[0].op if predicted.op.type == "Squeeze" else predicted.op
    return (
        list(joined.inputs)[:-1] if joined.type == "ConcatV2" else [predicted]
    )  # the last input is the axis


def _multiply_adds(convolution):
    """Positions of the output times the whole kernel: (h, w, in, out), or (h, w, in, multiplier) where depthwise."""
    rows, columns = convolution.outputs[0].shape.as_list()[1:3]
    return rows * columns * int(np.prod(convolution.inputs[1].shape.as_list()))


def anchors(config, image_wh=None, grids_wh=None):
    """The anchors that training will lay, made by object_detection's own generator on the real feature maps.

    Args:
      config: as ``read`` gives it.
      image_wh: another input size than the config's.
      grids_wh: feature maps, as ``network`` gives them; built here if None.

    Returns:
      (anchors_xyxy, layer, per_cell): float64 (M, 4) in pixels of the network's input, int (M,), and how many anchors
      the generator lays in a cell of each layer.

    Raises:
      UserError: the generator refuses its values, or has another number of layers than the feature extractor.
    """
    tf = tensorflow1.load()
    from object_detection.builders import anchor_generator_builder

    image_wh = tuple(image_wh or input_size(config))
    grids_wh = grids_wh or network(config, image_wh).grids_wh
    with tf.Graph().as_default():
        try:
            generator = anchor_generator_builder.build(config.model.ssd.anchor_generator)
            per_cell = generator.num_anchors_per_location()
            laid = generator.generate(
                [(rows, columns) for columns, rows in grids_wh],
                im_height=image_wh[1],
                im_width=image_wh[0],
            )
        except (ValueError, ZeroDivisionError, TypeError, IndexError) as error:
            raise UserError(
                f"model.ssd.anchor_generator: object_detection cannot build it for {len(grids_wh)} feature maps: {error}"
            ) from error
        with tf.compat.v1.Session() as session:
            by_layer = session.run([grid.get() for grid in laid])
    index = np.repeat(np.arange(len(by_layer)), [len(grid) for grid in by_layer])
    return boxes.from_normalised_yxyx(np.concatenate(by_layer), image_wh), index, list(per_cell)


def layers(anchors_xyxy, layer, built):
    """The anchors of ``anchors``, one per cell, as list of anchors.Layer on the grids of the Network ``built``."""
    sizes = [anchors_xyxy[layer == number][0] for number in range(len(built.grids_wh))]
    return [
        anchor_boxes.Layer(
            grid_wh,
            tuple(side / cells for side, cells in zip(built.image_wh, grid_wh)),
            tuple(side / cells / 2 for side, cells in zip(built.image_wh, grid_wh)),
            (box[2] - box[0], box[3] - box[1]),
        )
        for grid_wh, box in zip(built.grids_wh, sizes)
    ]


def matcher(config):
    """The config's argmax_matcher as an anchors.Matcher."""
    fields = config.model.ssd.matcher.argmax_matcher
    matched, unmatched = (
        (None, None)
        if fields.ignore_thresholds
        else (fields.matched_threshold, fields.unmatched_threshold)
    )
    return anchor_boxes.Matcher(
        matched, unmatched, fields.force_match_for_each_row, fields.negatives_lower_than_unmatched
    )


def augmented(config, images, repeats=1, seed=0, progress=iter):
    """The boxes that training sees: after the config's random flips and crops, by object_detection's own preprocessor.

    Pixels are not needed for it: black images of the right size take their place, and steps that change only pixels
    are left out. Every box counts as class 1, which matters to ``drop_label_probabilistically`` alone.

    Args:
      config: as ``read`` gives it.
      images: list of labels.LabelledImage.
      repeats: how often each image is drawn.
      seed: of TensorFlow's random numbers.
      progress: wraps the list of images, for a progress bar.

    Returns:
      list of (N, 4), resized, ``repeats`` times as long as ``images``; some boxes are cut off by crops.
    """
    tf = tensorflow1.load()
    from object_detection.builders import preprocessor_builder
    from object_detection.core import preprocessor, standard_fields

    fields = standard_fields.InputDataFields
    steps = [
        preprocessor_builder.build(step)
        for step in config.train_config.data_augmentation_options
        if step.WhichOneof("preprocessing_step") in MOVES_BOXES
    ]
    image_wh = input_size(config)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.set_random_seed(seed)
        size_hw = tf.compat.v1.placeholder(tf.int32, [2], name="size_hw")
        placed = tf.compat.v1.placeholder(tf.float32, [None, 4], name="placed")
        count = tf.shape(placed)[0]
        moved = preprocessor.preprocess(
            {
                fields.image: tf.zeros(tf.concat([[1], size_hw, [3]], axis=0)),
                fields.groundtruth_boxes: placed,
                fields.groundtruth_classes: tf.ones([count], tf.int32),
                fields.groundtruth_weights: tf.ones([count]),
            },
            steps,
            func_arg_map=preprocessor.get_default_func_arg_map(include_label_weights=True),
        )[fields.groundtruth_boxes]
        tf.identity(moved, name="moved")
    with tf.Graph().as_default():
        size_hw, placed, moved = tf.import_graph_def(
            _seeded(graph.as_graph_def(), seed),
            name="",
            return_elements=["size_hw:0", "placed:0", "moved:0"],
        )
        result = []
        with tf.compat.v1.Session() as session:
            run = session.make_callable(moved, feed_list=[size_hw, placed])
            for image in progress(list(images) * repeats):
                normalised = boxes.to_normalised_yxyx(image.boxes_xyxy, image.size_wh)
                result.append(
                    boxes.from_normalised_yxyx(run(image.size_wh[::-1], normalised), image_wh)
                )
    return result


def _seeded(graph_def, seed):
    """The graph with its crops seeded: tf.image.sample_distorted_bounding_box does not heed the graph's own seed."""
    crops = [node for node in graph_def.node if node.op.startswith("SampleDistortedBoundingBox")]
    for number, node in enumerate(crops, start=1):
        node.attr["seed"].i, node.attr["seed2"].i = seed + 1, number
    return graph_def
