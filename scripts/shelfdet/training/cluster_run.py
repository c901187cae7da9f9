"""The processes of a training by several: how they find the chief, and when they end.

tf.estimator's processes wait for each other for ever: a parameter server never ends, a worker whose
chief has finished hangs, and so does a chief whose parameter server is gone. So the chief states in
the run's folder, which all share, how the training ends, and each process watches the servers that
it depends on.
"""

import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

from shelfdet import UserError
from shelfdet.core import files, parallel, paths
from shelfdet.core.make_variables import both
from shelfdet.training import cluster, training_log
from shelfdet.training.cluster import Cluster, Task

STATE_FILE = "cluster.json"
TRAINING, FINISHED, STOPPED = "training", "finished", "stopped"
REACH_SECONDS = 60.0  # without an answer, until a server counts as gone
POLL_SECONDS = 2.0
END_SECONDS = 10.0  # for a process to end by itself
EVALUATOR_NICENESS = 5  # on one machine it must not slow down the training


class Member(NamedTuple):
    """The cluster of a training, and what this process does in it."""

    cluster: Cluster
    task: Task

    def environment(self) -> Dict[str, str]:
        """The environment variable by which tf.estimator takes its part."""
        return {cluster.VARIABLE: cluster.write(self.cluster, self.task)}


class Watch:
    """Notices when a server cannot be reached any more, or never could."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._last_answer = {address: time.monotonic() for address in addresses}

    def check(self) -> None:
        """Tries all servers.

        Raises:
          UserError: one has not answered for REACH_SECONDS.
        """
        for address, last in self._last_answer.items():
            if cluster.reachable(address):
                self._last_answer[address] = time.monotonic()
            elif time.monotonic() - last > REACH_SECONDS:
                raise UserError(
                    f"{address}: no server has answered there for {REACH_SECONDS:.0f} s; expected "
                    f"one, as {cluster.VARIABLE} states. Start its process, or correct the address "
                    "for all; the same command resumes from the newest checkpoint."
                )


@contextlib.contextmanager
def chief(run: pathlib.Path, member: Member) -> Iterator[None]:
    """States in the run's folder that the chief trains there, and afterwards how it ended."""
    cluster.check_port(member.cluster.chief)
    _announce(run, member.cluster, TRAINING)
    try:
        yield
    except BaseException:
        _announce(run, member.cluster, STOPPED)
        raise
    _announce(run, member.cluster, FINISHED)


def _announce(run: pathlib.Path, servers: Cluster, state: str) -> None:
    stated = {"cluster": servers.addresses, "state": state}
    files.write_text(run / STATE_FILE, json.dumps(stated) + "\n")


@contextlib.contextmanager
def watched(process: subprocess.Popen, member: Optional[Member]) -> Iterator[None]:
    """Kills the chief's process when a parameter server is gone, and then raises UserError."""
    if member is None or not member.cluster.parameter_servers:
        yield
        return
    ended = threading.Event()
    problems: List[UserError] = []

    def watch() -> None:
        servers = Watch(member.cluster.parameter_servers)
        while not ended.wait(POLL_SECONDS):
            try:
                servers.check()
            except UserError as error:
                problems.append(error)
                process.kill()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if problems:
            raise problems[0]


def wait_for_chief(run: pathlib.Path, member: Member) -> None:
    """Waits until the chief trains in the run's folder.

    Raises:
      UserError: it cannot be reached, or it trains in a folder that this process does not see.
    """
    servers = Watch([member.cluster.chief])
    while not cluster.reachable(member.cluster.chief):
        servers.check()
        time.sleep(POLL_SECONDS)
    if _state(run, member.cluster) != TRAINING:
        raise UserError(
            f"{run / STATE_FILE}: does not say that the chief at {member.cluster.chief} trains "
            "here, yet it answers; expected a folder that all processes share. Put the run on a "
            f"file system that all mount, and name it with {both('--run-dir')}."
        )


def _state(run: pathlib.Path, servers: Cluster) -> Optional[str]:
    """How the training of this cluster is; None where the folder holds none."""
    path = run / STATE_FILE
    if not path.is_file():
        return None
    stated = files.read_json(path)
    own = {kind: list(hosts) for kind, hosts in servers.addresses.items()}
    return stated.get("state") if stated.get("cluster") == own else None


def follow(run: pathlib.Path, member: Member, command: Sequence[str], env: Dict[str, str]) -> str:
    """Runs a worker, a parameter server or an evaluator until the training ends.

    Args:
      run: the run's folder; the log is written there.
      member: the cluster and this process's task.
      command: the launcher's.
      env: its environment, with TF_CONFIG.

    Returns:
      how it ended, as a line of text.

    Raises:
      UserError: the process failed, the chief was stopped, or a server cannot be reached.
    """
    task = member.task
    needed = [member.cluster.chief]
    if task.kind == cluster.WORKER:
        needed += member.cluster.parameter_servers
    servers = Watch(needed)
    log_path = run / f"{task.name}.log"
    process = _launch(command, env, log_path)
    try:
        while process.poll() is None and _state(run, member.cluster) == TRAINING:
            servers.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        ended_by_itself = process.poll() is not None
        state = _final_state(run, member.cluster)
        if state == FINISHED and task.kind == cluster.EVALUATOR:
            process.wait()  # it evaluates the last checkpoint, and then ends
    finally:
        process.kill()
        process.wait()
    last_evaluation_failed = task.kind == cluster.EVALUATOR and process.returncode > 0
    # A worker may see the last step before the chief has stated the end.
    if (state == FINISHED and not last_evaluation_failed) or (
        state == TRAINING and ended_by_itself and process.returncode == 0
    ):
        return f"{task.name}: done; the training has ended"
    if state == STOPPED:
        raise UserError(f"{task.name}: the chief was stopped; the same commands resume")
    report = training_log.CrashReport()
    for line in log_path.read_text(errors="replace").splitlines(True)[-1000:]:
        report.read(line)
    raise UserError(
        report.message(process.returncode, log_path, "The other processes continue without it.")
    )


def _launch(
    command: Sequence[str], env: Dict[str, str], log_path: pathlib.Path
) -> subprocess.Popen:
    with open(str(log_path), "ab", buffering=0) as log:
        return subprocess.Popen(
            command, cwd=str(paths.ROOT), env=env, stdout=log, stderr=subprocess.STDOUT
        )


def _final_state(run: pathlib.Path, servers: Cluster) -> Optional[str]:
    """The state once the chief has had the time to write it: its servers end a moment before."""
    deadline = time.monotonic() + END_SECONDS
    while _state(run, servers) == TRAINING and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 4)
    return _state(run, servers)


@contextlib.contextmanager
def other_processes(
    run: pathlib.Path, servers: Cluster, arguments: Sequence[str]
) -> Iterator[None]:
    """Starts the workers, the parameter server and an evaluator beside the chief, on this machine.

    Each process that trains gets cores of its own, this process with its child processes, too. At
    the end waits for the evaluation of the last checkpoint.

    Args:
      run: the run's folder.
      servers: as ``cluster.on_this_machine`` makes it.
      arguments: the command line of step 06, without --workers.
    """
    cores = sorted(os.sched_getaffinity(0))
    tasks = servers.tasks()[1:] + [Task(cluster.EVALUATOR, 0)]
    training = 1 + sum(task.kind == cluster.WORKER for task in tasks)
    processes = {}
    try:
        for task in tasks:
            own = cores[task.index + 1 :: training] if task.kind == cluster.WORKER else cores
            processes[task] = _start(run, Member(servers, task), arguments, own or cores)
        os.sched_setaffinity(0, cores[::training])
        yield
        _report_ended(run, processes)
        _wait_for_evaluation(processes)
    finally:
        os.sched_setaffinity(0, cores)
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()


def _start(
    run: pathlib.Path, member: Member, arguments: Sequence[str], cores: Sequence[int]
) -> subprocess.Popen:
    """Starts step 06 as another member of the cluster; its output goes to the member's log."""
    script = paths.ROOT / "scripts" / "training" / "06_train.py"
    prepare = functools.partial(_prepare, os.getpid(), member.task, cores)
    with open(str(run / f"{member.task.name}.log"), "ab", buffering=0) as log:
        return subprocess.Popen(
            [sys.executable, str(script)] + list(arguments),
            env=dict(os.environ, **member.environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=prepare,
        )


def _prepare(parent: int, task: Task, cores: Sequence[int]) -> None:
    """In the new process, before it runs step 06."""
    parallel.end_with_parent(parent)
    os.setsid()  # Ctrl-C reaches the chief alone, which ends the others
    os.sched_setaffinity(0, cores)
    if task.kind == cluster.EVALUATOR:
        os.nice(EVALUATOR_NICENESS)


def _report_ended(run: pathlib.Path, processes: Dict[Task, subprocess.Popen]) -> None:
    """Names the processes that failed while the training continued without them."""
    for task, process in processes.items():
        if process.poll():
            print(
                f"warning: {task.name} ended early, with status {process.returncode}; the training "
                f"continued without it. Its log is {paths.shown(run / task.name)}.log.",
                file=sys.stderr,
            )


def _wait_for_evaluation(processes: Dict[Task, subprocess.Popen]) -> None:
    evaluator = processes[Task(cluster.EVALUATOR, 0)]
    if evaluator.poll() is None:
        print("evaluating the last checkpoint", flush=True)
        evaluator.wait()
