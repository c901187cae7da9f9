"""Learning curve: what is trained on what, what is refused, and the rows that are kept.

The steps are tested elsewhere; here they are replaced by a function that records their options.
"""

import json
import pathlib

import pytest
from recorded_steps import record, value_of

from experiments import learning_curve
from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import labels

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
BOXES = 4  # of each image


def write_labels(path, names):
    """A label file with BOXES boxes in each of the images."""
    rows = "".join(
        f"{name},99,99,product,{x},1,{x + 5},9\n" for name in names for x in range(0, 40, 10)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + rows)


@pytest.fixture
def dataset(monkeypatch, tmp_path):
    """Labels of 8 training, 2 validation and 3 test images, a config, and a graph to start with."""
    for name in ("TRAINING", "ANNOTATIONS", "IMAGES", "RESULTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    for split, number in (("train", 8), ("val", 2), ("test", 3)):
        names = [f"{split}_{index}.jpg" for index in range(number)]
        write_labels(paths.labels(split), names)
    config = tmp_path / "mine.config"
    config.write_text(paths.SHIPPED_CONFIG.read_text())
    start = tmp_path / "begin"
    start.mkdir()
    (start / "trained_on.json").write_text('{"train": ["other.jpg"], "val": []}')
    return ["--config", str(config), "--start", str(start), "--images", "2", "5"]


@pytest.fixture
def called(monkeypatch):
    """The steps called, as (step, options); the score step writes figures."""

    def act(step, options):
        if step == "score":
            figures = {"mAP": 0.5, "AP75": 0.3, "AP": 0.2, "mean_absolute_count_error": 1.0}
            figures.update(images=3, boxes=3 * BOXES)
            files.write_text(value_of(options, "--output"), json.dumps(figures))

    return record(monkeypatch, act)


def trained_on(options):
    """The names of the images that a recorded training is given."""
    folder = paths.labels_in(pathlib.Path(value_of(options, "--annotations")), "train")
    return {image.filename for image in labels.read_labels(folder)}


def test_each_number_of_images_is_trained_on_with_and_without_the_start(dataset, called, capsys):
    learning_curve.main(dataset)
    each = "records train export detect detect score".split()
    assert [step for step, _ in called] == each * 4
    trainings = [options for step, options in called if step == "train"]
    assert all(value_of(options, "--workers") == "1" for options in trainings)
    starts = ["--start-from" in options for options in trainings]
    assert starts == [False, True, False, True]
    sets = [trained_on(options) for step, options in called if step == "records"]
    assert [len(names) for names in sets] == [2, 2, 5, 5]
    assert sets[0] == sets[1] and sets[0] < sets[2] == sets[3]
    # A count MAE of 1 where an image has 4 products is a relative error of 25 %.
    row = "| 5 | 20 | begin | 0.500 | 0.300 | 0.200 | 1.0 | 25% |"
    assert row in capsys.readouterr().out.splitlines()
    assert (paths.RESULTS / "learning_curve_default.png").read_bytes().startswith(b"\x89PNG")


def test_the_test_images_are_scored_at_the_threshold_of_validation(dataset, called):
    learning_curve.main(dataset)
    score = next(options for step, options in called if step == "score")
    assert value_of(score, "--ground-truth").endswith("test_labels.csv")
    assert value_of(score, "--val-ground-truth").endswith("val_labels.csv")
    assert value_of(score, "--output") != str(paths.METRICS)


def test_what_has_a_row_is_not_trained_again(dataset, called):
    learning_curve.main(dataset)
    del called[:]
    learning_curve.main(dataset[:-1] + ["8"])  # 2 and 8 images
    assert sum(step == "train" for step, _ in called) == 2
    learning_curve.main(dataset + ["--table"])
    assert sum(step == "train" for step, _ in called) == 2


def test_product_scale_makes_tiles_for_records_and_detection(dataset, called):
    options = ["--product-scale", "0.1", "--product-aspect-ratio", "0.6"]
    learning_curve.main(dataset + options)
    by_step = dict(called)
    assert value_of(by_step["records"], "--product-scale") == "0.1"
    assert value_of(by_step["records"], "--product-aspect-ratio") == "0.6"
    assert value_of(by_step["detect"], "--tiles") == "auto"


def test_rows_of_another_setting_are_not_mixed(dataset, called):
    learning_curve.main(dataset)
    with pytest.raises(UserError, match=r"setting.json: the rows there are of another seed; exp"):
        learning_curve.main(dataset + ["--seed", "1"])


@pytest.mark.wrong_input
def test_more_images_than_there_are_is_refused(dataset, called):
    with pytest.raises(UserError, match=r"8 training images; expected the 9 of --images"):
        learning_curve.main(dataset + ["--images", "9"])
    assert not called


@pytest.mark.wrong_input
@pytest.mark.parametrize("use", ["train", "val", "before"])
@pytest.mark.parametrize("name", ["test_1.jpg", "default/test_1.jpg"])
def test_a_start_that_has_seen_the_images_is_refused(dataset, called, tmp_path, use, name):
    (tmp_path / "begin" / "trained_on.json").write_text(json.dumps({use: [name]}))
    with pytest.raises(UserError, match=r"begin: was trained or validated on 1 image of the test"):
        learning_curve.main(dataset)
    assert not called


@pytest.mark.wrong_input
def test_a_start_that_is_no_graph_is_refused(dataset, called, tmp_path):
    (tmp_path / "begin" / "trained_on.json").unlink()
    with pytest.raises(UserError, match="begin: has no trained_on.json; expected the folder of a"):
        learning_curve.main(dataset)
    assert not called


@pytest.mark.wrong_input
def test_a_table_without_rows_is_refused(dataset, called):
    with pytest.raises(UserError, match="no training was scored; expected rows"):
        learning_curve.main(dataset + ["--table"])
