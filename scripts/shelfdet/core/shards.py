"""Names of a TFRecord's files: one file, or shards as "train.record-00003-of-00010".

object_detection reads both: its ``input_path`` is a pattern of names. The shards are found by
RECORD-?????-of-?????, whatever their number is.
"""

import collections
import glob
import pathlib
import re
from typing import Dict, Iterable, List, NamedTuple, Optional, Union

from shelfdet.core.text import listed

PATTERN = "-?????-of-?????"
LARGEST_COUNT = 99999  # of five digits

_SHARD = re.compile(r"(?P<record>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
# The same in a pattern: "train.record-?????-of-00010", "train.record-*", "train.record*"
_PATTERN_ENDING = re.compile(r"(-[\d?*]+-of-[\d?*]+|-?\*)$")
SHOWN_NUMBERS = 5


class Shard(NamedTuple):
    """What the name of a shard states: its record, its number, from 0, and the number of all."""

    record: pathlib.Path
    number: int
    count: int


def path(record: pathlib.Path, number: int, count: int) -> pathlib.Path:
    """The file of a shard."""
    return record.with_name(f"{record.name}-{number:05d}-of-{count:05d}")


def parse(file: Union[str, pathlib.Path]) -> Optional[Shard]:
    """The shard that a file is by its name; None for other names."""
    file = pathlib.Path(file)
    found = _SHARD.match(file.name)
    if found is None:
        return None
    record = file.with_name(found.group("record"))
    return Shard(record, int(found.group("number")), int(found.group("count")))


def record_of(file: Union[str, pathlib.Path]) -> pathlib.Path:
    """The record of a shard, or of a pattern for shards; itself for other names."""
    file = pathlib.Path(file)
    name = _PATTERN_ENDING.sub("", file.name)
    return file.with_name(name) if name else file


def pattern_of(record: pathlib.Path) -> pathlib.Path:
    """The pattern for the shards of a record."""
    return record.with_name(record.name + PATTERN)


def present(record: pathlib.Path) -> List[pathlib.Path]:
    """The shards of a record that are in its folder, sorted; of all numbers of shards."""
    pattern = glob.escape(str(record)) + PATTERN
    return sorted(file for file in map(pathlib.Path, glob.glob(pattern)) if parse(file))


def input_path(record: pathlib.Path) -> pathlib.Path:
    """What names the files of a record in a config: the record, or the pattern for its shards."""
    return pattern_of(record) if not record.exists() and present(record) else record


def by_record(found: Iterable[Union[str, pathlib.Path]]) -> Dict[pathlib.Path, List[pathlib.Path]]:
    """Files by the record that they are, or are shards of."""
    files: Dict[pathlib.Path, List[pathlib.Path]] = collections.OrderedDict()
    for file in map(pathlib.Path, found):
        shard = parse(file)
        files.setdefault(file if shard is None else shard.record, []).append(file)
    return files


def problem(files: Iterable[pathlib.Path]) -> str:
    """Why the files of one record are not all of its shards, or it alone; empty if they are.

    Args:
      files: as in the values of ``by_record``, at least one.
    """
    names = {file.name for file in files}
    found = [parse(name) for name in sorted(names)]
    of_shards = [shard for shard in found if shard is not None]
    if not of_shards:
        return ""
    if len(of_shards) < len(found):
        whole = of_shards[0].record.name
        return f"{whole} and shards of it: one of them is of an earlier run of step 04"
    counts = sorted({shard.count for shard in of_shards})
    if len(counts) > 1:
        return f"shards of several runs of step 04: of {' and of '.join(map(str, counts))}"
    numbers = {shard.number for shard in of_shards}
    missing = [number for number in range(counts[0]) if number not in numbers]
    if missing:
        record = of_shards[0].record
        missing_names = [path(record, number, counts[0]).name for number in missing]
        return (
            f"{len(of_shards)} of {counts[0]} shards; missing: "
            f"{listed(missing_names, SHOWN_NUMBERS)}"
        )
    extra = sorted(name for name in names if parse(name).number >= counts[0])
    if extra:
        return f"more than the {counts[0]} shards of the names: {listed(extra, SHOWN_NUMBERS)}"
    return ""
