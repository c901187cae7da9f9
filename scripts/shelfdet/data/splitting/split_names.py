"""The names that tools give to training, validation and test images, in files and folders."""

import pathlib
import re
from typing import Optional

# Names of each split, as different tools write them.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
# Words beside such a name in that of a folder of images: train_images, images-val, obj_train_data.
WORDS_OF_FOLDERS = ("data", "image", "images", "img", "imgs", "obj", "set")


def split_of_name(name: str) -> Optional[str]:
    """The one split that the words of a name state, as of instances_val2017; None without one."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    found = {split for split, names in SPLIT_NAMES.items() for word in words if word in names}
    return found.pop() if len(found) == 1 else None


def split_of_label_file(path: pathlib.Path) -> str:
    """The split whose folder is searched first for the images of a label file: train by default."""
    return split_of_name(path.stem) or "train"


def split_of_folder(name: str) -> Optional[str]:
    """The split that the name of a folder of images states, as train2017; None where it is another.

    A folder that is named after more than a split, as "train stations", is none.
    """
    words = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    known = WORDS_OF_FOLDERS + tuple(name for names in SPLIT_NAMES.values() for name in names)
    is_known = all(word in known or re.match(r"\d{4}$", word) for word in words)  # or a year
    return split_of_name(name) if is_known else None
