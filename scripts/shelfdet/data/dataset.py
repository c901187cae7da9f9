"""A dataset as people have it: where its images and annotations lie, which side an image is on, what is missing."""

import collections
import pathlib

from shelfdet import UserError
from shelfdet.core.text import Problems, name_problem
from shelfdet.data import formats_labels_tmp, images, splits, validation

# The Grocery Dataset (Varol and Kuzu 2014), by its official split.
GROCERY_TRAIN, GROCERY_TEST = 283, 71

Annotations = collections.namedtuple("Annotations", "format files")
Annotations.__doc__ = """Where annotations are.

format: one of formats_labels_tmp.READERS. files: one CSV or JSON, or all the XML files."""

Findings = collections.namedtuple("Findings", "infos broken without_image without_rows boxes")
Findings.__doc__ = """What ``verify`` found.

infos: {name: images.ImageInfo} of the images that decode. broken: {name: why} of those that do not.
without_image: annotated names that are not there. without_rows: images that the annotations do not mention.
boxes: {name: number of boxes annotated}."""


def find_images(folder):
    """The images of a dataset, which has ``train/`` and ``test/`` or is flat; also one level down, in ShelfImages/ or images/.

    Returns:
      {"train": {name: path}, "test": {name: path}}, or {"all": {name: path}} of a flat folder.

    Raises:
      UserError: no such folder, no images, one side without images, names that no label file can hold.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; expected a folder with images and annotations. Check the path."
        )
    places = (folder, folder / "ShelfImages", folder / "images")
    for place in places:
        if (place / "train").is_dir() or (place / "test").is_dir():
            sides = {side: _by_name(place / side) for side in ("train", "test")}
            for side in sides:
                if not sides[side]:
                    raise UserError(
                        f"{place / side}: holds no image; expected JPEG, PNG, BMP or GIF files in train/ and in test/. Put some there, or give a flat folder, which is divided."
                    )
            images.sides(place)  # refuses a name that stands on both sides
            return sides
    for place in places:
        if place.is_dir():
            flat = _by_name(place)
            if flat:
                return {"all": flat}
    raise UserError(
        f"{folder}: holds no images; expected train/ and test/ with JPEG, PNG, BMP or GIF files (in it, in ShelfImages/ or in images/), or such files themselves. Check the path."
    )


def _by_name(folder):
    found = collections.OrderedDict()
    problems = Problems(folder)
    for path in images.list_images(folder):
        problem = name_problem(path.name)
        if problem:
            problems.add("", problem + ".")
        found[path.name] = path
    problems.refuse()
    return found


def find_annotations(folder, image_folders):
    """The one set of annotations in a dataset's folder.

    Args:
      folder: where to look for a .csv, a .json (also in annotations/) and .xml files (also in annotations/).
      image_folders: where else .xml files may lie: beside their images.

    Raises:
      UserError: none, or several between which only a person can choose.
    """
    folder = pathlib.Path(folder)
    homes = [folder] + ([folder.parent] if folder.name == "ShelfImages" else [])
    subfolders = [home / name for home in homes for name in ("annotations", "Annotations")]
    found = _ending(homes, ".csv") + _ending(homes + subfolders, ".json")
    xml = _ending(homes + subfolders + list(image_folders), ".xml")
    if not found and not xml:
        raise UserError(
            f"{folder}: no annotations there; expected annotations.csv, annotations.json (COCO), or .xml files (Pascal VOC) in annotations/ or beside the images. Put them there or name them with --annotations."
        )
    if len(found) + bool(xml) > 1:
        raise UserError(
            f"{folder}: several annotations: {', '.join(str(path) for path in found + [path.parent for path in xml[:1]])}. Expected one; name it with --annotations."
        )
    return (
        Annotations("voc", xml)
        if xml
        else Annotations(formats_labels_tmp.recognised(found[0]), found)
    )


def named_annotations(path, format="auto"):
    """The annotations at ``path``, a file or a folder of XML.

    "auto" leaves the format to ``formats_labels_tmp.recognised``.

    Raises:
      UserError: nothing there, or something else than the format says.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected annotations. Check the path.")
    if format == "auto":
        format = formats_labels_tmp.recognised(path)
    if path.is_dir() != (format == "voc"):
        raise UserError(
            "{}: is a {}; expected a {} for --format {}.".format(
                path,
                *("folder", "file") if path.is_dir() else ("file", "folder of XML files"),
                format,
            )
        )
    found = _ending([path], ".xml") if format == "voc" else [path]
    if not found:
        raise UserError(
            f"{path}: holds no .xml file; expected Pascal VOC XML, one file an image. Check the path."
        )
    return Annotations(format, found)


def _ending(folders, suffix):
    found = (
        collections.OrderedDict()
    )  # by what it is, since annotations/ and Annotations/ can be one folder
    for folder in folders:
        try:
            paths = sorted(folder.iterdir()) if folder.is_dir() else ()
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read ({error.strerror}); expected a folder of images or annotations. Mend its permissions."
            ) from error
        for path in paths:
            if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file():
                found.setdefault(path.resolve(), path)
    return list(found.values())


def verify(pictures, annotations):
    """Decodes every image to its end, on all cores, and compares their names with the annotations.

    Args:
      images: {name: path}.
      annotations: Annotations.

    Returns:
      Findings.

    Raises:
      UserError: annotations that cannot be read, by line.
    """
    boxes = _boxes(annotations, pictures)
    infos, broken = validation.inspect_all(pictures)
    return Findings(
        infos,
        broken,
        [name for name in boxes if name not in pictures],
        [name for name in pictures if name not in boxes],
        boxes,
    )


def _boxes(annotations, pictures):
    # {name: number of boxes}; XML files may lie in several folders, each of which is read.
    boxes = collections.OrderedDict()
    places = annotations.files
    if annotations.format == "voc":
        places = list(collections.OrderedDict.fromkeys(path.parent for path in places))
    for place in places:
        problems = Problems(place)
        found = formats_labels_tmp.READERS[annotations.format](
            place, pictures, problems, validation.ONE_CLASS
        )
        problems.refuse()
        boxes.update((name, len(picture.rows)) for name, picture in found.items())
    return boxes


def is_grocery_dataset(pictures, boxes):
    """Whether this is the Grocery Dataset, whole or in part: its names throughout, and 354 images or annotated names."""
    names = set(pictures) | set(boxes)
    whole = GROCERY_TRAIN + GROCERY_TEST
    return whole in (len(pictures), len(boxes)) and all(splits.scene(name) for name in names)
