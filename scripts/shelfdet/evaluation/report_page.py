"""The HTML page of the evaluation report, with images as large as its size allows."""

import concurrent.futures
import functools
import pathlib
from typing import Any, Dict, NamedTuple

from shelfdet import UserError
from shelfdet.core import parallel, paths
from shelfdet.data import images
from shelfdet.evaluation import html_page

TEMPLATE = paths.EVALUATION / "report_template.html"


class ImageSize(NamedTuple):
    """How an image is embedded: its longer side in pixels, and the quality of its JPEG."""

    max_side: int
    quality: int


# Best first; the first with which the page is small enough is taken.
IMAGE_SIZES = (
    ImageSize(1024, 78),
    ImageSize(1024, 70),
    ImageSize(896, 66),
    ImageSize(768, 62),
    ImageSize(640, 58),
    ImageSize(480, 54),
    ImageSize(320, 50),
)


def render(
    data: Dict[str, Any], shown: Dict[int, pathlib.Path], exif: str, max_bytes: float
) -> str:
    """The page, with images as large as ``max_bytes`` allows.

    Args:
      data: report_data.page_data, with its anchor coverage.
      shown: path of each image that is embedded, by its index in ``data``.
      exif: how the detections treat the EXIF orientation, "ignore" or "apply".
      max_bytes: size of the page.

    Raises:
      UserError: the page is larger with the smallest images.
    """
    size = 0
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        for image_size in IMAGE_SIZES:
            encode = functools.partial(encode_image, size=image_size, exif=exif)
            encoded = dict(zip(shown, pool.map(encode, shown.values())))
            page = html_page.fill(TEMPLATE, data, encoded)
            size = len(page.encode("utf-8"))
            if size <= max_bytes:
                return page
    raise UserError(
        f"the report would be {size / 1e6:.1f} MB with images of {IMAGE_SIZES[-1].max_side} "
        f"pixels; expected at most {max_bytes / 1e6:.1f} MB. Show fewer with --max-images, or "
        "raise --max-mb."
    )


def encode_image(path: pathlib.Path, size: ImageSize, exif: str) -> str:
    """The image as a JPEG in base64, in the same orientation as its boxes."""
    pixels = images.load(path, size.max_side, exif).pixels
    return html_page.encode_jpeg(pixels, size.quality)
