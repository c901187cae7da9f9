"""Every path of the workspace, from the repository root, whatever the working directory is."""

import pathlib
from typing import Optional, Union

from shelfdet.core import shards

ROOT = pathlib.Path(__file__).resolve().parents[3]

MODELS = ROOT / "models"
RESEARCH = MODELS / "research"
OBJECT_DETECTION = RESEARCH / "object_detection"

WORKSPACE = ROOT / "workspace" / "training_demo"
IMAGES = WORKSPACE / "images"  # step 01 puts ShelfImages/{train,test} and annotations.csv here
# The Grocery Dataset's folder of images; step 01 puts those of every dataset into one of that name,
# in train/, val/ (if there are validation images) and test/.
SHELF_IMAGES_NAME = "ShelfImages"
SHELF_IMAGES = IMAGES / SHELF_IMAGES_NAME
ANNOTATIONS = WORKSPACE / "annotations"
# The name of the dataset that is directly in IMAGES and ANNOTATIONS. One of another name is in the
# folders of that name in them.
DEFAULT_DATASET = "default"
SPLITS = ("train", "val", "test")  # each has a label file and a TFRecord
LABELS_ENDING = "_labels.csv"
LABEL_MAP = ANNOTATIONS / "label_map.pbtxt"  # of one class; included, and no step writes it
# The label map of a dataset that keeps its classes, beside its label files (step 02)
CLASSES_FILE = "classes.pbtxt"
PRETRAINED = WORKSPACE / "pre-trained-model"
FAST_START = PRETRAINED / "ssd_inception_v2_sku110k_fast"  # weights; tracked by git
TRAINING = WORKSPACE / "training"
DEFAULT_CONFIG = TRAINING / "ssd_inception_v2_custom.config"  # the one that a user edits by hand
SHIPPED_CONFIG = TRAINING / "ssd_inception_v2_shelf.config"
GRAPHS = WORKSPACE / "trained-inference-graphs"
SHIPPED_GRAPH = GRAPHS / "ssd_inception_v2_shelf"
SHIPPED_FAST_GRAPH = GRAPHS / "ssd_inception_v2_shelf_fast"
SHIPPED_PRODUCTS_GRAPH = GRAPHS / "ssd_inception_v2_products"  # of products of any kind
SHIPPED_SKU110K_GRAPH = GRAPHS / "ssd_inception_v2_sku110k"  # which has seen no planogram
SHIPPED_GRAPHS = (SHIPPED_GRAPH, SHIPPED_FAST_GRAPH, SHIPPED_PRODUCTS_GRAPH, SHIPPED_SKU110K_GRAPH)

# Files in a graph's folder. CONFIG_FILE and TRAINED_ON_FILE are in the folder of a run, too.
GRAPH_FILE = "frozen_inference_graph.pb"
CONFIG_FILE = "pipeline.config"
TRAINED_ON_FILE = "trained_on.json"  # the images used for training and validation
LABEL_MAP_FILE = "label_map.pbtxt"  # the classes of the training, in the folder of a run, too
DEPLOY_FOLDER = "deploy"  # the graph in other formats (step 11)
CHECKPOINT_PREFIX = "model.ckpt"  # the weights, from which another training can start

EVALUATION = WORKSPACE / "evaluation"
RESULTS = EVALUATION / "results"
REPORT = RESULTS / "report.html"  # of step 10

METRICS = ROOT / "metrics.json"
IMAGE_TO_PRODUCTS = ROOT / "image2products.json"


def default_graph() -> pathlib.Path:
    """The folder of the graph to use when the user names none.

    The graph exported from what DEFAULT_CONFIG trained, if there is one; otherwise SHIPPED_GRAPH.
    """
    exported = GRAPHS / DEFAULT_CONFIG.stem
    if (exported / GRAPH_FILE).is_file():
        return exported
    return SHIPPED_GRAPH


def dataset_images(dataset: str) -> pathlib.Path:
    """Where step 01 puts the images and annotations of a dataset."""
    return IMAGES if dataset == DEFAULT_DATASET else IMAGES / dataset


def dataset_annotations(dataset: str) -> pathlib.Path:
    """Where the label files and records of a dataset are."""
    return ANNOTATIONS if dataset == DEFAULT_DATASET else ANNOTATIONS / dataset


def dataset_results(dataset: str) -> pathlib.Path:
    """Where step 08 writes the detections in the images of a dataset."""
    return RESULTS if dataset == DEFAULT_DATASET else RESULTS / dataset


def dataset_of(folder: pathlib.Path) -> Optional[str]:
    """The dataset whose label files and records are in ``folder``; None for other folders."""
    folder = folder.resolve()
    if folder == ANNOTATIONS.resolve():
        return DEFAULT_DATASET
    return folder.name if folder.parent == ANNOTATIONS.resolve() else None


def dataset_label_map(folder: pathlib.Path) -> pathlib.Path:
    """The label map of the label files in ``folder``: its own, if they keep classes."""
    own = folder / CLASSES_FILE
    return own if own.is_file() else LABEL_MAP


def labels(split: str, dataset: str = DEFAULT_DATASET) -> pathlib.Path:
    """The label file of ``split``, one of SPLITS."""
    return labels_in(dataset_annotations(dataset), split)


def record(split: str, dataset: str = DEFAULT_DATASET) -> pathlib.Path:
    """The TFRecord of ``split``, one of SPLITS."""
    return record_in(dataset_annotations(dataset), split)


def labels_in(folder: pathlib.Path, split: str) -> pathlib.Path:
    """The label file of ``split`` in any folder."""
    return folder / f"{split}{LABELS_ENDING}"


def record_in(folder: pathlib.Path, split: str) -> pathlib.Path:
    """The TFRecord of ``split`` in any folder."""
    return folder / f"{split}.record"


def labels_beside(record_path: Union[str, pathlib.Path]) -> pathlib.Path:
    """The label file that step 04 made a record, or its shards, of: beside it.

    Args:
      record_path: the record, one of its shards or a pattern for them.
    """
    record_path = shards.record_of(record_path)
    return labels_in(record_path.parent, record_path.stem)


def record_beside(label_file: pathlib.Path) -> Optional[pathlib.Path]:
    """The record that step 04 makes of a label file; None where the name is of none."""
    if not label_file.name.endswith(LABELS_ENDING):
        return None
    return record_in(label_file.parent, label_file.name[: -len(LABELS_ENDING)])


def is_shipped(folder: pathlib.Path) -> bool:
    """Whether a graph's folder is that of an included graph."""
    return folder.resolve() in [shipped.resolve() for shipped in SHIPPED_GRAPHS]


def shown(path: Union[str, pathlib.Path]) -> str:
    """``path`` for a message: from the repository root if it is inside, otherwise absolute."""
    path = pathlib.Path(path).resolve()
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)
