"""Step 09 on the Parquet tables of step 12: the figures of step 08's file, and wrong tables.

The tables are made here with pyarrow, as Spark writes them; tests/inference/test_spark_job.py
scores real ones.
"""

import importlib.util
import json
import shutil

import pytest

if importlib.util.find_spec("pyarrow") is None:
    pytest.skip("pyarrow is not installed (make setup SPARK=1)", allow_module_level=True)

import pyarrow.parquet
from scored_images import BOX, FAR

from conftest import load_script
from shelfdet import UserError
from shelfdet.core import files, paths
from shelfdet.data import detections, formats, labels
from shelfdet.data.detections import Detections
from shelfdet.data.formats import spark_tables
from shelfdet.evaluation import score

SIZE_WH = (64, 60)
OTHER = (20, 0, 30, 10)
GRAPH_BYTES = b"a graph"
# Image to its ground truth and its scored boxes; one without either, and one without detections.
TEST = {
    "a b#%20é.JPG": ([BOX, FAR], [(0.9, BOX), (0.6, OTHER), (0.3, FAR)]),
    "b.jpg": ([BOX], [(0.8, BOX), (0.8, OTHER)]),
    "c.jpg": ([FAR], []),
    "d.jpg": ([], []),
}
VAL = {"v.jpg": ([BOX], [(0.7, BOX), (0.4, OTHER)]), "w.jpg": ([FAR], [(0.5, FAR)])}
EVERY = {**TEST, **VAL, "unlabelled.jpg": ([], [(0.99, BOX)])}
RUN = {"classes": {"1": "product"}, "max_side": 1024, "exif": "ignore", "pad_strips": False}
RUN.update(tiles="auto", min_score=0.05, nms_iou=0.6, threshold=0.5)


def uri(name):
    return f"file:/photographs/shop 1/{name}"


def write_table(path, rows, schema):
    columns = [
        pyarrow.array([row[number] for row in rows], type)
        for number, (_, type) in enumerate(schema)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_arrays(columns, [name for name, _ in schema])
    pyarrow.parquet.write_table(table, str(path))


def write_batch(folder, number, images, errors=()):
    """One complete batch; ``errors``: (uri, problem) of images that step 12 could not read."""
    name = f"batch={number:06d}"
    rows = [
        (uri(image), *SIZE_WH, sum(value >= 0.5 for value, _ in scored), None)
        for image, (_, scored) in images.items()
    ] + [(image, None, None, None, problem) for image, problem in errors]
    string, int32, double = pyarrow.string(), pyarrow.int32(), pyarrow.float64()
    schema = [("image", string), ("width", int32), ("height", int32), ("products", int32)]
    write_table(folder / "images" / name / "part-0.parquet", rows, schema + [("error", string)])
    boxes = [
        (uri(image), "product", value, *map(float, box))
        for image, (_, scored) in images.items()
        for value, box in scored
    ]
    schema = [("image", string), ("class", string)]
    schema += [(key, double) for key in ("score", "xmin", "ymin", "xmax", "ymax")]
    # Spark writes a file a task, and all boxes of an image into one.
    first = [box for box in boxes if box[0] == boxes[0][0]]
    for part, of_part in enumerate((first, boxes[len(first) :])):
        write_table(folder / "detections" / name / f"part-{part}.parquet", of_part, schema)
    counts = {"images": len(rows), "boxes": len(boxes)}
    files.write_text(folder / "_batches" / f"{number:06d}.json", json.dumps(counts))


def write_labels(path, images):
    truth = [
        labels.labelled(name, SIZE_WH, [("product", box) for box in boxes])
        for name, (boxes, _) in images.items()
    ]
    labels.write_labels(truth, path)


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """The graph of the tables, among the graphs of a workspace."""
    monkeypatch.setattr(paths, "GRAPHS", tmp_path / "graphs")
    folder = tmp_path / "graphs" / "own"
    folder.mkdir(parents=True)
    (folder / "frozen_inference_graph.pb").write_bytes(GRAPH_BYTES)
    (folder / "pipeline.config").write_text("model {}")
    return folder / "frozen_inference_graph.pb"


@pytest.fixture
def tables(tmp_path, graph):
    """Label files of TEST and VAL, and the tables of a run over all images, in two batches."""
    write_labels(tmp_path / "test_labels.csv", TEST)
    write_labels(tmp_path / "val_labels.csv", VAL)
    folder = tmp_path / "tables"
    names = sorted(EVERY)
    for number, part in ((1, names[::2]), (2, names[1::2])):
        write_batch(folder, number, {name: EVERY[name] for name in part})
    # Of a driver that was killed: rows, but no file in _batches.
    shutil.copytree(str(folder / "images/batch=000001"), str(folder / "images/batch=000003"))
    run = {"graph_sha256": files.sha256(graph), **RUN}
    files.write_text(folder / "_run.json", json.dumps(run))
    return folder


def inputs(folder, **changes):
    both = (folder,)
    given = score.Inputs(
        ground_truth=folder.with_name("test_labels.csv"),
        detections=both,
        val_ground_truth=folder.with_name("val_labels.csv"),
        val_detections=() if "threshold" in changes else both,
        format="parquet",
    )
    return given._replace(**changes)


def write_step_08(folder, split, images, info):
    found = [
        Detections(
            name, SIZE_WH, [box for _, box in scored], [value for value, _ in scored],
            ("product",) * len(scored),
        )
        for name, (_, scored) in images.items()
    ]  # fmt: skip
    path = folder.with_name(f"{split}_detections.json")
    detections.write_detections(found, path, info)
    return path


def step_09(tables, **options):
    """Runs the script on the tables; options as of the command line."""
    given = {
        "ground_truth": tables.with_name("test_labels.csv"),
        "detections": tables,
        "format": "parquet",
        "val_ground_truth": tables.with_name("val_labels.csv"),
        "val_detections": tables,
        "resamples": 50,
        **options,
    }
    words = []
    for name, value in given.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    load_script("09_score").main(words)


def test_the_figures_are_those_of_step_08s_file(tables, graph, tmp_path, capsys):
    info = {
        "graph": str(graph),
        "graph_sha256": files.sha256(graph),
        "config_sha256": files.sha256(graph.with_name("pipeline.config")),
        "max_side": 1024,
        "exif": "ignore",
        "tiles": "auto",
        "detection_version": 1,
        "min_score": 0.05,
    }
    step_09(
        tables,
        format="coco",
        ground_truth_format="csv",
        detections=write_step_08(tables, "test", TEST, info),
        val_detections=write_step_08(tables, "val", VAL, info),
        output=tmp_path / "08.json",
        counts_output=tmp_path / "08_counts.json",
    )
    capsys.readouterr()
    step_09(tables, output=tmp_path / "12.json", counts_output=tmp_path / "12_counts.json")
    out = capsys.readouterr().out
    assert f"left out: 3 images of {tables} without labels in test_labels.csv" in out
    assert "graph: own" in out
    expected = files.read_json(tmp_path / "08.json")
    found = files.read_json(tmp_path / "12.json")
    # The name of the file that chose the threshold is the only difference.
    assert found.pop("threshold_from").replace("tables", "val_detections.json") == expected.pop(
        "threshold_from"
    )
    assert found == expected
    assert (found["images"], found["detections"], found["min_score"]) == (4, 5, 0.05)
    assert files.read_json(tmp_path / "12_counts.json") == files.read_json(
        tmp_path / "08_counts.json"
    )


def test_images_that_the_graph_was_trained_on_are_refused(tables, graph):
    files.write_text(graph.with_name("trained_on.json"), json.dumps({"train": ["b.jpg", "x.jpg"]}))
    with pytest.raises(UserError, match="1 of its images were used to train the graph"):
        score.evaluate(inputs(tables, threshold=0.5), resamples=0)


def test_a_graph_that_is_not_in_the_workspace_is_named(tables, graph, capsys):
    graph.parent.rename(tables.with_name("elsewhere"))
    score.evaluate(inputs(tables, threshold=0.5), resamples=0)
    assert "no graph in " in capsys.readouterr().err
    figures = score.evaluate(
        inputs(tables, threshold=0.5, graph_dir=tables.with_name("elsewhere")), resamples=0
    ).figures
    assert figures["graph"].endswith("elsewhere/frozen_inference_graph.pb")
    assert capsys.readouterr().err == ""


def test_validation_tables_of_other_options_are_refused(tables):
    other = tables.with_name("other")
    shutil.copytree(str(tables), str(other))
    run = files.read_json(tables / "_run.json")
    files.write_text(other / "_run.json", json.dumps({**run, "min_score": 0.2}))
    with pytest.raises(UserError, match=r"other: min_score is 0.2; expected 0.05 as in "):
        score.evaluate(inputs(tables, val_detections=(other,)), resamples=0)
    files.write_text(other / "_run.json", json.dumps({**run, "detection_version": 2}))
    with pytest.raises(UserError, match=r"other: detection_version is 2; expected 1 as in "):
        score.evaluate(inputs(tables, val_detections=(other,)), resamples=0)


def refused(tables, message):
    with pytest.raises(UserError, match=message):
        score.evaluate(inputs(tables, threshold=0.5), resamples=0)


def test_a_labelled_image_that_is_not_in_the_tables(tables):
    write_labels(tables.with_name("test_labels.csv"), {**TEST, "new.jpg": ([BOX], [])})
    refused(tables, "1 labelled but not in the detections .new.jpg.")


def test_a_labelled_image_that_step_12_could_not_read(tables):
    write_labels(tables.with_name("test_labels.csv"), {**TEST, "cut.jpg": ([BOX], [])})
    write_batch(tables, 3, {}, [("s3a://shop/cut.jpg", "is cut"), ("s3a://shop/no.jpg", "is cut")])
    refused(
        tables,
        r"tables: s3a://shop/cut.jpg: could not be read in step 12 \(is cut\); expected detections",
    )


def test_two_images_of_one_name(tables):
    write_batch(tables, 3, {}, [("s3a://shop 2/b.jpg", None), ("s3a://2/unlabelled.jpg", None)])
    refused(
        tables,
        "tables: b.jpg: is file:/photographs/shop 1/b.jpg and s3a://shop 2/b.jpg; expected one",
    )


@pytest.mark.parametrize(
    "path, content, message",
    [
        (
            "_run.json",
            None,
            "tables: holds no _run.json; expected a folder that step 12 .* written",
        ),
        ("_run.json", b"{}", "_run.json: states no graph; expected a folder that step 12"),
        ("_batches", None, "tables: no batch of it is complete; expected a folder that step 12"),
        ("_batches/000001.json", b"{}", "000001.json: states no number of images and boxes"),
        ("images/batch=000001/part-0.parquet", None, "batch=000001: holds 0 images; expected 4"),
        ("images/batch=000001/part-0.parquet", b"PAR1", "part-0.parquet: cannot be read"),
        (
            "detections/batch=000001/part-0.parquet",
            None,
            r"detections.batch=000001: holds \d+ boxes; expected \d+, as _batches/000001",
        ),
    ],
)
def test_incomplete_tables_are_refused(tables, path, content, message):
    target = tables / path
    if target.is_dir():
        shutil.rmtree(str(target))
    elif content is None:
        target.unlink()
    else:
        target.write_bytes(content)
    refused(tables, message)


def test_a_part_that_is_there_twice_is_refused(tables):
    part = tables / "detections" / "batch=000001" / "part-1.parquet"
    shutil.copy(str(part), str(part.with_name("part-1 (1).parquet")))
    refused(tables, r"detections.batch=000001: holds \d+ boxes; expected \d+, as _batches/000001")


def test_boxes_are_checked_as_those_of_other_formats(tables):
    write_batch(tables, 3, {"z.jpg": ([BOX], [(float("nan"), BOX), (0.5, (10, 0, 5, 5))])})
    write_labels(tables.with_name("test_labels.csv"), {**TEST, "z.jpg": ([BOX], [])})
    refused(tables, r"(?s)2 problems.*z.jpg: score is 'nan'; .*z.jpg: box 10,0,")


def test_all_images_are_read_where_no_names_are_asked_for(tables):
    images = {image.filename: image for image in detections.read_detections(tables, "parquet")}
    assert set(images) == set(EVERY)
    for name, (_, scored) in EVERY.items():
        assert images[name].scores.tolist() == [value for value, _ in scored]
        assert images[name].boxes_xyxy.tolist() == [list(map(float, box)) for _, box in scored]


def test_boxes_of_an_image_may_be_in_several_parts(tables, monkeypatch):
    monkeypatch.setattr(spark_tables, "ROWS", 1)
    test_all_images_are_read_where_no_names_are_asked_for(tables)


def test_ground_truth_is_in_no_tables(capsys):
    assert "parquet" not in formats.GROUND_TRUTH_FORMATS
    with pytest.raises(SystemExit):
        load_script("09_score").main(["--ground-truth-format", "parquet"])
