"""Registers the labels of two photographs of one shelf: which box is which, and where it maps to.

The front of a shelf is nearly flat, so one homography (a projective map with 8 parameters) carries
its products from image to image. It is fitted to the centres of all boxes at once by the direct
linear transform (Hartley and Zisserman, Multiple View Geometry, 2nd ed., algorithm 4.2). Assignment
of the boxes and fit alternate: assign the nearest, fit, assign again (iterative closest point, Besl
and McKay 1992).
"""

import collections
import itertools
from typing import Iterable, List, NamedTuple, Optional, Tuple

import numpy as np
import scipy.optimize

from shelfdet.data.labels import LabelledImage
from shelfdet.data.splitting import splits

MIN_BOXES = 10  # in an image; a fit to fewer follows their noise
ITERATIONS = 12
# In the first iterations every box is assigned; later ones use near boxes only.
ITERATIONS_WITH_ALL = 6
NEAR = 0.5  # of the median width: farther away it is another product
# Least spread of the centres across the line that fits them best, as a share of the median height.
# Two rows of equal length have 0.5; a single row determines no homography.
MIN_SPREAD = 0.25


class Registered(NamedTuple):
    """Boxes of a first image in the pixels of a second; each (N, 4), a row is the same product.

    Attributes:
      mapped_xyxy: by the homography fitted to all boxes, which follows each box's noise a little.
      leave_one_out_xyxy: each box by a homography fitted to the others, which adds its own error.
      second_xyxy: the labels of the second image.
    """

    mapped_xyxy: np.ndarray
    leave_one_out_xyxy: np.ndarray
    second_xyxy: np.ndarray


class Pair(NamedTuple):
    """Two images of one shelf and the boxes of the first registered onto the second."""

    first: LabelledImage
    second: LabelledImage
    registered: Registered


def find_pairs(images: Iterable[LabelledImage]) -> Tuple[List[Pair], int]:
    """Registers all pairs of images of one shelf (file names that differ in the copy number only).

    Returns:
      (the pairs that could be registered, number of pairs of one shelf). A pair is left out if its
      images have different numbers of boxes, fewer than MIN_BOXES or a single row of them, or if a
      box has no counterpart.
    """
    by_shelf = collections.defaultdict(list)
    for image in images:
        by_shelf[splits.shelf(image.filename)].append(image)
    pairs = []
    count = 0
    for shelf in sorted(by_shelf):
        for first, second in itertools.combinations(by_shelf[shelf], 2):
            count += 1
            registered = register(first.boxes_xyxy, second.boxes_xyxy)
            if registered is not None:
                pairs.append(Pair(first, second, registered))
    return pairs, count


def register(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> Optional[Registered]:
    """Registers the boxes of one image onto those of another image of the same shelf.

    Args:
      first_xyxy: (N, 4) in pixels of its image, in any order.
      second_xyxy: (M, 4) in pixels of its image, in any order.

    Returns:
      Registered, or None if the boxes do not correspond one to one.
    """
    if len(first_xyxy) != len(second_xyxy) or len(first_xyxy) < MIN_BOXES:
        return None
    if _is_single_row(first_xyxy) or _is_single_row(second_xyxy):
        return None
    start = _centres(first_xyxy)
    goal = _centres(second_xyxy)
    max_distance = NEAR * np.median(second_xyxy[:, 2] - second_xyxy[:, 0])
    assignment = _assign(start, goal, max_distance)
    if assignment is None:
        return None
    first_index, second_index = assignment
    # Where one product has no counterpart, its neighbours may be assigned to each other's.
    if len(first_index) < len(start):
        return None
    first_xyxy = first_xyxy[first_index]
    start = start[first_index]
    goal = goal[second_index]
    leave_one_out = [
        map_boxes(
            fit_homography(np.delete(start, row, axis=0), np.delete(goal, row, axis=0)),
            first_xyxy[row : row + 1],
        )
        for row in range(len(start))
    ]
    return Registered(
        map_boxes(fit_homography(start, goal), first_xyxy),
        np.concatenate(leave_one_out),
        second_xyxy[second_index],
    )


def _assign(
    start: np.ndarray, goal: np.ndarray, max_distance: float
) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Assigns points, (N, 2), to points, (N, 2), up to a homography.

    Returns:
      (indices of ``start``, indices of ``goal``) of the pairs within ``max_distance``, or None if
      fewer than MIN_BOXES are, or the fit degenerates.
    """
    mapped = _same_outline(start, goal)
    for iteration in range(ITERATIONS):
        distance = np.linalg.norm(mapped[:, None] - goal[None], axis=2)  # (N, N)
        first_index, second_index = scipy.optimize.linear_sum_assignment(distance)
        # The first fit is far off: dropping distant boxes at once would drop correct pairs.
        if iteration >= ITERATIONS_WITH_ALL:
            near = distance[first_index, second_index] < max_distance
            first_index = first_index[near]
            second_index = second_index[near]
        if len(first_index) < MIN_BOXES:
            return None
        homography = fit_homography(start[first_index], goal[second_index])
        mapped = map_points(homography, start)
        if not np.isfinite(mapped).all():
            return None
    return first_index, second_index


def _same_outline(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A first guess of where points map to: their bounding box becomes that of the targets."""
    low = points.min(axis=0)
    size = points.max(axis=0) - low
    target_low = targets.min(axis=0)
    target_size = targets.max(axis=0) - target_low
    return (points - low) / size * target_size + target_low


def fit_homography(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The homography, (3, 3), that maps points to targets with least algebraic error.

    Args:
      points: (N, 2), at least four.
      targets: (N, 2).
    """
    points, to_normal = _normalised(points)
    targets, target_to_normal = _normalised(targets)
    x, y = points.T
    u, v = targets.T
    zero = np.zeros_like(x)
    one = np.ones_like(x)
    u_rows = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1)  # (N, 9)
    v_rows = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1)
    # The last right singular vector minimises the norm of the equations' left sides.
    _, _, right = np.linalg.svd(np.concatenate([u_rows, v_rows]))
    return np.linalg.inv(target_to_normal) @ right[-1].reshape(3, 3) @ to_normal


def map_points(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points, (N, 2), mapped by a homography."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def map_boxes(homography: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Boxes, (N, 4), mapped corner by corner; each side is the mean of its two mapped corners."""
    left_top = map_points(homography, boxes_xyxy[:, [0, 1]])
    right_top = map_points(homography, boxes_xyxy[:, [2, 1]])
    right_bottom = map_points(homography, boxes_xyxy[:, [2, 3]])
    left_bottom = map_points(homography, boxes_xyxy[:, [0, 3]])
    xmin = (left_top + left_bottom)[:, 0] / 2
    ymin = (left_top + right_top)[:, 1] / 2
    xmax = (right_top + right_bottom)[:, 0] / 2
    ymax = (left_bottom + right_bottom)[:, 1] / 2
    return np.stack([xmin, ymin, xmax, ymax], axis=1)


def _is_single_row(boxes_xyxy: np.ndarray) -> bool:
    """Whether the centres are nearly on one line."""
    centres = _centres(boxes_xyxy)
    singular = np.linalg.svd(centres - centres.mean(axis=0), compute_uv=False)
    spread = singular[-1] / np.sqrt(len(centres))  # standard deviation across the line
    return bool(spread < MIN_SPREAD * np.median(boxes_xyxy[:, 3] - boxes_xyxy[:, 1]))


def _centres(boxes_xyxy: np.ndarray) -> np.ndarray:
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


def _normalised(points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(points moved to 0 and scaled to a spread of 1, the matrix that does both).

    Without it the fit is ill-conditioned (Hartley and Zisserman, section 4.4).
    """
    middle_x, middle_y = points.mean(axis=0)
    spread = points.std()
    matrix = np.array(
        [[1 / spread, 0, -middle_x / spread], [0, 1 / spread, -middle_y / spread], [0, 0, 1]]
    )
    return (points - (middle_x, middle_y)) / spread, matrix
