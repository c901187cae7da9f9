"""The figure of `make ablations`: accuracy against speed of networks, and accuracy of recipes."""

import pathlib
from typing import List, NamedTuple, Optional, Union

import matplotlib

matplotlib.use("Agg")  # draws without a screen
from matplotlib import axes, figure, legend, ticker, transforms
from matplotlib.backends import backend_agg

from experiments.ablation_choices import BASE, INPUT_SIZE, NETWORK, RECIPE

PathLike = Union[str, pathlib.Path]


class Mark(NamedTuple):
    """How a kind of choice is drawn; the size is in square points."""

    colour: str
    shape: str
    size: int
    label: str


# Okabe and Ito's colours, which colour-blind readers can distinguish; every kind has a shape, too.
MARKS = {
    BASE: Mark("#000000", "*", 170, "base (two seeds)"),
    INPUT_SIZE: Mark("#0072B2", "o", 60, "input size"),
    NETWORK: Mark("#D55E00", "s", 55, "depth or number of feature maps"),
    RECIPE: Mark("#009E73", "^", 60, "recipe"),
}
SPREAD_COLOUR = "#dddddd"
GRID_COLOUR = "#eeeeee"

# Places to try for a name beside its mark: offset in points, and the alignment of the text.
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
)
MARK_RADIUS = 6  # pixels around a mark that a name must leave free

# A recipe this far below the base is written at the panel's edge: on its scale all others would
# coincide.
OFF_SCALE = 0.05


class Point(NamedTuple):
    """One choice: description, kind, images/s (None if not timed), COCO AP and F1."""

    description: str
    kind: str
    speed: Optional[float]
    AP: float
    F1: float


def draw(points: List[Point], path: PathLike, title: str, subtitle: str) -> None:
    """Draws the figure as a PNG.

    Args:
      points: the choices.
      path: the file to write.
      title: its first line.
      subtitle: its second line, smaller.
    """
    sheet = figure.Figure(figsize=(13, 6.6), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    sheet.suptitle(title, x=0.05, y=0.975, ha="left", fontsize=15, weight="bold")
    sheet.text(0.05, 0.905, subtitle, fontsize=10.5)
    timed = [point for point in points if point.kind != RECIPE and point.speed]
    _draw_speeds(sheet.add_axes([0.07, 0.09, 0.39, 0.74]), timed)

    recipes = [point for point in points if point.kind in (BASE, RECIPE)]
    recipes.sort(key=lambda point: point.AP)
    ap_axes = sheet.add_axes([0.7, 0.09, 0.13, 0.74])
    f1_axes = sheet.add_axes([0.86, 0.09, 0.13, 0.74])
    _draw_recipes(ap_axes, recipes, "AP", "COCO AP")
    _draw_recipes(f1_axes, recipes, "F1", "F1")
    ap_axes.set_yticklabels([point.description for point in recipes], fontsize=9)
    f1_axes.set_yticklabels([])
    heading = "Recipes: accuracy of the base network (grey: span of the base's two seeds)"
    sheet.text(0.5, 0.845, heading, fontsize=11)
    sheet.savefig(str(path), format="png")


def _draw_speeds(panel: axes.Axes, points: List[Point]) -> None:
    panel.set_title("Networks: accuracy against speed", loc="left", fontsize=11)
    if not points:
        message = "not timed yet (ablations.py --speed)"
        panel.text(0.5, 0.5, message, ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    for kind, mark in MARKS.items():
        chosen = [point for point in points if point.kind == kind]
        if chosen:
            panel.scatter(
                [point.speed for point in chosen],
                [point.AP for point in chosen],
                c=mark.colour,
                marker=mark.shape,
                s=mark.size,
                label=mark.label,
                zorder=3,
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    panel.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    panel.set_xlabel("images/s through the frozen graph (logarithmic)")
    panel.set_ylabel("COCO AP (IoU 0.50 to 0.95)")
    panel.margins(0.2, 0.12)
    panel.grid(color=GRID_COLOUR, zorder=0)
    _write_names(panel, points, panel.legend(loc="lower left", fontsize=9, frameon=False))


def _write_names(panel: axes.Axes, points: List[Point], key: legend.Legend) -> None:
    """Writes each network's name at the first of NAME_PLACES where it covers nothing else."""
    panel.figure.canvas.draw()  # positions in pixels are known only after drawing
    taken = [key.get_window_extent()]
    for point in points:
        x, y = panel.transData.transform((point.speed, point.AP))
        taken.append(
            transforms.Bbox.from_extents(
                x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS
            )
        )
    for point in points:
        if point.kind != BASE:
            taken.append(_write_name(panel, point, taken))


def _write_name(
    panel: axes.Axes, point: Point, taken: List[transforms.BboxBase]
) -> transforms.BboxBase:
    """Writes one name where it covers fewest of the ``taken`` boxes; returns its own box."""
    candidates = []  # (conflicts, index of the place, text, its box)
    for index, (offset, horizontal, vertical) in enumerate(NAME_PLACES):
        text = panel.annotate(
            point.description,
            (point.speed, point.AP),
            offset,
            textcoords="offset points",
            fontsize=9,
            ha=horizontal,
            va=vertical,
        )
        box = text.get_window_extent()  # before it is hidden: a hidden text has no extent
        text.set_visible(False)
        outside = box.x0 < panel.bbox.x0 or box.x1 > panel.bbox.x1
        conflicts = int(outside) + sum(bool(box.overlaps(other)) for other in taken)
        candidates.append((conflicts, index, text, box))
    _, _, text, box = min(candidates, key=lambda candidate: candidate[:2])
    text.set_visible(True)
    return box


def _draw_recipes(panel: axes.Axes, recipes: List[Point], field: str, label: str) -> None:
    base = [getattr(point, field) for point in recipes if point.kind == BASE]
    if base:
        panel.axvspan(min(base), max(base), color=SPREAD_COLOUR, zorder=0)
    for row, point in enumerate(recipes):
        mark = MARKS[point.kind]
        value = getattr(point, field)
        if base and value < min(base) - OFF_SCALE:
            panel.text(
                0.02,
                row,
                f"\u25c4 {value:.2f}",
                color=mark.colour,
                va="center",
                transform=panel.get_yaxis_transform(),
            )
        else:
            panel.scatter([value], [row], c=mark.colour, marker=mark.shape, s=mark.size, zorder=3)
    panel.set_yticks(range(len(recipes)))
    panel.set_ylim(-0.7, len(recipes) - 0.3)
    panel.set_xlabel(label)
    panel.xaxis.set_major_locator(ticker.MaxNLocator(3))
    panel.margins(0.15, 0)
    panel.grid(axis="y", color=GRID_COLOUR, zorder=0)
