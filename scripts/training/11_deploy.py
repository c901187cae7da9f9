#!/usr/bin/env python
"""Step 11: a frozen graph in other formats, for machines without TensorFlow 1.15.

Reads   a frozen_inference_graph.pb with its pipeline.config, label map and metrics.json (for the
        threshold); train_labels.csv and val_labels.csv (step 02) and their images.
Writes  deploy/ beside the graph: detector.onnx (float32), saved_model/ for TensorFlow Serving
        (float32, JPEG files in), openvino_int8/ (its ranges are those in training images),
        detector.json with the classes and the threshold, and detect.py, which needs numpy, Pillow
        and onnxruntime alone.

Each target is compared with the frozen graph on the validation images. The folder is put in place
when all are as accurate; only then is an older one replaced.

    python scripts/training/11_deploy.py
    python scripts/training/11_deploy.py --dataset mine \\
        --graph workspace/training_demo/trained-inference-graphs/mine

The packages that this needs are installed with `make setup-deploy`.
"""

import argparse
import pathlib
import sys
from typing import Any, Optional, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from shelfdet.core import command_line, deploy_packages, next_step, paths, workspace_names
from shelfdet.core.text import counted
from shelfdet.data import options


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--graph",
        **command_line.FOLDER,
        help=f"the folder of a {paths.GRAPH_FILE} (default: {paths.DEFAULT_CONFIG.stem}, once step "
        f"07 has exported it, else {paths.SHIPPED_GRAPH.name})",
    )
    options.add_dataset(parser)
    parser.add_argument(
        "--threshold",
        type=command_line.score,
        metavar="SCORE",
        help=f"the lowest score of a product (default: the one in {paths.METRICS.name} beside the "
        "graph)",
    )
    args = parser.parse_args(argv)
    args.graph = args.graph or paths.default_graph()
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    # Before the minutes that the graph takes
    for package in ("onnxruntime", "tf2onnx", "openvino.runtime"):
        deploy_packages.load(package)
    workspace_names.require_dataset(args.dataset)
    from shelfdet.evaluation import deploying

    source = find_source(args)
    print(
        f"graph: {paths.shown(source.graph)}; {counted(len(source.calibration), 'training image')} "
        f"for int8, compared on {counted(len(source.validation), 'validation image')}"
    )
    folder = source.graph.with_name(paths.DEPLOY_FOLDER)
    for compared in deploying.deploy(source, folder):
        print(deploying.report(compared), flush=True)
    print(f"{paths.shown(folder)}: written; docs/deployment.md says how each is used")
    of_graph = next_step.of_graph(args.graph)
    if of_graph:
        print(f"next: {next_step.command('predict', RUNTIME='openvino', **of_graph)} IMAGES=folder")


def find_source(args: argparse.Namespace) -> Any:
    """The deploying.Source of the options."""
    from shelfdet.core import files
    from shelfdet.evaluation import deploying
    from shelfdet.inference import graph_files, input_images, predict

    graph = args.graph / paths.GRAPH_FILE
    label_map = args.graph / paths.LABEL_MAP_FILE
    of_dataset = args.dataset
    folder = (
        paths.SHELF_IMAGES
        if of_dataset == paths.DEFAULT_DATASET
        else paths.dataset_images(of_dataset)
    )
    validation_labels = paths.labels("val", of_dataset)
    validation = input_images.labelled_images(validation_labels, folder)
    training = input_images.labelled_images(paths.labels("train", of_dataset), folder)
    class_names = predict.read_class_names(label_map if label_map.is_file() else paths.LABEL_MAP)
    metrics_files = [args.graph / paths.METRICS.name]
    sha256 = files.sha256(graph) if graph.is_file() else ""  # its detector says what is missing
    threshold = graph_files.choose_threshold(args.threshold, metrics_files, sha256)
    if threshold.is_default:
        print(f"warning: {threshold.source}.", file=sys.stderr)
    return deploying.Source(
        graph=graph,
        config=args.graph / paths.CONFIG_FILE,
        class_names=class_names,
        threshold=threshold.value,
        max_side=graph_files.choose_max_side(None, graph),
        calibration=deploying.calibration_images(training),
        validation_labels=validation_labels,
        validation=validation,
    )


if __name__ == "__main__":
    command_line.run(main)
