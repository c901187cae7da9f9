"""SKU-110K's own CSV files: ``image_name,x1,y1,x2,y2,class,image_width,image_height``, no header.

One row a box, in pixels; the class is always "object". An image without boxes cannot be in it. The
dataset has one file a split: annotations_train.csv, annotations_val.csv and annotations_test.csv.
Source: Goldman et al., "Precise Detection in Densely Packed Scenes", CVPR 2019.
"""

from typing import Iterable

from shelfdet import UserError
from shelfdet.core.text import PathLike, Problems, parse_number, shown
from shelfdet.data.formats import labels_csv
from shelfdet.data.formats import table as tables
from shelfdet.data.formats.image_boxes import BOX_COLUMNS, ImagesByName

COLUMNS = ("filename",) + BOX_COLUMNS + ("class",) + labels_csv.SIZE_COLUMNS
NUMBERS = BOX_COLUMNS + labels_csv.SIZE_COLUMNS


def read(
    path: PathLike,
    problems: Problems,
    scored: bool = False,
    image_names: Iterable[str] = (),
) -> ImagesByName:
    """Reads the CSV; see ``formats.read``. ``scored`` must be False: the format has no scores.

    Raises:
      UserError: the file cannot be read, has a header or another number of columns.
    """
    assert not scored, "SKU-110K's CSV has no scores"
    table = tables.open_table(path)
    if table.columns is not None or len(table.first) != len(COLUMNS):
        raise UserError(
            f"{path}: line {table.first_line}: found {shown(table.separator.join(table.first))}; "
            f"expected {len(COLUMNS)} columns without a header, as in SKU-110K: "
            f"{','.join(COLUMNS)}. Name another format."
        )
    columns = {name: index for index, name in enumerate(COLUMNS)}
    return labels_csv.read_rows(table, columns, problems)


def is_of(table: tables.Table) -> bool:
    """Whether the first row of a CSV without a header is one of SKU-110K's."""
    if table.columns is not None or len(table.first) != len(COLUMNS):
        return False
    row = dict(zip(COLUMNS, table.first))
    return all(parse_number(row[name]) is not None for name in NUMBERS)
