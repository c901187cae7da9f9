"""disk_list.py: a list on disk behaves as one in memory."""

import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile
import time

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


@pytest.mark.parametrize("size", [10, 10**6])  # in a buffer until it is read, and written at once
def test_a_full_disk_is_an_error_without_a_traceback(size):
    code = f"""
import resource, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import command_line, disk_list
disk_list.MOST_IN_MEMORY = 1
resource.setrlimit(resource.RLIMIT_FSIZE, ({size} // 2, {size} // 2))
command_line.run(lambda: list(disk_list.DiskList([bytes({size})])))
"""
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    message = ended.stderr.decode()
    assert ended.returncode == 1
    assert message.startswith(f"error: {tempfile.gettempdir()}: the folder for temporary files ")
    assert "(File too large)" in message
    assert message.endswith("variable TMPDIR, then run the step again.\n")
    assert message.count("\n") == 1


def test_threads_may_share_a_list():
    kept = DiskList(range(40))
    seek = kept._file.seek

    def seek_and_wait(place):
        seek(place)
        time.sleep(0.001)  # another thread runs

    kept._file.seek = seek_and_wait
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(kept.__getitem__, range(40))) == list(range(40))


def test_a_function_of_the_items():
    doubled = Mapped(lambda item: 2 * item, [1, 2, 3])
    assert (len(doubled), doubled[-1], doubled[:2], list(doubled)) == (3, 6, [2, 4], [2, 4, 6])
