#!/usr/bin/env python
"""Draws README's figure: detections of the included detector on the synthetic shelves of step 00.

Reads   nothing but the frozen graph (default: the included detector).
Writes  docs/figures/detections.png: three of step 00's default test images side by side, with the
        boxes that step 08 draws.

    python scripts/experiments/readme_figure.py
"""

import argparse
import pathlib
import sys
import tempfile
from typing import List, Optional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # scripts/ holds shelfdet
from experiments import steps
from shelfdet.core import command_line, files, paths

FIGURE = paths.ROOT / "docs" / "figures" / "detections.png"
# Step 00's defaults
TRAIN, TEST, SEED = 60, 16, 0
SHOWN = ("C1_P12_N1_S4_1.JPG", "C1_P01_N2_S2_1.JPG", "C2_P07_N1_S4_1.JPG")
HEIGHT = 420  # pixels: three images together are twice as wide as README's column
COLOURS = 256  # of the PNG palette, which makes it half as large


def parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--graph",
        **command_line.FOLDER,
        default=paths.SHIPPED_GRAPH,
        help="of the frozen graph (default: %(default)s)",
    )
    parser.add_argument(
        "--output", **command_line.FILE, default=FIGURE, help="(default: %(default)s)"
    )
    return parser.parse_args(argv)


def main(argv: Optional[List[str]] = None) -> None:
    args = parse(argv)
    from PIL import Image

    from shelfdet.data import synthetic

    with tempfile.TemporaryDirectory() as scratch:
        shelves, drawn = pathlib.Path(scratch) / "shelves", pathlib.Path(scratch) / "drawn"
        shelves.mkdir()
        for _, photo in synthetic.plan(TRAIN, TEST, SEED):
            if photo.name in SHOWN:
                image, _, _ = synthetic.draw(photo, SEED)
                synthetic.save(image, shelves / photo.name, upside_down=False)
        output = pathlib.Path(scratch) / "detections.json"
        steps.run(
            "detect",
            ["--images", shelves, "--graph", args.graph, "--draw", drawn, "--output", output],
        )
        parts = [Image.open(str(drawn / name)).convert("RGB") for name in SHOWN]

    resized = [
        part.resize((round(part.width * HEIGHT / part.height), HEIGHT), Image.LANCZOS)
        for part in parts
    ]
    figure = Image.new("RGB", (sum(part.width for part in resized), HEIGHT))
    left = 0
    for part in resized:
        figure.paste(part, (left, 0))
        left += part.width
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(args.output) as partial:
        figure.quantize(COLOURS).save(str(partial), "PNG", optimize=True)
    print(f"{paths.shown(args.output)}: {figure.width} x {figure.height} pixels")


if __name__ == "__main__":
    command_line.run(main)
