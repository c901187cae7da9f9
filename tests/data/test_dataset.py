"""Step 01: finds a dataset, verifies it, divides it, names what is missing, puts it in place."""

import hashlib
import io
import os
import pathlib
import shutil
import tarfile

import pytest
from datasets import PLACED, draw_dataset, listing
from file_server import running_server
from PIL import Image

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.data import dataset

GROCERY_NAMES = [
    f"C{camera}_P01_N{rank}_S2_1.JPG" for camera in range(1, 4) for rank in range(1, 119)
]


@pytest.fixture
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def fetch(script, tmp_path):
    """Runs step 01 with --out OUT and the given arguments; returns OUT."""
    step = script("01_fetch_dataset")

    def run(*arguments, out=tmp_path / "out"):
        step.main(["--out", str(out)] + [str(argument) for argument in arguments])
        return out

    return run


# --- the package ---


def test_the_only_annotations_are_found_and_several_need_a_choice(tmp_path):
    source = draw_dataset(tmp_path / "source")
    assert dataset.read(source).annotations == ("grocery", [source / "annotations.csv"])
    shutil.copy(str(source / "annotations.csv"), str(source / "other.csv"))
    with pytest.raises(UserError, match="annotations.csv.*other.csv.*name it with --annotations"):
        dataset.read(source)
    found = dataset.read(source, source / "other.csv")
    assert found.annotations == ("grocery", [source / "other.csv"])


@pytest.mark.parametrize(
    "name, format, text",
    [
        ("gone.csv", "auto", "gone.csv: no such file or folder"),
        ("ShelfImages", "coco", "ShelfImages: is a folder; expected a file for --format coco"),
        ("annotations.csv", "voc", "is a file; expected a folder of XML files"),
        ("ShelfImages", "voc", "ShelfImages: holds no .xml file"),
    ],
)
def test_annotations_that_do_not_fit_their_format(tmp_path, name, format, text):
    source = draw_dataset(tmp_path / "source")
    with pytest.raises(UserError, match=text):
        dataset.named_annotations(source / name, format)


def test_images_without_annotations(tmp_path):
    source = draw_dataset(tmp_path / "source")
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "train" / "bare.png"))
    found = dataset.read(source)
    refused = dataset.select(found)
    assert refused.problems == ["1 of 4 images are not annotated: bare.png"]
    assert refused.unannotated
    left_out = dataset.select(found, "leave-out")
    assert left_out == (
        {"bare.png"},
        ["1 images without annotations are left out: bare.png"],
        [],
        False,
    )
    kept = dataset.select(found, "keep")
    assert kept.left_out == set() and kept.problems == []
    assert (
        "kept, as images without products (give --empty-images keep to step 02, too)"
        in kept.notes[0]
    )


def spoiled_dataset(folder):
    """28 annotated images: 14 do not exist, one is truncated; and one that is not annotated."""
    train = tuple(f"C1_P01_N{rank}_S2_1.JPG" for rank in range(3, 30))
    draw_dataset(folder, train)
    for rank in range(3, 17):
        (folder / "ShelfImages" / "train" / f"C1_P01_N{rank}_S2_1.JPG").unlink()
    truncated = folder / "ShelfImages" / "train" / train[-1]
    truncated.write_bytes(truncated.read_bytes()[:-20])
    Image.new("RGB", (9, 9)).save(str(folder / "ShelfImages" / "test" / "new one.png"))
    return folder


def test_what_is_missing_is_named(tmp_path):
    selection = dataset.select(dataset.read(spoiled_dataset(tmp_path / "source")))
    missing, unannotated, broken, reason = selection.problems
    assert missing.startswith(
        "14 of 28 images are annotated but do not exist: C1_P01_N3_S2_1.JPG, "
    )
    assert missing.endswith("C1_P01_N12_S2_1.JPG and 4 more")
    assert unannotated == "1 of 15 images are not annotated: new one.png"
    assert broken == "1 of 15 images are broken: C1_P01_N29_S2_1.JPG"
    assert "cannot be decoded to its end" in reason
    assert selection.left_out == {"new one.png", "C1_P01_N29_S2_1.JPG"}


def test_images_without_folders_are_divided_by_shelf_with_a_seed():
    names = [f"C1_P01_N{rank}_S2_{copy}.JPG" for rank in range(1, 11) for copy in (1, 2)]
    found = {"all": {name: pathlib.Path(name) for name in names}}
    first = dataset.divide(found, set(), 0.2, seed=0)
    assert first == dataset.divide(found, set(), 0.2, seed=0)
    assert first != dataset.divide(found, set(), 0.2, seed=1)
    assert len(first["test"]) == 4  # 20 % of 20
    shelves = {name[: -len("_1.JPG")] for name in first["test"]}
    assert {f"{shelf}_{copy}.JPG" for shelf in shelves for copy in (1, 2)} == set(first["test"])


def test_folders_left_without_images_are_refused():
    found = {"train": {"a.jpg": pathlib.Path("a.jpg")}, "test": {"b.jpg": pathlib.Path("b.jpg")}}
    assert dataset.divide(found, set(), 0.2, seed=0) == found
    with pytest.raises(UserError, match="no image is left in test"):
        dataset.divide(found, {"b.jpg"}, 0.2, seed=0)


@pytest.mark.parametrize(
    "images, text",
    [
        ({"train": 283, "test": 71}, "with its official split: 283 train, 71 test"),
        ({"train": 284, "test": 70}, "284 train and 70 test images; the Grocery Dataset has 283"),
        ({"all": 354}, "without its train/ and test/"),
        ({"train": 282, "test": 71}, None),
    ],
)
def test_the_grocery_dataset_is_recognised(images, text):
    names = iter(GROCERY_NAMES)
    found = {
        folder: {next(names): pathlib.Path("x") for _ in range(count)}
        for folder, count in images.items()
    }
    boxes = dict.fromkeys(dataset.all_images(found), 1)
    findings = dataset.Findings({}, {}, [], [], boxes)
    selection = dataset.select(dataset.Dataset(found, None, findings))
    recognised = selection.notes + selection.problems
    assert len(recognised) == (text is not None)
    if text:
        assert text in recognised[0]


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
        (lambda source: (source / "annotations.csv").unlink(), "holds no annotations"),
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
def test_bad_sources(tmp_path, spoil, text):
    source = draw_dataset(tmp_path / "source")
    spoil(source)
    with pytest.raises(UserError, match=text):
        dataset.read(source)


# --- the script ---


def test_a_folder_is_linked_and_verified_again(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    out = fetch("--from", source)
    assert listing(out) == PLACED
    printed = capsys.readouterr().out
    assert "found 2 train and 1 test images" in printed
    assert "linked into " in printed
    assert files.sha256(source / "annotations.csv") in printed
    fetch("--from", source)
    assert "all in place" in capsys.readouterr().out
    fetch()  # without --from, it verifies what is in place
    assert "all in place" in capsys.readouterr().out
    fetch("--from", source, "--copy")
    assert "copied into " in capsys.readouterr().out


def test_a_folder_without_train_and_test(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source", tuple(f"{number}.JPG" for number in range(10)), ())
    shutil.move(str(source / "annotations.csv"), str(source / "ShelfImages" / "train"))
    out = fetch("--from", source / "ShelfImages" / "train", "--test-share", 0.3)
    assert "divided into 7 train and 3 test images (seed 0)" in capsys.readouterr().out
    assert len(listing(out / "ShelfImages" / "test")) == 3


def test_label_files_of_this_workspace_are_recognised(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    rows = [f"{pathlib.Path(name).name},40,30,cola,1,2,11,22\n" for name in PLACED[:3]]
    (source / "annotations.csv").unlink()
    (source / "mine.csv").write_text(header + "".join(rows))
    assert listing(fetch("--from", source)) == PLACED
    assert "mine.csv (label CSV of this workspace), sha256" in capsys.readouterr().out
    fetch("--from", source, "--annotations", source / "mine.csv", "--format", "csv")
    assert "all in place" in capsys.readouterr().out


def test_an_incomplete_dataset_is_not_put_in_place(fetch, tmp_path, capsys):
    source = spoiled_dataset(tmp_path / "source")
    with pytest.raises(UserError) as refused:
        fetch("--from", source)
    text = str(refused.value)
    assert "annotations.csv: not complete\n  14 of 28 images are annotated but" in text
    assert "nothing was put into place" in text and "--empty-images keep if those" in text
    assert not (tmp_path / "out").exists()
    out = fetch("--from", source, "--allow-missing")
    assert "continuing without them: 13 images with 13 boxes" in capsys.readouterr().out
    assert len(listing(out)) == 14 and "ShelfImages/test/new one.png" not in listing(out)


def test_empty_images_are_put_in_place_where_they_are_kept(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "train" / "bare.png"))
    assert listing(fetch("--from", source, "--empty-images", "leave-out")) == PLACED
    for options in (), ("--allow-missing",):
        out = fetch("--from", source, "--empty-images", "keep", *options)
        assert "ShelfImages/train/bare.png" in listing(out)
        assert "kept, as images without products" in capsys.readouterr().out


def test_a_file_as_target(fetch, tmp_path):
    source = draw_dataset(tmp_path / "source")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: is a file; expected a folder"):
        fetch("--from", source, out=tmp_path / "file")


@pytest.mark.parametrize(
    "options", [["--test-share", "0"], ["--test-share", "1"], ["--format", "coco"], ["--fro", "x"]]
)
def test_wrong_options(fetch, options, capsys):
    with pytest.raises(SystemExit) as stopped:
        fetch(*options)
    assert stopped.value.code == 2 and capsys.readouterr().err


def test_downloading_the_first_time_only(fetch, server, tmp_path, capsys):
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
        f"{server.url}/ShelfImages.tar.gz",
        "--annotations-url",
        f"{server.url}/annotations.csv",
    )
    out = fetch(*urls)
    assert hashlib.sha256(archive.getvalue()).hexdigest() in capsys.readouterr().out
    assert set(PLACED) < set(listing(out))
    assert not os.path.isabs(os.readlink(str(out / PLACED[0])))
    shutil.rmtree(str(out / "ShelfImages"))
    server.content = {}
    fetch(*urls)  # uses what was downloaded before
    assert "already here" in capsys.readouterr().out
    assert set(PLACED) < set(listing(out))
    out.rename(tmp_path / "moved")  # the links are relative
    assert set(PLACED) < set(listing(tmp_path / "moved"))
    with pytest.raises(UserError, match="404"):
        fetch(*urls, out=tmp_path / "elsewhere")


def test_the_real_photographs_are_recognised(fetch, shelf_data, capsys):
    fetch("--from", shelf_data)
    printed = capsys.readouterr().out
    assert "this is the Grocery Dataset with its official split: 283 train, 71 test" in printed
    assert "they hold 13184 boxes on 354 images" in printed


def test_the_full_size_photographs_are_too_few(fetch, shelf_data_original, capsys):
    with pytest.raises(
        UserError,
        match="10 train and 6 test images; the Grocery Dataset has 283 and 71(.|\n)*338 of 354",
    ):
        fetch("--from", shelf_data_original)
    fetch("--from", shelf_data_original, "--allow-missing")
    assert "2 carry an EXIF orientation (flag 3: 2)" in capsys.readouterr().out
