"""Step 03 with config/anchor_advice.py: figures, config lines and page of plots; bad input."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from conftest import load_script
from shelfdet import UserError
from shelfdet.anchors import anchors, coverage, figure
from shelfdet.config import pipeline
from shelfdet.config.network import generate_anchors
from shelfdet.core import drawing, paths
from shelfdet.data import labels

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def write_label_file(path, counts=(14, 9, 11), size_wh=(400, 300)):
    """Upright products of about a tenth of the image, at random places."""
    random = np.random.RandomState(5)
    images = []
    for number, count in enumerate(counts):
        low = random.uniform(0, 220, (count, 2))
        boxes_xyxy = np.hstack([low, low + random.uniform(0.9, 1.1, (count, 2)) * [30, 42]])
        images.append(
            labels.LabelledImage(f"shelf {number}.jpg", size_wh, boxes_xyxy, ("product",) * count)
        )
    labels.write_labels(images, path)
    return images


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of the script on a small label file: (folder, LabelledImages, what it printed)."""
    folder = tmp_path_factory.mktemp("anchors")
    images = write_label_file(folder / "train_labels.csv")
    (folder / "images").mkdir()
    # The other photographs are missing: their boxes are drawn on blank paper.
    Image.new("RGB", (400, 300), "white").save(str(folder / "images" / images[0].filename))
    printed = io.StringIO()
    options = f"--config {paths.SHIPPED_CONFIG} --no-table --repeats 1 --input 256x192".split()
    options += ["--labels", str(folder / "train_labels.csv")]
    options += ["--images", str(folder / "images"), "--output", str(folder / "out")]
    with contextlib.redirect_stdout(printed):
        load_script("03_estimate_anchors").main(options)
    return folder, images, printed.getvalue()


def read_figures(folder):
    return json.loads((folder / "out" / "anchors.json").read_text())


def test_it_prints_coverage_and_lines(finished):
    _, _, printed = finished
    for words in (
        "34 boxes in 3 images",
        "covered by an anchor at IoU >= 0.5",
        "best anchor matched to another box",
        "learned by the forced match alone",
        "best anchor on feature map 32 x 32",
        "Lines for 256 x 192 px and 2 feature maps.",
        "ssd_anchor_generator {",
    ):
        assert words in printed
    assert "flexible_grid_anchor_generator" not in printed


def test_the_coverage_is_that_of_the_configs_anchors(finished):
    folder, images, _ = finished
    figures = read_figures(folder)
    config = pipeline.read(paths.SHIPPED_CONFIG)
    width, height = image_wh = pipeline.input_size(config)
    fields = config.model.ssd.anchor_generator.ssd_anchor_generator
    layers = anchors.ssd_layers(
        [(width // 16, height // 16), (width // 32, height // 32)],
        image_wh,
        list(fields.scales),
        fields.aspect_ratios[0],
    )
    best_iou, _ = coverage.best_iou(np.concatenate(anchors.resized(images, image_wh)), layers)
    printed_shares = list(figures["as_labelled"]["coverage"].values())
    assert printed_shares == pytest.approx(coverage.shares(best_iou), abs=1e-9)
    assert figures["after_augmentation"]["boxes"] > 0


def test_the_lines_reach_the_coverage_that_is_printed(finished):
    folder, images, _ = finished
    config = pipeline.read(paths.SHIPPED_CONFIG)
    (advice,) = read_figures(folder)["advice"]
    advised = pipeline.parse("model { ssd {" + "\n".join(advice["lines"]) + "\n} }", "lines")
    image_wh = pipeline.input_size(advised)
    grids_wh = [tuple(grid_wh) for grid_wh in advice["feature_maps_wh"]]
    assert image_wh == (256, 192)
    assert grids_wh == [(16, 12), (8, 6)]
    generated = generate_anchors(advised, grids_wh=grids_wh)
    assert generated.per_cell == [1, 1]
    measured = coverage.measure(
        anchors.resized(images, image_wh),
        generated.anchors_xyxy,
        generated.layer,
        image_wh,
        pipeline.matcher(config),
    )
    # Rounding of the values may move one box of 34 over a threshold.
    printed_shares = list(advice["coverage"].values())
    assert coverage.shares(measured.best_iou) == pytest.approx(printed_shares, abs=0.03)
    assert advice["multiply_adds"] > 1e8


def test_the_lines_for_the_configs_own_network_cover_no_fewer_boxes(tmp_path, capsys):
    write_label_file(tmp_path / "train_labels.csv", counts=(40, 50, 60))
    options = ["--config", str(paths.SHIPPED_CONFIG), "--no-table", "--repeats", "1"]
    options += ["--labels", str(tmp_path / "train_labels.csv"), "--no-photographs"]
    load_script("03_estimate_anchors").main(options + ["--output", str(tmp_path / "out")])
    assert "not drawn" not in capsys.readouterr().out
    figures = read_figures(tmp_path)
    (advice,) = figures["advice"]
    assert advice["coverage"]["0.5"] >= figures["as_labelled"]["coverage"]["0.5"]


def test_photographs_that_cannot_be_read_are_named(finished):
    _, _, printed = finished
    for name in ("shelf 1.jpg", "shelf 2.jpg"):
        assert f"does not exist: {name}" in printed
    assert printed.count("not drawn, only its boxes:") == 2


def test_the_exif_orientation_is_applied_to_the_photographs(tmp_path, capsys, monkeypatch):
    write_label_file(tmp_path / "train_labels.csv", counts=(5,), size_wh=(300, 400))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees: upright 300 x 400
    lying = Image.new("RGB", (400, 300))
    lying.save(str(tmp_path / "shelf 0.jpg"), exif=exif.tobytes())
    drawn = []
    monkeypatch.setattr(
        drawing, "draw_coverage", lambda pixels, *_: drawn.append(pixels.shape) or pixels
    )
    options = ["--config", str(paths.SHIPPED_CONFIG), "--no-table", "--repeats", "1"]
    options += ["--labels", str(tmp_path / "train_labels.csv"), "--images", str(tmp_path)]
    load_script("03_estimate_anchors").main(options + ["--output", str(tmp_path / "out")])
    assert "is 400 x 300 pixels, expected the shape of" in capsys.readouterr().out
    load_script("03_estimate_anchors").main(
        options + ["--output", str(tmp_path / "out"), "--exif", "apply"]
    )
    assert "not drawn" not in capsys.readouterr().out
    blank_height = int(400 * figure.IMAGE_SIDE / 400)
    assert [shape[0] for shape in drawn] == [blank_height, 400]


def test_the_page_is_written(finished):
    folder, _, _ = finished
    with Image.open(str(folder / "out" / "anchors.png")) as page:
        assert page.format == "PNG"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty"),
        (HEADER, "no rows"),
        (HEADER + "a.jpg,10,10,,,,,\n", "has no boxes; expected at least one product"),
        (HEADER + "a.jpg,10,10,product,1,1,nan,5\n", "line 2"),
    ],
)
def test_labels_without_boxes_are_refused(tmp_path, text, message):
    path = tmp_path / "train_labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_script("03_estimate_anchors").main(["--labels", str(path), "--output", str(tmp_path)])
    assert not (tmp_path / "anchors.png").exists()


@pytest.mark.parametrize(
    "option",
    ["--input=512", "--input=512x", "--input=8x8", "--layers=0", "--repeats=0", "--conf=x"],
)
def test_bad_options_are_refused(option, capsys):
    with pytest.raises(SystemExit) as ended:
        load_script("03_estimate_anchors").main([option])
    assert ended.value.code == 2 and "error:" in capsys.readouterr().err


def test_the_table_of_the_real_train_boxes(real_train_images, tmp_path, capsys):
    labels.write_labels(real_train_images, tmp_path / "train_labels.csv")
    options = ["--labels", str(tmp_path / "train_labels.csv"), "--no-photographs"]
    load_script("03_estimate_anchors").main(options + ["--output", str(tmp_path / "out")])
    capsys.readouterr()
    best = {
        (tuple(advice["input_wh"]), len(advice["feature_maps_wh"])): advice["coverage"]["0.5"]
        for advice in read_figures(tmp_path)["advice"]
    }
    # A coarse search found these; the finer one must not find less.
    for side, share in ((300, 0.62), (416, 0.80), (512, 0.88), (640, 0.94), (800, 0.97)):
        assert best[(side, side), 2] >= share - 0.01
