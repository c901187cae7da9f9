"""The two matching rules: kinds of detections, order, thresholds and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_images import BOX, FAR, HALF, found, labelled
from scored_scenes import scenes

from shelfdet import UserError
from shelfdet.data.detections import Detections
from shelfdet.evaluation import matching


def test_a_second_detection_of_a_product_is_a_duplicate_by_pascal_and_takes_the_next_by_coco():
    # Both detections overlap the first ground-truth box most.
    truth = [labelled("a.jpg", [(0, 0, 10, 10), (3, 0, 13, 10)])]
    detections = [found("a.jpg", [(0.9, 0, 0, 10, 10), (0.8, 1, 0, 11, 10)])]
    (image,) = matching.match(truth, detections)
    assert list(image.kinds) == [matching.TRUE_POSITIVE, matching.DUPLICATE]
    assert image.coco_true_positives[0].tolist() == [True, True]


def test_kinds_and_the_ground_truth_that_each_detection_overlaps():
    truth = [labelled("a.jpg", [FAR, BOX])]
    detections = [
        found("a.jpg", [(0.9,) + BOX, (0.8,) + HALF, (0.7, 0, 0, 10, 2), (0.6, 20, 20, 30, 30)])
    ]
    (image,) = matching.match(truth, detections)
    kinds = [matching.KINDS[kind] for kind in image.kinds]
    assert kinds == ["true positive", "duplicate", "localization", "background"]
    assert list(image.truth_index) == [1, 1, 1, -1]
    assert image.iou == pytest.approx([1, 0.5, 0.2, 0])
    assert list(matching.false_negatives(image, 0.5)) == [True, False]
    assert list(matching.false_negatives(image, 0.95)) == [True, True]


@settings(max_examples=60, deadline=None)
@given(scenes(tied=True), st.sampled_from([0.25, 0.5, 0.75]))
def test_a_threshold_changes_no_match_of_the_detections_it_keeps(scene, threshold):
    truth, detections = scene
    above = [
        Detections(
            image.filename,
            image.size_wh,
            image.boxes_xyxy[image.scores >= threshold],
            image.scores[image.scores >= threshold],
            tuple(name for name, score in zip(image.classes, image.scores) if score >= threshold),
        )
        for image in detections
    ]
    for whole, part in zip(matching.match(truth, detections), matching.match(truth, above)):
        kept = whole.scores >= threshold
        assert list(whole.kinds[kept]) == list(part.kinds)
        assert list(whole.truth_index[kept]) == list(part.truth_index)
        assert (whole.coco_true_positives[:, kept] == part.coco_true_positives).all()


def test_keep_renumbers_the_ground_truth():
    detections = [found("a.jpg", [(0.9,) + BOX, (0.8,) + FAR])]
    (image,) = matching.match([labelled("a.jpg", [BOX, FAR])], detections)
    kept = matching.keep(image, np.array([True, True]), np.array([False, True]))
    assert list(kept.truth_index) == [-1, 0]
    assert kept.truth_xyxy.tolist() == [list(FAR)]
    assert list(kept.scores) == [0.9, 0.8]


def test_duplicate_labels_are_counted():
    almost = (0, 0, 10, 11)
    matches = matching.match(
        [labelled("a.jpg", [BOX, almost, FAR]), labelled("b.jpg", [BOX])],
        [found("a.jpg", []), found("b.jpg", [])],
    )
    assert matching.duplicate_labels(matches) == 1


def test_images_that_only_one_side_has_are_listed():
    truth = [labelled("a.jpg", []), labelled("b.jpg", [])]
    with pytest.raises(UserError) as error:
        matching.match(truth, [found("b.jpg", []), found("c.jpg", [])])
    assert "1 labelled but not in the detections (a.jpg)" in str(error.value)
    assert "1 in the detections but not in the ground truth (c.jpg)" in str(error.value)


def test_other_sizes_are_refused():
    other = found("a.jpg", [])._replace(size_wh=(640, 640))
    with pytest.raises(
        UserError, match=r"a\.jpg: 64 x 64 in the ground truth, 640 x 640 in the detections"
    ):
        matching.match([labelled("a.jpg", [])], [other])


def test_swapped_sizes_are_those_of_turned_images():
    names = [f"{number}.jpg" for number in range(5)]
    truth = [labelled(name, [])._replace(size_wh=(640, 480)) for name in names]
    turned = [found(name, [])._replace(size_wh=(480, 640)) for name in names]
    message = r"5 of 5 images .*0\.jpg: 640 x 480 .* and 2 more\).*EXIF orientation.*--exif ignore"
    with pytest.raises(UserError, match=message):
        matching.match(truth, turned)


def test_other_class_names_are_refused_unless_ignored():
    truth = [labelled("a.jpg", [BOX])]
    detections = [found("a.jpg", [(0.9,) + BOX], ["0"])]
    with pytest.raises(UserError, match="--one-class"):
        matching.match(truth, detections)
    (image,) = matching.match(truth, detections, one_class=True)
    assert list(image.kinds) == [matching.TRUE_POSITIVE]
