"""The label map, read as object_detection reads it."""

import pytest
from annotation_samples import write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.data.label_map import read_label_map


@pytest.mark.parametrize(
    "content, expected",
    [
        ("item { id: 1 name: 'product' }", [("product", 1)]),
        (
            '# classes\nitem {\n  id: 2\n  name: "it\'s"  # milk\n}\n'
            "item: { name: 'a \\'b\\'', id: 1; display_name: 'x' }",
            [("it's", 2), ("a 'b'", 1)],
        ),
        ("item { id: 1 name: 'käse' }", [("käse", 1)]),
        ("item < id: 1 name: 'product' >", [("product", 1)]),
        ("item { id: 1 name: 'k\\303\\244se' }", [("käse", 1)]),
    ],
)
def test_items_are_read_in_order(tmp_path, content, expected):
    path = write_file(tmp_path / "m.pbtxt", content)
    assert list(read_label_map(path).items()) == expected


def test_object_detection_reads_the_same(tmp_path):
    from object_detection.utils import label_map_util

    path = write_file(
        tmp_path / "m.pbtxt",
        "# c\nitem {\n id: 2\n name: 'b'\n display_name: 'B' }\nitem { name: 'a' id: 1 }\n",
    )
    assert dict(read_label_map(path)) == label_map_util.get_label_map_dict(str(path))


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "no item; expected item { id: 1 name: 'product' }"),
        ("item { id: 0 name: 'x' }", "item 1: id 0 of 'x'; expected a whole number from 1"),
        ("\nitem { id: -1 name: 'x' }", "item 1: id -1 of 'x'"),
        ("item {\n id: 1.5 name: 'x' }", "line 2: "),
        ("item { id: 1 name: product }", "found: 'product'; expected item { id: 1"),
        ("item { id: 99999999999 name: 'x' }", "line 1: "),
        ("item { id: 1 id: 2 name: 'x' }", 'line 1: Message type "object_detection'),
        ("item { id: 1 }", "item 1: without name"),
        ("item { name: 'x' }", "item 1: without id"),
        ("item { }", "item 1: without id and name"),
        ("item { id: 1 name: '' }", "item 1: with an empty name"),
        (
            "item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }",
            "item 2: id 1 is also the id of 'a'; expected each id once",
        ),
        (
            "item { id: 1 name: 'a' }\nitem { id: 2 name: 'a' }",
            "item 2: class 'a' also has id 1; expected each name once",
        ),
        ("item { id: 1 name: 'a'", 'line 1: Expected "}"'),
        ("item {\n id: 1\n name: 'a\n}", "line 3: "),
        ("item { id: 1 name: 'a\\303' }", "line 1: "),
        ("item {\n id: 1\n name: 'a'\n colour: 'red' }", 'no field named "colour"'),
        ("item {\n id: 1\n name: 'a'\n colour: 'red' }", "line 4: "),
        ("item { id: 1 name: 'a' keypoints { id: 7 } }", 'no field named "keypoints"'),
        ("product\n", "line 1: "),
        ("}", "line 1: "),
        ("\ufeffitem { id: 1 name: 'a' }", "line 1: starts with a byte order mark"),
        (b"item { id: 1 name: 'k\xe4se' }", "line 1: byte 0xe4 is not UTF-8"),
    ],
)
def test_bad_label_maps(tmp_path, content, expected):
    path = write_file(tmp_path / "m.pbtxt", content)
    with pytest.raises(UserError) as error:
        read_label_map(path)
    message = str(error.value)
    assert str(path) in message and expected in message


def test_all_bad_items_are_in_one_message(tmp_path):
    path = write_file(tmp_path / "m.pbtxt", "item { id: 1 }\nitem { name: 'a' }\n")
    with pytest.raises(UserError, match="2 problems\n  item 1: .*\n  item 2: "):
        read_label_map(path)


def test_a_missing_label_map(tmp_path):
    with pytest.raises(UserError, match="none.pbtxt: .*expected a label map"):
        read_label_map(tmp_path / "none.pbtxt")


@settings(deadline=None, max_examples=50)
@given(
    content=st.binary(max_size=200)
    | st.text("item{}<>:id1name'\"\\\n #", max_size=60).map(str.encode)
)
def test_any_bytes_give_a_label_map_or_a_message(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "m.pbtxt"
    path.write_bytes(content)
    try:
        read_label_map(path)
    except UserError as error:
        assert str(path) in str(error)
