"""The graph that made detections, from what step 08 records in their file."""

import pathlib
from typing import Any, Dict, List, Optional, Sequence

from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import trained_on

# Keys of the record, and the files in a graph's folder that they are of.
HASHED_FILES = {"graph_sha256": paths.GRAPH_FILE, "config_sha256": paths.CONFIG_FILE}

Info = Dict[str, Any]  # the "info" of a file of detections


def graph_folder(info: Info) -> Optional[pathlib.Path]:
    """The folder of the graph that made detections; None where it is not recorded."""
    if not info.get("graph"):
        return None
    # Step 08 records a path from the repository's root where the graph is inside.
    return paths.ROOT.joinpath(info["graph"]).parent


def graph_name(info: Info) -> Optional[str]:
    """The name of that folder."""
    folder = graph_folder(info)
    return None if folder is None else folder.name


def check_graph(folder: pathlib.Path, detected: pathlib.Path, info: Info) -> None:
    """Refuses a graph's folder that is not of the graph that made the detections.

    Args:
      folder: with the graph and its config.
      detected: the file of detections, for the message.
      info: of the detections.

    Raises:
      UserError: a file of the graph is missing, or has another sha256.
    """
    for key, name in HASHED_FILES.items():
        file = folder / name
        expected = info.get(key)
        if name == paths.CONFIG_FILE and expected is None:
            continue  # step 08 found no config beside the graph
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; expected the graph that {detected} was made with."
            )
        found = files.sha256(file)
        if found != expected:
            raise UserError(
                f"{file}: has the sha256 {found}; expected {expected}, with which {detected} was "
                "made. Run step 08 again."
            )


def metrics_beside_graph(info: Info) -> Optional[pathlib.Path]:
    """Where the figures of detections are written in the folder of their graph.

    Returns:
      path; None for an included graph, whose tracked metrics.json stays as it is, and where that
      graph is not there.
    """
    folder = graph_folder(info)
    if folder is None or not (folder / paths.GRAPH_FILE).is_file():
        return None
    if paths.is_shipped(folder):
        return None
    return folder / paths.METRICS.name


def datasets_not_scored(folder: pathlib.Path, scored: Sequence[str]) -> List[str]:
    """The datasets with a name that a graph was trained on and that are not among ``scored``.

    Args:
      folder: of the graph.
      scored: names of datasets.
    """
    return [name for name in datasets(folder) if name not in (paths.DEFAULT_DATASET, *scored)]


def datasets(folder: pathlib.Path) -> List[str]:
    """The datasets that the graph in ``folder`` was trained on; empty where it is not noted."""
    noted = folder / paths.TRAINED_ON_FILE
    if not noted.is_file():
        return []
    used = trained_on.read(noted)
    uses = (trained_on.TRAIN, trained_on.VAL)
    names = {name.rpartition("/")[0] for use in uses for name in used.get(use, ())}
    return sorted(name or paths.DEFAULT_DATASET for name in names)
