"""Files and folders at a URI of any scheme that Spark reads, by Hadoop's FileSystem."""

import pathlib
import re
from typing import Any, List, NamedTuple, Optional

from py4j.protocol import Py4JJavaError

from shelfdet import UserError

# The package that brings the connector of a scheme; pyspark 3.4.4 has Hadoop 3.3.4.
CONNECTORS = {
    "s3a": "org.apache.hadoop:hadoop-aws:3.3.4",
    "gs": "com.google.cloud.bigdataoss:gcs-connector:hadoop3-2.2.11",
    "abfs": "org.apache.hadoop:hadoop-azure:3.3.4",
    "abfss": "org.apache.hadoop:hadoop-azure:3.3.4",
    "wasb": "org.apache.hadoop:hadoop-azure:3.3.4",
    "wasbs": "org.apache.hadoop:hadoop-azure:3.3.4",
}


class Entry(NamedTuple):
    """A file or folder in a folder. uri: its path, with the scheme."""

    name: str
    uri: str


class Storage:
    """The file systems that a Spark session knows."""

    def __init__(self, session: Any) -> None:
        """``session``: a SparkSession."""
        self._hadoop = session._jvm.org.apache.hadoop
        self._read_all = session._jvm.org.apache.commons.io.IOUtils.toString
        self._configuration = session._jsc.hadoopConfiguration()

    def qualified(self, uri: str) -> str:
        """``uri`` with its scheme, and as an absolute path.

        Raises:
          UserError: no connector for its scheme, or its address is wrong.
        """
        path, file_system = self._at(uri)
        return path.makeQualified(
            file_system.getUri(), file_system.getWorkingDirectory()
        ).toString()

    def local_path(self, uri: str) -> Optional[pathlib.Path]:
        """The path of a URI on this machine; None where it is elsewhere."""
        qualified = self.qualified(uri)
        if not qualified.startswith("file:"):
            return None
        return pathlib.Path("/" + qualified[len("file:") :].lstrip("/"))

    def exists(self, uri: str) -> bool:
        """Whether there is a file or folder of this name, which is then not taken for a pattern."""
        path, file_system = self._at(uri)
        try:
            return file_system.exists(path)
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error

    def entries(self, uri: str) -> Optional[List[Entry]]:
        """What is in a folder, by name; None where there is no such folder.

        Raises:
          UserError: it cannot be read, or is a file.
        """
        path, file_system = self._at(uri)
        try:
            if not file_system.exists(path):
                return None
            if file_system.isFile(path):
                raise UserError(f"{uri}: is a file; expected a folder, or a name that is free.")
            found = [status.getPath() for status in file_system.listStatus(path)]
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error
        return sorted(Entry(entry.getName(), entry.toString()) for entry in found)

    def files_at(self, uri: str, most: int) -> Optional[int]:
        """The number of all files at a path or pattern, hidden ones, too.

        Args:
          uri: a file, a folder, which is counted with its subfolders, or a pattern.
          most: None is returned where the pattern matches more than this.
        """
        path, file_system = self._at(uri)
        try:
            matches = file_system.globStatus(path)
            if matches is None:
                return 0
            if len(matches) > most:
                return None
            return sum(
                file_system.getContentSummary(status.getPath()).getFileCount()
                if status.isDirectory()
                else 1
                for status in matches
            )
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error

    def read_text(self, uri: str) -> str:
        """The text of a small file in UTF-8."""
        path, file_system = self._at(uri)
        try:
            stream = file_system.open(path)
            try:
                return self._read_all(stream, "UTF-8")
            finally:
                stream.close()
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error

    def write_text(self, uri: str, text: str) -> None:
        """Writes a small file beside its place and moves it there, over no other one."""
        path, file_system = self._at(uri)
        partial = path.suffix(".partial")
        try:
            stream = file_system.create(partial, True)
            stream.write(bytearray(text.encode("utf-8")))
            stream.close()
            moved = file_system.rename(partial, path)
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error
        if not moved:
            raise UserError(f"{uri}: cannot be written; another program may have just written it.")

    def delete(self, uri: str) -> None:
        """Deletes a file or folder, if it is there."""
        path, file_system = self._at(uri)
        try:
            file_system.delete(path, True)
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error

    def _at(self, uri: str) -> Any:
        """Hadoop's Path of ``uri``, and its FileSystem."""
        try:
            path = self._hadoop.fs.Path(uri)
            return path, path.getFileSystem(self._configuration)
        except Py4JJavaError as error:
            raise UserError(_failed(uri, error)) from error


def _failed(uri: str, error: Py4JJavaError) -> str:
    """The message for what Hadoop raised at ``uri``."""
    reason = reason_of(error)
    scheme = uri.split(":", 1)[0]
    if re.search(r"No FileSystem for scheme|ClassNotFoundException: Class \S*\.fs\.", reason):
        package = CONNECTORS.get(scheme)
        if package is None:
            return (
                f"{uri}: Spark has no connector for the scheme {scheme}; expected file:, hdfs:, or "
                f"one with a connector: {', '.join(sorted(CONNECTORS))}. Correct the scheme (s3a "
                "for s3)."
            )
        return (
            f"{uri}: Spark has no connector for the scheme {scheme}; expected its package. Give "
            f"it: export PYSPARK_SUBMIT_ARGS='--packages {package} pyspark-shell', then run the "
            "command again."
        )
    return (
        f"{uri}: cannot be used ({reason}). Check the path, its permissions and, for an object "
        "store, the credentials."
    )


def reason_of(error: Py4JJavaError) -> str:
    """The first line of a Java exception: its class without the package, and its message."""
    text = str(error.java_exception.toString()).strip().split("\n")[0]
    return re.sub(r"\b(?:[a-z]\w*\.)+([A-Z]\w*(?:Exception|Error): )", r"\1", text, count=1)
