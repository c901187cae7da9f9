"""In which groups the figures of images are given: those that the images have."""

import pytest
from scored_images import BOX, match

from shelfdet.core import paths
from shelfdet.evaluation import breakdowns, dimensions, image_folders


def images(*names_and_sizes):
    """Matches of images, each (name, size)."""
    matches = match(*((name, [BOX], [(0.9, BOX)]) for name, _ in sorted(names_and_sizes)))
    sizes = dict(names_and_sizes)
    return [image._replace(size_wh=sizes[image.filename]) for image in matches]


def test_names_of_the_grocery_scheme_have_camera_and_planogram():
    matches = images(("C1_P03_N1_S2_1.JPG", (30, 20)), ("C2_P03_N1_S2_1", (20, 30)))
    assert dimensions.of_images(matches) == {
        "by_camera": ["C1", "C2"],
        "by_planogram": ["P03", "P03"],
    }


def test_a_name_outside_the_scheme_is_a_group_of_its_own_beside_others():
    matches = images(("C1_P03_N1_S2_1.JPG", (30, 20)), ("shelf.jpg", (30, 20)))
    assert dimensions.of_images(matches)["by_camera"] == ["C1", "other"]


def test_other_names_are_grouped_by_image_size_in_the_order_of_the_numbers():
    matches = images(("a.jpg", (1024, 768)), ("b.jpg", (640, 480)), ("c.jpg", (1024, 768)))
    found = dimensions.of_images(matches)
    assert found == {"by_image_size": ["1024 x 768 px", "640 x 480 px", "1024 x 768 px"]}
    rows = breakdowns.by_group(matches, 0.5, found["by_image_size"])
    assert [(name, row["images"]) for name, row in rows.items()] == [
        ("640 x 480 px", 1),
        ("1024 x 768 px", 2),
    ]


def test_many_sizes_are_grouped_by_the_longer_side():
    sizes = [(10, 256), (257, 10), (512, 99), (513, 1), (1024, 9), (2048, 5), (7, 2049)]
    sizes += [(300 + number, 20) for number in range(3)]
    matches = images(*((f"{number:02}.jpg", size) for number, size in enumerate(sizes)))
    (groups,) = dimensions.of_images(matches).values()
    assert groups == (
        ["longer side 1 to 256 px"]
        + ["longer side 257 to 512 px"] * 2
        + ["longer side 513 to 1024 px"] * 2
        + ["longer side 1025 to 2048 px", "longer side 2049 to 4096 px"]
        + ["longer side 257 to 512 px"] * 3
    )
    rows = breakdowns.by_group(matches, 0.5, groups)
    assert [int(name.split()[2]) for name in rows] == [1, 257, 513, 1025, 2049]


def test_folders_are_a_dimension_beside_the_others():
    matches = images(("a.jpg", (30, 20)), ("b.jpg", (20, 30)))
    found = dimensions.of_images(matches, {"a.jpg": "north", "b.jpg": "south"})
    assert found["by_folder"] == ["north", "south"]
    assert list(found) == ["by_folder", "by_image_size"]


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Puts images of a user's folders into place, as step 01 does; returns the label file."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path / "annotations")

    def place(*names):
        in_split = tmp_path / "images" / "ShelfImages" / "test"
        in_split.mkdir(parents=True)
        for name in names:
            path = tmp_path / "shops" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            (in_split / path.name).symlink_to(path)
        return tmp_path / "annotations" / "test_labels.csv"

    return place


def test_links_lead_to_the_folders_of_the_images(placed, tmp_path):
    label_file = placed("north/old/a.jpg", "north/new/b.jpg", "south/c.jpg")
    names = ["a.jpg", "b.jpg", "c.jpg"]
    expected = {"a.jpg": "north/old", "b.jpg": "north/new", "c.jpg": "south"}
    assert image_folders.of_labels(label_file, names) == expected
    # Images that are not there, and label files of no dataset, have no folders.
    assert image_folders.of_labels(label_file, names + ["d.jpg"]) == {}
    assert image_folders.of_labels(tmp_path / "elsewhere" / "test_labels.csv", names) == {}


def test_one_folder_is_no_dimension(placed):
    label_file = placed("north/a.jpg", "north/b.jpg")
    assert image_folders.of_labels(label_file, ["a.jpg", "b.jpg"]) == {}


def test_of_many_folders_those_that_hold_them_are_taken(placed):
    count = image_folders.MOST_FOLDERS + 1
    label_file = placed(*(f"{'ab'[number % 2]}/{number}/{number}.jpg" for number in range(count)))
    names = [f"{number}.jpg" for number in range(count)]
    assert set(image_folders.of_labels(label_file, names).values()) == {"a", "b"}


@pytest.mark.parametrize("sizes", [[(30, 20)] * 2, [(30, 20), None], [None, None], []])
def test_one_size_or_unknown_sizes_are_no_dimension(sizes):
    matches = images(*((f"{number}.jpg", size) for number, size in enumerate(sizes)))
    assert dimensions.of_images(matches) == {}
