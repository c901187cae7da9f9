"""Annotations of any format, checked against the images: boxes, classes, sizes, what is missing on either side."""

import collections
import unicodedata

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, parallel
from shelfdet.core.text import Problems, listed, shown
from shelfdet.data import formats_labels_tmp, images, labels

ONE_CLASS = {"product": 1}  # the label map where none is given
FEW_IMAGES = 8  # read here; more are worth starting processes


def read_annotations(
    path,
    pictures,
    format,
    label_map=None,
    out_of_image="clip",
    bad_boxes="refuse",
    allow_missing=False,
    empty_images="refuse",
    exif="ignore",
    say=print,
):
    """Reads annotations of one of formats_labels_tmp.READERS and checks them against the images.

    Args:
      path: the CSV or JSON file, or the folder of XML files.
      images: dict of file name -> path of every image there is.
      format: one of formats_labels_tmp.READERS.
      label_map: dict of class name -> id; None is one class, ``product``. With one class, every box is of that class,
        whatever the annotations call it; with several, they must name one of them ("grocery" in its brand column).
      out_of_image: "clip" cuts what sticks out of the image, "refuse" makes it an error.
      bad_boxes: inverted boxes, boxes without area and boxes wholly outside: "refuse" makes them an error, "drop"
        leaves them out.
      allow_missing: leave out rows whose image is not there, instead of an error.
      empty_images: images that the annotations do not mention: "refuse", "leave-out", or "keep" (they hold no
        product).
      exif: "ignore" measures raw pixels; "apply" the image as its EXIF flag turns it.
      say: called with a line of text for whatever was cut, dropped, left out or called otherwise.

    Returns:
      list of labels.LabelledImage, sorted by file name; boxes in the file's order, equal ones once.

    Raises:
      UserError: all that is wrong, with file and line (or element, or entry).
    """
    label_map = ONE_CLASS if label_map is None else label_map
    problems = Problems(path)
    found = formats_labels_tmp.READERS[format](path, pictures, problems, label_map)
    found, extra = _match(found, pictures, allow_missing, empty_images, problems, say)
    infos, broken = inspect_all(
        collections.OrderedDict((name, pictures[name]) for name in list(found) + extra)
    )
    for reason in broken.values():
        problems.add("", reason)
    sizes = _sizes(found, infos, exif, problems, say)
    check = _BoxCheck(problems, label_map, out_of_image, bad_boxes)
    result = [
        labels.labelled(
            name, sizes[name], check.picture(found[name], sizes[name]) if name in found else []
        )
        for name in sorted(sizes)
    ]
    check.unknown_classes()
    problems.refuse()
    check.tell(say)
    _tell_doubled(result, say)
    if not result:
        raise UserError(f"{path}: no image is left; expected at least one.")
    return result


class _BoxCheck:
    """Checks the boxes of one image after another, and counts what it cut and dropped."""

    def __init__(self, problems, label_map, out_of_image, bad_boxes):
        self._problems = problems
        self._label_map = label_map
        self._only_class = next(iter(label_map)) if len(label_map) == 1 else None
        self._clips = out_of_image == "clip"
        self._drops = bad_boxes == "drop"
        self._overhang = 0.0
        self._counts = collections.Counter()
        self._unknown = collections.OrderedDict()  # class -> places
        self._met = set()  # what the annotations call the only class

    def picture(self, picture, size_wh):
        """The good ones among a formats_labels_tmp.Image, inside the image, as a list of (class, box)."""
        kept = collections.OrderedDict()
        for where, cls, box in picture.rows:
            if box is None:
                self._counts["crowd"] += 1
                continue
            if self._only_class:
                self._met.add(cls)
                cls = self._only_class
            if cls not in self._label_map:
                self._unknown.setdefault(cls, []).append(where)
            else:
                box = self._inside(where, box, size_wh)
                if box is not None:
                    self._counts["twice"] += (cls, box) in kept
                    kept[cls, box] = None
        return list(kept)

    def unknown_classes(self):
        """Notes the classes that are not in the label map, each as one problem."""
        text = "class {}{}; expected {}. Mend it, or add the class to the label map."
        for cls, places in self._unknown.items():
            self._problems.add(
                places[0],
                text.format(
                    shown(cls),
                    f" (and {len(places) - 1} more of it)" if len(places) > 1 else "",
                    " or ".join(shown(name) for name in self._label_map),
                ),
            )

    def tell(self, say):
        """Says what was counted, and which classes were made one."""
        if self._met - {self._only_class}:
            say(
                "the label map has one class: {} of the annotations ({}) become{} {}".format(
                    "1 class" if len(self._met) == 1 else f"{len(self._met)} classes",
                    listed(name or "without a name" for name in sorted(self._met)),
                    "s" if len(self._met) == 1 else "",
                    self._only_class,
                )
            )
        clipped = "boxes stuck out of their image and were cut at its edge, by at most {:g} px"
        for key, text in (
            ("clipped", clipped.format(round(self._overhang, 2))),
            (
                "dropped",
                "boxes were dropped: inverted, without area, or wholly outside their image",
            ),
            ("twice", "boxes were dropped: equal to another of the same image"),
            ("crowd", "entries were left out: iscrowd marks a region, not one product"),
        ):
            if self._counts[key]:
                say(f"{self._counts[key]} {text}")

    def _inside(self, where, box, size_wh):
        xmin, ymin, xmax, ymax = box
        clipped = tuple(boxes.clip(box, size_wh)[0].tolist())
        if xmax <= xmin or ymax <= ymin or boxes.areas(clipped)[0] <= 0:
            kind = _kind(box)
            self._counts["dropped"] += 1
            if not self._drops:
                self._problems.add(
                    where,
                    f"{_described(box)} is {kind}{_of_image(kind, size_wh)}; expected xmin < xmax and ymin < ymax, inside the image. "
                    "Mend or delete "
                    "it, or give --bad-boxes drop.",
                )
            return None
        if clipped != box:
            self._counts["clipped"] += 1
            self._overhang = max(self._overhang, float(np.max(np.abs(np.subtract(box, clipped)))))
            if not self._clips:
                self._problems.add(
                    where,
                    "{} sticks out of the image, {} x {}; expected it inside. Mend it, or give "
                    "--out-of-image clip.".format(_described(box), *size_wh),
                )
                return None
        return clipped


def _tell_doubled(labelled, say):
    """Names the images in which products look labelled twice. They are kept: only a person can tell."""
    counts = [
        (image.filename, int(boxes.duplicates(image.boxes_xyxy, image.classes).sum()))
        for image in labelled
    ]
    total = sum(count for _, count in counts)
    if total:
        say(
            "{} boxes lie on another of their image (IoU over {:g}), as of a product that was labelled twice; they stay. Look at {}".format(
                total,
                boxes.DUPLICATE_IOU,
                listed(f"{name} ({count})" for name, count in counts if count),
            )
        )


def _match(found, known, allow_missing, empty_images, problems, say):
    """The annotated images that are there, and the names of those without annotations to be kept."""
    missing = [name for name in found if name not in known]
    if missing and not allow_missing:
        folded = {_folded(name): name for name in known}
        alike = [(name, folded[_folded(name)]) for name in missing if _folded(name) in folded]
        problems.add(
            "",
            "{} of {} annotated images are not there: {}.{} Expected every image. Put them there, or "
            "give --allow-missing to leave their rows out.".format(
                len(missing),
                len(found),
                listed(f"{name} ({found[name].where})" for name in missing),
                f" There is {shown(alike[0][1])} for {shown(alike[0][0])}." if alike else "",
            ),
        )
    elif missing:
        say(
            f"{len(missing)} annotated images are not there; their {sum(len(found[name].rows) for name in missing)} boxes were left out: {listed(missing)}"
        )
    extra = sorted(name for name in known if name not in found)
    if extra and empty_images == "refuse":
        problems.add(
            "",
            f"{len(extra)} of {len(known)} images have no annotations: {listed(extra)}. Expected some for every image: products without "
            "a box would be learned as background. Annotate them, or give --empty-images leave-out, or "
            "--empty-images keep if they show no product at all.",
        )
    elif extra:
        say(
            "{} images without annotations were {}: {}".format(
                len(extra),
                "kept, as images without products" if empty_images == "keep" else "left out",
                listed(extra),
            )
        )
    there = collections.OrderedDict(
        (name, picture) for name, picture in found.items() if name in known
    )
    return there, extra if empty_images == "keep" else []


def inspect_all(pictures):
    """Decodes every image to its end, on all cores where there are many.

    Args:
      images: {name: path}.

    Returns:
      ({name: images.ImageInfo} of those that decode, {name: why} of those that do not), in the order of ``images``.
    """
    tasks = [(path,) for path in pictures.values()]
    if len(tasks) <= FEW_IMAGES:
        results = [_info_or_reason(*task) for task in tasks]
    else:
        import tqdm

        with parallel.Workers() as workers:
            results = list(
                tqdm.tqdm(
                    workers.map(_info_or_reason, tasks),
                    desc="reading images",
                    total=len(tasks),
                    unit=" images",
                    leave=False,
                    disable=None,
                )
            )
    infos, broken = collections.OrderedDict(), collections.OrderedDict()
    for name, result in zip(pictures, results):
        (broken if isinstance(result, str) else infos)[name] = result
    return infos, broken


def _info_or_reason(path):
    try:
        return images.inspect(path)
    except UserError as error:
        return str(error)


def _sizes(found, infos, exif, problems, say):
    """{name: (width, height)} of every good image; a stated size that the image contradicts is a problem."""
    sizes = {}
    turned = collections.Counter()
    for name, info in infos.items():
        turned[info.orientation] += info.orientation != images.UPRIGHT
        sizes[name] = (
            info.size_wh[::-1] if exif == "apply" and info.orientation >= 5 else info.size_wh
        )
        stated_wh = found[name].stated_wh if name in found else None
        if stated_wh is not None and tuple(stated_wh) != sizes[name]:
            problems.add(
                found[name].where, _size_differs(name, stated_wh, sizes[name], info.orientation)
            )
    if sum(turned.values()):
        say(
            "{} images carry an EXIF orientation ({}); {}".format(
                sum(turned.values()),
                ", ".join(f"flag {flag}: {turned[flag]}" for flag in sorted(+turned)),
                "boxes are read as of the turned image"
                if exif == "apply"
                else "boxes are read as of the raw pixels (--exif apply if they were drawn in a viewer that turns)",
            )
        )
    return sizes


def _size_differs(name, stated_wh, size_wh, orientation):
    advice = "Annotate the image that is there, or put back the one that was annotated."
    if tuple(stated_wh) == size_wh[::-1] and orientation >= 5:
        advice = (
            f"It looks annotated in a viewer that turns images by their EXIF flag (here {orientation}): give --exif apply "
            "to steps 02 and 04."
        )
    return "size {} x {}; expected {} x {}, as {} decodes. {}".format(
        *stated_wh + size_wh + (shown(name), advice)
    )


def _folded(name):
    """``name`` without what file systems may change: upper and lower case, and how accents are composed."""
    return unicodedata.normalize("NFC", name).lower()


def _described(box):
    return "box {}".format(",".join(f"{side:g}" for side in box))


def _kind(box):
    xmin, ymin, xmax, ymax = box
    if xmax < xmin or ymax < ymin:
        return "inverted"
    return "of no area" if xmax == xmin or ymax == ymin else "outside"


def _of_image(kind, size_wh):
    return " the image, {} x {}".format(*size_wh) if kind == "outside" else ""
