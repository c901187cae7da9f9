"""Labels with marks, for a labelling tool: a folder of the images that a person should look at.

The folder is as ``prelabels`` describes it. It is replaced as a whole, but never where a person has
changed a file in it since.
"""

import json
import pathlib
from typing import Dict, List, Mapping, Sequence

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.make_variables import both
from shelfdet.core.text import listed
from shelfdet.data import prelabels
from shelfdet.data.formats import ImageBoxes

MANIFEST = ".suspects.json"  # SHA-256 of each file as it was written here


def write(
    folder: pathlib.Path,
    format: str,
    labels: Sequence[str],
    images: Sequence[ImageBoxes],
    image_paths: Mapping[str, pathlib.Path],
) -> None:
    """Writes the annotations of ``images``, and links to their files.

    Args:
      folder: new, empty, or with what this function wrote and nobody has changed.
      format: one of prelabels.FORMATS.
      labels: names of the classes and marks, in the order of their ids.
      images: with sizes, and boxes in pixels.
      image_paths: name of each image to its file.

    Raises:
      UserError: ``folder`` holds changed or other files, or cannot be written; two images would
        have one file of annotations.
    """
    refuse_changed(folder)
    prelabels.by_name(folder, format, image_paths.values())  # refuses equal ones
    with files.replacing(folder) as partial:
        (partial / prelabels.IMAGES).mkdir(parents=True)
        prelabels.write_files(images, partial, format, labels, are_predictions=False)
        digests = {
            path.relative_to(partial).as_posix(): files.sha256(path) for path in _files_in(partial)
        }
        content = {"about": "SHA-256 of each file as `make suspects` wrote it", "files": digests}
        files.write_text(partial / MANIFEST, json.dumps(content, indent=1) + "\n")
        for image in images:
            link = partial / prelabels.IMAGES / image.filename
            link.symlink_to(image_paths[image.filename].resolve())
        refuse_changed(folder)  # writing takes a while, in which a person may have saved


def refuse_changed(folder: pathlib.Path) -> None:
    """Refuses a folder in which a person has changed or added files.

    Raises:
      UserError: it is such a folder, or a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; expected a folder for annotations. Name another.")
    changed = _changed(folder)
    if changed:
        raise UserError(
            f"{folder}: holds files that were changed or added since they were written here "
            f"({listed(changed)}); expected a new folder, or one without changes. Name another "
            f"with {both('--marked')}; {both(f'--corrected {folder}')} of step 01 takes these "
            "corrections back."
        )


def _changed(folder: pathlib.Path) -> List[str]:
    """The files in a folder that are not as ``write`` wrote them."""
    manifest = folder / MANIFEST
    digests: Dict[str, str] = files.read_json(manifest)["files"] if manifest.is_file() else {}
    return [
        name
        for name, path in (
            (path.relative_to(folder).as_posix(), path) for path in _files_in(folder)
        )
        if digests.get(name) != files.sha256(path)
    ]


def _files_in(folder: pathlib.Path) -> List[pathlib.Path]:
    """The files below a folder, without links and dot files."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    ]
