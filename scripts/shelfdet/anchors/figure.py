"""One page of plots about anchors: sizes of products, coverage, and the least covered images."""

import pathlib
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import matplotlib

matplotlib.use("Agg")  # writes files; needs no screen
import numpy as np
from matplotlib import figure, lines, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from shelfdet import UserError
from shelfdet.anchors import anchors, coverage
from shelfdet.core import boxes, drawing
from shelfdet.core.make_variables import both
from shelfdet.data import images as image_files
from shelfdet.data import labels, layout

COVERED_IOU = coverage.COVERED_IOU
SHOWN_BOXES = 4000  # of the scatter plot; more points only make a darker cloud
IMAGE_SIDE = 900  # longer side of the images in the last row, in pixels
BLANK_GREY = 245  # of an image that is drawn without its photograph
SHOWN_IMAGES = 3

# Widths and heights at which the contours are computed, in shares of the input's sides.
# Distance of a box's centre to that of its cell in strides, line style, and its name.
CONTOURS = (
    (0.0, "-", "in the centre of a cell"),
    (0.5, "--", "on the corner of four cells"),
)
CONTOUR_SIDES = np.geomspace(1 / 200, 1.5, 240)

# Okabe and Ito's colours, which colour-blind readers can distinguish. Each layer also has a marker,
# each curve a dash pattern, and each bar a hatch.
LAYER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LAYER_MARKERS = ("s", "D", "^", "v", "o", "P")
CURVE_STYLES = (("#000000", "-"), ("#0072B2", "--"))
COVERED_COLOUR = "#9a9a9a"
UNCOVERED_COLOUR = "#E69F00"


class Page(NamedTuple):
    """What the page shows.

    title: its first line. image_wh: size of the network's input. images: the training images.
    layers: the config's anchors. coverage: of these anchors. boxes_by_image: (N, 4) for each image,
    resized. curves: (name, best IoU of each box) for each set of anchors to compare, at most two.
    """

    title: str
    image_wh: Tuple[int, int]
    images: Sequence[labels.LabelledImage]
    layers: Sequence[anchors.Layer]
    coverage: coverage.Coverage
    boxes_by_image: Sequence[np.ndarray]
    curves: Sequence[Tuple[str, np.ndarray]]


def draw(
    page: Page, path: pathlib.Path, photographs: Optional[Mapping[str, np.ndarray]] = None
) -> None:
    """Draws the page as a PNG.

    Args:
      page: what to show.
      path: the file to write.
      photographs: pixels of the images in the last row, by file name, as ``read_photographs``
        returns them; the boxes of the others are drawn on blank paper.
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
    width, height = page.image_wh
    sheet.suptitle(page.title, x=0.05, y=0.985, ha="left", fontsize=17, weight="bold")
    sheet.text(
        0.05,
        0.955,
        f"A product is covered if an anchor overlaps it by IoU {COVERED_IOU:g} or more (IoU: "
        "shared area / joint area). Sizes are in pixels after resizing the images to "
        f"{width} x {height}.",
        fontsize=11.5,
    )
    _draw_sizes(sheet.add_subplot(grid[0, :7]), page)
    _draw_curves(sheet.add_subplot(grid[0, 7:]), page)
    _draw_size_histogram(sheet.add_subplot(grid[1, :4]), page)
    _draw_ratio_histogram(sheet.add_subplot(grid[1, 4:8]), page)
    _draw_layers(sheet.add_subplot(grid[1, 8:]), page)
    for number, (title, image) in enumerate(draw_least_covered(page, photographs or {})):
        axes = sheet.add_subplot(grid[2, number * 4 : number * 4 + 4])
        axes.imshow(np.asarray(image))
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_axis_off()
    sheet.savefig(str(path), format="png")


def least_covered(page: Page, count: int = SHOWN_IMAGES) -> List[Tuple[float, int]]:
    """The images with the smallest coverage: (share of its boxes, index in ``page.images``)."""
    is_covered = page.coverage.best_iou >= COVERED_IOU
    shares = [
        (float(np.mean(is_covered[page.coverage.image_index == index])), index)
        for index in np.unique(page.coverage.image_index)
    ]
    return sorted(shares)[:count]


def read_photographs(
    page: Page, folder: pathlib.Path, exif: str = "ignore"
) -> Tuple[Dict[str, np.ndarray], List[str]]:
    """Reads the photographs that the page's last row shows.

    Args:
      page: as of ``draw``.
      folder: of the training images.
      exif: "ignore" or "apply", as for the label file: boxes are in pixels of the raw image, or of
        the upright one.

    Returns:
      (pixels, shrunk, by file name; why others are not there, one message for each cause).
    """
    photographs = {}
    reasons = []
    for _, index in least_covered(page):
        image = page.images[index]
        try:
            (path,) = layout.locate(folder, [image.filename], "train")
            loaded = image_files.load(path, max_side=IMAGE_SIDE, exif=exif)
        except UserError as error:
            reasons.append(str(error))
            continue
        problem = _size_problem(path, loaded, image.size_wh)
        if problem is None:
            photographs[image.filename] = loaded.pixels
        else:
            reasons.append(problem)
    return photographs, list(dict.fromkeys(reasons))  # a folder that is not there is one cause


def _size_problem(path, loaded, labelled_wh):
    """Why boxes of an image of ``labelled_wh`` cannot be drawn on these pixels; None if they can.

    The label file of a copy of another size has the same aspect ratio: its boxes are scaled.
    """
    width, height = loaded.size_wh
    labelled_width, labelled_height = labelled_wh
    if abs(width * labelled_height - height * labelled_width) <= max(*loaded.size_wh, *labelled_wh):
        return None
    advice = f"Give {both('--exif apply')} if step 02 had it; otherwise run step 02 again"
    return (
        f"{path}: is {width} x {height} pixels, expected the shape of the label file's "
        f"{labelled_width} x {labelled_height}. {advice}."
    )


def draw_least_covered(
    page: Page, photographs: Mapping[str, np.ndarray]
) -> List[Tuple[str, Image.Image]]:
    """The images with the smallest coverage, smallest first, with their boxes drawn.

    Args:
      page, photographs: as of ``draw``.

    Returns:
      list of (title, image).
    """
    is_covered = page.coverage.best_iou >= COVERED_IOU
    drawn = []
    for share, index in least_covered(page):
        image = page.images[index]
        covered = is_covered[page.coverage.image_index == index]
        pixels = photographs.get(image.filename)
        if pixels is None:
            pixels = _blank(image.size_wh)
        coverage_drawn = drawing.draw_coverage(
            pixels, image.boxes_xyxy[covered], image.boxes_xyxy[~covered], image.size_wh
        )
        drawn.append((f"{image.filename}: {share:.0%} of its boxes covered", coverage_drawn))
    return drawn


def _blank(size_wh):
    scale = IMAGE_SIDE / max(size_wh)
    return np.full(
        (int(size_wh[1] * scale), int(size_wh[0] * scale), 3), BLANK_GREY, dtype=np.uint8
    )


def _draw_sizes(axes, page):
    """Width against height of all boxes, each layer's anchor and the sizes that it covers."""
    resized = np.concatenate(page.boxes_by_image)
    width, height = (resized[:, 2:] - resized[:, :2]).T
    is_covered = page.coverage.best_iou >= COVERED_IOU
    # A fixed seed, so that the same labels give the same page.
    chosen = np.random.RandomState(0).permutation(len(resized))[:SHOWN_BOXES]
    for mask, colour, marker, size in (
        (is_covered, COVERED_COLOUR, "o", 9),
        (~is_covered, UNCOVERED_COLOUR, "x", 16),
    ):
        shown = chosen[mask[chosen]]
        axes.scatter(
            width[shown], height[shown], s=size, c=colour, marker=marker, alpha=0.45, linewidths=0.8
        )
    contours = set()
    for number, layer in enumerate(page.layers):
        contours |= _draw_covered_sizes(axes, page.image_wh, layer, LAYER_COLOURS[number])
        axes.plot(
            *layer.anchor_wh,
            marker=LAYER_MARKERS[number],
            color=LAYER_COLOURS[number],
            markersize=11,
            markeredgecolor="white",
            linestyle="none",
            zorder=5,
        )
    anchors_wh = np.array([layer.anchor_wh for layer in page.layers])  # (layers, 2)
    all_widths = np.append(width, anchors_wh[:, 0])
    all_heights = np.append(height, anchors_wh[:, 1])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(max(all_widths.min(), 1) * 0.8, all_widths.max() * 1.4)
    axes.set_ylim(max(all_heights.min(), 1) * 0.8, all_heights.max() * 4)  # room for the legend
    _set_plain_ticks(axes.xaxis, (1, 2, 5))
    _set_plain_ticks(axes.yaxis, (1, 2, 5))
    axes.set_xlabel("box width, pixels of the network's input")
    axes.set_ylabel("box height, pixels of the network's input")
    handles = _size_legend(page, is_covered, contours)
    axes.legend(handles=handles, fontsize=9.5, loc="upper left", ncol=2)
    axes.grid(alpha=0.25)
    _set_title(axes, "Sizes of the products, and the sizes that each anchor covers")


def _draw_covered_sizes(axes, image_wh, layer, colour):
    """Contours around the box sizes that the layer's anchor covers; returns their line styles.

    Solid for boxes in the centre of a cell, where the distance to the nearest anchor is 0; dashed
    for boxes on the corner of four cells, where it is half a stride in both directions.
    """
    widths, heights = np.meshgrid(CONTOUR_SIDES * image_wh[0], CONTOUR_SIDES * image_wh[1])
    drawn = set()
    for stride_share, style, _ in CONTOURS:
        distances = [
            np.full_like(widths, stride_share * layer.stride_wh[0]),
            np.full_like(widths, stride_share * layer.stride_wh[1]),
        ]
        ious = coverage.iou_at(np.stack([widths, heights] + distances), layer.anchor_wh)
        if ious.max() < COVERED_IOU:
            continue  # with wide strides, no box on a corner is covered
        axes.contour(
            widths,
            heights,
            ious,
            levels=[COVERED_IOU],
            colors=[colour],
            linestyles=[style],
            linewidths=2.0,
        )
        drawn.add(style)
    return drawn


def _size_legend(page, is_covered, contours):
    entries = [
        (f"covered product: {is_covered.mean():.0%}", "o", COVERED_COLOUR, "none"),
        (f"product not covered: {(~is_covered).mean():.0%}", "x", UNCOVERED_COLOUR, "none"),
    ]
    for number, layer in enumerate(page.layers):
        columns, rows = layer.grid_wh
        width, height = layer.anchor_wh
        text = f"anchor {width:.0f} x {height:.0f} px, one in each of {columns} x {rows} cells"
        entries.append((text, LAYER_MARKERS[number], LAYER_COLOURS[number], "none"))
    entries += [
        (f"covered if {place}", "", "#444444", style)
        for _, style, place in CONTOURS
        if style in contours
    ]
    return [
        lines.Line2D([], [], label=text, marker=marker, color=colour, linestyle=style)
        for text, marker, colour, style in entries
    ]


def _draw_curves(axes, page):
    """Coverage against the IoU that is required, for each set of anchors."""
    thresholds = np.linspace(0.2, 0.95, 76)
    for (name, best_iou), (colour, style) in zip(page.curves, CURVE_STYLES):
        axes.plot(
            thresholds,
            coverage.shares(best_iou, thresholds),
            color=colour,
            linestyle=style,
            linewidth=2.4,
            label=f"{name}: {np.mean(best_iou >= COVERED_IOU):.1%}",
        )
    top = 1.3  # room for the legend
    axes.axvline(COVERED_IOU, ymax=1 / top, color="#777777", linewidth=1)
    axes.text(COVERED_IOU + 0.005, 0.02, f"IoU {COVERED_IOU:g}", fontsize=9, color="#555555")
    axes.set_ylim(0, top)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlabel("required IoU of product and anchor")
    axes.set_ylabel("share of the products")
    axes.legend(
        fontsize=9.5,
        loc="upper left",
        title=f"coverage at IoU {COVERED_IOU:g}",
        title_fontsize=9,
    )
    axes.grid(alpha=0.25)
    _set_title(axes, "Anchor coverage against the required IoU")


def _draw_size_histogram(axes, page):
    shorter_sides = np.concatenate(
        [np.full(len(image.boxes_xyxy), min(image.size_wh)) for image in page.images]
    )
    shorter_input_side = min(page.image_wh)
    resized = np.concatenate(page.boxes_by_image)
    _draw_histogram(
        axes,
        "Size of the products",
        "square root of the area / shorter side of the image",
        np.sqrt(boxes.areas(_raw_boxes(page))) / shorter_sides,
        np.sqrt(boxes.areas(resized)) / shorter_input_side,
        np.sqrt(boxes.areas(_anchor_boxes(page))) / shorter_input_side,
    )


def _draw_ratio_histogram(axes, page):
    _draw_histogram(
        axes,
        "Aspect ratio of the products",
        "width / height",
        _ratios(_raw_boxes(page)),
        _ratios(np.concatenate(page.boxes_by_image)),
        _ratios(_anchor_boxes(page)),
    )


def _draw_histogram(axes, title, label, raw, resized, anchor_values):
    """Values of the boxes before and after resizing; the anchors' values as vertical lines."""
    everything = np.concatenate([raw, resized, anchor_values])
    everything = everything[everything > 0]  # a logarithmic axis has no 0
    edges = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 45)
    axes.hist(
        raw,
        edges,
        histtype="step",
        color="#555555",
        linestyle="--",
        linewidth=1.8,
        label="in the original image",
    )
    axes.hist(
        resized,
        edges,
        color="#b9d6ea",
        edgecolor="#0072B2",
        linewidth=0.6,
        label="resized to the input",
    )
    top = axes.get_ylim()[1]
    for number, value in enumerate(anchor_values):
        # The layers share one aspect ratio: dashes let the first line show through the second.
        style = "-" if number % 2 == 0 else (0, (4, 4))
        axes.plot(
            [value, value],
            [0, top],
            color=LAYER_COLOURS[number],
            linewidth=2.4,
            linestyle=style,
            label=f"anchor {number + 1}: {value:.3g}",
        )
    axes.set_ylim(0, top * 1.28)  # room for the legend
    axes.set_xscale("log")
    _set_plain_ticks(axes.xaxis, (1, 1.5, 2, 3, 5, 7))
    axes.set_xlabel(label)
    axes.set_ylabel("number of products")
    axes.legend(fontsize=9, loc="upper left", ncol=2)
    _set_title(axes, title)


def _draw_layers(axes, page):
    """Number of products by the feature map of their best anchor, and how they are matched."""
    measured = page.coverage
    # Without the forced match a box may have no anchor although no other box took its best one.
    no_match = measured.unmatched & ~measured.collided
    by_threshold = ~(measured.forced_only | measured.collided | no_match)
    groups = [
        ("matched at the threshold", by_threshold, "#56B4E9", None),
        ("forced match alone", measured.forced_only, "#E69F00", "//"),
        ("best anchor matched to another box", measured.collided, "#D55E00", "xx"),
    ]
    if no_match.any():
        groups.append(("no anchor", no_match, "#999999", ".."))
    rows = np.arange(len(page.layers))
    left = np.zeros(len(rows))
    for name, mask, colour, hatch in groups:
        counts = np.bincount(measured.layer[mask], minlength=len(rows))
        axes.barh(
            rows,
            counts,
            0.5,
            left=left,
            color=colour,
            edgecolor="#333333",
            hatch=hatch,
            linewidth=0.6,
            label=f"{name}: {counts.sum():,}",
        )
        left += counts
    for number, layer in enumerate(page.layers):
        columns, lines_of_cells = layer.grid_wh
        width, height = layer.anchor_wh
        text = f"{columns} x {lines_of_cells} cells, anchor {width:.0f} x {height:.0f} px"
        axes.text(0, number - 0.3, text, fontsize=10, va="bottom")
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.5, -1.1)  # the finest map at the top, and room for the legend
    axes.set_xlabel("number of products with their best anchor on this map")
    axes.legend(fontsize=9, loc="upper right")
    _set_title(axes, "Matches in training, by feature map")


def _set_title(axes, text):
    axes.set_title(text, fontsize=12.5, loc="left", weight="bold")


def _set_plain_ticks(axis, steps):
    """Ticks at ``steps`` times powers of ten, as plain numbers instead of powers."""
    axis.set_major_locator(ticker.LogLocator(10, subs=steps))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _raw_boxes(page):
    """All boxes as labelled, (N, 4)."""
    return np.concatenate([image.boxes_xyxy for image in page.images])


def _anchor_boxes(page):
    """One box of each anchor's size, (layers, 4)."""
    return np.array([[0, 0, *layer.anchor_wh] for layer in page.layers])


def _ratios(boxes_xyxy):
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    return width / height
