"""Which classes boxes get, and the ids of these classes."""

import pytest

from shelfdet.data import classes, label_map
from shelfdet.data.classes import ClassChoice


def test_what_a_user_can_choose():
    assert classes.parse("keep") == ClassChoice(kept=True)
    assert classes.parse("cola, red tea") == ClassChoice(True, ("cola", "red tea"))
    assert classes.parse("keep,cola") == ClassChoice(True, ("keep", "cola"))


@pytest.mark.parametrize("text", ["", " ", "a,,b", "a,a"])
def test_what_a_user_cannot_choose(text):
    with pytest.raises(ValueError, match="expected keep or names of classes"):
        classes.parse(text)


def test_ids_are_by_name_with_numbers_by_value():
    found = {"10", "2", "b", "A", "a", "cola 12", "cola 2", "1x"}
    ids = classes.label_map(ClassChoice(kept=True), found)
    assert list(ids) == ["1x", "2", "10", "A", "a", "b", "cola 2", "cola 12"]
    assert list(ids.values()) == list(range(1, 9))


def test_ids_of_chosen_classes_are_in_the_order_of_the_choice():
    assert classes.label_map(ClassChoice(True, ("tea", "cola")), {"cola", "tea"}) == {
        "tea": 1,
        "cola": 2,
    }


def test_a_written_label_map_is_read_by_object_detection(tmp_path):
    from object_detection.utils import label_map_util

    path = tmp_path / "classes.pbtxt"
    ids = {'Müller\'s "milk"': 1, "a\\b": 2}
    label_map.write_label_map(ids, path, {"a\\b": "Ayran", "gone": "not written"})
    assert dict(label_map_util.get_label_map_dict(str(path))) == ids
    assert label_map_util.get_label_map_dict(str(path), use_display_name=True)["Ayran"] == 2
    assert dict(label_map.read_label_map(path)) == ids
    assert label_map.read_display_names(path) == {"a\\b": "Ayran"}
