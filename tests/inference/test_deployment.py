"""Step 11 and the runtimes of step 08: the same products as the frozen graph, and what is refused.

The expected detections are TensorFlow's, of the frozen graph.
"""

import base64
import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import toy_graph
from conftest import load_script
from shelfdet import UserError
from shelfdet.core import deploy_packages, files, paths, tensorflow1
from shelfdet.data import images, synthetic
from shelfdet.evaluation import deploying
from shelfdet.inference import RUNTIMES, detector, input_images, predict, runtimes
from shelfdet.inference.deployment import description, onnx_model, saved_model
from shelfdet.inference.deployment import network as network_module

needs_packages = pytest.mark.skipif(
    not deploy_packages.FOLDER.is_dir(), reason="`make setup-deploy` has not been run"
)
THRESHOLD = 0.2
LABELS_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.fixture(scope="module")
def shelves(tmp_path_factory):
    """A folder with two synthetic shelves, one of them over 1024 px, and their label files."""
    folder = tmp_path_factory.mktemp("shelves")
    synthetic.write_dataset(folder / "made", train=2, test=1, seed=0)
    made = sorted((folder / "made").rglob("*.JPG"))[:2]
    with open(next((folder / "made").rglob("annotations.csv")), newline="") as file:
        boxes = list(csv.reader(file))
    names = ("small.jpg", "large.jpg")
    rows = []
    for path, name, size_wh in zip(made, names, ((800, 600), (1600, 1200))):
        with Image.open(path) as image:
            factors = [new / old for new, old in zip(size_wh, image.size)] * 2
            image.convert("RGB").resize(size_wh).save(folder / name, quality=95)
        for row in boxes:
            if row[0] == path.name:
                sides = [int(float(side) * factor) for side, factor in zip(row[1:5], factors)]
                rows.append(",".join(map(str, [name, *size_wh, "product", *sides])) + "\n")
    assert len(rows) > 10
    (folder / "val_labels.csv").write_text(LABELS_HEADER + "".join(rows))
    return folder


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A copy of the fastest included graph, in a folder of its own."""
    folder = tmp_path_factory.mktemp("graphs") / "mine"
    folder.mkdir()
    for name in (paths.GRAPH_FILE, paths.CONFIG_FILE):
        shutil.copy2(str(paths.SHIPPED_FAST_GRAPH / name), str(folder))
    return folder / paths.GRAPH_FILE


def source_of(graph, shelves):
    inputs = input_images.labelled_images(shelves / "val_labels.csv", shelves)
    return deploying.Source(
        graph=graph,
        config=graph.with_name(paths.CONFIG_FILE),
        class_names=predict.read_class_names(paths.LABEL_MAP),
        threshold=THRESHOLD,
        max_side=1024,
        calibration=inputs,
        validation_labels=shelves / "val_labels.csv",
        validation=inputs,
    )


@pytest.fixture(scope="module")
def deployed(graph, shelves):
    """The folder that step 11 makes, and the comparisons that it prints."""
    folder = graph.with_name(paths.DEPLOY_FOLDER)
    # Two images calibrate int8 badly: it is compared, but not refused.
    with pytest.MonkeyPatch.context() as patch:
        limits = {key: (name, 2.0) for key, (name, _) in deploying.LIMITS.items()}
        limits[deploying.LOWER_IS_BETTER] = ("count MAE", 100.0)
        patch.setattr(deploying, "LIMITS", limits)
        compared = list(deploying.deploy(source_of(graph, shelves), folder))
    return folder, compared


@pytest.fixture(scope="module")
def network(graph):
    return detector.Detector(graph)


@needs_packages
def test_all_targets_are_written_and_compared(deployed, graph):
    folder, compared = deployed
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert written == [
        "detect.py",
        "detector.json",
        "detector.onnx",
        "openvino_int8/detector.bin",
        "openvino_int8/detector.xml",
        "saved_model/1/saved_model.pb",
    ]
    assert [(one.target, one.precision) for one in compared] == [
        ("detector.onnx", "float32"),
        ("saved_model", "float32"),
        ("openvino_int8", "int8"),
    ]
    onnx, served, _ = compared
    assert onnx.products > served.products > 0  # the SavedModel's in images that are not shrunk
    assert json.loads((folder / "detector.json").read_text()) == {
        "graph_sha256": files.sha256(graph),
        "classes": {"1": "product"},
        "threshold": THRESHOLD,
        "max_side": 1024,
    }


@needs_packages
def test_the_program_finds_the_products_of_the_frozen_graph(deployed, shelves, network, tmp_path):
    copied = tmp_path / "elsewhere"
    shutil.copytree(str(deployed[0]), str(copied))
    output = subprocess.check_output(
        [sys.executable, str(copied / "detect.py"), "small.jpg", "large.jpg"],
        cwd=str(shelves),
        env=dict(os.environ, PYTHONPATH=str(deploy_packages.FOLDER)),
        text=True,
    )
    found = [json.loads(line) for line in output.splitlines()]
    assert [one["file"] for one in found] == ["small.jpg", "large.jpg"]
    for one, size_wh in zip(found, ((800, 600), (1600, 1200))):
        boxes_yxyx, scores, _ = network.detect(images.load(shelves / one["file"], 1024).pixels)
        count = int((scores >= THRESHOLD).sum())
        assert one["count"] == len(one["products"]) == count > 0
        boxes = np.array([product["box"] for product in one["products"]])
        expected = boxes_yxyx[:count, [1, 0, 3, 2]].clip(0, 1) * np.tile(size_wh, 2)
        np.testing.assert_allclose(boxes, expected, atol=0.5)
        assert {product["class"] for product in one["products"]} == {"product"}


@needs_packages
def test_the_program_names_files_that_are_no_images_and_goes_on(deployed, shelves, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes((shelves / "small.jpg").read_bytes()[:5000])
    shutil.copy2(str(shelves / "small.jpg"), str(tmp_path))
    Image.new("RGB", (90, 60)).save(tmp_path / "broken.png")
    png = (tmp_path / "broken.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(png.replace(b"IDAT", b"\0\0\0\0"))
    broken = ["text.jpg", "cut.jpg", "no", "broken.png"]
    done = subprocess.run(
        [sys.executable, str(deployed[0] / "detect.py"), *broken, "small.jpg"],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=str(deploy_packages.FOLDER)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["small.jpg"]
    assert len(done.stderr.splitlines()) == len(broken)
    for line, name in zip(done.stderr.splitlines(), broken):
        assert line.startswith(f"error: {name}: no image that can be read (")


def test_the_program_is_short_and_imports_three_packages():
    lines = description.PROGRAM_SOURCE.read_text().splitlines()
    assert len(lines) <= 80
    imported = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import", "from"))
    }
    assert imported - {"argparse", "json", "pathlib", "sys"} == {"numpy", "onnxruntime", "PIL"}


@needs_packages
def test_the_saved_model_takes_jpeg_files_of_different_sizes(deployed, shelves, network):
    served = saved_model.ServedDetector(deployed[0] / description.SAVED_MODEL)
    # As a client of TensorFlow Serving sends them, and as it decodes them
    sent = [base64.b64encode((shelves / name).read_bytes()) for name in ("small.jpg", "large.jpg")]
    found = served.detect([base64.b64decode(text) for text in sent])
    for name, (boxes_yxyx, scores, class_ids) in zip(("small.jpg", "large.jpg"), found):
        expected_yxyx, expected_scores, _ = network.detect(images.load(shelves / name, 1024).pixels)
        # Large images are shrunk by two implementations.
        tolerance = 1e-3 if name == "small.jpg" else 0.02
        np.testing.assert_allclose(scores[:5], expected_scores[:5], atol=tolerance)
        np.testing.assert_allclose(boxes_yxyx[:5], expected_yxyx[:5], atol=tolerance)
        assert set(class_ids) == {1}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    "size_wh",
    [
        (800, 600),
        (1600, 1200),
        (1601, 1203),
        (2562, 2132),  # at 1/4 640.5 x 533
        (4811, 3607),  # at 1/8 601.4 x 450.9: 1/4 is over 1024
        (2729, 2022),
        (3264, 2448),
        (1944, 2592),
        (1280, 960),
        (1600, 900),
        (1999, 37),
    ],
)
def test_the_saved_model_shrinks_images_to_the_size_of_step_08(tmp_path, size_wh, suffix):
    path = tmp_path / f"a.{suffix}"
    x, y = np.meshgrid(*(np.arange(side) / max(size_wh) * 160 for side in size_wh))
    waves = 127 + 60 * np.sin(x) + 60 * np.sin(y)  # 40 px of 1024 long
    Image.fromarray(waves.astype(np.uint8)).convert("RGB").save(path, quality=95)
    tf = tensorflow1.load()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        shrunk = session.run(saved_model.shrunk_pixels(tf, path.read_bytes(), 1024))
    expected = images.load(path, 1024).pixels
    assert shrunk.shape == expected.shape
    # The waves differ by 6 on average if they are shifted by a pixel in one direction.
    assert np.abs(shrunk - expected.astype(float)).mean() < 2


@needs_packages
@pytest.mark.parametrize(
    "runtime, precision", [("tensorflow", None), ("onnxruntime", "float32"), ("openvino", "int8")]
)
def test_step_08_writes_the_same_file_with_every_runtime(
    deployed, graph, shelves, tmp_path, runtime, precision
):
    output = tmp_path / "out.json"
    load_script("08_detect").main(
        [
            f"--graph={graph}",
            f"--runtime={runtime}",
            f"--labels={shelves / 'val_labels.csv'}",
            f"--images={shelves}",
            f"--output={output}",
        ]
    )
    written = json.loads(output.read_text())
    assert {image["file_name"] for image in written["images"]} == {"small.jpg", "large.jpg"}
    assert written["info"].get("runtime_precision") == precision
    assert written["info"].get("runtime") == (runtime if precision else None)
    network = detector.Detector(graph)
    best = max(annotation["score"] for annotation in written["annotations"])
    expected = max(
        network.detect(images.load(shelves / name, 1024).pixels)[1][0]
        for name in ("small.jpg", "large.jpg")
    )
    assert best == pytest.approx(expected, abs=1e-3 if precision != "int8" else 0.3)


@needs_packages
def test_a_folder_of_another_graph_is_refused(deployed, tmp_path):
    shutil.copytree(str(deployed[0]), str(tmp_path / "other" / paths.DEPLOY_FOLDER))
    graph = toy_graph.write(tmp_path / "other" / paths.GRAPH_FILE)
    with pytest.raises(UserError, match="was made of another graph.*make deploy GRAPH=other"):
        runtimes.load("onnxruntime", graph, 1)


@needs_packages
@pytest.mark.parametrize("name", [description.ONNX, description.OPENVINO])
def test_a_broken_model_is_refused(deployed, tmp_path, name):
    broken = tmp_path / "deploy" / name
    shutil.copytree(str(deployed[0]), str(tmp_path / "deploy"))
    broken.write_bytes(broken.read_bytes()[:1000])
    network = runtimes.OnnxDetector if name == description.ONNX else runtimes.OpenvinoDetector
    with pytest.raises(UserError, match="cannot be loaded.*`make deploy`"):
        network(broken)


@needs_packages
def test_an_interrupted_export_leaves_the_old_files(deployed, graph, shelves, monkeypatch):
    folder = deployed[0]
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_model, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(deploying.deploy(source_of(graph, shelves), folder))
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert not list(folder.parent.glob(".*"))


def test_a_graph_with_another_preprocessing_is_refused(tmp_path):
    graph = toy_graph.write(tmp_path / "toy.pb")
    with pytest.raises(UserError, match="toy.pb: has no Preprocessor.*`make export`"):
        network_module.read(graph)


def test_only_a_fixed_input_size_can_be_served(tmp_path):
    config = tmp_path / "pipeline.config"
    config.write_text(
        "model { ssd { image_resizer { keep_aspect_ratio_resizer { min_dimension: 300 } } } }"
    )
    with pytest.raises(UserError, match="is keep_aspect_ratio_resizer .*expected a fixed_shape"):
        network_module.input_size(config)


def test_a_graph_that_is_not_deployed_is_refused(graph, tmp_path):
    copied = tmp_path / "new" / paths.GRAPH_FILE
    copied.parent.mkdir()
    shutil.copy2(str(graph), str(copied))
    with pytest.raises(UserError, match="no such file.*`make deploy GRAPH=new`"):
        runtimes.load("openvino", copied, 1)


def test_a_runtime_that_is_not_installed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(deploy_packages, "FOLDER", tmp_path / "nothing")
    with pytest.raises(UserError, match="not_there is not installed.*Run `make setup-deploy`"):
        deploy_packages.load("not_there.runtime")


@pytest.mark.parametrize("flags, refused", [("sse4_2 avx", True), ("avx avx2", False)])
def test_openvino_needs_avx2(monkeypatch, tmp_path, flags, refused):
    features = tmp_path / "cpuinfo"
    features.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(runtimes, "PROCESSOR_FEATURES", features)
    monkeypatch.setattr(runtimes.platform, "machine", lambda: "x86_64")
    if refused:
        with pytest.raises(UserError, match="no AVX2.*--runtime onnxruntime"):
            runtimes.check_processor()
    else:
        runtimes.check_processor()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_onnx_file_in_place_of_a_graph_is_refused(tmp_path, runtime):
    path = tmp_path / "detector.onnx"
    path.write_bytes(b"anything")
    with pytest.raises(UserError, match="is an ONNX model; expected a frozen graph .*onnxruntime"):
        runtimes.load(runtime, path, 1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_that_is_not_there_is_refused(tmp_path, runtime):
    with pytest.raises(UserError, match="no such file; expected a frozen graph"):
        runtimes.load(runtime, tmp_path / "typo" / paths.GRAPH_FILE, 1)
