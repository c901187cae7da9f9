"""Findings: their lines in the config, their order, and how they are printed."""

from shelfdet.config import findings

TEXT = """\
# model {
model { ssd {
  num_classes: 1  # num_classes: 9 {
} }
train_config {
  data_augmentation_options {
    random_horizontal_flip { }
  }
  data_augmentation_options {
    ssd_random_crop { operations { max_area: 1 } }
  }
  fine_tune_checkpoint: "a { b"
  num_steps: 5
}
"""


def test_line_numbers_with_comments_strings_and_repeated_blocks():
    found = findings.Findings("a.config", TEXT)
    crop = "train_config.data_augmentation_options[1].ssd_random_crop.operations[0]"
    found.error("model.ssd.num_classes", "", "")
    found.error(crop + ".max_area", "", "")
    found.error("train_config.num_steps", "", "")
    found.error("train_config.batch_size", "", "")  # not in the file: the line of its block
    found.error("eval_config.metrics_set", "", "")  # nor is its block
    assert [one.line for one in found] == [3, 10, 13, 5, None]


def test_errors_come_first_and_are_counted():
    found = findings.Findings("a.config", TEXT)
    found.note("model", "a", "b")
    found.warning("model.ssd", "a", "b", "c")
    found.error("train_config.num_steps", "a", "b", "c")
    assert [one.severity for one in found] == [findings.ERROR, findings.WARNING, findings.NOTE]
    assert found.count(findings.WARNING) == 1
    assert found.has("train_config")
    assert not found.has("train_config.num")


def test_a_finding_is_printed_with_place_key_and_lines_to_write():
    found = findings.Findings("/nowhere/a.config", TEXT)
    found.error("train_config.num_steps", "5", "more", "num_steps: 500\ntotal_steps: 500")
    found.warning("class", "milk", "product", path="/nowhere/train_labels.csv")
    error, warning = found
    assert findings.as_text(error) == (
        "error /nowhere/a.config:13\n"
        "  key       train_config.num_steps\n"
        "  found     5\n"
        "  expected  more\n"
        "  write     num_steps: 500\n"
        "            total_steps: 500"
    )
    assert findings.as_text(warning) == (
        "warning /nowhere/train_labels.csv\n"
        "  key       class\n"
        "  found     milk\n"
        "  expected  product"
    )
