"""How the processes of a cluster find the chief, and end. Short programs stand for TensorFlow's.

tests/test_walkthrough.py trains with real ones.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from shelfdet import UserError
from shelfdet.training import cluster, cluster_run
from shelfdet.training.cluster_run import Member

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
ENDS = [sys.executable, "-c", "pass"]
FAILS = [sys.executable, "-c", "raise ValueError('no such op')"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A server counts as gone after half a second, not a minute."""
    monkeypatch.setattr(cluster_run, "REACH_SECONDS", 0.5)
    monkeypatch.setattr(cluster_run, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(cluster_run, "END_SECONDS", 0.5)


@contextlib.contextmanager
def server(address):
    """Listens at host:port, as TensorFlow's server does."""
    host, port = address.rsplit(":", 1)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        listening.listen(100)
        yield


@pytest.fixture
def servers():
    return cluster.on_this_machine(2)


def member(servers, kind):
    return Member(servers, cluster.Task(kind, 0))


def states(run, servers, state):
    """The run's folder says that the training of the cluster is in this state."""
    text = json.dumps({"cluster": servers.addresses, "state": state})
    (run / "cluster.json").write_text(text)


def follow(run, servers, kind, command):
    return cluster_run.follow(run, member(servers, kind), command, {})


def test_the_chief_states_how_the_training_is_and_ended(tmp_path, servers):
    def state():
        return json.loads((tmp_path / "cluster.json").read_text())["state"]

    with cluster_run.chief(tmp_path, member(servers, "chief")):
        assert state() == "training"
    assert state() == "finished"
    with pytest.raises(KeyboardInterrupt):
        with cluster_run.chief(tmp_path, member(servers, "chief")):
            raise KeyboardInterrupt
    assert state() == "stopped"


@pytest.mark.parametrize("kind", ["worker", "ps"])
def test_a_process_that_waits_for_ever_ends_with_the_training(tmp_path, servers, kind):
    states(tmp_path, servers, "training")
    timer = threading.Timer(0.3, states, (tmp_path, servers, "finished"))
    with server(servers.chief), server(servers.parameter_servers[0]):
        timer.start()
        began = time.monotonic()
        assert follow(tmp_path, servers, kind, SLEEPS).startswith(f"{kind}_0: done")
    assert time.monotonic() - began < 30


def test_an_evaluator_evaluates_the_last_checkpoint(tmp_path, servers):
    states(tmp_path, servers, "finished")
    wrote = tmp_path / "evaluated"
    command = [sys.executable, "-c", f"import time; time.sleep(1); open({str(wrote)!r}, 'w')"]
    assert follow(tmp_path, servers, "evaluator", command).startswith("evaluator: done")
    assert wrote.exists()


def test_an_evaluator_that_fails_is_reported(tmp_path, servers):
    states(tmp_path, servers, "finished")
    with pytest.raises(UserError, match=r"evaluator.log: .* status 1(.|\n)*no such op"):
        follow(tmp_path, servers, "evaluator", FAILS)


def test_a_worker_that_ends_before_the_chief_says_so_is_done(tmp_path, servers):
    states(tmp_path, servers, "training")
    with server(servers.chief), server(servers.parameter_servers[0]):
        assert follow(tmp_path, servers, "worker", ENDS).startswith("worker_0: done")


def test_a_chief_that_was_stopped_ends_the_others(tmp_path, servers):
    states(tmp_path, servers, "stopped")
    with pytest.raises(UserError, match="ps_0: the chief was stopped; the same commands resume"):
        follow(tmp_path, servers, "ps", SLEEPS)


def test_a_chief_that_was_killed_ends_the_others(tmp_path, servers):
    states(tmp_path, servers, "training")
    with pytest.raises(UserError, match=f"{servers.chief}: no server has answered there for"):
        follow(tmp_path, servers, "ps", SLEEPS)


def test_a_process_that_fails_is_reported_with_its_log(tmp_path, servers):
    states(tmp_path, servers, "training")
    with server(servers.chief), server(servers.parameter_servers[0]):
        with pytest.raises(UserError, match=r"worker_0.log: .* status 1(.|\n)*no such op"):
            follow(tmp_path, servers, "worker", FAILS)


def test_the_chief_ends_when_a_parameter_server_is_gone(servers):
    process = subprocess.Popen(SLEEPS)
    with pytest.raises(UserError, match=f"{servers.parameter_servers[0]}: no server has answered"):
        with cluster_run.watched(process, member(servers, "chief")):
            process.wait()


def test_the_chief_trains_on_while_the_parameter_server_answers(servers):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"])
    with server(servers.parameter_servers[0]):
        with cluster_run.watched(process, member(servers, "chief")):
            assert process.wait() == 0


@pytest.mark.wrong_input
def test_a_chief_that_cannot_be_reached_is_no_hang(tmp_path, servers):
    with pytest.raises(UserError, match=r"no server has answered .*expected one, as TF_CONFIG"):
        cluster_run.wait_for_chief(tmp_path, member(servers, "worker"))


@pytest.mark.wrong_input
@pytest.mark.parametrize("found", ["nothing", "another cluster", "a training that ended"])
def test_a_folder_that_is_not_shared_is_refused(tmp_path, servers, found):
    if found == "another cluster":
        states(tmp_path, cluster.on_this_machine(2), "training")
    if found == "a training that ended":
        states(tmp_path, servers, "finished")
    with server(servers.chief):
        with pytest.raises(UserError, match=r"cluster.json: does not say .* expected a folder th"):
            cluster_run.wait_for_chief(tmp_path, member(servers, "worker"))


def test_the_folder_of_the_chief_is_found(tmp_path, servers):
    states(tmp_path, servers, "training")
    with server(servers.chief):
        cluster_run.wait_for_chief(tmp_path, member(servers, "worker"))
