"""Folders as YOLO's tools, labelme and Supervisely lay them out, through steps 01 and 02."""

import hashlib
import json
import re

import pytest
from annotation_samples import write_file
from PIL import Image

from shelfdet import UserError
from shelfdet.data import dataset
from shelfdet.data.formats import labelme, yolo
from shelfdet.data.formats.image_boxes import BoxRow, ImageBoxes

SIZE_WH = (100, 80)
BOX = (10, 20, 30, 60)
SPLITS = {"train": ("a.jpg", "b.jpg"), "val": ("v.jpg",), "test": ("t.jpg",)}
YAML = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['can']\n"


def image_of(name):
    return ImageBoxes(name, "", SIZE_WH, [BoxRow("", "can", BOX)])


def yolo_text(name):
    return yolo.text_of(image_of(name), ["can"])


def supervisely_text(name):
    points = {"exterior": [[BOX[0], BOX[1]], [BOX[2], BOX[3]]], "interior": []}
    rectangle = {"classTitle": "can", "geometryType": "rectangle", "points": points}
    size = {"width": SIZE_WH[0], "height": SIZE_WH[1]}
    return json.dumps({"description": "", "tags": [], "size": size, "objects": [rectangle]})


def draw(path):
    # Colours far apart, of the file's own folder and name: JPEG stores similar ones as one, and
    # images of one colour count as one.
    colour = hashlib.md5("/".join(path.parts[-2:]).encode()).digest()[:3]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE_WH, tuple(colour)).save(str(path))
    return path


@pytest.fixture
def source(tmp_path):
    """Lays out the images of SPLITS and a file of annotations each; returns their folder.

    image, labels: the folder of a split's images and of its annotations; {} is the split.
    name: of the split in these. files: further files.
    """

    def write(image, labels, suffix=".txt", text=yolo_text, name=str, splits=SPLITS, **files):
        folder = tmp_path / "source"
        for split, images in splits.items():
            for filename in images:
                draw(folder / image.format(name(split)) / filename)
                stem = filename[: -len(".jpg")]
                write_file(folder / labels.format(name(split)) / (stem + suffix), text(filename))
        for path, content in files.items():
            write_file(folder / path, content)
        return folder

    return write


@pytest.fixture
def labels_of(script, tmp_path):
    """Runs steps 01 and 02 with ``options``; returns split to the rows of its label file."""

    def run(folder, *options, of_step_01=()):
        out, labels = tmp_path / "out", tmp_path / "labels"
        script("01_fetch_dataset").main(
            ["--from", str(folder), "--out", str(out), *options, *of_step_01]
        )
        script("02_split_annotations").main(["--images", str(out), "--out", str(labels), *options])
        files = {split: labels / f"{split}_labels.csv" for split in SPLITS}
        return {split: path.read_text().splitlines()[1:] for split, path in files.items()}

    return run


def rows(**splits):
    return {
        split: [f"{name},100,80,product,10,20,30,60" for name in names]
        for split, names in splits.items()
    }


def message_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


CAPITALS = {"train": "Train", "val": "Validation", "test": "TEST"}
ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}


@pytest.mark.parametrize(
    "layout",
    [
        {"image": "images/{}", "labels": "labels/{}", "data.yaml": "names: {0: can}\n"},
        {"image": "{}/images", "labels": "{}/labels", "name": ROBOFLOW.get, "data.yaml": YAML},
        {"image": "Images/{}", "labels": "Labels/{}", "name": CAPITALS.get},
        {"image": "{}/Images", "labels": "{}/Labels", "name": CAPITALS.get, "Data.YAML": YAML},
        {"image": "{}", "labels": "{}", "name": ROBOFLOW.get, "train/_darknet.labels": "can\n"},
        {"image": "{}", "labels": "labels/{}", "labels/classes.txt": "can\n"},
        {
            "image": "{}",
            "labels": "{}",
            "train/classes.txt": "can\n",
            "test/classes.txt": "can\n\n",
            "test/README.txt": "Labelled in 2024\n",
        },
        {"image": "obj_{}_data", "labels": "obj_{}_data", "obj.names": "can\n", "train.txt": "a\n"},
        {"image": "{}", "labels": "{}", "suffix": ".json", "text": lambda n: labelme_text(n)},
        {
            "image": "images/{}",
            "labels": "annotations/{}",
            "suffix": ".json",
            "text": lambda n: labelme_text(n, "..\\\\images\\\\"),
        },
        {
            "image": "{}/img",
            "labels": "{}/ann",
            "suffix": ".jpg.json",
            "text": supervisely_text,
            "meta.json": '{"classes": [{"title": "can", "shape": "rectangle"}], "tags": []}',
        },
    ],
)
def test_layouts_with_splits(source, labels_of, layout):
    found = labels_of(source(**layout))
    assert found == rows(train=["a.jpg", "b.jpg"], val=["v.jpg"], test=["t.jpg"])


def labelme_text(name, folder=""):
    return labelme.text_of(image_of(name)).replace(f'"{name}"', f'"{folder}{name}"')


@pytest.mark.parametrize(
    "layout, title",
    [
        ({"image": "images", "labels": "labels", "classes.txt": "can\n"}, "YOLO labels"),
        ({"image": ".", "labels": ".", "classes.txt": "can\n"}, "YOLO labels"),
        ({"image": ".", "labels": ".", "README.txt": "2 of 3\n"}, "YOLO labels"),
        ({"image": ".", "labels": ".", "suffix": ".json", "text": labelme_text}, "labelme JSON"),
        (
            {
                "image": "dataset 1/img",
                "labels": "dataset 1/ann",
                "suffix": ".jpg.json",
                "text": supervisely_text,
                "meta.json": '{"classes": [], "tags": []}',
            },
            "Supervisely JSON",
        ),
    ],
)
def test_layouts_of_one_folder(source, labels_of, capsys, layout, title):
    names = tuple("abcdefghij")
    folder = source(splits={"all": [f"{name}.jpg" for name in names]}, **layout)
    found = labels_of(folder)
    assert (
        sorted(row for split in found.values() for row in split)
        == (rows(all=[f"{name}.jpg" for name in names])["all"])
    )
    printed = capsys.readouterr().out
    assert f"annotations: 10 files of {title} in {folder}" in printed
    assert "divided into 8 train and 2 test images" in printed
    assert re.search(rf"annotations: 10 files of {title} in .*/out/annotations\b", printed)


@pytest.mark.parametrize("named", ["data.yaml", "train", "train/images"])
def test_a_part_of_the_dataset_by_name(source, labels_of, named):
    folder = source("{}/images", "{}/labels", name=ROBOFLOW.get, **{"data.yaml": YAML})
    for name in "cdefg":
        draw(folder / "train" / "images" / f"{name}.jpg")
        write_file(folder / "train" / "labels" / f"{name}.txt", yolo_text("x.jpg"))
    found = labels_of(folder / named)
    count = 9 if named == "data.yaml" else 7
    assert sum(len(split) for split in found.values()) == count
    options = ("--annotations", str(folder / "data.yaml"))
    assert labels_of(folder, of_step_01=options)["test"] == rows(test=["t.jpg"])["test"]


def test_the_folder_of_images_of_a_supervisely_dataset(source, labels_of):
    names = [f"{name}.jpg" for name in "abcdefghij"]
    folder = source("ds/img", "ds/ann", ".jpg.json", supervisely_text, splits={"all": names})
    found = labels_of(folder / "ds" / "img")
    assert sum(len(split) for split in found.values()) == 10


def test_the_format_and_the_folder_of_labels_by_name(source, labels_of):
    folder = source("images/{}", "yolo/{}", **{"yolo/classes.txt": "can\n"})
    options = ("--annotations", str(folder / "yolo"), "--format", "yolo")
    found = labels_of(folder, of_step_01=options)
    assert found["test"] == rows(test=["t.jpg"])["test"]


# --- data.yaml ---


@pytest.mark.parametrize(
    "stated, note",
    [
        (
            "train: ../train/images\nval: ../valid/images\n",
            "data.yaml: read by the last parts of its path, since no such folder exists: train "
            "'../train/images' as train/images, val '../valid/images' as valid/images\n",
        ),
        (
            "path: /content/shelf\ntrain: train/images\nval: valid/images\n",
            "data.yaml: path '/content/shelf' does not exist; its own folder is taken for it\n",
        ),
        ("path: .\ntrain: train/images\nval: valid/images\n", ""),
        ("train: /content/x/train/images\nval: valid\n", "'/content/x/train/images' as train/im"),
        ("train: C:\\x\\train\\images\nval: valid\n", "as train/images\n"),
        (
            "train: train/images\nval: gone/images\n",
            "data.yaml: no such folder: val 'gone/images'; read in its place, by name: "
            "valid/images (1 image)\n",
        ),
        (
            "train: train/images\nval: val.txt\n",
            "data.yaml: no such folder: val 'val.txt'; read in its place, by name: valid/images (1",
        ),
        (
            "train: ../TRAIN/photos\nval: valid/images\n",
            "data.yaml: no such folder: train '../TRAIN/photos'; read in its place, by name: "
            "train/images (2 images)\n",
        ),
        (
            "train: train/images\nval: [valid/images, gone]\n",
            "data.yaml: no such folder: val 'gone'; its other folders are read\n",
        ),
        (
            "train: train/images\nval: train/images\n",
            "data.yaml: used once, since another split has the same folder: val 'train/images'\n",
        ),
    ],
)
def test_paths_in_data_yaml_that_are_of_another_machine(source, labels_of, capsys, stated, note):
    folder = source("{}/images", "{}/labels", name=ROBOFLOW.get)
    write_file(folder / "data.yaml", stated + "names: [can]\n")
    assert labels_of(folder) == rows(train=["a.jpg", "b.jpg"], val=["v.jpg"], test=["t.jpg"])
    assert note in capsys.readouterr().out


def test_a_split_of_data_yaml_without_any_folder(source, labels_of, capsys):
    folder = source("{}/images", "{}/labels", name=ROBOFLOW.get, **{"data.yaml": YAML})
    for part in ("images", "labels"):
        for path in (folder / "test" / part).iterdir():
            path.unlink()
        (folder / "test" / part).rmdir()
    (folder / "test").rmdir()
    labels_of(folder)
    assert (
        "data.yaml: no such folder: test '../test/images'; no folder is read in its place, since "
        "none is named after test\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["shop_a/{}", "images/shop_{}"])
def test_folders_of_data_yaml_that_nothing_can_replace(tmp_path, labels_of, name):
    """To divide all images anew would mix those that data.yaml keeps apart."""
    folder = tmp_path / "shelves"
    for number in (1, 2):
        draw(folder / name.format(number) / f"{number}.jpg")
        write_file(folder / name.format(number) / f"{number}.txt", "0 .5 .5 .2 .2\n")
    write_file(folder / "data.yaml", "names: [can]\ntrain: ../train/images\nval: val.txt\n")
    write_file(folder / "val.txt", "images/1.jpg\n")
    message = message_of(labels_of, folder)
    assert (
        f"{folder / 'data.yaml'}: names folders that do not exist: train '../train/images', val "
        "'val.txt' (a file; expected a folder), and of the folders that hold images ("
        f"{name.format(1)}, {name.format(2)}) none is named after a split. Expected" in message
    )
    write_file(folder / "data.yaml", "names: [can]\n")
    assert set(dataset.find(folder).layout.images["all"]) == {"1.jpg", "2.jpg"}


def test_a_folder_without_images_says_what_data_yaml_names(tmp_path, labels_of):
    write_file(tmp_path / "shelves" / "data.yaml", YAML)
    message = message_of(labels_of, tmp_path / "shelves")
    assert "holds no images, but data.yaml" in message
    assert "data.yaml names folders that do not exist: train '../train/images'" in message


def test_a_folder_outside_that_of_data_yaml_is_named(source, labels_of, tmp_path, capsys):
    folder = source("{}/images", "{}/labels", name=ROBOFLOW.get)
    (folder / "test").rename(tmp_path / "held out")
    paths = "train: train/images\nval: valid/images\ntest: ../held out/images\n"
    write_file(folder / "data.yaml", paths + "names: [can]\n")
    with pytest.raises(UserError):  # its labels are elsewhere
        labels_of(folder)
    assert (
        "data.yaml: read as written, outside of its own folder: test '../held out/images' "
        f"({tmp_path / 'held out' / 'images'})"
    ) in capsys.readouterr().out


def test_folders_that_data_yaml_alone_names(source, labels_of):
    places = {"train": "shop 1", "val": "shop 2", "test": "shop 3"}
    folder = source("images/{}", "labels/{}", name=places.get)
    paths = ["train: [images/shop 1]", "val: images/shop 2", "test: ./images/shop 3/"]
    write_file(folder / "shelves.yaml", "\n".join(paths + ["names: [can]", ""]))
    assert labels_of(folder) == rows(train=["a.jpg", "b.jpg"], val=["v.jpg"], test=["t.jpg"])


def test_a_dataset_of_the_same_names_beside_this_one_is_not_read(source, labels_of, tmp_path):
    """../train/images of Roboflow's data.yaml can exist by accident."""
    folder = source("{}/images", "{}/labels", name=ROBOFLOW.get, **{"data.yaml": YAML})
    draw(tmp_path / "train" / "images" / "other.jpg")
    assert labels_of(folder)["train"] == rows(train=["a.jpg", "b.jpg"])["train"]


# --- mistakes ---


def spoil_label(path, text):
    return lambda folder: write_file(folder / "labels" / path, text)


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (
            spoil_label("train/a.txt", "1 .5 .5 .2 .2\n"),
            "a.txt: line 1: class is 1, which {}/data.yaml does not have; expected one of its 1",
        ),
        (
            spoil_label("train/a.txt", "0 1.3 .5 .2 .2\n"),
            "a.txt: line 1: '0 1.3 .5 .2 .2' is outside the image, 100 x 80; expected it inside",
        ),
        (
            spoil_label("train/a.txt", "0 .5 .5 -.2 .2\n"),
            "a.txt: line 1: '0 .5 .5 -.2 .2' is inver",
        ),
        (spoil_label("train/a.txt", "0 .5 .5 .2 0\n"), "a.txt: line 1: '0 .5 .5 .2 0' is without"),
        (
            lambda folder: [
                path.write_text(path.read_text().replace("0 ", "can ", 1))
                for path in (folder / "labels").rglob("*.txt")
            ],
            "b.txt: line 1 and 1 more: class is 'can'; expected the number of a class from 0",
        ),
        (spoil_label("train/a.txt", "0 .5 .5 .2\n"), "a.txt: line 1: is '0 .5 .5 .2'; expected"),
        (
            lambda folder: [
                spoil_label(f"{split}/{name[0]}.txt", "0 50 40 20 20\n")(folder)
                for split, names in SPLITS.items()
                for name in names
            ],
            "4 boxes in 4 of 4 images with boxes look like pixels (labels/test/t.txt: line 1: ",
        ),
        (
            spoil_label("train/a.txt", ""),
            "1 of 4 images has no box: images/train/a.jpg. Expected at least one on every image",
        ),
        (
            lambda folder: (folder / "labels/train/a.txt").unlink(),
            "1 of 4 images has no box: images/train/a.jpg (not in the annotations). Expected",
        ),
        (
            spoil_label("train/gone.txt", "0 .5 .5 .2 .2\n"),
            "1 of 5 annotated images does not exist: gone (labels/train/gone.txt). Expected every",
        ),
        (
            lambda folder: draw(folder / "images" / "test" / "a.jpg"),
            "train/a.jpg and test/a.jpg have the same name; expected every name once",
        ),
        (
            lambda folder: [
                draw(folder / "images" / "test" / "a.png"),
                write_file(folder / "labels" / "test" / "a.txt", "0 .5 .5 .2 .2\n"),
            ],
            "labels/train/a.txt have the same name; expected each once. Rename one, together with",
        ),
        (
            lambda folder: draw(folder / "images" / "train" / "a.png"),
            "a.txt: a.jpg and a.png differ in their suffix alone, so that this file is of both",
        ),
        (
            lambda folder: write_file(folder / "data.yaml", "names: [can\n"),
            "data.yaml: line 2: is no YAML",
        ),
        (
            lambda folder: [
                path.write_bytes(path.read_text().encode("utf-16"))
                for path in (folder / "labels").rglob("*.txt")
            ],
            "is UTF-16 text",
        ),
        (
            lambda folder: [path.unlink() for path in (folder / "labels").rglob("*.txt")],
            "holds no annotations, but data.yaml, images, labels; expected one of: Grocery",
        ),
        (
            lambda folder: write_file(folder / "annotations.csv", "a.jpg,1,2,30,40,7\n"),
            "several annotations: ",
        ),
    ],
)
def test_mistakes_in_label_files(source, labels_of, tmp_path, spoil, expected):
    folder = source("images/{}", "labels/{}", **{"data.yaml": "names: [can]\n"})
    spoil(folder)
    message = message_of(labels_of, folder)
    assert expected.format(folder) in message
    assert not (tmp_path / "out" / "ShelfImages").exists()


def test_a_truncated_file_beside_whole_ones(source, labels_of):
    folder = source("{}", "{}", suffix=".json", text=labelme_text)
    for name in ("train/a.json", "test/t.json"):
        path = folder / name
        path.write_text(path.read_text()[:-40])
    message = message_of(labels_of, folder)
    assert "a.json: is no complete JSON (" in message and "t.json: is no complete" in message


def test_shares_are_of_the_turned_image_where_labels_were_drawn_on_it(source, labels_of):
    folder = source("images/{}", "labels/{}", **{"data.yaml": "names: [can]\n"})
    path = folder / "images" / "train" / "a.jpg"
    with Image.open(str(path)) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # rotated by a quarter
        image.save(str(path), exif=exif)
    assert labels_of(folder)["train"][0] == "a.jpg,100,80,product,10,20,30,60"
    assert labels_of(folder, "--exif", "apply")["train"][0] == "a.jpg,80,100,product,8,25,24,75"


def test_lists_of_classes_that_differ(source, labels_of):
    lists = {"train/classes.txt": "can\nbox\n", "test/classes.txt": "box\ncan\n"}
    message = message_of(labels_of, source("{}", "{}", **lists))
    assert (
        "test/classes.txt: names the classes box, can, and " in message
        and "expected the same in both" in message
    )


def test_boxes_that_are_left_out_are_counted(source, labels_of, capsys):
    folder = source("{}", "{}", suffix=".json", text=labelme_text)
    path = folder / "train" / "a.json"
    content = json.loads(path.read_text())
    content["shapes"] += [
        dict(content["shapes"][0], shape_type="line"),
        dict(content["shapes"][0], shape_type="line"),
        dict(content["shapes"][0], shape_type="point"),
    ]
    path.write_text(json.dumps(content))
    assert labels_of(folder)["train"] == rows(train=["a.jpg", "b.jpg"])["train"]
    printed = capsys.readouterr().out
    assert "lines were left out, which are no boxes (2): train/a.json: shapes[1], train" in printed
    assert "points were left out, which are no boxes (1): train/a.json: shapes[3]" in printed
    content["shapes"] += [content["shapes"][1]] * 9
    path.write_text(json.dumps(content))
    labels_of(folder)
    of_image = "lines were left out, which are no boxes (11) in 1 image: train/a.jpg (11)\n"
    assert of_image in capsys.readouterr().out
    content["shapes"] = content["shapes"][1:2]
    path.write_text(json.dumps(content))
    assert "1 of 4 images has no box: train/a.jpg" in message_of(labels_of, folder)


def test_bad_boxes_may_be_dropped(source, labels_of, capsys):
    folder = source("images/{}", "labels/{}", **{"data.yaml": "names: [can]\n"})
    path = folder / "labels" / "train" / "a.txt"
    path.write_text(path.read_text() + "0 1.4 .5 .2 .2\n0 .5 .5 -.2 .2\n")
    found = labels_of(folder, "--bad-boxes", "drop")
    assert found["train"] == rows(train=["a.jpg", "b.jpg"])["train"]
    assert "2 boxes were dropped as inverted, without area or outside the image: " in (
        capsys.readouterr().out
    )
