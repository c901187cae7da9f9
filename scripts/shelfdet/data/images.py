"""Images as TensorFlow will see them: which files they are, their size, their pixels, their orientation."""

import collections
import os
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageFile

from shelfdet import UserError, data
from shelfdet.core.text import Problems, name_problem

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")  # what tf.image.decode_image reads
EXIF_ORIENTATION = 0x0112
UPRIGHT = 1
# Above this a file is refused before it is decoded: 178 megapixels are 0.5 GB of RGB, and no camera's photograph of a
# shelf.
MAX_PIXELS = 178956970
MAX_SIDE = data.MAX_SIDE
STRIP = 2.0  # times as wide as high; the photographs here have at most 1.78
FRAME = 4 / 3  # width over height of what a strip is put in, a camera's usual
GREY = 127  # of its margins; in black ones the shipped detector finds products (RUNS.md, 9)

Image.MAX_IMAGE_PIXELS = None  # our own limit, with our own message
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings(
    "ignore", module="PIL.TiffImagePlugin"
)  # of broken EXIF blocks, which spoil nothing here

ImageInfo = collections.namedtuple("ImageInfo", "size_wh orientation format mode")
ImageInfo.__doc__ = """What a fully decoded image is.

size_wh: raw pixels, EXIF not applied. orientation: its EXIF flag, 1 to 8 (1 where it has none).
format: "JPEG", "PNG", ... by content, not by name. mode: Pillow's ("RGB", "L", "CMYK", "I;16", ...)."""


def list_images(folder):
    """The image files directly in ``folder``, sorted by name, as a list of pathlib.Path; dot files are left out.

    Raises:
      UserError: no such folder, or a file stands there.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {'is a file' if folder.exists() else 'does not exist'}; expected a folder of images. Check the path."
        )
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images. Mend its permissions."
        ) from error


def locate(folder, filenames, split):
    """Where each of ``filenames`` lies: in ``folder`` itself, its ``test`` or ``train`` (which holds validation, too).

    Returns:
      list of pathlib.Path, in the order of ``filenames``.

    Raises:
      UserError: no such folder, or images that are not there, by name.
    """
    folder = pathlib.Path(folder)
    side = folder / ("test" if split == "test" else "train")
    # A split grouped by planogram takes images from both sides: the other one is looked in last.
    places = [
        place for place in (side, folder, folder / "train", folder / "test") if place.is_dir()
    ]
    if not places:
        raise UserError(
            f"{folder}: no such folder; expected images, or train/ and test/ with images. Run step 01, or check the path."
        )
    found = [
        next((place / name for place in places if (place / name).is_file()), None)
        for name in filenames
    ]
    missing = [name for name, path in zip(filenames, found) if path is None]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(filenames)} images are not there: {', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}. Run steps 01 and 02, or check the path."
        )
    return found


def sides(folder):
    """The images of a dataset: ``folder`` holds ``train`` and ``test``, or ``ShelfImages`` with the two.

    Returns:
      {"train": {name: path}, "test": {name: path}}, sorted by name.

    Raises:
      UserError: no such folders; a name that stands on both sides, twice but for upper and lower case, or that no label
      file can hold.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {'is a file' if folder.exists() else 'does not exist'}; expected a folder with train/ and test/. Run step 01, or check the path."
        )
    root = next(
        (place for place in (folder / "ShelfImages", folder) if (place / "train").exists()), None
    )
    if root is None:
        raise UserError(
            f"{folder}: holds neither ShelfImages/train nor train/; expected train/ and test/ with images. Run step 01, which also divides a flat folder, or check the path."
        )
    found = {
        side: {path.name: path for path in list_images(root / side)} for side in ("train", "test")
    }
    problems = Problems(root)
    first = {}
    for path in [path for side in ("train", "test") for path in found[side].values()]:
        problem = name_problem(path.name)
        if problem:
            problems.add(path.parent.name, problem + ".")
        other = first.setdefault(path.name.lower(), path)
        if other is not path:
            problems.add(
                "",
                f"{other.parent.name}/{other.name} and {path.parent.name}/{path.name} have the same name{'' if other.name == path.name else ' but for upper and lower case'}; expected every name once. Rename or delete one.",
            )
    problems.refuse()
    return found


def inspect(path):
    """Decodes the image at ``path`` fully and tells what it is.

    Returns:
      ImageInfo.

    Raises:
      UserError: missing, empty, truncated, huge, or no image that TensorFlow reads.
    """
    with _opened(path) as image:
        info = ImageInfo(image.size, _orientation(image), image.format, image.mode)
        _decode(image, path)
    return info


def load(path, max_side=None, exif="ignore"):
    """The image's pixels, as the network is shown them.

    Args:
      path: an image file of any format in SUFFIXES (the content counts, not the name).
      max_side: shrink, with a good filter, so that the longer side is at most this many pixels; None or 0 leaves it.
      exif: "ignore" gives the raw pixels, as TensorFlow's decoder does; "apply" turns them as the EXIF flag says.

    Returns:
      (pixels, size_wh, orientation): uint8 RGB of shape (height, width, 3) after shrinking; the size before shrinking
      (of the turned image, with "apply"); the EXIF flag.

    Raises:
      UserError: as ``inspect``.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        full_wh = image.size
        shrunk_wh = shrunk_size(full_wh, max_side)
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; never below twice the wanted size, so that the
        # filter below still has something to average. The part of the draft that the image fills is not always whole
        # pixels.
        draft = (
            image.draft(None, [2 * side for side in shrunk_wh]) if shrunk_wh != full_wh else None
        )
        _decode(image, path)
        image = _as_rgb(image)
        if shrunk_wh != full_wh:
            image = image.resize(shrunk_wh, Image.LANCZOS, box=draft and draft[1], reducing_gap=3.0)
        if exif == "apply" and orientation != UPRIGHT:
            image = image.transpose(_TURNS[orientation])
            if orientation >= 5:
                full_wh = full_wh[::-1]
        return np.asarray(image), full_wh, orientation


def shrunk(pixels, max_side):
    """Pixels, uint8 RGB of shape (height, width, 3), shrunk as ``load`` shrinks an image."""
    size_wh = pixels.shape[1::-1]
    shrunk_wh = shrunk_size(size_wh, max_side)
    return (
        pixels
        if shrunk_wh == size_wh
        else np.asarray(Image.fromarray(pixels).resize(shrunk_wh, Image.LANCZOS, reducing_gap=3.0))
    )


def is_strip(size_wh):
    """Whether an image is more than STRIP times as wide as high, or as high as wide."""
    return max(size_wh) > STRIP * min(size_wh)


def with_margins(pixels, path):
    """A strip in the middle of a frame of ordinary shape, so that a network's resizing squashes its products no more than others'.

    Args:
      pixels: uint8 RGB of shape (height, width, 3).
      path: the image's file, for the message.

    Returns:
      (framed, left_top): the same with grey margins above and below (4:3), or left and right (3:4); how many pixels it moved right
      and down.

    Raises:
      UserError: the frame would have more than MAX_PIXELS.
    """
    height, width = pixels.shape[:2]
    frame_wh = (width, round(width / FRAME)) if width > height else (round(height / FRAME), height)
    if frame_wh[0] * frame_wh[1] > MAX_PIXELS:
        raise UserError(
            "{}: a strip of {} x {} pixels needs a frame of {} x {}; expected at most {} megapixels. Let step 08 shrink it "
            "(--max-side).".format(path, width, height, *frame_wh, MAX_PIXELS // 10**6)
        )
    left, top = (frame_wh[0] - width) // 2, (frame_wh[1] - height) // 2
    framed = np.full((frame_wh[1], frame_wh[0], 3), GREY, dtype=np.uint8)
    framed[top : top + height, left : left + width] = pixels
    return framed, (left, top)


def shrunk_size(size_wh, max_side):
    """(width, height) of the same aspect with the longer side at most ``max_side``; small ones stay as they are."""
    longest = max(size_wh)
    if not max_side or longest <= max_side:
        return tuple(size_wh)
    return tuple(max(1, int(round(side * max_side / longest))) for side in size_wh)


def _opened(path):
    try:
        if os.path.getsize(str(path)) == 0:
            raise UserError(
                f"{path}: the file is empty; expected an image. Copy it anew from where it came."
            )
        image = Image.open(str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected an image.") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three on broken headers
        raise UserError(
            f"{path}: is no image that can be read ({error}); expected JPEG, PNG, BMP or GIF."
        ) from error
    if image.size[0] * image.size[1] > MAX_PIXELS:
        image.close()
        raise UserError(
            f"{path}: {image.size[0]} x {image.size[1]} pixels; expected at most {MAX_PIXELS // 10**6} million. Save it smaller."
        )
    if image.format not in ("JPEG", "MPO", "PNG", "BMP", "GIF"):
        image.close()
        raise UserError(
            f"{path}: is a {image.format} file; expected JPEG, PNG, BMP or GIF, which are what TensorFlow decodes. Save it as JPEG."
        )
    return image


def _decode(image, path):
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be decoded to its end ({error}); expected a whole image. Copy it anew, or leave it and its annotation rows out."
        ) from error


def _orientation(image):
    try:
        flag = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
    ):  # a broken EXIF block does not spoil the pixels
        return UPRIGHT
    return flag if flag in range(1, 9) else UPRIGHT


def _as_rgb(image):
    if image.mode.startswith("I"):
        # 16-bit grey PNG: Pillow cuts the values at 255, where TensorFlow keeps the upper byte.
        image = Image.fromarray(np.uint8(np.asarray(image) >> 8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")  # then drop alpha, as TensorFlow does
    return image.convert("RGB")


# What undoes each EXIF orientation (EXIF 2.32, tag 0x0112): where row 0 and column 0 of the file lie in the upright
# image.
_TURNS = {
    2: Image.FLIP_LEFT_RIGHT,
    3: Image.ROTATE_180,
    4: Image.FLIP_TOP_BOTTOM,
    5: Image.TRANSPOSE,
    6: Image.ROTATE_270,
    7: Image.TRANSVERSE,
    8: Image.ROTATE_90,
}
