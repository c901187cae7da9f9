"""Versions of one image, copies and identical files: by name and by content, and nothing else."""

import pathlib

import pytest

from shelfdet.data import groups, splits

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


def written(folder, contents):
    """Writes files; returns name to path."""
    paths = {}
    for name, content in contents.items():
        paths[name] = pathlib.Path(folder) / name
        paths[name].write_bytes(content)
    return paths


def test_photographs_that_were_renamed_together_are_no_versions(tmp_path):
    names = [f"shelf ({n}).jpg" for n in range(1, 9)]
    found = splits.image_groups(written(tmp_path, {name: name.encode() for name in names}))
    assert found == ({name: name for name in names}, [], [])


def test_versions_and_identical_files_are_joined(tmp_path):
    found = splits.image_groups(
        written(
            tmp_path,
            {
                "a.jpg": b"one",
                "a_aug_1.jpg": b"two",
                "b.jpg": b"two",  # identical to a version of a.jpg
                "c.jpg": b"of another length",
                "d.jpg": b"six",
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
    found = splits.image_groups(written(tmp_path, {name: name.encode() for name in names}))
    assert groups.described(found) == [
        "13 images in 5 groups are versions of one image by their names: (a_aug_0.jpg, "
        "a_aug_1.jpg, a_aug_2.jpg and 2 more), (b.jpg, b_aug_0.jpg), (c.jpg, c_aug_0.jpg) and 2 "
        "more"
    ]


def test_a_shelf_keeps_its_key_and_takes_versions_in(tmp_path):
    names = ["C1_P01_N1_S2_1.JPG", "C1_P01_N1_S2_2.JPG", "C1_P01_N1_S2_2_aug_0.JPG", "x.jpg"]
    found = splits.image_groups(written(tmp_path, {name: name.encode() for name in names}))
    assert set(found.key_of.values()) == {"C1_P01_N1_S2", "x.jpg"}
    assert found.key_of["C1_P01_N1_S2_2_aug_0.JPG"] == "C1_P01_N1_S2"


def test_images_with_a_version_on_the_other_side():
    found = groups.Groups({}, [["a.jpg", "a_aug_1.jpg"]], [["b.jpg", "c.jpg"]])
    assert groups.related(["a.jpg", "c.jpg", "d.jpg"], ["a_aug_1.jpg", "b.jpg"], found) == {
        "a.jpg": "a_aug_1.jpg",
        "c.jpg": "b.jpg",
    }
    split = {"train": ["a.jpg", "b.jpg"], "val": ["x.jpg"], "test": ["a_aug_1.jpg", "y.jpg"]}
    (line,) = splits.shared_report(split, found)
    assert line.startswith(
        "of 2 test images, 1 is a version of an image in train and val, or ident"
    )
    assert "a_aug_1.jpg (of a.jpg)" in line
    assert splits.shared_report(dict(split, test=["y.jpg"]), found) == []
