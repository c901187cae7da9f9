#!/usr/bin/env python
"""Labels worth a second look, the worst first.

Reads   the label files of a dataset (step 02), the annotations they were made of, the images, and a
        detector's detections in them: results/suspects/{train,val,test}_detections.json (step 08).
Writes  results/suspects/suspects.html: a crop of each place where labels and detections disagree,
        with the reason, a suspicion from 0 to 1 by which they are sorted, and the line of the
        annotations to correct. It holds parts of photographs: mind their licence.
        results/suspects/suspects.json: the same as data, of all of them.
        --marked FOLDER: the images with suspects, for a labelling tool: their labels, with a mark
        at each suspect.

    python workspace/training_demo/evaluation/suspects.py
    python workspace/training_demo/evaluation/suspects.py --dataset shelves --shown 100
    python workspace/training_demo/evaluation/suspects.py --marked to_correct --format labelme

`make suspects` runs step 08 before. A detector has learned the labels of its training images, also
the wrong ones, so that it finds fewer of these there than in others.
"""

import argparse
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence

# scripts/ holds shelfdet
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
from shelfdet import UserError
from shelfdet.core import command_line, files, next_step, paths, workspace_names
from shelfdet.core.make_variables import both
from shelfdet.core.text import counted, listed
from shelfdet.data import options, prelabels

if TYPE_CHECKING:  # they load NumPy
    from shelfdet.data.label_places import LabelPlaces
    from shelfdet.evaluation import suspects_page
    from shelfdet.evaluation.matching import Matches
    from shelfdet.evaluation.suspects import Suspect


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
    command_line.add_positive(parser, "--max-crops", 200, "suspects on the page, the worst")
    parser.add_argument(
        "--output",
        **command_line.FILE,
        help=f"the data; the page is beside it (default: {paths.RESULTS / 'suspects'}"
        "/suspects.json, or in the folder of --dataset)",
    )
    parser.add_argument(
        "--marked",
        **command_line.FOLDER,
        help="write the images with suspects, their labels, and a mark at each suspect, for a "
        "labelling tool",
    )
    parser.add_argument(
        "--format",
        choices=prelabels.FORMATS,
        default=prelabels.FORMATS[0],
        help="of --marked (default: %(default)s)",
    )
    parser.add_argument(
        "--check-options",
        action="store_true",
        help="check the options and end; `make suspects` does it before step 08 takes its minutes",
    )
    args = parser.parse_args(argv)
    args.output = args.output or results(args.dataset) / "suspects.json"
    return args


def results(dataset: str) -> pathlib.Path:
    """Where `make suspects` has step 08 write, and this script writes."""
    return paths.dataset_results(dataset) / "suspects"


class Compared(NamedTuple):
    """Labels and detections of a dataset.

    matches: of all images.
    splits: name of an image to its split.
    infos: file of detections to its "info".
    """

    matches: "List[Matches]"
    splits: Dict[str, str]
    infos: Dict[pathlib.Path, Dict[str, Any]]


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    workspace_names.require_dataset(args.dataset)
    from shelfdet.data import label_places, marked_labels
    from shelfdet.evaluation import suspects

    if args.marked:
        marked_labels.refuse_changed(args.marked)
    if args.check_options:
        return
    compared = read(args.dataset)
    info = the_one_info(compared.infos)
    threshold = choose_threshold(args.threshold, info)
    print_uncertain(compared, info)
    found = suspects.find(compared.matches, threshold)
    places = label_places.read(args.dataset, sizes_of(compared))
    located = [places.of(suspect.filename, suspect.label_xyxy) for suspect in found]
    write_json(args.output, found, located, info, threshold)
    page = args.output.with_suffix(".html")
    content = page_content(compared, found, located, places, info, threshold)
    write_page(page, content, args)
    print_suspects(found, located, compared, args.shown)
    print_seen(compared)
    print(f"{paths.shown(page)}: open it in a browser; {paths.shown(args.output)}: all as data")
    if args.marked:
        write_marked(args, compared, found, places)
    if found:
        print_correction(args, places.described)


def read(dataset: str) -> Compared:
    """Reads the labels and detections of all splits."""
    from shelfdet.data import detections
    from shelfdet.evaluation import matched_files

    compared = Compared([], {}, {})
    for split in paths.SPLITS:
        detected = results(dataset) / f"{split}_detections.json"
        if not detected.is_file():
            raise UserError(
                f"{detected}: no such file; expected the detections in the {split} images. Run "
                "`make suspects`, which detects first."
            )
        compared.infos[detected] = detections.read_info(detected)
        labels = paths.labels(split, dataset)
        matches = matched_files.read(matched_files.Sides(labels, detected, "csv", "coco"))
        compared.matches.extend(matches)
        compared.splits.update((match.filename, split) for match in matches)
    return compared


def sizes_of(compared: Compared) -> Dict[str, Any]:
    return {match.filename: match.size_wh for match in compared.matches}


def locate(
    dataset: str, splits: Dict[str, str], found: "Sequence[Suspect]"
) -> Dict[str, pathlib.Path]:
    """The files of the images that have suspects."""
    from shelfdet.data import layout

    folder = paths.dataset_images(dataset) / paths.SHELF_IMAGES_NAME
    by_name = {}
    for split in paths.SPLITS:
        names = sorted({one.filename for one in found if splits[one.filename] == split})
        by_name.update(zip(names, layout.locate(folder, names, split)))
    return by_name


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
    from shelfdet.inference import graph_files

    choice = graph_files.choose_threshold(
        given, metrics_files(info), info.get("graph_sha256", ""), info.get("tiles", 1)
    )
    if choice.is_default:
        print(f"warning: {choice.source}.", file=sys.stderr)
    else:
        print(f"threshold: score {choice.value:.3f} ({choice.source})")
    return choice.value


def metrics_files(info: Dict[str, Any]) -> List[pathlib.Path]:
    """Where the threshold and the validation figures of the graph may be."""
    from shelfdet.evaluation import scored_graph
    from shelfdet.inference import options as inference_options

    folder = scored_graph.graph_folder(info)
    if folder is None:
        return [paths.METRICS]
    return inference_options.metrics_files(None, folder / paths.GRAPH_FILE)


def print_uncertain(compared: Compared, info: Dict[str, Any]) -> None:
    """Prints in how many images the detector is too uncertain for its suspects to be trusted."""
    from shelfdet.inference import confidence, graph_files

    validated = graph_files.validated(metrics_files(info), info.get("graph_sha256", ""))
    if validated is None:
        return
    lowest = validated.low_confidence
    uncertain = [
        match.filename for match in compared.matches if confidence.confidence(match.scores) < lowest
    ]
    if uncertain:
        print(
            f"the detector is unusually uncertain in {len(uncertain)} of "
            f"{counted(len(compared.matches), 'image')} (confidence under {lowest:.2f}): "
            f"{listed(uncertain)}\n  what it marks there may be its own mistakes: it may know "
            f"products of another kind or size. Try {both('--tiles')}, or one that was trained on "
            f"images like these ({both('--graph')})"
        )


def write_json(
    path: pathlib.Path,
    found: "Sequence[Suspect]",
    located: Sequence[str],
    info: Dict[str, Any],
    threshold: float,
) -> None:
    """Writes all suspects, each with its place in the annotations."""
    from shelfdet.evaluation import suspects

    entries = suspects.as_json(found)
    for entry, place in zip(entries, located):
        if place:
            entry["place"] = place
    content = {
        "graph": info.get("graph"),
        "graph_sha256": info.get("graph_sha256"),
        "threshold": threshold,
        "suspects": entries,
    }
    files.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def page_content(
    compared: Compared,
    found: "Sequence[Suspect]",
    located: Sequence[str],
    places: "LabelPlaces",
    info: Dict[str, Any],
    threshold: float,
) -> "suspects_page.Content":
    from shelfdet.evaluation import scored_graph, suspects_page

    return suspects_page.Content(
        found=found,
        places=located,
        matches=compared.matches,
        splits=compared.splits,
        labels=places.described,
        graph=scored_graph.graph_name(info) or "detector",
        threshold=threshold,
        exif=info.get("exif", "ignore"),
    )


def write_page(
    path: pathlib.Path, content: "suspects_page.Content", args: argparse.Namespace
) -> None:
    from shelfdet.evaluation import suspects_page

    image_paths = locate(args.dataset, content.splits, content.found[: args.max_crops])
    files.write_text(path, suspects_page.render(content, image_paths, args.max_crops))


def write_marked(
    args: argparse.Namespace,
    compared: Compared,
    found: "Sequence[Suspect]",
    places: "LabelPlaces",
) -> None:
    """Writes the images with suspects for a labelling tool."""
    from shelfdet.data import marked_labels
    from shelfdet.evaluation import suspect_marks

    images = suspect_marks.marked_images(found, places, sizes_of(compared))
    class_names = suspect_marks.class_list(images, places.classes())
    image_paths = locate(args.dataset, compared.splits, found)
    marked_labels.write(args.marked, args.format, class_names, images, image_paths)
    print(
        f"{paths.shown(args.marked)}: {counted(len(images), 'image')} with their labels and "
        f"{counted(len(found), 'mark')} ({args.format}). A mark is a box of a class suspect_...: "
        "give it the class of a product, or delete it"
    )


def print_suspects(
    found: "Sequence[Suspect]", located: Sequence[str], compared: Compared, shown: int
) -> None:
    """Prints how many there are for each reason, and the worst."""
    from shelfdet.evaluation import suspects

    labels = suspects.count_labels(compared.matches)
    if suspects.misses_many(found, labels):
        missed = suspects.count_missed(found)
        print(
            f"the detector misses {missed} of {counted(labels, 'label')} at this threshold "
            f'({missed / labels:.0%}), so suspects of "{suspects.NO_DETECTION}" say more about it '
            "than about the labels, and come last. Train it longer, or use another graph "
            f"({both('--graph')}), and look at the other reasons"
        )
    print(
        f"{counted(len(found), 'suspect')} in {counted(len(compared.matches), 'image')} with "
        f"{counted(labels, 'label')}"
    )
    for reason in suspects.REASONS:
        count = sum(suspect.reason == reason for suspect in found)
        if count:
            print(f"  {count:6d}  {reason}")
    if found:
        print("the worst: suspicion, reason, image, xmin ymin xmax ymax, place")
    for suspect, place in zip(found[:shown], located):
        box = " ".join(f"{side:.0f}" for side in suspect.box_xyxy)
        where = f"  {place}" if place else ""
        print(f"  {suspect.suspicion:.2f}  {suspect.reason:15s}  {suspect.filename}  {box}{where}")


def print_correction(args: argparse.Namespace, described: str) -> None:
    """Prints what to correct, and the command that reads it then.

    Args:
      args: the options.
      described: what the annotations of the dataset are and where.
    """
    if args.marked:
        marked = paths.shown(args.marked)
        again = next_step.command("data", NAME=args.dataset, CORRECTED=marked)
        print(f"correct the labels in {marked}, then: {again}")
        return
    print(
        f"{both('--marked folder')} with {both(f'--format {args.format}')} writes these images for "
        "a labelling tool, with a mark at each suspect"
    )
    again = next_step.command("data", NAME=args.dataset)
    print(f"correct the wrong labels ({described}), then: {again}")


def print_seen(compared: Compared) -> None:
    """Prints how many images the graph has learned the labels of."""
    infos = compared.infos.values()
    seen = sum(len(info.get("seen_in_training", {}).get("train", ())) for info in infos)
    if seen:
        print(
            f"{seen} of {counted(len(compared.matches), 'image')} trained this graph, which may "
            "have learned their wrong labels; one that was trained on others "
            f"({both('--graph')}) finds more"
        )


if __name__ == "__main__":
    command_line.run(main)
