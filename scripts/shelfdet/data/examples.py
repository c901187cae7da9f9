"""What the examples of a TFRecord hold: labelled images, or overlapping tiles cut from them.

A tile's border cuts products. One that shows at least KEPT_SHARE of its box is labelled with the
part that is in the tile. Of the others the tile shows too little to learn them, and calling what it
shows background would be wrong: they are *ignored boxes*. Step 04 writes these with weight 0, which
the target assigner of object_detection gives to the anchors that would learn them, and as crowd,
which makes COCO's evaluation ignore what is detected there.
"""

import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from shelfdet.core import boxes, tiles
from shelfdet.data.labels import LabelledImage

KEPT_SHARE = 0.5  # of a box's area that has to be in a tile for its product to be labelled there
# How far ignored boxes may reach outside a tile, as a share of its side. They are not cut at its
# border, because an anchor at the border overlaps the whole product by a high IoU and the part in
# the tile by a low one. But the evaluators of object_detection refuse coordinates above 1.1.
OUTSIDE_SHARE = 0.09
# Of a share of a box. One that ends at a tile's border, or of which half is in it, must be the same
# after its coordinates were divided by the image's size and multiplied by it.
ROUNDING = 1e-6
# The end of a tile's source_id: its place in the image.
_TILE_SUFFIX = re.compile(r" \[(\d+),(\d+),(\d+),(\d+)\]$")


class Tiling(NamedTuple):
    """How images are divided.

    counts: numbers of tiles in a row, each of which is used: (1, 2) gives every image as a whole
      and its 2 x 2 tiles.
    product_scale: in place of counts, the scale (see ``core.tiles``) that the median product of an
      image should have in a tile; each image gets the number of tiles that comes nearest.
    product_aspect_ratio: width / height that it should have where the network sees the tile, a
      square; each image gets the numbers of columns and rows that come nearest. None: as many
      columns as rows.
    keep_empty: whether tiles without any product are used, as examples of background.
    """

    counts: Tuple[int, ...] = (1,)
    product_scale: Optional[float] = None
    product_aspect_ratio: Optional[float] = None
    keep_empty: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every image stays as it is."""
        return self.counts == (1,) and self.product_scale is None


WHOLE_IMAGES = Tiling()


class Example(NamedTuple):
    """One example of a record.

    source_id: unique among all examples that train together.
    labelled: the labels: filename of the image, size and boxes of the tile.
    tile_xyxy: the tile in pixels of the image; None for a whole image.
    ignored: the ignored boxes, as another LabelledImage.
    """

    source_id: str
    labelled: LabelledImage
    tile_xyxy: Optional[tiles.Tile] = None
    ignored: Optional[LabelledImage] = None


def of_image(image: LabelledImage, tiling: Tiling, dataset: str = "") -> List[Example]:
    """The examples of an image: itself, or its tiles row by row.

    Args:
      image: with boxes in its own pixels.
      tiling: how to divide it.
      dataset: name of its dataset, which tells images of one name in two datasets apart; may be
        empty.
    """
    if tiling.is_whole:
        return [whole(image, dataset)]
    return _divided(image, grids_of(image, tiling), tiling.keep_empty, dataset)


def _divided(
    image: LabelledImage, grids: Iterable[tiles.Grid], keep_empty: bool, dataset: str
) -> List[Example]:
    """The examples of an image that is divided into each of these grids."""
    found = []
    for grid in grids:
        for tile in tiles.places(image.size_wh, grid):
            example = whole(image, dataset) if grid == tiles.WHOLE else cut(image, tile, dataset)
            if example.labelled.classes or keep_empty:
                found.append(example)
    return found


def grids_of(image: LabelledImage, tiling: Tiling) -> List[tiles.Grid]:
    """The grids into which an image is divided."""
    if tiling.product_scale is None:
        return [tiles.square(count) for count in tiling.counts]
    if not image.classes:
        return [tiles.WHOLE]
    if tiling.product_aspect_ratio is None:
        scale = tiles.product_scale(image.boxes_xyxy, image.size_wh)
        return [tiles.square(tiles.count_for(scale, tiling.product_scale))]
    wanted_wh = tiles.anchor_sides(tiling.product_scale, tiling.product_aspect_ratio)
    return [tiles.grid_for(tiles.median_product(image.boxes_xyxy, image.size_wh), wanted_wh)]


def divided_like(image: LabelledImage, source_ids: Sequence[str]) -> List[Example]:
    """The examples of an image that is divided as the ones with these source_ids are.

    Tiles without any product are among them.

    Args:
      image: with boxes in its own pixels.
      source_ids: of all examples of the image.
    """
    width, height = image.size_wh
    dataset = image_of(source_ids[0])[: -len(image.filename)].rstrip("/")
    sizes = set()
    for source_id in source_ids:
        left, top, right, bottom = tile_of(source_id) or (0, 0, width, height)
        sizes.add((right - left, bottom - top))
    grids = (tiles.grid_of(image.size_wh, size_wh) for size_wh in sizes)
    return _divided(image, filter(None, grids), True, dataset)


def whole(image: LabelledImage, dataset: str = "") -> Example:
    """The example of an image that is not divided."""
    return Example(_source_id(image.filename, dataset), image)


def cut(image: LabelledImage, tile: tiles.Tile, dataset: str = "") -> Example:
    """The example of a tile of an image."""
    left, top, right, bottom = tile
    size_wh = (right - left, bottom - top)
    shares = tiles.visible_shares(image.boxes_xyxy, tile)
    moved = np.asarray(image.boxes_xyxy, dtype=np.float64).reshape(-1, 4) - [left, top, left, top]
    kept = shares >= KEPT_SHARE - ROUNDING
    ignored = ~kept & (shares > ROUNDING)
    margin = OUTSIDE_SHARE * np.array(size_wh)
    reach = np.clip(moved, np.tile(-margin, 2), np.tile(size_wh + margin, 2))
    place = ",".join(str(side) for side in tile)
    return Example(
        f"{_source_id(image.filename, dataset)} [{place}]",
        _selected(image, size_wh, boxes.clip(moved, size_wh), kept),
        tuple(tile),
        _selected(image, size_wh, reach, ignored),
    )


def tile_of(source_id: str) -> Optional[tiles.Tile]:
    """The tile that a source_id states, in pixels of its image; None for a whole image."""
    found = _TILE_SUFFIX.search(source_id)
    return tuple(int(side) for side in found.groups()) if found else None


def image_of(source_id: str) -> str:
    """A source_id without its tile: the same for all examples of an image."""
    return _TILE_SUFFIX.sub("", source_id)


def in_no_tile(image: LabelledImage, found: Iterable[Example]) -> int:
    """How many products of an image are labelled in none of its examples: they are too large."""
    seen = np.zeros(len(image.classes), dtype=bool)
    for example in found:
        if example.tile_xyxy is None:
            return 0
        seen |= tiles.visible_shares(image.boxes_xyxy, example.tile_xyxy) >= KEPT_SHARE - ROUNDING
    return int((~seen).sum())


def _source_id(filename: str, dataset: str) -> str:
    return f"{dataset}/{filename}" if dataset else filename


def _selected(image, size_wh, boxes_xyxy, rows):
    """A LabelledImage of the boxes for which ``rows``, bool (N,), is true."""
    classes = tuple(name for name, selected in zip(image.classes, rows) if selected)
    return LabelledImage(image.filename, size_wh, boxes_xyxy[rows], classes)
