#!/usr/bin/env python
"""Downloads the zoo's SSD Inception V2, trained on COCO, to fine-tune from.

Training from scratch does not need it.

Reads   the network: ssd_inception_v2_coco_2018_01_28.tar.gz of TensorFlow's detection model zoo
Writes  workspace/training_demo/pre-trained-model/ssd_inception_v2_coco_2018_01_28/, the archive's
        files workspace/training_demo/pre-trained-model/ssd_inception_v2_coco_2018_01_28.tar.gz

The same command resumes an interrupted download. At the end it prints the line to write at
fine_tune_checkpoint.

    python scripts/training/fetch_pretrained.py
    python scripts/training/fetch_pretrained.py \\
        --archive ~/Downloads/ssd_inception_v2_coco_2018_01_28.tar.gz
"""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, paths
from shelfdet.data import download
from shelfdet.training import pretrained


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument("--archive", **command_line.FILE, help="an archive downloaded by hand")
    parser.add_argument(
        "--out", **command_line.FOLDER, default=paths.PRETRAINED, help="(default: %(default)s)"
    )
    parser.add_argument("--url", default=pretrained.URL, help="(default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    target = args.out / pretrained.MODEL
    if not pretrained.is_complete(target):
        archive = args.archive or args.out / f"{pretrained.MODEL}.tar.gz"
        if not args.archive and not archive.exists():
            print(f"downloading {args.url}")
            download.fetch(args.url, archive)
        pretrained.unpack(archive, target)
    else:
        print(f"already here: {paths.shown(target)}")
    checkpoint = paths.shown(target / "model.ckpt")
    print(f'in the .config, under train_config, write\n  fine_tune_checkpoint: "{checkpoint}"')


if __name__ == "__main__":
    command_line.run(main)
