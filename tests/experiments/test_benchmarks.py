"""Benchmarks: the inputs that are made, what is measured, and the table."""

import numpy as np
import pytest

import toy_graph
from experiments import benchmark_inputs, benchmarks, machine, measurement
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


def test_cpu_seconds_are_those_of_all_processes(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    script = tmp_path / "script.py"
    # One child is waited for, the other one is not.
    script.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\n"
        f"child = subprocess.Popen([sys.executable, '-c', {busy!r} + '\\nprint(1, flush=True)"
        "\\ninput()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\nchild.stdout.readline()\n"
        "import time; time.sleep(0.3)\n"
    )
    usage = measurement.measure([script])
    assert 0.8 <= usage.cpu_seconds < usage.seconds * 2


def test_variants_run_in_turn_and_start_up_does_not_count(monkeypatch, tmp_path, capsys):
    # name -> images -> what each round needs
    slow_round = {"a": {1: (2, 3), 101: (12, 23)}, "b": {1: (1, 1), 101: (6, 6)}}
    fast_round = {"a": {1: (2, 3), 101: (7, 13)}, "b": {1: (1, 2), 101: (4, 6)}}
    waiting = {"a": [slow_round, fast_round, slow_round], "b": [slow_round, fast_round, fast_round]}
    order = []

    def measure(command, python):
        name, images = command
        order.append(command)
        seconds, cpu_seconds = waiting[name][0][name][images]
        if images == 101:
            waiting[name].pop(0)
        return measurement.Usage(seconds, cpu_seconds, 90.4 + images)

    monkeypatch.setattr(measurement, "measure", measure)
    variants = [
        measurement.Variant(name, lambda images, folder, name=name: [name, images])
        for name in ("a", "b")
    ]
    benchmarks.bench("08", "640 px", variants, 1, 101, 3)
    assert order == [["a", 1], ["a", 101], ["b", 1], ["b", 101]] * 3
    # a: 10, 5, 10 s and 20, 10, 20 CPU s for 100 images; b: 5, 3, 3 s and 5, 4, 4 CPU s
    assert capsys.readouterr().out == (
        "| 08 | 640 px | a | 10.0 | 200.0 | 1.00 | 3.0 | 191 |\n"
        "| 08 | 640 px | b | 33.3 | 40.0 | 4.00 | 2.0 | 191 |\n"
    )


def test_a_graph_is_measured_alone_and_in_step_08(tmp_path, monkeypatch, capsys):
    graph = tmp_path / "toy"
    toy_graph.write(graph / "frozen_inference_graph.pb")
    for _, variable, _ in benchmarks.SOURCES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(benchmarks, "SOURCES", (("small", "SMALL", (64, 48)),))
    options = ["--only", "graph", "detect", "--graphs", str(graph), "--count", "12"]
    benchmarks.main(options + ["--rounds", "1"])
    out = capsys.readouterr().out
    assert "not measured: toy in onnxruntime: " in out and "make deploy GRAPH=toy" in out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [
        ["| toy alone", "small, synthetic"],
        ["| 08, toy", "small, synthetic"],
    ]


def test_a_reference_that_is_no_python_is_refused(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named numpy' >&2\nexit 1\n")
    with pytest.raises(UserError, match="cannot be run .*expected a Python"):
        machine.tensorflow_of(broken)
    broken.chmod(0o755)
    with pytest.raises(UserError, match="No module named numpy; expected the .venv/bin/python"):
        machine.tensorflow_of(broken)


@pytest.mark.parametrize("option, least", [("--count", 2), ("--steps", 6), ("--scored", 2)])
def test_too_few_are_refused(option, least, capsys):
    with pytest.raises(SystemExit):
        benchmarks.main([option, "1"])
    assert f"{option} 1: expected at least {least}, since" in capsys.readouterr().err
