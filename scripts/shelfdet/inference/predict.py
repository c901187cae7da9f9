"""Detects products in many images with one frozen graph.

Images are shrunk, and strips get margins, before the network runs; the boxes are in the pixels of
the image on disk (with ``exif="apply"``, of the image rotated by its EXIF orientation).
"""

import collections
import concurrent.futures
import os
import pathlib
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np

from shelfdet import UserError
from shelfdet.core import boxes, files, parallel, paths, tiles
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.data import MAX_SIDE, images, trained_on
from shelfdet.data.detections import Detections
from shelfdet.data.label_map import read_display_names, read_label_map
from shelfdet.inference import (
    AUTO_TILES,
    DEFAULT_THRESHOLD,
    TENSORFLOW,
    confidence,
    drawings,
    graph_files,
    processed_images,
    summaries,
    tiling,
)
from shelfdet.inference.input_images import InputImage
from shelfdet.inference.processed_images import ImageResult, ProcessedImages

Size = Tuple[int, int]  # (width, height) in pixels
# Raised whenever equal options give an image other boxes than before, or its results another form.
# A run of another version is not resumed, so that no output mixes two.
DETECTION_VERSION = 6


class ClassNames(NamedTuple):
    """The classes of a label map.

    label_map: the file.
    by_id: the name of each class id.
    display: what to show to people in place of names: name to display name, where it has one.
    """

    label_map: pathlib.Path
    by_id: Dict[int, str]
    display: Dict[str, str] = {}

    @property
    def shown(self) -> Dict[str, str]:
        """Name to the name on drawings and in counts, by id; empty of a single class."""
        if len(self.by_id) < 2:
            return {}
        names = [self.by_id[class_id] for class_id in sorted(self.by_id)]
        return {name: self.display.get(name, name) for name in names}


class Settings(NamedTuple):
    """How the network is run on each image, and what is written for it.

    max_side: longer images, or tiles, are shrunk to this side; 0 keeps the size.
    exif: "ignore" uses raw pixels; "apply" rotates images by their EXIF orientation.
    pad_strips: whether strips get margins.
    tiles: number of tiles in a row and of rows; 1 runs the network on the whole image alone,
      AUTO_TILES chooses for each image.
    min_score: boxes of lower scores are left out.
    nms_iou: for merging the detections of tiles.
    anchor_wh: as ``graph_files.anchor_wh`` returns it, for AUTO_TILES.
    skip_bad: whether images that cannot be read are skipped; otherwise they raise UserError.
    draw_folder: where images are written with their boxes; None writes none.
    threshold: the lowest score that is drawn.
    validated: as ``graph_files.validated`` returns it: drawings say which counts are uncertain.
    """

    max_side: int = MAX_SIDE
    exif: str = "ignore"
    pad_strips: bool = False
    tiles: Union[int, str] = 1
    min_score: float = 0.0
    nms_iou: float = graph_files.DEFAULT_NMS_IOU
    anchor_wh: Optional[Tuple[float, float]] = None
    skip_bad: bool = False
    draw_folder: Optional[pathlib.Path] = None
    threshold: float = DEFAULT_THRESHOLD
    validated: Optional[confidence.Validated] = None


class _Raw(NamedTuple):
    """What the network found in an image.

    prepared: the image that it ran on. boxes_yxyx: (N, 4) of ymin, xmin, ymax, xmax in 0 to 1 of
    ``prepared.framed``. scores, class_ids: (N,). grid: how it was divided.
    """

    prepared: "_Prepared"
    boxes_yxyx: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    grid: tiles.Grid


class _Prepared(NamedTuple):
    """An image ready for the network.

    pixels: uint8 RGB of shape (height, width, 3), shrunk.
    framed: the same, or with margins where it is a padded strip; the network runs on this.
    left_top: position of ``pixels`` in ``framed``.
    size_wh: size of the image before shrinking.
    orientation: its EXIF orientation.
    """

    pixels: np.ndarray
    framed: np.ndarray
    left_top: Tuple[int, int]
    size_wh: Size
    orientation: int


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
        drawings.check_folder(draw_folder, inputs)


def read_class_names(label_map: pathlib.Path) -> ClassNames:
    """The class names of the label map at ``label_map``."""
    ids = read_label_map(label_map)
    by_id = {class_id: name for name, class_id in ids.items()}
    return ClassNames(label_map, by_id, read_display_names(label_map))


def describe(
    graph: pathlib.Path,
    label_file: Optional[pathlib.Path],
    settings: Settings,
    network: Any = None,
) -> Dict[str, Any]:
    """How detections are made, for the "info" of the output; ``outcomes`` completes it.

    Args:
      graph: the frozen graph.
      label_file: of the images; None where they have no labels.
      settings: as in ``detect_images``.
      network: as ``runtimes.load`` returns it; None is TensorFlow's.
    """
    config = graph.with_name(paths.CONFIG_FILE)
    # Only labelled images are scored, and only for those it matters what training has seen.
    seen_in_training = {}
    if label_file:
        seen_in_training = graph_files.seen_in_training(graph, trained_on.of_labels(label_file))
    info = {
        "graph": paths.shown(graph),
        "graph_sha256": files.sha256(graph),
        "config_sha256": files.sha256(config) if config.is_file() else None,
        "labels": paths.shown(label_file) if label_file else None,
        "labels_sha256": files.sha256(label_file) if label_file else None,
        **describe_settings(settings),
        "seen_in_training": seen_in_training,
    }
    if network is not None and network.runtime != TENSORFLOW:
        info["runtime"] = network.runtime
        info["runtime_precision"] = network.precision
    return info


def describe_settings(settings: Settings) -> Dict[str, Any]:
    """The options that figures depend on, for the "info" of the output."""
    described = {"max_side": settings.max_side, "exif": settings.exif}
    # Written only where they differ from the default, as files of earlier versions lack them.
    if settings.pad_strips:
        described["pad_strips"] = True
    if settings.tiles != 1:
        described["tiles"] = settings.tiles
        described["detection_version"] = DETECTION_VERSION
    if settings.min_score:
        described["min_score"] = settings.min_score
    return described


def run_key(info: Dict[str, Any], settings: Settings, class_names: ClassNames) -> Dict[str, Any]:
    """What must be equal for a run to be resumed: how images are processed and drawn.

    Args:
      info: what ``describe`` returned.
      settings: of the run.
      class_names: of the label map.
    """
    key = {
        **info,
        "detection_version": DETECTION_VERSION,
        "classes": sorted(class_names.by_id.items()),
    }
    if settings.draw_folder:
        key["drawings"] = str(settings.draw_folder.resolve())
        key["threshold"] = settings.threshold
        key["confidence in validation"] = settings.validated
        key["names in drawings"] = sorted(class_names.shown.items())
    return key


def current(inputs: Sequence[InputImage], settings: Settings) -> Callable[[ImageResult], bool]:
    """A function of what was processed before: whether that need not be done again.

    It need not if it is of one of these images, which is unchanged, could be read, and has its
    drawing.
    """
    image_paths = {image.name: image.path for image in inputs}

    def is_current(result: ImageResult) -> bool:
        path = image_paths.get(result.filename)
        if path is None or result.problem is not None:
            return False
        if settings.draw_folder:
            drawing = settings.draw_folder / drawings.drawing_name(result.filename)
            if not drawing.is_file():
                return False
        return processed_images.file_version(path) == result.version

    return is_current


def remaining(inputs: Sequence[InputImage], processed: ProcessedImages) -> List[InputImage]:
    """The images that are not processed yet."""
    done = {result.filename for result in processed}
    return [image for image in inputs if image.name not in done]


def detect_images(
    inputs: List[InputImage],
    run_network: tiling.DetectFunction,
    class_names: ClassNames,
    settings: Settings,
) -> Iterator[ImageResult]:
    """Detects in all images, on all cores.

    The workers are threads: Pillow and TensorFlow both release Python's global lock while they
    compute, so one thread decodes while another runs the network. A thread holds one image at a
    time, and a few results wait for the caller.

    Args:
      inputs: the images.
      run_network: such as ``inference.detector.Detector.detect``, called from several threads.
      class_names: of the label map that the graph was trained with.
      settings: how to run the network, and where to draw.

    Yields:
      ImageResult in the order of ``inputs``.

    Raises:
      UserError: the first image that cannot be processed.
    """
    with concurrent.futures.ThreadPoolExecutor(parallel.workers()) as pool:
        pending: Deque[concurrent.futures.Future] = collections.deque()
        try:
            for image in progress(inputs, "detecting", unit="images"):
                pending.append(pool.submit(detect_image, image, run_network, class_names, settings))
                if len(pending) >= parallel.PENDING_PER_WORKER * parallel.workers():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # After an error or Ctrl-C the images that have not been started are not waited for.
            for future in pending:
                future.cancel()


def detect_image(
    image: InputImage,
    run_network: tiling.DetectFunction,
    class_names: ClassNames,
    settings: Settings,
) -> ImageResult:
    """Detects in one image, and draws it if there is a folder for it. Arguments as above."""
    filename = image.name
    version = None if image.content is not None else processed_images.file_version(image.path)
    try:
        prepared = _prepare(image, settings, 1 if settings.tiles == AUTO_TILES else settings.tiles)
    except UserError as error:
        if settings.skip_bad:
            return ImageResult(filename, None, images.UPRIGHT, str(error), version)
        counts = " and no counts" if settings.draw_folder else ""
        raise UserError(
            f"{error} No detections{counts} were written; {both('--skip-bad')} skips such "
            "images and lists them."
        ) from error
    _check_size(image, prepared.size_wh, settings.exif)  # also with skip_bad: the labels are wrong
    raw = _run(prepared, image, run_network, settings)
    prepared, boxes_yxyx, scores, class_ids, grid = raw
    _check_classes(class_ids, class_names)
    boxes_xyxy, inside = without_margins(
        boxes_yxyx,
        prepared.framed.shape[1::-1],
        prepared.left_top,
        prepared.pixels.shape[1::-1],
        prepared.size_wh,
    )
    kept = inside & (scores >= settings.min_score)
    found = Detections(
        filename,
        prepared.size_wh,
        boxes.clip(boxes_xyxy, prepared.size_wh)[kept],
        scores[kept],
        tuple(class_names.by_id[class_id] for class_id in class_ids[kept]),
    )
    result = ImageResult(filename, found, prepared.orientation, None, version, grid)
    if settings.draw_folder:
        summary = summaries.summarise(result, settings.threshold)
        drawings.draw(
            prepared.pixels,
            found,
            settings.draw_folder,
            settings.threshold,
            class_names.shown,
            summaries.note(summary, settings.validated),
        )
    return result


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


def _run(
    prepared: _Prepared,
    image: InputImage,
    run_network: tiling.DetectFunction,
    settings: Settings,
) -> _Raw:
    """Runs the network on an image, and on its tiles where the settings say so."""
    if settings.tiles == AUTO_TILES:
        return _run_auto(prepared, image, run_network, settings)
    if settings.tiles == 1:
        return _Raw(prepared, *run_network(prepared.framed), tiles.WHOLE)
    grid = tiles.square(settings.tiles)
    found = tiling.detect(run_network, prepared.framed, grid, settings.nms_iou, settings.max_side)
    return _Raw(prepared, *found, grid)


def _run_auto(
    whole: _Prepared,
    image: InputImage,
    run_network: tiling.DetectFunction,
    settings: Settings,
) -> _Raw:
    """Runs the network on tiles, too, unless it is certain of the whole image."""
    found = run_network(whole.framed)
    if confidence.confidence(found[1]) >= confidence.CERTAIN:
        return _Raw(whole, *found, tiles.WHOLE)
    # Decoded once more, because most images need no tiles and decode faster at a small size.
    large = _prepare(image, settings, tiles.MOST_TILES)
    found, grid = tiling.detect_in_best_tiles(
        run_network,
        large.framed,
        found,
        settings.nms_iou,
        settings.max_side,
        settings.anchor_wh,
    )
    return _Raw(whole if grid == tiles.WHOLE else large, *found, grid)


def _prepare(image: InputImage, settings: Settings, tile_count: int) -> _Prepared:
    """Decodes and shrinks an image, and gives it margins where it is a strip to be padded."""
    # Tiles are cut from the larger image and are shrunk to max_side themselves.
    max_side = settings.max_side * tile_count
    pixels, size_wh, orientation = images.load(image.path, max_side, settings.exif, image.content)
    if settings.pad_strips and images.is_strip(size_wh):
        framed, left_top = images.with_margins(pixels, image.path)
    else:
        framed, left_top = pixels, (0, 0)
    return _Prepared(pixels, framed, left_top, size_wh, orientation)


def _check_size(image: InputImage, size_wh: Size, exif: str) -> None:
    """Refuses an image of another size than in its label file, whose boxes are in other pixels."""
    if image.labelled_wh in (None, size_wh):
        return
    width, height = size_wh
    labelled_width, labelled_height = image.labelled_wh
    turned = " once rotated" if exif == "apply" else ""
    raise UserError(
        f"{image.path}: {width} x {height} pixels{turned}; expected {labelled_width} x "
        f"{labelled_height} as in {image.label_file}. Write the label file again with step 02 and "
        f"the same {both('--exif')}."
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
