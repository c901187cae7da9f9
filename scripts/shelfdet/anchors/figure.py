"""One page of plots about anchors: how large products are, what the anchors meet, and where they fail."""

import collections

import matplotlib

matplotlib.use("Agg")  # no screen is needed, and none may be there
import numpy as np
from matplotlib import figure, lines, ticker
from matplotlib.backends import backend_agg

from shelfdet.anchors import anchors
from shelfdet.core import boxes, drawing

MET = 0.5  # IoU from which a product counts as met
SHOWN_BOXES = 4000  # more dots only make a darker cloud
GRID = np.geomspace(
    1.0 / 200, 1.5, 240
)  # box sides at which contours are worked out, in shares of the input
IMAGE_SIDE = 900
PAPER = 245  # grey of an image that is drawn without its photograph

# Okabe and Ito's colours, for colour-blind readers; and each layer has a mark, each curve a dash of its own.
LAYER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LAYER_MARKS = ("s", "D", "^", "v", "o", "P")
CURVES = (
    ("#000000", "-"),
    ("#0072B2", "--"),
    ("#D55E00", "-."),
    ("#009E73", ":"),
    ("#CC79A7", (0, (5, 1, 1, 1, 1, 1))),
)
FITTING, MISSING = "#9a9a9a", "#E69F00"

Page = collections.namedtuple("Page", "title image_wh images layers coverage by_image curves")
Page.__doc__ = """What the page shows.

title: its first line. image_wh: the network's input. images: LabelledImages. layers: the config's anchors, list of
anchors.Layer. coverage: anchors.Coverage of them. by_image: their resized boxes, list of (N, 4). curves: list of
(name, best IoU of each box)."""


def draw(page, path, pictures):
    """Draws the page as a PNG.

    Args:
      page: Page.
      path: the file to write.
      images: list of (title, PIL.Image) for the last row, as ``worst_images`` gives it.
    """
    sheet = figure.Figure(figsize=(16, 16), dpi=100)
    backend_agg.FigureCanvasAgg(sheet)
    grid = sheet.add_gridspec(
        3,
        12,
        height_ratios=(1.25, 1, 1.05),
        left=0.05,
        right=0.985,
        top=0.915,
        bottom=0.02,
        hspace=0.3,
        wspace=1.6,
    )
    sheet.suptitle(page.title, x=0.05, y=0.985, ha="left", fontsize=17, weight="bold")
    sheet.text(
        0.05,
        0.955,
        fontsize=11.5,
        s=(
            "A product is learned well where an anchor box overlaps it by at least half (IoU 0.5: shared area over joint "
            f"area). All sizes are after the image was squashed to {page.image_wh[0]} x {page.image_wh[1]} pixels."
        ),
    )
    _sizes(sheet.add_subplot(grid[0, :7]), page)
    _curves(sheet.add_subplot(grid[0, 7:]), page)
    raw, raw_wh = _raw(page.images)
    squashed = np.concatenate(page.by_image)
    marks = np.array([[0, 0, *layer.anchor_wh] for layer in page.layers])
    shorter = min(page.image_wh)
    _histogram(
        sheet.add_subplot(grid[1, :4]),
        "How large: size over shorter side",
        "square root of the area, in shares of the image's shorter side",
        _size(raw) / raw_wh.min(axis=1),
        _size(squashed) / shorter,
        _size(marks) / shorter,
    )
    _histogram(
        sheet.add_subplot(grid[1, 4:8]),
        "What shape: width over height",
        "width / height (1 is a square, under 1 is upright)",
        _ratio(raw),
        _ratio(squashed),
        _ratio(marks),
    )
    _layers(sheet.add_subplot(grid[1, 8:]), page)
    for number, (title, picture) in enumerate(pictures[:3]):
        axes = sheet.add_subplot(grid[2, number * 4 : number * 4 + 4])
        axes.imshow(np.asarray(picture))
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_axis_off()
    sheet.savefig(str(path), format="png")


def worst_images(page, load, count=3):
    """The images of which the anchors meet the smallest share, worst first, with their boxes drawn.

    Args:
      page: Page.
      load: function of a file name that gives the image's pixels (uint8 RGB), or None for a blank sheet.
      count: how many.

    Returns:
      list of (title, PIL.Image).
    """
    covered = page.coverage.best_iou >= MET
    shares = [
        (np.mean(covered[page.coverage.images == number]), number)
        for number in np.unique(page.coverage.images)
    ]
    drawn = []
    for share, number in sorted(shares)[:count]:
        image, met = page.images[number], covered[page.coverage.images == number]
        pixels = load(image.filename) if load else None
        if pixels is None:
            scale = IMAGE_SIDE / max(image.size_wh)
            pixels = np.full(
                (int(image.size_wh[1] * scale), int(image.size_wh[0] * scale), 3),
                PAPER,
                dtype=np.uint8,
            )
        picture = drawing.draw_coverage(
            pixels, image.boxes_xyxy[met], image.boxes_xyxy[~met], image.size_wh
        )
        drawn.append((f"{image.filename}: {share:.0%} of its boxes met", picture))
    return drawn


def _sizes(axes, page):
    """Width against height of all boxes, each layer's anchor and the region that it meets."""
    squashed = np.concatenate(page.by_image)
    chosen = np.random.RandomState(0).permutation(len(squashed))[:SHOWN_BOXES]
    width, height = (squashed[:, 2:] - squashed[:, :2]).T
    met = page.coverage.best_iou >= MET
    for mask, colour, mark, size in ((met, FITTING, "o", 9), (~met, MISSING, "x", 16)):
        shown = chosen[mask[chosen]]
        axes.scatter(
            width[shown], height[shown], s=size, c=colour, marker=mark, alpha=0.45, linewidths=0.8
        )
    across, down = np.meshgrid(GRID * page.image_wh[0], GRID * page.image_wh[1])
    for number, layer in enumerate(page.layers):
        for shift, style in (
            (0.0, "-"),
            (0.5, "--"),
        ):  # product and cell share a centre, or it lies on a corner
            away = [np.full_like(across, shift * stride) for stride in layer.stride_wh]
            axes.contour(
                across,
                down,
                anchors.iou_at(np.stack([across, down] + away), layer.anchor_wh),
                levels=[MET],
                colors=[_colour(number)],
                linestyles=[style],
                linewidths=2.0,
            )
        axes.plot(
            *layer.anchor_wh,
            marker=_mark(number),
            color=_colour(number),
            markersize=11,
            markeredgecolor="white",
            linestyle="none",
            zorder=5,
        )
    widths, heights = (
        np.append(sides, anchor_sides)
        for sides, anchor_sides in zip(
            (width, height), np.array([layer.anchor_wh for layer in page.layers]).T
        )
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(max(widths.min(), 1) * 0.8, widths.max() * 1.4)
    axes.set_ylim(max(heights.min(), 1) * 0.8, heights.max() * 4)  # room for the legend
    _plain_ticks(axes.xaxis, (1, 2, 5))
    _plain_ticks(axes.yaxis, (1, 2, 5))
    axes.set_xlabel("box width, pixels of the network's input")
    axes.set_ylabel("box height, pixels of the network's input")
    axes.legend(handles=_size_legend(page, met), fontsize=9.5, loc="upper left", ncol=2)
    axes.grid(alpha=0.25)
    _title(axes, "Every product's size, and the sizes that each anchor meets")


def _size_legend(page, met):
    def handle(label, **look):
        return lines.Line2D([], [], label=label, **look)

    return (
        [
            handle(
                f"product that an anchor meets: {met.mean():.0%}",
                marker="o",
                color=FITTING,
                linestyle="none",
            ),
            handle(
                f"product that none meets: {(~met).mean():.0%}",
                marker="x",
                color=MISSING,
                linestyle="none",
            ),
        ]
        + [
            handle(
                "anchor {:.0f} x {:.0f} px in each of {} x {} cells".format(
                    *layer.anchor_wh + layer.grid_wh
                ),
                marker=_mark(number),
                color=_colour(number),
                linestyle="none",
            )
            for number, layer in enumerate(page.layers)
        ]
        + [
            handle(
                "meets at IoU 0.5, product in the middle of a cell", color="#444444", linestyle="-"
            ),
            handle(
                "meets at IoU 0.5, product on a corner of cells", color="#444444", linestyle="--"
            ),
        ]
    )


def _curves(axes, page):
    thresholds = np.linspace(0.2, 0.95, 76)
    for (name, best_iou), (colour, style) in zip(page.curves, CURVES):
        axes.plot(
            thresholds,
            anchors.shares(best_iou, thresholds),
            color=colour,
            linestyle=style,
            linewidth=2.4,
            label=f"{name}: {np.mean(best_iou >= MET):.1%}",
        )
    axes.axvline(MET, ymax=1 / 1.5, color="#777777", linewidth=1)
    axes.text(MET + 0.005, 0.02, "the matcher's threshold", fontsize=9, color="#555555")
    axes.set_ylim(0, 1.5)  # room for the legend
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlabel("overlap asked for (IoU)")
    axes.set_ylabel("share of the products that some anchor meets")
    axes.legend(fontsize=9.5, loc="upper left", title="share at IoU 0.5", title_fontsize=9)
    axes.grid(alpha=0.25)
    _title(axes, "Which anchors meet how many products")


def _histogram(axes, title, label, raw, squashed, marks):
    """Raw and squashed values over one logarithmic axis, the anchors' as vertical lines."""
    everything = np.concatenate([raw, squashed, marks])
    everything = everything[everything > 0]
    edges = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 45)
    axes.hist(
        raw,
        edges,
        histtype="step",
        color="#555555",
        linestyle="--",
        linewidth=1.8,
        label="in the photograph",
    )
    axes.hist(
        squashed,
        edges,
        color="#b9d6ea",
        edgecolor="#0072B2",
        linewidth=0.6,
        label="as the network sees it",
    )
    top = axes.get_ylim()[1]
    for number, mark in enumerate(marks):
        style = ("-", (0, (4, 4)))[
            number % 2
        ]  # one ratio for both layers: the second must show, too
        axes.plot(
            [mark, mark],
            [0, top],
            color=_colour(number),
            linewidth=2.4,
            linestyle=style,
            label=f"anchor {number + 1}: {mark:.3g}",
        )
    axes.set_ylim(0, top * 1.28)  # room for the legend
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis, (1, 1.5, 2, 3, 5, 7))
    axes.set_xlabel(label)
    axes.set_ylabel("products")
    axes.legend(fontsize=9, loc="upper left", ncol=2)
    _title(axes, title)


def _layers(axes, page):
    """How many products each feature map serves, and how well."""
    covered = page.coverage
    unmatched = (
        covered.unserved & ~covered.lost
    )  # only where the config leaves the forced match out
    left = np.zeros(len(page.layers))
    for name, mask, colour, hatch in (
        (
            "met at the matcher's threshold",
            ~(covered.forced | covered.lost | unmatched),
            "#56B4E9",
            None,
        ),
        ("forced match only", covered.forced, "#E69F00", "//"),
        ("best anchor lost to another box", covered.lost, "#D55E00", "xx"),
        ("no anchor matched", unmatched, "#999999", ".."),
    ):
        if mask is unmatched and not mask.any():
            continue
        count = np.bincount(covered.layer[mask], minlength=len(left))
        axes.barh(
            np.arange(len(left)),
            count,
            0.5,
            left=left,
            color=colour,
            edgecolor="#333333",
            hatch=hatch,
            linewidth=0.6,
            label=f"{name}: {count.sum():,}",
        )
        left += count
    for number, layer in enumerate(page.layers):
        axes.text(
            0,
            number - 0.3,
            "{} x {} cells, anchor {:.0f} x {:.0f} px".format(*layer.grid_wh + layer.anchor_wh),
            fontsize=10,
            va="bottom",
        )
    axes.set_yticks([])
    axes.set_ylim(len(left) - 0.5, -1.1)  # the finest on top, and room for the legend
    axes.set_xlabel("products whose best anchor is on this feature map")
    axes.legend(fontsize=9, loc="upper right")
    _title(axes, "Which feature map serves them")


def _title(axes, text):
    axes.set_title(text, fontsize=12.5, loc="left", weight="bold")


def _plain_ticks(axis, steps):
    axis.set_major_locator(ticker.LogLocator(10, subs=steps))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _colour(number):
    return LAYER_COLOURS[number % len(LAYER_COLOURS)]


def _mark(number):
    return LAYER_MARKS[number % len(LAYER_MARKS)]


def _raw(images):
    """All boxes as labelled, (N, 4), and each one's image size, (N, 2)."""
    sizes_wh = [
        np.tile(np.array(image.size_wh, dtype=float), (len(image.boxes_xyxy), 1))
        for image in images
    ]
    return np.concatenate([image.boxes_xyxy for image in images]), np.concatenate(sizes_wh)


def _size(boxes_xyxy):
    return np.sqrt(boxes.areas(boxes_xyxy))


def _ratio(boxes_xyxy):
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    return width / height
