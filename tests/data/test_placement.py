"""Putting a dataset in place: links or copies, nothing else is replaced, or nothing changes."""

import json
import shutil

import pytest
from datasets import PLACED, draw_dataset, listing
from PIL import Image
from restricted import as_other_user, in_child, open_folder

from shelfdet import UserError
from shelfdet.data import annotation_files, dataset, placement


def place(source, out, copy=False):
    """Reads the dataset ``source`` and places it; returns the names of what changed."""
    found = dataset.find(source)
    changed = placement.place(found.layout.images, found.annotations, out, copy)
    return [path.name for path in changed]


def test_links_and_nothing_to_do_the_second_time(tmp_path):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    assert place(source, out) == ["ShelfImages", "annotations.csv"]
    assert listing(out) == PLACED
    assert (out / "annotations.csv").is_symlink()
    assert (out / PLACED[0]).samefile(source / PLACED[0])
    assert place(source, out) == []
    assert place(out, out) == []


def test_what_a_killed_run_left_is_removed_where_nothing_changes(tmp_path):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    place(source, out)
    (out / ".ShelfImages.partial").mkdir()
    (out / ".annotations.csv.lock").write_text("")
    assert place(source, out) == []
    assert sorted(path.name for path in out.iterdir()) == ["ShelfImages", "annotations.csv"]


def test_only_what_differs_is_replaced(tmp_path):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    place(source, out)
    (out / PLACED[0]).unlink()
    assert place(source, out) == ["ShelfImages"]
    assert listing(out) == PLACED


def test_copies_remain_when_the_source_is_deleted(tmp_path):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    place(source, out)
    assert place(source, out, copy=True) == ["ShelfImages", "annotations.csv"]
    assert place(source, out, copy=True) == []
    shutil.rmtree(str(source))
    assert listing(out) == PLACED
    assert dataset.find(out).annotations.files == [out / "annotations.csv"]


def test_a_copy_whose_content_has_changed_is_replaced(tmp_path):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    assert dataset.find(source)
    annotations = source / "annotations.csv"
    place(source, out)
    (out / "annotations.csv").unlink()
    # As long as the new one: a size alone would not tell.
    (out / "annotations.csv").write_text(annotations.read_text().replace(",1,2,", ",3,4,"))
    with pytest.raises(UserError, match="annotations.csv: is a file of your own"):
        place(source, out, copy=True)


def test_validation_images_have_a_folder_of_their_own(tmp_path):
    source = draw_dataset(tmp_path / "source")
    valid = source / "ShelfImages" / "Valid"
    valid.mkdir()
    Image.new("RGB", (9, 9)).save(str(valid / "v.png"))
    place(source, tmp_path / "out")
    assert listing(tmp_path / "out") == [
        PLACED[0],
        *PLACED[1:3],
        "ShelfImages/val/v.png",
        PLACED[3],
    ]


def test_images_and_annotations_are_both_complete_before_one_is_moved(tmp_path, monkeypatch):
    source = draw_dataset(tmp_path / "source")
    out = tmp_path / "out"
    place(source, out)
    other = draw_dataset(tmp_path / "other", train=("a.JPG",), test=("b.JPG",))
    # The images are written before the annotations, which cannot be read.
    monkeypatch.setattr(
        annotation_files.Annotations, "placed_files", lambda _, target: {target: source / "gone"}
    )
    with pytest.raises(UserError):
        place(other, out, copy=True)
    assert listing(out) == PLACED


def test_train_and_test_at_the_top(tmp_path):
    source = draw_dataset(tmp_path / "source")
    for folder in ("train", "test"):
        (source / "ShelfImages" / folder).rename(source / folder)
    (source / "ShelfImages").rmdir()
    place(source, tmp_path / "out")
    assert listing(tmp_path / "out") == PLACED


def voc(name):
    return (
        f"<annotation><filename>{name}</filename><object><name>product</name><bndbox>"
        "<xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object></annotation>"
    )


def test_pascal_voc_beside_the_images_then_coco(tmp_path):
    source = draw_dataset(tmp_path / "source", csv=False)
    image_paths = sorted((source / "ShelfImages").rglob("*.JPG"))
    for path in image_paths:
        path.with_suffix(".xml").write_text(voc(path.name))
    out = tmp_path / "out"
    place(source, out)
    xml_names = sorted(f"annotations/{path.stem}.xml" for path in image_paths)
    assert listing(out) == PLACED[:3] + xml_names
    for path in image_paths:
        path.with_suffix(".xml").unlink()
    coco = {
        "images": [
            {"id": number, "file_name": path.name} for number, path in enumerate(image_paths)
        ],
        "categories": [{"id": 1, "name": "product"}],
        "annotations": [{"id": 9, "image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 20]}],
    }
    (source / "annotations.json").write_text(json.dumps(coco))
    assert place(source, out) == ["annotations.json"]
    # The links to the XML files are removed.
    assert listing(out) == PLACED[:3] + ["annotations.json"]


def test_own_images_are_never_replaced(tmp_path):
    source = draw_dataset(tmp_path / "source")
    own = draw_dataset(tmp_path / "out", train=("mine.JPG",), test=("mine too.JPG",))
    before = listing(own)
    with pytest.raises(
        UserError, match="is a file of your own where.*Move .*ShelfImages away, or name"
    ):
        place(source, own)
    assert listing(own) == before
    assert place(own, own) == []


def test_a_folder_that_cannot_be_written():
    with open_folder() as folder:
        source = draw_dataset(folder / "source")
        (folder / "locked").mkdir(mode=0o555)
        message = in_child(as_other_user, place, source, folder / "locked" / "out")
    assert "cannot be written (Permission denied)" in message
