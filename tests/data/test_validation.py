"""Annotations checked against the images: policies, messages, and what is reported."""

import json

import numpy as np
import pytest
from annotation_samples import (
    HEADER,
    LABELS,
    PRODUCT,
    VOC_OBJECT,
    coco,
    coco_with,
    voc,
    write_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import labels
from shelfdet.data.checks import image_checks, validation
from shelfdet.data.classes import ONE_CLASS, ClassChoice


def save_image(path, size_wh=(100, 80), orientation=None):
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
        save_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def write(tmp_path):
    return lambda name, content: write_file(tmp_path / name, content)


def images_in(folder):
    return {path.name: path for path in folder.rglob("*") if path.suffix.lower() == ".jpg"}


class Reader:
    """Reads annotations of one format; ``lines`` are those that the last call reported."""

    def __init__(self, format):
        self._format = format
        self.lines = []

    def __call__(self, path, photos, **options):
        self.lines = []
        choice = options.pop("choice", ONE_CLASS)
        image_paths = images_in(photos)
        problems = Problems(path)
        annotated = validation.read(
            [path], self._format, image_paths, choice, problems, self.lines.append
        )
        return validation.check(
            annotated, image_paths, choice, problems, report=self.lines.append, **options
        ).labelled

    def message(self, path, photos, **options):
        with pytest.raises(UserError) as error:
            self(path, photos, **options)
        return str(error.value)


@pytest.fixture
def grocery():
    return Reader("grocery")


@pytest.fixture
def read_voc():
    return Reader("voc")


@pytest.fixture
def read_coco():
    return Reader("coco")


# --- boxes --------------------------------------------------------------------------------------


def test_images_are_sorted_and_boxes_keep_the_order_of_the_file(write, photos, grocery):
    path = write("a.csv", "b.jpg,1,2,3,4,7\r\na.jpg,5,6,7.5,8,0\r\nb.jpg,0,0,100,80,3\r\n")
    images = grocery(path, photos)
    assert [(image.filename, image.size_wh, image.classes) for image in images] == [
        ("a.jpg", (100, 80), ("product",)),
        ("b.jpg", (100, 80), ("product", "product")),
    ]
    np.testing.assert_array_equal(images[1].boxes_xyxy, [[1, 2, 3, 4], [0, 0, 100, 80]])
    assert grocery.lines == []


def test_boxes_are_clipped_and_counted_or_refused(write, photos, grocery):
    path = write("a.csv", "a.jpg,-3,2,30,90.5,0\nb.jpg,1,1,2,2,0\n")
    np.testing.assert_array_equal(grocery(path, photos)[0].boxes_xyxy, [[0, 2, 30, 80]])
    assert grocery.lines == [
        "1 box reached outside its image and was clipped, the furthest first: "
        "a.csv: line 1 (10.5 px)"
    ]
    message = grocery.message(path, photos, out_of_image="refuse")
    assert "line 1: box -3,2,30,90.5 reaches outside the image, 100 x 80" in message
    assert "--out-of-image clip" in message


def test_the_boxes_that_are_clipped_most_are_named_first(write, photos, grocery):
    rows = [f"a.jpg,{-n},{20 + n},30,40,0\n" for n in (2, 9, 4, 1, 3, 5, 8)]
    grocery(write("a.csv", "".join(rows) + "b.jpg,1,1,2,2,0\n"), photos)
    assert grocery.lines[0] == (
        "7 boxes reached outside their image and were clipped, the furthest first: "
        "a.csv: line 2 (9 px), a.csv: line 7 (8 px), a.csv: line 6 (5 px), a.csv: line 3 (4 px), "
        "a.csv: line 5 (3 px) and 2 more"
    )


def read_folders(root, format):
    """Reads and checks images and files of one folder each; returns the report, or the message."""
    lines = []
    problems = Problems(root)
    image_paths = images_in(root)
    folders = sorted({path.parent for path in image_paths.values()})
    try:
        found = validation.read(folders, format, image_paths, ONE_CLASS, problems, lines.append)
        validation.check(found, image_paths, ONE_CLASS, problems, report=lines.append)
    except UserError as error:
        lines.append(str(error))
    return "\n".join(lines)


@pytest.mark.parametrize("folders", [("train", "valid"), ("shop_a/1", "shop_b/1")])
def test_places_name_the_folder_of_files_of_one_name(tmp_path, folders):
    """Of images of different names: 1.xml in both folders states its image itself."""
    for number, folder in enumerate(folders):
        save_image(tmp_path / folder / f"image{number}.jpg")
        product = VOC_OBJECT.format("p", -3 - number, 2, 30, 40)
        write_file(tmp_path / folder / "1.xml", voc(f"image{number}.jpg", objects=product))
    report = read_folders(tmp_path, "voc")
    assert f"{folders[1]}/1.xml: object 1 (4 px), {folders[0]}/1.xml: object 1 (3 px)" in report
    spoilt = VOC_OBJECT.format("p", "x", 2, 30, 40)
    write_file(tmp_path / folders[1] / "1.xml", voc("image1.jpg", objects=spoilt))
    assert f"{tmp_path}: {folders[1]}/1.xml: object 1: <xmin> is 'x'" in (
        read_folders(tmp_path, "voc")
    )
    write_file(tmp_path / folders[1] / "1.xml", voc("image1.jpg", objects=""))
    assert f"1 of 2 images has no box: {folders[1]}/image1.jpg." in read_folders(tmp_path, "voc")


LABELME = {
    "imagePath": "b.jpg",
    "shapes": [{"label": "p", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}],
}
SUPERVISELY = {
    "size": {"width": 100, "height": 80},
    "objects": [
        {
            "classTitle": "p",
            "geometryType": "rectangle",
            "points": {"exterior": [[1, 2], [30, 40]], "interior": []},
        }
    ],
}


@pytest.mark.parametrize(
    "format, suffix, content",
    [
        ("labelme", ".json", json.dumps(LABELME)),
        ("supervisely", ".jpg.json", json.dumps(SUPERVISELY)),
        ("voc", ".xml", voc("b.jpg")),
        ("yolo", ".txt", "0 .5 .5 .2 .2\n"),
    ],
)
def test_an_image_whose_file_is_broken_is_not_also_one_without_a_box(
    write, photos, format, suffix, content
):
    folder = write(f"files/b{suffix}", content).parent
    write(f"files/a{suffix}", content.replace("b.jpg", "a.jpg"))
    Reader(format)(folder, photos)
    whole = (folder / f"b{suffix}").read_bytes()
    broken = whole[: len(whole) // 2]
    if format == "yolo":
        broken = whole.decode("utf-8").encode("utf-16")
    (folder / f"b{suffix}").write_bytes(broken)
    message = Reader(format).message(folder, photos)
    assert f"b{suffix}: is " in message
    assert "no box" not in message and "\n" not in message


@pytest.mark.parametrize(
    "row",
    [
        "a.jpg,x,80,p,1,2,30,40",
        "a.jpg,100,80,,1,2,30,40",
        "a.jpg,100,80,p,1,2,x,40",
        "shop\\a.jpg,1.5,80,p,1,2,30,40",
    ],
)
def test_an_image_whose_row_is_wrong_is_not_also_one_without_a_box(write, photos, row):
    path = write("a.csv", LABELS.splitlines()[0] + f"\n{row}\nb.jpg,100,80,p,1,2,30,40\n")
    message = Reader("csv").message(path, photos)
    assert f"{path}: line 2: " in message and "no box" not in message


@pytest.mark.parametrize(
    "format, suffix, of_image, without_boxes",
    [
        ("yolo", ".txt", "0 .5 .5 .2 .2\n", ""),
        ("labelme", ".json", json.dumps(LABELME), json.dumps({**LABELME, "shapes": []})),
        ("voc", ".xml", voc("b.jpg"), voc("b.jpg", objects="")),
    ],
)
def test_files_without_an_image_and_images_without_a_file(
    write, photos, format, suffix, of_image, without_boxes
):
    """Of a.jpg there is no file, of b.jpg an empty one; the others are of images not there."""
    contents = {"b": without_boxes, "empty": without_boxes}
    contents.update((f"gone{number}", of_image) for number in range(12))
    for stem, content in contents.items():
        folder = write(f"files/{stem}{suffix}", content.replace("b.jpg", f"{stem}.jpg")).parent
    reader = Reader(format)
    message = reader.message(folder, photos)
    gone = [name for name in ("gone0", "gone1") if f"({name}{suffix})" in message]
    assert len(gone) == 2 and "12 of 14 annotated images do not exist: gone0" in message
    assert "and 2 more. Expected every image" in message
    assert "2 of 2 images have no box: a.jpg, b.jpg (1 of them not in the annotations: a.jpg)." in (
        message
    )
    assert any(
        "1 image is listed without a box and not there" in line and f"(empty{suffix})" in line
        for line in reader.lines
    )
    reader(folder, photos, allow_missing=True, empty_images="keep")
    assert any(
        "12 annotated images do not exist; their 12 boxes were" in line for line in reader.lines
    )
    (folder / f"b{suffix}").unlink()
    assert "2 of 2 images have no box: a.jpg, b.jpg (not in the annotations)." in (
        reader.message(folder, photos)
    )


def test_masks_without_a_box_are_named_where_they_leave_none(write, photos, read_coco):
    names = ("a.jpg", "b.jpg")
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": {"counts": "a", "size": []}}
            for i in range(2)
        ],
        "categories": [{"id": 1, "name": "can"}],
    }
    path = write("a.json", json.dumps(content))
    assert "2 of 2 images have no box" in read_coco.message(path, photos)
    (line,) = read_coco.lines
    assert line.startswith("masks without a bbox (RLE) were left out, which are no boxes (2): ")


def test_equal_boxes_are_dropped_and_counted(write, photos, grocery):
    path = write(
        "a.csv", "a.jpg,1,2,30,40,0\na.jpg,1,2,30,40,5\na.jpg,41,2,70,41,5\nb.jpg,1,2,30,40,0\n"
    )
    assert len(grocery(path, photos)[0].classes) == 2
    assert grocery.lines == [
        "1 box was dropped as equal to another of the same image: a.csv: line 2"
    ]


def test_possible_duplicate_labels_are_kept_and_reported(write, photos, grocery):
    path = write(
        "a.csv", "a.jpg,1,2,30,40,0\na.jpg,1,2,30,41,5\na.jpg,2,2,30,40,5\nb.jpg,1,2,30,40,0\n"
    )
    assert [len(image.classes) for image in grocery(path, photos)] == [3, 1]
    assert grocery.lines == [
        "2 boxes overlap another of their image (IoU over 0.6), possibly duplicate labels of one "
        "product, and are kept. Check a.jpg (2)"
    ]


@pytest.mark.parametrize(
    "box, defect",
    [
        ("30,2,1,40", "inverted"),
        ("1,40,30,2", "inverted"),
        ("1,2,1,40", "without area"),
        ("1,2,30,2", "without area"),
        ("100,2,130,40", "outside the image, 100 x 80"),
        ("-9,-9,0,0", "outside"),
        ("500,500,600,600", "outside"),
    ],
)
def test_boxes_that_can_be_no_product(write, photos, grocery, box, defect):
    path = write("a.csv", f"a.jpg,1,2,30,40,0\nb.jpg,1,2,30,40,0\na.jpg,{box},0\n")
    message = grocery.message(path, photos)
    assert f"line 3: box {box} is {defect}" in message and "--bad-boxes drop" in message
    assert len(grocery(path, photos, bad_boxes="drop")[0].classes) == 1
    (line,) = grocery.lines
    assert "1 box was dropped as inverted, without area or outside the image: a.csv: line 3" in line


def test_crowds_are_left_out_and_counted(write, photos, read_coco):
    path = write("a.json", coco_with(iscrowd=1))
    assert read_coco(path, photos, empty_images="keep")[0].classes == ()
    assert read_coco.lines == [
        "2 images without a box were kept, showing no product: a.jpg, b.jpg",
        "1 entry was left out: iscrowd marks a region, not one product: "
        "a.json: annotations[0] (id 1)",
    ]
    assert "2 of 2 images have no box: a.jpg, b.jpg" in read_coco.message(path, photos)


def test_an_image_with_shapes_that_are_no_boxes_alone_is_without_a_box(write, photos):
    line = '<polyline label="product" occluded="0" points="1,2;30,40" z_order="0"/>'
    box = '<box label="product" occluded="0" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"/>'
    path = write(
        "cvat.xml",
        "<annotations><version>1.1</version>"
        f'<image id="0" name="a.jpg" width="100" height="80">{box}</image>'
        f'<image id="1" name="b.jpg" width="100" height="80">{line}</image></annotations>',
    )
    read_cvat = Reader("cvat")
    assert "1 of 2 images has no box: b.jpg" in read_cvat.message(path, photos)
    assert [image.filename for image in read_cvat(path, photos, empty_images="leave-out")] == [
        "a.jpg"
    ]
    assert any("were left out, which are no boxes (1): " in line for line in read_cvat.lines)


def test_difficult_products_are_kept(write, photos, read_voc):
    difficult = PRODUCT.replace("<difficult>0", "<difficult>1")
    folder = write("xml/a.xml", voc(objects=difficult)).parent
    write("xml/b.xml", voc("b.jpg"))
    assert [len(image.classes) for image in read_voc(folder, photos)] == [1, 1]
    assert read_voc.lines == []


def test_boxes_of_coco_are_positions_and_sizes(write, photos, read_coco):
    images = read_coco(write("a.json", coco()), photos, empty_images="keep")
    assert [(image.filename, image.classes) for image in images] == [
        ("a.jpg", ("product",)),
        ("b.jpg", ()),
    ]
    np.testing.assert_array_equal(images[0].boxes_xyxy, [[1, 2, 30, 40.5]])


def test_an_inverted_box_of_coco(write, photos, read_coco):
    message = read_coco.message(write("a.json", coco_with(bbox=[1, 2, -3, 3])), photos)
    assert "annotations[0] (id 1): bbox [1, 2, -3, 3] is inverted" in message


def cvat_with(shape):
    image = '<image id="0" name="{}" width="100" height="80">{}</image>'
    whole = '<box label="p" xtl="1" ytl="2" xbr="30" ybr="40"/>'
    images = image.format("a.jpg", shape) + image.format("b.jpg", whole)
    return f"<annotations><version>1.1</version>{images}</annotations>"


def via_with(shape):
    return json.dumps(
        {
            name: {"filename": f"{name}.jpg", "regions": [{"shape_attributes": attributes}]}
            for name, attributes in (("a", shape), ("b", {"name": "rect", **VIA_BOX}))
        }
    )


VIA_BOX = {"x": 1, "y": 2, "width": 30, "height": 40}


def datumaro_with(**annotation):
    items = [
        {"id": name, "image": {"path": f"{name}.jpg"}, "annotations": [{"label_id": 0, **entry}]}
        for name, entry in (("a", annotation), ("b", {"type": "bbox", "bbox": [1, 2, 30, 40]}))
    ]
    return json.dumps({"items": items, "categories": {"label": {"labels": [{"name": "p"}]}}})


def labelstudio_with(**value):
    tasks = []
    for name, numbers in (("a", value), ("b", {"x": 1, "y": 2, "width": 30, "height": 40})):
        kind = "ellipselabels" if "radiusX" in numbers else "rectanglelabels"
        result = {"type": kind, "value": {kind: ["p"], **numbers}}
        result.update(original_width=100, original_height=80)
        tasks.append({"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [result]}]})
    return json.dumps(tasks)


@pytest.mark.parametrize(
    "format, file, content, expected",
    [
        ("cvat", "a.xml", cvat_with('<ellipse cx="50" cy="40" rx="-5" ry="9"/>'), "ellipse 'cx=50"),
        (
            "cvat",
            "a.xml",
            cvat_with('<mask left="5" top="6" width="-7" height="8"/>'),
            "mask 'left=5 top=6 width=-7 height=8'",
        ),
        (
            "cvat",
            "a.xml",
            cvat_with('<box xtl="30" ytl="2" xbr="1" ybr="40" rotation="9"/>'),
            "box 'xtl=30 ytl=2 xbr=1 ybr=40 rotation=9'",
        ),
        ("via", "a.json", via_with({"name": "rect", **VIA_BOX, "width": -30}), '"width": -30'),
        ("via", "a.json", via_with({"name": "circle", "cx": 50, "cy": 40, "r": -5}), '"r": -5'),
        (
            "datumaro",
            "a.json",
            datumaro_with(type="bbox", bbox=[50, 40, -5, 6]),
            "bbox '[50, 40, -5, 6]'",
        ),
        (
            "datumaro",
            "a.json",
            datumaro_with(type="rotated_bbox", points=[50, 40, -5, 6, 30]),
            "points '[50, 40, -5, 6, 30]'",
        ),
        (
            "labelstudio",
            "a.json",
            labelstudio_with(x=50, y=50, width=-5, height=6, rotation=20),
            '"width": -5',
        ),
        (
            "labelstudio",
            "a.json",
            labelstudio_with(x=50, y=50, radiusX=-5, radiusY=6),
            '"radiusX": -5',
        ),
        ("grocery", "a.txt", "a.jpg 1 50 40 -5 6 3\nb.jpg 1 1 2 30 40 0\n", "'50 40 -5 6 3'"),
    ],
)
def test_a_negative_size_is_refused_with_the_numbers_of_the_file(
    write, photos, format, file, content, expected
):
    message = Reader(format).message(write(file, content), photos)
    assert expected in message and " is inverted; expected a width and height above 0" in message
    assert "\n" not in message


def test_lines_of_yolo_are_shown_as_they_stand_in_the_file(write, photos):
    lines = "0 .7 .7 -.1 .1\n0 .7 .7 .1 0\n0 1.7 .7 .1 .1\n0 .2 .2 .1 .1\n0 .5 .5 .1 .1\n"
    folder = write("labels/a.txt", lines).parent
    write("labels/b.txt", "0 .1 .1 .1 .1\n0 .3 .3 .1 .1\n")
    message = Reader("yolo").message(folder, photos)
    assert "a.txt: line 1: '0 .7 .7 -.1 .1' is inverted" in message
    assert "a.txt: line 2: '0 .7 .7 .1 0' is without area" in message
    assert "a.txt: line 3: '0 1.7 .7 .1 .1' is outside the image, 100 x 80" in message


def test_an_inverted_box_of_voc(write, photos, read_voc):
    folder = write("xml/a.xml", voc(objects=VOC_OBJECT.format("product", 30, 2, 1, 40))).parent
    write("xml/b.xml", voc("b.jpg"))
    assert "a.xml: object 1: box 30,2,1,40 is inverted" in read_voc.message(folder, photos)


# --- classes ------------------------------------------------------------------------------------


KEEP = ClassChoice(kept=True)


def test_the_brand_is_the_class_where_classes_are_kept(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,milk\nb.jpg,1,2,3,4,10\n")
    images = grocery(path, photos, choice=KEEP)
    assert [image.classes for image in images] == [("milk",), ("10",)]
    assert grocery(path, photos)[0].classes == ("product",)
    assert grocery.lines == []


def test_several_classes_become_the_only_one(write, photos, read_voc):
    objects = [
        VOC_OBJECT.format(name, 1 + 24 * n, 2, 20 + 24 * n, 40)
        for n, name in enumerate(("tea", "milk", "cola", "milk"))
    ]
    folder = write("xml/a.xml", voc(objects="".join(objects))).parent
    write("xml/b.xml", voc("b.jpg", objects=objects[0]))
    assert read_voc(folder, photos)[0].classes == ("product",) * 4
    assert read_voc.lines == [
        "one class: 3 classes of the annotations (cola, milk, tea) become product; "
        "--classes keep (make: CLASSES=keep) keeps them"
    ]
    images = read_voc(folder, photos, choice=KEEP)
    assert images[0].classes == ("tea", "milk", "cola", "milk")
    assert read_voc.lines == []


def test_boxes_of_classes_that_were_not_chosen_are_left_out(write, photos, read_voc):
    objects = [
        VOC_OBJECT.format(name, 1 + 24 * n, 2, 20 + 24 * n, 40)
        for n, name in enumerate(("tea", "milk", "cola", "milk"))
    ]
    folder = write("xml/a.xml", voc(objects="".join(objects))).parent
    write("xml/b.xml", voc("b.jpg", objects=objects[0]))
    (first, second) = read_voc(folder, photos, choice=ClassChoice(True, ("tea", "cola")))
    assert (first.classes, second.classes) == (("tea", "cola"), ("tea",))
    assert read_voc.lines == ["2 boxes were left out, of classes that were not chosen: milk (2)"]


def test_an_image_with_no_box_of_the_chosen_classes_is_one_without_a_box(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,milk\nb.jpg,1,2,3,4,tea\n")
    milk = ClassChoice(True, ("milk",))
    assert "1 of 2 images has no box: b.jpg" in grocery.message(path, photos, choice=milk)
    kept = grocery(path, photos, choice=milk, empty_images="keep")
    assert [image.classes for image in kept] == [("milk",), ()]


def test_a_chosen_class_without_a_box_is_an_error(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,milk\na.jpg,9,9,20,20,tea\nb.jpg,1,2,3,4,milk\n")
    message = grocery.message(path, photos, choice=ClassChoice(True, ("milk", "Tea")))
    assert "class 'Tea' was chosen and has no box; the annotations have, besides those" in message
    assert "chosen, 'tea'. Correct the name in --classes (make: CLASSES=)" in message


def test_boxes_without_a_class_become_the_only_one(write, photos, read_voc):
    folder = write("xml/a.xml", voc(objects=VOC_OBJECT.format("", 1, 2, 30, 40))).parent
    write("xml/b.xml", voc("b.jpg", objects=VOC_OBJECT.format("", 1, 2, 30, 40)))
    assert read_voc(folder, photos)[0].classes == ("product",)
    assert "1 class of the annotations (without a name) becomes product" in read_voc.lines[0]
    message = read_voc.message(folder, photos, choice=KEEP)
    assert "a.xml: object 1: no class (2 boxes have none); expected one for each box" in message


def test_classes_of_coco(write, photos, read_coco):
    path = write("a.json", coco(categories=[{"id": 9, "name": "milk"}]))
    assert read_coco(path, photos, empty_images="leave-out")[0].classes == ("product",)
    assert "1 class of the annotations (milk) becomes product" in read_coco.lines[-1]
    images = read_coco(path, photos, choice=KEEP, empty_images="leave-out")
    assert images[0].classes == ("milk",)


# --- which images there are ---------------------------------------------------------------------


def test_annotated_images_that_do_not_exist(write, photos, grocery):
    path = write(
        "a.csv",
        "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\nA.JPG,1,2,3,4,0\n"
        + "".join(f"n{n}.jpg,1,2,3,4,0\n" for n in range(11)),
    )
    message = grocery.message(path, photos)
    assert "12 of 14 annotated images do not exist: A.JPG (line 3), n0.jpg (line 4)" in message
    assert "and 2 more" in message
    assert "There is 'a.jpg' for 'A.JPG'; it was not taken, because" in message
    assert "--allow-missing" in message
    images = grocery(path, photos, allow_missing=True)
    assert [image.filename for image in images] == ["a.jpg", "b.jpg"]
    assert "12 annotated images do not exist; their 12 boxes were left out" in grocery.lines[0]


def test_images_without_annotations(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,0\n")
    message = grocery.message(path, photos)
    assert "1 of 2 images has no box: b.jpg" in message
    assert "--empty-images keep" in message
    left = grocery(path, photos, empty_images="leave-out")
    assert [image.filename for image in left] == ["a.jpg"]
    assert grocery.lines == ["1 image without a box was left out: b.jpg (not in the annotations)"]
    kept = grocery(path, photos, empty_images="keep")
    assert [len(image.classes) for image in kept] == [1, 0] and "kept" in grocery.lines[0]


LISTED_WITHOUT_A_BOX = {
    "grocery": "a.jpg,1,2,3,4,0\n",
    "csv": LABELS + "b.jpg,100,80,,,,,\n",
    "coco": coco(),
    "voc": voc("b.jpg", objects=""),
}


@pytest.mark.parametrize("format", sorted(LISTED_WITHOUT_A_BOX))
def test_images_without_a_box_are_treated_alike_in_every_format(write, photos, format):
    read = Reader(format)
    path = write(
        {"coco": "a.json", "voc": "xml/b.xml"}.get(format, "a.csv"), LISTED_WITHOUT_A_BOX[format]
    )
    if format == "voc":
        write("xml/a.xml", voc())
        path = path.parent
    called = "b.jpg (not in the annotations)" if format == "grocery" else "b.jpg"
    message = read.message(path, photos)
    assert f"1 of 2 images has no box: {called}. Expected at least one" in message
    left = read(path, photos, empty_images="leave-out")
    assert [image.filename for image in left] == ["a.jpg"]
    assert read.lines == [f"1 image without a box was left out: {called}"]
    kept = read(path, photos, empty_images="keep")
    assert [len(image.classes) for image in kept] == [1, 0]
    assert read.lines == [f"1 image without a box was kept, showing no product: {called}"]


def test_an_image_whose_boxes_are_all_dropped_is_without_a_box(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,0\nb.jpg,30,2,1,40,0\n")
    assert "1 of 2 images has no box: b.jpg" in grocery.message(path, photos, bad_boxes="drop")
    assert "no box" not in grocery.message(path, photos)  # the box itself is the problem
    options = {"bad_boxes": "drop", "empty_images": "leave-out"}
    assert [image.filename for image in grocery(path, photos, **options)] == ["a.jpg"]


def test_an_image_that_is_listed_without_a_box_need_not_exist(write, photos, read_coco):
    (photos / "b.jpg").unlink()
    assert [image.filename for image in read_coco(write("a.json", coco()), photos)] == ["a.jpg"]
    assert "1 image is listed without a box and not there" in read_coco.lines[0]


def test_broken_images_are_left_out_where_images_may_be_missing(write, photos, grocery):
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:-20])
    path = write("a.csv", "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\n")
    assert "--allow-missing (make: ALLOW_MISSING=1) to continue without it" in grocery.message(
        path, photos
    )
    assert [image.filename for image in grocery(path, photos, allow_missing=True)] == ["a.jpg"]
    assert grocery.lines[0] == "1 image is broken and was left out: b.jpg"


def test_a_name_that_can_mean_one_image_alone_is_matched_and_reported(write, photos, grocery):
    path = write("a.csv", "A.JPG,1,2,3,4,0\nb.webp,1,2,3,4,0\n")
    images = grocery(path, photos)
    assert [(image.filename, len(image.classes)) for image in images] == [
        ("a.jpg", 1),
        ("b.jpg", 1),
    ]
    assert grocery.lines == [
        "2 annotated names differ from those of the images in case, accents, spaces or suffix, and "
        "were matched: 'A.JPG' is 'a.jpg', 'b.webp' is 'b.jpg'"
    ]


def test_files_that_are_not_read_are_the_reason_for_missing_images(write, photos, grocery):
    path = write("a.csv", "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\nc.webp,1,2,3,4,0\nd.jpg,1,2,3,4,0\n")
    message = grocery.message(path, photos, not_used={"c.webp": "c.webp is WebP: convert it"})
    assert "1 of 4 annotated images is there but cannot be used: c.webp is WebP: conv" in message
    assert "1 of 4 annotated images does not exist: d.jpg (line 4)." in message


def test_no_image_is_left(write, photos, grocery):
    path = write("a.csv", "c.jpg,1,2,3,4,0\n")
    message = grocery.message(path, photos, allow_missing=True, empty_images="leave-out")
    assert "no image is left" in message


def test_broken_images_and_rows_are_in_one_message(write, photos, grocery):
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:-20])
    path = write("a.csv", "a.jpg,1,2,x,4,0\nb.jpg,1,2,3,4,0\n")
    message = grocery.message(path, photos)
    assert str(path) in message
    assert "2 problems" in message
    assert "line 1" in message
    assert "b.jpg: cannot be decoded" in message


def test_names_with_spaces_and_letters(write, photos, grocery):
    for name in ("Bild 1 ä.jpg", "棚, 2.jpg", "<img onerror=x>.jpg"):
        save_image(photos / name)
    path = write(
        "a.csv",
        'a.jpg,1,2,3,4,0\nb.jpg,1,2,3,4,0\nBild 1 ä.jpg,1,2,3,4,0\n"棚, 2.jpg",1,2,3,4,0\n'
        "<img onerror=x>.jpg,1,2,3,4,0\n",
    )
    images = grocery(path, photos)
    labels.write_labels(images, photos / "l.csv")
    assert {image.filename for image in labels.read_labels(photos / "l.csv")} == {
        "a.jpg",
        "b.jpg",
        "Bild 1 ä.jpg",
        "棚, 2.jpg",
        "<img onerror=x>.jpg",
    }


def test_a_renamed_image_of_voc_is_found_by_the_name_of_its_file(write, photos, read_voc):
    folder = write("xml/a.xml", voc("C:\\old\\a.jpg")).parent
    write("xml/b.xml", voc("IMG_1.jpg"))
    write("xml/notes.txt", "not read")
    assert [image.filename for image in read_voc(folder, photos)] == ["a.jpg", "b.jpg"]


def test_many_images_are_read_in_processes(write, tmp_path, grocery):
    names = [f"p{n}.jpg" for n in range(image_checks.FEW_IMAGES + 1)]
    for n, name in enumerate(names):
        save_image(tmp_path / "many" / name, (20 + n, 30))
    path = write("a.csv", "".join(name + ",1,2,3,4,0\n" for name in names))
    images = grocery(path, tmp_path / "many")
    assert [image.size_wh for image in images] == [(20 + n, 30) for n in range(len(names))]


def test_the_real_dataset_whose_images_are_missing(shelf_data_original, grocery):
    images = grocery(
        shelf_data_original / "annotations.csv", shelf_data_original, allow_missing=True
    )
    assert len(images) == 16
    assert "338 annotated images do not exist; their 12754 boxes were left out" in grocery.lines[0]
    assert "and 328 more" in grocery.lines[0] and "orientation 3: 2" in grocery.lines[1]


# --- sizes --------------------------------------------------------------------------------------


def test_exif_orientation(write, photos, grocery):
    save_image(photos / "b.jpg", orientation=6)
    path = write("a.csv", "a.jpg,1,2,3,4,0\nb.jpg,1,2,3,90,0\n")
    assert grocery(path, photos)[1].size_wh == (100, 80)
    assert "1 image has an EXIF orientation (orientation 6: 1)" in grocery.lines[0]
    assert "raw pixels" in grocery.lines[0] and "clipped" in grocery.lines[1]
    assert grocery(path, photos, exif="apply")[1].size_wh == (80, 100)
    assert len(grocery.lines) == 1 and "the rotated image" in grocery.lines[0]


def test_stated_sizes_that_differ(write, photos, read_voc, read_coco):
    folder = write("xml/a.xml", voc(size=(80, 100))).parent
    write("xml/b.xml", voc("b.jpg"))
    message = read_voc.message(folder, photos)
    assert "a.xml: size 80 x 100; expected 100 x 80, as 'a.jpg' decodes" in message
    image = {"id": 5, "file_name": "a.jpg", "width": 80, "height": 100}
    message = read_coco.message(write("a.json", coco(images=[image])), photos)
    assert "images[0]: size 80 x 100; expected 100 x 80" in message


def test_stated_sizes_of_a_viewer_that_turns_images(write, photos, read_voc):
    folder = write("xml/a.xml", voc(size=(80, 100))).parent
    write("xml/b.xml", voc("b.jpg"))
    save_image(photos / "a.jpg", orientation=6)
    assert "--exif apply" in read_voc.message(folder, photos)
    assert read_voc(folder, photos, exif="apply")[0].size_wh == (80, 100)


# --- label files as annotations -----------------------------------------------------------------


def test_label_files_are_annotations(write, photos):
    read_csv = Reader("csv")
    path = write("l.csv", LABELS + "b.jpg,100,80,,,,,\n")
    assert [len(image.classes) for image in read_csv(path, photos, empty_images="keep")] == [1, 0]
    path = write("m.csv", LABELS.replace("100", "99") + "b.jpg,100,80,,,,,\n")
    assert "line 2: size 99 x 80; expected 100 x 80" in read_csv.message(path, photos)


def test_boxes_of_label_files_follow_the_same_policies(write, photos):
    read_csv = Reader("csv")
    rows = "a.jpg,100,80,product,1,2,30,99\na.jpg,100,80,product,1,2,30,99\nb.jpg,100,80,,,,,\n"
    path = write("l.csv", HEADER + rows)
    assert [len(image.classes) for image in read_csv(path, photos, empty_images="keep")] == [1, 0]
    reported = [line.split(" ", 2)[:2] for line in read_csv.lines[1:]]
    assert reported == [["2", "boxes"], ["1", "box"]]
    assert "line 2: box" in read_csv.message(path, photos, out_of_image="refuse")


# --- any content --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(
    numbers=st.lists(st.one_of(st.integers(-20, 120), st.floats()), min_size=4, max_size=4),
    bad_boxes=st.sampled_from(["refuse", "drop"]),
    out_of_image=st.sampled_from(["refuse", "clip"]),
)
def test_any_box_is_read_or_refused(tmp_path_factory, numbers, bad_boxes, out_of_image):
    folder = tmp_path_factory.mktemp("any")
    path = write_file(folder / "a.json", coco_with(bbox=numbers))
    save_image(folder / "photos" / "a.jpg")
    save_image(folder / "photos" / "b.jpg")
    try:
        images = Reader("coco")(
            path, folder / "photos", bad_boxes=bad_boxes, out_of_image=out_of_image
        )
    except UserError as error:
        assert str(folder) in str(error)
        return
    labels.write_labels(images, folder / "l.csv")
    assert len(labels.read_labels(folder / "l.csv")) == 2


@settings(deadline=None, max_examples=20)
@given(content=st.text('a.jpg,0123456789-\n"; ', max_size=150))
@pytest.mark.parametrize("format", ["grocery", "csv"])
def test_any_rows_give_images_or_a_message(tmp_path_factory, format, content):
    folder = tmp_path_factory.mktemp("any")
    header = HEADER if format == "csv" else ""
    path = write_file(folder / "a", header + content)
    save_image(folder / "photos" / "a.jpg", (9, 9))
    try:
        Reader(format)(path, folder / "photos", allow_missing=True, empty_images="keep")
    except UserError as error:
        assert str(folder) in str(error)
