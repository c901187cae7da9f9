"""Pre-labels: detections as annotations, what a person has edited in them, and back by step 01."""

import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from shelfdet import UserError
from shelfdet.data import dataset, formats, prelabels
from shelfdet.data.classes import ONE_CLASS
from shelfdet.data.detections import Detections

THRESHOLD = 0.5
LABELS = ["product"]
SIZE_WH = (400, 300)
# In fractions of a pixel, as a network finds them; the last is below the threshold.
BOXES = np.array([(40.2, 30.4, 120.1, 149.6), (200, 10.7, 260.5, 99), (1, 2, 390, 290)])
SCORES = np.array([0.9, 0.5, 0.49])
ROUNDED = [(40, 30, 120, 150), (200, 11, 260, 99)]  # 260.5 to the even number
# Without the one that cannot be read before a person has submitted it
READ_AT_ONCE = [name for name in prelabels.FORMATS if name != "labelstudio"]


@pytest.fixture
def photographs(tmp_path):
    """Three images of different pixels, two of them in a folder with a space."""
    paths = [
        tmp_path / "photographs" / name for name in ("a.jpg", "store 1/b.jpg", "store 1/c.png")
    ]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.RandomState(number).randint(0, 255, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(SIZE_WH).save(str(path))
    return paths


def detections(paths, scores=SCORES):
    """As step 08 returns them, with the subfolders in the names of images."""
    return [
        Detections(f"store 1/{path.name}", SIZE_WH, BOXES, scores, ("product",) * 3)
        for path in paths
    ]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "to correct"


def write(folder, format, paths, scores=SCORES, labels=LABELS):
    planned = prelabels.plan(folder, format, labels, paths)
    found = [image for image in detections(paths, scores) if name_of(image) in planned.images]
    return planned, prelabels.write(planned, found, THRESHOLD)


def name_of(image):
    return pathlib.PurePath(image.filename).name


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def annotations_in(folder):
    return {name: data for name, data in content(folder).items() if name != prelabels.MANIFEST}


def read_back(folder):
    """File name -> boxes, as steps 01 and 02 read the folder."""
    checked = dataset.check(dataset.find(folder), ONE_CLASS, report=lambda line: None)
    return {
        image.filename: [tuple(box) for box in image.boxes_xyxy.tolist()]
        for image in checked.labelled
    }


def submit(path):
    """Label Studio's export after a person has submitted every prediction as it was."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        (prediction,) = task["predictions"]
        for result in prediction["result"]:
            del result["score"]
        task["annotations"] = [{"id": 1, "completed_by": 1, "result": prediction["result"]}]
    path.write_text(json.dumps(tasks))


@pytest.mark.parametrize("format", prelabels.FORMATS)
def test_step_01_reads_back_what_was_written(folder, photographs, format):
    planned, written = write(folder, format, photographs)
    assert (written, planned.kept) == ((3, 6), [])
    found = dataset.find(folder)
    assert found.annotations.format == format
    assert all(path.resolve() in photographs for path in found.layout.images["all"].values())
    if format == "labelstudio":
        submit(folder / "annotations.json")
    read = read_back(folder)
    assert read == {
        path.name: [pytest.approx(box, abs=1e-4) for box in ROUNDED] for path in photographs
    }


def test_label_studio_predictions_are_no_annotations_before_a_person_submits_them(
    folder, photographs
):
    write(folder, "labelstudio", photographs)
    with pytest.raises(UserError, match="boxes have scores.*make prelabel"):
        read_back(folder)
    interface = (folder / "label_config.xml").read_text()
    assert '<Label value="product"/>' in interface
    tasks = json.loads((folder / "annotations.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=images/" + path.name for path in photographs
    ]


def test_coco_s_own_api_reads_what_was_written(folder, photographs):
    write(folder, "coco", photographs)
    api = COCO(str(folder / "annotations.json"))
    assert api.getCatIds(["product"]) == [1]
    # Without "area" and "iscrowd" it raises KeyError.
    assert len(api.getAnnIds(areaRng=[9000, 10000], iscrowd=False)) == 3


@pytest.mark.parametrize("format", READ_AT_ONCE)
def test_annotations_that_nobody_has_corrected_are_counted(folder, photographs, format):
    write(folder, format, photographs)
    paths = dataset.find(folder).annotations.files
    count = 3 if prelabels.is_one_file_an_image(format) else 1
    assert prelabels.unchanged(paths) == paths and len(paths) == count
    words = "warning: 1 of 1 file" if count == 1 else "warning: 3 of 3 files"
    assert prelabels.unchanged_report(paths).startswith(words)
    paths[0].write_bytes(paths[0].read_bytes() + b"\n")
    assert prelabels.unchanged(paths) == paths[1:]
    for path in paths[1:]:
        path.write_bytes(path.read_bytes() + b"\n")
    assert prelabels.unchanged_report(paths) == ""


def test_step_01_warns_of_them(folder, photographs, script, tmp_path, capsys):
    write(folder, "labelme", photographs)
    (folder / "images" / "b.json").write_text((folder / "images" / "b.json").read_text() + " ")
    step = script("01_fetch_dataset")
    step.main(["--from", str(folder), "--out", str(tmp_path / "out")])
    words = "warning: 2 of 3 files of annotations are exactly as `make prelabel` wrote them: a.json"
    assert words in capsys.readouterr().err
    step.main(["--out", str(tmp_path / "out")])  # the links that it has put into place
    assert words in capsys.readouterr().err


def test_other_annotations_are_never_called_unchanged(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text("<annotations/>")
    assert prelabels.unchanged([path]) == []


@pytest.mark.parametrize("format", ["voc", "yolo", "labelme"])
def test_edited_annotations_are_kept_and_their_images_skipped(folder, photographs, format):
    write(folder, format, photographs)
    before = annotations_in(folder)
    edited = prelabels.ANNOTATION_FILES[format].format(stem="b")
    (folder / edited).write_text("edited")
    planned, written = write(folder, format, photographs, scores=np.array([0.9, 0.1, 0.1]))
    assert planned.kept == ["b.jpg"] and written == (2, 2)
    assert "skipped 1 image whose annotations have been edited" in prelabels.kept_report(planned)
    after = annotations_in(folder)
    assert after[edited] == b"edited"
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {prelabels.ANNOTATION_FILES[format].format(stem=stem) for stem in "abc"}
    assert not (folder / prelabels._PARTIAL).exists()


@pytest.mark.parametrize("format", ["coco", "cvat", "labelstudio"])
def test_one_edited_file_is_refused_and_an_unchanged_one_replaced(folder, photographs, format):
    write(folder, format, photographs)
    before = annotations_in(folder)
    write(folder, format, photographs, scores=np.array([0.9, 0.1, 0.1]))
    path = folder / prelabels.ANNOTATION_FILES[format]
    assert path.read_bytes() != before[path.name]
    path.write_text("edited")
    with pytest.raises(UserError, match=f"{path.name}: has been edited.*--prelabel"):
        prelabels.plan(folder, format, LABELS, photographs)
    assert path.read_text() == "edited"


def test_what_a_person_edits_during_detection_is_kept(folder, photographs):
    write(folder, "voc", photographs)
    planned = prelabels.plan(folder, "voc", LABELS, photographs)
    (folder / "images" / "b.xml").write_text("edited")
    prelabels.write(planned, detections(photographs), 0.95)
    assert (folder / "images" / "b.xml").read_text() == "edited"
    assert b"<object>" not in content(folder)["images/a.xml"]


def test_when_every_image_is_edited_there_is_nothing_to_write(folder, photographs):
    write(folder, "voc", photographs[:1])
    (folder / "images" / "a.xml").write_text("edited")
    with pytest.raises(UserError, match=r"annotations of the image have been edited.*a\.jpg"):
        prelabels.plan(folder, "voc", LABELS, photographs[:1])


def test_a_later_run_adds_images(folder, photographs):
    write(folder, "voc", photographs[:1])
    write(folder, "voc", photographs[1:])
    assert len(read_back(folder)) == 3
    assert len(prelabels.unchanged(dataset.find(folder).annotations.files)) == 3


def test_a_killed_run_is_repeated(folder, photographs, monkeypatch):
    """Killed between two files: the next run replaces the old one and the new one."""
    write(folder, "voc", photographs)
    replace = prelabels.os.replace
    moved = []

    def replace_once(source, target):
        if prelabels._PARTIAL in source:
            if moved:
                raise KeyboardInterrupt
            moved.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(prelabels.os, "replace", replace_once)
        with pytest.raises(KeyboardInterrupt):
            write(folder, "voc", photographs, scores=np.array([0.9, 0.1, 0.1]))
    assert len(moved) == 1
    planned, written = write(folder, "voc", photographs, scores=np.array([0.9, 0.1, 0.1]))
    assert planned.kept == [] and written == (3, 3)
    assert {name: len(boxes) for name, boxes in read_back(folder).items()} == {
        "a.jpg": 1,
        "b.jpg": 1,
        "c.png": 1,
    }


def test_folders_with_other_files_are_refused(folder, photographs):
    folder.mkdir()
    (folder / "a.xml").write_text("my own")
    with pytest.raises(UserError, match=r"holds files that were not written here \(a\.xml\)"):
        prelabels.plan(folder, "voc", LABELS, photographs)
    with pytest.raises(UserError, match="is a file; expected a folder"):
        prelabels.plan(folder / "a.xml", "voc", LABELS, photographs)
    (folder / "a.xml").rename(folder / "images")
    with pytest.raises(UserError, match="holds files that were not written here"):
        prelabels.plan(folder, "voc", LABELS, photographs)


def test_pre_labels_of_another_format_are_refused(folder, photographs):
    write(folder, "voc", photographs)
    with pytest.raises(UserError, match="of the format voc; expected coco, or a new folder"):
        prelabels.plan(folder, "coco", LABELS, photographs)


def test_an_annotation_that_was_added_by_hand_is_kept(folder, photographs):
    write(folder, "voc", photographs[:1])
    (folder / "images" / "b.xml").write_text("my own")
    assert prelabels.plan(folder, "voc", LABELS, photographs).kept == ["b.jpg"]


@pytest.mark.parametrize(
    "format, names, message",
    [
        ("coco", ["1/a.jpg", "2/A.jpg"], r"2/A\.jpg would both have A\.jpg"),
        ("voc", ["a.jpg", "a.png"], r"a\.png would both have images/a\.xml"),
    ],
)
def test_images_of_one_name_are_refused(folder, tmp_path, format, names, message):
    with pytest.raises(UserError, match=message):
        prelabels.plan(folder, format, LABELS, [tmp_path / name for name in names])


def test_another_image_of_a_name_that_is_there_is_refused(folder, photographs, tmp_path):
    write(folder, "voc", photographs)
    other = tmp_path / "other" / "a.jpg"
    other.parent.mkdir()
    other.write_bytes(photographs[1].read_bytes())
    with pytest.raises(UserError, match=f"a.jpg; expected {re.escape(str(other))}"):
        prelabels.plan(folder, "voc", LABELS, [other])
    # The links may themselves be what is detected in.
    images = sorted((folder / "images").glob("*.*g"))
    assert len(prelabels.plan(folder, "voc", LABELS, images).images) == 3


def test_a_link_to_an_image_that_was_moved_is_renewed(folder, photographs):
    write(folder, "voc", photographs)
    moved = photographs[0].with_name("moved") / "a.jpg"
    moved.parent.mkdir()
    photographs[0].rename(moved)
    write(folder, "voc", [moved])
    assert (folder / "images" / "a.jpg").resolve() == moved


def test_classes_have_the_numbers_of_the_label_map(folder, photographs):
    labels = ["tea", "product"]
    write(folder, "yolo", photographs, labels=labels)
    assert (folder / "images" / "classes.txt").read_text() == "tea\nproduct\n"
    assert (folder / "images" / "a.txt").read_text().startswith("1 ")
    # LabelImg writes its own list over it.
    (folder / "images" / "classes.txt").write_text("dog\nperson\n")
    with pytest.raises(UserError, match="classes.txt: begins with dog, person; expected tea"):
        prelabels.plan(folder, "yolo", labels, photographs)
    (folder / "images" / "classes.txt").write_text("tea\nproduct\ncoffee\n")
    write(folder, "yolo", photographs, labels=labels)
    assert "coffee" in (folder / "images" / "classes.txt").read_text()


def test_every_format_is_one_that_step_01_reads():
    assert set(prelabels.FORMATS) <= set(formats.ANNOTATION_FORMATS)
    for name in prelabels.FORMATS:
        is_one = formats.FORMATS[name].is_one_file_an_image
        assert prelabels.is_one_file_an_image(name) == is_one


def test_no_permission_to_write(folder, photographs, monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(prelabels, "_link", fail)
    with pytest.raises(UserError, match="to correct: cannot be written .Permission denied"):
        write(folder, "voc", photographs)
