"""Images as TensorFlow decodes them: their files, size, pixels and EXIF orientation."""

import io
import math
import os
import pathlib
import warnings
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageFile

from shelfdet import UserError, data
from shelfdet.core.text import PathLike

# What tf.image.decode_image reads. .jfif, .jpe and .pjpeg are JPEG by other names.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".pjpeg", ".png", ".bmp", ".gif")
# Kinds of images that it does not read, by suffix.
OTHER_KINDS = {
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".heic": "HEIC",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".avif": "AVIF",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".ppm": "PPM",
    ".tga": "TGA",
    ".psd": "Photoshop",
    ".dng": "a raw photograph",
    ".cr2": "a raw photograph",
    ".cr3": "a raw photograph",
    ".nef": "a raw photograph",
    ".arw": "a raw photograph",
}
# Brands in bytes 8 to 12 of a file of the ISO base media format, which Pillow does not identify.
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}
MAX_SIDE = data.MAX_SIDE
# A larger file is refused before it is decoded: 178 megapixels are 0.5 GB of RGB, and no camera's
# photograph of a shelf.
MAX_PIXELS = 178956970
EXIF_ORIENTATION = 0x0112  # the tag's number, EXIF 2.32
UPRIGHT = 1
FIRST_SIDEWAYS = 5  # EXIF orientations 5 to 8 swap width and height
# Longer side over shorter side. The photographs of the Grocery Dataset have at most 1.78.
STRIP_RATIO = 2.0
# Longer side over shorter side of the frame around a strip: what most cameras have.
FRAME_RATIO = 4 / 3
# Grey level of the frame's margins. In black ones the included detector finds products: run 9 in
# RUNS.md.
MARGIN_GREY = 127
# Pillow's best filter for a smaller image.
SHRINKING_FILTER = Image.LANCZOS
# For an image that was decoded at a smaller size, of which most remains (up to 8 times the wanted
# size, at least half of each side): as sharp as the bicubic filter, in half the time of LANCZOS.
DRAFT_FILTER = Image.HAMMING
# Of images that are encoded again: at this quality a second encoding adds next to no artefacts.
JPEG_QUALITY = 95

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS replaces it, with a message of our own
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow warns of broken EXIF blocks, which do not affect the pixels.
warnings.filterwarnings("ignore", module="PIL.TiffImagePlugin")


class ImageInfo(NamedTuple):
    """What a completely decoded image is.

    size_wh: (width, height) of the raw pixels, EXIF orientation not applied.
    orientation: the EXIF orientation, 1 to 8 (1 if it has none).
    format: "JPEG", "PNG", ... by content, not by name.
    mode: Pillow's ("RGB", "L", "CMYK", "I;16", ...).
    """

    size_wh: Tuple[int, int]
    orientation: int
    format: str
    mode: str


class LoadedImage(NamedTuple):
    """An image's pixels.

    pixels: uint8 RGB (height, width, 3), after shrinking.
    size_wh: (width, height) before shrinking, of the upright image if the EXIF orientation was
      applied.
    orientation: the EXIF orientation, 1 to 8.
    """

    pixels: np.ndarray
    size_wh: Tuple[int, int]
    orientation: int


def has_image_suffix(path: pathlib.Path) -> bool:
    """Whether a file is named as an image that TensorFlow decodes; a space after it is ignored."""
    return path.suffix.strip().lower() in SUFFIXES


def kind_problem(path: pathlib.Path) -> Optional[str]:
    """Why a file named as an image of another kind cannot be used; None for other files.

    The reason begins with the path as it is given, which need not exist.
    """
    kind = OTHER_KINDS.get(path.suffix.strip().lower())
    if kind is None:
        return None
    return f"{path} is {kind}, which TensorFlow does not decode: convert it to JPEG"


def list_images(folder: pathlib.Path) -> List[pathlib.Path]:
    """Lists the image files directly in ``folder``, sorted by name, without hidden files.

    Raises:
      UserError: no such folder, or it is a file.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder}: {found}; expected a folder of images. Check the path.")
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if has_image_suffix(path) and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images. Correct "
            "its permissions."
        ) from error


def inspect(path: pathlib.Path) -> ImageInfo:
    """Decodes the image at ``path`` completely and returns what it is.

    Raises:
      UserError: missing, empty, truncated, too large, or no image that TensorFlow reads.
    """
    with _opened(path) as image:
        info = ImageInfo(image.size, _orientation(image), image.format, image.mode)
        _decode(image, path)
    return info


def load(
    path: PathLike,
    max_side: Optional[int] = None,
    exif: str = "ignore",
    content: Optional[bytes] = None,
) -> LoadedImage:
    """Reads an image's pixels as the network gets them.

    Args:
      path: an image file of any format in SUFFIXES (by content, not by name).
      max_side: shrink, with a good filter, so that the longer side is at most this many pixels;
        None or 0 does not. A JPEG may get smaller, see ``least_draft_size``.
      exif: "ignore" gives the raw pixels, as TensorFlow's decoder does; "apply" rotates and mirrors
        them as the EXIF orientation says.
      content: the bytes of the file, where they have been read already; ``path`` is then only for
        messages, and may be a URI.

    Raises:
      UserError: as ``inspect``.
    """
    with _opened(path, content) as image:
        orientation = _orientation(image)
        full_wh = image.size
        shrunk_wh, box = _draft(image, max_side)
        _decode(image, path)
        image = _as_rgb(image)
        if shrunk_wh != full_wh:
            shrinking_filter = SHRINKING_FILTER if image.size == full_wh else DRAFT_FILTER
            image = image.resize(shrunk_wh, shrinking_filter, box=box)
        if exif == "apply" and orientation != UPRIGHT:
            image = image.transpose(_TO_UPRIGHT[orientation])
            if is_sideways(orientation):
                full_wh = full_wh[::-1]
        return LoadedImage(np.asarray(image), full_wh, orientation)


def _draft(
    image: Image.Image, max_side: Optional[int]
) -> Tuple[Tuple[int, int], Optional[Sequence[float]]]:
    """Lets a large JPEG be decoded at 1/2, 1/4 or 1/8 of its size, for a fraction of the time.

    The inverse DCT at a smaller size averages pixels as a filter does. Where the draft is at most
    ``max_side`` long, it needs no further shrinking.

    Returns:
      (shrunk_wh, box): the size to shrink the decoded image to; the part (left, upper, right,
      lower) of the decoded image that the photograph fills, which is not always whole pixels; None
      for an image that is decoded as it is.
    """
    shrunk_wh = shrunk_size(image.size, max_side)
    if shrunk_wh == image.size:
        return shrunk_wh, None
    draft = image.draft(None, least_draft_size(shrunk_wh))
    if draft is None:  # a format without drafts
        return shrunk_wh, None
    box = draft[1]
    if max(box) <= max_side:
        return (round(box[2]), round(box[3])), box
    return shrunk_wh, box


def least_draft_size(shrunk_wh: Tuple[int, int]) -> Tuple[int, int]:
    """The least (width, height) at which a JPEG to be shrunk to ``shrunk_wh`` is decoded.

    Half of the longer side, for both sides: with the usual 1024 the 512 pixels of the networks'
    input, so that they enlarge no image. A photograph of 3264 x 2448 is decoded at 816 x 612 and
    needs no filter; that is nearer than 1024 x 768 to the copies of 853 x 640 that the detectors of
    the Grocery Dataset were trained on. The shorter side of a strip stays as long as it was to be.
    """
    least = math.ceil(max(shrunk_wh) / 2)
    return (min(shrunk_wh[0], least), min(shrunk_wh[1], least))


def is_sideways(orientation: int) -> bool:
    """Whether applying an EXIF orientation swaps width and height."""
    return orientation >= FIRST_SIDEWAYS


def shrunk(pixels: np.ndarray, max_side: Optional[int]) -> np.ndarray:
    """Shrinks pixels, uint8 RGB (height, width, 3), with the filter that ``load`` uses."""
    return shrunk_to(pixels, shrunk_size(pixels.shape[1::-1], max_side))


def shrunk_to(pixels: np.ndarray, max_wh: Sequence[int]) -> np.ndarray:
    """Pixels as of ``shrunk`` with at most this (width, height), each side shrunk by itself."""
    size_wh = pixels.shape[1::-1]
    shrunk_wh = tuple(min(sides) for sides in zip(size_wh, max_wh))
    if shrunk_wh == size_wh:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(shrunk_wh, SHRINKING_FILTER))


def shrunk_size(size_wh: Sequence[int], max_side: Optional[int]) -> Tuple[int, int]:
    """The size of the same aspect ratio whose longer side is at most ``max_side``.

    A smaller size is returned unchanged.

    Args:
      size_wh: (width, height) in pixels.
      max_side: in pixels; None or 0 for no limit.
    """
    longest = max(size_wh)
    if not max_side or longest <= max_side:
        return tuple(size_wh)
    return tuple(max(1, int(round(side * max_side / longest))) for side in size_wh)


def is_strip(size_wh: Sequence[int]) -> bool:
    """Whether an image's longer side is more than STRIP_RATIO times its shorter side."""
    return max(size_wh) > STRIP_RATIO * min(size_wh)


def with_margins(pixels: np.ndarray, path: PathLike) -> Tuple[np.ndarray, Tuple[int, int]]:
    """Puts a strip into the middle of a frame of ordinary shape.

    A network's resizing to a square then distorts its products no more than those of other images.

    Args:
      pixels: uint8 RGB (height, width, 3).
      path: the image's file, for the message.

    Returns:
      (framed, left_top): the pixels with grey margins above and below (4:3) or left and right
      (3:4); by how many pixels the strip moved to the right and down.

    Raises:
      UserError: the frame would have more than MAX_PIXELS.
    """
    height, width = pixels.shape[:2]
    if width > height:
        frame_wh = (width, round(width / FRAME_RATIO))
    else:
        frame_wh = (round(height / FRAME_RATIO), height)
    if frame_wh[0] * frame_wh[1] > MAX_PIXELS:
        raise UserError(
            f"{path}: a strip of {width} x {height} pixels needs a frame of {frame_wh[0]} x "
            f"{frame_wh[1]}; expected at most {MAX_PIXELS // 10**6} megapixels. Let step 08 shrink "
            "it (--max-side)."
        )
    left = (frame_wh[0] - width) // 2
    top = (frame_wh[1] - height) // 2
    framed = np.full((frame_wh[1], frame_wh[0], 3), MARGIN_GREY, dtype=np.uint8)
    framed[top : top + height, left : left + width] = pixels
    return framed, (left, top)


def _opened(path, content=None):
    try:
        size = os.path.getsize(str(path)) if content is None else len(content)
        if size == 0:
            raise UserError(
                f"{path}: the file is empty; expected an image. Copy it again from its source."
            )
        image = Image.open(str(path) if content is None else io.BytesIO(content))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected an image.") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three on broken headers
        raise UserError(_not_identified(path, content, error)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise UserError(
            f"{path}: {width} x {height} pixels; expected at most {MAX_PIXELS // 10**6} million. "
            "Save it smaller."
        )
    if image.format not in ("JPEG", "MPO", "PNG", "BMP", "GIF"):
        image.close()
        raise UserError(
            f"{path}: is a {image.format} file; expected JPEG, PNG, BMP or GIF, which are what "
            "TensorFlow decodes. Convert it to JPEG."
        )
    return image


def _not_identified(path, content, error):
    """The message for a file that Pillow does not identify; it names what a phone may write."""
    head = content or b""
    if content is None and os.path.isfile(str(path)):
        with open(str(path), "rb") as file:
            head = file.read(12)
    kind = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if kind is not None:
        return (
            f"{path}: is a {kind} file; expected JPEG, PNG, BMP or GIF, which are what TensorFlow "
            "decodes. Convert it to JPEG (renaming it is not enough)."
        )
    return f"{path}: is no image that can be read ({error}); expected JPEG, PNG, BMP or GIF."


def _decode(image, path):
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be decoded to its end ({error}); expected a complete image. Copy it "
            "again, or remove it, with its annotations if it has any."
        ) from error


def _orientation(image):
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except (OSError, SyntaxError, ValueError, TypeError):
        # A broken EXIF block does not affect the pixels.
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def _as_rgb(image):
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        # 16-bit grey PNG: Pillow would clip the values at 255, whereas TensorFlow keeps the upper
        # byte.
        image = Image.fromarray(np.uint8(np.asarray(image) >> 8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # A direct conversion to RGB would blend; converting RGBA to RGB drops alpha, as TensorFlow
        # does.
        image = image.convert("RGBA")
    return image.convert("RGB")


# What makes an image of each EXIF orientation upright (EXIF 2.32, tag 0x0112, defines where row 0
# and column 0 of the file are in the upright image).
_TO_UPRIGHT = {
    2: Image.FLIP_LEFT_RIGHT,
    3: Image.ROTATE_180,
    4: Image.FLIP_TOP_BOTTOM,
    5: Image.TRANSPOSE,
    6: Image.ROTATE_270,
    7: Image.TRANSVERSE,
    8: Image.ROTATE_90,
}
