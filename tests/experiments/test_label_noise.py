"""Label noise: the AP that two label sets allow, for differences whose IoU is known."""

import numpy as np
import pytest

from experiments import label_noise
from shelfdet import UserError
from shelfdet.core import boxes
from shelfdet.data import labels


def shelf():
    """Three rows of nine products of 60 x 90 pixels with gaps."""
    corners = np.array(
        [(20 + 75 * column, 30 + 140 * row) for row in range(3) for column in range(9)], dtype=float
    )
    return np.hstack([corners, corners + (60, 90)])


def write(path, first_name, first_xyxy, second_name, second_xyxy):
    images = [
        labels.LabelledImage(name, (900, 640), boxes_xyxy, ("product",) * len(boxes_xyxy))
        for name, boxes_xyxy in ((first_name, first_xyxy), (second_name, second_xyxy))
    ]
    labels.write_labels(images, path)


def printed(tmp_path, capsys, second_xyxy):
    """(the four rows of figures, all lines) for a shelf and its second set of labels."""
    path = tmp_path / "a_labels.csv"
    write(path, "C1_P01_N1_S3_1.JPG", shelf(), "C1_P01_N1_S3_2.JPG", second_xyxy)
    label_noise.main(["--labels", str(path)])
    lines = capsys.readouterr().out.splitlines()
    figures = [[float(number) for number in line.split()[-4:]] for line in lines[-4:]]
    return figures, lines


def test_equal_labels_allow_everything(tmp_path, capsys):
    figures, lines = printed(tmp_path, capsys, shelf())
    assert figures == [[1.0] * 4] * 4
    assert lines[0].startswith("1 pair of images of one shelf; 1 of them has")
    assert "27 products with two labels" in lines[0]


def test_wider_and_narrower_labels_limit_ap_as_worked_out_by_hand(tmp_path, capsys):
    """Labels alternately 20 % wider and narrower by a sixth, same centre: IoU 5/6 each time."""
    second = shelf()
    middle = (second[:, 0] + second[:, 2]) / 2
    half = (second[:, 2] - second[:, 0]) / 2
    factor = np.where(np.arange(len(second)) % 2, 1.2, 1 / 1.2)
    second[:, 0] = middle - half * factor
    second[:, 2] = middle + half * factor
    np.testing.assert_allclose(np.diag(boxes.iou(shelf(), second)), 5 / 6)
    figures, lines = printed(tmp_path, capsys, second)
    assert any("a mean IoU of 0.833 (median 0.833)" in line for line in lines)
    # 5/6 passes 0.50 to 0.80, seven of COCO's ten IoUs. With the differences divided by sqrt(2), a
    # width of 1 against 1.2 becomes 1.2 - 0.2 / sqrt(2) = 1.0586, IoU 0.882, which passes 0.85 too;
    # against 1 / 1.2 it becomes 1 / 1.2 + (1 - 1 / 1.2) / sqrt(2) = 0.9512, IoU 0.876. The centres
    # agree, so both fits are the same.
    assert figures == [[0.7, 1, 1, 0]] * 2 + [[0.8, 1, 1, 0]] * 2


def test_labels_without_a_second_set_are_refused(tmp_path):
    path = tmp_path / "a_labels.csv"
    write(path, "one.JPG", shelf(), "two.JPG", shelf())
    with pytest.raises(
        UserError,
        match="no two images of one shelf whose labels can be registered; expected file names that",
    ):
        label_noise.main(["--labels", str(path)])
