"""paths.py: which graph is the default, and how paths appear in messages."""

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
