"""Every path of the workspace, from the repository root."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]

MODELS = ROOT / "models"
RESEARCH = MODELS / "research"
OBJECT_DETECTION = RESEARCH / "object_detection"

WORKSPACE = ROOT / "workspace" / "training_demo"
IMAGES = WORKSPACE / "images"                    # step 01 puts ShelfImages/{train,test} and annotations.csv here
SHELF_IMAGES = IMAGES / "ShelfImages"
ANNOTATIONS = WORKSPACE / "annotations"
LABEL_MAP = ANNOTATIONS / "label_map.pbtxt"
PRETRAINED = WORKSPACE / "pre-trained-model"
TRAINING = WORKSPACE / "training"
DEFAULT_CONFIG = TRAINING / "ssd_inception_v2_scratch.config"
GRAPHS = WORKSPACE / "trained-inference-graphs"
GRAPH_FILE = "frozen_inference_graph.pb"         # in a graph's folder
CONFIG_FILE = "pipeline.config"                  # in a graph's folder and in a run's
PICTURES_FILE = "trained_on.json"               # names of the pictures a run or graph was trained and validated on
CHECKPOINT_PREFIX = "model.ckpt"                # in a graph's folder: the same weights, to start another training from
DEFAULT_GRAPH = GRAPHS / "ssd_inception_v2_shelf"
FAST_GRAPH = GRAPHS / "ssd_inception_v2_shelf_fast"
EVALUATION = WORKSPACE / "evaluation"
RESULTS = EVALUATION / "results"

METRICS = ROOT / "metrics.json"
IMAGE_TO_PRODUCTS = ROOT / "image2products.json"


def labels(split):
    """The label file of ``split`` ("train", "val" or "test")."""
    return ANNOTATIONS / "{}_labels.csv".format(split)


def record(split):
    """The TFRecord of ``split`` ("train", "val" or "test")."""
    return ANNOTATIONS / "{}.record".format(split)


def shown(path):
    """``path`` as a person should read it: from the repository root where it lies inside, else absolute."""
    path = pathlib.Path(path).resolve()
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)
