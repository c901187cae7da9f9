"""The files of a checkpoint: its prefix, its step, its variables, and what a user meant by a path.

A checkpoint is several files with a common prefix, such as model.ckpt-2300.index. Its prefix names
it, which is no file itself.
"""

import difflib
import glob
import os
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from shelfdet import UserError
from shelfdet.core import paths, tensorflow1
from shelfdet.core.files import PathLike

INDEX = ".index"
KERNEL_RANK = 4  # of a convolution: height, width, channels in, channels out
# A kernel whose largest absolute weight is below this counts as 0. Of trained ones it is above
# 0.01.
ZERO_BELOW = 1e-6
# Above it, names of folders are taken as one misspelt: names of graphs have long parts in common.
SAME_NAME = 0.9
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


def is_prefix(path: PathLike) -> bool:
    """Whether there is a checkpoint with this prefix."""
    return os.path.isfile(f"{path}{INDEX}")


def step_of(prefix: PathLike) -> Optional[int]:
    """The step in the name of a training's checkpoint, model.ckpt-2300; None in other names."""
    found = re.match(r"model\.ckpt-(\d+)$", os.path.basename(str(prefix)))
    return int(found.group(1)) if found else None


def variables(prefix: PathLike) -> Dict[str, Tuple[int, ...]]:
    """The shape of each variable in a checkpoint, by name.

    Raises:
      UserError: TensorFlow cannot read the checkpoint.
    """
    tf = tensorflow1.load()
    try:
        return {name: tuple(shape) for name, shape in tf.train.list_variables(str(prefix))}
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f"{prefix} cannot be read ({str(error).splitlines()[0]})") from error


def zero_kernels(prefix: PathLike, names: Iterable[str]) -> List[str]:
    """Which of the named variables are kernels of convolutions whose weights are all 0, or nearly.

    Args:
      prefix: of a checkpoint.
      names: of variables in it.

    Raises:
      UserError: TensorFlow cannot read the checkpoint.
    """
    tf = tensorflow1.load()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        kernels = sorted(name for name in names if len(shapes[name]) == KERNEL_RANK)
        return [name for name in kernels if abs(reader.get_tensor(name)).max() < ZERO_BELOW]
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f"{prefix} cannot be read ({str(error).splitlines()[0]})") from error


def with_values(prefix: PathLike, values: Mapping[str, Any], target: PathLike) -> None:
    """Writes a copy of a checkpoint in which some variables have other values.

    Args:
      prefix: of the checkpoint to read.
      values: the new values, NumPy arrays, by name.
      target: prefix of the checkpoint to write, in another folder that exists.

    Raises:
      UserError: it cannot be written.
    """
    tf = tensorflow1.load()
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    types = reader.get_variable_to_dtype_map()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = []
        for name in sorted(shapes):
            # Fed, as values in the graph would be limited to 2 GB.
            value = tf.compat.v1.placeholder(types[name], shapes[name])
            variables.append(tf.compat.v1.get_variable(name, initializer=value))
            fed = values[name] if name in values else reader.get_tensor(name)
            session.run(variables[-1].initializer, {value: fed})
        try:
            tf.compat.v1.train.Saver(variables).save(
                session, str(target), write_meta_graph=False, write_state=False
            )
        except tf.errors.OpError as error:
            raise UserError(
                f"{target}: cannot be written ({error.message.splitlines()[0]}). Expected free "
                f"space for a copy of {prefix}. Free some, then run the step again."
            ) from error


def means(prefixes: Sequence[PathLike]) -> Dict[str, Any]:
    """The mean of each variable of floating-point numbers in checkpoints of one network, by name.

    Args:
      prefixes: of the checkpoints, which are whole.

    Returns:
      NumPy arrays.
    """
    import numpy as np

    readers = [tensorflow1.load().train.load_checkpoint(str(prefix)) for prefix in prefixes]
    found = {}
    for name in readers[0].get_variable_to_shape_map():
        values = [reader.get_tensor(name) for reader in readers]
        if np.issubdtype(values[0].dtype, np.floating):
            found[name] = np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
    return found


def nearest(path: PathLike) -> Optional[str]:
    """The prefix that a user most likely meant by a path that is none.

    It may be the folder of a checkpoint, one of its files, a frozen graph or an archive beside it,
    a prefix without the step, a path from the folder of the workspace, or in a misspelt folder.

    Returns:
      an absolute path, or None where there is no checkpoint.
    """
    path = os.path.abspath(str(path))
    inside_root = os.path.relpath(path, str(paths.ROOT))
    in_workspace = os.path.join(str(paths.WORKSPACE), inside_root)
    folder = os.path.dirname(path)
    for place in (path, _without_archive(path), in_workspace, folder, _similar(folder)):
        for prefix in (place, re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", place)):
            if is_prefix(prefix):
                return prefix
        for inside in (os.path.join(place, "best"), place):  # of a run, the best before the newest
            if os.path.isdir(inside) and prefixes_in(inside):
                return prefixes_in(inside)[0]
    return None


def prefixes_in(folder: PathLike) -> List[str]:
    """The prefixes of the checkpoints in a folder: without a step first, then the newest first."""
    indexes = glob.glob(os.path.join(glob.escape(str(folder)), f"*{INDEX}"))
    return sorted((index[: -len(INDEX)] for index in indexes), key=_order)


def _order(prefix: str) -> tuple:
    step = step_of(prefix)
    return (0, 0, prefix) if step is None else (1, -step, prefix)


def _similar(folder: str) -> str:
    """The folder beside ``folder`` whose name is nearly the same, or ``folder`` itself."""
    parent, name = os.path.split(folder)
    names = os.listdir(parent) if os.path.isdir(parent) else []
    return os.path.join(parent, *difflib.get_close_matches(name, names, 1, SAME_NAME) or [name])


def _without_archive(path: str) -> str:
    """The folder that an archive is unpacked to."""
    for ending in ARCHIVES:
        if path.endswith(ending):
            return path[: -len(ending)]
    return path
