"""text.py: names and values in messages. tests/data/test_validation.py covers the readers."""

import pytest

from shelfdet import UserError
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


# ---- text files, which are read part by part ----------------------------------------------


@pytest.mark.parametrize("part_bytes", [1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbfshelf\r\nK\xc3\xa4se\n\xe4\xb9\xb3", "Öl\n".encode()]
)
def test_the_text_of_a_file_is_as_python_decodes_it(monkeypatch, tmp_path, data, part_bytes):
    monkeypatch.setattr(text, "PART_BYTES", part_bytes)
    (tmp_path / "a.csv").write_bytes(data)
    assert text.read_text(tmp_path / "a.csv", "a CSV file") == data.decode("utf-8-sig")


@pytest.mark.parametrize("part_bytes", [2, 3, 4, 5, 100])
@pytest.mark.parametrize(
    "data, message",
    [
        (b"a\nb\nK\xe4se", "line 3: byte 0xe4 is not UTF-8"),
        (b"a\nb\nK\xc3", "line 3: byte 0xc3 is not UTF-8"),
        (b"a\nbc\0d", "line 2: contains a zero byte"),
        (b"\xff\xfea\0", "is UTF-16 text"),
    ],
)
def test_what_is_no_utf8_text_is_refused_with_its_line(
    monkeypatch, tmp_path, data, message, part_bytes
):
    monkeypatch.setattr(text, "PART_BYTES", part_bytes)
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(UserError, match=f"a.csv: {message}.*expected a CSV file in UTF-8"):
        text.check_text(tmp_path / "a.csv", "a CSV file")
