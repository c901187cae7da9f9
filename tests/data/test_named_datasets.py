"""Datasets with names: each has folders of its own, and no step of one changes another's files."""

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import labels, layout, options


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty workspace; returns its folder."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "workspace" / "images")
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path / "workspace" / "annotations")
    paths.ANNOTATIONS.mkdir(parents=True)
    return tmp_path / "workspace"


def shelves(folder, width):
    """A dataset in the Grocery Dataset's format: images of a width, all with the same names."""
    rows = []
    for split, count in (("train", 4), ("test", 2)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.RandomState(width + number).randint(0, 255, (60, width, 3))
            name = f"{split}{number}.jpg"
            Image.fromarray(pixels.astype(np.uint8)).save(str(folder / split / name))
            rows.append(f"{name},5,5,{width // 2},50,1\n")
    (folder / "annotations.csv").write_text("".join(rows))
    return folder


def make_data(script, source, *options):
    for step, more in (
        ("01_fetch_dataset", [f"--from={source}"] if source else []),
        ("02_split_annotations", []),
        ("04_generate_tfrecords", []),
    ):
        script(step).main(list(options) + more)


def source_ids(record):
    import tensorflow as tf

    return [
        tf.train.Example.FromString(data)
        .features.feature["image/source_id"]
        .bytes_list.value[0]
        .decode()
        for data in tf.compat.v1.io.tf_record_iterator(str(record))
    ]


def contents(folder, without):
    """The bytes of all files below a folder, links followed, except those below ``without``."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and without not in path.relative_to(folder).parts
    }


def test_two_datasets_with_equal_names_stay_apart(workspace, tmp_path, script, capsys):
    make_data(script, shelves(tmp_path / "one", 80))
    before = contents(workspace, "second")
    make_data(script, shelves(tmp_path / "two", 100), "--dataset=second")
    assert contents(workspace, "second") == before
    for name, width in (("default", 80), ("second", 100)):
        for split in paths.SPLITS:
            (image, *_) = labels.read_labels(paths.labels(split, name))
            assert image.size_wh == (width, 60)
            ids = source_ids(paths.record(split, name))
            assert all(one.startswith("second/") == (name == "second") for one in ids)
    # The dataset without a name is found again among what is there, and no other.
    capsys.readouterr()
    make_data(script, None)
    assert "not used" not in capsys.readouterr().out
    assert contents(workspace, "second") == before


def test_only_a_named_dataset_is_there(workspace, tmp_path, script):
    make_data(script, shelves(tmp_path / "two", 100), "--dataset=second")
    assert layout.has_images(paths.dataset_images("second"))
    assert not layout.has_images(paths.IMAGES)


def test_a_name_without_images_is_refused_and_nothing_is_downloaded(workspace, script):
    with pytest.raises(UserError, match="has no images; expected those of the dataset secnd"):
        script("01_fetch_dataset").main(["--dataset=secnd"])


@pytest.mark.parametrize(
    "name", ["a b", "", "a/b", "..", "-x", "train", "Valid", "images", "ShelfImages", "download"]
)
def test_names_that_are_no_folder_of_their_own_are_refused(name, script, capsys):
    with pytest.raises(SystemExit):
        script("02_split_annotations").parse([f"--dataset={name}"])
    assert "--dataset: found" in capsys.readouterr().err


def test_names_of_folders():
    assert options.dataset_name("sku-110k_2.1") == "sku-110k_2.1"
    assert paths.dataset_of(paths.ANNOTATIONS) == "default"
    assert paths.dataset_of(paths.labels("test", "sku110k").parent) == "sku110k"
    assert paths.dataset_of(paths.ROOT) is None
