"""Step 08: which images a label file, a file, a folder or a pattern names."""

import os

import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.data import images, labels
from shelfdet.inference import input_images


def save_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(str(path), "JPEG")
    return path


def save_labels(path, names):
    labels.write_labels(
        [labels.labelled(name, (400, 300), [("product", (40, 30, 120, 150))]) for name in names],
        path,
    )


def names_in(source, **options):
    return [image.name for image in input_images.find(source, **options).inputs]


@pytest.fixture
def photos(tmp_path):
    for name in ("b.JPG", "a.jpg", "store 1/a.jpg", "store 1/shelf/c.jpeg", ".hidden/d.jpg"):
        save_image(tmp_path / "photos" / name)
    (tmp_path / "photos" / "store 1" / "notes.txt").write_text("")
    (tmp_path / "photos" / "c.webp").write_text("")
    return tmp_path / "photos"


def test_images_of_a_label_file_are_found_in_train_and_test_in_its_order(tmp_path):
    for place in ("train/b.JPG", "test/a.JPG", "train/not labelled.JPG"):
        save_image(tmp_path / "ShelfImages" / place)
    label_file = tmp_path / "val_labels.csv"
    save_labels(label_file, ["b.JPG", "a.JPG"])
    assert input_images.labelled_images(label_file, tmp_path / "ShelfImages") == [
        input_images.InputImage(
            tmp_path / "ShelfImages" / "train" / "b.JPG", "b.JPG", (400, 300), label_file
        ),
        input_images.InputImage(
            tmp_path / "ShelfImages" / "test" / "a.JPG", "a.JPG", (400, 300), label_file
        ),
    ]


def test_validation_images_are_searched_first_in_their_own_folder(tmp_path):
    for place in ("train/a.JPG", "val/a.JPG"):
        save_image(tmp_path / place)
    save_labels(tmp_path / "val_labels.csv", ["a.JPG"])
    (found,) = input_images.labelled_images(tmp_path / "val_labels.csv", tmp_path)
    assert found.path == tmp_path / "val" / "a.JPG"


def test_a_missing_image_is_reported_by_name(tmp_path):
    save_image(tmp_path / "in" / "a.JPG")
    save_labels(tmp_path / "test_labels.csv", ["a.JPG", "lost.JPG"])
    with pytest.raises(UserError, match="lost.JPG"):
        input_images.labelled_images(tmp_path / "test_labels.csv", tmp_path / "in")


def test_a_folder_is_searched_with_its_subfolders(photos):
    found = input_images.find(photos)
    assert [(image.name, image.path) for image in found.inputs] == [
        (name, photos / name)
        for name in ("a.jpg", "b.JPG", "store 1/a.jpg", "store 1/shelf/c.jpeg")
    ]
    assert found.skipped == ["c.webp", "store 1/notes.txt"]
    assert input_images.skipped_report(photos, found.skipped) == (
        f"skipped in {photos}, because they are not files ending in "
        f"{', '.join(images.SUFFIXES)}: c.webp, store 1/notes.txt"
    )
    assert input_images.skipped_report(photos, []) == ""


def test_the_folder_of_the_drawings_is_left_out(photos):
    assert names_in(photos, without=photos / "store 1") == ["a.jpg", "b.JPG"]
    assert names_in(photos, without=photos / ".." / "photos" / "store 1") == ["a.jpg", "b.JPG"]


def test_linked_folders_are_searched_once(photos, tmp_path):
    save_image(tmp_path / "elsewhere" / "e.jpg")
    os.symlink(str(tmp_path / "elsewhere"), str(photos / "linked"))
    os.symlink(str(photos), str(photos / "store 1" / "loop"))
    assert names_in(photos) == [
        "a.jpg",
        "b.JPG",
        "linked/e.jpg",
        "store 1/a.jpg",
        "store 1/shelf/c.jpeg",
    ]


def test_a_file_and_a_pattern(photos):
    assert names_in(photos / "a.jpg") == ["a.jpg"]
    assert names_in(photos / "*.jpg") == ["a.jpg"]
    assert names_in(photos / "*" / "a.jpg") == ["store 1/a.jpg"]
    assert names_in(photos / "**" / "*.jp*g") == ["a.jpg", "store 1/a.jpg", "store 1/shelf/c.jpeg"]
    assert names_in(photos / "[ab].*") == ["a.jpg", "b.JPG"]


def test_a_name_with_wildcards_that_exists_is_no_pattern(tmp_path):
    save_image(tmp_path / "shelf [1]" / "a.jpg")
    assert names_in(tmp_path / "shelf [1]") == ["a.jpg"]
    assert names_in(save_image(tmp_path / "a*.jpg")) == ["a*.jpg"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("empty", "empty: no image in it; expected files ending in .jpg"),
        ("notes.txt", "notes.txt: no image in it; expected files ending in .jpg"),
        ("lost", r"lost: does not exist; expected an image, a folder of images, or a pattern"),
        ("*.jpg", r"\*.jpg: matches no file; expected images. Check the pattern"),
        ("*.txt", r"\*.txt: no image in it; expected files ending in .jpg"),
    ],
)
def test_what_names_no_image_is_refused(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=words):
        input_images.find(tmp_path / name)
