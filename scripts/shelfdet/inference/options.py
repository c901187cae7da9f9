"""Options of steps 08 and 12: the graph, and how it is run on an image."""

import argparse
import pathlib
from typing import List, Optional, Union

from shelfdet.core import command_line, paths
from shelfdet.data import MAX_SIDE, options
from shelfdet.inference import AUTO_TILES, DEFAULT_THRESHOLD


def add_graph(parser: argparse.ArgumentParser) -> None:
    """The frozen graph. The parsed value goes through ``graph_file``."""
    parser.add_argument(
        "--graph",
        **command_line.PATH,
        help=f"a frozen graph, or the folder of a {paths.GRAPH_FILE} (default: "
        f"{paths.DEFAULT_CONFIG.stem}, once step 07 has exported it, else "
        f"{paths.SHIPPED_GRAPH.name})",
    )


def add_detection_options(parser: argparse.ArgumentParser, default_tiles: Union[int, str]) -> None:
    """How images are prepared for the network, and which boxes are kept."""
    options.add_max_side(
        parser,
        "this, as step 04 does, with --tiles to as many times this",
        None,
        f"{MAX_SIDE}, or twice the graph's input where that is more",
    )
    options.add_exif(parser, "rotate images by their EXIF orientation")
    parser.add_argument(
        "--pad-strips",
        action="store_true",
        help="give images more than twice as wide as high (or as high as wide) grey margins, to "
        "4:3, before the network runs; for graphs trained on images of ordinary shape",
    )
    parser.add_argument(
        "--tiles",
        type=tile_count,
        default=default_tiles,
        metavar="N",
        help="run the network on N x N overlapping parts of each image, too, for products smaller "
        "than those that the graph was trained on; auto: choose columns and rows for each image, "
        "by how certain the network is and how large its products are (default: %(default)s)",
    )
    parser.add_argument(
        "--min-score",
        type=command_line.score,
        default=0.0,
        metavar="SCORE",
        help="leave out boxes of lower scores, for a smaller file; AP is lower without them "
        "(default: %(default)s)",
    )


def add_threshold(parser: argparse.ArgumentParser, use: str) -> None:
    """The lowest score of a product. ``use``: what is done from this score on."""
    parser.add_argument(
        "--threshold",
        type=command_line.score,
        metavar="SCORE",
        help=f"{use} (default: the one in --metrics if that is of this graph, else "
        f"{DEFAULT_THRESHOLD})",
    )
    parser.add_argument(
        "--metrics",
        **command_line.FILE,
        help=f"where the default threshold is read (default: the {paths.METRICS.name} beside the "
        f"graph, then {paths.METRICS})",
    )


def tile_count(value: str) -> Union[int, str]:
    """The value of --tiles."""
    if value == AUTO_TILES:
        return value
    try:
        return command_line.positive(value)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {AUTO_TILES}") from None


def check_min_score(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program where --min-score would leave no box."""
    if args.min_score == 1:
        parser.error("--min-score 1: no box would be left; expected a score below 1")


def graph_file(path: pathlib.Path) -> pathlib.Path:
    """The frozen graph that ``path``, a file or its folder, names."""
    if path.is_dir() or not path.suffix:
        return path / paths.GRAPH_FILE
    return path


def label_map_of(graph: pathlib.Path) -> pathlib.Path:
    """The label map beside a graph; that of one class where there is none."""
    own = graph.with_name(paths.LABEL_MAP_FILE)
    return own if own.is_file() else paths.LABEL_MAP


def metrics_files(given: Optional[pathlib.Path], graph: pathlib.Path) -> List[pathlib.Path]:
    """Where the threshold is searched for, in this order. ``given``: the value of --metrics."""
    if given:
        return [given]
    return [graph.with_name(paths.METRICS.name), paths.METRICS]
