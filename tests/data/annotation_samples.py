"""Annotation files for tests: two images in several formats, and functions that change them."""

import json
import pathlib
from typing import Any, Union

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
SCORED_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax,score\n"
LABELS = HEADER + "a.jpg,100,80,product,1,2,30,40\n"
DETECTIONS = SCORED_HEADER + "a.jpg,100,80,product,1,2,30,40,0.5\n"

VOC_OBJECT = (
    "<object><name>{}</name><pose>Unspecified</pose><truncated>0</truncated>"
    "<difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    "</bndbox></object>"
)
PRODUCT = VOC_OBJECT.format("product", 1, 2, 30, 40)


def voc(name: str = "a.jpg", size: Any = (100, 80), objects: str = PRODUCT) -> str:
    """Pascal VOC XML of one image."""
    return (
        f"<annotation><folder>x</folder><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{objects}</annotation>"
    )


def scored_voc(name: str = "a.jpg", score: Any = 0.5, **options: Any) -> str:
    """Pascal VOC XML of one image with one detection."""
    score_element = f"</name><score>{score}</score>"
    return voc(name, objects=PRODUCT.replace("</name>", score_element), **options)


def coco(**changes: Any) -> str:
    """COCO's JSON of two images, of which the first has a box; without a score."""
    content = {
        "images": [
            {"id": 5, "file_name": "train/a.jpg", "width": 100, "height": 80},
            {"id": 6, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 9, "name": "product"}],
        "annotations": [coco_annotation()],
    }
    content.update(changes)
    return json.dumps(content)


def coco_annotation(**changes: Any) -> dict:
    """One annotation of ``coco``."""
    annotation = {"id": 1, "image_id": 5, "category_id": 9, "bbox": [1, 2, 29, 38.5]}
    annotation.update(changes)
    return annotation


def coco_with(**changes: Any) -> str:
    """``coco`` with a changed annotation."""
    return coco(annotations=[coco_annotation(**changes)])


def write_file(path: pathlib.Path, content: Union[str, bytes]) -> pathlib.Path:
    """Writes ``content`` to ``path``, in a folder that may not exist yet, and returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path
