"""file_checks.py: what is wrong with a label map, and the line to write."""

import pytest

from shelfdet.config import file_checks, findings, pipeline
from shelfdet.core import paths

LABEL_MAP = paths.shown(paths.LABEL_MAP)


def check_label_map(tmp_path, content):
    """The findings where the label map of the included config has ``content``."""
    path = tmp_path / LABEL_MAP
    path.parent.mkdir(parents=True)
    path.write_text(content)
    config = pipeline.read(paths.SHIPPED_CONFIG)
    found = findings.Findings(tmp_path / "a.config", "")
    label_map = file_checks.check_label_maps(config, tmp_path, found)
    return label_map, list(found)


@pytest.mark.parametrize(
    "content, words",
    [
        ("item { id: 1 name: product }", "line 1: "),
        ("item { id: 0 name: 'product' }", "id 0 of 'product'; expected a whole number from 1"),
        ("", "no item; expected item { id: 1 name: 'product' }"),
    ],
)
def test_a_wrong_label_map_is_named_with_what_to_write(tmp_path, content, words):
    label_map, (finding,) = check_label_map(tmp_path, content)
    assert label_map is None
    assert finding.severity == findings.ERROR
    assert finding.path == str(tmp_path / LABEL_MAP)
    assert words in finding.found
    assert finding.write == "item { id: 1 name: 'product' }\none item for each class"


def test_a_right_label_map_is_without_a_finding(tmp_path):
    assert check_label_map(tmp_path, "item { id: 1 name: 'product' }") == ({"product": 1}, [])
