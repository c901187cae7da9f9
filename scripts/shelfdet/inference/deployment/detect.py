#!/usr/bin/env python3
"""Detects products in images with the files beside this program: detector.onnx, detector.json.

Needs Python 3.7 to 3.13 with numpy, Pillow and onnxruntime:  pip install numpy pillow onnxruntime

    python detect.py --threshold 0.5 shelf.jpg other.jpg

Prints a line of JSON for each image: its file, the number of products, and for each product its
box (xmin, ymin, xmax, ymax in pixels of the image on disk), score and class.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
OUTPUTS = ["detection_boxes:0", "detection_scores:0", "detection_classes:0"]


class Detector:
    def __init__(self):
        self.about = json.loads((HERE / "detector.json").read_text(encoding="utf-8"))
        model = str(HERE / "detector.onnx")
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def detect(self, path, threshold=None):
        """The products in an image file, as main() prints them."""
        threshold = self.about["threshold"] if threshold is None else threshold
        with Image.open(path) as image:
            width, height = image.size
            pixels = np.asarray(shrunk(image, self.about["max_side"]).convert("RGB"))[None]
        outputs = self.session.run(OUTPUTS, {"image_tensor:0": pixels})
        boxes, scores, class_ids = (output[0] for output in outputs)
        boxes = np.clip(boxes, 0, 1)[:, [1, 0, 3, 2]] * [width, height, width, height]
        found = []
        for index in np.flatnonzero(scores >= threshold):  # the highest score first
            box = [round(side, 2) for side in boxes[index].tolist()]
            name = self.about["classes"][str(int(class_ids[index]))]
            found.append({"box": box, "score": round(float(scores[index]), 6), "class": name})
        return {"file": str(path), "count": len(found), "products": found}


def shrunk(image, max_side):
    """The image with its longer side at most ``max_side``: the network's resizing has no filter."""
    if max(image.size) <= max_side:
        return image
    full = image.size
    size = [max(1, int(round(side * max_side / max(full)))) for side in full]
    # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size.
    least = [min(side, (max_side + 1) // 2) for side in size]
    _, box = image.draft(None, least) or (None, None)
    if box and max(box) <= max_side:
        size = [round(side) for side in box[2:]]
    resample = Image.LANCZOS if image.size == full else Image.HAMMING
    return image.convert("RGB").resize(size, resample, box=box)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--threshold", type=float, help="the lowest score of a product")
    args = parser.parse_args()
    detector = Detector()
    status = 0
    for path in args.images:
        try:
            print(json.dumps(detector.detect(path, args.threshold)), flush=True)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            print(f"error: {path}: no image that can be read ({error})", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
