"""A tiny dataset of the Grocery Dataset's layout, for tests."""

import hashlib

from PIL import Image

# What step 01 puts in place of it.
PLACED = [
    "ShelfImages/test/C1_P01_N2_S2_1.JPG",
    "ShelfImages/train/C1_P01_N1_S2_1.JPG",
    "ShelfImages/train/C1_P01_N1_S3_1.JPG",
    "annotations.csv",
]


def draw_dataset(
    folder,
    train=("C1_P01_N1_S2_1.JPG", "C1_P01_N1_S3_1.JPG"),
    test=("C1_P01_N2_S2_1.JPG",),
    csv=True,
):
    """Writes images of 40 x 30 pixels, each of its own colour, and one box for each with ``csv``.

    Returns:
      ``folder``.
    """
    for side, names in (("train", train), ("test", test)):
        (folder / "ShelfImages" / side).mkdir(parents=True)
        for name in names:
            colour = tuple(hashlib.sha256(name.encode("utf-8")).digest()[:3])
            image = Image.new("RGB", (40, 30), colour)
            image.save(str(folder / "ShelfImages" / side / name), "JPEG")
    if csv:
        rows = [f"{name},1,2,11,22,0\n" for name in train + test]
        (folder / "annotations.csv").write_text("".join(rows))
    return folder


def listing(folder):
    """The files under ``folder``, as sorted paths relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
