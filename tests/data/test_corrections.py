"""Corrected annotations: they replace those of the same images, whatever the formats of both."""

import pathlib

import pytest
from annotation_samples import VOC_OBJECT, voc, write_file
from datasets import draw_dataset

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import corrections as compared
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


def test_the_step_says_how_many_differ(make_data, corrections, source, capsys):
    make_data(f"--corrected={corrections}")
    printed = capsys.readouterr().out
    assert (
        "corrected annotations of 1 image: 1 with other boxes (1 added, 1 removed, 0 moved), 0 "
        f"with the same; changed: {NAME}\n"
    ) in printed
    assert printed.count("corrected annotations of 1 image") == 2  # steps 01 and 02
    same = voc(NAME, size=(40, 30), objects=VOC_OBJECT.format("cola", *WRONG))
    write_file(corrections / "images" / (NAME[:-4] + ".xml"), same)
    make_data(f"--corrected={corrections}")
    assert (
        "warning: corrected annotations of 1 image have the same boxes as the annotations that "
        "they replace. If boxes were corrected, save them"
    ) in capsys.readouterr().out


def image_of(*boxes, name="a.jpg", in_shares=False):
    rows = [BoxRow("", label, box) for label, box in boxes]
    return ImageBoxes(name, "", None, rows, in_shares=in_shares)


A, B, C = (10, 10, 30, 40), (40, 10, 60, 40), (70, 10, 90, 40)


@pytest.mark.parametrize(
    "before, after, changes",
    [
        ([A, B], [B, A], (0, 0, 0)),
        ([A, B], [A], (0, 1, 0)),
        ([A], [A, B, C], (2, 0, 0)),
        ([A, B], [A, (43, 10, 63, 40)], (0, 0, 1)),
        ([A, B], [A, (40.9, 10, 60, 40)], (0, 0, 0)),  # what a tool rounds
        ([A, B], [A, (55, 10, 75, 40)], (1, 1, 0)),  # IoU 0.14: another product
        ([A, A], [A], (0, 1, 0)),
        ([(-5, 10, 30, 40)], [(0, 10, 30, 40)], (0, 0, 0)),  # what step 02 clips
        ([], [], (0, 0, 0)),
    ],
)
def test_changes_of_an_image(before, after, changes):
    old = image_of(*(("p", box) for box in before))
    new = image_of(*(("p", box) for box in after))
    assert compared.compare(old, new, (100, 80)) == (*changes, 0)


def test_changes_of_other_formats_and_classes():
    in_shares = image_of(("p", (0.1, 0.125, 0.3, 0.5)), in_shares=True)
    assert not any(compared.compare(in_shares, image_of(("p", A)), (100, 80)))
    assert compared.compare(None, image_of(("p", A)), (100, 80)) == (1, 0, 0, 0)
    other = image_of(("q", A))
    assert not any(compared.compare(image_of(("p", A)), other, (100, 80)))
    assert compared.compare(image_of(("p", A)), other, (100, 80), True) == (0, 0, 0, 1)
    marks = image_of(("p", A))
    marks.rows.append(BoxRow("", "suspect_missing", B, left_out="marks of `make suspects`"))
    assert not any(compared.compare(marks, image_of(("p", A)), (100, 80)))


def test_the_report_counts_images_and_boxes():
    before = {name: image_of(("p", A), ("p", B), name=name) for name in "abc"}
    after = {
        "a": image_of(("p", A), ("p", B), name="a"),
        "b": image_of(("p", A), name="b"),
        "c": image_of(("q", A), ("p", B), ("p", C), name="c"),
        "gone": image_of(("p", A), name="gone"),
    }
    sizes_wh = dict.fromkeys("abc", (100, 80))
    assert compared.report(before, after, sizes_wh, True) == (
        "corrected annotations of 4 images: 2 with other boxes (1 added, 1 removed, 0 moved, 1 of "
        "another class), 1 with the same, 1 not used; changed: b, c"
    )
    assert compared.report(before, after, {}, True) == (
        "corrected annotations of 4 images: none of these images is used"
    )


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
