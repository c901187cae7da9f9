"""The benchmark of step 12: what it measures, and its table."""

import subprocess
import sys
import time

import pytest

from experiments import spark_benchmark

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_the_cpu_seconds_are_those_of_all_processes_of_a_session():
    starter = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}]); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{starter}\n"],
        start_new_session=True,
        stdin=subprocess.PIPE,
    )
    used = {}
    deadline = time.monotonic() + 60
    try:
        while sum(used.values()) < 0.3:
            assert time.monotonic() < deadline
            used.update(spark_benchmark.cpu_seconds(process.pid))
            time.sleep(0.01)
    finally:
        process.communicate(b"\n")
    assert process.pid in used and len(used) == 2
    assert spark_benchmark.cpu_seconds(process.pid) == {}


def test_the_last_column_is_without_the_start_up(capsys):
    few, many = spark_benchmark.Usage(9, 10), spark_benchmark.Usage(25, 30)
    spark_benchmark.print_row("12", 2, 108, few, many)
    assert capsys.readouterr().out == "| 12 | 2 | 108 | 25 | 30 | 10 | 0.2000 |\n"


def test_too_few_images_are_refused(capsys):
    with pytest.raises(SystemExit):
        spark_benchmark.parse(["--count", "8"])
    assert "--count 8: expected more than 8" in capsys.readouterr().err
