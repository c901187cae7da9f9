"""Splits that annotations state: one file a split, as SKU-110K has, and lists of Pascal VOC."""

import pytest
from annotation_samples import voc, write_file
from PIL import Image

from shelfdet import UserError
from shelfdet.data import dataset
from shelfdet.data.classes import ONE_CLASS
from shelfdet.data.splitting import stated_splits


@pytest.fixture
def draw(tmp_path):
    """Draws images of 40 x 30 pixels by their paths in a folder, and returns the folder."""

    def draw_images(*names):
        for number, name in enumerate(names):
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (number * 9, 99, 0)).save(str(path), "JPEG")
        return tmp_path / "source"

    return draw_images


def check(source, **options):
    """What ``dataset.check`` returns for a folder, and the lines that it reports."""
    lines = []
    checked = dataset.check(dataset.find(source), ONE_CLASS, report=lines.append, **options)
    return checked, "\n".join(lines)


def names_of(by_split):
    return {split: sorted(paths) for split, paths in by_split.items()}


# --- SKU-110K ---

SKU = "{},{},object,40,30\n"


def sku110k(source, rows):
    """SKU-110K's three files; ``rows`` are split to the names of its images."""
    for split, names in rows.items():
        content = "".join(SKU.format(name, "1,2,11,22") for name in names)
        write_file(source / "annotations" / f"annotations_{split}.csv", content)


SKU_ROWS = {"train": ["train_0.jpg", "train_1.jpg"], "val": ["val_0.jpg"], "test": ["test_0.jpg"]}
SKU_IMAGES = [f"images/{name}" for names in SKU_ROWS.values() for name in names]


def test_sku110k_keeps_its_own_splits(draw, script, tmp_path, capsys):
    source = draw(*SKU_IMAGES)
    sku110k(source, SKU_ROWS)
    out = tmp_path / "out"
    script("01_fetch_dataset").main(["--from", str(source), "--out", str(out)])
    printed = capsys.readouterr().out
    assert "3 files (SKU-110K CSV)" in printed and "annotations_test.csv" in printed
    assert "divided as the annotations state it: 2 train, 1 val, 1 test" in printed
    script("02_split_annotations").main(["--images", str(out), "--out", str(tmp_path / "labels")])
    for split, names in SKU_ROWS.items():
        content = (tmp_path / "labels" / f"{split}_labels.csv").read_text()
        rows = [f"{name},40,30,product,1,2,11,22" for name in names]
        assert content.splitlines()[1:] == rows
    script("01_fetch_dataset").main(["--out", str(out)])
    assert "all in place" in capsys.readouterr().out


def test_doubled_boxes_and_boxes_out_of_the_image_follow_the_rules_of_all_formats(draw):
    source = draw(*SKU_IMAGES)
    sku110k(source, SKU_ROWS)
    path = source / "annotations" / "annotations_train.csv"
    rows = [SKU.format("train_0.jpg", box) for box in ("1,2,11,22", "30,2,45,22", "50,2,60,22")]
    path.write_text(path.read_text() + "".join(rows))
    with pytest.raises(UserError) as refused:
        check(source)
    assert "annotations_train.csv: line 5: box 50,2,60,22 is outside the image" in str(
        refused.value
    )
    assert "give --bad-boxes drop" in str(refused.value)
    checked, report = check(source, bad_boxes="drop")
    (image,) = [image for image in checked.labelled if image.filename == "train_0.jpg"]
    assert image.boxes_xyxy.tolist() == [[1, 2, 11, 22], [30, 2, 40, 22]]
    assert "dropped as equal to another" in report


def test_an_image_in_two_files_is_refused(draw):
    source = draw(*SKU_IMAGES)
    sku110k(source, {**SKU_ROWS, "val": ["val_0.jpg", "train_0.jpg"]})
    with pytest.raises(UserError, match="'train_0.jpg', of which .*expected each image once"):
        check(source)


def test_one_file_for_all_splits_divides_nothing(draw):
    source = draw(*SKU_IMAGES)
    sku110k(source, {"train": [name for names in SKU_ROWS.values() for name in names]})
    checked, report = check(source)
    assert set(checked.by_split) == {"all"} and "divided" not in report


def test_images_that_no_file_lists_are_refused_or_for_training(draw):
    source = draw(*SKU_IMAGES, "images/more.jpg")
    sku110k(source, SKU_ROWS)
    with pytest.raises(UserError, match="1 of 5 images \\w+ no box: images/more.jpg"):
        check(source)
    checked, report = check(source, empty_images="keep")
    assert "more.jpg" in checked.by_split["train"]
    assert "in no split of the annotations, so used for training: more.jpg" in report


def test_folders_decide_and_a_file_of_another_split_is_reported(draw):
    source = draw(*(f"{split}/{name}" for split, names in SKU_ROWS.items() for name in names))
    sku110k(source, {**SKU_ROWS, "val": SKU_ROWS["test"], "test": SKU_ROWS["val"]})
    checked, report = check(source)
    assert names_of(checked.by_split) == SKU_ROWS
    assert "2 images are of another split in the annotations than by folder" in report
    assert "val_0.jpg (test), test_0.jpg (val). The folder decides." in report


def test_training_images_alone_are_divided_for_the_test(draw, script, tmp_path, capsys):
    names = [f"images/{number}.jpg" for number in range(8)] + ["images/v.jpg"]
    source = draw(*names)
    sku110k(source, {"train": [f"{number}.jpg" for number in range(8)], "val": ["v.jpg"]})
    script("01_fetch_dataset").main(["--from", str(source), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "there are no test images, so the training images are divided into 6 train and 2" in (
        printed
    )
    assert [path.name for path in (tmp_path / "out/ShelfImages/val").iterdir()] == ["v.jpg"]


# --- lists of Pascal VOC ---


def voc_dataset(draw, lists):
    """Images 0.jpg to 5.jpg in the layout of Pascal VOC, with lists: name to content."""
    names = [f"{number}.jpg" for number in range(6)]
    source = draw(*(f"JPEGImages/{name}" for name in names))
    for name in names:
        write_file(source / "Annotations" / f"{name[0]}.xml", voc(name, (40, 30)))
    for name, content in lists.items():
        write_file(source / "ImageSets" / "Main" / name, content)
    return source


LISTS = {"train.txt": "0\n1\n", "val.txt": "2 \r\n", "test.txt": "3\n", "trainval.txt": "0\n1\n2\n"}


def test_lists_of_pascal_voc_divide_the_images(draw):
    class_list = {"product_train.txt": "0  1\n3 -1\n"}
    checked, report = check(voc_dataset(draw, {**LISTS, **class_list}))
    assert names_of(checked.by_split) == {
        "train": ["0.jpg", "1.jpg"],
        "val": ["2.jpg"],
        "test": ["3.jpg"],
    }
    assert "divided by the lists in ImageSets/Main/: 2 train, 1 val, 1 test" in report
    assert "2 images are in no list and not used: 4.jpg, 5.jpg" in report
    assert sorted(checked.images) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_trainval_is_for_training_where_there_is_no_train(draw):
    lists = {"trainval.txt": "0  1\n1 -1\n2\n", "test.txt": "3\n4\n9\n"}
    checked, report = check(voc_dataset(draw, lists))
    assert names_of(checked.by_split) == {
        "train": ["0.jpg", "1.jpg", "2.jpg"],
        "test": ["3.jpg", "4.jpg"],
    }
    assert "1 of 3 names in the list test has no image: 9\n" in report


def test_bad_lists(draw):
    source = voc_dataset(draw, {**LISTS, "test.txt": "0\n3\n"})
    with pytest.raises(UserError, match=r"Main: 1 image is in two lists: 0 \("):
        dataset.find(source)
    write_file(source / "ImageSets" / "Main" / "test.txt", "3")
    write_file(source / "ImageSets" / "Main" / "train.txt", "x\ny\n")
    with pytest.raises(UserError, match="of which none for training exists"):
        check(source)
    write_file(source / "ImageSets" / "Main" / "train.txt", "")
    (source / "ImageSets" / "Main" / "trainval.txt").unlink()
    assert stated_splits.read_image_sets([source / "Annotations"]) == {}
    assert stated_splits.read_image_sets([source / "none" / "Annotations"]) == {}
