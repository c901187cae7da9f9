"""How long the steps of a training take, from the log of a short one."""

import pathlib
import re
from typing import Optional

import numpy as np

STEPS_TIMED = 12
STEPS_BEFORE = 3  # memory is allocated and buffers are filled during the first steps
# TensorFlow's LoggingTensorHook: "loss = 3.2, step = 7 (1.234 sec)", each logged step.
_STEP_LINE = re.compile(r"step = (\d+)(?: \((\d+\.\d+) sec\))?")


def seconds_per_step(log: pathlib.Path) -> Optional[float]:
    """The median time of a step in a train.log of STEPS_BEFORE + STEPS_TIMED steps or more.

    Where several processes train, the chief logs its own steps, and those of the others come
    between.

    Returns:
      seconds; None where the log states none.
    """
    seconds = []
    before = 0
    for step, elapsed in _STEP_LINE.findall(log.read_text(errors="replace")):
        if elapsed and int(step) > before:
            seconds.append(float(elapsed) / (int(step) - before))
        before = int(step)
    return float(np.median(seconds[STEPS_BEFORE:])) if len(seconds) > STEPS_BEFORE else None
