"""Near-duplicates: copies of made and real photographs are found, different shelves are not."""

import itertools

import numpy as np
import pytest
from made_shelves import shelf_image
from PIL import Image, ImageEnhance

from shelfdet.data.splitting import near_duplicates, splits


def margins(image, left, top, right, bottom):
    """``image`` without these shares of its sides."""
    width, height = image.size
    return image.crop((left * width, top * height, (1 - right) * width, (1 - bottom) * height))


COPIES = {
    "saved again": lambda image: image,
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.BILINEAR),
    "square": lambda image: image.resize((416, 416)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "crop 3 %": lambda image: margins(image, 0.03, 0.03, 0.03, 0.03),
    "crop 5 % of two sides": lambda image: margins(image, 0.05, 0.05, 0, 0),
    "crop and half": lambda image: COPIES["half"](COPIES["crop 3 %"](image)),
}


def saved(images, folder):
    """Saves images as JPEG; returns name to path."""
    paths = {}
    for name, image in images.items():
        paths[f"{name}.jpg"] = folder / f"{name}.jpg"
        image.save(str(paths[f"{name}.jpg"]), quality=70)
    return paths


@pytest.mark.parametrize("kind", sorted(COPIES))
def test_copies_are_found_among_shelves_of_one_layout(tmp_path, kind):
    shelves = {str(seed): shelf_image(seed) for seed in range(12)}
    shelves["copy"] = COPIES[kind](shelves["5"])
    assert near_duplicates.find(saved(shelves, tmp_path)) == [("5.jpg", "copy.jpg")]


def test_what_is_no_near_duplicate(tmp_path):
    image = shelf_image(0)
    images = {
        "a": image,
        "cropped by far more": margins(image, 0.15, 0.15, 0.15, 0.15),
        "upside down": image.transpose(Image.ROTATE_180),
        "black": Image.new("RGB", (40, 30)),
        "black, too": Image.new("RGB", (80, 60)),
    }
    assert near_duplicates.find(saved(images, tmp_path)) == []
    assert near_duplicates.find({}) == []


def test_all_copies_of_one_photograph_are_connected(tmp_path):
    image = shelf_image(1)
    images = {f"{n:02}": image.resize((300 + n, 200 + n)) for n in range(25)}
    images["other"] = shelf_image(2)
    group = {"00.jpg"}
    pairs = near_duplicates.find(saved(images, tmp_path))
    for _ in images:
        group |= set(itertools.chain(*(pair for pair in pairs if group & set(pair))))
    assert group == {f"{n:02}.jpg" for n in range(25)}


def test_candidates_are_the_ten_nearest_above_the_least_correlation(monkeypatch):
    random = np.random.RandomState(0)
    layouts = random.normal(size=(60, 192)) + 0.9 * random.normal(size=192)
    layouts = (layouts / np.linalg.norm(layouts, axis=1, keepdims=True)).astype(np.float32)
    expected = set()
    for row, correlations in enumerate(layouts @ layouts.T):
        nearest = [other for other in np.argsort(-correlations) if other != row][:10]
        expected |= {
            (min(row, other), max(row, other)) for other in nearest if correlations[other] >= 0.4
        }
    monkeypatch.setattr(near_duplicates, "CORRELATIONS_AT_ONCE", 7 * 60)
    found = near_duplicates.candidates(layouts)
    assert list(map(tuple, found)) == sorted(expected)
    assert 0 < len(expected) < 600
    assert near_duplicates.candidates(np.eye(3, dtype=np.float32)).shape == (0, 2)


def test_placements_are_those_of_the_crop():
    thumbnails = [
        np.asarray(image.convert("L").resize((near_duplicates.SIDE,) * 2, Image.BOX))[None]
        for image in (shelf_image(3), margins(shelf_image(3), 0.02, 0.04, 0.02, 0))
    ]
    first, second = (image.astype(np.float32) for image in thumbnails)
    placements = near_duplicates.align(first, second, np.array([[1.0, 0.0, 1.0, 0.0]]))
    placements = near_duplicates.align(first, second, placements)
    # Along y 96 % are left, whose centre is 2 % below the middle; along x 96 % around the middle.
    assert placements[0] == pytest.approx([0.96, 0.02, 0.96, 0.0], abs=0.004)
    assert near_duplicates.cropped(placements)[0] == pytest.approx(0.04, abs=0.004)
    inverse = np.array([[1 / 0.96, -0.02 / 0.96, 1.0, 0.0]])
    assert near_duplicates.cropped(inverse)[0] == pytest.approx(0.04, abs=1e-6)


def test_real_photographs(shelf_data, tmp_path):
    photographs = sorted((shelf_data / "ShelfImages" / "test").iterdir())
    originals = {path.name: path for path in photographs}
    for one, other in near_duplicates.find(originals):
        # Two photographs of one shelf may be nearly the same; those of two shelves may not.
        assert splits.shelf(one) == splits.shelf(other)
    for kind, copy in COPIES.items():
        copied = photographs[:: len(photographs) // 20]
        images = {f"copy {path.stem}": copy(Image.open(str(path))) for path in copied}
        pairs = near_duplicates.find(dict(originals, **saved(images, tmp_path)))
        found = sum((path.name, f"copy {path.stem}.jpg") in pairs for path in copied)
        assert found >= len(copied) - 1, kind
