"""Detection in all images at a URI, batch by batch: what the driver does."""

import contextlib
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from pyspark.sql import functions

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.core.make_variables import both
from shelfdet.core.progress import progress
from shelfdet.core.text import counted
from shelfdet.data import images as image_files
from shelfdet.inference import predict
from shelfdet.inference.spark import output as outputs
from shelfdet.inference.spark import storage, tables, task

# A batch is some minutes of work, which a killed driver loses at most: beginning and completing one
# takes seconds. The number of its images is limited by the driver's memory, and by the time in
# which Spark looks up the files.
IMAGES_OF_A_CORE = 1000
MOST_IMAGES = 50000
# Of images that one task lists, without reading them
LISTED_BYTES = 8 * 2**30
PARTITIONS = "spark.sql.shuffle.partitions"
MOST_MATCHES = 1000  # of a pattern, for counting hidden files
IMAGE_NAME = "(?i)(" + "|".join(re.escape(suffix) for suffix in image_files.SUFFIXES) + r")\s*$"


class Listing(NamedTuple):
    """The files at a URI.

    images: DataFrame of tables.LISTED_DDL. count: of images. others: number of files that are not
    named as images. hidden: number of those that Spark does not list, empty ones and those with a
    name in the path that begins with _ or . ; None where it is not known.
    """

    images: Any
    count: int
    others: int
    hidden: Optional[int]


class Plan(NamedTuple):
    """What is left to do.

    remaining: DataFrame of tables.LISTED_DDL. count: of remaining images. changed: number of images
    whose file is another one than when they were processed. example: URI of one of them.
    """

    remaining: Any
    count: int
    changed: int = 0
    example: Optional[str] = None


@contextlib.contextmanager
def locked(session: Any, uri: str) -> Iterator[None]:
    """Excludes other runs that write a folder, where it is on this machine.

    Object stores have no locks; there ``Output.write_batch`` notices another run.

    Raises:
      UserError: another run writes it, or it cannot be written.
    """
    local = storage.Storage(session).local_path(uri)
    if local is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(local))
        except OSError as error:
            raise UserError(files.writing_failed(local, error)) from error
        yield


def description(work: task.Work) -> Dict[str, Any]:
    """What all images of an output share: values of JSON, for ``Output``."""
    settings = work.settings
    return {
        "graph_sha256": work.graph_sha256,
        "detection_version": predict.DETECTION_VERSION,
        "classes": {str(number): name for number, name in work.class_names.by_id.items()},
        "max_side": settings.max_side,
        "exif": settings.exif,
        "pad_strips": settings.pad_strips,
        "tiles": settings.tiles,
        "min_score": settings.min_score,
        "nms_iou": settings.nms_iou,
        "anchor_wh": settings.anchor_wh and list(settings.anchor_wh),
        "threshold": settings.threshold,
    }


def find(session: Any, uri: str) -> Listing:
    """The images at a URI, listed with their sizes; nothing of them is read.

    Raises:
      UserError: nothing is there, or no image.
    """
    place = storage.Storage(session)
    pattern = escaped(uri) if place.exists(uri) else uri
    # A session with settings of its own: a task that lists can get more files than one that
    # detects.
    lister = session.newSession()
    lister.conf.set("spark.sql.files.maxPartitionBytes", str(LISTED_BYTES))
    lister.conf.set(PARTITIONS, session.conf.get(PARTITIONS))
    listed = (
        lister.read.format("binaryFile")
        .option("recursiveFileLookup", "true")
        .load(pattern)
        .select(
            functions.col("path").alias("image"),
            functions.col("length").alias("bytes"),
            functions.col("modificationTime").alias("modified"),
        )
    )
    is_image = functions.col("image").rlike(IMAGE_NAME)
    counts = listed.agg(
        functions.count("*").alias("files"),
        functions.coalesce(functions.sum(is_image.cast("int")), functions.lit(0)).alias("images"),
    ).first()
    if not counts.images:
        raise UserError(
            f"{both(f'--images {uri}')}: {counted(counts.files, 'file')}, and no image; expected "
            f"files ending in {', '.join(image_files.SUFFIXES)}. Check the path."
        )
    every = place.files_at(pattern, MOST_MATCHES)
    hidden = None if every is None else max(0, every - counts.files)
    return Listing(listed.where(is_image), counts.images, counts.files - counts.images, hidden)


def left_out(found: Listing) -> List[str]:
    """Which files at the URI are left out, a line each."""
    lines = []
    if found.others:
        suffixes = ", ".join(image_files.SUFFIXES)
        lines.append(f"left out: {counted(found.others, 'file')} not ending in {suffixes}")
    if found.hidden:
        lines.append(
            f"left out: {counted(found.hidden, 'file')} that Spark does not list: empty ones, and "
            "those with a name in the path that begins with _ or . (rename photographs such as "
            "_DSC0001.JPG)"
        )
    return lines


def detected(session: Any, batch: List[Any], work: task.Work) -> Any:
    """DataFrame of tables.RESULT_DDL, not computed yet, of images as ``find`` lists them."""
    content = (
        session.read.format("binaryFile")
        .option("recursiveFileLookup", "true")
        # One file must not end the job: Output.write_batch notes those that are missing.
        .option("ignoreMissingFiles", "true")
        .option("ignoreCorruptFiles", "true")
        .load([escaped(row.image) for row in batch])
    )
    return content.mapInArrow(task.function(work), tables.RESULT_DDL)


def escaped(uri: str) -> str:
    """The pattern that matches this URI alone: Spark takes each path for a pattern."""
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", uri)


def plan(found: Listing, output: outputs.Output) -> Plan:
    """Which of the images are not in ``output`` yet."""
    done = output.table(outputs.IMAGES)
    if done is None:
        return Plan(found.images, found.count)
    before = done.select(
        "image", functions.col("bytes").alias("_bytes"), functions.col("modified").alias("_time")
    )
    is_other = (functions.col("bytes") != functions.col("_bytes")) | (
        functions.col("modified") != functions.col("_time")
    )
    changed = found.images.join(before, "image").where(is_other)
    remaining = found.images.join(before, "image", "left_anti")
    count = changed.count()
    return Plan(remaining, remaining.count(), count, changed.first().image if count else None)


def run(session: Any, planned: Plan, output: outputs.Output, work: task.Work) -> Dict[str, int]:
    """Detects in the remaining images, and writes each batch as soon as it is complete.

    Returns:
      the number of "images", "products" and "errors".

    Raises:
      UserError: as ``Output.write_batch``.
    """
    totals = dict.fromkeys(("images", "products", "errors"), 0)
    size = min(MOST_IMAGES, IMAGES_OF_A_CORE * session.sparkContext.defaultParallelism)
    batches = _batches(planned.remaining.sort("image").toLocalIterator(), size)
    for batch in progress(batches, "detecting", -(-planned.count // size), "batches"):
        counts = output.write_batch(detected(session, batch, work), batch)
        for name in totals:
            totals[name] += counts[name]
    return totals


def _batches(rows: Iterator[Any], size: int) -> Iterator[List[Any]]:
    batch: List[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
