"""Step 12 where Java or pyspark is missing, or is of another version."""

import importlib.util

import pytest

from shelfdet import UserError
from shelfdet.inference.spark import java


@pytest.fixture
def with_java(tmp_path, monkeypatch):
    """Makes a `java` that prints its version as the real ones do, and pyspark installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def with_java(words):
        program = tmp_path / "bin" / "java"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{words}' >&2\n")
        program.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    return with_java


@pytest.mark.parametrize(
    "words", ['openjdk version "17.0.15" 2025-04-15', 'java version "1.8.0_412"', 'version "11"']
)
def test_versions_that_spark_runs_on(with_java, words):
    with_java(words)
    java.check()


@pytest.mark.parametrize(
    "words, found",
    [
        ('openjdk version "21.0.3" 2024-04-16', "is Java 21; expected Java 8 to 17"),
        ('java version "1.7.0_80"', "is Java 7; expected"),
        ("Segmentation fault", "does not run as Java"),
    ],
)
def test_another_java_is_refused(with_java, words, found):
    with_java(words)
    with pytest.raises(UserError, match=found) as refused:
        java.check()
    assert "apt-get install openjdk-17-jre-headless" in str(refused.value)


def test_without_java_the_command_that_installs_it_is_named(with_java, monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="Java is not installed.* apt-get install openjdk-17"):
        java.check()


def test_without_pyspark_make_setup_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="make setup SPARK=1"):
        java.check()
