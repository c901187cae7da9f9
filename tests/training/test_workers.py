"""workers.py: two processes only where that was measured to pay."""

import pytest

from shelfdet.core import parallel, tensorflow_environment
from shelfdet.training import cluster, workers


@pytest.fixture
def machine(monkeypatch):
    """A machine on which two processes pay; returns what replaces one of its properties."""

    def replace(**properties):
        found = {"cores": 2, "memory": 16 * 10**9, "is_intels": True, **properties}
        monkeypatch.setattr(parallel, "workers", lambda: found["cores"])
        monkeypatch.setattr(workers, "_memory", lambda: found["memory"])
        build = "intel-tensorflow" if found["is_intels"] else "tensorflow"
        monkeypatch.setattr(tensorflow_environment, "versions", lambda: {build: "1.15"})

    monkeypatch.delenv(cluster.VARIABLE, raising=False)
    replace()
    return replace


def test_a_long_training_gets_two_processes(machine):
    assert workers.choose(images=20000) == 2
    assert workers.choose(images=400) == 1


@pytest.mark.parametrize("other", [{"cores": 1}, {"memory": 4 * 10**9}, {"is_intels": False}])
def test_other_machines_train_with_one_process(machine, other):
    machine(**other)
    assert workers.choose(images=20000) == 1


def test_a_cluster_that_is_stated_has_its_own_processes(machine, monkeypatch):
    stated = '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}'
    monkeypatch.setenv(cluster.VARIABLE, stated)
    assert workers.choose(images=20000) == 1


def test_the_limit_of_a_container_is_its_memory(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(workers, "MEMORY_LIMITS", (tmp_path / "missing", limit))
    limit.write_text("max\n")
    of_machine = workers._memory()
    assert of_machine > 10**6
    limit.write_text("1000000\n")
    assert workers._memory() == 10**6
    limit.write_text(f"{2**63 - 4096}\n")
    assert workers._memory() == of_machine
