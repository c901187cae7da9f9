"""Recognises by their keys the kinds of JSON that labelling tools write and nothing here reads."""

from typing import Any, NamedTuple, Optional, Tuple

from shelfdet.core.make_variables import both
from shelfdet.core.text import listed, shown


class _Kind(NamedTuple):
    """A kind of JSON: its name, the keys that its objects all have, and how to get another."""

    title: str
    keys: Tuple[str, ...]
    advice: str


_EXPORT = "Export the annotations as COCO or Pascal VOC."
_KINDS = (
    _Kind(
        "labelme JSON, one file an image",
        ("shapes", "imagePath"),
        f"Name their folder, with {both('--format labelme')}.",
    ),
    _Kind(
        "JSON of the VGG Image Annotator (VIA)",
        ("_via_img_metadata",),
        f"Give {both('--format via')}.",
    ),
    _Kind(
        "JSON of the VGG Image Annotator (VIA)",
        ("filename", "regions"),
        f"Give {both('--format via')}.",
    ),
    _Kind("VoTT JSON", ("asset", "regions"), _EXPORT),
    _Kind("VoTT JSON", ("assets", "tags"), _EXPORT),
    _Kind("CreateML JSON", ("image", "annotations"), _EXPORT),
    _Kind("Label Studio JSON", ("data", "annotations"), f"Give {both('--format labelstudio')}."),
    _Kind("Label Studio JSON", ("data", "completions"), f"Give {both('--format labelstudio')}."),
    _Kind(
        "Supervisely JSON, one file an image",
        ("objects", "size"),
        f"Name their folder, with {both('--format supervisely')}.",
    ),
    _Kind("Labelbox JSON", ("data_row",), _EXPORT),
    _Kind("V7 Darwin JSON", ("item", "annotations"), _EXPORT),
    _Kind("BDD100K or Scalabel JSON", ("name", "labels"), _EXPORT),
    _Kind("GeoJSON", ("features",), _EXPORT),
)
ONE_FILE_AN_IMAGE = ("VoTT", "V7 Darwin")


class Recognised(NamedTuple):
    """Another kind of JSON than COCO's: its name, and what to do."""

    title: str
    advice: str

    def is_one_file_an_image(self) -> bool:
        return self.title.startswith(ONE_FILE_AN_IMAGE)


def recognise(content: Any) -> Optional[Recognised]:
    """What JSON is; None where it may be COCO's, or is of no kind that is known here.

    Args:
      content: the JSON: an object, a list of objects, or an object of objects by name.
    """
    samples = [content]
    if isinstance(content, list):
        samples = content[:1]
    elif isinstance(content, dict) and not _has_sections(content):
        samples += list(content.values())[:1]
    for sample in samples:
        for kind in _KINDS:
            if isinstance(sample, dict) and all(key in sample for key in kind.keys):
                if not _has_sections(sample):
                    return Recognised(kind.title, kind.advice)
    return None


def described(content: Any) -> str:
    """The keys of an object, or what it is else, for a message."""
    if isinstance(content, dict):
        return f"an object with {listed(map(shown, content))}" if content else "an empty object"
    return shown(content)


def _has_sections(content: Any) -> bool:
    """Whether an object has two of COCO's three sections."""
    return sum(key in content for key in ("images", "annotations", "categories")) >= 2
