#!/usr/bin/env python
"""Step 05: is this training config fit to train with?

Reads   a training config (default: workspace/training_demo/training/ssd_inception_v2_shelf.config), the label map and
        records it names, the checkpoint it starts from, and
        workspace/training_demo/annotations/{train,val,test}_labels.csv.
Writes  nothing.

Prints every problem in one go, each with file, line, key, what was found, what was expected and the line to write.
Builds the network and its anchors through object_detection, so that "one anchor per cell" is proved and not read off.
Ends with status 1 on any error, 0 with warnings alone.

    python scripts/training/05_check_config.py
    python scripts/training/05_check_config.py --config workspace/training_demo/training/ssd_inception_v2_coco.config
"""

import argparse
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[1])
)  # scripts/, where shelfdet lives
from shelfdet import UserError
from shelfdet.core import command_line, paths

SPLITS = ("train", "val", "test")


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=paths.DEFAULT_CONFIG,
        metavar="FILE",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--start-from",
        type=pathlib.Path,
        metavar="PATH",
        help="what step 06 will be told to begin with",
    )
    for split in SPLITS:
        parser.add_argument(
            f"--{split}-labels",
            type=pathlib.Path,
            metavar="FILE",
            help=f"default: {paths.shown(paths.labels(split))}, if it is there",
        )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    from shelfdet.config import checks, findings

    checked = checks.problems(args.config, labels(args), start_from=args.start_from)
    for finding in checked.findings:
        print(findings.as_text(finding), end="\n\n")
    print(summary(checked))
    errors, warnings = (
        checked.findings.count(severity) for severity in (findings.ERROR, findings.WARNING)
    )
    print(
        "{}: {}".format(
            paths.shown(args.config),
            "no problems"
            if not errors + warnings
            else "{} error{}, {} warning{}".format(
                errors, "" if errors == 1 else "s", warnings, "" if warnings == 1 else "s"
            ),
        )
    )
    return 1 if errors else 0


def labels(args):
    """dict of split to label file: those that were named, and those of the workspace that are there."""
    found = {}
    for split in SPLITS:
        named = getattr(args, split + "_labels")
        if named is not None and not named.is_file():
            raise UserError(
                f"--{split}-labels {named}: no such file; expected a label file as step 02 writes it."
            )
        path = named or paths.labels(split)
        if path.is_file():
            found[split] = path
    return found


def summary(checked):
    """What the network is, in a few lines."""
    lines = []
    if checked.network is not None:
        grids = " and ".join("{} x {}".format(*grid_wh) for grid_wh in checked.network.grids_wh)
        lines.append(
            "input {} x {} px, feature maps {}, {:.2f} GMACs an image".format(
                *checked.network.image_wh, grids, checked.network.multiply_adds / 1e9
            )
        )
    if checked.coverage is not None and len(checked.coverage.best_iou):
        covered = checked.coverage
        lines.append(
            f"one anchor per cell; {(covered.best_iou >= 0.5).mean():.2f} of {len(covered.best_iou)} train boxes meet an anchor at IoU >= 0.5, {covered.lost.mean():.3f} lose their best anchor to another box"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run(main)
