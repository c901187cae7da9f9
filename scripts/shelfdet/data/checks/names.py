"""Matches the image names that annotations state with the images that exist.

Tools, file systems and conversions change names: upper and lower case, composed or decomposed
accents, spaces at the ends, the suffix after a conversion to JPEG. Where one image alone can be
meant, it is taken, and the caller reports it.
"""

import collections
import os
import pathlib
import unicodedata
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple

from shelfdet.core.text import counted, listed, plural, shown
from shelfdet.data import images
from shelfdet.data.formats import ImagesByName

SHOWN_PAIRS = 5

_NAMED_SUFFIXES = images.SUFFIXES + tuple(images.OTHER_KINDS)


class Matched(NamedTuple):
    """What ``match`` returns.

    annotated: the annotated images, under the names of the images that exist where one matches.
    renamed: name in the annotations to the image that it means, of those whose names differ.
    """

    annotated: ImagesByName
    renamed: Dict[str, str]


def match(annotated: ImagesByName, image_names: Iterable[str]) -> Matched:
    """Gives annotated images without a file of their exact name that of their only possible one.

    A name that differs in case, accents and spaces comes first, one that also differs in its suffix
    second. An image that is annotated under its own name, or that several names could mean, is
    never taken.
    """
    renamed: Dict[str, str] = {}
    for key_of in (_name_key, _stem_key):
        # In the second round, the files that the first has given away are taken, too.
        taken = set(annotated) | set(renamed.values())
        free = _by_key((name for name in image_names if name not in taken), key_of)
        existing = set(image_names)
        wanted = _by_key(
            (name for name in annotated if name not in existing and name not in renamed), key_of
        )
        for key, written in wanted.items():
            if len(written) == 1 and len(free.get(key, ())) == 1:
                renamed[written[0]] = free[key][0]
    result = collections.OrderedDict()
    for name, image in annotated.items():
        name = renamed.get(name, name)
        result[name] = image._replace(filename=name)
    return Matched(result, renamed)


def renamed_report(renamed: Mapping[str, str]) -> str:
    """A sentence on the names that ``match`` changed; empty if there are none."""
    if not renamed:
        return ""
    pairs = listed(f"{_visible(old)} is {_visible(new)}" for old, new in renamed.items())
    return (
        f"{counted(len(renamed), 'annotated name differs', 'annotated names differ')} from those "
        "of the images in case, accents, spaces or suffix, and "
        f"{plural(len(renamed), 'was', 'were')} matched: {pairs}"
    )


def not_used_reasons(missing: Iterable[str], not_used: Mapping[str, str]) -> Dict[str, str]:
    """Why annotated images that are there are not among the dataset's: annotated name to reason.

    Args:
      missing: annotated names without an image.
      not_used: name of a file that is not read as an image of the dataset to the reason, a sentence
        without a full stop.
    """
    by_name = _by_key(not_used, _name_key)
    by_stem = _by_key(not_used, _stem_key)
    found = {}
    for name in missing:
        files = by_name.get(_name_key(name)) or by_stem.get(_stem_key(name))
        if files:
            found[name] = not_used[files[0]]
    return found


def similar(missing: Iterable[str], image_names: Iterable[str]) -> str:
    """Sentences, each after a space, on images that differ from missing ones as ``match`` allows.

    They were not matched, because more than one annotated name could mean them.
    """
    existing = _by_key(image_names, _name_key)
    existing_stems = _by_key(image_names, _stem_key)
    pairs = []
    for name in missing:
        images_found = existing.get(_name_key(name)) or existing_stems.get(_stem_key(name))
        if images_found:
            pairs.append(f"{listed(map(_visible, images_found), 3)} for {_visible(name)}")
    if not pairs:
        return ""
    return (
        f" There is {listed(pairs, SHOWN_PAIRS)}; it was not taken, because more than one "
        "annotated name could mean it, or because it is one of several such images."
    )


def in_folders(image_paths: Mapping[str, pathlib.Path], root: pathlib.Path) -> Dict[str, str]:
    """Name of an image to what messages call it, its path from a folder.

    Args:
      image_paths: name of each image to its path.
      root: the folder; where it does not hold all images, they are named from the one that does.
    """
    if not image_paths:
        return {}
    parents = {path.parent for path in image_paths.values()}
    folder = pathlib.Path(os.path.commonpath([str(parent) for parent in parents]))
    if root in folder.parents:
        folder = root
    shown_parents = {parent: parent.relative_to(folder) for parent in parents}
    return {
        name: (shown_parents[path.parent] / name).as_posix() for name, path in image_paths.items()
    }


def _by_key(names: Iterable[str], key_of: Callable[[str], str]) -> Dict[str, List[str]]:
    found: Dict[str, List[str]] = collections.defaultdict(list)
    for name in names:
        found[key_of(name)].append(name)
    return found


def _name_key(name: str) -> str:
    """``name`` without case, composition of accents, kinds of spaces, and spaces at the ends."""
    path = pathlib.PurePath(" ".join(unicodedata.normalize("NFC", name).split()).casefold())
    # The space may be before the suffix: "a .jpg".
    return path.stem.strip() + path.suffix.strip()


def _stem_key(name: str) -> str:
    """``_name_key`` without the suffix of an image."""
    key = _name_key(name)
    suffix = pathlib.PurePath(key).suffix
    return key[: -len(suffix)] if suffix in _NAMED_SUFFIXES else key


def _visible(name: str) -> str:
    """``name`` in quotes; in ASCII where two names that look alike would be shown."""
    same = unicodedata.normalize("NFC", name) == name and not name.startswith(" ")
    return shown(name) if same and " ".join(name.split()) == name else f"{name!a}"
