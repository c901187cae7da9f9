#!/usr/bin/env python
"""Labels worth a second look, the worst first.

Reads   the label files of a dataset (step 02), and a detector's detections in their images:
        results/suspects/{train,val,test}_detections.json (step 08).
Writes  results/suspects/suspects.json: each box where labels and detections disagree, with the
        reason, and a suspicion from 0 to 1 by which they are sorted.

    python workspace/training_demo/evaluation/suspects.py
    python workspace/training_demo/evaluation/suspects.py --dataset shelves --shown 100

`make suspects` runs step 08 before. A detector has learned the labels of its training images, also
the wrong ones, so that it finds fewer of these there than in others.
"""

import argparse
import json
import pathlib
import sys
from typing import Any, Dict, List, Optional, Sequence

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet import UserError
from shelfdet.core import command_line, files, paths
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted
from shelfdet.data import options


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    options.add_dataset(parser)
    parser.add_argument(
        "--threshold",
        type=command_line.score,
        metavar="SCORE",
        help="compare detections from this score on with the labels (default: the one in the "
        f"{paths.METRICS.name} of the graph)",
    )
    command_line.add_positive(parser, "--shown", 20, "suspects to print; the file has all")
    parser.add_argument(
        "--output",
        **command_line.FILE,
        help=f"(default: {paths.RESULTS / 'suspects' / 'suspects.json'}, or in the folder of "
        "--dataset)",
    )
    args = parser.parse_args(argv)
    args.output = args.output or results(args.dataset) / "suspects.json"
    return args


def results(dataset: str) -> pathlib.Path:
    """Where `make suspects` has step 08 write, and this script writes."""
    return paths.dataset_results(dataset) / "suspects"


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    from shelfdet.evaluation import suspects

    images: List[Any] = []
    infos: Dict[pathlib.Path, Dict[str, Any]] = {}
    for split in paths.SPLITS:
        images += read_split(args.dataset, split, infos)
    info = the_one_info(infos)
    threshold = choose_threshold(args.threshold, info)
    found = suspects.find(images, threshold)
    write(args.output, found, info, threshold)
    print_suspects(found, images, args)
    print_seen(infos, len(images))
    print(f"{paths.shown(args.output)}: all of them")
    if found:
        print("correct the wrong ones in the labelling tool, then run `make data` again")


def read_split(dataset: str, split: str, infos: Dict[pathlib.Path, Dict[str, Any]]) -> List[Any]:
    """The Matches of a split; adds the "info" of its detections to ``infos``."""
    from shelfdet.data import detections
    from shelfdet.evaluation import matched_files

    detected = results(dataset) / f"{split}_detections.json"
    if not detected.is_file():
        raise UserError(
            f"{detected}: no such file; expected the detections in the {split} images. Run "
            "`make suspects`, which detects first."
        )
    infos[detected] = detections.read_info(detected)
    labels = paths.labels(split, dataset)
    return matched_files.read(matched_files.Sides(labels, detected, "csv", "coco"))


def the_one_info(infos: Dict[pathlib.Path, Dict[str, Any]]) -> Dict[str, Any]:
    """The "info" of all files of detections.

    Raises:
      UserError: they are of different graphs.
    """
    first_path, first = next(iter(infos.items()))
    for path, info in infos.items():
        if info.get("graph_sha256") != first.get("graph_sha256"):
            raise UserError(
                f"{path}: is of the graph {info.get('graph')}, and {first_path} of "
                f"{first.get('graph')}; expected one graph. Run `make suspects`, which detects in "
                "all images."
            )
    return first


def choose_threshold(given: Optional[float], info: Dict[str, Any]) -> float:
    from shelfdet.evaluation import scored_graph
    from shelfdet.inference import graph_files

    folder = scored_graph.graph_folder(info)
    beside = [folder / paths.METRICS.name] if folder else []
    choice = graph_files.choose_threshold(
        given, beside + [paths.METRICS], info.get("graph_sha256", ""), info.get("tiles", 1)
    )
    if choice.is_default:
        print(f"warning: {choice.source}.", file=sys.stderr)
    else:
        print(f"threshold: score {choice.value:.3f} ({choice.source})")
    return choice.value


def write(path: pathlib.Path, found: Sequence[Any], info: Dict[str, Any], threshold: float) -> None:
    """Writes the JSON file."""
    from shelfdet.evaluation import suspects

    content = {
        "graph": info.get("graph"),
        "graph_sha256": info.get("graph_sha256"),
        "threshold": threshold,
        "suspects": suspects.as_json(found),
    }
    files.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def print_suspects(found: Sequence[Any], images: Sequence[Any], args: argparse.Namespace) -> None:
    """Prints how many there are for each reason, and the worst."""
    from shelfdet.evaluation import suspects

    labels = sum(len(image.truth_xyxy) for image in images)
    print(
        f"{counted(len(found), 'suspect')} in {counted(len(images), 'image')} with "
        f"{counted(labels, 'label')}"
    )
    for reason in suspects.REASONS:
        count = sum(suspect.reason == reason for suspect in found)
        if count:
            print(f"  {count:6d}  {reason}")
    if found:
        print("the worst: suspicion, reason, image, xmin ymin xmax ymax")
    for suspect in found[: args.shown]:
        box = " ".join(f"{side:.0f}" for side in suspect.box_xyxy)
        print(f"  {suspect.suspicion:.2f}  {suspect.reason:15s}  {suspect.filename}  {box}")


def print_seen(infos: Dict[pathlib.Path, Dict[str, Any]], count: int) -> None:
    """Prints how many images the graph has learned the labels of."""
    seen = sum(len(info.get("seen_in_training", {}).get("train", ())) for info in infos.values())
    if seen:
        print(
            f"{seen} of {counted(count, 'image')} trained this graph, which may have learned their "
            f"wrong labels; one that was trained on others ({both('--graph')}) finds more"
        )


if __name__ == "__main__":
    command_line.run(main)
