"""The figure of `make compare`: accuracy against speed of networks, and what a recipe does for one of them."""

import collections

import matplotlib

matplotlib.use("Agg")  # no screen is needed, and none may be there
from matplotlib import figure, ticker, transforms
from matplotlib.backends import backend_agg

from experiments.ablation_choices import BASE, NETWORK, RECIPE, SIZE

# Okabe and Ito's colours, for colour-blind readers; each kind has a mark, too.
MARKS = {
    BASE: ("#000000", "*", 170, "the base, trained several times"),
    SIZE: ("#0072B2", "o", 60, "another input size"),
    NETWORK: ("#D55E00", "s", 55, "another depth, or one feature map"),
    RECIPE: ("#009E73", "^", 60, "another recipe"),
}
NOISE = "#dddddd"
NAME_PLACES = (
    ((0, 8), "center", "bottom"),
    ((0, -8), "center", "top"),
    ((9, 0), "left", "center"),
    ((-9, 0), "right", "center"),
    ((9, 8), "left", "bottom"),
    ((-9, 8), "right", "bottom"),
    ((9, -8), "left", "top"),
    ((-9, -8), "right", "top"),
    ((0, -20), "center", "top"),
    ((0, 20), "center", "bottom"),
)  # offset in points, and which side of the text is there
FAR = 0.05  # so far below the base a recipe is written at the panel's edge: on its scale the others would lie on one spot

Point = collections.namedtuple("Point", "name kind speed AP F1")
Point.__doc__ = """One choice: its name, its kind as in choices, images/s (None if not timed), COCO AP and F1 on validation."""


def draw(points, path, title, note):
    """Draws the figure as a PNG.

    Args:
      points: list of Point.
      path: the file to write.
      title, note: its first line, and the one under it.
    """
    sheet = figure.Figure(figsize=(13, 6.6), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    sheet.suptitle(title, x=0.05, y=0.975, ha="left", fontsize=15, weight="bold")
    sheet.text(0.05, 0.905, note, fontsize=10.5)
    _speed(
        sheet.add_axes([0.07, 0.09, 0.39, 0.74]),
        [point for point in points if point.kind != RECIPE and point.speed],
    )
    rows = sorted(
        (point for point in points if point.kind in (BASE, RECIPE)), key=lambda point: point.AP
    )
    for column, left in (("AP", 0.7), ("F1", 0.86)):
        _recipes(sheet.add_axes([left, 0.09, 0.13, 0.74]), rows, column, names=column == "AP")
    sheet.text(
        0.5,
        0.855,
        "The same network, other recipes (grey: what the base's own runs span)",
        fontsize=11,
    )
    sheet.savefig(str(path), format="png")


def _speed(axes, points):
    axes.set_title("Other networks: accuracy against speed", loc="left", fontsize=11)
    if not points:
        axes.text(
            0.5, 0.5, "not timed yet (compare.py --speed)", ha="center", transform=axes.transAxes
        )
        axes.set_axis_off()
        return
    for kind, (colour, mark, size, label) in MARKS.items():
        chosen = [point for point in points if point.kind == kind]
        if chosen:
            axes.scatter(
                [point.speed for point in chosen],
                [point.AP for point in chosen],
                c=colour,
                marker=mark,
                s=size,
                label=label,
                zorder=3,
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("images/s through the frozen graph (logarithmic)")
    axes.set_ylabel("COCO AP (IoU 0.50 to 0.95)")
    axes.margins(0.2, 0.12)
    axes.grid(color="#eeeeee", zorder=0)
    _name(axes, points, axes.legend(loc="lower left", fontsize=9, frameon=False))


def _name(axes, points, legend):
    """Writes each network's name beside its mark, at the first of NAME_PLACES where it covers nothing else."""
    axes.figure.canvas.draw()  # until then nothing has its place
    marks = [axes.transData.transform((point.speed, point.AP)) for point in points]
    taken = [transforms.Bbox.from_extents(*(mark - 6), *(mark + 6)) for mark in marks] + [
        legend.get_window_extent()
    ]
    for point in points:
        if point.kind == BASE:
            continue
        tried = []
        for offset, horizontal, vertical in NAME_PLACES:
            text = axes.annotate(
                point.name,
                (point.speed, point.AP),
                offset,
                textcoords="offset points",
                fontsize=9,
                ha=horizontal,
                va=vertical,
            )
            box = text.get_window_extent()
            text.set_visible(False)
            outside = box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1
            tried.append(
                (outside + sum(box.overlaps(other) for other in taken), len(tried), text, box)
            )
        _, _, text, box = min(tried)
        text.set_visible(True)
        taken.append(box)


def _recipes(axes, rows, column, names):
    base = [getattr(row, column) for row in rows if row.kind == BASE]
    if base:
        axes.axvspan(min(base), max(base), color=NOISE, zorder=0)
    for place, row in enumerate(rows):
        colour, mark, size, _ = MARKS[row.kind]
        value = getattr(row, column)
        if base and value < min(base) - FAR:
            axes.text(
                0.02,
                place,
                f"\u25c4 {value:.2f}",
                color=colour,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        else:
            axes.scatter([value], [place], c=colour, marker=mark, s=size, zorder=3)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row.name for row in rows] if names else [], fontsize=9)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("COCO AP" if column == "AP" else "F1")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(3))
    axes.margins(0.15, 0)
    axes.grid(axis="y", color="#eeeeee", zorder=0)
