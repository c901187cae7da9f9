"""The file of processed images: what is read back, and what a killed run leaves."""

import numpy as np
import pytest

from shelfdet import UserError
from shelfdet.data.detections import Detections
from shelfdet.inference import processed_images
from shelfdet.inference.processed_images import ImageResult

RUN = {"graph_sha256": "g", "tiles": 2, "seen": (1, 2)}


def result(name, count=3):
    boxes_xyxy = np.arange(count * 4, dtype=float).reshape(-1, 4) / 7
    classes = tuple(("milk", "tea")[number % 2] for number in range(count))
    found = Detections(name, (400, 300), boxes_xyxy, np.linspace(0.9, 0.1, count), classes)
    return ImageResult(name, found, 6, None)


def assert_equal(actual, expected):
    for one, other in zip(actual, expected):
        assert one._replace(detections=None) == other._replace(detections=None)
        if other.detections is None:
            assert one.detections is None
            continue
        for field in ("filename", "size_wh", "classes"):
            assert getattr(one.detections, field) == getattr(other.detections, field)
        np.testing.assert_array_equal(one.detections.boxes_xyxy, other.detections.boxes_xyxy)
        np.testing.assert_array_equal(one.detections.scores, other.detections.scores)
    assert len(actual) == len(expected)


RESULTS = [result("a.jpg"), result("b\n{.jpg", 0), ImageResult("c.jpg", None, 1, "is empty")]


def resumable(path, run=RUN, is_current=lambda result: True):
    return processed_images.resumable(path, run, is_current)


def test_images_are_read_back_exactly_and_the_file_is_removed(tmp_path):
    with resumable(tmp_path / "d") as processed:
        for one in RESULTS:
            processed.add(one)
        assert_equal(list(processed), RESULTS)
        assert_equal(list(processed), RESULTS)
    assert not list(tmp_path.iterdir())


def test_images_may_be_added_while_they_are_read(tmp_path):
    with resumable(tmp_path / "d") as processed:
        processed.add(RESULTS[0])
        reading = iter(processed)
        read = [next(reading)]
        processed.add(RESULTS[2])
        assert_equal(read + list(reading), [RESULTS[0], RESULTS[2]])


class Killed(Exception):
    pass


def test_a_run_that_was_killed_is_resumed_and_its_file_removed_at_the_end(tmp_path):
    path = tmp_path / "d.json.unfinished"
    with pytest.raises(Killed), resumable(path) as processed:
        for one in RESULTS:
            processed.add(one)
        raise Killed
    whole = path.read_bytes()
    # Cut at every byte of the last two entries: the images before them are kept, and all others
    # can be added again.
    with resumable(path) as processed:
        assert_equal(list(processed), RESULTS)
    assert not path.exists()
    for end in range(whole.index(b'{"filename": "b'), len(whole)):
        path.write_bytes(whole[:end])
        with resumable(path) as processed:
            kept = list(processed)
            assert_equal(kept, RESULTS[: len(kept)])
            for one in RESULTS[len(kept) :]:
                processed.add(one)
            assert_equal(list(processed), RESULTS)


def test_boxes_that_never_reached_the_disk_are_left_out(tmp_path):
    path = tmp_path / "d.json.unfinished"
    with pytest.raises(Killed), resumable(path) as processed:
        processed.add(RESULTS[0])
        processed.add(result("b.jpg"))
        raise Killed
    whole = path.read_bytes()
    for damaged in (whole[:-40] + bytes(40), whole + b"12\n"):
        path.write_bytes(damaged)
        with resumable(path) as processed:
            kept = [image.filename for image in processed]
            assert kept == (["a.jpg", "b.jpg"] if len(damaged) > len(whole) else ["a.jpg"])


def test_a_run_killed_in_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "d.json.unfinished"
    path.write_bytes(b'{"graph')
    with resumable(path) as processed:
        assert list(processed) == []
        processed.add(RESULTS[0])
        assert_equal(list(processed), RESULTS[:1])


@pytest.mark.parametrize(
    "line, differs",
    [
        (None, ["exif", "tiles"]),
        (b'{"tiles": 3}\n', ["exif", "graph_sha256", "seen"]),
        # of another version, which had an option that meant nothing then
        (
            b'{"tiles": 3, "exif": "apply", "graph_sha256": "g", "seen": [1, 2], "old": null}\n',
            ["old"],
        ),
        (b"[1]\n", []),
        (b"\xff\n", []),
    ],
)
def test_another_run_begins_anew(tmp_path, line, differs):
    path = tmp_path / "d.json.unfinished"
    with pytest.raises(Killed), resumable(path) as processed:
        processed.add(RESULTS[0])
        raise Killed
    if line is not None:
        path.write_bytes(line + path.read_bytes())
    with resumable(path, {**RUN, "tiles": 3, "exif": "apply"}) as processed:
        assert processed.differs == differs
        assert list(processed) == []
        processed.add(RESULTS[1])
        assert_equal(list(processed), RESULTS[1:2])


def test_images_that_are_not_current_are_left_out_and_may_be_added_again(tmp_path):
    path = tmp_path / "d.json.unfinished"
    for _ in range(2):  # killed twice
        with pytest.raises(Killed), resumable(path) as processed:
            processed.add(result("a.jpg")._replace(version="old"))
            processed.add(result("b.jpg")._replace(version="new"))
            raise Killed
    with resumable(path, is_current=lambda image: image.version == "new") as processed:
        assert [image.filename for image in processed] == ["b.jpg", "b.jpg"]
        processed.add(result("a.jpg", 1)._replace(version="newer"))
        assert [len(image.detections.scores) for image in processed] == [3, 3, 1]


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "d.json.unfinished").mkdir()
    with pytest.raises(UserError, match="d.json.unfinished: cannot be written"):
        with resumable(tmp_path / "d.json.unfinished"):
            pass
