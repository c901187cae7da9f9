#!/usr/bin/env python
"""Step 05: checks whether a training config is ready for training.

Reads   a training config (by default the one that you edit, ssd_inception_v2_custom.config), the
        label map and records that it names, the checkpoint that training starts from, and
        {train,val,test}_labels.csv beside the records, or of workspace/training_demo/annotations/.
        Records of several datasets, several input_path lines, are checked each and together.
Writes  nothing.

Prints all problems at once, each with file, line, key, what was found, what was expected and the
line to write. Builds the network and its anchors with object_detection, so "one anchor per cell" is
counted on the real anchors. Exits with status 1 if there are errors, with 0 if there are only
warnings or notes.

    python scripts/training/05_check_config.py
    python scripts/training/05_check_config.py --config FILE
"""

import argparse
import pathlib
import sys
from typing import Any, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, next_step, paths
from shelfdet.core.text import counted
from shelfdet.training import options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_run_options(parser)
    for split in paths.SPLITS:
        parser.add_argument(
            f"--{split}-labels",
            **command_line.FILE,
            help="default: the one beside the record, or "
            f"{paths.shown(paths.labels(split))}, if it exists",
        )
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    args = parse(argv)
    from shelfdet.anchors import coverage
    from shelfdet.config import checks, findings, pipeline
    from shelfdet.training import first_weights

    named = {split: getattr(args, f"{split}_labels") for split in paths.SPLITS}
    label_files = checks.find_label_files(named, args.config)
    run = options.run_folder(args.run_dir, args.config)
    checked = checks.check_config(args.config, label_files, start_from=args.start_from, run=run)
    first_weights.check(checked.config, label_files, run, checked.findings)
    for finding in checked.findings:
        print(findings.as_text(finding), end="\n\n")
    if checked.network is not None:
        print(network_line(checked.network))
    if checked.coverage is not None and len(checked.coverage.best_iou):
        threshold = pipeline.matcher(checked.config).matched or coverage.COVERED_IOU
        print(coverage_line(checked.coverage, threshold))
        for record, best_iou in checked.best_iou_by_record.items():
            print(f"  {record}: anchor coverage {covered(best_iou, threshold)}")
    errors = checked.findings.count(findings.ERROR)
    warnings = checked.findings.count(findings.WARNING)
    print(f"{paths.shown(args.config)}: {count_text(errors, warnings)}")
    if not errors:
        next_step.show(next_step.after(argv, "train"))
    return 1 if errors else 0


def network_line(network: Any) -> str:
    """The size of a config.network.Network."""
    width, height = network.image_wh
    grids = " and ".join(f"{columns} x {rows}" for columns, rows in network.grids_wh)
    gmacs = network.multiply_adds / 1e9
    return f"input {width} x {height} px, feature maps {grids}, {gmacs:.2f} GMACs per image"


def coverage_line(measured: Any, threshold: float) -> str:
    """The share of the train boxes that an anchor covers, of a coverage.Coverage."""
    return (
        f"one anchor per cell; anchor coverage {covered(measured.best_iou, threshold)}; "
        f"{measured.collided.mean():.3f} of the boxes lose their best anchor to another box"
    )


def covered(best_iou: Sequence[float], threshold: float) -> str:
    """How many boxes are covered, of the IoU of each with its best anchor, at a threshold."""
    from shelfdet.anchors import coverage

    share = coverage.shares(best_iou, [threshold])[0]
    return f"{share:.2f} of {counted(len(best_iou), 'train box')} at IoU >= {threshold:g}"


def count_text(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "no problems"
    plural_errors = "" if errors == 1 else "s"
    plural_warnings = "" if warnings == 1 else "s"
    return f"{errors} error{plural_errors}, {warnings} warning{plural_warnings}"


if __name__ == "__main__":
    command_line.run(main)
