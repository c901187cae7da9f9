"""The packages of requirements-deploy.txt, which `make setup-deploy` installs apart from .venv.

Only exporting for deployment and two runtimes of step 08 need them.
"""

import importlib
import sys
from types import ModuleType

from shelfdet import UserError
from shelfdet.core import paths

FOLDER = paths.ROOT / ".deploy-packages"
INSTALL = "make setup-deploy"


def load(name: str) -> ModuleType:
    """The module ``name`` of these packages, such as "onnxruntime".

    Raises:
      UserError: it is not installed, or cannot be imported.
    """
    folder = str(FOLDER)
    # At the end: a package that is in .venv, too, is that of .venv.
    if FOLDER.is_dir() and folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name.split('.')[0]} is not installed ({error}); expected it in "
            f"{paths.shown(FOLDER)}. Run `{INSTALL}`."
        ) from error
