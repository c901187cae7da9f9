"""The tables of the evaluation report on classes: their figures, and which are taken for which."""

from typing import Any, Dict, List, Optional, Sequence

from shelfdet.evaluation import confusion
from shelfdet.evaluation.confusion import Confusion
from shelfdet.evaluation.report_table import Column, Table, number

COLUMNS = (
    Column("images", "images", 0),
    Column("boxes", "products", 0),
    Column("AP50", "AP50", 3),
    Column("AP75", "AP75", 3),
    Column("AP", "COCO AP", 3),
    Column("precision", "precision", 3),
    Column("recall", "recall", 3),
    Column("mean_absolute_count_error", "count MAE", 2),
)
# A matrix of more classes is wider than a page: a list of the pairs takes its place.
MOST_COLUMNS = 12
MOST_PAIRS = 40  # of that list
ZERO = "\u00b7"  # a dot, so that the other numbers stand out
MISSED = "missed"
BACKGROUND = "no product"
MATRIX_NOTE = (
    "Number of products at the chosen score threshold. A row is a class as labelled, a column the "
    "class of its detection; correct are those of the same name. Missed: no detection is left for "
    "the product. No product: detections that no product is left for, because none is labelled "
    "there, or the box is poorly localised, or another detection has the product."
)


def tables(scored: Dict[str, Any]) -> List[Table]:
    """The tables on classes of metrics.json; none of one class."""
    result = []
    if scored.get("by_class"):
        result.append(_figures_table(scored["by_class"]))
    if scored.get("confusion_matrix"):
        matrix = confusion.from_figures(scored["confusion_matrix"])
        if len(matrix.classes) <= MOST_COLUMNS:
            result.append(_matrix_table(matrix))
        else:
            result += [_outcome_table(matrix), _pairs_table(matrix)]
    return result


def _figures_table(by_class: Dict[str, Dict[str, Optional[float]]]) -> Table:
    """The figures of each class, the lowest AP50 first and those without ground truth last."""

    def order(name: str) -> Any:
        average = by_class[name]["AP50"]
        return average is None, average, name

    rows = [
        [name] + [number(by_class[name].get(column.key), column.digits) for column in COLUMNS]
        for name in sorted(by_class, key=order)
    ]
    return {
        "title": "By class",
        "columns": ["class"] + [column.name for column in COLUMNS],
        "rows": rows,
        "note": "The lowest AP50 first. AP50, AP75 and COCO AP of all are the means over classes.",
    }


def _matrix_table(matrix: Confusion) -> Table:
    rows = [
        [name] + _counts([*matrix.counts[place], matrix.missed[place]])
        for place, name in enumerate(matrix.classes)
    ]
    rows.append([BACKGROUND] + _counts(matrix.background) + [""])
    return {
        "title": "Confusion matrix",
        "columns": ["labelled \\ detected as"] + matrix.classes + [MISSED],
        "rows": rows,
        "note": MATRIX_NOTE,
    }


def _outcome_table(matrix: Confusion) -> Table:
    """What became of the products of each class: the matrix with other classes as one column."""
    rows = []
    for place, name in enumerate(matrix.classes):
        correct = matrix.counts[place, place]
        as_others = matrix.counts[place].sum() - correct
        others_as_it = matrix.counts[:, place].sum() - correct
        values = (
            correct,
            as_others,
            matrix.missed[place],
            others_as_it,
            matrix.background[place],
        )
        rows.append([name] + _counts(values))
    return {
        "title": "Confusion of classes",
        "columns": [
            "class",
            "correct",
            "as another class",
            MISSED,
            "others as this class",
            BACKGROUND,
        ],
        "rows": rows,
        "note": "Number of products at the chosen score threshold: the first three columns are of "
        "the products labelled so, the last two of detections of the class. No product: detections "
        "that no product is left for.",
    }


def _pairs_table(matrix: Confusion) -> Table:
    pairs = confusion.most_confused(matrix)
    labelled = dict(zip(matrix.classes, matrix.counts.sum(axis=1) + matrix.missed))
    rows = [
        [pair.truth, pair.detected, str(pair.number), f"{pair.number / labelled[pair.truth]:.1%}"]
        for pair in pairs[:MOST_PAIRS]
    ]
    hidden = sum(pair.number for pair in pairs[MOST_PAIRS:])
    more = f" {hidden} products of other pairs are in metrics.json." if hidden else ""
    return {
        "title": "Most confused classes",
        "columns": ["labelled", "detected as", "products", "share of the class"],
        "rows": rows,
        "note": f"Products detected as another class, at the chosen score threshold.{more}",
    }


def _counts(values: Sequence[int]) -> List[str]:
    return [f"{value:,}" if value else ZERO for value in values]
