"""Annotations in a dataset's folder: which files are found, recognised, named and put in place."""

import json

import pytest
from annotation_samples import LABELS, coco, voc, write_file

from shelfdet import UserError
from shelfdet.data import annotation_files, formats
from shelfdet.data.annotation_files import Annotations

SKU = "a.jpg,1,2,30,40,object,100,80\n"
CAPTIONS = json.dumps({"images": [], "annotations": [{"id": 1, "caption": "a shelf"}]})


@pytest.fixture
def folder(tmp_path):
    """Writes files by their paths; returns their folder."""

    def write(**contents):
        return write_all(tmp_path, contents)

    def write_all(root, contents):
        for name, content in contents.items():
            write_file(root / name, content)
        return root

    write.all = lambda contents: write_all(tmp_path, contents)
    return write


def names_of(found):
    return [path.name for path in found.files]


def message_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    "contents, format, files",
    [
        ({"annotations/annotations_train.csv": SKU, "classes.csv": "a,0\n"}, "sku110k", 1),
        ({f"annotations/annotations_{s}.csv": SKU for s in ("train", "val", "test")}, "sku110k", 3),
        ({"train_labels.csv": LABELS, "test_labels.csv": LABELS}, "csv", 2),
        ({"x/y/z/boxes.tsv": LABELS.replace(",", "\t"), "README.txt": "x"}, "csv", 1),
        ({"result.json": coco(), "package.json": '{"name": "x"}', "list.json": "[]"}, "coco", 1),
        ({"Annotations/shop/a.xml": voc(), "Annotations/b.xml": voc("b.jpg")}, "voc", 2),
        ({"annotations.xml": "<annotations><image name='a.jpg'/></annotations>"}, "cvat", 1),
        ({"train.xml": "<annotations/>", "val.xml": "<annotations/>"}, "cvat", 2),
        ({"annotation.txt": "a.jpg 1 1 2 29 38 7\n", "subset.txt": "B1_N1.JPG\n"}, "grocery", 1),
    ],
)
def test_annotations_are_recognised_among_other_files(folder, contents, format, files):
    found = annotation_files.find(folder.all(contents))
    assert (found.format, len(found.files)) == (format, files)


def test_of_cocos_files_those_with_boxes_are_read(folder):
    contents = {}
    for split in ("train", "val"):
        contents[f"annotations/instances_{split}2017.json"] = coco()
        contents[f"annotations/person_keypoints_{split}2017.json"] = coco()
        contents[f"annotations/captions_{split}2017.json"] = CAPTIONS
    found = annotation_files.find(folder.all(contents))
    assert names_of(found) == ["instances_train2017.json", "instances_val2017.json"]
    assert list(found.splits().values()) == ["train", "val"]


def test_files_beside_the_images_are_found_by_the_folders_of_the_images(tmp_path, folder):
    dataset = folder.all({f"{s}/_annotations.coco.json": coco() for s in ("train", "valid")})
    found = annotation_files.find(dataset, [dataset / "train", dataset / "valid"])
    assert found.splits() == {
        dataset / "train" / "_annotations.coco.json": "train",
        dataset / "valid" / "_annotations.coco.json": "val",
    }
    target = tmp_path / "out" / found.placed_name()
    assert [path.name for path in found.placed_files(target)] == [
        "part1_train__annotations.coco.json",
        "part2_valid__annotations.coco.json",
    ]


@pytest.mark.parametrize(
    "files, splits",
    [
        (["train.csv", "val.csv"], ["train", "val"]),
        (["Annotations_TRAIN.csv", "annotations-test.csv"], ["train", "test"]),
        (["train/a.csv", "test/annotations/b.csv"], ["train", "test"]),
        (["train.csv"], []),
        (["val.csv", "test.csv"], []),
        (["train.csv", "more.csv"], []),
    ],
)
def test_a_split_is_stated_by_one_file_for_each(tmp_path, files, splits):
    annotations = Annotations("csv", [tmp_path / name for name in files])
    assert list(annotations.splits().values()) == splits


@pytest.mark.parametrize(
    "contents, expected",
    [
        (
            {"a.csv": LABELS, "b.csv": LABELS},
            ["several annotations", "a.csv (CSV of", "one a split"],
        ),
        (
            {"a.csv": LABELS, "annotations.json": coco()},
            [
                "several annotations",
                "a.csv (CSV of labelled boxes)",
                "annotations.json (COCO JSON)",
            ],
        ),
        ({"train.csv": LABELS, "train.2.csv": LABELS}, ["several annotations"]),
        ({"a.json": coco()[:-20]}, ["a.json: is no complete JSON"]),
        (
            {"train.csv": LABELS, "test.csv": LABELS.replace("a.jpg", "ä.jpg").encode("latin-1")},
            ["test.csv: line 2: byte 0xe4 is not UTF-8", "if it is none of the annotations, move"],
        ),
        ({"train.json": coco(), "val.json": coco()[:-9]}, ["val.json: is no complete JSON"]),
        ({"train.csv": LABELS, "test.csv": ""}, ["test.csv: the file is empty"]),
        (
            {"a.csv": "x,y\n1,2\n", "b.csv": ""},
            ["recognised, but a.csv, b.csv", "b.csv: the file is"],
        ),
        ({"notes.md": "x", "a.png": "x"}, ["holds no annotations, but a.png, notes.md; expected"]),
    ],
)
def test_annotations_that_only_the_user_knows(folder, contents, expected):
    message = message_of(annotation_files.find, folder.all(contents))
    for part in expected:
        assert part in message


def test_what_is_seen_is_named_up_to_ten(folder):
    contents = {f"notes{number:02}.csv": "x,y\n1,2\n" for number in range(14)}
    message = message_of(annotation_files.find, folder.all(contents))
    assert "notes08.csv, notes09.csv and 4 more; expected one of: " in message
    assert "notes10.csv" not in message
    assert all(formats.FORMATS[name].title in message for name in formats.ANNOTATION_FORMATS)
    assert "docs/data.md" in message and "--annotations" in message


def test_a_folder_may_be_named_with_and_without_its_format(folder):
    dataset = folder.all({"boxes/train.csv": LABELS, "boxes/test.csv": LABELS, "x/a.xml": voc()})
    for format in ("auto", "csv"):
        found = annotation_files.named(dataset / "boxes", format)
        assert (found.format, names_of(found)) == ("csv", ["test.csv", "train.csv"])
    assert "expected a file for --format coco" in message_of(
        annotation_files.named, dataset / "boxes", "coco"
    )
    assert annotation_files.named(dataset / "x").format == "voc"
    message = message_of(annotation_files.named, dataset / "x" / "a.xml")
    assert "is one file of Pascal VOC XML; expected the folder of these files" in message


@pytest.mark.parametrize(
    "name, content, format",
    [
        ("annotations.csv", SKU, "sku110k"),
        ("annotations.tsv", LABELS.replace(",", "\t"), "csv"),
        ("annotations.json", coco(), "coco"),
        ("annotations.xml", "<annotations/>", "cvat"),
        ("annotations.txt", "a.jpg 1 1 2 29 38 7\n", "grocery"),
        ("annotations/part1_x_train.csv", SKU, "sku110k"),
        ("annotations/a.xml", voc(), "voc"),
    ],
)
def test_placed_annotations_are_found_again(folder, name, content, format):
    dataset = folder.all({name: content})
    path = annotation_files.placed(dataset)
    assert path.name == name.split("/")[0]
    assert annotation_files.named(path).format == format
    assert annotation_files.placed(dataset, format) == path
    assert path.name in annotation_files.placed_names()
