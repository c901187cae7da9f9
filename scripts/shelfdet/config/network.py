"""Network, anchors and augmented boxes of a training config, built by object_detection.

Nothing is re-implemented here: feature maps, anchors and crops are those that training will have.
TensorFlow is imported by the functions that build a graph.
"""

import functools
from typing import (
    Any,
    Callable,
    Container,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from shelfdet import UserError
from shelfdet.anchors import anchors
from shelfdet.config import pipeline
from shelfdet.core import boxes, tensorflow1
from shelfdet.core.text import counted
from shelfdet.data import labels

Size = Tuple[int, int]
Variables = Dict[str, Tuple[int, ...]]  # shape by name

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
ANY_SIDE = 256  # pixels of an input where its size does not matter
LEAST_SIDE = 33  # pixels; ssd_inception_v2 refuses a smaller input

# Augmentation steps that move or drop boxes. The others change pixels only and are left out when
# only boxes are needed.
BOX_AUGMENTATIONS = (
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


class Network(NamedTuple):
    """Measurements of the feature extractor at one input size.

    image_wh: size of the input. grids_wh: (columns, rows) of each feature map. multiply_adds:
    multiply-add operations for one image with one anchor per cell, box and class predictors
    included. variables: shape of each variable that the predictions depend on, by name. The base
    network also has layers behind the last feature map that is used; those are not among them.
    """

    image_wh: Size
    grids_wh: List[Size]
    multiply_adds: int
    variables: Variables


class GeneratedAnchors(NamedTuple):
    """The anchors that object_detection's generator makes.

    anchors_xyxy: float64 (M, 4) in pixels of the network's input. layer: int (M,), the feature map
    of each anchor.
    per_cell: number of anchors in a cell, for each feature map.
    """

    anchors_xyxy: np.ndarray
    layer: np.ndarray
    per_cell: List[int]


def build_network(config: pipeline.Config, image_wh: Optional[Size] = None) -> Network:
    """Builds the config's model with TensorFlow and measures it.

    Args:
      config: as ``pipeline.read`` returns it.
      image_wh: another input size than the config's.

    Raises:
      UserError: object_detection's builder refuses the config; quotes its reason.
    """
    num_layers = config.model.ssd.feature_extractor.num_layers
    return build_networks(config, [num_layers], image_wh)[0]


def build_networks(
    config: pipeline.Config, layer_counts: Sequence[int], image_wh: Optional[Size] = None
) -> List[Network]:
    """As ``build_network`` for several numbers of feature maps; builds the graph once.

    Returns:
      One Network for each of ``layer_counts``.
    """
    tf = tensorflow1.load()
    width, height = image_wh or pipeline.input_size(config)
    built = _predictions(config, max(layer_counts), (width, height))
    # Only the shapes of the graph are measured; it is never run.
    with tf.Graph().as_default() as graph:
        feature_maps = tf.import_graph_def(
            built.graph_def,
            input_map={built.images: tf.zeros([1, height, width, 3])},
            return_elements=built.feature_maps,
            name="",
        )
    # Feature maps are (batch, rows, columns, channels).
    grids_wh = [tuple(feature_map.shape.as_list()[2:0:-1]) for feature_map in feature_maps]
    networks = []
    for count in layer_counts:
        # A lower feature map does not need the layers above it.
        outputs = [name for names in built.outputs[:count] for name in names]
        used = tf.compat.v1.graph_util.extract_sub_graph(built.graph_def, outputs).node
        names = {node.name for node in used}
        networks.append(
            Network(
                (width, height),
                grids_wh[:count],
                sum(
                    _multiply_adds(graph.get_operation_by_name(node.name))
                    for node in used
                    if node.op in CONVOLUTIONS
                ),
                {name: shape for name, shape in built.variables.items() if name in names},
            )
        )
    return networks


class _Predictions(NamedTuple):
    """The part of a model's graph that its predictions depend on. It is shared: do not change it.

    images: name of its input. feature_maps: names of these tensors. outputs: the operations that
    predict boxes and classes, for each feature map. variables: shape by name.
    """

    graph_def: Any
    images: str
    feature_maps: List[str]
    outputs: List[List[str]]
    variables: Variables


def _predictions(config: pipeline.Config, num_layers: int, image_wh: Size) -> _Predictions:
    """The graph of the config's model, for images of ``image_wh`` or of any size.

    Raises:
      UserError: object_detection's builder refuses the config; quotes its reason.
    """
    extractor = config.model.ssd.feature_extractor
    # All that ssd_inception_v2 does with the size when it is built is to refuse small inputs and to
    # pad to a multiple. Of other feature extractors it is not known.
    if (
        extractor.type == "ssd_inception_v2"
        and extractor.pad_to_multiple == 1
        and min(image_wh) >= LEAST_SIDE
    ):
        image_wh = (ANY_SIDE, ANY_SIDE)
    sized = pipeline.with_input_size(config, image_wh, num_layers)
    return _built_predictions(sized.model.SerializeToString(), image_wh)


# Building takes 5 s of CPU time, and step 03 measures a dozen input sizes.
@functools.lru_cache(maxsize=8)
def _built_predictions(serialized_model: bytes, image_wh: Size) -> _Predictions:
    """As ``_predictions``, for images of ``image_wh``."""
    tf = tensorflow1.load()
    from object_detection.builders import model_builder
    from object_detection.protos import model_pb2

    width, height = image_wh
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [1, height, width, 3])
        try:
            model = model_builder.build(
                model_pb2.DetectionModel.FromString(serialized_model), is_training=False
            )
            predicted = model.predict(images, tf.constant([[height, width, 3]]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"model: object_detection cannot build it: {error}") from error
        by_prediction = [
            _by_feature_map(predicted[name])
            for name in ("box_encodings", "class_predictions_with_background")
        ]
        outputs = [[part.op.name for part in parts] for parts in zip(*by_prediction)]
        return _Predictions(
            tf.compat.v1.graph_util.extract_sub_graph(
                graph.as_graph_def(), [name for names in outputs for name in names]
            ),
            images.name,
            [feature_map.name for feature_map in predicted["feature_maps"]],
            outputs,
            {
                variable.op.name: tuple(variable.shape.as_list())
                for variable in tf.compat.v1.global_variables()
            },
        )


def initial_values(config: pipeline.Config, names: Container[str]) -> Dict[str, np.ndarray]:
    """Values with which variables of the config's model start untrained, the same at each call.

    Args:
      config: as ``pipeline.read`` returns it.
      names: of the variables; others are left out.
    """
    tf = tensorflow1.load()
    from object_detection.builders import model_builder

    # The variables do not depend on the size of the input.
    side = ANY_SIDE
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(0)
        model = model_builder.build(config.model, is_training=False)
        model.predict(tf.zeros([1, side, side, 3]), tf.constant([[side, side, 3]]))
        variables = {
            variable.op.name: variable
            for variable in tf.compat.v1.global_variables()
            if variable.op.name in names
        }
        session.run([variable.initializer for variable in variables.values()])
        return session.run(variables)


def training_variables(config: pipeline.Config) -> Variables:
    """All variables of a training, which it needs in a checkpoint to resume from it.

    Beside those of the model they are the optimizer's slots, its moving averages if it keeps any,
    and the global step.

    Args:
      config: as ``pipeline.read`` returns it.

    Returns:
      shape of each variable by name.

    Raises:
      UserError: object_detection's builders refuse the config; quotes their reason.
    """
    tf = tensorflow1.load()
    from object_detection.builders import model_builder, optimizer_builder

    width, height = pipeline.input_size(config)
    train = config.train_config
    with tf.Graph().as_default():
        step = tf.compat.v1.train.get_or_create_global_step()
        try:
            model = model_builder.build(config.model, is_training=True)
            model.predict(tf.zeros([1, height, width, 3]), tf.constant([[height, width, 3]]))
            optimizer, _ = optimizer_builder.build(train.optimizer)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"object_detection cannot build the training: {error}") from error
        trained = tf.contrib.framework.filter_variables(
            tf.compat.v1.trainable_variables(),
            include_patterns=list(train.update_trainable_variables) or None,
            exclude_patterns=list(train.freeze_variables) or None,
        )
        # Any loss will do: only the variables that the optimizer creates are needed.
        loss = tf.add_n([tf.reduce_sum(variable) for variable in trained])
        gradients = optimizer.compute_gradients(loss, trained)
        optimizer.apply_gradients(gradients, global_step=step)
        return {
            variable.op.name: tuple(variable.shape.as_list())
            for variable in tf.compat.v1.global_variables()
        }


def _by_feature_map(predicted: Any) -> List[Any]:
    """The tensors of the feature maps that ssd_meta_arch concatenates, and may squeeze, to one."""
    operation = predicted.op
    if operation.type == "Squeeze":
        operation = operation.inputs[0].op
    if operation.type != "ConcatV2":
        return [predicted]
    return list(operation.inputs)[:-1]  # the last input is the axis


def _multiply_adds(convolution: Any) -> int:
    """Positions of the output times the size of the kernel.

    The kernel is (height, width, in, out), or (height, width, in, multiplier) of a depthwise
    convolution.
    """
    rows, columns = convolution.outputs[0].shape.as_list()[1:3]
    return rows * columns * int(np.prod(convolution.inputs[1].shape.as_list()))


def generate_anchors(
    config: pipeline.Config,
    image_wh: Optional[Size] = None,
    grids_wh: Optional[List[Size]] = None,
) -> GeneratedAnchors:
    """The anchors that training will use, made by object_detection's own generator.

    Args:
      config: as ``pipeline.read`` returns it.
      image_wh: another input size than the config's.
      grids_wh: (columns, rows) of the feature maps, as in ``Network``; the network is built if
        None.

    Raises:
      UserError: the generator refuses its values, or has another number of layers than the feature
        extractor.
    """
    tf = tensorflow1.load()
    from object_detection.builders import anchor_generator_builder

    width, height = image_wh or pipeline.input_size(config)
    grids_wh = grids_wh or build_network(config, (width, height)).grids_wh
    with tf.Graph().as_default():
        try:
            generator = anchor_generator_builder.build(config.model.ssd.anchor_generator)
            per_cell = list(generator.num_anchors_per_location())
            grids = generator.generate(
                [(rows, columns) for columns, rows in grids_wh], im_height=height, im_width=width
            )
        except (ValueError, ZeroDivisionError, TypeError, IndexError) as error:
            raise UserError(
                "model.ssd.anchor_generator: object_detection cannot build it for "
                f"{counted(len(grids_wh), 'feature map')}: {error}"
            ) from error
        with tf.compat.v1.Session() as session:
            by_layer = session.run([grid.get() for grid in grids])
    layer = np.repeat(np.arange(len(by_layer)), [len(grid) for grid in by_layer])
    anchors_xyxy = boxes.from_normalised_yxyx(np.concatenate(by_layer), (width, height))
    return GeneratedAnchors(anchors_xyxy, layer, per_cell)


def anchor_layers(
    anchors_xyxy: np.ndarray, layer: np.ndarray, network: Network
) -> List[anchors.Layer]:
    """The layers of anchors that are one per cell, each in the centre of its cell.

    Args:
      anchors_xyxy: (M, 4), as in ``GeneratedAnchors``.
      layer: (M,), as in ``GeneratedAnchors``.
      network: the Network they were generated for.
    """
    layers = []
    for number, grid_wh in enumerate(network.grids_wh):
        xmin, ymin, xmax, ymax = anchors_xyxy[layer == number][0]
        stride_wh = tuple(side / cells for side, cells in zip(network.image_wh, grid_wh))
        offset_wh = tuple(stride / 2 for stride in stride_wh)
        layers.append(anchors.Layer(grid_wh, stride_wh, offset_wh, (xmax - xmin, ymax - ymin)))
    return layers


def augmented_boxes(
    config: pipeline.Config,
    images: Sequence[labels.LabelledImage],
    repeats: int = 1,
    seed: int = 0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> List[np.ndarray]:
    """The boxes that training sees after random flips and crops by object_detection's preprocessor.

    The preprocessor gets black images of the right size, because pixels do not matter here, and
    steps that change only pixels are left out. Every box has class 1, which only
    ``drop_label_probabilistically`` takes into account.

    Args:
      config: as ``pipeline.read`` returns it.
      images: the images with their boxes.
      repeats: number of random draws of each image.
      seed: of TensorFlow's random numbers.
      progress: wraps the list of images, for a progress bar.

    Returns:
      List of (N, 4) in pixels of the network's input, ``repeats`` times as long as ``images``. A
      crop may drop boxes or cut them.
    """
    tf = tensorflow1.load()
    image_wh = pipeline.input_size(config)
    graph_def = _augmentation_graph(config, seed)
    # The seeds of the crops are set in the GraphDef, which has to be imported again for that.
    with tf.Graph().as_default():
        size_hw, boxes_yxyx, augmented_yxyx = tf.import_graph_def(
            graph_def,
            name="",
            return_elements=["size_hw:0", "boxes_yxyx:0", "augmented_yxyx:0"],
        )
        result = []
        with tf.compat.v1.Session() as session:
            # Takes less time than session.run, which analyses its arguments at each call.
            run = session.make_callable(augmented_yxyx, feed_list=[size_hw, boxes_yxyx])
            for image in progress(list(images) * repeats):
                normalised = boxes.to_normalised_yxyx(image.boxes_xyxy, image.size_wh)
                augmented = run(image.size_wh[::-1], normalised)
                result.append(boxes.from_normalised_yxyx(augmented, image_wh))
    return result


def _augmentation_graph(config: pipeline.Config, seed: int) -> Any:
    """A GraphDef from "size_hw" and normalised "boxes_yxyx" to normalised "augmented_yxyx"."""
    tf = tensorflow1.load()
    from object_detection.builders import preprocessor_builder
    from object_detection.core import preprocessor, standard_fields

    fields = standard_fields.InputDataFields
    steps = [
        preprocessor_builder.build(step)
        for step in config.train_config.data_augmentation_options
        if step.WhichOneof("preprocessing_step") in BOX_AUGMENTATIONS
    ]
    with tf.Graph().as_default() as graph:
        tf.compat.v1.set_random_seed(seed)
        size_hw = tf.compat.v1.placeholder(tf.int32, [2], name="size_hw")
        boxes_yxyx = tf.compat.v1.placeholder(tf.float32, [None, 4], name="boxes_yxyx")
        count = tf.shape(boxes_yxyx)[0]
        tensors = preprocessor.preprocess(
            {
                fields.image: tf.zeros(tf.concat([[1], size_hw, [3]], axis=0)),
                fields.groundtruth_boxes: boxes_yxyx,
                fields.groundtruth_classes: tf.ones([count], tf.int32),
                fields.groundtruth_weights: tf.ones([count]),
            },
            steps,
            func_arg_map=preprocessor.get_default_func_arg_map(include_label_weights=True),
        )
        tf.identity(tensors[fields.groundtruth_boxes], name="augmented_yxyx")
    return _with_seeded_crops(graph.as_graph_def(), seed)


def _with_seeded_crops(graph_def: Any, seed: int) -> Any:
    """Seeds the crops: tf.image.sample_distorted_bounding_box ignores the seed of the graph."""
    crops = [node for node in graph_def.node if node.op.startswith("SampleDistortedBoundingBox")]
    for number, node in enumerate(crops, start=1):
        node.attr["seed"].i = seed + 1
        node.attr["seed2"].i = number
    return graph_def
