"""The folders that a user keeps images in, such as one a shop: a dimension of the figures.

Step 01 puts links to all images of a split into one folder, and label files hold their names alone.
The links lead back to the folders.
"""

import os
import pathlib
from typing import Dict, Sequence

from shelfdet import UserError
from shelfdet.core import paths
from shelfdet.data import layout
from shelfdet.data.splitting.split_names import split_of_label_file

MOST_FOLDERS = 20  # more say nothing; the folders that hold them may


def of_labels(label_file: pathlib.Path, filenames: Sequence[str]) -> Dict[str, str]:
    """The folder of each image of a label file.

    Args:
      label_file: as step 02 writes it for a dataset of the workspace; others have no images there.
      filenames: of its images.

    Returns:
      name of an image to its folder, relative to the one that holds all; empty where all are in
      one folder, as copies are, or in too many.
    """
    dataset = paths.dataset_of(label_file.parent)
    if dataset is None:
        return {}
    home = paths.dataset_images(dataset) / paths.SHELF_IMAGES_NAME
    try:
        located = layout.locate(home, filenames, split_of_label_file(label_file))
    except UserError:
        return {}  # the images were moved: step 09 needs none
    folders = [path.resolve().parent for path in located]
    common = os.path.commonpath([str(folder) for folder in folders]) if folders else ""
    names = [folder.relative_to(common).as_posix() for folder in folders]
    if len(set(names)) > MOST_FOLDERS:
        names = [name.split("/")[0] for name in names]
    if not 1 < len(set(names)) <= MOST_FOLDERS:
        return {}
    return dict(zip(filenames, names))
