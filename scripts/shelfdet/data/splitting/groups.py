"""Images that show the same photograph: copies, augmented versions, equal files by other names.

Trained on one and tested on another, a detector would be scored on what it has seen. Which images
belong together is read from their names, from their bytes for files of equal size, and from what
they show (``near_duplicates``).
"""

import collections
import os
import pathlib
import re
import unicodedata
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set

from shelfdet.core import files
from shelfdet.core.text import counted, listed
from shelfdet.data.splitting import near_duplicates

SHOWN_GROUPS = 3
SHOWN_NAMES = 3  # of a group

# Endings (and beginnings) that tools give to versions of an image, whatever its own name is:
# Roboflow's export (NAME_jpg.rf.HASH), Augmentor (FOLDER_original_NAME.jpg_UUID), augmentation
# scripts (NAME_aug_2), and copies made in a file manager (NAME - Copy (2), Copy of NAME).
_VERSIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?P<source>.+?)(?:_(?:jpe?g|png|bmp|gif|webp|tiff?|heic))?\.rf\.[0-9a-z]{6,}$",
        r"^.*_original_(?P<source>.+)\.(?:jpe?g|png|bmp|gif)_[0-9a-f-]{36}$",
        r"^(?P<source>.+?)[-_. ]+aug(?:mented|mentation)?[-_. ]*\d*$",
        r"^(?P<source>.+?)[-_ ]+(?:copy|kopie|copie|copia|kopia|コピー)(?:[-_ ]*\(?\d+\)?)?$",
        r"^(?:copy|kopie|copie|copia) (?:of|von|de|di) (?P<source>.+)$",
    )
)
# These may be part of an ordinary name: "shelf (1)" to "shelf (90)" are ninety photographs renamed
# together. They make a version only of an image that is there by the shorter name.
_POSSIBLE_VERSIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?P<source>.+?) ?\(\d+\)$",
        r"^(?P<source>.+?) \d{1,2}$",
        r"^aug(?:mented)?[-_. ]*\d*[-_. ](?P<source>.+)$",
        r"^(?P<source>.+?)[-_. ]+(?:[hv]?flip(?:ped)?|mirror(?:ed)?|rot(?:ate|ated|ation)?|bright"
        r"(?:er|ness)?|dark(?:er)?|contrast|blur(?:red)?|nois[ey]|crop(?:ped)?|scaled?|zoom(?:ed)?|"
        r"shear(?:ed)?|gr[ae]y(?:scale)?|hue|saturation|jitter|cutout|edited|resized|small|orig"
        r"(?:inal)?)[-_. ]*-?\d*$",
    )
)


class Groups(NamedTuple):
    """Which images belong together.

    key_of: file name to the key of its group; the name itself for an image alone.
    versions: names of images that are versions of one source, a list for each source.
    identical: names of files of the same bytes, a list for each content.
    similar: names of near-duplicates, a list for each photograph.
    """

    key_of: Dict[str, str]
    versions: List[List[str]]
    identical: List[List[str]]
    similar: List[List[str]]


def find(
    image_paths: Mapping[str, pathlib.Path], known_group: Callable[[str], Optional[str]]
) -> Groups:
    """Finds the groups of images that have to stay on one side of a split.

    Args:
      image_paths: file name to path.
      known_group: what an image shows by a naming scheme, or None for a name outside it. Names of
        the scheme are believed: two that state different groups are not compared.

    Raises:
      UserError: an image cannot be decoded.
    """
    joined = _Joined(image_paths)
    by_scheme = collections.OrderedDict()
    for name in image_paths:
        group = known_group(name)
        if group is not None:
            by_scheme.setdefault(group, []).append(name)
    versions = _versions(image_paths)
    identical = _identical(image_paths)
    for names in [*by_scheme.values(), *versions, *identical]:
        joined.join(names)
    stated = {name for names in by_scheme.values() for name in names}
    similar = _Joined(image_paths)
    for pair in near_duplicates.find(image_paths):
        if not stated.issuperset(pair) and not joined.are_together(*pair):
            similar.join(pair)
    for names in similar.several():
        joined.join(names)
    keys = {names[0]: group for group, names in by_scheme.items()}
    return Groups(joined.keys(keys), versions, identical, similar.several())


def source_stem(stem: str, stems: Iterable[str] = ()) -> str:
    """The name without suffix of the image that ``stem`` is a version of; itself if of none.

    Args:
      stem: file name without suffix.
      stems: those of all images; only where the shorter name is among them, "NAME (1)" is a version
        of "NAME".
    """
    stems = set(stems)
    while True:
        match = _first_match(_VERSIONS, stem)
        if match is None:
            match = _first_match(_POSSIBLE_VERSIONS, stem)
            if match is None or match not in stems:
                return stem
        stem = match


def described(groups: Groups) -> List[str]:
    """Sentences on the images that belong together by name or by content."""
    lines = []
    for found, reason in (
        (groups.versions, "are versions of one image by their names"),
        (groups.identical, "are identical files"),
        (groups.similar, "are nearly the same: saved again, resized or slightly cropped"),
    ):
        if found:
            count = sum(len(names) for names in found)
            examples = listed([f"({listed(names, SHOWN_NAMES)})" for names in found], SHOWN_GROUPS)
            lines.append(f"{count} images in {counted(len(found), 'group')} {reason}: {examples}")
    return lines


def related(names: Iterable[str], others: Iterable[str], groups: Groups) -> Dict[str, str]:
    """The images of ``names`` that have a version or (nearly) the same in ``others``: name to it.

    Images that only a naming scheme puts together, such as photographs of one shelf, do not count.
    """
    others = set(others)
    found = {}
    relatives = collections.defaultdict(list)
    for group in groups.versions + groups.identical + groups.similar:
        for name in group:
            relatives[name] += group
    for name in names:
        other = next((other for other in relatives.get(name, ()) if other in others), None)
        if other is not None and name not in others:
            found[name] = other
    return found


def _first_match(patterns, stem: str) -> Optional[str]:
    for pattern in patterns:
        match = pattern.match(stem)
        if match is not None and match.group("source").strip():
            return match.group("source").strip()
    return None


def _versions(names: Iterable[str]) -> List[List[str]]:
    """Names of several images that have one source, by name."""
    stem_of = {
        name: unicodedata.normalize("NFC", pathlib.PurePath(name).stem.strip()).lower()
        for name in names
    }
    stems = set(stem_of.values())
    by_source: Dict[str, List[str]] = collections.OrderedDict()
    for name in names:
        by_source.setdefault(source_stem(stem_of[name], stems), []).append(name)
    return [group for group in by_source.values() if len(group) > 1]


def _identical(image_paths: Mapping[str, pathlib.Path]) -> List[List[str]]:
    """Names of several files that have the same bytes."""
    by_size = collections.defaultdict(list)
    for name, path in image_paths.items():
        by_size[os.path.getsize(str(path))].append(name)
    by_content: Dict[str, List[str]] = collections.OrderedDict()
    for names in by_size.values():
        # Files of different sizes differ; only the others are read.
        if len(names) > 1:
            for name in names:
                by_content.setdefault(files.sha256(image_paths[name]), []).append(name)
    return [names for names in by_content.values() if len(names) > 1]


class _Joined:
    """Sets of names, of which those that share a name become one."""

    def __init__(self, names: Iterable[str]):
        self._sets: Dict[str, Set[str]] = {name: {name} for name in names}

    def join(self, names: Iterable[str]) -> None:
        union = set().union(*(self._sets[name] for name in names))
        for name in union:
            self._sets[name] = union

    def are_together(self, name: str, other: str) -> bool:
        return other in self._sets[name]

    def several(self) -> List[List[str]]:
        """The sets of more than one name, each sorted."""
        unique = {id(members): members for members in self._sets.values() if len(members) > 1}
        return [sorted(members) for members in unique.values()]

    def keys(self, preferred: Dict[str, str]) -> Dict[str, str]:
        """Each name to the key of its set: a preferred one where it has any, else its first name.

        An image alone has its own name as key, and a group of the naming scheme the scheme's, so
        that groups that are found beside them do not change which of them are taken.
        """
        keys = {}
        # All members of a group share one set object, so its id stands for the group.
        key_of_set: Dict[int, str] = {}
        for name in sorted(self._sets):
            members = self._sets[name]
            if id(members) not in key_of_set:
                schemes = sorted(preferred[member] for member in members if member in preferred)
                key_of_set[id(members)] = schemes[0] if schemes else name
            keys[name] = key_of_set[id(members)]
        return keys
