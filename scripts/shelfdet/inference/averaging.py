"""Averages the weights of the last checkpoints of a run (Izmailov et al., arXiv 1803.05407).

At a learning rate that does not fall, the average of the weights of several steps is often better
on other images than each of them. The paper computes the statistics of batch norms anew, by a pass
over the training images. Here they are averaged, too: RUNS.md (section 37) has figures.
"""

import pathlib
from typing import Dict, List, NamedTuple

from shelfdet import UserError
from shelfdet.config import checkpoint_files
from shelfdet.core import paths, text
from shelfdet.core.make_variables import both
from shelfdet.inference import checkpoints


class Average(NamedTuple):
    """Averaged weights.

    prefix: of the checkpoint that holds them.
    steps: of the checkpoints that were averaged, in their order.
    """

    prefix: pathlib.Path
    steps: List[int]


def write(newest: pathlib.Path, folder: pathlib.Path) -> Average:
    """Averages the checkpoints of the second half of the steps of a run, as far as it keeps them.

    Args:
      newest: prefix of the last checkpoint that counts.
      folder: where to write the average, under the name of the newest.

    Raises:
      UserError: there are fewer than two, or one of them is cut short.
    """
    late = _late(newest)
    if len(late) < 2:
        raise UserError(
            f"{paths.shown(newest.parent)}: {text.counted(len(late), 'checkpoint')} in the second "
            "half of its steps; expected two at least, to average. Step 06 writes one every "
            f"--save-seconds and keeps the last five. Export the last: "
            f"{both('--checkpoint newest')}; or train longer, or with a smaller --save-seconds."
        )
    for prefix in late.values():
        checkpoints.check_whole(prefix)
    averaged = folder / newest.name
    checkpoint_files.with_values(newest, checkpoint_files.means(list(late.values())), averaged)
    return Average(averaged, sorted(late))


def _late(newest: pathlib.Path) -> Dict[int, pathlib.Path]:
    """Step to prefix of the checkpoints from half of the steps of the newest to itself."""
    last = checkpoint_files.step_of(newest)
    found: Dict[int, pathlib.Path] = {}
    if last is None:  # not a name that training gives
        return found
    for prefix in map(pathlib.Path, checkpoint_files.prefixes_in(newest.parent)):
        step = checkpoint_files.step_of(prefix)
        if step is not None and last <= 2 * step <= 2 * last:
            found[step] = prefix
    return found
