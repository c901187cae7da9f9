"""Near-duplicates: one photograph that was saved again, resized or slightly cropped.

Every image is reduced to a thumbnail. Those whose colours are arranged most similarly are aligned,
each pair by a scale and a shift along each axis, and are near-duplicates if they then correlate.
Measured on real photographs of shelves: docs/data.md, "Near-duplicates".
"""

import pathlib
from typing import List, Mapping, NamedTuple, Tuple

import numpy as np
from PIL import Image

from shelfdet.core import parallel
from shelfdet.core.progress import progress
from shelfdet.data import images

SIDE = 64  # of a thumbnail, in pixels
LAYOUT_SIDE = 8  # of the colour layout by which candidates are chosen
LEAST_CONTRAST = 4  # standard deviation of grey levels; blank images are compared with none

# Candidates are the nearest images by colour layout, if their layouts correlate at least this much.
NEAREST = 10
LEAST_CORRELATION_OF_LAYOUTS = 0.4
# Aligned thumbnails of different shelves correlate by up to 0.83, of copies cropped by 5 % on every
# side by at least 0.93 in 99 of 100 cases.
LEAST_CORRELATION = 0.88
# By which share of a side an image may be cropped on each side. With more, photographs of
# neighbouring shelves, which overlap, are found.
LARGEST_CROP = 0.07

# Pairs are aligned from coarse to fine: the side of the thumbnails, and the correlation and the
# largest crop with which a pair is aligned further at the next side.
LEVELS = ((16, 0.4, 0.2), (32, 0.5, 0.15), (SIDE, LEAST_CORRELATION, LARGEST_CROP))
STEPS = 8  # of Gauss-Newton at each level
LARGEST_STEP = 0.04  # change of a scale or shift in one step
SCALES = (0.75, 1.33)
LARGEST_SHIFT = 0.15

# Correlations of layouts in memory at once; there are as many as pairs of images.
CORRELATIONS_AT_ONCE = 1 << 24
PAIRS_AT_ONCE = 128


class Thumbnail(NamedTuple):
    """What is compared of an image.

    grey: uint8 (SIDE, SIDE); both sides of the image are scaled to SIDE.
    layout: float32 (LAYOUT_SIDE * LAYOUT_SIDE * 3,): the coarsest version in colour, of mean 0 and
      length 1, so that the product of two is their correlation; 0 for a blank image.
    """

    grey: np.ndarray
    layout: np.ndarray


def find(image_paths: Mapping[str, pathlib.Path]) -> List[Tuple[str, str]]:
    """Pairs of names of images that are near-duplicates of each other, the first name before.

    Of many copies of one photograph not every pair is compared, but all are connected by pairs.

    Args:
      image_paths: file name to path, of images that can be decoded.

    Raises:
      UserError: an image cannot be decoded.
    """
    names = list(image_paths)
    if len(names) < 2:
        return []
    paths = [(path,) for path in image_paths.values()]
    grey = np.empty((len(paths), SIDE, SIDE), np.uint8)
    layouts = np.empty((len(paths), LAYOUT_SIDE * LAYOUT_SIDE * 3), np.float32)
    with parallel.Workers() as workers:
        mapped = workers.map(thumbnail, paths)
        found = progress(mapped, "comparing images", total=len(paths), unit="images")
        for row, of_image in enumerate(found):
            grey[row], layouts[row] = of_image
        pairs = candidates(layouts)
        parts = [
            pairs[start : start + PAIRS_AT_ONCE] for start in range(0, len(pairs), PAIRS_AT_ONCE)
        ]
        tasks = ((grey[part[:, 0]], grey[part[:, 1]]) for part in parts)
        same = list(workers.map(are_near_duplicates, tasks))
    if not parts:
        return []
    return [(names[one], names[other]) for one, other in pairs[np.concatenate(same)]]


def thumbnail(path: pathlib.Path) -> Thumbnail:
    """Reads an image as it is stored, without turning it by its EXIF orientation.

    Raises:
      UserError: it cannot be decoded.
    """
    # Twice the size, so that both sides are reduced.
    image = Image.fromarray(images.load(path, max_side=2 * SIDE).pixels)
    small = image.resize((SIDE, SIDE), Image.BOX)
    grey = np.asarray(small.convert("L"))
    layout = np.asarray(small.resize((LAYOUT_SIDE, LAYOUT_SIDE), Image.BOX), np.float32).ravel()
    layout = layout - layout.mean()
    if grey.std() < LEAST_CONTRAST:
        return Thumbnail(grey, np.zeros_like(layout))
    return Thumbnail(grey, layout / np.linalg.norm(layout))


def candidates(layouts: np.ndarray) -> np.ndarray:
    """The pairs of images that are worth aligning.

    Args:
      layouts: (N, D), as in Thumbnail.

    Returns:
      (P, 2) rows of ``layouts``, the smaller one first, each pair once, sorted.
    """
    count = len(layouts)
    rows_at_once = max(1, CORRELATIONS_AT_ONCE // count)
    starts = range(0, count, rows_at_once)
    codes = []  # smaller row * count + larger row
    for start in progress(starts, "comparing layouts", len(starts), "blocks"):
        correlations = layouts[start : start + rows_at_once] @ layouts.T  # (rows, count)
        own = np.arange(len(correlations))
        correlations[own, start + own] = -1  # not with itself
        near = correlations >= LEAST_CORRELATION_OF_LAYOUTS
        for row in np.flatnonzero(near.any(axis=1)):
            others = np.flatnonzero(near[row])
            if len(others) > NEAREST:
                nearest = np.argpartition(-correlations[row, others], NEAREST - 1)[:NEAREST]
                others = others[nearest]
            one = np.full(len(others), start + row)
            codes.append(np.minimum(one, others) * count + np.maximum(one, others))
    if not codes:
        return np.empty((0, 2), int)
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), count), axis=1)


def are_near_duplicates(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether the images of each pair show the same but for small margins.

    Args:
      first, second: (K, SIDE, SIDE), thumbnails in grey.

    Returns:
      bool (K,).
    """
    same = _is_part(second, first)
    others = np.flatnonzero(~same)
    same[others] = _is_part(first[others], second[others])
    return same


def _is_part(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Whether ``part`` of each pair, as in ``are_near_duplicates``, is aligned with ``whole``.

    Gauss-Newton steps converge more often where the image that is warped has what the other shows.
    """
    same = np.ones(len(part), dtype=bool)
    placements = np.tile([1.0, 0.0, 1.0, 0.0], (len(part), 1))
    for side, least_correlation, largest_crop in LEVELS:
        kept = np.flatnonzero(same)
        if len(kept):
            reduced = [_reduced(grey[kept], side) for grey in (whole, part)]
            placements[kept] = align(*reduced, placements[kept])
            same[kept] = correlation(*reduced, placements[kept]) >= least_correlation
            same[kept] &= cropped(placements[kept]) <= largest_crop
    return same


def align(first: np.ndarray, second: np.ndarray, placements: np.ndarray) -> np.ndarray:
    """Improves how the second image of each pair is placed in the first, by Gauss-Newton steps.

    Contrast and brightness may differ: they are estimated, too.

    Args:
      first, second: (K, n, n) grey levels.
      placements: (K, 4): scale and shift along y, scale and shift along x. What ``second`` has at
        the position p, ``first`` has at scale * p + shift. Positions are from -0.5 to 0.5, from one
        border to the other.

    Returns:
      placements, (K, 4).
    """
    pairs, side = first.shape[:2]
    position = _positions(side)
    for _ in range(STEPS):
        warped, inside = _warped(first, placements)
        along_y, along_x = np.gradient(warped, axis=(1, 2))
        along_y *= (side / placements[:, 0])[:, None, None]
        along_x *= (side / placements[:, 2])[:, None, None]
        # second = contrast * (warped + its derivatives * changes) + brightness: six unknowns
        terms = (
            along_y * position[:, None],
            along_y,
            along_x * position,
            along_x,
            warped,
            np.ones_like(warped),
        )
        columns = (np.stack(terms, axis=-1) * inside[..., None]).reshape(pairs, -1, len(terms))
        rows = columns.transpose(0, 2, 1)
        squares = (rows @ columns).astype(np.float64)
        diagonal = np.arange(len(terms))
        # Damped, so that an image without structure along an axis has a solution.
        squares[:, diagonal, diagonal] = squares[:, diagonal, diagonal] * 1.0001 + 0.001
        right = (rows @ (second * inside).reshape(pairs, -1, 1)).astype(np.float64)
        solution = np.linalg.solve(squares, right)[..., 0]
        contrast = np.maximum(solution[:, 4:5], 0.3)
        changes = np.clip(solution[:, :4] / contrast, -LARGEST_STEP, LARGEST_STEP)
        placements = placements + changes
        placements[:, 0::2] = np.clip(placements[:, 0::2], *SCALES)
        placements[:, 1::2] = np.clip(placements[:, 1::2], -LARGEST_SHIFT, LARGEST_SHIFT)
    return placements


def correlation(first: np.ndarray, second: np.ndarray, placements: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each pair of images where they overlap: (K,), from -1 to 1."""
    warped, inside = _warped(first, placements)
    count = inside.sum(axis=(1, 2))
    centred = []
    for grey in (warped, second):
        mean = (grey * inside).sum(axis=(1, 2)) / count
        centred.append((grey - mean[:, None, None]) * inside)
    one, other = centred
    lengths = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    return (one * other).sum(axis=(1, 2)) / np.maximum(lengths, 1e-6)


def cropped(placements: np.ndarray) -> np.ndarray:
    """The largest margin that one image of a pair lacks, as a share of the other's side: (K,)."""
    margins = []
    for scale, shift in (placements[:, :2].T, placements[:, 2:].T):
        for margin in ((1 - scale) / 2 + shift, (1 - scale) / 2 - shift):
            # What the second image lacks of the first, or, if negative, the first of the second.
            margins.append(np.maximum(margin, -margin / scale))
    return np.max(margins, axis=0)


def _positions(side: int) -> np.ndarray:
    """The centres of ``side`` pixels, from -0.5 to 0.5."""
    return ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)


def _warped(grey: np.ndarray, placements: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Each image as its placement has it.

    Returns:
      (warped, inside), both (K, n, n): grey levels by linear interpolation; 1 where the position is
      in the image, else 0.
    """
    by_y, inside_y = _interpolation(grey.shape[1], *placements[:, :2].T)
    by_x, inside_x = _interpolation(grey.shape[2], *placements[:, 2:].T)
    inside = (inside_y[:, :, None] & inside_x[:, None]).astype(np.float32)
    return by_y @ grey @ by_x.transpose(0, 2, 1), inside


def _interpolation(
    side: int, scale: np.ndarray, shift: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Matrices (K, n, n) that interpolate a column of pixels, and which are inside: bool (K, n)."""
    pixel = (scale[:, None] * _positions(side) + shift[:, None] + 0.5) * side - 0.5
    inside = (pixel > -0.5) & (pixel < side - 0.5)
    distance = np.abs(np.clip(pixel, 0, side - 1)[..., None] - np.arange(side))
    return np.maximum(0, 1 - distance).astype(np.float32), inside


def _reduced(grey: np.ndarray, side: int) -> np.ndarray:
    """(K, SIDE, SIDE) to float32 (K, side, side), by the mean of each square."""
    factor = grey.shape[1] // side
    squares = grey.reshape(len(grey), side, factor, side, factor)
    return squares.mean(axis=(2, 4), dtype=np.float32)
