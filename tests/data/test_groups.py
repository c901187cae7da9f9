"""Versions of one image, copies and identical files: by name and by content, and nothing else."""

import pathlib

import pytest
from made_shelves import shelf_image
from PIL import Image

from shelfdet.data.splitting import groups, splits

HASH = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.mark.parametrize(
    "name, source",
    [
        (f"IMG_1_jpg.rf.{HASH}", "IMG_1"),
        (f"IMG_1.rf.{HASH}", "IMG_1"),
        (f"IMG_1_aug_0_png.rf.{HASH}", "IMG_1"),
        ("shelf_aug_2", "shelf"),
        ("shelf-augmented-12", "shelf"),
        ("shelf aug", "shelf"),
        ("shelf - Copy", "shelf"),
        ("shelf - Copy (2)", "shelf"),
        ("shelf-copy", "shelf"),
        ("shelf copy 3", "shelf"),
        ("shelf - Kopie", "shelf"),
        ("Copy of shelf", "shelf"),
        ("train_original_shelf.jpg_01234567-89ab-cdef-0123-456789abcdef", "shelf"),
    ],
)
def test_the_name_of_a_version_gives_its_source(name, source):
    assert groups.source_stem(name) == source


@pytest.mark.parametrize("name", ["IMG_1", "august", "photocopy", "C1_P01_N1_S2_1", "aug", "x.rf"])
def test_other_names_are_their_own_source(name):
    assert groups.source_stem(name) == name


@pytest.mark.parametrize(
    "name", ["shelf (1)", "shelf (12)", "shelf 2", "shelf_flip", "shelf-rot90", "aug_3_shelf"]
)
def test_a_name_that_may_be_ordinary_needs_its_source_beside_it(name):
    assert groups.source_stem(name) == name
    assert groups.source_stem(name, [name, "shelf"]) == "shelf"


def written(folder, shown):
    """Writes images, each blank and of the colour that it shall show; returns name to path."""
    paths = {}
    for name, colour in shown.items():
        paths[name] = pathlib.Path(folder) / name
        Image.new("RGB", (8, 6), colour).save(str(paths[name]), "BMP")
    return paths


def test_photographs_that_were_renamed_together_are_no_versions(tmp_path):
    names = [f"shelf ({n}).jpg" for n in range(1, 9)]
    found = splits.image_groups(
        written(tmp_path, {name: (n, n, n) for n, name in enumerate(names)})
    )
    assert found == ({name: name for name in names}, [], [], [])


def test_versions_and_identical_files_are_joined(tmp_path):
    found = splits.image_groups(
        written(
            tmp_path,
            {
                "a.jpg": "red",
                "a_aug_1.jpg": "blue",
                "b.jpg": "blue",  # identical to a version of a.jpg
                "c.jpg": "white",
                "d.jpg": "green",
            },
        )
    )
    assert found.versions == [["a.jpg", "a_aug_1.jpg"]]
    assert found.identical == [["a_aug_1.jpg", "b.jpg"]]
    assert found.key_of == {
        "a.jpg": "a.jpg",
        "a_aug_1.jpg": "a.jpg",
        "b.jpg": "a.jpg",
        "c.jpg": "c.jpg",
        "d.jpg": "d.jpg",
    }
    assert groups.described(found) == [
        "2 images in 1 group are versions of one image by their names: (a.jpg, a_aug_1.jpg)",
        "2 images in 1 group are identical files: (a_aug_1.jpg, b.jpg)",
    ]


def test_of_many_groups_and_of_many_names_some_are_shown(tmp_path):
    names = [f"a_aug_{number}.jpg" for number in range(5)]
    names += [f"{stem}{version}.jpg" for stem in "bcde" for version in ("", "_aug_0")]
    found = splits.image_groups(
        written(tmp_path, {name: (n, n, n) for n, name in enumerate(names)})
    )
    assert groups.described(found) == [
        "13 images in 5 groups are versions of one image by their names: (a_aug_0.jpg, "
        "a_aug_1.jpg, a_aug_2.jpg and 2 more), (b.jpg, b_aug_0.jpg), (c.jpg, c_aug_0.jpg) and 2 "
        "more"
    ]


def test_a_shelf_keeps_its_key_and_takes_versions_in(tmp_path):
    names = ["C1_P01_N1_S2_1.JPG", "C1_P01_N1_S2_2.JPG", "C1_P01_N1_S2_2_aug_0.JPG", "x.jpg"]
    found = splits.image_groups(
        written(tmp_path, {name: (n, n, n) for n, name in enumerate(names)})
    )
    assert set(found.key_of.values()) == {"C1_P01_N1_S2", "x.jpg"}
    assert found.key_of["C1_P01_N1_S2_2_aug_0.JPG"] == "C1_P01_N1_S2"


def test_near_duplicates_are_joined_unless_their_names_state_two_shelves(tmp_path):
    paths = {}
    for name, seed, quality in (
        ("x.jpg", 1, 90),
        ("y.jpg", 1, 40),
        ("z.jpg", 2, 90),
        ("C1_P01_N1_S4_1.JPG", 3, 90),
        ("C1_P02_N1_S4_1.JPG", 3, 40),
        ("again.jpg", 4, 90),
        ("again_aug_1.jpg", 4, 40),  # joined by its name already
    ):
        paths[name] = tmp_path / name
        shelf_image(seed).save(str(paths[name]), quality=quality)
    found = splits.image_groups(paths)
    assert found.similar == [["x.jpg", "y.jpg"]]
    assert found.versions == [["again.jpg", "again_aug_1.jpg"]]
    assert found.key_of["y.jpg"] == "x.jpg"
    assert found.key_of["z.jpg"] == "z.jpg"
    assert found.key_of["C1_P02_N1_S4_1.JPG"] == "C1_P02_N1_S4"
    assert groups.described(found)[1:] == [
        "2 images in 1 group are nearly the same: saved again, resized or slightly cropped: "
        "(x.jpg, y.jpg)"
    ]
    split = {"train": ["x.jpg"], "val": ["z.jpg"], "test": ["y.jpg"]}
    (line,) = splits.shared_report(split, found)
    assert line.startswith("of 1 test image, 1 is a version of an image in train and val, or (n")
    assert "y.jpg (of x.jpg)" in line


def test_images_with_a_version_on_the_other_side():
    found = groups.Groups({}, [["a.jpg", "a_aug_1.jpg"]], [["b.jpg", "c.jpg"]], [])
    assert groups.related(["a.jpg", "c.jpg", "d.jpg"], ["a_aug_1.jpg", "b.jpg"], found) == {
        "a.jpg": "a_aug_1.jpg",
        "c.jpg": "b.jpg",
    }
    split = {"train": ["a.jpg", "b.jpg"], "val": ["x.jpg"], "test": ["a_aug_1.jpg", "y.jpg"]}
    (line,) = splits.shared_report(split, found)
    assert line.startswith("of 2 test images, 1 is a version of an image in train and val, or (nea")
    assert "a_aug_1.jpg (of a.jpg)" in line
    assert splits.shared_report(dict(split, test=["y.jpg"]), found) == [
        "of 1 test image, 0 are versions of an image in train and val, or (nearly) identical to one"
    ]
