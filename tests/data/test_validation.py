"""Label files and label maps, annotations of other makes, and what is said of every mistake in them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfdet import UserError
from shelfdet.data import formats_labels_tmp, labels, validation

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
GOOD = HEADER + "a.jpg,100,80,product,1,2,30,40\n"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def picture(path, size_wh=(100, 80), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size_wh, (90, 120, 30))
    exif = image.getexif()
    if orientation:
        exif[0x0112] = orientation
    image.save(str(path), "JPEG", exif=exif)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with a.jpg and b.jpg, 100 x 80."""
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


def images_in(folder):
    return {path.name: path for path in folder.rglob("*") if path.suffix.lower() == ".jpg"}


def said(call, *args, **options):
    with pytest.raises(UserError) as caught:
        call(*args, **options)
    return str(caught.value)


class TestLabels:
    def test_reads_rows_in_order(self, write):
        images = labels.read_labels(
            write(
                "l.csv",
                HEADER + "b.jpg,10,20,product,1,2,3,4\na.jpg,30,40,,,,,\n"
                "b.jpg,10,20,milk,0,0,10,20.0\n",
            )
        )
        assert [image.filename for image in images] == ["b.jpg", "a.jpg"]
        assert images[0].size_wh == (10, 20) and images[0].classes == ("product", "milk")
        np.testing.assert_array_equal(images[0].boxes_xyxy, [[1, 2, 3, 4], [0, 0, 10, 20]])
        assert images[0].boxes_xyxy.dtype == np.float64
        assert images[1].boxes_xyxy.shape == (0, 4) and images[1].classes == ()

    @pytest.mark.parametrize(
        "text",
        [
            GOOD.replace("\n", "\r\n"),
            "\ufeff" + GOOD,
            GOOD + "\n  \n",
            GOOD.replace(",product,", ", product ,"),
            GOOD.replace("a.jpg", '"a.jpg"'),
        ],
    )
    def test_forgives(self, write, text):
        (image,) = labels.read_labels(write("l.csv", text))
        assert (image.filename, image.classes) == ("a.jpg", ("product",))

    @pytest.mark.parametrize(
        "content, expected",
        [
            ("", ["is empty"]),
            (" \n\n", ["is empty"]),
            ('""', ["is empty"]),
            (",,,\n", ["is empty"]),
            (HEADER, ["no rows"]),
            (b"\x89PNG\r\n\x1a\n\0\0\0", ["line 3", "zero byte"]),
            (GOOD.encode("utf-16"), ["UTF-16"]),
            ((GOOD + "caf\xe9.jpg,1,1,,,,,").encode("latin-1"), ["line 3", "0xe9", "UTF-8"]),
            (GOOD.replace(",", ";"), ["line 1", "semicolons"]),
            (GOOD.replace(",", "\t"), ["line 1", "tabs"]),
            (GOOD.replace(HEADER, ""), ["line 1", "a.jpg,100", "header", "Write the header"]),
            ("a.jpg,1,2,30,40,0\n", ["line 1", "Grocery", "step 02"]),
            (GOOD + "a.jpg,100,80,product,1,2,30\n", ["line 3", "7 columns", "expected 8"]),
            (GOOD + '\n"a\n,b', ["line 4", "quote"]),
            (GOOD.replace(",30,", ",x,"), ["line 2", "xmax is 'x'", "finite number"]),
            (GOOD.replace(",30,", ",nan,"), ["line 2", "xmax is 'nan'"]),
            (GOOD.replace(",30,", ",inf,"), ["line 2", "xmax is 'inf'"]),
            (GOOD.replace(",30,", ",3_0,"), ["line 2", "xmax is '3_0'"]),
            (GOOD.replace(",30,", ",,"), ["line 2", "xmax is ''"]),
            (GOOD.replace(",30,", ",1,"), ["line 2", "box 1,2,1,40", "xmin < xmax"]),
            (GOOD.replace(",30,", ",100.5,"), ["line 2", "xmax <= 100"]),
            (GOOD.replace(",100,", ",0,"), ["line 2", "width is '0'"]),
            (GOOD.replace(",100,", ",1e2,"), ["line 2", "width is '1e2'"]),
            (GOOD.replace("product", ""), ["line 2", "class is empty"]),
            (GOOD.replace("a.jpg", ""), ["line 2", "name is empty"]),
            (GOOD.replace("a.jpg", "train/a.jpg"), ["line 2", "'train/a.jpg' contains a folder"]),
            (GOOD.replace("a.jpg", '"a\n.jpg"'), ["line 2", "cannot be printed"]),
            (
                GOOD + "a.jpg,100,81,product,3,4,5,6\n",
                ["line 3", "100 x 81", "expected 100 x 80 as in line 2"],
            ),
            (
                GOOD + "a.jpg,100,80,product,1,2,30,40.0\n",
                ["line 3", "same image, class and box as line 2"],
            ),
            (GOOD + "a.jpg,100,80,,,,,\n", ["line 3", "expected either"]),
            (
                HEADER + "a.jpg,100,80,,,,,\na.jpg,100,80,product,1,2,30,40\n",
                ["line 3", "expected either"],
            ),
            (HEADER + "a.jpg,100,80,,,,,\na.jpg,100,80,,,,,\n", ["line 3", "same image"]),
        ],
    )
    def test_refuses(self, write, content, expected):
        path = write("l.csv", content)
        message = said(labels.read_labels, path)
        for part in [str(path)] + expected:
            assert part in message

    def test_says_all_problems_at_once(self, write):
        message = said(
            labels.read_labels, write("l.csv", HEADER + "a.jpg,9,9,product,1,1,x,2\n" * 25)
        )
        assert "25 problems" in message and "line 2:" in message and "line 21:" in message
        assert "line 22:" not in message and "and 5 more" in message

    def test_missing_file_and_folder(self, tmp_path):
        assert "no such file" in said(labels.read_labels, tmp_path / "none.csv")
        assert "directory" in said(labels.read_labels, tmp_path)

    def test_lines_are_counted_through_quoted_names(self, write):
        assert "line 4" in said(
            labels.read_labels, write("l.csv", HEADER + "\n" + '"a, b.jpg",9,9,,,,,\nc.jpg,9\n')
        )

    def test_writes_whole_numbers_without_a_point(self, tmp_path):
        image = labels.LabelledImage("a b,ü.jpg", (9, 8), np.array([[0, 1.5, 2, 3]]), ("product",))
        labels.write_labels([image], tmp_path / "l.csv")
        assert (tmp_path / "l.csv").read_text(
            encoding="utf-8"
        ) == HEADER + '"a b,ü.jpg",9,8,product,0,1.5,2,3\n'

    @settings(deadline=None, max_examples=25)
    @given(data=st.data())
    def test_round_trip(self, tmp_path_factory, data):
        text = st.text("aZ0_.,;'\"<&#=äé棚", min_size=1, max_size=9)
        images = []
        for name in data.draw(st.lists(text, min_size=1, max_size=4, unique=True)):
            width, height = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000))
            spans = [
                st.tuples(st.floats(0, side), st.floats(0, side)).filter(
                    lambda span: span[0] < span[1]
                )
                for side in (width, height)
            ]
            box = st.tuples(*spans).map(
                lambda span: (span[0][0], span[1][0], span[0][1], span[1][1])
            )
            rows = data.draw(st.lists(st.tuples(text, box), max_size=5, unique=True))
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

    @settings(deadline=None, max_examples=100)
    @given(
        content=st.binary(max_size=200)
        | st.text(max_size=200).map(lambda text: (HEADER + text).encode("utf-8"))
    )
    def test_any_bytes_give_labels_or_a_message(self, tmp_path_factory, content):
        path = tmp_path_factory.mktemp("any") / "l.csv"
        path.write_bytes(content)
        for call in (labels.read_labels, labels.read_label_map):
            try:
                call(path)
            except UserError as error:
                assert str(path) in str(error)


class TestLabelMap:
    @pytest.mark.parametrize(
        "text, expected",
        [
            ("item { id: 1 name: 'product' }", [("product", 1)]),
            (
                "# classes\nitem {\n  id: 2\n  name: \"it's\"  # milk\n}\nitem: { name: 'a \\'b\\'', id: 1; display_name: "
                "'x' }",
                [("it's", 2), ("a 'b'", 1)],
            ),
            ("item { id: 1 name: 'käse' keypoints { id: 7 label: 'name: nose' } }", [("käse", 1)]),
            ("item < id: 1 name: 'product' >", [("product", 1)]),
        ],
    )
    def test_reads(self, write, text, expected):
        assert list(labels.read_label_map(write("m.pbtxt", text)).items()) == expected

    def test_is_what_object_detection_reads(self, write):
        label_map_util = pytest.importorskip("object_detection.utils.label_map_util")
        path = write(
            "m.pbtxt",
            "# c\nitem {\n id: 2\n name: 'b'\n display_name: 'B' }\nitem { name: 'a' id: 1 }\n",
        )
        assert dict(labels.read_label_map(path)) == label_map_util.get_label_map_dict(str(path))

    @pytest.mark.parametrize(
        "text, expected",
        [
            ("", "no item"),
            ("item { id: 0 name: 'x' }", "line 1: id 0 of 'x'; expected a whole number from 1"),
            ("\nitem { id: -1 name: 'x' }", "line 2: id -1"),
            ("item { id: 1.5 name: 'x' }", "id 1.5"),
            ("item { id: 1 }", "without name"),
            ("item { name: 'x' }", "without id"),
            ("item { id: 1 name: '' }", "empty name"),
            ("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", "line 2: id 1 stands twice"),
            (
                "item { id: 1 name: 'a' }\nitem { id: 2 name: 'a' }",
                "line 2: class 'a' stands twice",
            ),
            ("item { id: 1 name: 'a'", "expected a closing brace"),
            ("item { id: 1 name: 'a\n' }", "line 1: found"),
            ("item { id: 1 name: 'a\\303' }", "escape"),
            ("product\n", "line 1: found 'product'"),
            ("}", "line 1: found '}'"),
        ],
    )
    def test_refuses(self, write, text, expected):
        path = write("m.pbtxt", text)
        message = said(labels.read_label_map, path)
        assert str(path) in message and expected in message

    def test_missing(self, tmp_path):
        assert "No such file" in said(labels.read_label_map, tmp_path / "none.pbtxt")


class TestGrocery:
    def read(self, path, photos, **options):
        self.lines = []
        return validation.read_annotations(
            path, images_in(photos), "grocery", say=self.lines.append, **options
        )

    def test_reads(self, write, photos):
        images = self.read(
            write("a.csv", "b.jpg,1,2,3,4,7\r\na.jpg,5,6,7.5,8,0\r\nb.jpg,0,0,100,80,3\r\n"), photos
        )
        assert [(image.filename, image.size_wh, image.classes) for image in images] == [
            ("a.jpg", (100, 80), ("product",)),
            ("b.jpg", (100, 80), ("product", "product")),
        ]
        np.testing.assert_array_equal(images[1].boxes_xyxy, [[1, 2, 3, 4], [0, 0, 100, 80]])
        assert self.lines == []

    def test_the_column_is_the_class_where_the_map_has_several(self, write, photos):
        path = write("a.csv", "a.jpg,1,2,3,4,milk\nb.jpg,1,2,3,4,tea\n")
        images = self.read(path, photos, label_map={"milk": 1, "tea": 2})
        assert [image.classes for image in images] == [("milk",), ("tea",)]
        message = said(self.read, path, photos, label_map={"milk": 1, "oil": 2})
        assert "line 2: class 'tea'; expected 'milk' or 'oil'" in message
        assert self.read(path, photos, label_map={"thing": 1})[0].classes == ("thing",)

    def test_clips_and_counts(self, write, photos):
        path = write("a.csv", "a.jpg,-3,2,30,90.5,0\nb.jpg,1,1,2,2,0\n")
        np.testing.assert_array_equal(self.read(path, photos)[0].boxes_xyxy, [[0, 2, 30, 80]])
        assert self.lines == [
            "1 boxes stuck out of their image and were cut at its edge, by at most 10.5 px"
        ]
        message = said(self.read, path, photos, out_of_image="refuse")
        assert "line 1: box -3,2,30,90.5 sticks out of the image, 100 x 80" in message

    def test_drops_equal_rows_and_says_so(self, write, photos):
        path = write(
            "a.csv", "a.jpg,1,2,30,40,0\na.jpg,1,2,30,40,5\na.jpg,41,2,70,41,5\nb.jpg,1,2,30,40,0\n"
        )
        assert len(self.read(path, photos)[0].classes) == 2
        assert self.lines == ["1 boxes were dropped: equal to another of the same image"]

    def test_keeps_a_product_that_looks_labelled_twice_and_says_so(self, write, photos):
        path = write(
            "a.csv", "a.jpg,1,2,30,40,0\na.jpg,1,2,30,41,5\na.jpg,2,2,30,40,5\nb.jpg,1,2,30,40,0\n"
        )
        assert [len(image.classes) for image in self.read(path, photos)] == [3, 1]
        assert self.lines == [
            "2 boxes lie on another of their image (IoU over 0.6), as of a product that was labelled twice; they "
            "stay. Look at a.jpg (2)"
        ]

    @pytest.mark.parametrize(
        "box, kind",
        [
            ("30,2,1,40", "inverted"),
            ("1,40,30,2", "inverted"),
            ("1,2,1,40", "of no area"),
            ("1,2,30,2", "of no area"),
            ("100,2,130,40", "outside the image, 100 x 80"),
            ("-9,-9,0,0", "outside"),
            ("500,500,600,600", "outside"),
        ],
    )
    def test_bad_boxes(self, write, photos, box, kind):
        path = write("a.csv", f"a.jpg,1,2,30,40,0\nb.jpg,1,2,30,40,0\na.jpg,{box},0\n")
        message = said(self.read, path, photos)
        assert f"line 3: box {box} is {kind}" in message and "--bad-boxes drop" in message
        assert len(self.read(path, photos, bad_boxes="drop")[0].classes) == 1
        assert self.lines == [
            "1 boxes were dropped: inverted, without area, or wholly outside their image"
        ]

    @pytest.mark.parametrize(
        "rows, expected",
        [
            (
                "filename,x1,y1,x2,y2,brand\na.jpg,1,2,3,4,0",
                ["line 1", "found a header", "expected no header"],
            ),
            (GOOD, ["line 1", "found a header", "--format labels"]),
            ("a.jpg,1,2,3,4", ["line 1", "5 columns", "expected 6"]),
            ("a.jpg 1 2 3 4 0", ["line 1", "1 column "]),
            ("a.jpg;1;2;3;4;0", ["line 1", "semicolons"]),
            ("a.jpg,1,2,3,NaN,0", ["line 1", "ymax is 'NaN'"]),
            ("a.jpg,1,2,-inf,4,0", ["line 1", "xmax is '-inf'"]),
            ("a.jpg,1,2,,4,0", ["line 1", "xmax is ''"]),
            ("a.jpg,1,2,3,4,0\nfilename,xmin,ymin,xmax,ymax,brand", ["line 2", "xmin is 'xmin'"]),
        ],
    )
    def test_refuses(self, write, photos, rows, expected):
        path = write("a.csv", rows)
        message = said(self.read, path, photos)
        for part in [str(path)] + expected:
            assert part in message

    def test_rows_without_image(self, write, photos):
        path = write(
            "a.csv",
            "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\nA.JPG,1,2,3,4,0\n"
            + "".join(f"n{n}.jpg,1,2,3,4,0\n" for n in range(11)),
        )
        message = said(self.read, path, photos)
        assert "12 of 14 annotated images are not there: A.JPG (line 3), n0.jpg (line 4)" in message
        assert (
            " and 2 more" in message
            and "'a.jpg' for 'A.JPG'" in message
            and "--allow-missing" in message
        )
        assert [image.filename for image in self.read(path, photos, allow_missing=True)] == [
            "a.jpg",
            "b.jpg",
        ]
        assert "12 annotated images are not there; their 12 boxes" in self.lines[0]

    def test_images_without_rows(self, write, photos):
        path = write("a.csv", "a.jpg,1,2,3,4,0\n")
        message = said(self.read, path, photos)
        assert (
            "1 of 2 images have no annotations: b.jpg" in message
            and "--empty-images keep" in message
        )
        assert [image.filename for image in self.read(path, photos, empty_images="leave-out")] == [
            "a.jpg"
        ]
        kept = self.read(path, photos, empty_images="keep")
        assert [len(image.classes) for image in kept] == [1, 0] and "kept" in self.lines[0]

    def test_nothing_left(self, write, photos):
        path = write("a.csv", "c.jpg,1,2,3,4,0\n")
        assert "no image is left" in said(
            self.read, path, photos, allow_missing=True, empty_images="leave-out"
        )

    def test_broken_images_and_rows_are_said_together(self, write, photos):
        (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:-20])
        message = said(self.read, write("a.csv", "a.jpg,1,2,x,4,0\nb.jpg,1,2,3,4,0\n"), photos)
        assert (
            "2 problems" in message
            and "line 1" in message
            and "b.jpg: cannot be decoded to its end" in message
        )

    def test_names_with_spaces_and_letters(self, write, photos):
        for name in ("Bild 1 ä.jpg", "棚, 2.jpg", "<img onerror=x>.jpg"):
            picture(photos / name)
        path = write(
            "a.csv",
            'a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\nBild 1 ä.jpg,1,2,3,4,0\n"棚, 2.jpg",1,2,3,4,0\n'
            "<img onerror=x>.jpg,1,2,3,4,0\n",
        )
        images = self.read(path, photos)
        labels.write_labels(images, photos / "l.csv")
        assert {image.filename for image in labels.read_labels(photos / "l.csv")} == {
            "a.jpg",
            "b.jpg",
            "Bild 1 ä.jpg",
            "棚, 2.jpg",
            "<img onerror=x>.jpg",
        }

    def test_exif(self, write, photos):
        picture(photos / "b.jpg", orientation=6)
        path = write("a.csv", "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,90,0\n")
        assert self.read(path, photos)[1].size_wh == (100, 80)
        assert (
            "1 images carry an EXIF orientation (flag 6: 1)" in self.lines[0]
            and "cut" in self.lines[1]
        )
        assert self.read(path, photos, exif="apply")[1].size_wh == (80, 100)
        assert len(self.lines) == 1

    def test_many_images_are_read_in_processes(self, write, tmp_path):
        names = [f"p{n}.jpg" for n in range(validation.FEW_IMAGES + 1)]
        for n, name in enumerate(names):
            picture(tmp_path / "many" / name, (20 + n, 30))
        images = self.read(
            write("a.csv", "".join(name + ",1,2,3,4,0\n" for name in names)), tmp_path / "many"
        )
        assert [image.size_wh for image in images] == [(20 + n, 30) for n in range(len(names))]

    def test_the_real_dataset_whose_images_are_missing(self, shelf_data_original):
        images = self.read(
            shelf_data_original / "annotations.csv", shelf_data_original, allow_missing=True
        )
        assert len(images) == 16
        assert (
            "338 annotated images are not there; their 12754 boxes were left out" in self.lines[0]
        )
        assert "and 328 more" in self.lines[0] and "flag 3: 2" in self.lines[1]


VOC = """<annotation><folder>x</folder><filename>{name}</filename>
<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{objects}</annotation>"""
VOC_OBJECT = """<object><name>{}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def voc(name="a.jpg", size=(100, 80), objects=VOC_OBJECT.format("product", 1, 2, 30, 40)):
    return VOC.format(name=name, size=size, objects=objects)


class TestVoc:
    def read(self, path, photos, **options):
        self.lines = []
        return validation.read_annotations(
            path, images_in(photos), "voc", say=self.lines.append, **options
        )

    def test_reads(self, write, photos):
        folder = write("xml/a.xml", voc()).parent
        write("xml/b.xml", voc("b.jpg", objects=""))
        write("xml/notes.txt", "not read")
        images = self.read(folder, photos)
        assert [(image.filename, image.classes) for image in images] == [
            ("a.jpg", ("product",)),
            ("b.jpg", ()),
        ]
        np.testing.assert_array_equal(images[0].boxes_xyxy, [[1, 2, 30, 40]])

    def test_a_renamed_image_is_found_by_the_stem(self, write, photos):
        folder = write("xml/a.xml", voc("C:\\old\\a.jpg")).parent
        write("xml/b.xml", voc("IMG_1.jpg"))
        assert [image.filename for image in self.read(folder, photos)] == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize(
        "content, expected",
        [
            ("", ["a.xml: is no whole XML"]),
            (voc()[:150], ["a.xml: is no whole XML"]),
            (b"\x89PNG\0\0", ["a.xml: is no whole XML"]),
            ("<?xml version='1.0' encoding='no-such'?><annotation/>", ["a.xml: is no whole XML"]),
            ("<html></html>", ["a.xml", "<html>", "expected <annotation>"]),
            (voc(size=(80, 100)), ["a.xml", "size 80 x 100; expected 100 x 80"]),
            (voc(size=("w", 80)), ["a.xml", "<size> is 'w'"]),
            (
                voc(objects=VOC_OBJECT.format("product", 1, 2, "x", 40)),
                ["a.xml: object 1", "<xmax> is 'x'"],
            ),
            (
                voc(objects=VOC_OBJECT.format("product", 30, 2, 1, 40)),
                ["a.xml: object 1", "inverted"],
            ),
            (
                voc(objects="<object><name>product</name><robndbox/></object>"),
                ["a.xml: object 1", "no <bndbox> with <xmin>"],
            ),
            (voc("c.jpg").replace("annotation>", "annotation>", 1), []),
        ],
    )
    def test_refuses(self, write, photos, content, expected):
        folder = write("xml/a.xml", content).parent
        write("xml/b.xml", voc("b.jpg"))
        if not expected:
            assert len(self.read(folder, photos)) == 2
            return
        message = said(self.read, folder, photos)
        for part in expected:
            assert part in message

    def test_one_class(self, write, photos):
        objects = [
            VOC_OBJECT.format(name, 1 + 24 * n, 2, 20 + 24 * n, 40)
            for n, name in enumerate(("tea", "milk", "cola", "milk"))
        ]
        folder = write("xml/a.xml", voc(objects="".join(objects))).parent
        write("xml/b.xml", voc("b.jpg", objects=""))
        assert self.read(folder, photos)[0].classes == ("product",) * 4
        assert self.lines == [
            "the label map has one class: 3 classes of the annotations (cola, milk, tea) become product"
        ]

    def test_one_class_of_another_name(self, write, photos):
        folder = write("xml/a.xml", voc()).parent
        write("xml/b.xml", voc("b.jpg"))
        assert self.read(folder, photos, label_map={"pack": 1})[1].classes == ("pack",)
        assert self.lines == [
            "the label map has one class: 1 class of the annotations (product) becomes pack"
        ]
        self.read(folder, photos)
        assert self.lines == []

    def test_an_unknown_class_is_said_once(self, write, photos):
        folder = write(
            "xml/a.xml", voc(objects=VOC_OBJECT.format("milk", 1, 2, 30, 40) * 30)
        ).parent
        write("xml/b.xml", voc("b.jpg"))
        message = said(self.read, folder, photos, label_map={"product": 1, "tea": 2})
        assert (
            "a.xml: object 1: class 'milk' (and 29 more of it); expected 'product' or 'tea'"
            in message
        )

    def test_two_files_of_one_image(self, write, photos):
        folder = write("xml/a.xml", voc()).parent
        write("xml/b.xml", voc("a.jpg"))
        assert "b.xml: is of the same image as a.xml ('a.jpg')" in said(self.read, folder, photos)

    def test_sizes_of_a_viewer_that_turns(self, write, photos):
        folder = write("xml/a.xml", voc(size=(80, 100))).parent
        write("xml/b.xml", voc("b.jpg"))
        picture(photos / "a.jpg", orientation=6)
        assert "--exif apply" in said(self.read, folder, photos)
        assert self.read(folder, photos, exif="apply")[0].size_wh == (80, 100)

    def test_no_folder(self, write, tmp_path):
        assert "is a file" in said(self.read, write("a.xml", voc()), tmp_path)
        assert "no such folder" in said(self.read, tmp_path / "none", tmp_path)
        (tmp_path / "empty").mkdir()
        assert "holds no .xml file" in said(self.read, tmp_path / "empty", tmp_path)


def coco(**changes):
    data = {
        "images": [
            {"id": 5, "file_name": "train/a.jpg", "width": 100, "height": 80},
            {"id": 6, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 9, "name": "product"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 9, "bbox": [1, 2, 29, 38.5]}],
    }
    data.update(changes)
    return json.dumps(data)


def entry(**changes):
    return coco(
        annotations=[
            dict({"id": 1, "image_id": 5, "category_id": 9, "bbox": [1, 2, 29, 38.5]}, **changes)
        ]
    )


class TestCoco:
    def read(self, path, photos, **options):
        self.lines = []
        return validation.read_annotations(
            path, images_in(photos), "coco", say=self.lines.append, **options
        )

    def test_reads(self, write, photos):
        images = self.read(write("a.json", coco()), photos)
        assert [(image.filename, image.classes) for image in images] == [
            ("a.jpg", ("product",)),
            ("b.jpg", ()),
        ]
        np.testing.assert_array_equal(images[0].boxes_xyxy, [[1, 2, 30, 40.5]])

    def test_crowds_are_left_out_and_counted(self, write, photos):
        assert self.read(write("a.json", entry(iscrowd=1)), photos)[0].classes == ()
        assert self.lines == ["1 entries were left out: iscrowd marks a region, not one product"]

    @pytest.mark.parametrize(
        "content, expected",
        [
            ("", "is no whole JSON"),
            ("{", "is no whole JSON"),
            ("[" * 100000, "is no whole JSON"),
            ("[]", "images: no list"),
            (coco(categories=None), "categories: no list"),
            (coco(annotations=[3]), "annotations: no list"),
            (entry(image_id=7), "annotations[0] (id 1): image_id '7' stands in no entry of images"),
            (entry(image_id=[7]), "image_id '[7]'"),
            (entry(category_id=1), "category_id '1' stands in no entry"),
            (entry(bbox=[1, 2, 3]), "bbox '[1, 2, 3]'; expected [x, y, width, height]"),
            (entry(bbox=[1, 2, float("nan"), 3]), "bbox[2] is 'nan'"),
            (entry(bbox=[1, 2, 10**400, 3]), "bbox[2] is '1000"),
            (entry(bbox=[1, 2, True, 3]), "bbox[2] is 'True'"),
            (entry(bbox=[1, 2, -3, 3]), "annotations[0] (id 1): box 1,2,-2,5 is inverted"),
            (
                coco(categories=[{"id": 9, "name": "a"}, {"id": 9, "name": "b"}]),
                "categories[1]: id 9 stands in categories[0], too",
            ),
            (
                coco(images=[{"id": 5, "file_name": "a.jpg"}, {"id": 6, "file_name": "a.jpg"}]),
                "images[1]: file_name 'a.jpg' stands in images[0]",
            ),
            (coco(images=[{"id": 5, "file_name": 3}]), "images[0]: the file name is empty"),
            (
                coco(images=[{"id": 5, "file_name": "a.jpg", "width": 80, "height": 100}]),
                "images[0]: size 80 x 100; expected 100 x 80",
            ),
        ],
    )
    def test_refuses(self, write, photos, content, expected):
        path = write("a.json", content)
        message = said(self.read, path, photos)
        assert str(path) in message and expected in message

    def test_classes(self, write, photos):
        path = write("a.json", coco(categories=[{"id": 9, "name": "milk"}]))
        assert self.read(path, photos)[0].classes == ("product",)
        assert self.lines == [
            "the label map has one class: 1 class of the annotations (milk) becomes product"
        ]
        assert "annotations[0] (id 1): class 'milk'; expected 'tea' or 'oil'" in said(
            self.read, path, photos, label_map={"tea": 1, "oil": 2}
        )


KEYS = [
    "images",
    "annotations",
    "categories",
    "id",
    "file_name",
    "bbox",
    "image_id",
    "name",
    "category_id",
    "width",
]
JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)
ROWS = st.text('a.jpg,0123456789-\n"; ', max_size=150)


@settings(deadline=None, max_examples=40)
@given(
    content=st.one_of(
        st.binary(max_size=150), ROWS.map(str.encode), JSON.map(json.dumps).map(str.encode)
    )
)
@pytest.mark.parametrize("format", ["grocery", "coco", "labels"])
def test_any_bytes_give_images_or_a_message(tmp_path_factory, format, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a").write_bytes(content)
    picture(folder / "photos" / "a.jpg", (9, 9))
    try:
        validation.read_annotations(
            folder / "a",
            images_in(folder),
            format,
            allow_missing=True,
            empty_images="keep",
            say=lambda line: None,
        )
    except UserError as error:
        assert str(folder) in str(error)


def test_our_own_labels_are_a_format(write, photos):
    path = write("l.csv", GOOD + "b.jpg,100,80,,,,,\n")
    assert [
        len(image.classes)
        for image in validation.read_annotations(path, images_in(photos), "labels")
    ] == [1, 0]
    assert "size 99 x 80; expected 100 x 80" in said(
        validation.read_annotations,
        write("m.csv", GOOD.replace("100", "99") + "b.jpg,100,80,,,,,\n"),
        images_in(photos),
        "labels",
    )
    assert (
        set(formats_labels_tmp.READERS)
        == set(formats_labels_tmp.TITLES)
        == {"grocery", "labels", "voc", "coco"}
    )


@pytest.mark.parametrize(
    "name, content, format",
    [
        ("a.csv", GOOD, "labels"),
        ("a.CSV", "\ufeff" + GOOD.replace("\n", "\r\n"), "labels"),
        ("a.csv", "a.jpg,1,2,3,4,0\n", "grocery"),
        ("a.csv", GOOD.replace("class,", "brand,"), "grocery"),
        ("a.json", "", "coco"),
        ("xml/a.xml", "", None),
    ],
)
def test_formats_are_recognised(write, name, content, format):
    path = write(name, content)
    assert formats_labels_tmp.recognised(path if format else path.parent) == (format or "voc")


def test_a_format_that_is_not_recognised(write):
    assert "a .txt file; expected .csv, .json" in said(
        formats_labels_tmp.recognised, write("a.txt", GOOD)
    )
    assert "a nameless kind of file" in said(formats_labels_tmp.recognised, write("a", GOOD))
