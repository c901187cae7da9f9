"""Suspects: each kind of wrong label is found, the worst first; right ones are not."""

import json
import pathlib

import pytest
from browsing import press, wait
from PIL import Image
from report_example import page_data
from scored_images import BOX, EMPTY, FAR, HALF, SIZE_WH, found, labelled, match

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.core.text import Problems
from shelfdet.data import classes, dataset, detections, labels, prelabels
from shelfdet.data.checks import box_units, validation
from shelfdet.evaluation import matching, suspects

THRESHOLD = 0.5


def reasons(*images):
    return [
        (suspect.filename, suspect.reason, pytest.approx(suspect.suspicion))
        for suspect in suspects.find(match(*images), THRESHOLD)
    ]


def test_labels_that_the_detector_confirms_are_no_suspects():
    assert reasons(("a", [BOX, FAR], [(0.9, BOX), (0.5, FAR)])) == []


def test_a_detection_without_a_label():
    (suspect,) = suspects.find(match(("a", [BOX], [(0.9, BOX), (0.8, EMPTY)])), THRESHOLD)
    assert suspect == ("a", suspects.NO_LABEL, 0.8, None, None, EMPTY, "product", 0.8)
    assert suspect.box_xyxy == EMPTY


def test_a_second_detection_of_a_labelled_product_is_no_fault_of_the_labels():
    assert reasons(("a", [BOX], [(0.9, BOX), (0.8, HALF)])) == []


def test_detections_below_the_threshold_do_not_count():
    assert reasons(("a", [BOX], [(0.9, BOX), (0.49, EMPTY)])) == []


def test_a_label_without_a_detection_and_how_near_one_was():
    assert reasons(("a", [BOX, FAR], [(0.3, BOX)])) == [
        ("a", suspects.NO_DETECTION, 1),
        ("a", suspects.NO_DETECTION, 0.7),
    ]


def test_a_badly_placed_label():
    (suspect,) = suspects.find(match(("a", [HALF], [(0.9, BOX)])), THRESHOLD)
    assert suspect[:3] == ("a", suspects.BADLY_PLACED, pytest.approx(0.45))  # 0.9 (1 - 0.5)
    assert (suspect.label_xyxy, suspect.detection_xyxy) == (HALF, BOX)


def test_neighbours_that_overlap_are_not_taken_for_one_another():
    # The label of the right one is missing; its detection overlaps the left label by 2 / 18.
    right = (8, 0, 18, 10)
    assert reasons(("a", [BOX], [(0.95, right), (0.9, BOX)])) == [("a", suspects.NO_LABEL, 0.95)]


def test_a_duplicate_label():
    nearly = (0, 0, 10, 9.5)
    assert reasons(("a", [BOX, nearly], [(0.9, BOX)])) == [("a", suspects.DUPLICATE, 0.95)]


def test_another_class():
    truth = [labelled("a", [BOX, FAR], ["tea", "cola"])]
    detected = [found("a", [(0.9, *BOX), (0.8, *FAR)], ["tea", "tea"])]
    (suspect,) = suspects.find(matching.match(truth, detected), THRESHOLD)
    assert suspect[:3] == ("a", suspects.OTHER_CLASS, 0.8)
    assert (suspect.label, suspect.detection) == ("cola", "tea")


def test_the_worst_of_all_images_comes_first():
    found_in_all = reasons(
        ("a", [BOX, FAR], [(0.9, BOX), (0.3, FAR)]),
        ("b", [BOX], [(0.9, BOX), (0.99, EMPTY)]),
        ("c", [BOX], []),
        CONFIRMED,
    )
    assert [reason[0] for reason in found_in_all] == ["c", "b", "a"]


# Eight labels that are detected, of a detector that is to be trusted.
GRID = [(x, y, x + 10, y + 10) for x in (0, 15, 30, 45) for y in (0, 20)]
CONFIRMED = ("confirmed", GRID, [(0.9, box) for box in GRID])


def test_suspects_of_equal_suspicion_are_in_turns_of_their_images():
    more = [(0, 20, 10, 30), (20, 20, 30, 30)]
    detected = [
        ("a", [], [(0.9, BOX), (0.9, FAR), (0.9, more[0]), (0.95, more[1])]),
        ("b", [], [(0.9, BOX)]),
        ("c", [], [(0.8, FAR), (0.9, BOX), (0.9, more[0])]),
    ]
    found_in_all = suspects.find(match(*detected), THRESHOLD)
    order = [(one.filename, one.suspicion, one.detection_xyxy) for one in found_in_all]
    assert order == [
        ("a", 0.95, more[1]),
        ("a", 0.9, BOX),
        ("b", 0.9, BOX),
        ("c", 0.9, BOX),
        ("a", 0.9, FAR),
        ("c", 0.9, more[0]),
        ("a", 0.9, more[0]),
        ("c", 0.8, FAR),
    ]


def test_labels_that_a_weak_detector_misses_come_last():
    unlabelled = ("b", [], [(0.6, BOX)])
    missed_by_good = [("a", [BOX, FAR], []), unlabelled, CONFIRMED]  # 2 of 10
    assert [reason[1] for reason in reasons(*missed_by_good)] == [
        suspects.NO_DETECTION,
        suspects.NO_DETECTION,
        suspects.NO_LABEL,
    ]
    missed_by_weak = [("a", GRID, []), ("c", [BOX], []), unlabelled, CONFIRMED]  # 9 of 17
    found_in_all = reasons(*missed_by_weak)
    assert found_in_all[0] == ("b", suspects.NO_LABEL, 0.6)
    assert [reason[0] for reason in found_in_all[1:]] == ["a", "c"] + ["a"] * 7


@pytest.mark.parametrize("missed, is_many", [(25, False), (26, True)])
def test_a_detector_is_weak_that_misses_more_than_a_quarter(missed, is_many):
    found_in_all = [suspects.Suspect("a", suspects.NO_DETECTION, 1.0)] * missed
    found_in_all.append(suspects.Suspect("a", suspects.NO_LABEL, 1.0))
    assert suspects.misses_many(found_in_all, 100) == is_many


def test_json_leaves_out_what_there_is_not():
    (entry,) = suspects.as_json(suspects.find(match(("a", [BOX], [])), THRESHOLD))
    assert entry == {
        "filename": "a",
        "reason": suspects.NO_DETECTION,
        "suspicion": 1.0,
        "label_xyxy": BOX,
        "label": "product",
    }


# --- suspects.py --------------------------------------------------------------------------------


CSV_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A dataset of one image a split, with two labels each; the folder of their detections."""
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images")
    rows = [CSV_HEADER]
    for split in paths.SPLITS:
        image = labels.labelled(f"{split}.jpg", SIZE_WH, [("product", BOX), ("product", FAR)])
        labels.write_labels([image], paths.labels(split))
        for box in (BOX, FAR):
            rows.append(",".join(map(str, (image.filename, *SIZE_WH, "tea", *box))))
        in_split = tmp_path / "images" / "ShelfImages" / split
        in_split.mkdir(parents=True)
        Image.new("RGB", SIZE_WH, "white").save(str(in_split / image.filename))
    (tmp_path / "images" / "annotations.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "results" / "suspects"


def write_detections(folder, split, scored, graph="one", **info):
    info = dict(graph=f"{graph}/frozen_inference_graph.pb", graph_sha256=graph, **info)
    path = folder / f"{split}_detections.json"
    detections.write_detections([found(f"{split}.jpg", scored)], path, info)


def write_all_detections(folder, **info):
    """A missing label and one without detection in the test image, none in the others."""
    for split in ("train", "val"):
        write_detections(folder, split, [(0.9, *BOX), (0.8, *FAR)])
    write_detections(folder, "test", [(0.95, *BOX), (0.75, *EMPTY)], **info)


def test_the_script_lists_and_writes_all(script, folder, capsys):
    write_all_detections(folder, seen_in_training={"train": ["test.jpg"]})
    script("suspects").main(["--threshold=0.5", "--shown=1"])
    out = capsys.readouterr().out
    assert "2 suspects in 3 images with 6 labels" in out
    assert "       1  no label\n       1  no detection\n" in out
    place = "annotations.csv: line 7"
    assert f"  1.00  no detection     test.jpg  40 40 50 50  {place}\n" in out
    assert "0.75" not in out
    assert "1 of 3 images trained this graph" in out
    assert "misses" not in out
    content = json.loads((folder / "suspects.json").read_text())
    assert (content["graph_sha256"], content["threshold"]) == ("one", 0.5)
    assert [entry["suspicion"] for entry in content["suspects"]] == [1, 0.75]
    # The row to correct, and the first of the image where one has to be added
    places = [entry["place"] for entry in content["suspects"]]
    assert places == [place, "annotations.csv: line 6"]


def test_images_that_the_detector_does_not_know_are_named(script, folder, monkeypatch, capsys):
    metrics = folder.parent / "metrics.json"
    monkeypatch.setattr(paths, "METRICS", metrics)
    write_all_detections(folder)
    validation = {"lowest_confidence": 0.8, "product_scales": [0.1, 0.2]}
    content = {"graph_sha256": "one", "threshold": 0.5, "validation": validation}
    metrics.write_text(json.dumps(content))
    script("suspects").main([])
    assert "uncertain" not in capsys.readouterr().out
    write_detections(folder, "val", [(0.6, *BOX), (0.5, *FAR)])  # (0.36 + 0.25) / 1.1 is 0.55
    script("suspects").main([])
    message = "unusually uncertain in 1 of 3 images (confidence under 0.80): val.jpg\n"
    assert message in capsys.readouterr().out


def test_many_missed_labels_are_said_first(script, folder, capsys):
    write_detections(folder, "train", [])
    write_detections(folder, "val", [(0.6, *BOX)])
    write_detections(folder, "test", [(0.9, *BOX), (0.8, *FAR), (0.7, *EMPTY)])
    script("suspects").main(["--threshold=0.5"])
    out = capsys.readouterr().out
    message = (
        'the detector misses 3 of 6 labels at this threshold (50%), so suspects of "no detection" '
        "say more about it than about the labels, and come last. Train it longer, or use another "
        "graph (--graph (make: GRAPH=)), and look at the other reasons\n"
        "4 suspects in 3 images with 6 labels\n"
    )
    assert message in out
    listed = [line.split()[0:4] for line in out.splitlines() if "annotations.csv: line" in line]
    assert listed == [
        ["0.70", "no", "label", "test.jpg"],
        ["1.00", "no", "detection", "train.jpg"],
        ["1.00", "no", "detection", "val.jpg"],
        ["1.00", "no", "detection", "train.jpg"],
    ]
    data = page_data((folder / "suspects.html").read_text(encoding="utf-8"))
    assert data["note"].startswith("The detector misses 3 of 6 labels, so ")
    assert [one["name"] for one in data["suspects"]] == [line[3] for line in listed]


def test_the_command_that_reads_the_corrected_labels(script, folder, tmp_path, capsys):
    write_all_detections(folder)
    script("suspects").main(["--threshold=0.5"])
    out = capsys.readouterr().out
    tool = "--marked folder (make: OUTPUT=folder) with --format voc (make: FORMAT=voc) writes these"
    assert tool in out
    assert out.endswith("annotations.csv (CSV of labelled boxes)), then: make data\n")
    target = tmp_path / "to correct"
    script("suspects").main(["--threshold=0.5", f"--marked={target}"])
    out = capsys.readouterr().out
    assert out.endswith(f"correct the labels in {target}, then: make data CORRECTED='{target}'\n")
    assert "annotations.csv (CSV" not in out
    assert "writes these" not in out


def test_the_page_shows_each_suspect_with_its_place(script, folder):
    write_all_detections(folder)
    script("suspects").main(["--threshold=0.5"])
    data = page_data((folder / "suspects.html").read_text(encoding="utf-8"))
    missed, unlabelled = data["suspects"]
    assert (missed["reason"], missed["split"]) == ("no detection", "test")
    assert (missed["name"], missed["place"]) == ("test.jpg", "annotations.csv: line 7")
    assert missed["boxes"]["label"] == [list(FAR)]
    assert unlabelled["place"] == "add at annotations.csv: line 6"
    shown = {"other": [list(BOX), list(FAR)], "label": [], "detection": [list(EMPTY)]}
    assert unlabelled["boxes"] == shown
    assert "annotations.csv (CSV of labelled boxes)" in dict(data["provenance"])["labels"]


def test_the_page_holds_the_worst(script, folder):
    write_all_detections(folder)
    script("suspects").main(["--threshold=0.5", "--max-crops=1"])
    page = (folder / "suspects.html").read_text(encoding="utf-8")
    assert page.count('<script id="image-') == 1
    assert page_data(page)["note"] == "The worst 1 are on this page; suspects.json has all."


def test_without_detections_the_script_names_the_command(script, folder):
    with pytest.raises(UserError, match="train_detections.json: no such file.*`make suspects`"):
        script("suspects").main(["--threshold=0.5"])


def test_options_are_checked_before_the_minutes_of_step_08(script, tmp_path, capsys):
    script("suspects").main(["--check-options", "--marked", str(tmp_path / "new")])
    assert capsys.readouterr().out == ""
    for options, words in (
        (["--format", "xyz"], "found xyz, expected voc, coco,"),
        (["--threshold", "2"], "--threshold"),
    ):
        with pytest.raises(SystemExit):
            script("suspects").main(["--check-options"] + options)
        assert words in capsys.readouterr().err


def test_detections_of_two_graphs_are_refused(script, folder):
    for split, graph in zip(paths.SPLITS, ("one", "one", "two")):
        write_detections(folder, split, [(0.9, *BOX)], graph)
    with pytest.raises(UserError, match="test_detections.json: is of the graph two"):
        script("suspects").main(["--threshold=0.5"])


# --- for a labelling tool -----------------------------------------------------------------------


def mark(script, folder, tmp_path, format):
    """Writes the suspects for a tool; returns the folder."""
    write_all_detections(folder)
    target = tmp_path / "marked"
    script("suspects").main(["--threshold=0.5", f"--marked={target}", f"--format={format}"])
    return target


@pytest.mark.parametrize("format", prelabels.FORMATS)
def test_labels_and_marks_are_written_and_marks_are_no_labels(script, folder, tmp_path, format):
    target = mark(script, folder, tmp_path, format)
    assert [path.name for path in (target / "images").iterdir() if path.is_symlink()] == [
        "test.jpg"
    ]
    found = dataset.find(target)
    assert found.annotations.format == format
    lines = []
    annotated = validation.read(
        found.annotations.places(),
        format,
        dataset.all_images(found.layout.images),
        classes.parse("keep"),
        Problems(target),
        names_file=found.annotations.names_file,
    )
    rows = [
        (row.label, pytest.approx(row.box_xyxy, abs=0.01), bool(row.left_out))
        for row in box_units.to_pixels(annotated["test.jpg"], SIZE_WH).rows
    ]
    around_far = (37, 37, 53, 53)
    assert rows == [
        ("tea", BOX, False),
        ("tea", FAR, False),
        ("suspect_not_detected", around_far, True),
        ("suspect_missing", EMPTY, True),
    ]
    checked = dataset.check(found, classes.ONE_CLASS, lines.append)
    assert [len(image.boxes_xyxy) for image in checked.labelled] == [2]
    assert any(line.startswith("marks of `make suspects` were left out") for line in lines)


def test_a_mark_that_got_a_class_is_a_label(script, folder, tmp_path):
    target = mark(script, folder, tmp_path, "voc")
    path = target / "images" / "test.xml"
    path.write_text(path.read_text().replace("suspect_missing", "tea"))
    checked = dataset.check(dataset.find(target), classes.ONE_CLASS, lambda line: None)
    assert EMPTY in map(tuple, checked.labelled[0].boxes_xyxy.tolist())


@pytest.mark.parametrize("format", prelabels.FORMATS)
def test_a_folder_with_corrections_is_never_replaced(script, folder, tmp_path, format):
    target = mark(script, folder, tmp_path, format)
    mark(script, folder, tmp_path, format)  # unchanged: written again
    (path,) = [path for path in target.rglob("*.*") if path.match(f"*{suffix_of(format)}")]
    path.write_text(path.read_text() + " ")
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"changed or added.*{path.name}.*OUTPUT="):
        mark(script, folder, tmp_path, format)
    assert path.read_bytes() == before


def suffix_of(format):
    name = pathlib.PurePath(prelabels.ANNOTATION_FILES[format].format(stem="test"))
    return name.name


def test_files_of_others_are_not_replaced(script, folder, tmp_path):
    (tmp_path / "marked").mkdir()
    (tmp_path / "marked" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="changed or added.*notes.txt"):
        mark(script, folder, tmp_path, "voc")


def test_yolo_keeps_the_numbers_of_the_classes(script, folder, tmp_path):
    # A label file that is copied back to the user's must mean the same classes there.
    (tmp_path / "images" / "annotations.csv").unlink()
    placed = tmp_path / "images" / "annotations"
    placed.mkdir()
    (placed / "classes.txt").write_text("water\ntea\n")
    for split in paths.SPLITS:
        (placed / f"{split}.txt").write_text("1 0.078125 0.078125 0.15625 0.15625\n")
    target = mark(script, folder, tmp_path, "yolo")
    names = (target / "images" / "classes.txt").read_text().split()
    assert names == ["water", "tea", "suspect_missing", "suspect_not_detected"]
    assert (target / "images" / "test.txt").read_text().startswith("1 0.078125")


# --- the page in a browser ----------------------------------------------------------------------


@pytest.fixture
def page(browser, script, folder):
    write_all_detections(folder)
    script("suspects").main(["--threshold=0.5"])
    browser.get_log("browser")  # reading it clears it
    browser.get((folder / "suspects.html").as_uri())
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready") == "yes")
    return browser


def shown_reasons(page):
    heads = page.find_elements("css selector", "#gallery .title b")
    return [head.text.split(". ")[1] for head in heads]


def test_the_keyboard_filters_opens_and_turns_over(page):
    from selenium.webdriver.common.keys import Keys

    assert shown_reasons(page) == ["no detection", "no label"]
    press(page, "1")  # the first button: no label
    assert shown_reasons(page) == ["no detection"]
    press(page, "1")
    page.execute_script("document.querySelector('#gallery .image').focus()")
    press(page, Keys.ENTER)
    assert page.find_element("id", "viewer-name").text == "1. no detection \u00b7 test.jpg"
    assert page.find_element("id", "viewer-place").text == "annotations.csv: line 7"
    press(page, Keys.ARROW_RIGHT)
    assert page.find_element("id", "viewer-name").text.startswith("2. no label")
    press(page, Keys.ESCAPE)
    wait(lambda: not page.execute_script("return document.getElementById('dialog').open"))
    assert page.get_log("browser") == []


def test_boxes_are_drawn_and_can_be_hidden(page):
    drawn = "return [...document.querySelectorAll('#gallery path')].map(path => path.classList[0])"
    lines = [name for name in page.execute_script(drawn) if name != "rim"]
    assert lines == ["label", "other", "detection"]
    press(page, "b")
    assert page.execute_script(drawn) == []


@pytest.mark.parametrize("width", [320, 1600])
def test_it_fits_narrow_and_wide_windows(page, width):
    window = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    try:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.execute_script("return document.getElementById('bar').offsetHeight") < 800 / 4
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
