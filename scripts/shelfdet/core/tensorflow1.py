"""Imports TensorFlow 1.15 with the warnings suppressed that a user can do nothing about.

These are deprecations inside TensorFlow, the end of tf.contrib, and features of the processor.
"""

import logging
import warnings
from types import ModuleType

from shelfdet import UserError
from shelfdet.core import parallel, tensorflow_environment


def load() -> ModuleType:
    """The module ``tensorflow``, once object_detection has been imported, too.

    Call it where TensorFlow is first needed: the import takes seconds.

    Raises:
      UserError: one of them cannot be imported.
    """
    tensorflow_environment.prepare(parallel.workers())
    # Before the import, because TensorFlow logs while it is imported.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow
        except ImportError as error:
            raise UserError(
                f"TensorFlow cannot be imported ({error}). Run `make setup`."
            ) from error
        tensorflow.compat.v1.logging.set_verbosity(tensorflow.compat.v1.logging.ERROR)
        try:
            import object_detection  # noqa: F401
        except ImportError as error:
            raise no_object_detection(error) from error
    return tensorflow


def no_object_detection(error: ImportError) -> UserError:
    """The error to raise where an import of object_detection failed with ``error``."""
    return UserError(
        f"object_detection cannot be imported ({error}); expected it in models/research. "
        "Run `make setup`."
    )
