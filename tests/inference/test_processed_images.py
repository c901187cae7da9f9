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


def test_images_are_read_back_exactly_and_the_folder_stays_empty(tmp_path):
    with processed_images.temporary(tmp_path) as processed:
        for one in RESULTS:
            processed.add(one)
        assert_equal(list(processed), RESULTS)
        assert_equal(list(processed), RESULTS)
        assert not list(tmp_path.iterdir())


def test_images_may_be_added_while_they_are_read(tmp_path):
    with processed_images.temporary(tmp_path) as processed:
        processed.add(RESULTS[0])
        reading = iter(processed)
        read = [next(reading)]
        processed.add(RESULTS[2])
        assert_equal(read + list(reading), [RESULTS[0], RESULTS[2]])


class Killed(Exception):
    pass


def test_a_run_that_was_killed_is_resumed_and_its_file_removed_at_the_end(tmp_path):
    path = tmp_path / "d.json.unfinished"
    with pytest.raises(Killed), processed_images.resumable(path, RUN) as processed:
        for one in RESULTS:
            processed.add(one)
        raise Killed
    whole = path.read_bytes()
    # Cut at every byte of the last two entries: the images before them are kept, and all others
    # can be added again.
    with processed_images.resumable(path, RUN) as processed:
        assert_equal(list(processed), RESULTS)
    assert not path.exists()
    for end in range(whole.index(b'{"filename": "b'), len(whole)):
        path.write_bytes(whole[:end])
        with processed_images.resumable(path, RUN) as processed:
            kept = list(processed)
            assert_equal(kept, RESULTS[: len(kept)])
            for one in RESULTS[len(kept) :]:
                processed.add(one)
            assert_equal(list(processed), RESULTS)


def test_a_run_killed_in_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "d.json.unfinished"
    path.write_bytes(b'{"graph')
    with processed_images.resumable(path, RUN) as processed:
        assert list(processed) == []
        processed.add(RESULTS[0])
        assert_equal(list(processed), RESULTS[:1])


def test_another_run_is_refused_and_its_file_kept(tmp_path):
    path = tmp_path / "d.json.unfinished"
    with pytest.raises(Killed), processed_images.resumable(path, RUN) as processed:
        processed.add(RESULTS[0])
        raise Killed
    before = path.read_bytes()
    words = "d.json.unfinished: is of a run that differs in exif, tiles; expected the same command"
    with pytest.raises(UserError, match=words):
        with processed_images.resumable(path, {**RUN, "tiles": 3, "exif": "apply"}):
            pass
    path.write_bytes(b"[1]\n" + before)
    with pytest.raises(UserError, match="differs in graph_sha256, seen, tiles"):
        with processed_images.resumable(path, RUN):
            pass


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "d.json.unfinished").mkdir()
    with pytest.raises(UserError, match="d.json.unfinished: cannot be written"):
        with processed_images.resumable(tmp_path / "d.json.unfinished", RUN):
            pass
