"""Drawings and counts: what they may overwrite, and what is drawn and counted."""

import numpy as np
import pytest
from PIL import Image

from shelfdet import UserError
from shelfdet.data.detections import Detections
from shelfdet.inference import drawings
from shelfdet.inference.drawings import CountedImage
from shelfdet.inference.input_images import InputImage

BOXES = np.array([[10.0, 10.0, 40.0, 50.0], [50.0, 10.0, 90.0, 60.0]])


def save_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(str(path))
    return path


def detections_in(filename, scores):
    return Detections(filename, (100, 80), BOXES, np.array(scores), ("product", "product"))


def draw(folder, filename, threshold=0.5):
    folder.mkdir(exist_ok=True)
    found = detections_in(filename, [0.9, 0.4])
    drawings.draw(np.zeros((80, 100, 3), np.uint8), found, folder, threshold, {})
    return folder / drawings.drawing_name(filename)


def test_boxes_from_the_threshold_on_are_drawn(tmp_path):
    one = np.asarray(Image.open(str(draw(tmp_path / "one", "a.JPG", threshold=0.5))))
    both = np.asarray(Image.open(str(draw(tmp_path / "both", "a.JPG", threshold=0.4))))
    assert one[:60, 45:].max() < 20  # the second box is not there; JPEG leaves some noise
    assert both[:60, 45:].max() > 100
    assert draw(tmp_path / "one", "grey.png").name == "grey.png.jpg"


def test_drawings_are_told_from_photographs(tmp_path):
    photo = InputImage(save_image(tmp_path / "a.jpg"), "a.jpg")
    drawn = InputImage(draw(tmp_path / "old", "a.jpg"), "old/a.jpg")
    broken = InputImage(tmp_path / "b.jpg", "b.jpg")  # for the reader of images to refuse
    broken.path.write_bytes(b"no image")
    broken_exif = InputImage(tmp_path / "c.jpg", "c.jpg")
    Image.new("RGB", (9, 9)).save(str(broken_exif.path), exif=b"Exif\0\0no TIFF file")
    found = [photo, drawn, broken, broken_exif]
    photographs, names = drawings.without_drawings(tmp_path, found)
    assert (photographs, names) == ([photo, broken, broken_exif], ["old/a.jpg"])
    assert drawings.left_out_report(tmp_path, names) == (
        f"left out of {tmp_path}, because they are drawings of an earlier run: old/a.jpg"
    )
    assert drawings.left_out_report(tmp_path, []) == ""
    with pytest.raises(
        UserError,
        match=r"old: holds no photograph but drawings of an earlier run \(old/a.jpg\); "
        "expected photographs. Name their folder",
    ):
        drawings.without_drawings(tmp_path / "old", [drawn])


def test_counts_and_the_number_of_other_drawings(tmp_path):
    draw(tmp_path, "a.JPG")
    draw(tmp_path, "from an earlier run.JPG")
    (tmp_path / "store").mkdir()
    draw(tmp_path / "store", "a.JPG")
    rows = [CountedImage("a.JPG", 1, {}, ""), CountedImage("store/a.JPG", 2, {}, "uncertain")]
    counts = drawings.write_counts(rows, tmp_path, {})
    assert counts == (tmp_path / "counts.csv", 3, 2, 1)
    assert counts.path.read_text() == (
        "filename,products,note\na.JPG,1,\nstore/a.JPG,2,uncertain\n"
    )


def test_an_image_that_was_not_read_has_a_row_without_a_count(tmp_path):
    rows = [CountedImage("a.JPG", 2, {"1": 2}, ""), CountedImage("b.JPG", None, {}, "not read")]
    counts = drawings.write_counts(rows, tmp_path, {"1": "tea", "2": "milk"})
    assert (counts.products, counts.images) == (2, 1)
    assert counts.path.read_text() == (
        "filename,products,tea,milk,note\na.JPG,2,2,0,\nb.JPG,,,,not read\n"
    )


def test_each_of_several_classes_has_a_column_with_its_shown_name(tmp_path):
    rows = [CountedImage("a.JPG", 3, {"1": 2, "7": 1}, ""), CountedImage("b.JPG", 0, {}, "strip")]
    counts = drawings.write_counts(rows, tmp_path, {"7": "Cola, light", "1": "1", "2": "Tea"})
    assert counts.path.read_text() == (
        'filename,products,"Cola, light",1,Tea,note\na.JPG,3,1,2,0,\nb.JPG,0,0,0,0,strip\n'
    )
    image_path = save_image(tmp_path / "in" / "a.JPG")
    drawings.check_folder(tmp_path, [InputImage(image_path, "other.JPG")])


def test_names_of_classes_are_drawn_inside_their_boxes(tmp_path):
    def drawn(folder, shown):
        folder.mkdir()
        found = detections_in("a.png", [0.9, 0.8])
        drawings.draw(np.full((80, 100, 3), 120, np.uint8), found, folder, 0.5, shown)
        return np.asarray(Image.open(str(folder / "a.png.jpg"))).astype(int)[:80]

    differs = np.abs(drawn(tmp_path / "one", {"product": "Tea"}) - drawn(tmp_path / "two", {})).max(
        axis=2
    )
    inside = np.zeros(differs.shape, bool)
    for xmin, ymin, xmax, ymax in BOXES.astype(int):
        inside[ymin:ymax, xmin:xmax] = True
    assert differs[10:30, 10:40].max() > 60 and differs[10:30, 50:90].max() > 60
    assert differs[~inside].max() < 30  # JPEG leaves some noise


def test_an_uncertain_count_is_said_under_the_image(tmp_path):
    def drawn(folder, note):
        folder.mkdir()
        pixels = np.full((200, 400, 3), 120, np.uint8)
        drawings.draw(pixels, detections_in("a.png", [0.9, 0.8]), folder, 0.5, {}, note)
        return np.asarray(Image.open(str(folder / "a.png.jpg"))).astype(int)

    plain, noted = drawn(tmp_path / "one", ""), drawn(tmp_path / "two", "uncertain")
    height = min(len(plain), len(noted))
    differs = np.abs(plain[:height] - noted[:height]).max(axis=2)
    assert differs[:195].max() < 30 and differs[205:].max() > 60


def test_the_images_own_folder_is_refused(tmp_path):
    image_path = save_image(tmp_path / "in" / "a.JPG")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="would be overwritten"):
        drawings.check_folder(
            tmp_path / "out" / ".." / "in", [InputImage(image_path, image_path.name)]
        )


def test_symbolic_links_to_images_are_never_overwritten(tmp_path):
    image_path = save_image(tmp_path / "in" / "a.JPG")
    link = tmp_path / "links" / "a.JPG"  # step 01 writes links like this one
    link.parent.mkdir()
    link.symlink_to(image_path)
    with pytest.raises(UserError, match="would be overwritten"):
        drawings.check_folder(link.parent, [InputImage(link, link.name)])
    with pytest.raises(UserError, match="holds a.JPG, which is not marked as a drawing"):
        drawings.check_folder(link.parent, [InputImage(image_path, image_path.name)])


def test_other_images_and_counts_are_never_overwritten(tmp_path):
    image_path = save_image(tmp_path / "in" / "a.JPG")
    save_image(tmp_path / "others" / "a.JPG")
    with pytest.raises(UserError, match="holds a.JPG, which is not marked as a drawing"):
        drawings.check_folder(tmp_path / "others", [InputImage(image_path, image_path.name)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "counts.csv").write_text("shop,shelves\n")
    with pytest.raises(UserError, match="holds a counts.csv that this step did not write"):
        drawings.check_folder(tmp_path / "mine", [InputImage(image_path, image_path.name)])


def test_drawings_and_counts_of_an_earlier_run_may_be_overwritten(tmp_path):
    image_path = save_image(tmp_path / "in" / "a.JPG")
    draw(tmp_path / "drawn", "a.JPG")
    drawings.write_counts([CountedImage("a.JPG", 1, {}, "")], tmp_path / "drawn", {})
    drawings.check_folder(tmp_path / "drawn", [InputImage(image_path, image_path.name)])
