"""One file of HTML that holds its data, images, style and script: the form of all pages.

Each page has a template NAME.html and NAME.js beside the evaluation scripts; page.html, around the
template, page.css and page.js there are of all of them.
"""

import base64
import hashlib
import html
import io
import json
import math
import pathlib
import re
from typing import Any, Dict

import numpy as np
from PIL import Image

from shelfdet.core import paths

FRAME = paths.EVALUATION / "page.html"
STYLE = paths.EVALUATION / "page.css"
SCRIPT = paths.EVALUATION / "page.js"


def encode_jpeg(pixels: np.ndarray, quality: int) -> str:
    """RGB pixels, uint8 (height, width, 3), as a JPEG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True, progressive=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def fill(template: pathlib.Path, data: Dict[str, Any], encoded: Dict[int, str]) -> str:
    """The frame of a page with its template, and everything else, in its place.

    Text of the user, such as a file name, must never run as a script. It goes in as JSON whose "<"
    are escaped, so that it cannot end the element it is in; and the page's content security policy
    allows its own style and script alone, by their hashes.

    Args:
      template: the .html file between header and data; its script is beside it.
      data: what the script shows, for JSON, with the page's "title".
      encoded: base64 of the JPEG of each image, by its index in ``data``.
    """
    style = STYLE.read_text(encoding="utf-8")
    own_script = template.with_suffix(".js").read_text(encoding="utf-8")
    script = SCRIPT.read_text(encoding="utf-8") + own_script
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
    values["BODY"] = template.read_text(encoding="utf-8").rstrip("\n")
    page = FRAME.read_text(encoding="utf-8")
    return re.sub("@@([A-Z]+)@@", lambda found: values[found.group(1)], page)


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
