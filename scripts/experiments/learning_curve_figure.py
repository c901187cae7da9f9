"""The figure of a learning curve: accuracy and count error against the number of images."""

import pathlib
from typing import Any, Dict, List

import matplotlib

matplotlib.use("Agg")  # draws without a screen
from matplotlib import axes, figure, ticker
from matplotlib.backends import backend_agg

from experiments.learning_curve_runs import WITHOUT_START
from shelfdet.core import files

Rows = List[Dict[str, Any]]

# Of Okabe and Ito's colours, which colour-blind readers can distinguish; the marks differ, too.
WITH, WITHOUT = ("#0072B2", "o"), ("#D55E00", "s")
GRID_COLOUR = "#e5e5e5"


def draw(rows: Rows, path: pathlib.Path) -> None:
    """Draws AP50 (left) and the relative count error (right) as a PNG."""
    sheet = figure.Figure(figsize=(11, 4.4), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    left, right = sheet.subplots(1, 2)
    _draw(left, rows, "AP50", "AP50 on test images")
    _draw(right, rows, "relative_count_error", "count MAE, share of the products of an image")
    right.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
    left.legend(frameon=False, loc="lower right")
    sheet.tight_layout()
    with files.replacing(path) as partial:
        sheet.savefig(str(partial), format="png")


def _draw(panel: axes.Axes, rows: Rows, key: str, title: str) -> None:
    for label, style, chosen in (
        ("with START", WITH, [row for row in rows if row["start"] != WITHOUT_START]),
        ("without", WITHOUT, [row for row in rows if row["start"] == WITHOUT_START]),
    ):
        colour, mark = style
        numbers = [row["images"] for row in chosen]
        panel.plot(numbers, [row[key] for row in chosen], mark + "-", color=colour, label=label)
    numbers = sorted({row["images"] for row in rows})
    panel.set_xscale("log")
    panel.set_xticks(numbers)
    panel.set_xticklabels([str(number) for number in numbers])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    panel.set_xlabel("labelled training images")
    panel.set_ylim(0, 1)
    panel.set_title(title, loc="left", fontsize=11)
    panel.grid(color=GRID_COLOUR)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
