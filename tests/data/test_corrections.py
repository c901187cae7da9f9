"""Corrected annotations: they replace those of the same images, whatever the formats of both."""

import pathlib

import pytest
from annotation_samples import VOC_OBJECT, voc, write_file
from datasets import draw_dataset

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import labels
from shelfdet.data.formats import BoxRow, ImageBoxes, coco

NAME = "C1_P01_N1_S2_1.JPG"
WRONG = (1, 2, 11, 22)  # of all images
RIGHT = (3, 4, 20, 25)


@pytest.fixture
def source(tmp_path):
    return draw_dataset(tmp_path / "source")


@pytest.fixture
def corrections(tmp_path):
    """Pascal VOC of one of the images."""
    content = voc(NAME, size=(40, 30), objects=VOC_OBJECT.format("cola", *RIGHT))
    write_file(tmp_path / "corrected" / "images" / (NAME[:-4] + ".xml"), content)
    return tmp_path / "corrected"


@pytest.fixture
def make_data(script, source, tmp_path):
    """Runs steps 01 and 02 with options of step 01; returns the folder of the dataset."""

    def run(*options):
        out = tmp_path / "out"
        arguments = [f"--out={out}", *options]
        if "--again" in options:
            arguments.remove("--again")
        else:
            arguments.append(f"--from={source}")
        script("01_fetch_dataset").main(arguments)
        script("02_split_annotations").main([f"--images={out}", f"--out={tmp_path / 'made'}"])
        return out

    return run


def boxes_of(out):
    found = {}
    for split in paths.SPLITS:
        for image in labels.read_labels(paths.labels_in(out.parent / "made", split)):
            found[image.filename] = [tuple(box) for box in image.boxes_xyxy.tolist()]
    return found


def test_they_replace_those_of_the_same_images(make_data, corrections, capsys):
    out = make_data(f"--corrected={corrections}")
    found = boxes_of(out)
    assert found.pop(NAME) == [RIGHT]
    assert set(map(tuple, found.values())) == {(WRONG,)}
    assert (out / "corrected" / (NAME[:-4] + ".xml")).is_symlink()
    assert "corrected: 1 file of Pascal VOC XML in " in capsys.readouterr().out


def test_they_remain_in_place_until_a_dataset_is_put_there_without(make_data, corrections, capsys):
    make_data(f"--corrected={corrections}")
    out = make_data("--again")
    assert boxes_of(out)[NAME] == [RIGHT]
    capsys.readouterr()
    make_data()
    assert boxes_of(out)[NAME] == [WRONG]
    assert not (out / "corrected").exists()
    assert "the corrected annotations of an earlier run are not used" in capsys.readouterr().out


def test_one_file_of_all_images(make_data, tmp_path):
    image = ImageBoxes(NAME, "", (40, 30), [BoxRow("", "cola", RIGHT)])
    coco.write([image], tmp_path / "fixed.json")
    out = make_data(f"--corrected={tmp_path / 'fixed.json'}")
    assert boxes_of(out)[NAME] == [RIGHT]
    assert (out / "corrected" / "fixed.json").is_symlink()


def test_an_image_that_the_dataset_does_not_have(make_data, corrections):
    path = corrections / "images" / (NAME[:-4] + ".xml")
    path.write_text(path.read_text().replace(NAME, "other.jpg"))
    path.rename(path.with_name("other.xml"))
    with pytest.raises(UserError, match="other.jpg"):
        make_data(f"--corrected={corrections}")


def test_problems_name_the_corrected_file(make_data, corrections):
    path = corrections / "images" / (NAME[:-4] + ".xml")
    path.write_text(path.read_text().replace("<xmax>20", "<xmax>x"))
    with pytest.raises(UserError, match=f"{corrections}.*<xmax> is 'x'"):
        make_data(f"--corrected={corrections}")
    assert pathlib.Path(path).is_file()


def test_a_path_that_is_not_there(make_data, tmp_path):
    with pytest.raises(UserError, match="none: no such file or folder"):
        make_data(f"--corrected={tmp_path / 'none'}")
