"""Checks that validation and test images are new to the weights that a training starts from."""

import pathlib
from typing import List, Mapping, Sequence

from shelfdet.config import pipeline
from shelfdet.config.findings import Findings
from shelfdet.core import text
from shelfdet.data import trained_on
from shelfdet.training import run_notes

CHECKPOINT = "train_config.fine_tune_checkpoint"
USES = {"val": "validation", "test": "test"}


def check(
    config: pipeline.Config,
    label_files: Mapping[str, Sequence[pathlib.Path]],
    run: pathlib.Path,
    findings: Findings,
) -> None:
    """Warns of validation and test images that the first weights were trained on.

    Such a training would end with a graph that `make eval` does not score, since figures on images
    that were used in training do not hold for new ones.

    Args:
      config: with the first weights of the training.
      label_files: label files of each split, as ``checks.find_label_files`` returns them.
      run: the run's folder.
      findings: for the warning.
    """
    known = run_notes.images_seen(config, run, resumes=False).get(trained_on.BEFORE, {})
    seen = {use: _known_images(label_files.get(use, ()), known) for use in USES}
    parts = [
        f"{text.counted(len(names), f'{USES[use]} image')} ({text.listed(names)})"
        for use, names in seen.items()
        if names
    ]
    if parts:
        findings.warning(
            CHECKPOINT,
            found=f"weights that were trained on {' and '.join(parts)} of this data",
            expected="validation and test images that are new to them: otherwise `make eval` will "
            "refuse to score the trained graph",
            write="other weights, or none; or the data again with the split of these weights "
            "(`make data` with the same SPLIT, FOLD, SEED and VAL_SHARE)",
        )


def _known_images(label_files: Sequence[pathlib.Path], known: trained_on.Images) -> List[str]:
    images: trained_on.Images = {}
    for path in label_files:
        images.update(trained_on.of_labels(path))
    return sorted(trained_on.same(images, known))
