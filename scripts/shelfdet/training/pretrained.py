"""The SSD Inception V2 of TensorFlow's detection model zoo, trained on COCO, to fine-tune from."""

import pathlib
from typing import List

from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import download
from shelfdet.inference import checkpoints

MODEL = "ssd_inception_v2_coco_2018_01_28"
URL = f"http://download.tensorflow.org/models/object_detection/{MODEL}.tar.gz"
CHECKPOINT_FILES = ("model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001")


def missing_files(folder: pathlib.Path) -> List[str]:
    """Which of the checkpoint's files are not in ``folder``."""
    return [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]


def is_complete(folder: pathlib.Path) -> bool:
    """Whether the checkpoint is in ``folder`` and can be read to its end."""
    return not missing_files(folder) and checkpoints.is_whole(folder / paths.CHECKPOINT_PREFIX)


def unpack(archive: pathlib.Path, target: pathlib.Path) -> None:
    """Puts the files of the archive's one folder into ``target``, the checkpoint among them.

    Raises:
      UserError: the archive cannot be read, or holds no checkpoint.
    """
    if archive.is_file():
        print(f"unpacking {paths.shown(archive)}, sha256 {files.sha256(archive)}")
    download.extract(archive, target, strip=1)
    missing = missing_files(target)
    if missing:
        raise UserError(
            f"{archive}: holds no {' and no '.join(missing)}; expected "
            f"{', '.join(CHECKPOINT_FILES)} in the archive's one folder, as in {URL}. Delete it "
            "and download that one."
        )
