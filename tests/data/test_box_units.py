"""Boxes that cannot be pixels, or only in another order, and the limits of clipping."""

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data.checks import box_units
from shelfdet.data.checks.box_checks import BoxChecker
from shelfdet.data.checks.box_units import ImageRows
from shelfdet.data.classes import ONE_CLASS
from shelfdet.data.formats import BoxRow

SIZE = (320, 240)
# Two shelves of four products, as xyxy.
SHELVES = np.array(
    [
        (x, y, x + width, y + height)
        for y, height in ((12, 90), (128, 95))
        for x, width in ((8, 60), (88, 50), (160, 64), (246, 58))
    ],
    dtype=float,
)


def image(numbers, is_xywh=False, name="a.jpg", size_wh=SIZE):
    """An image with boxes of ``numbers`` (N, 4), as the reader of a format returns them."""
    rows = []
    for index, stated in enumerate(np.asarray(numbers, dtype=float)):
        box = tuple(stated)
        if is_xywh:
            box = (stated[0], stated[1], stated[0] + stated[2], stated[1] + stated[3])
        bbox = tuple(stated) if is_xywh else None
        rows.append(BoxRow(f"row {index}", "product", box, bbox_xywh=bbox))
    return ImageRows(name, size_wh, rows)


def message_of(images, **options):
    with pytest.raises(UserError) as error:
        box_units.check_units(images, Problems("file"), **options)
    assert str(error.value).startswith("file: ") and "\n" not in str(error.value)
    return str(error.value)


def xywh(boxes_xyxy):
    return np.hstack([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]])


def centred(boxes_xyxy):
    corner = xywh(boxes_xyxy)
    return np.hstack([corner[:, :2] + corner[:, 2:] / 2, corner[:, 2:]])


# --- units and order ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_xywh", [False, True])
def test_pixels_in_the_stated_order_are_accepted(is_xywh):
    numbers = xywh(SHELVES) if is_xywh else SHELVES
    box_units.check_units([image(numbers, is_xywh), image([], name="b.jpg")], Problems("file"))
    box_units.check_units([], Problems("file"))


@pytest.mark.parametrize("is_xywh", [False, True])
def test_shares_of_the_image_are_refused(is_xywh):
    numbers = (xywh(SHELVES) if is_xywh else SHELVES) / np.tile(SIZE, 2)
    message = message_of([image(SHELVES), image(numbers, is_xywh, "b.jpg")])
    assert "1 of 2 images with boxes has all its boxes between 0 and 1 (row 0: " in message
    assert ("bbox [0.025" if is_xywh else "box 0.025,0.05,") in message
    assert "'b.jpg'" in message and "Expected pixels" in message and "YOLO" not in message


def test_boxes_of_yolo_are_named():
    message = message_of([image(centred(SHELVES) / np.tile(SIZE, 2))])
    assert "YOLO's order (centre x, centre y, width, height)" in message


def test_a_tiny_detection_in_one_image_is_no_share():
    tiny = image([(0, 0, 1, 1)], name="b.jpg")
    box_units.check_units([image(SHELVES), tiny], Problems("file"), scored=True)
    assert "2 of 2 images" in message_of([tiny, tiny], scored=True)


@pytest.mark.parametrize(
    "is_xywh, numbers, order",
    [
        (True, SHELVES, "xmin, ymin, xmax, ymax"),
        (True, xywh(SHELVES)[:, [1, 0, 3, 2]], "y, x, height, width"),
        (True, SHELVES[:, [1, 0, 3, 2]], "ymin, xmin, ymax, xmax"),
        (False, SHELVES[:, [1, 0, 3, 2]], "ymin, xmin, ymax, xmax"),
        (False, SHELVES[:, [0, 2, 1, 3]], "xmin, xmax, ymin, ymax"),
        (False, SHELVES[:, [1, 3, 0, 2]], "ymin, ymax, xmin, xmax"),
        (False, SHELVES[:, [2, 3, 0, 1]], "xmax, ymax, xmin, ymin"),
        (False, xywh(SHELVES), "x, y, width, height"),
        (False, centred(SHELVES), "centre x, centre y, width, height"),
    ],
)
def test_another_order_is_named(is_xywh, numbers, order):
    images = [image(numbers, is_xywh, f"{number}.jpg") for number in range(3)]
    message = message_of(images)
    assert "of 24 boxes are inverted or far outside their image (row" in message
    assert f"none if the numbers are read as {order}: so" in message
    assert ("x, y, width, height" if is_xywh else "xmin, ymin, xmax, ymax") in message


def test_boxes_of_turned_images_are_named():
    assert "EXIF=apply" in message_of([image(SHELVES[:, [1, 0, 3, 2]])] * 3)


def test_boxes_of_larger_copies_are_one_problem():
    message = message_of([image(SHELVES * 2)])
    assert "6 of 8 boxes are inverted or far outside" in message and "larger copies" in message


def test_single_mistakes_are_left_to_the_check_of_each_box():
    numbers = SHELVES.copy()
    numbers[:2] = numbers[:2, [2, 3, 0, 1]]
    box_units.check_units([image(numbers)], Problems("file"))


def test_other_problems_of_the_file_are_told_too():
    problems = Problems("file")
    problems.add("line 7", "is wrong.")
    with pytest.raises(UserError, match="2 problems\n  line 7: is wrong.\n  6 of 8 boxes"):
        box_units.check_units([image(SHELVES * 2)], problems)


def test_boxes_that_fill_a_corner_of_all_images_are_warned_of():
    lines = []
    percent = SHELVES / np.tile(SIZE, 2) * 100
    box_units.report_small_extent([image(percent)] * 5, lines.append)
    (line,) = lines
    assert "of 40 boxes in 5 images, none reaches beyond 30% of the width or 39% of the" in line
    box_units.report_small_extent([image(percent)] * 4, lines.append)  # few images prove nothing
    box_units.report_small_extent([image(SHELVES)] * 5, lines.append)
    assert len(lines) == 1


# --- clipping -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box, size_wh",
    [
        ((300, 10, 321, 60), SIZE),
        ((319.5, 10, 321, 60), SIZE),  # most of it, but by rounding alone
        ((-20, 10, 60, 60), SIZE),
        ((280, 10, 340, 60), SIZE),
        ((3700, 10, 4190, 600), (4000, 3000)),  # 5 % of a large image
    ],
)
def test_boxes_that_may_be_clipped(box, size_wh):
    assert box_units.too_far_outside(box, size_wh) == ""


@pytest.mark.parametrize(
    "box, expected",
    [
        ((200, 10, 341, 60), "reaches 21 px outside, with 15% of its area; expected at most 20 px"),
        ((310, 10, 335, 60), "reaches 15 px outside, with 60% of its area; expected at most 20 px"),
        ((160, 10, 739, 60), "reaches 419 px outside"),
        ((-300, -200, 600, 500), "reaches 300 px outside"),
    ],
)
@pytest.mark.parametrize("out_of_image", ["clip", "refuse"])
def test_boxes_that_may_not_be_clipped(box, expected, out_of_image):
    problems = Problems("file")
    checker = BoxChecker(problems, ONE_CLASS, out_of_image, "refuse")
    assert checker.check(ImageRows("a.jpg", SIZE, [BoxRow("line 3", "product", box)])) == []
    with pytest.raises(UserError) as error:
        problems.refuse()
    assert f"file: line 3: box {','.join(map(str, box))} {expected}" in str(error.value)
    assert "the image, 320 x 240. Correct it, or give --bad-boxes drop (make: " in str(error.value)


def test_boxes_that_may_not_be_clipped_are_dropped_and_counted():
    lines = []
    checker = BoxChecker(Problems("file"), ONE_CLASS, "clip", "drop")
    rows = [BoxRow("", "product", box) for box in ((1, 2, 30, 40), (160, 10, 739, 60))]
    assert checker.check(ImageRows("a.jpg", SIZE, rows)) == [("product", (1, 2, 30, 40))]
    checker.report_counts(lines.append, {"a.jpg": "a.jpg"})
    assert lines[0].startswith("1 box was dropped because too large a part is outside the image: ")
