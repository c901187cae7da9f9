"""Step 03: figures, lines to paste and page of plots from a label file; and its bad input."""

import json

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.anchors import anchors, figure
from shelfdet.config import pipeline
from shelfdet.config.network import generate_anchors
from shelfdet.core import paths
from shelfdet.data import labels


def label_file(path, counts=(14, 9, 11), size_wh=(400, 300)):
    """Upright products of about a tenth of the image, at random places."""
    random = np.random.RandomState(5)
    images = []
    for number, count in enumerate(counts):
        low = random.uniform(0, 220, (count, 2))
        images.append(
            labels.LabelledImage(
                f"shelf {number}.jpg",
                size_wh,
                np.hstack([low, low + random.uniform(0.9, 1.1, (count, 2)) * [30, 42]]),
                ("product",) * count,
            )
        )
    labels.write_labels(images, path)
    return images


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """One run of the script on a small label file: (folder, label file, what it printed)."""
    import contextlib
    import io

    from conftest import load_script

    folder = tmp_path_factory.mktemp("anchors")
    images = label_file(folder / "train_labels.csv")
    (folder / "images").mkdir()
    # the others are not there: blank paper
    Image.new("RGB", (400, 300), "white").save(str(folder / "images" / images[0].filename))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        load_script("03_estimate_anchors").main(
            [
                "--labels",
                str(folder / "train_labels.csv"),
                "--output",
                str(folder / "out"),
                "--no-table",
                "--images",
                str(folder / "images"),
                "--repeats",
                "1",
                "--input",
                "256x192",
            ]
        )
    return folder, images, printed.getvalue()


def test_it_prints_shares_and_lines(walked):
    _, _, printed = walked
    assert "34 boxes in 3 images" in printed
    for words in (
        "that are there, either\n\n",
        "\n}\n\nor\n\n",
        "meet some anchor at IoU >= 0.5",
        "lose their best anchor to another box",
        "learned by the forced match alone",
        "have their best anchor on 32 x 32",
        "ssd_anchor_generator {",
        "flexible_grid_anchor_generator {",
        "256 x 192 px",
    ):
        assert words in printed


def test_the_shares_are_those_of_the_configs_anchors(walked):
    folder, images, _ = walked
    figures = json.loads((folder / "out" / "anchors.json").read_text())
    config = pipeline.read(paths.SHIPPED_CONFIG)
    image_wh = pipeline.input_size(config)
    fields = config.model.ssd.anchor_generator.ssd_anchor_generator
    layers = anchors.ssd_layers(
        [(image_wh[0] // 16, image_wh[1] // 16), (image_wh[0] // 32, image_wh[1] // 32)],
        image_wh,
        list(fields.scales),
        fields.aspect_ratios[0],
    )
    iou, _ = anchors.best_iou(np.concatenate(anchors.resized(images, image_wh)), layers)
    assert list(figures["as_labelled"]["met"].values()) == pytest.approx(
        anchors.shares(iou), abs=1e-9
    )
    assert figures["as_trained_on"]["boxes"] > 0


def test_the_lines_give_what_is_promised(walked):
    folder, images, _ = walked
    config = pipeline.read(paths.SHIPPED_CONFIG)
    for advice in json.loads((folder / "out" / "anchors.json").read_text())["advice"]:
        pasted = pipeline.parse("model { ssd {" + "\n".join(advice["lines"]) + "\n} }", "lines")
        grids_wh = [tuple(grid_wh) for grid_wh in advice["feature_maps_wh"]]
        assert pipeline.input_size(pasted) == (256, 192) and grids_wh == [(16, 12), (8, 6)]
        laid, layer, per_cell = generate_anchors(pasted, grids_wh=grids_wh)
        covered = anchors.coverage(
            anchors.resized(images, (256, 192)), laid, layer, (256, 192), pipeline.matcher(config)
        )
        assert per_cell == [1, 1]
        # one box of 34, by rounding
        assert anchors.shares(covered.best_iou) == pytest.approx(
            list(advice["met"].values()), abs=0.03
        )
        assert advice["multiply_adds"] > 1e8


def test_the_page_is_a_image_of_some_size(walked):
    folder, _, _ = walked
    with Image.open(str(folder / "out" / "anchors.png")) as page:
        assert page.format == "PNG" and min(page.size) > 1000


def test_worst_images_come_first_with_their_share():
    image_wh = (64, 64)
    images = [
        labels.LabelledImage("good.jpg", image_wh, np.array([[0.0, 0, 16, 16]]), ("product",)),
        labels.LabelledImage(
            "bad <b>.jpg", image_wh, np.array([[0.0, 0, 2, 2], [16, 16, 32, 32]]), ("product",) * 2
        ),
    ]
    layers = anchors.ssd_layers([(4, 4)], image_wh, [0.25], 1.0)
    by_image = anchors.resized(images, image_wh)
    covered = anchors.coverage(by_image, *anchors.tile(layers), image_wh)
    page = figure.Page("", image_wh, images, layers, covered, by_image, [])
    drawn = figure.worst_images(page, None)
    assert [title for title, _ in drawn] == [
        "bad <b>.jpg: 50% of its boxes met",
        "good.jpg: 100% of its boxes met",
    ]


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "empty"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\n", "no rows"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,10,10,,,,,\n", "no boxes"),
        (
            "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,10,10,product,1,1,nan,5\n",
            "line 2",
        ),
    ],
)
def test_labels_without_a_use_are_refused(script, tmp_path, text, told):
    path = tmp_path / "train_labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=told):
        script("03_estimate_anchors").main(["--labels", str(path), "--output", str(tmp_path)])
    assert not (tmp_path / "anchors.png").exists()


@pytest.mark.parametrize(
    "argument",
    ["--input=512", "--input=512x", "--input=8x8", "--layers=0", "--repeats=0", "--conf=x"],
)
def test_bad_options_are_refused(script, argument, capsys):
    with pytest.raises(SystemExit) as ended:
        script("03_estimate_anchors").main([argument])
    assert ended.value.code == 2 and "error:" in capsys.readouterr().err


def test_the_full_table_of_the_real_train_boxes_is_true(script, shelf_data, tmp_path, capsys):
    from test_pipeline import real_train_boxes

    labels.write_labels(real_train_boxes(shelf_data), tmp_path / "train_labels.csv")
    script("03_estimate_anchors").main(
        [
            "--labels",
            str(tmp_path / "train_labels.csv"),
            "--output",
            str(tmp_path),
            "--no-photographs",
        ]
    )
    capsys.readouterr()
    met = {
        (tuple(advice["input_wh"]), len(advice["feature_maps_wh"]), advice["generator"]): advice[
            "met"
        ]["0.5"]
        for advice in json.loads((tmp_path / "anchors.json").read_text())["advice"]
    }
    # A coarse search had found these; a finer one may not do worse.
    for side, share in ((300, 0.62), (416, 0.80), (512, 0.88), (640, 0.94), (800, 0.97)):
        assert met[(side, side), 2, "ssd_anchor_generator"] >= share - 0.01
