#!/usr/bin/env python
"""Step 06: train, by object_detection's own model_main.py in a process of its own, and watch over it.

Reads   a training/*.config, and what it names: the records and the label map (paths from the repository root).
Writes  the run's folder (default: training/NAME-OF-THE-CONFIG/): checkpoints, event files for TensorBoard, pipeline.config (a copy
        of the config), trained_on.json (the images), train.log (every line that model_main.py printed), evaluations.jsonl (COCO AP
        on validation) and best/ (the checkpoint with the highest of them).

The same command goes on from the last checkpoint, however the training ended. Shown are the loss, steps a second, the time left and
the latest validation AP; the rest is in train.log. Step 05, which `make train` runs first, says what is wrong with a config.

    python scripts/training/06_train.py
    python scripts/training/06_train.py --config workspace/training_demo/training/mine.config --run-dir /data/runs/mine
    python scripts/training/06_train.py --config workspace/training_demo/training/mine.config \
        --start-from workspace/training_demo/trained-inference-graphs/ssd_inception_v2_shelf
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

LAUNCHER = pathlib.Path(__file__).resolve().parent / "launcher.py"
# What a failed training printed -> what to do about it.
ADVICE = (
    (
        r"NaN loss|loss is Inf or Nan|LossTensor is inf or nan",
        "The loss became NaN. Run step 05; then lower the learning rate or lengthen its warm-up.",
    ),
    (
        r"No space left on device|ResourceExhausted.*(write|append)|File too large",
        "The disk is full. Free some space, or put the run elsewhere with --run-dir; the same command goes on.",
    ),
    (
        r"OOM when allocating|Cannot allocate memory|MemoryError|std::bad_alloc",
        "Memory ran out. Lower batch_size, or shuffle_buffer_size and num_parallel_batches of the train_input_reader.",
    ),
    (
        r"shapes of both tensors to match|not found in checkpoint",
        "The run's folder, or fine_tune_checkpoint, holds another network than the config describes. Use another --run-dir.",
    ),
    (
        r"DataLossError|truncated record|corrupted record",
        "A record or checkpoint is damaged. Run step 04 again; if a checkpoint is, remove its files and the line in `checkpoint`.",
    ),
)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=paths.DEFAULT_CONFIG,
        metavar="FILE",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--run-dir",
        type=pathlib.Path,
        metavar="FOLDER",
        help=f"checkpoints and logs (default: {paths.shown(paths.TRAINING)}/NAME-OF-THE-CONFIG)",
    )
    parser.add_argument(
        "--start-from",
        type=pathlib.Path,
        metavar="PATH",
        help="begin with the weights of a graph's folder (step 07) or of a checkpoint's prefix, in place of what the "
        "config says",
    )
    parser.add_argument(
        "--save-seconds",
        type=command_line.positive,
        default=300,
        metavar="S",
        help="between checkpoints: what a kill can cost (default: %(default)s)",
    )
    parser.add_argument(
        "--eval-seconds",
        type=command_line.positive,
        default=600,
        metavar="S",
        help="at least, between evaluations on validation (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of weights and augmentation; two runs still differ a little, for threads race (default: %(default)s)",
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    command_line.end_once()
    config, target = read_config(args.config, args.start_from)
    run = (args.run_dir or paths.TRAINING / args.config.stem).resolve()
    start = newest_step(run)
    if start is not None:
        check_same(args.config, config, run)
        check_start(args, config, run)
        config = going_on(config, run)
    if start is not None and start >= target:
        print(
            f"{paths.shown(run)}: the run's newest checkpoint is already at step {start} of {target} (num_steps of {paths.shown(args.config)}): nothing is left to train.\nTo export it: scripts/training/07_export_inference_graph.py --run-dir {paths.shown(run)}\nTo train on, raise num_steps (and total_steps of a cosine schedule); to start over, name another folder with --run-dir."
        )
        return 0
    with lock(run):
        files.write_text(run / paths.CONFIG_FILE, as_text(args, config))
        files.write_text(
            run / paths.TRAINED_ON_FILE,
            json.dumps(all_images(config, run, start is not None), indent=0) + "\n",
        )
        return train(args, run, start or 0, target)


def read_config(path, start_from=None):
    """The parsed config, beginning with the weights at ``start_from`` if that is given, and its num_steps."""
    from shelfdet.config import pipeline

    config = pipeline.read(path)
    if start_from:
        config = pipeline.starting_from(config, start_from)
    if config.train_config.num_steps < 1:
        raise UserError(
            f"{path}: train_config.num_steps: found {config.train_config.num_steps}, expected at least 1. Without it model_main.py trains for ever: write num_steps: 2300."
        )
    return config, config.train_config.num_steps


def as_text(args, config):
    """The config for the run's folder: the file as it is, or, where --start-from changed what it says, that."""
    from google.protobuf import text_format

    from shelfdet.config import pipeline
    from shelfdet.data import labels

    if pipeline.read(args.config) == config:
        return labels.read_text(
            args.config, "a training config"
        )  # without the mark that some editors put before it
    return f"# {paths.shown(args.config)}, begun with --start-from {paths.shown(paths.ROOT / config.train_config.fine_tune_checkpoint)}\n{text_format.MessageToString(config)}"


def newest_step(run):
    """The step of the newest checkpoint in ``run`` as TensorFlow will resume it, or None."""
    state = run / "checkpoint"
    if not state.is_file():
        return None
    found = re.search(
        r'^model_checkpoint_path: ".*?model\.ckpt-(\d+)"', state.read_text(), re.MULTILINE
    )
    return int(found.group(1)) if found else None


class lock:
    """Only one training at a time in a folder: the kernel drops the lock when its holder dies, however it dies."""

    def __init__(self, run):
        if run.is_file():
            raise UserError(
                f"{run}: is a file; expected a folder for the run. Name another with --run-dir."
            )
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._file = open(str(run / ".lock"), "w")
        except OSError as error:
            raise UserError(files.writing_failed(run, error)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{run}: another training is under way in this folder. Wait for it or stop it, or name another folder with --run-dir."
            ) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def check_same(path, config, run):
    """Refuses to go on with checkpoints of another network, or of other images.

    Raises:
      UserError: the folder's earlier config has another ``model``, or its images were others.
    """
    from shelfdet.config import pipeline

    kept = run / paths.CONFIG_FILE
    if kept.exists() and pipeline.read(kept).model != config.model:
        raise UserError(
            f"{run}: its checkpoints were trained with another `model` than {path} describes now (compare {kept}). Put the config back, or start a new run with --run-dir."
        )
    noted = run / paths.TRAINED_ON_FILE
    before = files.read_json(noted) if noted.exists() else {}
    now = pictures(config)
    changed = [split for split in now if split in before and now[split] != before[split]]
    if changed:
        raise UserError(
            f"{run}: its checkpoints were trained on another split: {' and '.join(changed)} images differ from those of the label files beside the records ({noted}). Go back to that split with step 02, or start a new run with --run-dir."
        )


def check_start(args, config, run):
    """Refuses --start-from on a run that began otherwise: its newest checkpoint is what it goes on from.

    Raises:
      UserError: the run's own config names other first weights, or none.
    """
    from shelfdet.config import pipeline

    kept = run / paths.CONFIG_FILE
    began = pipeline.read(kept).train_config.fine_tune_checkpoint if kept.exists() else ""
    if args.start_from and began != config.train_config.fine_tune_checkpoint:
        raise UserError(
            f"--start-from {args.start_from}: the run in {run} began with {began or 'weights drawn at random'}; expected the same. Leave --start-from out to go on with it, or start a new run with --run-dir."
        )


def going_on(config, run):
    """The config with the first weights of the run that it goes on with, where it names none itself and they are still there:
    model_main.py opens them though it needs them no more."""
    from shelfdet.config import pipeline

    if config.train_config.fine_tune_checkpoint or not (run / paths.CONFIG_FILE).exists():
        return config
    began, here = pipeline.read(run / paths.CONFIG_FILE).train_config, type(config)()
    if (
        not began.fine_tune_checkpoint
        or not (paths.ROOT / (began.fine_tune_checkpoint + ".index")).is_file()
    ):
        return config
    here.CopyFrom(config)
    for field in pipeline.FIRST_WEIGHTS:
        if began.HasField(field):
            setattr(here.train_config, field, getattr(began, field))
    return here


def pictures(config):
    """dict of "train" and "val" to the sorted file names of the images trained and validated on.

    They are read from the label file that step 02 puts beside each record; where there is none, the split is left out.
    """
    from shelfdet.data import labels

    found = {}
    for split, reader in [("train", config.train_input_reader)] + [
        ("val", reader) for reader in config.eval_input_reader[:1]
    ]:
        for record in reader.tf_record_input_reader.input_path[:1]:
            label_files = (paths.ROOT / record).with_name(pathlib.Path(record).stem + "_labels.csv")
            if label_files.is_file():
                found[split] = sorted(image.filename for image in labels.read_labels(label_files))
    return found


def all_images(config, run, goes_on):
    """``images``, and under "before" those that the weights had seen with which the run began.

    These are noted beside the checkpoint that the config names (for a run's best/ one folder up), or in the run's own folder
    when it goes on from a checkpoint there.
    """
    found = pictures(config)
    checkpoint = config.train_config.fine_tune_checkpoint
    folders = list((paths.ROOT / checkpoint).parents)[:2] if checkpoint else []
    beside = next(
        (
            folder / paths.TRAINED_ON_FILE
            for folder in folders
            if (folder / paths.TRAINED_ON_FILE).is_file()
        ),
        None,
    )
    own = run / paths.TRAINED_ON_FILE
    before = set(files.read_json(own).get("before", ())) if goes_on and own.is_file() else set()
    if beside:
        before.update(name for names in files.read_json(beside).values() for name in names)
    return dict(found, before=sorted(before)) if before else found


def train(args, run, start, target):
    """Runs the launcher to its end, showing progress.

    Returns:
      0.

    Raises:
      UserError: the training failed; the message holds its first traceback.
    """
    flags = [f"--model_dir={run}", f"--pipeline_config_path={run / paths.CONFIG_FILE}"]
    line = [
        sys.executable,
        str(LAUNCHER),
        "--save-seconds",
        str(args.save_seconds),
        "--eval-seconds",
        str(args.eval_seconds),
        "--log-steps",
        str(max(1, min(10, target // 20))),
        "--seed",
        str(args.seed),
        "--parent",
        str(os.getpid()),
        "--",
    ] + flags
    print(
        f"{'going on' if start else 'training'} from step {start} to {target} in {paths.shown(run)}"
    )
    print("  " + " ".join(line))
    print(
        f"  (plain: python {paths.shown(paths.OBJECT_DETECTION / 'model_main.py')} {' '.join(flags)})"
    )
    log_path = run / "train.log"
    crash = Crash()
    try:
        log = open(str(log_path), "a")
    except OSError as error:
        raise UserError(files.writing_failed(log_path, error)) from error
    with log, Progress(start, target) as progress:
        process = subprocess.Popen(
            line,
            cwd=str(paths.ROOT),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
        )
        try:
            for text in process.stdout:
                log.write(text)
                log.flush()
                crash.read(text)
                progress.read(text)
            status = process.wait()
        except BaseException:  # Ctrl-C above all: never leave the child alone
            process.kill()
            process.wait()
            progress.close()
            if isinstance(sys.exc_info()[1], OSError):  # the log: its disk is full
                raise UserError(files.writing_failed(log_path, sys.exc_info()[1]))
            step = newest_step(run)
            print(
                f"\nstopped; {('no checkpoint was saved yet' if step is None else f'the newest checkpoint is at step {step}')}; the same command goes on from there"
            )
            raise
    if status:
        raise UserError(failure(status, crash, log_path))
    report(run)
    return 0


def environment():
    """The child's: Intel's build wants its OpenMP threads to be as many as the cores and not to spin; the stock one ignores both."""
    from shelfdet.core import parallel

    env = {
        "OMP_NUM_THREADS": str(parallel.workers()),
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "1",
    }
    env.update(os.environ)
    env["PYTHONUNBUFFERED"] = "1"
    return env


class Crash:
    """Keeps the first traceback of a stream of lines, and the end of the stream.

    TensorFlow prints pages of follow-up errors ("Object was never used", exceptions met while handling the first) after it.
    """

    def __init__(self):
        self.first = []
        self.tail = collections.deque(maxlen=15)
        self._inside = False

    def read(self, line):
        self.tail.append(line)
        if line.startswith("Traceback (most recent call last)") and not self.first:
            self._inside = True
        if self._inside:
            # An exception's own message may run over several lines; the first empty one, or a sensible number, ends it.
            message_lines = sum(not text.startswith(" ") for text in self.first)
            if not line.strip() or message_lines > 12:
                self._inside = False
            else:
                self.first.append(line)


def failure(status, crash, log_path):
    """The message for a training that ended with ``status``."""
    told = "".join(crash.first or crash.tail).rstrip()
    if status == -9 and not crash.first:
        advice = ADVICE[2][1].replace(
            "Memory ran out", "It was killed from outside, most often because memory ran out"
        )
    else:
        advice = next(
            (text for pattern, text in ADVICE if re.search(pattern, told)),
            "Step 05 finds the common mistakes.",
        )
    return f"{log_path}: model_main.py ended with status {status}. {advice}\n\n{told}\n\nThe steps up to the newest checkpoint are kept; the same command goes on from there."


class Progress:
    """Turns model_main.py's lines into a bar, or, where there is no terminal, into a line a minute."""

    def __init__(self, start, target):
        import tqdm

        self._start, self._step, self._target = start, start, target
        self._loss, self._validation, self._state = None, "", "building the graph"
        self._began = self._said = None
        self._bar = tqdm.tqdm(
            total=target,
            initial=start,
            unit="step",
            smoothing=0.05,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._show()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._bar.close()

    def read(self, line):
        found = re.search(r"INFO:tensorflow:loss = ([\d.e+-]+|nan), step = (\d+)", line)
        if found:
            step, self._loss, self._state = int(found.group(2)), float(found.group(1)), "training"
            if self._began is None:
                self._start, self._began = step, time.time()
            self._bar.update(max(0, step - self._step))
            self._step = max(step, self._step)
        elif (
            "INFO:tensorflow:Starting evaluation" in line
            or "INFO:tensorflow:Starting training" in line
        ):
            self._state = "evaluating" if "evaluation" in line else "training"
        elif "INFO:tensorflow:Saving dict for global step" in line:
            value = re.search(r"DetectionBoxes_Precision/mAP = ([\d.e-]+)", line)
            step = re.search(r"global step (\d+)", line).group(1)
            self._validation = (
                f"validation AP {float(value.group(1)):.3f} at step {step}" if value else ""
            )
            self._said = None
        else:
            return
        self._show()

    def _show(self):
        if not self._bar.disable:
            self._bar.set_description(self._state)
            self._bar.set_postfix_str(
                ", ".join(
                    filter(
                        None,
                        [
                            f"loss {self._loss:.2f}" if self._loss is not None else "",
                            self._validation,
                        ],
                    )
                )
            )
        elif self._said is None or time.time() - self._said > 60:
            self._said = time.time()
            print(
                "  "
                + ", ".join(
                    filter(
                        None,
                        [
                            f"{self._state}: step {self._step} of {self._target}",
                            f"loss {self._loss:.2f}" if self._loss is not None else "",
                            self._rate(),
                            self._validation,
                        ],
                    )
                ),
                flush=True,
            )

    def _rate(self):
        if self._began is None or self._step == self._start:
            return ""
        rate = (self._step - self._start) / (time.time() - self._began)
        minutes, seconds = divmod(int((self._target - self._step) / rate), 60)
        return f"{rate:.2f} steps a second, {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"


def report(run):
    """Prints how the run ended."""
    print(f"done: step {newest_step(run)}; every line is in {paths.shown(run / 'train.log')}")
    best = run / "best" / "evaluation.json"
    if best.exists():
        values = files.read_json(best)
        print(
            "best on validation: step {step}, COCO AP {AP:.3f}, AP50 {AP50:.3f}, AP75 {AP75:.3f}".format(
                **values
            )
        )
    print(f"next: scripts/training/07_export_inference_graph.py --run-dir {paths.shown(run)}")


if __name__ == "__main__":
    command_line.run(main)
