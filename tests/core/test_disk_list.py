"""disk_list.py: a list on disk behaves as one in memory."""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from shelfdet.core import disk_list
from shelfdet.core.disk_list import DiskList, Mapped

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize("most_in_memory", [1, disk_list.MOST_IN_MEMORY])
def test_it_has_the_items_of_a_list(monkeypatch, most_in_memory):
    monkeypatch.setattr(disk_list, "MOST_IN_MEMORY", most_in_memory)
    items = [np.arange(5), None, "Käse", (1, 2)]
    kept = DiskList(items[:2])
    for item in items[2:]:
        kept.append(item)
    assert len(kept) == 4
    assert list(kept)[1:] == kept[1:] == items[1:]
    assert kept[0].tolist() == [0, 1, 2, 3, 4]
    assert kept[-1] == (1, 2)
    kept.append(3)  # reading has not moved the place where the next one goes
    assert kept[3:] == [(1, 2), 3]
    for place in (5, -6):
        with pytest.raises(IndexError):
            kept[place]


def test_memory_does_not_grow_with_what_it_holds():
    code = f"""
import resource, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core.disk_list import DiskList
DiskList(bytes(10**6) for _ in range(100))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
items = DiskList(bytes(10**6) for _ in range(400))
assert len(items[399]) == 10**6
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    kibibytes = int(subprocess.check_output([sys.executable, "-c", code]))
    assert kibibytes < 20_000


def test_nothing_is_left_in_the_folder_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(disk_list, "MOST_IN_MEMORY", 1)
    kept = DiskList(range(10))
    assert list(kept) == list(range(10))
    assert not list(tmp_path.iterdir())


def test_a_function_of_the_items():
    doubled = Mapped(lambda item: 2 * item, [1, 2, 3])
    assert (len(doubled), doubled[-1], doubled[:2], list(doubled)) == (3, 6, [2, 4], [2, 4, 6])
