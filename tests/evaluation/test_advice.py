"""Advice after an evaluation, from made detections: its ground, its figures, and where none is."""

import pytest
import scored_images

from conftest import load_script
from shelfdet.evaluation import advice, matching

SIDE = 100  # of the made images
THRESHOLD = 0.5
# Twenty products of 10 x 10 in a row, and twenty of 3 x 10: narrower than a twentieth of the image.
PRODUCTS = [(left, 0, left + 10, 10) for left in range(0, 200, 10)]
NARROW = [(left, 50, left + 3, 60) for left in range(0, 200, 10)]


def made(truth, scored, truth_classes=None, classes=None, size_wh=(SIDE, SIDE)):
    """Matches of one image. ``scored``: list of (score, box)."""
    found = scored_images.found("a.jpg", [(score, *box) for score, box in scored], classes)
    matches = matching.match([scored_images.labelled("a.jpg", truth, truth_classes)], [found])
    return [image._replace(size_wh=size_wh) for image in matches]


def detected(boxes, score=0.9):
    return [(score, box) for box in boxes]


def moved(boxes, right=0, down=0):
    return [(x1 + right, y1 + down, x2 + right, y2 + down) for x1, y1, x2, y2 in boxes]


def test_no_advice_on_a_good_detector():
    # Two errors of each kind are too few.
    scored = detected(PRODUCTS[2:]) + detected(moved(PRODUCTS[:2], down=60))
    assert advice.advise(made(PRODUCTS, scored), THRESHOLD) == []


@pytest.mark.parametrize("truth, threshold", [([], THRESHOLD), (PRODUCTS, None)])
def test_no_advice_without_products_or_threshold(truth, threshold):
    assert advice.advise(made(truth, detected(PRODUCTS)), threshold) == []


def test_few_errors_among_many_products_are_no_ground():
    # Six are enough of 20 products (a share of 0.3) and not of 220 (0.027).
    many = [(left, 1000, left + 10, 1010) for left in range(0, 2000, 10)]
    background = detected(moved(PRODUCTS[:6], down=500))
    few = made(PRODUCTS, detected(PRODUCTS) + background)
    assert len(advice.advise(few, THRESHOLD)) == 1
    large = made(PRODUCTS + many, detected(PRODUCTS + many) + background)
    assert advice.advise(large, THRESHOLD) == []


def test_badly_placed():
    # 5 of 10 px lower: IoU 50 / 150.
    scored = detected(PRODUCTS[8:]) + detected(moved(PRODUCTS[:8], down=5))
    (line,) = advice.advise(made(PRODUCTS, scored), THRESHOLD)
    assert line.startswith("8 detections are badly placed (IoU under 0.5 with a product, 0.33 in")
    assert "make anchors" in line
    assert "more steps" in line
    assert "make eval TILES=2" in line


def test_tiles_that_were_used_are_not_advised_again():
    matches = made(PRODUCTS, detected(moved(PRODUCTS, down=5)))
    assert "TILES=4" in advice.advise(matches, THRESHOLD, tiles=3)[0]
    assert "make data TILES=2" in advice.advise(matches, THRESHOLD, tiles="auto")[0]


def test_missed_small_products():
    matches = made(PRODUCTS + NARROW, detected(PRODUCTS[1:] + NARROW[:11]))
    (line,) = advice.advise(matches, THRESHOLD)
    assert line.startswith(
        "9 of 20 small products (a side under 5% of the image's) are missed (45%, 5% of the "
        "others): use tiles (make eval TILES=2, with its other variables as before), or a larger "
        "input"
    )


def test_small_products_that_are_missed_as_often_as_others_need_no_tiles():
    assert advice.advise(made(PRODUCTS + NARROW, detected(PRODUCTS[:11] + NARROW[:11])), 0.5) == []


def test_missed_large_products_need_no_tiles():
    # The same boxes in a smaller image.
    matches = made(NARROW, detected(NARROW[:11]), size_wh=(40, 40))
    assert advice.advise(matches, THRESHOLD) == []
    assert len(advice.advise(made(NARROW, detected(NARROW[:11])), THRESHOLD)) == 1


def test_without_sizes_of_images_nothing_is_small():
    matches = made(NARROW, detected(NARROW[:11]), size_wh=None)
    assert advice.advise(matches, THRESHOLD) == []


def test_low_confidence():
    # Of 10 missed products, 6 have a detection below the threshold.
    scored = detected(PRODUCTS[:10]) + detected(PRODUCTS[10:16], 0.3)
    (line,) = advice.advise(made(PRODUCTS, scored), THRESHOLD)
    assert line.startswith(
        "6 of 10 missed products have a detection of low confidence (score 0.30 in the median, "
        "threshold 0.50): train for more steps"
    )


def test_low_confidence_of_few_of_the_missed_is_no_ground():
    # 5 of 20; the others have no detection at all.
    assert advice.advise(made(PRODUCTS, detected(PRODUCTS[:5], 0.3)), THRESHOLD) == []


def test_background():
    scored = detected(PRODUCTS) + detected(moved(PRODUCTS[:5], down=60))
    (line,) = advice.advise(made(PRODUCTS, scored), THRESHOLD)
    assert line.startswith("5 detections (20% of all) are where no product is labelled")
    assert "label those that are products" in line
    assert "images without products (EMPTY_IMAGES=keep)" in line


def test_more_background_than_right_is_a_network_that_has_learnt_little():
    scored = detected(PRODUCTS[:4]) + detected(moved(PRODUCTS, down=60))
    (line,) = advice.advise(made(PRODUCTS, scored), THRESHOLD)
    assert line.startswith(
        "20 detections (83% of all) are where no product is labelled, more than are right (4): "
        "train for more steps"
    )


def test_classes_that_are_confused():
    matches = made(
        PRODUCTS, detected(PRODUCTS), ["tea"] * 7 + ["milk"] * 13, ["milk"] * 18 + ["tea"] * 2
    )
    (line,) = advice.advise(matches, THRESHOLD)
    assert line.startswith(
        "9 detections have the class of another product, most often tea is detected as milk (7):"
    )
    assert "training images of these classes" in line


def test_at_most_three_lines_the_most_frequent_errors_first():
    scored = (
        detected(PRODUCTS[:14])
        + detected(moved(PRODUCTS[14:], down=5))  # 6 badly placed
        + detected(NARROW[:13], 0.2)  # 13 of 26 missed products, of which 20 are small
        + detected(moved(NARROW[:7], down=30))  # 7 background
    )
    lines = advice.advise(made(PRODUCTS + NARROW, scored), THRESHOLD)
    assert [line.split()[0] for line in lines] == ["20", "13", "7"]


def test_step_09_prints_it(tmp_path, capsys):
    for folder, line in (("truth", "product {} {} {} {}"), ("found", "product 0.9 {} {} {} {}")):
        boxes = PRODUCTS if folder == "truth" else PRODUCTS + moved(PRODUCTS, down=60)
        (tmp_path / folder).mkdir()
        text = "\n".join(line.format(*box) for box in boxes)
        (tmp_path / folder / "a.txt").write_text(text + "\n")
    arguments = ["--ground-truth", str(tmp_path / "truth"), "--detections", str(tmp_path / "found")]
    arguments += ["--format", "text", "--threshold", "0.5", "--resamples", "2"]
    load_script("09_score").main(arguments)
    assert "\nadvice: 20 detections (50% of all) are where no product" in capsys.readouterr().out
