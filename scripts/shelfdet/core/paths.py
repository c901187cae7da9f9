"""Every path of the workspace, from the repository root."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]

MODELS = ROOT / "models"
RESEARCH = MODELS / "research"
OBJECT_DETECTION = RESEARCH / "object_detection"

WORKSPACE = ROOT / "workspace" / "training_demo"
IMAGES = WORKSPACE / "images"  # step 01 puts ShelfImages/{train,test} and annotations.csv here
SHELF_IMAGES = IMAGES / "ShelfImages"
ANNOTATIONS = WORKSPACE / "annotations"
SPLITS = ("train", "val", "test")  # each has a label file and a TFRecord
LABEL_MAP = ANNOTATIONS / "label_map.pbtxt"
PRETRAINED = WORKSPACE / "pre-trained-model"
TRAINING = WORKSPACE / "training"
DEFAULT_CONFIG = TRAINING / "ssd_inception_v2_custom.config"  # the one that a user edits by hand
SHIPPED_CONFIG = TRAINING / "ssd_inception_v2_shelf.config"
GRAPHS = WORKSPACE / "trained-inference-graphs"
GRAPH_FILE = "frozen_inference_graph.pb"  # in a graph's folder
CONFIG_FILE = "pipeline.config"  # in a graph's folder and in a run's
TRAINED_ON_FILE = (
    "trained_on.json"  # names of the images a run or graph was trained and validated on
)
CHECKPOINT_PREFIX = (
    "model.ckpt"  # in a graph's folder: the same weights, to start another training from
)
SHIPPED_GRAPH = GRAPHS / "ssd_inception_v2_shelf"
SHIPPED_FAST_GRAPH = GRAPHS / "ssd_inception_v2_shelf_fast"
SHIPPED_GRAPHS = (SHIPPED_GRAPH, SHIPPED_FAST_GRAPH)
EVALUATION = WORKSPACE / "evaluation"
RESULTS = EVALUATION / "results"

METRICS = ROOT / "metrics.json"
IMAGE_TO_PRODUCTS = ROOT / "image2products.json"


def default_graph() -> pathlib.Path:
    """The folder of the graph to use when the user names none.

    The graph exported from what DEFAULT_CONFIG trained, if there is one; otherwise the shipped one.
    """
    exported = GRAPHS / DEFAULT_CONFIG.stem
    if (exported / GRAPH_FILE).is_file():
        return exported
    return SHIPPED_GRAPH


def labels(split):
    """The label file of ``split`` ("train", "val" or "test")."""
    return ANNOTATIONS / f"{split}_labels.csv"


def record(split):
    """The TFRecord of ``split`` ("train", "val" or "test")."""
    return ANNOTATIONS / f"{split}.record"


def shown(path):
    """``path`` as a person should read it: from the repository root where it lies inside, else absolute."""
    path = pathlib.Path(path).resolve()
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)
