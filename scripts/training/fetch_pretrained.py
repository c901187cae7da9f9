#!/usr/bin/env python
"""Fetches the zoo's SSD Inception V2, trained on COCO, to fine-tune from; training from scratch needs none of it.

Reads   the network: ssd_inception_v2_coco_2018_01_28.tar.gz of TensorFlow's detection model zoo
Writes  workspace/training_demo/pre-trained-model/ssd_inception_v2_coco_2018_01_28/, the archive's files
        workspace/training_demo/pre-trained-model/ssd_inception_v2_coco_2018_01_28.tar.gz

A download that breaks goes on where it stopped when the same command is started again. At the end it says what to write at
fine_tune_checkpoint.

    python scripts/training/fetch_pretrained.py
    python scripts/training/fetch_pretrained.py --archive ~/Downloads/ssd_inception_v2_coco_2018_01_28.tar.gz
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

MODEL = "ssd_inception_v2_coco_2018_01_28"
URL = f"http://download.tensorflow.org/models/object_detection/{MODEL}.tar.gz"
CHECKPOINT_FILES = ("model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--archive", type=pathlib.Path, metavar="FILE", help="an archive that was fetched by hand"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=paths.PRETRAINED,
        metavar="FOLDER",
        help="where it goes (default: %(default)s)",
    )
    parser.add_argument("--url", default=URL, help="(default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    from shelfdet.data import download

    target = args.out / MODEL
    if not lacking(target):
        print(f"already here: {paths.shown(target)}")
    else:
        archive = args.archive
        if archive is None:
            archive = args.out / (MODEL + ".tar.gz")
            if not archive.exists():
                print(f"fetching {args.url}")
                download.fetch(args.url, archive)
        unpack(download, archive, target)
    print(
        f'in the .config, under train_config, write\n  fine_tune_checkpoint: "{paths.shown(target / "model.ckpt")}"'
    )


def unpack(download, archive, target):
    """Puts the files of the archive's one folder at ``target``, and looks whether a checkpoint is among them."""
    if archive.is_file():
        print(f"unpacking {paths.shown(archive)}, sha256 {files.sha256(archive)}")
    download.extract(archive, target, strip=1)
    if lacking(target):
        raise UserError(
            f"{archive}: holds no {' and no '.join(lacking(target))}; expected {', '.join(CHECKPOINT_FILES)} in the archive's one folder, as in {URL}. Delete it and fetch that one."
        )


def lacking(folder):
    """Which of the checkpoint's files are not in ``folder``."""
    return [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]


if __name__ == "__main__":
    command_line.run(main)
