"""Four ways to count products: thresholds and calibration by hand, and what the table prints."""

import json

import numpy as np
import pytest

from experiments import count_choices, counting
from shelfdet import UserError
from shelfdet.data import labels
from shelfdet.data.detections import Detections
from shelfdet.evaluation import matching

SIDE = 10  # of a product; they stand 20 px apart


def shelf(name, products, found):
    """(ground truth, detections): ``found`` holds (position, score), position 9 has no product."""
    places = np.arange(products)[:, None] * [20.0, 0.0, 20.0, 0.0] + [0, 0, SIDE, SIDE]
    truth = labels.LabelledImage(name, (200, 10), places, ("product",) * products)
    at = np.array([place for place, _ in found], dtype=float)
    boxes_xyxy = at[:, None] * [20.0, 0.0, 20.0, 0.0] + [0, 0, SIDE, SIDE]
    scores = np.array([score for _, score in found])
    return truth, Detections(name, (200, 10), boxes_xyxy, scores, ("product",) * len(found))


def matched(*shelves):
    truth, found = zip(*(shelf(f"{index}.jpg", *one) for index, one in enumerate(shelves)))
    return list(matching.match(truth, found))


def test_calibration_is_the_share_of_true_positives_and_does_not_fall():
    # By rising score: false, true, false, true, true. True and false at 0.2 and 0.3 are pooled.
    matches = matched((3, [(0, 0.9), (1, 0.8), (9, 0.3), (2, 0.2)]), (1, [(9, 0.1)]))
    scores, shares = counting.calibration(matches)
    assert scores.tolist() == [0.1, 0.2, 0.8]
    assert shares.tolist() == [0.0, 0.5, 1.0]


def test_equal_scores_have_one_share():
    matches = matched((1, [(0, 0.5)]), (1, [(9, 0.5)]), (1, [(9, 0.5)]), (1, [(0, 0.5)]))
    scores, shares = counting.calibration(matches)
    assert (scores.tolist(), shares.tolist()) == ([0.5], [0.5])


def test_without_detections_in_other_images_nothing_is_counted():
    others = matched((2, []), (1, []))
    (image,) = matched((1, [(0, 0.9)]))
    assert counting.errors_of([image], others).tolist() == [[-1.0] * 4]


def test_an_image_is_counted_by_what_the_others_say():
    others = matched((1, [(0, 0.6), (9, 0.4)]), (1, [(0, 0.6), (9, 0.4)]))
    (image,) = matched((2, [(0, 0.7), (1, 0.5), (9, 0.2)]))
    # The best F1 and the highest score with no wrong count are at 0.6. Counts are right from above
    # 0.4 to 0.6; in the middle, 0.5, is step 09's threshold. Calibrated: 1 from 0.6 on, else 0.
    assert counting.errors_of([image], others).tolist() == [[-1.0, -1.0, 0.0, -1.0]]


def test_the_highest_score_with_the_smallest_count_error():
    # Wrong counts: 1 each at 0.9, none at 0.6, 1 at 0.5, 3 at 0.2.
    assert (
        counting.smallest_count_error(
            matched(
                (2, [(0, 0.9), (1, 0.6), (9, 0.5), (8, 0.2)]), (2, [(0, 0.9), (1, 0.6), (9, 0.2)])
            )
        )
        == 0.6
    )
    # 2 products, found at 0.9 and 0.3, and none: one wrong count at 0.9, two at 0.7, one at 0.3.
    assert counting.smallest_count_error(matched((2, [(0, 0.9), (1, 0.3)]), (0, [(9, 0.7)]))) == 0.9


def write(folder, matches):
    truth = [
        labels.LabelledImage(m.filename, m.size_wh, m.truth_xyxy, tuple(m.truth_classes))
        for m in matches
    ]
    labels.write_labels(truth, folder / "val_labels.csv")
    images = [
        {"id": index, "file_name": m.filename, "width": m.size_wh[0], "height": m.size_wh[1]}
        for index, m in enumerate(matches)
    ]
    found = [
        {
            "image_id": index,
            "category_id": 1,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for index, m in enumerate(matches)
        for box, score in zip(m.boxes_xyxy.tolist(), m.scores.tolist())
    ]
    content = {"images": images, "annotations": found, "categories": [{"id": 1, "name": "product"}]}
    (folder / "found.json").write_text(json.dumps(content))
    return [
        f"--ground-truth={folder / 'val_labels.csv'}",
        f"--detections={folder / 'found.json'}",
    ]


def test_the_table(tmp_path, capsys):
    # Of two images each half is fitted to the other image: 0.7 counts 1 product too many in the
    # second, 0.9 one too few in the first.
    shelves = [(2, [(0, 0.9), (1, 0.7)]), (1, [(0, 0.9), (9, 0.7)])]
    count_choices.main(write(tmp_path, matched(*shelves)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 images, 1.5 products each"
    assert lines[-4].split() == ["F1", "1.000", "0.000", "1.000"]
    assert lines[-3].split() == ["count", "MAE", "1.000", "0.000", "1.000"]


def test_halves_are_fitted_to_the_others():
    # Whatever is divided, both halves have right counts at 0.8.
    matches = matched(*[(1, [(0, 0.8), (9, 0.3)])] * 5)
    errors = counting.errors_of_halves(matches, repeats=7, seed=0)
    assert errors.shape == (7 * 3, 4)
    assert not errors.any()


def test_one_image_is_refused(tmp_path):
    with pytest.raises(UserError, match="1 image; expected at least 2"):
        count_choices.main(write(tmp_path, matched((1, [(0, 0.9)]))))
