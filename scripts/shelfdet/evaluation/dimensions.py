"""What the scored images differ in: folder, camera and planogram, or size.

The figures of metrics.json are also given for each folder, camera, planogram or image size. A
dimension that the images do not have, or that is the same for all of them, is left out.
"""

import collections
import pathlib
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from shelfdet.data.splitting import splits
from shelfdet.evaluation.matching import Matches

NOT_STATED = "other"  # the camera and the planogram of names that do not state them
MOST_SIZES = 8  # with more different sizes, images are grouped by their longer side
SMALLEST_GROUP = 256  # pixels: the largest longer side of the first group


def of_images(
    matches: Sequence[Matches], folders: Optional[Mapping[str, str]] = None
) -> Dict[str, List[str]]:
    """The groups of the images in each dimension that they have.

    Args:
      matches: of the images.
      folders: name of an image to its folder, where these are known and differ.

    Returns:
      OrderedDict of the key in metrics.json -> the group of each image: "by_folder", where
      ``folders`` are given. Where a name follows the scheme of the Grocery Dataset: "by_camera" and
      "by_planogram"; otherwise "by_image_size", if the sizes are known and differ.
    """
    scenes = [_scene(image.filename) for image in matches]
    found: Dict[str, List[str]] = collections.OrderedDict()
    if folders:
        found["by_folder"] = [folders.get(image.filename, NOT_STATED) for image in matches]
    if any(scenes):
        known = [scene or (NOT_STATED, NOT_STATED) for scene in scenes]
        found["by_camera"] = [camera for camera, _ in known]
        found["by_planogram"] = [planogram for _, planogram in known]
        return found
    sizes = _size_groups([image.size_wh for image in matches])
    if len(set(sizes)) > 1:
        found["by_image_size"] = sizes
    return found


def _scene(filename: str) -> Optional[Tuple[str, str]]:
    """(camera, planogram) of an image's name; None where the name does not state them."""
    if not pathlib.PurePath(filename).suffix:
        # Where both sides are text files, names have no suffix; the scheme of names expects one.
        filename += ".JPG"
    return splits.scene(filename)


def _size_groups(sizes_wh: Sequence[Optional[Tuple[int, int]]]) -> List[str]:
    """A name for the size of each image; of many sizes the range of the longer side.

    A range ends at twice the side at which the one below it ends. Without all sizes, nothing.
    """
    known = [size_wh for size_wh in sizes_wh if size_wh is not None]
    if len(known) < len(sizes_wh):
        return []
    if len(set(known)) <= MOST_SIZES:
        return [f"{width} x {height} px" for width, height in known]
    return [_range_of(max(size_wh)) for size_wh in known]


def _range_of(side: int) -> str:
    high = SMALLEST_GROUP
    while high < side:
        high *= 2
    low = 1 if high == SMALLEST_GROUP else high // 2 + 1
    return f"longer side {low} to {high} px"
