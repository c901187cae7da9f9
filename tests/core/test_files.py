"""files.py: a file or folder is written completely or not at all, whatever fails."""

import hashlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from shelfdet import UserError
from shelfdet.core import files

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
NOBODY = 65534


def content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    files.write_text(path, "ä\n")
    files.write_text(path, "b\n")
    assert path.read_bytes() == b"b\n"
    assert content(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, UserError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(error):
        with files.replacing(tmp_path / "a") as partial:
            partial.write_text("half")
            raise error("x")
    assert (tmp_path / "a").read_text() == "old" and content(tmp_path) == ["a"]


def test_a_kill_leaves_the_old_file_and_the_next_run_cleans_up(tmp_path):
    files.write_text(tmp_path / "a", "old")
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import files
with files.replacing({str(tmp_path / "a")!r}) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.call([sys.executable, "-c", code]) == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old" and content(tmp_path) == [
        ".a.lock",
        ".a.partial",
        "a",
    ]
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new" and content(tmp_path) == ["a"]


def test_leftovers_are_removed_where_nothing_is_replaced(tmp_path):
    files.write_text(tmp_path / "a", "old")
    files.remove_leftovers(tmp_path / "a")
    for name in (".a.lock", ".a.partial"):
        (tmp_path / name).write_text("x")
    files.remove_leftovers(tmp_path / "a")
    assert content(tmp_path) == ["a"]


def test_ctrl_c_while_the_partial_folder_is_removed(tmp_path, monkeypatch):
    remove = files._remove

    def interrupted_remove(path):
        if path.exists():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        remove(path)

    monkeypatch.setattr(files, "_remove", interrupted_remove)
    with pytest.raises(KeyboardInterrupt):
        with files.replacing(tmp_path / "f") as partial:
            partial.mkdir()
            raise ValueError
    assert content(tmp_path) == []


def writing(path, seconds):
    """Starts a process that takes ``seconds`` to write ``path``; returns it once it has begun."""
    code = f"""
import sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from shelfdet.core import files
with files.replacing({str(path)!r}) as partial:
    partial.write_text("by the first")
    print("begun", flush=True)
    time.sleep({seconds})
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_two_programs_that_write_one_file_take_turns(tmp_path):
    with writing(tmp_path / "a", seconds=0.3) as first:
        files.write_text(tmp_path / "a", "by the second")
    assert first.returncode == 0
    assert (tmp_path / "a").read_text() == "by the second" and content(tmp_path) == ["a"]


def test_a_program_that_writes_for_long_is_not_disturbed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with writing(tmp_path / "a", seconds=1) as first:
        with pytest.raises(UserError) as caught:
            files.write_text(tmp_path / "a", "by the second")
        assert f"a: another program is writing it (process {first.pid})" in str(caught.value)
        files.write_text(tmp_path / "b", "another file is not locked")
    assert first.returncode == 0
    assert (tmp_path / "a").read_text() == "by the first" and content(tmp_path) == ["a", "b"]


def test_one_program_cannot_write_a_file_twice_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0)
    with files.replacing(tmp_path / "a") as partial:
        partial.write_text("x")
        with pytest.raises(UserError, match="a: another program is writing it;"):
            files.write_text(tmp_path / "a", "y")
    assert (tmp_path / "a").read_text() == "x" and content(tmp_path) == ["a"]


def test_folders_are_replaced_completely(tmp_path):
    for name in ("one", "two"):
        with files.replacing(tmp_path / "f") as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert content(tmp_path) == ["f", "f/two"]


def test_a_folder_where_the_file_should_be_and_the_reverse(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="folder: cannot be written"):
        files.write_text(tmp_path / "folder", "y")
    with pytest.raises(UserError, match="file: cannot be written"):
        with files.replacing(tmp_path / "file") as partial:
            partial.mkdir()
    with pytest.raises(UserError, match="file/a: cannot be written"):
        files.write_text(tmp_path / "file" / "a", "y")
    assert content(tmp_path) == ["file", "folder", "folder/kept"]


def test_a_path_without_a_name_and_a_device_are_refused():
    with pytest.raises(UserError, match="is not a file name"):
        files.write_text("/", "x")
    with pytest.raises(UserError, match="null: cannot be written .is a device"):
        files.write_text("/dev/null", "x")
    assert pathlib.Path("/dev/null").is_char_device()


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot hold 'a\\udce9'"):
        files.write_text(tmp_path / "a", "a\udce9")
    assert content(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(UserError, match=r"a: cannot be written \(No space left on device\)"):
        with files.replacing(tmp_path / "a"):
            with open("/dev/full", "w") as full:
                full.write("x")
    assert (tmp_path / "a").read_text() == "old" and content(tmp_path) == ["a"]


def test_a_file_size_limit(tmp_path):
    files.write_text(tmp_path / "a", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match="a: cannot be written .File too large"):
            files.write_text(tmp_path / "a", "x" * 100000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a").read_text() == "old" and content(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_without_permission(mode):
    # Not in tmp_path: the other user may not enter pytest's own folders.
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o755)
        folder = pathlib.Path(outer) / "locked"
        files.write_text(folder / "a", "old")
        folder.chmod(mode)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)  # root may write everywhere
        try:
            with pytest.raises(UserError, match=r"a: cannot be written \(Permission denied\)"):
                files.write_text(folder / "a", "new")
        finally:
            os.seteuid(user)
            folder.chmod(0o700)
        assert (folder / "a").read_text() == "old" and content(folder) == ["a"]


def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path, monkeypatch):
    """A kill at any moment leaves the old or the new folder: the two swap their names at once."""
    monkeypatch.setattr(files.os, "replace", None)  # no move is needed
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("x")
    with files.replacing(tmp_path / "f") as partial:
        partial.mkdir()
        (partial / "new").write_text("x")
    assert content(tmp_path) == ["f", "f/new"]


def test_a_file_system_that_cannot_swap_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    test_folders_are_replaced_completely(tmp_path)


def test_a_replacement_that_was_killed_between_its_two_moves(tmp_path):
    folder = tmp_path / "f"
    (tmp_path / ".f.old").mkdir()
    (tmp_path / ".f.old" / "kept").write_text("x")
    assert files.readable_folder(folder) == tmp_path / ".f.old"
    assert content(tmp_path) == [".f.old", ".f.old/kept"]
    assert files.restore_interrupted(folder) == folder
    assert content(tmp_path) == ["f", "f/kept"]
    assert files.readable_folder(folder) == folder


class TestReplacingTogether:
    def test_all_are_written_at_once(self, tmp_path):
        with files.replacing_together([tmp_path / "a", tmp_path / "b"]) as partials:
            for number, partial in enumerate(partials):
                files.write_text(partial, str(number))
            assert not (tmp_path / "a").exists()
        assert content(tmp_path) == ["a", "b"] and (tmp_path / "b").read_text() == "1"

    def test_files_and_folders(self, tmp_path):
        (tmp_path / "f").mkdir()
        (tmp_path / "f" / "old").write_text("x")
        with files.replacing_together([tmp_path / "a", tmp_path / "f"]) as (a, f):
            a.write_text("new")
            f.mkdir()
            (f / "new").write_text("x")
            assert content(tmp_path / "f") == ["old"]
        assert content(tmp_path) == ["a", "f", "f/new"]

    def test_ctrl_c_between_two_moves_waits(self, tmp_path, monkeypatch):
        files.write_text(tmp_path / "a", "old")
        files.write_text(tmp_path / "b", "old")
        move = files._move_into_place

        def interrupted_move(partial, path):
            move(partial, path)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        monkeypatch.setattr(files, "_move_into_place", interrupted_move)
        with pytest.raises(KeyboardInterrupt):
            with files.replacing_together([tmp_path / "a", tmp_path / "b"]) as partials:
                for partial in partials:
                    partial.write_text("new")
        assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "new"]
        assert content(tmp_path) == ["a", "b"]

    @pytest.mark.parametrize(
        "failure, error",
        [("raises", ValueError), ("b is not written", UserError), ("b is a folder", UserError)],
    )
    def test_none_is_written_where_one_fails(self, tmp_path, failure, error):
        files.write_text(tmp_path / "a", "old")
        if failure == "b is a folder":
            (tmp_path / "b").mkdir()
        with pytest.raises(error):
            with files.replacing_together([tmp_path / "a", tmp_path / "b"]) as (a, b):
                a.write_text("new")
                if failure == "raises":
                    raise ValueError
                if failure == "b is a folder":
                    b.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
        assert content(tmp_path) == (["a", "b"] if failure == "b is a folder" else ["a"])

    def test_the_message_names_the_target(self, tmp_path):
        with pytest.raises(UserError) as caught:
            with files.replacing_together([tmp_path / "a"]) as (partial,):
                partial.mkdir()
                files.write_text(partial, "x")
        assert str(caught.value).startswith(str(tmp_path / "a") + ": cannot be written")


@pytest.mark.parametrize(
    "content, words", [(None, "cannot be read .No such file"), ("{", "is not complete JSON")]
)
def test_json_that_is_missing_or_not_complete(tmp_path, content, words):
    if content:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match="a.json: " + words):
        files.read_json(tmp_path / "a.json")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"ab" * (1 << 20))
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"ab" * (1 << 20)).hexdigest()
