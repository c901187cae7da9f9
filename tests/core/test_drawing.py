"""Boxes on images: places, colours, lines, and the legend."""

import numpy as np
import pytest
from PIL import ImageColor

from shelfdet.core import drawing

GREY = 90


def canvas(width=400, height=300):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def rgb(style):
    return ImageColor.getrgb(style.colour)


def places(image, colour):
    """(N, 2) of x, y of the pixels in exactly this colour."""
    return np.argwhere((np.asarray(image) == colour).all(axis=2))[:, ::-1]


def test_the_line_is_on_the_box():
    image = drawing.draw_detections(canvas(), [[100, 50, 200, 250]])
    found = places(image.crop((0, 0, 400, 300)), rgb(drawing.DETECTION))
    assert found.min(axis=0) == pytest.approx([100, 50], abs=1)
    assert found.max(axis=0) == pytest.approx([200, 250], abs=1)
    for x, y in ((100, 150), (199, 150), (150, 50), (150, 249)):
        assert np.abs(found - (x, y)).max(axis=1).min() <= 1
    assert (np.asarray(image)[140:160, 110:190] == GREY).all()  # nothing inside


def test_boxes_of_the_whole_image_are_scaled_to_the_shrunk_one():
    large = drawing.draw_detections(canvas(), [[100, 50, 200, 250]])
    shrunk = drawing.draw_detections(canvas(), [[1000, 500, 2000, 2500]], boxes_wh=(4000, 3000))
    assert (np.asarray(large) == np.asarray(shrunk)).all()


def test_every_meaning_has_its_own_colour_and_its_own_line():
    together = [
        (drawing.TRUE_POSITIVE, drawing.FALSE_NEGATIVE, drawing.FALSE_POSITIVE),
        (drawing.COVERED, drawing.UNCOVERED),
    ]
    for styles in together:
        assert len({style.colour for style in styles}) == len(styles)
        assert len({style.dashes for style in styles}) == len(styles)


def test_dashes_have_gaps_and_solid_lines_have_none():
    box = [[20, 20, 380, 280]]
    solid_style = drawing.TRUE_POSITIVE
    dashed_style = drawing.FALSE_NEGATIVE
    solid_image = drawing.draw(canvas(), [(solid_style, box)]).crop((0, 0, 400, 300))
    dashed_image = drawing.draw(canvas(), [(dashed_style, box)]).crop((0, 0, 400, 300))
    solid = places(solid_image, rgb(solid_style))
    dashed = places(dashed_image, rgb(dashed_style))
    assert len(set(solid[solid[:, 1] == 20][:, 0])) >= 359
    on_top = np.unique(dashed[dashed[:, 1] == 20][:, 0])
    assert 0.5 < len(on_top) / 360.0 < 0.8
    assert {20, 379} <= set(on_top)  # corners are closed


def test_a_neighbours_rim_hides_no_line():
    image = drawing.draw_detections(canvas(), [[100, 100, 150, 200], [151, 100, 201, 200]])
    found = places(image, rgb(drawing.DETECTION))
    assert {150, 151} & set(found[:, 0])
    assert np.isin(found[:, 0], (149, 150)).sum() >= 95


@pytest.mark.parametrize(
    "size_wh, width",
    [((64, 48), 1), ((400, 300), 1), ((1024, 768), 3), ((3264, 2448), 8), ((600, 3264), 8)],
)
def test_lines_grow_with_the_image(size_wh, width):
    assert drawing.line_width(size_wh) == width


@pytest.mark.parametrize("width, height", [(40, 30), (300, 900), (1000, 200)])
def test_the_legend_is_under_the_image_at_any_size(width, height):
    groups = [
        (style, [])
        for style in (drawing.TRUE_POSITIVE, drawing.FALSE_NEGATIVE, drawing.FALSE_POSITIVE)
    ]
    image = drawing.draw(canvas(width, height), groups, title="C1_P01_N1_S2_1.JPG")
    assert image.width == width and image.height > height
    assert (np.asarray(image)[:height] == GREY).all()


@pytest.mark.parametrize(
    "box",
    [
        [50, 50, 50, 50],
        [-20, -20, 5, 5],
        [390, 290, 900, 900],
        [0, 0, 400, 300],
        [10.2, 10.7, 11.1, 11.9],
    ],
)
def test_boxes_without_area_or_outside_the_image_raise_nothing(box):
    drawing.draw_coverage(canvas(), [box], [box])


def test_a_title_beyond_ascii_is_drawn():
    drawing.draw_detections(canvas(), np.zeros((0, 4)), title="raf ğüş 货架 <b>.JPG")


def test_names_are_shortened_to_their_boxes_and_counted_in_the_legend():
    pixels = canvas()
    boxes = [[10, 50, 110, 250], [120, 50, 150, 250], [160, 50, 164, 250]]
    plain = np.asarray(drawing.draw_detections(pixels, boxes))
    named = np.asarray(drawing.draw_detections(pixels, boxes, names=["a long name of tea"] * 3))
    height = len(pixels)
    differs = (plain[:height] != named[:height]).any(axis=(0, 2))
    assert differs[10:110].any() and differs[120:150].any()
    assert not differs[112:118].any() and not differs[160:].any()  # no room for a letter
    assert len(named) >= len(plain)
    assert (named[height:] != plain[height : height + len(named)][: len(named) - height]).any()
