"""One page of plots about anchors: how large products are, what the anchors meet, and where they fail."""

import collections

import matplotlib
matplotlib.use("Agg")            # no screen is needed, and none may be there
import numpy as np
from matplotlib import figure, lines, ticker
from matplotlib.backends import backend_agg

from shelfdet import anchors, boxes, drawing

SHOWN_BOXES = 4000               # more dots only make a darker cloud
GRID = np.geomspace(1.0 / 200, 1.5, 240)
PICTURE_SIDE = 900
PAPER = 245                      # grey of a picture that is drawn without its photograph
LAYER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")      # Okabe and Ito, for colour-blind readers
LAYER_MARKS = ("s", "D", "^", "v", "o", "P")
CURVES = (("#000000", "-"), ("#0072B2", "--"), ("#D55E00", "-."), ("#009E73", ":"), ("#CC79A7", (0, (5, 1, 1, 1, 1, 1))))

Page = collections.namedtuple("Page", "title image_wh images layers coverage by_picture curves")
Page.__doc__ = """What the page shows.

title: its first line. image_wh: the network's input. images: LabelledImages. layers: the config's anchors, list of anchors.Layer.
coverage: anchors.Coverage of them. by_picture: their resized boxes, list of (N, 4). curves: list of (name, best IoU of each box)."""


def draw(page, path, pictures):
    """Draws the page as a PNG.

    Args:
      page: Page.
      path: the file to write.
      pictures: list of (title, PIL.Image) for the last row, as ``worst_pictures`` gives it.
    """
    sheet = figure.Figure(figsize=(16, 15.5 if pictures else 10.5), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    heights = [1.15, 1, 1.05] if pictures else [1.15, 1]
    grid = sheet.add_gridspec(len(heights), 12, height_ratios=heights, left=0.05, right=0.985, top=0.915, bottom=0.03 if pictures else 0.07,
                              hspace=0.33, wspace=1.6)
    sheet.suptitle(page.title, x=0.05, y=0.985, ha="left", fontsize=17, weight="bold")
    sheet.text(0.05, 0.955, "A product is learned well where an anchor box overlaps it by at least half (IoU 0.5: shared area over joint "
               "area). All sizes are after the picture was squashed to {} x {} pixels.".format(*page.image_wh), fontsize=11.5)
    _sizes(sheet.add_subplot(grid[0, :7]), page)
    _curves(sheet.add_subplot(grid[0, 7:]), page)
    raw, raw_wh = _raw(page.images)
    squashed = np.concatenate(page.by_picture)
    _histogram(sheet.add_subplot(grid[1, :4]), "How large: box size over the picture's shorter side", "square root of the area, in shares of the "
               "shorter side", [_size(raw) / raw_wh.min(axis=1), _size(squashed) / min(page.image_wh)],
               [_size(_box(layer)) / min(page.image_wh) for layer in page.layers])
    _histogram(sheet.add_subplot(grid[1, 4:8]), "What shape: width over height", "width / height (1 is a square, under 1 is upright)",
               [_ratio(raw), _ratio(squashed)], [_ratio(_box(layer)) for layer in page.layers])
    _layers(sheet.add_subplot(grid[1, 8:]), page)
    for number, (title, picture) in enumerate(pictures[:3]):
        axes = sheet.add_subplot(grid[2, number * 4:number * 4 + 4])
        axes.imshow(np.asarray(picture))
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_axis_off()
    sheet.savefig(str(path), format="png")


def worst_pictures(page, load, threshold=0.5, count=3):
    """The pictures of which the anchors meet the smallest share, worst first, with their boxes drawn.

    Args:
      page: Page.
      load: function of a file name that gives the picture's pixels (uint8 RGB), or None for a blank sheet.
      threshold: IoU from which a box is covered.
      count: how many.

    Returns:
      list of (title, PIL.Image).
    """
    covered = page.coverage.best_iou >= threshold
    by_picture = [(np.mean(covered[page.coverage.pictures == number]), number)
                  for number in np.unique(page.coverage.pictures)]
    drawn = []
    for share, number in sorted(by_picture)[:count]:
        image, met = page.images[number], covered[page.coverage.pictures == number]
        pixels = load(image.filename) if load else None
        if pixels is None:
            scale = PICTURE_SIDE / max(image.size_wh)
            pixels = np.full((int(image.size_wh[1] * scale), int(image.size_wh[0] * scale), 3), PAPER, dtype=np.uint8)
        picture = drawing.draw_coverage(pixels, image.boxes_xyxy[met], image.boxes_xyxy[~met], image.size_wh)
        drawn.append(("{}: {:.0%} of its boxes met".format(image.filename, share), picture))
    return drawn


def _sizes(axes, page):
    """Width against height of all boxes, each layer's anchor and the region that it meets."""
    squashed = np.concatenate(page.by_picture)
    chosen = np.random.RandomState(0).permutation(len(squashed))[:SHOWN_BOXES]
    width, height = (squashed[:, 2:] - squashed[:, :2]).T
    met = page.coverage.best_iou >= 0.5
    for mask, colour, mark in ((met, "#9a9a9a", "o"), (~met, "#E69F00", "x")):
        shown = chosen[mask[chosen]]
        axes.scatter(width[shown], height[shown], s=9 if mark == "o" else 16, c=colour, marker=mark, alpha=0.45, linewidths=0.8)
    across, down = np.meshgrid(GRID * page.image_wh[0], GRID * page.image_wh[1])
    for number, layer in enumerate(page.layers):
        colour = LAYER_COLOURS[number % len(LAYER_COLOURS)]
        for shift, style in ((0.0, "-"), (0.5, "--")):
            offset = np.stack([across, down, np.full_like(across, shift * layer.stride_wh[0]), np.full_like(across, shift * layer.stride_wh[1])])
            axes.contour(across, down, anchors.iou_at(offset, layer.anchor_wh), levels=[0.5], colors=[colour], linestyles=[style],
                         linewidths=2.0)
        axes.plot(*layer.anchor_wh, marker=LAYER_MARKS[number % len(LAYER_MARKS)], color=colour, markersize=11, markeredgecolor="white",
                  linestyle="none", zorder=5)
    sides = np.concatenate([np.stack([width, height]), np.array([layer.anchor_wh for layer in page.layers]).T], axis=1)
    for set_scale, set_limit, values, axis in ((axes.set_xscale, axes.set_xlim, sides[0], axes.xaxis),
                                               (axes.set_yscale, axes.set_ylim, sides[1], axes.yaxis)):
        set_scale("log")
        set_limit(max(values.min(), 1) * 0.8, values.max() * 1.4)
        axis.set_major_locator(ticker.LogLocator(10, subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("box width, pixels of the network's input")
    axes.set_ylabel("box height, pixels of the network's input")
    _title(axes, "Every product's size, and the sizes that each anchor meets")
    axes.legend(handles=_size_legend(page, met), fontsize=9.5, loc="lower right", framealpha=0.95)
    axes.grid(alpha=0.25)


def _size_legend(page, met):
    handles = [lines.Line2D([], [], marker="o", color="#9a9a9a", linestyle="none", label="product that an anchor meets: {:.0%}".format(met.mean())),
               lines.Line2D([], [], marker="x", color="#E69F00", linestyle="none", label="product that none meets: {:.0%}".format((~met).mean()))]
    for number, layer in enumerate(page.layers):
        handles.append(lines.Line2D([], [], marker=LAYER_MARKS[number % len(LAYER_MARKS)], linestyle="none",
                                    color=LAYER_COLOURS[number % len(LAYER_COLOURS)],
                                    label="anchor {:.0f} x {:.0f} px in each of {} x {} cells".format(*layer.anchor_wh + layer.grid_wh)))
    return handles + [lines.Line2D([], [], color="#444444", linestyle="-", label="IoU 0.5, product in the middle of a cell"),
                      lines.Line2D([], [], color="#444444", linestyle="--", label="IoU 0.5, product on a corner between cells")]


def _curves(axes, page):
    thresholds = np.linspace(0.2, 0.95, 76)
    for (name, best_iou), (colour, style) in zip(page.curves, CURVES):
        axes.plot(thresholds, [np.mean(best_iou >= threshold) for threshold in thresholds], color=colour, linestyle=style, linewidth=2.4,
                  label="{} ({:.3g})".format(name, np.mean(best_iou >= 0.5)))
    axes.axvline(0.5, color="#777777", linewidth=1)
    axes.text(0.505, 0.02, "the matcher's threshold", fontsize=9, color="#555555")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlabel("overlap asked for (IoU)")
    axes.set_ylabel("share of the products that some anchor meets")
    axes.legend(fontsize=9.5, loc="upper right", title="in brackets: share at IoU 0.5", title_fontsize=9)
    axes.grid(alpha=0.25)
    _title(axes, "Which anchors meet how many products")


def _histogram(axes, title, label, values, marks):
    """Raw and squashed values over one logarithmic axis, the anchors' as vertical lines."""
    everything = np.concatenate(list(values) + [np.array(marks).ravel()])
    everything = everything[everything > 0]
    edges = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 45)
    axes.hist(values[0], edges, histtype="step", color="#555555", linestyle="--", linewidth=1.8, label="in the photograph")
    axes.hist(values[1], edges, color="#b9d6ea", edgecolor="#0072B2", linewidth=0.6, label="as the network sees it")
    for number, mark in enumerate(np.array(marks).ravel()):
        axes.axvline(mark, color=LAYER_COLOURS[number % len(LAYER_COLOURS)], linewidth=2.2, label="anchor {}: {:.3g}".format(number + 1, mark))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(10, subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel(label)
    axes.set_ylabel("products")
    axes.legend(fontsize=9)
    _title(axes, title)


def _layers(axes, page):
    """How many products each feature map serves, and how well."""
    covered = page.coverage
    met = covered.best_iou >= 0.5
    groups = (("met at IoU 0.5", met, None), ("forced match only", ~met & ~covered.lost, "//"),
              ("best anchor lost to another box", covered.lost, "xx"))
    names = ["{} x {} cells\n{:.0f} x {:.0f} px".format(*layer.grid_wh + layer.anchor_wh) for layer in page.layers]
    left = np.zeros(len(names))
    for (name, mask, hatch), colour in zip(groups, ("#56B4E9", "#E69F00", "#D55E00")):
        mask = mask if name.startswith("best") else mask & ~covered.lost
        count = np.bincount(covered.layer[mask], minlength=len(names))[:len(names)]
        axes.barh(names, count, left=left, color=colour, edgecolor="#333333", hatch=hatch, linewidth=0.6,
                  label="{}: {:,}".format(name, int(count.sum())))
        left += count
    axes.invert_yaxis()
    axes.set_xlabel("products whose best anchor is on this feature map")
    axes.set_ylim(len(names) - 0.4, -1.3)
    axes.legend(fontsize=9, loc="upper right")
    _title(axes, "Which feature map serves them")


def _title(axes, text):
    axes.set_title(text, fontsize=12.5, loc="left", weight="bold")


def _raw(images):
    """All boxes as labelled, (N, 4), and each one's picture size, (N, 2)."""
    return (np.concatenate([image.boxes_xyxy for image in images]),
            np.concatenate([np.tile(np.array(image.size_wh, dtype=float), (len(image.boxes_xyxy), 1)) for image in images]))


def _box(layer):
    return np.array([[0, 0, *layer.anchor_wh]])


def _size(boxes_xyxy):
    return np.sqrt(boxes.areas(boxes_xyxy))


def _ratio(boxes_xyxy):
    width, height = (np.asarray(boxes_xyxy)[:, 2:] - np.asarray(boxes_xyxy)[:, :2]).T
    return width / height
