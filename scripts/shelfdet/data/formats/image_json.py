"""JSON of one image with shapes that a person drew: what readers of such tools share."""

import pathlib
from typing import Any, Dict, List, Optional, Sequence

from shelfdet import UserError
from shelfdet.core.text import Problems, counted, parse_number, read_text, shown
from shelfdet.data.formats.image_boxes import note_unreadable, parse_json
from shelfdet.data.formats.shapes import Point


def read_object(
    file: pathlib.Path, place: str, title: str, key: str, problems: Problems
) -> Optional[Dict[str, Any]]:
    """The JSON of one image, an object with a list; None after noting why it is none.

    Args:
      file: the file.
      place: of it, for messages.
      title: the name of the format, for messages.
      key: of the list.
      problems: as in ``formats.read``.
    """
    try:
        content = parse_json(read_text(file, title))
    except UserError as error:
        note_unreadable(error, file, place, problems)
        return None
    except (ValueError, RecursionError) as error:
        problems.add(
            place,
            f"is no complete JSON ({error}); expected {title}. Save it again, or move it away if "
            "it is of no image.",
        )
        return None
    found = content.get(key) if isinstance(content, dict) else None
    if isinstance(found, list):
        return content
    found = f"{key} is {'missing' if found is None else shown(found)}"
    if not isinstance(content, dict):
        found = f"is {shown(content)}"
    problems.add(
        place,
        f"{found}; expected {title}, an object with a list {key}. Save it again, or move it away "
        "if it is of no image.",
    )
    return None


def read_points(written: Any, name: str, place: str, problems: Problems) -> Optional[List[Point]]:
    """A list of [x, y] as points; None after noting the first that is none.

    Args:
      written: from JSON.
      name: as the file calls the list, for the message.
      place, problems: as in ``Problems.add``.
    """
    if not isinstance(written, list) or not written:
        found = "missing" if written is None else shown(written)
        problems.add(place, f"{name} is {found}; expected a list of [x, y]. Draw the shape again.")
        return None
    points = []
    for index, pair in enumerate(written):
        numbers = [parse_number(value) for value in pair] if isinstance(pair, list) else []
        if len(numbers) < 2 or None in numbers[:2]:
            problems.add(
                place,
                f"{name}[{index}] is {shown(pair)}; expected [x, y], two finite numbers. Correct "
                "it, or draw the shape again.",
            )
            return None
        points.append((numbers[0], numbers[1]))
    return points


def has_points(
    points: Sequence[Point], fewest: int, kind: str, place: str, problems: Problems
) -> bool:
    """Whether a shape has as many points as one of its kind; False after noting that it has not."""
    if len(points) >= fewest:
        return True
    problems.add(
        place,
        f"the {kind} has {counted(len(points), 'point')}; expected {fewest} or more. Draw it "
        "again.",
    )
    return False
