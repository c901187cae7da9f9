"""The plot of accuracy against speed: a dot for each choice of the recipe."""

import math

import matplotlib
matplotlib.use("Agg")            # no screen is needed, and none may be there
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg

# Okabe and Ito's colours, for colour-blind readers; each kind of choice has a mark, too.
KINDS = {"base": ("#000000", "*"), "size": ("#0072B2", "o"), "network": ("#D55E00", "s"), "recipe": ("#009E73", "^")}
KIND_NAMES = {"base": "the base, twice", "size": "another input size", "network": "another depth, or one feature map",
              "recipe": "another recipe for the same network"}


def draw(points, path, title, note):
    """Draws the plot as a PNG.

    Args:
      points: list of (name, kind, pictures a second, AP, AP75); kind is a key of KINDS.
      path: the file to write.
      title, note: its first line, and the one under it.
    """
    sheet = figure.Figure(figsize=(12, 6.4), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    sheet.suptitle(title, x=0.06, y=0.975, ha="left", fontsize=15, weight="bold")
    sheet.text(0.06, 0.9, note, fontsize=10.5)
    for place, (column, what) in enumerate(((3, "COCO AP (IoU 0.50 to 0.95)"), (4, "AP at IoU 0.75"))):
        axes = sheet.add_axes([0.06 + 0.49 * place, 0.1, 0.43, 0.76])
        _scatter(axes, points, column)
        axes.set_ylabel(what)
        axes.set_xlabel("pictures a second through the frozen graph")
    axes.legend(loc="lower left", fontsize=9.5, frameon=False)
    sheet.savefig(str(path), format="png")


def _scatter(axes, points, column):
    for kind, (colour, mark) in KINDS.items():
        chosen = [point for point in points if point[1] == kind]
        axes.scatter([point[2] for point in chosen], [point[column] for point in chosen], c=colour, marker=mark,
                     s=150 if kind == "base" else 55, label=KIND_NAMES[kind], zorder=3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.grid(color="#dddddd", zorder=0)
    axes.margins(0.16, 0.1)
    axes.figure.canvas.draw()
    _name(axes, [(point[0], point[2], point[column]) for point in points])


def _name(axes, named):
    """Writes each point's name beside it, moved up or down until no two lie on each other."""
    taken = [axes.transData.transform((x, y)) for _, x, y in named]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in taken]
    renderer = axes.figure.canvas.get_renderer()
    for name, x, y in sorted(named, key=lambda one: -one[2]):
        best = None
        for right, step in ((right, step) for step in range(0, 14) for right in (True, False)):
            shift = (8 if right else -8, (step + 1) // 2 * (9 if step % 2 else -9))
            text = axes.annotate(name, (x, y), shift, textcoords="offset points", fontsize=8.5, va="center",
                                 ha="left" if right else "right",
                                 arrowprops=dict(arrowstyle="-", color="#aaaaaa", lw=0.6) if step > 1 else None)
            box = text.get_window_extent(renderer)
            edges = axes.get_window_extent(renderer)
            overlap = sum(max(0, min(box.x1, x1) - max(box.x0, x0)) * max(0, min(box.y1, y1) - max(box.y0, y0))
                          for x0, y0, x1, y1 in taken)
            outside = max(0, edges.x0 - box.x0) + max(0, box.x1 - edges.x1) + max(0, edges.y0 - box.y0) + max(0, box.y1 - edges.y1)
            cost = overlap + 50 * outside + math.hypot(*shift) * 0.1
            if best is None or cost < best[0]:
                if best:
                    best[1].remove()
                best = (cost, text, (box.x0, box.y0, box.x1, box.y1))
            else:
                text.remove()
        taken.append(best[2])
