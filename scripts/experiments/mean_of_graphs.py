#!/usr/bin/env python
"""Writes the mean of the weights of exported graphs, as a checkpoint that step 07 exports.

Reads   the folders of two or more graphs of one network (step 07), whose trainings continue each
        other: weights of trainings that began apart have no useful mean.
Writes  OUTPUT/model.ckpt.*, and pipeline.config, trained_on.json and label_map.pbtxt of the last
        graph. trained_on.json also lists the images of the other graphs.

`make export CHECKPOINT=average` averages the last checkpoints of one run; this averages runs.

    python scripts/experiments/mean_of_graphs.py \\
        workspace/training_demo/trained-inference-graphs/{first,second} --output /data/mean
    make export CHECKPOINT=/data/mean/model.ckpt GRAPH=mean
"""

import argparse
import pathlib
import shutil
import sys
from typing import Optional, Sequence

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from shelfdet import UserError
from shelfdet.core import command_line, files, paths

LEAST = 2


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument("graphs", nargs="+", type=pathlib.Path, metavar="FOLDER", help="of a graph")
    parser.add_argument("--output", **command_line.FOLDER, required=True, help="a new folder")
    args = parser.parse_args(argv)
    if len(args.graphs) < LEAST:
        parser.error(f"expected {LEAST} folders of graphs at least, found {len(args.graphs)}")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.config import checkpoint_files
    from shelfdet.inference import checkpoints

    if args.output.exists():
        raise UserError(f"--output {args.output}: exists; expected the name of a new folder.")
    prefixes = [folder / paths.CHECKPOINT_PREFIX for folder in args.graphs]
    for prefix in prefixes:
        # find refuses what is no checkpoint.
        checkpoints.check_whole(checkpoints.find(prefix.parent, str(prefix)).prefix)
        for name in (paths.TRAINED_ON_FILE, paths.LABEL_MAP_FILE):
            if not prefix.with_name(name).is_file():
                raise UserError(f"{prefix.parent}: holds no {name}; expected a graph of step 07.")
    check_networks(args.graphs)
    last = args.graphs[-1]
    with files.replacing(args.output) as partial:
        partial.mkdir()
        checkpoint_files.with_values(
            prefixes[-1], checkpoint_files.means(prefixes), partial / paths.CHECKPOINT_PREFIX
        )
        shutil.copy2(str(last / paths.CONFIG_FILE), str(partial))
        shutil.copy2(str(last / paths.LABEL_MAP_FILE), str(partial))
        files.write_text(partial / paths.TRAINED_ON_FILE, images_of(args.graphs))
    mean = paths.shown(args.output / paths.CHECKPOINT_PREFIX)
    print(f"written: {mean}, the mean of {len(prefixes)}")


def check_networks(graphs: Sequence[pathlib.Path]) -> None:
    """Refuses graphs of different networks.

    Raises:
      UserError: so; names the keys of the configs.
    """
    from shelfdet.config import pipeline

    first = pipeline.read(graphs[0] / paths.CONFIG_FILE)
    for graph in graphs[1:]:
        found, _ = pipeline.model_differences(first, pipeline.read(graph / paths.CONFIG_FILE))
        if found:
            raise UserError(
                f"{graph}: its network is not that of {graphs[0]}: {pipeline.listed(found)}; "
                "expected graphs of one network."
            )


def images_of(graphs: Sequence[pathlib.Path]) -> str:
    """The content of trained_on.json for the mean: the last graph's, and "before" all others'."""
    from shelfdet.data import trained_on
    from shelfdet.training import run_notes

    *others, seen = (trained_on.read(graph / paths.TRAINED_ON_FILE) for graph in graphs)
    before = [run_notes.images_before(other, seen) for other in others]
    before.append(seen.get(trained_on.BEFORE, {}))
    return trained_on.as_text({**seen, trained_on.BEFORE: trained_on.joined(*before)})


if __name__ == "__main__":
    command_line.run(main)
