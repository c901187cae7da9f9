"""Detection in overlapping tiles, for products that are small in the whole image.

The network runs on the whole image and on each of its tiles, and the detections are merged. A box
that a tile's border cuts is dropped in that tile. Its product is whole in the neighbouring tile if
it is narrower than the overlap less the two margins of BORDER_SHARE; a larger product is large
enough to be found in the whole image, or in fewer tiles.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes, tiles
from shelfdet.data import images
from shelfdet.inference import confidence

# A box that ends within this share of a tile's side from a border inside the image counts as cut by
# it: a network places the edge of a cut product some pixels beside the border.
BORDER_SHARE = 0.01
# A box with more than this share of its area on boxes of higher scores is dropped. Products that
# are small in the whole image are often detected two at a time there, by one box across both; NMS
# keeps it, because its IoU with either is low.
MAX_COVERED_SHARE = 0.8
# How many of the grids that ``detect_in_best_tiles`` has tried it merges, beside those of
# ``_grids_of_other_sizes``.
MERGED_GRIDS = 4
# How many products for certain they find at least, as a share of those of the best grid.
LEAST_SHARE = 0.3
# A product is of another size than most if, in the tiles of the best grid, a side is more than
# OTHER_SIZE times the anchor's, or less than 1 / OTHER_SIZE. Fewer than OTHER_SHARE do not count.
OTHER_SIZE = 1.5
OTHER_SHARE = 0.05
# Products are smaller than the anchor if they have less than this share of its width or height.
SMALL_SHARE = 0.8
# Columns and rows of the cells of an image in each of which grids are compared, and a cell with
# those around it.
CELLS = 8
NEIGHBOURS = [(row, column) for row in range(3) for column in range(3)]
# Detections of this score and above say how large the products of an image are.
SIZED_SCORE = 0.5

# What a detector returns for one image, and takes: see inference.detector.Detector.detect.
RawDetections = Tuple[np.ndarray, np.ndarray, np.ndarray]
DetectFunction = Callable[[np.ndarray], RawDetections]


class Tile(NamedTuple):
    """A part of an image.

    pixels: uint8 RGB of shape (height, width, 3).
    box_xyxy: its place in the image, in pixels.
    """

    pixels: np.ndarray
    box_xyxy: Tuple[int, int, int, int]


def detect(
    run_network: DetectFunction,
    pixels: np.ndarray,
    grid: tiles.Grid,
    nms_iou: float,
    max_side: Optional[int] = None,
) -> RawDetections:
    """Detects in an image and in its tiles, and merges the detections.

    Args:
      grid: how to divide the image.
      nms_iou: IoU above which two boxes of a class are one detection; that of the graph's config.
      others: as in ``detect_in_tiles``.

    Returns:
      as ``merged``.
    """
    whole = detect_in_tiles(run_network, pixels, tiles.WHOLE, max_side)
    parts = detect_in_tiles(run_network, pixels, grid, max_side)
    return merged(_together(whole, parts), nms_iou)


def detect_in_best_tiles(
    run_network: DetectFunction,
    pixels: np.ndarray,
    whole: RawDetections,
    nms_iou: float,
    max_side: Optional[int] = None,
    anchor_wh: Optional[Tuple[float, float]] = None,
) -> Tuple[RawDetections, tiles.Grid]:
    """Detects in ever more tiles of an image, as long as that finds more products.

    The network finds most products where they have the size and the shape that it was trained on,
    which ``confidence.certain_products`` tells without labels. With more tiles products get larger
    for it; with more columns than rows they get wider for their height. So 2 x 2, 3 x 3 ... tiles
    are tried until a grid finds fewer. The products found in the best grid, of SIZED_SCORE and
    above, say in which grid they would have the size of the anchor, which is tried next, and again
    from there while it finds more. Then more columns than in the best grid are tried, and then more
    rows. Where 2 x 2 tiles find no more than the whole image, all that is only done if its products
    are smaller than the anchor: of larger ones, tiles find parts.

    The products of one image differ in size and shape, so that the best MERGED_GRIDS are merged,
    and those of ``_grids_of_other_sizes``, as ``_by_place`` describes. The network also runs on the
    tiles of these grids flipped horizontally, and what it finds is merged with the rest.

    Args:
      whole: the detections in the whole image. They are merged with those of tiles only where no
        grid finds more: its boxes of products too small for the network are seldom right.
      anchor_wh: width and height of the network's anchor as shares of its input; None if unknown.
      others: as in ``detect``.

    Returns:
      (detections, grid): as ``merged``, and the best grid of tiles, of at most
      ``core.tiles.MOST_TILES`` columns and rows; ``whole`` and ``core.tiles.WHOLE`` where tiles add
      nothing.
    """
    found = {tiles.WHOLE: whole}

    def detections_in(grid: tiles.Grid) -> RawDetections:
        if grid not in found:
            found[grid] = merged(detect_in_tiles(run_network, pixels, grid, max_side), nms_iou)
        return found[grid]

    def certain_products(grid: tiles.Grid) -> float:
        return confidence.certain_products(detections_in(grid)[1])

    best = _enlarged(certain_products, tiles.WHOLE, more_columns=1, more_rows=1)
    if best == tiles.WHOLE and not _has_small_products(whole, anchor_wh):
        return whole, best
    while anchor_wh is not None:
        fitting = _fitting_grid(found[best], anchor_wh)
        if fitting in found or certain_products(fitting) <= certain_products(best):
            break
        best = fitting
    best = _enlarged(certain_products, best, more_columns=1, more_rows=0)
    best = _enlarged(certain_products, best, more_columns=0, more_rows=1)
    if best != tiles.WHOLE:
        del found[tiles.WHOLE]
    least = LEAST_SHARE * certain_products(best)
    chosen = [grid for grid in found if certain_products(grid) >= least]
    chosen = sorted(chosen, key=certain_products, reverse=True)[:MERGED_GRIDS]
    if anchor_wh is not None:
        chosen += _grids_of_other_sizes(detections_in(best), best, anchor_wh)
    chosen = list(dict.fromkeys(chosen))  # each once
    divided = [grid for grid in chosen if grid != tiles.WHOLE]
    if not divided:
        return whole, tiles.WHOLE
    runs = []
    for grid in chosen:
        in_flipped = detect_in_tiles(flipped(run_network), pixels, grid, max_side)
        runs.append([detections_in(grid), merged(in_flipped, nms_iou)])
    weights = _by_place([_together(*of_grid) for of_grid in runs])
    parts = [_weighted(part, places) for of_grid, places in zip(runs, weights) for part in of_grid]
    return merged(_together(*parts), nms_iou), divided[0]


def _by_place(found: Sequence[RawDetections]) -> np.ndarray:
    """How much the scores of the detections in each grid count at each place of the image.

    At a place, the grid in which its products have the size for the network finds most of them for
    certain. The weight of a grid is the square root of what it finds there as a share of what the
    best grid does. A place is a cell of the image, of CELLS columns and rows, with those around it.

    Args:
      found: the detections in each of N grids, those in flipped tiles with the others.

    Returns:
      float64 (N, CELLS, CELLS), by row and column, 0 to 1; 1 where no grid finds anything.
    """
    certain = np.array([_certain_products_at(detections) for detections in found])
    most = certain.max(axis=0)
    shares = np.divide(certain, most, out=np.ones_like(certain), where=most > 0)
    return np.sqrt(shares)


def _certain_products_at(detections: RawDetections) -> np.ndarray:
    """``confidence.certain_products`` of each cell with those around it, (CELLS, CELLS)."""
    boxes_yxyx, scores, _ = detections
    sums = []
    for values in (scores, scores**2):
        of_cell = np.zeros((CELLS + 2, CELLS + 2))
        rows, columns = _cells(boxes_yxyx)
        np.add.at(of_cell, (rows + 1, columns + 1), values)
        around = (of_cell[row : row + CELLS, column : column + CELLS] for row, column in NEIGHBOURS)
        sums.append(sum(around))
    of_scores, of_squares = sums
    return np.divide(of_squares**2, of_scores, out=np.zeros((CELLS, CELLS)), where=of_scores > 0)


def _cells(boxes_yxyx: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The row and the column of the cell in which the middle of each box is, int (N,) each."""
    middles = (boxes_yxyx[:, :2] + boxes_yxyx[:, 2:]) / 2
    rows, columns = np.clip((middles * CELLS).astype(int), 0, CELLS - 1).T
    return rows, columns


def _weighted(detections: RawDetections, weights: np.ndarray) -> RawDetections:
    """Detections whose scores are multiplied by the weight (CELLS, CELLS) of their cell."""
    boxes_yxyx, scores, class_ids = detections
    return boxes_yxyx, scores * weights[_cells(boxes_yxyx)], class_ids


def flipped(run_network: DetectFunction) -> DetectFunction:
    """A detector that runs on images flipped horizontally.

    Its boxes are those of the images as they are.
    """

    def run(pixels: np.ndarray) -> RawDetections:
        boxes_yxyx, scores, class_ids = run_network(pixels[:, ::-1])
        ymin, xmin, ymax, xmax = boxes_yxyx.T
        return np.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=1), scores, class_ids

    return run


def _has_small_products(whole: RawDetections, anchor_wh: Optional[Tuple[float, float]]) -> bool:
    """Whether the median product in the whole image is narrower or lower than the anchor.

    That is, less than SMALL_SHARE of its width or height.
    """
    product_wh = _median_product(whole)
    if product_wh is None or anchor_wh is None:
        return False
    return any(side < SMALL_SHARE * wanted for side, wanted in zip(product_wh, anchor_wh))


def _fitting_grid(detections: RawDetections, anchor_wh: Tuple[float, float]) -> tiles.Grid:
    """The grid in whose tiles the detected products come nearest to the size of the anchor."""
    product_wh = _median_product(detections)
    return tiles.WHOLE if product_wh is None else tiles.grid_for(product_wh, anchor_wh)


def _grids_of_other_sizes(
    detections: RawDetections, grid: tiles.Grid, anchor_wh: Tuple[float, float]
) -> List[tiles.Grid]:
    """The grids for products that are much narrower, wider, lower or higher than the anchor.

    Args:
      detections: in the tiles of a grid.

    Returns:
      for each of the four kinds, if it is OTHER_SHARE of the products at least, the grid that fits
      its median product, unless that is the whole image.
    """
    sized_xyxy = _sized(detections)
    sides_wh = sized_xyxy[:, 2:] - sized_xyxy[:, :2]
    tile_wh = np.array([tiles.share(count) for count in grid])
    ratios = sides_wh / tile_wh / anchor_wh
    grids = []
    for kind in [*(ratios < 1 / OTHER_SIZE).T, *(ratios > OTHER_SIZE).T]:
        if kind.any() and kind.mean() >= OTHER_SHARE:
            product_wh = tiles.median_product(sized_xyxy[kind], (1, 1))
            grids.append(tiles.grid_for(product_wh, anchor_wh))
    return [grid for grid in grids if grid != tiles.WHOLE]


def _median_product(detections: RawDetections) -> Optional[Tuple[float, float]]:
    """The median width and height of products of SIZED_SCORE, as shares of the image's."""
    sized_xyxy = _sized(detections)
    return tiles.median_product(sized_xyxy, (1, 1)) if len(sized_xyxy) else None


def _sized(detections: RawDetections) -> np.ndarray:
    """The boxes (N, 4) of xmin, ymin, xmax, ymax in 0 to 1 that say how large products are."""
    boxes_yxyx, scores, _ = detections
    boxes_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, (1, 1))
    return boxes_xyxy[(scores >= SIZED_SCORE) & (boxes.areas(boxes_xyxy) > 0)]


def _enlarged(
    certain_products: Callable[[tiles.Grid], float],
    grid: tiles.Grid,
    more_columns: int,
    more_rows: int,
) -> tiles.Grid:
    """Enlarges a grid by so many columns and rows at a time while that finds more products."""
    while max(grid.columns + more_columns, grid.rows + more_rows) <= tiles.MOST_TILES:
        larger = tiles.Grid(grid.columns + more_columns, grid.rows + more_rows)
        if certain_products(larger) <= certain_products(grid):
            break
        grid = larger
    return grid


def detect_in_tiles(
    run_network: DetectFunction,
    pixels: np.ndarray,
    grid: tiles.Grid,
    max_side: Optional[int] = None,
) -> RawDetections:
    """Detects in the tiles of an image.

    Args:
      run_network: a detector such as ``inference.detector.Detector.detect``.
      pixels: uint8 RGB of shape (height, width, 3).
      grid: how to divide the image.
      max_side: no tile is larger, when the network runs, than the whole image once it is shrunk to
        this longer side. Each side of a tile is shrunk by itself, as the networks' input has one
        size: otherwise a narrow tile would lose pixels across.

    Returns:
      (boxes_yxyx, scores, class_ids) as from ``run_network``: boxes (N, 4) of ymin, xmin, ymax,
      xmax in 0 to 1 of the whole image, but those that a tile's border cuts. Where tiles overlap,
      products are detected several times.
    """
    image_wh = pixels.shape[1::-1]
    max_wh = images.shrunk_size(image_wh, max_side)
    parts = []
    for tile in cut_tiles(pixels, grid):
        boxes_yxyx, scores, class_ids = run_network(images.shrunk_to(tile.pixels, max_wh))
        tile_wh = tile.pixels.shape[1::-1]
        left_top = tile.box_xyxy[:2]
        boxes_xyxy = boxes.from_normalised_yxyx(boxes_yxyx, tile_wh) + np.tile(left_top, 2)
        kept = not_cut_by_tile(boxes_xyxy, tile, image_wh)
        parts.append(
            (
                boxes.to_normalised_yxyx(boxes_xyxy[kept], image_wh),
                scores[kept],
                class_ids[kept],
            )
        )
    return _together(*parts)


def cut_tiles(pixels: np.ndarray, grid: tiles.Grid) -> List[Tile]:
    """The tiles of an image, uint8 RGB of shape (height, width, 3), row by row."""
    return [
        Tile(pixels[top:bottom, left:right], (left, top, right, bottom))
        for left, top, right, bottom in tiles.places(pixels.shape[1::-1], grid)
    ]


def not_cut_by_tile(boxes_xyxy: np.ndarray, tile: Tile, image_wh: Tuple[int, int]) -> np.ndarray:
    """Which boxes no border of their tile cuts. Borders that are the image's own do not count.

    Args:
      boxes_xyxy: (N, 4) in pixels of the image.
      tile: the tile that they were detected in.
      image_wh: size of the image that the tile was cut from.

    Returns:
      bool (N,).
    """
    left, top, right, bottom = tile.box_xyxy
    margin_x = BORDER_SHARE * (right - left)
    margin_y = BORDER_SHARE * (bottom - top)
    xmin, ymin, xmax, ymax = boxes_xyxy.T
    return (
        ((xmin > left + margin_x) | (left == 0))
        & ((ymin > top + margin_y) | (top == 0))
        & ((xmax < right - margin_x) | (right == image_wh[0]))
        & ((ymax < bottom - margin_y) | (bottom == image_wh[1]))
    )


def merged(detections: RawDetections, nms_iou: float) -> RawDetections:
    """The detections of ``detect_in_tiles`` without duplicates, by falling score."""
    boxes_yxyx, scores, class_ids = detections
    # IoUs and shares of areas are the same in normalised coordinates and in pixels.
    boxes_xyxy, rows = merge(
        boxes.from_normalised_yxyx(boxes_yxyx, (1, 1)), scores, class_ids, nms_iou
    )
    return boxes.to_normalised_yxyx(boxes_xyxy, (1, 1)), scores[rows], class_ids[rows]


def merge(
    boxes_xyxy: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, nms_iou: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Merges the detections of all tiles, class by class.

    NMS drops duplicates, and the box that is kept becomes the mean of itself and of those that it
    drops, weighted by score and by IoU with it (box voting, without the IoU: Gidaris and Komodakis,
    ICCV 2015). Then boxes across several better ones are dropped.

    Args:
      boxes_xyxy: (N, 4).
      scores: (N,).
      class_ids: (N,).
      nms_iou: of two boxes with a higher IoU the one of the lower score is dropped.

    Returns:
      (merged_xyxy, rows): (M, 4), and int (M,), the rows of those that are kept, the highest score
      first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy, weights, class_ids = boxes_xyxy[order], scores[order], class_ids[order]
    areas = boxes.areas(boxes_xyxy)
    first, second, shared = _of_one_class(boxes.overlaps(boxes_xyxy), class_ids)
    ious = shared / (areas[first] + areas[second] - shared)
    first, second, ious = (values[ious > nms_iou] for values in (first, second, ious))
    starts = np.searchsorted(first, np.arange(len(order) + 1))  # of the pairs of each box
    remaining = np.ones(len(order), dtype=bool)
    means_xyxy = boxes_xyxy.astype(np.float64)
    for best in np.flatnonzero(np.diff(starts)):
        if not remaining[best]:
            continue
        pairs = np.arange(starts[best], starts[best + 1])
        pairs = pairs[remaining[second[pairs]]]
        same = np.append(best, second[pairs])
        shares = weights[same] * np.append(1, ious[pairs])
        if shares.sum():
            means_xyxy[best] = (shares / shares.sum()) @ boxes_xyxy[same]
        remaining[second[pairs]] = False
    kept = np.flatnonzero(remaining)
    uncovered = kept[_not_covered(means_xyxy[kept], class_ids[kept])]
    return means_xyxy[uncovered], order[uncovered]


def _together(*parts: RawDetections) -> RawDetections:
    """Detections of several runs of the network as those of one."""
    boxes_yxyx, scores, class_ids = (np.concatenate(part) for part in zip(*parts))
    return boxes_yxyx, scores, class_ids


def _of_one_class(pairs: boxes.Overlaps, class_ids: np.ndarray) -> boxes.Overlaps:
    """The pairs of boxes of the same class; ``class_ids`` (N,) of all boxes."""
    same = class_ids[pairs.first] == class_ids[pairs.second]
    return boxes.Overlaps(*(values[same] for values in pairs))


def _not_covered(boxes_xyxy: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Which boxes, given by falling score, no kept boxes before them cover: bool (N,)."""
    better, worse, shared = _of_one_class(boxes.overlaps(boxes_xyxy), class_ids)
    by_worse = np.argsort(worse, kind="stable")
    better, worse, shared = (values[by_worse] for values in (better, worse, shared))
    starts = np.searchsorted(worse, np.arange(len(boxes_xyxy) + 1))  # of the pairs of each box
    limits = MAX_COVERED_SHARE * boxes.areas(boxes_xyxy)
    kept = np.ones(len(boxes_xyxy), dtype=bool)
    for row in np.flatnonzero(np.diff(starts)):
        pairs = slice(starts[row], starts[row + 1])
        kept[row] = shared[pairs][kept[better[pairs]]].sum() <= limits[row]
    return kept
