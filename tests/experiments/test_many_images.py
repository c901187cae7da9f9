"""The benchmark of many images: each step does the work that is described, and has its row."""

import json
import pathlib

import pytest

from experiments import many_images, measurement
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


def test_step_09_finds_the_correct_detections_of_the_graph(tmp_path, script):
    many_images.make_dataset(tmp_path, 10)
    many_images.make_graph(tmp_path)
    written = []
    for step, *options in many_images.commands(tmp_path).values():
        script(pathlib.Path(step).stem).main(options)
        if "08" in step:
            written += [json.loads((tmp_path / "detections.json").read_text())["annotations"]]
    assert list(map(len, written)) == [10 * many_images.DETECTIONS, 10 * many_images.CERTAIN]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert {key: figures[key] for key in ("TP", "FP", "FN")} == {"TP": 400, "FP": 100, "FN": 100}


def test_each_step_has_a_row_for_each_number_of_images(monkeypatch, capsys):
    measured = measurement.Usage(seconds=2.0, cpu_seconds=1.2, peak_mib=34.0)
    monkeypatch.setattr(measurement, "measure", lambda command: measured)
    many_images.main(["--counts", "10", "12"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 0")]
    steps = ["02", "04", "08", "08", "09"]
    assert [(row[2:4], row.split("|")[2]) for row in rows] == [
        (step, f" {count} ") for count in (10, 12) for step in steps
    ]
    assert rows[0] == "| 02 label files | 10 | 1 | 120.0 | 34 |"


def test_too_few_images_are_refused(capsys):
    with pytest.raises(SystemExit):
        many_images.parse(["--counts", "9"])
    assert "--counts 9: expected at least 10" in capsys.readouterr().err
