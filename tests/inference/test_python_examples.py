"""The examples in docs/deployment.md run as they stand, and find the boxes in a made image."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import toy_graph
from shelfdet.core import paths
from shelfdet.data import images
from shelfdet.inference import detector

PAGE = (paths.ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
EXAMPLES = dict(zip(("graph", "package"), re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)))
SIZE_WH = (1600, 1200)  # more than 1024 px: it is shrunk, and its boxes are enlarged again
BOX_XYXY = (200, 300, 600, 800)
# The shrunk image is 1024 x 768 px: a pixel of it is 1.6 of the image's.
TOLERANCE = 2 * SIZE_WH[0] / 1024


def test_there_are_two_examples():
    assert len(re.findall("^```python", PAGE, re.M)) == len(EXAMPLES) == 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_threshold_is_that_of_the_graph(name):
    scored = json.loads((paths.SHIPPED_GRAPH / paths.METRICS.name).read_text())
    assert f"THRESHOLD = {scored['threshold']:.3f}  #" in EXAMPLES[name]
    assert f'GRAPH = "{paths.shown(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)}"' in EXAMPLES[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like the repository, with a made graph and shelf.jpg."""
    root = tmp_path_factory.mktemp("repository")
    toy_graph.write(root / paths.shown(paths.SHIPPED_GRAPH / paths.GRAPH_FILE))
    (root / "scripts").symlink_to(paths.ROOT / "scripts")
    pixels = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)
    xmin, ymin, xmax, ymax = BOX_XYXY
    pixels[ymin:ymax, xmin:xmax] = 255
    Image.fromarray(pixels).save(str(root / "shelf.jpg"), quality=100)
    return root


@pytest.mark.parametrize("name, order", [("graph", [1, 0, 3, 2]), ("package", [0, 1, 2, 3])])
def test_the_example_finds_the_product(name, order, folder):
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[name]],
        cwd=str(folder),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, rest = done.stdout.split("\n", 1)
    assert first == "1 products"  # the toy graph's other score, 0.25, is below the threshold
    box = np.array(re.findall(r"[\d.]+", rest), dtype=float)[order]
    np.testing.assert_allclose(box, BOX_XYXY, atol=TOLERANCE)


def test_load_and_detect_give_what_the_page_says(folder):
    graph = folder / paths.shown(paths.SHIPPED_GRAPH / paths.GRAPH_FILE)
    pixels, size_wh, _ = images.load(folder / "shelf.jpg", 1024)
    assert (pixels.shape, size_wh) == ((600, 800, 3), SIZE_WH)  # decoded at half of its size
    boxes_yxyx, scores, class_ids = detector.Detector(graph).detect(pixels)
    assert (scores[0], class_ids[0]) == (0.75, 1)
    ymin, xmin, ymax, xmax = boxes_yxyx[0] * (SIZE_WH[::-1] * 2)
    np.testing.assert_allclose((xmin, ymin, xmax, ymax), BOX_XYXY, atol=TOLERANCE)
