"""Summaries: when a count is called unreliable, and what is advised."""

import numpy as np

from shelfdet.data.detections import Detections
from shelfdet.inference import summaries
from shelfdet.inference.confidence import Validated
from shelfdet.inference.graph_files import CountError
from shelfdet.inference.processed_images import ImageResult

VALIDATED = Validated(0.8, (0.1, 0.2))


def summary(name, score, side=30, size_wh=(200, 200)):
    """Of an image with two products of that score: 30 px in 200 are a scale of 0.15."""
    boxes_xyxy = np.array([[0, 0, side, side], [side, 0, 2 * side, side]], dtype=float)
    found = Detections(name, size_wh, boxes_xyxy, np.array([score, score]), ("product",) * 2)
    return summaries.summarise(ImageResult(name, found, 1, None), 0.5)


def test_a_summary_counts_products_and_measures_them():
    image = summary("a.jpg", 0.9)
    assert (image.boxes, image.products, image.size_wh) == (2, 2, (200, 200))
    assert abs(image.confidence - 0.9) < 1e-9 and abs(image.scale - 0.15) < 1e-9
    below = summary("a.jpg", 0.4)
    assert (below.boxes, below.products, below.scale) == (2, 0, None)


def test_images_as_certain_as_in_validation_have_no_note():
    images = [summary("a.jpg", 0.9), summary("b.jpg", 0.8)]
    assert [summaries.note(image, VALIDATED) for image in images] == ["", ""]
    assert summaries.confidence_report(images, VALIDATED) == ""


def test_without_figures_of_validation_images_nothing_is_said():
    images = [summary("a.jpg", 0.1)]
    assert summaries.note(images[0], None) == ""
    assert summaries.confidence_report(images, None) == ""


def test_uncertain_images_are_named_with_the_reason_and_the_remedy():
    images = [
        summary("good.jpg", 0.9),
        summary("other.jpg", 0.6),
        summary("small.jpg", 0.7, side=10),
        summary("strip.jpg", 0.75, size_wh=(500, 200)),
        summaries.summarise(ImageResult("bad.jpg", None, 1, "is empty"), 0.5),
    ]
    notes = [summaries.note(image, VALIDATED) for image in images]
    assert notes == ["", "uncertain", "uncertain: small products", "uncertain: strip", "not read"]
    assert summaries.confidence_report(images, VALIDATED).splitlines() == [
        "counts are unreliable in 3 of 4 images: confidence 0.70 (median), expected at least 0.80 "
        "as in most validation images of this graph",
        "  they are: other.jpg, small.jpg, strip.jpg",
        "  1 image of one shelf row: --pad-strips (make: PAD=1)",
        "  products are smaller than in validation in 1 image: --tiles auto (make: TILES=auto)",
        "  where that does not help, these are other products or other photographs than the graph "
        "knows: label some of them and train on them (docs/data.md)",
    ]


def test_nothing_found_at_all_is_uncertain():
    found = Detections("a.jpg", (200, 200), np.zeros((0, 4)), np.zeros(0), ())
    image = summaries.summarise(ImageResult("a.jpg", found, 1, None), 0.5)
    assert summaries.note(image, VALIDATED) == "uncertain"


def test_what_was_tried_is_not_advised_but_a_graph_of_more_products_is():
    images = [summary("small.jpg", 0.7, side=10), summary("strip.jpg", 0.75, size_wh=(500, 200))]
    report = summaries.confidence_report(
        images, VALIDATED, padded=True, tiled=True, other_graph="`make predict GRAPH=other`"
    )
    assert "pad" not in report and "--tiles" not in report
    # counts.csv names the same causes.
    assert "  1 image of one shelf row: margins were added\n" in report
    assert "smaller than in validation in 1 image: tiles were tried\n" in report
    assert "more kinds of products: `make predict GRAPH=other`" in report


def test_count_errors_are_named_with_their_datasets():
    one = [CountError("", 71, 37.3, 0.507)]
    assert summaries.count_error_report(one) == (
        "count MAE of this graph in its evaluation: 0.5 of 37 products an image (71 test images)"
    )
    two = [CountError("a", 1, 37.3, 1.0), CountError("b", 57, 152.5, 21.298)]
    assert summaries.count_error_report(two).endswith(
        "evaluation: 1.0 of 37 products an image (1 test image of a), 21.3 of 152 products an "
        "image (57 test images of b)"
    )
    assert summaries.count_error_report([]) == ""
    tiled = [CountError("", 57, 152.5, 18.8, "auto")]
    report = summaries.count_error_report(tiled)
    assert "in its evaluation, which used --tiles auto (make: TILES=auto): 18.8 of" in report
    assert "which used" not in summaries.count_error_report(tiled, "auto")


def test_without_a_remedy_none_is_referred_to():
    report = summaries.confidence_report([summary("a.jpg", 0.6)], VALIDATED)
    assert report.splitlines()[-1].startswith("  these may be other products or other photographs")
