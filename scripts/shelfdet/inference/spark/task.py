"""What runs on the workers: images' bytes in, rows of ``tables.RESULT`` out.

A worker needs Python 3.7 with TensorFlow 1.15, NumPy, Pillow and pyarrow; the driver sends this
package and the graph.
"""

from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple

import pyarrow

from shelfdet import UserError
from shelfdet.core import tensorflow_environment
from shelfdet.inference import predict
from shelfdet.inference.input_images import InputImage
from shelfdet.inference.spark import tables

# The detector of this process, by the SHA-256 of its graph: Spark runs one task after another in a
# process, and each begins with the session that it finds.
_detectors: Dict[str, Any] = {}


class Work(NamedTuple):
    """What a task needs for its images.

    graph: pyspark's broadcast of the graph's bytes.
    graph_name: for messages.
    graph_sha256: of the bytes.
    class_names: of the label map that the graph was trained with.
    settings: with skip_bad, and without a folder for drawings.
    """

    graph: Any
    graph_name: str
    graph_sha256: str
    class_names: predict.ClassNames
    settings: predict.Settings


def function(
    work: Work,
) -> Callable[[Iterable[pyarrow.RecordBatch]], Iterator[pyarrow.RecordBatch]]:
    """The function for Spark's ``mapInArrow``."""

    # Spark sends a function in a function by its code, and the rest of this module by its name.
    def detect(batches):
        return detect_batches(batches, work)

    return detect


def detect_batches(
    batches: Iterable[pyarrow.RecordBatch], work: Work
) -> Iterator[pyarrow.RecordBatch]:
    """Detects in images, batch by batch, so that memory does not grow with their number.

    Args:
      batches: of Spark's binaryFile: path, modificationTime, length and content.
      work: how.

    Yields:
      a batch of tables.RESULT for each of ``batches``.
    """
    for batch in batches:
        columns = {name: batch.column(index) for index, name in enumerate(batch.schema.names)}
        rows = []
        for path, content in zip(columns["path"], columns["content"]):
            rows.append(detect_one(path.as_py(), content.as_py(), work))
        found = {
            "image": columns["path"],
            "bytes": columns["length"],
            "modified": columns["modificationTime"],
        }
        yield pyarrow.RecordBatch.from_arrays(
            [
                found[field.name].cast(field.type)
                if field.name in found
                else pyarrow.array([row[field.name] for row in rows], field.type)
                for field in tables.RESULT
            ],
            schema=tables.RESULT,
        )


def detect_one(uri: str, content: bytes, work: Work) -> Dict[str, Any]:
    """Detects in one image, as step 08 does: the columns of ``tables.row_of``."""
    image = InputImage(uri, uri, content=content)
    run_network = _detector(work).detect
    try:
        result = predict.detect_image(image, run_network, work.class_names, work.settings)
    except UserError as error:  # the network fails on this image
        return tables.failed(str(error))
    return tables.row_of(result, work.settings.threshold, work.settings.validated)


def _detector(work: Work) -> Any:
    """The detector of this process, with one thread: Spark starts a task on each core."""
    if work.graph_sha256 not in _detectors:
        tensorflow_environment.prepare(threads=1)
        from shelfdet.inference import detector  # loads TensorFlow

        _detectors.clear()
        _detectors[work.graph_sha256] = detector.Detector(
            work.graph_name, threads=1, content=work.graph.value
        )
    return _detectors[work.graph_sha256]
