"""shelfdet: the library behind the numbered scripts of this workspace.

Conventions, stated once and valid everywhere:

* A box is ``xyxy``: xmin, ymin, xmax, ymax, float, in pixels; x grows to the right, y grows
  downwards, the origin is the top left corner of the top left pixel. Width is ``xmax - xmin``,
  without "+ 1". Arrays of boxes have shape (N, 4); names say so (``boxes_xyxy``). Sizes are
  ``size_wh``: (width, height).
* Pixels are those of the *raw* image as TensorFlow decodes it. An EXIF orientation is never
  applied, unless an option asks for it (``--exif apply``).
* Coordinates of other frames are named: ``normalised`` (0 to 1 of the image's width and height;
  object_detection orders those ymin, xmin, ymax, xmax) or ``resized`` (pixels of the network's
  input).
* Every mistake that a user can make raises ``UserError``; ``assert`` is for the programmer's own
  promises.
"""

import sys

if sys.version_info[:2] != (3, 7):
    # No f-string: older Pythons have to be able to parse this file to print the message.
    raise SystemExit(
        "error: this workspace runs on Python 3.7 (TensorFlow 1.15 has no build for a newer one), "
        "found Python {}.{}. Run `make setup` once, then start the scripts with "
        ".venv/bin/python.".format(*sys.version_info[:2])
    )


class UserError(Exception):
    """A mistake that a user can fix.

    The message says where (file, line or key), what was found, what was expected, and what to do.
    """
