import csv
import json

import numpy as np
import pytest
from PIL import Image

import toy_graph
from shelfdet import UserError
from shelfdet.core import files
from shelfdet.data import detections, labels

LABEL_MAP = "item { id: 1 name: 'product' }\n"
BOX = (40.0, 30.0, 120.0, 150.0)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return toy_graph.write(tmp_path_factory.mktemp("graph") / "frozen_inference_graph.pb")


@pytest.fixture
def run(script, graph, tmp_path):
    (tmp_path / "label_map.pbtxt").write_text(LABEL_MAP)

    def run(*options):
        return script("08_detect").main(
            [
                "--graph",
                str(graph),
                "--label-map",
                str(tmp_path / "label_map.pbtxt"),
                "--metrics",
                str(tmp_path / "metrics.json"),
                "--output",
                str(tmp_path / "out.json"),
            ]
            + [str(option) for option in options]
        )

    return run


def save(path, size_wh=(400, 300), box_xyxy=BOX, orientation=None):
    pixels = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    xmin, ymin, xmax, ymax = (int(side) for side in box_xyxy)
    pixels[ymin:ymax, xmin:xmax] = 255
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(str(path), "JPEG", quality=95, exif=exif)


def label(path, names, size_wh=(400, 300)):
    labels.write_labels(
        [labels.labelled(name, size_wh, [("product", BOX)]) for name in names], path
    )


def test_boxes_come_back_in_the_pixels_of_the_image_on_disk(run, tmp_path):
    save(tmp_path / "in" / "large.JPG", (2000, 1000), (400, 200, 800, 900))
    save(tmp_path / "in" / "small.JPG")
    run("--images", tmp_path / "in", "--max-side", 500)
    large, small = detections.read_detections(tmp_path / "out.json")
    assert (large.filename, large.size_wh) == ("large.JPG", (2000, 1000))
    np.testing.assert_allclose(
        large.boxes_xyxy, [[400, 200, 800, 900], [0, 0, 2000, 1000]], atol=8
    )  # 4 pixels to one
    np.testing.assert_allclose(small.boxes_xyxy, [BOX, [0, 0, 400, 300]], atol=1.01)
    assert small.scores.tolist() == [0.75, 0.25]  # all of them
    assert small.classes == ("product", "product")


def test_the_images_of_a_label_file_are_found_in_train_and_test_in_its_order(run, tmp_path):
    for place in ("train/b.JPG", "test/a.JPG", "train/not labelled.JPG"):
        save(tmp_path / "ShelfImages" / place)
    label(tmp_path / "val_labels.csv", ["b.JPG", "a.JPG"])
    run("--labels", tmp_path / "val_labels.csv", "--images", tmp_path / "ShelfImages")
    assert [image.filename for image in detections.read_detections(tmp_path / "out.json")] == [
        "b.JPG",
        "a.JPG",
    ]


def test_the_output_says_what_it_was_made_with(run, graph, tmp_path):
    save(tmp_path / "in" / "a.JPG", orientation=3)
    label(tmp_path / "test_labels.csv", ["a.JPG"])
    config = graph.with_name("pipeline.config")
    config.write_text("model { }")
    run("--labels", tmp_path / "test_labels.csv", "--images", tmp_path / "in", "--max-side", 0)
    info = json.loads((tmp_path / "out.json").read_text())["info"]
    assert info["graph_sha256"] == files.sha256(graph)
    assert info["config_sha256"] == files.sha256(config)
    assert info["labels_sha256"] == files.sha256(tmp_path / "test_labels.csv")
    assert (info["max_side"], info["exif"], info["exif_flagged"]) == (0, "ignore", {"a.JPG": 3})


def test_exif_is_ignored_unless_asked_and_named_either_way(run, tmp_path, capsys):
    save(tmp_path / "in" / "plain.JPG")
    save(tmp_path / "in" / "turned.JPG", orientation=6)
    run("--images", tmp_path / "in")
    turned = detections.read_detections(tmp_path / "out.json")[1]
    assert turned.size_wh == (400, 300)
    np.testing.assert_allclose(turned.boxes_xyxy[0], BOX, atol=1.01)
    printed = capsys.readouterr().out
    assert (
        "1 image with an EXIF orientation: turned.JPG (6)" in printed and "--exif apply" in printed
    )

    run(
        "--images", tmp_path / "in", "--exif", "apply"
    )  # flag 6: the raw top left is the shown top right
    turned = detections.read_detections(tmp_path / "out.json")[1]
    assert turned.size_wh == (300, 400)
    np.testing.assert_allclose(
        turned.boxes_xyxy[0], [300 - BOX[3], BOX[0], 300 - BOX[1], BOX[2]], atol=1.01
    )
    assert "those of the turned images" in capsys.readouterr().out


def test_drawings_and_counts(run, tmp_path, capsys):
    for name in ("b c.JPG", "a.JPG", "rafğ.jpeg"):
        save(tmp_path / "in" / name)
    Image.new("L", (50, 40), 255).save(str(tmp_path / "in" / "grey.png"))
    run("--images", tmp_path / "in", "--draw", tmp_path / "drawn", "--threshold", 0.2)
    with open(str(tmp_path / "drawn" / "counts.csv"), encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["filename", "products"],
            ["a.JPG", "2"],
            ["b c.JPG", "2"],
            ["grey.png", "2"],
            ["rafğ.jpeg", "2"],
        ]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "a.JPG",
        "b c.JPG",
        "counts.csv",
        "grey.png.jpg",
        "rafğ.jpeg",
    ]
    assert Image.open(str(tmp_path / "drawn" / "a.JPG")).width == 400
    printed = capsys.readouterr().out
    assert "8 products in 4 images" in printed and "before" not in printed
    (tmp_path / "in" / "a.JPG").unlink()
    run("--images", tmp_path / "in", "--draw", tmp_path / "drawn", "--threshold", 0.2)
    printed = capsys.readouterr().out
    assert "6 products in 3 images" in printed and "1 image that was there before" in printed


@pytest.mark.parametrize(
    "metrics, count, words",
    [
        (None, "1", "from score 0.5 on: .*metrics.json is not there"),
        ({"graph_sha256": "of another", "threshold": 0.1}, "1", "made with another graph"),
        ({"graph_sha256": "SAME", "threshold": 0.1}, "2", "from score 0.100 on: the threshold in"),
        ({"graph_sha256": "SAME", "threshold": 0.9}, "0", "from score 0.900 on"),
        ("no JSON", "1", "names no threshold"),
    ],
)
def test_the_threshold_is_that_of_this_graphs_metrics_or_said_aloud(
    run, graph, tmp_path, capsys, metrics, count, words
):
    save(tmp_path / "in" / "a.JPG")
    if metrics is not None:
        text = (
            metrics
            if isinstance(metrics, str)
            else json.dumps(metrics).replace("SAME", files.sha256(graph))
        )
        (tmp_path / "metrics.json").write_text(text)
    run("--images", tmp_path / "in", "--draw", tmp_path / "drawn")
    assert (tmp_path / "drawn" / "counts.csv").read_text().splitlines()[1] == "a.JPG," + count
    import re

    assert re.search(words, capsys.readouterr().out)


def test_tiles_are_shown_one_by_one_and_boxes_are_still_those_of_the_image(
    run, tmp_path, monkeypatch
):
    from shelfdet.inference import detector

    detect, shown = detector.Detector.detect, []
    monkeypatch.setattr(
        detector.Detector,
        "detect",
        lambda self, pixels: shown.append(pixels.shape) or detect(self, pixels),
    )
    save(
        tmp_path / "in" / "a.JPG", (800, 600), (370, 280, 430, 320)
    )  # whole in each of the four tiles of 445 x 334
    run("--images", tmp_path / "in", "--tiles", 2)
    assert shown == [(600, 800, 3)] + [(334, 445, 3)] * 4
    (found,) = detections.read_detections(tmp_path / "out.json")
    # The network of the test also calls every image whole a product; a tile's whole is cut by its inner borders.
    np.testing.assert_allclose(found.boxes_xyxy, [[370, 280, 430, 320], [0, 0, 800, 600]], atol=1.5)
    run("--images", tmp_path / "in", "--tiles", 2, "--max-side", 500)
    assert shown[5:] == [(375, 500, 3)] + [(334, 445, 3)] * 4, (
        "tiles are cut from the image as it is, each at most 500 a side"
    )
    assert detections.read_info(tmp_path / "out.json")["tiles"] == 2


def test_a_strip_is_told_and_with_margins_its_boxes_are_still_those_of_the_image(
    run, tmp_path, capsys, monkeypatch
):
    from shelfdet.inference import detector

    detect, shown = detector.Detector.detect, []
    monkeypatch.setattr(
        detector.Detector,
        "detect",
        lambda self, pixels: shown.append(pixels.shape) or detect(self, pixels),
    )
    save(tmp_path / "in" / "wide.JPG", (1200, 240), (100, 40, 160, 200))
    save(tmp_path / "in" / "high.JPG", (150, 600), (30, 100, 90, 220))
    save(tmp_path / "in" / "plain.JPG", (400, 300), (40, 30, 100, 200))
    run("--images", tmp_path / "in", "--max-side", 600)
    printed = capsys.readouterr().out
    assert (
        "2 images more than twice as wide as high, or as high as wide: high.JPG, wide.JPG"
        in printed
        and "--pad-strips" in printed
    )
    assert sorted(shown) == [
        (120, 600, 3),
        (300, 400, 3),
        (600, 150, 3),
    ] and "pad_strips" not in detections.read_info(tmp_path / "out.json")
    del shown[:]
    run("--images", tmp_path / "in", "--max-side", 600, "--pad-strips")
    assert "--pad-strips" not in capsys.readouterr().out
    assert detections.read_info(tmp_path / "out.json")["pad_strips"] is True
    assert sorted(shown) == [(300, 400, 3), (450, 600, 3), (600, 450, 3)]
    found = {image.filename: image for image in detections.read_detections(tmp_path / "out.json")}
    for name, box_xyxy, size_wh in (
        ("wide.JPG", (100, 40, 160, 200), (1200, 240)),
        ("high.JPG", (30, 100, 90, 220), (150, 600)),
        ("plain.JPG", (40, 30, 100, 200), (400, 300)),
    ):
        assert found[name].size_wh == size_wh
        np.testing.assert_allclose(found[name].boxes_xyxy[0], box_xyxy, atol=3)
        # the toy graph's other box is the whole of what it was shown: its part inside the image
        np.testing.assert_allclose(found[name].boxes_xyxy[1], (0, 0) + size_wh, atol=1e-6)


def test_what_is_found_in_the_margins_is_left_out(script):
    # A strip of 400 x 100, shrunk to 200 x 50, in the middle of a frame of 200 x 150: 50 pixels of margin above and below.
    in_frame_yxyx = [
        [60 / 150, 0.1, 90 / 150, 0.2],
        [5 / 150, 0.1, 45 / 150, 0.2],
        [40 / 150, 0.5, 80 / 150, 0.6],
    ]
    boxes_xyxy, inside = script("08_detect").without_margins(
        in_frame_yxyx, (200, 150), (0, 50), (200, 50), (400, 100)
    )
    assert inside.tolist() == [True, False, True]
    np.testing.assert_allclose(
        boxes_xyxy, [[40, 20, 80, 80], [40, -90, 80, -10], [200, -20, 240, 60]]
    )


def test_a_strip_too_large_for_a_frame_is_told_by_name(run, tmp_path):
    save(tmp_path / "in" / "long.JPG", (20000, 20), (0, 0, 10, 20))
    with pytest.raises(
        UserError,
        match="long.JPG: a strip of 20000 x 20 pixels needs a frame of 20000 x 15000; expected at most 178 mega",
    ):
        run("--images", tmp_path / "in", "--max-side", 0, "--pad-strips")


@pytest.mark.parametrize(
    "root, beside, words",
    [
        ("of another", "SAME", "from score 0.100 on: the threshold in {0}/graph/metrics.json"),
        ("SAME", "of another", "from score 0.100 on: the threshold in {0}/metrics.json"),
        (
            "of another",
            "of another",
            "from score 0.5 on: {0}/metrics.json was made with another graph, {0}/graph/metrics.json was made with",
        ),
    ],
)
def test_the_threshold_is_that_of_the_workspaces_metrics_or_of_those_beside_the_graph(
    script, tmp_path, capsys, monkeypatch, root, beside, words
):
    from shelfdet.core import paths

    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics.json")
    graph = toy_graph.write(tmp_path / "graph" / "frozen_inference_graph.pb")
    for folder, sha256 in ((tmp_path, root), (tmp_path / "graph", beside)):
        (folder / "metrics.json").write_text(
            json.dumps(
                {"graph_sha256": sha256.replace("SAME", files.sha256(graph)), "threshold": 0.1}
            )
        )
    save(tmp_path / "in" / "a.JPG")
    script("08_detect").main(
        [
            "--graph",
            str(tmp_path / "graph"),
            "--images",
            str(tmp_path / "in"),
            "--draw",
            str(tmp_path / "drawn"),
            "--output",
            str(tmp_path / "out.json"),
        ]
    )
    assert words.format(tmp_path) in capsys.readouterr().out


def test_a_broken_image_ends_the_step_by_name_and_writes_nothing(run, tmp_path):
    save(tmp_path / "in" / "a.JPG")
    save(tmp_path / "in" / "broken.JPG")
    whole = (tmp_path / "in" / "broken.JPG").read_bytes()
    (tmp_path / "in" / "broken.JPG").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="broken.JPG: cannot be decoded to its end.*--skip-bad"):
        run("--images", tmp_path / "in")
    with pytest.raises(UserError, match="No detections and no counts were written"):
        run("--images", tmp_path / "in", "--draw", tmp_path / "drawn")
    assert not (tmp_path / "out.json").exists() and not (tmp_path / "drawn" / "counts.csv").exists()


def test_skip_bad_goes_on_and_lists(run, tmp_path, capsys):
    save(tmp_path / "in" / "a.JPG")
    (tmp_path / "in" / "empty.JPG").write_bytes(b"")
    (tmp_path / "in" / "text.jpg").write_bytes(b"no image")
    run("--images", tmp_path / "in", "--skip-bad")
    assert [image.filename for image in detections.read_detections(tmp_path / "out.json")] == [
        "a.JPG"
    ]
    assert sorted(json.loads((tmp_path / "out.json").read_text())["info"]["skipped"]) == [
        "empty.JPG",
        "text.jpg",
    ]
    told = capsys.readouterr().err
    assert (
        "empty.JPG: the file is empty" in told
        and "text.jpg: is no image" in told
        and "skipped 2 images" in told
    )


def test_skip_bad_with_bad_images_alone_is_no_success(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.jpg").write_bytes(b"no image")
    with pytest.raises(
        UserError,
        match="in: none of its 1 image can be read; expected one at least. The first: .*text.jpg: is no image",
    ):
        run("--images", tmp_path / "in", "--skip-bad")
    assert not (tmp_path / "out.json").exists()


def test_a_size_that_differs_from_the_label_files_is_told(run, tmp_path):
    save(tmp_path / "in" / "a.JPG", (400, 310))
    label(tmp_path / "test_labels.csv", ["a.JPG"])
    with pytest.raises(
        UserError, match="a.JPG: 400 x 310 pixels; .*test_labels.csv says 400 x 300"
    ):
        run("--labels", tmp_path / "test_labels.csv", "--images", tmp_path / "in")


def test_a_missing_image_is_told(run, tmp_path):
    save(tmp_path / "in" / "a.JPG")
    label(tmp_path / "test_labels.csv", ["a.JPG", "lost.JPG"])
    with pytest.raises(UserError, match="lost.JPG"):
        run("--labels", tmp_path / "test_labels.csv", "--images", tmp_path / "in")


def test_a_class_that_the_label_map_lacks_is_told(run, tmp_path):
    save(tmp_path / "in" / "a.JPG")
    graph = toy_graph.write(tmp_path / "graph" / "frozen_inference_graph.pb", class_ids=(1, 4))
    with pytest.raises(UserError, match="label_map.pbtxt: the graph found class 4; expected 1"):
        run("--images", tmp_path / "in", "--graph", graph.parent)


def test_the_users_images_are_never_drawn_over(run, tmp_path):
    save(tmp_path / "in" / "a.JPG")
    before = (tmp_path / "in" / "a.JPG").read_bytes()
    with pytest.raises(UserError, match="would be written over"):
        run("--images", tmp_path / "in", "--draw", tmp_path / "out" / ".." / "in")
    (tmp_path / "links").mkdir()  # as step 01 lays them
    (tmp_path / "links" / "a.JPG").symlink_to(tmp_path / "in" / "a.JPG")
    with pytest.raises(UserError, match="would be written over"):
        run("--images", tmp_path / "links", "--draw", tmp_path / "links")
    with pytest.raises(UserError, match="a.JPG lies there, which has not this step's mark"):
        run("--images", tmp_path / "in", "--draw", tmp_path / "links")
    save(tmp_path / "others" / "a.JPG", (80, 60), (4, 3, 10, 20))
    with pytest.raises(UserError, match="a.JPG lies there, which has not this step's mark"):
        run("--images", tmp_path / "in", "--draw", tmp_path / "others")
    assert (tmp_path / "links" / "a.JPG").is_symlink() and Image.open(
        str(tmp_path / "others" / "a.JPG")
    ).size == (80, 60)
    assert (tmp_path / "in" / "a.JPG").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "counts.csv").write_text("shop,shelves\n")
    with pytest.raises(
        UserError, match="counts.csv lies there, which holds no counts of this step"
    ):
        run("--images", tmp_path / "in", "--draw", tmp_path / "mine")
    for _ in range(2):  # its own drawings it may replace
        run("--images", tmp_path / "in", "--draw", tmp_path / "drawn")


def test_files_that_are_no_images_are_named(run, tmp_path, capsys):
    save(tmp_path / "in" / "a.JPG")
    save(tmp_path / "in" / "more" / "b.JPG")
    for name in ("c.webp", ".hidden"):
        (tmp_path / "in" / name).write_text("")
    run("--images", tmp_path / "in")
    assert (
        f"not looked at in {tmp_path / 'in'}, for they are no files ending in .jpg"
        in capsys.readouterr().out.split("c.webp, more")[0]
    )


def test_an_empty_folder_and_a_file_for_a_folder_are_told(run, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="no image in it"):
        run("--images", tmp_path / "in")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        run("--images", tmp_path / "file")
    save(tmp_path / "in" / "a.JPG")
    with pytest.raises(UserError, match="cannot be written"):
        run("--images", tmp_path / "in", "--draw", tmp_path / "file")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--images", "x", "--thresh", "0.5"),
        ("--images", "x", "--threshold", "5"),
        ("--images", "x", "--max-side", "-1"),
    ],
)
def test_wrong_options_are_refused(script, options):
    with pytest.raises(SystemExit) as error:
        script("08_detect").main(list(options))
    assert error.value.code == 2


def test_real_images_of_both_sizes(run, tmp_path, shelf_data_original):
    run("--images", shelf_data_original / "ShelfImages" / "test", "--draw", tmp_path / "drawn")
    info = json.loads((tmp_path / "out.json").read_text())["info"]
    assert sorted(info["exif_flagged"]) == ["C1_P03_N1_S2_1.JPG", "C1_P12_N1_S5_1.JPG"]
    assert all(Image.open(str(path)).width <= 1024 for path in (tmp_path / "drawn").glob("*.JPG"))
