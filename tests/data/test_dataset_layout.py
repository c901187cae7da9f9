"""Where images are found: folders of splits, one folder, ShelfImages; and what is not used."""

import pytest

from shelfdet import UserError
from shelfdet.data import layout


@pytest.fixture
def folder(tmp_path):
    """Writes files, whose content does not matter here; returns their folder."""

    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    return write


def found_in(folder):
    return {split: list(names) for split, names in layout.find(folder).images.items()}


def message_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("home", ["", "ShelfImages/", "images/", "JPEGImages/", "Images/"])
@pytest.mark.parametrize(
    "train, val, test",
    [("train", "val", "test"), ("Train", "Valid", "TEST"), ("training", "validation", "testing")],
)
def test_folders_of_splits_by_the_names_that_tools_give_them(folder, home, train, val, test):
    names = (f"{home}{train}/b.jpg", f"{home}{train}/a.png", f"{home}{val}/c.jpg")
    dataset = folder(*names, f"{home}{test}/d.jpg", f"{home}{test}/notes.txt")
    assert found_in(dataset) == {"train": ["a.png", "b.jpg"], "val": ["c.jpg"], "test": ["d.jpg"]}
    assert layout.has_images(dataset) and layout.unused_report(layout.find(dataset)) == []
    paths = layout.locate(dataset, ["c.jpg", "a.png"], "val")
    assert [path.parent.name for path in paths] == [val, train]


def test_images_in_the_folders_of_splits_may_be_in_images(folder):
    dataset = folder("train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg", "test/c.jpg")
    assert found_in(dataset) == {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}


def test_an_empty_folder_for_validation_is_none(folder):
    dataset = folder("train/a.jpg", "test/b.jpg", "val/.hidden.jpg")
    assert found_in(dataset) == {"train": ["a.jpg"], "test": ["b.jpg"]}


def test_one_folder(folder):
    dataset = folder("b.jfif", "a.JPG", ".hidden.jpg", "c.txt")
    assert found_in(dataset) == {"all": ["a.JPG", "b.jfif"]}
    assert "holds 2 images, not divided" in message_of(layout.find_divided, dataset)


def test_spaces_around_a_name_do_not_count(folder):
    dataset = folder("train/a.jpg ", "test/ b.jpg")
    images = layout.find(dataset).images
    assert images["train"] == {"a.jpg": dataset / "train" / "a.jpg "}
    assert layout.locate(dataset, ["b.jpg"], "test") == [dataset / "test" / " b.jpg"]


def test_unusual_spaces_and_joiners_are_valid(folder):
    names = ["a\u202fb.jpg", "a\u00a0b.jpg", "棚\u3000二.jpg", "x\u200dy.jpg"]
    assert found_in(folder(*names)) == {"all": sorted(names)}


def test_control_characters_and_bytes_that_are_no_text_are_refused(folder):
    dataset = folder("train/a\nb.jpg", "train/caf\udce9.jpg", "test/c.jpg")
    message = message_of(layout.find, dataset)
    assert r"train: the file name 'a\nb.jpg' contains characters that cannot be" in message
    assert r"caf\udce9" in message
    message.encode("utf-8")


def test_names_that_are_there_twice(folder):
    message = message_of(
        layout.find, folder("train/b.jpg", "test/b.jpg", "train/A.jpg", "val/a.JPG")
    )
    assert "2 problems" in message
    assert "train/b.jpg and test/b.jpg have the same name;" in message
    assert "train/A.jpg and val/a.JPG have the same name except for upper and lower case" in message


@pytest.mark.parametrize(
    "names, expected",
    [
        (["test/a.jpg"], "holds test/ (1 image) and no train/"),
        (["train/a.jpg", "test/a.txt"], "and no image in test/;"),
        (["train/a.webp", "test/b.jpg"], "no image in train/ (a.webp is WebP, which"),
        (["train/a.jpg", "val/b.jpg", "valid/c.jpg", "test/d.jpg"], "val/ and valid/ both name"),
        (["a.txt"], "holds no images, but a.txt; expected"),
        (["a.heic", "b.heic"], "a.heic is HEIC, which TensorFlow does not decode: convert it"),
        (
            ["train/a.jpg", "test/b.jpg", "images/train/c.jpg", "images/test/d.jpg"],
            "several places",
        ),
    ],
)
def test_what_is_missing_in_the_users_folder(folder, names, expected):
    assert expected in message_of(layout.find, folder(*names))


@pytest.mark.parametrize("names", [["train/a.jpg"], ["train/a.jpg", "val/b.jpg"]])
def test_without_test_images_step_01_takes_some_and_the_others_refuse(folder, names):
    dataset = folder(*names)
    assert set(found_in(dataset)) == {name.split("/")[0] for name in names}
    message = message_of(layout.find_divided, dataset)
    assert "holds train/ (1 image" in message and "and no test/; expected train/" in message
    assert "let step 01 take them out of the training images: remove an empty test/" in message
    assert f"give --from {dataset} (make: FROM={dataset})" in message


def test_images_in_folders_of_shops_are_all_taken_where_there_are_no_others(folder):
    dataset = folder("shelf 1/a.jpg", "shelf 2/deep/b.jpg", ".hidden/c.jpg", "download/d.jpg")
    found = layout.find(dataset)
    assert list(found.images["all"]) == ["a.jpg", "b.jpg"] and found.root == dataset
    assert "holds no images of its own, but" in message_of(layout.find_divided, dataset)
    split = folder("train/cola/e.jpg", "train/fanta/f.jpg", "test/cola/g.jpg")
    assert found_in(split) == {"train": ["e.jpg", "f.jpg"], "test": ["g.jpg"]}


def test_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "none: no such folder" in message_of(layout.find, tmp_path / "none")
    assert "file: is a file" in message_of(layout.find, tmp_path / "file")
    assert not layout.has_images(tmp_path / "none")


def test_a_link_to_a_file_that_is_not_there_is_named(folder, tmp_path):
    dataset = folder("train/a.jpg", "test/b.jpg")
    (dataset / "train" / "c.jpg").symlink_to("/elsewhere/c.jpg")
    found = layout.find(dataset)
    assert list(found.images["train"]) == ["a.jpg"] and not found.unused
    assert layout.unused_report(found) == [
        "not used: 1 link to an image that is not there: train/c.jpg (to /elsewhere/c.jpg). Put "
        "the files back, or link to where they are."
    ]
    assert layout.not_used_reasons(found) == {
        "c.jpg": "train/c.jpg is a link to /elsewhere/c.jpg, which is not there"
    }


def test_links_alone_are_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "c.jpg").symlink_to("/elsewhere/c.jpg")
    expected = "1 link to files that are not there, the first train/c.jpg to /elsewhere/c.jpg"
    assert expected in message_of(layout.find, tmp_path)


def test_images_that_are_not_used_are_named(folder):
    dataset = folder("a.jpg", "b.webp", "more/c.jpg", "more/deep/d.png", "more/.hidden/e.jpg")
    found = layout.find(dataset)
    assert found.unused == {"more/": ["c.jpg"], "more/deep/": ["d.png"]}
    first, second = layout.unused_report(found)
    assert "not used: 2 images in other folders" in first and "more/ (1: c.jpg)" in first
    assert "1 image that TensorFlow does not decode: b.webp." in second
    reasons = layout.not_used_reasons(found)
    assert reasons["b.webp"].startswith("b.webp is WebP")
    assert reasons["c.jpg"] == "c.jpg is in more/, which is not one of the folders that are read"


def test_files_of_other_kinds_are_named_with_their_folder(folder):
    dataset = folder("train/a.jpg", "train/b.webp", "test/c.jpg", "test/d.tiff", "test/e.txt")
    found = layout.find(dataset)
    (line,) = layout.unused_report(found)
    assert "2 images that TensorFlow does not decode: train/b.webp, test/d.tiff." in line
    reasons = layout.not_used_reasons(found)
    assert reasons["b.webp"].startswith("train/b.webp is WebP")
    assert reasons["e.txt"].startswith("test/e.txt is there, but is not named as an image")


def test_images_beside_the_folders_of_splits_are_named(folder):
    found = layout.find(folder("a.jpg", "train/b.jpg", "test/c.jpg"))
    assert found.unused == {"./": ["a.jpg"]}


def test_links_in_shelf_images_to_images_in_the_same_folder_are_no_second_place(folder):
    dataset = folder("train/a.jpg", "test/b.jpg", "train/new.jpg")
    for split, name in (("train", "a.jpg"), ("test", "b.jpg")):
        (dataset / "ShelfImages" / split).mkdir(parents=True)
        (dataset / "ShelfImages" / split / name).symlink_to(dataset / split / name)
    assert layout.find(dataset).root == dataset
    placed = layout.find_divided(dataset)
    assert placed.root == dataset / "ShelfImages" and placed.unused == {"train/": ["new.jpg"]}
    assert layout.locate(dataset, ["a.jpg"], "train")[0].parent.parent.name == "ShelfImages"


def test_what_step_01_downloaded_is_not_named(folder):
    dataset = folder("ShelfImages/train/a.jpg", "ShelfImages/test/b.jpg", "download/u/c.jpg")
    assert layout.find(dataset).unused == {}


def test_locate(folder):
    dataset = folder("ShelfImages/train/b 1.JPG", "ShelfImages/test/a.jpeg")
    for place in (dataset, dataset / "ShelfImages"):
        found = layout.locate(place, ["b 1.JPG", "a.jpeg"], "val")
        assert [path.parent.name for path in found] == ["train", "test"]
    assert layout.locate(dataset / "ShelfImages" / "test", ["a.jpeg"], "test")
    message = message_of(layout.locate, dataset, ["x.jpg", "b 1.JPG", "y.jpg"], "train")
    assert "2 of 3 images do not exist: x.jpg, y.jpg." in message
    assert "no such folder" in message_of(layout.locate, dataset / "none", [], "train")


def test_locate_finds_images_that_were_put_beside_shelf_images_by_hand(folder):
    dataset = folder("train/a.jpg", "test/b.jpg")
    assert layout.locate(dataset / "ShelfImages", ["b.jpg"], "test") == [dataset / "test" / "b.jpg"]
