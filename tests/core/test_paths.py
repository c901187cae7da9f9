"""paths.py: which graph is the default, files of a split, and how paths appear in messages."""

import pathlib

from shelfdet.core import paths


def test_the_default_graph_is_the_users_own_if_it_was_exported_else_the_shipped_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "GRAPHS", tmp_path)
    exported = tmp_path / paths.DEFAULT_CONFIG.stem
    assert paths.default_graph() == paths.SHIPPED_GRAPH
    exported.mkdir()
    assert paths.default_graph() == paths.SHIPPED_GRAPH, "an export without a graph does not count"
    (exported / paths.GRAPH_FILE).touch()
    assert paths.default_graph() == exported


def test_paths_are_shown_from_the_repository_root_where_they_are_inside(tmp_path):
    assert paths.shown(paths.METRICS) == "metrics.json"
    assert paths.shown(tmp_path) == str(tmp_path.resolve())


def test_the_label_file_of_a_record_and_the_record_of_a_label_file():
    folder = pathlib.Path("somewhere")
    assert paths.labels_in(folder, "val") == folder / "val_labels.csv"
    assert paths.labels_beside(folder / "val.record") == folder / "val_labels.csv"
    assert paths.record_beside(folder / "val_labels.csv") == folder / "val.record"
    assert paths.record_beside(folder / "boxes.csv") is None
    assert paths.labels("test") == paths.labels_beside(paths.record("test"))
    assert paths.labels("test", "mine") == paths.ANNOTATIONS / "mine" / "test_labels.csv"


def test_an_included_graph_is_known_by_its_real_path(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(paths.SHIPPED_GRAPH)
    assert paths.is_shipped(link) and paths.is_shipped(paths.SHIPPED_FAST_GRAPH)
    assert not paths.is_shipped(tmp_path)
