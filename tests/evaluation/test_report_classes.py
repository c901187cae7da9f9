"""The report's tables on classes, of few and of many."""

import numpy as np

from shelfdet.evaluation import confusion, report_classes
from shelfdet.evaluation.confusion import Confusion


def figures(boxes, average):
    row = dict.fromkeys(("AP75", "AP", "precision", "recall", "mean_absolute_count_error"))
    return dict(row, images=1, boxes=boxes, AP50=average)


def test_one_class_has_no_tables():
    assert report_classes.tables({"mAP": 0.5}) == []


def test_few_classes_have_a_matrix():
    matrix = Confusion(
        ["milk", "tea"], np.array([[1200, 3], [0, 4]]), np.array([5, 0]), np.array([0, 6])
    )
    scored = {
        "by_class": {
            "cola": figures(0, None),
            "milk": figures(1208, 0.75),
            "tea": figures(4, 0.5),
        },
        "confusion_matrix": confusion.as_figures(matrix),
    }
    by_class, table = report_classes.tables(scored)
    assert [row[:4] for row in by_class["rows"]] == [
        ["tea", "1", "4", "0.500"],
        ["milk", "1", "1,208", "0.750"],
        ["cola", "1", "0", "–"],
    ]
    assert table["columns"] == ["labelled \\ detected as", "milk", "tea", "missed"]
    assert table["rows"] == [
        ["milk", "1,200", "3", "5"],
        ["tea", "·", "4", "·"],
        ["no product", "·", "6", ""],
    ]


def test_many_classes_have_their_outcomes_and_the_most_confused_pairs():
    names = [f"brand {number:02}" for number in range(60)]
    counts = np.diag([10] * 60)
    counts[3, 4] = 30
    counts[5, :50] += 1
    matrix = Confusion(names, counts, np.full(60, 2), np.full(60, 1))
    outcomes, pairs = report_classes.tables({"confusion_matrix": confusion.as_figures(matrix)})
    assert {len(table["columns"]) for table in (outcomes, pairs)} == {6, 4}
    assert outcomes["rows"][3] == ["brand 03", "10", "30", "2", "1", "1"]
    assert outcomes["rows"][4] == ["brand 04", "10", "·", "2", "31", "1"]
    assert pairs["rows"][0] == ["brand 03", "brand 04", "30", "71.4%"]
    assert len(pairs["rows"]) == 40
    assert "10 products of other pairs are in metrics.json" in pairs["note"]
