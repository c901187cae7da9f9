"""How tests run tiny networks and small graphs: TensorFlow then starts sooner."""

import re

# For the environment of the process. Intel's build of TensorFlow otherwise rewrites each graph for
# its own kernels, which takes half of the time until the first step. The stock build ignores it.
QUICK_START = {"TF_DISABLE_MKL": "1"}

CROPS = r"(?m)^  data_augmentation_options \{\n    ssd_random_crop\w* \{\n(?:    .*\n)*  \}\n"


def without_crops(text):
    """A config's text without random crops, the operations that take longest to build."""
    text, count = re.subn(CROPS, "", text)
    assert count == 1
    return text
