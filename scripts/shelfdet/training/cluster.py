"""The cluster of a training by several processes, as the environment variable TF_CONFIG states it.

tf.estimator's own form of it, which tf-operator sets on Kubernetes:

    {"cluster": {"chief": ["a:2222"], "worker": ["b:2222"], "ps": ["c:2222"]},
     "task": {"type": "worker", "index": 0}}

The chief trains and writes checkpoints; workers train; parameter servers (ps) hold the weights; an
evaluator, which is not in the cluster, evaluates checkpoints. Updates are asynchronous.
"""

import contextlib
import json
import os
import re
import socket
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from shelfdet import UserError

VARIABLE = "TF_CONFIG"
CHIEF, WORKER, PS, EVALUATOR = "chief", "worker", "ps", "evaluator"
SERVERS = (CHIEF, WORKER, PS)  # what the cluster lists
CONNECT_SECONDS = 2.0

EXAMPLE = (
    '{"cluster": {"chief": ["host:port"], "worker": ["host:port"], "ps": ["host:port"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Task(NamedTuple):
    """The part of one process: its kind, and its number among those of its kind."""

    kind: str
    index: int

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.index}" if self.kind in (WORKER, PS) else self.kind


class Cluster(NamedTuple):
    """The addresses (host:port) of all servers, by kind; only the chief's is always there."""

    addresses: Dict[str, Tuple[str, ...]]

    @property
    def chief(self) -> str:
        return self.addresses[CHIEF][0]

    @property
    def parameter_servers(self) -> Tuple[str, ...]:
        return self.addresses.get(PS, ())

    def address(self, task: Task) -> Optional[str]:
        """The address of a task; None of an evaluator, which has none."""
        return self.addresses[task.kind][task.index] if task.kind in self.addresses else None

    def tasks(self) -> List[Task]:
        """The tasks of all servers."""
        return [
            Task(kind, index)
            for kind in SERVERS
            for index in range(len(self.addresses.get(kind, ())))
        ]


def from_environment() -> Optional[Tuple[Cluster, Task]]:
    """The cluster and this process's task in TF_CONFIG; None without a cluster in it.

    Raises:
      UserError: it states no cluster that tf.estimator can train with.
    """
    text = os.environ.get(VARIABLE, "")
    return read(text) if text.strip() else None


def read(text: str) -> Optional[Tuple[Cluster, Task]]:
    """As ``from_environment``, of the given text."""
    try:
        stated = json.loads(text)
    except ValueError as error:
        raise _wrong(f"is no JSON ({error})") from error
    if not isinstance(stated, dict):
        raise _wrong(f"found {text.strip()[:40]}")
    servers = stated.get("cluster") or {}
    if not servers:
        return None
    task = _task(stated.get("task"))
    return _checked(servers, task), task


def write(cluster: Cluster, task: Task) -> str:
    """The text of TF_CONFIG."""
    stated = {"cluster": cluster.addresses, "task": {"type": task.kind, "index": task.index}}
    return json.dumps(stated)


def _task(stated: Any) -> Task:
    kind = stated.get("type") if isinstance(stated, dict) else None
    if kind not in SERVERS + (EVALUATOR,):
        hint = "; TensorFlow 1.15 says chief" if kind == "master" else ""
        raise _wrong(f"task.type is {kind!r}, expected {', '.join(SERVERS + (EVALUATOR,))}{hint}")
    index = stated.get("index", 0)
    # Some launchers write "0".
    if not re.match(r"\d+$", str(index)):
        raise _wrong(f"task.index is {index!r}, expected a number from 0 on")
    return Task(kind, int(index))


def _checked(servers: Any, task: Task) -> Cluster:
    if not isinstance(servers, dict):
        raise _wrong(f"cluster is {servers!r}")
    # tf-operator lists evaluators, too; tf.estimator refuses a cluster with one.
    servers = {kind: hosts for kind, hosts in servers.items() if kind != EVALUATOR}
    unknown = sorted(set(servers) - set(SERVERS))
    if unknown:
        hint = "; TensorFlow 1.15 says chief" if "master" in unknown else ""
        raise _wrong(f"cluster has {unknown[0]!r}, expected {', '.join(SERVERS)}{hint}")
    for kind, hosts in servers.items():
        if not isinstance(hosts, list) or not all(_is_address(host) for host in hosts):
            raise _wrong(f"cluster.{kind} is {hosts!r}, expected a list of host:port")
    cluster = Cluster({kind: tuple(servers[kind]) for kind in SERVERS if servers.get(kind)})
    chiefs = cluster.addresses.get(CHIEF, ())
    if len(chiefs) != 1:
        raise _wrong(f"cluster has {len(chiefs)} chiefs, expected one")
    if len(cluster.tasks()) > 1 and not cluster.parameter_servers:
        raise _wrong("cluster has no ps, expected at least one: it holds the weights")
    listed = [host for hosts in cluster.addresses.values() for host in hosts]
    twice = sorted(host for host in set(listed) if listed.count(host) > 1)
    if twice:
        raise _wrong(f"cluster has {twice[0]} twice, expected an address for each process")
    number = len(cluster.addresses.get(task.kind, ()))
    if task.kind != EVALUATOR and task.index >= number:
        raise _wrong(f"task is {task.kind} {task.index}, but cluster.{task.kind} has {number}")
    return cluster


def _is_address(host: Any) -> bool:
    return isinstance(host, str) and bool(re.match(r"[^\s:/]+:\d+$", host))


def _wrong(found: str) -> UserError:
    return UserError(
        f"{VARIABLE}: {found}. Expected {EXAMPLE}; unset it to train with one process."
    )


def on_this_machine(workers: int) -> Cluster:
    """A cluster on 127.0.0.1: ``workers`` processes that train, one of them the chief, and a ps."""
    with contextlib.ExitStack() as stack:
        hosts = []
        for _ in range(workers + 1):  # all are held until the last is chosen, so that they differ
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            hosts.append(f"127.0.0.1:{free.getsockname()[1]}")
    return Cluster({CHIEF: (hosts[0],), WORKER: tuple(hosts[1:-1]), PS: (hosts[-1],)})


def check_port(address: str) -> None:
    """Refuses an address whose port another process of this machine listens on."""
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(("", port))
        except OSError as error:
            raise UserError(
                f"{VARIABLE}: port {port} of {address} cannot be opened here ({error.strerror}); "
                "expected a free port. Stop the process that uses it, or give all processes a "
                "cluster with another port."
            ) from error


def reachable(address: str) -> bool:
    """Whether a server listens at host:port."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
