"""The mean of the weights of graphs: by hand, its images, and what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import mean_of_graphs
from shelfdet import UserError

CONFIG = "model { ssd { num_classes: %d } }"


def write_graph(folder, weight, trained_on, classes=1):
    """The folder of a graph with one weight."""
    folder.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable("weight", initializer=np.float32([weight]))]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(folder / "model.ckpt"))
    (folder / "pipeline.config").write_text(CONFIG % classes)
    (folder / "label_map.pbtxt").write_text('item { id: 1 name: "product" }')
    (folder / "trained_on.json").write_text(json.dumps(trained_on))


@pytest.fixture
def graphs(tmp_path):
    write_graph(tmp_path / "first", 1, {"train": ["a", "b"], "val": ["v", "w"], "before": ["c"]})
    write_graph(tmp_path / "second", 4, {"train": ["a", "d"], "val": ["v"], "before": ["e"]})
    return [str(tmp_path / "first"), str(tmp_path / "second")]


def test_weights_are_averaged_and_all_images_are_noted(graphs, tmp_path, capsys):
    output = tmp_path / "mean"
    mean_of_graphs.main([*graphs, "--output", str(output)])
    assert tf.train.load_checkpoint(str(output / "model.ckpt")).get_tensor("weight") == [2.5]
    # w chose the first graph, and does not validate the second.
    noted = json.loads((output / "trained_on.json").read_text())
    assert {use: sorted(images) for use, images in noted.items()} == {
        "train": ["a", "d"],
        "val": ["v"],
        "before": ["a", "b", "c", "e", "w"],
    }
    assert (output / "pipeline.config").read_text() == CONFIG % 1
    assert (output / "label_map.pbtxt").is_file()
    assert f"written: {output / 'model.ckpt'}, the mean of 2" in capsys.readouterr().out


def test_graphs_of_different_networks_have_no_mean(graphs, tmp_path):
    write_graph(tmp_path / "other", 1, {}, classes=3)
    expected = "other: its network is not that of .*first: model.ssd.num_classes was 1 and is 3"
    with pytest.raises(UserError, match=expected):
        mean_of_graphs.main([*graphs, str(tmp_path / "other"), "--output", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()


def test_a_folder_without_weights_is_named(graphs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty/model.ckpt.index: no such file"):
        mean_of_graphs.main([graphs[0], str(tmp_path / "empty"), "--output", str(tmp_path / "m")])


def test_a_graph_whose_images_are_unknown_is_named(graphs, tmp_path):
    (tmp_path / "first" / "trained_on.json").unlink()
    with pytest.raises(UserError, match="first: holds no trained_on.json; expected a graph of ste"):
        mean_of_graphs.main([*graphs, "--output", str(tmp_path / "mean")])


def test_an_existing_folder_is_not_replaced(graphs, tmp_path):
    with pytest.raises(UserError, match="--output .*first: exists; expected the name of a new fol"):
        mean_of_graphs.main([*graphs, "--output", graphs[0]])


def test_one_graph_is_no_mean(graphs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        mean_of_graphs.main([graphs[0], "--output", str(tmp_path / "mean")])
    assert "expected 2 folders of graphs at least, found 1" in capsys.readouterr().err
