"""split_names.py: the split that the name of a folder or of a file states."""

import pathlib

import pytest

from shelfdet.data.splitting import split_names


@pytest.mark.parametrize(
    "name, split",
    [
        ("train2017", "train"),
        ("VAL_images", "val"),
        ("images-test", "test"),
        ("obj_Validation_data", "val"),
        ("train stations", None),
        ("train_2", None),
        ("trainval", None),
        ("train_test", None),
        ("data", None),
    ],
)
def test_folders_are_of_a_split_by_their_whole_name(name, split):
    assert split_names.split_of_folder(name) == split


@pytest.mark.parametrize(
    "name, split",
    [
        ("instances_val2017", "val"),
        ("annotations_train", "train"),
        ("Test", "test"),
        ("_annotations.coco", None),
        ("captions_trainval", None),
        ("train_without_test", None),
    ],
)
def test_files_are_of_a_split_by_a_word_of_their_name(name, split):
    assert split_names.split_of_name(name) == split


@pytest.mark.parametrize(
    "name, split",
    [
        ("test_labels.csv", "test"),
        ("val_labels.csv", "val"),
        ("train_labels.csv", "train"),
        ("strips_labels.csv", "train"),
        ("latest_labels.csv", "train"),
    ],
)
def test_the_folder_that_is_searched_first_for_the_images_of_a_label_file(name, split):
    assert split_names.split_of_label_file(pathlib.Path("folder", name)) == split
