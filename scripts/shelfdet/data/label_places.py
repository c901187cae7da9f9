"""Where the labels of a dataset are in the annotations that a person can correct.

Label files are made of annotations by step 02: who wants to correct a label has to change those, at
a line of a CSV, an <object> of an XML file, an entry of a JSON file.
"""

import pathlib
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, paths
from shelfdet.core.text import Problems, listed
from shelfdet.data import annotation_files, classes, dataset, formats
from shelfdet.data.checks import box_units, validation
from shelfdet.data.formats import ImageBoxes, ImagesByName, class_names

# A label and the box that it was made of differ by what was clipped.
SAME_BOX_IOU = 0.5

Box = Sequence[float]
Size = Tuple[int, int]


class LabelPlaces(NamedTuple):
    """The annotations of a dataset.

    described: what they are and where, for a person.
    images: name of an image to its boxes, in pixels, with their places.
    names_file: with the class names of YOLO's label files.
    """

    described: str
    images: ImagesByName
    names_file: Optional[pathlib.Path] = None

    def of(self, filename: str, label_xyxy: Optional[Box]) -> str:
        """The file and line, element or entry of a label; of its image where that is None.

        Empty where the annotations have no such label or image (any more).
        """
        image = self.images.get(filename)
        if image is None:
            return ""
        if label_xyxy is None:
            return image.place
        row = _nearest(image, label_xyxy)
        return "" if row is None else image.rows[row].place

    def classes(self) -> List[str]:
        """The names of the classes in the order of their numbers, where these are stated."""
        if self.names_file is not None:
            names = class_names.read(self.names_file).names
            if sorted(names) == list(range(len(names))):
                return [names[number] for number in range(len(names))]
        labels = (row.label for image in self.images.values() for row in image.rows)
        return classes.in_order(label or classes.PRODUCT for label in labels)


def read(name: str, sizes_wh: Mapping[str, Size]) -> LabelPlaces:
    """The annotations of a dataset that step 01 has put into place or, without them, its labels.

    Args:
      name: of the dataset.
      sizes_wh: name of each image in its label files to the size there.

    Raises:
      UserError: the label files cannot be read.
    """
    try:
        return _read_annotations(name, sizes_wh)
    except UserError:
        return _read_labels(name)  # they were moved since


def _read_annotations(name: str, sizes_wh: Mapping[str, Size]) -> LabelPlaces:
    found = dataset.find_placed(paths.dataset_images(name))
    annotations = _as_the_user_has_it(found.annotations)
    has_classes = paths.dataset_label_map(paths.dataset_annotations(name)) != paths.LABEL_MAP
    choice = classes.parse("keep") if has_classes else classes.ONE_CLASS
    image_paths = dataset.all_images(found.layout.images)
    annotated = validation.read(
        annotations.places(),
        annotations.format,
        image_paths,
        choice,
        Problems(annotations.root()),  # of labels that step 02 has left out
        report=_ignore,
        names_file=annotations.names_file,
    )
    images = _with_file(annotated, annotations)
    described = _described(annotations)
    if found.corrected is not None:
        corrected = _as_the_user_has_it(found.corrected)
        own = found._replace(corrected=corrected)
        images.update(
            _with_file(dataset.read_corrections(own, image_paths, choice, _ignore), corrected)
        )
        described += f"; corrected: {_described(corrected)}"
    in_pixels = {
        filename: box_units.to_pixels(images[filename], size_wh)
        for filename, size_wh in sizes_wh.items()
        if filename in images
    }
    return LabelPlaces(described, in_pixels, annotations.names_file)


def _ignore(line: str) -> None:
    """For what step 02 has reported."""


def _as_the_user_has_it(annotations: annotation_files.Annotations) -> annotation_files.Annotations:
    """Annotations with the files that step 01 has linked to.

    Not of one file an image: the user's folder may hold further files.
    """
    if annotations.is_one_file_an_image():
        return annotations
    return annotations._replace(files=[path.resolve() for path in annotations.files])


def _with_file(
    images: ImagesByName, annotations: annotation_files.Annotations
) -> Dict[str, ImageBoxes]:
    """Images whose places name their file, where one file is of all images."""
    if annotations.is_one_file_an_image() or len(annotations.files) > 1:
        return dict(images)  # these do
    file = annotations.files[0].name
    return {
        name: image._replace(
            place=f"{file}: {image.place}",
            rows=[row._replace(place=f"{file}: {row.place}") for row in image.rows],
        )
        for name, image in images.items()
    }


def _described(annotations: annotation_files.Annotations) -> str:
    places = [path.resolve() for path in annotations.files]
    if annotations.is_one_file_an_image():
        places = list(dict.fromkeys(path.parent for path in places))
    return f"{listed(map(str, places))} ({formats.FORMATS[annotations.format].title})"


def _read_labels(name: str) -> LabelPlaces:
    images: ImagesByName = {}
    files = [paths.labels(split, name) for split in paths.SPLITS]
    for path in files:
        problems = Problems(path)
        for filename, image in formats.read(path, "csv", problems).items():
            rows = [row._replace(place=f"{path.name}: {row.place}") for row in image.rows]
            place = f"{path.name}: {image.place}"
            images[filename] = image._replace(place=place, rows=rows)
        problems.refuse()
    return LabelPlaces(f"{listed(map(paths.shown, files))} (label files of step 02)", images)


def _nearest(image: ImageBoxes, label_xyxy: Box) -> Optional[int]:
    """The row that a label was made of, the first of equal ones; None where there is none."""
    rows = [number for number, row in enumerate(image.rows) if not row.left_out]
    if not rows:
        return None
    label = np.array([label_xyxy], dtype=float)
    overlaps = boxes.iou(label, np.array([image.rows[row].box_xyxy for row in rows]))[0]
    best = int(overlaps.argmax())
    return rows[best] if overlaps[best] >= SAME_BOX_IOU else None
