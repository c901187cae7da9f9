"""TensorFlow 1.15, imported without the notices that are nobody's to mend: deprecations, contrib's end, the processor's features."""

import logging
import os
import warnings

from shelfdet import UserError


def load():
    """The module ``tensorflow``, with object_detection known to be importable; call it where TensorFlow is first needed.

    Raises:
      UserError: one of them cannot be imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # before the import: it speaks while it loads
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
            import object_detection
        except ImportError as error:
            raise UserError(
                f"object_detection cannot be imported ({error}); expected it in models/research. Run `make setup`."
            ) from error
    assert object_detection
    return tensorflow
