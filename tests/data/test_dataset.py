"""Step 01, fetch_pretrained and what they share: downloads that break, archives that lie, folders that are not what they seem."""

import contextlib
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import tarfile
import tempfile
import threading
import zipfile

import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.data import download

DATA = bytes(range(256)) * 2000  # 512,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content`` at any path; breaks off after ``breaks`` bytes, one number a request, and logs the Range headers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks, self.ranges, self.statuses = {"/file": DATA}, [], [], []
        self.with_etag = self.with_range = self.with_length = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """GET with Range and If-Range, as RFC 7233 has them."""

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path not in server.content:
            return self.send_error(404)
        content = server.content[self.path]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if self.headers.get("Range") and server.with_range and self.headers.get("If-Range") == etag:
            start = int(self.headers["Range"][len("bytes=") : -1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.with_etag:
            self.send_header("ETag", etag)
        if server.with_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def in_child(function, *args):
    """Runs ``function`` in a forked process, for what cannot be undone there; returns the message of its UserError, or "fine"."""

    def run(pipe):
        try:
            function(*args)
            pipe.send("fine")
        except UserError as error:
            pipe.send(str(error))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(theirs,))
    process.start()
    theirs.close()
    message = ours.recv()
    process.join()
    return message


@contextlib.contextmanager
def open_folder():
    """A temporary folder that every user may enter; pytest's own only let its owner in."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def with_full_disk(function, *args):
    """``function`` where no file can grow past 100,000 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    function(*args)


def as_nobody(function, *args):
    """``function`` as a user that may not write what root may."""
    if os.geteuid() == 0:
        os.setuid(65534)
    function(*args)


# --- downloads


def test_a_download_is_whole_and_its_hash_is_told(server, tmp_path):
    digest = download.fetch(server.url + "/file", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == DATA
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_download_that_breaks_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = [100000, 150000, 1]
    download.fetch(server.url + "/file", tmp_path / "file", pause=0.01)
    assert (tmp_path / "file").read_bytes() == DATA
    assert server.ranges == [None, "bytes=100000-", "bytes=250000-", "bytes=250001-"]


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
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


def test_a_file_that_changed_in_between_is_fetched_anew(server, tmp_path):
    server.breaks = [200000] + [0] * download.ATTEMPTS
    with pytest.raises(UserError):
        download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    server.breaks, server.content["/file"] = [], DATA[::-1]
    download.fetch(server.url + "/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("lacking", ["with_etag", "with_range"])
def test_a_server_that_cannot_continue_is_asked_for_all_of_it(server, tmp_path, lacking):
    setattr(server, lacking, False)
    server.breaks = [100000]
    download.fetch(server.url + "/file", tmp_path / "file", pause=0.001)
    assert (tmp_path / "file").read_bytes() == DATA


def test_all_bytes_were_there_before_the_kill(server, tmp_path):
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


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path):
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
def test_no_network_and_no_address(tmp_path, url, text):
    with pytest.raises(UserError, match=text):
        download.fetch(url, tmp_path / "file", pause=0.001)


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(tmp_path):
    import socket

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
            as_nobody, download.fetch, server.url + "/file", folder / "locked" / "file"
        )
        assert "cannot be written (Permission denied)" in message


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
def test_a_tar_that_would_leave_its_folder_is_refused_whole(tmp_path, member, text):
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
def test_a_zip_that_would_leave_its_folder_is_refused(tmp_path, name, mode, text):
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "evil")
    with pytest.raises(UserError, match=text):
        download.extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_good_archive_replaces_the_folder_whole(tmp_path, kind):
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
def test_an_archive_that_is_cut_short_or_none(tmp_path, spoil):
    tar_with(tmp_path / "a.tar.gz", ("big", os.urandom(200000)))
    (tmp_path / "a.tar.gz").write_bytes(spoil((tmp_path / "a.tar.gz").read_bytes()))
    with pytest.raises(UserError, match="a.tar.gz: is not a whole archive"):
        download.extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_while_unpacking(tmp_path):
    tar_with(tmp_path / "a.tar.gz", ("big", b"0" * 200000))
    assert "out: cannot be written (File too large)" in in_child(
        with_full_disk, download.extract, tmp_path / "a.tar.gz", tmp_path / "out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


# --- step 01


def draw_dataset(
    folder,
    train=("C1_P01_N1_S2_1.JPG", "C1_P01_N1_S3_1.JPG"),
    test=("C1_P01_N2_S2_1.JPG",),
    csv=True,
):
    """A tiny dataset of the Grocery Dataset's layout."""
    for side, names in (("train", train), ("test", test)):
        (folder / "ShelfImages" / side).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (40, 30), (90, 120, 60)).save(
                str(folder / "ShelfImages" / side / name), "JPEG"
            )
    if csv:
        (folder / "annotations.csv").write_text(
            "".join(f"{name},1,2,11,22,0\n" for name in train + test)
        )
    return folder


@pytest.fixture
def fetch(script, tmp_path):
    """Step 01 with --out OUT in front of the given arguments; returns OUT."""
    step = script("01_fetch_dataset")

    def run(*arguments, out=tmp_path / "out"):
        step.main(["--out", str(out)] + [str(argument) for argument in arguments])
        return out

    return run


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


PLACED = [
    "ShelfImages/test/C1_P01_N2_S2_1.JPG",
    "ShelfImages/train/C1_P01_N1_S2_1.JPG",
    "ShelfImages/train/C1_P01_N1_S3_1.JPG",
    "annotations.csv",
]


def test_a_folder_is_adopted_by_links_and_again_without_work(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    out = fetch("--from", source)
    assert listing(out) == PLACED
    assert (out / "annotations.csv").is_symlink() and (out / PLACED[0]).samefile(source / PLACED[0])
    printed = capsys.readouterr().out
    assert "found 2 train and 1 test images" in printed
    assert files.sha256(source / "annotations.csv") in printed
    fetch("--from", source)
    assert "all in place" in capsys.readouterr().out
    fetch()  # without --from: verifies what is there
    assert "all in place" in capsys.readouterr().out


def test_copies_stay_when_the_source_goes(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    fetch("--from", source)
    out = fetch("--from", source, "--copy")
    fetch("--from", source, "--copy")
    assert "all in place" in capsys.readouterr().out
    shutil.rmtree(str(source))
    assert listing(out) == PLACED
    fetch()


def test_the_train_and_test_folders_may_lie_at_the_top(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source")
    for side in ("train", "test"):
        (source / "ShelfImages" / side).rename(source / side)
    (source / "ShelfImages").rmdir()
    assert listing(fetch("--from", source)) == PLACED


def test_a_flat_folder_is_divided_by_shelf_with_a_seed(fetch, tmp_path):
    names = tuple(f"C1_P01_N{rank}_S2_{copy}.JPG" for rank in range(1, 11) for copy in (1, 2))
    draw_dataset(tmp_path / "source", names, ())
    flat = tmp_path / "source" / "ShelfImages" / "train"
    shutil.move(str(tmp_path / "source" / "annotations.csv"), str(flat))
    first = listing(fetch("--from", flat))
    again = listing(fetch("--from", flat))
    other = listing(fetch("--from", flat, "--seed", 1))
    assert first == again != other
    test = [name for name in first if "/test/" in name]
    assert len(test) == 4  # 20 % of 20
    assert {name[: -len("_1.JPG")] + "_2.JPG" for name in test} == {
        name for name in test if name.endswith("_2.JPG")
    }


def voc(name):
    return f"<annotation><filename>{name}</filename><object><name>product</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object></annotation>"


def test_pascal_voc_beside_the_images_and_coco(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source", csv=False)
    pictures = sorted((source / "ShelfImages").rglob("*.JPG"))
    for path in pictures:
        path.with_suffix(".xml").write_text(voc(path.name))
    out = fetch("--from", source)
    assert listing(out) == PLACED[:3] + [
        f"annotations/{path.stem}.xml" for path in sorted(pictures, key=lambda path: path.name)
    ]
    for path in pictures:
        path.with_suffix(".xml").unlink()
    (source / "annotations.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": number, "file_name": path.name} for number, path in enumerate(pictures)
                ],
                "categories": [{"id": 1, "name": "product"}],
                "annotations": [{"id": 9, "image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 20]}],
            }
        )
    )
    assert listing(fetch("--from", source)) == PLACED[:3] + [
        "annotations.json"
    ]  # and the links to the XML files are gone


def test_label_files_of_this_workspace_are_recognised(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    (source / "annotations.csv").write_text(
        header + "".join(f"{pathlib.Path(name).name},40,30,cola,1,2,11,22\n" for name in PLACED[:3])
    )
    (source / "annotations.csv").rename(source / "mine.csv")
    assert listing(fetch("--from", source)) == PLACED
    assert "mine.csv (label CSV of this workspace), sha256" in capsys.readouterr().out
    assert (
        listing(fetch("--from", source, "--annotations", source / "mine.csv", "--format", "labels"))
        == PLACED
    )


def test_images_without_annotations(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "train" / "bare.png"))
    with pytest.raises(
        UserError,
        match="1 of 4 images are there but not annotated: bare.png(.|\n)*--empty-images keep",
    ):
        fetch("--from", source)
    assert listing(fetch("--from", source, "--empty-images", "leave-out")) == PLACED
    assert "1 images without annotations are left out: bare.png" in capsys.readouterr().out
    for options in (), ("--allow-missing",):
        out = fetch("--from", source, "--empty-images", "keep", *options)
        assert "ShelfImages/train/bare.png" in listing(out)
        assert (
            "kept, as images without products (give --empty-images keep to step 02, too)"
            in capsys.readouterr().out
        )


def test_several_annotations_need_a_choice(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source")
    shutil.copy(str(source / "annotations.csv"), str(source / "other.csv"))
    with pytest.raises(UserError, match="annotations.csv.*other.csv.*name it with --annotations"):
        fetch("--from", source)
    assert listing(fetch("--from", source, "--annotations", source / "other.csv")) == PLACED


def test_what_is_missing_is_named_and_nothing_is_put_into_place(fetch, tmp_path, capsys):
    train = tuple(f"C1_P01_N{rank}_S2_1.JPG" for rank in range(3, 30))
    source = draw_dataset(tmp_path / "source", train)
    for rank in range(3, 17):
        (source / "ShelfImages" / "train" / f"C1_P01_N{rank}_S2_1.JPG").unlink()
    truncated = source / "ShelfImages" / "train" / train[-1]
    truncated.write_bytes(truncated.read_bytes()[:-20])
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "test" / "new one.png"))
    with pytest.raises(UserError) as refused:
        fetch("--from", source)
    text = str(refused.value)
    assert "14 of 28 images are annotated but not there: C1_P01_N3_S2_1.JPG" in text
    assert "C1_P01_N12_S2_1.JPG and 4 more" in text and "C1_P01_N13_S2_1.JPG" not in text
    assert "1 of 15 images are there but not annotated: new one.png" in text
    assert (
        "1 of 15 images are broken: C1_P01_N29_S2_1.JPG" in text
        and "cannot be decoded to its end" in text
    )
    assert not (tmp_path / "out").exists()
    out = fetch("--from", source, "--allow-missing")
    assert "going on without them: 13 images with 13 boxes" in capsys.readouterr().out
    assert len(listing(out)) == 14 and "ShelfImages/test/new one.png" not in listing(out)


def test_own_images_are_never_replaced(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source")
    own = draw_dataset(tmp_path / "out", train=("mine.JPG",), test=("mine too.JPG",))
    before = listing(own)
    with pytest.raises(
        UserError, match="stands where this step would put links.*Move .*ShelfImages away"
    ):
        fetch("--from", source)
    assert listing(own) == before
    fetch()  # but they are verified where they are


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda source: shutil.rmtree(str(source)), "no such folder"),
        (
            lambda source: (shutil.rmtree(str(source)), source.write_text("x")),
            "is a file; expected a folder",
        ),
        (
            lambda source: shutil.rmtree(str(source / "ShelfImages")),
            "holds no images; expected train/ and test/",
        ),
        (
            lambda source: shutil.rmtree(str(source / "ShelfImages" / "test")),
            "test: does not exist",
        ),
        (lambda source: (source / PLACED[0]).unlink(), "ShelfImages/test: holds no image"),
        (lambda source: (source / "annotations.csv").unlink(), "no annotations there"),
        (
            lambda source: (source / "annotations.csv").write_text(""),
            "annotations.csv: the file is empty",
        ),
        (
            lambda source: (source / "annotations.csv").write_bytes(b"\x89PNG\0"),
            "annotations.csv: line 1",
        ),
        (
            lambda source: (source / "annotations.csv").write_text("a.JPG,1,2,3\n"),
            "line 1: found 4 columns .*expected 6",
        ),
        (
            lambda source: (source / "annotations.csv").write_text("a.JPG,1,2,x,4,0\n"),
            "line 1: xmax is 'x'; expected a finite number",
        ),
        (
            lambda source: (source / "annotations.csv").write_text(
                "filename,xmin,ymin,xmax,ymax,brand\n"
            ),
            "expected no header",
        ),
        (
            lambda source: shutil.copy(
                str(source / PLACED[0]), str(source / "ShelfImages" / "train")
            ),
            "have the same name",
        ),
    ],
)
def test_bad_sources(fetch, tmp_path, spoil, text):
    source = draw_dataset(tmp_path / "source")
    spoil(source)
    with pytest.raises(UserError, match=text):
        fetch("--from", source)
    assert not (tmp_path / "out").exists()


def test_bad_targets(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: is a file; expected a folder"):
        fetch("--from", source, out=tmp_path / "file")
    with open_folder() as folder:
        shutil.copytree(str(source), str(folder / "source"))
        (folder / "locked").mkdir(mode=0o555)
        assert "cannot be written (Permission denied)" in in_child(
            as_nobody, lambda: fetch("--from", folder / "source", out=folder / "locked" / "out")
        )


def test_fetching_adopting_and_fetching_no_second_time(fetch, server, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(str(source / "ShelfImages"), "ShelfImages")
    server.content = {
        "/ShelfImages.tar.gz": archive.getvalue(),
        "/annotations.csv": (source / "annotations.csv").read_bytes(),
    }
    urls = (
        "--images-url",
        server.url + "/ShelfImages.tar.gz",
        "--annotations-url",
        server.url + "/annotations.csv",
    )
    out = fetch(*urls)
    assert hashlib.sha256(archive.getvalue()).hexdigest() in capsys.readouterr().out
    assert set(PLACED) < set(listing(out))
    assert not os.path.isabs(os.readlink(str(out / PLACED[0])))
    shutil.rmtree(str(out / "ShelfImages"))
    server.content = {}
    fetch(*urls)  # what was fetched is used again
    assert set(PLACED) < set(listing(out))
    out.rename(tmp_path / "moved")
    assert set(PLACED) < set(listing(tmp_path / "moved"))
    with pytest.raises(UserError, match="404"):
        fetch(*urls, out=tmp_path / "elsewhere")


def test_the_real_photographs_are_recognised(fetch, shelf_data, capsys):
    fetch("--from", shelf_data)
    printed = capsys.readouterr().out
    assert "this is the Grocery Dataset with its official split: 283 train, 71 test" in printed
    assert "they hold 13184 boxes on 354 images" in printed


def test_the_full_size_photographs_are_too_few(fetch, shelf_data_original, tmp_path, capsys):
    with pytest.raises(
        UserError,
        match="10 train and 6 test images; the Grocery Dataset has 283 and 71(.|\n)*338 of 354",
    ):
        fetch("--from", shelf_data_original)
    fetch("--from", shelf_data_original, "--allow-missing")
    assert "2 carry an EXIF orientation (flag 3: 2)" in capsys.readouterr().out


# --- the zoo's checkpoint


ZOO = "ssd_inception_v2_coco_2018_01_28"
ZOO_FILES = ["model.ckpt.data-00000-of-00001", "model.ckpt.index", "model.ckpt.meta"]


def test_the_pretrained_model(script, server, tmp_path, capsys):
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
