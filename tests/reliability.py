#!/usr/bin/env python
"""Kills every step at random moments, fills its disk, interrupts it, and checks what it leaves.

Reads   the repository's files, .venv and models/research
Writes  a temporary copy of the repository, in which the steps run on synthetic shelves, and a table

    .venv/bin/python tests/reliability.py --kills 20
    .venv/bin/python tests/reliability.py --kills 5 --steps 02 04 "make data"

Every step first runs undisturbed on two inputs, so that its old and its new output are known. Then,
again and again, it finds the old output in place and is disturbed:

  SIGKILL    of all its processes, or of the one that the user started alone
  SIGINT     in the same two ways, as Ctrl-C sends it
  full disk  a tmpfs with space for a part of the output (root only), or RLIMIT_FSIZE, which lets a
             file grow to a part of its size

After each there must be the old whole output or the new whole one, no other file may be changed,
and no process may be left. The same command must then succeed and give the same output as the
undisturbed run. After SIGINT the step must end with status 130 and a last line that says so, after
a full disk with status 1 and a message; neither may print a traceback or leave temporary files.

Half of the moments are spread over the duration of the step, half over the part of it in which it
changes files. pytest does not collect this script: with 20 kills it takes hours.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[1]

WORKSPACE = "workspace/training_demo"
LABELS = f"{WORKSPACE}/annotations"
RESULTS = f"{WORKSPACE}/evaluation/results"
GRAPHS = f"{WORKSPACE}/trained-inference-graphs"
NAME = "ssd_inception_v2_custom"  # the config that a user edits, its run and its graph
CONFIG = f"{WORKSPACE}/training/{NAME}.config"
RUN = f"{WORKSPACE}/training/{NAME}"
OLD_STEPS, NEW_STEPS = 5, 10  # of training: what the old run has reached, and the new one reaches

SECONDS_TO_END = 20.0  # for the processes that remain after a signal
STEP_TIMEOUT = 900.0
STARTING_SECONDS = 0.15  # Python itself: before it, no script can handle a signal
FAILURES_SHOWN = 2  # of a step in the table; all are printed when they happen
TABLE_COLUMNS = ("SIGKILL", "SIGINT", "full disk", "RLIMIT_FSIZE")

Groups = Tuple[Tuple[str, ...], ...]  # of paths: those of one group are all old or all new


class Step(NamedTuple):
    """A command to disturb.

    name: as in the table.
    command: its words, from the root of the copy; {shelves} is the dataset.
    outputs: what it writes; files that belong together are in one group.
    disk: the folder that is put on a full disk; None where the step writes nothing.
    after: of a make target: the last numbered step that must have run before it.
    """

    name: str
    command: Sequence[str]
    outputs: Groups = ()
    disk: Optional[str] = None
    after: str = ""


def script(path: str, *options: str) -> Tuple[str, ...]:
    return (sys.executable, path) + options


def make(*words: str) -> Tuple[str, ...]:
    return ("make", "--no-print-directory", f"PYTHON_HERE={sys.executable}") + words


PREPROCESSING = "scripts/preprocessing"
EVALUATION = f"{WORKSPACE}/evaluation"
IMAGES_PLACED = ((f"{WORKSPACE}/images/ShelfImages", f"{WORKSPACE}/images/annotations.csv"),)
LABEL_FILES = (tuple(f"{LABELS}/{split}_labels.csv" for split in ("train", "val", "test")),)
RECORDS = (tuple(f"{LABELS}/{split}.record" for split in ("train", "val", "test")),)
SCORES = (("metrics.json", "image2products.json", f"{GRAPHS}/{NAME}/metrics.json"),)
DETECTIONS = {split: f"{RESULTS}/{split}_detections.json" for split in ("val", "test")}


def detect(split: str) -> Tuple[str, ...]:
    return script(f"{EVALUATION}/08_detect.py", "--labels", f"{LABELS}/{split}_labels.csv")


STEPS = (
    Step(
        "01",
        script(f"{PREPROCESSING}/01_fetch_dataset.py", "--from", "{shelves}"),
        IMAGES_PLACED,
        f"{WORKSPACE}/images",
    ),
    Step(
        "02",
        script(f"{PREPROCESSING}/02_split_annotations.py", "--val-share", "0.3"),
        LABEL_FILES,
        LABELS,
    ),
    Step(
        "03",
        script(f"{PREPROCESSING}/03_estimate_anchors.py", "--no-table", "--repeats", "1"),
        ((f"{RESULTS}/anchors.json", f"{RESULTS}/anchors.png"),),
        RESULTS,
    ),
    Step("04", script(f"{PREPROCESSING}/04_generate_tfrecords.py"), RECORDS, LABELS),
    Step("05", script("scripts/training/05_check_config.py")),
    Step("06", script("scripts/training/06_train.py"), ((RUN,),), f"{WORKSPACE}/training"),
    Step(
        "07",
        script("scripts/training/07_export_inference_graph.py", "--checkpoint", "newest"),
        ((f"{GRAPHS}/{NAME}",),),
        GRAPHS,
    ),
    Step("08 val", detect("val"), ((DETECTIONS["val"],),), RESULTS),
    Step("08", detect("test"), ((DETECTIONS["test"],),), RESULTS),
    Step("09", script(f"{EVALUATION}/09_score.py"), SCORES, f"{GRAPHS}/{NAME}"),
    Step("10", script(f"{EVALUATION}/10_report.py"), ((f"{RESULTS}/report.html",),), RESULTS),
)
MAKE_TARGETS = (
    Step(
        "make data",
        make("data", "FROM={shelves}", "VAL_SHARE=0.3"),
        IMAGES_PLACED + LABEL_FILES + RECORDS,
        LABELS,
        after="04",
    ),
    Step("make train", make("train"), ((RUN,),), f"{WORKSPACE}/training", after="06"),
    Step(
        "make eval",
        make("eval"),
        ((DETECTIONS["val"],), (DETECTIONS["test"],)) + SCORES,
        RESULTS,
        after="09",
    ),
)


NOT_READ = ("03", "05", "10")  # steps whose output no other step reads


class Ended(NamedTuple):
    """A command that has ended: its status as subprocess has it, its output, its duration."""

    status: int
    output: str
    seconds: float


class Window(NamedTuple):
    """When an undisturbed run changes files, as shares of its duration."""

    first: float
    last: float


class Outcome(NamedTuple):
    """One disturbance: the column of the table, what was done, and what was wrong after it."""

    column: str
    disturbance: str
    problems: List[str]
    output: str


# ---- The copy of the repository -----------------------------------------------------------------


class Copy:
    """A copy of the repository in which the steps run.

    root: the copy.
    saved: folder of the outputs that undisturbed runs have left, as old/PATH and new/PATH.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / "a workspace"
        self.saved = folder / "saved"
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        self.shelves = ""
        self._log = folder / "output.txt"

    def create(self) -> None:
        """Copies the files that are, or would be, committed."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=str(ROOT),
            stdout=subprocess.PIPE,
            check=True,
        )
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(ROOT / name), str(self.root / name))
        # `make` runs it first; it must not install anything into the copy.
        (self.root / "scripts" / "setup.sh").write_text("exit 0\n")
        (self.root / "models" / "research").symlink_to(ROOT / "models" / "research")

    def edit_config(self, *replacements: Tuple[str, str]) -> None:
        """Edits the user's config: each (regular expression, text) has to be there."""
        path = self.root / CONFIG
        text = path.read_text()
        for pattern, new in replacements:
            text, count = re.subn(pattern, new, text)
            if not count:
                sys.exit(f"error: {path}: has no {pattern}")
        path.write_text(text)

    def train_until(self, steps: int) -> None:
        self.edit_config((r"(num_steps|total_steps): \d+", rf"\1: {steps}"))

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Starts a command in a process group of its own; options as those of Popen."""
        words = [word.replace("{shelves}", self.shelves) for word in command]
        environment = dict(
            os.environ,
            TF_CPP_MIN_LOG_LEVEL="2",
            PYTHONDONTWRITEBYTECODE="1",
            TMPDIR=str(self.scratch),
        )
        return subprocess.Popen(
            words,
            cwd=str(self.root),
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )

    def start_logged(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Starts a command whose output goes to a file.

        Not to a pipe, which processes that outlive the step would hold open.
        """
        with open(str(self._log), "wb") as log:
            return self.start(command, stdout=log)

    def wait(self, process: "subprocess.Popen[bytes]", began: float) -> Ended:
        """Waits for the end of what ``start_logged`` has started at the time ``began``."""
        try:
            status = process.wait(STEP_TIMEOUT)
        except subprocess.TimeoutExpired:
            kill_group(process.pid, signal.SIGKILL)
            status = process.wait()
        except BaseException:  # Ctrl-C, which does not reach the step's own process group
            kill_group(process.pid, signal.SIGKILL)
            process.wait()
            raise
        seconds = time.monotonic() - began
        return Ended(status, self._log.read_text(errors="replace"), seconds)

    def run(self, command: Sequence[str]) -> Ended:
        began = time.monotonic()
        return self.wait(self.start_logged(command), began)

    def run_limited(self, command: Sequence[str], largest_file: int) -> Ended:
        """Runs a command of which no file can grow beyond ``largest_file`` bytes."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        began = time.monotonic()
        # A pipe, because the limit would hold for a file with the output, too.
        process = self.start(command, stdout=subprocess.PIPE, preexec_fn=limit)
        output, _ = process.communicate(timeout=STEP_TIMEOUT)
        seconds = time.monotonic() - began
        return Ended(process.returncode, output.decode(errors="replace"), seconds)

    def run_undisturbed(self, command: Sequence[str]) -> Ended:
        ended = self.run(command)
        if ended.status:
            sys.exit(f"error: undisturbed, {' '.join(command)} failed:\n{ended.output}")
        return ended

    def save(self, step: Step, which: str) -> None:
        """Keeps the outputs of a step as "old" or "new"."""
        for path in all_outputs(step):
            replace_by_copy(self.root / path, self.saved / which / path)

    def restore(self, step: Step, which: str) -> None:
        """Puts the outputs of a step back as they were saved."""
        for path in all_outputs(step):
            replace_by_copy(self.saved / which / path, self.root / path)
        for path in temporary_files(self.root):
            remove(path)
        for path in self.scratch.iterdir():
            remove(path)

    def states(self, step: Step) -> List[Tuple[Any, ...]]:
        """The state of each group of outputs."""
        return [tuple(state(self.root / path) for path in group) for group in step.outputs]

    def saved_states(self, step: Step, which: str) -> List[Tuple[Any, ...]]:
        folder = self.saved / which
        return [tuple(state(folder / path) for path in group) for group in step.outputs]

    def others(self, step: Step) -> Dict[str, Any]:
        """Size and time of every file that the step does not write."""
        outputs = [str(self.root / path) for path in all_outputs(step)]
        found = {}
        for folder, _, names in os.walk(str(self.root)):
            for name in names:
                path = os.path.join(folder, name)
                if any(path == output or path.startswith(output + "/") for output in outputs):
                    continue
                status = os.lstat(path)
                found[path] = (status.st_size, status.st_mtime_ns)
        return found


def all_outputs(step: Step) -> List[str]:
    return [path for group in step.outputs for path in group]


def remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()


def replace_by_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes ``target`` equal to ``source``, which may be missing."""
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() or source.is_file():
        shutil.copy2(str(source), str(target), follow_symlinks=False)
    elif source.is_dir():
        shutil.copytree(str(source), str(target), symlinks=True)


def temporary_files(root: pathlib.Path) -> List[pathlib.Path]:
    """What a step writes beside its outputs while it runs."""
    found = []
    for folder, folders, names in os.walk(str(root)):
        for name in folders + names:
            if re.match(r"\..*\.(partial|old|lock)$", name):
                found.append(pathlib.Path(folder, name))
    return found


# ---- What is there ------------------------------------------------------------------------------


def state(path: pathlib.Path) -> Any:
    """What is at ``path``, to be compared: None, a digest, a link's target, or a folder's content.

    A training run is described by its checkpoints, because two trainings differ a little.
    """
    if path.is_symlink():
        return f"link to {os.readlink(str(path))}"
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return None
    if path.name == NAME and path.parent.name == "training":
        return run_state(path)
    return {item.name: state(item) for item in path.iterdir() if item.name != "metrics.json"}


class Run(NamedTuple):
    """A run's folder: step of its newest checkpoint and of its best one; None without one.

    problems: what is damaged.
    """

    newest: Optional[int]
    best: Optional[int]
    problems: Tuple[str, ...]


def run_state(run: pathlib.Path) -> Run:
    problems = []
    newest = best = None
    try:
        newest = checkpoint_step(run)
        best = checkpoint_step(run / "best")
        noted = run / "best" / "evaluation.json"
        if best is not None and json.loads(noted.read_text())["step"] != best:
            problems.append("best/evaluation.json is of another step")
        evaluations = run / "evaluations.jsonl"
        if evaluations.is_file():
            for line in evaluations.read_text().splitlines():
                json.loads(line)
        notes = run / "trained_on.json"
        if notes.is_file():
            json.loads(notes.read_text())
    except Exception as error:  # whatever TensorFlow or json raise for a damaged file
        problems.append(f"damaged: {str(error).splitlines()[0]}")
    return Run(newest, best, tuple(problems))


def checkpoint_step(folder: pathlib.Path) -> Optional[int]:
    """Reads the newest checkpoint of ``folder`` completely, as TensorFlow verifies its sums."""
    import tensorflow as tf

    prefix = tf.train.latest_checkpoint(str(folder))
    if prefix is None:
        return None
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return int(reader.get_tensor("global_step"))


def is_whole(found: Tuple[Any, ...], old: Tuple[Any, ...], new: Tuple[Any, ...]) -> bool:
    """Whether a group of outputs is the old one or the new one, whole.

    A training adds checkpoints to its run: none of the old run may be lost.
    """
    if isinstance(new[0], Run):
        (run,) = found
        if not isinstance(run, Run) or run.problems:
            return False
        return run.newest in (old[0].newest, new[0].newest) and run.best is not None
    return found in (old, new)


def is_finished(found: Tuple[Any, ...], new: Tuple[Any, ...]) -> bool:
    """Whether a group of outputs is as an undisturbed run leaves it."""
    if isinstance(new[0], Run):
        (run,) = found
        return isinstance(run, Run) and run.newest == new[0].newest and not run.problems
    return found == new


def describe(path: str, found: Any, old: Any, new: Any) -> str:
    """Which of the two states a path has, for the report."""
    if found is None and (old is not None or new is not None):
        return f"{path} is missing"
    if isinstance(found, Run):
        return f"{path}: {found}"
    if found == old:
        return f"{path} is old"
    return f"{path} is new" if found == new else f"{path} is neither old nor new"


# ---- Processes ----------------------------------------------------------------------------------


def group_members(group: int) -> List[str]:
    """Command lines of the processes of a group that have not ended."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group and fields[0] not in ("Z", "X"):
            found.append(" ".join(words[:3]).strip())
    return found


def kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def wait_for_group(group: int, seconds: float) -> List[str]:
    """Waits for the end of all processes of a group; returns, and kills, those that remain."""
    deadline = time.monotonic() + seconds
    members = group_members(group)
    while members and time.monotonic() < deadline:
        time.sleep(0.05)
        members = group_members(group)
    kill_group(group, signal.SIGKILL)
    return members


class Watcher(threading.Thread):
    """Notes when entries of some folders change, while a step runs."""

    def __init__(self, folders: Sequence[pathlib.Path]) -> None:
        super().__init__(daemon=True)
        self._folders = folders
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.changes: List[float] = []

    def run(self) -> None:
        before = self._entries()
        while not self._ended.wait(0.003):
            now = self._entries()
            if now != before:
                self.changes.append(time.monotonic() - self._began)
            before = now

    def window(self, seconds: float) -> Window:
        """When files changed in a step that took ``seconds``, with a margin."""
        self._ended.set()
        self.join()
        if not self.changes:
            return Window(0.0, 1.0)
        return Window(
            max(0.0, self.changes[0] / seconds - 0.02), min(1.0, self.changes[-1] / seconds + 0.02)
        )

    def _entries(self) -> List[Tuple[str, int, int]]:
        found = []
        for folder in self._folders:
            try:
                for entry in os.scandir(str(folder)):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path, status.st_size, status.st_mtime_ns))
            except OSError:
                continue  # it is just being replaced
        return found


# ---- Disturbances -------------------------------------------------------------------------------


class Trials:
    """Disturbs one step again and again.

    Args:
      copy: where the outputs of all steps before this one are new.
      step: what to disturb.
      window: when an undisturbed run changes files.
      seconds: duration of an undisturbed run.
    """

    def __init__(self, copy: Copy, step: Step, window: Window, seconds: float) -> None:
        self.copy = copy
        self.step = step
        self.window = window
        self.seconds = seconds
        self.old = copy.saved_states(step, "old")
        self.new = copy.saved_states(step, "new")
        self.is_make = step.command[0] == "make"

    def all(
        self, kills: int, interrupts: int, disks: int, chance: random.Random
    ) -> Iterator[Outcome]:
        """Yields the outcome of each disturbance."""
        for index in range(kills):
            yield self.signalled(signal.SIGKILL, index, kills, chance)
        for index in range(interrupts):
            yield self.signalled(signal.SIGINT, index, interrupts, chance)
        if not self.step.outputs:
            return
        for index in range(disks):
            share = (index + chance.random()) / disks
            if os.geteuid() == 0:
                yield self.on_full_disk(share)
            if self.largest_output():
                yield self.with_limited_files(share)

    def moment(self, index: int, count: int, chance: random.Random) -> float:
        """A share of the duration: of the whole for even numbers, of the window for odd ones.

        Each of the ``count`` moments is in another part, so that they are spread.
        """
        position = (index // 2 + chance.random()) / ((count + 1 - index % 2) // 2)
        first, last = self.window if index % 2 else (0.0, 1.0)
        return first + position * (last - first)

    def signalled(self, number: int, index: int, count: int, chance: random.Random) -> Outcome:
        share = self.moment(index, count, chance)
        whole_group = index // 2 % 2 == 0
        name = signal.Signals(number).name
        target = "all processes" if whole_group else "the first process"
        delay = max(STARTING_SECONDS, share * self.seconds)
        self.copy.restore(self.step, "old")
        others = self.copy.others(self.step)
        began = time.monotonic()
        process = self.copy.start_logged(self.step.command)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            if whole_group:
                kill_group(process.pid, number)
            else:
                process.send_signal(number)
        ended = self.copy.wait(process, began)
        patience = SECONDS_TO_END
        if self.is_make and not whole_group:
            patience += 5 * self.seconds  # make's child goes on, as after any `kill` of make alone
        left = wait_for_group(process.pid, patience)
        problems = [f"still running: {left[0]}"] if left else []
        if number == signal.SIGINT:
            problems += self.interrupt_problems(ended)
        problems += self.problems_after(others, clean=number == signal.SIGINT)
        problems += self.problems_of_next_run()
        moment = f"{name} of {target} at {100 * share:.0f} % ({delay:.2f} s)"
        return Outcome(name, moment, problems, ended.output)

    def interrupt_problems(self, ended: Ended) -> List[str]:
        problems = traceback_problems(ended)
        if ended.status == 0:
            return problems  # it had finished
        if ended.status == -signal.SIGINT and self.is_finished():
            return problems  # its work was done, and Python was ending
        # make ends by the signal itself, as shells expect of it, or with its own status 2.
        allowed = (130, -signal.SIGINT, 2) if self.is_make else (130,)
        if ended.status not in allowed:
            problems.append(f"status {ended.status}, expected 130")
        lines = [line for line in ended.output.splitlines() if line.strip()]
        if self.is_make:
            lines = [line for line in lines if not line.startswith("make")]
        if not self.is_make and not (lines and "stopped" in lines[-1]):
            problems.append(f"last line {lines[-1:]}")
        return problems

    def on_full_disk(self, share: float) -> Outcome:
        """Runs the step on a tmpfs with space for ``share`` of its output, then with enough."""
        self.copy.restore(self.step, "old")
        folder = self.copy.root / self.step.disk
        content = self.copy.folder / "content of the disk"
        replace_by_copy(folder, content)
        command("mount", "-t", "tmpfs", "tmpfs", str(folder))
        try:
            for item in content.iterdir():
                replace_by_copy(item, folder / item.name)
            limit = self.disk_limit(share)
            command("mount", "-o", f"remount,{limit}", str(folder))
            others = self.copy.others(self.step)
            ended = self.copy.run(self.step.command)
            problems = full_disk_problems(ended)
            problems += self.problems_after(others, clean=True)
            command("mount", "-o", "remount,size=4g,nr_inodes=0", str(folder))
            problems += self.problems_of_next_run()
        finally:
            command("umount", str(folder))
            remove(content)
        disturbance = f"disk with space for {100 * share:.0f} % ({limit})"
        return Outcome("full disk", disturbance, problems, ended.output)

    def disk_limit(self, share: float) -> str:
        """The options of a tmpfs that has space for ``share`` of the new output."""
        folder = self.copy.root / self.step.disk
        used = os.statvfs(str(folder))
        saved = self.copy.saved / "new"
        inside = [path for path in all_outputs(self.step) if path.startswith(self.step.disk + "/")]
        new = [item for path in inside for item in every_file(saved / path)]
        size = sum(item.stat().st_size for item in new if not item.is_symlink())
        if not size:  # links, which take an inode each
            inodes = used.f_files - used.f_ffree
            return f"nr_inodes={inodes + int(share * len(new)) + 1}"
        blocks = (used.f_blocks - used.f_bfree) * used.f_bsize
        return f"size={max(1, (blocks + int(share * size)) // 1024)}k"

    def with_limited_files(self, share: float) -> Outcome:
        """Runs the step while no file can grow beyond ``share`` of its largest output."""
        self.copy.restore(self.step, "old")
        others = self.copy.others(self.step)
        limit = int(share * self.largest_output())
        ended = self.copy.run_limited(self.step.command, max(limit, 1))
        problems = full_disk_problems(ended)
        problems += self.problems_after(others, clean=True)
        problems += self.problems_of_next_run()
        return Outcome("RLIMIT_FSIZE", f"files of at most {limit} bytes", problems, ended.output)

    def is_finished(self) -> bool:
        return all(map(is_finished, self.copy.states(self.step), self.new))

    def largest_output(self) -> int:
        saved = self.copy.saved / "new"
        sizes = [
            item.stat().st_size
            for path in all_outputs(self.step)
            for item in every_file(saved / path)
            if not item.is_symlink()
        ]
        return max(sizes, default=0)

    def problems_after(self, others: Dict[str, Any], clean: bool) -> List[str]:
        """What is wrong after a disturbance; ``clean``: no temporary file may be left."""
        problems = []
        found = self.copy.states(self.step)
        for index, group in enumerate(self.step.outputs):
            old, new = self.old[index], self.new[index]
            if not is_whole(found[index], old, new):
                parts = zip(group, found[index], old, new)
                problems.append("not whole: " + ", ".join(describe(*part) for part in parts))
        temporary = temporary_files(self.copy.root)
        if clean:
            problems += [f"left {path.name}" for path in temporary]
            problems += [f"left in $TMPDIR: {path.name}" for path in self.copy.scratch.iterdir()]
        now = self.copy.others(self.step)
        changed = [
            path
            for path in set(now) | set(others)
            if now.get(path) != others.get(path)
            and not any(str(item) in path for item in temporary)
        ]
        problems += [f"changed: {path}" for path in changed]
        return problems

    def problems_of_next_run(self) -> List[str]:
        """Runs the step undisturbed and compares its outputs."""
        ended = self.copy.run(self.step.command)
        if ended.status:
            return [f"the next run ended with status {ended.status}:\n{tail(ended.output)}"]
        self.seconds = ended.seconds
        problems = []
        found = self.copy.states(self.step)
        for index, group in enumerate(self.step.outputs):
            if not is_finished(found[index], self.new[index]):
                parts = zip(group, found[index], self.old[index], self.new[index])
                problems.append(
                    "after the next run: " + ", ".join(describe(*part) for part in parts)
                )
        problems += [f"the next run left {path.name}" for path in temporary_files(self.copy.root)]
        return problems


def command(*words: str) -> None:
    subprocess.run(words, check=True)


def every_file(path: pathlib.Path) -> List[pathlib.Path]:
    if path.is_dir() and not path.is_symlink():
        return [item for item in path.rglob("*") if item.is_symlink() or item.is_file()]
    return [path] if path.exists() or path.is_symlink() else []


def traceback_problems(ended: Ended) -> List[str]:
    found = [
        text for text in ("Traceback (most recent", "Exception ignored") if text in ended.output
    ]
    return [f"printed {text!r}" for text in found]


def full_disk_problems(ended: Ended) -> List[str]:
    if ended.status == 0:
        return []  # there was enough space
    problems = traceback_problems(ended)
    if ended.status < 0 or ended.status == 130:
        problems.append(f"status {ended.status}, expected 1")
    if "error: " not in ended.output or not re.search(
        r"[Nn]o space left|File too large|disk", ended.output
    ):
        problems.append("no message that says so")
    return problems


def tail(text: str, lines: int = 12) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines()[-lines:])


# ---- Preparation, table, command line -----------------------------------------------------------


def needed(chosen: Sequence[Step]) -> List[Step]:
    """The numbered steps that must run before ``chosen`` can be disturbed, and those themselves."""
    order = [step.name for step in STEPS]
    last = max(order.index(step.after or step.name) for step in chosen)
    return [
        step
        for index, step in enumerate(STEPS)
        if step in chosen or (index <= last and step.name not in NOT_READ)
    ]


def prepare(copy: Copy, steps: Sequence[Step]) -> Dict[str, Tuple[Window, float]]:
    """Runs steps on the old and on the new input, and saves both outputs.

    Returns:
      when each numbered step changes files, and how long it takes.
    """
    copy.create()
    shelves = {}
    for which, seed in (("old", 0), ("new", 1)):
        shelves[which] = str(copy.folder / f"{which} shelves")
        options = ["--out", shelves[which], "--train", "12", "--test", "4", "--seed", str(seed)]
        copy.run_undisturbed(script(f"{PREPROCESSING}/00_make_demo_shelves.py", *options))
    copy.edit_config(
        (r"height: \d+", "height: 96"),
        (r"width: \d+", "width: 96"),
        (r"depth_multiplier: [\d.]+", "depth_multiplier: 0.1"),
        (r"batch_size: \d+", "batch_size: 2"),
        (r"warmup_steps: \d+", "warmup_steps: 1"),
    )
    copy.train_until(OLD_STEPS)
    measured = {}
    for which in ("old", "new"):
        copy.shelves = shelves[which]
        for step in tqdm.tqdm(steps, desc=f"undisturbed runs, {which} input", leave=False):
            if which == "new" and step.name == "06":
                # The checkpoints of another dataset cannot be continued: a run of its own, half
                # done, is the old state of the training.
                remove(copy.root / RUN)
                copy.run_undisturbed(step.command)
                copy.train_until(NEW_STEPS)
            if which == "old":
                copy.run_undisturbed(step.command)
            else:
                copy.save(step, "old")
                measured[step.name] = run_watched(copy, step)
                copy.save(step, "new")
    return measured


def run_watched(copy: Copy, step: Step) -> Tuple[Window, float]:
    folders = {(copy.root / path).parent for path in all_outputs(step)} | {
        copy.root / path for path in all_outputs(step)
    }
    watcher = Watcher(sorted(folders))
    watcher.start()
    ended = copy.run_undisturbed(step.command)
    return watcher.window(ended.seconds), ended.seconds


def disturb(
    copy: Copy,
    step: Step,
    measured: Optional[Tuple[Window, float]],
    args: Any,
    progress: Callable[[], None],
) -> List[Outcome]:
    """All disturbances of one step."""
    if measured is None:  # a make target
        copy.restore(step, "old")
        measured = run_watched(copy, step)
    window, seconds = measured
    trials = Trials(copy, step, window, seconds)
    chance = random.Random(f"{args.seed} {step.name}")
    outcomes = []
    for outcome in trials.all(args.kills, args.interrupts, args.disks, chance):
        outcomes.append(outcome)
        progress()
        if outcome.problems:
            tqdm.tqdm.write(failure_text(step, outcome))
    copy.restore(step, "new")
    return outcomes


def failure_text(step: Step, outcome: Outcome) -> str:
    lines = [f"FAILED {step.name}: {outcome.disturbance}"]
    lines += [f"    {problem}" for problem in outcome.problems]
    lines += ["    its output ended:", tail(outcome.output)]
    return "\n".join(lines)


def table(results: Dict[str, List[Outcome]]) -> str:
    """Survived of tried, by step and disturbance, as Markdown."""
    lines = ["| step | " + " | ".join(TABLE_COLUMNS) + " | what failed |"]
    lines.append("|---" * (len(TABLE_COLUMNS) + 2) + "|")
    total = {column: [0, 0] for column in TABLE_COLUMNS}
    for name, outcomes in results.items():
        cells = []
        for column in TABLE_COLUMNS:
            tried = [outcome for outcome in outcomes if outcome.column == column]
            survived = sum(not outcome.problems for outcome in tried)
            total[column][0] += survived
            total[column][1] += len(tried)
            cells.append(f"{survived} of {len(tried)}" if tried else "-")
        failed = [outcome.disturbance for outcome in outcomes if outcome.problems]
        shown = "; ".join(failed[:FAILURES_SHOWN]) or "nothing"
        if len(failed) > FAILURES_SHOWN:
            shown += f"; and {len(failed) - FAILURES_SHOWN} more"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {shown} |")
    sums = [f"{survived} of {tried}" for survived, tried in total.values()]
    failures = sum(bool(outcome.problems) for outcomes in results.values() for outcome in outcomes)
    lines.append("| all | " + " | ".join(sums) + f" | {failures} |")
    return "\n".join(lines)


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    names = [step.name for step in STEPS + MAKE_TARGETS]
    # Step 08 on the validation images is there for step 09, and tried by `make eval`.
    default = [name for name in names if name != "08 val"]
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option, number, text in (
        ("--kills", 20, "SIGKILLs of each step"),
        ("--interrupts", 4, "SIGINTs of each step"),
        ("--disks", 3, "sizes of the full disk, and limits of the files, of each step"),
        ("--seed", 0, "of the moments and sizes"),
    ):
        parser.add_argument(option, type=int, default=number, help=f"{text} (default: {number})")
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=names,
        default=default,
        metavar="STEP",
        help=f"which to disturb: {', '.join(names)} (default: all)",
    )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    args = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A shell that starts this script with `&` has it, and the steps, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As an exception, so that a full disk is unmounted and the copy is removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if os.geteuid():
        print("not root: the full disk is tried with RLIMIT_FSIZE alone, without a tmpfs")
    chosen = [step for step in STEPS + MAKE_TARGETS if step.name in args.steps]
    results: Dict[str, List[Outcome]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        copy = Copy(pathlib.Path(folder))
        measured = prepare(copy, needed(chosen))
        total = len(chosen) * (args.kills + args.interrupts + 2 * args.disks)
        with tqdm.tqdm(total=total, unit=" disturbances") as bar:
            for step in chosen:
                bar.set_description(step.name)
                results[step.name] = disturb(copy, step, measured.get(step.name), args, bar.update)
    print(table(results))
    print(f"seed {args.seed}, {(time.monotonic() - began) / 60:.0f} minutes")
    return 1 if any(outcome.problems for found in results.values() for outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
