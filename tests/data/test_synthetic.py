"""Step 00: the Grocery Dataset's layout, the same pixels for a seed, boxes that fit products."""

import collections
import csv
import random
import re

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage
from shelfdet.core import paths
from shelfdet.data import images, synthetic
from shelfdet.data.splitting import splits

TRAIN, TEST = 5, 2


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "shelves"
    synthetic.write_dataset(folder, TRAIN, TEST, seed=3)
    return folder


@pytest.fixture(scope="module")
def rows(drawn):
    """{name: int array (N, 5) of xmin, ymin, xmax, ymax, brand}"""
    found = collections.defaultdict(list)
    with open(str(drawn / "annotations.csv"), newline="") as file:
        for name, *numbers in csv.reader(file):
            found[name].append([int(number) for number in numbers])
    return {name: np.array(values) for name, values in found.items()}


def all_images(folder):
    return images.list_images(folder / "ShelfImages" / "train") + images.list_images(
        folder / "ShelfImages" / "test"
    )


def test_the_layout_is_the_grocery_datasets(drawn, rows):
    assert sorted(path.name for path in drawn.iterdir()) == [
        "SYNTHETIC.txt",
        "ShelfImages",
        "annotations.csv",
    ]
    assert [
        len(images.list_images(drawn / "ShelfImages" / side)) for side in ("train", "test")
    ] == [TRAIN, TEST]
    names = [path.name for path in all_images(drawn)]
    assert len(set(names)) == len(names) and set(names) == set(rows)
    assert all(re.match(r"C[1-4]_P(0[1-9]|1[0-2])_N\d_S[2-5]_[12]\.JPG$", name) for name in names)


def test_each_image_holds_twenty_to_forty_products_inside_it(drawn, rows):
    for path in all_images(drawn):
        width, height = images.inspect(path).size_wh
        boxes, brands = rows[path.name][:, :4], rows[path.name][:, 4]
        assert 20 <= len(boxes) <= 40
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        assert (boxes[:, 2] - boxes[:, 0] >= 0.04 * width).all() and (
            boxes[:, 3] - boxes[:, 1] >= 0.06 * height
        ).all()
        assert set(brands) <= set(range(1, 11))
        shelves = int(path.stem.split("_S")[1].split("_")[0])
        assert (
            len(boxes) % shelves == 0
        )  # as many products on each of the shelves that the name states


@pytest.mark.parametrize(
    "box_xyxy", [(30, 20, 80, 90), (210, 30, 260, 95), (60, 160, 110, 220), (210, 150, 260, 215)]
)
def test_boxes_follow_the_tilt(box_xyxy):
    """A white rectangle on black, tilted: its pixels reach to within a pixel of its box."""
    drawing = Image.new("L", (300, 240))
    drawing.paste(255, box_xyxy)
    tilted, moved_xyxy = synthetic._tilt(
        drawing, np.array([box_xyxy], dtype=float), random.Random(0)
    )
    assert np.abs(moved_xyxy[0] - box_xyxy).max() >= 2
    y, x = np.nonzero(np.asarray(tilted) > 127)
    assert np.abs(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - moved_xyxy[0]).max() <= 1


def test_a_box_is_where_the_product_is_drawn():
    canvas = Image.new("RGB", (200, 200), (0, 255, 0))
    box_xyxy = synthetic._draw_product(canvas, random.Random(1), 0, 60.4, 150.2, (62.0, 95.0))
    changed = (np.asarray(canvas, dtype=int) != [0, 255, 0]).any(axis=2)
    assert changed[box_xyxy[1] : box_xyxy[3], box_xyxy[0] : box_xyxy[2]].mean() > 0.95
    outside = changed.copy()
    outside[box_xyxy[1] - 10 : box_xyxy[3] + 2, box_xyxy[0] - 3 : box_xyxy[2] + 6] = (
        False  # shadow, and the products behind
    )
    assert not outside.any()


def test_sizes_vary_and_some_images_are_upright():
    sizes = {photo.size_wh for _, photo in synthetic.plan(60, 16, seed=0)}
    assert len(sizes) >= 5
    assert any(width < height for width, height in sizes) and any(
        width > height for width, height in sizes
    )


def test_the_default_plan_has_every_planogram_and_shelves_in_train_and_test():
    photos = synthetic.plan(60, 16, seed=0)
    names = {
        side: [photo.name for split, photo in photos if split == side] for side in ("train", "test")
    }
    assert (len(names["train"]), len(names["test"])) == (60, 16)
    assert len(splits.planograms(names["train"] + names["test"])) == 12
    sizes = {}
    for _, photo in photos:
        assert sizes.setdefault(photo.shelf, photo.size_wh) == photo.size_wh
    shared = {splits.shelf(name) for name in names["train"]} & {
        splits.shelf(name) for name in names["test"]
    }
    assert shared  # as in the real dataset
    divided = splits.official(names["train"], names["test"], 0.1, 0)
    assert len(divided["val"]) >= 6
    for fold in range(4):
        splits.grouped(names["train"] + names["test"], fold, 0.1, 0)


def test_one_image_has_an_exif_orientation_although_it_is_upright(drawn):
    flagged = [
        path for path in all_images(drawn) if images.inspect(path).orientation != images.UPRIGHT
    ]
    assert [images.inspect(path).orientation for path in flagged] == [3]
    assert flagged[0].parent.name == "train"
    pixels, _, _ = images.load(flagged[0])
    turned, _, _ = images.load(flagged[0], exif="apply")
    assert (pixels == turned[::-1, ::-1]).all()  # a viewer that applies it shows it upside down


def test_the_same_seed_draws_the_same_bytes_and_another_does_not(drawn, tmp_path):
    for name, seed in (("3", 3), ("again", 3), ("4", 4)):
        synthetic.write_dataset(tmp_path / name, 1, 1, seed)
    content = {
        name: [path.read_bytes() for path in all_images(tmp_path / name)]
        for name in ("3", "again", "4")
    }
    assert content["3"] == content["again"]
    assert not set(content["3"]) & set(content["4"])
    many = {path.name: images.load(path)[0] for path in all_images(drawn)}
    for path in all_images(
        tmp_path / "3"
    ):  # an image depends on its name and the seed, not on how many there are
        assert (images.load(path)[0] == many[path.name]).all()


def test_copies_of_a_shelf_show_the_same_products():
    shelf = "C1_P01_N1_S2"
    photos = [synthetic.Photo(f"{shelf}_{copy}.JPG", shelf, (400, 300)) for copy in (1, 2)]
    drawings = [synthetic.draw(photo, seed=0) for photo in photos]
    assert drawings[0][2] == drawings[1][2]
    assert 0 < np.abs(drawings[0][1] - drawings[1][1]).max() < 30


def test_a_drawn_dataset_is_replaced_and_any_other_is_not(tmp_path):
    synthetic.write_dataset(tmp_path / "shelves", 1, 1, seed=0)
    (tmp_path / "shelves" / "ShelfImages" / "train" / "left over.JPG").write_text("from before")
    synthetic.write_dataset(tmp_path / "shelves", 1, 1, seed=0)
    assert len(all_images(tmp_path / "shelves")) == 2
    (tmp_path / "shelves" / "SYNTHETIC.txt").unlink()
    with pytest.raises(
        UserError, match="holds ShelfImages and annotations.csv that this step did not draw"
    ):
        synthetic.write_dataset(tmp_path / "shelves", 1, 1, seed=0)
    assert len(all_images(tmp_path / "shelves")) == 2


def test_the_script_draws_and_counts(script, tmp_path, capsys):
    out = tmp_path / "shelves"
    script("00_make_demo_shelves").main(["--out", str(out), "--train", "2", "--test", "1"])
    products = len((out / "annotations.csv").read_text().splitlines())
    assert f"drew 2 train and 1 test images with {products} products" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [["--train", "0"], ["--test", "-1"], ["--sead", "1"], ["--tra", "3"]]
)
def test_wrong_options_draw_nothing(script, tmp_path, options):
    with pytest.raises(SystemExit) as stopped:
        script("00_make_demo_shelves").main(["--out", str(tmp_path / "shelves")] + options)
    assert stopped.value.code == 2
    assert not (tmp_path / "shelves").exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: is a file; expected a folder"):
        synthetic.write_dataset(tmp_path / "file", 1, 1, seed=0)


def test_the_anchor_coverage_that_demo_config_states(monkeypatch):
    """Recomputes the comment at its scales from the boxes of the default training images."""
    config = (paths.TRAINING / "demo.config").read_text()

    def numbers(key):
        found = re.findall(rf"^ *{key}: ([\d.]+)", config, re.MULTILINE)
        return [float(value) for value in found]

    # Light and text take most of the time and do not move a box.
    monkeypatch.setattr(synthetic, "_expose", lambda image, rng: image)
    monkeypatch.setattr(synthetic, "product_front", lambda *_: Image.new("RGB", (33, 50)))
    side = int(numbers("height")[0])
    layers = anchors.ssd_layers(
        [(side // 16,) * 2, (side // 32,) * 2],
        (side, side),
        numbers("scales"),
        *numbers("aspect_ratios"),
    )
    best = []
    for split, photo in synthetic.plan(60, 16, seed=0):
        if split == "train":
            resized_xyxy = synthetic.draw(photo, seed=0).boxes_xyxy * np.tile(
                side / np.array(photo.size_wh), 2
            )
            best.append(coverage.best_iou(resized_xyxy, layers)[0])
    (stated,) = re.findall(r"coverage: ([\d.]+)", config)
    assert abs(np.mean(np.concatenate(best) >= 0.5) - float(stated)) < 0.01
