"""The tables of step 12 where they cannot be read; test_score_tables.py reads some."""

import importlib.util

import pytest

from shelfdet import UserError
from shelfdet.core import files
from shelfdet.data import detections


def test_without_pyarrow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    files.write_text(tmp_path / "tables" / "_run.json", '{"graph_sha256": "a"}')
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="tables: reading Parquet needs pyarrow, .* `make setup SP"):
        detections.read_detections(tmp_path / "tables", "parquet")


@pytest.mark.parametrize("name", ["test_detections.json", "nothing"])
def test_what_is_no_folder_of_step_12_is_refused(tmp_path, name):
    files.write_text(tmp_path / "test_detections.json", "{}")
    with pytest.raises(UserError, match=f"{name}: holds no _run.json; expected a folder that step"):
        detections.read_detections(tmp_path / name, "parquet")
