"""The folder that step 12 writes: two tables, and which batches of them are complete.

    _run.json                  the graph and the options, which all images in the folder share
    _batches/000001.json       the batch is complete: it is in both tables
    detections/batch=000001/   Parquet, one row a box
    images/batch=000001/       Parquet, one row an image
    _results/                  of the batch that is being processed

Spark and other readers of Parquet leave out names that begin with "_". A batch without its file in
_batches is of a run that was killed; the next run deletes it and processes its images again.
"""

import json
from typing import Any, Dict, List, Optional

from pyspark.sql import functions

from shelfdet import UserError
from shelfdet.core.make_variables import both
from shelfdet.core.text import listed
from shelfdet.data.formats.spark_tables import BATCHES, DETECTIONS, IMAGES, RUN
from shelfdet.inference.spark import tables
from shelfdet.inference.spark.storage import Storage

RESULTS = "_results"
VERSION = "detection_version"  # in the description of a run
NOT_READ = "cannot be read: deleted since it was listed, no permission, or a file of more than 2 GB"


class Output:
    """The folder at a URI."""

    def __init__(self, session: Any, uri: str, run: Dict[str, Any]) -> None:
        """Checks the folder, or begins a new one, and deletes incomplete batches.

        Args:
          session: a SparkSession.
          uri: the folder, which need not exist.
          run: how images are processed, values of JSON; an existing folder has to be of an equal
            run. "graph_sha256" becomes a column.

        Raises:
          UserError: the folder is of another run, holds something else, or cannot be used.
        """
        self._session = session
        self._storage = Storage(session)
        self.uri = uri.rstrip("/")
        self._run = json.loads(json.dumps(run))  # as it is read back: tuples are lists
        self._check_or_begin()
        self._complete = self._read_complete()
        self._delete_incomplete()

    def table(self, name: str) -> Optional[Any]:
        """The DataFrame of a table, DETECTIONS or IMAGES; None before the first batch."""
        if not self._complete:
            return None
        return self._session.read.parquet(self._at(name))

    def write_batch(self, results: Any, listed_images: List[Any]) -> Dict[str, int]:
        """Processes a batch of images and writes its rows; complete or, after a kill, not at all.

        Args:
          results: DataFrame of tables.RESULT_DDL, not computed yet. Images that cannot be read may
            be missing in it.
          listed_images: rows of tables.LISTED_DDL, of all images of the batch.

        Returns:
          its number of "images", "products", "errors", and "boxes" of any score.

        Raises:
          UserError: none of the images can be read, or another program writes the folder.
        """
        results.write.mode("overwrite").parquet(self._at(RESULTS))
        results = self._session.read.schema(tables.RESULT_DDL).parquet(self._at(RESULTS))
        images = self._with_unread(results.drop("boxes"), listed_images)
        name = f"{max(self._complete, default=0) + 1:06d}"
        boxes = results.select("image", "width", "height", functions.inline("boxes"))
        box_place = self._at(DETECTIONS, f"batch={name}")
        boxes.write.mode("overwrite").parquet(box_place)
        images = images.withColumn("graph_sha256", functions.lit(self._run["graph_sha256"]))
        place = self._at(IMAGES, f"batch={name}")
        images.coalesce(1).write.mode("overwrite").parquet(place)
        counts = self._session.read.parquet(place).agg(
            functions.count("*").alias("images"),
            functions.coalesce(functions.sum("products"), functions.lit(0)).alias("products"),
            functions.count("error").alias("errors"),
        )
        counts = counts.first().asDict()
        counts["boxes"] = self._session.read.parquet(box_place).count()
        assert counts["images"] == len(listed_images), (counts, len(listed_images))
        self._complete_batch(name, counts)
        return counts

    def _check_or_begin(self) -> None:
        found = self._storage.entries(self.uri)
        if not found:
            self._storage.write_text(self._at(RUN), json.dumps(self._run, indent=2))
            return
        if RUN not in [entry.name for entry in found]:
            names = [entry.name for entry in found]
            raise UserError(
                f"{both(f'--output {self.uri}')}: holds something else ({listed(names)}); expected "
                "a new or empty folder, or one that step 12 has written. Choose another."
            )
        try:
            before = dict(json.loads(self._storage.read_text(self._at(RUN))))
        except (ValueError, TypeError):
            before = {}
        if before.get(VERSION) != self._run.get(VERSION):
            raise UserError(
                f"{both(f'--output {self.uri}')}: was written by another version of step 12, which "
                "finds other boxes or writes other columns; expected one of this version. Choose "
                "another folder."
            )
        changed = [
            f"{key} ({before.get(key)} there, {self._run.get(key)} here)"
            for key in sorted(set(self._run) | set(before))
            if self._run.get(key) != before.get(key)
        ]
        if changed:
            raise UserError(
                f"{both(f'--output {self.uri}')}: is of a run that differs in "
                f"{listed(changed)}; expected the same graph and options, because all images of a "
                "table share them. Give the same, or another folder."
            )

    def _read_complete(self) -> List[int]:
        """The numbers of the complete batches."""
        found = self._storage.entries(self._at(BATCHES)) or []
        return [int(entry.name[:-5]) for entry in found if entry.name.endswith(".json")]

    def _delete_incomplete(self) -> None:
        self._storage.delete(self._at(RESULTS))
        complete = {f"batch={number:06d}" for number in self._complete}
        for table in (DETECTIONS, IMAGES):
            for entry in self._storage.entries(self._at(table)) or []:
                if entry.name.startswith("batch=") and entry.name not in complete:
                    self._storage.delete(entry.uri)

    def _with_unread(self, images: Any, listed_images: List[Any]) -> Any:
        """Adds rows with an error for the images that Spark could not read."""
        batch = self._session.createDataFrame(listed_images, tables.LISTED_DDL)
        unread = batch.join(images.select("image"), "image", "left_anti")
        if unread.count() == len(listed_images):
            raise UserError(
                f"{listed_images[0].image}: {NOT_READ}, and so are all {len(listed_images)} images "
                "of the batch. Nothing was written for them. Check the storage and the permission "
                "of the workers, then run the command again: it continues from here."
            )
        values = tables.failed(NOT_READ)
        columns = []
        for field in images.schema:
            column = functions.col(field.name)
            if field.name in values:
                column = functions.lit(values[field.name]).cast(field.dataType)
            columns.append(column.alias(field.name))
        return images.unionByName(unread.select(columns))

    def _complete_batch(self, name: str, counts: Dict[str, int]) -> None:
        if self._read_complete() != self._complete:
            raise UserError(
                f"{both(f'--output {self.uri}')}: another program has written a batch there; "
                "expected one at a time. Wait for its end, then run the command again."
            )
        self._storage.write_text(self._at(BATCHES, f"{name}.json"), json.dumps(counts))
        self._complete.append(int(name))
        self._storage.delete(self._at(RESULTS))

    def _at(self, *names: str) -> str:
        return "/".join((self.uri,) + names)
