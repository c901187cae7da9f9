"""Label files of YOLO in pixels or percent: one problem, with the likely cause and what to do."""

import pytest
from annotation_samples import write_file

from shelfdet import UserError
from shelfdet.core.text import Problems
from shelfdet.data import detections, labels
from shelfdet.data.checks import share_units
from shelfdet.data.formats import yolo

SIZE_WH = (400, 300)
NAMES = [f"{number}.jpg" for number in range(6)]
# Of boxes 20 x 60, in three columns: class x y width height.
SHARES = "".join(f"0 {x / 400} {150 / 300} {20 / 400} {60 / 300}\n" for x in (50, 200, 390))
PIXELS = "".join(f"0 {x} 150 20 60\n" for x in (50, 200, 390))
CORNERS = "".join(f"0 {x - 10} 120 {x + 10} 180\n" for x in (50, 200, 390))
PERCENT = "".join(f"0 {x / 4} 50 5 20\n" for x in (50, 200, 390))
OF_LARGER_IMAGES = "".join(f"0 {4 * x} 600 80 240\n" for x in (50, 200, 390))


def checked(folder, contents, sizes=SIZE_WH):
    """The images of label files, and the problems with them."""
    for name, content in zip(NAMES, contents):
        write_file(folder / name.replace(".jpg", ".txt"), content)
    problems = Problems(folder)
    images = yolo.read(folder, problems, image_names=NAMES)
    sizes_wh = {name: sizes for name in NAMES if sizes}
    found = list(share_units.checked(images.values(), sizes_wh, problems))
    return {image.filename: len(image.rows) for image in found}, problems


def message_of(folder, contents, **options):
    _, problems = checked(folder, contents, **options)
    with pytest.raises(UserError) as caught:
        problems.refuse()
    assert "\n" not in str(caught.value)  # one problem
    return str(caught.value)


def test_shares_are_no_problem(tmp_path):
    counts, problems = checked(tmp_path, [SHARES] * 5 + [""])
    assert list(counts.values()) == [3, 3, 3, 3, 3, 0] and not len(problems)


def test_a_single_box_in_pixels_is_a_mistake_of_its_line(tmp_path):
    counts, problems = checked(tmp_path, [SHARES] * 5 + ["0 50 150 20 60\n"])
    assert list(counts.values()) == [3, 3, 3, 3, 3, 1] and not len(problems)


@pytest.mark.parametrize(
    "content, expected",
    [
        (PIXELS, "pixels (1.txt: line 1: '0 50 150 20 60'). Expected shares of the width and"),
        (CORNERS, "pixels of two corners, xmin ymin xmax ymax (1.txt: line 1: '0 40 120 60 180')"),
        (PERCENT, "percent (1.txt: line 1: '0 12.5 50 5 20')"),
        (OF_LARGER_IMAGES, "pixels, but of larger images than those on disk (1.txt: line 1: "),
    ],
)
def test_another_unit_is_named(tmp_path, content, expected):
    message = message_of(tmp_path, [SHARES, content, SHARES, content, SHARES])
    assert f"6 boxes in 2 of 5 images with boxes look like {expected}" in message
    assert message.endswith("or export the labels again. In 1.txt, 3.txt.")


def test_pixels_say_by_what_to_divide(tmp_path):
    assert "Divide x and width by the width of the image, and y and height by its height" in (
        message_of(tmp_path, [PIXELS] * 6)
    )


def test_files_are_counted_and_listed_up_to_ten(tmp_path):
    many = "".join(f"0 {100 + n} 150 20 60\n" for n in range(154))
    message = message_of(tmp_path, [SHARES, many, SHARES])
    assert "154 boxes in 1 of 3 images with boxes look like pixels" in message


def test_only_files_in_another_unit_lose_their_boxes(tmp_path):
    counts, _ = checked(tmp_path, [SHARES, PIXELS, SHARES + "0 90 90 10 10\n"])
    assert counts == {"0.jpg": 3, "1.jpg": 0, "2.jpg": 4}  # a single mistake is another check's


def test_images_of_unknown_size(tmp_path):
    assert "3 boxes in 1 of 1 image with boxes look like pixels (0.txt" in (
        message_of(tmp_path, [PIXELS], sizes=None)
    )


def test_detections_in_pixels(tmp_path):
    """Step 09 reads label files, too."""
    for name in NAMES[:3]:
        write_file(tmp_path / name.replace(".jpg", ".txt"), "0 50 150 20 60 0.9\n" * 4)
    known = [labels.labelled(name, SIZE_WH, []) for name in NAMES[:3]]
    with pytest.raises(UserError, match="12 boxes in 3 of 3 images with boxes look like pixels"):
        detections.read_detections(tmp_path, "yolo", known=known)
