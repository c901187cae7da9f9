"""Progress of a training, read from model_main.py's log lines, and advice when it fails."""

import collections
import pathlib
import re
import sys
import time
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Union

import tqdm

from shelfdet.core import files
from shelfdet.core.make_variables import both
from shelfdet.core.progress import duration

Evaluation = Dict[str, Any]  # a line of evaluations.jsonl
KILLED = -9  # status of a process that SIGKILL ended
LINES_KEPT = 15  # of the end of the log, shown when a failed training printed no traceback
MESSAGE_LINES = 12  # of an exception's own message; a longer one is cut
SECONDS_BETWEEN_LINES = 60  # of progress, where standard error is no terminal

# Lines of tf.estimator's log: model_main.py tells its progress in no other way.
LOSS_LINE = re.compile(r"INFO:tensorflow:loss = ([\d.e+-]+|nan), step = (\d+)")
STATE_LINE = re.compile(r"INFO:tensorflow:Starting (evaluation|training)")
# An evaluation begins by building its graph, which takes as long as many steps.
PAUSE_LINE = re.compile(r"INFO:tensorflow:(Calling model_fn|Starting evaluation)")
EVALUATION_LINE = re.compile(r"INFO:tensorflow:Saving dict for global step (\d+)")
VALIDATION_AP = re.compile(r"DetectionBoxes_Precision/mAP = ([\d.e-]+)")


class Advice(NamedTuple):
    """What to do about a failure.

    Attributes:
      pattern: regular expression that the traceback matches.
      text: the remedy, as sentences.
    """

    pattern: str
    text: str


OUT_OF_MEMORY = Advice(
    r"OOM when allocating|Cannot allocate memory|MemoryError|std::bad_alloc",
    "Memory ran out. Lower batch_size, or shuffle_buffer_size and num_parallel_batches of the "
    "train_input_reader.",
)
# The first whose pattern matches is shown.
ADVICE = (
    Advice(
        r"NaN loss|loss is Inf or Nan|LossTensor is inf or nan",
        "The loss became NaN. Run step 05; then lower the learning rate or lengthen its warm-up.",
    ),
    Advice(
        files.DISK_FULL + r"|ResourceExhausted.*(write|append)",
        "The disk is full. Free some space and run the same command again, which resumes; or put "
        f"the run elsewhere with {both('--run-dir')}.",
    ),
    OUT_OF_MEMORY,
    Advice(
        r"shapes of both tensors to match|not found in checkpoint",
        "The run's folder, or fine_tune_checkpoint, holds another network than the config "
        f"describes. Use another {both('--run-dir')}.",
    ),
    Advice(
        r"DataLossError|truncated record|corrupted record",
        "A record or a checkpoint is damaged. If it is a record, run step 04 again. If it is a "
        "checkpoint, the same command resumes from the newest one that is whole.",
    ),
)
OTHER_ADVICE = "Step 05 finds the common mistakes."


class CrashReport:
    """Keeps the first traceback of a stream of lines, and the end of the stream.

    After the first traceback TensorFlow prints pages of follow-up errors ("Object was never used",
    exceptions raised while handling the first), which hide the cause.
    """

    def __init__(self) -> None:
        self.traceback: List[str] = []
        self.tail: Deque[str] = collections.deque(maxlen=LINES_KEPT)
        self._inside = False

    def read(self, line: str) -> None:
        """Takes the next line of the log."""
        self.tail.append(line)
        if line.startswith("Traceback (most recent call last)") and not self.traceback:
            self._inside = True
        if not self._inside:
            return
        # The message of an exception may have several lines; an empty line ends it.
        message_lines = sum(not text.startswith(" ") for text in self.traceback)
        if not line.strip() or message_lines > MESSAGE_LINES:
            self._inside = False
        else:
            self.traceback.append(line)

    def message(self, status: int, log_path: Union[str, pathlib.Path], kept: str) -> str:
        """The error message for a training that ended with ``status``.

        Args:
          status: exit status of model_main.py; negative for the signal that ended it.
          log_path: the complete log, named in the message.
          kept: what the run has kept, as a sentence.
        """
        shown = "".join(self.traceback or self.tail).rstrip()
        advice = self._advice(status, shown)
        if self.traceback and advice != OTHER_ADVICE:
            # The cause is known: the lines of code that led to it do not help a user.
            shown = self._exception()
        return (
            f"{log_path}: model_main.py ended with status {status}. {advice}\n\n{shown}\n\n{kept}"
        )

    def _exception(self) -> str:
        """The last lines of the traceback: the exception and its message."""
        code = [number for number, line in enumerate(self.traceback) if line.startswith(" ")]
        return "".join(self.traceback[max(code, default=0) + 1 :]).rstrip()

    def _advice(self, status: int, shown: str) -> str:
        if status == KILLED and not self.traceback:
            # The kernel kills a process without a traceback when memory runs out.
            return OUT_OF_MEMORY.text.replace(
                "Memory ran out",
                "Another process killed it, most often the kernel because memory ran out",
            )
        for advice in ADVICE:
            if re.search(advice.pattern, shown):
                return advice.text
        return OTHER_ADVICE


class Progress:
    """Shows log lines as a progress bar or, without a terminal, as one line a minute."""

    def __init__(self, start: int, target: int) -> None:
        """Shows the first state.

        Args:
          start: step from which training starts.
          target: step at which it ends.
        """
        self._first_step = start
        self._step = start
        self._target = target
        self._state = "building the graph"
        self._loss: Optional[float] = None
        self._validation = ""
        self._first_time: Optional[float] = None  # of the first loss, from which the rate is read
        self._pause_began: Optional[float] = None  # of the evaluation that is running
        self._paused = 0.0  # seconds of evaluations since the first loss: not part of the rate
        self._rate = ""
        self._printed_time: Optional[float] = None
        self._bar = tqdm.tqdm(
            total=target,
            initial=start,
            unit="step",
            smoothing=0.05,
            dynamic_ncols=True,
            # tqdm's own rate would count evaluations.
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            disable=not sys.stderr.isatty(),
        )
        self._show()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the progress bar, so that other text can follow it."""
        self._bar.close()

    def read(self, line: str) -> None:
        """Takes the next line of the log, and shows it if it states progress."""
        loss = LOSS_LINE.search(line)
        state = STATE_LINE.search(line)
        evaluation = EVALUATION_LINE.search(line)
        if self._pause_began is None and PAUSE_LINE.search(line):
            self._pause_began = time.time()
        if loss:
            self._read_loss(float(loss.group(1)), int(loss.group(2)))
        elif state:
            self._state = "evaluating" if state.group(1) == "evaluation" else "training"
        elif evaluation:
            self._end_pause()
            average_precision = VALIDATION_AP.search(line)
            self._validation = ""
            if average_precision:
                step = int(evaluation.group(1))
                self._set_validation(float(average_precision.group(1)), step)
            self._printed_time = None  # an evaluation is shown at once
        else:
            return
        self._show()

    def show_evaluation(self, evaluation: Optional[Evaluation]) -> None:
        """Shows from now on the latest evaluation that another process wrote, if there is one."""
        if evaluation is not None:
            self._set_validation(evaluation["AP"], evaluation["step"])

    def _set_validation(self, average_precision: float, step: int) -> None:
        known = average_precision >= 0
        shown = f"{average_precision:.3f}" if known else "not defined, without any box,"
        self._validation = f"validation AP {shown} at step {step}"

    def _read_loss(self, loss: float, step: int) -> None:
        self._loss = loss
        self._state = "training"
        self._end_pause()  # also one whose end was not logged
        now = time.time()
        if self._first_time is None:
            self._first_step = step
            self._first_time = now
            self._paused = 0.0
        elif step > self._first_step:
            seconds = now - self._first_time - self._paused
            rate = (step - self._first_step) / max(seconds, 1e-9)
            left = duration((self._target - step) / rate)
            self._rate = f"{rate:.2f} steps/s, {left} left"
        self._bar.update(max(0, step - self._step))
        self._step = max(step, self._step)

    def _end_pause(self) -> None:
        if self._pause_began is not None:
            self._paused += time.time() - self._pause_began
            self._pause_began = None

    def _show(self) -> None:
        loss = "" if self._loss is None else f"loss {self._loss:.2f}"
        if not self._bar.disable:
            self._bar.set_description(self._state)
            self._bar.set_postfix_str(_joined(self._rate, loss, self._validation))
            return
        now = time.time()
        if self._printed_time is None or now - self._printed_time > SECONDS_BETWEEN_LINES:
            self._printed_time = now
            position = f"{self._state}: step {self._step} of {self._target}"
            line = _joined(position, loss, self._rate, self._validation)
            print(f"  {line}", flush=True)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
