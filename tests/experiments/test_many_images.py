"""The benchmark of many images: its dataset passes steps 02 and 04, and each step has its row."""

import pytest

from experiments import many_images
from shelfdet.data import labels
from shelfdet.data.splitting import splits


def test_the_dataset_has_no_image_twice_and_all_of_its_boxes(tmp_path, script, capsys):
    many_images.make_dataset(tmp_path, 20)
    paths = {path.name: path for path in tmp_path.glob("*/*.jpg")}
    assert len(paths) == 20 and len(list((tmp_path / "test").iterdir())) == 4
    assert not splits.image_groups(paths).similar
    _, *options = many_images.commands(tmp_path)["02 label files"]
    script("02_split_annotations").main(options)
    found = [labels.read_labels(tmp_path / f"{split}_labels.csv") for split in ("train", "test")]
    assert {len(image.classes) for part in found for image in part} == {many_images.BOXES}


def test_each_step_has_a_row_for_each_number_of_images(capsys):
    many_images.main(["--counts", "10", "12"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 0")]
    assert [row.split("|")[1:3] for row in rows] == [
        [" 02 label files ", " 10 "],
        [" 04 records ", " 10 "],
        [" 02 label files ", " 12 "],
        [" 04 records ", " 12 "],
    ]


def test_too_few_images_are_refused(capsys):
    with pytest.raises(SystemExit):
        many_images.parse(["--counts", "9"])
    assert "--counts 9: expected at least 10" in capsys.readouterr().err
