"""What a run notes of its config and its images."""

import re

from runs import CONFIG, config_of_random_weights, make_run, make_weights

from shelfdet.config import findings
from shelfdet.core import paths
from shelfdet.training import first_weights, plan, run_notes


def test_images_of_the_first_weights_are_noted(tmp_path):
    start = make_weights(tmp_path / "graph")
    folder = make_run(tmp_path / "run", 10)
    (start / "trained_on.json").write_text(
        '{"train": ["b.JPG"], "val": ["a.JPG"], "before": ["c.JPG"]}'
    )
    config = plan.read_config(CONFIG, start)
    assert config.train_config.fine_tune_checkpoint == str(start / "model.ckpt")
    seen = run_notes.images_seen(config, folder, resumes=False)
    assert sorted(seen["before"]) == ["a.JPG", "b.JPG", "c.JPG"]


def test_images_that_go_on_validating_are_not_noted_as_seen(tmp_path):
    start = make_weights(tmp_path / "graph")
    (start / "trained_on.json").write_text(
        '{"train": ["b.JPG"], "val": ["a.JPG", "d.JPG"], "before": ["c.JPG"]}'
    )
    text = re.sub(r'"[^"]*/(\w+\.record)"', rf'"{tmp_path}/\1"', CONFIG.read_text())
    (tmp_path / "a.config").write_text(text)
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    for split, names in (("train", "xd"), ("val", "ab"), ("test", "ce")):
        rows = "".join(f"{name}.JPG,9,9,product,1,1,5,5\n" for name in names)
        (tmp_path / f"{split}_labels.csv").write_text(header + rows)
    config = plan.read_config(tmp_path / "a.config", start)
    seen = run_notes.images_seen(config, tmp_path / "run", resumes=False)
    # a.JPG chose the checkpoint of the first weights, and chooses that of this training.
    assert sorted(seen["before"]) == ["b.JPG", "c.JPG", "d.JPG"]

    found = findings.Findings("a.config", text)
    label_files = {name: [tmp_path / f"{name}_labels.csv"] for name in ("train", "val", "test")}
    first_weights.check(config, label_files, tmp_path / "run", found)
    (finding,) = found
    assert finding.severity == findings.WARNING
    assert "1 validation image (b.JPG) and 1 test image (c.JPG)" in finding.found
    assert "`make eval` will refuse" in finding.expected
    first_weights.check(config, {"val": label_files["train"][:0]}, tmp_path / "run", found)
    assert len(list(found)) == 1


def test_images_of_the_first_weights_stay_noted_when_a_run_resumes(tmp_path):
    folder = make_run(tmp_path / "run", 10)
    (folder / "trained_on.json").write_text('{"before": ["a.JPG"]}')
    config = plan.read_config(config_of_random_weights(tmp_path))  # without --start-from
    assert run_notes.images_seen(config, folder, resumes=True)["before"] == {"a.JPG": ""}
    assert "before" not in run_notes.images_seen(config, folder, resumes=False)
    assert "before" not in run_notes.images_seen(config, tmp_path, resumes=True)


def test_images_of_a_best_checkpoint_are_noted_one_folder_up(tmp_path):
    (tmp_path / "trained_on.json").write_text('{"train": ["b.JPG"], "val": ["a.JPG"]}')
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model.ckpt-7.index").write_text("")
    config = plan.read_config(CONFIG, tmp_path / "best" / "model.ckpt-7")
    seen = run_notes.images_seen(config, tmp_path / "run", resumes=False)
    assert sorted(seen["before"]) == ["a.JPG", "b.JPG"]


def test_a_byte_order_mark_is_left_out_of_the_copied_config(tmp_path):
    config_path = tmp_path / "a.config"
    config_path.write_bytes(b"\xef\xbb\xbf" + CONFIG.read_bytes())
    assert run_notes.config_text(config_path, plan.read_config(config_path)) == CONFIG.read_text()


def test_the_images_of_every_dataset_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ANNOTATIONS", tmp_path)
    second = tmp_path / "second"
    second.mkdir()
    for folder, name in ((tmp_path, "a.JPG"), (second, "b.JPG")):
        for split in ("train", "val"):
            (folder / f"{split}_labels.csv").write_text(
                "filename,width,height,class,xmin,ymin,xmax,ymax\n"
                f"{split}_{name},9,9,product,1,1,5,5\n"
            )
    text = re.sub(
        r'input_path: ".*?/(\w+)\.record"',
        rf'input_path: "{second}/\1.record" input_path: "{tmp_path}/\1.record"',
        CONFIG.read_text(),
    )
    (tmp_path / "a.config").write_text(text)
    config = plan.read_config(tmp_path / "a.config")
    images = run_notes.dataset_images(config)
    assert {split: sorted(names) for split, names in images.items()} == {
        "train": ["second/train_b.JPG", "train_a.JPG"],
        "val": ["second/val_b.JPG", "val_a.JPG"],
    }
