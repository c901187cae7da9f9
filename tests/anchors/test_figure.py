"""figure.py: which images are shown, and that the page is drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from shelfdet.anchors import anchors, coverage, figure
from shelfdet.data import labels

IMAGE_WH = (64, 64)


def page_of(images, scale=0.25):
    layers = anchors.ssd_layers([(4, 4)], IMAGE_WH, [scale], 1.0)
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
    drawn = figure.draw_least_covered(page, {})
    assert [title for title, _ in drawn] == [
        "bad <b>.jpg: 50% of its boxes covered",
        "good.jpg: 100% of its boxes covered",
    ]


@pytest.mark.parametrize(
    "scale, places", [(0.25, ["centre"]), (1.0, ["centre", "corner"])]
)  # an anchor of 16 px that is moved by 8 px each way covers no box by half, one of 64 px does
def test_the_legend_has_the_contours_that_are_drawn(scale, places):
    axes = Figure().subplots()
    figure._draw_sizes(axes, page_of([image_with_boxes("a.jpg", [[0, 0, 16, 16]])], scale))
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    expected = {"centre": "in the centre of a cell", "corner": "on the corner of four cells"}
    assert [text for text in texts if text.startswith("covered if ")] == [
        f"covered if {expected[place]}" for place in places
    ]


def test_a_photograph_is_drawn_where_it_is_there_and_blank_paper_where_not(tmp_path):
    red = (200, 0, 0)
    Image.new("RGB", IMAGE_WH, red).save(str(tmp_path / "there.png"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    page = page_of(
        [
            image_with_boxes("there.png", [[0, 0, 16, 16]]),
            image_with_boxes("missing.png", [[0, 0, 16, 16]]),
            image_with_boxes("broken.png", [[0, 0, 16, 16]]),
        ]
    )
    photographs, reasons = figure.read_photographs(page, tmp_path)
    (_, there), (_, missing), (_, broken) = figure.draw_least_covered(page, photographs)
    assert there.getpixel((40, 40)) == red
    assert missing.getpixel((40, 40)) == (figure.BLANK_GREY,) * 3
    assert broken.getpixel((40, 40)) == (figure.BLANK_GREY,) * 3
    assert len(reasons) == 2
    assert "1 of 1 image does not exist: missing.png" in reasons[0]
    assert str(tmp_path / "broken.png") in reasons[1]


def test_a_missing_folder_of_photographs_is_named_once(tmp_path):
    page = page_of([image_with_boxes(name, [[0, 0, 16, 16]]) for name in ("a.png", "b.png")])
    photographs, (reason,) = figure.read_photographs(page, tmp_path / "nowhere")
    assert photographs == {}
    assert "nowhere: no such folder" in reason


def write_lying_on_its_side(path):
    """Raw pixels 40 x 20, left half blue; with EXIF orientation 6 upright 20 x 40, top blue."""
    pixels = np.full((20, 40, 3), 255, np.uint8)
    pixels[:, :20] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(pixels).save(str(path), exif=exif.tobytes(), quality=95)


def test_boxes_of_upright_images_are_drawn_on_upright_images(tmp_path):
    write_lying_on_its_side(tmp_path / "a.jpg")
    boxes_xyxy = np.array([[2.0, 2, 10, 10]])
    upright = labels.LabelledImage("a.jpg", (20, 40), boxes_xyxy, ("product",))
    page = page_of([upright])
    photographs, reasons = figure.read_photographs(page, tmp_path, exif="apply")
    assert reasons == []
    pixels = photographs["a.jpg"].astype(int)
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] < 60 and pixels[35, 10, 0] > 200


def test_boxes_are_not_drawn_on_an_image_of_another_shape(tmp_path):
    write_lying_on_its_side(tmp_path / "a.jpg")
    boxes_xyxy = np.array([[2.0, 2, 10, 10]])
    page = page_of([labels.LabelledImage("a.jpg", (20, 40), boxes_xyxy, ("product",))])
    photographs, (reason,) = figure.read_photographs(page, tmp_path)
    assert photographs == {}
    assert "is 40 x 20 pixels, expected the shape of the label file's 20 x 40" in reason
    assert "--exif apply" in reason


def test_a_smaller_copy_has_the_shape_of_the_label_file(tmp_path):
    Image.new("RGB", (101, 67)).save(str(tmp_path / "a.png"))
    boxes_xyxy = np.array([[2.0, 2, 100, 100]])
    page = page_of([labels.LabelledImage("a.png", (3024, 2016), boxes_xyxy, ("product",))])
    photographs, reasons = figure.read_photographs(page, tmp_path)
    assert reasons == [] and list(photographs) == ["a.png"]


def test_the_page_is_a_png_of_some_size(tmp_path):
    figure.draw(page_of([image_with_boxes("a.jpg", [[0, 0, 16, 20]])]), tmp_path / "page.png")
    with Image.open(str(tmp_path / "page.png")) as page:
        assert page.format == "PNG" and min(page.size) > 1000
