"""text.py: names and values in messages. tests/data/test_validation.py covers the readers."""

import pytest

from shelfdet.core import text


@pytest.mark.parametrize(
    "names, limit, expected",
    [
        ([], 3, ""),
        (["a"], 3, "a"),
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c", "d"], 3, "a, b, c and 1 more"),
        ("abcdefghijklmnopq", 10, "a, b, c, d, e, f, g, h, i, j and 7 more"),
    ],
)
def test_listed_names_are_cut_and_the_rest_counted(names, limit, expected):
    assert text.listed(names, limit) == expected


def test_a_generator_of_names_is_listed_too():
    assert text.listed(name for name in "ab") == "a, b"


def test_a_long_value_is_cut():
    assert text.shown("x" * 80) == f"'{'x' * 80}'"
    assert text.shown("x" * 81) == f"'{'x' * 77}...'"
    assert text.shown(1.5) == "'1.5'"


@pytest.mark.parametrize(
    "count, words, expected",
    [
        (1, ["image"], "1 image"),
        (0, ["image"], "0 images"),
        (2, ["image"], "2 images"),
        (1, ["box"], "1 box"),
        (3, ["box"], "3 boxes"),
        (3, ["class"], "3 classes"),
        (1, ["shelf", "shelves"], "1 shelf"),
        (2, ["shelf", "shelves"], "2 shelves"),
        (1, ["image has no box", "images have no box"], "1 image has no box"),
        (12, ["image has no box", "images have no box"], "12 images have no box"),
    ],
)
def test_a_count_and_its_words_agree(count, words, expected):
    assert text.counted(count, *words) == expected


def test_words_that_follow_another_count():
    assert [text.plural(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]
