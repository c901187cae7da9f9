"""Step 12 on this machine: its tables against step 08's detections, resuming, and wrong input."""

import json
import os

import pytest

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.inference.spark import java

try:
    java.check()
except UserError as missing:
    pytest.skip(str(missing), allow_module_level=True)

import spark_runs

import toy_graph
from shelfdet.data import detections, labels
from shelfdet.inference import predict
from shelfdet.inference.spark import failures, job, output, session, storage, task

# Names that a pattern, a URI or a shell would interpret
ODD_NAME = "odd [name] {a,b}*%20 é#1.JPG"
IMAGES = {ODD_NAME, "sideways.jpg", "strip.png", "large.jpeg"}
# Steps 08 and 12 are compared with each of these options.
OPTIONS = [
    {"tiles": 1},
    {"tiles": 2, "exif": "apply", "pad_strips": True, "min_score": 0.3, "max_side": 300},
    {"tiles": "auto", "exif": "apply"},
]


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    (folder / "label_map.pbtxt").write_text("item { id: 1 name: 'product' }\n")
    return toy_graph.write(folder / "frozen_inference_graph.pb")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    spark_runs.save_image(folder / "sub folder" / ODD_NAME)
    spark_runs.save_image(folder / "sideways.jpg", orientation=6)
    spark_runs.save_image(folder / "strip.png", (900, 200))
    spark_runs.save_image(folder / "large.jpeg", (2400, 1800), (400, 300, 1600, 1200))
    (folder / "cut.jpg").write_bytes((folder / "large.jpeg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.jpg").write_text("")
    (folder / "_DSC1.JPG").write_text("hidden from Spark")
    return folder


@pytest.fixture(scope="module")
def spark():
    with session.started("local[2]", None) as spark:
        yield spark


@pytest.fixture
def work_with(graph, spark):
    def work_with(**options):
        settings = predict.Settings(skip_bad=True, **options)
        class_names = predict.read_class_names(graph.with_name("label_map.pbtxt"))
        content = spark.sparkContext.broadcast(graph.read_bytes())
        return task.Work(content, "toy", files.sha256(graph), class_names, settings)

    return work_with


@pytest.fixture
def detect(spark, work_with):
    """Detects in the images at a URI, as the step does; returns the job.Plan and the totals."""

    def detect(images, target, **options):
        work = work_with(**options)
        with failures.explained(str(images)), job.locked(spark, str(target)):
            found = job.find(spark, str(images))
            tables = output.Output(spark, str(target), job.description(work))
            planned = job.plan(found, tables)
            return planned, job.run(spark, planned, tables, work)

    return detect


def step_08(script, graph, images, target, options):
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        words += [option] if value is True else [option, str(value)]
    common = ["--graph", str(graph), "--images", str(images), "--output", str(target)]
    script("08_detect").main(common + ["--skip-bad"] + words)
    return {os.path.basename(image.filename): image for image in detections.read_detections(target)}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_tables_hold_what_step_08_detects(
    script, detect, graph, images, tmp_path, options, capsys
):
    expected = step_08(script, graph, images, tmp_path / "step_08.json", options)
    _, totals = detect(images, tmp_path / "tables", **options)
    rows = spark_runs.table(tmp_path / "tables", "images")
    assert (totals["images"], totals["errors"]) == (5, 1)
    readable = {os.path.basename(row["image"]): row for row in rows if row["error"] is None}
    # Step 08 also reads the hidden file, which is no image.
    assert set(readable) == set(expected) == IMAGES
    found = spark_runs.boxes_by_image(spark_runs.table(tmp_path / "tables", "detections"))
    for name, image in expected.items():
        row = readable[name]
        assert (row["width"], row["height"]) == image.size_wh
        assert row["exif_orientation"] == (6 if name == "sideways.jpg" else 1)
        assert row["graph_sha256"] == files.sha256(graph)
        assert row["products"] == sum(score >= 0.5 for score in image.scores)
        if options["tiles"] != "auto":
            assert row["tiles"] == f"{options['tiles']} x {options['tiles']}"
        boxes = found.get(name, [])
        assert [box[0] for box in boxes] == list(image.classes)
        assert [box[1] for box in boxes] == image.scores.tolist()
        # COCO's JSON has widths and heights, which round the last digit of the right corner.
        corners = [box[2:] for box in boxes]
        assert corners == [pytest.approx(box, abs=1e-9) for box in image.boxes_xyxy.tolist()]
    (broken,) = [row for row in rows if row["error"] is not None]
    assert "cut.jpg: cannot be decoded to its end" in broken["error"]
    assert broken["products"] is None and "cut.jpg" not in found


def test_step_09_scores_the_tables_as_the_file_of_step_08(
    script, detect, graph, images, tmp_path, capsys
):
    options = {"tiles": 2, "min_score": 0.3}
    found = step_08(script, graph, images, tmp_path / "step_08.json", options)
    detect(images, tmp_path / "tables", **options)
    # The ground truth is a little beside what was detected; nothing was detected in one image.
    truth = [
        labels.labelled(name, image.size_wh, [("product", box) for box in moved(image)])
        for name, image in found.items()
    ]
    labels.write_labels(truth, tmp_path / "labels.csv")
    figures = []
    for detected, format in (("step_08.json", "coco"), ("tables", "parquet")):
        words = ["--ground-truth", tmp_path / "labels.csv", "--ground-truth-format", "csv"]
        words += ["--detections", tmp_path / detected, "--format", format]
        words += ["--graph-dir", graph.parent, "--threshold", 0.5, "--resamples", 20]
        words += ["--output", tmp_path / "metrics.json"]
        script("09_score").main([str(word) for word in words])
        figures.append(files.read_json(tmp_path / "metrics.json"))
    assert figures[0] == figures[1]
    assert figures[0]["images"] == len(IMAGES) and 0 < figures[0]["mAP"] <= 1
    assert f"left out: 1 image of {tmp_path / 'tables'} without labels" in capsys.readouterr().out


def moved(image):
    """Boxes of whole pixels near the detections of an image, inside it."""
    width, height = image.size_wh
    boxes = image.boxes_xyxy.astype(int) // 2 * 2
    return [box for box in boxes.tolist() if box[0] < box[2] <= width and box[1] < box[3] <= height]


def test_a_run_continues_where_it_was_killed(detect, images, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "IMAGES_OF_A_CORE", 1)  # 3 batches of 2 images or less
    target = tmp_path / "tables"

    def end(point):
        """Ends the second batch as a kill would, at a call of the storage."""
        write_text = storage.Storage.write_text

        def killed(self, uri, text):
            if point in uri:
                raise KeyboardInterrupt
            write_text(self, uri, text)

        monkeypatch.setattr(storage.Storage, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            detect(images, target, tiles=1)
        monkeypatch.setattr(storage.Storage, "write_text", write_text)

    end("000002.json")
    # Both tables have the second batch, but it is not complete; so does one half written.
    assert (target / "images" / "batch=000002").is_dir()
    (target / "detections" / "batch=000007").mkdir()
    planned, totals = detect(images, target, tiles=1)
    assert (planned.count, totals["images"]) == (3, 3)
    rows = spark_runs.table(target, "images")
    assert len({row["image"] for row in rows}) == len(rows) == 5
    found = spark_runs.boxes_by_image(spark_runs.table(target, "detections"))
    assert {name: len(boxes) for name, boxes in found.items()} == dict.fromkeys(IMAGES, 2)

    # A third run finds nothing to do, a new image, and one that has changed.
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.parquet")}
    planned, totals = detect(images, target, tiles=1)
    assert (planned.count, totals["images"], planned.changed) == (0, 0, 0)
    spark_runs.save_image(images / "new.jpg")
    os.utime(str(images / "strip.png"), (1, 1))
    try:
        planned, totals = detect(images, target, tiles=1)
    finally:
        (images / "new.jpg").unlink()
    assert (planned.count, totals["products"], planned.changed) == (1, 1, 1)
    assert planned.example.endswith("strip.png")
    after = {path: path.stat().st_mtime_ns for path in target.rglob("*.parquet")}
    assert before.items() <= after.items()


def test_tables_of_another_graph_or_other_options_are_not_mixed(detect, images, tmp_path):
    target = tmp_path / "tables"
    detect(images / "strip.png", target, tiles=1)
    with pytest.raises(UserError, match=r"differs in tiles \(1 there, 2 here\); expected the same"):
        detect(images / "strip.png", target, tiles=2)
    run = json.loads((target / "_run.json").read_text())
    (target / "._run.json.crc").unlink()  # Hadoop's checksum of it
    (target / "_run.json").write_text(json.dumps({**run, "graph_sha256": "other"}))
    with pytest.raises(UserError, match=r"differs in graph_sha256 \(other there, "):
        detect(images / "strip.png", target, tiles=1)
    del run["detection_version"]  # as the first version wrote it
    (target / "_run.json").write_text(json.dumps(run))
    with pytest.raises(
        UserError, match="was written by another version of step 12.*another folder"
    ):
        detect(images / "strip.png", target, tiles=1)


def test_a_folder_with_something_else_is_refused(detect, images, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("")
    with pytest.raises(UserError, match="holds something else .mine.csv.; expected a new or empty"):
        detect(images, tmp_path / "tables")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        detect(images, tmp_path / "tables" / "mine.csv")
    assert (tmp_path / "tables" / "mine.csv").read_text() == ""


def test_a_folder_may_be_named_like_a_pattern(spark, images, tmp_path):
    folder = tmp_path / "shelf [1] {a,b}*"
    spark_runs.save_image(folder / "one.jpg")
    assert job.find(spark, str(folder)).count == 1
    assert job.find(spark, str(images / "**" / "*.JPG")).count == 1
    assert job.find(spark, str(images / "{strip,large}.*")).count == 2


def test_images_that_are_not_there_are_refused(detect, spark, images, tmp_path):
    with pytest.raises(UserError, match="no such.* does not exist; expected images"):
        detect(tmp_path / "no such", tmp_path / "tables")
    with pytest.raises(UserError, match="1 file, and no image; expected files ending in .jpg"):
        detect(images / "notes.txt", tmp_path / "tables")
    with pytest.raises(UserError, match="scheme s3a.*--packages org.apache.hadoop:hadoop-aws:"):
        detect("s3a://bucket/images", tmp_path / "tables")
    with pytest.raises(UserError, match="scheme dropbox; expected file:, hdfs:"):
        detect("dropbox://images", tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
    lines = "\n".join(job.left_out(job.find(spark, str(images))))
    assert "1 file not ending in .jpg" in lines
    assert "2 files that Spark does not list: empty ones, and" in lines


def test_an_image_that_disappears_gets_a_row_with_an_error(spark, work_with, images, tmp_path):
    spark_runs.save_image(tmp_path / "in" / "gone.jpg")
    spark_runs.save_image(tmp_path / "in" / "there.jpg")
    work = work_with(tiles=1)
    batch = job.find(spark, str(tmp_path / "in")).images.collect()
    tables = output.Output(spark, str(tmp_path / "tables"), job.description(work))
    results = job.detected(spark, batch, work)
    (tmp_path / "in" / "gone.jpg").unlink()
    assert tables.write_batch(results, batch) == {
        "images": 2,
        "products": 1,
        "errors": 1,
        "boxes": 2,
    }
    errors = {
        os.path.basename(row["image"]): row["error"]
        for row in spark_runs.table(tmp_path / "tables", "images")
    }
    assert errors == {"gone.jpg": output.NOT_READ, "there.jpg": None}
    (tmp_path / "in" / "there.jpg").unlink()
    with pytest.raises(UserError, match="so are all 2 images of the batch. Nothing was written"):
        tables.write_batch(results, batch)


@pytest.mark.parametrize(
    "master, words",
    [
        ("spark://127.0.0.1:9", "nothing answers there within 5 seconds; expected a Spark master"),
        ("k8s://https://127.0.0.1:9", "nothing answers"),
        ("127.0.0.1:7077", "is no address of a Spark master; expected local"),
    ],
)
def test_a_master_that_does_not_answer_is_refused(master, words):
    with pytest.raises(UserError, match=words):
        session.check_master(master)


# What Spark 3.4.4 raises, shortened
RAISED = {
    "Exception: Python in worker has different version 3.11 than that in driver 3.7, PySpark "
    "cannot run with different minor versions.": "workers' Python is 3.11, that of the driver 3.7",
    "PythonException: Traceback (most recent call last):\n"
    "ModuleNotFoundError: No module named 'tensorflow'": "the workers have no module tensorflow",
    'java.io.IOException: Cannot run program "/x/.venv/bin/python": error=2, No such file': (
        "the workers have no Python at the driver's path"
    ),
    "[PATH_NOT_FOUND] Path does not exist: file:/x/no such.": "file:/x/no such does not exist",
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed 4 times": (
        "Spark's job failed: SparkException: Job aborted due to stage failure"
    ),
}


@pytest.mark.parametrize("raised", RAISED)
def test_what_spark_raises_is_explained(raised):
    message = failures.message("file:/x", raised, raised.split("\n")[0])
    assert RAISED[raised] in message
    assert "Batches that were complete are kept" in message or "Check the path" in message
