"""Whether pyspark and a Java that it runs on are installed. Needs neither of them."""

import importlib.util
import os
import re
import shutil
import subprocess
from typing import Optional

from shelfdet import UserError

# Of Spark 3.4: https://spark.apache.org/docs/3.4.4/#downloading. On Java 18 and later it fails when
# it allocates memory for Arrow.
LOWEST = 8
HIGHEST = 17
INSTALL = "sudo apt-get install openjdk-17-jre-headless"
SECONDS = 30  # for `java -version`, which takes less than one


def check() -> None:
    """Refuses a machine on which Spark cannot start.

    Raises:
      UserError: pyspark is not installed, or there is no Java, or one of another version.
    """
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "pyspark is not installed; expected the packages of scripts/requirements-spark.txt. "
            "Run `make setup SPARK=1`."
        )
    program = find()
    if program is None:
        raise UserError(
            "Java is not installed: there is no `java` on PATH, and JAVA_HOME is not set; expected "
            f"Java {HIGHEST}, on which Spark runs. Install it: {INSTALL}"
        )
    found = version(program)
    if found is None:
        raise UserError(
            f"{program}: does not run as Java; expected Java {HIGHEST}. Install it ({INSTALL}), or "
            "correct JAVA_HOME."
        )
    if not LOWEST <= found <= HIGHEST:
        raise UserError(
            f"{program}: is Java {found}; expected Java {LOWEST} to {HIGHEST}, on which Spark 3.4 "
            f"runs. Install Java {HIGHEST} ({INSTALL}), and set JAVA_HOME to its folder."
        )


def find() -> Optional[str]:
    """The `java` that Spark starts: that of JAVA_HOME where it is set, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        return os.path.join(home, "bin", "java")
    return shutil.which("java")


def version(program: str) -> Optional[int]:
    """The version of a `java` (8, 11, 17, ...); None where it does not say one."""
    try:
        done = subprocess.run(
            [program, "-version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # 'openjdk version "17.0.15"'; Java 8 calls itself "1.8.0_412".
    stated = re.search(r'version "(?:1\.)?(\d+)', done.stdout.decode("utf-8", "replace"))
    return int(stated.group(1)) if stated and not done.returncode else None
