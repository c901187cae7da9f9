"""Reading and writing of every format: rules that all share, and what each refuses."""

import json

import pytest
from annotation_samples import (
    DETECTIONS,
    HEADER,
    LABELS,
    PRODUCT,
    SCORED_HEADER,
    VOC_OBJECT,
    coco,
    coco_annotation,
    coco_with,
    scored_voc,
    voc,
    write_file,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import formats
from shelfdet.data.formats import BoxRow, ImageBoxes, labels_csv
from shelfdet.data.formats import coco as coco_format
from shelfdet.data.formats import voc as voc_format

FOLDER_SUFFIXES = {"voc": ".xml", "text": ".txt"}
GROCERY = "a.jpg,1,2,30,40,7\n"
BOX = (1.0, 2.0, 30.0, 40.0)


def read(path, format, **options):
    problems = Problems(path)
    images = formats.read(path, format, problems, **options)
    problems.refuse()
    return list(images.values())


def message_of(path, format, **options):
    with pytest.raises(UserError) as error:
        read(path, format, **options)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.fixture
def source(tmp_path):
    """Writes the content of a file or, for voc and text, of a file a.xml or a.txt in a folder."""

    def write(format, content):
        suffix = FOLDER_SUFFIXES.get(format)
        if suffix is None:
            return write_file(tmp_path / f"source_{format}", content)
        return write_file(tmp_path / f"source_{format}" / f"a{suffix}", content).parent

    return write


# --- rules that all formats share ---------------------------------------------------------------


def content_with(format, scored, number="30", width="100", name="a.jpg", label="product"):
    """A file with one box; ``number`` stands for one of its numbers."""
    if format == "grocery":
        return f"{name},1,2,{number},40,{label}\n"
    if format == "csv":
        header, score = (SCORED_HEADER, ",0.5") if scored else (HEADER, "")
        return f"{header}{name},{width},80,{label},1,2,{number},40{score}\n"
    if format == "voc":
        element = VOC_OBJECT.format(label, 1, 2, number, 40)
        if scored:
            element = element.replace("</name>", "</name><score>0.5</score>")
        return voc(name, size=(width, 80), objects=element)
    if format == "coco":
        score = {"score": 0.5} if scored else {}
        image = {"id": 5, "file_name": name, "width": width, "height": 80}
        return coco(
            images=[image],
            categories=[{"id": 9, "name": label}],
            annotations=[coco_annotation(bbox=[1, 2, number, 38], **score)],
        )
    return f"{label}{' 0.5' if scored else ''} 1 2 {number} 40\n"


ALL_KINDS = [("grocery", False)] + [
    (format, scored) for format in ("csv", "voc", "coco", "text") for scored in (False, True)
]
SIZED_KINDS = [kind for kind in ALL_KINDS if kind[0] not in ("grocery", "text")]
NAMED_KINDS = [kind for kind in ALL_KINDS if kind[0] != "text"]


@pytest.mark.parametrize("format, scored", ALL_KINDS)
def test_one_box_is_read_the_same_from_every_format(source, format, scored):
    number = 29 if format == "coco" else 30  # COCO has the width, the others the right edge
    path = source(format, content_with(format, scored, number))
    (image,) = read(path, format, scored=scored, image_names=["a.jpg"])
    assert image.filename == "a.jpg"
    assert image.size_wh == (None if format in ("grocery", "text") else (100, 80))
    (row,) = image.rows
    assert row.box_xyxy == BOX
    assert row.label == (None if format == "grocery" else "product")
    assert row.score == (0.5 if scored else None)
    assert not row.difficult and not row.crowd


@pytest.mark.parametrize("number", ["1_0", "nan", "-Infinity", "x", "٣", "1e999"])
@pytest.mark.parametrize("format, scored", ALL_KINDS)
def test_every_format_refuses_the_same_numbers(source, format, scored, number):
    path = source(format, content_with(format, scored, number))
    assert f"is '{number}'; expected a finite number" in message_of(path, format, scored=scored)


@pytest.mark.parametrize("number", ["+30", "30.", "300E-1"])
@pytest.mark.parametrize("format, scored", ALL_KINDS)
def test_every_format_accepts_the_same_numbers(source, format, scored, number):
    path = source(format, content_with(format, scored, number))
    (image,) = read(path, format, scored=scored)
    assert image.rows[0].box_xyxy[2] == (31 if format == "coco" else 30)


@pytest.mark.parametrize("width", ["640.7", "0", "-100", "x", "1_00", "1e999"])
@pytest.mark.parametrize("format, scored", SIZED_KINDS)
def test_every_format_refuses_the_same_sizes(source, format, scored, width):
    path = source(format, content_with(format, scored, width=width))
    message = message_of(path, format, scored=scored)
    assert f"width is '{width}'; expected a whole number of pixels from 1" in message


@pytest.mark.parametrize("width", ["640", "640.0", " 640 ", "6.4e2"])
@pytest.mark.parametrize("format, scored", SIZED_KINDS)
def test_every_format_accepts_the_same_sizes(source, format, scored, width):
    path = source(format, content_with(format, scored, width=width))
    (image,) = read(path, format, scored=scored)
    assert image.size_wh == (640, 80)


@pytest.mark.parametrize("name", ["train/a.jpg", "C:\\shelves\\a.jpg", " a.jpg "])
@pytest.mark.parametrize("format, scored", NAMED_KINDS)
def test_every_format_takes_the_base_name(source, format, scored, name):
    path = source(format, content_with(format, scored, name=name))
    assert [image.filename for image in read(path, format, scored=scored)] == ["a.jpg"]


@pytest.mark.parametrize("format, scored", NAMED_KINDS)
def test_every_format_refuses_names_that_cannot_be_printed(source, format, scored):
    path = source(format, content_with(format, scored, name="a\x7f.jpg"))
    assert "cannot be printed" in message_of(path, format, scored=scored)


@pytest.mark.parametrize("format, scored", ALL_KINDS)
def test_every_format_accepts_a_byte_order_mark(source, format, scored):
    content = content_with(format, scored)
    (expected,) = read(source(format, content), format, scored=scored)
    (image,) = read(source(format, "\ufeff" + content), format, scored=scored)
    assert image == expected


@pytest.mark.parametrize("format, scored", ALL_KINDS)
def test_every_format_refuses_what_is_missing(tmp_path, format, scored):
    message_of(tmp_path / "nowhere", format, scored=scored)


@pytest.mark.parametrize("format", FOLDER_SUFFIXES)
def test_a_file_or_an_empty_folder_instead_of_a_folder_of_files(tmp_path, format):
    file = write_file(tmp_path / "file", "x")
    assert "is a file" in message_of(file, format)
    assert "no such folder" in message_of(tmp_path / "none", format)
    (tmp_path / "empty").mkdir()
    write_file(tmp_path / "empty" / f".hidden{FOLDER_SUFFIXES[format]}", "x")
    assert f"holds no {FOLDER_SUFFIXES[format]} file" in message_of(tmp_path / "empty", format)


@pytest.mark.parametrize(
    "format, content",
    [
        ("grocery", "x/a.jpg,1,2,3,4,0\ny/a.jpg,1,2,3,4,0\n"),
        ("csv", HEADER + "x/a.jpg,9,9,product,1,2,3,4\ny/a.jpg,9,9,product,1,2,3,5\n"),
    ],
)
def test_rows_that_write_one_name_in_two_ways(source, format, content):
    message = message_of(source(format, content), format)
    assert "image 'y/a.jpg' is 'x/a.jpg' in line" in message
    assert "expected each image under one name" in message


def test_all_problems_of_all_files_are_in_one_message(tmp_path):
    write_file(tmp_path / "a.xml", voc(objects=PRODUCT.replace("30", "x")))
    write_file(tmp_path / "b.xml", "<html></html>")
    message = message_of(tmp_path, "voc")
    assert "2 problems" in message
    assert "a.xml: object 1: <xmax> is 'x'" in message
    assert "b.xml: the outermost element is <html>" in message


# --- the Grocery Dataset's CSV ------------------------------------------------------------------


def test_grocery_images_and_boxes_are_in_the_order_of_the_file(source):
    path = source("grocery", "b.jpg,1,2,3,4,7\r\na.jpg,5,6,7.5,8,0\r\nb.jpg,0,0,9,8,3\r\n")
    first, second = read(path, "grocery")
    assert (first.filename, second.filename) == ("b.jpg", "a.jpg")
    assert [row.box_xyxy for row in first.rows] == [(1, 2, 3, 4), (0, 0, 9, 8)]
    assert [row.place for row in first.rows] == ["line 1", "line 3"]


def test_the_grocery_brand_is_the_class_where_that_is_asked_for(source):
    path = source("grocery", "a.jpg,1,2,3,4, milk \n")
    assert read(path, "grocery", brand_is_class=True)[0].rows[0].label == "milk"
    assert read(path, "grocery")[0].rows[0].label is None


@pytest.mark.parametrize(
    "rows, expected",
    [
        ("a.jpg,1,2,3,4", ["line 1", "5 columns", "expected 6", "Write a header above"]),
        ("a.jpg 1 2 3 4 0", ["line 1", "1 column "]),
        (
            "name,a,b,c,d,e,f\n",
            ["line 1", "found the names 'name', 'a'", "xmin", "Name the columns"],
        ),
        (
            "filename,x,y,w,h,brand\n",
            ["line 1", "no column xmin, ymin, xmax, ymax, but", "'brand'"],
        ),
        (
            "a.jpg,1,2,3,4,0\na.jpg,1,2,3,4\n",
            ["line 2: found 5 columns", "expected 6, as in line 1"],
        ),
        ("a.jpg,1,2,3,NaN,0", ["line 1", "ymax is 'NaN'"]),
        ("a.jpg,1,2,-inf,4,0", ["line 1", "xmax is '-inf'"]),
        ("a.jpg,1,2,,4,0", ["line 1", "xmax is ''"]),
        (
            "a.jpg,1,2,3,4,0\nfilename,xmin,ymin,xmax,ymax,brand",
            ["line 2", "xmin is 'xmin'"],
        ),
    ],
)
def test_bad_grocery_rows(source, rows, expected):
    message = message_of(source("grocery", rows), "grocery")
    for part in expected:
        assert part in message


def test_a_row_of_empty_fields_is_an_image_without_boxes(source):
    first, second = read(source("grocery", "a.jpg,1,2,3,4,0\nb.jpg,,,,,\n"), "grocery")
    assert len(first.rows) == 1 and second.rows == []


def test_scores_in_the_grocery_csv_are_refused(source):
    path = source("grocery", "filename,xmin,ymin,xmax,ymax,brand,score\na.jpg,1,2,3,4,0,0.5\n")
    assert "1 box has a score ('0.5' in line 2), so these are detections" in message_of(
        path, "grocery"
    )


def test_the_text_file_of_the_grocery_dataset(tmp_path):
    """A line an image: its name, the number of boxes, and x, y, width, height, brand of each."""
    path = write_file(tmp_path / "annotation.txt", "b.jpg 2 1 2 29 38 7 5 6 10 20 0\n\na.jpg 0\n")
    first, second = read(path, "grocery")
    assert (first.filename, second.filename, second.rows) == ("b.jpg", "a.jpg", [])
    assert [row.box_xyxy for row in first.rows] == [(1, 2, 30, 40), (5, 6, 15, 26)]
    assert [row.label for row in read(path, "grocery", brand_is_class=True)[0].rows] == ["7", "0"]
    assert first.rows[1].place == "line 1" and first.rows[0].label is None


@pytest.mark.parametrize("line", ["a.jpg 2 1 2 29 38 7", "a.jpg 1 1 2 x 38 7", "a.jpg", "a.jpg x"])
def test_bad_lines_of_that_file(tmp_path, line):
    path = write_file(tmp_path / "annotation.txt", f"b.jpg 0\n{line}\nb.jpg 0\n")
    message = message_of(path, "grocery")
    assert f"line 2: is '{line}'; expected a file name, the number of boxes, and 5" in message
    assert "line 3: image 'b.jpg' is also in line 1" in message


# --- the workspace's CSV ------------------------------------------------------------------------


def test_a_csv_of_keras_retinanet_has_no_header(source):
    """Columns path,x1,y1,x2,y2,class; empty ones state an image without boxes."""
    content = "shop/a.jpg,1,2,30,40,cola\nshop/a.jpg,5,6,7,8,fanta\nshop/b.jpg,,,,,\n"
    first, second = read(source("csv", content), "csv")
    assert [(row.label, row.box_xyxy) for row in first.rows] == [
        ("cola", (1, 2, 30, 40)),
        ("fanta", (5, 6, 7, 8)),
    ]
    assert (second.filename, second.rows, second.size_wh) == ("b.jpg", [], None)
    assert "line 2: xmax is 'x'" in message_of(source("csv", content.replace("7,8", "x,8")), "csv")
    assert "expected the header" in message_of(source("csv", content), "csv", scored=True)


def test_a_csv_of_vott(source):
    content = '"image","xmin","ymin","xmax","ymax","label"\n"a.jpg",1.5,2,30,40,"cola"\n'
    (image,) = read(source("csv", content), "csv")
    assert image.rows[0].box_xyxy == (1.5, 2, 30, 40) and image.rows[0].label == "cola"


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "empty"),
        (
            "a.jpg,100,80,product,1,2,11,22,0.5\n",
            "line 1: found 'a.jpg.*; expected the header filename,width.*Write a header above",
        ),
        (LABELS, "line 1: no column score, but .*; expected .*,score.* labels without scores"),
        (
            SCORED_HEADER + "a.jpg,100,80,product,1,2,11,22\n",
            "line 2: as in every row, found 8 columns .*; expected 9, as in line 1",
        ),
        (SCORED_HEADER + "a.jpg,100,80,product,1,2,11,22,\n", "line 2: score is ''"),
        (SCORED_HEADER + "a.jpg,100,80,product,1,2,nan,22,0.5\n", "line 2: xmax is 'nan'"),
        (
            DETECTIONS + "a.jpg,80,100,product,1,2,11,22,0.5\n",
            "line 3: 'a.jpg' is 80 x 100; expected 100 x 80 as in line 2",
        ),
        (SCORED_HEADER + "a.jpg,100,80, ,1,2,11,22,0.5\n", "line 2: the class is empty"),
        (SCORED_HEADER + "a.jpg,100,-80,,,,,,\n", "line 2: height is '-80'"),
        (SCORED_HEADER + ",100,80,product,1,2,11,22,0.5\n", "line 2: the file name is empty"),
        (DETECTIONS + "a.jpg,100,80,,,,,,\n", "line 3: .*rows with boxes and one without"),
    ],
)
def test_bad_csv_of_detections(source, content, message):
    with pytest.raises(UserError, match=message):
        read(source("csv", content), "csv", scored=True)


def test_detections_of_equal_boxes_are_kept(source):
    content = DETECTIONS + DETECTIONS.splitlines()[1]
    (image,) = read(source("csv", content), "csv", scored=True)
    assert len(image.rows) == 2


PRODUCT_ROW = BoxRow("line 2", "product", (1.5, 2, 30, 40))


@pytest.mark.parametrize(
    "content",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,product,1.5,2,30,40\n",
        "filename;width;height;class;xmin;ymin;xmax;ymax\na.jpg;100;80;product;1,5;2,0;30;40\n",
        "filename\twidth\theight\tclass\txmin\tymin\txmax\tymax\n"
        "a.jpg\t100\t80\tproduct\t1,5\t2,0\t30\t40\n",
        "filename|width|height|class|xmin|ymin|xmax|ymax\na.jpg|100|80|product|1.5|2|30|40\n",
        ",filename,width,height,class,xmin,ymin,xmax,ymax\n"
        "0,a.jpg,100.0,80.0,product,1.5,2.0,30.0,40.0\n",
        "YMax,XMax,YMin,XMin,id,Class,Height,Width,File_Name\n"
        "40,30,2,1.5,77,product,80,100,a.jpg\n",
        'filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,product,"1,5",2,30,40\n',
        "image_path,x1,y1,x2,y2,label,image_width,image_height\n"
        "train/a.jpg,1.5,2,30,40,product,100,80\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,product,1.5,2,30,40,\n",
    ],
)
def test_columns_of_a_csv_are_found_by_their_names(source, content):
    (image,) = read(source("csv", content), "csv")
    assert image == ImageBoxes("a.jpg", "line 2", (100, 80), [PRODUCT_ROW])


def test_the_separator_that_a_spreadsheet_states(source):
    (image,) = read(
        source("csv", "sep=;\r\nfilename;class;xmin;ymin;xmax;ymax\na;b;1;2;3;4"), "csv"
    )
    assert (image.size_wh, image.rows[0].place) == (None, "line 3")


def test_a_csv_without_sizes(source):
    content = "image,xmin,ymin,xmax,ymax,label,score\na.jpg,1,2,30,40,product,0.5\n"
    (image,) = read(source("csv", content), "csv", scored=True)
    assert image.size_wh is None and image.rows[0].score == 0.5
    message = message_of(source("csv", content.replace(",score", ",x")), "csv", needs_sizes=True)
    assert "line 1: no column width, height, but 'image', 'xmin'" in message


@pytest.mark.parametrize(
    "content, expected",
    [
        (HEADER.replace("height", "width"), "columns 2 and 3 are both named 'width'"),
        (HEADER.replace("xmin", "x"), "no column xmin, but 'filename', 'width'"),
        (HEADER + "a.jpg,100,80,product,1.234,2,30,40,0,0\n", "as in every row, found 10 columns"),
        (HEADER + 'a.jpg,100,80,product,"1,234",2,3000,40\n', "xmin is '1,234'"),
        (
            HEADER + "a,b.jpg,100,80,product,1,2,3,4\na.jpg,9,9,p,1,2,3,4\n",
            "line 2: found 9 columns",
        ),
    ],
)
def test_columns_that_cannot_be_read(source, content, expected):
    message = message_of(source("csv", content), "csv")
    assert expected in message and "elete" not in message


def test_rows_of_another_width_are_one_problem(source):
    message = message_of(source("csv", HEADER + "a.jpg,1\n" * 50), "csv")
    assert "line 2: as in every row, found 2 columns" in message and "\n" not in message


@pytest.mark.parametrize(
    "content",
    [
        "filename,xmin,ymin,xmax,ymax,brand\n" + GROCERY,
        "brand,filename,xmin,ymin,xmax,ymax\n7,a.jpg,1,2,30,40\n",
        "a.jpg;1,0;2,0;30,0;40,0;7\n",
        "0,1,2,3,4,5\n" + GROCERY,
    ],
)
def test_variants_of_the_grocery_format(source, content):
    (image,) = read(source("grocery", content), "grocery", brand_is_class=True)
    assert [(row.label, row.box_xyxy) for row in image.rows] == [("7", BOX)]


def test_equal_problems_of_many_rows_are_one_line(source):
    message = message_of(source("csv", LABELS.replace("100", "x") + HEADER), "csv")
    assert "line 2: width is 'x'" in message
    rows = "a.jpg,x,80,product,1,2,30,40\n" * 50
    message = message_of(source("csv", HEADER + rows), "csv")
    assert "line 2, line 3, line 4 and 47 more: width is 'x'" in message and "\n" not in message


# --- Pascal VOC ---------------------------------------------------------------------------------


def test_voc_reads_objects_and_marks(source):
    objects = PRODUCT + PRODUCT.replace("product", "\n milk ").replace(
        "<difficult>0", "<difficult>1"
    )
    (image,) = read(source("voc", voc(objects=objects)), "voc")
    assert [(row.label, row.difficult) for row in image.rows] == [
        ("product", False),
        ("milk", True),
    ]
    assert image.rows[1].place == "a.xml: object 2"


@pytest.mark.parametrize(
    "change",
    [
        ("object>", "Object>"),
        ("bndbox>", "BndBox>"),
        ("xmin>", "XMin>"),
        ("annotation>", "Annotation>"),
        ("filename>", "FILENAME>"),
        (PRODUCT, f"<objects>{PRODUCT}</objects>"),  # one element around all
    ],
)
def test_voc_tags_are_read_in_any_case_and_depth(source, change):
    path = source("voc", voc().replace(*change))
    (image,) = read(path, "voc")
    assert image.filename == "a.jpg"
    assert [(row.label, row.box_xyxy) for row in image.rows] == [("product", BOX)]
    assert formats.recognise(path / "a.xml") == "voc"


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("image_names, expected", [((), "a"), (["b.png", "a.JPG"], "a.JPG")])
def test_voc_without_a_filename_is_named_after_its_file(source, scored, image_names, expected):
    content = scored_voc("") if scored else voc("")
    for text in (content, content.replace("<filename></filename>", "")):
        path = source("voc", text)
        (image,) = read(path, "voc", scored=scored, image_names=image_names)
        assert image.filename == expected


def test_voc_of_a_renamed_image_is_found_by_the_name_of_its_file(source):
    path = source("voc", voc("IMG_1.jpg"))
    assert read(path, "voc", image_names=["a.jpg"])[0].filename == "a.jpg"
    assert read(path, "voc", image_names=["A.JPG"])[0].filename == "A.JPG"
    assert read(path, "voc", image_names=["b.jpg", "IMG_1.jpg"])[0].filename == "IMG_1.jpg"
    assert read(path, "voc", image_names=["a.jpg", "a.png"])[0].filename == "IMG_1.jpg"
    assert read(path, "voc")[0].filename == "IMG_1.jpg"


@pytest.mark.parametrize("scored", [False, True])
def test_voc_whose_name_and_filename_are_two_images(tmp_path, scored):
    names = [f"{number}.jpg" for number in range(12)]
    for number in range(12):
        content = scored_voc if scored else voc
        write_file(tmp_path / f"{number}.xml", content(names[(number + 1) % 12]))
    message = message_of(tmp_path, "voc", scored=scored, image_names=names)
    assert "12 files are named like one image and of another by <filename>" in message
    assert "0.xml is of '1.jpg', 1.xml is of '2.jpg'" in message
    assert "and 2 more" in message and "leave it empty" in message
    write_file(tmp_path / "0.xml", voc(""))
    assert "11 files" in message_of(tmp_path, "voc", image_names=names)


@pytest.mark.parametrize("stated", ["b.jpg", "B.JPG", "b", "b.png", "C:\\old\\b.jpg"])
def test_voc_whose_filename_means_another_image(source, stated):
    message = message_of(source("voc", voc(stated)), "voc", image_names=["a.jpg", "b.jpg"])
    assert "1 file is named like one image and of another" in message and "a.xml is of" in message


def test_voc_of_an_ambiguous_name_takes_its_filename(source):
    path = source("voc", voc("a.png"))
    assert read(path, "voc", image_names=["a.jpg", "a.png"])[0].filename == "a.png"


@pytest.mark.parametrize(
    "content",
    [
        voc().replace("<size><width>100</width><height>80</height><depth>3</depth></size>", ""),
        voc(size=(0, 0)),
        voc(size=("", "")),
    ],
)
def test_voc_without_a_size_states_none(source, content):
    assert read(source("voc", content), "voc")[0].size_wh is None


def test_voc_is_read_in_its_own_encoding(source):
    content = '<?xml version="1.0" encoding="{}"?>' + voc("käse.jpg")
    for encoding in ("iso-8859-1", "utf-16", "utf-8"):
        path = source("voc", content.format(encoding).encode(encoding))
        assert read(path, "voc")[0].filename == "käse.jpg"


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "a.xml: is no complete XML"),
        (voc()[:150], "a.xml: is no complete XML"),
        (b"\x89PNG\0\0", "a.xml: is no complete XML"),
        ("<?xml version='1.0' encoding='no-such'?><annotation/>", "a.xml: is no complete XML"),
        ("<html></html>", "a.xml: the outermost element is <html>; expected <annotation>"),
        (voc(size=("w", 80)), "a.xml: <size>: width is 'w'"),
        (voc(size=(100, 0)), "a.xml: <size>: height is '0'"),
        (voc().replace("<height>80</height>", ""), "a.xml: <size>: height is missing"),
        (
            "<annotations><image/></annotations>",
            "the outermost element is <annotations> (CVAT for images); expected <annotation>",
        ),
        (
            voc(objects="<object><name>product</name><robndbox/></object>"),
            "a.xml: object 1: no <bndbox> with <xmin>, but <robndbox>; expected a box",
        ),
        (voc(objects=PRODUCT.replace("30", "x")), "a.xml: object 1: <xmax> is 'x'"),
        (
            voc(objects=PRODUCT.replace("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>")),
            "a.xml: object 1: 2 <bndbox> in one <object>; expected one",
        ),
        (
            voc(objects=PRODUCT.replace("</xmin>", "</xmin><xmin>3</xmin>")),
            "a.xml: object 1: 2 <xmin> in one <object>; expected one",
        ),
        (
            voc().replace("</filename>", "</filename><filename>b.jpg</filename>"),
            "a.xml: 2 <filename> in one <annotation>; expected one",
        ),
        (
            voc(objects=PRODUCT.replace("object>", "item>")),
            "a.xml: 1 <bndbox> is in no <object>; expected each in an <object>",
        ),
    ],
)
def test_bad_voc(source, content, expected):
    assert expected in message_of(source("voc", content), "voc")


def test_voc_detections_need_scores(source):
    assert "a.xml: object 1: <score> is missing" in message_of(
        source("voc", voc()), "voc", scored=True
    )
    assert "<score> is 'high'" in message_of(
        source("voc", scored_voc(score="high")), "voc", scored=True
    )


def test_two_voc_files_of_one_image(tmp_path):
    write_file(tmp_path / "a.xml", voc())
    write_file(tmp_path / "b.xml", voc("x\\a.jpg"))
    assert "b.xml: image 'a.jpg' is also in a.xml" in message_of(tmp_path, "voc")


# --- COCO ---------------------------------------------------------------------------------------


def test_coco_reads_marks_and_images_without_boxes(source):
    first, second = read(source("coco", coco_with(iscrowd=1)), "coco")
    assert first.rows[0].crowd and first.rows[0].place == "annotations[0] (id 1)"
    assert (second.filename, second.size_wh, second.rows) == ("b.jpg", None, [])


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "the file is empty; expected COCO's JSON"),
        (coco()[:-20], "is no complete JSON"),
        (coco().encode("utf-16"), "is UTF-16 text"),
        (coco(images=[{"id": 5, "file_name": "käse"}]).encode("utf-16-le"), "zero byte"),
        ('{"a": 1, "b": 2}', "is an object with 'a', 'b'; expected COCO's JSON with images"),
        ("{", "is no complete JSON"),
        ('{"images": [{"id": 1', "is no complete JSON"),
        ('{"images": [], "images": []}', "'images' is 2 times in one object; expected once"),
        pytest.param("[" * 100000, "is no complete JSON", id="deep list"),
        pytest.param('{"images": ' + "[" * 100000, "is no complete JSON", id="deep list in object"),
        ("[]", "is a bare list of COCO results"),
        ("3", "images: is missing; expected a list"),
        ('{"images": []}', "annotations: is missing; expected a list"),
        (coco(images=3), "images: is '3'; expected a list"),
        (coco(categories=None), "categories: is missing; expected a list"),
        (coco(annotations=[3]), "annotations[0]: is '3'; expected an object"),
        (coco(images=["x"]), "images[0]: is 'x'; expected an object"),
        (
            coco_with(image_id=7),
            "annotations[0] (id 1): image_id is '7', which no entry of images has",
        ),
        (coco_with(image_id=[7]), "image_id is '[7]'"),
        (coco_with(image_id=True), "image_id is 'True'"),
        (coco_with(image_id=None), "image_id is missing"),
        (coco_with(category_id=1), "category_id is '1', which no entry of categories has"),
        (coco_with(bbox=None), "bbox is missing; expected [x, y, width, height]"),
        (coco_with(bbox=[1, 2, 3]), "bbox is '[1, 2, 3]'; expected [x, y, width, height]"),
        (coco_with(bbox=[1, 2, float("nan"), 3]), "bbox[2] is 'nan'"),
        (coco_with(bbox=[1, 2, float("inf"), 3]), "bbox[2] is 'inf'"),
        (coco_with(bbox=[1, 2, 10**400, 3]), "bbox[2] is '1000"),
        (coco_with(bbox=[1, 2, True, 3]), "bbox[2] is 'True'"),
        (
            coco(categories=[{"id": 9, "name": "a"}, {"id": 9, "name": "b"}]),
            "categories[1]: id 9 is also in categories[0]",
        ),
        (coco(categories=[{"id": 9, "name": " "}]), "categories[0]: name is ' '"),
        (coco(categories=[{"id": 9}]), "categories[0]: name is missing"),
        (coco(categories=[{"name": "product"}]), "categories[0]: id is missing"),
        (coco(categories=[{"id": 1.5, "name": "product"}]), "categories[0]: id is '1.5'"),
        (
            coco(images=[{"id": 5, "file_name": "a.jpg"}, {"id": 6, "file_name": "x/a.jpg"}]),
            "images[1]: image 'a.jpg' is also in images[0]",
        ),
        (
            coco(images=[{"id": 5, "file_name": "a.jpg"}, {"id": 5, "file_name": "b.jpg"}]),
            "images[1]: id 5 is also in images[0]",
        ),
        (coco(images=[{"id": 5, "file_name": 3}]), "images[0]: the file name is empty"),
        (
            coco(images=[{"id": 5, "file_name": "a.jpg", "width": 100}]),
            "images[0]: height is missing",
        ),
        (
            coco(images=[{"id": 5, "file_name": "a.jpg", "width": 0, "height": 50}]),
            "images[0]: width is '0'; expected a whole number of pixels from 1",
        ),
    ],
)
def test_bad_coco(source, content, expected):
    assert expected in message_of(source("coco", content), "coco")


def test_coco_without_bbox_has_polygons_or_masks(source):
    polygons = [[1, 2, 30, 2, 30, 20], [5, 5, 9, 40.5, 7, 7]]
    (image, _) = read(source("coco", coco_with(bbox=[], segmentation=polygons)), "coco")
    assert image.rows[0].box_xyxy == (1, 2, 30, 40.5)
    mask = {"counts": "abc", "size": [80, 100]}
    (image, _) = read(source("coco", coco_with(bbox=None, segmentation=mask)), "coco")
    assert image.rows[0].left_out == "masks without a bbox (RLE)"
    (image, _) = read(source("coco", coco_with(segmentation=mask)), "coco")
    assert image.rows[0].box_xyxy == (1, 2, 30, 40.5)
    for wrong in ([[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], ["abc"], "abc"):
        message = message_of(source("coco", coco_with(bbox=[], segmentation=wrong)), "coco")
        assert "there is no bbox, and segmentation has" in message


def test_written_categories_are_those_of_the_label_map(tmp_path):
    rows = [BoxRow("", label, (1, 2, 3, 4)) for label in ("10", "2", "other")]
    path = tmp_path / "a.json"
    label_map = {"2": 3, "unused": 1, "10": 11}
    coco_format.write([ImageBoxes("a.jpg", "", (9, 9), rows)], path, label_map=label_map)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["categories"] == [
        {"id": 1, "name": "unused"},
        {"id": 3, "name": "2"},
        {"id": 11, "name": "10"},
        {"id": 12, "name": "other"},
    ]
    assert [entry["category_id"] for entry in content["annotations"]] == [11, 3, 12]
    assert [row.label for row in read(path, "coco")[0].rows] == ["10", "2", "other"]


@pytest.mark.parametrize(
    "score, expected",
    [
        (None, "score is missing"),
        ("high", "score is 'high'; expected a finite number"),
        (10**400, "score is '1000"),
        (True, "score is 'True'"),
        (float("nan"), "score is 'nan'"),
    ],
)
def test_bad_scores_of_coco(source, score, expected):
    message = message_of(source("coco", coco_with(score=score)), "coco", scored=True)
    assert f"annotations[0] (id 1): {expected}" in message


def test_a_bare_list_of_coco_results_needs_the_ground_truth(tmp_path):
    annotation = coco_annotation(score=0.5)
    del annotation["id"]
    results = write_file(tmp_path / "results.json", json.dumps([annotation, "x"]))
    truth = write_file(tmp_path / "truth.json", coco())
    message = message_of(results, "coco", scored=True, ground_truth=truth)
    assert "results[1]: is 'x'" in message
    write_file(results, json.dumps([annotation]))
    first, second = read(results, "coco", scored=True, ground_truth=truth)
    assert [row.score for row in first.rows] == [0.5] and second.rows == []
    assert "bare list" in message_of(results, "coco", scored=True)


def test_problems_of_the_ground_truth_of_a_bare_list_name_its_file(tmp_path):
    results = write_file(tmp_path / "results.json", "[]")
    truth = write_file(tmp_path / "truth.json", coco(categories=[{"id": 1}]))
    with pytest.raises(UserError, match=r"truth.json: categories\[0\]: name is missing"):
        read(results, "coco", scored=True, ground_truth=truth)


# --- text files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "product 1 2 11 22",
            "a.txt: line 1: is 'product 1 2 11 22'; expected 'class score x1 y1 x2 y2'",
        ),
        ("product x 1 2 11 22", "a.txt: line 1: score is 'x'"),
        ("\nproduct 0.5 1 2 11 nan", "a.txt: line 2: y2 is 'nan'"),
    ],
)
def test_bad_text(source, line, message):
    assert message in message_of(source("text", line), "text", scored=True)


def test_detections_read_as_ground_truth_are_refused(source):
    (image,) = read(source("text", "7 1 2 11 22\n\nbig box 1 2 11 22\n"), "text")
    assert [row.label for row in image.rows] == ["7", "big box"]
    message = message_of(source("text", "product 0.9 1 2 11 22\n"), "text")
    assert "1 box has a score ('0.9' in a.txt: line 1), so these are detections" in message


def test_text_of_a_difficult_product(source):
    lines = "big box 1 2 11 22 difficult\nbox 1 2 11 22 \n"
    (image,) = read(source("text", lines), "text")
    assert [(row.label, row.box_xyxy, row.difficult) for row in image.rows] == [
        ("big box", (1, 2, 11, 22), True),
        ("box", (1, 2, 11, 22), False),
    ]


def test_text_of_another_kind_is_one_problem(source):
    message = message_of(source("text", "x,1,2\n" * 30), "text")
    assert "a.txt: line 1: is 'x,1,2', and no line has all fields; expected 'class x1" in message
    assert "\n" not in message


def test_text_files_get_the_name_of_their_image(source):
    path = source("text", "")
    assert read(path, "text")[0].filename == "a"
    assert read(path, "text", image_names=["a.JPG"])[0].filename == "a.JPG"


def test_images_that_text_files_cannot_tell_apart(source):
    message = message_of(source("text", ""), "text", image_names=["a.jpg", "a.png"])
    assert "a.jpg and a.png differ in their suffix alone" in message


# --- writers ------------------------------------------------------------------------------------

TEXT = st.text("aZ0_.,;'\"<&#=äé棚", min_size=1, max_size=9)
CORNER = st.floats(-1e4, 1e4)


@st.composite
def images_to_write(draw, scored):
    images = []
    for name in draw(st.lists(TEXT, min_size=1, max_size=4, unique=True)):
        size_wh = (draw(st.integers(1, 5000)), draw(st.integers(1, 5000)))
        score = st.floats(-1, 1) if scored else st.none()
        box = st.tuples(CORNER, CORNER, CORNER, CORNER)
        drawn = draw(st.lists(st.tuples(TEXT, box, score), max_size=5))
        images.append(ImageBoxes(name, "", size_wh, [BoxRow("", *row) for row in drawn]))
    return images


def without_places(images):
    return [
        image._replace(
            place="", rows=[row._replace(place="", bbox_xywh=None) for row in image.rows]
        )
        for image in images
    ]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.data_too_large])
@given(images=images_to_write(scored=False))
def test_labels_csv_is_read_as_it_was_written(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("written") / "labels.csv"
    labels_csv.write(images, path)
    assert without_places(read(path, "csv")) == images


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.data_too_large])
@given(data=st.data(), scored=st.booleans())
def test_coco_is_read_as_it_was_written(tmp_path_factory, data, scored):
    images = data.draw(images_to_write(scored))
    path = tmp_path_factory.mktemp("written") / "coco.json"
    coco_format.write(images, path, {"graph": "g"})
    found = without_places(read(path, "coco", scored=scored))
    assert len(found) == len(images)
    for written, image in zip(images, found):
        assert image._replace(rows=[]) == written._replace(rows=[])
        for written_row, row in zip(written.rows, image.rows):
            # COCO has width and height, so that the far corner is rounded.
            assert row.box_xyxy == pytest.approx(written_row.box_xyxy, abs=1e-9)
            assert row._replace(box_xyxy=()) == written_row._replace(box_xyxy=())
    assert coco_format.read_info(path) == {"graph": "g"}


WRITTEN = [
    ImageBoxes(
        "käse & 1.jpg",
        "",
        (640, 481),
        [
            BoxRow("", "a<b", (1.25, 2.0, 30.0, 40.123456789)),
            BoxRow("", "cola", (0.0, 0.0, 640.0, 481.0), difficult=True),
            BoxRow("", "cola", (0, 0, 0, 0), left_out="lines"),
        ],
    ),
    ImageBoxes("c.jpg", "", (100, 80), []),
]


def test_voc_is_read_as_it_was_written(tmp_path):
    voc_format.write(WRITTEN, tmp_path / "new" / "xml")
    images = read(tmp_path / "new" / "xml", "voc")
    expected = [image._replace(rows=image.rows[:2]) for image in WRITTEN]
    assert sorted(without_places(images)) == sorted(expected)
    scored = [WRITTEN[0]._replace(rows=[WRITTEN[0].rows[0]._replace(score=0.25)])]
    voc_format.write(scored, tmp_path / "scored")
    assert without_places(read(tmp_path / "scored", "voc", scored=True)) == scored


def test_written_voc_is_what_labelimg_writes(tmp_path):
    image = ImageBoxes("a.jpg", "", (100, 80), [BoxRow("", "b", (1, 2, 3, 4.5))])
    voc_format.write([image], tmp_path)
    lines = (tmp_path / "a.xml").read_text(encoding="utf-8").split()
    assert "".join(lines) == (
        "<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height>"
        "<depth>3</depth></size><segmented>0</segmented><object><name>b</name>"
        "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4.5</ymax></bndbox></object></annotation>"
    )


def test_two_images_of_one_xml_file_are_not_written(tmp_path):
    images = [ImageBoxes(name, "", (9, 9), []) for name in ("a.jpg", "A.png")]
    with pytest.raises(UserError, match="a.jpg and A.png differ in their suffix alone"):
        voc_format.write(images, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_coco_keeps_crowds(tmp_path):
    image = ImageBoxes("a.jpg", "", (9, 9), [BoxRow("", "product", (1, 2, 3, 4), crowd=True)])
    coco_format.write([image], tmp_path / "coco.json")
    assert without_places(read(tmp_path / "coco.json", "coco")) == [image]


def test_info_of_a_file_without_it_is_empty(tmp_path):
    assert coco_format.read_info(write_file(tmp_path / "a.json", "[]")) == {}
    assert coco_format.read_info(write_file(tmp_path / "a.json", '{"info": 3}')) == {}


# --- marks, and detections given as ground truth ------------------------------------------------


@pytest.mark.parametrize("value", [0, 0.0, False, None, "0", "false", "False", " no ", ""])
def test_marks_that_are_not_set(source, value):
    assert not read(source("coco", coco_with(iscrowd=value)), "coco")[0].rows[0].crowd
    content = voc().replace("<difficult>0", f"<difficult>{'' if value is None else value}")
    assert not read(source("voc", content), "voc")[0].rows[0].difficult


@pytest.mark.parametrize("value", [1, 1.0, True, "1", "true", "True", "yes"])
def test_marks_that_are_set(source, value):
    assert read(source("coco", coco_with(iscrowd=value)), "coco")[0].rows[0].crowd
    content = voc().replace("<difficult>0", f"<difficult>{value}")
    assert read(source("voc", content), "voc")[0].rows[0].difficult


@pytest.mark.parametrize("value", [2, -1, "maybe", [1]])
def test_marks_that_are_no_known_value(source, value):
    message = message_of(source("coco", coco_with(iscrowd=value)), "coco")
    assert f"annotations[0] (id 1): iscrowd is '{value}'; expected 0 or 1" in message
    content = voc().replace("<difficult>0", f"<difficult>{value}")
    assert f"<difficult> is '{value}'" in message_of(source("voc", content), "voc")


@pytest.mark.parametrize("format", ["csv", "voc", "coco", "text"])
def test_detections_are_no_ground_truth(source, format):
    message = message_of(source(format, content_with(format, True, number=29)), format)
    assert "1 box has a score ('0.5' in" in message
    assert "so these are detections; expected ground-truth boxes" in message


def test_many_detections_as_ground_truth_are_one_problem(source):
    annotations = [coco_annotation(id=number, score=0.3) for number in range(300)]
    message = message_of(source("coco", coco(annotations=annotations)), "coco")
    assert "300 boxes have scores ('0.3' in annotations[0] (id 0))" in message


def test_a_score_of_1_may_be_in_ground_truth(source):
    assert read(source("coco", coco_with(score=1.0)), "coco")[0].rows
    assert read(source("csv", DETECTIONS.replace("0.5", "1")), "csv")[0].rows


# --- ids and JSON of other tools ----------------------------------------------------------------


@pytest.mark.parametrize("written", [5, 5.0, "5"])
def test_ids_are_the_same_as_number_and_as_text(source, written):
    assert read(source("coco", coco_with(image_id=written)), "coco")[0].rows
    image = {"id": written, "file_name": "a.jpg"}
    assert read(source("coco", coco(images=[image])), "coco")[0].rows


VOTT = {"asset": {}, "regions": []}
LABELME = {"shapes": [], "imagePath": "a.jpg"}


@pytest.mark.parametrize(
    "content, kind",
    [
        (LABELME, "labelme JSON"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "JSON of the VGG Image Annotator"),
        ({"_via_img_metadata": {}, "_via_settings": {}}, "JSON of the VGG Image Annotator"),
        ([{"image": "a.jpg", "annotations": []}], "CreateML"),
        ([{"id": 1, "data": {}, "annotations": []}], "Label Studio"),
        (VOTT, "VoTT"),
        ({"size": {}, "objects": []}, "Supervisely"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
    ],
)
def test_json_of_other_tools_is_named(source, content, kind):
    message = message_of(source("coco", json.dumps(content)), "coco")
    assert f"is {kind}" in message and "; expected COCO's." in message and "\n" not in message


def test_one_json_file_an_image_is_named_and_listed(tmp_path):
    paths = [write_file(tmp_path / f"{n}.json", json.dumps(VOTT)) for n in range(12)]
    with pytest.raises(UserError, match="VoTT JSON .*9.json and 2 more"):
        formats.refuse_one_json_an_image(tmp_path, paths)
    formats.refuse_one_json_an_image(tmp_path, [write_file(tmp_path / "c.json", coco())])
    formats.refuse_one_json_an_image(tmp_path, [])


# --- recognition --------------------------------------------------------------------------------


def test_every_format_has_a_title_and_a_use():
    assert set(formats.ANNOTATION_FORMATS) | set(formats.DETECTION_FORMATS) == set(formats.FORMATS)
    assert len({format.title for format in formats.FORMATS.values()}) == len(formats.FORMATS)


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.csv", LABELS, "csv"),
        ("a.CSV", "\ufeff" + LABELS.replace("\n", "\r\n"), "csv"),
        ("a.csv", GROCERY, "grocery"),
        ("a.csv", LABELS.replace("class,", "brand,"), "grocery"),
        ("a.csv", "filename,xmin,ymin,xmax,ymax,brand\n", "grocery"),
        ("a.csv", LABELS.replace(",", ";"), "csv"),
        ("a.tsv", LABELS.replace(",", "\t"), "csv"),
        ("a.csv", "shop/a.jpg,1,2,30,40,cola\n", "csv"),
        ("a.csv", "shop/a.jpg,,,,,\nb.jpg,1,2,30,40,cola\n", "csv"),
        ("a.csv", "a.jpg,1,2,30,40,object,100,80\n", "sku110k"),
        ("annotation.txt", "a.jpg 1 1 2 29 38 7\n", "grocery"),
        ("annotation.txt", "a.jpg 0\n", "grocery"),
        ("a.csv", "Image\tXMin\tYMin\tXMax\tYMax\tLabel\n", "csv"),
        ("a.json", coco(), "coco"),
        ("a.json", "{}", "coco"),
    ],
)
def test_formats_of_files_are_recognised(tmp_path, name, content, expected):
    assert formats.recognise(write_file(tmp_path / name, content)) == expected


def test_a_format_that_is_not_recognised(tmp_path):
    with pytest.raises(UserError, match=r"a .doc file; expected .csv, .*.json.*--format"):
        formats.recognise(write_file(tmp_path / "a.doc", LABELS))
    with pytest.raises(UserError, match="a file without a suffix"):
        formats.recognise(write_file(tmp_path / "a", LABELS))


# --- any content --------------------------------------------------------------------------------

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


# On a busy machine, drawing nested JSON may take longer than Hypothesis accepts.
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(ALL_KINDS),
    content=st.one_of(
        st.binary(max_size=150), ROWS.map(str.encode), JSON.map(json.dumps).map(str.encode)
    ),
)
def test_any_bytes_give_images_or_a_message(tmp_path_factory, kind, content):
    format, scored = kind
    folder = tmp_path_factory.mktemp("any")
    suffix = FOLDER_SUFFIXES.get(format)
    path = folder / f"a{suffix or ''}"
    path.write_bytes(content)
    try:
        read(folder if suffix else path, format, scored=scored)
    except UserError as error:
        assert str(folder) in str(error)
