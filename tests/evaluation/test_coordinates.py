"""The reason why detections do not match: boxes in other coordinates than those of their format."""

import json

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.data import labels
from shelfdet.evaluation import matched_files
from shelfdet.evaluation.matched_files import Sides

SMALL = (320, 240)
LARGE = (3000, 2000)


def make_truth(size_wh, images=12):
    """(name, size, boxes) of images with two rows of four products, different in each image."""
    random = np.random.RandomState(0)
    width, height = size_wh
    result = []
    for number in range(images):
        left = np.tile(np.arange(4) * 0.23 + 0.03, 2) + random.uniform(0, 0.03, 8)
        top = np.repeat([0.05, 0.5], 4) + random.uniform(0, 0.04, 8)
        right = left + random.uniform(0.1, 0.18, 8)
        bottom = top + random.uniform(0.3, 0.4, 8)
        boxes_xyxy = np.stack([left, top, right, bottom], axis=1) * [width, height, width, height]
        result.append((f"{number:02d}.jpg", size_wh, boxes_xyxy))
    return result


def write_files(folder, truth, change, format="csv", changed_images=None):
    """Writes labels and detections; ``change``: from boxes and size to the four numbers."""
    labels.write_labels(
        [
            labels.labelled(name, size_wh, [("product", box) for box in boxes_xyxy])
            for name, size_wh, boxes_xyxy in truth
        ],
        folder / "truth.csv",
    )
    rows = []
    for index, (name, size_wh, boxes_xyxy) in enumerate(truth):
        numbers = np.asarray(boxes_xyxy)
        if changed_images is None or index < changed_images:
            numbers = change(numbers, size_wh)
        rows += [(index, name, size_wh, [float(value) for value in box]) for box in numbers]
    if format == "csv":
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax,score"]
        for _, name, (width, height), box in rows:
            lines.append(f"{name},{width},{height},product,{','.join(map(repr, box))},0.9")
        (folder / "found.csv").write_text("\n".join(lines) + "\n")
        return
    images = [
        {"id": index, "file_name": name, "width": size_wh[0], "height": size_wh[1]}
        for index, (name, size_wh, _) in enumerate(truth)
    ]
    annotations = [
        {"image_id": index, "category_id": 1, "bbox": box, "score": 0.9}
        for index, _, _, box in rows
    ]
    categories = [{"id": 1, "name": "product"}]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "found.json").write_text(json.dumps(content))


def read(folder, format="csv", **options):
    suffix = "csv" if format == "csv" else "json"
    sides = Sides(folder / "truth.csv", folder / f"found.{suffix}", "csv", format, **options)
    return matched_files.read(sides)


def as_read(boxes, size_wh):
    return boxes


def whwh(size_wh):
    return np.array(size_wh * 2, dtype=float)


def xywh(boxes, size_wh):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def y_first(boxes, size_wh):
    return boxes[:, [1, 0, 3, 2]]


def yolo(boxes, size_wh):
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([centres, boxes[:, 2:] - boxes[:, :2]], axis=1) / whwh(size_wh)


def turned_clockwise(boxes, size_wh):
    height = size_wh[1]
    xmin, ymin, xmax, ymax = boxes.T
    return np.stack([height - ymax, xmin, height - ymin, xmax], axis=1)


def turned_half(boxes, size_wh):
    return whwh(size_wh) - boxes[:, [2, 3, 0, 1]]


@pytest.mark.parametrize("format, change", [("csv", as_read), ("coco", xywh)])
def test_boxes_as_their_format_states_them_match_without_a_word(tmp_path, capsys, format, change):
    write_files(tmp_path, make_truth(SMALL), change, format)
    matches = read(tmp_path, format)
    assert sum(len(image.scores) for image in matches) == 96
    assert all((image.kinds == 0).all() for image in matches)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("size_wh", [SMALL, LARGE])
@pytest.mark.parametrize(
    "change, meant",
    [
        (y_first, "ymin, xmin, ymax, xmax in pixels"),
        (xywh, "x, y, width, height in pixels"),
        (yolo, "centre x, centre y, width, height in fractions"),
        (lambda boxes, size: boxes / whwh(size), "xmin, ymin, xmax, ymax in fractions"),
        (lambda boxes, size: 100 * boxes / whwh(size), "xmin, ymin, xmax, ymax in percent"),
        (
            lambda boxes, size: 1000 * y_first(boxes / whwh(size), size),
            "ymin, xmin, ymax, xmax in thousandths",
        ),
        (lambda boxes, size: boxes / 2, "pixels of the image at half its size"),
        (lambda boxes, size: boxes * 2, "pixels of the image at double its size"),
        (lambda boxes, size: 300 * boxes / whwh(size), "image resized to about 300 x 300"),
        (lambda boxes, size: 1024 * boxes / max(size), "its longer side is about 1024"),
        (turned_clockwise, "rotated by 90 degrees clockwise, as EXIF orientation 6"),
        (turned_half, "rotated by 180 degrees, as EXIF orientation 3"),
    ],
)
def test_other_coordinates_are_refused_with_what_they_seem_to_be(tmp_path, change, meant, size_wh):
    write_files(tmp_path, make_truth(size_wh), change)
    with pytest.raises(UserError) as error:
        read(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/found.csv: ")
    assert meant in message
    assert "expected xmin, ymin, xmax, ymax in pixels of the image on disk" in message
    assert len(message.splitlines()) <= 2  # not one line for each box


@pytest.mark.parametrize(
    "change, meant",
    [
        (as_read, "xmin, ymin, xmax, ymax in pixels; expected x, y, width, height"),
        (lambda boxes, size: y_first(xywh(boxes, size), size), "y, x, height, width in pixels"),
        (yolo, "centre x, centre y, width, height in fractions"),
    ],
)
def test_the_order_that_cocos_json_has_is_expected_of_it(tmp_path, change, meant):
    write_files(tmp_path, make_truth(SMALL), change, "coco")
    with pytest.raises(UserError) as error:
        read(tmp_path, "coco")
    assert "found.json: " in str(error.value)
    assert meant in str(error.value)


def test_clipping_does_not_hide_other_coordinates(tmp_path):
    write_files(tmp_path, make_truth(SMALL), lambda boxes, size: boxes * 2)
    with pytest.raises(UserError, match="at double its size.*(.|\n)*far outside their image"):
        read(tmp_path, clip=True)


def test_ground_truth_in_other_coordinates_is_named(tmp_path):
    truth = make_truth(SMALL)
    scaled = [(name, size, boxes / whwh(size)) for name, size, boxes in truth]
    write_files(tmp_path, scaled, lambda boxes, size: boxes * whwh(size))
    with pytest.raises(UserError, match="(?s)truth.csv: .* in fractions"):
        read(tmp_path)


def test_fractions_are_refused_where_both_sides_agree(tmp_path):
    scaled = [(name, size, boxes / whwh(size)) for name, size, boxes in make_truth(SMALL)]
    write_files(tmp_path, scaled, as_read)
    with pytest.raises(UserError, match="all their boxes between 0 and 1"):
        read(tmp_path)


def test_a_few_turned_images_are_reported_and_the_others_scored(tmp_path, capsys):
    write_files(tmp_path, make_truth(SMALL), turned_half, changed_images=3)
    assert len(read(tmp_path)) == 12
    printed = capsys.readouterr().err
    assert "warning: in 3 images (00.jpg, 01.jpg, 02.jpg): " in printed
    assert "rotated by 180 degrees" in printed


def test_matches_that_nothing_explains_give_a_warning(tmp_path, capsys):
    in_a_corner = np.tile([1.0, 1.0, 9.0, 9.0], (8, 1))
    write_files(tmp_path, make_truth(SMALL), lambda boxes, size: in_a_corner)
    assert len(read(tmp_path)) == 12
    assert "nearly none of its 96 detections of any score matches" in capsys.readouterr().err


def test_a_weak_detector_is_not_taken_for_other_coordinates(tmp_path, capsys):
    random = np.random.RandomState(1)

    def shifted(boxes, size):
        return np.clip(boxes + random.uniform(-25, 25, (len(boxes), 1)), 0, whwh(size))

    write_files(tmp_path, make_truth(SMALL), shifted)
    assert len(read(tmp_path)) == 12
    assert capsys.readouterr().err == ""
