"""AP by both rules against their references, and all figures against answers by hand."""

import contextlib
import io
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from object_detection.utils import object_detection_evaluation
from pycocotools import coco, cocoeval
from scored_images import BOX, EMPTY, FAR, HALF, found, labelled, match
from scored_scenes import scenes

from shelfdet.data.detections import Detections
from shelfdet.evaluation import breakdowns, matching, metrics

EXACT = 1e-9


def pascal_ap(matches):
    return np.mean([metrics.average_precision(pooled) for pooled in metrics.pools(matches)])


def coco_aps(matches):
    return np.mean(
        [metrics.coco_average_precisions(pooled) for pooled in metrics.pools(matches)], axis=0
    )


# ---- references --------------------------------------------------------------------------------


def reference_pascal(truth, detections, labels=("product",)):
    """mAP of object_detection's own evaluator."""
    return pascal_results(truth, detections, labels)["PascalBoxes_Precision/mAP@0.5IOU"]


def pascal_results(truth, detections, labels):
    """All results of object_detection's own evaluator, by name."""
    evaluator = object_detection_evaluation.PascalDetectionEvaluator(
        [{"id": n, "name": name} for n, name in enumerate(labels, start=1)]
    )
    for image in truth:
        evaluator.add_single_ground_truth_image_info(
            image.filename,
            {
                "groundtruth_boxes": image.boxes_xyxy[:, [1, 0, 3, 2]],
                "groundtruth_classes": np.array(
                    [labels.index(name) + 1 for name in image.classes], dtype=int
                ),
            },
        )
    for image in detections:
        evaluator.add_single_detected_image_info(
            image.filename,
            {
                "detection_boxes": image.boxes_xyxy[:, [1, 0, 3, 2]],
                "detection_scores": image.scores,
                "detection_classes": np.array(
                    [labels.index(name) + 1 for name in image.classes], dtype=int
                ),
            },
        )
    return evaluator.evaluate()


def reference_coco(truth, detections, labels=("product",)):
    """AP of pycocotools at each IoU, with areaRng "all" and without a limit of detections."""
    precision = coco_precision(truth, detections, labels)
    return [np.mean(at_iou[at_iou > -1]) if (at_iou > -1).any() else np.nan for at_iou in precision]


def coco_precision(truth, detections, labels):
    """pycocotools' precision, (10 IoUs, 101 recalls, classes); -1 of a class without ground truth.

    The images are in the order of their names.
    """
    image_ids = {
        name: number
        for number, name in enumerate(sorted(image.filename for image in truth), start=1)
    }

    def dataset(images):
        annotations = []
        for image in images:
            for index, (xmin, ymin, xmax, ymax) in enumerate(image.boxes_xyxy):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_ids[image.filename],
                        "iscrowd": 0,
                        "category_id": labels.index(image.classes[index]) + 1,
                        "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                        "area": (xmax - xmin) * (ymax - ymin),
                        "score": 0 if image.scores is None else image.scores[index],
                    }
                )
        made = coco.COCO()
        made.dataset = {
            "images": [{"id": number} for number in image_ids.values()],
            "annotations": annotations,
            "categories": [{"id": n, "name": name} for n, name in enumerate(labels, start=1)],
        }
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = cocoeval.COCOeval(dataset(truth), dataset(detections), "bbox")
        evaluator.params.maxDets = [1 + max(len(image.scores) for image in detections)]
        evaluator.params.areaRng = [[0, 1e10]]
        evaluator.params.areaRngLbl = ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"][:, :, :, 0, 0]


names = st.sampled_from(["product", "price tag"])


@settings(max_examples=150, deadline=None)
@given(scenes(tied=False))
def test_pascal_rule_equals_object_detection(scene):
    truth, detections = scene
    expected = reference_pascal(truth, detections)
    if not any(image.classes for image in truth):
        assert np.isnan(expected) and metrics.pools(matching.match(truth, detections)) == []
    else:
        assert pascal_ap(matching.match(truth, detections)) == pytest.approx(expected, abs=EXACT)


@settings(max_examples=60, deadline=None)
@given(scenes(tied=True))
def test_pascal_rule_breaks_ties_by_file_name_and_place(scene):
    """object_detection leaves the order of equal scores open; scores in our order leave none."""
    truth, detections = scene
    assume(any(image.classes for image in truth))
    matches = matching.match(truth, detections)
    ranked = sorted(
        (-score, image.filename, index)
        for image in matches
        for index, score in enumerate(image.scores)
    )
    ranks = {
        (name, index): 1 - rank / (len(ranked) + 1) for rank, (_, name, index) in enumerate(ranked)
    }
    untied = [
        Detections(
            image.filename,
            image.size_wh,
            image.boxes_xyxy,
            np.array([ranks[image.filename, index] for index in range(len(image.scores))]),
            tuple(image.classes),
        )
        for image in matches
    ]
    assert pascal_ap(matches) == pytest.approx(reference_pascal(truth, untied), abs=EXACT)


@settings(max_examples=150, deadline=None)
@given(st.one_of(scenes(tied=True), scenes(tied=False)))
def test_coco_rule_equals_pycocotools(scene):
    truth, detections = scene
    expected = reference_coco(truth, detections)
    if not any(image.classes for image in truth):
        assert np.isnan(expected).all()
    else:
        assert coco_aps(matching.match(truth, detections)) == pytest.approx(expected, abs=EXACT)


@settings(max_examples=60, deadline=None)
@given(scenes(tied=False, labels=names))
def test_both_rules_with_two_classes(scene):
    truth, detections = scene
    labels = ("price tag", "product")
    in_truth = {name for image in truth for name in image.classes}
    in_both = in_truth & {name for image in detections for name in image.classes}
    assume(in_both)
    matches = matching.match(truth, detections)
    assert pascal_ap(matches) == pytest.approx(
        reference_pascal(truth, detections, labels), abs=EXACT
    )
    assert coco_aps(matches) == pytest.approx(reference_coco(truth, detections, labels), abs=EXACT)


@settings(max_examples=40, deadline=None)
@given(scenes(tied=False, labels=names))
def test_the_figures_of_each_class_equal_those_of_both(scene):
    truth, detections = scene
    labels = ("price tag", "product")
    in_truth = {name for image in truth for name in image.classes}
    assume(in_truth & {name for image in detections for name in image.classes})
    pascal = pascal_results(truth, detections, labels)
    coco = coco_precision(truth, detections, labels)
    rows = breakdowns.by_class(matching.match(truth, detections), 0.5)
    for place, name in enumerate(labels):
        if name not in in_truth:
            assert name not in rows or np.isnan(rows[name]["AP50"])
            continue
        row = rows[name]
        expected = pascal[f"PascalBoxes_PerformanceByCategory/AP@0.5IOU/{name}"]
        assert row["AP50"] == pytest.approx(expected, abs=EXACT)
        assert row["AP75"] == pytest.approx(coco[5, :, place].mean(), abs=EXACT)
        assert row["AP"] == pytest.approx(coco[:, :, place].mean(), abs=EXACT)


def test_both_rules_on_a_large_crowded_scene():
    random = np.random.RandomState(0)
    truth, detections = [], []
    for number in range(12):
        count = random.randint(0, 60)
        low = random.rand(count, 2) * 40
        boxes = np.hstack([low, low + 4 + random.rand(count, 2) * 12])
        near = (
            boxes[random.randint(0, max(count, 1), 2 * count)] + random.randn(2 * count, 4)
            if count
            else boxes
        )
        near = near[(near[:, 2] > near[:, 0]) & (near[:, 3] > near[:, 1])]
        truth.append(labelled(f"{number:02}.jpg", boxes))
        detections.append(found(f"{number:02}.jpg", np.hstack([random.rand(len(near), 1), near])))
    matches = matching.match(truth, detections)
    assert pascal_ap(matches) == pytest.approx(reference_pascal(truth, detections), abs=EXACT)
    assert coco_aps(matches) == pytest.approx(reference_coco(truth, detections), abs=EXACT)


# ---- answers by hand ---------------------------------------------------------------------------

UNDER_HALF = (0, 0, 10, 4.999)


# Ground truth, detections, Pascal VOC's AP at IoU 0.5, and COCO's AP: the mean over ten IoUs of the
# precision at 101 recalls.
AP_BY_HAND = [
    ([BOX], [(0.9,) + BOX], 1, 1),
    ([BOX], [(0.9,) + HALF], 1, Fraction(1, 10)),  # IoU 0.5 itself is enough, at 0.50 alone
    ([BOX], [(0.9, 0, 0, 10, 8.2)], 1, Fraction(7, 10)),  # at 0.50, 0.55 ... 0.80
    ([BOX], [(0.9,) + UNDER_HALF], 0, 0),
    ([BOX], [], 0, 0),
    # recalls 0.00, 0.01 ... 0.50 are reached; then 0.00 ... 0.33
    ([BOX, FAR], [(0.9,) + BOX], Fraction(1, 2), Fraction(51, 101)),
    ([BOX, FAR, EMPTY], [(0.9,) + BOX], Fraction(1, 3), Fraction(34, 101)),
    # a false positive first
    ([BOX], [(0.9,) + FAR, (0.8,) + BOX], Fraction(1, 2), Fraction(1, 2)),
    ([BOX, FAR], [(0.9,) + EMPTY, (0.8,) + BOX], Fraction(1, 4), Fraction(51, 202)),
    # a duplicate after all recall costs nothing, and one before the rest a third
    ([BOX], [(0.9,) + BOX, (0.8,) + BOX], 1, 1),
    (
        [BOX, FAR],
        [(0.9,) + BOX, (0.8,) + BOX, (0.7,) + FAR],
        Fraction(1, 2) + Fraction(1, 2) * Fraction(2, 3),
        (51 + 50 * Fraction(2, 3)) / 101,
    ),
]


@pytest.mark.parametrize("truth, detections, pascal, coco", AP_BY_HAND)
def test_ap_by_hand(truth, detections, pascal, coco):
    matches = matching.match([labelled("a.jpg", truth)], [found("a.jpg", detections)])
    assert pascal_ap(matches) == pytest.approx(float(pascal), abs=EXACT)
    assert np.mean(coco_aps(matches)) == pytest.approx(float(coco), abs=EXACT)


@pytest.mark.parametrize("true_positive_in, expected", [("a.jpg", 1.0), ("b.jpg", 0.5)])
def test_equal_scores_are_ordered_by_file_name(true_positive_in, expected):
    other = {"a.jpg": "b.jpg", "b.jpg": "a.jpg"}[true_positive_in]
    for order in (1, -1):  # however the images come
        matches = matching.match(
            [labelled(true_positive_in, [BOX]), labelled(other, [])][::order],
            [found(true_positive_in, [(0.5,) + BOX]), found(other, [(0.5,) + FAR])][::order],
        )
        assert pascal_ap(matches) == expected


def test_images_without_ground_truth_and_without_detections_count():
    matches = matching.match(
        [labelled("a.jpg", []), labelled("b.jpg", [BOX]), labelled("c.jpg", [BOX])],
        [found("a.jpg", [(0.9,) + BOX]), found("b.jpg", []), found("c.jpg", [(0.8,) + BOX])],
    )
    tallied = metrics.tally(matches, 0.5)
    assert [list(column) for column in tallied] == [[0, 0, 1], [1, 0, 1], [0, 1, 1]]
    assert metrics.figures(tallied) == pytest.approx(
        {
            "precision": 1 / 2,
            "recall": 1 / 2,
            "f1": 1 / 2,
            "mean_absolute_count_error": 2 / 3,
            "mean_count_error": 0,
        }
    )
    assert pascal_ap(matches) == pytest.approx(1 / 2 * 1 / 2)


def test_precision_without_detections_is_undefined():
    figures = metrics.figures(
        metrics.tally(matching.match([labelled("a.jpg", [BOX])], [found("a.jpg", [])]), 0.5)
    )
    assert np.isnan(figures["precision"]) and figures["recall"] == 0 and figures["f1"] == 0


def test_no_ground_truth_at_all():
    matches = matching.match([labelled("a.jpg", [])], [found("a.jpg", [(0.9,) + BOX])])
    assert np.isnan(metrics.average_precision(metrics.pool(matches)))
    assert np.isnan(metrics.coco_average_precisions(metrics.pool(matches))).all()
    assert metrics.best_threshold(matches) is None
    assert metrics.count_threshold(matches) is None


def test_threshold_is_the_highest_score_of_the_best_f1():
    # F1 after 0.9: 2/3, after 0.8: 1/2 (a false positive), after 0.7: 4/5, after 0.6 (false): 2/3.
    truth = [labelled("a.jpg", [BOX, FAR])]
    matches = matching.match(
        truth, [found("a.jpg", [(0.9,) + BOX, (0.8,) + EMPTY, (0.7,) + FAR, (0.6,) + EMPTY])]
    )
    assert metrics.best_threshold(matches) == 0.7
    # F1 is 2/3 at 0.9 (1 of 1 correct, 1 of 2 found) and at 0.6 (2 of 4 correct): the higher one.
    matches = matching.match(
        truth, [found("a.jpg", [(0.9,) + BOX, (0.8,) + EMPTY, (0.7,) + EMPTY, (0.6,) + FAR])]
    )
    assert metrics.best_threshold(matches) == 0.9


def test_threshold_keeps_equal_scores_together():
    matches = matching.match(
        [labelled("a.jpg", [BOX]), labelled("b.jpg", [])],
        [found("a.jpg", [(0.9,) + FAR, (0.5,) + BOX]), found("b.jpg", [(0.5,) + BOX])],
    )
    threshold = metrics.best_threshold(matches)
    assert threshold == 0.5
    assert metrics.figures(metrics.tally(matches, threshold))["f1"] == pytest.approx(2 / 4)


def test_count_threshold_is_in_the_middle_of_the_smallest_count_error():
    # Wrong counts at a threshold: 3 above 0.9, 2 above 0.8, 1 above 0.6, none above 0.5 (though one
    # box is on no product), 1 above 0.4, 2 from there on.
    truth = [labelled("a.jpg", [BOX, FAR]), labelled("b.jpg", [BOX])]
    detections = [
        found("a.jpg", [(0.9,) + BOX, (0.6,) + EMPTY, (0.4,) + FAR]),
        found("b.jpg", [(0.8,) + BOX, (0.5,) + FAR]),
    ]
    # Logits with no wrong count: 0.05 to 0.4; with 1: -0.4 to 0 and 0.45 to 1.35. The 21 thresholds
    # around logits 0.1 to 0.55 have the least, 13; of those with no wrong count, 0.1 to 0.4, the
    # middle one is 0.25.
    assert metrics.count_threshold(matching.match(truth, detections)) == 0.5622


def test_count_threshold_does_not_follow_a_single_product():
    # Three images of 2 products. Wrong counts at a threshold: 3 above 0.6, none above 0.55, 1 above
    # 0.3, 3 from there on.
    truth = [labelled(f"{name}.jpg", [BOX, FAR]) for name in "abc"]
    detections = [
        found(f"{name}.jpg", [(0.9,) + BOX, (0.6,) + FAR, (third,) + EMPTY])
        for name, third in zip("abc", (0.55, 0.3, 0.3))
    ]
    # Logits with no wrong count: 0.25 to 0.4; with 1: -0.8 to 0.2. The 21 thresholds around logit
    # -0.1 (-0.6 to 0.4) have 4 x 0 + 17 x 1, around -0.15 3 x 0 + 18 x 1, around -0.05 16 x 1 + 3.
    assert metrics.count_threshold(matching.match(truth, detections)) == 0.475  # logit -0.1


@settings(max_examples=100, deadline=None)
@given(st.one_of(scenes(tied=True), scenes(tied=False)))
def test_no_threshold_has_a_smaller_averaged_count_error(scene):
    matches = matching.match(*scene)
    chosen = metrics.count_threshold(matches)
    assume(chosen is not None)
    scores = np.concatenate([m.scores for m in matches])

    def error(place):  # of the threshold with the logit place / 20
        threshold = 1 / (1 + math.exp(-place / 20))
        return sum(abs((m.scores >= threshold).sum() - len(m.truth_xyxy)) for m in matches)

    # up to the highest score, from the last one that keeps all
    last = math.floor(20 * math.log(scores.max() / (1 - scores.max())) + 1e-9)
    first = math.floor(20 * math.log(scores.min() / (1 - scores.min())) + 1e-9)
    values = {
        place: (sum(error(place + step) for step in range(-10, 11)), error(place))
        for place in range(first, last + 1)
    }
    best = [place for place in values if values[place] == min(values.values())]
    assert chosen == pytest.approx(1 / (1 + math.exp(-best[len(best) // 2] / 20)), rel=1e-3)


def test_scores_below_all_thresholds_do_not_matter():
    matches = matching.match([labelled("a.jpg", [BOX])], [found("a.jpg", [(0.0,) + BOX])])
    assert metrics.count_threshold(matches) == pytest.approx(metrics.THRESHOLDS[0], rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(scenes(tied=False), st.integers(0, 2**16))
def test_weights_are_the_same_as_images_repeated(scene, seed):
    truth, detections = scene
    weights = np.random.RandomState(seed).randint(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), weights)
    assume(len(repeated))
    renamed = [
        [
            images[index]._replace(filename=f"{images[index].filename}-{copy}")
            for copy, index in enumerate(repeated)
        ]
        for images in (truth, detections)
    ]
    pooled = metrics.pool(matching.match(truth, detections))
    expected = metrics.pool(matching.match(*renamed))
    assert metrics.average_precision(pooled, weights.astype(float)) == pytest.approx(
        metrics.average_precision(expected), abs=EXACT, nan_ok=True
    )
    assert metrics.coco_average_precisions(pooled, weights.astype(float)) == pytest.approx(
        metrics.coco_average_precisions(expected), abs=EXACT, nan_ok=True
    )


def test_summary_names_figures_in_order():
    figures = metrics.summary(match(("a", [BOX], [(0.9, BOX)])), 0.5)
    assert list(figures.items()) == [
        ("mAP", 1),
        ("AP", 1),
        ("AP75", 1),
        ("precision", 1),
        ("recall", 1),
        ("f1", 1),
        ("mean_absolute_count_error", 0),
        ("mean_count_error", 0),
    ]


def test_without_a_threshold_only_the_aps_are_defined():
    matches = match(("a", [BOX], [(0.9, BOX)]))
    figures = metrics.summary(matches, None)
    assert figures["mAP"] == 1
    assert np.isnan(figures["precision"])
    assert np.isnan(figures["mean_count_error"])
    assert metrics.totals(matches, None) == {"TP": None, "FP": None, "FN": None}


def test_ap75_is_the_ap_at_075():
    assert matching.COCO_IOUS[metrics.AP75_INDEX] == pytest.approx(0.75)


def test_totals():
    matches = match(("a", [BOX, FAR], [(0.9, BOX), (0.8, EMPTY), (0.3, FAR)]))
    assert metrics.totals(matches, 0.5) == {"TP": 1, "FP": 1, "FN": 1}
