"""Checks of placeholders and label maps of a training config, and its list of input readers."""

import os
import pathlib
import re
from typing import Any, Dict, List, NamedTuple, Optional

from shelfdet import UserError
from shelfdet.config import pipeline
from shelfdet.config.findings import Findings
from shelfdet.core import paths, text
from shelfdet.core.files import PathLike
from shelfdet.data import label_map as label_map_file

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"  # in the zoo's config files
SHOWN_ITEMS = 5  # of a label map, in a finding
TRAIN_READER = "train_input_reader"
EVAL_READER = "eval_input_reader"

# Of TensorFlow's patterns (fnmatch): a path with one of them matches other names than its own.
PATTERN_CHARACTERS = "*?[\\"

# Ids of the classes by name, or None if no label map can be read
LabelMap = Optional[Dict[str, int]]


class Reader(NamedTuple):
    """An input reader of a config.

    key: in the config. fields: its proto message. split: "train" or "val".
    """

    key: str
    fields: Any
    split: str

    @property
    def path_key(self) -> str:
        """The key of its records' paths."""
        return self.key + ".tf_record_input_reader.input_path"


def check_placeholders(findings: Findings) -> None:
    """Reports lines that still have the ``PATH_TO_BE_CONFIGURED`` of a zoo file."""
    for number, line in enumerate(findings.text.splitlines(), start=1):
        if PLACEHOLDER in line.split("#")[0]:
            key = re.match(r"\s*(\w*)", line).group(1)
            findings.error(
                key or PLACEHOLDER,
                found=f"line {number}: {line.strip()}",
                expected="a path, relative to the repository root",
                write="the path of your own file",
            )


def check_no_pattern(key: str, path: PathLike, findings: Findings) -> None:
    """Reports a path that TensorFlow reads as a pattern for several files.

    It then looks for the names that match the pattern, and does not find the path itself.
    """
    characters = [character for character in PATTERN_CHARACTERS if character in str(path)]
    if characters:
        findings.error(
            key,
            found=f"{path}: {text.listed(map(repr, characters))} in the path; TensorFlow reads it "
            "as a pattern for several files and does not find the files themselves",
            expected=f"a path without any of {' '.join(PATTERN_CHARACTERS)}",
            write="another path, after the folder or the file is renamed or moved",
        )


def refuse_pattern(path: PathLike, option: str) -> None:
    """Refuses a path that TensorFlow would read as a pattern for several files.

    Args:
      path: absolute, because the path of the repository may be the cause.
      option: with which the user can name another.

    Raises:
      UserError: it has one of PATTERN_CHARACTERS.
    """
    found = Findings(path, "")
    check_no_pattern(option, path, found)
    for finding in found:
        raise UserError(
            f"{finding.found}; expected {finding.expected}. Rename it, or name another with "
            f"{option}."
        )


def readers(config: pipeline.Config) -> List[Reader]:
    """The input readers of the config."""
    found = [Reader(TRAIN_READER, config.train_input_reader, "train")]
    several = len(config.eval_input_reader) > 1
    for number, fields in enumerate(config.eval_input_reader):
        key = f"{EVAL_READER}[{number}]" if several else EVAL_READER
        found.append(Reader(key, fields, "val"))
    return found


def own_label_maps(config: pipeline.Config, root: PathLike) -> List[pathlib.Path]:
    """The label maps that step 02 wrote beside the config's records, of data that keeps classes.

    They are absolute, and in the order of the records.
    """
    folders = [
        pathlib.Path(str(root), record).parent
        for reader in readers(config)
        for record in reader.fields.tf_record_input_reader.input_path
    ]
    candidates = [folder / paths.CLASSES_FILE for folder in dict.fromkeys(folders)]
    return [path for path in candidates if path.is_file()]


def label_map_line(config: pipeline.Config, root: PathLike) -> str:
    """The line that names the label map of the config's records."""
    own = own_label_maps(config, root)
    if not own:
        return f'label_map_path: "{paths.shown(paths.LABEL_MAP)}"'
    return f'label_map_path: "{os.path.relpath(str(own[0]), str(root))}"'


def check_label_maps(config: pipeline.Config, root: PathLike, findings: Findings) -> LabelMap:
    """Checks the readers' label maps against each other, the records' and ``num_classes``.

    Returns:
      The ids of the classes by name, or None if no label map can be read. Where the records have
      classes that the config's label map lacks, those of the label map beside the records: that is
      one problem, not one more for each record.
    """
    maps = []
    read: Dict[str, LabelMap] = {}  # most often all readers have the same one
    for reader in readers(config):
        key = reader.key + ".label_map_path"
        written = reader.fields.label_map_path
        if not written or written not in read:
            line = label_map_line(config, root)
            read[written] = _read_label_map(key, written, root, line, findings)
        label_map = read[written]
        if label_map is not None:
            maps.append((key, label_map))
    if not maps:
        return None
    first_key, first_map = maps[0]
    for key, label_map in maps[1:]:
        if label_map != first_map:
            findings.error(
                key,
                found=f"another map than {first_key}'s",
                expected="one label map for all readers",
                write=label_map_line(config, root),
            )
    label_map = _check_own_label_maps(config, root, first_key, first_map, findings)
    _check_class_count(first_key, label_map, config.model.ssd.num_classes, findings)
    return label_map


def _check_own_label_maps(
    config: pipeline.Config, root: PathLike, key: str, label_map: Dict[str, int], findings: Findings
) -> Dict[str, int]:
    """Checks that the config's label map has the classes of those beside the records.

    Returns:
      the config's label map, or that of the records where it lacks a class.
    """
    own = {path: label_map_file.read_label_map(path) for path in own_label_maps(config, root)}
    for path, classes in own.items():
        missing = [name for name in classes if name not in label_map]
        if not missing:
            continue
        write = f"{label_map_line(config, root)}\n(in each input reader)"
        if any(set(other) != set(classes) for other in own.values()):
            names = text.listed(paths.shown(other) for other in own)
            write = (
                f"the records again with the same classes: {names} differ. Give `make data` the "
                "same names for each dataset: CLASSES=name,name"
            )
        findings.error(
            key,
            found=f"without {text.counted(len(missing), 'class', 'classes')} that the records "
            f"have: {text.listed(missing)}",
            expected=f"the label map of the records, {paths.shown(path)}",
            write=write,
        )
        return classes
    return label_map


def _read_label_map(
    key: str, written: str, root: PathLike, line: str, findings: Findings
) -> LabelMap:
    path = os.path.join(str(root), written)
    if PLACEHOLDER in written:
        return None  # already reported
    if not written or not os.path.isfile(path):
        findings.error(
            key,
            found=f"{written}: {why_missing(path)}" if written else "nothing",
            expected=f"the label map; paths are relative to {root}",
            write=line,
        )
        return None
    try:
        return label_map_file.read_label_map(path)
    except UserError as error:
        findings.error(
            key,
            found=str(error),
            expected="a label map",
            write=f"{label_map_file.EXAMPLE}\none item for each class",
            path=path,
        )
        return None


def _check_class_count(
    key: str, label_map: Dict[str, int], num_classes: int, findings: Findings
) -> None:
    count = len(label_map)
    if count != num_classes:
        findings.error(
            "model.ssd.num_classes",
            found=f"{num_classes}, but the label map has {count} ({text.listed(label_map)})",
            expected="as many as the label map has: the network gives one score for each class",
            write=f"num_classes: {count}",
        )
    ids = sorted(label_map.values())
    if ids != list(range(1, count + 1)):
        renumbered = sorted(label_map, key=label_map.get)[:SHOWN_ITEMS]
        findings.error(
            key,
            found=f"ids {text.listed(map(str, ids))}",
            expected=f"1 to {count} without a gap",
            write="\n".join(
                f"item {{ id: {number} name: {name!r} }}"
                for number, name in enumerate(renumbered, start=1)
            )
            + ("\nand so on" if count > SHOWN_ITEMS else "")
            + "\nthen write the records again with step 04",
        )


def why_missing(path: str) -> str:
    """What is at a path where a file was expected."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return "is a folder"
    if os.path.isdir(folder):
        return "no such file"
    return f"no such file, and no folder {folder}"
