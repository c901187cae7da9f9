"""The Grocery Dataset's annotations.csv: rows of ``filename,xmin,ymin,xmax,ymax,brand``.

One row a box, no header, no image size, no scores; an image without boxes cannot be in it.
Source: Varol and Kuzu, "Toward retail product recognition on grocery shelves", ICGIP 2014.
"""

import collections
from typing import Iterable, Sequence

from shelfdet.core import text
from shelfdet.core.text import PathLike, Problems, parse_number, read_number, shown
from shelfdet.data.formats import labels_csv
from shelfdet.data.formats.image_boxes import (
    BOX_COLUMNS,
    BoxRow,
    ImageBoxes,
    ImagesByName,
    RowNames,
)

COLUMNS = ("filename",) + BOX_COLUMNS + ("brand",)


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
    brand_is_class: bool = False,
) -> ImagesByName:
    """Reads the CSV; see ``formats.read``.

    Args:
      path: the CSV file.
      problems: collects what is wrong, by line.
      scored: must be False: the format has no scores.
      image_names: unused.
      brand_is_class: the last column names the class. In the dataset itself it is the number of a
        brand, 0 for most, and no class is read (``label`` is None).
    """
    assert not scored, "the Grocery Dataset's CSV has no scores"
    images: ImagesByName = collections.OrderedDict()
    names = RowNames(problems)
    for number, (line, fields) in enumerate(text.read_csv(path)):
        place = f"line {line}"
        if number == 0 and _is_header(fields):
            _refuse_header(fields, place, problems)
        if not text.check_columns(fields, COLUMNS, place, problems):
            continue
        name = names.read(fields[0], place)
        if name is None:
            continue
        box = tuple(
            read_number(value, column, place, problems)
            for column, value in zip(BOX_COLUMNS, fields[1:5])
        )
        # An image whose boxes are all wrong is annotated nevertheless, so it is not reported twice.
        image = images.setdefault(name, ImageBoxes(name, place, None, []))
        if None not in box:
            label = fields[5].strip() if brand_is_class else None
            image.rows.append(BoxRow(place, label, box))
    return images


def _is_header(fields: Sequence[str]) -> bool:
    """Whether no field but the first is a number."""
    return len(fields) > 1 and all(parse_number(field) is None for field in fields[1:])


def _refuse_header(fields: Sequence[str], place: str, problems: Problems) -> None:
    advice = "Delete the line."
    if labels_csv.is_header(fields):
        advice = "It is a label file of this workspace: read it with --format csv."
    problems.add(
        place,
        f"found a header ({shown(','.join(fields))}); expected no header but rows of "
        f"{','.join(COLUMNS)}. {advice}",
    )
    problems.refuse()  # every other row may have other columns, too
