"""Environment variables that TensorFlow reads when it is imported."""

import os
from typing import Dict


def variables(threads: int) -> Dict[str, str]:
    """The environment variables that TensorFlow reads when it is imported.

    Intel's build has threads of its own, which the stock build has not: the session's settings do
    not hold for them, and by default each spins for 200 ms after an operation.

    Args:
      threads: that compute one operation; the number of cores, over the operations at a time.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def prepare(threads: int) -> None:
    """Sets ``variables``, before TensorFlow is imported. What is set already is kept."""
    for name, value in variables(threads).items():
        os.environ.setdefault(name, value)
