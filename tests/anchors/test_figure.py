"""figure.py: which images are shown, and that the page is drawn."""

import numpy as np
from PIL import Image

from shelfdet.anchors import anchors, coverage, figure
from shelfdet.data import labels

IMAGE_WH = (64, 64)


def page_of(images):
    layers = anchors.ssd_layers([(4, 4)], IMAGE_WH, [0.25], 1.0)
    boxes_by_image = anchors.resized(images, IMAGE_WH)
    covered = coverage.measure(boxes_by_image, *anchors.tile(layers), IMAGE_WH)
    curves = [("these", covered.best_iou)]
    return figure.Page("title", IMAGE_WH, images, layers, covered, boxes_by_image, curves)


def image_with_boxes(name, boxes_xyxy):
    boxes_xyxy = np.array(boxes_xyxy, dtype=float)
    return labels.LabelledImage(name, IMAGE_WH, boxes_xyxy, ("product",) * len(boxes_xyxy))


def test_the_least_covered_images_come_first_with_their_share():
    page = page_of(
        [
            image_with_boxes("good.jpg", [[0, 0, 16, 16]]),
            image_with_boxes("bad <b>.jpg", [[0, 0, 2, 2], [16, 16, 32, 32]]),
        ]
    )
    drawn = figure.least_covered_images(page)
    assert [title for title, _ in drawn] == [
        "bad <b>.jpg: 50% of its boxes covered",
        "good.jpg: 100% of its boxes covered",
    ]


def test_a_photograph_is_drawn_where_it_is_there_and_blank_paper_where_not(tmp_path):
    red = (200, 0, 0)
    Image.new("RGB", IMAGE_WH, red).save(str(tmp_path / "there.png"))
    page = page_of(
        [
            image_with_boxes("there.png", [[0, 0, 16, 16]]),
            image_with_boxes("missing.png", [[0, 0, 16, 16]]),
        ]
    )
    (_, there), (_, missing) = figure.least_covered_images(page, tmp_path)
    assert there.getpixel((40, 40)) == red
    assert missing.getpixel((40, 40)) == (figure.BLANK_GREY,) * 3


def test_the_page_is_a_png_of_some_size(tmp_path):
    figure.draw(page_of([image_with_boxes("a.jpg", [[0, 0, 16, 20]])]), tmp_path / "page.png")
    with Image.open(str(tmp_path / "page.png")) as page:
        assert page.format == "PNG" and min(page.size) > 1000
