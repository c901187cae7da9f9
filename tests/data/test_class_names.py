"""data.yaml and lists of class names: where they are found, what they hold, what is refused."""

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.data.formats import class_names

ROBOFLOW = """\
train: ../train/images
val: ../valid/images
test: ../test/images

nc: 2
names: ['can', 'no']

roboflow:
  workspace: shelves
  version: 3
"""


def yaml_of(tmp_path, content):
    return write_file(tmp_path / "data.yaml", content)


def message_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


def test_data_yaml_of_roboflow(tmp_path):
    found = class_names.read(yaml_of(tmp_path, ROBOFLOW))
    assert found.names == {0: "can", 1: "no"}  # not YAML's "no", which is false
    assert found.image_folders == {
        "train": ["../train/images"],
        "val": ["../valid/images"],
        "test": ["../test/images"],
    }
    assert found.root == "" and found.keypoints == 0


def test_data_yaml_of_ultralytics(tmp_path):
    content = "path: C:\\shelves # root\ntrain: [images/a, images/b]\nval: images/c\ntest:\n"
    content += "names:\n  0: can\n  2: 7up\n"
    found = class_names.read(yaml_of(tmp_path, content))
    assert found.names == {0: "can", 2: "7up"} and found.root == "C:\\shelves"
    assert found.image_folders == {"train": ["images/a", "images/b"], "val": ["images/c"]}


@pytest.mark.parametrize(
    "content, names",
    [
        ("nc: 2\ntrain: x\n", {0: "0", 1: "1"}),
        ("names: [can]\n", {0: "can"}),
        ("names: {'0': can}\n", {0: "can"}),
        ("\ufeffnames:\r\n- Käse\r\n- 1\r\n", {0: "Käse", 1: "1"}),
    ],
)
def test_variants_of_names(tmp_path, content, names):
    assert class_names.read(yaml_of(tmp_path, content)).names == names


@pytest.mark.parametrize(
    "content, expected",
    [
        ("names: [can\ntrain: x\n", "data.yaml: line 2: is no YAML ("),
        ("train: x\n", "data.yaml: holds the keys train; expected `names:` with the classes"),
        ("- can\n", "data.yaml: holds '['can']'; expected `names:`"),
        ("", "data.yaml: holds nothing; expected `names:`"),
        ("names: can\n", "names is 'can'; expected a list of the classes"),
        ("names: {a: can}\n", "expected a list of the classes, or their numbers from 0"),
        ("names: [[can]]\n", "expected a list of the classes"),
        ("nc: two\n", "nc is 'two'; expected how many classes there are"),
        ("nc: 3\nnames: [can, box]\n", "nc is '3', and names has 2 classes: can, box; expected"),
        ("names: [can]\nkpt_shape: 17\n", "kpt_shape is '17'; expected two whole numbers"),
        ("names: [can]\n".encode("utf-16"), "data.yaml: is UTF-16 text"),
    ],
)
def test_bad_data_yaml(tmp_path, content, expected):
    message = message_of(class_names.read, yaml_of(tmp_path, content))
    assert expected in message and "\n" not in message


def test_a_list_of_names(tmp_path):
    path = write_file(tmp_path / "classes.txt", "\ufeffcan\r\n\r\nbottle of water \r\n\n\n")
    assert class_names.read(path).names == {0: "can", 1: "", 2: "bottle of water"}
    assert class_names.read(write_file(tmp_path / "obj.names", "")).names == {}


@pytest.mark.parametrize(
    "folder, files, expected",
    [
        ("labels/train", ["data.yaml", "labels/train/classes.txt"], "data.yaml"),
        ("train/labels", ["data.yaml"], "data.yaml"),
        ("train/labels", ["train/labels/classes.txt"], "train/labels/classes.txt"),
        ("labels", ["Dataset.YAML", "classes.txt"], "Dataset.YAML"),
        ("labels", ["shelves.yaml"], "shelves.yaml"),
        ("labels", ["data.yaml", "shelves.yaml"], "data.yaml"),
        ("obj_train_data", ["obj_train_data/obj.names"], "obj_train_data/obj.names"),
        ("train", ["train/_darknet.labels"], "train/_darknet.labels"),
        ("labels", ["labels/shelf.names"], "labels/shelf.names"),
        ("shelves", ["data.yaml", "classes.txt"], None),  # not its own
        ("labels", ["labels/.data.yaml", "labels/notes.txt"], None),
    ],
)
def test_where_names_are_found(tmp_path, folder, files, expected):
    (tmp_path / folder).mkdir(parents=True)
    for name in files:
        write_file(tmp_path / name, "names: [can]\ntrain: x\n")
    found = class_names.find(tmp_path / folder)
    assert found == (expected and tmp_path / expected)


def test_yaml_of_another_kind_is_no_data_yaml(tmp_path):
    write_file(tmp_path / "docker-compose.yaml", "services: {}\n")
    write_file(tmp_path / "broken.yaml", "names: [\n")
    assert class_names.find_yaml(tmp_path) is None
    for name in ("a.yaml", "b.yml"):
        write_file(tmp_path / name, ROBOFLOW)
    message = message_of(class_names.find_yaml, tmp_path)
    assert "several files with class names: a.yaml, b.yml; expected one" in message
