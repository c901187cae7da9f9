"""Step 01: finds a dataset, verifies it, divides it, names what is missing, puts it in place."""

import hashlib
import io
import json
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
from shelfdet.data import annotation_files, dataset, formats, layout
from shelfdet.data.classes import ONE_CLASS
from shelfdet.data.splitting import groups, splits

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
    assert dataset.find(source).annotations[:2] == ("grocery", [source / "annotations.csv"])
    shutil.copy(str(source / "annotations.csv"), str(source / "other.csv"))
    with pytest.raises(UserError, match="annotations.csv.*other.csv.*name it with --annotations"):
        dataset.find(source)
    found = dataset.find(source, source / "other.csv")
    assert found.annotations[:2] == ("grocery", [source / "other.csv"])


@pytest.mark.parametrize(
    "name, format, text",
    [
        ("gone.csv", "auto", "gone.csv: no such file or folder"),
        ("ShelfImages", "coco", "ShelfImages: is a folder; expected a file for --format coco"),
        ("annotations.csv", "voc", "is a file; expected a folder of Pascal VOC XML, one"),
        ("ShelfImages", "voc", "ShelfImages: holds no .xml file"),
    ],
)
def test_annotations_that_do_not_fit_their_format(tmp_path, name, format, text):
    source = draw_dataset(tmp_path / "source")
    with pytest.raises(UserError, match=text):
        annotation_files.named(source / name, format)


def test_annotations_are_described_by_the_folders_they_are_in(tmp_path):
    files = [tmp_path / side / f"{n}.xml" for side, n in (("train", 1), ("train", 2), ("test", 3))]
    assert annotation_files.Annotations("voc", files).described() == (
        f"3 files of Pascal VOC XML: 2 in {tmp_path / 'train'}, 1 in {tmp_path / 'test'}"
    )
    assert annotation_files.Annotations("voc", files[:2]).described() == (
        f"2 files of Pascal VOC XML in {tmp_path / 'train'}"
    )
    assert annotation_files.Annotations("coco", [tmp_path / "a.json"]).described() == (
        f"{tmp_path / 'a.json'} (COCO JSON)"
    )


def test_a_file_of_one_format_beside_the_images_of_each_folder(
    fetch, flat, script, tmp_path, capsys
):
    """As Roboflow exports COCO's JSON and label CSVs."""
    source = flat(["train/a.jpg", "train/b.jpg", "valid/v.jpg", "test/t.jpg"])
    (source / "annotations.json").unlink()
    for side, names in (("train", ["a.jpg", "b.jpg"]), ("valid", ["v.jpg"]), ("test", ["t.jpg"])):
        coco(source, names)
        (source / "annotations.json").rename(source / side / "_annotations.coco.json")
    out = fetch("--from", source)
    assert "3 files (COCO JSON): " in capsys.readouterr().out
    assert listing(out / "annotations") == [
        "part1_train__annotations.coco.json",
        "part2_valid__annotations.coco.json",
        "part3_test__annotations.coco.json",
    ]
    fetch()
    assert "all in place" in capsys.readouterr().out
    labels = tmp_path / "labels"
    script("02_split_annotations").main(["--images", str(out), "--out", str(labels)])
    assert "v.jpg,40,30,product,1,2,11,22" in (labels / "val_labels.csv").read_text()
    coco(source, ["t.jpg"], [(5, 5, -3, 2)])
    (source / "annotations.json").rename(source / "test" / "_annotations.coco.json")
    with pytest.raises(
        UserError, match=r"test/_annotations.coco.json: annotations.0. .*: bbox .5, 5, -3, 2. is"
    ):
        fetch("--from", source)
    whole = (source / "train" / "_annotations.coco.json").read_text()
    (source / "train" / "_annotations.coco.json").write_text(whole[:-9])
    with pytest.raises(UserError, match="train/_annotations.coco.json: .* Or, if it is none of th"):
        fetch("--from", source)
    (source / "train" / "_annotations.coco.json").write_text(whole)
    shutil.copy(str(source / "test" / "_annotations.coco.json"), str(source / "test" / "b.json"))
    with pytest.raises(UserError, match="several annotations: .*beside the images of each folder"):
        fetch("--from", source)


def test_xml_files_of_one_name_in_two_folders_are_refused(tmp_path):
    source = draw_dataset(tmp_path / "source", csv=False)
    for side in ("train", "test"):
        (source / "ShelfImages" / side / "a.xml").write_text("<annotation/>")
    with pytest.raises(UserError, match="train/a.xml and .*test/a.xml have the same name"):
        dataset.find(source)


def test_images_whose_boxes_are_all_left_out_are_put_in_place(tmp_path):
    """Step 02 finds them in the annotations and leaves them out again."""
    source = draw_dataset(tmp_path / "source")
    with open(str(source / "annotations.csv"), "a") as file:
        file.write("crowd.JPG,30,2,11,22,0\n")
    Image.new("RGB", (40, 30)).save(str(source / "ShelfImages" / "train" / "crowd.JPG"))
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "train" / "bare.png"))
    options = {"bad_boxes": "drop", "empty_images": "leave-out"}
    checked = dataset.check(dataset.find(source), ONE_CLASS, **options)
    assert len(checked.labelled) == 3
    assert sorted(set(checked.images) - {image.filename for image in checked.labelled}) == [
        "crowd.JPG"
    ]


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
    source = spoiled_dataset(tmp_path / "source")
    with pytest.raises(UserError) as refused:
        dataset.check(dataset.find(source), ONE_CLASS)
    first, missing, broken, unannotated = str(refused.value).split("\n")
    assert first.endswith("annotations.csv: 3 problems")
    assert "14 of 28 annotated images do not exist: C1_P01_N3_S2_1.JPG (line 1), " in missing
    assert "C1_P01_N12_S2_1.JPG (line 10) and 4 more" in missing
    assert "C1_P01_N29_S2_1.JPG: cannot be decoded to its end" in broken
    assert "1 of 15 images has no box: test/new one.png" in unannotated


def alone(found):
    """Groups of images that have none but the shelf that their name states."""
    shelves = {name: splits.shelf(name) for name in dataset.all_images(found)}
    return groups.Groups(shelves, [], [], [])


def test_images_without_folders_are_divided_by_shelf_with_a_seed():
    names = [f"C1_P01_N{rank}_S2_{copy}.JPG" for rank in range(1, 11) for copy in (1, 2)]
    found = {"all": {name: pathlib.Path(name) for name in names}}
    first = dataset.divide(found, set(names), 0.2, 0, alone(found))
    assert first == dataset.divide(found, set(names), 0.2, 0, alone(found))
    assert first != dataset.divide(found, set(names), 0.2, 1, alone(found))
    assert len(first["test"]) == 4  # 20 % of 20
    shelves = {name[: -len("_1.JPG")] for name in first["test"]}
    assert {f"{shelf}_{copy}.JPG" for shelf in shelves for copy in (1, 2)} == set(first["test"])


def test_folders_left_without_images_are_refused():
    found = {"train": {"a.jpg": pathlib.Path("a.jpg")}, "test": {"b.jpg": pathlib.Path("b.jpg")}}
    assert dataset.divide(found, {"a.jpg", "b.jpg"}, 0.2, 0, alone(found)) == found
    with pytest.raises(UserError, match="no image is left in test"):
        dataset.divide(found, {"a.jpg"}, 0.2, 0, alone(found))


@pytest.mark.parametrize(
    "images, text",
    [
        ({"train": 283, "test": 71}, "with its official split: 283 train, 71 test"),
        ({"train": 284, "test": 70}, "284 train and 70 test images; the Grocery Dataset has 283"),
        ({"all": 354}, "without its train/ and test/"),
        ({"train": 253, "val": 30, "test": 71}, "with another split than its official one"),
        ({"train": 282, "test": 71}, None),
    ],
)
def test_the_grocery_dataset_is_recognised(images, text):
    names = iter(GROCERY_NAMES)
    found = {
        folder: {next(names): pathlib.Path("x") for _ in range(count)}
        for folder, count in images.items()
    }
    is_it = dataset.is_grocery_dataset(dataset.all_images(found), [])
    assert is_it == (text is not None)
    if text:
        assert text in (dataset.grocery_problem(found) or dataset.grocery_note(found))


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
            "holds no images, but annotations.csv; expected train/ and test/",
        ),
        (
            lambda source: shutil.rmtree(str(source / "ShelfImages" / "test")),
            r"1 of 3 annotated images does not exist: C1_P01_N2_S2_1.JPG \(line 3\)",
        ),
        (
            lambda source: (source / PLACED[0]).unlink(),
            r"holds train/ \(2 images\) and no image in test/;",
        ),
        (
            lambda source: (source / "annotations.csv").unlink(),
            "holds no annotations, but ShelfImages; expected one of: Grocery Dataset, ",
        ),
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
            "3 of 3 images have no box|expected no header",
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
        dataset.check(dataset.find(source), ONE_CLASS)


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
    title = formats.FORMATS["csv"].title
    assert f"mine.csv ({title}), sha256" in capsys.readouterr().out
    fetch("--from", source, "--annotations", source / "mine.csv", "--format", "csv")
    assert "all in place" in capsys.readouterr().out


def test_an_incomplete_dataset_is_not_put_in_place(fetch, tmp_path, capsys):
    source = spoiled_dataset(tmp_path / "source")
    with pytest.raises(UserError) as refused:
        fetch("--from", source)
    text = str(refused.value)
    assert "annotations.csv: 3 problems\n  14 of 28 annotated images do not exist" in text
    assert (
        text.endswith("Nothing was put into place.")
        and "--empty-images keep (make: EMPTY_IMAGES=keep) if they" in text
    )
    assert not (tmp_path / "out").exists()
    out = fetch("--from", source, "--allow-missing")
    assert "13 of them are used, with 13 boxes" in capsys.readouterr().out
    assert len(listing(out)) == 14 and "ShelfImages/test/new one.png" not in listing(out)


def test_empty_images_are_put_in_place_where_they_are_kept(fetch, tmp_path, capsys):
    source = draw_dataset(tmp_path / "source")
    Image.new("RGB", (9, 9)).save(str(source / "ShelfImages" / "train" / "bare.png"))
    assert listing(fetch("--from", source, "--empty-images", "leave-out")) == PLACED
    with pytest.raises(
        UserError, match="val: 1 image without any box .bare.png.; .*another --seed"
    ):
        fetch("--from", source, "--empty-images", "keep")
    for options in (), ("--allow-missing",):
        out = fetch("--from", source, "--empty-images", "keep", "--seed", 2, *options)
        assert "ShelfImages/train/bare.png" in listing(out)
        assert "kept, showing no product" in capsys.readouterr().out


def coco(source, names, boxes=((1, 2, 10, 20),)):
    """Writes COCO's JSON with ``boxes`` for each of ``names``."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    entries = [{"image_id": image["id"], "bbox": box} for image in images for box in boxes]
    annotations = [dict(entry, id=n, category_id=1) for n, entry in enumerate(entries)]
    categories = [{"id": 1, "name": "product"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (source / "annotations.json").write_text(json.dumps(content))


FLAT = tuple(f"{number}.jpg" for number in range(8))


@pytest.fixture
def flat(tmp_path):
    """Draws images into one folder, with COCO's JSON for them, and returns the folder."""

    def draw(names, annotated=None):
        source = tmp_path / "source"
        for number, name in enumerate(names):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (number * 9, 99, 0)).save(str(source / name), "JPEG")
        coco(
            source,
            [pathlib.PurePath(name).name for name in names] if annotated is None else annotated,
        )
        return source

    return draw


def test_validation_images_stay_validation_images(fetch, script, flat, tmp_path, capsys):
    names = [f"Train/{n}.jpg" for n in range(4)] + ["valid/v.jpg", "valid/w.jpg", "test/t.jpg"]
    out = fetch("--from", flat(names))
    printed = capsys.readouterr().out
    assert "found 4 train, 2 val and 1 test images" in printed
    assert listing(out / "ShelfImages" / "val") == ["v.jpg", "w.jpg"]
    script("02_split_annotations").main(["--images", str(out), "--out", str(tmp_path / "labels")])
    printed = capsys.readouterr().out
    assert "train    4 images" in printed and "val      2 images" in printed
    assert "none is taken out of train/" in printed
    text = (tmp_path / "labels" / "val_labels.csv").read_text()
    assert "v.jpg" in text and "w.jpg" in text


def test_images_in_other_folders_are_named(fetch, flat, capsys):
    fetch("--from", flat((*FLAT, "more/x.jpg"), annotated=FLAT))
    assert "not used: 1 image in other folders" in capsys.readouterr().out
    with pytest.raises(
        UserError, match="1 of 9 annotated images is there but cannot be used: x.jpg is in more/"
    ):
        fetch("--from", flat((*FLAT, "more/x.jpg")))


def test_versions_of_one_image_are_on_one_side(fetch, flat, capsys):
    names = [f"{n}_jpg.rf.{hash_ * 32}.jpg" for n in range(6) for hash_ in "ab"]
    out = fetch("--from", flat(names))
    assert "12 images in 6 groups are versions of one image" in capsys.readouterr().out
    sources = {
        side: {name.split("_")[0] for name in listing(out / "ShelfImages" / side)}
        for side in ("train", "test")
    }
    assert len(sources["test"]) == 2 and not sources["train"] & sources["test"]


def test_names_of_images_are_matched_in_step_01_too(fetch, flat, capsys):
    fetch("--from", flat(FLAT, annotated=("0.JPG", "1.webp", *FLAT[2:])))
    assert "2 annotated names differ" in capsys.readouterr().out


def test_an_image_of_another_kind_is_named_with_its_kind(fetch, flat):
    source = flat(FLAT, annotated=(*FLAT, "x.webp"))
    (source / "x.webp").write_bytes(b"RIFF")
    with pytest.raises(
        UserError, match="x.webp is WebP, which TensorFlow does not decode: convert"
    ):
        fetch("--from", source)


@pytest.mark.parametrize("spoil", ["box", "size of validation", "no box in test"])
def test_what_step_02_would_refuse_replaces_nothing(fetch, flat, tmp_path, spoil):
    out = fetch("--from", draw_dataset(tmp_path / "old"))
    before = listing(out)
    options = []
    source = flat([f"train/{n}.jpg" for n in range(5)] + ["test/t.jpg"])
    names = [*FLAT[:5], "t.jpg"]
    if spoil == "box":
        coco(source, names, [(1, 2, -10, 20)])
    if spoil == "size of validation":
        options = ["--val-share", "0.99"]
    if spoil == "no box in test":
        coco(source, names[:5])
        options = ["--empty-images", "keep"]
    with pytest.raises(UserError, match="Nothing was put into place"):
        fetch("--from", source, *options)
    assert listing(out) == before


def test_step_02_refuses_an_incomplete_dataset_as_step_01_does(
    script, fetch, tmp_path, monkeypatch
):
    source = draw_dataset(tmp_path / "source")
    images = sorted((source / "ShelfImages" / "train").iterdir())
    monkeypatch.setattr(dataset, "GROCERY_TRAIN", len(images))
    monkeypatch.setattr(dataset, "GROCERY_TEST", 1)
    out = fetch("--from", source)
    (out / "ShelfImages" / "train" / images[0].name).unlink()
    step_02 = ["--images", str(out), "--out", str(tmp_path / "labels")]
    expected = "1 train and 1 test images; the Grocery Dataset has 2 and 1"
    with pytest.raises(UserError, match=expected):
        script("02_split_annotations").main(step_02)
    assert not (tmp_path / "labels").exists()


def test_images_that_were_put_by_hand_where_step_02_reads_are_found(fetch, tmp_path, capsys):
    out = tmp_path / "out"
    drawn = draw_dataset(tmp_path / "drawn")
    shutil.copytree(str(drawn / "ShelfImages"), str(out))
    shutil.copy(str(drawn / "annotations.csv"), str(out))
    fetch()
    assert "verifying what is in" in capsys.readouterr().out
    assert set(PLACED) < set(listing(out))
    Image.new("RGB", (40, 30), (1, 2, 3)).save(str(out / "train" / "more.JPG"))
    with open(str(out / "annotations.csv"), "a") as file:
        file.write("more.JPG,1,2,11,22,0\n")
    fetch()  # the folder itself, and not the links that were made from it
    assert "ShelfImages/train/more.JPG" in listing(out)


def test_one_json_file_in_annotations_by_hand(fetch, script, tmp_path, capsys):
    out = tmp_path / "out"
    drawn = draw_dataset(tmp_path / "drawn", csv=False)
    shutil.copytree(str(drawn / "ShelfImages"), str(out))
    (out / "annotations").mkdir()
    coco(out, [pathlib.PurePath(name).name for name in PLACED[:3]])
    (out / "annotations.json").rename(out / "annotations" / "instances_default.json")
    for _ in range(2):
        fetch()
        assert (out / "annotations.json").is_symlink()
        assert (out / "annotations" / "instances_default.json").is_file()
    labels = tmp_path / "labels"
    script("02_split_annotations").main(["--images", str(out), "--out", str(labels)])
    assert "instances_default.json (COCO JSON)" in capsys.readouterr().out


def test_images_by_hand_beside_a_dataset_in_place_need_a_choice(fetch, tmp_path):
    out = fetch("--from", draw_dataset(tmp_path / "source"))
    Image.new("RGB", (9, 9)).save(str(tmp_path / "mine.png"))
    for side in ("train", "test"):
        (out / side).mkdir()
        shutil.copy(str(tmp_path / "mine.png"), str(out / side / f"{side}.png"))
    with pytest.raises(UserError, match="several places.*out .2 images., .*ShelfImages .3 images"):
        fetch()
    assert layout.find_divided(out).root == out / "ShelfImages"


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
    assert "354 of them are used, with 13184 boxes" in printed


def test_the_full_size_photographs_are_too_few(fetch, shelf_data_original, capsys):
    with pytest.raises(
        UserError,
        match="10 train and 6 test images; the Grocery Dataset has 283 and 71(.|\n)*338 of 354",
    ):
        fetch("--from", shelf_data_original)
    fetch("--from", shelf_data_original, "--allow-missing")
    assert "2 images have an EXIF orientation (orientation 3: 2)" in capsys.readouterr().out
