"""The table of matches gives back what was put in, in chunks of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_scenes import scenes

from shelfdet.evaluation import match_table, matching
from shelfdet.evaluation.match_table import MatchTable


def assert_same(image, expected):
    assert (image.filename, image.size_wh) == (expected.filename, expected.size_wh)
    for field in expected._fields[2:]:
        found, wanted = getattr(image, field), getattr(expected, field)
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(found, wanted, field)


@settings(max_examples=50, deadline=None)
@given(scenes(tied=True, labels=st.sampled_from(["milk", "tea"])), st.integers(1, 3))
def test_what_is_put_in_is_given_back(scene, images_of_a_chunk):
    truth, detections = scene
    # Not by match(), which returns a table
    single = [
        matching._match_image(image, found, one_class=False)
        for image, found in zip(truth, detections)
    ]
    before = match_table.IMAGES_OF_A_CHUNK
    match_table.IMAGES_OF_A_CHUNK = images_of_a_chunk
    try:
        table = MatchTable(single)
        assert len(table) == len(single) and table.filenames == [one.filename for one in single]
        for image, expected in zip(table, single):
            assert_same(image, expected)
        if single:
            assert_same(table[-1], single[-1])
            assert_same(table[0:1][0], single[0])
        with pytest.raises(IndexError):
            table[len(single)]
    finally:
        match_table.IMAGES_OF_A_CHUNK = before


def test_an_empty_table():
    assert len(MatchTable()) == 0 and list(MatchTable([])) == []


def test_true_positives_at_every_iou_and_arrays_that_cannot_be_changed():
    flags = np.array([[bool((bits >> row) & 1) for bits in range(0, 1024, 7)] for row in range(10)])
    count = flags.shape[1]
    image = match_table.Matches(
        "a.jpg",
        None,
        np.zeros((0, 4)),
        np.zeros(0, object),
        np.zeros((count, 4)),
        np.linspace(1, 0, count),
        np.array(["milk"] * count, object),
        np.zeros(count, np.int8),
        np.full(count, -1),
        np.zeros(count),
        flags,
    )
    (given_back,) = MatchTable([image])
    assert_same(given_back, image)
    with pytest.raises(ValueError, match="read-only"):
        given_back.scores[0] = 2
