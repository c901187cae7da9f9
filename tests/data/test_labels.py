"""Label files: what is read, written and refused."""

import numpy as np
import pytest
from annotation_samples import HEADER, LABELS, write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.data import labels


def message_of(path):
    with pytest.raises(UserError) as error:
        labels.read_labels(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_rows_are_read_in_order(tmp_path):
    content = (
        HEADER + "b.jpg,10,20,product,1,2,3,4\na.jpg,30,40,,,,,\nb.jpg,10,20,milk,0,0,10,20.0\n"
    )
    images = labels.read_labels(write_file(tmp_path / "l.csv", content))
    assert [image.filename for image in images] == ["b.jpg", "a.jpg"]
    assert images[0].size_wh == (10, 20) and images[0].classes == ("product", "milk")
    np.testing.assert_array_equal(images[0].boxes_xyxy, [[1, 2, 3, 4], [0, 0, 10, 20]])
    assert images[0].boxes_xyxy.dtype == np.float64
    assert images[1].boxes_xyxy.shape == (0, 4) and images[1].classes == ()


@pytest.mark.parametrize(
    "content",
    [
        LABELS.replace("\n", "\r\n"),
        "\ufeff" + LABELS,
        LABELS + "\n  \n",
        LABELS.replace(",product,", ", product ,"),
        LABELS.replace("a.jpg", '"a.jpg"'),
        LABELS.replace("a.jpg", "train/a.jpg"),
        LABELS.replace(",", ";"),
        LABELS.replace(",", "\t"),
        LABELS.replace(",100,", ",100.0,"),
        "class,filename,height,width,ymin,xmin,ymax,xmax,id\nproduct,a.jpg,80,100,2,1,40,30,7\n",
        LABELS + "a.jpg,100,80,product,1,2,30,40.0\n",
        HEADER + "a.jpg,100,80,product,-0.5,2,101,40\n",
        HEADER + "a.jpg,100,80,product,1,2,30,81\n" * 2,
    ],
)
def test_variants_that_are_accepted(tmp_path, content):
    (image,) = labels.read_labels(write_file(tmp_path / "l.csv", content))
    assert (image.filename, image.classes) == ("a.jpg", ("product",))
    assert (image.boxes_xyxy >= 0).all() and (image.boxes_xyxy <= [100, 80, 100, 80]).all()


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", ["is empty"]),
        (" \n\n", ["is empty"]),
        ('""', ["is empty"]),
        (",,,\n", ["is empty"]),
        (HEADER, ["no rows"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0", ["line 3", "zero byte"]),
        (LABELS.encode("utf-16"), ["UTF-16"]),
        ((LABELS + "caf\xe9.jpg,1,1,,,,,").encode("latin-1"), ["line 3", "0xe9", "UTF-8"]),
        (LABELS.replace(HEADER, ""), ["line 1", "a.jpg,100", "header", "Write a header"]),
        (LABELS.replace("width", "w"), ["line 1", "no column width, but", "in any order"]),
        (LABELS.replace("xmin", "x"), ["line 1", "no column xmin"]),
        (LABELS.replace(",100,", ",,"), ["line 2", "width is ''"]),
        (
            HEADER + "a.jpg,100,80,product,0.1,0.2,0.3,0.4\n",
            ["1 of 1 image", "between 0 and 1 (line 2: box 0.1,0.2,0.3,0.4)", "Expected pixels"],
        ),
        (
            HEADER + "a.jpg,100,80,product,2,71,30,99\n" * 2 + "a.jpg,100,80,product,1,70,9,98\n",
            ["3 of 3 boxes", "read as ymin, xmin, ymax, xmax", "Expected xmin, ymin, xmax, ymax"],
        ),
        ("a.jpg,1,2,30,40,0\n", ["line 1", "Grocery", "step 02"]),
        (LABELS + "a.jpg,100,80,product,1,2,30\n", ["line 3", "7 columns", "expected 8"]),
        (LABELS + '\n"a\n,b', ["line 4", "quote"]),
        (LABELS.replace(",30,", ",x,"), ["line 2", "xmax is 'x'", "finite number"]),
        (LABELS.replace(",30,", ",nan,"), ["line 2", "xmax is 'nan'"]),
        (LABELS.replace(",30,", ",inf,"), ["line 2", "xmax is 'inf'"]),
        (LABELS.replace(",30,", ",3_0,"), ["line 2", "xmax is '3_0'"]),
        (LABELS.replace(",30,", ",,"), ["line 2", "xmax is ''"]),
        (LABELS.replace(",30,", ",1,"), ["line 2", "box 1,2,1,40", "xmin < xmax"]),
        (LABELS.replace(",30,", ",101.5,"), ["line 2", "xmax <= 100", "make data"]),
        (HEADER + "a.jpg,100,80,product,100,2,101,40\n", ["line 2", "xmax <= 100"]),
        (LABELS.replace(",100,", ",0,"), ["line 2", "width is '0'"]),
        (LABELS.replace(",100,", ",640.7,"), ["line 2", "width is '640.7'"]),
        (LABELS.replace("product", ""), ["line 2", "class is empty"]),
        (LABELS.replace("a.jpg", ""), ["line 2", "name is empty"]),
        (LABELS.replace("a.jpg", '"a\n.jpg"'), ["line 2", "cannot be printed"]),
        (
            LABELS + "a.jpg,100,81,product,3,4,5,6\n",
            ["line 3", "100 x 81", "expected 100 x 80 as in line 2"],
        ),
        (LABELS + "a.jpg,100,80,,,,,\n", ["line 3", "expected either"]),
        (
            HEADER + "a.jpg,100,80,,,,,\na.jpg,100,80,product,1,2,30,40\n",
            ["line 3", "expected either"],
        ),
    ],
)
def test_bad_label_files(tmp_path, content, expected):
    message = message_of(write_file(tmp_path / "l.csv", content))
    for part in expected:
        assert part in message


def test_all_problems_are_in_one_message(tmp_path):
    content = HEADER + "".join(f"a.jpg,9,9,product,1,1,x{n},2\n" for n in range(25))
    message = message_of(write_file(tmp_path / "l.csv", content))
    assert "25 problems" in message and "line 2:" in message and "line 21:" in message
    assert "line 22:" not in message and "and 5 more" in message


def test_missing_file_and_folder(tmp_path):
    assert "no such file" in message_of(tmp_path / "none.csv")
    assert "directory" in message_of(tmp_path)


def test_blank_lines_and_quoted_names_are_counted(tmp_path):
    content = HEADER + "\n" + '"a, b.jpg",9,9,,,,,\nc.jpg,9\n'
    assert "line 4" in message_of(write_file(tmp_path / "l.csv", content))


def test_whole_numbers_are_written_without_a_point(tmp_path):
    image = labels.LabelledImage("a b,ü.jpg", (9, 8), np.array([[0, 1.5, 2, 3]]), ("product",))
    labels.write_labels([image], tmp_path / "l.csv")
    assert (tmp_path / "l.csv").read_text(
        encoding="utf-8"
    ) == HEADER + '"a b,ü.jpg",9,8,product,0,1.5,2,3\n'


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_labels_are_read_as_they_were_written(tmp_path_factory, data):
    text = st.text("aZ0_.,;'\"<&#=äé棚", min_size=1, max_size=9)
    images = []
    for name in data.draw(st.lists(text, min_size=1, max_size=4, unique=True)):
        width, height = data.draw(st.integers(2, 5000)), data.draw(st.integers(2, 5000))
        spans = [
            # Narrower boxes may have an area of 0 in floating point.
            st.tuples(st.floats(0, side), st.floats(0, side)).filter(
                lambda span: span[1] - span[0] > 1e-3
            )
            for side in (width, height)
        ]
        box = st.tuples(*spans).map(lambda span: (span[0][0], span[1][0], span[0][1], span[1][1]))
        rows = data.draw(st.lists(st.tuples(text, box), max_size=5, unique=True))
        if rows:  # boxes in 0 to 1 alone are refused
            rows.append(("whole", (0.0, 0.0, float(width), float(height))))
        images.append(labels.labelled(name, (width, height), rows))
    path = tmp_path_factory.mktemp("labels") / "l.csv"
    labels.write_labels(images, path)
    for before, after in zip(images, labels.read_labels(path)):
        assert (before.filename, before.size_wh, before.classes) == (
            after.filename,
            after.size_wh,
            after.classes,
        )
        np.testing.assert_array_equal(before.boxes_xyxy, after.boxes_xyxy)


@settings(deadline=None, max_examples=50)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: (HEADER + text).encode("utf-8"))
)
def test_any_bytes_give_labels_or_a_message(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "l.csv"
    path.write_bytes(content)
    try:
        labels.read_labels(path)
    except UserError as error:
        assert str(path) in str(error)
