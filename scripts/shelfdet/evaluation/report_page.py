"""The HTML page of the evaluation report: one file that holds its data, images, style and script.

The page comes from the template report_template.html, .css and .js beside the evaluation scripts.
"""

import base64
import concurrent.futures
import functools
import hashlib
import html
import io
import json
import math
import pathlib
import re
from typing import Any, Dict, NamedTuple

from PIL import Image

from shelfdet import UserError
from shelfdet.core import parallel, paths
from shelfdet.data import images

TEMPLATE = paths.EVALUATION / "report_template.html"  # .css and .js beside it


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
            page = fill_template(data, encoded)
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
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "JPEG", quality=size.quality, optimize=True, progressive=False
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def fill_template(data: Dict[str, Any], encoded: Dict[int, str]) -> str:
    """The template with everything in its place.

    Text of the user, such as a file name, must never run as a script. It goes in as JSON whose "<"
    are escaped, so that it cannot end the element it is in; and the page's content security policy
    allows the template's own style and script alone, by their hashes.

    Args:
      data: as in ``render``.
      encoded: base64 of each embedded image, by its index in ``data``.
    """
    style = TEMPLATE.with_suffix(".css").read_text(encoding="utf-8")
    script = TEMPLATE.with_suffix(".js").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    content = json.dumps(
        _without_nan(data), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    image_elements = [
        f'<script id="image-{index}" type="text/plain">{image}</script>'
        for index, image in encoded.items()
    ]
    values = {
        "POLICY": html.escape(policy, quote=True),
        "TITLE": html.escape(data["title"]),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": content.replace("<", "\\u003c"),
        "IMAGES": "\n".join(image_elements),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    return re.sub("@@([A-Z]+)@@", lambda found: values[found.group(1)], template)


def _source_hash(source: str) -> str:
    """The hash of a style or script in the form of a content security policy."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _without_nan(value: Any) -> Any:
    """The same nested value with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
