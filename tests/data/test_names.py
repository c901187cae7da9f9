"""Names in annotations that differ from those of the images: matched where one can be meant."""

import collections

import pytest

from shelfdet.data.checks import names
from shelfdet.data.formats import ImageBoxes


def annotated(*written):
    return collections.OrderedDict((name, ImageBoxes(name, "line 1", None, [])) for name in written)


@pytest.mark.parametrize(
    "written, existing",
    [
        ("A.JPG", "a.jpg"),
        ("a.jpg", "A.JPEG"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("cafe\u0301.jpg", "Caf\u00e9.jpg"),
        ("a .jpg", "a.jpg"),
        ("a\u00a0b.jpg", "a b.jpg"),
        ("a.webp", "a.jpg"),
        ("a.tif", "a.JPG"),
        ("a", "a.jpg"),
        ("v1.5", "v1.5.jpg"),
    ],
)
def test_the_only_image_that_can_be_meant_is_taken(written, existing):
    result = names.match(annotated(written, "other.jpg"), [existing, "other.jpg"])
    assert result.renamed == {written: existing}
    assert list(result.annotated) == [existing, "other.jpg"]
    assert result.annotated[existing].filename == existing


@pytest.mark.parametrize(
    "written, existing",
    [
        (["A.jpg", "a.jpg"], ["a.jpg"]),  # annotated under its own name
        (["A.jpg", "a.JPG"], ["a.jpeg"]),  # two names could mean it
        (["a.webp"], ["a.jpg", "a.png"]),  # it could mean two
        (["b.jpg"], ["a.jpg"]),
        (["v1.5"], ["v1.6.jpg"]),
    ],
)
def test_nothing_is_taken_where_more_is_possible(written, existing):
    result = names.match(annotated(*written), existing)
    assert result.renamed == {} and list(result.annotated) == written


def test_equal_suffixes_come_first():
    result = names.match(annotated("A.JPG", "A.png"), ["a.jpg", "a.png"])
    assert result.renamed == {"A.JPG": "a.jpg", "A.png": "a.png"}


def test_names_that_look_alike_are_shown_as_they_differ():
    assert names.renamed_report({"cafe\u0301.jpg": "caf\u00e9.jpg"}).endswith(
        r"was matched: 'cafe\u0301.jpg' is 'café.jpg'"
    )
    assert names.renamed_report({}) == ""


def test_many_names_are_not_all_listed():
    report = names.renamed_report({f"{n}.JPG": f"{n}.jpg" for n in range(100)})
    assert report.startswith("100 annotated names differ") and report.endswith("and 90 more")
    assert (
        names.similar([f"A{n}.jpg" for n in range(100)], [f"a{n}.jpg" for n in range(100)])[
            :1000
        ].count(" for ")
        == 5
    )


def test_why_files_are_not_read():
    reasons = names.not_used_reasons(
        ["a.webp", "b.JPG", "c.jpg", "d.jpg"],
        {"a.webp": "kind", "b.jpg": "is in more/", "c.heic": "kind"},
    )
    assert reasons == {"a.webp": "kind", "b.JPG": "is in more/", "c.jpg": "kind"}
