"""The benchmark of step 12: what it measures, and its table."""

import pytest

from experiments import spark_benchmark
from experiments.measurement import Usage


def test_the_last_column_is_without_the_start_up(capsys):
    few, many = Usage(9, 10, 100), Usage(25, 30, 100)
    spark_benchmark.print_row("12", 2, 108, few, many)
    assert capsys.readouterr().out == "| 12 | 2 | 108 | 25 | 30 | 10 | 0.2000 |\n"


def test_too_few_images_are_refused(capsys):
    with pytest.raises(SystemExit):
        spark_benchmark.parse(["--count", "8"])
    assert "--count 8: expected more than 8" in capsys.readouterr().err
