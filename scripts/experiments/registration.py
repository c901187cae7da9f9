"""The same shelf photographed twice: which labelled box of one image is which of the other, and where it would lie there.

A shelf's front is nearly flat, so one homography (a projective map, 8 numbers) carries its packs from image to image. It
is fitted to the centres of all boxes at once, by the direct linear transform (Hartley and Zisserman, Multiple View Geometry,
2nd ed., algorithm 4.2), and who belongs to whom is settled by turns with it: nearest partner, fit, nearest partner again
(iterative closest point, Besl and McKay 1992).
"""

import collections
import itertools

import numpy as np
import scipy.optimize

from shelfdet.data import splits

FEWEST = 10  # boxes that an image must have: a fit to fewer follows their noise
ROUNDS = 12
SETTLING = 6  # rounds in which everything has a partner; then only what lies near
NEAR = 0.5  # of the median width: further away it is another pack
FLAT = 0.25  # of the median height, the spread of the centres across their line: two equal rows have 0.5; one row fixes no map

Pair = collections.namedtuple("Pair", "first second mapped_xyxy foreseen_xyxy labelled_xyxy")
Pair.__doc__ = """Two images of one shelf.

first, second: LabelledImages. mapped_xyxy: (N, 4), the labels of the first where its packs lie in the second; the map was fitted to
all packs, and so a little to each one's noise. foreseen_xyxy: (N, 4), the same by maps that were each fitted to the other packs alone, and
so err a little themselves. labelled_xyxy: (N, 4), what the second has there, row by row."""


def pairs(images):
    """All pairs of images of one shelf (file names that differ in the copy number alone) that can be laid on each other.

    Args:
      images: list of LabelledImage.

    Returns:
      (list of Pair, how many pairs of images of one shelf there are). A pair is left out where the images have
      different numbers of boxes, or fewer than FEWEST, or a single row of them, or some box finds no partner.
    """
    by_shelf = collections.defaultdict(list)
    for image in images:
        by_shelf[splits.shelf(image.filename)].append(image)
    both = [
        pair for _, group in sorted(by_shelf.items()) for pair in itertools.combinations(group, 2)
    ]
    laid = [(first, second, lay(first.boxes_xyxy, second.boxes_xyxy)) for first, second in both]
    return [Pair(first, second, *found) for first, second, found in laid if found is not None], len(
        both
    )


def lay(first_xyxy, second_xyxy):
    """Lays the boxes of one image on those of another of the same shelf.

    Args:
      first_xyxy, second_xyxy: (N, 4) and (M, 4) in pixels of their images, in any order.

    Returns:
      (mapped_xyxy, foreseen_xyxy, labelled_xyxy) as in Pair, or None where they cannot be laid one to one.
    """
    if len(first_xyxy) != len(second_xyxy) or len(first_xyxy) < FEWEST:
        return None
    start, goal = _centres(first_xyxy), _centres(second_xyxy)
    near = NEAR * np.median(second_xyxy[:, 2] - second_xyxy[:, 0])
    if any(
        _across(points) < FLAT * np.median(xyxy[:, 3] - xyxy[:, 1])
        for points, xyxy in ((start, first_xyxy), (goal, second_xyxy))
    ):
        return None
    low, high = start.min(axis=0), start.max(axis=0)
    # First guess: the outlines of both sets of centres lie on each other.
    here = (start - low) / (high - low) * (goal.max(axis=0) - goal.min(axis=0)) + goal.min(axis=0)
    for turn in range(ROUNDS):
        away = np.linalg.norm(here[:, None] - goal[None], axis=2)  # (N, N)
        mine, partner = scipy.optimize.linear_sum_assignment(away)
        if turn >= SETTLING:
            kept = away[mine, partner] < near
            mine, partner = mine[kept], partner[kept]
        if len(mine) < FEWEST:
            return None
        homography = fit(start[mine], goal[partner])
        here = carry(homography, start)
        if not np.isfinite(here).all():
            return None
    if len(mine) < len(start):
        return None
    first_xyxy, start, goal = first_xyxy[mine], start[mine], goal[partner]
    others = [
        fit(np.delete(start, row, axis=0), np.delete(goal, row, axis=0))
        for row in range(len(start))
    ]
    foreseen = [
        outline(without, first_xyxy[row : row + 1])[0] for row, without in enumerate(others)
    ]
    return outline(homography, first_xyxy), np.array(foreseen), second_xyxy[partner]


def fit(points, targets):
    """The homography, (3, 3), that carries points to targets, both (N, 2), with the least algebraic error."""
    (points, inward), (targets, outward) = _normalised(points), _normalised(targets)
    (x, y), (u, v) = points.T, targets.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    return np.linalg.inv(outward) @ np.linalg.svd(rows)[2][-1].reshape(3, 3) @ inward


def carry(homography, points):
    """Points, (N, 2), as the homography carries them."""
    carried = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return carried[:, :2] / carried[:, 2:]


def outline(homography, boxes_xyxy):
    """Boxes, (N, 4), carried corner by corner; each side is the mean of its two carried corners."""
    left_top, right_top, right_bottom, left_bottom = (
        carry(homography, boxes_xyxy[:, corner]) for corner in ([0, 1], [2, 1], [2, 3], [0, 3])
    )
    return (
        np.stack(
            [
                (left_top + left_bottom)[:, 0],
                (left_top + right_top)[:, 1],
                (right_top + right_bottom)[:, 0],
                (left_bottom + right_bottom)[:, 1],
            ],
            axis=1,
        )
        / 2
    )


def _across(points):
    """The standard deviation of points, (N, 2), across the line that fits them best."""
    return np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(points))


def _centres(boxes_xyxy):
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


def _normalised(points):
    """(points around 0 with a spread of 1, the matrix that does it): without it the fit is ill-conditioned."""
    middle, spread = points.mean(axis=0), points.std()
    matrix = np.array(
        [[1 / spread, 0, -middle[0] / spread], [0, 1 / spread, -middle[1] / spread], [0, 0, 1]]
    )
    return (points - middle) / spread, matrix
