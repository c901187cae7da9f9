"""Detects products in many images with one frozen graph.

Images are shrunk, and strips get margins, before the network runs; the boxes are in the pixels of
the image on disk (with ``exif="apply"``, of the image turned by its EXIF flag).
"""

import concurrent.futures
import os
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, files, parallel, paths, text
from shelfdet.core.progress import progress
from shelfdet.data import MAX_SIDE, images, labels, layout
from shelfdet.data.detections import Detections
from shelfdet.data.label_map import read_label_map
from shelfdet.inference import DEFAULT_THRESHOLD, drawings, graph_files, tiling

Size = Tuple[int, int]  # (width, height) in pixels


class InputImage(NamedTuple):
    """An image to detect in.

    path: its file.
    labelled_wh: its size in the label file; None where it comes from a folder.
    label_file: the label file that names it, for messages; None where it comes from a folder.
    """

    path: pathlib.Path
    labelled_wh: Optional[Size] = None
    label_file: Optional[pathlib.Path] = None


class ClassNames(NamedTuple):
    """The classes of a label map: the file, and the name of each class id."""

    label_map: pathlib.Path
    by_id: Dict[int, str]


class Settings(NamedTuple):
    """How the network is run on each image, and what is written for it.

    max_side: longer images, or tiles, are shrunk to this side; 0 keeps the size.
    exif: "ignore" uses raw pixels; "apply" turns images by their EXIF flag.
    pad_strips: whether strips get margins.
    tiles: number of tiles in a row and of rows; 1 runs the network on the whole image alone.
    nms_iou: for merging the detections of tiles.
    skip_bad: whether images that cannot be read are skipped; otherwise they raise UserError.
    draw_folder: where images are written with their boxes; None writes none.
    threshold: the lowest score that is drawn.
    """

    max_side: int = MAX_SIDE
    exif: str = "ignore"
    pad_strips: bool = False
    tiles: int = 1
    nms_iou: float = graph_files.DEFAULT_NMS_IOU
    skip_bad: bool = False
    draw_folder: Optional[pathlib.Path] = None
    threshold: float = DEFAULT_THRESHOLD


class ImageResult(NamedTuple):
    """What became of one image.

    filename: its base name.
    detections: None where the image was skipped.
    orientation: its EXIF flag.
    problem: why it was skipped; None where it was not.
    """

    filename: str
    detections: Optional[Detections]
    orientation: int
    problem: Optional[str]


class _Prepared(NamedTuple):
    """An image ready for the network.

    pixels: uint8 RGB of shape (height, width, 3), shrunk.
    framed: the same, or with margins where it is a padded strip; the network runs on this.
    left_top: position of ``pixels`` in ``framed``.
    size_wh: size of the image before shrinking.
    orientation: its EXIF flag.
    """

    pixels: np.ndarray
    framed: np.ndarray
    left_top: Tuple[int, int]
    size_wh: Size
    orientation: int


def labelled_images(label_file: pathlib.Path, folder: pathlib.Path) -> List[InputImage]:
    """The images of a label file, in its order.

    Args:
      label_file: as step 02 writes it. One whose name starts with "test" is searched first in the
        folder's test/, others first in train/.
      folder: holds the images, or train/ and test/ with them.

    Raises:
      UserError: the label file is wrong, or images of it are not there.
    """
    labelled = labels.read_labels(label_file)
    # Validation images are in train/, too: only two folders to choose from.
    split = "test" if label_file.stem.startswith("test") else "train"
    located = layout.locate(folder, [image.filename for image in labelled], split)
    return [InputImage(path, image.size_wh, label_file) for path, image in zip(located, labelled)]


def images_in(folder: pathlib.Path) -> List[InputImage]:
    """All images of a folder, sorted by name.

    Raises:
      UserError: no such folder, or no image in it.
    """
    listed = images.list_images(folder)
    if not listed:
        raise UserError(
            f"{folder}: no image in it; expected files ending in {', '.join(images.SUFFIXES)}. "
            "Check the path."
        )
    return [InputImage(path) for path in listed]


def other_files_report(folder: pathlib.Path) -> str:
    """What ``images_in`` leaves out of a folder, but dot files; empty where that is nothing."""
    listed = set(images.list_images(folder))
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path not in listed and not path.name.startswith(".")
    )
    if not others:
        return ""
    return (
        f"skipped in {folder}, because they are not files ending in {', '.join(images.SUFFIXES)}: "
        f"{text.listed(others)}"
    )


def check_targets(
    output: pathlib.Path, draw_folder: Optional[pathlib.Path], inputs: List[InputImage]
) -> None:
    """Checks, before detection starts, that its results can be written and overwrite no images.

    Raises:
      UserError: ``output`` is a folder, a folder cannot be written in, or drawings would overwrite
        other images.
    """
    if output.is_dir():
        raise UserError(f"--output {output}: is a folder; expected the name of a file to write.")
    # Detection in many images takes minutes; a full run must not end in "cannot be written".
    for folder in [output.parent] + ([draw_folder] if draw_folder else []):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(files.writing_failed(folder, error)) from error
        if not os.access(str(folder), os.W_OK | os.X_OK):
            denied = PermissionError(None, "no permission to write in it")
            raise UserError(files.writing_failed(folder, denied))
    if draw_folder:
        drawings.check_folder(draw_folder, [image.path for image in inputs])


def read_class_names(label_map: pathlib.Path) -> ClassNames:
    """The class names of the label map at ``label_map``."""
    ids = read_label_map(label_map)
    return ClassNames(label_map, {class_id: name for name, class_id in ids.items()})


def describe(
    graph: pathlib.Path,
    label_file: Optional[pathlib.Path],
    settings: Settings,
    inputs: List[InputImage],
) -> Dict[str, Any]:
    """How detections are made, for the "info" of the output; ``outcomes`` completes it."""
    config = graph.with_name(paths.CONFIG_FILE)
    # Only labelled images are scored, and only for those it matters what training has seen.
    seen_in_training = {}
    if label_file:
        seen_in_training = graph_files.seen_in_training(
            graph, [image.path.name for image in inputs], paths.dataset_of(label_file.parent)
        )
    info = {
        "graph": paths.shown(graph),
        "graph_sha256": files.sha256(graph),
        "config_sha256": files.sha256(config) if config.is_file() else None,
        "labels": paths.shown(label_file) if label_file else None,
        "labels_sha256": files.sha256(label_file) if label_file else None,
        "max_side": settings.max_side,
        "exif": settings.exif,
        "seen_in_training": seen_in_training,
    }
    # Written only where they differ from the default, as files of earlier versions lack them.
    if settings.pad_strips:
        info["pad_strips"] = True
    if settings.tiles > 1:
        info["tiles"] = settings.tiles
    return info


def detect_images(
    inputs: List[InputImage],
    run_network: tiling.DetectFunction,
    class_names: ClassNames,
    settings: Settings,
) -> List[ImageResult]:
    """Detects in all images, on all cores.

    The workers are threads: Pillow and TensorFlow both release Python's global lock while they
    compute, so one thread decodes while another runs the network. A thread holds one image at a
    time.

    Args:
      inputs: the images.
      run_network: such as ``inference.detector.Detector.detect``, called from several threads.
      class_names: of the label map that the graph was trained with.
      settings: how to run the network, and where to draw.

    Returns:
      list of ImageResult in the order of ``inputs``.

    Raises:
      UserError: the first image that cannot be processed.
    """
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        futures = [
            pool.submit(detect_image, image, run_network, class_names, settings) for image in inputs
        ]
        try:
            return [future.result() for future in progress(futures, "detecting", unit="images")]
        finally:
            # After an error or Ctrl-C the images that have not been started are not waited for.
            for future in futures:
                future.cancel()


def detect_image(
    image: InputImage,
    run_network: tiling.DetectFunction,
    class_names: ClassNames,
    settings: Settings,
) -> ImageResult:
    """Detects in one image, and draws it if there is a folder for it. Arguments as above."""
    filename = image.path.name
    try:
        prepared = _prepare(image.path, settings)
    except UserError as error:
        if settings.skip_bad:
            return ImageResult(filename, None, images.UPRIGHT, str(error))
        counts = " and no counts" if settings.draw_folder else ""
        raise UserError(
            f"{error} No detections{counts} were written; --skip-bad skips such images and lists "
            "them."
        ) from error
    _check_size(image, prepared.size_wh, settings.exif)  # also with skip_bad: the labels are wrong
    if settings.tiles > 1:
        boxes_yxyx, scores, class_ids = tiling.detect(
            run_network, prepared.framed, settings.tiles, settings.nms_iou, settings.max_side
        )
    else:
        boxes_yxyx, scores, class_ids = run_network(prepared.framed)
    _check_classes(class_ids, class_names)
    boxes_xyxy, inside = without_margins(
        boxes_yxyx,
        prepared.framed.shape[1::-1],
        prepared.left_top,
        prepared.pixels.shape[1::-1],
        prepared.size_wh,
    )
    found = Detections(
        filename,
        prepared.size_wh,
        boxes.clip(boxes_xyxy, prepared.size_wh)[inside],
        scores[inside],
        tuple(class_names.by_id[class_id] for class_id in class_ids[inside]),
    )
    if settings.draw_folder:
        drawings.draw(prepared.pixels, found, settings.draw_folder, settings.threshold)
    return ImageResult(filename, found, prepared.orientation, None)


def without_margins(
    boxes_yxyx: np.ndarray,
    framed_wh: Size,
    left_top: Tuple[int, int],
    shrunk_wh: Size,
    size_wh: Size,
) -> Tuple[np.ndarray, np.ndarray]:
    """Boxes in a framed image as boxes in the image itself.

    Args:
      boxes_yxyx: (N, 4) of ymin, xmin, ymax, xmax in 0 to 1 of the frame.
      framed_wh: size of the frame.
      left_top: position of the shrunk image in the frame.
      shrunk_wh: size of the shrunk image.
      size_wh: size of the image before shrinking.

    Returns:
      (boxes_xyxy, inside): float64 (N, 4) in pixels of the image before shrinking, not clipped, and
      bool (N,): which have their centre in the image; the others are detections in the margins.
    """
    framed_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, framed_wh)
    boxes_xyxy = boxes.scale(framed_xyxy - np.tile(left_top, 2), shrunk_wh, size_wh)
    # A box half in the margins may be a product at the image's edge: its centre decides.
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2  # (N, 2) of x, y
    inside = ((centres >= 0) & (centres <= size_wh)).all(axis=1)
    return boxes_xyxy, inside


def successful(results: List[ImageResult], source: pathlib.Path) -> List[Detections]:
    """The detections of the images that were not skipped.

    Raises:
      UserError: all images of ``source``, a label file or folder, were skipped.
    """
    found = [result.detections for result in results if result.detections is not None]
    if not found:
        raise UserError(
            f"{source}: none of its {text.counted(len(results), 'image')} can be read; expected "
            f"one at least. The first: {results[0].problem}"
        )
    return found


def outcomes(results: List[ImageResult]) -> Dict[str, Any]:
    """The single images that the "info" of the output names.

    "exif_flagged": those with an EXIF orientation, applied or not; "skipped": those that could not
    be read, and why.
    """
    return {
        "exif_flagged": {
            result.filename: result.orientation
            for result in results
            if result.orientation > images.UPRIGHT
        },
        "skipped": {result.filename: result.problem for result in results if result.problem},
    }


def exif_report(results: List[ImageResult], exif: str) -> str:
    """Which images have an EXIF orientation, and whether it was applied."""
    flagged = [
        f"{result.filename} ({result.orientation})"
        for result in results
        if result.orientation > images.UPRIGHT
    ]
    if not flagged:
        return "no image has an EXIF orientation"
    if exif == "apply":
        effect = "turned: boxes and sizes are those of the turned images"
    else:
        effect = (
            "not turned: boxes are those of the raw pixels. If drawings are sideways or upside "
            "down, use --exif apply"
        )
    count = text.counted(len(flagged), "image")
    return f"{count} with an EXIF orientation: {text.listed(flagged)}\n  {effect}"


def strip_report(results: List[ImageResult]) -> str:
    """Which images are strips, and the remedy; empty where none is."""
    strips = [
        result.filename
        for result in results
        if result.detections is not None and images.is_strip(result.detections.size_wh)
    ]
    if not strips:
        return ""
    return (
        f"{text.counted(len(strips), 'image')} more than twice as wide as high, or as high as "
        f"wide: {text.listed(strips)}\n"
        "  a graph that was trained on images of ordinary shape finds little there; --pad-strips "
        "(`make predict PAD=1`) adds margins"
    )


def skipped_report(results: List[ImageResult]) -> str:
    """Which images were skipped and why; empty where none was."""
    problems = [result.problem for result in results if result.problem]
    if not problems:
        return ""
    lines = [f"skipped: {problem}" for problem in problems[: text.SHOWN_PROBLEMS]]
    count = text.counted(len(problems), "image")
    lines.append(f'skipped {count}; all are listed in the output\'s "info"')
    return "\n".join(lines)


def _prepare(path: pathlib.Path, settings: Settings) -> _Prepared:
    """Decodes and shrinks an image, and gives it margins where it is a strip to be padded."""
    # Tiles are cut from the larger image and are shrunk to max_side themselves.
    max_side = settings.max_side * settings.tiles
    pixels, size_wh, orientation = images.load(path, max_side, settings.exif)
    if settings.pad_strips and images.is_strip(size_wh):
        framed, left_top = images.with_margins(pixels, path)
    else:
        framed, left_top = pixels, (0, 0)
    return _Prepared(pixels, framed, left_top, size_wh, orientation)


def _check_size(image: InputImage, size_wh: Size, exif: str) -> None:
    """Refuses an image of another size than in its label file, whose boxes are in other pixels."""
    if image.labelled_wh in (None, size_wh):
        return
    width, height = size_wh
    labelled_width, labelled_height = image.labelled_wh
    turned = " once turned" if exif == "apply" else ""
    raise UserError(
        f"{image.path}: {width} x {height} pixels{turned}; expected {labelled_width} x "
        f"{labelled_height} as in {image.label_file}. Write the label file again with step 02 and "
        "the same --exif."
    )


def _check_classes(class_ids: np.ndarray, class_names: ClassNames) -> None:
    """Refuses class ids that the label map does not name: it is the label map of another graph."""
    unknown = sorted(set(class_ids.tolist()) - set(class_names.by_id))
    if unknown:
        expected = ", ".join(str(class_id) for class_id in class_names.by_id)
        raise UserError(
            f"{class_names.label_map}: the graph found class {unknown[0]}; expected {expected}. "
            "Name the label map that it was trained with (--label-map)."
        )
