"""Downloads that are interrupted, archives that are unsafe, and fetch_pretrained."""

import hashlib
import io
import os
import socket
import tarfile
import zipfile

import pytest
from file_server import DATA, running_server
from restricted import as_other_user, in_child, open_folder, with_full_disk

from shelfdet import UserError
from shelfdet.data import download
from shelfdet.inference import checkpoints


@pytest.fixture
def server():
    with running_server() as server:
        yield server


def test_a_download_is_complete_and_its_hash_is_returned(server, tmp_path):
    digest = download.fetch(server.url + "/file", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == DATA
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_an_interrupted_download_resumes(server, tmp_path):
    server.breaks = [100000, 150000, 1]
    download.fetch(server.url + "/file", tmp_path / "file", pause=0.01)
    assert (tmp_path / "file").read_bytes() == DATA
    assert server.ranges == [None, "bytes=100000-", "bytes=250000-", "bytes=250001-"]


def test_a_later_run_resumes_where_an_earlier_one_gave_up(server, tmp_path):
    server.breaks = [200000] + [0] * download.ATTEMPTS
    with pytest.raises(
        UserError,
        match=r"ended at 200000 of 512000 bytes.*200000 bytes so far.*start the same command again",
    ):
        download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    assert not (tmp_path / "file").exists()
    server.ranges.clear()
    server.breaks = []
    download.fetch(server.url + "/file", tmp_path / "file")
    assert server.ranges == ["bytes=200000-"]
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_file_that_changed_in_between_is_fetched_again(server, tmp_path):
    server.breaks = [200000] + [0] * download.ATTEMPTS
    with pytest.raises(UserError):
        download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    server.breaks, server.content["/file"] = [], DATA[::-1]
    download.fetch(server.url + "/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("lacking", ["with_etag", "with_range"])
def test_a_server_that_cannot_resume_sends_the_whole_file(server, tmp_path, lacking):
    setattr(server, lacking, False)
    server.breaks = [100000]
    download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    assert (tmp_path / "file").read_bytes() == DATA


def test_all_bytes_were_fetched_before_the_kill(server, tmp_path):
    server.breaks = [len(DATA) - 1] + [0] * download.ATTEMPTS
    with pytest.raises(UserError):
        download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    with open(str(tmp_path / ".file.download"), "ab") as file:
        file.write(DATA[-1:])
    server.breaks = []
    download.fetch(server.url + "/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    assert server.ranges[-1] == "bytes=512000-"


def test_an_unknown_length_and_an_empty_file(server, tmp_path):
    server.with_length = False
    download.fetch(server.url + "/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    server.content["/empty"] = b""
    download.fetch(server.url + "/empty", tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_busy_server_is_retried_and_a_missing_file_is_not(server, tmp_path):
    server.statuses = [503, 429, 500]
    download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    assert (tmp_path / "file").read_bytes() == DATA
    server.ranges.clear()
    with pytest.raises(UserError, match="nowhere: the server answered 404"):
        download.fetch(server.url + "/nowhere", tmp_path / "nowhere", pause=0.001)
    assert len(server.ranges) == 1
    assert not (tmp_path / "nowhere").exists()


def test_the_old_file_stays_when_a_download_fails(server, tmp_path):
    (tmp_path / "file").write_text("old")
    server.breaks = [1000] * 1 + [0] * download.ATTEMPTS
    with pytest.raises(UserError):
        download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    "url, text",
    [
        ("http://127.0.0.1:9/file", "no connection"),
        ("shelves.tar.gz", "is no address"),
    ],
)
def test_no_connection_and_no_address(tmp_path, url, text):
    with pytest.raises(UserError, match=text):
        download.fetch(url, tmp_path / "file", pause=0.001)


def test_a_silent_server_times_out(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        with pytest.raises(UserError, match="no connection"):
            download.fetch(
                f"http://127.0.0.1:{silent.getsockname()[1]}/file",
                tmp_path / "file",
                pause=0.001,
                timeout=0.02,
            )


def test_a_full_disk_and_an_unwritable_folder(server, tmp_path):
    message = in_child(with_full_disk, download.fetch, server.url + "/file", tmp_path / "file")
    assert "file: cannot be written (File too large)" in message
    assert not (tmp_path / "file").exists()
    with open_folder() as folder:
        (folder / "locked").mkdir(mode=0o555)
        message = in_child(
            as_other_user, download.fetch, server.url + "/file", folder / "locked" / "file"
        )
        assert "cannot be written (Permission denied)" in message


def test_a_file_is_fetched_once_from_each_address(server, tmp_path):
    path = tmp_path / "file"
    assert not download.is_fetched(server.url + "/file", path)
    digest = download.fetch_once(server.url + "/file", path)
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert download.is_fetched(server.url + "/file", path)
    assert not download.is_fetched(server.url + "/other", path)
    path.unlink()
    assert not download.is_fetched(server.url + "/file", path)


# --- archives


def tar_with(path, *members):
    """A .tar.gz of (name, bytes), or of (name, type, link target)."""
    with tarfile.open(str(path), "w:gz") as archive:
        for name, kind, *target in members:
            member = tarfile.TarInfo(name)
            if isinstance(kind, bytes) and len(kind) != 1:
                member.size = len(kind)
                archive.addfile(member, io.BytesIO(kind))
            else:
                member.type, member.linkname = kind, target[0] if target else ""
                archive.addfile(member)


@pytest.mark.parametrize(
    "member, text",
    [
        (("/tmp/evil", b"evil"), "is an absolute path"),
        (("C:/evil", b"evil"), "is an absolute path"),
        (("a/../../evil", b"evil"), "leaves the folder"),
        (("..\\evil", b"evil"), "leaves the folder"),
        (("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (("link", tarfile.LNKTYPE, "good"), "is a link or a device"),
        (("pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (("device", tarfile.CHRTYPE), "is a link or a device"),
    ],
)
def test_a_tar_with_an_unsafe_member_is_not_unpacked_at_all(tmp_path, member, text):
    tar_with(tmp_path / "a.tar.gz", ("good", b"good"), member)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(UserError, match=text):
        download.extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "out"]


@pytest.mark.parametrize(
    "name, mode, text",
    [("/evil", 0, "absolute"), ("../evil", 0, "leaves"), ("link", 0o120777, "link")],
)
def test_a_zip_with_an_unsafe_member_is_refused(tmp_path, name, mode, text):
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "evil")
    with pytest.raises(UserError, match=text):
        download.extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_good_archive_replaces_the_whole_folder(tmp_path, kind):
    path = tmp_path / ("a." + kind)
    if kind == "zip":
        with zipfile.ZipFile(str(path), "w") as archive:
            archive.writestr("top/", "")
            archive.writestr("top/sub/ä b.txt", "content")
    else:
        tar_with(path, ("top", tarfile.DIRTYPE), ("top/sub/ä b.txt", b"content"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    download.extract(path, tmp_path / "out")
    assert [
        str(item.relative_to(tmp_path / "out")) for item in sorted((tmp_path / "out").rglob("*"))
    ] == ["top", "top/sub", "top/sub/ä b.txt"]
    download.extract(path, tmp_path / "out", strip=1)
    assert (tmp_path / "out" / "sub" / "ä b.txt").read_text() == "content"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + b"\0" * 50 + data[250:],
        lambda data: b"<html>no such file</html>",
        lambda data: b"",
    ],
)
def test_a_file_that_is_truncated_or_no_archive(tmp_path, spoil):
    tar_with(tmp_path / "a.tar.gz", ("big", os.urandom(200000)))
    (tmp_path / "a.tar.gz").write_bytes(spoil((tmp_path / "a.tar.gz").read_bytes()))
    with pytest.raises(UserError, match="a.tar.gz: is not a complete archive"):
        download.extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_while_unpacking(tmp_path):
    tar_with(tmp_path / "a.tar.gz", ("big", b"0" * 200000))
    assert "out: cannot be written (File too large)" in in_child(
        with_full_disk, download.extract, tmp_path / "a.tar.gz", tmp_path / "out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


# --- fetch_pretrained ---


ZOO = "ssd_inception_v2_coco_2018_01_28"
ZOO_FILES = ["model.ckpt.data-00000-of-00001", "model.ckpt.index", "model.ckpt.meta"]


def test_the_pretrained_model(script, server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, "is_whole", lambda prefix: True)  # it holds other bytes
    tar_with(
        tmp_path / "zoo.tar.gz",
        (ZOO, tarfile.DIRTYPE),
        *((ZOO + "/" + name, b"values") for name in ZOO_FILES),
    )
    server.content = {"/zoo.tar.gz": (tmp_path / "zoo.tar.gz").read_bytes()}
    step = script("fetch_pretrained")
    step.main(["--url", server.url + "/zoo.tar.gz", "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out" / ZOO).iterdir()) == ZOO_FILES
    assert (
        f'fine_tune_checkpoint: "{tmp_path / "out" / ZOO / "model.ckpt"}"'
        in capsys.readouterr().out
    )
    server.content = {}
    step.main(["--url", server.url + "/zoo.tar.gz", "--out", str(tmp_path / "out")])
    assert "already here" in capsys.readouterr().out


def test_a_damaged_pretrained_model_is_unpacked_again(script, tmp_path, monkeypatch):
    tar_with(
        tmp_path / "zoo.tar.gz",
        (ZOO, tarfile.DIRTYPE),
        *((ZOO + "/" + name, b"values") for name in ZOO_FILES),
    )
    data = tmp_path / "out" / ZOO / ZOO_FILES[0]
    monkeypatch.setattr(checkpoints, "is_whole", lambda prefix: data.read_bytes() == b"values")
    options = ["--archive", str(tmp_path / "zoo.tar.gz"), "--out", str(tmp_path / "out")]
    script("fetch_pretrained").main(options)
    data.write_bytes(b"val")
    script("fetch_pretrained").main(options)
    assert data.read_bytes() == b"values"


def test_a_pretrained_model_without_a_checkpoint(script, tmp_path):
    tar_with(tmp_path / "other.tar.gz", ("model/" + ZOO_FILES[0], b"values"))
    with pytest.raises(
        UserError, match="other.tar.gz: holds no model.ckpt.index and no model.ckpt.meta"
    ):
        script("fetch_pretrained").main(
            ["--archive", str(tmp_path / "other.tar.gz"), "--out", str(tmp_path / "out")]
        )
    with pytest.raises(UserError, match="nothing.tar.gz: no such file"):
        script("fetch_pretrained").main(
            ["--archive", str(tmp_path / "nothing.tar.gz"), "--out", str(tmp_path / "out")]
        )
