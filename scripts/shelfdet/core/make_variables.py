"""The variables of the Makefile that give an option to a script.

Whoever runs a step by `make` cannot give it options: messages name both forms.
"""

import shlex

# The variable of each option. tests/core/test_make_variables.py compares them with the Makefile.
VARIABLES = {
    "--annotations": "ANNOTATIONS",
    "--archive": "ARCHIVE",
    "--bad-boxes": "BAD_BOXES",
    "--checkpoint": "CHECKPOINT",
    "--classes": "CLASSES",
    "--config": "CONFIG",
    "--corrected": "CORRECTED",
    "--dataset": "NAME",
    "--draw": "DRAW",
    "--empty-images": "EMPTY_IMAGES",
    "--exif": "EXIF",
    "--fold": "FOLD",
    "--format": "FORMAT",
    "--from": "FROM",
    "--graph": "GRAPH",
    "--graph-dir": "GRAPH",
    "--images": "IMAGES",
    "--marked": "OUTPUT",
    "--master": "MASTER",
    "--max-side": "MAX_SIDE",
    "--minutes": "MINUTES",
    "--name": "GRAPH",
    "--out-of-image": "OUT_OF_IMAGE",
    "--output": "OUTPUT",
    "--prelabel": "OUTPUT",
    "--product-aspect-ratio": "PRODUCT_ASPECT_RATIO",
    "--product-scale": "PRODUCT_SCALE",
    "--run-dir": "RUN_DIR",
    "--runtime": "RUNTIME",
    "--seed": "SEED",
    "--split": "SPLIT",
    "--start-from": "START",
    "--steps": "STEPS",
    "--test-share": "TEST_SHARE",
    "--threshold": "THRESHOLD",
    "--tiles": "TILES",
    "--val-share": "VAL_SHARE",
    "--workers": "WORKERS",
}
# Those of options without a value; 1 turns them on.
FLAGS = {
    "--allow-missing": "ALLOW_MISSING",
    "--overwrite": "OVERWRITE",
    "--pad-strips": "PAD",
    "--skip-bad": "SKIP_BAD",
    "--unfolded": "UNFOLDED",
}


def both(option: str) -> str:
    """An option in a message, as a script and as `make` take it.

    Args:
      option: one of VARIABLES or FLAGS, perhaps with a value: "--exif apply".

    Returns:
      "--exif apply (make: EXIF=apply)"; without the value "--exif (make: EXIF=)".
    """
    name, _, value = option.partition(" ")
    if name in FLAGS:
        return f"{name} (make: {FLAGS[name]}=1)"
    return f"{option} (make: {VARIABLES[name]}={shlex.quote(value) if value else ''})"


def both_if_known(option: str) -> str:
    """As ``both``, or the option alone if `make` has no variable for it."""
    return both(option) if option in VARIABLES or option in FLAGS else option
