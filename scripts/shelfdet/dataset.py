"""A dataset as people have it: where its pictures and annotations lie, which side a picture is on, what is missing."""

import collections
import hashlib
import math
import pathlib

from shelfdet import UserError, formats, images, parallel, splits
from shelfdet.reading import Problems, name_problem

# The Grocery Dataset (Varol and Kuzu 2014), by its official split.
GROCERY_TRAIN, GROCERY_TEST = 283, 71
NAMED = 10                            # names of pictures that a message lists before it counts

Annotations = collections.namedtuple("Annotations", "format files")
Annotations.__doc__ = """Where annotations are.

format: one of formats.READERS. files: one CSV or JSON, or all the XML files."""

Findings = collections.namedtuple("Findings", "infos broken without_picture without_rows boxes")
Findings.__doc__ = """What ``verify`` found.

infos: {name: images.ImageInfo} of the pictures that decode. broken: {name: why} of those that do not.
without_picture: annotated names that are not there. without_rows: pictures that the annotations do not mention.
boxes: {name: number of boxes annotated}."""


def find_pictures(folder):
    """The pictures of a dataset, which has ``train/`` and ``test/`` or is flat; also one level down, in ShelfImages/ or images/.

    Returns:
      {"train": {name: path}, "test": {name: path}}, or {"all": {name: path}} of a flat folder.

    Raises:
      UserError: no such folder, no pictures, one side without pictures, names that no label file can hold.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError("{}: {}; expected a folder with pictures and annotations. Check the path.".format(
            folder, "is a file" if folder.exists() else "no such folder"))
    places = (folder, folder / "ShelfImages", folder / "images")
    for place in places:
        if (place / "train").is_dir() or (place / "test").is_dir():
            sides = {side: _by_name(place / side) for side in ("train", "test")}
            for side in sides:
                if not sides[side]:
                    raise UserError("{}: holds no picture; expected JPEG, PNG, BMP or GIF files in train/ and in test/. "
                                    "Put some there, or give a flat folder, which is divided.".format(place / side))
            images.sides(place)               # refuses a name that stands on both sides
            return sides
    for place in places:
        if place.is_dir():
            flat = _by_name(place)
            if flat:
                return {"all": flat}
    raise UserError("{}: holds no pictures; expected train/ and test/ with JPEG, PNG, BMP or GIF files (in it, in "
                    "ShelfImages/ or in images/), or such files themselves. Check the path.".format(folder))


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


def hold_out(names, share, seed):
    """Divides flat pictures: at least ``share`` of them, by whole shelves, become test pictures.

    Args:
      names: file names; one outside the C_P_N_S scheme is a shelf of its own.
      share: above 0 and below 1.
      seed: int; which shelves.

    Returns:
      set of the test pictures' names.

    Raises:
      UserError: there are too few shelves to have some on either side.
    """
    groups = collections.defaultdict(list)
    for name in names:
        groups[splits.shelf(name)].append(name)
    # By hash: a picture that is added later moves no other one to the other side.
    order = sorted(groups, key=lambda group: hashlib.sha256("test {} {}".format(seed, group).encode()).hexdigest())
    taken = set()
    for group in order:
        if len(taken) >= math.ceil(share * len(names)):
            break
        taken.update(groups[group])
    if len(taken) == len(names):
        raise UserError("{} pictures show {} {}; expected enough to train on some and test on others. Add pictures, "
                        "lower --test-share, or divide them by hand into train/ and test/.".format(
                            len(names), len(groups), "shelf" if len(groups) == 1 else "shelves"))
    return taken


def find_annotations(folder, picture_folders):
    """The one set of annotations in a dataset's folder.

    Args:
      folder: where to look for a .csv, a .json (also in annotations/) and .xml files (also in annotations/).
      picture_folders: where else .xml files may lie: beside their pictures.

    Raises:
      UserError: none, or several between which only a person can choose.
    """
    folder = pathlib.Path(folder)
    homes = [folder] + ([folder.parent] if folder.name == "ShelfImages" else [])
    subfolders = [home / name for home in homes for name in ("annotations", "Annotations")]
    found = [Annotations("grocery", [path]) for path in _ending(homes, ".csv")]
    found += [Annotations("coco", [path]) for path in _ending(homes + subfolders, ".json")]
    xml = _ending(homes + subfolders + list(picture_folders), ".xml")
    found += [Annotations("voc", xml)] if xml else []
    if not found:
        raise UserError("{}: no annotations there; expected annotations.csv, annotations.json (COCO), or .xml files (Pascal "
                        "VOC) in annotations/ or beside the pictures. Put them there or name them with "
                        "--annotations.".format(folder))
    if len(found) > 1:
        raise UserError("{}: several annotations: {}. Expected one; name it with --annotations.".format(
            folder, ", ".join(str(one.files[0] if one.format != "voc" else one.files[0].parent) for one in found)))
    return found[0]


def named_annotations(path, format="auto"):
    """The annotations at ``path``, a file or a folder of XML.

    "auto" takes a .csv for "grocery", a .json for "coco" and a folder for "voc".

    Raises:
      UserError: nothing there, or something else than the format says.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError("{}: no such file or folder; expected annotations. Check the path.".format(path))
    if format == "auto":
        format = "voc" if path.is_dir() else {".csv": "grocery", ".json": "coco"}.get(path.suffix.lower())
        if format is None:
            raise UserError("{}: expected a .csv, a .json or a folder of XML files. Name what it is with --format.".format(
                path))
    if path.is_dir() != (format == "voc"):
        raise UserError("{}: is a {}; expected a {} for --format {}.".format(
            path, *("folder", "file") if path.is_dir() else ("file", "folder of XML files"), format))
    found = _ending([path], ".xml") if format == "voc" else [path]
    if not found:
        raise UserError("{}: holds no .xml file; expected Pascal VOC XML, one file a picture. Check the path.".format(
            path))
    return Annotations(format, found)


def _ending(folders, suffix):
    found = collections.OrderedDict()         # by what it is, since annotations/ and Annotations/ can be one folder
    for folder in folders:
        try:
            paths = sorted(folder.iterdir()) if folder.is_dir() else ()
        except OSError as error:
            raise UserError("{}: cannot be read ({}); expected a folder of pictures or annotations. Mend its "
                            "permissions.".format(folder, error.strerror)) from error
        for path in paths:
            if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file():
                found.setdefault(path.resolve(), path)
    return list(found.values())


def verify(pictures, annotations):
    """Decodes every picture to its end, on all cores, and compares their names with the annotations.

    Args:
      pictures: {name: path}.
      annotations: Annotations.

    Returns:
      Findings.

    Raises:
      UserError: annotations that cannot be read, by line.
    """
    boxes = _boxes(annotations, pictures)
    infos, broken = {}, {}
    from tqdm import tqdm
    with parallel.Workers() as workers:
        results = workers.map(_info_or_reason, [(str(path),) for path in pictures.values()])
        results = tqdm(results, desc="reading pictures", total=len(pictures), unit=" pictures", disable=None)
        for name, result in zip(pictures, results):
            (broken if isinstance(result, str) else infos)[name] = result
    return Findings(infos, broken, [name for name in boxes if name not in pictures],
                    [name for name in pictures if name not in boxes], boxes)


def _info_or_reason(path):
    try:
        return images.inspect(path)
    except UserError as error:
        return str(error)


def _boxes(annotations, pictures):
    # {name: number of boxes}; XML files may lie in several folders, each of which is read.
    boxes = collections.OrderedDict()
    places = annotations.files
    if annotations.format == "voc":
        places = list(collections.OrderedDict.fromkeys(path.parent for path in places))
    for place in places:
        problems = Problems(place)
        found = formats.READERS[annotations.format](place, pictures, problems, {"product": 1})
        problems.refuse()
        boxes.update((name, len(picture.rows)) for name, picture in found.items())
    return boxes


def is_grocery_dataset(pictures, boxes):
    """Whether this is the Grocery Dataset, whole or in part: its names throughout, and 354 pictures or annotated names."""
    names = set(pictures) | set(boxes)
    whole = GROCERY_TRAIN + GROCERY_TEST
    return whole in (len(pictures), len(boxes)) and all(splits.scene(name) for name in names)


def listed(names):
    """The first names and the count of the rest, for a message."""
    names = list(names)
    return ", ".join(names[:NAMED]) + (" ... and {} more".format(len(names) - NAMED) if len(names) > NAMED else "")
