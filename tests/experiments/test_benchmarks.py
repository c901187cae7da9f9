"""Benchmarks: the inputs that are made, what is measured, and the table."""

import numpy as np
import pytest

import toy_graph
from experiments import benchmark_inputs, benchmarks, measurement
from shelfdet import UserError
from shelfdet.data import detections, images, labels


def test_synthetic_images_are_linked_in_turn_with_labels(tmp_path):
    sources = benchmark_inputs.synthetic_images(tmp_path / "synthetic", (64, 48))
    assert len(sources) == benchmark_inputs.SYNTHETIC_IMAGES
    folder = benchmark_inputs.link_images(tmp_path / "all", sources, len(sources) + 1)
    linked = images.list_images(folder)
    assert linked[0].resolve() == linked[-1].resolve() == sources[0].resolve()
    labelled = labels.read_labels(folder / "test_labels.csv")
    assert [image.filename for image in labelled] == [path.name for path in linked]
    assert {image.size_wh for image in labelled} == {(64, 48)}
    assert {len(image.boxes_xyxy) for image in labelled} == {benchmark_inputs.BOXES_PER_IMAGE}


def test_a_dataset_without_images_is_refused(tmp_path):
    for side in ("train", "test"):
        (tmp_path / "ShelfImages" / side).mkdir(parents=True)
    with pytest.raises(UserError, match="no images in .*expected the Grocery Dataset's layout"):
        benchmark_inputs.real_images(tmp_path)


def test_scored_boxes_have_detections_inside_the_image(tmp_path):
    folder = benchmark_inputs.write_scored(tmp_path / "score", 2)
    truth = labels.read_labels(folder / "labels.csv")
    found = detections.read_detections(folder / "detections.json")
    assert len(truth) == len(found) == 2
    for image in found:
        assert len(image.boxes_xyxy) <= benchmark_inputs.SCORED_BOXES_PER_IMAGE
        assert np.all(image.boxes_xyxy >= 0)
        assert np.all(image.boxes_xyxy <= 1000)


def test_memory_of_a_script_and_its_children_is_measured(tmp_path):
    script = tmp_path / "script.py"
    # The child holds 40 MiB for longer than the sampling interval.
    child = "held = bytearray(b'x') * (40 << 20); import time; time.sleep(0.3)"
    script.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
    )
    usage = measurement.measure([script])
    assert usage.seconds > 0.3
    assert 40 < usage.peak_mib < 400


def test_a_script_that_fails_is_reported_with_its_output(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('before')\nsys.exit('the reason')\n")
    with pytest.raises(UserError, match=r"script.py failed:\s+before\s+the reason"):
        measurement.measure([script])


def test_speed_is_measured_for_each_graph(tmp_path):
    graph = toy_graph.write(tmp_path / "frozen_inference_graph.pb")
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    rates = measurement.images_per_second([graph, graph], [pixels] * 2)
    assert len(rates) == 2
    assert min(rates) > 0


def test_start_up_does_not_count_in_the_rate(monkeypatch, capsys):
    usages = iter([measurement.Usage(2.0, 50.0), measurement.Usage(12.0, 100.4)])
    monkeypatch.setattr(measurement, "measure", lambda command: next(usages))
    row = benchmarks.bench_step("04 records", "640 px", 101, ["all"], ["one"])
    benchmarks.print_table([row])
    assert "| 04 records | 640 px | 101 | 12.0 | 2.0 | 10.0 | 100 |" in capsys.readouterr().out


def test_a_single_image_is_refused(capsys):
    with pytest.raises(SystemExit):
        benchmarks.main(["--count", "1"])
    assert "--count 1: expected at least 2" in capsys.readouterr().err
