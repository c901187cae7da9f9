"""Step 00: the drawn dataset has the real one's layout, the same pixels for the same seed, and boxes that fit its packs."""

import collections
import csv
import random
import re

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.anchors import anchors
from shelfdet.core import paths
from shelfdet.data import images, splits, synthetic

TRAIN, TEST = 5, 2


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from conftest import load_script

    folder = tmp_path_factory.mktemp("drawn") / "shelves"
    load_script("00_make_demo_shelves").main(
        ["--out", str(folder), "--train", str(TRAIN), "--test", str(TEST), "--seed", "3"]
    )
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
        assert len(boxes) % shelves == 0  # as many packs on each of the shelves that the name tells


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


def test_a_box_is_where_the_pack_is_drawn():
    canvas = Image.new("RGB", (200, 200), (0, 255, 0))
    box_xyxy = synthetic._place(canvas, random.Random(1), 0, 60.4, 150.2, (62.0, 95.0))
    changed = (np.asarray(canvas, dtype=int) != [0, 255, 0]).any(axis=2)
    assert changed[box_xyxy[1] : box_xyxy[3], box_xyxy[0] : box_xyxy[2]].mean() > 0.95
    outside = changed.copy()
    outside[box_xyxy[1] - 10 : box_xyxy[3] + 2, box_xyxy[0] - 3 : box_xyxy[2] + 6] = (
        False  # shadow, and the packs behind
    )
    assert not outside.any()


def test_sizes_vary_and_both_orientations_are_there():
    sizes = {photo.size_wh for _, photo in synthetic.plan(60, 16, seed=0)}
    assert len(sizes) >= 5
    assert any(width < height for width, height in sizes) and any(
        width > height for width, height in sizes
    )


def test_the_default_plan_has_shelves_on_both_sides_and_every_planogram():
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


def test_one_image_carries_an_exif_flag_over_upright_pixels(drawn):
    flagged = [
        path for path in all_images(drawn) if images.inspect(path).orientation != images.UPRIGHT
    ]
    assert [images.inspect(path).orientation for path in flagged] == [3]
    assert flagged[0].parent.name == "train"
    pixels, _, _ = images.load(flagged[0])
    turned, _, _ = images.load(flagged[0], exif="apply")
    assert (pixels == turned[::-1, ::-1]).all()  # a viewer that obeys the flag shows it upside down


def test_the_same_seed_draws_the_same_bytes_and_another_does_not(drawn, script, tmp_path):
    step = script("00_make_demo_shelves")
    for name, seed in (("3", "3"), ("again", "3"), ("4", "4")):
        step.main(["--out", str(tmp_path / name), "--train", "1", "--test", "1", "--seed", seed])
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


def test_copies_of_a_shelf_show_the_same_packs():
    shelf = "C1_P01_N1_S2"
    photos = [synthetic.Photo(f"{shelf}_{copy}.JPG", shelf, (400, 300)) for copy in (1, 2)]
    drawings = [synthetic.draw(photo, seed=0) for photo in photos]
    assert drawings[0][2] == drawings[1][2]
    assert 0 < np.abs(drawings[0][1] - drawings[1][1]).max() < 30


def test_what_was_drawn_may_be_drawn_anew_but_nothing_else_is_replaced(script, tmp_path):
    step = script("00_make_demo_shelves")
    few = ["--train", "1", "--test", "1"]
    step.main(["--out", str(tmp_path / "shelves")] + few)
    (tmp_path / "shelves" / "ShelfImages" / "train" / "left over.JPG").write_text("from before")
    step.main(["--out", str(tmp_path / "shelves")] + few)
    assert len(all_images(tmp_path / "shelves")) == 2
    (tmp_path / "shelves" / "SYNTHETIC.txt").unlink()
    with pytest.raises(
        UserError, match="holds ShelfImages and annotations.csv that this step did not draw"
    ):
        step.main(["--out", str(tmp_path / "shelves")] + few)
    assert len(all_images(tmp_path / "shelves")) == 2


@pytest.mark.parametrize(
    "options", [["--train", "0"], ["--test", "-1"], ["--sead", "1"], ["--tra", "3"]]
)
def test_wrong_options_are_refused_before_anything_is_drawn(script, tmp_path, options):
    with pytest.raises(SystemExit) as stopped:
        script("00_make_demo_shelves").main(["--out", str(tmp_path / "shelves")] + options)
    assert stopped.value.code == 2
    assert not (tmp_path / "shelves").exists()


def test_a_file_where_the_folder_belongs(script, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: is a file; expected a folder"):
        script("00_make_demo_shelves").main(["--out", str(tmp_path / "file")])


def test_the_coverage_that_demo_config_states(monkeypatch):
    """The comment beside its scales is recomputed on the default train images, drawn without light and lettering."""
    config = (paths.TRAINING / "demo.config").read_text()
    number = lambda key: [
        float(value) for value in re.findall(rf"^ *{key}: ([\d.]+)", config, re.MULTILINE)
    ]
    monkeypatch.setattr(synthetic, "_expose", lambda image, rng: image)
    monkeypatch.setattr(synthetic, "pack", lambda *_: Image.new("RGB", (33, 50)))
    side = int(number("height")[0])
    layers = anchors.ssd_layers(
        [(side // 16,) * 2, (side // 32,) * 2],
        (side, side),
        number("scales"),
        *number("aspect_ratios"),
    )
    best = []
    for split, photo in synthetic.plan(60, 16, seed=0):
        if split == "train":
            boxes_xyxy = synthetic.draw(photo, seed=0)[1]
            best.append(
                anchors.best_iou(boxes_xyxy * np.tile(side / np.array(photo.size_wh), 2), layers)[0]
            )
    (stated,) = re.findall(r"coverage: ([\d.]+)", config)
    assert abs(np.mean(np.concatenate(best) >= 0.5) - float(stated)) < 0.01
