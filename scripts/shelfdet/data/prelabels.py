"""Pre-labels: detections as annotations that a person corrects in a labelling tool.

FOLDER/images/ holds links to the images. Formats with one file an image have it beside each image,
the others have FOLDER/annotations.json or .xml. FOLDER/.prelabels.json holds the SHA-256 of each
file as it was written here: a file of another content has been edited, and is never replaced.
"""

import collections
import json
import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.make_variables import both
from shelfdet.core.text import Problems, counted, listed, plural
from shelfdet.data.formats import coco, cvat, labelme, labelstudio, voc, yolo
from shelfdet.data.formats.image_boxes import BoxRow, ImageBoxes

if TYPE_CHECKING:  # it loads NumPy, which --help must not
    from shelfdet.data.detections import Detections

IMAGES = "images"
MANIFEST = ".prelabels.json"
# Format to where its annotations are in the folder; {stem} is the name of an image without suffix.
ANNOTATION_FILES = collections.OrderedDict(
    [
        ("voc", "images/{stem}.xml"),
        ("coco", "annotations.json"),
        ("yolo", "images/{stem}.txt"),
        ("labelme", "images/{stem}.json"),
        ("cvat", "annotations.xml"),
        ("labelstudio", "annotations.json"),
    ]
)
FORMATS = tuple(ANNOTATION_FILES)
CLASS_LIST = "images/classes.txt"  # of yolo, whose label files hold numbers
LABEL_CONFIG = "label_config.xml"  # the labelling interface of a project in Label Studio

# Files are written here first. The name begins with a dot, so that no step reads it.
_PARTIAL = ".prelabels.partial"


class Plan(NamedTuple):
    """What ``plan`` found.

    folder, format: as they were named.
    labels: names of the classes, in the order of their ids.
    images: name in the folder to the image's file, of those to detect in.
    kept: names of images whose annotations have been edited since they were written, or were not
      written here.
    """

    folder: pathlib.Path
    format: str
    labels: Sequence[str]
    images: Dict[str, pathlib.Path]
    kept: List[str]


class Written(NamedTuple):
    """How many images and boxes ``write`` has written."""

    images: int
    boxes: int


def is_one_file_an_image(format: str) -> bool:
    return "{stem}" in ANNOTATION_FILES[format]


def plan(
    folder: pathlib.Path, format: str, labels: Sequence[str], image_paths: Iterable[pathlib.Path]
) -> Plan:
    """Checks, before detection, that pre-labels can be written without replacing edited files.

    Args:
      folder: for the pre-labels; new, empty, or with earlier ones of this format.
      format: one of FORMATS.
      labels: names of the classes, in the order of their ids.
      image_paths: the images.

    Raises:
      UserError: ``folder`` holds other files, or pre-labels of another format; the one file of
        annotations has been edited; two images would have one name; nothing is left to write.
    """
    images = by_name(folder, format, image_paths)
    recorded = _read_manifest(folder, format)
    _check_links(folder, images)
    if format == "yolo":
        _check_class_list(folder, labels)
    edited = {name for name in images if _is_edited(folder, _file_of(format, name), recorded)}
    if edited and not is_one_file_an_image(format):
        raise UserError(
            f"{folder / ANNOTATION_FILES[format]}: has been edited since it was written here; "
            "expected it unchanged, to replace it. Name a new folder for these pre-labels with "
            f"{both('--prelabel')}."
        )
    kept = [name for name in images if name in edited]
    if len(kept) == len(images):
        raise UserError(
            f"{folder}: the annotations of {_all_of(len(images))} have been edited since they "
            f"were written here ({listed(kept)}); expected images without, or unchanged ones. Name "
            f"other images, or a new folder with {both('--prelabel')}."
        )
    remaining = {name: path for name, path in images.items() if name not in edited}
    return Plan(folder, format, labels, remaining, kept)


def kept_report(planned: Plan) -> str:
    """Which images keep the annotations that they have; empty where there are none."""
    if not planned.kept:
        return ""
    count = len(planned.kept)
    return (
        f"{planned.folder}: skipped {counted(count, 'image')} whose annotations have been edited "
        f"since they were written here: {listed(planned.kept)}"
    )


def write(planned: Plan, detected: "Iterable[Detections]", threshold: float) -> Written:
    """Writes the detections from a score on, and links to their images.

    A file is complete or as it was before. A program that is killed in between leaves some files
    new and some old; the next run replaces all of them.

    Args:
      planned: what ``plan`` returned. An image whose annotations have been edited since is skipped.
      detected: of images of the plan, perhaps with folders in their names.
      threshold: the lowest score of a product.

    Raises:
      UserError: the folder cannot be written.
    """
    # Label Studio has predictions with scores, which a person submits as annotations.
    has_scores = planned.format == "labelstudio"
    images = [_image_boxes(image, threshold, has_scores) for image in detected]
    folder = planned.folder
    partial = folder / _PARTIAL
    try:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        with files.locked(partial):
            shutil.rmtree(str(partial), ignore_errors=True)  # of a program that was killed
            (partial / IMAGES).mkdir(parents=True)
            write_files(images, partial, planned.format, planned.labels, has_scores)
            for image in images:
                _link(folder / IMAGES / image.filename, planned.images[image.filename])
            _put_in_place(planned, partial)
            shutil.rmtree(str(partial))
    except OSError as error:
        raise UserError(files.writing_failed(folder, error)) from error
    return Written(len(images), sum(len(image.rows) for image in images))


def write_files(
    images: Sequence[ImageBoxes],
    folder: pathlib.Path,
    format: str,
    labels: Sequence[str],
    are_predictions: bool,
) -> None:
    """Writes all files of annotations of a format into ``folder``, which has IMAGES in it.

    Args:
      images: with sizes, and boxes in pixels.
      folder, format, labels: as in ``plan``.
      are_predictions: for Label Studio, whether a person still has to submit the boxes.
    """
    file = folder / ANNOTATION_FILES[format]
    if format == "voc":
        voc.write(images, folder / IMAGES)
    elif format == "yolo":
        yolo.write(images, folder / IMAGES, labels)
    elif format == "labelme":
        labelme.write(images, folder / IMAGES)
    elif format == "coco":
        label_map = {label: number for number, label in enumerate(labels, start=1)}
        coco.write(images, file, label_map=label_map)
    elif format == "cvat":
        cvat.write(images, file, by_hand=not are_predictions)
    else:
        assert format == "labelstudio", format
        address = f"{labelstudio.LOCAL_FILES}{IMAGES}/"
        labelstudio.write(images, file, predictions=are_predictions, address=address)
        files.write_text(folder / LABEL_CONFIG, labelstudio.label_config(labels))


def unchanged(paths: Iterable[pathlib.Path]) -> List[pathlib.Path]:
    """Those of some files of annotations that are exactly as ``write`` wrote them."""
    manifests: Dict[pathlib.Path, Dict[str, List[str]]] = {}
    found = []
    for path in paths:
        real = path.resolve()
        for home in (real.parent, real.parent.parent):
            if home not in manifests:
                manifests[home] = _recorded(home / MANIFEST)
            digests = manifests[home].get(real.relative_to(home).as_posix())
            if digests and files.sha256(real) in digests:
                found.append(path)
    return found


def unchanged_report(paths: Sequence[pathlib.Path]) -> str:
    """A warning of annotations that nobody has corrected; empty where there are none."""
    found = unchanged(paths)
    if not found:
        return ""
    count = len(found)
    return (
        f"warning: {count} of {counted(len(paths), 'file')} of annotations "
        f"{plural(count, 'is', 'are')} exactly as `make prelabel` wrote "
        f"{plural(count, 'it', 'them')}: {listed(path.name for path in found)}. Expected files "
        "that a person has corrected, because a detector learns nothing from its own detections, "
        "and scores on them mean nothing. Correct them or, where all boxes are right, save them in "
        "the labelling tool; remove the images that nobody has checked."
    )


def _all_of(count: int) -> str:
    return "the image" if count == 1 else f"all {count} images"


def _file_of(format: str, name: str) -> str:
    """The annotations of an image, relative to the folder."""
    return ANNOTATION_FILES[format].format(stem=pathlib.PurePath(name).stem)


def by_name(
    folder: pathlib.Path, format: str, image_paths: Iterable[pathlib.Path]
) -> Dict[str, pathlib.Path]:
    """The images by their names without folders.

    Raises:
      UserError: two have one name, or one file of annotations.
    """
    problems = Problems(folder)
    images: Dict[str, pathlib.Path] = {}
    first: Dict[str, pathlib.Path] = {}
    for path in image_paths:
        # Some file systems do not distinguish upper and lower case.
        key = _file_of(format, path.name) if is_one_file_an_image(format) else path.name
        other = first.setdefault(key.lower(), path)
        if other is not path:
            problems.add(
                "",
                f"{other} and {path} would both have {key}; expected images of different names, "
                "also those in different folders. Rename one.",
            )
        images[path.name] = path
    problems.refuse()
    return images


def _read_manifest(folder: pathlib.Path, format: str) -> Dict[str, List[str]]:
    """The digests of the files that were written into ``folder``; empty where it is new.

    Raises:
      UserError: it holds other files, or pre-labels of another format.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; expected a folder for the pre-labels. Name another.")
    manifest = folder / MANIFEST
    if manifest.is_file():
        written = files.read_json(manifest)["format"]
        if written != format:
            raise UserError(
                f"{folder}: holds pre-labels of the format {written}; expected {format}, or a "
                f"new folder. Name another with {both('--prelabel')}."
            )
        return _recorded(manifest)
    present = []
    if folder.is_dir():
        present = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    # A program that was killed before it wrote the manifest leaves the folder of the links.
    if present == [IMAGES] and (folder / IMAGES).is_dir():
        present = [
            path.name for path in sorted((folder / IMAGES).iterdir()) if not path.is_symlink()
        ]
    if present:
        raise UserError(
            f"{folder}: holds files that were not written here ({listed(present)}); expected a new "
            f"or empty folder, or one with earlier pre-labels. Name another with "
            f"{both('--prelabel')}."
        )
    return {}


def _recorded(manifest: pathlib.Path) -> Dict[str, List[str]]:
    return files.read_json(manifest)["files"] if manifest.is_file() else {}


def _is_edited(folder: pathlib.Path, name: str, recorded: Mapping[str, List[str]]) -> bool:
    """Whether a file of annotations is there and is not as it was written."""
    path = folder / name
    return path.exists() and files.sha256(path) not in recorded.get(name, ())


def _check_links(folder: pathlib.Path, images: Mapping[str, pathlib.Path]) -> None:
    """Refuses images in the folder that have the name of another image."""
    for name, path in images.items():
        link = folder / IMAGES / name
        if link.exists() and not link.samefile(path):
            raise UserError(
                f"{link}: is {link.resolve()}; expected {path}, or no image of this name. Name a "
                f"new folder with {both('--prelabel')}."
            )


def _check_class_list(folder: pathlib.Path, labels: Sequence[str]) -> None:
    """Refuses classes.txt that a tool has changed so that numbers mean other classes."""
    path = folder / CLASS_LIST
    if not path.is_file():
        return
    found = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if found[: len(labels)] != list(labels):
        raise UserError(
            f"{path}: begins with {listed(found[: len(labels)])}; expected {listed(labels)}, the "
            f"classes of the graph. Name a new folder with {both('--prelabel')}."
        )


def _image_boxes(image: "Detections", threshold: float, has_scores: bool) -> ImageBoxes:
    """The boxes of an image from a score on, in whole pixels, as labelling tools draw them."""
    rows = []
    for box_xyxy, score, label in zip(image.boxes_xyxy, image.scores, image.classes):
        xmin, ymin, xmax, ymax = (float(round(side)) for side in box_xyxy)
        if score >= threshold and xmin < xmax and ymin < ymax:
            written_score: Optional[float] = float(score) if has_scores else None
            rows.append(BoxRow("", label, (xmin, ymin, xmax, ymax), written_score))
    return ImageBoxes(pathlib.PurePath(image.filename).name, "", image.size_wh, rows)


def _link(link: pathlib.Path, path: pathlib.Path) -> None:
    if link.exists():
        return  # ``plan`` has checked that it is this image
    if link.is_symlink():
        link.unlink()  # the image was moved
    link.symlink_to(path.resolve())


def _put_in_place(planned: Plan, partial: pathlib.Path) -> None:
    """Moves the files of ``partial`` over those that nobody has edited."""
    folder = planned.folder
    recorded = _recorded(folder / MANIFEST)
    written = sorted(path for path in partial.rglob("*") if path.is_file())
    names = [path.relative_to(partial).as_posix() for path in written]
    # Detection takes minutes, in which a person may have edited.
    names = [name for name in names if not _is_edited(folder, name, recorded)]
    digests = {name: files.sha256(partial / name) for name in names}
    # If the program is killed in between, files of either content are its own.
    both_digests = {name: recorded.get(name, [])[-1:] + [digests[name]] for name in names}
    _write_manifest(planned, {**recorded, **both_digests})
    for name in names:
        os.replace(str(partial / name), str(folder / name))
    _write_manifest(planned, {**recorded, **{name: [digests[name]] for name in names}})


def _write_manifest(planned: Plan, digests: Mapping[str, List[str]]) -> None:
    content = {
        "about": "SHA-256 of each file as `make prelabel` wrote it: others have been edited",
        "format": planned.format,
        "files": digests,
    }
    files.write_text(planned.folder / MANIFEST, json.dumps(content, indent=1) + "\n")
