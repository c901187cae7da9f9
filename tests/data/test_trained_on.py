"""Which images are the same, by their names and by digests of their labels."""

import json

import pytest

from shelfdet.core import paths
from shelfdet.data import labels, trained_on

FIVE = ((0, 0, 10, 20), (10, 0, 20, 20), (20, 0, 30, 20), (30, 0, 40, 20), (40, 0, 50, 20))


def image(boxes=FIVE, size_wh=(60, 40), name="a.jpg", classes=None):
    classes = classes or ["product"] * len(boxes)
    return labels.labelled(name, size_wh, list(zip(classes, boxes)))


def digest(*args, **options):
    return trained_on.digest(image(*args, **options))


def is_same(first, second, digest_of_first="", digest_of_second=""):
    return bool(trained_on.same({first: digest_of_first}, {second: digest_of_second}))


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("a.JPG", "a.JPG", True),
        ("a.JPG", "brands/a.JPG", True),  # the same photographs, read once more with a name
        ("brands/a.JPG", "a.JPG", True),
        ("brands/a.JPG", "brands/a.JPG", True),
        ("brands/a.JPG", "other/a.JPG", False),
        ("a.JPG", "brands/b.JPG", False),
    ],
)
def test_images_are_the_same_by_their_names(first, second, same):
    assert is_same(first, second) == same


def test_images_of_two_datasets_are_the_same_by_their_boxes():
    other = digest(FIVE[:4] + ((41, 0, 50, 20),))
    assert is_same("one/a.jpg", "two/b.jpg", digest(), digest())
    assert not is_same("one/a.jpg", "two/a.jpg", digest(), other)
    # A name without a dataset does not make two photographs one.
    assert not is_same("a.jpg", "two/a.jpg", digest(), other)
    assert not is_same("two/a.jpg", "a.jpg", digest(), other)
    assert is_same("a.jpg", "two/a.jpg", digest(), "")
    # Corrected boxes do not make an image another one.
    assert is_same("one/a.jpg", "one/a.jpg", digest(), other)


def test_boxes_in_another_order_and_other_classes_are_of_the_same_image():
    assert digest(FIVE[::-1]) == digest()
    of_classes = digest(classes=list("abcde"))
    assert of_classes != digest()
    assert is_same("one/a.jpg", "two/a.jpg", digest(), of_classes)


@pytest.mark.parametrize("boxes", [FIVE[:4], ()])
def test_few_boxes_do_not_tell_which_image_it_is_but_whether_it_is_another_one(boxes):
    assert not is_same("one/a.jpg", "two/b.jpg", digest(boxes), digest(boxes))
    assert is_same("a.jpg", "two/a.jpg", digest(boxes), digest(boxes))
    for others in (FIVE, FIVE[1:4]):
        assert not is_same("a.jpg", "two/a.jpg", digest(boxes), digest(others))
        assert not is_same("two/a.jpg", "a.jpg", digest(others), digest(boxes))


def test_the_digest_that_is_known_is_kept():
    assert trained_on.joined({"a": "1"}, {"a": "", "b": ""}) == {"a": "1", "b": ""}
    assert trained_on.joined({"a": ""}, {"a": "2"}) == {"a": "2"}


def test_changed_labels_are_found():
    before = {"a": digest(), "b": digest(FIVE[:2]), "c": digest(), "gone": digest(), "old": ""}
    now = {
        "a": digest(FIVE[::-1]),
        "b": digest(FIVE[1:3]),
        "c": digest(classes=list("abcde")),
        "new": digest(),
        "old": digest(),
    }
    assert trained_on.relabelled(before, now) == {"b", "c"}


def test_images_of_a_label_file_have_the_name_of_their_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    for folder in (tmp_path, tmp_path / "mine"):
        folder.mkdir(exist_ok=True)
        labels.write_labels([image()], folder / "train_labels.csv")
    assert trained_on.of_labels(tmp_path / "train_labels.csv") == {"a.jpg": digest()}
    assert trained_on.of_labels(tmp_path / "mine" / "train_labels.csv") == {"mine/a.jpg": digest()}


def test_lists_of_names_of_an_earlier_version_are_read(tmp_path):
    path = tmp_path / "trained_on.json"
    path.write_text(json.dumps({"train": ["b", "a"], "val": []}))
    assert trained_on.read(path) == {"train": {"a": "", "b": ""}, "val": {}}
    path.write_text(trained_on.as_text({"train": {"b": "1", "a": "2"}}))
    assert trained_on.read(path) == {"train": {"a": "2", "b": "1"}}
