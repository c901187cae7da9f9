"""TF_CONFIG: what is read from it, and what is refused. tf.estimator reads the same text."""

import json
import os
import socket

import pytest

from shelfdet import UserError
from shelfdet.core import tensorflow1
from shelfdet.training import cluster

SERVERS = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


def stated(servers=SERVERS, kind="worker", index=1):
    return json.dumps({"cluster": servers, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize("kind, index", [("chief", 0), ("worker", 1), ("ps", 0), ("evaluator", 0)])
def test_read_and_written_as_tf_estimator_reads_it(monkeypatch, kind, index):
    found, task = cluster.read(stated(kind=kind, index=index))
    assert (task.kind, task.index) == (kind, index)
    assert found.addresses == {key: tuple(hosts) for key, hosts in SERVERS.items()}
    monkeypatch.setitem(os.environ, "TF_CONFIG", cluster.write(found, task))
    config = tensorflow1.load().estimator.RunConfig()
    assert (config.task_type, config.task_id) == (kind, index)
    expected = {} if kind == "evaluator" else SERVERS
    assert config.cluster_spec.as_dict() == expected


def test_no_cluster_is_an_ordinary_training(monkeypatch):
    assert cluster.read('{"task": {"type": "chief", "index": 0}}') is None
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.from_environment() is None


def test_an_evaluator_that_tf_operator_lists_is_left_out():
    found, _ = cluster.read(stated(dict(SERVERS, evaluator=["e:1"]), "evaluator", 0))
    assert "evaluator" not in found.addresses


def test_names_of_tasks():
    found, _ = cluster.read(stated())
    assert [task.name for task in found.tasks()] == ["chief", "worker_0", "worker_1", "ps_0"]


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is no JSON"),
        ("[1]", r"found \[1\]. Expected"),
        (stated(kind="master", index=0), "task.type is 'master', .*TensorFlow 1.15 says chief"),
        (stated({"master": ["a:1"]}, "chief", 0), "cluster has 'master', .* says chief"),
        (stated(dict(SERVERS, chief=["a:1", "z:1"])), "cluster has 2 chiefs, expected one"),
        (stated({"worker": ["a:1"], "ps": ["b:1"]}, index=0), "cluster has 0 chiefs"),
        (stated({"chief": ["a:1"], "worker": ["b:1"]}, index=0), "cluster has no ps"),
        (stated(dict(SERVERS, ps=["d"])), r"cluster.ps is \['d'\], expected a list of host:port"),
        (stated(dict(SERVERS, ps="d:1")), "cluster.ps is 'd:1', expected a list"),
        (stated(dict(SERVERS, ps=["a:1"])), "cluster has a:1 twice"),
        (stated(index=2), "task is worker 2, but cluster.worker has 2"),
        (stated(index="first"), "task.index is 'first', expected a number"),
    ],
)
def test_what_cannot_train_is_refused(text, message):
    with pytest.raises(UserError, match=f"TF_CONFIG: {message}"):
        cluster.read(text)


def test_a_cluster_on_this_machine_has_free_ports_of_its_own():
    found = cluster.on_this_machine(2)
    assert [task.name for task in found.tasks()] == ["chief", "worker_0", "ps_0"]
    hosts = [found.address(task) for task in found.tasks()]
    assert len(set(hosts)) == 3
    for host in hosts:
        cluster.check_port(host)


@pytest.mark.wrong_input
def test_a_port_that_is_in_use_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert cluster.reachable(address)
        with pytest.raises(UserError, match=r"cannot be opened here \(Address already in use\)"):
            cluster.check_port(address)
    assert not cluster.reachable(address)
