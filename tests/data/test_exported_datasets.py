"""Whole datasets as tools export them: each gives the same images, boxes and, if stated, splits.

Made after exports of the tools, or of their own libraries (datumaro 1.13, label-studio-converter
0.0.59), of which only what is read is kept.
"""

import json
import pathlib

import pytest
from annotation_samples import HEADER, voc, write_file
from PIL import Image

from shelfdet.data import dataset, formats
from shelfdet.data.classes import ONE_CLASS, ClassChoice

# Split to image; each has the box 1,2,11,22.
IMAGES = {"train": ["a.jpg", "b.jpg"], "val": ["c.jpg"], "test": ["d.jpg"]}
NAMES = [name for names in IMAGES.values() for name in names]
OBJECT = (
    "<object><name>cola</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax>"
    "</bndbox></object>"
)
ROW = "{},40,30,cola,1,2,11,22\n"


def csv_rows(names):
    return HEADER + "".join(ROW.format(name) for name in names)


def coco(names):
    return json.dumps(
        {
            "images": [
                {"id": number, "file_name": name, "width": 40, "height": 30}
                for number, name in enumerate(names)
            ],
            "categories": [{"id": 1, "name": "cola", "supercategory": "drinks"}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 10, 20], "iscrowd": 0}
                for n in range(len(names))
            ],
        }
    )


def datumaro(names):
    bbox = {"type": "bbox", "label_id": 0, "attributes": {}, "bbox": [1.0, 2.0, 10.0, 20.0]}
    return json.dumps(
        {
            "categories": {"label": {"labels": [{"name": "cola"}]}},
            "items": [
                {
                    "id": pathlib.PurePath(name).stem,
                    "annotations": [bbox],
                    "image": {"path": name, "size": [30, 40]},
                }
                for name in names
            ],
        }
    )


def label_studio(names):
    value = {"x": 2.5, "y": 100 * 2 / 30, "width": 25, "height": 100 * 20 / 30, "rotation": 0}
    value["rectanglelabels"] = ["cola"]
    result = {"type": "rectanglelabels", "original_width": 40, "original_height": 30}
    result["value"] = value
    return json.dumps(
        [
            {
                "id": number,
                "data": {"image": f"/data/upload/1/0a1b2c3{number}-{name}"},
                "annotations": [{"result": [result], "was_cancelled": False}],
                "predictions": [],
            }
            for number, name in enumerate(names)
        ]
    )


def cvat(subsets):
    images = "".join(
        f'<image id="0" name="{name}" subset="{subset}" width="40" height="30"><box label="cola" '
        'occluded="0" xtl="1.00" ytl="2.00" xbr="11.00" ybr="22.00" z_order="0"></box></image>'
        for subset, names in subsets.items()
        for name in names
    )
    return f"<annotations><version>1.1</version>{images}</annotations>"


def via(names):
    shape = json.dumps({"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20})
    quoted = shape.replace('"', '""')
    rows = "".join(f'{name},1,"{{}}",1,0,"{quoted}","{{""type"":""cola""}}"\n' for name in names)
    return (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        "region_attributes\n" + rows
    )


def of_each(name, content):
    """One file a split: ``name`` with {} for the split, and its content by names of images."""
    return {name.format(split): content(names) for split, names in IMAGES.items()}


ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}
FLAT = dict.fromkeys(NAMES, "")
IN_IMAGES = dict.fromkeys(NAMES, "images/")
IN_SPLITS = {name: f"{split}/" for split, names in IMAGES.items() for name in names}
IN_VALID = {name: f"{ROBOFLOW[split]}/" for split, names in IMAGES.items() for name in names}
VOC_FILES = {f"{name[0]}.xml": voc(name, (40, 30), OBJECT) for name in NAMES}
LISTS = {split: "".join(f"{name[0]}\n" for name in names) for split, names in IMAGES.items()}

# Name: (format, folder of each image, other files, whether the split is stated).
EXPORTS = {
    "SKU-110K": (
        "sku110k",
        IN_IMAGES,
        of_each(
            "annotations/annotations_{}.csv",
            lambda names: "".join(f"{name},1,2,11,22,object,40,30\n" for name in names),
        ),
        True,
    ),
    "TensorFlow tutorials": (
        "csv",
        {name: f"images/{place}" for name, place in IN_SPLITS.items()},
        of_each("annotations/{}_labels.csv", csv_rows),
        True,
    ),
    "Roboflow CSV": (
        "csv",
        IN_VALID,
        {f"{ROBOFLOW[s]}/_annotations.csv": csv_rows(names) for s, names in IMAGES.items()},
        True,
    ),
    "keras-retinanet": (
        "csv",
        IN_IMAGES,
        dict(
            of_each("{}.csv", lambda names: "".join(f"images/{n},1,2,11,22,cola\n" for n in names)),
            **{"classes.csv": "cola,0\n"},
        ),
        True,
    ),
    "VoTT": (
        "csv",
        dict.fromkeys(NAMES, "vott-csv-export/"),
        {
            "vott-csv-export/shelf-export.csv": '"image","xmin","ymin","xmax","ymax","label"\n'
            + "".join(f'"{name}",1.0,2.0,11.0,22.0,"cola"\n' for name in NAMES)
        },
        False,
    ),
    "VIA": ("via", FLAT, {"via_export_csv.csv": via(NAMES)}, False),
    "TSV": ("csv", IN_IMAGES, {"boxes.tsv": csv_rows(NAMES).replace(",", "\t")}, False),
    "Pascal VOC": (
        "voc",
        dict.fromkeys(NAMES, "JPEGImages/"),
        dict(
            {f"Annotations/{name}": content for name, content in VOC_FILES.items()},
            **{f"ImageSets/Main/{split}.txt": names for split, names in LISTS.items()},
        ),
        True,
    ),
    "Pascal VOC in folders of shops": (
        "voc",
        {name: f"shop {name[0]}/" for name in NAMES},
        {f"shop {name[0]}/{name}": content for name, content in VOC_FILES.items()},
        False,
    ),
    "Pascal VOC in folders of classes in those of splits": (
        "voc",
        {name: f"{place}cola/" for name, place in IN_SPLITS.items()},
        {f"{IN_SPLITS[f'{n[0]}.jpg']}cola/{n}": content for n, content in VOC_FILES.items()},
        True,
    ),
    "COCO 2017": (
        "coco",
        {name: f"{split}2017/" for split, names in IMAGES.items() for name in names},
        of_each("annotations/instances_{}2017.json", coco),
        True,
    ),
    "Roboflow COCO": (
        "coco",
        IN_VALID,
        {f"{ROBOFLOW[s]}/_annotations.coco.json": coco(names) for s, names in IMAGES.items()},
        True,
    ),
    "datumaro's COCO": (
        "coco",
        {name: f"images/{place}" for name, place in IN_SPLITS.items()},
        of_each("annotations/instances_{}.json", coco),
        True,
    ),
    "Grocery Dataset's annotation.txt": (
        "grocery",
        dict.fromkeys(NAMES, "ShelfImages/"),
        {
            "annotation.txt": "".join(f"{name} 1 1 2 10 20 0\n" for name in NAMES),
            "subset.txt": "B1_N1.JPG\n",
        },
        False,
    ),
    "Label Studio": (
        "labelstudio",
        IN_IMAGES,
        {"project-1-at-2026-01-01.json": label_studio(NAMES)},
        False,
    ),
    "CVAT task": ("cvat", IN_IMAGES, {"annotations.xml": cvat({"default": NAMES})}, False),
    "CVAT project": (
        "cvat",
        {name: f"images/{place}" for name, place in IN_SPLITS.items()},
        {"annotations.xml": cvat({s.capitalize(): names for s, names in IMAGES.items()})},
        True,
    ),
    "CVAT project without folders": (
        "cvat",
        IN_IMAGES,
        {"annotations.xml": cvat({s.capitalize(): names for s, names in IMAGES.items()})},
        True,
    ),
    "datumaro's CVAT": (
        "cvat",
        IN_IMAGES,
        of_each("{}.xml", lambda names: cvat({"default": names})),
        True,
    ),
    "Datumaro": (
        "datumaro",
        {name: f"images/{place}" for name, place in IN_SPLITS.items()},
        of_each("annotations/{}.json", datumaro),
        True,
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read(tmp_path, name):
    format, folders, contents, is_split_stated = EXPORTS[name]
    for number, (image, folder) in enumerate(folders.items()):
        path = tmp_path / folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number * 60, 99, 0)).save(str(path), "JPEG")
    for file, content in contents.items():
        write_file(tmp_path / file, content)
    found = dataset.find(tmp_path)
    assert found.annotations.format == format
    lines = []
    checked = dataset.check(found, ONE_CLASS, report=lines.append)
    assert [image.filename for image in checked.labelled] == NAMES
    for image in checked.labelled:
        assert [pytest.approx(box) for box in image.boxes_xyxy.tolist()] == [[1, 2, 11, 22]]
    by_split = {split: list(paths) for split, paths in checked.by_split.items()}
    assert by_split == (IMAGES if is_split_stated else {"all": NAMES}), lines
    kept = dataset.check(found, ClassChoice(kept=True), report=lines.append)
    expected = {"sku110k": "object", "grocery": "0"}.get(format, "cola")
    assert {image.classes for image in kept.labelled} == {(expected,)}


def test_the_documentation_has_every_format():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in formats.ANNOTATION_FORMATS:
        assert f"| `{name}` |" in text
