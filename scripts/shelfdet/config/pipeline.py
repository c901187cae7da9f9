"""A training config (``pipeline.config``): reading it, and copies with other values.

Everything here works on object_detection's protos and needs no TensorFlow. ``network`` builds what
a config describes, ``checks`` finds what is wrong with it.
"""

import difflib
import json
import pathlib
import re
from typing import Any, Iterable, List, NamedTuple, Set, Tuple, Union

from shelfdet import UserError
from shelfdet.anchors import coverage
from shelfdet.config import checkpoint_files
from shelfdet.core import paths, shards, tensorflow1, text, workspace_names

PathLike = Union[str, pathlib.Path]
# A TrainEvalPipelineConfig. The class comes from object_detection, which is imported only when a
# config is parsed.
Config = Any
# (path of a block, lines of text proto): see ``with_changes``.
Change = Tuple[str, str]

AFTER_NETWORK = "model.ssd.post_processing"  # has no weights and no part in training
SHOWN_DIFFERENCES = 5  # that a message names
ABSENT = "nothing"  # in the text of a difference
SHOWN_BLOCK = 60  # characters of a block in the text of a difference

# The fields of train_config that say from which weights training starts
FINE_TUNE_FIELDS = (
    "fine_tune_checkpoint",
    "fine_tune_checkpoint_type",
    "from_detection_checkpoint",
    "load_all_detection_checkpoint_vars",
)


def read(path: PathLike) -> Config:
    """Reads the config at ``path`` with object_detection's own proto and protobuf's text parser.

    Returns:
      object_detection.protos.pipeline_pb2.TrainEvalPipelineConfig.

    Raises:
      UserError: the file is missing or not text, or has a syntax error; names line and column and
        shows the line.
    """
    return parse(read_content(path), path)


def read_content(path: PathLike) -> str:
    """The text of the config at ``path``.

    Raises:
      UserError: it is missing or not text; names the configs there are.
    """
    path = pathlib.Path(path)
    missing = None if path.exists() else workspace_names.no_config(path)
    if missing:
        raise UserError(missing)
    return text.read_text(path, "a training config")


def parse(content: str, path: PathLike) -> Config:
    """As ``read``, from the text ``content`` of the file at ``path``."""
    from google.protobuf import text_format

    try:
        from object_detection.protos import pipeline_pb2
    except ImportError as error:
        raise tensorflow1.no_object_detection(error) from error
    try:
        config = text_format.Parse(content, pipeline_pb2.TrainEvalPipelineConfig())
    except text_format.ParseError as error:
        raise UserError(_syntax_error(path, content, error)) from error
    if not config.HasField("model"):
        raise UserError(
            f"{path}: holds no model {{ ... }}; expected a training config. Check the path."
        )
    return config


def _syntax_error(path: PathLike, content: str, error: Exception) -> str:
    """The message for a ParseError, with the line and a mark under the column."""
    # protobuf's message is "line:column : reason".
    reason = str(error).split(" : ", 1)[-1].strip()
    line, column = error.GetLine(), error.GetColumn()
    if not line:
        return f"{path}: {reason}. Expected a training config as object_detection reads it."
    lines = content.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    mark = " " * max(0, column - 1) + "^"
    return (
        f"{path}: line {line}, column {column}: {reason}\n    {shown}\n    {mark}\n"
        f"  {_remedy(reason)}. The parser stops at the first error."
    )


def _remedy(reason: str) -> str:
    """What to do about the parser's ``reason``, which may be a misspelt or misplaced key."""
    from google.protobuf import descriptor_pool
    from object_detection.protos import pipeline_pb2

    fix_line = "Correct this line, or a missing or extra brace above it"
    unknown = re.match(r'Message type "([\w.]+)" has no field named "(\w+)"', reason)
    if not unknown:
        return fix_line
    block = descriptor_pool.Default().FindMessageTypeByName(unknown.group(1))
    key = unknown.group(2)
    if key in pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR.fields_by_name:
        return f"{key} belongs to the outermost level: a closing brace is missing above"
    similar = difflib.get_close_matches(key, list(block.fields_by_name), 1)
    if similar:
        return f"Did you mean {similar[0]}? Correct this line"
    return f"{block.name} has {', '.join(sorted(block.fields_by_name))}. {fix_line}"


def with_changes(config: Config, changes: List[Change]) -> Config:
    """A copy of the config with other values in some blocks.

    Args:
      config: as ``read`` returns it.
      changes: list of (path of a block, lines). The lines are written as in a .config; they replace
        the fields of the same names in the block, a repeated field as a whole. A path is
        "model.ssd.loss", or "train_config.data_augmentation_options[4]" for one element of a
        repeated block; "" is the whole config.

    Raises:
      UserError: there is no such block, or the lines do not belong in it.
    """
    from google.protobuf import text_format

    copy = _copy(config)
    for path, lines in changes:
        try:
            block = _block(copy, path)
            new = text_format.Parse(lines, type(block)())
        except (AttributeError, IndexError, TypeError, text_format.ParseError) as error:
            raise UserError(
                f"change of {path!r} to {lines!r}: {error}; expected a block of the config, and "
                "lines that this block can hold."
            ) from error
        # MergeFrom alone would append to repeated fields and merge blocks, not replace them.
        for field, _ in new.ListFields():
            block.ClearField(field.name)
        block.MergeFrom(new)
    return copy


def _copy(config: Config) -> Config:
    copy = type(config)()
    copy.CopyFrom(config)
    return copy


def _block(config: Config, path: str) -> Any:
    """The message at ``path``, such as "train_config.data_augmentation_options[4]"."""
    block = config
    for name, number in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
        block = getattr(block, name)
        if number:
            block = block[int(number)]
    return block


def record_changes(folder: PathLike) -> List[Change]:
    """The changes for training and validation on the records that step 04 wrote to ``folder``."""
    readers = (("train_input_reader", "train"), ("eval_input_reader[0]", "val"))
    changes = []
    for reader, split in readers:
        record = _quoted(shards.input_path(paths.record_in(pathlib.Path(folder).resolve(), split)))
        changes.append((reader, f"tf_record_input_reader {{ input_path: {record} }}"))
    return changes


def starting_from(config: Config, start: PathLike) -> Config:
    """A copy of the config whose training starts with all weights of another detector.

    The weights of the box predictors are included.

    Args:
      config: as ``read`` returns it.
      start: a graph's folder as step 07 writes it, or the prefix of a checkpoint.

    Raises:
      UserError: there is no checkpoint.
    """
    start = pathlib.Path(start)
    prefix = start / paths.CHECKPOINT_PREFIX if start.is_dir() else start
    if not checkpoint_files.is_prefix(prefix):
        near = checkpoint_files.nearest(start)
        meant = "" if near is None else f" Most likely this is meant: --start-from {near}"
        # As START=name of make gives it
        if near is None and start.resolve().parent == paths.GRAPHS:
            meant = f" {workspace_names.no_graph(start.name)}"
        raise UserError(
            f"--start-from {start}: {prefix}.index does not exist; expected a graph's folder as "
            "step 07 writes it, or the prefix of a checkpoint, such as RUN/best/model.ckpt-2300."
            f"{meant}"
        )
    lines = (
        f"fine_tune_checkpoint: {_quoted(prefix.resolve())} "
        'fine_tune_checkpoint_type: "detection" '
        "load_all_detection_checkpoint_vars: true"
    )
    return with_changes(config, [("train_config", lines)])


def _quoted(path: PathLike) -> str:
    """A path as a string of protobuf's text format."""
    return json.dumps(str(path), ensure_ascii=False)


def input_size(config: Config) -> Tuple[int, int]:
    """(width, height) of the network's input.

    Raises:
      UserError: the model is no SSD, or its resizer is no ``fixed_shape_resizer``; without it
        neither feature maps nor anchors have a fixed size.
    """
    kind = config.model.WhichOneof("model")
    if kind != "ssd":
        raise UserError(f"model: found {kind}; expected ssd.")
    resizer = config.model.ssd.image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind != "fixed_shape_resizer":
        raise UserError(
            f"model.ssd.image_resizer: found {kind or 'nothing'}; expected fixed_shape_resizer, "
            "with which every feature map has one size. "
            "Write: fixed_shape_resizer { height: 512 width: 512 }"
        )
    return resizer.fixed_shape_resizer.width, resizer.fixed_shape_resizer.height


def with_input_size(config: Config, image_wh: Tuple[int, int], num_layers: int) -> Config:
    """A copy of the config for another input size and number of feature maps.

    Its anchor generator makes one anchor per cell with a placeholder's size, so that the network
    can be built whatever the config's own generator says.
    """
    copy = _copy(config)
    resizer = copy.model.ssd.image_resizer.fixed_shape_resizer
    resizer.width, resizer.height = (int(side) for side in image_wh)
    copy.model.ssd.feature_extractor.num_layers = num_layers
    copy.model.ssd.anchor_generator.Clear()
    generator = copy.model.ssd.anchor_generator.ssd_anchor_generator
    generator.num_layers = num_layers
    generator.scales.extend([0.1] * num_layers)
    generator.aspect_ratios.append(1.0)
    generator.reduce_boxes_in_lowest_layer = False
    generator.interpolated_scale_aspect_ratio = 0.0
    return copy


class Difference(NamedTuple):
    """A field that two configs do not have in common.

    key: full, such as "train_config.num_steps". before, after: the values, as text.
    """

    key: str
    before: str
    after: str


def differences(before: Any, after: Any, key: str = "") -> List[Difference]:
    """The fields in which two configs, or two blocks of the same kind, differ.

    A value that is not written counts as its default.
    """
    found = []
    switched: Set[str] = set()  # fields of which one excludes the others, as the kinds of optimizer
    for choice in before.DESCRIPTOR.oneofs:
        kinds = [message.WhichOneof(choice.name) for message in (before, after)]
        if kinds[0] != kinds[1]:
            found.append(Difference(key or choice.name, kinds[0] or ABSENT, kinds[1] or ABSENT))
            switched.update(field.name for field in choice.fields)
    for field in before.DESCRIPTOR.fields:
        if field.name in switched:
            continue
        field_key = f"{key}.{field.name}" if key else field.name
        one = getattr(before, field.name)
        other = getattr(after, field.name)
        if field.label == field.LABEL_REPEATED:
            found += _repeated_differences(list(one), list(other), field_key, field)
        elif field.message_type is None:
            if one != other:
                found.append(_difference(field_key, one, other, field))
        # A block may have an effect without any value in it, as one kind of several.
        elif before.HasField(field.name) != after.HasField(field.name):
            one = one if before.HasField(field.name) else None
            other = other if after.HasField(field.name) else None
            found.append(_difference(field_key, one, other, field))
        elif before.HasField(field.name):
            found += differences(one, other, field_key)
    return found


def model_differences(before: Config, after: Config) -> Tuple[List[Difference], List[Difference]]:
    """The fields in which the models of two configs differ.

    Returns:
      those that training and its weights depend on, and those of what follows the network.
    """
    trained, after_network = [], []
    for difference in differences(before.model, after.model, "model"):
        follows = (difference.key + ".").startswith(AFTER_NETWORK + ".")
        (after_network if follows else trained).append(difference)
    return trained, after_network


def listed(found: Iterable[Difference]) -> str:
    """Differences for a message: "model.ssd.num_classes was 1 and is 2"."""
    return text.listed(
        (f"{key} was {before} and is {after}" for key, before, after in found), SHOWN_DIFFERENCES
    )


def _repeated_differences(before: List, after: List, key: str, field: Any) -> List[Difference]:
    if field.message_type is None:
        if before == after:
            return []
        one, other = (
            ", ".join(_value_text(value, field) for value in values) for values in (before, after)
        )
        return [Difference(key, one or ABSENT, other or ABSENT)]
    found = []
    for number in range(max(len(before), len(after))):
        item_key = f"{key}[{number}]"
        one = before[number] if number < len(before) else None
        other = after[number] if number < len(after) else None
        if one is None or other is None:
            found.append(_difference(item_key, one, other, field))
        else:
            found += differences(one, other, item_key)
    return found


def _difference(key: str, before: Any, after: Any, field: Any) -> Difference:
    return Difference(key, _value_text(before, field), _value_text(after, field))


def _value_text(value: Any, field: Any) -> str:
    """A value of a field as it is written in a config, cut if it is long."""
    from google.protobuf import text_format

    if value is None:
        return ABSENT
    if field.message_type is not None:
        written = text_format.MessageToString(value, as_one_line=True)
        cut = f"{written[:SHOWN_BLOCK]} ..." if len(written) > SHOWN_BLOCK else written
        return f"{{ {cut} }}"
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or ABSENT


def matcher(config: Config) -> coverage.Matcher:
    """The config's argmax_matcher as a coverage.Matcher."""
    fields = config.model.ssd.matcher.argmax_matcher
    matched = None if fields.ignore_thresholds else fields.matched_threshold
    unmatched = None if fields.ignore_thresholds else fields.unmatched_threshold
    return coverage.Matcher(
        matched,
        unmatched,
        fields.force_match_for_each_row,
        fields.negatives_lower_than_unmatched,
    )
