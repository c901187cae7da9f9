"""Which class each box of a dataset gets, and the label map that follows from it.

Without a choice of the user every box is a PRODUCT, the class of the label map that is included in
the workspace. Otherwise boxes keep the classes of the annotations, all or some of them, and step 02
writes a label map for them beside the label files (paths.CLASSES_FILE).
"""

import collections
import re
from typing import Dict, Iterable, List, NamedTuple, Tuple, Union

PRODUCT = "product"
KEEP_ALL = "keep"  # in place of names: every class of the annotations


class ClassChoice(NamedTuple):
    """The user's choice.

    kept: boxes keep the class that the annotations state; otherwise each is a PRODUCT.
    names: of kept classes, those whose boxes are kept; empty for all.
    """

    kept: bool = False
    names: Tuple[str, ...] = ()

    def is_left_out(self, label: str) -> bool:
        """Whether boxes of a class are left out because others were chosen."""
        return bool(self.names) and label not in self.names


ONE_CLASS = ClassChoice()


def parse(text: str) -> ClassChoice:
    """The choice that "keep" or "name,name" states.

    Raises:
      ValueError: no name, an empty one, or one twice; the message says what was expected.
    """
    names = tuple(name.strip() for name in text.split(","))
    if names == (KEEP_ALL,):
        return ClassChoice(kept=True)
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"found {text!r}, expected {KEEP_ALL} or names of classes with a comma between them, "
            "each once"
        )
    return ClassChoice(kept=True, names=names)


def label_map(choice: ClassChoice, found: Iterable[str]) -> Dict[str, int]:
    """The ids of the classes, from 1.

    Args:
      choice: of the user; the names that it has keep their order.
      found: the classes of the kept boxes; otherwise they are sorted, with numbers in them by
        their value ("2" before "10").

    Returns:
      OrderedDict of class name -> id.
    """
    names = choice.names or in_order(found)
    return collections.OrderedDict((name, number) for number, name in enumerate(names, start=1))


def in_order(names: Iterable[str]) -> List[str]:
    """The names, each once, with numbers in them by their value."""
    return sorted(set(names), key=_order)


def _order(name: str) -> Tuple[List[Tuple[bool, Union[int, str]]], str]:
    """A key by which names are sorted; the name itself decides between equal ones ("a", "A")."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    # False sorts first, so that a number is never compared with text.
    return [(False, int(p)) if p.isdigit() else (True, p.casefold()) for p in parts], name
